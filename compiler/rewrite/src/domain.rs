//! Domains: the predicates of restricted reductions as a set algebra.
//!
//! Owns the normal form of a predicate (unions and intersections of
//! half-spaces over linear forms, congruences, block equalities, equal keys
//! and opaque atoms) and what is proved from it: prefix, full, empty,
//! disjoint, never empty. Counting is in [`crate::density`]. Must not know of
//! the e-graph.

use std::collections::{BTreeMap, BTreeSet};

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, Spec, TermId, Type, UnaryOp};

use crate::facts::{is_small_tree, reads_input};
use crate::linear_form::LinearForm;

/// A set of index tuples.
///
/// Kept in negation normal form; `And` and `Or` have at least two members.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Domain {
    /// Every tuple.
    Full,
    /// No tuple.
    Empty,
    /// Where the linear form is at least 0: intervals, bands, prefixes.
    AtLeast(LinearForm),
    /// Where the form is a multiple of the modulus (or, if `.2` is false, is not): strides.
    Multiple(LinearForm, i64, bool),
    /// Where an opaque truth value holds (or, if `.1` is false, does not): tables, equal keys.
    Opaque(TermId, bool),
    /// Intersection.
    And(BTreeSet<Domain>),
    /// Union.
    Or(BTreeSet<Domain>),
}

/// The shape of a domain atom, for reports and cost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Atom {
    /// A bound on one position.
    Interval,
    /// A bound on the difference of two positions.
    Band,
    /// A congruence of positions.
    Stride,
    /// A bound or equality on quotients of positions.
    Blocks,
    /// Equal keys of input tables.
    EqualKeys,
    /// A truth value looked up in an input table.
    Table,
    /// Anything else.
    Opaque,
}

/// Bound on the members an expansion of `abs`, `min` and `max` may make.
const MAX_MEMBERS: usize = 64;

impl Domain {
    /// The domain of a predicate.
    pub fn of(spec: &Spec, predicate: TermId) -> Self {
        if !is_small_tree(&spec.terms, predicate) {
            return Self::Opaque(predicate, true);
        }
        Self::build(spec, predicate, true)
    }

    fn build(spec: &Spec, predicate: TermId, positive: bool) -> Self {
        let terms = &spec.terms;
        let opaque = Self::Opaque(predicate, positive);
        match terms.node(predicate) {
            Node::Bool(b) => {
                if *b == positive {
                    Self::Full
                } else {
                    Self::Empty
                }
            }
            Node::Unary(UnaryOp::Not, x) => Self::build(spec, *x, !positive),
            Node::Nary(op @ (NaryOp::And | NaryOp::Or), xs) => {
                let members = xs.iter().map(|x| Self::build(spec, *x, positive));
                if (*op == NaryOp::And) == positive { Self::all(spec, members) } else { Self::any(spec, members) }
            }
            Node::Select(c, a, b) => {
                let then = Self::all(spec, [Self::build(spec, *c, true), Self::build(spec, *a, positive)]);
                let other = Self::all(spec, [Self::build(spec, *c, false), Self::build(spec, *b, positive)]);
                Self::any(spec, [then, other])
            }
            Node::Binary(op, x, y) if op.is_comparison() && terms.ty(*x) == Type::Int && terms.ty(*y) == Type::Int => {
                Self::comparison(spec, *op, *x, *y, positive).unwrap_or(opaque)
            }
            _ => opaque,
        }
    }

    fn comparison(spec: &Spec, op: BinaryOp, x: TermId, y: TermId, positive: bool) -> Option<Self> {
        let terms = &spec.terms;
        let gap = LinearForm::of(terms, y)?.minus(&LinearForm::of(terms, x)?)?;
        let one = LinearForm::constant(1);
        match (op, positive) {
            (BinaryOp::Le, true) => Self::at_least(spec, gap),
            (BinaryOp::Lt, true) => Self::at_least(spec, gap.minus(&one)?),
            (BinaryOp::Le, false) => Self::at_least(spec, gap.times(-1)?.minus(&one)?),
            (BinaryOp::Lt, false) => Self::at_least(spec, gap.times(-1)?),
            (BinaryOp::Eq | BinaryOp::Ne, _) => Self::equality(spec, gap, (op == BinaryOp::Eq) == positive),
            _ => None,
        }
    }

    /// Where `form == 0`, or `form != 0` if not `equal`.
    fn equality(spec: &Spec, form: LinearForm, equal: bool) -> Option<Self> {
        if form.atoms.keys().any(|t| reads_input(&spec.terms, *t)) {
            return None;
        }
        if let Some(stride) = Self::congruence(spec, &form, equal) {
            return Some(stride);
        }
        let negated = form.times(-1)?;
        if equal {
            Some(Self::all(spec, [Self::at_least(spec, form)?, Self::at_least(spec, negated)?]))
        } else {
            let one = LinearForm::constant(1);
            let above = Self::at_least(spec, form.minus(&one)?)?;
            Some(Self::any(spec, [above, Self::at_least(spec, negated.minus(&one)?)?]))
        }
    }

    /// `x mod m == r` as a multiple of `m`.
    fn congruence(spec: &Spec, form: &LinearForm, equal: bool) -> Option<Self> {
        let (atom, sign) = form.atoms.iter().next().filter(|_| form.atoms.len() == 1)?;
        let Node::Binary(BinaryOp::Mod, x, m) = spec.terms.node(*atom) else { return None };
        let Node::Int(modulus) = spec.terms.node(*m) else { return None };
        let residue = form.constant.checked_mul(-sign.signum())?;
        if *modulus < 1 || sign.abs() != 1 {
            return None;
        }
        if residue < 0 || residue >= *modulus {
            return Some(if equal { Self::Empty } else { Self::Full });
        }
        let shifted = LinearForm::of(&spec.terms, *x)?.minus(&LinearForm::constant(residue))?;
        Some(Self::Multiple(canonical_sign(shifted)?, *modulus, equal))
    }

    /// Where `form >= 0`, with `abs`, `min` and `max` resolved into unions and intersections.
    fn at_least(spec: &Spec, form: LinearForm) -> Option<Self> {
        Self::resolve(spec, form, 0)
    }

    fn resolve(spec: &Spec, form: LinearForm, depth: usize) -> Option<Self> {
        if depth > 6 {
            return None;
        }
        for (atom, c) in &form.atoms {
            let (choices, of_all) = match spec.terms.node(*atom) {
                Node::Unary(UnaryOp::Abs, x) => {
                    let inner = LinearForm::of(&spec.terms, *x)?;
                    (vec![inner.times(-1)?, inner], *c < 0)
                }
                Node::Nary(op @ (NaryOp::Min | NaryOp::Max), xs) => {
                    let forms: Option<Vec<LinearForm>> = xs.iter().map(|x| LinearForm::of(&spec.terms, *x)).collect();
                    (forms?, (*op == NaryOp::Max) == (*c < 0))
                }
                _ => continue,
            };
            let members: Option<Vec<Self>> =
                choices.iter().map(|by| Self::resolve(spec, form.substitute(*atom, by)?, depth + 1)).collect();
            return Some(if of_all { Self::all(spec, members?) } else { Self::any(spec, members?) });
        }
        let never = form.times(-1)?.minus(&LinearForm::constant(1))?;
        Some(if form.is_nonnegative(spec) {
            Self::Full
        } else if never.is_nonnegative(spec) {
            Self::Empty
        } else {
            Self::AtLeast(form)
        })
    }

    /// The intersection of the members.
    pub fn all(spec: &Spec, members: impl IntoIterator<Item = Self>) -> Self {
        let mut set = BTreeSet::new();
        for member in members {
            match member {
                Self::Full => {}
                Self::Empty => return Self::Empty,
                Self::And(inner) => set.extend(inner),
                other => {
                    set.insert(other);
                }
            }
        }
        let kept: BTreeSet<Self> =
            set.iter().filter(|m| !set.iter().any(|n| n != *m && n.implies_atom(spec, m))).cloned().collect();
        let contradictory = kept.iter().any(|m| kept.iter().any(|n| m.excludes_atom(n)));
        match kept.len() {
            _ if contradictory => Self::Empty,
            0 => Self::Full,
            1 => kept.into_iter().next().expect("the set has one member"),
            _ => Self::And(kept),
        }
    }

    /// The union of the members.
    pub fn any(spec: &Spec, members: impl IntoIterator<Item = Self>) -> Self {
        let negated: Vec<Self> = members.into_iter().map(|m| m.complement(spec)).collect();
        if negated.len() > MAX_MEMBERS {
            return Self::Or(negated.iter().map(|m| m.complement(spec)).collect());
        }
        match Self::all(spec, negated) {
            Self::And(set) => Self::Or(set.iter().map(|m| m.complement(spec)).collect()),
            other => other.complement(spec),
        }
    }

    /// Every tuple that is not in the domain.
    pub fn complement(&self, spec: &Spec) -> Self {
        match self {
            Self::Full => Self::Empty,
            Self::Empty => Self::Full,
            Self::AtLeast(form) => {
                let flipped = form.times(-1).and_then(|f| f.minus(&LinearForm::constant(1)));
                flipped.map_or(Self::Empty, Self::AtLeast)
            }
            Self::Multiple(form, m, positive) => Self::Multiple(form.clone(), *m, !positive),
            Self::Opaque(term, positive) => Self::Opaque(*term, !positive),
            Self::And(set) => Self::Or(set.iter().map(|m| m.complement(spec)).collect()),
            Self::Or(set) => Self::all(spec, set.iter().map(|m| m.complement(spec))),
        }
    }

    /// Whether membership in `self` proves membership in the atom `other`.
    fn implies_atom(&self, spec: &Spec, other: &Self) -> bool {
        match (self, other) {
            // f >= 0 proves g >= 0 if g - f is never negative.
            (Self::AtLeast(f), Self::AtLeast(g)) => {
                let slack = g.minus(f);
                slack.is_some_and(|d| if d.atoms.is_empty() { d.constant >= 0 } else { d.is_nonnegative(spec) })
                    && !(f > g && f.minus(g).is_some_and(|d| d.is_nonnegative(spec)))
            }
            (a, b) => a == b,
        }
    }

    /// Whether no tuple can be in both atoms.
    fn excludes_atom(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AtLeast(f), Self::AtLeast(g)) => {
                f.plus(g).is_some_and(|sum| sum.atoms.is_empty() && sum.constant < 0)
            }
            (Self::Multiple(f, m, p), Self::Multiple(g, n, q)) if m == n => match f.minus(g) {
                Some(d) if d.atoms.is_empty() => {
                    let same = d.constant.rem_euclid(*m) == 0;
                    (same && p != q) || (!same && *p && *q)
                }
                _ => false,
            },
            (Self::Opaque(a, p), Self::Opaque(b, q)) => a == b && p != q,
            _ => false,
        }
    }

    /// Whether no tuple is in both.
    pub fn is_disjoint(&self, spec: &Spec, other: &Self) -> bool {
        match (self, other) {
            (Self::Or(set), x) | (x, Self::Or(set)) => set.iter().all(|m| m.is_disjoint(spec, x)),
            _ => Self::all(spec, [self.clone(), other.clone()]) == Self::Empty,
        }
    }

    /// Whether every tuple of `self` is proved to be in `other`.
    pub fn is_subset(&self, spec: &Spec, other: &Self) -> bool {
        self == other || *self == Self::Empty || self.is_disjoint(spec, &other.complement(spec))
    }

    /// The row axis i if the domain is `j <= i` and further conditions, which are returned.
    ///
    /// Both axes must have the same extent.
    pub fn prefix(&self, spec: &Spec, axis: AxisId) -> Option<(AxisId, Vec<Self>)> {
        let members: Vec<&Self> = match self {
            Self::And(set) => set.iter().collect(),
            other => vec![other],
        };
        for (at, member) in members.iter().enumerate() {
            let Self::AtLeast(form) = member else { continue };
            let Some(positions) = form.positions(&spec.terms) else { continue };
            let row = positions.keys().copied().find(|a| *a != axis);
            let Some(row) = row.filter(|row| form.is_difference(&spec.terms, *row, axis, 0)) else { continue };
            if spec.axis(row).extent != spec.axis(axis).extent {
                continue;
            }
            let rest = members.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, m)| (*m).clone()).collect();
            return Some((row, rest));
        }
        None
    }

    /// A linear form with `abs`, `min` and `max` resolved where the domain says which part it is; `None` on overflow.
    pub fn settled(&self, spec: &Spec, form: LinearForm) -> Option<LinearForm> {
        let above = |x: &LinearForm, y: &LinearForm| {
            x.minus(y).is_some_and(|gap| gap.is_nonnegative(spec) || self.is_subset(spec, &Self::AtLeast(gap)))
        };
        let mut out = form.clone();
        for atom in form.atoms.keys() {
            let part = match spec.terms.node(*atom) {
                Node::Unary(UnaryOp::Abs, x) => {
                    let inner = LinearForm::of(&spec.terms, *x)?;
                    [inner.times(-1)?, inner].into_iter().find(|part| above(part, &LinearForm::default()))
                }
                Node::Nary(op @ (NaryOp::Min | NaryOp::Max), xs) => {
                    let parts: Option<Vec<LinearForm>> = xs.iter().map(|x| LinearForm::of(&spec.terms, *x)).collect();
                    let parts = parts?;
                    let above =
                        |x: &LinearForm, y: &LinearForm| if *op == NaryOp::Max { above(x, y) } else { above(y, x) };
                    parts.iter().find(|x| parts.iter().all(|y| above(x, y))).cloned()
                }
                _ => None,
            };
            if let Some(part) = part {
                out = out.substitute(*atom, &part)?;
            }
        }
        Some(out)
    }

    /// `(row, k)` if the domain is `axis <= row - k` with k above 0, over axes of one extent.
    pub fn earlier_prefix(&self, spec: &Spec, axis: AxisId) -> Option<(AxisId, i64)> {
        let (row, off) = self.ends_at(spec, axis)?;
        (off < 0).then_some((row, -off))
    }

    /// `(row, off)` if the domain is `axis <= row + off`, over axes of one extent.
    pub fn ends_at(&self, spec: &Spec, axis: AxisId) -> Option<(AxisId, i64)> {
        let Self::AtLeast(form) = self else { return None };
        let row = form.positions(&spec.terms)?.keys().copied().find(|a| *a != axis)?;
        let same = spec.axis(row).extent == spec.axis(axis).extent;
        (same && form.is_difference(&spec.terms, row, axis, form.constant)).then_some((row, form.constant))
    }

    /// `(row, k)` if the domain is `row + k <= axis` with k at least 0, over axes of one extent.
    pub fn suffix(&self, spec: &Spec, axis: AxisId) -> Option<(AxisId, i64)> {
        let Self::AtLeast(form) = self else { return None };
        let row = form.positions(&spec.terms)?.keys().copied().find(|a| *a != axis)?;
        let same = spec.axis(row).extent == spec.axis(axis).extent && form.constant <= 0;
        (same && form.is_difference(&spec.terms, axis, row, form.constant)).then_some((row, -form.constant))
    }

    /// `axis <= row`; `None` where the spec has no term for one of the positions.
    pub fn up_to(spec: &Spec, axis: AxisId, row: AxisId) -> Option<Self> {
        let terms = &spec.terms;
        let position = |axis: AxisId| {
            (0..terms.len() as u32).map(TermId).find(|t| matches!(terms.node(*t), Node::Position(a) if *a == axis))
        };
        let (axis, row) = (LinearForm::atom(position(axis)?), LinearForm::atom(position(row)?));
        row.minus(&axis).map(Self::AtLeast)
    }

    /// `((from, a), (to, b))` if the domain is `from + a <= t and t <= to + b` for positions of two axes.
    pub fn between(&self, spec: &Spec, axis: AxisId) -> Option<((AxisId, i64), (AxisId, i64))> {
        let Self::And(set) = self else { return None };
        let [one, other] = set.iter().collect::<Vec<_>>()[..] else { return None };
        let starts = |part: &Self| {
            let Self::AtLeast(form) = part else { return None };
            let from = form.positions(&spec.terms)?.keys().copied().find(|a| *a != axis)?;
            form.is_difference(&spec.terms, axis, from, form.constant).then_some((from, -form.constant))
        };
        match (one.ends_at(spec, axis), other.ends_at(spec, axis)) {
            (Some(end), _) => Some((starts(other)?, end)),
            (None, Some(end)) => Some((starts(one)?, end)),
            _ => None,
        }
    }

    /// Whether every row is proved to have an element along `axis`.
    pub fn is_never_empty(&self, spec: &Spec, axis: AxisId) -> bool {
        if *self == Self::Full {
            return true;
        }
        let terms = &spec.terms;
        let extent = spec.axis(axis).extent;
        let own =
            (0..terms.len() as u32).map(TermId).find(|t| matches!(terms.node(*t), Node::Position(a) if *a == axis));
        let Some(own) = own else { return false };
        let mut witnesses = vec![LinearForm::constant(0)];
        witnesses.extend(LinearForm::of(terms, extent).and_then(|n| n.minus(&LinearForm::constant(1))));
        for t in (0..terms.len() as u32).map(TermId) {
            if matches!(terms.node(t), Node::Position(a) if *a != axis && spec.axis(*a).extent == extent) {
                witnesses.push(LinearForm::atom(t));
            }
        }
        witnesses.iter().any(|by| self.substitute(spec, own, by) == Some(Self::Full))
    }

    /// The domain with a position replaced; `None` if an opaque atom reads it.
    fn substitute(&self, spec: &Spec, atom: TermId, by: &LinearForm) -> Option<Self> {
        let axes = spec.terms.free(atom);
        let hidden =
            |form: &LinearForm| form.atoms.keys().any(|t| *t != atom && !spec.terms.free(*t).is_disjoint(axes));
        match self {
            Self::Full | Self::Empty => Some(self.clone()),
            Self::AtLeast(form) if !hidden(form) => Self::at_least(spec, form.substitute(atom, by)?),
            Self::Multiple(form, m, positive) if !hidden(form) => {
                let form = form.substitute(atom, by)?;
                Some(match (form.atoms.is_empty(), form.constant.rem_euclid(*m) == 0) {
                    (true, holds) => {
                        if holds == *positive {
                            Self::Full
                        } else {
                            Self::Empty
                        }
                    }
                    _ => Self::Multiple(form, *m, *positive),
                })
            }
            // Equal keys of one table at the same position are equal.
            Self::Opaque(term, positive) => Self::substitute_opaque(spec, *term, *positive, atom, by),
            Self::And(set) => {
                Some(Self::all(spec, set.iter().map(|m| m.substitute(spec, atom, by)).collect::<Option<Vec<_>>>()?))
            }
            // One member that is full is enough.
            Self::Or(set) => {
                let members: Vec<Self> = set.iter().filter_map(|m| m.substitute(spec, atom, by)).collect();
                Some(Self::any(spec, members))
            }
            _ => None,
        }
    }

    fn substitute_opaque(spec: &Spec, term: TermId, positive: bool, atom: TermId, by: &LinearForm) -> Option<Self> {
        let terms = &spec.terms;
        let Node::Binary(BinaryOp::Eq, x, y) = terms.node(term) else { return None };
        let (other, 1, 0) = (by.atoms.keys().next()?, by.atoms.len(), by.constant) else { return None };
        let (Node::Position(from), Node::Position(to)) = (terms.node(atom), terms.node(*other)) else { return None };
        (same_renamed(spec, *x, *y, *from, *to) || same_renamed(spec, *y, *x, *from, *to)).then_some(if positive {
            Self::Full
        } else {
            Self::Empty
        })
    }

    /// Whether a tuple is in the domain; `value` gives the integer (or truth) value of a term there.
    pub fn contains(&self, value: &mut impl FnMut(TermId) -> i64) -> bool {
        let mut at = |form: &LinearForm| {
            form.atoms.iter().fold(form.constant, |sum, (t, c)| sum.saturating_add(c.saturating_mul(value(*t))))
        };
        match self {
            Self::Full => true,
            Self::Empty => false,
            Self::AtLeast(form) => at(form) >= 0,
            Self::Multiple(form, m, positive) => (at(form).rem_euclid(*m) == 0) == *positive,
            Self::Opaque(term, positive) => (value(*term) != 0) == *positive,
            Self::And(set) => set.iter().all(|m| m.contains(value)),
            Self::Or(set) => set.iter().any(|m| m.contains(value)),
        }
    }

    /// The shape of an atom; `None` for unions, intersections and constants.
    pub fn atom(&self, spec: &Spec) -> Option<Atom> {
        match self {
            Self::Full | Self::Empty | Self::And(_) | Self::Or(_) => None,
            Self::Multiple(..) => Some(Atom::Stride),
            Self::AtLeast(form) => Some(match form.positions(&spec.terms) {
                Some(axes) if axes.len() <= 1 => Atom::Interval,
                Some(_) => Atom::Band,
                None => Atom::Blocks,
            }),
            Self::Opaque(term, _) => Some(match spec.terms.node(*term) {
                Node::Binary(BinaryOp::Eq, ..) => Atom::EqualKeys,
                Node::Input { .. } => Atom::Table,
                _ => Atom::Opaque,
            }),
        }
    }
}

/// Whether `x` with axis `from` renamed to `to` is `y`.
fn same_renamed(spec: &Spec, x: TermId, y: TermId, from: AxisId, to: AxisId) -> bool {
    match (spec.terms.node(x), spec.terms.node(y)) {
        (Node::Position(a), Node::Position(b)) => a == b && *a != from || (*a == from && *b == to),
        (
            Node::Reduce { .. }
            | Node::Softmax { .. }
            | Node::Attend { .. }
            | Node::Scan { .. }
            | Node::Order { .. }
            | Node::At { .. },
            _,
        ) => x == y && !spec.terms.free(x).contains(from),
        (a, b) => {
            let (xs, ys) = (a.operands(), b.operands());
            let shell = |n: &Node| n.map_operands(|_| TermId(0));
            xs.len() == ys.len()
                && shell(a) == shell(b)
                && xs.iter().zip(ys.iter()).all(|(p, q)| same_renamed(spec, *p, *q, from, to))
        }
    }
}

/// The form or its negation, whichever has a positive first coefficient: a multiple stays one.
fn canonical_sign(form: LinearForm) -> Option<LinearForm> {
    if form.atoms.values().next().is_some_and(|c| *c < 0) { form.times(-1) } else { Some(form) }
}

/// The domains of the predicates of one spec, with one predicate for equal domains.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    domains: BTreeMap<TermId, Domain>,
    canonical: BTreeMap<Domain, TermId>,
}

impl Domains {
    /// Notes a predicate and returns the first one noted with an equal domain.
    pub fn intern(&mut self, spec: &Spec, predicate: TermId) -> TermId {
        let domain = self.domains.entry(predicate).or_insert_with(|| Domain::of(spec, predicate));
        *self.canonical.entry(domain.clone()).or_insert(predicate)
    }

    /// The domain of a predicate.
    pub fn get(&self, spec: &Spec, predicate: TermId) -> Domain {
        self.domains.get(&predicate).cloned().unwrap_or_else(|| Domain::of(spec, predicate))
    }
}
