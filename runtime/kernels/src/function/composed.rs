//! Functions that are a little arithmetic around another one, as the algebra defines them.

use core::f32::consts::FRAC_1_SQRT_2;

use super::Function;
use super::exp::Exp;
use super::expm1::{Erf, Expm1};
use crate::lanes::FloatBits;

/// The argument itself.
#[derive(Clone, Copy)]
pub(crate) struct Same;

impl Function for Same {
    #[inline(always)]
    fn apply<S: FloatBits>(self, _: S, x: S::V) -> S::V {
        x
    }
}

/// x above 0, else 0; NaN stays NaN.
#[derive(Clone, Copy)]
pub(crate) struct Relu;

impl Function for Relu {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        let zero = s.splat(0.0);
        s.select(s.lt(x, zero), zero, x)
    }
}

/// x above 0, else `e^x - 1`.
#[derive(Clone, Copy)]
pub(crate) struct Elu;

impl Function for Elu {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        s.select(s.lt(s.splat(0.0), x), x, Expm1.apply(s, x))
    }
}

/// `elu(x) + 1`: x + 1 above 0, else `e^x`, which loses nothing where that is small.
#[derive(Clone, Copy)]
pub(crate) struct EluPlusOne;

impl Function for EluPlusOne {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        s.select(s.lt(s.splat(0.0), x), s.add(x, s.splat(1.0)), Exp.apply(s, x))
    }
}

/// `1 / (1 + e^-x)`.
#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        let one = s.splat(1.0);
        s.div(one, s.add(one, Exp.apply(s, s.sub(s.splat(0.0), x))))
    }
}

/// `x / (1 + e^-x)`.
#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        s.div(x, s.add(s.splat(1.0), Exp.apply(s, s.sub(s.splat(0.0), x))))
    }
}

/// `x (1 + erf(x / sqrt 2)) / 2`.
#[derive(Clone, Copy)]
pub(crate) struct Gelu;

impl Function for Gelu {
    #[inline(always)]
    fn apply<S: FloatBits>(self, s: S, x: S::V) -> S::V {
        let erf = Erf.apply(s, s.mul(x, s.splat(FRAC_1_SQRT_2)));
        s.mul(s.mul(s.splat(0.5), x), s.add(s.splat(1.0), erf))
    }
}
