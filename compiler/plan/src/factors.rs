//! Products as lists of factors, restrictions as lists of conditions.

use attnc_algebra::{NaryOp, Node, TermId, UnaryOp};

use crate::planner::Planner;

/// Factors up to which products are flattened: what each of 24 rounds multiplies with itself has 2 to the power of 24.
const MOST_FACTORS: usize = 64;

impl Planner<'_> {
    /// The factors of a product, flattened while they are few; the term itself if it is none.
    pub fn factors(&self, term: TermId) -> Vec<TermId> {
        let (mut factors, mut open) = (Vec::new(), vec![term]);
        while let Some(next) = open.pop() {
            match self.terms.node(next) {
                Node::Nary(NaryOp::Mul, xs) if factors.len() + open.len() + xs.len() <= MOST_FACTORS => {
                    open.extend(xs.iter().rev());
                }
                _ => factors.push(next),
            }
        }
        factors
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
