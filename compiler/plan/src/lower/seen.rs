//! The one span of columns that each row of a tile sees, where the domain is such.
//!
//! Bounds on the column's position are ends at once. A comparison of sorted keys with a number of the row (documents, buckets)
//! narrows a span by a search, and so does one of places within equal keys of one order.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, TermId};

use crate::error::PlanError;
use crate::loops::expr::{ExprId, Lane};
use crate::loops::{RowSpans, Stmt, TileId};

use super::domain::{Alternative, Linear};
use super::keys::Atom;
use super::nest::{Frame, Nest};

/// How the span of each row comes about.
pub(super) struct Seen {
    /// Parts of the domain each of which allows one span.
    bounds: Vec<TermId>,
    /// Comparisons of keys, in an order in which no key descends within what those before it leave.
    keys: Vec<Compared>,
}

/// A comparison of a key of the columns with a number of the row, and what makes a row exempt from it.
#[derive(Clone, Copy)]
struct Compared {
    atom: Atom,
    /// A predicate of the row, and whether it holds or fails where the row is exempt.
    exempt: Option<(TermId, bool)>,
}

impl Compared {
    /// Of a clause; `None` if it is none.
    fn of(clause: &[Atom]) -> Option<Self> {
        let (atom, exempt) = match *clause {
            [atom] => (atom, None),
            [atom, Atom::OfRow(term, holds)] | [Atom::OfRow(term, holds), atom] => (atom, Some((term, holds))),
            _ => return None,
        };
        let Atom::Compared { op: BinaryOp::Le | BinaryOp::Lt | BinaryOp::Eq, .. } = atom else { return None };
        Some(Self { atom, exempt })
    }
}

impl Nest<'_, '_> {
    /// The parts of a domain but for what is the same on the whole tile: that holds, it was asked before.
    pub(super) fn unsettled(&mut self, domain: TermId) -> Vec<TermId> {
        let parts = self.planner.terms.conditions(domain);
        parts.into_iter().filter(|part| !self.is_settled(*part)).collect()
    }

    /// How a domain that has unsettled parts leaves each row one span of columns; `None` if it does not.
    pub(super) fn seen_in_spans(&mut self, domain: TermId, frame: Frame) -> Option<Seen> {
        let cols = frame.cols?;
        let (bounds, others): (Vec<TermId>, Vec<TermId>) =
            self.unsettled(domain).into_iter().partition(|part| self.allows_one_span(*part, frame));
        let mut left = Vec::new();
        for part in others {
            for clause in self.clauses_of(part, frame)? {
                left.push(Compared::of(&clause)?);
            }
        }
        let mut keys: Vec<Compared> = Vec::new();
        while !left.is_empty() {
            let next = left.iter().position(|compared| self.ascends_in(*compared, &keys, cols))?;
            keys.push(left.remove(next));
        }
        (!bounds.is_empty() || !keys.is_empty()).then_some(Seen { bounds, keys })
    }

    /// Whether a key does not descend along the columns, or not among those that others leave.
    fn ascends_in(&self, Compared { atom, exempt }: Compared, others: &[Compared], cols: AxisId) -> bool {
        let Atom::Compared { op, key, .. } = atom else { return false };
        let order = self.planner.terms.node(key);
        // The bound of an exempt row is beyond all places; what lies in a table may be the largest number there is.
        let stored = self.planner.find(key, &mut |_, node| matches!(node, Node::Input { .. }));
        if exempt.is_some() && op == BinaryOp::Lt && stored && !matches!(order, Node::Order { .. }) {
            return false;
        }
        // An order is stable: positions of equal keys ascend.
        let orders = |other: &Compared| match *other {
            Compared { atom: Atom::Compared { op: BinaryOp::Eq, key, .. }, exempt: None } => {
                let sorted = self.planner.terms.sorted_key(key);
                sorted.is_some_and(|(axis, key)| axis == cols && *order == Node::Order { axis, key })
            }
            _ => false,
        };
        self.ascends(key, cols) || others.iter().any(orders)
    }

    /// Whether an integer term never descends along an axis.
    fn ascends(&self, term: TermId, axis: AxisId) -> bool {
        let terms = &self.planner.terms;
        if !terms.free(term).contains(axis) {
            return true;
        }
        match terms.node(term) {
            Node::Position(_) => true,
            Node::At { .. } => terms.sorted_key(term).is_some_and(|(along, _)| along == axis),
            Node::Input { input, index } => match index.split_last() {
                Some((last, lead)) => {
                    let along = *terms.node(*last) == Node::Position(axis);
                    let one_line = lead.iter().all(|at| !terms.free(*at).contains(axis));
                    along && one_line && self.planner.spec.input(*input).runs.is_some()
                }
                None => false,
            },
            Node::Binary(BinaryOp::FloorDiv, x, y) => {
                matches!(terms.node(*y), Node::Int(v) if *v > 0) && self.ascends(*x, axis)
            }
            Node::Nary(NaryOp::Add, xs) => xs.iter().all(|x| self.ascends(*x, axis)),
            _ => false,
        }
    }

    /// The span of each row, in tiles of its own where it is narrowed.
    pub(super) fn row_spans(&mut self, seen: &Seen, frame: Frame) -> Result<RowSpans, PlanError> {
        let (ends, of_rows) = (self.common_span(&seen.bounds, frame)?, Frame::new(frame.rows, None));
        if seen.keys.is_empty() {
            return Ok(self.span_ends(ends, of_rows));
        }
        let [from, to] = ends.map(|end| {
            let tile = self.frame_tile("end", Lane::I64, of_rows);
            let end = self.x().cast(Lane::I64, end);
            self.map(tile, of_rows, end);
            tile
        });
        let spans = RowSpans { from, to };
        let (rows, cols) = self.counts(frame);
        for Compared { atom, exempt } in &seen.keys {
            let mut range = self.key_range(*atom, frame)?;
            if let Some((term, holds)) = *exempt {
                let predicate = self.side_of(term, of_rows)?;
                let waived = if holds { predicate } else { self.not(predicate) };
                let [low, high] = if range.inside { [i64::MIN, i64::MAX] } else { [i64::MAX, i64::MIN] };
                range.least = range.least.map(|bound| self.bound_unless(waived, low, bound, of_rows));
                range.most = range.most.map(|bound| self.bound_unless(waived, high, bound, of_rows));
            }
            self.emit(Stmt::NarrowSpans { spans, range, rows, cols });
        }
        Ok(spans)
    }

    /// A bound of each row, and another number where the row is exempt.
    fn bound_unless(&mut self, exempt: ExprId, none: i64, bound: TileId, rows: Frame) -> TileId {
        let (none, bound) = (self.x().int(none), self.element(bound, rows));
        let bound = self.choose(exempt, none, bound);
        self.as_tile("bound", bound, rows)
    }

    /// The ends of what parts that each allow one span leave of each row, lane expressions over the rows.
    pub(super) fn common_span(&mut self, parts: &[TermId], frame: Frame) -> Result<[ExprId; 2], PlanError> {
        let all = (self.x().int(0), self.counts(frame).1);
        let (mut first, mut last) = (None, None);
        for part in parts {
            let spans = self.spans_of(*part, frame)?.unwrap_or_default();
            debug_assert!(spans.len() == 1, "asked before");
            for span in spans {
                let [from, to] = self.ends_of(&span, all);
                // A bound of 0 or of all columns would be one more operation for each row.
                if from != all.0 {
                    first = Some(first.map_or(from, |old| self.x().max(old, from)));
                }
                if to != all.1 {
                    last = Some(last.map_or(to, |old| self.x().min(old, to)));
                }
            }
        }
        Ok([first.unwrap_or(all.0), last.unwrap_or(all.1)])
    }

    /// Whether what a predicate allows in each row is one span of columns.
    pub(super) fn allows_one_span(&mut self, predicate: TermId, frame: Frame) -> bool {
        let (Some(cols), Some(alternatives)) = (frame.cols, self.span_alternatives(predicate, frame)) else {
            return false;
        };
        let sides: Vec<[bool; 2]> =
            alternatives.iter().map(|alternative| self.bounded_sides(alternative, cols)).collect();
        alternatives.len() == 1 || (0..2).any(|side| sides.iter().all(|bounded| !bounded[side]))
    }

    /// Whether an alternative bounds the columns from below, and from above.
    fn bounded_sides(&mut self, alternative: &Alternative, cols: AxisId) -> [bool; 2] {
        let mut bounded = [false; 2];
        for (atom, _) in &alternative.atoms {
            let Node::Binary(op, x, y) = *self.planner.terms.node(*atom) else { continue };
            let mut linear = Linear::default();
            let of_columns = self.planner.terms.free(*atom).contains(cols);
            if of_columns && linear.add(self, cols, y, 1) && linear.add(self, cols, x, -1) {
                bounded[0] |= linear.coefficient > 0 || op == BinaryOp::Eq;
                bounded[1] |= linear.coefficient < 0 || op == BinaryOp::Eq;
            }
        }
        bounded
    }

    /// The ends of each row's span in tiles.
    pub(super) fn span_ends(&mut self, ends: [ExprId; 2], rows: Frame) -> RowSpans {
        let [from, to] = ends.map(|end| {
            let end = self.x().cast(Lane::I64, end);
            self.as_tile("end", end, rows)
        });
        RowSpans { from, to }
    }
}
