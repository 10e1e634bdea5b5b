//! Rows and columns: the loops around the lanes of a map or a row reduction.
//!
//! Scalars that do not vary with the row are computed before the row loop,
//! those that do at the start of a row, and lanes in groups along it with
//! single lanes at the end.

use std::collections::BTreeMap;

use attnc_plan::loops::Lane;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::demand::{Demand, is_staged};
use crate::function::Lower;
use crate::graph::{Binary, Function, Graph, Id, Op, Relation};
use crate::lanes::{Parts, part_count, part_type};
use crate::memory::Storage;
use crate::place::{Context, LaneIndices, Place};

/// Columns between microkernel calls.
pub(crate) const CHUNK: i64 = 256;

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
    thresholds: BTreeMap<Id, Value>,
    places: BTreeMap<Id, Place>,
}

/// The lanes of one group.
pub(crate) struct Lanes {
    pub width: usize,
    /// Column of the first lane.
    pub col: Value,
    /// The same from the start of the chunk.
    offset: Value,
    values: BTreeMap<Id, Parts>,
}

/// What becomes of the lanes of a statement.
pub(crate) trait Sink {
    /// Called where the scalars that vary with the row (or those that do not) are ready.
    fn level(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>, row: bool) -> Result<(), CodegenError>;
    /// Called for each group.
    fn group(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>, lanes: &Lanes) -> Result<(), CodegenError>;
    /// Called at the end of a row.
    fn row_end(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>) -> Result<(), CodegenError>;
}

impl<'g> Cells<'g> {
    pub(crate) fn new(graph: &'g Graph, values: &[Id], indices: &[Id]) -> Self {
        let demand = Demand::new(graph, values, indices);
        let width = demand.width(graph);
        Self {
            graph,
            demand,
            width,
            zero: vec![None; graph.len()],
            row: None,
            splats: BTreeMap::new(),
            thresholds: BTreeMap::new(),
            places: BTreeMap::new(),
        }
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

    fn scalar(&self, id: Id) -> Value {
        self.zero[id.0 as usize].expect("operands are evaluated before their users")
    }

    /// The groups of a place's own indices.
    pub(crate) fn indices(&self, place: &Place, lanes: &Lanes) -> LaneIndices {
        place.indices(lanes.width, |id| self.group(lanes, id))
    }
}

impl Lower<'_, '_> {
    /// Emits the loops over `rows` and `cols`, both at least 1; `roots` are
    /// the nodes the sink reads.
    pub(crate) fn cells(
        &mut self,
        cells: &mut Cells<'_>,
        rows: Value,
        cols: Value,
        roots: &[Id],
        sink: &mut dyn Sink,
    ) -> Result<(), CodegenError> {
        self.level(cells, false)?;
        sink.level(self, cells, false)?;
        let zero = self.int(0);
        if self.constant_value(rows) == Some(1) {
            return self.one_row(cells, zero, cols, roots, sink);
        }
        let open = self.open_loop(zero, rows);
        self.one_row(cells, open.at, cols, roots, sink)?;
        let next = self.builder.ins().iadd_imm_s(open.at, 1);
        self.close_loop(open, next);
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
        self.level(cells, true)?;
        sink.level(self, cells, true)?;
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
            self.chunk(cells, open.at, end, roots, sink)?;
            self.close_loop(open, next);
        }
        sink.row_end(self, cells)
    }

    /// The stages of one chunk of a row.
    fn chunk(
        &mut self,
        cells: &mut Cells<'_>,
        from: Value,
        to: Value,
        roots: &[Id],
        sink: &mut dyn Sink,
    ) -> Result<(), CodegenError> {
        let mut slots: BTreeMap<Id, Value> = BTreeMap::new();
        let mut taken = 0;
        for stage in 0..cells.demand.stages {
            let calls = cells.demand.calls(cells.graph, stage);
            // One line of memory for each argument; the result replaces the first.
            let mut arguments: Vec<(Id, Value)> = Vec::new();
            for &call in &calls {
                for (at, argument) in cells.graph.node(call).op.operands().into_iter().enumerate() {
                    let line = self.chunk_line(taken);
                    taken += 1;
                    arguments.push((argument, line));
                    if at == 0 {
                        slots.insert(call, line);
                    }
                }
            }
            let values: Vec<Id> = arguments.iter().map(|(id, _)| *id).collect();
            let order = cells.demand.needed(cells.graph, &values);
            self.groups(cells, from, to, from, &mut |s, cells, lanes| {
                s.staged_results(cells, &slots, &order, lanes)?;
                s.lane_nodes(cells, &order, lanes)?;
                for (id, line) in &arguments {
                    let parts = cells.group(lanes, *id);
                    let at = s.line_address(*line, lanes);
                    s.store(Storage::of_tile(Lane::F32), lanes.width, at, &parts);
                }
                Ok(())
            })?;
            let count = self.builder.ins().isub(to, from);
            self.run_calls(cells, &calls, &arguments, count);
        }
        let order = cells.demand.needed(cells.graph, roots);
        self.groups(cells, from, to, from, &mut |s, cells, lanes| {
            s.staged_results(cells, &slots, &order, lanes)?;
            s.lane_nodes(cells, &order, lanes)?;
            sink.group(s, cells, lanes)
        })
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
        let widths = if cells.width > 8 { vec![cells.width, 4, 1] } else { vec![cells.width, 1] };
        let mut left = length;
        for width in widths {
            if left.is_some_and(|n| n < width as i64) {
                continue;
            }
            left = left.map(|n| n % width as i64);
            let limit = self.builder.ins().iadd_imm_s(to, -(width as i64 - 1));
            let open = self.open_loop(at, limit);
            at = open.at;
            let offset = self.builder.ins().isub(at, start);
            let mut lanes = Lanes { width, col: at, offset, values: BTreeMap::new() };
            body(self, cells, &mut lanes)?;
            let next = self.builder.ins().iadd_imm_s(at, width as i64);
            self.close_loop(open, next);
        }
        Ok(())
    }

    /// Scalars, splats and places that vary with the row, or those that do not.
    fn level(&mut self, cells: &mut Cells<'_>, row: bool) -> Result<(), CodegenError> {
        for at in 0..cells.demand.zero.len() {
            let id = cells.demand.zero[at];
            if cells.graph.node(id).row == row {
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

/// Nodes.
impl Lower<'_, '_> {
    /// A node's scalar, its operands' scalars being in `zero`.
    pub(crate) fn zero_node(
        &mut self,
        graph: &Graph,
        zero: &[Option<Value>],
        row: Option<Value>,
        id: Id,
    ) -> Result<Value, CodegenError> {
        let node = graph.node(id);
        let of = |x: &Id| zero[x.0 as usize].expect("operands are evaluated before their users");
        Ok(match &node.op {
            Op::Real(Lane::F32, v) => self.builder.ins().f32const(v.get() as f32),
            Op::Real(_, v) => self.builder.ins().f64const(v.get()),
            Op::Int(v) => self.int(*v),
            Op::Truth(v) => self.builder.ins().iconst(types::I8, i64::from(*v)),
            Op::Extent(n) => self.extent(*n),
            Op::Var(v) => {
                let variable = self.variable(*v)?;
                self.builder.use_var(variable)
            }
            Op::Row => row.ok_or_else(|| self.malformed("a scalar mentions the row"))?,
            Op::Col => self.int(0),
            Op::AtZero(x) => of(x),
            Op::Tile { tile, row, col } => {
                let context = Context { graph, zero, scalar: true };
                let place = self.tile_place(&context, *tile, *row, *col);
                self.load_scalar_place(&place)
            }
            Op::Load { buffer, index, clamp } => {
                let context = Context { graph, zero, scalar: true };
                let place = self.buffer_place(&context, *buffer, index, *clamp)?;
                self.load_scalar_place(&place)
            }
            Op::LowerBound { index, count, value, .. } => {
                let index: Vec<Value> = index.iter().map(of).collect();
                self.lower_bound(&node.op, &index, of(count), of(value))?
            }
            Op::Unary(op, x) => self.unary(*op, graph.node(*x).lane, 1, &vec![of(x)])?[0],
            Op::Binary(op, x, y) => self.binary(*op, graph.node(*x).lane, 1, &vec![of(x)], &vec![of(y)])?[0],
            Op::Select(c, a, b) => self.builder.ins().select(of(c), of(a), of(b)),
            Op::Cast(lane, x) => self.convert(graph.node(*x).lane, *lane, 1, &vec![of(x)])?[0],
            Op::Call(function, xs) => {
                let args: Vec<Value> = xs.iter().map(of).collect();
                self.scalar_call(*function, node.lane, &args)?
            }
            Op::ColumnIs(relation, x) => {
                let zero = self.int(0);
                self.builder.ins().icmp(condition(*relation), zero, of(x))
            }
            Op::ColumnModIs { zero: start, modulus, is, negated, .. } => {
                let rest = self.builder.ins().band_imm_s(of(start), modulus - 1);
                self.builder.ins().icmp(equality(*negated), rest, of(is))
            }
        })
    }

    /// The lanes of the nodes in `order`.
    fn lane_nodes(&mut self, cells: &Cells<'_>, order: &[Id], lanes: &mut Lanes) -> Result<(), CodegenError> {
        for id in order {
            if !lanes.values.contains_key(id) {
                let parts = self.lane_node(cells, *id, lanes)?;
                lanes.values.insert(*id, parts);
            }
        }
        Ok(())
    }

    fn lane_node(&mut self, cells: &Cells<'_>, id: Id, lanes: &Lanes) -> Result<Parts, CodegenError> {
        let graph = cells.graph;
        let node = graph.node(id);
        let width = lanes.width;
        let of = |x: &Id| cells.group(lanes, *x);
        if let Some(slope) = node.slope {
            return Ok(self.affine(cells.scalar(id), slope, lanes));
        }
        match &node.op {
            Op::Tile { .. } | Op::Load { .. } => {
                let place = &cells.places[&id];
                let indices = cells.indices(place, lanes);
                self.load_place(place, &indices, lanes.col)
            }
            Op::LowerBound { .. } => self.lower_bounds(cells, &node.op, lanes),
            Op::Unary(op, x) => self.unary(*op, graph.node(*x).lane, width, &of(x)),
            Op::Binary(op @ (Binary::FloorDiv | Binary::Mod), x, y) if width > 1 => {
                self.divide_lanes(cells, *op, *x, *y, lanes)
            }
            Op::Binary(op, x, y) => self.binary(*op, graph.node(*x).lane, width, &of(x), &of(y)),
            Op::Select(c, a, b) => Ok(self.select(node.lane, width, &of(c), &of(a), &of(b))),
            Op::Cast(to, x) => match graph.node(*x).slope {
                Some(slope) if graph.node(*x).lane == Lane::I64 && *to != Lane::Bool => {
                    Ok(self.affine_real(*to, cells.scalar(*x), slope, lanes))
                }
                _ => self.convert(graph.node(*x).lane, *to, width, &of(x)),
            },
            Op::Call(function, xs) => {
                let args: Vec<Parts> = xs.iter().map(of).collect();
                let args: Vec<&Parts> = args.iter().collect();
                self.lanewise(node.lane, width, &args, |s, args| s.scalar_call(*function, node.lane, args))
            }
            Op::ColumnIs(relation, x) => Ok(self.column_is(cells, *relation, *x, lanes)),
            Op::ColumnModIs { .. } => Ok(self.column_mod_is(cells, &node.op, lanes)),
            _ => Err(self.malformed("a scalar is asked for in lanes")),
        }
    }

    /// `zero + slope * col` in every lane.
    fn affine(&mut self, zero: Value, slope: i64, lanes: &Lanes) -> Parts {
        let far = self.builder.ins().imul_imm_s(lanes.col, slope);
        let first = self.builder.ins().iadd(zero, far);
        if lanes.width == 1 {
            return vec![first];
        }
        let first = self.builder.ins().splat(types::I64X2, first);
        let steps = (0..lanes.width / 2).map(|pair| {
            let at = |lane: i64| (slope.wrapping_mul(2 * pair as i64 + lane)).to_le_bytes();
            let constant = self.vector_constant(&[at(0), at(1)].concat());
            let steps = self.builder.ins().vconst(types::I64X2, constant);
            self.builder.ins().iadd(first, steps)
        });
        steps.collect()
    }

    /// The same as F32 or F64: exact in f64, then rounded.
    fn affine_real(&mut self, to: Lane, zero: Value, slope: i64, lanes: &Lanes) -> Parts {
        let far = self.builder.ins().imul_imm_s(lanes.col, slope);
        let first = self.builder.ins().iadd(zero, far);
        if lanes.width == 1 {
            return vec![self.builder.ins().fcvt_from_sint(part_type(to, 1), first)];
        }
        let first = self.builder.ins().fcvt_from_sint(types::F64, first);
        let first = self.builder.ins().splat(types::F64X2, first);
        let wide: Parts = (0..lanes.width / 2)
            .map(|pair| {
                let at = |lane: i64| (slope as f64 * (2 * pair as i64 + lane) as f64).to_le_bytes();
                let constant = self.vector_constant(&[at(0), at(1)].concat());
                let steps = self.builder.ins().vconst(types::F64X2, constant);
                self.builder.ins().fadd(first, steps)
            })
            .collect();
        if to == Lane::F64 { wide } else { wide.chunks(2).map(|pair| self.demote(pair)).collect() }
    }

    fn vector_constant(&mut self, bytes: &[u8]) -> cranelift_codegen::ir::Constant {
        self.builder.func.dfg.constants.insert(bytes.into())
    }

    fn column_is(&mut self, cells: &Cells<'_>, relation: Relation, x: Id, lanes: &Lanes) -> Parts {
        let cc = condition(relation);
        if lanes.width == 1 {
            return vec![self.builder.ins().icmp(cc, lanes.col, cells.scalar(x))];
        }
        let threshold = cells.thresholds[&x];
        let word = self.builder.ins().ireduce(types::I32, lanes.col);
        let first = self.builder.ins().splat(types::I32X4, word);
        let cols = self.steps(first, 1, lanes.width);
        cols.into_iter().map(|cols| self.builder.ins().icmp(cc, cols, threshold)).collect()
    }

    /// `first + slope * lane` in 32-bit lanes, wrapping.
    fn steps(&mut self, first: Value, slope: i32, width: usize) -> Parts {
        let groups = (0..width / 4).map(|group| {
            let at = |lane: i32| slope.wrapping_mul(group as i32 * 4 + lane);
            let bytes: Vec<u8> = (0..4).flat_map(|lane| at(lane).to_le_bytes()).collect();
            let constant = self.vector_constant(&bytes);
            let steps = self.builder.ins().vconst(types::I32X4, constant);
            self.builder.ins().iadd(first, steps)
        });
        groups.collect()
    }

    fn column_mod_is(&mut self, cells: &Cells<'_>, op: &Op, lanes: &Lanes) -> Parts {
        let Op::ColumnModIs { zero, slope, modulus, is, negated } = op else { return Vec::new() };
        let far = self.builder.ins().imul_imm_s(lanes.col, *slope);
        if lanes.width == 1 {
            let at = self.builder.ins().iadd(cells.scalar(*zero), far);
            let rest = self.builder.ins().band_imm_s(at, modulus - 1);
            return vec![self.builder.ins().icmp(equality(*negated), rest, cells.scalar(*is))];
        }
        // The low 32 bits decide: the modulus divides 2^32.
        let far = self.builder.ins().ireduce(types::I32, far);
        let far = self.builder.ins().splat(types::I32X4, far);
        let first = self.builder.ins().iadd(cells.thresholds[zero], far);
        let mask = self.builder.ins().iconst(types::I32, modulus - 1);
        let mask = self.builder.ins().splat(types::I32X4, mask);
        let (cc, is) = (equality(*negated), cells.thresholds[is]);
        let values = self.steps(first, *slope as i32, lanes.width);
        let rests: Parts = values.into_iter().map(|x| self.builder.ins().band(x, mask)).collect();
        rests.into_iter().map(|rest| self.builder.ins().icmp(cc, rest, is)).collect()
    }

    /// Floor division and remainder of groups; constant divisors are known here.
    fn divide_lanes(
        &mut self,
        cells: &Cells<'_>,
        op: Binary,
        x: Id,
        y: Id,
        lanes: &Lanes,
    ) -> Result<Parts, CodegenError> {
        let lane = cells.graph.node(x).lane;
        let (left, width) = (cells.group(lanes, x), lanes.width);
        if lane != Lane::I64 {
            return self.binary(op, lane, width, &left, &cells.group(lanes, y));
        }
        let Some(divisor) = cells.graph.as_int(y) else {
            return self.binary(op, lane, width, &left, &cells.group(lanes, y));
        };
        if divisor > 0 && divisor.count_ones() == 1 {
            let shift = i64::from(divisor.trailing_zeros());
            let mask = self.int(divisor - 1);
            let mask = self.builder.ins().splat(types::I64X2, mask);
            let each = left.iter().map(|x| match op {
                Binary::FloorDiv => self.builder.ins().sshr_imm_s(*x, shift),
                _ => self.builder.ins().band(*x, mask),
            });
            return Ok(each.collect());
        }
        self.lanewise(lane, width, &[&left], |s, args| {
            let y = s.int(divisor);
            let (quotient, rest) = s.floor_div(args[0], y);
            Ok(if op == Binary::FloorDiv { quotient } else { rest })
        })
    }

    fn lower_bounds(&mut self, cells: &Cells<'_>, op: &Op, lanes: &Lanes) -> Result<Parts, CodegenError> {
        let Op::LowerBound { index, count, value, .. } = op else { return Ok(Vec::new()) };
        let mut scalars = Vec::new();
        for lane in 0..lanes.width {
            let mut of = |id: &Id| self.lane_of(cells, *id, lanes, lane);
            let index: Vec<Value> = index.iter().map(&mut of).collect();
            let (count, value) = (of(count), of(value));
            scalars.push(self.lower_bound(op, &index, count, value)?);
        }
        Ok(self.gather(Lane::I64, &scalars))
    }

    /// One lane of an integer node.
    fn lane_of(&mut self, cells: &Cells<'_>, id: Id, lanes: &Lanes, lane: usize) -> Value {
        let node = cells.graph.node(id);
        match node.slope {
            Some(0) => cells.scalar(id),
            Some(slope) => {
                let col = self.builder.ins().iadd_imm_s(lanes.col, lane as i64);
                let far = self.builder.ins().imul_imm_s(col, slope);
                self.builder.ins().iadd(cells.scalar(id), far)
            }
            None => self.extract(node.lane, lanes.width, &cells.group(lanes, id), lane),
        }
    }
}

fn equality(negated: bool) -> IntCC {
    if negated { IntCC::NotEqual } else { IntCC::Equal }
}

fn condition(relation: Relation) -> IntCC {
    match relation {
        Relation::Below => IntCC::SignedLessThan,
        Relation::AtMost => IntCC::SignedLessThanOrEqual,
        Relation::Above => IntCC::SignedGreaterThan,
        Relation::AtLeast => IntCC::SignedGreaterThanOrEqual,
        Relation::Equal => IntCC::Equal,
        Relation::Unequal => IntCC::NotEqual,
    }
}

/// The f32 microkernel of a function.
pub(crate) fn vector_kernel(function: Function) -> Microkernel {
    match function {
        Function::Exp => Microkernel::ExpF32,
        Function::Expm1 => Microkernel::Expm1F32,
        Function::Log => Microkernel::LogF32,
        Function::Log1p => Microkernel::Log1pF32,
        Function::Tanh => Microkernel::TanhF32,
        Function::Sin => Microkernel::SinF32,
        Function::Cos => Microkernel::CosF32,
        Function::Erf => Microkernel::ErfF32,
        Function::Pow => Microkernel::PowF32,
    }
}

/// The f64 function.
fn scalar_kernel(function: Function) -> Microkernel {
    match function {
        Function::Exp => Microkernel::ExpF64,
        Function::Expm1 => Microkernel::Expm1F64,
        Function::Log => Microkernel::LogF64,
        Function::Log1p => Microkernel::Log1pF64,
        Function::Tanh => Microkernel::TanhF64,
        Function::Sin => Microkernel::SinF64,
        Function::Cos => Microkernel::CosF64,
        Function::Erf => Microkernel::ErfF64,
        Function::Pow => Microkernel::PowF64,
    }
}

/// Calls on scalars.
impl Lower<'_, '_> {
    fn scalar_call(&mut self, function: Function, lane: Lane, args: &[Value]) -> Result<Value, CodegenError> {
        let nothing = |s: &Self| s.malformed("a microkernel gave no result");
        match lane {
            Lane::F64 => self.call(scalar_kernel(function), args).ok_or_else(|| nothing(self)),
            Lane::F32 => {
                let lines: Vec<Value> = (0..args.len()).map(|at| self.chunk_line(at)).collect();
                for (line, x) in lines.iter().zip(args) {
                    self.store_scalar(Storage::of_tile(Lane::F32), *line, *x);
                }
                let mut full = vec![lines[0]];
                full.extend(&lines);
                full.push(self.int(1));
                self.call(vector_kernel(function), &full);
                Ok(self.load(Storage::of_tile(Lane::F32), 1, lines[0])[0])
            }
            _ => Err(self.no_lane(format!("{function:?}"), lane)),
        }
    }

    /// The first position of a sorted table whose value is at least `value`.
    fn lower_bound(&mut self, op: &Op, index: &[Value], count: Value, value: Value) -> Result<Value, CodegenError> {
        use attnc_algebra::DType;
        let Op::LowerBound { buffer, dim, .. } = op else { return Ok(value) };
        let dtype = self.program.buffers[buffer.0 as usize].dtype;
        let kernel = match dtype {
            DType::I32 => Microkernel::LowerBoundI32,
            DType::I64 => Microkernel::LowerBoundI64,
            _ => return Err(self.malformed("a searched table is neither i32 nor i64")),
        };
        let reference = self.buffer(*buffer);
        let mut address = reference.base;
        for (at, i) in index.iter().enumerate().filter(|(at, _)| at != dim) {
            let stride = self.stride(*buffer, reference, at);
            let elements = self.builder.ins().imul(*i, stride);
            let bytes = self.builder.ins().imul_imm_s(elements, dtype.size() as i64);
            address = self.builder.ins().iadd(address, bytes);
        }
        let stride = self.stride(*buffer, reference, *dim);
        let zero = self.int(0);
        let count = self.builder.ins().smax(count, zero);
        self.call(kernel, &[address, stride, count, value])
            .ok_or_else(|| self.malformed("a microkernel gave no result"))
    }
}
