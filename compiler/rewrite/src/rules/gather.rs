//! Reads at computed places leave sums.
//!
//! Relative keys are the case in point: a score with a table's row for each
//! distance is a product with the whole table, once for each query, and a read
//! for each pair. Any table with few rows will do, wherever the place is from.

use attnc_algebra::{AxisId, AxisSet, Node, ReduceOp, TermId};
use egg::Id;

use super::bucket::is_long;
use crate::build::Tree;
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const NOTHING_SAVED: &str = "the other factors vary with the place that is read";
const BOUND: &str = "the table's axis is in use where it is read";
const LONG: &str = "the table grows with the sequence: its sums would be as many as the pairs";

pub(super) static RULES: &[Rule] = &[rule! {
    /// A sum of products with a table's row at a computed place is read from the sums for all rows.
    name: "read-leaves-sum",
    before: "sum[d](A * x[p, d])",
    after: "at[y = p](sum[d](A * x[y, d]))",
    search: [Kind::Reduce(ReduceOp::Sum)],
    apply: read_leaves_sum,
    when: [NOTHING_SAVED, BOUND, LONG],
    sound: "the sum for row y, read at y = p, is the sum for row p: the same additions",
    stability: Reorders,
    class: Exact,
    source: "relative position keys, arXiv 1803.02155 section 3.3",
    draw: [
        "sum[d]($r(i, d) * $p(y, d)[max(-1, min(1, i - j)) + 1, d])",
        "sum[d]($r(i, d) * $p(h, y, d)[h, (i + j) mod 3, d] * $r(h, d))",
        "sum[d where d < 2]($r(d) * $p(y, d)[(i * j) mod 3, d])",
    ],
}];

fn read_leaves_sum(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return };
    for (product, factors) in site.factorings(*body) {
        for (at, factor) in factors.iter().enumerate() {
            let Some(read) = site.closed(*factor) else { continue };
            let others: Vec<Id> = factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f).collect();
            let Some((row, place)) = place_of(site, *axis, read, &others, out) else { continue };
            if site.domain_axes(*domain).contains(row) {
                out.decline(BOUND);
                continue;
            }
            let mut summand: Vec<Tree> = others.into_iter().map(Tree::Class).collect();
            summand.push(Tree::Read(read, row));
            let sums = Tree::reduce(ReduceOp::Sum, *axis, *domain, Tree::Product(summand));
            let from = Tree::matched_with(node, 0, product.clone());
            out.union(from, Tree::Node(ENode::At(row, place, [Id::from(0)]), vec![sums]));
        }
    }
}

/// The axis of the input that `read` is of along which its place is computed from axes that the other factors do not
/// have, with that place.
fn place_of(site: &Site<'_>, axis: AxisId, read: TermId, others: &[Id], out: &mut Outcome) -> Option<(AxisId, TermId)> {
    let spec = site.spec();
    let Node::Input { input, index } = spec.terms.node(read) else { return None };
    if !spec.terms.free(read).contains(axis) {
        return None;
    }
    let computed = |place: &TermId| !matches!(spec.terms.node(*place), Node::Position(_));
    let mut places = index.iter().enumerate().filter(|(_, place)| computed(place));
    // A second computed place would have to be read from the first one's sums.
    let (Some((dim, place)), None) = (places.next(), places.next()) else { return None };
    let row = spec.input(*input).axes[dim];
    let reached = spec.terms.free(*place);
    if reached.is_empty() || reached.contains(axis) {
        return None;
    }
    let elsewhere = others.iter().map(|f| site.free(*f).clone());
    let along = index.iter().enumerate().filter(|(n, _)| *n != dim).map(|(_, t)| spec.terms.free(*t).clone());
    let kept = elsewhere.chain(along).fold(AxisSet::default(), |all, free| all.union(&free));
    let reason = if reached.iter().all(|a| kept.contains(a)) {
        NOTHING_SAVED
    } else if kept.contains(row) || reached.contains(row) {
        BOUND
    } else if is_long(spec, row, axis) {
        LONG
    } else {
        return Some((row, *place));
    };
    out.decline(reason);
    None
}
