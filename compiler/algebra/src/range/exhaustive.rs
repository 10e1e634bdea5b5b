//! Trying all positions of an index that has few.

use std::collections::BTreeSet;

use crate::axis::{AxisId, AxisSet};
use crate::ops::UnaryOp;
use crate::spec::{Extents, Spec};
use crate::term::{Node, TermId, Type};

/// Positions tried, at most.
const VOLUME_LIMIT: i64 = 1 << 22;
/// Operations of an index and its guards, at most, times positions.
const WORK_LIMIT: i64 = 1 << 26;

/// Outcome of trying all positions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trial {
    /// The index is in range wherever the guards hold.
    Inside,
    /// An index out of range, where all guards that can be evaluated hold.
    Outside(i64),
    /// There are too many positions, or the index or a guard needs data.
    Unknown,
}

/// Evaluates `index` at all positions of its axes.
pub(super) fn try_all(
    spec: &Spec,
    extents: &Extents,
    index: TermId,
    extent: i64,
    guards: &BTreeSet<(TermId, bool)>,
) -> Trial {
    let Some(mut size) = closed_size(spec, index) else { return Trial::Unknown };
    let mut axes = spec.terms.free(index).clone();
    let mut used: Vec<(TermId, bool)> = Vec::new();
    for (guard, holds) in guards {
        let wider = axes.union(spec.terms.free(*guard));
        let fits = |size: i64| volume(spec, extents, &wider).is_some_and(|v| v.saturating_mul(size) <= WORK_LIMIT);
        if let Some(more) = closed_size(spec, *guard)
            && fits(size + more)
        {
            axes = wider;
            size += more;
            used.push((*guard, *holds));
        }
    }
    match volume(spec, extents, &axes) {
        Some(volume) if volume.saturating_mul(size) <= WORK_LIMIT => {}
        _ => return Trial::Unknown,
    }
    let axes: Vec<AxisId> = axes.iter().collect();
    let extent_of = |axis: AxisId| spec.eval_extent(spec.axis(axis).extent, extents).unwrap_or(0);
    let shape: Vec<i64> = axes.iter().map(|a| extent_of(*a)).collect();
    let mut point = Point { spec, extents, pos: vec![0; spec.axes.len()] };
    loop {
        let open = used.iter().all(|(guard, holds)| point.int(*guard).is_none_or(|v| (v != 0) == *holds));
        if open {
            match point.int(index) {
                Some(v) if (0..extent).contains(&v) => {}
                // Guards that need data were left out: the index may never be reached.
                _ if used.len() < guards.len() => return Trial::Unknown,
                Some(v) => return Trial::Outside(v),
                None => return Trial::Unknown,
            }
        }
        if !point.advance(&axes, &shape) {
            return Trial::Inside;
        }
    }
}

fn volume(spec: &Spec, extents: &Extents, axes: &AxisSet) -> Option<i64> {
    let mut volume = 1i64;
    for axis in axes.iter() {
        volume = volume.checked_mul(spec.eval_extent(spec.axis(axis).extent, extents)?)?;
    }
    (volume <= VOLUME_LIMIT).then_some(volume)
}

/// Nodes of a term of positions and constants alone, written out; `None` for other terms.
fn closed_size(spec: &Spec, id: TermId) -> Option<i64> {
    let node = spec.terms.node(id);
    match node {
        Node::Input { .. }
        | Node::Reduce { .. }
        | Node::Softmax { .. }
        | Node::Attend { .. }
        | Node::Scan { .. }
        | Node::Order { .. }
        | Node::At { .. } => None,
        _ => {
            let size = node.operands().iter().try_fold(1, |sum: i64, t| sum.checked_add(closed_size(spec, *t)?))?;
            (size <= 1_000).then_some(size)
        }
    }
}

/// One position of all axes.
struct Point<'a> {
    spec: &'a Spec,
    extents: &'a Extents,
    pos: Vec<i64>,
}

impl Point<'_> {
    fn advance(&mut self, axes: &[AxisId], shape: &[i64]) -> bool {
        for (axis, extent) in axes.iter().zip(shape).rev() {
            let p = &mut self.pos[axis.0 as usize];
            *p += 1;
            if *p < *extent {
                return true;
            }
            *p = 0;
        }
        false
    }

    /// The value of an integer or truth-value term; `None` on overflow.
    fn int(&self, id: TermId) -> Option<i64> {
        let terms = &self.spec.terms;
        match terms.node(id) {
            Node::Int(v) => Some(*v),
            Node::Bool(v) => Some(i64::from(*v)),
            Node::Extent(symbol) => self.extents.get(*symbol),
            Node::Position(axis) => Some(self.pos[axis.0 as usize]),
            Node::Unary(UnaryOp::RealToInt | UnaryOp::ToInt, x) if terms.ty(*x) == Type::Real => {
                Some(self.real(*x)? as i64)
            }
            Node::Unary(op, x) => {
                let x = self.int(*x)?;
                match op {
                    UnaryOp::Neg => x.checked_neg(),
                    UnaryOp::Abs => x.checked_abs(),
                    UnaryOp::Not => Some(i64::from(x == 0)),
                    UnaryOp::Sign => Some(x.signum()),
                    UnaryOp::Relu => Some(x.max(0)),
                    _ => Some(x),
                }
            }
            Node::Binary(op, x, y) if terms.ty(*x) == Type::Real || terms.ty(*y) == Type::Real => {
                Some(op.eval(self.real(*x)?, self.real(*y)?) as i64)
            }
            Node::Binary(op, x, y) => op.eval_int(self.int(*x)?, self.int(*y)?),
            Node::Nary(op, xs) => {
                let first = self.int(xs[0])?;
                xs[1..].iter().try_fold(first, |acc, x| op.eval_int(acc, self.int(*x)?))
            }
            Node::Select(condition, a, b) => self.int(if self.int(*condition)? != 0 { *a } else { *b }),
            _ => None,
        }
    }

    fn real(&self, id: TermId) -> Option<f64> {
        let terms = &self.spec.terms;
        if terms.ty(id) != Type::Real {
            return Some(self.int(id)? as f64);
        }
        match terms.node(id) {
            Node::Real(v) => Some(v.get()),
            Node::Unary(op, x) => Some(op.eval(self.real(*x)?)),
            Node::Binary(op, x, y) => Some(op.eval(self.real(*x)?, self.real(*y)?)),
            Node::Nary(op, xs) => {
                let first = self.real(xs[0])?;
                xs[1..].iter().try_fold(first, |acc, x| Some(op.eval(acc, self.real(*x)?)))
            }
            Node::Select(condition, a, b) => self.real(if self.int(*condition)? != 0 { *a } else { *b }),
            _ => None,
        }
    }
}
