//! Argmax and argmin over products decide as the reference does: near ties, ties, overflow, underflow, NaN.
//!
//! The outputs are the positions themselves, so any other decision is seen. Where scores are clear they are decided
//! in f32 (`compiler/plan/src/lower/clear.rs`); the values here are chosen to lie on either side of that.

use attnc_algebra::{Data, SettingValue, Settings, Tensor};
use attnc_tests::trial::{Runner, Trial};

/// Each decides over c for every position i.
const SPECS: [(&str, &str); 8] = [
    ("dot", "argmax[c](sum[d](q * k))"),
    ("distance", "argmin[c](sum[d]((q - k) ^ 2))"),
    ("negated", "argmin[c](3 - 2 * sum[d](q * k))"),
    ("biased", "argmax[c](sum[d](q * k) / sqrt(D) + sum[d](k) - sum[d](q))"),
    ("weighted", "argmax[c](sum[d](q * (1 + sum[e](q ^ 2)) * k * k - q * k))"),
    ("halves", "argmax[s](concat[s](right[c], left[c]))"),
    ("chosen", "argmax[c](if c mod 3 == 0 then sum[d](q * k) else -sum[d](k * q) - 1)"),
    ("squared", "argmax[c](sum[d](q * k) * sum[d](q * k))"),
];

fn text(decision: &str) -> String {
    let e = decision.replace("sum[e](q ^ 2)", "sum[e](q[b, h, i, e] ^ 2)");
    format!(
        "spec decision\naxis i = N\naxis e = D\naxis s = 2 * C\ninput q[b, h, i, d]\ninput k[b, h, c, d]\n\
         right = sum[d](q * k)\nleft = -right\noutput out[b, h, i] = {e} * 1.0\n"
    )
}

/// A repeatable stream of numbers.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn unit(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 30) as f32 - 1.0
    }
}

/// One element of an input: what distinguishes a kind of hostile data.
type Draw = fn(&mut Stream) -> f32;

const KINDS: [(&str, Draw); 7] = [
    ("plain", Stream::unit),
    ("ties", |s| s.next().rem_euclid(3) as f32 - 1.0),
    // Large beside what tells the candidates apart: f32 sums cannot.
    ("near ties", |s| 1.0 + s.unit() * 1e-4),
    ("large", |s| s.unit() * 1e19),
    ("huge", |s| s.unit() * 3e38),
    ("tiny", |s| s.unit() * 1e-24),
    ("not numbers", |s| match s.next() % 40 {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => f32::NEG_INFINITY,
        _ => s.unit(),
    }),
];

fn settings(c: i64, d: i64) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in [("B", 1), ("H", 2), ("C", c), ("D", d)] {
        settings.set.insert(name.to_string(), SettingValue::Int(value));
    }
    settings
}

fn drawn(spec: &Trial, draw: Draw, seed: u64) -> Vec<Tensor> {
    let mut stream = Stream(seed);
    let fill = |t: &Tensor| {
        let values = (0..t.data().len()).map(|_| draw(&mut stream)).collect();
        Tensor::new(t.shape().to_vec(), Data::F32(values)).expect("as many elements as before")
    };
    spec.inputs().iter().map(fill).collect()
}

#[test]
fn every_engine_decides_as_the_reference_does() {
    for (name, decision) in SPECS {
        let text = text(decision);
        for (c, d, n) in [(33, 40, 130), (7, 64, 17), (1, 300, 5)] {
            let settings = settings(c, d);
            let plain = Trial::new(&text, &settings, n, 1).unwrap_or_else(|e| panic!("{name}: {e}"));
            for (kind, draw) in KINDS {
                let inputs = drawn(&plain, draw, 7 + c as u64);
                let trial = Trial::with_inputs(&text, &settings, plain.spec().clone(), plain.extents(), inputs)
                    .unwrap_or_else(|e| panic!("{name}, {kind}: {e}"));
                for runner in [Runner::INTERPRETER, Runner::jit(1), Runner::jit(2)] {
                    trial.check(runner).unwrap_or_else(|e| panic!("{name}, {kind}, C = {c}, D = {d}: {e}"));
                }
            }
        }
    }
}
