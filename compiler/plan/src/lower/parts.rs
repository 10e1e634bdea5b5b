//! Residue classes: domains with congruences are traversed class by class.
//!
//! Where a predicate holds only if a linear form of positions has one residue,
//! the positions that matter lie a fixed distance apart. Keys of one class are
//! then a tile dimension with that step, and so are the rows of a task where
//! the form mentions them: what is isolated pairs among neighbours is dense
//! tiles within a class.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, TermId, UnaryOp};

use crate::loops::expr::ExprId;

use super::domain::{Alternative, Linear};
use super::nest::{Binding, Frame, Nest};

/// A part of a domain, and how its positions are traversed.
pub(crate) struct Part {
    /// Disjoint from the other parts' domains.
    pub domain: TermId,
    /// The residue class its positions lie in, if they lie in one.
    pub class: Option<Class>,
}

/// The positions `first, first + modulus, ..`
#[derive(Clone, Copy)]
pub(crate) struct Class {
    /// The first position, less than `modulus`: a scalar.
    pub first: ExprId,
    /// At least 2.
    pub modulus: i64,
}

/// Alternatives that share a congruence, with the atom that states it.
type Group = (Option<(TermId, Class)>, Vec<Alternative>);

/// `form mod modulus == residue`.
struct Congruence {
    form: TermId,
    modulus: i64,
    residue: TermId,
}

/// The number below `modulus` whose product with `x` is 1 modulo `modulus`, if there is one.
fn inverse(x: i64, modulus: i64) -> Option<i64> {
    let (mut old, mut new) = ((x.rem_euclid(modulus), 1), (modulus, 0));
    while new.0 != 0 {
        let quotient = old.0 / new.0;
        (old, new) = (new, (old.0 - quotient * new.0, old.1 - quotient * new.1));
    }
    (old.0 == 1).then(|| old.1.rem_euclid(modulus))
}

impl Nest<'_, '_> {
    /// The domain as disjoint parts, each with the widest step along `axis` on the current rows.
    pub fn parts(&mut self, axis: AxisId, domain: TermId) -> Vec<Part> {
        let whole = vec![Part { domain, class: None }];
        let Some(alternatives) = self.alternatives(domain, true) else { return whole };
        // The dense part first, then one part for each congruence.
        let mut groups: Vec<Group> = vec![(None, Vec::new())];
        for alternative in alternatives {
            let class = self.class_of(axis, &alternative);
            let same = |(known, _): &&mut Group| known.map(|(atom, _)| atom) == class.map(|(atom, _)| atom);
            match groups.iter_mut().find(same) {
                Some((_, group)) => group.push(alternative),
                None => groups.push((class, vec![alternative])),
            }
        }
        if groups.len() == 1 || groups.iter().any(|(_, group)| group.iter().any(|a| a.some.is_some())) {
            return whole;
        }
        groups.retain(|(_, group)| !group.is_empty());
        let single = groups.len() == 1;
        let mut earlier = Vec::new();
        let mut parts = Vec::new();
        for (class, group) in groups {
            let own = self.predicate(&group);
            let domain = if single { domain } else { self.without(own, &earlier) };
            earlier.push(own);
            parts.push(Part { domain, class: class.map(|(_, class)| class) });
        }
        parts
    }

    /// The alternatives as one predicate. They search no small axis.
    pub fn predicate(&mut self, alternatives: &[Alternative]) -> TermId {
        let terms = &mut self.planner.terms;
        let mut cases = Vec::new();
        for alternative in alternatives {
            let mut all = Vec::new();
            for (atom, positive) in &alternative.atoms {
                all.push(if *positive { *atom } else { terms.unary(UnaryOp::Not, *atom) });
            }
            cases.push(match all[..] {
                [] => terms.add(Node::Bool(true)),
                _ => terms.nary(NaryOp::And, all),
            });
        }
        terms.nary(NaryOp::Or, cases)
    }

    /// The predicate where none of the others holds.
    pub fn without(&mut self, predicate: TermId, others: &[TermId]) -> TermId {
        if others.is_empty() {
            return predicate;
        }
        let terms = &mut self.planner.terms;
        let mut all = vec![predicate];
        all.extend(others.iter().map(|other| terms.unary(UnaryOp::Not, *other)));
        terms.nary(NaryOp::And, all)
    }

    /// The congruence of an alternative that puts the positions along `axis` into
    /// one class on the current rows; of several the one with the largest modulus.
    fn class_of(&mut self, axis: AxisId, alternative: &Alternative) -> Option<(TermId, Class)> {
        let mut best: Option<(TermId, Class)> = None;
        for (atom, positive) in &alternative.atoms {
            let Some(congruence) = self.congruence(*atom).filter(|_| *positive) else { continue };
            if best.is_none_or(|(_, class)| class.modulus < congruence.modulus)
                && let Some(first) = self.first_of(axis, &congruence)
            {
                best = Some((*atom, Class { first, modulus: congruence.modulus }));
            }
        }
        best
    }

    /// `form mod m == r` with a constant `m` of at least 2.
    fn congruence(&self, atom: TermId) -> Option<Congruence> {
        let terms = &self.planner.terms;
        let Node::Binary(BinaryOp::Eq, x, y) = *terms.node(atom) else { return None };
        [(x, y), (y, x)].into_iter().find_map(|(quotient, residue)| {
            let Node::Binary(BinaryOp::Mod, form, m) = *terms.node(quotient) else { return None };
            match terms.node(m) {
                Node::Int(modulus) if (2..1 << 31).contains(modulus) => {
                    Some(Congruence { form, modulus: *modulus, residue })
                }
                _ => None,
            }
        })
    }

    /// A congruence over both axes of the frame as an equality of two residues, one without its columns and one of
    /// nothing else: each is computed once for a row or a column.
    pub fn residues_apart(&mut self, atom: TermId, frame: Frame) -> Option<(TermId, TermId)> {
        let (rows, cols) = (frame.rows?, frame.cols?);
        let free = self.planner.terms.free(atom);
        if !free.contains(rows) || !free.contains(cols) {
            return None;
        }
        let Congruence { form, modulus, residue } = self.congruence(atom)?;
        let m = self.planner.terms.int(modulus);
        let whole = self.planner.terms.binary(BinaryOp::Mod, form, m);
        if self.one_residue(whole).is_some() {
            return None;
        }
        // Only what is a residue is equal to one where it is congruent to it.
        let proper = match self.planner.terms.node(residue) {
            Node::Int(v) => (0..modulus).contains(v),
            Node::Binary(BinaryOp::Mod, _, m) => *self.planner.terms.node(*m) == Node::Int(modulus),
            _ => false,
        };
        let mut linear = Linear::default();
        if !proper || self.planner.terms.free(residue).contains(cols) || !linear.add(self, cols, form, 1) {
            return None;
        }
        let terms = &mut self.planner.terms;
        let mut left = vec![terms.int(linear.constant), terms.unary(UnaryOp::Neg, residue)];
        for (term, scale) in &linear.rest {
            let scale = terms.int(*scale);
            left.push(terms.nary(NaryOp::Mul, vec![scale, *term]));
        }
        let (scale, at) = (terms.int(-linear.coefficient), terms.add(Node::Position(cols)));
        let (left, right) = (terms.nary(NaryOp::Add, left), terms.nary(NaryOp::Mul, vec![scale, at]));
        Some((terms.binary(BinaryOp::Mod, left, m), terms.binary(BinaryOp::Mod, right, m)))
    }

    /// The first position along `axis` of the class, if the rest of the form has one residue on the current rows.
    fn first_of(&mut self, axis: AxisId, congruence: &Congruence) -> Option<ExprId> {
        let mut linear = Linear::default();
        if !linear.add(self, axis, congruence.form, 1) {
            return None;
        }
        // c * position == residue - rest: c must have an inverse.
        let inverse = inverse(linear.coefficient, congruence.modulus)?;
        if self.planner.terms.free(congruence.residue).contains(axis) {
            return None;
        }
        let mut right = self.interval(congruence.residue).filter(|r| r.is_point())?.lo;
        for (term, scale) in &linear.rest {
            let rest = self.interval(*term)?;
            if rest.step.checked_mul(*scale)? % congruence.modulus != 0 {
                return None;
            }
            let scale = self.x().int(*scale);
            let part = self.x().times(rest.lo, scale);
            right = self.x().difference(right, part);
        }
        let right = self.plus(right, -linear.constant);
        let modulus = self.x().int(congruence.modulus);
        let first = match inverse {
            1 => right,
            _ if inverse == congruence.modulus - 1 => {
                let minus = self.x().int(-1);
                self.x().times(right, minus)
            }
            _ => {
                // Both factors are less than the modulus, which is less than 2^31.
                let (residue, inverse) = (self.x().binary(BinaryOp::Mod, right, modulus), self.x().int(inverse));
                self.x().times(residue, inverse)
            }
        };
        let first = self.x().binary(BinaryOp::Mod, first, modulus);
        Some(self.let_scalar(first))
    }

    /// How many positions of the class lie before `position`, which may be negative.
    pub fn in_class(&mut self, position: ExprId, class: Class) -> ExprId {
        self.class_count(position, class.first, class.modulus)
    }

    /// How many of `first, first + step, ..` lie before `end`.
    pub fn class_count(&mut self, end: ExprId, first: ExprId, step: i64) -> ExprId {
        let past = self.x().difference(end, first);
        self.ceil_div(past, step)
    }

    /// The step of a stage's rows: more than 1 if every reduction that the rows take part in and that runs over many
    /// positions is restricted by a congruence in the row.
    pub fn row_step(&mut self, term: TermId, rows: AxisId) -> i64 {
        let domains = self.domains_of_rows(term, rows);
        let mut step = None;
        for (_, domain) in domains {
            match self.alternatives(domain, true) {
                Some(alternatives) if !alternatives.is_empty() => {
                    for alternative in alternatives {
                        let found = self.row_modulus(&alternative, rows);
                        if found.is_none() || step.is_some_and(|s| Some(s) != found) {
                            return 1;
                        }
                        step = found;
                    }
                }
                _ => return 1,
            }
        }
        step.unwrap_or(1)
    }

    /// The largest modulus of the alternative's congruences in the row.
    fn row_modulus(&self, alternative: &Alternative, rows: AxisId) -> Option<i64> {
        if alternative.some.is_some_and(|(searched, _)| searched == rows) {
            return None;
        }
        let positive = alternative.atoms.iter().filter(|(_, positive)| *positive);
        positive.filter_map(|(atom, _)| self.row_modulus_of(*atom, rows)).max()
    }

    /// The modulus of an atom that is a congruence in the row.
    pub fn row_modulus_of(&self, atom: TermId, rows: AxisId) -> Option<i64> {
        let congruence = self.congruence(atom)?;
        self.planner.terms.free(congruence.form).contains(rows).then_some(congruence.modulus)
    }

    /// The domain along `axis` as a part whose congruences ask for rows of one class, and the rest; `None` if it has not both, or
    /// the rows have their step already.
    pub fn split_by_row_class(&mut self, axis: AxisId, domain: TermId, rows: AxisId) -> Option<(TermId, TermId)> {
        if !matches!(self.binding(rows), Binding::Tile(dim) if dim.step == 1) {
            return None;
        }
        let alternatives = self.alternatives(domain, true)?;
        if alternatives.iter().any(|a| a.some.is_some()) {
            return None;
        }
        let modulus = alternatives.iter().filter_map(|a| self.row_modulus(a, rows)).max()?;
        let (classed, rest): (Vec<Alternative>, Vec<Alternative>) =
            alternatives.into_iter().partition(|a| self.row_modulus(a, rows) == Some(modulus));
        if rest.is_empty() {
            return None;
        }
        let (classed, rest) = (self.predicate(&classed), self.predicate(&rest));
        // What overlaps is left out where that costs less: rows alone are no mask within tiles.
        if self.planner.terms.free(classed).contains(axis) {
            return Some((self.without(classed, &[rest]), rest));
        }
        Some((classed, self.without(rest, &[classed])))
    }
}
