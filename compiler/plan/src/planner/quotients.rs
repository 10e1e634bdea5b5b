//! What depends on a position through a quotient alone is computed once for each quotient.
//!
//! A tensor over blocks that is read at `j div m` is, once read, a term over j: the score of a block, its rank or its
//! mean would be made for every position of the block. Such a reduction becomes one over the blocks, read at the
//! quotient.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, TermId, TermSet, Terms, UnaryOp};

use super::Planner;

/// Points of a reduction for each result from which on a buffer is worth while.
const WORTH: f64 = 8.0;

impl Planner<'_> {
    /// The term with such reductions read from those over blocks.
    pub(super) fn quotients_apart(&mut self, term: TermId, done: &mut BTreeMap<TermId, TermId>) -> TermId {
        if let Some(known) = done.get(&term) {
            return *known;
        }
        let node = self.terms.node(term).clone();
        let new = match self.over_blocks(term, &node) {
            Some((axis, index, body)) => {
                let body = self.quotients_apart(body, done);
                self.terms.add(Node::At { axis, index, body })
            }
            None => {
                let node = node.map_operands(|t| self.quotients_apart(t, done));
                self.terms.add(node)
            }
        };
        done.insert(term, new);
        new
    }

    /// The axis of the blocks, the quotient and the term over the blocks, of a reduction that one axis enters through
    /// a quotient only.
    fn over_blocks(&mut self, term: TermId, node: &Node) -> Option<(AxisId, TermId, TermId)> {
        match node {
            // What some position of a table says is better searched for.
            Node::Reduce { op: ReduceOp::Any | ReduceOp::All, .. } => return None,
            Node::Reduce { .. } | Node::Attend { .. } => {}
            _ => return None,
        }
        let free = self.terms.free(term).clone();
        if self.work(term) < WORTH * self.volume(&free) {
            return None;
        }
        let (axis, quotient, size) = free.iter().find_map(|axis| {
            let mut found = None;
            self.enters_through_quotient(term, axis, &mut found, &mut TermSet::new()).then_some(())?;
            let (quotient, size) = found?;
            Some((axis, quotient, size))
        })?;
        let count = self.blocks_of(axis, size);
        let blocks = self.new_axis("blocks", count);
        let block = self.terms.position(blocks);
        let body = self.with_replaced(term, (axis, quotient, block), &mut BTreeMap::new());
        Some((blocks, quotient, body))
    }

    /// How many blocks of so many positions an axis has: as an axis of the spec says it, if one does, so that both are
    /// of one extent.
    pub(crate) fn blocks_of(&mut self, axis: AxisId, size: i64) -> TermId {
        let extent = self.spec.axis(axis).extent;
        let (more, by) = (self.terms.int(size - 1), self.terms.int(size));
        let sum = self.terms.nary(NaryOp::Add, vec![extent, more]);
        let wanted = self.sum_of(sum);
        let known = self.spec.axes.iter().map(|axis| axis.extent).find(|count| match *self.terms.node(*count) {
            Node::Binary(BinaryOp::FloorDiv, x, y) => y == by && self.sum_of(x) == wanted,
            _ => false,
        });
        known.unwrap_or_else(|| self.terms.binary(BinaryOp::FloorDiv, sum, by))
    }

    /// A sum of integers as its constant and the others, sorted.
    fn sum_of(&self, term: TermId) -> (i64, Vec<TermId>) {
        let mut open = vec![(term, 1_i64)];
        let (mut constant, mut others) = (0_i64, Vec::new());
        while let Some((term, sign)) = open.pop() {
            match self.terms.node(term) {
                Node::Int(v) => constant = constant.saturating_add(v.saturating_mul(sign)),
                Node::Nary(NaryOp::Add, xs) => open.extend(xs.iter().map(|x| (*x, sign))),
                Node::Unary(UnaryOp::Neg, x) if matches!(self.terms.node(*x), Node::Int(_)) => open.push((*x, -sign)),
                _ => others.push(term),
            }
        }
        others.sort();
        (constant, others)
    }

    /// Whether the axis is in the term only as `position div m`, m a constant above 1; notes the quotient and m.
    pub(crate) fn enters_through_quotient(
        &self,
        term: TermId,
        axis: AxisId,
        found: &mut Option<(TermId, i64)>,
        seen: &mut TermSet,
    ) -> bool {
        if !self.terms.free(term).contains(axis) || !seen.insert(term) {
            return true;
        }
        let is_axis = |t: TermId| *self.terms.node(t) == Node::Position(axis);
        match *self.terms.node(term) {
            Node::Binary(BinaryOp::FloorDiv, x, y) if is_axis(x) => match *self.terms.node(y) {
                Node::Int(size) if size > 1 => found.get_or_insert((term, size)).0 == term,
                _ => false,
            },
            ref node if names_axis(node, axis) => false,
            ref node => node.operands().iter().all(|t| self.enters_through_quotient(*t, axis, found, seen)),
        }
    }

    /// A predicate with comparisons of an axis's quotient by a number as such of the position: `j div m <= y` is
    /// `j < m (y + 1)`, and `x <= j div m` is `m x <= j`.
    pub(crate) fn without_quotients(&mut self, predicate: TermId, axis: AxisId) -> TermId {
        let node = self.terms.node(predicate).clone();
        match node {
            Node::Nary(NaryOp::And | NaryOp::Or, _) => {
                let node = node.map_operands(|t| self.without_quotients(t, axis));
                self.terms.add(node)
            }
            Node::Binary(BinaryOp::Le, x, y) => self.at_most(x, y, 0, axis).unwrap_or(predicate),
            Node::Binary(BinaryOp::Lt, x, y) => self.at_most(x, y, 1, axis).unwrap_or(predicate),
            Node::Binary(BinaryOp::Eq, x, y) => match (self.at_most(x, y, 0, axis), self.at_most(y, x, 0, axis)) {
                (Some(up), Some(down)) => self.terms.nary(NaryOp::And, vec![up, down]),
                _ => predicate,
            },
            _ => predicate,
        }
    }

    /// `x + gap <= y`, where one side is a quotient of the position, as a bound on that. What holds data is left as it
    /// is, since its multiples may be no integers of 64 bits.
    fn at_most(&mut self, x: TermId, y: TermId, gap: i64, axis: AxisId) -> Option<TermId> {
        let position = self.terms.position(axis);
        let size = |terms: &Terms, t: TermId| match *terms.node(t) {
            Node::Binary(BinaryOp::FloorDiv, x, y) if x == position => match *terms.node(y) {
                Node::Int(size) if size > 1 => Some(size),
                _ => None,
            },
            _ => None,
        };
        let (least, most) = (size(&self.terms, y), size(&self.terms, x));
        let (size, other) = match (least, most) {
            (Some(size), None) => (size, x),
            (None, Some(size)) => (size, y),
            _ => return None,
        };
        if self.terms.free(other).contains(axis) || !self.is_data_free(other) {
            return None;
        }
        // The first position of block `x + gap`, or of the one after block `y - gap`.
        let shift = if least.is_some() { gap } else { 1 - gap };
        let [shift, scale] = [shift, size].map(|v| self.terms.int(v));
        let block = self.terms.nary(NaryOp::Add, vec![other, shift]);
        let start = self.terms.nary(NaryOp::Mul, vec![scale, block]);
        Some(match least {
            Some(_) => self.terms.binary(BinaryOp::Le, start, position),
            None => self.terms.binary(BinaryOp::Lt, position, start),
        })
    }

    pub(crate) fn with_replaced(
        &mut self,
        term: TermId,
        (axis, quotient, block): (AxisId, TermId, TermId),
        done: &mut BTreeMap<TermId, TermId>,
    ) -> TermId {
        if term == quotient {
            return block;
        }
        if !self.terms.free(term).contains(axis) {
            return term;
        }
        if let Some(known) = done.get(&term) {
            return *known;
        }
        let node = self.terms.node(term).clone();
        let node = node.map_operands(|t| self.with_replaced(t, (axis, quotient, block), done));
        let new = self.terms.add(node);
        done.insert(term, new);
        new
    }
}

/// Whether a node names the axis itself: then no other term can stand for the position where it is an operand.
pub(crate) fn names_axis(node: &Node, axis: AxisId) -> bool {
    match node {
        Node::Position(own)
        | Node::Softmax { axis: own, .. }
        | Node::Order { axis: own, .. }
        | Node::At { axis: own, .. }
        | Node::Scan { row: own, .. } => *own == axis,
        _ => false,
    }
}
