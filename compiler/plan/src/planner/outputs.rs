//! What is planned for, and in which order.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, DType, Node, ReduceOp, TermId, Type};

use crate::error::PlanError;
use crate::graph::{PlanBufferId, Role};
use crate::joint::joint;

use super::diagonals::Diagonals;
use super::{Layout, Planner};

/// An output and the term it holds.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub term: TermId,
    pub axes: Vec<AxisId>,
    pub target: PlanBufferId,
}

impl Planner<'_> {
    pub(super) fn outputs(&mut self) -> Result<(), PlanError> {
        let outputs: Vec<Wanted> = (0..self.spec.outputs.len()).map(|k| self.declare_output(k)).collect();
        let roots: Vec<TermId> = outputs.iter().map(|o| o.term).collect();
        self.ranks = self.compared_ranks(&roots);
        self.sums = self.sums_of(&roots);
        self.joint = joint(&self.terms, &roots, |t| self.is_summary(t));
        // A log-sum-exp may come with the attention over the same scores: that goes first.
        let (lse, others): (Vec<Wanted>, Vec<Wanted>) =
            outputs.into_iter().partition(|wanted| self.is_logsumexp(wanted.term));
        self.by_the_way.clone_from(&lse);
        let (read, others): (Vec<Wanted>, Vec<Wanted>) =
            others.into_iter().partition(|wanted| self.is_read_logsumexp(wanted.term).is_some());
        self.read_later = read.iter().filter_map(|wanted| self.is_read_logsumexp(wanted.term)).collect();
        for wanted in others.into_iter().chain(read) {
            self.output(&wanted)?;
        }
        for wanted in lse {
            if self.by_the_way.iter().any(|w| w.target == wanted.target) {
                self.output(&wanted)?;
            }
        }
        Ok(())
    }

    fn is_logsumexp(&self, term: TermId) -> bool {
        matches!(self.terms.node(term), Node::Reduce { op: ReduceOp::LogSumExp, .. })
    }

    /// The log-sum-exp that a term reads at other positions, and its axes, that which is read first.
    fn is_read_logsumexp(&self, term: TermId) -> Option<(TermId, Vec<AxisId>)> {
        let Node::At { axis, body, .. } = *self.terms.node(term) else { return None };
        let others = self.terms.free(body).iter().filter(|a| *a != axis);
        self.is_logsumexp(body).then(|| (body, [axis].into_iter().chain(others).collect()))
    }

    fn declare_output(&mut self, k: usize) -> Wanted {
        let mut output = self.spec.outputs[k].clone();
        output.term = self.attends_joined(output.term);
        let shape = output.axes.iter().map(|a| self.axis_extent(*a)).collect();
        let dtype = match self.terms.ty(output.term) {
            Type::Real => self.compute,
            Type::Int => DType::I64,
            Type::Bool => DType::Bool,
        };
        let target = self.add_buffer(&output.name, dtype, shape, Role::Output(k as u32));
        let term = self.segments_in_scores(output.term, &mut BTreeMap::new());
        let term = self.divisions_as_factors(term, &mut BTreeMap::new());
        let term = self.quotients_apart(term, &mut BTreeMap::new());
        let term = Diagonals::new(self).apart(term);
        let term = self.powers_by_logarithms(term, &mut BTreeMap::new());
        Wanted { term, axes: output.axes.clone(), target }
    }

    fn output(&mut self, wanted: &Wanted) -> Result<(), PlanError> {
        let axes = wanted.axes.clone();
        self.stage(wanted.term, axes.clone(), Layout::Plain(axes), false, wanted.target)
    }

    /// Whether a log-sum-exp is still to be written.
    pub fn is_wanted_by_the_way(&self, term: TermId) -> bool {
        self.by_the_way.iter().map(|w| w.term).chain(self.read_later.iter().map(|(t, _)| *t)).any(|t| t == term)
    }

    /// Takes the log-sum-exps of a term off the lists of those to be written, where their axes fit: outputs, and what
    /// outputs read, which gets its buffer now.
    pub fn take_by_the_way(&mut self, term: TermId, fits: impl Fn(&[AxisId]) -> bool) -> Vec<Wanted> {
        let (mut now, later): (Vec<Wanted>, Vec<Wanted>) =
            self.by_the_way.drain(..).partition(|w| w.term == term && fits(&w.axes));
        self.by_the_way = later;
        let is_wanted = |(wanted, axes): &(TermId, Vec<AxisId>)| *wanted == term && fits(axes);
        if let Some(at) = self.read_later.iter().position(is_wanted) {
            let (term, axes) = self.read_later.remove(at);
            let key = self.key(term, &axes, super::LayoutKind::Plain, false);
            let shape = axes.iter().map(|a| self.axis_extent(*a)).collect();
            let name = format!("t{}", self.plan.buffers.len());
            let target = self.add_buffer(&name, self.compute, shape, Role::Intermediate);
            self.made.insert(key, target);
            now.push(Wanted { term, axes, target });
        }
        now
    }
}
