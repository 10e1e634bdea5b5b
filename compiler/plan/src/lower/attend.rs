//! Softmax over keys without the matrix of weights: online row maximum and
//! row sum, rescaled accumulators (Milakov and Gimelshein, arXiv 1805.02867;
//! FlashAttention, arXiv 2205.14135).

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, TermId, UnaryOp};

use crate::error::PlanError;
use crate::graph::PlanBufferId;
use crate::loops::expr::{Expr, ExprId};
use crate::loops::{Dst, Masked, Open, RowSpans, Stmt, TileId};
use crate::planner::{CHUNK, ROWS, TILE, Wanted};

use super::folded::Folded;
use super::nest::{Binding, Frame, Nest};
use super::reduce::Reduction;
use super::turns::Turns;

/// Rows from which on the mask of a tile comes before its product. Tiles are lower than that where rows see few keys:
/// then a block of rows leaves out little of what the tile has (measured on one Zen 5 core, 2026-11-23).
pub(super) const TALL: i64 = 32;

/// Buffers with the state of an online softmax over part of its keys.
#[derive(Clone, Debug)]
pub(crate) struct AttendState {
    /// The axes of maximum and sum; the accumulator has the columns besides.
    pub lead: Vec<AxisId>,
    /// Row maxima.
    pub max: PlanBufferId,
    /// Row sums of the exponentials.
    pub sum: PlanBufferId,
    /// Unnormalised weighted sums of the values.
    pub acc: PlanBufferId,
}

/// One online softmax: the parts of its attend node, where it stands, and its state.
#[derive(Clone, Copy)]
pub(super) struct Attending<'s> {
    pub axis: AxisId,
    pub domain: TermId,
    pub score: TermId,
    pub value: TermId,
    pub frame: Frame,
    pub online: &'s Online,
    /// The weighted sums of the values.
    pub acc: TileId,
}

/// The tiles of one online softmax.
pub(super) struct Online {
    pub max: TileId,
    pub sum: TileId,
    pub alpha: TileId,
    pub rows: Frame,
}

impl Nest<'_, '_> {
    /// Lowers `sum[axis](softmax[axis where domain](score) * value)`.
    pub fn lower_attend(
        &mut self,
        axis: AxisId,
        domain: TermId,
        score: TermId,
        value: TermId,
        frame: Frame,
        exact: bool,
    ) -> Result<ExprId, PlanError> {
        let tied = |a: Option<AxisId>, t: TermId| a.is_some_and(|a| self.planner.terms.free(t).contains(a));
        let weighs = |a: Option<AxisId>| tied(a, score) || tied(a, domain);
        if exact || weighs(frame.cols) && weighs(frame.rows) {
            return self.attend_as_sum(axis, domain, score, value, frame, exact);
        }
        if weighs(frame.cols) || !weighs(frame.rows) && tied(frame.rows, value) && !tied(frame.cols, value) {
            return self.attend_turned(axis, domain, score, value, frame);
        }
        let (online, acc) = match self.split_off(axis, domain, score, value, frame)? {
            Some((state, rest)) => {
                let (online, acc) = self.online_resume(&state, frame)?;
                self.attend_tiles(Attending { axis, domain: rest, score, value, frame, online: &online, acc })?;
                (online, acc)
            }
            None => match self.split_keys(axis, domain, score, value, frame)? {
                Some(joined) => joined,
                None => {
                    let (online, acc) = self.attend_start(frame);
                    self.attend_tiles(Attending { axis, domain, score, value, frame, online: &online, acc })?;
                    (online, acc)
                }
            },
        };
        self.remember_lse(axis, domain, score, &online)?;
        let acc = self.element(acc, frame);
        let sum = self.element(online.sum, online.rows);
        Ok(self.mean(acc, frame, sum, online.rows))
    }

    /// A weighted sum over the sum of its weights, each with its frame: 0 without keys, whose sum is 0; NaN stays NaN.
    pub(super) fn mean(&mut self, acc: ExprId, frame: Frame, sum: ExprId, weights: Frame) -> ExprId {
        let lane = self.x().lane(acc);
        let (zero, one) = (self.x().real(lane, 0.0), self.x().real(lane, 1.0));
        let empty = self.x().binary(BinaryOp::Eq, sum, zero);
        let scale = self.x().binary(BinaryOp::Div, one, sum);
        let mut scale = self.choose(empty, zero, scale);
        // A factor of each row that is at hand is one call for the tile.
        if weights != frame {
            scale = self.spill("scale", scale, weights);
        }
        self.x().times(acc, scale)
    }

    pub(super) fn attend_start(&mut self, frame: Frame) -> (Online, TileId) {
        let online = self.online_start(frame);
        let acc = self.frame_tile("acc", self.program.compute, frame);
        let zero = self.constant(0.0);
        self.map(acc, frame, zero);
        (online, acc)
    }

    pub(super) fn attend_tiles(&mut self, of: Attending<'_>) -> Result<(), PlanError> {
        if let Some(Turns { turns, axis, domain, score, value: Some(value) }) =
            self.turns((of.axis, of.domain), of.score, Some(of.value), of.frame)
        {
            return self.for_turns(turns, |nest| nest.attend_tiles(Attending { axis, domain, score, value, ..of }));
        }
        if self.attend_listed(of)? { Ok(()) } else { self.attend_in_tiles(of) }
    }

    /// Tile after tile of keys.
    pub(super) fn attend_in_tiles(&mut self, of: Attending<'_>) -> Result<(), PlanError> {
        let Attending { axis, domain, score, value, frame, online, acc } = of;
        let parts = self.parts_of_values(value, axis, frame);
        let parts = self.in_pairs(parts, score, frame);
        let size = self.keys_of_tile(frame);
        self.for_tiles(axis, domain, (size, false), &mut |nest, domain, partial| {
            let (scores, masked) = nest.online_step(axis, domain, score, online, partial)?;
            let (rows, cols) = nest.counts(frame);
            nest.emit(Stmt::ScaleRows { tile: acc, alpha: online.alpha, rows, cols });
            for part in &parts {
                nest.add_part(part, scores, axis, frame, masked, acc)?;
            }
            Ok(())
        })
    }

    /// Where part of the domain wants rows of one residue class and part does not, a stage of its own computes the
    /// state of the online softmax over the former; with the rest of the domain. Of several such parts each stage
    /// goes on from the one before.
    fn split_off(
        &mut self,
        axis: AxisId,
        domain: TermId,
        score: TermId,
        value: TermId,
        frame: Frame,
    ) -> Result<Option<(AttendState, TermId)>, PlanError> {
        let (Some(rows), true) = (frame.rows, self.sequential.is_none()) else { return Ok(None) };
        let columns_whole = frame.cols.is_none_or(|a| matches!(self.binding(a), Binding::Whole(_)));
        if !columns_whole {
            return Ok(None);
        }
        // The parts together read what the whole does; what a row block lacks, it has a state for all the same.
        let terms = &self.planner.terms;
        let mut free = terms.free(domain).union(terms.free(score)).union(terms.free(value));
        free.insert(rows);
        let lead: Vec<AxisId> = free.iter().filter(|a| Some(*a) != frame.cols && *a != axis).collect();
        // A state is read at one position of each axis that the frame lacks.
        if lead.iter().any(|a| *a != rows && !matches!(self.binding(*a), Binding::Fixed(_))) {
            return Ok(None);
        }
        let (mut state, mut rest) = (None, domain);
        while let Some((classed, left)) = self.split_by_row_class(axis, rest, rows) {
            let term = self.planner.terms.add(Node::Attend { axis, domain: classed, score, value });
            state = Some(self.planner.attend_state(term, state, &lead, (rows, self.folded.clone()), frame.cols)?);
            rest = left;
        }
        Ok(state.map(|state| (state, rest)))
    }

    /// The online softmax with the state that a stage left.
    fn online_resume(&mut self, state: &AttendState, frame: Frame) -> Result<(Online, TileId), PlanError> {
        let lane = self.program.compute;
        let rows = Frame::new(frame.rows, None);
        let [max, sum, alpha] = ["m", "l", "alpha"].map(|name| self.frame_tile(name, lane, rows));
        for (tile, buffer) in [(max, state.max), (sum, state.sum)] {
            let value = self.load_plain(buffer, &state.lead, rows)?;
            self.map(tile, rows, value);
        }
        let acc = self.frame_tile("acc", lane, frame);
        let mut axes = state.lead.clone();
        axes.extend(frame.cols);
        let value = self.load_plain(state.acc, &axes, frame)?;
        self.map(acc, frame, value);
        Ok((Online { max, sum, alpha, rows }, acc))
    }

    /// Lowers an attend node as far as its state: maximum, sum and accumulator of each row, stored where the state is.
    /// It goes on from the state `before`, if there is one.
    pub fn lower_attend_state(
        &mut self,
        term: TermId,
        frame: Frame,
        before: Option<&AttendState>,
        state: &AttendState,
    ) -> Result<(), PlanError> {
        let Node::Attend { axis, domain, score, value } = *self.planner.terms.node(term) else {
            unreachable!("the state of an attend node")
        };
        let (online, acc) = match before {
            Some(before) => self.online_resume(before, frame)?,
            None => self.attend_start(frame),
        };
        self.attend_tiles(Attending { axis, domain, score, value, frame, online: &online, acc })?;
        let mut axes = state.lead.clone();
        axes.extend(frame.cols);
        let parts =
            [(state.max, online.max, online.rows), (state.sum, online.sum, online.rows), (state.acc, acc, frame)];
        for (target, tile, frame) in parts {
            let axes = if target == state.acc { &axes } else { &state.lead };
            let value = self.element(tile, frame);
            self.store_plain(target, axes, frame, value)?;
        }
        Ok(())
    }

    /// Over a frame whose columns the weights have, or whose rows only the values have: as if these were each other.
    fn attend_turned(
        &mut self,
        axis: AxisId,
        domain: TermId,
        score: TermId,
        value: TermId,
        frame: Frame,
    ) -> Result<ExprId, PlanError> {
        let turned = Frame::new(frame.cols, frame.rows);
        let value = self.lower_attend(axis, domain, score, value, turned, false)?;
        let tile = self.as_tile("turned", value, turned);
        let ((row, col), lane) = (self.lane_index(frame), self.program.compute);
        Ok(self.x().add(Expr::Tile { tile, row: col, col: row }, Some(lane)))
    }

    /// The general form, for frames whose rows and columns both have weights of their own.
    fn attend_as_sum(
        &mut self,
        axis: AxisId,
        domain: TermId,
        score: TermId,
        value: TermId,
        frame: Frame,
        exact: bool,
    ) -> Result<ExprId, PlanError> {
        let terms = &mut self.planner.terms;
        let weight = terms.add(Node::Softmax { axis, domain, body: score });
        let body = terms.nary(NaryOp::Mul, vec![weight, value]);
        let sum = terms.reduce(ReduceOp::Sum, axis, domain, body);
        self.eval_reduction(sum, frame, exact)
    }

    /// Lowers `logsumexp[axis where domain](score)` over rows.
    pub fn lower_logsumexp(&mut self, r: Reduction, frame: Frame) -> Result<ExprId, PlanError> {
        let online = self.online_start(frame);
        self.logsumexp_tiles((r.axis, r.domain), r.body, &online)?;
        Ok(self.lse(&online))
    }

    fn logsumexp_tiles(
        &mut self,
        (axis, domain): (AxisId, TermId),
        score: TermId,
        online: &Online,
    ) -> Result<(), PlanError> {
        if let Some(Turns { turns, axis, domain, score, .. }) = self.turns((axis, domain), score, None, online.rows) {
            return self.for_turns(turns, |nest| nest.logsumexp_tiles((axis, domain), score, online));
        }
        let size = self.keys_of_tile(online.rows);
        self.for_tiles(axis, domain, (size, false), &mut |nest, domain, partial| {
            nest.online_step(axis, domain, score, online, partial).map(|_| ())
        })
    }

    fn online_start(&mut self, frame: Frame) -> Online {
        let lane = self.program.compute;
        let rows = Frame::new(frame.rows, None);
        let (max, sum, alpha) =
            (self.frame_tile("m", lane, rows), self.frame_tile("l", lane, rows), self.frame_tile("alpha", lane, rows));
        let (low, zero) = (self.x().real(lane, f64::NEG_INFINITY), self.x().real(lane, 0.0));
        self.map(max, rows, low);
        self.map(sum, rows, zero);
        Online { max, sum, alpha, rows }
    }

    /// Scores of one tile, turned into weights, and what is masked of them.
    fn online_step(
        &mut self,
        axis: AxisId,
        domain: TermId,
        score: TermId,
        online: &Online,
        partial: Option<ExprId>,
    ) -> Result<(TileId, Option<Masked>), PlanError> {
        let frame = Frame::new(online.rows.rows, Some(axis));
        let spans = match partial {
            Some(cond) => self.spans_seen(domain, score, frame, cond)?,
            None => None,
        };
        let value = self.eval(score, frame, false)?;
        let scores = self.own_tile(value, frame);
        let masked = partial.map(|cond| Masked { cond, spans });
        if let Some(masked) = masked {
            self.leave_out(scores, domain, frame, masked)?;
        }
        let (rows, cols) = self.counts(frame);
        let Online { max, sum, alpha, .. } = *online;
        self.emit(Stmt::SoftmaxUpdate { scores, max, sum, alpha, masked, rows, cols });
        Ok((scores, masked))
    }

    /// The spans that the rows of a partial tile see, where the domain is one for each row and the rows are many.
    fn spans_seen(
        &mut self,
        domain: TermId,
        score: TermId,
        frame: Frame,
        partial: ExprId,
    ) -> Result<Option<RowSpans>, PlanError> {
        // Products of pairs look at the tile.
        if !self.is_tall(frame) || self.reads_bf16(score) {
            return Ok(None);
        }
        let Some(seen) = self.seen_in_spans(domain, frame) else { return Ok(None) };
        let mut spans = None;
        let then = self.inner_along(frame.cols, |nest| {
            spans = Some(nest.row_spans(&seen, frame)?);
            Ok(())
        })?;
        self.emit_where(partial, then, Vec::new());
        Ok(spans)
    }

    /// Statements under a condition that may be known.
    fn emit_where(&mut self, cond: ExprId, then: Vec<Stmt>, otherwise: Vec<Stmt>) {
        match self.truth_of(cond) {
            Some(true) => then.into_iter().for_each(|stmt| self.emit(stmt)),
            _ => self.emit(Stmt::If { cond, then, otherwise }),
        }
    }

    /// Leaves out of a tile of scores what its rows do not see: the softmax does so where it knows their spans, and what is
    /// not seen need not be computed.
    fn leave_out(&mut self, scores: TileId, domain: TermId, frame: Frame, masked: Masked) -> Result<(), PlanError> {
        if let Some(spans) = masked.spans {
            if let Some(at) = self.product_under(scores, frame) {
                let product = self.take_emitted(at);
                let (seen, rest) = (product.clone().of_open(Open::Spans(spans)), self.take_emitted_from(at));
                self.emit_where(masked.cond, vec![seen], vec![product]);
                rest.into_iter().for_each(|stmt| self.emit(stmt));
            }
            return Ok(());
        }
        let first = self.is_tall(frame) && self.mask_narrows(domain, frame);
        let product = if first { self.take_product(scores, frame) } else { None };
        match product {
            Some(product) => self.product_where_open(product, scores, domain, frame, masked.cond),
            None => self.mask_tile(scores, domain, frame, masked.cond, f64::NEG_INFINITY).map(|_| ()),
        }
    }

    /// Which of the statements just emitted is a product that writes the whole tile, if only maps of the tile's elements
    /// come after it. Where these join it with another tile of pairs, which of the two is this one is chance.
    fn product_under(&mut self, scores: TileId, frame: Frame) -> Option<usize> {
        for at in (0..self.emitted().len()).rev() {
            let stmt = &self.emitted()[at];
            if self.program.exprs.mentions(std::slice::from_ref(stmt), scores) == 0 {
                continue;
            }
            match stmt {
                Stmt::Map { dst: Dst::Tile { tile, .. }, value, .. }
                    if *tile == scores && self.tiles_of(*value).iter().all(|t| *t == scores || self.is_line(*t)) => {}
                Stmt::Product { .. } => {
                    let stmt = stmt.clone();
                    return self.writes_all(&stmt, scores, frame).then_some(at);
                }
                _ => return None,
            }
        }
        None
    }

    /// Whether a tile has one row or one column.
    fn is_line(&self, tile: TileId) -> bool {
        let declared = &self.program.tiles[tile.0 as usize];
        [declared.rows, declared.cols].iter().any(|count| self.program.exprs.as_int(*count) == Some(1))
    }

    /// Keys of a tile: many where its rows see many, which made it high, and the values' rows are short enough that what
    /// a tile takes stays in the first caches.
    fn keys_of_tile(&mut self, frame: Frame) -> i64 {
        let rows = self.caps(frame).0;
        let high = self.program.exprs.as_int(rows).is_some_and(|rows| rows >= ROWS);
        let short = frame.cols.is_none_or(|cols| self.planner.hint_extent(cols) <= CHUNK);
        if high && short { TILE } else { CHUNK }
    }

    /// Whether the tile has so many rows that some of them may leave out columns that others do not.
    pub(super) fn is_tall(&mut self, frame: Frame) -> bool {
        let rows = self.caps(frame).0;
        self.program.exprs.as_int(rows).is_none_or(|rows| rows >= TALL)
    }

    /// Takes back the statement just emitted, if it is a product that writes the whole tile.
    fn take_product(&mut self, scores: TileId, frame: Frame) -> Option<Stmt> {
        let last = self.last_emitted()?.clone();
        if self.writes_all(&last, scores, frame) { self.take_last_emitted() } else { None }
    }

    /// Whether a statement is a product that writes a whole tile.
    fn writes_all(&mut self, stmt: &Stmt, tile: TileId, frame: Frame) -> bool {
        let (counts, whole) = (self.counts(frame), self.tile_view(tile));
        let Stmt::Product { dst, rhs, rows, cols, accumulate: false, masked: None, .. } = stmt else { return false };
        // What is stored narrow has a product of its own.
        *dst == whole && (*rows, *cols) == counts && !self.program.stored_narrow(rhs)
    }

    /// Scores that are a product: the mask comes first where the tile is partial, and what it leaves out is not computed.
    fn product_where_open(
        &mut self,
        product: Stmt,
        scores: TileId,
        domain: TermId,
        frame: Frame,
        partial: ExprId,
    ) -> Result<(), PlanError> {
        let mut masks = false;
        let then = self.inner_along(frame.cols, |nest| {
            // A product of no terms is all 0, in whole vectors.
            let (zero, always) = (nest.x().int(0), nest.x().truth(true));
            let mut nothing = product.clone();
            if let Stmt::Product { depth, factor, .. } = &mut nothing {
                (*depth, *factor) = (zero, None);
            }
            nest.emit(nothing);
            let before = nest.last_emitted().cloned();
            nest.mask_tile(scores, domain, frame, always, f64::NEG_INFINITY)?;
            masks = nest.last_emitted().cloned() != before;
            nest.emit(product.clone().of_open(Open::Where));
            Ok(())
        })?;
        if masks {
            self.emit_where(partial, then, vec![product])
        } else {
            self.emit(product)
        }
        Ok(())
    }

    /// The value in a tile that may be overwritten. A tile that the value
    /// reads lane by lane serves itself, and is forgotten as what it was.
    pub fn own_tile(&mut self, value: ExprId, frame: Frame) -> TileId {
        let element = self.lane_index(frame);
        let caps = self.caps(frame);
        let tile = self.tiles_of(value).into_iter().find(|tile| {
            let declared = &self.program.tiles[tile.0 as usize];
            let whole = declared.lane == self.program.compute && (declared.rows, declared.cols) == caps;
            whole && self.reads_only_at(value, *tile, element) && self.is_of_this_scope(*tile)
        });
        let tile = match tile {
            Some(tile) => {
                self.forget(tile);
                tile
            }
            None => self.frame_tile("s", self.program.compute, frame),
        };
        let same = self.element(tile, frame);
        if same != value {
            self.map_settled(tile, frame, value);
        }
        tile
    }

    fn lse(&mut self, online: &Online) -> ExprId {
        let (max, sum) = (self.element(online.max, online.rows), self.element(online.sum, online.rows));
        let log = self.x().unary(UnaryOp::Log, sum);
        let value = self.x().sum(max, log);
        // No key: -inf + log 0 is already -inf.
        value
    }

    /// The log-sum-exp of an attend's own scores costs nothing more.
    fn remember_lse(&mut self, axis: AxisId, domain: TermId, score: TermId, online: &Online) -> Result<(), PlanError> {
        let term = self.planner.terms.reduce(ReduceOp::LogSumExp, axis, domain, score);
        let frame = online.rows.restricted(self.planner.terms.free(term));
        if frame != online.rows {
            return Ok(());
        }
        let outputs = self.lse_outputs(term, frame);
        for wanted in outputs {
            let value = self.lse(online);
            self.store_plain(wanted.target, &wanted.axes, frame, value)?;
        }
        if !self.planner.find(self.root, &mut |t, _| t == term) {
            return Ok(());
        }
        let value = self.lse(online);
        let tile = self.as_tile("lse", value, frame);
        let value = self.element(tile, frame);
        let depth = self.depth_of(term);
        if depth == self.current_depth() {
            let key = self.key(term, frame, false);
            self.remember(depth, key, value);
        }
        Ok(())
    }

    /// What is wanted of this log-sum-exp that the tasks of this stage can write: each its own elements, and all.
    fn lse_outputs(&mut self, term: TermId, frame: Frame) -> Vec<Wanted> {
        if self.current_depth() != 0 || self.sequential.is_some() {
            return Vec::new();
        }
        let tasks = self.task_axes();
        // A task has one position of an axis, or those along the rows of the frame.
        let own: Vec<AxisId> =
            tasks.iter().copied().filter(|a| matches!(self.binding(*a), Binding::Fixed(_))).collect();
        // Rows, with their groups, stand for all positions of the axes that were folded.
        let none = Folded::default();
        let (folded, term) = match &self.folded {
            None => (&none, term),
            Some(folded) => match folded.lse.get(&term) {
                Some(before) => (folded, *before),
                None => return Vec::new(),
            },
        };
        let fits = |axes: &[AxisId]| {
            let place = |a: &AxisId| own.contains(a) || Some(*a) == frame.rows || folded.places.contains_key(a);
            tasks.iter().all(|a| folded.axes.contains(a) || axes.contains(a))
                && folded.places.keys().all(|a| axes.contains(a))
                && axes.iter().all(place)
        };
        self.planner.take_by_the_way(term, fits)
    }

    /// Attends whose log-sum-exp the term also needs are lowered first.
    pub fn attends_first(&mut self, frame: Frame) -> Result<(), PlanError> {
        let mut found = Vec::new();
        let mut lse = false;
        self.planner.find(self.root, &mut |t, node| {
            if matches!(node, Node::Attend { .. }) {
                found.push(t);
            }
            lse |= matches!(node, Node::Reduce { op: ReduceOp::LogSumExp, .. });
            false
        });
        if lse {
            for term in found {
                let free = self.planner.terms.free(term);
                if free.iter().all(|a| self.is_bound(a)) && frame.restricted(free) == frame && self.repeats(term) <= 1.0
                {
                    self.eval_reduction(term, frame, false)?;
                }
            }
        }
        Ok(())
    }

    /// The plain element of a tile, if the expression is one.
    pub fn element_tile(&self, value: ExprId) -> Option<TileId> {
        match self.program.exprs.get(value) {
            Expr::Tile { tile, .. } => Some(*tile),
            _ => None,
        }
    }
}
