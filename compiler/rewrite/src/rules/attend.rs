//! Softmax: fused attention and its laws.
//!
//! `attend[j where m](s, v)` is the softmax-weighted sum of v; how it is
//! computed (online, tiled, split over keys) is the planner's choice, so the
//! deferred normalisation of flash attention needs no form of its own here.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, TermId, Terms, UnaryOp};
use egg::Id;

use crate::build::Tree;
use crate::domain::Domain;
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{GUARDED, MAY_BE_UNDEFINED, Outcome, Rule, Site};

const CUTS: &str = "the sum's restriction is not proved to hold on the softmax's";
const MAY_BE_EMPTY: &str = "a row may have no element";
const DOMAIN_BINDS: &str = "a restriction mentions the other axis";
const MAY_BE_INFINITE: &str = "the shift may be infinite";
const NO_SHIFT: &str = "no summand is free of the softmax's axis";
const ASKS_ELSEWHERE: &str = "a weight is asked for outside of its own restriction, or beside more than one other part";
const NOT_DISJOINT: &str = "the parts of the domain are not proved disjoint";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// A sum of softmax weights times values is fused attention.
        name: "weighted-sum-is-attend",
        before: "sum[j](softmax[j where m](s) * v)",
        after: "attend[j where m](s, v)",
        search: [Kind::Reduce(ReduceOp::Sum)],
        apply: weighted_sum_is_attend,
        when: [CUTS],
        sound: "the definition of attend; weights outside m are 0",
        stability: Reorders,
        class: Exact,
        source: "FlashAttention, arXiv 2205.14135 section 3.1",
        draw: [
            "sum[j](softmax[j where $m(i, j)]($r(i, j)) * $r(j, e))",
            "sum[j where j <= i](softmax[j where j <= i]($r(i, j)) * $r(j, e) * $r(i))",
        ],
    },
    rule! {
        /// Factors of the value that do not vary along the keys leave the attention.
        name: "value-factors-leave-attend",
        before: "attend[j where m](s, A * B)",
        after: "A * attend[j where m](s, B)",
        search: [Kind::Attend],
        apply: value_factors_leave,
        when: [GUARDED, MAY_BE_UNDEFINED],
        sound: "linearity in the values",
        stability: Reorders,
        class: Exact,
        source: "MLA weight absorption, arXiv 2405.04434 section 2.1",
        draw: ["sum[j](softmax[j where $m(i, j)]($r(i, j)) * ($r(j, e) * $r(i)))"],
    },
    rule! {
        /// A sum inside the value leaves the attention, if something in it can leave too.
        name: "value-sum-leaves-attend",
        before: "attend[j where m](s, sum[r](A))",
        after: "sum[r](attend[j where m](s, A))",
        search: [Kind::Attend],
        apply: value_sum_leaves,
        when: [DOMAIN_BINDS],
        sound: "linearity in the values; the scores are free of r",
        stability: Reorders,
        class: Exact,
        source: "MLA weight absorption, arXiv 2405.04434 section 2.1",
        draw: ["sum[j](softmax[j where $m(i, j)]($r(i, j)) * sum[d]($r(j, d) * $r(d, e)))"],
    },
    rule! {
        /// Weights over two axes are attention over the outer one, whose values are attention over the inner one where
        /// they vary along it.
        name: "weights-over-two-axes-are-attend",
        before: "sum[j](sum[u](softmax[j where m](logsumexp[u where n](s)) * softmax[u where n](s) * A * B))",
        after: "attend[j where m](logsumexp[u where n](s), A * attend[u where n](s, B))",
        search: [Kind::Reduce(ReduceOp::Sum)],
        apply: weights_over_two_axes,
        when: [CUTS],
        sound: "the definition of attend; softmax weights add up to 1, and where there is none the score is -inf and the \
                outer weight 0",
        stability: Reorders,
        class: Exact,
        source: "FlashAttention, arXiv 2205.14135 section 3.1",
        draw: [
            "sum[j, e](softmax[j, e]($r(i, j, e)) * $r(j))",
            "sum[j, e](softmax[j, e where $m(i, j) and (j + e) mod 3 == 0]($r(i, j, e)) * $r(j))",
            "sum[e, j](softmax[j, e where $m(i, j) and (j + e) mod 3 == 0]($r(i, j, e)) * $r(j, e))",
        ],
    },
    rule! {
        /// Summands of the score that do not vary along the keys drop out.
        name: "score-shift-drops",
        before: "softmax[j where m](A + s)",
        after: "softmax[j where m](s)",
        search: [Kind::Softmax, Kind::Attend],
        apply: score_shift_drops,
        when: [MAY_BE_INFINITE, NO_SHIFT],
        sound: "softmax is invariant under a shift of each row",
        stability: Same,
        class: Exact,
        source: "L2 self-attention, arXiv 2006.04710 section 3.2",
        draw: [
            "softmax[j where $m(i, j)]($r(i, j) + $r(i))",
            "sum[j](softmax[j where $m(i, j)]($r(i, j) + $r(i)) * $r(j, e))",
        ],
    },
    rule! {
        /// Summands of the score that do not vary along the keys leave the log-sum-exp.
        name: "score-shift-leaves-logsumexp",
        before: "logsumexp[j where m](A + s)",
        after: "A + logsumexp[j where m](s)",
        search: [Kind::Reduce(ReduceOp::LogSumExp)],
        apply: score_shift_leaves_logsumexp,
        when: [GUARDED, MAY_BE_INFINITE],
        sound: "exp(A) is a common factor of the sum; -inf stays -inf",
        stability: Reorders,
        class: Exact,
        source: "L2 self-attention, arXiv 2006.04710 section 3.2",
        draw: ["logsumexp[j where $m(i, j)]($r(i, j) + $r(i))"],
    },
    rule! {
        /// A factor of the score distributes over its summands, if one of them then drops out.
        name: "score-factor-distributes",
        before: "softmax[j where m](A * (B + s))",
        after: "softmax[j where m](A * B + A * s)",
        search: [Kind::Softmax, Kind::Attend, Kind::Reduce(ReduceOp::LogSumExp)],
        apply: score_factor_distributes,
        when: [NO_SHIFT],
        sound: "distributivity",
        stability: Reorders,
        class: Exact,
        source: "L2 self-attention, arXiv 2006.04710 section 3.2",
        draw: ["softmax[j where $m(i, j)]($r(h) * ($r(i, j) + $r(i)))"],
    },
    rule! {
        /// A restriction to keys of positive weight is none among the keys that have a weight.
        name: "weights-are-positive",
        before: "attend[j where m and softmax[j where m](t) > 0](s, v)",
        after: "attend[j where m](s, v)",
        search: [
            Kind::Softmax,
            Kind::Attend,
            Kind::Reduce(ReduceOp::Sum),
            Kind::Reduce(ReduceOp::LogSumExp),
        ],
        apply: weights_are_positive,
        when: [ASKS_ELSEWHERE],
        sound: "an exponential is positive, and so is a quotient of it and of a sum of such",
        stability: Same,
        class: Exact,
        source: "the definition of softmax",
        draw: [
            "sum[j](softmax[j where j <= i and softmax[j where j <= i]($r(i, j)) > 0]($r(i, j)) * $r(j, e))",
            "logsumexp[j where softmax[j]($r(i, j)) > 0]($r(i, j))",
            "sum[j where abs(i - j) <= 2 and j <= i and softmax[j where abs(i - j) <= 2 and j <= i]($r(i, j)) > 0]($r(i, j))",
        ],
    },
    rule! {
        /// Attention over disjoint domains is the merge of its parts by their log-sum-exp.
        name: "disjoint-domains-merge",
        before: "attend[j where m or n](s, v)",
        after: "exp(lse_m - lse) * attend[j where m](s, v) + exp(lse_n - lse) * attend[j where n](s, v)",
        search: [Kind::Attend],
        apply: disjoint_domains_merge,
        when: [NOT_DISJOINT, MAY_BE_EMPTY],
        sound: "the softmax denominators add over disjoint parts; an empty part weighs exp(-inf) = 0, no row is empty",
        stability: NeedsShift,
        class: Exact,
        source: "FlashDecoding; the (o, lse) monoid of arXiv 2205.14135 section 3.1",
        draw: [
            "sum[j](softmax[j where abs(i - j) <= 1 or j < i - 1]($r(i, j)) * $r(j, e))",
            "sum[j](softmax[j where j <= i or i < j]($r(i, j)) * $r(j, e))",
        ],
    },
];

fn weighted_sum_is_attend(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return };
    for (from, factors) in site.factorings(*body) {
        for (at, factor) in factors.iter().enumerate() {
            for softmax in site.nodes(*factor, Kind::Softmax) {
                let ENode::Softmax(over, inner, [score]) = softmax else { continue };
                if over != axis {
                    continue;
                }
                let spec = site.spec();
                if !site.domain(*inner).is_subset(spec, &site.domain(*domain)) {
                    out.decline(CUTS);
                    continue;
                }
                let value: Vec<Id> = factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f).collect();
                let body = match &from {
                    Tree::Node(product, children) => {
                        let mut children = children.clone();
                        children[at] = Tree::matched(softmax);
                        Tree::Node(product.clone(), children)
                    }
                    _ => Tree::matched(softmax),
                };
                let to = Tree::attend(*axis, *inner, Tree::Class(*score), Tree::product_of(value));
                out.union(Tree::Node(node.clone(), vec![body]), to);
            }
        }
    }
}

fn value_factors_leave(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Attend(axis, domain, [score, value]) = node else { return };
    for (product, factors) in site.products(*value) {
        let (stay, leave): (Vec<Id>, Vec<Id>) = factors.iter().partition(|f| site.varies(**f, *axis));
        if leave.is_empty() {
            continue;
        }
        if let Some(reason) = leave.iter().find_map(|f| site.may_leave(*f, *axis, *domain).err()) {
            out.decline(reason);
            continue;
        }
        let mut to: Vec<Tree> = leave.into_iter().map(Tree::Class).collect();
        to.push(Tree::attend(*axis, *domain, Tree::Class(*score), Tree::product_of(stay)));
        out.union(Tree::matched_with(node, 1, Tree::matched(product)), Tree::Product(to));
    }
}

fn value_sum_leaves(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Attend(axis, domain, [score, value]) = node else { return };
    for (sum, r, inner, body) in site.reductions(*value, ReduceOp::Sum) {
        if r == *axis || !site.separates(body, *axis, 2) {
            continue;
        }
        let binds = site.varies(*score, r) || site.domain_axes(*domain).contains(r);
        if binds || site.domain_axes(inner).contains(*axis) {
            out.decline(DOMAIN_BINDS);
            continue;
        }
        let attend = Tree::attend(*axis, *domain, Tree::Class(*score), Tree::Class(body));
        let to = Tree::reduce(ReduceOp::Sum, r, inner, attend);
        out.union(Tree::matched_with(node, 1, Tree::matched(sum)), to);
    }
}

fn weights_over_two_axes(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(ReduceOp::Sum, first, first_domain, [body]) = node else { return };
    for (sum, second, second_domain, body) in site.reductions(*body, ReduceOp::Sum) {
        let sums = [(*first, *first_domain), (second, second_domain)];
        for (_, factors) in site.factorings(body) {
            for [outer, inner] in [sums, [sums[1], sums[0]]] {
                if let Some(to) = attend_over_two_axes(site, outer, inner, &factors, out) {
                    out.union(Tree::matched_with(node, 0, Tree::matched(sum)), to);
                }
            }
        }
    }
}

/// Two sums of a product as attention, if softmax weights over both axes are among its factors.
fn attend_over_two_axes(
    site: &Site<'_>,
    (outer, outer_sum): (AxisId, TermId),
    (inner, inner_sum): (AxisId, TermId),
    factors: &[Id],
    out: &mut Outcome,
) -> Option<Tree> {
    let along = |axis: AxisId| {
        factors.iter().enumerate().flat_map(move |(at, factor)| {
            site.nodes(*factor, Kind::Softmax).filter_map(move |node| match node {
                ENode::Softmax(over, domain, [score]) if *over == axis => Some((at, *domain, *score)),
                _ => None,
            })
        })
    };
    let (outer_at, domain, score) = along(outer).next()?;
    let (inner_at, own, of_pairs) = along(inner).find(|(_, own, of_pairs)| {
        let mut sums = site.reductions(score, ReduceOp::LogSumExp);
        sums.any(|(_, axis, domain, body)| (axis, domain, body) == (inner, *own, *of_pairs))
    })?;
    let spec = site.spec();
    let within = |part: TermId, whole: TermId| site.domain(part).is_subset(spec, &site.domain(whole));
    if !within(domain, outer_sum) || !within(own, inner_sum) {
        out.decline(CUTS);
        return None;
    }
    let rest = factors.iter().enumerate().filter(|(at, _)| *at != outer_at && *at != inner_at).map(|(_, f)| *f);
    let leaves = |factor: &Id| !site.varies(*factor, inner) && site.may_leave(*factor, inner, inner_sum).is_ok();
    let (leave, stay): (Vec<Id>, Vec<Id>) = rest.partition(leaves);
    let mut value: Vec<Tree> = leave.into_iter().map(Tree::Class).collect();
    if !stay.is_empty() {
        value.push(Tree::attend(inner, own, Tree::Class(of_pairs), Tree::product_of(stay)));
    }
    Some(Tree::attend(outer, domain, Tree::Class(score), Tree::Product(value)))
}

/// Axis, domain and score of a softmax, an attention or a log-sum-exp.
fn scored(node: &ENode) -> Option<(AxisId, TermId, Id)> {
    match node {
        ENode::Softmax(axis, domain, [score])
        | ENode::Attend(axis, domain, [score, _])
        | ENode::Reduce(ReduceOp::LogSumExp, axis, domain, [score]) => Some((*axis, *domain, *score)),
        _ => None,
    }
}

fn score_shift_drops(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, _, score)) = scored(node) else { return };
    for (addition, summands) in site.additions(score) {
        let (stay, drop): (Vec<Id>, Vec<Id>) = summands.iter().partition(|s| site.varies(**s, axis));
        if drop.is_empty() {
            out.decline(NO_SHIFT);
            continue;
        }
        // An infinite shift is no shift: it decides the whole row.
        if !drop.iter().all(|s| site.facts(*s).defined) {
            out.decline(MAY_BE_INFINITE);
            continue;
        }
        let kept = Tree::Sum(stay.into_iter().map(Tree::Class).collect());
        out.union(Tree::matched_with(node, 0, Tree::matched(addition)), Tree::matched_with(node, 0, kept));
    }
}

fn score_shift_leaves_logsumexp(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, domain, score)) = scored(node) else { return };
    for (addition, summands) in site.additions(score) {
        let (stay, leave): (Vec<Id>, Vec<Id>) = summands.iter().partition(|s| site.varies(**s, axis));
        if leave.is_empty() || stay.is_empty() {
            continue;
        }
        if let Some(reason) = leave.iter().find_map(|s| site.may_leave(*s, axis, domain).err()) {
            out.decline(reason);
            continue;
        }
        if !leave.iter().all(|s| site.facts(*s).defined) {
            out.decline(MAY_BE_INFINITE);
            continue;
        }
        let kept = Tree::Sum(stay.into_iter().map(Tree::Class).collect());
        let mut to: Vec<Tree> = leave.into_iter().map(Tree::Class).collect();
        to.push(Tree::reduce(ReduceOp::LogSumExp, axis, domain, kept));
        out.union(Tree::matched_with(node, 0, Tree::matched(addition)), Tree::Sum(to));
    }
}

fn score_factor_distributes(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, _, score)) = scored(node) else { return };
    for (product, factors) in site.products(score) {
        for (at, factor) in factors.iter().enumerate() {
            for (addition, summands) in site.additions(*factor) {
                let others: Vec<Id> = factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f).collect();
                let drops = summands.iter().any(|s| !site.varies(*s, axis) && site.facts(*s).constant.is_none());
                if summands.len() > 4 || !drops || others.iter().any(|f| site.varies(*f, axis)) {
                    out.decline(NO_SHIFT);
                    continue;
                }
                let parts = summands.iter().map(|s| Tree::product_of(others.iter().copied().chain([*s]))).collect();
                out.union(Tree::matched_with(product, at, Tree::matched(addition)), Tree::Sum(parts));
            }
        }
    }
}

fn weights_are_positive(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let (axis, domain) = match node {
        ENode::Softmax(axis, domain, _) | ENode::Attend(axis, domain, _) | ENode::Reduce(_, axis, domain, _) => {
            (*axis, *domain)
        }
        _ => return,
    };
    let spec = site.spec();
    let parts = site.spec().terms.conditions(domain);
    for (at, part) in parts.iter().enumerate() {
        let Some(own) = weights_domain(&spec.terms, *part, axis) else { continue };
        let rest: Vec<TermId> = parts.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, t)| *t).collect();
        let left = match rest[..] {
            [] if site.is_full(own) => own,
            [one] if site.domain(one).is_subset(spec, &site.domain(own)) => one,
            _ => match spec.terms.node(own) {
                Node::Nary(NaryOp::And, xs) if *xs == rest => own,
                _ => {
                    out.decline(ASKS_ELSEWHERE);
                    continue;
                }
            },
        };
        let mut to = node.clone();
        match &mut to {
            ENode::Softmax(_, domain, _) | ENode::Attend(_, domain, _) | ENode::Reduce(_, _, domain, _) => {
                *domain = left
            }
            _ => {}
        }
        out.union(Tree::matched(node), Tree::matched(&to));
    }
}

/// The restriction of the softmax along `axis` whose weights a predicate asks to be positive.
fn weights_domain(terms: &Terms, predicate: TermId, axis: AxisId) -> Option<TermId> {
    let Node::Binary(BinaryOp::Lt, zero, weight) = *terms.node(predicate) else { return None };
    let is_zero = match terms.node(zero) {
        Node::Int(v) => *v == 0,
        Node::Real(v) => v.get() == 0.0,
        Node::Unary(UnaryOp::ToReal, x) => *terms.node(*x) == Node::Int(0),
        _ => false,
    };
    match *terms.node(weight) {
        Node::Softmax { axis: over, domain, .. } if is_zero && over == axis => Some(domain),
        _ => None,
    }
}

fn disjoint_domains_merge(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Attend(axis, domain, [score, value]) = node else { return };
    let spec = site.spec();
    let Node::Nary(NaryOp::Or, parts) = spec.terms.node(*domain) else { return };
    let [m, n] = parts.as_slice() else { return };
    let (left, right): (Domain, Domain) = (site.domain(*m), site.domain(*n));
    if !left.is_disjoint(spec, &right) {
        out.decline(NOT_DISJOINT);
        return;
    }
    if !site.domain(*domain).is_never_empty(spec, *axis) {
        out.decline(MAY_BE_EMPTY);
        return;
    }
    let lse = |domain: TermId| Tree::reduce(ReduceOp::LogSumExp, *axis, domain, Tree::Class(*score));
    let part = |own: TermId| {
        let gap = Tree::Sum(vec![lse(own), Tree::Product(vec![Tree::Const(-1.0), lse(*domain)])]);
        let attend = Tree::attend(*axis, own, Tree::Class(*score), Tree::Class(*value));
        Tree::Product(vec![Tree::unary(UnaryOp::Exp, gap), attend])
    };
    out.union(Tree::matched(node), Tree::Sum(vec![part(*m), part(*n)]));
}
