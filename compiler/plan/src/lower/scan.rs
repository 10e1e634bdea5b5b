//! Prefix sums with decay along the rows of a scan stage.
//!
//! The rows are walked in order with the state in a tile. Where the decay
//! does not vary inside the state, a chunk of rows is computed at once: the
//! pairs inside the chunk as tile products under a triangular mask, the
//! earlier ones through the state (chunked linear attention; RetNet,
//! arXiv 2307.08621; Mamba-2, arXiv 2405.21060). Decays inside a chunk are
//! products of factors, never quotients. Otherwise the state advances one
//! position at a time.

use attnc_algebra::{AxisId, BinaryOp, Carry, Node, TermId};

use crate::error::PlanError;
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Dst, Masked, Stmt, TileId, View};
use crate::planner::CHUNK;

use super::nest::{Binding, Dim, Frame, Nest};
use super::reduce::Reduction;

/// Depth of the scope in which a scan stage walks its rows.
pub(super) const WALK: usize = 1;

/// Rows of a chunk whose pairs are computed together: what lies above the diagonal is left out block by block.
const TRIANGLE_ROWS: i64 = 16;

/// A scan taken apart, with the contraction around it.
#[derive(Clone, Debug)]
struct Prefix {
    /// Axis of the summands.
    axis: AxisId,
    /// The contracted axis of the state, if any.
    state: Option<AxisId>,
    /// The factor outside, over rows and the state axis.
    query: TermId,
    decay: TermId,
    body: TermId,
}

impl Nest<'_, '_> {
    /// Whether the term is a scan, or a contraction of one, along another
    /// axis than this stage walks, or inside a loop of its own: a state lives
    /// as long as its task and serves one scan.
    pub fn needs_own_scan_stage(&self, term: TermId) -> bool {
        let looped = self.current_depth() > WALK;
        let direct = |t: TermId| match self.planner.terms.node(t) {
            Node::Scan { row, .. } => Some(*row) != self.sequential || looped,
            _ => false,
        };
        match self.planner.terms.node(term) {
            Node::Reduce { body, .. } => self.planner.factors(*body).into_iter().any(direct),
            _ => direct(term),
        }
    }

    /// Lowers `sum[state](query * scan)`; `None` if no factor is a scan of this stage.
    pub fn lower_scan_product(
        &mut self,
        term: TermId,
        r: Reduction,
        frame: Frame,
    ) -> Result<Option<ExprId>, PlanError> {
        let factors = self.planner.factors(r.body);
        let is_scan = |nest: &Self, t: TermId| matches!(nest.planner.terms.node(t), Node::Scan { carry: Carry::Sum, row, .. } if Some(*row) == nest.sequential);
        let Some(at) = factors.iter().position(|t| is_scan(self, *t)) else { return Ok(None) };
        let mut rest = factors.clone();
        let scan = rest.remove(at);
        let ties_cols = frame.cols.is_some_and(|c| rest.iter().any(|t| self.planner.terms.free(*t).contains(c)));
        if !self.walks(scan, frame) || !self.is_true(r.domain) || ties_cols || rest.iter().any(|t| is_scan(self, *t)) {
            return Ok(None);
        }
        let Node::Scan { axis, row, decay, body, .. } = *self.planner.terms.node(scan) else { return Ok(None) };
        let query = self.planner.product(rest);
        let value = self.lower_scan(term, Some((r.axis, query)), axis, row, decay, body, frame, false)?;
        Ok(Some(value))
    }

    /// Lowers a scan, contracted with `outer` = (state axis, query) if given.
    #[expect(clippy::too_many_arguments, reason = "the parts of one scan node and where it stands")]
    pub fn lower_scan(
        &mut self,
        term: TermId,
        outer: Option<(AxisId, TermId)>,
        axis: AxisId,
        row: AxisId,
        decay: TermId,
        body: TermId,
        frame: Frame,
        exact: bool,
    ) -> Result<ExprId, PlanError> {
        if exact && self.walks(term, frame) && self.dim(row).step == 1 {
            return self.lower_scan_in_order((axis, row), decay, body, frame);
        }
        if exact || !self.walks(term, frame) {
            return self.lower_scan_in_turns((axis, row), decay, body, frame, exact);
        }
        let query = match outer {
            Some((_, query)) => query,
            None => self.planner.terms.real(1.0),
        };
        let prefix = Prefix { axis, state: outer.map(|o| o.0), query, decay, body };
        match prefix.state {
            Some(state) => self.with_whole(state, |nest| nest.lower_prefix(&prefix, frame)),
            None => self.lower_prefix(&prefix, frame),
        }
    }

    /// Whether the scan runs along the rows that this stage walks, with the walk's own scope for its state.
    pub(super) fn walks(&self, scan: TermId, frame: Frame) -> bool {
        let row = match self.planner.terms.node(scan) {
            Node::Scan { row, .. } => Some(*row),
            _ => self.sequential,
        };
        self.sequential == row && frame.rows == row && self.current_depth() == WALK
    }

    /// The prefix of every lane from its start, in axis order: where the state cannot stay with the rows, and in
    /// decisions. Each lane keeps what it has once the position is beyond its own.
    fn lower_scan_in_turns(
        &mut self,
        (axis, row): (AxisId, AxisId),
        decay: TermId,
        body: TermId,
        frame: Frame,
        exact: bool,
    ) -> Result<ExprId, PlanError> {
        let lane = self.real_lane(exact);
        let state = self.frame_tile("state", lane, frame);
        let zero = self.x().real(lane, 0.0);
        self.map(state, frame, zero);
        let own = self.position(row, frame);
        let end = match self.binding(row).clone() {
            Binding::Fixed(at) => self.plus(at, 1),
            // Positions may lie some steps apart.
            Binding::Tile(dim) | Binding::Whole(dim) if dim.step == 1 => self.x().sum(dim.base, dim.count),
            Binding::Tile(_) | Binding::Whole(_) => self.extent(axis),
        };
        let (var, at) = self.var(Lane::I64);
        let stmts = self.inner(Some((axis, Binding::Fixed(at))), |nest| {
            let old = nest.element(state, frame);
            let (factor, value) = (nest.eval(decay, frame, exact)?, nest.eval(body, frame, exact)?);
            let (factor, value) = (nest.x().cast(lane, factor), nest.x().cast(lane, value));
            let kept = nest.x().times(old, factor);
            let new = nest.x().sum(kept, value);
            let seen = nest.x().binary(BinaryOp::Le, at, own);
            let new = nest.choose(seen, new, old);
            nest.map(state, frame, new);
            Ok(())
        })?;
        let from = self.x().int(0);
        self.emit(Stmt::For { var, from, to: end, step: 1, body: stmts });
        Ok(self.element(state, frame))
    }

    /// The prefix of one row after the other in f64, in axis order, the state kept from tile to tile.
    fn lower_scan_in_order(
        &mut self,
        (axis, row): (AxisId, AxisId),
        decay: TermId,
        body: TermId,
        frame: Frame,
    ) -> Result<ExprId, PlanError> {
        let line = Frame::new(None, frame.cols);
        let zero = self.x().real(Lane::F64, 0.0);
        let state = self.at(0, |nest| {
            let state = nest.frame_tile("state", Lane::F64, line);
            nest.map(state, line, zero);
            state
        });
        let run = self.frame_tile("run", Lane::F64, frame);
        let dim = self.dim(row);
        let end = self.x().sum(dim.base, dim.count);
        let (var, at) = self.var(Lane::I64);
        let body = self.inner(Some((axis, Binding::Fixed(at))), |nest| {
            let old = nest.element(state, line);
            let (factor, value) = (nest.eval(decay, line, true)?, nest.eval(body, line, true)?);
            let (factor, value) = (nest.x().cast(Lane::F64, factor), nest.x().cast(Lane::F64, value));
            let kept = nest.x().times(old, factor);
            let new = nest.x().sum(kept, value);
            nest.map(state, line, new);
            let (rows, cols) = nest.counts(line);
            let own = nest.x().difference(at, dim.base);
            let (_, col) = nest.lane_index(line);
            let value = nest.element(state, line);
            nest.emit(Stmt::Map { dst: Dst::Tile { tile: run, row: own, col }, rows, cols, value });
            Ok(())
        })?;
        self.emit(Stmt::For { var, from: dim.base, to: end, step: 1, body });
        Ok(self.element(run, frame))
    }

    fn lower_prefix(&mut self, prefix: &Prefix, frame: Frame) -> Result<ExprId, PlanError> {
        let state_frame = Frame::new(prefix.state, frame.cols);
        let split = self.split_prefix(prefix, state_frame);
        // A state of one column is held as a row, which a product adds to by vectors.
        let state_frame = match split {
            Some(_) if frame.cols.is_none() => Frame::new(None, prefix.state),
            _ => state_frame,
        };
        let state = self.at(0, |nest| {
            let state = nest.frame_tile("state", nest.program.compute, state_frame);
            let zero = nest.constant(0.0);
            nest.map(state, state_frame, zero);
            state
        });
        let acc = self.frame_tile("acc", self.program.compute, frame);
        match split {
            Some((keys, values)) => self.chunk(prefix, keys, values, frame, state, acc)?,
            None => self.recur(prefix, frame, state, acc)?,
        }
        Ok(self.element(acc, frame))
    }

    /// The body as keys(state, position) * values(cols, position), if it
    /// splits so and the decay is the same for the whole state.
    fn split_prefix(&mut self, prefix: &Prefix, state_frame: Frame) -> Option<(TermId, TermId)> {
        let ties =
            |nest: &Self, a: Option<AxisId>, t: TermId| a.is_some_and(|a| nest.planner.terms.free(t).contains(a));
        prefix.state?;
        if ties(self, state_frame.rows, prefix.decay) || ties(self, state_frame.cols, prefix.decay) {
            return None;
        }
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for factor in self.planner.factors(prefix.body) {
            match (ties(self, state_frame.rows, factor), ties(self, state_frame.cols, factor)) {
                (true, true) => return None,
                (false, true) => values.push(factor),
                _ => keys.push(factor),
            }
        }
        Some((self.planner.product(keys), self.planner.product(values)))
    }

    /// The rows' own positions as a tile dimension for the summands.
    fn chunk_dim(&mut self, frame: Frame) -> Dim {
        self.dim(frame.rows.expect("a scan stage has rows"))
    }

    fn chunk(
        &mut self,
        prefix: &Prefix,
        keys: TermId,
        values: TermId,
        frame: Frame,
        state: TileId,
        acc: TileId,
    ) -> Result<(), PlanError> {
        let dim = self.chunk_dim(frame);
        let stmts = self.inner(Some((prefix.axis, Binding::Tile(dim))), |nest| {
            nest.chunk_body(prefix, keys, values, frame, state, acc)
        })?;
        stmts.into_iter().for_each(|s| self.emit(s));
        Ok(())
    }

    fn chunk_body(
        &mut self,
        prefix: &Prefix,
        keys: TermId,
        values: TermId,
        frame: Frame,
        state: TileId,
        acc: TileId,
    ) -> Result<(), PlanError> {
        let (axis, state_axis) = (prefix.axis, prefix.state.expect("a chunk contracts the state axis"));
        let finite = self.planner.is_data_free(values);
        let values = self.rhs_view(values, Frame::new(Some(axis), frame.cols))?;
        let shared = self.chunk_shared(prefix, keys, frame, axis, state_axis)?;
        let (rows, cols) = self.counts(frame);
        let (positions, width) = (self.dim(axis).count, self.dim(state_axis).count);
        let one_column = frame.cols.is_none();
        let always = self.x().truth(true);
        let masked = (!finite).then_some(Masked { cond: always, spans: None });
        self.emit_triangle(rows, &mut |nest, [from, rows, seen]| {
            let zero = nest.x().int(0);
            let dst = View::Tile { tile: acc, row: from, col: zero, transposed: false };
            let lhs = View::Tile { tile: shared.pairs, row: from, col: zero, transposed: false };
            let rhs = values.clone();
            nest.emit(Stmt::masked_product(dst, lhs, rhs, [rows, cols, seen], false, masked));
        })?;
        let product = |dst: View, lhs, rhs, rows, cols, depth| Stmt::product(dst, lhs, rhs, [rows, cols, depth], true);
        let (acc, own) = (self.tile_view(acc), self.tile_view(state));
        let before = if one_column { own.turned() } else { own.clone() };
        self.emit(product(acc, shared.query, before, rows, cols, width));
        if let Some(whole) = shared.whole_decay {
            let state_frame =
                if one_column { Frame::new(None, Some(state_axis)) } else { Frame::new(Some(state_axis), frame.cols) };
            let old = self.element(state, state_frame);
            let value = self.x().times(old, whole);
            self.map(state, state_frame, value);
        }
        let keys = self.tile_view(shared.keys);
        let step = match one_column {
            true => product(own, values.turned(), keys, cols, width, positions),
            false => product(own, keys.turned(), values, width, cols, positions),
        };
        self.emit(step);
        Ok(())
    }

    /// Emits a loop over the rows of a chunk, some at a time: `body` gets the first of them, how many they are, and how
    /// many positions the last of them sees.
    fn emit_triangle(&mut self, rows: ExprId, body: &mut dyn FnMut(&mut Self, [ExprId; 3])) -> Result<(), PlanError> {
        let (var, from) = self.var(Lane::I64);
        let stmts = self.inner(None, |nest| {
            let step = nest.x().int(TRIANGLE_ROWS);
            let left = nest.x().difference(rows, from);
            let count = nest.x().min(step, left);
            let seen = nest.x().sum(from, count);
            body(nest, [from, count, seen]);
            Ok(())
        })?;
        let zero = self.x().int(0);
        self.emit(Stmt::For { var, from: zero, to: rows, step: TRIANGLE_ROWS, body: stmts });
        Ok(())
    }

    /// What scans with the same query, keys and decay have in common: a
    /// numerator and its denominator, say.
    fn chunk_shared(
        &mut self,
        prefix: &Prefix,
        keys: TermId,
        frame: Frame,
        axis: AxisId,
        state_axis: AxisId,
    ) -> Result<ChunkShared, PlanError> {
        let key = (prefix.query, keys, prefix.decay);
        if let Some(known) = self.chunks.get(&key) {
            return Ok(known.clone());
        }
        let key_frame = Frame::new(Some(axis), Some(state_axis));
        let value = self.eval(keys, key_frame, false)?;
        let mut keys = self.as_tile("key", value, key_frame);
        let query_frame = Frame::new(frame.rows, Some(state_axis));
        let mut query = self.lhs_view(prefix.query, query_frame)?;
        let decay = self.chunk_decay(prefix, axis)?;
        let segments = decay.as_ref().map(|d| d.segments);
        let pairs = self.chunk_pairs(&query, keys, frame, [axis, state_axis], segments)?;
        let mut whole_decay = None;
        if let Some(d) = &decay {
            query = self.scaled_query(prefix.query, query_frame, d.since_start)?;
            keys = self.scaled_keys(keys, d, key_frame);
            let (last, zero) = (self.plus(d.count, -1), self.x().int(0));
            let lane = self.program.compute;
            let whole = self.x().add(Expr::Tile { tile: d.since_start, row: last, col: zero }, Some(lane));
            whole_decay = Some(self.let_scalar(whole));
        }
        let shared = ChunkShared { pairs, query, keys, whole_decay };
        self.chunks.insert(key, shared.clone());
        Ok(shared)
    }

    /// The decayed products of all rows with the keys up to their own, in blocks of rows; 0 for other keys of a block.
    fn chunk_pairs(
        &mut self,
        query: &View,
        keys: TileId,
        frame: Frame,
        [axis, state_axis]: [AxisId; 2],
        segments: Option<TileId>,
    ) -> Result<TileId, PlanError> {
        let compute = self.program.compute;
        let across = Frame::new(Some(state_axis), Some(axis));
        let turned = self.frame_tile("keyt", compute, across);
        let (row, col) = (self.x().add(Expr::Row, None), self.x().add(Expr::Col, None));
        let value = self.x().add(Expr::Tile { tile: keys, row: col, col: row }, Some(compute));
        self.map(turned, across, value);
        let pair_frame = Frame::new(frame.rows, Some(axis));
        let pairs = self.frame_tile("pair", compute, pair_frame);
        let (rows, _) = self.counts(pair_frame);
        let depth = self.dim(state_axis).count;
        self.emit_triangle(rows, &mut |nest, [from, rows, seen]| {
            let zero = nest.x().int(0);
            let dst = View::Tile { tile: pairs, row: from, col: zero, transposed: false };
            let (lhs, rhs) = (nest.rows_from(query, from), nest.tile_view(turned));
            nest.emit(Stmt::product(dst, lhs, rhs, [rows, seen, depth], false));
            nest.mask_pairs(pairs, [from, rows, seen], segments);
        })?;
        Ok(pairs)
    }

    /// Decays the rows of a block and puts 0 for keys after a row's own.
    fn mask_pairs(&mut self, pairs: TileId, [from, rows, seen]: [ExprId; 3], segments: Option<TileId>) {
        let compute = self.program.compute;
        let (row, col) = (self.x().add(Expr::Row, None), self.x().add(Expr::Col, None));
        let at = self.x().sum(from, row);
        // Without decay, keys before the block's rows stay as they are.
        let (key, cols) = match segments {
            Some(_) => (col, seen),
            None => (self.x().sum(from, col), rows),
        };
        let earlier = match segments {
            Some(_) => self.x().binary(BinaryOp::Le, key, at),
            None => self.x().binary(BinaryOp::Le, col, row),
        };
        let pair = self.x().add(Expr::Tile { tile: pairs, row: at, col: key }, Some(compute));
        let value = match segments {
            None => pair,
            Some(tile) => {
                let decay = self.x().add(Expr::Tile { tile, row: at, col: key }, Some(compute));
                self.x().times(pair, decay)
            }
        };
        let zero = self.constant(0.0);
        let value = self.choose(earlier, value, zero);
        self.emit(Stmt::Map { dst: Dst::Tile { tile: pairs, row: at, col: key }, rows, cols, value });
    }

    /// The view without its first `from` rows.
    fn rows_from(&mut self, view: &View, from: ExprId) -> View {
        let mut view = view.clone();
        match &mut view {
            View::Tile { row, transposed: false, .. } => *row = self.x().sum(*row, from),
            View::Tile { col, transposed: true, .. } => *col = self.x().sum(*col, from),
            View::Buffer { index, row_dim, steps, .. } => {
                if let Some(dim) = *row_dim {
                    let step = self.x().int(steps[0]);
                    let far = self.x().times(from, step);
                    index[dim] = self.x().sum(index[dim], far);
                }
            }
            View::Pairs { index, row_dim, .. } => index[*row_dim] = self.x().sum(index[*row_dim], from),
        }
        view
    }

    /// Products of decay factors inside the chunk; `None` for a decay of 1.
    fn chunk_decay(&mut self, prefix: &Prefix, axis: AxisId) -> Result<Option<ChunkDecay>, PlanError> {
        if matches!(self.planner.terms.node(prefix.decay), Node::Real(v) if v.get() == 1.0) {
            return Ok(None);
        }
        let compute = self.program.compute;
        let rows = Frame::new(Some(axis), None);
        let factor = self.eval(prefix.decay, rows, false)?;
        let factor = self.spill("g", factor, rows);
        let factor = self.element_tile(factor).expect("spill returns a tile element");
        let size = self.x().int(CHUNK);
        let segments = self.tile("seg", compute, size, size);
        let count = self.dim(axis).count;
        self.segment_products(factor, segments, count);
        let since_start = self.frame_tile("since", compute, rows);
        let (row, zero) = (self.x().add(Expr::Row, None), self.x().int(0));
        let first = self.x().add(Expr::Tile { tile: factor, row: zero, col: zero }, Some(compute));
        let to_row = self.x().add(Expr::Tile { tile: segments, row, col: zero }, Some(compute));
        let value = self.x().times(to_row, first);
        self.map(since_start, rows, value);
        Ok(Some(ChunkDecay { segments, since_start, count }))
    }

    /// `segments[i, j] = prod[t where j < t and t <= i](factor[t])`, row by row.
    fn segment_products(&mut self, factor: TileId, segments: TileId, count: ExprId) {
        let compute = self.program.compute;
        let (var, i) = self.var(Lane::I64);
        let col = self.x().add(Expr::Col, None);
        let zero = self.x().int(0);
        let before = self.plus(i, -1);
        let before = self.x().max(before, zero);
        let above = self.x().add(Expr::Tile { tile: segments, row: before, col }, Some(compute));
        let here = self.x().add(Expr::Tile { tile: factor, row: i, col: zero }, Some(compute));
        let product = self.x().times(above, here);
        let (one, none) = (self.x().real(compute, 1.0), self.x().real(compute, 0.0));
        let on = self.x().binary(BinaryOp::Eq, col, i);
        let below = self.x().binary(BinaryOp::Lt, col, i);
        let rest = self.choose(on, one, none);
        let value = self.choose(below, product, rest);
        let dst = Dst::Tile { tile: segments, row: i, col };
        let rows = self.x().int(1);
        let body = vec![Stmt::Map { dst, rows, cols: count, value }];
        self.emit(Stmt::For { var, from: zero, to: count, step: 1, body });
    }

    /// The query rows scaled by the decay since the chunk's start.
    fn scaled_query(&mut self, query: TermId, frame: Frame, since_start: TileId) -> Result<View, PlanError> {
        let value = self.eval(query, frame, false)?;
        let rows = Frame::new(frame.rows, None);
        let scale = self.element(since_start, rows);
        let value = self.x().times(value, scale);
        let tile = self.frame_tile("qs", self.program.compute, frame);
        self.map(tile, frame, value);
        Ok(self.tile_view(tile))
    }

    /// Each key scaled by the decay after it, up to the chunk's end.
    fn scaled_keys(&mut self, keys: TileId, d: &ChunkDecay, frame: Frame) -> TileId {
        let compute = self.program.compute;
        let (last, row) = (self.plus(d.count, -1), self.x().add(Expr::Row, None));
        let after = self.x().add(Expr::Tile { tile: d.segments, row: last, col: row }, Some(compute));
        let key = self.element(keys, frame);
        let value = self.x().times(key, after);
        let scaled = self.frame_tile("keyd", compute, frame);
        self.map(scaled, frame, value);
        scaled
    }

    /// One position after the other.
    fn recur(&mut self, prefix: &Prefix, frame: Frame, state: TileId, acc: TileId) -> Result<(), PlanError> {
        let state_frame = Frame::new(prefix.state, frame.cols);
        let query = match prefix.state {
            Some(axis) => Some(self.lhs_view(prefix.query, Frame::new(frame.rows, Some(axis)))?),
            None => None,
        };
        let dim = self.chunk_dim(frame);
        let (var, t) = self.var(Lane::I64);
        let at = self.x().sum(dim.base, t);
        let (_, cols) = self.counts(frame);
        let body = self.inner(Some((prefix.axis, Binding::Fixed(at))), |nest| {
            let decay = nest.eval(prefix.decay, state_frame, false)?;
            let value = nest.eval(prefix.body, state_frame, false)?;
            let old = nest.element(state, state_frame);
            let kept = nest.x().times(old, decay);
            let new = nest.x().sum(kept, value);
            nest.map(state, state_frame, new);
            let one = nest.x().int(1);
            let zero = nest.x().int(0);
            match &query {
                Some(query) => {
                    let lhs = row_of(nest, query, t);
                    let rhs = nest.tile_view(state);
                    let dst = View::Tile { tile: acc, row: t, col: zero, transposed: false };
                    let depth = nest.counts(state_frame).0;
                    nest.emit(Stmt::product(dst, lhs, rhs, [one, cols, depth], false));
                }
                None => {
                    let col = nest.lane_index(state_frame).1;
                    let value = nest.element(state, state_frame);
                    nest.emit(Stmt::Map { dst: Dst::Tile { tile: acc, row: t, col }, rows: one, cols, value });
                }
            }
            Ok(())
        })?;
        let from = self.x().int(0);
        self.emit(Stmt::For { var, from, to: dim.count, step: 1, body });
        Ok(())
    }

    /// The row axis of the first scan below the term that is not inside another stage's reduction.
    pub fn scan_row(planner: &crate::planner::Planner<'_>, term: TermId) -> Option<AxisId> {
        let node = planner.terms.node(term);
        match node {
            Node::Scan { row, .. } => Some(*row),
            Node::Reduce { body, .. } => planner.factors(*body).into_iter().find_map(|t| match planner.terms.node(t) {
                Node::Scan { carry: Carry::Sum, row, .. } => Some(*row),
                _ => None,
            }),
            _ if node.runs_over_axis() => None,
            _ => node.operands().into_iter().find_map(|t| Self::scan_row(planner, t)),
        }
    }
}

/// What the scans of a stage share in one chunk.
#[derive(Clone, Debug)]
pub(crate) struct ChunkShared {
    /// Decayed products of rows and earlier keys, 0 for later ones.
    pairs: TileId,
    /// The queries, scaled by the decay since the chunk's start.
    query: View,
    /// The keys, scaled by the decay after them.
    keys: TileId,
    /// Decay of the whole chunk; `None` for 1.
    whole_decay: Option<ExprId>,
}

/// Decay products of one chunk.
struct ChunkDecay {
    /// `[i, j]`: product of the factors after j up to i.
    segments: TileId,
    /// `[i, 0]`: product of the factors up to i.
    since_start: TileId,
    /// Positions in the chunk.
    count: ExprId,
}

/// The one-row view of row `t`.
fn row_of(nest: &mut Nest<'_, '_>, view: &View, t: ExprId) -> View {
    match nest.rows_from(view, t) {
        View::Buffer { buffer, index, col_dim, steps, .. } => {
            View::Buffer { buffer, index, row_dim: None, col_dim, steps: [1, steps[1]] }
        }
        tile => tile,
    }
}
