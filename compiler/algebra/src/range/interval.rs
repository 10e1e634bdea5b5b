//! Closed integer intervals and their arithmetic.
//!
//! Bounds are wider than 64 bits, so that no step of the arithmetic can
//! overflow unseen: a result that leaves the safe width is unknown.

use crate::axis::AxisId;
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::spec::{Extents, Spec};
use crate::term::{Node, TermId, Terms, Type};

/// Bounds beyond this are treated as unknown.
const WIDEST: i128 = 1 << 100;

/// All integers from `lo` to `hi`, both included; `lo <= hi`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Interval {
    /// Least member.
    pub lo: i128,
    /// Greatest member.
    pub hi: i128,
}

impl Interval {
    /// Every value of a 64-bit integer.
    pub const I64: Self = Self { lo: i64::MIN as i128, hi: i64::MAX as i128 };
    /// Truth values.
    pub const TRUTH: Self = Self { lo: 0, hi: 1 };

    /// The interval from `lo` to `hi`; `None` if it is empty or too wide.
    pub fn new(lo: i128, hi: i128) -> Option<Self> {
        (lo <= hi && lo >= -WIDEST && hi <= WIDEST).then_some(Self { lo, hi })
    }

    /// The one value `v`.
    pub fn point(v: i64) -> Self {
        Self { lo: v.into(), hi: v.into() }
    }

    /// Whether every member is a 64-bit integer.
    pub fn fits_i64(self) -> bool {
        self.is_within(Self::I64)
    }

    /// Whether every member is in `other`.
    pub fn is_within(self, other: Self) -> bool {
        other.lo <= self.lo && self.hi <= other.hi
    }

    /// The smallest interval that holds both.
    pub fn hull(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// The members of both; `None` if there is none.
    pub fn meet(self, other: Self) -> Option<Self> {
        Self::new(self.lo.max(other.lo), self.hi.min(other.hi))
    }

    /// Sums of members.
    pub fn plus(self, other: Self) -> Option<Self> {
        Self::new(self.lo + other.lo, self.hi + other.hi)
    }

    /// Negated members.
    pub fn negated(self) -> Self {
        Self { lo: -self.hi, hi: -self.lo }
    }

    /// Products of members.
    pub fn times(self, other: Self) -> Option<Self> {
        let corners = [
            self.lo.checked_mul(other.lo)?,
            self.lo.checked_mul(other.hi)?,
            self.hi.checked_mul(other.lo)?,
            self.hi.checked_mul(other.hi)?,
        ];
        Self::of_corners(&corners)
    }

    /// Floor quotients of members; `None` if the divisor can be zero.
    pub fn floor_div(self, by: Self) -> Option<Self> {
        if by.lo <= 0 && by.hi >= 0 {
            return None;
        }
        let corners = [floor(self.lo, by.lo), floor(self.lo, by.hi), floor(self.hi, by.lo), floor(self.hi, by.hi)];
        Self::of_corners(&corners)
    }

    /// Remainders of floor division; `None` if the divisor can be zero.
    pub fn modulo(self, by: Self) -> Option<Self> {
        if by.lo <= 0 && by.hi >= 0 {
            return None;
        }
        if by.lo == by.hi && floor(self.lo, by.lo) == floor(self.hi, by.lo) {
            let base = floor(self.lo, by.lo) * by.lo;
            return Self::new(self.lo - base, self.hi - base);
        }
        if by.lo > 0 { Self::new(0, by.hi - 1) } else { Self::new(by.lo + 1, 0) }
    }

    fn of_corners(corners: &[i128]) -> Option<Self> {
        let lo = corners.iter().copied().min()?;
        let hi = corners.iter().copied().max()?;
        Self::new(lo, hi)
    }
}

fn floor(x: i128, y: i128) -> i128 {
    let q = x / y;
    if q * y != x && (x < 0) != (y < 0) { q - 1 } else { q }
}

/// Where integer terms lie at given extents, whatever the guards around them.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// By term; `None` where nothing is known or where a value may not fit in 64 bits.
    of_term: Vec<Option<Interval>>,
}

impl Intervals {
    /// Intervals of all terms of `terms`, an arena over the tables of `spec`.
    ///
    /// `tables` gives the least and greatest element of each input, where known.
    pub fn new(spec: &Spec, terms: &Terms, extents: &Extents, tables: &[Option<Interval>]) -> Self {
        let mut out = Self { of_term: Vec::with_capacity(terms.len()) };
        for at in 0..terms.len() {
            let id = TermId(at as u32);
            let interval =
                if terms.ty(id) == Type::Real { None } else { out.of_node(spec, terms, extents, tables, id) };
            out.of_term.push(interval.filter(|v| v.fits_i64()));
        }
        out
    }

    /// Where the term lies, if known.
    pub fn get(&self, id: TermId) -> Option<Interval> {
        self.of_term[id.0 as usize]
    }

    fn of_node(
        &self,
        spec: &Spec,
        terms: &Terms,
        extents: &Extents,
        tables: &[Option<Interval>],
        id: TermId,
    ) -> Option<Interval> {
        let extent_of = |axis: AxisId| spec.eval_extent(spec.axis(axis).extent, extents).map(i128::from);
        match terms.node(id) {
            Node::Int(v) => Some(Interval::point(*v)),
            Node::Bool(v) => Some(Interval::point(i64::from(*v))),
            Node::Extent(symbol) => extents.get(*symbol).map(Interval::point),
            Node::Position(axis) => Interval::new(0, extent_of(*axis)? - 1),
            Node::Input { input, .. } => match terms.ty(id) {
                Type::Bool => Some(Interval::TRUTH),
                _ => tables.get(input.0 as usize).copied().flatten(),
            },
            Node::Unary(op, x) => unary(*op, self.get(*x), terms.ty(id)),
            Node::Binary(op, ..) if op.is_comparison() => Some(Interval::TRUTH),
            Node::Binary(op, x, y) => binary(*op, self.get(*x)?, self.get(*y)?),
            Node::Nary(op, xs) => {
                let mut operands = xs.iter().map(|x| self.get(*x));
                let first = operands.next()??;
                operands.try_fold(first, |acc, x| nary(*op, acc, x?))
            }
            Node::Select(_, a, b) => Some(self.get(*a)?.hull(self.get(*b)?)),
            Node::Order { axis, .. } => Interval::new(0, extent_of(*axis)? - 1),
            Node::At { body, .. } => self.get(*body),
            Node::Reduce { op: ReduceOp::Any | ReduceOp::All, .. } => Some(Interval::TRUTH),
            // Over all of an axis there is a position; over a part of it there may be none.
            Node::Reduce { op: ReduceOp::ArgMax | ReduceOp::ArgMin, axis, domain, .. } => {
                let whole = *terms.node(*domain) == Node::Bool(true);
                Interval::new(if whole { 0 } else { -1 }, extent_of(*axis)? - 1)
            }
            Node::Reduce { op: ReduceOp::Sum, axis, body, .. } => {
                self.get(*body)?.times(Interval::new(0, extent_of(*axis)?)?)
            }
            _ => None,
        }
    }
}

fn unary(op: UnaryOp, x: Option<Interval>, ty: Type) -> Option<Interval> {
    if ty == Type::Bool {
        return Some(Interval::TRUTH);
    }
    match (op, x) {
        (UnaryOp::Sign, _) => Interval::new(-1, 1),
        (UnaryOp::ToInt | UnaryOp::Floor | UnaryOp::Ceil, x) => x,
        (UnaryOp::Neg, Some(x)) => Some(x.negated()),
        (UnaryOp::Abs, Some(x)) => {
            let top = x.lo.abs().max(x.hi.abs());
            let low = if x.lo <= 0 && x.hi >= 0 { 0 } else { x.lo.abs().min(x.hi.abs()) };
            Interval::new(low, top)
        }
        (UnaryOp::Relu, Some(x)) => Interval::new(x.lo.max(0), x.hi.max(0)),
        _ => None,
    }
}

fn binary(op: BinaryOp, x: Interval, y: Interval) -> Option<Interval> {
    match op {
        BinaryOp::FloorDiv => x.floor_div(y),
        BinaryOp::Mod => x.modulo(y),
        BinaryOp::Pow if x.lo >= 0 && y.lo >= 0 => {
            let power = |base: i128, exponent: i128| base.checked_pow(u32::try_from(exponent).ok()?);
            // 0 ^ 0 = 1 lies above 0 ^ n.
            Interval::new(if x.lo == 0 { 0 } else { power(x.lo, y.lo)? }, power(x.hi, y.hi)?.max(1))
        }
        _ => None,
    }
}

fn nary(op: NaryOp, x: Interval, y: Interval) -> Option<Interval> {
    match op {
        NaryOp::Add => x.plus(y),
        NaryOp::Mul => x.times(y),
        NaryOp::Min => Interval::new(x.lo.min(y.lo), x.hi.min(y.hi)),
        NaryOp::Max => Interval::new(x.lo.max(y.lo), x.hi.max(y.hi)),
        NaryOp::And | NaryOp::Or => Some(Interval::TRUTH),
    }
}
