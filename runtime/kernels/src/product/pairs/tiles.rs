//! The product of pairs by AMX: 32 rows by 32 columns at a time, in four tiles of 16 by 16.
//!
//! What the CPU's tiles cannot take as it lies (rows of A that are to be rounded, the ragged edges of B, numbers beside the
//! first or last row in their words) is brought into tiles' shape in memory first. What [`super::Block`] computes with care
//! (subnormal numbers, zeros that meet infinities) is left to it.
//!
//! An element of C is the sum of 32 terms at a time, its even and its odd ones in a chain each.

use core::arch::asm;
use core::arch::x86_64::*;

use super::{INFINITE, LEAST_OF_B, Magnitudes, PART, PairDots, Pairs, ends_of, product_pairs, product_part};
use crate::isa::{AmxBf16, Avx512, Avx512Bf16};
use crate::rows::scale_rows;

/// Rows of a tile, and words of its rows.
const SIDE: usize = 16;

/// Rows, and columns, of a block of four tiles.
const BLOCK: usize = 2 * SIDE;

/// Terms of a step: the halves of a tile's rows.
const TERMS: usize = 2 * SIDE;

/// Halves from one rounded row to the next: what a part has, and a cache line that keeps rows out of each other's sets.
const LINE: usize = PART + TERMS;

/// Rows that are rounded before they are multiplied.
const SLAB: usize = 96;

/// Eight tiles of 16 rows of 64 bytes, as `ldtilecfg` reads it.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = Shapes {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Working memory: rounded rows of A, columns of B, a block of C.
#[repr(C, align(64))]
struct Memory {
    lines: [u16; SLAB * LINE],
    panel: [u32; PART / 2 * BLOCK],
    block: [f32; BLOCK * BLOCK],
}

/// Rounded rows of A.
struct Slab {
    lines: *mut u16,
    /// In which steps some element of 16 rows is not 0, as bits; all where zeros count.
    used: [u32; SLAB / SIDE],
    subnormal: bool,
}

/// A block of C: its rows and columns, and where they begin.
#[derive(Clone, Copy)]
struct Place {
    i: usize,
    j: usize,
    m: usize,
    n: usize,
}

/// A matrix as tiles are read from it and written to it: the first byte, bytes from row to row.
#[derive(Clone, Copy)]
struct Lines<T> {
    first: *mut T,
    bytes: isize,
}

impl<T: Copy> Lines<T> {
    /// The next tile of the same columns.
    #[inline(always)]
    fn below(self) -> Self {
        Lines { first: self.first.wrapping_byte_offset(SIDE as isize * self.bytes), ..self }
    }

    /// The next tile of the same rows.
    #[inline(always)]
    fn beside(self) -> Self {
        Lines { first: self.first.wrapping_byte_add(4 * SIDE), ..self }
    }
}

/// The whole product.
///
/// # Safety
/// As for [`product_pairs`].
#[inline(always)]
pub(crate) unsafe fn product_tiles(s: Avx512, d: AmxBf16, p: &Pairs) {
    if p.m < 2 || p.n < 2 || p.k < 2 {
        // SAFETY: the caller's duty.
        return unsafe { product_pairs(s, d.pairs(), p) };
    }
    let mut memory = core::mem::MaybeUninit::<Memory>::uninit();
    let mut k0 = 0;
    while k0 < p.k {
        // All parts but the last end where a pair does.
        let part = p.part(k0, (p.k - k0).min(PART - (p.first + k0) % 2));
        // SAFETY: a part of the caller's operands.
        unsafe { tiles_of_part(s, d, &part, memory.as_mut_ptr()) };
        k0 += part.k;
    }
}

/// At most [`PART`] terms.
#[inline(always)]
unsafe fn tiles_of_part(s: Avx512, d: AmxBf16, p: &Pairs, memory: *mut Memory) {
    // SAFETY: the pairs of the caller's B; the features are those of the caller, whose token is the proof.
    let of_b = unsafe { if p.masked { Magnitudes::of(p.b, p.pairs(), p.n, p.b_rs) } else { magnitudes_of(p) } };
    let all_terms = p.masked && of_b.largest >= INFINITE;
    // SAFETY: the token says that the CPU has tiles and that the process may use them; no other code of this library touches
    // them, and neither does what the compiler makes of it.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, preserves_flags, readonly)) };
    let mut i = 0;
    while i < p.m {
        let m = (p.m - i).min(SLAB);
        let rows = Pairs {
            m,
            a: p.a.wrapping_offset(i as isize * p.a_rs),
            c: p.c.wrapping_offset(i as isize * p.c_rs),
            scale: if p.scale.is_null() { p.scale } else { p.scale.wrapping_add(i) },
            ..*p
        };
        // SAFETY: rows of the caller's operands, and the memory.
        unsafe {
            let slab = round_slab(d.pairs(), &rows, (&raw mut (*memory).lines).cast());
            if all_terms || slab.subnormal || of_b.need_care(slab.lines, LINE, [m, TERMS * steps_of(p)]) {
                product_part(s, d.pairs(), &rows);
            } else {
                if p.accumulate && !p.scale.is_null() {
                    scale_rows(s, m, p.n, rows.c, rows.c_rs, rows.scale);
                }
                multiply(&rows, &slab, memory);
            }
        }
        i += m;
    }
    // SAFETY: as above. What a thread leaves in its tiles costs at each change of threads.
    unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
}

/// What [`Magnitudes::need_care`] asks of B: mostly that no number lacks an exponent, and that one is large.
#[inline(always)]
unsafe fn magnitudes_of(p: &Pairs) -> Magnitudes {
    // SAFETY: the pairs of the caller's B.
    unsafe {
        if p.pairs() > 0 && all_have_exponents(p) {
            let of_first = Magnitudes::of(p.b, 1, p.n, p.b_rs);
            if of_first.largest >= LEAST_OF_B {
                return of_first;
            }
        }
        Magnitudes::of(p.b, p.pairs(), p.n, p.b_rs)
    }
}

/// Whether no number of B is 0 or subnormal: two instructions for a vector, since each tile is looked at in every call.
#[inline(always)]
unsafe fn all_have_exponents(p: &Pairs) -> bool {
    let whole = p.n / (4 * SIDE) * (4 * SIDE);
    // SAFETY: words of the caller's B; the features are those of the caller, whose token is the proof.
    unsafe {
        let exponent = _mm512_set1_epi16(INFINITE as i16);
        let mut least = [exponent; 4];
        for pair in 0..p.pairs() {
            let row = p.b.wrapping_offset(pair as isize * p.b_rs);
            for j in (0..whole).step_by(4 * SIDE) {
                for (at, least) in least.iter_mut().enumerate() {
                    let words = _mm512_loadu_si512(row.add(j + at * SIDE).cast());
                    *least = _mm512_min_epu16(*least, _mm512_and_si512(words, exponent));
                }
            }
            for j in (whole..p.n).step_by(SIDE) {
                let there = u16::MAX >> (SIDE - (p.n - j).min(SIDE));
                let words = _mm512_mask_loadu_epi32(exponent, there, row.wrapping_add(j).cast());
                least[0] = _mm512_min_epu16(least[0], _mm512_and_si512(words, exponent));
            }
        }
        let [a, b, c, d] = least;
        let least = _mm512_min_epu16(_mm512_min_epu16(a, b), _mm512_min_epu16(c, d));
        _mm512_test_epi16_mask(least, least) == u32::MAX
    }
}

/// Steps of a part.
#[inline(always)]
fn steps_of(p: &Pairs) -> usize {
    (p.first + p.k).div_ceil(TERMS)
}

/// Rounds rows of A into lines, 0 where a step has no term.
#[inline(always)]
unsafe fn round_slab(d: Avx512Bf16, p: &Pairs, lines: *mut u16) -> Slab {
    let steps = steps_of(p);
    let mut slab = Slab { lines, used: [u32::MAX; SLAB / SIDE], subnormal: false };
    let mut gathered = [0.0f32; PART];
    if p.masked {
        slab.used = [0; SLAB / SIDE];
    }
    for r in 0..p.m {
        let mut row = p.a.wrapping_offset(r as isize * p.a_rs);
        // SAFETY: row `r` of the caller's A; a line holds the steps of a part.
        unsafe {
            if p.a_cs != 1 {
                for (k, place) in gathered.iter_mut().enumerate().take(p.k) {
                    *place = row.offset(k as isize * p.a_cs).read_unaligned();
                }
                row = gathered.as_ptr();
            }
            let line = lines.add(r * LINE);
            _mm512_storeu_si512(line.add((steps - 1) * TERMS).cast(), _mm512_setzero_si512());
            line.write(0);
            slab.subnormal |= d.narrow(line.add(p.first), row, p.k);
            if p.masked {
                for step in 0..steps {
                    let halves = _mm512_loadu_si512(line.add(step * TERMS).cast());
                    let any = _mm512_test_epi16_mask(halves, _mm512_set1_epi16(0x7fff)) != 0;
                    slab.used[r / SIDE] |= u32::from(any) << step;
                }
            }
        }
    }
    slab
}

/// A slab by all columns of B.
#[inline(always)]
unsafe fn multiply(p: &Pairs, slab: &Slab, memory: *mut Memory) {
    let mut j = 0;
    while j < p.n {
        let n = (p.n - j).min(BLOCK);
        // SAFETY: the columns `j .. j + n` of the caller's operands, and the memory.
        unsafe {
            let panel = panel_of(p, j, n, (&raw mut (*memory).panel).cast());
            let mut i = 0;
            while i < p.m {
                let at = Place { i, j, m: (p.m - i).min(BLOCK), n };
                let used = slab.used[i / SIDE] | if at.m > SIDE { slab.used[i / SIDE + 1] } else { 0 };
                let lines = Lines { first: slab.lines.add(i * LINE), bytes: 2 * LINE as isize };
                block(p, at, used, lines, panel, (&raw mut (*memory).block).cast());
                i += at.m;
            }
        }
        j += n;
    }
}

/// Columns of B whose tiles are whole and hold nothing but terms: as they lie, or copied.
#[inline(always)]
unsafe fn panel_of(p: &Pairs, j: usize, n: usize, copy: *mut u32) -> Lines<u32> {
    let [first, last] = ends_of(p);
    let from = p.b.wrapping_add(j);
    let pairs = p.pairs();
    if n.is_multiple_of(SIDE) && pairs.is_multiple_of(SIDE) && first & last == u32::MAX {
        return Lines { first: from.cast_mut(), bytes: 4 * p.b_rs };
    }
    for row in 0..SIDE * steps_of(p) {
        let bits = match row {
            0 => first,
            _ if row + 1 < pairs => u32::MAX,
            _ if row < pairs => last,
            _ => 0,
        };
        for half in 0..n.div_ceil(SIDE) {
            let there = if row < pairs { columns_of(n, half) } else { 0 };
            let at = from.wrapping_offset(row as isize * p.b_rs).wrapping_add(half * SIDE);
            // SAFETY: the words `there` of the caller's row; the copy has room for all steps. The features are those of the
            // caller, whose token is the proof.
            unsafe {
                let words = _mm512_maskz_loadu_epi32(there, at.cast());
                let words = _mm512_and_si512(words, _mm512_set1_epi32(bits as i32));
                _mm512_storeu_si512(copy.add(row * BLOCK + half * SIDE).cast(), words);
            }
        }
    }
    Lines { first: copy, bytes: 4 * BLOCK as isize }
}

/// A block of C: straight to its place, or by way of memory where it is ragged or partly closed.
#[inline(always)]
unsafe fn block(p: &Pairs, at: Place, used: u32, a: Lines<u16>, b: Lines<u32>, copy: *mut f32) {
    let c = p.c.wrapping_offset(at.i as isize * p.c_rs).wrapping_add(at.j);
    let straight = !p.open && p.factor == 1.0 && at.m.is_multiple_of(SIDE) && at.n.is_multiple_of(SIDE);
    // SAFETY: the caller's block, and the copy, which holds one; the tiles were configured.
    unsafe {
        let mut open = [u32::MAX; BLOCK];
        if p.open && !any_open(c, p.c_rs, at, &mut open) {
            return;
        }
        let target = if straight {
            Lines { first: c, bytes: 4 * p.c_rs }
        } else {
            Lines { first: copy, bytes: 4 * BLOCK as isize }
        };
        let used = used & (u32::MAX >> (32 - steps_of(p)));
        let adds = straight && p.accumulate;
        match (at.m > SIDE, at.n > SIDE) {
            (true, true) => tiles::<true, true>(used, adds, a, b, target),
            (true, false) => tiles::<true, false>(used, adds, a, b, target),
            (false, true) => tiles::<false, true>(used, adds, a, b, target),
            (false, false) => tiles::<false, false>(used, adds, a, b, target),
        }
        if !straight {
            merge(p, at, c, copy, &open);
        }
    }
}

/// Which columns of a half block there are, of `n` in all.
#[inline(always)]
fn columns_of(n: usize, half: usize) -> u16 {
    u16::MAX >> (SIDE - (n - half * SIDE).min(SIDE))
}

/// Which columns of each row are not -inf; whether any is.
#[inline(always)]
unsafe fn any_open(c: *const f32, c_rs: isize, at: Place, open: &mut [u32; BLOCK]) -> bool {
    let mut any = 0;
    for (row, open) in open.iter_mut().enumerate().take(at.m) {
        *open = 0;
        for half in 0..at.n.div_ceil(SIDE) {
            let there = columns_of(at.n, half);
            // SAFETY: columns of the caller's row; the features are those of the caller, whose token is the proof.
            let other = unsafe {
                let c = c.offset(row as isize * c_rs).add(half * SIDE);
                let values = _mm512_maskz_loadu_ps(there, c);
                _mm512_mask_cmp_ps_mask::<_CMP_NEQ_UQ>(there, values, _mm512_set1_ps(f32::NEG_INFINITY))
            };
            *open |= u32::from(other) << (half * SIDE);
        }
        any |= *open;
    }
    any != 0
}

/// Brings a product from the copy to its place in C, multiplied by the factor.
#[inline(always)]
unsafe fn merge(p: &Pairs, at: Place, c: *mut f32, copy: *const f32, open: &[u32; BLOCK]) {
    for (row, open) in open.iter().enumerate().take(at.m) {
        for half in 0..at.n.div_ceil(SIDE) {
            let there = columns_of(at.n, half);
            // SAFETY: columns of the caller's row, and of the copy's; the features are those of the caller, whose token is the
            // proof.
            unsafe {
                let c = c.offset(row as isize * p.c_rs).add(half * SIDE);
                let mut values = _mm512_loadu_ps(copy.add(row * BLOCK + half * SIDE));
                if p.accumulate {
                    values = _mm512_add_ps(_mm512_maskz_loadu_ps(there, c), values);
                }
                values = _mm512_mul_ps(values, _mm512_set1_ps(p.factor));
                _mm512_mask_storeu_ps(c, there & (open >> (half * SIDE)) as u16, values);
            }
        }
    }
}

/// Reads a tile from lines.
macro_rules! load {
    ($tile:literal, $lines:expr) => {
        asm!(
            concat!("tileloadd ", $tile, ", [{first} + {bytes}]"),
            first = in(reg) $lines.first,
            bytes = in(reg) $lines.bytes,
            options(nostack, preserves_flags, readonly),
        )
    };
}

/// Writes a tile to lines.
macro_rules! store {
    ($tile:literal, $lines:expr) => {
        asm!(
            concat!("tilestored [{first} + {bytes}], ", $tile),
            first = in(reg) $lines.first,
            bytes = in(reg) $lines.bytes,
            options(nostack, preserves_flags),
        )
    };
}

/// An instruction on tiles alone.
macro_rules! tile {
    ($instruction:literal) => {
        asm!($instruction, options(nomem, nostack, preserves_flags))
    };
}

pub(crate) mod attend;

/// Up to four tiles of C: two rows of them if `HIGH`, two columns if `WIDE`; the steps whose bits are set in `used`.
///
/// Tiles 0 to 3 are C by rows, 4 and 5 A, 6 and 7 B.
///
/// # Safety
/// Tiles must have been configured; A and B must be valid for reading the steps, C for writing as many tiles.
#[inline(always)]
unsafe fn tiles<const HIGH: bool, const WIDE: bool>(
    used: u32,
    adds: bool,
    a: Lines<u16>,
    b: Lines<u32>,
    c: Lines<f32>,
) {
    let c = [c, c.below()].map(|c| [c, c.beside()]);
    // SAFETY: the caller's duty.
    unsafe {
        if adds {
            load!("tmm0", c[0][0]);
            if WIDE {
                load!("tmm1", c[0][1]);
            }
            if HIGH {
                load!("tmm2", c[1][0]);
            }
            if HIGH && WIDE {
                load!("tmm3", c[1][1]);
            }
        } else {
            tile!("tilezero tmm0");
            tile!("tilezero tmm1");
            tile!("tilezero tmm2");
            tile!("tilezero tmm3");
        }
        let mut left = used;
        while left != 0 {
            let step = left.trailing_zeros() as usize;
            left &= left - 1;
            let a = Lines { first: a.first.wrapping_add(step * TERMS), ..a };
            let b = Lines { first: b.first.wrapping_byte_offset((step * SIDE) as isize * b.bytes), ..b };
            load!("tmm4", a);
            load!("tmm6", b);
            tile!("tdpbf16ps tmm0, tmm4, tmm6");
            if WIDE {
                load!("tmm7", b.beside());
                tile!("tdpbf16ps tmm1, tmm4, tmm7");
            }
            if HIGH {
                load!("tmm5", a.below());
                tile!("tdpbf16ps tmm2, tmm5, tmm6");
            }
            if HIGH && WIDE {
                tile!("tdpbf16ps tmm3, tmm5, tmm7");
            }
        }
        store!("tmm0", c[0][0]);
        if WIDE {
            store!("tmm1", c[0][1]);
        }
        if HIGH {
            store!("tmm2", c[1][0]);
        }
        if HIGH && WIDE {
            store!("tmm3", c[1][1]);
        }
    }
}
