//! Integer linear forms over atoms: what index arithmetic is normalised to.

use crate::loops::expr::ExprId;

/// Something a linear form does not look into.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Atom {
    /// An extent, a variable, a minimum, a quotient, …
    Expr(ExprId),
    /// Row of the lane.
    Row,
    /// Column of the lane.
    Col,
}

/// `constant + sum of coefficient * atom`, atoms ascending, no zero coefficients.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Linear {
    pub constant: i64,
    pub terms: Vec<(Atom, i64)>,
}

impl Linear {
    pub(super) fn constant(value: i64) -> Self {
        Self { constant: value, terms: Vec::new() }
    }

    pub(super) fn atom(atom: Atom) -> Self {
        Self { constant: 0, terms: vec![(atom, 1)] }
    }

    /// `self * factor`; `None` on overflow.
    pub(super) fn scaled(&self, factor: i64) -> Option<Self> {
        if factor == 0 {
            return Some(Self::default());
        }
        let terms = self.terms.iter().map(|(atom, k)| Some((*atom, k.checked_mul(factor)?)));
        Some(Self { constant: self.constant.checked_mul(factor)?, terms: terms.collect::<Option<_>>()? })
    }

    /// `self + other * factor`; `None` on overflow.
    pub(super) fn plus(&self, other: &Self, factor: i64) -> Option<Self> {
        let mut out =
            Self { constant: self.constant.checked_add(other.constant.checked_mul(factor)?)?, terms: Vec::new() };
        let (mut left, mut right) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let (atom, k) = match (left.peek(), right.peek()) {
                (Some(&&(a, k)), Some(&&(b, l))) if a == b => {
                    left.next();
                    right.next();
                    (a, k.checked_add(l.checked_mul(factor)?)?)
                }
                (Some(&&(a, k)), other) if other.is_none_or(|(b, _)| a < *b) => {
                    left.next();
                    (a, k)
                }
                (_, Some(&&(b, l))) => {
                    right.next();
                    (b, l.checked_mul(factor)?)
                }
                (None, None) => return Some(out),
                (Some(_), None) => return Some(out),
            };
            if k != 0 {
                out.terms.push((atom, k));
            }
        }
    }

    /// The form without the term of `atom`, and that term's coefficient.
    pub(super) fn without(&self, atom: Atom) -> (Self, i64) {
        let mut rest = self.clone();
        let at = rest.terms.iter().position(|(a, _)| *a == atom);
        let coefficient = at.map_or(0, |at| rest.terms.remove(at).1);
        (rest, coefficient)
    }

    /// The constant, if nothing else is there.
    pub(super) fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }
}
