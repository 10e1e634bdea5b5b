//! Terms into the e-graph and back.
//!
//! Owns what is open to rewriting (real arithmetic) and what is closed
//! (integers, truth values, input elements, rounding functions, scalars
//! without data). Division enters as a product with a reciprocal, negation as
//! a product with -1, and both come back as they were.

use std::collections::{BTreeMap, BTreeSet};

use attnc_algebra::{BinaryOp, Carry, NaryOp, Node, Real, TermId, Terms, Type, UnaryOp};
use egg::{Id, RecExpr};

use crate::build::{product, sum};
use crate::facts::{Graph, reads_input};
use crate::language::ENode;

/// Operands up to which products and sums are flattened.
const MAX_FLAT: usize = 24;

/// The same where an operand has other users: an iteration's value would else be written out anew in each round.
const MAX_FLAT_SHARED: usize = 6;

/// Adds a term and returns the id of its e-node (uncanonical when explanations are on).
///
/// Walks the arena in its topological order, so depth of nesting is no concern.
pub fn add_term(graph: &mut Graph, root: TermId) -> Id {
    let mut order = BTreeSet::new();
    let mut shared = BTreeSet::new();
    let mut todo = vec![root];
    while let Some(term) = todo.pop() {
        if graph.analysis.classes.contains_key(&term) || !order.insert(term) {
            shared.insert(term);
            continue;
        }
        if !is_closed(&graph.analysis.spec.terms, term) {
            todo.extend(open_operands(&graph.analysis.spec.terms, term));
        }
    }
    for term in order {
        let id = add_one(graph, term, &shared);
        graph.analysis.classes.insert(term, id);
    }
    graph.analysis.classes[&root]
}

/// Whether a term is kept bit for bit as a leaf.
fn is_closed(terms: &Terms, term: TermId) -> bool {
    if terms.ty(term) != Type::Real {
        return true;
    }
    match terms.node(term) {
        Node::Real(_) => false,
        Node::Input { .. } | Node::Unary(UnaryOp::ToReal, _) => true,
        node if node.decides() => true,
        _ => terms.free(term).is_empty() && !reads_input(terms, term),
    }
}

/// Operands that become e-classes of their own.
fn open_operands(terms: &Terms, term: TermId) -> Vec<TermId> {
    match terms.node(term) {
        Node::Select(_, a, b) => vec![*a, *b],
        Node::Reduce { body, .. } | Node::Softmax { body, .. } | Node::At { body, .. } => vec![*body],
        Node::Attend { score, value, .. } => vec![*score, *value],
        other => other.operands().to_vec(),
    }
}

fn add_one(graph: &mut Graph, term: TermId, shared: &BTreeSet<TermId>) -> Id {
    let node = graph.analysis.spec.terms.node(term).clone();
    if let Node::Real(value) = node {
        return graph.add_uncanonical(ENode::Const(value));
    }
    if is_closed(&graph.analysis.spec.terms, term) {
        return add_closed(graph, term);
    }
    let enode = match node {
        Node::Unary(UnaryOp::Neg, x) => {
            let minus = graph.add_uncanonical(ENode::Const(Real::new(-1.0)));
            let x = real(graph, x);
            return product(graph, vec![minus, x]);
        }
        Node::Unary(op, x) => ENode::Unary(op, [real(graph, x)]),
        Node::Binary(BinaryOp::Div, x, y) => {
            let (x, y) = (real(graph, x), real(graph, y));
            let recip = match graph[y].data.constant.map(Real::get) {
                // Division by a power of two is exact as a product.
                Some(c) if c.is_normal() && c.to_bits() << 12 == 0 => {
                    graph.add_uncanonical(ENode::Const(Real::new(1.0 / c)))
                }
                _ => graph.add_uncanonical(ENode::Unary(UnaryOp::Recip, [y])),
            };
            let mut factors = factors_of(graph, x);
            factors.push(recip);
            return product(graph, factors);
        }
        Node::Binary(BinaryOp::Pow, x, y) => ENode::Binary(BinaryOp::Pow, [real(graph, x), exponent(graph, y)]),
        Node::Binary(op, x, y) => ENode::Binary(op, [real(graph, x), real(graph, y)]),
        Node::Nary(op @ (NaryOp::Mul | NaryOp::Add), xs) => {
            let operands = flattened(graph, op, &xs, shared);
            return if op == NaryOp::Mul { product(graph, operands) } else { sum(graph, operands) };
        }
        Node::Nary(op, xs) => {
            let mut children: Vec<Id> = xs.iter().map(|x| real(graph, *x)).collect();
            children.sort_by_key(|id| graph.find(*id));
            ENode::Nary(op, children.into())
        }
        Node::Select(c, a, b) => ENode::Select(c, [real(graph, a), real(graph, b)]),
        Node::Reduce { op, axis, domain, body } => {
            let domain = intern(graph, domain);
            ENode::Reduce(op, axis, domain, [real(graph, body)])
        }
        Node::Softmax { axis, domain, body } => {
            let domain = intern(graph, domain);
            ENode::Softmax(axis, domain, [real(graph, body)])
        }
        Node::Attend { axis, domain, score, value } => {
            let domain = intern(graph, domain);
            ENode::Attend(axis, domain, [real(graph, score), real(graph, value)])
        }
        Node::Scan { carry: Carry::Sum, axis, row, decay, body } => {
            ENode::Scan(axis, row, [real(graph, decay), real(graph, body)])
        }
        Node::Scan { carry: Carry::LogSumExp, axis, row, decay, body } => {
            ENode::Online(axis, row, [decay, body].map(|t| real(graph, t)).into())
        }
        Node::Scan { carry: Carry::Attend(score), axis, row, decay, body } => {
            ENode::Online(axis, row, [decay, score, body].map(|t| real(graph, t)).into())
        }
        Node::At { axis, index, body } => ENode::At(axis, index, [real(graph, body)]),
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Extent(_)
        | Node::Position(_)
        | Node::Order { .. }
        | Node::Input { .. } => return add_closed(graph, term),
    };
    graph.add_uncanonical(enode)
}

/// A closed leaf.
pub fn add_closed(graph: &mut Graph, term: TermId) -> Id {
    graph.add_uncanonical(ENode::Closed(term))
}

/// The first predicate met with the same domain.
pub fn intern(graph: &mut Graph, predicate: TermId) -> TermId {
    let facts = &mut graph.analysis;
    facts.domains.intern(&facts.spec, predicate)
}

/// Adds a term that stands where a real is wanted; integers are converted.
pub fn add_real(graph: &mut Graph, term: TermId) -> Id {
    if graph.analysis.spec.terms.ty(term) == Type::Real {
        return add_term(graph, term);
    }
    real(graph, term)
}

/// The class of an operand of real arithmetic; integers are converted.
fn real(graph: &mut Graph, term: TermId) -> Id {
    let terms = &mut graph.analysis.spec.terms;
    match (terms.ty(term), terms.node(term)) {
        (Type::Real, _) => graph.analysis.classes[&term],
        (_, Node::Int(v)) => {
            let value = Real::new(*v as f64);
            graph.add_uncanonical(ENode::Const(value))
        }
        _ => {
            let converted = terms.unary(UnaryOp::ToReal, term);
            add_closed(graph, converted)
        }
    }
}

/// An exponent keeps its integer type, except for literals.
fn exponent(graph: &mut Graph, term: TermId) -> Id {
    match graph.analysis.spec.terms.node(term) {
        Node::Int(_) => real(graph, term),
        _ => graph.analysis.classes[&term],
    }
}

/// The factors of a product just added, or the class itself.
fn factors_of(graph: &Graph, id: Id) -> Vec<Id> {
    match graph.id_to_node(id) {
        ENode::Nary(NaryOp::Mul, xs) if xs.len() <= MAX_FLAT => xs.to_vec(),
        _ => vec![id],
    }
}

/// The operands of a product or sum, nested ones spliced in while it stays short.
fn flattened(graph: &mut Graph, op: NaryOp, xs: &[TermId], shared: &BTreeSet<TermId>) -> Vec<Id> {
    let mut out = Vec::new();
    for x in xs {
        let most = if shared.contains(x) { MAX_FLAT_SHARED } else { MAX_FLAT };
        let x = real(graph, *x);
        match graph.id_to_node(x) {
            ENode::Nary(inner, ys) if *inner == op && out.len() + ys.len() <= most => out.extend(ys.iter().copied()),
            _ => out.push(x),
        }
    }
    out
}

/// The term of the last node of an expression, written as users write it: with divisions and negations.
pub fn to_term(terms: &mut Terms, expr: &RecExpr<ENode>) -> TermId {
    write(terms, expr, true)
}

/// The term of the last node of an expression, node for node.
pub fn to_literal_term(terms: &mut Terms, expr: &RecExpr<ENode>) -> TermId {
    write(terms, expr, false)
}

fn write(terms: &mut Terms, expr: &RecExpr<ENode>, readable: bool) -> TermId {
    let mut built: Vec<TermId> = Vec::with_capacity(expr.len());
    let mut recips: BTreeMap<TermId, TermId> = BTreeMap::new();
    for node in expr.as_ref() {
        let at = |id: &Id| built[usize::from(*id)];
        let term = match node {
            ENode::Const(value) => terms.add(Node::Real(*value)),
            ENode::Closed(term) => *term,
            ENode::Unary(UnaryOp::Recip, [x]) if readable => {
                let (x, one) = (at(x), terms.real(1.0));
                let recip = terms.binary(BinaryOp::Div, one, x);
                recips.insert(recip, x);
                recip
            }
            ENode::Unary(op, [x]) => terms.unary(*op, at(x)),
            ENode::Binary(op, [x, y]) => terms.binary(*op, at(x), at(y)),
            ENode::Nary(NaryOp::Mul, xs) if readable => {
                let factors: Vec<TermId> = xs.iter().map(at).collect();
                product_term(terms, &factors, &recips)
            }
            ENode::Nary(op, xs) => {
                let mut xs: Vec<TermId> = xs.iter().map(at).collect();
                xs.sort_by_key(|t| (matches!(terms.node(*t), Node::Real(_)), *t));
                terms.nary(*op, xs)
            }
            ENode::Select(c, [a, b]) => terms.add(Node::Select(*c, at(a), at(b))),
            ENode::Reduce(op, axis, domain, [body]) => terms.reduce(*op, *axis, *domain, at(body)),
            ENode::Softmax(axis, domain, [body]) => {
                terms.add(Node::Softmax { axis: *axis, domain: *domain, body: at(body) })
            }
            ENode::Attend(axis, domain, [score, value]) => {
                terms.add(Node::Attend { axis: *axis, domain: *domain, score: at(score), value: at(value) })
            }
            ENode::Scan(axis, row, [decay, body]) => {
                let (decay, body) = (at(decay), at(body));
                terms.add(Node::Scan { carry: Carry::Sum, axis: *axis, row: *row, decay, body })
            }
            ENode::Online(axis, row, xs) => {
                let (carry, body) = match xs[1..] {
                    [score, value] => (Carry::Attend(at(&score)), at(&value)),
                    _ => (Carry::LogSumExp, at(&xs[1])),
                };
                terms.add(Node::Scan { carry, axis: *axis, row: *row, decay: at(&xs[0]), body })
            }
            ENode::At(axis, index, [body]) => terms.add(Node::At { axis: *axis, index: *index, body: at(body) }),
        };
        built.push(term);
    }
    built.last().copied().expect("an expression has at least one node")
}

/// A product with its reciprocals as one division and -1 as a negation.
///
/// Factors are ordered: constants, then by age, which is the order of the text.
fn product_term(terms: &mut Terms, factors: &[TermId], recips: &BTreeMap<TermId, TermId>) -> TermId {
    let mut above = Vec::new();
    let mut below = Vec::new();
    let mut negative = false;
    for factor in factors {
        match (recips.get(factor), terms.node(*factor)) {
            (Some(x), _) => below.push(*x),
            (_, Node::Real(r)) if r.get() == -1.0 => negative = !negative,
            _ => above.push(*factor),
        }
    }
    for part in [&mut above, &mut below] {
        part.sort_by_key(|t| (!matches!(terms.node(*t), Node::Real(_)), *t));
    }
    if above.is_empty() {
        above.push(terms.real(1.0));
    }
    let mut out = terms.nary(NaryOp::Mul, above);
    if !below.is_empty() {
        let below = terms.nary(NaryOp::Mul, below);
        out = terms.binary(BinaryOp::Div, out, below);
    }
    if negative { terms.unary(UnaryOp::Neg, out) } else { out }
}
