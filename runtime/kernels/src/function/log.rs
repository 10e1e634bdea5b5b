//! `log` and `log1p` of `f32`.
//!
//! `x = 2^e (1 + f)` with `1 + f` between the square roots of 1/2 and 2, and
//! `log(1 + f) = f - f^2/2 + f^3 Q(f)` with Q of degree 8, minimax in relative error (7.5e-10 before rounding),
//! computed by our own Remez exchange.

use super::Function;
use super::exp::{LN_2_HIGH, LN_2_LOW};
use crate::lanes::FloatBits;

/// Coefficients of Q.
const Q: [f32; 9] = [
    0.333_333_13,
    -0.250_000_1,
    0.200_021_22,
    -0.166_680_04,
    0.142_194_67,
    -0.124_053_65,
    0.118_886_05,
    -0.116_773_12,
    0.067_476_906,
];

/// The bits of the square root of 1/2, the least `1 + f`.
const SQRT_HALF_BITS: i32 = 0x3f35_04f3;
const MANTISSA: i32 = 0x007f_ffff;
/// `2^23`, which makes subnormal numbers normal.
const LIFT: f32 = 8_388_608.0;

/// `log`. -inf at 0, NaN below.
#[derive(Clone, Copy)]
pub(crate) struct Log;

impl Function for Log {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        let zero = s.splat(0.0);
        let subnormal = s.lt(x, s.splat(f32::MIN_POSITIVE));
        let lifted = s.select(subnormal, s.mul(x, s.splat(LIFT)), x);
        let exponent_shift = s.select(subnormal, s.splat(-23.0), zero);
        special_values(s, x, log_plus(s, lifted, exponent_shift, zero))
    }
}

/// `log1p`. -inf at -1, NaN below.
#[derive(Clone, Copy)]
pub(crate) struct Log1p;

impl Function for Log1p {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        // u + lost = 1 + x exactly, and log(u + lost) = log(u) + lost / u to first order, which is enough.
        let u = s.add(one, x);
        let lost = s.sub(s.min(one, x), s.sub(u, s.max(one, x)));
        let log = special_values(s, u, log_plus(s, u, zero, s.div(lost, u)));
        s.select(s.eq(x, zero), x, log)
    }
}

/// `log(x 2^shift) + small` for normal positive `x`.
#[inline(always)]
fn log_plus<S: FloatBits>(s: S, x: S::V, shift: S::V, small: S::V) -> S::V {
    let least = s.int_splat(SQRT_HALF_BITS);
    let above = s.int_sub(s.bits(x), least);
    let e = s.add(s.int_to_float(s.exponent_to_int(above)), shift);
    let mantissa = s.bits_to_float(s.int_add(s.int_and(above, s.int_splat(MANTISSA)), least));
    let f = s.sub(mantissa, s.splat(1.0));
    let mut q = s.splat(Q[8]);
    for degree in [7, 6, 5, 4, 3, 2, 1, 0] {
        q = s.fma(q, f, s.splat(Q[degree]));
    }
    let square = s.mul(f, f);
    let tail = s.fma(e, s.splat(LN_2_LOW), small);
    let tail = s.fma(s.mul(square, f), q, tail);
    let tail = s.fma(square, s.splat(-0.5), tail);
    s.fma(e, s.splat(LN_2_HIGH), s.add(f, tail))
}

/// `log` where `x` is positive and finite; else what a logarithm of `x` is.
#[inline(always)]
fn special_values<S: FloatBits>(s: S, x: S::V, log: S::V) -> S::V {
    let zero = s.splat(0.0);
    let not_positive = s.select(s.eq(x, zero), s.splat(f32::NEG_INFINITY), s.splat(f32::NAN));
    let log = s.select(s.lt(zero, x), log, not_positive);
    s.select(s.eq(x, s.splat(f32::INFINITY)), x, log)
}
