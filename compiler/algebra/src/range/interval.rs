//! Closed integer intervals and their arithmetic, and where terms lie.
//!
//! Bounds are wider than 64 bits, so that no step of the arithmetic can
//! overflow unseen: a result that leaves the safe width is unknown.

use std::collections::BTreeMap;

use crate::axis::AxisId;
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::spec::{Extents, Spec};
use crate::term::{Node, TermId, Terms, Type};

use super::count::leaves_one_out;
use super::span::Span;

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

/// Where terms lie at given extents, whatever the guards around them.
#[derive(Clone, Debug)]
pub struct Intervals {
    of_term: Vec<Bounds>,
}

/// Where a term lies.
#[derive(Clone, Copy, Debug)]
enum Bounds {
    /// Of an integer or truth value; `None` where nothing is known or where a value may not fit in 64 bits.
    Whole(Option<Interval>),
    /// Of a real.
    Real(Span),
}

impl Bounds {
    fn whole(self) -> Option<Interval> {
        match self {
            Self::Whole(interval) => interval,
            Self::Real(_) => None,
        }
    }

    fn span(self) -> Span {
        match self {
            Self::Whole(interval) => Span::of_integers(interval),
            Self::Real(span) => span,
        }
    }
}

/// What intervals are derived from.
#[derive(Clone, Copy)]
struct Source<'a> {
    spec: &'a Spec,
    terms: &'a Terms,
    extents: &'a Extents,
    tables: &'a [Option<Interval>],
}

/// Terms looked at again under the condition of a branch, at most.
const BRANCH_LIMIT: usize = 256;

impl Intervals {
    /// Intervals of all terms of `terms`, an arena over the tables of `spec`.
    ///
    /// `tables` gives the least and greatest element of each input, where known.
    pub fn new(spec: &Spec, terms: &Terms, extents: &Extents, tables: &[Option<Interval>]) -> Self {
        let source = Source { spec, terms, extents, tables };
        let mut out = Self { of_term: Vec::with_capacity(terms.len()) };
        for at in 0..terms.len() {
            let id = TermId(at as u32);
            let bounds = match *terms.node(id) {
                Node::Select(condition, a, b) => {
                    let branch = |branch: TermId, taken: bool| out.of_branch(source, branch, condition, taken);
                    joined(branch(a, true), branch(b, false), terms.ty(id))
                }
                _ => source.of_node(id, &mut |t| out.of_term[t.0 as usize]),
            };
            out.of_term.push(bounds);
        }
        out
    }

    /// Where the integer or truth value lies, if known.
    pub fn get(&self, id: TermId) -> Option<Interval> {
        self.of_term[id.0 as usize].whole()
    }

    /// Where a term lies where a condition holds (or, unless `taken`, does not).
    fn of_branch(&self, source: Source<'_>, branch: TermId, condition: TermId, taken: bool) -> Bounds {
        let mut known = BTreeMap::new();
        self.learn(source.terms, condition, taken, &mut known);
        if known.is_empty() {
            return self.of_term[branch.0 as usize];
        }
        let known = known.into_iter().map(|(id, interval)| (id, Bounds::Whole(Some(interval)))).collect();
        Branch { source, outside: self, known, looked_at: 0 }.bounds(branch)
    }

    /// Adds what a condition says of the sides of its comparisons of integers.
    fn learn(&self, terms: &Terms, condition: TermId, holds: bool, known: &mut BTreeMap<TermId, Interval>) {
        match (terms.node(condition), holds) {
            (Node::Unary(UnaryOp::Not, x), _) => self.learn(terms, *x, !holds, known),
            (Node::Nary(NaryOp::And, parts), true) | (Node::Nary(NaryOp::Or, parts), false) => {
                parts.iter().for_each(|part| self.learn(terms, *part, holds, known));
            }
            (Node::Binary(op, x, y), _) => {
                let (below, strict) = match (op, holds) {
                    (BinaryOp::Lt, true) => ((x, y), 1),
                    (BinaryOp::Le, true) => ((x, y), 0),
                    (BinaryOp::Lt, false) => ((y, x), 0),
                    (BinaryOp::Le, false) => ((y, x), 1),
                    _ => return,
                };
                let (Some(low), Some(high)) = (self.get(*below.0), self.get(*below.1)) else { return };
                let mut add = |id: TermId, interval: Interval, more: Option<Interval>| {
                    let before = *known.get(&id).unwrap_or(&interval);
                    // A branch that is never taken bounds nothing.
                    let narrowed = more.and_then(|more| before.meet(more)).unwrap_or(before);
                    known.insert(id, narrowed);
                };
                add(*below.0, low, Interval::new(-WIDEST, high.hi - strict));
                add(*below.1, high, Interval::new(low.lo + strict, WIDEST));
            }
            _ => {}
        }
    }
}

/// A branch of a conditional under what its condition says.
struct Branch<'a> {
    source: Source<'a>,
    outside: &'a Intervals,
    /// What is known of terms here.
    known: BTreeMap<TermId, Bounds>,
    looked_at: usize,
}

impl Branch<'_> {
    fn bounds(&mut self, id: TermId) -> Bounds {
        if let Some(bounds) = self.known.get(&id) {
            return *bounds;
        }
        let outside = self.outside.of_term[id.0 as usize];
        self.looked_at += 1;
        let node = self.source.terms.node(id);
        // What runs over an axis of its own means other positions of it.
        if self.looked_at > BRANCH_LIMIT || node.runs_over_axis() || matches!(node, Node::Select(..)) {
            return outside;
        }
        let source = self.source;
        let bounds = source.of_node(id, &mut |t| self.bounds(t));
        self.known.insert(id, bounds);
        bounds
    }
}

/// Where a value lies that is one of two.
fn joined(a: Bounds, b: Bounds, ty: Type) -> Bounds {
    match ty {
        Type::Real => Bounds::Real(a.span().hull(b.span())),
        _ => Bounds::Whole(a.whole().and_then(|a| Some(a.hull(b.whole()?)))),
    }
}

impl Source<'_> {
    /// Where a term lies whose operands lie where `of` says.
    fn of_node(self, id: TermId, of: &mut dyn FnMut(TermId) -> Bounds) -> Bounds {
        match self.terms.ty(id) {
            Type::Real => Bounds::Real(self.real(id, of)),
            _ => Bounds::Whole(self.whole(id, of).filter(|v| v.fits_i64())),
        }
    }

    fn real(self, id: TermId, of: &mut dyn FnMut(TermId) -> Bounds) -> Span {
        match self.terms.node(id) {
            Node::Real(x) => Span::point(x.get()),
            Node::Unary(op, x) => of(*x).span().unary(*op),
            Node::Binary(op, x, y) => of(*x).span().binary(*op, of(*y).span()),
            Node::Nary(op, xs) => {
                let first = of(xs[0]).span();
                xs[1..].iter().fold(first, |acc, x| acc.nary(*op, of(*x).span()))
            }
            // A weight is a share of a sum, or of none.
            Node::Softmax { .. } => Span { lo: 0.0, hi: 1.0, nan: true },
            _ => Span::ANY,
        }
    }

    fn whole(self, id: TermId, of: &mut dyn FnMut(TermId) -> Bounds) -> Option<Interval> {
        let Self { spec, terms, extents, tables } = self;
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
            Node::Unary(UnaryOp::RealToInt, x) if terms.ty(*x) == Type::Real => of(*x).span().truncated(),
            Node::Unary(op, x) => unary(*op, of(*x).whole(), terms.ty(id)),
            Node::Binary(op, ..) if op.is_comparison() => Some(Interval::TRUTH),
            Node::Binary(op, x, y) => binary(*op, of(*x).whole()?, of(*y).whole()?),
            Node::Nary(op, xs) => {
                let mut operands = xs.iter().map(|x| of(*x).whole());
                let first = operands.next()??;
                operands.try_fold(first, |acc, x| nary(*op, acc, x?))
            }
            Node::Select(_, a, b) => joined(of(*a), of(*b), terms.ty(id)).whole(),
            Node::Order { axis, .. } => Interval::new(0, extent_of(*axis)? - 1),
            Node::At { body, .. } => of(*body).whole(),
            Node::Reduce { op: ReduceOp::Any | ReduceOp::All, .. } => Some(Interval::TRUTH),
            // Over all of an axis there is a position; over a part of it there may be none.
            Node::Reduce { op: ReduceOp::ArgMax | ReduceOp::ArgMin, axis, domain, .. } => {
                let whole = *terms.node(*domain) == Node::Bool(true);
                Interval::new(if whole { 0 } else { -1 }, extent_of(*axis)? - 1)
            }
            Node::Reduce { op: ReduceOp::Sum, axis, body, domain } => {
                let out = i128::from(leaves_one_out(spec, terms, *axis, *domain));
                of(*body).whole()?.times(Interval::new(0, (extent_of(*axis)? - out).max(0))?)
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
