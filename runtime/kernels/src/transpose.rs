//! Transposition: keys are packed transposed, so that scores are products with unit column stride.
//!
//! Squares of one vector's length are transposed in registers; ragged edges are squares with partial loads and stores.

use crate::lanes::Square;

/// `dst[c * dst_rs + r] = src[r * src_rs + c]`.
///
/// # Safety
/// Both must be valid for the described elements, and apart.
#[inline(always)]
pub(crate) unsafe fn transpose<S: Square<f32>>(
    s: S,
    rows: usize,
    cols: usize,
    dst: *mut f32,
    dst_rs: isize,
    src: *const f32,
    src_rs: isize,
) {
    if !S::SHUFFLES {
        // SAFETY: the caller's duty.
        return unsafe { by_element(rows, cols, dst, dst_rs, src, src_rs) };
    }
    let mut r = 0;
    while r < rows {
        let high = (rows - r).min(S::N);
        let mut c = 0;
        while c < cols {
            let wide = (cols - c).min(S::N);
            let to = dst.wrapping_offset(c as isize * dst_rs).wrapping_add(r);
            let from = src.wrapping_offset(r as isize * src_rs).wrapping_add(c);
            // SAFETY: rows `r .. r + high` and columns `c .. c + wide` of the caller's.
            unsafe {
                if high == S::N && wide == S::N {
                    square(s, to, dst_rs, from, src_rs);
                } else {
                    ragged_square(s, high, wide, to, dst_rs, from, src_rs);
                }
            }
            c += wide;
        }
        r += high;
    }
}

/// `N` rows and columns.
#[inline(always)]
unsafe fn square<S: Square<f32>>(s: S, dst: *mut f32, dst_rs: isize, src: *const f32, src_rs: isize) {
    let mut lines = [s.splat(0.0); 16];
    // SAFETY: `N` rows of the caller's, then as many columns.
    unsafe {
        for (r, line) in lines.iter_mut().enumerate().take(S::N) {
            *line = s.load(src.offset(r as isize * src_rs));
        }
        s.transpose(&mut lines);
        for (c, &line) in lines.iter().enumerate().take(S::N) {
            s.store(dst.offset(c as isize * dst_rs), line);
        }
    }
}

/// At most `N` rows and columns.
#[inline(always)]
unsafe fn ragged_square<S: Square<f32>>(
    s: S,
    rows: usize,
    cols: usize,
    dst: *mut f32,
    dst_rs: isize,
    src: *const f32,
    src_rs: isize,
) {
    let mut lines = [s.splat(0.0); 16];
    let (high, wide) = (s.head(rows), s.head(cols));
    // SAFETY: `rows` rows of the caller's, `cols` elements of each; then the other way round.
    unsafe {
        for (r, line) in lines.iter_mut().enumerate().take(rows) {
            *line = s.load_head(src.offset(r as isize * src_rs), wide);
        }
        s.transpose(&mut lines);
        for (c, &line) in lines.iter().enumerate().take(cols) {
            s.store_head(dst.offset(c as isize * dst_rs), high, line);
        }
    }
}

/// One element after the other, along the rows of `dst`.
#[inline(always)]
unsafe fn by_element(rows: usize, cols: usize, dst: *mut f32, dst_rs: isize, src: *const f32, src_rs: isize) {
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
