//! The product of sums that decide: every term is rounded before it is added, so that the bits are those of a loop that
//! multiplies and adds.
//!
//! A multiply-add that rounds once is as good where products are exact, and takes half the instructions; this is for
//! operands of which nothing is known. Blocks are small, since only decisions come here.

use super::{Operands, load_row};
use crate::lanes::{Element, Lanes};

/// Rows of a block.
const ROWS: usize = 4;

/// Vectors of a block: with as many rows, enough independent additions to hide the latency of each.
const VECTORS: usize = 2;

/// `C = A B` or `C = C + A B`, in ascending order of the summed axis.
///
/// # Safety
/// As for [`super::product`].
#[inline(always)]
pub(crate) unsafe fn product_rounded<T: Element, S: Lanes<T>>(s: S, p: &Operands<T>) {
    // SAFETY: the caller's C, and a factor for each of its rows.
    let p = unsafe { p.scaled(s) };
    let mut j = 0;
    while j < p.n {
        let n = (p.n - j).min(VECTORS * S::N);
        let mut i = 0;
        while i < p.m {
            let m = (p.m - i).min(ROWS);
            let part = Operands { m, n, ..p.at(i, j) };
            // SAFETY: rows and columns of the caller's operands.
            unsafe {
                match (m, n > S::N) {
                    (ROWS, true) => block::<T, S, ROWS, 2>(s, &part),
                    (ROWS, false) => block::<T, S, ROWS, 1>(s, &part),
                    _ => (0..m).for_each(|row| match n > S::N {
                        true => block::<T, S, 1, 2>(s, &Operands { m: 1, ..part.at(row, 0) }),
                        false => block::<T, S, 1, 1>(s, &Operands { m: 1, ..part.at(row, 0) }),
                    }),
                }
            }
            i += m;
        }
        j += n;
    }
}

/// A block of `R` rows by `W` vectors, the last as long as the columns are.
#[inline(always)]
unsafe fn block<T: Element, S: Lanes<T>, const R: usize, const W: usize>(s: S, p: &Operands<T>) {
    let head = s.head(p.n - (W - 1) * S::N);
    let mut acc = [[s.splat(T::ZERO); W]; R];
    // SAFETY: rows and columns of the block, the last vector as far as `head`.
    unsafe {
        if p.accumulate {
            for (i, acc) in acc.iter_mut().enumerate() {
                *acc = load_row::<T, S, W, true>(s, p.c.offset(i as isize * p.c_rs), head);
            }
        }
        for k in 0..p.k as isize {
            let b = load_row::<T, S, W, true>(s, p.b.offset(k * p.b_rs), head);
            for (i, acc) in acc.iter_mut().enumerate() {
                let a = s.splat(p.a.offset(i as isize * p.a_rs + k * p.a_cs).read_unaligned());
                for (acc, &b) in acc.iter_mut().zip(&b) {
                    *acc = s.add(*acc, s.mul(a, b));
                }
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (w, &v) in acc.iter().enumerate() {
                let c = p.c.offset(i as isize * p.c_rs).add(w * S::N);
                if w + 1 == W { s.store_head(c, head, v) } else { s.store(c, v) }
            }
        }
    }
}
