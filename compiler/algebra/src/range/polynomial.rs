//! Polynomials over extents, and what holds of them whatever the extents are.

use std::collections::BTreeMap;

use crate::axis::SymbolId;

/// Coefficients beyond this are unknown.
const LARGEST: i128 = 1 << 80;
/// Terms of one polynomial, at most.
const TERM_LIMIT: usize = 32;
/// Factors of one term, at most.
const DEGREE_LIMIT: usize = 4;

/// What a polynomial is over.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Atom {
    /// An extent, at least 1.
    Extent(SymbolId),
    /// The floor quotient by a constant above 1 of what it does not divide.
    Quotient(Polynomial, i128),
}

/// A sum of products of extents with whole coefficients, none of them 0.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Polynomial {
    terms: BTreeMap<Vec<Atom>, i128>,
}

impl Polynomial {
    pub fn constant(value: i128) -> Self {
        let terms = if value == 0 { BTreeMap::new() } else { BTreeMap::from([(Vec::new(), value)]) };
        Self { terms }
    }

    pub fn extent(symbol: SymbolId) -> Self {
        Self::atom(Atom::Extent(symbol))
    }

    fn atom(atom: Atom) -> Self {
        Self { terms: BTreeMap::from([(vec![atom], 1)]) }
    }

    /// Its value, if it is a constant.
    pub fn as_constant(&self) -> Option<i128> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Vec::new()).copied(),
            _ => None,
        }
    }

    /// `self + factor * other`; `None` if it grows beyond the limits.
    pub fn plus(&self, other: &Self, factor: i128) -> Option<Self> {
        let mut out = self.clone();
        for (product, c) in &other.terms {
            out.add(product.clone(), c.checked_mul(factor)?)?;
        }
        Some(out)
    }

    pub fn times(&self, other: &Self) -> Option<Self> {
        let mut out = Self::default();
        for (x, a) in &self.terms {
            for (y, b) in &other.terms {
                let mut product = [&x[..], &y[..]].concat();
                product.sort();
                out.add(product, a.checked_mul(*b)?)?;
            }
        }
        Some(out)
    }

    fn add(&mut self, product: Vec<Atom>, c: i128) -> Option<()> {
        let sum = self.terms.get(&product).unwrap_or(&0).checked_add(c).filter(|sum| sum.abs() <= LARGEST)?;
        if sum == 0 {
            self.terms.remove(&product);
        } else {
            self.terms.insert(product.clone(), sum);
        }
        (self.terms.len() <= TERM_LIMIT && product.len() <= DEGREE_LIMIT).then_some(())
    }

    /// Floor quotient and remainder by what is at least 1 whatever the extents are.
    pub fn divided(&self, by: &Self) -> Option<(Self, Self)> {
        let Some(m) = by.as_constant() else {
            // Less than the divisor, and not below 0.
            let inside = self.least()? >= 0 && by.plus(self, -1)?.least()? >= 1;
            return inside.then(|| (Self::default(), self.clone()));
        };
        if m < 1 {
            return None;
        }
        let (mut quotient, mut rest) = (Self::default(), Self::default());
        for (product, c) in &self.terms {
            quotient.add(product.clone(), c.div_euclid(m))?;
            rest.add(product.clone(), c.rem_euclid(m))?;
        }
        quotient.terms.retain(|_, c| *c != 0);
        if rest.as_constant().is_none() {
            quotient = quotient.plus(&Self::atom(Atom::Quotient(rest, m)), 1)?;
        }
        let remainder = self.plus(&quotient, -m)?;
        Some((quotient, remainder))
    }

    /// A number that it never lies below, if one follows from its coefficients.
    pub fn least(&self) -> Option<i128> {
        let mut shifted = Self::default();
        for (product, c) in &self.terms {
            // Each factor as its least value and what it is more.
            let mut expanded = BTreeMap::from([(Vec::new(), *c)]);
            for atom in product {
                let least = atom.least()?;
                for (kept, c) in std::mem::take(&mut expanded) {
                    let with = [&kept[..], std::slice::from_ref(atom)].concat();
                    *expanded.entry(kept).or_insert(0) += c.checked_mul(least)?;
                    *expanded.entry(with).or_insert(0) += c;
                }
            }
            for (product, c) in expanded {
                shifted.add(product, c)?;
            }
        }
        let constant = shifted.terms.remove(&Vec::new()).unwrap_or(0);
        shifted.terms.values().all(|c| *c > 0).then_some(constant)
    }

    /// Whether it is at least `bound` whatever the extents are.
    pub fn is_at_least(&self, bound: i128) -> bool {
        self.least().is_some_and(|least| least >= bound)
    }

    /// As text, extents by their names.
    pub fn text(&self, names: &dyn Fn(SymbolId) -> String) -> String {
        let mut out = String::new();
        let (constants, products): (Vec<_>, Vec<_>) = self.terms.iter().partition(|(product, _)| product.is_empty());
        for (product, c) in products.into_iter().chain(constants) {
            let size = c.unsigned_abs();
            let alone = product.len() == 1 && size == 1;
            let factors: Vec<String> = product.iter().map(|atom| atom.text(names, alone)).collect();
            let coefficient = (size != 1 || factors.is_empty()).then(|| size.to_string());
            let product = coefficient.into_iter().chain(factors).collect::<Vec<String>>().join(" * ");
            let sign = match (out.is_empty(), *c < 0) {
                (true, true) => "-",
                (true, false) => "",
                (false, true) => " - ",
                (false, false) => " + ",
            };
            out += &format!("{sign}{product}");
        }
        if out.is_empty() { "0".to_string() } else { out }
    }
}

impl Atom {
    fn least(&self) -> Option<i128> {
        match self {
            Self::Extent(_) => Some(1),
            Self::Quotient(of, by) => Some(of.least()?.div_euclid(*by)),
        }
    }

    fn text(&self, names: &dyn Fn(SymbolId) -> String, alone: bool) -> String {
        match self {
            Self::Extent(symbol) => names(*symbol),
            Self::Quotient(of, by) if alone => format!("({}) div {by}", of.text(names)),
            Self::Quotient(of, by) => format!("(({}) div {by})", of.text(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n() -> Polynomial {
        Polynomial::extent(SymbolId(0))
    }

    fn shown(p: &Polynomial) -> String {
        p.text(&|symbol| ["N", "D"][symbol.0 as usize].to_string())
    }

    #[test]
    fn bounds_hold_at_all_extents() {
        let d = Polynomial::extent(SymbolId(1));
        let less = |p: &Polynomial, c: i128| p.plus(&Polynomial::constant(c), -1).expect("small");
        assert_eq!(less(&n(), 1).least(), Some(0));
        assert_eq!(n().times(&d).and_then(|p| p.plus(&n(), -1)).and_then(|p| p.least()), Some(0), "N D - N");
        assert_eq!(d.plus(&n(), -1).and_then(|p| p.least()), None, "D - N");
        assert_eq!(shown(&less(&n().times(&n()).expect("small"), 3)), "N * N - 3");
    }

    #[test]
    fn quotients_are_one_atom_whatever_is_added_to_them() {
        let by = Polynomial::constant(64);
        let plus = |c: i128| n().plus(&Polynomial::constant(c), 1).expect("small");
        let (last, rest) = plus(-1).divided(&by).expect("a quotient");
        let (blocks, _) = plus(63).divided(&by).expect("a quotient");
        assert_eq!(blocks.plus(&last, -1), Some(Polynomial::constant(1)));
        assert_eq!(shown(&last), "(N + 63) div 64 - 1");
        assert_eq!(blocks.least(), Some(1));
        assert_eq!(last.times(&by).and_then(|p| p.plus(&rest, 1)), Some(plus(-1)));
        let inside = plus(-1).divided(&n());
        assert_eq!(inside, Some((Polynomial::default(), plus(-1))));
    }
}
