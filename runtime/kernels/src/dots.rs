//! The product of few rows with many lines as they lie: scores of some queries against a cache of keys.
//!
//! Keys of a cache are read once, so they are neither packed nor transposed: lanes run along the summed axis, and the
//! sums of one register's worth of pairs are reduced together. What is stored narrow is widened as it is loaded.

use crate::lanes::{CACHE_LINE, Halves, MOST_LANES, Square, prefetch};

/// A bfloat16 in memory.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub(crate) struct Bf16(u16);

/// An IEEE half in memory.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub(crate) struct Half(u16);

/// What lines are stored as.
pub(crate) trait Stored: Copy + Default {
    /// `N` elements as `f32`.
    ///
    /// # Safety
    /// `p` must be valid for reading `N` elements.
    unsafe fn load<S: Halves>(s: S, p: *const Self) -> S::V;

    /// `count <= N` elements; the other lanes are 0.
    ///
    /// # Safety
    /// `p` must be valid for reading `count` elements.
    #[inline(always)]
    unsafe fn load_some<S: Halves>(s: S, p: *const Self, count: usize) -> S::V {
        let mut cells = [Self::default(); MOST_LANES];
        // SAFETY: `count` elements of the caller's, which the array holds, as it does a vector.
        unsafe {
            core::ptr::copy_nonoverlapping(p.cast::<u8>(), cells.as_mut_ptr().cast(), count * size_of::<Self>());
            Self::load(s, cells.as_ptr())
        }
    }
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn load<S: Halves>(s: S, p: *const Self) -> S::V {
        // SAFETY: the caller's duty.
        unsafe { s.load(p) }
    }

    #[inline(always)]
    unsafe fn load_some<S: Halves>(s: S, p: *const Self, count: usize) -> S::V {
        // SAFETY: the caller's duty.
        unsafe { s.load_head(p, s.head(count)) }
    }
}

impl Stored for Bf16 {
    #[inline(always)]
    unsafe fn load<S: Halves>(s: S, p: *const Self) -> S::V {
        // SAFETY: the caller's duty; the type is transparent.
        unsafe { s.load_bf16(p.cast()) }
    }
}

impl Stored for Half {
    #[inline(always)]
    unsafe fn load<S: Halves>(s: S, p: *const Self) -> S::V {
        // SAFETY: as above.
        unsafe { s.load_halves(p.cast()) }
    }
}

impl Stored for i8 {
    #[inline(always)]
    unsafe fn load<S: Halves>(s: S, p: *const Self) -> S::V {
        // SAFETY: the caller's duty.
        unsafe { s.load_bytes(p) }
    }
}

/// The operands, with strides in elements; the elements of a row or line are adjacent.
#[derive(Clone, Copy)]
pub(crate) struct Dots<B> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const f32,
    pub a_rs: isize,
    pub b: *const B,
    pub b_rs: isize,
    pub c: *mut f32,
    pub c_rs: isize,
    /// How many elements ahead of B memory is asked for.
    pub ahead: isize,
}

/// Bytes that are asked for ahead: lines that are read four at a time are no pattern that the CPU sees early enough
/// (9 GB/s against 45 on one Zen 5 core, 31 at 4096 bytes, 2026-11-23).
const AHEAD: usize = 12288;

/// The lines of `k` elements ahead that are about so many bytes away, in elements of B.
#[inline(always)]
pub(crate) fn elements_ahead<B>(bytes: usize, k: usize, b_rs: isize) -> isize {
    let line = (k * size_of::<B>()).max(CACHE_LINE);
    bytes.div_ceil(line) as isize * b_rs
}

/// As [`elements_ahead`], of dot products.
pub(crate) fn ahead<B>(k: usize, b_rs: isize) -> isize {
    elements_ahead::<B>(AHEAD, k, b_rs)
}

/// Most rows of a block.
const ROWS: usize = 4;

/// Lines that are summed side by side, for accumulators enough to hide the latency of a multiply-add.
const LINES: usize = 4;

/// `C[m, n] = A[m, k] B[n, k]^T`. Each element is summed in an order that depends on k alone.
///
/// # Safety
/// A, B and C must be valid for the described elements; C must not overlap A or B.
#[inline(always)]
pub(crate) unsafe fn dots<S: Halves + Square<f32>, B: Stored>(s: S, p: &Dots<B>) {
    let blocks = p.m.div_ceil(ROWS);
    if blocks == 0 {
        return;
    }
    // The highest block says how many lines fit into a register's worth of sums; a last one alone would wait for itself.
    let lines = S::N / p.m.div_ceil(blocks);
    let lines = if lines > LINES { lines - lines % LINES } else { lines };
    let mut j = 0;
    while j < p.n {
        let count = (p.n - j).min(lines);
        let mut i = 0;
        for left in (1..=blocks).rev() {
            let height = (p.m - i).div_ceil(left);
            let part = Dots {
                n: count,
                a: p.a.wrapping_offset(i as isize * p.a_rs),
                b: p.b.wrapping_offset(j as isize * p.b_rs),
                c: p.c.wrapping_offset(i as isize * p.c_rs).wrapping_add(j),
                ..*p
            };
            // SAFETY: rows `i .. i + height` and lines `j .. j + count` of the caller's.
            unsafe {
                match height {
                    1 => block::<S, B, 1>(s, &part),
                    2 => block::<S, B, 2>(s, &part),
                    3 => block::<S, B, 3>(s, &part),
                    _ => block::<S, B, ROWS>(s, &part),
                }
            }
            i += height;
        }
        j += count;
    }
}

/// `R` rows by `p.n` lines, as many as there are sums in a register for each row.
///
/// # Safety
/// As for [`dots`]; `p.m` is not read, and `p.n` is in `1 ..= N / R`.
#[inline(always)]
unsafe fn block<S: Halves + Square<f32>, B: Stored, const R: usize>(s: S, p: &Dots<B>) {
    let most = const { S::N / R };
    let mut sums = [s.splat(0.0); 16];
    let mut at = 0;
    while at < p.n {
        // SAFETY: lines from `at < n` on.
        unsafe {
            if p.n - at >= LINES {
                lines::<S, B, R, LINES>(s, p, at, most, &mut sums);
                at += LINES;
            } else {
                lines::<S, B, R, 1>(s, p, at, most, &mut sums);
                at += 1;
            }
        }
    }
    let mut cells = [0.0; 16];
    // SAFETY: no instruction set has more than 16 lanes; row `r < R` of C has `n` elements, and so many follow
    // `r * most` in the array.
    unsafe {
        s.store(cells.as_mut_ptr(), s.sum_of_each(&sums));
        for r in 0..R {
            let row = p.c.offset(r as isize * p.c_rs);
            let mut c = 0;
            while c + LINES <= p.n {
                let four = cells.as_ptr().add(r * most + c).cast::<[f32; LINES]>().read();
                row.add(c).cast::<[f32; LINES]>().write_unaligned(four);
                c += LINES;
            }
            for c in c..p.n {
                row.add(c).write_unaligned(cells[r * most + c]);
            }
        }
    }
}

/// The unreduced sums of `R` rows and `L` lines from line `at` on, to `sums[r * most + at ..]`.
///
/// # Safety
/// As for [`block`]; lines `at .. at + L` are among its own.
#[inline(always)]
unsafe fn lines<S: Halves + Square<f32>, B: Stored, const R: usize, const L: usize>(
    s: S,
    p: &Dots<B>,
    at: usize,
    most: usize,
    sums: &mut [S::V; 16],
) {
    let mut acc = [[s.splat(0.0); L]; R];
    let b = p.b.wrapping_offset(at as isize * p.b_rs);
    let mut k = 0;
    // SAFETY: elements `k .. k + N`, and then what is left, of lines `at .. at + L` and of rows `0 .. R`.
    unsafe {
        while k + S::N <= p.k {
            terms::<S, B, R, L, true>(s, p, b, k, &mut acc);
            k += S::N;
        }
        if k < p.k {
            terms::<S, B, R, L, false>(s, p, b, k, &mut acc);
        }
    }
    for (r, acc) in acc.iter().enumerate() {
        for (c, &acc) in acc.iter().enumerate() {
            sums[r * most + at + c] = acc;
        }
    }
}

/// Adds the products of a vector's elements from `k` on, or if not `WHOLE` of those that are left.
///
/// # Safety
/// `b` is the first of `L` lines; A has `R` rows.
#[inline(always)]
unsafe fn terms<S: Halves + Square<f32>, B: Stored, const R: usize, const L: usize, const WHOLE: bool>(
    s: S,
    p: &Dots<B>,
    b: *const B,
    k: usize,
    acc: &mut [[S::V; L]; R],
) {
    let mut line = [s.splat(0.0); L];
    for (c, line) in line.iter_mut().enumerate() {
        let from = b.wrapping_offset(c as isize * p.b_rs).wrapping_add(k);
        if (k * size_of::<B>()).is_multiple_of(CACHE_LINE) {
            prefetch(from.wrapping_offset(p.ahead));
        }
        // SAFETY: the elements of line `c`.
        *line = unsafe { if WHOLE { B::load(s, from) } else { B::load_some(s, from, p.k - k) } };
    }
    for (r, acc) in acc.iter_mut().enumerate() {
        let from = p.a.wrapping_offset(r as isize * p.a_rs).wrapping_add(k);
        // SAFETY: the elements of row `r`.
        let a = unsafe { if WHOLE { s.load(from) } else { f32::load_some(s, from, p.k - k) } };
        for (acc, &line) in acc.iter_mut().zip(&line) {
            *acc = s.fma(a, line, *acc);
        }
    }
}

/// `dst[r, c] = src[r, c]`, widened; the elements of a row are adjacent in both.
///
/// # Safety
/// Both must be valid for the described elements, and apart.
#[inline(always)]
pub(crate) unsafe fn widen_rows<S: Halves, B: Stored>(
    s: S,
    rows: usize,
    cols: usize,
    dst: *mut f32,
    dst_rs: isize,
    src: *const B,
    src_rs: isize,
) {
    let next = ahead::<B>(cols, src_rs);
    for r in 0..rows {
        let (to, from) = (dst.wrapping_offset(r as isize * dst_rs), src.wrapping_offset(r as isize * src_rs));
        let mut c = 0;
        // SAFETY: row `r` of the caller's, column by column.
        unsafe {
            while c + S::N <= cols {
                if (c * size_of::<B>()).is_multiple_of(CACHE_LINE) {
                    prefetch(from.wrapping_add(c).wrapping_offset(next));
                }
                s.store(to.add(c), B::load(s, from.add(c)));
                c += S::N;
            }
            if c < cols {
                s.store_head(to.add(c), s.head(cols - c), B::load_some(s, from.add(c), cols - c));
            }
        }
    }
}
