//! Matrices to which something is added that varies with row and column: another matrix, in whichever direction it
//! lies, or a multiple of a position; or that are multiplied with another one element by element.

use crate::lanes::FloatBits;

/// The matrices, with strides in elements and unit column stride.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub rows: usize,
    pub cols: usize,
    pub dst: *mut f32,
    pub dst_rs: isize,
    pub src: *const f32,
    pub src_rs: isize,
}

impl Rows {
    /// The places of a row.
    #[inline(always)]
    fn at(&self, row: usize) -> (*mut f32, *const f32) {
        let row = row as isize;
        (self.dst.wrapping_offset(row * self.dst_rs), self.src.wrapping_offset(row * self.src_rs))
    }
}

/// `dst[r, k] = src[r, k] + plane[r * rs + k * cs]`.
///
/// # Safety
/// The pointers must be valid for the described elements; `dst` and `src` are equal or apart, the plane is apart.
#[inline(always)]
pub(crate) unsafe fn add_plane<S: FloatBits>(s: S, p: &Rows, plane: *const f32, strides: [isize; 2]) {
    // SAFETY: the caller's duty.
    unsafe { with_plane(s, p, (plane, strides), |x, y| s.add(x, y), |x, y| x + y) }
}

/// `dst[r, k] = src[r, k] * plane[r * rs + k * cs]`.
///
/// # Safety
/// As for [`add_plane`].
#[inline(always)]
pub(crate) unsafe fn scale_plane<S: FloatBits>(s: S, p: &Rows, plane: *const f32, strides: [isize; 2]) {
    // SAFETY: the caller's duty.
    unsafe { with_plane(s, p, (plane, strides), |x, y| s.mul(x, y), |x, y| x * y) }
}

/// `dst[r, k] = src[r, k] op plane[r * rs + k * cs]`, in vectors and one by one.
///
/// # Safety
/// As for [`add_plane`].
#[inline(always)]
unsafe fn with_plane<S: FloatBits>(
    s: S,
    p: &Rows,
    (plane, [rs, cs]): (*const f32, [isize; 2]),
    op: impl Fn(S::V, S::V) -> S::V,
    each: impl Fn(f32, f32) -> f32,
) {
    for row in 0..p.rows {
        let (dst, src) = p.at(row);
        let line = plane.wrapping_offset(row as isize * rs);
        let mut k = 0;
        // SAFETY: the row of the caller's matrices, as far as it has columns.
        unsafe {
            while cs == 1 && k + S::N <= p.cols {
                s.store(dst.add(k), op(s.load(src.add(k)), s.load(line.wrapping_add(k))));
                k += S::N;
            }
            while cs == -1 && k + S::N <= p.cols {
                let turned = s.reversed(s.load(line.wrapping_sub(k + S::N - 1)));
                s.store(dst.add(k), op(s.load(src.add(k)), turned));
                k += S::N;
            }
            while k < p.cols {
                let other = line.wrapping_offset(k as isize * cs).read_unaligned();
                dst.add(k).write_unaligned(each(src.add(k).read_unaligned(), other));
                k += 1;
            }
        }
    }
}

/// `dst[r, k] = src[r, k] + factor * (start + r * steps[0] + k * steps[1])`; all of these positions are below 2^24 in
/// magnitude.
///
/// # Safety
/// The pointers must be valid for the described elements; `dst` and `src` are equal or apart.
#[inline(always)]
pub(crate) unsafe fn add_ramp<S: FloatBits>(s: S, p: &Rows, factor: f32, start: i64, steps: [i64; 2]) {
    // SAFETY: the caller's duty.
    unsafe { with_ramp(s, p, factor, (start, steps), |at| at) }
}

/// As [`add_ramp`], of the magnitudes of the positions.
///
/// # Safety
/// As for [`add_ramp`].
#[inline(always)]
pub(crate) unsafe fn add_distance<S: FloatBits>(s: S, p: &Rows, factor: f32, start: i64, steps: [i64; 2]) {
    // SAFETY: the caller's duty.
    unsafe { with_ramp(s, p, factor, (start, steps), |at| s.abs(at)) }
}

/// As [`add_ramp`], of a function of the positions.
///
/// # Safety
/// As for [`add_ramp`].
#[inline(always)]
unsafe fn with_ramp<S: FloatBits>(
    s: S,
    p: &Rows,
    factor: f32,
    (start, [down, across]): (i64, [i64; 2]),
    of: impl Fn(S::V) -> S::V,
) {
    let mut steps = [0.0; crate::lanes::MOST_LANES];
    for (lane, step) in steps.iter_mut().enumerate() {
        *step = (lane as i64).wrapping_mul(across) as f32;
    }
    // SAFETY: no vector has more lanes.
    let steps = unsafe { s.load(steps.as_ptr()) };
    let factor = s.splat(factor);
    for row in 0..p.rows {
        let (dst, src) = p.at(row);
        let first = start.wrapping_add((row as i64).wrapping_mul(down));
        let mut k = 0;
        while k < p.cols {
            let at = s.splat(first.wrapping_add((k as i64).wrapping_mul(across)) as f32);
            let added = s.mul(factor, of(s.add(at, steps)));
            // SAFETY: columns of the caller's row.
            unsafe {
                if k + S::N <= p.cols {
                    s.store(dst.add(k), s.add(s.load(src.add(k)), added));
                } else {
                    let head = s.head(p.cols - k);
                    s.store_head(dst.add(k), head, s.add(s.load_head(src.add(k), head), added));
                }
            }
            k += S::N;
        }
    }
}
