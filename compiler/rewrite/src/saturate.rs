//! Saturation: all equal forms of a spec's outputs, once, with symbolic extents.
//!
//! Owns the limits and the run over all rules. Time is never a limit, so that
//! equal specs give equal graphs on every machine; the reason for stopping is
//! recorded. Extraction at given extents is in [`crate::extract`].

use std::time::Duration;

use attnc_algebra::{Spec, TermId};
use egg::{Id, RecExpr, Runner, SimpleScheduler, StopReason};
use quanta::Clock;

use crate::convert;
use crate::facts::{Graph, SpecFacts};
use crate::language::ENode;
use crate::rule;
use crate::rules::rules;

/// Bounds on saturation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Rounds of all rules.
    pub iterations: usize,
    /// E-nodes; looked at between rounds, and before the first.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { iterations: 14, nodes: 2500 }
    }
}

/// The share of the limit of nodes from which on a spec is large.
const LARGE: usize = 10;

/// The share of the limit of nodes from which on a spec is long.
const LONG: usize = 32;

/// Rounds of all rules on a large spec.
const ROUNDS_OF_LARGE: usize = 2;

/// Why saturation stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// No rule has anything to add.
    Saturated,
    /// [`Limits::iterations`] was reached.
    Iterations,
    /// [`Limits::nodes`] was reached.
    Nodes,
    /// The spec alone has more e-nodes than [`Limits::nodes`]; no rule ran and its own form is kept.
    TooLarge,
}

/// A spec with all equal forms of its outputs.
pub struct Saturated {
    pub(crate) graph: Graph,
    /// One class for each output.
    pub(crate) roots: Vec<Id>,
    /// The outputs' terms as the e-graph's normal form writes them, before any rule.
    pub(crate) naive: Vec<TermId>,
    /// The same as expressions.
    pub(crate) naive_exprs: Vec<RecExpr<ENode>>,
    pub(crate) original: Spec,
    pub(crate) limits: Limits,
    pub(crate) stopped: Stopped,
    iterations: usize,
    long: bool,
}

impl Saturated {
    /// Runs all rules on the outputs of `spec`.
    pub fn new(spec: &Spec, limits: &Limits) -> Self {
        let mut graph = Graph::new(SpecFacts::new(spec.clone()));
        let roots: Vec<Id> = spec.outputs.iter().map(|o| convert::add_term(&mut graph, o.term)).collect();
        let naive_exprs: Vec<_> = roots.iter().map(|r| graph.id_to_expr(*r)).collect();
        let naive = naive_exprs.iter().map(|e| convert::to_term(&mut graph.analysis.spec.terms, e)).collect();
        let long = graph.total_number_of_nodes() > limits.nodes / LONG;
        let (graph, stopped, iterations) = if graph.total_number_of_nodes() > limits.nodes {
            (graph, Stopped::TooLarge, 0)
        } else {
            run(graph, limits)
        };
        let roots = roots.into_iter().map(|r| graph.find(r)).collect();
        Self { graph, roots, naive, naive_exprs, original: spec.clone(), limits: *limits, stopped, iterations, long }
    }

    /// Why saturation stopped.
    pub fn stopped(&self) -> Stopped {
        self.stopped
    }

    /// Rounds run.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// Whether the spec alone has so many e-nodes that its forms differ in many small things.
    pub fn is_long(&self) -> bool {
        self.long
    }

    /// Number of e-nodes.
    pub fn nodes(&self) -> usize {
        self.graph.total_number_of_nodes()
    }

    /// Number of e-classes.
    pub fn classes(&self) -> usize {
        self.graph.number_of_classes()
    }

    /// The spec that was saturated.
    pub fn spec(&self) -> &Spec {
        &self.original
    }
}

/// Runs all rules on a graph.
pub(crate) fn run(graph: Graph, limits: &Limits) -> (Graph, Stopped, usize) {
    let rewrites: Vec<_> = rules().iter().map(|r| rule::rewrite(r)).collect();
    let facts = SpecFacts::new(graph.analysis.spec.clone());
    // A large spec would meet the limit of nodes in the middle of a round: it gets the rounds that fuse, and no more.
    let large = graph.total_number_of_nodes() > limits.nodes / LARGE;
    let iterations = if large { limits.iterations.min(ROUNDS_OF_LARGE) } else { limits.iterations };
    let runner = Runner::<_, _, ()>::new(facts)
        .with_egraph(graph)
        .with_iter_limit(iterations)
        .with_node_limit(limits.nodes)
        .with_time_limit(Duration::MAX)
        .with_scheduler(SimpleScheduler);
    let runner = without_clock(|| runner.run(&rewrites));
    let stopped = match runner.stop_reason {
        Some(StopReason::NodeLimit(_)) => Stopped::Nodes,
        Some(StopReason::IterationLimit(_)) => Stopped::Iterations,
        _ => Stopped::Saturated,
    };
    let iterations = runner.iterations.len();
    (runner.egraph, stopped, iterations)
}

/// Runs what reads a clock, which only egg's log would show, with one that stands still: the first reading in a process
/// measures the clock for about 0.6 ms, and on a busy machine for up to 200.
pub(crate) fn without_clock<T>(work: impl FnOnce() -> T) -> T {
    let (still, _) = Clock::mock();
    quanta::with_clock(&still, work)
}
