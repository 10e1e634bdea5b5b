//! What microkernels are given: views and tiles.

use attnc_algebra::DType;

use super::Verifier;
use crate::loops::expr::{ExprId, Lane};
use crate::loops::program::{Access, Additions, KeyRange, Masked, Open, RowSpans, Stmt, TileId, View, is_line_type};

impl Verifier<'_> {
    /// A tile of the compute type that a microkernel works on: a matrix, or a vector if `cols` is `None`.
    pub(super) fn operand(&mut self, tile: TileId, rows: ExprId, cols: Option<ExprId>) {
        self.operand_of(self.program.compute, tile, rows, cols);
    }

    /// As [`Self::operand`], of the given type.
    pub(super) fn operand_of(&mut self, lane: Lane, tile: TileId, rows: ExprId, cols: Option<ExprId>) {
        let Some(declared) = self.program.tiles.get(tile.0 as usize) else {
            return self.wrong("a tile is out of the table");
        };
        self.require(declared.lane == lane, "the tile is not of the type that the microkernel takes");
        let access = |s: &Self| s.tile_name(tile);
        self.fits(rows, declared.rows, &access);
        match cols {
            Some(cols) => self.fits(cols, declared.cols, &access),
            None => self.require(declared.is_column(&self.program.exprs), "a vector is declared with one column"),
        }
    }

    /// Two lines of integers with unit stride, the second for writing.
    pub(super) fn order(&mut self, stmt: &Stmt) {
        let Stmt::Order { keys, order, at, count } = stmt else { return };
        self.scalars(at, Lane::I64);
        self.scalars(&[*count], Lane::I64);
        for (buffer, access) in [(keys, Access::Read), (order, Access::Write)] {
            let Some(declared) = self.program.buffers.get(buffer.0 as usize) else {
                return self.wrong("a buffer is out of the table");
            };
            self.require(declared.access == access, "a buffer is read and written the wrong way round");
            self.require(declared.dtype == DType::I64, "the buffer is not of 64-bit integers");
            let Some((last, lead)) = declared.shape.split_last() else {
                return self.wrong("the wrong number of indices");
            };
            self.require(lead.len() == at.len(), "the wrong number of indices");
            self.require(declared.unit_dim == Some(lead.len()), "the last dimension is not the unit dimension");
            let name = |s: &Self| s.program.buffers[buffer.0 as usize].name.clone();
            at.iter().zip(lead).for_each(|(index, extent)| self.within(*index, *extent, &name));
            self.fits(*count, *last, &name);
        }
    }

    /// Matrices of keys and ranks, and a row to sort in.
    pub(super) fn ranks(&mut self, stmt: &Stmt) {
        let Stmt::Ranks { dst, keys, counted, order, rows, cols, limit } = stmt else { return };
        self.scalars(&[*rows, *cols], Lane::I64);
        self.scalars(limit.as_slice(), Lane::I64);
        let lane = self.program.tiles.get(keys.0 as usize).map(|tile| tile.lane);
        self.require(matches!(lane, Some(Lane::F64 | Lane::I64)), "keys are of f64 or i64");
        self.operand_of(lane.unwrap_or(Lane::F64), *keys, *rows, Some(*cols));
        self.operand_of(Lane::I64, *dst, *rows, Some(*cols));
        if let Some(counted) = counted {
            self.operand_of(Lane::Bool, *counted, *rows, Some(*cols));
        }
        let apart = [*keys, *dst].into_iter().chain(*counted).all(|tile| tile != *order) && keys != dst;
        self.require(apart && *counted != Some(*dst), "ranks are sorted in a tile of their own");
        let Some(scratch) = self.program.tiles.get(order.0 as usize) else {
            return self.wrong("a tile is out of the table");
        };
        self.require(scratch.lane == Lane::I64, "the tile is not of the type that the microkernel takes");
        let name = |s: &Self| s.tile_name(*order);
        self.fits(*cols, scratch.cols, &name);
        let one = self.program.exprs.as_int(scratch.rows).is_some_and(|rows| rows >= 1);
        self.require(one, "there is no row to sort in");
    }

    /// A matrix, a column of least and most keys, and a row of keys for each range.
    pub(super) fn keep_keys(&mut self, stmt: &Stmt) {
        let Stmt::KeepKeys { tile, any, rows, cols, .. } = stmt else { return };
        self.scalars(&[*rows, *cols], Lane::I64);
        self.operand(*tile, *rows, Some(*cols));
        self.require(matches!(any.len(), 1 | 2), "a mask has one range of keys or two");
        for range in any {
            self.key_range(range, [*rows, *cols]);
        }
    }

    /// Bounds of each row, and a row of keys.
    fn key_range(&mut self, range: &KeyRange, [rows, cols]: [ExprId; 2]) {
        for end in range.least.into_iter().chain(range.most) {
            self.operand_of(Lane::I64, end, rows, None);
        }
        let Some(keys) = self.program.tiles.get(range.keys.0 as usize) else {
            return self.wrong("a tile is out of the table");
        };
        self.require(keys.lane == Lane::I64, "the tile is not of the type that the microkernel takes");
        let name = |s: &Self| s.tile_name(range.keys);
        self.fits(cols, keys.cols, &name);
        let one = self.program.exprs.as_int(keys.rows).is_some_and(|rows| rows >= 1);
        self.require(one, "there is no row of keys");
    }

    /// Spans of rows of their own, and what they are narrowed by.
    pub(super) fn narrow_spans(&mut self, stmt: &Stmt) {
        let Stmt::NarrowSpans { spans, range, rows, cols } = stmt else { return };
        self.scalars(&[*rows, *cols], Lane::I64);
        self.row_spans(spans, *rows);
        self.key_range(range, [*rows, *cols]);
        let others = [range.least, range.most, Some(range.keys)];
        let apart = spans.from != spans.to && spans.tiles().iter().all(|end| !others.contains(&Some(*end)));
        self.require(apart, "spans are narrowed by themselves");
        let one = range.inside || range.least.is_none() || range.most.is_none();
        self.require(one, "what lies on both sides of a range is no span");
    }

    /// Three matrices; what is added to is none of the others.
    pub(super) fn scatter_add(&mut self, stmt: &Stmt) {
        let Stmt::ScatterAdd { dst, src, at, rows, cols, width } = stmt else { return };
        self.scalars(&[*rows, *cols, *width], Lane::I64);
        self.operand(*dst, *rows, Some(*width));
        self.operand(*src, *rows, Some(*cols));
        self.operand_of(Lane::I64, *at, *rows, Some(*cols));
        self.require(dst != src, "what is added to is not what is added");
    }

    /// Views in range, of one real type, with unit strides where the microkernel wants them.
    pub(super) fn product(&mut self, stmt: &Stmt) {
        let Stmt::Product { dst, lhs, rhs, rows, cols, depth, accumulate, masked, open, rounded, factor } = stmt else {
            return;
        };
        let all = *open == Open::All;
        self.require(all || !*accumulate && masked.is_none(), "what stays open is neither added to nor masked");
        self.scalars(&[*rows, *cols, *depth], Lane::I64);
        self.masked(masked.as_ref(), *rows);
        if let Open::Spans(spans) = open {
            self.row_spans(spans, *rows);
        }
        if let Some(factor) = factor {
            self.scalars(&[*factor], Lane::F32);
            let plain = !*accumulate && masked.is_none() && matches!(rhs, View::Pairs { .. });
            self.require(plain, "a product with a factor is one of pairs, neither accumulated nor masked");
        }
        let Some(lane) = self.program.product_lane(dst) else {
            return self.wrong("a product is of f32 or of f64");
        };
        let plain = masked.is_none() && all && lane == Lane::F64;
        self.require(!*rounded || plain, "a product with rounded terms is of f64, neither masked nor open");
        self.view(dst, *rows, *cols, true, lane);
        self.view(lhs, *rows, *depth, false, lane);
        if let View::Pairs { .. } = rhs {
            let spans = matches!(open, Open::Spans(_));
            self.require(lane == Lane::F32 && !spans, "a product with pairs is of f32, and not in spans");
            self.pairs(rhs, *depth, *cols);
            return self.written(dst);
        }
        match self.program.stored_narrow(rhs) {
            true => {
                let plain = masked.is_none() && all && lane == Lane::F32;
                self.require(plain, "such a product has no narrow operand");
                self.view_in_range(rhs, Some(*depth), *cols, true);
            }
            false => self.view(rhs, *depth, *cols, true, lane),
        }
        self.written(dst);
    }

    /// A condition, and both ends of each row's span.
    pub(super) fn masked(&mut self, masked: Option<&Masked>, rows: ExprId) {
        let Some(Masked { cond, spans }) = masked else { return };
        self.scalars(&[*cond], Lane::Bool);
        if let Some(spans) = spans {
            self.row_spans(spans, rows);
        }
    }

    fn row_spans(&mut self, spans: &RowSpans, rows: ExprId) {
        for end in spans.tiles() {
            self.operand_of(Lane::I64, end, rows, None);
        }
    }

    /// A view that may be written.
    fn written(&mut self, dst: &View) {
        if let View::Buffer { buffer, .. } | View::Pairs { buffer, .. } = dst {
            let access = self.program.buffers.get(buffer.0 as usize).map(|b| b.access);
            self.require(access == Some(Access::Write), "the buffer is only for reading");
        }
    }

    /// Rows of bfloat16 in pairs, whose words are adjacent. The buffer has whole pairs, so the last row has a word, too.
    fn pairs(&mut self, view: &View, rows: ExprId, cols: ExprId) {
        let View::Pairs { buffer, index, row_dim, col_dim } = view else { return };
        self.scalars(index, Lane::I64);
        let Some(declared) = self.program.buffers.get(buffer.0 as usize) else {
            return self.wrong("a buffer is out of the table");
        };
        let shape = &declared.shape;
        let two = shape.last().is_some_and(|two| self.program.exprs.as_int(*two) == Some(2));
        let last = index.len();
        self.require(declared.dtype == DType::Bf16, "pairs are of bfloat16");
        self.require(two && last + 1 == shape.len(), "pairs have a dimension of their own, the last");
        self.require(declared.unit_dim == Some(last), "the halves of a pair are not adjacent");
        self.require(row_dim < col_dim && col_dim + 1 == last, "the words of pairs are not adjacent");
        let access = |s: &Self| s.program.buffers[buffer.0 as usize].name.clone();
        for (dim, (at, extent)) in index.iter().zip(shape).enumerate() {
            match (dim == *row_dim, dim == *col_dim) {
                (true, _) => self.halved(*at, rows, *extent, &access),
                (_, true) => self.spans(*at, cols, *extent, &access),
                _ => self.within(*at, *extent, &access),
            }
        }
    }

    /// What is packed, and pairs that begin whole, so that no word is written twice.
    pub(super) fn pack(&mut self, stmt: &Stmt) {
        let Stmt::Pack { dst, src, rows, cols } = stmt else { return };
        self.scalars(&[*rows, *cols], Lane::I64);
        let View::Pairs { index, row_dim, .. } = dst else { return self.wrong("what is packed are pairs") };
        self.pairs(dst, *rows, *cols);
        self.written(dst);
        let whole = index.get(*row_dim).is_some_and(|at| self.prover.is_even(*at));
        self.require(whole, "pairs begin with their second half");
        let stored =
            |s: &Self, buffer: &crate::loops::BufferId| s.program.buffers.get(buffer.0 as usize).map(|b| b.dtype);
        match src {
            View::Buffer { buffer, .. } if stored(self, buffer) == Some(DType::Bf16) => {
                self.view_in_range(src, Some(*rows), *cols, false);
            }
            _ => self.view(src, *rows, *cols, false, Lane::F32),
        }
    }

    /// Rows and lines with adjacent elements.
    pub(super) fn dots(&mut self, stmt: &Stmt) {
        let Stmt::Dots { dst, lhs, rhs, rows, cols, depth } = stmt else { return };
        self.scalars(&[*rows, *cols, *depth], Lane::I64);
        self.view(dst, *rows, *cols, true, Lane::F32);
        self.view(lhs, *rows, *depth, true, Lane::F32);
        let View::Buffer { buffer, .. } = rhs else { return self.wrong("lines are those of a buffer") };
        let dtype = self.program.buffers.get(buffer.0 as usize).map(|b| b.dtype);
        self.require(dtype.is_some_and(is_line_type), "lines of this type are not multiplied");
        self.view_in_range(rhs, Some(*cols), *depth, true);
        if let View::Buffer { buffer, .. } = dst {
            let access = self.program.buffers.get(buffer.0 as usize).map(|b| b.access);
            self.require(access == Some(Access::Write), "the buffer is only for reading");
        }
    }

    /// Lists that are added to, and a tile for the largest count.
    pub(super) fn list(&mut self, stmt: &Stmt) {
        let Stmt::List { list, count, most, added, first, rows, cols, .. } = stmt else { return };
        self.scalars(&[*first, *rows, *cols], Lane::I64);
        let one = |s: &Self, id: ExprId| s.program.exprs.as_int(id).is_some_and(|n| n >= 1);
        let Some(tile) = self.program.tiles.get(most.0 as usize) else {
            return self.wrong("a tile is out of the table");
        };
        self.require(
            tile.lane == Lane::I64 && one(self, tile.rows) && one(self, tile.cols),
            "the largest count has no place",
        );
        let Some(tile) = self.program.tiles.get(list.0 as usize) else {
            return self.wrong("a tile is out of the table");
        };
        self.operand_of(Lane::I64, *list, *rows, Some(tile.cols));
        self.operand_of(Lane::I64, *count, *rows, None);
        let own = [*list, *count, *most];
        match added {
            Additions::Spans(spans) => {
                self.row_spans(spans, *rows);
                self.require(!spans.tiles().iter().any(|t| own.contains(t)), "a list is made of itself");
            }
            Additions::Open(tile) => self.operand_of(Lane::F32, *tile, *rows, Some(*cols)),
        }
        let apart = list != count && count != most && list != most;
        self.require(apart, "a list, its count and the largest are one tile");
    }

    /// Lists, and the lines that they are of.
    pub(super) fn listed(&mut self, stmt: &Stmt) {
        let (of, rows, listed, width) = match stmt {
            Stmt::DotsListed { dst, lhs, of, rows, cols, depth } => {
                self.scalars(&[*rows, *cols, *depth], Lane::I64);
                self.operand_of(Lane::F32, *dst, *rows, Some(*cols));
                self.view(lhs, *rows, *depth, true, Lane::F32);
                (of, *rows, *cols, *depth)
            }
            Stmt::SumListed { dst, weights, of, rows, cols, depth } => {
                self.scalars(&[*rows, *cols, *depth], Lane::I64);
                self.operand_of(Lane::F32, *dst, *rows, Some(*cols));
                self.operand_of(Lane::F32, *weights, *rows, Some(*depth));
                self.require(dst != weights, "weights are summed into themselves");
                (of, *rows, *depth, *cols)
            }
            _ => return,
        };
        self.scalars(&[of.limit], Lane::I64);
        self.operand_of(Lane::I64, of.list, rows, Some(listed));
        self.operand_of(Lane::I64, of.count, rows, None);
        self.require(matches!(of.lines, View::Buffer { .. }), "lines are those of a buffer");
        self.view(&of.lines, of.limit, width, true, Lane::F32);
    }

    /// As [`Self::product`], of one type throughout.
    pub(super) fn max_plus(&mut self, stmt: &Stmt) {
        let Stmt::MaxPlus { dst, lhs, rhs, rows, cols, depth, masked, .. } = stmt else { return };
        self.scalars(&[*rows, *cols, *depth], Lane::I64);
        if let Some(masked) = masked {
            self.scalars(&[*masked], Lane::Bool);
        }
        let Some(lane) = self.program.product_lane(dst) else {
            return self.wrong("a max-plus product is of f32 or of f64");
        };
        self.view(dst, *rows, *cols, true, lane);
        self.view(lhs, *rows, *depth, false, lane);
        self.view(rhs, *depth, *cols, true, lane);
        self.written(dst);
    }

    /// As [`Self::product`], of f32, with weights.
    pub(super) fn product_tanh(&mut self, stmt: &Stmt) {
        let Stmt::ProductTanh { dst, weight, weight_rows, lhs, rhs, rows, cols, depth, .. } = stmt else { return };
        self.scalars(&[*rows, *cols, *depth], Lane::I64);
        self.view(dst, *rows, *cols, true, Lane::F32);
        self.view(lhs, *rows, *depth, false, Lane::F32);
        self.view(rhs, *depth, *cols, true, Lane::F32);
        if *weight_rows {
            self.view(weight, *rows, *depth, false, Lane::F32);
        } else {
            self.single_row(weight, *depth);
        }
        if let View::Buffer { buffer, .. } = dst {
            let access = self.program.buffers.get(buffer.0 as usize).map(|b| b.access);
            self.require(access == Some(Access::Write), "the buffer is only for reading");
        }
    }

    /// A view of one row of f32.
    fn single_row(&mut self, view: &View, cols: ExprId) {
        match view {
            View::Buffer { row_dim: Some(_), .. } => self.wrong("one row has a dimension of rows"),
            View::Tile { transposed: true, .. } => self.wrong("one row is transposed"),
            View::Tile { tile, row, col, .. } => {
                self.scalars(&[*row, *col], Lane::I64);
                let Some(declared) = self.program.tiles.get(tile.0 as usize) else {
                    return self.wrong("a tile is out of the table");
                };
                self.require(declared.lane == Lane::F32, "the operands of a product are of different types");
                let access = |s: &Self| s.tile_name(*tile);
                self.within(*row, declared.rows, &access);
                self.spans(*col, cols, declared.cols, &access);
            }
            View::Buffer { .. } => self.view_of(view, None, cols, false, Lane::F32),
            View::Pairs { .. } => self.wrong("one row is in pairs"),
        }
    }

    /// A view of `rows` by `cols` elements; `unit`: its columns are adjacent.
    fn view(&mut self, view: &View, rows: ExprId, cols: ExprId, unit: bool, lane: Lane) {
        self.view_of(view, Some(rows), cols, unit, lane);
    }

    /// As [`Self::view`]; without `rows` a single row of a buffer.
    fn view_of(&mut self, view: &View, rows: Option<ExprId>, cols: ExprId, unit: bool, lane: Lane) {
        match view {
            View::Tile { tile, row, col, transposed } => {
                let Some(rows) = rows else { return self.wrong("a row of a tile is not a view of a buffer") };
                self.scalars(&[*row, *col], Lane::I64);
                // A single column is adjacent to nothing.
                let single = self.program.exprs.as_int(cols) == Some(1);
                self.require(!(unit && *transposed) || single, "an operand with unit stride is transposed");
                let Some(declared) = self.program.tiles.get(tile.0 as usize) else {
                    return self.wrong("a tile is out of the table");
                };
                self.require(declared.lane == lane, "the operands of a product are of different types");
                let (down, along) = if *transposed { (cols, rows) } else { (rows, cols) };
                let access = |s: &Self| s.tile_name(*tile);
                self.spans(*row, down, declared.rows, &access);
                self.spans(*col, along, declared.cols, &access);
            }
            View::Buffer { buffer, .. } => {
                let Some(declared) = self.program.buffers.get(buffer.0 as usize) else {
                    return self.wrong("a buffer is out of the table");
                };
                self.require(
                    crate::loops::storage::lane_of(declared.dtype) == lane
                        && declared.dtype.size() as i64 == lane.size(),
                    "the operands of a product are of different types",
                );
                self.view_in_range(view, rows, cols, unit);
            }
            View::Pairs { .. } => self.wrong("pairs are the right operand of a product"),
        }
    }

    /// A view of a buffer of any type.
    fn view_in_range(&mut self, view: &View, rows: Option<ExprId>, cols: ExprId, unit: bool) {
        let View::Buffer { buffer, index, row_dim, col_dim, steps } = view else { return };
        self.scalars(index, Lane::I64);
        let Some(declared) = self.program.buffers.get(buffer.0 as usize) else {
            return self.wrong("a buffer is out of the table");
        };
        self.require(index.len() == declared.shape.len(), "the wrong number of indices");
        let one = |s: &Self, count: ExprId| s.program.exprs.as_int(count) == Some(1);
        let single = rows.is_none_or(|rows| one(self, rows));
        self.require(row_dim.is_some() || single, "rows without a dimension");
        self.require(col_dim.is_some() || one(self, cols), "columns without a dimension");
        self.require(steps.iter().all(|step| *step >= 1), "a step is not positive");
        let adjacent = col_dim.is_none() || one(self, cols) || (*col_dim == declared.unit_dim && steps[1] == 1);
        self.require(!unit || adjacent, "an operand's columns are not the unit dimension");
        let access = |s: &Self| s.program.buffers[buffer.0 as usize].name.clone();
        for (dim, (at, extent)) in index.iter().zip(&declared.shape).enumerate() {
            match (rows.filter(|_| Some(dim) == *row_dim), Some(dim) == *col_dim) {
                (Some(rows), false) => self.steps(*at, rows, steps[0], *extent, &access),
                (None, true) => self.steps(*at, cols, steps[1], *extent, &access),
                (None, false) => self.within(*at, *extent, &access),
                (Some(_), true) => self.wrong("rows and columns advance along one dimension"),
            }
        }
    }
}
