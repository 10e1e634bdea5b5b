//! Launch-time integers: expressions over extents only, evaluated before a
//! program runs (buffer shapes, tile shapes, task counts).

use attnc_algebra::UnaryOp;

use super::expr::{Expr, ExprId, Exprs};
use super::program::LoopProgram;

impl Exprs {
    /// The value of a launch-time integer (or truth value, as 0 or 1) at the
    /// given extents; `None` on overflow, division by zero, or if the
    /// expression depends on anything else.
    pub fn eval_launch(&self, id: ExprId, extents: &[i64]) -> Option<i64> {
        let eval = |x: &ExprId| self.eval_launch(*x, extents);
        match self.get(id) {
            Expr::Int(v) => Some(*v),
            Expr::Bool(v) => Some(i64::from(*v)),
            Expr::Extent(s) => extents.get(*s as usize).copied(),
            Expr::Unary(UnaryOp::Neg, x) => eval(x)?.checked_neg(),
            Expr::Unary(UnaryOp::Abs, x) => eval(x)?.checked_abs(),
            Expr::Unary(UnaryOp::Not, x) => Some(i64::from(eval(x)? == 0)),
            Expr::Binary(op, x, y) => op.eval_int(eval(x)?, eval(y)?),
            Expr::Nary(op, xs) => {
                let mut values = xs.iter().map(eval);
                let first = values.next()??;
                values.try_fold(first, |acc, v| op.eval_int(acc, v?))
            }
            Expr::Select(c, a, b) => eval(if eval(c)? != 0 { a } else { b }),
            Expr::Cast(_, x) => eval(x),
            _ => None,
        }
    }
}

impl LoopProgram {
    /// Number of tasks at the given extents; `None` on overflow.
    pub fn tasks(&self, extents: &[i64]) -> Option<i64> {
        self.grid.iter().try_fold(1i64, |n, (_, count)| n.checked_mul(self.exprs.eval_launch(*count, extents)?.max(0)))
    }
}
