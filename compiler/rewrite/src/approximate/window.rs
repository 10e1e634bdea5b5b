//! `window(w)`: only keys at most w positions away.

use attnc_algebra::{BinaryOp, NaryOp, Spec, TermId, UnaryOp};

use super::ApproximateRule;
use super::softmax::{Keys, both, is_length, rewrite_outputs};

const NO_QUERY_AXIS: &str = "queries and keys do not share one length, so their distance has no meaning";

/// The record.
pub(super) const RULE: ApproximateRule = ApproximateRule {
    name: "window",
    strength: ("keys seen on each side", 0),
    default: 256,
    before: "softmax[j where m](s)",
    after: "softmax[j where m and abs(i - j) <= w](s)",
    when: &[super::softmax::NO_SOFTMAX, NO_QUERY_AXIS],
    error: "the total weight of the keys left out; 0 for w at least the length",
    source: "Longformer, arXiv 2004.05150 section 3.1",
    apply,
};

fn apply(spec: &mut Spec, w: i64) -> Result<(), &'static str> {
    rewrite_outputs(spec, &mut |spec, term| {
        let Some(keys) = Keys::of(spec, term) else { return Ok(None) };
        let domain = near(spec, keys, w)?;
        Ok(Some(keys.over(spec, term, domain)))
    })
}

/// The domain within the window.
fn near(spec: &mut Spec, keys: Keys, w: i64) -> Result<TermId, &'static str> {
    let extent = spec.axis(keys.axis).extent;
    let free = spec.terms.free(keys.score).union(spec.terms.free(keys.domain)).without(keys.axis);
    let mut rows = free.iter().filter(|a| spec.axis(*a).extent == extent && is_length(spec, *a));
    let (Some(row), None) = (rows.next(), rows.next()) else { return Err(NO_QUERY_AXIS) };
    let terms = &mut spec.terms;
    let (i, j) = (terms.position(row), terms.position(keys.axis));
    let minus = terms.unary(UnaryOp::Neg, j);
    let distance = terms.nary(NaryOp::Add, vec![i, minus]);
    let distance = terms.unary(UnaryOp::Abs, distance);
    let w = terms.int(w);
    let near = terms.binary(BinaryOp::Le, distance, w);
    Ok(both(spec, keys.domain, near))
}
