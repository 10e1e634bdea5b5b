//! Transposition: keys are packed transposed, so that scores are products with unit column stride.

/// `dst[c * dst_rs + r] = src[r * src_rs + c]`.
///
/// # Safety
/// Both must be valid for the described elements, and apart.
#[inline(always)]
pub(crate) unsafe fn transpose(
    rows: usize,
    cols: usize,
    dst: *mut f32,
    dst_rs: isize,
    src: *const f32,
    src_rs: isize,
) {
    for c in 0..cols {
        for r in 0..rows {
            // SAFETY: `r < rows`, `c < cols`.
            unsafe {
                let x = src.offset(r as isize * src_rs).add(c).read_unaligned();
                dst.offset(c as isize * dst_rs).add(r).write_unaligned(x);
            }
        }
    }
}
