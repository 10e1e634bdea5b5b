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
    /// Whether rows are neither multiplied nor added to.
    #[inline(always)]
    unsafe fn is_plain(&self) -> bool {
        let all = self.a.rs == 0 && self.b.rs == 0 && self.c.rs == 0 && self.d.rs == 0;
        let nothing = (-0.0f32).to_bits();
        // SAFETY: the caller's numbers; there is at least one row.
        all && unsafe {
            let (factors, summands) = ([self.a.at(0), self.c.at(0)], [self.b.at(0), self.d.at(0)]);
            factors == [1.0; 2] && summands[0].to_bits() == nothing && summands[1].to_bits() == nothing
        }
    }
}

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
        if p.is_plain() {
            matrix::<S, F, true>(s, f, p);
        } else {
            matrix::<S, F, false>(s, f, p);
        }
    }
}

/// Every element; if `PLAIN`, rows are neither multiplied nor added to.
#[inline(always)]
unsafe fn matrix<S: FloatBits, F: Function, const PLAIN: bool>(s: S, f: F, p: &Affine) {
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
                wide.store(dst.add(k), element::<_, F, PLAIN>(wide, f, all, wide.load(src.add(k))));
                k += 4 * S::N;
            }
            while k + S::N <= p.cols {
                s.prefetch(src.wrapping_offset(ahead).wrapping_add(k));
                s.store(dst.add(k), element::<_, F, PLAIN>(s, f, each, s.load(src.add(k))));
                k += S::N;
            }
            if k < p.cols {
                let head = s.head(p.cols - k);
                s.store_head(dst.add(k), head, element::<_, F, PLAIN>(s, f, each, s.load_head(src.add(k), head)));
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
fn element<S: FloatBits, F: Function, const PLAIN: bool>(s: S, f: F, [a, b, c, d]: [S::V; 4], x: S::V) -> S::V {
    if PLAIN { f.apply(s, x) } else { s.add(s.mul(f.apply(s, s.add(s.mul(x, a), b)), c), d) }
}
