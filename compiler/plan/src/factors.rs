//! Products as lists of factors, restrictions as lists of conditions.

use attnc_algebra::{NaryOp, Node, TermId, UnaryOp};

use crate::planner::Planner;

impl Planner<'_> {
    /// The factors of a product, flattened; the term itself if it is none.
    pub fn factors(&self, term: TermId) -> Vec<TermId> {
        match self.terms.node(term) {
            Node::Nary(NaryOp::Mul, xs) => xs.iter().flat_map(|x| self.factors(*x)).collect(),
            _ => vec![term],
        }
    }

    /// The reciprocal of a product as one of each factor; any other term itself.
    pub fn reciprocals(&mut self, term: TermId) -> Vec<TermId> {
        match *self.terms.node(term) {
            Node::Unary(UnaryOp::Recip, x) => {
                let factors = self.factors(x);
                factors.into_iter().map(|factor| self.terms.unary(UnaryOp::Recip, factor)).collect()
            }
            _ => vec![term],
        }
    }

    /// The product of factors; 1 of no factor.
    pub fn product(&mut self, factors: Vec<TermId>) -> TermId {
        if factors.is_empty() { self.terms.real(1.0) } else { self.terms.nary(NaryOp::Mul, factors) }
    }
}
