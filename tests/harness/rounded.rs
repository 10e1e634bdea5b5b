//! A spec in which every operation rounds: its real results are off by a rounding or so, up in some elements and down
//! in others.
//!
//! What a spec's outputs move by when it is evaluated so is what any evaluation in that precision may be off by, in
//! whatever order it computes. Constants that are no f32 are off, too: of `sin(pi)` even the reference knows only what
//! rounding pi does. Decisions are left alone, with all that they are made of: they are made in f64.

use std::collections::BTreeMap;

use attnc_algebra::{NaryOp, Node, ReduceOp, Spec, TermId, Terms, Type, UnaryOp};

/// The spec with roundings of relative size `unit`, another choice of them for each pattern.
pub fn rounded(spec: &Spec, unit: f64, pattern: u64) -> Spec {
    let mut rounded = spec.clone();
    let mut rewrite = Rounding { terms: &mut rounded.terms, unit, pattern, done: BTreeMap::new() };
    for output in &mut rounded.outputs {
        output.term = rewrite.term(output.term, false);
    }
    rounded
}

struct Rounding<'a> {
    terms: &'a mut Terms,
    unit: f64,
    pattern: u64,
    /// By term and whether it is part of a decision.
    done: BTreeMap<(TermId, bool), TermId>,
}

impl Rounding<'_> {
    fn term(&mut self, term: TermId, decides: bool) -> TermId {
        if let Some(known) = self.done.get(&(term, decides)) {
            return *known;
        }
        let node = self.terms.node(term).clone();
        let below = decides || node.decides();
        let operands: Vec<TermId> = node.operands().iter().map(|t| self.term(*t, below)).collect();
        let mut operands = operands.into_iter();
        let new = node.map_operands(|_| operands.next().expect("as many operands as before"));
        let mut new = self.terms.add(new);
        if !below && self.terms.ty(new) == Type::Real && rounds(&node) {
            let noise = self.noise(term);
            new = self.terms.nary(NaryOp::Mul, vec![new, noise]);
        }
        self.done.insert((term, decides), new);
        new
    }

    /// A factor near 1 that differs from element to element: 1 + unit · cos(a waywardly growing angle).
    fn noise(&mut self, term: TermId) -> TermId {
        let mixed =
            (u64::from(term.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.pattern.wrapping_mul(0xff51_afd7);
        let mut angle = vec![self.terms.real((mixed % 1000) as f64)];
        for axis in self.terms.free(term).clone().iter() {
            let position = self.terms.position(axis);
            let position = self.terms.unary(UnaryOp::ToReal, position);
            let step = self.terms.real(1.9 + 0.37 * f64::from(axis.0) + (mixed % 7) as f64);
            angle.push(self.terms.nary(NaryOp::Mul, vec![position, step]));
        }
        let angle = self.terms.nary(NaryOp::Add, angle);
        let wave = self.terms.unary(UnaryOp::Cos, angle);
        let unit = self.terms.real(self.unit);
        let off = self.terms.nary(NaryOp::Mul, vec![unit, wave]);
        let one = self.terms.real(1.0);
        self.terms.nary(NaryOp::Add, vec![one, off])
    }
}

/// Whether the result of a real node is rounded, rather than one of its operands or exact.
fn rounds(node: &Node) -> bool {
    match node {
        Node::Unary(op, _) => {
            !matches!(op, UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu | UnaryOp::ToReal | UnaryOp::Sign)
        }
        Node::Nary(op, _) => matches!(op, NaryOp::Add | NaryOp::Mul),
        Node::Reduce { op, .. } => matches!(op, ReduceOp::Sum | ReduceOp::Prod | ReduceOp::LogSumExp),
        Node::Binary(..) | Node::Softmax { .. } | Node::Attend { .. } | Node::Scan { .. } => true,
        Node::Real(constant) => f64::from(constant.get() as f32) != constant.get(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use attnc_algebra::{Reference, Settings, compile_text};

    use super::rounded;
    use crate::trial::Trial;

    /// How far the first output moves, and how large it is.
    fn moved(text: &str) -> (f64, f64) {
        let trial = Trial::new(text, &Settings::default(), 5, 1).expect("a spec");
        let spec = compile_text(text, &Settings::default()).expect("a spec");
        let noisy = rounded(&spec, 1e-6, 0);
        let value = |spec| {
            Reference::new(spec, trial.extents(), trial.inputs()).and_then(|mut r| r.output(0)).expect("a value")
        };
        let (plain, noisy) = (value(&spec), value(&noisy));
        let far = plain.iter().zip(&noisy).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        (far, plain.iter().fold(0.0, |m, v| v.abs().max(m)))
    }

    #[test]
    fn a_difference_of_nearly_equal_results_moves_far() {
        let (far, size) = moved("spec s\ninput x[b, i]\noutput out[b, i] = (1000 + x * x) - 1000\n");
        assert!(far > 1e-4 * size, "{far} of {size}");
        let (far, size) = moved("spec s\ninput x[b, i]\noutput out[b, i] = x * x\n");
        assert!(far > 0.0 && far <= 1e-6 * size, "{far} of {size}");
    }

    #[test]
    fn constants_that_are_rounded_move() {
        let (far, size) = moved("spec s\ninput x[b, i]\noutput out[b, i] = 0 * x + sin(max(pi, -1 * pi))\n");
        assert!(far > size, "{far} of {size}");
        let (far, _) = moved("spec s\ninput x[b, i]\noutput out[b, i] = 0 * x + max(0.5, -1)\n");
        assert!(far <= 1e-6, "{far}");
    }

    #[test]
    fn decisions_stay() {
        let (far, _) = moved("spec s\ninput x[b, j]\noutput out[b] = 1.0 * argmax[j](1000 + x * x * 1e-9)\n");
        assert!(far < 1e-5, "{far}");
    }
}
