//! Names of forms: how the work grows, and in which order axes are reduced.

use std::collections::BTreeMap;

use attnc_algebra::{Node, Spec, TermId, Terms};
use attnc_rewrite::Form;

/// Axes in a name, at most.
const LONGEST: usize = 6;

/// The name of a form: that of its growth, and the axes of its deepest nest of reductions, the outermost first.
/// `quadratic-j.d` reduces keys over dot products, `linear-d.j` features over sums of keys.
pub fn name(spec: &Spec, form: Form) -> String {
    let mut nests: BTreeMap<TermId, Vec<String>> = BTreeMap::new();
    let deepest = spec.outputs.iter().map(|o| nest(spec, o.term, &mut nests)).reduce(longer).unwrap_or_default();
    let axes: Vec<String> = deepest.into_iter().take(LONGEST).collect();
    if axes.is_empty() { form.name().to_string() } else { format!("{}-{}", form.name(), axes.join(".")) }
}

/// Names of the axes that the deepest nest of reductions in a term removes, outermost first.
fn nest(spec: &Spec, root: TermId, known: &mut BTreeMap<TermId, Vec<String>>) -> Vec<String> {
    // Operands have lower ids than their users, so ascending order meets them first.
    for id in reachable(&spec.terms, root) {
        let node = spec.terms.node(id);
        let operands = node.operands().into_iter().filter_map(|t| known.get(&t).cloned());
        let inner = operands.reduce(longer).unwrap_or_default();
        let own = match node {
            Node::Reduce { axis, .. }
            | Node::Softmax { axis, .. }
            | Node::Attend { axis, .. }
            | Node::Scan { axis, .. } => {
                Some(spec.axis(*axis).name.chars().filter(|c| c.is_alphanumeric()).collect::<String>())
            }
            _ => None,
        };
        known.insert(id, own.into_iter().chain(inner).collect());
    }
    known.get(&root).cloned().unwrap_or_default()
}

/// The longer of two nests; the first if they are equally long.
fn longer(a: Vec<String>, b: Vec<String>) -> Vec<String> {
    if b.len() > a.len() { b } else { a }
}

/// The sub-terms of a term in ascending order.
fn reachable(terms: &Terms, root: TermId) -> std::collections::BTreeSet<TermId> {
    let mut seen = std::collections::BTreeSet::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(terms.node(id).operands());
        }
    }
    seen
}
