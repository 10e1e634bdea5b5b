//! Folds over lanes: the running state of a reduction and how values enter it.

use crate::ops::{NaryOp, ReduceOp};

use super::failure::Failures;
use super::lanes;

/// The state of a fold, by lane.
#[derive(Default)]
pub(super) struct State {
    pub real: Vec<f64>,
    pub int: Vec<i64>,
    pub failed: Vec<u32>,
}

/// Folds the values of `n` lanes, all at position `at` of the reduced axis, into the state where the mask holds.
#[allow(clippy::too_many_arguments, reason = "one fold over either bank")]
pub(super) fn fold_lanes<'v>(
    op: ReduceOp,
    state: &mut State,
    n: usize,
    mask: Option<&[i64]>,
    reals: impl Fn() -> &'v [f64],
    ints: impl Fn() -> &'v [i64],
    real: bool,
    at: i64,
) {
    let largest = |s: f64, x: f64| NaryOp::Max.eval(s, x);
    let least = |s: f64, x: f64| NaryOp::Min.eval(s, x);
    match op {
        ReduceOp::Sum if real => lanes::fold(&mut state.real[..n], mask, reals(), |s, x| s + x),
        ReduceOp::Prod if real => lanes::fold(&mut state.real[..n], mask, reals(), |s, x| s * x),
        ReduceOp::Sum => fold_ints(state, n, mask, ints(), i64::checked_add),
        ReduceOp::Prod => fold_ints(state, n, mask, ints(), i64::checked_mul),
        ReduceOp::Max => lanes::fold(&mut state.real[..n], mask, reals(), largest),
        ReduceOp::Min => lanes::fold(&mut state.real[..n], mask, reals(), least),
        ReduceOp::Any => lanes::fold(&mut state.int[..n], mask, ints(), |s, x| i64::from(s != 0 || x != 0)),
        ReduceOp::All => lanes::fold(&mut state.int[..n], mask, ints(), |s, x| i64::from(s != 0 && x != 0)),
        ReduceOp::ArgMax | ReduceOp::ArgMin => {
            for lane in (0..n).filter(|lane| lanes::holds(mask, *lane)) {
                let x = lanes::at(reals(), lane);
                let best = state.real[lane];
                let better = if op == ReduceOp::ArgMax { x > best } else { x < best };
                if state.int[lane] < 0 || better || (best.is_nan() && !x.is_nan()) {
                    state.real[lane] = x;
                    state.int[lane] = at;
                }
            }
        }
        ReduceOp::LogSumExp => unreachable!("the core form has no log-sum-exp"),
    }
}

fn fold_ints(state: &mut State, n: usize, mask: Option<&[i64]>, x: &[i64], f: impl Fn(i64, i64) -> Option<i64>) {
    for lane in (0..n).filter(|lane| lanes::holds(mask, *lane)) {
        match f(state.int[lane], lanes::at(x, lane)) {
            Some(v) => state.int[lane] = v,
            None => {
                state.failed.resize(n, 0);
                state.failed[lane] = Failures::SUM_OVERFLOW;
            }
        }
    }
}
