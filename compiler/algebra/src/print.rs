//! Terms back to spec notation, in the user's names of axes.
//!
//! Conversions between types are not shown, `a + (-b)` is shown as `a - b`,
//! and the derived nodes as `attend[j where m](score, value)` and
//! `scan[j <= i](body, decay)`. Large terms name their shared parts first,
//! one definition per line. Read [`crate::syntax`] for the notation.

use std::collections::BTreeMap;

use crate::axis::AxisId;
use crate::ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
use crate::spec::Spec;
use crate::syntax::ast::{ChainOp, CompareOp, Constant, Expr, ExprKind, Name, Reduction, ReductionName};
use crate::syntax::print_expr;
use crate::term::{Carry, Node, TermId};

/// Terms that take more nodes than this when written out name their shared parts.
const WRITTEN_OUT: usize = 150;
/// Shared parts smaller than this are written out wherever they occur.
const WORTH_A_NAME: usize = 12;
/// Nodes shown in all; what is beyond is cut with `…`.
const LONGEST: usize = 5_000;

/// The term in spec notation. Terms of more than 150 nodes name their shared parts, `t1 = …`, one per line before the
/// expression; beyond 5,000 nodes the rest is cut with `…`.
pub fn print_term(spec: &Spec, term: TermId) -> String {
    let mut printer = TermPrinter { spec, names: BTreeMap::new(), left: LONGEST };
    let mut out = String::new();
    for (at, part) in shared_parts(spec, term).into_iter().enumerate() {
        let name = format!("t{}", at + 1);
        out.push_str(&format!("{name} = {}\n", print_expr(&printer.expr(part))));
        printer.names.insert(part, name);
    }
    out + &print_expr(&printer.expr(term))
}

/// The sub-terms worth a name, operands first.
fn shared_parts(spec: &Spec, root: TermId) -> Vec<TermId> {
    let mut uses: BTreeMap<TermId, usize> = BTreeMap::new();
    let mut open = vec![root];
    while let Some(term) = open.pop() {
        for operand in spec.terms.node(term).operands() {
            let count = uses.entry(operand).or_insert(0);
            *count += 1;
            if *count == 1 {
                open.push(operand);
            }
        }
    }
    // Operands have lower ids, so ascending order sees them first.
    let mut size: BTreeMap<TermId, usize> = BTreeMap::new();
    let mut named = Vec::new();
    let written = |spec: &Spec, size: &BTreeMap<TermId, usize>, term| {
        let operands = spec.terms.node(term).operands();
        operands.iter().fold(1usize, |sum, t| sum.saturating_add(size.get(t).copied().unwrap_or(1)))
    };
    let reached: Vec<TermId> = uses.keys().copied().chain([root]).collect();
    for term in &reached {
        size.insert(*term, written(spec, &size, *term));
    }
    if size.get(&root).is_none_or(|s| *s <= WRITTEN_OUT) {
        return Vec::new();
    }
    size.clear();
    for term in reached {
        let mut of_term = written(spec, &size, term);
        if term != root && uses[&term] > 1 && of_term >= WORTH_A_NAME {
            named.push(term);
            of_term = 1;
        }
        size.insert(term, of_term);
    }
    named
}

struct TermPrinter<'s> {
    spec: &'s Spec,
    names: BTreeMap<TermId, String>,
    left: usize,
}

fn unplaced(kind: ExprKind) -> Expr {
    Expr::unplaced(kind)
}

fn named(text: impl Into<String>) -> Expr {
    unplaced(ExprKind::Name(text.into()))
}

fn name(text: impl Into<String>) -> Name {
    Name { text: text.into(), span: Default::default() }
}

impl TermPrinter<'_> {
    fn expr(&mut self, term: TermId) -> Expr {
        if let Some(name) = self.names.get(&term) {
            return named(name.clone());
        }
        if self.left == 0 {
            return named("…");
        }
        self.left -= 1;
        match self.spec.terms.node(term).clone() {
            Node::Real(value) => real(value.get()),
            Node::Int(value) => integer(value),
            Node::Bool(value) => unplaced(ExprKind::Constant(if value { Constant::True } else { Constant::False })),
            Node::Extent(symbol) => named(&self.spec.symbols[symbol.0 as usize].name),
            Node::Position(axis) => named(self.axis(axis)),
            Node::Input { input, index } => {
                let declared = self.spec.input(input);
                let plain = |(axis, at): (&AxisId, &TermId)| *self.spec.terms.node(*at) == Node::Position(*axis);
                if declared.axes.iter().zip(&index).all(plain) {
                    return named(&declared.name);
                }
                let tensor = name(&declared.name);
                unplaced(ExprKind::Index(tensor, index.into_iter().map(|t| self.expr(t)).collect()))
            }
            Node::Unary(op, x) => self.unary(op, x),
            Node::Binary(op, x, y) => self.binary(op, x, y),
            Node::Nary(op, xs) => self.nary(op, &xs),
            Node::Select(c, x, y) => {
                let parts = [self.expr(c), self.expr(x), self.expr(y)];
                unplaced(ExprKind::If(Box::new(parts)))
            }
            node => self.binder(node),
        }
    }

    fn axis(&self, axis: AxisId) -> &str {
        &self.spec.axis(axis).name
    }

    fn unary(&mut self, op: UnaryOp, x: TermId) -> Expr {
        let operand = self.expr(x);
        unplaced(match op {
            UnaryOp::ToReal | UnaryOp::ToInt | UnaryOp::RealToInt => return operand,
            UnaryOp::Neg => ExprKind::Neg(Box::new(operand)),
            UnaryOp::Not => ExprKind::Not(Box::new(operand)),
            UnaryOp::Recip => return joined(unplaced(ExprKind::Int(1)), ChainOp::Div, operand),
            _ => ExprKind::Call(name(op.name()), vec![operand]),
        })
    }

    fn binary(&mut self, op: BinaryOp, x: TermId, y: TermId) -> Expr {
        let (x, y) = (self.expr(x), self.expr(y));
        let compare = match op {
            BinaryOp::Div => return joined(x, ChainOp::Div, y),
            BinaryOp::FloorDiv => return joined(x, ChainOp::FloorDiv, y),
            BinaryOp::Mod => return joined(x, ChainOp::Mod, y),
            BinaryOp::Pow => return unplaced(ExprKind::Pow(Box::new(x), Box::new(y))),
            BinaryOp::LogAddExp => return unplaced(ExprKind::Call(name("logaddexp"), vec![x, y])),
            BinaryOp::Eq => CompareOp::Eq,
            BinaryOp::Ne => CompareOp::Ne,
            BinaryOp::Lt => CompareOp::Lt,
            BinaryOp::Le => CompareOp::Le,
        };
        unplaced(ExprKind::Compare(Box::new(x), vec![(compare, y)]))
    }

    fn nary(&mut self, op: NaryOp, operands: &[TermId]) -> Expr {
        let chain = match op {
            NaryOp::Min | NaryOp::Max => {
                let arguments = operands.iter().map(|t| self.expr(*t)).collect();
                return unplaced(ExprKind::Call(name(op.name()), arguments));
            }
            NaryOp::Add => ChainOp::Add,
            NaryOp::Mul => ChainOp::Mul,
            NaryOp::And => ChainOp::And,
            NaryOp::Or => ChainOp::Or,
        };
        let mut out: Option<Expr> = None;
        for operand in operands {
            let (op, operand) = match (op, self.spec.terms.node(*operand), &out) {
                (NaryOp::Add, Node::Unary(UnaryOp::Neg, x), Some(_)) => (ChainOp::Sub, self.expr(*x)),
                (NaryOp::Mul, Node::Unary(UnaryOp::Recip, x), Some(_)) => (ChainOp::Div, self.expr(*x)),
                _ => (chain, self.expr(*operand)),
            };
            // A negative constant is subtracted.
            let (op, operand) = match operand.kind {
                ExprKind::Neg(x) if op == ChainOp::Add && out.is_some() => (ChainOp::Sub, *x),
                kind => (op, unplaced(kind)),
            };
            out = Some(match out {
                None => operand,
                Some(left) => joined(left, op, operand),
            });
        }
        out.unwrap_or_else(|| named("…"))
    }

    fn binder(&mut self, node: Node) -> Expr {
        match node {
            Node::Reduce { op, axis, domain, body } => self.reduction(reduction_name(op), axis, domain, body),
            Node::Softmax { axis, domain, body } => self.reduction(ReductionName::Softmax, axis, domain, body),
            Node::Attend { axis, domain, score, value } => {
                let head = match self.domain(domain) {
                    Some(domain) => format!("attend[{} where {}]", self.axis(axis), print_expr(&domain)),
                    None => format!("attend[{}]", self.axis(axis)),
                };
                unplaced(ExprKind::Call(name(head), vec![self.expr(score), self.expr(value)]))
            }
            Node::Scan { carry, axis, row, decay, body } => {
                let (kind, scores, neutral) = match carry {
                    Carry::Sum => ("scan", None, 1.0),
                    Carry::LogSumExp => ("logsumexp", None, 0.0),
                    Carry::Attend(score) => ("attend", Some(score), 0.0),
                };
                let head = format!("{kind}[{} <= {}]", self.axis(axis), self.axis(row));
                let mut arguments: Vec<Expr> = scores.into_iter().chain([body]).map(|t| self.expr(t)).collect();
                let plain = matches!(self.spec.terms.node(decay), Node::Real(value) if value.get() == neutral);
                if !plain {
                    arguments.push(self.expr(decay));
                }
                unplaced(ExprKind::Call(name(head), arguments))
            }
            Node::Order { axis, key } => {
                unplaced(ExprKind::Call(name(format!("order[{}]", self.axis(axis))), vec![self.expr(key)]))
            }
            Node::At { axis, index, body } => {
                let index = print_expr(&self.expr(index));
                unplaced(ExprKind::Call(name(format!("at[{} = {index}]", self.axis(axis))), vec![self.expr(body)]))
            }
            // The other nodes are printed by `expr`.
            _ => named("…"),
        }
    }

    fn domain(&mut self, domain: TermId) -> Option<Expr> {
        (*self.spec.terms.node(domain) != Node::Bool(true)).then(|| self.expr(domain))
    }

    fn reduction(&mut self, op: ReductionName, axis: AxisId, domain: TermId, body: TermId) -> Expr {
        let axes = vec![name(self.axis(axis))];
        let domain = self.domain(domain);
        let body = Some(self.expr(body));
        unplaced(ExprKind::Reduce(Box::new(Reduction { op, axes, domain, body })))
    }
}

fn reduction_name(op: ReduceOp) -> ReductionName {
    match op {
        ReduceOp::Sum => ReductionName::Sum,
        ReduceOp::Prod => ReductionName::Prod,
        ReduceOp::Max => ReductionName::Max,
        ReduceOp::Min => ReductionName::Min,
        ReduceOp::Any => ReductionName::Any,
        ReduceOp::All => ReductionName::All,
        ReduceOp::ArgMax => ReductionName::ArgMax,
        ReduceOp::ArgMin => ReductionName::ArgMin,
        ReduceOp::LogSumExp => ReductionName::LogSumExp,
    }
}

fn integer(value: i64) -> Expr {
    match value.checked_abs() {
        Some(size) if value < 0 => unplaced(ExprKind::Neg(Box::new(unplaced(ExprKind::Int(size))))),
        Some(size) => unplaced(ExprKind::Int(size)),
        None => named(value.to_string()),
    }
}

fn real(value: f64) -> Expr {
    let size = match value.abs() {
        size if size.is_nan() => return named("nan"),
        size if size.is_infinite() => unplaced(ExprKind::Constant(Constant::Inf)),
        size => unplaced(ExprKind::Real(size)),
    };
    if value.is_sign_negative() { unplaced(ExprKind::Neg(Box::new(size))) } else { size }
}

/// `left op right`, where `left` stays open if it is a chain of the same level.
fn joined(left: Expr, op: ChainOp, right: Expr) -> Expr {
    let additive = |op: ChainOp| matches!(op, ChainOp::Add | ChainOp::Sub);
    let multiplicative = |op: ChainOp| matches!(op, ChainOp::Mul | ChainOp::Div | ChainOp::FloorDiv | ChainOp::Mod);
    match left.kind {
        ExprKind::Chain(first, mut rest)
            if rest.iter().all(|(o, _)| {
                *o == op || (additive(*o) && additive(op)) || (multiplicative(*o) && multiplicative(op))
            }) =>
        {
            rest.push((op, right));
            unplaced(ExprKind::Chain(first, rest))
        }
        kind => unplaced(ExprKind::Chain(Box::new(unplaced(kind)), vec![(op, right)])),
    }
}
