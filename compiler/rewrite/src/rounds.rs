//! A reduction over a union of rounds, each pair in the first round it is met in.
//!
//! Owns the right side of the rule that splits a union: rounds made disjoint
//! by leaving out what an earlier round has, and their results merged. The
//! rule is in `rules/bucket.rs`.

use attnc_algebra::{Axis, AxisId, BinaryOp, NaryOp, ReduceOp, TermId, UnaryOp};
use egg::Id;

use crate::build::rename;
use crate::convert;
use crate::facts::Graph;
use crate::language::ENode;

/// A matched reduction with the union in its restriction.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// The reduction.
    pub node: ENode,
    /// The axis of the rounds.
    pub round: AxisId,
    /// What holds together in a round.
    pub parts: Vec<TermId>,
    /// The other conjuncts of the restriction.
    pub rest: Vec<TermId>,
}

impl Rounds {
    /// Adds the merge of the rounds and returns its id.
    pub fn add(&self, graph: &mut Graph) -> Id {
        if let Some(known) = graph.analysis.rounds.get(&self.node) {
            return *known;
        }
        let domain = self.first_met(graph);
        let whole = graph.analysis.spec.terms.truth(true);
        let (domain, whole) = (convert::intern(graph, domain), convert::intern(graph, whole));
        let merged = match self.node.clone() {
            ENode::Attend(axis, _, parts) => {
                let lse = graph.add_uncanonical(ENode::Reduce(ReduceOp::LogSumExp, axis, domain, [parts[0]]));
                let part = graph.add_uncanonical(ENode::Attend(axis, domain, parts));
                ENode::Attend(self.round, whole, [lse, part])
            }
            ENode::Reduce(op, axis, _, body) => {
                let part = graph.add_uncanonical(ENode::Reduce(op, axis, domain, body));
                ENode::Reduce(op, self.round, whole, [part])
            }
            other => other,
        };
        let id = graph.add_uncanonical(merged);
        graph.analysis.rounds.insert(self.node.clone(), id);
        id
    }

    /// Where a pair is met in this round and in none before.
    fn first_met(&self, graph: &mut Graph) -> TermId {
        let before = earlier_round(graph, self.round);
        let met = graph.analysis.spec.terms.nary(NaryOp::And, self.parts.clone());
        let met = rename(graph, met, self.round, before);
        let terms = &mut graph.analysis.spec.terms;
        let (here, there) = (terms.position(self.round), terms.position(before));
        let precedes = terms.binary(BinaryOp::Lt, there, here);
        let known = terms.reduce(ReduceOp::Any, before, precedes, met);
        let new = terms.unary(UnaryOp::Not, known);
        terms.nary(NaryOp::And, self.parts.iter().chain(&self.rest).copied().chain([new]).collect())
    }
}

/// A copy of the axis of the rounds, the same for every reduction.
fn earlier_round(graph: &mut Graph, round: AxisId) -> AxisId {
    if let Some(known) = graph.analysis.copies.get(&round) {
        return *known;
    }
    let spec = &mut graph.analysis.spec;
    let origin = spec.axis(round).clone();
    let mut name = format!("{}'", origin.name);
    while spec.axes.iter().any(|a| a.name == name) {
        name.push('\'');
    }
    spec.axes.push(Axis { name, extent: origin.extent });
    let copy = AxisId(spec.axes.len() as u32 - 1);
    graph.analysis.copies.insert(round, copy);
    copy
}
