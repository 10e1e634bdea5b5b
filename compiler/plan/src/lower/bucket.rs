//! Buckets: orders of integer keys, and terms read through them.
//!
//! An order is a stage of its own, one sort for each line of keys. Sorted keys
//! are a table that never decreases, so an equality of keys becomes an
//! interval of positions, found by search in [`super::domain`]. A term at a
//! computed position is a gather from that term's buffer.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, TermId, UnaryOp};

use crate::error::PlanError;
use crate::graph::{PlanBufferId, Stage, StageKind};
use crate::loops::expr::{Expr, ExprId, Exprs, Lane};
use crate::loops::{Access, BufferId, Stmt};
use crate::planner::{Layout, Planner};

use super::interval::Interval;
use super::nest::{Binding, Frame, Nest};

/// Buckets assumed for keys of which nothing is known.
const UNKNOWN_BUCKETS: i64 = 4;

/// How many times the mean the run of a nearest place is that a position is in: places of a small norm are near to many positions
/// (1.5 to 2.8 for 16 centroids, and for 256 more, where they and the positions have 64 features drawn from one normal
/// distribution). By dot products alone it is 1.0 to 1.1, and 1.4 for 256.
const UNEVEN: i64 = 2;

/// Builds the stage that writes the order of `key` along `axis`, a term over `lead` and `axis`.
pub(crate) fn lower_order_stage(
    planner: &mut Planner<'_>,
    term: TermId,
    (axis, key): (AxisId, TermId),
    target: PlanBufferId,
) -> Result<Stage, PlanError> {
    let axes = line_axes(planner, term, axis);
    let source = planner.materialise(key, &Layout::Plain(axes.clone()), false)?;
    let mut nest = Nest::new(planner, term);
    let mut at = Vec::new();
    for lead in &axes[..axes.len() - 1] {
        let (var, position) = nest.var(Lane::I64);
        let count = nest.extent(*lead);
        nest.program.grid.push((var, count));
        at.push(position);
    }
    let keys = nest.line_buffer(source, at.len(), Access::Read);
    let order = nest.line_buffer(target, at.len(), Access::Write);
    let count = nest.extent(axis);
    nest.emit(Stmt::Order { keys, order, at, count });
    nest.finish();
    nest.program.name = nest.planner.stage_name(StageKind::Bucket, target);
    Ok(Stage { kind: StageKind::Bucket, program: nest.program, args: nest.args })
}

/// The axes of a term with `axis` last.
fn line_axes(planner: &Planner<'_>, term: TermId, axis: AxisId) -> Vec<AxisId> {
    let free = planner.terms.free(term);
    free.iter().filter(|a| *a != axis).chain([axis]).collect()
}

impl Nest<'_, '_> {
    fn line_buffer(&mut self, id: PlanBufferId, last: usize, access: Access) -> BufferId {
        let buffer = self.buffer(id, access);
        self.program.buffers[buffer.0 as usize].unit_dim = Some(last);
        buffer
    }

    /// The axis and buffer of an order or of sorted keys, with the buffer's axes; `None` for other terms, and for the
    /// term that this stage makes.
    fn lines(&mut self, term: TermId) -> Result<Option<(AxisId, PlanBufferId, Vec<AxisId>)>, PlanError> {
        let axis = match *self.planner.terms.node(term) {
            Node::Order { axis, .. } => axis,
            Node::At { .. } => match self.planner.terms.sorted_key(term) {
                Some((axis, _)) => axis,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        if term == self.root {
            return Ok(None);
        }
        let axes = line_axes(self.planner, term, axis);
        let buffer = self.planner.materialise(term, &Layout::Plain(axes.clone()), false)?;
        let runs = self.planner.mean_run(term, axis);
        self.planner.note_runs(buffer, runs);
        Ok(Some((axis, buffer, axes)))
    }

    /// The value of an order or of a gather.
    pub fn lower_gather(&mut self, term: TermId, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        if let Some((_, buffer, axes)) = self.lines(term)? {
            return self.load_plain(buffer, &axes, frame);
        }
        let Node::At { axis, index, body } = *self.planner.terms.node(term) else {
            unreachable!("an order at the root of its stage has a stage of its own")
        };
        let axes = match self.planner.terms.sorted_key(term) {
            Some(_) => line_axes(self.planner, body, axis),
            None => self.planner.terms.free(body).iter().collect(),
        };
        let exact = exact && self.planner.terms.ty(body) == attnc_algebra::Type::Real;
        let source = self.planner.materialise(body, &Layout::Plain(axes.clone()), exact)?;
        let place = self.eval(index, frame, exact)?;
        let buffer = self.buffer(source, Access::Read);
        let index = axes.iter().map(|a| if *a == axis { place } else { self.position(*a, frame) }).collect();
        let certain: Vec<bool> = axes.iter().map(|a| *a != axis).collect();
        let lane = super::pointwise::lane_of(self.planner.buffer(source).dtype);
        Ok(self.load_at(buffer, index, &certain, lane))
    }

    /// An element of a line's buffer at position `at` of its axis; `None` unless the other axes are fixed here.
    fn line_element(&mut self, buffer: PlanBufferId, axes: &[AxisId], at: ExprId) -> Option<ExprId> {
        let mut index = self.fixed_lead(axes)?;
        index.push(at);
        let id = self.buffer(buffer, Access::Read);
        Some(self.x().add(Expr::Load { buffer: id, index, clamp: true }, Some(Lane::I64)))
    }

    fn fixed_lead(&self, axes: &[AxisId]) -> Option<Vec<ExprId>> {
        axes[..axes.len() - 1]
            .iter()
            .map(|a| match self.binding(*a) {
                Binding::Fixed(at) => Some(*at),
                _ => None,
            })
            .collect()
    }

    /// Bounds of an order or of sorted keys over the current tile.
    pub fn line_interval(&mut self, term: TermId) -> Option<Interval> {
        let (axis, buffer, axes) = self.lines(term).ok()??;
        let along = self.position_interval(axis);
        let key = match *self.planner.terms.node(term) {
            Node::Order { key, .. } => Some(key),
            _ => None,
        };
        let low = self.line_element(buffer, &axes, along.lo);
        let high = self.line_element(buffer, &axes, along.hi);
        let Some(key) = key else { return Some(Interval::dense(low?, high?)) };
        // Inside one bucket positions ascend; over several they may be any.
        let (zero, count) = (self.x().int(0), self.extent(axis));
        let last = self.plus(count, -1);
        let keys = self.planner.terms.sorted(axis, key);
        let (Some(low), Some(high), Some(keys)) = (low, high, self.line_interval(keys)) else {
            return Some(Interval::dense(zero, last));
        };
        let single = self.x().binary(BinaryOp::Eq, keys.lo, keys.hi);
        Some(Interval::dense(self.choose(single, low, zero), self.choose(single, high, last)))
    }

    /// The positions of `axis` whose sorted keys may equal `other` on the current rows; `None` if `term` is no line of
    /// sorted keys along `axis`, or nothing is known of `other`.
    pub fn equal_run(&mut self, axis: AxisId, term: TermId, other: TermId) -> Option<(ExprId, ExprId)> {
        self.planner.terms.sorted_key(term).filter(|(along, _)| *along == axis)?;
        // Sorted keys bound each other whatever their size.
        let line = self.planner.terms.sorted_key(other).is_some();
        let keys = if line { self.line_interval(other)? } else { self.interval(other)? };
        let (_, plan_buffer, axes) = self.lines(term).ok()??;
        let mut index = self.fixed_lead(&axes)?;
        index.push(self.x().int(0));
        let buffer = self.buffer(plan_buffer, Access::Read);
        let (dim, count, zero) = (index.len() - 1, self.extent(axis), self.x().int(0));
        let search = |value| Expr::LowerBound { buffer, index: index.clone(), dim, count, value };
        let from = self.x().add(search(keys.lo), None);
        let after = self.plus(keys.hi, 1);
        let to = self.x().add(search(after), None);
        let (no_low, no_high) = if line {
            // No key is above the largest integer.
            let most = self.x().int(i64::MAX);
            (self.x().truth(false), self.x().binary(BinaryOp::Eq, keys.hi, most))
        } else {
            (self.doubtful_below(keys.lo), self.doubtful_above(keys.hi))
        };
        Some((self.choose(no_low, zero, from), self.choose(no_high, count, to)))
    }
}

impl Planner<'_> {
    /// About how many positions along `axis` have one key at the hint, of keys that lie sorted along it; `None` of others.
    pub fn equal_keys(&mut self, term: TermId, axis: AxisId) -> Option<i64> {
        let runs = match self.terms.node(term) {
            Node::Input { input, index } => {
                let input = *input;
                let along = index.last().is_some_and(|at| *self.terms.node(*at) == Node::Position(axis));
                let buffer = self.input_buffer(input);
                self.buffer(buffer).runs.filter(|_| along)?
            }
            _ => {
                self.terms.sorted_key(term).filter(|(along, _)| *along == axis)?;
                self.mean_run(term, axis)
            }
        };
        let extents: Option<Vec<i64>> =
            (0..self.spec.symbols.len()).map(|at| self.hint_symbol(attnc_algebra::SymbolId(at as u32))).collect();
        self.shapes().eval_launch(runs, &extents?)
    }

    /// Length of the run of equal keys that a position is in, of sorted keys along `axis`, for the estimate: positions over
    /// buckets, and more where those are uneven. An order counts as ascending.
    fn mean_run(&mut self, term: TermId, axis: AxisId) -> ExprId {
        let Some((_, key)) = self.terms.sorted_key(term) else { return self.shapes_mut().int(1) };
        let count = self.axis_extent(axis);
        let buckets = self.buckets(key);
        let uneven = self.unevenness(key);
        let uneven = self.shapes_mut().int(uneven);
        let run = self.shapes_mut().binary(BinaryOp::FloorDiv, count, buckets);
        let run = self.shapes_mut().times(run, uneven);
        let one = self.shapes_mut().int(1);
        self.shapes_mut().max(run, one)
    }

    /// How much more frequent equal keys are than among even ones: some places are near to many positions.
    fn unevenness(&self, key: TermId) -> i64 {
        match self.terms.node(key) {
            Node::Reduce { op: ReduceOp::ArgMax | ReduceOp::ArgMin, axis, body, .. } => {
                if self.is_product_with(*body, *axis) { 1 } else { UNEVEN }
            }
            Node::At { body, .. } | Node::Unary(UnaryOp::ToInt | UnaryOp::Neg, body) => self.unevenness(*body),
            _ => 1,
        }
    }

    /// Whether places along `axis` are compared by sums of products with them alone, not by distances.
    fn is_product_with(&self, term: TermId, axis: AxisId) -> bool {
        let has = |t: &TermId| self.terms.free(*t).contains(axis);
        let factors = self.factors(term);
        let mut own = factors.iter().filter(|factor| has(factor));
        let (Some(factor), None) = (own.next(), own.next()) else { return false };
        match *self.terms.node(*factor) {
            Node::Reduce { op: ReduceOp::Sum, axis: depth, body, .. } => {
                let along = self.factors(body);
                let other = along.iter().any(|t| !has(t) && self.terms.free(*t).contains(depth));
                other && along.iter().filter(|t| has(t)).count() == 1
            }
            _ => false,
        }
    }

    /// A guess at the number of values that a key takes, at the hint: those of its declared range, or buckets, as many as would
    /// make equal keys as frequent were they even.
    pub fn values_of(&mut self, key: TermId) -> i64 {
        if let Node::Input { input, .. } = *self.terms.node(key)
            && let Some((low, high)) = self.spec.input(input).range
            && let (Node::Int(low), Node::Int(high)) = (self.terms.node(low), self.terms.node(high))
        {
            return high.saturating_sub(*low).saturating_add(1);
        }
        let values = self.buckets(key);
        let extents: Option<Vec<i64>> =
            (0..self.spec.symbols.len()).map(|at| self.hint_symbol(attnc_algebra::SymbolId(at as u32))).collect();
        let values = extents.and_then(|extents| self.shapes().eval_launch(values, &extents)).unwrap_or(UNKNOWN_BUCKETS);
        values / self.unevenness(key)
    }

    /// A guess at the number of values that a key takes.
    fn buckets(&mut self, key: TermId) -> ExprId {
        match self.terms.node(key).clone() {
            Node::Select(_, x, y) if [x, y].iter().all(|t| matches!(self.terms.node(*t), Node::Int(_))) => {
                self.shapes_mut().int(2)
            }
            Node::Reduce { op: ReduceOp::ArgMax | ReduceOp::ArgMin, axis, .. } => self.axis_extent(axis),
            Node::At { body, .. } => self.buckets(body),
            Node::Unary(UnaryOp::ToInt | UnaryOp::Neg | UnaryOp::Abs, x) => self.buckets(x),
            Node::Binary(BinaryOp::Mod, _, m) => match *self.terms.node(m) {
                Node::Int(m) => self.shapes_mut().int(m.max(1)),
                Node::Extent(symbol) => self.shapes_mut().add(Expr::Extent(symbol.0), None),
                _ => self.shapes_mut().int(UNKNOWN_BUCKETS),
            },
            Node::Nary(NaryOp::Add, xs) => {
                let mut most = self.shapes_mut().int(1);
                for x in xs {
                    let count = self.buckets(x);
                    most = self.shapes_mut().max(most, count);
                }
                most
            }
            Node::Int(_) | Node::Extent(_) => self.shapes_mut().int(1),
            _ => self.shapes_mut().int(UNKNOWN_BUCKETS),
        }
    }

    fn shapes_mut(&mut self) -> &mut Exprs {
        &mut self.plan_mut().shapes
    }
}
