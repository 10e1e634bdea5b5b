//! Max-plus products: calls of microkernels.

use attnc_plan::loops::{Lane, Stmt};
use cranelift_codegen::ir::InstBuilder;

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::function::Lower;

impl Lower<'_, '_> {
    pub(crate) fn max_plus(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::MaxPlus { dst, lhs, rhs, rows, cols, depth, least, masked } = stmt else { return Ok(()) };
        let kernel = match (self.program.product_lane(dst), *least) {
            (Some(Lane::F64), false) => Microkernel::MaxPlusF64,
            (Some(Lane::F64), true) => Microkernel::MinPlusF64,
            (_, false) => Microkernel::MaxPlusF32,
            (_, true) => Microkernel::MinPlusF32,
        };
        let [rows, cols, depth] = self.lengths([*rows, *cols, *depth])?;
        let [dst, lhs, rhs] = [self.matrix(dst)?, self.matrix(lhs)?, self.matrix(rhs)?];
        let (none, one) = (self.int(0), self.int(1));
        let masked = match masked {
            Some(masked) => {
                let holds = self.scalar(*masked)?;
                self.builder.ins().select(holds, one, none)
            }
            None => none,
        };
        let from = [lhs.base, lhs.row_stride, lhs.col_stride, rhs.base, rhs.row_stride];
        self.call(kernel, &[[rows, cols, depth].as_slice(), &from, &[dst.base, dst.row_stride, masked]].concat());
        Ok(())
    }
}
