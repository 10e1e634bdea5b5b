//! Sums over a short axis whose terms hold `tanh` of what rows bring and what columns bring, one added to the other.
//!
//! No product of matrices, but as regular as one: a microkernel of the same form.

use attnc_algebra::{NaryOp, Node, TermId, UnaryOp};

use crate::error::PlanError;
use crate::loops::Stmt;
use crate::loops::expr::{ExprId, Lane};

use super::nest::{Frame, Nest};
use super::reduce::Reduction;

/// The parts of such a term.
struct Parts {
    /// Factors beside the function, free of the columns.
    weights: Vec<TermId>,
    /// Summands of its argument that are free of the columns.
    lhs: Vec<TermId>,
    /// The others, free of the rows.
    rhs: Vec<TermId>,
}

impl Nest<'_, '_> {
    /// Lowers such a sum; `None` if it is not of this form.
    pub fn lower_through_tanh(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let whole = self.planner.is_short(r.axis) && self.is_true(r.domain);
        if frame.cols.is_none() || !whole || self.program.compute != Lane::F32 {
            return Ok(None);
        }
        let Some(parts) = self.through_tanh(r, frame) else { return Ok(None) };
        let acc = self.frame_tile("acc", Lane::F32, frame);
        self.with_whole(r.axis, |nest| nest.through_tanh_step(r, parts, frame, acc))?;
        Ok(Some(self.element(acc, frame)))
    }

    fn through_tanh(&mut self, r: Reduction, frame: Frame) -> Option<Parts> {
        let varies = |nest: &Self, t: TermId, axis| nest.planner.terms.free(t).contains(axis);
        let (rows, cols) = (frame.rows, frame.cols?);
        let (mut weights, mut argument) = (Vec::new(), None);
        for factor in self.planner.factors(r.body) {
            match *self.planner.terms.node(factor) {
                _ if !varies(self, factor, cols) => weights.push(factor),
                Node::Unary(UnaryOp::Tanh, x) if argument.is_none() => argument = Some(x),
                _ => return None,
            }
        }
        let Node::Nary(NaryOp::Add, summands) = self.planner.terms.node(argument?).clone() else { return None };
        let (rhs, lhs): (Vec<TermId>, Vec<TermId>) = summands.into_iter().partition(|x| varies(self, *x, cols));
        let both = rows.is_some_and(|rows| rhs.iter().any(|x| varies(self, *x, rows)));
        (!lhs.is_empty() && !both).then_some(Parts { weights, lhs, rhs })
    }

    fn through_tanh_step(
        &mut self,
        r: Reduction,
        parts: Parts,
        frame: Frame,
        acc: crate::loops::TileId,
    ) -> Result<(), PlanError> {
        let weight = self.planner.product(parts.weights);
        let [lhs, rhs] = [parts.lhs, parts.rhs].map(|summands| match summands[..] {
            [one] => one,
            _ => self.planner.terms.nary(NaryOp::Add, summands),
        });
        let weight_rows = frame.rows.is_some_and(|rows| self.planner.terms.free(weight).contains(rows));
        let weight_frame = Frame::new(if weight_rows { frame.rows } else { None }, Some(r.axis));
        let weight = self.lhs_view(weight, weight_frame)?;
        let lhs = self.lhs_view(lhs, Frame::new(frame.rows, Some(r.axis)))?;
        let rhs = self.rhs_view(rhs, Frame::new(Some(r.axis), frame.cols))?;
        let ((rows, cols), depth) = (self.counts(frame), self.dim(r.axis).count);
        let dst = self.tile_view(acc);
        self.emit(Stmt::ProductTanh { dst, weight, weight_rows, lhs, rhs, rows, cols, depth, accumulate: false });
        Ok(())
    }
}
