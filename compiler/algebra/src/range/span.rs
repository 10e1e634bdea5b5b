//! Closed intervals of reals and their arithmetic.
//!
//! Bounds are widened by more than any engine's functions are off, so that an index made of a real, by `floor` say, is
//! bounded whichever engine computes it. Knows no terms; read `interval` next.

use crate::ops::{BinaryOp, NaryOp, UnaryOp};

use super::interval::Interval;

/// How far an elementary function may be off, relatively and absolutely: far more than libraries differ.
const SLACK: f64 = 1e-9;

/// All reals from `lo` to `hi`, both included, and a NaN if `nan`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Span {
    pub lo: f64,
    pub hi: f64,
    pub nan: bool,
}

impl Span {
    /// Any real, or none.
    pub const ANY: Self = Self { lo: f64::NEG_INFINITY, hi: f64::INFINITY, nan: true };

    /// The one real `x`.
    pub fn point(x: f64) -> Self {
        if x.is_nan() { Self::ANY } else { Self { lo: x, hi: x, nan: false } }
    }

    /// The integers of an interval, as reals; any real if nothing is known of them.
    pub fn of_integers(x: Option<Interval>) -> Self {
        x.map_or(Self::ANY, |x| Self::within(x.lo as f64, x.hi as f64, false))
    }

    /// What an integer made of these by truncation is: it saturates, and is 0 for a NaN.
    pub fn truncated(self) -> Option<Interval> {
        let (lo, hi) = (self.lo.trunc() as i64, self.hi.trunc() as i64);
        let bounds = Interval::new(lo.into(), hi.into())?;
        Some(if self.nan { bounds.hull(Interval::point(0)) } else { bounds })
    }

    /// The smallest span that holds both.
    pub fn hull(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi), nan: self.nan || other.nan }
    }

    /// From `lo` to `hi`; any real where these are not in order.
    fn within(lo: f64, hi: f64, nan: bool) -> Self {
        if lo <= hi { Self { lo, hi, nan } } else { Self::ANY }
    }

    /// With room for errors of at least `least` and as large as the bounds are.
    fn widened(self, least: f64) -> Self {
        let room = |x: f64| if x.is_finite() { least + SLACK * x.abs() } else { 0.0 };
        Self { lo: self.lo - room(self.lo), hi: self.hi + room(self.hi), nan: self.nan }
    }

    /// With room for what an elementary function may be off whose values lie from `lo` to `hi`.
    fn of_function(self, lo: f64, hi: f64) -> Self {
        let wide = self.widened(SLACK);
        Self::within(wide.lo.max(lo), wide.hi.min(hi), self.nan)
    }

    /// The largest magnitude, if it is finite.
    fn magnitude(self) -> f64 {
        let most = self.lo.abs().max(self.hi.abs());
        if most.is_finite() { most } else { 0.0 }
    }

    fn is_finite(self) -> bool {
        self.lo.is_finite() && self.hi.is_finite()
    }

    /// Under a function that does not fall.
    fn rising(self, f: impl Fn(f64) -> f64) -> Self {
        Self::within(f(self.lo), f(self.hi), self.nan)
    }

    /// The least span that holds the values at all corners of two operands; infinite operands may make a NaN of them.
    fn of_corners(x: Self, y: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let nan = x.nan || y.nan || !x.is_finite() || !y.is_finite();
        let corners = [f(x.lo, y.lo), f(x.lo, y.hi), f(x.hi, y.lo), f(x.hi, y.hi)];
        if corners.iter().any(|c| c.is_nan()) {
            return Self::ANY;
        }
        let (lo, hi) = (
            corners.iter().copied().fold(f64::INFINITY, f64::min),
            corners.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        Self::within(lo, hi, nan)
    }

    /// A function of one real.
    pub fn unary(self, op: UnaryOp) -> Self {
        let bounded = |lo: f64, hi: f64| Self { lo, hi, nan: self.nan };
        match op {
            UnaryOp::ToReal | UnaryOp::ToInt => self,
            UnaryOp::Floor => self.rising(f64::floor),
            UnaryOp::Ceil => self.rising(f64::ceil),
            UnaryOp::RealToInt => self.rising(f64::trunc),
            UnaryOp::Neg => Self { lo: -self.hi, hi: -self.lo, nan: self.nan },
            UnaryOp::Abs if self.lo >= 0.0 => self,
            UnaryOp::Abs => bounded(if self.hi < 0.0 { -self.hi } else { 0.0 }, self.hi.max(-self.lo)),
            UnaryOp::Relu => self.rising(|x| x.max(0.0)),
            UnaryOp::Exp | UnaryOp::Softplus => self.rising(|x| op.eval(x)).of_function(0.0, f64::INFINITY),
            UnaryOp::Sigmoid => self.rising(|x| op.eval(x)).of_function(0.0, 1.0),
            UnaryOp::Tanh => self.rising(|x| op.eval(x)).of_function(-1.0, 1.0),
            UnaryOp::Sqrt if self.lo >= 0.0 => self.rising(f64::sqrt).of_function(0.0, f64::INFINITY),
            UnaryOp::Log if self.lo >= 0.0 => self.rising(|x| op.eval(x)).of_function(f64::NEG_INFINITY, f64::INFINITY),
            UnaryOp::Sin | UnaryOp::Cos => Self { nan: self.nan || !self.is_finite(), ..bounded(-1.0, 1.0) },
            UnaryOp::Sign => bounded(-1.0, 1.0),
            UnaryOp::Recip => Self::point(1.0).binary(BinaryOp::Div, self),
            _ => Self::ANY,
        }
    }

    /// A function of two reals.
    pub fn binary(self, op: BinaryOp, other: Self) -> Self {
        let positive = other.lo > 0.0 || other.hi < 0.0;
        match op {
            BinaryOp::Div if positive => Self::of_corners(self, other, |x, y| x / y).widened(0.0),
            BinaryOp::FloorDiv if positive => {
                Self::of_corners(self, other, |x, y| x / y).widened(0.0).unary(UnaryOp::Floor)
            }
            BinaryOp::Pow if self.lo > 0.0 => {
                Self::of_corners(self, other, |x, y| op.eval(x, y)).of_function(0.0, f64::INFINITY)
            }
            _ => Self::ANY,
        }
    }

    /// An operation of many reals, two of them.
    pub fn nary(self, op: NaryOp, other: Self) -> Self {
        // Of a number and a NaN either may be taken.
        let chosen = |lo: f64, hi: f64| {
            let chosen = Self { lo, hi, nan: self.nan || other.nan };
            let beside_nan = [(self, other.nan), (other, self.nan)].into_iter().filter(|(_, nan)| *nan);
            beside_nan.fold(chosen, |span, (number, _)| span.hull(number))
        };
        match op {
            NaryOp::Add => {
                Self::of_corners(self, other, |x, y| x + y).widened(SLACK * self.magnitude().max(other.magnitude()))
            }
            NaryOp::Mul => Self::of_corners(self, other, |x, y| x * y).widened(0.0),
            NaryOp::Min => chosen(self.lo.min(other.lo), self.hi.min(other.hi)),
            NaryOp::Max => chosen(self.lo.max(other.lo), self.hi.max(other.hi)),
            NaryOp::And | NaryOp::Or => Self { lo: 0.0, hi: 1.0, nan: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: [f64; 9] = [-1e6, -2.5, -1.0, 0.0, 0.3, 1.0, 2.0, 7.5, 1e9];

    /// Spans between points, and some points in each.
    fn spans() -> Vec<(Span, Vec<f64>)> {
        let mut out = Vec::new();
        for (at, lo) in POINTS.iter().enumerate() {
            for hi in &POINTS[at..] {
                let inside = POINTS.iter().copied().filter(|x| x >= lo && x <= hi).collect();
                out.push((Span { lo: *lo, hi: *hi, nan: false }, inside));
            }
        }
        out
    }

    fn holds(span: Span, x: f64) -> bool {
        if x.is_nan() { span.nan } else { span.lo <= x && x <= span.hi }
    }

    #[test]
    fn functions_of_members_are_in_the_span_of_the_function() {
        use UnaryOp::*;
        for op in [Neg, Abs, Recip, Exp, Log, Sqrt, Tanh, Sin, Cos, Sigmoid, Relu, Elu, Softplus, Sign, Floor, Ceil] {
            for (span, inside) in spans() {
                let result = span.unary(op);
                for x in inside {
                    assert!(holds(result, op.eval(x)), "{op:?} of {x} in {span:?} is not in {result:?}");
                }
            }
        }
    }

    #[test]
    fn operations_on_members_are_in_the_span_of_the_operation() {
        for (a, xs) in spans() {
            for (b, ys) in spans() {
                for (x, y) in xs.iter().flat_map(|x| ys.iter().map(|y| (*x, *y))) {
                    for op in [BinaryOp::Div, BinaryOp::FloorDiv, BinaryOp::Mod, BinaryOp::Pow] {
                        assert!(holds(a.binary(op, b), op.eval(x, y)), "{op:?} of {x}, {y} in {a:?}, {b:?}");
                    }
                    for op in [NaryOp::Add, NaryOp::Mul, NaryOp::Min, NaryOp::Max] {
                        assert!(holds(a.nary(op, b), op.eval(x, y)), "{op:?} of {x}, {y} in {a:?}, {b:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn integers_of_what_may_be_no_number_reach_0() {
        let clamped = Span::ANY.nary(NaryOp::Max, Span::point(3.0)).nary(NaryOp::Min, Span::point(5.0));
        assert_eq!(clamped.truncated(), Interval::new(0, 5));
        let finite = Span { nan: false, ..Span::ANY };
        let clamped = finite.nary(NaryOp::Max, Span::point(3.0)).nary(NaryOp::Min, Span::point(5.0));
        assert_eq!(clamped.truncated(), Interval::new(3, 5));
    }
}
