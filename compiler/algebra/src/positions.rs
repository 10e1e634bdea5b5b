//! How the positions of axes enter a term.
//!
//! A term may know positions of several axes through one whole-number form of them alone, such as `i - j`: then it has
//! as few values as the form, and whoever needs all of them need not go through all pairs. Owns [`Along`], found from
//! the leaves up; knows nothing of what it is used for.

use std::collections::BTreeMap;

use crate::axis::{AxisId, AxisSet};
use crate::ops::{BinaryOp, NaryOp, UnaryOp};
use crate::term::{Node, TermId, Terms, Type};

/// Coefficients by axis, none of them 0.
pub type Coefficients = BTreeMap<AxisId, i64>;

/// How positions enter a term.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Along {
    /// Multiples of positions that are added to the rest of the term.
    pub linear: Coefficients,
    /// The form of two axes or more through which the rest knows their positions: coefficients without a common
    /// divisor, that of the last axis above 0.
    pub form: Option<Coefficients>,
    /// Axes that the rest knows otherwise.
    pub other: AxisSet,
    /// Whether the term is a sum of multiples of positions and of something else.
    pub is_sum: bool,
    /// Whether an input takes part.
    has_data: bool,
}

impl Along {
    /// Takes in a whole operand of a function.
    pub fn all_of(&mut self, operand: &Self) {
        self.rest_of(operand);
        self.through(&operand.linear);
    }

    /// Takes in an operand, but for the multiples of positions that are added to it.
    fn rest_of(&mut self, operand: &Self) {
        self.has_data |= operand.has_data;
        self.otherwise(operand.other.iter());
        operand.form.iter().for_each(|form| self.through_form(form.clone()));
    }

    /// Takes in what is a function of multiples of positions.
    fn through(&mut self, linear: &Coefficients) {
        match linear.len() {
            0 => {}
            1 => self.otherwise(linear.keys().copied()),
            _ => self.through_form(primitive(linear)),
        }
    }

    fn through_form(&mut self, form: Coefficients) {
        match self.form.take() {
            Some(known) if known != form => self.otherwise(known.into_keys().chain(form.into_keys())),
            _ if form.keys().any(|a| self.other.contains(*a)) => self.otherwise(form.into_keys()),
            _ => self.form = Some(form),
        }
    }

    fn otherwise(&mut self, axes: impl Iterator<Item = AxisId>) {
        axes.for_each(|axis| self.other.insert(axis));
        if let Some(form) = self.form.take_if(|form| form.keys().any(|a| self.other.contains(*a))) {
            form.into_keys().for_each(|axis| self.other.insert(axis));
        }
    }

    /// The axis is bound here: positions along it are not the term's.
    fn bind(&mut self, axis: AxisId) {
        if let Some(form) = self.form.take_if(|form| form.contains_key(&axis)) {
            self.otherwise(form.into_keys());
        }
        self.other = self.other.without(axis);
    }
}

/// The form without common divisor, its last coefficient above 0.
fn primitive(linear: &Coefficients) -> Coefficients {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let divisor = linear.values().fold(0, |d, c| gcd(d, c.unsigned_abs())).max(1) as i64;
    let sign = linear.values().next_back().map_or(1, |c| c.signum());
    linear.iter().map(|(axis, c)| (*axis, c / divisor * sign)).collect()
}

/// `x + factor * y`; `None` on overflow.
pub fn combined(x: &Coefficients, y: &Coefficients, factor: i64) -> Option<Coefficients> {
    let mut sum = x.clone();
    for (axis, c) in y {
        let entry = sum.entry(*axis).or_insert(0);
        *entry = c.checked_mul(factor).and_then(|c| entry.checked_add(c))?;
    }
    sum.retain(|_, c| *c != 0);
    Some(sum)
}

/// A comparison of whole numbers: it knows their difference.
pub fn compared(terms: &Terms, node: &Node) -> Option<(BinaryOp, TermId, TermId)> {
    let Node::Binary(op, x, y) = *node else { return None };
    let whole = |t: TermId| terms.ty(t) == Type::Int;
    (op.is_comparison() && whole(x) && whole(y)).then_some((op, x, y))
}

/// A whole number and what it multiplies, of two factors.
pub fn multiple(terms: &Terms, xs: &[TermId]) -> Option<(i64, TermId)> {
    let [x, y] = *xs else { return None };
    match (terms.node(x), terms.node(y)) {
        (Node::Int(v), _) => Some((*v, y)),
        (_, Node::Int(v)) => Some((*v, x)),
        _ => None,
    }
}

/// How positions enter terms, each found once. Terms may be added to the arena in between.
#[derive(Default, Debug)]
pub struct Positions {
    known: BTreeMap<TermId, Along>,
}

impl Positions {
    /// How positions enter the term.
    pub fn along(&mut self, terms: &Terms, term: TermId) -> Along {
        if let Some(known) = self.known.get(&term) {
            return known.clone();
        }
        let node = terms.node(term);
        let new = self.linear(terms, term, node).unwrap_or_else(|| self.function(terms, node));
        self.known.insert(term, new.clone());
        new
    }

    /// Of a position, and of sums and multiples of such; `None` of others.
    fn linear(&mut self, terms: &Terms, term: TermId, node: &Node) -> Option<Along> {
        let mut along = match node {
            Node::Position(axis) => Along { linear: Coefficients::from([(*axis, 1)]), ..Along::default() },
            Node::Unary(op @ (UnaryOp::Neg | UnaryOp::ToReal | UnaryOp::ToInt), x) => {
                let along = self.along(terms, *x);
                let factor = if *op == UnaryOp::Neg { -1 } else { 1 };
                Along { linear: combined(&Coefficients::new(), &along.linear, factor)?, ..along }
            }
            Node::Nary(NaryOp::Add, xs) => {
                let mut sum = Along::default();
                for x in xs {
                    let along = self.along(terms, *x);
                    sum.rest_of(&along);
                    sum.linear = combined(&sum.linear, &along.linear, 1)?;
                }
                // Positions are whole numbers: where no data take part, sums in f64 lose nothing of them.
                if terms.ty(term) == Type::Real && sum.has_data {
                    return None;
                }
                sum
            }
            Node::Nary(NaryOp::Mul, xs) => {
                let (factor, x) = multiple(terms, xs)?;
                let along = self.along(terms, x);
                Along { linear: combined(&Coefficients::new(), &along.linear, factor)?, ..along }
            }
            _ => return None,
        };
        along.is_sum = true;
        Some(along)
    }

    fn function(&mut self, terms: &Terms, node: &Node) -> Along {
        let mut whole = Along::default();
        if let Some((_, x, y)) = compared(terms, node) {
            let (x, y) = (self.along(terms, x), self.along(terms, y));
            whole.rest_of(&x);
            whole.rest_of(&y);
            match combined(&x.linear, &y.linear, -1) {
                Some(linear) => whole.through(&linear),
                None => whole.otherwise(x.linear.into_keys().chain(y.linear.into_keys())),
            }
            return whole;
        }
        whole.has_data = matches!(node, Node::Input { .. });
        if let Node::At { axis, index, body } = node {
            let body = self.along(terms, *body);
            whole.all_of(&body);
            whole.bind(*axis);
            let index = self.along(terms, *index);
            whole.all_of(&index);
            return whole;
        }
        for operand in node.operands() {
            let along = self.along(terms, operand);
            whole.all_of(&along);
        }
        match node {
            Node::Softmax { axis, .. } | Node::Order { axis, .. } => whole.otherwise(std::iter::once(*axis)),
            Node::Reduce { axis, .. } | Node::Attend { axis, .. } => whole.bind(*axis),
            Node::Scan { axis, row, .. } => {
                whole.bind(*axis);
                whole.otherwise(std::iter::once(*row));
            }
            _ => {}
        }
        whole
    }
}
