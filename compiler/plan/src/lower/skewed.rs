//! Products with a table's rows at a distance, from a band of the table.
//!
//! A score may have a row of a table for each distance, `sum[d](q[i, d] * x[i - j, d])`, and the table as many as there are
//! distances. The pairs of a tile lie at as many distances as it has rows and columns, so one tile product with that band
//! of the table has all their sums, and pair by pair one is read along a slope. Tables with few rows are multiplied as
//! a whole (the rule `read-leaves-sum`); what reads a table at a place that is no distance is left to the general form.

use attnc_algebra::{AxisId, BinaryOp, InputId, Node, TermId};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId};
use crate::loops::{Dst, Stmt, TileId, View};
use crate::planner::TILE;

use super::domain::Linear;
use super::nest::{Binding, Dim, Frame, Nest};
use super::reduce::Reduction;

/// Positions of the other axis from which on a band is worth its product.
const WORTH_A_BAND: i64 = 16;

/// A sum of products with a table's rows at a distance, taken apart.
struct Skewed {
    /// The factors that know one of the two axes, or neither.
    others: Vec<TermId>,
    /// Which of the frame's axes they know.
    own: AxisId,
    table: InputId,
    /// The table's index, but for the place.
    index: Vec<TermId>,
    /// Which of its axes is read at the place.
    dim: usize,
    /// By how much the place grows along rows and along columns: 1 or -1.
    steps: [i64; 2],
    /// What else is added to it: multiples of scalars, and a number.
    rest: (Vec<(TermId, i64)>, i64),
}

impl Nest<'_, '_> {
    /// Lowers a sum of products with a table's rows at a distance; `None` if it is of another kind.
    pub fn lower_skewed(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let (Some(rows), Some(cols)) = (frame.rows, frame.cols) else { return Ok(None) };
        if !self.is_true(r.domain) || !self.planner.is_short(r.axis) {
            return Ok(None);
        }
        let Some(skewed) = self.skewed(r, [rows, cols]) else { return Ok(None) };
        let [down, along] = [rows, cols].map(|a| self.dim(a));
        let (first, width) = self.band(&skewed, [&down, &along])?;
        let mut caps = self.x().sum(down.cap, along.cap);
        // A band begins anywhere: it must not pass for a part of a packed block, which such widths are.
        if self.program.exprs.as_int(caps).is_some_and(|cap| cap > 0 && TILE % cap == 0) {
            caps = self.plus(caps, 1);
        }
        let lanes = if skewed.own == rows { &down } else { &along };
        let tile = self.tile("band", self.program.compute, lanes.cap, caps);
        self.fill_band(&skewed, r.axis, (tile, lanes.count), (first, width, caps))?;
        let (row, col) = self.lane_index(frame);
        let at = [(row, &down, skewed.steps[0]), (col, &along, skewed.steps[1])].map(|(lane, dim, step)| match step {
            1 => lane,
            _ => {
                let last = self.plus(dim.count, -1);
                self.x().difference(last, lane)
            }
        });
        let place = self.x().sum(at[0], at[1]);
        let lane = if skewed.own == rows { row } else { col };
        let compute = self.program.compute;
        Ok(Some(self.x().add(Expr::Tile { tile, row: lane, col: place }, Some(compute))))
    }

    fn skewed(&mut self, r: Reduction, [rows, cols]: [AxisId; 2]) -> Option<Skewed> {
        let unit = |nest: &Self, a| matches!(nest.binding(a), Binding::Tile(d) | Binding::Whole(d) if d.step == 1);
        if !unit(self, rows) || !unit(self, cols) {
            return None;
        }
        let has = |nest: &Self, t: TermId, a: AxisId| nest.planner.terms.free(t).contains(a);
        let (pairs, others): (Vec<TermId>, Vec<TermId>) =
            self.planner.factors(r.body).into_iter().partition(|t| has(self, *t, rows) && has(self, *t, cols));
        let [read] = pairs[..] else { return None };
        let known = [rows, cols].map(|a| others.iter().any(|t| has(self, *t, a)));
        let (own, other) = match known {
            [true, false] => (rows, cols),
            [false, true] => (cols, rows),
            _ => return None,
        };
        if self.planner.hint_extent(other) < WORTH_A_BAND {
            return None;
        }
        let Node::Input { input, index } = self.planner.terms.node(read).clone() else { return None };
        let computed = |nest: &Self, t: TermId| has(nest, t, rows) || has(nest, t, cols);
        let mut places = index.iter().enumerate().filter(|(_, t)| computed(self, **t));
        let (Some((dim, place)), None) = (places.next(), places.next()) else { return None };
        let place = *place;
        let mut linear = Linear::default();
        if has(self, place, r.axis) || !linear.add(self, cols, place, 1) {
            return None;
        }
        let mut down = 0;
        let mut rest = Vec::new();
        for (term, scale) in linear.rest {
            match self.planner.terms.node(term) {
                Node::Position(a) if *a == rows => down += scale,
                _ if has(self, term, rows) => return None,
                _ => rest.push((term, scale)),
            }
        }
        let steps = [down, linear.coefficient];
        let sloped = steps.iter().all(|step| step.abs() == 1);
        let rest = (rest, linear.constant);
        sloped.then_some(Skewed { others, own, table: input, index, dim, steps, rest })
    }

    /// The first position of the band that a tile's pairs read, which may lie outside of the table, and how many it has.
    fn band(&mut self, skewed: &Skewed, dims: [&Dim; 2]) -> Result<(ExprId, ExprId), PlanError> {
        let (scalars, constant) = &skewed.rest;
        let mut parts = vec![self.x().int(*constant)];
        for (term, scale) in scalars {
            let (value, scale) = (self.eval(*term, Frame::default(), false)?, self.x().int(*scale));
            parts.push(self.x().times(value, scale));
        }
        for (dim, step) in dims.into_iter().zip(skewed.steps) {
            // The least place is at the first position, or at the last.
            let least = if step > 0 {
                dim.base
            } else {
                let end = self.x().sum(dim.base, dim.count);
                self.plus(end, -1)
            };
            let step = self.x().int(step);
            parts.push(self.x().times(least, step));
        }
        let first = parts.into_iter().reduce(|x, y| self.x().sum(x, y)).expect("a number and two positions");
        let all = self.x().sum(dims[0].count, dims[1].count);
        Ok((self.let_scalar(first), self.plus(all, -1)))
    }

    /// The sums for all positions of the band that the table has, and 0 elsewhere: pairs that read there are masked.
    fn fill_band(
        &mut self,
        skewed: &Skewed,
        summed: AxisId,
        (tile, lanes): (TileId, ExprId),
        (first, width, cap): (ExprId, ExprId, ExprId),
    ) -> Result<(), PlanError> {
        let declared = self.planner.spec.input(skewed.table).axes[skewed.dim];
        let extent = self.planner.spec.axis(declared).extent;
        let band = self.planner.new_axis("band", extent);
        let mut index = skewed.index.clone();
        index[skewed.dim] = self.planner.terms.position(band);
        let table = self.planner.terms.add(Node::Input { input: skewed.table, index });
        let (zero, one, extent) = (self.x().int(0), self.x().int(1), self.extent(band));
        // Never empty, so that what is read exists.
        let last = self.plus(extent, -1);
        let from = self.x().max(first, zero);
        let from = self.x().min(from, last);
        let from = self.let_scalar(from);
        let end = self.x().sum(first, width);
        let wanted = self.x().difference(end, from);
        let wanted = self.x().min(wanted, width);
        let left = self.x().difference(extent, from);
        let count = self.x().min(wanted, left);
        let count = self.x().max(count, one);
        let count = self.let_scalar(count);
        let skipped = self.x().difference(from, first);
        let room = self.x().difference(cap, count);
        let skipped = self.x().min(skipped, room);
        let skipped = self.x().max(skipped, zero);
        let skipped = self.let_scalar(skipped);
        let outside = self.x().binary(BinaryOp::Lt, count, width);
        let clear = self.inner(None, |nest| {
            let value = nest.constant(0.0);
            let (row, col) = (nest.x().add(Expr::Row, None), nest.x().add(Expr::Col, None));
            let dst = Dst::Tile { tile, row, col };
            nest.emit(Stmt::Map { dst, rows: lanes, cols: width, value });
            Ok(())
        })?;
        self.emit(Stmt::If { cond: outside, then: clear, otherwise: Vec::new() });
        let mark = self.bindings_mark();
        self.bind(band, Binding::Tile(Dim { base: from, count, cap, step: 1, aligned: false, block: None }), false);
        let product = self.with_whole(summed, |nest| {
            let left = nest.planner.product(skewed.others.clone());
            let lhs = nest.lhs_view(left, Frame::new(Some(skewed.own), Some(summed)))?;
            let rhs = nest.rhs_view(table, Frame::new(Some(summed), Some(band)))?;
            let depth = nest.dim(summed).count;
            let dst = View::Tile { tile, row: zero, col: skipped, transposed: false };
            Ok(Stmt::product(dst, lhs, rhs, [lanes, count, depth], false))
        });
        self.bindings_reset(mark);
        self.emit(product?);
        Ok(())
    }
}
