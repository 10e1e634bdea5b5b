//! Softmax over a prefix whose score parts into keys and positions: carried from position to position.
//!
//! AFT (arXiv 2105.14103) and the WKV of RWKV-4 (arXiv 2305.13048) are such, whatever their decays. Carried are a
//! running maximum, the sum of exponentials and the weighted sum of values, whose merge is associative. A key that is
//! scored apart because it is the row's own leaves by the merge law of softmax. How scores are read is in
//! [`mod@crate::online`].

use attnc_algebra::{AxisId, BinaryOp, ReduceOp, TermId, UnaryOp};
use egg::Id;

use crate::build::Tree;
use crate::decay::{NO_TERM, is_readable_at};
use crate::domain::Domain;
use crate::language::{ENode, Kind};
use crate::online::{
    CONDITION_ON_ROW, CONDITION_WIDENS, JOINS, MAY_BE_INFINITE, NOT_PREFIX, Prefix, ROW_IN_VALUE, Separated,
};
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const ROW_IS_LEFT_OUT: &str = "the log-sum-exp has a multiple of the row's position beside";
const NOT_OWN: &str = "the choice is not that of the row's own key";

pub(super) static RULES: &[Rule] = &[
    rule! {
        /// Attention over a prefix whose score parts into keys and positions in between is carried along.
        name: "prefix-attend-is-scan",
        before: "attend[j where j <= i - k](s(j) + sum[t where j < t and t <= i](g), v)",
        after: "attend[j <= i](s(j - k), v[j - k], g)",
        search: [Kind::Attend],
        apply: prefix_attend_is_scan,
        when: [NOT_PREFIX, CONDITION_ON_ROW, CONDITION_WIDENS, ROW_IN_VALUE, JOINS, NO_TERM, MAY_BE_INFINITE],
        sound: "the definition of the scan; softmax is invariant under a shift of each row",
        stability: Reorders,
        class: Exact,
        source: "AFT, arXiv 2105.14103; RWKV, arXiv 2305.13048 section 3; online softmax, arXiv 1805.02867",
        draw: [
            "sum[j](softmax[j where j <= i]($r(j, e)) * $r(j, e))",
            "sum[j](softmax[j where j <= i]($r(j) - $p(h) * (i - j)) * $r(j, e))",
            "sum[j](softmax[j where j < i]($r(j, e) - abs(i - j) * $p(e)) * $r(j, e))",
            "sum[j](softmax[j where j <= i - 2 and j mod 2 == 0]($r(j, e) + $r(e) * (i - j - 1)) * $r(j, e))",
            "sum[j](softmax[j where j <= i]($r(j) + sum[t where j < t and t <= i]($r(t, e))) * $r(j, e))",
            "sum[j](softmax[j where j < i]($r(j) - sum[t where j < t and t < i]($r(t, e))) * $r(j))",
            "sum[j](softmax[j where j < i]($r(j) + sum[t where j <= t and t <= i]($r(t, e))) * $r(j))",
            "sum[j](softmax[j where j <= i]($r(j) - 2 * sum[t where t <= j]($r(t, e))) * $r(j))",
            "sum[j](softmax[j where j < i]($r(j) + j / 3 - sum[t where t < j]($r(t))) * $r(j))",
        ],
    },
    rule! {
        /// So is the log-sum-exp.
        name: "prefix-logsumexp-is-scan",
        before: "logsumexp[j where j <= i - k](s(j) + sum[t where j < t and t <= i](g))",
        after: "logsumexp[j <= i](s(j - k), g)",
        search: [Kind::Reduce(ReduceOp::LogSumExp)],
        apply: prefix_logsumexp_is_scan,
        when: [NOT_PREFIX, CONDITION_ON_ROW, CONDITION_WIDENS, JOINS, NO_TERM, MAY_BE_INFINITE, ROW_IS_LEFT_OUT],
        sound: "the definition of the scan; nothing is left out",
        stability: Reorders,
        class: Exact,
        source: "online softmax, arXiv 1805.02867",
        draw: [
            "logsumexp[j where j <= i]($r(j, e))",
            "logsumexp[j where j <= i]($r(j) - $p(h) * (i - j))",
            "logsumexp[j where j <= i]($r(j, e) - 2 * sum[t where j < t and t <= i]($r(t, e)))",
        ],
    },
    rule! {
        /// The row's own key, scored apart, leaves a prefix.
        name: "own-key-leaves-attend",
        before: "attend[j where j <= i](if i == j then a else s, v)",
        after: "sigmoid(a[i] - l) * v[i] + sigmoid(l - a[i]) * attend[j where j < i](s, v), l = logsumexp[j where j < i](s)",
        search: [Kind::Attend],
        apply: own_key_leaves_attend,
        when: [NOT_OWN, NO_TERM, MAY_BE_INFINITE],
        sound: "the softmax denominators add; over no keys the log-sum-exp is -inf, and the own key has all weight",
        stability: NeedsShift,
        class: Exact,
        source: "RWKV, arXiv 2305.13048 section 3; the (o, lse) monoid of arXiv 2205.14135 section 3.1",
        draw: [
            "sum[j](softmax[j where j <= i](if i == j then $r(j, e) + 1 else $r(j, e) - (i - j) * $p(e)) * $r(j, e))",
            "sum[j](softmax[j where j <= i](if j < i then $r(j, e) else $r(e)) * $r(j, e))",
        ],
    },
    rule! {
        /// So it does from the log-sum-exp.
        name: "own-key-leaves-logsumexp",
        before: "logsumexp[j where j <= i](if i == j then a else s)",
        after: "logaddexp(a[i], logsumexp[j where j < i](s))",
        search: [Kind::Reduce(ReduceOp::LogSumExp)],
        apply: own_key_leaves_logsumexp,
        when: [NOT_OWN, NO_TERM],
        sound: "sums of exponentials over disjoint parts add",
        stability: Reorders,
        class: Exact,
        source: "RWKV, arXiv 2305.13048 section 3",
        draw: ["logsumexp[j where j <= i](if j != i then $r(j, e) - (i - j) / 2 else $r(j, e))"],
    },
];

/// The prefix that a node runs over, if it is one.
fn prefix(site: &Site<'_>, (axis, domain): (AxisId, TermId), parts: &[Id], out: &mut Outcome) -> Option<Prefix> {
    if site.is_full(domain) {
        return None;
    }
    Prefix::of(site, axis, domain, parts).map_err(|reason| out.decline(reason)).ok()
}

fn prefix_attend_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Attend(axis, domain, [score, value]) = node else { return };
    let Some(prefix) = prefix(site, (*axis, *domain), &[*score, *value], out) else { return };
    if site.varies(*value, prefix.sum.row) {
        out.decline(ROW_IN_VALUE);
        return;
    }
    for reading in Separated::all(site, &prefix) {
        let seen = reading.and_then(|own| Ok((own, prefix.seen(site, Tree::Class(*value), &[*value], 0.0)?)));
        match seen {
            Ok((Separated { from, decay, score, .. }, value)) => {
                let to = Tree::online(*axis, prefix.sum.row, decay, score, Some(value));
                out.union(Tree::matched_with(node, 0, from), to);
            }
            Err(reason) => out.decline(reason),
        }
    }
}

fn prefix_logsumexp_is_scan(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(_, axis, domain, [score]) = node else { return };
    let Some(prefix) = prefix(site, (*axis, *domain), &[*score], out) else { return };
    for reading in Separated::all(site, &prefix) {
        match reading {
            Ok(Separated { from, decay, score, whole: true }) => {
                let to = Tree::online(*axis, prefix.sum.row, decay, score, None);
                out.union(Tree::matched_with(node, 0, from), to);
            }
            Ok(_) => out.decline(ROW_IS_LEFT_OUT),
            Err(reason) => out.decline(reason),
        }
    }
}

/// A score that chooses between that of the row's own key and that of earlier ones.
struct OwnKey {
    row: AxisId,
    /// The matched choice.
    choice: Tree,
    own: Id,
    others: Id,
}

/// The choices that a score over a prefix up to the row is, if what earlier keys have parts into keys and positions.
fn own_keys(site: &Site<'_>, (axis, domain): (AxisId, TermId), score: Id, out: &mut Outcome) -> Vec<OwnKey> {
    let spec = site.spec();
    let restriction = site.domain(domain);
    let Some((row, 0)) = restriction.ends_at(spec, axis) else { return Vec::new() };
    let (Some(until), Some(from)) = (Domain::up_to(spec, axis, row), Domain::up_to(spec, row, axis)) else {
        return Vec::new();
    };
    let same = Domain::all(spec, [until, from]);
    let is_own = |chosen: Domain| {
        let chosen = Domain::all(spec, [restriction.clone(), chosen]);
        chosen.is_subset(spec, &same) && same.is_subset(spec, &chosen)
    };
    let mut found = Vec::new();
    for node in site.nodes(score, Kind::Select) {
        let ENode::Select(condition, [then, otherwise]) = node else { continue };
        let condition = site.domain(*condition);
        let (own, others) = match (is_own(condition.clone()), is_own(condition.complement(spec))) {
            (true, _) => (*then, *otherwise),
            (_, true) => (*otherwise, *then),
            _ => {
                out.decline(NOT_OWN);
                continue;
            }
        };
        let Ok(prefix) = Prefix::of(site, axis, domain, &[others]) else { continue };
        if !Separated::exists(site, &prefix) {
            continue;
        }
        match is_readable_at(site, own, row) {
            true => found.push(OwnKey { row, choice: Tree::matched(node), own, others }),
            false => out.decline(NO_TERM),
        }
    }
    found
}

fn own_key_leaves_attend(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Attend(axis, domain, [score, value]) = node else { return };
    for OwnKey { row, choice, own, others } in own_keys(site, (*axis, *domain), *score, out) {
        if !site.facts(own).defined {
            out.decline(MAY_BE_INFINITE);
            continue;
        }
        if !is_readable_at(site, *value, row) {
            out.decline(NO_TERM);
            continue;
        }
        let here = |class: Id| Tree::Renamed(Box::new(Tree::Class(class)), *axis, row);
        let before = |tree: Tree| Tree::Before(Box::new(tree), row);
        let lse = before(Tree::reduce(ReduceOp::LogSumExp, *axis, *domain, Tree::Class(others)));
        let attend = before(Tree::attend(*axis, *domain, Tree::Class(others), Tree::Class(*value)));
        let to = Tree::Sum(vec![
            Tree::Product(vec![share(here(own), lse.clone()), here(*value)]),
            Tree::Product(vec![share(lse, here(own)), attend]),
        ]);
        out.union(Tree::matched_with(node, 0, choice), to);
    }
}

/// `exp(a) / (exp(a) + exp(b))`
fn share(a: Tree, b: Tree) -> Tree {
    Tree::unary(UnaryOp::Sigmoid, Tree::Sum(vec![a, Tree::Product(vec![Tree::Const(-1.0), b])]))
}

fn own_key_leaves_logsumexp(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let ENode::Reduce(_, axis, domain, [score]) = node else { return };
    for OwnKey { row, choice, own, others } in own_keys(site, (*axis, *domain), *score, out) {
        let own = Tree::Renamed(Box::new(Tree::Class(own)), *axis, row);
        let lse = Tree::reduce(ReduceOp::LogSumExp, *axis, *domain, Tree::Class(others));
        let lse = Tree::Before(Box::new(lse), row);
        let either = ENode::Binary(BinaryOp::LogAddExp, [Id::from(0); 2]);
        out.union(Tree::matched_with(node, 0, choice), Tree::Node(either, vec![own, lse]));
    }
}
