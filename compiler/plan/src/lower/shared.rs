//! Reductions over keys of what rows and keys share for all columns: `max[j](score + v)`, `sum[j](relu(score + v))`.
//!
//! The score is a reduction of each row and key. A tile of it is computed once, and then each of its keys takes its
//! turn: its column of the tile with the key's own line, for all rows and columns at once.

use attnc_algebra::{ReduceOp, TermId};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Dst, Stmt, TileId};
use crate::planner::CHUNK;

use super::nest::{Binding, Frame, Nest};
use super::reduce::Reduction;

impl Nest<'_, '_> {
    /// Folds into the accumulator by tiles of the reduced axis; false if nothing is shared by the columns.
    pub(super) fn fold_in_tiles(
        &mut self,
        r: Reduction,
        frame: Frame,
        (acc, place): (TileId, (ExprId, ExprId)),
    ) -> Result<bool, PlanError> {
        let shared = self.shared_by_columns(r, frame);
        if shared.is_empty() {
            return Ok(false);
        }
        self.for_tiles(r.axis, r.domain, (CHUNK, false), &mut |nest, domain, partial| {
            let across = Frame::new(frame.rows, Some(r.axis));
            let mut held = Vec::new();
            for term in &shared {
                let value = nest.eval(*term, across, false)?;
                held.push((*term, nest.as_tile("s", value, across)));
            }
            let keys = nest.dim(r.axis).clone();
            let (var, key) = nest.var(Lane::I64);
            let step = nest.x().int(keys.step);
            let along = nest.x().times(step, key);
            let at = nest.x().sum(keys.base, along);
            let body = nest.inner(Some((r.axis, Binding::Fixed(at))), |nest| {
                nest.hold(&held, Frame::new(frame.rows, None), key);
                nest.fold_one(Reduction { domain, ..r }, frame, partial, (acc, place))
            })?;
            let zero = nest.x().int(0);
            nest.emit(Stmt::For { var, from: zero, to: keys.count, step: 1, body });
            Ok(())
        })?;
        Ok(true)
    }

    /// The reductions inside that rows and the reduced axis have, and the columns not.
    fn shared_by_columns(&self, r: Reduction, frame: Frame) -> Vec<TermId> {
        let (Some(rows), Some(cols)) = (frame.rows, frame.cols) else { return Vec::new() };
        // A log-sum-exp has no quick step, and what decides is taken in order.
        if !matches!(r.op, ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min) {
            return Vec::new();
        }
        let (mut shared, mut open) = (Vec::new(), vec![r.body]);
        while let Some(term) = open.pop() {
            let node = self.planner.terms.node(term);
            let free = self.planner.terms.free(term);
            if !node.runs_over_axis() {
                open.extend(node.operands());
            } else if free.contains(rows) && free.contains(r.axis) && !free.contains(cols) && !shared.contains(&term) {
                shared.push(term);
            }
        }
        shared.sort_unstable();
        shared
    }

    /// Remembers the column of a tile as what a term is at one key.
    fn hold(&mut self, held: &[(TermId, TileId)], rows: Frame, key: ExprId) {
        for (term, tile) in held {
            let (row, lane) = (self.lane_index(rows).0, self.program.tiles[tile.0 as usize].lane);
            let value = self.x().add(Expr::Tile { tile: *tile, row, col: key }, Some(lane));
            let (depth, memo) = (self.depth_of(*term), self.key(*term, rows, false));
            self.remember(depth, memo, value);
        }
    }

    /// One key's step of a fold, for the rows that see it.
    fn fold_one(
        &mut self,
        r: Reduction,
        frame: Frame,
        partial: Option<ExprId>,
        (acc, (row, col)): (TileId, (ExprId, ExprId)),
    ) -> Result<(), PlanError> {
        let lane = self.program.tiles[acc.0 as usize].lane;
        let old = self.x().add(Expr::Tile { tile: acc, row, col }, Some(lane));
        let value = self.eval(r.body, frame, false)?;
        let value = self.x().cast(lane, value);
        let mut new = self.fold(r.op, old, value);
        if let Some(partial) = partial {
            let domain = self.eval(r.domain, frame, false)?;
            let full = self.not(partial);
            let seen = self.or(full, domain);
            new = self.choose(seen, new, old);
        }
        let (rows, cols) = self.counts(frame);
        self.emit(Stmt::Map { dst: Dst::Tile { tile: acc, row, col }, rows, cols, value: new });
        Ok(())
    }
}
