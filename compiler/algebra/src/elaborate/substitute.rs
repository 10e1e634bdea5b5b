//! Capture-avoiding substitution of positions: a computed tensor indexed on
//! other axes becomes a copy of its term.
//!
//! Free positions are replaced by index terms. A reduction whose axis occurs
//! in an index term gets a fresh axis of the same extent, so no reduction
//! captures an index. Sub-terms without a replaced axis are shared.

use std::collections::BTreeMap;

use crate::axis::{AxisId, AxisSet};
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::spec::{Axis, Spec};
use crate::term::{Carry, Node, TermId};

/// Index terms by the axis whose positions they replace.
pub(crate) type Replacement = BTreeMap<AxisId, TermId>;

/// An axis with the extent of `origin` that is not among `taken`: a copy made before if one is free, else a new one,
/// named as the origin with a prime and a number.
///
/// Copies are used again so that equal uses of a tensor stay equal terms; scoping is lexical.
pub(crate) fn copied_axis(spec: &mut Spec, origin: AxisId, taken: &AxisSet) -> AxisId {
    let source = spec.axis(origin).clone();
    let stem = source.name.split('\'').next().unwrap_or_default().to_string();
    let mut copies = 0;
    for (at, axis) in spec.axes.iter().enumerate() {
        if axis.name.strip_prefix(&stem).is_some_and(|rest| rest.starts_with('\'')) {
            copies += 1;
            let id = AxisId(at as u32);
            if id != origin && axis.extent == source.extent && !taken.contains(id) {
                return id;
            }
        }
    }
    let name = if copies == 0 { format!("{stem}'") } else { format!("{stem}'{}", copies + 1) };
    spec.axes.push(Axis { name, extent: source.extent });
    AxisId((spec.axes.len() - 1) as u32)
}

/// `term` with the free positions of axes replaced.
pub(crate) fn substitute(spec: &mut Spec, term: TermId, replacement: &Replacement) -> TermId {
    Substitution { spec, done: BTreeMap::new() }.term(term, replacement)
}

/// `term` with each softmax over `axis` by its log-sum-exp.
pub(crate) fn with_weights_spelled_out(spec: &mut Spec, term: TermId, axis: AxisId) -> TermId {
    Substitution { spec, done: BTreeMap::new() }.spelled_out(term, axis)
}

/// Terms and axes for what is built after elaboration.
impl Spec {
    /// `term` with the free positions of axes replaced by index terms, without capture.
    pub fn substituted(&mut self, term: TermId, replacement: &BTreeMap<AxisId, TermId>) -> TermId {
        substitute(self, term, replacement)
    }

    /// An axis with the extent of `origin`, other than it and those of `taken`.
    pub fn copy_of_axis(&mut self, origin: AxisId, taken: &AxisSet) -> AxisId {
        copied_axis(self, origin, taken)
    }

    /// A new axis, named `stem` or, where that is taken, with primes after it.
    pub fn new_axis(&mut self, stem: &str, extent: TermId) -> AxisId {
        let mut name = stem.to_string();
        while self.axes.iter().any(|axis| axis.name == name) {
            name.push('\'');
        }
        self.axes.push(Axis { name, extent });
        AxisId((self.axes.len() - 1) as u32)
    }
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
                let (axis, inner) = self.bind(axis, &[domain, body], replacement);
                let (domain, body) = (self.term(domain, &inner), self.term(body, &inner));
                self.spec.terms.reduce(op, axis, domain, body)
            }
            Node::Attend { axis, domain, score, value } => {
                let (axis, inner) = self.bind(axis, &[domain, score, value], replacement);
                let (domain, score) = (self.term(domain, &inner), self.term(score, &inner));
                let value = self.term(value, &inner);
                self.spec.terms.add(Node::Attend { axis, domain, score, value })
            }
            Node::Softmax { axis, domain, body } => self.softmax(axis, domain, body, replacement),
            Node::Scan { carry, axis, row, decay, body } => {
                let expanded = self.expand_scan(carry, (axis, row), decay, body);
                self.term(expanded, replacement)
            }
            Node::Order { axis, key } => {
                let (own, inner) = self.bind(axis, &[key], replacement);
                let key = self.term(key, &inner);
                let order = self.spec.terms.add(Node::Order { axis: own, key });
                let place = replacement.get(&axis).copied().unwrap_or_else(|| self.spec.terms.position(axis));
                self.spec.terms.add(Node::At { axis: own, index: place, body: order })
            }
            Node::At { axis, index, body } => {
                let index = self.term(index, replacement);
                let (own, inner) = self.bind(axis, &[body], replacement);
                let body = self.term(body, &inner);
                self.spec.terms.add(Node::At { axis: own, index, body })
            }
            node => {
                let node = node.map_operands(|t| self.term(t, replacement));
                self.spec.terms.add(node)
            }
        }
    }

    fn free_of_indices(&self, replacement: &Replacement) -> AxisSet {
        replacement.values().fold(AxisSet::new(), |free, by| free.union(self.spec.terms.free(*by)))
    }

    /// The axis that a reduction of `operands` over `axis` runs over after the replacement, and the replacement inside.
    fn bind(&mut self, axis: AxisId, operands: &[TermId], replacement: &Replacement) -> (AxisId, Replacement) {
        let mut taken = self.free_of_indices(replacement);
        let mut inner = replacement.clone();
        inner.remove(&axis);
        if !taken.contains(axis) {
            return (axis, inner);
        }
        // The axis whose place the index takes is free for it where nothing else needs it: the two change names, and
        // a copy of a copy is the term it was made from.
        let extent = self.spec.axis(axis).extent;
        let swapped =
            inner.keys().copied().find(|other| !taken.contains(*other) && self.spec.axis(*other).extent == extent);
        let fresh = swapped.unwrap_or_else(|| {
            operands.iter().for_each(|t| taken = taken.union(self.spec.terms.free(*t)));
            copied_axis(self.spec, axis, &taken)
        });
        inner.insert(axis, self.spec.terms.position(fresh));
        (fresh, inner)
    }

    /// The term with each softmax over `axis` spelled out, as it is where it is read at a computed position.
    fn spelled_out(&mut self, term: TermId, axis: AxisId) -> TermId {
        if !self.spec.terms.free(term).contains(axis) {
            return term;
        }
        match self.spec.terms.node(term).clone() {
            Node::Softmax { axis: own, domain, body } if own == axis => {
                let nothing = self.spec.terms.real(f64::NEG_INFINITY);
                let some = self.spec.terms.comparison(BinaryOp::Ne, body, nothing);
                let (lse, here, score) = self.read_weight(axis, domain, body, &Replacement::new());
                let here = self.spec.terms.logic(NaryOp::And, &[here, some]);
                self.spec.terms.weight(here, score, lse)
            }
            node => {
                let node = node.map_operands(|t| self.spelled_out(t, axis));
                self.spec.terms.add(node)
            }
        }
    }

    /// Softmax normalises over its axis and keeps it free, so replacing the axis itself is no renaming in general.
    fn softmax(&mut self, axis: AxisId, domain: TermId, body: TermId, replacement: &Replacement) -> TermId {
        if let Some(to) = self.renamed_axis(axis, domain, body, replacement) {
            let (domain, body) = (self.term(domain, replacement), self.term(body, replacement));
            return self.spec.terms.add(Node::Softmax { axis: to, domain, body });
        }
        let (lse, mut here, score) = self.read_weight(axis, domain, body, replacement);
        let terms = &mut self.spec.terms;
        if let Node::Reduce { op: ReduceOp::LogSumExp, .. } = terms.node(body) {
            // Over no position that is -inf, and where all scores are there is no weight.
            let nothing = terms.real(f64::NEG_INFINITY);
            let some = terms.binary(BinaryOp::Lt, nothing, score);
            here = terms.logic(NaryOp::And, &[here, some]);
        }
        terms.weight(here, score, lse)
    }

    /// The parts of exp(score - log of the sum over a copy of the axis), read at the given position: the logarithm,
    /// whether there is a weight, and the score.
    fn read_weight(
        &mut self,
        axis: AxisId,
        domain: TermId,
        body: TermId,
        replacement: &Replacement,
    ) -> (TermId, TermId, TermId) {
        let terms = &self.spec.terms;
        let taken = self.free_of_indices(replacement).union(terms.free(domain)).union(terms.free(body));
        let fresh = copied_axis(self.spec, axis, &taken);
        let mut over_copy = replacement.clone();
        over_copy.insert(axis, self.spec.terms.position(fresh));
        let (all, scores) = (self.term(domain, &over_copy), self.term(body, &over_copy));
        let lse = self.spec.terms.reduce(ReduceOp::LogSumExp, fresh, all, scores);
        (lse, self.term(domain, replacement), self.term(body, replacement))
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

    /// A scan by its meaning: `sum[j where j <= i](body * prod[t where j < t and t <= i](decay at t))`, and likewise with
    /// scores and a sum of their decays.
    fn expand_scan(&mut self, carry: Carry, (axis, row): (AxisId, AxisId), decay: TermId, body: TermId) -> TermId {
        let mut taken = self.spec.terms.free(decay).union(self.spec.terms.free(body));
        if let Carry::Attend(score) = carry {
            taken = taken.union(self.spec.terms.free(score));
        }
        taken.insert(row);
        let between = copied_axis(self.spec, axis, &taken);
        let terms = &mut self.spec.terms;
        let (j, i, t) = (terms.position(axis), terms.position(row), terms.position(between));
        let (after, until) = (terms.binary(BinaryOp::Lt, j, t), terms.binary(BinaryOp::Le, t, i));
        let segment = terms.nary(NaryOp::And, vec![after, until]);
        let decay = self.term(decay, &Replacement::from([(axis, t)]));
        let terms = &mut self.spec.terms;
        let prefix = terms.binary(BinaryOp::Le, j, i);
        let (joined, decayed, with) = match carry {
            Carry::Sum => (ReduceOp::Prod, NaryOp::Mul, body),
            Carry::LogSumExp => (ReduceOp::Sum, NaryOp::Add, body),
            Carry::Attend(score) => (ReduceOp::Sum, NaryOp::Add, score),
        };
        let decay = terms.reduce(joined, between, segment, decay);
        let decayed = terms.nary(decayed, vec![with, decay]);
        match carry {
            Carry::Sum => terms.reduce(ReduceOp::Sum, axis, prefix, decayed),
            Carry::LogSumExp => terms.reduce(ReduceOp::LogSumExp, axis, prefix, decayed),
            Carry::Attend(_) => terms.add(Node::Attend { axis, domain: prefix, score: decayed, value: body }),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Extents, Reference, Settings, SymbolId, compile_text, draw_inputs};

    /// A spec with outputs over i and j of `N` and a value v over j, and its axes i and j.
    fn spec() -> (Spec, AxisId, AxisId) {
        let text = "axis i, j = N\ninput s[i, j]\ninput v[j]\ninput g[j]\noutput a[i] = s[i, 0]\noutput b[i] = s[i, 0]
output s1[i, j] = s\noutput v1[j] = v\noutput g1[j] = g\noutput next = (i + 1) mod N\n";
        let spec = compile_text(text, &Settings::default()).expect("a sound spec");
        let axis = |name: &str| spec.axes.iter().position(|a| a.name == name).map(|at| AxisId(at as u32));
        let (i, j) = (axis("i").expect("declared"), axis("j").expect("declared"));
        (spec, i, j)
    }

    /// `node` at row i + 1 is its value at that row.
    fn next_row_is_the_row_below(mut spec: Spec, i: AxisId, node: Node) {
        let term = spec.terms.add(node);
        let next = spec.outputs[5].term;
        let moved = substitute(&mut spec, term, &Replacement::from([(i, next)]));
        (spec.outputs[0].term, spec.outputs[1].term) = (term, moved);
        let n = 5;
        let extents = Extents([(SymbolId(0), n)].into());
        let inputs = draw_inputs(&spec, &extents, 3).expect("small inputs");
        let mut reference = Reference::new(&spec, &extents, &inputs).expect("inputs as declared");
        let (here, moved) = (reference.output(0).expect("in range"), reference.output(1).expect("in range"));
        for row in 0..n as usize {
            let (expected, found) = (here[[(row + 1) % n as usize]], moved[[row]]);
            assert!((expected - found).abs() < 1e-12, "row {row}: {found} for {expected}");
        }
    }

    #[test]
    fn a_scan_moves_by_its_meaning() {
        let (spec, i, j) = spec();
        let (body, decay) = (spec.outputs[3].term, spec.outputs[4].term);
        for carry in [Carry::Sum, Carry::LogSumExp, Carry::Attend(decay)] {
            next_row_is_the_row_below(spec.clone(), i, Node::Scan { carry, axis: j, row: i, decay, body });
        }
    }

    #[test]
    fn attention_moves_with_its_scores() {
        let (mut spec, i, j) = spec();
        let (score, value) = (spec.outputs[2].term, spec.outputs[3].term);
        let (here, there) = (spec.terms.position(i), spec.terms.position(j));
        let domain = spec.terms.binary(BinaryOp::Le, there, here);
        next_row_is_the_row_below(spec, i, Node::Attend { axis: j, domain, score, value });
    }
}
