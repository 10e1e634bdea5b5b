//! The tile product with a right operand of bfloat16 in pairs, as matrix instructions take it.
//!
//! B holds two rows in one: element (2 p, j) and element (2 p + 1, j) are the halves of word j of row p. A is of `f32` and is
//! rounded to bfloat16 a block of rows at a time; each element of C is one chain in `f32` over pairs in ascending order.
//! [`PairDots`] is what multiplies a pair: one instruction where there is one, else [`Widened`], two multiply-adds of the widened
//! halves, which defines the meaning.
//!
//! The instruction takes subnormal operands and results for 0. Where that could be seen (a subnormal among the operands, or all
//! products so small that sums may be subnormal), the block is computed by [`Widened`].

mod dots;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tiles;

use super::open::{HIGHEST, close, open_places};
use super::sparse::{WORD, next_run};
use super::{Blocks, Operands};
use crate::lanes::{FloatBits, Lanes, Square};
use crate::softmax::softmax_update;

/// Terms of the sum taken before a block of rows moves on: a row of rounded elements of A, but for what fills its pairs.
const PART: usize = 256;

/// Elements from one row of rounded elements to the next: a part, and a half at either end to fill pairs.
const LINE: usize = PART + 16;

/// Magnitudes, as bits, of bfloat16: 1, the smallest normal number, infinity.
const SMALLEST_NORMAL: u16 = 0x0080;
const INFINITE: u16 = 0x7f80;

/// Magnitudes that make one product of at least 2^-100, of operands that may be any: 2^-60 and 2^-40.
const LEAST_OF_A: u16 = (127 - 60) << 7;
const LEAST_OF_B: u16 = (127 - 40) << 7;

/// The operands; strides of A and C in elements, that of B in words.
#[derive(Clone, Copy)]
pub(crate) struct Pairs {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// 1 if the first term is the second half of the first pair, else 0.
    pub first: usize,
    pub a: *const f32,
    pub a_rs: isize,
    pub a_cs: isize,
    pub b: *const u32,
    pub b_rs: isize,
    pub c: *mut f32,
    pub c_rs: isize,
    pub accumulate: bool,
    /// Whether an element of A that is exactly 0 counts for nothing, whatever it meets.
    pub masked: bool,
    /// Whether elements of C that are -inf stay so.
    pub open: bool,
    /// What each row of C is multiplied by before anything is added to it; null for nothing.
    pub scale: *const f32,
    /// What C is multiplied by in the end; 1 where something accumulates or is masked.
    pub factor: f32,
}

impl Pairs {
    /// The terms `k0 .. k0 + k`; what comes after the first part accumulates.
    #[inline(always)]
    fn part(&self, k0: usize, k: usize) -> Pairs {
        Pairs {
            k,
            first: (self.first + k0) % 2,
            a: self.a.wrapping_offset(k0 as isize * self.a_cs),
            b: self.b.wrapping_offset(((self.first + k0) / 2) as isize * self.b_rs),
            accumulate: self.accumulate || k0 > 0,
            scale: if k0 > 0 { core::ptr::null() } else { self.scale },
            factor: if k0 + k < self.k { 1.0 } else { self.factor },
            ..*self
        }
    }

    #[inline(always)]
    fn pairs(&self) -> usize {
        if self.k == 0 { 0 } else { (self.first + self.k).div_ceil(2) }
    }
}

/// A block of rows and what is multiplied with it.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    rows: usize,
    pairs: usize,
    /// Rows of [`LINE`] halves, as the instruction takes them.
    halves: *const u16,
    /// The same widened.
    wide: *const f32,
    b: *const u32,
    b_rs: isize,
    /// Which bits of the first pair count, and which of the last.
    ends: [u32; 2],
    c: *mut f32,
    c_rs: isize,
    /// Columns of a panel's last vector.
    last: usize,
    accumulate: bool,
    scale: *const f32,
    factor: f32,
}

impl Block {
    /// The pairs `from .. to`.
    #[inline(always)]
    fn run(&self, from: usize, to: usize) -> Block {
        let whole = u32::MAX;
        Block {
            pairs: to - from,
            halves: self.halves.wrapping_add(2 * from),
            wide: self.wide.wrapping_add(2 * from),
            b: self.b.wrapping_offset(from as isize * self.b_rs),
            ends: [if from == 0 { self.ends[0] } else { whole }, if to == self.pairs { self.ends[1] } else { whole }],
            ..*self
        }
    }

    #[inline(always)]
    fn at_column(&self, j: usize) -> Block {
        Block { b: self.b.wrapping_add(j), c: self.c.wrapping_add(j), ..*self }
    }
}

/// What multiplies pairs, on the lanes of `S`.
pub(crate) trait PairDots<S: Lanes<f32>>: Copy {
    /// Whether subnormal numbers are taken for 0.
    const FLUSHES: bool;

    /// [`pair_block`] compiled with the features of the instruction set, as a function of its own.
    ///
    /// # Safety
    /// As for [`pair_block`].
    unsafe fn block<const R: usize, const W: usize>(self, s: S, p: &Block);

    /// How often a vector of words is multiplied: once whole, or half by half, so that registers are enough.
    const PASSES: usize;

    /// What a pass multiplies of a vector of words.
    fn operand(self, s: S, words: S::V, pass: usize) -> S::V;

    /// `acc` and what a pass multiplies of a pair of a row: `at` is row, pair and pass.
    ///
    /// # Safety
    /// The row of the block must be there, and its pair.
    unsafe fn dot(self, s: S, p: &Block, at: [usize; 3], b: S::V, acc: S::V) -> S::V;

    /// The bfloat16 nearest to each element; whether one was subnormal and may have been taken for 0.
    ///
    /// # Safety
    /// As for [`crate::convert::narrow_bf16`].
    unsafe fn narrow(self, dst: *mut u16, src: *const f32, n: usize) -> bool;
}

/// Two multiply-adds of widened halves, the lower first.
#[derive(Clone, Copy)]
pub(crate) struct Widened;

/// The lower halves of words, widened, or the upper.
#[inline(always)]
fn halves_of<S: FloatBits>(s: S, words: S::V, half: usize) -> S::V {
    let bits = s.bits(words);
    s.bits_to_float(if half == 0 { s.int_to_upper(bits) } else { s.int_and(bits, s.int_splat(0xffff_0000_u32 as i32)) })
}

/// The whole product.
///
/// # Safety
/// The operands must be valid for the described elements, B for whole pairs; C must not overlap A or B.
#[inline(always)]
pub(crate) unsafe fn product_pairs<S, D>(s: S, d: D, p: &Pairs)
where
    S: Blocks<f32> + FloatBits,
    D: PairDots<S>,
    Widened: PairDots<S>,
{
    if p.m == 0 || p.n == 0 {
        return;
    }
    let mut k0 = 0;
    loop {
        // All parts but the last end where a pair does.
        let part = p.part(k0, (p.k - k0).min(PART - (p.first + k0) % 2));
        // SAFETY: a part of the caller's operands.
        unsafe { product_part(s, d, &part) };
        k0 += part.k;
        if k0 >= p.k {
            return;
        }
    }
}

/// A tile of scores, their softmax, and the values that it weighs.
#[derive(Clone, Copy)]
pub(crate) struct Attend {
    /// The product that the scores are; nothing is masked, open or accumulated.
    pub scores: Pairs,
    /// The product of the scores' weights that is added to what has been summed so far, which is scaled by `alpha`.
    pub values: Pairs,
    /// Running maxima and sums of the rows, and `alpha`: see [`softmax_update`].
    pub running: [*mut f32; 3],
}

impl Attend {
    /// The rows `from .. from + m`.
    #[inline(always)]
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "strips are those of AMX"))]
    fn rows(&self, from: usize, m: usize) -> Attend {
        let of = |p: &Pairs| Pairs {
            m,
            a: p.a.wrapping_offset(from as isize * p.a_rs),
            c: p.c.wrapping_offset(from as isize * p.c_rs),
            scale: if p.scale.is_null() { p.scale } else { p.scale.wrapping_add(from) },
            ..*p
        };
        Attend {
            scores: of(&self.scores),
            values: of(&self.values),
            running: self.running.map(|of_rows| of_rows.wrapping_add(from)),
        }
    }

    /// What lies between the two products.
    ///
    /// # Safety
    /// As for [`softmax_update`].
    #[inline(always)]
    unsafe fn softmax<S: FloatBits + Square<f32>>(&self, s: S) {
        let scores = &self.scores;
        // SAFETY: the caller's duty.
        unsafe { softmax_update(s, scores.m, scores.n, scores.c, scores.c_rs, self.running, None) }
    }
}

/// One after the other.
///
/// # Safety
/// As for [`product_pairs`] and [`softmax_update`].
#[inline(always)]
pub(crate) unsafe fn attend_pairs<S, D>(s: S, d: D, p: &Attend)
where
    S: Blocks<f32> + FloatBits + Square<f32>,
    D: PairDots<S>,
    Widened: PairDots<S>,
{
    // SAFETY: the caller's duty.
    unsafe {
        product_pairs(s, d, &p.scores);
        p.softmax(s);
        product_pairs(s, d, &p.values);
    }
}

/// At most [`PART`] terms: a block of rows after the other.
#[inline(always)]
unsafe fn product_part<S, D>(s: S, d: D, p: &Pairs)
where
    S: Blocks<f32> + FloatBits,
    D: PairDots<S>,
    Widened: PairDots<S>,
{
    let pairs = p.pairs();
    // SAFETY: the pairs of the caller's B.
    let of_b =
        if D::FLUSHES || p.masked { unsafe { Magnitudes::of(p.b, pairs, p.n, p.b_rs) } } else { Magnitudes::NONE };
    let highest = if p.n > 2 * S::N { S::ROWS[S::MAIN] } else { S::ROWS[if S::MAIN > 1 { 2 } else { 1 }] };
    let mut rounded = core::mem::MaybeUninit::<Rounded>::uninit();
    // SAFETY: places in the memory above.
    let lines = unsafe {
        let rounded = rounded.as_mut_ptr();
        Lines { halves: (&raw mut (*rounded).halves).cast(), wide: (&raw mut (*rounded).wide).cast() }
    };
    let mut blocks = p.m.div_ceil(highest);
    let mut i = 0;
    while i < p.m {
        let rows = (p.m - i).div_ceil(blocks);
        let a = p.a.wrapping_offset(i as isize * p.a_rs);
        let scale = if p.scale.is_null() { p.scale } else { p.scale.wrapping_add(i) };
        let c = p.c.wrapping_offset(i as isize * p.c_rs);
        // SAFETY: rows `i .. i + rows` of the caller's operands; the arrays hold as many lines.
        unsafe {
            let subnormal = round_rows(d, p, a, rows, lines);
            let block = Block {
                rows,
                pairs,
                halves: lines.halves,
                wide: lines.wide,
                b: p.b,
                b_rs: p.b_rs,
                ends: ends_of(p),
                c,
                c_rs: p.c_rs,
                last: p.n,
                accumulate: p.accumulate,
                scale,
                factor: p.factor,
            };
            let all_terms = p.masked && of_b.largest >= INFINITE;
            let careful =
                all_terms || D::FLUSHES && (subnormal || of_b.need_care(block.halves, LINE, [rows, 2 * pairs]));
            if careful || !D::FLUSHES {
                if subnormal {
                    round_rows(Widened, p, a, rows, lines);
                }
                widen(&block, lines);
            }
            if all_terms {
                element_by_element(s, &block, p);
            } else if careful {
                columns(s, Widened, &block, p);
            } else {
                columns(s, d, &block, p);
            }
        }
        i += rows;
        blocks -= 1;
    }
}

/// The bits of the first and of the last pair that belong to terms.
#[inline(always)]
fn ends_of(p: &Pairs) -> [u32; 2] {
    let first = if p.first == 1 { 0xffff_0000 } else { u32::MAX };
    let last = if (p.first + p.k) % 2 == 1 { 0x0000_ffff } else { u32::MAX };
    if p.pairs() == 1 { [first & last; 2] } else { [first, last] }
}

/// Memory for a block of rows of A, rounded.
struct Rounded {
    halves: [u16; HIGHEST * LINE],
    wide: [f32; HIGHEST * LINE],
}

/// The same as rows of [`LINE`] elements.
#[derive(Clone, Copy)]
struct Lines {
    halves: *mut u16,
    wide: *mut f32,
}

/// Rounds rows of A into lines of halves, 0 where a pair has no term; whether one was subnormal and may have been taken for 0.
#[inline(always)]
unsafe fn round_rows<S: Lanes<f32>, D: PairDots<S>>(d: D, p: &Pairs, a: *const f32, rows: usize, lines: Lines) -> bool {
    let mut subnormal = false;
    for r in 0..rows {
        let mut row = a.wrapping_offset(r as isize * p.a_rs);
        // SAFETY: row `r` of the caller's A; a line holds a part, one half before it and one behind.
        unsafe {
            if p.a_cs != 1 {
                let held = lines.wide.add(r * LINE);
                for k in 0..p.k {
                    held.add(k).write(row.offset(k as isize * p.a_cs).read_unaligned());
                }
                row = held;
            }
            let line = lines.halves.add(r * LINE);
            line.write(0);
            subnormal |= d.narrow(line.add(p.first), row, p.k);
            line.add(p.first + p.k).write(0);
        }
    }
    subnormal
}

/// Halves widened.
#[inline(always)]
unsafe fn widen(block: &Block, lines: Lines) {
    for row in 0..block.rows {
        for k in 0..2 * block.pairs {
            let at = row * LINE + k;
            // SAFETY: a half of the caller's block, which has been written.
            unsafe { lines.wide.add(at).write(f32::from_bits(u32::from(lines.halves.add(at).read()) << 16)) };
        }
    }
}

/// What is known of the magnitudes of bfloat16 numbers, as bits.
#[derive(Clone, Copy)]
struct Magnitudes {
    largest: u16,
    /// The smallest that is not 0, less 1.
    least_less_one: u16,
}

impl Magnitudes {
    const NONE: Magnitudes = Magnitudes { largest: 0, least_less_one: u16::MAX };

    /// Of pairs in memory. Loops that the compiler makes vectors of.
    ///
    /// # Safety
    /// `b` must be valid for `rows` rows of `n` words.
    #[inline(always)]
    unsafe fn of(b: *const u32, rows: usize, n: usize, rs: isize) -> Magnitudes {
        const LANES: usize = 32;
        let (mut largest, mut least_less_one) = ([0; LANES], [u16::MAX; LANES]);
        for r in 0..rows {
            let row = b.wrapping_offset(r as isize * rs).cast::<u16>();
            let mut at = 0;
            while at + LANES <= 2 * n {
                // SAFETY: halves of the caller's row.
                let halves = unsafe { row.add(at).cast::<[u16; LANES]>().read_unaligned() };
                for lane in 0..LANES {
                    let magnitude = halves[lane] & 0x7fff;
                    largest[lane] = largest[lane].max(magnitude);
                    least_less_one[lane] = least_less_one[lane].min(magnitude.wrapping_sub(1));
                }
                at += LANES;
            }
            for lane in 0..2 * n - at {
                // SAFETY: a half of the caller's row.
                let magnitude = unsafe { row.add(at + lane).read_unaligned() } & 0x7fff;
                largest[lane] = largest[lane].max(magnitude);
                least_less_one[lane] = least_less_one[lane].min(magnitude.wrapping_sub(1));
            }
        }
        Magnitudes {
            largest: largest.into_iter().fold(0, u16::max),
            least_less_one: least_less_one.into_iter().fold(u16::MAX, u16::min),
        }
    }

    #[inline(always)]
    fn any_subnormal(self) -> bool {
        self.least_less_one < SMALLEST_NORMAL - 1
    }

    /// Whether taking what is subnormal for 0 may be seen in products of these with rows of A, `line` halves apart.
    ///
    /// # Safety
    /// `halves` must be valid for reading so many rows and columns.
    #[inline(always)]
    unsafe fn need_care(self, halves: *const u16, line: usize, [rows, columns]: [usize; 2]) -> bool {
        if self.any_subnormal() {
            return true;
        }
        // Enough is known once one element is large.
        let mut largest = 0;
        for row in 0..rows {
            for k in 0..columns {
                // SAFETY: one of the caller's halves.
                largest = largest.max(unsafe { halves.add(row * line + k).read() } & 0x7fff);
            }
            if largest >= LEAST_OF_A {
                break;
            }
        }
        largest != 0 && self.largest != 0 && (largest < LEAST_OF_A || self.largest < LEAST_OF_B)
    }
}

/// All columns of a block, or those that are open.
#[inline(always)]
unsafe fn columns<S: Blocks<f32> + FloatBits, D: PairDots<S>>(s: S, d: D, block: &Block, p: &Pairs) {
    if !p.open {
        // SAFETY: the caller's block.
        return unsafe { panels(s, d, block, p.n, p.masked) };
    }
    let mut j = 0;
    while j < p.n {
        let n = (p.n - j).min(WORD);
        let at = block.at_column(j);
        let mut open = [0; HIGHEST];
        // SAFETY: the columns `j .. j + n` of the block.
        unsafe {
            let any = open_places(s, &matrix_of(&at, n), &mut open);
            let mut from = 0;
            while let Some([first, end]) = next_run(any, from, S::N as u32) {
                let run = at.at_column(first);
                panels(s, d, &run, end - first, p.masked);
                for (row, open) in open.iter().enumerate().take(block.rows) {
                    close(s, run.c.offset(row as isize * run.c_rs), end - first, open >> first);
                }
                from = end;
            }
        }
        j += n;
    }
}

/// C of a block as a matrix.
#[inline(always)]
fn matrix_of(block: &Block, n: usize) -> Operands<f32> {
    let none = core::ptr::null();
    Operands {
        m: block.rows,
        n,
        k: 0,
        a: none,
        a_rs: 0,
        a_cs: 0,
        b: none,
        b_rs: 0,
        c: block.c,
        c_rs: block.c_rs,
        accumulate: false,
        scale: none,
    }
}

/// Columns of a block in panels: four vectors wide, two, and one that may be ragged.
#[inline(always)]
unsafe fn panels<S: Blocks<f32> + FloatBits, D: PairDots<S>>(s: S, d: D, block: &Block, n: usize, masked: bool) {
    let mut j = 0;
    while j < n {
        let left = n - j;
        let at = block.at_column(j);
        // SAFETY: the columns from `j` on of the caller's block.
        unsafe {
            if const { S::MAIN >= 4 } && left >= 4 * S::N && block.rows <= S::ROWS[4] {
                runs::<S, D, 4>(s, d, &Block { last: S::N, ..at }, masked);
                j += 4 * S::N;
            } else if const { S::MAIN >= 2 } && left >= 2 * S::N {
                runs::<S, D, 2>(s, d, &Block { last: S::N, ..at }, masked);
                j += 2 * S::N;
            } else {
                runs::<S, D, 1>(s, d, &Block { last: left.min(S::N), ..at }, masked);
                j += S::N;
            }
        }
    }
}

/// A panel of a block: all pairs, or those of which some element of A is not 0.
#[inline(always)]
unsafe fn runs<S: Blocks<f32>, D: PairDots<S>, const W: usize>(s: S, d: D, block: &Block, masked: bool) {
    if !masked {
        // SAFETY: the caller's block.
        return unsafe { of_height::<S, D, W>(s, d, block) };
    }
    let (mut accumulate, mut scale) = (block.accumulate, block.scale);
    let mut word = 0;
    while word < block.pairs {
        let count = (block.pairs - word).min(WORD);
        // SAFETY: the pairs `word .. word + count` of the caller's block.
        let used = unsafe { used_pairs(block, word, count) };
        let mut at = 0;
        while let Some([from, to]) = next_run(used, at, 2) {
            // SAFETY: pairs of the caller's block.
            unsafe { of_height::<S, D, W>(s, d, &Block { accumulate, scale, ..block.run(word + from, word + to) }) };
            (accumulate, scale) = (true, core::ptr::null());
            at = to;
        }
        word += count;
    }
    if !accumulate || !scale.is_null() {
        // SAFETY: no pair, which makes the block 0 or only scales it.
        unsafe { of_height::<S, D, W>(s, d, &Block { pairs: 0, ..*block }) };
    }
}

/// In which of at most [`WORD`] pairs some row's elements are not both 0, as bits.
#[inline(always)]
unsafe fn used_pairs(block: &Block, first: usize, count: usize) -> u64 {
    let mut any = [0u32; WORD];
    for row in 0..block.rows {
        let line = block.halves.wrapping_add(row * LINE).cast::<u32>();
        for (pair, any) in any.iter_mut().enumerate().take(count) {
            // SAFETY: a pair of the caller's block.
            *any |= unsafe { line.add(first + pair).read_unaligned() };
        }
    }
    let mut used = 0;
    for (pair, any) in any.iter().enumerate() {
        used |= u64::from(any & 0x7fff_7fff != 0) << pair;
    }
    used
}

/// The block by its height.
#[inline(always)]
unsafe fn of_height<S: Blocks<f32>, D: PairDots<S>, const W: usize>(s: S, d: D, block: &Block) {
    macro_rules! choose {
        ($($rows:literal)*) => {
            match block.rows {
                // SAFETY: the caller's block. The constant guards keep blocks that are not used from being compiled.
                $($rows if const { S::ROWS[if W > S::MAIN { 0 } else { W }] >= $rows } => unsafe { d.block::<$rows, W>(s, block) },)*
                _ => debug_assert!(false, "no block of {} rows", block.rows),
            }
        };
    }
    choose!(1 2 3 4 5 6 7 8 9 10 11 12)
}

/// A block of `R` rows by `W` vectors, the last of `last` columns where `W` is 1.
///
/// # Safety
/// The block must be valid for `R` rows and as many columns, its rounded rows in the form that `D` reads.
#[inline(always)]
pub(super) unsafe fn pair_block<S: FloatBits, D: PairDots<S>, const R: usize, const W: usize>(s: S, d: D, p: &Block) {
    let head = s.head(if W == 1 { p.last } else { S::N });
    let mut acc = [[s.splat(0.0); W]; R];
    // SAFETY: row `i < R` and vector `w < W` of C; pair `k < p.pairs` of B.
    unsafe {
        if p.accumulate {
            for (i, acc) in acc.iter_mut().enumerate() {
                for (w, acc) in acc.iter_mut().enumerate() {
                    let c = p.c.offset(i as isize * p.c_rs).add(w * S::N);
                    *acc = if W == 1 { s.load_head(c, head) } else { s.load(c) };
                }
            }
            if !p.scale.is_null() {
                for (i, acc) in acc.iter_mut().enumerate() {
                    let factor = s.splat(p.scale.add(i).read_unaligned());
                    for acc in acc {
                        *acc = s.mul(*acc, factor);
                    }
                }
            }
        }
        if p.pairs > 0 {
            pair_step::<S, D, R, W, true>(s, d, p, 0, head, &mut acc);
            for k in 1..p.pairs.max(2) - 1 {
                pair_step::<S, D, R, W, false>(s, d, p, k, head, &mut acc);
            }
            if p.pairs > 1 {
                pair_step::<S, D, R, W, true>(s, d, p, p.pairs - 1, head, &mut acc);
            }
        }
        let factor = s.splat(p.factor);
        for (i, acc) in acc.iter().enumerate() {
            for (w, &v) in acc.iter().enumerate() {
                let c = p.c.offset(i as isize * p.c_rs).add(w * S::N);
                let v = s.mul(v, factor);
                if W == 1 { s.store_head(c, head, v) } else { s.store(c, v) }
            }
        }
    }
}

/// One pair of terms; the first and the last (`END`) may have but one.
#[inline(always)]
unsafe fn pair_step<S: FloatBits, D: PairDots<S>, const R: usize, const W: usize, const END: bool>(
    s: S,
    d: D,
    p: &Block,
    pair: usize,
    head: S::Head,
    acc: &mut [[S::V; W]; R],
) {
    let row = p.b.wrapping_offset(pair as isize * p.b_rs).cast::<f32>();
    let mut b = [s.splat(0.0); W];
    for (w, b) in b.iter_mut().enumerate() {
        let from = row.wrapping_add(w * S::N);
        // SAFETY: the words of the caller's row.
        *b = unsafe { if W == 1 { s.load_head(from, head) } else { s.load(from) } };
        if END {
            let bits = if pair == 0 { p.ends[0] } else { p.ends[1] };
            *b = s.bits_to_float(s.int_and(s.bits(*b), s.int_splat(bits as i32)));
        }
    }
    for pass in 0..D::PASSES {
        let mut operands = b;
        for operand in &mut operands {
            *operand = d.operand(s, *operand, pass);
        }
        for (i, acc) in acc.iter_mut().enumerate() {
            for (acc, &b) in acc.iter_mut().zip(&operands) {
                // SAFETY: the caller's pair.
                *acc = unsafe { d.dot(s, p, [i, pair, pass], b, *acc) };
            }
        }
    }
}

/// The product, asking for each element of A whether it is 0.
#[inline(always)]
unsafe fn element_by_element<S: Blocks<f32> + FloatBits>(s: S, block: &Block, p: &Pairs) {
    for row in 0..block.rows {
        let mut j = 0;
        while j < p.n {
            let head = s.head((p.n - j).min(S::N));
            let c = block.c.wrapping_offset(row as isize * block.c_rs).wrapping_add(j);
            // SAFETY: the columns of `head` from `j` on of the caller's row of C, and of pairs of B.
            unsafe {
                let mut acc = if block.accumulate { s.load_head(c, head) } else { s.splat(0.0) };
                if !block.scale.is_null() {
                    acc = s.mul(acc, s.splat(block.scale.add(row).read_unaligned()));
                }
                for k in p.first..p.first + p.k {
                    let a = block.wide.add(row * LINE + k).read();
                    if a != 0.0 {
                        let words = block.b.wrapping_offset((k / 2) as isize * block.b_rs).wrapping_add(j);
                        let b = halves_of(s, s.load_head(words.cast(), head), k % 2);
                        acc = s.fma(s.splat(a), b, acc);
                    }
                }
                s.store_head(c, head, acc);
            }
            j += S::N;
        }
    }
}
