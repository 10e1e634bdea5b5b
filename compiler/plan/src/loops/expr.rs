//! Expressions of a loop program: integers for bounds and indices, and the
//! elementwise arithmetic of a map, in one hash-consed arena.
//!
//! An expression is evaluated *at a point*: the values of the loop variables
//! and, inside a [`super::Stmt::Map`] or [`super::Stmt::RowReduce`], the lane's
//! row and column. Expressions without [`Expr::Row`] and [`Expr::Col`] are
//! scalars and may be hoisted.

use std::collections::BTreeMap;

use attnc_algebra::term::Real;
use attnc_algebra::{BinaryOp, NaryOp, UnaryOp};

use super::program::{BufferId, TileId, VarId};

/// Index of an expression in its [`Exprs`] arena.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExprId(pub u32);

/// Type of a value, a lane, or a tile element.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 64-bit integer; wraps on overflow (ranges are checked at bind time).
    I64,
    /// Truth value; stored in a tile as a 32-bit integer, 0 or -1.
    Bool,
}

impl Lane {
    /// Bytes of one stored tile element.
    pub fn size(self) -> i64 {
        match self {
            Self::F32 | Self::Bool => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// Alias of the pointwise functions: the algebra's op table is the only one.
pub type ScalarFn = UnaryOp;

/// One operation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Expr {
    /// A float constant of lane type F32 or F64.
    Real(Lane, Real),
    /// An integer constant.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// Launch-time integer: extent symbol number `.0` of the spec.
    Extent(u32),
    /// A loop variable or let-bound scalar.
    Var(VarId),
    /// Row of the lane inside the enclosing map, from 0.
    Row,
    /// Column of the lane inside the enclosing map, from 0.
    Col,
    /// Element of a scratch tile.
    Tile {
        /// The tile.
        tile: TileId,
        /// Row index, I64.
        row: ExprId,
        /// Column index, I64.
        col: ExprId,
    },
    /// Element of a buffer, widened to its lane type (f16 and bf16 to F32,
    /// integers to I64).
    Load {
        /// The buffer.
        buffer: BufferId,
        /// One I64 index per dimension.
        index: Vec<ExprId>,
        /// Whether each index is clamped into its dimension before the read.
        /// Without it the verifier must prove the index in range.
        clamp: bool,
    },
    /// First position p in 0..`count` along dimension `dim` at which the
    /// non-decreasing integer table `buffer` is >= `value`; `count` if none.
    LowerBound {
        /// An integer buffer.
        buffer: BufferId,
        /// Index of the searched line; the entry at `dim` is 0.
        index: Vec<ExprId>,
        /// The dimension searched.
        dim: usize,
        /// Number of positions searched.
        count: ExprId,
        /// The value sought, I64.
        value: ExprId,
    },
    /// A function of one operand; `Floor`, `Neg`, … keep the operand's lane type.
    Unary(UnaryOp, ExprId),
    /// A function of two operands of one lane type; comparisons give Bool.
    Binary(BinaryOp, ExprId, ExprId),
    /// n-ary fold in operand order; operands have one lane type.
    Nary(NaryOp, Vec<ExprId>),
    /// `if .0 then .1 else .2`, both sides of one lane type; lane-wise selection (both may be evaluated).
    Select(ExprId, ExprId, ExprId),
    /// Conversion to a lane type: I64/Bool/F32/F64 to F32/F64 by value
    /// (rounded once), Bool to I64 (0/1), F64/F32 to I64 by truncation (saturating, NaN to 0).
    Cast(Lane, ExprId),
}

impl Expr {
    /// The operands in order.
    pub fn operands(&self) -> Vec<ExprId> {
        match self {
            Self::Real(..) | Self::Int(_) | Self::Bool(_) | Self::Extent(_) | Self::Var(_) | Self::Row | Self::Col => {
                Vec::new()
            }
            Self::Tile { row, col, .. } => vec![*row, *col],
            Self::Load { index, .. } => index.clone(),
            Self::LowerBound { index, count, value, .. } => {
                let mut all = index.clone();
                all.extend([*count, *value]);
                all
            }
            Self::Unary(_, x) | Self::Cast(_, x) => vec![*x],
            Self::Binary(_, x, y) => vec![*x, *y],
            Self::Nary(_, xs) => xs.clone(),
            Self::Select(c, a, b) => vec![*c, *a, *b],
        }
    }
}

/// What an expression varies with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dependence {
    /// Mentions [`Expr::Row`].
    pub row: bool,
    /// Mentions [`Expr::Col`].
    pub col: bool,
}

/// A hash-consed arena of expressions; operands come before users.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exprs {
    nodes: Vec<Expr>,
    lanes: Vec<Lane>,
    dependence: Vec<Dependence>,
    ids: BTreeMap<Expr, ExprId>,
}

impl Exprs {
    /// Adds `expr` (or finds it). `leaf` gives the lane type of variables,
    /// tiles and loads; other expressions derive it from their operands.
    pub fn add(&mut self, expr: Expr, leaf: Option<Lane>) -> ExprId {
        if let Some(id) = self.ids.get(&expr) {
            return *id;
        }
        let lane = self.lane_of(&expr, leaf);
        let dependence = self.dependence_of(&expr);
        let id = ExprId(u32::try_from(self.nodes.len()).expect("programs are far below 2^32 expressions"));
        self.nodes.push(expr.clone());
        self.lanes.push(lane);
        self.dependence.push(dependence);
        self.ids.insert(expr, id);
        id
    }

    /// The operation of an expression.
    pub fn get(&self, id: ExprId) -> &Expr {
        &self.nodes[id.0 as usize]
    }

    /// The lane type of an expression.
    pub fn lane(&self, id: ExprId) -> Lane {
        self.lanes[id.0 as usize]
    }

    /// Whether the expression varies with row and column.
    pub fn dependence(&self, id: ExprId) -> Dependence {
        self.dependence[id.0 as usize]
    }

    /// Number of expressions.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn lane_of(&self, expr: &Expr, leaf: Option<Lane>) -> Lane {
        match expr {
            Expr::Real(lane, _) | Expr::Cast(lane, _) => *lane,
            Expr::Int(_) | Expr::Extent(_) | Expr::Row | Expr::Col | Expr::LowerBound { .. } => Lane::I64,
            Expr::Bool(_) => Lane::Bool,
            Expr::Var(_) | Expr::Tile { .. } | Expr::Load { .. } => {
                leaf.expect("leaves are added with their lane type")
            }
            Expr::Unary(UnaryOp::Not, _) => Lane::Bool,
            Expr::Unary(_, x) => self.lane(*x),
            Expr::Binary(op, x, _) => {
                if op.is_comparison() {
                    Lane::Bool
                } else {
                    self.lane(*x)
                }
            }
            Expr::Nary(_, xs) => self.lane(xs[0]),
            Expr::Select(_, a, _) => self.lane(*a),
        }
    }

    fn dependence_of(&self, expr: &Expr) -> Dependence {
        let mut out = Dependence { row: *expr == Expr::Row, col: *expr == Expr::Col };
        for x in expr.operands() {
            let d = self.dependence(x);
            out.row |= d.row;
            out.col |= d.col;
        }
        out
    }
}

/// Shorthand constructors with folding of integer constants.
impl Exprs {
    /// An integer constant.
    pub fn int(&mut self, value: i64) -> ExprId {
        self.add(Expr::Int(value), None)
    }

    /// A float constant.
    pub fn real(&mut self, lane: Lane, value: f64) -> ExprId {
        self.add(Expr::Real(lane, Real::new(value)), None)
    }

    /// A truth value.
    pub fn truth(&mut self, value: bool) -> ExprId {
        self.add(Expr::Bool(value), None)
    }

    /// The constant value of an integer expression, if it is one.
    pub fn as_int(&self, id: ExprId) -> Option<i64> {
        match self.get(id) {
            Expr::Int(v) => Some(*v),
            _ => None,
        }
    }

    /// `op(x)`; a double negation cancels.
    pub fn unary(&mut self, op: UnaryOp, x: ExprId) -> ExprId {
        if let (UnaryOp::Neg, Expr::Unary(UnaryOp::Neg, inner)) = (op, self.get(x)) {
            return *inner;
        }
        self.add(Expr::Unary(op, x), None)
    }

    /// `op(x, y)`; integer constants are folded.
    pub fn binary(&mut self, op: BinaryOp, x: ExprId, y: ExprId) -> ExprId {
        if let (Some(a), Some(b)) = (self.as_int(x), self.as_int(y))
            && let Some(v) = op.eval_int(a, b)
        {
            return if op.is_comparison() { self.truth(v != 0) } else { self.int(v) };
        }
        match (op, self.as_int(x), self.as_int(y)) {
            (BinaryOp::FloorDiv, _, Some(1)) => x,
            (BinaryOp::Mod, _, Some(1)) => self.int(0),
            (BinaryOp::FloorDiv, _, Some(by)) if by > 0 => match self.multiple_of(x, by) {
                Some(y) => y,
                None => self.add(Expr::Binary(op, x, y), None),
            },
            _ => self.add(Expr::Binary(op, x, y), None),
        }
    }

    /// `y` where x is `y * by`.
    fn multiple_of(&self, x: ExprId, by: i64) -> Option<ExprId> {
        match self.get(x) {
            Expr::Nary(NaryOp::Mul, xs) => match xs.as_slice() {
                [y, c] if self.as_int(*c) == Some(by) => Some(*y),
                [c, y] if self.as_int(*c) == Some(by) => Some(*y),
                _ => None,
            },
            _ => None,
        }
    }

    /// `op` over the operands in order; integer constants are folded and
    /// neutral elements dropped.
    ///
    /// # Panics
    /// If `operands` is empty.
    pub fn nary(&mut self, op: NaryOp, operands: &[ExprId]) -> ExprId {
        assert!(!operands.is_empty(), "an n-ary operation needs operands");
        if op == NaryOp::Add && self.lane(operands[0]) == Lane::I64 {
            return self.integer_sum(operands);
        }
        let mut constant: Option<i64> = None;
        let mut rest = Vec::new();
        for &x in operands {
            match (self.as_int(x), constant) {
                (Some(v), None) => constant = Some(v),
                (Some(v), Some(c)) if op.eval_int(c, v).is_some() => constant = op.eval_int(c, v),
                _ => rest.push(x),
            }
        }
        match (op, constant) {
            (NaryOp::Add, Some(0)) | (NaryOp::Mul, Some(1)) if !rest.is_empty() => constant = None,
            (NaryOp::Mul, Some(0)) => rest.clear(),
            (NaryOp::Mul, Some(-1)) if rest.len() == 1 => return self.unary(UnaryOp::Neg, rest[0]),
            _ => {}
        }
        if let Some(c) = constant {
            let c = self.int(c);
            rest.push(c);
        }
        if let [one] = rest[..] { one } else { self.add(Expr::Nary(op, rest), None) }
    }

    /// A sum of integers: flattened, constants joined, opposite terms cancelled.
    fn integer_sum(&mut self, operands: &[ExprId]) -> ExprId {
        let (mut constant, mut rest) = (0i64, Vec::<ExprId>::new());
        let mut open: Vec<ExprId> = operands.iter().rev().copied().collect();
        while let Some(x) = open.pop() {
            match self.get(x).clone() {
                Expr::Int(v) => constant = constant.wrapping_add(v),
                Expr::Nary(NaryOp::Add, xs) => open.extend(xs.iter().rev()),
                Expr::Unary(UnaryOp::Neg, inner) => match self.get(inner).clone() {
                    Expr::Int(v) => constant = constant.wrapping_sub(v),
                    Expr::Nary(NaryOp::Add, xs) => {
                        let minus: Vec<ExprId> = xs.iter().map(|y| self.unary(UnaryOp::Neg, *y)).collect();
                        open.extend(minus.iter().rev());
                    }
                    _ => rest.push(x),
                },
                _ => rest.push(x),
            }
        }
        let mut kept: Vec<ExprId> = Vec::new();
        for x in rest {
            let opposite = self.unary(UnaryOp::Neg, x);
            match kept.iter().position(|y| *y == opposite) {
                Some(at) => drop(kept.remove(at)),
                None => kept.push(x),
            }
        }
        if constant != 0 || kept.is_empty() {
            let c = self.int(constant);
            kept.push(c);
        }
        if let [one] = kept[..] { one } else { self.add(Expr::Nary(NaryOp::Add, kept), None) }
    }

    /// `x + y`
    pub fn sum(&mut self, x: ExprId, y: ExprId) -> ExprId {
        self.nary(NaryOp::Add, &[x, y])
    }

    /// `x - y`
    pub fn difference(&mut self, x: ExprId, y: ExprId) -> ExprId {
        let minus = match self.as_int(y) {
            Some(v) => self.int(-v),
            None => self.unary(UnaryOp::Neg, y),
        };
        self.sum(x, minus)
    }

    /// `x * y`
    pub fn times(&mut self, x: ExprId, y: ExprId) -> ExprId {
        self.nary(NaryOp::Mul, &[x, y])
    }

    /// `min(x, y)`
    pub fn min(&mut self, x: ExprId, y: ExprId) -> ExprId {
        self.nary(NaryOp::Min, &[x, y])
    }

    /// `max(x, y)`
    pub fn max(&mut self, x: ExprId, y: ExprId) -> ExprId {
        self.nary(NaryOp::Max, &[x, y])
    }

    /// Conversion of `x` to `lane`; `x` itself if it has that type.
    pub fn cast(&mut self, lane: Lane, x: ExprId) -> ExprId {
        if self.lane(x) == lane {
            return x;
        }
        match (self.get(x), lane) {
            (Expr::Real(_, v), Lane::F32 | Lane::F64) => {
                let v = v.get();
                self.real(lane, v)
            }
            (Expr::Int(v), Lane::F64) => {
                let v = *v as f64;
                self.real(lane, v)
            }
            (_, Lane::F32) => match self.narrowed(x) {
                Some(narrowed) => narrowed,
                None => self.add(Expr::Cast(lane, x), None),
            },
            _ => self.add(Expr::Cast(lane, x), None),
        }
    }

    /// A position times a number, in f32 throughout: an integer is as exact there as the result is, and f32 has twice
    /// the lanes. Sums stay in f64, where they may cancel.
    fn narrowed(&mut self, x: ExprId) -> Option<ExprId> {
        let varies = |exprs: &Self, x: ExprId| exprs.dependence(x) != Dependence::default();
        match self.get(x).clone() {
            Expr::Cast(Lane::F64, n) if self.lane(n) == Lane::I64 && varies(self, n) => {
                Some(self.add(Expr::Cast(Lane::F32, n), None))
            }
            Expr::Unary(UnaryOp::Neg, y) => {
                let y = self.narrowed(y)?;
                Some(self.unary(UnaryOp::Neg, y))
            }
            Expr::Nary(NaryOp::Mul, xs) => {
                let (varying, factors): (Vec<ExprId>, Vec<ExprId>) = xs.iter().partition(|x| varies(self, **x));
                let (&[position], false) = (&varying[..], factors.is_empty()) else { return None };
                let position = self.narrowed(position)?;
                let factor = self.nary(NaryOp::Mul, &factors);
                let factor = self.held_finite(factor);
                let factor = self.cast(Lane::F32, factor);
                Some(self.times(factor, position))
            }
            _ => None,
        }
    }

    /// A finite number of f64 that stays finite when it is rounded to f32, where 0 times it must be 0.
    fn held_finite(&mut self, x: ExprId) -> ExprId {
        let most = f64::from(f32::MAX);
        match self.get(x) {
            Expr::Real(_, v) if v.get().abs() <= most => return x,
            Expr::Cast(..) => return x,
            _ => {}
        }
        let [low, high, infinity] = [-most, most, f64::INFINITY].map(|v| self.real(Lane::F64, v));
        let held = self.min(x, high);
        let held = self.max(held, low);
        let size = self.unary(UnaryOp::Abs, x);
        let finite = self.binary(BinaryOp::Lt, size, infinity);
        self.add(Expr::Select(finite, held, x), None)
    }
}
