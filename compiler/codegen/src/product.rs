//! Products of tiles, dot products along lines, and the matrices that they are of: calls of microkernels.

use attnc_algebra::DType;
use attnc_plan::loops::{Lane, Masked, Open, Stmt, TileId, View};
use cranelift_codegen::ir::InstBuilder;

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::function::Lower;
use crate::statement::Matrix;

/// The microkernels of products of one type.
struct Products {
    product: Microkernel,
    /// Of weights with zeros.
    sparse: Microkernel,
    /// Of weights with zeros outside of spans.
    of_spans: Microkernel,
    /// Where something is open.
    open: Microkernel,
    /// In spans.
    in_spans: Microkernel,
}

impl Products {
    const SINGLE: Self = Self {
        product: Microkernel::ProductF32,
        sparse: Microkernel::ProductSparseF32,
        of_spans: Microkernel::ProductOfSpansF32,
        open: Microkernel::ProductOpenF32,
        in_spans: Microkernel::ProductSpansF32,
    };
    const DOUBLE: Self = Self {
        product: Microkernel::ProductF64,
        sparse: Microkernel::ProductSparseF64,
        of_spans: Microkernel::ProductOfSpansF64,
        open: Microkernel::ProductOpenF64,
        in_spans: Microkernel::ProductSpansF64,
    };
    /// Neither masked nor open.
    const ROUNDED: Self = Self { product: Microkernel::ProductRoundedF64, ..Self::DOUBLE };
}

/// Products.
impl Lower<'_, '_> {
    /// A product; `scale` has the factors of the rows of what it adds to.
    pub(crate) fn product(&mut self, stmt: &Stmt, scale: Option<TileId>) -> Result<(), CodegenError> {
        let Stmt::Product { dst, lhs, rhs, rows, cols, depth, accumulate, masked, open, rounded, .. } = stmt else {
            return Ok(());
        };
        if let View::Pairs { .. } = rhs {
            return self.product_pairs(stmt, scale);
        }
        let [rows, cols, depth] = self.lengths([*rows, *cols, *depth])?;
        let (dst_view, rhs_view) = (dst, rhs);
        let [dst, lhs, rhs] = [self.matrix(dst)?, self.matrix(lhs)?, self.matrix(rhs)?];
        let accumulate = self.int(i64::from(*accumulate));
        let scale = scale.map(|tile| self.tile(tile).0);
        let scale = scale.unwrap_or_else(|| self.int(0));
        let args = [
            rows,
            cols,
            depth,
            lhs.base,
            lhs.row_stride,
            lhs.col_stride,
            rhs.base,
            rhs.row_stride,
            dst.base,
            dst.row_stride,
            accumulate,
            scale,
        ];
        let kernels = match self.program.product_lane(dst_view) {
            Some(Lane::F64) if *rounded => Products::ROUNDED,
            Some(Lane::F64) => Products::DOUBLE,
            _ => Products::SINGLE,
        };
        match (open, masked, self.narrow_product(rhs_view)) {
            (Open::All, None, Some(narrow)) => self.call(narrow, &args[..args.len() - 1]),
            (Open::All, None, None) => self.call(kernels.product, &args),
            (Open::Where, ..) => self.call(kernels.open, &args),
            (Open::Spans(spans), ..) => {
                let spans = self.row_spans(spans);
                self.call(kernels.in_spans, &[&args[..args.len() - 2], &spans].concat())
            }
            (Open::All, Some(Masked { cond, spans }), _) => {
                let cond = self.scalar(*cond)?;
                return self.either(
                    cond,
                    |s| {
                        match spans.as_ref().map(|spans| s.row_spans(spans)) {
                            Some(spans) => s.call(kernels.of_spans, &[args.as_slice(), &spans].concat()),
                            None => s.call(kernels.sparse, &args),
                        };
                        Ok(())
                    },
                    |s| {
                        s.call(kernels.product, &args);
                        Ok(())
                    },
                );
            }
        };
        Ok(())
    }

    /// The product with a right operand that is stored narrow; `None` if it is not.
    pub(crate) fn narrow_product(&self, rhs: &View) -> Option<Microkernel> {
        let View::Buffer { buffer, .. } = rhs else { return None };
        match self.program.buffers[buffer.0 as usize].dtype {
            DType::Bf16 => Some(Microkernel::ProductBf16),
            DType::F16 => Some(Microkernel::ProductF16),
            DType::I8 => Some(Microkernel::ProductI8),
            _ => None,
        }
    }

    pub(crate) fn dots(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::Dots { dst, lhs, rhs, rows, cols, depth } = stmt else { return Ok(()) };
        let View::Buffer { buffer, .. } = rhs else { return Err(self.malformed("lines are those of a buffer")) };
        let kernel = match self.program.buffers[buffer.0 as usize].dtype {
            DType::F32 => Microkernel::DotsF32,
            DType::Bf16 => Microkernel::DotsBf16,
            DType::F16 => Microkernel::DotsF16,
            DType::I8 => Microkernel::DotsI8,
            _ => return Err(self.malformed("lines of this type are not multiplied")),
        };
        let [rows, cols, depth] = self.lengths([*rows, *cols, *depth])?;
        let [dst, lhs, rhs] = [self.matrix(dst)?, self.matrix(lhs)?, self.matrix(rhs)?];
        let (from, to) = ([lhs.base, lhs.row_stride, rhs.base, rhs.row_stride], [dst.base, dst.row_stride]);
        self.call(kernel, &[[rows, cols, depth].as_slice(), &from, &to].concat());
        Ok(())
    }

    pub(crate) fn product_tanh(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::ProductTanh { dst, weight, weight_rows, lhs, rhs, rows, cols, depth, accumulate } = stmt else {
            return Ok(());
        };
        let [rows, cols, depth] = self.lengths([*rows, *cols, *depth])?;
        let [dst, weight, lhs, rhs] = [self.matrix(dst)?, self.matrix(weight)?, self.matrix(lhs)?, self.matrix(rhs)?];
        let weight_rows = if *weight_rows { weight.row_stride } else { self.int(0) };
        let accumulate = self.int(i64::from(*accumulate));
        let args = [
            rows,
            cols,
            depth,
            weight.base,
            weight_rows,
            weight.col_stride,
            lhs.base,
            lhs.row_stride,
            lhs.col_stride,
            rhs.base,
            rhs.row_stride,
            dst.base,
            dst.row_stride,
            accumulate,
        ];
        self.call(Microkernel::ProductTanhF32, &args);
        Ok(())
    }

    pub(crate) fn matrix(&mut self, view: &View) -> Result<Matrix, CodegenError> {
        match view {
            View::Tile { tile, row, col, transposed } => {
                let [row, col] = self.scalars([*row, *col])?;
                let (base, row_stride) = self.tile(*tile);
                let size = self.program.tiles[tile.0 as usize].lane.size();
                let flat = self.builder.ins().imul(row, row_stride);
                let flat = self.builder.ins().iadd(flat, col);
                let bytes = self.builder.ins().imul_imm_s(flat, size);
                let base = self.builder.ins().iadd(base, bytes);
                let one = self.int(1);
                let (row_stride, col_stride) = if *transposed { (one, row_stride) } else { (row_stride, one) };
                Ok(Matrix { base, row_stride, col_stride })
            }
            View::Buffer { buffer, index, row_dim, col_dim, steps } => {
                let reference = self.buffer(*buffer);
                let size = self.program.buffers[buffer.0 as usize].dtype.size() as i64;
                let mut base = reference.base;
                for (dim, id) in index.iter().enumerate() {
                    let (at, stride) = (self.scalar(*id)?, self.stride(*buffer, reference, dim));
                    let flat = self.builder.ins().imul(at, stride);
                    let bytes = self.builder.ins().imul_imm_s(flat, size);
                    base = self.builder.ins().iadd(base, bytes);
                }
                let mut along = |dim: &Option<usize>, step: i64| match (dim, step) {
                    (Some(dim), 1) => self.stride(*buffer, reference, *dim),
                    (Some(dim), step) => {
                        let stride = self.stride(*buffer, reference, *dim);
                        self.builder.ins().imul_imm_s(stride, step)
                    }
                    (None, _) => self.int(0),
                };
                Ok(Matrix { base, row_stride: along(row_dim, steps[0]), col_stride: along(col_dim, steps[1]) })
            }
            View::Pairs { .. } => Err(self.malformed("pairs are the right operand of a product")),
        }
    }
}
