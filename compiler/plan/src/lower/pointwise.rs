//! Pointwise terms as lane expressions over a frame.
//!
//! Parts that do not vary with the whole frame and cost something are
//! computed once, in their own scope, into a smaller tile. Real terms without
//! data are evaluated in f64 and rounded once where they meet data.

use attnc_algebra::{AxisId, BinaryOp, InputId, NaryOp, Node, ReduceOp, TermId, Type, UnaryOp};

use crate::error::PlanError;
use crate::graph::PlanBufferId;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Access, BufferId, Dst, Stmt};

use super::branch::Branches;
use super::nest::{Binding, Frame, Nest};

/// Pointwise work above which a part that varies with less than the frame is
/// computed ahead into a tile.
const WORTH_HOISTING: f64 = 4.0;

impl Nest<'_, '_> {
    /// The value of a term at the lane of `frame`, of lane type
    /// [`Nest::lane`]; `exact` computes reals in f64.
    pub fn eval(&mut self, term: TermId, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        let lane = self.lane(term, exact);
        let value = self.eval_raw(term, frame, exact)?;
        Ok(self.x().cast(lane, value))
    }

    /// As [`Self::eval`], but a term without data stays f64.
    fn eval_raw(&mut self, term: TermId, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        // A chain that uses each of its parts twice has twice as many paths for each of them.
        if self.planner.terms.node(term).runs_over_axis() || self.planner.pointwise_work(term) < WORTH_HOISTING {
            return self.eval_part(term, frame, exact);
        }
        let key = self.key(term, frame, exact);
        self.once(key, |nest| nest.eval_part(term, frame, exact))
    }

    fn eval_part(&mut self, term: TermId, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        if let Some(value) = self.eval_from_joint(term, frame, exact)? {
            return Ok(value);
        }
        let node = self.planner.terms.node(term).clone();
        if node.runs_over_axis() {
            return self.eval_reduction(term, frame, exact);
        }
        if let Node::Binary(op, x, y) = node
            && let Some((axis, block)) = self.in_block(op, x, y)
        {
            if op == BinaryOp::FloorDiv {
                return Ok(block.index);
            }
            let (at, start) = (self.position(axis, frame), self.block_start(block));
            return Ok(self.x().difference(at, start));
        }
        if let Some(value) = self.eval_from_table(term, frame, exact)? {
            return Ok(value);
        }
        if let Some(known) = self.known_on_tile(term, frame, exact) {
            return Ok(known);
        }
        if self.worth_hoisting(term, &node, frame) {
            return self.eval_ahead(term, frame, exact);
        }
        self.eval_node(term, node, frame, exact)
    }

    /// The elements of a real term over a whole tile, if one of this scope or an outer one holds them: the operand of
    /// a product, say. Lines are made anew, so that it makes no odds in which order they are wanted.
    fn known_on_tile(&self, term: TermId, frame: Frame, exact: bool) -> Option<ExprId> {
        let free = self.planner.terms.free(term);
        let whole = frame.rows.is_some_and(|a| free.contains(a)) && frame.cols.is_some_and(|a| free.contains(a));
        let real = self.planner.terms.ty(term) == Type::Real;
        if !whole || !real || self.planner.pointwise_work(term) < WORTH_HOISTING {
            return None;
        }
        self.remembered(self.depth_of(term), &self.key(term, frame, exact))
    }

    fn worth_hoisting(&self, term: TermId, node: &Node, frame: Frame) -> bool {
        let leaf = matches!(node, Node::Real(_) | Node::Int(_) | Node::Bool(_) | Node::Extent(_) | Node::Position(_));
        if leaf || frame.restricted(self.planner.terms.free(term)) == frame {
            return false;
        }
        let gather =
            matches!(node, Node::Input { .. }) && frame.restricted(self.planner.terms.free(term)).cols.is_some();
        gather || self.planner.pointwise_work(term) >= WORTH_HOISTING
    }

    /// Computes a part into its own tile (or scalar) in its own scope.
    pub fn eval_ahead(&mut self, term: TermId, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        let own = frame.restricted(self.planner.terms.free(term));
        let depth = self.depth_of(term);
        let key = self.key(term, own, exact);
        if let Some(known) = self.remembered(depth, &key) {
            return Ok(known);
        }
        let value = self.at(depth, |nest| nest.eval_into_tile(term, own, exact))?;
        self.remember(depth, key, value);
        Ok(value)
    }

    fn eval_into_tile(&mut self, term: TermId, own: Frame, exact: bool) -> Result<ExprId, PlanError> {
        let node = self.planner.terms.node(term).clone();
        let value = self.eval_node(term, node, own, exact)?;
        if own == Frame::default() {
            return Ok(self.let_scalar(value));
        }
        let lane = self.program.exprs.lane(value);
        let tile = self.frame_tile("p", lane, own);
        self.map(tile, own, value);
        Ok(self.element(tile, own))
    }

    /// A costly term without data that many tasks need is tabulated once in a buffer.
    fn eval_from_table(&mut self, term: TermId, frame: Frame, exact: bool) -> Result<Option<ExprId>, PlanError> {
        let free = self.planner.terms.free(term).clone();
        let wanted = term != self.root
            && self.planner.is_data_free(term)
            && self.planner.pointwise_work(term) >= 12.0
            && !free.is_empty()
            && self.planner.volume(&free) >= 64.0
            && self.repeats(term) > 1.0
            && self.may_materialise(term);
        if !wanted {
            return Ok(None);
        }
        let axes: Vec<AxisId> = free.iter().collect();
        let (buffer, axes) = self.planner.materialise_plain(term, &axes, exact)?;
        self.load_plain(buffer, &axes, frame).map(Some)
    }

    /// A small value made of several results of stages, that several stages read, is joined once in a buffer.
    fn eval_from_joint(&mut self, term: TermId, frame: Frame, exact: bool) -> Result<Option<ExprId>, PlanError> {
        if term == self.root || exact || !self.planner.is_joint(term) {
            return Ok(None);
        }
        let axes: Vec<AxisId> = self.planner.terms.free(term).iter().collect();
        let (buffer, axes) = self.planner.materialise_plain(term, &axes, exact)?;
        self.load_plain(buffer, &axes, frame).map(Some)
    }

    /// An element of a materialised buffer over `axes`.
    pub fn load_plain(&mut self, buffer: PlanBufferId, axes: &[AxisId], frame: Frame) -> Result<ExprId, PlanError> {
        let id = self.buffer(buffer, Access::Read);
        let index = axes.iter().map(|a| self.position(*a, frame)).collect::<Vec<_>>();
        let lane = lane_of(self.planner.buffer(buffer).dtype);
        Ok(self.x().add(Expr::Load { buffer: id, index, clamp: false }, Some(lane)))
    }

    /// Emits the store of a value into a buffer over `axes`, the other direction of [`Self::load_plain`]; rows may stand
    /// for positions of the axes.
    pub fn store_plain(
        &mut self,
        buffer: PlanBufferId,
        axes: &[AxisId],
        frame: Frame,
        value: ExprId,
    ) -> Result<(), PlanError> {
        let buffer = self.buffer(buffer, Access::Write);
        let places = axes.iter().enumerate().map(|(dim, axis)| self.place_of(*axis, (buffer, dim), frame));
        let index = places.collect::<Result<_, PlanError>>()?;
        let (rows, cols) = self.counts(frame);
        self.emit(Stmt::Map { dst: Dst::Buffer { buffer, index }, rows, cols, value });
        Ok(())
    }

    /// The position along an axis at the lane of `frame`.
    pub fn position(&mut self, axis: AxisId, frame: Frame) -> ExprId {
        match self.binding(axis).clone() {
            Binding::Fixed(at) => at,
            Binding::Tile(dim) | Binding::Whole(dim) => {
                let lane = if frame.rows == Some(axis) {
                    Expr::Row
                } else {
                    debug_assert_eq!(frame.cols, Some(axis), "a tiled axis is an axis of the frame");
                    Expr::Col
                };
                let lane = self.x().add(lane, None);
                let step = self.x().int(dim.step);
                let far = self.x().times(lane, step);
                self.x().sum(dim.base, far)
            }
        }
    }

    /// The index of a buffer's dimension that runs along an output axis, which rows may stand for.
    pub fn place_of(
        &mut self,
        axis: AxisId,
        (buffer, dim): (BufferId, usize),
        frame: Frame,
    ) -> Result<ExprId, PlanError> {
        let place = self.folded.as_ref().and_then(|folded| folded.places.get(&axis)).copied();
        let Some(place) = place else { return Ok(self.position(axis, frame)) };
        let own = frame.restricted(self.planner.terms.free(place));
        let at = self.eval(place, own, false)?;
        Ok(self.clamped(at, buffer, dim))
    }

    /// The residue of an integer, if it is the same on the whole tile.
    pub fn one_residue(&mut self, term: TermId) -> Option<ExprId> {
        let positions = self.planner.terms.ty(term) == Type::Int && self.planner.is_data_free(term);
        let bounds = if positions { self.interval(term) } else { None };
        bounds.filter(|b| b.is_point()).map(|b| b.lo)
    }

    fn eval_node(&mut self, term: TermId, node: Node, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        match node {
            Node::Real(v) => Ok(self.x().real(Lane::F64, v.get())),
            Node::Int(v) => Ok(self.x().int(v)),
            Node::Bool(v) => Ok(self.x().truth(v)),
            Node::Extent(s) => Ok(self.x().add(Expr::Extent(s.0), None)),
            Node::Position(axis) => Ok(self.position(axis, frame)),
            Node::Input { input, index } => self.eval_input(input, &index, frame, exact),
            Node::Unary(op, x) => self.eval_unary(term, op, x, frame, exact),
            Node::Binary(BinaryOp::Mod, ..) if let Some(residue) = self.one_residue(term) => Ok(residue),
            Node::Binary(BinaryOp::Eq, ..) if let Some((x, y)) = self.residues_apart(term, frame) => {
                self.eval_binary(term, BinaryOp::Eq, x, y, frame, exact)
            }
            Node::Binary(op, x, y) => self.eval_binary(term, op, x, y, frame, exact),
            Node::Nary(op, xs) => self.eval_nary(term, op, &xs, frame, exact),
            Node::Select(c, a, b) => {
                let lane = self.operand_lane(term, exact);
                if let Node::Bool(taken) = *self.planner.terms.node(c) {
                    return self.eval_as(if taken { a } else { b }, lane, frame, exact);
                }
                let branches = Branches { condition: c, then: a, otherwise: b };
                if let Some(value) = self.eval_branches(branches, lane, frame, exact)? {
                    return Ok(value);
                }
                let c = self.eval(c, frame, exact)?;
                let a = self.eval_as(a, lane, frame, exact)?;
                let b = self.eval_as(b, lane, frame, exact)?;
                Ok(self.x().add(Expr::Select(c, a, b), None))
            }
            Node::Reduce { .. }
            | Node::Softmax { .. }
            | Node::Attend { .. }
            | Node::Scan { .. }
            | Node::Order { .. }
            | Node::At { .. } => unreachable!("reductions, orders and gathers go to eval_reduction"),
        }
    }

    /// The lane type in which a term's operands of its own type meet: f64
    /// where the term has no data, else as computed.
    fn operand_lane(&mut self, term: TermId, exact: bool) -> Lane {
        if self.planner.terms.ty(term) == Type::Real && self.planner.is_data_free(term) {
            Lane::F64
        } else {
            self.lane(term, exact)
        }
    }

    fn eval_as(&mut self, term: TermId, lane: Lane, frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        let value = self.eval_raw(term, frame, exact)?;
        Ok(self.x().cast(lane, value))
    }

    fn eval_unary(
        &mut self,
        term: TermId,
        op: UnaryOp,
        x: TermId,
        frame: Frame,
        exact: bool,
    ) -> Result<ExprId, PlanError> {
        match op {
            UnaryOp::ToReal => {
                let lane = self.operand_lane(term, exact);
                self.eval_as(x, lane, frame, exact)
            }
            UnaryOp::ToInt => self.eval_as(x, Lane::I64, frame, exact),
            // Deciding functions see their argument in f64.
            UnaryOp::RealToInt => {
                let x = self.eval_as(x, Lane::F64, frame, true)?;
                Ok(self.x().cast(Lane::I64, x))
            }
            UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Sign if self.planner.terms.ty(x) == Type::Real => {
                let x = self.eval_as(x, Lane::F64, frame, true)?;
                let value = self.x().unary(op, x);
                let lane = self.operand_lane(term, exact);
                Ok(self.x().cast(lane, value))
            }
            UnaryOp::Floor | UnaryOp::Ceil => self.eval(x, frame, exact),
            _ => {
                let lane = self.operand_lane(term, exact);
                let x = self.eval_as(x, lane, frame, exact)?;
                Ok(self.x().unary(op, x))
            }
        }
    }

    fn eval_binary(
        &mut self,
        term: TermId,
        op: BinaryOp,
        x: TermId,
        y: TermId,
        frame: Frame,
        exact: bool,
    ) -> Result<ExprId, PlanError> {
        let types = (self.planner.terms.ty(x), self.planner.terms.ty(y));
        let (lane, exact) = if op.is_comparison() {
            match types {
                (Type::Bool, Type::Bool)
                | (Type::Bool, Type::Int)
                | (Type::Int, Type::Bool)
                | (Type::Int, Type::Int) => (Lane::I64, exact),
                _ => (Lane::F64, true),
            }
        } else {
            (self.operand_lane(term, exact), exact)
        };
        if self.planner.terms.ty(term) == Type::Real && matches!(op, BinaryOp::FloorDiv | BinaryOp::Mod) {
            return self.eval_real_division(term, op, x, y, frame, exact);
        }
        let x = self.eval_as(x, lane, frame, exact)?;
        let y = self.eval_as(y, lane, frame, exact)?;
        Ok(self.x().binary(op, x, y))
    }

    /// `div` and `mod` of reals decide by a floor, so they run in f64.
    fn eval_real_division(
        &mut self,
        term: TermId,
        op: BinaryOp,
        x: TermId,
        y: TermId,
        frame: Frame,
        exact: bool,
    ) -> Result<ExprId, PlanError> {
        let x = self.eval_as(x, Lane::F64, frame, true)?;
        let y = self.eval_as(y, Lane::F64, frame, true)?;
        let quotient = self.x().binary(BinaryOp::Div, x, y);
        let floor = self.x().unary(UnaryOp::Floor, quotient);
        let value = if op == BinaryOp::FloorDiv {
            floor
        } else {
            let whole = self.x().times(y, floor);
            self.x().difference(x, whole)
        };
        let lane = self.operand_lane(term, exact);
        Ok(self.x().cast(lane, value))
    }

    /// n-ary operations: operands without data meet in f64 first and are
    /// rounded once before they meet the others.
    fn eval_nary(
        &mut self,
        term: TermId,
        op: NaryOp,
        xs: &[TermId],
        frame: Frame,
        exact: bool,
    ) -> Result<ExprId, PlanError> {
        let lane = self.operand_lane(term, exact);
        if op == NaryOp::Mul
            && !exact
            && let Some(inside) = self.factors_into_sums(xs, frame)
        {
            return self.eval_as(inside, lane, frame, exact);
        }
        if self.planner.terms.ty(term) != Type::Real || exact || self.planner.is_data_free(term) {
            let xs = xs.iter().map(|x| self.eval_as(*x, lane, frame, exact)).collect::<Result<Vec<_>, _>>()?;
            return Ok(self.x().nary(op, &xs));
        }
        let (constant, data): (Vec<TermId>, Vec<TermId>) = xs.iter().partition(|x| self.planner.is_data_free(**x));
        let mut values = Vec::new();
        if !constant.is_empty() {
            let joined = self.planner.terms.nary(op, constant);
            values.push(self.eval_as(joined, lane, frame, exact)?);
        }
        for x in data {
            values.push(self.eval_as(x, lane, frame, exact)?);
        }
        Ok(self.x().nary(op, &values))
    }

    /// A product of one sum (or an addition of sums) that runs over the whole
    /// frame and factors without its columns, with the factors taken into the
    /// sums: they then scale a left operand once rather than every tile of
    /// columns. `None` where the product is not of this kind.
    pub(super) fn factors_into_sums(&mut self, xs: &[TermId], frame: Frame) -> Option<TermId> {
        let (Some(_), Some(cols)) = (frame.rows, frame.cols) else { return None };
        if !matches!(self.binding(cols), Binding::Tile(_)) {
            return None;
        }
        let (with, without): (Vec<TermId>, Vec<TermId>) =
            xs.iter().partition(|x| self.planner.terms.free(**x).contains(cols));
        let [sums] = with[..] else { return None };
        if without.is_empty() {
            return None;
        }
        let parts = match self.planner.terms.node(sums).clone() {
            Node::Nary(NaryOp::Add, parts) => parts,
            _ => vec![sums],
        };
        let mut scaled = Vec::new();
        for part in parts {
            let Node::Reduce { op: ReduceOp::Sum, axis, domain, body } = *self.planner.terms.node(part) else {
                return None;
            };
            let captured = without.iter().any(|x| self.planner.terms.free(*x).contains(axis));
            let whole = frame.restricted(self.planner.terms.free(part)) == frame;
            if captured || !whole || self.planner.terms.ty(part) != Type::Real {
                return None;
            }
            let mut factors = without.clone();
            factors.extend(self.planner.factors(body));
            let body = self.planner.product(factors);
            scaled.push(self.planner.terms.reduce(ReduceOp::Sum, axis, domain, body));
        }
        Some(self.planner.terms.nary(NaryOp::Add, scaled))
    }

    fn eval_input(&mut self, input: InputId, index: &[TermId], frame: Frame, exact: bool) -> Result<ExprId, PlanError> {
        let declared = self.planner.spec.input(input).clone();
        let buffer = self.planner.input_buffer(input);
        let id = self.buffer(buffer, Access::Read);
        let mut certain = Vec::new();
        let mut at = Vec::new();
        for (term, axis) in index.iter().zip(&declared.axes) {
            certain.push(self.in_range_by_name(*term, *axis));
            at.push(self.eval(*term, frame, exact)?);
        }
        let load = self.load_at(id, at, &certain, lane_of(declared.dtype));
        let lane = match declared.dtype.ty() {
            Type::Real => self.real_lane(exact),
            Type::Int => Lane::I64,
            Type::Bool => Lane::Bool,
        };
        Ok(self.x().cast(lane, load))
    }

    /// An element of a buffer at indices of which some are certain to be in range. What is uncertain is held inside, alone,
    /// so that the others are steps of an address.
    pub fn load_at(&mut self, buffer: BufferId, mut at: Vec<ExprId>, certain: &[bool], lane: Lane) -> ExprId {
        let uncertain: Vec<usize> = (0..at.len()).filter(|dim| !certain[*dim]).collect();
        // Nothing proves that an extent that is computed is positive.
        let positive = |nest: &Self, dim: &usize| {
            let shape = nest.program.buffers[buffer.0 as usize].shape[*dim];
            matches!(nest.program.exprs.get(shape), Expr::Extent(_) | Expr::Int(1..))
        };
        let clamp = !uncertain.iter().all(|dim| positive(self, dim));
        if !clamp {
            for dim in uncertain {
                at[dim] = self.clamped(at[dim], buffer, dim);
            }
        }
        self.x().add(Expr::Load { buffer, index: at, clamp }, Some(lane))
    }

    /// Whether an index is the position along an axis of the dimension's own extent.
    pub fn in_range_by_name(&self, index: TermId, axis: AxisId) -> bool {
        match self.planner.terms.node(index) {
            Node::Position(a) => self.planner.spec.axis(*a).extent == self.planner.spec.axis(axis).extent,
            _ => false,
        }
    }

    /// Emits a map of the term over the frame into a new tile and returns the tile's element.
    pub fn spill(&mut self, name: &str, value: ExprId, frame: Frame) -> ExprId {
        let lane = self.program.exprs.lane(value);
        let tile = self.frame_tile(name, lane, frame);
        let dst = self.place(tile, frame);
        let (rows, cols) = self.counts(frame);
        self.emit(Stmt::Map { dst, rows, cols, value });
        self.element(tile, frame)
    }
}

/// The lane type that a stored element widens to.
pub(crate) fn lane_of(dtype: attnc_algebra::DType) -> Lane {
    use attnc_algebra::DType::*;
    match dtype {
        F32 | F16 | Bf16 => Lane::F32,
        F64 => Lane::F64,
        I8 | U8 | I32 | I64 => Lane::I64,
        Bool => Lane::Bool,
    }
}
