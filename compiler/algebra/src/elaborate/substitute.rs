//! Capture-avoiding substitution of positions: a computed tensor indexed on
//! other axes becomes a copy of its term.
//!
//! Free positions are replaced by index terms. A reduction whose axis occurs
//! in an index term gets a fresh axis of the same extent, so no reduction
//! captures an index. Sub-terms without a replaced axis are shared.

use std::collections::BTreeMap;

use crate::axis::AxisId;
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::spec::{Axis, Spec};
use crate::term::{Node, TermId};

/// Index terms by the axis whose positions they replace.
pub(crate) type Replacement = BTreeMap<AxisId, TermId>;

/// A new axis with the extent of `origin` and its name with a prime and a number.
pub(crate) fn fresh_axis(spec: &mut Spec, origin: AxisId) -> AxisId {
    let source = spec.axis(origin).clone();
    let stem = source.name.split('\'').next().unwrap_or_default().to_string();
    let copies = spec.axes.iter().filter(|a| a.name.strip_prefix(&stem).is_some_and(|r| r.starts_with('\''))).count();
    let name = if copies == 0 { format!("{stem}'") } else { format!("{stem}'{}", copies + 1) };
    spec.axes.push(Axis { name, extent: source.extent });
    AxisId((spec.axes.len() - 1) as u32)
}

/// `term` with the free positions of axes replaced.
pub(crate) fn substitute(spec: &mut Spec, term: TermId, replacement: &Replacement) -> TermId {
    Substitution { spec, done: BTreeMap::new() }.term(term, replacement)
}

struct Substitution<'s> {
    spec: &'s mut Spec,
    done: BTreeMap<(TermId, Replacement), TermId>,
}

impl Substitution<'_> {
    fn term(&mut self, term: TermId, replacement: &Replacement) -> TermId {
        let terms = &self.spec.terms;
        let free = terms.free(term);
        let relevant: Replacement = replacement
            .iter()
            .filter(|(axis, by)| free.contains(**axis) && *terms.node(**by) != Node::Position(**axis))
            .map(|(axis, by)| (*axis, *by))
            .collect();
        if relevant.is_empty() {
            return term;
        }
        if let Node::Position(axis) = terms.node(term) {
            return relevant[axis];
        }
        let key = (term, relevant);
        if let Some(done) = self.done.get(&key) {
            return *done;
        }
        let out = self.node(self.spec.terms.node(term).clone(), &key.1);
        self.done.insert(key, out);
        out
    }

    /// `replacement` is not empty and only names axes free in `node`.
    fn node(&mut self, node: Node, replacement: &Replacement) -> TermId {
        match node {
            Node::Reduce { op, axis, domain, body } => {
                let (axis, inner) = self.bind(axis, replacement);
                let (domain, body) = (self.term(domain, &inner), self.term(body, &inner));
                self.spec.terms.reduce(op, axis, domain, body)
            }
            Node::Attend { axis, domain, score, value } => {
                let (axis, inner) = self.bind(axis, replacement);
                let (domain, score) = (self.term(domain, &inner), self.term(score, &inner));
                let value = self.term(value, &inner);
                self.spec.terms.add(Node::Attend { axis, domain, score, value })
            }
            Node::Softmax { axis, domain, body } => self.softmax(axis, domain, body, replacement),
            Node::Scan { axis, row, decay, body } => {
                let sum = self.expand_scan(axis, row, decay, body);
                self.term(sum, replacement)
            }
            node => {
                let node = node.map_operands(|t| self.term(t, replacement));
                self.spec.terms.add(node)
            }
        }
    }

    /// The axis a reduction over `axis` runs over after the replacement, and the replacement inside it.
    fn bind(&mut self, axis: AxisId, replacement: &Replacement) -> (AxisId, Replacement) {
        let captured = replacement.values().any(|by| self.spec.terms.free(*by).contains(axis));
        let mut inner = replacement.clone();
        inner.remove(&axis);
        if !captured {
            return (axis, inner);
        }
        let fresh = fresh_axis(self.spec, axis);
        inner.insert(axis, self.spec.terms.position(fresh));
        (fresh, inner)
    }

    /// Softmax normalises over its axis and keeps it free, so replacing the axis itself is no renaming in general.
    fn softmax(&mut self, axis: AxisId, domain: TermId, body: TermId, replacement: &Replacement) -> TermId {
        if let Some(to) = self.renamed_axis(axis, domain, body, replacement) {
            let (domain, body) = (self.term(domain, replacement), self.term(body, replacement));
            return self.spec.terms.add(Node::Softmax { axis: to, domain, body });
        }
        // exp(score - log of the sum over a copy of the axis), read at the given position.
        let fresh = fresh_axis(self.spec, axis);
        let mut over_copy = replacement.clone();
        over_copy.insert(axis, self.spec.terms.position(fresh));
        let (all, scores) = (self.term(domain, &over_copy), self.term(body, &over_copy));
        let lse = self.spec.terms.reduce(ReduceOp::LogSumExp, fresh, all, scores);
        let (here, score) = (self.term(domain, replacement), self.term(body, replacement));
        self.spec.terms.weight(here, score, lse)
    }

    /// The axis of a softmax after the replacement, where it stays a softmax.
    fn renamed_axis(&self, axis: AxisId, domain: TermId, body: TermId, replacement: &Replacement) -> Option<AxisId> {
        let terms = &self.spec.terms;
        let to = match replacement.get(&axis).map(|by| terms.node(*by)) {
            None => axis,
            Some(Node::Position(to)) if self.spec.axis(*to).extent == self.spec.axis(axis).extent => *to,
            Some(_) => return None,
        };
        let others_mention = replacement.iter().any(|(a, by)| *a != axis && terms.free(*by).contains(to));
        let stays_free = to != axis
            && !replacement.contains_key(&to)
            && (terms.free(domain).contains(to) || terms.free(body).contains(to));
        (!others_mention && !stays_free).then_some(to)
    }

    /// A scan by its meaning: `sum[j where j <= i](body * prod[t where j < t and t <= i](decay at t))`.
    fn expand_scan(&mut self, axis: AxisId, row: AxisId, decay: TermId, body: TermId) -> TermId {
        let between = fresh_axis(self.spec, axis);
        let terms = &mut self.spec.terms;
        let (j, i, t) = (terms.position(axis), terms.position(row), terms.position(between));
        let (after, until) = (terms.binary(BinaryOp::Lt, j, t), terms.binary(BinaryOp::Le, t, i));
        let segment = terms.nary(NaryOp::And, vec![after, until]);
        let decay = self.term(decay, &Replacement::from([(axis, t)]));
        let terms = &mut self.spec.terms;
        let decay = terms.reduce(ReduceOp::Prod, between, segment, decay);
        let product = terms.nary(NaryOp::Mul, vec![body, decay]);
        let prefix = terms.binary(BinaryOp::Le, j, i);
        terms.reduce(ReduceOp::Sum, axis, prefix, product)
    }
}

impl crate::term::Terms {
    /// `if domain then exp(score - lse) else 0`: a softmax weight by its log-sum-exp.
    pub(crate) fn weight(&mut self, domain: TermId, score: TermId, lse: TermId) -> TermId {
        let minus = self.unary(UnaryOp::Neg, lse);
        let shifted = self.nary(NaryOp::Add, vec![score, minus]);
        let weight = self.unary(UnaryOp::Exp, shifted);
        let zero = self.real(0.0);
        self.choice(domain, weight, zero)
    }
}
