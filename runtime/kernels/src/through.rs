//! The product through a function: `C = (C or 0) + sum_k W[i, k] tanh(A[i, k] + B[k, j])`.
//!
//! With `E = e^(2 a) e^(2 b)`, `tanh(a + b) = 1 - 2 / (1 + E)`: the exponentials are of A and of B alone, and what is left
//! for each term of the sum is a multiply-add, a quotient and an addition. That holds where no exponential overflows
//! and where the arguments are not so small that the difference from 1 loses them; a block of which this is not known
//! is summed with `tanh` itself.

use crate::function::Function;
use crate::function::exp::Exp;
use crate::function::expm1::Tanh;
use crate::lanes::{FloatBits, Interleaved, Lanes};

/// The operands, with strides in elements. B and C have unit column stride.
#[derive(Clone, Copy)]
pub(crate) struct Through {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub w: *const f32,
    pub w_rs: isize,
    pub w_cs: isize,
    pub a: *const f32,
    pub a_rs: isize,
    pub a_cs: isize,
    pub b: *const f32,
    pub b_rs: isize,
    pub c: *mut f32,
    pub c_rs: isize,
    pub accumulate: bool,
}

/// Terms and columns of a block, a multiple of every four vectors.
const BLOCK: usize = 64;
/// Rows of a register block.
const ROWS: usize = 4;
/// Vectors of a register block.
const WIDE: usize = 2;

/// `e^(2 x) e^(2 y)` of numbers up to this size is finite, and so is their square.
const LARGEST: f32 = 20.0;
/// Where no argument is larger than this, 1 less something would be too coarse.
const SMALLEST: f32 = 0.125;
/// Weights beyond this would overflow in the sum of weights.
const HEAVIEST: f32 = 1e30;

/// Lines of [`BLOCK`] numbers, with the largest magnitude among them.
struct Lines<const R: usize> {
    raw: [[f32; BLOCK]; R],
    exps: [[f32; BLOCK]; R],
    largest: f32,
}

impl<const R: usize> Lines<R> {
    fn zero() -> Self {
        Self { raw: [[0.0; BLOCK]; R], exps: [[1.0; BLOCK]; R], largest: 0.0 }
    }

    /// Reads `lines` lines of `count` numbers and takes `e^(2 x)` of them; NaN counts as infinitely large.
    ///
    /// # Safety
    /// `p` must be valid for the elements at these strides.
    #[inline(always)]
    unsafe fn fill<S: FloatBits>(&mut self, s: S, lines: usize, count: usize, p: *const f32, [rs, cs]: [isize; 2]) {
        let wide = Interleaved(s);
        let mut largest = s.splat(0.0);
        for (line, (raw, exps)) in self.raw.iter_mut().zip(&mut self.exps).enumerate().take(lines) {
            // SAFETY: the caller's elements; a line is a multiple of four vectors.
            unsafe {
                read(s, raw, count, p.wrapping_offset(line as isize * rs), cs);
                let mut at = 0;
                while at < BLOCK {
                    let x = s.load(raw.as_ptr().add(at));
                    // The second operand where one is NaN: what was seen before may be lost, NaN is not.
                    largest = s.max(largest, s.abs(x));
                    largest = s.select(s.eq(x, x), largest, s.splat(f32::INFINITY));
                    at += S::N;
                }
                let mut at = 0;
                while at < BLOCK {
                    let x = wide.load(raw.as_ptr().add(at));
                    wide.store(exps.as_mut_ptr().add(at), Exp.apply(wide, wide.add(x, x)));
                    at += 4 * S::N;
                }
            }
        }
        self.largest = s.largest(largest);
    }
}

/// `line[..count]` from memory, 0 beyond.
///
/// # Safety
/// `p` must be valid for `count` elements at the stride.
#[inline(always)]
unsafe fn read<S: Lanes<f32>>(s: S, line: &mut [f32; BLOCK], count: usize, p: *const f32, stride: isize) {
    // SAFETY: the caller's elements.
    unsafe {
        if stride == 1 {
            let mut at = 0;
            while at < BLOCK {
                let head = s.head(count.saturating_sub(at).min(S::N));
                let from = p.wrapping_add(at);
                s.store(line.as_mut_ptr().add(at), s.load_head(from, head));
                at += S::N;
            }
            return;
        }
        for (at, x) in line.iter_mut().enumerate() {
            *x = if at < count { p.wrapping_offset(at as isize * stride).read_unaligned() } else { 0.0 };
        }
    }
}

/// Weights of the rows at hand: -2 w, and the sum of w.
struct Weights {
    raw: [[f32; BLOCK]; ROWS],
    minus_two: [[f32; BLOCK]; ROWS],
    sums: [f32; ROWS],
    largest: f32,
}

impl Weights {
    fn zero() -> Self {
        Self { raw: [[0.0; BLOCK]; ROWS], minus_two: [[0.0; BLOCK]; ROWS], sums: [0.0; ROWS], largest: 0.0 }
    }

    /// # Safety
    /// `p` must be valid for the elements at these strides.
    #[inline(always)]
    unsafe fn fill<S: FloatBits>(&mut self, s: S, lines: usize, count: usize, p: *const f32, [rs, cs]: [isize; 2]) {
        let mut largest = s.splat(0.0);
        for line in 0..lines {
            // SAFETY: the caller's elements; a line is a multiple of every vector.
            unsafe {
                read(s, &mut self.raw[line], count, p.wrapping_offset(line as isize * rs), cs);
                let (mut sum, mut at) = (s.splat(0.0), 0);
                while at < BLOCK {
                    let w = s.load(self.raw[line].as_ptr().add(at));
                    largest = s.max(largest, s.abs(w));
                    largest = s.select(s.eq(w, w), largest, s.splat(f32::INFINITY));
                    sum = s.add(sum, w);
                    s.store(self.minus_two[line].as_mut_ptr().add(at), s.mul(w, s.splat(-2.0)));
                    at += S::N;
                }
                self.sums[line] = s.sum(sum);
            }
        }
        self.largest = s.largest(largest);
    }
}

/// The whole sum.
///
/// # Safety
/// The pointers must be valid for the described elements; C is apart from the others.
#[inline(always)]
pub(crate) unsafe fn product_tanh<S: FloatBits>(s: S, p: &Through) {
    let mut keys = Lines::<BLOCK>::zero();
    let mut queries = Lines::<ROWS>::zero();
    let mut weights = Weights::zero();
    let mut j = 0;
    while j < p.n {
        let cols = (p.n - j).min(BLOCK);
        let mut k = 0;
        // Once at least: without terms, C becomes 0 if it does not accumulate.
        loop {
            let depth = (p.k - k).min(BLOCK);
            let b = p.b.wrapping_add(j).wrapping_offset(k as isize * p.b_rs);
            // SAFETY: columns `j .. j + cols` and terms `k .. k + depth` of the caller's operands.
            unsafe { keys.fill(s, depth, cols, b, [p.b_rs, 1]) };
            let mut i = 0;
            while i < p.m {
                let rows = (p.m - i).min(ROWS);
                let a = p.a.wrapping_offset(i as isize * p.a_rs + k as isize * p.a_cs);
                let w = p.w.wrapping_offset(i as isize * p.w_rs + k as isize * p.w_cs);
                let c = p.c.wrapping_offset(i as isize * p.c_rs).wrapping_add(j);
                let block = Block { rows, cols, depth, c, c_rs: p.c_rs, accumulate: p.accumulate || k > 0 };
                // SAFETY: rows `i .. i + rows` as well.
                unsafe {
                    queries.fill(s, rows, depth, a, [p.a_rs, p.a_cs]);
                    // Shared by all rows: read once, for as many as there may be.
                    if p.w_rs != 0 || i == 0 {
                        weights.fill(s, if p.w_rs == 0 { ROWS } else { rows }, depth, w, [p.w_rs, p.w_cs]);
                    }
                    block.add(s, &queries, &keys, &weights);
                }
                i += rows;
            }
            k += depth;
            if k >= p.k {
                break;
            }
        }
        j += cols;
    }
}

/// Some rows and columns of C.
#[derive(Clone, Copy)]
struct Block {
    rows: usize,
    cols: usize,
    depth: usize,
    c: *mut f32,
    c_rs: isize,
    accumulate: bool,
}

impl Block {
    /// # Safety
    /// `c` must be valid for the rows and columns.
    #[inline(always)]
    unsafe fn add<S: FloatBits>(&self, s: S, queries: &Lines<ROWS>, keys: &Lines<BLOCK>, weights: &Weights) {
        let size = queries.largest + keys.largest;
        let tame = queries.largest <= LARGEST && keys.largest <= LARGEST && weights.largest <= HEAVIEST;
        let mut j = 0;
        while j < self.cols {
            // SAFETY: the caller's rows, and columns from j on.
            unsafe {
                if !(tame && size >= SMALLEST) {
                    self.add_directly(s, j, queries, keys, weights);
                } else if self.rows == ROWS {
                    self.add_rows::<S, ROWS>(s, 0, j, queries, keys, weights);
                } else {
                    for row in 0..self.rows {
                        self.add_rows::<S, 1>(s, row, j, queries, keys, weights);
                    }
                }
            }
            j += WIDE * S::N;
        }
    }

    /// R rows from `row` on and [`WIDE`] vectors from column `j` on, by quotients.
    #[inline(always)]
    unsafe fn add_rows<S: FloatBits, const R: usize>(
        &self,
        s: S,
        row: usize,
        j: usize,
        queries: &Lines<ROWS>,
        keys: &Lines<BLOCK>,
        weights: &Weights,
    ) {
        let one = s.splat(1.0);
        let mut sums = [[s.splat(0.0); WIDE]; R];
        for k in 0..self.depth {
            // SAFETY: `j` is less than a line, which is a multiple of `WIDE` vectors; `k` too.
            unsafe {
                let line = keys.exps.get_unchecked(k).as_ptr().add(j);
                let mut exps = [one; WIDE];
                for (at, exp) in exps.iter_mut().enumerate() {
                    *exp = s.load(line.add(at * S::N));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let query = s.splat(*queries.exps.get_unchecked(row + r).get_unchecked(k));
                    let weight = s.splat(*weights.minus_two.get_unchecked(row + r).get_unchecked(k));
                    for (sum, &exp) in sums.iter_mut().zip(&exps) {
                        *sum = s.add(*sum, s.quotient(weight, s.fma(query, exp, one)));
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (at, &sum) in sums.iter().enumerate() {
                // SAFETY: as above.
                unsafe { self.store(s, row + r, j + at * S::N, s.add(sum, s.splat(weights.sums[row + r]))) };
            }
        }
    }

    /// All rows, and [`WIDE`] vectors from column `j` on, by the function itself.
    #[inline(always)]
    unsafe fn add_directly<S: FloatBits>(
        &self,
        s: S,
        j: usize,
        queries: &Lines<ROWS>,
        keys: &Lines<BLOCK>,
        weights: &Weights,
    ) {
        for row in 0..self.rows {
            for at in 0..WIDE {
                let mut sum = s.splat(0.0);
                for k in 0..self.depth {
                    // SAFETY: as in `add_rows`.
                    let key = unsafe { s.load(keys.raw[k].as_ptr().add(j + at * S::N)) };
                    let value = Tanh.apply(s, s.add(s.splat(queries.raw[row][k]), key));
                    sum = s.fma(s.splat(weights.raw[row][k]), value, sum);
                }
                // SAFETY: the caller's rows and columns.
                unsafe { self.store(s, row, j + at * S::N, sum) };
            }
        }
    }

    /// Stores or adds a vector of sums, as far as it has columns.
    #[inline(always)]
    unsafe fn store<S: FloatBits>(&self, s: S, row: usize, j: usize, sum: S::V) {
        let head = s.head(self.cols.saturating_sub(j).min(S::N));
        let c = self.c.wrapping_offset(row as isize * self.c_rs).wrapping_add(j);
        // SAFETY: the columns of `head`.
        unsafe {
            let old = if self.accumulate { s.load_head(c, head) } else { s.splat(0.0) };
            s.store_head(c, head, s.add(old, sum));
        }
    }
}
