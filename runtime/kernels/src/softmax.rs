//! The row update of online softmax.
//!
//! Per row r with running maximum `m`, running sum `l` and a tile of new scores `s`:
//! `m' = max(m, max s)`, `alpha = e^(m - m')`, `s = e^(s - m')`, `l' = l alpha + sum s`. The caller scales what it
//! accumulated so far by `alpha` and adds the tile's product with the values.
//!
//! A score of -inf is a masked key: its weight is exactly 0, also in a row with nothing but such keys, where m'
//! stays -inf. A NaN score makes its own row's `l` NaN and leaves the others alone.
//!
//! Rows are taken in groups of one vector's length: maxima and sums of the rows are gathered in arrays so that
//! `alpha`, `m` and `l` of the group are computed at once, and the rows' exponentials are independent of each
//! other, which hides the latency of the reductions.

use crate::function::exp::exp_not_above;
use crate::lanes::{Element, FloatBits, Lanes};

/// Lanes that can be exponentiated.
pub(crate) trait Exponential<T: Element>: Lanes<T> {
    /// `e^x` for `x <= 0` or NaN.
    fn exp_not_positive(self, x: Self::V) -> Self::V;
}

impl<S: FloatBits> Exponential<f32> for S {
    #[inline(always)]
    fn exp_not_positive(self, x: S::V) -> S::V {
        exp_not_above(self, x)
    }
}

impl<S: Lanes<f64>> Exponential<f64> for S {
    /// Lane by lane, the same function as everywhere else in `f64`.
    #[inline(always)]
    fn exp_not_positive(self, x: S::V) -> S::V {
        let mut lanes = [0.0; MOST_LANES];
        // SAFETY: the array holds a vector.
        unsafe {
            self.store(lanes.as_mut_ptr(), x);
            for x in &mut lanes[..S::N] {
                *x = libm::exp(*x);
            }
            self.load(lanes.as_ptr())
        }
    }
}

/// Rows whose maxima and sums are kept at a time; no instruction set has more lanes.
const MOST_LANES: usize = 16;

/// The scores of a group of rows.
#[derive(Clone, Copy)]
struct Scores<T> {
    cols: usize,
    s: *mut T,
    s_rs: isize,
}

/// Updates `rows` rows of `cols` scores.
///
/// # Safety
/// `s` must be valid for the described elements; `m`, `l` and `alpha` for `rows` elements, all apart.
#[inline(always)]
pub(crate) unsafe fn softmax_update<T: Element, S: Exponential<T>>(
    s: S,
    rows: usize,
    cols: usize,
    scores: *mut T,
    s_rs: isize,
    [m, l, alpha]: [*mut T; 3],
) {
    let mut row = 0;
    while row < rows {
        let count = (rows - row).min(S::N);
        let head = s.head(count);
        let group = Scores { cols, s: scores.wrapping_offset(row as isize * s_rs), s_rs };
        let mut largest = [T::NEG_INFINITY; MOST_LANES];
        let mut sum = [T::ZERO; MOST_LANES];
        // SAFETY: the group is rows `row .. row + count` of the caller's; the arrays hold a vector.
        unsafe {
            for (r, largest) in largest[..count].iter_mut().enumerate() {
                *largest = row_max(s, group, r);
            }
            let old = s.load_head(m.add(row), head);
            let new = s.max(s.load(largest.as_ptr()), old);
            s.store_head(m.add(row), head, new);
            let scale = s.exp_not_positive(s.sub(old, new));
            let scale = s.select(s.eq(old, new), s.splat(T::ONE), scale);
            s.store_head(alpha.add(row), head, scale);
            // What is subtracted is 0 where all is masked, so that -inf - (-inf) does not arise.
            let masked = s.eq(new, s.splat(T::NEG_INFINITY));
            s.store(largest.as_mut_ptr(), s.select(masked, s.splat(T::ZERO), new));
            for (r, sum) in sum[..count].iter_mut().enumerate() {
                *sum = exponentiate_row(s, group, r, largest[r]);
            }
            let total = s.fma(s.load_head(l.add(row), head), scale, s.load(sum.as_ptr()));
            s.store_head(l.add(row), head, total);
        }
        row += count;
    }
}

/// The largest score of row `r`, ignoring NaN.
#[inline(always)]
unsafe fn row_max<T: Element, S: Lanes<T>>(s: S, scores: Scores<T>, r: usize) -> T {
    let row = scores.s.wrapping_offset(r as isize * scores.s_rs);
    let lowest = s.splat(T::NEG_INFINITY);
    let mut largest = lowest;
    let mut c = 0;
    // SAFETY: columns `c < cols` of a row of the caller's.
    unsafe {
        while c + S::N <= scores.cols {
            largest = s.max(s.load(row.add(c)), largest);
            c += S::N;
        }
        if c < scores.cols {
            let head = s.head(scores.cols - c);
            let v = s.keep_head(head, s.load_head(row.add(c), head), lowest);
            largest = s.max(v, largest);
        }
    }
    s.largest(largest)
}

/// Replaces the scores of row `r` by `e^(score - shift)` and returns their sum.
#[inline(always)]
unsafe fn exponentiate_row<T: Element, S: Exponential<T>>(s: S, scores: Scores<T>, r: usize, shift: T) -> T {
    let row = scores.s.wrapping_offset(r as isize * scores.s_rs);
    let shift = s.splat(shift);
    let mut sum = s.splat(T::ZERO);
    let mut c = 0;
    // SAFETY: columns `c < cols` of a row of the caller's.
    unsafe {
        while c + S::N <= scores.cols {
            let weight = s.exp_not_positive(s.sub(s.load(row.add(c)), shift));
            s.store(row.add(c), weight);
            sum = s.add(sum, weight);
            c += S::N;
        }
        if c < scores.cols {
            let head = s.head(scores.cols - c);
            let weight = s.exp_not_positive(s.sub(s.load_head(row.add(c), head), shift));
            s.store_head(row.add(c), head, weight);
            sum = s.add(sum, s.keep_head(head, weight, s.splat(T::ZERO)));
        }
    }
    s.sum(sum)
}
