//! Prefixes that end some positions before their row become scans over what lies that far back.
//!
//! `sum[j where j <= i - k](B(j))` is `sum[j where j <= i](B(j - k))` with nothing before the first position: the
//! state that a row meets is the one that an earlier row left (RWKV-6, arXiv 2404.05892; a moving window as the
//! difference of two prefixes). Decays are read in [`crate::decay`].

use attnc_algebra::ReduceOp;

use crate::build::Tree;
use crate::decay::{Kinds, NO_TERM, NOT_SEGMENT, NOT_SUMMED, PrefixSum, ROW_REMAINS};
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const SUM: Kind = Kind::Reduce(ReduceOp::Sum);

const NOT_BEFORE: &str = "the restriction is not j <= i - k over axes of one extent";

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
        when: [NOT_BEFORE, ROW_REMAINS, NO_TERM],
        sound: "k positions back the distance is k less; g and B are free of i, g of j",
        stability: Reorders,
        class: Exact,
        source: "RWKV-5, arXiv 2404.05892",
        draw: [
            "sum[j where j < i]($p(h) ^ (i - 1 - j) * $r(j, e))",
            "sum[j where j < i]($p(h) ^ (i - j) * $r(j))",
            "sum[j where j < i]($p(h) ^ (i - j))",
            "sum[j where j <= i - 2](exp($r(j, e) + (j - i) * $p(h)))",
        ],
    },
    rule! {
        /// So does a product of gates over the positions from key to row.
        name: "earlier-segment-decay-is-scan",
        before: "sum[j where j < i](prod[t where j < t and t < i](g) * B)",
        after: "scan[j -> i](g[j - 1], if 1 <= j then B[j - 1] else 0)",
        search: [SUM],
        apply: earlier_segment_decay_is_scan,
        when: [NOT_BEFORE, ROW_REMAINS, NOT_SEGMENT, NO_TERM],
        sound: "the definition of scan with everything one position back; with t <= i the gate of the row itself is a factor",
        stability: Reorders,
        class: Exact,
        source: "RWKV-6, arXiv 2404.05892",
        draw: [
            "sum[j where j < i](prod[t where j < t and t < i]($p(t, d)) * $r(j, d) * $r(j))",
            "sum[j where j < i](prod[t where j < t and t <= i]($p(t)) * $r(j, d))",
            "sum[j where j < i](prod[t where j <= t and t < i]($p(t)) * $r(j, d))",
            "sum[j where j < i - 1](prod[t where j <= t and t <= i]($p(t)))",
        ],
    },
];

/// A sum over such a prefix.
fn earlier_prefix(site: &Site<'_>, node: &ENode, out: &mut Outcome) -> Option<PrefixSum> {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return None };
    if site.is_full(*domain) {
        return None;
    }
    let domain = site.domain(*domain);
    match domain.earlier_prefix(site.spec(), *axis) {
        Some((row, back)) => Some(PrefixSum { axis: *axis, row, body: *body, back, domain }),
        None => {
            out.decline(NOT_BEFORE);
            None
        }
    }
}

fn earlier_prefix_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some(sum) = earlier_prefix(site, node, out) else { return };
    for (product, factors) in site.factorings(sum.body) {
        match sum.further_back(site, &factors) {
            Ok(body) => {
                let from = Tree::matched_with(node, 0, product);
                out.union(from, Tree::scan(sum.axis, sum.row, Tree::Const(1.0), body));
            }
            Err(reason) => out.decline(reason),
        }
    }
}

fn earlier_power_decay_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    if let Some(sum) = earlier_prefix(site, node, out) {
        sum.scans(site, node, Kinds::Powers, out);
    }
}

fn earlier_segment_decay_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    if let Some(sum) = earlier_prefix(site, node, out) {
        sum.scans(site, node, Kinds::Segments, out);
    }
}
