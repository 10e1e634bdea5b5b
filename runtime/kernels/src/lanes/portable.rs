//! Lanes as arrays: 8 of `f32`, 4 of `f64`, which compilers turn into whatever vectors the target's baseline has.
//!
//! A fused multiply-add is a call into a library on a baseline x86-64, so `fma` here is a product and a sum, each
//! rounded.

use super::{Doubles, FloatBits, Halves, Lanes, Square};
use crate::isa::Portable;

/// 1.5 * 2^23: a sum with it has no bits behind the point, and its low bits are the integer.
const MAGIC: f32 = 12_582_912.0;

/// Lanes per vector of `T`: 256 bits, two registers of the usual baseline.
const WIDTH_BYTES: usize = 32;

macro_rules! zip {
    ($a:ident, $b:ident, $op:expr) => {{
        let mut out = $a;
        for lane in 0..out.len() {
            out[lane] = $op($a[lane], $b[lane]);
        }
        out
    }};
}

macro_rules! lanes {
    ($t:ty, $n:expr) => {
        impl Lanes<$t> for Portable {
            type V = [$t; $n];
            type Mask = [bool; $n];
            type Head = usize;
            const N: usize = $n;

            #[inline(always)]
            fn splat(self, x: $t) -> Self::V {
                [x; $n]
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> Self::V {
                // SAFETY: the caller's duty; arrays have their element's alignment and the read is unaligned.
                unsafe { p.cast::<[$t; $n]>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: Self::V) {
                // SAFETY: the caller's duty, as for `load`.
                unsafe { p.cast::<[$t; $n]>().write_unaligned(v) }
            }
            #[inline(always)]
            fn head(self, n: usize) -> usize {
                n
            }
            #[inline(always)]
            unsafe fn load_head(self, p: *const $t, head: usize) -> Self::V {
                let mut out = [0.0; $n];
                for lane in 0..head.min($n) {
                    // SAFETY: `lane < head`, which the caller vouches for.
                    out[lane] = unsafe { p.add(lane).read_unaligned() };
                }
                out
            }
            #[inline(always)]
            unsafe fn store_head(self, p: *mut $t, head: usize, v: Self::V) {
                for lane in 0..head.min($n) {
                    // SAFETY: `lane < head`, which the caller vouches for.
                    unsafe { p.add(lane).write_unaligned(v[lane]) };
                }
            }
            #[inline(always)]
            fn keep_head(self, head: usize, v: Self::V, other: Self::V) -> Self::V {
                let mut out = other;
                for lane in 0..head.min($n) {
                    out[lane] = v[lane];
                }
                out
            }
            #[inline(always)]
            fn add(self, a: Self::V, b: Self::V) -> Self::V {
                zip!(a, b, |x: $t, y: $t| x + y)
            }
            #[inline(always)]
            fn sub(self, a: Self::V, b: Self::V) -> Self::V {
                zip!(a, b, |x: $t, y: $t| x - y)
            }
            #[inline(always)]
            fn mul(self, a: Self::V, b: Self::V) -> Self::V {
                zip!(a, b, |x: $t, y: $t| x * y)
            }
            #[inline(always)]
            fn div(self, a: Self::V, b: Self::V) -> Self::V {
                zip!(a, b, |x: $t, y: $t| x / y)
            }
            #[inline(always)]
            fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                Lanes::<$t>::add(self, Lanes::<$t>::mul(self, a, b), c)
            }
            #[inline(always)]
            fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                Lanes::<$t>::sub(self, c, Lanes::<$t>::mul(self, a, b))
            }
            #[inline(always)]
            fn max(self, a: Self::V, b: Self::V) -> Self::V {
                zip!(a, b, |x: $t, y: $t| if x > y { x } else { y })
            }
            #[inline(always)]
            fn min(self, a: Self::V, b: Self::V) -> Self::V {
                zip!(a, b, |x: $t, y: $t| if x < y { x } else { y })
            }
            #[inline(always)]
            fn lt(self, a: Self::V, b: Self::V) -> Self::Mask {
                core::array::from_fn(|lane| a[lane] < b[lane])
            }
            #[inline(always)]
            fn eq(self, a: Self::V, b: Self::V) -> Self::Mask {
                core::array::from_fn(|lane| a[lane] == b[lane])
            }
            #[inline(always)]
            fn select(self, mask: Self::Mask, a: Self::V, b: Self::V) -> Self::V {
                core::array::from_fn(|lane| if mask[lane] { a[lane] } else { b[lane] })
            }
            #[inline(always)]
            fn any(self, mask: Self::Mask) -> bool {
                mask.contains(&true)
            }
            #[inline(always)]
            fn sum(self, v: Self::V) -> $t {
                let mut sum = v[0];
                for x in &v[1..] {
                    sum += x;
                }
                sum
            }
            #[inline(always)]
            fn largest(self, v: Self::V) -> $t {
                let mut largest = <$t>::NEG_INFINITY;
                for x in v {
                    largest = if x > largest { x } else { largest };
                }
                largest
            }
        }
    };
}

lanes!(f32, WIDTH_BYTES / size_of::<f32>());
lanes!(f64, WIDTH_BYTES / size_of::<f64>());

impl Halves for Portable {}
impl Square<f32> for Portable {}
impl Square<f64> for Portable {}

impl Doubles for Portable {}

impl FloatBits for Portable {
    type I = [i32; WIDTH_BYTES / size_of::<f32>()];
    const FUSED: bool = false;

    #[inline(always)]
    fn round(self, v: Self::V) -> Self::V {
        v.map(|x| (x + MAGIC) - MAGIC)
    }
    #[inline(always)]
    fn float_to_int(self, v: Self::V) -> Self::I {
        v.map(|x| ((x + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32))
    }
    #[inline(always)]
    fn int_to_float(self, i: Self::I) -> Self::V {
        i.map(|x| x as f32)
    }
    #[inline(always)]
    fn bits(self, v: Self::V) -> Self::I {
        v.map(|x| x.to_bits() as i32)
    }
    #[inline(always)]
    fn bits_to_float(self, i: Self::I) -> Self::V {
        i.map(|x| f32::from_bits(x as u32))
    }
    #[inline(always)]
    fn int_splat(self, i: i32) -> Self::I {
        [i; WIDTH_BYTES / size_of::<f32>()]
    }
    #[inline(always)]
    fn int_add(self, a: Self::I, b: Self::I) -> Self::I {
        zip!(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    fn int_sub(self, a: Self::I, b: Self::I) -> Self::I {
        zip!(a, b, i32::wrapping_sub)
    }
    #[inline(always)]
    fn int_and(self, a: Self::I, b: Self::I) -> Self::I {
        zip!(a, b, |x, y| x & y)
    }
    #[inline(always)]
    fn int_or(self, a: Self::I, b: Self::I) -> Self::I {
        zip!(a, b, |x, y| x | y)
    }
    #[inline(always)]
    fn int_eq(self, a: Self::I, b: Self::I) -> Self::Mask {
        core::array::from_fn(|lane| a[lane] == b[lane])
    }
    #[inline(always)]
    fn int_to_exponent(self, i: Self::I) -> Self::I {
        i.map(|x| x << 23)
    }
    #[inline(always)]
    fn int_to_upper(self, i: Self::I) -> Self::I {
        i.map(|x| x << 16)
    }
    #[inline(always)]
    fn exponent_to_int(self, i: Self::I) -> Self::I {
        i.map(|x| x >> 23)
    }
    #[inline(always)]
    fn half(self, i: Self::I) -> Self::I {
        i.map(|x| x >> 1)
    }
    #[inline(always)]
    fn scale(self, v: Self::V, n: Self::V) -> Self::V {
        super::scale_in_two_steps(self, v, n)
    }
}
