//! Interval arithmetic over a tile: bounds of integer terms and two-sided
//! truth of predicates, as scalar code.
//!
//! A predicate's class on a tile (empty, full, partial) is proved from these
//! bounds and never by evaluating the pairs. `None` means nothing is known.

use attnc_algebra::{AxisId, BinaryOp, DType, Input, InputId, NaryOp, Node, ReduceOp, TermId, Type, UnaryOp};

use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Access, Stmt};

use super::extent;
use super::nest::{Binding, Frame, Nest};

/// Stands for an unbounded integer: beyond every table value in use, and far
/// from overflow when scaled by an extent.
const UNKNOWN: i64 = 1 << 40;

/// Largest magnitude of a table's element that is taken as it is; a larger one counts as unknown, so that sums and
/// products of bounds do not overflow.
const TAKEN: i64 = 1 << 39;

/// Bounds beyond this may stem from [`UNKNOWN`].
const DOUBTFUL: i64 = 3 << 38;

/// Bounds of an integer over a tile, both attained or wider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    /// Lower bound.
    pub lo: ExprId,
    /// Upper bound.
    pub hi: ExprId,
    /// Every value differs from `lo` by a multiple of this; 0 if there is one value.
    pub step: i64,
}

impl Interval {
    fn point(at: ExprId) -> Self {
        Self { lo: at, hi: at, step: 0 }
    }

    /// Any of the values from `lo` to `hi`.
    pub fn dense(lo: ExprId, hi: ExprId) -> Self {
        Self { lo, hi, step: 1 }
    }

    /// Whether both bounds are the same expression.
    pub fn is_point(self) -> bool {
        self.lo == self.hi
    }
}

/// What is known of a predicate on a tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    /// Implies that it holds everywhere.
    pub must: ExprId,
    /// Implied by holding somewhere.
    pub may: ExprId,
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Nest<'_, '_> {
    /// Bounds of an integer term over the current tile.
    pub fn interval(&mut self, term: TermId) -> Option<Interval> {
        match self.planner.terms.node(term).clone() {
            Node::Int(v) => Some(Interval::point(self.x().int(v))),
            Node::Extent(s) => Some(Interval::point(self.x().add(Expr::Extent(s.0), None))),
            Node::Position(axis) => Some(self.position_interval(axis)),
            Node::Unary(op, x) => self.unary_interval(op, x),
            Node::Binary(op, x, y) => self.binary_interval(op, x, y),
            Node::Nary(op, xs) => self.nary_interval(op, &xs),
            Node::Input { input, index } => self.table_interval(input, &index),
            Node::Select(_, a, b) => {
                let (a, b) = (self.interval(a)?, self.interval(b)?);
                Some(Interval::dense(self.x().min(a.lo, b.lo), self.x().max(a.hi, b.hi)))
            }
            Node::Order { .. } => self.line_interval(term),
            Node::At { .. } => {
                let keys = self.line_interval(term)?;
                Some(self.taken(keys))
            }
            _ => None,
        }
    }

    pub fn position_interval(&mut self, axis: AxisId) -> Interval {
        match self.binding(axis).clone() {
            Binding::Fixed(at) => Interval::point(at),
            Binding::Tile(dim) | Binding::Whole(dim) => {
                let step = self.x().int(dim.step);
                let far = self.x().times(dim.count, step);
                let end = self.x().sum(dim.base, far);
                Interval { lo: dim.base, hi: self.plus(end, -dim.step), step: dim.step }
            }
        }
    }

    fn unary_interval(&mut self, op: UnaryOp, x: TermId) -> Option<Interval> {
        let x = self.interval(x)?;
        match op {
            UnaryOp::Neg => Some(self.negated(x)),
            UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::ToInt => Some(x),
            UnaryOp::Relu => {
                let zero = self.x().int(0);
                Some(Interval::dense(self.x().max(x.lo, zero), self.x().max(x.hi, zero)))
            }
            UnaryOp::Abs => {
                let zero = self.x().int(0);
                let minus = self.negated(x);
                let lo = self.x().max(x.lo, minus.lo);
                Some(Interval::dense(self.x().max(lo, zero), self.x().max(x.hi, minus.hi)))
            }
            _ => None,
        }
    }

    fn negated(&mut self, x: Interval) -> Interval {
        let zero = self.x().int(0);
        Interval { lo: self.x().difference(zero, x.hi), hi: self.x().difference(zero, x.lo), step: x.step }
    }

    fn binary_interval(&mut self, op: BinaryOp, x: TermId, y: TermId) -> Option<Interval> {
        if let Some((axis, block)) = self.in_block(op, x, y) {
            let start = self.block_start(block);
            return Some(match op {
                BinaryOp::FloorDiv => Interval::point(block.index),
                _ => {
                    let at = self.position_interval(axis);
                    let (lo, hi) = (self.x().difference(at.lo, start), self.x().difference(at.hi, start));
                    Interval { lo, hi, ..at }
                }
            });
        }
        let (x, y) = (self.interval(x)?, self.interval(y)?);
        match op {
            BinaryOp::FloorDiv if y.is_point() => Some(self.quotients(x, y.lo)),
            BinaryOp::Mod if y.is_point() => Some(self.remainders(x, y.lo)),
            _ => None,
        }
    }

    /// Floor quotients by one number: they rise with the dividend, or fall where the divisor is below 0.
    fn quotients(&mut self, x: Interval, by: ExprId) -> Interval {
        let (first, last) =
            (self.x().binary(BinaryOp::FloorDiv, x.lo, by), self.x().binary(BinaryOp::FloorDiv, x.hi, by));
        if self.never_negative(by) {
            let step = match self.program.exprs.as_int(by) {
                Some(m) if m > 0 && x.step % m == 0 => x.step / m,
                _ => 1,
            };
            return Interval { lo: first, hi: last, step };
        }
        Interval::dense(self.x().min(first, last), self.x().max(first, last))
    }

    /// Remainders of one divisor, which have its sign.
    fn remainders(&mut self, x: Interval, by: ExprId) -> Interval {
        if self.program.exprs.as_int(by).is_some_and(|m| m != 0 && x.step % m == 0) {
            // All values have one residue.
            return Interval::point(self.x().binary(BinaryOp::Mod, x.lo, by));
        }
        let (first, last) =
            (self.x().binary(BinaryOp::FloorDiv, x.lo, by), self.x().binary(BinaryOp::FloorDiv, x.hi, by));
        let same = self.x().binary(BinaryOp::Eq, first, last);
        let (lo, hi) = (self.x().binary(BinaryOp::Mod, x.lo, by), self.x().binary(BinaryOp::Mod, x.hi, by));
        let (zero, mut top) = (self.x().int(0), self.plus(by, -1));
        let mut bottom = zero;
        if !self.never_negative(by) {
            let least = self.plus(by, 1);
            (bottom, top) = (self.x().min(least, zero), self.x().max(top, zero));
        }
        Interval::dense(self.choose(same, lo, bottom), self.choose(same, hi, top))
    }

    /// Whether a number is not below 0 by its form: of extents, which are at least 1, and constants.
    fn never_negative(&self, x: ExprId) -> bool {
        let exprs = &self.program.exprs;
        match exprs.get(x) {
            Expr::Int(v) => *v >= 0,
            Expr::Extent(_) => true,
            Expr::Nary(NaryOp::Add | NaryOp::Mul | NaryOp::Min | NaryOp::Max, xs) => {
                xs.iter().all(|x| self.never_negative(*x))
            }
            Expr::Binary(BinaryOp::FloorDiv, x, y) => self.never_negative(*x) && self.never_negative(*y),
            _ => false,
        }
    }

    /// `if c then a else b`, folded where c is known.
    pub fn choose(&mut self, c: ExprId, a: ExprId, b: ExprId) -> ExprId {
        match self.truth_of(c) {
            Some(true) => a,
            Some(false) => b,
            None if a == b => a,
            None => self.x().add(Expr::Select(c, a, b), None),
        }
    }

    fn nary_interval(&mut self, op: NaryOp, xs: &[TermId]) -> Option<Interval> {
        let mut all = Vec::new();
        for x in xs {
            all.push(self.interval(*x)?);
        }
        let mut acc = all[0];
        for x in &all[1..] {
            acc = match op {
                NaryOp::Add => Interval {
                    lo: self.x().sum(acc.lo, x.lo),
                    hi: self.x().sum(acc.hi, x.hi),
                    step: gcd(acc.step, x.step),
                },
                NaryOp::Min => Interval::dense(self.x().min(acc.lo, x.lo), self.x().min(acc.hi, x.hi)),
                NaryOp::Max => Interval::dense(self.x().max(acc.lo, x.lo), self.x().max(acc.hi, x.hi)),
                NaryOp::Mul => self.product_interval(acc, *x)?,
                NaryOp::And | NaryOp::Or => return None,
            };
        }
        Some(acc)
    }

    fn product_interval(&mut self, x: Interval, y: Interval) -> Option<Interval> {
        let (wide, scale) = if y.is_point() { (x, y.lo) } else { (y, x.lo) };
        if !x.is_point() && !y.is_point() {
            return None;
        }
        let (a, b) = (self.x().times(wide.lo, scale), self.x().times(wide.hi, scale));
        if a == b {
            return Some(Interval::point(a));
        }
        if let Some(v) = self.program.exprs.as_int(scale) {
            let step = wide.step.saturating_mul(v.saturating_abs());
            return Some(if v >= 0 { Interval { lo: a, hi: b, step } } else { Interval { lo: b, hi: a, step } });
        }
        Some(Interval::dense(self.x().min(a, b), self.x().max(a, b)))
    }

    /// Bounds of an integer table's element: exact where the index is a point
    /// on this tile, by monotony along a `runs` axis, and elsewhere by its declared range.
    fn table_interval(&mut self, input: InputId, index: &[TermId]) -> Option<Interval> {
        let declared = self.planner.spec.input(input).clone();
        if declared.dtype.ty() != Type::Int {
            return None;
        }
        let last = index.len().checked_sub(1)?;
        let mut ends = Vec::new();
        let mut single = self.x().truth(true);
        for (k, term) in index.iter().enumerate() {
            let Some(bounds) = self.interval(*term) else { return self.declared_interval(&declared) };
            let monotone = k == last && declared.runs.is_some();
            if !monotone && !bounds.is_point() {
                let same = self.x().binary(BinaryOp::Eq, bounds.lo, bounds.hi);
                single = self.and(single, same);
            }
            ends.push(bounds);
        }
        let lo = self.table_element(input, &ends.iter().map(|b| b.lo).collect::<Vec<_>>());
        let hi = self.table_element(input, &ends.iter().map(|b| b.hi).collect::<Vec<_>>());
        let all = Interval::dense(lo, hi);
        if declared.dtype == DType::I64 {
            let taken = self.is_taken(all);
            single = self.and(single, taken);
        }
        Some(match self.declared_interval(&declared) {
            Some(any) => Interval::dense(self.choose(single, lo, any.lo), self.choose(single, hi, any.hi)),
            None => self.known_if(single, all),
        })
    }

    /// Bounds of all elements of a table by its declared range, which is checked when it is bound; `None` without one, and
    /// where the elements may be too large for arithmetic.
    fn declared_interval(&mut self, declared: &Input) -> Option<Interval> {
        let (low, high) = declared.range.filter(|_| declared.dtype != DType::I64)?;
        let [lo, hi] = [low, high].map(|end| extent::extent(&self.planner.terms, end, &mut self.program.exprs));
        // Ends may be written wider than the type.
        let [least, most] = [-TAKEN, TAKEN].map(|edge| self.x().int(edge));
        Some(Interval::dense(self.x().max(lo, least), self.x().min(hi, most)))
    }

    /// The bounds where `known` holds; else nothing is known.
    fn known_if(&mut self, known: ExprId, bounds: Interval) -> Interval {
        let (low, high) = (self.x().int(-UNKNOWN), self.x().int(UNKNOWN));
        Interval::dense(self.choose(known, bounds.lo, low), self.choose(known, bounds.hi, high))
    }

    fn is_taken(&mut self, bounds: Interval) -> ExprId {
        let (low, high) = (self.x().int(-TAKEN), self.x().int(TAKEN));
        let above = self.x().binary(BinaryOp::Le, low, bounds.lo);
        let below = self.x().binary(BinaryOp::Le, bounds.hi, high);
        self.and(above, below)
    }

    /// Bounds of 64-bit elements, unknown where they are too large for arithmetic.
    pub fn taken(&mut self, bounds: Interval) -> Interval {
        let taken = self.is_taken(bounds);
        self.known_if(taken, bounds)
    }

    /// Whether an upper bound may be no bound at all.
    pub fn doubtful_above(&mut self, hi: ExprId) -> ExprId {
        let edge = self.x().int(DOUBTFUL);
        self.x().binary(BinaryOp::Le, edge, hi)
    }

    /// Whether a lower bound may be no bound at all.
    pub fn doubtful_below(&mut self, lo: ExprId) -> ExprId {
        let edge = self.x().int(-DOUBTFUL);
        self.x().binary(BinaryOp::Le, lo, edge)
    }

    fn table_element(&mut self, input: InputId, index: &[ExprId]) -> ExprId {
        let plan_buffer = self.planner.input_buffer(input);
        let buffer = self.buffer(plan_buffer, Access::Read);
        let lane = super::pointwise::lane_of(self.planner.spec.input(input).dtype);
        self.x().add(Expr::Load { buffer, index: index.to_vec(), clamp: true }, Some(lane))
    }

    /// What is known of a predicate over the current tile.
    pub fn truth(&mut self, term: TermId) -> Truth {
        match self.planner.terms.node(term).clone() {
            Node::Bool(v) => {
                let v = self.x().truth(v);
                Truth { must: v, may: v }
            }
            Node::Unary(UnaryOp::Not, x) => {
                let x = self.truth(x);
                Truth { must: self.not(x.may), may: self.not(x.must) }
            }
            Node::Nary(NaryOp::And, xs) => self.fold_truth(&xs, Self::and, true),
            Node::Nary(NaryOp::Or, xs) => self.fold_truth(&xs, Self::or, false),
            Node::Binary(op, x, y) if op.is_comparison() => self.comparison_truth(op, x, y),
            Node::Input { input, index } => self.flag_truth(input, &index),
            Node::Reduce { op: ReduceOp::Any, axis, domain, body } => {
                let both = self.planner.terms.nary(NaryOp::And, vec![domain, body]);
                self.search_truth(axis, both, false)
            }
            Node::Reduce { op: ReduceOp::All, axis, domain, body } => {
                let outside = self.planner.terms.unary(UnaryOp::Not, domain);
                let either = self.planner.terms.nary(NaryOp::Or, vec![outside, body]);
                self.search_truth(axis, either, true)
            }
            _ => self.unknown(),
        }
    }

    /// `any` or `all` of a predicate over an axis: looked at position by
    /// position, once per tile.
    fn search_truth(&mut self, axis: AxisId, body: TermId, all: bool) -> Truth {
        let one = self.x().int(1);
        let [must, may] = [0, 1].map(|_| {
            let tile = self.tile("found", Lane::Bool, one, one);
            let start = self.x().truth(all);
            self.map(tile, Frame::default(), start);
            tile
        });
        let (var, at) = self.var(Lane::I64);
        let stmts = self.inner(Some((axis, Binding::Fixed(at))), |nest| {
            let truth = nest.truth(body);
            for (tile, value) in [(must, truth.must), (may, truth.may)] {
                let old = nest.element(tile, Frame::default());
                let new = if all { nest.and(old, value) } else { nest.or(old, value) };
                nest.map(tile, Frame::default(), new);
            }
            Ok(())
        });
        let Ok(body) = stmts else { return self.unknown() };
        let (from, to) = (self.x().int(0), self.extent(axis));
        self.emit(Stmt::For { var, from, to, step: 1, body });
        Truth { must: self.element(must, Frame::default()), may: self.element(may, Frame::default()) }
    }

    fn unknown(&mut self) -> Truth {
        Truth { must: self.x().truth(false), may: self.x().truth(true) }
    }

    fn fold_truth(&mut self, xs: &[TermId], op: fn(&mut Self, ExprId, ExprId) -> ExprId, neutral: bool) -> Truth {
        let start = self.x().truth(neutral);
        xs.iter().fold(Truth { must: start, may: start }, |acc, x| {
            let x = self.truth(*x);
            Truth { must: op(self, acc.must, x.must), may: op(self, acc.may, x.may) }
        })
    }

    fn comparison_truth(&mut self, op: BinaryOp, x: TermId, y: TermId) -> Truth {
        let integral = |t: Type| t == Type::Int;
        if !integral(self.planner.terms.ty(x)) || !integral(self.planner.terms.ty(y)) {
            return self.unknown();
        }
        let (Some(a), Some(b)) = (self.interval(x), self.interval(y)) else {
            return self.unknown();
        };
        let exprs = self.x();
        match op {
            BinaryOp::Le | BinaryOp::Lt => {
                Truth { must: exprs.binary(op, a.hi, b.lo), may: exprs.binary(op, a.lo, b.hi) }
            }
            BinaryOp::Eq | BinaryOp::Ne => {
                let (below, above) = (exprs.binary(BinaryOp::Le, a.lo, b.hi), exprs.binary(BinaryOp::Le, b.lo, a.hi));
                let (points, reverse) =
                    (exprs.binary(BinaryOp::Eq, a.lo, b.hi), exprs.binary(BinaryOp::Eq, b.lo, a.hi));
                let may = self.and(below, above);
                let must = self.and(points, reverse);
                if op == BinaryOp::Eq {
                    Truth { must, may }
                } else {
                    Truth { must: self.not(may), may: self.not(must) }
                }
            }
            _ => self.unknown(),
        }
    }

    /// A truth-valued table is known where the tile reads one element of it.
    fn flag_truth(&mut self, input: InputId, index: &[TermId]) -> Truth {
        let mut at = Vec::new();
        let mut single = self.x().truth(true);
        for term in index {
            let Some(bounds) = self.interval(*term) else {
                return self.unknown();
            };
            let same = self.x().binary(BinaryOp::Eq, bounds.lo, bounds.hi);
            let same = if bounds.is_point() { self.x().truth(true) } else { same };
            single = self.and(single, same);
            at.push(bounds.lo);
        }
        let value = self.table_element(input, &at);
        debug_assert_eq!(self.program.exprs.lane(value), Lane::Bool);
        let must = self.and(single, value);
        let several = self.not(single);
        Truth { must, may: self.or(several, value) }
    }
}
