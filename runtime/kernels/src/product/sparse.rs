//! The product for operands with zeros that are masked elements: an exactly zero element of A contributes nothing,
//! even against NaN or infinities.
//!
//! Weights of masked keys are exactly 0, and what a key outside the mask holds must not reach the result. Where B is
//! finite, terms that a whole block of rows leaves out are not computed, and the others are by the fast product; where
//! the rows of a block have few terms in common, each row has its own alone. The order of additions is the same.
//! Otherwise terms are left out element by element.

use super::{Blocks, Operands, load_row, product, product_part};
use crate::lanes::{Element, Lanes, Square};
use crate::rows::all_finite;

/// Terms whose zeros are looked at together: bits of a word.
pub(crate) const WORD: usize = 64;

/// Blocks of rows whose terms are known before any is computed.
const BLOCKS: usize = 32;

/// Terms left out in a row that are not worth beginning anew.
const GAP: u32 = 3;

/// What a term of a row costs, in quarters of what it costs in a block of rows; and what a row costs besides (measured
/// on one Zen 5 core, 2026-11-23).
const ALONE: u32 = 5;
const ROW: u32 = 24;

/// The product, skipping the terms whose element of A is 0.
///
/// # Safety
/// As for [`super::product`].
#[inline(always)]
pub(crate) unsafe fn product_sparse<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>) {
    if p.a_cs != 1 || p.k == 0 {
        // SAFETY: the caller's operands.
        return unsafe { if all_finite(s, p.k, p.n, p.b, p.b_rs) { product(s, p) } else { element_by_element(s, p) } };
    }
    let height = const { S::ROWS[S::MAIN] };
    let mut i = 0;
    while i < p.m {
        let m = (p.m - i).min(BLOCKS * height);
        let rows = Operands { m, ..p.at(i, 0) };
        let mut k0 = 0;
        while k0 < p.k {
            let part = rows.part(k0, (p.k - k0).min(WORD));
            // SAFETY: rows and terms of the caller's operands.
            unsafe { few_terms(s, &part, height) };
            k0 += part.k;
        }
        i += m;
    }
}

/// At most [`WORD`] terms of at most [`BLOCKS`] blocks of rows.
#[inline(always)]
unsafe fn few_terms<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>, height: usize) {
    let (mut used, mut alone) = ([0u64; BLOCKS], [false; BLOCKS]);
    let mut all = 0;
    for (block, (used, alone)) in used.iter_mut().zip(&mut alone).enumerate().take(p.m.div_ceil(height)) {
        let mut terms = 0;
        let rows = block * height..p.m.min((block + 1) * height);
        let count = rows.len() as u32;
        for i in rows {
            // SAFETY: row `i` of the caller's A, whose elements are adjacent.
            let own = unsafe { places_other_than(s, p.at(i, 0).a, p.k, T::ZERO) };
            terms += own.count_ones();
            *used |= own;
        }
        *alone = terms * ALONE + count * ROW < used.count_ones() * count * 4;
        all |= *used;
    }
    let mut at = 0;
    while let Some([from, to]) = next_run(all, at, GAP) {
        let run = p.part(from, to - from);
        // SAFETY: rows `from .. to` of the caller's B.
        if !unsafe { all_finite(s, run.k, p.n, run.b, run.b_rs) } {
            // SAFETY: the caller's operands.
            return unsafe { element_by_element(s, p) };
        }
        at = to;
    }
    for (block, (&used, &alone)) in used.iter().zip(&alone).enumerate().take(p.m.div_ceil(height)) {
        let i = block * height;
        let rows = Operands { m: (p.m - i).min(height), ..p.at(i, 0) };
        if alone {
            for i in 0..rows.m {
                // SAFETY: a row of the block.
                unsafe { row_alone(s, &rows.at(i, 0)) };
            }
            continue;
        }
        let (mut accumulate, mut scale) = (p.accumulate, rows.scale);
        let mut at = 0;
        while let Some([from, to]) = next_run(used, at, GAP) {
            // SAFETY: rows and terms of the caller's operands.
            unsafe { product_part(s, &Operands { accumulate, scale, ..rows.part(from, to - from) }) };
            (accumulate, scale) = (true, core::ptr::null());
            at = to;
        }
        if !accumulate || !scale.is_null() {
            // SAFETY: rows of the caller's; no term, which makes them 0 or only scales them.
            unsafe { product_part(s, &rows.part(0, 0)) };
        }
    }
}

/// One row of C: the terms whose element of A is not 0, at most [`WORD`].
#[inline(always)]
unsafe fn row_alone<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>) {
    // SAFETY: the caller's row of A, whose elements are adjacent; columns from `j` on, as many as a panel has.
    unsafe {
        let terms = places_other_than(s, p.a, p.k, T::ZERO);
        let mut j = 0;
        while j + 4 * S::N <= p.n {
            row_panel::<T, S, 4>(s, &p.at(0, j), terms, s.head(S::N));
            j += 4 * S::N;
        }
        while j < p.n {
            row_panel::<T, S, 1>(s, &p.at(0, j), terms, s.head((p.n - j).min(S::N)));
            j += S::N;
        }
    }
}

/// `W` vectors of a row, the last as far as `head`: the terms that are set.
#[inline(always)]
unsafe fn row_panel<T: Element, S: Blocks<T>, const W: usize>(s: S, p: &Operands<T>, terms: u64, head: S::Head) {
    // SAFETY: the caller's columns of C and B, its terms of A and B.
    unsafe {
        let mut acc = [s.splat(T::ZERO); W];
        if p.accumulate {
            acc = load_row::<T, S, W, true>(s, p.c, head);
        }
        if !p.scale.is_null() {
            let factor = s.splat(p.scale.read_unaligned());
            acc.iter_mut().for_each(|acc| *acc = s.mul(*acc, factor));
        }
        let mut left = terms;
        while left != 0 {
            let k = left.trailing_zeros() as isize;
            left &= left - 1;
            let (a, b) = (s.splat(p.a.offset(k).read_unaligned()), p.b.offset(k * p.b_rs));
            for (acc, &b) in acc.iter_mut().zip(&load_row::<T, S, W, true>(s, b, head)) {
                *acc = s.fma(a, b, *acc);
            }
        }
        for (w, &acc) in acc.iter().enumerate() {
            let c = p.c.add(w * S::N);
            if w + 1 == W { s.store_head(c, head, acc) } else { s.store(c, acc) }
        }
    }
}

/// The first run of set bits from `at` on, with what lies between it and others that are at most `gap` apart.
#[inline(always)]
pub(super) fn next_run(bits: u64, at: usize, gap: u32) -> Option<[usize; 2]> {
    let left = bits & u64::MAX.checked_shl(at as u32).unwrap_or(0);
    if left == 0 {
        return None;
    }
    let from = left.trailing_zeros();
    let mut to = from;
    loop {
        to += (left >> to).trailing_ones();
        let rest = left.checked_shr(to).unwrap_or(0);
        if rest == 0 || rest.trailing_zeros() > gap {
            return Some([from as usize, to as usize]);
        }
        to += rest.trailing_zeros();
    }
}

/// Where the first `n <= 64` elements differ from a value (NaN does), as bits.
///
/// # Safety
/// `p` must be valid for reading `n` elements.
#[inline(always)]
pub(crate) unsafe fn places_other_than<T: Element, S: Square<T>>(s: S, p: *const T, n: usize, value: T) -> u64 {
    let value = s.splat(value);
    let (mut same, mut at) = (0, 0);
    // SAFETY: the caller's elements.
    unsafe {
        while at + S::N <= n {
            same |= s.lanes_of(s.eq(s.load(p.add(at)), value)) << at;
            at += S::N;
        }
        if at < n {
            same |= s.lanes_of(s.eq(s.load_head(p.add(at), s.head(n - at)), value)) << at;
        }
    }
    !same & (u64::MAX >> (WORD - n.clamp(1, WORD)))
}

/// The product, asking for each element of A whether it is 0.
#[inline(always)]
unsafe fn element_by_element<T: Element, S: Lanes<T>>(s: S, p: &Operands<T>) {
    for i in 0..p.m {
        let mut j = 0;
        while j < p.n {
            let head = s.head((p.n - j).min(S::N));
            // SAFETY: row `i` of A and C, and the columns of `head` from `j` on, of the caller's operands.
            unsafe { row_vector(s, &p.at(i, j), head) };
            j += S::N;
        }
    }
}

/// One row of C, the columns of `head`.
#[inline(always)]
unsafe fn row_vector<T: Element, S: Lanes<T>>(s: S, p: &Operands<T>, head: S::Head) {
    // SAFETY: the caller's row of A, its columns of B and C.
    unsafe {
        let mut acc = if p.accumulate { s.load_head(p.c, head) } else { s.splat(T::ZERO) };
        if !p.scale.is_null() {
            acc = s.mul(acc, s.splat(p.scale.read_unaligned()));
        }
        for k in 0..p.k as isize {
            let a_ik = p.a.offset(k * p.a_cs).read_unaligned();
            if a_ik != T::ZERO {
                acc = s.fma(s.splat(a_ik), s.load_head(p.b.offset(k * p.b_rs), head), acc);
            }
        }
        s.store_head(p.c, head, acc);
    }
}
