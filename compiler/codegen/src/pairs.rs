//! Products with a right operand of bfloat16 in pairs of rows, attention by two of them, and the packing of pairs.

use attnc_algebra::DType;
use attnc_plan::loops::{ExprId, Open, Stmt, TileId, View};
use cranelift_codegen::ir::{InstBuilder, Value, types};

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::function::Lower;
use crate::statement::Matrix;

/// Statements that compute scores by a product with pairs, their softmax, and add the product of the weights with other
/// pairs; nothing else reads the scores.
pub(crate) struct Attend<'a> {
    /// The condition under which scores are computed in another way, and that way.
    masked: Option<(ExprId, &'a [Stmt])>,
    /// Softmax, scaling, and the product with the values.
    rest: &'a [Stmt],
    /// Scores, and what they and the values are of: the left operand, keys, values, the sums.
    views: [&'a View; 5],
    /// Rows, keys, terms of a score, columns of the values.
    counts: [ExprId; 4],
    /// What the scores are multiplied by.
    factor: Option<ExprId>,
    /// Maximum, sum and what sums are scaled by.
    running: [TileId; 3],
}

impl<'a> Lower<'a, '_> {
    /// The first statements of a body as one, and what follows them.
    pub(crate) fn attend(&self, body: &'a [Stmt]) -> Option<(Attend<'a>, &'a [Stmt])> {
        let (all, after) = body.split_at_checked(4)?;
        let [first, rest @ ..] = all else { return None };
        let (scores, masked) = match first {
            Stmt::If { cond, then, otherwise } => match &otherwise[..] {
                [scores] => (scores, Some((*cond, &then[..]))),
                _ => return None,
            },
            scores => (scores, None),
        };
        let Stmt::Product { dst, lhs, rhs: keys, depth: terms, masked: None, open: Open::All, factor, .. } = scores
        else {
            return None;
        };
        let [Stmt::SoftmaxUpdate { scores: tile, max, sum, alpha, rows, cols, .. }, scale, values] = rest else {
            return None;
        };
        let Stmt::Product { dst: sums, lhs: weights, rhs, rows: m, cols: e, depth, masked: barred, .. } = values else {
            return None;
        };
        let in_pairs = |view: &View| matches!(view, View::Pairs { .. });
        let same = (m, depth) == (rows, cols) && self.whole_tile(weights) == Some(*tile);
        let scaled = self.scale_of_product(scale, Some(values)) == Some(*alpha);
        let where_open = barred.map(|masked| masked.cond) == masked.map(|(cond, _)| cond);
        let product = in_pairs(keys) && in_pairs(rhs) && self.fills(scores, *tile, [*rows, *cols]);
        // The other way begins anew too.
        let anew = masked.is_none_or(|(_, then)| then.first().is_some_and(|x| self.fills(x, *tile, [*rows, *cols])));
        let mentions = |body| self.program.exprs.mentions(body, *tile);
        let apart = || mentions(all) == mentions(&self.program.body);
        let attend = Attend {
            masked,
            rest,
            views: [dst, lhs, keys, rhs, sums],
            counts: [*rows, *cols, *terms, *e],
            factor: *factor,
            running: [*max, *sum, *alpha],
        };
        (same && scaled && where_open && product && anew && apart()).then_some((attend, after))
    }

    /// Whether a statement writes all of some rows and columns of a tile, and reads none.
    fn fills(&self, stmt: &Stmt, tile: TileId, size: [ExprId; 2]) -> bool {
        let Stmt::Product { dst, lhs, rows, cols, accumulate: false, open: Open::All, .. } = stmt else { return false };
        [*rows, *cols] == size && self.whole_tile(dst) == Some(tile) && self.whole_tile(lhs) != Some(tile)
    }

    /// The tile that is viewed from its first element on, as it lies.
    pub(crate) fn whole_tile(&self, view: &View) -> Option<TileId> {
        let View::Tile { tile, row, col, transposed: false } = view else { return None };
        let first = |at: &ExprId| self.program.exprs.as_int(*at) == Some(0);
        (first(row) && first(col)).then_some(*tile)
    }

    /// The statements as one call, or where the scores are computed in another way, one by one.
    pub(crate) fn attend_pairs(&mut self, attend: &Attend<'a>) -> Result<(), CodegenError> {
        let Some((cond, then)) = attend.masked else { return self.together(attend) };
        let cond = self.scalar(cond)?;
        self.either(
            cond,
            |s| {
                s.block(then)?;
                s.block(attend.rest)
            },
            |s| s.together(attend),
        )
    }

    fn together(&mut self, attend: &Attend<'_>) -> Result<(), CodegenError> {
        let [scores, lhs, keys, values, sums] = attend.views;
        let mut args = self.lengths(attend.counts)?.to_vec();
        let [lhs, scores, sums] = [self.matrix(lhs)?, self.matrix(scores)?, self.matrix(sums)?];
        args.extend([lhs.base, lhs.row_stride, lhs.col_stride]);
        for view in [keys, values] {
            let (words, first) = self.words(view)?;
            args.extend([words.base, words.row_stride, first]);
        }
        args.extend([scores.base, scores.row_stride]);
        args.extend(attend.running.map(|tile| self.tile(tile).0));
        args.extend([sums.base, sums.row_stride, self.factor(attend.factor)?]);
        self.call(Microkernel::AttendPairs, &args);
        Ok(())
    }
}

impl Lower<'_, '_> {
    /// A product with pairs; `scale` has the factors of the rows of what it adds to.
    pub(crate) fn product_pairs(&mut self, stmt: &Stmt, scale: Option<TileId>) -> Result<(), CodegenError> {
        let Stmt::Product { dst, lhs, rhs, rows, cols, depth, accumulate, masked, open, factor, .. } = stmt else {
            return Ok(());
        };
        let [rows, cols, depth] = self.lengths([*rows, *cols, *depth])?;
        let [dst, lhs] = [self.matrix(dst)?, self.matrix(lhs)?];
        let (rhs, first) = self.words(rhs)?;
        let mut flags = self.int(i64::from(*accumulate) + 4 * i64::from(*open == Open::Where));
        if let Some(masked) = masked {
            let masked = self.scalar(masked.cond)?;
            let masked = self.builder.ins().uextend(types::I64, masked);
            let masked = self.builder.ins().imul_imm_s(masked, 2);
            flags = self.builder.ins().bor(flags, masked);
        }
        let scale = scale.map(|tile| self.tile(tile).0);
        let scale = scale.unwrap_or_else(|| self.int(0));
        let left = [lhs.base, lhs.row_stride, lhs.col_stride];
        let right = [rhs.base, rhs.row_stride, dst.base, dst.row_stride, flags, scale, self.factor(*factor)?];
        self.call(Microkernel::ProductPairs, &[[rows, cols, depth, first].as_slice(), &left, &right].concat());
        Ok(())
    }

    /// What a product's sums are multiplied by.
    fn factor(&mut self, factor: Option<ExprId>) -> Result<Value, CodegenError> {
        match factor {
            Some(factor) => self.scalar(factor),
            None => Ok(self.builder.ins().f32const(1.0)),
        }
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
