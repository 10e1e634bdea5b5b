//! Sums of products as tile products.
//!
//! `sum[x](L(rows, x) * R(x, cols))`: the factors are split by the frame's
//! axes, each side becomes a view of a buffer or a tile, and the sum one
//! microkernel call per tile of x. A factor with both frame axes has no such
//! split and is left to the general form.

use attnc_algebra::{AxisId, BinaryOp, DType, Node, ReduceOp, TermId, UnaryOp};

use crate::error::PlanError;
use crate::graph::PlanBufferId;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::program::is_line_type;
use crate::loops::{Access, Masked, RowSpans, Stmt, TileId, View};
use crate::planner::{CHUNK, Layout, TILE};

use super::beside::Beside;
use super::nest::{Binding, Frame, Nest};
use super::reduce::Reduction;

/// Below so many query rows, at the hint, packing keys costs more than what it saves.
const FEW_ROWS: i64 = 16;

/// The factors of a sum, split by the axes of the frame.
pub(super) struct Split {
    pub lhs: Vec<TermId>,
    pub rhs: Vec<TermId>,
}

impl Nest<'_, '_> {
    /// Lowers a sum whose frame has columns as tile products; `None` if a factor ties both axes.
    pub fn lower_contraction(&mut self, r: Reduction, frame: Frame) -> Result<Option<ExprId>, PlanError> {
        // Without frame columns the row reduction takes any expression.
        let Some(cols) = frame.cols else { return Ok(None) };
        let Some(split) = self.split(r, frame.rows, cols) else { return Ok(None) };
        let acc = self.frame_tile("acc", self.program.compute, frame);
        let beside = self.sums_beside(r, &split, frame);
        let once = self.sum_of_full_tiles(r, &split, &beside, frame);
        if self.planner.is_short(r.axis) && self.is_true(r.domain) {
            self.with_whole(r.axis, |nest| nest.product_step(r, (&split, &beside), frame, acc, None, false))?;
        } else {
            let zero = self.constant(0.0);
            self.map(acc, frame, zero);
            for sum in &beside {
                self.map(sum.tile, Frame::new(None, Some(sum.axis)), zero);
            }
            if let Some(sum) = once {
                self.map(sum, Frame::new(None, frame.cols), zero);
            }
            self.for_tiles(r.axis, r.domain, (CHUNK, false), &mut |nest, domain, partial| {
                let r = Reduction { domain, ..r };
                let (Some(sum), Some(cut)) = (once, partial) else {
                    return nest.product_step(r, (&split, &beside), frame, acc, partial, true);
                };
                let along = Some((r.axis, nest.binding(r.axis).clone()));
                let holds = Some(nest.x().truth(true));
                let then =
                    nest.inner(along.clone(), |nest| nest.product_step(r, (&split, &beside), frame, acc, holds, true))?;
                let of_one = Frame::new(None, frame.cols);
                let otherwise =
                    nest.inner(along, |nest| nest.product_step(r, (&split, &beside), of_one, sum, None, true))?;
                nest.emit(Stmt::If { cond: cut, then, otherwise });
                Ok(())
            })?;
            if let Some(sum) = once {
                let (own, more) = (self.element(acc, frame), self.element(sum, Frame::new(None, frame.cols)));
                let all = self.x().sum(own, more);
                self.map(acc, frame, all);
            }
        }
        for sum in beside {
            self.store_beside(&sum)?;
        }
        Ok(Some(self.element(acc, frame)))
    }

    /// A row for what full tiles add to every row alike, where no factor knows the rows: it is summed once for all of them.
    fn sum_of_full_tiles(&mut self, r: Reduction, split: &Split, beside: &[Beside], frame: Frame) -> Option<TileId> {
        let (rows, cols) = (frame.rows?, frame.cols?);
        let knows = |t: &TermId| self.planner.terms.free(*t).contains(rows);
        let alike = beside.is_empty() && !split.lhs.iter().any(knows);
        if self.is_true(r.domain) || !alike || self.has_few_rows(frame) {
            return None;
        }
        let (one, width) = (self.x().int(1), self.dim(cols).cap);
        Some(self.tile("sum", self.program.compute, one, width))
    }

    pub fn split(&mut self, r: Reduction, rows: Option<AxisId>, cols: AxisId) -> Option<Split> {
        let in_rows = |nest: &Self, t: TermId| rows.is_some_and(|a| nest.planner.terms.free(t).contains(a));
        let in_cols = |nest: &Self, t: TermId| nest.planner.terms.free(t).contains(cols);
        if in_cols(self, r.domain) {
            return None;
        }
        let mut split = Split { lhs: Vec::new(), rhs: Vec::new() };
        let mut neither = Vec::new();
        let factors = self.planner.factors(r.body);
        let factors: Vec<TermId> = factors.into_iter().flat_map(|factor| self.planner.reciprocals(factor)).collect();
        for factor in factors {
            match (in_rows(self, factor), in_cols(self, factor)) {
                (true, true) => return None,
                (true, false) => split.lhs.push(factor),
                (false, true) => split.rhs.push(factor),
                (false, false) => neither.push(factor),
            }
        }
        if split.rhs.is_empty() {
            return None;
        }
        // Lone factors join the left side, whose tile is made anyway or leaves loops;
        // a plain right operand stays a view.
        split.lhs.extend(neither);
        Some(split)
    }

    fn product_step(
        &mut self,
        r: Reduction,
        (split, beside): (&Split, &[Beside]),
        frame: Frame,
        acc: TileId,
        partial: Option<ExprId>,
        accumulate: bool,
    ) -> Result<(), PlanError> {
        let lhs_frame = Frame::new(frame.rows, Some(r.axis));
        let rhs_frame = Frame::new(Some(r.axis), frame.cols);
        let rhs = self.planner.product(split.rhs.clone());
        let left = self.planner.product(split.lhs.clone());
        let pairs = if self.multiplies_pairs(left, rhs, frame) { self.pairs_view(rhs, rhs_frame)? } else { None };
        let plain = partial.is_none() && !accumulate && beside.is_empty();
        let apart = if plain && pairs.is_some() { self.factor_apart(split, lhs_frame)? } else { None };
        let (lhs, factor) = apart.map_or((left, None), |(stored, factor)| (stored, Some(factor)));
        let (lhs, masked) = match partial {
            None => (self.lhs_view(lhs, lhs_frame)?, None),
            Some(cond) => {
                let (lhs, spans) = self.masked_lhs(lhs, r.domain, lhs_frame, (cond, 0.0))?;
                (lhs, Some(Masked { cond, spans }))
            }
        };
        self.flush_weights(split, &lhs, lhs_frame);
        for sum in beside {
            self.step_beside(sum, &lhs, r.axis, accumulate);
        }
        let (rows, cols) = self.counts(frame);
        let depth = self.dim(r.axis).count;
        let dst = self.tile_view(acc);
        if partial.is_none()
            && !accumulate
            && let Some((lhs, rhs)) = self.few_lines(rhs, &lhs, split, rhs_frame, frame)?
        {
            self.emit(Stmt::Dots { dst, lhs, rhs, rows, cols, depth });
            return Ok(());
        }
        if let (None, Some(turned)) = (partial, self.turned(rhs, &lhs, acc, rhs_frame, frame)?) {
            let one = self.x().int(1);
            let single = self.x().binary(BinaryOp::Eq, rows, one);
            let [lhs_turned, rhs_turned, dst_turned] = turned;
            let then = vec![Stmt::product(dst_turned, lhs_turned, rhs_turned, [cols, one, depth], accumulate)];
            // Bound again inside, so that the operand is not made for a single row.
            let along = frame.cols.map(|a| (a, self.binding(a).clone()));
            let otherwise = self.inner(along, |nest| {
                let rhs = nest.rhs_view(rhs, rhs_frame)?;
                nest.emit(Stmt::product(dst, lhs, rhs, [rows, cols, depth], accumulate));
                Ok(())
            })?;
            self.emit(Stmt::If { cond: single, then, otherwise });
            return Ok(());
        }
        let rhs = match pairs {
            Some(pairs) => pairs,
            None => self.rhs_view(rhs, rhs_frame)?,
        };
        let product = Stmt::masked_product(dst, lhs, rhs, [rows, cols, depth], accumulate, masked);
        self.emit(product.times(factor));
        Ok(())
    }

    /// Weights of pairs that fade, with a distance or a power, are 0 from where they are subnormal on: a processor may stop
    /// for a hundred cycles at each multiply-add of such a number.
    fn flush_weights(&mut self, split: &Split, lhs: &View, frame: Frame) {
        let (View::Tile { tile, transposed, .. }, Some(rows), Some(cols)) = (lhs, frame.rows, frame.cols) else {
            return;
        };
        let fades = split.lhs.iter().any(|factor| {
            self.planner.find(*factor, &mut |id, node| {
                let free = self.planner.terms.free(id);
                free.contains(rows) && free.contains(cols) && self.fades(node, [rows, cols])
            })
        });
        if fades {
            let (rows, cols) = self.counts(frame);
            let (rows, cols) = if *transposed { (cols, rows) } else { (rows, cols) };
            self.emit(Stmt::Flush { tile: *tile, rows, cols });
        }
    }

    /// Whether a term is a function that has subnormal values at arguments that are none, or what was computed for such
    /// a function's places.
    fn fades(&self, node: &Node, pair: [AxisId; 2]) -> bool {
        match node {
            Node::Unary(UnaryOp::Exp | UnaryOp::Sigmoid | UnaryOp::Silu | UnaryOp::Gelu | UnaryOp::Softplus, _)
            | Node::Binary(BinaryOp::Pow, ..)
            | Node::Reduce { op: ReduceOp::Prod, .. } => true,
            Node::At { index, .. } => pair.iter().all(|axis| self.planner.terms.free(*index).contains(*axis)),
            _ => false,
        }
    }

    /// Whether a frame has so few rows that what they are multiplied with is used a few times only.
    pub fn has_few_rows(&self, frame: Frame) -> bool {
        frame.rows.is_none_or(|a| self.planner.hint_extent(a) < FEW_ROWS)
    }

    /// A right operand for few rows that is stored narrow, as it lies, with the factors that do not mention its
    /// columns; `None` if it is none.
    pub fn narrow_view(
        &mut self,
        term: TermId,
        frame: Frame,
        of: Frame,
    ) -> Result<Option<(View, Vec<TermId>)>, PlanError> {
        if !self.has_few_rows(of) || self.program.compute != Lane::F32 {
            return Ok(None);
        }
        let has = |nest: &Self, t: TermId| frame.cols.is_some_and(|a| nest.planner.terms.free(t).contains(a));
        let (with, without): (Vec<TermId>, Vec<TermId>) =
            self.planner.factors(term).into_iter().partition(|t| has(self, *t));
        let [matrix] = with[..] else { return Ok(None) };
        let stored = match *self.planner.terms.node(matrix) {
            Node::Unary(UnaryOp::ToReal, x) => x,
            _ => matrix,
        };
        let narrow = |dtype| dtype != DType::F32 && is_line_type(dtype);
        Ok(self.view_of_input(stored, frame, true, narrow)?.map(|view| (view, without)))
    }

    /// The operands as few rows and many lines that are multiplied as they lie; `None` if the right operand has unit
    /// columns anyhow, is no part of a buffer, or there are rows enough to make up for packing it.
    fn few_lines(
        &mut self,
        rhs: TermId,
        lhs: &View,
        split: &Split,
        rhs_frame: Frame,
        frame: Frame,
    ) -> Result<Option<(View, View)>, PlanError> {
        let tiled = frame.cols.is_some_and(|a| matches!(self.binding(a), Binding::Tile(_)));
        if !self.has_few_rows(frame)
            || !tiled
            || self.program.compute != Lane::F32
            || self.direct_view(rhs, rhs_frame, true)?.is_some()
        {
            return Ok(None);
        }
        let stored = match *self.planner.terms.node(rhs) {
            Node::Unary(UnaryOp::ToReal, x) => x,
            _ => rhs,
        };
        let across = Frame::new(rhs_frame.cols, rhs_frame.rows);
        let Some(lines) = self.view_of_input(stored, across, true, is_line_type)? else { return Ok(None) };
        let rows = match lhs {
            View::Tile { transposed: false, .. } => lhs.clone(),
            _ => {
                let lhs = self.planner.product(split.lhs.clone());
                let value = self.eval(lhs, Frame::new(frame.rows, rhs_frame.rows), false)?;
                let tile = self.as_tile("o", value, Frame::new(frame.rows, rhs_frame.rows));
                self.tile_view(tile)
            }
        };
        Ok(Some((rows, lines)))
    }

    /// Operands and destination of the same product with its sides exchanged, for a single row of the destination:
    /// its column product reads the right operand as it lies. `None` if that lies with unit columns anyhow, is no
    /// part of a buffer, or there are rows enough to make up for packing it.
    fn turned(
        &mut self,
        rhs: TermId,
        lhs: &View,
        acc: TileId,
        rhs_frame: Frame,
        frame: Frame,
    ) -> Result<Option<[View; 3]>, PlanError> {
        let few = frame.rows.is_some_and(|a| self.planner.hint_extent(a) < FEW_ROWS);
        let tiled = frame.cols.is_some_and(|a| matches!(self.binding(a), Binding::Tile(_)));
        if !few || !tiled || self.direct_view(rhs, rhs_frame, true)?.is_some() {
            return Ok(None);
        }
        let Some(keys) = self.direct_view(rhs, Frame::new(rhs_frame.cols, rhs_frame.rows), false)? else {
            return Ok(None);
        };
        let zero = self.x().int(0);
        let query = match lhs.clone() {
            View::Tile { tile, row, col, transposed: false } => View::Tile { tile, row, col, transposed: true },
            // Blocks of a class, or beside a cut, may be empty: their first row need not be there.
            View::Buffer { .. } if !self.rows_begin_inside(frame) => return Ok(None),
            View::Buffer { buffer, index, row_dim, col_dim, steps: [row, col] } => {
                View::Buffer { buffer, index, row_dim: col_dim, col_dim: row_dim, steps: [col, row] }
            }
            View::Tile { .. } | View::Pairs { .. } => return Ok(None),
        };
        Ok(Some([keys, query, View::Tile { tile: acc, row: zero, col: zero, transposed: true }]))
    }

    /// Whether the first row of every task's block is proved to exist.
    fn rows_begin_inside(&self, frame: Frame) -> bool {
        frame.rows.is_some_and(|a| {
            let dim = self.dim(a);
            dim.step == 1 && !matches!(self.program.exprs.get(dim.base), Expr::Var(_))
        })
    }

    /// The whole of a tile as a matrix.
    pub fn tile_view(&mut self, tile: TileId) -> View {
        let zero = self.x().int(0);
        View::Tile { tile, row: zero, col: zero, transposed: false }
    }

    /// A tile of the term's own, filled where the domain fails: outside of the spans, if it is one span of each row.
    pub fn masked_lhs(
        &mut self,
        term: TermId,
        domain: TermId,
        frame: Frame,
        (partial, fill): (ExprId, f64),
    ) -> Result<(View, Option<RowSpans>), PlanError> {
        let value = self.eval(term, frame, false)?;
        let tile = self.own_tile(value, frame);
        let spans = self.mask_tile(tile, domain, frame, partial, fill)?;
        let tall = self.is_tall(frame);
        Ok((self.tile_view(tile), spans.filter(|_| tall)))
    }

    /// The left operand: any strides.
    pub fn lhs_view(&mut self, term: TermId, frame: Frame) -> Result<View, PlanError> {
        if let Some(view) = self.direct_view(term, frame, false)? {
            return Ok(view);
        }
        if self.lies_along_rows(term, frame) {
            let across = Frame { rows: frame.cols, cols: frame.rows };
            if let View::Tile { tile, row, col, transposed } = self.computed_view(term, across)? {
                return Ok(View::Tile { tile, row, col, transposed: !transposed });
            }
        }
        self.computed_view(term, frame)
    }

    /// Whether what the term reads over the whole frame lies in memory along its rows.
    fn lies_along_rows(&self, term: TermId, frame: Frame) -> bool {
        let terms = &self.planner.terms;
        let (Some(rows), Some(cols)) = (frame.rows, frame.cols) else { return false };
        let (mut along, mut across) = (false, false);
        self.planner.find(term, &mut |id, node| {
            if let Node::Input { index, .. } = node
                && terms.free(id).contains(rows)
                && terms.free(id).contains(cols)
            {
                let last = index.last().map(|at| terms.free(*at));
                let by_rows = last.is_some_and(|last| last.contains(rows) && !last.contains(cols));
                along |= by_rows;
                across |= !by_rows;
            }
            false
        });
        along && !across
    }

    /// The right operand: unit stride along its columns.
    pub fn rhs_view(&mut self, term: TermId, frame: Frame) -> Result<View, PlanError> {
        if let Some(view) = self.direct_view(term, frame, true)? {
            return Ok(view);
        }
        if let Some(view) = self.materialised_view(term, frame)? {
            return Ok(view);
        }
        if self.lies_along_rows(term, frame) && !self.is_read_at_positions(term, frame) {
            return self.computed_and_turned(term, frame);
        }
        self.computed_view(term, frame)
    }

    /// Whether the term is an element of an input at positions of the frame: turned as it is read.
    fn is_read_at_positions(&self, term: TermId, frame: Frame) -> bool {
        let terms = &self.planner.terms;
        let stored = match *terms.node(term) {
            Node::Unary(UnaryOp::ToReal, x) => x,
            _ => term,
        };
        let plain = |at: &TermId| match *terms.node(*at) {
            Node::Position(_) => true,
            _ => [frame.rows, frame.cols].iter().flatten().all(|a| !terms.free(*at).contains(*a)),
        };
        matches!(terms.node(stored), Node::Input { index, .. } if index.iter().all(plain))
    }

    /// The operand computed along the lines in which it lies in memory, and turned as a whole.
    fn computed_and_turned(&mut self, term: TermId, frame: Frame) -> Result<View, PlanError> {
        let across = Frame { rows: frame.cols, cols: frame.rows };
        let lines = self.computed_view(term, across)?;
        let View::Tile { tile, transposed: false, .. } = lines else { return Ok(lines.turned()) };
        let depth = self.depth_of(term);
        let (row, col) = self.lane_index(frame);
        let key = self.key(term, frame, false);
        if let Some(known) = self.remembered(depth, &key).and_then(|value| self.element_tile(value)) {
            return Ok(self.tile_view(known));
        }
        let turned = self.at(depth, |nest| {
            let lane = nest.program.compute;
            let value = nest.x().add(Expr::Tile { tile, row: col, col: row }, Some(lane));
            let turned = nest.frame_tile("t", lane, frame);
            nest.map(turned, frame, value);
            Ok(turned)
        })?;
        let value = self.element(turned, frame);
        self.remember(depth, key, value);
        Ok(self.tile_view(turned))
    }

    /// The operand computed into a tile, in the scope of its own axes.
    pub fn computed_view(&mut self, term: TermId, frame: Frame) -> Result<View, PlanError> {
        let own = frame.restricted(self.planner.terms.free(term));
        if own != frame {
            // The operand is constant along one of its axes: spread it.
            let value = self.eval(term, frame, false)?;
            let tile = self.as_tile("o", value, frame);
            return Ok(self.tile_view(tile));
        }
        let depth = self.depth_of(term);
        let key = self.key(term, own, false);
        let value = match self.remembered(depth, &key) {
            // What has no data is remembered in f64.
            Some(known) => {
                let lane = self.lane(term, false);
                self.x().cast(lane, known)
            }
            None => {
                let value = self.at(depth, |nest| {
                    let value = match nest.lines_one_by_one(term, own)? {
                        Some(value) => value,
                        None => nest.eval(term, own, false)?,
                    };
                    let tile = nest.as_tile("o", value, own);
                    Ok(nest.element(tile, own))
                })?;
                self.remember(depth, key, value);
                value
            }
        };
        let tile = self.as_tile("o", value, own);
        Ok(self.tile_view(tile))
    }

    /// A view straight into an input, if the term is one and the strides fit.
    fn direct_view(&mut self, term: TermId, frame: Frame, unit_cols: bool) -> Result<Option<View>, PlanError> {
        let compute = self.planner.compute();
        self.view_of_input(term, frame, unit_cols, |dtype| dtype == compute)
    }

    /// As [`Self::direct_view`], of an input of a type that `fits`.
    pub fn view_of_input(
        &mut self,
        term: TermId,
        frame: Frame,
        unit_cols: bool,
        fits: impl Fn(DType) -> bool,
    ) -> Result<Option<View>, PlanError> {
        let Node::Input { input, index } = self.planner.terms.node(term).clone() else { return Ok(None) };
        let declared = self.planner.spec.input(input).clone();
        if !fits(declared.dtype) {
            return Ok(None);
        }
        let (mut row_dim, mut col_dim) = (None, None);
        for (k, (at, axis)) in index.iter().zip(&declared.axes).enumerate() {
            let free = self.planner.terms.free(*at);
            let along = |a: Option<AxisId>| a.is_some_and(|a| free.contains(a));
            if !along(frame.rows) && !along(frame.cols) {
                continue;
            }
            if !self.in_range_by_name(*at, *axis) {
                return Ok(None);
            }
            let slot = if along(frame.rows) { &mut row_dim } else { &mut col_dim };
            if slot.replace(k).is_some() {
                return Ok(None);
            }
        }
        if row_dim.is_some() != frame.rows.is_some() || col_dim.is_some() != frame.cols.is_some() {
            return Ok(None);
        }
        let plan_buffer = self.planner.input_buffer(input);
        // Only the last dimension is taken to be contiguous as it comes; another
        // one is better packed by a stage than copied whole.
        let last = index.len() - 1;
        let stepped = frame.cols.is_some_and(|a| self.dim(a).step != 1);
        if unit_cols && (stepped || col_dim.is_some_and(|dim| dim != last) || !self.claim_unit(plan_buffer, col_dim)) {
            return Ok(None);
        }
        let buffer = self.buffer(plan_buffer, Access::Read);
        let mut at = Vec::new();
        for (k, (term, axis)) in index.iter().zip(&declared.axes).enumerate() {
            let position = self.first_position(*term, frame)?;
            let clamped =
                if self.in_range_by_name(*term, *axis) { position } else { self.clamped(position, buffer, k) };
            at.push(clamped);
        }
        let steps = [frame.rows, frame.cols].map(|a| a.map_or(1, |a| self.dim(a).step));
        Ok(Some(View::Buffer { buffer, index: at, row_dim, col_dim, steps }))
    }

    /// The index of element (0, 0) of a view.
    fn first_position(&mut self, index: TermId, frame: Frame) -> Result<ExprId, PlanError> {
        if let Node::Position(axis) = *self.planner.terms.node(index)
            && let Binding::Tile(dim) | Binding::Whole(dim) = self.binding(axis).clone()
        {
            return Ok(dim.base);
        }
        let free = self.planner.terms.free(index).clone();
        self.eval(index, frame.restricted(&free), false)
    }

    /// An index that nothing proves in range, held inside: binding has checked it where it matters.
    pub fn clamped(&mut self, index: ExprId, buffer: crate::loops::BufferId, dim: usize) -> ExprId {
        let extent = self.program.buffers[buffer.0 as usize].shape[dim];
        let top = self.plus(extent, -1);
        let low = self.x().int(0);
        let index = self.x().max(index, low);
        self.x().min(index, top)
    }

    /// Asks for unit stride along a dimension of a buffer; false if another
    /// dimension has it already.
    fn claim_unit(&mut self, plan_buffer: PlanBufferId, dim: Option<usize>) -> bool {
        let Some(dim) = dim else { return true };
        let id = self.buffer(plan_buffer, Access::Read);
        let slot = &mut self.program.buffers[id.0 as usize].unit_dim;
        *slot.get_or_insert(dim) == dim
    }

    /// The right operand through a buffer of its own, where many tasks read it.
    pub fn materialised_view(&mut self, term: TermId, frame: Frame) -> Result<Option<View>, PlanError> {
        self.buffered_view(term, frame, false)
    }

    /// As [`Self::materialised_view`], or the same in pairs of rows, rounded to bfloat16.
    pub fn buffered_view(&mut self, term: TermId, frame: Frame, pairs: bool) -> Result<Option<View>, PlanError> {
        let free = self.planner.terms.free(term).clone();
        let (Some(rows), Some(cols)) = (frame.rows, frame.cols) else { return Ok(None) };
        let both = free.contains(rows) && free.contains(cols);
        // The columns of a buffer are adjacent, and the rows of pairs.
        let adjacent = self.dim(cols).step == 1 && !(pairs && self.dim(rows).step != 1);
        if !both || !adjacent || self.repeats(term) <= 1.0 || !self.may_materialise(term) {
            return Ok(None);
        }
        let lead: Vec<AxisId> = free.iter().filter(|a| *a != rows && *a != cols).collect();
        // A tile lies in one block of the buffer: its columns are a part of one.
        let part = self.program.exprs.as_int(self.dim(cols).cap).is_some_and(|cap| cap > 0 && TILE % cap == 0);
        let packed = matches!(self.binding(rows), Binding::Whole(_))
            && matches!(self.binding(cols), Binding::Tile(_))
            && (part || self.dim(cols).aligned);
        let layout = match (pairs, packed) {
            (true, blocked) => Layout::Pairs { lead: lead.clone(), row: rows, col: cols, blocked },
            (false, true) => Layout::Packed { lead: lead.clone(), row: rows, col: cols },
            (false, false) => Layout::Plain(lead.iter().copied().chain([rows, cols]).collect()),
        };
        let plan_buffer = self.planner.materialise(term, &layout, false)?;
        let buffer = self.buffer(plan_buffer, Access::Read);
        let Some(mut index) = self.fixed(&lead) else { return Ok(None) };
        let (row_base, col_base) = (self.dim(rows).base, self.dim(cols).base);
        if packed {
            let block = self.div(col_base, TILE);
            let col = if self.dim(cols).aligned {
                self.x().int(0)
            } else {
                let width = self.x().int(TILE);
                let start = self.x().times(block, width);
                self.x().difference(col_base, start)
            };
            index.extend([block, row_base, col]);
        } else {
            index.extend([row_base, col_base]);
        }
        let (row_dim, col_dim) = (index.len() - 2, index.len() - 1);
        let unit = if pairs { col_dim + 1 } else { col_dim };
        self.program.buffers[buffer.0 as usize].unit_dim = Some(unit);
        if pairs {
            return Ok(Some(View::Pairs { buffer, index, row_dim, col_dim }));
        }
        let steps = [rows, cols].map(|a| self.dim(a).step);
        Ok(Some(View::Buffer { buffer, index, row_dim: Some(row_dim), col_dim: Some(col_dim), steps }))
    }
}
