//! Row-wise passes over a matrix: the finiteness check, the scaling by one number per row, spans of each row that are
//! kept, and the clear largest.

use crate::lanes::{Element, Lanes, MOST_LANES};

/// Whether all elements are finite. `x * 0` is 0 for a finite x and NaN for any other, and a sum keeps a NaN.
///
/// # Safety
/// `p` must be valid for the described elements.
#[inline(always)]
pub(crate) unsafe fn all_finite<T: Element, S: Lanes<T>>(
    s: S,
    rows: usize,
    cols: usize,
    p: *const T,
    rs: isize,
) -> bool {
    let zero = s.splat(T::ZERO);
    for r in 0..rows {
        let row = p.wrapping_offset(r as isize * rs);
        let mut witness = [zero; 2];
        let mut c = 0;
        // SAFETY: columns `c < cols` of the caller's row.
        unsafe {
            while c + 2 * S::N <= cols {
                // What a stage walks along comes in blocks of as many rows.
                s.prefetch(row.wrapping_offset(rows as isize * rs).wrapping_add(c));
                s.prefetch(row.wrapping_offset(rows as isize * rs).wrapping_add(c + S::N));
                witness[0] = s.fma(s.load(row.add(c)), zero, witness[0]);
                witness[1] = s.fma(s.load(row.add(c + S::N)), zero, witness[1]);
                c += 2 * S::N;
            }
            while c < cols {
                let head = s.head((cols - c).min(S::N));
                witness[0] = s.fma(s.load_head(row.add(c), head), zero, witness[0]);
                c += S::N;
            }
        }
        if s.sum(s.add(witness[0], witness[1])) != T::ZERO {
            return false;
        }
    }
    true
}

/// `acc[r, :] *= alpha[r]`, but for rows whose `alpha` is 1.
///
/// # Safety
/// `acc` must be valid for the described elements, `alpha` for `rows` elements.
#[inline(always)]
pub(crate) unsafe fn scale_rows<T: Element, S: Lanes<T>>(
    s: S,
    rows: usize,
    cols: usize,
    acc: *mut T,
    rs: isize,
    alpha: *const T,
) {
    for r in 0..rows {
        // SAFETY: row `r < rows` of the caller's.
        let alpha = unsafe { alpha.add(r).read_unaligned() };
        if alpha == T::ONE {
            continue;
        }
        let row = acc.wrapping_offset(r as isize * rs);
        let factor = s.splat(alpha);
        let mut c = 0;
        // SAFETY: columns `c < cols` of the caller's row.
        unsafe {
            while c + S::N <= cols {
                s.store(row.add(c), s.mul(s.load(row.add(c)), factor));
                c += S::N;
            }
            if c < cols {
                let head = s.head(cols - c);
                s.store_head(row.add(c), head, s.mul(s.load_head(row.add(c), head), factor));
            }
        }
    }
}

/// `scores[r, c] = fill` for c outside of `from[r] .. to[r]` if `keep`, else inside.
///
/// # Safety
/// `scores` must be valid for the described elements, `from` and `to` for `rows` elements.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a matrix, its spans and what to do")]
pub(crate) unsafe fn keep_spans<T: Element, S: Lanes<T>>(
    s: S,
    rows: usize,
    cols: usize,
    scores: *mut T,
    rs: isize,
    [from, to]: [*const i64; 2],
    keep: bool,
    fill: T,
) {
    for r in 0..rows {
        // SAFETY: row `r < rows` of the caller's; both ends are at most `cols`.
        unsafe {
            let first = from.add(r).read_unaligned().clamp(0, cols as i64) as usize;
            let end = (to.add(r).read_unaligned().clamp(0, cols as i64) as usize).max(first);
            let row = scores.wrapping_offset(r as isize * rs);
            if keep {
                fill_span(s, row, [0, first], fill);
                fill_span(s, row, [end, cols], fill);
            } else {
                fill_span(s, row, [first, end], fill);
            }
        }
    }
}

/// Holds for row r and column c where `least[r] <= keys[c] <= most[r]`, or elsewhere if not `inside`. An end that is
/// null is no bound.
pub(crate) struct KeyRange {
    pub least: *const i64,
    pub most: *const i64,
    pub keys: *const i64,
    pub inside: bool,
}

impl KeyRange {
    /// The range of a row.
    ///
    /// # Safety
    /// `least` and `most` must be null or valid at `row`.
    #[inline(always)]
    unsafe fn of_row(&self, row: usize) -> (i64, i64) {
        // SAFETY: the caller's.
        let end = |p: *const i64, none| if p.is_null() { none } else { unsafe { p.add(row).read_unaligned() } };
        (end(self.least, i64::MIN), end(self.most, i64::MAX))
    }

    /// # Safety
    /// `keys` must be valid at `column`.
    #[inline(always)]
    unsafe fn holds(&self, (least, most): (i64, i64), column: usize) -> bool {
        // SAFETY: the caller's.
        let key = unsafe { self.keys.add(column).read_unaligned() };
        ((least <= key) & (key <= most)) == self.inside
    }
}

/// `scores[r, c] = fill` where no range holds. Loops are written such that the compiler makes vectors of them.
///
/// # Safety
/// `scores` must be valid for the described elements, ends of ranges for `rows` elements, keys for `cols`.
#[inline(always)]
pub(crate) unsafe fn keep_keys<T: Element>(
    rows: usize,
    cols: usize,
    scores: *mut T,
    rs: isize,
    ranges: &[KeyRange],
    fill: T,
) {
    let [first, rest @ ..] = ranges else { return };
    for r in 0..rows {
        let row = scores.wrapping_offset(r as isize * rs);
        // SAFETY: rows `r < rows` and columns `c < cols` of what the caller gave.
        unsafe {
            let of_first = first.of_row(r);
            match rest {
                [second, ..] => {
                    let of_second = second.of_row(r);
                    for c in 0..cols {
                        let kept = first.holds(of_first, c) | second.holds(of_second, c);
                        let old = row.add(c).read_unaligned();
                        row.add(c).write_unaligned(if kept { old } else { fill });
                    }
                }
                [] => {
                    for c in 0..cols {
                        let old = row.add(c).read_unaligned();
                        row.add(c).write_unaligned(if first.holds(of_first, c) { old } else { fill });
                    }
                }
            }
        }
    }
}

/// `row[from .. to] = fill`
#[inline(always)]
unsafe fn fill_span<T: Element, S: Lanes<T>>(s: S, row: *mut T, [from, to]: [usize; 2], fill: T) {
    let value = s.splat(fill);
    let mut c = from;
    // SAFETY: columns `from <= c < to` of the caller's row.
    unsafe {
        while c + S::N <= to {
            s.store(row.add(c), value);
            c += S::N;
        }
        if c < to {
            s.store_head(row.add(c), s.head(to - c), value);
        }
    }
}

/// `dst[r]` is the column of the largest score of row r if that is larger than every other by more than `slack[r]`,
/// else -1. A NaN counts for nothing.
///
/// # Safety
/// `scores` must be valid for the described elements, `slack` and `dst` for `rows` elements.
#[inline(always)]
pub(crate) unsafe fn clear_largest<S: Lanes<f32>>(
    s: S,
    rows: usize,
    cols: usize,
    scores: *const f32,
    rs: isize,
    slack: *const f32,
    dst: *mut i64,
) {
    for r in 0..rows {
        let row = scores.wrapping_offset(r as isize * rs);
        // SAFETY: row `r < rows` of the caller's.
        unsafe {
            let [largest, second] = if cols <= FEW { largest_of_few(cols, row) } else { largest_two(s, cols, row) };
            // Also false where the difference or the slack is not a number.
            let clear = cols > 0 && largest - second > slack.add(r).read_unaligned();
            let at = if clear { column_of(s, cols, row, largest) } else { None };
            dst.add(r).write_unaligned(at.map_or(-1, |c| c as i64));
        }
    }
}

/// Columns up to which lanes cost more than they save.
const FEW: usize = 8;

/// As [`largest_two`], of a few columns.
#[inline(always)]
unsafe fn largest_of_few(cols: usize, row: *const f32) -> [f32; 2] {
    let (mut one, mut two) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for c in 0..cols {
        // SAFETY: a column of the caller's row. No comparison with a NaN holds.
        let x = unsafe { row.add(c).read_unaligned() };
        two = if x > one { one } else { if x > two { x } else { two } };
        one = if x > one { x } else { one };
    }
    [one, two]
}

/// The largest element of a row and the largest of the others; -inf where there is none.
#[inline(always)]
unsafe fn largest_two<S: Lanes<f32>>(s: S, cols: usize, row: *const f32) -> [f32; 2] {
    let lowest = s.splat(f32::NEG_INFINITY);
    let (mut first, mut second) = (lowest, lowest);
    let mut c = 0;
    while c < cols {
        let n = (cols - c).min(S::N);
        let head = s.head(n);
        // SAFETY: the columns `c .. c + n` of the caller's row.
        let v = unsafe { s.load_head(row.add(c), head) };
        let v = s.select(s.eq(v, v), s.keep_head(head, v, lowest), lowest);
        second = s.max(s.min(v, first), second);
        first = s.max(v, first);
        c += n;
    }
    let (mut firsts, mut seconds) = ([f32::NEG_INFINITY; MOST_LANES], [f32::NEG_INFINITY; MOST_LANES]);
    // SAFETY: the arrays hold a vector.
    unsafe {
        s.store(firsts.as_mut_ptr(), first);
        s.store(seconds.as_mut_ptr(), second);
    }
    let (mut one, mut two) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for x in firsts.into_iter().chain(seconds) {
        two = if x > one { one } else { two.max(x) };
        one = one.max(x);
    }
    [one, two]
}

/// The first column that holds a value.
#[inline(always)]
unsafe fn column_of<S: Lanes<f32>>(s: S, cols: usize, row: *const f32, value: f32) -> Option<usize> {
    let wanted = s.splat(value);
    let mut c = 0;
    while c + S::N <= cols {
        // SAFETY: the columns `c .. c + N` of the caller's row.
        if s.any(s.eq(unsafe { s.load(row.add(c)) }, wanted)) {
            break;
        }
        c += S::N;
    }
    // SAFETY: columns of the caller's row.
    while c < cols && unsafe { row.add(c).read_unaligned() } != value {
        c += 1;
    }
    (c < cols).then_some(c)
}
