//! The work of the nodes of an expression, for one element.

use attnc_algebra::BinaryOp;

use crate::loops::LoopProgram;
use crate::loops::expr::{Expr, ExprId, Lane};

/// Work of one transcendental function in exponentials, by the op table's units.
const EXP_WORK: f64 = 12.0;

/// Work of one element.
#[derive(Clone, Copy, Default)]
pub(super) struct Unit {
    pub exp: f64,
    pub scalar: f64,
    pub pointwise: f64,
    pub gather: f64,
}

/// An element of a line that data place, in elements that are gathered (one Zen 5 core, 64 elements a line, 2026-12-01).
const LOOKED_UP_LINE: f64 = 0.12;

/// A power of reals, in exponentials.
const POW: f64 = 10.0;

impl Unit {
    /// Adds the work of one node. Vectors of generated code are 16 bytes long: f64 and i64 take two for what f32
    /// takes one for.
    pub fn add(&mut self, program: &LoopProgram, id: ExprId) {
        let exprs = &program.exprs;
        let lane = exprs.lane(id);
        let double = lane == Lane::F64;
        let wide = if matches!(lane, Lane::F64 | Lane::I64) { 2.0 } else { 1.0 };
        match exprs.get(id) {
            Expr::Unary(op, _) if op.work() >= EXP_WORK => self.function(double, op.work() / EXP_WORK),
            Expr::Binary(BinaryOp::Pow, _, y) => match products(exprs.get(*y), lane) {
                Some(products) => self.pointwise += products * wide,
                None => self.function(double, POW),
            },
            Expr::Binary(BinaryOp::LogAddExp, ..) => self.function(double, 3.0),
            Expr::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, ..) => self.gather += 2.0,
            Expr::Unary(op, _) => self.pointwise += op.work() * wide,
            Expr::Binary(op, x, _) => {
                let operands = if matches!(exprs.lane(*x), Lane::F64 | Lane::I64) { 2.0 } else { 1.0 };
                self.pointwise += op.work() * operands;
            }
            Expr::Nary(_, xs) => self.pointwise += (xs.len() as f64 - 1.0) * wide,
            Expr::Select(..) | Expr::Cast(..) | Expr::Tile { .. } => self.pointwise += wide,
            Expr::Load { index, .. } => {
                let across = index.iter().rposition(|i| exprs.dependence(*i).col);
                let read = |id: ExprId| matches!(exprs.get(id), Expr::Load { .. } | Expr::Tile { .. });
                let by_data = |i: &ExprId| exprs.dependence(*i).row && exprs.under(&[*i]).into_iter().any(read);
                if across.is_some_and(|k| k + 1 < index.len()) {
                    self.gather += 1.0;
                } else if index.iter().any(by_data) {
                    // Each line lies elsewhere.
                    self.gather += LOOKED_UP_LINE;
                } else {
                    self.pointwise += wide;
                }
            }
            Expr::LowerBound { .. } => self.gather += 20.0,
            _ => {}
        }
    }

    /// A transcendental function, of so many exponentials' work: on vectors in f32, one by one in f64.
    fn function(&mut self, double: bool, exps: f64) {
        if double { self.scalar += exps } else { self.exp += exps }
    }
}

/// How many products a power with this exponent is, if it is some.
fn products(exponent: &Expr, lane: Lane) -> Option<f64> {
    let Expr::Real(_, v) = exponent else { return None };
    let most = if lane == Lane::F32 { 8 } else { 2 };
    let whole = (2_u32..=most).find(|n| f64::from(*n) == v.get())?;
    Some(f64::from(whole.ilog2() + whole.count_ones() - 1))
}
