//! What several stages need: reductions that get a buffer for it, and sums that a stage computes besides its own.

use std::collections::BTreeSet;

use attnc_algebra::{AxisId, Node, ReduceOp, TermId};

use super::{Inlined, Planner, SUMMARY};
use crate::graph::{PlanBufferId, Role};

/// Work that is done again for each stage from which on a value gets a buffer.
const WORTH_SHARING: f64 = 524_288.0;

/// Stages from which on a value that all of them compute gets a buffer.
const SHARERS: usize = 3;

/// Points for each element of its value from which on a reduction is worth a buffer for fewer stages.
const HEAVY: f64 = 16_384.0;

/// As [`SHARERS`], of heavy reductions.
const HEAVY_SHARERS: usize = 2;

impl Planner<'_> {
    /// All sums below the roots.
    pub(super) fn sums_of(&self, roots: &[TermId]) -> Vec<TermId> {
        let mut sums = BTreeSet::new();
        for root in roots {
            self.find(*root, &mut |term, node| {
                if matches!(node, Node::Reduce { op: ReduceOp::Sum, .. }) {
                    sums.insert(term);
                }
                false
            });
        }
        sums.into_iter().collect()
    }

    /// Sums over the axis and domain of `sum` that have no buffer yet: a stage that loops over them for `sum` may
    /// compute them as well.
    pub fn sums_beside(&mut self, sum: TermId) -> Vec<(TermId, TermId)> {
        let Node::Reduce { op: ReduceOp::Sum, axis, domain, .. } = *self.terms.node(sum) else { return Vec::new() };
        let mut beside = Vec::new();
        for term in self.sums.clone() {
            match *self.terms.node(term) {
                Node::Reduce { axis: a, domain: d, body, .. } if (a, d) == (axis, domain) && term != sum => {
                    let axes: Vec<AxisId> = self.terms.free(term).iter().collect();
                    let key = self.key(term, &axes, super::LayoutKind::Plain, false);
                    if self.fits_a_buffer(term) && !self.made.contains_key(&key) {
                        beside.push((term, body));
                    }
                }
                _ => {}
            }
        }
        beside
    }

    /// A buffer for a term that a stage under construction writes besides its own, with the order of its axes.
    pub fn buffer_beside(&mut self, term: TermId) -> (PlanBufferId, Vec<AxisId>) {
        let axes: Vec<AxisId> = self.terms.free(term).iter().collect();
        let shape = axes.iter().map(|a| self.axis_extent(*a)).collect();
        let name = format!("t{}", self.plan.buffers.len());
        let buffer = self.add_buffer(&name, self.compute, shape, Role::Intermediate);
        let key = self.key(term, &axes, super::LayoutKind::Plain, false);
        self.made.insert(key, buffer);
        (buffer, axes)
    }

    /// Whether a reduction was found to be needed by several stages. If not, notes that `stage` computes it.
    pub fn is_shared(&mut self, term: TermId, stage: u32, exact: bool) -> bool {
        let key = (self.form(term, exact).number, exact);
        if self.shared.contains(&key) {
            return true;
        }
        if let Some(inlined) = self.inlined.get_mut(&key) {
            inlined.stages.insert(stage);
            return false;
        }
        let (stages, volume, work) = (BTreeSet::from([stage]), self.volume(self.terms.free(term)), self.work(term));
        self.inlined.insert(key, Inlined { stages, volume, work });
        false
    }

    /// Small reductions that several stages computed, each for itself, at some cost.
    pub(super) fn repeated(&self) -> BTreeSet<(u32, bool)> {
        let largest = self.largest_input();
        let repeated = self.inlined.iter().filter(|(_, one)| {
            let again = one.work * (one.stages.len() as f64 - 1.0);
            let heavy = one.work >= HEAVY * one.volume;
            let sharers = if heavy { HEAVY_SHARERS } else { SHARERS };
            one.stages.len() >= sharers && again >= WORTH_SHARING && one.volume * SUMMARY <= largest
        });
        repeated.map(|(key, _)| *key).collect()
    }
}
