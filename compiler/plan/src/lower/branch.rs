//! `if` between terms that reduce: a branch that no element of the tile takes
//! is not computed.

use attnc_algebra::TermId;

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Stmt, TileId};

use super::nest::{Frame, Nest};

/// A selection taken apart.
#[derive(Clone, Copy)]
pub(crate) struct Branches {
    /// The condition.
    pub condition: TermId,
    /// Taken where it holds.
    pub then: TermId,
    /// Taken elsewhere.
    pub otherwise: TermId,
}

impl Nest<'_, '_> {
    /// Lowers a selection with a reduction in a branch, if its condition is
    /// decided on some tiles; `None` otherwise.
    pub fn eval_branches(
        &mut self,
        branches: Branches,
        lane: Lane,
        frame: Frame,
        exact: bool,
    ) -> Result<Option<ExprId>, PlanError> {
        let Branches { condition, then, otherwise } = branches;
        let reduces = self.planner.has_reduction(then) || self.planner.has_reduction(otherwise);
        if frame.rows.is_none() || !reduces {
            return Ok(None);
        }
        let truth = self.truth(condition);
        if self.truth_of(truth.must) == Some(false) && self.truth_of(truth.may) == Some(true) {
            return Ok(None);
        }
        let needed = self.not(truth.must);
        let first = self.eval_branch(then, truth.may, lane, frame, exact)?;
        let second = self.eval_branch(otherwise, needed, lane, frame, exact)?;
        let condition = self.eval(condition, frame, exact)?;
        let (first, second) = (self.element(first, frame), self.element(second, frame));
        Ok(Some(self.x().add(Expr::Select(condition, first, second), None)))
    }

    /// One branch in a tile of its own, computed if `needed`.
    fn eval_branch(
        &mut self,
        term: TermId,
        needed: ExprId,
        lane: Lane,
        frame: Frame,
        exact: bool,
    ) -> Result<TileId, PlanError> {
        let tile = self.frame_tile("branch", lane, frame);
        let rows = frame.rows.expect("checked by the caller");
        // Bound again inside the condition, so that what varies with the rows stays there.
        let along = self.binding(rows).clone();
        let then = self.inner(Some((rows, along)), |nest| {
            let value = nest.eval(term, frame, exact)?;
            let value = nest.x().cast(lane, value);
            nest.map(tile, frame, value);
            Ok(())
        })?;
        match self.truth_of(needed) {
            Some(true) => then.into_iter().for_each(|s| self.emit(s)),
            Some(false) => {}
            None => self.emit(Stmt::If { cond: needed, then, otherwise: Vec::new() }),
        }
        Ok(tile)
    }
}
