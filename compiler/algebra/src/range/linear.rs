//! Linear forms over integer terms, and inequalities between them.

use std::collections::BTreeMap;

use crate::ops::{BinaryOp, NaryOp, UnaryOp};
use crate::spec::Extents;
use crate::term::{Node, TermId, Terms, Type};

use super::interval::{Interval, Intervals};

/// Atoms of one form, at most; a longer sum is an atom itself.
const ATOM_LIMIT: usize = 32;
/// Coefficients beyond this are not combined further.
const COEFFICIENT_LIMIT: i128 = 1 << 80;
/// Inequalities used in one proof, at most.
const PROOF_DEPTH: usize = 3;
/// Inequalities considered in one proof, at most.
const FACT_LIMIT: usize = 64;

/// `constant + sum of coefficient * atom`, where atoms are terms that are not sums.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Linear {
    pub constant: i128,
    pub atoms: BTreeMap<TermId, i128>,
}

impl Linear {
    pub fn constant(value: i128) -> Self {
        Self { constant: value, atoms: BTreeMap::new() }
    }

    fn atom(id: TermId) -> Self {
        Self { constant: 0, atoms: BTreeMap::from([(id, 1)]) }
    }

    /// `self + factor * other`; `None` if a coefficient grows beyond the limit.
    pub fn plus(&self, other: &Self, factor: i128) -> Option<Self> {
        let mut out = self.clone();
        let term = |c: i128| c.checked_mul(factor);
        out.constant = within(out.constant.checked_add(term(other.constant)?)?)?;
        for (atom, c) in &other.atoms {
            let entry = out.atoms.entry(*atom).or_insert(0);
            *entry = within(entry.checked_add(term(*c)?)?)?;
        }
        out.atoms.retain(|_, c| *c != 0);
        Some(out)
    }

    fn scaled(&self, factor: i128) -> Option<Self> {
        Self::default().plus(self, factor)
    }

    /// Where the form lies when each atom lies in its own interval.
    pub fn interval(&self, intervals: &Intervals) -> Option<Interval> {
        let mut out = Interval::new(self.constant, self.constant)?;
        for (atom, c) in &self.atoms {
            out = out.plus(intervals.get(*atom)?.times(Interval::new(*c, *c)?)?)?;
        }
        Some(out)
    }
}

fn within(value: i128) -> Option<i128> {
    (value.abs() <= COEFFICIENT_LIMIT).then_some(value)
}

/// Linear forms of the terms of one arena at given extents.
pub(super) struct Forms<'a> {
    pub terms: &'a Terms,
    pub extents: &'a Extents,
    known: BTreeMap<TermId, Linear>,
}

impl<'a> Forms<'a> {
    pub fn new(terms: &'a Terms, extents: &'a Extents) -> Self {
        Self { terms, extents, known: BTreeMap::new() }
    }

    /// The form of an integer term.
    pub fn of(&mut self, id: TermId) -> Linear {
        if let Some(form) = self.known.get(&id) {
            return form.clone();
        }
        let form = self.derive(id).filter(|f| f.atoms.len() <= ATOM_LIMIT).unwrap_or_else(|| Linear::atom(id));
        self.known.insert(id, form.clone());
        form
    }

    fn derive(&mut self, id: TermId) -> Option<Linear> {
        match self.terms.node(id) {
            Node::Int(v) => Some(Linear::constant((*v).into())),
            Node::Extent(symbol) => self.extents.get(*symbol).map(|v| Linear::constant(v.into())),
            Node::Unary(UnaryOp::Neg, x) => self.of(*x).scaled(-1),
            Node::Unary(UnaryOp::ToInt | UnaryOp::Floor | UnaryOp::Ceil, x) if self.terms.ty(*x) == Type::Int => {
                Some(self.of(*x))
            }
            Node::Nary(NaryOp::Add, xs) => xs.iter().try_fold(Linear::default(), |sum, x| sum.plus(&self.of(*x), 1)),
            Node::Nary(NaryOp::Mul, xs) => {
                let mut product = Linear::constant(1);
                for x in xs {
                    let factor = self.of(*x);
                    product = match (product.atoms.is_empty(), factor.atoms.is_empty()) {
                        (_, true) => product.scaled(factor.constant)?,
                        (true, _) => factor.scaled(product.constant)?,
                        _ => return None,
                    };
                }
                Some(product)
            }
            _ => None,
        }
    }

    /// The cases in which the predicate holds (or, unless `holds`, does not): each a list of forms that are at most 0.
    pub fn cases(&mut self, predicate: TermId, holds: bool) -> Vec<Vec<Linear>> {
        let nothing = || vec![Vec::new()];
        match (self.terms.node(predicate), holds) {
            (Node::Bool(v), _) if *v != holds => Vec::new(),
            (Node::Unary(UnaryOp::Not, x), _) => self.cases(*x, !holds),
            (Node::Nary(NaryOp::And, parts), true) | (Node::Nary(NaryOp::Or, parts), false) => {
                let mut all = nothing();
                for part in parts {
                    let cases = self.cases(*part, holds);
                    if all.len() * cases.len() > 16 {
                        continue;
                    }
                    all = all.iter().flat_map(|a| cases.iter().map(|c| [&a[..], &c[..]].concat())).collect();
                }
                all
            }
            (Node::Nary(NaryOp::Or, parts), true) | (Node::Nary(NaryOp::And, parts), false) => {
                let cases: Vec<_> = parts.iter().flat_map(|p| self.cases(*p, holds)).collect();
                if cases.len() <= 16 { cases } else { nothing() }
            }
            (Node::Binary(op, x, y), _) if self.terms.ty(*x) != Type::Real && self.terms.ty(*y) != Type::Real => {
                let (x, y) = (self.of(*x), self.of(*y));
                compare(*op, &x, &y, holds).map_or_else(nothing, |facts| vec![facts])
            }
            _ => nothing(),
        }
    }

    /// What the definitions of the atoms in `forms` say, as forms that are at most 0.
    fn definitions(&mut self, forms: &[Linear]) -> Vec<Linear> {
        let mut out: Vec<Linear> = Vec::new();
        let mut open: Vec<TermId> = forms.iter().flat_map(|f| f.atoms.keys().copied()).collect();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(atom) = open.pop() {
            if !seen.insert(atom) || out.len() > FACT_LIMIT {
                continue;
            }
            let facts = self.definition(atom).unwrap_or_default();
            open.extend(facts.iter().flat_map(|f| f.atoms.keys().copied()));
            out.extend(facts);
        }
        out
    }

    fn definition(&mut self, atom: TermId) -> Option<Vec<Linear>> {
        let own = Linear::atom(atom);
        match self.terms.node(atom) {
            Node::Binary(BinaryOp::FloorDiv, x, y) => {
                let divisor = self.of(*y);
                let c = divisor.atoms.is_empty().then_some(divisor.constant).filter(|c| *c > 0)?;
                let x = self.of(*x);
                let below = x.scaled(-1)?.plus(&own, c)?;
                let above = x.plus(&own, -c)?.plus(&Linear::constant(1 - c), 1)?;
                Some(vec![below, above])
            }
            Node::Unary(UnaryOp::Abs, x) => {
                let x = self.of(*x);
                Some(vec![x.plus(&own, -1)?, x.scaled(-1)?.plus(&own, -1)?])
            }
            Node::Nary(NaryOp::Min, xs) => xs.iter().map(|x| own.plus(&self.of(*x), -1)).collect(),
            Node::Nary(NaryOp::Max, xs) => xs.iter().map(|x| self.of(*x).plus(&own, -1)).collect(),
            _ => None,
        }
    }

    /// Whether `target <= 0` follows from `facts` (each at most 0), the atoms' definitions and their intervals.
    pub fn proves(&mut self, target: &Linear, facts: &[Linear], intervals: &Intervals) -> bool {
        let mut all: Vec<Linear> = facts.to_vec();
        all.push(target.clone());
        let definitions = self.definitions(&all);
        all.pop();
        all.extend(definitions);
        all.truncate(FACT_LIMIT);
        bounded(target, &all, intervals, PROOF_DEPTH)
    }
}

/// Whether `target <= 0`, by adding multiples of facts that cancel an atom.
fn bounded(target: &Linear, facts: &[Linear], intervals: &Intervals, depth: usize) -> bool {
    if target.interval(intervals).is_some_and(|v| v.hi <= 0) {
        return true;
    }
    depth > 0
        && facts.iter().any(|fact| {
            target.atoms.iter().any(|(atom, t)| {
                let Some(f) = fact.atoms.get(atom).filter(|f| (**f > 0) == (*t > 0)) else { return false };
                // With f, t of one sign: |f| * target - |t| * fact is at least |f| * target.
                let next = target.scaled(f.abs()).and_then(|scaled| scaled.plus(fact, -t.abs()));
                next.is_some_and(|next| bounded(&next, facts, intervals, depth - 1))
            })
        })
}

/// Forms that are at most 0 where `x op y` holds (or does not).
fn compare(op: BinaryOp, x: &Linear, y: &Linear, holds: bool) -> Option<Vec<Linear>> {
    let one = Linear::constant(1);
    let at_most = |x: &Linear, y: &Linear| x.plus(y, -1);
    let below = |x: &Linear, y: &Linear| at_most(x, y)?.plus(&one, 1);
    match (op, holds) {
        (BinaryOp::Le, true) => Some(vec![at_most(x, y)?]),
        (BinaryOp::Le, false) => Some(vec![below(y, x)?]),
        (BinaryOp::Lt, true) => Some(vec![below(x, y)?]),
        (BinaryOp::Lt, false) => Some(vec![at_most(y, x)?]),
        (BinaryOp::Eq, true) | (BinaryOp::Ne, false) => Some(vec![at_most(x, y)?, at_most(y, x)?]),
        _ => None,
    }
}
