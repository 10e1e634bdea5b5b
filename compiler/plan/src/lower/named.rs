//! Softmax over keys that each row names.
//!
//! Where a key is seen if some position of a short axis names it (`any[r](near[i, r] == j)`: lists of neighbours), the
//! names are what a row lists ([`super::listed`]), and no pair is looked at. A name that comes twice, or that another part
//! of the domain forbids, is put below all positions, where nothing is listed.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, TermId};

use std::collections::BTreeMap;

use crate::error::PlanError;
use crate::loops::expr::{Expr, Lane};
use crate::loops::{Additions, Stmt};

use super::listed::{Lists, ROOM, Step};
use super::nest::{Frame, Nest};

/// The keys that a row names.
pub(super) struct Named {
    /// The axis of the names.
    names: AxisId,
    /// The position that is named, or -1.
    place: TermId,
    /// How many names there are.
    pub count: i64,
}

/// A search for the position among names.
struct Search {
    over: AxisId,
    /// What is named.
    name: TermId,
    /// What else must hold of a name.
    rest: Vec<TermId>,
}

impl Nest<'_, '_> {
    /// The domain as keys that rows name; `None` if it is of another kind.
    pub(super) fn named(&mut self, axis: AxisId, domain: TermId) -> Option<Named> {
        let mut parts = self.planner.terms.conditions(domain);
        let at = parts.iter().position(|part| self.search(*part, axis).is_some())?;
        let Search { over, name, rest } = self.search(parts.remove(at), axis)?;
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
        holds.push(terms.unary(attnc_algebra::UnaryOp::Not, again));
        let (listed, none) = (terms.nary(NaryOp::And, holds), terms.int(-1));
        let place = terms.add(Node::Select(listed, own, none));
        Some(Named { names, place, count: self.planner.hint_extent(names) })
    }

    /// A predicate as a search for the position of an axis among names.
    fn search(&mut self, part: TermId, axis: AxisId) -> Option<Search> {
        let Node::Reduce { op: ReduceOp::Any, axis: over, domain, body } = *self.planner.terms.node(part) else {
            return None;
        };
        if self.is_bound(over) || !self.planner.is_short(over) || over == axis {
            return None;
        }
        let mut rest = self.planner.terms.conditions(body);
        if !self.is_true(domain) {
            rest.extend(self.planner.terms.conditions(domain));
        }
        let position = self.planner.terms.position(axis);
        let named = |nest: &Self, part: TermId| {
            let Node::Binary(BinaryOp::Eq, x, y) = *nest.planner.terms.node(part) else { return None };
            let name = if x == position { y } else { x };
            let free = nest.planner.terms.free(name);
            ((x == position || y == position) && free.contains(over) && !free.contains(axis)).then_some(name)
        };
        let at = rest.iter().position(|part| named(self, *part).is_some())?;
        let name = named(self, rest.remove(at))?;
        Some(Search { over, name, rest })
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
            let [from, to] = [place, next].map(|end| nest.as_tile("end", end, rows));
            let (first, count_of_rows, cols) = (nest.x().int(0), nest.counts(rows).0, nest.extent(step.of.axis));
            let (added, Lists { list, count, most }) = (Additions::Spans { from, to }, step.lists);
            let share = 1.0 / nest.planner.hint_extent(step.of.axis) as f64;
            nest.emit(Stmt::List { list, count, most, added, first, rows: count_of_rows, cols, share });
            nest.when_longer(step.lists, ROOM - 1, |nest| nest.over_lists(step))
        })?;
        let (from, to) = (self.x().int(0), self.extent(named.names));
        self.emit(Stmt::For { var, from, to, step: 1, body });
        Ok(())
    }
}
