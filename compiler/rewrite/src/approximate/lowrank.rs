//! `lowrank(r)`: keys and values of r segments are replaced by their means.
//!
//! Exact where the scores of a segment are equal. A mean stands for `count`
//! keys, so its score gets the logarithm of that.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, AxisSet, BinaryOp, NaryOp, Node, ReduceOp, Spec, TermId, Type, UnaryOp};

use super::ApproximateRule;
use super::softmax::{Keys, both, factors, product, rewrite_outputs};

const MASKED: &str = "the mask depends on the key's position, which a summary of several keys does not have";
const POSITION: &str = "the score depends on the key's position other than through a real vector of the key";
const TIED: &str = "no part of the score belongs to the keys alone";
const NOT_A_FACTOR: &str = "the weights are no factor of a sum over the keys";

/// The record.
pub(super) const RULE: ApproximateRule = ApproximateRule {
    name: "lowrank",
    strength: ("summaries of the keys", 1),
    default: 64,
    before: "sum[j](softmax[j](s(k)) * v)",
    after: "sum[u](softmax[u](s(mean of k in segment u) + log(count)) * mean of v in segment u)",
    when: &[super::softmax::NO_SOFTMAX, MASKED, POSITION, TIED, NOT_A_FACTOR],
    error: "the spread of scores and values inside segments; 0 for r at least the length",
    source: "segment means as in Nystromformer, arXiv 2102.03902 section 3.2; low-rank keys as in Linformer, arXiv 2006.04768",
    apply,
};

fn apply(spec: &mut Spec, r: i64) -> Result<(), &'static str> {
    let extent = spec.terms.int(r);
    let segment = spec.new_axis("u", extent);
    rewrite_outputs(spec, &mut |spec, term| match spec.terms.node(term).clone() {
        Node::Reduce { op: ReduceOp::Sum, axis, domain, body } => weighted_sum(spec, axis, domain, body, segment, r),
        Node::Reduce { op: ReduceOp::LogSumExp, .. } => {
            let Some(keys) = Keys::of(spec, term) else { return Ok(None) };
            let summary = Summary::new(spec, keys, segment, r)?;
            let (domain, body) = (summary.domain, summary.score);
            Ok(Some(spec.terms.reduce(ReduceOp::LogSumExp, segment, domain, body)))
        }
        Node::Softmax { .. } if Keys::of(spec, term).is_some() => Err(NOT_A_FACTOR),
        _ => Ok(None),
    })
}

/// `sum[axis](softmax[axis](score) * value)` over segments.
fn weighted_sum(
    spec: &mut Spec,
    axis: AxisId,
    domain: TermId,
    body: TermId,
    segment: AxisId,
    r: i64,
) -> Result<Option<TermId>, &'static str> {
    let all = factors(spec, body);
    let is_weight = |t: &TermId| Keys::of(spec, *t).is_some_and(|keys| keys.axis == axis);
    let weights: Vec<TermId> = all.iter().copied().filter(is_weight).collect();
    let [weight] = weights[..] else { return Ok(None) };
    let Some(keys) = Keys::of(spec, weight).filter(|_| matches!(spec.terms.node(weight), Node::Softmax { .. })) else {
        return Ok(None);
    };
    if domain != keys.domain && *spec.terms.node(domain) != Node::Bool(true) {
        return Err(MASKED);
    }
    let summary = Summary::new(spec, keys, segment, r)?;
    let (by_key, others): (Vec<TermId>, Vec<TermId>) =
        all.into_iter().filter(|t| *t != weight).partition(|t| spec.terms.free(*t).contains(axis));
    let weight = spec.terms.add(Node::Softmax { axis: segment, domain: summary.domain, body: summary.score });
    let mut all = others;
    all.push(weight);
    if !by_key.is_empty() {
        let value = product(spec, by_key);
        all.push(summary.mean(spec, value));
    }
    let body = product(spec, all);
    let everywhere = spec.terms.truth(true);
    Ok(Some(spec.terms.reduce(ReduceOp::Sum, segment, everywhere, body)))
}

/// The summaries of one softmax.
struct Summary {
    keys: Keys,
    segment: AxisId,
    /// Keys of a segment.
    length: TermId,
    /// Reals from 1: how many keys the segment has.
    count: TermId,
    domain: TermId,
    score: TermId,
}

impl Summary {
    fn new(spec: &mut Spec, keys: Keys, segment: AxisId, r: i64) -> Result<Self, &'static str> {
        if spec.terms.free(keys.domain).contains(keys.axis) {
            return Err(MASKED);
        }
        let queries = keys.query_axes(spec);
        if queries.is_empty() {
            return Err(TIED);
        }
        let extent = spec.axis(keys.axis).extent;
        let terms = &mut spec.terms;
        let (one, least, divisor) = (terms.int(1), terms.int(r - 1), terms.int(r));
        let padded = terms.nary(NaryOp::Add, vec![extent, least]);
        let length = terms.binary(BinaryOp::FloorDiv, padded, divisor);
        let u = terms.position(segment);
        let start = terms.nary(NaryOp::Mul, vec![u, length]);
        let present = terms.binary(BinaryOp::Lt, start, extent);
        let minus = terms.unary(UnaryOp::Neg, start);
        let left = terms.nary(NaryOp::Add, vec![extent, minus]);
        let count = terms.nary(NaryOp::Min, vec![length, left]);
        let count = terms.nary(NaryOp::Max, vec![count, one]);
        let count = terms.unary(UnaryOp::ToReal, count);
        let domain = both(spec, keys.domain, present);
        let mut summary = Self { keys, segment, length, count, domain, score: keys.score };
        let score = summary.over_means(spec, keys.score, &queries, &mut BTreeMap::new())?;
        let weight = spec.terms.unary(UnaryOp::Log, count);
        summary.score = spec.terms.nary(NaryOp::Add, vec![score, weight]);
        Ok(summary)
    }

    /// The mean of a term over the keys of the segment.
    fn mean(&self, spec: &mut Spec, term: TermId) -> TermId {
        let mut taken: AxisSet = spec.terms.free(term).clone();
        taken.insert(self.segment);
        let key = spec.copy_of_axis(self.keys.axis, &taken);
        let at = spec.terms.position(key);
        let body = spec.substituted(term, &BTreeMap::from([(self.keys.axis, at)]));
        let terms = &mut spec.terms;
        let (number, u) = (terms.binary(BinaryOp::FloorDiv, at, self.length), terms.position(self.segment));
        let inside = terms.binary(BinaryOp::Eq, number, u);
        let sum = terms.reduce(ReduceOp::Sum, key, inside, body);
        terms.binary(BinaryOp::Div, sum, self.count)
    }

    /// The score with its largest parts that belong to the keys alone replaced by their means.
    fn over_means(
        &self,
        spec: &mut Spec,
        term: TermId,
        queries: &AxisSet,
        done: &mut BTreeMap<TermId, TermId>,
    ) -> Result<TermId, &'static str> {
        if !spec.terms.free(term).contains(self.keys.axis) {
            return Ok(term);
        }
        if let Some(known) = done.get(&term) {
            return Ok(*known);
        }
        let new = if spec.terms.free(term).is_disjoint(queries) {
            if spec.terms.ty(term) != Type::Real {
                return Err(POSITION);
            }
            self.mean(spec, term)
        } else {
            let node = spec.terms.node(term).clone();
            let mut failed = None;
            let node = node.map_operands(|t| {
                self.over_means(spec, t, queries, done).unwrap_or_else(|reason| {
                    failed = Some(reason);
                    t
                })
            });
            if let Some(reason) = failed {
                return Err(reason);
            }
            spec.terms.add(node)
        };
        done.insert(term, new);
        Ok(new)
    }
}
