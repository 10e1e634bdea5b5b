//! Positional indexing of inputs and of computed tensors.
//!
//! An input has the axis order of its declaration; a computed tensor that of
//! its definition (`z[b, c] = ...`, an `output`), else the order in which its
//! expression mentions its axes. Where that undeclared order would set two
//! axes of different extents against each other, an index that names one of
//! the tensor's own axes stands for that axis, and the others fill the rest.

use super::expression::type_name;
use super::names::not_constant;
use super::substitute::{Replacement, substitute};
use super::{Elaborator, Meaning};
use crate::axis::AxisId;
use crate::diagnostic::{Diagnostic, Span};
use crate::ops::UnaryOp;
use crate::problem::Problem;
use crate::syntax::ast::{Expr, Name};
use crate::term::{Node, TermId, Type};

impl<'a> Elaborator<'a> {
    /// `tensor[index]`
    pub(super) fn index(&mut self, span: Span, tensor: &'a Name, index: &'a [Expr]) -> Option<TermId> {
        let given: Vec<Option<TermId>> = index.iter().map(|e| self.index_term(e)).collect();
        let name = tensor.text.as_str();
        if let Some(local) = self.locals.iter().rev().find(|l| l.name == name) {
            let (value, order) = (local.value?, local.order.clone());
            return self.computed(span, tensor, value, order, given);
        }
        let meaning = match self.definition(name) {
            Some(meaning) => meaning,
            None if self.axes.contains_key(name) => return self.not_a_tensor(tensor, "an axis"),
            None if self.symbols.contains_key(name) => return self.not_a_tensor(tensor, "an extent"),
            None => return self.unknown(name, tensor.span),
        };
        if let Some(what) = self.constant
            && matches!(meaning, Meaning::Input(_) | Meaning::Tensor(..))
        {
            return self.fail(Diagnostic::at(tensor.span, not_constant(what, format!("the tensor `{name}`"))));
        }
        match meaning {
            Meaning::Poisoned => None,
            Meaning::Param(_) => self.not_a_tensor(tensor, "a parameter"),
            Meaning::Function(_) => self.not_a_tensor(tensor, "a function"),
            Meaning::Tensor(term, order) => self.computed(span, tensor, term, order, given),
            Meaning::Input(input) => {
                let axes = self.spec.input(input).axes.clone();
                let terms = self.of_rank(span, tensor, &axes, given)?;
                let outside = axes.iter().zip(&terms).zip(index).map(|((axis, term), e)| (*axis, *term, e.span));
                let sound: Vec<bool> = outside.map(|(a, t, at)| self.check_constant_index(name, a, t, at)).collect();
                if sound.contains(&false) {
                    return None;
                }
                let read = self.spec.terms.add(Node::Input { input, index: terms });
                self.read_at.entry(read).or_insert_with(|| index.iter().map(|e| e.span).collect());
                Some(read)
            }
        }
    }

    /// An expression that must be an integer, read where names mean axes first.
    fn index_term(&mut self, expr: &'a Expr) -> Option<TermId> {
        let before = std::mem::replace(&mut self.in_index, true);
        let term = self.expr(expr);
        self.in_index = before;
        self.integer(expr.span, "an index", term?)
    }

    /// `term` as an integer, if its value is one.
    pub(super) fn integer(&mut self, span: Span, what: &'static str, term: TermId) -> Option<TermId> {
        let term = self.spec.terms.as_number(term);
        if self.spec.terms.ty(term) == Type::Int {
            return Some(term);
        }
        if self.facts.of(&self.spec.terms, term).integral {
            return Some(match *self.spec.terms.node(term) {
                Node::Unary(UnaryOp::ToReal, inner) => self.spec.terms.as_number(inner),
                _ => self.spec.terms.unary(UnaryOp::RealToInt, term),
            });
        }
        let found = type_name(Type::Real);
        let diagnostic = Diagnostic::at(span, Problem::ExpectedInteger { what, found }).says(found);
        self.fail(diagnostic.help("divide with `div`, or round with `floor(...)`"))
    }

    /// Whether an index may lie in its axis; an error where it is a constant that never does. All other indices are
    /// checked when extents and tables are bound.
    fn check_constant_index(&mut self, name: &str, axis: AxisId, index: TermId, span: Span) -> bool {
        let Node::Int(value) = *self.spec.terms.node(index) else { return true };
        let axis = self.spec.axis(axis).clone();
        let inside = match *self.spec.terms.node(axis.extent) {
            Node::Int(extent) => (0..extent).contains(&value),
            _ => value >= 0,
        };
        if inside || self.guards > 0 {
            return true;
        }
        let extent = crate::print_term(&self.spec, axis.extent);
        let problem = Problem::IndexOutOfRange { name: name.to_string(), axis: axis.name, index: value.to_string() };
        let diagnostic = Diagnostic::at(span, problem).says(format!("positions are 0 .. {extent} - 1"));
        self.report(diagnostic.help("guard the access: `if 0 <= index and index < extent then x[index] else 0`"));
        false
    }

    fn not_a_tensor(&mut self, tensor: &Name, what: &'static str) -> Option<TermId> {
        let problem = Problem::NotATensor { name: tensor.text.clone(), what };
        self.fail(Diagnostic::at(tensor.span, problem).says(what))
    }

    /// The indices, if all are sound and there is one per axis.
    fn of_rank(
        &mut self,
        span: Span,
        tensor: &Name,
        axes: &[AxisId],
        given: Vec<Option<TermId>>,
    ) -> Option<Vec<TermId>> {
        if given.len() != axes.len() {
            let problem = Problem::WrongRank { name: tensor.text.clone(), rank: axes.len(), given: given.len() };
            let axes = format!("`{}` has the axes [{}]", tensor.text, self.axis_names(axes.iter().copied()));
            return self.fail(Diagnostic::at(span, problem).help(axes));
        }
        given.into_iter().collect()
    }

    fn computed(
        &mut self,
        span: Span,
        tensor: &Name,
        term: TermId,
        declared: Option<Vec<AxisId>>,
        given: Vec<Option<TermId>>,
    ) -> Option<TermId> {
        let order = match &declared {
            Some(axes) => axes.clone(),
            None => self.facts.order(&self.spec.terms, term).to_vec(),
        };
        let given = self.of_rank(span, tensor, &order, given)?;
        let mut replacement: Replacement = order.iter().copied().zip(given.iter().copied()).collect();
        if declared.is_none() && !self.extents_agree(&replacement) {
            replacement = self.by_name(&order, &given);
        }
        let before = self.spec.terms.len();
        let read = substitute(&mut self.spec, term, &replacement);
        self.note_reads(before, span);
        Some(read)
    }

    /// Whether each index that is a plain axis has the extent of the axis it replaces.
    fn extents_agree(&self, replacement: &Replacement) -> bool {
        replacement.iter().all(|(axis, by)| match self.spec.terms.node(*by) {
            Node::Position(other) => self.spec.axis(*axis).extent == self.spec.axis(*other).extent,
            _ => true,
        })
    }

    /// Indices that are an axis of the tensor itself replace that axis, the others the remaining axes in order.
    fn by_name(&self, order: &[AxisId], given: &[TermId]) -> Replacement {
        let mut out = Replacement::new();
        let mut others = Vec::new();
        for by in given {
            match self.spec.terms.node(*by) {
                Node::Position(axis) if order.contains(axis) && !out.contains_key(axis) => {
                    out.insert(*axis, *by);
                }
                _ => others.push(*by),
            }
        }
        let rest: Vec<AxisId> = order.iter().copied().filter(|a| !out.contains_key(a)).collect();
        out.extend(rest.into_iter().zip(others));
        out
    }
}
