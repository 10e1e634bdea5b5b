//! `expm1`, `tanh` and `erf` of `f32`, which share a kernel.
//!
//! `expm1(n ln 2 + r) = 2^n expm1(r) + (2^n - 1)`, with the polynomial of `exp` for `expm1(r)`.
//! `tanh |x| = h / (h + 1)` with `h = expm1(2 |x|) / 2`. `erf |x| = -expm1(-|x| Q(|x|))`, where `x Q(x)` is
//! `-log(erfc x)`, which is smooth: one polynomial of degree 8 serves the whole range up to where `erf` rounds to 1.

use core::f32::consts::FRAC_2_SQRT_PI;

use super::Function;
use super::exp::{LN_2_HIGH, LN_2_LOW, TAIL, TO_INTEGER};
use crate::lanes::FloatBits;

/// Below this `expm1` rounds to -1.
const SMALLEST: f32 = -20.0;
/// Above this the result is infinite.
const LARGEST: f32 = 89.0;
/// `expm1` of this, over itself plus 2, rounds to 1.
const TANH_SATURATED: f32 = 20.0;
/// `erf` of this rounds to 1.
const ERF_SATURATED: f32 = 3.95;

/// Coefficients of `-log(erfc x) / x` on 0 ..= 3.95, minimax in the relative error of `erf` (4.0e-9 before
/// rounding), computed by our own Remez exchange.
const Q: [f32; 9] = [
    FRAC_2_SQRT_PI,
    0.636_619_4,
    0.102_777_83,
    -0.019_153_064,
    -1.603_954e-4,
    1.667_026_7e-3,
    -6.328_363e-4,
    1.176_411e-4,
    -9.256_245e-6,
];

/// `expm1`.
#[derive(Clone, Copy)]
pub(crate) struct Expm1;

impl Function for Expm1 {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        let expm1 = expm1_not_above(s, s.min(s.splat(LARGEST), x));
        s.select(s.eq(x, s.splat(0.0)), x, expm1)
    }
}

/// `expm1` for lanes that are at most [`LARGEST`], or NaN.
#[inline(always)]
fn expm1_not_above<S: FloatBits>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(SMALLEST), x);
    let n = s.round(s.mul(x, s.splat(core::f32::consts::LOG2_E)));
    let r = s.fnma(n, s.splat(LN_2_HIGH), x);
    let r = s.fnma(n, s.splat(LN_2_LOW), r);
    scaled_expm1(s, r, n)
}

/// `2^n expm1(r) + (2^n - 1)`.
#[inline(always)]
fn scaled_expm1<S: FloatBits>(s: S, r: S::V, n: S::V) -> S::V {
    // Half of the result, since 2^128 is not a number.
    let half = half_expm1(s, r, s.float_to_int(n));
    s.add(half, half)
}

/// `(2^n expm1(r) + (2^n - 1)) / 2`; of n the lower nine bits count.
#[inline(always)]
fn half_expm1<S: FloatBits>(s: S, r: S::V, n: S::I) -> S::V {
    let mut tail = s.splat(TAIL[4]);
    for degree in [3, 2, 1, 0] {
        tail = s.fma(tail, r, s.splat(TAIL[degree]));
    }
    let expm1_r = s.fma(s.mul(r, r), tail, r);
    let half_power = s.bits_to_float(s.int_to_exponent(s.int_add(n, s.int_splat(126))));
    s.fma(expm1_r, half_power, s.sub(half_power, s.splat(0.5)))
}

/// `tanh`.
#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Function for Tanh {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        let magnitude = s.abs(x);
        let twice = s.min(s.splat(TANH_SATURATED), s.add(magnitude, magnitude));
        // `tanh = h / (h + 1)` with half of `expm1`.
        let half = if const { S::FUSED } {
            // The larger n, the less an error of r shows: where the product is not rounded, one constant is enough. The
            // lower bits of the sum are n.
            let shifted = s.fma(twice, s.splat(core::f32::consts::LOG2_E), s.splat(TO_INTEGER));
            let n = s.sub(shifted, s.splat(TO_INTEGER));
            half_expm1(s, s.fnma(n, s.splat(core::f32::consts::LN_2), twice), s.bits(shifted))
        } else {
            let n = s.round(s.mul(twice, s.splat(core::f32::consts::LOG2_E)));
            let r = s.fnma(n, s.splat(LN_2_LOW), s.fnma(n, s.splat(LN_2_HIGH), twice));
            half_expm1(s, r, s.float_to_int(n))
        };
        s.with_sign(s.quotient(half, s.add(half, s.splat(1.0))), x)
    }
}

/// `erf`.
#[derive(Clone, Copy)]
pub(crate) struct Erf;

impl Function for Erf {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        let magnitude = s.min(s.splat(ERF_SATURATED), s.abs(x));
        let mut q = s.splat(Q[8]);
        for degree in [7, 6, 5, 4, 3, 2, 1, 0] {
            q = s.fma(q, magnitude, s.splat(Q[degree]));
        }
        let zero = s.splat(0.0);
        let negated = expm1_not_above(s, s.sub(zero, s.mul(magnitude, q)));
        s.with_sign(s.sub(zero, negated), x)
    }
}
