//! Random specs: every form that extraction offers is the spec.
//!
//! Draws specs from a small grammar of the shapes that rules look for (nested
//! sums, softmaxes, exponential quotients, decays, angles), and evaluates the
//! chosen form and its alternatives against the spec with the reference.

use attnc_algebra::{
    Extents, Output, Reference, Settings, Spec, SymbolId, Tensor, compile_text, draw_inputs, print_term,
};
use attnc_cost::MachineProfile;
use attnc_rewrite::{Limits, Saturated};

/// Draws text; the same seed gives the same spec on every machine.
struct Grammar {
    state: u64,
    inputs: String,
    names: String,
    count: usize,
}

impl Grammar {
    fn below(&mut self, n: usize) -> usize {
        self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.state >> 33) % n as u64) as usize
    }

    fn fresh(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    /// An input over some of the axes in scope.
    fn input(&mut self, scope: &[&str], range: &str) -> String {
        let mut axes: Vec<&str> = scope.iter().copied().filter(|_| self.below(3) > 0).collect();
        axes.dedup();
        if axes.is_empty() {
            axes.push(scope[self.below(scope.len())]);
        }
        let name = format!("x{}", self.fresh());
        self.inputs.push_str(&format!("input {name}[{}]{range}\n", axes.join(", ")));
        name
    }

    fn predicate(&mut self) -> &'static str {
        const ALL: [&str; 9] = [
            "",
            " where j <= i",
            " where j <= i",
            " where j < i",
            " where abs(i - j) <= 1",
            " where not (i < j)",
            " where (i - j) mod 2 == 0",
            " where j < 2 or j == i",
            " where j <= i and j mod 2 == 0",
        ];
        ALL[self.below(ALL.len())]
    }

    fn with<'s>(scope: &[&'s str], axis: &'s str) -> Vec<&'s str> {
        let mut out = scope.to_vec();
        if !out.contains(&axis) {
            out.push(axis);
        }
        out
    }

    fn real(&mut self, depth: usize, scope: &[&str]) -> String {
        if depth == 0 {
            return self.input(scope, "");
        }
        let (keys, dims) = (Self::with(scope, "j"), Self::with(scope, "d"));
        let next = depth - 1;
        match self.below(15) {
            0 => self.input(scope, ""),
            1 | 2 => format!("{} * {}", self.real(next, scope), self.real(next, scope)),
            3 => format!("({} + {})", self.real(next, scope), self.real(next, scope)),
            4 => format!("({} - {}) ^ 2", self.real(next, scope), self.real(next, scope)),
            5 => format!("{} / {}", self.real(next, scope), self.input(scope, " in 0.5 .. 2")),
            6 => format!("exp(tanh({}) + tanh({}))", self.input(scope, ""), self.input(scope, "")),
            7 => format!("cos({} - {})", self.input(scope, ""), self.input(scope, "")),
            8 | 9 => format!("sum[d]({} * {})", self.real(next, &dims), self.real(next, &dims)),
            10 | 11 => format!("sum[j{}]({} * {})", self.predicate(), self.real(next, &keys), self.real(next, &keys)),
            12 => {
                let (score, value) = (self.real(next, &keys), self.real(next, &keys));
                format!("sum[j](softmax[j{}](tanh({score})) * {value})", self.predicate())
            }
            13 => self.quotient(next, &keys),
            _ => self.decayed(next, &keys),
        }
    }

    fn quotient(&mut self, depth: usize, keys: &[&str]) -> String {
        let (score, value, m) = (self.real(depth, keys), self.real(depth, keys), self.predicate());
        let name = format!("s{}", self.fresh());
        self.names.push_str(&format!("{name} = tanh({score})\n"));
        let sink =
            if self.below(2) == 0 { String::new() } else { format!(" + {}", self.input(&["h"], " in 0.5 .. 2")) };
        format!("sum[j{m}](exp({name}) * {value}) / (sum[j{m}](exp({name})){sink})")
    }

    fn decayed(&mut self, depth: usize, keys: &[&str]) -> String {
        let body = self.real(depth, keys);
        let decay = match self.below(3) {
            0 => format!("{} ^ (i - j)", self.input(&["h"], " in 0.5 .. 1")),
            1 => format!("exp(-{} * (i - j))", self.input(&["h"], " in 0.1 .. 1")),
            _ => format!("prod[t where j < t and t <= i]({})", self.input(&["t", "h"], " in 0.5 .. 1")),
        };
        format!("sum[j where j <= i]({decay} * {body})")
    }
}

fn draw(seed: u64) -> String {
    let mut grammar = Grammar {
        state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        inputs: String::new(),
        names: String::new(),
        count: 0,
    };
    let depth = 2 + grammar.below(2);
    let output = grammar.real(depth, &["h", "i", "e"]);
    format!(
        "spec drawn\naxis i, j, t = N\naxis d = D\ninput q[h, i, e]\n{}{}output o = {output}\n",
        grammar.inputs, grammar.names
    )
}

fn extents(spec: &Spec, n: i64, other: i64) -> Extents {
    let value = |name: &str| if name == "N" { n } else { other };
    Extents(spec.symbols.iter().enumerate().map(|(at, s)| (SymbolId(at as u32), value(&s.name))).collect())
}

fn evaluate(spec: &Spec, axes: &Output, extents: &Extents, inputs: &[Tensor]) -> Vec<f64> {
    let mut spec = spec.clone();
    spec.outputs = vec![Output { term: spec.outputs[0].term, ..axes.clone() }];
    let mut reference = Reference::new(&spec, extents, inputs).expect("the drawn inputs fit");
    reference.output(0).expect("positions are in range").into_iter().collect()
}

fn check(seed: u64) -> bool {
    let text = draw(seed);
    let spec = compile_text(&text, &Settings::default()).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
    let saturated = Saturated::new(&spec, &Limits::default());
    let small = extents(&spec, 4, 2);
    let inputs = draw_inputs(&spec, &small, seed).expect("inputs can be drawn");
    let own = evaluate(&spec, &spec.outputs[0], &small, &inputs);
    let size = own.iter().filter(|x| x.is_finite()).fold(1e-2f64, |m, x| m.max(x.abs()));
    let mut rewritten = false;
    for n in [8, 4096] {
        let found = saturated.extract(&extents(&spec, n, 16), &MachineProfile::default());
        rewritten |= found.spec.outputs[0].term != spec.outputs[0].term;
        for form in std::iter::once(&found.spec).chain(found.alternatives.iter().map(|a| &a.spec)) {
            let value = evaluate(form, &spec.outputs[0], &small, &inputs);
            for (x, y) in own.iter().zip(&value) {
                let agree = (x - y).abs() <= 1e-8 * size || (!x.is_finite() && !y.is_finite());
                assert!(agree, "seed {seed}: {x} is not {y}\n{}\nin {text}", print_term(form, form.outputs[0].term));
            }
        }
    }
    rewritten
}

#[test]
fn every_form_of_a_random_spec_is_the_spec() {
    let drawn = 160;
    let rewritten = (0..drawn).filter(|seed| check(*seed)).count() as u64;
    assert!(2 * rewritten >= drawn, "only {rewritten} of {drawn} specs were rewritten");
}
