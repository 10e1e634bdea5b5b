//! The second pass: statements in order, each seeing the definitions before it.

use std::collections::BTreeSet;

use super::names::not_constant;
use super::{Elaborator, FunctionDefinition, Meaning};
use crate::axis::{AxisId, InputId};
use crate::diagnostic::{Diagnostic, Span};
use crate::problem::Problem;
use crate::spec::{DType, Input, Output, Require};
use crate::syntax::ast::{Expr, InputStatement, Name, Statement, StatementKind};
use crate::syntax::print_expr;
use crate::syntax::words::closest;
use crate::term::{Node, TermId, Type};

impl<'a> Elaborator<'a> {
    /// Reads the statement `at`.
    pub(super) fn statement(&mut self, at: usize, statement: &'a Statement) {
        match &statement.kind {
            StatementKind::Spec(name) => self.spec_name(name, statement.span),
            StatementKind::Input(input) => self.input(at, input),
            StatementKind::Example(values) => self.example(values),
            StatementKind::Require(predicate) => self.require(predicate),
            StatementKind::Define { name, axes, value } => {
                let tensor = self.tensor(name, axes.as_deref(), value);
                if self.is_first(at, name) {
                    let meaning = tensor.map_or(Meaning::Poisoned, |(term, order)| Meaning::Tensor(term, order));
                    self.define(name, meaning);
                }
            }
            StatementKind::Output { name, axes, value } => {
                let tensor = self.tensor(name, axes.as_deref(), value);
                if self.is_first(at, name) {
                    self.output(name, tensor);
                }
            }
            StatementKind::Function { name, parameters, body } => {
                self.defining = Some(name.text.clone());
                let sound = self.check_function(parameters, body);
                self.defining = None;
                if self.is_first(at, name) {
                    let definition = FunctionDefinition { parameters, body, serial: self.names.len() };
                    let meaning = if sound { Meaning::Function(definition) } else { Meaning::Poisoned };
                    self.define(name, meaning);
                }
            }
            // Read by the first pass.
            StatementKind::Param { .. } | StatementKind::Axis { .. } | StatementKind::Broken(_) => {}
        }
    }

    fn spec_name(&mut self, name: &Name, span: Span) {
        if self.spec.name != "unnamed" {
            let diagnostic = Diagnostic::at(span, Problem::DuplicateName { name: "spec".to_string() });
            return self.report(diagnostic.says("a second `spec` line").help("one file holds one spec"));
        }
        self.spec.name.clone_from(&name.text);
    }

    fn input(&mut self, at: usize, input: &'a InputStatement) {
        let dtype = self.dtype(input);
        let names: Vec<Name> = input.axes.iter().map(|(name, _)| name.clone()).collect();
        let axes = self.axis_list(&names);
        let range = self.range(input, dtype);
        let runs = self.runs(input, dtype);
        let scale = self.scale(input, dtype);
        if !self.is_first(at, &input.name) {
            return;
        }
        let (Some(dtype), Some(axes)) = (dtype, axes) else {
            return self.define(&input.name, Meaning::Poisoned);
        };
        let id = InputId(self.spec.inputs.len() as u32);
        self.spec.terms.declare_input(dtype.ty());
        self.spec.inputs.push(Input { name: input.name.text.clone(), dtype, axes, range, runs, scale });
        self.define(&input.name, Meaning::Input(id));
    }

    fn dtype(&mut self, input: &InputStatement) -> Option<DType> {
        let Some(name) = &input.dtype else { return Some(DType::F32) };
        if let Some(dtype) = DType::from_name(&name.text) {
            return Some(dtype);
        }
        let all = ["f32", "f64", "f16", "bf16", "i8", "u8", "i32", "i64", "bool"];
        let help = match closest(&name.text, all.into_iter()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("the types are {}", all.join(", ")),
        };
        let problem = Problem::UnknownType { name: name.text.clone() };
        self.fail(Diagnostic::at(name.span, problem).says("not a type").help(help))
    }

    fn range(&mut self, input: &'a InputStatement, dtype: Option<DType>) -> Option<(TermId, TermId)> {
        let (low, high) = input.range.as_ref()?;
        let (from, to) = (self.range_end(low, dtype), self.range_end(high, dtype));
        let (from, to) = (from?, to?);
        let values = (self.spec.terms.closed_value(from), self.spec.terms.closed_value(to));
        if let (Some(a), Some(b)) = values
            && a > b
        {
            let problem = Problem::EmptyRange { low: print_expr(low), high: print_expr(high) };
            return self.fail(Diagnostic::at(low.span.to(high.span), problem).help("write the lower end first"));
        }
        Some((from, to))
    }

    /// An end of a range: of the input's own type.
    fn range_end(&mut self, expr: &'a Expr, dtype: Option<DType>) -> Option<TermId> {
        let term = self.closed("the range of an input", expr)?;
        let term = match dtype?.ty() {
            Type::Real => self.spec.terms.as_real(term),
            _ => self.integer(expr.span, "an end of the range of integers", term)?,
        };
        Some(self.evaluated(term))
    }

    fn runs(&mut self, input: &'a InputStatement, dtype: Option<DType>) -> Option<TermId> {
        let runs = input.runs.as_ref()?;
        let length = self.closed("the length of runs", runs)?;
        if input.axes.is_empty() || dtype?.ty() != Type::Int {
            let problem = Problem::RunsNeedIntegers { name: input.name.text.clone() };
            let help = format!("declare integers: `input {}: i32[...] runs ...`", input.name.text);
            return self.fail(Diagnostic::at(input.name.span, problem).help(help));
        }
        self.checked_extent("runs", runs, length)
    }

    fn scale(&mut self, input: &'a InputStatement, dtype: Option<DType>) -> Option<TermId> {
        let scale = input.scale.as_deref()?;
        let deviation = self.closed("the scale of an input", scale)?;
        if input.range.is_some() || dtype?.ty() != Type::Real {
            let problem = Problem::ScaleNeedsReals { name: input.name.text.clone() };
            let help = "a scale is the standard deviation of drawn reals, `in lo .. hi` draws evenly";
            return self.fail(Diagnostic::at(scale.span, problem).help(help));
        }
        let deviation = self.spec.terms.as_real(deviation);
        Some(self.evaluated(deviation))
    }

    fn example(&mut self, values: &'a [(Name, Expr)]) {
        for (name, value) in values {
            let term = self.closed("an example", value);
            let Some(symbol) = self.symbols.get(&name.text).copied() else {
                let help = match closest(&name.text, self.symbols.keys().map(String::as_str)) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None if self.names.contains_key(&name.text) => {
                        "a parameter has its default in its own line".to_string()
                    }
                    None => "an example gives extents: `example N = 512`".to_string(),
                };
                let problem = Problem::UnknownExtent { name: name.text.clone() };
                self.report(Diagnostic::at(name.span, problem).says("not an extent").help(help));
                continue;
            };
            let term = term.and_then(|t| self.checked_extent(&name.text, value, t));
            let Some(term) = term else { continue };
            let Node::Int(number) = *self.spec.terms.node(term) else {
                let problem = not_constant("an example", "other extents".to_string());
                self.report(Diagnostic::at(value.span, problem).help("give a number"));
                continue;
            };
            if self.spec.example.insert(symbol, number).is_some() {
                let problem = Problem::DuplicateName { name: name.text.clone() };
                self.report(Diagnostic::at(name.span, problem).says("a second example"));
            }
        }
    }

    fn require(&mut self, predicate: &'a Expr) {
        self.constant = Some("a requirement");
        let term = self.truth(predicate);
        self.constant = None;
        let Some(term) = term else { return };
        let term = self.evaluated(term);
        let text = print_expr(predicate);
        if *self.spec.terms.node(term) == Node::Bool(false) {
            let diagnostic = Diagnostic::at(predicate.span, Problem::RequireFalse { text });
            return self.report(diagnostic.says("false for these parameters"));
        }
        if !self.facts.of(&self.spec.terms, term).extent {
            let problem = not_constant("a requirement", "real arithmetic over extents".to_string());
            return self.report(Diagnostic::at(predicate.span, problem).help("divide with `div`"));
        }
        self.spec.requires.push(Require { term, text });
    }

    /// A definition's term, and the order of its axes where it is declared.
    fn tensor(&mut self, name: &Name, axes: Option<&[Name]>, value: &'a Expr) -> Option<(TermId, Option<Vec<AxisId>>)> {
        self.defining = Some(name.text.clone());
        let term = self.expr(value);
        self.defining = None;
        let order = match axes {
            Some(names) => Some(self.axis_list(names)?),
            None => None,
        };
        let term = term?;
        if let Some(order) = &order {
            let missing: Vec<AxisId> = self.spec.terms.free(term).iter().filter(|a| !order.contains(a)).collect();
            if !missing.is_empty() {
                return self.missing_axes((name, value), term, order, &missing);
            }
        }
        Some((term, order))
    }

    fn missing_axes<T>(
        &mut self,
        (name, value): (&Name, &Expr),
        term: TermId,
        order: &[AxisId],
        missing: &[AxisId],
    ) -> Option<T> {
        let first = self.axis_names(missing.first().copied());
        let listed = self.axis_names(order.iter().copied());
        let wanted = self.axis_names(order.iter().chain(missing).copied());
        let free = self.facts.order(&self.spec.terms, term).to_vec();
        let free = self.axis_names(free);
        let quoted: Vec<String> = missing.iter().map(|a| format!("`{}`", self.spec.axis(*a).name)).collect();
        let plural = if missing.len() == 1 { "axis" } else { "axes" };
        let axes = format!("{plural} {}", quoted.join(", "));
        let diagnostic = Diagnostic::at(name.span, Problem::MissingAxes { name: name.text.clone(), axes })
            .says(format!("lists [{listed}]"))
            .label(value.span, format!("has the axes {free}"));
        if let Some((axis, place)) = missing.iter().find_map(|a| Some((*a, self.only_a_number(term, *a)?))) {
            let (axis, extent) = (self.axis_names([axis]), crate::print_term(&self.spec, self.spec.axis(axis).extent));
            let diagnostic = diagnostic.label(place, format!("the position along `{axis}`"));
            return self.fail(diagnostic.help(format!("did you mean the extent `{extent}`?")));
        }
        self.fail(diagnostic.help(format!("reduce it, `sum[{first}](...)`, or list it, `{}[{wanted}]`", name.text)))
    }

    /// The place of the first use of an axis as a number, if that alone makes it free in `term`.
    fn only_a_number(&self, term: TermId, axis: AxisId) -> Option<Span> {
        let terms = &self.spec.terms;
        let (mut open, mut seen) = (vec![term], BTreeSet::new());
        while let Some(term) = open.pop() {
            if !seen.insert(term) || !terms.free(term).contains(axis) {
                continue;
            }
            match terms.node(term) {
                Node::Input { .. } => return None,
                Node::Softmax { axis: own, .. } if *own == axis => return None,
                node => open.extend(node.operands()),
            }
        }
        self.position_at.get(&axis).copied()
    }

    fn output(&mut self, name: &Name, tensor: Option<(TermId, Option<Vec<AxisId>>)>) {
        let Some((term, order)) = tensor else {
            return self.define(name, Meaning::Poisoned);
        };
        let axes = match order {
            Some(axes) => axes,
            None => self.facts.order(&self.spec.terms, term).to_vec(),
        };
        self.spec.outputs.push(Output { name: name.text.clone(), axes: axes.clone(), term });
        self.define(name, Meaning::Tensor(term, Some(axes)));
    }
}
