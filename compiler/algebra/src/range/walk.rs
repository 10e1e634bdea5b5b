//! The walk over what must lie somewhere: every index and every divisor of integers, under the guards around it.
//!
//! Knows which predicates hold where a term is evaluated, and nothing of how a proof goes.

use std::collections::BTreeSet;

use crate::axis::{AxisId, InputId};
use crate::ops::{BinaryOp, NaryOp};
use crate::term::{Node, TermId, Terms, Type};

/// Terms visited under different guards, at most; beyond it guards are not used.
const VISIT_LIMIT: usize = 20_000;

/// Predicates that hold, or that do not.
pub(super) type Guards = BTreeSet<(TermId, bool)>;

/// What must lie somewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Site {
    /// The index of an input along its axis number `axis`; `read` is the term that reads it.
    Index { read: TermId, input: InputId, axis: usize, index: TermId },
    /// The divisor of `quotient`, a quotient or remainder of integers.
    Divisor { quotient: TermId, by: TermId },
}

impl Site {
    /// What must lie there directly in a term.
    fn of_term(terms: &Terms, read: TermId) -> Vec<Self> {
        match terms.node(read) {
            Node::Input { input, index } => {
                let indices = index.iter().enumerate();
                indices.map(|(axis, index)| Self::Index { read, input: *input, axis, index: *index }).collect()
            }
            Node::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, _, by) if terms.ty(read) == Type::Int => {
                vec![Self::Divisor { quotient: read, by: *by }]
            }
            _ => Vec::new(),
        }
    }
}

/// A walk over the sites for which something is open.
pub(super) struct Walk<'a> {
    terms: &'a Terms,
    is_open: &'a dyn Fn(Site) -> bool,
    /// Terms under which a site is open.
    risky: Vec<bool>,
    seen: BTreeSet<(TermId, Guards)>,
}

impl<'a> Walk<'a> {
    pub fn new(terms: &'a Terms, is_open: &'a dyn Fn(Site) -> bool) -> Self {
        let mut risky: Vec<bool> = Vec::with_capacity(terms.len());
        for at in 0..terms.len() {
            let id = TermId(at as u32);
            let own = Site::of_term(terms, id).into_iter().any(is_open);
            risky.push(own || terms.node(id).operands().iter().any(|t| risky[t.0 as usize]));
        }
        Self { terms, is_open, risky, seen: BTreeSet::new() }
    }

    /// Shows `see` every open site under a term, with the guards that hold there.
    pub fn visit(&mut self, id: TermId, guards: &Guards, see: &mut dyn FnMut(Site, &Guards)) {
        if !self.risky[id.0 as usize] {
            return;
        }
        let nothing = Guards::new();
        let guards = if self.seen.len() < VISIT_LIMIT { guards } else { &nothing };
        if !self.seen.insert((id, guards.clone())) {
            return;
        }
        let node = self.terms.node(id);
        match node {
            Node::Select(condition, a, b) => {
                self.visit(*condition, guards, see);
                self.visit(*a, &with(guards, *condition, true), see);
                self.visit(*b, &with(guards, *condition, false), see);
            }
            Node::Nary(op @ (NaryOp::And | NaryOp::Or), parts) => self.visit_connective(*op, parts, guards, see),
            Node::Reduce { axis, domain, body, .. } | Node::Softmax { axis, domain, body } => {
                self.visit_bound(*axis, Some(*domain), &[*body], guards, see);
            }
            Node::Attend { axis, domain, score, value } => {
                self.visit_bound(*axis, Some(*domain), &[*score, *value], guards, see);
            }
            Node::Scan { axis, .. } => self.visit_bound(*axis, None, &node.operands(), guards, see),
            Node::Order { axis, key } => self.visit_bound(*axis, None, &[*key], guards, see),
            Node::At { axis, index, body } => {
                self.visit(*index, guards, see);
                self.visit_bound(*axis, None, &[*body], guards, see);
            }
            node => node.operands().into_iter().for_each(|t| self.visit(t, guards, see)),
        }
        for site in Site::of_term(self.terms, id) {
            if (self.is_open)(site) {
                see(site, guards);
            }
        }
    }

    /// An operand that cannot fail, or an earlier one, may guard the others.
    fn visit_connective(&mut self, op: NaryOp, parts: &[TermId], guards: &Guards, see: &mut dyn FnMut(Site, &Guards)) {
        let mut inner = guards.clone();
        let (risky, safe): (Vec<TermId>, Vec<TermId>) = parts.iter().partition(|p| self.risky[p.0 as usize]);
        inner.extend(safe.into_iter().map(|p| (p, op == NaryOp::And)));
        for part in risky {
            self.visit(part, &inner, see);
            inner.insert((part, op == NaryOp::And));
        }
    }

    /// What runs over `axis`: guards about that axis from outside mean another position of it.
    fn visit_bound(
        &mut self,
        axis: AxisId,
        domain: Option<TermId>,
        bodies: &[TermId],
        guards: &Guards,
        see: &mut dyn FnMut(Site, &Guards),
    ) {
        let terms = self.terms;
        let outer: Guards = guards.iter().filter(|(t, _)| !terms.free(*t).contains(axis)).copied().collect();
        let inner = domain.map_or_else(|| outer.clone(), |domain| with(&outer, domain, true));
        domain.into_iter().for_each(|domain| self.visit(domain, &outer, see));
        bodies.iter().for_each(|body| self.visit(*body, &inner, see));
    }
}

fn with(guards: &Guards, predicate: TermId, holds: bool) -> Guards {
    let mut out = guards.clone();
    out.insert((predicate, holds));
    out
}
