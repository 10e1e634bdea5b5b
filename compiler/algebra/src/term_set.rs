//! Sets of terms of one arena, for walks that visit each term once.

use crate::term::TermId;

/// A set of terms: a bit for each number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TermSet(Vec<u64>);

impl TermSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a term; whether it was no member before.
    #[inline]
    pub fn insert(&mut self, term: TermId) -> bool {
        let (word, bit) = (term.0 as usize / 64, 1 << (term.0 % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    /// Whether a term is a member.
    #[inline]
    pub fn contains(&self, term: TermId) -> bool {
        self.0.get(term.0 as usize / 64).is_some_and(|word| word & 1 << (term.0 % 64) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_new_once() {
        let mut set = TermSet::new();
        for number in [0, 63, 64, 1000] {
            assert!(!set.contains(TermId(number)));
            assert!(set.insert(TermId(number)));
            assert!(!set.insert(TermId(number)));
            assert!(set.contains(TermId(number)));
        }
        assert!(!set.contains(TermId(65)));
    }
}
