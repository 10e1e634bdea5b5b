//! Instances of a rule's two sides as terms.
//!
//! Owns nothing but the way from a record to checkable terms; the soundness
//! test evaluates both sides with the reference. Compiling does not use it.

use attnc_algebra::{Spec, TermId};

use crate::convert;
use crate::facts::{Graph, SpecFacts};
use crate::rule::{self, Rule};
use crate::saturate::{self, Limits};

/// Terms that a rule says are equal.
#[derive(Debug)]
pub struct Instances {
    /// The spec, whose arena holds the terms.
    pub spec: Spec,
    /// `(left side, right side)`
    pub pairs: Vec<(TermId, TermId)>,
}

/// What `rule` unites in the outputs of `spec`, after other rules had `rounds` rounds to prepare its left side.
pub fn instances(rule: &Rule, spec: &Spec, rounds: usize) -> Instances {
    // With explanations on, an id stands for the very tree that was added.
    let mut graph = Graph::new(SpecFacts::new(spec.clone())).with_explanations_enabled();
    for output in &spec.outputs {
        convert::add_term(&mut graph, output.term);
    }
    graph.rebuild();
    if rounds > 0 {
        let limits = Limits { iterations: rounds, ..Limits::default() };
        graph = saturate::run(graph, &limits).0;
    }
    let classes: Vec<_> = graph.classes().map(|c| c.id).collect();
    let mut pairs = Vec::new();
    for class in classes {
        for (from, to) in rule::outcome(rule, &graph, class).unions {
            let sides = [from, to].map(|tree| {
                let id = tree.add(&mut graph);
                let expr = graph.id_to_expr(id);
                convert::to_literal_term(&mut graph.analysis.spec.terms, &expr)
            });
            if sides[0] != sides[1] {
                pairs.push((sides[0], sides[1]));
            }
        }
    }
    Instances { spec: graph.analysis.spec, pairs }
}
