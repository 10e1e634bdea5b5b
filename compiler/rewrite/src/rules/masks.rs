//! Masks written as values: what adds nothing to a reduction leaves its domain.
//!
//! `softmax[j](if p then s else -inf)` and `sum[j](p * B)` run where p holds. The reference gives a row whose scores are
//! all -inf no weight, as an empty one, so an empty domain needs no condition. What is left out must be defined there:
//! 0 times what is not is not 0. Must not know of positions.

use attnc_algebra::{NaryOp, Node, Real, ReduceOp, TermId, Type, UnaryOp};
use egg::Id;

use crate::build::Tree;
use crate::facts::{any_sub_term, reads_input};
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{Outcome, Rule, Site};
use crate::rules::bucket::is_long;

const MAY_BE_UNDEFINED: &str = "what the mask leaves out may be undefined";
const DATA_DECIDE: &str = "the mask compares reals of the data";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// A choice of what adds nothing restricts the reduction.
        name: "neutral-choice-restricts",
        before: "sum[j where m](if p then A else 0)",
        after: "sum[j where m and p](A)",
        search: [
            Kind::Softmax, Kind::Attend,
            Kind::Reduce(ReduceOp::LogSumExp), Kind::Reduce(ReduceOp::Max), Kind::Reduce(ReduceOp::Min),
            Kind::Reduce(ReduceOp::Sum), Kind::Reduce(ReduceOp::Prod),
        ],
        apply: neutral_choice_restricts,
        when: [DATA_DECIDE],
        sound: "0 is neutral for a sum, 1 for a product, -inf for a maximum and for weights, also of empty rows",
        stability: Same,
        class: Exact,
        source: "the definition of the reductions",
        draw: [
            "softmax[j](if $m(i, j) then $r(i, j) else -inf)",
            "sum[j](softmax[j where j != 1](if $m(i, j) then -inf else $r(i, j)) * $r(j, e))",
            "logsumexp[j](if $m(i, j) then $r(i, j) else -inf)",
            "max[j](if $m(i, j) then $r(i, j) else -inf) * min[j](if $m(i, j) then $r(i, j) else inf)",
            "sum[j where $m(j)](if $m(i, j) then $r(i, j) else 0)",
            "prod[j](if $m(i, j) then $r(i, j) else 1)",
        ],
    },
    rule! {
        /// So does one that is added to the scores.
        name: "added-mask-restricts",
        before: "softmax[j where m](s + (if p then A else -inf))",
        after: "softmax[j where m and p](s + A)",
        search: [
            Kind::Softmax, Kind::Attend,
            Kind::Reduce(ReduceOp::LogSumExp), Kind::Reduce(ReduceOp::Max), Kind::Reduce(ReduceOp::Min),
        ],
        apply: added_mask_restricts,
        when: [MAY_BE_UNDEFINED, DATA_DECIDE],
        sound: "a defined score plus -inf is -inf",
        stability: Same,
        class: Exact,
        source: "the definition of softmax",
        draw: [
            "softmax[j]($r(i, j) + (if $m(i, j) then 0 else -inf))",
            "sum[j](softmax[j]($r(i, j) + (if $m(i, j) then $r(j) else -inf) + $r(i)) * $r(j, e))",
            "logsumexp[j]($r(i, j) + log($m(i, j)))",
        ],
    },
    rule! {
        /// A factor that is 0 where a predicate fails restricts the sum.
        name: "zero-factor-restricts",
        before: "sum[j where m]((if p then A else 0) * B)",
        after: "sum[j where m and p](A * B)",
        search: [Kind::Reduce(ReduceOp::Sum)],
        apply: zero_factor_restricts,
        when: [MAY_BE_UNDEFINED, DATA_DECIDE],
        sound: "0 times what is defined is 0, which adds nothing; a truth value is 1 or 0",
        stability: Same,
        class: Exact,
        source: "the definition of a sum",
        draw: [
            "sum[j]((if $m(i, j) then $r(i, j) else 0) * $r(j, e))",
            "sum[j where $m(j)]($r(i, j) * $m(i, j) * exp($r(j)))",
            "sum[j]($m(i, j) * (j < 4) * $r(j))",
        ],
    },
];

/// Predicates with whether they hold.
type Conditions = Vec<(TermId, bool)>;

/// A value under a predicate, or under its negation, and neutral elsewhere.
struct Masked {
    /// The nodes matched.
    from: Tree,
    value: Tree,
    conditions: Conditions,
}

/// What a reduction ignores in the operand at a place of its node.
fn neutral(node: &ENode) -> Option<f64> {
    Some(match node {
        ENode::Softmax(..) | ENode::Attend(..) => f64::NEG_INFINITY,
        ENode::Reduce(ReduceOp::Any | ReduceOp::All | ReduceOp::ArgMax | ReduceOp::ArgMin, ..) => return None,
        ENode::Reduce(op, ..) => op.identity(),
        _ => return None,
    })
}

/// The choices between a value and a constant that a class is.
fn choices(site: &Site<'_>, class: Id, neutral: f64) -> impl Iterator<Item = Masked> {
    let is_neutral = move |id: Id| site.facts(id).constant.map(Real::get) == Some(neutral);
    site.nodes(class, Kind::Select).filter_map(move |node| {
        let ENode::Select(condition, [then, other]) = node else { return None };
        let (value, holds) = match (is_neutral(*then), is_neutral(*other)) {
            (false, true) => (*then, true),
            (true, false) => (*other, false),
            _ => return None,
        };
        Some(Masked { from: Tree::matched(node), value: Tree::Class(value), conditions: vec![(*condition, holds)] })
    })
}

/// Unites a reduction, with what was matched of its operand, with the same restricted to a mask.
fn restrict(site: &Site<'_>, node: &ENode, from: Tree, value: Tree, conditions: Conditions, out: &mut Outcome) {
    // A restriction is looked at in f64 and pair by pair where reals decide, a choice beside its value is not. What knows the
    // reduced positions alone is looked at once for each.
    let (spec, terms) = (site.spec(), &site.spec().terms);
    let axis = match node {
        ENode::Softmax(axis, ..) | ENode::Attend(axis, ..) | ENode::Reduce(_, axis, ..) => *axis,
        _ => return,
    };
    let of_pairs = |p: TermId| terms.free(p).iter().any(|a| a != axis && is_long(spec, a, axis));
    let compares = |node: &Node| match node {
        Node::Binary(op, x, y) if op.is_comparison() && terms.ty(*x) == Type::Real => {
            reads_input(terms, *x) || reads_input(terms, *y)
        }
        _ => false,
    };
    if conditions.iter().any(|(p, _)| of_pairs(*p) && any_sub_term(terms, *p, compares)) {
        out.decline(DATA_DECIDE);
        return;
    }
    let to = Tree::Restricted(conditions, Box::new(Tree::matched_with(node, 0, value)));
    out.union(Tree::matched_with(node, 0, from), to);
}

fn neutral_choice_restricts(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some(neutral) = neutral(node) else { return };
    let body = egg::Language::children(node)[0];
    for masked in choices(site, body, neutral) {
        restrict(site, node, masked.from, masked.value, masked.conditions, out);
    }
}

/// What a summand of -inf or inf leaves out.
fn masks(site: &Site<'_>, class: Id, neutral: f64) -> Vec<Masked> {
    let mut out: Vec<Masked> = choices(site, class, neutral).collect();
    if neutral < 0.0 {
        // The logarithm of a truth value is 0 or -inf.
        out.extend(site.unaries(class, UnaryOp::Log).filter_map(|(log, x)| {
            let (conditions, None) = truths(site, x)? else { return None };
            Some(Masked { from: Tree::matched(log), value: Tree::Const(0.0), conditions })
        }));
    }
    out
}

fn added_mask_restricts(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let Some(neutral) = neutral(node) else { return };
    let body = egg::Language::children(node)[0];
    for (addition, summands) in site.additions(body) {
        for (at, summand) in summands.iter().enumerate() {
            for masked in masks(site, *summand, neutral) {
                let others = summands.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, s)| *s);
                if !others.clone().all(|s| site.facts(s).defined) {
                    out.decline(MAY_BE_UNDEFINED);
                    continue;
                }
                let sum = Tree::Sum(others.map(Tree::Class).chain([masked.value]).collect());
                let from = Tree::matched_with(addition, at, masked.from);
                restrict(site, node, from, sum, masked.conditions, out);
            }
        }
    }
}

/// The truth values that a class is the product of, made real, and what else is a factor.
fn truths(site: &Site<'_>, class: Id) -> Option<(Conditions, Option<Vec<TermId>>)> {
    let terms = &site.spec().terms;
    let Node::Unary(UnaryOp::ToReal, x) = *terms.node(site.closed(class)?) else { return None };
    let truth = |t: TermId| match *terms.node(t) {
        _ if terms.ty(t) == Type::Bool => Some(t),
        Node::Unary(UnaryOp::ToInt, p) if terms.ty(p) == Type::Bool => Some(p),
        _ => None,
    };
    let factors = match terms.node(x) {
        Node::Nary(NaryOp::Mul, factors) => factors.clone(),
        _ => vec![x],
    };
    let conditions: Vec<(TermId, bool)> = factors.iter().filter_map(|t| Some((truth(*t)?, true))).collect();
    let rest: Vec<TermId> = factors.into_iter().filter(|t| truth(*t).is_none()).collect();
    (!conditions.is_empty()).then_some((conditions, Some(rest).filter(|r| !r.is_empty())))
}

fn zero_factor_restricts(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(ReduceOp::Sum, _, _, [body]) = node else { return };
    for (product, factors) in site.factorings(*body) {
        for (at, factor) in factors.iter().enumerate() {
            let truth = truths(site, *factor).map(|(conditions, rest)| {
                let value = rest.map_or(Tree::Const(1.0), Tree::IntegerProduct);
                Masked { from: Tree::Class(*factor), value, conditions }
            });
            let alone = factors.len() == 1;
            let choice = choices(site, *factor, 0.0).filter(|_| !alone);
            for masked in choice.chain(truth) {
                let others = factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f);
                if !others.clone().all(|f| site.facts(f).defined) {
                    out.decline(MAY_BE_UNDEFINED);
                    continue;
                }
                let value = Tree::Product(others.map(Tree::Class).chain([masked.value]).collect());
                let from = match &product {
                    Tree::Node(product, _) => Tree::matched_with(product, at, masked.from),
                    _ => masked.from,
                };
                restrict(site, node, from, value, masked.conditions, out);
            }
        }
    }
}
