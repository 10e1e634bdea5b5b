//! Random terms: the evaluator agrees with the element-by-element oracle.
//!
//! A term grows from a list of numbers, each choosing an operation and its
//! operands among those built so far, so that a failing list shrinks.

use proptest::prelude::*;

use super::oracle::{Connective, oracle};
use super::tests::{Build, some_reals};
use super::*;
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::spec::DType;
use crate::term::Carry;

/// Reductions inside one another, at most: the oracle repeats itself exponentially.
const NESTING: usize = 3;

/// Terms built so far, by type, with how many reductions they nest.
struct Pool {
    build: Build,
    axes: [AxisId; 4],
    reals: Vec<(TermId, usize)>,
    ints: Vec<(TermId, usize)>,
    truths: Vec<(TermId, usize)>,
}

/// One step of growth: an operation and what chooses its operands.
type Choice = (u8, u8, u8, u8);

impl Pool {
    fn new(n: i64, d: i64, seed: u64, odd: bool) -> Self {
        let mut build = Build::new();
        let [i, j, t] = ["i", "j", "t"].map(|name| build.axis(name, n));
        let d_axis = build.axis("d", d);
        let (n, d) = (n as usize, d as usize);
        let odd_ones = |mut v: Vec<f64>| {
            if odd {
                let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
                v.iter_mut().enumerate().filter(|(at, _)| at % 3 == 1).for_each(|(at, x)| *x = special[at % 4]);
            }
            v
        };
        let x = build.declare("x", DType::F32, &[i, j], &odd_ones(some_reals(n * n, seed)));
        let y = build.input("y", DType::F64, &[j, d_axis], &odd_ones(some_reals(n * d, seed + 1)));
        let g = build.declare("g", DType::F16, &[t], &some_reals(n, seed + 2));
        let key: Vec<f64> = some_reals(n, seed + 3).iter().map(|v| (v.abs() * 10.0).floor() % n as f64).collect();
        let key = build.input("key", DType::I32, &[i], &key);
        let open: Vec<f64> = some_reals(n * n, seed + 4).iter().map(|v| f64::from(*v > 0.0)).collect();
        let open = build.input("open", DType::Bool, &[i, j], &open);
        let [pi, pj, pt, pd] = [i, j, t, d_axis].map(|a| build.at(a));
        let minus = build.spec.terms.unary(UnaryOp::Neg, pj);
        let difference = build.add(&[pi, minus]);
        let two = build.spec.terms.int(2);
        let reals = [
            build.read(x, &[pi, pj]),
            y,
            build.read(g, &[pt]),
            build.read(x, &[key, pj]),
            build.read(g, &[difference]),
            build.spec.terms.real(0.5),
        ];
        let always = build.always();
        let [before, inside] = [build.le(pj, pi), build.lt(pj, pt)];
        let flat = |terms: &[TermId]| terms.iter().map(|t| (*t, 0)).collect();
        Self {
            axes: [i, j, t, d_axis],
            reals: flat(&reals),
            ints: flat(&[pi, pj, pt, pd, key, two, difference]),
            truths: flat(&[always, before, inside, open]),
            build,
        }
    }

    fn grow(&mut self, (op, a, b, c): Choice) {
        let pick = |pool: &[(TermId, usize)], at: u8| pool[at as usize % pool.len()];
        let (x, x_depth) = pick(&self.reals, a);
        let (y, y_depth) = pick(&self.reals, b);
        let (m, m_depth) = pick(&self.ints, a);
        let (n, n_depth) = pick(&self.ints, b);
        let (p, p_depth) = pick(&self.truths, c);
        let (q, q_depth) = pick(&self.truths, a);
        let axis = self.axes[c as usize % 4];
        let by = self.axes[b as usize % 4];
        let terms = &mut self.build.spec.terms;
        let reals = x_depth.max(y_depth);
        let ints = m_depth.max(n_depth);
        let (term, depth) = match op % 27 {
            0 => (terms.nary(NaryOp::Add, vec![x, y]), reals),
            1 | 2 => (terms.nary(NaryOp::Mul, vec![x, y]), reals),
            3 => (terms.nary(NaryOp::Max, vec![x, y]), reals),
            4 => (terms.binary(BinaryOp::Div, x, y), reals),
            5 => (terms.unary(pick_op(&[UnaryOp::Neg, UnaryOp::Exp, UnaryOp::Tanh, UnaryOp::Relu], b), x), x_depth),
            6 => (terms.add(Node::Select(p, x, y)), reals.max(p_depth)),
            7 => (terms.unary(UnaryOp::ToReal, m), m_depth),
            8 => (terms.nary(pick_op(&[NaryOp::Add, NaryOp::Mul, NaryOp::Min], c), vec![m, n]), ints),
            9 => (terms.binary(pick_op(&[BinaryOp::FloorDiv, BinaryOp::Mod], c), m, n), ints),
            10 => (terms.binary(pick_op(&[BinaryOp::Le, BinaryOp::Lt, BinaryOp::Eq, BinaryOp::Ne], c), m, n), ints),
            11 => (terms.binary(pick_op(&[BinaryOp::Le, BinaryOp::Lt, BinaryOp::Eq, BinaryOp::Ne], c), x, y), reals),
            12 => (terms.nary(pick_op(&[NaryOp::And, NaryOp::Or], b), vec![p, q]), p_depth.max(q_depth)),
            13 => (terms.unary(UnaryOp::Not, p), p_depth),
            14 => (terms.reduce(pick_op(&[ReduceOp::Any, ReduceOp::All], b), axis, p, q), 1 + p_depth.max(q_depth)),
            15 => (terms.reduce(pick_op(&[ReduceOp::ArgMax, ReduceOp::ArgMin], c), by, p, x), 1 + p_depth.max(x_depth)),
            16 => (terms.reduce(ReduceOp::Sum, by, p, m), 1 + p_depth.max(m_depth)),
            17 | 18 => {
                let ops = [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min, ReduceOp::LogSumExp];
                (terms.reduce(pick_op(&ops, c), by, p, x), 1 + p_depth.max(x_depth))
            }
            19 => (terms.reduce(ReduceOp::Sum, by, p, x), 1 + p_depth.max(x_depth)),
            20 => (terms.add(Node::Softmax { axis: by, domain: p, body: x }), 1 + p_depth.max(x_depth)),
            21 => {
                (terms.add(Node::Attend { axis: self.axes[1], domain: p, score: x, value: y }), 1 + reals.max(p_depth))
            }
            22 if !terms.free(x).contains(self.axes[0]) && !terms.free(y).contains(self.axes[0]) => (
                terms.add(Node::Scan { carry: Carry::Sum, axis: self.axes[1], row: self.axes[0], decay: y, body: x }),
                1 + reals,
            ),
            23 => (terms.add(Node::Order { axis: by, key: m }), 1 + m_depth),
            24 => (terms.add(Node::At { axis, index: m, body: x }), 1 + x_depth.max(m_depth)),
            25 => (terms.add(Node::At { axis, index: m, body: n }), 1 + ints),
            _ => (terms.unary(UnaryOp::RealToInt, x), x_depth),
        };
        if depth <= NESTING {
            let pool = match self.build.spec.terms.ty(term) {
                Type::Real => &mut self.reals,
                Type::Int => &mut self.ints,
                Type::Bool => &mut self.truths,
            };
            pool.push((term, depth));
        }
    }
}

fn pick_op<T: Copy>(ops: &[T], at: u8) -> T {
    ops[at as usize % ops.len()]
}

/// Compares the evaluator with the oracle on the last real grown.
fn compare(mut pool: Pool, choices: &[Choice]) {
    choices.iter().for_each(|c| pool.grow(*c));
    let term = pool.reals.last().expect("the pool begins with reals").0;
    let axes: Vec<AxisId> = pool.build.spec.terms.free(term).iter().collect();
    pool.build.output(&axes, term);
    let shown = crate::print_term(&pool.build.spec, term);
    match (oracle(&pool.build, Connective::Symmetric), pool.build.evaluate()) {
        (Ok(expected), Ok(_)) => pool.build.check_against(&expected),
        (Err(_), Err(_)) => {}
        // The evaluator may stop at an operand that only a later one makes irrelevant.
        (Ok(_), Err(_)) if oracle(&pool.build, Connective::InOrder).is_err() => {}
        (expected, found) => panic!("{shown}\noracle: {expected:?}\nevaluator: {found:?}"),
    }
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    proptest::collection::vec(any::<Choice>(), 4..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_terms_agree(n in 1..4i64, d in 1..3i64, seed in 0..1000u64, choices in choices()) {
        compare(Pool::new(n, d, seed, false), &choices);
    }

    #[test]
    fn random_terms_agree_on_nan_and_infinity(n in 1..4i64, seed in 0..1000u64, choices in choices()) {
        compare(Pool::new(n, 1, seed, true), &choices);
    }
}
