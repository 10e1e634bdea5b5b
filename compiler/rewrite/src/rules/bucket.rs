//! Equal keys: reductions under an equality of keys run inside buckets.
//!
//! Positions are put in the stable order of their keys, where those with one
//! key lie together and are found by search. The rule applies to any key that
//! depends on the rows or on the reduced axis alone, whatever computes it. A
//! condition on the reduced positions alone, such as which of them are no
//! padding, is a key of two values.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, Spec, TermId, Type};

use crate::bucket::{Bucket, Keys};
use crate::build::Tree;
use crate::facts::{any_sub_term, is_small_tree, reads_input};
use crate::language::{ENode, Kind};
use crate::linear_form::LinearForm;
use crate::rule;
use crate::rule::{Outcome, Rule, Site};

const NAME: &str = "equal-keys-are-buckets";
const IN_ORDER: &str = "equal keys lie together already";
const NO_KEYS: &str =
    "no equality of a key of the rows with a key of the reduced axis, no condition on data of that axis";
const UNION: &str = "a union of equalities is not one bucket for each row";
const STUCK: &str = "a part that joins the rows and the reduced axis cannot be read in another order";

pub(super) static RULES: &[Rule] = &[rule! {
    /// A reduction over equal keys runs inside the buckets of the sorted keys.
    name: "equal-keys-are-buckets",
    before: "reduce[j where kj == ki and m](B)",
    after: "at[i = order[i](oi)](reduce[j where kj[oj] == ki[oi] and m[oi, oj]](B[oi, oj])), oi = order[i](ki), oj = order[j](kj)",
    search: [
        Kind::Attend,
        Kind::Reduce(ReduceOp::Sum),
        Kind::Reduce(ReduceOp::LogSumExp),
        Kind::Reduce(ReduceOp::Max),
        Kind::Reduce(ReduceOp::Min),
        Kind::Reduce(ReduceOp::Prod),
    ],
    apply: equal_keys_are_buckets,
    when: [IN_ORDER, NO_KEYS, UNION, STUCK],
    sound: "orders are permutations: the reduction runs over the same positions, the order of an order is its inverse, and \
            in one stable order equal keys stand as they stood",
    stability: Reorders,
    class: Exact,
    source: "Reformer, arXiv 2001.04451 section 2; Routing Transformer, arXiv 2003.05997 section 4",
    draw: [
        "sum[j](softmax[j where $k(j) == $k(i)]($r(i, j)) * $r(j, e))",
        "sum[j](softmax[j where $k(h, j) == $k(i) and j <= i](sum[d]($r(i, d) * $r(j, d))) * $r(j, e))",
        "sum[j where $k(h, j) == $k(h, i) and abs(i - j) <= 3]($r(i, j) * $r(h, j, e))",
        "sum[j](softmax[j where (j * j) mod 3 == (i * i) mod 3 and j <= i]($r(i, j)) * $r(j, e))",
        "sum[j where (j * j) mod 3 == (i * i) mod 3 and i < j]($r(i, j) * $r(j, e))",
        "logsumexp[j where (j * j) mod 3 == (i * i) mod 3]($r(i, j) + $r(j))",
        "prod[j where $k(j) mod 2 == $k(i) mod 2 and $m(i, j)]($r(i, j) + $r(j))",
        "max[j where $k(j) == 1]($r(i, j))",
        "sum[j](softmax[j where $m(j)](sum[d]($r(i, d) * $r(j, d))) * $r(j, e))",
        "sum[j](softmax[j where $m(h, j) and $m(i) and j <= i]($r(i, j)) * $r(h, j, e))",
        "prod[j where $m(j) and $m(i, j)]($r(i, j))",
    ],
}];

fn equal_keys_are_buckets(site: &Site<'_>, node: &ENode, out: &mut Outcome) {
    let (axis, domain) = match node {
        ENode::Attend(axis, domain, _) | ENode::Reduce(_, axis, domain, _) => (*axis, *domain),
        _ => return,
    };
    if site.is_full(domain) {
        return;
    }
    let spec = site.spec();
    if !is_small_tree(&spec.terms, domain) {
        out.decline(NO_KEYS);
        return;
    }
    let mut conjuncts = Vec::new();
    flatten(spec, domain, &mut conjuncts);
    if any_sub_term(&spec.terms, domain, |n| matches!(n, Node::Order { .. })) {
        return;
    }
    let mut reason = if holds_union(spec, domain, axis) { UNION } else { NO_KEYS };
    let mut put = |keys: Keys, permuted: bool, row: Option<AxisId>, rest: Vec<TermId>| {
        let bucket = Bucket { rule: NAME, stuck: STUCK, node: node.clone(), axis, keys, permuted, row, rest };
        out.union(Tree::matched(node), Tree::Bucket(Box::new(bucket)));
    };
    for (at, conjunct) in conjuncts.iter().enumerate() {
        let Some((key, row_key)) = equality(spec, *conjunct, axis) else { continue };
        let rows = row_axis(spec, key, row_key, axis);
        let lines = spec.terms.free(key).union(spec.terms.free(row_key));
        if lines.iter().any(|a| a != axis && Some(a) != rows && is_long(spec, a, axis)) {
            continue;
        }
        let permuted = !is_ascending(spec, key, axis);
        let row = rows.filter(|row| !is_ascending(spec, row_key, *row));
        if !permuted && row.is_none() {
            reason = IN_ORDER;
            continue;
        }
        let rest = conjuncts.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, t)| *t).collect();
        return put(Keys::Equal(key, row_key), permuted, row, rest);
    }
    let (conditions, rest): (Vec<TermId>, Vec<TermId>) =
        conjuncts.into_iter().partition(|t| is_condition(spec, *t, axis));
    // Keys that rows name are named in the order that they lie in.
    let named = |t: &TermId| any_sub_term(&spec.terms, *t, Node::runs_over_axis);
    if !conditions.is_empty() && !rest.iter().any(named) {
        return put(Keys::Hold(conditions), true, None, rest);
    }
    out.decline(reason);
}

/// The conjuncts of a predicate.
fn flatten(spec: &Spec, predicate: TermId, out: &mut Vec<TermId>) {
    match spec.terms.node(predicate) {
        Node::Nary(NaryOp::And, parts) => parts.iter().for_each(|p| flatten(spec, *p, out)),
        _ => out.push(predicate),
    }
}

/// The sides of an equality of integers, that of the reduced axis first.
fn equality(spec: &Spec, predicate: TermId, axis: AxisId) -> Option<(TermId, TermId)> {
    let terms = &spec.terms;
    let Node::Binary(BinaryOp::Eq, x, y) = *terms.node(predicate) else { return None };
    if terms.ty(x) != Type::Int || terms.ty(y) != Type::Int {
        return None;
    }
    match (terms.free(x).contains(axis), terms.free(y).contains(axis)) {
        (true, false) => Some((x, y)),
        (false, true) => Some((y, x)),
        _ => None,
    }
}

/// Whether a predicate is a condition on data of the reduced positions alone, other than on whole blocks of them.
fn is_condition(spec: &Spec, predicate: TermId, axis: AxisId) -> bool {
    let terms = &spec.terms;
    let in_blocks = |t: TermId| matches!(terms.node(t), Node::Binary(BinaryOp::FloorDiv, ..));
    let of_data = any_sub_term(terms, predicate, |node| match node {
        Node::Input { input, index } => {
            let mut along = index.iter().filter(|at| terms.free(**at).contains(axis));
            spec.input(*input).runs.is_none() && along.any(|at| !in_blocks(*at))
        }
        _ => false,
    });
    of_data
        && !any_sub_term(terms, predicate, Node::runs_over_axis)
        && !terms.free(predicate).iter().any(|a| a != axis && is_long(spec, a, axis))
}

/// Whether an equality of data's keys stands under a union.
fn holds_union(spec: &Spec, predicate: TermId, axis: AxisId) -> bool {
    let of_data = |t: TermId| {
        let mut found = false;
        let mut open = vec![t];
        while let Some(t) = open.pop() {
            found |= equality(spec, t, axis)
                .is_some_and(|(x, y)| reads_input(&spec.terms, x) && reads_input(&spec.terms, y));
            if let Node::Nary(NaryOp::And | NaryOp::Or, parts) = spec.terms.node(t) {
                open.extend(parts);
            }
        }
        found
    };
    any_sub_term(&spec.terms, predicate, |node| match node {
        Node::Nary(NaryOp::Or, parts) => parts.iter().any(|p| of_data(*p)),
        Node::Reduce { op: ReduceOp::Any, domain, body, .. } => of_data(*domain) || of_data(*body),
        _ => false,
    })
}

/// The axis of the rows that a key tells apart: one that the other key does not have, a long one if there are
/// several.
fn row_axis(spec: &Spec, key: TermId, row_key: TermId, axis: AxisId) -> Option<AxisId> {
    let others = spec.terms.free(row_key).difference(spec.terms.free(key));
    others.iter().find(|a| is_long(spec, *a, axis)).or_else(|| others.iter().last())
}

/// Whether an axis grows with the sequence or with the reduced axis, so that one sort, or one sum, for each of its
/// positions would be too many.
pub(super) fn is_long(spec: &Spec, axis: AxisId, reduced: AxisId) -> bool {
    let symbols = |axis: AxisId| {
        let mut found = Vec::new();
        any_sub_term(&spec.terms, spec.axis(axis).extent, |node| {
            if let Node::Extent(symbol) = node {
                found.push(*symbol);
            }
            false
        });
        found
    };
    let mut lengths = symbols(reduced);
    lengths.extend(["N", "M"].into_iter().filter_map(|name| spec.symbol(name)));
    symbols(axis).iter().any(|symbol| lengths.contains(symbol))
}

/// Whether a key is known never to decrease along an axis, so that its runs are found without sorting.
fn is_ascending(spec: &Spec, key: TermId, axis: AxisId) -> bool {
    let terms = &spec.terms;
    match terms.node(key) {
        Node::Position(a) => *a == axis,
        Node::Input { input, index } => {
            let Some((last, lead)) = index.split_last() else { return false };
            let along = matches!(terms.node(*last), Node::Position(a) if *a == axis);
            spec.input(*input).runs.is_some() && along && lead.iter().all(|t| !terms.free(*t).contains(axis))
        }
        Node::Binary(BinaryOp::FloorDiv, x, by) => {
            matches!(terms.node(*by), Node::Int(1..) | Node::Extent(_)) && is_ascending(spec, *x, axis)
        }
        _ => LinearForm::of(terms, key).is_some_and(|form| {
            let along = form.atoms.iter().filter(|(t, _)| terms.free(**t).contains(axis));
            let parts: Vec<(&TermId, &i64)> = along.collect();
            parts.iter().all(|(t, c)| **c > 0 && **t != key && is_ascending(spec, **t, axis))
        }),
    }
}
