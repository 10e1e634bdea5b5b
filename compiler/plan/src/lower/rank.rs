//! Ranks: how many of a row come before each of its elements.
//!
//! `rank` is defined by counting, one comparison for each pair. A count of
//! what is larger, or equal and earlier, with numbers before NaN, is the place
//! in a sorted row, so a row is sorted once and all its ranks are written. The
//! row is held whole in a tile of the task that asks; where all uses compare
//! the rank with integers that are bounded, only so many places are sorted.

use std::collections::{BTreeMap, BTreeSet};

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, TermId, Terms, Type};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Stmt, TileId};
use crate::planner::Planner;

use super::nest::{Binding, Frame, Nest};

/// A rank taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rank {
    /// The axis whose positions are ranked.
    pub along: AxisId,
    /// The axis that the count runs over.
    copy: AxisId,
    /// What is ranked, at the copy.
    key: TermId,
    /// Which of the copy's positions are counted.
    counted: TermId,
}

/// A rank and what it is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    rank: TermId,
    with: TermId,
}

/// A condition on the copy, `None` if it is another.
struct Before {
    along: AxisId,
    here: TermId,
    there: TermId,
}

impl Before {
    /// Reads `there comes before here`, as `rank` is elaborated.
    fn read(terms: &Terms, condition: TermId, copy: AxisId) -> Option<Self> {
        let Node::Select(nan, last, number) = *terms.node(condition) else {
            return Self::of_numbers(terms, condition, copy).filter(|b| terms.ty(b.here) == Type::Int);
        };
        let before = Self::of_numbers(terms, number, copy)?;
        let is_nan = *terms.node(nan) == Node::Binary(BinaryOp::Ne, before.here, before.here);
        let is_number = |t: TermId| *terms.node(t) == Node::Binary(BinaryOp::Eq, before.there, before.there);
        let Node::Nary(NaryOp::Or, cases) = terms.node(last) else { return None };
        let earlier = |t: TermId| earlier(terms, t, copy) == Some(before.along);
        let all = match cases[..] {
            [x, y] => is_number(x) && earlier(y) || is_number(y) && earlier(x),
            _ => false,
        };
        (is_nan && all && terms.ty(before.here) == Type::Real).then_some(before)
    }

    /// `there > here, or there == here at a lower position`.
    fn of_numbers(terms: &Terms, condition: TermId, copy: AxisId) -> Option<Self> {
        let Node::Nary(NaryOp::Or, cases) = terms.node(condition) else { return None };
        let [x, y] = cases[..] else { return None };
        [(x, y), (y, x)].into_iter().find_map(|(larger, tied)| {
            let Node::Binary(BinaryOp::Lt, here, there) = *terms.node(larger) else { return None };
            let Node::Nary(NaryOp::And, both) = terms.node(tied) else { return None };
            let [x, y] = both[..] else { return None };
            let equal = |t: TermId| match *terms.node(t) {
                Node::Binary(BinaryOp::Eq, a, b) => (a, b) == (here, there) || (b, a) == (here, there),
                _ => false,
            };
            let tied = [(x, y), (y, x)].into_iter().find(|(e, _)| equal(*e));
            let along = earlier(terms, tied?.1, copy)?;
            Some(Self { along, here, there })
        })
    }
}

/// The axis before whose position the copy's lies.
fn earlier(terms: &Terms, condition: TermId, copy: AxisId) -> Option<AxisId> {
    let Node::Binary(BinaryOp::Lt, x, y) = *terms.node(condition) else { return None };
    match (terms.node(x), terms.node(y)) {
        (Node::Position(c), Node::Position(along)) if *c == copy => Some(*along),
        _ => None,
    }
}

impl Planner<'_> {
    /// The term as a rank; `None` if it is another.
    pub fn rank(&mut self, term: TermId) -> Option<Rank> {
        let Node::Reduce { op: ReduceOp::Sum, axis: copy, domain, body } = *self.terms.node(term) else { return None };
        if *self.terms.node(body) != Node::Int(1) {
            return None;
        }
        let conditions = self.terms.conditions(domain);
        let found = conditions.iter().enumerate().find_map(|(at, c)| Some((at, Before::read(&self.terms, *c, copy)?)));
        let (at, Before { along, here, there }) = found?;
        let rest: Vec<TermId> = conditions.iter().enumerate().filter(|(k, _)| *k != at).map(|(_, t)| *t).collect();
        let counted = match rest[..] {
            [] => self.terms.add(Node::Bool(true)),
            _ => self.terms.nary(NaryOp::And, rest),
        };
        let apart = !self.terms.free(counted).contains(along) && !self.terms.free(there).contains(along);
        (apart && self.is_copy(here, along, there, copy)).then_some(Rank { along, copy, key: there, counted })
    }

    /// Whether `there` is `here` with `copy` in the place of `along`.
    fn is_copy(&mut self, here: TermId, along: AxisId, there: TermId, copy: AxisId) -> bool {
        let [here, there] = [here, there].map(|t| self.form(t, true));
        let moved: Vec<AxisId> = here.axes.iter().map(|a| if *a == along { copy } else { *a }).collect();
        here.number == there.number && (moved == there.axes)
    }

    /// The axes of ranks in the term that are too large for a buffer.
    pub fn large_ranks(&mut self, term: TermId) -> Vec<AxisId> {
        let counts = self.counts(term, |planner, t| !planner.fits_a_buffer(t));
        counts.into_iter().filter_map(|t| Some(self.rank(t)?.along)).collect()
    }

    /// Whether a rank in the term differs from position to position of `rows`, and runs along another axis.
    pub fn ranks_for_each(&mut self, term: TermId, rows: AxisId) -> bool {
        let counts = self.counts(term, |planner, t| planner.terms.free(t).contains(rows));
        counts.into_iter().any(|t| self.rank(t).is_some_and(|rank| rank.along != rows))
    }

    /// The sums of integers in the term, which ranks are, for which `wanted` holds.
    fn counts(&self, term: TermId, wanted: impl Fn(&Self, TermId) -> bool) -> Vec<TermId> {
        let mut counts = Vec::new();
        self.find(term, &mut |t, node| {
            let count = matches!(node, Node::Reduce { op: ReduceOp::Sum, .. }) && self.terms.ty(t) == Type::Int;
            if count && wanted(self, t) {
                counts.push(t);
            }
            false
        });
        counts
    }

    /// What ranks are compared with, by their form; those of which another use is made have none.
    pub fn compared_ranks(&mut self, roots: &[TermId]) -> BTreeMap<u32, Option<Vec<Compared>>> {
        let mut ranks = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut open = roots.to_vec();
        for root in roots {
            self.note_use(*root, None, &mut ranks);
        }
        while let Some(term) = open.pop() {
            if !seen.insert(term) {
                continue;
            }
            let node = self.terms.node(term).clone();
            for operand in node.operands() {
                let with = match node {
                    Node::Binary(op, x, y) if op.is_comparison() && x != y => Some(if operand == x { y } else { x }),
                    _ => None,
                };
                if !matches!(node, Node::At { body, .. } if body == operand) {
                    self.note_use(operand, with, &mut ranks);
                }
                open.push(operand);
            }
        }
        ranks
    }

    fn note_use(&mut self, mut rank: TermId, with: Option<TermId>, ranks: &mut BTreeMap<u32, Option<Vec<Compared>>>) {
        let mut with = with.filter(|with| self.terms.ty(*with) == Type::Int);
        // What is read at a place is compared where it is read, which is another position of that axis.
        while let Node::At { axis, body, .. } = *self.terms.node(rank) {
            with = with.filter(|with| !self.terms.free(*with).contains(axis));
            rank = body;
        }
        if self.rank(rank).is_some() {
            let known = ranks.entry(self.form(rank, true).number).or_insert_with(|| Some(Vec::new()));
            match (known.as_mut(), with) {
                (Some(all), Some(with)) => all.push(Compared { rank, with }),
                _ => *known = None,
            }
        }
    }

    /// What a rank, and every copy of it, is compared with, over its own axes; `None` if another use is made of one.
    fn compared_with(&mut self, rank: TermId) -> Option<Vec<TermId>> {
        let own = self.form(rank, true);
        let all = self.ranks.get(&own.number).cloned().flatten()?;
        let over_own = |planner: &mut Self, Compared { rank: copy, with }: Compared| {
            if copy == rank || planner.terms.free(with).is_empty() {
                return Some(with);
            }
            // The axes of a copy are others, in the same places, unless there are several ways to pair them.
            let other = planner.form(copy, true);
            let pairs: Vec<(AxisId, AxisId)> = other.axes.iter().copied().zip(own.axes.iter().copied()).collect();
            let moved = pairs.iter().any(|(from, to)| from != to && planner.terms.free(with).contains(*from));
            (!moved && !own.is_symmetric()).then_some(with)
        };
        all.into_iter().map(|compared| over_own(self, compared)).collect()
    }
}

impl Nest<'_, '_> {
    /// Whether the lines to be ranked for a frame make a tile.
    pub fn lines_fit(&self, rank: Rank, frame: Frame) -> bool {
        let others = [frame.rows, frame.cols].into_iter().flatten().filter(|axis| *axis != rank.along);
        others.count() <= 1
    }

    /// Whether every tile of the ranked axis would rank the same rows.
    pub fn ranks_again(&self, term: TermId, rank: Rank) -> bool {
        let fixed = self.planner.terms.free(term).without(rank.along);
        let whole = matches!(self.binding(rank.along), Binding::Whole(_));
        !whole && self.depth_of_axes(&[rank.along].into_iter().collect()) <= self.depth_of_axes(&fixed)
    }

    /// A rank at the lane of `frame`, read from a tile that holds those of whole rows.
    pub fn lower_rank(&mut self, term: TermId, rank: Rank, frame: Frame) -> Result<ExprId, PlanError> {
        let rows = [frame.rows, frame.cols].into_iter().flatten().find(|axis| *axis != rank.along);
        let fixed = self.planner.terms.free(term).without(rank.along);
        let depth = self.depth_of_axes(&fixed);
        let line = Frame::new(rows, Some(rank.copy));
        let key = self.line_key(term, Frame::new(rows, None), &fixed);
        let known = self.remembered(depth, &key).map(|value| self.tiles_of(value));
        let tile = match known.as_deref() {
            Some([tile]) => *tile,
            _ => {
                let tile = self.at(depth, |nest| nest.rank_rows(term, rank, line))?;
                let value = self.element(tile, Frame::new(rows, None));
                self.remember(depth, key, value);
                tile
            }
        };
        let row = match rows {
            None => self.x().int(0),
            Some(_) if rows == frame.rows => self.x().add(Expr::Row, None),
            Some(_) => self.x().add(Expr::Col, None),
        };
        let col = self.position(rank.along, frame);
        Ok(self.x().add(Expr::Tile { tile, row, col }, Some(Lane::I64)))
    }

    /// A tile with the ranks of whole rows.
    fn rank_rows(&mut self, term: TermId, rank: Rank, line: Frame) -> Result<TileId, PlanError> {
        self.with_whole(rank.copy, |nest| {
            let keys = nest.eval(rank.key, line, true)?;
            let keys = nest.as_tile("k", keys, line);
            let counted = if nest.is_true(rank.counted) {
                None
            } else {
                let counted = nest.eval(rank.counted, line, true)?;
                Some(nest.as_tile("c", counted, line))
            };
            let limit = nest.rank_limit(term, rank);
            let dst = nest.frame_tile("r", Lane::I64, line);
            let (one, cap) = (nest.x().int(1), nest.caps(line).1);
            let order = nest.tile("order", Lane::I64, one, cap);
            let (rows, cols) = nest.counts(line);
            nest.emit(Stmt::Ranks { dst, keys, counted, order, rows, cols, limit });
            Ok(dst)
        })
    }

    /// A number from which on ranks are alike to all that they are compared with, for the rows at hand.
    fn rank_limit(&mut self, term: TermId, rank: Rank) -> Option<ExprId> {
        let all = self.planner.compared_with(term)?;
        let fixed = self.planner.terms.free(term).without(rank.along);
        let mark = self.bindings_mark();
        for axis in all.iter().flat_map(|with| self.planner.terms.free(*with).iter()).collect::<Vec<_>>() {
            if !fixed.contains(axis) {
                let dim = self.whole(axis);
                self.bind(axis, Binding::Whole(dim), false);
            }
        }
        let bounds: Option<Vec<ExprId>> = all.into_iter().map(|with| Some(self.interval(with)?.hi)).collect();
        self.bindings_reset(mark);
        let largest = bounds?.into_iter().reduce(|x, y| self.x().max(x, y))?;
        // A comparison with it may be strict or not.
        let limit = self.plus(largest, 1);
        Some(self.let_scalar(limit))
    }
}
