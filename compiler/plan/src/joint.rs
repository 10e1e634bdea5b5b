//! Small values that several stages would each put together from the results
//! of others.
//!
//! A value that an iteration carries on is a pointwise term of results: its
//! start and what every round added. Where nothing holds it, each stage reads
//! all of them, one more with every round, and no two rounds are alike. This
//! file finds such terms; [`crate::planner`] gives each a buffer. It knows
//! nothing of stages.

use std::collections::{BTreeMap, BTreeSet};

use attnc_algebra::{Node, TermId, TermSet, Terms, Type};

/// Results of stages from which on a value made of them is worth a buffer.
const RESULTS: usize = 3;

/// Reductions from which on a value that they all read is worth a buffer.
const READERS: usize = 2;

/// The terms below `roots` that are worth a buffer, of those that are `small`.
pub(crate) fn joint(terms: &Terms, roots: &[TermId], small: impl Fn(TermId) -> bool) -> BTreeSet<TermId> {
    let readers = readers(terms, roots);
    let mut results: BTreeMap<TermId, BTreeSet<TermId>> = BTreeMap::new();
    let mut joint = BTreeSet::new();
    // Operands come before what they are operands of.
    for (term, readers) in readers {
        let node = terms.node(term);
        let weights = matches!(node, Node::Softmax { .. });
        let own: BTreeSet<TermId> = if node.runs_over_axis() {
            BTreeSet::from([term])
        } else {
            node.operands().iter().filter_map(|t| results.get(t)).flatten().copied().take(RESULTS).collect()
        };
        let made_of_results = weights || !node.runs_over_axis() && own.len() >= RESULTS;
        let found = made_of_results && readers >= READERS && terms.ty(term) == Type::Real && small(term);
        if found {
            joint.insert(term);
        }
        results.insert(term, if found { BTreeSet::from([term]) } else { own });
    }
    joint
}

/// Every term with the number of reductions and outputs that compute it as part of themselves.
fn readers(terms: &Terms, roots: &[TermId]) -> BTreeMap<TermId, usize> {
    let mut readers: BTreeMap<TermId, usize> = BTreeMap::new();
    let mut heads: Vec<TermId> = roots.to_vec();
    let mut seen = TermSet::new();
    roots.iter().for_each(|root| _ = seen.insert(*root));
    while let Some(head) = heads.pop() {
        readers.entry(head).or_default();
        let mut own = TermSet::new();
        let node = terms.node(head);
        let mut open = if node.runs_over_axis() { node.operands().to_vec() } else { vec![head] };
        while let Some(term) = open.pop() {
            if !own.insert(term) {
                continue;
            }
            *readers.entry(term).or_default() += 1;
            if !terms.node(term).runs_over_axis() {
                open.extend(terms.node(term).operands());
            } else if seen.insert(term) {
                heads.push(term);
            }
        }
    }
    readers
}
