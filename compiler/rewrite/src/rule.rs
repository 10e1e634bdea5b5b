//! The rule record, and how records are applied to the e-graph.
//!
//! Owns [`Rule`], the [`rule!`](crate::rule!) macro, what a rule may see
//! ([`Site`]: facts and nodes, never the absence of a node) and the bridge to
//! egg. The records themselves are in [`mod@crate::rules`].

use attnc_algebra::{AxisId, AxisSet, NaryOp, ReduceOp, Spec, TermId, UnaryOp};
use egg::{Applier, Id, Language, PatternAst, RecExpr, Rewrite, SearchMatches, Searcher, Subst, Symbol, Var};

use crate::build::Tree;
use crate::domain::Domain;
use crate::facts::{Facts, Graph, SpecFacts, is_small_tree};
use crate::language::{ENode, Kind};

/// What a rule does to f32 results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stability {
    /// Same bits.
    Same,
    /// Rounds in another order.
    Reorders,
    /// Safe only because a shift or a bound is proved by the condition.
    NeedsShift,
}

/// Whether both sides are equal over the reals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Equal; applied as a union.
    Exact,
}

/// One rewrite rule.
#[derive(Debug)]
pub struct Rule {
    /// Unique, kebab-case, says what moves.
    pub name: &'static str,
    /// The doc comment of the record.
    pub doc: &'static str,
    /// The left side, in the spec language.
    pub before: &'static str,
    /// The right side, in the spec language.
    pub after: &'static str,
    /// The operators whose e-nodes are looked at.
    pub search: &'static [Kind],
    /// Matches one e-node and gives what follows from it.
    pub apply: fn(&Site<'_>, &ENode, &mut Outcome),
    /// The reasons for which it declines.
    pub when: &'static [&'static str],
    /// Why both sides are equal.
    pub sound: &'static str,
    /// What it does to f32 results.
    pub stability: Stability,
    /// Exact or not.
    pub class: Class,
    /// Where it is from.
    pub source: &'static str,
    /// Specs that hold instances of the left side, for the soundness test;
    /// `$r(axes)` draws a real, `$p(axes)` a positive real, `$m(axes)` a predicate;
    /// `$k(axes)` an integer key of few values; `$s(axes)` and `$u(axes)` are one real and one positive real throughout.
    pub draw: &'static [&'static str],
}

/// Writes a [`Rule`] as a record; the doc comment becomes its `doc`.
#[macro_export]
macro_rules! rule {
    ($(#[doc = $doc:literal])+ name: $name:literal, before: $before:literal, after: $after:literal,
     search: $search:expr, apply: $apply:expr, when: $when:expr, sound: $sound:literal,
     stability: $stability:ident, class: $class:ident, source: $source:literal, draw: $draw:expr $(,)?) => {
        $crate::rule::Rule {
            name: $name,
            doc: concat!($($doc, "\n"),+),
            before: $before,
            after: $after,
            search: &$search,
            apply: $apply,
            when: &$when,
            sound: $sound,
            stability: $crate::rule::Stability::$stability,
            class: $crate::rule::Class::$class,
            source: $source,
            draw: &$draw,
        }
    };
}

/// What a rule made of one e-node.
#[derive(Default, Debug)]
pub struct Outcome {
    /// `(left side, right side)`; the left side is a tree of matched nodes.
    pub unions: Vec<(Tree, Tree)>,
    /// Reasons of the record's `when` that did not hold.
    pub declined: Vec<&'static str>,
}

impl Outcome {
    /// The sides are equal.
    pub fn union(&mut self, from: Tree, to: Tree) {
        self.unions.push((from, to));
    }

    /// The left side was met, but not the condition.
    pub fn decline(&mut self, reason: &'static str) {
        self.declined.push(reason);
    }
}

/// Bound on the nodes of one class that a rule looks into.
const MAX_FORMS: usize = 6;

/// What a rule sees of the e-graph.
pub struct Site<'a> {
    graph: &'a Graph,
}

impl<'a> Site<'a> {
    /// The e-graph, seen by a rule.
    pub fn new(graph: &'a Graph) -> Self {
        Self { graph }
    }

    /// The spec's tables.
    pub fn spec(&self) -> &'a Spec {
        &self.graph.analysis.spec
    }

    /// Facts of a class.
    pub fn facts(&self, class: Id) -> &'a Facts {
        &self.graph[class].data
    }

    /// Free axes of a class.
    pub fn free(&self, class: Id) -> &'a AxisSet {
        &self.facts(class).free
    }

    /// Whether a class varies along an axis.
    pub fn varies(&self, class: Id, axis: AxisId) -> bool {
        self.free(class).contains(axis)
    }

    /// The canonical id of a class.
    pub fn find(&self, class: Id) -> Id {
        self.graph.find(class)
    }

    /// The first few nodes of a class with an operator.
    pub fn nodes(&self, class: Id, kind: Kind) -> impl Iterator<Item = &'a ENode> {
        self.graph[class].nodes.iter().filter(move |n| n.discriminant() == kind).take(MAX_FORMS)
    }

    /// The nodes of a class that are products, or nothing.
    pub fn products(&self, class: Id) -> impl Iterator<Item = (&'a ENode, &'a [Id])> {
        self.nodes(class, Kind::Nary(NaryOp::Mul)).map(|n| (n, n.children()))
    }

    /// The nodes of a class that are sums of terms.
    pub fn additions(&self, class: Id) -> impl Iterator<Item = (&'a ENode, &'a [Id])> {
        self.nodes(class, Kind::Nary(NaryOp::Add)).map(|n| (n, n.children()))
    }

    /// The ways to read a class as a product: its product nodes, or itself alone.
    pub fn factorings(&self, class: Id) -> Vec<(Tree, Vec<Id>)> {
        let mut out: Vec<(Tree, Vec<Id>)> =
            self.products(class).map(|(n, xs)| (Tree::matched(n), xs.to_vec())).collect();
        if out.is_empty() {
            out.push((Tree::Class(class), vec![class]));
        }
        out
    }

    /// The nodes of a class that are reductions by `op`.
    pub fn reductions(&self, class: Id, op: ReduceOp) -> impl Iterator<Item = (&'a ENode, AxisId, TermId, Id)> {
        self.nodes(class, Kind::Reduce(op)).filter_map(|n| match n {
            ENode::Reduce(_, axis, domain, [body]) => Some((n, *axis, *domain, *body)),
            _ => None,
        })
    }

    /// The operands of the nodes of a class that are `op`.
    pub fn unaries(&self, class: Id, op: UnaryOp) -> impl Iterator<Item = (&'a ENode, Id)> {
        self.nodes(class, Kind::Unary(op)).map(|n| (n, n.children()[0]))
    }

    /// The first form a class was made in.
    pub fn oldest(&self, class: Id) -> RecExpr<ENode> {
        self.graph.id_to_expr(class)
    }

    /// The closed term of a class, if it is a leaf and small.
    pub fn closed(&self, class: Id) -> Option<TermId> {
        let closed =
            self.graph[class].nodes.iter().find_map(|n| if let ENode::Closed(t) = n { Some(*t) } else { None });
        closed.filter(|t| is_small_tree(&self.spec().terms, *t))
    }

    /// The domain of a predicate.
    pub fn domain(&self, predicate: TermId) -> Domain {
        self.graph.analysis.domains.get(self.spec(), predicate)
    }

    /// Free axes of a predicate.
    pub fn domain_axes(&self, predicate: TermId) -> &'a AxisSet {
        self.spec().terms.free(predicate)
    }

    /// Whether the predicate is always true.
    pub fn is_full(&self, predicate: TermId) -> bool {
        self.domain(predicate) == Domain::Full
    }

    /// Whether a value may be taken out from under a restriction: nothing in it needs a guard, and it is
    /// finite even in rows that the restriction leaves empty.
    pub fn may_leave(&self, class: Id, axis: AxisId, domain: TermId) -> Result<(), &'static str> {
        // Where no row is left empty the value is read in every row, and needs what guards it nowhere else.
        if self.is_full(domain) || self.domain(domain).is_never_empty(self.spec(), axis) {
            return Ok(());
        }
        let facts = self.facts(class);
        let guarded = facts.guards.contains(axis) || !facts.guards.is_disjoint(self.domain_axes(domain));
        if guarded {
            Err(GUARDED)
        } else if !facts.defined {
            Err(MAY_BE_UNDEFINED)
        } else {
            Ok(())
        }
    }

    /// Whether the class, as a summand over `axis`, has a factor that could leave the sum; looks
    /// through additions and nested sums.
    pub fn separates(&self, class: Id, axis: AxisId, depth: usize) -> bool {
        let leaves = |x: &Id| !self.varies(*x, axis) && !self.free(*x).is_empty();
        self.products(class).any(|(_, xs)| xs.iter().any(leaves))
            || depth > 0
                && (self.additions(class).any(|(_, xs)| xs.iter().all(|x| self.separates(*x, axis, depth - 1)))
                    || self.reductions(class, ReduceOp::Sum).any(|(_, d, domain, body)| {
                        d != axis && !self.domain_axes(domain).contains(axis) && self.separates(body, axis, depth - 1)
                    }))
    }
}

/// A guarded element would be read outside its guard.
pub const GUARDED: &str = "a positional index may need the restriction as its guard";
/// The value may be infinite where the restriction leaves a row empty.
pub const MAY_BE_UNDEFINED: &str = "the value may be undefined in a row without elements";

/// The egg rewrite of a record.
pub fn rewrite(rule: &'static Rule) -> Rewrite<ENode, SpecFacts> {
    Rewrite::new(rule.name, Roots(rule), Roots(rule)).expect("neither side binds pattern variables")
}

/// Finds the classes that hold a node of one of the rule's operators, and applies the rule to them.
struct Roots(&'static Rule);

impl Searcher<ENode, SpecFacts> for Roots {
    fn search_eclass_with_limit(&self, graph: &Graph, class: Id, limit: usize) -> Option<SearchMatches<'_, ENode>> {
        let found = graph[class].nodes.iter().any(|n| self.0.search.contains(&n.discriminant()));
        (found && limit > 0).then(|| SearchMatches { eclass: class, substs: vec![Subst::default()], ast: None })
    }

    fn search_with_limit(&self, graph: &Graph, limit: usize) -> Vec<SearchMatches<'_, ENode>> {
        let mut classes: Vec<Id> = self
            .0
            .search
            .iter()
            .filter_map(|kind| graph.classes_for_op(kind))
            .flatten()
            .map(|c| graph.find(c))
            .collect();
        classes.sort_unstable();
        classes.dedup();
        classes.truncate(limit);
        classes.into_iter().map(|eclass| SearchMatches { eclass, substs: vec![Subst::default()], ast: None }).collect()
    }

    fn vars(&self) -> Vec<Var> {
        Vec::new()
    }
}

impl Applier<ENode, SpecFacts> for Roots {
    fn apply_one(
        &self,
        graph: &mut Graph,
        class: Id,
        _: &Subst,
        _: Option<&PatternAst<ENode>>,
        name: Symbol,
    ) -> Vec<Id> {
        let outcome = outcome(self.0, graph, class);
        for reason in outcome.declined {
            graph.analysis.declined.insert((self.0.name, reason));
        }
        let mut changed = Vec::new();
        for (from, to) in outcome.unions {
            let from = from.add(graph);
            let to = to.add(graph);
            let union = if graph.are_explanations_enabled() {
                graph.union_trusted(from, to, name)
            } else {
                graph.find(from) != graph.find(to) && graph.union(from, to)
            };
            if union {
                changed.push(to);
            }
        }
        changed
    }
}

/// What a rule makes of the nodes of one class.
pub fn outcome(rule: &Rule, graph: &Graph, class: Id) -> Outcome {
    let site = Site::new(graph);
    let mut outcome = Outcome::default();
    for node in &graph[class].nodes {
        if rule.search.contains(&node.discriminant()) {
            let mut node = node.clone();
            node.update_children(|c| graph.find(c));
            (rule.apply)(&site, &node, &mut outcome);
        }
    }
    outcome
}
