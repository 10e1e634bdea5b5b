//! Reductions to terms: several axes nest, shorthands expand.
//!
//! `count`, `mean`, `cumsum`, `rank` and a softmax over several axes are
//! shorthands; the expansions here are their definitions.

use super::Elaborator;
use super::substitute::{Replacement, copied_axis, substitute, with_weights_spelled_out};
use crate::axis::AxisId;
use crate::diagnostic::{Diagnostic, Span};
use crate::ops::{BinaryOp, NaryOp, ReduceOp};
use crate::problem::Problem;
use crate::syntax::ast::{Reduction, ReductionName};
use crate::term::{Node, TermId, Type};

impl<'a> Elaborator<'a> {
    /// `op[axes where domain](body)`
    pub(super) fn reduction(&mut self, span: Span, reduction: &'a Reduction) -> Option<TermId> {
        let axes = self.axis_list(&reduction.axes);
        let in_index = std::mem::replace(&mut self.in_index, false);
        let domain = match &reduction.domain {
            Some(domain) => self.truth(domain),
            None => Some(self.spec.terms.truth(true)),
        };
        let wants_truth = matches!(reduction.op, ReductionName::Any | ReductionName::All | ReductionName::Count);
        self.guards += usize::from(reduction.domain.is_some());
        let body = match &reduction.body {
            Some(body) if wants_truth => self.truth(body).map(Some),
            Some(body) => self.expr(body).map(Some),
            None => Some(None),
        };
        self.guards -= usize::from(reduction.domain.is_some());
        self.in_index = in_index;
        let (axes, domain) = (axes?, domain?);
        let body = match body? {
            Some(body) => body,
            None => self.spec.terms.truth(true),
        };
        self.reduce(span, reduction.op, &axes, domain, body)
    }

    fn reduce(
        &mut self,
        span: Span,
        op: ReductionName,
        axes: &[AxisId],
        domain: TermId,
        body: TermId,
    ) -> Option<TermId> {
        use ReductionName::*;
        let only = *axes.first()?;
        if matches!(op, ArgMax | ArgMin | CumSum | Rank) && axes.len() > 1 {
            return self.fail(Diagnostic::at(span, Problem::OneAxisOnly { reduction: op.name() }));
        }
        let terms = &mut self.spec.terms;
        let number = terms.as_number(body);
        Some(match op {
            Sum => self.nested(ReduceOp::Sum, axes, domain, number),
            Prod => self.nested(ReduceOp::Prod, axes, domain, number),
            Any => self.nested(ReduceOp::Any, axes, domain, body),
            All => self.nested(ReduceOp::All, axes, domain, body),
            ArgMax => terms.reduce(ReduceOp::ArgMax, only, domain, number),
            ArgMin => terms.reduce(ReduceOp::ArgMin, only, domain, number),
            Count => return self.count(span, axes, domain, body),
            Mean => return self.mean(span, axes, domain, number),
            CumSum => self.prefix_sum(only, domain, number),
            Rank => self.rank(only, domain, number),
            Max | Min | LogSumExp | Softmax => {
                let real = terms.as_real(number);
                match op {
                    Max => self.nested(ReduceOp::Max, axes, domain, real),
                    Min => self.nested(ReduceOp::Min, axes, domain, real),
                    LogSumExp => self.nested(ReduceOp::LogSumExp, axes, domain, real),
                    _ => self.softmax(axes, domain, real),
                }
            }
        })
    }

    /// The reduction over the first axis of that over the second, and so on.
    fn nested(&mut self, op: ReduceOp, axes: &[AxisId], domain: TermId, body: TermId) -> TermId {
        let domains = self.domains_by_axis(axes, domain);
        domains.into_iter().fold(body, |out, (axis, domain)| self.spec.terms.reduce(op, axis, domain, out))
    }

    /// The axes from the last to the first, each with its part of the domain: a conjunct stands at the innermost axis it
    /// mentions.
    fn domains_by_axis(&mut self, axes: &[AxisId], domain: TermId) -> Vec<(AxisId, TermId)> {
        let terms = &mut self.spec.terms;
        let mut conjuncts = terms.conditions(domain);
        let mut domains = Vec::new();
        for (at, axis) in axes.iter().enumerate().rev() {
            let (here, outer): (Vec<TermId>, Vec<TermId>) =
                conjuncts.into_iter().partition(|c| at == 0 || terms.free(*c).contains(*axis));
            conjuncts = outer;
            domains.push((*axis, terms.logic(NaryOp::And, &here)));
        }
        domains
    }

    /// The number of positions of the domain at which `body` holds: an extent where that is all of them.
    fn count(&mut self, span: Span, axes: &[AxisId], domain: TermId, body: TermId) -> Option<TermId> {
        let terms = &mut self.spec.terms;
        let domain = terms.logic(NaryOp::And, &[domain, body]);
        if *terms.node(domain) == Node::Bool(true) {
            let extents = axes.iter().map(|a| self.spec.axes[a.0 as usize].extent).collect();
            let folded = terms.arithmetic(NaryOp::Mul, extents);
            return self.folded(span, folded);
        }
        let one = terms.int(1);
        Some(self.nested(ReduceOp::Sum, axes, domain, one))
    }

    /// Sum over count; over an empty domain 0, as the count is then taken for 1.
    fn mean(&mut self, span: Span, axes: &[AxisId], domain: TermId, body: TermId) -> Option<TermId> {
        let whole = self.spec.terms.truth(true);
        let count = self.count(span, axes, domain, whole)?;
        let sum = self.nested(ReduceOp::Sum, axes, domain, body);
        let terms = &mut self.spec.terms;
        let mut count = count;
        if domain != whole {
            let one = terms.int(1);
            count = terms.nary(NaryOp::Max, vec![count, one]);
        }
        let folded = terms.quotient(BinaryOp::Div, sum, count);
        self.folded(span, folded)
    }

    /// Weights over several axes are the outer axis's, by the log-sum-exp over the inner ones, times the inner ones' own.
    fn softmax(&mut self, axes: &[AxisId], domain: TermId, body: TermId) -> TermId {
        let (mut score, mut weights) = (body, Vec::new());
        for (axis, domain) in self.domains_by_axis(axes, domain) {
            let terms = &mut self.spec.terms;
            weights.push(terms.add(Node::Softmax { axis, domain, body: score }));
            score = terms.reduce(ReduceOp::LogSumExp, axis, domain, score);
        }
        match weights[..] {
            [one] => one,
            _ => self.spec.terms.nary(NaryOp::Mul, weights),
        }
    }

    /// `domain` and `body` at the positions of a copy of `axis`, and the copy.
    fn at_copy(&mut self, axis: AxisId, domain: TermId, body: TermId) -> (AxisId, TermId, TermId) {
        let taken = self.spec.terms.free(domain).union(self.spec.terms.free(body));
        let copy = copied_axis(&mut self.spec, axis, &taken);
        let replacement = Replacement::from([(axis, self.spec.terms.position(copy))]);
        let domain = substitute(&mut self.spec, domain, &replacement);
        let body = substitute(&mut self.spec, body, &replacement);
        (copy, domain, body)
    }

    /// `cumsum[j where m](x)` is `sum[j' where m' and j' <= j](x')`.
    fn prefix_sum(&mut self, axis: AxisId, domain: TermId, body: TermId) -> TermId {
        let (copy, domain, body) = self.at_copy(axis, domain, body);
        let terms = &mut self.spec.terms;
        let (there, here) = (terms.position(copy), terms.position(axis));
        let before = terms.comparison(BinaryOp::Le, there, here);
        let domain = terms.logic(NaryOp::And, &[domain, before]);
        terms.reduce(ReduceOp::Sum, copy, domain, body)
    }

    /// `rank[j where m](x)` is the number of j' of the domain whose x' comes before x: x' is larger, or equal with
    /// j' < j; every number comes before a NaN, and NaNs stand in order of position.
    fn rank(&mut self, axis: AxisId, domain: TermId, body: TermId) -> TermId {
        // A rank that is read at a position compares weights read there with those of the copy: both in one form, so that
        // a position is never before itself.
        let body = with_weights_spelled_out(&mut self.spec, body, axis);
        let (copy, domain, other) = self.at_copy(axis, domain, body);
        let terms = &mut self.spec.terms;
        let (there, here) = (terms.position(copy), terms.position(axis));
        let earlier = terms.comparison(BinaryOp::Lt, there, here);
        let larger = terms.comparison(BinaryOp::Lt, body, other);
        let equal = terms.comparison(BinaryOp::Eq, other, body);
        let tied = terms.logic(NaryOp::And, &[equal, earlier]);
        let mut before = terms.logic(NaryOp::Or, &[larger, tied]);
        if terms.ty(body) == Type::Real {
            let is_nan = terms.binary(BinaryOp::Ne, body, body);
            let other_is_number = terms.binary(BinaryOp::Eq, other, other);
            let before_nan = terms.logic(NaryOp::Or, &[other_is_number, earlier]);
            before = terms.choice(is_nan, before_nan, before);
        }
        let domain = terms.logic(NaryOp::And, &[domain, before]);
        let one = terms.int(1);
        terms.reduce(ReduceOp::Sum, copy, domain, one)
    }
}
