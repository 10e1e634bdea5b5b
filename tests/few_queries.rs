//! Few queries against many keys, more than conformance has: heads in groups, even and uneven, on one tile, keys split
//! over tasks, keys and values stored narrow, and masks, on every engine and with the same bits on one and two threads.

use attnc::{Engine, Isa};
use attnc_algebra::{SettingValue, Settings};
use attnc_tests::trial::{Runner, Trial, TrialError};

/// A spec with queries in groups of heads; the key head of head h is `head`.
fn spec(dtype: &str, head: &str, domain: &str) -> String {
    format!(
        "spec few-queries
axis i = M
axis j = N
example M = 2
input q: {dtype}[b, h, i, d]
input k: {dtype}[b, g, j, d]
input v: {dtype}[b, g, j, e]
kv     = {head}
score  = sum[d](q * k[b, kv, j, d]) / sqrt(D)
weight = softmax[j{domain}](score)
output out[b, h, i, e] = sum[j](weight * v[b, kv, j, e])
output lse[b, h, i] = logsumexp[j{domain}](score)
"
    )
}

fn trial(text: &str, n: i64, extents: &[(&str, i64)]) -> Result<Trial, TrialError> {
    let mut settings = Settings::default();
    for (name, value) in [("B", 1), ("D", 24), ("E", 20)].iter().chain(extents) {
        settings.set.insert((*name).to_string(), SettingValue::Int(*value));
    }
    Trial::new(text, &settings, n, 9)
}

fn agrees(trial: &Trial) -> Result<(), TrialError> {
    trial.check(Runner::INTERPRETER)?;
    for isa in Isa::available() {
        let runner = |threads| Runner { engine: Engine::Jit, threads, isa: Some(isa) };
        let (alone, shared) = (trial.check(runner(1))?, trial.check(runner(2))?);
        trial.same_bits((runner(1), &alone), (runner(2), &shared))?;
    }
    Ok(())
}

const LAST: &str = " where j <= i + N - M";

#[test]
fn heads_of_even_and_uneven_groups_share_their_keys() -> Result<(), TrialError> {
    for (head, h, g) in [("h * G div H", 7, 3), ("h * G div H", 4, 4), ("h div 3", 7, 3), ("0 * h", 5, 1)] {
        for m in [1, 2, 13] {
            agrees(&trial(&spec("f32", head, LAST), 150, &[("H", h), ("G", g), ("M", m)])?)?;
        }
    }
    Ok(())
}

#[test]
fn keys_are_split_over_tasks_with_any_mask() -> Result<(), TrialError> {
    let masks = ["", LAST, " where j mod 3 != 1 and j <= i + N - M", " where j < 100", " where i + 5000 <= j"];
    for domain in masks {
        // A length at which parts are ragged, and one at which the last has one key.
        for n in [5003, 4097] {
            agrees(&trial(&spec("f32", "h * G div H", domain), n, &[("H", 3), ("G", 1), ("M", 2)])?)?;
        }
    }
    Ok(())
}

#[test]
fn keys_and_values_that_are_stored_narrow() -> Result<(), TrialError> {
    for dtype in ["bf16", "f16", "f64"] {
        agrees(&trial(&spec(dtype, "h * G div H", LAST), 300, &[("H", 4), ("G", 2), ("M", 3)])?)?;
        agrees(&trial(&spec(dtype, "h * G div H", ""), 4200, &[("H", 4), ("G", 2), ("M", 1)])?)?;
    }
    Ok(())
}
