//! Hand-computed cases, and agreement with an element-by-element oracle.

use std::collections::BTreeMap;

use super::oracle::{Connective, oracle};
use super::*;
use crate::axis::{InputId, SymbolId};
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::spec::{Axis, DType, Input, Symbol};
use crate::term::Carry;

/// A spec under construction, term by term.
#[derive(Clone)]
pub(super) struct Build {
    pub spec: Spec,
    pub extents: Extents,
    pub inputs: Vec<Tensor>,
}

impl Build {
    pub fn new() -> Self {
        let spec = Spec {
            name: "test".into(),
            terms: Terms::new(),
            symbols: Vec::new(),
            axes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            requires: Vec::new(),
            params: Vec::new(),
            example: BTreeMap::new(),
        };
        Self { spec, extents: Extents::default(), inputs: Vec::new() }
    }

    pub fn axis(&mut self, name: &str, extent: i64) -> AxisId {
        let symbol = SymbolId(self.spec.symbols.len() as u32);
        self.spec.symbols.push(Symbol { name: name.to_uppercase() });
        self.extents.0.insert(symbol, extent);
        let extent = self.spec.terms.add(Node::Extent(symbol));
        self.spec.axes.push(Axis { name: name.into(), extent });
        AxisId(self.spec.axes.len() as u32 - 1)
    }

    /// An input with the given elements, read at its own axes.
    pub fn input(&mut self, name: &str, dtype: DType, axes: &[AxisId], elements: &[f64]) -> TermId {
        let id = self.declare(name, dtype, axes, elements);
        let index = axes.iter().map(|a| self.spec.terms.position(*a)).collect();
        self.spec.terms.add(Node::Input { input: id, index })
    }

    pub fn declare(&mut self, name: &str, dtype: DType, axes: &[AxisId], elements: &[f64]) -> InputId {
        let shape =
            axes.iter().map(|a| self.spec.eval_extent(self.spec.axis(*a).extent, &self.extents).unwrap() as usize);
        self.inputs.push(Tensor::from_f64(dtype, shape.collect(), elements).unwrap());
        self.spec.terms.declare_input(dtype.ty());
        let (name, axes) = (name.to_string(), axes.to_vec());
        self.spec.inputs.push(Input { name, dtype, axes, range: None, runs: None, scale: None });
        InputId(self.spec.inputs.len() as u32 - 1)
    }

    pub fn read(&mut self, input: InputId, index: &[TermId]) -> TermId {
        self.spec.terms.add(Node::Input { input, index: index.to_vec() })
    }

    pub fn output(&mut self, axes: &[AxisId], term: TermId) {
        self.spec.outputs.push(Output { name: "out".into(), axes: axes.to_vec(), term });
    }

    pub fn evaluate(&self) -> Result<Vec<f64>, ReferenceError> {
        let mut reference = Reference::new(&self.spec, &self.extents, &self.inputs)?;
        Ok(reference.output(0)?.into_raw_vec_and_offset().0)
    }

    pub fn values(&self) -> Vec<f64> {
        self.evaluate().unwrap()
    }

    /// The output by the evaluator, whole and row by row, storing much or little, and by the oracle: all agree bit for
    /// bit, except that any NaN equals any other and zeros of both signs are equal; or all fail.
    pub fn check(&self) -> Vec<f64> {
        let expected = oracle(self, Connective::Symmetric).unwrap();
        self.check_against(&expected);
        expected
    }

    pub fn check_against(&self, expected: &[f64]) {
        let bits =
            |v: &[f64]| v.iter().map(|x| if x.is_nan() { u64::MAX } else { (x + 0.0).to_bits() }).collect::<Vec<_>>();
        for limit in [STORED_LIMIT, 16, 1] {
            let roots = [self.spec.outputs[0].term];
            let mut reference = Reference::with_limit(&self.spec, &roots, &self.extents, &self.inputs, limit).unwrap();
            let whole = reference.output(0).unwrap().into_raw_vec_and_offset().0;
            let shown = || crate::print_term(&self.spec, roots[0]);
            assert_eq!(bits(&whole), bits(expected), "{}\nlimit {limit}: {whole:?} against {expected:?}", shown());
            let shape = reference.shape(&self.spec.outputs[0]);
            let leading = &shape[..shape.len().saturating_sub(1)];
            let count: usize = leading.iter().product();
            let rows: Vec<Vec<usize>> = (0..count).rev().map(|r| unflatten(r, leading)).collect();
            let width = shape.last().copied().unwrap_or(1);
            let backwards = reference.output_rows(0, &rows).unwrap().into_raw_vec_and_offset().0;
            let rows: Vec<f64> = backwards.chunks(width).rev().flatten().copied().collect();
            assert_eq!(
                bits(&rows),
                bits(expected),
                "{}\nlimit {limit}, by rows: {rows:?} against {expected:?}",
                shown()
            );
        }
    }

    pub fn lt(&mut self, x: TermId, y: TermId) -> TermId {
        self.spec.terms.binary(BinaryOp::Lt, x, y)
    }

    pub fn le(&mut self, x: TermId, y: TermId) -> TermId {
        self.spec.terms.binary(BinaryOp::Le, x, y)
    }

    pub fn at(&mut self, axis: AxisId) -> TermId {
        self.spec.terms.position(axis)
    }

    pub fn always(&mut self) -> TermId {
        self.spec.terms.truth(true)
    }

    pub fn mul(&mut self, xs: &[TermId]) -> TermId {
        self.spec.terms.nary(NaryOp::Mul, xs.to_vec())
    }

    pub fn add(&mut self, xs: &[TermId]) -> TermId {
        self.spec.terms.nary(NaryOp::Add, xs.to_vec())
    }

    pub fn reduce(&mut self, op: ReduceOp, axis: AxisId, domain: TermId, body: TermId) -> TermId {
        self.spec.terms.reduce(op, axis, domain, body)
    }
}

/// Numbers between -2 and 2 that repeat nothing soon.
pub(super) fn some_reals(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % 4001) as f64 / 1000.0 - 2.0
        })
        .collect()
}

#[test]
fn a_sum_runs_over_its_domain_only() {
    let mut b = Build::new();
    let (i, j) = (b.axis("i", 3), b.axis("j", 3));
    let x = b.input("x", DType::F32, &[j], &[1.0, 2.0, 4.0]);
    let (pi, pj) = (b.at(i), b.at(j));
    let domain = b.lt(pj, pi);
    let sum = b.reduce(ReduceOp::Sum, j, domain, x);
    b.output(&[i], sum);
    assert_eq!(b.check(), [0.0, 1.0, 3.0]);
}

#[test]
fn reductions_over_nothing_have_their_identities() {
    use ReduceOp::*;
    let ops = [Sum, Prod, Max, Min, Any, All, ArgMax, ArgMin, LogSumExp];
    for op in ops {
        let mut b = Build::new();
        let j = b.axis("j", 2);
        let never = b.spec.terms.truth(false);
        let body = if matches!(op, Any | All) { never } else { b.input("x", DType::F32, &[j], &[f64::NAN, 1.0]) };
        let value = b.reduce(op, j, never, body);
        b.output(&[], value);
        assert_eq!(b.values(), [op.identity()], "{}", op.name());
    }
}

#[test]
fn softmax_is_zero_outside_its_domain_even_next_to_nan() {
    let mut b = Build::new();
    let (i, j) = (b.axis("i", 3), b.axis("j", 3));
    let score = b.input("s", DType::F32, &[j], &[0.0, 0.0, f64::NAN]);
    let value = b.input("v", DType::F32, &[j], &[2.0, 4.0, f64::INFINITY]);
    let (pi, pj) = (b.at(i), b.at(j));
    let domain = b.lt(pj, pi);
    let weight = b.spec.terms.add(Node::Softmax { axis: j, domain, body: score });
    let product = b.mul(&[weight, value]);
    let always = b.always();
    let out = b.reduce(ReduceOp::Sum, j, always, product);
    b.output(&[i], out);
    assert_eq!(b.check(), [0.0, 2.0, 3.0]);
    let attend = b.spec.terms.add(Node::Attend { axis: j, domain, score, value });
    b.spec.outputs[0].term = attend;
    assert_eq!(b.check(), [0.0, 2.0, 3.0]);
}

#[test]
fn a_row_of_minus_infinity_has_no_weight() {
    let mut b = Build::new();
    let j = b.axis("j", 2);
    let score = b.input("s", DType::F32, &[j], &[f64::NEG_INFINITY; 2]);
    let always = b.always();
    let weight = b.spec.terms.add(Node::Softmax { axis: j, domain: always, body: score });
    b.output(&[j], weight);
    assert_eq!(b.check(), [0.0, 0.0]);
    let lse = b.reduce(ReduceOp::LogSumExp, j, always, score);
    b.output(&[], lse);
    b.spec.outputs.swap(0, 1);
    assert_eq!(b.check(), [f64::NEG_INFINITY]);
}

#[test]
fn argmax_takes_the_lowest_of_equals_and_nan_last() {
    for (elements, largest, least) in [
        (vec![1.0, 3.0, 3.0, 2.0], 1.0, 0.0),
        (vec![f64::NAN, -1.0, f64::NAN, -1.0], 1.0, 1.0),
        (vec![f64::NAN, f64::NAN, f64::NAN, f64::NAN], 0.0, 0.0),
        (vec![f64::NEG_INFINITY, f64::NAN, f64::NEG_INFINITY, f64::NAN], 0.0, 0.0),
    ] {
        let mut b = Build::new();
        let j = b.axis("j", 4);
        let x = b.input("x", DType::F64, &[j], &elements);
        let always = b.always();
        for (op, expected) in [(ReduceOp::ArgMax, largest), (ReduceOp::ArgMin, least)] {
            let value = b.reduce(op, j, always, x);
            b.spec.outputs.clear();
            b.output(&[], value);
            assert_eq!(b.check(), [expected], "{} of {elements:?}", op.name());
        }
    }
}

#[test]
fn log_sum_exp_does_not_overflow() {
    let mut b = Build::new();
    let j = b.axis("j", 2);
    let x = b.input("x", DType::F64, &[j], &[1000.0, 1000.0]);
    let always = b.always();
    let lse = b.reduce(ReduceOp::LogSumExp, j, always, x);
    b.output(&[], lse);
    assert_eq!(b.check(), [1000.0 + 2f64.ln()]);
}

#[test]
fn a_scan_is_a_decayed_prefix_sum() {
    let mut b = Build::new();
    let (i, j) = (b.axis("i", 4), b.axis("j", 4));
    let body = b.input("x", DType::F64, &[j], &[1.0, 2.0, 3.0, 4.0]);
    // The decay at position 0 is never used.
    let decay = b.input("g", DType::F64, &[j], &[f64::NAN, 0.5, 0.0, 2.0]);
    let scan = b.spec.terms.add(Node::Scan { carry: Carry::Sum, axis: j, row: i, decay, body });
    b.output(&[i], scan);
    assert_eq!(b.check(), [1.0, 2.5, 3.0, 10.0]);
}

#[test]
fn a_scan_of_scores_is_softmax_over_a_prefix() {
    let mut b = Build::new();
    let (i, j) = (b.axis("i", 4), b.axis("j", 4));
    let value = b.input("x", DType::F64, &[j], &[1.0, 2.0, 3.0, 4.0]);
    let low = f64::NEG_INFINITY;
    let score = b.input("s", DType::F64, &[j], &[low, 1000.0, 0.0, low]);
    // The decay at position 0 is never used.
    let decay = b.input("g", DType::F64, &[j], &[f64::NAN, 0.5, -1000.0, 7.0]);
    let lse = 2f64.ln();
    let cases =
        [(Carry::Attend(score), value, [0.0, 2.0, 2.5, 2.5]), (Carry::LogSumExp, score, [low, 1000.0, lse, lse + 7.0])];
    for (carry, body, expected) in cases {
        let mut b = b.clone();
        let scan = b.spec.terms.add(Node::Scan { carry, axis: j, row: i, decay, body });
        b.output(&[i], scan);
        let close = |found: &[f64]| found.iter().zip(expected.iter()).all(|(x, y)| x == y || (x - y).abs() < 1e-12);
        let (evaluated, by_definition) = (b.evaluate().unwrap(), oracle(&b, Connective::Symmetric).unwrap());
        assert!(close(&evaluated) && close(&by_definition), "{evaluated:?} and {by_definition:?}");
    }
}

#[test]
fn an_order_is_stable_and_inverted_by_its_own_order() {
    let mut b = Build::new();
    let j = b.axis("j", 5);
    let (least, most) = (i64::MIN, i64::MAX);
    let x = b.input("x", DType::F64, &[j], &[10.0, 11.0, 12.0, 13.0, 14.0]);
    // Keys most, 3, least, 3, -3.
    let pj = b.at(j);
    let keys = [most, 3, least, 3, -3].map(|k| b.spec.terms.int(k));
    let mut key = keys[4];
    for p in (0..4).rev() {
        let at = b.spec.terms.int(p);
        let here = b.spec.terms.binary(BinaryOp::Eq, pj, at);
        key = b.spec.terms.add(Node::Select(here, keys[p as usize], key));
    }
    let order = b.spec.terms.add(Node::Order { axis: j, key });
    let place = b.spec.terms.add(Node::Order { axis: j, key: order });
    let sorted = b.spec.terms.add(Node::At { axis: j, index: order, body: x });
    let back = b.spec.terms.add(Node::At { axis: j, index: place, body: sorted });
    let keys = b.spec.terms.sorted(j, key);
    assert_eq!(b.spec.terms.sorted_key(keys), Some((j, key)));
    for (term, expected) in [
        (order, [2.0, 4.0, 1.0, 3.0, 0.0]),
        (place, [4.0, 2.0, 0.0, 3.0, 1.0]),
        (sorted, [12.0, 14.0, 11.0, 13.0, 10.0]),
        (back, [10.0, 11.0, 12.0, 13.0, 14.0]),
        (keys, [least as f64, -3.0, 3.0, 3.0, most as f64]),
    ] {
        b.spec.outputs.clear();
        b.output(&[j], term);
        assert_eq!(b.check(), expected);
    }
}

#[test]
fn an_index_out_of_range_is_an_error_only_where_it_counts() {
    let mut b = Build::new();
    let i = b.axis("i", 3);
    let x = b.declare("x", DType::F32, &[i], &[5.0, 6.0, 7.0]);
    let (pi, minus) = (b.at(i), b.spec.terms.int(-1));
    let before = b.add(&[pi, minus]);
    let shifted = b.read(x, &[before]);
    b.output(&[i], shifted);
    let error = ReferenceError::IndexOutOfRange { input: "x".into(), axis: "i".into(), index: -1, extent: 3 };
    assert_eq!(b.evaluate(), Err(error));
    let zero = b.spec.terms.int(0);
    let inside = b.lt(zero, pi);
    let none = b.spec.terms.real(0.0);
    b.spec.outputs[0].term = b.spec.terms.add(Node::Select(inside, shifted, none));
    assert_eq!(b.check(), [0.0, 5.0, 6.0]);
    // The same guarded by a conjunction, in either order.
    let six = b.spec.terms.real(6.0);
    let equal = b.spec.terms.binary(BinaryOp::Eq, shifted, six);
    for parts in [[inside, equal], [equal, inside]] {
        b.spec.outputs[0].term = b.spec.terms.nary(NaryOp::And, parts.to_vec());
        assert_eq!(b.check(), [0.0, 0.0, 1.0]);
    }
}

#[test]
fn a_stored_term_may_fail_where_its_users_are_guarded() {
    let mut b = Build::new();
    let (i, d) = (b.axis("i", 3), b.axis("d", 2));
    let x = b.declare("x", DType::F32, &[i, d], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let (pi, pd, minus, zero) = (b.at(i), b.at(d), b.spec.terms.int(-1), b.spec.terms.int(0));
    let before = b.add(&[pi, minus]);
    let shifted = b.read(x, &[before, pd]);
    let always = b.always();
    let sum = b.reduce(ReduceOp::Sum, d, always, shifted);
    let inside = b.lt(zero, pi);
    let none = b.spec.terms.real(-1.0);
    let guarded = b.spec.terms.add(Node::Select(inside, sum, none));
    b.output(&[i], guarded);
    assert_eq!(b.check(), [-1.0, 3.0, 7.0]);
    b.spec.outputs[0].term = sum;
    assert!(matches!(b.evaluate(), Err(ReferenceError::IndexOutOfRange { index: -1, .. })));
}

#[test]
fn integer_overflow_is_an_error() {
    let mut b = Build::new();
    let j = b.axis("j", 2);
    let x = b.input("x", DType::I64, &[j], &[i64::MAX as f64, 1.0]);
    let always = b.always();
    let sum = b.reduce(ReduceOp::Sum, j, always, x);
    b.output(&[], sum);
    assert_eq!(b.evaluate(), Err(ReferenceError::IntegerOverflow));
    let zero = b.spec.terms.int(0);
    let quotient = b.spec.terms.binary(BinaryOp::FloorDiv, x, zero);
    b.spec.outputs.clear();
    b.output(&[j], quotient);
    assert_eq!(b.evaluate(), Err(ReferenceError::DivisionByZero));
}

#[test]
fn tensors_must_be_as_declared() {
    let mut b = Build::new();
    let (h, d) = (b.axis("h", 2), b.axis("d", 3));
    let x = b.input("x", DType::F32, &[h, d], &[0.0; 6]);
    b.output(&[h, d], x);
    b.inputs[0] = Tensor::f32(&[3, 2], vec![0.0; 6]).unwrap();
    let error = b.evaluate().unwrap_err();
    assert_eq!(error.to_string(), "input `x` has the axes h=2, d=3, but a tensor of shape [3, 2] came");
    b.inputs[0] = Tensor::from_f64(DType::F16, vec![2, 3], &[0.0; 6]).unwrap();
    assert!(matches!(b.evaluate(), Err(ReferenceError::InputType { .. })));
    b.inputs.clear();
    assert_eq!(b.evaluate(), Err(ReferenceError::InputCount { expected: 1, given: 0 }));
}

#[test]
fn long_axes_run_in_several_blocks_of_lanes() {
    let n = 600;
    let mut b = Build::new();
    let (i, j) = (b.axis("i", n), b.axis("j", n));
    let x = b.input("x", DType::F32, &[j], &some_reals(n as usize, 1));
    let y = b.input("y", DType::F32, &[i], &some_reals(n as usize, 2));
    let always = b.always();
    let (pi, pj) = (b.at(i), b.at(j));
    let before = b.le(pj, pi);
    let product = b.mul(&[x, y]);
    for (domain, body) in [(before, x), (before, product), (always, x), (always, product)] {
        for op in [ReduceOp::Sum, ReduceOp::Max, ReduceOp::ArgMin] {
            let value = b.reduce(op, j, domain, body);
            b.spec.outputs.clear();
            b.output(&[i], value);
            b.check();
        }
    }
}

#[test]
fn deep_terms_are_evaluated_up_to_the_limit() {
    for (depth, sound) in [(DEPTH_LIMIT - 10, true), (DEPTH_LIMIT + 10, false)] {
        let mut b = Build::new();
        let i = b.axis("i", 2);
        let x = b.input("x", DType::F64, &[i], &[1.0, 2.0]);
        let term = (0..depth).fold(x, |term, _| b.spec.terms.unary(UnaryOp::Neg, term));
        b.output(&[i], term);
        match b.evaluate() {
            Ok(values) => assert!(sound && values == [1.0, 2.0]),
            Err(error) => assert!(!sound && matches!(error, ReferenceError::TooDeep { .. })),
        }
    }
}
