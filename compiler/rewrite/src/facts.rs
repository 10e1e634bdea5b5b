//! Facts about e-classes: what conditions of rules may read.
//!
//! Owns the analysis: free axes, sign, constants and the like. Every fact is
//! monotone: merging two classes only adds knowledge, so that a condition
//! that held keeps holding (guards apart, which merging widens). Must not know of any rule.

use attnc_algebra::{AxisSet, BinaryOp, NaryOp, Node, Real, ReduceOp, Spec, TermId, TermSet, Terms, Type, UnaryOp};
use egg::{Analysis, DidMerge, EGraph, Id};
use std::collections::{BTreeMap, BTreeSet};

use crate::domain::Domains;
use crate::language::ENode;
use crate::linear_form::LinearForm;

/// The e-graph of one spec.
pub type Graph = EGraph<ENode, SpecFacts>;

/// What is known of the values of an e-class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Axes the value may depend on.
    pub free: AxisSet,
    /// The value itself, if it is a constant.
    pub constant: Option<Real>,
    /// Never below zero.
    pub nonnegative: bool,
    /// Above zero.
    pub positive: bool,
    /// Depends on no input.
    pub data_free: bool,
    /// Finite wherever the inputs are (overflow aside).
    pub defined: bool,
    /// Axes that computed indices of input elements vary along: restrictions and branches over these
    /// may be what keeps an index in range. The one fact that merging widens.
    pub guards: AxisSet,
    /// Magnitude at most [`Facts::SMALL`], so that its exponential neither overflows nor vanishes.
    pub small: bool,
}

impl Facts {
    /// The bound behind [`Facts::small`].
    pub const SMALL: f64 = 32.0;

    fn constant(value: f64) -> Self {
        Self {
            free: AxisSet::new(),
            constant: Some(Real::new(value)),
            nonnegative: value >= 0.0,
            positive: value > 0.0,
            data_free: true,
            defined: value.is_finite(),
            guards: AxisSet::new(),
            small: value.abs() <= Self::SMALL,
        }
    }
}

/// The analysis: the spec's tables, its growing arena, and what rules declined.
#[derive(Clone, Debug)]
pub struct SpecFacts {
    /// The spec; its arena grows by closed terms that rules make.
    pub spec: Spec,
    /// Domains of the predicates met.
    pub domains: Domains,
    /// Rules that met their left side but not their condition: `(rule, reason)`.
    pub declined: BTreeSet<(&'static str, &'static str)>,
    /// The e-class of each term converted so far.
    pub classes: BTreeMap<TermId, Id>,
    /// The forms of reductions in the order of two keys, by those keys.
    pub bucketed: BTreeMap<(TermId, TermId), BTreeMap<ENode, Id>>,
}

impl SpecFacts {
    /// Facts for `spec`.
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            domains: Domains::default(),
            declined: BTreeSet::new(),
            classes: BTreeMap::new(),
            bucketed: BTreeMap::new(),
        }
    }

    /// Facts of a closed term, read off the arena.
    fn closed(&self, term: TermId) -> Facts {
        let terms = &self.spec.terms;
        let all = (f64::NEG_INFINITY, f64::INFINITY);
        let range = if is_small_tree(terms, term) { self.range(term) } else { all };
        let data_free = !reads_input(terms, term);
        Facts {
            free: terms.free(term).clone(),
            constant: None,
            nonnegative: range.0 >= 0.0,
            positive: range.0 > 0.0,
            data_free,
            defined: matches!(terms.node(term), Node::Input { .. }) || terms.ty(term) != Type::Real || data_free,
            guards: index_axes(&self.spec, term),
            small: range.0 >= -Facts::SMALL && range.1 <= Facts::SMALL,
        }
    }

    /// A closed interval that holds the values of a closed term.
    fn range(&self, term: TermId) -> (f64, f64) {
        let all = (f64::NEG_INFINITY, f64::INFINITY);
        let terms = &self.spec.terms;
        match terms.node(term) {
            Node::Real(r) => (r.get(), r.get()),
            Node::Int(v) => (*v as f64, *v as f64),
            Node::Extent(_) => (1.0, f64::INFINITY),
            Node::Position(_) => (0.0, f64::INFINITY),
            Node::Unary(UnaryOp::ToReal | UnaryOp::ToInt, x) if terms.ty(*x) == Type::Bool => (0.0, 1.0),
            Node::Unary(UnaryOp::ToReal | UnaryOp::ToInt | UnaryOp::Floor | UnaryOp::Ceil, x) => self.range(*x),
            Node::Unary(UnaryOp::Sqrt, x) if self.range(*x).0 > 0.0 => (f64::MIN_POSITIVE, f64::INFINITY),
            Node::Unary(UnaryOp::Exp, _) => (f64::MIN_POSITIVE, f64::INFINITY),
            Node::Unary(UnaryOp::Neg, x) => {
                let (lo, hi) = self.range(*x);
                (-hi, -lo)
            }
            Node::Binary(BinaryOp::Pow, x, _) if self.range(*x).0 > 0.0 => (f64::MIN_POSITIVE, f64::INFINITY),
            Node::Binary(BinaryOp::Div, x, y) if self.range(*x).0 > 0.0 && self.range(*y).0 > 0.0 => {
                (f64::MIN_POSITIVE, f64::INFINITY)
            }
            Node::Nary(op @ (NaryOp::Add | NaryOp::Mul), xs) => {
                let ranges: Vec<(f64, f64)> = xs.iter().map(|x| self.range(*x)).collect();
                let low = ranges.iter().map(|r| r.0);
                let nonnegative = ranges.iter().all(|r| r.0 >= 0.0);
                match op {
                    NaryOp::Add => (low.sum(), ranges.iter().map(|r| r.1).sum()),
                    _ if nonnegative => (low.product(), f64::INFINITY),
                    _ => all,
                }
            }
            Node::Reduce { op: ReduceOp::Sum, body, .. } if self.range(*body).0 >= 0.0 => (0.0, f64::INFINITY),
            Node::Input { input, .. } => match self.spec.input(*input).range {
                Some((lo, hi)) => (self.number(lo).unwrap_or(all.0), self.number(hi).unwrap_or(all.1)),
                None => all,
            },
            _ => all,
        }
    }

    /// The value of a range's bound.
    fn number(&self, term: TermId) -> Option<f64> {
        let value = |t: &TermId| self.number(*t);
        match self.spec.terms.node(term) {
            Node::Real(r) => Some(r.get()),
            Node::Int(v) => Some(*v as f64),
            Node::Unary(op, x) => Some(op.eval(value(x)?)),
            Node::Binary(op, x, y) => Some(op.eval(value(x)?, value(y)?)),
            Node::Nary(op, xs) => {
                let numbers: Option<Vec<f64>> = xs.iter().map(value).collect();
                numbers?.into_iter().reduce(|a, b| op.eval(a, b))
            }
            _ => None,
        }
    }
}

/// Whether a term reads an input anywhere.
pub fn reads_input(terms: &Terms, term: TermId) -> bool {
    any_sub_term(terms, term, |node| matches!(node, Node::Input { .. }))
}

/// Whether `test` holds for a node of `term`, binders included.
pub fn any_sub_term(terms: &Terms, term: TermId, mut test: impl FnMut(&Node) -> bool) -> bool {
    let mut seen = TermSet::new();
    let mut todo = vec![term];
    while let Some(t) = todo.pop() {
        if !seen.insert(t) {
            continue;
        }
        let node = terms.node(t);
        if test(node) {
            return true;
        }
        todo.extend(node.operands());
    }
    false
}

/// Bound behind [`is_small_tree`].
const SMALL_TREE: usize = 2_000;

/// Whether a term written out as a tree stays small, so that walks without memory of shared parts end soon.
pub fn is_small_tree(terms: &Terms, term: TermId) -> bool {
    let mut left = SMALL_TREE;
    let mut todo = vec![term];
    while let Some(t) = todo.pop() {
        if left == 0 {
            return false;
        }
        left -= 1;
        todo.extend(terms.node(t).operands());
    }
    true
}

/// The axes that computed indices of input elements under `term` vary along. A plain position of an
/// axis as long as the input's own, from its beginning or its end, or an order of one, needs no guard.
fn index_axes(spec: &Spec, term: TermId) -> AxisSet {
    let terms = &spec.terms;
    let mut out = AxisSet::new();
    any_sub_term(terms, term, |node| {
        let Node::Input { input, index } = node else { return false };
        for (at, own) in index.iter().zip(&spec.input(*input).axes) {
            let plain = matches!(terms.node(*at), Node::Position(a) | Node::Order { axis: a, .. } if spec.axis(*a).extent == spec.axis(*own).extent)
                || is_place_from_the_end(spec, *at, spec.axis(*own).extent);
            if !plain {
                out = out.union(terms.free(*at));
            }
        }
        false
    });
    out
}

/// Whether an index is `N - 1 - i`, i a position of an axis of the extent N.
fn is_place_from_the_end(spec: &Spec, index: TermId, extent: TermId) -> bool {
    let terms = &spec.terms;
    let place = |index: TermId| {
        let whole = LinearForm::of(terms, extent)?;
        LinearForm::of(terms, index)?.minus(&whole)
    };
    is_small_tree(terms, index)
        && place(index).is_some_and(|form| {
            let mut atoms = form.atoms.iter().map(|(atom, c)| (terms.node(*atom), *c));
            let one = atoms.next().filter(|_| form.atoms.len() == 1 && form.constant == -1);
            matches!(one, Some((Node::Position(a), -1)) if spec.axis(*a).extent == extent)
        })
}

impl Analysis<ENode> for SpecFacts {
    type Data = Facts;

    fn make(graph: &mut Graph, node: &ENode, _id: Id) -> Facts {
        facts_of_node(graph, node)
    }

    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        let joined = Facts {
            free: a.free.intersection(&b.free),
            constant: a.constant.or(b.constant),
            nonnegative: a.nonnegative || b.nonnegative,
            positive: a.positive || b.positive,
            data_free: a.data_free || b.data_free,
            defined: a.defined || b.defined,
            guards: a.guards.union(&b.guards),
            small: a.small || b.small,
        };
        let did = DidMerge(joined != *a, joined != b);
        *a = joined;
        did
    }
}

fn facts_of_node(graph: &Graph, node: &ENode) -> Facts {
    let children: Vec<&Facts> = egg::Language::children(node).iter().map(|c| &graph[*c].data).collect();
    let terms = &graph.analysis.spec.terms;
    match node {
        ENode::Const(value) => return Facts::constant(value.get()),
        ENode::Closed(term) => return graph.analysis.closed(*term),
        _ => {}
    }
    let mut free = AxisSet::new();
    for child in &children {
        free = free.union(&child.free);
    }
    match node {
        ENode::Select(condition, _) => free = free.union(terms.free(*condition)),
        ENode::Reduce(_, axis, domain, _) | ENode::Attend(axis, domain, _) => {
            free = free.union(terms.free(*domain)).without(*axis);
        }
        ENode::Softmax(axis, domain, _) => {
            free = free.union(terms.free(*domain));
            free.insert(*axis);
        }
        ENode::Scan(axis, row, _) | ENode::Online(axis, row, _) => {
            free.remove(*axis);
            free.insert(*row);
        }
        ENode::At(axis, index, _) => free = free.without(*axis).union(terms.free(*index)),
        _ => {}
    }
    let spec = &graph.analysis.spec;
    let mut guards = children.iter().fold(AxisSet::new(), |all, c| all.union(&c.guards));
    guards = closed_parts(node).fold(guards, |all, t| all.union(&index_axes(spec, t)));
    let (nonnegative, positive) = sign(node, &children);
    Facts {
        free,
        constant: fold(node, &children),
        nonnegative: nonnegative || positive,
        positive,
        data_free: children.iter().all(|c| c.data_free) && closed_parts(node).all(|t| !reads_input(terms, t)),
        defined: children.iter().all(|c| c.defined) && keeps_defined(graph, node, &children),
        guards,
        small: is_small(node, &children),
    }
}

fn closed_parts(node: &ENode) -> impl Iterator<Item = TermId> {
    match node {
        ENode::Select(term, _)
        | ENode::Reduce(_, _, term, _)
        | ENode::Softmax(_, term, _)
        | ENode::At(_, term, _)
        | ENode::Attend(_, term, _) => Some(*term),
        _ => None,
    }
    .into_iter()
}

/// `(never below zero, above zero)`
fn sign(node: &ENode, children: &[&Facts]) -> (bool, bool) {
    let all_nonnegative = children.iter().all(|c| c.nonnegative);
    let all_positive = children.iter().all(|c| c.positive);
    match node {
        ENode::Unary(UnaryOp::Exp | UnaryOp::Sigmoid | UnaryOp::Softplus, _) => (true, true),
        ENode::Unary(UnaryOp::Sqrt | UnaryOp::Recip, _) => (all_nonnegative, all_positive),
        ENode::Unary(UnaryOp::Abs | UnaryOp::Relu, _) => (true, all_positive),
        ENode::Binary(BinaryOp::Pow, _) => (children[0].nonnegative, children[0].positive),
        ENode::Nary(NaryOp::Add, _) => (all_nonnegative, all_nonnegative && children.iter().any(|c| c.positive)),
        ENode::Nary(NaryOp::Mul, xs) if xs.len() == 2 && xs[0] == xs[1] => (true, all_positive),
        ENode::Nary(NaryOp::Mul | NaryOp::Min | NaryOp::Max, _) | ENode::Select(..) => (all_nonnegative, all_positive),
        ENode::Reduce(ReduceOp::Sum, ..) => (all_nonnegative, false),
        ENode::Reduce(ReduceOp::Prod, ..) => (all_nonnegative, all_positive),
        ENode::Softmax(..) => (true, false),
        ENode::Attend(..) => (children[1].nonnegative, false),
        ENode::Online(..) => (children.get(2).is_some_and(|value| value.nonnegative), false),
        ENode::Scan(..) | ENode::At(..) => (all_nonnegative, all_positive),
        _ => (false, false),
    }
}

fn fold(node: &ENode, children: &[&Facts]) -> Option<Real> {
    let value = |at: usize| children[at].constant.map(Real::get);
    let folded = match node {
        ENode::Unary(op, _) => op.eval(value(0)?),
        ENode::Binary(op, _) => op.eval(value(0)?, value(1)?),
        _ => return None,
    };
    folded.is_finite().then(|| Real::new(folded))
}

fn keeps_defined(graph: &Graph, node: &ENode, children: &[&Facts]) -> bool {
    match node {
        ENode::Unary(UnaryOp::Recip | UnaryOp::Log, _) => children[0].positive,
        ENode::Unary(UnaryOp::Sqrt, _) => children[0].nonnegative,
        ENode::Binary(BinaryOp::Pow, _) => {
            children[0].positive || children[1].constant.is_some_and(|c| c.get() >= 0.0 && c.get().fract() == 0.0)
        }
        // Infinite over nothing.
        ENode::Reduce(ReduceOp::Max | ReduceOp::Min | ReduceOp::LogSumExp, axis, domain, _) => {
            let spec = &graph.analysis.spec;
            graph.analysis.domains.get(spec, *domain).is_never_empty(spec, *axis)
        }
        _ => true,
    }
}

fn is_small(node: &ENode, children: &[&Facts]) -> bool {
    match node {
        ENode::Unary(UnaryOp::Sigmoid | UnaryOp::Tanh | UnaryOp::Sin | UnaryOp::Cos, _) | ENode::Softmax(..) => true,
        ENode::Unary(UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu, _) => children[0].small,
        ENode::Nary(NaryOp::Min | NaryOp::Max, _) | ENode::Select(..) | ENode::At(..) => {
            children.iter().all(|c| c.small)
        }
        _ => false,
    }
}
