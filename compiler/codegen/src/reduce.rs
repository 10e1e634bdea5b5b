//! Row reductions: accumulators in lanes where the order is free, in one lane
//! where it is not.

use attnc_algebra::ReduceOp;
use attnc_plan::loops::{ExprId, Lane, Stmt, TileId};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::Variable;

use crate::CodegenError;
use crate::cells::{Cells, Lanes, Sink};
use crate::function::{Lower, scalar_type};
use crate::graph::{Binary, Graph, Id};
use crate::lanes::{lanes_per_part, part_count, part_type};
use crate::place::Place;

/// A row reduction under emission.
struct ReduceSink {
    dst: TileId,
    op: ReduceOp,
    lane: Lane,
    value: Id,
    domain: Option<Id>,
    accumulate: bool,
    /// Accumulator of single lanes, and of all lanes where the order is fixed.
    single: Variable,
    /// Accumulators of groups; empty where the order is fixed.
    groups: Vec<Variable>,
    /// The best value so far, of a search for a position.
    best: Variable,
}

impl Lower<'_, '_> {
    pub(crate) fn row_reduce(&mut self, stmt: &Stmt) -> Result<(), CodegenError> {
        let Stmt::RowReduce { dst, op, rows, cols, domain, value, accumulate } = stmt else { return Ok(()) };
        let mut roots: Vec<ExprId> = vec![*value];
        roots.extend(*domain);
        let graph = Graph::new(&self.program.exprs, &roots, false);
        let (value, domain) = (graph.of(*value), domain.map(|d| graph.of(d)));
        let mut roots = vec![value];
        roots.extend(domain);
        let mut cells = Cells::new(&graph, self.known_scalars(&graph), &roots, &[]);
        let lane = graph.node(value).lane;
        let mut sink = self.reduce_sink(*dst, *op, lane, &cells)?;
        (sink.value, sink.domain, sink.accumulate) = (value, domain, *accumulate);
        let rows = self.scalar(*rows)?;
        let cols = self.scalar(*cols)?;
        let some_rows = self.builder.ins().icmp_imm_s(IntCC::SignedGreaterThan, rows, 0);
        let some_cols = self.builder.ins().icmp_imm_s(IntCC::SignedGreaterThan, cols, 0);
        self.when(some_rows, |s| {
            s.either(
                some_cols,
                |s| s.cells(&mut cells, (rows, cols), None, &roots, &mut sink),
                |s| if *accumulate { Ok(()) } else { s.reduce_nothing(*dst, *op, lane, rows) },
            )
        })
    }

    fn reduce_sink(
        &mut self,
        dst: TileId,
        op: ReduceOp,
        lane: Lane,
        cells: &Cells<'_>,
    ) -> Result<ReduceSink, CodegenError> {
        let allowed = match op {
            ReduceOp::LogSumExp => false,
            ReduceOp::Any | ReduceOp::All => lane == Lane::Bool,
            ReduceOp::ArgMax | ReduceOp::ArgMin => matches!(lane, Lane::F32 | Lane::F64),
            _ => lane != Lane::Bool,
        };
        if !allowed {
            return Err(self.no_lane(op.name(), lane));
        }
        let search = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin);
        let ordered = search || lane == Lane::F64 && matches!(op, ReduceOp::Sum | ReduceOp::Prod);
        let count = if ordered { 0 } else { part_count(lane, cells.width) };
        let single = self.builder.declare_var(if search { types::I64 } else { scalar_type(lane) });
        let best = self.builder.declare_var(scalar_type(lane));
        let groups = (0..count).map(|_| self.builder.declare_var(part_type(lane, cells.width))).collect();
        Ok(ReduceSink { dst, op, lane, value: Id(0), domain: None, accumulate: false, single, groups, best })
    }

    /// What a reduction over no columns gives.
    fn identity(&mut self, op: ReduceOp, lane: Lane) -> Value {
        match (op, lane) {
            (ReduceOp::ArgMax | ReduceOp::ArgMin, _) => self.int(-1),
            (ReduceOp::Max, Lane::I64) => self.int(i64::MIN),
            (ReduceOp::Min, Lane::I64) => self.int(i64::MAX),
            (_, Lane::I64) => self.int(op.identity() as i64),
            (_, Lane::F32) => self.builder.ins().f32const(op.identity() as f32),
            (_, Lane::F64) => self.builder.ins().f64const(op.identity()),
            (_, Lane::Bool) => self.builder.ins().iconst(types::I8, op.identity() as i64),
        }
    }

    fn reduce_nothing(&mut self, dst: TileId, op: ReduceOp, lane: Lane, rows: Value) -> Result<(), CodegenError> {
        let (zero, identity) = (self.int(0), self.identity(op, lane));
        let open = self.open_loop(zero, rows);
        let at = open.at;
        let (storage, address) = self.column_address(dst, at);
        self.store_scalar(storage, address, identity);
        let next = self.builder.ins().iadd_imm_s(at, 1);
        self.close_loop(open, next);
        Ok(())
    }
}

fn fold_op(op: ReduceOp) -> Binary {
    match op {
        ReduceOp::Sum => Binary::Add,
        ReduceOp::Prod => Binary::Mul,
        ReduceOp::Min => Binary::Min,
        ReduceOp::Any => Binary::Or,
        ReduceOp::All => Binary::And,
        _ => Binary::Max,
    }
}

impl ReduceSink {
    /// Folds one lane into the single accumulator.
    fn fold(&self, lower: &mut Lower<'_, '_>, x: Value) -> Result<(), CodegenError> {
        let old = lower.builder.use_var(self.single);
        let new = lower.binary(fold_op(self.op), self.lane, 1, &vec![old], &vec![x])?[0];
        lower.builder.def_var(self.single, new);
        Ok(())
    }

    /// Lets one lane compete for the position: the lowest column wins ties, a
    /// NaN wins only over nothing.
    fn compete(&self, lower: &mut Lower<'_, '_>, x: Value, allowed: Option<Value>, col: Value) {
        let (best, position) = (lower.builder.use_var(self.best), lower.builder.use_var(self.single));
        let cc = if self.op == ReduceOp::ArgMax { FloatCC::GreaterThan } else { FloatCC::LessThan };
        let better = lower.builder.ins().fcmp(cc, x, best);
        let none = lower.builder.ins().icmp_imm_s(IntCC::SignedLessThan, position, 0);
        let nan = lower.builder.ins().fcmp(FloatCC::NotEqual, best, best);
        let number = lower.builder.ins().fcmp(FloatCC::Equal, x, x);
        let replaces = lower.builder.ins().band(nan, number);
        let wins = lower.builder.ins().bor(better, none);
        let mut wins = lower.builder.ins().bor(wins, replaces);
        if let Some(allowed) = allowed {
            wins = lower.builder.ins().band(wins, allowed);
        }
        let best = lower.builder.ins().select(wins, x, best);
        let position = lower.builder.ins().select(wins, col, position);
        lower.builder.def_var(self.best, best);
        lower.builder.def_var(self.single, position);
    }

    fn is_search(&self) -> bool {
        matches!(self.op, ReduceOp::ArgMax | ReduceOp::ArgMin)
    }
}

impl Sink for ReduceSink {
    fn level(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>, row: bool) -> Result<(), CodegenError> {
        let Some(at) = cells.row().filter(|_| row) else { return Ok(()) };
        let identity = lower.identity(self.op, self.lane);
        let start = if self.accumulate {
            let (storage, address) = lower.column_address(self.dst, at);
            lower.load(storage, 1, address)[0]
        } else {
            identity
        };
        lower.builder.def_var(self.single, start);
        if self.is_search() {
            let nan = if self.lane == Lane::F32 {
                lower.builder.ins().f32const(f32::NAN)
            } else {
                lower.builder.ins().f64const(f64::NAN)
            };
            lower.builder.def_var(self.best, nan);
        }
        if !self.groups.is_empty() {
            let parts = lower.splat(self.lane, cells.width, identity);
            for (variable, part) in self.groups.iter().zip(parts) {
                lower.builder.def_var(*variable, part);
            }
        }
        Ok(())
    }

    fn group(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>, lanes: &Lanes) -> Result<(), CodegenError> {
        let width = lanes.width;
        let mut parts = cells.group(lanes, self.value);
        let allowed = self.domain.map(|d| cells.group(lanes, d));
        if self.is_search() {
            for lane in 0..width {
                let x = lower.extract(self.lane, width, &parts, lane);
                let allowed = allowed.as_ref().map(|parts| lower.extract(Lane::Bool, width, parts, lane));
                let col = lower.builder.ins().iadd_imm_s(lanes.col, lane as i64);
                self.compete(lower, x, allowed, col);
            }
            return Ok(());
        }
        if let Some(allowed) = &allowed {
            let identity = lower.identity(self.op, self.lane);
            let identity = lower.splat(self.lane, width, identity);
            parts = lower.select(self.lane, width, allowed, &parts, &identity);
        }
        if width == 1 || self.groups.is_empty() {
            for lane in 0..width {
                let x = lower.extract(self.lane, width, &parts, lane);
                self.fold(lower, x)?;
            }
            return Ok(());
        }
        let groups = &self.groups[..parts.len()];
        let old = groups.iter().map(|variable| lower.builder.use_var(*variable)).collect();
        let new = lower.binary(fold_op(self.op), self.lane, width, &old, &parts)?;
        for (variable, part) in groups.iter().zip(new) {
            lower.builder.def_var(*variable, part);
        }
        Ok(())
    }

    /// Which lane adds to which accumulator must not depend on strides.
    fn place(&self) -> Option<&Place> {
        None
    }

    fn row_end(&mut self, lower: &mut Lower<'_, '_>, cells: &Cells<'_>) -> Result<(), CodegenError> {
        if let Some((first, rest)) = self.groups.split_first() {
            let mut all = vec![lower.builder.use_var(*first)];
            for variable in rest {
                let part = vec![lower.builder.use_var(*variable)];
                all = lower.binary(fold_op(self.op), self.lane, cells.width, &all, &part)?;
            }
            for lane in 0..lanes_per_part(self.lane) {
                let x = lower.extract(self.lane, cells.width, &all, lane);
                self.fold(lower, x)?;
            }
        }
        let Some(row) = cells.row() else { return Ok(()) };
        let value = lower.builder.use_var(self.single);
        let (storage, address) = lower.column_address(self.dst, row);
        let from = if self.is_search() { Lane::I64 } else { self.lane };
        let value = lower.convert(from, storage.lane(), 1, &vec![value])?[0];
        lower.store_scalar(storage, address, value);
        Ok(())
    }
}
