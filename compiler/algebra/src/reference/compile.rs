//! Makes the kernel of one stored term.
//!
//! Chooses which pointwise sub-terms are stored on their own, which axis runs
//! in lanes, and at which loop level each step stands. Changes cost only,
//! never a value: every reduction adds up in axis order.

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::{AxisId, AxisSet};
use crate::ops::{NaryOp, UnaryOp};
use crate::tensor::row_major_strides;
use crate::term::{Node, TermId, Type};

use super::context::{Context, Reduction};
use super::plan::{Action, Address, Capture, Computed, Finish, Kernel, LANES, Loop, LoopKind, Op2, Reg, Step};

/// Work below which a pointwise term is not worth storing.
const STORED_WORK: f64 = 4.0;
/// How many times a pointwise term must be used, at least, to be stored.
const STORED_USES: usize = 4;

/// Makes the kernel of `term` with the positions of the axes in `fixed` given.
///
/// `streamed` says that the axis of the reduction is given too: the kernel then folds one position into a state.
pub(super) fn compile(context: &Context, term: TermId, fixed: &AxisSet, streamed: bool) -> Kernel {
    Compiler::new(context, term, fixed, streamed).kernel()
}

struct Compiler<'c> {
    context: &'c Context<'c>,
    term: TermId,
    reduction: Option<&'c Reduction>,
    /// Axes given from outside, the streamed one included.
    fixed: AxisSet,
    capture: Option<Capture>,
    /// Conjuncts of the domain to test.
    domain: Vec<TermId>,
    /// The kernel's own axes: those of the result and the reduction's.
    volume: usize,
    loops: Vec<Loop>,
    memo: BTreeMap<(TermId, Option<usize>), Reg>,
    code: Vec<Vec<Step>>,
    reals: usize,
    ints: usize,
    real_constants: Vec<(Reg, f64)>,
    int_constants: Vec<(Reg, i64)>,
    needs: Vec<TermId>,
}

impl<'c> Compiler<'c> {
    fn new(context: &'c Context<'c>, term: TermId, fixed: &AxisSet, streamed: bool) -> Self {
        let reduction = context.reduction(term);
        let mut fixed = fixed.clone();
        let mut axes = context.terms.free(term).difference(&fixed);
        let prefix = reduction.and_then(|r| r.prefix).filter(|p| !streamed && !fixed.contains(p.capture.row));
        let mut domain = reduction.map(|r| r.domain.clone()).unwrap_or_default();
        if let Some(conjunct) = prefix.and_then(|p| p.conjunct) {
            domain.remove(conjunct);
        }
        if let Some(r) = reduction {
            axes.insert(r.axis);
            if streamed {
                fixed.insert(r.axis);
                axes.remove(r.axis);
            } else {
                fixed.remove(r.axis);
            }
        }
        if let Some(p) = prefix {
            axes.remove(p.capture.row);
        }
        let capture = prefix.map(|p| p.capture);
        let volume = context.axes_volume(&axes);
        let mut out = Self {
            context,
            term,
            reduction,
            fixed,
            capture,
            domain,
            volume,
            loops: Vec::new(),
            memo: BTreeMap::new(),
            code: Vec::new(),
            reals: 0,
            ints: 0,
            real_constants: Vec::new(),
            int_constants: Vec::new(),
            needs: Vec::new(),
        };
        out.loops = out.choose_loops(&axes, streamed);
        out.code = vec![Vec::new(); out.loops.len() + 1];
        out
    }

    fn kernel(mut self) -> Kernel {
        let finish = self.emit_finish();
        let space: Vec<(AxisId, usize)> = self.result_axes().map(|a| (a, self.context.extent(a))).collect();
        let out = self.address(&space);
        let ty = self.context.terms.ty(self.term);
        let stop = match (self.reduction, self.capture) {
            (Some(Reduction { decay: Some(_), prefix: Some(p), .. }), None) => Some(p.capture.row),
            _ => None,
        };
        Kernel {
            space,
            real: ty == Type::Real,
            loops: self.loops,
            code: self.code,
            reals: self.reals,
            ints: self.ints,
            real_constants: self.real_constants,
            int_constants: self.int_constants,
            finish,
            capture: self.capture,
            stop,
            out,
            needs: self.needs,
        }
    }

    /// The axes of the result in storage order.
    fn result_axes(&self) -> impl Iterator<Item = AxisId> + 'c {
        let fixed = self.fixed.clone();
        let streamed = self.reduction.map(|r| r.axis);
        let free = self.context.terms.free(self.term);
        free.iter().filter(move |a| !fixed.contains(*a) && Some(*a) != streamed)
    }

    // --- loops

    fn choose_loops(&self, axes: &AxisSet, streamed: bool) -> Vec<Loop> {
        let reduced = self.reduction.map(|r| r.axis).filter(|_| !streamed);
        let lanes = self.choose_lanes(axes);
        let extent = |axis| self.context.extent(axis);
        let mut loops: Vec<Loop> = axes
            .iter()
            .filter(|a| Some(*a) != lanes && Some(*a) != reduced)
            .map(|axis| Loop { axis, extent: extent(axis), kind: LoopKind::Plain })
            .collect();
        if let Some(axis) = lanes.filter(|a| Some(*a) != reduced) {
            loops.push(Loop { axis, extent: extent(axis), kind: LoopKind::Lanes });
        }
        if let Some(axis) = reduced {
            let kind = if lanes == Some(axis) { LoopKind::ReduceLanes } else { LoopKind::Reduce };
            loops.push(Loop { axis, extent: extent(axis), kind });
        }
        loops
    }

    /// The axis for which loads are cheapest and lanes are used best.
    fn choose_lanes(&self, axes: &AxisSet) -> Option<AxisId> {
        let loads = self.loads();
        let cost = |axis: AxisId| {
            let stride_cost = |address: &Address| match address.terms.iter().find(|t| t.0 == axis) {
                None => 0.0,
                Some((_, 1)) => 1.0,
                Some(_) => 3.0,
            };
            let loads: f64 = loads.iter().map(stride_cost).sum();
            let in_order = if self.reduction.is_some_and(|r| r.axis == axis) { 3.0 } else { 1.0 };
            loads + in_order + 60.0 / self.context.extent(axis).min(LANES) as f64
        };
        axes.iter().min_by(|a, b| cost(*a).total_cmp(&cost(*b)))
    }

    /// Addresses of what the kernel reads, lanes not yet chosen.
    fn loads(&self) -> Vec<Address> {
        let terms = &self.context.terms;
        let mut loads = Vec::new();
        let mut seen = vec![false; terms.len()];
        let mut open = self.roots();
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id.0 as usize], true) {
                continue;
            }
            if self.is_need(id) {
                loads.push(self.table_address(id));
                continue;
            }
            if let Node::Input { input, index } = terms.node(id) {
                let strides = self.context.inputs[input.0 as usize].strides();
                let plain = index
                    .iter()
                    .enumerate()
                    .filter_map(|(axis, index)| Some((self.context.plain_index(*input, axis, *index)?, strides[axis])));
                loads.push(Address { terms: plain.collect(), lane_stride: 0 });
            }
            open.extend(terms.node(id).operands());
        }
        loads
    }

    /// The terms of which the kernel's steps are made.
    fn roots(&self) -> Vec<TermId> {
        match self.reduction {
            Some(r) => self.domain.iter().copied().chain([r.body]).chain(r.decay).collect(),
            None => vec![self.term],
        }
    }

    /// Whether `id`, met while computing another term, is read from a table.
    fn is_need(&self, id: TermId) -> bool {
        let node = self.context.terms.node(id);
        if node.runs_over_axis() {
            // The root of a kernel for a reduction is never met.
            return true;
        }
        let pointwise = matches!(node, Node::Unary(..) | Node::Binary(..) | Node::Nary(..) | Node::Select(..));
        if !pointwise || id == self.term || self.context.work(id) < STORED_WORK {
            return false;
        }
        let volume = self.context.volume(id, &self.fixed);
        volume <= self.context.stored_limit && volume.saturating_mul(STORED_USES) <= self.volume
    }

    fn table_address(&self, id: TermId) -> Address {
        let fixed = self.context.fixed_for(id, &self.fixed);
        let axes: Vec<_> =
            self.context.terms.free(id).difference(&fixed).iter().map(|a| (a, self.context.extent(a))).collect();
        self.address(&axes)
    }

    fn address(&self, axes: &[(AxisId, usize)]) -> Address {
        let shape: Vec<usize> = axes.iter().map(|(_, extent)| *extent).collect();
        let strides = row_major_strides(&shape);
        self.with_lanes(axes.iter().zip(strides).map(|((axis, _), stride)| (*axis, stride)).collect())
    }

    fn with_lanes(&self, terms: Vec<(AxisId, usize)>) -> Address {
        let lanes = self.lanes();
        let lane_stride = terms.iter().filter(|t| Some(t.0) == lanes).map(|t| t.1).sum();
        Address { terms, lane_stride }
    }

    fn lanes(&self) -> Option<AxisId> {
        self.loops.iter().find(|l| matches!(l.kind, LoopKind::Lanes | LoopKind::ReduceLanes)).map(|l| l.axis)
    }

    // --- steps

    fn emit_finish(&mut self) -> Finish {
        let Some(reduction) = self.reduction else {
            let value = self.emit_top(self.term);
            return Finish::Map { value };
        };
        let mask = if self.domain.is_empty() {
            None
        } else {
            Some(self.emit_connective(NaryOp::And, &self.domain.clone(), None))
        };
        if let Some(mask) = mask {
            self.code[mask.level].push(Step::Skip(mask));
        }
        let value = self.emit(reduction.body, mask);
        match (reduction.op, reduction.decay) {
            (op, None) => {
                let real = crate::reference::run::state_is_real(op, self.context.terms.ty(reduction.body));
                let value = if real { self.as_real(value) } else { value };
                Finish::Fold { op, axis: reduction.axis, mask, value }
            }
            (op, Some(decay)) => {
                let value = self.as_real(value);
                // The decay at position 0 is never used.
                let position = self.push(false, Action::Position(reduction.axis), None, decay);
                let used = Action::Mask { outer: None, condition: position, negated: false };
                let used = self.push(false, used, None, decay);
                let decay = self.emit(decay, Some(used));
                let decay = self.as_real(decay);
                Finish::Scan { op, axis: reduction.axis, decay, value }
            }
        }
    }

    /// The root of a pointwise kernel.
    fn emit_top(&mut self, id: TermId) -> Reg {
        let value = self.emit(id, None);
        if self.context.terms.ty(id) == Type::Real { self.as_real(value) } else { value }
    }

    fn emit(&mut self, id: TermId, guard: Option<Reg>) -> Reg {
        let guard = guard.filter(|_| self.context.may_fail(id));
        let key = (id, guard.map(|g| g.at));
        if let Some(reg) = self.memo.get(&key) {
            return *reg;
        }
        let reg = if self.is_need(id) { self.emit_table(id, guard) } else { self.emit_node(id, guard) };
        self.memo.insert(key, reg);
        reg
    }

    fn emit_table(&mut self, id: TermId, guard: Option<Reg>) -> Reg {
        let address = self.table_address(id);
        let table = self.needs.iter().position(|n| *n == id).unwrap_or_else(|| {
            self.needs.push(id);
            self.needs.len() - 1
        });
        let real = self.context.terms.ty(id) == Type::Real;
        self.push(real, Action::Table { table, address }, guard, id)
    }

    fn emit_node(&mut self, id: TermId, guard: Option<Reg>) -> Reg {
        let terms = &self.context.terms;
        let real = terms.ty(id) == Type::Real;
        match terms.node(id) {
            Node::Real(v) => self.real_constant(v.get()),
            Node::Int(v) => self.int_constant(*v),
            Node::Bool(v) => self.int_constant(i64::from(*v)),
            Node::Extent(symbol) => {
                let value = self.context.extents.get(*symbol).unwrap_or_default();
                self.int_constant(value)
            }
            Node::Position(axis) => self.push(false, Action::Position(*axis), None, id),
            Node::Input { input, index } => {
                let strides = self.context.inputs[input.0 as usize].strides();
                let shape = self.context.inputs[input.0 as usize].shape();
                let mut plain = Vec::new();
                let mut computed = Vec::new();
                for (axis, index) in index.iter().enumerate() {
                    if let Some(a) = self.context.plain_index(*input, axis, *index) {
                        plain.push((a, strides[axis]));
                    } else {
                        let index = self.emit(*index, guard);
                        computed.push(Computed { index, axis, extent: shape[axis], stride: strides[axis] });
                    }
                }
                let address = self.with_lanes(plain);
                self.push(real, Action::Input { input: *input, address, computed }, guard, id)
            }
            Node::Unary(op, x) => self.emit_unary(id, *op, *x, guard),
            Node::Binary(op, x, y) => {
                let by_reals = terms.ty(*x) == Type::Real || terms.ty(*y) == Type::Real || real;
                let (x, y) = (self.emit(*x, guard), self.emit(*y, guard));
                self.emit_two(id, Op2::Binary(*op), (x, y), by_reals, guard)
            }
            Node::Nary(op @ (NaryOp::And | NaryOp::Or), parts) => self.emit_connective(*op, parts, guard),
            Node::Nary(op, xs) => {
                let mut acc = self.emit(xs[0], guard);
                for x in &xs[1..] {
                    let x = self.emit(*x, guard);
                    acc = self.emit_two(id, Op2::Nary(*op), (acc, x), real, guard);
                }
                acc
            }
            Node::Select(condition, a, b) => {
                let condition = self.emit(*condition, guard);
                let (taken, other) = (self.mask(*a, guard, condition, false), self.mask(*b, guard, condition, true));
                let (mut a, mut b) = (self.emit(*a, taken), self.emit(*b, other));
                if real {
                    (a, b) = (self.as_real(a), self.as_real(b));
                }
                self.push(real, Action::Select(condition, a, b), None, id)
            }
            Node::Reduce { .. }
            | Node::Softmax { .. }
            | Node::Attend { .. }
            | Node::Scan { .. }
            | Node::Order { .. }
            | Node::At { .. } => unreachable!("reductions, orders and gathers are read from tables"),
        }
    }

    fn emit_unary(&mut self, id: TermId, op: UnaryOp, x: TermId, guard: Option<Reg>) -> Reg {
        let real = self.context.terms.ty(id) == Type::Real;
        let x = self.emit(x, guard);
        match op {
            UnaryOp::ToReal => self.as_real(x),
            UnaryOp::ToInt if !x.real => x,
            UnaryOp::ToInt | UnaryOp::RealToInt if x.real => self.push(false, Action::Truncate(x), None, id),
            UnaryOp::RealToInt => x,
            _ => {
                let x = if real { self.as_real(x) } else { x };
                self.push(real, Action::One(op, x), guard, id)
            }
        }
    }

    fn emit_two(&mut self, id: TermId, op: Op2, (x, y): (Reg, Reg), by_reals: bool, guard: Option<Reg>) -> Reg {
        let (x, y) = if by_reals { (self.as_real(x), self.as_real(y)) } else { (x, y) };
        let compares = matches!(op, Op2::Binary(op) if op.is_comparison());
        self.push(by_reals && !compares, Action::Two(op, x, y), guard, id)
    }

    /// A conjunction or disjunction: an operand that can fail counts only where those that cannot, and the ones
    /// before it, leave the result open.
    fn emit_connective(&mut self, op: NaryOp, parts: &[TermId], guard: Option<Reg>) -> Reg {
        let parts = self.flattened(op, parts);
        let (risky, safe): (Vec<TermId>, Vec<TermId>) = parts.iter().partition(|t| self.context.may_fail(**t));
        let mut acc: Option<Reg> = None;
        for part in safe.into_iter().chain(risky) {
            let open = match acc {
                Some(acc) => self.mask(part, guard, acc, op == NaryOp::Or),
                None => guard,
            };
            let x = self.emit(part, open);
            acc = Some(match acc {
                Some(acc) => self.push(false, Action::Two(Op2::Nary(op), acc, x), None, part),
                None => x,
            });
        }
        acc.expect("n-ary operations have operands")
    }

    /// The operands of nested operations of one kind, each once, in order.
    fn flattened(&self, op: NaryOp, parts: &[TermId]) -> Vec<TermId> {
        let mut open: Vec<TermId> = parts.iter().rev().copied().collect();
        let mut out = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            match self.context.terms.node(id) {
                Node::Nary(inner, parts) if *inner == op && !self.is_need(id) => open.extend(parts.iter().rev()),
                _ => out.push(id),
            }
        }
        out
    }

    /// The guard for `id` inside a branch taken where `condition` holds (or does not).
    fn mask(&mut self, id: TermId, outer: Option<Reg>, condition: Reg, negated: bool) -> Option<Reg> {
        let action = Action::Mask { outer, condition, negated };
        self.context.may_fail(id).then(|| self.push(false, action, None, id))
    }

    fn as_real(&mut self, x: Reg) -> Reg {
        if x.real { x } else { self.push(true, Action::Widen(x), None, self.term) }
    }

    fn real_constant(&mut self, value: f64) -> Reg {
        let reg = self.register(true, false, 0);
        self.real_constants.push((reg, value));
        reg
    }

    fn int_constant(&mut self, value: i64) -> Reg {
        let reg = self.register(false, false, 0);
        self.int_constants.push((reg, value));
        reg
    }

    fn register(&mut self, real: bool, wide: bool, level: usize) -> Reg {
        let bank = if real { &mut self.reals } else { &mut self.ints };
        *bank += 1;
        Reg { at: *bank - 1, real, wide, level }
    }

    fn push(&mut self, real: bool, action: Action, guard: Option<Reg>, site: TermId) -> Reg {
        let lanes = self.lanes();
        let axes = action.axes();
        let operands = action.operands();
        let wide = operands.iter().any(|r| r.wide) || axes.iter().any(|a| Some(*a) == lanes);
        let loop_level = |axis: &AxisId| self.loops.iter().position(|l| l.axis == *axis).map_or(0, |at| at + 1);
        let level =
            operands.iter().chain(&guard).map(|r| r.level).chain(axes.iter().map(loop_level)).max().unwrap_or(0);
        let to = self.register(real, wide, level);
        self.code[level].push(Step::Compute { to, action, guard, site });
        to
    }
}
