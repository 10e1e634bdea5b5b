//! Counts: sums of one number over the positions that a domain allows.
//!
//! Where a row is allowed a span of columns, or two, their lengths are the count. Elsewhere a tile of ones is masked as
//! a tile of weights is, and summed; a tile that is full counts its width. Counts of a frame with columns, and of the
//! keys that come before another ([`super::rank`]), are none of this.

use attnc_algebra::{Node, ReduceOp};

use crate::error::PlanError;
use crate::loops::expr::{ExprId, Lane};
use crate::loops::{Stmt, TileId};
use crate::planner::CHUNK;

use super::nest::{Binding, Frame, Nest};
use super::reduce::Reduction;

impl Nest<'_, '_> {
    /// Lowers a sum of one number over the positions that a row's domain allows; `None` if it is of another kind.
    pub fn lower_count(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let Node::Int(each) = *self.planner.terms.node(r.body) else { return Ok(None) };
        let own = |nest: &Self| frame.rows.is_some_and(|a| nest.planner.terms.free(r.domain).contains(a));
        if r.op != ReduceOp::Sum || frame.cols.is_some() || !own(self) {
            return Ok(None);
        }
        let each = self.x().int(each);
        if let Some(length) = self.span_lengths(r, frame)? {
            let count = self.frame_tile("count", Lane::I64, frame);
            let value = self.x().times(length, each);
            self.map(count, frame, value);
            return Ok(Some(self.element(count, frame)));
        }
        if self.planner.terms.node(r.domain).runs_over_axis() || self.planner.has_reduction(r.domain) {
            return Ok(None);
        }
        let count = self.frame_tile("count", Lane::I64, frame);
        let none = self.x().int(0);
        self.map(count, frame, none);
        self.for_tiles(r.axis, r.domain, (CHUNK, false), &mut |nest, domain, partial| {
            nest.count_step(Reduction { domain, ..r }, each, frame, count, partial)
        })?;
        Ok(Some(self.element(count, frame)))
    }

    /// How many columns the domain allows each row, if they are one span or two: a lane expression over the rows.
    fn span_lengths(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let inner = Frame::new(frame.rows, Some(r.axis));
        self.with_whole(r.axis, |nest| {
            let Some(spans) = nest.spans_of(r.domain, inner)? else { return Ok(None) };
            let (zero, all) = (nest.x().int(0), nest.counts(inner).1);
            let ends: Vec<[ExprId; 2]> = spans
                .iter()
                .map(|span| {
                    let [from, to] = nest.ends_of(span, (zero, all));
                    [nest.x().max(from, zero), nest.x().min(to, all)]
                })
                .collect();
            let length = |nest: &mut Self, [from, to]: [ExprId; 2]| {
                let length = nest.x().difference(to, from);
                nest.x().max(length, zero)
            };
            Ok(match ends[..] {
                [one] => Some(length(nest, one)),
                [one, other] => {
                    let [one, other] = [one, other].map(|ends| nest.span_tiles(ends, frame));
                    let [hull, gap] = nest.hull_and_gap(one, other, all);
                    let (hull, gap) = (length(nest, hull), length(nest, gap));
                    Some(nest.x().difference(hull, gap))
                }
                _ => None,
            })
        })
    }

    /// Adds what the domain allows on the current tile.
    fn count_step(
        &mut self,
        r: Reduction,
        each: ExprId,
        frame: Frame,
        count: TileId,
        partial: Option<ExprId>,
    ) -> Result<(), PlanError> {
        let inner = Frame::new(frame.rows, Some(r.axis));
        let compute = self.program.compute;
        let add = |nest: &mut Self, more: ExprId| {
            let (old, more) = (nest.element(count, frame), nest.x().times(more, each));
            let new = nest.x().sum(old, more);
            nest.map(count, frame, new);
        };
        let whole = self.inner(None, |nest| {
            let width = nest.counts(inner).1;
            add(nest, width);
            Ok(())
        })?;
        let Some(partial) = partial else {
            whole.into_iter().for_each(|stmt| self.emit(stmt));
            return Ok(());
        };
        // Bound again inside, so that nothing is computed for a full tile.
        let along: Binding = self.binding(r.axis).clone();
        let cut = self.inner(Some((r.axis, along)), |nest| {
            let (one, yes) = (nest.constant(1.0), nest.x().truth(true));
            let ones = nest.own_tile(one, inner);
            nest.mask_tile(ones, r.domain, inner, yes, 0.0)?;
            let allowed = nest.frame_tile("allowed", compute, frame);
            let value = nest.element(ones, inner);
            let (rows, cols) = nest.counts(inner);
            nest.emit(Stmt::RowReduce { dst: allowed, op: r.op, rows, cols, domain: None, value, accumulate: false });
            let allowed = nest.element(allowed, frame);
            let allowed = nest.x().cast(Lane::I64, allowed);
            add(nest, allowed);
            Ok(())
        })?;
        self.emit(Stmt::If { cond: partial, then: cut, otherwise: whole });
        Ok(())
    }
}
