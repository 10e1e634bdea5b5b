//! The product through a function: `C = (C or 0) + sum_k W[i, k] tanh(A[i, k] + B[k, j])`.
//!
//! With `E = e^(2 a) e^(2 b)`, `tanh(a + b) = 1 - 2 / (1 + E)`: the exponentials are of A and of B alone, and what is left
//! for each term of the sum is a multiply-add, a quotient and an addition. That holds where no exponential overflows
//! and where the arguments are not so small that the difference from 1 loses them; a block of which this is not known
//! is summed with `tanh` itself.

use core::mem::MaybeUninit;

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

/// Lines of [`BLOCK`] numbers, each a multiple of every four vectors; what was not filled is not read.
type Numbers<const R: usize> = MaybeUninit<[[f32; BLOCK]; R]>;

/// Numbers with their exponentials and the largest magnitude among them.
struct Lines<const R: usize> {
    raw: Numbers<R>,
    exps: Numbers<R>,
    largest: f32,
}

/// A line of numbers.
#[inline(always)]
fn line<const R: usize>(numbers: &Numbers<R>, at: usize) -> *const f32 {
    debug_assert!(at < R, "there are so many lines");
    numbers.as_ptr().cast::<f32>().wrapping_add(at * BLOCK)
}

/// A line of numbers, for writing.
#[inline(always)]
fn line_mut<const R: usize>(numbers: &mut Numbers<R>, at: usize) -> *mut f32 {
    debug_assert!(at < R, "there are so many lines");
    numbers.as_mut_ptr().cast::<f32>().wrapping_add(at * BLOCK)
}

impl<const R: usize> Lines<R> {
    #[inline(always)]
    fn new() -> Self {
        Self { raw: MaybeUninit::uninit(), exps: MaybeUninit::uninit(), largest: f32::INFINITY }
    }

    /// Reads `lines` lines of `count` numbers and, if `exps`, takes `e^(2 x)` of them. NaN counts as infinitely large, and
    /// so does everything without `exps`.
    ///
    /// # Safety
    /// `p` must be valid for the elements at these strides.
    #[inline(always)]
    unsafe fn fill<S: FloatBits>(
        &mut self,
        s: S,
        [lines, count]: [usize; 2],
        p: *const f32,
        [rs, cs]: [isize; 2],
        exps: bool,
    ) {
        let wide = Interleaved(s);
        let mut largest = s.splat(if exps { 0.0 } else { f32::INFINITY });
        for at in 0..lines {
            let (raw, exp) = (line_mut(&mut self.raw, at), line_mut(&mut self.exps, at));
            // SAFETY: the caller's elements; lines of its own.
            unsafe {
                read(s, raw, count, p.wrapping_offset(at as isize * rs), cs);
                if !exps {
                    continue;
                }
                let mut c = 0;
                while c < BLOCK {
                    largest = larger(s, largest, s.load(raw.add(c)));
                    c += S::N;
                }
                let mut c = 0;
                while c < BLOCK {
                    let x = wide.load(raw.add(c));
                    wide.store(exp.add(c), Exp.apply(wide, wide.add(x, x)));
                    c += 4 * S::N;
                }
            }
        }
        self.largest = s.largest(largest);
    }
}

/// The larger of a magnitude and that of `x`; infinity where x is NaN.
#[inline(always)]
fn larger<S: FloatBits>(s: S, largest: S::V, x: S::V) -> S::V {
    s.select(s.eq(x, x), s.max(largest, s.abs(x)), s.splat(f32::INFINITY))
}

/// `line[..count]` from memory, 0 beyond.
///
/// # Safety
/// `line` must be a line, and `p` valid for `count` elements at the stride.
#[inline(always)]
unsafe fn read<S: Lanes<f32>>(s: S, line: *mut f32, count: usize, p: *const f32, stride: isize) {
    // SAFETY: the caller's elements, and a line.
    unsafe {
        if stride == 1 {
            let mut at = 0;
            while at < BLOCK {
                let head = s.head(count.saturating_sub(at).min(S::N));
                let from = p.wrapping_add(at);
                s.store(line.add(at), s.load_head(from, head));
                at += S::N;
            }
            return;
        }
        for at in 0..BLOCK {
            let x = if at < count { p.wrapping_offset(at as isize * stride).read_unaligned() } else { 0.0 };
            line.add(at).write(x);
        }
    }
}

/// Weights of the rows at hand: w, -2 w, and the sum of w.
struct Weights {
    raw: Numbers<ROWS>,
    minus_two: Numbers<ROWS>,
    sums: [f32; ROWS],
    largest: f32,
}

impl Weights {
    #[inline(always)]
    fn new() -> Self {
        Self { raw: MaybeUninit::uninit(), minus_two: MaybeUninit::uninit(), sums: [0.0; ROWS], largest: 0.0 }
    }

    /// # Safety
    /// `p` must be valid for the elements at these strides.
    #[inline(always)]
    unsafe fn fill<S: FloatBits>(&mut self, s: S, [lines, count]: [usize; 2], p: *const f32, [rs, cs]: [isize; 2]) {
        let mut largest = s.splat(0.0);
        for at in 0..lines {
            let (raw, minus_two) = (line_mut(&mut self.raw, at), line_mut(&mut self.minus_two, at));
            // SAFETY: the caller's elements; lines of its own.
            unsafe {
                read(s, raw, count, p.wrapping_offset(at as isize * rs), cs);
                let (mut sum, mut c) = (s.splat(0.0), 0);
                while c < BLOCK {
                    let w = s.load(raw.add(c));
                    largest = larger(s, largest, w);
                    sum = s.add(sum, w);
                    s.store(minus_two.add(c), s.mul(w, s.splat(-2.0)));
                    c += S::N;
                }
                self.sums[at] = s.sum(sum);
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
    let mut keys = Lines::<BLOCK>::new();
    let mut queries = Lines::<ROWS>::new();
    let mut weights = Weights::new();
    // The exponentials of B are as much work as a few rows by the function itself.
    let exps = p.m >= ROWS;
    let mut j = 0;
    while j < p.n {
        let cols = (p.n - j).min(BLOCK);
        let mut k = 0;
        // Once at least: without terms, C becomes 0 if it does not accumulate.
        loop {
            let depth = (p.k - k).min(BLOCK);
            let b = p.b.wrapping_add(j).wrapping_offset(k as isize * p.b_rs);
            // SAFETY: columns `j .. j + cols` and terms `k .. k + depth` of the caller's operands.
            unsafe { keys.fill(s, [depth, cols], b, [p.b_rs, 1], exps) };
            let mut i = 0;
            while i < p.m {
                let rows = (p.m - i).min(ROWS);
                let a = p.a.wrapping_offset(i as isize * p.a_rs + k as isize * p.a_cs);
                let w = p.w.wrapping_offset(i as isize * p.w_rs + k as isize * p.w_cs);
                let c = p.c.wrapping_offset(i as isize * p.c_rs).wrapping_add(j);
                let block = Block { rows, cols, depth, c, c_rs: p.c_rs, accumulate: p.accumulate || k > 0 };
                // SAFETY: rows `i .. i + rows` as well.
                unsafe {
                    queries.fill(s, [rows, depth], a, [p.a_rs, p.a_cs], exps);
                    // Shared by all rows: read once, for as many as there may be.
                    if p.w_rs != 0 || i == 0 {
                        weights.fill(s, [if p.w_rs == 0 { ROWS } else { rows }, depth], w, [p.w_rs, p.w_cs]);
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
        if !(tame && size >= SMALLEST) {
            // SAFETY: the caller's rows and columns.
            return unsafe { self.add_directly(s, queries, keys, weights) };
        }
        let mut j = 0;
        while j < self.cols {
            // SAFETY: the caller's rows, and columns from j on.
            unsafe {
                if self.rows == ROWS {
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
            // SAFETY: `j` is less than a line, which is a multiple of `WIDE` vectors; so is `k`.
            unsafe {
                let line_k = line(&keys.exps, k).add(j);
                let mut exps = [one; WIDE];
                for (at, exp) in exps.iter_mut().enumerate() {
                    *exp = s.load(line_k.add(at * S::N));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let query = s.splat(*line(&queries.exps, row + r).add(k));
                    let weight = s.splat(*line(&weights.minus_two, row + r).add(k));
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

    /// All rows and columns, by the function itself.
    #[inline(always)]
    unsafe fn add_directly<S: FloatBits>(&self, s: S, queries: &Lines<ROWS>, keys: &Lines<BLOCK>, weights: &Weights) {
        let wide = Interleaved(s);
        for row in 0..self.rows {
            let mut j = 0;
            while j < self.cols {
                let mut sum = wide.splat(0.0);
                for k in 0..self.depth {
                    // SAFETY: `j` is less than a line, which is a multiple of four vectors; so is `k`.
                    unsafe {
                        let key = wide.load(line(&keys.raw, k).add(j));
                        let value = Tanh.apply(wide, wide.add(wide.splat(*line(&queries.raw, row).add(k)), key));
                        sum = wide.fma(wide.splat(*line(&weights.raw, row).add(k)), value, sum);
                    }
                }
                for (at, &sum) in sum.iter().enumerate() {
                    // SAFETY: the caller's rows and columns.
                    unsafe { self.store(s, row, j + at * S::N, sum) };
                }
                j += 4 * S::N;
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
