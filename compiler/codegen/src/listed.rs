//! Lists of lines, and products with them: calls of microkernels.

use attnc_plan::loops::{Additions, Stmt};

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::function::Lower;

impl Lower<'_, '_> {
    pub(crate) fn list(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::List { list, count, most, added, first, rows, cols, .. } = stmt else { return Ok(()) };
        let room = self.program.tiles[list.0 as usize].cols;
        let [rows, cols, room] = self.lengths([*rows, *cols, room])?;
        let first = self.scalar(*first)?;
        let (base, stride) = self.tile(*list);
        let [count, most] = [count, most].map(|t| self.tile(*t).0);
        let (kernel, [from, to]) = match added {
            Additions::Spans(spans) => (Microkernel::ListSpans, spans.tiles().map(|t| self.tile(t).0)),
            Additions::Open(tile) => {
                let (base, stride) = self.tile(*tile);
                (Microkernel::ListOpenF32, [base, stride])
            }
        };
        self.call(kernel, &[rows, cols, base, stride, room, count, most, from, to, first]);
        Ok(())
    }

    pub(crate) fn drop_unweighted(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::DropUnweighted { weights, list, count, rows, cols } = stmt else { return Ok(()) };
        let [rows, cols] = self.lengths([*rows, *cols])?;
        let ((weights, weights_stride), (list, list_stride), (count, _)) =
            (self.tile(*weights), self.tile(*list), self.tile(*count));
        let lists = [weights, weights_stride, list, list_stride, count];
        self.call(Microkernel::DropUnweightedF32, &[[rows, cols].as_slice(), &lists].concat());
        Ok(())
    }

    pub(crate) fn listed(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let (kernel, of, dst, rows, listed, width) = match stmt {
            Stmt::DotsListed { dst, of, rows, cols, depth, .. } => {
                (Microkernel::DotsListedF32, of, dst, rows, cols, depth)
            }
            Stmt::SumListed { dst, of, rows, cols, depth, .. } => {
                (Microkernel::SumListedF32, of, dst, rows, depth, cols)
            }
            _ => return Ok(()),
        };
        let [rows, listed, width, limit] = self.lengths([*rows, *listed, *width, of.limit])?;
        let lines = self.matrix(&of.lines)?;
        let (left, left_stride) = match stmt {
            Stmt::DotsListed { lhs, .. } => {
                let lhs = self.matrix(lhs)?;
                (lhs.base, lhs.row_stride)
            }
            Stmt::SumListed { weights, .. } => self.tile(*weights),
            _ => return Ok(()),
        };
        let ((list, list_stride), (count, _)) = (self.tile(of.list), self.tile(of.count));
        let (dst, dst_stride) = self.tile(*dst);
        let lists = [list, list_stride, count];
        let matrices = [left, left_stride, lines.base, lines.row_stride, dst, dst_stride];
        self.call(kernel, &[[rows, listed, width, limit].as_slice(), &lists, &matrices].concat());
        Ok(())
    }
}
