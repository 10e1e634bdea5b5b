//! Arithmetic: normal forms of products and sums, reciprocals, squares.
//!
//! Keeps products and sums flat and sorted, so that the other families see
//! whole factor sets. Must not look at reductions.

use attnc_algebra::{BinaryOp, NaryOp, UnaryOp};
use egg::{Id, Language};

use crate::build::Tree;
use crate::language::{ENode, Kind};
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const MUL: Kind = Kind::Nary(NaryOp::Mul);
const ADD: Kind = Kind::Nary(NaryOp::Add);

const TOO_LONG: &str = "the flat form would have more than ten operands";
const NOT_JOINED: &str = "the parts do not join different axes";
const MAY_BE_NEGATIVE: &str = "the logarithm's operand is not proved to be nonnegative";
const MAY_BE_ZERO: &str = "the divisor is not proved to be nonzero";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// A product of products is one product, in order.
        name: "products-flatten",
        before: "A * (B * C)",
        after: "A * B * C",
        search: [MUL],
        apply: flatten,
        when: [TOO_LONG],
        sound: "multiplication is associative and commutative over the reals",
        stability: Reorders,
        class: Exact,
        source: "arithmetic",
        draw: ["sum[d](sum[j]($r(d) * $r(j)) * $r(d))"],
    },
    rule! {
        /// A sum of sums is one sum, in order.
        name: "additions-flatten",
        before: "A + (B + C)",
        after: "A + B + C",
        search: [ADD],
        apply: flatten,
        when: [TOO_LONG],
        sound: "addition is associative and commutative over the reals",
        stability: Reorders,
        class: Exact,
        source: "arithmetic",
        draw: ["sum[j]($r(i, j) + $r(j)) + $r(i)"],
    },
    rule! {
        /// A constant expression is its value.
        name: "constants-fold",
        before: "f(C)",
        after: "C'",
        search: [
            Kind::Unary(UnaryOp::Exp), Kind::Unary(UnaryOp::Sqrt), Kind::Unary(UnaryOp::Recip),
            Kind::Unary(UnaryOp::Log), Kind::Binary(BinaryOp::Pow)
        ],
        apply: constants_fold,
        when: [],
        sound: "evaluation in f64",
        stability: Same,
        class: Exact,
        source: "arithmetic",
        draw: ["$r(i) / 3"],
    },
    rule! {
        /// The reciprocal of a product that joins axes, or has scalar factors, is the product of the reciprocals.
        name: "reciprocal-splits",
        before: "1 / (A * B)",
        after: "(1 / A) * (1 / B)",
        search: [Kind::Unary(UnaryOp::Recip)],
        apply: reciprocal_splits,
        when: [NOT_JOINED],
        sound: "inverses in a field; both sides are undefined at the same points",
        stability: Reorders,
        class: Exact,
        source: "arithmetic",
        draw: ["1 / ($p(i) * $p(j))"],
    },
    rule! {
        /// A factor and its reciprocal cancel.
        name: "reciprocals-cancel",
        before: "A / A * B",
        after: "B",
        search: [MUL],
        apply: reciprocals_cancel,
        when: [MAY_BE_ZERO],
        sound: "inverses in a field; A is positive",
        stability: Reorders,
        class: Exact,
        source: "arithmetic",
        draw: ["$r(i) / $u(h) * $r(j) / (1 / $u(h))", "$r(i) * $u(i) / $u(i)"],
    },
    rule! {
        /// The reciprocal of a reciprocal is the value.
        name: "double-reciprocal",
        before: "1 / (1 / A)",
        after: "A",
        search: [Kind::Unary(UnaryOp::Recip)],
        apply: double_reciprocal,
        when: [MAY_BE_ZERO],
        sound: "inverses in a field; A is positive",
        stability: Reorders,
        class: Exact,
        source: "arithmetic",
        draw: ["1 / (1 / $p(i))"],
    },
    rule! {
        /// The square of a sum that joins axes becomes squares and products.
        name: "square-expands",
        before: "(A + B) ^ 2",
        after: "A ^ 2 + 2 * A * B + B ^ 2",
        search: [Kind::Binary(BinaryOp::Pow), MUL],
        apply: square_expands,
        when: [NOT_JOINED],
        sound: "binomial identity; absolute rounding grows with A^2 + B^2",
        stability: Reorders,
        class: Exact,
        source: "L2 self-attention, arXiv 2006.04710 section 3.2",
        draw: ["($r(i) - $r(j)) ^ 2", "($s(i) + $u(j)) * ($s(i) + $u(j))"],
    },
    rule! {
        /// Factors common to all summands leave the sum.
        name: "common-factors-leave",
        before: "A * B + A * C",
        after: "A * (B + C)",
        search: [ADD],
        apply: common_factors_leave,
        when: [],
        sound: "distributivity",
        stability: Reorders,
        class: Exact,
        source: "arithmetic",
        draw: ["$s(i) * sum[j]($r(i, j)) + $s(i) * sum[j]($r(j))"],
    },
    rule! {
        /// exp and log cancel.
        name: "log-of-exp-cancels",
        before: "log(exp(A))",
        after: "A",
        search: [Kind::Unary(UnaryOp::Log)],
        apply: log_of_exp_cancels,
        when: [],
        sound: "inverse functions",
        stability: Reorders,
        class: Exact,
        source: "arithmetic",
        draw: ["log(exp($r(i)))"],
    },
    rule! {
        /// log and exp cancel where the logarithm is defined or -inf.
        name: "exp-of-log-cancels",
        before: "exp(log(A))",
        after: "A",
        search: [Kind::Unary(UnaryOp::Exp)],
        apply: exp_of_log_cancels,
        when: [MAY_BE_NEGATIVE],
        sound: "inverse functions; A is not negative, and exp(-inf) is 0",
        stability: Reorders,
        class: Exact,
        source: "arithmetic",
        draw: ["exp(log($p(i)))"],
    },
];

fn flatten(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Nary(op, xs) = node else { return };
    let kind = node.discriminant();
    let rebuild = |operands: Vec<Tree>| match op {
        NaryOp::Mul => Tree::Product(operands),
        _ => Tree::Sum(operands),
    };
    if !xs.is_sorted() {
        out.union(Tree::matched(node), rebuild(xs.iter().map(|x| Tree::Class(*x)).collect()));
    }
    for (at, x) in xs.iter().enumerate() {
        for inner in site.nodes(*x, kind) {
            if xs.len() + inner.children().len() > 11 {
                out.decline(TOO_LONG);
                continue;
            }
            let mut operands: Vec<Tree> = xs.iter().map(|x| Tree::Class(*x)).collect();
            operands.splice(at..=at, inner.children().iter().map(|c| Tree::Class(*c)));
            out.union(Tree::matched_with(node, at, Tree::matched(inner)), rebuild(operands));
        }
    }
}

fn constants_fold(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let constant = |at: usize| site.facts(node.children()[at]).constant.map(attnc_algebra::Real::get);
    let value = match node {
        ENode::Unary(op, _) => constant(0).map(|x| op.eval(x)),
        ENode::Binary(op, _) => constant(0).zip(constant(1)).map(|(x, y)| op.eval(x, y)),
        _ => None,
    };
    if let Some(value) = value.filter(|v| v.is_finite()) {
        out.union(Tree::matched(node), Tree::Const(value));
    }
}

fn reciprocal_splits(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Unary(_, [x]) = node else { return };
    for (product, factors) in site.products(*x) {
        let joined = site.free(*x).len();
        let scalar = |f: &Id| site.free(*f).is_empty() && site.facts(*f).data_free;
        if factors.iter().all(|f| site.free(*f).len() < joined) || factors.iter().any(scalar) {
            let parts = factors.iter().map(|f| Tree::unary(UnaryOp::Recip, Tree::Class(*f))).collect();
            out.union(Tree::matched_with(node, 0, Tree::matched(product)), Tree::Product(parts));
        } else {
            out.decline(NOT_JOINED);
        }
    }
}

fn reciprocals_cancel(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let factors = node.children();
    for (below_at, below) in factors.iter().enumerate() {
        for (recip, x) in site.unaries(*below, UnaryOp::Recip) {
            let same = |f: &Id| site.find(*f) == site.find(x);
            let Some(above_at) = factors.iter().position(same) else { continue };
            if !site.facts(x).positive {
                out.decline(MAY_BE_ZERO);
                continue;
            }
            let rest = factors.iter().enumerate().filter(|(n, _)| *n != below_at && *n != above_at);
            let to = Tree::product_of(rest.map(|(_, f)| *f));
            out.union(Tree::matched_with(node, below_at, Tree::matched(recip)), to);
        }
    }
}

fn double_reciprocal(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Unary(_, [x]) = node else { return };
    for (inner, y) in site.unaries(*x, UnaryOp::Recip) {
        if site.facts(y).positive {
            out.union(Tree::matched_with(node, 0, Tree::matched(inner)), Tree::Class(y));
        } else {
            out.decline(MAY_BE_ZERO);
        }
    }
}

fn square_expands(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let (base, rest): (Id, Vec<Id>) = match node {
        ENode::Binary(BinaryOp::Pow, [x, two]) if site.facts(*two).constant.is_some_and(|c| c.get() == 2.0) => {
            (*x, Vec::new())
        }
        ENode::Nary(NaryOp::Mul, xs) => match xs.windows(2).position(|w| w[0] == w[1]) {
            Some(at) => {
                (xs[at], xs.iter().enumerate().filter(|(n, _)| *n != at && *n != at + 1).map(|e| *e.1).collect())
            }
            None => return,
        },
        _ => return,
    };
    for (addition, summands) in site.additions(base) {
        let joined = site.free(base).len();
        if summands.len() > 4 || !summands.iter().all(|s| site.free(*s).len() < joined) {
            out.decline(NOT_JOINED);
            continue;
        }
        let mut terms = Vec::new();
        for (n, a) in summands.iter().enumerate() {
            terms.push(Tree::product_of([*a, *a]));
            for b in &summands[n + 1..] {
                terms.push(Tree::Product(vec![Tree::Const(2.0), Tree::Class(*a), Tree::Class(*b)]));
            }
        }
        let from = match node {
            ENode::Binary(..) => Tree::matched_with(node, 0, Tree::matched(addition)),
            _ => Tree::matched(node),
        };
        let mut to: Vec<Tree> = rest.iter().map(|x| Tree::Class(*x)).collect();
        to.push(Tree::Sum(terms));
        out.union(from, Tree::Product(to));
    }
}

fn common_factors_leave(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Nary(_, summands) = node else { return };
    let mut products = Vec::new();
    for s in summands.iter() {
        let Some((product, factors)) = site.products(*s).next() else { return };
        products.push((product, factors.iter().map(|f| site.find(*f)).collect::<Vec<Id>>()));
    }
    let Some((_, first)) = products.first() else { return };
    let common: Vec<Id> = first
        .iter()
        .copied()
        .filter(|f| site.facts(*f).constant.is_none() && products.iter().all(|(_, fs)| fs.contains(f)))
        .fold(Vec::new(), |mut seen, f| {
            if !seen.contains(&f) {
                seen.push(f);
            }
            seen
        });
    if common.is_empty() {
        return;
    }
    let mut from = Vec::new();
    let mut inner = Vec::new();
    for (product, factors) in &products {
        from.push(Tree::matched(product));
        let mut rest = factors.clone();
        for f in &common {
            let at = rest.iter().position(|x| x == f).expect("a common factor is in every product");
            rest.remove(at);
        }
        inner.push(Tree::product_of(rest));
    }
    let mut to: Vec<Tree> = common.into_iter().map(Tree::Class).collect();
    to.push(Tree::Sum(inner));
    out.union(Tree::Node(node.clone(), from), Tree::Product(to));
}

fn log_of_exp_cancels(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Unary(_, [x]) = node else { return };
    for (exp, inner) in site.unaries(*x, UnaryOp::Exp) {
        out.union(Tree::matched_with(node, 0, Tree::matched(exp)), Tree::Class(inner));
    }
}

fn exp_of_log_cancels(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Unary(_, [x]) = node else { return };
    for (log, inner) in site.unaries(*x, UnaryOp::Log) {
        if site.facts(inner).nonnegative {
            out.union(Tree::matched_with(node, 0, Tree::matched(log)), Tree::Class(inner));
        } else {
            out.decline(MAY_BE_NEGATIVE);
        }
    }
}
