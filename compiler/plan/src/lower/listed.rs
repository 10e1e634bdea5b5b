//! Softmax over keys that each row lists.
//!
//! Where a row sees few of the keys that its neighbours see, a tile of rows and keys is mostly computed in vain. The
//! traversal of tiles then only lists the positions that a row sees, and once a list is long enough, or all is
//! traversed, dot products, softmax and weighted sum run over the lists. What lies far apart is one step of the online
//! softmax, and no pair is computed that the domain leaves out.

use attnc_algebra::{AxisId, DType, NaryOp, Node, ReduceOp, TermId};

use crate::error::PlanError;
use crate::loops::expr::{ExprId, Lane};
use crate::loops::{Additions, Listed, Stmt, TileId, View};
use crate::planner::CHUNK;

use super::attend::{Attending, Online};
use super::named::Named;
use super::nest::{Binding, Dim, Frame, Nest};
use super::picked::Picked;
use super::reduce::Reduction;

/// Most positions of a list: those of a tile, and what is left from tiles before.
pub(super) const ROOM: i64 = 2 * CHUNK;

/// Widths of scores are multiples of this, so that vectors are whole.
const LANES: i64 = 16;

/// What is computed for listed keys.
pub(super) struct Listing {
    /// The sum of products in the score.
    dot: TermId,
    /// The axis it sums over.
    depth: AxisId,
    /// Rows as they are multiplied with keys.
    lhs: View,
    keys: View,
    values: View,
    /// Of the pairs that the traversal meets, how many are listed, about.
    pub share: f64,
    /// The blocks that rows pick, if it is whole blocks that are listed first.
    pub picked: Option<Picked>,
    /// The keys that rows name, if it is these that are listed.
    named: Option<Named>,
}

/// The lists of a block of rows.
#[derive(Clone, Copy)]
pub(super) struct Lists {
    pub list: TileId,
    pub count: TileId,
    pub most: TileId,
}

/// One online softmax over listed keys.
pub(super) struct Step<'s> {
    pub of: Attending<'s>,
    pub listing: &'s Listing,
    pub lists: Lists,
}

impl Nest<'_, '_> {
    /// Online softmax over listed keys; false, and nothing is emitted, if tiles are better.
    pub(super) fn attend_listed(&mut self, of: Attending<'_>) -> Result<bool, PlanError> {
        let Attending { axis, domain, frame, online, .. } = of;
        let Some(listing) = self.listing(axis, domain, of.score, of.value, frame)? else { return Ok(false) };
        if let Some(domain) = listing.picked.as_ref().and_then(|picked| self.domain_beside(picked)) {
            self.attend_in_tiles(Attending { domain, ..of })?;
        }
        let lists = self.new_lists("list", online.rows);
        let step = Step { of, listing: &listing, lists };
        match &listing.picked {
            Some(picked) => self.list_picked(picked, &step)?,
            None if let Some(named) = &listing.named => self.list_named(named, &step)?,
            None => self.for_tiles(axis, domain, (CHUNK, false), &mut |nest, domain, partial| {
                nest.list_tile(lists, domain, Frame::new(online.rows.rows, Some(axis)), partial, listing.share)?;
                nest.when_longer(lists, ROOM - CHUNK, |nest| nest.over_lists(&step))
            })?,
        }
        self.when_longer(lists, 0, |nest| nest.over_lists(&step))?;
        Ok(true)
    }

    /// Empty lists of the rows.
    pub(super) fn new_lists(&mut self, name: &str, rows: Frame) -> Lists {
        let (one, room) = (self.x().int(1), self.x().int(ROOM));
        let height = self.caps(rows).0;
        let list = self.tile(name, Lane::I64, height, room);
        let count = self.frame_tile("count", Lane::I64, rows);
        let most = self.tile("most", Lane::I64, one, one);
        let lists = Lists { list, count, most };
        self.empty_lists(lists, rows);
        lists
    }

    /// Emits what is done where some list is longer than so much.
    pub(super) fn when_longer(
        &mut self,
        lists: Lists,
        length: i64,
        body: impl FnOnce(&mut Self) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let (length, longest) = (self.x().int(length), self.element(lists.most, Frame::default()));
        let cond = self.x().binary(attnc_algebra::BinaryOp::Lt, length, longest);
        let then = self.inner(None, body)?;
        self.emit(Stmt::If { cond, then, otherwise: Vec::new() });
        Ok(())
    }

    /// How keys can be listed, if that pays.
    fn listing(
        &mut self,
        axis: AxisId,
        domain: TermId,
        score: TermId,
        value: TermId,
        frame: Frame,
    ) -> Result<Option<Listing>, PlanError> {
        let (Some(rows), Some(cols)) = (frame.rows, frame.cols) else { return Ok(None) };
        let along = |nest: &Self, a: AxisId| matches!(nest.binding(a), Binding::Tile(dim) if dim.step == 1);
        let whole = matches!(self.binding(cols), Binding::Whole(_));
        if self.is_true(domain) || self.program.compute != Lane::F32 || !along(self, rows) || !whole {
            return Ok(None);
        }
        if self.sequential.is_some() || self.folded.is_some() || self.planner.terms.free(value).contains(rows) {
            return Ok(None);
        }
        let mark = self.bindings_mark();
        let dim = self.whole(axis);
        self.bind(axis, Binding::Tile(dim), false);
        let dot = self.dot_in(score, Frame::new(frame.rows, Some(axis)), axis);
        self.bindings_reset(mark);
        // What does not depend on the rows is no product of theirs with the keys.
        let of_rows = |(dot, _): &(TermId, Reduction)| self.planner.terms.free(*dot).contains(rows);
        let Some((dot, reduction)) = dot.filter(of_rows) else { return Ok(None) };
        let Some(split) = self.split(reduction, Some(rows), axis) else { return Ok(None) };
        if self.parts(axis, domain).iter().any(|part| part.class.is_some()) {
            return Ok(None);
        }
        let named = self.named(axis, domain).filter(|named| super::rows::names_pay(self, axis, named.count));
        let picked = if named.is_some() { None } else { self.picked(axis, domain, frame) };
        let together = picked.as_ref().map_or(1, |picked| picked.size);
        let listed = picked.as_ref().map_or(domain, |picked| picked.keys);
        let share = match &named {
            Some(named) => Some(named.count as f64 / self.planner.hint_extent(axis) as f64),
            None => super::rows::share_of_lists(self, rows, (axis, listed), together),
        };
        let Some(share) = share else { return Ok(None) };
        let rhs = self.planner.product(split.rhs.clone());
        let depth = reduction.axis;
        let keys = self.with_whole(axis, |nest| nest.with_whole(depth, |nest| nest.lines_of(rhs, axis, depth)))?;
        let values = self.with_whole(axis, |nest| nest.lines_of(value, axis, cols))?;
        let (Some(keys), Some(values)) = (keys, values) else { return Ok(None) };
        let lhs = self.with_whole(depth, |nest| {
            let (lhs, frame) = (nest.planner.product(split.lhs.clone()), Frame::new(Some(rows), Some(depth)));
            let value = nest.eval(lhs, frame, false)?;
            let tile = nest.as_tile("o", value, frame);
            Ok(nest.tile_view(tile))
        })?;
        Ok(Some(Listing { dot, depth, lhs, keys, values, share, picked, named }))
    }

    /// The one sum of products in a score through which alone it depends on the keys.
    fn dot_in(&mut self, score: TermId, frame: Frame, axis: AxisId) -> Option<(TermId, Reduction)> {
        let mut found = None;
        let mut open = vec![score];
        while let Some(t) = open.pop() {
            if !self.planner.terms.free(t).contains(axis) {
                continue;
            }
            let node = self.planner.terms.node(t).clone();
            match node {
                // The factors of a sum are those of its rows.
                Node::Nary(NaryOp::Mul, ref xs) => match self.factors_into_sums(xs, frame) {
                    Some(inside) => open.push(inside),
                    None => open.extend(xs),
                },
                Node::Reduce { op: ReduceOp::Sum, axis: depth, domain, body } => {
                    let plain = self.is_true(domain) && self.planner.is_short(depth);
                    if !plain || found.is_some_and(|(dot, _)| dot != t) {
                        return None;
                    }
                    found = Some((t, Reduction { op: ReduceOp::Sum, axis: depth, domain, body }));
                }
                Node::Input { .. } | Node::Position(_) => return None,
                // What decides is computed in f64, key by key as they lie; dot products with lists are not.
                _ if node.runs_over_axis() || node.decides() => return None,
                _ => open.extend(node.operands()),
            }
        }
        found
    }

    /// The lines of a term along an axis, in memory as they lie.
    pub(super) fn lines_of(&mut self, term: TermId, axis: AxisId, along: AxisId) -> Result<Option<View>, PlanError> {
        let frame = Frame::new(Some(axis), Some(along));
        if let Some(view) = self.view_of_input(term, frame, true, |dtype| dtype == DType::F32)? {
            return Ok(Some(view));
        }
        let free = self.planner.terms.free(term);
        let fixed = |a: AxisId| a == axis || a == along || matches!(self.binding(a), Binding::Fixed(_));
        if !free.iter().all(fixed) { Ok(None) } else { self.materialised_view(term, frame) }
    }

    pub(super) fn empty_lists(&mut self, lists: Lists, rows: Frame) {
        let zero = self.x().int(0);
        self.map(lists.count, rows, zero);
        self.map(lists.most, Frame::default(), zero);
    }

    /// Lists what the rows see of a tile.
    pub(super) fn list_tile(
        &mut self,
        lists: Lists,
        domain: TermId,
        frame: Frame,
        partial: Option<ExprId>,
        share: f64,
    ) -> Result<(), PlanError> {
        let rows_only = Frame::new(frame.rows, None);
        let Lists { list, count, most } = lists;
        let (rows, cols) = self.counts(frame);
        let Some(keys) = frame.cols else { return Ok(()) };
        let first = self.dim(keys).base;
        let list = |nest: &mut Self, added: Additions| {
            nest.emit(Stmt::List { list, count, most, added, first, rows, cols, share });
        };
        if let Some(spans) = self.spans_listed(domain, frame)? {
            for ends in spans {
                let spans = self.span_ends(ends, rows_only);
                list(self, Additions::Spans(spans));
            }
            return Ok(());
        }
        let open = self.frame_tile("open", Lane::F32, frame);
        let zero = self.constant(0.0);
        self.map(open, frame, zero);
        if let Some(partial) = partial {
            self.mask_tile(open, domain, frame, partial, f64::NEG_INFINITY)?;
        }
        list(self, Additions::Open(open));
        Ok(())
    }

    /// The spans of columns that each row sees, one after the other; `None` if the domain is not of this kind.
    fn spans_listed(&mut self, domain: TermId, frame: Frame) -> Result<Option<Vec<[ExprId; 2]>>, PlanError> {
        let parts = self.unsettled(domain);
        if parts.iter().all(|part| self.allows_one_span(*part, frame)) {
            return Ok(Some(vec![self.common_span(&parts, frame)?]));
        }
        let ([part], (zero, count)) = (&parts[..], (self.x().int(0), self.counts(frame).1)) else { return Ok(None) };
        let rows = Frame::new(frame.rows, None);
        let mut ends = Vec::new();
        for span in self.spans_of(*part, frame)?.unwrap_or_default() {
            let span = self.ends_of(&span, (zero, count));
            ends.push(self.span_tiles(span, rows));
        }
        let [[a, b], [c, d]] = ends[..] else { return Ok(None) };
        let [hull, gap] = self.hull_and_gap([a, b], [c, d], count);
        // The first part ends where a gap begins; what follows begins after both.
        let some = self.x().binary(attnc_algebra::BinaryOp::Lt, gap[0], gap[1]);
        let end = self.choose(some, gap[0], hull[1]);
        let again = self.x().max(end, gap[1]);
        Ok(Some(vec![[hull[0], end], [again, hull[1]]]))
    }

    /// A step of the online softmax over what is listed, after which the lists are empty.
    pub(super) fn over_lists(&mut self, step: &Step<'_>) -> Result<(), PlanError> {
        let Step { of: Attending { axis, score, frame, online, acc, .. }, listing, lists } = *step;
        let width = self.width_of(lists);
        let limit = self.extent(axis);
        let (zero, cap) = (self.x().int(0), self.x().int(ROOM));
        let dim = Dim { base: zero, count: width, cap, step: 1, aligned: false, block: None };
        let along = (axis, Binding::Tile(dim));
        let stmts = self.inner(Some(along), |nest| {
            let scores_frame = Frame::new(frame.rows, Some(axis));
            let scores = nest.frame_tile("s", Lane::F32, scores_frame);
            let (rows, width) = nest.counts(scores_frame);
            let of = |lines: &View| Listed { list: lists.list, count: lists.count, lines: lines.clone(), limit };
            let depth = nest.extent(listing.depth);
            let (lhs, keys) = (listing.lhs.clone(), of(&listing.keys));
            nest.emit(Stmt::DotsListed { dst: scores, lhs, of: keys, rows, cols: width, depth });
            let dot = nest.element(scores, scores_frame);
            let key = nest.key(listing.dot, scores_frame, false);
            let at = nest.current_depth();
            nest.remember(at, key, dot);
            let value = nest.eval(score, scores_frame, false)?;
            let weights = nest.own_tile(value, scores_frame);
            if value != dot {
                // A function of -inf may be a number.
                let none = nest.frame_tile("none", Lane::I64, online.rows);
                let zero = nest.x().int(0);
                nest.map(none, online.rows, zero);
                let (from, to, fill) = (none, lists.count, f64::NEG_INFINITY);
                nest.emit(Stmt::KeepSpans { tile: weights, from, to, keep: true, fill, rows, cols: width });
            }
            let Online { max, sum, alpha, .. } = *online;
            nest.emit(Stmt::SoftmaxUpdate { scores: weights, max, sum, alpha, masked: None, rows, cols: width });
            let (rows, cols) = nest.counts(frame);
            nest.emit(Stmt::ScaleRows { tile: acc, alpha, rows, cols });
            let of = of(&listing.values);
            nest.emit(Stmt::SumListed { dst: acc, weights, of, rows, cols, depth: width });
            nest.empty_lists(lists, online.rows);
            Ok(())
        })?;
        stmts.into_iter().for_each(|stmt| self.emit(stmt));
        Ok(())
    }

    /// Columns that hold the longest list.
    fn width_of(&mut self, lists: Lists) -> ExprId {
        let longest = self.element(lists.most, Frame::default());
        let (zero, room, lanes) = (self.x().int(0), self.x().int(ROOM), self.x().int(LANES));
        let vectors = self.ceil_div(longest, LANES);
        let width = self.x().times(vectors, lanes);
        let width = self.x().min(width, room);
        let width = self.x().max(width, zero);
        self.let_scalar(width)
    }
}
