//! `exp` of `f64`, for the weights of a softmax.
//!
//! `x = n ln 2 + r` with `|r| <= ln 2 / 2`, and `e^r` by its series to the 13th power, whose rest is below 5e-18. Elsewhere `exp` of
//! `f64` is `libm`'s: this one differs from it by a unit in the last place or so, and takes a tenth of its time.

use crate::lanes::Doubles;

/// Below two to this the result is 0: a CPU takes a hundred times as long to make a number that is subnormal, or would be
/// before it is rounded to 0, and the product of a weight and a value would be one soon. What is masked is below it.
const LEAST_EXPONENT: f64 = -900.0;

/// Below this the result is 0, and above it the scaling is in range.
const SMALLEST: f64 = -630.0;

/// `ln 2` in two parts, the first of 33 bits, so that its multiples by any `n` are exact without a fused product.
const LN_2_HIGH: f64 = 6.931_471_803_691_238_e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// `1 / k!` from the 13th down to the 0th.
pub(super) const SERIES: [f64; 14] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

/// `exp` of vectors whose lanes are at most 0, or NaN, within 1.5 units in the last place (2 on portable), and 0 where it is
/// below 2^-900. Step by step for all of them: a step waits for the one before.
#[inline(always)]
pub(crate) fn exp_not_positive<S: Doubles, const K: usize>(s: S, mut x: [S::V; K]) -> [S::V; K] {
    let mut n = x;
    let mut e = [s.splat(SERIES[0]); K];
    for (x, n) in x.iter_mut().zip(&mut n) {
        *x = s.max(s.splat(SMALLEST), *x);
        *n = s.nearest(s.mul(*x, s.splat(core::f64::consts::LOG2_E)));
        *x = s.fnma(*n, s.splat(LN_2_LOW), s.fnma(*n, s.splat(LN_2_HIGH), *x));
    }
    for coefficient in &SERIES[1..] {
        for (e, &r) in e.iter_mut().zip(&x) {
            *e = s.fma(*e, r, s.splat(*coefficient));
        }
    }
    for (e, &n) in e.iter_mut().zip(&n) {
        *e = s.select(s.lt(n, s.splat(LEAST_EXPONENT)), s.splat(0.0), s.times_power(*e, n));
    }
    e
}
