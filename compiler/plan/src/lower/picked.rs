//! Softmax over blocks of keys that each row picks.
//!
//! Where a domain speaks of blocks of keys, but for spans of columns in each row, whole blocks are seen or not: those of
//! a query's best mean, or named by a rank. A position for each block is then looked at in place of its keys, each row
//! lists the blocks that it picks, and what the spans leave of these is listed as keys ([`super::listed`]). A span of each
//! row that is seen besides, its window or its own block, is traversed in tiles as anywhere else, and left out of the
//! blocks.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, TermId, TermSet};

use std::collections::BTreeMap;

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Additions, Stmt};
use crate::planner::CHUNK;

use super::listed::{Lists, ROOM, Step};
use super::nest::{Binding, Frame, Nest};

/// Blocks of fewer keys save nothing.
const SMALLEST: i64 = 4;

/// A domain in which what is no span of columns in each row speaks of blocks of them alone.
pub(super) struct Picked {
    /// Keys of a block.
    pub size: i64,
    /// The axis of the blocks.
    blocks: AxisId,
    /// Which of them are picked: a predicate over that axis.
    domain: TermId,
    /// What else must hold of the keys: parts that allow one span of columns in each row.
    spans: Vec<TermId>,
    /// A predicate that allows one span in each row, which is seen besides what is picked.
    beside: Option<TermId>,
    /// The domain of the keys without what is seen besides.
    pub keys: TermId,
}

/// The ends of what is listed of a block for each row, and of what is left out of it.
#[derive(Clone, Copy)]
struct Ends {
    within: [ExprId; 2],
    without: Option<[ExprId; 2]>,
}

impl Nest<'_, '_> {
    /// The domain as blocks that rows pick; `None` if it is of another kind.
    pub(super) fn picked(&mut self, axis: AxisId, domain: TermId, frame: Frame) -> Option<Picked> {
        let parts = self.planner.terms.conditions(domain);
        let (mut found, mut of_blocks, mut spans, mut beside) = (None, Vec::new(), Vec::new(), None);
        for part in parts {
            if self.is_one_span(part, axis, frame) {
                spans.push(part);
            } else if self.speaks_of_blocks(part, axis, &mut found) {
                of_blocks.push(part);
            } else if beside.is_none() {
                let (near, far) = self.span_beside_blocks(part, axis, frame, &mut found)?;
                beside = Some(near);
                of_blocks.push(far);
            } else {
                return None;
            }
        }
        // What is seen besides must not have to be picked by another part.
        if beside.is_some() && of_blocks.len() > 1 {
            return None;
        }
        let (quotient, size) = found.filter(|(_, size)| (SMALLEST..=CHUNK).contains(size))?;
        let count = self.planner.blocks_of(axis, size);
        let blocks = self.planner.new_axis("blocks", count);
        let block = self.planner.terms.position(blocks);
        let keys = self.planner.terms.nary(NaryOp::And, spans.iter().chain(&of_blocks).copied().collect());
        let over_blocks = |nest: &mut Self, part: TermId| {
            nest.planner.with_replaced(part, (axis, quotient, block), &mut BTreeMap::new())
        };
        let of_blocks: Vec<TermId> = of_blocks.into_iter().map(|part| over_blocks(self, part)).collect();
        let domain = self.planner.terms.nary(NaryOp::And, of_blocks);
        Some(Picked { size, blocks, domain, spans, beside, keys })
    }

    /// Whether a predicate allows one span of columns in each row.
    fn is_one_span(&mut self, part: TermId, axis: AxisId, frame: Frame) -> bool {
        let mark = self.bindings_mark();
        let dim = self.whole(axis);
        self.bind(axis, Binding::Tile(dim), false);
        let bounds = self.span_alternatives(part, Frame::new(frame.rows, Some(axis)));
        self.bindings_reset(mark);
        bounds.is_some_and(|alternatives| alternatives.len() == 1)
    }

    /// Whether the axis enters a predicate through its quotient alone, the one that was found before.
    fn speaks_of_blocks(&self, part: TermId, axis: AxisId, found: &mut Option<(TermId, i64)>) -> bool {
        let mut quotient = *found;
        let speaks = self.planner.enters_through_quotient(part, axis, &mut quotient, &mut TermSet::new());
        if speaks {
            *found = quotient;
        }
        speaks
    }

    /// A predicate as one span in each row, or blocks.
    fn span_beside_blocks(
        &mut self,
        part: TermId,
        axis: AxisId,
        frame: Frame,
        found: &mut Option<(TermId, i64)>,
    ) -> Option<(TermId, TermId)> {
        let Node::Nary(NaryOp::Or, either) = self.planner.terms.node(part).clone() else { return None };
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for part in either {
            let far_off = self.speaks_of_blocks(part, axis, found);
            if far_off { far.push(part) } else { near.push(part) }
        }
        let [near] = near[..] else { return None };
        let near = self.planner.without_quotients(near, axis);
        if far.is_empty() || !self.is_one_span(near, axis, frame) {
            return None;
        }
        Some((near, self.planner.terms.nary(NaryOp::Or, far)))
    }

    /// The domain of what is seen besides what is picked.
    pub(super) fn domain_beside(&mut self, picked: &Picked) -> Option<TermId> {
        let beside = picked.beside?;
        Some(self.planner.terms.nary(NaryOp::And, picked.spans.iter().copied().chain([beside]).collect()))
    }

    /// Lists the keys of picked blocks; the softmax takes those that no longer fit.
    pub(super) fn list_picked(&mut self, picked: &Picked, step: &Step<'_>) -> Result<(), PlanError> {
        let rows = step.of.online.rows;
        let within = self.spans_of_rows(&picked.spans, step)?;
        let without = match picked.beside {
            Some(beside) => {
                let [from, to] = self.spans_of_rows(&[beside], step)?;
                // Of a row that sees none, nothing is left out.
                let (zero, some) = (self.x().int(0), self.x().binary(BinaryOp::Lt, from, to));
                Some([self.choose(some, from, zero), self.choose(some, to, zero)])
            }
            None => None,
        };
        let ends = Ends { within, without };
        let of_blocks = self.new_lists("blocks", rows);
        let frame = Frame::new(rows.rows, Some(picked.blocks));
        self.for_tiles(picked.blocks, picked.domain, (CHUNK, false), &mut |nest, domain, partial| {
            nest.list_tile(of_blocks, domain, frame, partial, step.listing.share)?;
            nest.when_longer(of_blocks, ROOM - CHUNK, |nest| nest.list_blocks(picked, of_blocks, ends, step))
        })?;
        self.when_longer(of_blocks, 0, |nest| nest.list_blocks(picked, of_blocks, ends, step))
    }

    /// First position and end of what the spans of a domain leave to each row.
    fn spans_of_rows(&mut self, parts: &[TermId], step: &Step<'_>) -> Result<[ExprId; 2], PlanError> {
        let mark = self.bindings_mark();
        let dim = self.whole(step.of.axis);
        self.bind(step.of.axis, Binding::Tile(dim), false);
        let frame = Frame::new(step.of.frame.rows, Some(step.of.axis));
        let all = self.common_span(parts, frame)?;
        self.bindings_reset(mark);
        Ok(self.span_tiles(all, step.of.online.rows))
    }

    /// Lists the keys of the blocks that are listed, a block of each row at a time; no block is listed then.
    fn list_blocks(&mut self, picked: &Picked, of_blocks: Lists, ends: Ends, step: &Step<'_>) -> Result<(), PlanError> {
        let rows = step.of.online.rows;
        let longest = self.element(of_blocks.most, Frame::default());
        let room = self.x().int(ROOM);
        let to = self.x().min(longest, room);
        let (var, at) = self.var(Lane::I64);
        let keys = self.planner.hint_extent(step.of.axis).max(1);
        let body = self.inner(None, |nest| {
            let (row, _) = nest.lane_index(rows);
            let block = nest.x().add(Expr::Tile { tile: of_blocks.list, row, col: at }, Some(Lane::I64));
            let (zero, size) = (nest.x().int(0), nest.x().int(picked.size));
            let start = nest.x().times(block, size);
            let end = nest.x().sum(start, size);
            let count = nest.element(of_blocks.count, rows);
            let some = nest.x().binary(BinaryOp::Lt, at, count);
            let [low, high] = ends.within;
            let (from, end) = (nest.x().max(start, low), nest.x().min(end, high));
            let end = nest.choose(some, end, zero);
            let pieces = match ends.without {
                Some([first, last]) => vec![[from, nest.x().min(end, first)], [nest.x().max(from, last), end]],
                None => vec![[from, end]],
            };
            for piece in pieces {
                let spans = nest.span_ends(piece, rows);
                let (first, rows, cols) = (zero, nest.counts(rows).0, nest.extent(step.of.axis));
                let (added, Lists { list, count, most }) = (Additions::Spans(spans), step.lists);
                let share = picked.size as f64 / keys as f64;
                nest.emit(Stmt::List { list, count, most, added, first, rows, cols, share });
            }
            nest.when_longer(step.lists, ROOM - CHUNK, |nest| nest.over_lists(step))
        })?;
        let from = self.x().int(0);
        self.emit(Stmt::For { var, from, to, step: 1, body });
        self.empty_lists(of_blocks, rows);
        Ok(())
    }
}
