//! The second engine: runs a loop program as it reads.
//!
//! Every access is checked: an index out of range is an [`InterpretError`],
//! never a panic and never a wrong element, so it also finds what the verifier
//! should have refused. Names must be in their tables, as the verifier demands. Tiles start each task filled with NaN and with integers
//! far out of range, which shows reads of undefined contents. Must not know
//! machine code. Lane semantics are in [`super::arithmetic`], storage in
//! [`super::storage`].

use std::collections::BTreeMap;
use std::rc::Rc;

use attnc_algebra::{BinaryOp, ReduceOp};
use thiserror::Error;

use super::arithmetic::{self, Value};
use super::expr::{Expr, ExprId, Lane};
use super::program::{Dst, LoopProgram, Piece, SPAN_GAP, SpanLoop, Stmt, TileId, VarId};
pub use super::storage::{BufferData, Bytes};
use super::storage::{StorageError, TileData};

mod kernel;

/// Why a program could not be run.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum InterpretError {
    /// The buffers given are not those the program declares.
    #[error("program {program} has {expected} buffers, {given} were given")]
    BufferCount {
        /// The program's name.
        program: String,
        /// Buffers it declares.
        expected: usize,
        /// Buffers it was given.
        given: usize,
    },
    /// A buffer's shape is not what the program declares at these extents.
    #[error("buffer {name} of program {program} has shape {given:?}; {expected:?} is declared")]
    BufferShape {
        /// The program's name.
        program: String,
        /// The buffer's name.
        name: String,
        /// Declared shape; `None` where it overflows.
        expected: Option<Vec<i64>>,
        /// Shape given.
        given: Vec<i64>,
    },
    /// An access to a buffer or tile failed.
    #[error("{name}: {error}")]
    Access {
        /// The buffer or tile.
        name: String,
        /// What went wrong.
        error: StorageError,
    },
    /// The size of a tile, or the task count, overflows.
    #[error("the size of {0} overflows or depends on more than extents")]
    Size(String),
    /// An extent symbol without a value.
    #[error("extent symbol {0} has no value")]
    NoExtent(u32),
    /// A variable read before it is set, or out of the table.
    #[error("variable {0} is read before it is set")]
    Unset(u32),
    /// An operation on lanes that it has no meaning for.
    #[error("{0}")]
    Meaning(&'static str),
}

type Run<T> = Result<T, InterpretError>;

/// Runs every task of `program` in order. `extents` are by symbol number;
/// `buffers` are in the program's order.
pub fn run(program: &LoopProgram, extents: &[i64], buffers: &mut [BufferData<'_>]) -> Run<()> {
    check_buffers(program, extents, buffers)?;
    let overflow = || InterpretError::Size("the grid".to_string());
    let count = program.tasks(extents).ok_or_else(overflow)?;
    let mut machine = Machine {
        program,
        extents,
        buffers,
        tiles: Vec::new(),
        vars: vec![None; program.vars.len()],
        values: vec![Value::Int(0); program.exprs.len()],
        orders: BTreeMap::new(),
    };
    for task in 0..count {
        machine.tiles = fresh_tiles(program, extents)?;
        machine.vars.fill(None);
        let point = program.grid_point(extents, task).ok_or_else(overflow)?;
        for ((var, _), value) in program.grid.iter().zip(point) {
            machine.set(*var, Value::Int(value));
        }
        machine.block(&program.body)?;
    }
    Ok(())
}

fn check_buffers(program: &LoopProgram, extents: &[i64], buffers: &[BufferData<'_>]) -> Run<()> {
    if program.buffers.len() != buffers.len() {
        let (expected, given) = (program.buffers.len(), buffers.len());
        return Err(InterpretError::BufferCount { program: program.name.clone(), expected, given });
    }
    for (at, (declared, data)) in program.buffers.iter().zip(buffers).enumerate() {
        let expected = program.buffer_shape(at, extents);
        if expected.as_deref() != Some(data.shape) {
            let (program, name) = (program.name.clone(), declared.name.clone());
            return Err(InterpretError::BufferShape { program, name, expected, given: data.shape.to_vec() });
        }
    }
    Ok(())
}

fn fresh_tiles(program: &LoopProgram, extents: &[i64]) -> Run<Vec<TileData>> {
    let fresh = |tile| {
        let layout = program.tile_layout(tile, extents).ok_or_else(|| InterpretError::Size(tile.name.clone()))?;
        Ok(TileData::undefined(tile.lane, layout))
    };
    program.tiles.iter().map(fresh).collect()
}

/// The order in which the expressions under some roots are evaluated.
#[derive(Default)]
struct Order {
    /// Without row and column.
    scalars: Vec<ExprId>,
    /// With row, without column.
    rows: Vec<ExprId>,
    /// With column.
    cells: Vec<ExprId>,
}

struct Machine<'a, 'b> {
    program: &'a LoopProgram,
    extents: &'a [i64],
    buffers: &'a mut [BufferData<'b>],
    tiles: Vec<TileData>,
    vars: Vec<Option<Value>>,
    /// Latest value of each expression.
    values: Vec<Value>,
    orders: BTreeMap<Vec<ExprId>, Rc<Order>>,
}

/// Statements.
impl Machine<'_, '_> {
    fn block(&mut self, body: &[Stmt]) -> Run<()> {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Run<()> {
        match stmt {
            Stmt::For { var, from, to, step, body } => {
                let (mut at, to) = (self.int(*from)?, self.int(*to)?);
                while at < to {
                    self.set(*var, Value::Int(at));
                    self.block(body)?;
                    at = at.saturating_add((*step).max(1));
                }
                Ok(())
            }
            Stmt::Spans(spans) => self.spans(spans),
            Stmt::If { cond, then, otherwise } => {
                let branch = if self.scalar(*cond)?.truth() { then } else { otherwise };
                self.block(branch)
            }
            Stmt::Let { var, value } => {
                let value = self.scalar(*value)?;
                self.set(*var, value);
                Ok(())
            }
            Stmt::Map { dst, rows, cols, value } => self.map(dst, *rows, *cols, *value),
            Stmt::RowReduce { .. } => self.row_reduce(stmt),
            Stmt::Product { .. }
            | Stmt::Pack { .. }
            | Stmt::Dots { .. }
            | Stmt::List { .. }
            | Stmt::DotsListed { .. }
            | Stmt::SumListed { .. }
            | Stmt::MaxPlus { .. }
            | Stmt::ProductTanh { .. }
            | Stmt::SoftmaxUpdate { .. }
            | Stmt::Flush { .. }
            | Stmt::ScaleRows { .. }
            | Stmt::ClearLargest { .. }
            | Stmt::Ranks { .. }
            | Stmt::KeepSpans { .. }
            | Stmt::KeepKeys { .. }
            | Stmt::NarrowSpans { .. }
            | Stmt::DropUnweighted { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Order { .. } => self.kernel(stmt),
        }
    }

    fn spans(&mut self, spans: &SpanLoop) -> Run<()> {
        let limit = self.int(spans.limit)?;
        let tile = spans.tile.max(1);
        let mut found = Vec::new();
        for piece in &spans.pieces {
            let Some((var, count)) = piece.repeat else {
                self.piece(piece, limit, &mut found)?;
                continue;
            };
            for at in 0..self.int(count)? {
                self.set(var, Value::Int(at));
                self.piece(piece, limit, &mut found)?;
            }
        }
        for (mut from, to) in merged(found) {
            while from < to {
                let end = to.min((from.div_euclid(tile) + 1) * tile);
                self.set(spans.var, Value::Int(from));
                self.set(spans.end, Value::Int(end));
                self.block(&spans.body)?;
                from = end;
            }
        }
        Ok(())
    }

    fn piece(&mut self, piece: &Piece, limit: i64, found: &mut Vec<(i64, i64)>) -> Run<()> {
        if self.scalar(piece.guard)?.truth() {
            let (from, to) = (self.int(piece.from)?.max(0), self.int(piece.to)?.min(limit));
            found.extend((from < to).then_some((from, to)));
        }
        Ok(())
    }

    fn map(&mut self, dst: &Dst, rows: ExprId, cols: ExprId, value: ExprId) -> Run<()> {
        let (rows, cols) = (self.int(rows)?, self.int(cols)?);
        let mut roots = vec![value];
        match dst {
            Dst::Tile { row, col, .. } => roots.extend([*row, *col]),
            Dst::Buffer { index, .. } => roots.extend(index),
        }
        self.cells(&roots, rows, cols, |machine, _, _| {
            let value = machine.values[value.0 as usize];
            match dst {
                Dst::Tile { tile, row, col } => {
                    let (row, col) = (machine.now(*row).int(), machine.now(*col).int());
                    machine.write_tile(*tile, row, col, value)
                }
                Dst::Buffer { buffer, index } => {
                    let index: Vec<i64> = index.iter().map(|i| machine.now(*i).int()).collect();
                    let name = |error| machine.program.buffers[buffer.0 as usize].named(error);
                    machine.buffers[buffer.0 as usize].write(&index, value).map_err(name)
                }
            }
        })
    }

    fn row_reduce(&mut self, stmt: &Stmt) -> Run<()> {
        let Stmt::RowReduce { dst, op, rows, cols, domain, value, accumulate } = stmt else { return Ok(()) };
        let (rows, cols) = (self.int(*rows)?, self.int(*cols)?);
        let lane = self.program.exprs.lane(*value);
        let mut folds: Vec<Fold> = Vec::new();
        for row in 0..rows {
            let old = if *accumulate { Some(self.read_tile(*dst, row, 0)?) } else { None };
            folds.push(Fold::new(*op, lane, old)?);
        }
        let mut roots = vec![*value];
        roots.extend(*domain);
        self.cells(&roots, rows, cols, |machine, row, col| {
            if domain.is_none_or(|d| machine.now(d).truth()) {
                folds[row as usize].add(machine.now(*value), col);
            }
            Ok(())
        })?;
        for (row, fold) in (0..rows).zip(folds) {
            self.write_tile(*dst, row, 0, fold.value)?;
        }
        Ok(())
    }

    /// Evaluates the roots at every row and column and calls `visit` there.
    fn cells(
        &mut self,
        roots: &[ExprId],
        rows: i64,
        cols: i64,
        mut visit: impl FnMut(&mut Self, i64, i64) -> Run<()>,
    ) -> Run<()> {
        if rows <= 0 || cols <= 0 {
            return Ok(());
        }
        let order = self.order(roots);
        self.evaluate(&order.scalars, 0, 0)?;
        for row in 0..rows {
            self.evaluate(&order.rows, row, 0)?;
            for col in 0..cols {
                self.evaluate(&order.cells, row, col)?;
                visit(self, row, col)?;
            }
        }
        Ok(())
    }
}

/// Intervals in ascending order, joined where they are less than [`SPAN_GAP`] apart.
pub(crate) fn merged(mut found: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    found.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in found {
        match joined.last_mut() {
            Some(last) if from < last.1 + SPAN_GAP => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// A row reduction under way.
struct Fold {
    op: ReduceOp,
    lane: Lane,
    value: Value,
    best: Option<f64>,
}

impl Fold {
    fn new(op: ReduceOp, lane: Lane, old: Option<Value>) -> Run<Self> {
        let identity = match (op, lane) {
            (ReduceOp::LogSumExp, _) => return Err(InterpretError::Meaning("logsumexp is no row reduction")),
            (ReduceOp::ArgMax | ReduceOp::ArgMin, _) => Value::Int(-1),
            (ReduceOp::Any | ReduceOp::All, _) => Value::Truth(op == ReduceOp::All),
            (ReduceOp::Max, Lane::I64) => Value::Int(i64::MIN),
            (ReduceOp::Min, Lane::I64) => Value::Int(i64::MAX),
            (_, Lane::I64) => Value::Int(op.identity() as i64),
            (_, Lane::Bool) => return Err(InterpretError::Meaning("an arithmetic reduction of truth values")),
            _ => Value::Real(op.identity()),
        };
        Ok(Self { op, lane, value: old.unwrap_or(identity), best: None })
    }

    fn add(&mut self, x: Value, col: i64) {
        use attnc_algebra::NaryOp;
        let op = match self.op {
            ReduceOp::Sum => NaryOp::Add,
            ReduceOp::Prod => NaryOp::Mul,
            ReduceOp::Max => NaryOp::Max,
            ReduceOp::Min => NaryOp::Min,
            ReduceOp::Any => NaryOp::Or,
            ReduceOp::All => NaryOp::And,
            ReduceOp::ArgMax => return self.candidate(x.real(), col),
            ReduceOp::ArgMin => return self.candidate(-x.real(), col),
            ReduceOp::LogSumExp => return,
        };
        self.value = arithmetic::nary(op, self.lane, self.value, x);
    }

    fn candidate(&mut self, x: f64, col: i64) {
        let wins = self.best.is_none_or(|best| x > best || best.is_nan() && !x.is_nan());
        if wins {
            self.best = Some(x);
            self.value = Value::Int(col);
        }
    }
}

/// Expressions.
impl Machine<'_, '_> {
    fn set(&mut self, var: VarId, value: Value) {
        if let Some(slot) = self.vars.get_mut(var.0 as usize) {
            *slot = Some(value);
        }
    }

    /// The value last computed for an expression.
    fn now(&self, id: ExprId) -> Value {
        self.values[id.0 as usize]
    }

    fn scalar(&mut self, id: ExprId) -> Run<Value> {
        let order = self.order(&[id]);
        self.evaluate(&order.scalars, 0, 0)?;
        if !order.rows.is_empty() || !order.cells.is_empty() {
            return Err(InterpretError::Meaning("a scalar mentions row or column"));
        }
        Ok(self.now(id))
    }

    fn int(&mut self, id: ExprId) -> Run<i64> {
        Ok(self.scalar(id)?.int())
    }

    fn order(&mut self, roots: &[ExprId]) -> Rc<Order> {
        if let Some(order) = self.orders.get(roots) {
            return Rc::clone(order);
        }
        let exprs = &self.program.exprs;
        let mut order = Order::default();
        for id in exprs.under(roots) {
            let dependence = exprs.dependence(id);
            match (dependence.row, dependence.col) {
                (_, true) => order.cells.push(id),
                (true, false) => order.rows.push(id),
                (false, false) => order.scalars.push(id),
            }
        }
        let order = Rc::new(order);
        self.orders.insert(roots.to_vec(), Rc::clone(&order));
        order
    }

    fn evaluate(&mut self, ids: &[ExprId], row: i64, col: i64) -> Run<()> {
        for id in ids {
            self.values[id.0 as usize] = self.node(*id, row, col)?;
        }
        Ok(())
    }

    /// The value of one operation whose operands are evaluated.
    fn node(&self, id: ExprId, row: i64, col: i64) -> Run<Value> {
        let exprs = &self.program.exprs;
        Ok(match exprs.get(id) {
            Expr::Real(lane, v) => arithmetic::real(*lane, v.get()),
            Expr::Int(v) => Value::Int(*v),
            Expr::Bool(v) => Value::Truth(*v),
            Expr::Extent(n) => {
                let value = self.extents.get(*n as usize).ok_or(InterpretError::NoExtent(*n))?;
                Value::Int(*value)
            }
            Expr::Var(v) => self.vars.get(v.0 as usize).copied().flatten().ok_or(InterpretError::Unset(v.0))?,
            Expr::Row => Value::Int(row),
            Expr::Col => Value::Int(col),
            Expr::Tile { tile, row, col } => self.read_tile(*tile, self.now(*row).int(), self.now(*col).int())?,
            Expr::Load { .. } | Expr::LowerBound { .. } => self.memory(id)?,
            Expr::Unary(op, x) => arithmetic::unary(*op, exprs.lane(*x), self.now(*x)),
            Expr::Binary(BinaryOp::Div | BinaryOp::LogAddExp, x, _) if exprs.lane(*x) == Lane::I64 => {
                return Err(InterpretError::Meaning("real division of integers"));
            }
            Expr::Binary(op, x, y) => arithmetic::binary(*op, exprs.lane(*x), self.now(*x), self.now(*y)),
            Expr::Nary(op, xs) => {
                let mut values = xs.iter().map(|x| self.now(*x));
                let first = values.next().ok_or(InterpretError::Meaning("a fold over no operands"))?;
                values.fold(first, |acc, x| arithmetic::nary(*op, exprs.lane(id), acc, x))
            }
            Expr::Select(c, a, b) => self.now(if self.now(*c).truth() { *a } else { *b }),
            Expr::Cast(lane, x) => arithmetic::cast(*lane, self.now(*x)),
        })
    }

    fn memory(&self, id: ExprId) -> Run<Value> {
        let at = |index: &[ExprId]| -> Vec<i64> { index.iter().map(|i| self.now(*i).int()).collect() };
        match self.program.exprs.get(id) {
            Expr::Load { buffer, index, clamp } => {
                let data = &self.buffers[buffer.0 as usize];
                let mut index = at(index);
                if *clamp {
                    data.clamp(&mut index);
                }
                data.read(&index).map_err(|error| self.program.buffers[buffer.0 as usize].named(error))
            }
            Expr::LowerBound { buffer, index, dim, count, value } => {
                let (count, value) = (self.now(*count).int(), self.now(*value).int());
                let found = self.buffers[buffer.0 as usize].lower_bound(at(index), *dim, count, value);
                found.map(Value::Int).map_err(|error| self.program.buffers[buffer.0 as usize].named(error))
            }
            _ => Ok(Value::Int(0)),
        }
    }

    fn read_tile(&self, tile: TileId, row: i64, col: i64) -> Run<Value> {
        self.tiles[tile.0 as usize].read(row, col).map_err(|error| self.program.tiles[tile.0 as usize].named(error))
    }

    fn write_tile(&mut self, tile: TileId, row: i64, col: i64, value: Value) -> Run<()> {
        let name = |error| self.program.tiles[tile.0 as usize].named(error);
        self.tiles[tile.0 as usize].write(row, col, value).map_err(name)
    }
}

impl super::program::Tile {
    fn named(&self, error: StorageError) -> InterpretError {
        InterpretError::Access { name: self.name.clone(), error }
    }
}

impl super::program::Buffer {
    fn named(&self, error: StorageError) -> InterpretError {
        InterpretError::Access { name: self.name.clone(), error }
    }
}
