//! Counts that leave out a position: `rank` counts the keys before a key, which is none of them.
//!
//! A domain over `t` that fails where `t` is another axis's own position holds at one position less than there are. Terms
//! are compared as if the two positions were one; what decides whether reals are equal to themselves is tried both ways.

use std::collections::BTreeMap;

use crate::axis::AxisId;
use crate::ops::{BinaryOp, NaryOp, UnaryOp};
use crate::spec::Spec;
use crate::term::{Node, TermId, Terms, Type};

use super::always::truth_of_parts;

/// Pairs of terms compared for one domain, at most.
const WORK_LIMIT: usize = 4096;

/// Whether `domain` fails at one position of `axis` at least, wherever the other axes stand.
pub(super) fn leaves_one_out(spec: &Spec, terms: &Terms, axis: AxisId, domain: TermId) -> bool {
    let extent = spec.axis(axis).extent;
    let others = terms.free(domain).iter().filter(|a| *a != axis && spec.axis(*a).extent == extent);
    others.take(4).any(|other| {
        let fails =
            |nan: bool| Diagonal { terms, axis, other, nan, subject: None, work: 0 }.truth(domain) == Some(false);
        fails(false) && fails(true)
    })
}

/// A predicate where the positions of two axes are the same.
struct Diagonal<'a> {
    terms: &'a Terms,
    axis: AxisId,
    other: AxisId,
    /// Whether the real that is compared with itself is no number.
    nan: bool,
    /// That real.
    subject: Option<TermId>,
    work: usize,
}

impl Diagonal<'_> {
    /// Whether the predicate holds; `None` where nothing tells.
    fn truth(&mut self, id: TermId) -> Option<bool> {
        match self.terms.node(id) {
            Node::Bool(v) => Some(*v),
            Node::Unary(UnaryOp::Not, x) => self.truth(*x).map(|v| !v),
            Node::Nary(op @ (NaryOp::And | NaryOp::Or), parts) => {
                truth_of_parts(*op, parts.iter().map(|p| self.truth(*p)))
            }
            Node::Select(condition, a, b) => match self.truth(*condition) {
                Some(holds) => self.truth(if holds { *a } else { *b }),
                None => self.truth(*a).filter(|a| self.truth(*b) == Some(*a)),
            },
            Node::Binary(BinaryOp::Lt, x, y) => self.same(*x, *y, &mut BTreeMap::new()).then_some(false),
            Node::Binary(op @ (BinaryOp::Le | BinaryOp::Eq | BinaryOp::Ne), x, y) => {
                let equal = *op != BinaryOp::Ne;
                let same = self.same(*x, *y, &mut BTreeMap::new());
                (same && self.is_subject(*x)).then(|| equal != (self.nan && self.terms.ty(*x) == Type::Real))
            }
            _ => None,
        }
    }

    /// Whether what is assumed to be a number, or none, is assumed of this term.
    fn is_subject(&mut self, x: TermId) -> bool {
        if self.terms.ty(x) != Type::Real {
            return true;
        }
        match self.subject {
            Some(subject) => self.same(subject, x, &mut BTreeMap::new()),
            None => {
                self.subject = Some(x);
                true
            }
        }
    }

    /// Whether two terms have one value, up to the names of the axes that they bind: `bound` has the other's by the one's.
    fn same(&mut self, x: TermId, y: TermId, bound: &mut BTreeMap<AxisId, AxisId>) -> bool {
        self.work += 1;
        if self.work > WORK_LIMIT {
            return false;
        }
        let (one, other) = (self.terms.node(x), self.terms.node(y));
        match (one, other) {
            (Node::Position(a), Node::Position(b)) => match bound.get(a) {
                Some(renamed) => renamed == b,
                None => !bound.values().any(|renamed| renamed == b) && self.place(*a) == self.place(*b),
            },
            (
                Node::Reduce { op, axis, domain, body },
                Node::Reduce { op: other_op, axis: other_axis, domain: other_domain, body: other_body },
            ) => {
                // A bound name that is one of the two positions would be taken for it.
                let hides = |a: &AxisId| *a == self.axis || *a == self.other;
                if op != other_op || hides(axis) || hides(other_axis) {
                    return false;
                }
                let outside = bound.insert(*axis, *other_axis);
                let same = self.same(*domain, *other_domain, bound) && self.same(*body, *other_body, bound);
                match outside {
                    Some(renamed) => bound.insert(*axis, renamed),
                    None => bound.remove(axis),
                };
                same
            }
            _ if one.runs_over_axis() || other.runs_over_axis() => x == y && bound.is_empty() && self.is_fixed(x),
            _ => {
                let (xs, ys): (Vec<TermId>, Vec<TermId>) =
                    (one.operands().into_iter().collect(), other.operands().into_iter().collect());
                let stub = x;
                xs.len() == ys.len()
                    && one.clone().map_operands(|_| stub) == other.clone().map_operands(|_| stub)
                    && xs.iter().zip(&ys).all(|(x, y)| self.same(*x, *y, bound))
            }
        }
    }

    /// Whether a term mentions neither position.
    fn is_fixed(&self, x: TermId) -> bool {
        let free = self.terms.free(x);
        !free.contains(self.axis) && !free.contains(self.other)
    }

    /// An axis, one for the two whose positions are the same.
    fn place(&self, axis: AxisId) -> AxisId {
        if axis == self.axis { self.other } else { axis }
    }
}
