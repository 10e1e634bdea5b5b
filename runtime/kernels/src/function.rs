//! Elementary functions: of vectors of `f32`, and of one `f64`.
//!
//! The `f32` functions are written over [`FloatBits`]; each file states its error. The `f64` ones are those of
//! the `libm` crate, unchanged, because the reference evaluator uses the same and their bits must agree.

pub(crate) mod composed;
pub(crate) mod exp;
pub(crate) mod exp64;
pub(crate) mod expm1;
pub(crate) mod log;
pub(crate) mod pow;
pub(crate) mod scalar;
pub(crate) mod trig;

use crate::lanes::{FloatBits, Interleaved, Lanes};

/// A function of one variable, applied to all lanes. A trait and not a closure, which would not inherit the
/// caller's features.
pub(crate) trait Function: Copy {
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V;
}

/// `dst[i] = f(src[i])` for `i < n`.
///
/// # Safety
/// `src` and `dst` must be valid for `n` elements, and be equal or apart.
#[inline(always)]
pub(crate) unsafe fn map<S: FloatBits, F: Function>(s: S, f: F, dst: *mut f32, src: *const f32, n: usize) {
    let wide = Interleaved(s);
    let mut i = 0;
    while i + 4 * S::N <= n {
        // SAFETY: `i + 4 N <= n`.
        unsafe { wide.store(dst.add(i), f.apply(wide, wide.load(src.add(i)))) };
        i += 4 * S::N;
    }
    while i + S::N <= n {
        // SAFETY: `i + N <= n`.
        unsafe { s.store(dst.add(i), f.apply(s, s.load(src.add(i)))) };
        i += S::N;
    }
    if i < n {
        let head = s.head(n - i);
        // SAFETY: `n - i` elements are left.
        unsafe { s.store_head(dst.add(i), head, f.apply(s, s.load_head(src.add(i), head))) };
    }
}
