//! Counts of the pairs in a domain at given extents.
//!
//! Owns the expected share of an axis that a predicate allows: rows are
//! evaluated one at a time, exactly where the predicate reads no input, and a
//! fixed number of them is sampled on long axes. Sampling takes the middle of
//! equal strata, which is exact for bands and prefixes up to the rounding of
//! their ends. Predicates over inputs enter by declared run lengths.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, BinaryOp, Extents, NaryOp, Node, ReduceOp, Spec, TermId, Type, UnaryOp};

use crate::facts::{is_small_tree, reads_input};
use crate::row_set::RowSet;

/// Row combinations that [`density`] evaluates at most.
const MAX_ROWS: i64 = 96;
/// Positions of one axis that it samples while more axes follow.
const SAMPLES: i64 = 12;
/// Positions beyond a run that a tile of rows meets: the rows' own buckets and the rest of the last key tile.
const TILE_EDGES: f64 = 160.0;
/// Share assumed of the positions that have one value of a table, and of blocks that are allowed.
const TABLE_SHARE: f64 = 0.25;
/// A guess at the share of a table of truth values that is true.
const TRUE_SHARE: f64 = 0.5;

/// The share of the box over the predicate's axes and `axis` in which the predicate holds.
pub fn density(spec: &Spec, extents: &Extents, predicate: TermId, axis: AxisId) -> f64 {
    sampled_density(spec, extents, predicate, axis, MAX_ROWS)
}

/// The share of the box that a traversal visits: as [`density`], but where data decides, positions can only be left
/// out if they lie together. Of unsorted keys all are looked at, of sorted ones the runs that meet a tile.
pub fn visited(spec: &Spec, extents: &Extents, predicate: TermId, axis: AxisId) -> f64 {
    share(spec, extents, predicate, axis, MAX_ROWS, true)
}

/// [`density`] from at most about `max_rows` rows; exact from all of them.
pub fn sampled_density(spec: &Spec, extents: &Extents, predicate: TermId, axis: AxisId, max_rows: i64) -> f64 {
    share(spec, extents, predicate, axis, max_rows, false)
}

fn share(spec: &Spec, extents: &Extents, predicate: TermId, axis: AxisId, max_rows: i64, visited: bool) -> f64 {
    if matches!(spec.terms.node(predicate), Node::Bool(true)) {
        return 1.0;
    }
    if !is_small_tree(&spec.terms, predicate) {
        return 0.5;
    }
    let extent = |a: AxisId| spec.eval_extent(spec.axis(a).extent, extents).unwrap_or(1).max(1);
    let len = extent(axis);
    let mut outer: Vec<AxisId> = spec.terms.free(predicate).iter().filter(|a| *a != axis).collect();
    outer.sort_by_key(|a| extent(*a));
    let mut rows: Vec<BTreeMap<AxisId, i64>> = vec![BTreeMap::new()];
    for (n, a) in outer.iter().enumerate() {
        let (a, room, last) = (*a, (max_rows / rows.len() as i64).max(1), n + 1 == outer.len());
        let n = extent(a);
        let take = n.min(room).min(if last { max_rows } else { SAMPLES.max(max_rows / 8) });
        rows = rows
            .iter()
            .flat_map(|row| {
                (0..take).map(move |s| {
                    let mut row = row.clone();
                    row.insert(a, ((2 * s + 1) * n) / (2 * take));
                    row
                })
            })
            .collect();
    }
    let row_count = rows.len() as f64;
    let counted: f64 =
        rows.into_iter().map(|at| Row { spec, extents, axis, len, at, visited }.set(predicate).count()).sum();
    (counted / (row_count * len as f64)).clamp(0.0, 1.0)
}

/// One row: all axes but one are fixed.
struct Row<'a> {
    spec: &'a Spec,
    extents: &'a Extents,
    axis: AxisId,
    len: i64,
    at: BTreeMap<AxisId, i64>,
    /// What is visited is counted, not what is in the set.
    visited: bool,
}

/// An integer term as a function of the row's position j.
#[derive(Clone, Debug)]
enum Value {
    /// The same for every j.
    Fixed(i64),
    /// `sign * j + offset`
    Shifted(i64, i64),
    /// `floor((j + .0) / .1) + .2`, or its negation if `.3` is -1.
    Block(i64, i64, i64, i64),
    /// `(j + .0) mod .1 + .2`, or its negation if `.3` is -1; `.4` is -1 if j counts negatively.
    Residue(i64, i64, i64, i64, i64),
    /// Depends on data.
    Unknown,
}

impl Row<'_> {
    fn set(&self, predicate: TermId) -> RowSet {
        let terms = &self.spec.terms;
        match terms.node(predicate) {
            Node::Bool(b) => RowSet::constant(self.len, *b),
            Node::Unary(UnaryOp::Not, x) => {
                let set = self.set(*x);
                // A tile has both what data allow and what they do not.
                let scattered = self.visited && self.reads_data(*x) && set.count() >= self.len as f64;
                if scattered { set } else { set.complement() }
            }
            Node::Nary(NaryOp::And, xs) => xs.iter().fold(RowSet::full(self.len), |set, x| set.meet(&self.set(*x))),
            Node::Nary(NaryOp::Or, xs) => xs.iter().fold(RowSet::empty(self.len), |set, x| set.join(&self.set(*x))),
            Node::Select(c, a, b) => {
                let c = self.set(*c);
                c.meet(&self.set(*a)).join(&c.complement().meet(&self.set(*b)))
            }
            Node::Binary(op, x, y) if op.is_comparison() => self.comparison(*op, *x, *y),
            Node::Reduce { op: ReduceOp::Any, axis, domain, body } => self.any(*axis, *domain, *body),
            _ => RowSet::share(self.len, self.share_of_data(predicate)),
        }
    }

    /// The share that a predicate which data decides allows: half of a table's, of which every tile has some; of a table of
    /// blocks less, and whole ones.
    fn share_of_data(&self, predicate: TermId) -> f64 {
        let along = |at: &&TermId| self.spec.terms.free(**at).contains(self.axis);
        let of_blocks = match self.spec.terms.node(predicate) {
            Node::Input { index, .. } => {
                index.iter().filter(along).all(|at| matches!(self.value(*at), Value::Block(..)))
            }
            _ => false,
        };
        match (of_blocks, self.visited) {
            (true, _) => TABLE_SHARE,
            (false, true) => 1.0,
            (false, false) => TRUE_SHARE,
        }
    }

    /// The union over the reduced axis, each member counted as if apart.
    fn any(&self, axis: AxisId, domain: TermId, body: TermId) -> RowSet {
        let n = self.spec.eval_extent(self.spec.axis(axis).extent, self.extents).unwrap_or(1).clamp(1, 1 << 20);
        let mut at = self.at.clone();
        at.insert(axis, 0);
        let inner = Row { at, ..*self };
        let one = inner.set(body).meet(&inner.set(domain)).count() / self.len as f64;
        RowSet::share(self.len, one * n as f64)
    }

    fn comparison(&self, op: BinaryOp, x: TermId, y: TermId) -> RowSet {
        match op {
            BinaryOp::Le => self.at_most(x, y, 0),
            BinaryOp::Lt => self.at_most(x, y, -1),
            BinaryOp::Eq => self.equal(x, y),
            _ => self.equal(x, y).complement(),
        }
    }

    /// `x - y <= slack`
    fn at_most(&self, x: TermId, y: TermId, slack: i64) -> RowSet {
        if self.spec.terms.ty(x) != Type::Int || self.spec.terms.ty(y) != Type::Int {
            // Numbers of data lie scattered.
            return RowSet::share(self.len, if self.visited { 1.0 } else { TRUE_SHARE });
        }
        self.bounded(x, y, slack)
    }

    fn bounded(&self, x: TermId, y: TermId, slack: i64) -> RowSet {
        let terms = &self.spec.terms;
        // abs on the left is an intersection, min and max likewise.
        match terms.node(x) {
            Node::Unary(UnaryOp::Abs, inner) => {
                if let Value::Fixed(bound) = self.value(y) {
                    return self.within(&self.value(*inner), bound + slack);
                }
            }
            Node::Nary(NaryOp::Max, xs) => {
                return xs.iter().fold(RowSet::full(self.len), |s, x| s.meet(&self.bounded(*x, y, slack)));
            }
            Node::Nary(NaryOp::Min, xs) => {
                return xs.iter().fold(RowSet::empty(self.len), |s, x| s.join(&self.bounded(*x, y, slack)));
            }
            _ => {}
        }
        self.below(&sum(&self.value(x), &negate(&self.value(y))), slack)
    }

    /// Where `value <= bound`.
    fn below(&self, value: &Value, bound: i64) -> RowSet {
        match *value {
            Value::Fixed(v) => RowSet::constant(self.len, v <= bound),
            Value::Shifted(1, c) => RowSet::interval(self.len, 0, bound.saturating_sub(c)),
            Value::Shifted(_, c) => RowSet::interval(self.len, c.saturating_sub(bound), self.len - 1),
            Value::Block(c, size, offset, 1) => {
                let last = (bound - offset + 1).saturating_mul(size).saturating_sub(c + 1);
                RowSet::interval(self.len, 0, last)
            }
            Value::Block(c, size, offset, _) => {
                // -(floor) - offset <= bound, so the block is at least -bound - offset.
                let first = (-bound - offset).saturating_mul(size).saturating_sub(c);
                RowSet::interval(self.len, first, self.len - 1)
            }
            Value::Residue(c, m, offset, sign, step) => self.residues(c, m, step, |r| sign * (r + offset) <= bound),
            Value::Unknown => RowSet::share(self.len, 0.5),
        }
    }

    /// Where `abs(value) <= bound`.
    fn within(&self, value: &Value, bound: i64) -> RowSet {
        match *value {
            Value::Residue(c, m, offset, _, step) => self.residues(c, m, step, |r| (r + offset).abs() <= bound),
            _ => self.below(value, bound).meet(&self.below(&negate(value), bound)),
        }
    }

    /// The union of the residue classes of `step * j + c` modulo `m` that pass.
    fn residues(&self, c: i64, m: i64, step: i64, pass: impl Fn(i64) -> bool) -> RowSet {
        let passing: Vec<i64> = (0..m.min(4096)).filter(|r| pass(*r)).collect();
        if passing.len() > 32 {
            return RowSet::share(self.len, passing.len() as f64 / m.min(4096) as f64);
        }
        RowSet::residue_classes(self.len, m, passing.into_iter().map(|r| step * (r - c)))
    }

    fn equal(&self, x: TermId, y: TermId) -> RowSet {
        let (a, b) = (self.value(x), self.value(y));
        match (&a, &b) {
            (Value::Unknown, _) | (_, Value::Unknown) => self.equal_keys(x, y, &a, &b),
            _ => {
                let gap = sum(&a, &negate(&b));
                match gap {
                    Value::Unknown => RowSet::share(self.len, 1.0 / self.len as f64),
                    _ => self.within(&gap, 0),
                }
            }
        }
    }

    /// Equality with a value that data decides.
    fn equal_keys(&self, x: TermId, y: TermId, a: &Value, b: &Value) -> RowSet {
        if let (Some(i), Some(run)) = (self.row_of(x).or(self.row_of(y)), self.run(x).or(self.run(y))) {
            let start = i.div_euclid(run) * run;
            return RowSet::interval(self.len, start, start + run - 1);
        }
        // A data value picks one position, one block or one residue class.
        let share = match (a, b) {
            (Value::Shifted(..), _) | (_, Value::Shifted(..)) => 1.0 / self.len as f64,
            (Value::Block(_, size, ..), _) | (_, Value::Block(_, size, ..)) => *size as f64 / self.len as f64,
            (Value::Residue(_, m, ..), _) | (_, Value::Residue(_, m, ..)) if !self.visited => 1.0 / *m as f64,
            _ if !self.visited || !self.reads_data(x) && !self.reads_data(y) => {
                self.bucket_share(x).min(self.bucket_share(y))
            }
            _ if self.is_sorted(x) || self.is_sorted(y) => {
                let run = self.bucket_share(x).min(self.bucket_share(y));
                (run + TILE_EDGES / self.len as f64).min(1.0)
            }
            _ => 1.0,
        };
        RowSet::share(self.len, share)
    }

    fn reads_data(&self, term: TermId) -> bool {
        reads_input(&self.spec.terms, term)
    }

    fn is_sorted(&self, term: TermId) -> bool {
        self.spec.terms.sorted_key(term).is_some_and(|(axis, _)| axis == self.axis)
    }

    /// A guess at the share of positions that have one value of a key.
    fn bucket_share(&self, key: TermId) -> f64 {
        match self.spec.terms.node(key) {
            Node::Reduce { op: ReduceOp::ArgMax | ReduceOp::ArgMin, axis, .. } => {
                let n = self.spec.eval_extent(self.spec.axis(*axis).extent, self.extents).unwrap_or(1);
                1.0 / n.max(1) as f64
            }
            Node::Select(_, x, y) if [x, y].iter().all(|t| matches!(self.spec.terms.node(**t), Node::Int(_))) => {
                TRUE_SHARE
            }
            Node::At { body, .. } => self.bucket_share(*body),
            Node::Unary(UnaryOp::ToInt | UnaryOp::Neg | UnaryOp::Abs, x) => self.bucket_share(*x),
            Node::Binary(BinaryOp::Mod, _, m) => match self.value(*m) {
                Value::Fixed(m) if m > 0 => 1.0 / m as f64,
                _ => TABLE_SHARE,
            },
            Node::Nary(NaryOp::Add, xs) => xs.iter().map(|x| self.bucket_share(*x)).fold(1.0, f64::min),
            Node::Int(_) | Node::Extent(_) => 1.0,
            _ => TABLE_SHARE,
        }
    }

    /// The declared mean run length of the table that a term reads.
    fn run(&self, term: TermId) -> Option<i64> {
        let Node::Input { input, .. } = self.spec.terms.node(term) else { return None };
        let runs = self.spec.input(*input).runs?;
        self.spec.eval_extent(runs, self.extents).filter(|n| *n > 0)
    }

    /// The fixed position at which a table is read.
    fn row_of(&self, term: TermId) -> Option<i64> {
        let Node::Input { index, .. } = self.spec.terms.node(term) else { return None };
        match self.value(*index.last()?) {
            Value::Fixed(i) => Some(i),
            _ => None,
        }
    }

    fn value(&self, term: TermId) -> Value {
        let terms = &self.spec.terms;
        match terms.node(term) {
            Node::Int(v) => Value::Fixed(*v),
            Node::Bool(b) => Value::Fixed(i64::from(*b)),
            Node::Extent(s) => self.extents.get(*s).map_or(Value::Unknown, Value::Fixed),
            Node::Position(a) if *a == self.axis => Value::Shifted(1, 0),
            Node::Position(a) => self.at.get(a).map_or(Value::Unknown, |v| Value::Fixed(*v)),
            Node::Unary(UnaryOp::Neg, x) => negate(&self.value(*x)),
            Node::Unary(UnaryOp::ToInt, x) if terms.ty(*x) == Type::Int => self.value(*x),
            Node::Unary(UnaryOp::Abs, x) => match self.value(*x) {
                Value::Fixed(v) => v.checked_abs().map_or(Value::Unknown, Value::Fixed),
                _ => Value::Unknown,
            },
            Node::Binary(op, x, y) => binary(*op, &self.value(*x), &self.value(*y)),
            Node::Nary(NaryOp::Add, xs) => xs.iter().map(|x| self.value(*x)).fold(Value::Fixed(0), |a, b| sum(&a, &b)),
            Node::Nary(op, xs) => xs
                .iter()
                .map(|x| self.value(*x))
                .reduce(|a, b| match (&a, &b) {
                    (Value::Fixed(x), Value::Fixed(y)) => op.eval_int(*x, *y).map_or(Value::Unknown, Value::Fixed),
                    (Value::Fixed(-1), other) | (other, Value::Fixed(-1)) if *op == NaryOp::Mul => negate(other),
                    (Value::Fixed(1), other) | (other, Value::Fixed(1)) if *op == NaryOp::Mul => other.clone(),
                    _ => Value::Unknown,
                })
                .unwrap_or(Value::Unknown),
            _ => Value::Unknown,
        }
    }
}

fn binary(op: BinaryOp, x: &Value, y: &Value) -> Value {
    match (op, x, y) {
        (_, Value::Fixed(a), Value::Fixed(b)) => op.eval_int(*a, *b).map_or(Value::Unknown, Value::Fixed),
        (BinaryOp::FloorDiv, Value::Shifted(1, c), Value::Fixed(size)) if *size > 0 => Value::Block(*c, *size, 0, 1),
        (BinaryOp::Mod, Value::Shifted(1, c), Value::Fixed(m)) if *m > 0 => Value::Residue(*c, *m, 0, 1, 1),
        (BinaryOp::Mod, Value::Shifted(_, c), Value::Fixed(m)) if *m > 0 => Value::Residue(*c, *m, 0, 1, -1),
        _ => Value::Unknown,
    }
}

fn negate(x: &Value) -> Value {
    match *x {
        Value::Fixed(v) => v.checked_neg().map_or(Value::Unknown, Value::Fixed),
        Value::Shifted(sign, c) => Value::Shifted(-sign, -c),
        Value::Block(c, size, offset, sign) => Value::Block(c, size, offset, -sign),
        Value::Residue(c, m, offset, sign, step) => Value::Residue(c, m, offset, -sign, step),
        Value::Unknown => Value::Unknown,
    }
}

fn sum(x: &Value, y: &Value) -> Value {
    match (x, y) {
        (Value::Fixed(a), Value::Fixed(b)) => a.checked_add(*b).map_or(Value::Unknown, Value::Fixed),
        (Value::Fixed(v), Value::Shifted(sign, c)) | (Value::Shifted(sign, c), Value::Fixed(v)) => {
            Value::Shifted(*sign, c.saturating_add(*v))
        }
        (Value::Fixed(v), Value::Block(c, s, o, sign)) | (Value::Block(c, s, o, sign), Value::Fixed(v)) => {
            Value::Block(*c, *s, o.saturating_add(sign * v), *sign)
        }
        (Value::Fixed(v), Value::Residue(c, m, o, sign, step))
        | (Value::Residue(c, m, o, sign, step), Value::Fixed(v)) => {
            Value::Residue(*c, *m, o.saturating_add(sign * v), *sign, *step)
        }
        _ => Value::Unknown,
    }
}
