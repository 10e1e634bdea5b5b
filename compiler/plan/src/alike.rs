//! Terms that are equal up to the names of their axes.
//!
//! A computed tensor that is read on other axes is a copy of its term, so a
//! product of a matrix with itself holds the matrix twice. This file finds the
//! copies again: it rewrites a term over canonical axes, whose names follow
//! from extents and places alone. It knows nothing of stages.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, Node, Spec, TermId, Terms, Type};

/// What axes are called in the canonical form.
type Names = Vec<(AxisId, (u32, AxisId))>;

/// The canonical forms of a spec's terms.
pub(crate) struct Alike {
    /// An arena of its own, which starts as the spec's, so that inputs have their types.
    terms: Terms,
    first: u32,
    axes: BTreeMap<(TermId, u32), AxisId>,
    done: BTreeMap<(TermId, Names, bool), TermId>,
}

impl Alike {
    /// No form yet.
    pub fn new(spec: &Spec) -> Self {
        let first = spec.axes.len() as u32;
        Self { terms: spec.terms.clone(), first, axes: BTreeMap::new(), done: BTreeMap::new() }
    }

    /// The form of `term` with its free axes called by their places in `order`. Equal forms are equal terms, up to
    /// the order of operands; with `ordered`, with operands in the same order.
    pub fn form(&mut self, spec: &Spec, terms: &Terms, term: TermId, order: &[AxisId], ordered: bool) -> TermId {
        let places = order.iter().enumerate();
        let names: Names = places.map(|(at, axis)| (*axis, self.name(spec, *axis, at as u32))).collect();
        self.rewritten(spec, terms, term, &names, ordered)
    }

    /// The canonical axis of a number, one for each extent.
    fn name(&mut self, spec: &Spec, axis: AxisId, number: u32) -> (u32, AxisId) {
        let fresh = AxisId(self.first + self.axes.len() as u32);
        (number, *self.axes.entry((spec.axis(axis).extent, number)).or_insert(fresh))
    }

    fn rewritten(&mut self, spec: &Spec, terms: &Terms, term: TermId, names: &Names, ordered: bool) -> TermId {
        let free = terms.free(term);
        let mut names: Names = names.iter().filter(|(axis, _)| free.contains(*axis)).copied().collect();
        names.sort_unstable();
        let key = (term, names, ordered);
        if let Some(known) = self.done.get(&key) {
            return *known;
        }
        let names = &key.1;
        let called = |axis: AxisId| names.iter().find(|(a, _)| *a == axis).map_or(axis, |(_, (_, name))| *name);
        let mut node = terms.node(term).clone();
        let mut inner = names.clone();
        if let Node::Reduce { axis, .. } | Node::Attend { axis, .. } | Node::Scan { axis, .. } | Node::At { axis, .. } =
            &mut node
        {
            let number = names.iter().map(|(_, (number, _))| number + 1).max().unwrap_or(0);
            let name = self.name(spec, *axis, number);
            inner.retain(|(outer, _)| outer != axis);
            inner.push((*axis, name));
            *axis = name.1;
        }
        match &mut node {
            Node::Position(axis)
            | Node::Softmax { axis, .. }
            | Node::Order { axis, .. }
            | Node::Scan { row: axis, .. } => *axis = called(*axis),
            _ => {}
        }
        // The index of a gather stands outside the axis that it reads.
        let outside = if let Node::At { index, .. } = &node { Some(*index) } else { None };
        let mut node = node.map_operands(|t| {
            let names = if Some(t) == outside { names } else { &inner };
            self.rewritten(spec, terms, t, names, ordered)
        });
        if let Node::Nary(_, operands) = &mut node
            && !(ordered && terms.ty(term) == Type::Real)
        {
            operands.sort_unstable();
        }
        let form = self.terms.add(node);
        self.done.insert(key, form);
        form
    }
}

/// The orders of `axes` in which each axis stands where one of its own extent stood; the given one first.
pub(crate) fn orders(spec: &Spec, axes: &[AxisId]) -> Vec<Vec<AxisId>> {
    let mut out = vec![Vec::new()];
    for at in axes {
        let extent = spec.axis(*at).extent;
        let fits = |axis: &&AxisId| spec.axis(**axis).extent == extent;
        out = out
            .iter()
            .flat_map(|so_far: &Vec<AxisId>| {
                let mut own: Vec<AxisId> = axes.iter().filter(fits).filter(|a| !so_far.contains(a)).copied().collect();
                own.sort_by_key(|axis| axis != at);
                own.into_iter().map(|axis| so_far.iter().copied().chain([axis]).collect()).collect::<Vec<_>>()
            })
            .take(MAX_ORDERS)
            .collect();
    }
    out
}

/// Orders that are looked at.
const MAX_ORDERS: usize = 24;
