//! Random specs over the algebra: reference, interpreter and machine code agree.
//!
//! `ATTNC_CASES` sets how many; `ATTNC_SEED` draws others than the usual ones. A failure shrinks to a small spec and
//! prints its text with the command that runs it: keep it under `tests/regressions/`.

use std::cell::Cell;

use attnc_tests::random::{RandomSpec, specs};
use attnc_tests::trial::{Runner, Trial, TrialError};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Cases drawn unless told otherwise.
const CASES: u32 = 2000;

/// One in so many cases may be ill-conditioned: beyond the tolerance, though a small backward error.
const STRAINED: u32 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|v| v.parse().ok())
}

/// A runner of half the cases, which are the same on every machine.
fn runner(half: u8) -> TestRunner {
    let cases = number("ATTNC_CASES").map_or(CASES, |n| u32::try_from(n).unwrap_or(u32::MAX)).div_ceil(2);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 1000, ..Config::default() };
    let mut seed = [7u8; 32];
    seed[..8].copy_from_slice(&number("ATTNC_SEED").unwrap_or(0).to_le_bytes());
    seed[8] += half;
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

/// Whether the case was ill-conditioned.
fn engines_agree(spec: &RandomSpec) -> Result<bool, TrialError> {
    let trial = Trial::new(&spec.text(), &spec.settings(), spec.extents().n, spec.seed)?.allowing_for_conditioning();
    trial.check(Runner::INTERPRETER)?;
    trial.check_threads()?;
    Ok(trial.is_strained())
}

fn all_agree(half: u8) {
    let strained = Cell::new(0);
    let agree = |spec: RandomSpec| {
        let outcome = std::panic::catch_unwind(|| engines_agree(&spec));
        let outcome = outcome.map_err(|_| TestCaseError::fail("a panic, shown above"))?;
        let ill = outcome.map_err(|error| TestCaseError::fail(error.to_string()))?;
        strained.set(strained.get() + u32::from(ill));
        Ok(())
    };
    let mut runner = runner(half);
    match runner.run(&specs(), agree) {
        Ok(()) => {}
        Err(TestError::Fail(reason, spec)) => panic!("{reason}\n\n{spec}\n"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    let (strained, cases) = (strained.get(), runner.config().cases);
    println!("{strained} of {cases} cases are ill-conditioned");
    assert!(strained * STRAINED <= cases.max(STRAINED), "{strained} of {cases} cases are ill-conditioned");
}

// In two halves, which run at once.

#[test]
fn random_specs_agree_on_every_engine() {
    all_agree(0);
}

#[test]
fn other_random_specs_agree_on_every_engine() {
    all_agree(1);
}
