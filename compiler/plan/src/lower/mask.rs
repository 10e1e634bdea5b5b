//! Masks of tiles.
//!
//! Where a part of a domain allows one span of columns in each row, or two,
//! the ends are computed for each row and what lies outside is filled by a
//! microkernel; where it compares a number of the row with one of the column,
//! another one does ([`super::keys`]). Only what is left is evaluated pair by
//! pair.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, TermId, UnaryOp};

use crate::error::PlanError;
use crate::loops::expr::{ExprId, Lane};
use crate::loops::{RowSpans, Stmt, TileId};

use super::domain::{Alternative, Linear};
use super::keys::Atom;
use super::nest::{Binding, Frame, Nest};

/// The columns `from .. to` of a row, lane expressions over the rows; `None` is no bound.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    from: Option<ExprId>,
    to: Option<ExprId>,
    /// Whether the row has a span at all; `None` for every row.
    some: Option<ExprId>,
}

impl Nest<'_, '_> {
    /// Sets a tile's elements to `fill` where the domain fails, if the tile is partial. The spans outside of which that is, if
    /// the domain is one span of each row.
    pub fn mask_tile(
        &mut self,
        tile: TileId,
        domain: TermId,
        frame: Frame,
        partial: ExprId,
        fill: f64,
    ) -> Result<Option<RowSpans>, PlanError> {
        let mut seen = None;
        let then = self.inner_along(frame.cols, |nest| {
            if let Some(one) = nest.seen_in_spans(domain, frame) {
                let spans = nest.row_spans(&one, frame)?;
                nest.fill_spans(tile, spans, true, frame, fill);
                seen = Some(spans);
                return Ok(());
            }
            let parts = nest.unsettled(domain);
            let mut pairs = Vec::new();
            for part in &parts {
                if let Some(spans) = nest.spans_of(*part, frame)? {
                    nest.mask_part(*part, parts.len(), |nest| {
                        nest.keep_spans(tile, &spans, frame, fill);
                        Ok(())
                    })?;
                } else if let Some(clauses) = nest.clauses_of(*part, frame) {
                    nest.mask_part(*part, parts.len(), |nest| nest.keep_clauses(tile, &clauses, frame, fill))?;
                } else {
                    pairs.push(*part);
                }
            }
            let rest = match pairs[..] {
                [] => return Ok(()),
                _ => nest.planner.terms.nary(NaryOp::And, pairs),
            };
            let narrow = frame.restricted(nest.planner.terms.free(rest)) != frame
                && !nest.planner.terms.node(rest).runs_over_axis();
            let allowed = if narrow { nest.eval_ahead(rest, frame, false)? } else { nest.eval(rest, frame, false)? };
            let (old, fill) = (nest.element(tile, frame), nest.constant(fill));
            let value = nest.choose(allowed, old, fill);
            nest.map(tile, frame, value);
            Ok(())
        })?;
        if self.truth_of(partial) == Some(true) {
            then.into_iter().for_each(|stmt| self.emit(stmt));
        } else {
            self.emit(Stmt::If { cond: partial, then, otherwise: Vec::new() });
        }
        Ok(seen)
    }

    /// Whether some part of the domain leaves out columns that lie together, so that a block of rows may not see them.
    pub fn mask_narrows(&mut self, domain: TermId, frame: Frame) -> bool {
        let Some(cols) = frame.cols else { return false };
        let parts = self.planner.terms.conditions(domain);
        let ascending = |nest: &mut Self, atom: &Atom| match atom {
            Atom::Compared { key, .. } | Atom::Apart { key, .. } => nest.is_in_order(*key, cols),
            Atom::OfRow(..) | Atom::OfColumn(..) => false,
        };
        parts.into_iter().any(|part| match self.clauses_of(part, frame) {
            Some(clauses) => clauses.iter().any(|clause| clause.iter().all(|atom| ascending(self, atom))),
            None => true,
        })
    }

    /// Whether equal or near values of an integer lie together along an axis.
    fn is_in_order(&mut self, key: TermId, axis: AxisId) -> bool {
        if !self.planner.terms.free(key).contains(axis) || self.planner.equal_keys(key, axis).is_some() {
            return true;
        }
        match self.planner.terms.node(key).clone() {
            Node::Position(_) | Node::Order { .. } => true,
            Node::Unary(UnaryOp::Neg, x) | Node::Binary(BinaryOp::FloorDiv, x, _) => self.is_in_order(x, axis),
            Node::Nary(NaryOp::Add, xs) => xs.into_iter().all(|x| self.is_in_order(x, axis)),
            _ => false,
        }
    }

    /// Emits the mask of one of `count` parts, where the part fails if the others may be what makes the tile partial.
    fn mask_part(
        &mut self,
        part: TermId,
        count: usize,
        mask: impl FnOnce(&mut Self) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        if count == 1 {
            return mask(self);
        }
        let must = self.truth(part).must;
        let needed = self.not(must);
        let then = self.inner(None, mask)?;
        if self.truth_of(needed) != Some(false) {
            self.emit(Stmt::If { cond: needed, then, otherwise: Vec::new() });
        }
        Ok(())
    }

    /// The one or two spans of columns that a predicate allows in each row; `None` if it is not of this kind.
    pub(super) fn spans_of(&mut self, predicate: TermId, frame: Frame) -> Result<Option<Vec<Span>>, PlanError> {
        let (Some(cols), Some(alternatives)) = (frame.cols, self.span_alternatives(predicate, frame)) else {
            return Ok(None);
        };
        let mut spans = Vec::new();
        for alternative in &alternatives {
            let mut span = Span::default();
            for (atom, positive) in &alternative.atoms {
                self.narrow_span(*atom, *positive, cols, frame, &mut span)?;
            }
            spans.push(span);
        }
        if let [a, b] = spans[..]
            && let Some(both) = self.joined([a, b], frame)
        {
            spans = vec![both];
        }
        Ok(Some(spans))
    }

    /// Two spans as one, where neither has a first column or neither a last one.
    fn joined(&mut self, [a, b]: [Span; 2], frame: Frame) -> Option<Span> {
        let (zero, count) = (self.x().int(0), self.counts(frame).1);
        if a.from.is_none() && b.from.is_none() {
            let [a, b] = [a, b].map(|span| self.ends_of(&span, (zero, count))[1]);
            return Some(Span { to: Some(self.x().max(a, b)), ..Span::default() });
        }
        if a.to.is_none() && b.to.is_none() {
            let [a, b] = [a, b].map(|span| {
                let from = span.from.unwrap_or(zero);
                span.some.map_or(from, |some| self.choose(some, from, count))
            });
            return Some(Span { from: Some(self.x().min(a, b)), ..Span::default() });
        }
        None
    }

    /// The one or two alternatives of a predicate each of which allows one span of columns in each row.
    pub(super) fn span_alternatives(&mut self, predicate: TermId, frame: Frame) -> Option<Vec<Alternative>> {
        let (rows, cols) = (frame.rows?, frame.cols?);
        if !self.planner.terms.free(predicate).contains(cols) || matches!(self.binding(rows), Binding::Fixed(_)) {
            return None;
        }
        let alternatives = self.alternatives(predicate, true)?;
        let fits = |nest: &mut Self, a: &Alternative| {
            a.some.is_none() && a.atoms.iter().all(|(atom, positive)| nest.is_bound_of_row(*atom, *positive, cols))
        };
        (matches!(alternatives.len(), 1 | 2) && alternatives.iter().all(|a| fits(self, a))).then_some(alternatives)
    }

    /// Whether an atom bounds the columns of each row, or does not mention them.
    fn is_bound_of_row(&mut self, atom: TermId, positive: bool, cols: AxisId) -> bool {
        if !self.planner.terms.free(atom).contains(cols) {
            return true;
        }
        match *self.planner.terms.node(atom) {
            Node::Binary(BinaryOp::Le | BinaryOp::Lt | BinaryOp::Eq, x, y)
                if positive && self.integral(x) && self.integral(y) =>
            {
                let mut linear = Linear::default();
                linear.add(self, cols, y, 1) && linear.add(self, cols, x, -1) && linear.coefficient != 0
            }
            _ => false,
        }
    }

    fn narrow_span(
        &mut self,
        atom: TermId,
        positive: bool,
        cols: AxisId,
        frame: Frame,
        span: &mut Span,
    ) -> Result<(), PlanError> {
        let rows = Frame::new(frame.rows, None);
        if !self.planner.terms.free(atom).contains(cols) {
            let holds = self.eval(atom, rows, false)?;
            let holds = if positive { holds } else { self.not(holds) };
            span.some = Some(span.some.map_or(holds, |some| self.and(some, holds)));
            return Ok(());
        }
        match *self.planner.terms.node(atom) {
            Node::Binary(BinaryOp::Le, x, y) => self.narrow_row(x, y, 0, cols, rows, span),
            Node::Binary(BinaryOp::Lt, x, y) => self.narrow_row(x, y, 1, cols, rows, span),
            Node::Binary(_, x, y) => {
                self.narrow_row(x, y, 0, cols, rows, span)?;
                self.narrow_row(y, x, 0, cols, rows, span)
            }
            _ => Ok(()),
        }
    }

    /// Narrows by `x + gap <= y`, in columns from the tile's first.
    fn narrow_row(
        &mut self,
        x: TermId,
        y: TermId,
        gap: i64,
        cols: AxisId,
        rows: Frame,
        span: &mut Span,
    ) -> Result<(), PlanError> {
        let mut linear = Linear::default();
        let whole = linear.add(self, cols, y, 1) && linear.add(self, cols, x, -1);
        debug_assert!(whole, "asked before");
        let dim = self.dim(cols);
        // coefficient * (base + step * column) + rest >= 0
        let scale = self.x().int(linear.coefficient);
        let mut rest = self.x().times(dim.base, scale);
        rest = self.plus(rest, linear.constant - gap);
        for (term, scale) in &linear.rest {
            // A quotient that the block of the columns settles is a scalar.
            let value = match self.interval(*term) {
                Some(bounds) if bounds.is_point() => bounds.lo,
                _ => self.eval(*term, rows, false)?,
            };
            let scale = self.x().int(*scale);
            let part = self.x().times(value, scale);
            rest = self.x().sum(rest, part);
        }
        let slope = linear.coefficient * dim.step;
        if slope > 0 {
            let zero = self.x().int(0);
            let least = self.x().difference(zero, rest);
            let from = if slope == 1 { least } else { self.ceil_div(least, slope) };
            span.from = Some(span.from.map_or(from, |old| self.x().max(old, from)));
        } else {
            let last = if slope == -1 { rest } else { self.div(rest, -slope) };
            let to = self.plus(last, 1);
            span.to = Some(span.to.map_or(to, |old| self.x().min(old, to)));
        }
        Ok(())
    }

    /// Fills what lies outside of all the spans.
    fn keep_spans(&mut self, tile: TileId, spans: &[Span], frame: Frame, fill: f64) {
        let rows = Frame::new(frame.rows, None);
        let (zero, count) = (self.x().int(0), self.counts(frame).1);
        let ends: Vec<[ExprId; 2]> = spans.iter().map(|span| self.ends_of(span, (zero, count))).collect();
        match ends[..] {
            [[a, b], [c, d]] => {
                let [a, b] = self.span_tiles([a, b], rows);
                let [c, d] = self.span_tiles([c, d], rows);
                let [hull, gap] = self.hull_and_gap([a, b], [c, d], count);
                for (ends, keep) in [(hull, true), (gap, false)] {
                    let spans = self.span_ends(ends, rows);
                    self.fill_spans(tile, spans, keep, frame, fill);
                }
            }
            [ends, ..] => {
                let spans = self.span_ends(ends, rows);
                self.fill_spans(tile, spans, true, frame, fill);
            }
            [] => {}
        }
    }

    /// The ends of a span among the columns; of no columns where a row has none.
    pub(super) fn ends_of(&mut self, span: &Span, (zero, count): (ExprId, ExprId)) -> [ExprId; 2] {
        let (from, to) = (span.from.unwrap_or(zero), span.to.unwrap_or(count));
        match span.some {
            Some(some) => [from, self.choose(some, to, zero)],
            None => [from, to],
        }
    }

    /// The least span that holds both, and what lies between them.
    pub(super) fn hull_and_gap(&mut self, [a, b]: [ExprId; 2], [c, d]: [ExprId; 2], count: ExprId) -> [[ExprId; 2]; 2] {
        let zero = self.x().int(0);
        let (one, other) = (self.x().binary(BinaryOp::Lt, a, b), self.x().binary(BinaryOp::Lt, c, d));
        let mut ends = |none: [ExprId; 2]| {
            let (a, b) = (self.choose(one, a, none[0]), self.choose(one, b, none[1]));
            let (c, d) = (self.choose(other, c, none[0]), self.choose(other, d, none[1]));
            [a, b, c, d]
        };
        let hull = ends([count, zero]);
        let gap = ends([zero, count]);
        let hull = [self.x().min(hull[0], hull[2]), self.x().max(hull[1], hull[3])];
        let gap = [self.x().min(gap[1], gap[3]), self.x().max(gap[0], gap[2])];
        [hull, gap]
    }

    pub(super) fn span_tiles(&mut self, ends: [ExprId; 2], rows: Frame) -> [ExprId; 2] {
        ends.map(|end| {
            let end = self.x().cast(Lane::I64, end);
            self.spill("end", end, rows)
        })
    }

    fn fill_spans(&mut self, tile: TileId, RowSpans { from, to }: RowSpans, keep: bool, frame: Frame, fill: f64) {
        let (rows, cols) = self.counts(frame);
        self.emit(Stmt::KeepSpans { tile, from, to, keep, fill, rows, cols });
    }
}
