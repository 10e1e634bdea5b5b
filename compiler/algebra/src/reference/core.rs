//! The core form: a spec's terms over fewer operations.
//!
//! Owns the definitions of softmax, log-sum-exp and the attend node in terms of
//! maxima, sums and exponentials, and the rule that what lies outside a
//! softmax's domain never reaches a product. Terms of the core form are
//! pointwise operations, plain reductions and scans. Read `plan` next.

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::AxisId;
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::term::{Carry, Node, TermId, Terms, Type};

/// The core form of some roots.
pub(super) struct Core {
    /// The original arena and, after it, the terms of the core form.
    pub terms: Terms,
    /// The core form of each root, in order.
    pub roots: Vec<TermId>,
}

/// A term that is `value` where `support` holds and zero elsewhere.
#[derive(Clone, Copy)]
struct Supported {
    support: TermId,
    value: TermId,
}

struct Lowering {
    terms: Terms,
    lowered: BTreeMap<TermId, TermId>,
    /// Weights with their domains, by lowered term.
    supported: BTreeMap<TermId, Supported>,
}

/// Brings `roots`, terms of `terms`, into core form.
pub(super) fn lower(terms: &Terms, roots: &[TermId]) -> Core {
    let mut lowering = Lowering { terms: terms.clone(), lowered: BTreeMap::new(), supported: BTreeMap::new() };
    // Ids are a topological order: operands come before their users.
    for (at, reached) in reachable(terms, roots).into_iter().enumerate() {
        if reached {
            let id = TermId(at as u32);
            let core = lowering.lower_node(terms.node(id));
            lowering.lowered.insert(id, core);
        }
    }
    let roots = roots.iter().map(|root| lowering.lowered[root]).collect();
    Core { terms: lowering.terms, roots }
}

/// Which terms of the arena the roots are made of.
pub(super) fn reachable(terms: &Terms, roots: &[TermId]) -> Vec<bool> {
    let mut reached = vec![false; terms.len()];
    roots.iter().for_each(|root| reached[root.0 as usize] = true);
    for at in (0..terms.len()).rev() {
        if reached[at] {
            terms.node(TermId(at as u32)).operands().iter().for_each(|t| reached[t.0 as usize] = true);
        }
    }
    reached
}

impl Lowering {
    fn lower_node(&mut self, node: &Node) -> TermId {
        let node = node.map_operands(|t| self.lowered[&t]);
        match node {
            Node::Softmax { axis, domain, body } => {
                let (support, value) = self.softmax(axis, domain, body);
                self.zero_outside(support, value)
            }
            Node::Attend { axis, domain, score, value } => {
                let (support, weight) = self.softmax(axis, domain, score);
                let body = self.terms.nary(NaryOp::Mul, vec![weight, value]);
                self.terms.reduce(ReduceOp::Sum, axis, support, body)
            }
            Node::Scan { carry: Carry::Attend(score), axis, row, decay, body } => {
                self.scanned_attend((axis, row), decay, score, body)
            }
            Node::Reduce { op: ReduceOp::LogSumExp, axis, domain, body } => self.log_sum_exp(axis, domain, body),
            Node::Reduce { op: ReduceOp::Sum, axis, domain, body } => self.sum(axis, domain, body),
            Node::Nary(NaryOp::Mul, factors) if self.any_supported(&factors) => self.product(&factors),
            Node::Nary(NaryOp::Add, parts) if parts.iter().all(|t| self.supported.contains_key(t)) => {
                let value = self.terms.nary(NaryOp::Add, parts.clone());
                let supports: Vec<TermId> = parts.iter().map(|t| self.supported[t].support).collect();
                let support = self.terms.nary(NaryOp::Or, supports);
                self.zero_outside(support, value)
            }
            Node::Binary(BinaryOp::Div, x, y) if self.supported.contains_key(&x) => {
                let inner = self.supported[&x];
                let value = self.terms.binary(BinaryOp::Div, inner.value, y);
                self.zero_outside(inner.support, value)
            }
            Node::Unary(UnaryOp::Neg, x) if self.supported.contains_key(&x) => {
                let inner = self.supported[&x];
                let value = self.terms.unary(UnaryOp::Neg, inner.value);
                self.zero_outside(inner.support, value)
            }
            node => self.terms.add(node),
        }
    }

    /// Where softmax weights are not zero, and what they are there:
    /// `exp(body - m) / sum[axis where domain](exp(body - m))`, m the maximum.
    /// A row whose scores are all -inf has no weight, as an empty row.
    fn softmax(&mut self, axis: AxisId, domain: TermId, body: TermId) -> (TermId, TermId) {
        let top = self.terms.reduce(ReduceOp::Max, axis, domain, body);
        let shifted = self.exp_of_difference(body, top);
        let total = self.terms.reduce(ReduceOp::Sum, axis, domain, shifted);
        let weight = self.terms.binary(BinaryOp::Div, shifted, total);
        let nothing = self.terms.real(f64::NEG_INFINITY);
        let some = self.terms.binary(BinaryOp::Ne, top, nothing);
        (self.both(domain, some), weight)
    }

    /// `m + log(sum[axis where domain](exp(body - m)))`, m the maximum; m itself where it is infinite.
    fn log_sum_exp(&mut self, axis: AxisId, domain: TermId, body: TermId) -> TermId {
        let top = self.terms.reduce(ReduceOp::Max, axis, domain, body);
        let shifted = self.exp_of_difference(body, top);
        let total = self.terms.reduce(ReduceOp::Sum, axis, domain, shifted);
        let log = self.terms.unary(UnaryOp::Log, total);
        let finite = self.terms.nary(NaryOp::Add, vec![top, log]);
        let size = self.terms.unary(UnaryOp::Abs, top);
        let infinity = self.terms.real(f64::INFINITY);
        let infinite = self.terms.binary(BinaryOp::Eq, size, infinity);
        self.terms.add(Node::Select(infinite, top, finite))
    }

    /// Each position's own share of the weights up to it is `exp(score - lse)`, and what came before keeps the rest.
    fn scanned_attend(&mut self, (axis, row): (AxisId, AxisId), decay: TermId, score: TermId, body: TermId) -> TermId {
        let lse = self.terms.add(Node::Scan { carry: Carry::LogSumExp, axis, row, decay, body: score });
        let here = self.terms.position(axis);
        let lse = self.terms.add(Node::At { axis: row, index: here, body: lse });
        let (nothing, zero) = (self.terms.real(f64::NEG_INFINITY), self.terms.real(0.0));
        let none = self.terms.binary(BinaryOp::Eq, lse, nothing);
        let share = self.exp_of_difference(score, lse);
        let share = self.terms.add(Node::Select(none, zero, share));
        let (one, minus) = (self.terms.real(1.0), self.terms.unary(UnaryOp::Neg, share));
        let decay = self.terms.nary(NaryOp::Add, vec![one, minus]);
        let own = self.terms.nary(NaryOp::Mul, vec![share, body]);
        let body = self.terms.add(Node::Select(none, zero, own));
        self.terms.add(Node::Scan { carry: Carry::Sum, axis, row, decay, body })
    }

    /// A sum of what is zero outside a domain runs over that domain only.
    fn sum(&mut self, axis: AxisId, domain: TermId, body: TermId) -> TermId {
        match *self.terms.node(body) {
            // A domain that can fail must not be tested behind the condition.
            Node::Select(condition, value, zero)
                if !self.looks_fallible(domain)
                    && matches!(self.terms.node(zero), Node::Real(r) if r.get() == 0.0)
                    && self.terms.ty(value) == Type::Real =>
            {
                let domain = self.both(domain, condition);
                self.terms.reduce(ReduceOp::Sum, axis, domain, value)
            }
            _ => self.terms.reduce(ReduceOp::Sum, axis, domain, body),
        }
    }

    /// Whether evaluating the term somewhere might be an error, as far as its nodes tell.
    fn looks_fallible(&self, id: TermId) -> bool {
        let terms = &self.terms;
        let mut open = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let node = terms.node(id);
            let fallible = match node {
                Node::Input { index, .. } => index.iter().any(|t| !matches!(terms.node(*t), Node::Position(_))),
                Node::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, _, y) => {
                    terms.ty(id) == Type::Int && !matches!(terms.node(*y), Node::Int(1..) | Node::Extent(_))
                }
                Node::Binary(BinaryOp::Pow, ..) => terms.ty(id) == Type::Int,
                _ => false,
            };
            if fallible {
                return true;
            }
            open.extend(node.operands());
        }
        false
    }

    fn product(&mut self, factors: &[TermId]) -> TermId {
        let supported = &self.supported;
        let values = factors.iter().map(|t| supported.get(t).map_or(*t, |s| s.value)).collect();
        let supports: Vec<TermId> = factors.iter().filter_map(|t| supported.get(t)).map(|s| s.support).collect();
        let value = self.terms.nary(NaryOp::Mul, values);
        let support = self.terms.nary(NaryOp::And, supports);
        self.zero_outside(support, value)
    }

    fn any_supported(&self, operands: &[TermId]) -> bool {
        operands.iter().any(|t| self.supported.contains_key(t))
    }

    fn zero_outside(&mut self, support: TermId, value: TermId) -> TermId {
        let zero = self.terms.real(0.0);
        let id = self.terms.add(Node::Select(support, value, zero));
        self.supported.insert(id, Supported { support, value });
        id
    }

    fn exp_of_difference(&mut self, x: TermId, y: TermId) -> TermId {
        let minus = self.terms.unary(UnaryOp::Neg, y);
        let difference = self.terms.nary(NaryOp::Add, vec![x, minus]);
        self.terms.unary(UnaryOp::Exp, difference)
    }

    fn both(&mut self, p: TermId, q: TermId) -> TermId {
        match (self.terms.node(p), self.terms.node(q)) {
            (Node::Bool(true), _) => q,
            (_, Node::Bool(true)) => p,
            _ => self.terms.nary(NaryOp::And, vec![p, q]),
        }
    }
}
