//! Row-wise passes over a matrix: the finiteness check, the scaling by one number per row, spans of each row that are
//! kept, and the clear largest.

use crate::lanes::{Element, Lanes, Square};
use crate::spans::RowSpans;

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
    let mut witness = [zero; 2];
    for r in 0..rows {
        let row = p.wrapping_offset(r as isize * rs);
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
    }
    s.sum(s.add(witness[0], witness[1])) == T::ZERO
}

/// Subnormal elements become 0.
///
/// Some processors stop for a hundred cycles at each multiply-add of a subnormal number; a comparison takes one as any other.
///
/// # Safety
/// `p` must be valid for the described elements.
#[inline(always)]
pub(crate) unsafe fn flush<T: Element, S: Lanes<T>>(s: S, rows: usize, cols: usize, p: *mut T, rs: isize) {
    let (least, zero) = (s.splat(T::LEAST_NORMAL), s.splat(T::ZERO));
    // NaN is neither above nor below.
    let flushed = |v| s.select(s.lt(v, least), s.select(s.lt(s.sub(zero, least), v), zero, v), v);
    for r in 0..rows {
        let row = p.wrapping_offset(r as isize * rs);
        let mut c = 0;
        // SAFETY: columns `c < cols` of the caller's row.
        unsafe {
            while c + S::N <= cols {
                s.store(row.add(c), flushed(s.load(row.add(c))));
                c += S::N;
            }
            if c < cols {
                let head = s.head(cols - c);
                s.store_head(row.add(c), head, flushed(s.load_head(row.add(c), head)));
            }
        }
    }
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
            let [first, end] = RowSpans { from, to, cols }.of(r);
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

/// Columns whose keys are narrowed together.
const KEYS: usize = 256;

/// Columns of most tiles: with a number known here their keys stay in registers.
const TILE: usize = 64;
/// Columns of the tiles of rows that see many.
const WIDE_TILE: usize = 128;

/// The keys of a range's columns, narrowed.
struct NarrowKeys {
    keys: [i32; KEYS],
    inside: bool,
}

impl NarrowKeys {
    /// # Safety
    /// The range's keys must be valid for `cols <= KEYS` elements.
    #[inline(always)]
    unsafe fn of(range: &KeyRange, cols: usize) -> Option<NarrowKeys> {
        let (mut keys, mut fit) = ([0; KEYS], true);
        for (c, narrow) in keys.iter_mut().enumerate().take(cols) {
            // SAFETY: the caller's keys.
            let key = unsafe { range.keys.add(c).read_unaligned() };
            // Ends beyond these may be clamped to them: no key is there.
            fit &= key > i64::from(i32::MIN) && key < i64::from(i32::MAX);
            *narrow = key as i32;
        }
        fit.then_some(NarrowKeys { keys, inside: range.inside })
    }

    /// The first key that holds and how many more do, counted around: what lies outside of a range is one too.
    #[inline(always)]
    fn ends(&self, (least, most): (i64, i64)) -> (i32, u32) {
        let clamp = |end: i64| end.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        let (least, most) = (clamp(least), clamp(most));
        let more = most.wrapping_sub(least) as u32;
        // No key is the largest number.
        let nothing = (i32::MAX, 0);
        match (least <= most, self.inside) {
            (true, true) => (least, more),
            (false, true) => nothing,
            (true, false) if more == u32::MAX => nothing,
            (true, false) => (most.wrapping_add(1), u32::MAX - 1 - more),
            (false, false) => (0, u32::MAX),
        }
    }

    #[inline(always)]
    fn holds(&self, (least, more): (i32, u32), column: usize) -> bool {
        self.keys[column].wrapping_sub(least) as u32 <= more
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
    // SAFETY: the caller's.
    unsafe {
        match cols {
            TILE => return keep_few_keys(rows, TILE, scores, rs, ranges, 0, fill),
            WIDE_TILE => return keep_few_keys(rows, WIDE_TILE, scores, rs, ranges, 0, fill),
            _ => {}
        }
    }
    let mut c = 0;
    while c < cols {
        let n = (cols - c).min(KEYS);
        // SAFETY: the columns `c .. c + n` of what the caller gave.
        unsafe { keep_few_keys(rows, n, scores.wrapping_add(c), rs, ranges, c, fill) };
        c += n;
    }
}

/// As [`keep_keys`], of at most [`KEYS`] columns that begin at `first` of the keys.
#[inline(always)]
unsafe fn keep_few_keys<T: Element>(
    rows: usize,
    cols: usize,
    scores: *mut T,
    rs: isize,
    ranges: &[KeyRange],
    first: usize,
    fill: T,
) {
    let at = |range: &KeyRange| KeyRange { keys: range.keys.wrapping_add(first), ..*range };
    // SAFETY: rows `r < rows` and columns `c < cols` of what the caller gave.
    unsafe {
        match ranges {
            [one, other, ..] => {
                let (one, other) = (at(one), at(other));
                match (NarrowKeys::of(&one, cols), NarrowKeys::of(&other, cols)) {
                    (Some(keys), Some(more)) => {
                        for r in 0..rows {
                            let ends = (keys.ends(one.of_row(r)), more.ends(other.of_row(r)));
                            keep_row(scores.wrapping_offset(r as isize * rs), cols, fill, |c| {
                                keys.holds(ends.0, c) | more.holds(ends.1, c)
                            });
                        }
                    }
                    _ => {
                        for r in 0..rows {
                            let ends = (one.of_row(r), other.of_row(r));
                            keep_row(scores.wrapping_offset(r as isize * rs), cols, fill, |c| {
                                one.holds(ends.0, c) | other.holds(ends.1, c)
                            });
                        }
                    }
                }
            }
            [one] => {
                let one = at(one);
                match NarrowKeys::of(&one, cols) {
                    Some(keys) => {
                        for r in 0..rows {
                            let ends = keys.ends(one.of_row(r));
                            keep_row(scores.wrapping_offset(r as isize * rs), cols, fill, |c| keys.holds(ends, c));
                        }
                    }
                    None => {
                        for r in 0..rows {
                            let ends = one.of_row(r);
                            keep_row(scores.wrapping_offset(r as isize * rs), cols, fill, |c| one.holds(ends, c));
                        }
                    }
                }
            }
            [] => {}
        }
    }
}

/// `row[c] = fill` unless `kept(c)`.
///
/// # Safety
/// `row` must be valid for `cols` elements.
#[inline(always)]
unsafe fn keep_row<T: Element>(row: *mut T, cols: usize, fill: T, kept: impl Fn(usize) -> bool) {
    for c in 0..cols {
        // SAFETY: a column of the caller's row.
        unsafe {
            let old = row.add(c).read_unaligned();
            row.add(c).write_unaligned(if kept(c) { old } else { fill });
        }
    }
}

/// `row[from .. to] = fill`
#[inline(always)]
pub(crate) unsafe fn fill_span<T: Element, S: Lanes<T>>(s: S, row: *mut T, [from, to]: [usize; 2], fill: T) {
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
pub(crate) unsafe fn clear_largest<S: Square<f32>>(
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
unsafe fn largest_two<S: Square<f32>>(s: S, cols: usize, row: *const f32) -> [f32; 2] {
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
    let one = s.largest(first);
    let at = s.lanes_of(s.eq(first, s.splat(one)));
    if at == 0 {
        return [one, one];
    }
    // The first lane of the largest holds another second; of two that are largest, the other is second.
    let others = s.keep_lanes(!(at & at.wrapping_neg()), first, second);
    [one, s.largest(s.max(others, second))]
}

/// The first column that holds a value.
#[inline(always)]
unsafe fn column_of<S: Square<f32>>(s: S, cols: usize, row: *const f32, value: f32) -> Option<usize> {
    let wanted = s.splat(value);
    let mut c = 0;
    while c < cols {
        let head = s.head((cols - c).min(S::N));
        // SAFETY: the columns of `head` from `c` on of the caller's row.
        let v = unsafe { s.load_head(row.add(c), head) };
        let found = s.lanes_of(s.eq(v, wanted)) & (u64::MAX >> (u64::BITS as usize - (cols - c).min(S::N)));
        if found != 0 {
            return Some(c + found.trailing_zeros() as usize);
        }
        c += S::N;
    }
    None
}
