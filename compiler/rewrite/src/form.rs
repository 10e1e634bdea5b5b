//! Forms: how the work of a term grows with the length.
//!
//! Owns the classification that plan tables report. It reads the extracted
//! term only.

use std::collections::BTreeSet;

use attnc_algebra::{AxisId, AxisSet, Extents, Node, ReduceOp, Spec, TermId, TermSet};

use crate::candidate::length_axes;
use crate::density::visited;
use crate::domain::Domain;
use crate::facts::any_sub_term;

/// How the work of a term grows with the length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Form {
    /// All pairs of positions, or all pairs of a prefix.
    Quadratic,
    /// A small share of the pairs.
    Sparse,
    /// Sums over positions without pairs.
    Linear,
    /// Keys are summarised to an axis that does not grow.
    LowRank,
    /// Positions are sorted by a key and meet inside runs.
    Bucket,
    /// Several of these.
    Mixed,
}

impl Form {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quadratic => "quadratic",
            Self::Sparse => "sparse",
            Self::Linear => "linear",
            Self::LowRank => "lowrank",
            Self::Bucket => "bucket",
            Self::Mixed => "mixed",
        }
    }
}

/// Share of visited pairs below which a restricted form counts as sparse.
const SPARSE: f64 = 0.4;

/// The form of a spec's outputs.
pub fn classify(spec: &Spec, extents: &Extents) -> Form {
    let lengths = length_axes(spec, extents);
    let mut forms = BTreeSet::new();
    let mut seen = TermSet::new();
    let mut todo: Vec<TermId> = spec.outputs.iter().map(|o| o.term).collect();
    while let Some(term) = todo.pop() {
        if !seen.insert(term) {
            continue;
        }
        let node = spec.terms.node(term);
        todo.extend(node.operands());
        forms.extend(form_of(spec, extents, &lengths, node));
    }
    match forms.iter().copied().collect::<Vec<Form>>().as_slice() {
        [] => Form::Linear,
        [one] => *one,
        [Form::Quadratic, Form::Sparse] => Form::Quadratic,
        // Low-rank summaries are made by linear sums.
        [Form::Linear, Form::LowRank] => Form::LowRank,
        _ => Form::Mixed,
    }
}

/// What one node contributes, if it reduces over positions.
fn form_of(spec: &Spec, extents: &Extents, lengths: &AxisSet, node: &Node) -> Option<Form> {
    let terms = &spec.terms;
    let (axis, domain, operands): (AxisId, TermId, Vec<TermId>) = match node {
        Node::Scan { .. } => return Some(Form::Linear),
        Node::Reduce { op: ReduceOp::Sum | ReduceOp::LogSumExp, axis, domain, body } => (*axis, *domain, vec![*body]),
        Node::Attend { axis, domain, score, value } => (*axis, *domain, vec![*score, *value]),
        Node::Softmax { axis, domain, body } => (*axis, *domain, vec![*body]),
        _ => return None,
    };
    let mut axes = terms.free(domain).clone();
    operands.iter().for_each(|t| axes = axes.union(terms.free(*t)));
    let rows = axes.without(axis).intersection(lengths);
    if !lengths.contains(axis) {
        // Scores over a short axis that were themselves summed over positions: keys were summarised.
        let summarised =
            |t: TermId| any_sub_term(terms, t, |n| matches!(n, Node::Reduce { axis, .. } if lengths.contains(*axis)));
        let attends = matches!(node, Node::Attend { .. }) && !rows.is_empty();
        return (attends && operands.first().is_some_and(|score| summarised(*score))).then_some(Form::LowRank);
    }
    if rows.is_empty() {
        let contracts = matches!(node, Node::Reduce { op: ReduceOp::Sum, .. } | Node::Attend { .. });
        return contracts.then_some(Form::Linear);
    }
    if any_sub_term(terms, domain, |n| matches!(n, Node::Order { axis: along, .. } if *along == axis)) {
        return Some(Form::Bucket);
    }
    let sparse = Domain::of(spec, domain) != Domain::Full && visited(spec, extents, domain, axis) < SPARSE;
    Some(if sparse { Form::Sparse } else { Form::Quadratic })
}
