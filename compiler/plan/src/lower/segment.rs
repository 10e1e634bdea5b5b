//! Sums over the positions between a row's and a column's, as the difference of two prefixes.
//!
//! A score may fall by what lies between query and key (gates in logarithms, levels that add up). Taken pair by pair
//! that is a sum for each; here it is the prefix at one end less the prefix at the other. Prefixes are kept in f64,
//! and a tile subtracts the prefix at its own border from both ends before it goes on in f32, so that nothing is lost
//! that the sum itself has. What is not finite is left out of the prefixes and counted beside them, and a pair between
//! whose ends there is some takes its infinity, or is NaN if it has both.

use attnc_algebra::{AxisId, BinaryOp, Carry, NaryOp, Node, TermId, UnaryOp};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId};
use crate::loops::{KeyRange, Stmt, TileId, View};

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
    /// Sums of what is finite, in f64.
    sum: TileId,
    /// How many are -inf, and how many inf; NaN is both.
    infinite: [TileId; 2],
    frame: Frame,
}

/// What [`Prefixes::infinite`] counts.
const INFINITIES: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

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
        let infinite = INFINITIES.map(|infinity| {
            let other = terms.real(-infinity);
            let opposite = terms.binary(BinaryOp::Eq, r.body, other);
            let none = terms.nary(NaryOp::Or, vec![finite, opposite]);
            terms.add(Node::Select(none, zero, one))
        });
        let [sum, minus, plus] = [kept, infinite[0], infinite[1]]
            .map(|body| terms.add(Node::Scan { carry: Carry::Sum, axis: r.axis, row: ends, decay: one, body }));
        if !self.may_materialise(sum) {
            return Ok(None);
        }
        let [before_at, until_at] = [before, until].map(|end| self.prefixes(ends, sum, [minus, plus], end));
        let (before_at, until_at) = (before_at?, until_at?);
        let segment = self.difference_of_prefixes(frame, (before, &before_at), (until, &until_at))?;
        self.infinite_segments(segment, frame, &before_at, &until_at)?;
        Ok(Some(self.element(segment, frame)))
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
    fn prefixes(&mut self, ends: AxisId, sum: TermId, infinite: [TermId; 2], end: End) -> Result<Prefixes, PlanError> {
        let sum = self.prefix_at(ends, sum, end);
        let sum = self.prefix_tile(sum, end.frame)?;
        let [minus, plus] = infinite.map(|scan| {
            let count = self.prefix_at(ends, scan, end);
            self.planner.terms.unary(UnaryOp::RealToInt, count)
        });
        let infinite = [self.prefix_tile(minus, end.frame)?, self.prefix_tile(plus, end.frame)?];
        Ok(Prefixes { sum, infinite, frame: end.frame })
    }

    /// A prefix at an end; 0 before the first position.
    fn prefix_at(&mut self, ends: AxisId, scan: TermId, end: End) -> TermId {
        let terms = &mut self.planner.terms;
        let there = terms.add(Node::At { axis: ends, index: end.last, body: scan });
        if matches!(terms.node(end.last), Node::Position(_)) {
            return there;
        }
        let zero = terms.int(0);
        let some = terms.binary(BinaryOp::Le, zero, end.last);
        let none = terms.real(0.0);
        terms.add(Node::Select(some, there, none))
    }

    fn prefix_tile(&mut self, term: TermId, frame: Frame) -> Result<TileId, PlanError> {
        match self.exact_tile(term, frame)? {
            View::Tile { tile, .. } => Ok(tile),
            View::Buffer { .. } | View::Pairs { .. } => unreachable!("an exact tile is a tile"),
        }
    }

    /// An element of a row or column of prefixes: the first, or the last.
    fn end_of(&mut self, tile: TileId, frame: Frame, last: bool) -> ExprId {
        let (rows, cols) = self.counts(frame);
        let at = |nest: &mut Self, count: ExprId| if last { nest.plus(count, -1) } else { nest.x().int(0) };
        let (row, col) = (at(self, rows), at(self, cols));
        let lane = self.program.tiles[tile.0 as usize].lane;
        let value = self.x().add(Expr::Tile { tile, row, col }, Some(lane));
        self.let_scalar(value)
    }

    /// The sums of what is finite between the ends, in a tile.
    fn difference_of_prefixes(
        &mut self,
        frame: Frame,
        (before, from): (End, &Prefixes),
        (until, to): (End, &Prefixes),
    ) -> Result<TileId, PlanError> {
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
        self.emit(Stmt::If { cond: inside, then: whole, otherwise: cut });
        Ok(segment)
    }

    /// Overwrites the sums of segments that hold something infinite. A tile across none of a kind is not touched for it.
    fn infinite_segments(
        &mut self,
        segment: TileId,
        frame: Frame,
        from: &Prefixes,
        to: &Prefixes,
    ) -> Result<(), PlanError> {
        let mut has = Vec::new();
        for (kind, infinity) in INFINITIES.into_iter().enumerate() {
            let ends = [(from, false), (to, true)].map(|(at, last)| self.end_of(at.infinite[kind], at.frame, last));
            let some = self.x().binary(BinaryOp::Lt, ends[0], ends[1]);
            let some = self.let_scalar(some);
            has.push(some);
            // Segments across none: counts never decrease, and an empty segment's first is at least its last.
            let (before, until) = (from.infinite[kind], to.infinite[kind]);
            let range = match from.frame.cols {
                Some(_) => KeyRange { least: Some(until), most: None, keys: before, inside: true },
                None => KeyRange { least: None, most: Some(before), keys: until, inside: true },
            };
            let (rows, cols) = self.counts(frame);
            let keep = Stmt::KeepKeys { tile: segment, any: vec![range], fill: infinity, rows, cols };
            self.emit(Stmt::If { cond: some, then: vec![keep], otherwise: Vec::new() });
        }
        let both = self.and(has[0], has[1]);
        let at_most_one = self.not(both);
        let along = frame.cols.map(|a| (a, self.binding(a).clone()));
        let otherwise = self.inner(along, |nest| {
            let across = [0, 1].map(|kind| {
                let [before, until] = [from, to].map(|at| nest.element(at.infinite[kind], at.frame));
                nest.x().binary(BinaryOp::Lt, before, until)
            });
            let across = nest.and(across[0], across[1]);
            let nan = nest.constant(f64::NAN);
            let sum = nest.element(segment, frame);
            let value = nest.choose(across, nan, sum);
            nest.map(segment, frame, value);
            Ok(())
        })?;
        self.emit(Stmt::If { cond: at_most_one, then: Vec::new(), otherwise });
        Ok(())
    }
}
