//! Values of terms without axes and inputs: parameters, ends of ranges, requirements.

use attnc_algebra::{Extents, Node, Spec, TermId};

/// The value of a term without free axes and inputs, truth values as 0 and 1; `None` if it is not such a term or an
/// extent is unbound.
pub fn constant(spec: &Spec, term: TermId, extents: &Extents) -> Option<f64> {
    if let Some(integer) = spec.eval_extent(term, extents) {
        return Some(integer as f64);
    }
    let eval = |t: &TermId| constant(spec, *t, extents);
    match spec.terms.node(term) {
        Node::Real(v) => Some(v.get()),
        Node::Int(v) => Some(*v as f64),
        Node::Bool(v) => Some(f64::from(u8::from(*v))),
        Node::Extent(s) => extents.get(*s).map(|v| v as f64),
        Node::Unary(op, x) => Some(op.eval(eval(x)?)),
        Node::Binary(op, x, y) => Some(op.eval(eval(x)?, eval(y)?)),
        Node::Nary(op, xs) => {
            let mut values = xs.iter().map(eval);
            let first = values.next()??;
            values.try_fold(first, |acc, v| Some(op.eval(acc, v?)))
        }
        Node::Select(c, a, b) => eval(if eval(c)? != 0.0 { a } else { b }),
        _ => None,
    }
}
