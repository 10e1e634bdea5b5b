//! The e-graph's language: the algebra with n-ary sums and products.
//!
//! Owns the e-node type. Products and sums are flattened and sorted by
//! e-class, so there are no commutativity or associativity rules; division is
//! a product with a reciprocal and negation a product with -1. Everything
//! that *decides* (integers, truth values, domains) and every input element is
//! a closed leaf: a [`TermId`] of the spec's arena that no rule looks into to
//! change it. Conversion to and from terms is in `convert`.

use attnc_algebra::{AxisId, BinaryOp, NaryOp, Real, ReduceOp, TermId, UnaryOp};
use egg::{Id, Language};

/// One e-node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ENode {
    /// A real constant.
    Const(Real),
    /// A closed term, kept bit for bit.
    Closed(TermId),
    /// A function of one operand.
    Unary(UnaryOp, [Id; 1]),
    /// A function of two operands.
    Binary(BinaryOp, [Id; 2]),
    /// A flattened, sorted n-ary operation.
    Nary(NaryOp, Box<[Id]>),
    /// `if .0 then .1[0] else .1[1]`
    Select(TermId, [Id; 2]),
    /// A reduction over an axis, restricted to a domain.
    Reduce(ReduceOp, AxisId, TermId, [Id; 1]),
    /// Softmax weights along an axis.
    Softmax(AxisId, TermId, [Id; 1]),
    /// `(axis, domain, [score, value])`
    Attend(AxisId, TermId, [Id; 2]),
    /// `(axis, row, [decay, body])`
    Scan(AxisId, AxisId, [Id; 2]),
    /// A scan of scores: `(axis, row, [decay, score])` is their log-sum-exp, `(axis, row, [decay, score, value])` the mean
    /// of values by their softmax weights.
    Online(AxisId, AxisId, Box<[Id]>),
    /// A value read at a computed position: `(axis, index, [body])`
    At(AxisId, TermId, [Id; 1]),
}

/// The operator of an e-node without its data: what a rule's root is found by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// [`ENode::Const`]
    Const,
    /// [`ENode::Closed`]
    Closed,
    /// [`ENode::Unary`]
    Unary(UnaryOp),
    /// [`ENode::Binary`]
    Binary(BinaryOp),
    /// [`ENode::Nary`]
    Nary(NaryOp),
    /// [`ENode::Select`]
    Select,
    /// [`ENode::Reduce`]
    Reduce(ReduceOp),
    /// [`ENode::Softmax`]
    Softmax,
    /// [`ENode::Attend`]
    Attend,
    /// [`ENode::Scan`]
    Scan,
    /// [`ENode::Online`]
    Online,
    /// [`ENode::At`]
    At,
}

impl Language for ENode {
    type Discriminant = Kind;

    fn discriminant(&self) -> Kind {
        match self {
            Self::Const(_) => Kind::Const,
            Self::Closed(_) => Kind::Closed,
            Self::Unary(op, _) => Kind::Unary(*op),
            Self::Binary(op, _) => Kind::Binary(*op),
            Self::Nary(op, _) => Kind::Nary(*op),
            Self::Select(..) => Kind::Select,
            Self::Reduce(op, ..) => Kind::Reduce(*op),
            Self::Softmax(..) => Kind::Softmax,
            Self::Attend(..) => Kind::Attend,
            Self::Scan(..) => Kind::Scan,
            Self::Online(..) => Kind::Online,
            Self::At(..) => Kind::At,
        }
    }

    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Const(a), Self::Const(b)) => a == b,
            (Self::Closed(a), Self::Closed(b)) => a == b,
            (Self::Unary(a, _), Self::Unary(b, _)) => a == b,
            (Self::Binary(a, _), Self::Binary(b, _)) => a == b,
            (Self::Nary(a, xs), Self::Nary(b, ys)) => a == b && xs.len() == ys.len(),
            (Self::Select(a, _), Self::Select(b, _)) => a == b,
            (Self::Reduce(a, j, m, _), Self::Reduce(b, k, n, _)) => (a, j, m) == (b, k, n),
            (Self::Softmax(j, m, _), Self::Softmax(k, n, _)) => (j, m) == (k, n),
            (Self::Attend(j, m, _), Self::Attend(k, n, _)) => (j, m) == (k, n),
            (Self::Scan(j, i, _), Self::Scan(k, l, _)) => (j, i) == (k, l),
            (Self::Online(j, i, xs), Self::Online(k, l, ys)) => (j, i, xs.len()) == (k, l, ys.len()),
            (Self::At(j, p, _), Self::At(k, q, _)) => (j, p) == (k, q),
            _ => false,
        }
    }

    fn children(&self) -> &[Id] {
        match self {
            Self::Const(_) | Self::Closed(_) => &[],
            Self::Unary(_, xs) | Self::Reduce(_, _, _, xs) | Self::Softmax(_, _, xs) | Self::At(_, _, xs) => xs,
            Self::Binary(_, xs) | Self::Select(_, xs) | Self::Attend(_, _, xs) | Self::Scan(_, _, xs) => xs,
            Self::Nary(_, xs) | Self::Online(_, _, xs) => xs,
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Self::Const(_) | Self::Closed(_) => &mut [],
            Self::Unary(_, xs) | Self::Reduce(_, _, _, xs) | Self::Softmax(_, _, xs) | Self::At(_, _, xs) => xs,
            Self::Binary(_, xs) | Self::Select(_, xs) | Self::Attend(_, _, xs) | Self::Scan(_, _, xs) => xs,
            Self::Nary(_, xs) | Self::Online(_, _, xs) => xs,
        }
    }
}
