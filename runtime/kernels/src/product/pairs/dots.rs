//! What multiplies pairs on each instruction set: the widened halves everywhere, and AVX512-BF16.

use super::{Block, LINE, PairDots, Widened, halves_of, pair_block};
use crate::convert::narrow_bf16;
use crate::lanes::Lanes;

/// The vectors of a token.
type V<S> = <S as Lanes<f32>>::V;

/// [`Widened`] on the lanes of one instruction set.
macro_rules! widened {
    ($token:ty, $(#[$features:meta])?) => {
        impl PairDots<$token> for Widened {
            const FLUSHES: bool = false;

            #[inline(always)]
            unsafe fn block<const R: usize, const W: usize>(self, s: $token, p: &Block) {
                $(#[$features])?
                unsafe fn compiled<const R: usize, const W: usize>(s: $token, p: &Block) {
                    // SAFETY: the caller's duty.
                    unsafe { pair_block::<$token, Widened, R, W>(s, Widened, p) }
                }
                // SAFETY: the token is the proof of the features; the block is the caller's duty.
                unsafe { compiled::<R, W>(s, p) }
            }

            const PASSES: usize = 2;

            #[inline(always)]
            fn operand(self, s: $token, words: V<$token>, pass: usize) -> V<$token> {
                halves_of(s, words, pass)
            }

            #[inline(always)]
            unsafe fn dot(
                self,
                s: $token,
                p: &Block,
                [row, pair, pass]: [usize; 3],
                b: V<$token>,
                acc: V<$token>,
            ) -> V<$token> {
                // SAFETY: the caller's pair.
                let a = unsafe { p.wide.add(row * LINE + 2 * pair + pass).read() };
                Lanes::<f32>::fma(s, Lanes::<f32>::splat(s, a), b, acc)
            }

            #[inline(always)]
            unsafe fn narrow(self, dst: *mut u16, src: *const f32, n: usize) -> bool {
                // SAFETY: the caller's duty.
                unsafe { narrow_bf16(dst, src, n) };
                false
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
widened!(crate::isa::Avx512, #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")]);
#[cfg(target_arch = "x86_64")]
widened!(crate::isa::Avx2, #[target_feature(enable = "avx2,fma,f16c")]);
#[cfg(target_arch = "aarch64")]
widened!(crate::isa::Neon, #[target_feature(enable = "neon")]);
widened!(crate::isa::Portable,);

#[cfg(target_arch = "x86_64")]
mod native {
    //! AVX512-BF16.

    use core::arch::x86_64::*;

    use super::super::{Block, INFINITE, LINE, PairDots, pair_block};
    use crate::isa::{Avx512, Avx512Bf16};

    impl PairDots<Avx512> for Avx512Bf16 {
        const FLUSHES: bool = true;

        #[inline(always)]
        unsafe fn block<const R: usize, const W: usize>(self, s: Avx512, p: &Block) {
            #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
            unsafe fn compiled<const R: usize, const W: usize>(s: Avx512, d: Avx512Bf16, p: &Block) {
                // SAFETY: the caller's duty.
                unsafe { pair_block::<Avx512, Avx512Bf16, R, W>(s, d, p) }
            }
            // SAFETY: the token is the proof of the features; the block is the caller's duty.
            unsafe { compiled::<R, W>(s, self, p) }
        }

        const PASSES: usize = 1;

        #[inline(always)]
        fn operand(self, _: Avx512, words: __m512, _: usize) -> __m512 {
            words
        }

        #[inline(always)]
        unsafe fn dot(self, _: Avx512, p: &Block, [row, pair, _]: [usize; 3], b: __m512, acc: __m512) -> __m512 {
            // SAFETY: the token is the proof of the features; the pair is the caller's duty.
            unsafe {
                let a = p.halves.add(row * LINE + 2 * pair).cast::<i32>().read_unaligned();
                let (a, b) = (_mm512_set1_epi32(a), _mm512_castps_si512(b));
                _mm512_dpbf16_ps(
                    acc,
                    core::mem::transmute::<__m512i, __m512bh>(a),
                    core::mem::transmute::<__m512i, __m512bh>(b),
                )
            }
        }

        #[inline(always)]
        unsafe fn narrow(self, dst: *mut u16, src: *const f32, n: usize) -> bool {
            let (mut none, mut at) = (0, 0);
            // SAFETY: the token is the proof of the features; `n` elements of either are the caller's.
            unsafe {
                let exponent = _mm512_set1_epi16(INFINITE as i16);
                while at + 32 <= n {
                    let (low, high) = (_mm512_loadu_ps(src.add(at)), _mm512_loadu_ps(src.add(at + 16)));
                    let halves = core::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                    none |= _mm512_testn_epi16_mask(halves, exponent);
                    _mm512_storeu_si512(dst.add(at).cast(), halves);
                    at += 32;
                }
                while at < n {
                    let head = u16::MAX >> (16 - (n - at).min(16));
                    let values = _mm512_maskz_loadu_ps(head, src.add(at));
                    let halves = core::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values));
                    none |= u32::from(head & _mm256_testn_epi16_mask(halves, _mm512_castsi512_si256(exponent)));
                    _mm256_mask_storeu_epi16(dst.add(at).cast(), head, halves);
                    at += 16;
                }
                // What is taken for 0 has no exponent, as 0 has none.
                none != 0 && any_subnormal(src, n)
            }
        }
    }

    /// Whether an element is neither 0 nor normal.
    ///
    /// # Safety
    /// `src` must be valid for `n` elements.
    #[inline(always)]
    unsafe fn any_subnormal(src: *const f32, n: usize) -> bool {
        /// Of `vfpclassps`.
        const DENORMAL: i32 = 0x20;
        let (mut any, mut at) = (0, 0);
        while at < n {
            let head = u16::MAX >> (16 - (n - at).min(16));
            // SAFETY: the caller's elements; the features are those of the caller, whose token is the proof.
            unsafe { any |= _mm512_fpclass_ps_mask::<DENORMAL>(_mm512_maskz_loadu_ps(head, src.add(at))) };
            at += 16;
        }
        any != 0
    }
}
