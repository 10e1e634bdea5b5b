//! Reductions over a frame: the general forms, and the choice between them.
//!
//! A reduction is computed in the outermost scope of its free axes, into a
//! tile; or materialised in a buffer if many tasks would repeat it. Products
//! go to [`super::contract`], softmax forms to [`super::attend`], prefixes to
//! [`super::scan`].

use attnc_algebra::{AxisId, BinaryOp, Carry, NaryOp, Node, ReduceOp, TermId, UnaryOp};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Dst, Stmt, TileId};
use crate::planner::CHUNK;

use super::nest::{Binding, Frame, Nest};
use super::online::Online;

/// A reduction taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reduction {
    /// What is done.
    pub op: ReduceOp,
    /// Over which axis.
    pub axis: AxisId,
    /// Where.
    pub domain: TermId,
    /// To what.
    pub body: TermId,
}

impl Nest<'_, '_> {
    /// The value of a reduction at the lane of `frame`.
    pub fn eval_reduction(&mut self, term: TermId, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        let exact = exact || self.planner.is_data_free(term);
        if let Node::Softmax { axis, domain, body } = *self.planner.terms.node(term) {
            return self.eval_softmax(axis, domain, body, frame, exact);
        }
        let own = frame.restricted(self.planner.terms.free(term));
        let depth = self.depth_of(term);
        let key = self.key(term, own, exact);
        if let Some(known) = self.remembered(depth, &key) {
            return Ok(known);
        }
        let value = self.at(depth, |nest| nest.lower_reduction(term, own, exact))?;
        self.remember(depth, key, value);
        Ok(value)
    }

    fn lower_reduction(&mut self, term: TermId, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        if matches!(self.planner.terms.node(term), Node::Order { .. } | Node::At { .. }) {
            return self.lower_gather(term, frame, exact);
        }
        if !exact && let Some(value) = self.lower_running_prefix(term, frame)? {
            return Ok(value);
        }
        if !exact && let Some(value) = self.lower_columns(term, frame)? {
            return Ok(value);
        }
        let rank = self.planner.rank(term);
        let again = rank.is_some_and(|rank| !self.lines_fit(rank, frame) || self.ranks_again(term, rank));
        let better = again || self.is_better_apart(term, exact) || self.wants_rows_of_a_class(term, frame);
        let apart = self.planner.nesting(term).apart || better && self.may_materialise(term);
        if term != self.root && apart {
            let axes: Vec<AxisId> = self.planner.terms.free(term).iter().collect();
            let (buffer, axes) = self.planner.materialise_plain(term, &axes, exact)?;
            return self.load_plain(buffer, &axes, frame);
        }
        if let Some(rank) = rank.filter(|rank| self.lines_fit(*rank, frame)) {
            return self.lower_rank(term, rank, frame);
        }
        match self.planner.terms.node(term).clone() {
            Node::Reduce { op, axis, domain, body } => {
                let reduction = Reduction { op, axis, domain, body };
                self.lower_reduce(term, reduction, frame, exact)
            }
            Node::Attend { axis, domain, score, value } => self.lower_attend(axis, domain, score, value, frame, exact),
            Node::Scan { carry: Carry::Sum, axis, row, decay, body } => {
                self.lower_scan(term, None, axis, row, decay, body, frame, exact)
            }
            Node::Scan { carry, axis, row, decay, body } => {
                self.lower_online(term, &Online::new(carry, (axis, row), decay, body), frame, exact)
            }
            other => unreachable!("{other:?} is no reduction"),
        }
    }

    /// Whether a reduction inside a stage is better computed by one of its own.
    fn is_better_apart(&mut self, term: TermId, exact: bool) -> bool {
        let scan = matches!(self.planner.terms.node(term), Node::Scan { .. });
        self.needs_own_scan_stage(term)
            || self.repeats(term) > 1.0
            || self.repeats_scores(term)
            || self.reads_across_lines(term)
            || !scan && self.planner.is_shared(term, self.stage, exact)
    }

    /// Whether what is reduced is read across its lines: these run along an axis whose positions a loop takes in turn.
    fn reads_across_lines(&self, term: TermId) -> bool {
        let Node::Reduce { axis, body, .. } = *self.planner.terms.node(term) else { return false };
        let terms = &self.planner.terms;
        let in_turn: Vec<AxisId> = self.axes_in_turn().into_iter().filter(|a| terms.free(term).contains(*a)).collect();
        let along = |at: &TermId| in_turn.iter().any(|a| *terms.node(*at) == Node::Position(*a));
        let across = |node: &Node| matches!(node, Node::Input { index, .. } if index.last().is_some_and(along));
        !in_turn.is_empty() && !self.planner.is_short(axis) && self.planner.find(body, &mut |_, node| across(node))
    }

    /// Whether an attention wants rows of one residue class, which those of the stage are not, for what else it computes.
    fn wants_rows_of_a_class(&mut self, term: TermId, frame: Frame) -> bool {
        let (Node::Attend { .. }, Some(rows)) = (self.planner.terms.node(term), frame.rows) else { return false };
        let every = matches!(self.binding(rows), Binding::Tile(dim) if dim.step == 1);
        every && term != self.root && self.row_step(term, rows) > 1
    }

    /// Whether scores are computed for each of several positions at which the values alone differ.
    fn repeats_scores(&self, term: TermId) -> bool {
        let Node::Attend { score, value, .. } = *self.planner.terms.node(term) else { return false };
        let of_scores = self.planner.terms.free(score);
        self.planner.terms.free(term).iter().any(|a| {
            let alone = self.planner.terms.free(value).contains(a) && !of_scores.contains(a);
            alone && self.planner.hint_extent(a) > 1 && matches!(self.binding(a), Binding::Fixed(_))
        })
    }

    /// Softmax weights themselves: `exp(score - logsumexp(score))` where allowed.
    fn eval_softmax(
        &mut self,
        axis: AxisId,
        domain: TermId,
        body: TermId,
        frame: Frame,
        exact: bool,
    ) -> Result<ExprId, PlanError> {
        if exact {
            let chosen = self.exact_softmax(axis, domain, body);
            return self.eval(chosen, frame, true);
        }
        let terms = &mut self.planner.terms;
        let lse = terms.reduce(ReduceOp::LogSumExp, axis, domain, body);
        let minus = terms.unary(UnaryOp::Neg, lse);
        let shifted = terms.nary(NaryOp::Add, vec![body, minus]);
        let weight = terms.unary(UnaryOp::Exp, shifted);
        let zero = terms.real(0.0);
        let chosen = terms.add(Node::Select(domain, weight, zero));
        self.eval(chosen, frame, exact)
    }

    /// `exp(body - m)` and its sum over the domain, m the maximum there, with m: in these operations and no others, so
    /// that a decision about them has the same bits in every engine.
    fn shifted(&mut self, axis: AxisId, domain: TermId, body: TermId) -> (TermId, TermId, TermId) {
        let terms = &mut self.planner.terms;
        let top = terms.reduce(ReduceOp::Max, axis, domain, body);
        let minus = terms.unary(UnaryOp::Neg, top);
        let difference = terms.nary(NaryOp::Add, vec![body, minus]);
        let grade = terms.unary(UnaryOp::Exp, difference);
        let total = terms.reduce(ReduceOp::Sum, axis, domain, grade);
        (grade, total, top)
    }

    /// Softmax weights by their definition; a row of -inf has none.
    fn exact_softmax(&mut self, axis: AxisId, domain: TermId, body: TermId) -> TermId {
        let (grade, total, top) = self.shifted(axis, domain, body);
        let terms = &mut self.planner.terms;
        let weight = terms.binary(BinaryOp::Div, grade, total);
        let (nothing, zero) = (terms.real(f64::NEG_INFINITY), terms.real(0.0));
        let some = terms.binary(BinaryOp::Ne, top, nothing);
        let inside = terms.nary(NaryOp::And, vec![domain, some]);
        terms.add(Node::Select(inside, weight, zero))
    }

    /// A log-sum-exp by its definition; an infinite maximum is the result.
    fn exact_logsumexp(&mut self, r: Reduction) -> TermId {
        let (_, total, top) = self.shifted(r.axis, r.domain, r.body);
        let terms = &mut self.planner.terms;
        let log = terms.unary(UnaryOp::Log, total);
        let finite = terms.nary(NaryOp::Add, vec![top, log]);
        let size = terms.unary(UnaryOp::Abs, top);
        let infinity = terms.real(f64::INFINITY);
        let infinite = terms.binary(BinaryOp::Eq, size, infinity);
        terms.add(Node::Select(infinite, top, finite))
    }

    fn lower_reduce(&mut self, term: TermId, r: Reduction, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        if r.op == ReduceOp::LogSumExp && exact {
            let composed = self.exact_logsumexp(r);
            return self.eval(composed, frame, true);
        }
        if let Some(value) = self.lower_in_parts(r, frame, exact)? {
            return Ok(value);
        }
        if let Some(value) = self.lower_count(r, frame)? {
            return Ok(value);
        }
        if r.op == ReduceOp::LogSumExp && frame.cols.is_none() {
            return self.lower_logsumexp(r, frame);
        }
        if !exact
            && self.lane(r.body, false) == self.program.compute
            && let Some(value) = self.lower_running(r, frame)?
        {
            return Ok(value);
        }
        if !exact && let Some(value) = self.lower_max_plus(r, frame)? {
            return Ok(value);
        }
        if !exact && let Some(value) = self.lower_lse_plus(r, frame)? {
            return Ok(value);
        }
        if r.op == ReduceOp::Sum && !exact && self.lane(r.body, false) == self.program.compute {
            if let Some(value) = self.lower_scan_product(term, r, frame)? {
                return Ok(value);
            }
            if let Some(value) = self.lower_segment_sum(r, frame)? {
                return Ok(value);
            }
            if let Some(value) = self.lower_contraction(r, frame)? {
                return Ok(value);
            }
            if let Some(value) = self.lower_skewed(r, frame)? {
                return Ok(value);
            }
            if let Some(value) = self.lower_looked_up_dots(r, frame)? {
                return Ok(value);
            }
            if let Some(value) = self.lower_scattered(r, frame)? {
                return Ok(value);
            }
            if let Some(value) = self.lower_through_tanh(r, frame)? {
                return Ok(value);
            }
        }
        if r.op == ReduceOp::Sum
            && exact
            && let Some(value) = self.lower_exact_contraction(r, frame)?
        {
            return Ok(value);
        }
        if let Some(value) = self.lower_marked(r, frame, exact)? {
            return Ok(value);
        }
        if frame.cols.is_none() && r.op != ReduceOp::LogSumExp {
            return self.lower_row_reduce(r, frame, exact);
        }
        if matches!(r.op, ReduceOp::ArgMax | ReduceOp::ArgMin) {
            return self.lower_arg_in_turns(r, frame);
        }
        self.lower_in_turns(r, frame, exact)
    }

    /// Where part of the domain wants rows of one residue class and part does not: the former by a stage of its own,
    /// whose rows can have that step, and the two joined.
    fn lower_in_parts(&mut self, r: Reduction, frame: Frame, exact: bool) -> Result<Option<ExprId>, PlanError> {
        let joins = matches!(r.op, ReduceOp::Sum | ReduceOp::LogSumExp | ReduceOp::Max | ReduceOp::Min);
        let (Some(rows), true) = (frame.rows, joins && !exact && self.sequential.is_none()) else { return Ok(None) };
        if self.planner.is_short(r.axis) {
            return Ok(None);
        }
        let Some((classed, rest)) = self.split_by_row_class(r.axis, r.domain, rows) else { return Ok(None) };
        let terms = &mut self.planner.terms;
        let apart = terms.reduce(r.op, r.axis, classed, r.body);
        let here = terms.reduce(r.op, r.axis, rest, r.body);
        if !self.may_materialise(apart) {
            return Ok(None);
        }
        let axes: Vec<AxisId> = self.planner.terms.free(apart).iter().collect();
        let (buffer, axes) = self.planner.materialise_plain(apart, &axes, false)?;
        let apart = self.load_plain(buffer, &axes, frame)?;
        let here = self.eval_reduction(here, frame, false)?;
        Ok(Some(self.fold(r.op, apart, here)))
    }

    /// The lane type in which a reduction accumulates.
    fn accumulator_lane(&self, r: Reduction, exact: bool) -> Lane {
        match r.op {
            ReduceOp::Any | ReduceOp::All => Lane::Bool,
            ReduceOp::Sum | ReduceOp::Prod => self.lane(r.body, exact),
            _ => self.real_lane(exact),
        }
    }

    fn identity(&mut self, op: ReduceOp, lane: Lane) -> ExprId {
        match lane {
            Lane::Bool => self.x().truth(op == ReduceOp::All),
            Lane::I64 => self.x().int(op.identity() as i64),
            Lane::F32 | Lane::F64 => self.x().real(lane, op.identity()),
        }
    }

    /// Over the columns of a frame that has rows only: one statement per row tile.
    pub fn lower_row_reduce(&mut self, r: Reduction, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        let arg = matches!(r.op, ReduceOp::ArgMax | ReduceOp::ArgMin);
        if arg && let Some(value) = self.lower_clear_arg(r, frame)? {
            return Ok(value);
        }
        let lane = if arg { Lane::I64 } else { self.accumulator_lane(r, exact) };
        let result = self.frame_tile("r", lane, frame);
        if arg || (self.planner.is_short(r.axis)) {
            self.with_whole(r.axis, |nest| nest.row_reduce_step(r, frame, exact || arg, result, None, false))?;
            return Ok(self.element(result, frame));
        }
        let start = self.identity(r.op, lane);
        self.map(result, frame, start);
        let once = self.reduced_once(r, (frame, exact), (lane, start));
        self.for_tiles(r.axis, r.domain, (CHUNK, exact), &mut |nest, domain, partial| {
            let r = Reduction { domain, ..r };
            let (Some(once), Some(cut)) = (once, partial) else {
                return nest.row_reduce_step(r, frame, exact, result, Some(partial), true);
            };
            let along = Some((r.axis, nest.binding(r.axis).clone()));
            let holds = nest.x().truth(true);
            let then = nest
                .inner(along.clone(), |nest| nest.row_reduce_step(r, frame, exact, result, Some(Some(holds)), true))?;
            let everywhere = nest.planner.terms.truth(true);
            let whole = Reduction { domain: everywhere, ..r };
            let otherwise =
                nest.inner(along, |nest| nest.row_reduce_step(whole, Frame::default(), exact, once, None, true))?;
            nest.emit(Stmt::If { cond: cut, then, otherwise });
            Ok(())
        })?;
        if let Some(once) = once {
            let (own, more) = (self.element(result, frame), self.element(once, Frame::default()));
            let all = self.fold(r.op, own, more);
            self.map(result, frame, all);
        }
        Ok(self.element(result, frame))
    }

    /// A number for what full tiles hold for every row alike, where what is reduced does not know the rows: it is reduced
    /// once for all of them. In decisions the order of positions counts.
    fn reduced_once(
        &mut self,
        r: Reduction,
        (frame, exact): (Frame, bool),
        (lane, start): (Lane, ExprId),
    ) -> Option<TileId> {
        let rows = frame.rows?;
        if exact || self.is_true(r.domain) || self.planner.terms.free(r.body).contains(rows) {
            return None;
        }
        let once = self.frame_tile("once", lane, Frame::default());
        self.map(once, Frame::default(), start);
        Some(once)
    }

    fn row_reduce_step(
        &mut self,
        r: Reduction,
        frame: Frame,
        exact: bool,
        dst: TileId,
        partial: Option<Option<ExprId>>,
        accumulate: bool,
    ) -> Result<(), PlanError> {
        let inner = Frame::new(frame.rows, Some(r.axis));
        let lane = match r.op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => Lane::F64,
            _ => self.accumulator_lane(r, exact),
        };
        let value = self.reduced_value(r, inner, exact)?;
        let value = self.x().cast(lane, value);
        let domain = if self.is_true(r.domain) { None } else { Some(self.eval(r.domain, inner, exact)?) };
        let domain = match (domain, partial) {
            // Where the tile is full the predicate is not evaluated per lane.
            (Some(d), Some(Some(partial))) => {
                let full = self.not(partial);
                Some(self.or(full, d))
            }
            (d, _) => d,
        };
        let (rows, cols) = self.counts(inner);
        self.emit(Stmt::RowReduce { dst, op: r.op, rows, cols, domain, value, accumulate });
        Ok(())
    }

    /// What a row reduction reduces, over its columns. Where there is one row
    /// only and the body reduces itself, the body's tiles run along the
    /// reduced axis instead, and the result is read across.
    fn reduced_value(&mut self, r: Reduction, inner: Frame, exact: bool) -> Result<ExprId, PlanError> {
        let free = self.planner.terms.free(r.body).contains(r.axis);
        if inner.rows.is_some() || !free || !self.planner.has_reduction(r.body) {
            return self.eval(r.body, inner, exact);
        }
        let down = Frame::new(Some(r.axis), None);
        let value = self.eval(r.body, down, exact)?;
        let tile = self.as_tile("down", value, down);
        let lane = self.program.exprs.lane(value);
        let (col, zero) = (self.x().add(Expr::Col, None), self.x().int(0));
        Ok(self.x().add(Expr::Tile { tile, row: col, col: zero }, Some(lane)))
    }

    /// `acc = op(acc, body)` for one position after the other, in axis order.
    pub fn lower_in_turns(&mut self, r: Reduction, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        let lane = self.accumulator_lane(r, exact);
        let acc = self.frame_tile("a", lane, frame);
        let start = self.identity(r.op, lane);
        self.map(acc, frame, start);
        let place = self.lane_index(frame);
        if !exact && lane == self.program.compute && self.fold_in_tiles(r, frame, (acc, place))? {
            return Ok(self.element(acc, frame));
        }
        let Some(apart) = self.axis_apart(r, frame) else {
            self.fold_in_turns(r, frame, exact, (acc, place))?;
            return Ok(self.element(acc, frame));
        };
        // What each of its positions sees is a small part of what all see together.
        let dim = self.dim(apart);
        let (var, at) = self.var(Lane::I64);
        let step = self.x().int(dim.step);
        let far = self.x().times(at, step);
        let position = self.x().sum(dim.base, far);
        let (rest, place) = if frame.rows == Some(apart) {
            (Frame::new(None, frame.cols), (at, place.1))
        } else {
            (Frame::new(frame.rows, None), (place.0, at))
        };
        let body = self
            .inner(Some((apart, Binding::Fixed(position))), |nest| nest.fold_in_turns(r, rest, exact, (acc, place)))?;
        let from = self.x().int(0);
        self.emit(Stmt::For { var, from, to: dim.count, step: 1, body });
        Ok(self.element(acc, frame))
    }

    /// The axis of a frame that is better taken position by position, for what its positions see lies apart. What lies
    /// between positions of both axes is seen by many; what is reduced again is a product of many positions at once.
    fn axis_apart(&mut self, r: Reduction, frame: Frame) -> Option<AxisId> {
        if self.planner.has_reduction(r.body) {
            return None;
        }
        let both = [frame.rows, frame.cols].iter().flatten().all(|a| self.planner.terms.free(r.domain).contains(*a));
        if both && frame.rows.is_some() && frame.cols.is_some() {
            return None;
        }
        let own = [(frame.rows, self.caps(frame).0), (frame.cols, self.caps(frame).1)];
        own.into_iter().find_map(|(axis, cap)| {
            let axis = axis.filter(|a| self.planner.terms.free(r.domain).contains(*a))?;
            let count = self.program.exprs.as_int(cap).unwrap_or_else(|| self.planner.hint_extent(axis));
            self.sees_apart(axis, (r.axis, r.domain), count).then_some(axis)
        })
    }

    /// Folds what the domain holds into the tile at the given row and column of each lane.
    fn fold_in_turns(
        &mut self,
        r: Reduction,
        frame: Frame,
        exact: bool,
        (acc, (row, col)): (TileId, (ExprId, ExprId)),
    ) -> Result<(), PlanError> {
        let lane = self.accumulator_lane(r, exact);
        let (from, to) = self.one_span(r.axis, r.domain);
        let (var, at) = self.var(Lane::I64);
        let body = self.inner(Some((r.axis, Binding::Fixed(at))), |nest| {
            let old = nest.x().add(Expr::Tile { tile: acc, row, col }, Some(lane));
            let value = nest.eval(r.body, frame, exact)?;
            let value = nest.x().cast(lane, value);
            let new = nest.fold(r.op, old, value);
            let new = if nest.is_true(r.domain) {
                new
            } else {
                let domain = nest.eval(r.domain, frame, exact)?;
                nest.choose(domain, new, old)
            };
            let (rows, cols) = nest.counts(frame);
            nest.emit(Stmt::Map { dst: Dst::Tile { tile: acc, row, col }, rows, cols, value: new });
            Ok(())
        })?;
        self.emit(Stmt::For { var, from, to, step: 1, body });
        Ok(())
    }

    /// One step of a fold.
    pub fn fold(&mut self, op: ReduceOp, old: ExprId, value: ExprId) -> ExprId {
        let nary = match op {
            ReduceOp::Sum => NaryOp::Add,
            ReduceOp::Prod => NaryOp::Mul,
            ReduceOp::Max => NaryOp::Max,
            ReduceOp::Min => NaryOp::Min,
            ReduceOp::Any => return self.or(old, value),
            ReduceOp::All => return self.and(old, value),
            ReduceOp::LogSumExp => return self.x().binary(BinaryOp::LogAddExp, old, value),
            ReduceOp::ArgMax | ReduceOp::ArgMin => unreachable!("positions are folded by lower_arg_in_turns"),
        };
        self.x().nary(nary, &[old, value])
    }

    /// argmax and argmin over a frame with columns: best value and its position.
    fn lower_arg_in_turns(&mut self, r: Reduction, frame: Frame) -> Result<ExprId, PlanError> {
        let best = self.frame_tile("best", Lane::F64, frame);
        let place = self.frame_tile("arg", Lane::I64, frame);
        let nan = self.x().real(Lane::F64, f64::NAN);
        let none = self.x().int(-1);
        self.map(best, frame, nan);
        self.map(place, frame, none);
        let (var, at) = self.var(Lane::I64);
        let body = self.inner(Some((r.axis, Binding::Fixed(at))), |nest| {
            let value = nest.eval(r.body, frame, true)?;
            let value = nest.x().cast(Lane::F64, value);
            let value = nest.spill("v", value, frame);
            let (old, at_old) = (nest.element(best, frame), nest.element(place, frame));
            let beats = if r.op == ReduceOp::ArgMax {
                nest.x().binary(BinaryOp::Lt, old, value)
            } else {
                nest.x().binary(BinaryOp::Lt, value, old)
            };
            // The first candidate wins over nothing, and a number over NaN.
            let zero = nest.x().int(0);
            let first = nest.x().binary(BinaryOp::Lt, at_old, zero);
            let old_nan = nest.x().binary(BinaryOp::Ne, old, old);
            let number = nest.x().binary(BinaryOp::Eq, value, value);
            let over_nan = nest.and(old_nan, number);
            let wins = nest.or(beats, first);
            let wins = nest.or(wins, over_nan);
            let wins = if nest.is_true(r.domain) {
                wins
            } else {
                let domain = nest.eval(r.domain, frame, true)?;
                nest.and(wins, domain)
            };
            let wins = nest.spill("w", wins, frame);
            let new_best = nest.choose(wins, value, old);
            let new_place = nest.choose(wins, at, at_old);
            nest.map(best, frame, new_best);
            nest.map(place, frame, new_place);
            Ok(())
        })?;
        let (from, to) = (self.x().int(0), self.extent(r.axis));
        self.emit(Stmt::For { var, from, to, step: 1, body });
        Ok(self.element(place, frame))
    }

    /// A map of `value` into a fresh tile where it is not already one; the tile.
    pub fn as_tile(&mut self, name: &str, value: ExprId, frame: Frame) -> TileId {
        let (row, col) = self.lane_index(frame);
        if let Expr::Tile { tile, row: r, col: c } = *self.program.exprs.get(value)
            && (r, c) == (row, col)
        {
            return tile;
        }
        let spilled = self.spill(name, value, frame);
        match self.program.exprs.get(spilled) {
            Expr::Tile { tile, .. } => *tile,
            _ => unreachable!("spill returns an element of its tile"),
        }
    }
}
