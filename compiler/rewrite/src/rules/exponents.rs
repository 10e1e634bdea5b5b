//! Exponentials and powers: sums in exponents become products.
//!
//! Only forms that stay in range: a segment product in place of a quotient,
//! and a split of an exponent where every part is proved small.

use attnc_algebra::{AxisId, BinaryOp, Node, ReduceOp, UnaryOp};
use egg::Id;

use crate::build::Tree;
use crate::language::{ENode, Kind};
use crate::linear_form::LinearForm;
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const EXP: Kind = Kind::Unary(UnaryOp::Exp);

const NOT_SEGMENT: &str = "the exponent's sum does not run over a segment";
const NOT_SMALL: &str = "a part of the exponent is not proved to be small";
const NOT_SEPARABLE: &str = "the exponent's summands do not separate axes";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// The exponential of a sum over a segment is a product of exponentials.
        name: "exp-of-segment-sum-is-product",
        before: "exp(sum[t where j < t and t <= i](a))",
        after: "prod[t where j < t and t <= i](exp(a))",
        search: [EXP],
        apply: exp_of_segment_sum,
        when: [NOT_SEGMENT],
        sound: "exp turns sums into products",
        stability: Reorders,
        class: Exact,
        source: "SSD, arXiv 2405.21060 section 6",
        draw: ["exp(sum[t where j < t and t <= i]($r(t, h)))"],
    },
    rule! {
        /// The exponential of a multiple of the distance is a power of the distance.
        name: "exp-of-distance-is-power",
        before: "exp(c * (i - j))",
        after: "exp(c) ^ (i - j)",
        search: [EXP],
        apply: exp_of_distance,
        when: [],
        sound: "exp(c n) = exp(c)^n",
        stability: Reorders,
        class: Exact,
        source: "retention, arXiv 2307.08621 section 2.1",
        draw: ["exp(-$p(h) * (i - j))"],
    },
    rule! {
        /// The exponential of summands over different axes splits where all parts are small.
        name: "exp-of-addition-splits",
        before: "exp(A + B)",
        after: "exp(A) * exp(B)",
        search: [EXP],
        apply: exp_of_addition,
        when: [NOT_SMALL, NOT_SEPARABLE],
        sound: "exp turns sums into products; no part over- or underflows",
        stability: NeedsShift,
        class: Exact,
        source: "arithmetic",
        draw: ["exp(tanh($r(i)) + tanh($r(j)))"],
    },
];

fn exp_of_segment_sum(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Unary(_, [x]) = node else { return };
    for (sum, t, domain, body) in site.reductions(*x, ReduceOp::Sum) {
        if site.domain(domain).between(site.spec(), t).is_none() {
            out.decline(NOT_SEGMENT);
            continue;
        }
        let to = Tree::reduce(ReduceOp::Prod, t, domain, Tree::unary(UnaryOp::Exp, Tree::Class(body)));
        out.union(Tree::matched_with(node, 0, Tree::matched(sum)), to);
    }
}

fn exp_of_distance(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Unary(_, [x]) = node else { return };
    for (product, factors) in site.products(*x) {
        for (at, factor) in factors.iter().enumerate() {
            let Some((integer, axes)) = difference(site, *factor) else { continue };
            let rest: Vec<Id> = factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f).collect();
            if axes.iter().any(|a| rest.iter().any(|f| site.varies(*f, *a))) {
                continue;
            }
            let base = Tree::unary(UnaryOp::Exp, Tree::product_of(rest));
            let pow = ENode::Binary(BinaryOp::Pow, [Id::from(0); 2]);
            let to = Tree::Node(pow, vec![base, Tree::Closed(integer)]);
            out.union(Tree::matched_with(node, 0, Tree::matched(product)), to);
        }
    }
}

/// The closed integer under a class that is a difference of two positions.
fn difference(site: &Site<'_>, class: Id) -> Option<(attnc_algebra::TermId, [AxisId; 2])> {
    let terms = &site.spec().terms;
    let term = site.closed(class)?;
    let Node::Unary(UnaryOp::ToReal, integer) = terms.node(term) else { return None };
    let positions = LinearForm::of(terms, *integer)?.positions(terms)?;
    let up = positions.iter().find(|(_, c)| **c == 1)?.0;
    let down = positions.iter().find(|(_, c)| **c == -1)?.0;
    (positions.len() == 2).then_some((*integer, [*up, *down]))
}

fn exp_of_addition(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Unary(_, [x]) = node else { return };
    for (addition, summands) in site.additions(*x) {
        let joined = site.free(*x).len();
        if !summands.iter().all(|s| site.free(*s).len() < joined) {
            out.decline(NOT_SEPARABLE);
            continue;
        }
        if !summands.iter().all(|s| site.facts(*s).small) {
            out.decline(NOT_SMALL);
            continue;
        }
        let parts = summands.iter().map(|s| Tree::unary(UnaryOp::Exp, Tree::Class(*s))).collect();
        out.union(Tree::matched_with(node, 0, Tree::matched(addition)), Tree::Product(parts));
    }
}
