//! Angles: trigonometric functions of differences of positions separate.
//!
//! With these, a score that decays with the cosine of a distance is a sum of
//! two products of features.

use attnc_algebra::{Node, TermId, UnaryOp};
use egg::Id;

use crate::build::Tree;
use crate::language::{ENode, Kind};
use crate::linear_form::LinearForm;
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const NOT_SEPARABLE: &str = "the angle is no sum of terms over different axes";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// The cosine of an angle over two axes splits by the addition theorem.
        name: "cosine-of-sum-splits",
        before: "cos(A + B)",
        after: "cos(A) * cos(B) - sin(A) * sin(B)",
        search: [Kind::Unary(UnaryOp::Cos)],
        apply: cosine_splits,
        when: [NOT_SEPARABLE],
        sound: "the addition theorem",
        stability: Reorders,
        class: Exact,
        source: "cosFormer, arXiv 2202.08791 section 3.3",
        draw: ["cos($r(i) - $r(j))", "cos($r(h) * (i - j))"],
    },
    rule! {
        /// The sine of an angle over two axes splits by the addition theorem.
        name: "sine-of-sum-splits",
        before: "sin(A + B)",
        after: "sin(A) * cos(B) + cos(A) * sin(B)",
        search: [Kind::Unary(UnaryOp::Sin)],
        apply: sine_splits,
        when: [NOT_SEPARABLE],
        sound: "the addition theorem",
        stability: Reorders,
        class: Exact,
        source: "the addition theorem",
        draw: ["sin($r(i) - $r(j))", "sin($r(h) * (i + j))"],
    },
];

/// The angle as a sum of two parts over different axes, with the matched tree.
fn parts(site: &Site<'_>, angle: Id) -> Option<(Tree, Tree, Tree)> {
    let joined = site.free(angle).len();
    for (addition, summands) in site.additions(angle) {
        if let [a, b] = summands
            && site.free(*a).len() < joined
            && site.free(*b).len() < joined
        {
            return Some((Tree::matched(addition), Tree::Class(*a), Tree::Class(*b)));
        }
    }
    for (from, factors) in site.factorings(angle) {
        for (at, factor) in factors.iter().enumerate() {
            let Some((first, second)) = integer_parts(site, *factor) else { continue };
            let rest = factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f);
            let others: Vec<Id> = rest.collect();
            if others.iter().any(|f| site.free(*f).len() + 1 >= joined) {
                continue;
            }
            let scaled = |integer: Tree| {
                let mut factors: Vec<Tree> = others.iter().map(|f| Tree::Class(*f)).collect();
                factors.push(integer);
                Tree::Product(factors)
            };
            return Some((from, scaled(first), scaled(second)));
        }
    }
    None
}

/// A closed integer over two positions as one part for each.
fn integer_parts(site: &Site<'_>, class: Id) -> Option<(Tree, Tree)> {
    let terms = &site.spec().terms;
    let Node::Unary(UnaryOp::ToReal, integer) = terms.node(site.closed(class)?) else { return None };
    let form = LinearForm::of(terms, *integer)?;
    let (positions, others): (Vec<_>, Vec<_>) =
        form.atoms.iter().map(|(t, c)| (*t, *c)).partition(|(t, _)| !terms.free(*t).is_empty());
    let [first, second] = positions.as_slice() else { return None };
    if terms.free(first.0) == terms.free(second.0) {
        return None;
    }
    let mut with_rest: Vec<(TermId, i64)> = vec![*first];
    with_rest.extend(others);
    Some((Tree::Integer(with_rest, form.constant), Tree::Integer(vec![*second], 0)))
}

fn cosine_splits(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Unary(_, [angle]) = node else { return };
    let Some((from, a, b)) = parts(site, *angle) else {
        out.decline(NOT_SEPARABLE);
        return;
    };
    let both = |op: UnaryOp| vec![Tree::unary(op, a.clone()), Tree::unary(op, b.clone())];
    let mut sines = both(UnaryOp::Sin);
    sines.push(Tree::Const(-1.0));
    let to = Tree::Sum(vec![Tree::Product(both(UnaryOp::Cos)), Tree::Product(sines)]);
    out.union(Tree::matched_with(node, 0, from), to);
}

fn sine_splits(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Unary(_, [angle]) = node else { return };
    let Some((from, a, b)) = parts(site, *angle) else {
        out.decline(NOT_SEPARABLE);
        return;
    };
    let product = |x: &Tree, f: UnaryOp, y: &Tree, g: UnaryOp| {
        Tree::Product(vec![Tree::unary(f, x.clone()), Tree::unary(g, y.clone())])
    };
    let to = Tree::Sum(vec![product(&a, UnaryOp::Sin, &b, UnaryOp::Cos), product(&a, UnaryOp::Cos, &b, UnaryOp::Sin)]);
    out.union(Tree::matched_with(node, 0, from), to);
}
