//! Lines that a table names: `k[nb[i, r], d]`, the keys of a graph's neighbours or of what was retrieved.
//!
//! Each pair of a row and a column reads a line of its own. Dot products with such lines, and sums of them by weights, are
//! those of listed keys ([`super::listed`]): the table's entries are the lists, all of one length.

use attnc_algebra::{AxisId, DType, Node, ReduceOp, TermId, UnaryOp};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::program::is_line_type;
use crate::loops::{Listed, Masked, Stmt, TileId};

use super::nest::{Binding, Frame, Nest};
use super::reduce::Reduction;

/// A table's lines, and which of them each pair reads.
#[derive(Clone, Copy)]
pub(super) struct LookedUp {
    /// The lines, over places and the axis along them.
    lines: TermId,
    /// The axis of the places.
    places: AxisId,
    /// The place of each pair.
    place: TermId,
}

impl Nest<'_, '_> {
    /// A read of an input's line along an axis at a place of each pair of rows and columns.
    pub(super) fn looked_up_line(&mut self, term: TermId, frame: Frame, along: AxisId) -> Option<LookedUp> {
        let cols = frame.cols?;
        let Node::Input { input, index } = self.planner.terms.node(term).clone() else { return None };
        let declared = self.planner.spec.input(input);
        if declared.dtype != DType::F32 || self.program.compute != Lane::F32 {
            return None;
        }
        let (last, lead) = index.split_last()?;
        let free = |t: &TermId| self.planner.terms.free(*t);
        let paired = |t: &TermId| free(t).contains(cols) || frame.rows.is_some_and(|rows| free(t).contains(rows));
        let mut places = (0..lead.len()).filter(|at| paired(&lead[*at]));
        let (at, None) = (places.next()?, places.next()) else { return None };
        let one_line = !paired(last) && lead.iter().all(|t| !free(t).contains(along));
        if *self.planner.terms.node(*last) != Node::Position(along) || !free(&lead[at]).contains(cols) || !one_line {
            return None;
        }
        let extent = self.planner.spec.axis(declared.axes[at]).extent;
        let axis = self.planner.new_axis("places", extent);
        let (mut at_place, position) = (index.clone(), self.planner.terms.add(Node::Position(axis)));
        at_place[at] = position;
        let lines = self.planner.terms.add(Node::Input { input, index: at_place });
        Some(LookedUp { lines, places: axis, place: index[at] })
    }

    /// The lines as they lie, listed by rows and columns of a frame; `None` if they do not lie so.
    fn listed_by(&mut self, named: LookedUp, frame: Frame, along: AxisId) -> Result<Option<Listed>, PlanError> {
        let LookedUp { lines, places, place } = named;
        let lines =
            self.with_whole(places, |nest| nest.with_whole(along, |nest| nest.lines_of(lines, places, along)))?;
        let Some(lines) = lines else { return Ok(None) };
        let at = self.eval(place, frame, false)?;
        let at = self.x().cast(Lane::I64, at);
        let list = self.frame_tile("at", Lane::I64, frame);
        self.map(list, frame, at);
        let (rows, all) = (Frame::new(frame.rows, None), self.counts(frame).1);
        let count = self.frame_tile("count", Lane::I64, rows);
        self.map(count, rows, all);
        let limit = self.extent(places);
        Ok(Some(Listed { list, count, lines, limit }))
    }

    /// A sum of products of what rows have with lines that a table names; `None` if it is none.
    pub(super) fn lower_looked_up_dots(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let (Some(rows), Some(cols)) = (frame.rows, frame.cols) else { return Ok(None) };
        let plain = r.op == ReduceOp::Sum && self.is_true(r.domain) && self.planner.is_short(r.axis);
        if !plain || frame.rows == Some(r.axis) {
            return Ok(None);
        }
        let of_cols = |nest: &Self, t: &TermId| nest.planner.terms.free(*t).contains(cols);
        let (right, left): (Vec<TermId>, Vec<TermId>) =
            self.planner.factors(r.body).into_iter().partition(|t| of_cols(self, t));
        let has = |nest: &Self, a: AxisId| left.iter().any(|t| nest.planner.terms.free(*t).contains(a));
        if right.len() != 1 || !has(self, rows) || !has(self, r.axis) {
            return Ok(None);
        }
        let Some(named) = self.looked_up_line(right[0], frame, r.axis) else { return Ok(None) };
        let Some(of) = self.listed_by(named, frame, r.axis)? else { return Ok(None) };
        let left = self.planner.product(left);
        let (lhs, depth) = self.with_whole(r.axis, |nest| {
            let lhs = nest.computed_view(left, Frame::new(Some(rows), Some(r.axis)))?;
            Ok((lhs, nest.dim(r.axis).count))
        })?;
        let dst = self.frame_tile("dots", Lane::F32, frame);
        let (rows, cols) = self.counts(frame);
        self.emit(Stmt::DotsListed { dst, lhs, of, rows, cols, depth });
        Ok(Some(self.element(dst, frame)))
    }

    /// Adds weights times the lines that a table names to the accumulator; false if they do not lie as lines.
    pub(super) fn add_looked_up_lines(
        &mut self,
        named: LookedUp,
        weights: TileId,
        (axis, frame): (AxisId, Frame),
        partial: Option<Masked>,
        acc: TileId,
    ) -> Result<bool, PlanError> {
        let Some(cols) = frame.cols else { return Ok(false) };
        let lanes = Frame::new(frame.rows, Some(axis));
        let Some(of) = self.listed_by(named, lanes, cols)? else { return Ok(false) };
        let ((rows, depth), cols) = (self.counts(lanes), self.counts(frame).1);
        let mut weights = weights;
        if let Some(Masked { cond, .. }) = partial {
            // A weight of 0 must not meet a line that is masked; the weights of others stay where they are.
            let own = self.frame_tile("w", Lane::F32, lanes);
            let value = self.element(weights, lanes);
            self.map(own, lanes, value);
            let drop = Stmt::DropUnweighted { weights: own, list: of.list, count: of.count, rows, cols: depth };
            self.emit(Stmt::If { cond, then: vec![drop], otherwise: Vec::new() });
            weights = own;
        }
        self.emit(Stmt::SumListed { dst: acc, weights, of, rows, cols, depth });
        Ok(true)
    }

    /// An operand whose lines lie in memory as a table says, such as the pages of a cache: line by line, which is quicker
    /// than to look up each element's place. `None` if it is no such operand.
    pub(super) fn lines_one_by_one(&mut self, term: TermId, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let (Some(rows), Some(cols)) = (frame.rows, frame.cols) else { return Ok(None) };
        let stored = match *self.planner.terms.node(term) {
            Node::Unary(UnaryOp::ToReal, x) => x,
            _ => term,
        };
        let Node::Input { input, index } = self.planner.terms.node(stored).clone() else { return Ok(None) };
        let Some((last, lead)) = index.split_last().filter(|_| is_line_type(self.planner.spec.input(input).dtype))
        else {
            return Ok(None);
        };
        let (lines, along, turned) = match *self.planner.terms.node(*last) {
            Node::Position(a) if a == cols => (rows, cols, false),
            Node::Position(a) if a == rows => (cols, rows, true),
            _ => return Ok(None),
        };
        let Binding::Tile(dim) = self.binding(lines).clone() else { return Ok(None) };
        let has = |t: &TermId, axis: AxisId| self.planner.terms.free(*t).contains(axis);
        let reads = |t: &TermId| self.planner.find(*t, &mut |_, node| matches!(node, Node::Input { .. }));
        let by_table = lead.iter().any(|t| has(t, lines) && reads(t));
        if !by_table || lead.iter().any(|t| has(t, along)) || dim.step != 1 {
            return Ok(None);
        }
        let by_lines = Frame::new(Some(lines), Some(along));
        let lane = self.lane(term, false);
        let tile = self.frame_tile("lines", lane, by_lines);
        let (var, t) = self.var(Lane::I64);
        let at = self.x().sum(dim.base, t);
        let body = self.inner(Some((lines, Binding::Fixed(at))), |nest| {
            let line = Frame::new(None, Some(along));
            let value = nest.eval(term, line, false)?;
            let value = nest.x().cast(lane, value);
            nest.map_row(tile, t, line, value);
            Ok(())
        })?;
        let from = self.x().int(0);
        self.emit(Stmt::For { var, from, to: dim.count, step: 1, body });
        let (row, col) = self.lane_index(by_lines);
        let (row, col) = if turned { (col, row) } else { (row, col) };
        Ok(Some(self.x().add(Expr::Tile { tile, row, col }, Some(lane))))
    }
}
