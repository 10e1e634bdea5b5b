//! Prefixes: causal sums become scans, with their decay in segment form.
//!
//! A scan is `sum[j where j <= i](body(j) * prod[t where j < t and t <= i](decay(t)))`;
//! decay is never written as a quotient of powers. Its naive, chunked and
//! recurrent forms are equal, and the planner's choice.

use attnc_algebra::{NaryOp, Node, ReduceOp, TermId};

use crate::build::Tree;
use crate::decay::{Kinds, NO_TERM, NOT_SEGMENT, PrefixSum, ROW_REMAINS};
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const SUM: Kind = Kind::Reduce(ReduceOp::Sum);

const NOT_PREFIX: &str = "the restriction is not j <= i over axes of one extent";
const CONDITION_ON_ROW: &str = "a further condition mentions the row";
const CONDITION_WIDENS: &str = "a further condition brings in an axis that the summand does not have";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// A sum over a prefix is a scan.
        name: "prefix-sum-is-scan",
        before: "sum[j where j <= i](B)",
        after: "scan[j -> i](1, B)",
        search: [SUM],
        apply: prefix_sum_is_scan,
        when: [NOT_PREFIX, ROW_REMAINS],
        sound: "the definition of scan with decay 1; B is free of i",
        stability: Reorders,
        class: Exact,
        source: "causal linear attention, arXiv 2006.16236 section 3.3",
        draw: ["sum[j where j <= i]($r(j, e))", "sum[j where not (i < j)]($r(j, e) * $r(j))"],
    },
    rule! {
        /// A further condition on the summed axis becomes a guard of the summand.
        name: "key-condition-enters-prefix",
        before: "sum[j where j <= i - k and p](B)",
        after: "sum[j where j <= i - k](if p then B else 0)",
        search: [SUM],
        apply: key_condition_enters,
        when: [CONDITION_ON_ROW, CONDITION_WIDENS],
        sound: "a summand of 0 adds nothing; p is free of i, and the guard is not evaluated where it fails",
        stability: Same,
        class: Exact,
        source: "causal linear attention, arXiv 2006.16236 section 3.3",
        draw: [
            "sum[j where j <= i and j mod 2 == 0]($r(j, e))",
            "sum[j where $m(j) and $m(j) and j <= i]($r(j, e))",
            "sum[j where $m(j) and j < i]($r(j, e))",
        ],
    },
    rule! {
        /// Powers whose exponents are multiples of the distance are a decay that is the same for each position.
        name: "power-decay-is-scan",
        before: "sum[j where j <= i](g ^ (c * (i - j) + a) * B)",
        after: "scan[j -> i](g ^ c, g ^ a * B)",
        search: [SUM],
        apply: power_decay_is_scan,
        when: [NOT_PREFIX, ROW_REMAINS],
        sound: "a product of i - j equal factors; g, c, a and B are free of i, g and c of j; exp(a) is a summand's own, at i = j",
        stability: Reorders,
        class: Exact,
        source: "retention, arXiv 2307.08621 section 2.1",
        draw: [
            "sum[j where j <= i]($p(h) ^ (i - j) * $r(j, e))",
            "sum[j where j <= i]($p(h) ^ ((j - i) / 8) * $r(j, e))",
            "sum[j where j <= i](exp(-(i - j) * $r(h)) * $r(j, e))",
            "sum[j where j <= i](exp($r(j, e) - abs(i - j) * $r(h) / 3 + 1))",
            "sum[j where j <= i]($r(j, e) / $p(h) ^ (2 * (i - j) + 1) / exp((i - j) / 9))",
            "sum[j where j <= i](exp($s(h) * j - abs(i - j) - $s(h) * (j + 2)) * $r(j))",
        ],
    },
    rule! {
        /// A product of gates over the segment between both positions is a varying decay.
        ///
        /// A segment with other ends has gates of its ends beside, or is read one position back; the difference of two
        /// running sums in an exponent is a segment's sum.
        name: "segment-decay-is-scan",
        before: "sum[j where j <= i](prod[t where j + a <= t and t <= i + b](g) * B)",
        after: "scan[j -> i](g[j + b], prod[a <= t and t <= b](g[j + t]) * B)",
        search: [SUM],
        apply: segment_decay_is_scan,
        when: [NOT_PREFIX, ROW_REMAINS, NOT_SEGMENT, NO_TERM],
        sound: "the definition of scan; g is read at j in place of t, and a and b are 1 or 0, and 0 or -1",
        stability: Reorders,
        class: Exact,
        source: "gated linear attention, arXiv 2312.06635; SSD, arXiv 2405.21060",
        draw: [
            "sum[j where j <= i](prod[t where j < t and t <= i]($p(t, d)) * $r(j, d) * $r(j))",
            "sum[j where j <= i](prod[t where j <= t and t <= i]($r(t, d)) * $r(j, d))",
            "sum[j where j <= i](prod[t where j <= t and t < i]($r(t)) * $r(j, d) * 0.9 ^ (i - j))",
            "sum[j where j <= i](exp(sum[t where t <= i]($s(t)) - sum[t where t <= j]($s(t))) * $r(j))",
            "sum[j where j <= i](exp(sum[t where t < j]($s(t)) - sum[t where t < i]($s(t))) * $r(j))",
        ],
    },
];

/// A sum over exactly a prefix.
fn prefix_sum(site: &Site<'_>, node: &ENode, out: &mut Outcome) -> Option<PrefixSum> {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return None };
    if site.is_full(*domain) {
        return None;
    }
    let domain = site.domain(*domain);
    match domain.prefix(site.spec(), *axis) {
        Some((row, rest)) if rest.is_empty() => Some(PrefixSum { axis: *axis, row, body: *body, back: 0, domain }),
        _ => {
            out.decline(NOT_PREFIX);
            None
        }
    }
}

fn prefix_sum_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some(PrefixSum { axis, row, body, .. }) = prefix_sum(site, node, out) else { return };
    if site.varies(body, row) || !site.varies(body, axis) {
        out.decline(ROW_REMAINS);
        return;
    }
    out.union(Tree::matched(node), Tree::scan(axis, row, Tree::Const(1.0), Tree::Class(body)));
}

fn key_condition_enters(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return };
    let Node::Nary(NaryOp::And, parts) = site.spec().terms.node(*domain) else { return };
    let prefix_row = |part: &TermId| {
        let (row, off) = site.domain(*part).ends_at(site.spec(), *axis)?;
        (off <= 0).then_some(row)
    };
    let Some((prefix, row)) = parts.iter().find_map(|p| Some((*p, prefix_row(p)?))) else { return };
    let rest: Vec<TermId> = parts.iter().copied().filter(|p| *p != prefix).collect();
    if rest.iter().any(|p| site.domain_axes(*p).contains(row)) {
        out.decline(CONDITION_ON_ROW);
        return;
    }
    // A guard over new axes would make the running sum a family of sums.
    if rest.iter().any(|p| !site.domain_axes(*p).without(*axis).is_subset(site.free(*body))) {
        out.decline(CONDITION_WIDENS);
        return;
    }
    let guarded = Tree::Guarded(rest, Box::new(Tree::Class(*body)), 0.0);
    out.union(Tree::matched(node), Tree::reduce(ReduceOp::Sum, *axis, prefix, guarded));
}

fn power_decay_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    if let Some(sum) = prefix_sum(site, node, out) {
        sum.scans(site, node, Kinds::Powers, out);
    }
}

fn segment_decay_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    if let Some(sum) = prefix_sum(site, node, out) {
        sum.scans(site, node, Kinds::Segments, out);
    }
}
