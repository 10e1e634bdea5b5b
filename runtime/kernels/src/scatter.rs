//! Sums by position: what weights of keys come to at each place of a table.

use std::ops::AddAssign;

/// Rows that are added to at a time: a place that keys share one after the other is a chain of additions in memory,
/// and so many chains run beside each other.
const ROWS: usize = 4;

/// `dst[r, at[r, c]] += src[r, c]` for each column after the other; positions outside of `width` add to nothing.
///
/// # Safety
/// `dst` must be valid for `rows` rows of `width` elements, `src` and `at` for `rows` rows of `cols`.
#[allow(clippy::too_many_arguments, reason = "three matrices")]
pub(crate) unsafe extern "C" fn scatter_add<T: Copy + AddAssign>(
    rows: usize,
    cols: usize,
    width: usize,
    dst: *mut T,
    dst_rs: isize,
    src: *const T,
    src_rs: isize,
    at: *const i64,
    at_rs: isize,
) {
    let mut r = 0;
    while r < rows {
        let n = (rows - r).min(ROWS);
        let from = r as isize;
        let (dst, src, at) =
            (dst.wrapping_offset(from * dst_rs), src.wrapping_offset(from * src_rs), at.wrapping_offset(from * at_rs));
        let add = |row: usize, c: usize| {
            let row = row as isize;
            // SAFETY: rows below `rows` and columns below `cols` of what the caller gave, and `place` is below `width`.
            unsafe {
                let place = *at.offset(row * at_rs).add(c);
                if usize::try_from(place).is_ok_and(|place| place < width) {
                    *dst.offset(row * dst_rs).add(place as usize) += *src.offset(row * src_rs).add(c);
                }
            }
        };
        match n {
            ROWS => (0..cols).for_each(|c| (0..ROWS).for_each(|row| add(row, c))),
            _ => (0..cols).for_each(|c| (0..n).for_each(|row| add(row, c))),
        }
        r += n;
    }
}
