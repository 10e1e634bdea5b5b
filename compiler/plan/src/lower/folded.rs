//! Rows that stand for positions of several output axes.
//!
//! Where few queries meet many keys, time is that of reading keys and values.
//! Whatever reads the same ones belongs into one tile: queries of all the
//! heads of a group (the keys see a head through a quotient, or not at all),
//! of a batch over a common cache. Such axes are folded into one of rows: the
//! term is rewritten over the new axis, each old position a quotient and a
//! remainder of its position. It follows from what the streamed operands are
//! free of, and from extents.

use std::collections::{BTreeMap, BTreeSet};

use attnc_algebra::{Axis, AxisId, AxisSet, BinaryOp, Input, InputId, NaryOp, Node, ReduceOp, TermId, Type};

use crate::error::PlanError;
use crate::graph::{PlanBuffer, PlanBufferId};
use crate::planner::quotients::names_axis;
use crate::planner::{Planner, ROWS};

use super::shape::{FEW, StageShape};

/// Keys from which on it matters how often they are read.
const MANY_KEYS: i64 = 2 * FEW;

/// Positions of an axis that may share a traversal though each has a restriction of its own.
const NEAR: i64 = 4;

/// The axis that others are folded into.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Folded {
    /// Their positions as terms of the axis of the rows, and of that of the groups.
    pub places: BTreeMap<AxisId, TermId>,
    /// Rows of a group, where groups may differ.
    pub count: Option<TermId>,
    /// The axis of the rows, and that of the groups.
    pub axes: Vec<AxisId>,
    /// Log-sum-exps of the stage's scores over the new axes, with what they were over the old ones.
    pub lse: BTreeMap<TermId, TermId>,
}

/// An axis that streamed operands see through a quotient, `(position * times) div by`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Quotient {
    axis: AxisId,
    term: TermId,
    times: Option<TermId>,
    by: TermId,
}

/// What is folded.
struct Choice {
    quotient: Option<Quotient>,
    /// Axes of which every position becomes a row, outermost first.
    whole: Vec<AxisId>,
    /// Key axes.
    keys: BTreeSet<AxisId>,
}

/// What stands for what in the rewritten term.
struct Places {
    axes: BTreeMap<AxisId, TermId>,
    quotient: Option<(TermId, TermId)>,
    keys: BTreeSet<AxisId>,
    done: BTreeMap<TermId, TermId>,
}

impl Planner<'_> {
    /// The term over folded rows, and the shape of its stage; `None` if nothing is gained.
    pub fn folded(
        &mut self,
        term: TermId,
        axes: &[AxisId],
        shape: &StageShape,
    ) -> Result<Option<(TermId, StageShape)>, PlanError> {
        let Some(choice) = self.choose_folded(term, axes, shape) else { return Ok(None) };
        let (rows, groups, mut folded) = self.fold(&choice);
        let attends = self.outer_attends(term).unwrap_or_default();
        let quotient = choice.quotient.zip(groups).map(|(quotient, groups)| {
            let group = self.terms.add(Node::Position(groups));
            (quotient.term, group)
        });
        let keys = choice.keys.clone();
        let mut places = Places { axes: folded.places.clone(), quotient, keys, done: BTreeMap::new() };
        let term = self.placed(term, &mut places)?;
        for attend in attends {
            let Node::Attend { axis, domain, score, .. } = *self.terms.node(attend) else { continue };
            let old = self.terms.reduce(ReduceOp::LogSumExp, axis, domain, score);
            if self.is_wanted_by_the_way(old) {
                let new = self.placed_operands(old, &mut places)?;
                folded.lse.insert(new, old);
            }
        }
        let gone = |a: &AxisId| folded.places.contains_key(a);
        let mut grid: Vec<AxisId> = axes.iter().copied().filter(|a| !gone(a) && Some(*a) != shape.cols).collect();
        grid.extend(groups);
        let shape = StageShape { rows: Some(rows), cols: shape.cols, grid, sequential: false, folded: Some(folded) };
        Ok(Some((term, shape)))
    }

    fn choose_folded(&mut self, term: TermId, axes: &[AxisId], shape: &StageShape) -> Option<Choice> {
        let rows = shape.rows.map_or(1, |a| self.hint_extent(a));
        if shape.sequential || rows >= ROWS || self.terms.ty(term) != Type::Real {
            return None;
        }
        let attends = self.outer_attends(term)?;
        let (mut streamed, mut domains, mut keys) = (Vec::new(), Vec::new(), BTreeSet::new());
        for attend in attends {
            let Node::Attend { axis, domain, score, value } = *self.terms.node(attend) else { return None };
            if self.hint_extent(axis) < MANY_KEYS {
                return None;
            }
            keys.insert(axis);
            domains.push(domain);
            streamed.push(value);
            streamed.extend(self.streamed_factors(score, axis)?);
        }
        let (mut whole, mut quotient) = (Vec::new(), None);
        for axis in axes.iter().copied().filter(|a| Some(*a) != shape.cols) {
            let there = self.terms.free(term).contains(axis) && self.is_simple_extent(axis);
            let rows = Some(axis) == shape.rows || self.hint_extent(axis) <= NEAR;
            let suits = there && domains.iter().all(|t| self.may_fold_in_domain(*t, axis, rows));
            let mut through = BTreeSet::new();
            if !suits || !streamed.iter().all(|t| self.sees_through_quotients(*t, axis, &mut through)) {
                // Rows that cannot be folded have reasons to be rows.
                if Some(axis) == shape.rows {
                    return None;
                }
                continue;
            }
            match through.len() {
                // A single position has nothing to share.
                0 if Some(axis) == shape.rows || self.hint_extent(axis) > 1 => whole.push(axis),
                1 if quotient.is_none() && Some(axis) != shape.rows => {
                    quotient = through.first().and_then(|term| self.quotient_of(*term, axis));
                }
                _ if Some(axis) == shape.rows => return None,
                _ => {}
            }
        }
        let shared = whole.iter().filter(|a| Some(**a) != shape.rows).map(|a| self.hint_extent(*a)).product::<i64>();
        let group = quotient.map_or(1, |q| self.group_at_hint(&q));
        let shared = shared.saturating_mul(group);
        // Beyond a full tile of rows there is nothing more to share.
        let fits = rows < FEW || rows.saturating_mul(shared) <= ROWS;
        (shared > 1 && fits).then_some(Choice { quotient, whole, keys })
    }

    /// The attend nodes of a term that is pointwise outside of them.
    fn outer_attends(&self, term: TermId) -> Option<Vec<TermId>> {
        let mut found = Vec::new();
        let mut open = vec![term];
        while let Some(t) = open.pop() {
            match self.terms.node(t) {
                Node::Attend { .. } => found.push(t),
                node if node.runs_over_axis() => return None,
                node => open.extend(node.operands()),
            }
        }
        (!found.is_empty()).then_some(found)
    }

    /// The factors of a score's sums that run over the keys; `None` if something else there does.
    fn streamed_factors(&self, score: TermId, axis: AxisId) -> Option<Vec<TermId>> {
        let mut streamed = Vec::new();
        let mut open = vec![score];
        while let Some(t) = open.pop() {
            let node = self.terms.node(t);
            match node {
                node if node.runs_over_axis() && !self.terms.free(t).contains(axis) => {}
                Node::Reduce { op: ReduceOp::Sum, body, domain, .. }
                    if *self.terms.node(*domain) == Node::Bool(true) =>
                {
                    let factors = self.factors(*body);
                    streamed.extend(factors.iter().filter(|f| self.terms.free(**f).contains(axis)));
                }
                node if node.runs_over_axis() => return None,
                node => open.extend(node.operands()),
            }
        }
        (!streamed.is_empty()).then_some(streamed)
    }

    /// Whether indices along the axis can be held inside it.
    fn is_simple_extent(&self, axis: AxisId) -> bool {
        match self.terms.node(self.spec.axis(axis).extent) {
            Node::Extent(_) => true,
            Node::Int(v) => *v >= 1,
            _ => false,
        }
    }

    /// Whether what a tile visits stays as sharp: rows, or a few positions of another axis, are compared, nothing else is
    /// done with them; other axes are not there.
    fn may_fold_in_domain(&self, domain: TermId, axis: AxisId, rows: bool) -> bool {
        let has = |t: TermId| self.terms.free(t).contains(axis);
        if !rows {
            return !has(domain);
        }
        !self.find(domain, &mut |t, node| {
            let steps = matches!(node, Node::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, ..));
            has(t) && (steps || node.runs_over_axis())
        })
    }

    /// Whether the term depends on the axis through quotients alone, which are added to `through`.
    fn sees_through_quotients(&self, term: TermId, axis: AxisId, through: &mut BTreeSet<TermId>) -> bool {
        if !self.terms.free(term).contains(axis) {
            return true;
        }
        if self.quotient_of(term, axis).is_some() {
            through.insert(term);
            return true;
        }
        let node = self.terms.node(term);
        !names_axis(node, axis) && node.operands().iter().all(|t| self.sees_through_quotients(*t, axis, through))
    }

    /// `(position * times) div by` taken apart.
    fn quotient_of(&self, term: TermId, axis: AxisId) -> Option<Quotient> {
        let Node::Binary(BinaryOp::FloorDiv, x, by) = *self.terms.node(term) else { return None };
        let constant = |t: TermId| {
            self.terms.free(t).is_empty() && self.is_natural(t) && self.value_at_hint(t).is_some_and(|v| v > 0)
        };
        let times = match self.terms.node(x) {
            Node::Position(a) if *a == axis => None,
            Node::Nary(NaryOp::Mul, xs) => match xs[..] {
                [a, b] if *self.terms.node(a) == Node::Position(axis) => Some(b),
                [a, b] if *self.terms.node(b) == Node::Position(axis) => Some(a),
                _ => return None,
            },
            _ => return None,
        };
        (constant(by) && times.is_none_or(constant)).then_some(Quotient { axis, term, times, by })
    }

    /// Most positions of a group at the hint.
    fn group_at_hint(&self, quotient: &Quotient) -> i64 {
        let value = |t: TermId| self.value_at_hint(t).unwrap_or(1).max(1);
        let (by, times) = (value(quotient.by), quotient.times.map_or(1, value));
        (by + times - 1).div_euclid(times).min(self.hint_extent(quotient.axis))
    }

    /// Whether an integer is by its form not below 0, at all extents.
    pub(super) fn is_natural(&self, term: TermId) -> bool {
        match self.terms.node(term) {
            Node::Int(v) => *v >= 0,
            Node::Extent(_) | Node::Position(_) => true,
            Node::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, x, y) => self.is_natural(*x) && self.is_natural(*y),
            Node::Nary(NaryOp::Add | NaryOp::Mul | NaryOp::Min | NaryOp::Max, xs) => {
                xs.iter().all(|x| self.is_natural(*x))
            }
            _ => false,
        }
    }

    /// The value of an integer term of extents and constants at the hint.
    fn value_at_hint(&self, term: TermId) -> Option<i64> {
        match self.terms.node(term) {
            Node::Int(v) => Some(*v),
            Node::Extent(symbol) => self.hint_symbol(*symbol),
            Node::Binary(op @ (BinaryOp::FloorDiv | BinaryOp::Mod), x, y) => {
                op.eval_int(self.value_at_hint(*x)?, self.value_at_hint(*y)?)
            }
            Node::Nary(op @ (NaryOp::Add | NaryOp::Mul | NaryOp::Min | NaryOp::Max), xs) => {
                let mut values = xs.iter().map(|x| self.value_at_hint(*x));
                let first = values.next()??;
                values.try_fold(first, |acc, x| op.eval_int(acc, x?))
            }
            _ => None,
        }
    }
}

/// The new axes.
impl Planner<'_> {
    /// The axis of the rows, that of the groups, and where positions of the old ones lie.
    fn fold(&mut self, choice: &Choice) -> (AxisId, Option<AxisId>, Folded) {
        let whole: Vec<TermId> = choice.whole.iter().map(|a| self.spec.axis(*a).extent).collect();
        let inner = self.times(whole.clone());
        let (rows, groups, mut folded) = match &choice.quotient {
            None => (self.new_axis("rows", inner), None, Folded::default()),
            Some(quotient) => {
                let (rows, groups, folded) = self.fold_groups(quotient, inner);
                (rows, Some(groups), folded)
            }
        };
        let row = self.terms.add(Node::Position(rows));
        for (at, axis) in choice.whole.iter().enumerate() {
            let below = self.times(whole[at + 1..].to_vec());
            let mut place = self.quotient(row, below);
            if at > 0 || choice.quotient.is_some() {
                place = self.terms.binary(BinaryOp::Mod, place, whole[at]);
            }
            folded.places.insert(*axis, place);
        }
        folded.axes = [rows].into_iter().chain(groups).collect();
        (rows, groups, folded)
    }

    /// As [`Self::fold`], of the axis with the quotient; each of its positions has `inner` rows.
    fn fold_groups(&mut self, quotient: &Quotient, inner: TermId) -> (AxisId, AxisId, Folded) {
        let Quotient { axis, times, by, .. } = *quotient;
        let one = self.terms.int(1);
        let minus = self.terms.int(-1);
        let extent = self.spec.axis(axis).extent;
        let times = times.unwrap_or(one);
        // Groups are numbered by the quotient: as many as that of the last position, and one.
        let last = self.terms.nary(NaryOp::Add, vec![extent, minus]);
        let last = self.times(vec![last, times]);
        let last = self.quotient(last, by);
        let count = self.terms.nary(NaryOp::Add, vec![last, one]);
        let groups = self.new_axis("groups", count);
        let most = self.rounded_up(by, times);
        let most = self.times(vec![most, inner]);
        let rows = self.new_axis("rows", most);
        let (row, group) = (self.terms.add(Node::Position(rows)), self.terms.add(Node::Position(groups)));
        let scaled = self.times(vec![group, by]);
        let start = self.rounded_up(scaled, times);
        let next = self.terms.nary(NaryOp::Add, vec![group, one]);
        let scaled = self.times(vec![next, by]);
        let end = self.rounded_up(scaled, times);
        let end = self.terms.nary(NaryOp::Min, vec![end, extent]);
        let start_below = self.times(vec![start, minus]);
        let own = self.terms.nary(NaryOp::Add, vec![end, start_below]);
        let own = self.times(vec![own, inner]);
        let local = self.quotient(row, inner);
        let place = self.terms.nary(NaryOp::Add, vec![start, local]);
        let folded = Folded { places: BTreeMap::from([(axis, place)]), count: Some(own), ..Folded::default() };
        (rows, groups, folded)
    }

    /// `ceil(x / y)`
    fn rounded_up(&mut self, x: TermId, y: TermId) -> TermId {
        if *self.terms.node(y) == Node::Int(1) {
            return x;
        }
        let minus = self.terms.int(-1);
        let padded = self.terms.nary(NaryOp::Add, vec![x, y, minus]);
        self.quotient(padded, y)
    }

    fn quotient(&mut self, x: TermId, y: TermId) -> TermId {
        if *self.terms.node(y) == Node::Int(1) { x } else { self.terms.binary(BinaryOp::FloorDiv, x, y) }
    }

    /// The product of integers.
    fn times(&mut self, xs: Vec<TermId>) -> TermId {
        let factors: Vec<TermId> = xs.into_iter().filter(|x| *self.terms.node(*x) != Node::Int(1)).collect();
        match factors[..] {
            [] => self.terms.int(1),
            [one] => one,
            _ => self.terms.nary(NaryOp::Mul, factors),
        }
    }

    /// A new axis.
    fn add_axis(&mut self, name: &str, extent: TermId, at_hint: i64) -> AxisId {
        let axes = &mut self.spec.to_mut().axes;
        axes.push(Axis { name: name.to_owned(), extent });
        let axis = AxisId(axes.len() as u32 - 1);
        self.extents.push(at_hint);
        axis
    }

    /// A buffer over the axes as an input of terms.
    fn input_of_buffer(&mut self, buffer: PlanBufferId, axes: &[AxisId]) -> InputId {
        let PlanBuffer { name, dtype, .. } = self.buffer(buffer).clone();
        self.terms.declare_input(dtype.ty());
        let inputs = &mut self.spec.to_mut().inputs;
        inputs.push(Input { name, dtype, axes: axes.to_vec(), range: None, runs: None, scale: None });
        let input = InputId(inputs.len() as u32 - 1);
        self.inputs.push(buffer);
        input
    }

    /// An axis of the given extent, over extents and constants.
    pub fn new_axis(&mut self, name: &str, extent: TermId) -> AxisId {
        let at_hint = self.value_at_hint(extent).unwrap_or(1).max(1);
        self.add_axis(name, extent, at_hint)
    }
}

/// The rewritten term.
impl Planner<'_> {
    fn placed(&mut self, term: TermId, places: &mut Places) -> Result<TermId, PlanError> {
        if let Some(known) = places.done.get(&term) {
            return Ok(*known);
        }
        let moves = |free: &AxisSet| places.axes.keys().any(|a| free.contains(*a));
        let node = self.terms.node(term).clone();
        let new = match node {
            _ if !moves(self.terms.free(term)) => term,
            _ if places.quotient.is_some_and(|(quotient, _)| quotient == term) => {
                places.quotient.map_or(term, |(_, group)| group)
            }
            Node::Position(axis) => places.axes.get(&axis).copied().unwrap_or(term),
            Node::Attend { .. } => self.placed_operands(term, places)?,
            // What no key takes part in is computed as it was, and read where rows lie.
            node if node.runs_over_axis() && !places.keys.iter().any(|a| self.terms.free(term).contains(*a)) => {
                self.read_at(term, places)?
            }
            _ => self.placed_operands(term, places)?,
        };
        places.done.insert(term, new);
        Ok(new)
    }

    fn placed_operands(&mut self, term: TermId, places: &mut Places) -> Result<TermId, PlanError> {
        let node = self.terms.node(term).clone();
        let mut new = BTreeMap::new();
        for operand in node.operands() {
            new.insert(operand, self.placed(operand, places)?);
        }
        Ok(self.terms.add(node.map_operands(|t| new[&t])))
    }

    /// A reduction on the old axes in a buffer, read at the places of the new ones.
    fn read_at(&mut self, term: TermId, places: &mut Places) -> Result<TermId, PlanError> {
        let axes: Vec<AxisId> = self.terms.free(term).iter().collect();
        let exact = self.is_data_free(term);
        let (buffer, axes) = self.materialise_plain(term, &axes, exact)?;
        let input = self.input_of_buffer(buffer, &axes);
        let mut index = Vec::new();
        for axis in axes {
            let position = self.terms.add(Node::Position(axis));
            index.push(self.placed(position, places)?);
        }
        Ok(self.terms.add(Node::Input { input, index }))
    }
}
