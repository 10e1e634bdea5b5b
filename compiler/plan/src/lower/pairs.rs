//! Products of bfloat16: which they are, and their right operand in pairs of rows.
//!
//! With a bfloat16 input an operand of a tile product may be rounded once to that type. A product is one of pairs where its right
//! operand has no other real input and no sum (so that nothing is rounded twice on the way to it), and its left operand depends
//! on one. What is stored in other types, or is an input to decisions, keeps its precision.

use attnc_algebra::{AxisId, DType, Node, TermId};

use crate::error::PlanError;
use crate::graph::PlanBufferId;
use crate::loops::expr::{ExprId, Lane};
use crate::loops::{Access, Stmt, View};
use crate::planner::TILE;

use super::contract::Split;
use super::nest::{Binding, Frame, Nest};

impl Nest<'_, '_> {
    /// Whether products of these terms, over the rows and columns of `frame`, are of bfloat16 in pairs.
    pub fn multiplies_pairs(&self, lhs: TermId, rhs: TermId, frame: Frame) -> bool {
        let of_bf16 = |id: attnc_algebra::InputId| self.planner.spec.input(id).dtype == DType::Bf16;
        let any = |t: TermId, test: &dyn Fn(&Node) -> bool| self.planner.find(t, &mut |_, node| test(node));
        let other = |node: &Node| matches!(node, Node::Input { input, .. } if !of_bf16(*input));
        let computed = |node: &Node| node.runs_over_axis() || matches!(node, Node::At { .. } | Node::Order { .. });
        self.program.compute == Lane::F32
            && !self.has_few_rows(frame)
            && self.reads_bf16(lhs)
            && self.reads_bf16(rhs)
            && !any(rhs, &|node| other(node) || computed(node))
    }

    /// Whether a term is of an input of bfloat16.
    pub fn reads_bf16(&self, term: TermId) -> bool {
        let of_bf16 = |id: attnc_algebra::InputId| self.planner.spec.input(id).dtype == DType::Bf16;
        self.planner.find(term, &mut |_, node| matches!(node, Node::Input { input, .. } if of_bf16(*input)))
    }

    /// The left operand of such a product as it is stored, and what it is multiplied by, where that is the same for all rows
    /// and terms: multiplied first it would be rounded to bfloat16 once more. `None` where it is no such product.
    pub fn factor_apart(&mut self, split: &Split, frame: Frame) -> Result<Option<(TermId, ExprId)>, PlanError> {
        let of_frame =
            |t: TermId| [frame.rows, frame.cols].into_iter().flatten().any(|a| self.planner.terms.free(t).contains(a));
        let (stored, factors): (Vec<TermId>, Vec<TermId>) = split.lhs.iter().partition(|t| of_frame(**t));
        let [stored] = stored[..] else { return Ok(None) };
        let narrow = match self.planner.terms.node(stored) {
            Node::Input { input, .. } => self.planner.spec.input(*input).dtype == DType::Bf16,
            _ => false,
        };
        let fixed =
            |t: &TermId| self.planner.terms.free(*t).iter().all(|a| matches!(self.binding(a), Binding::Fixed(_)));
        if !narrow || factors.is_empty() || !factors.iter().all(fixed) {
            return Ok(None);
        }
        let factor = self.planner.product(factors);
        let factor = self.eval(factor, Frame::new(None, None), false)?;
        Ok(Some((stored, self.x().cast(Lane::F32, factor))))
    }

    /// The right operand of such a product.
    pub fn pairs_view(&mut self, term: TermId, frame: Frame) -> Result<Option<View>, PlanError> {
        self.buffered_view(term, frame, true)
    }

    /// Packs the stage's term, over tiles of the longer of `row` and `col`.
    pub fn write_pairs(
        &mut self,
        (lead, row, col): (&[AxisId], AxisId, AxisId),
        blocked: bool,
        target: PlanBufferId,
    ) -> Result<(), PlanError> {
        let (term, frame) = (self.root, Frame::new(Some(row), Some(col)));
        let src = match self.view_of_input(term, frame, false, |dtype| dtype == DType::Bf16)? {
            Some(stored) => stored,
            None => self.lhs_view(term, frame)?,
        };
        let buffer = self.buffer(target, Access::Write);
        let mut index: Vec<ExprId> = lead.iter().map(|a| self.position(*a, frame)).collect();
        let (row_base, col_base) = (self.dim(row).base, self.dim(col).base);
        if blocked {
            let block = self.div(col_base, TILE);
            index.extend([block, row_base, self.x().int(0)]);
        } else {
            index.extend([row_base, col_base]);
        }
        let last = index.len();
        self.program.buffers[buffer.0 as usize].unit_dim = Some(last);
        let dst = View::Pairs { buffer, index, row_dim: last - 2, col_dim: last - 1 };
        let (rows, cols) = self.counts(frame);
        self.emit(Stmt::Pack { dst, src, rows, cols });
        Ok(())
    }

    /// The positions of axes that a task has one of; `None` if some have more.
    pub fn fixed(&self, axes: &[AxisId]) -> Option<Vec<ExprId>> {
        let at = |axis: &AxisId| match self.binding(*axis) {
            Binding::Fixed(at) => Some(*at),
            _ => None,
        };
        axes.iter().map(at).collect()
    }
}
