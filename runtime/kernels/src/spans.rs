//! Half-open spans: their unions, for the traversal of a row block whose domain has several parts, and those that rows see.

/// A half-open span of positions, as it lies in memory.
type Span = [i64; 2];

/// Sorts `count` spans in place, joins those less than `gap` apart (0 and 1: that meet), and returns how many are left.
///
/// # Safety
/// `spans` must be valid for reading and writing `2 * count` elements, aligned to 8 bytes.
pub(crate) unsafe extern "C" fn merge_spans(spans: *mut i64, count: usize, gap: i64) -> usize {
    if count == 0 {
        return 0;
    }
    // SAFETY: the caller's pairs; a pair has the alignment of its element.
    let spans = unsafe { core::slice::from_raw_parts_mut(spans.cast::<Span>(), count) };
    let mut kept = 0;
    for at in 0..count {
        let [low, high] = spans[at];
        if low < high {
            spans[kept] = [low, high];
            kept += 1;
        }
    }
    join(&mut spans[..kept], gap.max(1))
}

/// Sorts, then joins neighbours; returns how many are left.
fn join(spans: &mut [Span], gap: i64) -> usize {
    if spans.is_empty() {
        return 0;
    }
    spans.sort_unstable();
    let mut last = 0;
    for at in 1..spans.len() {
        let [low, high] = spans[at];
        if low < spans[last][1].saturating_add(gap) {
            spans[last][1] = spans[last][1].max(high);
        } else {
            last += 1;
            spans[last] = [low, high];
        }
    }
    last + 1
}

/// The columns `from[r] .. to[r]` that each row r of some sees, among `cols`. Ends may lie beyond, and a span be empty.
#[derive(Clone, Copy)]
pub(crate) struct RowSpans {
    pub from: *const i64,
    pub to: *const i64,
    pub cols: usize,
}

/// What several rows see.
pub(crate) struct Seen {
    /// The least span that holds all of theirs; empty if all are.
    pub hull: [usize; 2],
    /// What each of them sees; empty if there is nothing.
    pub common: [usize; 2],
}

impl RowSpans {
    /// Those from row `row` on.
    #[inline(always)]
    pub(crate) fn from(self, row: usize) -> Self {
        RowSpans { from: self.from.wrapping_add(row), to: self.to.wrapping_add(row), ..self }
    }

    /// The span of a row, within the columns, its end not before its beginning.
    ///
    /// # Safety
    /// Both ends must be valid for reading at `row`.
    #[inline(always)]
    pub(crate) unsafe fn of(&self, row: usize) -> [usize; 2] {
        let most = self.cols as i64;
        // SAFETY: the caller's.
        let [from, to] =
            unsafe { [self.from, self.to].map(|end| end.add(row).read_unaligned().clamp(0, most) as usize) };
        [from, to.max(from)]
    }

    /// What the rows `row .. row + count` see.
    ///
    /// # Safety
    /// As for [`Self::of`], at each of them.
    #[inline(always)]
    pub(crate) unsafe fn of_rows(&self, row: usize, count: usize) -> Seen {
        let (mut hull, mut common) = ([self.cols, 0], [0, self.cols]);
        for row in row..row + count {
            // SAFETY: the caller's.
            let [from, to] = unsafe { self.of(row) };
            if from < to {
                hull = [hull[0].min(from), hull[1].max(to)];
            }
            common = [common[0].max(from), common[1].min(to)];
        }
        if hull[0] >= hull[1] {
            hull = [0, 0];
        }
        Seen { hull, common: [common[0], common[1].max(common[0])] }
    }
}

/// Rows whose ends are looked for beside those of the row before, at most so far away.
const NEAR: usize = 4;

/// The first place of `at..end` whose key is not `before`, of keys of which those that are come first; `guess` is where it
/// may be.
fn first_after(
    keys: impl Fn(usize) -> i64,
    [at, end]: [usize; 2],
    guess: usize,
    before: impl Fn(i64) -> bool,
) -> usize {
    let (mut low, mut high) = (at, end);
    let guess = guess.clamp(at, end);
    if guess == at || before(keys(guess - 1)) {
        low = guess;
        for place in guess..end.min(guess + NEAR) {
            if !before(keys(place)) {
                return place;
            }
            low = place + 1;
        }
    } else {
        high = guess - 1;
    }
    while low < high {
        let middle = low.midpoint(high);
        if before(keys(middle)) { low = middle + 1 } else { high = middle }
    }
    low
}

/// Narrows the span of each row to the keys `least[r] ..= most[r]`, or if not `inside` to those below `least[r]` or above
/// `most[r]`, of which one is null: no bound. Where keys descend within a span, some part of it is left.
///
/// # Safety
/// `from`, `to` and what is not null of `least` and `most` must be valid for `rows` elements, `keys` for `cols`; what is
/// written is apart from the rest.
pub(crate) unsafe extern "C" fn narrow_spans(
    rows: usize,
    cols: usize,
    from: *mut i64,
    to: *mut i64,
    least: *const i64,
    most: *const i64,
    keys: *const i64,
    inside: u64,
) {
    let spans = RowSpans { from, to, cols };
    let mut guesses = [0, 0];
    for r in 0..rows {
        // SAFETY: the ends of row `r < rows`; keys at places below `cols`.
        unsafe {
            let key = |place: usize| keys.add(place).read_unaligned();
            let [mut first, mut end] = spans.of(r);
            if !least.is_null() {
                let bound = least.add(r).read_unaligned();
                guesses[0] = first_after(key, [first, end], guesses[0], |key| key < bound);
                if inside != 0 { first = guesses[0] } else { end = guesses[0] }
            }
            if !most.is_null() {
                let bound = most.add(r).read_unaligned();
                guesses[1] = first_after(key, [first, end], guesses[1], |key| key <= bound);
                if inside != 0 { end = guesses[1] } else { first = guesses[1] }
            }
            from.add(r).write_unaligned(first as i64);
            to.add(r).write_unaligned(end as i64);
        }
    }
}
