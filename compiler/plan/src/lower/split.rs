//! The keys of an online softmax split over tasks.
//!
//! Few queries give few tasks, however many keys there are. Then a stage of
//! its own leaves maximum, sum and accumulator of each part of the keys, and
//! the parts are joined where the result is wanted (Flash-Decoding, Dao,
//! Haziza, Massa and Sizov, 2023). Parts follow from extents, never from the
//! number of threads, so results do not depend on it.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, TermId};

use crate::error::PlanError;
use crate::loops::expr::Lane;
use crate::loops::{Stmt, TileId};
use crate::planner::{ROWS, TILE};

use super::attend::{AttendState, Online};
use super::nest::{Binding, Frame, Nest};

/// So many tasks are enough: each thread of a small machine has several.
const TASKS: i64 = 16;

/// Keys of a part from which on its state is little beside them.
const PART_KEYS: i64 = 2048;

impl Nest<'_, '_> {
    /// The online softmax over parts of the keys, joined; `None` if there are tasks enough, or few keys.
    pub fn split_keys(
        &mut self,
        axis: AxisId,
        domain: TermId,
        score: TermId,
        value: TermId,
        frame: Frame,
    ) -> Result<Option<(Online, TileId)>, PlanError> {
        let (Some(rows), None, 0) = (frame.rows, self.sequential, self.current_depth()) else { return Ok(None) };
        if frame.cols.is_some_and(|a| !matches!(self.binding(a), Binding::Whole(_))) {
            return Ok(None);
        }
        let Some(most) = self.most_parts(axis, rows) else { return Ok(None) };
        let terms = &self.planner.terms;
        let free = terms.free(domain).union(terms.free(score)).union(terms.free(value));
        let fixed = |nest: &Self, a: AxisId| matches!(nest.binding(a), Binding::Fixed(_));
        let mut lead: Vec<AxisId> =
            free.iter().filter(|a| Some(*a) != frame.cols && *a != axis && *a != rows).collect();
        let count = self.folded.as_ref().and_then(|folded| folded.count);
        let known = count.is_none_or(|count| terms.free(count).iter().all(|a| lead.contains(&a)));
        if !known || !lead.iter().all(|a| fixed(self, *a)) {
            return Ok(None);
        }
        let (parts, domain) = self.part_of_keys(axis, domain, most);
        lead.extend([parts, rows]);
        let term = self.planner.terms.add(Node::Attend { axis, domain, score, value });
        let folded = self.folded.clone();
        let state = self.planner.attend_state(term, None, &lead, (rows, folded), frame.cols)?;
        self.join_parts(parts, &state, frame).map(Some)
    }

    /// Into how many parts keys are split at most.
    fn most_parts(&self, axis: AxisId, rows: AxisId) -> Option<i64> {
        let extent = |a: AxisId| self.planner.hint_extent(a);
        let blocks = extent(rows).div_euclid(ROWS) + i64::from(extent(rows) % ROWS != 0);
        let fixed = self.task_axes().into_iter().filter(|a| *a != rows);
        let tasks = fixed.fold(blocks, |tasks, a| tasks.saturating_mul(extent(a)));
        let wanted = (TASKS + tasks - 1).div_euclid(tasks.max(1));
        let parts = wanted.min(extent(axis).div_euclid(PART_KEYS));
        (parts >= 2).then_some(parts)
    }

    /// An axis of at most so many parts, and the domain within one of them. Parts are of whole tiles, and not small at
    /// any length.
    fn part_of_keys(&mut self, axis: AxisId, domain: TermId, most: i64) -> (AxisId, TermId) {
        let keys = self.planner.spec.axis(axis).extent;
        let terms = &mut self.planner.terms;
        let (row, over) = (terms.int(most.saturating_mul(TILE)), terms.int(most.saturating_mul(TILE) - 1));
        let padded = terms.nary(NaryOp::Add, vec![keys, over]);
        let (tiles, tile) = (terms.binary(BinaryOp::FloorDiv, padded, row), terms.int(TILE));
        let (width, least) = (terms.nary(NaryOp::Mul, vec![tiles, tile]), terms.int(PART_KEYS));
        let (width, minus) = (terms.nary(NaryOp::Max, vec![width, least]), terms.int(-1));
        let padded = terms.nary(NaryOp::Add, vec![keys, width, minus]);
        let count = terms.binary(BinaryOp::FloorDiv, padded, width);
        let parts = self.planner.new_axis("parts", count);
        self.planner.partitions.insert(parts, axis);
        let terms = &mut self.planner.terms;
        let (part, key) = (terms.add(Node::Position(parts)), terms.add(Node::Position(axis)));
        let from = terms.nary(NaryOp::Mul, vec![part, width]);
        let to = terms.nary(NaryOp::Add, vec![from, width]);
        let inside = [terms.binary(BinaryOp::Le, from, key), terms.binary(BinaryOp::Lt, key, to)];
        let mut all = match terms.node(domain).clone() {
            Node::Bool(true) => Vec::new(),
            Node::Nary(NaryOp::And, xs) => xs,
            _ => vec![domain],
        };
        all.extend(inside);
        (parts, terms.nary(NaryOp::And, all))
    }

    /// The state over all keys from those of their parts.
    fn join_parts(&mut self, parts: AxisId, state: &AttendState, frame: Frame) -> Result<(Online, TileId), PlanError> {
        let (online, acc) = self.attend_start(frame);
        let rows = online.rows;
        let [weight, total] = ["part", "weights"].map(|name| self.frame_tile(name, self.program.compute, rows));
        let zero = self.constant(0.0);
        self.map(total, rows, zero);
        let (var, at) = self.var(Lane::I64);
        let body = self.inner(Some((parts, Binding::Fixed(at))), |nest| {
            let top = nest.load_plain(state.max, &state.lead, rows)?;
            nest.map(weight, rows, top);
            let (height, one) = nest.counts(rows);
            // A part weighs what its maximum does among the maxima.
            let (max, sum, alpha) = (online.max, total, online.alpha);
            nest.emit(Stmt::SoftmaxUpdate { scores: weight, max, sum, alpha, masked: None, rows: height, cols: one });
            let mut wide = state.lead.clone();
            wide.extend(frame.cols);
            for (tile, buffer, axes, frame) in
                [(online.sum, state.sum, &state.lead, rows), (acc, state.acc, &wide, frame)]
            {
                let (old, own) = (nest.element(tile, frame), nest.load_plain(buffer, axes, frame)?);
                let (alpha, weight) = (nest.element(online.alpha, rows), nest.element(weight, rows));
                let (old, own) = (nest.x().times(old, alpha), nest.x().times(own, weight));
                let value = nest.x().sum(old, own);
                nest.map(tile, frame, value);
            }
            Ok(())
        })?;
        let (from, to) = (self.x().int(0), self.extent(parts));
        self.emit(Stmt::For { var, from, to, step: 1, body });
        Ok((online, acc))
    }
}
