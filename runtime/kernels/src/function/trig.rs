//! `sin` and `cos` of `f32`.
//!
//! Up to [`REDUCED`] in magnitude, `x = n pi/2 + r` with pi/2 in parts short enough that their multiples are exact,
//! and polynomials in `r^2`; lanes beyond that (angles of hundreds of turns are rare and mostly constants) go one by
//! one through `f64`.

use super::Function;
use crate::lanes::FloatBits;

/// Largest magnitude that is reduced in lanes: `n` has 13 bits below it.
const REDUCED: f32 = 1e4;

/// pi/2, in three parts of at most 11 bits and a rest.
const HALF_PI: [f32; 4] = [1.570_312_5, 4.837_513e-4, 7.549_533_6e-8, 2.563_344e-12];

/// Coefficients of `(sin(r)/r - 1) / r^2` and `(cos(r) - 1 + r^2/2) / r^4` in `r^2` for `|r| <= pi/4`, minimax in
/// relative error (3.9e-9 and 1.2e-10 before rounding), computed by our own Remez exchange.
const SIN: [f32; 3] = [-0.166_666_54, 0.008_332_151, -1.951_398e-4];
const COS: [f32; 3] = [0.041_666_646, -0.001_388_730_4, 2.443_167e-5];

/// `sin`; NaN for infinities.
#[derive(Clone, Copy)]
pub(crate) struct Sin;

/// `cos`; NaN for infinities.
#[derive(Clone, Copy)]
pub(crate) struct Cos;

impl Function for Sin {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        let sin = s.select(s.eq(x, s.splat(0.0)), x, sin_of_quarter_turns_later(s, x, 0));
        beyond_reduced(s, x, sin, libm::sin)
    }
}

impl Function for Cos {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        beyond_reduced(s, x, sin_of_quarter_turns_later(s, x, 1), libm::cos)
    }
}

/// `sin(x + quarters pi/2)`.
#[inline(always)]
fn sin_of_quarter_turns_later<S: FloatBits>(s: S, x: S::V, quarters: i32) -> S::V {
    let n = s.round(s.mul(x, s.splat(core::f32::consts::FRAC_2_PI)));
    let mut r = x;
    for part in HALF_PI {
        r = s.fnma(n, s.splat(part), r);
    }
    let square = s.mul(r, r);
    let mut sin = s.splat(SIN[2]);
    let mut cos = s.splat(COS[2]);
    for degree in [1, 0] {
        sin = s.fma(sin, square, s.splat(SIN[degree]));
        cos = s.fma(cos, square, s.splat(COS[degree]));
    }
    let sin = s.fma(s.mul(square, r), sin, r);
    let cos = s.fma(s.mul(square, square), cos, s.fma(square, s.splat(-0.5), s.splat(1.0)));
    let quarter = s.int_add(s.float_to_int(n), s.int_splat(quarters));
    let even = s.int_eq(s.int_and(quarter, s.int_splat(1)), s.int_splat(0));
    let first_half = s.int_eq(s.int_and(quarter, s.int_splat(2)), s.int_splat(0));
    let turned = s.select(even, sin, cos);
    s.select(first_half, turned, s.sub(s.splat(0.0), turned))
}

/// `reduced`, but where `x` is beyond [`REDUCED`] the function itself, lane by lane.
#[inline(always)]
fn beyond_reduced<S: FloatBits>(s: S, x: S::V, reduced: S::V, function: fn(f64) -> f64) -> S::V {
    // Compared as integers: of two comparisons of floats joined by "or", compilers make one with the larger operand,
    // which on some machines is NaN where the other is a signalling NaN. Here NaN is beyond all.
    let distance = s.int_sub(s.bits(s.splat(REDUCED)), s.bits(s.abs(x)));
    let sign = s.int_splat(i32::MIN);
    if !s.any(s.int_eq(s.int_and(distance, sign), sign)) {
        return reduced;
    }
    let (mut angles, mut out) = ([0.0f32; 64], [0.0f32; 64]);
    // SAFETY: no instruction set has more than 16 lanes of `f32`, interleaved 64.
    unsafe {
        s.store(angles.as_mut_ptr(), x);
        s.store(out.as_mut_ptr(), reduced);
        for (out, angle) in out.iter_mut().zip(angles).take(S::N) {
            if angle.abs() > REDUCED {
                *out = function(f64::from(angle)) as f32;
            }
        }
        s.load(out.as_ptr())
    }
}
