//! What a row's list adds to columns: `sum[r where nb[i, r] == j](w)`.
//!
//! Compared pair by pair, each column asks each entry of the list whether it is meant. Each entry instead adds to the
//! column that it names.

use attnc_algebra::{AxisId, BinaryOp, Node, ReduceOp, TermId};

use crate::error::PlanError;
use crate::loops::Stmt;
use crate::loops::expr::{ExprId, Lane};

use super::nest::{Frame, Nest};
use super::reduce::Reduction;

impl Nest<'_, '_> {
    /// A sum over the entries of a list whose place is the column; `None` if it is none.
    pub(super) fn lower_scattered(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let Some(cols) = frame.cols else { return Ok(None) };
        if r.op != ReduceOp::Sum || self.lane(r.body, false) != self.program.compute {
            return Ok(None);
        }
        let conditions = self.planner.terms.conditions(r.domain);
        let of_cols = |nest: &Self, t: TermId| nest.planner.terms.free(t).contains(cols);
        let (named, others): (Vec<TermId>, Vec<TermId>) = conditions.into_iter().partition(|t| of_cols(self, *t));
        let [named] = named[..] else { return Ok(None) };
        let Some(place) = self.place_named(named, cols) else { return Ok(None) };
        let entries = self.planner.terms.free(place).contains(r.axis);
        let fits = self.planner.is_short(r.axis) && self.dim(cols).step == 1 && frame.rows != Some(r.axis);
        if !entries || !fits || of_cols(self, r.body) {
            return Ok(None);
        }
        let lane = self.program.compute;
        let (dst, zero) = (self.frame_tile("sums", lane, frame), self.constant(0.0));
        self.map(dst, frame, zero);
        let (first, width) = (self.dim(cols).base, self.counts(frame).1);
        self.with_whole(r.axis, |nest| {
            let of_list = Frame::new(frame.rows, Some(r.axis));
            let at = nest.eval(place, of_list, false)?;
            let at = nest.x().difference(at, first);
            let at = nest.x().cast(Lane::I64, at);
            let mut added = nest.eval(r.body, of_list, false)?;
            for condition in others {
                let (holds, zero) = (nest.eval(condition, of_list, false)?, nest.constant(0.0));
                added = nest.choose(holds, added, zero);
            }
            let (at, src) = (nest.as_tile("at", at, of_list), nest.as_tile("added", added, of_list));
            let (rows, cols) = nest.counts(of_list);
            nest.emit(Stmt::ScatterAdd { dst, src, at, rows, cols, width });
            Ok(())
        })?;
        Ok(Some(self.element(dst, frame)))
    }

    /// What the position of a column must be.
    fn place_named(&self, condition: TermId, cols: AxisId) -> Option<TermId> {
        let Node::Binary(BinaryOp::Eq, x, y) = *self.planner.terms.node(condition) else { return None };
        let is_column = |t: TermId| *self.planner.terms.node(t) == Node::Position(cols);
        let other = |t: TermId| !self.planner.terms.free(t).contains(cols);
        match (is_column(x), is_column(y)) {
            (true, false) if other(y) => Some(y),
            (false, true) if other(x) => Some(x),
            _ => None,
        }
    }
}
