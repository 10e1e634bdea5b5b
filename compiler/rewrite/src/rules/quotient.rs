//! Quotients of exponential sums: softmax written by hand gets its stable form.
//!
//! Shift-stable attention, log-sum-exp and sinks follow from sums of
//! exponentials that share their weights. Laws of the fused form itself are in
//! [`super::attend`].

use attnc_algebra::{AxisId, NaryOp, ReduceOp, TermId, UnaryOp};
use egg::{Id, Language};

use crate::build::Tree;
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const MAY_BE_EMPTY: &str = "a row may have no element, where the quotient is undefined";
const NOT_POSITIVE: &str = "a further summand below is not proved positive";
const RESTRICTED: &str = "the sum is restricted, the weight is not";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// A quotient of exponential sums written by hand is fused attention, which is shift-stable.
        name: "exponential-quotient-is-attend",
        before: "sum[j where m](exp(s) * v) / sum[j where m](exp(s))",
        after: "attend[j where m](s, v)",
        search: [Kind::Nary(NaryOp::Mul)],
        apply: exponential_quotient_is_attend,
        when: [MAY_BE_EMPTY],
        sound: "the definition of softmax; no row is empty",
        stability: Reorders,
        class: Exact,
        source: "FlashAttention, arXiv 2205.14135 section 3.1",
        draw: [
            "sum[j](exp($s(i, j)) * $r(j, e)) / sum[j](exp($s(i, j)))",
            "sum[j where j <= i](exp($s(i, j)) * $r(j, e)) / sum[j where j <= i](exp($s(i, j)))",
        ],
    },
    rule! {
        /// A quotient with further summands below, a sink or a 1, is fused attention times a gate of its log-sum-exp.
        name: "quotient-with-sink-is-gated-attend",
        before: "sum[j where m](exp(s) * v) / (sum[j where m](exp(s)) + A)",
        after: "sigmoid(logsumexp[j where m](s) - log(A)) * attend[j where m](s, v)",
        search: [Kind::Nary(NaryOp::Mul)],
        apply: quotient_with_sink,
        when: [NOT_POSITIVE],
        sound: "x / (x + A) = sigmoid(log x - log A) for positive A; an empty row is 0 on both sides",
        stability: Reorders,
        class: Exact,
        source: "attention sinks, arXiv 2309.17453 section 3.3",
        draw: [
            "sum[j where j < i](exp($s(i, j)) * $r(j, e)) / (sum[j where j < i](exp($s(i, j))) + $p(i))",
            "sum[j](exp($s(i, j)) * $r(j, e)) / (1 + sum[j](exp($s(i, j))))",
            "sum[j](exp($s(i, j) - $u(i)) * $r(j, e)) / (exp($r(i) - $u(i)) + sum[j](exp($s(i, j) - $u(i))))",
        ],
    },
    rule! {
        /// A quotient with a further weighted value is attention and that value, each by its share.
        name: "quotient-with-further-value-is-shared",
        before: "(sum[j where m](exp(s) * v) + A * x) / (sum[j where m](exp(s)) + A)",
        after: "sigmoid(l - log(A)) * attend[j where m](s, v) + sigmoid(log(A) - l) * x, l = logsumexp[j where m](s)",
        search: [Kind::Nary(NaryOp::Mul)],
        apply: quotient_with_further_value,
        when: [NOT_POSITIVE],
        sound: "x / (x + A) = sigmoid(log x - log A) for positive A, and A / (x + A) the rest; over no keys A has all",
        stability: NeedsShift,
        class: Exact,
        source: "RWKV, arXiv 2305.13048 section 3",
        draw: [
            "(sum[j where j < i](exp($s(i, j)) * $r(j, e)) + $u(i) * $r(i, e)) / (sum[j where j < i](exp($s(i, j))) + $u(i))",
            "(sum[j](exp($s(j)) * $r(j, e)) + exp($u(i)) * $r(i)) / (exp($u(i)) + sum[j](exp($s(j))))",
        ],
    },
    rule! {
        /// An exponential over the sum of all exponentials is a softmax weight.
        name: "exponential-share-is-softmax",
        before: "exp(s) / sum[j](exp(s))",
        after: "softmax[j](s)",
        search: [Kind::Nary(NaryOp::Mul)],
        apply: exponential_share_is_softmax,
        when: [RESTRICTED],
        sound: "the definition of softmax over all positions",
        stability: Reorders,
        class: Exact,
        source: "the definition of softmax",
        draw: ["exp($s(i, j)) / sum[j](exp($s(i, j)))", "$r(i, j) * exp($s(i, j)) / sum[j](exp($s(i, j)))"],
    },
    rule! {
        /// The logarithm of a sum of exponentials is the stable reduction.
        name: "log-of-sum-is-logsumexp",
        before: "log(sum[j where m](exp(s)))",
        after: "logsumexp[j where m](s)",
        search: [Kind::Unary(UnaryOp::Log)],
        apply: log_of_sum_is_logsumexp,
        when: [],
        sound: "the definition of logsumexp",
        stability: Reorders,
        class: Exact,
        source: "arithmetic",
        draw: ["log(sum[j where $m(i, j)](exp($r(i, j))))"],
    },
];

/// The score of a sum's body that is an exponential, with the other factors.
fn exponential_parts(site: &Site<'_>, body: Id) -> Vec<(Tree, Id, Vec<Id>)> {
    let mut out = Vec::new();
    for (from, factors) in site.factorings(body) {
        for (at, factor) in factors.iter().enumerate() {
            for (exp, score) in site.unaries(*factor, UnaryOp::Exp) {
                let rest = factors.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| *f).collect();
                let tree = match &from {
                    Tree::Node(product, children) => {
                        let mut children = children.clone();
                        children[at] = Tree::matched(exp);
                        Tree::Node(product.clone(), children)
                    }
                    _ => Tree::matched(exp),
                };
                out.push((tree, site.find(score), rest));
            }
        }
    }
    out
}

/// A denominator `sum[axis where domain](exp(score)) + rest` among the factors of a product.
struct Denominator {
    /// Which factor it is.
    at: usize,
    /// The matched factor.
    tree: Tree,
    axis: AxisId,
    domain: TermId,
    score: Id,
    rest: Vec<Id>,
}

/// A summand of a divisor: the addition it is in, if any, itself, and the other summands.
struct Summand<'a> {
    within: Option<(&'a ENode, usize)>,
    class: Id,
    rest: Vec<Id>,
}

fn summands<'a>(site: &Site<'a>, divisor: Id, with_rest: bool) -> Vec<Summand<'a>> {
    if !with_rest {
        return vec![Summand { within: None, class: divisor, rest: Vec::new() }];
    }
    let of = |(addition, xs): (&'a ENode, &'a [Id])| {
        (0..xs.len()).map(move |n| Summand { within: Some((addition, n)), class: xs[n], rest: others(xs, n) })
    };
    site.additions(divisor).flat_map(of).collect()
}

/// The denominators of a product, with further summands or without.
fn denominators(site: &Site<'_>, factors: &[Id], with_rest: bool) -> Vec<Denominator> {
    let mut out = Vec::new();
    for (at, factor) in factors.iter().enumerate() {
        for (recip, divisor) in site.unaries(*factor, UnaryOp::Recip) {
            for summand in summands(site, divisor, with_rest) {
                for (reduce, axis, domain, body) in site.reductions(summand.class, ReduceOp::Sum) {
                    let weights = exponential_parts(site, body).into_iter().filter(|(_, _, extra)| extra.is_empty());
                    for (weight, score, _) in weights {
                        let sum = Tree::Node(reduce.clone(), vec![weight]);
                        let divisor = match summand.within {
                            Some((addition, n)) => Tree::matched_with(addition, n, sum),
                            None => sum,
                        };
                        let tree = Tree::Node(recip.clone(), vec![divisor]);
                        out.push(Denominator { at, tree, axis, domain, score, rest: summand.rest.clone() });
                    }
                }
            }
        }
    }
    out
}

/// A sum of values under the denominator's weights among some classes.
struct Numerator {
    at: usize,
    tree: Tree,
    value: Vec<Id>,
}

fn numerators(site: &Site<'_>, classes: &[Id], below: &Denominator) -> Vec<Numerator> {
    let mut out = Vec::new();
    for (at, factor) in classes.iter().enumerate() {
        for (reduce, axis, domain, body) in site.reductions(*factor, ReduceOp::Sum) {
            if (axis, domain) != (below.axis, below.domain) {
                continue;
            }
            for (tree, score, value) in exponential_parts(site, body) {
                if score == below.score {
                    out.push(Numerator { at, tree: Tree::Node(reduce.clone(), vec![tree]), value });
                }
            }
        }
    }
    out
}

fn others(ids: &[Id], at: usize) -> Vec<Id> {
    ids.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, id)| *id).collect()
}

/// Unites a product with `attend * gate * the factors left`.
fn unite(node: &ENode, below: &Denominator, above: &Numerator, gate: Option<Tree>, out: &mut Outcome) {
    let factors = node.children();
    let mut from: Vec<Tree> = factors.iter().map(|f| Tree::Class(*f)).collect();
    from[below.at] = below.tree.clone();
    from[above.at] = above.tree.clone();
    let rest = factors.iter().enumerate().filter(|(n, _)| *n != below.at && *n != above.at);
    let mut to: Vec<Tree> = rest.map(|(_, f)| Tree::Class(*f)).collect();
    let value = Tree::product_of(above.value.iter().copied());
    to.push(Tree::attend(below.axis, below.domain, Tree::Class(below.score), value));
    to.extend(gate);
    out.union(Tree::Node(node.clone(), from), Tree::Product(to));
}

fn exponential_quotient_is_attend(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    for below in denominators(site, node.children(), false) {
        for above in numerators(site, node.children(), &below).into_iter().filter(|above| above.at != below.at) {
            if site.domain(below.domain).is_never_empty(site.spec(), below.axis) {
                unite(node, &below, &above, None, out);
            } else {
                out.decline(MAY_BE_EMPTY);
            }
        }
    }
}

fn quotient_with_sink(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    for below in denominators(site, node.children(), true) {
        for above in numerators(site, node.children(), &below).into_iter().filter(|above| above.at != below.at) {
            if !below.rest.iter().all(|r| site.facts(*r).positive) {
                out.decline(NOT_POSITIVE);
                continue;
            }
            let rest = Tree::Sum(below.rest.iter().map(|r| Tree::Class(*r)).collect());
            let (score, rest) = match unshifted(site, &below) {
                Some((score, exponent)) => (score, exponent),
                None => (Tree::Class(below.score), Tree::unary(UnaryOp::Log, rest)),
            };
            let lse = Tree::reduce(ReduceOp::LogSumExp, below.axis, below.domain, score);
            let minus = Tree::Product(vec![Tree::Const(-1.0), rest]);
            let gate = Tree::unary(UnaryOp::Sigmoid, Tree::Sum(vec![lse, minus]));
            unite(node, &below, &above, Some(gate), out);
        }
    }
}

/// The scores and the exponent of a lone further summand without what both have subtracted: a maximum that is spelled out.
fn unshifted(site: &Site<'_>, below: &Denominator) -> Option<(Tree, Tree)> {
    let [further] = below.rest[..] else { return None };
    let (_, exponent) = site.unaries(further, UnaryOp::Exp).next()?;
    let summands = |class: Id| {
        let sum = site.additions(class).next().map(|(_, xs)| xs.iter().map(|x| site.find(*x)).collect());
        sum.unwrap_or_else(|| vec![site.find(class)])
    };
    let (score, exponent): (Vec<Id>, Vec<Id>) = (summands(below.score), summands(exponent));
    let is_shift = |x: &Id| !site.varies(*x, below.axis) && site.facts(*x).defined;
    let shift = score.iter().copied().find(|x| exponent.contains(x) && is_shift(x))?;
    let without = |mut xs: Vec<Id>| {
        xs.remove(xs.iter().position(|x| *x == shift)?);
        Some(match xs.is_empty() {
            true => Tree::Const(0.0),
            false => Tree::Sum(xs.into_iter().map(Tree::Class).collect()),
        })
    };
    Some((without(score)?, without(exponent)?))
}

fn quotient_with_further_value(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let factors = node.children();
    for below in denominators(site, factors, true) {
        let [further] = below.rest[..] else { continue };
        for (at, factor) in factors.iter().enumerate().filter(|(at, _)| *at != below.at) {
            for (addition, summands) in site.additions(*factor) {
                for above in numerators(site, summands, &below) {
                    let [other] = others(summands, above.at)[..] else { continue };
                    let Some((product, value)) = without_factor(site, other, further) else { continue };
                    if !site.facts(further).positive {
                        out.decline(NOT_POSITIVE);
                        continue;
                    }
                    let mut sum: Vec<Tree> = summands.iter().map(|_| product.clone()).collect();
                    sum[above.at] = above.tree.clone();
                    let mut from: Vec<Tree> = factors.iter().map(|f| Tree::Class(*f)).collect();
                    from[below.at] = below.tree.clone();
                    from[at] = Tree::Node(addition.clone(), sum);
                    let rest = factors.iter().enumerate().filter(|(n, _)| *n != below.at && *n != at);
                    let mut to: Vec<Tree> = rest.map(|(_, f)| Tree::Class(*f)).collect();
                    to.push(shared(site, &below, further, above.value, value));
                    out.union(Tree::Node(node.clone(), from), Tree::Product(to));
                }
            }
        }
    }
}

/// The other factors of a product with this factor, with the matched product.
fn without_factor(site: &Site<'_>, product: Id, factor: Id) -> Option<(Tree, Vec<Id>)> {
    site.factorings(product).into_iter().find_map(|(from, factors)| {
        let at = factors.iter().position(|f| site.find(*f) == site.find(factor))?;
        Some((from, others(&factors, at)))
    })
}

/// The attention under a denominator's weights and a further value, each by its share.
fn shared(site: &Site<'_>, below: &Denominator, further: Id, values: Vec<Id>, value: Vec<Id>) -> Tree {
    let grade = match site.unaries(further, UnaryOp::Exp).next() {
        Some((_, exponent)) => Tree::Class(exponent),
        None => Tree::unary(UnaryOp::Log, Tree::Class(further)),
    };
    let lse = Tree::reduce(ReduceOp::LogSumExp, below.axis, below.domain, Tree::Class(below.score));
    let share = |a: &Tree, b: &Tree| {
        let minus = Tree::Product(vec![Tree::Const(-1.0), b.clone()]);
        Tree::unary(UnaryOp::Sigmoid, Tree::Sum(vec![a.clone(), minus]))
    };
    let attend = Tree::attend(below.axis, below.domain, Tree::Class(below.score), Tree::product_of(values));
    let mut own: Vec<Tree> = value.into_iter().map(Tree::Class).collect();
    own.push(share(&grade, &lse));
    Tree::Sum(vec![Tree::Product(vec![share(&lse, &grade), attend]), Tree::Product(own)])
}

fn exponential_share_is_softmax(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let factors = node.children();
    for below in denominators(site, factors, false) {
        for (at, factor) in factors.iter().enumerate() {
            for (exp, score) in site.unaries(*factor, UnaryOp::Exp) {
                if site.find(score) != below.score || !site.varies(score, below.axis) {
                    continue;
                }
                if !site.is_full(below.domain) {
                    out.decline(RESTRICTED);
                    continue;
                }
                let mut from: Vec<Tree> = factors.iter().map(|f| Tree::Class(*f)).collect();
                from[below.at] = below.tree.clone();
                from[at] = Tree::matched(exp);
                let rest = factors.iter().enumerate().filter(|(n, _)| *n != below.at && *n != at);
                let mut to: Vec<Tree> = rest.map(|(_, f)| Tree::Class(*f)).collect();
                let softmax = ENode::Softmax(below.axis, below.domain, [Id::from(0)]);
                to.push(Tree::Node(softmax, vec![Tree::Class(below.score)]));
                out.union(Tree::Node(node.clone(), from), Tree::Product(to));
            }
        }
    }
}

fn log_of_sum_is_logsumexp(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Unary(_, [sum]) = node else { return };
    for (reduce, axis, domain, body) in site.reductions(*sum, ReduceOp::Sum) {
        for (exp, score) in site.unaries(body, UnaryOp::Exp) {
            let from = Tree::matched_with(node, 0, Tree::matched_with(reduce, 0, Tree::matched(exp)));
            out.union(from, Tree::reduce(ReduceOp::LogSumExp, axis, domain, Tree::Class(score)));
        }
    }
}
