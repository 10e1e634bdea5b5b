//! Facts about core terms at bound extents that kernels are made from.

use std::collections::BTreeMap;

use crate::axis::{AxisId, AxisSet, InputId};
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::range::Intervals;
use crate::spec::{Extents, Spec};
use crate::tensor::Tensor;
use crate::term::{Carry, Node, TermId, Terms, Type};

use super::plan::Capture;

/// Elements of a stored term, at most, unless it is a whole output: 32 MiB of them.
pub(super) const STORED_LIMIT: usize = 1 << 22;

/// A spec in core form with its extents and inputs.
pub(super) struct Context<'a> {
    pub spec: &'a Spec,
    pub inputs: &'a [Tensor],
    pub extents: &'a Extents,
    /// Elements of a stored term, at most, where there is a choice.
    pub stored_limit: usize,
    pub terms: Terms,
    /// Extents of the axes, by axis.
    pub axis_extents: Vec<usize>,
    /// Whether evaluating the term somewhere can be an error.
    pub may_fail: Vec<bool>,
    /// Work of the pointwise operations from the term down to stored terms.
    work: Vec<f64>,
    /// Reductions and scans, by term.
    reductions: BTreeMap<TermId, Reduction>,
}

/// A fold or a scan.
#[derive(Clone, Debug)]
pub(super) struct Reduction {
    /// The operation; of a scan, a sum or a log-sum-exp.
    pub op: ReduceOp,
    /// The axis removed.
    pub axis: AxisId,
    /// Conjuncts of the domain.
    pub domain: Vec<TermId>,
    /// What is reduced.
    pub body: TermId,
    /// The decay of a scan.
    pub decay: Option<TermId>,
    /// If the domain is a prefix up to a row that nothing else depends on.
    pub prefix: Option<Prefix>,
}

/// The conjunct `axis <= row` (or `<`) of a domain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefix {
    /// What it makes possible.
    pub capture: Capture,
    /// Its place among the conjuncts; `None` for a scan, whose domain it is.
    pub conjunct: Option<usize>,
}

impl<'a> Context<'a> {
    pub fn new(
        spec: &'a Spec,
        terms: Terms,
        axis_extents: Vec<usize>,
        extents: &'a Extents,
        inputs: &'a [Tensor],
        intervals: &Intervals,
        stored_limit: usize,
    ) -> Self {
        let mut out = Self {
            spec,
            inputs,
            extents,
            stored_limit,
            terms,
            axis_extents,
            may_fail: Vec::new(),
            work: Vec::new(),
            reductions: BTreeMap::new(),
        };
        for at in 0..out.terms.len() {
            let id = TermId(at as u32);
            let fails = out.fails_itself(id, intervals)
                || out.terms.node(id).operands().iter().any(|t| out.may_fail[t.0 as usize]);
            out.may_fail.push(fails);
            let work = out.work_of(id);
            out.work.push(work);
            if let Some(reduction) = out.describe_reduction(id) {
                out.reductions.insert(id, reduction);
            }
        }
        out
    }

    pub fn extent(&self, axis: AxisId) -> usize {
        self.axis_extents[axis.0 as usize]
    }

    pub fn reduction(&self, id: TermId) -> Option<&Reduction> {
        self.reductions.get(&id)
    }

    pub fn work(&self, id: TermId) -> f64 {
        self.work[id.0 as usize]
    }

    pub fn may_fail(&self, id: TermId) -> bool {
        self.may_fail[id.0 as usize]
    }

    /// The axes of `id` fixed for it when `fixed` are fixed around it. A row
    /// that a running reduction passes anyway is not, if all rows fit.
    pub fn fixed_for(&self, id: TermId, fixed: &AxisSet) -> AxisSet {
        let mut inner = fixed.intersection(self.terms.free(id));
        // An order is of all positions at once.
        if let Node::Order { axis, .. } = self.terms.node(id) {
            inner.remove(*axis);
        }
        if let Some(Prefix { capture, .. }) = self.reduction(id).and_then(|r| r.prefix)
            && inner.contains(capture.row)
        {
            let without = inner.without(capture.row);
            if self.volume(id, &without) <= self.stored_limit {
                inner = without;
            }
        }
        inner
    }

    /// Number of positions of the free axes of `id` that are not fixed, saturating.
    pub fn volume(&self, id: TermId, fixed: &AxisSet) -> usize {
        self.axes_volume(&self.terms.free(id).difference(fixed))
    }

    /// Number of positions of the axes, saturating.
    pub fn axes_volume(&self, axes: &AxisSet) -> usize {
        axes.iter().fold(1, |volume: usize, axis| volume.saturating_mul(self.extent(axis)))
    }

    /// The axis whose position the index `axis` of an input is, if it is one and lies in range.
    pub fn plain_index(&self, input: InputId, axis: usize, index: TermId) -> Option<AxisId> {
        match self.terms.node(index) {
            Node::Position(a) if self.extent(*a) <= self.inputs[input.0 as usize].shape()[axis] => Some(*a),
            _ => None,
        }
    }

    fn fails_itself(&self, id: TermId, intervals: &Intervals) -> bool {
        let unknown = || self.terms.ty(id) != Type::Real && intervals.get(id).is_none();
        match self.terms.node(id) {
            Node::Input { input, index } => index.iter().enumerate().any(|(axis, index)| {
                let extent = self.inputs[input.0 as usize].shape()[axis] as i128;
                intervals.get(*index).is_none_or(|v| v.lo < 0 || v.hi >= extent)
            }),
            Node::Unary(UnaryOp::Neg | UnaryOp::Abs, _)
            | Node::Binary(BinaryOp::FloorDiv | BinaryOp::Mod | BinaryOp::Pow, ..)
            | Node::Nary(NaryOp::Add | NaryOp::Mul, _)
            | Node::Reduce { op: ReduceOp::Sum | ReduceOp::Prod, .. } => unknown(),
            _ => false,
        }
    }

    fn work_of(&self, id: TermId) -> f64 {
        let node = self.terms.node(id);
        let own = match node {
            Node::Unary(op, _) => op.work(),
            Node::Binary(op, ..) => op.work(),
            Node::Nary(_, xs) => xs.len() as f64 - 1.0,
            Node::Select(..) => 1.0,
            _ => 0.0,
        };
        if node.runs_over_axis() { 0.0 } else { own + node.operands().iter().map(|t| self.work(*t)).sum::<f64>() }
    }

    fn describe_reduction(&self, id: TermId) -> Option<Reduction> {
        match self.terms.node(id) {
            Node::Reduce { op, axis, domain, body } => {
                let mut conjuncts = Vec::new();
                self.collect_conjuncts(*domain, &mut conjuncts);
                let prefix = self.find_prefix(*axis, &conjuncts, *body);
                Some(Reduction { op: *op, axis: *axis, domain: conjuncts, body: *body, decay: None, prefix })
            }
            Node::Scan { carry, axis, row, decay, body } => {
                let op = match carry {
                    Carry::Sum => ReduceOp::Sum,
                    Carry::LogSumExp => ReduceOp::LogSumExp,
                    // Not of the core form.
                    Carry::Attend(_) => return None,
                };
                let capture = Capture { row: *row, strict: false };
                let prefix = Some(Prefix { capture, conjunct: None });
                Some(Reduction { op, axis: *axis, domain: Vec::new(), body: *body, decay: Some(*decay), prefix })
            }
            _ => None,
        }
    }

    fn collect_conjuncts(&self, domain: TermId, conjuncts: &mut Vec<TermId>) {
        match self.terms.node(domain) {
            Node::Bool(true) => {}
            Node::Nary(NaryOp::And, parts) => parts.iter().for_each(|p| self.collect_conjuncts(*p, conjuncts)),
            _ => conjuncts.push(domain),
        }
    }

    fn find_prefix(&self, axis: AxisId, conjuncts: &[TermId], body: TermId) -> Option<Prefix> {
        let row_of = |conjunct: TermId| match *self.terms.node(conjunct) {
            Node::Binary(op @ (BinaryOp::Le | BinaryOp::Lt), x, y) => match (self.terms.node(x), self.terms.node(y)) {
                (Node::Position(a), Node::Position(row)) if *a == axis && *row != axis => {
                    Some(Capture { row: *row, strict: op == BinaryOp::Lt })
                }
                _ => None,
            },
            _ => None,
        };
        conjuncts.iter().enumerate().find_map(|(at, conjunct)| {
            let capture = row_of(*conjunct)?;
            let elsewhere =
                conjuncts.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, t)| *t).chain([body]);
            let alone = elsewhere.into_iter().all(|t| !self.terms.free(t).contains(capture.row));
            alone.then_some(Prefix { capture, conjunct: Some(at) })
        })
    }
}
