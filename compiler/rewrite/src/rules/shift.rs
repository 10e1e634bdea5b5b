//! Prefixes that end some positions before their row become scans over what lies that far back.
//!
//! `sum[j where j <= i - k](B(j))` is `sum[j where j <= i](B(j - k))` with nothing before the first position: the
//! state that a row meets is the one that an earlier row left (RWKV-6, arXiv 2404.05892; a moving window as the
//! difference of two prefixes). Decays are scans as in [`super::prefix`], whose parts this uses.

use attnc_algebra::{AxisId, BinaryOp, ReduceOp};
use egg::{Id, Language};

use super::prefix::{distance, is_readable_at, others, with_factor};
use crate::build::Tree;
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const SUM: Kind = Kind::Reduce(ReduceOp::Sum);

const NOT_BEFORE: &str = "the restriction is not j <= i - k over axes of one extent";
const ROW_REMAINS: &str = "a summand's factor joins the row and the summed axis";
const NOT_SUMMED: &str = "no factor varies along the summed axis";
const NOT_SEGMENT: &str = "the decay does not run from j to the row";
const NO_TERM: &str = "a factor cannot be read further back";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// A sum over a prefix that ends k positions before the row is a scan.
        name: "earlier-prefix-is-scan",
        before: "sum[j where j <= i - k](B)",
        after: "scan[j -> i](1, if k <= j then B[j - k] else 0)",
        search: [SUM],
        apply: earlier_prefix_is_scan,
        when: [NOT_BEFORE, ROW_REMAINS, NOT_SUMMED, NO_TERM],
        sound: "the summand k positions back, and 0 where there is none; B is free of i",
        stability: Reorders,
        class: Exact,
        source: "RWKV-6, arXiv 2404.05892; windows as differences of prefixes",
        draw: ["sum[j where j < i]($r(j, e))", "sum[j where j <= i - 2]($r(j, e) * exp($r(j)))"],
    },
    rule! {
        /// A power of the distance decays such a prefix.
        name: "earlier-power-decay-is-scan",
        before: "sum[j where j <= i - k](g ^ (i - j - c) * B)",
        after: "g ^ (k - c) * scan[j -> i](g, if k <= j then B[j - k] else 0)",
        search: [SUM],
        apply: earlier_power_decay_is_scan,
        when: [NOT_BEFORE, ROW_REMAINS, NOT_SUMMED, NO_TERM],
        sound: "k positions back the distance is k less; g and B are free of i, g of j",
        stability: Reorders,
        class: Exact,
        source: "RWKV-5, arXiv 2404.05892",
        draw: ["sum[j where j < i]($p(h) ^ (i - 1 - j) * $r(j, e))", "sum[j where j < i]($p(h) ^ (i - j) * $r(j))"],
    },
    rule! {
        /// So does a product of gates over the positions from key to row.
        name: "earlier-segment-decay-is-scan",
        before: "sum[j where j < i](prod[t where j < t and t < i](g) * B)",
        after: "scan[j -> i](g[j - 1], if 1 <= j then B[j - 1] else 0)",
        search: [SUM],
        apply: earlier_segment_decay_is_scan,
        when: [NOT_BEFORE, ROW_REMAINS, NOT_SUMMED, NOT_SEGMENT, NO_TERM],
        sound: "the definition of scan with everything one position back; with t <= i the gate of the row itself is a factor",
        stability: Reorders,
        class: Exact,
        source: "RWKV-6, arXiv 2404.05892",
        draw: [
            "sum[j where j < i](prod[t where j < t and t < i]($p(t, d)) * $r(j, d) * $r(j))",
            "sum[j where j < i](prod[t where j < t and t <= i]($p(t)) * $r(j, d))",
        ],
    },
];

/// A sum over such a prefix.
struct Earlier {
    axis: AxisId,
    row: AxisId,
    body: Id,
    /// Positions between the last summand and the row, at least 1.
    back: i64,
}

fn earlier_prefix(site: &Site<'_>, node: &ENode, out: &mut Outcome) -> Option<Earlier> {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return None };
    if site.is_full(*domain) {
        return None;
    }
    match site.domain(*domain).earlier_prefix(site.spec(), *axis) {
        Some((row, back)) => Some(Earlier { axis: *axis, row, body: *body, back }),
        None => {
            out.decline(NOT_BEFORE);
            None
        }
    }
}

/// The factors `back` positions before the summed axis, nothing before its first; `None` if one has no such form.
fn further_back(site: &Site<'_>, factors: &[Id], sum: &Earlier, out: &mut Outcome) -> Option<Tree> {
    let reason = if factors.iter().any(|f| site.varies(*f, sum.row)) {
        ROW_REMAINS
    } else if factors.iter().any(|f| !is_readable_at(site, *f, sum.axis)) {
        NO_TERM
    } else if !factors.iter().any(|f| site.varies(*f, sum.axis)) {
        NOT_SUMMED
    } else {
        let shifted = |f: &Id| match site.varies(*f, sum.axis) {
            true => Tree::Shifted(*f, sum.axis, sum.axis, sum.back),
            false => Tree::Class(*f),
        };
        return Some(Tree::Product(factors.iter().map(shifted).collect()));
    };
    out.decline(reason);
    None
}

fn earlier_prefix_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some(sum) = earlier_prefix(site, node, out) else { return };
    for (product, factors) in site.factorings(sum.body) {
        let Some(body) = further_back(site, &factors, &sum, out) else { continue };
        let from = Tree::matched_with(node, 0, product.clone());
        out.union(from, Tree::scan(sum.axis, sum.row, Tree::Const(1.0), body));
    }
}

fn earlier_power_decay_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some(sum) = earlier_prefix(site, node, out) else { return };
    for (from, factors) in site.factorings(sum.body) {
        for (at, factor) in factors.iter().enumerate() {
            for power in site.nodes(*factor, Kind::Binary(BinaryOp::Pow)) {
                let [base, exponent] = power.children() else { continue };
                let Some(beyond) = distance(site, *exponent, sum.row, sum.axis) else { continue };
                if site.varies(*base, sum.axis) || site.varies(*base, sum.row) {
                    continue;
                }
                let Some(body) = further_back(site, &others(&factors, at), &sum, out) else { continue };
                let scan = Tree::scan(sum.axis, sum.row, Tree::Class(*base), body);
                let to = match sum.back + beyond {
                    0 => scan,
                    rest => {
                        let power = ENode::Binary(BinaryOp::Pow, [Id::from(0); 2]);
                        let power = Tree::Node(power, vec![Tree::Class(*base), Tree::Const(rest as f64)]);
                        Tree::Product(vec![power, scan])
                    }
                };
                out.union(Tree::Node(node.clone(), vec![with_factor(&from, at, Tree::matched(power))]), to);
            }
        }
    }
}

fn earlier_segment_decay_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some(sum) = earlier_prefix(site, node, out).filter(|sum| sum.back == 1) else { return };
    for (from, factors) in site.factorings(sum.body) {
        for (at, factor) in factors.iter().enumerate() {
            for (product, t, domain, gate) in site.reductions(*factor, ReduceOp::Prod) {
                if site.varies(gate, sum.row) || site.varies(gate, sum.axis) {
                    out.decline(ROW_REMAINS);
                    continue;
                }
                let segment = site.domain(domain).segment_until(site.spec(), t);
                let Some((start, end, until)) = segment else { continue };
                if (start, end) != (sum.axis, sum.row) || !(-1..=0).contains(&until) {
                    out.decline(NOT_SEGMENT);
                    continue;
                }
                if !is_readable_at(site, gate, sum.axis) || !is_readable_at(site, gate, t) {
                    out.decline(NO_TERM);
                    continue;
                }
                let Some(mut body) = further_back(site, &others(&factors, at), &sum, out) else { continue };
                let here = Tree::Renamed(gate, t, sum.axis);
                let decay = if until == 0 {
                    body = Tree::Product(vec![here.clone(), body]);
                    here
                } else {
                    Tree::Shifted(gate, t, sum.axis, 1)
                };
                let from = Tree::Node(node.clone(), vec![with_factor(&from, at, Tree::matched(product))]);
                out.union(from, Tree::scan(sum.axis, sum.row, decay, body));
            }
        }
    }
}
