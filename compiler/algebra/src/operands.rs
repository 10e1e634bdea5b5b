//! The operands of a node, without memory of their own.

use std::ops::Deref;

use crate::term::{Carry, Node, TermId};

/// Operands of a node that is not n-ary, at most.
const FEW: usize = 3;

/// The operands of a node, in order: a slice of terms.
#[derive(Clone, Copy, Debug)]
pub enum Operands<'a> {
    /// Those of a node that keeps a list.
    Listed(&'a [TermId]),
    /// The first so many of these.
    Few([TermId; FEW], usize),
}

impl Operands<'_> {
    fn few<const N: usize>(terms: [TermId; N]) -> Self {
        let mut all = [TermId(0); FEW];
        all[..N].copy_from_slice(&terms);
        Self::Few(all, N)
    }
}

impl Deref for Operands<'_> {
    type Target = [TermId];

    #[inline]
    fn deref(&self) -> &[TermId] {
        match self {
            Self::Listed(terms) => terms,
            Self::Few(terms, count) => &terms[..*count],
        }
    }
}

impl<'a> IntoIterator for Operands<'a> {
    type Item = TermId;
    type IntoIter = IntoIter<'a>;

    #[inline]
    fn into_iter(self) -> IntoIter<'a> {
        IntoIter { next: 0, end: self.len(), operands: self }
    }
}

/// The operands by value.
#[derive(Clone, Debug)]
pub struct IntoIter<'a> {
    operands: Operands<'a>,
    next: usize,
    end: usize,
}

impl Iterator for IntoIter<'_> {
    type Item = TermId;

    #[inline]
    fn next(&mut self) -> Option<TermId> {
        let at = self.next;
        (at < self.end).then(|| {
            self.next += 1;
            self.operands[at]
        })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl DoubleEndedIterator for IntoIter<'_> {
    fn next_back(&mut self) -> Option<TermId> {
        (self.next < self.end).then(|| {
            self.end -= 1;
            self.operands[self.end]
        })
    }
}

impl ExactSizeIterator for IntoIter<'_> {}

impl Node {
    /// The operands, in order.
    #[inline]
    pub fn operands(&self) -> Operands<'_> {
        match self {
            Self::Real(_) | Self::Int(_) | Self::Bool(_) | Self::Extent(_) | Self::Position(_) => Operands::few([]),
            Self::Input { index, .. } => Operands::Listed(index),
            Self::Nary(_, xs) => Operands::Listed(xs),
            Self::Unary(_, x) | Self::Order { key: x, .. } => Operands::few([*x]),
            Self::Binary(_, x, y) => Operands::few([*x, *y]),
            Self::Reduce { domain, body, .. } | Self::Softmax { domain, body, .. } => Operands::few([*domain, *body]),
            Self::Scan { carry: Carry::Attend(score), decay, body, .. } => Operands::few([*decay, *body, *score]),
            Self::Scan { decay, body, .. } => Operands::few([*decay, *body]),
            Self::At { index, body, .. } => Operands::few([*index, *body]),
            Self::Select(c, a, b) => Operands::few([*c, *a, *b]),
            Self::Attend { domain, score, value, .. } => Operands::few([*domain, *score, *value]),
        }
    }
}
