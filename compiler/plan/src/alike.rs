//! Terms that are equal up to the names of their axes.
//!
//! A computed tensor that is read on other axes is a copy of its term, so a
//! product of a matrix with itself holds the matrix twice. This file finds the
//! copies again: it numbers terms from their leaves up, each by its operation,
//! the numbers of its operands and how their axes meet. It knows nothing of
//! stages.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, Node, Spec, TermId, Terms, Type};

/// What a term is but for the names of its axes, and which these are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Form {
    /// Equal for alike terms.
    pub number: u32,
    /// The free axes: alike terms have corresponding ones in corresponding places.
    pub axes: Vec<AxisId>,
    /// Other orders of them in which the term is alike itself: it is symmetric.
    symmetric: Vec<Vec<AxisId>>,
}

impl Form {
    /// Whether the term is alike itself in another order of its axes.
    pub fn is_symmetric(&self) -> bool {
        !self.symmetric.is_empty()
    }

    /// The form in each of its orders.
    fn orders(&self) -> impl Iterator<Item = Self> + '_ {
        let plain = |axes: &Vec<AxisId>| Self { number: self.number, axes: axes.clone(), symmetric: Vec::new() };
        std::iter::once(&self.axes).chain(&self.symmetric).map(plain)
    }
}

/// An operation on numbered operands: the node with numbers for operands and no axes, the places of each operand's axes
/// among those of all, the places of the node's own axes, and their extents.
type Operation = (Node, Vec<Vec<u32>>, Vec<u32>, Vec<TermId>);

/// The place of an axis that the operation binds.
const BOUND: u32 = u32::MAX;

/// Arrangements of operands that are looked at: alike ones in other orders, symmetric ones turned.
const MAX_ARRANGEMENTS: usize = 24;

/// Orders of a symmetric term that are kept.
const MAX_SYMMETRIC: usize = 3;

/// The forms of a spec's terms.
#[derive(Default)]
pub(crate) struct Alike {
    numbers: BTreeMap<Operation, u32>,
    done: BTreeMap<(TermId, bool), Form>,
}

impl Alike {
    /// The form of `term`, up to the order of operands; with `ordered`, with those of real operations as they stand.
    pub fn form(&mut self, spec: &Spec, terms: &Terms, term: TermId, ordered: bool) -> Form {
        if let Some(known) = self.done.get(&(term, ordered)) {
            return known.clone();
        }
        let node = terms.node(term).clone();
        let operands: Vec<Form> = node.operands().into_iter().map(|t| self.form(spec, terms, t, ordered)).collect();
        // Two operands give the same bits in either order.
        let free_order =
            matches!(node, Node::Nary(..)) && !(ordered && terms.ty(term) == Type::Real && operands.len() > 2);
        let arranged = turned(if free_order { arrangements(operands) } else { vec![operands] });
        let extent = |axis: AxisId| spec.axis(axis).extent;
        let operations: Vec<_> = arranged.iter().map(|operands| operation(&node, operands, extent)).collect();
        let least = operations.iter().map(|(operation, _)| operation).min().expect("there is at least one arrangement");
        let mut orders: Vec<Vec<AxisId>> =
            operations.iter().filter(|(operation, _)| operation == least).map(|(_, axes)| axes.clone()).collect();
        orders.sort();
        orders.dedup();
        let axes = orders.remove(0);
        orders.truncate(MAX_SYMMETRIC);
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(least.clone()).or_insert(next);
        let form = Form { number, axes, symmetric: orders };
        self.done.insert((term, ordered), form.clone());
        form
    }
}

/// An operation with its free axes in the order in which the operands name them first.
fn operation(node: &Node, operands: &[Form], extent: impl Fn(AxisId) -> TermId) -> (Operation, Vec<AxisId>) {
    let mut axes: Vec<AxisId> = Vec::new();
    let mut place = |axis: AxisId| match axes.iter().position(|a| *a == axis) {
        Some(at) => at as u32,
        None => {
            axes.push(axis);
            axes.len() as u32 - 1
        }
    };
    let bound = match node {
        Node::Reduce { axis, .. } | Node::Attend { axis, .. } | Node::Scan { axis, .. } | Node::At { axis, .. } => {
            Some(*axis)
        }
        _ => None,
    };
    let mut places = Vec::new();
    for (at, operand) in operands.iter().enumerate() {
        // The index of a gather stands outside the axis that it reads.
        let bound = bound.filter(|_| at > 0 || !matches!(node, Node::At { .. }));
        places.push(operand.axes.iter().map(|a| if Some(*a) == bound { BOUND } else { place(*a) }).collect());
    }
    let named = match node {
        Node::Position(axis) | Node::Softmax { axis, .. } | Node::Order { axis, .. } | Node::Scan { row: axis, .. } => {
            Some(*axis)
        }
        _ => None,
    };
    let own = named.into_iter().map(place).collect();
    let extents = bound.into_iter().chain(named).map(extent).collect();
    let mut numbers = operands.iter().map(|form| TermId(form.number));
    let node = without_axes(node).map_operands(|_| numbers.next().expect("as many numbers as operands"));
    ((node, places, own, extents), axes)
}

/// The node with the same axis wherever it names one.
fn without_axes(node: &Node) -> Node {
    let mut node = node.clone();
    match &mut node {
        Node::Position(axis)
        | Node::Reduce { axis, .. }
        | Node::Softmax { axis, .. }
        | Node::Attend { axis, .. }
        | Node::Order { axis, .. }
        | Node::At { axis, .. } => *axis = AxisId(0),
        Node::Scan { axis, row, .. } => (*axis, *row) = (AxisId(0), AxisId(0)),
        _ => {}
    }
    node
}

/// Operands in ascending order of their numbers, alike ones in every order if there are few.
fn arrangements(mut operands: Vec<Form>) -> Vec<Vec<Form>> {
    operands.sort();
    let mut out = vec![Vec::new()];
    for group in operands.chunk_by(|a, b| a.number == b.number) {
        let orders = if out.len() * factorial(group.len()) > MAX_ARRANGEMENTS {
            vec![group.to_vec()]
        } else {
            permutations(group)
        };
        out = out
            .iter()
            .flat_map(|so_far: &Vec<Form>| orders.iter().map(|order| so_far.iter().chain(order).cloned().collect()))
            .collect();
    }
    out
}

/// Each arrangement with its symmetric operands in each of their orders, if these are few.
fn turned(arranged: Vec<Vec<Form>>) -> Vec<Vec<Form>> {
    let ways =
        |operands: &Vec<Form>| operands.iter().map(|form| 1 + form.symmetric.len()).fold(1, usize::saturating_mul);
    let few = arranged.iter().map(ways).fold(0, usize::saturating_add) <= MAX_ARRANGEMENTS;
    if !few || arranged.iter().all(|operands| ways(operands) == 1) {
        return arranged;
    }
    let each = |operands: Vec<Form>| {
        operands.iter().fold(vec![Vec::new()], |out: Vec<Vec<Form>>, form| {
            out.iter()
                .flat_map(|so_far| form.orders().map(|one| so_far.iter().cloned().chain([one]).collect()))
                .collect()
        })
    };
    arranged.into_iter().flat_map(each).collect()
}

fn factorial(n: usize) -> usize {
    (1..=n).fold(1, usize::saturating_mul)
}

fn permutations(group: &[Form]) -> Vec<Vec<Form>> {
    if group.len() <= 1 {
        return vec![group.to_vec()];
    }
    let mut out = Vec::new();
    for at in 0..group.len() {
        let mut rest = group.to_vec();
        let first = rest.remove(at);
        out.extend(permutations(&rest).into_iter().map(|rest| [first.clone()].into_iter().chain(rest).collect()));
    }
    out
}
