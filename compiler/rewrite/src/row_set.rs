//! Counting sets of integers: intervals met with residue classes.
//!
//! Owns [`RowSet`], the positions of one row that a domain allows, written as
//! a signed sum of weighted arithmetic progressions; so unions, complements
//! and products are exact, and data-dependent atoms enter as expected shares.

/// Bound on the summands of a set; beyond it the smallest are merged into a share.
const MAX_PARTS: usize = 96;

/// Bound on the pairs of summands that a product of two sets goes through.
const MAX_PRODUCT: usize = 1024;

/// `weight` times the members of `lo..=hi` that are `residue` modulo `modulus`.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Part {
    lo: i64,
    hi: i64,
    modulus: i64,
    residue: i64,
    weight: f64,
}

impl Part {
    fn count(&self) -> f64 {
        if self.hi < self.lo {
            return 0.0;
        }
        let first = self.lo + (self.residue - self.lo).rem_euclid(self.modulus);
        if first > self.hi { 0.0 } else { self.weight * ((self.hi - first) / self.modulus + 1) as f64 }
    }

    fn meet(&self, other: &Self) -> Option<Self> {
        let (lo, hi) = (self.lo.max(other.lo), self.hi.min(other.hi));
        let (modulus, residue) = meet_residues((self.modulus, self.residue), (other.modulus, other.residue))?;
        (lo <= hi).then_some(Self { lo, hi, modulus, residue, weight: self.weight * other.weight })
    }
}

/// The residue class in both classes.
fn meet_residues(a: (i64, i64), b: (i64, i64)) -> Option<(i64, i64)> {
    let ((m, r), (n, s)) = if a.0 >= b.0 { (a, b) } else { (b, a) };
    if m % n == 0 {
        return (r.rem_euclid(n) == s).then_some((m, r));
    }
    let lcm = m / gcd(m, n) * n;
    // At most n steps of the larger modulus meet the smaller one's class.
    (0..n).map(|step| r + step * m).find(|x| x.rem_euclid(n) == s).map(|x| (lcm, x.rem_euclid(lcm)))
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A set of positions in one row, as an indicator function.
#[derive(Clone, PartialEq, Debug)]
pub struct RowSet {
    len: i64,
    parts: Vec<Part>,
}

impl RowSet {
    /// All of `0..len`.
    pub fn full(len: i64) -> Self {
        Self::interval(len, 0, len - 1)
    }

    /// Nothing.
    pub fn empty(len: i64) -> Self {
        Self { len, parts: Vec::new() }
    }

    /// Everything or nothing.
    pub fn constant(len: i64, all: bool) -> Self {
        if all { Self::full(len) } else { Self::empty(len) }
    }

    /// `lo..=hi` within the row.
    pub fn interval(len: i64, lo: i64, hi: i64) -> Self {
        let part = Part { lo: lo.max(0), hi: hi.min(len - 1), modulus: 1, residue: 0, weight: 1.0 };
        Self { len, parts: if part.lo <= part.hi { vec![part] } else { Vec::new() } }
    }

    /// The positions that are `residue` modulo `modulus`.
    pub fn residues(len: i64, modulus: i64, residue: i64) -> Self {
        let part = Part { lo: 0, hi: len - 1, modulus, residue: residue.rem_euclid(modulus), weight: 1.0 };
        Self { len, parts: vec![part] }
    }

    /// The positions whose residue is among `residues`, which are distinct.
    pub fn residue_classes(len: i64, modulus: i64, residues: impl IntoIterator<Item = i64>) -> Self {
        let part = |r: i64| Part { lo: 0, hi: len - 1, modulus, residue: r.rem_euclid(modulus), weight: 1.0 };
        Self { len, parts: residues.into_iter().map(part).collect() }
    }

    /// An unknown set that holds this share of the row.
    pub fn share(len: i64, share: f64) -> Self {
        let mut set = Self::full(len);
        set.parts.iter_mut().for_each(|p| p.weight = share.clamp(0.0, 1.0));
        set
    }

    /// The members of both.
    pub fn meet(&self, other: &Self) -> Self {
        if self.parts.len() * other.parts.len() > MAX_PRODUCT {
            let share = |set: &Self| set.count() / set.len.max(1) as f64;
            return Self::share(self.len, share(self) * share(other));
        }
        let parts = self.parts.iter().flat_map(|p| other.parts.iter().filter_map(|q| p.meet(q))).collect();
        Self { len: self.len, parts }.bounded()
    }

    /// The positions not in the set.
    pub fn complement(&self) -> Self {
        let mut parts = Self::full(self.len).parts;
        parts.extend(self.parts.iter().map(|p| Part { weight: -p.weight, ..*p }));
        Self { len: self.len, parts }.bounded()
    }

    /// The members of either.
    pub fn join(&self, other: &Self) -> Self {
        let mut parts = self.parts.clone();
        parts.extend(&other.parts);
        parts.extend(self.meet(other).parts.iter().map(|p| Part { weight: -p.weight, ..*p }));
        Self { len: self.len, parts }.bounded()
    }

    /// Expected number of members.
    pub fn count(&self) -> f64 {
        self.parts.iter().map(Part::count).sum::<f64>().max(0.0)
    }

    /// Merges equal parts, and gives up exactness when there are too many.
    fn bounded(mut self) -> Self {
        let mut merged: Vec<Part> = Vec::with_capacity(self.parts.len());
        for part in self.parts.drain(..) {
            let same =
                |p: &&mut Part| (p.lo, p.hi, p.modulus, p.residue) == (part.lo, part.hi, part.modulus, part.residue);
            match merged.iter_mut().find(same) {
                Some(p) => p.weight += part.weight,
                None => merged.push(part),
            }
        }
        merged.retain(|p| p.weight != 0.0);
        self.parts = merged;
        if self.parts.len() > MAX_PARTS {
            return Self::share(self.len, self.count() / self.len.max(1) as f64);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unions_of_strides_and_bands_count_each_position_once() {
        let band = RowSet::interval(100, 10, 20);
        let stride = RowSet::residues(100, 4, 1);
        let expected = (0..100).filter(|j| (10..=20).contains(j) || j % 4 == 1).count();
        assert_eq!(band.join(&stride).count(), expected as f64);
        assert_eq!(band.join(&stride).complement().count(), 100.0 - expected as f64);
    }

    #[test]
    fn residue_classes_meet_by_the_chinese_remainder() {
        let both = RowSet::residues(1000, 6, 1).meet(&RowSet::residues(1000, 4, 3));
        assert_eq!(both.count(), (0..1000).filter(|j| j % 6 == 1 && j % 4 == 3).count() as f64);
    }
}
