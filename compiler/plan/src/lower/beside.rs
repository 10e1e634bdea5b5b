//! Sums that a contraction computes besides its own.
//!
//! A state `sum[j](A * B)` and its normaliser `sum[j](A)` run over the same operand A, which the stage of the state has
//! in a tile: one more row of a product sums it there, rather than another stage that makes it again.

use attnc_algebra::{AxisId, TermId};

use crate::error::PlanError;
use crate::graph::PlanBufferId;
use crate::loops::expr::Expr;
use crate::loops::{Stmt, TileId, View};
use crate::planner::TILE;

use super::contract::Split;
use super::nest::{Binding, Frame, Nest};
use super::reduce::Reduction;

/// A sum over the left operand of a stage's product.
pub(super) struct Beside {
    /// The axis of the operand's rows.
    pub axis: AxisId,
    /// The sum: one row along that axis.
    pub tile: TileId,
    /// Ones for each term of a step.
    ones: TileId,
    buffer: PlanBufferId,
    /// The axes of the buffer.
    axes: Vec<AxisId>,
}

impl Nest<'_, '_> {
    /// The sums over the left operand of the stage's own contraction that other stages would have to make again.
    pub(super) fn sums_beside(&mut self, r: Reduction, split: &Split, frame: Frame) -> Vec<Beside> {
        let root = self.root;
        let own = self.planner.terms.reduce(r.op, r.axis, r.domain, r.body) == root;
        let (Some(rows), true) = (frame.rows, own && !split.lhs.is_empty()) else { return Vec::new() };
        // Each sum is written by one task.
        let once = |nest: &Self, sum: TermId| {
            let free = nest.planner.terms.free(sum);
            free.contains(rows) && nest.task_axes().iter().all(|axis| free.contains(*axis))
        };
        let sorted = |mut terms: Vec<TermId>| {
            terms.sort();
            terms
        };
        let operand = sorted(split.lhs.clone());
        let mut beside = Vec::new();
        for (sum, body) in self.planner.sums_beside(root) {
            let factors = self.planner.factors(body);
            let factors: Vec<TermId> = factors.into_iter().flat_map(|t| self.planner.reciprocals(t)).collect();
            if sorted(factors) == operand && once(self, sum) {
                beside.push(self.begin_beside(sum, rows, r));
            }
        }
        beside
    }

    fn begin_beside(&mut self, sum: TermId, rows: AxisId, r: Reduction) -> Beside {
        let (buffer, axes) = self.planner.buffer_beside(sum);
        let compute = self.program.compute;
        let (one, cap) = (self.x().int(1), self.dim(rows).cap);
        let tile = self.tile("sum", compute, one, cap);
        let whole = self.planner.is_short(r.axis) && self.is_true(r.domain);
        let most = if whole { self.extent(r.axis) } else { self.x().int(TILE) };
        let ones = self.tile("one", compute, one, most);
        let (row, col) = (self.x().int(0), self.x().add(Expr::Col, None));
        let value = self.constant(1.0);
        let dst = crate::loops::Dst::Tile { tile: ones, row, col };
        self.emit(Stmt::Map { dst, rows: one, cols: most, value });
        Beside { axis: rows, tile, ones, buffer, axes }
    }

    /// Adds the terms of one step, which `lhs` holds for the rows.
    pub(super) fn step_beside(&mut self, sum: &Beside, lhs: &View, along: AxisId, accumulate: bool) {
        let (one, rows, depth) = (self.x().int(1), self.dim(sum.axis).count, self.dim(along).count);
        let dst = self.tile_view(sum.tile);
        let ones = self.tile_view(sum.ones);
        let product = |dst, lhs, rhs, rows, cols| Stmt::product(dst, lhs, rhs, [rows, cols, depth], accumulate);
        let stmt = match lhs {
            // The operand lies along its rows: these are columns of a product with one row.
            View::Tile { transposed: true, .. } => product(dst, ones, lhs.turned(), one, rows),
            _ => product(dst.turned(), lhs.clone(), ones.turned(), rows, one),
        };
        self.emit(stmt);
    }

    /// Writes the sum to its buffer.
    pub(super) fn store_beside(&mut self, sum: &Beside) -> Result<(), PlanError> {
        debug_assert!(matches!(self.binding(sum.axis), Binding::Tile(_) | Binding::Whole(_)), "rows lie along tiles");
        let (row, col) = (self.x().add(Expr::Row, None), self.x().int(0));
        let lane = self.program.compute;
        let value = self.x().add(Expr::Tile { tile: sum.tile, row: col, col: row }, Some(lane));
        self.store_plain(sum.buffer, &sum.axes, Frame::new(Some(sum.axis), None), value)
    }
}
