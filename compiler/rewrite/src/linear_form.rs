//! Integer terms as linear forms over atoms.
//!
//! Owns [`LinearForm`]: whole multiples of integer sub-terms plus a constant.
//! An atom is a position, an extent or any other integer term that is not
//! itself a sum or a multiple. Read [`crate::domain`] next.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, NaryOp, Node, Spec, TermId, Terms, Type, UnaryOp};

/// `constant + sum of coefficient * atom`; no coefficient is 0.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct LinearForm {
    /// Coefficients by atom.
    pub atoms: BTreeMap<TermId, i64>,
    /// The constant.
    pub constant: i64,
}

impl LinearForm {
    /// The constant `value`.
    pub fn constant(value: i64) -> Self {
        Self { atoms: BTreeMap::new(), constant: value }
    }

    /// The linear form of an integer term; `None` on overflow.
    pub fn of(terms: &Terms, term: TermId) -> Option<Self> {
        match terms.node(term) {
            Node::Int(v) => Some(Self::constant(*v)),
            Node::Unary(UnaryOp::Neg, x) => Self::of(terms, *x)?.times(-1),
            Node::Unary(UnaryOp::ToInt, x) if terms.ty(*x) == Type::Int => Self::of(terms, *x),
            Node::Nary(NaryOp::Add, xs) => {
                xs.iter().try_fold(Self::default(), |sum, x| sum.plus(&Self::of(terms, *x)?))
            }
            Node::Nary(NaryOp::Mul, xs) => Self::of_product(terms, term, xs),
            _ => Some(Self::atom(term)),
        }
    }

    fn of_product(terms: &Terms, term: TermId, xs: &[TermId]) -> Option<Self> {
        let mut factor = 1i64;
        let mut rest = Vec::new();
        for x in xs {
            let form = Self::of(terms, *x)?;
            if form.atoms.is_empty() { factor = factor.checked_mul(form.constant)? } else { rest.push(form) }
        }
        match rest.as_slice() {
            [] => Some(Self::constant(factor)),
            [one] => one.times(factor),
            _ => Some(Self::atom(term)),
        }
    }

    /// `1 * term`
    pub fn atom(term: TermId) -> Self {
        Self { atoms: BTreeMap::from([(term, 1)]), constant: 0 }
    }

    /// `self + other`; `None` on overflow.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let mut out = self.clone();
        out.constant = out.constant.checked_add(other.constant)?;
        for (atom, c) in &other.atoms {
            let entry = out.atoms.entry(*atom).or_insert(0);
            *entry = entry.checked_add(*c)?;
            if *entry == 0 {
                out.atoms.remove(atom);
            }
        }
        Some(out)
    }

    /// `self * by`; `None` on overflow.
    pub fn times(&self, by: i64) -> Option<Self> {
        if by == 0 {
            return Some(Self::default());
        }
        let mut out = Self::constant(self.constant.checked_mul(by)?);
        for (atom, c) in &self.atoms {
            out.atoms.insert(*atom, c.checked_mul(by)?);
        }
        Some(out)
    }

    /// `self - other`; `None` on overflow.
    pub fn minus(&self, other: &Self) -> Option<Self> {
        self.plus(&other.times(-1)?)
    }

    /// `self` with `atom` replaced by a form; `None` on overflow.
    pub fn substitute(&self, atom: TermId, by: &Self) -> Option<Self> {
        let Some(c) = self.atoms.get(&atom) else { return Some(self.clone()) };
        let mut out = self.clone();
        out.atoms.remove(&atom);
        out.plus(&by.times(*c)?)
    }

    /// The axes read through plain positions, with their coefficients; `None`
    /// if an atom other than a position has free axes.
    pub fn positions(&self, terms: &Terms) -> Option<BTreeMap<AxisId, i64>> {
        let mut out = BTreeMap::new();
        for (atom, c) in &self.atoms {
            match terms.node(*atom) {
                Node::Position(axis) => {
                    out.insert(*axis, *c);
                }
                _ if terms.free(*atom).is_empty() => {}
                _ => return None,
            }
        }
        Some(out)
    }

    /// Whether the form is exactly `position(up) - position(down) + constant`.
    pub fn is_difference(&self, terms: &Terms, up: AxisId, down: AxisId, constant: i64) -> bool {
        let of = |wanted: AxisId| {
            self.atoms.iter().find(|(t, _)| matches!(terms.node(**t), Node::Position(a) if *a == wanted)).map(|e| *e.1)
        };
        self.atoms.len() == 2 && self.constant == constant && of(up) == Some(1) && of(down) == Some(-1)
    }

    /// Whether the form is provably at least 0: positions lie in their axes and extents are at least 1.
    pub fn is_nonnegative(&self, spec: &Spec) -> bool {
        self.least(spec).is_some_and(|least| {
            let floor: i64 = least.atoms.values().copied().fold(least.constant, i64::saturating_add);
            least.atoms.values().all(|c| *c > 0) && floor >= 0
        })
    }

    /// A lower bound over extent symbols alone.
    fn least(&self, spec: &Spec) -> Option<Self> {
        let mut out = Self::constant(self.constant);
        for (atom, c) in &self.atoms {
            let bound = match spec.terms.node(*atom) {
                Node::Position(_) if *c > 0 => continue,
                Node::Position(axis) => {
                    LinearForm::of(&spec.terms, spec.axis(*axis).extent)?.plus(&Self::constant(-1))?
                }
                Node::Extent(_) => Self::atom(*atom),
                _ => return None,
            };
            out = out.plus(&bound.times(*c)?)?;
        }
        Some(out)
    }
}
