//! The row update of online softmax.
//!
//! Per row r with running maximum `m`, running sum `l` and a tile of new scores `s`:
//! `m' = max(m, max s)`, `alpha = e^(m - m')`, `s = e^(s - m')`, `l' = l alpha + sum s`. The caller scales what it
//! accumulated so far by `alpha` and adds the tile's product with the values.
//!
//! A weight below 2^-100 is 0 in `f32`, and one below 2^-900 in `f64`. A score of -inf is a masked key: its weight is
//! exactly 0, also in a row with nothing but such keys, where m' stays -inf. A NaN score makes its own row's `l` NaN
//! and leaves the others alone.
//!
//! Rows are taken in groups of one vector's length: their maxima, and their sums, are reduced together by a
//! transposing tree, `alpha`, `m` and `l` of the group are computed at once, and the rows' exponentials are
//! independent of each other, which hides latencies.

use crate::function::exp::exp_not_positive;
use crate::function::exp64;
use crate::lanes::{Doubles, Element, FloatBits, Interleaved, MOST_LANES, Square};
use crate::rows::fill_span;
use crate::spans::RowSpans;

/// Lanes that can be exponentiated.
pub(crate) trait Exponential<T: Element>: Square<T> {
    /// `e^x` for `x <= 0` or NaN.
    fn exp_not_positive(self, x: Self::V) -> Self::V;
    /// As `exp_not_positive`, of four vectors.
    fn exp_of_four(self, x: [Self::V; 4]) -> [Self::V; 4];
}

impl<S: FloatBits + Square<f32>> Exponential<f32> for S {
    #[inline(always)]
    fn exp_not_positive(self, x: S::V) -> S::V {
        exp_not_positive(self, x)
    }
    #[inline(always)]
    fn exp_of_four(self, x: [S::V; 4]) -> [S::V; 4] {
        exp_not_positive(Interleaved(self), x)
    }
}

impl<S: Doubles> Exponential<f64> for S {
    #[inline(always)]
    fn exp_not_positive(self, x: S::V) -> S::V {
        exp64::exp_not_positive(self, [x])[0]
    }
    #[inline(always)]
    fn exp_of_four(self, x: [S::V; 4]) -> [S::V; 4] {
        exp64::exp_not_positive(self, x)
    }
}

/// Up to this many rows of a group are reduced one by one, which is quicker than all at once.
const FEW: usize = 2;

/// The scores of some rows.
#[derive(Clone, Copy)]
struct Scores<T> {
    rows: usize,
    cols: usize,
    s: *mut T,
    s_rs: isize,
}

/// Rows whose maxima are all taken before their exponentials, which overlaps the latencies of groups. A multiple of
/// every vector's length.
const BLOCK: usize = 64;

/// The running values of the rows.
#[derive(Clone, Copy)]
pub(crate) struct Running<T> {
    m: *mut T,
    l: *mut T,
    alpha: *mut T,
}

impl<T: Element> Running<T> {
    /// Of maxima, sums and `alpha`.
    #[inline(always)]
    pub(crate) fn of([m, l, alpha]: [*mut T; 3]) -> Self {
        Running { m, l, alpha }
    }

    /// Those from row `row` on.
    #[inline(always)]
    fn from(self, row: usize) -> Self {
        Running { m: self.m.wrapping_add(row), l: self.l.wrapping_add(row), alpha: self.alpha.wrapping_add(row) }
    }

    /// Adds the weights' sums of a vector of rows.
    ///
    /// # Safety
    /// The rows of `head` must be there, and have been advanced by `alpha`.
    #[inline(always)]
    pub(crate) unsafe fn add<S: Square<T>>(self, s: S, sum: S::V, alpha: S::V, head: S::Head) {
        // SAFETY: the caller's duty.
        unsafe { s.store_head(self.l, head, s.fma(s.load_head(self.l, head), alpha, sum)) }
    }
}

/// What a vector of rows moved by.
#[derive(Clone, Copy)]
pub(crate) struct Moved<V> {
    /// What sums so far are multiplied with.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "read beside tiles of AMX"))]
    pub alpha: V,
    /// What is subtracted from the scores.
    pub shift: V,
}

/// Takes new scores' maxima into those of a vector of rows.
///
/// # Safety
/// The rows of `head` must be there.
#[inline(always)]
pub(crate) unsafe fn advance<T: Element, S: Exponential<T>>(
    s: S,
    largest: S::V,
    running: Running<T>,
    head: S::Head,
) -> Moved<S::V> {
    // SAFETY: the caller's duty.
    unsafe {
        let old = s.load_head(running.m, head);
        let new = s.max(largest, old);
        s.store_head(running.m, head, new);
        let alpha = s.exp_not_positive(s.sub(old, new));
        let alpha = s.select(s.eq(old, new), s.splat(T::ONE), alpha);
        s.store_head(running.alpha, head, alpha);
        // What is subtracted is 0 where all is masked, so that -inf - (-inf) does not arise.
        let masked = s.eq(new, s.splat(T::NEG_INFINITY));
        Moved { alpha, shift: s.select(masked, s.splat(T::ZERO), new) }
    }
}

/// Updates `rows` rows of `cols` scores; where there are spans, those outside of a row's are left out, whatever they are.
///
/// # Safety
/// `s` must be valid for the described elements; `m`, `l` and `alpha` for `rows` elements, all apart, and so must the ends
/// of the spans be.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a matrix, what its rows see, and their running values")]
pub(crate) unsafe fn softmax_update<T: Element, S: Exponential<T>>(
    s: S,
    rows: usize,
    cols: usize,
    scores: *mut T,
    s_rs: isize,
    [m, l, alpha]: [*mut T; 3],
    spans: Option<RowSpans>,
) {
    let mut row = 0;
    while row < rows {
        let count = (rows - row).min(BLOCK);
        let block = Scores { rows: count, cols, s: scores.wrapping_offset(row as isize * s_rs), s_rs };
        let spans = spans.map(|spans| spans.from(row));
        // SAFETY: rows `row .. row + count` of the caller's.
        unsafe { update_block(s, block, Running::of([m, l, alpha]).from(row), spans) };
        row += count;
    }
}

/// Updates at most [`BLOCK`] rows.
#[inline(always)]
unsafe fn update_block<T: Element, S: Exponential<T>>(
    s: S,
    block: Scores<T>,
    running: Running<T>,
    spans: Option<RowSpans>,
) {
    let mut shifts = [T::ZERO; BLOCK];
    if let Some(spans) = spans {
        // SAFETY: the caller's rows.
        unsafe { block.close_beside(s, spans) };
    }
    let mut row = 0;
    while row < block.rows {
        let group = block.group::<S>(row);
        let head = s.head(group.rows);
        // SAFETY: the group's rows of the caller's; `shifts` has room for a vector at every group.
        unsafe {
            let seen = group.vectors_seen::<S>(spans, row);
            let moved = advance(s, group_max(s, group.columns(seen)), running.from(row), head);
            s.store(shifts.as_mut_ptr().add(row), moved.shift);
        }
        row += group.rows;
    }
    let mut row = 0;
    while row < block.rows {
        let group = block.group::<S>(row);
        let head = s.head(group.rows);
        // SAFETY: the group's rows of the caller's.
        unsafe {
            let seen = group.vectors_seen::<S>(spans, row);
            let sum = exponentiate_group(s, group.columns(seen), &shifts[row..]);
            group.clear_beside(s, seen);
            let running = running.from(row);
            running.add(s, sum, s.load_head(running.alpha, head), head);
        }
        row += group.rows;
    }
}

impl<T: Element> Scores<T> {
    /// As many rows from `row` on as a vector has lanes, or what is left.
    #[inline(always)]
    fn group<S: Square<T>>(&self, row: usize) -> Scores<T> {
        let rows = (self.rows - row).min(S::N);
        Scores { rows, s: self.s.wrapping_offset(row as isize * self.s_rs), ..*self }
    }

    /// The columns `from .. to`.
    #[inline(always)]
    fn columns(&self, [from, to]: [usize; 2]) -> Scores<T> {
        Scores { s: self.s.wrapping_add(from), cols: to - from, ..*self }
    }

    /// The columns, in whole vectors, that some row sees; the first row is number `row` of the spans'.
    ///
    /// # Safety
    /// The rows must have spans.
    #[inline(always)]
    unsafe fn vectors_seen<S: Square<T>>(&self, spans: Option<RowSpans>, row: usize) -> [usize; 2]
    where
        T: Element,
    {
        let Some(spans) = spans else { return [0, self.cols] };
        // SAFETY: the caller's rows.
        let [from, to] = unsafe { spans.of_rows(row, self.rows).hull };
        [from / S::N * S::N, to.next_multiple_of(S::N).min(self.cols)]
    }

    /// Scores of -inf outside of each row's span, as far as its group's are looked at.
    ///
    /// # Safety
    /// The scores must be valid, and the rows have spans.
    #[inline(always)]
    unsafe fn close_beside<S: Square<T>>(&self, s: S, spans: RowSpans)
    where
        T: Element,
    {
        for first in (0..self.rows).step_by(S::N) {
            let group = self.group::<S>(first);
            // SAFETY: columns of rows of the group.
            unsafe {
                let [low, high] = group.vectors_seen::<S>(Some(spans), first);
                for r in 0..group.rows {
                    let row = group.s.wrapping_offset(r as isize * group.s_rs);
                    let [from, to] = spans.of(first + r).map(|end| end.clamp(low, high));
                    fill_span(s, row, [low, from], T::NEG_INFINITY);
                    fill_span(s, row, [to, high], T::NEG_INFINITY);
                }
            }
        }
    }

    /// Weights of 0 beside the columns `from .. to`.
    ///
    /// # Safety
    /// The scores must be valid.
    #[inline(always)]
    unsafe fn clear_beside<S: Square<T>>(&self, s: S, [from, to]: [usize; 2])
    where
        T: Element,
    {
        if to - from == self.cols {
            return;
        }
        for r in 0..self.rows {
            let row = self.s.wrapping_offset(r as isize * self.s_rs);
            // SAFETY: columns of a row.
            unsafe {
                fill_span(s, row, [0, from], T::ZERO);
                fill_span(s, row, [to, self.cols], T::ZERO);
            }
        }
    }
}

/// The largest score of each row, ignoring NaN.
#[inline(always)]
unsafe fn group_max<T: Element, S: Square<T>>(s: S, scores: Scores<T>) -> S::V {
    let lowest = s.splat(T::NEG_INFINITY);
    let mut largest = [lowest; MOST_LANES];
    let whole = scores.cols / S::N * S::N;
    let head = s.head(scores.cols - whole);
    for (r, largest) in largest[..scores.rows].iter_mut().enumerate() {
        let row = scores.s.wrapping_offset(r as isize * scores.s_rs);
        let mut c = 0;
        // SAFETY: columns `c < cols` of a row of the caller's.
        unsafe {
            while c < whole {
                *largest = s.max(s.load(row.add(c)), *largest);
                c += S::N;
            }
            if c < scores.cols {
                let v = s.keep_head(head, s.load_head(row.add(c), head), lowest);
                *largest = s.max(v, *largest);
            }
        }
    }
    if scores.rows > FEW {
        return s.largest_of_each(&largest);
    }
    let mut out = [T::NEG_INFINITY; MOST_LANES];
    for (out, &v) in out.iter_mut().zip(&largest[..scores.rows]) {
        *out = s.largest(v);
    }
    // SAFETY: the array holds a vector.
    unsafe { s.load(out.as_ptr()) }
}

/// Replaces the scores of each row `r` by `e^(score - shifts[r])` and returns the rows' sums.
#[inline(always)]
unsafe fn exponentiate_group<T: Element, S: Exponential<T>>(s: S, scores: Scores<T>, shifts: &[T]) -> S::V {
    let zero = s.splat(T::ZERO);
    let mut sums = [zero; MOST_LANES];
    let whole = scores.cols / S::N * S::N;
    let head = s.head(scores.cols - whole);
    for (r, sum) in sums[..scores.rows].iter_mut().enumerate() {
        let row = scores.s.wrapping_offset(r as isize * scores.s_rs);
        let shift = s.splat(shifts[r]);
        let mut c = 0;
        // SAFETY: columns `c < cols` of a row of the caller's.
        unsafe {
            while c + 4 * S::N <= whole {
                let mut weights = [zero; 4];
                for (at, weight) in weights.iter_mut().enumerate() {
                    *weight = s.sub(s.load(row.add(c + at * S::N)), shift);
                }
                weights = s.exp_of_four(weights);
                for (at, &weight) in weights.iter().enumerate() {
                    s.store(row.add(c + at * S::N), weight);
                }
                let [w0, w1, w2, w3] = weights;
                *sum = s.add(*sum, s.add(s.add(w0, w1), s.add(w2, w3)));
                c += 4 * S::N;
            }
            while c < whole {
                let weight = s.exp_not_positive(s.sub(s.load(row.add(c)), shift));
                s.store(row.add(c), weight);
                *sum = s.add(*sum, weight);
                c += S::N;
            }
        }
    }
    if whole < scores.cols {
        // The ragged ends come after all else: a masked store delays loads from the row that follows it in memory.
        for (r, sum) in sums[..scores.rows].iter_mut().enumerate() {
            let end = scores.s.wrapping_offset(r as isize * scores.s_rs).wrapping_add(whole);
            // SAFETY: the columns of `head` from `whole` on.
            unsafe {
                let weight = s.exp_not_positive(s.sub(s.load_head(end, head), s.splat(shifts[r])));
                s.store_head(end, head, weight);
                *sum = s.add(*sum, s.keep_head(head, weight, zero));
            }
        }
    }
    if scores.rows > FEW {
        return s.sum_of_each(&sums);
    }
    let mut out = [T::ZERO; MOST_LANES];
    for (out, &v) in out.iter_mut().zip(&sums[..scores.rows]) {
        *out = s.sum(v);
    }
    // SAFETY: the array holds a vector.
    unsafe { s.load(out.as_ptr()) }
}
