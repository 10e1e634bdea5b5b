//! Typed construction of terms: conversions and the folding of constants.
//!
//! Conversions are explicit in terms, so every operation built here converts
//! its operands: truth values count as 0 and 1, integers become reals beside
//! reals. Integer constants are folded and truth values simplified; reals are
//! left to the rewriter. Knows no syntax.

use std::collections::BTreeMap;

use crate::ops::{BinaryOp, NaryOp, UnaryOp};
use crate::problem::Problem;
use crate::term::{Node, TermId, Terms, Type};

/// A term, or the arithmetic that constants made impossible.
pub(crate) type Folded = Result<TermId, Problem>;

/// Constructors that convert and fold.
impl Terms {
    /// `x` as a real.
    pub(crate) fn as_real(&mut self, x: TermId) -> TermId {
        if self.ty(x) == Type::Real {
            return x;
        }
        match *self.node(x) {
            Node::Int(value) => self.real(value as f64),
            Node::Bool(value) => self.real(f64::from(value)),
            Node::Unary(UnaryOp::ToInt, inner) => self.unary(UnaryOp::ToReal, inner),
            _ => self.unary(UnaryOp::ToReal, x),
        }
    }

    /// `x` as a number: a truth value as 0 or 1.
    pub(crate) fn as_number(&mut self, x: TermId) -> TermId {
        match *self.node(x) {
            Node::Bool(value) => self.int(i64::from(value)),
            _ if self.ty(x) == Type::Bool => self.unary(UnaryOp::ToInt, x),
            _ => x,
        }
    }

    /// Both as numbers of one type.
    pub(crate) fn unified(&mut self, x: TermId, y: TermId) -> (TermId, TermId) {
        let (x, y) = (self.as_number(x), self.as_number(y));
        if self.ty(x) == self.ty(y) { (x, y) } else { (self.as_real(x), self.as_real(y)) }
    }

    fn int_value(&self, x: TermId) -> Option<i64> {
        match *self.node(x) {
            Node::Int(value) => Some(value),
            _ => None,
        }
    }

    /// `-x`
    pub(crate) fn negative(&mut self, x: TermId) -> Folded {
        let x = self.as_number(x);
        match *self.node(x) {
            Node::Int(value) => Ok(self.int(value.checked_neg().ok_or(Problem::ArithmeticOverflow)?)),
            Node::Real(value) => Ok(self.real(-value.get())),
            _ => Ok(self.unary(UnaryOp::Neg, x)),
        }
    }

    /// `op` over numbers, from left to right: integers before the first real stay integers.
    ///
    /// # Panics
    /// If `operands` is empty.
    pub(crate) fn arithmetic(&mut self, op: NaryOp, operands: Vec<TermId>) -> Folded {
        let operands: Vec<TermId> = operands.into_iter().map(|x| self.as_number(x)).collect();
        let first_real = operands.iter().position(|x| self.ty(*x) == Type::Real);
        let Some(first_real) = first_real else { return self.integers(op, operands) };
        let mut reals = Vec::with_capacity(operands.len());
        if first_real > 0 {
            let whole = self.integers(op, operands[..first_real].to_vec())?;
            reals.push(self.as_real(whole));
        }
        for x in &operands[first_real..] {
            reals.push(self.as_real(*x));
        }
        Ok(self.nary(op, reals))
    }

    fn integers(&mut self, op: NaryOp, operands: Vec<TermId>) -> Folded {
        let values: Option<Vec<i64>> = operands.iter().map(|x| self.int_value(*x)).collect();
        match values.as_deref() {
            Some([first, rest @ ..]) => {
                let value = rest.iter().try_fold(*first, |acc, v| op.eval_int(acc, *v));
                Ok(self.int(value.ok_or(Problem::ArithmeticOverflow)?))
            }
            _ => Ok(self.nary(op, operands)),
        }
    }

    /// `/`, `div` or `mod`.
    pub(crate) fn quotient(&mut self, op: BinaryOp, x: TermId, y: TermId) -> Folded {
        let (x, y) = match op {
            BinaryOp::Div => (self.as_real(x), self.as_real(y)),
            _ => self.unified(x, y),
        };
        match (self.int_value(x), self.int_value(y)) {
            (_, Some(0)) => Err(Problem::DivisionByZero),
            (Some(a), Some(b)) => Ok(self.int(op.eval_int(a, b).ok_or(Problem::ArithmeticOverflow)?)),
            _ => Ok(self.binary(op, x, y)),
        }
    }

    /// `x ^ y`: an integer if both are and `y` cannot be negative by its form.
    pub(crate) fn power(&mut self, x: TermId, y: TermId) -> Folded {
        let (x, y) = (self.as_number(x), self.as_number(y));
        if self.ty(x) == Type::Int && self.never_negative(y) {
            return match (self.int_value(x), self.int_value(y)) {
                (Some(a), Some(b)) => {
                    let value = BinaryOp::Pow.eval_int(a, b);
                    Ok(self.int(value.ok_or(Problem::ArithmeticOverflow)?))
                }
                _ => Ok(self.binary(BinaryOp::Pow, x, y)),
            };
        }
        let (x, y) = (self.as_real(x), self.as_real(y));
        Ok(self.binary(BinaryOp::Pow, x, y))
    }

    /// Whether an integer term is a position, an extent, a constant of at least 0, or one of these over another.
    fn never_negative(&self, x: TermId) -> bool {
        match self.node(x) {
            Node::Int(value) => *value >= 0,
            Node::Position(_) | Node::Extent(_) => true,
            Node::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, a, b) => {
                let atom = |t: TermId| matches!(self.node(t), Node::Int(_) | Node::Position(_) | Node::Extent(_));
                atom(*a) && atom(*b) && self.never_negative(*a) && self.never_negative(*b)
            }
            _ => false,
        }
    }

    /// A comparison of numbers.
    pub(crate) fn comparison(&mut self, op: BinaryOp, x: TermId, y: TermId) -> TermId {
        let (mut x, mut y) = self.unified(x, y);
        if self.ty(x) == Type::Real
            && let (Some(a), Some(b)) = (self.whole(x), self.whole(y))
        {
            (x, y) = (a, b);
        }
        match (self.int_value(x), self.int_value(y)) {
            (Some(a), Some(b)) => self.truth(op.eval_int(a, b).unwrap_or(0) != 0),
            _ => match self.difference_of_congruent(x, y) {
                Some(remainder) if matches!(op, BinaryOp::Eq | BinaryOp::Ne) => {
                    let zero = self.int(0);
                    self.binary(op, remainder, zero)
                }
                _ => self.binary(op, x, y),
            },
        }
    }

    /// `(x - y) mod m` of remainders `x mod m` and `y mod m` by the same constant: 0 where they are equal, and nowhere else.
    fn difference_of_congruent(&mut self, x: TermId, y: TermId) -> Option<TermId> {
        let (Node::Binary(BinaryOp::Mod, x, m), Node::Binary(BinaryOp::Mod, y, n)) = (self.node(x), self.node(y))
        else {
            return None;
        };
        let (x, y, m) = (*x, *y, (m == n).then_some(*m)?);
        let modulus = self.int_value(m).is_some_and(|m| m > 0);
        // What is small cannot overflow.
        if !modulus || !self.is_small_form(x) || !self.is_small_form(y) {
            return None;
        }
        let minus = self.unary(UnaryOp::Neg, y);
        let difference = self.nary(NaryOp::Add, vec![x, minus]);
        Some(self.binary(BinaryOp::Mod, difference, m))
    }

    /// Whether an integer is a position, or a small multiple of one, more or less a small constant.
    fn is_small_form(&self, x: TermId) -> bool {
        let small = |t: TermId| self.int_value(t).is_some_and(|v| v.abs() < 1 << 20);
        let position = |t: TermId| matches!(self.node(t), Node::Position(_));
        let multiple = |t: TermId| match self.node(t) {
            Node::Nary(NaryOp::Mul, xs) => {
                matches!(xs[..], [a, b] if small(a) && position(b) || small(b) && position(a))
            }
            Node::Unary(UnaryOp::Neg, x) => position(*x),
            _ => position(t),
        };
        match self.node(x) {
            Node::Nary(NaryOp::Add, xs) => xs.len() <= 4 && xs.iter().all(|t| small(*t) || multiple(*t)),
            _ => multiple(x),
        }
    }

    /// `and` or `or` of truth values, flattened, without constants that decide nothing.
    pub(crate) fn logic(&mut self, op: NaryOp, operands: &[TermId]) -> TermId {
        let neutral = op == NaryOp::And;
        let mut kept = Vec::new();
        for x in operands {
            match self.node(*x) {
                Node::Bool(value) if *value == neutral => {}
                Node::Bool(_) => return *x,
                Node::Nary(inner, xs) if *inner == op => kept.extend_from_slice(xs),
                _ => kept.push(*x),
            }
        }
        // The first of equal operands is the one that counts.
        let mut seen = std::collections::BTreeSet::new();
        kept.retain(|x| seen.insert(*x));
        if kept.is_empty() { self.truth(neutral) } else { self.nary(op, kept) }
    }

    /// `not x`
    pub(crate) fn negation(&mut self, x: TermId) -> TermId {
        match *self.node(x) {
            Node::Bool(value) => self.truth(!value),
            Node::Unary(UnaryOp::Not, inner) => inner,
            _ => self.unary(UnaryOp::Not, x),
        }
    }

    /// `if condition then x else y`
    pub(crate) fn choice(&mut self, condition: TermId, x: TermId, y: TermId) -> TermId {
        let truths = self.ty(x) == Type::Bool && self.ty(y) == Type::Bool;
        let (x, y) = if truths { (x, y) } else { self.unified(x, y) };
        match self.node(condition) {
            Node::Bool(true) => x,
            Node::Bool(false) => y,
            _ => self.add(Node::Select(condition, x, y)),
        }
    }

    /// A choice between truth values as `and` and `or`, by which masks are read; each operand is guarded as a branch is.
    pub(crate) fn truth_of_choice(&mut self, condition: TermId, x: TermId, y: TermId) -> TermId {
        let otherwise = self.negation(condition);
        match (self.node(x), self.node(y)) {
            (Node::Bool(true), _) => self.logic(NaryOp::Or, &[condition, y]),
            (_, Node::Bool(true)) => self.logic(NaryOp::Or, &[otherwise, x]),
            _ => {
                let parts = [(condition, x), (otherwise, y)].map(|(c, t)| self.logic(NaryOp::And, &[c, t]));
                self.logic(NaryOp::Or, &parts)
            }
        }
    }

    /// The value of a term without axes, extents and inputs, as the reference evaluator computes it.
    pub(crate) fn closed_value(&self, x: TermId) -> Option<f64> {
        self.closed_shared(x, &mut BTreeMap::new())
    }

    /// As [`Self::closed_value`], each shared sub-term once.
    fn closed_shared(&self, x: TermId, done: &mut BTreeMap<TermId, f64>) -> Option<f64> {
        if let Some(value) = done.get(&x) {
            return Some(*value);
        }
        let value = match self.node(x) {
            Node::Real(value) => value.get(),
            Node::Int(value) => *value as f64,
            Node::Bool(value) => f64::from(*value),
            Node::Unary(op, a) => op.eval(self.closed_shared(*a, done)?),
            Node::Binary(op, a, b) => op.eval(self.closed_shared(*a, done)?, self.closed_shared(*b, done)?),
            Node::Nary(op, xs) => {
                let values: Option<Vec<f64>> = xs.iter().map(|t| self.closed_shared(*t, done)).collect();
                values?.into_iter().reduce(|a, b| op.eval(a, b))?
            }
            _ => return None,
        };
        done.insert(x, value);
        Some(value)
    }
}
