//! Reals that are whole by their form: positions, their quotients rounded down, and sums and products of these.
//!
//! `floor(i / 64)` is `i div 64`, and comparing it decides as integers do. Only where f64 is exact throughout, so that
//! the meaning stays that of the reals as written: integers up to 2^53, of positions and constants alone. Knows no
//! syntax.

use crate::ops::{BinaryOp, NaryOp, UnaryOp};
use crate::term::{Node, TermId, Terms, Type};

/// Whole numbers up to this size are exact in f64, and so is the floor of the quotient of two of them.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// No axis is longer.
const LONGEST: f64 = (1u64 << 40) as f64;

/// Bound on nested operations that are looked into.
const DEPTH: usize = 8;

impl Terms {
    /// The integer that a real is by its form.
    pub(crate) fn whole(&mut self, x: TermId) -> Option<TermId> {
        self.bounded(x, DEPTH).map(|(term, _)| term)
    }

    /// The integer that a number is, with a bound on its size.
    fn bounded(&mut self, x: TermId, depth: usize) -> Option<(TermId, f64)> {
        let depth = depth.checked_sub(1)?;
        let (term, bound) = match self.node(x).clone() {
            Node::Real(r) if r.get().fract() == 0.0 && r.get().abs() <= EXACT => {
                (self.int(r.get() as i64), r.get().abs())
            }
            Node::Int(v) => (x, v.unsigned_abs() as f64),
            Node::Position(_) | Node::Extent(_) => (x, LONGEST),
            Node::Unary(UnaryOp::ToReal | UnaryOp::ToInt, p) if self.ty(p) == Type::Bool => {
                (self.unary(UnaryOp::ToInt, p), 1.0)
            }
            Node::Unary(UnaryOp::ToReal, y) => self.bounded(y, depth)?,
            Node::Unary(op @ (UnaryOp::Neg | UnaryOp::Abs), y) => {
                let (y, bound) = self.bounded(y, depth)?;
                (self.unary(op, y), bound)
            }
            Node::Unary(op @ (UnaryOp::Floor | UnaryOp::Ceil), y) => self.rounded(op, y, depth)?,
            Node::Nary(op @ (NaryOp::Add | NaryOp::Mul | NaryOp::Min | NaryOp::Max), xs) => {
                let parts = xs.iter().map(|x| self.bounded(*x, depth)).collect::<Option<Vec<_>>>()?;
                let bounds = parts.iter().map(|(_, bound)| *bound);
                let bound = match op {
                    NaryOp::Add => bounds.sum(),
                    // A factor 0 must not hide an overflow before it.
                    NaryOp::Mul => bounds.map(|b| b.max(1.0)).product(),
                    _ => bounds.fold(0.0, f64::max),
                };
                (self.nary(op, parts.into_iter().map(|(term, _)| term).collect()), bound)
            }
            Node::Binary(op @ (BinaryOp::FloorDiv | BinaryOp::Mod), a, b) if self.ty(x) == Type::Int => {
                let ((_, of), (_, by)) = (self.bounded(a, depth)?, self.divisor(b, depth)?);
                (x, if op == BinaryOp::Mod { by } else { of })
            }
            _ => return None,
        };
        (bound <= EXACT).then_some((term, bound))
    }

    /// A whole number rounded, or the quotient of two. A quotient that is not whole is further from a whole number than
    /// f64 rounds it.
    fn rounded(&mut self, op: UnaryOp, y: TermId, depth: usize) -> Option<(TermId, f64)> {
        let Node::Binary(BinaryOp::Div, a, b) = *self.node(y) else { return self.bounded(y, depth) };
        let ((a, of), (b, _)) = (self.bounded(a, depth)?, self.divisor(b, depth)?);
        if op == UnaryOp::Floor {
            return Some((self.binary(BinaryOp::FloorDiv, a, b), of));
        }
        let negative = self.unary(UnaryOp::Neg, a);
        let below = self.binary(BinaryOp::FloorDiv, negative, b);
        Some((self.unary(UnaryOp::Neg, below), of))
    }

    /// A whole number that is never 0.
    fn divisor(&mut self, x: TermId, depth: usize) -> Option<(TermId, f64)> {
        let (term, bound) = self.bounded(x, depth)?;
        match self.node(term) {
            Node::Int(v) if *v != 0 => Some((term, bound)),
            Node::Extent(_) => Some((term, bound)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The integer of `floor(x)` or `ceil(x)` of a quotient of constants, by the normal form.
    fn rounded(op: UnaryOp, a: i64, b: i64) -> i64 {
        let mut terms = Terms::default();
        let (x, y) = (terms.real(a as f64), terms.real(b as f64));
        let quotient = terms.binary(BinaryOp::Div, x, y);
        let term = terms.unary(op, quotient);
        let whole = terms.whole(term).expect("constants are whole");
        terms.closed_value(whole).expect("a constant") as i64
    }

    #[test]
    fn quotients_are_rounded_as_reals_are() {
        let large = [(1i64 << 53) - 1, (1 << 53) - 2, (1 << 52) + 1, 6_004_799_503_160_661, 4_503_599_627_370_497];
        let all = large.into_iter().flat_map(|a| [a, -a]).chain(-9..10);
        for a in all {
            for b in [1, 2, 3, 7, 64, -3, -5, 1_000_003, (1 << 26) - 1] {
                let real = a as f64 / b as f64;
                assert_eq!(rounded(UnaryOp::Floor, a, b), real.floor() as i64, "floor({a} / {b})");
                assert_eq!(rounded(UnaryOp::Ceil, a, b), real.ceil() as i64, "ceil({a} / {b})");
            }
        }
    }

    #[test]
    fn what_f64_does_not_hold_stays_real() {
        let mut terms = Terms::default();
        let (half, big) = (terms.real(0.5), terms.real(1e17));
        let nothing = terms.real(0.0);
        let by_nothing = terms.binary(BinaryOp::Div, big, nothing);
        let floor = terms.unary(UnaryOp::Floor, by_nothing);
        assert!([half, big, floor].into_iter().all(|x| terms.whole(x).is_none()));
    }
}
