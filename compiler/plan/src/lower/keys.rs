//! Masks that compare a number of each row with a number of each column.
//!
//! Equal keys, places in an order, positions and tables of either side: a
//! clause of one or two such comparisons is a range of keys for each row, and
//! a microkernel fills what lies in none of them. Pairs would be compared two
//! at a time.

use attnc_algebra::{AxisId, BinaryOp, DType, NaryOp, Node, ReduceOp, TermId, UnaryOp};

use crate::error::PlanError;
use crate::loops::expr::{ExprId, Lane};
use crate::loops::{KeyRange, Stmt, TileId};

use super::nest::{Binding, Frame, Nest};

/// More clauses than this cost as much as the pairs.
const MOST_CLAUSES: usize = 6;

/// Atoms of a clause before those of one key are joined.
const MOST_ATOMS: usize = 3;

/// A quantifier over more positions than this stays one.
const MOST_POSITIONS: i64 = 4;

/// Constants beyond this are not added to what they are compared with.
const LARGE: i64 = 1 << 40;

/// One of the alternatives of a clause.
#[derive(Clone, Copy)]
pub(super) enum Atom {
    /// `key op value`, or `value op key` if `swapped`: the key without rows, the value without columns.
    Compared { op: BinaryOp, key: TermId, value: TermId, swapped: bool },
    /// `key < least` or `most < key`.
    Apart { key: TermId, least: TermId, most: TermId },
    /// A predicate that does not mention the columns.
    OfRow(TermId, bool),
    /// A predicate that does not mention the rows.
    OfColumn(TermId, bool),
}

/// One or two atoms, of which one holds.
pub(super) type Clause = Vec<Atom>;

/// The atoms with those joined that leave out one range of a key.
fn join(atoms: &[Atom]) -> Clause {
    let mut joined: Clause = Vec::new();
    for atom in atoms {
        let Atom::Compared { op: BinaryOp::Lt, key, value, swapped } = *atom else {
            joined.push(*atom);
            continue;
        };
        let other = joined.iter_mut().find_map(|known| match *known {
            Atom::Compared { op: BinaryOp::Lt, key: of, value, swapped: side } if of == key && side != swapped => {
                Some((known, value))
            }
            _ => None,
        });
        match other {
            Some((known, first)) => {
                let (least, most) = if swapped { (first, value) } else { (value, first) };
                *known = Atom::Apart { key, least, most };
            }
            None => joined.push(*atom),
        }
    }
    joined
}

impl Nest<'_, '_> {
    /// Whether an integral predicate has one value on the whole tile, which its truth tells.
    pub(super) fn is_settled(&self, term: TermId) -> bool {
        let terms = &self.planner.terms;
        match terms.node(term) {
            Node::Int(_) | Node::Extent(_) | Node::Bool(_) => true,
            Node::Position(axis) => self.is_bound(*axis) && matches!(self.binding(*axis), Binding::Fixed(_)),
            Node::Binary(op, x, y) if self.in_block(*op, *x, *y).is_some() => *op == BinaryOp::FloorDiv,
            Node::Binary(BinaryOp::Le | BinaryOp::Lt | BinaryOp::Eq | BinaryOp::Ne, x, y) => {
                [x, y].iter().all(|t| self.integral(**t) && self.is_settled(**t))
            }
            Node::Binary(BinaryOp::FloorDiv, x, y) => self.is_settled(*x) && matches!(terms.node(*y), Node::Int(_)),
            Node::Unary(UnaryOp::Not | UnaryOp::Neg | UnaryOp::Abs, x) => self.is_settled(*x),
            Node::Nary(NaryOp::Mul, _) => false,
            Node::Nary(_, xs) => xs.iter().all(|x| self.is_settled(*x)),
            _ => false,
        }
    }

    /// The predicate as clauses that all hold; `None` if it is not of this kind.
    pub(super) fn clauses_of(&mut self, predicate: TermId, frame: Frame) -> Option<Vec<Clause>> {
        let (rows, cols) = (frame.rows?, frame.cols?);
        if matches!(self.binding(rows), Binding::Fixed(_)) {
            return None;
        }
        let free = self.planner.terms.free(predicate);
        match (free.contains(rows), free.contains(cols)) {
            (true, true) => {}
            (_, false) => return Some(vec![vec![Atom::OfRow(predicate, true)]]),
            (false, true) => return Some(vec![vec![Atom::OfColumn(predicate, true)]]),
        }
        let clauses = self.clauses(predicate, true)?;
        let mut all = Vec::new();
        for clause in clauses {
            let atoms: Option<Clause> = clause.iter().map(|(term, holds)| self.atom(*term, *holds, frame)).collect();
            let joined = join(&atoms?);
            if !matches!(joined.len(), 1 | 2) {
                return None;
            }
            all.push(joined);
        }
        Some(all)
    }

    /// A predicate (or its negation) as a conjunction of disjunctions of one or two atoms.
    fn clauses(&mut self, term: TermId, positive: bool) -> Option<Vec<Vec<(TermId, bool)>>> {
        let node = self.planner.terms.node(term).clone();
        let all = match (&node, positive) {
            (Node::Bool(v), _) if *v == positive => Vec::new(),
            (Node::Unary(UnaryOp::Not, x), _) => self.clauses(*x, !positive)?,
            (Node::Nary(NaryOp::And, xs), true) | (Node::Nary(NaryOp::Or, xs), false) => {
                let mut all = Vec::new();
                for x in xs {
                    all.extend(self.clauses(*x, positive)?);
                }
                all
            }
            (Node::Nary(NaryOp::Or, xs), true) | (Node::Nary(NaryOp::And, xs), false) => {
                let mut all: Vec<Vec<(TermId, bool)>> = vec![Vec::new()];
                for x in xs {
                    let more = self.clauses(*x, positive)?;
                    all = all.iter().flat_map(|a| more.iter().map(|b| [a.as_slice(), b].concat())).collect();
                    if all.len() > MOST_CLAUSES {
                        return None;
                    }
                }
                all
            }
            (Node::Binary(BinaryOp::Eq, x, y), false) | (Node::Binary(BinaryOp::Ne, x, y), true)
                if self.integral(*x) && self.integral(*y) && !self.may_be_less(*x, *y) =>
            {
                vec![vec![(self.planner.terms.binary(BinaryOp::Lt, *y, *x), true)]]
            }
            (Node::Binary(BinaryOp::Le | BinaryOp::Lt, x, y), _) if self.integral(*x) && self.integral(*y) => {
                self.magnitudes(term, positive)
            }
            (Node::Reduce { .. }, _) => match self.unrolled(term) {
                Some(unrolled) => self.clauses(unrolled, positive)?,
                None => vec![vec![(term, positive)]],
            },
            _ => vec![vec![(term, positive)]],
        };
        let fits = all.len() <= MOST_CLAUSES && all.iter().all(|clause| clause.len() <= MOST_ATOMS);
        fits.then_some(all)
    }

    /// A quantifier over a few positions, a number known here, as a disjunction or conjunction.
    fn unrolled(&mut self, term: TermId) -> Option<TermId> {
        let Node::Reduce { op, axis, domain, body } = *self.planner.terms.node(term) else { return None };
        let join = match op {
            ReduceOp::Any => NaryOp::Or,
            ReduceOp::All => NaryOp::And,
            _ => return None,
        };
        let Node::Int(count) = *self.planner.terms.node(self.planner.spec.axis(axis).extent) else { return None };
        if !self.is_true(domain) || !(2..=MOST_POSITIONS).contains(&count) {
            return None;
        }
        let parts: Option<Vec<TermId>> = (0..count).map(|at| self.at_position(body, axis, at)).collect();
        Some(self.planner.terms.nary(join, parts?))
    }

    /// The term at one position of an axis; `None` if something in it runs over an axis.
    fn at_position(&mut self, term: TermId, axis: AxisId, at: i64) -> Option<TermId> {
        if !self.planner.terms.free(term).contains(axis) {
            return Some(term);
        }
        let node = self.planner.terms.node(term).clone();
        if node.runs_over_axis() {
            return None;
        }
        if let Node::Position(_) = node {
            return Some(self.planner.terms.int(at));
        }
        let mut whole = true;
        let node = node.map_operands(|x| {
            self.at_position(x, axis, at).unwrap_or_else(|| {
                whole = false;
                x
            })
        });
        whole.then(|| self.planner.terms.add(node))
    }

    /// A comparison of integers with a magnitude, as clauses without it.
    fn magnitudes(&mut self, term: TermId, positive: bool) -> Vec<Vec<(TermId, bool)>> {
        let terms = &mut self.planner.terms;
        let Node::Binary(mut op, mut x, mut y) = *terms.node(term) else { return vec![vec![(term, positive)]] };
        if !positive {
            op = if op == BinaryOp::Le { BinaryOp::Lt } else { BinaryOp::Le };
            (x, y) = (y, x);
        }
        if let Node::Unary(UnaryOp::Abs, u) = *terms.node(x) {
            let minus = terms.unary(UnaryOp::Neg, u);
            return [u, minus].map(|side| vec![(terms.binary(op, side, y), true)]).to_vec();
        }
        if let Node::Unary(UnaryOp::Abs, u) = *terms.node(y) {
            let minus = terms.unary(UnaryOp::Neg, u);
            return vec![[u, minus].map(|side| (terms.binary(op, x, side), true)).to_vec()];
        }
        vec![vec![(terms.binary(op, x, y), true)]]
    }

    fn atom(&mut self, term: TermId, positive: bool, frame: Frame) -> Option<Atom> {
        let (rows, cols) = (frame.rows?, frame.cols?);
        let free = self.planner.terms.free(term);
        match (free.contains(rows), free.contains(cols)) {
            (_, false) => return Some(Atom::OfRow(term, positive)),
            (false, true) => return Some(Atom::OfColumn(term, positive)),
            (true, true) => {}
        }
        if let Some((value, key)) = self.residues_apart(term, frame) {
            let op = if positive { BinaryOp::Eq } else { BinaryOp::Ne };
            return Some(Atom::Compared { op, key, value, swapped: false });
        }
        let Node::Binary(op, x, y) = *self.planner.terms.node(term) else { return None };
        if !self.integral(x) || !self.integral(y) {
            return None;
        }
        let (op, x, y) = match (op, positive) {
            (BinaryOp::Le | BinaryOp::Lt | BinaryOp::Eq | BinaryOp::Ne, true) => (op, x, y),
            (BinaryOp::Le, false) => (BinaryOp::Lt, y, x),
            (BinaryOp::Lt, false) => (BinaryOp::Le, y, x),
            (BinaryOp::Eq, false) => (BinaryOp::Ne, x, y),
            (BinaryOp::Ne, false) => (BinaryOp::Eq, x, y),
            _ => return None,
        };
        let has = |nest: &Self, t: TermId, axis: AxisId| nest.planner.terms.free(t).contains(axis);
        if !has(self, x, rows) && !has(self, y, cols) {
            return Some(Atom::Compared { op, key: x, value: y, swapped: false });
        }
        if !has(self, y, rows) && !has(self, x, cols) {
            return Some(Atom::Compared { op, key: y, value: x, swapped: true });
        }
        // What mentions columns goes to the left, the rest to the right.
        let (mut left, mut right) = (Vec::new(), Vec::new());
        // The first of the columns' terms is positive, so that both sides of a magnitude have one key.
        let swapped = !self.begins_positive(x, y, cols);
        let (first, second) = if swapped { (y, x) } else { (x, y) };
        for (side, scale) in [(first, 1), (second, -1)] {
            self.sum_by_axis(side, scale, [rows, cols], &mut left, &mut right)?;
        }
        let [key, value] = [left, right].map(|parts| match parts[..] {
            [one] => one,
            _ => self.planner.terms.nary(NaryOp::Add, parts),
        });
        Some(Atom::Compared { op, key, value, swapped })
    }

    /// Whether the first summand of `x - y` that mentions the columns is added.
    fn begins_positive(&self, x: TermId, y: TermId, cols: AxisId) -> bool {
        let mut open = vec![(y, false), (x, true)];
        while let Some((term, positive)) = open.pop() {
            if !self.planner.terms.free(term).contains(cols) {
                continue;
            }
            match self.planner.terms.node(term) {
                Node::Nary(NaryOp::Add, xs) => open.extend(xs.iter().rev().map(|x| (*x, positive))),
                Node::Unary(UnaryOp::Neg, x) => open.push((*x, !positive)),
                _ => return positive,
            }
        }
        true
    }

    /// Adds `scale * term` to the left where it mentions the columns, and `-scale * term` to the right where not;
    /// `None` if a summand mentions both, or may be so large that moving it overflows.
    fn sum_by_axis(
        &mut self,
        term: TermId,
        scale: i64,
        [rows, cols]: [AxisId; 2],
        left: &mut Vec<TermId>,
        right: &mut Vec<TermId>,
    ) -> Option<()> {
        match self.planner.terms.node(term).clone() {
            Node::Nary(NaryOp::Add, xs) => {
                for x in xs {
                    self.sum_by_axis(x, scale, [rows, cols], left, right)?;
                }
            }
            Node::Unary(UnaryOp::Neg, x) => self.sum_by_axis(x, -scale, [rows, cols], left, right)?,
            node => {
                let small = match &node {
                    Node::Int(v) => v.abs() < LARGE,
                    _ => self.is_small(term),
                };
                let terms = &mut self.planner.terms;
                let (of_row, of_column) = (terms.free(term).contains(rows), terms.free(term).contains(cols));
                if !small || (of_row && of_column) {
                    return None;
                }
                let (side, scale) = if of_column { (left, scale) } else { (right, -scale) };
                side.push(if scale < 0 { terms.unary(UnaryOp::Neg, term) } else { term });
            }
        }
        Some(())
    }

    /// Whether a term's values are far from overflow: no wide table, one variable factor in a product.
    fn is_small(&self, term: TermId) -> bool {
        let wide = |node: &Node| match node {
            Node::Input { input, .. } => self.planner.spec.input(*input).dtype == DType::I64,
            Node::Int(v) => v.abs() >= LARGE,
            Node::Nary(NaryOp::Mul, xs) => {
                let variable = |x: &&TermId| !matches!(self.planner.terms.node(**x), Node::Int(v) if v.abs() < 1 << 20);
                xs.iter().filter(variable).count() > 1 || xs.len() > 2
            }
            Node::Position(_) | Node::Extent(_) | Node::Nary(..) | Node::At { .. } | Node::Order { .. } => false,
            Node::Unary(UnaryOp::Neg | UnaryOp::Abs, _) => false,
            Node::Binary(BinaryOp::FloorDiv | BinaryOp::Mod, ..) => false,
            _ => true,
        };
        !self.planner.find(term, &mut |_, node| wide(node))
    }

    /// Fills a tile where one of the clauses fails.
    pub(super) fn keep_clauses(
        &mut self,
        tile: TileId,
        clauses: &[Clause],
        frame: Frame,
        fill: f64,
    ) -> Result<(), PlanError> {
        for clause in clauses {
            let mut any = Vec::new();
            for atom in clause {
                any.push(self.key_range(*atom, frame)?);
            }
            let (rows, cols) = self.counts(frame);
            self.emit(Stmt::KeepKeys { tile, any, fill, rows, cols });
        }
        Ok(())
    }

    pub(super) fn key_range(&mut self, atom: Atom, frame: Frame) -> Result<KeyRange, PlanError> {
        let (rows, cols) = (Frame::new(frame.rows, None), Frame::new(None, frame.cols));
        let (zero, one) = (self.x().int(0), self.x().int(1));
        match atom {
            Atom::Compared { op, key, value, swapped } => {
                let (keys, value) = (self.integers(key, cols)?, self.integers(value, rows)?);
                let range = |least, most, inside| KeyRange { least, most, keys, inside };
                Ok(match (op, swapped) {
                    (BinaryOp::Le, false) => range(None, Some(value), true),
                    (BinaryOp::Le, true) => range(Some(value), None, true),
                    (BinaryOp::Lt, false) => range(Some(value), None, false),
                    (BinaryOp::Lt, true) => range(None, Some(value), false),
                    (op, _) => range(Some(value), Some(value), op == BinaryOp::Eq),
                })
            }
            Atom::Apart { key, least, most } => {
                let keys = self.integers(key, cols)?;
                let [least, most] = [self.integers(least, rows)?, self.integers(most, rows)?];
                Ok(KeyRange { least: Some(least), most: Some(most), keys, inside: false })
            }
            Atom::OfRow(term, positive) => {
                // The only key is 0.
                let holds = self.side_of(term, rows)?;
                let least = if positive { self.choose(holds, zero, one) } else { self.choose(holds, one, zero) };
                let (least, keys) = (self.as_tile("least", least, rows), self.as_tile("keys", zero, cols));
                Ok(KeyRange { least: Some(least), most: None, keys, inside: true })
            }
            Atom::OfColumn(term, positive) => {
                let holds = self.side_of(term, cols)?;
                let key = self.choose(holds, one, zero);
                let (keys, least) = (self.as_tile("keys", key, cols), self.as_tile("least", one, rows));
                Ok(KeyRange { least: Some(least), most: None, keys, inside: positive })
            }
        }
    }

    /// A predicate of rows or columns alone, in the outermost scope that can have it.
    pub(super) fn side_of(&mut self, term: TermId, frame: Frame) -> Result<ExprId, PlanError> {
        if self.planner.terms.node(term).runs_over_axis() {
            return self.eval(term, frame, false);
        }
        self.eval_ahead(term, frame, false)
    }

    /// A tile of an integer term over a row or a column, in the outermost scope that can have it.
    fn integers(&mut self, term: TermId, frame: Frame) -> Result<TileId, PlanError> {
        let value = match self.planner.terms.node(term) {
            Node::Reduce { .. } | Node::Softmax { .. } | Node::Attend { .. } | Node::Scan { .. } => {
                self.eval(term, frame, false)?
            }
            Node::Order { .. } | Node::At { .. } => self.line_ahead(term, frame)?,
            _ => self.eval_ahead(term, frame, false)?,
        };
        let value = self.x().cast(Lane::I64, value);
        Ok(self.as_tile("keys", value, frame))
    }

    /// The element of a tile with values of an order or of a table read in order.
    fn line_ahead(&mut self, term: TermId, frame: Frame) -> Result<ExprId, PlanError> {
        let own = frame.restricted(self.planner.terms.free(term));
        let depth = self.depth_of(term);
        // An integer is the same whether exact or not; as inexact, what is known may be a load.
        let key = self.key(term, own, true);
        if let Some(known) = self.remembered(depth, &key).filter(|known| self.element_tile(*known).is_some()) {
            return Ok(known);
        }
        let value = self.at(depth, |nest| {
            let value = nest.eval(term, own, false)?;
            Ok(if own == Frame::default() { nest.let_scalar(value) } else { nest.spill("p", value, own) })
        })?;
        self.remember(depth, key, value);
        Ok(value)
    }
}
