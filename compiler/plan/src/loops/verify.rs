//! The verifier: proves a loop program safe to run without checks.
//!
//! Generated code checks nothing, so a program is lowered only if every tile
//! and buffer access is *proved* in range, for all extents of at least 1, from
//! the bounds of rows, columns and loop variables; every lane type fits; every
//! variable is set before it is read; microkernels get unit strides and enough
//! rows and columns; and only buffers declared so are written. A proof that is
//! not found is an error: the planner clamps what it cannot bound.

use attnc_algebra::BinaryOp;
use thiserror::Error;

use super::expr::{Expr, ExprId, Lane};
use super::print::{expr_text, statement_text};
use super::program::{Access, BufferId, Dst, LoopProgram, SpanLoop, Stmt, TileId};

mod kernels;
mod lanes;
mod linear;
mod prover;

use linear::Linear;
use prover::{Known, Prover};

/// Why a program was refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum VerifyError {
    /// An access could not be proved in range.
    #[error("{statement}: {access}: not proved: {claim}")]
    Range {
        /// The statement, as printed.
        statement: String,
        /// The access, as printed.
        access: String,
        /// The inequality that was not proved.
        claim: String,
    },
    /// An expression is malformed or of a wrong lane type.
    #[error("{statement}: {expr}: {what}")]
    Expr {
        /// The statement, or the declaration, as printed.
        statement: String,
        /// The expression, as printed.
        expr: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A statement is malformed.
    #[error("{statement}: {what}")]
    Statement {
        /// The statement, as printed.
        statement: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// Everything that keeps `program` from being run without checks; empty if it
/// is safe. Extent symbols are at least 1, and so are the dimensions of buffers.
pub fn verify(program: &LoopProgram) -> Vec<VerifyError> {
    let mut verifier = Verifier {
        program,
        prover: Prover::new(&program.exprs, program.vars.len()),
        errors: Vec::new(),
        statement: String::new(),
        current: None,
    };
    verifier.declarations();
    if verifier.errors.is_empty() {
        for dimension in program.buffers.iter().flat_map(|buffer| &buffer.shape) {
            verifier.prover.assume_positive(*dimension);
        }
        verifier.block(&program.body);
    }
    verifier.errors
}

struct Verifier<'p> {
    program: &'p LoopProgram,
    prover: Prover<'p>,
    errors: Vec<VerifyError>,
    /// Text of what is checked, where it is no statement.
    statement: String,
    current: Option<&'p Stmt>,
}

/// Reports.
impl Verifier<'_> {
    fn place(&self) -> String {
        self.current.map_or_else(|| self.statement.clone(), |stmt| statement_text(self.program, stmt))
    }

    fn wrong(&mut self, what: &'static str) {
        let statement = self.place();
        self.errors.push(VerifyError::Statement { statement, what });
    }

    fn require(&mut self, good: bool, what: &'static str) {
        if !good {
            self.wrong(what);
        }
    }

    fn wrong_expr(&mut self, id: ExprId, what: &'static str) {
        let (statement, expr) = (self.place(), expr_text(self.program, &[], id));
        self.errors.push(VerifyError::Expr { statement, expr, what });
    }

    fn text(&self, id: ExprId) -> String {
        expr_text(self.program, &[], id)
    }

    /// Demands `low <= high`, both as forms and, for the message, as text.
    fn prove(
        &mut self,
        low: &Linear,
        high: &Linear,
        access: impl Fn(&Self) -> String,
        claim: impl Fn(&Self) -> String,
    ) {
        let proved = high.plus(low, -1).is_some_and(|form| self.prover.proves(&form));
        if !proved {
            let (statement, access, claim) = (self.place(), access(self), claim(self));
            self.errors.push(VerifyError::Range { statement, access, claim });
        }
    }

    /// Demands `0 <= index < extent`.
    fn within(&mut self, index: ExprId, extent: ExprId, access: &dyn Fn(&Self) -> String) {
        let (form, extent_form) = (self.prover.form(index), self.prover.form(extent));
        self.prove(&Linear::default(), &form, access, |s| format!("0 <= {}", s.text(index)));
        let one = Linear::constant(1);
        let Some(next) = form.plus(&one, 1) else { return self.wrong_expr(index, "an index that overflows") };
        self.prove(&next, &extent_form, access, |s| format!("{} < {}", s.text(index), s.text(extent)));
    }

    /// Demands `0 <= index` and `index + count <= extent`.
    fn spans(&mut self, index: ExprId, count: ExprId, extent: ExprId, access: &dyn Fn(&Self) -> String) {
        self.steps(index, count, 1, extent, access);
    }

    /// Demands `0 <= index` and `index + (count - 1) * step < extent`.
    fn steps(&mut self, index: ExprId, count: ExprId, step: i64, extent: ExprId, access: &dyn Fn(&Self) -> String) {
        let [form, length, limit] = [index, count, extent].map(|id| self.prover.form(id));
        self.prove(&Linear::default(), &form, access, |s| format!("0 <= {}", s.text(index)));
        let end = form.plus(&length, step).and_then(|past| past.plus(&Linear::constant(step - 1), -1));
        let Some(end) = end else { return self.wrong_expr(index, "an index that overflows") };
        let claim = |s: &Self| match step {
            1 => format!("{} + {} <= {}", s.text(index), s.text(count), s.text(extent)),
            _ => format!("{} + {step} * ({} - 1) < {}", s.text(index), s.text(count), s.text(extent)),
        };
        self.prove(&end, &limit, access, claim);
    }

    /// Demands `0 <= index` and `index + count <= 2 * extent`.
    fn halved(&mut self, index: ExprId, count: ExprId, extent: ExprId, access: &dyn Fn(&Self) -> String) {
        let [form, length, limit] = [index, count, extent].map(|id| self.prover.form(id));
        self.prove(&Linear::default(), &form, access, |s| format!("0 <= {}", s.text(index)));
        let (Some(end), Some(limit)) = (form.plus(&length, 1), limit.scaled(2)) else {
            return self.wrong_expr(index, "an index that overflows");
        };
        let claim = |s: &Self| format!("{} + {} <= 2 * ({})", s.text(index), s.text(count), s.text(extent));
        self.prove(&end, &limit, access, claim);
    }

    /// Demands `count <= extent`.
    fn fits(&mut self, count: ExprId, extent: ExprId, access: &dyn Fn(&Self) -> String) {
        let [count_form, limit] = [count, extent].map(|id| self.prover.form(id));
        self.prove(&count_form, &limit, access, |s| format!("{} <= {}", s.text(count), s.text(extent)));
    }
}

/// Declarations.
impl Verifier<'_> {
    fn declarations(&mut self) {
        let program = self.program;
        for number in 0..program.exprs.len() {
            let id = ExprId(number as u32);
            if let Some(what) = lanes::fault(program, id) {
                self.statement = "expression".to_string();
                self.wrong_expr(id, what);
            }
        }
        for buffer in &program.buffers {
            self.statement = format!("buffer {}", buffer.name);
            buffer.shape.iter().for_each(|id| self.launch_time(*id));
            self.require(
                buffer.unit_dim.is_none_or(|d| d < buffer.shape.len()),
                "the unit dimension is none of its own",
            );
        }
        for tile in &program.tiles {
            self.statement = format!("tile {}", tile.name);
            self.launch_time(tile.rows);
            self.launch_time(tile.cols);
        }
        self.statement = "grid".to_string();
        for (var, count) in &program.grid {
            self.launch_time(*count);
            let zero = Linear::default();
            let last = self.prover.form(*count).plus(&Linear::constant(1), -1);
            let known = Known::Range { low: vec![zero], high: last.into_iter().collect() };
            let set = program.vars.get(var.0 as usize) == Some(&Lane::I64) && self.prover.set(*var, known);
            self.require(set, "a grid variable is no integer variable");
        }
    }

    /// Demands an integer that depends on extents alone.
    fn launch_time(&mut self, id: ExprId) {
        let exprs = &self.program.exprs;
        let allowed = |id: &ExprId| {
            !matches!(
                exprs.get(*id),
                Expr::Var(_)
                    | Expr::Row
                    | Expr::Col
                    | Expr::Tile { .. }
                    | Expr::Load { .. }
                    | Expr::LowerBound { .. }
                    | Expr::Real(..)
            )
        };
        if exprs.lane(id) != Lane::I64 || !exprs.under(&[id]).iter().all(allowed) {
            self.wrong_expr(id, "an extent that is no launch-time integer");
        }
    }
}

/// Statements.
impl<'p> Verifier<'p> {
    fn block(&mut self, body: &'p [Stmt]) {
        for stmt in body {
            self.current = Some(stmt);
            self.statement(stmt);
        }
    }

    fn nested(&mut self, body: &'p [Stmt]) {
        let mark = self.prover.enter();
        self.block(body);
        self.prover.leave(&mark);
    }

    fn statement(&mut self, stmt: &'p Stmt) {
        match stmt {
            Stmt::For { var, from, to, step, body } => {
                self.scalars(&[*from, *to], Lane::I64);
                self.require(*step >= 1, "the step is not positive");
                let known = self.prover.range(*from, *to);
                let mark = self.prover.enter();
                self.define(*var, Lane::I64, known);
                if self.prover.form(*from).as_constant() == Some(0) {
                    self.prover.set_multiple(*var, *step);
                }
                self.block(body);
                self.prover.leave(&mark);
            }
            Stmt::Spans(spans) => self.span_loop(spans),
            Stmt::If { cond, then, otherwise } => {
                self.scalars(&[*cond], Lane::Bool);
                self.nested(then);
                self.nested(otherwise);
            }
            Stmt::Let { var, value } => {
                let lane = self.program.exprs.lane(*value);
                self.scalars(&[*value], lane);
                let known = if lane == Lane::I64 { Known::Equal(*value) } else { Known::Opaque };
                self.define(*var, lane, known);
            }
            Stmt::Map { dst, rows, cols, value } => self.map(dst, *rows, *cols, *value),
            Stmt::RowReduce { .. } => self.row_reduce(stmt),
            Stmt::Product { .. } => self.product(stmt),
            Stmt::Pack { .. } => self.pack(stmt),
            Stmt::Dots { .. } => self.dots(stmt),
            Stmt::List { .. } => self.list(stmt),
            Stmt::DotsListed { .. } | Stmt::SumListed { .. } => self.listed(stmt),
            Stmt::MaxPlus { .. } => self.max_plus(stmt),
            Stmt::DropUnweighted { weights, list, count, rows, cols } => {
                self.scalars(&[*rows, *cols], Lane::I64);
                self.operand_of(Lane::F32, *weights, *rows, Some(*cols));
                self.operand_of(Lane::I64, *list, *rows, Some(*cols));
                self.operand_of(Lane::I64, *count, *rows, None);
                self.require(list != count, "a list and its count are one tile");
            }
            Stmt::ProductTanh { .. } => self.product_tanh(stmt),
            Stmt::SoftmaxUpdate { scores, max, sum, alpha, masked, rows, cols } => {
                self.scalars(&[*rows, *cols], Lane::I64);
                self.masked(masked.as_ref(), *rows);
                self.operand(*scores, *rows, Some(*cols));
                for tile in [max, sum, alpha] {
                    self.operand(*tile, *rows, None);
                }
            }
            Stmt::Order { .. } => self.order(stmt),
            Stmt::ClearLargest { dst, scores, slack, rows, cols } => {
                self.scalars(&[*rows, *cols], Lane::I64);
                self.operand_of(Lane::F32, *scores, *rows, Some(*cols));
                self.operand_of(Lane::F32, *slack, *rows, None);
                self.operand_of(Lane::I64, *dst, *rows, None);
            }
            Stmt::Ranks { .. } => self.ranks(stmt),
            Stmt::KeepSpans { tile, from, to, rows, cols, .. } => {
                self.scalars(&[*rows, *cols], Lane::I64);
                self.operand(*tile, *rows, Some(*cols));
                self.operand_of(Lane::I64, *from, *rows, None);
                self.operand_of(Lane::I64, *to, *rows, None);
            }
            Stmt::KeepKeys { .. } => self.keep_keys(stmt),
            Stmt::NarrowSpans { .. } => self.narrow_spans(stmt),
            Stmt::ScatterAdd { .. } => self.scatter_add(stmt),
            Stmt::Flush { tile, rows, cols } => {
                self.scalars(&[*rows, *cols], Lane::I64);
                self.operand(*tile, *rows, Some(*cols));
            }
            Stmt::ScaleRows { tile, alpha, rows, cols } => {
                self.scalars(&[*rows, *cols], Lane::I64);
                self.operand(*tile, *rows, Some(*cols));
                self.operand(*alpha, *rows, None);
            }
        }
    }

    fn define(&mut self, var: super::program::VarId, lane: Lane, known: Known) {
        let fits = self.program.vars.get(var.0 as usize) == Some(&lane) && self.prover.set(var, known);
        self.require(fits, "the variable is of another type");
    }

    fn span_loop(&mut self, spans: &'p SpanLoop) {
        self.scalars(&[spans.limit], Lane::I64);
        self.require(spans.tile >= 1, "the tile width is not positive");
        let mark = self.prover.enter();
        let mut pairs = Linear::default();
        for piece in &spans.pieces {
            let mut times = Linear::constant(1);
            if let Some((var, count)) = piece.repeat {
                self.scalars(&[count], Lane::I64);
                let high = self.prover.form(count).plus(&Linear::constant(1), -1);
                times = self.prover.form(count);
                self.define(
                    var,
                    Lane::I64,
                    Known::Range { low: vec![Linear::default()], high: high.into_iter().collect() },
                );
            }
            self.scalars(&[piece.guard], Lane::Bool);
            self.scalars(&[piece.from, piece.to], Lane::I64);
            pairs = pairs.plus(&times, 2).unwrap_or_default();
        }
        self.span_list(spans, &pairs);
        self.prover.leave(&mark);
        let limit = self.prover.form(spans.limit);
        let last = limit.plus(&Linear::constant(1), -1);
        self.define(
            spans.var,
            Lane::I64,
            Known::Range { low: vec![Linear::default()], high: last.into_iter().collect() },
        );
        let find = |wanted: &dyn Fn(&Expr) -> bool| {
            let exprs = &self.program.exprs;
            (0..exprs.len() as u32).map(ExprId).find(|id| wanted(exprs.get(*id)))
        };
        let var = find(&|e| *e == Expr::Var(spans.var));
        // Blocks of whole tiles that are asked for; the tile is in one of each size.
        let blocks = (0..self.program.exprs.len() as u32).map(ExprId).filter_map(|id| {
            let Expr::Binary(BinaryOp::FloorDiv, x, y) = self.program.exprs.get(id) else { return None };
            let size = self.program.exprs.as_int(*y)?;
            (Some(*x) == var && size > 0 && size % spans.tile.max(1) == 0).then_some((id, size))
        });
        let blocks: Vec<(ExprId, i64)> = blocks.collect();
        let (mut low, mut high) = (vec![Linear::constant(1)], vec![limit]);
        if let Some(var) = var {
            let var = self.prover.form(var);
            low.extend(var.plus(&Linear::constant(1), 1));
            high.extend(var.plus(&Linear::constant(spans.tile), 1));
        }
        for (block, size) in blocks {
            // The tile ends in the block in which it begins.
            let past = self.prover.form(block).scaled(size);
            high.extend(past.and_then(|p| p.plus(&Linear::constant(size), 1)));
        }
        self.define(spans.end, Lane::I64, Known::Range { low, high });
        self.block(&spans.body);
        self.prover.leave(&mark);
    }

    /// The list holds a pair for every interval.
    fn span_list(&mut self, spans: &SpanLoop, pairs: &Linear) {
        let Some(list) = self.program.tiles.get(spans.list.0 as usize) else {
            return self.wrong("the list is out of the table");
        };
        self.require(list.lane == Lane::I64 && list.rows_at_least_one(self.program), "the list is no row of integers");
        let cols = self.prover.form(list.cols);
        let name = list.name.clone();
        self.prove(pairs, &cols, |_| name.clone(), |_| "the list holds all intervals".to_string());
    }

    fn map(&mut self, dst: &Dst, rows: ExprId, cols: ExprId, value: ExprId) {
        self.scalars(&[rows, cols], Lane::I64);
        let mut roots = vec![value];
        match dst {
            Dst::Tile { row, col, .. } => roots.extend([*row, *col]),
            Dst::Buffer { index, .. } => roots.extend(index),
        }
        self.prover.cells(Some(rows), Some(cols));
        self.accesses(&roots);
        match dst {
            Dst::Tile { tile, row, col } => {
                let Some(declared) = self.program.tiles.get(tile.0 as usize) else {
                    return self.wrong("a tile is out of the table");
                };
                self.require(declared.lane == self.program.exprs.lane(value), "the value is of another type");
                self.tile_access(*tile, *row, *col);
            }
            Dst::Buffer { buffer, index } => {
                let Some(declared) = self.program.buffers.get(buffer.0 as usize) else {
                    return self.wrong("a buffer is out of the table");
                };
                self.require(declared.access == Access::Write, "the buffer is only for reading");
                self.require(index.len() == declared.shape.len(), "the wrong number of indices");
                self.buffer_access(*buffer, index, None);
            }
        }
        self.prover.cells(None, None);
    }

    fn row_reduce(&mut self, stmt: &Stmt) {
        let Stmt::RowReduce { dst, op, rows, cols, domain, value, accumulate } = stmt else { return };
        self.scalars(&[*rows, *cols], Lane::I64);
        let lane = self.program.exprs.lane(*value);
        let result = lanes::reduced(*op, lane);
        let mut roots = vec![*value];
        roots.extend(*domain);
        self.require(domain.is_none_or(|d| self.program.exprs.lane(d) == Lane::Bool), "the domain is no truth value");
        self.require(!accumulate || result == Some(lane), "a search for a position accumulates");
        self.prover.cells(Some(*rows), Some(*cols));
        self.accesses(&roots);
        self.prover.cells(None, None);
        let Some(declared) = self.program.tiles.get(dst.0 as usize) else {
            return self.wrong("a tile is out of the table");
        };
        self.require(result == Some(declared.lane), "the reduction gives another type");
        let (tile_rows, tile_cols) = (declared.rows, declared.cols);
        let access = |s: &Self| s.tile_name(*dst);
        self.fits(*rows, tile_rows, &access);
        let (one, cols) = (Linear::constant(1), self.prover.form(tile_cols));
        self.prove(&one, &cols, access, |s| format!("1 <= {}", s.text(tile_cols)));
    }

    fn tile_name(&self, tile: TileId) -> String {
        self.program.tiles.get(tile.0 as usize).map_or_else(String::new, |t| t.name.clone())
    }
}

/// Accesses inside expressions.
impl Verifier<'_> {
    /// Expressions outside of maps: of the given type, without row and column,
    /// with their accesses in range.
    fn scalars(&mut self, ids: &[ExprId], lane: Lane) {
        for id in ids {
            let dependence = self.program.exprs.dependence(*id);
            if dependence.row || dependence.col {
                self.wrong_expr(*id, "a scalar mentions row or column");
            }
            if self.program.exprs.lane(*id) != lane {
                self.wrong_expr(*id, "a scalar of another type");
            }
        }
        self.accesses(ids);
    }

    fn accesses(&mut self, roots: &[ExprId]) {
        let program = self.program;
        for id in program.exprs.under(roots) {
            match program.exprs.get(id) {
                Expr::Var(var) if !self.prover.is_set(*var) => self.wrong_expr(id, "the variable is not set here"),
                Expr::Tile { tile, row, col } => self.tile_access(*tile, *row, *col),
                Expr::Load { clamp: true, .. } => {}
                Expr::Load { buffer, index, .. } => self.buffer_access(*buffer, index, None),
                Expr::LowerBound { buffer, index, dim, count, .. } => {
                    self.buffer_access(*buffer, index, Some(*dim));
                    let extent = program.buffers[buffer.0 as usize].shape[*dim];
                    let access = |s: &Self| s.text(id);
                    self.fits(*count, extent, &access);
                }
                _ => {}
            }
        }
    }

    fn tile_access(&mut self, tile: TileId, row: ExprId, col: ExprId) {
        let declared = &self.program.tiles[tile.0 as usize];
        let access = |s: &Self| format!("{}[{}, {}]", s.tile_name(tile), s.text(row), s.text(col));
        self.within(row, declared.rows, &access);
        self.within(col, declared.cols, &access);
    }

    /// All indices in range, but for that of the dimension `searched`.
    fn buffer_access(&mut self, buffer: BufferId, index: &[ExprId], searched: Option<usize>) {
        let declared = &self.program.buffers[buffer.0 as usize];
        let access = |s: &Self| {
            let index: Vec<String> = index.iter().map(|i| s.text(*i)).collect();
            format!("{}[{}]", declared.name, index.join(", "))
        };
        for (dim, (at, extent)) in index.iter().zip(&declared.shape).enumerate() {
            if Some(dim) != searched {
                self.within(*at, *extent, &access);
            }
        }
    }
}

impl super::program::Tile {
    fn rows_at_least_one(&self, program: &LoopProgram) -> bool {
        matches!(program.exprs.get(self.rows), Expr::Extent(_))
            || program.exprs.as_int(self.rows).is_some_and(|n| n >= 1)
    }
}
