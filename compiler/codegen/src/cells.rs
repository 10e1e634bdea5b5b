//! Rows and columns: the loops around the lanes of a map or a row reduction.
//!
//! Scalars that do not vary with the row are computed before the row loop,
//! those that do at the start of a row, and lanes in groups along it with
//! single lanes at the end.

use std::collections::{BTreeMap, BTreeSet};

use attnc_plan::loops::{Lane, TileId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use crate::CodegenError;
use crate::calls::vector_kernel;
use crate::demand::{Demand, is_staged};
use crate::function::Lower;
use crate::graph::{Graph, Id, Op};
use crate::lanes::{Parts, part_count};
use crate::memory::Storage;
use crate::place::{Context, LaneIndices, Place};

/// Elements between microkernel calls: long enough that a call costs little, short enough for the first-level cache.
pub(crate) const CHUNK: i64 = 1024;

/// Rows of at most this many columns share microkernel calls.
const SHORT_ROW: i64 = 128;

/// The state of a statement's emission.
pub(crate) struct Cells<'g> {
    pub graph: &'g Graph,
    pub demand: Demand,
    /// Lanes of a full group.
    pub width: usize,
    /// Scalars, by node.
    pub zero: Vec<Option<Value>>,
    row: Option<Value>,
    /// The vector with a scalar in every lane.
    splats: BTreeMap<Id, Value>,
    /// The vector with a scalar's low 32 bits in every lane.
    pub thresholds: BTreeMap<Id, Value>,
    /// Where tile elements and loads lie.
    pub places: BTreeMap<Id, Place>,
    /// Where columns may be taken in groups of any width: the step of what is written, if only the launch knows it.
    written: Option<Value>,
    free_order: bool,
    in_place: Option<InPlace>,
}

/// A microkernel call whose only argument is the element that the statement overwrites: it runs on the tile itself.
#[derive(Clone, Copy)]
struct InPlace {
    call: Id,
    element: Id,
    tile: TileId,
}

/// The lanes of one group.
pub(crate) struct Lanes {
    pub width: usize,
    /// Whether steps that only the launch knows are 1.
    unit: bool,
    /// Column of the first lane.
    pub col: Value,
    /// The same from the start of the chunk.
    offset: Value,
    pub values: BTreeMap<Id, Parts>,
}

/// The elements between two microkernel calls.
#[derive(Clone, Copy)]
enum Walk {
    /// Columns of the row at hand.
    Columns { from: Value, to: Value },
    /// Whole rows, each with `line` elements of memory.
    Rows { from: Value, to: Value, cols: Value, line: Value },
}

/// What is emitted for a group of a walk, with the sink where there is one.
type WalkBody<'b, L> =
    &'b mut dyn FnMut(&mut L, &Cells<'_>, &mut Lanes, &mut Option<&mut dyn Sink>) -> Result<(), CodegenError>;

/// What becomes of the lanes of a statement.
pub(crate) trait Sink {
    /// Called where the scalars that vary with the row (or those that do not) are ready.
    fn level(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>, row: bool) -> Result<(), CodegenError>;
    /// Called for each group.
    fn group(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>, lanes: &Lanes) -> Result<(), CodegenError>;
    /// The place that is written, where the order of columns is free.
    fn place(&self) -> Option<&Place>;
    /// Called at the end of a row.
    fn row_end(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>) -> Result<(), CodegenError>;
}

impl<'g> Cells<'g> {
    /// The cells of `values`, and of `indices` of places; `zero` holds the scalars that are known already.
    pub(crate) fn new(graph: &'g Graph, zero: Vec<Option<Value>>, values: &[Id], indices: &[Id]) -> Self {
        let demand = Demand::new(graph, values, indices);
        let width = demand.width(graph);
        Self {
            graph,
            demand,
            width,
            zero,
            row: None,
            splats: BTreeMap::new(),
            thresholds: BTreeMap::new(),
            places: BTreeMap::new(),
            written: None,
            free_order: false,
            in_place: None,
        }
    }

    /// Lets a call run on the tile that the statement overwrites element by element, if the element is read for it
    /// alone and nothing else of the tile is.
    pub(crate) fn overwriting(mut self, tile: TileId, (row, col): (Id, Id)) -> Self {
        let graph = self.graph;
        let ids = || (0..graph.len() as u32).map(Id);
        let mut reads = ids().filter(|id| matches!(graph.node(*id).op, Op::Tile { tile: read, .. } if read == tile));
        let (Some(element), None) = (reads.next(), reads.next()) else { return self };
        let own = graph.node(element).op == Op::Tile { tile, row, col };
        let mut users = ids().filter(|id| graph.node(*id).op.operands().contains(&element));
        let (Some(call), None) = (users.next(), users.next()) else { return self };
        let unary = matches!(&graph.node(call).op, Op::Call(_, operands) if operands.len() == 1);
        let rectangle = graph.node(row).op == Op::Row && graph.node(col).op == Op::Col;
        if own && unary && rectangle && is_staged(graph, call) {
            self.in_place = Some(InPlace { call, element, tile });
        }
        self
    }

    /// The steps that must be 1 for whole groups to be adjacent in memory, each once.
    fn runtime_steps(&self) -> BTreeSet<Value> {
        self.places.values().filter_map(Place::runtime_step).chain(self.written).collect()
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context { graph: self.graph, zero: &self.zero, scalar: false }
    }

    /// The row being emitted.
    pub(crate) fn row(&self) -> Option<Value> {
        self.row
    }

    /// A node's lanes in a group.
    pub(crate) fn group(&self, lanes: &Lanes, id: Id) -> Parts {
        match lanes.values.get(&id) {
            Some(parts) => parts.clone(),
            None if lanes.width == 1 => vec![self.scalar(id)],
            None => vec![self.splats[&id]; part_count(self.graph.node(id).lane, lanes.width)],
        }
    }

    /// A node's scalar.
    pub(crate) fn scalar(&self, id: Id) -> Value {
        self.zero[id.0 as usize].expect("operands are evaluated before their users")
    }

    /// The groups of a place's own indices.
    pub(crate) fn indices(&self, place: &Place, lanes: &Lanes) -> LaneIndices {
        place.indices(lanes.width, lanes.unit, |id| self.group(lanes, id))
    }
}

impl Lower<'_, '_> {
    /// Emits the loops over `rows` and `cols`, both at least 1, the latter at most `cap` if that is known; `roots` are
    /// the nodes the sink reads.
    pub(crate) fn cells(
        &mut self,
        cells: &mut Cells<'_>,
        (rows, cols): (Value, Value),
        cap: Option<i64>,
        roots: &[Id],
        sink: &mut dyn Sink,
    ) -> Result<(), CodegenError> {
        self.whole_level(cells, sink, false)?;
        let zero = self.int(0);
        if self.constant_value(rows) == Some(1) {
            return self.one_row(cells, zero, cols, roots, sink);
        }
        if cells.demand.stages > 0 && cap.is_some_and(|cap| cap <= SHORT_ROW) {
            return self.row_blocks(cells, (rows, cols), roots, sink);
        }
        let open = self.open_loop(zero, rows);
        self.one_row(cells, open.at, cols, roots, sink)?;
        let next = self.builder.ins().iadd_imm_s(open.at, 1);
        self.close_loop(open, next);
        Ok(())
    }

    /// A level of the cells and of the sink.
    fn whole_level(&mut self, cells: &mut Cells<'_>, sink: &mut dyn Sink, row: bool) -> Result<(), CodegenError> {
        self.level(cells, row)?;
        sink.level(self, cells, row)?;
        if let Some(place) = sink.place() {
            (cells.free_order, cells.written) = (true, place.runtime_step());
        }
        Ok(())
    }

    fn one_row(
        &mut self,
        cells: &mut Cells<'_>,
        row: Value,
        cols: Value,
        roots: &[Id],
        sink: &mut dyn Sink,
    ) -> Result<(), CodegenError> {
        cells.row = Some(row);
        self.whole_level(cells, sink, true)?;
        let zero = self.int(0);
        if cells.demand.stages == 0 {
            let order = cells.demand.needed(cells.graph, roots);
            self.groups(cells, zero, cols, zero, &mut |s, cells, lanes| {
                s.lane_nodes(cells, &order, lanes)?;
                sink.group(s, cells, lanes)
            })?;
        } else {
            let open = self.open_loop(zero, cols);
            let next = self.builder.ins().iadd_imm_s(open.at, CHUNK);
            let end = self.builder.ins().smin(next, cols);
            self.chunk(cells, Walk::Columns { from: open.at, to: end }, roots, sink)?;
            self.close_loop(open, next);
        }
        sink.row_end(self, cells)
    }

    /// Short rows in blocks, whose lines follow each other in the memory of a microkernel's call.
    fn row_blocks(
        &mut self,
        cells: &mut Cells<'_>,
        (rows, cols): (Value, Value),
        roots: &[Id],
        sink: &mut dyn Sink,
    ) -> Result<(), CodegenError> {
        // Lines begin at whole vectors; the microkernels run over what is between as well.
        let padded = self.builder.ins().iadd_imm_s(cols, 15);
        let line = self.builder.ins().band_imm_s(padded, -16);
        let chunk = self.int(CHUNK);
        let height = self.builder.ins().sdiv(chunk, line);
        let zero = self.int(0);
        let open = self.open_loop(zero, rows);
        let next = self.builder.ins().iadd(open.at, height);
        let end = self.builder.ins().smin(next, rows);
        self.chunk(cells, Walk::Rows { from: open.at, to: end, cols, line }, roots, sink)?;
        self.close_loop(open, next);
        Ok(())
    }

    /// The groups of a chunk. The sink, if there is one, is told of rows that begin and end inside.
    fn walk(
        &mut self,
        cells: &mut Cells<'_>,
        walk: Walk,
        mut sink: Option<&mut dyn Sink>,
        body: WalkBody<'_, Self>,
    ) -> Result<(), CodegenError> {
        match walk {
            Walk::Columns { from, to } => {
                self.groups(cells, from, to, from, &mut |s, cells, lanes| body(s, cells, lanes, &mut sink))
            }
            Walk::Rows { from, to, cols, line } => {
                let open = self.open_loop(from, to);
                cells.row = Some(open.at);
                match &mut sink {
                    Some(sink) => self.whole_level(cells, *sink, true)?,
                    None => self.level(cells, true)?,
                }
                // Column 0 lies as many elements from the start as rows above have.
                let below = self.builder.ins().isub(from, open.at);
                let start = self.builder.ins().imul(below, line);
                let zero = self.int(0);
                self.groups(cells, zero, cols, start, &mut |s, cells, lanes| body(s, cells, lanes, &mut sink))?;
                if let Some(sink) = &mut sink {
                    sink.row_end(self, cells)?;
                }
                let next = self.builder.ins().iadd_imm_s(open.at, 1);
                self.close_loop(open, next);
                Ok(())
            }
        }
    }

    /// The stages of one chunk.
    fn chunk(
        &mut self,
        cells: &mut Cells<'_>,
        walk: Walk,
        roots: &[Id],
        sink: &mut dyn Sink,
    ) -> Result<(), CodegenError> {
        let mut slots: BTreeMap<Id, Value> = BTreeMap::new();
        let mut taken = 0;
        for stage in 0..cells.demand.stages {
            let calls = cells.demand.calls(cells.graph, stage);
            // One line of memory for each argument; the result replaces the first.
            let mut arguments: Vec<(Id, Value)> = Vec::new();
            let in_place = cells.in_place.filter(|own| calls.contains(&own.call));
            for &call in calls.iter().filter(|call| in_place.is_none_or(|own| own.call != **call)) {
                for (at, argument) in cells.graph.node(call).op.operands().into_iter().enumerate() {
                    let line = self.chunk_line(taken);
                    taken += 1;
                    arguments.push((argument, line));
                    if at == 0 {
                        slots.insert(call, line);
                    }
                }
            }
            if let Some(own) = in_place {
                self.call_in_place(cells, own, walk);
            }
            if arguments.is_empty() {
                continue;
            }
            let values: Vec<Id> = arguments.iter().map(|(id, _)| *id).collect();
            let order = cells.demand.needed(cells.graph, &values);
            self.walk(cells, walk, None, &mut |s, cells, lanes, _| {
                s.staged_results(cells, &slots, &order, lanes)?;
                s.lane_nodes(cells, &order, lanes)?;
                for (id, line) in &arguments {
                    let parts = cells.group(lanes, *id);
                    let at = s.line_address(*line, lanes);
                    s.store(Storage::of_tile(Lane::F32), lanes.width, at, &parts);
                }
                Ok(())
            })?;
            let count = match walk {
                Walk::Columns { from, to } => self.builder.ins().isub(to, from),
                Walk::Rows { from, to, line, .. } => {
                    let rows = self.builder.ins().isub(to, from);
                    self.builder.ins().imul(rows, line)
                }
            };
            let calls: Vec<Id> = calls.into_iter().filter(|call| slots.contains_key(call)).collect();
            self.run_calls(cells, &calls, &arguments, count);
        }
        let order = cells.demand.needed(cells.graph, roots);
        self.walk(cells, walk, Some(sink), &mut |s, cells, lanes, sink| {
            s.staged_results(cells, &slots, &order, lanes)?;
            s.lane_nodes(cells, &order, lanes)?;
            sink.as_mut().map_or(Ok(()), |sink| sink.group(s, cells, lanes))
        })
    }

    /// A call over the elements of a walk where they lie.
    fn call_in_place(&mut self, cells: &Cells<'_>, own: InPlace, walk: Walk) {
        let Op::Call(function, _) = &cells.graph.node(own.call).op else { return };
        let kernel = vector_kernel(*function);
        let (base, stride) = self.tile(own.tile);
        let address = |s: &mut Self, row: Value, col: Value| {
            let flat = s.builder.ins().imul(row, stride);
            let flat = s.builder.ins().iadd(flat, col);
            let bytes = s.builder.ins().ishl_imm_s(flat, 2);
            s.builder.ins().iadd(base, bytes)
        };
        match (walk, cells.row) {
            (Walk::Columns { from, to }, Some(row)) => {
                let at = address(self, row, from);
                let count = self.builder.ins().isub(to, from);
                self.call(kernel, &[at, at, count]);
            }
            (Walk::Columns { .. }, None) => {}
            (Walk::Rows { from, to, cols, .. }, _) => {
                // Whole rows of memory are one line; else there may be something beside them.
                let whole = self.builder.ins().icmp(IntCC::Equal, cols, stride);
                let rows = self.builder.ins().isub(to, from);
                let one = self.int(1);
                let height = self.builder.ins().select(whole, rows, one);
                let count = self.builder.ins().imul(height, cols);
                let open = self.open_loop(from, to);
                let zero = self.int(0);
                let at = address(self, open.at, zero);
                self.call(kernel, &[at, at, count]);
                let next = self.builder.ins().iadd(open.at, height);
                self.close_loop(open, next);
            }
        }
    }

    fn run_calls(&mut self, cells: &Cells<'_>, calls: &[Id], arguments: &[(Id, Value)], count: Value) {
        let mut lines = arguments.iter().map(|(_, line)| *line);
        for call in calls {
            let Op::Call(function, operands) = &cells.graph.node(*call).op else { continue };
            let lines: Vec<Value> = lines.by_ref().take(operands.len()).collect();
            let mut args = vec![lines[0]];
            args.extend(&lines);
            args.push(count);
            self.call(vector_kernel(*function), &args);
        }
    }

    fn line_address(&mut self, line: Value, lanes: &Lanes) -> Value {
        let bytes = self.builder.ins().ishl_imm_s(lanes.offset, 2);
        self.builder.ins().iadd(line, bytes)
    }

    /// Reads the results of calls among `order`.
    fn staged_results(
        &mut self,
        cells: &Cells<'_>,
        slots: &BTreeMap<Id, Value>,
        order: &[Id],
        lanes: &mut Lanes,
    ) -> Result<(), CodegenError> {
        for id in order {
            if let Some(own) = cells.in_place.filter(|own| own.call == *id) {
                let place = &cells.places[&own.element];
                let parts = self.load_place(place, &cells.indices(place, lanes), lanes.col)?;
                lanes.values.insert(*id, parts);
            }
            if let (true, Some(line)) = (is_staged(cells.graph, *id), slots.get(id)) {
                let at = self.line_address(*line, lanes);
                let parts = self.load(Storage::of_tile(Lane::F32), lanes.width, at);
                lanes.values.insert(*id, parts);
            }
        }
        Ok(())
    }

    /// Groups from `from` to `to`, then single lanes.
    fn groups(
        &mut self,
        cells: &mut Cells<'_>,
        from: Value,
        to: Value,
        start: Value,
        body: &mut dyn FnMut(&mut Self, &Cells<'_>, &mut Lanes) -> Result<(), CodegenError>,
    ) -> Result<(), CodegenError> {
        let mut at = from;
        let length = match (self.constant_value(from), self.constant_value(to)) {
            (Some(from), Some(to)) => Some(to - from),
            _ => None,
        };
        let unit = self.unit_steps(cells);
        let widths = match (cells.width, unit) {
            (width @ ..=4, _) => vec![width, 1],
            (width @ ..=8, None) => vec![width, 1],
            (width, _) => vec![width, 4, 1],
        };
        let mut left = length;
        for width in widths {
            if left.is_some_and(|n| n < width as i64) {
                continue;
            }
            // Groups wider than a vector only where all they touch is adjacent: the rest is left to the next width.
            let unit = unit.filter(|_| width > 4);
            left = if unit.is_some() { left } else { left.map(|n| n % width as i64) };
            let mut limit = self.builder.ins().iadd_imm_s(to, -(width as i64 - 1));
            if let Some(unit) = unit {
                limit = self.builder.ins().select(unit, limit, at);
            }
            let open = self.open_loop(at, limit);
            at = open.at;
            let offset = self.builder.ins().isub(at, start);
            let mut lanes = Lanes { width, unit: unit.is_some(), col: at, offset, values: BTreeMap::new() };
            body(self, cells, &mut lanes)?;
            let next = self.builder.ins().iadd_imm_s(at, width as i64);
            self.close_loop(open, next);
        }
        Ok(())
    }

    /// Whether all steps that only the launch knows are 1; `None` if there are none, or groups must not depend on them.
    fn unit_steps(&mut self, cells: &Cells<'_>) -> Option<Value> {
        if !cells.free_order || cells.width <= 4 {
            return None;
        }
        let steps = cells.runtime_steps().into_iter();
        let ones: Vec<Value> = steps.map(|step| self.builder.ins().icmp_imm_s(IntCC::Equal, step, 1)).collect();
        ones.into_iter().reduce(|all, one| self.builder.ins().band(all, one))
    }

    /// Scalars, splats and places that vary with the row, or those that do not.
    fn level(&mut self, cells: &mut Cells<'_>, row: bool) -> Result<(), CodegenError> {
        for at in 0..cells.demand.zero.len() {
            let id = cells.demand.zero[at];
            if cells.graph.node(id).row == row && (row || cells.zero[id.0 as usize].is_none()) {
                let value = self.zero_node(cells.graph, &cells.zero, cells.row, id)?;
                cells.zero[id.0 as usize] = Some(value);
            }
        }
        for id in cells.demand.splats.clone() {
            let node = cells.graph.node(id);
            if node.row == row {
                let vector = self.splat(node.lane, 4, cells.scalar(id))[0];
                cells.splats.insert(id, vector);
            }
        }
        for id in cells.demand.thresholds.clone() {
            if cells.graph.node(id).row == row {
                let word = self.builder.ins().ireduce(types::I32, cells.scalar(id));
                let vector = self.builder.ins().splat(types::I32X4, word);
                cells.thresholds.insert(id, vector);
            }
        }
        for at in 0..cells.demand.lanes.len() {
            let id = cells.demand.lanes[at];
            let node = cells.graph.node(id);
            if node.row != row {
                continue;
            }
            let place = match &node.op {
                Op::Tile { tile, row, col } => self.tile_place(&cells.context(), *tile, *row, *col),
                Op::Load { buffer, index, clamp } => self.buffer_place(&cells.context(), *buffer, index, *clamp)?,
                _ => continue,
            };
            cells.places.insert(id, place);
        }
        Ok(())
    }
}
