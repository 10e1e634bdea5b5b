//! Domains against membership: the normal form, its proofs and its counts.
//!
//! Draws predicates over two positions and compares everything the domain
//! module says with evaluation at every pair.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, Extents, NaryOp, Node, Settings, Spec, SymbolId, TermId, UnaryOp, compile_text};
use attnc_rewrite::density::sampled_density;
use attnc_rewrite::domain::Domain;
use proptest::prelude::*;

/// The value of an integer or truth-value term at positions.
fn value(spec: &Spec, extents: &Extents, at: &BTreeMap<AxisId, i64>, term: TermId) -> i64 {
    let of = |t: TermId| value(spec, extents, at, t);
    match spec.terms.node(term) {
        Node::Int(v) => *v,
        Node::Bool(b) => i64::from(*b),
        Node::Extent(s) => extents.get(*s).expect("extents are bound"),
        Node::Position(a) => at[a],
        Node::Unary(UnaryOp::Neg, x) => -of(*x),
        Node::Unary(UnaryOp::Abs, x) => of(*x).abs(),
        Node::Unary(UnaryOp::Not, x) => i64::from(of(*x) == 0),
        Node::Unary(_, x) => of(*x),
        Node::Binary(op, x, y) => op.eval_int(of(*x), of(*y)).expect("no overflow, no division by zero"),
        Node::Nary(NaryOp::And, xs) => i64::from(xs.iter().all(|x| of(*x) != 0)),
        Node::Nary(NaryOp::Or, xs) => i64::from(xs.iter().any(|x| of(*x) != 0)),
        Node::Nary(op, xs) => {
            xs.iter().map(|x| of(*x)).reduce(|a, b| op.eval_int(a, b).expect("no overflow")).expect("operands")
        }
        Node::Select(c, a, b) => of(if of(*c) != 0 { *a } else { *b }),
        other => panic!("no integer of positions: {other:?}"),
    }
}

/// A spec whose first softmax is restricted to the predicate, with the predicate's term.
fn compile(predicates: &[&str]) -> (Spec, Vec<TermId>) {
    let mut text = String::from("spec drawn\naxis i, j = N\ninput x[i, j]\n");
    for (n, predicate) in predicates.iter().enumerate() {
        text.push_str(&format!("output o{n}[i] = sum[j where {predicate}](x)\n"));
    }
    let spec = compile_text(&text, &Settings::default()).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
    let domain = |t: TermId| match spec.terms.node(t) {
        Node::Reduce { domain, .. } => *domain,
        other => panic!("not a sum: {other:?}"),
    };
    let terms = spec.outputs.iter().map(|o| domain(o.term)).collect();
    (spec, terms)
}

fn axes(spec: &Spec) -> (AxisId, AxisId) {
    let named = |name: &str| AxisId(spec.axes.iter().position(|a| a.name == name).expect("the axis exists") as u32);
    (named("i"), named("j"))
}

fn extents(spec: &Spec, n: i64) -> Extents {
    Extents((0..spec.symbols.len() as u32).map(|s| (SymbolId(s), n)).collect())
}

fn pairs(spec: &Spec, n: i64) -> Vec<BTreeMap<AxisId, i64>> {
    let (i, j) = axes(spec);
    (0..n).flat_map(|a| (0..n).map(move |b| BTreeMap::from([(i, a), (j, b)]))).collect()
}

fn atom() -> impl Strategy<Value = String> {
    let c = -3i64..6;
    prop_oneof![
        (c.clone()).prop_map(|c| format!("j <= i + {c}")),
        (c.clone()).prop_map(|c| format!("i - j < {c}")),
        (c.clone()).prop_map(|c| format!("abs(i - j) <= {c}")),
        (c.clone()).prop_map(|c| format!("j >= {c}")),
        (c.clone()).prop_map(|c| format!("i == {c}")),
        (c.clone()).prop_map(|c| format!("j != N - {c}")),
        (2i64..5, 0i64..5).prop_map(|(m, r)| format!("(i - j) mod {m} == {r}")),
        (2i64..5).prop_map(|m| format!("j mod {m} != 0")),
        (2i64..5).prop_map(|m| format!("i div {m} == j div {m}")),
        (2i64..5).prop_map(|m| format!("abs(i div {m} - j div {m}) <= 1")),
        (2i64..5).prop_map(|m| format!("abs(j mod {m} - i mod {m}) <= 1")),
        (c.clone()).prop_map(|c| format!("max(i, j) < {c} + min(i, 2 * j)")),
        (c).prop_map(|c| format!("2 * j - i <= {c}")),
    ]
}

fn predicate() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} and {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} or {b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn normal_forms_keep_membership(text in predicate(), n in 1i64..9) {
        let (spec, terms) = compile(&[&text]);
        let extents = extents(&spec, n);
        let domain = Domain::of(&spec, terms[0]);
        let complement = domain.complement(&spec);
        let (_, j) = axes(&spec);
        let mut allowed = 0;
        let mut rows = BTreeMap::new();
        for at in pairs(&spec, n) {
            let expected = value(&spec, &extents, &at, terms[0]) != 0;
            prop_assert_eq!(domain.contains(&mut |t| value(&spec, &extents, &at, t)), expected, "{:?} {:?}", at, domain);
            prop_assert_eq!(complement.contains(&mut |t| value(&spec, &extents, &at, t)), !expected);
            allowed += i64::from(expected);
            let row: BTreeMap<AxisId, i64> = at.iter().filter(|(a, _)| **a != j).map(|(a, v)| (*a, *v)).collect();
            *rows.entry(row).or_insert(0) += i64::from(expected);
        }
        if domain.is_never_empty(&spec, j) {
            prop_assert!(rows.values().all(|count| *count > 0), "a row is empty: {}", text);
        }
        let density = sampled_density(&spec, &extents, terms[0], j, 1 << 20);
        let exact = allowed as f64 / (n * n) as f64;
        // min, max and products of positions are counted as shares.
        if !text.contains("max") && !text.contains("2 *") {
            prop_assert!((density - exact).abs() < 1e-9, "{} counted as {} of {}", text, density, exact);
        }
    }

    #[test]
    fn proofs_about_two_domains_hold(a in predicate(), b in predicate(), n in 1i64..8) {
        let (spec, terms) = compile(&[&a, &b]);
        let extents = extents(&spec, n);
        let (x, y) = (Domain::of(&spec, terms[0]), Domain::of(&spec, terms[1]));
        let members = |t: TermId| pairs(&spec, n).into_iter().map(move |at| (t, at));
        let hold = |t: TermId| members(t).map(|(t, at)| value(&spec, &extents, &at, t) != 0).collect::<Vec<bool>>();
        let (p, q) = (hold(terms[0]), hold(terms[1]));
        if x.is_disjoint(&spec, &y) {
            prop_assert!(p.iter().zip(&q).all(|(p, q)| !(p & q)), "{} meets {}", a, b);
        }
        if x.is_subset(&spec, &y) {
            prop_assert!(p.iter().zip(&q).all(|(p, q)| !p | q), "{} is not within {}", a, b);
        }
    }
}

fn check_prefix(predicate: &str, expected: bool) {
    let (spec, terms) = compile(&[predicate]);
    let (i, j) = axes(&spec);
    let found = Domain::of(&spec, terms[0]).prefix(&spec, j).is_some_and(|(row, rest)| row == i && rest.is_empty());
    assert_eq!(found, expected, "{predicate}");
}

#[test]
fn a_prefix_is_known_however_it_is_written() {
    for predicate in
        ["j <= i", "i >= j", "j < i + 1", "not (i < j)", "not j > i", "i - j >= 0", "0 <= i - j", "-i <= -j"]
    {
        check_prefix(predicate, true);
    }
    for predicate in ["j < i", "j <= i + 1", "i <= j", "2 * j <= i", "j <= i and j > 0", "j <= i or j == 1"] {
        check_prefix(predicate, false);
    }
}

#[test]
fn diagonals_are_never_empty_and_windows_of_the_past_may_be() {
    for (predicate, expected) in [
        ("j <= i", true),
        ("abs(i - j) <= 3", true),
        ("(i - j) mod 4 == 0", true),
        ("j < 4 or i - j < 2", true),
        ("i div 4 == j div 4", false),
        ("j < i", false),
        ("0 <= j", true),
    ] {
        let (spec, terms) = compile(&[predicate]);
        let (_, j) = axes(&spec);
        assert_eq!(Domain::of(&spec, terms[0]).is_never_empty(&spec, j), expected, "{predicate}");
    }
}
