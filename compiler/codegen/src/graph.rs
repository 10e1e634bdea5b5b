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

mod comparison;
mod composed;

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
    /// A scalar that reads no memory but the launch's extents, and is worth keeping.
    pub steady: bool,
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

    /// The expressions with their nodes that are the same wherever their variables can be seen: arithmetic on extents
    /// and variables, and no reads of memory.
    pub(crate) fn steady(&self) -> impl Iterator<Item = (ExprId, Id)> + '_ {
        self.exprs.iter().map(|(expr, id)| (*expr, *id)).filter(|(_, id)| self.node(*id).steady)
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
        let steady = !row && !col && self.is_steady(&op);
        self.nodes.push(Node { op: op.clone(), lane, row, col, steady, slope });
        self.known.insert(op, id);
        id
    }

    /// Whether an integer or truth value is arithmetic on extents and variables.
    fn is_steady(&self, op: &Op) -> bool {
        let plain = |x: &Id| self.node(*x).steady || matches!(self.node(*x).op, Op::Int(_) | Op::Truth(_) | Op::Var(_));
        match op {
            Op::Extent(_) => true,
            Op::Unary(_, x) => plain(x) && matches!(self.lane(*x), Lane::I64 | Lane::Bool),
            Op::Binary(_, x, y) => plain(x) && plain(y) && matches!(self.lane(*x), Lane::I64 | Lane::Bool),
            Op::Select(c, a, b) => plain(c) && plain(a) && plain(b),
            _ => false,
        }
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
        if self.lane(x) == lane {
            return x;
        }
        // A distance: steps along the columns are converted by 32 bits, and the sign goes after that.
        if let (Lane::F32 | Lane::F64, Op::Unary(Unary::Abs, inside)) = (lane, &self.node(x).op) {
            let inside = *inside;
            if self.node(inside).col && self.node(inside).slope.is_some() {
                let real = self.cast(lane, inside);
                return self.one(Unary::Abs, real);
            }
        }
        self.add(Op::Cast(lane, x), lane)
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

    /// A square is one product, correctly rounded; so it is in `libm`, which f64 follows. Other small powers are products
    /// in f32, within 3.5 units in the last place.
    fn power(&mut self, x: Id, y: Id) -> Id {
        match &self.node(y).op {
            Op::Real(_, v) if v.get() == 1.0 => x,
            Op::Real(_, v) if v.get() == 2.0 => self.two(Binary::Mul, x, x),
            Op::Real(_, v) if self.lane(x) == Lane::F32 && is_small_power(v.get()) => {
                self.small_power(x, v.get() as u32)
            }
            _ => self.call(Function::Pow, &[x, y]),
        }
    }

    /// A power by products of squares.
    fn small_power(&mut self, x: Id, exponent: u32) -> Id {
        let half = match exponent / 2 {
            1 => x,
            half => self.small_power(x, half),
        };
        let even = self.two(Binary::Mul, half, half);
        if exponent % 2 == 1 { self.two(Binary::Mul, even, x) } else { even }
    }

    fn nary(&mut self, op: NaryOp, xs: &[Id]) -> Id {
        let mut xs = xs.to_vec();
        let negated = |x: Id| matches!(self.node(x).op, Op::Unary(Unary::Neg, _));
        if let (NaryOp::Add, [first, second, ..]) = (op, &xs[..])
            && negated(*first)
            && !negated(*second)
        {
            xs.swap(0, 1);
        }
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
}

/// Whether a power is some products in f32.
fn is_small_power(exponent: f64) -> bool {
    (3..=8).any(|n| f64::from(n) == exponent)
}
