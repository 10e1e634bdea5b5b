//! Which axes of a stage's output run along tile rows and columns.
//!
//! A pair of axes is good if the reductions inside split over it: scores on
//! the rows, values on the columns, or the factors of a sum on one side each.
//! Ties prefer the last output axis as columns (unit stride) and the longest
//! axis as rows.

use std::cell::OnceCell;

use attnc_algebra::{AxisId, BinaryOp, Carry, NaryOp, Node, ReduceOp, TermId, TermSet};

use crate::planner::{Layout, Planner};

use super::folded::Folded;
use super::nest::Nest;

/// Below so many rows or columns a tile is hardly worth its loops.
pub(super) const FEW: i64 = 16;

/// What it is worth to leave all of a few results to the grid: more than any preference.
const FOLDED: f64 = 4.0;

/// What a rank is worth that need not be repeated: more than any product.
const RANKED: f64 = 64.0;

/// The iteration of one stage.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct StageShape {
    /// Axis along tile rows.
    pub rows: Option<AxisId>,
    /// Axis along tile columns.
    pub cols: Option<AxisId>,
    /// The other axes, one task per position.
    pub grid: Vec<AxisId>,
    /// Whether the rows are walked in order by one task.
    pub sequential: bool,
    /// What the rows stand for, if they are none of the output's axes.
    pub folded: Option<Folded>,
}

impl StageShape {
    /// The shape for a term stored over `axes`.
    pub fn choose(planner: &mut Planner<'_>, term: TermId, axes: &[AxisId], layout: &Layout) -> Self {
        if let Layout::Packed { lead, row, col } = layout {
            return Self { rows: Some(*col), cols: Some(*row), grid: lead.clone(), sequential: false, folded: None };
        }
        if let Layout::Pairs { lead, row, col, blocked } = layout {
            // Rows are the longer axis of the two.
            let (rows, cols) = if *blocked { (*col, *row) } else { (*row, *col) };
            return Self { rows: Some(rows), cols: Some(cols), grid: lead.clone(), sequential: false, folded: None };
        }
        if let Some(rank) = planner.rank(term).filter(|rank| axes.contains(&rank.along)) {
            return Self::of_lines(planner, axes, rank.along);
        }
        let scan = Nest::scan_row(planner, term).filter(|row| axes.contains(row));
        let scan = scan.or_else(|| Nest::row_of_columns(planner, term, axes));
        let main = planner.main_reductions(term);
        let outermost = outermost(planner, term, &main);
        let ranks = planner.large_ranks(term);
        let mut best: Option<(f64, Option<AxisId>, Option<AxisId>)> = None;
        for rows in candidates(axes) {
            let inner = OnceCell::new();
            for cols in candidates(axes) {
                let same = rows.is_some() && rows == cols;
                let lone_col = rows.is_none() && cols.is_some() && axes.len() > 1;
                if same || lone_col || (scan.is_some() && rows != scan) {
                    continue;
                }
                let score = quality(planner, term, &main, (&outermost, &inner), (rows, cols), axes)
                    + lines(&ranks, axes, rows, cols)
                    + preference(planner, axes, rows, cols);
                if best.is_none_or(|(s, ..)| score > s) {
                    best = Some((score, rows, cols));
                }
            }
        }
        let (_, rows, cols) = best.unwrap_or((0.0, None, None));
        let grid = axes.iter().copied().filter(|a| Some(*a) != rows && Some(*a) != cols).collect();
        Self { rows, cols, grid, sequential: scan.is_some(), folded: None }
    }
}

impl StageShape {
    /// Whole lines along an axis, many at a time.
    fn of_lines(planner: &Planner<'_>, axes: &[AxisId], along: AxisId) -> Self {
        let others = axes.iter().copied().filter(|a| *a != along);
        let rows = others.clone().max_by_key(|a| (planner.hint_extent(*a), std::cmp::Reverse(*a)));
        Self {
            rows,
            cols: Some(along),
            grid: others.filter(|a| Some(*a) != rows).collect(),
            sequential: false,
            folded: None,
        }
    }
}

fn candidates(axes: &[AxisId]) -> impl Iterator<Item = Option<AxisId>> + '_ {
    std::iter::once(None).chain(axes.iter().copied().map(Some))
}

/// Those of a stage's main reductions that lie in no other, each with its share of their work.
fn outermost(planner: &Planner<'_>, term: TermId, main: &[TermId]) -> Vec<(TermId, f64)> {
    let mut outermost = Vec::new();
    let mut seen = TermSet::new();
    let mut open = vec![term];
    while let Some(t) = open.pop() {
        let node = planner.terms.node(t);
        if !seen.insert(t) || matches!(node, Node::Order { .. } | Node::At { .. }) {
            continue;
        }
        match node.runs_over_axis() {
            true if main.contains(&t) => outermost.push((t, planner.points(t).unwrap_or(0.0))),
            true => {}
            false => open.extend(node.operands()),
        }
    }
    let all: f64 = outermost.iter().map(|(_, points)| points).sum();
    outermost.iter_mut().for_each(|(_, points)| *points /= all.max(1.0));
    outermost
}

/// How well the main reductions of a stage split over the frame; `inner` keeps what is found of the outermost of them
/// for these rows.
fn quality(
    planner: &Planner<'_>,
    term: TermId,
    main: &[TermId],
    (outermost, inner): (&[(TermId, f64)], &OnceCell<Vec<f64>>),
    (rows, cols): (Option<AxisId>, Option<AxisId>),
    axes: &[AxisId],
) -> f64 {
    // A product of few rows reads its right operand for little, one of few columns leaves lanes empty.
    let few = [rows, cols].into_iter().flatten().any(|a| planner.hint_extent(a) < FEW);
    let weight = if few { 4.0 } else { 8.0 };
    let split = |t: &TermId| weight * split_quality(planner, planner.terms.node(*t), (rows, cols), axes);
    let total: f64 = main.iter().map(split).sum();
    if total != 0.0 {
        return total;
    }
    match planner.terms.node(term) {
        // Few results of many positions that each take a sum: lanes run along these instead.
        Node::Reduce { axis, body, .. } if rows.is_none() && cols.is_none() => {
            let results = planner.volume(planner.terms.free(term));
            let deep =
                results < FEW as f64 * FEW as f64 && !planner.is_short(*axis) && reduces_along(planner, *body, *axis);
            if deep { FOLDED } else { 0.0 }
        }
        _ if rows.is_some() => {
            let along = inner.get_or_init(|| outermost.iter().map(|(t, _)| along_row(planner, *t, rows)).collect());
            let fits = |((t, share), along): (&(TermId, f64), &f64)| {
                weight * share * along * fit_of_row(planner, *t, (rows, cols), axes)
            };
            outermost.iter().zip(along).map(fits).sum()
        }
        _ => 0.0,
    }
}

/// The terms that a reduction evaluates for each of its positions, with its axis.
fn reduced(planner: &Planner<'_>, term: TermId) -> Option<(AxisId, [TermId; 2])> {
    match *planner.terms.node(term) {
        Node::Reduce { axis, body, domain, .. } => Some((axis, [body, domain])),
        _ => None,
    }
}

/// What it is worth to have the axis of a reduction along the columns of its own tiles.
fn along_row(planner: &Planner<'_>, term: TermId, rows: Option<AxisId>) -> f64 {
    let Some((axis, operands)) = reduced(planner, term) else { return 0.0 };
    operands.iter().map(|t| along_columns(planner, *t, rows, axis)).fold(0.0, f64::max)
}

/// Whether a restriction leaves one position of the axis at most.
fn is_fixed(planner: &Planner<'_>, domain: TermId, axis: AxisId) -> bool {
    let terms = &planner.terms;
    let fixes =
        |here: TermId, there: TermId| *terms.node(here) == Node::Position(axis) && !terms.free(there).contains(axis);
    match terms.node(domain) {
        Node::Binary(BinaryOp::Eq, x, y) => fixes(*x, *y) || fixes(*y, *x),
        Node::Nary(NaryOp::And, parts) => parts.iter().any(|part| is_fixed(planner, *part, axis)),
        _ => false,
    }
}

/// Whether a reduction runs along a row of a tile of its own: its operands have the frame's rows, and not its columns;
/// less where something in them is computed again, and not where the whole of it would be.
fn fit_of_row(
    planner: &Planner<'_>,
    term: TermId,
    (rows, cols): (Option<AxisId>, Option<AxisId>),
    axes: &[AxisId],
) -> f64 {
    let Some((axis, operands)) = reduced(planner, term) else { return 0.0 };
    let has = |a: Option<AxisId>| a.is_some_and(|a| operands.iter().any(|t| planner.terms.free(*t).contains(a)));
    let varies = |a: &AxisId| Some(*a) == rows || planner.terms.free(term).contains(*a);
    let one_position = is_fixed(planner, operands[1], axis);
    if has(rows) && !one_position && cols.is_some_and(|cols| shares(planner, term, (rows, cols))) {
        return 0.75;
    }
    match has(rows) && !has(cols) && !one_position && axes.iter().all(varies) {
        true if operands.iter().any(|t| again(planner, *t, axis, rows, axes)) => 0.25,
        true => 1.0,
        false => 0.0,
    }
}

/// Whether the columns share reductions of each row and key inside, whose keys then take turns.
fn shares(planner: &Planner<'_>, term: TermId, (rows, cols): (Option<AxisId>, AxisId)) -> bool {
    let Node::Reduce { op, axis, body, .. } = *planner.terms.node(term) else { return false };
    let folds = match op {
        // A product of sums is one of tiles.
        ReduceOp::Sum => planner.factors(body).len() == 1,
        ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => true,
        _ => false,
    };
    let of_both = |t: TermId| {
        let free = planner.terms.free(t);
        rows.is_some_and(|rows| free.contains(rows)) && free.contains(axis)
    };
    let shared =
        planner.find(body, &mut |t, node| node.runs_over_axis() && of_both(t) && !planner.terms.free(t).contains(cols));
    folds && planner.terms.free(body).contains(cols) && shared
}

/// Whether what a reduction over `axis` reduces has an axis of the grid that some reduction inside, along `axis`, does
/// not have: that one is computed again for each of its positions.
fn again(planner: &Planner<'_>, body: TermId, axis: AxisId, rows: Option<AxisId>, axes: &[AxisId]) -> bool {
    let free = planner.terms.free(body);
    let grid: Vec<AxisId> = axes.iter().copied().filter(|a| Some(*a) != rows && free.contains(*a)).collect();
    planner.find(body, &mut |t, node| {
        let inner = planner.terms.free(t);
        node.runs_over_axis() && inner.contains(axis) && grid.iter().any(|a| !inner.contains(*a))
    })
}

/// Whether sums inside the term are taken for each position along the axis.
fn reduces_along(planner: &Planner<'_>, body: TermId, axis: AxisId) -> bool {
    planner.find(body, &mut |t, node| {
        matches!(node, Node::Reduce { op: ReduceOp::Sum, .. }) && planner.terms.free(t).contains(axis)
    })
}

/// How well ranks that are computed inside the stage lie in the frame: along its columns, a line for each row.
fn lines(ranks: &[AxisId], axes: &[AxisId], rows: Option<AxisId>, cols: Option<AxisId>) -> f64 {
    let ranked = |along: &&AxisId| axes.contains(along);
    let fit = |along: &AxisId| if cols == Some(*along) && rows.is_some() { RANKED } else { -RANKED };
    ranks.iter().filter(ranked).map(fit).sum()
}

fn split_quality(
    planner: &Planner<'_>,
    node: &Node,
    (rows, cols): (Option<AxisId>, Option<AxisId>),
    axes: &[AxisId],
) -> f64 {
    let has = |t: TermId, a: Option<AxisId>| a.is_some_and(|a| planner.terms.free(t).contains(a));
    match node {
        Node::Attend { axis, score, value, .. } => {
            // A value that a sum outside runs along is an operand of that sum, whose frame counts.
            let outside = planner.terms.free(*value).iter().any(|a| a != *axis && !axes.contains(&a));
            // Scores are computed again for each position of an axis in the grid that the value alone has.
            let again = |a: &AxisId| Some(*a) != cols && has(*value, Some(*a)) && !has(*score, Some(*a));
            match (has(*score, rows), has(*value, cols)) {
                _ if has(*score, cols) => 0.0,
                // Keys take turns, but scores are computed for many rows at once, and once.
                (true, true) if has(*value, rows) => 1.25,
                // Weights meet values of their own, and rows of the tile are summed.
                (true, false) if has(*value, rows) && cols.is_none() && !outside && !axes.iter().any(again) => {
                    1.0 + tile_of_scores(planner, *score, rows, *axis)
                }
                _ if has(*value, rows) => 0.0,
                // Rows that the keys have, too, make no tile of the scores.
                (true, true) => 2.0 + 2.0 * tile_of_scores(planner, *score, rows, *axis),
                (true, false) if cols.is_none() && !outside && !axes.iter().any(again) => {
                    1.0 + 2.0 * tile_of_scores(planner, *score, rows, *axis)
                }
                _ => 1.0,
            }
        }
        Node::Reduce { op: ReduceOp::LogSumExp, body, domain, .. }
            if planner.sides_of_sum((*body, *domain), rows, cols).is_some() =>
        {
            1.0
        }
        Node::Reduce { op: ReduceOp::LogSumExp | ReduceOp::ArgMax | ReduceOp::ArgMin, body, .. } => {
            f64::from(u8::from(has(*body, rows) && !has(*body, cols)))
        }
        Node::Reduce { op: ReduceOp::Max | ReduceOp::Min, body, domain, .. } => {
            f64::from(u8::from(planner.sides_of_sum((*body, *domain), rows, cols).is_some()))
        }
        Node::Reduce { op: ReduceOp::Sum, axis, body, domain } => {
            // A restriction that knows the positions of a reduction around it is another for each of them.
            let own = planner.terms.free(*domain).iter().all(|a| a == *axis || axes.contains(&a));
            // A mask is made for each row and position, which one column does not make up for.
            let own = own && cols.is_none_or(|a| planner.hint_extent(a) > 1);
            match splits(planner, (*body, if own { Some(*domain) } else { None }), rows, cols) {
                true => 1.0,
                false => state_quality(planner, *body, cols),
            }
        }
        _ => 0.0,
    }
}

/// How well scores fill a tile of rows and keys: 1 unless a sum is taken for each of them, which splits over the two or not.
fn tile_of_scores(planner: &Planner<'_>, score: TermId, rows: Option<AxisId>, keys: AxisId) -> f64 {
    if reduces_along(planner, score, keys) { along_columns(planner, score, rows, keys) } else { 1.0 }
}

/// How well a sum over the state of a scan lies in the frame: the columns are the state's, and the other factors' not.
fn state_quality(planner: &Planner<'_>, body: TermId, cols: Option<AxisId>) -> f64 {
    let factors = planner.factors(body);
    let is_scan = |t: &&TermId| matches!(planner.terms.node(**t), Node::Scan { carry: Carry::Sum, .. });
    let Some(scan) = factors.iter().find(is_scan) else { return 0.0 };
    let Some(cols) = cols else { return 0.25 };
    let has = |t: &TermId| planner.terms.free(*t).contains(cols);
    match (has(scan), factors.iter().any(|t| t != scan && has(t))) {
        (true, false) => 1.0,
        (false, false) => 0.25,
        (_, true) => 0.0,
    }
}

/// Whether the factors of a sum divide into those with the rows and those with the columns; a restriction is a factor of
/// 0 and 1 on the side of the rows.
fn splits(
    planner: &Planner<'_>,
    (body, domain): (TermId, Option<TermId>),
    rows: Option<AxisId>,
    cols: Option<AxisId>,
) -> bool {
    let mut factors = planner.factors(body);
    let has = |f: &TermId, a: Option<AxisId>| a.is_some_and(|a| planner.terms.free(*f).contains(a));
    factors.extend(domain.filter(|domain| !has(domain, cols)));
    let tied = factors.iter().any(|f| has(f, rows) && has(f, cols));
    !tied && factors.iter().any(|f| has(f, rows)) && factors.iter().any(|f| has(f, cols))
}

/// What it is worth to have `axis` along the columns of what is reduced over it: sums inside split over the frame, or
/// inputs are read as they lie.
fn along_columns(planner: &Planner<'_>, body: TermId, rows: Option<AxisId>, axis: AxisId) -> f64 {
    let (mut inner, mut split, mut adjacent) = (false, false, false);
    planner.find(body, &mut |t, node| {
        let along = |t: TermId| planner.terms.free(t).contains(axis);
        inner |= node.runs_over_axis() && along(t);
        if let Node::Reduce { op: ReduceOp::Sum, body, domain, .. } = node {
            split |= splits(planner, (*body, Some(*domain)), rows, Some(axis));
        }
        adjacent |= matches!(node, Node::Input { index, .. } if index.last().is_some_and(|last| along(*last)));
        false
    });
    match (inner, split, adjacent) {
        (true, true, _) => 1.0,
        (false, _, true) => 0.25,
        _ => 0.0,
    }
}

/// Small preferences between equally good frames.
fn preference(planner: &Planner<'_>, axes: &[AxisId], rows: Option<AxisId>, cols: Option<AxisId>) -> f64 {
    let size = |a: Option<AxisId>| a.map_or(0.0, |a| (planner.hint_extent(a) as f64).log2() / 64.0);
    let wide = cols.is_some_and(|a| planner.hint_extent(a) >= 8);
    let unit = if wide && cols == axes.last().copied() { 1.0 } else { 0.0 };
    let lone = if axes.len() == 1 && cols.is_some() { -2.0 } else { 0.0 };
    // A few rows are better left to the grid: an inner reduction can have the lanes.
    let rows_there = match rows {
        Some(a) if planner.hint_extent(a) >= FEW => 0.5,
        Some(_) => -0.25,
        None => 0.0,
    };
    unit + lone + rows_there + size(rows) + size(cols) / 16.0
}
