//! Predicted time of a plan: the loop programs' work, counted.
//!
//! Control flow is followed for a few sample tasks and iterations, and what
//! they do is scaled up, so traversals count the tiles that they visit. Values
//! of tables are not known here: a `runs` table is taken as regular, any other
//! as spread evenly.

use std::collections::BTreeMap;

use attnc_algebra::{BinaryOp, DType, NaryOp, UnaryOp};
use attnc_cost::machine::MachineProfile;
use attnc_cost::roofline::StageWork;
use attnc_cost::units::Nanos;

use crate::graph::{Plan, Stage};
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::interpret::merged;
use crate::loops::{Access, BufferId, Dst, LoopProgram, Piece, SpanLoop, Stmt, VarId, View};

/// Tasks, and iterations of a long loop, that are followed.
const SAMPLES: i64 = 5;

/// Work of one transcendental function in exponentials, by the op table's units.
const EXP_WORK: f64 = 12.0;

impl Plan {
    /// Predicted time at the given values of the extent symbols; `None` on overflow.
    pub fn predict(&self, extents: &[i64], profile: &MachineProfile) -> Option<Nanos> {
        let mut total = 0.0;
        for stage in self.stages() {
            total += self.work(stage, extents)?.time(profile).0;
        }
        Some(Nanos(total))
    }

    /// Counted work of one stage at the given extents; `None` on overflow.
    pub fn work(&self, stage: &Stage, extents: &[i64]) -> Option<StageWork> {
        let program = &stage.program;
        let tasks = program.tasks(extents)?;
        let runs = stage
            .args
            .iter()
            .map(|a| self.buffers[a.0 as usize].runs.and_then(|r| self.shapes.eval_launch(r, extents)))
            .collect();
        let mut counter = Counter {
            program,
            extents,
            runs,
            vars: BTreeMap::new(),
            work: StageWork::default(),
            touched: BTreeMap::new(),
        };
        let samples = tasks.min(SAMPLES);
        for k in 0..samples {
            let task = if samples > 1 { k * (tasks - 1) / (samples - 1) } else { 0 };
            counter.bind_grid(task);
            counter.run(&program.body, tasks as f64 / samples as f64);
        }
        let mut work = counter.work;
        for (buffer, bytes) in &counter.touched {
            let whole = self.shape(stage.args[buffer.0 as usize], extents)?;
            let dtype = program.buffers[buffer.0 as usize].dtype;
            let size = whole.iter().map(|n| *n as f64).product::<f64>() * dtype.size() as f64;
            match program.buffers[buffer.0 as usize].access {
                Access::Read => work.bytes_read += bytes.min(size),
                Access::Write => work.bytes_written += bytes.min(size),
            }
        }
        work.calls = 1.0;
        work.tasks = tasks as f64;
        Some(work)
    }
}

/// A scalar's value, where it is known.
#[derive(Clone, Copy, Debug)]
enum Known {
    Int(i64),
    Nothing,
}

struct Counter<'a> {
    program: &'a LoopProgram,
    extents: &'a [i64],
    /// Mean run length of each buffer declared with `runs`.
    runs: Vec<Option<i64>>,
    vars: BTreeMap<VarId, i64>,
    work: StageWork,
    touched: BTreeMap<BufferId, f64>,
}

impl Counter<'_> {
    fn bind_grid(&mut self, mut task: i64) {
        for (var, count) in self.program.grid.iter().rev() {
            let count = self.program.exprs.eval_launch(*count, self.extents).unwrap_or(1).max(1);
            self.vars.insert(*var, task % count);
            task /= count;
        }
    }

    fn int(&self, id: ExprId) -> i64 {
        match self.value(id) {
            Known::Int(v) => v,
            Known::Nothing => 0,
        }
    }

    /// A truth value; unknown ones count as true.
    fn truth(&self, id: ExprId) -> bool {
        matches!(self.value(id), Known::Nothing | Known::Int(1..))
    }

    fn value(&self, id: ExprId) -> Known {
        let known = |v: Option<i64>| v.map_or(Known::Nothing, Known::Int);
        match self.program.exprs.get(id) {
            Expr::Int(v) => Known::Int(*v),
            Expr::Bool(v) => Known::Int(i64::from(*v)),
            Expr::Extent(s) => known(self.extents.get(*s as usize).copied()),
            Expr::Var(v) => known(self.vars.get(v).copied()),
            Expr::Unary(op, x) => match (op, self.value(*x)) {
                (UnaryOp::Neg, Known::Int(v)) => Known::Int(v.saturating_neg()),
                (UnaryOp::Abs, Known::Int(v)) => Known::Int(v.saturating_abs()),
                (UnaryOp::Not, Known::Int(v)) => Known::Int(i64::from(v == 0)),
                _ => Known::Nothing,
            },
            Expr::Binary(op, x, y) => self.binary(*op, *x, *y),
            Expr::Nary(op, xs) => self.nary(*op, xs),
            Expr::Select(c, a, b) => self.value(if self.truth(*c) { *a } else { *b }),
            Expr::Load { buffer, index, .. } => self.table(*buffer, index),
            Expr::LowerBound { buffer, count, value, .. } => match self.runs[buffer.0 as usize] {
                Some(run) => Known::Int(self.int(*value).saturating_mul(run).clamp(0, self.int(*count))),
                None => Known::Int(0),
            },
            _ => Known::Nothing,
        }
    }

    fn binary(&self, op: BinaryOp, x: ExprId, y: ExprId) -> Known {
        match (self.value(x), self.value(y)) {
            (Known::Int(a), Known::Int(b)) => op.eval_int(a, b).map_or(Known::Nothing, Known::Int),
            _ => Known::Nothing,
        }
    }

    fn nary(&self, op: NaryOp, xs: &[ExprId]) -> Known {
        let mut acc: Option<i64> = None;
        let mut unknown = false;
        for x in xs {
            match (self.value(*x), acc) {
                (Known::Int(v), None) => acc = Some(v),
                (Known::Int(v), Some(a)) => acc = op.eval_int(a, v),
                (Known::Nothing, _) => unknown = true,
            }
        }
        match (op, unknown, acc) {
            (NaryOp::And, _, Some(0)) => Known::Int(0),
            (NaryOp::Or, _, Some(1)) => Known::Int(1),
            (_, true, _) | (_, _, None) => Known::Nothing,
            (_, false, Some(v)) => Known::Int(v),
        }
    }

    /// The guessed element of a table.
    fn table(&self, buffer: BufferId, index: &[ExprId]) -> Known {
        if self.program.buffers[buffer.0 as usize].dtype == DType::Bool {
            return Known::Nothing;
        }
        let Some(last) = index.last() else { return Known::Nothing };
        if let Some(run) = self.runs[buffer.0 as usize] {
            return Known::Int(self.int(*last) / run.max(1));
        }
        let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
        for i in index {
            hash = (hash ^ self.int(*i) as u64).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31);
        }
        Known::Int((hash % 64) as i64)
    }

    fn run(&mut self, stmts: &[Stmt], scale: f64) {
        for stmt in stmts {
            self.step(stmt, scale);
        }
    }

    fn step(&mut self, stmt: &Stmt, scale: f64) {
        match stmt {
            Stmt::For { var, from, to, step, body } => {
                let (from, to) = (self.int(*from), self.int(*to));
                let count = (to - from + step - 1).div_euclid(*step);
                self.sampled(count, scale, |c, k, scale| {
                    c.vars.insert(*var, from + k * step);
                    c.run(body, scale);
                });
            }
            Stmt::Spans(spans) => self.spans(spans, scale),
            Stmt::If { cond, then, otherwise } => {
                let branch = if self.truth(*cond) { then } else { otherwise };
                self.run(branch, scale);
            }
            Stmt::Let { var, value } => match self.value(*value) {
                Known::Int(v) => drop(self.vars.insert(*var, v)),
                Known::Nothing => drop(self.vars.remove(var)),
            },
            Stmt::Map { dst, rows, cols, value } => {
                let area = (self.int(*rows).max(0) as f64, self.int(*cols).max(0) as f64);
                self.lanes(*value, area, scale);
                self.store(dst, area.0 * area.1 * scale);
            }
            Stmt::RowReduce { rows, cols, domain, value, .. } => {
                let area = (self.int(*rows).max(0) as f64, self.int(*cols).max(0) as f64);
                self.lanes(*value, area, scale);
                domain.iter().for_each(|d| self.lanes(*d, area, scale));
            }
            Stmt::Product { dst, lhs, rhs, rows, cols, depth, .. } => {
                self.product(
                    self.program.product_lane(dst),
                    [lhs, rhs],
                    self.int(*rows),
                    self.int(*cols),
                    self.int(*depth),
                    scale,
                );
            }
            Stmt::SoftmaxUpdate { rows, cols, .. } => {
                let elements = self.int(*rows).max(0) as f64 * self.int(*cols).max(0) as f64 * scale;
                self.work.exp += elements;
                self.work.pointwise += 2.0 * elements;
                self.work.tiles += scale;
            }
            Stmt::Order { keys, order, count, .. } => {
                // A comparison of two gathered keys for each halving.
                let count = self.int(*count).max(0) as f64;
                self.work.gather += count * count.max(2.0).log2() * scale;
                self.touch(*keys, count * scale);
                self.touch(*order, count * scale);
            }
            Stmt::ScaleRows { rows, cols, .. } | Stmt::ClearLargest { rows, cols, .. } => {
                self.work.pointwise += self.int(*rows).max(0) as f64 * self.int(*cols).max(0) as f64 * scale;
            }
        }
    }

    /// Runs `f` for a few of `count` iterations, scaled up to all of them.
    fn sampled(&mut self, count: i64, scale: f64, mut f: impl FnMut(&mut Self, i64, f64)) {
        let samples = count.clamp(0, SAMPLES);
        for k in 0..samples {
            let at = if samples > 1 { k * (count - 1) / (samples - 1) } else { 0 };
            f(self, at, scale * count as f64 / samples as f64);
        }
    }

    fn spans(&mut self, spans: &SpanLoop, scale: f64) {
        let limit = self.int(spans.limit);
        let mut found: Vec<(i64, i64)> = Vec::new();
        for piece in &spans.pieces {
            self.piece(piece, limit, &mut found);
        }
        // Of each span its first block, the whole ones between, and its last.
        let tiles: Vec<(i64, i64)> = merged(found);
        let blocks = |(from, to): &(i64, i64)| (to - 1).div_euclid(spans.tile) - from.div_euclid(spans.tile) + 1;
        let count: i64 = tiles.iter().map(blocks).sum();
        self.work.pointwise += 20.0 * count as f64 * scale;
        self.sampled(count, scale, |c, k, scale| {
            let mut left = k;
            for span in &tiles {
                if left < blocks(span) {
                    let block = span.0.div_euclid(spans.tile) + left;
                    c.vars.insert(spans.var, span.0.max(block * spans.tile));
                    c.vars.insert(spans.end, span.1.min((block + 1) * spans.tile));
                    c.run(&spans.body, scale);
                    return;
                }
                left -= blocks(span);
            }
        });
    }

    /// The interval of a piece, once for each repetition.
    fn piece(&mut self, piece: &Piece, limit: i64, found: &mut Vec<(i64, i64)>) {
        let count = piece.repeat.map_or(1, |(_, n)| self.int(n));
        for k in 0..count.min(64) {
            if let Some((var, _)) = piece.repeat {
                self.vars.insert(var, k);
            }
            let (from, to) = (self.int(piece.from).max(0), self.int(piece.to).min(limit));
            if self.truth(piece.guard) && from < to {
                found.push((from, to));
            }
        }
    }

    fn product(&mut self, lane: Option<Lane>, operands: [&View; 2], rows: i64, cols: i64, depth: i64, scale: f64) {
        let (m, n, k) = (rows.max(0) as f64, cols.max(0) as f64, depth.max(0) as f64);
        // Few rows reuse a loaded right operand too little to reach the product rate.
        let flops = 2.0 * m.max(3.0) * n * k * scale;
        if lane == Some(Lane::F64) {
            self.work.product_flops_f64 += flops
        } else {
            self.work.product_flops += flops
        }
        self.work.tiles += scale;
        for (view, elements) in operands.into_iter().zip([m * k, k * n]) {
            if let View::Buffer { buffer, .. } = view {
                self.touch(*buffer, elements * scale);
            }
        }
    }

    fn touch(&mut self, buffer: BufferId, elements: f64) {
        let size = self.program.buffers[buffer.0 as usize].dtype.size() as f64;
        *self.touched.entry(buffer).or_default() += elements * size;
    }

    fn store(&mut self, dst: &Dst, elements: f64) {
        if let Dst::Buffer { buffer, index } = dst {
            self.touch(*buffer, elements);
            let strided = index.last().is_some_and(|i| !self.program.exprs.dependence(*i).col);
            if strided { self.work.gather += elements } else { self.work.pointwise += elements }
        } else {
            self.work.pointwise += elements;
        }
    }

    /// Work of an expression over rows x cols lanes: each node once per row
    /// or lane that it varies with.
    fn lanes(&mut self, root: ExprId, area: (f64, f64), scale: f64) {
        let mut open = vec![root];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let dependence = self.program.exprs.dependence(id);
            let lanes = match (dependence.row, dependence.col) {
                (false, false) => 0.0,
                (true, false) => 4.0 * area.0,
                (false, true) | (true, true) => area.0 * area.1,
            } * scale;
            let node = self.program.exprs.get(id).clone();
            self.lane_work(&node, lanes);
            open.extend(node.operands());
        }
    }

    fn lane_work(&mut self, node: &Expr, lanes: f64) {
        match node {
            Expr::Unary(op, _) if op.work() >= EXP_WORK => self.work.exp += lanes * op.work() / EXP_WORK,
            Expr::Binary(BinaryOp::Pow | BinaryOp::LogAddExp, ..) => self.work.exp += 3.0 * lanes,
            Expr::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, ..) => self.work.gather += 2.0 * lanes,
            Expr::Unary(op, _) => self.work.pointwise += op.work() * lanes,
            Expr::Binary(op, ..) => self.work.pointwise += op.work() * lanes,
            Expr::Nary(_, xs) => self.work.pointwise += (xs.len() as f64 - 1.0) * lanes,
            Expr::Select(..) | Expr::Cast(..) | Expr::Tile { .. } => self.work.pointwise += lanes,
            Expr::Load { buffer, index, .. } => {
                self.touch(*buffer, lanes);
                let across = index.iter().rposition(|i| self.program.exprs.dependence(*i).col);
                if across.is_some_and(|k| k + 1 < index.len()) {
                    self.work.gather += lanes
                } else {
                    self.work.pointwise += lanes
                }
            }
            Expr::LowerBound { .. } => self.work.gather += 20.0 * lanes,
            _ => {}
        }
    }
}
