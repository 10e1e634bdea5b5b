//! Predicted time of a plan: the loop programs' work, counted.
//!
//! Control flow is followed for a few sample tasks and iterations, and what
//! they do is scaled up, so traversals count the tiles that they visit. Values
//! of tables are not known here: a `runs` table is taken as regular, any other
//! as spread evenly.

mod steering;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use attnc_algebra::{BinaryOp, DType, NaryOp, UnaryOp};
use attnc_cost::machine::MachineProfile;
use attnc_cost::roofline::StageWork;
use attnc_cost::units::Nanos;

use self::unit::Unit;
use crate::graph::{Plan, Stage};
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::interpret::merged;
use crate::loops::{
    Access, BufferId, Dst, Listed, LoopProgram, Masked, Open, Piece, SpanLoop, Stmt, TileId, VarId, View,
};

/// Iterations of a loop that are followed where they differ, of one inside it, and so on; further inside one. The
/// first is for row blocks of tasks.
const SAMPLES: [i64; 4] = [6, 5, 3, 2];

/// How often the row blocks are followed if tasks differ along other axes too.
const TURNS: i64 = 3;

/// A term of a product through `tanh`, in exponentials.
const TERM_THROUGH_TANH: f64 = 0.5;

/// An addition and a maximum take as long as so many multiply-adds.
const MAX_PLUS: f64 = 2.0;

/// Lanes of a product's vector.
const VECTOR: f64 = 16.0;

/// Dot products of rows with a line take as long as a product of so many rows, and so many for each of theirs.
const DOTS_ROWS: f64 = 2.0;
const DOTS_SLOWER: f64 = 1.5;

/// A multiply-add with a line of which a row makes the only use takes as long as so many of a product.
const LISTED_SLOWER: f64 = 3.0;

/// Reads that take as long as narrowing one end of a row's span: it mostly lies beside that of the row before.
const NARROWED: f64 = 3.0;

/// What a tile takes where each row sees a span, of one that is seen whole: half of the pairs, in whole blocks and vectors.
const SEEN: f64 = 0.75;

/// Gathers for each key that is put in order: keys of few values are counted, and then have their places.
const ORDERED: f64 = 4.0;

/// Gathers for each key of a row of which some are ranked.
const RANKED: f64 = 4.0;

impl Plan {
    /// Predicted time at the given values of the extent symbols; `None` on overflow.
    pub fn predict(&self, extents: &[i64], profile: &MachineProfile) -> Option<Nanos> {
        let mut total = 0.0;
        for stage in self.stages() {
            total += self.work(stage, extents)?.time(profile).0;
        }
        Some(Nanos(total))
    }

    /// Counted work of all stages at the given extents; `None` on overflow.
    pub fn total_work(&self, extents: &[i64]) -> Option<StageWork> {
        self.stages().try_fold(StageWork::default(), |sum, stage| Some(sum + self.work(stage, extents)?))
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
            depth: 1,
            steering: BTreeMap::new(),
            listed: BTreeMap::new(),
            lengths: BTreeMap::new(),
            known: BTreeMap::new(),
        };
        counter.follow_tasks();
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

/// Ranks that are told apart where only the data say how many.
const FEW_RANKED: f64 = 64.0;

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
    /// Loops around.
    depth: usize,
    /// What steers a body, by its address.
    steering: BTreeMap<*const Stmt, Rc<BTreeSet<VarId>>>,
    /// Pairs in lists.
    listed: BTreeMap<TileId, f64>,
    /// By the tile of the longest list's length, about how much is listed of a tile for each row.
    lengths: BTreeMap<TileId, i64>,
    /// Work of expressions met before.
    known: BTreeMap<ExprId, Rc<Lanes>>,
}

/// Work of an expression: each node once per row, or per lane, that it varies with.
#[derive(Default)]
struct Lanes {
    row: Unit,
    lane: Unit,
    /// Buffers read, and whether once per lane (else once per row).
    reads: Vec<(BufferId, bool)>,
}

impl Counter<'_> {
    /// Follows some tasks, with weights that add up to their number: the ends and some of the middle along the last
    /// axis on which it depends what a task does, by turns with positions along the others.
    fn follow_tasks(&mut self) {
        let steering = self.program.steering(&self.program.body);
        let mut counts = Vec::new();
        for (var, count) in &self.program.grid {
            let count = self.program.exprs.eval_launch(*count, self.extents).unwrap_or(1).max(1);
            counts.push((*var, count));
            self.vars.insert(*var, 0);
        }
        let last = counts.iter().rposition(|(var, count)| *count > 1 && steering.contains(var));
        let others: Vec<(VarId, i64)> = counts
            .iter()
            .enumerate()
            .filter(|(at, (var, count))| Some(*at) != last && *count > 1 && steering.contains(var))
            .map(|(_, other)| *other)
            .collect();
        let points = last.map_or_else(|| vec![(0, 1.0)], |at| points(counts[at].1, SAMPLES[0]));
        let beside: f64 = counts
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) != last)
            .map(|(_, (_, count))| *count as f64)
            .product();
        let turns = if others.is_empty() { 1 } else { TURNS };
        let mut turn = 0;
        for _ in 0..turns {
            for (position, weight) in &points {
                if let Some(at) = last {
                    self.vars.insert(counts[at].0, *position);
                }
                for (var, count) in &others {
                    // Steps of about 0.618 of the axis visit it evenly, however few they are.
                    self.vars.insert(*var, (turn * (count * 618 / 1000).max(1)) % count);
                }
                self.run(&self.program.body, weight * beside / turns as f64);
                turn += 1;
            }
        }
    }

    fn int(&self, id: ExprId) -> i64 {
        match self.value(id) {
            Known::Int(v) => v,
            Known::Nothing => 0,
        }
    }

    fn ranks(&mut self, [rows, cols]: [ExprId; 2], limit: Option<ExprId>, scale: f64) {
        let cols = self.int(cols).max(0) as f64;
        let sorted = limit.map_or(cols, |limit| match self.value(limit) {
            Known::Int(limit) => (limit.max(0) as f64).min(cols),
            // Who ranks wants few, or would not rank.
            Known::Nothing => cols.min(FEW_RANKED),
        });
        // A few are kept in order by insertion, which moves half of them; the later a key the seldomer is it one of them.
        let inserted = sorted * (1.0 + (cols / sorted.max(1.0)).ln());
        let few = sorted < cols && sorted <= FEW_RANKED;
        let row = RANKED * cols + if few { inserted * sorted / 2.0 } else { sorted * sorted.max(2.0).log2() };
        self.work.gather += row * self.int(rows).max(0) as f64 * scale;
    }

    /// The end of a loop, which may be the length of a list.
    fn end(&self, id: ExprId) -> i64 {
        let listed = |id: ExprId| match self.program.exprs.get(id) {
            Expr::Tile { tile, .. } => self.lengths.get(tile).copied(),
            _ => None,
        };
        match self.value(id) {
            Known::Int(v) => v,
            Known::Nothing => self.program.exprs.under(&[id]).into_iter().filter_map(listed).max().unwrap_or(0),
        }
    }

    /// How often a condition holds: half the time where it is a table of truth values that decides, always where nothing
    /// is known; of alternatives as often as the likeliest.
    fn share(&self, id: ExprId) -> f64 {
        if let (Known::Nothing, Expr::Nary(op @ (NaryOp::And | NaryOp::Or), xs)) =
            (self.value(id), self.program.exprs.get(id))
        {
            let shares = xs.iter().map(|x| self.share(*x));
            return if *op == NaryOp::Or { shares.fold(0.0, f64::max) } else { shares.fold(1.0, f64::min) };
        }
        let is_truth = |id: ExprId| match self.program.exprs.get(id) {
            Expr::Load { buffer, .. } => self.program.buffers[buffer.0 as usize].dtype == DType::Bool,
            _ => false,
        };
        match self.value(id) {
            Known::Int(v) => f64::from(u8::from(v > 0)),
            Known::Nothing if self.program.exprs.under(&[id]).into_iter().any(is_truth) => 0.5,
            Known::Nothing => 1.0,
        }
    }

    /// The part of a tile that is computed: of one that may be masked or not, some of both.
    fn seen(&self, masked: Option<&Masked>) -> f64 {
        let Some(Masked { cond, spans: Some(_) }) = masked else { return 1.0 };
        match self.value(*cond) {
            Known::Int(1..) => SEEN,
            Known::Int(_) => 1.0,
            Known::Nothing => f64::midpoint(SEEN, 1.0),
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
                Some(run) => Known::Int(self.int(*value).saturating_mul(run).clamp(0, self.int(*count).max(0))),
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
                let (from, to) = (self.int(*from), self.end(*to));
                let count = (to - from + step - 1).div_euclid(*step);
                let steers = self.steering(body).contains(var);
                self.sampled(count, steers, scale, |c, k, scale| {
                    c.vars.insert(*var, from + k * step);
                    c.run(body, scale);
                });
            }
            Stmt::Spans(spans) => self.spans(spans, scale),
            Stmt::If { cond, then, otherwise } => {
                let share = self.share(*cond);
                for (branch, share) in [(then, share), (otherwise, 1.0 - share)] {
                    if share > 0.0 {
                        self.run(branch, share * scale);
                    }
                }
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
                // f64 is summed in order, one element after the other.
                let fold = if self.program.exprs.lane(*value) == Lane::F32 { 1.0 } else { 8.0 };
                self.work.pointwise += fold * area.0 * area.1 * scale;
                domain.iter().for_each(|d| self.lanes(*d, area, scale));
            }
            Stmt::Product { dst, lhs, rhs, rows, cols, depth, open, .. } => {
                let seen = if matches!(open, Open::Spans(_)) { SEEN } else { 1.0 };
                let sizes = [self.int(*rows), self.int(*cols), self.int(*depth)];
                self.product(self.program.product_lane(dst), [lhs, rhs], sizes, (seen, scale));
            }
            Stmt::Pack { dst, src, rows, cols } => self.pack([dst, src], [*rows, *cols], scale),
            Stmt::Dots { .. } => self.dots(stmt, scale),
            Stmt::List { .. } | Stmt::DotsListed { .. } | Stmt::SumListed { .. } => self.listed(stmt, scale),
            Stmt::MaxPlus { .. } => self.max_plus(stmt, scale),
            Stmt::ProductTanh { .. } => self.product_tanh(stmt, scale),
            Stmt::SoftmaxUpdate { rows, cols, masked, .. } => {
                let area = self.int(*rows).max(0) as f64 * self.int(*cols).max(0) as f64;
                let elements = area * scale * self.seen(masked.as_ref());
                self.work.exp += 1.5 * elements;
                self.work.pointwise += 4.0 * elements;
                self.work.tiles += scale;
            }
            Stmt::Order { keys, order, count, .. } => {
                let count = self.int(*count).max(0) as f64;
                self.work.gather += ORDERED * count * scale;
                self.touch(*keys, count * scale);
                self.touch(*order, count * scale);
            }
            Stmt::Ranks { rows, cols, limit, .. } => self.ranks([*rows, *cols], *limit, scale),
            // Whole vectors are compared and stored, and only where something is masked.
            Stmt::KeepSpans { rows, cols, .. } | Stmt::KeepKeys { rows, cols, .. } | Stmt::Flush { rows, cols, .. } => {
                self.work.pointwise += self.int(*rows).max(0) as f64 * self.int(*cols).max(0) as f64 * scale / 8.0;
            }
            // A few steps of a search for each end.
            Stmt::NarrowSpans { range, rows, .. } => {
                self.work.gather += NARROWED * range.bounds() as f64 * self.int(*rows).max(0) as f64 * scale;
            }
            // A read and a write where the position says.
            Stmt::ScatterAdd { rows, cols, .. } | Stmt::DropUnweighted { rows, cols, .. } => {
                self.work.gather += self.int(*rows).max(0) as f64 * self.int(*cols).max(0) as f64 * scale;
            }
            Stmt::ScaleRows { rows, cols, .. } | Stmt::ClearLargest { rows, cols, .. } => {
                self.work.pointwise += self.int(*rows).max(0) as f64 * self.int(*cols).max(0) as f64 * scale;
            }
        }
    }

    /// What steers a body, found once.
    fn steering(&mut self, body: &[Stmt]) -> Rc<BTreeSet<VarId>> {
        let program = self.program;
        let known = self.steering.entry(body.as_ptr()).or_insert_with(|| Rc::new(program.steering(body)));
        Rc::clone(known)
    }

    /// Runs `f` for a few of `count` iterations, for one if they do not differ, scaled up to all of them.
    fn sampled(&mut self, count: i64, differ: bool, scale: f64, mut f: impl FnMut(&mut Self, i64, f64)) {
        let most = SAMPLES.get(self.depth).copied().filter(|_| differ).unwrap_or(1);
        self.depth += 1;
        for (at, weight) in points(count, most) {
            f(self, at, scale * weight);
        }
        self.depth -= 1;
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
        self.sampled(count, true, scale, |c, k, scale| {
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

    fn product(&mut self, lane: Option<Lane>, operands: [&View; 2], sizes: [i64; 3], (seen, scale): (f64, f64)) {
        let [m, n, k] = sizes.map(|size| size.max(0) as f64);
        // Few rows reuse a loaded right operand too little to reach the product rate.
        let flops = 2.0 * m.max(3.0) * (n / VECTOR).ceil() * VECTOR * k * seen * scale;
        let [lhs, rhs] = operands;
        let rate = match (lane, rhs) {
            (Some(Lane::F64), _) => &mut self.work.product_flops_f64,
            (_, View::Pairs { .. }) => &mut self.work.product_flops_bf16,
            _ => &mut self.work.product_flops,
        };
        *rate += flops;
        self.work.tiles += scale;
        self.operands([(lhs, m * k * scale), (rhs, k * n * scale)]);
    }

    fn max_plus(&mut self, stmt: &Stmt, scale: f64) {
        let Stmt::MaxPlus { dst, lhs, rhs, rows, cols, depth, .. } = stmt else { return };
        let sizes = [*rows, *cols, *depth].map(|count| self.int(count));
        self.product(self.program.product_lane(dst), [lhs, rhs], sizes, (1.0, MAX_PLUS * scale));
    }

    /// A matrix that is moved.
    fn pack(&mut self, views: [&View; 2], counts: [ExprId; 2], scale: f64) {
        let [rows, cols] = counts.map(|count| self.int(count).max(0) as f64);
        let elements = rows * cols * scale;
        self.work.pointwise += elements;
        self.operands(views.map(|view| (view, elements)));
    }

    /// Elements of buffers that are read or written.
    fn operands(&mut self, views: [(&View, f64); 2]) {
        for (view, elements) in views {
            if let View::Buffer { buffer, .. } | View::Pairs { buffer, .. } = view {
                self.touch(*buffer, elements);
            }
        }
    }

    /// Blocks of four rows at about half the speed of products, and a line's load and sum besides.
    fn dots(&mut self, stmt: &Stmt, scale: f64) {
        let Stmt::Dots { lhs, rhs, rows, cols, depth, .. } = stmt else { return };
        let [m, n, k] = [rows, cols, depth].map(|count| self.int(*count).max(0) as f64);
        self.work.product_flops += 2.0 * (DOTS_ROWS + DOTS_SLOWER * m) * n * ((k / VECTOR).ceil() * VECTOR) * scale;
        self.work.tiles += scale;
        self.operands([(lhs, m * k * scale), (rhs, k * n * scale)]);
    }

    /// What is listed costs about as much as a mask that is filled; pairs are known by the lists alone.
    fn listed(&mut self, stmt: &Stmt, scale: f64) {
        match stmt {
            Stmt::List { list, most, rows, cols, share, .. } => {
                let length = (self.int(*cols).max(0) as f64 * share).ceil() as i64;
                self.lengths.insert(*most, length.max(1));
                let pairs = self.int(*rows).max(0) as f64 * self.int(*cols).max(0) as f64 * scale;
                self.work.pointwise += pairs / 8.0;
                *self.listed.entry(*list).or_default() += pairs * share;
            }
            Stmt::DotsListed { of, rows, cols, depth, .. } => {
                let all = self.int(*rows).max(0) as f64 * self.int(*cols).max(0) as f64 * scale;
                self.listed_lines(of, *depth, (all, scale));
            }
            Stmt::SumListed { of, rows, cols, depth, .. } => {
                let all = self.int(*rows).max(0) as f64 * self.int(*depth).max(0) as f64 * scale;
                self.listed_lines(of, *cols, (all, scale));
                let pairs = self.listed.remove(&of.list).unwrap_or_default();
                self.work.exp += 1.5 * pairs;
                self.work.pointwise += 4.0 * pairs;
            }
            _ => {}
        }
    }

    /// Lines that are read for a row each, as many as are listed since lists were emptied, or all that a table names.
    fn listed_lines(&mut self, of: &Listed, width: ExprId, (all, scale): (f64, f64)) {
        let pairs = self.listed.get(&of.list).copied().unwrap_or(all);
        let width = self.int(width).max(0) as f64;
        self.work.product_flops += 2.0 * LISTED_SLOWER * pairs * ((width / VECTOR).ceil() * VECTOR);
        self.work.tiles += scale;
        if let View::Buffer { buffer, .. } = of.lines {
            self.touch(buffer, pairs * width);
        }
    }

    /// A quotient and three multiply-adds for each term.
    fn product_tanh(&mut self, stmt: &Stmt, scale: f64) {
        let Stmt::ProductTanh { weight, lhs, rhs, rows, cols, depth, .. } = stmt else { return };
        let [m, n, k] = [rows, cols, depth].map(|count| self.int(*count).max(0) as f64);
        self.work.exp += TERM_THROUGH_TANH * m * n * k * scale;
        self.work.tiles += scale;
        for (view, elements) in [weight, lhs, rhs].into_iter().zip([k, m * k, k * n]) {
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

    /// Counts an expression over rows x cols lanes.
    fn lanes(&mut self, root: ExprId, area: (f64, f64), scale: f64) {
        let lanes = match self.known.get(&root) {
            Some(known) => Rc::clone(known),
            None => {
                let lanes = Rc::new(self.lanes_of(root));
                self.known.insert(root, Rc::clone(&lanes));
                lanes
            }
        };
        let (rows, all) = (area.0 * scale, area.0 * area.1 * scale);
        self.work.exp += lanes.row.exp * rows + lanes.lane.exp * all;
        self.work.scalar += lanes.row.scalar * rows + lanes.lane.scalar * all;
        self.work.pointwise += lanes.row.pointwise * rows + lanes.lane.pointwise * all;
        self.work.gather += lanes.row.gather * rows + lanes.lane.gather * all;
        self.work.rows += rows;
        for (buffer, each) in &lanes.reads {
            self.touch(*buffer, if *each { all } else { rows });
        }
    }

    fn lanes_of(&self, root: ExprId) -> Lanes {
        let exprs = &self.program.exprs;
        let mut lanes = Lanes::default();
        for id in exprs.under(&[root]) {
            let dependence = exprs.dependence(id);
            if !dependence.row && !dependence.col {
                continue;
            }
            let unit = if dependence.col { &mut lanes.lane } else { &mut lanes.row };
            unit.add(self.program, id);
            if let Expr::Load { buffer, .. } = exprs.get(id) {
                lanes.reads.push((*buffer, dependence.col));
            }
        }
        lanes
    }
}

/// At most `most` of `count` positions, with weights that add up to `count`: the ends stand for themselves.
fn points(count: i64, most: i64) -> Vec<(i64, f64)> {
    if count <= most {
        return (0..count).map(|k| (k, 1.0)).collect();
    }
    if most < 3 {
        return (0..most).map(|k| (k * count / most, count as f64 / most as f64)).collect();
    }
    let (inner, between) = (most - 2, count - 2);
    let middle = (0..inner).map(|k| (1 + (2 * k + 1) * between / (2 * inner), between as f64 / inner as f64));
    [(0, 1.0)].into_iter().chain(middle).chain([(count - 1, 1.0)]).collect()
}
