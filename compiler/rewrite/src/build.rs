//! Small trees of e-nodes that rules match and make.
//!
//! Owns [`Tree`] and its instantiation, and the two smart constructors of the
//! language: sorted products and sums with folded constants. Must not know of
//! any rule.

use std::collections::{BTreeMap, BTreeSet};

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Node, Real, ReduceOp, Spec, TermId, Terms, UnaryOp};
use egg::Id;

use crate::bucket::Bucket;
use crate::convert;
use crate::facts::Graph;
use crate::language::ENode;

/// What a rule matched or makes: e-nodes over e-classes.
#[derive(Clone, Debug)]
pub enum Tree {
    /// An e-class.
    Class(Id),
    /// This very node, over other children.
    Node(ENode, Vec<Tree>),
    /// A product: flattened, sorted, constants folded, no factor 1.
    Product(Vec<Tree>),
    /// A sum: flattened, sorted, constants folded, no summand 0.
    Sum(Vec<Tree>),
    /// A real constant.
    Const(f64),
    /// A closed term.
    Closed(TermId),
    /// A tree of the oldest forms of its classes, with one axis renamed: `(tree, from, to)`.
    Renamed(Box<Tree>, AxisId, AxisId),
    /// The same read so many positions before the axis, a constant where there is none: `(tree, from, to, back, constant)`.
    Shifted(Box<Tree>, AxisId, AxisId, i64, f64),
    /// The tree where all the predicates hold, else a constant.
    Guarded(Vec<TermId>, Box<Tree>, f64),
    /// A reduction further restricted to where predicates hold or, if `false`, do not.
    Restricted(Vec<(TermId, bool)>, Box<Tree>),
    /// A reduction with `axis < row` for its restriction: `(tree, row)`.
    Before(Box<Tree>, AxisId),
    /// A reduction over `row + back <= axis`, with the positions of both counted from their ends: `(node, row, back)`.
    FromEnds(ENode, AxisId, i64),
    /// A reduction restricted to `axis <= row` or, if `false`, to the rest: `(node, row, before)`.
    Part(ENode, AxisId, bool),
    /// A product of closed integers made real.
    IntegerProduct(Vec<TermId>),
    /// A difference or sum of closed integers made real: `(term, coefficient)` and a constant.
    Integer(Vec<(TermId, i64)>, i64),
    /// A reduction in the order of an integer key.
    Bucket(Box<Bucket>),
    /// A closed element of an input, read at every position of one of its axes instead of a computed place.
    Read(TermId, AxisId),
}

impl Tree {
    /// A function of one operand.
    pub fn unary(op: UnaryOp, x: Tree) -> Self {
        Self::Node(ENode::Unary(op, [Id::from(0)]), vec![x])
    }

    /// A reduction.
    pub fn reduce(op: ReduceOp, axis: AxisId, domain: TermId, body: Tree) -> Self {
        Self::Node(ENode::Reduce(op, axis, domain, [Id::from(0)]), vec![body])
    }

    /// The derived node of fused softmax attention.
    pub fn attend(axis: AxisId, domain: TermId, score: Tree, value: Tree) -> Self {
        Self::Node(ENode::Attend(axis, domain, [Id::from(0); 2]), vec![score, value])
    }

    /// The derived node of a decayed prefix sum.
    pub fn scan(axis: AxisId, row: AxisId, decay: Tree, body: Tree) -> Self {
        Self::Node(ENode::Scan(axis, row, [Id::from(0); 2]), vec![decay, body])
    }

    /// The derived node of a prefix of scores: their log-sum-exp, or the mean of values by their weights.
    pub fn online(axis: AxisId, row: AxisId, decay: Tree, score: Tree, value: Option<Tree>) -> Self {
        let children: Vec<Self> = [decay, score].into_iter().chain(value).collect();
        Self::Node(ENode::Online(axis, row, vec![Id::from(0); children.len()].into()), children)
    }

    /// The product of classes.
    pub fn product_of(ids: impl IntoIterator<Item = Id>) -> Self {
        Self::Product(ids.into_iter().map(Self::Class).collect())
    }

    /// A matched node as it stands.
    pub fn matched(node: &ENode) -> Self {
        let children = egg::Language::children(node).iter().map(|c| Self::Class(*c)).collect();
        Self::Node(node.clone(), children)
    }

    /// A matched node with another tree for the operand at `at`.
    pub fn matched_with(node: &ENode, at: usize, operand: Tree) -> Self {
        let Self::Node(node, mut children) = Self::matched(node) else { unreachable!("matched gives a node") };
        children[at] = operand;
        Self::Node(node, children)
    }

    /// Adds the tree and returns its id, uncanonical when explanations are on.
    pub fn add(&self, graph: &mut Graph) -> Id {
        match self {
            Self::Class(id) => *id,
            Self::Node(node, children) => {
                let ids: Vec<Id> = children.iter().map(|c| c.add(graph)).collect();
                let mut node = node.clone();
                egg::Language::children_mut(&mut node).copy_from_slice(&ids);
                graph.add_uncanonical(node)
            }
            Self::Product(factors) => {
                let ids = flat(factors, graph, |t| if let Self::Product(xs) = t { Some(xs) } else { None });
                product(graph, ids)
            }
            Self::Sum(terms) => {
                let ids = flat(terms, graph, |t| if let Self::Sum(xs) = t { Some(xs) } else { None });
                sum(graph, ids)
            }
            Self::Const(value) => graph.add_uncanonical(ENode::Const(Real::new(*value))),
            Self::Closed(term) => convert::add_closed(graph, *term),
            Self::Renamed(tree, from, to) => {
                let term = tree.oldest(graph);
                let renamed = rename(graph, term, *from, *to);
                convert::add_term(graph, renamed)
            }
            Self::Shifted(tree, from, to, back, otherwise) => {
                let term = tree.oldest(graph);
                let spec = &mut graph.analysis.spec;
                let (position, off) = (spec.terms.position(*to), spec.terms.int(-*back));
                let place = spec.terms.nary(NaryOp::Add, vec![position, off]);
                let shifted = spec.substituted(term, &BTreeMap::from([(*from, place)]));
                let first = spec.terms.int(*back);
                let reached = spec.terms.binary(BinaryOp::Le, first, position);
                let (then, otherwise) = (convert::add_term(graph, shifted), Self::Const(*otherwise).add(graph));
                graph.add_uncanonical(ENode::Select(reached, [then, otherwise]))
            }
            Self::Guarded(predicates, tree, otherwise) => {
                let condition = graph.analysis.spec.terms.nary(NaryOp::And, predicates.clone());
                let (then, otherwise) = (tree.add(graph), Self::Const(*otherwise).add(graph));
                graph.add_uncanonical(ENode::Select(condition, [then, otherwise]))
            }
            Self::Restricted(predicates, tree) => {
                let Self::Node(node, children) = tree.as_ref() else { unreachable!("reductions are restricted") };
                let mut node = node.clone();
                if let ENode::Reduce(_, _, domain, _) | ENode::Softmax(_, domain, _) | ENode::Attend(_, domain, _) =
                    &mut node
                {
                    *domain = restricted(graph, *domain, predicates);
                }
                Self::Node(node, children.clone()).add(graph)
            }
            Self::Before(tree, row) => before_row(graph, tree, *row),
            Self::FromEnds(node, row, back) => from_ends(graph, node, *row, *back),
            Self::Part(node, row, before) => {
                let ENode::Reduce(_, axis, ..) = node else { unreachable!("reductions have parts") };
                let until = up_to(&mut graph.analysis.spec.terms, *axis, *row, 0);
                Self::Restricted(vec![(until, *before)], Box::new(Self::matched(node))).add(graph)
            }
            Self::IntegerProduct(factors) => {
                let product = graph.analysis.spec.terms.nary(NaryOp::Mul, factors.clone());
                add_integer(graph, product)
            }
            Self::Integer(parts, constant) => {
                let integer = linear_term(&mut graph.analysis.spec.terms, parts, *constant);
                add_integer(graph, integer)
            }
            Self::Bucket(bucket) => bucket.add(graph),
            Self::Read(element, axis) => {
                let spec = &mut graph.analysis.spec;
                let Node::Input { input, mut index } = spec.terms.node(*element).clone() else {
                    unreachable!("elements are of inputs")
                };
                let position = spec.terms.position(*axis);
                let dim = spec.input(input).axes.iter().position(|a| a == axis).expect("an axis of the input");
                index[dim] = position;
                let everywhere = spec.terms.add(Node::Input { input, index });
                convert::add_closed(graph, everywhere)
            }
        }
    }
}

impl Tree {
    /// The tree read `back` positions before an axis, or at it.
    pub fn back_by(self, from: AxisId, to: AxisId, back: i64) -> Self {
        match back {
            0 if from == to => self,
            0 => Self::Renamed(Box::new(self), from, to),
            _ => Self::Shifted(Box::new(self), from, to, back, 0.0),
        }
    }

    /// The term of the tree, over the oldest forms of its classes.
    fn oldest(&self, graph: &mut Graph) -> TermId {
        let id = self.add(graph);
        let oldest = graph.id_to_expr(id);
        convert::to_term(&mut graph.analysis.spec.terms, &oldest)
    }
}

/// `axis <= row - back`
fn up_to(terms: &mut Terms, axis: AxisId, row: AxisId, back: i64) -> TermId {
    let (position, row) = (terms.position(axis), terms.position(row));
    let until = linear_term(terms, &[(row, 1)], -back);
    terms.binary(BinaryOp::Le, position, until)
}

/// A reduction with `axis < row` for its restriction.
fn before_row(graph: &mut Graph, tree: &Tree, row: AxisId) -> Id {
    let Tree::Node(node, children) = tree else { unreachable!("reductions have restrictions") };
    let mut node = node.clone();
    if let ENode::Reduce(_, axis, domain, _) | ENode::Attend(axis, domain, _) = &mut node {
        let before = up_to(&mut graph.analysis.spec.terms, *axis, row, 1);
        *domain = convert::intern(graph, before);
    }
    Tree::Node(node, children.clone()).add(graph)
}

/// A reduction over `row + back <= axis` as one over `axis <= row - back`, whose positions are counted from the ends of
/// both axes, read at the row's place from the end.
fn from_ends(graph: &mut Graph, node: &ENode, row: AxisId, back: i64) -> Id {
    let ENode::Reduce(op, axis, _, [body]) = node else { unreachable!("reductions are over suffixes") };
    let term = Tree::Class(*body).oldest(graph);
    let spec = &mut graph.analysis.spec;
    let places: BTreeMap<AxisId, TermId> = [row, *axis]
        .into_iter()
        .map(|a| {
            let extent = spec.axis(a).extent;
            let position = spec.terms.position(a);
            (a, linear_term(&mut spec.terms, &[(extent, 1), (position, -1)], -1))
        })
        .collect();
    let turned = between_from_the_end(spec, term, [row, *axis], &mut BTreeMap::new());
    let turned = spec.substituted(turned, &places);
    let domain = up_to(&mut spec.terms, *axis, row, back);
    let domain = convert::intern(graph, domain);
    let body = convert::add_real(graph, turned);
    let reduced = graph.add_uncanonical(ENode::Reduce(*op, *axis, domain, [body]));
    graph.add_uncanonical(ENode::At(row, places[&row], [reduced]))
}

/// The term in which sums and products between positions of the two axes are taken from the end of their own.
fn between_from_the_end(
    spec: &mut Spec,
    term: TermId,
    ends: [AxisId; 2],
    done: &mut BTreeMap<TermId, TermId>,
) -> TermId {
    if let Some(known) = done.get(&term) {
        return *known;
    }
    let turned = match spec.terms.node(term).clone() {
        _ if !ends.iter().any(|end| spec.terms.free(term).contains(*end)) => term,
        Node::Reduce { op: op @ (ReduceOp::Sum | ReduceOp::Prod), axis, domain, body }
            if ends.iter().all(|end| {
                spec.terms.free(domain).contains(*end) && spec.axis(*end).extent == spec.axis(axis).extent
            }) =>
        {
            let (extent, position) = (spec.axis(axis).extent, spec.terms.position(axis));
            let from_end = linear_term(&mut spec.terms, &[(extent, 1), (position, -1)], -1);
            let place = BTreeMap::from([(axis, from_end)]);
            let [domain, body] = [domain, body].map(|t| spec.substituted(t, &place));
            spec.terms.add(Node::Reduce { op, axis, domain, body })
        }
        node if node.runs_over_axis() => term,
        node => {
            let node = node.map_operands(|t| between_from_the_end(spec, t, ends, done));
            spec.terms.add(node)
        }
    };
    done.insert(term, turned);
    turned
}

/// A closed integer made real.
fn add_integer(graph: &mut Graph, integer: TermId) -> Id {
    let real = graph.analysis.spec.terms.unary(UnaryOp::ToReal, integer);
    convert::add_closed(graph, real)
}

/// The sum of multiples of integers and of a constant.
fn linear_term(terms: &mut Terms, parts: &[(TermId, i64)], constant: i64) -> TermId {
    let mut summands: Vec<TermId> = Vec::new();
    for (term, coefficient) in parts {
        summands.push(match coefficient {
            1 => *term,
            -1 => terms.unary(UnaryOp::Neg, *term),
            c => {
                let c = terms.int(*c);
                terms.nary(NaryOp::Mul, vec![c, *term])
            }
        });
    }
    if constant != 0 || summands.is_empty() {
        summands.push(terms.int(constant));
    }
    terms.nary(NaryOp::Add, summands)
}

/// The predicate that holds where `domain` does and each of `predicates` is as said.
fn restricted(graph: &mut Graph, domain: TermId, predicates: &[(TermId, bool)]) -> TermId {
    let terms = &mut graph.analysis.spec.terms;
    let mut conjuncts = Vec::new();
    for (predicate, holds) in [(domain, true)].iter().chain(predicates) {
        match terms.node(*predicate) {
            Node::Bool(truth) if truth == holds => {}
            Node::Nary(NaryOp::And, parts) if *holds => conjuncts.extend(parts.iter().copied()),
            _ if *holds => conjuncts.push(*predicate),
            _ => conjuncts.push(terms.unary(UnaryOp::Not, *predicate)),
        }
    }
    let mut seen = BTreeSet::new();
    conjuncts.retain(|t| seen.insert(*t));
    let predicate = match conjuncts.is_empty() {
        true => terms.truth(true),
        false => terms.nary(NaryOp::And, conjuncts),
    };
    convert::intern(graph, predicate)
}

/// The ids of the members, nested ones of the same kind spliced in.
fn flat(members: &[Tree], graph: &mut Graph, nested: fn(&Tree) -> Option<&Vec<Tree>>) -> Vec<Id> {
    let mut ids = Vec::new();
    for member in members {
        match nested(member) {
            Some(inner) => ids.extend(flat(inner, graph, nested)),
            None => ids.push(member.add(graph)),
        }
    }
    ids
}

/// The product of classes in normal form.
pub fn product(graph: &mut Graph, factors: Vec<Id>) -> Id {
    nary(graph, NaryOp::Mul, factors, 1.0)
}

/// The sum of classes in normal form.
pub fn sum(graph: &mut Graph, summands: Vec<Id>) -> Id {
    nary(graph, NaryOp::Add, summands, 0.0)
}

fn nary(graph: &mut Graph, op: NaryOp, operands: Vec<Id>, neutral: f64) -> Id {
    let mut constant = neutral;
    let mut rest = Vec::with_capacity(operands.len());
    for id in operands {
        match graph[id].data.constant {
            Some(value) => constant = op.eval(constant, value.get()),
            None => rest.push(id),
        }
    }
    let absorbing = op == NaryOp::Mul && constant == 0.0;
    if absorbing || rest.is_empty() {
        return graph.add_uncanonical(ENode::Const(Real::new(constant)));
    }
    if constant != neutral {
        rest.push(graph.add_uncanonical(ENode::Const(Real::new(constant))));
    }
    if let [one] = rest.as_slice() {
        return *one;
    }
    rest.sort_by_key(|id| (graph.find(*id), *id));
    graph.add_uncanonical(ENode::Nary(op, rest.into()))
}

/// A copy of a term in which axis `from` is renamed to `to`.
fn rename(graph: &mut Graph, term: TermId, from: AxisId, to: AxisId) -> TermId {
    let terms = &mut graph.analysis.spec.terms;
    if !terms.free(term).contains(from) {
        return term;
    }
    let node = terms.node(term).clone();
    if node == Node::Position(from) {
        return terms.position(to);
    }
    if let Node::At { axis, index, body } = node
        && axis == from
    {
        // The axis is bound in the body; only the index reads it from outside.
        let index = rename(graph, index, from, to);
        return graph.analysis.spec.terms.add(Node::At { axis, index, body });
    }
    let operands = node.operands();
    let renamed: Vec<TermId> = operands.iter().map(|t| rename(graph, *t, from, to)).collect();
    let mut next = renamed.into_iter();
    let node = node.map_operands(|_| next.next().expect("one renamed operand for each"));
    let node = match node {
        Node::Softmax { axis, domain, body } if axis == from => Node::Softmax { axis: to, domain, body },
        Node::Scan { carry, axis, row, decay, body } if row == from => Node::Scan { carry, axis, row: to, decay, body },
        Node::Order { axis, key } if axis == from => Node::Order { axis: to, key },
        other => other,
    };
    graph.analysis.spec.terms.add(node)
}
