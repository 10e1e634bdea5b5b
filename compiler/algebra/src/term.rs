//! Terms: the checked, named-axis form of a spec, hash-consed in an arena.
//!
//! A term denotes a tensor over its *free axes*. Elaboration has already
//! resolved names, parameters, user functions and positional indexing (a
//! computed tensor indexed on other axes is a copy with fresh axes), so the
//! only binders left are reductions. Also holds the *derived* nodes that
//! rewrite rules introduce: [`Node::Attend`], [`Node::Scan`], [`Node::Order`]
//! and [`Node::At`]; each has a meaning in the reference evaluator. Read [`crate::spec`] next.

use std::collections::BTreeMap;

use crate::axis::{AxisId, AxisSet, InputId, SymbolId};
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};

/// Index of a term in its [`Terms`] arena.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TermId(pub u32);

/// What kind of number a term denotes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Type {
    /// A real: f32 (or f64) when compiled, f64 in the reference.
    Real,
    /// A 64-bit integer.
    Int,
    /// A truth value.
    Bool,
}

/// An f64 constant that compares by its bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Real(u64);

impl Real {
    /// The constant `value`.
    pub fn new(value: f64) -> Self {
        Self(value.to_bits())
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl std::fmt::Debug for Real {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

/// One operation of the algebra.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Node {
    /// A real constant.
    Real(Real),
    /// An integer constant.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// An extent symbol, an integer bound at run time.
    Extent(SymbolId),
    /// The 0-based position along an axis.
    Position(AxisId),
    /// An element of an input; one integer index term per declared axis
    /// (`Position` of that very axis where the text names no index).
    Input {
        /// Which input.
        input: InputId,
        /// One integer term per axis of the input.
        index: Vec<TermId>,
    },
    /// A function of one operand.
    Unary(UnaryOp, TermId),
    /// A function of two operands.
    Binary(BinaryOp, TermId, TermId),
    /// An associative, commutative operation; two or more operands.
    Nary(NaryOp, Vec<TermId>),
    /// `if .0 then .1 else .2`; the branch not taken is not evaluated.
    Select(TermId, TermId, TermId),
    /// A reduction of `body` over the positions of `axis` at which `domain` holds.
    Reduce {
        /// The reduction.
        op: ReduceOp,
        /// The axis it removes.
        axis: AxisId,
        /// Where it runs; a truth value.
        domain: TermId,
        /// What it reduces.
        body: TermId,
    },
    /// Softmax weights along `axis` (which stays free): 0 outside `domain`
    /// and over an empty domain.
    Softmax {
        /// The axis normalised over.
        axis: AxisId,
        /// Where weights are non-zero.
        domain: TermId,
        /// The scores.
        body: TermId,
    },
    /// Derived: `sum[axis](softmax[axis where domain](score) * value)`.
    Attend {
        /// The key axis, removed.
        axis: AxisId,
        /// The allowed pairs.
        domain: TermId,
        /// The scores.
        score: TermId,
        /// The values.
        value: TermId,
    },
    /// Derived: a decayed prefix sum over `axis` = j up to position `row` = i,
    /// `sum[j where j <= i](body(j) * prod[t where j < t and t <= i](decay(t)))`
    /// where `decay` is a term over the same axis j (read at t); or one of the
    /// other reductions of [`Carry`]. It removes `axis` and has `row` free;
    /// both axes have the same extent.
    Scan {
        /// What is carried from position to position.
        carry: Carry,
        /// The axis summed over.
        axis: AxisId,
        /// The axis of the prefix ends.
        row: AxisId,
        /// The decay at each position: a factor of a sum, constant 1 for a plain one; a summand of scores.
        decay: TermId,
        /// What is reduced, free of `row`.
        body: TermId,
    },
    /// Derived: the stable ascending order of an integer key along `axis`
    /// (which stays free): at position p, the position whose key is number p;
    /// equal keys keep their order.
    Order {
        /// The axis ordered.
        axis: AxisId,
        /// An integer.
        key: TermId,
    },
    /// Derived: `body` read at position `index` of `axis`. The axis is bound
    /// in `body` and may be free in `index`; an index outside the axis is
    /// taken to its nearest end.
    At {
        /// The axis read.
        axis: AxisId,
        /// Where; an integer.
        index: TermId,
        /// What.
        body: TermId,
    },
}

/// What a scan carries from position to position. Scores decay by what is added to them: with
/// `s(i, j) = score(j) + sum[t where j < t and t <= i](decay(t))`, the scan of scores is a reduction of `s` over `j <= i`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Carry {
    /// A sum of the body, which decays by a factor.
    Sum,
    /// The log-sum-exp of scores, which are the body.
    LogSumExp,
    /// The mean of the body by softmax weights of these scores.
    Attend(TermId),
}

impl Carry {
    /// The same on the scores that `f` gives for the old ones.
    pub fn map(self, f: impl FnOnce(TermId) -> TermId) -> Self {
        match self {
            Self::Attend(score) => Self::Attend(f(score)),
            plain => plain,
        }
    }
}

impl Node {
    /// Whether it runs over an axis, or reads along one at computed places: not computed lane by lane.
    #[inline]
    pub fn runs_over_axis(&self) -> bool {
        matches!(
            self,
            Self::Reduce { .. }
                | Self::Softmax { .. }
                | Self::Attend { .. }
                | Self::Scan { .. }
                | Self::Order { .. }
                | Self::At { .. }
        )
    }

    /// Whether the result jumps where the operands move: such operands are computed in f64, in axis order, and are
    /// rewritten only where that keeps their bits.
    pub fn decides(&self) -> bool {
        match self {
            Self::Unary(op, _) => {
                matches!(op, UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Sign | UnaryOp::RealToInt)
            }
            Self::Binary(op, ..) => op.is_comparison() || matches!(op, BinaryOp::FloorDiv | BinaryOp::Mod),
            Self::Reduce { op, .. } => matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin),
            Self::Order { .. } => true,
            _ => false,
        }
    }

    /// The same operation on the operands that `f` gives for the old ones.
    pub fn map_operands(&self, mut f: impl FnMut(TermId) -> TermId) -> Self {
        match self {
            Self::Real(_) | Self::Int(_) | Self::Bool(_) | Self::Extent(_) | Self::Position(_) => self.clone(),
            Self::Input { input, index } => Self::Input { input: *input, index: index.iter().map(|t| f(*t)).collect() },
            Self::Unary(op, x) => Self::Unary(*op, f(*x)),
            Self::Binary(op, x, y) => Self::Binary(*op, f(*x), f(*y)),
            Self::Nary(op, xs) => Self::Nary(*op, xs.iter().map(|t| f(*t)).collect()),
            Self::Select(c, a, b) => Self::Select(f(*c), f(*a), f(*b)),
            Self::Reduce { op, axis, domain, body } => {
                Self::Reduce { op: *op, axis: *axis, domain: f(*domain), body: f(*body) }
            }
            Self::Softmax { axis, domain, body } => Self::Softmax { axis: *axis, domain: f(*domain), body: f(*body) },
            Self::Attend { axis, domain, score, value } => {
                Self::Attend { axis: *axis, domain: f(*domain), score: f(*score), value: f(*value) }
            }
            Self::Scan { carry, axis, row, decay, body } => {
                let (decay, body) = (f(*decay), f(*body));
                Self::Scan { carry: carry.map(f), axis: *axis, row: *row, decay, body }
            }
            Self::Order { axis, key } => Self::Order { axis: *axis, key: f(*key) },
            Self::At { axis, index, body } => Self::At { axis: *axis, index: f(*index), body: f(*body) },
        }
    }
}

/// An arena of hash-consed terms with their free axes and types.
///
/// Equal nodes get equal ids, and operands come before their users, so ids
/// are a topological order.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    nodes: Vec<Node>,
    free: Vec<AxisSet>,
    types: Vec<Type>,
    /// Types of the inputs, needed to type `Node::Input`.
    input_types: Vec<Type>,
    ids: BTreeMap<Node, TermId>,
}

impl Terms {
    /// An empty arena.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares the type of the next input, in the order of [`crate::Spec::inputs`].
    pub fn declare_input(&mut self, ty: Type) {
        self.input_types.push(ty);
    }

    /// Adds `node` (or finds it) and returns its id.
    pub fn add(&mut self, node: Node) -> TermId {
        if let Some(id) = self.ids.get(&node) {
            return *id;
        }
        let id = TermId(u32::try_from(self.nodes.len()).expect("spec size limits keep arenas below 2^32 terms"));
        self.free.push(self.free_of_node(&node));
        self.types.push(self.type_of_node(&node));
        self.nodes.push(node.clone());
        self.ids.insert(node, id);
        id
    }

    /// The node of a term.
    #[inline]
    pub fn node(&self, id: TermId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The free axes of a term.
    #[inline]
    pub fn free(&self, id: TermId) -> &AxisSet {
        &self.free[id.0 as usize]
    }

    /// The type of a term.
    #[inline]
    pub fn ty(&self, id: TermId) -> Type {
        self.types[id.0 as usize]
    }

    /// Number of terms.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no term.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn free_of_node(&self, node: &Node) -> AxisSet {
        let mut out = AxisSet::new();
        match node {
            Node::Position(axis) => out.insert(*axis),
            Node::Reduce { axis, .. } | Node::Attend { axis, .. } => {
                out = self.free_of_operands(node).without(*axis);
            }
            Node::Scan { axis, row, .. } => {
                out = self.free_of_operands(node).without(*axis);
                out.insert(*row);
            }
            Node::Softmax { axis, .. } | Node::Order { axis, .. } => {
                out = self.free_of_operands(node);
                out.insert(*axis);
            }
            Node::At { axis, index, body } => out = self.free(*body).without(*axis).union(self.free(*index)),
            _ => out = self.free_of_operands(node),
        }
        out
    }

    fn free_of_operands(&self, node: &Node) -> AxisSet {
        let mut out = AxisSet::new();
        node.operands().iter().for_each(|t| out.extend(self.free(*t)));
        out
    }

    fn type_of_node(&self, node: &Node) -> Type {
        match node {
            Node::Real(_) | Node::Softmax { .. } | Node::Attend { .. } | Node::Scan { .. } => Type::Real,
            Node::Int(_) | Node::Extent(_) | Node::Position(_) | Node::Order { .. } => Type::Int,
            Node::At { body, .. } => self.ty(*body),
            Node::Bool(_) => Type::Bool,
            Node::Input { input, .. } => self.input_types[input.0 as usize],
            Node::Unary(op, x) => match op {
                UnaryOp::Not => Type::Bool,
                UnaryOp::ToInt | UnaryOp::RealToInt => Type::Int,
                UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Sign | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Relu => {
                    self.ty(*x)
                }
                _ => Type::Real,
            },
            Node::Binary(op, x, y) => {
                if op.is_comparison() {
                    Type::Bool
                } else if matches!(op, BinaryOp::Div | BinaryOp::LogAddExp) {
                    Type::Real
                } else {
                    self.join(*x, *y)
                }
            }
            Node::Nary(NaryOp::And | NaryOp::Or, _) => Type::Bool,
            Node::Nary(_, xs) => {
                xs.iter().fold(Type::Int, |t, x| if self.ty(*x) == Type::Real { Type::Real } else { t })
            }
            Node::Select(_, a, b) => self.join(*a, *b),
            Node::Reduce { op, body, .. } => match op {
                ReduceOp::Any | ReduceOp::All => Type::Bool,
                ReduceOp::ArgMax | ReduceOp::ArgMin => Type::Int,
                ReduceOp::LogSumExp => Type::Real,
                // An empty integer maximum has no integer value, so extrema are reals.
                ReduceOp::Max | ReduceOp::Min => Type::Real,
                ReduceOp::Sum | ReduceOp::Prod => self.ty(*body),
            },
        }
    }

    fn join(&self, x: TermId, y: TermId) -> Type {
        match (self.ty(x), self.ty(y)) {
            (a, b) if a == b => a,
            (Type::Bool, Type::Int) | (Type::Int, Type::Bool) => Type::Int,
            _ => Type::Real,
        }
    }
}

/// Shorthand constructors. They insert no conversions: operands already have the right types.
impl Terms {
    /// A real constant.
    pub fn real(&mut self, value: f64) -> TermId {
        self.add(Node::Real(Real::new(value)))
    }

    /// An integer constant.
    pub fn int(&mut self, value: i64) -> TermId {
        self.add(Node::Int(value))
    }

    /// A truth value.
    pub fn truth(&mut self, value: bool) -> TermId {
        self.add(Node::Bool(value))
    }

    /// The position along `axis`.
    pub fn position(&mut self, axis: AxisId) -> TermId {
        self.add(Node::Position(axis))
    }

    /// `op(x)`
    pub fn unary(&mut self, op: UnaryOp, x: TermId) -> TermId {
        self.add(Node::Unary(op, x))
    }

    /// `op(x, y)`
    pub fn binary(&mut self, op: BinaryOp, x: TermId, y: TermId) -> TermId {
        self.add(Node::Binary(op, x, y))
    }

    /// `op` over the operands; the single operand itself where there is one.
    ///
    /// # Panics
    /// If `operands` is empty.
    pub fn nary(&mut self, op: NaryOp, operands: Vec<TermId>) -> TermId {
        match operands.as_slice() {
            [] => panic!("an n-ary operation needs operands"),
            [one] => *one,
            _ => self.add(Node::Nary(op, operands)),
        }
    }

    /// The conditions of a predicate, all of which must hold; itself if it is none of several.
    pub fn conditions(&self, predicate: TermId) -> Vec<TermId> {
        match self.node(predicate) {
            Node::Nary(NaryOp::And, parts) => parts.clone(),
            _ => vec![predicate],
        }
    }

    /// The keys along `axis` in ascending order.
    pub fn sorted(&mut self, axis: AxisId, key: TermId) -> TermId {
        let index = self.add(Node::Order { axis, key });
        self.add(Node::At { axis, index, body: key })
    }

    /// The axis along which a term never decreases because it is [`Terms::sorted`], and the key.
    pub fn sorted_key(&self, term: TermId) -> Option<(AxisId, TermId)> {
        let Node::At { axis, index, body } = self.node(term) else { return None };
        (*self.node(*index) == Node::Order { axis: *axis, key: *body }).then_some((*axis, *body))
    }

    /// The term with the operands of every pair in one order, which changes no bit of its value: what is written in
    /// two orders becomes one term.
    pub fn with_pairs_in_order(&mut self, term: TermId) -> TermId {
        self.pairs_in_order(term, &mut BTreeMap::new())
    }

    fn pairs_in_order(&mut self, term: TermId, done: &mut BTreeMap<TermId, TermId>) -> TermId {
        if let Some(known) = done.get(&term) {
            return *known;
        }
        let node = self.node(term).clone();
        let operands: Vec<TermId> = node.operands().iter().map(|t| self.pairs_in_order(*t, done)).collect();
        let mut operands = operands.into_iter();
        let mut node = node.map_operands(|_| operands.next().expect("as many operands as before"));
        if let Node::Nary(_, pair) = &mut node
            && pair.len() == 2
        {
            pair.sort();
        }
        let new = self.add(node);
        done.insert(term, new);
        new
    }

    /// `op[axis where domain](body)`
    pub fn reduce(&mut self, op: ReduceOp, axis: AxisId, domain: TermId, body: TermId) -> TermId {
        self.add(Node::Reduce { op, axis, domain, body })
    }
}
