//! Resolution of names, and suggestions for those that resolve to nothing.
//!
//! In value position a local comes first, then a definition, an axis (its
//! position) and an extent; in an index, axes come before definitions.

use std::collections::BTreeMap;

use super::{Elaborator, Meaning};
use crate::axis::AxisId;
use crate::diagnostic::{Diagnostic, Span};
use crate::problem::Problem;
use crate::syntax::ast::Name;
use crate::syntax::words::{self, closest};
use crate::term::{Node, TermId};

impl<'a> Elaborator<'a> {
    /// The value of a plain name: all axes of a tensor free, the position of an axis, an extent.
    pub(super) fn name(&mut self, name: &str, span: Span) -> Option<TermId> {
        if let Some(local) = self.locals.iter().rev().find(|l| l.name == name) {
            return local.value;
        }
        let axis = self.axes.get(name).copied();
        if let Some(axis) = axis.filter(|_| self.in_index) {
            return self.position(axis, name, span);
        }
        if let Some(meaning) = self.definition(name) {
            return self.value(meaning, name, span);
        }
        if let Some(axis) = axis {
            return self.position(axis, name, span);
        }
        if let Some(symbol) = self.symbols.get(name).copied() {
            return Some(self.spec.terms.add(Node::Extent(symbol)));
        }
        if let Some(extent) = self.stated_extent(name) {
            return Some(extent);
        }
        self.unknown(name, span)
    }

    /// The extent an axis was given, by the axis's name in capitals: `D` after `axis d = 64`.
    fn stated_extent(&self, name: &str) -> Option<TermId> {
        if !name.starts_with(char::is_uppercase) || self.placed.contains_key(name) {
            return None;
        }
        let axis = self.axes.iter().find(|(axis, _)| axis.to_uppercase() == name);
        axis.map(|(_, id)| self.spec.axis(*id).extent)
    }

    /// The visible definition of `name`.
    pub(super) fn definition(&self, name: &str) -> Option<Meaning<'a>> {
        self.names.get(name).filter(|d| d.serial < self.horizon).map(|d| d.meaning.clone())
    }

    fn position(&mut self, axis: AxisId, name: &str, span: Span) -> Option<TermId> {
        if let Some(what) = self.constant {
            return self.fail(Diagnostic::at(span, not_constant(what, format!("a position along axis `{name}`"))));
        }
        if !self.in_index {
            self.position_at.entry(axis).or_insert(span);
        }
        Some(self.spec.terms.position(axis))
    }

    fn value(&mut self, meaning: Meaning<'a>, name: &str, span: Span) -> Option<TermId> {
        let is_tensor = matches!(meaning, Meaning::Input(_) | Meaning::Tensor(..));
        if let Some(what) = self.constant.filter(|_| is_tensor) {
            return self.fail(Diagnostic::at(span, not_constant(what, format!("the tensor `{name}`"))));
        }
        match meaning {
            Meaning::Param(term) | Meaning::Tensor(term, _) => Some(term),
            Meaning::Input(input) => {
                let axes = self.spec.input(input).axes.clone();
                let index = axes.into_iter().map(|a| self.spec.terms.position(a)).collect();
                Some(self.spec.terms.add(Node::Input { input, index }))
            }
            Meaning::Function(_) => {
                let problem = Problem::FunctionAsValue { name: name.to_string() };
                self.fail(Diagnostic::at(span, problem).help(format!("write `{name}(...)`")))
            }
            Meaning::Poisoned => None,
        }
    }

    /// Reports that `name` resolves to nothing, and why.
    pub(super) fn unknown(&mut self, name: &str, span: Span) -> Option<TermId> {
        if self.exhausted || self.poisoned.contains(name) {
            return None;
        }
        if let Some(what) = self.constant
            && self.declared_axes.contains(name)
        {
            return self.fail(Diagnostic::at(span, not_constant(what, format!("a position along axis `{name}`"))));
        }
        let name = name.to_string();
        if self.defining.as_ref() == Some(&name) {
            let help = "a definition may use those before it; to repeat a step, write `iterate n (z = start) { ... }`";
            let diagnostic = Diagnostic::at(span, Problem::RecursiveDefinition { name });
            return self.fail(diagnostic.says("used here").help(help));
        }
        if let Some((_, defined)) = self.placed.get(&name).copied() {
            if let Some(what) = self.constant {
                return self.fail(Diagnostic::at(span, not_constant(what, format!("`{name}`"))));
            }
            let diagnostic = Diagnostic::at(span, Problem::DefinedLater { name }).says("used here");
            return self
                .fail(diagnostic.label(defined, "defined here").help("move the definition above its first use"));
        }
        let suggestion = self.suggestion(&name);
        self.fail(Diagnostic::at(span, Problem::UnknownName { name }).says("not defined").help(suggestion))
    }

    fn suggestion(&self, name: &str) -> String {
        let known = self.names.keys().chain(self.axes.keys()).chain(self.symbols.keys()).map(String::as_str);
        if let Some(close) = closest(name, known) {
            return format!("did you mean `{close}`?");
        }
        if self.constant == Some("an extent") {
            return "an extent that is bound at run time begins with a capital: `axis i = N`".to_string();
        }
        if name.chars().all(char::is_uppercase) {
            return format!("an extent exists where an axis has it: `axis {} = {name}`", name.to_lowercase());
        }
        format!("define it in an earlier line: `{name} = ...`, `param {name} = ...` or `input {name}[...]`")
    }

    /// The axis called `name`, which must exist.
    pub(super) fn axis(&mut self, name: &Name) -> Option<AxisId> {
        if let Some(axis) = self.axes.get(&name.text) {
            return Some(*axis);
        }
        if self.exhausted || self.poisoned.contains(&name.text) {
            return None;
        }
        if let Some(what) = self.constant
            && self.declared_axes.contains(&name.text)
        {
            return self.fail(Diagnostic::at(name.span, not_constant(what, format!("axis `{}`", name.text))));
        }
        let help = match closest(&name.text, self.axes.keys().map(String::as_str)) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("declare it: `axis {} = N`{}", name.text, self.listed_axes()),
        };
        let problem = Problem::UnknownAxis { name: name.text.clone() };
        self.fail(Diagnostic::at(name.span, problem).says("no `axis` line and no input has it").help(help))
    }

    fn listed_axes(&self) -> String {
        let names: Vec<&str> = self.axes.keys().take(12).map(String::as_str).collect();
        if names.is_empty() { String::new() } else { format!("; the spec has {}", names.join(", ")) }
    }

    /// The axes of a list, each at most once.
    pub(super) fn axis_list(&mut self, names: &[Name]) -> Option<Vec<AxisId>> {
        let mut out = Vec::with_capacity(names.len());
        let mut sound = true;
        let mut listed: BTreeMap<&str, Span> = BTreeMap::new();
        for name in names {
            if let Some(first) = listed.insert(&name.text, name.span) {
                let problem = Problem::DuplicateAxis { name: name.text.clone() };
                self.report(Diagnostic::at(name.span, problem).says("again").label(first, "first here"));
                sound = false;
                continue;
            }
            match self.axis(name) {
                Some(axis) => out.push(axis),
                None => sound = false,
            }
        }
        sound.then_some(out)
    }

    /// The user's names of axes, for messages.
    pub(super) fn axis_names(&self, axes: impl IntoIterator<Item = AxisId>) -> String {
        let names: Vec<&str> = axes.into_iter().map(|a| self.spec.axis(a).name.as_str()).collect();
        names.join(", ")
    }

    /// Reports a function that does not exist.
    pub(super) fn unknown_function(&mut self, function: &Name, known: &[&str]) -> Option<TermId> {
        let functions = self.names.iter().filter(|(_, d)| matches!(d.meaning, Meaning::Function(_)));
        let known = functions.map(|(n, _)| n.as_str()).chain(known.iter().copied()).chain(words::FUNCTIONS);
        let help = match (words::instead_of_function(&function.text), closest(&function.text, known)) {
            (Some(help), _) => help.to_string(),
            (None, Some(close)) => format!("did you mean `{close}`?"),
            (None, None) => format!("define it in an earlier line: `{}(x) = ...`", function.text),
        };
        let problem = Problem::UnknownFunction { name: function.text.clone() };
        self.fail(Diagnostic::at(function.span, problem).says("not defined").help(help))
    }
}

/// The problem that `what` depends on something that is no constant of the spec.
pub(super) fn not_constant(what: &'static str, why: String) -> Problem {
    Problem::NotConstant { what, why }
}
