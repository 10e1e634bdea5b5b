//! Several vectors as one, each operation applied to all of them in turn.
//!
//! A chain of dependent operations, such as a polynomial, leaves most of a core idle, and its window of instructions
//! does not reach far enough to overlap the chains of successive vectors by itself (measured on Zen 5: `exp` at half
//! its limit). Interleaving them in program order does.

use super::{FloatBits, Lanes};

/// Vectors per [`Interleaved`].
const WAYS: usize = 4;

/// A token whose vectors are [`WAYS`] vectors of `S`.
#[derive(Clone, Copy)]
pub(crate) struct Interleaved<S>(pub S);

/// Applies a method of the inner token to each vector of the arguments.
macro_rules! each {
    ($self:ident.$method:ident($a:ident $(, $b:ident)*)) => {{
        // The initial value is overwritten; there is no array to begin with that costs less.
        let mut out = [$self.0.$method($a[0] $(, $b[0])*); WAYS];
        for way in 1..WAYS {
            out[way] = $self.0.$method($a[way] $(, $b[way])*);
        }
        out
    }};
}

impl<S: Lanes<f32>> Lanes<f32> for Interleaved<S> {
    type V = [S::V; WAYS];
    type Mask = [S::Mask; WAYS];
    type Head = [S::Head; WAYS];
    const N: usize = WAYS * S::N;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [self.0.splat(x); WAYS]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::V {
        let mut out = [self.0.splat(0.0); WAYS];
        for (way, out) in out.iter_mut().enumerate() {
            // SAFETY: within the caller's `N` elements.
            *out = unsafe { self.0.load(p.add(way * S::N)) };
        }
        out
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        for way in 0..WAYS {
            self.0.prefetch(p.wrapping_add(way * S::N));
        }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::V) {
        for (way, &v) in v.iter().enumerate() {
            // SAFETY: within the caller's `N` elements.
            unsafe { self.0.store(p.add(way * S::N), v) };
        }
    }
    #[inline(always)]
    fn head(self, n: usize) -> Self::Head {
        let mut out = [self.0.head(n.min(S::N)); WAYS];
        for (way, out) in out.iter_mut().enumerate() {
            *out = self.0.head(n.saturating_sub(way * S::N).min(S::N));
        }
        out
    }
    #[inline(always)]
    unsafe fn load_head(self, p: *const f32, head: Self::Head) -> Self::V {
        let mut out = [self.0.splat(0.0); WAYS];
        for (way, out) in out.iter_mut().enumerate() {
            // SAFETY: the elements of this vector's part of the caller's head.
            *out = unsafe { self.0.load_head(p.wrapping_add(way * S::N), head[way]) };
        }
        out
    }
    #[inline(always)]
    unsafe fn store_head(self, p: *mut f32, head: Self::Head, v: Self::V) {
        for (way, &v) in v.iter().enumerate() {
            // SAFETY: the elements of this vector's part of the caller's head.
            unsafe { self.0.store_head(p.wrapping_add(way * S::N), head[way], v) };
        }
    }
    #[inline(always)]
    fn keep_head(self, head: Self::Head, v: Self::V, other: Self::V) -> Self::V {
        each!(self.keep_head(head, v, other))
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        each!(self.add(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        each!(self.sub(a, b))
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        each!(self.mul(a, b))
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        each!(self.div(a, b))
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        each!(self.fma(a, b, c))
    }
    #[inline(always)]
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        each!(self.fnma(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        each!(self.max(a, b))
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        each!(self.min(a, b))
    }
    #[inline(always)]
    fn lt(self, a: Self::V, b: Self::V) -> Self::Mask {
        each!(self.lt(a, b))
    }
    #[inline(always)]
    fn eq(self, a: Self::V, b: Self::V) -> Self::Mask {
        each!(self.eq(a, b))
    }
    #[inline(always)]
    fn select(self, mask: Self::Mask, a: Self::V, b: Self::V) -> Self::V {
        each!(self.select(mask, a, b))
    }
    #[inline(always)]
    fn any(self, mask: Self::Mask) -> bool {
        let mut any = false;
        for mask in mask {
            any |= self.0.any(mask);
        }
        any
    }
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let [a, b, c, d] = v;
        self.0.sum(self.0.add(self.0.add(a, b), self.0.add(c, d)))
    }
    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        let [a, b, c, d] = v;
        self.0.largest(self.0.max(self.0.max(a, b), self.0.max(c, d)))
    }
}

impl<S: FloatBits> FloatBits for Interleaved<S> {
    type I = [S::I; WAYS];
    const FUSED: bool = S::FUSED;
    const FLUSHES_ALL: bool = S::FLUSHES_ALL;

    #[inline(always)]
    fn round(self, v: Self::V) -> Self::V {
        each!(self.round(v))
    }
    #[inline(always)]
    fn float_to_int(self, v: Self::V) -> Self::I {
        each!(self.float_to_int(v))
    }
    #[inline(always)]
    fn int_to_float(self, i: Self::I) -> Self::V {
        each!(self.int_to_float(i))
    }
    #[inline(always)]
    fn bits(self, v: Self::V) -> Self::I {
        each!(self.bits(v))
    }
    #[inline(always)]
    fn bits_to_float(self, i: Self::I) -> Self::V {
        each!(self.bits_to_float(i))
    }
    #[inline(always)]
    fn int_splat(self, i: i32) -> Self::I {
        [self.0.int_splat(i); WAYS]
    }
    #[inline(always)]
    fn int_add(self, a: Self::I, b: Self::I) -> Self::I {
        each!(self.int_add(a, b))
    }
    #[inline(always)]
    fn int_sub(self, a: Self::I, b: Self::I) -> Self::I {
        each!(self.int_sub(a, b))
    }
    #[inline(always)]
    fn int_and(self, a: Self::I, b: Self::I) -> Self::I {
        each!(self.int_and(a, b))
    }
    #[inline(always)]
    fn int_or(self, a: Self::I, b: Self::I) -> Self::I {
        each!(self.int_or(a, b))
    }
    #[inline(always)]
    fn int_eq(self, a: Self::I, b: Self::I) -> Self::Mask {
        each!(self.int_eq(a, b))
    }
    #[inline(always)]
    fn int_to_exponent(self, i: Self::I) -> Self::I {
        each!(self.int_to_exponent(i))
    }
    #[inline(always)]
    fn int_to_upper(self, i: Self::I) -> Self::I {
        each!(self.int_to_upper(i))
    }
    #[inline(always)]
    fn exponent_to_int(self, i: Self::I) -> Self::I {
        each!(self.exponent_to_int(i))
    }
    #[inline(always)]
    fn half(self, i: Self::I) -> Self::I {
        each!(self.half(i))
    }
    #[inline(always)]
    fn scale(self, v: Self::V, n: Self::V) -> Self::V {
        each!(self.scale(v, n))
    }
    #[inline(always)]
    fn quotient(self, a: Self::V, b: Self::V) -> Self::V {
        each!(self.quotient(a, b))
    }
    #[inline(always)]
    fn scale_or_flush(self, v: Self::V, n: Self::V) -> Self::V {
        each!(self.scale_or_flush(v, n))
    }
}
