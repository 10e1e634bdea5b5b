//! Sums of attentions with the same weights are one attention of the sum of their values.
//!
//! Values that all rows share are cheaper apart from those that they do not, and a term says so; but a stage takes
//! each summand as it is best taken, and computes the weights once.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, NaryOp, Node, TermId};

use super::Planner;

impl Planner<'_> {
    /// The term with its sums of attentions joined.
    pub(super) fn attends_joined(&mut self, term: TermId) -> TermId {
        let attends = |node: &Node| match node {
            Node::Nary(NaryOp::Add, xs) => {
                let all = xs.iter().filter(|t| matches!(self.terms.node(**t), Node::Attend { .. }));
                all.count() >= 2
            }
            _ => false,
        };
        match self.find(term, &mut |_, node| attends(node)) {
            true => self.joined(term, &mut BTreeMap::new()),
            false => term,
        }
    }

    fn joined(&mut self, term: TermId, done: &mut BTreeMap<TermId, TermId>) -> TermId {
        if let Some(known) = done.get(&term) {
            return *known;
        }
        let node = self.terms.node(term).clone();
        let new = match node.map_operands(|t| self.joined(t, done)) {
            Node::Nary(NaryOp::Add, summands) => self.sum_joined(summands),
            node => self.terms.add(node),
        };
        done.insert(term, new);
        new
    }

    fn sum_joined(&mut self, summands: Vec<TermId>) -> TermId {
        // The weights with their values, in the order in which they come first.
        let mut groups: Vec<((AxisId, TermId, TermId), Vec<TermId>)> = Vec::new();
        let mut rest = Vec::new();
        for summand in summands {
            let Node::Attend { axis, domain, score, value } = *self.terms.node(summand) else {
                rest.push(summand);
                continue;
            };
            let weights = (axis, domain, score);
            match groups.iter_mut().find(|(known, _)| *known == weights) {
                Some((_, values)) => values.push(value),
                None => groups.push((weights, vec![value])),
            }
        }
        for ((axis, domain, score), values) in groups {
            let value = if values.len() == 1 { values[0] } else { self.terms.nary(NaryOp::Add, values) };
            rest.push(self.terms.add(Node::Attend { axis, domain, score, value }));
        }
        if rest.len() == 1 { rest[0] } else { self.terms.nary(NaryOp::Add, rest) }
    }
}
