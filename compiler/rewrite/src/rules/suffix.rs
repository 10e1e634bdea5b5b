//! Suffixes: anti-causal sums are prefixes counted from the ends of both axes.
//!
//! `sum[j where i <= j](B)` is `sum[j where j <= i](B)` with every position of either axis taken from its end, read at
//! the row's place from the end. Where the summand then decays or separates, that is a scan. A decay by `abs(i - j)`
//! over all positions is a prefix and a suffix. Must not look into decays; they are read in [`crate::decay`].

use attnc_algebra::{AxisId, ReduceOp};
use egg::Id;

use crate::build::Tree;
use crate::decay::{NO_TERM, ROW_REMAINS, is_readable_at};
use crate::domain::Domain;
use crate::exponent::{Between, Power};
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const NOT_SUFFIX: &str = "the restriction is not i + k <= j over axes of one extent";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// A sum over a suffix is one over a prefix, counted from the end.
        name: "suffix-is-prefix-from-the-end",
        before: "sum[j where i + k <= j](B)",
        after: "sum[j where j <= i - k](B[N - 1 - i, N - 1 - j])[N - 1 - i]",
        search: [Kind::Reduce(ReduceOp::Sum)],
        apply: suffix_is_prefix,
        when: [NOT_SUFFIX, ROW_REMAINS, NO_TERM],
        sound: "the same summands in the opposite order",
        stability: Reorders,
        class: Exact,
        source: "bidirectional retention; a change of variables",
        draw: [
            "sum[j where j >= i]($r(j, e) * 0.9 ^ (j - i))",
            "sum[j where j > i](sum[d]($r(i, d) * $r(j, d)) * exp((i - j) * $p(h)) * $r(j, e))",
            "sum[j where i + 2 <= j]($r(j))",
            "sum[j where i <= j](prod[t where i <= t and t < j]($p(t, d)) * $r(j, d))",
            "sum[j where i < j](prod[t where i < t and t <= j]($r(t)) * $r(i, d) * $r(j, d))",
        ],
    },
    rule! {
        /// A decay by the distance either way is a prefix and a suffix.
        name: "distance-splits-at-the-row",
        before: "sum[j](g ^ abs(i - j) * B)",
        after: "sum[j where j <= i](g ^ abs(i - j) * B) + sum[j where not j <= i](g ^ abs(i - j) * B)",
        search: [Kind::Reduce(ReduceOp::Sum)],
        apply: distance_splits,
        when: [ROW_REMAINS],
        sound: "each position is in one of the two sums",
        stability: Reorders,
        class: Exact,
        source: "bidirectional retention",
        draw: ["sum[j](0.9 ^ abs(i - j) * $r(j, e))", "sum[j](exp(-$p(h) * abs(i - j)) * $r(j) * $r(j, e))"],
    },
];

/// Whether what varies along the row in every factor decays with the distance, or separates from the summed axis.
fn may_be_scanned(site: &Site<'_>, body: Id, axis: AxisId, between: &Between<'_>) -> bool {
    let factorings = site.factorings(body);
    factorings.iter().any(|(_, factors)| factors.iter().all(|f| is_scanned(site, *f, axis, between)))
}

/// Whether a factor is free of the row, decays with the distance or by gates in between, or separates from the summed axis.
pub(super) fn is_scanned(site: &Site<'_>, factor: Id, axis: AxisId, between: &Between<'_>) -> bool {
    let row = if between.row == axis { between.axis } else { between.row };
    let by_gates = || {
        site.reductions(factor, ReduceOp::Prod).any(|(_, t, domain, gate)| {
            let ends = site.domain(domain).between(site.spec(), t).map(|((from, _), (to, _))| [from, to]);
            let joins = ends == Some([row, axis]) || ends == Some([axis, row]);
            joins && !site.varies(gate, row) && !site.varies(gate, axis)
        })
    };
    let separate = !site.varies(factor, row) || site.separates(factor, axis, 2);
    separate || Power::of(site, factor, between).is_some() || by_gates()
}

fn suffix_is_prefix(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return };
    if site.is_full(*domain) {
        return;
    }
    let domain = site.domain(*domain);
    let Some((row, back)) = domain.suffix(site.spec(), *axis) else {
        out.decline(NOT_SUFFIX);
        return;
    };
    if !may_be_scanned(site, *body, *axis, &Between { row: *axis, axis: row, domain: &domain }) {
        out.decline(ROW_REMAINS);
    } else if !is_readable_at(site, *body, *axis) || !is_readable_at(site, *body, row) {
        out.decline(NO_TERM);
    } else {
        out.union(Tree::matched(node), Tree::FromEnds(node.clone(), row, back));
    }
}

fn distance_splits(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return };
    if !site.is_full(*domain) {
        return;
    }
    let spec = site.spec();
    let same = |a: &AxisId| *a != *axis && spec.axis(*a).extent == spec.axis(*axis).extent;
    for row in site.free(*body).iter().filter(same) {
        let Some(before) = Domain::up_to(spec, *axis, row) else { continue };
        let within = Between { row, axis: *axis, domain: &before };
        let anywhere = Between { row, axis: *axis, domain: &Domain::Full };
        let by_distance = |(_, factors): &(Tree, Vec<Id>)| {
            let decays = |f: &Id| Power::of(site, *f, &within).is_some() && Power::of(site, *f, &anywhere).is_none();
            factors.iter().any(decays)
        };
        if !site.factorings(*body).iter().any(by_distance) {
            continue;
        }
        if !may_be_scanned(site, *body, *axis, &within) {
            out.decline(ROW_REMAINS);
            continue;
        }
        let part = |before: bool| Tree::Part(node.clone(), row, before);
        out.union(Tree::matched(node), Tree::Sum(vec![part(true), part(false)]));
    }
}
