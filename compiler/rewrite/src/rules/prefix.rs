//! Prefixes: causal sums become scans, with their decay in segment form.
//!
//! A scan is `sum[j where j <= i](body(j) * prod[t where j < t and t <= i](decay(t)))`;
//! decay is never written as a quotient of powers. Its naive, chunked and
//! recurrent forms are equal, and the planner's choice.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, TermId, UnaryOp};
use egg::{Id, Language};

use crate::build::Tree;
use crate::facts::any_sub_term;
use crate::language::{ENode, Kind};
use crate::linear_form::LinearForm;
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const SUM: Kind = Kind::Reduce(ReduceOp::Sum);

const NOT_PREFIX: &str = "the restriction is not j <= i over axes of one extent";
const ROW_REMAINS: &str = "a summand's factor joins the row and the summed axis";
const CONDITION_ON_ROW: &str = "a further condition mentions the row";
const CONDITION_WIDENS: &str = "a further condition brings in an axis that the summand does not have";
const NOT_SEGMENT: &str = "the decay does not run over j < t and t <= i";
const NO_TERM: &str = "the decay cannot be read at the summed axis";

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
        before: "sum[j where j <= i and p](B)",
        after: "sum[j where j <= i](if p then B else 0)",
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
        ],
    },
    rule! {
        /// A power of the distance is a constant decay.
        name: "power-decay-is-scan",
        before: "sum[j where j <= i](g ^ (i - j) * B)",
        after: "scan[j -> i](g, B)",
        search: [SUM],
        apply: power_decay_is_scan,
        when: [NOT_PREFIX, ROW_REMAINS],
        sound: "a product of i - j equal factors; g and B are free of i, g of j",
        stability: Reorders,
        class: Exact,
        source: "retention, arXiv 2307.08621 section 2.1",
        draw: ["sum[j where j <= i]($p(h) ^ (i - j) * $r(j, e))"],
    },
    rule! {
        /// A product of gates over the segment between both positions is a varying decay.
        name: "segment-decay-is-scan",
        before: "sum[j where j <= i](prod[t where j < t and t <= i](g) * B)",
        after: "scan[j -> i](g, B)",
        search: [SUM],
        apply: segment_decay_is_scan,
        when: [NOT_PREFIX, ROW_REMAINS, NOT_SEGMENT, NO_TERM],
        sound: "the definition of scan; g is read at j in place of t",
        stability: Reorders,
        class: Exact,
        source: "gated linear attention, arXiv 2312.06635; SSD, arXiv 2405.21060",
        draw: ["sum[j where j <= i](prod[t where j < t and t <= i]($p(t, d)) * $r(j, d) * $r(j))"],
    },
];

/// Axis, row and body of a sum over exactly a prefix.
fn prefix_sum(site: &Site<'_>, node: &ENode, out: &mut Outcome) -> Option<(AxisId, AxisId, Id)> {
    let ENode::Reduce(ReduceOp::Sum, axis, domain, [body]) = node else { return None };
    if site.is_full(*domain) {
        return None;
    }
    match site.domain(*domain).prefix(site.spec(), *axis) {
        Some((row, rest)) if rest.is_empty() => Some((*axis, row, *body)),
        _ => {
            out.decline(NOT_PREFIX);
            None
        }
    }
}

fn prefix_sum_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, row, body)) = prefix_sum(site, node, out) else { return };
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
        let (row, rest) = site.domain(*part).prefix(site.spec(), *axis)?;
        rest.is_empty().then_some(row)
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
    let guarded = Tree::Guarded(rest, Box::new(Tree::Class(*body)));
    out.union(Tree::matched(node), Tree::reduce(ReduceOp::Sum, *axis, prefix, guarded));
}

fn power_decay_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, row, body)) = prefix_sum(site, node, out) else { return };
    for (from, factors) in site.factorings(body) {
        for (at, factor) in factors.iter().enumerate() {
            for power in site.nodes(*factor, Kind::Binary(BinaryOp::Pow)) {
                let [base, exponent] = power.children() else { continue };
                if site.varies(*base, axis) || site.varies(*base, row) || !is_distance(site, *exponent, row, axis) {
                    continue;
                }
                let rest: Vec<Id> = others(&factors, at);
                if rest.iter().any(|f| site.varies(*f, row)) {
                    out.decline(ROW_REMAINS);
                    continue;
                }
                let from = Tree::Node(node.clone(), vec![with_factor(&from, at, Tree::matched(power))]);
                out.union(from, Tree::scan(axis, row, Tree::Class(*base), Tree::product_of(rest)));
            }
        }
    }
}

fn segment_decay_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some((axis, row, body)) = prefix_sum(site, node, out) else { return };
    for (from, factors) in site.factorings(body) {
        for (at, factor) in factors.iter().enumerate() {
            for (product, t, domain, gate) in site.reductions(*factor, ReduceOp::Prod) {
                let rest: Vec<Id> = others(&factors, at);
                if rest.iter().any(|f| site.varies(*f, row)) || site.varies(gate, row) || site.varies(gate, axis) {
                    out.decline(ROW_REMAINS);
                    continue;
                }
                if site.domain(domain).segment(site.spec(), t) != Some((axis, row)) {
                    out.decline(NOT_SEGMENT);
                    continue;
                }
                if !is_readable_at(site, gate, axis) {
                    out.decline(NO_TERM);
                    continue;
                }
                let from = Tree::Node(node.clone(), vec![with_factor(&from, at, Tree::matched(product))]);
                out.union(from, Tree::scan(axis, row, Tree::Renamed(gate, t, axis), Tree::product_of(rest)));
            }
        }
    }
}

pub(super) fn others(factors: &[Id], at: usize) -> Vec<Id> {
    factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f).collect()
}

/// The matched product with a tree for one factor.
pub(super) fn with_factor(from: &Tree, at: usize, factor: Tree) -> Tree {
    match from {
        Tree::Node(product, children) => {
            let mut children = children.clone();
            children[at] = factor;
            Tree::Node(product.clone(), children)
        }
        _ => factor,
    }
}

/// Whether a class is the closed integer `position(row) - position(axis)`, perhaps made real.
fn is_distance(site: &Site<'_>, class: Id, row: AxisId, axis: AxisId) -> bool {
    distance(site, class, row, axis) == Some(0)
}

/// The constant c if a class is the closed integer `position(row) - position(axis) + c`, perhaps made real.
pub(super) fn distance(site: &Site<'_>, class: Id, row: AxisId, axis: AxisId) -> Option<i64> {
    let terms = &site.spec().terms;
    let mut term = site.closed(class)?;
    while let Node::Unary(UnaryOp::ToReal | UnaryOp::ToInt, x) = terms.node(term) {
        term = *x;
    }
    let form = LinearForm::of(terms, term)?;
    form.is_difference(terms, row, axis, form.constant).then_some(form.constant)
}

/// Whether no binder in the oldest form of the class would capture `axis`.
pub(super) fn is_readable_at(site: &Site<'_>, class: Id, axis: AxisId) -> bool {
    let terms = &site.spec().terms;
    let binds = |node: &Node| match node {
        Node::Reduce { axis: a, .. } | Node::Attend { axis: a, .. } | Node::Scan { axis: a, .. } => *a == axis,
        Node::Softmax { .. } | Node::Order { .. } | Node::At { .. } => true,
        _ => false,
    };
    !site.oldest(class).as_ref().iter().any(|node| match node {
        ENode::Reduce(_, a, ..) | ENode::Attend(a, ..) | ENode::Scan(a, ..) => *a == axis,
        ENode::Softmax(..) | ENode::At(..) => true,
        ENode::Closed(term) => any_sub_term(terms, *term, binds),
        _ => false,
    })
}
