//! The loop nest under construction: scopes, axis bindings and emission.
//!
//! A *binding* says where an axis stands: fixed to a scalar, along the rows
//! or columns of a tile, or whole. A value is computed in the outermost scope
//! at which all its free axes are bound, once per scope (memo), so loop-
//! invariant parts leave loops by construction. Pointwise terms are in
//! [`super::pointwise`], reductions in [`super::reduce`] and its siblings.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, BinaryOp, NaryOp, TermId, Type, UnaryOp};

use crate::error::PlanError;
use crate::graph::PlanBufferId;
use crate::loops::expr::{Expr, ExprId, Exprs, Lane};
use crate::loops::{Access, Buffer, BufferId, Dst, LoopProgram, Stmt, Tile, TileId, VarId};
use crate::planner::{CHUNK, Planner};

use super::extent;

/// An axis along the rows or columns of tiles.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Dim {
    /// Position of row or column 0.
    pub base: ExprId,
    /// Number of positions present now.
    pub count: ExprId,
    /// Launch-time upper bound of `count`.
    pub cap: ExprId,
    /// Positions from one to the next, at least 1.
    pub step: i64,
    /// Whether `base` is a multiple of [`crate::planner::TILE`].
    pub aligned: bool,
    /// The block in which all its positions lie, if that is known.
    pub block: Option<Block>,
}

/// The positions `size * index ..` of an axis, at most `size` of them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Block {
    /// At least 2.
    pub size: i64,
    /// The quotient of the positions by `size`: a scalar.
    pub index: ExprId,
}

/// Where an axis stands.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Binding {
    /// At one position.
    Fixed(ExprId),
    /// Along tiles, some positions at a time.
    Tile(Dim),
    /// Along tiles, all positions: bound in every scope.
    Whole(Dim),
}

#[derive(Clone, Debug)]
struct Bound {
    axis: AxisId,
    binding: Binding,
    depth: usize,
    task: bool,
    /// Equal for equal bindings.
    id: u32,
}

/// The two axes over which an expression's lanes run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Frame {
    /// Axis of the tile rows, if any.
    pub rows: Option<AxisId>,
    /// Axis of the tile columns, if any.
    pub cols: Option<AxisId>,
}

impl Frame {
    /// The frame with these axes.
    pub fn new(rows: Option<AxisId>, cols: Option<AxisId>) -> Self {
        Self { rows, cols }
    }

    /// The frame without the axes that `free` lacks.
    pub fn restricted(self, free: &attnc_algebra::AxisSet) -> Self {
        let keep = |a: &AxisId| free.contains(*a);
        Self { rows: self.rows.filter(keep), cols: self.cols.filter(keep) }
    }
}

/// What a memo entry is keyed by: the term, its frame, whether it is an exact
/// (f64) value, and the bindings of its free axes. An axis may be bound twice
/// in one scope, along a tile and, inside a reduction over it, whole.
pub(crate) type Key = (TermId, Frame, bool, Vec<u32>);

#[derive(Default)]
struct Scope {
    stmts: Vec<Stmt>,
    memo: BTreeMap<Key, ExprId>,
}

/// The builder of one stage's loop program.
pub(crate) struct Nest<'p, 'a> {
    pub planner: &'p mut Planner<'a>,
    pub program: LoopProgram,
    pub args: Vec<PlanBufferId>,
    known: BTreeMap<PlanBufferId, BufferId>,
    scopes: Vec<Scope>,
    /// Values of the expression under way, in the current scope: what several operands share is lowered once.
    evaluated: BTreeMap<Key, ExprId>,
    /// How many terms are under way in it.
    evaluating: usize,
    bindings: Vec<Bound>,
    depth: usize,
    next_binding: u32,
    /// The axis whose rows this stage walks in order, if it is a scan stage.
    pub sequential: Option<AxisId>,
    /// What the rows of the stage stand for, if they are none of the output's axes.
    pub folded: Option<super::Folded>,
    /// The output term of the stage.
    pub root: TermId,
    /// The number of the stage.
    pub stage: u32,
    /// Parts of this chunk of a scan stage, by query, keys and decay.
    pub chunks: BTreeMap<(TermId, TermId, TermId), super::scan::ChunkShared>,
    /// Weights of scans of scores, by score, decay and frame.
    pub onlines: BTreeMap<(TermId, TermId, Frame), super::online::Weights>,
}

impl<'p, 'a> Nest<'p, 'a> {
    /// An empty nest in the scope of one task.
    pub fn new(planner: &'p mut Planner<'a>, root: TermId) -> Self {
        let compute = if planner.compute() == attnc_algebra::DType::F64 { Lane::F64 } else { Lane::F32 };
        let program = LoopProgram {
            name: String::new(),
            compute,
            exprs: Exprs::default(),
            vars: Vec::new(),
            buffers: Vec::new(),
            tiles: Vec::new(),
            grid: Vec::new(),
            body: Vec::new(),
        };
        let stage = planner.next_stage();
        Self {
            planner,
            program,
            stage,
            args: Vec::new(),
            known: BTreeMap::new(),
            scopes: vec![Scope::default()],
            evaluated: BTreeMap::new(),
            evaluating: 0,
            bindings: Vec::new(),
            depth: 0,
            next_binding: 1,
            sequential: None,
            folded: None,
            root,
            chunks: BTreeMap::new(),
            onlines: BTreeMap::new(),
        }
    }

    /// The program's expressions.
    pub fn x(&mut self) -> &mut Exprs {
        &mut self.program.exprs
    }

    /// The lane type of reals: the compute type, or f64 where exact.
    pub fn real_lane(&self, exact: bool) -> Lane {
        if exact { Lane::F64 } else { self.program.compute }
    }

    /// The lane type in which a term's value is stored.
    pub fn lane(&self, term: TermId, exact: bool) -> Lane {
        match self.planner.terms.ty(term) {
            Type::Real => self.real_lane(exact),
            Type::Int => Lane::I64,
            Type::Bool => Lane::Bool,
        }
    }

    /// The launch-time extent of an axis.
    pub fn extent(&mut self, axis: AxisId) -> ExprId {
        let term = self.planner.spec.axis(axis).extent;
        extent::extent(&self.planner.terms, term, &mut self.program.exprs)
    }

    /// A fresh variable.
    pub fn var(&mut self, lane: Lane) -> (VarId, ExprId) {
        self.program.vars.push(lane);
        let id = VarId(self.program.vars.len() as u32 - 1);
        (id, self.program.exprs.add(Expr::Var(id), Some(lane)))
    }

    /// A fresh tile of at most the given shape.
    pub fn tile(&mut self, name: &str, lane: Lane, rows: ExprId, cols: ExprId) -> TileId {
        let id = TileId(self.program.tiles.len() as u32);
        self.program.tiles.push(Tile { name: format!("{name}{}", id.0), lane, rows, cols });
        id
    }

    /// The element of a tile at the lane's row and column, or at 0 where the
    /// frame lacks that axis.
    pub fn element(&mut self, tile: TileId, frame: Frame) -> ExprId {
        let lane = self.program.tiles[tile.0 as usize].lane;
        let (row, col) = self.lane_index(frame);
        self.program.exprs.add(Expr::Tile { tile, row, col }, Some(lane))
    }

    /// Row and column of the lane, or 0 where the frame lacks that axis.
    pub fn lane_index(&mut self, frame: Frame) -> (ExprId, ExprId) {
        let zero = self.x().int(0);
        let row = if frame.rows.is_some() { self.x().add(Expr::Row, None) } else { zero };
        let col = if frame.cols.is_some() { self.x().add(Expr::Col, None) } else { zero };
        (row, col)
    }

    /// The place of the lane in a tile.
    pub fn place(&mut self, tile: TileId, frame: Frame) -> Dst {
        let (row, col) = self.lane_index(frame);
        Dst::Tile { tile, row, col }
    }

    /// Numbers of rows and columns present in the frame (1 where it lacks the axis).
    pub fn counts(&mut self, frame: Frame) -> (ExprId, ExprId) {
        let one = self.x().int(1);
        let rows = frame.rows.map_or(one, |a| self.dim(a).count);
        let cols = frame.cols.map_or(one, |a| self.dim(a).count);
        (rows, cols)
    }

    /// Upper bounds of [`Self::counts`]: launch-time integers.
    pub fn caps(&mut self, frame: Frame) -> (ExprId, ExprId) {
        let one = self.x().int(1);
        let rows = frame.rows.map_or(one, |a| self.dim(a).cap);
        let cols = frame.cols.map_or(one, |a| self.dim(a).cap);
        (rows, cols)
    }

    /// A tile for values over the frame.
    pub fn frame_tile(&mut self, name: &str, lane: Lane, frame: Frame) -> TileId {
        let (rows, cols) = self.caps(frame);
        self.tile(name, lane, rows, cols)
    }

    /// Emits `tile[frame] = value` in the current scope.
    pub fn map(&mut self, tile: TileId, frame: Frame, value: ExprId) {
        let dst = self.place(tile, frame);
        let (rows, cols) = self.counts(frame);
        self.emit(Stmt::Map { dst, rows, cols, value });
    }

    /// Appends a statement to the current scope.
    pub fn emit(&mut self, stmt: Stmt) {
        self.scopes[self.depth].stmts.push(stmt);
    }

    /// The statement appended last to the current scope.
    pub fn last_emitted(&self) -> Option<&Stmt> {
        self.scopes[self.depth].stmts.last()
    }

    /// The statements of the current scope.
    pub fn emitted(&self) -> &[Stmt] {
        &self.scopes[self.depth].stmts
    }

    /// Takes back a statement of the current scope.
    pub fn take_emitted(&mut self, at: usize) -> Stmt {
        self.scopes[self.depth].stmts.remove(at)
    }

    /// Takes back the statements of the current scope from one on.
    pub fn take_emitted_from(&mut self, at: usize) -> Vec<Stmt> {
        self.scopes[self.depth].stmts.split_off(at)
    }

    /// Takes back the statement appended last to the current scope.
    pub fn take_last_emitted(&mut self) -> Option<Stmt> {
        self.scopes[self.depth].stmts.pop()
    }

    /// The binding of an axis that is visible in the current scope.
    ///
    /// # Panics
    /// If the axis is unbound: lowering binds every free axis of what it evaluates.
    pub fn binding(&self, axis: AxisId) -> &Binding {
        &self.bound(axis).binding
    }

    fn bound(&self, axis: AxisId) -> &Bound {
        self.bindings
            .iter()
            .rev()
            .find(|b| b.axis == axis && b.depth <= self.depth)
            .expect("every free axis of a term is bound before the term is lowered")
    }

    /// The tile dimension of an axis bound along tiles.
    pub fn dim(&self, axis: AxisId) -> Dim {
        match self.binding(axis) {
            Binding::Tile(dim) | Binding::Whole(dim) => dim.clone(),
            Binding::Fixed(_) => unreachable!("an axis of a frame is bound along tiles"),
        }
    }

    /// Binds an axis in the current scope. `task` marks axes of the grid.
    pub fn bind(&mut self, axis: AxisId, binding: Binding, task: bool) {
        let whole = matches!(binding, Binding::Whole(_));
        let depth = if whole { 0 } else { self.depth };
        // Every whole binding of an axis is the same; any other is its own.
        let id = if whole { 0 } else { self.next_binding };
        self.next_binding += 1;
        self.bindings.push(Bound { axis, binding, depth, task, id });
    }

    /// Runs `f` with the axis bound whole along tiles.
    pub fn with_whole<T>(
        &mut self,
        axis: AxisId,
        f: impl FnOnce(&mut Self) -> Result<T, PlanError>,
    ) -> Result<T, PlanError> {
        let dim = self.whole(axis);
        self.bind(axis, Binding::Whole(dim), false);
        let result = f(self);
        self.bindings.pop();
        result
    }

    /// All positions of an axis.
    pub fn whole(&mut self, axis: AxisId) -> Dim {
        let count = self.extent(axis);
        let base = self.x().int(0);
        Dim { base, count, cap: count, step: 1, aligned: true, block: None }
    }

    /// The depth of the outermost scope in which all free axes of the term are bound.
    pub fn depth_of(&self, term: TermId) -> usize {
        self.depth_of_axes(self.planner.terms.free(term))
    }

    /// The depth of the outermost scope in which all of the axes are bound.
    pub fn depth_of_axes(&self, axes: &attnc_algebra::AxisSet) -> usize {
        axes.iter().map(|a| self.bound(a).depth).max().unwrap_or(0)
    }

    /// Runs `f` in the scope at `depth`: bindings of deeper scopes are hidden,
    /// statements go to the end of that scope.
    pub fn at<T>(&mut self, depth: usize, f: impl FnOnce(&mut Self) -> T) -> T {
        let (old, tail) = (self.depth, self.scopes.split_off(depth + 1));
        self.depth = depth;
        let result = self.apart(f);
        self.scopes.truncate(depth + 1);
        self.scopes.extend(tail);
        self.depth = old;
        result
    }

    /// Runs `f` in another scope than that of the expression under way.
    fn apart<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let outside = (std::mem::take(&mut self.evaluated), std::mem::take(&mut self.evaluating));
        let result = f(self);
        (self.evaluated, self.evaluating) = outside;
        result
    }

    /// The value that `lower` gives a term, or gave it before as a part of the same expression.
    pub fn once(
        &mut self,
        key: Key,
        lower: impl FnOnce(&mut Self) -> Result<ExprId, PlanError>,
    ) -> Result<ExprId, PlanError> {
        if let Some(known) = self.evaluated.get(&key) {
            return Ok(*known);
        }
        self.evaluating += 1;
        let value = lower(self);
        self.evaluating -= 1;
        match (&value, self.evaluating) {
            (Ok(value), 1..) => _ = self.evaluated.insert(key, *value),
            _ => self.evaluated.clear(),
        }
        value
    }

    /// Opens an inner scope with the axis bound, runs `f`, and returns the
    /// statements of that scope.
    pub fn inner(
        &mut self,
        axis: Option<(AxisId, Binding)>,
        f: impl FnOnce(&mut Self) -> Result<(), PlanError>,
    ) -> Result<Vec<Stmt>, PlanError> {
        self.scopes.push(Scope::default());
        self.depth += 1;
        let bound = self.bindings.len();
        if let Some((axis, binding)) = axis {
            self.bind(axis, binding, false);
        }
        let result = self.apart(f);
        self.bindings.truncate(bound);
        self.depth -= 1;
        let scope = self.scopes.pop().expect("the scope pushed above");
        result.map(|()| scope.stmts)
    }

    /// As [`Self::inner`], in the scope of a condition: what the axis enters is computed inside it, not before.
    pub fn inner_along(
        &mut self,
        axis: Option<AxisId>,
        f: impl FnOnce(&mut Self) -> Result<(), PlanError>,
    ) -> Result<Vec<Stmt>, PlanError> {
        self.inner(None, |nest| {
            if let Some(bound) = axis.map(|a| nest.bound(a).clone()) {
                // The same binding: what outer scopes remember of it holds here.
                nest.bindings.push(Bound { depth: nest.depth, ..bound });
            }
            f(nest)
        })
    }

    /// The memo key of a term's value over `frame` under the bindings that are visible now.
    pub fn key(&self, term: TermId, frame: Frame, exact: bool) -> Key {
        let bindings = self.planner.terms.free(term).iter().map(|a| self.bound(a).id).collect();
        (term, frame, exact, bindings)
    }

    /// The memo key of something held for whole lines of a term, under the bindings of the other axes.
    pub fn line_key(&self, term: TermId, frame: Frame, fixed: &attnc_algebra::AxisSet) -> Key {
        (term, frame, true, fixed.iter().map(|a| self.bound(a).id).collect())
    }

    /// A remembered value of the scope at `depth` or of one around it.
    pub fn remembered(&self, depth: usize, key: &Key) -> Option<ExprId> {
        self.scopes[..=depth].iter().rev().find_map(|scope| scope.memo.get(key)).copied()
    }

    /// Remembers a value for the rest of the scope at `depth`.
    pub fn remember(&mut self, depth: usize, key: Key, value: ExprId) {
        self.scopes[depth].memo.insert(key, value);
    }

    /// How often a term would be computed over all tasks and loop passes for
    /// each of its distinct values, at the hint.
    pub fn repeats(&self, term: TermId) -> f64 {
        let free = self.planner.terms.free(term);
        let depth = self.depth_of(term);
        let mut seen = attnc_algebra::AxisSet::new();
        let mut times = 1.0;
        for bound in self.bindings.iter().rev() {
            let counted = bound.depth <= depth && (bound.task || bound.depth > 0) && !free.contains(bound.axis);
            // What runs over the keys of a part is no other part's.
            let apart = self.planner.partitions.get(&bound.axis).is_some_and(|of| free.contains(*of));
            if apart || !counted || seen.contains(bound.axis) || Some(bound.axis) == self.sequential {
                continue;
            }
            seen.insert(bound.axis);
            let extent = self.planner.hint_extent(bound.axis);
            times *= match bound.binding {
                Binding::Fixed(_) => extent as f64,
                Binding::Tile(_) => extent.div_euclid(CHUNK).max(1) as f64,
                Binding::Whole(_) => 1.0,
            };
        }
        times
    }

    /// Whether the term's values may be given a buffer: at most one long axis,
    /// or few elements.
    pub fn may_materialise(&self, term: TermId) -> bool {
        self.planner.fits_a_buffer(term)
    }

    /// The program's buffer for a plan buffer.
    pub fn buffer(&mut self, id: PlanBufferId, access: Access) -> BufferId {
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        let source = self.planner.buffer(id).clone();
        let shape =
            source.shape.iter().map(|e| copy_launch(self.planner.shapes(), *e, &mut self.program.exprs)).collect();
        let buffer = Buffer { name: source.name, dtype: source.dtype, shape, access, unit_dim: None };
        let new = BufferId(self.program.buffers.len() as u32);
        self.program.buffers.push(buffer);
        self.args.push(id);
        self.known.insert(id, new);
        new
    }

    /// Moves the statements of the outermost scope into the program.
    pub fn finish(&mut self) {
        self.program.body = std::mem::take(&mut self.scopes[0].stmts);
    }
}

/// Arithmetic in shorthand.
impl Nest<'_, '_> {
    /// A constant of the compute type.
    pub fn constant(&mut self, value: f64) -> ExprId {
        let lane = self.program.compute;
        self.x().real(lane, value)
    }

    /// `x + v`
    pub fn plus(&mut self, x: ExprId, v: i64) -> ExprId {
        let v = self.x().int(v);
        self.x().sum(x, v)
    }

    /// `floor(x / v)`
    pub fn div(&mut self, x: ExprId, v: i64) -> ExprId {
        let v = self.x().int(v);
        self.x().binary(BinaryOp::FloorDiv, x, v)
    }

    /// Conjunction with folding of constants.
    pub fn and(&mut self, x: ExprId, y: ExprId) -> ExprId {
        match (self.truth_of(x), self.truth_of(y)) {
            (Some(true), _) => y,
            (_, Some(true)) => x,
            (Some(false), _) | (_, Some(false)) => self.x().truth(false),
            _ => self.x().add(Expr::Nary(NaryOp::And, vec![x, y]), None),
        }
    }

    /// Disjunction with folding of constants.
    pub fn or(&mut self, x: ExprId, y: ExprId) -> ExprId {
        match (self.truth_of(x), self.truth_of(y)) {
            (Some(false), _) => y,
            (_, Some(false)) => x,
            (Some(true), _) | (_, Some(true)) => self.x().truth(true),
            _ => self.x().add(Expr::Nary(NaryOp::Or, vec![x, y]), None),
        }
    }

    /// Negation with folding of constants.
    pub fn not(&mut self, x: ExprId) -> ExprId {
        match self.truth_of(x) {
            Some(v) => self.x().truth(!v),
            None => self.x().unary(UnaryOp::Not, x),
        }
    }

    /// The constant a truth value folds to.
    pub fn truth_of(&self, x: ExprId) -> Option<bool> {
        match self.program.exprs.get(x) {
            Expr::Bool(v) => Some(*v),
            _ => None,
        }
    }

    /// Binds a scalar to a variable in the current scope and returns it.
    pub fn let_scalar(&mut self, value: ExprId) -> ExprId {
        if matches!(
            self.program.exprs.get(value),
            Expr::Int(_) | Expr::Bool(_) | Expr::Real(..) | Expr::Var(_) | Expr::Extent(_)
        ) {
            return value;
        }
        let lane = self.program.exprs.lane(value);
        let (var, expr) = self.var(lane);
        self.emit(Stmt::Let { var, value });
        expr
    }
}

/// Copies a launch-time integer from one arena to another.
fn copy_launch(from: &Exprs, id: ExprId, to: &mut Exprs) -> ExprId {
    match from.get(id).clone() {
        Expr::Unary(op, x) => {
            let x = copy_launch(from, x, to);
            to.unary(op, x)
        }
        Expr::Cast(lane, x) => {
            let x = copy_launch(from, x, to);
            to.cast(lane, x)
        }
        Expr::Binary(op, x, y) => {
            let (x, y) = (copy_launch(from, x, to), copy_launch(from, y, to));
            to.binary(op, x, y)
        }
        Expr::Nary(op, xs) => {
            let xs: Vec<ExprId> = xs.iter().map(|x| copy_launch(from, *x, to)).collect();
            to.nary(op, &xs)
        }
        Expr::Select(c, a, b) => {
            let (c, a, b) = (copy_launch(from, c, to), copy_launch(from, a, to), copy_launch(from, b, to));
            to.add(Expr::Select(c, a, b), None)
        }
        leaf => to.add(leaf, None),
    }
}

/// Temporary bindings outside a scope of their own.
impl Nest<'_, '_> {
    /// The number of bindings, to be given back to [`Self::bindings_reset`].
    pub fn bindings_mark(&self) -> usize {
        self.bindings.len()
    }

    /// Drops the bindings made since the mark.
    pub fn bindings_reset(&mut self, mark: usize) {
        self.bindings.truncate(mark);
    }
}

/// What stands where.
impl Nest<'_, '_> {
    /// The depth of the current scope.
    pub fn current_depth(&self) -> usize {
        self.depth
    }

    /// The axes that tell tasks apart.
    pub fn task_axes(&self) -> Vec<AxisId> {
        self.bindings.iter().filter(|b| b.task).map(|b| b.axis).collect()
    }

    /// The axes whose positions loops of the task take in turn.
    pub fn axes_in_turn(&self) -> Vec<AxisId> {
        let in_turn = |b: &&Bound| !b.task && b.depth > 0 && matches!(b.binding, Binding::Fixed(_));
        self.bindings.iter().filter(in_turn).map(|b| b.axis).collect()
    }

    /// Whether the axis is bound in the current scope.
    pub fn is_bound(&self, axis: AxisId) -> bool {
        self.bindings.iter().any(|b| b.axis == axis && b.depth <= self.depth)
    }
}

/// Tiles that expressions read.
impl Nest<'_, '_> {
    /// The tiles an expression reads, in ascending order.
    pub fn tiles_of(&self, value: ExprId) -> Vec<TileId> {
        let mut tiles = std::collections::BTreeSet::new();
        self.visit(value, &mut |e| {
            if let Expr::Tile { tile, .. } = e {
                tiles.insert(*tile);
            }
        });
        tiles.into_iter().collect()
    }

    /// Whether every read of the tile is at the given row and column.
    pub fn reads_only_at(&self, value: ExprId, wanted: TileId, at: (ExprId, ExprId)) -> bool {
        let mut only = true;
        self.visit(value, &mut |e| {
            if let Expr::Tile { tile, row, col } = e {
                only &= *tile != wanted || (*row, *col) == at;
            }
        });
        only
    }

    fn visit(&self, value: ExprId, f: &mut dyn FnMut(&Expr)) {
        let mut seen = std::collections::BTreeSet::new();
        let mut open = vec![value];
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                let node = self.program.exprs.get(id);
                f(node);
                open.extend(node.operands());
            }
        }
    }

    /// Whether only the current scope remembers values in the tile.
    pub fn is_of_this_scope(&self, tile: TileId) -> bool {
        let holds = |scope: &Scope| scope.memo.values().any(|e| self.tiles_of(*e).contains(&tile));
        holds(&self.scopes[self.depth]) && !self.scopes[..self.depth].iter().any(holds)
    }

    /// Drops what the current scope remembers of a tile that is about to be overwritten.
    pub fn forget(&mut self, tile: TileId) {
        self.evaluated.clear();
        let depth = self.depth;
        let stale: Vec<Key> = self.scopes[depth]
            .memo
            .iter()
            .filter(|(_, e)| self.tiles_of(**e).contains(&tile))
            .map(|(k, _)| k.clone())
            .collect();
        for key in stale {
            self.scopes[depth].memo.remove(&key);
        }
    }
}
