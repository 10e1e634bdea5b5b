//! A reduction under an equality of keys, in the order of the keys.
//!
//! Owns the right side of bucketing: rows and reduced positions are renamed by
//! the stable orders of their keys, so that equal keys lie together, and the
//! result is read back through the inverse of the rows' order. The rule that
//! asks for it is in `rules/bucket.rs`.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, ReduceOp, Spec, TermId, Terms};
use egg::{Id, Language};

use crate::convert;
use crate::facts::Graph;
use crate::language::ENode;

/// Reductions made for one restriction and one choice of keys, at most.
const MAX_FORMS: usize = 6;

/// What positions are put in order by.
#[derive(Clone, Debug)]
pub enum Keys {
    /// A key of the reduced axis equals one of the rows.
    Equal(TermId, TermId),
    /// Conditions on the reduced axis hold: its key is 1 where they do, that of the rows is 1.
    Hold(Vec<TermId>),
}

impl Keys {
    /// The key of the reduced axis and that of the rows.
    fn terms(&self, terms: &mut Terms) -> (TermId, TermId) {
        match self {
            Self::Equal(key, row_key) => (*key, *row_key),
            Self::Hold(conditions) => {
                let all = terms.nary(NaryOp::And, conditions.clone());
                let (one, zero) = (terms.int(1), terms.int(0));
                (terms.add(Node::Select(all, one, zero)), one)
            }
        }
    }
}

/// A matched reduction with the equality that it is bucketed by.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// The name of the rule, for what it declines.
    pub rule: &'static str,
    /// Why a term cannot be renamed.
    pub stuck: &'static str,
    /// The reduction.
    pub node: ENode,
    /// The reduced axis.
    pub axis: AxisId,
    /// The keys.
    pub keys: Keys,
    /// Whether the reduced axis must be put in order.
    pub permuted: bool,
    /// The axis of the rows, if it must be put in order.
    pub row: Option<AxisId>,
    /// The other conjuncts of the restriction.
    pub rest: Vec<TermId>,
}

impl Bucket {
    /// Adds the bucketed form and returns its id; that of the reduction itself if it has none.
    pub fn add(&self, graph: &mut Graph) -> Id {
        let itself = graph.add_uncanonical(self.node.clone());
        let keys = self.keys.terms(&mut graph.analysis.spec.terms);
        let made = graph.analysis.bucketed.entry(keys).or_default();
        if let Some(known) = made.get(&self.node) {
            return *known;
        }
        if made.len() >= MAX_FORMS {
            return itself;
        }
        let Some(id) = self.make(graph, keys) else {
            graph.analysis.declined.insert((self.rule, self.stuck));
            return itself;
        };
        graph.analysis.bucketed.entry(keys).or_default().insert(self.node.clone(), id);
        id
    }

    fn make(&self, graph: &mut Graph, (key, row_key): (TermId, TermId)) -> Option<Id> {
        let operands: Vec<TermId> = self.node.children().iter().map(|c| oldest(graph, *c)).collect();
        let in_order = self.in_one_order(&mut graph.analysis.spec, (key, row_key));
        let terms = &mut graph.analysis.spec.terms;
        let mut moves = Vec::new();
        let mut place = |moved: bool, axis: AxisId, key: TermId| {
            if !moved {
                return key;
            }
            moves.push((axis, terms.add(Node::Order { axis, key })));
            terms.sorted(axis, key)
        };
        let sorted = place(self.permuted, self.axis, key);
        let sorted_rows = self.row.map_or(row_key, |row| place(true, row, row_key));
        let mut renaming = Renaming { terms, moves, done: BTreeMap::new() };
        let renamed = |t: &TermId| match in_order && self.compares_positions(renaming.terms, *t) {
            true => Some(*t),
            false => renaming.term(*t),
        };
        let mut rest = self.rest.iter().map(renamed).collect::<Option<Vec<TermId>>>()?;
        let operands = operands.into_iter().map(|t| renaming.term(t)).collect::<Option<Vec<TermId>>>()?;
        rest.insert(0, terms.binary(BinaryOp::Eq, sorted, sorted_rows));
        let domain = terms.nary(NaryOp::And, rest);
        let back = self.row.map(|row| {
            let order = terms.add(Node::Order { axis: row, key: row_key });
            (row, terms.add(Node::Order { axis: row, key: order }))
        });
        let domain = convert::intern(graph, domain);
        let children: Vec<Id> = operands.into_iter().map(|t| convert::add_real(graph, t)).collect();
        let mut node = match self.node.clone() {
            ENode::Reduce(op, axis, _, body) => ENode::Reduce(op, axis, domain, body),
            ENode::Attend(axis, _, parts) => ENode::Attend(axis, domain, parts),
            other => other,
        };
        node.children_mut().copy_from_slice(&children);
        let reduced = graph.add_uncanonical(node);
        Some(match back {
            Some((row, place)) => graph.add_uncanonical(ENode::At(row, place, [reduced])),
            None => reduced,
        })
    }
}

/// Equal keys of rows and of the reduced axis that are put in one and the same order, which is stable: of two of them the
/// earlier one still comes first.
impl Bucket {
    /// Whether rows and reduced positions are put in the same order.
    fn in_one_order(&self, spec: &mut Spec, (key, row_key): (TermId, TermId)) -> bool {
        let Some(row) = self.row.filter(|_| self.permuted) else { return false };
        if spec.axis(row).extent != spec.axis(self.axis).extent {
            return false;
        }
        let at_row = spec.terms.position(row);
        let mut renaming = Renaming { terms: &mut spec.terms, moves: vec![(self.axis, at_row)], done: BTreeMap::new() };
        renaming.term(key) == Some(row_key)
    }

    /// Whether a predicate says which of the two positions comes first.
    fn compares_positions(&self, terms: &Terms, predicate: TermId) -> bool {
        let Node::Binary(BinaryOp::Le | BinaryOp::Lt, x, y) = *terms.node(predicate) else { return false };
        let sides = [x, y].map(|side| match *terms.node(side) {
            Node::Position(axis) => Some(axis),
            _ => None,
        });
        sides == [self.row, Some(self.axis)] || sides == [Some(self.axis), self.row]
    }
}

/// The term of the form a class was made in.
fn oldest(graph: &mut Graph, class: Id) -> TermId {
    let expr = graph.id_to_expr(class);
    convert::to_term(&mut graph.analysis.spec.terms, &expr)
}

/// Reads terms at positions of some axes given by orders.
struct Renaming<'t> {
    terms: &'t mut Terms,
    /// Axes with their orders.
    moves: Vec<(AxisId, TermId)>,
    done: BTreeMap<TermId, TermId>,
}

impl Renaming<'_> {
    /// The term read in order; `None` if it would have to be stored for all pairs.
    fn term(&mut self, term: TermId) -> Option<TermId> {
        if let Some(done) = self.done.get(&term) {
            return Some(*done);
        }
        let free = self.terms.free(term);
        let moved: Vec<(AxisId, TermId)> =
            self.moves.iter().copied().filter(|(axis, _)| free.contains(*axis)).collect();
        let renamed = match *moved.as_slice() {
            [] => term,
            _ if self.may_descend(term, moved.len() > 1) => self.inside(term)?,
            [(axis, index)] => self.terms.add(Node::At { axis, index, body: term }),
            _ => return None,
        };
        self.done.insert(term, renamed);
        Some(renamed)
    }

    /// Whether the renaming may go below a term: pointwise terms, and sums whose restriction it leaves alone. Below
    /// other reductions it may go too if both axes are free there, since their values are not stored for pairs.
    fn may_descend(&self, term: TermId, pairs: bool) -> bool {
        match self.terms.node(term) {
            Node::Reduce { op, axis, domain, .. } => {
                let fixed = |t: TermId| self.moves.iter().all(|(a, _)| !self.terms.free(t).contains(*a));
                let captured = self.moves.iter().any(|(a, order)| a == axis || self.terms.free(*order).contains(*axis));
                !captured && (pairs || (*op == ReduceOp::Sum && fixed(*domain)))
            }
            Node::Softmax { .. } | Node::Attend { .. } | Node::Scan { .. } | Node::Order { .. } | Node::At { .. } => {
                false
            }
            _ => true,
        }
    }

    fn inside(&mut self, term: TermId) -> Option<TermId> {
        let node = self.terms.node(term).clone();
        if let Node::Position(axis) = node {
            return self.moves.iter().find(|(a, _)| *a == axis).map(|(_, order)| *order);
        }
        let renamed = node.operands().into_iter().map(|t| self.term(t)).collect::<Option<Vec<_>>>()?;
        let mut renamed = renamed.into_iter();
        let node = node.map_operands(|t| renamed.next().unwrap_or(t));
        Some(self.terms.add(node))
    }
}
