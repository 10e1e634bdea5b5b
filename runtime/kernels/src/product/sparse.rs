//! The product for operands that may hold NaN or infinities behind zeros: an exactly zero element of A
//! contributes nothing.
//!
//! Weights of masked keys are exactly 0, and what a key outside the mask holds must not reach the result. Callers
//! check their operands with `all_finite` and come here when it fails, so this is written to be short; it keeps
//! the order of additions of the fast product.

use super::Operands;
use crate::lanes::{Element, Lanes};

/// The product, skipping the terms whose element of A is 0.
///
/// # Safety
/// As for [`super::product`].
#[inline(always)]
pub(crate) unsafe fn product_sparse<T: Element, S: Lanes<T>>(s: S, p: &Operands<T>) {
    for i in 0..p.m {
        let mut j = 0;
        while j < p.n {
            let head = s.head((p.n - j).min(S::N));
            // SAFETY: row `i` of A and C, and the columns of `head` from `j` on, of the caller's operands.
            unsafe { row_vector(s, &p.at(i, j), head) };
            j += S::N;
        }
    }
}

/// One row of C, the columns of `head`.
#[inline(always)]
unsafe fn row_vector<T: Element, S: Lanes<T>>(s: S, p: &Operands<T>, head: S::Head) {
    // SAFETY: the caller's row of A, its columns of B and C.
    unsafe {
        let mut acc = if p.accumulate { s.load_head(p.c, head) } else { s.splat(T::ZERO) };
        for k in 0..p.k as isize {
            let a_ik = p.a.offset(k * p.a_cs).read_unaligned();
            if a_ik != T::ZERO {
                acc = s.fma(s.splat(a_ik), s.load_head(p.b.offset(k * p.b_rs), head), acc);
            }
        }
        s.store_head(p.c, head, acc);
    }
}
