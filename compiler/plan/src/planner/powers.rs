//! Powers of pairs whose base is that of a row or a key.
//!
//! `a ^ n` takes a logarithm and an exponential in f64. Where the base varies with less than the exponent, its logarithm is
//! that of a row or a column, and what is left for a pair is an exponential of f32. The base must be known to be positive
//! and finite, and the exponent a whole number: then no special case is another one.

use std::collections::BTreeMap;

use attnc_algebra::{BinaryOp, DType, NaryOp, Node, TermId, Type, UnaryOp};

use super::Planner;

/// Exponents for each base from which on a logarithm of its own is worth it.
const EXPONENTS: f64 = 8.0;

impl Planner<'_> {
    /// The term with such powers as exponentials. What decides is left as it stands.
    pub(super) fn powers_by_logarithms(&mut self, term: TermId, done: &mut BTreeMap<TermId, TermId>) -> TermId {
        if self.compute() != DType::F32 {
            return term;
        }
        if let Some(known) = done.get(&term) {
            return *known;
        }
        let node = self.terms.node(term).clone();
        let new = match node {
            ref node if node.decides() => term,
            Node::Binary(BinaryOp::Pow, base, exponent) if self.is_power_of_pairs(base, exponent) => {
                let log = self.terms.unary(UnaryOp::Log, base);
                let exponent = match self.terms.ty(exponent) {
                    Type::Real => exponent,
                    _ => self.terms.unary(UnaryOp::ToReal, exponent),
                };
                let product = self.terms.nary(NaryOp::Mul, vec![exponent, log]);
                self.terms.unary(UnaryOp::Exp, product)
            }
            node => {
                let node = node.map_operands(|t| self.powers_by_logarithms(t, done));
                self.terms.add(node)
            }
        };
        done.insert(term, new);
        new
    }

    fn is_power_of_pairs(&mut self, base: TermId, exponent: TermId) -> bool {
        let whole = match *self.terms.node(exponent) {
            Node::Unary(UnaryOp::ToReal, x) => self.terms.ty(x) == Type::Int,
            _ => self.terms.ty(exponent) == Type::Int,
        };
        let exponents = self.terms.free(exponent).clone();
        let further = exponents.difference(self.terms.free(base));
        let pairs = exponents.iter().filter(|a| self.hint_extent(*a) as f64 >= EXPONENTS).count() > 1;
        whole
            && pairs
            && self.terms.ty(base) == Type::Real
            && self.volume(&further) >= EXPONENTS
            && !self.is_data_free(base)
            && self.is_finite_and_positive(base)
    }

    /// Whether a real is an input's that is declared positive and finite.
    fn is_finite_and_positive(&self, term: TermId) -> bool {
        match *self.terms.node(term) {
            Node::Input { input, .. } => self.spec.input(input).range.is_some_and(|(low, high)| {
                self.number(low).is_some_and(|v| v >= f64::from(f32::MIN_POSITIVE))
                    && self.number(high).is_some_and(f64::is_finite)
            }),
            Node::At { body, .. } => self.is_finite_and_positive(body),
            _ => false,
        }
    }

    fn number(&self, term: TermId) -> Option<f64> {
        match *self.terms.node(term) {
            Node::Real(v) => Some(v.get()),
            Node::Int(v) => Some(v as f64),
            Node::Unary(UnaryOp::ToReal, x) => self.number(x),
            _ => None,
        }
    }
}
