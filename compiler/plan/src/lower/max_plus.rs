//! Largest and least sums as max-plus products.
//!
//! `max[x](L(rows, x) + R(x, cols))`: as a sum of products does ([`super::contract`]), with summands for factors, addition
//! for multiplication and the maximum for the sum. A tile of what the rows know is computed once and meets all columns.

use attnc_algebra::{AxisId, NaryOp, Node, ReduceOp, TermId};

use crate::error::PlanError;
use crate::loops::expr::ExprId;
use crate::loops::{Stmt, TileId};
use crate::planner::{CHUNK, Planner};

use super::nest::{Frame, Nest};
use super::reduce::Reduction;

/// The summands of a body, split by the axes of a frame.
pub(super) struct Summands {
    /// Free of the columns.
    pub lhs: TermId,
    /// Free of the rows.
    pub rhs: TermId,
}

impl Planner<'_> {
    /// The summands with the rows, and those with the columns; `None` if one has both, or there are none on a side, or
    /// the domain has the columns.
    pub(super) fn sides_of_sum(
        &self,
        (body, domain): (TermId, TermId),
        rows: Option<AxisId>,
        cols: Option<AxisId>,
    ) -> Option<[Vec<TermId>; 2]> {
        let (rows, cols) = (rows?, cols?);
        let has = |t: TermId, axis: AxisId| self.terms.free(t).contains(axis);
        let Node::Nary(NaryOp::Add, summands) = self.terms.node(body) else { return None };
        let tied = |t: &TermId| has(*t, rows) && has(*t, cols);
        if has(domain, cols) || summands.iter().any(tied) {
            return None;
        }
        let (rhs, lhs): (Vec<TermId>, Vec<TermId>) = summands.iter().partition(|t| has(**t, cols));
        (!rhs.is_empty() && lhs.iter().any(|t| has(*t, rows))).then_some([lhs, rhs])
    }
}

impl Nest<'_, '_> {
    /// The summands of a reduction over a frame.
    pub(super) fn split_sum(&mut self, r: Reduction, frame: Frame) -> Option<Summands> {
        let split = self.planner.sides_of_sum((r.body, r.domain), frame.rows, frame.cols)?;
        let [lhs, rhs] = split.map(|summands| match summands[..] {
            [one] => one,
            _ => self.planner.terms.nary(NaryOp::Add, summands),
        });
        Some(Summands { lhs, rhs })
    }

    /// Lowers such a maximum or minimum; `None` if it is not of this form.
    pub fn lower_max_plus(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        if !matches!(r.op, ReduceOp::Max | ReduceOp::Min) || self.lane(r.body, false) != self.program.compute {
            return Ok(None);
        }
        let Some(split) = self.split_sum(r, frame) else { return Ok(None) };
        let acc = self.frame_tile("acc", self.program.compute, frame);
        let start = self.constant(r.op.identity());
        self.map(acc, frame, start);
        if self.planner.is_short(r.axis) && self.is_true(r.domain) {
            self.with_whole(r.axis, |nest| nest.max_plus_step(r, &split, frame, acc, None))?;
        } else {
            self.for_tiles(r.axis, r.domain, (CHUNK, false), &mut |nest, domain, partial| {
                nest.max_plus_step(Reduction { domain, ..r }, &split, frame, acc, partial)
            })?;
        }
        Ok(Some(self.element(acc, frame)))
    }

    fn max_plus_step(
        &mut self,
        r: Reduction,
        split: &Summands,
        frame: Frame,
        acc: TileId,
        partial: Option<ExprId>,
    ) -> Result<(), PlanError> {
        let left = Frame::new(frame.rows, Some(r.axis));
        let lhs = match partial {
            None => self.lhs_view(split.lhs, left)?,
            Some(partial) => self.masked_lhs(split.lhs, r.domain, left, (partial, r.op.identity()))?.0,
        };
        let rhs = self.rhs_view(split.rhs, Frame::new(Some(r.axis), frame.cols))?;
        let ((rows, cols), depth) = (self.counts(frame), self.dim(r.axis).count);
        let (dst, least) = (self.tile_view(acc), r.op == ReduceOp::Min);
        self.emit(Stmt::MaxPlus { dst, lhs, rhs, rows, cols, depth, least, masked: partial });
        Ok(())
    }
}
