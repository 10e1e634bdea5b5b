//! The product that leaves masked elements alone: where C is -inf it stays so, and what else C held is overwritten.
//!
//! A mask that is known before the scores saves the products of what it leaves out: columns that a block of rows
//! leaves out altogether are not computed. What is computed beside open elements is masked again, since a product of
//! what no one may see can be anything.

use super::sparse::{WORD, next_run, places_other_than};
use super::{Blocks, Operands, product};
use crate::lanes::{Element, Square};

/// Rows of the highest block, at most: the table of `of_height` ends there.
pub(super) const HIGHEST: usize = 12;

/// `C = A B` where C is not -inf.
///
/// # Safety
/// As for [`super::product`]; C must be initialised.
#[inline(always)]
pub(crate) unsafe fn product_open<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>) {
    // Narrow blocks are high, wide ones low.
    let high = const { S::ROWS[if S::MAIN > 1 { 2 } else { 1 }] };
    let low = const { S::ROWS[S::MAIN] };
    let mut j = 0;
    while j < p.n {
        let n = (p.n - j).min(WORD);
        let mut i = 0;
        while i < p.m {
            let m = (p.m - i).min(high);
            let rows = Operands { m, n, accumulate: false, ..p.at(i, j) };
            let mut open = [0; HIGHEST];
            // SAFETY: rows and columns of the caller's C.
            let any = unsafe { open_places(s, &rows, &mut open) };
            if has_longer_run(any, 2 * S::N) {
                let mut first = 0;
                while first < m {
                    let part = Operands { m: (m - first).min(low), ..rows.at(first, 0) };
                    // SAFETY: rows of the block.
                    unsafe { open_columns(s, &part, &open[first..first + part.m]) };
                    first += part.m;
                }
            } else {
                // SAFETY: the block.
                unsafe { open_columns(s, &rows, &open[..m]) };
            }
            i += m;
        }
        j += n;
    }
}

/// The open columns of each row of a block; the union of all.
#[inline(always)]
pub(super) unsafe fn open_places<T: Element, S: Square<T>>(s: S, p: &Operands<T>, open: &mut [u64; HIGHEST]) -> u64 {
    let mut any = 0;
    for (i, open) in open.iter_mut().enumerate().take(p.m) {
        // SAFETY: row `i` of the caller's C.
        *open = unsafe { places_other_than(s, p.at(i, 0).c, p.n, T::NEG_INFINITY) };
        any |= *open;
    }
    any
}

fn has_longer_run(bits: u64, length: usize) -> bool {
    let mut at = 0;
    while let Some([from, to]) = next_run(bits, at, length as u32 / 2) {
        if to - from > length {
            return true;
        }
        at = to;
    }
    false
}

/// The open columns of a block of rows.
#[inline(always)]
unsafe fn open_columns<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>, open: &[u64]) {
    let (mut any, mut each) = (0, u64::MAX);
    for open in open {
        any |= open;
        each &= open;
    }
    let mut at = 0;
    while let Some([from, to]) = next_run(any, at, S::N as u32) {
        let run = Operands { n: to - from, ..p.at(0, from) };
        // SAFETY: columns `from .. to` of the block.
        unsafe { product(s, &run) };
        let of_run = (u64::MAX >> (WORD - run.n)) << from;
        if each & of_run != of_run {
            for (i, open) in open.iter().enumerate() {
                // SAFETY: row `i` of the run.
                unsafe { close(s, run.at(i, 0).c, run.n, open >> from) };
            }
        }
        at = to;
    }
}

/// Sets the first `n` elements to -inf but for those whose bit is set.
#[inline(always)]
pub(super) unsafe fn close<T: Element, S: Square<T>>(s: S, row: *mut T, n: usize, open: u64) {
    let lowest = s.splat(T::NEG_INFINITY);
    let mut at = 0;
    // SAFETY: the caller's elements.
    unsafe {
        while at < n {
            let p = row.add(at);
            if at + S::N <= n {
                s.store(p, s.keep_lanes(open >> at, s.load(p), lowest));
            } else {
                let head = s.head(n - at);
                s.store_head(p, head, s.keep_lanes(open >> at, s.load_head(p, head), lowest));
            }
            at += S::N;
        }
    }
}
