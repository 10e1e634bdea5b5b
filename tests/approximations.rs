//! Approximate rules: exact in their limits, run as what they say they are, declined with their reasons, never chosen
//! unasked.

use attnc::{Options, TensorView};
use attnc_algebra::{Extents, Reference, SettingValue, Spec, Tensor};
use attnc_compiler::extents::{at_length, defaults, m_follows};
use attnc_compiler::{Analysis, CompileError, Unobserved};
use attnc_tests::accuracy::relative_error;
use attnc_tests::corpus;
use attnc_tests::tolerance::tolerance;

/// Sequence length: more than a tile, no multiple of anything.
const N: i64 = 101;

fn text(name: &str) -> String {
    corpus::all().into_iter().find(|spec| spec.name() == name).expect("a spec of the corpus").text
}

fn options(text: &str, allow: &[(&str, f64)]) -> Options {
    let mut options = Options { threads: 2, ..Options::default() };
    options.compiler.allow = allow.iter().map(|(name, value)| (name.to_string(), Some(*value))).collect();
    for (name, value) in [("B", 1), ("H", 2), ("D", 16), ("E", 24)] {
        options.compiler.settings.set.insert(name.to_string(), SettingValue::Int(value));
    }
    options.compiler.settings = corpus::fitting(text, options.compiler.settings);
    options
}

struct Setup {
    analysis: Analysis,
    extents: Extents,
    inputs: Vec<Tensor>,
}

fn setup(text: &str, options: &Options) -> Setup {
    let analysis = Analysis::new(text, &options.compiler, &mut Unobserved).expect("a sound spec");
    let spec = analysis.spec();
    let settings = &options.compiler.settings;
    let extents = at_length(spec, &defaults(spec, settings), N, m_follows(spec, settings));
    let inputs = attnc_algebra::draw::draw_inputs(spec, &extents, 5).expect("small inputs");
    Setup { analysis, extents, inputs }
}

/// Worst relative error of `found` over the outputs, against the reference of `spec`.
fn error(spec: &Spec, setup: &Setup, found: &[Tensor]) -> f64 {
    let mut reference = Reference::new(spec, &setup.extents, &setup.inputs).expect("inputs as declared");
    let outputs = found.iter().enumerate();
    let worst = |(at, tensor): (usize, &Tensor)| {
        let expected = reference.output(at).expect("a reference");
        relative_error(spec, &spec.outputs[at], tensor, &expected)
    };
    outputs.map(worst).fold(0.0, f64::max)
}

/// The approximate candidates run: what each computes is its own spec's meaning; with the error against the exact one.
fn errors(text: &str, allow: &[(&str, f64)]) -> Vec<(String, f64)> {
    let mut options = options(text, allow);
    let setup = setup(text, &options);
    let permitted = tolerance(attnc::DType::F32, N as usize);
    let candidates = setup.analysis.candidates(&setup.extents).expect("forms");
    let mut found = Vec::new();
    for candidate in candidates.iter().filter(|c| !c.is_exact()) {
        options.compiler.variant = Some(candidate.name().to_string());
        let kernel = attnc::compile(text, &options).expect("a kernel");
        let names = setup.analysis.spec().inputs.iter().map(|i| i.name.as_str());
        let views: Vec<(&str, TensorView<'_>)> = names.zip(setup.inputs.iter().map(TensorView::from)).collect();
        let outputs = kernel.run(&views).expect("a result");
        let own = error(&candidate.spec, &setup, &outputs);
        assert!(own <= permitted, "{}: {own:.2e} from its own meaning", candidate.name());
        found.push((candidate.approximations.clone(), error(setup.analysis.spec(), &setup, &outputs)));
    }
    found
}

fn declined(text: &str, allow: &[(&str, f64)]) -> Vec<(&'static str, &'static str)> {
    let setup = setup(text, &options(text, allow));
    let approximate = setup.analysis.candidates(&setup.extents).expect("forms").into_iter().filter(|c| !c.is_exact());
    assert_eq!(approximate.count(), 0, "a rule that declines makes no candidate");
    setup.analysis.declined_approximations().iter().map(|d| (d.rule, d.reason)).collect()
}

#[test]
fn in_their_limits_approximations_are_exact() {
    let limits = [("window", 100.0), ("lowrank", 101.0), ("clusters", 1.0)];
    for name in ["dense/softmax", "dense/gqa", "dense/l2-distance", "dense/sink", "dense/rope", "dense/cosine"] {
        let text = text(name);
        for limit in limits {
            for (label, error) in errors(&text, &[limit]) {
                assert!(error <= tolerance(attnc::DType::F32, N as usize), "{name} with {label}: {error:.2e}");
            }
        }
    }
}

#[test]
fn every_candidate_computes_its_own_meaning() {
    let with_lse = "axis i, j = N\ninput q[b, h, i, d]\ninput k[b, h, j, d]\ninput v[b, h, j, e]\n
score = sum[d](q * k) / sqrt(D)\noutput out[b, h, i, e] = sum[j](softmax[j](score) * v)\n
output lse[b, h, i] = logsumexp[j](score)\n";
    let allow = [("window", 9.0), ("lowrank", 7.0), ("clusters", 5.0)];
    let found = errors(with_lse, &allow);
    let labels: Vec<&str> = found.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["clusters=5", "lowrank=7", "window=9", "clusters=5+window=9"]);
    assert!(found.iter().all(|(_, error)| *error > 1e-3), "these are no small changes: {found:?}");
    // Masks stay: clusters and windows only take away.
    assert_eq!(errors(&text("dense/causal"), &allow[..1]).len(), 1);
    assert_eq!(errors(&text("dense/causal"), &allow[2..]).len(), 1);
    assert_eq!(errors(&text("dense/cross"), &allow[1..]).len(), 2);
}

#[test]
fn conditions_that_fail_are_said() {
    let reason = |name: &str, rule: (&str, f64)| declined(&text(name), &[rule])[0].1;
    assert!(reason("dense/causal", ("lowrank", 8.0)).contains("mask"));
    assert!(reason("dense/alibi", ("lowrank", 8.0)).contains("mask"));
    assert!(reason("dense/relative-bias", ("lowrank", 8.0)).contains("no part of the score"));
    assert!(reason("dense/additive", ("clusters", 8.0)).contains("dot product"));
    assert!(reason("linear/linear-transformer", ("window", 8.0)).contains("no softmax"));
    let cross = "axis i = M\naxis j = N\ninput q[i, d]\ninput k[j, d]\ninput v[j, e]\n
output out[i, e] = sum[j](softmax[j](sum[d](q * k)) * v)\n";
    assert!(declined(cross, &[("window", 8.0)])[0].1.contains("do not share one length"));
}

#[test]
fn nothing_approximate_is_chosen_unasked() {
    let text = text("dense/softmax");
    let permitted = setup(&text, &options(&text, &[("window", 4.0), ("lowrank", 4.0)]));
    assert!(permitted.analysis.extract(&permitted.extents).expect("a form").is_exact());
    let plain = setup(&text, &options(&text, &[]));
    assert!(plain.analysis.candidates(&plain.extents).expect("forms").iter().all(attnc_compiler::Candidate::is_exact));
}

#[test]
fn senseless_permissions_are_refused() {
    let refused = |allow: &[(&str, f64)]| {
        let text = text("dense/softmax");
        Analysis::new(&text, &options(&text, allow).compiler, &mut Unobserved).err().expect("an error")
    };
    assert!(matches!(refused(&[("windows", 4.0)]), CompileError::UnknownApproximation { .. }));
    for (name, number) in
        [("window", -1.0), ("lowrank", 0.0), ("clusters", 2.5), ("clusters", f64::NAN), ("lowrank", 1e18)]
    {
        assert!(matches!(refused(&[(name, number)]), CompileError::BadStrength { .. }), "{name}={number}");
    }
    let many: Vec<(&str, f64)> = (1..6).map(|w| ("window", f64::from(w))).collect();
    assert!(matches!(refused(&many), CompileError::TooManyApproximations { .. }));
}
