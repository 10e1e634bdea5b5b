//! Matrices through a function, with a factor and a summand of each row before and after:
//! `dst[r, k] = f(src[r, k] a[r] + b[r]) c[r] + d[r]`.
//!
//! Generated code has short vectors and goes through memory for a function, so a map of this form takes a third of
//! its time here. Products are rounded before sums, as in any other map.

use crate::function::Function;
use crate::lanes::{Element, FloatBits, Interleaved, Lanes};

/// One number for each row: the stride is 0 where it is the same for all.
#[derive(Clone, Copy)]
pub(crate) struct OfRow {
    pub p: *const f32,
    pub rs: isize,
}

/// The matrices, with strides in elements and unit column stride, and what rows are multiplied by and added to.
pub(crate) struct Affine {
    pub rows: usize,
    pub cols: usize,
    pub dst: *mut f32,
    pub dst_rs: isize,
    pub src: *const f32,
    pub src_rs: isize,
    pub a: OfRow,
    pub b: OfRow,
    pub c: OfRow,
    pub d: OfRow,
}

impl OfRow {
    /// # Safety
    /// The pointer must be valid at the row.
    #[inline(always)]
    unsafe fn at(self, row: usize) -> f32 {
        // SAFETY: the caller's duty.
        unsafe { self.p.wrapping_offset(row as isize * self.rs).read_unaligned() }
    }
}

impl Affine {
    /// What is done to rows beside the function. A number that changes nothing is the same for all.
    #[inline(always)]
    unsafe fn shape(&self) -> u8 {
        let nothing = (-0.0f32).to_bits();
        // SAFETY: the caller's numbers; there is at least one row.
        unsafe {
            let once = |n: OfRow| n.rs == 0 && n.at(0) == 1.0;
            let none = |n: OfRow| n.rs == 0 && n.at(0).to_bits() == nothing;
            match once(self.a) && none(self.b) && none(self.d) {
                true if once(self.c) => PLAIN,
                true => SCALED,
                false => FULL,
            }
        }
    }
}

// What is done to rows beside the function: nothing, a factor after it, or factors and summands before and after it.
const PLAIN: u8 = 0;
const SCALED: u8 = 1;
const FULL: u8 = 2;

/// Every element of the matrix.
///
/// # Safety
/// The pointers must be valid for the described elements; `dst` and `src` are equal or apart.
#[inline(always)]
pub(crate) unsafe fn affine<S: FloatBits, F: Function>(s: S, f: F, p: &Affine) {
    if p.rows == 0 {
        return;
    }
    // SAFETY: the caller's matrices and numbers.
    unsafe {
        match p.shape() {
            PLAIN => matrix::<S, F, PLAIN>(s, f, p),
            SCALED => matrix::<S, F, SCALED>(s, f, p),
            _ => matrix::<S, F, FULL>(s, f, p),
        }
    }
}

/// Every element, of a matrix of this shape.
#[inline(always)]
unsafe fn matrix<S: FloatBits, F: Function, const SHAPE: u8>(s: S, f: F, p: &Affine) {
    let wide = Interleaved(s);
    // Rows of a buffer follow each other, a block at a time: what comes next is asked for in time.
    let ahead = p.rows as isize * p.src_rs;
    for row in 0..p.rows {
        let (dst, src) =
            (p.dst.wrapping_offset(row as isize * p.dst_rs), p.src.wrapping_offset(row as isize * p.src_rs));
        // SAFETY: the row of the caller's matrices, as far as it has columns.
        unsafe {
            let row = [p.a.at(row), p.b.at(row), p.c.at(row), p.d.at(row)];
            let (all, each) = (row_of(wide, row), row_of(s, row));
            let mut k = 0;
            while k + 4 * S::N <= p.cols {
                wide.prefetch(src.wrapping_offset(ahead).wrapping_add(k));
                wide.store(dst.add(k), element::<_, F, SHAPE>(wide, f, all, wide.load(src.add(k))));
                k += 4 * S::N;
            }
            while k + S::N <= p.cols {
                s.prefetch(src.wrapping_offset(ahead).wrapping_add(k));
                s.store(dst.add(k), element::<_, F, SHAPE>(s, f, each, s.load(src.add(k))));
                k += S::N;
            }
            if k < p.cols {
                let head = s.head(p.cols - k);
                s.store_head(dst.add(k), head, element::<_, F, SHAPE>(s, f, each, s.load_head(src.add(k), head)));
            }
        }
    }
}

/// The numbers of a row in every lane.
#[inline(always)]
fn row_of<T: Element, S: Lanes<T>>(s: S, [a, b, c, d]: [T; 4]) -> [S::V; 4] {
    [s.splat(a), s.splat(b), s.splat(c), s.splat(d)]
}

#[inline(always)]
fn element<S: FloatBits, F: Function, const SHAPE: u8>(s: S, f: F, [a, b, c, d]: [S::V; 4], x: S::V) -> S::V {
    match SHAPE {
        PLAIN => f.apply(s, x),
        SCALED => s.mul(f.apply(s, x), c),
        _ => s.add(s.mul(f.apply(s, s.add(s.mul(x, a), b)), c), d),
    }
}
