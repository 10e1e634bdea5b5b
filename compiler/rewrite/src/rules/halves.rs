//! Sums that are scans in halves: a choice between both sides of the row, and a prefix beside what else is seen.
//!
//! Such a sum is no scan, but those over its parts are. Each rule splits only where a part is a prefix or a suffix and what
//! else joins row and summed axis could be scanned; must not look into the decays that the parts then have.

use attnc_algebra::{AxisId, NaryOp, Node, Real, ReduceOp, TermId};
use egg::Id;

use crate::build::Tree;
use crate::decay::ROW_REMAINS;
use crate::exponent::Between;
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

use super::suffix::is_scanned;

const NO_ORDER: &str = "no condition compares the summed axis with a row alone";
const MASKED: &str = "a side of the choice adds nothing";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// A choice between both sides of the row is two sums.
        name: "choice-splits-at-the-row",
        before: "sum[j]((if j <= i then A else B) * C)",
        after: "sum[j where j <= i](A * C) + sum[j where not j <= i](B * C)",
        search: [Kind::Reduce(ReduceOp::Sum)],
        apply: choice_splits,
        when: [NO_ORDER, MASKED, ROW_REMAINS],
        sound: "each position is in one of the two sums, and the branch not taken is not evaluated",
        stability: Reorders,
        class: Exact,
        source: "bidirectional retention",
        draw: [
            "sum[j]((if j <= i then 0.9 ^ (i - j) else 0.8 ^ (j - i)) * $r(j, e))",
            "sum[j]((if i < j then $r(j) else exp((j - i) * $p(h))) * $r(j, e))",
        ],
    },
    rule! {
        /// A prefix beside what else is seen is a sum of its own.
        name: "prefix-leaves-a-union",
        before: "sum[j where j <= i or p](B)",
        after: "sum[j where j <= i](B) + sum[j where p and not j <= i](B)",
        search: [Kind::Reduce(ReduceOp::Sum)],
        apply: prefix_leaves_union,
        when: [NO_ORDER, ROW_REMAINS],
        sound: "each position that the union holds is in one of the two sums",
        stability: Reorders,
        class: Exact,
        source: "prefix language models, arXiv 1905.03197, with linear attention",
        draw: [
            "sum[j where j <= i or j < 2]($r(j, e))",
            "sum[j where j mod 3 == 0 or j <= i](sum[d]($r(i, d) * $r(j, d)) * $r(j, e))",
            "sum[j where i <= j or j == 1](0.9 ^ abs(i - j) * $r(j))",
        ],
    },
];

/// The row with which a predicate compares the summed axis, if it holds for all that come before or after some position
/// beside the row.
fn ordered(site: &Site<'_>, predicate: TermId, axis: AxisId) -> Option<AxisId> {
    let (domain, spec) = (site.domain(predicate), site.spec());
    let row = domain.ends_at(spec, axis).or_else(|| domain.suffix(spec, axis))?.0;
    site.domain_axes(predicate).iter().all(|a| a == row || a == axis).then_some(row)
}

fn choice_splits(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return };
    if !site.is_full(*domain) {
        return;
    }
    for (product, factors) in site.factorings(*body) {
        for (at, factor) in factors.iter().enumerate() {
            for choice in site.nodes(*factor, Kind::Select) {
                let ENode::Select(condition, [then, other]) = choice else { continue };
                let Some(row) = ordered(site, *condition, *axis) else {
                    out.decline(NO_ORDER);
                    continue;
                };
                let is_zero = |id: &Id| site.facts(*id).constant.map(Real::get) == Some(0.0);
                if is_zero(then) || is_zero(other) {
                    out.decline(MASKED);
                    continue;
                }
                let held = site.domain(*condition);
                let within = Between { row, axis: *axis, domain: &held };
                let others = factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f);
                if !others.clone().all(|f| is_scanned(site, f, *axis, &within)) {
                    out.decline(ROW_REMAINS);
                    continue;
                }
                let half = |branch: Id, holds: bool| {
                    let product = Tree::product_of(others.clone().chain([branch]));
                    Tree::Restricted(vec![(*condition, holds)], Box::new(Tree::matched_with(node, 0, product)))
                };
                let from = match &product {
                    Tree::Node(product, _) => Tree::matched_with(product, at, Tree::matched(choice)),
                    _ => Tree::matched(choice),
                };
                let halves = vec![half(*then, true), half(*other, false)];
                out.union(Tree::matched_with(node, 0, from), Tree::Sum(halves));
            }
        }
    }
}

fn prefix_leaves_union(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return };
    let Node::Nary(NaryOp::Or, parts) = site.spec().terms.node(*domain) else { return };
    let [one, other] = parts[..] else { return };
    let found = [(one, other), (other, one)].into_iter().find_map(|(p, q)| Some((p, q, ordered(site, p, *axis)?)));
    let Some((ordered, rest, row)) = found else {
        out.decline(NO_ORDER);
        return;
    };
    let held = site.domain(ordered);
    let within = Between { row, axis: *axis, domain: &held };
    if !site.factorings(*body).iter().any(|(_, fs)| fs.iter().all(|f| is_scanned(site, *f, *axis, &within))) {
        out.decline(ROW_REMAINS);
        return;
    }
    let over = |domain: TermId, more: Vec<(TermId, bool)>| {
        let sum = Tree::reduce(ReduceOp::Sum, *axis, domain, Tree::Class(*body));
        Tree::Restricted(more, Box::new(sum))
    };
    let parts = vec![over(ordered, Vec::new()), over(rest, vec![(ordered, false)])];
    out.union(Tree::matched(node), Tree::Sum(parts));
}
