//! Syntax tree to checked spec: names, types, axes, functions, shorthands.
//!
//! Elaboration runs in two passes. `declare` settles parameters, extents and
//! axes, which may be mentioned in any order; `statement` then goes through
//! the text, each definition seeing those before it. Errors do not stop it:
//! a name whose definition failed is poisoned, and whatever uses it fails
//! silently, so that every independent error is reported once.

mod arithmetic;
mod bounds;
mod chain;
mod declare;
mod expression;
mod facts;
mod function;
mod index;
mod names;
mod reduction;
mod repeat;
mod statement;
pub(crate) mod substitute;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::{AxisId, InputId, SymbolId};
use crate::diagnostic::{Diagnostic, Span};
use crate::problem::Problem;
use crate::settings::Settings;
use crate::spec::Spec;
use crate::syntax::ast::{Ast, Expr, Name, StatementKind};
use crate::term::{TermId, Terms};

/// The checked spec of a syntax tree.
///
/// # Errors
/// Every independent error, in order of place.
pub fn elaborate(ast: &Ast, settings: &Settings) -> Result<Spec, Vec<Diagnostic>> {
    let (spec, mut diagnostics) = elaborate_recovering(ast, settings);
    if diagnostics.is_empty() {
        return Ok(spec);
    }
    crate::syntax::cap(&mut diagnostics, &settings.limits);
    Err(diagnostics)
}

/// The checked spec of a text: parsing and elaboration.
///
/// ```
/// use attnc_algebra::{Settings, compile_text};
/// let text = "spec mean\ninput x[b, j, e]\noutput y[b, e] = mean[j](x)\n";
/// let spec = compile_text(text, &Settings::default()).unwrap();
/// assert_eq!(spec.outputs[0].axes.len(), 2);
/// ```
///
/// # Errors
/// Every independent error of syntax and of meaning, in order of place.
pub fn compile_text(source: &str, settings: &Settings) -> Result<Spec, Vec<Diagnostic>> {
    let (ast, mut diagnostics) = crate::syntax::parse_recovering(source, &settings.limits);
    if ast.statements.is_empty() {
        crate::syntax::cap(&mut diagnostics, &settings.limits);
        return Err(diagnostics);
    }
    let (spec, of_meaning) = elaborate_recovering(&ast, settings);
    diagnostics.extend(of_meaning);
    if diagnostics.is_empty() {
        return Ok(spec);
    }
    crate::syntax::cap(&mut diagnostics, &settings.limits);
    Err(diagnostics)
}

fn elaborate_recovering(ast: &Ast, settings: &Settings) -> (Spec, Vec<Diagnostic>) {
    let mut elaborator = Elaborator::new(settings);
    elaborator.declare(ast);
    for (at, statement) in ast.statements.iter().enumerate() {
        elaborator.statement(at, statement);
    }
    elaborator.finish(ast);
    (elaborator.spec, elaborator.diagnostics)
}

/// What a name in value position stands for.
#[derive(Clone, Debug)]
enum Meaning<'a> {
    /// A parameter's value.
    Param(TermId),
    /// An input tensor.
    Input(InputId),
    /// A computed tensor, with the order of its axes where it is declared.
    Tensor(TermId, Option<Vec<AxisId>>),
    /// A user's function.
    Function(FunctionDefinition<'a>),
    /// A definition with an error.
    Poisoned,
}

/// A user's function: inlined at each call.
#[derive(Clone, Copy, Debug)]
struct FunctionDefinition<'a> {
    parameters: &'a [Name],
    body: &'a Expr,
    /// Definitions with a lower serial are visible in the body.
    serial: usize,
}

/// A definition and its place in the order of definitions.
#[derive(Clone, Debug)]
struct Definition<'a> {
    meaning: Meaning<'a>,
    serial: usize,
}

/// A function's parameter or the variable of an `iterate`; `value` is `None` where its definition had an error.
#[derive(Clone, Debug)]
struct Local {
    name: String,
    value: Option<TermId>,
    order: Option<Vec<AxisId>>,
}

struct Elaborator<'a> {
    settings: &'a Settings,
    spec: Spec,
    facts: facts::Facts,
    diagnostics: Vec<Diagnostic>,
    /// Errors reported, so that a function with an error called twice reports it once.
    reported: BTreeSet<(Span, &'static str)>,
    /// Parameters whose value an error was reported of.
    blamed: BTreeSet<String>,
    /// Definitions so far.
    names: BTreeMap<String, Definition<'a>>,
    /// First definition of each name in the text, as statement index and place.
    placed: BTreeMap<String, (usize, Span)>,
    /// Names in statements with syntax errors.
    poisoned: BTreeSet<String>,
    axes: BTreeMap<String, AxisId>,
    symbols: BTreeMap<String, SymbolId>,
    /// Names of all axes the text declares, known before the axes themselves.
    declared_axes: BTreeSet<String>,
    locals: Vec<Local>,
    /// The name being defined.
    defining: Option<String>,
    /// Only definitions with a lower serial are visible: that of the function whose body is read.
    horizon: usize,
    /// Where indices were read, by the term that reads an input: one place for each index, or one for all.
    read_at: BTreeMap<TermId, Vec<Span>>,
    /// Where quotients and remainders of integers were read.
    divided_at: BTreeMap<TermId, Span>,
    /// The first use of each axis as a number.
    position_at: BTreeMap<AxisId, Span>,
    /// Places of the calls whose bodies are read.
    calls: Vec<Span>,
    /// Whether an index is read, where axes come before values of the same name.
    in_index: bool,
    /// Branches and domains around what is read: it may never be evaluated.
    guards: usize,
    /// What is read, where it must be a constant of the spec.
    constant: Option<&'static str>,
    steps: usize,
    depth: usize,
    /// A limit was hit; nothing more is read.
    exhausted: bool,
}

impl<'a> Elaborator<'a> {
    fn new(settings: &'a Settings) -> Self {
        Self {
            settings,
            spec: Spec {
                name: "unnamed".to_string(),
                terms: Terms::new(),
                symbols: Vec::new(),
                axes: Vec::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                requires: Vec::new(),
                params: Vec::new(),
                example: BTreeMap::new(),
            },
            facts: facts::Facts::default(),
            diagnostics: Vec::new(),
            reported: BTreeSet::new(),
            blamed: BTreeSet::new(),
            names: BTreeMap::new(),
            placed: BTreeMap::new(),
            poisoned: BTreeSet::new(),
            axes: BTreeMap::new(),
            symbols: BTreeMap::new(),
            declared_axes: BTreeSet::new(),
            locals: Vec::new(),
            defining: None,
            horizon: usize::MAX,
            read_at: BTreeMap::new(),
            divided_at: BTreeMap::new(),
            position_at: BTreeMap::new(),
            calls: Vec::new(),
            in_index: false,
            guards: 0,
            constant: None,
            steps: 0,
            depth: 0,
            exhausted: false,
        }
    }

    /// Records an error, once per place and code.
    fn report(&mut self, mut diagnostic: Diagnostic) {
        if self.exhausted && diagnostic.code != "spec-too-large" {
            return;
        }
        if let Some(span) = diagnostic.span() {
            if !self.reported.insert((span, diagnostic.code)) {
                return;
            }
            if let Some(call) = self.calls.first() {
                diagnostic = diagnostic.label(*call, "called here");
            }
        }
        self.diagnostics.push(diagnostic);
    }

    /// Records an error and gives nothing.
    fn fail<T>(&mut self, diagnostic: Diagnostic) -> Option<T> {
        self.report(diagnostic);
        None
    }

    /// Records that the value of `cause` is impossible at `span`, once for each parameter that it comes from.
    fn fail_of_value<T>(&mut self, span: Span, cause: &Expr, problem: Problem) -> Option<T> {
        let diagnostic = Diagnostic::at(span, problem);
        let Some((name, term)) = self.parameter_in(cause) else { return self.fail(diagnostic) };
        if !self.blamed.insert(name.clone()) {
            return None;
        }
        let value = crate::print_term(&self.spec, term);
        self.fail(diagnostic.says(format!("`{name}` is {value}")).help(format!("give `{name}` another value")))
    }

    /// The folded term; arithmetic that constants made impossible is an error at `span`.
    fn folded(&mut self, span: Span, folded: arithmetic::Folded) -> Option<TermId> {
        match folded {
            Ok(term) => Some(term),
            Err(problem) => self.fail(Diagnostic::at(span, problem)),
        }
    }

    /// Counts a step of work at `span` and checks the limits.
    fn step(&mut self, span: Span) -> Option<()> {
        self.steps += 1;
        let limits = &self.settings.limits;
        let terms = self.spec.terms.len();
        let (what, limit) = if self.steps > limits.steps {
            ("steps of elaboration", limits.steps)
        } else if terms > limits.terms {
            ("terms", limits.terms)
        } else if self.spec.axes.len() > limits.axes {
            ("axes", limits.axes)
        } else if self.depth > limits.nesting + limits.nesting / 2 {
            ("levels of nested functions", limits.nesting + limits.nesting / 2)
        } else {
            // With more errors than are shown there is no use in going on.
            self.exhausted |= self.diagnostics.len() > limits.diagnostics;
            return (!self.exhausted).then_some(());
        };
        self.exhaust(span, what, limit)
    }

    /// Checks the depth of a term made at `span`.
    fn checked_depth(&mut self, span: Span, term: TermId) -> Option<TermId> {
        let limit = self.settings.limits.depth;
        if self.facts.of(&self.spec.terms, term).depth > limit {
            return self.exhaust(span, "levels of terms", limit);
        }
        Some(term)
    }

    fn exhaust<T>(&mut self, span: Span, what: &'static str, limit: usize) -> Option<T> {
        if !self.exhausted {
            self.exhausted = true;
            let diagnostic = Diagnostic::at(span, Problem::SpecTooLarge { what, limit }).says("reached here");
            self.report(diagnostic.help("simplify the spec, or raise the limit"));
        }
        None
    }

    /// Checks that hold for the spec as a whole.
    fn finish(&mut self, ast: &Ast) {
        let has = |wanted: fn(&StatementKind) -> bool| ast.statements.iter().any(|s| wanted(&s.kind));
        let output = has(|k| matches!(k, StatementKind::Output { .. } | StatementKind::Broken(_)));
        if !output && !self.exhausted {
            let end = ast.statements.last().map_or(Span::default(), |s| s.span);
            let help = "end the spec with a line `output name[axes] = expression`";
            self.report(Diagnostic::at(end, Problem::NoOutput).help(help));
        }
        if self.diagnostics.is_empty() {
            self.check_bounds();
        }
    }
}
