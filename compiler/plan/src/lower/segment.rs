//! Sums over the positions between a row's and a column's, as the difference of two prefixes.
//!
//! A score may fall by what lies between query and key (gates in logarithms, levels that add up). Taken pair by pair
//! that is a sum for each; here it is the prefix at one end less the prefix at the other. Prefixes are kept in f64,
//! and a tile subtracts the prefix at its own border from both ends before it goes on in f32, so that nothing is lost
//! that the sum itself has. What is no number is left out of the prefixes and counted beside them: a tile between
//! whose ends there is some sums as written.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, TermId, UnaryOp};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Stmt, TileId, View};

use super::nest::{Binding, Frame, Nest};
use super::reduce::Reduction;

/// One end of a segment.
#[derive(Clone, Copy)]
struct End {
    /// The last position of the prefix; -1 and less for none.
    last: TermId,
    /// The frame of that position: the rows or the columns.
    frame: Frame,
}

/// Prefixes of a summand at one end, on the current tile.
struct Prefixes {
    /// Sums of the numbers, in f64.
    sum: TileId,
    /// How many are none.
    odd: TileId,
    frame: Frame,
}

impl Nest<'_, '_> {
    /// Lowers `sum[t where a < t and t <= b](x)` with one of a and b along the rows, the other along the columns, and
    /// x free of both; `None` if it is of another kind.
    pub fn lower_segment_sum(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let Some((before, until)) = self.segment(r, frame) else { return Ok(None) };
        let taken = self.planner.spec.axis(r.axis).extent;
        let ends = self.planner.new_axis("ends", taken);
        let terms = &mut self.planner.terms;
        let (zero, one) = (terms.real(0.0), terms.real(1.0));
        let minus = terms.unary(UnaryOp::Neg, r.body);
        let nothing = terms.nary(NaryOp::Add, vec![r.body, minus]);
        let finite = terms.binary(BinaryOp::Eq, nothing, zero);
        let kept = terms.add(Node::Select(finite, r.body, zero));
        let odd = terms.add(Node::Select(finite, zero, one));
        let [sum, odd] = [kept, odd].map(|body| Node::Scan { axis: r.axis, row: ends, decay: one, body });
        let (sum, odd) = (terms.add(sum), terms.add(odd));
        if !self.may_materialise(sum) {
            return Ok(None);
        }
        let [before_at, until_at] = [before, until].map(|end| self.prefixes(ends, sum, odd, end));
        let (before_at, until_at) = (before_at?, until_at?);
        let value = self.difference_of_prefixes(r, frame, (before, &before_at), (until, &until_at))?;
        Ok(Some(value))
    }

    /// The ends of the segment over which the reduction runs: what comes before it, and its last position.
    fn segment(&mut self, r: Reduction, frame: Frame) -> Option<(End, End)> {
        let (rows, cols) = (frame.rows?, frame.cols?);
        let body = self.planner.terms.free(r.body);
        if body.contains(rows) || body.contains(cols) || !body.contains(r.axis) {
            return None;
        }
        let Node::Nary(NaryOp::And, conditions) = self.planner.terms.node(r.domain).clone() else { return None };
        let (mut before, mut until) = (None, None);
        for condition in conditions {
            let Node::Binary(op, x, y) = *self.planner.terms.node(condition) else { return None };
            let own = |t: TermId| *self.planner.terms.node(t) == Node::Position(r.axis);
            let (slot, other, off) = match (op, own(x), own(y)) {
                (BinaryOp::Lt, false, true) => (&mut before, x, 0),
                (BinaryOp::Le, false, true) => (&mut before, x, -1),
                (BinaryOp::Le, true, false) => (&mut until, y, 0),
                (BinaryOp::Lt, true, false) => (&mut until, y, -1),
                _ => return None,
            };
            if slot.replace((other, off)).is_some() {
                return None;
            }
        }
        let ((before, b), (until, u)) = (before?, until?);
        let (before_axis, until_axis) = (self.shifted_position(before)?, self.shifted_position(until)?);
        let frame_of = |axis: AxisId| Frame::new((axis == rows).then_some(rows), (axis == cols).then_some(cols));
        let pair = [before_axis, until_axis];
        let unit = |nest: &Self, axis: AxisId| matches!(nest.binding(axis), Binding::Tile(d) | Binding::Whole(d) if d.step == 1);
        if !(pair == [rows, cols] || pair == [cols, rows]) || !unit(self, rows) || !unit(self, cols) {
            return None;
        }
        let mut end = |term, off: i64, axis| {
            let terms = &mut self.planner.terms;
            let off = (off != 0).then(|| terms.int(off));
            let last = off.map_or(term, |off| terms.nary(NaryOp::Add, vec![term, off]));
            End { last, frame: frame_of(axis) }
        };
        Some((end(before, b, before_axis), end(until, u, until_axis)))
    }

    /// The axis whose position, plus an integer without axes, the term is.
    fn shifted_position(&mut self, term: TermId) -> Option<AxisId> {
        match self.planner.terms.node(term).clone() {
            Node::Position(axis) => Some(axis),
            Node::Nary(NaryOp::Add, xs) => {
                let (moving, fixed): (Vec<TermId>, Vec<TermId>) =
                    xs.into_iter().partition(|x| !self.planner.terms.free(*x).is_empty());
                let sound = fixed.iter().all(|x| self.planner.is_data_free(*x));
                let [one] = moving[..] else { return None };
                self.shifted_position(one).filter(|_| sound)
            }
            _ => None,
        }
    }

    /// The prefixes at the positions of one end, in the scope of those positions.
    fn prefixes(&mut self, ends: AxisId, sum: TermId, odd: TermId, end: End) -> Result<Prefixes, PlanError> {
        let [sum, odd] = [sum, odd].map(|scan| {
            let terms = &mut self.planner.terms;
            let there = terms.add(Node::At { axis: ends, index: end.last, body: scan });
            if matches!(terms.node(end.last), Node::Position(_)) {
                return there;
            }
            let zero = terms.int(0);
            let some = terms.binary(BinaryOp::Le, zero, end.last);
            let none = terms.real(0.0);
            terms.add(Node::Select(some, there, none))
        });
        let [sum, odd] = [sum, odd].map(|term| match self.exact_tile(term, end.frame) {
            Ok(View::Tile { tile, .. }) => Ok(tile),
            Ok(View::Buffer { .. }) => unreachable!("an exact tile is a tile"),
            Err(error) => Err(error),
        });
        Ok(Prefixes { sum: sum?, odd: odd?, frame: end.frame })
    }

    /// An element of a row or column of prefixes: the first, or the last.
    fn end_of(&mut self, tile: TileId, frame: Frame, last: bool) -> ExprId {
        let (rows, cols) = self.counts(frame);
        let at = |nest: &mut Self, count: ExprId| if last { nest.plus(count, -1) } else { nest.x().int(0) };
        let (row, col) = (at(self, rows), at(self, cols));
        let value = self.x().add(Expr::Tile { tile, row, col }, Some(Lane::F64));
        self.let_scalar(value)
    }

    fn difference_of_prefixes(
        &mut self,
        r: Reduction,
        frame: Frame,
        (before, from): (End, &Prefixes),
        (until, to): (End, &Prefixes),
    ) -> Result<ExprId, PlanError> {
        let compute = self.program.compute;
        let border = match from.frame.cols {
            Some(_) => self.end_of(from.sum, from.frame, true),
            None => self.end_of(to.sum, to.frame, false),
        };
        let above = self.element(to.sum, to.frame);
        let above = self.x().difference(above, border);
        let below = self.element(from.sum, from.frame);
        let below = self.x().difference(border, below);
        let [above, below] = [(above, to.frame), (below, from.frame)].map(|(part, own)| {
            let part = self.x().cast(compute, part);
            let tile = self.as_tile("end", part, own);
            self.element(tile, own)
        });
        let sum = self.x().sum(above, below);
        let segment = self.frame_tile("segment", compute, frame);

        let (last, first) = (self.interval(until.last), self.interval(before.last));
        let inside = match (first, last) {
            (Some(first), Some(last)) => self.x().binary(BinaryOp::Lt, first.hi, last.lo),
            _ => self.x().truth(false),
        };
        let along = frame.cols.map(|a| (a, self.binding(a).clone()));
        let whole = self.inner(along.clone(), |nest| {
            nest.map(segment, frame, sum);
            Ok(())
        })?;
        let cut = self.inner(along.clone(), |nest| {
            let (from, to) = (nest.eval(before.last, frame, true)?, nest.eval(until.last, frame, true)?);
            let some = nest.x().binary(BinaryOp::Lt, from, to);
            let zero = nest.x().real(compute, 0.0);
            let value = nest.choose(some, sum, zero);
            nest.map(segment, frame, value);
            Ok(())
        })?;
        let numbers = vec![Stmt::If { cond: inside, then: whole, otherwise: cut }];
        let as_written = self.inner(along, |nest| {
            let value = nest.lower_in_turns(r, frame, false)?;
            nest.map(segment, frame, value);
            Ok(())
        })?;
        let odd = [self.end_of(from.odd, from.frame, false), self.end_of(to.odd, to.frame, true)];
        let same = self.x().binary(BinaryOp::Eq, odd[0], odd[1]);
        let same = self.let_scalar(same);
        self.emit(Stmt::If { cond: same, then: numbers, otherwise: as_written });
        Ok(self.element(segment, frame))
    }
}
