//! Chains of operators of one level: sums, products with quotients, conjunctions.

use super::Elaborator;
use crate::diagnostic::Span;
use crate::ops::{BinaryOp, NaryOp};
use crate::problem::Problem;
use crate::syntax::ast::{ChainOp, Expr};
use crate::term::{Node, TermId, Type};

impl<'a> Elaborator<'a> {
    /// `first op a op b …`; all operators are of one level.
    pub(super) fn chain(&mut self, span: Span, first: &'a Expr, rest: &'a [(ChainOp, Expr)]) -> Option<TermId> {
        match rest.first()?.0 {
            ChainOp::And => self.logic(NaryOp::And, first, rest),
            ChainOp::Or => self.logic(NaryOp::Or, first, rest),
            ChainOp::Add | ChainOp::Sub => self.sum(span, first, rest),
            _ => self.product(span, first, rest),
        }
    }

    fn logic(&mut self, op: NaryOp, first: &'a Expr, rest: &'a [(ChainOp, Expr)]) -> Option<TermId> {
        let operands = std::iter::once(first).chain(rest.iter().map(|(_, e)| e));
        let operands: Vec<Option<TermId>> = operands.map(|e| self.truth(e)).collect();
        let operands: Option<Vec<TermId>> = operands.into_iter().collect();
        Some(self.spec.terms.logic(op, &operands?))
    }

    /// `a - b + c` is the sum of a, -b and c.
    fn sum(&mut self, span: Span, first: &'a Expr, rest: &'a [(ChainOp, Expr)]) -> Option<TermId> {
        let mut operands = vec![self.expr(first)];
        for (op, operand) in rest {
            let mut term = self.expr(operand);
            if *op == ChainOp::Sub
                && let Some(positive) = term
            {
                let folded = self.spec.terms.negative(positive);
                term = self.folded(operand.span, folded);
            }
            operands.push(term);
        }
        let operands: Option<Vec<TermId>> = operands.into_iter().collect();
        let folded = self.spec.terms.arithmetic(NaryOp::Add, operands?);
        self.folded(span, folded)
    }

    /// From left to right: `a * b / c * d` is `((a * b) / c) * d`.
    fn product(&mut self, span: Span, first: &'a Expr, rest: &'a [(ChainOp, Expr)]) -> Option<TermId> {
        let mut factors: Option<Vec<TermId>> = self.expr(first).map(|t| vec![t]);
        for (op, operand) in rest {
            let right = self.expr(operand);
            let (Some(mut left), Some(right)) = (factors, right) else {
                factors = None;
                continue;
            };
            let quotient = match op {
                ChainOp::Div => BinaryOp::Div,
                ChainOp::FloorDiv => BinaryOp::FloorDiv,
                ChainOp::Mod => BinaryOp::Mod,
                _ => {
                    left.push(right);
                    factors = Some(left);
                    continue;
                }
            };
            let span = Span { start: span.start, end: operand.span.end };
            factors = self.divided(span, quotient, left, (operand, right)).map(|t| vec![t]);
        }
        let folded = self.spec.terms.arithmetic(NaryOp::Mul, factors?);
        self.folded(span, folded)
    }

    fn divided(
        &mut self,
        span: Span,
        op: BinaryOp,
        left: Vec<TermId>,
        (divisor, right): (&'a Expr, TermId),
    ) -> Option<TermId> {
        let left = self.spec.terms.arithmetic(NaryOp::Mul, left);
        let left = self.folded(span, left)?;
        match self.spec.terms.quotient(op, left, right) {
            Err(problem @ Problem::DivisionByZero) => self.fail_of_value(span, divisor, problem),
            Ok(term) if op == BinaryOp::Div => Some(term),
            Ok(term) => {
                self.divided_at.entry(term).or_insert(span);
                Some(self.remainder(term))
            }
            folded => self.folded(span, folded),
        }
    }

    /// A remainder of whole reals by a constant above 0, held in range: f64 rounds the quotient of a number beyond
    /// 2^53, and what is left may then be any number. A NaN stays one.
    fn remainder(&mut self, term: TermId) -> TermId {
        let terms = &mut self.spec.terms;
        let Node::Binary(BinaryOp::Mod, _, by) = *terms.node(term) else { return term };
        if terms.ty(term) != Type::Real || !self.facts.of(terms, term).integral {
            return term;
        }
        let Some(by) = terms.closed_value(by).filter(|by| *by > 0.0) else { return term };
        let (zero, last) = (terms.real(0.0), terms.real(by - 1.0));
        let above = terms.nary(NaryOp::Max, vec![zero, term]);
        terms.nary(NaryOp::Min, vec![last, above])
    }
}
