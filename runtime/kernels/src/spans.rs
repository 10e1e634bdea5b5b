//! Unions of half-open spans: the traversal of a row block whose domain has several parts.

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
