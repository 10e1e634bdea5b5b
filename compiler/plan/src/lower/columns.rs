//! Running sums down the rows, of pairs of a row and a key.
//!
//! Scores may hold what the rows before had for the same key (`cumsum[i]` of something of i and j). A stage whose rows are
//! walked in order keeps a sum for each key: a chunk of rows goes through all keys first, one row after the other below
//! the sums so far, which are of f64, and what its rows come to is read wherever its tiles are. No more than a chunk of pairs
//! is kept.

use attnc_algebra::{AxisId, Carry, Node, TermId};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Dst, Stmt, TileId};
use crate::planner::{Planner, TILE};

use super::nest::{Binding, Dim, Frame, Nest};
use super::scan::WALK;

/// Such a sum: over `axis` up to the row, for each key.
#[derive(Clone, Copy)]
struct Columns {
    axis: AxisId,
    row: AxisId,
    keys: AxisId,
    decay: TermId,
    body: TermId,
}

impl Nest<'_, '_> {
    /// The rows down which a term inside a reduction over keys sums for each of these, if there is one: of the reductions
    /// whose results have `axes`.
    pub fn row_of_columns(planner: &Planner<'_>, term: TermId, axes: &[AxisId]) -> Option<AxisId> {
        let mut found = None;
        planner.find(term, &mut |t, node| {
            if let Node::Scan { carry: Carry::Sum, row, body, .. } = node {
                let mut others = planner.terms.free(t).iter().filter(|a| !axes.contains(a));
                // A short axis is one of features, unless what is summed is a score.
                let many = |keys: AxisId| {
                    !planner.is_short(keys) || planner.hint_extent(keys) > TILE && planner.has_reduction(*body)
                };
                if let (Some(keys), None) = (others.next(), others.next())
                    && axes.contains(row)
                    && many(keys)
                {
                    found = found.or(Some(*row));
                }
            }
            false
        });
        found
    }

    /// Lowers such a sum in a tile of rows and keys, inside the walk; `None` if it is of another kind.
    pub fn lower_columns(&mut self, term: TermId, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let Node::Scan { carry: Carry::Sum, axis, row, decay, body } = *self.planner.terms.node(term) else {
            return Ok(None);
        };
        let walked = self.sequential == Some(row) && frame.rows == Some(row) && self.current_depth() > WALK;
        let (Some(keys), true) = (frame.cols, walked) else { return Ok(None) };
        let free = self.planner.terms.free(term).without(keys);
        let tiled = |nest: &Self, a: AxisId| matches!(nest.binding(a), Binding::Tile(_));
        let inside = self.depth_of_axes(&free) > WALK;
        if inside || !tiled(self, keys) || !tiled(self, row) || self.lane(body, false) != self.program.compute {
            return Ok(None);
        }
        let key = self.line_key(term, Frame::new(Some(row), None), &free);
        let known = self.remembered(WALK, &key).and_then(|value| self.element_tile(value));
        let runs = match known {
            Some(tile) => tile,
            None => {
                let of = Columns { axis, row, keys, decay, body };
                let tile = self.at(WALK, |nest| nest.runs_of_chunk(of))?;
                let value = self.element(tile, frame);
                self.remember(WALK, key, value);
                tile
            }
        };
        let dim = self.dim(keys);
        let (at, col) = self.lane_index(frame);
        let step = self.x().int(dim.step);
        let far = self.x().times(col, step);
        let (place, lane) = (self.x().sum(dim.base, far), self.program.compute);
        Ok(Some(self.x().add(Expr::Tile { tile: runs, row: at, col: place }, Some(lane))))
    }

    /// A tile of what the rows of the chunk come to for all keys, after which the sums of the keys are those of the last.
    fn runs_of_chunk(&mut self, of: Columns) -> Result<TileId, PlanError> {
        let (one, keys) = (self.x().int(1), self.extent(of.keys));
        let (zero, nothing) = (self.x().int(0), self.x().real(Lane::F64, 0.0));
        let col = self.x().add(Expr::Col, None);
        let state = self.at(0, |nest| {
            let state = nest.tile("state", Lane::F64, one, keys);
            let dst = Dst::Tile { tile: state, row: zero, col };
            nest.emit(Stmt::Map { dst, rows: one, cols: keys, value: nothing });
            state
        });
        let height = self.caps(Frame::new(Some(of.row), None)).0;
        let runs = self.tile("runs", self.program.compute, height, keys);
        let (var, from) = self.var(Lane::I64);
        let cap = self.x().int(TILE);
        let left = self.x().difference(keys, from);
        let count = self.x().min(cap, left);
        let dim = Dim { base: from, count, cap, step: 1, aligned: true, block: None };
        let rows = self.dim(of.row);
        let body = self.inner(Some((of.keys, Binding::Tile(dim))), |nest| {
            let along = Binding::Tile(rows.clone());
            let stmts =
                nest.inner(Some((of.axis, along)), |nest| nest.run_down(of, (state, runs), (from, rows.count)))?;
            stmts.into_iter().for_each(|stmt| nest.emit(stmt));
            Ok(())
        })?;
        self.emit(Stmt::For { var, from: zero, to: keys, step: TILE, body });
        Ok(runs)
    }

    /// One row of the chunk after the other, for the keys from `from` on.
    fn run_down(
        &mut self,
        of: Columns,
        (state, runs): (TileId, TileId),
        (from, count): (ExprId, ExprId),
    ) -> Result<(), PlanError> {
        let frame = Frame::new(Some(of.axis), Some(of.keys));
        let lane = self.program.compute;
        let value = self.eval(of.body, frame, false)?;
        let own = self.as_tile("own", value, frame);
        let decay = if of.decay == self.planner.terms.real(1.0) {
            None
        } else {
            let value = self.eval(of.decay, frame, false)?;
            Some(self.as_tile("decay", value, frame))
        };
        let (zero, one, cols) = (self.x().int(0), self.x().int(1), self.counts(frame).1);
        let col = self.x().add(Expr::Col, None);
        let place = self.x().sum(from, col);
        let (var, at) = self.var(Lane::I64);
        let body = self.inner(None, |nest| {
            let mut read = |tile, lane, row, col| nest.x().add(Expr::Tile { tile, row, col }, Some(lane));
            let (old, own) = (read(state, Lane::F64, zero, place), read(own, lane, at, col));
            let factor = decay.map(|decay| read(decay, lane, at, col));
            let kept = factor.map_or(old, |factor| {
                let factor = nest.x().cast(Lane::F64, factor);
                nest.x().times(old, factor)
            });
            let own = nest.x().cast(Lane::F64, own);
            let value = nest.x().sum(kept, own);
            nest.emit(Stmt::Map { dst: Dst::Tile { tile: state, row: zero, col: place }, rows: one, cols, value });
            // What the state is by now.
            let value = nest.x().add(Expr::Tile { tile: state, row: zero, col: place }, Some(Lane::F64));
            let value = nest.x().cast(lane, value);
            nest.emit(Stmt::Map { dst: Dst::Tile { tile: runs, row: at, col: place }, rows: one, cols, value });
            Ok(())
        })?;
        self.emit(Stmt::For { var, from: zero, to: count, step: 1, body });
        Ok(())
    }
}
