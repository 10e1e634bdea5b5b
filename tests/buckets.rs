//! Every spec of the corpus that has a form in buckets, in that form, whatever the cost model would choose.
//!
//! At short lengths the dense form is cheaper, so conformance alone would not meet a bucket that is empty, one that
//! holds all keys, or a single position. 64-bit keys are as drawn, all equal, and the extremes by turns.

use std::collections::BTreeSet;

use attnc_algebra::{DType, Data, Node, SettingValue, Tensor, TermId};
use attnc_compiler::Candidate;
use attnc_tests::corpus::{self, CorpusSpec};
use attnc_tests::trial::{Runner, Trial};
use libtest_mimic::{Arguments, Failed, Trial as Test};

/// Sequence lengths: one, less than a tile, one more than a tile of rows, more than two tiles.
const LENGTHS: [i64; 4] = [1, 17, 97, 130];

fn main() {
    let arguments = Arguments::from_args();
    let specs = corpus::all().into_iter().filter(has_bucket);
    let tests: Vec<Test> = specs
        .map(|spec| {
            let name = spec.name().to_string();
            Test::test(name, move || every_length(&spec))
        })
        .collect();
    let count = tests.len();
    let some =
        Test::test("some_specs_have_buckets", move || if count >= 5 { Ok(()) } else { Err(Failed::without_message()) });
    libtest_mimic::run(&arguments, tests.into_iter().chain([some]).collect()).exit();
}

fn trial(spec: &CorpusSpec, n: i64) -> Result<Trial, Failed> {
    let mut settings = spec.small_parameters();
    for (name, value) in [("B", 2), ("H", 3), ("D", 32), ("E", 24), ("C", 5)] {
        settings.set.insert(name.to_string(), SettingValue::Int(value));
    }
    Ok(Trial::new(&spec.text, &corpus::fitting(&spec.text, settings), n, 5)?)
}

fn bucket(trial: &Trial) -> Result<Option<String>, Failed> {
    Ok(trial.variants_where(in_buckets)?.into_iter().next())
}

/// Whether an output of the form puts keys in order.
fn in_buckets(candidate: &Candidate) -> bool {
    let terms = &candidate.spec.terms;
    let mut open: Vec<TermId> = candidate.spec.outputs.iter().map(|o| o.term).collect();
    let mut seen = BTreeSet::new();
    while let Some(term) = open.pop() {
        if matches!(terms.node(term), Node::Order { .. }) {
            return true;
        }
        if seen.insert(term) {
            open.extend(terms.node(term).operands());
        }
    }
    false
}

fn has_bucket(spec: &CorpusSpec) -> bool {
    trial(spec, LENGTHS[3]).and_then(|trial| bucket(&trial)).is_ok_and(|name| name.is_some())
}

fn every_length(spec: &CorpusSpec) -> Result<(), Failed> {
    for n in LENGTHS {
        let trial = trial(spec, n)?;
        if let Some(name) = bucket(&trial)? {
            agree(trial.in_variant(&name))?;
        }
    }
    for n in [97, 130] {
        let trial = trial(spec, n)?;
        for keys in [&[i64::MIN][..], &[i64::MAX], &[0, i64::MAX, -1, i64::MIN, 0]] {
            for name in trial.variants()? {
                if let Some(hostile) = with_keys(spec, &trial, keys)? {
                    agree(hostile.in_variant(&name))?;
                }
            }
        }
    }
    Ok(())
}

fn agree(trial: Trial) -> Result<(), Failed> {
    trial.check(Runner::INTERPRETER)?;
    Ok(trial.check_threads()?)
}

/// The trial with the keys by turns in every table of 64-bit integers without a range; `None` if it has none.
fn with_keys(spec: &CorpusSpec, trial: &Trial, keys: &[i64]) -> Result<Option<Trial>, Failed> {
    let mut found = false;
    let mut inputs: Vec<Tensor> = trial.inputs().to_vec();
    for (input, declared) in inputs.iter_mut().zip(&trial.spec().inputs) {
        let count = input.data().len();
        if declared.dtype == DType::I64 && declared.range.is_none() && declared.runs.is_none() {
            let by_turns = Data::I64((0..count).map(|at| keys[at * 7 % keys.len()]).collect());
            *input = Tensor::new(input.shape().to_vec(), by_turns)?;
            found = true;
        }
    }
    if !found {
        return Ok(None);
    }
    let settings = trial.settings().clone();
    Ok(Some(Trial::with_inputs(&spec.text, &settings, trial.spec().clone(), trial.extents(), inputs)?))
}
