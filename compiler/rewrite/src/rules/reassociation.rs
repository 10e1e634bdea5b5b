//! Reassociation: factors and sums change places.
//!
//! Linear attention, the absorbed form of latent keys and values, and
//! factorised projections are consequences of these records together; none of
//! them knows a variant. Must not look at softmax or prefixes.

use attnc_algebra::{AxisId, ReduceOp, TermId};
use egg::Id;

use crate::build::Tree;
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{GUARDED, MAY_BE_UNDEFINED, Outcome, Rule, Site};

const SUM: Kind = Kind::Reduce(ReduceOp::Sum);

const NO_FACTOR: &str = "nothing in the inner sum is free of the outer axis";
const BOUND: &str = "a factor varies along the axis of the sum it would enter";
const DOMAIN_BINDS: &str = "a restriction mentions the other sum's axis";
const TOO_MANY: &str = "more than four summands";
const RESTRICTED: &str = "a restriction decides how many summands there are";
const NOT_SEPARABLE: &str = "the summands do not separate the axis";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// Factors without the summed axis leave the sum.
        name: "factors-leave-sum",
        before: "sum[j where m](A * B)",
        after: "A * sum[j where m](B)",
        search: [SUM],
        apply: factors_leave_sum,
        when: [GUARDED, MAY_BE_UNDEFINED],
        sound: "distributivity over a finite sum; rounding differs by the order of additions",
        stability: Reorders,
        class: Exact,
        source: "linear attention, arXiv 2006.16236 section 3.2",
        draw: ["sum[j where $m(i, j)]($r(i) * $r(i, j))", "sum[j]($r(i, j) * $r(i) / (1 + $p(i)))"],
    },
    rule! {
        /// A sum of what does not vary along its axis is a multiple.
        name: "sum-of-equals-is-a-multiple",
        before: "sum[j](A)",
        after: "A * N",
        search: [SUM],
        apply: sum_of_equals_is_a_multiple,
        when: [RESTRICTED],
        sound: "N equal summands; one rounding instead of N",
        stability: Reorders,
        class: Exact,
        source: "arithmetic",
        draw: ["sum[j]($r(i))", "sum[j](exp($r(i, d)) / (1 + $p(i)))"],
    },
    rule! {
        /// Factors enter a sum inside another sum, if something in it can leave the outer one.
        name: "factors-enter-sum",
        before: "sum[j](A * sum[d](B))",
        after: "sum[j](sum[d](A * B))",
        search: [SUM],
        apply: factors_enter_sum,
        when: [BOUND, NO_FACTOR, MAY_BE_UNDEFINED],
        sound: "distributivity over a finite sum, A free of d",
        stability: Reorders,
        class: Exact,
        source: "linear attention, arXiv 2006.16236 section 3.2",
        draw: ["sum[j where $m(i, j)]($r(i, j) * sum[d]($r(i, d) * $r(j, d)))"],
    },
    rule! {
        /// Neighbouring sums swap.
        name: "sums-swap",
        before: "sum[j where m](sum[d where n](A))",
        after: "sum[d where n](sum[j where m](A))",
        search: [SUM],
        apply: sums_swap,
        when: [DOMAIN_BINDS, NO_FACTOR],
        sound: "finite sums commute where neither restriction mentions the other axis",
        stability: Reorders,
        class: Exact,
        source: "linear attention, arXiv 2006.16236 section 3.2",
        draw: ["sum[j where $m(i, j)](sum[d]($r(i, d) * $r(j, d)))"],
    },
    rule! {
        /// A sum over an axis distributes over an addition.
        name: "sum-of-addition-splits",
        before: "sum[j where m](A + B)",
        after: "sum[j where m](A) + sum[j where m](B)",
        search: [SUM],
        apply: sum_of_addition_splits,
        when: [TOO_MANY],
        sound: "linearity of a finite sum",
        stability: Reorders,
        class: Exact,
        source: "linearity",
        draw: ["sum[j where $m(i, j)]($r(i, j) + $r(j))"],
    },
    rule! {
        /// Inside a sum, a product distributes over an addition whose summands each separate the axis
        /// (or are softmax weights along it), so that each part has a cheaper form of its own.
        name: "product-distributes",
        before: "sum[j](A * (B + C))",
        after: "sum[j](A * B + A * C)",
        search: [SUM],
        apply: product_distributes,
        when: [TOO_MANY, NOT_SEPARABLE],
        sound: "distributivity",
        stability: Reorders,
        class: Exact,
        source: "cosFormer, arXiv 2202.08791 section 3.3",
        draw: [
            "sum[j]($r(j) * ($r(i) * $r(j) + $r(i) * $r(j)))",
            "sum[j]($r(j, e) * (softmax[j]($r(i, j)) - softmax[j]($r(i, j))))",
        ],
    },
];

fn sum_parts(node: &ENode) -> Option<(AxisId, TermId, Id)> {
    match node {
        ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) => Some((*axis, *domain, *body)),
        _ => None,
    }
}

fn factors_leave_sum(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, domain, body)) = sum_parts(node) else { return };
    for (product, factors) in site.products(body) {
        let (stay, leave): (Vec<Id>, Vec<Id>) = factors.iter().partition(|f| site.varies(**f, axis));
        if leave.is_empty() || stay.is_empty() {
            continue;
        }
        // Softmax weights restrict the sum like a domain of its own.
        let domains: Vec<TermId> = stay.iter().flat_map(|f| softmax_domains(site, *f, axis)).chain([domain]).collect();
        let refused = |f: &Id| domains.iter().find_map(|m| site.may_leave(*f, axis, *m).err());
        if let Some(reason) = leave.iter().find_map(refused) {
            out.decline(reason);
            continue;
        }
        let mut to: Vec<Tree> = leave.into_iter().map(Tree::Class).collect();
        to.push(Tree::reduce(ReduceOp::Sum, axis, domain, Tree::product_of(stay)));
        out.union(Tree::matched_with(node, 0, Tree::matched(product)), Tree::Product(to));
    }
}

fn sum_of_equals_is_a_multiple(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, domain, body)) = sum_parts(node) else { return };
    if site.varies(body, axis) {
        return;
    }
    if !site.is_full(domain) {
        out.decline(RESTRICTED);
        return;
    }
    let count = Tree::Integer(vec![(site.spec().axis(axis).extent, 1)], 0);
    out.union(Tree::matched(node), Tree::Product(vec![Tree::Class(body), count]));
}

fn factors_enter_sum(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, _, body)) = sum_parts(node) else { return };
    for (product, factors) in site.products(body) {
        for (at, factor) in factors.iter().enumerate() {
            for (inner, d, domain, summand) in site.reductions(*factor, ReduceOp::Sum) {
                let others: Vec<Id> = factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f).collect();
                if d == axis || !site.separates(summand, axis, 3) {
                    out.decline(NO_FACTOR);
                    continue;
                }
                if others.iter().any(|f| site.varies(*f, d)) || site.domain_axes(domain).contains(axis) {
                    out.decline(BOUND);
                    continue;
                }
                // A factor that is undefined in an empty row would be lost there.
                let mut domains = vec![domain];
                for (_, parts) in site.factorings(summand) {
                    domains.extend(parts.iter().flat_map(|f| softmax_domains(site, *f, d)));
                }
                let never_empty = |m: &TermId| site.domain(*m).is_never_empty(site.spec(), d);
                if !others.iter().all(|f| site.facts(*f).defined) && !domains.iter().all(never_empty) {
                    out.decline(MAY_BE_UNDEFINED);
                    continue;
                }
                let mut entered: Vec<Tree> = others.into_iter().map(Tree::Class).collect();
                entered.push(Tree::Class(summand));
                let from = Tree::matched_with(product, at, Tree::matched(inner));
                out.union(from, Tree::reduce(ReduceOp::Sum, d, domain, Tree::Product(entered)));
            }
        }
    }
}

fn sums_swap(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, domain, body)) = sum_parts(node) else { return };
    for (inner, d, inner_domain, summand) in site.reductions(body, ReduceOp::Sum) {
        if d == axis {
            continue;
        }
        if site.domain_axes(domain).contains(d) || site.domain_axes(inner_domain).contains(axis) {
            out.decline(DOMAIN_BINDS);
            continue;
        }
        if !site.separates(summand, axis, 2) {
            out.decline(NO_FACTOR);
            continue;
        }
        let swapped = Tree::reduce(ReduceOp::Sum, axis, domain, Tree::Class(summand));
        let to = Tree::reduce(ReduceOp::Sum, d, inner_domain, swapped);
        out.union(Tree::matched_with(node, 0, Tree::matched(inner)), to);
    }
}

fn sum_of_addition_splits(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, domain, body)) = sum_parts(node) else { return };
    for (addition, summands) in site.additions(body) {
        if summands.len() > 4 {
            out.decline(TOO_MANY);
            continue;
        }
        let parts = summands.iter().map(|s| Tree::reduce(ReduceOp::Sum, axis, domain, Tree::Class(*s))).collect();
        out.union(Tree::matched_with(node, 0, Tree::matched(addition)), Tree::Sum(parts));
    }
}

fn product_distributes(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, _, body)) = sum_parts(node) else { return };
    for (product, factors) in site.products(body) {
        for (at, factor) in factors.iter().enumerate() {
            for (addition, summands) in site.additions(*factor) {
                if summands.len() > 4 {
                    out.decline(TOO_MANY);
                    continue;
                }
                let joined = site.free(*factor).len();
                let simple =
                    |s: &Id| site.free(*s).len() < joined || site.separates(*s, axis, 2) || is_softmax(site, *s, axis);
                if !site.varies(*factor, axis) || !summands.iter().all(simple) {
                    out.decline(NOT_SEPARABLE);
                    continue;
                }
                let others: Vec<Id> = factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f).collect();
                let parts = summands.iter().map(|s| Tree::product_of(others.iter().copied().chain([*s]))).collect();
                out.union(Tree::matched_with(product, at, Tree::matched(addition)), Tree::Sum(parts));
            }
        }
    }
}

/// The domains of the softmaxes along `axis` that a class is.
fn softmax_domains(site: &Site<'_>, class: Id, axis: AxisId) -> Vec<TermId> {
    let domain = |n: &ENode| match n {
        ENode::Softmax(a, domain, _) if *a == axis => Some(*domain),
        _ => None,
    };
    site.nodes(class, Kind::Softmax).filter_map(domain).collect()
}

/// Whether a class is softmax weights along `axis`, perhaps scaled.
fn is_softmax(site: &Site<'_>, class: Id, axis: AxisId) -> bool {
    let weights = |id: Id| !softmax_domains(site, id, axis).is_empty();
    weights(class) || site.products(class).any(|(_, xs)| xs.iter().any(|x| weights(*x)))
}
