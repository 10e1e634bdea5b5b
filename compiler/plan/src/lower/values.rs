//! How the values of an attend node meet the weights of a tile.
//!
//! A matrix of values that all rows share is the right operand of a tile
//! product. Factors that differ from row to row but not along the columns go
//! with the weights; what differs in both is added one key after the other.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, TermId};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Stmt, TileId};

use super::nest::{Binding, Frame, Nest};

/// A summand of the values.
pub(super) struct Part {
    /// Factors that go with the weights.
    pub weights: Vec<TermId>,
    /// The product of the others.
    pub value: TermId,
    /// Whether the value differs from row to row: then keys take turns.
    pub turns: bool,
}

impl Nest<'_, '_> {
    /// The summands of values, each as it meets the weights of rows and the columns of `frame`.
    pub fn parts_of_values(&mut self, value: TermId, frame: Frame) -> Vec<Part> {
        let tied =
            |nest: &Self, a: Option<AxisId>, t: TermId| a.is_some_and(|a| nest.planner.terms.free(t).contains(a));
        if !tied(self, frame.rows, value) {
            return vec![Part { weights: Vec::new(), value, turns: false }];
        }
        let summands = match self.planner.terms.node(value) {
            Node::Nary(NaryOp::Add, xs) => xs.clone(),
            _ => vec![value],
        };
        let (shared, own): (Vec<TermId>, Vec<TermId>) = summands.into_iter().partition(|t| !tied(self, frame.rows, *t));
        let mut parts = Vec::new();
        if !shared.is_empty() {
            let value = self.planner.terms.nary(NaryOp::Add, shared);
            parts.push(Part { weights: Vec::new(), value, turns: false });
        }
        for summand in own {
            let factors = self.planner.factors(summand);
            let (weights, values): (Vec<TermId>, Vec<TermId>) =
                factors.into_iter().partition(|t| tied(self, frame.rows, *t) && !tied(self, frame.cols, *t));
            let turns = values.iter().any(|t| tied(self, frame.rows, *t));
            let value = self.planner.product(values);
            parts.push(Part { weights, value, turns });
        }
        parts
    }

    /// The weights of a tile times factors; where the tile is `partial`, a weight of 0 stays 0 whatever they are.
    pub fn weights_with(
        &mut self,
        weights: TileId,
        factors: &[TermId],
        axis: AxisId,
        frame: Frame,
        partial: Option<ExprId>,
    ) -> Result<TileId, PlanError> {
        if factors.is_empty() {
            return Ok(weights);
        }
        let lanes = Frame::new(frame.rows, Some(axis));
        let factor = self.planner.product(factors.to_vec());
        let factor = self.eval(factor, lanes, false)?;
        let weight = self.element(weights, lanes);
        let value = self.weighted(weight, factor, partial);
        let tile = self.frame_tile("w", self.program.compute, lanes);
        self.map(tile, lanes, value);
        Ok(tile)
    }

    /// `weight * value`, but 0 where the tile is `partial` and the weight is 0.
    fn weighted(&mut self, weight: ExprId, value: ExprId, partial: Option<ExprId>) -> ExprId {
        let product = self.x().times(weight, value);
        if partial.is_none() {
            return product;
        }
        let zero = self.constant(0.0);
        let none = self.x().binary(BinaryOp::Eq, weight, zero);
        self.choose(none, zero, product)
    }

    /// Adds weights times values to the accumulator as a tile product.
    pub fn add_product(
        &mut self,
        value: TermId,
        weights: TileId,
        axis: AxisId,
        frame: Frame,
        partial: Option<ExprId>,
        acc: TileId,
    ) -> Result<(), PlanError> {
        let (rows, cols) = self.counts(frame);
        let (dst, lhs) = (self.tile_view(acc), self.tile_view(weights));
        let depth = self.dim(axis).count;
        let across = Frame::new(Some(axis), frame.cols);
        let wide = |nest: &mut Self| {
            let rhs = nest.rhs_view(value, across)?;
            let (dst, lhs) = (dst.clone(), lhs.clone());
            nest.emit(Stmt::Product {
                dst,
                lhs,
                rhs,
                rows,
                cols,
                depth,
                accumulate: true,
                masked: partial,
                open: false,
            });
            Ok(())
        };
        let always = partial.is_some_and(|partial| self.truth_of(partial) == Some(true));
        let narrow = if always { None } else { self.narrow_view(value, across, frame)? };
        let Some((rhs, factors)) = narrow else { return wide(self) };
        // Values as they lie, factors of keys with the weights; but where weights are masked, zeros must count for
        // nothing whatever they meet.
        let along = self.binding(axis).clone();
        let plain = self.inner(Some((axis, along.clone())), |nest| {
            if !factors.is_empty() {
                let lanes = Frame::new(frame.rows, Some(axis));
                let factor = nest.planner.product(factors);
                let (factor, weight) = (nest.eval(factor, lanes, false)?, nest.element(weights, lanes));
                let value = nest.x().times(weight, factor);
                nest.map(weights, lanes, value);
            }
            let (dst, lhs) = (dst.clone(), lhs.clone());
            nest.emit(Stmt::product(dst, lhs, rhs, [rows, cols, depth], true));
            Ok(())
        })?;
        match partial {
            None => plain.into_iter().for_each(|stmt| self.emit(stmt)),
            Some(cond) => {
                let then = self.inner(Some((axis, along)), wide)?;
                self.emit(Stmt::If { cond, then, otherwise: plain });
            }
        }
        Ok(())
    }

    /// Adds weights times values that differ from row to row to the accumulator, one key after the other.
    pub fn add_in_turns(
        &mut self,
        value: TermId,
        weights: TileId,
        axis: AxisId,
        frame: Frame,
        partial: Option<ExprId>,
        acc: TileId,
    ) -> Result<(), PlanError> {
        let keys = self.dim(axis).clone();
        let (var, key) = self.var(Lane::I64);
        let step = self.x().int(keys.step);
        let along = self.x().times(step, key);
        let at = self.x().sum(keys.base, along);
        let body = self.inner(Some((axis, Binding::Fixed(at))), |nest| {
            let value = nest.eval(value, frame, false)?;
            let (row, _) = nest.lane_index(frame);
            let lane = nest.program.compute;
            let weight = nest.x().add(Expr::Tile { tile: weights, row, col: key }, Some(lane));
            let (old, new) = (nest.element(acc, frame), nest.weighted(weight, value, partial));
            let new = nest.x().sum(old, new);
            nest.map(acc, frame, new);
            Ok(())
        })?;
        let zero = self.x().int(0);
        self.emit(Stmt::For { var, from: zero, to: keys.count, step: 1, body });
        Ok(())
    }
}
