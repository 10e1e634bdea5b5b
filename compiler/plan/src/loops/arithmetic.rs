//! The arithmetic of lanes, as the interpreter computes it and as generated
//! code must.
//!
//! Integers wrap; floor division and remainder by 0 are by 1 instead (a launch
//! that could meet one is refused before); an exponent below 0 counts as 0.
//! An F32 lane is held as an f64 and rounded after every operation, which for
//! sums, products, quotients and square roots is f32 arithmetic; other
//! functions are computed in f64 and rounded once.

use attnc_algebra::{BinaryOp, NaryOp, UnaryOp};

use super::expr::Lane;

/// The value of one lane.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    /// F32 or F64.
    Real(f64),
    /// I64.
    Int(i64),
    /// Bool.
    Truth(bool),
}

impl Value {
    /// The number; truth values are 0 and 1.
    pub fn real(self) -> f64 {
        match self {
            Self::Real(v) => v,
            Self::Int(v) => v as f64,
            Self::Truth(v) => f64::from(u8::from(v)),
        }
    }

    /// The integer; reals are truncated (saturating, NaN to 0).
    pub fn int(self) -> i64 {
        match self {
            Self::Real(v) => v as i64,
            Self::Int(v) => v,
            Self::Truth(v) => i64::from(v),
        }
    }

    /// Whether the value is not zero.
    pub fn truth(self) -> bool {
        match self {
            Self::Real(v) => v != 0.0,
            Self::Int(v) => v != 0,
            Self::Truth(v) => v,
        }
    }
}

/// `x` rounded to the precision of `lane`.
fn rounded(lane: Lane, x: f64) -> f64 {
    if lane == Lane::F32 { f64::from(x as f32) } else { x }
}

/// A float constant of `lane`.
pub fn real(lane: Lane, x: f64) -> Value {
    Value::Real(rounded(lane, x))
}

/// Conversion to `lane`; integers go to F32 in one rounding.
pub fn cast(lane: Lane, x: Value) -> Value {
    match (lane, x) {
        (Lane::F32, Value::Int(v)) => Value::Real(f64::from(v as f32)),
        (Lane::F32 | Lane::F64, _) => real(lane, x.real()),
        (Lane::I64, _) => Value::Int(x.int()),
        (Lane::Bool, _) => Value::Truth(x.truth()),
    }
}

/// A function of one operand of type `lane`.
pub fn unary(op: UnaryOp, lane: Lane, x: Value) -> Value {
    match (op, x) {
        (UnaryOp::Not, _) => Value::Truth(!x.truth()),
        (UnaryOp::Neg, Value::Int(v)) => Value::Int(v.wrapping_neg()),
        (UnaryOp::Abs, Value::Int(v)) => Value::Int(v.wrapping_abs()),
        (UnaryOp::Sign, Value::Int(v)) => Value::Int(v.signum()),
        (UnaryOp::Relu, Value::Int(v)) => Value::Int(v.max(0)),
        (UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::ToInt | UnaryOp::RealToInt, Value::Int(_)) => x,
        (_, Value::Truth(_)) => x,
        _ => real(lane, op.eval(x.real())),
    }
}

/// A function of two operands of type `lane`.
pub fn binary(op: BinaryOp, lane: Lane, x: Value, y: Value) -> Value {
    match (x, y) {
        (Value::Int(x), Value::Int(y)) => int_binary(op, x, y),
        _ if op.is_comparison() => Value::Truth(op.eval(x.real(), y.real()) != 0.0),
        _ => real_binary(op, lane, x.real(), y.real()),
    }
}

fn int_binary(op: BinaryOp, x: i64, y: i64) -> Value {
    match op {
        BinaryOp::FloorDiv => Value::Int(floor_div(x, y)),
        BinaryOp::Mod => Value::Int(modulo(x, y)),
        BinaryOp::Pow => Value::Int(power(x, y)),
        BinaryOp::Eq => Value::Truth(x == y),
        BinaryOp::Ne => Value::Truth(x != y),
        BinaryOp::Lt => Value::Truth(x < y),
        BinaryOp::Le => Value::Truth(x <= y),
        BinaryOp::Div | BinaryOp::LogAddExp => Value::Real(op.eval(x as f64, y as f64)),
    }
}

fn real_binary(op: BinaryOp, lane: Lane, x: f64, y: f64) -> Value {
    match op {
        BinaryOp::FloorDiv => real(lane, rounded(lane, x / y).floor()),
        BinaryOp::Mod => {
            let whole = rounded(lane, x / y).floor();
            real(lane, x - rounded(lane, y * whole))
        }
        _ => real(lane, op.eval(x, y)),
    }
}

/// One step of an n-ary fold over operands of type `lane`.
pub fn nary(op: NaryOp, lane: Lane, x: Value, y: Value) -> Value {
    match (x, y) {
        (Value::Int(x), Value::Int(y)) => Value::Int(match op {
            NaryOp::Add => x.wrapping_add(y),
            NaryOp::Mul => x.wrapping_mul(y),
            NaryOp::Min => x.min(y),
            NaryOp::Max => x.max(y),
            NaryOp::And => i64::from(x != 0 && y != 0),
            NaryOp::Or => i64::from(x != 0 || y != 0),
        }),
        (Value::Truth(x), Value::Truth(y)) => Value::Truth(match op {
            NaryOp::Mul | NaryOp::Min | NaryOp::And => x && y,
            NaryOp::Add | NaryOp::Max | NaryOp::Or => x || y,
        }),
        _ => real(lane, op.eval(x.real(), y.real())),
    }
}

/// Floor division; by 1 where `y` is 0.
pub fn floor_div(x: i64, y: i64) -> i64 {
    if y == 0 {
        return x;
    }
    let q = x.wrapping_div(y);
    if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) { q - 1 } else { q }
}

/// Remainder of [`floor_div`]: the sign of `y`; 0 where `y` is 0.
pub fn modulo(x: i64, y: i64) -> i64 {
    if y == 0 {
        return 0;
    }
    let r = x.wrapping_rem(y);
    if r != 0 && (r < 0) != (y < 0) { r + y } else { r }
}

/// Wrapping power by squaring; an exponent below 0 counts as 0.
pub fn power(mut x: i64, mut y: i64) -> i64 {
    let mut product = 1i64;
    while y > 0 {
        if y & 1 == 1 {
            product = product.wrapping_mul(x);
        }
        x = x.wrapping_mul(x);
        y >>= 1;
    }
    product
}
