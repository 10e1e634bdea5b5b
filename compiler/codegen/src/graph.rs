//! The expressions of one statement, made ready for emission.
//!
//! Composed functions (sigmoid, gelu, softplus, …) become arithmetic around
//! primitive calls, folds become binary, and what is *affine* in the column,
//! `a + k * col`, is known by its slope k: its loads are vector loads, its
//! comparisons thresholds on the column. Knows no Cranelift. The emission is in
//! `lanes` and `cells`.

use std::collections::BTreeMap;

use attnc_algebra::term::Real;
use attnc_algebra::{BinaryOp, NaryOp, UnaryOp};
use attnc_plan::loops::{BufferId, Expr, ExprId, Exprs, Lane, TileId, VarId};

/// Index of a node; operands come before users.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Id(pub u32);

/// Primitive operations of one operand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Unary {
    Neg,
    Not,
    Abs,
    Sqrt,
    Floor,
    Ceil,
    Trunc,
}

/// Primitive operations of two operands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    IntPow,
    Min,
    Max,
    And,
    Or,
    Eq,
    Ne,
    Lt,
    Le,
}

/// Functions that are microkernels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Function {
    Exp,
    Expm1,
    Log,
    Log1p,
    Tanh,
    Sin,
    Cos,
    Erf,
    Pow,
}

/// One primitive operation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Op {
    Real(Lane, Real),
    Int(i64),
    Truth(bool),
    Extent(u32),
    Var(VarId),
    Row,
    Col,
    Tile {
        tile: TileId,
        row: Id,
        col: Id,
    },
    Load {
        buffer: BufferId,
        index: Vec<Id>,
        clamp: bool,
    },
    LowerBound {
        buffer: BufferId,
        index: Vec<Id>,
        dim: usize,
        count: Id,
        value: Id,
    },
    Unary(Unary, Id),
    Binary(Binary, Id, Id),
    Select(Id, Id, Id),
    Cast(Lane, Id),
    Call(Function, Vec<Id>),
    /// The scalar that the operand is at column 0.
    AtZero(Id),
    /// `col < x`, `col > x`, `col == x` or `col != x` for a scalar x within i32.
    ColumnIs(Relation, Id),
    /// `(zero + slope * col) mod modulus == is` (or not, if `negated`), for a
    /// power of two and scalars.
    ColumnModIs {
        zero: Id,
        slope: i64,
        modulus: i64,
        is: Id,
        negated: bool,
    },
}

/// How the column relates to a threshold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Relation {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
    Unequal,
}

impl Op {
    pub(crate) fn operands(&self) -> Vec<Id> {
        match self {
            Self::Real(..) | Self::Int(_) | Self::Truth(_) | Self::Extent(_) | Self::Var(_) | Self::Row | Self::Col => {
                Vec::new()
            }
            Self::Tile { row, col, .. } => vec![*row, *col],
            Self::Load { index, .. } => index.clone(),
            Self::LowerBound { index, count, value, .. } => {
                let mut all = index.clone();
                all.extend([*count, *value]);
                all
            }
            Self::Unary(_, x) | Self::Cast(_, x) | Self::AtZero(x) | Self::ColumnIs(_, x) => vec![*x],
            Self::Binary(_, x, y) => vec![*x, *y],
            Self::ColumnModIs { zero, is, .. } => vec![*zero, *is],
            Self::Select(c, a, b) => vec![*c, *a, *b],
            Self::Call(_, xs) => xs.clone(),
        }
    }
}

/// A node with what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub op: Op,
    pub lane: Lane,
    /// Varies with the row.
    pub row: bool,
    /// Varies with the column.
    pub col: bool,
    /// `Some(k)`: an integer `a + k * col` with `a` free of the column; 0 for
    /// whatever does not vary with the column.
    pub slope: Option<i64>,
}

/// The nodes under a statement's roots.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    known: BTreeMap<Op, Id>,
    exprs: BTreeMap<ExprId, Id>,
}

impl Graph {
    /// The graph under `roots`. With `swap` the row is called column, and the
    /// column, which must be 0 throughout, is the constant 0.
    pub(crate) fn new(exprs: &Exprs, roots: &[ExprId], swap: bool) -> Self {
        let mut graph = Self::default();
        for id in exprs.under(roots) {
            let node = graph.convert(exprs, id, swap);
            graph.exprs.insert(id, node);
        }
        graph
    }

    /// The node of an expression that was a root or under one.
    pub(crate) fn of(&self, id: ExprId) -> Id {
        self.exprs[&id]
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn as_int(&self, id: Id) -> Option<i64> {
        match self.node(id).op {
            Op::Int(v) => Some(v),
            _ => None,
        }
    }

    fn lane(&self, id: Id) -> Lane {
        self.node(id).lane
    }

    fn add(&mut self, op: Op, lane: Lane) -> Id {
        if let Some(id) = self.known.get(&op) {
            return *id;
        }
        let (mut row, mut col) = (op == Op::Row, op == Op::Col);
        for x in op.operands() {
            row |= self.node(x).row;
            col |= self.node(x).col;
        }
        match op {
            Op::AtZero(_) => col = false,
            Op::ColumnIs(..) | Op::ColumnModIs { .. } => col = true,
            _ => {}
        }
        let slope = if col { self.slope(&op) } else { Some(0) };
        let id = Id(self.nodes.len() as u32);
        self.nodes.push(Node { op: op.clone(), lane, row, col, slope });
        self.known.insert(op, id);
        id
    }

    /// Slope of an operation that varies with the column.
    fn slope(&self, op: &Op) -> Option<i64> {
        let slope = |id: &Id| self.node(*id).slope.filter(|_| self.lane(*id) == Lane::I64);
        match op {
            Op::Col => Some(1),
            Op::Unary(Unary::Neg, x) => slope(x)?.checked_neg(),
            Op::Binary(Binary::Add, x, y) => slope(x)?.checked_add(slope(y)?),
            Op::Binary(Binary::Sub, x, y) => slope(x)?.checked_sub(slope(y)?),
            Op::Binary(Binary::Mul, x, y) => match (self.as_int(*x), self.as_int(*y)) {
                (Some(k), _) => slope(y)?.checked_mul(k),
                (_, Some(k)) => slope(x)?.checked_mul(k),
                _ => None,
            },
            Op::Select(c, a, b) if !self.node(*c).col && slope(a)? == slope(b)? => slope(a),
            _ => None,
        }
    }

    fn convert(&mut self, exprs: &Exprs, id: ExprId, swap: bool) -> Id {
        let lane = exprs.lane(id);
        let of = |graph: &Self, id: &ExprId| graph.exprs[id];
        match exprs.get(id) {
            Expr::Real(lane, v) => self.add(Op::Real(*lane, *v), *lane),
            Expr::Int(v) => self.int(*v),
            Expr::Bool(v) => self.add(Op::Truth(*v), Lane::Bool),
            Expr::Extent(n) => self.add(Op::Extent(*n), Lane::I64),
            Expr::Var(v) => self.add(Op::Var(*v), lane),
            Expr::Row if swap => self.add(Op::Col, Lane::I64),
            Expr::Col if swap => self.int(0),
            Expr::Row => self.add(Op::Row, Lane::I64),
            Expr::Col => self.add(Op::Col, Lane::I64),
            Expr::Tile { tile, row, col } => {
                let (row, col) = (of(self, row), of(self, col));
                self.add(Op::Tile { tile: *tile, row, col }, lane)
            }
            Expr::Load { buffer, index, clamp } => {
                let index = index.iter().map(|i| of(self, i)).collect();
                self.add(Op::Load { buffer: *buffer, index, clamp: *clamp }, lane)
            }
            Expr::LowerBound { buffer, index, dim, count, value } => {
                let index = index.iter().map(|i| of(self, i)).collect();
                let (count, value) = (of(self, count), of(self, value));
                self.add(Op::LowerBound { buffer: *buffer, index, dim: *dim, count, value }, lane)
            }
            Expr::Unary(op, x) => self.unary(*op, of(self, x)),
            Expr::Binary(op, x, y) => self.binary(*op, of(self, x), of(self, y)),
            Expr::Nary(op, xs) => {
                let xs: Vec<Id> = xs.iter().map(|x| of(self, x)).collect();
                self.nary(*op, &xs)
            }
            Expr::Select(c, a, b) => self.select(of(self, c), of(self, a), of(self, b)),
            Expr::Cast(lane, x) => self.cast(*lane, of(self, x)),
        }
    }
}

/// Constructors.
impl Graph {
    fn int(&mut self, value: i64) -> Id {
        self.add(Op::Int(value), Lane::I64)
    }

    fn real(&mut self, lane: Lane, value: f64) -> Id {
        self.add(Op::Real(lane, Real::new(value)), lane)
    }

    fn one(&mut self, op: Unary, x: Id) -> Id {
        self.add(Op::Unary(op, x), self.lane(x))
    }

    fn two(&mut self, op: Binary, x: Id, y: Id) -> Id {
        let lane = match op {
            Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le => Lane::Bool,
            _ => self.lane(x),
        };
        self.add(Op::Binary(op, x, y), lane)
    }

    fn select(&mut self, c: Id, a: Id, b: Id) -> Id {
        self.add(Op::Select(c, a, b), self.lane(a))
    }

    fn cast(&mut self, lane: Lane, x: Id) -> Id {
        if self.lane(x) == lane { x } else { self.add(Op::Cast(lane, x), lane) }
    }

    fn call(&mut self, function: Function, xs: &[Id]) -> Id {
        self.add(Op::Call(function, xs.to_vec()), self.lane(xs[0]))
    }

    fn at_zero(&mut self, x: Id) -> Id {
        if self.node(x).col { self.add(Op::AtZero(x), self.lane(x)) } else { x }
    }

    fn unary(&mut self, op: UnaryOp, x: Id) -> Id {
        let lane = self.lane(x);
        match op {
            UnaryOp::Neg => self.one(Unary::Neg, x),
            UnaryOp::Not => self.one(Unary::Not, x),
            UnaryOp::Abs => self.one(Unary::Abs, x),
            UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::RealToInt if lane == Lane::I64 => x,
            UnaryOp::ToReal | UnaryOp::ToInt => x,
            UnaryOp::Floor => self.one(Unary::Floor, x),
            UnaryOp::Ceil => self.one(Unary::Ceil, x),
            UnaryOp::RealToInt => self.one(Unary::Trunc, x),
            UnaryOp::Sqrt => self.one(Unary::Sqrt, x),
            UnaryOp::Exp => self.call(Function::Exp, &[x]),
            UnaryOp::Log => self.call(Function::Log, &[x]),
            UnaryOp::Tanh => self.call(Function::Tanh, &[x]),
            UnaryOp::Sin => self.call(Function::Sin, &[x]),
            UnaryOp::Cos => self.call(Function::Cos, &[x]),
            UnaryOp::Sign | UnaryOp::Relu if lane == Lane::I64 => self.int_sign(op, x),
            _ => self.composed(op, x),
        }
    }

    fn int_sign(&mut self, op: UnaryOp, x: Id) -> Id {
        let zero = self.int(0);
        if op == UnaryOp::Relu {
            return self.two(Binary::Max, x, zero);
        }
        let (one, minus) = (self.int(1), self.int(-1));
        let low = self.two(Binary::Max, x, minus);
        self.two(Binary::Min, low, one)
    }

    /// Functions written as arithmetic around calls: the same operations in
    /// the same order as [`UnaryOp::eval`], so that f64 gives the same bits.
    fn composed(&mut self, op: UnaryOp, x: Id) -> Id {
        let lane = self.lane(x);
        let (zero, one) = (self.real(lane, 0.0), self.real(lane, 1.0));
        match op {
            UnaryOp::Recip => self.two(Binary::Div, one, x),
            UnaryOp::Sign => {
                let minus = self.real(lane, -1.0);
                let none = self.two(Binary::Mul, x, zero);
                let (above, below) = (self.two(Binary::Lt, zero, x), self.two(Binary::Lt, x, zero));
                let rest = self.select(below, minus, none);
                self.select(above, one, rest)
            }
            UnaryOp::Sigmoid => {
                let weight = self.sigmoid_divisor(x);
                self.two(Binary::Div, one, weight)
            }
            UnaryOp::Silu => {
                let weight = self.sigmoid_divisor(x);
                self.two(Binary::Div, x, weight)
            }
            UnaryOp::Relu => {
                let below = self.two(Binary::Lt, x, zero);
                self.select(below, zero, x)
            }
            UnaryOp::Elu => {
                let above = self.two(Binary::Lt, zero, x);
                let low = self.call(Function::Expm1, &[x]);
                self.select(above, x, low)
            }
            UnaryOp::Gelu => {
                let (half, root) = (self.real(lane, 0.5), self.real(lane, std::f64::consts::FRAC_1_SQRT_2));
                let argument = self.two(Binary::Mul, x, root);
                let erf = self.call(Function::Erf, &[argument]);
                let (left, right) = (self.two(Binary::Mul, half, x), self.two(Binary::Add, one, erf));
                self.two(Binary::Mul, left, right)
            }
            // Softplus: max(x, 0) + log1p(exp(-|x|)).
            _ => {
                let above = self.two(Binary::Lt, zero, x);
                let top = self.select(above, x, zero);
                let minus = self.one(Unary::Neg, x);
                let argument = self.select(above, minus, x);
                self.add_log1p_exp(top, argument)
            }
        }
    }

    /// `1 + exp(-x)`
    fn sigmoid_divisor(&mut self, x: Id) -> Id {
        let one = self.real(self.lane(x), 1.0);
        let minus = self.one(Unary::Neg, x);
        let exp = self.call(Function::Exp, &[minus]);
        self.two(Binary::Add, one, exp)
    }

    /// `top + log1p(exp(argument))`
    fn add_log1p_exp(&mut self, top: Id, argument: Id) -> Id {
        let exp = self.call(Function::Exp, &[argument]);
        let log = self.call(Function::Log1p, &[exp]);
        self.two(Binary::Add, top, log)
    }

    fn binary(&mut self, op: BinaryOp, x: Id, y: Id) -> Id {
        match op {
            BinaryOp::Div => self.two(Binary::Div, x, y),
            BinaryOp::FloorDiv => self.two(Binary::FloorDiv, x, y),
            BinaryOp::Mod => self.two(Binary::Mod, x, y),
            BinaryOp::Pow if self.lane(x) == Lane::I64 => self.two(Binary::IntPow, x, y),
            BinaryOp::Pow => self.power(x, y),
            BinaryOp::LogAddExp => {
                let (top, low) = (self.two(Binary::Max, x, y), self.two(Binary::Min, x, y));
                let argument = self.two(Binary::Sub, low, top);
                let sum = self.add_log1p_exp(top, argument);
                let (size, inf) = (self.one(Unary::Abs, top), self.real(self.lane(x), f64::INFINITY));
                let infinite = self.two(Binary::Eq, size, inf);
                self.select(infinite, top, sum)
            }
            BinaryOp::Eq => self.comparison(Binary::Eq, x, y),
            BinaryOp::Ne => self.comparison(Binary::Ne, x, y),
            BinaryOp::Lt => self.comparison(Binary::Lt, x, y),
            BinaryOp::Le => self.comparison(Binary::Le, x, y),
        }
    }

    /// In f32 a square is one product, correctly rounded; f64 follows `libm`.
    fn power(&mut self, x: Id, y: Id) -> Id {
        match (self.lane(x), &self.node(y).op) {
            (Lane::F32, Op::Real(_, v)) if v.get() == 1.0 => x,
            (Lane::F32, Op::Real(_, v)) if v.get() == 2.0 => self.two(Binary::Mul, x, x),
            _ => self.call(Function::Pow, &[x, y]),
        }
    }

    fn nary(&mut self, op: NaryOp, xs: &[Id]) -> Id {
        let mut acc = xs[0];
        for &x in &xs[1..] {
            acc = match (op, &self.node(x).op) {
                (NaryOp::Add, Op::Unary(Unary::Neg, y)) => {
                    let y = *y;
                    self.two(Binary::Sub, acc, y)
                }
                (NaryOp::Add, _) => self.two(Binary::Add, acc, x),
                (NaryOp::Mul, _) => self.two(Binary::Mul, acc, x),
                (NaryOp::Min, _) => self.two(Binary::Min, acc, x),
                (NaryOp::Max, _) => self.two(Binary::Max, acc, x),
                (NaryOp::And, _) => self.two(Binary::And, acc, x),
                (NaryOp::Or, _) => self.two(Binary::Or, acc, x),
            };
        }
        acc
    }

    /// A comparison; of integers affine in the column, as thresholds.
    fn comparison(&mut self, op: Binary, x: Id, y: Id) -> Id {
        if self.lane(x) != Lane::I64 || !(self.node(x).col || self.node(y).col) {
            return self.two(op, x, y);
        }
        if let (Some(k), Some(l)) = (self.node(x).slope, self.node(y).slope) {
            return self.affine_comparison(op, k.checked_sub(l), x, y);
        }
        let split = if matches!(op, Binary::Lt | Binary::Le) { self.split_comparison(op, x, y) } else { None };
        split
            .or_else(|| self.column_mod(op, x, y))
            .or_else(|| self.column_mod(op, y, x))
            .unwrap_or_else(|| self.two(op, x, y))
    }

    /// `|a| <= y` is `a <= y and -a <= y`, `x <= min(a, b)` is `x <= a and x <= b`,
    /// and so on, where the parts are affine.
    fn split_comparison(&mut self, op: Binary, x: Id, y: Id) -> Option<Id> {
        let (left, right) = (self.node(x).op.clone(), self.node(y).op.clone());
        let affine = |graph: &Self, ids: &[Id]| ids.iter().all(|id| graph.node(*id).slope.is_some());
        let (pairs, join) = match (left, right) {
            (Op::Unary(Unary::Abs, a), _) if affine(self, &[a, y]) => {
                let minus = self.one(Unary::Neg, a);
                ([(a, y), (minus, y)], Binary::And)
            }
            (_, Op::Unary(Unary::Abs, b)) if affine(self, &[x, b]) => {
                let minus = self.one(Unary::Neg, b);
                ([(x, b), (x, minus)], Binary::Or)
            }
            (Op::Binary(side @ (Binary::Max | Binary::Min), a, b), _) if affine(self, &[a, b, y]) => {
                ([(a, y), (b, y)], if side == Binary::Max { Binary::And } else { Binary::Or })
            }
            (_, Op::Binary(side @ (Binary::Max | Binary::Min), a, b)) if affine(self, &[a, b, x]) => {
                ([(x, a), (x, b)], if side == Binary::Max { Binary::Or } else { Binary::And })
            }
            _ => return None,
        };
        let [first, second] = pairs.map(|(x, y)| self.comparison(op, x, y));
        Some(self.two(join, first, second))
    }

    /// `(affine) mod 2^k == scalar`, which 32-bit lanes decide.
    fn column_mod(&mut self, op: Binary, x: Id, y: Id) -> Option<Id> {
        let (Binary::Eq | Binary::Ne, Op::Binary(Binary::Mod, a, m)) = (op, &self.node(x).op) else { return None };
        let (a, m) = (*a, *m);
        let modulus = self.as_int(m).filter(|m| *m > 0 && *m <= 1 << 30 && m.count_ones() == 1)?;
        let slope = self.node(a).slope.filter(|k| i32::try_from(*k).is_ok() && !self.node(y).col)?;
        let zero = self.at_zero(a);
        // A remainder lies in 0..modulus, so this clamp changes no answer.
        let (low, high) = (self.int(-1), self.int(modulus));
        let is = self.two(Binary::Max, y, low);
        let is = self.two(Binary::Min, is, high);
        Some(self.add(Op::ColumnModIs { zero, slope, modulus, is, negated: op == Binary::Ne }, Lane::Bool))
    }

    /// A comparison of affine integers whose difference has slope 1 or -1 is a
    /// threshold on the column.
    fn affine_comparison(&mut self, op: Binary, difference: Option<i64>, x: Id, y: Id) -> Id {
        let Some(slope @ -1..=1) = difference else { return self.two(op, x, y) };
        let (left, right) = (self.at_zero(x), self.at_zero(y));
        let relation = match (op, slope) {
            (_, 0) => return self.two(op, left, right),
            (Binary::Eq, _) => Relation::Equal,
            (Binary::Ne, _) => Relation::Unequal,
            (Binary::Lt, 1) => Relation::Below,
            (Binary::Lt, _) => Relation::Above,
            (_, 1) => Relation::AtMost,
            _ => Relation::AtLeast,
        };
        let threshold =
            if slope == 1 { self.two(Binary::Sub, right, left) } else { self.two(Binary::Sub, left, right) };
        // Columns lie in 0..2^31 - 1, so these clamps change no answer.
        let (low, high) = (self.int(-1), self.int(i64::from(i32::MAX)));
        let threshold = self.two(Binary::Max, threshold, low);
        let threshold = self.two(Binary::Min, threshold, high);
        self.add(Op::ColumnIs(relation, threshold), Lane::Bool)
    }
}
