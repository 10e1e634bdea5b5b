//! The first pass: which names the text defines, parameters, extents, axes.
//!
//! These may be mentioned in any order, so they are settled before the
//! statements are read. An axis has the extent its `axis` line or its
//! `input` gives it, else its own name in capitals: a parameter of that name
//! if there is one, an extent symbol if not.

use std::collections::{BTreeMap, BTreeSet};

use super::{Elaborator, Meaning};
use crate::axis::{AxisId, SymbolId};
use crate::diagnostic::{Diagnostic, Span};
use crate::ops::NaryOp;
use crate::problem::Problem;
use crate::settings::SettingValue;
use crate::spec::{Axis, Symbol};
use crate::syntax::ast::{Ast, ConcatPart, Expr, ExprKind, Name, Statement, StatementKind};
use crate::syntax::words::closest;
use crate::term::{Node, TermId, Type};

/// What the text says of one axis.
struct Declared<'a> {
    name: &'a str,
    extents: Vec<(&'a Expr, Span)>,
    parts: Option<&'a [ConcatPart]>,
    first: Span,
}

/// The axes of a text in order of mention.
#[derive(Default)]
struct DeclaredAxes<'a> {
    axes: Vec<Declared<'a>>,
    at: BTreeMap<&'a str, usize>,
}

impl<'a> DeclaredAxes<'a> {
    fn mention(&mut self, name: &'a Name) -> &mut Declared<'a> {
        let at = *self.at.entry(&name.text).or_insert(self.axes.len());
        if at == self.axes.len() {
            self.axes.push(Declared { name: &name.text, extents: Vec::new(), parts: None, first: name.span });
        }
        &mut self.axes[at]
    }

    fn collect(ast: &'a Ast) -> Self {
        let mut out = Self::default();
        for statement in &ast.statements {
            match &statement.kind {
                StatementKind::Axis { names, extent } => {
                    for name in names {
                        out.mention(name).extents.push((extent, name.span));
                    }
                }
                StatementKind::Input(input) => {
                    for (name, extent) in &input.axes {
                        let axis = out.mention(name);
                        axis.extents.extend(extent.as_ref().map(|e| (e, name.span)));
                    }
                }
                _ => {}
            }
        }
        for statement in &ast.statements {
            let mut joins = Vec::new();
            values_of(&statement.kind).for_each(|e| collect_joins(e, &mut joins));
            for (axis, parts) in joins {
                if !out.at.contains_key(axis.text.as_str()) {
                    out.mention(axis).parts = Some(parts);
                }
            }
        }
        out
    }
}

/// The expressions of a statement that may hold a `concat`.
fn values_of(kind: &StatementKind) -> impl Iterator<Item = &Expr> {
    match kind {
        StatementKind::Define { value, .. } | StatementKind::Output { value, .. } => Some(value),
        StatementKind::Function { body, .. } => Some(body),
        _ => None,
    }
    .into_iter()
}

fn collect_joins<'a>(expr: &'a Expr, out: &mut Vec<(&'a Name, &'a [ConcatPart])>) {
    if let ExprKind::Concat(axis, parts) = &expr.kind {
        out.push((axis, parts));
    }
    operands_of(expr).into_iter().for_each(|e| collect_joins(e, out));
}

/// The expressions directly inside an expression.
fn operands_of(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Int(_) | ExprKind::Real(_) | ExprKind::Constant(_) | ExprKind::Name(_) | ExprKind::Concat(..) => {
            Vec::new()
        }
        ExprKind::Neg(x) | ExprKind::Not(x) => vec![x],
        ExprKind::Chain(first, rest) => std::iter::once(&**first).chain(rest.iter().map(|(_, e)| e)).collect(),
        ExprKind::Compare(first, rest) => std::iter::once(&**first).chain(rest.iter().map(|(_, e)| e)).collect(),
        ExprKind::Pow(x, y) => vec![x, y],
        ExprKind::If(parts) => parts.iter().collect(),
        ExprKind::Call(_, xs) | ExprKind::Index(_, xs) => xs.iter().collect(),
        ExprKind::Reduce(r) => r.domain.iter().chain(&r.body).collect(),
        ExprKind::Iterate(i) => vec![&i.count, &i.init, &i.body],
    }
}

/// Calls `see` on every plain name of an expression.
fn names_in<'a>(expr: &'a Expr, see: &mut impl FnMut(&'a str)) {
    if let ExprKind::Name(name) = &expr.kind {
        see(name);
    }
    operands_of(expr).into_iter().for_each(|e| names_in(e, see));
}

impl<'a> Elaborator<'a> {
    /// Settles which names exist, the parameters, the extents and the axes.
    pub(super) fn declare(&mut self, ast: &'a Ast) {
        for (at, statement) in ast.statements.iter().enumerate() {
            self.place(at, statement);
        }
        let axes = DeclaredAxes::collect(ast);
        self.declare_symbols(ast, &axes);
        self.declared_axes = axes.axes.iter().map(|a| a.name.to_string()).collect();
        for (at, statement) in ast.statements.iter().enumerate() {
            if let StatementKind::Param { name, value } = &statement.kind {
                self.parameter(at, name, value);
            }
        }
        for declared in &axes.axes {
            if self.step(declared.first).is_some() {
                self.declare_axis(declared);
            }
        }
        self.check_settings();
    }

    /// Notes the name a statement defines.
    fn place(&mut self, at: usize, statement: &'a Statement) {
        let name = match &statement.kind {
            StatementKind::Param { name, .. }
            | StatementKind::Define { name, .. }
            | StatementKind::Function { name, .. }
            | StatementKind::Output { name, .. } => name,
            StatementKind::Input(input) => &input.name,
            StatementKind::Broken(names) => {
                self.poisoned.extend(names.iter().cloned());
                return;
            }
            _ => return,
        };
        self.placed.entry(name.text.clone()).or_insert((at, name.span));
    }

    /// Whether the statement `at` is the first to define `name`; an error if not.
    pub(super) fn is_first(&mut self, at: usize, name: &Name) -> bool {
        match self.placed.get(&name.text).copied() {
            Some((first, span)) if first != at => {
                let problem = Problem::DuplicateName { name: name.text.clone() };
                let diagnostic = Diagnostic::at(name.span, problem).says("again").label(span, "first defined here");
                self.report(diagnostic.help("give one of them another name"));
                false
            }
            _ => true,
        }
    }

    fn declare_symbols(&mut self, ast: &'a Ast, axes: &DeclaredAxes<'a>) {
        let params: BTreeSet<&str> = ast
            .statements
            .iter()
            .filter_map(|s| match &s.kind {
                StatementKind::Param { name, .. } => Some(name.text.as_str()),
                _ => None,
            })
            .collect();
        let mut known = BTreeSet::new();
        let mut symbols = Vec::new();
        let mut add = |name: String| {
            if !params.contains(name.as_str()) && known.insert(name.clone()) {
                symbols.push(Symbol { name });
            }
        };
        for axis in &axes.axes {
            for (extent, _) in &axis.extents {
                names_in(extent, &mut |name| {
                    if name.starts_with(char::is_uppercase) {
                        add(name.to_string());
                    }
                });
            }
            if axis.extents.is_empty() && axis.parts.is_none() {
                add(axis.name.to_uppercase());
            }
        }
        self.symbols = symbols.iter().zip(0..).map(|(s, at)| (s.name.clone(), SymbolId(at))).collect();
        self.spec.symbols = symbols;
    }

    /// Reads an expression that must be a constant of the spec.
    pub(super) fn closed(&mut self, what: &'static str, expr: &'a Expr) -> Option<TermId> {
        self.constant = Some(what);
        let term = self.expr(expr);
        self.constant = None;
        term
    }

    fn parameter(&mut self, at: usize, name: &'a Name, value: &'a Expr) {
        self.defining = Some(name.text.clone());
        let default = self.closed("a parameter", value);
        self.defining = None;
        if !self.is_first(at, name) {
            return;
        }
        let value = default.and_then(|default| {
            let default = self.evaluated(default);
            match self.settings.set.get(&name.text) {
                Some(set) => self.set_value(&name.text, *set, self.spec.terms.ty(default)),
                None => Some(default),
            }
        });
        match value {
            Some(term) => {
                self.spec.params.push((name.text.clone(), term));
                self.define(name, Meaning::Param(term));
            }
            None => self.define(name, Meaning::Poisoned),
        }
    }

    /// The constant that `term` is, if it is closed; the term itself if it has extents.
    pub(super) fn evaluated(&mut self, term: TermId) -> TermId {
        let Some(value) = self.spec.terms.closed_value(term) else { return term };
        match self.spec.terms.ty(term) {
            Type::Real => self.spec.terms.real(value),
            Type::Bool => self.spec.terms.truth(value != 0.0),
            Type::Int if value.abs() < 2f64.powi(53) => self.spec.terms.int(value as i64),
            Type::Int => term,
        }
    }

    fn set_value(&mut self, name: &str, set: SettingValue, ty: Type) -> Option<TermId> {
        let wanted = match (ty, set) {
            (Type::Real, SettingValue::Int(v)) => return Some(self.spec.terms.real(v as f64)),
            (Type::Real, SettingValue::Real(v)) => return Some(self.spec.terms.real(v)),
            (Type::Int, SettingValue::Int(v)) => return Some(self.spec.terms.int(v)),
            (Type::Int, SettingValue::Real(v)) if v.fract() == 0.0 && v.abs() < 2f64.powi(53) => {
                return Some(self.spec.terms.int(v as i64));
            }
            (Type::Bool, SettingValue::Int(v @ 0..=1)) => return Some(self.spec.terms.truth(v == 1)),
            (Type::Bool, _) => "0 or 1",
            (Type::Int, _) => "an integer",
        };
        let problem = Problem::SettingType { name: name.to_string(), value: set.to_string(), wanted };
        self.fail(Diagnostic::new(problem))
    }

    fn declare_axis(&mut self, declared: &Declared<'a>) {
        let mut first: Option<(TermId, Span)> = None;
        let mut failed = false;
        for (expr, span) in &declared.extents {
            let Some(extent) = self.extent(declared.name, expr) else {
                failed = true;
                continue;
            };
            match first {
                None => first = Some((extent, *span)),
                Some((known, at)) if known != extent => {
                    self.extent_conflict(declared.name, (known, at), (extent, *span))
                }
                Some(_) => {}
            }
        }
        let extent = match first {
            Some((extent, _)) => Some(extent),
            // The errors are reported; any extent lets the axis be used without further ones.
            None if failed => Some(self.spec.terms.int(1)),
            None => self.default_extent(declared),
        };
        let Some(extent) = extent else {
            self.poisoned.insert(declared.name.to_string());
            return;
        };
        let id = AxisId(self.spec.axes.len() as u32);
        self.spec.axes.push(Axis { name: declared.name.to_string(), extent });
        self.axes.insert(declared.name.to_string(), id);
    }

    fn extent_conflict(&mut self, axis: &str, first: (TermId, Span), second: (TermId, Span)) {
        let shown = |term| crate::print_term(&self.spec, term);
        let (one, other) = (shown(first.0), shown(second.0));
        let problem = Problem::ExtentConflict { axis: axis.to_string(), first: one.clone(), second: other.clone() };
        let diagnostic =
            Diagnostic::at(second.1, problem).says(format!("{other} here")).label(first.1, format!("{one} here"));
        self.report(diagnostic.help("one axis has one extent; give the other a name of its own"));
    }

    /// The extent of an axis without one: the sum of the joined parts, or its name in capitals.
    fn default_extent(&mut self, declared: &Declared<'a>) -> Option<TermId> {
        if let Some(parts) = declared.parts {
            let extents: Option<Vec<TermId>> =
                parts.iter().map(|p| self.axis(&p.axis).map(|a| self.spec.axis(a).extent)).collect();
            let folded = self.spec.terms.arithmetic(NaryOp::Add, extents?);
            return self.folded(declared.first, folded);
        }
        let name = declared.name.to_uppercase();
        match self.symbols.get(&name).copied() {
            Some(symbol) => Some(self.spec.terms.add(Node::Extent(symbol))),
            None => {
                let term = self.name(&name, declared.first)?;
                let named = Expr { kind: ExprKind::Name(name), span: declared.first };
                self.checked_extent(declared.name, &named, term)
            }
        }
    }

    fn extent(&mut self, axis: &str, expr: &'a Expr) -> Option<TermId> {
        let term = self.closed("an extent", expr)?;
        self.checked_extent(axis, expr, term)
    }

    /// Integer arithmetic over extents whose value, if known, is at least 1.
    pub(super) fn checked_extent(&mut self, name: &str, expr: &Expr, term: TermId) -> Option<TermId> {
        let span = expr.span;
        let term = self.integer(span, "an extent", term)?;
        let term = self.evaluated(term);
        if !self.facts.of(&self.spec.terms, term).extent {
            let why = "real arithmetic over extents".to_string();
            let problem = Problem::NotConstant { what: "an extent", why };
            return self.fail(Diagnostic::at(span, problem).help("divide with `div`"));
        }
        if let Some(value) = self.spec.eval_extent(term, &crate::spec::Extents::default())
            && value < 1
        {
            return self.fail_of_value(span, expr, Problem::EmptyExtent { name: name.to_string(), value });
        }
        Some(term)
    }

    /// The first parameter that an expression names, with its value.
    pub(super) fn parameter_in(&self, expr: &Expr) -> Option<(String, TermId)> {
        let mut found = None;
        names_in(expr, &mut |name| {
            if let (None, Some(Meaning::Param(term))) = (&found, self.definition(name)) {
                found = Some((name.to_string(), term));
            }
        });
        found
    }

    /// Every setting names a parameter or an extent, and extents are positive integers.
    fn check_settings(&mut self) {
        let settings = self.settings;
        for (name, value) in &settings.set {
            if self.names.contains_key(name) {
                continue;
            }
            if self.symbols.contains_key(name) {
                self.check_extent_setting(name, *value);
            } else if !self.poisoned.contains(name) {
                let known: Vec<&str> = self.names.keys().chain(self.symbols.keys()).map(String::as_str).collect();
                let help = match closest(name, known.iter().copied()) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None if known.is_empty() => "this spec has nothing to set".to_string(),
                    None => format!("this spec has {}", known[..known.len().min(20)].join(", ")),
                };
                let problem = Problem::UnknownSetting { name: name.clone() };
                self.report(Diagnostic::new(problem).help(help));
            }
        }
    }

    fn check_extent_setting(&mut self, name: &str, value: SettingValue) {
        let name = name.to_string();
        let problem = match value {
            SettingValue::Int(v) if v >= 1 => return,
            SettingValue::Real(v) if v.fract() == 0.0 && (1.0..2f64.powi(53)).contains(&v) => return,
            SettingValue::Int(v) => Problem::EmptyExtent { name, value: v },
            SettingValue::Real(_) => {
                Problem::SettingType { name, value: value.to_string(), wanted: "an integer of at least 1" }
            }
        };
        self.report(Diagnostic::new(problem));
    }
}
