//! Every derivation that `explain` shows, step by step: each step names one rule, and each intermediate term, evaluated
//! in f64, equals the spec.

use attnc_algebra::{Extents, Reference, SettingValue, Settings, TermId};
use attnc_compiler::extents::{at_length, defaults, m_follows};
use attnc_compiler::{Analysis, Explanation, Options, Unobserved};
use attnc_tests::corpus::{self, CorpusSpec};
use libtest_mimic::{Arguments, Failed, Trial as Test};
use ndarray::ArrayD;

/// Sequence lengths at which forms are chosen: where quadratic forms win, and where linear ones do.
const CHOSEN_AT: [i64; 2] = [64, 65_536];

/// The length at which terms are evaluated.
const EVALUATED_AT: i64 = 19;

/// Largest relative difference: f64 with sums in another order.
const TOLERANCE: f64 = 1e-9;

fn main() {
    let arguments = Arguments::from_args();
    let tests = corpus::all().into_iter().flat_map(|spec| {
        CHOSEN_AT.map(|n| {
            let spec = spec.clone();
            Test::test(format!("{}::n{n}", spec.name()), move || steps_are_equal(&spec, n))
        })
    });
    libtest_mimic::run(&arguments, tests.collect()).exit();
}

fn steps_are_equal(spec: &CorpusSpec, n: i64) -> Result<(), Failed> {
    let few = few_repetitions(spec);
    let mut settings = few.clone();
    for (name, value) in [("D", 6), ("E", 4), ("R", 5), ("P", 2), ("H", 4), ("G", 2)] {
        settings.set.insert(name.to_string(), SettingValue::Int(value));
    }
    let settings = corpus::fitting(&spec.text, settings);
    let options = Options { settings: few, ..Options::default() };
    let analysis = Analysis::new(&spec.text, &options, &mut Unobserved).map_err(|e| e.to_string())?;
    let own = analysis.spec();
    let follows = m_follows(own, &options.settings);
    let explanation = analysis.explain(&at_length(own, &defaults(own, &options.settings), n, follows))?;
    if !explanation.unexplained.is_empty() {
        return Err(format!("no derivation of outputs {:?}", explanation.unexplained).into());
    }
    let extents = at_length(own, &defaults(own, &settings), EVALUATED_AT, follows);
    check(&explanation, &extents)
}

/// Small parameters, and few repetitions: a derivation writes every term out, and each repetition multiplies its length.
fn few_repetitions(spec: &CorpusSpec) -> Settings {
    let mut settings = spec.small_parameters();
    for name in ["steps", "rounds"] {
        settings.set.insert(name.to_string(), SettingValue::Int(1));
    }
    corpus::fitting(&spec.text, settings)
}

fn check(explanation: &Explanation, extents: &Extents) -> Result<(), Failed> {
    let spec = &explanation.spec;
    let inputs = attnc_algebra::draw::draw_inputs(spec, extents, 5)?;
    let own: Vec<TermId> = spec.outputs.iter().map(|o| o.term).collect();
    let mut first: Vec<Option<ArrayD<f64>>> = vec![None; own.len()];
    for (number, step) in explanation.steps.iter().enumerate() {
        let mut terms = own.clone();
        terms[step.output] = step.term;
        let mut evaluation = Reference::of_terms(spec, &terms, extents, &inputs)?;
        let value = evaluation.output(step.output)?;
        match (&first[step.output], step.rule) {
            (None, None) => first[step.output] = Some(value),
            (Some(first), Some(rule)) => {
                let off = distance(first, &value);
                if off > TOLERANCE {
                    let term = explanation.print(step);
                    return Err(format!("step {number}, `{}`, is off by {off:.2e}:\n{term}", rule.name).into());
                }
            }
            (None, Some(rule)) => return Err(format!("the derivation begins with `{}`", rule.name).into()),
            (Some(_), None) => return Err(format!("step {number} names no rule").into()),
        }
    }
    Ok(())
}

/// The largest difference relative to the largest value; equal where neither is finite.
fn distance(expected: &ArrayD<f64>, found: &ArrayD<f64>) -> f64 {
    let largest = expected.iter().filter(|e| e.is_finite()).fold(1e-300f64, |m, e| m.max(e.abs()));
    let difference = |(e, f): (&f64, &f64)| match (e.is_finite(), f.is_finite()) {
        (true, true) => (e - f).abs() / largest,
        (false, false) => 0.0,
        _ => f64::INFINITY,
    };
    expected.iter().zip(found).map(difference).fold(0.0, f64::max)
}
