//! The product of few rows with a matrix that comes from memory: weights of some queries against a cache of values.
//!
//! A row of B is used a few times only, so its way from memory counts: it is asked for some rows ahead, what lies
//! adjacent is read together though it takes several panels, and what is stored narrow is widened as it is loaded.
//! Each element of C is the same chain of multiply-adds as in [`super::product`].

use super::{Blocks, Operands};
use crate::dots::{Stored, elements_ahead};
use crate::lanes::{CACHE_LINE, Halves, prefetch};

/// Rows from which on B is used often enough.
pub(crate) const MOST_ROWS: usize = 8;

/// Rows of a block.
const ROWS: usize = 4;

/// Terms of the sum that all panels take before the next ones.
const PART: usize = 16;

/// Bytes that memory is asked for ahead (bfloat16 comes a third faster than at 4096; f32 slower at 16384).
const AHEAD: usize = 8192;

/// `C[m, n] = (C or 0) + A[m, k] B[k, n]`, the elements of B widened to `f32`; `b` stands for the operands' own.
///
/// # Safety
/// As for [`super::product`].
#[inline(always)]
pub(crate) unsafe fn few_rows<S: Halves + Blocks<f32>, B: Stored>(s: S, p: &Operands<f32>, b: *const B) {
    if p.m == 0 || p.n == 0 {
        return;
    }
    let mut k = 0;
    loop {
        let count = (p.k - k).min(PART);
        let part = p.part(k, count);
        let b = b.wrapping_offset(k as isize * p.b_rs);
        // SAFETY: a part of the caller's operands.
        unsafe {
            match const { S::MAIN } {
                4 => panels::<S, B, 4>(s, &part, b),
                2 => panels::<S, B, 2>(s, &part, b),
                _ => panels::<S, B, 1>(s, &part, b),
            }
        }
        k += count;
        if k >= p.k {
            return;
        }
    }
}

/// Panels of `W` vectors, then single ones, the last of which may be ragged.
#[inline(always)]
unsafe fn panels<S: Halves + Blocks<f32>, B: Stored, const W: usize>(s: S, p: &Operands<f32>, b: *const B) {
    let mut j = 0;
    // SAFETY: columns from `j` on of the caller's operands, as many as a panel has.
    unsafe {
        while j + W * S::N <= p.n {
            rows::<S, B, W, false>(s, &p.at(0, j), b.wrapping_add(j), S::N);
            j += W * S::N;
        }
        while j + S::N <= p.n {
            rows::<S, B, 1, false>(s, &p.at(0, j), b.wrapping_add(j), S::N);
            j += S::N;
        }
        if j < p.n {
            rows::<S, B, 1, true>(s, &p.at(0, j), b.wrapping_add(j), p.n - j);
        }
    }
}

/// All rows of a panel whose last vector holds `last` columns, in blocks whose heights differ by at most one.
#[inline(always)]
unsafe fn rows<S: Halves + Blocks<f32>, B: Stored, const W: usize, const RAGGED: bool>(
    s: S,
    p: &Operands<f32>,
    b: *const B,
    last: usize,
) {
    let blocks = p.m.div_ceil(ROWS);
    let mut i = 0;
    for left in (1..=blocks).rev() {
        let height = (p.m - i).div_ceil(left);
        let part = p.at(i, 0);
        // SAFETY: rows `i .. i + height` of the caller's panel.
        unsafe {
            match height {
                1 => block::<S, B, 1, W, RAGGED>(s, &part, b, last),
                2 => block::<S, B, 2, W, RAGGED>(s, &part, b, last),
                3 => block::<S, B, 3, W, RAGGED>(s, &part, b, last),
                _ => block::<S, B, ROWS, W, RAGGED>(s, &part, b, last),
            }
        }
        i += height;
    }
}

/// A block of `R` rows by `W` vectors, the last of them of `last` columns if `RAGGED`.
///
/// # Safety
/// The operands must be valid for `R` rows and as many columns; `p.m` and `p.b` are not read, and `p.n` only tells how far apart rows are.
#[inline(always)]
unsafe fn block<S: Halves + Blocks<f32>, B: Stored, const R: usize, const W: usize, const RAGGED: bool>(
    s: S,
    p: &Operands<f32>,
    b: *const B,
    last: usize,
) {
    let head = s.head(last);
    let next = elements_ahead::<B>(AHEAD, p.n, p.b_rs);
    let mut acc = [[s.splat(0.0); W]; R];
    // SAFETY: row `i < R` and vector `w < W` of C; term `k < p.k` of the sum.
    unsafe {
        if p.accumulate {
            for (i, acc) in acc.iter_mut().enumerate() {
                for (w, acc) in acc.iter_mut().enumerate() {
                    let c = p.c.offset(i as isize * p.c_rs).add(w * S::N);
                    *acc = if RAGGED { s.load_head(c, head) } else { s.load(c) };
                }
            }
        }
        for k in 0..p.k {
            let row = b.wrapping_offset(k as isize * p.b_rs);
            let ahead = row.wrapping_offset(next);
            let mut line = [s.splat(0.0); W];
            for (w, line) in line.iter_mut().enumerate() {
                if (w * S::N * size_of::<B>()).is_multiple_of(CACHE_LINE) {
                    prefetch(ahead.wrapping_add(w * S::N));
                }
                let from = row.add(w * S::N);
                *line = if RAGGED { B::load_some(s, from, last) } else { B::load(s, from) };
            }
            for (i, acc) in acc.iter_mut().enumerate() {
                let a = s.splat(p.a.offset(i as isize * p.a_rs + k as isize * p.a_cs).read_unaligned());
                for (acc, &line) in acc.iter_mut().zip(&line) {
                    *acc = s.fma(a, line, *acc);
                }
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (w, &acc) in acc.iter().enumerate() {
                let c = p.c.offset(i as isize * p.c_rs).add(w * S::N);
                if RAGGED { s.store_head(c, head, acc) } else { s.store(c, acc) }
            }
        }
    }
}
