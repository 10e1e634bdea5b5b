//! Rows that each have a list of the lines they are multiplied with.
//!
//! Where a row sees few keys of those that its neighbours see, a tile of rows and keys is mostly computed in vain. Here
//! each row gathers the positions that it sees, a dot product is computed for each, and their weighted lines are summed
//! in registers: whole lines are read as they lie, so what is gathered costs no more than what lies together.
//!
//! A vector as long as a line of memory that does not begin with one touches two. Where all lines lie askew by as much, they
//! are read from the lines of memory that hold them, and rows are read askew instead.
//!
//! Positions are held inside the lines that there are, whatever a list holds, and counts inside the list.

use crate::lanes::Square;
use crate::product::sparse::{WORD, places_other_than};

/// Elements of a list written at once.
const CHUNK: usize = 8;

/// The lists of some rows, to which columns are added.
#[derive(Clone, Copy)]
pub(crate) struct Lists {
    pub rows: usize,
    pub cols: usize,
    pub list: *mut i64,
    pub list_rs: isize,
    /// Most elements of a list.
    pub room: usize,
    /// How many each list has.
    pub count: *mut i64,
    /// The largest of the counts.
    pub most: *mut i64,
    /// The position of column 0.
    pub first: i64,
}

impl Lists {
    /// The end of row `r`'s list, and how many it has.
    ///
    /// # Safety
    /// `r` must be less than `rows`, and the lists valid.
    #[inline(always)]
    unsafe fn end(&self, r: usize) -> (*mut i64, usize) {
        // SAFETY: the caller's duty.
        let count = unsafe { self.count.add(r).read_unaligned() }.clamp(0, self.room as i64) as usize;
        (self.list.wrapping_offset(r as isize * self.list_rs).wrapping_add(count), count)
    }

    /// # Safety
    /// As for [`Lists::end`].
    #[inline(always)]
    unsafe fn set_count(&self, r: usize, count: usize) {
        // SAFETY: the caller's duty.
        unsafe {
            self.count.add(r).write_unaligned(count as i64);
            let most = self.most.read_unaligned().max(count as i64);
            self.most.write_unaligned(most);
        }
    }
}

/// Leaves out of each list what has a weight of exactly 0, and moves the rest, list and weights alike, to the front.
///
/// # Safety
/// `weights` and `list` must be valid for `rows` by `cols` elements, `count` for `rows`; all apart.
pub(crate) unsafe extern "C" fn drop_unweighted_f32(
    rows: usize,
    cols: usize,
    weights: *mut f32,
    weights_rs: isize,
    list: *mut i64,
    list_rs: isize,
    count: *mut i64,
) {
    for r in 0..rows as isize {
        let (weights, list) = (weights.wrapping_offset(r * weights_rs), list.wrapping_offset(r * list_rs));
        // SAFETY: row `r` of the caller's, as far as it has columns; what is written lies at or before what is read.
        unsafe {
            let length = count.offset(r).read_unaligned().clamp(0, cols as i64) as usize;
            let mut kept = 0;
            for at in 0..length {
                let weight = weights.add(at).read_unaligned();
                weights.add(kept).write_unaligned(weight);
                list.add(kept).write_unaligned(list.add(at).read_unaligned());
                kept += usize::from(weight != 0.0);
            }
            count.offset(r).write_unaligned(kept as i64);
        }
    }
}

/// Adds columns `from[r] .. to[r]` to each row's list, as far as there is room.
///
/// # Safety
/// `lists` must be valid for `rows` lists of `room` elements, as many counts and one `most`; `from` and `to` for `rows`
/// elements. All apart.
#[inline(always)]
pub(crate) unsafe fn list_spans(lists: &Lists, from: *const i64, to: *const i64) {
    for r in 0..lists.rows {
        // SAFETY: row `r` of the caller's; no more is written than there is room for.
        unsafe {
            let (end, count) = lists.end(r);
            let low = from.add(r).read_unaligned().clamp(0, lists.cols as i64);
            let high = to.add(r).read_unaligned().clamp(low, lists.cols as i64);
            let room = lists.room - count;
            let n = ((high - low) as usize).min(room);
            let (mut at, mut position) = (0, lists.first.wrapping_add(low));
            // What follows a list in its row is free to be overwritten.
            while at < n && at + CHUNK <= room {
                let mut chunk = [0; CHUNK];
                for (lane, place) in chunk.iter_mut().enumerate() {
                    *place = position.wrapping_add(lane as i64);
                }
                end.add(at).cast::<[i64; CHUNK]>().write_unaligned(chunk);
                at += CHUNK;
                position = position.wrapping_add(CHUNK as i64);
            }
            while at < n {
                end.add(at).write_unaligned(position);
                at += 1;
                position = position.wrapping_add(1);
            }
            lists.set_count(r, count + n);
        }
    }
}

/// Adds the columns at which `s` is not -inf to each row's list, as far as there is room.
///
/// # Safety
/// As for [`list_spans`], with `s` valid for the rows and columns.
#[inline(always)]
pub(crate) unsafe fn list_open<S: Square<f32>>(lanes: S, lists: &Lists, s: *const f32, s_rs: isize) {
    for r in 0..lists.rows {
        // SAFETY: row `r` of the caller's; no more is written than there is room for.
        unsafe {
            let (end, count) = lists.end(r);
            let row = s.wrapping_offset(r as isize * s_rs);
            let room = lists.room - count;
            let (mut n, mut c) = (0, 0);
            while c < lists.cols {
                let mut open = places_other_than(lanes, row.add(c), (lists.cols - c).min(WORD), f32::NEG_INFINITY);
                let start = lists.first.wrapping_add(c as i64);
                while open != 0 && n < room {
                    end.add(n).write_unaligned(start.wrapping_add(i64::from(open.trailing_zeros())));
                    open &= open - 1;
                    n += 1;
                }
                c += WORD;
            }
            lists.set_count(r, count + n);
        }
    }
}

/// Rows, their lists and the lines; the elements of a row, a list or a line are adjacent.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    pub rows: usize,
    /// Elements of each list that are looked at.
    pub cols: usize,
    /// Elements of a line.
    pub n: usize,
    /// How many lines there are.
    pub lines: usize,
    pub list: *const i64,
    pub list_rs: isize,
    pub count: *const i64,
    pub a: *const f32,
    pub a_rs: isize,
    pub b: *const f32,
    pub b_rs: isize,
    pub c: *mut f32,
    pub c_rs: isize,
}

/// Chains of sums to which lines are added in turn.
const CHAINS: usize = 2;

/// One row of [`Listed`].
#[derive(Clone, Copy)]
struct Row {
    count: usize,
    list: *const i64,
    a: *const f32,
    c: *mut f32,
}

impl Listed {
    /// # Safety
    /// `r` must be less than `rows`, and the operands valid.
    #[inline(always)]
    unsafe fn row(&self, r: usize) -> Row {
        // SAFETY: the caller's duty.
        let count = unsafe { self.count.add(r).read_unaligned() }.clamp(0, self.cols as i64) as usize;
        Row {
            count: if self.lines == 0 { 0 } else { count },
            list: self.list.wrapping_offset(r as isize * self.list_rs),
            a: self.a.wrapping_offset(r as isize * self.a_rs),
            c: self.c.wrapping_offset(r as isize * self.c_rs),
        }
    }

    /// Elements from a line of memory's begin to that of each of B's lines, if they are as many for all: else 0.
    #[inline(always)]
    fn askew<S: Square<f32>>(&self) -> usize {
        let past = self.b.addr() % (S::N * size_of::<f32>());
        let same = self.b_rs % S::N as isize == 0 && past.is_multiple_of(size_of::<f32>());
        if const { S::LINE } && same { past / size_of::<f32>() } else { 0 }
    }

    /// The line that is element `at` of a list, of which there is one at least.
    ///
    /// # Safety
    /// `list` must be valid for reading element `at`.
    #[inline(always)]
    unsafe fn line(&self, list: *const i64, at: usize) -> *const f32 {
        // SAFETY: the caller's duty. A negative position is a large one.
        let position = unsafe { list.add(at).read_unaligned() } as u64;
        self.b.wrapping_offset(position.min(self.lines as u64 - 1) as isize * self.b_rs)
    }
}

/// Lines that are multiplied side by side.
const SIDE: usize = 8;

/// `C[r, c] = sum_k A[r, k] B[list[r, c], k]` for `c < count[r]`, and -inf for the other `c < cols`. The order of additions
/// depends on the length of a line alone.
///
/// # Safety
/// `list` and C must be valid for `rows` by `cols` elements, A for `rows` by `n`, B for `lines` by `n`, and `count` for
/// `rows`; C apart from all else.
#[inline(always)]
pub(crate) unsafe fn dots_listed<S: Square<f32>>(s: S, p: &Listed) {
    let askew = p.askew::<S>();
    for r in 0..p.rows {
        // SAFETY: row `r` of the caller's.
        unsafe {
            let row = p.row(r);
            if askew == 0 { scores::<S, false>(s, p, &row, 0) } else { scores::<S, true>(s, p, &row, askew) }
        }
    }
}

/// One row of [`dots_listed`], in vectors that begin `askew` elements before a line's.
///
/// # Safety
/// As for [`dots_listed`].
#[inline(always)]
unsafe fn scores<S: Square<f32>, const ASKEW: bool>(s: S, p: &Listed, row: &Row, askew: usize) {
    let lowest = s.splat(f32::NEG_INFINITY);
    let mut at = 0;
    // SAFETY: the row's elements of C, and elements of its list that are there.
    unsafe {
        while at < row.count {
            let left = row.count - at;
            let first = some_lines::<S, ASKEW>(s, p, row, at, askew);
            let mut second = [s.splat(0.0); SIDE];
            if const { S::N > SIDE } && left > SIDE {
                second = some_lines::<S, ASKEW>(s, p, row, at + SIDE, askew);
            }
            let sums = both::<S>(s, first, second);
            // The rest of the vector, too, since what is stored in part is slow to be read again.
            let all = s.keep_head(s.head(left.min(S::N)), sums, lowest);
            if at + S::N <= p.cols {
                s.store(row.c.add(at), all);
            } else {
                s.store_head(row.c.add(at), s.head(p.cols - at), all);
            }
            at += S::N;
        }
        while at < p.cols {
            let head = s.head((p.cols - at).min(S::N));
            s.store_head(row.c.add(at), head, lowest);
            at += S::N;
        }
    }
}

/// The sums of each of two halves' vectors.
#[inline(always)]
fn both<S: Square<f32>>(s: S, [a, b, c, d, e, f, g, h]: [S::V; SIDE], [i, j, k, l, m, n, o, p]: [S::V; SIDE]) -> S::V {
    s.sum_of_each(&[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
}

/// The unreduced sums of elements `at .. at + SIDE` of a row's list, of which one is there at least. What is beyond the
/// list's end counts as its last element, whose line is at hand.
///
/// # Safety
/// As for [`dots_listed`].
#[inline(always)]
unsafe fn some_lines<S: Square<f32>, const ASKEW: bool>(
    s: S,
    p: &Listed,
    row: &Row,
    at: usize,
    askew: usize,
) -> [S::V; SIDE] {
    let mut from = [p.b; SIDE];
    // SAFETY: elements of the list that are there.
    unsafe {
        if at + SIDE <= row.count {
            for (l, from) in from.iter_mut().enumerate() {
                *from = p.line(row.list, at + l).wrapping_sub(askew);
            }
        } else {
            for (l, from) in from.iter_mut().enumerate() {
                *from = p.line(row.list, (at + l).min(row.count - 1)).wrapping_sub(askew);
            }
        }
        lines::<S, ASKEW>(s, row.a.wrapping_sub(askew), &from, p.n + askew, askew)
    }
}

/// The unreduced sums of a row with some lines, all of `n` elements of which the first `askew` are not their own.
///
/// # Safety
/// What is their own must be valid for reading.
#[inline(always)]
unsafe fn lines<S: Square<f32>, const ASKEW: bool>(
    s: S,
    row: *const f32,
    from: &[*const f32; SIDE],
    n: usize,
    askew: usize,
) -> [S::V; SIDE] {
    let mut acc = [s.splat(0.0); SIDE];
    let mut k = 0;
    // SAFETY: the caller's row and lines, vector by vector; of the first only what is their own.
    unsafe {
        if ASKEW {
            let own = s.middle(askew, n.min(S::N));
            let a = s.load_head(row, own);
            for (acc, from) in acc.iter_mut().zip(from) {
                *acc = s.fma(a, s.load_head(*from, own), *acc);
            }
            k = S::N;
        }
        while k + S::N <= n {
            let a = s.load(row.wrapping_add(k));
            for (acc, from) in acc.iter_mut().zip(from) {
                *acc = s.fma(a, s.load(from.wrapping_add(k)), *acc);
            }
            k += S::N;
        }
        if k < n {
            let head = s.head(n - k);
            let a = s.load_head(row.wrapping_add(k), head);
            for (acc, from) in acc.iter_mut().zip(from) {
                *acc = s.fma(a, s.load_head(from.wrapping_add(k), head), *acc);
            }
        }
    }
    if ASKEW {
        // Each lane has the terms that it has where nothing is askew, so that the sums have the same bits.
        for acc in &mut acc {
            *acc = s.rotated(*acc, askew);
        }
    }
    acc
}

/// `C[r, j] += sum_c A[r, c] B[list[r, c], j]` over `c < count[r]`. The order of additions depends on the list's length
/// alone.
///
/// # Safety
/// `list` and A must be valid for `rows` by `cols` elements, C for `rows` by `n`, B for `lines` by `n`, and `count` for
/// `rows`; C apart from all else.
#[inline(always)]
pub(crate) unsafe fn sum_listed<S: Square<f32>>(s: S, p: &Listed) {
    let askew = p.askew::<S>();
    for r in 0..p.rows {
        // SAFETY: row `r` of the caller's, column by column.
        unsafe {
            let row = p.row(r);
            if askew == 0 { sums(s, p, &row) } else { sums_askew(s, p, &row, askew) }
        }
    }
}

/// One row of [`sum_listed`].
///
/// # Safety
/// As for [`sum_listed`].
#[inline(always)]
unsafe fn sums<S: Square<f32>>(s: S, p: &Listed, row: &Row) {
    let whole = s.head(S::N);
    let mut j = 0;
    // SAFETY: columns from `j` on, as many as a panel has.
    unsafe {
        while const { S::LINE } && j + 8 * S::N <= p.n {
            panel::<S, 8, false>(s, p, row, j, [whole; 2]);
            j += 8 * S::N;
        }
        while j + 4 * S::N <= p.n {
            panel::<S, 4, false>(s, p, row, j, [whole; 2]);
            j += 4 * S::N;
        }
        while j < p.n {
            panel::<S, 1, false>(s, p, row, j, [whole, s.head((p.n - j).min(S::N))]);
            j += S::N;
        }
    }
}

/// One row of [`sum_listed`] in vectors that begin `askew` elements before the row's.
///
/// # Safety
/// As for [`sum_listed`].
#[inline(always)]
unsafe fn sums_askew<S: Square<f32>>(s: S, p: &Listed, row: &Row, askew: usize) {
    let end = p.n + askew;
    let mut j = 0;
    while j < end {
        let width = match (end - j).div_ceil(S::N) {
            8.. => 8,
            5.. => 5,
            3.. => 3,
            _ => 1,
        };
        // Of the first vector what is the row's own, of the last what is left.
        let low = if j == 0 { askew } else { 0 };
        let first = s.middle(low, S::N);
        let left = (end - j - (width - 1) * S::N).min(S::N);
        let last = s.middle(if width == 1 { low } else { 0 }, left);
        let row = Row { c: row.c.wrapping_sub(askew), ..*row };
        let p = Listed { b: p.b.wrapping_sub(askew), ..*p };
        // SAFETY: the columns of the panel, but for those that the masks leave out.
        unsafe {
            match width {
                8 => panel::<S, 8, true>(s, &p, &row, j, [first, last]),
                5 => panel::<S, 5, true>(s, &p, &row, j, [first, last]),
                3 => panel::<S, 3, true>(s, &p, &row, j, [first, last]),
                _ => panel::<S, 1, true>(s, &p, &row, j, [first, last]),
            }
        }
        j += width * S::N;
    }
}

/// `W` vectors of a row from column `j` on, the last as far as the second of `ends` says, and if `ASKEW` the first as the first
/// says. As many chains of sums as there are hide some of the latency of a multiply-add; whatever the width, a column has the
/// same.
///
/// # Safety
/// As for [`sum_listed`]; the columns are there.
#[inline(always)]
unsafe fn panel<S: Square<f32>, const W: usize, const ASKEW: bool>(
    s: S,
    p: &Listed,
    row: &Row,
    j: usize,
    ends: [S::Head; 2],
) {
    let mut acc = [[s.splat(0.0); W]; CHAINS];
    // SAFETY: the caller's columns of C and of the lines; elements of the list that are there.
    unsafe {
        let c = row.c.wrapping_add(j);
        for (w, acc) in acc[0].iter_mut().enumerate() {
            *acc = load::<S, W, ASKEW>(s, c, w, ends);
        }
        let mut at = 0;
        while at + CHAINS <= row.count {
            for (a, acc) in acc.iter_mut().enumerate() {
                term::<S, W, ASKEW>(s, p, row, at + a, (j, ends), acc);
            }
            at += CHAINS;
        }
        for (a, acc) in acc.iter_mut().enumerate().take(row.count - at) {
            term::<S, W, ASKEW>(s, p, row, at + a, (j, ends), acc);
        }
        for w in 0..W {
            let mut sum = acc[0][w];
            for acc in &acc[1..] {
                sum = s.add(sum, acc[w]);
            }
            let c = c.wrapping_add(w * S::N);
            if w + 1 == W {
                s.store_head(c, ends[1], sum);
            } else if ASKEW && w == 0 {
                s.store_head(c, ends[0], sum);
            } else {
                s.store(c, sum);
            }
        }
    }
}

/// Adds element `at` of a row's list.
///
/// # Safety
/// As for [`panel`].
#[inline(always)]
unsafe fn term<S: Square<f32>, const W: usize, const ASKEW: bool>(
    s: S,
    p: &Listed,
    row: &Row,
    at: usize,
    (j, ends): (usize, [S::Head; 2]),
    acc: &mut [S::V; W],
) {
    // SAFETY: an element of the list, and columns of its line.
    unsafe {
        let (a, b) = (s.splat(row.a.add(at).read_unaligned()), p.line(row.list, at).wrapping_add(j));
        for (w, acc) in acc.iter_mut().enumerate() {
            *acc = s.fma(a, load::<S, W, ASKEW>(s, b, w, ends), *acc);
        }
    }
}

/// Vector `w` of `W`: see [`panel`].
///
/// # Safety
/// The vectors must be valid for reading.
#[inline(always)]
unsafe fn load<S: Square<f32>, const W: usize, const ASKEW: bool>(
    s: S,
    p: *const f32,
    w: usize,
    ends: [S::Head; 2],
) -> S::V {
    let p = p.wrapping_add(w * S::N);
    // SAFETY: the caller's duty.
    unsafe {
        if w + 1 == W {
            s.load_head(p, ends[1])
        } else if ASKEW && w == 0 {
            s.load_head(p, ends[0])
        } else {
            s.load(p)
        }
    }
}
