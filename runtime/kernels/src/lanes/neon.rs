//! 128-bit lanes: 4 of `f32`, 2 of `f64`; masks are integer vectors, heads are counts and go lane by lane.
#![allow(unused_unsafe, reason = "Advanced SIMD is in the baseline of most AArch64 targets")]
#![allow(clippy::undocumented_unsafe_blocks, reason = "one argument for all, in the macro `with_features`")]

use core::arch::aarch64::*;

use super::{Doubles, FloatBits, Halves, Lanes, Square, scale_in_two_steps};
use crate::isa::Neon;

/// Calls intrinsics under the token.
macro_rules! with_features {
    ($call:expr) => {
        // SAFETY: `self` is a `Neon`, which exists only where `Neon::detect` saw the feature; the pointers of loads
        // and stores are the duty of the caller of those `unsafe` methods.
        unsafe { $call }
    };
}

macro_rules! lanes {
    ($t:ty, $v:ty, $mask:ty, $n:literal,
     $dup:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $fms:ident,
     $lt:ident, $eq:ident, $select:ident, $any:expr, $sum:ident, $largest:ident) => {
        impl Lanes<$t> for Neon {
            type V = $v;
            type Mask = $mask;
            type Head = usize;
            const N: usize = $n;

            #[inline(always)]
            fn splat(self, x: $t) -> $v {
                with_features!($dup(x))
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> $v {
                with_features!($load(p))
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: $v) {
                with_features!($store(p, v))
            }
            #[inline(always)]
            fn head(self, n: usize) -> usize {
                n
            }
            #[inline(always)]
            unsafe fn load_head(self, p: *const $t, head: usize) -> $v {
                let mut lanes = [0.0; $n];
                for lane in 0..head.min($n) {
                    lanes[lane] = with_features!(p.add(lane).read_unaligned());
                }
                with_features!($load(lanes.as_ptr()))
            }
            #[inline(always)]
            unsafe fn store_head(self, p: *mut $t, head: usize, v: $v) {
                let mut lanes = [0.0; $n];
                with_features!($store(lanes.as_mut_ptr(), v));
                for lane in 0..head.min($n) {
                    with_features!(p.add(lane).write_unaligned(lanes[lane]));
                }
            }
            #[inline(always)]
            fn keep_head(self, head: usize, v: $v, other: $v) -> $v {
                let (mut lanes, mut out) = ([0.0; $n], [0.0; $n]);
                with_features!($store(lanes.as_mut_ptr(), v));
                with_features!($store(out.as_mut_ptr(), other));
                for lane in 0..head.min($n) {
                    out[lane] = lanes[lane];
                }
                with_features!($load(out.as_ptr()))
            }
            #[inline(always)]
            fn add(self, a: $v, b: $v) -> $v {
                with_features!($add(a, b))
            }
            #[inline(always)]
            fn sub(self, a: $v, b: $v) -> $v {
                with_features!($sub(a, b))
            }
            #[inline(always)]
            fn mul(self, a: $v, b: $v) -> $v {
                with_features!($mul(a, b))
            }
            #[inline(always)]
            fn div(self, a: $v, b: $v) -> $v {
                with_features!($div(a, b))
            }
            #[inline(always)]
            fn fma(self, a: $v, b: $v, c: $v) -> $v {
                with_features!($fma(c, a, b))
            }
            #[inline(always)]
            fn fnma(self, a: $v, b: $v, c: $v) -> $v {
                with_features!($fms(c, a, b))
            }
            // The instructions for maximum and minimum treat NaN otherwise than the trait asks.
            #[inline(always)]
            fn max(self, a: $v, b: $v) -> $v {
                with_features!($select($lt(b, a), a, b))
            }
            #[inline(always)]
            fn min(self, a: $v, b: $v) -> $v {
                with_features!($select($lt(a, b), a, b))
            }
            #[inline(always)]
            fn lt(self, a: $v, b: $v) -> $mask {
                with_features!($lt(a, b))
            }
            #[inline(always)]
            fn eq(self, a: $v, b: $v) -> $mask {
                with_features!($eq(a, b))
            }
            #[inline(always)]
            fn select(self, mask: $mask, a: $v, b: $v) -> $v {
                with_features!($select(mask, a, b))
            }
            #[inline(always)]
            fn any(self, mask: $mask) -> bool {
                with_features!($any(mask) != 0)
            }
            #[inline(always)]
            fn sum(self, v: $v) -> $t {
                with_features!($sum(v))
            }
            #[inline(always)]
            fn largest(self, v: $v) -> $t {
                with_features!($largest(v))
            }
        }
    };
}

lanes!(
    f32,
    float32x4_t,
    uint32x4_t,
    4,
    vdupq_n_f32,
    vld1q_f32,
    vst1q_f32,
    vaddq_f32,
    vsubq_f32,
    vmulq_f32,
    vdivq_f32,
    vfmaq_f32,
    vfmsq_f32,
    vcltq_f32,
    vceqq_f32,
    vbslq_f32,
    vmaxvq_u32,
    vaddvq_f32,
    vmaxnmvq_f32
);
lanes!(
    f64,
    float64x2_t,
    uint64x2_t,
    2,
    vdupq_n_f64,
    vld1q_f64,
    vst1q_f64,
    vaddq_f64,
    vsubq_f64,
    vmulq_f64,
    vdivq_f64,
    vfmaq_f64,
    vfmsq_f64,
    vcltq_f64,
    vceqq_f64,
    vbslq_f64,
    any_of_2,
    vaddvq_f64,
    vmaxnmvq_f64
);

/// Not 0 if a lane of the mask holds.
#[inline]
#[target_feature(enable = "neon")]
fn any_of_2(mask: uint64x2_t) -> u32 {
    vmaxvq_u32(vreinterpretq_u32_u64(mask))
}

impl Halves for Neon {}
impl Square<f32> for Neon {}
impl Square<f64> for Neon {}

impl Doubles for Neon {}

impl FloatBits for Neon {
    type I = int32x4_t;
    const FUSED: bool = true;

    #[inline(always)]
    fn round(self, v: float32x4_t) -> float32x4_t {
        with_features!(vrndnq_f32(v))
    }
    #[inline(always)]
    fn float_to_int(self, v: float32x4_t) -> int32x4_t {
        with_features!(vcvtq_s32_f32(v))
    }
    #[inline(always)]
    fn int_to_float(self, i: int32x4_t) -> float32x4_t {
        with_features!(vcvtq_f32_s32(i))
    }
    #[inline(always)]
    fn bits(self, v: float32x4_t) -> int32x4_t {
        with_features!(vreinterpretq_s32_f32(v))
    }
    #[inline(always)]
    fn bits_to_float(self, i: int32x4_t) -> float32x4_t {
        with_features!(vreinterpretq_f32_s32(i))
    }
    #[inline(always)]
    fn int_splat(self, i: i32) -> int32x4_t {
        with_features!(vdupq_n_s32(i))
    }
    #[inline(always)]
    fn int_add(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        with_features!(vaddq_s32(a, b))
    }
    #[inline(always)]
    fn int_sub(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        with_features!(vsubq_s32(a, b))
    }
    #[inline(always)]
    fn int_and(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        with_features!(vandq_s32(a, b))
    }
    #[inline(always)]
    fn int_or(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        with_features!(vorrq_s32(a, b))
    }
    #[inline(always)]
    fn int_eq(self, a: int32x4_t, b: int32x4_t) -> uint32x4_t {
        with_features!(vceqq_s32(a, b))
    }
    #[inline(always)]
    fn int_to_exponent(self, i: int32x4_t) -> int32x4_t {
        with_features!(vshlq_n_s32::<23>(i))
    }
    #[inline(always)]
    fn int_to_upper(self, i: int32x4_t) -> int32x4_t {
        with_features!(vshlq_n_s32::<16>(i))
    }
    #[inline(always)]
    fn exponent_to_int(self, i: int32x4_t) -> int32x4_t {
        with_features!(vshrq_n_s32::<23>(i))
    }
    #[inline(always)]
    fn half(self, i: int32x4_t) -> int32x4_t {
        with_features!(vshrq_n_s32::<1>(i))
    }
    #[inline(always)]
    fn scale(self, v: float32x4_t, n: float32x4_t) -> float32x4_t {
        scale_in_two_steps(self, v, n)
    }
}
