//! The product for operands with zeros that are masked elements: an exactly zero element of A contributes nothing,
//! even against NaN or infinities.
//!
//! Weights of masked keys are exactly 0, and what a key outside the mask holds must not reach the result. Where B is
//! finite, terms that a whole block of rows leaves out are not computed, and the others are by the fast product; where
//! the rows of a block have few terms in common, each row has its own alone. The order of additions is the same.
//! Otherwise terms are left out element by element.

use core::mem::MaybeUninit;

use super::open::HIGHEST;
use super::{Blocks, Operands, load_row, product, product_part};
use crate::lanes::{Element, Lanes, Square};
use crate::rows::all_finite;

/// Terms whose zeros are looked at together: bits of a word.
pub(crate) const WORD: usize = 64;

/// Blocks of rows whose terms are known before any is computed.
const BLOCKS: usize = 32;

/// Terms left out in a row that are not worth beginning anew.
const GAP: u32 = 3;

/// What a term of two rows costs, in quarters of what it costs one row of a block; and what a row costs besides (measured on
/// one core of an Emerald Rapids, 2026-11-30).
const OF_TWO: u32 = 8;
const ROW: u32 = 60;

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
    let mut own = [0u64; BLOCKS * HIGHEST];
    let mut all = 0;
    for (block, (used, alone)) in used.iter_mut().zip(&mut alone).enumerate().take(p.m.div_ceil(height)) {
        let mut terms = 0;
        let (first, end) = (block * height, p.m.min((block + 1) * height));
        let count = (end - first) as u32;
        for i in first..end {
            // SAFETY: row `i` of the caller's A, whose elements are adjacent.
            own[i] = unsafe { places_other_than(s, p.at(i, 0).a, p.k, T::ZERO) };
            *used |= own[i];
            // The second of two rows, or a last one.
            if i % 2 == 1 || i + 1 == end {
                terms += own[i & !1..=i].iter().fold(0, |all, terms| all | terms).count_ones();
            }
        }
        *alone = terms * OF_TWO + count * ROW < used.count_ones() * count * 4;
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
    // SAFETY: the caller's operands.
    unsafe { rows_alone(s, p, height, &alone, &own) };
    for (block, (&used, &alone)) in used.iter().zip(&alone).enumerate().take(p.m.div_ceil(height)) {
        let i = block * height;
        let rows = Operands { m: (p.m - i).min(height), ..p.at(i, 0) };
        if alone {
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

/// The rows of the blocks that are marked, two and two: the terms that either has, of at most [`WORD`].
#[inline(always)]
unsafe fn rows_alone<T: Element, S: Blocks<T>>(
    s: S,
    p: &Operands<T>,
    height: usize,
    alone: &[bool; BLOCKS],
    own: &[u64],
) {
    let rows = alone.iter().filter(|alone| **alone).count() * height;
    if rows == 0 {
        return;
    }
    let mut lines = Lines(MaybeUninit::uninit());
    let mut j = 0;
    while j < p.n {
        let wide = j + 4 * S::N <= p.n;
        let n = if wide { 4 * S::N } else { (p.n - j).min(S::N) };
        let head = s.head(n.min(S::N));
        let panel = Operands { n, ..p.at(0, j) };
        // SAFETY: columns of the caller's operands, which the lines hold as they are; pairs of rows of a block.
        unsafe {
            let panel = if rows >= FEW { aligned(s, &panel, wide, head, &mut lines) } else { panel };
            for block in (0..p.m.div_ceil(height)).filter(|block| alone[*block]) {
                let end = p.m.min((block + 1) * height);
                for i in (block * height..end).step_by(2) {
                    let pair = Operands { m: (end - i).min(2), ..panel.at(i, 0) };
                    let terms = own[i..i + pair.m].iter().fold(0, |all, terms| all | terms);
                    if wide {
                        panels::<T, S, 4>(s, &pair, terms, head)
                    } else {
                        panels::<T, S, 1>(s, &pair, terms, head)
                    }
                }
            }
        }
        j += n;
    }
}

/// Rows from which on lines of B are copied to where vectors lie in one line of the cache: what lies across two of them
/// is read twice for each term of each row.
const FEW: usize = 12;

/// Four vectors of each of [`WORD`] terms.
#[repr(align(64))]
struct Lines(MaybeUninit<[u8; 4 * 64 * WORD]>);

/// The operands with B in lines of its own, unless it lies well as it is.
#[inline(always)]
unsafe fn aligned<T: Element, S: Blocks<T>>(
    s: S,
    p: &Operands<T>,
    wide: bool,
    head: S::Head,
    lines: &mut Lines,
) -> Operands<T> {
    let vector = S::N * size_of::<T>();
    if (p.b.addr() | (p.b_rs.unsigned_abs() * size_of::<T>())).is_multiple_of(vector) {
        return Operands { ..*p };
    }
    let width = if wide { 4 } else { 1 };
    let to = lines.0.as_mut_ptr().cast::<T>();
    for k in 0..p.k {
        // SAFETY: `p.k <= WORD` lines of at most four vectors of at most 64 bytes, read as far as B has columns.
        unsafe {
            let (from, to) = (p.b.offset(k as isize * p.b_rs), to.add(k * width * S::N));
            for w in 0..width {
                s.store(to.add(w * S::N), s.load_head(from.add(w * S::N), head));
            }
        }
    }
    Operands { b: to, b_rs: (width * S::N) as isize, ..*p }
}

/// `W` vectors of one or two rows, the last as far as `head`: the terms that either has. The additions of one row wait for
/// each other, and the end of a row's terms is seldom foreseen; a term of one alone costs the other a multiplication by 0.
#[inline(always)]
unsafe fn panels<T: Element, S: Blocks<T>, const W: usize>(s: S, p: &Operands<T>, mut terms: u64, head: S::Head) {
    // SAFETY: the caller's columns of C and B, its terms of A, whose elements are adjacent, and of B.
    unsafe {
        let second = if p.m == 2 { p.at(1, 0) } else { p.at(0, 0) };
        let mut acc = [begun::<T, S, W>(s, p, head), begun::<T, S, W>(s, &second, head)];
        while terms != 0 {
            let k = terms.trailing_zeros() as isize;
            terms &= terms - 1;
            let b = load_row::<T, S, W, true>(s, p.b.offset(k * p.b_rs), head);
            for (acc, a) in acc.iter_mut().zip([p.a, second.a]) {
                let a = s.splat(a.offset(k).read_unaligned());
                for (acc, &b) in acc.iter_mut().zip(&b) {
                    *acc = s.fma(a, b, *acc);
                }
            }
        }
        for (acc, c) in acc.iter().zip([p.c, second.c]).take(p.m) {
            for (w, &acc) in acc.iter().enumerate() {
                let c = c.add(w * S::N);
                if w + 1 == W { s.store_head(c, head, acc) } else { s.store(c, acc) }
            }
        }
    }
}

/// What a row's vectors add to.
#[inline(always)]
unsafe fn begun<T: Element, S: Blocks<T>, const W: usize>(s: S, p: &Operands<T>, head: S::Head) -> [S::V; W] {
    let mut acc = [s.splat(T::ZERO); W];
    // SAFETY: the caller's columns of C, and the factor of its row.
    unsafe {
        if p.accumulate {
            acc = load_row::<T, S, W, true>(s, p.c, head);
        }
        if !p.scale.is_null() {
            let factor = s.splat(p.scale.read_unaligned());
            acc.iter_mut().for_each(|acc| *acc = s.mul(*acc, factor));
        }
    }
    acc
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
pub(super) unsafe fn element_by_element<T: Element, S: Lanes<T>>(s: S, p: &Operands<T>) {
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
