//! Lane types: every operation's operands fit it, every name is in its table.

use attnc_algebra::{BinaryOp, NaryOp, ReduceOp, UnaryOp};

use crate::loops::expr::{Expr, ExprId, Exprs, Lane};
use crate::loops::program::LoopProgram;
use crate::loops::storage::lane_of;

/// What is wrong with an expression, if anything.
pub(super) fn fault(program: &LoopProgram, id: ExprId) -> Option<&'static str> {
    let exprs = &program.exprs;
    let own = exprs.lane(id);
    let lane = |x: &ExprId| exprs.lane(*x);
    let integers = |xs: &[ExprId]| xs.iter().all(|x| lane(x) == Lane::I64);
    let check = |good: bool, what: &'static str| if good { None } else { Some(what) };
    match exprs.get(id) {
        Expr::Real(lane, _) => check(is_real(*lane), "a float constant of no float type"),
        Expr::Int(_) | Expr::Bool(_) | Expr::Extent(_) | Expr::Row | Expr::Col => None,
        Expr::Var(v) => check(program.vars.get(v.0 as usize) == Some(&own), "a variable of another type"),
        Expr::Tile { tile, row, col } => match program.tiles.get(tile.0 as usize) {
            None => Some("a tile out of the table"),
            Some(declared) => check(declared.lane == own && integers(&[*row, *col]), "a tile element of another type"),
        },
        Expr::Load { buffer, index, .. } => match program.buffers.get(buffer.0 as usize) {
            None => Some("a buffer out of the table"),
            Some(declared) => check(
                lane_of(declared.dtype) == own && index.len() == declared.shape.len() && integers(index),
                "a load of another type or rank",
            ),
        },
        Expr::LowerBound { buffer, index, dim, count, value } => match program.buffers.get(buffer.0 as usize) {
            None => Some("a buffer out of the table"),
            Some(declared) => check(
                lane_of(declared.dtype) == Lane::I64
                    && index.len() == declared.shape.len()
                    && *dim < index.len()
                    && integers(index)
                    && integers(&[*count, *value]),
                "a search in a buffer of another type or rank",
            ),
        },
        Expr::Unary(op, x) => check(unary_fits(*op, lane(x)), "a function of a lane type it has no meaning on"),
        Expr::Binary(op, x, y) => {
            check(lane(x) == lane(y) && binary_fits(*op, lane(x)), "an operation on lane types it has no meaning on")
        }
        Expr::Nary(op, xs) => {
            check(!xs.is_empty() && nary_fits(exprs, *op, xs), "a fold of lane types it has no meaning on")
        }
        Expr::Select(c, a, b) => check(lane(c) == Lane::Bool && lane(a) == lane(b), "a choice between lane types"),
        Expr::Cast(to, x) => check(
            !(*to == Lane::Bool && lane(x) != Lane::Bool),
            "a conversion to a truth value: comparisons make those",
        ),
    }
}

fn is_real(lane: Lane) -> bool {
    matches!(lane, Lane::F32 | Lane::F64)
}

fn unary_fits(op: UnaryOp, lane: Lane) -> bool {
    match lane {
        Lane::Bool => op == UnaryOp::Not,
        Lane::I64 => matches!(
            op,
            UnaryOp::Neg
                | UnaryOp::Abs
                | UnaryOp::Sign
                | UnaryOp::Relu
                | UnaryOp::Floor
                | UnaryOp::Ceil
                | UnaryOp::ToInt
                | UnaryOp::RealToInt
        ),
        Lane::F32 | Lane::F64 => op != UnaryOp::Not,
    }
}

fn binary_fits(op: BinaryOp, lane: Lane) -> bool {
    match lane {
        Lane::Bool => op.is_comparison(),
        Lane::I64 => !matches!(op, BinaryOp::Div | BinaryOp::LogAddExp),
        Lane::F32 | Lane::F64 => true,
    }
}

fn nary_fits(exprs: &Exprs, op: NaryOp, xs: &[ExprId]) -> bool {
    let lane = exprs.lane(xs[0]);
    let same = xs.iter().all(|x| exprs.lane(*x) == lane);
    same && (lane == Lane::Bool) == matches!(op, NaryOp::And | NaryOp::Or)
}

/// Whether a row reduction has a meaning on `lane`, and the lane of its result.
pub(super) fn reduced(op: ReduceOp, lane: Lane) -> Option<Lane> {
    match op {
        ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min if lane != Lane::Bool => Some(lane),
        ReduceOp::Any | ReduceOp::All if lane == Lane::Bool => Some(lane),
        ReduceOp::ArgMax | ReduceOp::ArgMin if is_real(lane) => Some(Lane::I64),
        _ => None,
    }
}
