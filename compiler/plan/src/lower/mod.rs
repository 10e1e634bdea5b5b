//! Lowering of one term to the loop program of one stage.
//!
//! [`shape`] chooses which output axes run along tile rows and columns and
//! which make the grid; [`nest`] is the program under construction; the other
//! files lower one kind of term each.

pub(crate) mod extent;

mod attend;
mod beside;
mod blocks;
mod branch;
mod bucket;
mod clear;
mod columns;
mod contract;
mod count;
mod domain;
mod exact;
mod folded;
mod interval;
mod keys;
mod listed;
mod looked_up;
mod lse_plus;
mod mask;
mod max_plus;
mod named;
mod nest;
mod online;
mod pairs;
mod parts;
mod picked;
mod pointwise;
mod rank;
mod reduce;
mod rows;
mod running;
mod scan;
mod scattered;
mod seen;
mod segment;
mod settled;
mod shape;
mod shared;
mod skewed;
mod split;
mod through;
mod turns;
mod values;

use attnc_algebra::{AxisId, DType, TermId};

use crate::error::PlanError;
use crate::graph::{PlanBufferId, Stage, StageKind};
use crate::loops::expr::{Expr, ExprId, Lane};
use crate::loops::{Access, Dst, Stmt, VarId};
use crate::planner::{CHUNK, Layout, Planner, ROWS, TILE};

pub(crate) use attend::AttendState;
pub(crate) use folded::Folded;
use nest::{Binding, Dim, Frame, Nest};
pub(crate) use rank::Compared;
pub(crate) use shape::StageShape;

/// Builds the stage that writes `term` to `target`.
pub(crate) fn lower_stage(
    planner: &mut Planner<'_>,
    term: TermId,
    shape: &StageShape,
    layout: &Layout,
    exact: bool,
    target: PlanBufferId,
) -> Result<Stage, PlanError> {
    if let attnc_algebra::Node::Order { axis, key } = *planner.terms.node(term) {
        return bucket::lower_order_stage(planner, term, (axis, key), target);
    }
    let mut nest = Nest::new(planner, term);
    bind_task(&mut nest, term, shape, layout)?;
    match shape.rows {
        Some(rows) if shape.sequential => walk_rows(&mut nest, rows, shape, layout, exact, target)?,
        _ => write_term(&mut nest, shape, layout, exact, target)?,
    }
    nest.finish();
    let kind = shape.kind(nest.planner, term, layout);
    nest.program.name = nest.planner.stage_name(kind, target);
    Ok(Stage { kind, program: nest.program, args: nest.args })
}

/// Binds the axes of a task: the grid, the columns, and a block of rows.
fn bind_task(nest: &mut Nest<'_, '_>, term: TermId, shape: &StageShape, layout: &Layout) -> Result<(), PlanError> {
    nest.folded.clone_from(&shape.folded);
    for axis in &shape.grid {
        let (var, at) = nest.var(Lane::I64);
        let count = nest.extent(*axis);
        nest.program.grid.push((var, count));
        nest.bind(*axis, Binding::Fixed(at), true);
    }
    if let Some(cols) = shape.cols {
        bind_cols(nest, cols);
    }
    let Some(rows) = shape.rows.filter(|_| !shape.sequential) else { return Ok(()) };
    if let Some(folded) = &shape.folded {
        let (count, dim) = folded_dim(nest, rows, folded)?;
        nest.program.grid.push(count);
        nest.bind(rows, Binding::Tile(dim), true);
        return Ok(());
    }
    let plain = matches!(layout, Layout::Plain(_));
    let step = if plain { nest.row_step(term, rows) } else { 1 };
    let rows::Rows { width, block } = rows::rows_of(nest, term, (rows, step), layout);
    let cut = row_cut(nest.planner, term, rows, width).filter(|_| plain);
    let (count, dim) = match cut {
        _ if step > 1 => class_dim(nest, rows, step, width),
        Some(cut) => cut_block_dim(nest, rows, width, cut),
        None if let Some(size) = block => rows::blocked_dim(nest, rows, size, width),
        None => {
            let extent = nest.extent(rows);
            let (var, block) = nest.var(Lane::I64);
            let blocks = extent::blocks(nest.x(), extent, width);
            ((var, blocks), block_dim(nest, block, extent, width))
        }
    };
    nest.program.grid.push(count);
    nest.bind(rows, Binding::Tile(dim), true);
    Ok(())
}

/// Rows that stand for several axes, in blocks, as many as the group has; with the blocks' grid axis.
fn folded_dim(nest: &mut Nest<'_, '_>, rows: AxisId, folded: &Folded) -> Result<((VarId, ExprId), Dim), PlanError> {
    let most = nest.extent(rows);
    let own = match folded.count {
        Some(count) => {
            let count = nest.eval(count, Frame::default(), false)?;
            let own = nest.x().min(most, count);
            nest.let_scalar(own)
        }
        None => most,
    };
    let (var, block) = nest.var(Lane::I64);
    let blocks = extent::blocks(nest.x(), most, ROWS);
    let within = block_dim(nest, block, own, ROWS);
    let [base, count] = [within.base, within.count].map(|x| nest.let_scalar(x));
    Ok(((var, blocks), Dim { base, count, aligned: false, ..within }))
}

/// Rows of one residue class, which is a grid axis of its own, in blocks of `width`; with the blocks' grid axis.
fn class_dim(nest: &mut Nest<'_, '_>, rows: AxisId, step: i64, width: i64) -> ((VarId, ExprId), Dim) {
    let extent = nest.extent(rows);
    let (class, first) = nest.var(Lane::I64);
    let step_expr = nest.x().int(step);
    let classes = nest.x().min(step_expr, extent);
    nest.program.grid.push((class, classes));
    // The first class has the most rows; the last block of another may be empty.
    let longest = extent::blocks(nest.x(), extent, step);
    let blocks = extent::blocks(nest.x(), longest, width);
    let (var, block) = nest.var(Lane::I64);
    let own = nest.class_count(extent, first, step);
    let within = block_dim(nest, block, own, width);
    let far = nest.x().times(within.base, step_expr);
    let base = nest.x().sum(first, far);
    let [base, count] = [base, within.count].map(|x| nest.let_scalar(x));
    ((var, blocks), Dim { base, count, step, aligned: false, ..within })
}

/// Builds the stage that leaves the state of the attend node `term`, begun in `before`, in the buffers of `state`.
pub(crate) fn lower_state_stage(
    planner: &mut Planner<'_>,
    term: TermId,
    shape: &StageShape,
    before: Option<&AttendState>,
    state: &AttendState,
) -> Result<Stage, PlanError> {
    let mut nest = Nest::new(planner, term);
    let layout = Layout::Plain(state.lead.clone());
    bind_task(&mut nest, term, shape, &layout)?;
    nest.lower_attend_state(term, Frame::new(shape.rows, shape.cols), before, state)?;
    nest.finish();
    nest.program.name = nest.planner.stage_name(StageKind::Attend, state.acc);
    Ok(Stage { kind: StageKind::Attend, program: nest.program, args: nest.args })
}

fn bind_cols(nest: &mut Nest<'_, '_>, cols: AxisId) {
    let root = nest.root;
    let line = nest.planner.rank(root).is_some_and(|rank| rank.along == cols)
        || nest.planner.large_ranks(root).contains(&cols);
    if line || nest.planner.is_short(cols) {
        let dim = nest.whole(cols);
        nest.bind(cols, Binding::Whole(dim), false);
        return;
    }
    let (var, block) = nest.var(Lane::I64);
    let extent = nest.extent(cols);
    let count = extent::blocks(nest.x(), extent, CHUNK);
    nest.program.grid.push((var, count));
    let dim = block_dim(nest, block, extent, CHUNK);
    nest.bind(cols, Binding::Tile(dim), true);
}

/// Positions `width * block ..` of an axis, at most `width` of them.
fn block_dim(nest: &mut Nest<'_, '_>, block: ExprId, extent: ExprId, width: i64) -> Dim {
    let tile = width;
    let width = nest.x().int(width);
    let base = nest.x().times(block, width);
    let left = nest.x().difference(extent, base);
    let count = nest.x().min(width, left);
    Dim { base, count, cap: width, step: 1, aligned: tile == TILE, block: None }
}

/// The first constant that a predicate compares the row with: rows on both sides of
/// it differ in what they see, so no tile should hold both.
fn row_cut(planner: &Planner<'_>, term: TermId, rows: AxisId, width: i64) -> Option<i64> {
    use attnc_algebra::{BinaryOp, Node};
    let mut first: Option<i64> = None;
    planner.find(term, &mut |_, node| {
        if let Node::Binary(op @ (BinaryOp::Lt | BinaryOp::Le), x, y) = node {
            let cut = match (planner.terms.node(*x), planner.terms.node(*y)) {
                (Node::Position(a), Node::Int(v)) if *a == rows => v.checked_add(i64::from(*op == BinaryOp::Le)),
                (Node::Int(v), Node::Position(a)) if *a == rows => v.checked_add(i64::from(*op == BinaryOp::Lt)),
                _ => None,
            };
            let cut = cut.filter(|cut| *cut > 0 && *cut % width != 0);
            first = first.into_iter().chain(cut).min();
        }
        false
    });
    first
}

/// As [`block_dim`], but no block crosses position `cut`; with the blocks' grid axis.
fn cut_block_dim(nest: &mut Nest<'_, '_>, rows: AxisId, width: i64, cut: i64) -> ((VarId, ExprId), Dim) {
    let extent = nest.extent(rows);
    let (var, block) = nest.var(Lane::I64);
    let cut = nest.x().int(cut);
    let cut = nest.x().min(cut, extent);
    let before = extent::blocks(nest.x(), cut, width);
    let rest = nest.x().difference(extent, cut);
    let after = extent::blocks(nest.x(), rest, width);
    let blocks = nest.x().sum(before, after);
    let (zero, width) = (nest.x().int(0), nest.x().int(width));
    // Below the cut, `width * block` is the smaller of the two.
    let plain = nest.x().times(block, width);
    let past = nest.x().difference(block, before);
    let past = nest.x().max(past, zero);
    let shifted = nest.x().times(past, width);
    let shifted = nest.x().sum(cut, shifted);
    let base = nest.x().min(plain, shifted);
    let base = nest.let_scalar(base);
    let below = nest.x().binary(attnc_algebra::BinaryOp::Lt, base, cut);
    let end = nest.choose(below, cut, extent);
    let (left, near) = (nest.x().difference(extent, base), nest.x().difference(end, base));
    let count = nest.x().min(width, left);
    let count = nest.x().min(count, near);
    let count = nest.let_scalar(count);
    ((var, blocks), Dim { base, count, cap: width, step: 1, aligned: false, block: None })
}

/// One task walks all rows in order, a tile of rows at a time.
fn walk_rows(
    nest: &mut Nest<'_, '_>,
    rows: AxisId,
    shape: &StageShape,
    layout: &Layout,
    exact: bool,
    target: PlanBufferId,
) -> Result<(), PlanError> {
    nest.sequential = Some(rows);
    let (var, from) = nest.var(Lane::I64);
    let extent = nest.extent(rows);
    let width = nest.x().int(CHUNK);
    let left = nest.x().difference(extent, from);
    let count = nest.x().min(width, left);
    let dim = Dim { base: from, count, cap: width, step: 1, aligned: CHUNK % TILE == 0, block: None };
    let body = nest.inner(Some((rows, Binding::Tile(dim))), |nest| write_term(nest, shape, layout, exact, target))?;
    let zero = nest.x().int(0);
    nest.emit(Stmt::For { var, from: zero, to: extent, step: CHUNK, body });
    Ok(())
}

/// Evaluates the stage's term over its frame and stores it.
fn write_term(
    nest: &mut Nest<'_, '_>,
    shape: &StageShape,
    layout: &Layout,
    exact: bool,
    target: PlanBufferId,
) -> Result<(), PlanError> {
    if let Layout::Pairs { lead, row, col, blocked } = layout {
        return nest.write_pairs((lead, *row, *col), *blocked, target);
    }
    let frame = Frame::new(shape.rows, shape.cols);
    nest.attends_first(frame)?;
    let root = nest.root;
    let value = nest.eval(root, frame, exact)?;
    match layout {
        Layout::Plain(axes) => nest.store_plain(target, axes, frame, value),
        Layout::Packed { lead, row, col } => {
            nest.store_packed(target, (lead, *row, *col), frame, value);
            Ok(())
        }
        Layout::Pairs { .. } => unreachable!("pairs are packed"),
    }
}

impl Nest<'_, '_> {
    /// Emits the store of a value into a packed buffer.
    fn store_packed(
        &mut self,
        buffer: PlanBufferId,
        (lead, row, col): (&[AxisId], AxisId, AxisId),
        frame: Frame,
        value: ExprId,
    ) {
        let value = self.before_turning(value, frame);
        let buffer = self.buffer(buffer, Access::Write);
        let mut index: Vec<ExprId> = lead.iter().map(|a| self.position(*a, frame)).collect();
        let base = self.dim(col).base;
        let block = self.div(base, TILE);
        let (in_block, _) = self.lane_index(frame);
        index.extend([block, self.position(row, frame), in_block]);
        let (rows, cols) = self.counts(frame);
        self.emit(Stmt::Map { dst: Dst::Buffer { buffer, index }, rows, cols, value });
    }

    /// What is packed as a plain element, of a tile if it is computed: computing runs along the rows of what is read,
    /// turning is one call.
    fn before_turning(&mut self, value: ExprId, frame: Frame) -> ExprId {
        let exprs = &self.program.exprs;
        let reads = |id: ExprId| matches!(exprs.get(id), Expr::Load { .. } | Expr::Tile { .. });
        let plain = match exprs.get(value) {
            Expr::Load { buffer, index, clamp: false } => {
                let single = self.program.buffers.get(buffer.0 as usize).is_some_and(|b| b.dtype == DType::F32);
                // Places that are read are no lines that lie side by side.
                let read = |at: &ExprId| exprs.dependence(*at).row && exprs.under(&[*at]).into_iter().any(reads);
                single && !index.iter().any(read)
            }
            _ => false,
        };
        if plain || exprs.lane(value) != Lane::F32 {
            return value;
        }
        let tile = self.own_tile(value, frame);
        self.element(tile, frame)
    }
}

/// What a stage does, for its name: read off its term.
impl StageShape {
    fn kind(&self, planner: &Planner<'_>, term: TermId, layout: &Layout) -> StageKind {
        use attnc_algebra::{Node, ReduceOp};
        if self.sequential {
            return StageKind::Scan;
        }
        if matches!(planner.terms.node(term), Node::At { .. }) {
            return StageKind::Bucket;
        }
        if planner.find(term, &mut |_, n| matches!(n, Node::Attend { .. })) {
            return StageKind::Attend;
        }
        let product = |n: &Node| matches!(n, Node::Reduce { op: ReduceOp::Sum, .. });
        if planner.find(term, &mut |_, n| product(n)) {
            return StageKind::Contract;
        }
        if matches!(layout, Layout::Packed { .. } | Layout::Pairs { .. }) {
            StageKind::Pack
        } else {
            StageKind::MapReduce
        }
    }
}
