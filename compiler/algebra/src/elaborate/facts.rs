//! Facts about terms that elaboration asks for, kept beside the arena.
//!
//! Each fact of a term follows from its operands', so the tables are filled
//! in order of ids and asking costs nothing, however shared the terms are.

use crate::axis::AxisId;
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::term::{Node, TermId, Terms, Type};

/// What is known of one term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact {
    /// Longest path to a leaf.
    pub(crate) depth: usize,
    /// Whether an input is read.
    pub(crate) reads_input: bool,
    /// Whether the value is an integer, whatever the type.
    pub(crate) integral: bool,
    /// Whether it is integer arithmetic over extents, as an axis may have for its extent.
    pub(crate) extent: bool,
}

/// Tables of facts by term.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    facts: Vec<Fact>,
    orders: Vec<Vec<AxisId>>,
}

impl Facts {
    /// The facts of `term`.
    pub(crate) fn of(&mut self, terms: &Terms, term: TermId) -> Fact {
        for at in self.facts.len()..=term.0 as usize {
            let fact = self.derive(terms, TermId(at as u32));
            self.facts.push(fact);
        }
        self.facts[term.0 as usize]
    }

    fn derive(&self, terms: &Terms, term: TermId) -> Fact {
        let node = terms.node(term);
        let operands = node.operands();
        let of = |t: &TermId| self.facts[t.0 as usize];
        Fact {
            depth: 1 + operands.iter().map(|t| of(t).depth).max().unwrap_or(0),
            reads_input: matches!(node, Node::Input { .. }) || operands.iter().any(|t| of(t).reads_input),
            integral: terms.ty(term) == Type::Int || integral(node, |t| of(&t).integral),
            extent: is_extent_form(node) && operands.iter().all(|t| of(t).extent),
        }
    }

    /// The free axes of `term` in the order in which its expression mentions them (the operand of a reduction before
    /// its domain).
    pub(crate) fn order(&mut self, terms: &Terms, term: TermId) -> &[AxisId] {
        for at in self.orders.len()..=term.0 as usize {
            let order = self.derive_order(terms, TermId(at as u32));
            self.orders.push(order);
        }
        &self.orders[term.0 as usize]
    }

    fn derive_order(&self, terms: &Terms, term: TermId) -> Vec<AxisId> {
        let free = terms.free(term);
        let mut out: Vec<AxisId> = Vec::with_capacity(free.len());
        let mut mention = |axis: AxisId| {
            if free.contains(axis) && !out.contains(&axis) {
                out.push(axis);
            }
        };
        let node = terms.node(term);
        // Domains and conditions are stored first and read last.
        let mut operands = node.operands().to_vec();
        if matches!(node, Node::Reduce { .. } | Node::Softmax { .. } | Node::Attend { .. } | Node::Select(..)) {
            operands.rotate_left(1);
        }
        for operand in operands {
            self.orders[operand.0 as usize].iter().for_each(|a| mention(*a));
        }
        free.iter().for_each(mention);
        out
    }
}

/// Whether a real node has an integer value, given which operands have.
fn integral(node: &Node, of: impl Fn(TermId) -> bool) -> bool {
    match node {
        Node::Real(value) => value.get().fract() == 0.0,
        Node::Unary(UnaryOp::ToReal | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Sign, _) => true,
        Node::Unary(UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu, x) => of(*x),
        Node::Binary(BinaryOp::FloorDiv, ..) => true,
        Node::Binary(BinaryOp::Mod, x, y) => of(*x) && of(*y),
        Node::Nary(NaryOp::Add | NaryOp::Mul | NaryOp::Min | NaryOp::Max, xs) => xs.iter().all(|x| of(*x)),
        Node::Select(_, x, y) => of(*x) && of(*y),
        Node::Reduce { op: ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min, body, .. } => of(*body),
        _ => false,
    }
}

/// The nodes that [`crate::Spec::eval_extent`] evaluates.
fn is_extent_form(node: &Node) -> bool {
    match node {
        Node::Int(_) | Node::Bool(_) | Node::Extent(_) | Node::Nary(..) | Node::Select(..) => true,
        Node::Unary(op, _) => {
            matches!(op, UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Not | UnaryOp::ToInt | UnaryOp::Floor | UnaryOp::Ceil)
        }
        Node::Binary(op, ..) => !matches!(op, BinaryOp::Div | BinaryOp::LogAddExp),
        _ => false,
    }
}
