//! 512-bit lanes: 16 of `f32`, 8 of `f64`; heads and masks are mask registers.
#![allow(clippy::undocumented_unsafe_blocks, reason = "one argument for all, in the macro `with_features`")]

use core::arch::x86_64::*;

use super::{Doubles, FloatBits, Halves, LEAST_EXPONENT, Lanes, Square};
use crate::isa::Avx512;

/// Calls intrinsics under the token.
macro_rules! with_features {
    ($call:expr) => {
        // SAFETY: `self` is an `Avx512`, which exists only where `Avx512::detect` saw the features; the pointers
        // of loads and stores are the duty of the caller of those `unsafe` methods.
        unsafe { $call }
    };
}

macro_rules! lanes {
    ($t:ty, $v:ty, $mask:ty, $n:literal,
     $set1:ident, $loadu:ident, $storeu:ident, $mload:ident, $mstore:ident, $blend:ident,
     $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $fnma:ident, $max:ident, $min:ident,
     $cmp:ident, $sum:ident, $largest:ident, $sum_of_each:expr, $largest_of_each:expr,
     $transpose:expr, $rotated:expr) => {
        impl Lanes<$t> for Avx512 {
            type V = $v;
            type Mask = $mask;
            type Head = $mask;
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
            fn head(self, n: usize) -> $mask {
                ((1u32 << n) - 1) as $mask
            }
            const LINE: bool = true;
            #[inline(always)]
            fn middle(self, from: usize, to: usize) -> $mask {
                (((1u32 << to) - 1) & !((1u32 << from) - 1)) as $mask
            }
            #[inline(always)]
            fn rotated(self, v: $v, by: usize) -> $v {
                with_features!($rotated(v, by))
            }
            #[inline(always)]
            unsafe fn load_head(self, p: *const $t, head: $mask) -> $v {
                with_features!($mload(head, p))
            }
            #[inline(always)]
            unsafe fn store_head(self, p: *mut $t, head: $mask, v: $v) {
                with_features!($mstore(p, head, v))
            }
            #[inline(always)]
            fn keep_head(self, head: $mask, v: $v, other: $v) -> $v {
                with_features!($blend(head, other, v))
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
            fn lt(self, a: $v, b: $v) -> $mask {
                with_features!($cmp::<_CMP_LT_OQ>(a, b))
            }
            #[inline(always)]
            fn eq(self, a: $v, b: $v) -> $mask {
                with_features!($cmp::<_CMP_EQ_OQ>(a, b))
            }
            #[inline(always)]
            fn select(self, mask: $mask, a: $v, b: $v) -> $v {
                with_features!($blend(mask, b, a))
            }
            #[inline(always)]
            fn any(self, mask: $mask) -> bool {
                mask != 0
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

        impl Square<$t> for Avx512 {
            const SHUFFLES: bool = true;

            #[inline(always)]
            fn lanes_of(self, mask: $mask) -> u64 {
                u64::from(mask)
            }
            #[inline(always)]
            fn keep_lanes(self, bits: u64, v: $v, other: $v) -> $v {
                with_features!($blend(bits as $mask, other, v))
            }
            #[inline(always)]
            fn sum_of_each(self, rows: &[$v; 16]) -> $v {
                with_features!($sum_of_each(rows))
            }
            #[inline(always)]
            fn largest_of_each(self, rows: &[$v; 16]) -> $v {
                with_features!($largest_of_each(rows))
            }
            #[inline(always)]
            fn transpose(self, rows: &mut [$v; 16]) {
                with_features!($transpose(rows))
            }
        }
    };
}

lanes!(
    f32,
    __m512,
    __mmask16,
    16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    _mm512_mask_blend_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_div_ps,
    _mm512_fmadd_ps,
    _mm512_fnmadd_ps,
    _mm512_max_ps,
    _mm512_min_ps,
    _mm512_cmp_ps_mask,
    _mm512_reduce_add_ps,
    _mm512_reduce_max_ps,
    sums_of_16,
    maxima_of_16,
    transpose_16,
    rotated_16
);
lanes!(
    f64,
    __m512d,
    __mmask8,
    8,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    _mm512_mask_blend_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd,
    _mm512_div_pd,
    _mm512_fmadd_pd,
    _mm512_fnmadd_pd,
    _mm512_max_pd,
    _mm512_min_pd,
    _mm512_cmp_pd_mask,
    _mm512_reduce_add_pd,
    _mm512_reduce_max_pd,
    sums_of_8,
    maxima_of_8,
    transpose_8,
    rotated_8
);

#[inline]
#[target_feature(enable = "avx512f")]
fn rotated_16(v: __m512, by: usize) -> __m512 {
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    // Of an index the lowest bits count.
    _mm512_permutexvar_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32(by as i32)), v)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotated_8(v: __m512d, by: usize) -> __m512d {
    let lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    _mm512_permutexvar_pd(_mm512_add_epi64(lanes, _mm512_set1_epi64(by as i64)), v)
}

/// Reductions of many vectors at once: each level halves their number by combining two into one whose lanes are
/// partial results of both, so that 16 rows take 15 steps of two shuffles, not 16 times four of one.
macro_rules! reduce_16 {
    ($name:ident, $op:ident) => {
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn $name(rows: &[__m512; 16]) -> __m512 {
            let mut quads = [_mm512_setzero_ps(); 4];
            for (quad, rows) in quads.iter_mut().zip(rows.chunks_exact(4)) {
                let ab = $op(_mm512_unpacklo_ps(rows[0], rows[1]), _mm512_unpackhi_ps(rows[0], rows[1]));
                let cd = $op(_mm512_unpacklo_ps(rows[2], rows[3]), _mm512_unpackhi_ps(rows[2], rows[3]));
                let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
                *quad = $op(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
            }
            let [a, b, c, d] = quads;
            let ab = $op(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            let cd = $op(_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
            $op(_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xdd>(ab, cd))
        }
    };
}
reduce_16!(sums_of_16, _mm512_add_ps);
reduce_16!(maxima_of_16, _mm512_max_ps);

/// As `reduce_16`, of the first 8 rows.
macro_rules! reduce_8 {
    ($name:ident, $op:ident) => {
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn $name(rows: &[__m512d; 16]) -> __m512d {
            let mut pairs = [_mm512_setzero_pd(); 4];
            for (pair, rows) in pairs.iter_mut().zip(rows.chunks_exact(2)) {
                *pair = $op(_mm512_unpacklo_pd(rows[0], rows[1]), _mm512_unpackhi_pd(rows[0], rows[1]));
            }
            let [a, b, c, d] = pairs;
            let ab = $op(_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xdd>(a, b));
            let cd = $op(_mm512_shuffle_f64x2::<0x88>(c, d), _mm512_shuffle_f64x2::<0xdd>(c, d));
            $op(_mm512_shuffle_f64x2::<0x88>(ab, cd), _mm512_shuffle_f64x2::<0xdd>(ab, cd))
        }
    };
}
reduce_8!(sums_of_8, _mm512_add_pd);
reduce_8!(maxima_of_8, _mm512_max_pd);

/// Transposes 16 x 16: pairs of rows, pairs of pairs, then quarters of vectors.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_16(rows: &mut [__m512; 16]) {
    let mut quads = [_mm512_setzero_ps(); 16];
    for (quad, rows) in quads.chunks_exact_mut(4).zip(rows.chunks_exact(4)) {
        let ab_low = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1]));
        let cd_low = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
        let ab_high = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1]));
        let cd_high = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
        quad[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_low, cd_low));
        quad[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_low, cd_low));
        quad[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high));
        quad[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high));
    }
    // Quarter t of `quads[4 q + c]` now holds column `4 t + c` of rows `4 q .. 4 q + 4`.
    for c in 0..4 {
        let [a, b] = [quads[c], quads[4 + c]];
        let [x, y] = [quads[8 + c], quads[12 + c]];
        let (ab_even, xy_even) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(x, y));
        let (ab_odd, xy_odd) = (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(x, y));
        rows[c] = _mm512_shuffle_f32x4::<0x88>(ab_even, xy_even);
        rows[4 + c] = _mm512_shuffle_f32x4::<0x88>(ab_odd, xy_odd);
        rows[8 + c] = _mm512_shuffle_f32x4::<0xdd>(ab_even, xy_even);
        rows[12 + c] = _mm512_shuffle_f32x4::<0xdd>(ab_odd, xy_odd);
    }
}

/// Transposes the first 8 rows, 8 x 8.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_8(rows: &mut [__m512d; 16]) {
    let mut pairs = [_mm512_setzero_pd(); 8];
    for (pair, rows) in pairs.chunks_exact_mut(2).zip(rows.chunks_exact(2)) {
        pair[0] = _mm512_unpacklo_pd(rows[0], rows[1]);
        pair[1] = _mm512_unpackhi_pd(rows[0], rows[1]);
    }
    // Quarter t of `pairs[2 p + c]` now holds column `2 t + c` of rows `2 p` and `2 p + 1`.
    for c in 0..2 {
        let [a, b] = [pairs[c], pairs[2 + c]];
        let [x, y] = [pairs[4 + c], pairs[6 + c]];
        let (ab_even, xy_even) = (_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0x88>(x, y));
        let (ab_odd, xy_odd) = (_mm512_shuffle_f64x2::<0xdd>(a, b), _mm512_shuffle_f64x2::<0xdd>(x, y));
        rows[c] = _mm512_shuffle_f64x2::<0x88>(ab_even, xy_even);
        rows[2 + c] = _mm512_shuffle_f64x2::<0x88>(ab_odd, xy_odd);
        rows[4 + c] = _mm512_shuffle_f64x2::<0xdd>(ab_even, xy_even);
        rows[6 + c] = _mm512_shuffle_f64x2::<0xdd>(ab_odd, xy_odd);
    }
}

impl Doubles for Avx512 {
    #[inline(always)]
    fn nearest(self, v: __m512d) -> __m512d {
        with_features!(_mm512_roundscale_pd::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v))
    }
    #[inline(always)]
    fn times_power(self, v: __m512d, n: __m512d) -> __m512d {
        with_features!(_mm512_scalef_pd(v, n))
    }
}

impl FloatBits for Avx512 {
    type I = __m512i;
    const FUSED: bool = true;
    const FLUSHES_ALL: bool = true;

    #[inline(always)]
    fn reversed(self, v: __m512) -> __m512 {
        let order = with_features!(_mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
        with_features!(_mm512_permutexvar_ps(order, v))
    }

    #[inline(always)]
    fn round(self, v: __m512) -> __m512 {
        with_features!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v))
    }
    #[inline(always)]
    fn float_to_int(self, v: __m512) -> __m512i {
        with_features!(_mm512_cvtps_epi32(v))
    }
    #[inline(always)]
    fn int_to_float(self, i: __m512i) -> __m512 {
        with_features!(_mm512_cvtepi32_ps(i))
    }
    #[inline(always)]
    fn bits(self, v: __m512) -> __m512i {
        with_features!(_mm512_castps_si512(v))
    }
    #[inline(always)]
    fn bits_to_float(self, i: __m512i) -> __m512 {
        with_features!(_mm512_castsi512_ps(i))
    }
    #[inline(always)]
    fn int_splat(self, i: i32) -> __m512i {
        with_features!(_mm512_set1_epi32(i))
    }
    #[inline(always)]
    fn int_add(self, a: __m512i, b: __m512i) -> __m512i {
        with_features!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn int_sub(self, a: __m512i, b: __m512i) -> __m512i {
        with_features!(_mm512_sub_epi32(a, b))
    }
    #[inline(always)]
    fn int_and(self, a: __m512i, b: __m512i) -> __m512i {
        with_features!(_mm512_and_si512(a, b))
    }
    #[inline(always)]
    fn int_or(self, a: __m512i, b: __m512i) -> __m512i {
        with_features!(_mm512_or_si512(a, b))
    }
    #[inline(always)]
    fn int_eq(self, a: __m512i, b: __m512i) -> __mmask16 {
        with_features!(_mm512_cmpeq_epi32_mask(a, b))
    }
    #[inline(always)]
    fn int_to_exponent(self, i: __m512i) -> __m512i {
        with_features!(_mm512_slli_epi32::<23>(i))
    }
    #[inline(always)]
    fn int_to_upper(self, i: __m512i) -> __m512i {
        with_features!(_mm512_slli_epi32::<16>(i))
    }
    #[inline(always)]
    fn exponent_to_int(self, i: __m512i) -> __m512i {
        with_features!(_mm512_srai_epi32::<23>(i))
    }
    #[inline(always)]
    fn half(self, i: __m512i) -> __m512i {
        with_features!(_mm512_srai_epi32::<1>(i))
    }
    #[inline(always)]
    fn scale(self, v: __m512, n: __m512) -> __m512 {
        with_features!(_mm512_scalef_ps(v, n))
    }
    /// An estimate and what it leaves: half the time of a division where multiplications have the pipes to themselves.
    #[inline(always)]
    fn quotient(self, a: __m512, b: __m512) -> __m512 {
        with_features!({
            let near = _mm512_rcp14_ps(b);
            let estimate = _mm512_mul_ps(a, near);
            _mm512_fmadd_ps(_mm512_fnmadd_ps(estimate, b, a), near, estimate)
        })
    }
    #[inline(always)]
    fn scale_or_flush(self, v: __m512, n: __m512) -> __m512 {
        with_features!({
            let kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(n, _mm512_set1_ps(LEAST_EXPONENT));
            _mm512_maskz_scalef_ps(kept, v, n)
        })
    }
}

impl Halves for Avx512 {
    #[inline(always)]
    unsafe fn load_halves(self, p: *const u16) -> __m512 {
        with_features!(_mm512_cvtph_ps(_mm256_loadu_si256(p.cast())))
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m512 {
        with_features!({
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        })
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const i8) -> __m512 {
        with_features!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))))
    }
    #[inline(always)]
    unsafe fn store_halves(self, p: *mut u16, v: __m512) {
        with_features!(_mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)))
    }
}
