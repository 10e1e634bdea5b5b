//! 256-bit lanes: 8 of `f32`, 4 of `f64`; heads and masks are vectors of all-ones or all-zeros lanes.
#![allow(clippy::undocumented_unsafe_blocks, reason = "one argument for all, in the macro `with_features`")]

use core::arch::x86_64::*;

use super::{Doubles, FloatBits, Halves, Lanes, Square, scale_in_two_steps};
use crate::isa::Avx2;

/// Calls intrinsics under the token.
macro_rules! with_features {
    ($call:expr) => {
        // SAFETY: `self` is an `Avx2`, which exists only where `Avx2::detect` saw the features; the pointers of
        // loads and stores are the duty of the caller of those `unsafe` methods.
        unsafe { $call }
    };
}

macro_rules! lanes {
    ($t:ty, $v:ty, $n:literal, $head:expr,
     $set1:ident, $loadu:ident, $storeu:ident, $mload:ident, $mstore:ident, $cast:ident, $blend:ident,
     $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $fnma:ident, $max:ident, $min:ident,
     $cmp:ident, $movemask:ident, $sum:expr, $largest:expr) => {
        impl Lanes<$t> for Avx2 {
            type V = $v;
            type Mask = $v;
            type Head = __m256i;
            const N: usize = $n;

            #[inline(always)]
            fn splat(self, x: $t) -> $v {
                with_features!($set1(x))
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> $v {
                with_features!($loadu(p))
            }
            #[inline(always)]
            fn prefetch(self, p: *const $t) {
                with_features!(_mm_prefetch::<_MM_HINT_T1>(p.cast()))
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: $v) {
                with_features!($storeu(p, v))
            }
            #[inline(always)]
            fn head(self, n: usize) -> __m256i {
                with_features!($head(n))
            }
            #[inline(always)]
            unsafe fn load_head(self, p: *const $t, head: __m256i) -> $v {
                with_features!($mload(p, head))
            }
            #[inline(always)]
            unsafe fn store_head(self, p: *mut $t, head: __m256i, v: $v) {
                with_features!($mstore(p, head, v))
            }
            #[inline(always)]
            fn keep_head(self, head: __m256i, v: $v, other: $v) -> $v {
                with_features!($blend(other, v, $cast(head)))
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
                with_features!($fma(a, b, c))
            }
            #[inline(always)]
            fn fnma(self, a: $v, b: $v, c: $v) -> $v {
                with_features!($fnma(a, b, c))
            }
            #[inline(always)]
            fn max(self, a: $v, b: $v) -> $v {
                with_features!($max(a, b))
            }
            #[inline(always)]
            fn min(self, a: $v, b: $v) -> $v {
                with_features!($min(a, b))
            }
            #[inline(always)]
            fn lt(self, a: $v, b: $v) -> $v {
                with_features!($cmp::<_CMP_LT_OQ>(a, b))
            }
            #[inline(always)]
            fn eq(self, a: $v, b: $v) -> $v {
                with_features!($cmp::<_CMP_EQ_OQ>(a, b))
            }
            #[inline(always)]
            fn select(self, mask: $v, a: $v, b: $v) -> $v {
                with_features!($blend(b, a, mask))
            }
            #[inline(always)]
            fn any(self, mask: $v) -> bool {
                with_features!($movemask(mask) != 0)
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
    __m256,
    8,
    head_of_8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_maskload_ps,
    _mm256_maskstore_ps,
    _mm256_castsi256_ps,
    _mm256_blendv_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_div_ps,
    _mm256_fmadd_ps,
    _mm256_fnmadd_ps,
    _mm256_max_ps,
    _mm256_min_ps,
    _mm256_cmp_ps,
    _mm256_movemask_ps,
    sum_of_8,
    largest_of_8
);
lanes!(
    f64,
    __m256d,
    4,
    head_of_4,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_maskload_pd,
    _mm256_maskstore_pd,
    _mm256_castsi256_pd,
    _mm256_blendv_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd,
    _mm256_div_pd,
    _mm256_fmadd_pd,
    _mm256_fnmadd_pd,
    _mm256_max_pd,
    _mm256_min_pd,
    _mm256_cmp_pd,
    _mm256_movemask_pd,
    sum_of_4,
    largest_of_4
);

/// All ones in the first `n` of 8 lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn head_of_8(n: usize) -> __m256i {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lane)
}

/// All ones in the first `n` of 4 lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn head_of_4(n: usize) -> __m256i {
    _mm256_cmpgt_epi64(_mm256_set1_epi64x(n as i64), _mm256_setr_epi64x(0, 1, 2, 3))
}

macro_rules! reduce_8 {
    ($name:ident, $op:ident, $op_one:ident) => {
        #[inline]
        #[target_feature(enable = "avx2")]
        fn $name(v: __m256) -> f32 {
            let four = $op(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = $op(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32($op_one(two, _mm_movehdup_ps(two)))
        }
    };
}
reduce_8!(sum_of_8, _mm_add_ps, _mm_add_ss);
reduce_8!(largest_of_8, _mm_max_ps, _mm_max_ss);

macro_rules! reduce_4 {
    ($name:ident, $op:ident, $op_one:ident) => {
        #[inline]
        #[target_feature(enable = "avx2")]
        fn $name(v: __m256d) -> f64 {
            let two = $op(_mm256_castpd256_pd128(v), _mm256_extractf128_pd::<1>(v));
            _mm_cvtsd_f64($op_one(two, _mm_unpackhi_pd(two, two)))
        }
    };
}
reduce_4!(sum_of_4, _mm_add_pd, _mm_add_sd);
reduce_4!(largest_of_4, _mm_max_pd, _mm_max_sd);

impl Square<f32> for Avx2 {
    const SHUFFLES: bool = true;

    #[inline(always)]
    fn sum_of_each(self, rows: &[__m256; 16]) -> __m256 {
        with_features!(sums_of_8(rows))
    }
    #[inline(always)]
    fn largest_of_each(self, rows: &[__m256; 16]) -> __m256 {
        with_features!(maxima_of_8(rows))
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [__m256; 16]) {
        with_features!(transpose_8(rows))
    }
}

impl Square<f64> for Avx2 {}

impl Doubles for Avx2 {}

/// Reductions of 8 vectors at once, as on AVX-512: each level combines two into one.
macro_rules! reduce_each_of_8 {
    ($name:ident, $op:ident) => {
        #[inline]
        #[target_feature(enable = "avx2")]
        fn $name(rows: &[__m256; 16]) -> __m256 {
            let mut quads = [_mm256_setzero_ps(); 2];
            for (quad, rows) in quads.iter_mut().zip(rows.chunks_exact(4)) {
                let ab = $op(_mm256_unpacklo_ps(rows[0], rows[1]), _mm256_unpackhi_ps(rows[0], rows[1]));
                let cd = $op(_mm256_unpacklo_ps(rows[2], rows[3]), _mm256_unpackhi_ps(rows[2], rows[3]));
                let (ab, cd) = (_mm256_castps_pd(ab), _mm256_castps_pd(cd));
                *quad = $op(_mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)), _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)));
            }
            let [a, b] = quads;
            $op(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
        }
    };
}
reduce_each_of_8!(sums_of_8, _mm256_add_ps);
reduce_each_of_8!(maxima_of_8, _mm256_max_ps);

/// Transposes the first 8 rows, 8 x 8.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_8(rows: &mut [__m256; 16]) {
    let mut quads = [_mm256_setzero_ps(); 8];
    for (quad, rows) in quads.chunks_exact_mut(4).zip(rows.chunks_exact(4)) {
        let ab_low = _mm256_castps_pd(_mm256_unpacklo_ps(rows[0], rows[1]));
        let cd_low = _mm256_castps_pd(_mm256_unpacklo_ps(rows[2], rows[3]));
        let ab_high = _mm256_castps_pd(_mm256_unpackhi_ps(rows[0], rows[1]));
        let cd_high = _mm256_castps_pd(_mm256_unpackhi_ps(rows[2], rows[3]));
        quad[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_low, cd_low));
        quad[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_low, cd_low));
        quad[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_high, cd_high));
        quad[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_high, cd_high));
    }
    // Half t of `quads[4 q + c]` now holds column `4 t + c` of rows `4 q .. 4 q + 4`.
    for c in 0..4 {
        rows[c] = _mm256_permute2f128_ps::<0x20>(quads[c], quads[4 + c]);
        rows[4 + c] = _mm256_permute2f128_ps::<0x31>(quads[c], quads[4 + c]);
    }
}

impl FloatBits for Avx2 {
    type I = __m256i;
    const FUSED: bool = true;

    #[inline(always)]
    fn reversed(self, v: __m256) -> __m256 {
        let order = with_features!(_mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
        with_features!(_mm256_permutevar8x32_ps(v, order))
    }

    #[inline(always)]
    fn round(self, v: __m256) -> __m256 {
        with_features!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v))
    }
    #[inline(always)]
    fn float_to_int(self, v: __m256) -> __m256i {
        with_features!(_mm256_cvtps_epi32(v))
    }
    #[inline(always)]
    fn int_to_float(self, i: __m256i) -> __m256 {
        with_features!(_mm256_cvtepi32_ps(i))
    }
    #[inline(always)]
    fn bits(self, v: __m256) -> __m256i {
        with_features!(_mm256_castps_si256(v))
    }
    #[inline(always)]
    fn bits_to_float(self, i: __m256i) -> __m256 {
        with_features!(_mm256_castsi256_ps(i))
    }
    #[inline(always)]
    fn int_splat(self, i: i32) -> __m256i {
        with_features!(_mm256_set1_epi32(i))
    }
    #[inline(always)]
    fn int_add(self, a: __m256i, b: __m256i) -> __m256i {
        with_features!(_mm256_add_epi32(a, b))
    }
    #[inline(always)]
    fn int_sub(self, a: __m256i, b: __m256i) -> __m256i {
        with_features!(_mm256_sub_epi32(a, b))
    }
    #[inline(always)]
    fn int_and(self, a: __m256i, b: __m256i) -> __m256i {
        with_features!(_mm256_and_si256(a, b))
    }
    #[inline(always)]
    fn int_or(self, a: __m256i, b: __m256i) -> __m256i {
        with_features!(_mm256_or_si256(a, b))
    }
    #[inline(always)]
    fn int_eq(self, a: __m256i, b: __m256i) -> __m256 {
        with_features!(_mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b)))
    }
    #[inline(always)]
    fn int_to_exponent(self, i: __m256i) -> __m256i {
        with_features!(_mm256_slli_epi32::<23>(i))
    }
    #[inline(always)]
    fn int_to_upper(self, i: __m256i) -> __m256i {
        with_features!(_mm256_slli_epi32::<16>(i))
    }
    #[inline(always)]
    fn exponent_to_int(self, i: __m256i) -> __m256i {
        with_features!(_mm256_srai_epi32::<23>(i))
    }
    #[inline(always)]
    fn half(self, i: __m256i) -> __m256i {
        with_features!(_mm256_srai_epi32::<1>(i))
    }
    #[inline(always)]
    fn scale(self, v: __m256, n: __m256) -> __m256 {
        scale_in_two_steps(self, v, n)
    }
}

impl Halves for Avx2 {
    #[inline(always)]
    unsafe fn load_halves(self, p: *const u16) -> __m256 {
        with_features!(_mm256_cvtph_ps(_mm_loadu_si128(p.cast())))
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m256 {
        with_features!({
            let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
        })
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const i8) -> __m256 {
        with_features!(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))))
    }
    #[inline(always)]
    unsafe fn store_halves(self, p: *mut u16, v: __m256) {
        with_features!(_mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)))
    }
}
