//! `exp` of `f32`.
//!
//! `x = n ln 2 + r` with `|r| <= ln 2 / 2`, and `e^r` by a polynomial of degree 6, minimax in relative error
//! (3.3e-9 before rounding), computed by our own Remez exchange.

use super::Function;
use crate::lanes::FloatBits;

/// Above this the result is infinite; clamping to it keeps the scaling in range.
const LARGEST: f32 = 89.0;
/// Below this the result rounds to 0.
const SMALLEST: f32 = -104.0;
/// `ln 2` in two parts, the first short enough that its multiples by any `n` are exact without a fused product.
pub(super) const LN_2_HIGH: f32 = 355.0 / 512.0;
pub(super) const LN_2_LOW: f32 = -2.121_944_4e-4;

/// A number so large that a sum with it is an integer: of less than 2^22 in magnitude, the nearest.
pub(super) const TO_INTEGER: f32 = 1.5 * (1 << 23) as f32;

/// Coefficients of `(e^r - 1 - r) / r^2`.
pub(super) const TAIL: [f32; 5] = [0.499_999_94, 0.166_665_15, 0.041_668_456, 0.008_369_419, 0.001_381_314_2];

/// `exp`. Infinite above 88.73, gradually to 0 below -87.34, 0 from -103.98 on; NaN stays NaN.
#[derive(Clone, Copy)]
pub(crate) struct Exp;

impl Function for Exp {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        exp_not_above(s, s.min(s.splat(LARGEST), x))
    }
}

/// `exp` for lanes that are at most [`LARGEST`], or NaN.
#[inline(always)]
fn exp_not_above<S: FloatBits>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(SMALLEST), x);
    let n = s.round(s.mul(x, s.splat(core::f32::consts::LOG2_E)));
    let r = s.fnma(n, s.splat(LN_2_HIGH), x);
    let r = s.fnma(n, s.splat(LN_2_LOW), r);
    let power = polynomial(s, r);
    if s.any(s.lt(n, s.splat(FAINT))) { scale_gradually(s, power, n) } else { s.scale(power, n) }
}

/// Above this no power is subnormal.
const FAINT: f32 = -125.0;

/// `v * 2^n` as [`FloatBits::scale`] has it, for `v` in 0.7 .. 1.5 and `n` from -150 on; but by no operation that has a
/// subnormal result, for which some processors stop for a hundred cycles. What is subnormal is a multiple of 2^-149 that
/// a sum rounds to an integer, and its bits are that integer.
#[inline(always)]
fn scale_gradually<S: FloatBits>(s: S, v: S::V, n: S::V) -> S::V {
    let below = s.select(s.lt(v, s.splat(1.0)), s.splat(FAINT - 1.0), s.splat(FAINT - 2.0));
    let faint = s.lt(n, s.add(below, s.splat(0.5)));
    let normal = s.scale(v, s.select(faint, s.splat(0.0), n));
    let rounder = s.splat((1 << 23) as f32);
    let units = s.add(s.scale(v, s.add(s.select(faint, n, s.splat(-149.0)), s.splat(149.0))), rounder);
    let bits = s.int_sub(s.bits(units), s.bits(rounder));
    s.select(faint, s.bits_to_float(bits), normal)
}

/// `exp` for lanes that are at most 0, or NaN, with a relative error of at most `1e-7 + 2e-9 |x|`, and 0 where the result is
/// below 2^-100: the weights of a softmax, of which only those near the largest matter.
#[inline(always)]
pub(crate) fn exp_not_positive<S: FloatBits>(s: S, x: S::V) -> S::V {
    let x = if const { S::FLUSHES_ALL } { x } else { s.max(s.splat(SMALLEST), x) };
    let (log2_e, ln_2) = (s.splat(core::f32::consts::LOG2_E), s.splat(core::f32::consts::LN_2));
    if const { S::FUSED } {
        // Products are not rounded, so that only the error of the constant is left.
        let n = s.sub(s.fma(x, log2_e, s.splat(TO_INTEGER)), s.splat(TO_INTEGER));
        return s.scale_or_flush(polynomial(s, s.fnma(n, ln_2, x)), n);
    }
    let n = s.round(s.mul(x, log2_e));
    let r = s.fnma(n, s.splat(LN_2_LOW), s.fnma(n, s.splat(LN_2_HIGH), x));
    s.scale_or_flush(polynomial(s, r), n)
}

/// `e^r`.
#[inline(always)]
fn polynomial<S: FloatBits>(s: S, r: S::V) -> S::V {
    let one = s.splat(1.0);
    let mut tail = s.splat(TAIL[4]);
    for degree in [3, 2, 1, 0] {
        tail = s.fma(tail, r, s.splat(TAIL[degree]));
    }
    s.fma(s.fma(tail, r, one), r, one)
}
