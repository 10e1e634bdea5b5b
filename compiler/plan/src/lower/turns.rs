//! Softmax over several axes.
//!
//! Its weights are those of an outer axis, by the log-sum-exp over an inner one, times the inner one's own. An online
//! softmax does not ask where its scores are from: the positions of the shorter axis take turns, and those of the other
//! run along tiles, so that each score is exponentiated once and no log-sum-exp of the inner axis is computed.

use attnc_algebra::{AxisId, NaryOp, Node, ReduceOp, TermId};

use crate::error::PlanError;
use crate::loops::Stmt;
use crate::loops::expr::Lane;

use super::nest::{Binding, Frame, Nest};

/// A softmax over two axes, as one over `axis` for each position of `turns`.
pub(super) struct Turns {
    pub turns: AxisId,
    pub axis: AxisId,
    pub domain: TermId,
    pub score: TermId,
    /// What the weights meet, if anything.
    pub value: Option<TermId>,
}

impl Nest<'_, '_> {
    /// A softmax along `axis` whose score is a log-sum-exp over another, as one over both; `None` if it is of another kind.
    pub fn turns(
        &mut self,
        (axis, domain): (AxisId, TermId),
        score: TermId,
        value: Option<TermId>,
        frame: Frame,
    ) -> Option<Turns> {
        let Node::Reduce { op: ReduceOp::LogSumExp, axis: inner, domain: own, body } = *self.planner.terms.node(score)
        else {
            return None;
        };
        // Outside of the log-sum-exp the axis means another position.
        let outside = [Some(domain), value].into_iter().flatten().any(|t| self.planner.terms.free(t).contains(inner));
        if outside || [frame.rows, frame.cols].contains(&Some(inner)) {
            return None;
        }
        let value = value.map(|value| self.value_of_turns(value, (inner, own, body)));
        let domain = match (self.is_true(domain), self.is_true(own)) {
            (true, _) => own,
            (_, true) => domain,
            _ => {
                let parts = [domain, own].map(|part| self.planner.terms.conditions(part)).concat();
                self.planner.terms.nary(NaryOp::And, parts)
            }
        };
        let longer = self.planner.hint_extent(inner) > self.planner.hint_extent(axis);
        let (turns, axis) = if longer { (axis, inner) } else { (inner, axis) };
        Some(Turns { turns, axis, domain, score: body, value })
    }

    /// Values that are sums over the inner axis's own weights, as what these meet; others as they are.
    fn value_of_turns(&mut self, value: TermId, (inner, own, body): (AxisId, TermId, TermId)) -> TermId {
        let mut factors = self.planner.factors(value);
        let found = factors.iter().enumerate().find_map(|(at, factor)| match *self.planner.terms.node(*factor) {
            Node::Attend { axis, domain, score, value } if (axis, domain, score) == (inner, own, body) => {
                Some((at, value))
            }
            _ => None,
        });
        let Some((at, within)) = found else { return value };
        factors[at] = within;
        self.planner.product(factors)
    }

    /// Loops over the positions of an axis.
    pub fn for_turns(
        &mut self,
        turns: AxisId,
        body: impl FnOnce(&mut Self) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let (var, at) = self.var(Lane::I64);
        let body = self.inner(Some((turns, Binding::Fixed(at))), body)?;
        let (from, to) = (self.x().int(0), self.extent(turns));
        self.emit(Stmt::For { var, from, to, step: 1, body });
        Ok(())
    }
}
