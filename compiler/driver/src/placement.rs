//! Offsets of intermediates in one block: those whose lifetimes do not meet share bytes.
//!
//! Must not know stages: it sees sizes and lifetimes.

use crate::layout::ALIGN;

/// `bytes` rounded up to [`ALIGN`]; `None` on overflow.
pub fn aligned(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(ALIGN)
}

/// A buffer to be placed: its size and the steps (inclusive) during which it holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Size in bytes.
    pub bytes: usize,
    /// First step that writes it.
    pub from: usize,
    /// Last step that reads it.
    pub to: usize,
}

/// Offsets of buffers in one block, and the block's size.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Placement {
    /// Offset of each buffer, a multiple of [`ALIGN`].
    pub offsets: Vec<usize>,
    /// Bytes needed.
    pub bytes: usize,
}

/// Places buffers so that those alive at the same step do not overlap: largest first, each at the lowest free
/// offset. `None` if sizes overflow.
pub fn place(buffers: &[Lifetime]) -> Option<Placement> {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(buffers[*i].bytes));
    let mut offsets = vec![0usize; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut bytes = 0usize;
    for index in order {
        let new = buffers[index];
        let mut busy: Vec<(usize, usize)> = placed
            .iter()
            .map(|p| (*p, buffers[*p]))
            .filter(|(_, old)| old.from <= new.to && new.from <= old.to)
            .map(|(p, old)| Some((offsets[p], aligned(offsets[p].checked_add(old.bytes)?)?)))
            .collect::<Option<_>>()?;
        busy.sort_unstable();
        let mut offset = 0usize;
        for (from, to) in busy {
            if from >= offset.checked_add(aligned(new.bytes)?)? {
                break;
            }
            offset = offset.max(to);
        }
        offsets[index] = offset;
        bytes = bytes.max(aligned(offset.checked_add(new.bytes)?)?);
        placed.push(index);
    }
    Some(Placement { offsets, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_disjoint_lifetimes_share_bytes() {
        let buffers = [
            Lifetime { bytes: 100, from: 0, to: 1 },
            Lifetime { bytes: 50, from: 1, to: 2 },
            Lifetime { bytes: 100, from: 2, to: 3 },
        ];
        let placement = place(&buffers).expect("sizes are small");
        assert_eq!(placement.offsets[0], 0);
        assert_eq!(placement.offsets[1], 128);
        assert_eq!(placement.offsets[2], 0);
        assert_eq!(placement.bytes, 192);
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let buffers = [Lifetime { bytes: usize::MAX - 3, from: 0, to: 1 }; 2];
        assert_eq!(place(&buffers), None);
    }
}
