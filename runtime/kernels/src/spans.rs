//! Unions of half-open spans in whole tiles: the traversal of a row block whose domain has several parts.

/// A half-open span of positions, as it lies in memory.
type Span = [i64; 2];

/// Normalises `count` spans in place and returns how many are left.
///
/// # Safety
/// `spans` must be valid for reading and writing `2 * count` elements, aligned to 8 bytes.
pub(crate) unsafe extern "C" fn merge_spans(spans: *mut i64, count: usize, tile: i64) -> usize {
    if count == 0 {
        return 0;
    }
    // SAFETY: the caller's pairs; a pair has the alignment of its element.
    let spans = unsafe { core::slice::from_raw_parts_mut(spans.cast::<Span>(), count) };
    let tile = tile.max(1);
    let mut kept = 0;
    for at in 0..count {
        let [low, high] = spans[at];
        if low < high {
            spans[kept] = [round_down(low, tile), round_up(high, tile)];
            kept += 1;
        }
    }
    merge_sorted_by_start(&mut spans[..kept])
}

/// Sorts, then merges neighbours that overlap or touch; returns how many are left.
fn merge_sorted_by_start(spans: &mut [Span]) -> usize {
    if spans.is_empty() {
        return 0;
    }
    spans.sort_unstable();
    let mut last = 0;
    for at in 1..spans.len() {
        let [low, high] = spans[at];
        if low <= spans[last][1] {
            spans[last][1] = spans[last][1].max(high);
        } else {
            last += 1;
            spans[last] = [low, high];
        }
    }
    last + 1
}

fn round_down(x: i64, tile: i64) -> i64 {
    x.saturating_sub(x.rem_euclid(tile))
}

fn round_up(x: i64, tile: i64) -> i64 {
    match x.rem_euclid(tile) {
        0 => x,
        rest => x.saturating_add(tile - rest),
    }
}
