//! Derivations: from the spec's own term to the chosen one, one rule at a time.
//!
//! Owns the rerun with egg's explanations, on the same input and limits, and
//! its translation into whole terms of the spec language. Compiling never
//! pays for this.

use attnc_algebra::{Output, Spec, TermId, print_term};
use egg::{FlatTerm, Id, Language, RecExpr};

use crate::convert;
use crate::extract::{Extracted, RunnerUp};
use crate::facts::{Graph, SpecFacts};
use crate::language::{ENode, Kind};
use crate::rule::Rule;
use crate::rules::rules;
use crate::saturate::{self, Saturated, Stopped};

/// One step of a derivation.
#[derive(Clone, Debug)]
pub struct Step {
    /// The rule that gives this term from the one before; `None` for the spec's own term.
    pub rule: Option<&'static Rule>,
    /// Whether the rule was read from right to left.
    pub reversed: bool,
    /// Which output is derived.
    pub output: usize,
    /// The whole term, in the arena of [`Explanation::spec`].
    pub term: TermId,
}

impl Step {
    /// The name of the rule, or `spec`.
    pub fn rule_name(&self) -> &'static str {
        self.rule.map_or("spec", |r| r.name)
    }
}

/// A derivation with what was not done.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The spec, whose arena holds every term of the steps.
    pub spec: Spec,
    /// The steps, output by output.
    pub steps: Vec<Step>,
    /// Rules that met their left side but not their condition: `(rule, reason)`.
    pub declined: Vec<(&'static str, &'static str)>,
    /// The cheapest other form.
    pub runner_up: Option<RunnerUp>,
    /// Outputs whose derivation could not be reconstructed within the limits.
    pub unexplained: Vec<usize>,
}

impl Explanation {
    /// The term of a step in the spec language.
    pub fn print(&self, step: &Step) -> String {
        print_term(&self.spec, step.term)
    }
}

impl Saturated {
    /// How the chosen form follows from the spec.
    pub fn explain(&self, chosen: &Extracted) -> Explanation {
        let declined = self.graph.analysis.declined.iter().copied().collect();
        let runner_up = chosen.runner_up.clone();
        let written_out = self.naive_exprs.iter().chain(&chosen.exprs).all(is_short_tree);
        if self.stopped == Stopped::TooLarge || !written_out {
            return self.unexplained(chosen, declined);
        }
        // The same input over an arena that already holds the chosen terms.
        let mut spec = self.original.clone();
        spec.terms = chosen.spec.terms.clone();
        let mut graph = Graph::new(SpecFacts::new(spec)).with_explanations_enabled();
        let roots: Vec<Id> = self.original.outputs.iter().map(|o| convert::add_term(&mut graph, o.term)).collect();
        let (mut graph, ..) = saturate::run(graph, &self.limits);
        let targets: Vec<Id> = chosen.exprs.iter().map(|e| add_expr(&mut graph, e)).collect();
        saturate::without_clock(|| graph.rebuild());
        let mut steps = Vec::new();
        let mut unexplained = Vec::new();
        for (output, (root, target)) in roots.iter().zip(&targets).enumerate() {
            if graph.find(*root) != graph.find(*target) {
                unexplained.push(output);
                continue;
            }
            let own = Step { rule: None, reversed: false, output, term: self.original.outputs[output].term };
            steps.push(own);
            if chosen.spec.outputs[output].term != self.original.outputs[output].term {
                steps.extend(derivation(&mut graph, output, *root, *target));
            }
        }
        drop_invisible(&graph.analysis.spec, &mut steps);
        let spec = graph.analysis.spec;
        Explanation { spec, steps, declined, runner_up, unexplained }
    }
}

impl Saturated {
    /// The spec's own terms without a derivation, for specs too large to write out step by step.
    fn unexplained(&self, chosen: &Extracted, declined: Vec<(&'static str, &'static str)>) -> Explanation {
        let own = |(output, o): (usize, &Output)| Step { rule: None, reversed: false, output, term: o.term };
        let rewritten = |(n, o): (usize, &Output)| (o.term != chosen.spec.outputs[n].term).then_some(n);
        Explanation {
            steps: self.original.outputs.iter().enumerate().map(own).collect(),
            unexplained: self.original.outputs.iter().enumerate().filter_map(rewritten).collect(),
            spec: chosen.spec.clone(),
            declined,
            runner_up: chosen.runner_up.clone(),
        }
    }
}

/// E-nodes up to which an expression written out as a tree is derived step by step.
const LONGEST_TREE: usize = 5_000;

fn is_short_tree(expr: &RecExpr<ENode>) -> bool {
    let mut sizes: Vec<usize> = Vec::with_capacity(expr.len());
    for node in expr.as_ref() {
        let size = node.fold(1usize, |sum, c| sum.saturating_add(sizes[usize::from(c)]));
        sizes.push(size);
    }
    sizes.last().is_none_or(|size| *size <= LONGEST_TREE)
}

/// Adds an expression, its sums and products sorted as this graph sorts them.
fn add_expr(graph: &mut Graph, expr: &RecExpr<ENode>) -> Id {
    let mut ids: Vec<Id> = Vec::with_capacity(expr.len());
    for node in expr.as_ref() {
        let mut node = node.clone();
        node.update_children(|c| ids[usize::from(c)]);
        if let Kind::Nary(_) = node.discriminant() {
            node.children_mut().sort_by_key(|c| (graph.find(*c), *c));
        }
        ids.push(graph.add_uncanonical(node));
    }
    ids.last().copied().expect("an expression has at least one node")
}

/// Drops steps that print as the one before: only brackets moved.
fn drop_invisible(spec: &Spec, steps: &mut Vec<Step>) {
    let mut last = (usize::MAX, String::new());
    steps.retain(|step| {
        let shown = (step.output, print_term(spec, step.term));
        let keep = step.rule.is_none() || shown != last;
        last = shown;
        keep
    });
}

/// The steps after the first.
fn derivation(graph: &mut Graph, output: usize, root: Id, target: Id) -> Vec<Step> {
    let mut explanation = graph.explain_id_equivalence(root, target);
    let flat = explanation.make_flat_explanation();
    let mut terms: Vec<TermId> = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    for term in flat {
        let mut expr = RecExpr::default();
        to_expr(term, &mut expr);
        let id = convert::to_term(&mut graph.analysis.spec.terms, &expr);
        // A term met before ends a detour.
        if let Some(seen) = terms.iter().position(|t| *t == id) {
            terms.truncate(seen + 1);
            steps.truncate(seen);
            continue;
        }
        if let Some((name, reversed)) = rule_of(term) {
            let rule = rules().iter().copied().find(|r| r.name == name);
            steps.push(Step { rule, reversed, output, term: id });
        }
        terms.push(id);
    }
    steps
}

/// Appends a flat term's nodes.
fn to_expr(term: &FlatTerm<ENode>, expr: &mut RecExpr<ENode>) -> Id {
    let children: Vec<Id> = term.children.iter().map(|c| to_expr(c, expr)).collect();
    let mut node = term.node.clone();
    node.children_mut().copy_from_slice(&children);
    expr.add(node)
}

/// The rule that made a flat term from the one before, and whether it was reversed.
fn rule_of(term: &FlatTerm<ENode>) -> Option<(&'static str, bool)> {
    let own = match (term.forward_rule, term.backward_rule) {
        (Some(name), _) => Some((name.as_str(), false)),
        (_, Some(name)) => Some((name.as_str(), true)),
        _ => None,
    };
    own.or_else(|| term.children.iter().find_map(|c| rule_of(c)))
}
