//! Row-wise passes over a matrix: the finiteness check and the scaling by one number per row.

use crate::lanes::{Element, Lanes};

/// Whether all elements are finite. `x * 0` is 0 for a finite x and NaN for any other, and a sum keeps a NaN.
///
/// # Safety
/// `p` must be valid for the described elements.
#[inline(always)]
pub(crate) unsafe fn all_finite<T: Element, S: Lanes<T>>(
    s: S,
    rows: usize,
    cols: usize,
    p: *const T,
    rs: isize,
) -> bool {
    let zero = s.splat(T::ZERO);
    for r in 0..rows {
        let row = p.wrapping_offset(r as isize * rs);
        let mut witness = [zero; 2];
        let mut c = 0;
        // SAFETY: columns `c < cols` of the caller's row.
        unsafe {
            while c + 2 * S::N <= cols {
                witness[0] = s.fma(s.load(row.add(c)), zero, witness[0]);
                witness[1] = s.fma(s.load(row.add(c + S::N)), zero, witness[1]);
                c += 2 * S::N;
            }
            while c < cols {
                let head = s.head((cols - c).min(S::N));
                witness[0] = s.fma(s.load_head(row.add(c), head), zero, witness[0]);
                c += S::N;
            }
        }
        if s.sum(s.add(witness[0], witness[1])) != T::ZERO {
            return false;
        }
    }
    true
}

/// `acc[r, :] *= alpha[r]`, but for rows whose `alpha` is 1.
///
/// # Safety
/// `acc` must be valid for the described elements, `alpha` for `rows` elements.
#[inline(always)]
pub(crate) unsafe fn scale_rows<T: Element, S: Lanes<T>>(
    s: S,
    rows: usize,
    cols: usize,
    acc: *mut T,
    rs: isize,
    alpha: *const T,
) {
    for r in 0..rows {
        // SAFETY: row `r < rows` of the caller's.
        let alpha = unsafe { alpha.add(r).read_unaligned() };
        if alpha == T::ONE {
            continue;
        }
        let row = acc.wrapping_offset(r as isize * rs);
        let factor = s.splat(alpha);
        let mut c = 0;
        // SAFETY: columns `c < cols` of the caller's row.
        unsafe {
            while c + S::N <= cols {
                s.store(row.add(c), s.mul(s.load(row.add(c)), factor));
                c += S::N;
            }
            if c < cols {
                let head = s.head(cols - c);
                s.store_head(row.add(c), head, s.mul(s.load_head(row.add(c), head), factor));
            }
        }
    }
}
