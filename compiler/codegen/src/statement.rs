//! Statements: the loop nest, microkernel calls, maps and row reductions.

use attnc_plan::loops::program::SPAN_GAP;
use attnc_plan::loops::{BufferId, Dst, ExprId, KeyRange, Lane, Masked, Open, Piece, RowSpans, SpanLoop, Stmt, TileId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::Variable;

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::cells::{Cells, Lanes, Sink};
use crate::function::{Lower, plain};
use crate::graph::{Graph, Id};
use crate::memory::Storage;
use crate::place::Place;

/// A matrix for a microkernel: the address of element (0, 0) and its strides.
pub(crate) struct Matrix {
    pub base: Value,
    pub row_stride: Value,
    pub col_stride: Value,
}

impl<'a> Lower<'a, '_> {
    /// Binds the grid variables to the task's point.
    pub(crate) fn grid(&mut self, task: Value) -> Result<(), CodegenError> {
        let mut rest = task;
        for (at, (var, count)) in self.program.grid.iter().enumerate().rev() {
            if at == 0 {
                self.set_var(*var, rest)?;
                break;
            }
            let count = self.scalar(*count)?;
            let one = self.int(1);
            let count = self.builder.ins().smax(count, one);
            let value = self.builder.ins().urem(rest, count);
            rest = self.builder.ins().udiv(rest, count);
            self.set_var(*var, value)?;
        }
        Ok(())
    }

    /// Ends the function.
    pub(crate) fn finish(mut self, config: TargetFrontendConfig) {
        self.builder.ins().return_(&[]);
        self.builder.finalize(config);
    }

    pub(crate) fn block(&mut self, body: &'a [Stmt]) -> Result<(), CodegenError> {
        let mut body = body;
        while let [stmt, rest @ ..] = body {
            if let Some((attend, rest)) = self.attend(body) {
                self.attend_pairs(&attend)?;
                body = rest;
                continue;
            }
            body = match (self.scale_of_product(stmt, rest.first()), rest) {
                (Some(alpha), [product, rest @ ..]) => {
                    self.product(product, Some(alpha))?;
                    rest
                }
                _ => {
                    self.statement(stmt)?;
                    rest
                }
            };
        }
        Ok(())
    }

    /// The factors of rows, where what is scaled is at once what a product adds to: it can do both in one pass.
    pub(crate) fn scale_of_product(&self, stmt: &Stmt, next: Option<&Stmt>) -> Option<TileId> {
        let Stmt::ScaleRows { tile, alpha, rows, cols } = stmt else { return None };
        let Stmt::Product { dst, rhs, rows: m, cols: n, accumulate: true, open: Open::All, .. } = next? else {
            return None;
        };
        let same = self.whole_tile(dst) == Some(*tile) && (m, n) == (rows, cols);
        (same && self.narrow_product(rhs).is_none()).then_some(*alpha)
    }

    fn statement(&mut self, stmt: &'a Stmt) -> Result<(), CodegenError> {
        match stmt {
            Stmt::For { var, from, to, step, body } => {
                let (from, to) = (self.scalar(*from)?, self.scalar(*to)?);
                let open = self.open_loop(from, to);
                let at = open.at;
                self.set_var(*var, at)?;
                self.block(body)?;
                let next = self.builder.ins().iadd_imm_s(at, (*step).max(1));
                self.close_loop(open, next);
                Ok(())
            }
            Stmt::Spans(spans) => self.spans(spans),
            Stmt::If { cond, then, otherwise } => {
                let cond = self.scalar(*cond)?;
                self.either(cond, |s| s.block(then), |s| s.block(otherwise))
            }
            Stmt::Let { var, value } => {
                let value = self.scalar(*value)?;
                self.set_var(*var, value)
            }
            Stmt::Map { dst, rows, cols, value } => self.map(dst, *rows, *cols, *value),
            Stmt::RowReduce { .. } => self.row_reduce(stmt),
            Stmt::Product { .. } => self.product(stmt, None),
            Stmt::Pack { .. } => self.pack(stmt),
            Stmt::Dots { .. } => self.dots(stmt),
            Stmt::MaxPlus { .. } => self.max_plus(stmt),
            Stmt::ProductTanh { .. } => self.product_tanh(stmt),
            Stmt::List { .. } => self.list(stmt),
            Stmt::DotsListed { .. } | Stmt::SumListed { .. } => self.listed(stmt),
            Stmt::DropUnweighted { .. } => self.drop_unweighted(stmt),
            Stmt::SoftmaxUpdate { .. } => self.softmax(stmt),
            Stmt::Order { keys, order, at, count } => {
                let [count] = self.lengths([*count])?;
                let at: Vec<Value> = at.iter().map(|id| self.scalar(*id)).collect::<Result<_, _>>()?;
                let [keys, order] = [keys, order].map(|buffer| self.line(*buffer, &at));
                self.call(Microkernel::OrderKeys, &[keys, order, count]);
                Ok(())
            }
            Stmt::Ranks { .. } => self.ranks(stmt),
            Stmt::ClearLargest { .. } => self.clear_largest(stmt),
            Stmt::KeepSpans { tile, from, to, keep, fill, rows, cols } => {
                let kernel = self.by_lane(*tile, Microkernel::KeepSpansF32, Microkernel::KeepSpansF64)?;
                let [rows, cols] = self.lengths([*rows, *cols])?;
                let (base, stride) = self.tile(*tile);
                let [from, to] = [from, to].map(|t| self.tile(*t).0);
                let (keep, fill) = (self.int(i64::from(*keep)), self.int(fill.to_bits() as i64));
                self.call(kernel, &[rows, cols, base, stride, from, to, keep, fill]);
                Ok(())
            }
            Stmt::KeepKeys { .. } => self.keep_keys(stmt),
            Stmt::NarrowSpans { .. } => self.narrow_spans(stmt),
            Stmt::ScatterAdd { .. } => self.scatter_add(stmt),
            Stmt::Flush { tile, rows, cols } => {
                let kernel = self.by_lane(*tile, Microkernel::FlushF32, Microkernel::FlushF64)?;
                let [rows, cols] = self.lengths([*rows, *cols])?;
                let (base, stride) = self.tile(*tile);
                self.call(kernel, &[rows, cols, base, stride]);
                Ok(())
            }
            Stmt::ScaleRows { tile, alpha, rows, cols } => {
                let kernel = self.by_lane(*tile, Microkernel::ScaleRowsF32, Microkernel::ScaleRowsF64)?;
                let [rows, cols] = self.lengths([*rows, *cols])?;
                let (base, stride) = self.tile(*tile);
                let alpha = self.tile(*alpha).0;
                self.call(kernel, &[rows, cols, base, stride, alpha]);
                Ok(())
            }
        }
    }

    fn softmax(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::SoftmaxUpdate { scores, max, sum, alpha, masked, rows, cols } = stmt else { return Ok(()) };
        let whole = self.by_lane(*scores, Microkernel::SoftmaxUpdateF32, Microkernel::SoftmaxUpdateF64)?;
        let seen = self.by_lane(*scores, Microkernel::SoftmaxSpansF32, Microkernel::SoftmaxSpansF64)?;
        let [rows, cols] = self.lengths([*rows, *cols])?;
        let (base, stride) = self.tile(*scores);
        let [max, sum, alpha] = [max, sum, alpha].map(|t| self.tile(*t).0);
        let args = [rows, cols, base, stride, max, sum, alpha];
        let Some(Masked { cond, spans: Some(spans) }) = masked else {
            self.call(whole, &args);
            return Ok(());
        };
        let cond = self.scalar(*cond)?;
        self.either(
            cond,
            |s| {
                let [from, to] = s.row_spans(spans);
                s.call(seen, &[args.as_slice(), &[from, to]].concat());
                Ok(())
            },
            |s| {
                s.call(whole, &args);
                Ok(())
            },
        )
    }

    fn narrow_spans(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::NarrowSpans { spans, range, rows, cols } = stmt else { return Ok(()) };
        let [rows, cols] = self.lengths([*rows, *cols])?;
        let ([from, to], [least, most, keys]) = (self.row_spans(spans), self.key_range(range));
        let inside = self.int(i64::from(range.inside));
        self.call(Microkernel::NarrowSpans, &[rows, cols, from, to, least, most, keys, inside]);
        Ok(())
    }

    /// The addresses of both ends of the spans of rows.
    pub(crate) fn row_spans(&mut self, spans: &RowSpans) -> [Value; 2] {
        spans.tiles().map(|end| self.tile(end).0)
    }

    fn clear_largest(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::ClearLargest { dst, scores, slack, rows, cols } = stmt else { return Ok(()) };
        let [rows, cols] = self.lengths([*rows, *cols])?;
        let (base, stride) = self.tile(*scores);
        let [slack, dst] = [slack, dst].map(|t| self.tile(*t).0);
        self.call(Microkernel::ClearLargestF32, &[rows, cols, base, stride, slack, dst]);
        Ok(())
    }

    fn scatter_add(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::ScatterAdd { dst, src, at, rows, cols, width } = stmt else { return Ok(()) };
        let kernel = self.by_lane(*dst, Microkernel::ScatterAddF32, Microkernel::ScatterAddF64)?;
        let mut args = self.lengths([*rows, *cols, *width])?.to_vec();
        for tile in [dst, src, at] {
            let (base, stride) = self.tile(*tile);
            args.extend([base, stride]);
        }
        self.call(kernel, &args);
        Ok(())
    }

    fn keep_keys(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::KeepKeys { tile, any, fill, rows, cols } = stmt else { return Ok(()) };
        let kernel = self.by_lane(*tile, Microkernel::KeepKeysF32, Microkernel::KeepKeysF64)?;
        let (Some(first), Some(last)) = (any.first(), any.last()) else { return Ok(()) };
        let [rows, cols] = self.lengths([*rows, *cols])?;
        let (base, stride) = self.tile(*tile);
        let mut args = vec![rows, cols, base, stride];
        for range in [first, last] {
            args.extend(self.key_range(range));
        }
        let flags = i64::from(first.inside) + 2 * i64::from(last.inside) + 4 * i64::from(any.len() > 1);
        args.extend([self.int(flags), self.int(fill.to_bits() as i64)]);
        self.call(kernel, &args);
        Ok(())
    }

    /// The addresses of a range's bounds, null for none, and of its keys.
    fn key_range(&mut self, range: &KeyRange) -> [Value; 3] {
        [range.least, range.most, Some(range.keys)].map(|tile| match tile {
            Some(tile) => self.tile(tile).0,
            None => self.int(0),
        })
    }

    fn ranks(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::Ranks { dst, keys, counted, order, rows, cols, limit } = stmt else { return Ok(()) };
        let kernel = match self.program.tiles[keys.0 as usize].lane {
            Lane::I64 => Microkernel::RanksI64,
            _ => Microkernel::RanksF64,
        };
        let [rows, cols, limit] = self.lengths([*rows, *cols, limit.unwrap_or(*cols)])?;
        let ((keys, keys_rs), (dst, dst_rs), (order, _)) = (self.tile(*keys), self.tile(*dst), self.tile(*order));
        let (counted, counted_rs) = match counted {
            Some(counted) => self.tile(*counted),
            None => {
                let null = self.builder.ins().iconst(types::I64, 0);
                (null, null)
            }
        };
        self.call(kernel, &[rows, cols, keys, keys_rs, counted, counted_rs, order, dst, dst_rs, limit]);
        Ok(())
    }

    fn by_lane(&self, tile: TileId, single: Microkernel, double: Microkernel) -> Result<Microkernel, CodegenError> {
        match self.program.tiles[tile.0 as usize].lane {
            Lane::F32 => Ok(single),
            Lane::F64 => Ok(double),
            lane => Err(self.no_lane(single.name(), lane)),
        }
    }

    /// Scalars that share a graph.
    pub(crate) fn scalars<const N: usize>(&mut self, ids: [ExprId; N]) -> Result<[Value; N], CodegenError> {
        let graph = Graph::new(&self.program.exprs, &ids, false);
        let mut zero = self.known_scalars(&graph);
        for number in 0..graph.len() {
            if zero[number].is_none() {
                zero[number] = Some(self.zero_node(&graph, &zero, None, Id(number as u32))?);
            }
        }
        for (expr, id) in graph.steady() {
            if let Some(value) = zero[id.0 as usize] {
                self.keep_scalar(expr, value);
            }
        }
        Ok(ids.map(|id| zero[graph.of(id).0 as usize].expect("every node was evaluated")))
    }

    /// The scalars of a graph that are known already, by node.
    pub(crate) fn known_scalars(&self, graph: &Graph) -> Vec<Option<Value>> {
        let mut zero = vec![None; graph.len()];
        for (expr, id) in graph.steady() {
            zero[id.0 as usize] = self.known_scalar(expr);
        }
        zero
    }

    /// The value of an expression outside of maps.
    pub(crate) fn scalar(&mut self, id: ExprId) -> Result<Value, CodegenError> {
        Ok(self.scalars([id])?[0])
    }

    /// Scalars that count something: at least 0.
    pub(crate) fn lengths<const N: usize>(&mut self, ids: [ExprId; N]) -> Result<[Value; N], CodegenError> {
        let values = self.scalars(ids)?;
        Ok(values.map(|value| match self.constant_value(value) {
            Some(v) if v >= 0 => value,
            _ => {
                let zero = self.int(0);
                self.builder.ins().smax(value, zero)
            }
        }))
    }
}

/// Spans.
impl<'a> Lower<'a, '_> {
    fn spans(&mut self, spans: &'a SpanLoop) -> Result<(), CodegenError> {
        let limit = self.scalar(spans.limit)?;
        if let [piece] = &spans.pieces[..]
            && piece.repeat.is_none()
        {
            return self.one_span(spans, piece, limit);
        }
        let (list, _) = self.tile(spans.list);
        let count = self.builder.declare_var(types::I64);
        let zero = self.int(0);
        self.builder.def_var(count, zero);
        for piece in &spans.pieces {
            let Some((var, repeats)) = piece.repeat else {
                self.piece(piece, limit, list, count)?;
                continue;
            };
            let (zero, repeats) = (self.int(0), self.scalar(repeats)?);
            let open = self.open_loop(zero, repeats);
            let at = open.at;
            self.set_var(var, at)?;
            self.piece(piece, limit, list, count)?;
            let next = self.builder.ins().iadd_imm_s(at, 1);
            self.close_loop(open, next);
        }
        let (filled, gap) = (self.builder.use_var(count), self.int(SPAN_GAP));
        let merged = self.call(Microkernel::MergeSpans, &[list, filled, gap]);
        let merged = merged.ok_or_else(|| self.malformed("a microkernel gave no result"))?;
        let zero = self.int(0);
        let open = self.open_loop(zero, merged);
        let at = open.at;
        let bytes = self.builder.ins().ishl_imm_s(at, 4);
        let pair = self.builder.ins().iadd(list, bytes);
        let from = self.builder.ins().load(types::I64, plain(), pair, 0);
        let to = self.builder.ins().load(types::I64, plain(), pair, 8);
        self.span_tiles(spans, from, to)?;
        let next = self.builder.ins().iadd_imm_s(at, 1);
        self.close_loop(open, next);
        Ok(())
    }

    /// Tiles of the only span: nothing to merge.
    fn one_span(&mut self, spans: &'a SpanLoop, piece: &Piece, limit: Value) -> Result<(), CodegenError> {
        let guard = self.scalar(piece.guard)?;
        let (from, to) = self.clipped(piece, limit)?;
        let meets = self.builder.ins().icmp(IntCC::SignedLessThan, from, to);
        let both = self.builder.ins().band(guard, meets);
        self.when(both, |s| s.span_tiles(spans, from, to))
    }

    fn clipped(&mut self, piece: &Piece, limit: Value) -> Result<(Value, Value), CodegenError> {
        let [from, to] = self.scalars([piece.from, piece.to])?;
        let zero = self.int(0);
        Ok((self.builder.ins().smax(from, zero), self.builder.ins().smin(to, limit)))
    }

    /// Appends one interval to the list, unless it is empty.
    fn piece(&mut self, piece: &Piece, limit: Value, list: Value, count: Variable) -> Result<(), CodegenError> {
        let guard = self.scalar(piece.guard)?;
        self.when(guard, |s| {
            let (from, to) = s.clipped(piece, limit)?;
            let meets = s.builder.ins().icmp(IntCC::SignedLessThan, from, to);
            s.when(meets, |s| {
                let at = s.builder.use_var(count);
                let bytes = s.builder.ins().ishl_imm_s(at, 4);
                let pair = s.builder.ins().iadd(list, bytes);
                s.builder.ins().store(plain(), from, pair, 0);
                s.builder.ins().store(plain(), to, pair, 8);
                let next = s.builder.ins().iadd_imm_s(at, 1);
                s.builder.def_var(count, next);
                Ok(())
            })
        })
    }

    /// A span, cut at the multiples of the tile width.
    fn span_tiles(&mut self, spans: &'a SpanLoop, from: Value, to: Value) -> Result<(), CodegenError> {
        let open = self.open_loop(from, to);
        let at = open.at;
        let tile = self.int(spans.tile);
        let (_, over) = self.floor_div(at, tile);
        let start = self.builder.ins().isub(at, over);
        let next = self.builder.ins().iadd_imm_s(start, spans.tile);
        let end = self.builder.ins().smin(next, to);
        self.set_var(spans.var, at)?;
        self.set_var(spans.end, end)?;
        self.block(&spans.body)?;
        self.close_loop(open, end);
        Ok(())
    }
}

impl Lower<'_, '_> {
    /// Address of the first element of a buffer at leading indices.
    pub(crate) fn line(&mut self, buffer: BufferId, at: &[Value]) -> Value {
        let reference = self.buffer(buffer);
        let size = self.program.buffers[buffer.0 as usize].dtype.size() as i64;
        let mut base = reference.base;
        for (dim, index) in at.iter().enumerate() {
            let stride = self.stride(buffer, reference, dim);
            let flat = self.builder.ins().imul(*index, stride);
            let bytes = self.builder.ins().imul_imm_s(flat, size);
            base = self.builder.ins().iadd(base, bytes);
        }
        base
    }
}

/// Maps.
impl Lower<'_, '_> {
    fn map(&mut self, dst: &Dst, rows: ExprId, cols: ExprId, value: ExprId) -> Result<(), CodegenError> {
        let indices: Vec<ExprId> = match dst {
            Dst::Tile { row, col, .. } => vec![*row, *col],
            Dst::Buffer { index, .. } => index.clone(),
        };
        // A map onto one column runs along its rows instead.
        let swap = self.program.exprs.as_int(cols) == Some(1);
        let mut roots = indices.clone();
        roots.push(value);
        let graph = Graph::new(&self.program.exprs, &roots, swap);
        let indices: Vec<Id> = indices.into_iter().map(|id| graph.of(id)).collect();
        let (value_id, value) = (value, graph.of(value));
        let [rows, cols] = self.scalars(if swap { [cols, rows] } else { [rows, cols] })?;
        let some = self.some_cells(rows, cols);
        self.when(some, |s| {
            let widening = if swap { None } else { s.widening(dst, (rows, cols), value_id)? };
            if let Some((kernel, suits, args)) = widening {
                return s.either(
                    suits,
                    |s| {
                        s.call(kernel, &args);
                        Ok(())
                    },
                    |s| s.map_cells(dst, (rows, cols), &graph, value, &indices),
                );
            }
            let transposition = if swap { None } else { s.transposition(dst, (rows, cols), value_id)? };
            let call = match transposition {
                Some((suits, args)) => Some((suits, Microkernel::TransposeF32, args.to_vec())),
                None if swap => None,
                None => {
                    let call = match s.affine_call(dst, (rows, cols), value_id)? {
                        None => s.added_call(dst, (rows, cols), value_id)?,
                        affine => affine,
                    };
                    call.map(|call| (call.suits, call.kernel, call.args))
                }
            };
            let Some((suits, kernel, args)) = call else {
                return s.map_cells(dst, (rows, cols), &graph, value, &indices);
            };
            let Some(suits) = suits else {
                s.call(kernel, &args);
                return Ok(());
            };
            s.either(
                suits,
                |s| {
                    s.call(kernel, &args);
                    Ok(())
                },
                |s| s.map_cells(dst, (rows, cols), &graph, value, &indices),
            )
        })
    }

    /// A map lane by lane.
    fn map_cells(
        &mut self,
        dst: &Dst,
        (rows, cols): (Value, Value),
        graph: &Graph,
        value: Id,
        indices: &[Id],
    ) -> Result<(), CodegenError> {
        let mut cells = Cells::new(graph, self.known_scalars(graph), &[value], indices);
        if let (Dst::Tile { tile, .. }, &[row, col]) = (dst, indices) {
            cells = cells.overwriting(*tile, (row, col));
        }
        let mut roots = vec![value];
        roots.extend(indices.iter().filter(|id| graph.node(**id).slope.is_none()));
        let varies = indices.iter().any(|id| graph.node(*id).row);
        let mut sink = MapSink { dst, indices, value, varies, place: None };
        let cap = match dst {
            Dst::Tile { tile, .. } => self.program.exprs.as_int(self.program.tiles[tile.0 as usize].cols),
            Dst::Buffer { .. } => None,
        };
        self.cells(&mut cells, (rows, cols), cap, &roots, &mut sink)
    }

    /// Whether there is at least one row and one column.
    fn some_cells(&mut self, rows: Value, cols: Value) -> Value {
        let least = self.builder.ins().smin(rows, cols);
        self.builder.ins().icmp_imm_s(IntCC::SignedGreaterThan, least, 0)
    }
}

/// Stores the value of a map.
struct MapSink<'a> {
    dst: &'a Dst,
    indices: &'a [Id],
    value: Id,
    /// Whether the place varies with the row.
    varies: bool,
    place: Option<Place>,
}

impl Sink for MapSink<'_> {
    fn level(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>, row: bool) -> Result<(), CodegenError> {
        if row != self.varies {
            return Ok(());
        }
        let context = cells.context();
        self.place = Some(match self.dst {
            Dst::Tile { tile, .. } => lower.tile_place(&context, *tile, self.indices[0], self.indices[1]),
            Dst::Buffer { buffer, .. } => lower.buffer_place(&context, *buffer, self.indices, false)?,
        });
        Ok(())
    }

    fn group(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>, lanes: &Lanes) -> Result<(), CodegenError> {
        let place = self.place.as_ref().ok_or_else(|| lower.malformed("a map has no destination"))?;
        let from = cells.graph.node(self.value).lane;
        let parts = cells.group(lanes, self.value);
        let parts = lower.convert(from, place.storage.lane(), lanes.width, &parts)?;
        let indices = cells.indices(place, lanes);
        lower.store_place(place, &indices, lanes.col, &parts)
    }

    fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    fn row_end(&mut self, _: &mut Lower<'_, '_>, _: &Cells<'_>) -> Result<(), CodegenError> {
        Ok(())
    }
}

impl Lower<'_, '_> {
    /// Address of a tile's (row, 0).
    pub(crate) fn column_address(&mut self, tile: TileId, row: Value) -> (Storage, Value) {
        let storage = Storage::of_tile(self.program.tiles[tile.0 as usize].lane);
        let (base, stride) = self.tile(tile);
        let flat = self.builder.ins().imul(row, stride);
        let bytes = self.builder.ins().imul_imm_s(flat, storage.size());
        (storage, self.builder.ins().iadd(base, bytes))
    }
}
