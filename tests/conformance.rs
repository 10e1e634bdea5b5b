//! Every spec of the corpus at awkward sequence lengths on every engine, against the reference and each other.
//!
//! One test per spec and length, so that a failure names both. Interpreter and machine code are held to the
//! reference; machine code on one and two threads to the same bits; every instruction set of this CPU to the
//! reference; views that are transposed, strided or reversed, with canaries, to the reference as well.

use attnc::{Engine, Isa};
use attnc_algebra::{DType, SettingValue, Settings};
use attnc_tests::corpus::{self, CorpusSpec};
use attnc_tests::padded::Storage;
use attnc_tests::trial::{Runner, Trial, TrialError};
use libtest_mimic::{Arguments, Failed, Trial as Test};

/// Sequence lengths: one, less than a tile, one more than a tile, more than two tiles.
const LENGTHS: [i64; 4] = [1, 17, 65, 130];

fn main() {
    let arguments = Arguments::from_args();
    let mut tests = Vec::new();
    for spec in corpus::all() {
        for n in LENGTHS {
            let one = spec.clone();
            let name = format!("{}::n{n}", spec.name());
            tests.push(Test::test(name, move || Ok(engines_agree(&one, n)?)));
        }
        let one = spec.clone();
        let name = format!("{}::views", spec.name());
        tests.push(Test::test(name, move || Ok(views_do_not_matter(&one)?)));
        let name = format!("{}::isas", spec.name());
        tests.push(Test::test(name, move || every_isa(&spec)));
    }
    libtest_mimic::run(&arguments, tests).exit();
}

/// Extents that keep a trial small and its tiles ragged; only those that the spec has count.
fn settings(spec: &CorpusSpec, n: i64) -> Settings {
    let (d, e) = match n {
        65 => (64, 64),
        130 => (32, 48),
        _ => (40, 24),
    };
    let mut settings = spec.small_parameters();
    let grouped = spec.text.contains("H mod G");
    let heads = if grouped { 4 } else { 3 };
    for (name, value) in [("B", 2), ("H", heads), ("G", 2), ("D", d), ("E", e), ("R", 48), ("P", 8)] {
        settings.set.insert(name.to_string(), SettingValue::Int(value));
    }
    corpus::fitting(&spec.text, settings)
}

/// A trial. What a spec iterates may be ill-conditioned, an inverse above all: its errors are held against what
/// rounding the inputs does.
fn trial(spec: &CorpusSpec, n: i64, seed: u64) -> Result<Trial, TrialError> {
    let trial = Trial::new(&spec.text, &settings(spec, n), n, seed)?;
    Ok(if spec.text.contains("iterate") { trial.allowing_for_conditioning() } else { trial })
}

fn engines_agree(spec: &CorpusSpec, n: i64) -> Result<(), TrialError> {
    let trial = trial(spec, n, 1)?;
    trial.check(Runner::INTERPRETER)?;
    trial.check_threads()
}

fn views_do_not_matter(spec: &CorpusSpec) -> Result<(), TrialError> {
    let n = 33;
    let trial = trial(spec, n, 2)?;
    if trial.spec().inputs.iter().any(|i| i.dtype == DType::F64) {
        // Padded storage holds 32-bit floats, and outputs are of 64 bits here.
        return Ok(());
    }
    trial.check_stored(Runner::INTERPRETER, Storage::Strided)?;
    Storage::ALL.into_iter().try_for_each(|storage| trial.check_stored(Runner::jit(2), storage))
}

fn every_isa(spec: &CorpusSpec) -> Result<(), Failed> {
    for n in [9, 70] {
        let trial = trial(spec, n, 3)?;
        for isa in Isa::available() {
            let runner = |threads| Runner { engine: Engine::Jit, threads, isa: Some(isa) };
            let (alone, shared) = (trial.check(runner(1))?, trial.check(runner(2))?);
            trial.same_bits((runner(1), &alone), (runner(2), &shared))?;
        }
    }
    Ok(())
}
