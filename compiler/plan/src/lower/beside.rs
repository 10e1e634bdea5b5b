//! Sums that a contraction computes besides its own.
//!
//! A state `sum[j](A * B)` and its normaliser `sum[j](A)` run over the same operand A, which the stage of the state has
//! in a tile: one more row of a product sums it there, rather than another stage that makes it again.

use attnc_algebra::{AxisId, Node, ReduceOp, TermId};

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
    wanted: Wanted,
}

/// Where the sum is wanted.
enum Wanted {
    /// By other stages, in a buffer over these axes.
    Stored(PlanBufferId, Vec<AxisId>),
    /// By the stage itself.
    Here(TermId),
}

impl Nest<'_, '_> {
    /// The sums over the left operand of a contraction that would have to be made again: by other stages where it is the
    /// stage's own, and else by the stage.
    pub(super) fn sums_beside(&mut self, r: Reduction, split: &Split, frame: Frame) -> Vec<Beside> {
        let root = self.root;
        let own = self.planner.terms.reduce(r.op, r.axis, r.domain, r.body);
        let (Some(rows), false) = (frame.rows, split.lhs.is_empty()) else { return Vec::new() };
        if own != root {
            return self.sums_within(own, r, split, rows);
        }
        // Each sum is written by one task.
        let once = |nest: &Self, sum: TermId| {
            let free = nest.planner.terms.free(sum);
            free.contains(rows) && nest.task_axes().iter().all(|axis| free.contains(*axis))
        };
        let mut beside = Vec::new();
        for (sum, body) in self.planner.sums_beside(root) {
            if self.is_operand(body, split) && once(self, sum) {
                let (buffer, axes) = self.planner.buffer_beside(sum);
                beside.push(self.begin_beside(Wanted::Stored(buffer, axes), rows, r));
            }
        }
        beside
    }

    /// The sums of the same axis and domain in the stage's term, of the same scope as the contraction `own` that is lowered
    /// first.
    fn sums_within(&mut self, own: TermId, r: Reduction, split: &Split, rows: AxisId) -> Vec<Beside> {
        let mut sums = Vec::new();
        self.planner.find(self.root, &mut |t, node| {
            if let Node::Reduce { op: ReduceOp::Sum, axis, domain, body } = *node
                && (axis, domain) == (r.axis, r.domain)
                && t != own
                && !sums.contains(&(t, body))
            {
                sums.push((t, body));
            }
            false
        });
        let line = Frame::new(Some(rows), None);
        let wanted = |nest: &Self, sum: TermId| {
            let free = nest.planner.terms.free(sum);
            let bound = free.contains(rows) && free.iter().all(|a| nest.is_bound(a));
            bound && nest.depth_of(sum) == nest.current_depth() && {
                nest.remembered(nest.current_depth(), &nest.key(sum, line, false)).is_none()
            }
        };
        let mut beside = Vec::new();
        for (sum, body) in sums {
            if self.is_operand(body, split) && wanted(self, sum) {
                beside.push(self.begin_beside(Wanted::Here(sum), rows, r));
            }
        }
        beside
    }

    /// Whether what is summed is the left operand of a contraction.
    fn is_operand(&mut self, body: TermId, split: &Split) -> bool {
        let sorted = |mut terms: Vec<TermId>| {
            terms.sort();
            terms
        };
        let factors = self.planner.factors(body);
        let factors: Vec<TermId> = factors.into_iter().flat_map(|t| self.planner.reciprocals(t)).collect();
        sorted(factors) == sorted(split.lhs.clone())
    }

    fn begin_beside(&mut self, wanted: Wanted, rows: AxisId, r: Reduction) -> Beside {
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
        Beside { axis: rows, tile, ones, wanted }
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

    /// Writes the sum to where it is wanted.
    pub(super) fn store_beside(&mut self, sum: &Beside) -> Result<(), PlanError> {
        debug_assert!(matches!(self.binding(sum.axis), Binding::Tile(_) | Binding::Whole(_)), "rows lie along tiles");
        let (row, col) = (self.x().add(Expr::Row, None), self.x().int(0));
        let lane = self.program.compute;
        let value = self.x().add(Expr::Tile { tile: sum.tile, row: col, col: row }, Some(lane));
        let line = Frame::new(Some(sum.axis), None);
        match &sum.wanted {
            Wanted::Stored(buffer, axes) => self.store_plain(*buffer, axes, line, value),
            Wanted::Here(term) => {
                let tile = self.frame_tile("r", lane, line);
                self.map(tile, line, value);
                let (value, key) = (self.element(tile, line), self.key(*term, line, false));
                self.remember(self.current_depth(), key, value);
                Ok(())
            }
        }
    }
}
