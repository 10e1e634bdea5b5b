//! `clusters(c)`: a query sees the keys whose nearest centroid is its own.
//!
//! The centroids are computed from the keys by [`STEPS`] steps of k-means from
//! keys at equal distances. A centroid without keys stays where it was.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, AxisSet, BinaryOp, NaryOp, Node, ReduceOp, Spec, TermId, UnaryOp};

use super::ApproximateRule;
use super::softmax::{Keys, both, factors, product, rewrite_outputs};

/// Steps of k-means: after a few the partition changes little, and each costs as much as the assignment of keys.
const STEPS: usize = 2;

const NO_DOT_PRODUCT: &str = "the score holds no single dot product of a query's and a key's vector";

/// The record.
pub(super) const RULE: ApproximateRule = ApproximateRule {
    name: "clusters",
    strength: ("clusters of the keys", 1),
    default: 16,
    before: "softmax[j where m](s(sum[d](q * k)))",
    after: "softmax[j where m and nearest centroid of q == nearest centroid of k](s(sum[d](q * k)))",
    when: &[super::softmax::NO_SOFTMAX, NO_DOT_PRODUCT],
    error: "the total weight of keys in other clusters; 0 for one cluster",
    source: "Routing Transformer, arXiv 2003.05997 section 4; clustered attention, arXiv 2007.04825",
    apply,
};

fn apply(spec: &mut Spec, c: i64) -> Result<(), &'static str> {
    let extent = spec.terms.int(c);
    let cluster = spec.new_axis("c", extent);
    let mut made: BTreeMap<(AxisId, TermId), TermId> = BTreeMap::new();
    rewrite_outputs(spec, &mut |spec, term| {
        let Some(keys) = Keys::of(spec, term) else { return Ok(None) };
        let same = match made.get(&(keys.axis, keys.score)) {
            Some(same) => *same,
            None => {
                let same = same_cluster(spec, keys, cluster, c)?;
                made.insert((keys.axis, keys.score), same);
                same
            }
        };
        let domain = both(spec, keys.domain, same);
        Ok(Some(keys.over(spec, term, domain)))
    })
}

/// The dot product of a score.
struct Dot {
    axis: AxisId,
    query: TermId,
    key: TermId,
}

/// Where query and key have the same nearest centroid.
fn same_cluster(spec: &mut Spec, keys: Keys, cluster: AxisId, c: i64) -> Result<TermId, &'static str> {
    let dot = dot_product(spec, keys)?;
    let extent = spec.axis(keys.axis).extent;
    let terms = &mut spec.terms;
    let (at, count) = (terms.position(cluster), terms.int(c));
    let scaled = terms.nary(NaryOp::Mul, vec![at, extent]);
    let first = terms.binary(BinaryOp::FloorDiv, scaled, count);
    let mut centre = spec.substituted(dot.key, &BTreeMap::from([(keys.axis, first)]));
    for _ in 0..STEPS {
        centre = moved(spec, keys, &dot, centre, cluster);
    }
    let query = nearest(spec, dot.query, dot.axis, centre, cluster);
    let key = nearest(spec, dot.key, dot.axis, centre, cluster);
    Ok(spec.terms.binary(BinaryOp::Eq, query, key))
}

/// The only sum of products of a query's and a key's part in the score.
fn dot_product(spec: &mut Spec, keys: Keys) -> Result<Dot, &'static str> {
    let queries = keys.query_axes(spec);
    let mut found: Vec<(AxisId, Vec<TermId>, Vec<TermId>)> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut open = vec![keys.score];
    while let Some(term) = open.pop() {
        if !seen.insert(term) || !spec.terms.free(term).contains(keys.axis) {
            continue;
        }
        let node = spec.terms.node(term);
        open.extend(node.operands());
        let Node::Reduce { op: ReduceOp::Sum, axis, domain, body } = *node else { continue };
        let all = factors(spec, body);
        let by_key = |t: &TermId| spec.terms.free(*t).contains(keys.axis);
        let by_query = |t: &TermId| !spec.terms.free(*t).is_disjoint(&queries);
        if *spec.terms.node(domain) != Node::Bool(true) || all.iter().any(|t| by_key(t) && by_query(t)) {
            continue;
        }
        let (key, query): (Vec<TermId>, Vec<TermId>) = all.into_iter().partition(by_key);
        if query.iter().any(by_query) && !key.is_empty() {
            found.push((axis, query, key));
        }
    }
    match found.len() {
        1 => {
            let (axis, query, key) = found.remove(0);
            Ok(Dot { axis, query: product(spec, query), key: product(spec, key) })
        }
        _ => Err(NO_DOT_PRODUCT),
    }
}

/// The number of the centroid nearest to `vector`, of the lowest of several.
fn nearest(spec: &mut Spec, vector: TermId, along: AxisId, centre: TermId, cluster: AxisId) -> TermId {
    let terms = &mut spec.terms;
    let minus = terms.unary(UnaryOp::Neg, centre);
    let difference = terms.nary(NaryOp::Add, vec![vector, minus]);
    let square = terms.nary(NaryOp::Mul, vec![difference, difference]);
    let everywhere = terms.truth(true);
    let distance = terms.reduce(ReduceOp::Sum, along, everywhere, square);
    terms.reduce(ReduceOp::ArgMin, cluster, everywhere, distance)
}

/// The centroids after one step of k-means.
fn moved(spec: &mut Spec, keys: Keys, dot: &Dot, centre: TermId, cluster: AxisId) -> TermId {
    let mut taken: AxisSet = spec.terms.free(centre).union(spec.terms.free(dot.key));
    let other = spec.copy_of_axis(cluster, &taken);
    taken.insert(other);
    let key = spec.copy_of_axis(keys.axis, &taken);
    let (there, at) = (spec.terms.position(other), spec.terms.position(key));
    let centre_there = spec.substituted(centre, &BTreeMap::from([(cluster, there)]));
    let vector = spec.substituted(dot.key, &BTreeMap::from([(keys.axis, at)]));
    let own = nearest(spec, vector, dot.axis, centre_there, other);
    let terms = &mut spec.terms;
    let here = terms.position(cluster);
    let mine = terms.binary(BinaryOp::Eq, own, here);
    let sum = terms.reduce(ReduceOp::Sum, key, mine, vector);
    let one = terms.int(1);
    let count = terms.reduce(ReduceOp::Sum, key, mine, one);
    let zero = terms.int(0);
    let empty = terms.binary(BinaryOp::Eq, count, zero);
    let size = terms.nary(NaryOp::Max, vec![count, one]);
    let size = terms.unary(UnaryOp::ToReal, size);
    let mean = terms.binary(BinaryOp::Div, sum, size);
    terms.add(Node::Select(empty, centre, mean))
}
