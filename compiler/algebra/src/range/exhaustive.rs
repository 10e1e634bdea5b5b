//! Trying all positions of an index or divisor that has few, or all values of a form of them.

use std::collections::BTreeSet;

use crate::axis::{AxisId, AxisSet};
use crate::ops::UnaryOp;
use crate::positions::{Along, Positions};
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

/// What is tried, and which guards count.
struct Tried {
    /// All positions of these axes,
    axes: Vec<AxisId>,
    /// after each of these moves of another axis,
    moves: Vec<(AxisId, i64)>,
    /// from here.
    start: Vec<(AxisId, i64)>,
    guards: Vec<(TermId, bool)>,
}

/// Evaluates `index` at all positions of its axes, or at all values of a form through which it knows some of them.
pub(super) fn try_all(
    spec: &Spec,
    extents: &Extents,
    index: TermId,
    guards: &BTreeSet<(TermId, bool)>,
    is_inside: impl Fn(i64) -> bool,
) -> Trial {
    let Some(size) = closed_size(spec, index) else { return Trial::Unknown };
    let tried = all_positions(spec, extents, (index, size), guards)
        .or_else(|| values_of_form(spec, extents, (index, size), guards));
    let Some(Tried { axes, moves, start, guards: used }) = tried else { return Trial::Unknown };
    let shape: Vec<i64> = axes.iter().map(|a| extent_of(spec, extents, *a)).collect();
    let mut point = Point { spec, extents, pos: vec![0; spec.axes.len()] };
    start.iter().for_each(|(axis, at)| point.pos[axis.0 as usize] = *at);
    let mut moves = moves.into_iter();
    loop {
        let open = used.iter().all(|(guard, holds)| point.int(*guard).is_none_or(|v| (v != 0) == *holds));
        if open {
            match point.int(index) {
                Some(v) if is_inside(v) => {}
                // Guards that need data were left out: the index may never be reached.
                _ if used.len() < guards.len() => return Trial::Unknown,
                Some(v) => return Trial::Outside(v),
                None => return Trial::Unknown,
            }
        }
        if !point.advance(&axes, &shape) {
            let Some((axis, at)) = moves.next() else { return Trial::Inside };
            point.pos[axis.0 as usize] = at;
        }
    }
}

/// All positions of the index, and of the guards as far as these are few enough.
fn all_positions(
    spec: &Spec,
    extents: &Extents,
    (index, mut size): (TermId, i64),
    guards: &BTreeSet<(TermId, bool)>,
) -> Option<Tried> {
    let mut axes = spec.terms.free(index).clone();
    let mut used: Vec<(TermId, bool)> = Vec::new();
    let fits =
        |axes: &AxisSet, size: i64| volume(spec, extents, axes).is_some_and(|v| v.saturating_mul(size) <= WORK_LIMIT);
    for (guard, holds) in guards {
        let wider = axes.union(spec.terms.free(*guard));
        if let Some(more) = closed_size(spec, *guard)
            && fits(&wider, size + more)
        {
            axes = wider;
            size += more;
            used.push((*guard, *holds));
        }
    }
    let (moves, start) = (Vec::new(), Vec::new());
    fits(&axes, size).then(|| Tried { axes: axes.iter().collect(), moves, start, guards: used })
}

/// All values of the form of several axes through which alone the index knows their positions, such as `i - j`: along
/// a path from the corner where it is least to the one where it is greatest.
fn values_of_form(
    spec: &Spec,
    extents: &Extents,
    (index, mut size): (TermId, i64),
    guards: &BTreeSet<(TermId, bool)>,
) -> Option<Tried> {
    let mut positions = Positions::default();
    let mut whole = Along::default();
    whole.all_of(&positions.along(&spec.terms, index));
    let form = whole.form.clone()?;
    // Steps of one axis skip values where its coefficient is more than 1.
    if form.values().any(|c| c.abs() != 1) {
        return None;
    }
    let length = form.keys().try_fold(0_i64, |sum, axis| sum.checked_add(extent_of(spec, extents, *axis)))?;
    let fits = |others: &AxisSet, size: i64| {
        let points = volume(spec, extents, others).and_then(|v| v.checked_mul(length)).filter(|v| *v <= VOLUME_LIMIT);
        points.is_some_and(|v| v.saturating_mul(size) <= WORK_LIMIT)
    };
    let mut used: Vec<(TermId, bool)> = Vec::new();
    for (guard, holds) in guards {
        let mut wider = whole.clone();
        wider.all_of(&positions.along(&spec.terms, *guard));
        if let Some(more) = closed_size(spec, *guard)
            && wider.form.is_some()
            && fits(&wider.other, size + more)
        {
            whole = wider;
            size += more;
            used.push((*guard, *holds));
        }
    }
    if !fits(&whole.other, size) {
        return None;
    }
    let (mut start, mut moves) = (Vec::new(), Vec::new());
    for (axis, c) in form {
        let last = extent_of(spec, extents, axis) - 1;
        start.push((axis, if c > 0 { 0 } else { last }));
        moves.extend((1..=last).map(|k| (axis, if c > 0 { k } else { last - k })));
    }
    Some(Tried { axes: whole.other.iter().collect(), moves, start, guards: used })
}

fn extent_of(spec: &Spec, extents: &Extents, axis: AxisId) -> i64 {
    spec.eval_extent(spec.axis(axis).extent, extents).unwrap_or(0)
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
