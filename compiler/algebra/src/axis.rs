//! Identities of axes, extent symbols and inputs, and sets of axes.
//!
//! Owns the index types of the tables in [`crate::Spec`]; knows nothing of
//! what the indices stand for.

/// Index of an axis in [`crate::Spec::axes`]. One axis has one extent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AxisId(pub u32);

/// Index of an extent symbol (`N`, `D`, …) in [`crate::Spec::symbols`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SymbolId(pub u32);

/// Index of an input tensor in [`crate::Spec::inputs`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InputId(pub u32);

/// A set of axes, kept sorted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AxisSet(Vec<AxisId>);

impl AxisSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `axis` is a member.
    #[inline]
    pub fn contains(&self, axis: AxisId) -> bool {
        self.0.binary_search(&axis).is_ok()
    }

    /// Adds `axis`; no effect if it is a member.
    pub fn insert(&mut self, axis: AxisId) {
        if let Err(at) = self.0.binary_search(&axis) {
            self.0.insert(at, axis);
        }
    }

    /// Removes `axis`; no effect if it is not a member.
    pub fn remove(&mut self, axis: AxisId) {
        if let Ok(at) = self.0.binary_search(&axis) {
            self.0.remove(at);
        }
    }

    /// All members of `self` or `other`.
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.extend(other);
        out
    }

    /// Adds the members of `other`.
    pub fn extend(&mut self, other: &Self) {
        other.iter().for_each(|axis| self.insert(axis));
    }

    /// The members of both.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.iter().filter(|a| other.contains(*a)).collect())
    }

    /// The members of `self` that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.iter().filter(|a| !other.contains(*a)).collect())
    }

    /// `self` without `axis`.
    pub fn without(&self, axis: AxisId) -> Self {
        Self(self.iter().filter(|a| *a != axis).collect())
    }

    /// Whether every member of `self` is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|a| other.contains(a))
    }

    /// Whether no axis is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.iter().all(|a| !other.contains(a))
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = AxisId> + '_ {
        self.0.iter().copied()
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<AxisId> for AxisSet {
    fn from_iter<I: IntoIterator<Item = AxisId>>(axes: I) -> Self {
        let mut out: Vec<AxisId> = axes.into_iter().collect();
        out.sort_unstable();
        out.dedup();
        Self(out)
    }
}
