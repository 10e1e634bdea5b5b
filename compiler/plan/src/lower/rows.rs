//! How many rows a task's tile has, and where tiles are cut.
//!
//! A tile visits every key that one of its rows sees. Where a row sees a short
//! run of keys, a tile of many rows visits mostly pairs that are not allowed;
//! a tile of few rows makes little use of what it loads. Lengths of runs are
//! read off the bounds of a domain's atoms, at the hint.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, TermId, TermSet, UnaryOp};

use crate::loops::VarId;
use crate::loops::expr::{ExprId, Lane};
use crate::planner::{CHUNK, Layout, Planner, ROWS, TILE};

use super::attend::TALL;
use super::domain::Alternative;
use super::extent;
use super::nest::{Block, Dim, Nest};

/// Heights to choose from: multiples of the rows that products take at once and of a vector, as far as there are any.
const HEIGHTS: [i64; 7] = [ROWS, CHUNK, 48, 24, 16, 12, 8];

/// A tile costs about as much again for each row and key beyond its own (fitted to one Zen 5 core, 2026-11-22).
const FIXED_ROWS: i64 = 6;
const FIXED_KEYS: i64 = 12;

/// What a tile costs beside that, in keys: one tile less where tiles of rows and of keys meet at the same positions.
const FIXED_TILE: i64 = 12;

/// The rows of a block of a product, of which a tall tile leaves out what none of them sees.
const BLOCK_ROWS: i64 = 12;

/// The part of a pair's cost that is its two products.
const OF_PRODUCTS: f64 = 0.6;

/// Keys that lie apart are brought together for each tile, which costs about as much as this many rows.
const STEPPED_ROWS: i64 = 16;

/// Rows of a task that holds whole lines of scores and ranks for each.
const RANKED_ROWS: i64 = 24;

/// A listed pair takes as long as so many of a tile, a row with its lists as so many pairs, and a pair that is only looked
/// at as such a part of one (fitted to one Zen 5 core, 2026-11-23).
const LISTED_PAIR: f64 = 2.5;
const LISTED_ROW: f64 = 6.0;
const LOOKED_AT: f64 = 0.1;

/// Visited keys from which on what a row lists is not at hand since the row before, and how much longer it takes then.
const FAR: f64 = 256.0;
const FAR_SLOWER: f64 = 1.8;

/// What it takes to compare one name of a row with another (one Zen 5 core, 2026-12-01).
const NAMES_COMPARED: f64 = 0.15;

/// Rows that come one after the other while what they list is at hand.
const LISTING_ROWS: i64 = 24;

/// How much quicker lists must be.
const MARGIN: f64 = 1.4;

/// Below so many keys tiles are as good.
const KEYS_TO_LIST: i64 = 3 * TILE;

/// Keys of a vector. A product of one takes as long as a product of two.
const LANES: i64 = 16;

/// The rows of a stage's tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Rows of a tile.
    pub width: i64,
    /// Size of the blocks that no tile crosses.
    pub block: Option<i64>,
}

/// A bound on positions: `variable + rest >= 0`, or `rest - variable >= 0` if not `positive`.
#[derive(Clone, Copy)]
struct Bound {
    variable: TermId,
    positive: bool,
    /// At the hint.
    rest: i64,
    /// Whether it depends on the row.
    moves: bool,
}

/// Positions in a row that one row sees.
#[derive(Clone, Copy)]
struct Run {
    length: i64,
    /// Whether other rows see other positions.
    moves: bool,
    /// The share of them that it sees, where that is scattered.
    dense: f64,
}

/// Rows of a task's tile.
pub(super) fn rows_of(nest: &mut Nest<'_, '_>, term: TermId, (rows, step): (AxisId, i64), layout: &Layout) -> Rows {
    if !matches!(layout, Layout::Plain(_)) {
        return Rows { width: TILE, block: None };
    }
    let mut best = best_height(nest, term, rows, step);
    if nest.planner.ranks_for_each(term, rows) {
        best = best.min(RANKED_ROWS);
    }
    let Some(size) = block_of_rows(nest.planner, term, rows) else { return Rows { width: best, block: None } };
    // A pattern in blocks of rows is best met by tiles that lie inside its blocks; small ones are not worth it.
    if size % CHUNK == 0 || best > size {
        return Rows { width: best.min(CHUNK), block: None };
    }
    let tiles = size.div_euclid(best) + i64::from(size % best != 0);
    Rows { width: size.div_euclid(tiles) + i64::from(size % tiles != 0), block: Some(size) }
}

/// The largest block by which a term takes quotients or remainders of the row; of any that is no constant, a tile.
fn block_of_rows(planner: &Planner<'_>, term: TermId, rows: AxisId) -> Option<i64> {
    let mut size = None;
    planner.find(term, &mut |_, node| {
        if let Node::Binary(op @ (BinaryOp::FloorDiv | BinaryOp::Mod), x, y) = node
            && *planner.terms.node(*x) == Node::Position(rows)
        {
            match planner.terms.node(*y) {
                Node::Int(m) if *m > 1 && *op == BinaryOp::FloorDiv => size = size.max(Some(*m)),
                Node::Int(_) => {}
                _ => size = size.max(Some(CHUNK)),
            }
        }
        false
    });
    size
}

/// The height with the least work for an allowed pair, over all that the rows take part in. Of rows of one residue
/// class, `step` apart, there are fewer, and so there are of the keys that they see.
fn best_height(nest: &mut Nest<'_, '_>, term: TermId, rows: AxisId, step: i64) -> i64 {
    let mut runs = Vec::new();
    for (axis, domain) in nest.domains_of_rows(term, rows) {
        let Some(own) = nest.runs_of(axis, domain, rows, step) else { return ROWS };
        runs.extend(own);
    }
    let fixed = if step > 1 { FIXED_ROWS + STEPPED_ROWS } else { FIXED_ROWS };
    let cost = |height: i64| cost_of(&runs, height, step, fixed);
    let longest = nest.planner.hint_extent(rows).div_euclid(step).max(1);
    let mut best = if step > 1 { ROWS.min(longest) } else { ROWS };
    for height in HEIGHTS {
        let height = if step > 1 { height.min(longest) } else { height };
        if !runs.is_empty() && cost(height) < cost(best) {
            best = height;
        }
    }
    if step == 1 {
        return best;
    }
    // Tiles of about equal height.
    let tiles = longest.div_euclid(best) + i64::from(longest % best != 0);
    longest.div_euclid(tiles) + i64::from(longest % tiles != 0)
}

/// What a row of a tile costs, in pairs.
fn cost_of(runs: &[Run], height: i64, step: i64, fixed: i64) -> f64 {
    let keys = |run: &Run| {
        let (visited, open) =
            (whole_vectors(run.beside(height)), if height < TALL { height } else { BLOCK_ROWS.min(height) });
        let meet = step == 1 && height % CHUNK == 0;
        let tiles = run.beside(height).div_euclid(CHUNK) + if meet { 0 } else { 1 };
        let pairs = OF_PRODUCTS * whole_vectors(run.beside(open)) as f64 + (1.0 - OF_PRODUCTS) * visited as f64;
        pairs + (FIXED_KEYS + FIXED_TILE * tiles) as f64
    };
    let keys: f64 = runs.iter().map(keys).sum();
    keys * (height + fixed) as f64 / height as f64
}

/// What a row of a tile costs, in pairs, where all that it visits is computed: what lists are fitted beside.
fn visited_by(runs: &[Run], height: i64) -> f64 {
    let keys: i64 = runs.iter().map(|run| whole_vectors(run.beside(height)) + FIXED_KEYS).sum();
    (keys * (height + FIXED_ROWS)) as f64 / height as f64
}

/// Keys as products take them.
fn whole_vectors(keys: i64) -> i64 {
    (keys.div_euclid(LANES) * LANES + LANES).max(2 * LANES)
}

impl Run {
    /// Positions that so many rows see together.
    fn beside(&self, height: i64) -> i64 {
        if self.moves { self.length + height - 1 } else { self.length }
    }
}

/// Of the pairs in the tiles that a domain visits, the share that rows see; `None` unless listing them is quicker than
/// computing the tiles. So many keys are looked at together.
pub(super) fn share_of_lists(
    nest: &mut Nest<'_, '_>,
    rows: AxisId,
    (axis, domain): (AxisId, TermId),
    together: i64,
) -> Option<f64> {
    let keys = nest.planner.hint_extent(axis);
    if keys < KEYS_TO_LIST {
        return None;
    }
    let runs = nest.runs_of(axis, domain, rows, 1)?;
    if runs.is_empty() {
        return None;
    }
    let best = HEIGHTS.into_iter().map(|height| visited_by(&runs, height)).fold(f64::INFINITY, f64::min);
    let seen: f64 = runs.iter().map(|run| run.length as f64 * run.dense).sum();
    let visited: f64 = runs.iter().map(|run| run.beside(LISTING_ROWS).min(keys) as f64).sum();
    let pair = if visited > FAR { FAR_SLOWER * LISTED_PAIR } else { LISTED_PAIR };
    let listed = pair * seen + LISTED_ROW + LOOKED_AT * visited / together as f64;
    (best > MARGIN * listed).then(|| (seen / visited).min(1.0))
}

/// Whether lists of so many keys that rows name are quicker than tiles of all keys, of which names say nothing.
pub(super) fn names_pay(nest: &Nest<'_, '_>, axis: AxisId, names: i64) -> bool {
    let keys = nest.planner.hint_extent(axis);
    let listed = FAR_SLOWER * LISTED_PAIR * names as f64 + NAMES_COMPARED * (names * names) as f64 + LISTED_ROW;
    keys >= KEYS_TO_LIST && keys as f64 > MARGIN * listed
}

impl Nest<'_, '_> {
    /// Whether each of so many neighbouring positions of `rows` sees much less along `axis` than all of them together.
    pub(super) fn sees_apart(&mut self, rows: AxisId, (axis, domain): (AxisId, TermId), count: i64) -> bool {
        let all = self.planner.hint_extent(axis);
        let apart = |run: &Run| run.moves && 4 * run.length <= all && 2 * run.beside(count) >= 3 * run.length;
        match self.runs_of(axis, domain, rows, 1).as_deref() {
            Some([run]) => apart(run),
            _ => false,
        }
    }

    /// About what one row sees, run by run; `None` if there are too many alternatives.
    fn runs_of(&mut self, axis: AxisId, domain: TermId, rows: AxisId, step: i64) -> Option<Vec<Run>> {
        let mut runs = Vec::new();
        for alternative in self.alternatives(domain, true)? {
            // An alternative of few rows says nothing of the others.
            if alternative.atoms.iter().any(|(atom, _)| self.planner.terms.free(*atom).contains(axis)) {
                let run = self.run_of(axis, rows, step, &alternative);
                runs.push(Run { length: run.length.div_euclid(step).max(1), ..run });
            }
        }
        Some(runs)
    }

    /// Axis and domain of the reductions over many positions in which the rows take part.
    pub fn domains_of_rows(&self, term: TermId, rows: AxisId) -> Vec<(AxisId, TermId)> {
        let mut domains = Vec::new();
        self.planner.find(term, &mut |_, node| {
            let (axis, domain, body) = match node {
                Node::Reduce { op, axis, .. } if *op != ReduceOp::LogSumExp && self.planner.is_short(*axis) => {
                    return false;
                }
                Node::Reduce { axis, domain, body, .. }
                | Node::Softmax { axis, domain, body }
                | Node::Attend { axis, domain, score: body, .. } => (*axis, *domain, *body),
                _ => return false,
            };
            let free = |t: TermId| self.planner.terms.free(t).contains(rows);
            if free(domain) || free(body) {
                domains.push((axis, domain));
            }
            false
        });
        domains
    }

    /// About which positions along `axis` satisfy the alternative for one row.
    /// Rows and positions lie `step` apart where a congruence says so.
    fn run_of(&mut self, axis: AxisId, rows: AxisId, step: i64, alternative: &Alternative) -> Run {
        let position = self.planner.terms.add(Node::Position(axis));
        let last = self.planner.hint_extent(axis) - 1;
        let mut bounds = vec![
            Bound { variable: position, positive: true, rest: 0, moves: false },
            Bound { variable: position, positive: false, rest: last, moves: false },
        ];
        let (mut equal, mut dense) = (None, 1.0);
        for (atom, _) in alternative.atoms.iter().filter(|(_, positive)| *positive) {
            if step > 1 && self.row_modulus_of(*atom, rows) == Some(step) {
                continue;
            }
            match *self.planner.terms.node(*atom) {
                Node::Binary(op @ (BinaryOp::Le | BinaryOp::Lt), x, y) => {
                    dense *= self.share_of_ranked(x, y);
                    bounds.extend(self.bound_of(axis, rows, x, y, i64::from(op == BinaryOp::Lt)));
                }
                Node::Binary(BinaryOp::Eq, x, y) if self.integral(x) && self.integral(y) => {
                    let sorted = self.planner.equal_keys(x, axis).or(self.planner.equal_keys(y, axis));
                    let ends = [self.bound_of(axis, rows, x, y, 0), self.bound_of(axis, rows, y, x, 0)];
                    let moves = [x, y].iter().any(|t| self.planner.terms.free(*t).contains(rows));
                    equal = equal.or(sorted.map(|length| (length, moves)));
                    // Positions of one remainder lie scattered.
                    let remainder = |b: &Bound| {
                        matches!(self.planner.terms.node(b.variable), Node::Binary(BinaryOp::Mod, ..)) && step == 1
                    };
                    match ends.iter().flatten().all(|b| !remainder(b)) && ends.iter().any(Option::is_some) {
                        true => bounds.extend(ends.into_iter().flatten()),
                        false if sorted.is_none() => dense *= self.share_of_equal(axis, rows, [x, y]),
                        false => {}
                    }
                }
                _ => {}
            }
        }
        let mut shortest = Run { length: last + 1, moves: false, dense };
        if let Some((length, moves)) = equal.filter(|(length, _)| *length <= last) {
            shortest = Run { length, moves, dense };
        }
        for low in bounds.iter().filter(|b| b.positive) {
            for high in bounds.iter().filter(|b| !b.positive && b.variable == low.variable) {
                // -low.rest <= variable <= high.rest
                let steps = high.rest.saturating_add(low.rest).saturating_add(1).max(1);
                let size = match self.planner.terms.node(low.variable) {
                    Node::Binary(BinaryOp::FloorDiv, _, m) => self.at_hint(*m).unwrap_or(1).max(1),
                    _ => 1,
                };
                let (length, moves) = (steps.saturating_mul(size), low.moves || high.moves);
                // Of equally long ones, in whatever order they come, the one that all rows share.
                if (length, moves) < (shortest.length, shortest.moves) {
                    shortest = Run { length, moves, dense };
                }
            }
        }
        shortest
    }

    /// The share of positions along `axis` at which an integer of the row equals one of the key.
    fn share_of_equal(&mut self, axis: AxisId, rows: AxisId, sides: [TermId; 2]) -> f64 {
        let keys = sides.into_iter().find(|t| self.planner.terms.free(*t).contains(axis));
        let Some(key) = keys else { return 1.0 };
        // A tile of rows of one block visits what they see together.
        let of_rows = sides
            .into_iter()
            .all(|t| t == key || !self.planner.enters_through_quotient(t, rows, &mut None, &mut TermSet::new()));
        let modulus = match *self.planner.terms.node(key) {
            Node::Binary(BinaryOp::Mod, _, m) => self.at_hint(m),
            Node::Binary(BinaryOp::FloorDiv, x, m)
                if of_rows && *self.planner.terms.node(x) == Node::Position(axis) =>
            {
                self.at_hint(m).map(|size| self.planner.hint_extent(axis).div_euclid(size.max(1)))
            }
            _ => None,
        };
        1.0 / modulus.unwrap_or_else(|| self.planner.values_of(key)).max(1) as f64
    }

    /// The share of positions that a rank less than a number leaves; 1 if it is no such comparison.
    fn share_of_ranked(&mut self, rank: TermId, limit: TermId) -> f64 {
        let body = match *self.planner.terms.node(rank) {
            Node::At { body, .. } => body,
            _ => rank,
        };
        let (Some(limit), Some(rank)) = (self.at_hint(limit), self.planner.rank(body)) else { return 1.0 };
        (limit.max(1) as f64 / self.planner.hint_extent(rank.along).max(1) as f64).min(1.0)
    }

    /// `y - x - gap >= 0` as a bound on the position along `axis`, or on a quotient or remainder of it.
    fn bound_of(&self, axis: AxisId, rows: AxisId, x: TermId, y: TermId, gap: i64) -> Option<Bound> {
        let mut parts = Vec::new();
        let mut rest = -gap;
        self.sum_apart(axis, y, 1, &mut parts, &mut rest)?;
        self.sum_apart(axis, x, -1, &mut parts, &mut rest)?;
        let moves = [x, y].iter().any(|t| self.planner.terms.free(*t).contains(rows));
        match parts[..] {
            [(variable, scale)] if scale.abs() == 1 && self.is_place(variable, axis) => {
                Some(Bound { variable, positive: scale > 0, rest, moves })
            }
            _ => None,
        }
    }

    /// Whether a term is the position along an axis, or a quotient or remainder of it: numbers that lie in tables are
    /// scattered.
    fn is_place(&self, term: TermId, axis: AxisId) -> bool {
        match *self.planner.terms.node(term) {
            Node::Position(of) => of == axis,
            Node::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, x, _) => self.is_place(x, axis),
            _ => false,
        }
    }

    /// Adds `scale * term`: what mentions `axis` to `parts`, the rest at the hint.
    fn sum_apart(
        &self,
        axis: AxisId,
        term: TermId,
        scale: i64,
        parts: &mut Vec<(TermId, i64)>,
        rest: &mut i64,
    ) -> Option<()> {
        match self.planner.terms.node(term) {
            _ if !self.planner.terms.free(term).contains(axis) => {
                *rest = rest.checked_add(self.at_hint(term)?.checked_mul(scale)?)?;
            }
            Node::Nary(NaryOp::Add, xs) => {
                for x in xs {
                    self.sum_apart(axis, *x, scale, parts, rest)?;
                }
            }
            Node::Unary(UnaryOp::Neg, x) => self.sum_apart(axis, *x, -scale, parts, rest)?,
            _ => parts.push((term, scale)),
        }
        Some(())
    }

    /// The value of an integer term without tables at the hint, positions in the middle of their axes.
    fn at_hint(&self, term: TermId) -> Option<i64> {
        let terms = &self.planner.terms;
        match terms.node(term) {
            Node::Int(v) => Some(*v),
            Node::Extent(symbol) => self.planner.hint_symbol(*symbol),
            Node::Position(axis) => Some(self.planner.hint_extent(*axis).div_euclid(2)),
            Node::Unary(UnaryOp::Neg, x) => self.at_hint(*x)?.checked_neg(),
            Node::Unary(UnaryOp::Abs, x) => self.at_hint(*x)?.checked_abs(),
            Node::Binary(BinaryOp::FloorDiv, x, y) => self.at_hint(*x)?.checked_div_euclid(self.at_hint(*y)?),
            Node::Binary(BinaryOp::Mod, x, y) => self.at_hint(*x)?.checked_rem_euclid(self.at_hint(*y)?),
            Node::Nary(op, xs) => {
                let mut values = xs.iter().map(|x| self.at_hint(*x));
                let first = values.next()??;
                values.try_fold(first, |acc, x| match op {
                    NaryOp::Add => acc.checked_add(x?),
                    NaryOp::Mul => acc.checked_mul(x?),
                    NaryOp::Min => Some(acc.min(x?)),
                    NaryOp::Max => Some(acc.max(x?)),
                    NaryOp::And | NaryOp::Or => None,
                })
            }
            _ => None,
        }
    }
}

/// Rows in tiles of `width` that lie in blocks of `size`, a grid axis of its own; with the tiles' grid axis.
pub(super) fn blocked_dim(nest: &mut Nest<'_, '_>, rows: AxisId, size: i64, width: i64) -> ((VarId, ExprId), Dim) {
    let extent = nest.extent(rows);
    let (var, index) = nest.var(Lane::I64);
    let blocks = extent::blocks(nest.x(), extent, size);
    nest.program.grid.push((var, blocks));
    let (var, tile) = nest.var(Lane::I64);
    let size_expr = nest.x().int(size);
    let tiles = extent::blocks(nest.x(), size_expr, width);
    let block = Block { size, index };
    let start = nest.block_start(block);
    let cap = nest.x().int(width);
    let within = nest.x().times(tile, cap);
    // The last block may have fewer tiles with rows.
    let base = nest.x().sum(start, within);
    let base = nest.x().min(base, extent);
    let (left, near) = (nest.x().difference(extent, base), nest.x().difference(size_expr, within));
    let count = nest.x().min(cap, left);
    let count = nest.x().min(count, near);
    let [base, count] = [base, count].map(|x| nest.let_scalar(x));
    ((var, tiles), Dim { base, count, cap, step: 1, aligned: false, block: Some(block) })
}
