//! Products of tiles of which each row knows the span of columns that it sees: scores of what is seen, and sums over it.
//!
//! What a mask leaves out is told by two numbers a row, so that neither a tile of -inf nor one of weights is searched for
//! it. A block of rows computes the columns that any of its rows sees, and sums over them.

use super::open::HIGHEST;
use super::sparse::element_by_element;
use super::{Blocks, Operands, product};
use crate::lanes::Element;
use crate::rows::all_finite;
use crate::spans::RowSpans;

/// The columns of the panel from column `j` on, and the rows of its blocks.
#[inline(always)]
fn panel<T: Element, S: Blocks<T>>(p: &Operands<T>, j: usize) -> (usize, usize) {
    let n = (p.n - j).min(S::MAIN * S::N);
    (n, S::ROWS[n.div_ceil(S::N)].min(HIGHEST))
}

/// `C = A B` in the span of each row; what lies outside of it may become anything.
///
/// # Safety
/// As for [`super::product`]; the spans must be those of `p.m` rows.
#[inline(always)]
pub(crate) unsafe fn product_spans<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>, spans: RowSpans) {
    for j in (0..p.n).step_by(const { S::MAIN * S::N }) {
        let (n, height) = panel::<T, S>(p, j);
        for i in (0..p.m).step_by(height) {
            let block = Operands { m: (p.m - i).min(height), n, accumulate: false, ..p.at(i, j) };
            // SAFETY: rows and columns of the caller's operands; spans of these rows.
            unsafe { open_block(s, &block, spans, [i, j]) }
        }
    }
}

/// The columns that a block of rows sees, from row and column `at` of the spans on.
#[inline(always)]
unsafe fn open_block<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>, spans: RowSpans, [row, col]: [usize; 2]) {
    // SAFETY: the caller's rows.
    let seen = unsafe { spans.of_rows(row, p.m) };
    let among = |x: usize| x.clamp(col, col + p.n) - col;
    let [from, to] = seen.hull.map(among);
    if from < to {
        // Whole vectors are stored faster, and read again where they lie.
        let from = from / S::N * S::N;
        let run = Operands { n: (to - from).next_multiple_of(S::N).min(p.n - from), ..p.at(0, from) };
        // SAFETY: columns of the block.
        unsafe { product(s, &run) };
    }
}

/// `C = (C or 0) + A B`, where the elements of A outside of each row's span are 0 and add nothing, whatever B holds.
///
/// # Safety
/// As for [`super::product`]; the spans must be those of `p.m` rows, of columns of A.
#[inline(always)]
pub(crate) unsafe fn product_of_spans<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>, spans: RowSpans) {
    for j in (0..p.n).step_by(const { S::MAIN * S::N }) {
        let (n, height) = panel::<T, S>(p, j);
        for i in (0..p.m).step_by(height) {
            let block = Operands { m: (p.m - i).min(height), n, ..p.at(i, j) };
            // SAFETY: rows and columns of the caller's operands; spans of these rows.
            unsafe { summed_block(s, &block, spans, i) }
        }
    }
}

/// The sums of a block of rows, from row `row` of the spans on.
#[inline(always)]
unsafe fn summed_block<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>, spans: RowSpans, row: usize) {
    // SAFETY: the caller's rows.
    let seen = unsafe { spans.of_rows(row, p.m) };
    let [from, to] = seen.hull;
    let run = p.terms(from, to - from);
    // What some row does not see must be finite to be multiplied by its 0.
    let apart = match seen.common {
        [first, end] if first < end => [[from, first], [end, to]],
        _ => [[from, to], [to, to]],
    };
    // SAFETY: terms `from .. to` of the caller's operands.
    unsafe {
        let finite = apart.iter().all(|[from, to]| {
            let part = p.terms(*from, to - from);
            part.k == 0 || all_finite(s, part.k, p.n, part.b, part.b_rs)
        });
        if finite { product(s, &run) } else { element_by_element(s, &run) }
    }
}
