//! How the values of an attend node meet the weights of a tile.
//!
//! A matrix of values that all rows share is the right operand of a tile
//! product. Factors that differ from row to row but not along the columns go
//! with the weights. Of a table that is read at a place of each pair, weights
//! are added up by place and meet the whole table; lines of a longer one are
//! summed as lists of keys are. What else differs in both is added one key after the other.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, TermId};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Dst, Masked, Stmt, TileId, View};

use super::looked_up::LookedUp;
use super::nest::{Binding, Frame, Nest};
use super::settled::Settled;

/// Places of a table up to which the weights of a tile are added up by place.
const PLACES: i64 = 256;

/// A summand of the values.
pub(super) struct Part {
    /// Factors that go with the weights.
    weights: Vec<TermId>,
    /// The product of the others.
    value: TermId,
    how: How,
    /// Whether weights and values are multiplied in bfloat16.
    pairs: bool,
}

enum How {
    /// All rows share the values.
    Product,
    /// The values are those of a table whose first axis this is, at a place of each pair.
    Places { axis: AxisId, place: TermId },
    /// Each pair has a line that a table names.
    Lines(LookedUp),
    /// Keys take turns.
    Turns,
}

impl Nest<'_, '_> {
    /// The summands of values, each as it meets weights over `axis` in the rows and columns of `frame`.
    pub fn parts_of_values(&mut self, value: TermId, axis: AxisId, frame: Frame) -> Vec<Part> {
        let plain = |value| Part { weights: Vec::new(), value, how: How::Product, pairs: false };
        if !self.has(value, frame.rows) {
            return vec![plain(value)];
        }
        let summands = match self.planner.terms.node(value) {
            Node::Nary(NaryOp::Add, xs) => xs.clone(),
            _ => vec![value],
        };
        let (shared, own): (Vec<TermId>, Vec<TermId>) = summands.into_iter().partition(|t| !self.has(*t, frame.rows));
        let mut parts = Vec::new();
        if !shared.is_empty() {
            parts.push(plain(self.planner.terms.nary(NaryOp::Add, shared)));
        }
        parts.extend(own.into_iter().map(|summand| self.part_of_rows(summand, axis, frame)));
        parts
    }

    /// The summands, with those multiplied in bfloat16 whose types allow it beside weights by these scores.
    pub fn in_pairs(&self, mut parts: Vec<Part>, score: TermId, frame: Frame) -> Vec<Part> {
        for part in &mut parts {
            part.pairs = matches!(part.how, How::Product) && self.multiplies_pairs(score, part.value, frame);
        }
        parts
    }

    /// A summand that differs from row to row.
    fn part_of_rows(&mut self, summand: TermId, axis: AxisId, frame: Frame) -> Part {
        let factors = self.planner.factors(summand);
        let (weights, values): (Vec<TermId>, Vec<TermId>) =
            factors.iter().partition(|t| self.has(**t, frame.rows) && !self.has(**t, frame.cols));
        if !values.iter().any(|t| self.has(*t, frame.rows)) {
            return Part { weights, value: self.planner.product(values), how: How::Product, pairs: false };
        }
        let (values, weights): (Vec<TermId>, Vec<TermId>) = factors.into_iter().partition(|t| self.has(*t, frame.cols));
        match self.by_place(&values, axis, frame) {
            Some((value, axis, place)) => Part { weights, value, how: How::Places { axis, place }, pairs: false },
            None => {
                let value = self.planner.product(values);
                let lanes = Frame::new(frame.rows, Some(axis));
                let named = frame.cols.and_then(|cols| self.looked_up_line(value, lanes, cols));
                Part { weights, value, how: named.map_or(How::Turns, How::Lines), pairs: false }
            }
        }
    }

    /// The product of factors as one over the places of the only table among them that is read at a place of each
    /// pair, with the axis of the places and what is read of it.
    fn by_place(&mut self, factors: &[TermId], axis: AxisId, frame: Frame) -> Option<(TermId, AxisId, TermId)> {
        let paired = |nest: &Self, t: TermId| nest.has(t, frame.rows) || nest.has(t, Some(axis));
        let (tables, mut others): (Vec<TermId>, Vec<TermId>) = factors.iter().partition(|t| paired(self, **t));
        let &[table] = &tables[..] else { return None };
        let Node::Input { input, index } = self.planner.terms.node(table).clone() else { return None };
        let mut places = (0..index.len()).filter(|at| paired(self, index[*at]));
        let (at, None) = (places.next()?, places.next()) else { return None };
        if self.has(index[at], frame.cols) {
            return None;
        }
        let held = self.planner.spec.input(input).axes[at];
        if self.planner.hint_extent(held) > PLACES {
            return None;
        }
        let extent = self.planner.spec.axis(held).extent;
        let along = self.planner.new_axis("places", extent);
        let (mut at_place, position) = (index.clone(), self.planner.terms.add(Node::Position(along)));
        at_place[at] = position;
        others.push(self.planner.terms.add(Node::Input { input, index: at_place }));
        Some((self.planner.product(others), along, index[at]))
    }

    fn has(&self, term: TermId, axis: Option<AxisId>) -> bool {
        axis.is_some_and(|axis| self.planner.terms.free(term).contains(axis))
    }

    /// Adds what a part of the values comes to with the weights of a tile to the accumulator.
    pub fn add_part(
        &mut self,
        part: &Part,
        weights: TileId,
        axis: AxisId,
        frame: Frame,
        partial: Option<Masked>,
        acc: TileId,
    ) -> Result<(), PlanError> {
        let weights = self.weights_with(weights, &part.weights, axis, frame, partial)?;
        match part.how {
            How::Product => self.add_product((part.value, part.pairs), weights, axis, frame, partial, acc),
            How::Places { axis: places, place } => {
                let sums = self.weights_by_place(weights, places, place, axis, frame)?;
                // A place that no key has counts for nothing, whatever the table holds there.
                let always = self.x().truth(true);
                self.with_whole(places, |nest| {
                    nest.add_product(
                        (part.value, false),
                        sums,
                        places,
                        frame,
                        Some(Masked { cond: always, spans: None }),
                        acc,
                    )
                })
            }
            How::Lines(named) if self.add_looked_up_lines(named, weights, (axis, frame), partial, acc)? => Ok(()),
            How::Lines(_) | How::Turns => self.add_in_turns(part.value, weights, axis, frame, partial, acc),
        }
    }

    /// The sums of a row's weights over the keys of each place.
    fn weights_by_place(
        &mut self,
        weights: TileId,
        places: AxisId,
        place: TermId,
        axis: AxisId,
        frame: Frame,
    ) -> Result<TileId, PlanError> {
        let lanes = Frame::new(frame.rows, Some(axis));
        let place = self.eval(place, lanes, false)?;
        let (rows, cols) = self.counts(lanes);
        self.with_whole(places, |nest| {
            let held = Frame::new(frame.rows, Some(places));
            let dst = nest.frame_tile("sums", nest.program.compute, held);
            let zero = nest.constant(0.0);
            nest.map(dst, held, zero);
            let width = nest.dim(places).count;
            let each = nest.inner(None, |nest| {
                let at = nest.frame_tile("at", Lane::I64, lanes);
                nest.map(at, lanes, place);
                nest.emit(Stmt::ScatterAdd { dst, src: weights, at, rows, cols, width });
                Ok(())
            })?;
            match nest.settled(place, lanes) {
                None => each.into_iter().for_each(|stmt| nest.emit(stmt)),
                Some(Settled { cond, place }) => {
                    let then = nest.inner(None, |nest| {
                        nest.weights_at_one(weights, lanes, dst, place);
                        Ok(())
                    })?;
                    nest.emit(Stmt::If { cond, then, otherwise: each });
                }
            }
            Ok(dst)
        })
    }

    /// The sum of each row's weights, at the one place that all keys of a tile have.
    fn weights_at_one(&mut self, weights: TileId, lanes: Frame, dst: TileId, place: ExprId) {
        let rows = Frame::new(lanes.rows, None);
        let (count, cols) = self.counts(lanes);
        let (sum, value) = (self.frame_tile("sum", self.program.compute, rows), self.element(weights, lanes));
        let op = ReduceOp::Sum;
        self.emit(Stmt::RowReduce { dst: sum, op, rows: count, cols, domain: None, value, accumulate: false });
        let ((row, _), value, one) = (self.lane_index(rows), self.element(sum, rows), self.x().int(1));
        self.emit(Stmt::Map { dst: Dst::Tile { tile: dst, row, col: place }, rows: count, cols: one, value });
    }

    /// The weights of a tile times factors; where the tile is `partial`, a weight of 0 stays 0 whatever they are.
    fn weights_with(
        &mut self,
        weights: TileId,
        factors: &[TermId],
        axis: AxisId,
        frame: Frame,
        partial: Option<Masked>,
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
    fn weighted(&mut self, weight: ExprId, value: ExprId, partial: Option<Masked>) -> ExprId {
        let product = self.x().times(weight, value);
        if partial.is_none() {
            return product;
        }
        let zero = self.constant(0.0);
        let none = self.x().binary(BinaryOp::Eq, weight, zero);
        self.choose(none, zero, product)
    }

    /// Adds weights times values to the accumulator as a tile product.
    fn add_product(
        &mut self,
        (value, pairs): (TermId, bool),
        weights: TileId,
        axis: AxisId,
        frame: Frame,
        partial: Option<Masked>,
        acc: TileId,
    ) -> Result<(), PlanError> {
        let (rows, cols) = self.counts(frame);
        let (dst, lhs) = (self.tile_view(acc), self.tile_view(weights));
        let depth = self.dim(axis).count;
        let across = Frame::new(Some(axis), frame.cols);
        let (to, of) = (dst.clone(), lhs.clone());
        let with = |rhs: View| Stmt::masked_product(to, of, rhs, [rows, cols, depth], true, partial);
        let Some((rhs, factors)) = self.narrow_view(value, across, frame)? else {
            let pairs = if pairs { self.pairs_view(value, across)? } else { None };
            let rhs = match pairs {
                Some(pairs) => pairs,
                None => self.rhs_view(value, across)?,
            };
            self.emit(with(rhs));
            return Ok(());
        };
        // Values as they lie, factors of keys with the weights; but where weights are masked, zeros must count for
        // nothing whatever they meet: few rows share what is widened then, so it is no more than the tile.
        let widened = |nest: &mut Self| {
            let rhs = nest.computed_view(value, across)?;
            nest.emit(with(rhs));
            Ok(())
        };
        if partial.is_some_and(|partial| self.truth_of(partial.cond) == Some(true)) {
            return widened(self);
        }
        let along = self.binding(axis).clone();
        let plain = self.inner(Some((axis, along.clone())), |nest| {
            let weights = nest.weights_with(weights, &factors, axis, frame, None)?;
            let (dst, lhs) = (dst.clone(), nest.tile_view(weights));
            nest.emit(Stmt::product(dst, lhs, rhs, [rows, cols, depth], true));
            Ok(())
        })?;
        match partial {
            None => plain.into_iter().for_each(|stmt| self.emit(stmt)),
            Some(Masked { cond, .. }) => {
                let then = self.inner(Some((axis, along)), widened)?;
                self.emit(Stmt::If { cond, then, otherwise: plain });
            }
        }
        Ok(())
    }

    /// Adds weights times values that differ from row to row to the accumulator, one key after the other.
    fn add_in_turns(
        &mut self,
        value: TermId,
        weights: TileId,
        axis: AxisId,
        frame: Frame,
        partial: Option<Masked>,
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
