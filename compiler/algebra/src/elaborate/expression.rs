//! Expressions to terms: dispatch, names, literals, pointwise functions, branches.
//!
//! Every function here gives `None` where an error has been reported, after
//! reading all operands, so that their errors are reported too.

use super::Elaborator;
use crate::diagnostic::{Diagnostic, Span};
use crate::ops::{BinaryOp, NaryOp, UnaryOp};
use crate::problem::Problem;
use crate::syntax::ast::{CompareOp, Constant, Expr, ExprKind, Name};
use crate::syntax::words;
use crate::term::{TermId, Type};

impl<'a> Elaborator<'a> {
    /// The term of an expression.
    pub(super) fn expr(&mut self, expr: &'a Expr) -> Option<TermId> {
        self.step(expr.span)?;
        self.depth += 1;
        let term = self.kind(expr);
        self.depth -= 1;
        self.checked_depth(expr.span, term?)
    }

    fn kind(&mut self, expr: &'a Expr) -> Option<TermId> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Int(value) => Some(self.spec.terms.int(*value)),
            ExprKind::Real(value) => Some(self.spec.terms.real(*value)),
            ExprKind::Constant(constant) => Some(self.named_constant(*constant)),
            ExprKind::Name(name) => self.name(name, span),
            ExprKind::Neg(operand) => {
                let operand = self.expr(operand)?;
                let folded = self.spec.terms.negative(operand);
                self.folded(span, folded)
            }
            ExprKind::Not(operand) => {
                let operand = self.truth(operand)?;
                Some(self.spec.terms.negation(operand))
            }
            ExprKind::Chain(first, rest) => self.chain(span, first, rest),
            ExprKind::Compare(first, rest) => self.comparisons(first, rest),
            ExprKind::Pow(base, exponent) => {
                let (base, exponent) = (self.expr(base), self.expr(exponent));
                let folded = self.spec.terms.power(base?, exponent?);
                self.folded(span, folded)
            }
            ExprKind::If(parts) => self.branches(parts),
            ExprKind::Call(function, arguments) => self.call(span, function, arguments),
            ExprKind::Index(tensor, index) => self.index(span, tensor, index),
            ExprKind::Reduce(reduction) => self.reduction(span, reduction),
            ExprKind::Concat(axis, parts) => self.concat(span, axis, parts),
            ExprKind::Iterate(iterate) => self.iterate(iterate),
        }
    }

    fn named_constant(&mut self, constant: Constant) -> TermId {
        match constant {
            Constant::Pi => self.spec.terms.real(std::f64::consts::PI),
            Constant::Inf => self.spec.terms.real(f64::INFINITY),
            Constant::True => self.spec.terms.truth(true),
            Constant::False => self.spec.terms.truth(false),
        }
    }

    /// An expression that must be a truth value.
    pub(super) fn truth(&mut self, expr: &'a Expr) -> Option<TermId> {
        let term = self.expr(expr)?;
        match self.spec.terms.ty(term) {
            Type::Bool => Some(term),
            ty => {
                let found = type_name(ty);
                let diagnostic = Diagnostic::at(expr.span, Problem::ExpectedTruth { found }).says(found);
                self.fail(diagnostic.help("compare it: `x != 0`, `x > 0`"))
            }
        }
    }

    /// `first < a <= b`: the conjunction of the comparisons of neighbours.
    fn comparisons(&mut self, first: &'a Expr, rest: &'a [(CompareOp, Expr)]) -> Option<TermId> {
        let mut left = self.expr(first);
        let mut all = Vec::with_capacity(rest.len());
        for (op, operand) in rest {
            let right = self.expr(operand);
            if let (Some(x), Some(y)) = (left, right) {
                let (op, x, y) = match op {
                    CompareOp::Eq => (BinaryOp::Eq, x, y),
                    CompareOp::Ne => (BinaryOp::Ne, x, y),
                    CompareOp::Lt => (BinaryOp::Lt, x, y),
                    CompareOp::Le => (BinaryOp::Le, x, y),
                    CompareOp::Gt => (BinaryOp::Lt, y, x),
                    CompareOp::Ge => (BinaryOp::Le, y, x),
                };
                all.push(self.spec.terms.comparison(op, x, y));
            }
            left = right;
        }
        (all.len() == rest.len()).then(|| self.spec.terms.logic(NaryOp::And, &all))
    }

    fn branches(&mut self, parts: &'a [Expr; 3]) -> Option<TermId> {
        let [condition, then, otherwise] = parts;
        let condition = self.truth(condition);
        self.guards += 1;
        let (then, otherwise) = (self.expr(then), self.expr(otherwise));
        self.guards -= 1;
        let (condition, then, otherwise) = (condition?, then?, otherwise?);
        let terms = &mut self.spec.terms;
        match [then, otherwise].iter().all(|t| terms.ty(*t) == Type::Bool) {
            true => Some(terms.truth_of_choice(condition, then, otherwise)),
            false => Some(terms.choice(condition, then, otherwise)),
        }
    }

    fn call(&mut self, span: Span, function: &'a Name, arguments: &'a [Expr]) -> Option<TermId> {
        let given: Vec<Option<TermId>> = arguments.iter().map(|a| self.expr(a)).collect();
        let name = function.text.as_str();
        let is_local = self.locals.iter().any(|l| l.name == name);
        let known = words::FUNCTIONS.contains(&name) || name == "min" || name == "max";
        if !known || is_local {
            return self.call_of_user(span, function, given);
        }
        let wanted = match name {
            "min" | "max" if given.len() >= 2 => None,
            "min" | "max" => Some("2 or more arguments"),
            "logaddexp" => (given.len() != 2).then_some("2 arguments"),
            _ => (given.len() != 1).then_some("1 argument"),
        };
        if let Some(wanted) = wanted {
            return self.wrong_count(span, name, wanted.to_string(), given.len());
        }
        let given: Option<Vec<TermId>> = given.into_iter().collect();
        self.builtin(span, name, given?)
    }

    /// Reports a wrong number of arguments.
    pub(super) fn wrong_count(&mut self, span: Span, name: &str, wanted: String, given: usize) -> Option<TermId> {
        let mut diagnostic =
            Diagnostic::at(span, Problem::WrongArgumentCount { name: name.to_string(), wanted, given });
        if name == "min" || name == "max" {
            diagnostic = diagnostic.help(format!("to reduce an axis, write `{name}[axis](...)`"));
        }
        self.fail(diagnostic)
    }

    /// A function of the language on the right number of arguments.
    fn builtin(&mut self, span: Span, name: &str, given: Vec<TermId>) -> Option<TermId> {
        use UnaryOp::*;
        let terms = &mut self.spec.terms;
        let nary = match name {
            "min" => Some(NaryOp::Min),
            "max" => Some(NaryOp::Max),
            _ => None,
        };
        if let Some(op) = nary {
            let folded = terms.arithmetic(op, given);
            return self.folded(span, folded);
        }
        let first = *given.first()?;
        if name == "logaddexp" {
            let (x, y) = (terms.as_real(first), terms.as_real(*given.get(1)?));
            return Some(terms.binary(BinaryOp::LogAddExp, x, y));
        }
        let all = [Exp, Log, Sqrt, Abs, Sign, Floor, Ceil, Tanh, Sin, Cos, Sigmoid, Relu, Elu, Gelu, Silu, Softplus];
        let op = all.into_iter().find(|op| op.name() == name)?;
        let number = terms.as_number(first);
        let whole = terms.ty(number) == Type::Int;
        Some(match op {
            Floor | Ceil if whole => number,
            Floor | Ceil => {
                let rounded = terms.unary(op, number);
                terms.whole(rounded).map_or(rounded, |whole| terms.as_real(whole))
            }
            Abs | Sign | Relu => terms.unary(op, number),
            _ => {
                let real = terms.as_real(number);
                terms.unary(op, real)
            }
        })
    }
}

/// A type in words.
pub(super) fn type_name(ty: Type) -> &'static str {
    match ty {
        Type::Real => "a real number",
        Type::Int => "an integer",
        Type::Bool => "a truth value",
    }
}
