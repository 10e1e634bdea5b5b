//! Where softmax normalises over keys, and which parts of its scores belong to the keys alone.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, AxisSet, NaryOp, Node, ReduceOp, Spec, TermId};

use crate::facts::any_sub_term;

/// The spec has no softmax over positions.
pub(super) const NO_SOFTMAX: &str = "no softmax or log-sum-exp runs over the keys of a query";

/// A softmax, or a log-sum-exp, over keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Keys {
    /// The axis of the keys.
    pub axis: AxisId,
    /// The allowed pairs.
    pub domain: TermId,
    /// The scores.
    pub score: TermId,
}

impl Keys {
    /// What the node normalises over, if it does.
    pub fn of(spec: &Spec, term: TermId) -> Option<Self> {
        let (axis, domain, score) = match *spec.terms.node(term) {
            Node::Softmax { axis, domain, body } | Node::Reduce { op: ReduceOp::LogSumExp, axis, domain, body } => {
                (axis, domain, body)
            }
            _ => return None,
        };
        let keys = Self { axis, domain, score };
        (is_length(spec, axis) && spec.terms.free(score).iter().any(|a| a != axis && is_length(spec, a)))
            .then_some(keys)
    }

    /// The node this was read from, over `domain` instead.
    pub fn over(&self, spec: &mut Spec, term: TermId, domain: TermId) -> TermId {
        let node = match *spec.terms.node(term) {
            Node::Softmax { axis, body, .. } => Node::Softmax { axis, domain, body },
            _ => Node::Reduce { op: ReduceOp::LogSumExp, axis: self.axis, domain, body: self.score },
        };
        spec.terms.add(node)
    }

    /// Axes of the scores that no input shares with the keys: the queries'.
    pub fn query_axes(&self, spec: &Spec) -> AxisSet {
        let terms = &spec.terms;
        let mut axes = terms.free(self.score).without(self.axis);
        let mut open = vec![self.score];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(term) = open.pop() {
            if seen.insert(term) && terms.free(term).contains(self.axis) {
                if matches!(terms.node(term), Node::Input { .. }) {
                    terms.free(term).iter().for_each(|a| axes = axes.without(a));
                }
                open.extend(terms.node(term).operands());
            }
        }
        axes
    }
}

/// Whether the axis is one of positions: its extent is made of N or M where the spec has them.
pub(super) fn is_length(spec: &Spec, axis: AxisId) -> bool {
    let lengths: Vec<_> = ["N", "M"].into_iter().filter_map(|name| spec.symbol(name)).collect();
    any_sub_term(
        &spec.terms,
        spec.axis(axis).extent,
        |node| matches!(node, Node::Extent(symbol) if lengths.is_empty() || lengths.contains(symbol)),
    )
}

/// What a term becomes, if it is not left as it is, or why it should have been changed and is not.
type Change<'c> = &'c mut dyn FnMut(&mut Spec, TermId) -> Result<Option<TermId>, &'static str>;

/// Every output with `change` applied to its nodes from the inside out; the first reason given if nothing changed.
pub(super) fn rewrite_outputs(spec: &mut Spec, change: Change<'_>) -> Result<(), &'static str> {
    let mut walk = Walk { done: BTreeMap::new(), changed: false, reason: None };
    for at in 0..spec.outputs.len() {
        let term = spec.outputs[at].term;
        spec.outputs[at].term = walk.term(spec, term, change);
    }
    if walk.changed { Ok(()) } else { Err(walk.reason.unwrap_or(NO_SOFTMAX)) }
}

struct Walk {
    done: BTreeMap<TermId, TermId>,
    changed: bool,
    reason: Option<&'static str>,
}

impl Walk {
    fn term(&mut self, spec: &mut Spec, root: TermId, change: Change<'_>) -> TermId {
        let mut open = vec![(root, false)];
        while let Some((term, operands_done)) = open.pop() {
            if self.done.contains_key(&term) {
                continue;
            }
            let node = spec.terms.node(term).clone();
            if !operands_done {
                open.push((term, true));
                open.extend(node.operands().into_iter().map(|t| (t, false)));
                continue;
            }
            let rebuilt = node.map_operands(|t| self.done[&t]);
            let rebuilt = if rebuilt == node { term } else { spec.terms.add(rebuilt) };
            let new = match change(spec, rebuilt) {
                Ok(Some(new)) => {
                    self.changed = true;
                    new
                }
                Ok(None) => rebuilt,
                Err(reason) => {
                    // What encloses a softmax knows better than it does.
                    self.reason = Some(reason);
                    rebuilt
                }
            };
            self.done.insert(term, new);
        }
        self.done[&root]
    }
}

/// The conjunction of predicates, without those that are constantly true.
pub(super) fn both(spec: &mut Spec, x: TermId, y: TermId) -> TermId {
    match *spec.terms.node(x) {
        Node::Bool(true) => y,
        _ => spec.terms.nary(NaryOp::And, vec![x, y]),
    }
}

/// The factors of a product, flattened.
pub(super) fn factors(spec: &Spec, term: TermId) -> Vec<TermId> {
    match spec.terms.node(term) {
        Node::Nary(NaryOp::Mul, xs) => xs.iter().flat_map(|x| factors(spec, *x)).collect(),
        _ => vec![term],
    }
}

/// The product of factors; 1 of none.
pub(super) fn product(spec: &mut Spec, factors: Vec<TermId>) -> TermId {
    match factors[..] {
        [] => spec.terms.real(1.0),
        [one] => one,
        _ => spec.terms.nary(NaryOp::Mul, factors),
    }
}
