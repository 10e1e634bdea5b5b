//! Running reductions along the keys of a row: over all positions on one side of the column's own.
//!
//! What a row has between two keys, or from a key on (the rest of a stick that later keys broke, a position counted by
//! gates), is a reduction for each pair. Here the blocks of a row's positions are reduced once, each row's from its
//! far end, and a tile goes on from what lies beyond its block, one column after the other. Nothing is subtracted or
//! divided, so that it serves products and extrema as well as sums, whatever they meet, and loses no digits.

use attnc_algebra::{AxisId, BinaryOp, Carry, NaryOp, Node, ReduceOp, TermId};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Dst, Stmt, TileId};
use crate::planner::TILE;

use super::extent;
use super::nest::{Binding, Dim, Frame, Nest};
use super::reduce::Reduction;
use super::shape::FEW;

/// The positions that a running reduction goes over.
struct Side {
    /// Whether it goes over those behind the column's own, else over those before it.
    behind: bool,
    /// Whether it goes over the column's own.
    own: bool,
    /// What else a position must fulfil, whatever the column.
    rest: TermId,
}

impl Nest<'_, '_> {
    /// Lowers `op[t where j < t and p](x)`, or of another comparison of the column j with t, where p and x are free of j
    /// x has t free, and x or p the rows; `None` if it is of another kind. Sums over what both ends of a segment bound are
    /// differences of prefixes where the rows are in p alone ([`super::segment`]).
    pub fn lower_running(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let joins = matches!(r.op, ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min);
        let (Some(rows), Some(cols), true) = (frame.rows, frame.cols, joins) else { return Ok(None) };
        let Some((side, width)) = self.running_side(r, rows, cols) else { return Ok(None) };
        let free = self.planner.terms.free(r.body).union(self.planner.terms.free(side.rest)).without(r.axis);
        let (depth, line) = (self.depth_of_axes(&free), Frame::new(Some(rows), None));
        let term = self.planner.terms.reduce(r.op, r.axis, r.domain, r.body);
        let key = self.line_key(term, line, &free);
        let limit = self.extent(r.axis);
        let blocks = extent::blocks(self.x(), limit, width);
        let known = self.remembered(depth, &key).and_then(|value| self.element_tile(value));
        let known = known.filter(|tile| self.program.tiles[tile.0 as usize].cols == blocks);
        let beyond = match known {
            Some(tile) => tile,
            None => {
                let tile = self.at(depth, |nest| nest.reduced_blocks(r, &side, rows, width))?;
                let value = self.element(tile, line);
                self.remember(depth, key, value);
                tile
            }
        };
        self.running_in_tile(r, &side, (beyond, width), (rows, cols)).map(Some)
    }

    /// Lowers a prefix sum along the columns of what the rows have, too; `None` if it is of another kind.
    pub fn lower_running_prefix(&mut self, term: TermId, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let Node::Scan { carry: Carry::Sum, axis, row, decay, body } = *self.planner.terms.node(term) else {
            return Ok(None);
        };
        let terms = &mut self.planner.terms;
        if decay != terms.real(1.0) || frame.cols != Some(row) || self.sequential.is_some() {
            return Ok(None);
        }
        let [at, end] = [axis, row].map(|axis| terms.position(axis));
        let domain = terms.binary(BinaryOp::Le, at, end);
        self.lower_running(Reduction { op: ReduceOp::Sum, axis, domain, body }, frame)
    }

    /// The side of the column on which the reduction runs, and the width of the blocks in which the columns' tiles lie.
    fn running_side(&mut self, r: Reduction, rows: AxisId, cols: AxisId) -> Option<(Side, i64)> {
        let (body, domain) = (self.planner.terms.free(r.body), self.planner.terms.free(r.domain));
        // Over few positions of a summand that is the same for all rows, a loop for each pair is shorter than blocks of them.
        let many = r.op != ReduceOp::Sum && self.planner.hint_extent(r.axis) >= FEW;
        let of_rows = body.contains(rows) || many && domain.contains(rows);
        let pairs = of_rows && body.contains(r.axis) && !body.contains(cols);
        if !pairs
            || !domain.contains(cols)
            || self.planner.spec.axis(r.axis).extent != self.planner.spec.axis(cols).extent
        {
            return None;
        }
        let conditions = match self.planner.terms.node(r.domain).clone() {
            Node::Nary(NaryOp::And, conditions) => conditions,
            _ => vec![r.domain],
        };
        let of_cols = |nest: &Self, t: TermId| nest.planner.terms.free(t).contains(cols);
        let (with, rest): (Vec<TermId>, Vec<TermId>) = conditions.into_iter().partition(|t| of_cols(self, *t));
        let [one] = with[..] else { return None };
        let Node::Binary(op @ (BinaryOp::Lt | BinaryOp::Le), x, y) = *self.planner.terms.node(one) else { return None };
        let is = |axis: AxisId, t: TermId| *self.planner.terms.node(t) == Node::Position(axis);
        let behind = if is(cols, x) && is(r.axis, y) {
            true
        } else if is(r.axis, x) && is(cols, y) {
            false
        } else {
            return None;
        };
        let Binding::Tile(dim) = self.binding(cols) else { return None };
        let width = self.program.exprs.as_int(dim.cap).filter(|_| dim.step == 1 && dim.block.is_none())?;
        let rest = match rest[..] {
            [] => self.planner.terms.add(Node::Bool(true)),
            _ => self.planner.terms.nary(NaryOp::And, rest),
        };
        Some((Side { behind, own: op == BinaryOp::Le, rest }, width))
    }

    /// The positions of a block.
    fn block_of_positions(&mut self, axis: AxisId, block: ExprId, width: i64) -> Dim {
        let limit = self.extent(axis);
        let cap = self.x().int(width);
        let base = self.x().times(block, cap);
        let left = self.x().difference(limit, base);
        let count = self.x().min(cap, left);
        Dim { base, count, cap, step: 1, aligned: width % TILE == 0, block: None }
    }

    /// Runs `body` on the summands of a block, where its domain has any: those that it leaves out change nothing.
    fn running_block(
        &mut self,
        r: Reduction,
        side: &Side,
        (rows, dim): (AxisId, Dim),
        body: &mut dyn FnMut(&mut Self, TileId),
    ) -> Result<(), PlanError> {
        let along = Binding::Tile(dim);
        let stmts = self.inner(Some((r.axis, along.clone())), |nest| {
            let frame = Frame::new(Some(rows), Some(r.axis));
            let truth = nest.truth(side.rest);
            let partial = nest.not(truth.must);
            let partial = nest.let_scalar(partial);
            let then = nest.inner(Some((r.axis, along)), |nest| {
                let value = nest.eval(r.body, frame, false)?;
                let tile = nest.own_tile(value, frame);
                if nest.truth_of(partial) != Some(false) {
                    nest.mask_tile(tile, side.rest, frame, partial, r.op.identity())?;
                }
                body(nest, tile);
                Ok(())
            })?;
            match nest.truth_of(truth.may) {
                Some(true) => then.into_iter().for_each(|stmt| nest.emit(stmt)),
                _ => nest.emit(Stmt::If { cond: truth.may, then, otherwise: Vec::new() }),
            }
            Ok(())
        })?;
        stmts.into_iter().for_each(|stmt| self.emit(stmt));
        Ok(())
    }

    /// A tile of f64: for each row and block of positions, the reduction over what lies beyond the block.
    fn reduced_blocks(&mut self, r: Reduction, side: &Side, rows: AxisId, width: i64) -> Result<TileId, PlanError> {
        let (limit, line) = (self.extent(r.axis), Frame::new(Some(rows), None));
        let blocks = extent::blocks(self.x(), limit, width);
        let cap = self.caps(line).0;
        let beyond = self.tile("beyond", Lane::F64, cap, blocks);
        let compute = self.program.compute;
        let [part, run, next] = [("part", compute), ("run", Lane::F64), ("next", Lane::F64)]
            .map(|(name, lane)| self.frame_tile(name, lane, line));
        let (count, zero) = (self.counts(line).0, self.x().int(0));
        let one = self.x().int(1);
        let (row, _) = self.lane_index(line);
        let (var, block) = self.var(Lane::I64);
        let nothing = self.x().real(Lane::F64, r.op.identity());
        let dim = self.block_of_positions(r.axis, block, width);
        let body = self.inner(None, |nest| {
            let dst = Dst::Tile { tile: beyond, row, col: block };
            nest.emit(Stmt::Map { dst: dst.clone(), rows: count, cols: one, value: nothing });
            nest.running_block(r, side, (rows, dim), &mut |nest, tile| {
                let frame = Frame::new(Some(rows), Some(r.axis));
                let value = nest.element(tile, frame);
                let (rows, cols) = nest.counts(frame);
                nest.emit(Stmt::RowReduce { dst: part, op: r.op, rows, cols, domain: None, value, accumulate: false });
                let value = nest.element(part, line);
                let value = nest.x().cast(Lane::F64, value);
                nest.emit(Stmt::Map { dst: dst.clone(), rows, cols: one, value });
            })
        })?;
        self.emit(Stmt::For { var, from: zero, to: blocks, step: 1, body });
        self.map(run, line, nothing);
        let (var, number) = self.var(Lane::I64);
        let body = self.inner(None, |nest| {
            let block = if side.behind {
                let last = nest.plus(blocks, -1);
                nest.x().difference(last, number)
            } else {
                number
            };
            let own = nest.x().add(Expr::Tile { tile: beyond, row, col: block }, Some(Lane::F64));
            let old = nest.element(run, line);
            let new = nest.fold(r.op, old, own);
            nest.map(next, line, new);
            nest.emit(Stmt::Map {
                dst: Dst::Tile { tile: beyond, row, col: block },
                rows: count,
                cols: one,
                value: old,
            });
            let new = nest.element(next, line);
            nest.map(run, line, new);
            Ok(())
        })?;
        self.emit(Stmt::For { var, from: zero, to: blocks, step: 1, body });
        Ok(beyond)
    }

    /// The reduction for each pair of the tile: over its block's columns one after the other, and what lies beyond.
    fn running_in_tile(
        &mut self,
        r: Reduction,
        side: &Side,
        (beyond, width): (TileId, i64),
        (rows, cols): (AxisId, AxisId),
    ) -> Result<ExprId, PlanError> {
        let own = self.dim(cols);
        let block = self.div(own.base, width);
        let block = self.let_scalar(block);
        let dim = self.block_of_positions(r.axis, block, width);
        let [base, count] = [dim.base, dim.count].map(|x| self.let_scalar(x));
        let frame = Frame::new(Some(rows), Some(r.axis));
        let compute = self.program.compute;
        // Columns of the block along its rows, so that a step is a step of whole vectors.
        let height = self.caps(Frame::new(Some(rows), None)).0;
        let [turned, run] = ["turned", "run"].map(|name| self.tile(name, compute, dim.cap, height));
        let (tall, wide) = (count, self.counts(Frame::new(Some(rows), None)).0);
        let nothing = self.x().real(compute, r.op.identity());
        let (row, col) = self.lane_index(frame);
        let dst = Dst::Tile { tile: turned, row, col };
        self.emit(Stmt::Map { dst: dst.clone(), rows: tall, cols: wide, value: nothing });
        self.running_block(r, side, (rows, dim), &mut |nest, tile| {
            let value = nest.x().add(Expr::Tile { tile, row: col, col: row }, Some(compute));
            let (rows, cols) = nest.counts(frame);
            nest.emit(Stmt::Map { dst: dst.clone(), rows: cols, cols: rows, value });
        })?;
        self.run_over(r, side, (turned, run), count, rows)?;
        let (row, col) = self.lane_index(Frame::new(Some(rows), Some(cols)));
        let start = self.x().difference(own.base, base);
        let place = self.x().sum(start, col);
        let near = self.x().add(Expr::Tile { tile: run, row: place, col: row }, Some(compute));
        let far = self.x().add(Expr::Tile { tile: beyond, row, col: block }, Some(Lane::F64));
        let far = self.x().cast(compute, far);
        let value = self.fold(r.op, far, near);
        let value = self.spill("running", value, Frame::new(Some(rows), Some(cols)));
        Ok(value)
    }

    /// Runs over the rows of `turned`, from the last back if `behind`.
    fn run_over(
        &mut self,
        r: Reduction,
        side: &Side,
        (turned, run): (TileId, TileId),
        count: ExprId,
        rows: AxisId,
    ) -> Result<(), PlanError> {
        let compute = self.program.compute;
        let (one, zero) = (self.x().int(1), self.x().int(0));
        let width = self.counts(Frame::new(Some(rows), None)).0;
        let col = self.x().add(Expr::Col, None);
        let last = self.plus(count, -1);
        let first = if side.behind { last } else { zero };
        let read = |nest: &mut Self, tile, row| nest.x().add(Expr::Tile { tile, row, col }, Some(compute));
        let start = if side.own { read(self, turned, first) } else { self.x().real(compute, r.op.identity()) };
        self.emit(Stmt::Map { dst: Dst::Tile { tile: run, row: first, col }, rows: one, cols: width, value: start });
        let (var, step) = self.var(Lane::I64);
        let body = self.inner(None, |nest| {
            let (at, before) = if side.behind {
                let before = nest.x().difference(count, step);
                let at = nest.plus(before, -1);
                (at, before)
            } else {
                (step, nest.plus(step, -1))
            };
            let taken = if side.own { at } else { before };
            let (old, taken) = (read(nest, run, before), read(nest, turned, taken));
            let value = nest.fold(r.op, old, taken);
            nest.emit(Stmt::Map { dst: Dst::Tile { tile: run, row: at, col }, rows: one, cols: width, value });
            Ok(())
        })?;
        self.emit(Stmt::For { var, from: one, to: count, step: 1, body });
        Ok(())
    }
}
