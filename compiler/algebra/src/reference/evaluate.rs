//! Evaluates stored terms on demand and keeps their tables.
//!
//! A table holds a term over its axes that are not fixed; fixing an axis and
//! moving along it forgets the tables made for its last position. A sub-term
//! too large to store is made smaller by fixing an axis of its user: first
//! that of the reduction, which then streams, else one of the result.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::axis::{AxisId, AxisSet};
use crate::tensor::row_major_strides;
use crate::term::{Node, TermId};

use super::compile::compile;
use super::context::Context;
use super::failure::Failures;
use super::plan::{Kernel, Table};
use super::run::{identity_table, run};

/// How a term is computed with given axes fixed.
#[derive(Clone)]
enum Plan {
    /// By one kernel over tables of its needs.
    Whole(Rc<Kernel>),
    /// Position by position of the reduction's axis.
    Streamed(Rc<Kernel>, AxisId),
    /// Position by position of an axis of the result.
    Split(AxisId),
    /// The order of a key along an axis.
    Order(AxisId, TermId),
    /// A term read along an axis at an index: axis, index, term.
    At(AxisId, TermId, TermId),
}

type Key = (TermId, AxisSet);

/// The tables and positions of an evaluation under way.
pub(super) struct Evaluator<'a> {
    pub context: Context<'a>,
    pub failures: Failures,
    /// Positions of the fixed axes, by axis.
    pos: Vec<usize>,
    plans: BTreeMap<Key, Plan>,
    tables: BTreeMap<Key, Rc<Table>>,
}

impl<'a> Evaluator<'a> {
    pub fn new(context: Context<'a>, failures: Failures) -> Self {
        let pos = vec![0; context.axis_extents.len()];
        Self { context, failures, pos, plans: BTreeMap::new(), tables: BTreeMap::new() }
    }

    /// Moves a fixed axis, forgetting what was computed for another position of it.
    pub fn fix(&mut self, axis: AxisId, position: usize) {
        let at = &mut self.pos[axis.0 as usize];
        if *at != position {
            *at = position;
            self.forget(axis);
        }
    }

    /// The position of a fixed axis.
    pub fn position(&self, axis: AxisId) -> usize {
        self.pos[axis.0 as usize]
    }

    fn forget(&mut self, axis: AxisId) {
        self.tables.retain(|(_, fixed), _| !fixed.contains(axis));
    }

    /// The table of `term` with `fixed` axes at their positions, and the axes it is over.
    pub fn evaluate(&mut self, term: TermId, fixed: &AxisSet) -> (Rc<Table>, Vec<AxisId>) {
        let fixed = self.context.fixed_for(term, fixed);
        let axes: Vec<AxisId> = self.context.terms.free(term).difference(&fixed).iter().collect();
        let key = (term, fixed);
        if let Some(table) = self.tables.get(&key) {
            return (table.clone(), axes);
        }
        let plan = match self.plans.get(&key) {
            Some(plan) => plan.clone(),
            None => {
                let plan = self.plan(term, &key.1);
                self.plans.insert(key.clone(), plan.clone());
                plan
            }
        };
        let table = Rc::new(match plan {
            Plan::Whole(kernel) => self.whole(&kernel, &key.1),
            Plan::Streamed(kernel, axis) => self.streamed(&kernel, axis, &key.1),
            Plan::Split(axis) => self.split(term, axis, &key.1),
            Plan::Order(axis, by) => self.order(axis, by, &axes, &key.1),
            Plan::At(axis, index, body) => self.gather((axis, index, body), &axes, &key.1),
        });
        self.tables.insert(key, table.clone());
        (table, axes)
    }

    fn plan(&self, term: TermId, fixed: &AxisSet) -> Plan {
        match *self.context.terms.node(term) {
            Node::Order { axis, key } => return Plan::Order(axis, key),
            Node::At { axis, index, body } => return Plan::At(axis, index, body),
            _ => {}
        }
        let whole = compile(&self.context, term, fixed, false);
        let Some(large) = self.large_need(&whole, fixed) else {
            return Plan::Whole(Rc::new(whole));
        };
        if let Some(reduction) = self.context.reduction(term)
            && reduction.decay.is_none()
        {
            let inner = with(fixed, reduction.axis);
            let streamed = compile(&self.context, term, fixed, true);
            if self.large_need(&streamed, &inner).is_none() {
                return Plan::Streamed(Rc::new(streamed), reduction.axis);
            }
        }
        let free = self.context.terms.free(term);
        let split = self.context.terms.free(large).iter().find(|a| free.contains(*a) && !fixed.contains(*a));
        split.map_or_else(|| Plan::Whole(Rc::new(whole)), Plan::Split)
    }

    fn large_need(&self, kernel: &Kernel, fixed: &AxisSet) -> Option<TermId> {
        kernel.needs.iter().copied().find(|need| {
            let fixed = self.context.fixed_for(*need, fixed);
            self.context.volume(*need, &fixed) > self.context.stored_limit
        })
    }

    fn whole(&mut self, kernel: &Kernel, fixed: &AxisSet) -> Table {
        let mut out = identity_table(kernel, kernel.space.iter().map(|(_, extent)| extent).product());
        self.run(kernel, fixed, &mut out);
        out
    }

    fn streamed(&mut self, kernel: &Kernel, axis: AxisId, fixed: &AxisSet) -> Table {
        let mut out = identity_table(kernel, kernel.space.iter().map(|(_, extent)| extent).product());
        let inner = with(fixed, axis);
        let before = self.pos[axis.0 as usize];
        self.forget(axis);
        for position in 0..self.context.extent(axis) {
            self.fix(axis, position);
            self.run(kernel, &inner, &mut out);
        }
        self.pos[axis.0 as usize] = before;
        self.forget(axis);
        out
    }

    fn split(&mut self, term: TermId, axis: AxisId, fixed: &AxisSet) -> Table {
        let axes: Vec<AxisId> = self.context.terms.free(term).difference(fixed).iter().collect();
        let shape: Vec<usize> = axes.iter().map(|a| self.context.extent(*a)).collect();
        let volume = shape.iter().product();
        let at = axes.iter().position(|a| *a == axis).unwrap_or_default();
        let inner_volume = row_major_strides(&shape)[at];
        let outer_volume: usize = shape[..at].iter().product();
        let extent = shape[at];
        let inner = with(fixed, axis);
        let before = self.pos[axis.0 as usize];
        self.forget(axis);
        let mut out = Table { real: Vec::new(), int: Vec::new(), failed: Vec::new() };
        for position in 0..extent {
            self.fix(axis, position);
            let (part, part_axes) = self.evaluate(term, &inner);
            let part = self.at_fixed(part, &part_axes, &inner);
            for outer in 0..outer_volume {
                let from = outer * inner_volume..(outer + 1) * inner_volume;
                let to = (outer * extent + position) * inner_volume;
                copy(&mut out.real, &part.real, from.clone(), to, volume);
                copy(&mut out.int, &part.int, from.clone(), to, volume);
                copy(&mut out.failed, &part.failed, from, to, volume);
            }
        }
        self.pos[axis.0 as usize] = before;
        self.forget(axis);
        out
    }

    /// The part of a table at the fixed positions, where it is over fixed axes, too.
    pub(super) fn at_fixed(&self, table: Rc<Table>, axes: &[AxisId], fixed: &AxisSet) -> Rc<Table> {
        let Some(at) = axes.iter().position(|a| fixed.contains(*a)) else { return table };
        let shape: Vec<usize> = axes.iter().map(|a| self.context.extent(*a)).collect();
        let inner = row_major_strides(&shape)[at];
        let outer: usize = shape[..at].iter().product();
        let position = self.pos[axes[at].0 as usize];
        let first = |o: usize| (o * shape[at] + position) * inner;
        let part = Table {
            real: take(&table.real, outer, inner, first),
            int: take(&table.int, outer, inner, first),
            failed: take(&table.failed, outer, inner, first),
        };
        let rest: Vec<AxisId> = axes.iter().copied().filter(|a| *a != axes[at]).collect();
        self.at_fixed(Rc::new(part), &rest, fixed)
    }

    fn run(&mut self, kernel: &Kernel, fixed: &AxisSet, out: &mut Table) {
        let tables: Vec<Rc<Table>> = kernel.needs.iter().map(|need| self.evaluate(*need, fixed).0).collect();
        run(&self.context, kernel, &tables, &mut self.pos, &mut self.failures, out);
    }
}

fn with(axes: &AxisSet, axis: AxisId) -> AxisSet {
    let mut out = axes.clone();
    out.insert(axis);
    out
}

/// `count` pieces of `length` elements, the n-th from `first(n)` on; nothing of nothing.
fn take<T: Copy>(from: &[T], count: usize, length: usize, first: impl Fn(usize) -> usize) -> Vec<T> {
    let pieces = (0..count).filter(|_| !from.is_empty()).map(first);
    pieces.flat_map(|at| from[at..at + length].iter().copied()).collect()
}

/// Copies a part into a table of `volume` elements, which is made when the first part comes.
fn copy<T: Copy + Default>(to: &mut Vec<T>, part: &[T], from: std::ops::Range<usize>, at: usize, volume: usize) {
    if !part.is_empty() {
        to.resize(volume, T::default());
        to[at..at + from.len()].copy_from_slice(&part[from]);
    }
}
