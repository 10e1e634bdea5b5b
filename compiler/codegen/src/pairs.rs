//! Products with a right operand of bfloat16 in pairs of rows, and the packing of pairs.

use attnc_algebra::DType;
use attnc_plan::loops::{Stmt, TileId, View};
use cranelift_codegen::ir::{InstBuilder, Value, types};

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::function::Lower;
use crate::statement::Matrix;

impl Lower<'_, '_> {
    /// A product with pairs; `scale` has the factors of the rows of what it adds to.
    pub(crate) fn product_pairs(&mut self, stmt: &Stmt, scale: Option<TileId>) -> Result<(), CodegenError> {
        let Stmt::Product { dst, lhs, rhs, rows, cols, depth, accumulate, masked, open, .. } = stmt else {
            return Ok(());
        };
        let [rows, cols, depth] = self.lengths([*rows, *cols, *depth])?;
        let [dst, lhs] = [self.matrix(dst)?, self.matrix(lhs)?];
        let (rhs, first) = self.words(rhs)?;
        let mut flags = self.int(i64::from(*accumulate) + 4 * i64::from(*open));
        if let Some(masked) = masked {
            let masked = self.scalar(*masked)?;
            let masked = self.builder.ins().uextend(types::I64, masked);
            let masked = self.builder.ins().imul_imm_s(masked, 2);
            flags = self.builder.ins().bor(flags, masked);
        }
        let scale = scale.map(|tile| self.tile(tile).0);
        let scale = scale.unwrap_or_else(|| self.int(0));
        let left = [lhs.base, lhs.row_stride, lhs.col_stride];
        let right = [rhs.base, rhs.row_stride, dst.base, dst.row_stride, flags, scale];
        self.call(Microkernel::ProductPairs, &[[rows, cols, depth, first].as_slice(), &left, &right].concat());
        Ok(())
    }

    /// A matrix into pairs.
    pub(crate) fn pack(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::Pack { dst, src, rows, cols } = stmt else { return Ok(()) };
        let of_bf16 = |view: &View| matches!(view, View::Buffer { buffer, .. } if self.program.buffers[buffer.0 as usize].dtype == DType::Bf16);
        let kernel = if of_bf16(src) { Microkernel::PackPairsBf16 } else { Microkernel::PackPairsF32 };
        let [rows, cols] = self.lengths([*rows, *cols])?;
        let (src, (dst, _)) = (self.matrix(src)?, self.words(dst)?);
        self.call(kernel, &[rows, cols, dst.base, dst.row_stride, src.base, src.row_stride, src.col_stride]);
        Ok(())
    }

    /// Pairs as a matrix of words, from the pair with the first row on, and which of the pair that row is.
    fn words(&mut self, view: &View) -> Result<(Matrix, Value), CodegenError> {
        let View::Pairs { buffer, index, row_dim, .. } = view else {
            return Err(self.malformed("pairs are a view of their own"));
        };
        let row = self.scalar(index[*row_dim])?;
        let first = self.builder.ins().band_imm_s(row, 1);
        let mut at = Vec::new();
        for (dim, id) in index.iter().enumerate() {
            at.push(if dim == *row_dim { self.builder.ins().sshr_imm_s(row, 1) } else { self.scalar(*id)? });
        }
        let base = self.line(*buffer, &at);
        let reference = self.buffer(*buffer);
        let row_stride = self.stride(*buffer, reference, *row_dim);
        let col_stride = self.int(1);
        Ok((Matrix { base, row_stride, col_stride }, first))
    }
}
