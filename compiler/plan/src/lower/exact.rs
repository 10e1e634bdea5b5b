//! Sums that decide, as tile products in f64.
//!
//! What decides is summed in f64, in axis order, with every product rounded
//! before it is added. A product of two single-precision values is exact in
//! f64, so that a chain of fused multiply-adds, which is what a tile product
//! is, gives the very same bits. Of other factors the product rounds each term
//! by itself, at half the speed.

use attnc_algebra::{AxisId, DType, Node, TermId, Type};

use crate::error::PlanError;
use crate::loops::expr::{ExprId, Lane};
use crate::loops::{Access, Stmt, View};
use crate::planner::Layout;

use super::nest::{Binding, Frame, Nest};
use super::reduce::Reduction;

impl Nest<'_, '_> {
    /// Lowers an exact sum of products of a factor of the rows and one of the columns; `None` if it is of another kind.
    pub fn lower_exact_contraction(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        let (Some(rows), Some(cols)) = (frame.rows, frame.cols) else { return Ok(None) };
        let [x, y] = self.planner.factors(r.body)[..] else { return Ok(None) };
        if !self.is_true(r.domain) || !self.planner.is_short(r.axis) {
            return Ok(None);
        }
        let along = |nest: &Self, t: TermId, a: AxisId| nest.planner.terms.free(t).contains(a);
        let is = |nest: &Self, t: TermId, own: AxisId, other: AxisId| {
            along(nest, t, own) && !along(nest, t, other) && along(nest, t, r.axis) && nest.is_real(t)
        };
        let (lhs, rhs) = match (is(self, x, rows, cols), is(self, y, cols, rows)) {
            (true, true) => (x, y),
            _ if is(self, y, rows, cols) && is(self, x, cols, rows) => (y, x),
            _ => return Ok(None),
        };
        let single = self.is_single(lhs) && self.is_single(rhs);
        let acc = self.frame_tile("acc", Lane::F64, frame);
        self.with_whole(r.axis, |nest| {
            let lhs = nest.exact_tile(lhs, Frame::new(Some(rows), Some(r.axis)))?;
            let rhs = nest.exact_operand(rhs, Frame::new(Some(r.axis), Some(cols)))?;
            let (rows, cols) = nest.counts(frame);
            let (dst, depth) = (nest.tile_view(acc), nest.dim(r.axis).count);
            nest.emit(match single {
                true => Stmt::product(dst, lhs, rhs, [rows, cols, depth], false),
                false => Stmt::rounded_product(dst, lhs, rhs, [rows, cols, depth]),
            });
            Ok(())
        })?;
        Ok(Some(self.element(acc, frame)))
    }

    fn is_real(&self, term: TermId) -> bool {
        self.planner.terms.ty(term) == Type::Real
    }

    /// Whether a term is an element of an input of at most single precision.
    fn is_single(&self, term: TermId) -> bool {
        let Node::Input { input, .. } = self.planner.terms.node(term) else { return false };
        matches!(self.planner.spec.input(*input).dtype, DType::F32 | DType::F16 | DType::Bf16)
    }

    /// The operand widened into a tile, in the scope of its own axes.
    pub fn exact_tile(&mut self, term: TermId, frame: Frame) -> Result<View, PlanError> {
        let depth = self.depth_of(term);
        let key = self.key(term, frame, true);
        let value = match self.remembered(depth, &key) {
            Some(known) => known,
            None => {
                let value = self.at(depth, |nest| {
                    let value = nest.eval(term, frame, true)?;
                    let tile = nest.as_tile("x", value, frame);
                    Ok(nest.element(tile, frame))
                })?;
                self.remember(depth, key, value);
                value
            }
        };
        let tile = self.as_tile("x", value, frame);
        Ok(self.tile_view(tile))
    }

    /// The right operand: widened once for all tasks into a buffer with unit stride along its columns, where many
    /// read it.
    fn exact_operand(&mut self, term: TermId, frame: Frame) -> Result<View, PlanError> {
        let (Some(rows), Some(cols)) = (frame.rows, frame.cols) else { return self.exact_tile(term, frame) };
        if self.repeats(term) <= 1.0 || !self.may_materialise(term) {
            return self.exact_tile(term, frame);
        }
        let lead: Vec<AxisId> = self.planner.terms.free(term).iter().filter(|a| *a != rows && *a != cols).collect();
        let mut index: Vec<ExprId> = Vec::new();
        for axis in &lead {
            let Binding::Fixed(at) = self.binding(*axis).clone() else { return self.exact_tile(term, frame) };
            index.push(at);
        }
        let (row, col) = (self.dim(rows), self.dim(cols));
        if row.step != 1 || col.step != 1 {
            return self.exact_tile(term, frame);
        }
        index.extend([row.base, col.base]);
        let axes: Vec<AxisId> = lead.iter().copied().chain([rows, cols]).collect();
        let source = self.planner.materialise(term, &Layout::Plain(axes), true)?;
        let buffer = self.buffer(source, Access::Read);
        let (row_dim, col_dim) = (lead.len(), lead.len() + 1);
        self.program.buffers[buffer.0 as usize].unit_dim = Some(col_dim);
        Ok(View::Buffer { buffer, index, row_dim: Some(row_dim), col_dim: Some(col_dim), steps: [1, 1] })
    }
}
