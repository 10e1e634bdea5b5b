//! Packing the right operand of [`super::pairs`]: two rows into one of words.

use crate::convert::nearest_bf16;
use crate::lanes::Square;
use crate::transpose::transpose;

/// What is packed: bits of bfloat16 as they are, or `f32`, rounded.
pub(crate) trait Half: Copy {
    /// Whether elements are stored as halves, so that two neighbours are a word.
    const STORED: bool;

    fn half(self) -> u16;
}

impl Half for u16 {
    const STORED: bool = true;

    #[inline(always)]
    fn half(self) -> u16 {
        self
    }
}

impl Half for f32 {
    const STORED: bool = false;

    #[inline(always)]
    fn half(self) -> u16 {
        nearest_bf16(self)
    }
}

/// A matrix to be packed; strides in elements, that of `dst` in words.
#[derive(Clone, Copy)]
pub(crate) struct Unpacked<T> {
    pub rows: usize,
    pub cols: usize,
    pub dst: *mut u32,
    pub dst_rs: isize,
    pub src: *const T,
    pub src_rs: isize,
    pub src_cs: isize,
}

/// Word (p, c) of `dst` has element (2 p, c) of `src` below and (2 p + 1, c) above, or 0 where there is no such row.
///
/// # Safety
/// Both must be valid for the described elements, and apart.
#[inline(always)]
pub(crate) unsafe fn pack_pairs<T: Half, S: Square<f32>>(s: S, p: &Unpacked<T>) {
    let whole = p.rows / 2;
    // SAFETY: the caller's elements; row 2 r + 1 is there for every whole pair, and row `rows - 1` for what is left.
    unsafe {
        if T::STORED && p.src_rs == 1 && p.src_cs % 2 == 0 {
            // Two rows of a column are a word already: words are moved, whatever they hold.
            transpose(s, p.cols, whole, p.dst.cast(), p.dst_rs, p.src.cast(), p.src_cs / 2);
        } else {
            for pair in 0..whole {
                let row = p.src.wrapping_offset(2 * pair as isize * p.src_rs);
                pack_rows(p, p.dst.wrapping_offset(pair as isize * p.dst_rs), row, row.wrapping_offset(p.src_rs));
            }
        }
        if p.rows % 2 == 1 {
            let row = p.src.wrapping_offset((p.rows - 1) as isize * p.src_rs);
            let dst = p.dst.wrapping_offset(whole as isize * p.dst_rs);
            for c in 0..p.cols {
                let half = row.wrapping_offset(c as isize * p.src_cs).read_unaligned().half();
                dst.add(c).write_unaligned(u32::from(half));
            }
        }
    }
}

/// One row of words. Loops that the compiler makes vectors of.
#[inline(always)]
unsafe fn pack_rows<T: Half>(p: &Unpacked<T>, dst: *mut u32, low: *const T, high: *const T) {
    // SAFETY: the caller's rows.
    unsafe {
        if p.src_cs == 1 {
            for c in 0..p.cols {
                let (low, high) = (low.add(c).read_unaligned().half(), high.add(c).read_unaligned().half());
                dst.add(c).write_unaligned(u32::from(low) | u32::from(high) << 16);
            }
            return;
        }
        for c in 0..p.cols {
            let at = c as isize * p.src_cs;
            let (low, high) = (low.offset(at).read_unaligned().half(), high.offset(at).read_unaligned().half());
            dst.add(c).write_unaligned(u32::from(low) | u32::from(high) << 16);
        }
    }
}
