//! Scans of scores along the rows of a scan stage: softmax over a prefix whose scores the rows do not know.
//!
//! The rows are walked in order with the state in tiles: a running maximum, the sum of the exponentials below it, and the
//! weighted sum of the values (Milakov and Gimelshein, arXiv 1805.02867). A chunk of rows goes through the maxima first;
//! its exponentials are then a map of whole tiles, and none is above 1. Elsewhere each lane walks its own prefix.

use attnc_algebra::{AxisId, BinaryOp, Carry, NaryOp, TermId, UnaryOp};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Dst, Stmt, TileId};

use super::nest::{Binding, Frame, Nest};

/// A scan of scores taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Online {
    axis: AxisId,
    row: AxisId,
    decay: TermId,
    score: TermId,
    /// What the scores weigh; `None` for their log-sum-exp.
    value: Option<TermId>,
}

impl Online {
    /// The scan of scores with this carry.
    pub fn new(carry: Carry, (axis, row): (AxisId, AxisId), decay: TermId, body: TermId) -> Self {
        match carry {
            Carry::Attend(score) => Self { axis, row, decay, score, value: Some(body) },
            _ => Self { axis, row, decay, score: body, value: None },
        }
    }
}

/// What scans of the same scores share in one chunk: tiles of its rows by what the scores know of the columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    frame: Frame,
    /// What becomes of the state at a row.
    fade: TileId,
    /// The row's own weight beside it.
    weight: TileId,
    /// The maximum so far.
    top: TileId,
    /// The sum of the exponentials so far.
    sum: TileId,
}

impl Nest<'_, '_> {
    /// Lowers a scan of scores.
    pub fn lower_online(
        &mut self,
        term: TermId,
        scan: &Online,
        frame: Frame,
        exact: bool,
    ) -> Result<ExprId, PlanError> {
        if exact || !self.walks(term, frame) {
            return self.online_in_turns(scan, frame, exact);
        }
        let weights = self.online_weights(scan, frame)?;
        match scan.value {
            Some(value) => self.online_values(scan, value, &weights, frame),
            None => {
                let [top, sum] = [weights.top, weights.sum].map(|tile| self.element(tile, weights.frame));
                let log = self.x().unary(UnaryOp::Log, sum);
                let lane = self.program.compute;
                let top = self.x().cast(lane, top);
                Ok(self.x().sum(top, log))
            }
        }
    }

    /// The frame of a scan's weights: they need not know the columns.
    fn weights_frame(&self, scan: &Online, frame: Frame) -> Frame {
        let knows = |a: &AxisId| [scan.score, scan.decay].iter().any(|t| self.planner.terms.free(*t).contains(*a));
        Frame::new(frame.rows, frame.cols.filter(knows))
    }

    /// The weights of a chunk.
    fn online_weights(&mut self, scan: &Online, frame: Frame) -> Result<Weights, PlanError> {
        let frame = self.weights_frame(scan, frame);
        let key = (scan.score, scan.decay, frame);
        if let Some(known) = self.onlines.get(&key) {
            return Ok(*known);
        }
        let lane = self.program.compute;
        let line = Frame::new(None, frame.cols);
        let (low, zero) = (self.x().real(Lane::F64, f64::NEG_INFINITY), self.x().real(lane, 0.0));
        let [max, total] = self.at(0, |nest| {
            [("m", Lane::F64, low), ("l", lane, zero)].map(|(name, lane, value)| {
                let tile = nest.frame_tile(name, lane, line);
                nest.map(tile, line, value);
                tile
            })
        });
        let [fade, weight, sum] = ["fade", "weight", "sum"].map(|name| self.frame_tile(name, lane, frame));
        let top = self.frame_tile("top", Lane::F64, frame);
        let weights = Weights { frame, fade, weight, top, sum };
        self.online_maxima(scan, &weights, max)?;
        for tile in [fade, weight] {
            let below = self.element(tile, frame);
            let value = self.x().unary(UnaryOp::Exp, below);
            self.map(tile, frame, value);
        }
        self.each_row(scan, frame, &mut |nest, at| {
            let [old, fade, weight] =
                [(total, None), (fade, Some(at)), (weight, Some(at))].map(|(tile, at)| nest.element_at(tile, at, line));
            let kept = nest.x().times(old, fade);
            let new = nest.x().sum(kept, weight);
            nest.map(total, line, new);
            let value = nest.element(total, line);
            nest.map_row(sum, at, line, value);
        })?;
        self.onlines.insert(key, weights);
        Ok(weights)
    }

    /// Goes through the maxima of a chunk, and leaves what the state and the row's own weight are below them. In f64:
    /// a decay is added to the same maximum many times over.
    fn online_maxima(&mut self, scan: &Online, weights: &Weights, max: TileId) -> Result<(), PlanError> {
        let line = Frame::new(None, weights.frame.cols);
        let lane = self.program.compute;
        let dim = self.dim(scan.row);
        let keys = Frame::new(Some(scan.axis), weights.frame.cols);
        let mut tiles = Vec::new();
        let stmts = self.inner(Some((scan.axis, Binding::Tile(dim))), |nest| {
            for (name, term) in [("score", scan.score), ("decay", scan.decay)] {
                let value = nest.eval(term, keys, false)?;
                tiles.push(nest.as_tile(name, value, keys));
            }
            Ok(())
        })?;
        stmts.into_iter().for_each(|stmt| self.emit(stmt));
        let (score, decay) = (tiles[0], tiles[1]);
        self.each_row(scan, weights.frame, &mut |nest, at| {
            let old = nest.element(max, line);
            let [own, decay] = [score, decay].map(|tile| {
                let value = nest.element_at(tile, Some(at), line);
                nest.x().cast(Lane::F64, value)
            });
            let kept = nest.x().sum(old, decay);
            let new = nest.x().nary(NaryOp::Max, &[kept, own]);
            nest.map_row(weights.top, at, line, new);
            // Below nothing all is nothing.
            let new = nest.element_at(weights.top, Some(at), line);
            let (low, zero) = (nest.x().real(Lane::F64, f64::NEG_INFINITY), nest.x().real(Lane::F64, 0.0));
            let none = nest.x().binary(BinaryOp::Eq, new, low);
            let base = nest.choose(none, zero, new);
            for (tile, value) in [(weights.fade, kept), (weights.weight, own)] {
                let below = nest.x().difference(value, base);
                let below = nest.x().cast(lane, below);
                nest.map_row(tile, at, line, below);
            }
            nest.map(max, line, new);
        })
    }

    /// The weighted sums of values over those of the weights.
    fn online_values(
        &mut self,
        scan: &Online,
        value: TermId,
        weights: &Weights,
        frame: Frame,
    ) -> Result<ExprId, PlanError> {
        let lane = self.program.compute;
        let line = Frame::new(None, frame.cols);
        let weight_line = Frame::new(None, weights.frame.cols);
        let zero = self.x().real(lane, 0.0);
        let state = self.at(0, |nest| {
            let state = nest.frame_tile("state", lane, line);
            nest.map(state, line, zero);
            state
        });
        let acc = self.frame_tile("acc", lane, frame);
        let dim = self.dim(scan.row);
        let (var, t) = self.var(Lane::I64);
        let at = self.x().sum(dim.base, t);
        let body = self.inner(Some((scan.axis, Binding::Fixed(at))), |nest| {
            let value = nest.eval(value, line, false)?;
            let value = nest.x().cast(lane, value);
            let [fade, weight] = [weights.fade, weights.weight].map(|tile| nest.element_at(tile, Some(t), weight_line));
            let old = nest.element(state, line);
            let (kept, own) = (nest.x().times(old, fade), nest.x().times(weight, value));
            let new = nest.x().sum(kept, own);
            nest.map(state, line, new);
            let new = nest.element(state, line);
            nest.map_row(acc, t, line, new);
            Ok(())
        })?;
        let from = self.x().int(0);
        self.emit(Stmt::For { var, from, to: dim.count, step: 1, body });
        let (acc, sum) = (self.element(acc, frame), self.element(weights.sum, weights.frame));
        Ok(self.mean(acc, frame, sum, weights.frame))
    }

    /// Emits a loop over the rows of a chunk.
    fn each_row(
        &mut self,
        scan: &Online,
        frame: Frame,
        body: &mut dyn FnMut(&mut Self, ExprId),
    ) -> Result<(), PlanError> {
        let (var, at) = self.var(Lane::I64);
        let rows = self.counts(frame).0;
        let stmts = self.inner(None, |nest| {
            body(nest, at);
            Ok(())
        })?;
        debug_assert_eq!(frame.rows, Some(scan.row));
        let from = self.x().int(0);
        self.emit(Stmt::For { var, from, to: rows, step: 1, body: stmts });
        Ok(())
    }

    /// The element of a tile at a row, or at its only one, and the lane's column.
    fn element_at(&mut self, tile: TileId, row: Option<ExprId>, line: Frame) -> ExprId {
        let lane = self.program.tiles[tile.0 as usize].lane;
        let (first, col) = self.lane_index(line);
        self.x().add(Expr::Tile { tile, row: row.unwrap_or(first), col }, Some(lane))
    }

    /// Emits `tile[row, line] = value`.
    pub(super) fn map_row(&mut self, tile: TileId, row: ExprId, line: Frame, value: ExprId) {
        let (_, col) = self.lane_index(line);
        let (rows, cols) = self.counts(line);
        self.emit(Stmt::Map { dst: Dst::Tile { tile, row, col }, rows, cols, value });
    }

    /// The prefix of every lane from its start, in axis order: where the state cannot stay with the rows.
    fn online_in_turns(&mut self, scan: &Online, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        let lane = self.real_lane(exact);
        let [sum, acc, fade, weight] = ["l", "state", "fade", "weight"].map(|name| self.frame_tile(name, lane, frame));
        let max = self.frame_tile("m", Lane::F64, frame);
        let (low, zero) = (self.x().real(Lane::F64, f64::NEG_INFINITY), self.x().real(lane, 0.0));
        for (tile, value) in [(max, low), (sum, zero), (acc, zero)] {
            self.map(tile, frame, value);
        }
        let own = self.position(scan.row, frame);
        let (var, at) = self.var(Lane::I64);
        let body = self.inner(Some((scan.axis, Binding::Fixed(at))), |nest| {
            let [decay, score] = [nest.eval(scan.decay, frame, exact)?, nest.eval(scan.score, frame, exact)?]
                .map(|value| nest.x().cast(Lane::F64, value));
            let mut parts = vec![(sum, nest.x().real(lane, 1.0))];
            if let Some(value) = scan.value {
                let value = nest.eval(value, frame, exact)?;
                parts.push((acc, nest.x().cast(lane, value)));
            }
            let seen = nest.x().binary(BinaryOp::Le, at, own);
            let old = nest.element(max, frame);
            let kept = nest.x().sum(old, decay);
            let top = nest.x().nary(NaryOp::Max, &[kept, score]);
            let top = nest.spill("top", top, frame);
            let none = nest.x().binary(BinaryOp::Eq, top, low);
            let nothing = nest.x().real(Lane::F64, 0.0);
            let base = nest.choose(none, nothing, top);
            for (tile, value) in [(fade, kept), (weight, score)] {
                let below = nest.x().difference(value, base);
                let below = nest.x().cast(lane, below);
                let value = nest.x().unary(UnaryOp::Exp, below);
                nest.map(tile, frame, value);
            }
            let [fade, weight] = [fade, weight].map(|tile| nest.element(tile, frame));
            for (tile, value) in parts {
                let old = nest.element(tile, frame);
                let (kept, own) = (nest.x().times(old, fade), nest.x().times(weight, value));
                let new = nest.x().sum(kept, own);
                let new = nest.choose(seen, new, old);
                nest.map(tile, frame, new);
            }
            let new = nest.choose(seen, top, old);
            nest.map(max, frame, new);
            Ok(())
        })?;
        let (from, to) = (self.x().int(0), self.extent(scan.axis));
        self.emit(Stmt::For { var, from, to, step: 1, body });
        let [max, sum, acc] = [max, sum, acc].map(|tile| self.element(tile, frame));
        match scan.value {
            Some(_) => Ok(self.mean(acc, frame, sum, frame)),
            None => {
                let log = self.x().unary(UnaryOp::Log, sum);
                let max = self.x().cast(lane, max);
                Ok(self.x().sum(max, log))
            }
        }
    }
}
