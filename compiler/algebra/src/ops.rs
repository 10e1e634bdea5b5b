//! The pointwise operations and reductions of the algebra: the op table.
//!
//! One row per op: its name in text, its meaning on f64, and its arithmetic
//! work. Every other crate reads this table; none repeats it.

/// A function of one number (or truth value, for `Not`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum UnaryOp {
    /// `-x`
    Neg,
    /// Logical negation.
    Not,
    /// `1 / x`; written by rules, not by users.
    Recip,
    /// e to the x.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// Absolute value.
    Abs,
    /// -1, 0 or 1.
    Sign,
    /// Largest integer not above x, as a real (an integer of an integer).
    Floor,
    /// Smallest integer not below x.
    Ceil,
    /// Hyperbolic tangent.
    Tanh,
    /// Sine of an angle in radians.
    Sin,
    /// Cosine of an angle in radians.
    Cos,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `max(x, 0)`
    Relu,
    /// `x` for `x > 0`, else `exp(x) - 1`.
    Elu,
    /// `x/2 * (1 + erf(x / sqrt 2))`
    Gelu,
    /// `x * sigmoid(x)`
    Silu,
    /// `log(1 + exp(x))`
    Softplus,
    /// Truth value or integer to real, exact up to f64.
    ToReal,
    /// Truth value to integer 0 or 1.
    ToInt,
    /// Real to integer by truncation of an already integral value (after floor/ceil), used for indices.
    RealToInt,
}

/// A function of two operands that is neither associative nor reordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BinaryOp {
    /// Real division.
    Div,
    /// Floor division of integers (or reals: floor of the quotient).
    FloorDiv,
    /// Remainder of floor division: the sign of the divisor.
    Mod,
    /// `x ^ y`
    Pow,
    /// `log(exp x + exp y)`, stable.
    LogAddExp,
    /// `x == y`
    Eq,
    /// `x != y`
    Ne,
    /// `x < y`
    Lt,
    /// `x <= y`
    Le,
}

/// An associative and commutative operation on two or more operands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NaryOp {
    /// Sum.
    Add,
    /// Product.
    Mul,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Conjunction.
    And,
    /// Disjunction.
    Or,
}

/// A reduction over one axis, restricted to a domain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ReduceOp {
    /// Sum; 0 over nothing.
    Sum,
    /// Product; 1 over nothing.
    Prod,
    /// Maximum; -inf over nothing.
    Max,
    /// Minimum; +inf over nothing.
    Min,
    /// Disjunction; false over nothing.
    Any,
    /// Conjunction; true over nothing.
    All,
    /// Lowest position of the maximum; -1 over nothing; NaN ranks last.
    ArgMax,
    /// Lowest position of the minimum; -1 over nothing; NaN ranks last.
    ArgMin,
    /// log of the sum of exponentials, shift-stable; -inf over nothing.
    LogSumExp,
}

impl UnaryOp {
    /// The name used in text.
    pub fn name(self) -> &'static str {
        use UnaryOp::*;
        match self {
            Neg => "-",
            Not => "not",
            Recip => "recip",
            Exp => "exp",
            Log => "log",
            Sqrt => "sqrt",
            Abs => "abs",
            Sign => "sign",
            Floor => "floor",
            Ceil => "ceil",
            Tanh => "tanh",
            Sin => "sin",
            Cos => "cos",
            Sigmoid => "sigmoid",
            Relu => "relu",
            Elu => "elu",
            Gelu => "gelu",
            Silu => "silu",
            Softplus => "softplus",
            ToReal => "real",
            ToInt => "int",
            RealToInt => "trunc",
        }
    }

    /// The meaning on reals. Transcendental functions come from `libm`, so
    /// that every engine computes the same bits. Truth values are 0 and 1.
    pub fn eval(self, x: f64) -> f64 {
        use UnaryOp::*;
        match self {
            Neg => -x,
            Not => f64::from(x == 0.0),
            Recip => 1.0 / x,
            Exp => libm::exp(x),
            Log => libm::log(x),
            Sqrt => x.sqrt(),
            Abs => x.abs(),
            Sign if x > 0.0 => 1.0,
            Sign if x < 0.0 => -1.0,
            Sign => x * 0.0,
            Floor => x.floor(),
            Ceil => x.ceil(),
            Tanh => libm::tanh(x),
            Sin => libm::sin(x),
            Cos => libm::cos(x),
            Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
            Relu if x < 0.0 => 0.0,
            Relu => x,
            Elu if x > 0.0 => x,
            Elu => libm::expm1(x),
            Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Silu => x / (1.0 + libm::exp(-x)),
            Softplus if x > 0.0 => x + libm::log1p(libm::exp(-x)),
            Softplus => libm::log1p(libm::exp(x)),
            ToReal | ToInt => x,
            RealToInt => x.trunc(),
        }
    }

    /// Arithmetic work in units of one fused multiply-add lane.
    pub fn work(self) -> f64 {
        use UnaryOp::*;
        match self {
            Neg | Not | Abs | ToReal | ToInt | RealToInt | Relu | Sign | Floor | Ceil => 1.0,
            Recip | Sqrt => 4.0,
            Exp => 12.0,
            Log | Tanh | Sigmoid | Elu | Silu => 20.0,
            Sin | Cos | Gelu | Softplus => 30.0,
        }
    }
}

impl BinaryOp {
    /// The name used in text.
    pub fn name(self) -> &'static str {
        use BinaryOp::*;
        match self {
            Div => "/",
            FloorDiv => "div",
            Mod => "mod",
            Pow => "^",
            LogAddExp => "logaddexp",
            Eq => "==",
            Ne => "!=",
            Lt => "<",
            Le => "<=",
        }
    }

    /// The meaning on reals; comparisons give 0 or 1 and are false on NaN
    /// (`!=` is the negation of `==`).
    pub fn eval(self, x: f64, y: f64) -> f64 {
        use BinaryOp::*;
        match self {
            Div => x / y,
            FloorDiv => (x / y).floor(),
            Mod => x - y * (x / y).floor(),
            Pow => libm::pow(x, y),
            LogAddExp => {
                let top = NaryOp::Max.eval(x, y);
                if top.is_infinite() { top } else { top + libm::log1p(libm::exp(x.min(y) - top)) }
            }
            Eq => f64::from(x == y),
            Ne => f64::from(x != y),
            Lt => f64::from(x < y),
            Le => f64::from(x <= y),
        }
    }

    /// The meaning on integers; `None` on division by zero or overflow.
    pub fn eval_int(self, x: i64, y: i64) -> Option<i64> {
        use BinaryOp::*;
        match self {
            FloorDiv => floor_div(x, y),
            Mod => x.checked_sub(floor_div(x, y)?.checked_mul(y)?),
            Pow => x.checked_pow(u32::try_from(y).ok()?),
            Eq => Some(i64::from(x == y)),
            Ne => Some(i64::from(x != y)),
            Lt => Some(i64::from(x < y)),
            Le => Some(i64::from(x <= y)),
            Div | LogAddExp => None,
        }
    }

    /// Whether the result is a truth value.
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le)
    }

    /// Arithmetic work in units of one fused multiply-add lane.
    pub fn work(self) -> f64 {
        use BinaryOp::*;
        match self {
            Eq | Ne | Lt | Le => 1.0,
            Div => 4.0,
            FloorDiv | Mod => 8.0,
            Pow | LogAddExp => 40.0,
        }
    }
}

fn floor_div(x: i64, y: i64) -> Option<i64> {
    let q = x.checked_div(y)?;
    let inexact = q.checked_mul(y)? != x;
    Some(if inexact && (x < 0) != (y < 0) { q - 1 } else { q })
}

impl NaryOp {
    /// The name used in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Mul => "*",
            Self::Min => "min",
            Self::Max => "max",
            Self::And => "and",
            Self::Or => "or",
        }
    }

    /// The meaning of two operands on reals (truth values are 0 and 1).
    /// `min` and `max` are NaN if an operand is, and -0 is below 0, so that
    /// neither the order nor the grouping of operands shows in the result.
    pub fn eval(self, x: f64, y: f64) -> f64 {
        match self {
            Self::Add => x + y,
            Self::Mul => x * y,
            Self::Min | Self::Max if x.is_nan() || y.is_nan() => f64::NAN,
            Self::Min if x == y => f64::from_bits(x.to_bits() | y.to_bits()),
            Self::Max if x == y => f64::from_bits(x.to_bits() & y.to_bits()),
            Self::Min => x.min(y),
            Self::Max => x.max(y),
            Self::And => f64::from(x != 0.0 && y != 0.0),
            Self::Or => f64::from(x != 0.0 || y != 0.0),
        }
    }

    /// The meaning of two operands on integers; `None` on overflow.
    pub fn eval_int(self, x: i64, y: i64) -> Option<i64> {
        match self {
            Self::Add => x.checked_add(y),
            Self::Mul => x.checked_mul(y),
            Self::Min => Some(x.min(y)),
            Self::Max => Some(x.max(y)),
            Self::And => Some(i64::from(x != 0 && y != 0)),
            Self::Or => Some(i64::from(x != 0 || y != 0)),
        }
    }
}

impl ReduceOp {
    /// The name used in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Prod => "prod",
            Self::Max => "max",
            Self::Min => "min",
            Self::Any => "any",
            Self::All => "all",
            Self::ArgMax => "argmax",
            Self::ArgMin => "argmin",
            Self::LogSumExp => "logsumexp",
        }
    }

    /// The value over an empty domain.
    pub fn identity(self) -> f64 {
        match self {
            Self::Sum | Self::Any => 0.0,
            Self::Prod | Self::All => 1.0,
            Self::Max | Self::LogSumExp => f64::NEG_INFINITY,
            Self::Min => f64::INFINITY,
            Self::ArgMax | Self::ArgMin => -1.0,
        }
    }
}
