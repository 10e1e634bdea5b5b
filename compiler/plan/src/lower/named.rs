//! Softmax over keys that each row names.
//!
//! Where a key is seen if some position of a short axis names it (`any[r](near[i, r] == j)`: lists of neighbours; or its
//! distance, `any[r](far[r] == i - j)`), the
//! names are what a row lists ([`super::listed`]), and no pair is looked at. A name that comes twice, or that another part
//! of the domain forbids, is put below all positions, where nothing is listed. In a tile, names are marked in their row and
//! not looked for at each pair.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, TermId, UnaryOp};

use std::collections::BTreeMap;

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Additions, Stmt, TileId};

use super::listed::{Lists, ROOM, Step};
use super::nest::{Frame, Nest};
use super::reduce::Reduction;

/// The keys that a row names.
pub(super) struct Named {
    /// The axis of the names.
    names: AxisId,
    /// The position that is named, or -1.
    place: TermId,
    /// How many names there are.
    pub count: i64,
}

/// Names from which on marking them is quicker than comparing each with every pair.
const MARKED: i64 = 4;

/// A search for the position among names.
struct Search {
    /// What is named.
    name: TermId,
    /// What else must hold of a name.
    rest: Vec<TermId>,
}

impl Nest<'_, '_> {
    /// The domain as keys that rows name; `None` if it is of another kind.
    pub(super) fn named(&mut self, axis: AxisId, domain: TermId) -> Option<Named> {
        let mut parts = self.planner.terms.conditions(domain);
        let at = parts.iter().position(|part| self.search_of(*part, axis).is_some())?;
        let (over, Search { name, rest }) = self.search_of(parts.remove(at), axis)?;
        // What reduces may mean another position by the same axis.
        if parts.iter().chain(&rest).chain([&name]).any(|part| self.planner.has_reduction(*part)) {
            return None;
        }
        let extent = self.planner.spec.axis(over).extent;
        let [names, before] = ["names", "before"].map(|axis| self.planner.new_axis(axis, extent));
        let among = |nest: &mut Self, term: TermId, names: AxisId| {
            let [from, to] = [over, names].map(|axis| nest.planner.terms.position(axis));
            nest.planner.with_replaced(term, (over, from, to), &mut BTreeMap::new())
        };
        let own = among(self, name, names);
        let position = self.planner.terms.position(axis);
        let mut holds = Vec::new();
        for part in rest.iter().chain(&parts) {
            let part = if rest.contains(part) { among(self, *part, names) } else { *part };
            holds.push(self.planner.with_replaced(part, (axis, position, own), &mut BTreeMap::new()));
        }
        let earlier = among(self, name, before);
        let terms = &mut self.planner.terms;
        let [here, there] = [names, before].map(|axis| terms.position(axis));
        let comes_first = terms.binary(BinaryOp::Lt, there, here);
        let same = terms.binary(BinaryOp::Eq, earlier, own);
        let same = match rest[..] {
            [] => same,
            _ => {
                let parts: Vec<TermId> = rest.iter().map(|part| among(self, *part, before)).collect();
                self.planner.terms.nary(NaryOp::And, [parts, vec![same]].concat())
            }
        };
        let terms = &mut self.planner.terms;
        let again = terms.reduce(ReduceOp::Any, before, comes_first, same);
        holds.push(terms.unary(UnaryOp::Not, again));
        let (listed, none) = (terms.nary(NaryOp::And, holds), terms.int(-1));
        let place = terms.add(Node::Select(listed, own, none));
        Some(Named { names, place, count: self.planner.hint_extent(names) })
    }

    /// A predicate as a search for the position of an axis among names, with the axis of these.
    fn search_of(&mut self, part: TermId, axis: AxisId) -> Option<(AxisId, Search)> {
        let Node::Reduce { op: ReduceOp::Any, axis: over, domain, body } = *self.planner.terms.node(part) else {
            return None;
        };
        if self.is_bound(over) || over == axis {
            return None;
        }
        Some((over, self.search(over, (domain, body), axis)?))
    }

    /// What is searched over a short axis as a search for the position of another one among names.
    fn search(&mut self, over: AxisId, (domain, body): (TermId, TermId), axis: AxisId) -> Option<Search> {
        let mut rest = self.planner.terms.conditions(body);
        if !self.is_true(domain) {
            rest.extend(self.planner.terms.conditions(domain));
        }
        let found = rest.iter().enumerate().find_map(|(at, part)| {
            let name = self.position_that_solves(*part, axis)?;
            self.planner.terms.free(name).contains(over).then_some((at, name))
        });
        let (at, name) = found?;
        rest.remove(at);
        self.planner.is_short(over).then_some(Search { name, rest })
    }

    /// What the position of an axis is where the equality holds: its other side, or of sums that have the position once
    /// what is left of them (`i - d` of `d == i - j`).
    fn position_that_solves(&mut self, part: TermId, axis: AxisId) -> Option<TermId> {
        let Node::Binary(BinaryOp::Eq, x, y) = *self.planner.terms.node(part) else { return None };
        if !self.integral(x) || !self.integral(y) {
            return None;
        }
        let terms = &mut self.planner.terms;
        let mut summands: Vec<(TermId, bool)> = Vec::new();
        for (side, negative) in [(x, false), (y, true)] {
            let parts = match terms.node(side) {
                Node::Nary(NaryOp::Add, parts) => parts.clone(),
                _ => vec![side],
            };
            summands.extend(parts.into_iter().map(|part| match *terms.node(part) {
                Node::Unary(UnaryOp::Neg, part) => (part, !negative),
                _ => (part, negative),
            }));
        }
        let at = summands.iter().position(|(part, _)| *terms.node(*part) == Node::Position(axis))?;
        let (_, taken) = summands.remove(at);
        if summands.iter().any(|(part, _)| terms.free(*part).contains(axis)) {
            return None;
        }
        let mut signed = summands.into_iter().map(|(part, negative)| match negative == taken {
            true => terms.unary(UnaryOp::Neg, part),
            false => part,
        });
        match (signed.next(), signed.collect::<Vec<_>>()) {
            (Some(one), rest) if rest.is_empty() => Some(one),
            (Some(first), rest) => Some(terms.nary(NaryOp::Add, [vec![first], rest].concat())),
            (None, _) => None,
        }
    }

    /// Lowers a search in a tile for the positions of one of its axes among names that the other axis has: they are
    /// marked. `None` if it is no such search.
    pub(super) fn lower_marked(
        &mut self,
        r: Reduction,
        frame: Frame,
        exact: bool,
    ) -> Result<Option<ExprId>, PlanError> {
        let many = frame.cols.is_some() && self.planner.hint_extent(r.axis) >= MARKED;
        if r.op != ReduceOp::Any || !many {
            return Ok(None);
        }
        for (keys, others, turned) in [(frame.cols, frame.rows, false), (frame.rows, frame.cols, true)] {
            let Some(keys) = keys.filter(|keys| self.dim(*keys).step == 1 && *keys != r.axis) else { continue };
            let Some(Search { name, mut rest }) = self.search(r.axis, (r.domain, r.body), keys) else { continue };
            if rest.iter().any(|part| self.planner.terms.free(*part).contains(keys)) {
                continue;
            }
            let terms = &mut self.planner.terms;
            let none = terms.int(-1);
            let place = match rest.len() {
                0 => name,
                _ => {
                    let holds = if rest.len() == 1 { rest.remove(0) } else { terms.nary(NaryOp::And, rest) };
                    terms.add(Node::Select(holds, name, none))
                }
            };
            let marks = self.marks((r.axis, place), (keys, others), exact)?;
            let (row, col) = self.lane_index(frame);
            let (row, col) = if turned { (col, row) } else { (row, col) };
            let lane = self.program.compute;
            let mark = self.x().add(Expr::Tile { tile: marks, row, col }, Some(lane));
            let zero = self.constant(0.0);
            return Ok(Some(self.x().binary(BinaryOp::Lt, zero, mark)));
        }
        Ok(None)
    }

    /// A tile of how often each position of `others` names each of `keys`.
    fn marks(
        &mut self,
        (names, place): (AxisId, TermId),
        (keys, others): (AxisId, Option<AxisId>),
        exact: bool,
    ) -> Result<TileId, PlanError> {
        let (tile_frame, name_frame) = (Frame::new(others, Some(keys)), Frame::new(others, Some(names)));
        let marks = self.frame_tile("marks", self.program.compute, tile_frame);
        let zero = self.constant(0.0);
        self.map(marks, tile_frame, zero);
        self.with_whole(names, |nest| {
            // Names are the same for all tiles of keys.
            let depth = nest.depth_of(place);
            let key = nest.key(place, name_frame, exact);
            let place = match nest.remembered(depth, &key) {
                Some(known) => known,
                None => {
                    let value = nest.at(depth, |nest| {
                        let value = nest.eval(place, name_frame, exact)?;
                        let tile = nest.as_tile("names", value, name_frame);
                        Ok::<_, PlanError>(nest.element(tile, name_frame))
                    })?;
                    nest.remember(depth, key, value);
                    value
                }
            };
            let base = nest.dim(keys).base;
            let at = nest.x().difference(place, base);
            let (at, one) = (nest.as_tile("at", at, name_frame), nest.constant(1.0));
            let src = nest.frame_tile("one", nest.program.compute, name_frame);
            nest.map(src, name_frame, one);
            let ((rows, cols), width) = (nest.counts(name_frame), nest.counts(tile_frame).1);
            nest.emit(Stmt::ScatterAdd { dst: marks, src, at, rows, cols, width });
            Ok(())
        })?;
        Ok(marks)
    }

    /// Lists what is named, a name of each row at a time; the softmax takes what no longer fits.
    pub(super) fn list_named(&mut self, named: &Named, step: &Step<'_>) -> Result<(), PlanError> {
        let rows = step.of.online.rows;
        let places = self.with_whole(named.names, |nest| {
            let frame = Frame::new(rows.rows, Some(named.names));
            let value = nest.eval(named.place, frame, false)?;
            Ok(nest.as_tile("places", value, frame))
        })?;
        let (var, at) = self.var(Lane::I64);
        let body = self.inner(None, |nest| {
            let row = nest.lane_index(rows).0;
            let place = nest.x().add(Expr::Tile { tile: places, row, col: at }, Some(Lane::I64));
            let next = nest.plus(place, 1);
            let spans = nest.span_ends([place, next], rows);
            let (first, count_of_rows, cols) = (nest.x().int(0), nest.counts(rows).0, nest.extent(step.of.axis));
            let (added, Lists { list, count, most }) = (Additions::Spans(spans), step.lists);
            let share = 1.0 / nest.planner.hint_extent(step.of.axis) as f64;
            nest.emit(Stmt::List { list, count, most, added, first, rows: count_of_rows, cols, share });
            nest.when_longer(step.lists, ROOM - 1, |nest| nest.over_lists(step))
        })?;
        let (from, to) = (self.x().int(0), self.extent(named.names));
        self.emit(Stmt::For { var, from, to, step: 1, body });
        Ok(())
    }
}
