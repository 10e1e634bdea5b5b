//! The command line as others read it: JSON shapes, exit statuses, help, and the README's first command.
//!
//! A test of the package `attnc-cli`, whose binary it runs.

use std::path::PathBuf;
use std::process::{Command, Output};

use attnc_tests::repository::{read, root};
use attnc_tests::tolerance::F32_CEILING;
use serde_json::Value;

fn attnc(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attnc"));
    // A measured profile of this machine would make plans differ from those of others.
    command.current_dir(root()).env("XDG_CACHE_HOME", scratch("cache")).args(arguments);
    command.output().expect("the binary starts")
}

/// A path of this test's own for what commands write.
fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    folder.join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The one JSON object that a command prints.
fn json(arguments: &[&str]) -> Value {
    let output = attnc(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{out}\n{err}", output.status);
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{out}"))
}

fn status(arguments: &[&str]) -> i32 {
    attnc(arguments).status.code().expect("no signal ends it")
}

fn has(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some_and(|v| !v.is_null()), "`{key}` is missing in {value:#}");
    }
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("`{key}` is no number in {value:#}"))
}

const SOFTMAX: &str = "ir-specs/dense/softmax.attn";
const SYNTHESIZER: &str = "ir-specs/free/synthesizer-random.attn";
const SMALL: [&str; 10] = ["--random", "1", "--set", "N=100", "--set", "H=2", "--set", "D=24", "--set", "E=40"];

fn run_small(more: &[&str]) -> Value {
    json(&[&["run", SOFTMAX, "--json"], &SMALL[..], more].concat())
}

#[test]
fn the_first_command_of_the_readme_runs() {
    let readme = read(&root().join("README.md"));
    let line = readme.lines().find(|l| l.starts_with("cargo run --release -p attnc-cli -- ")).expect("a first command");
    let arguments: Vec<&str> = line.split(" -- ").nth(1).expect("arguments").split_whitespace().collect();
    let output = attnc(&arguments);
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    let report = json(&[&arguments[..], &["--json"]].concat());
    assert_eq!(report["engine"], "jit");
    assert!(number(&report, "max_rel_err") <= F32_CEILING);
}

#[test]
fn run_reports_what_it_did() {
    let report = run_small(&["--check"]);
    has(&report, &["spec", "params", "extents", "engine", "isa", "variant", "exact", "stages", "compile_ms", "run_ms"]);
    has(&report, &["gflops", "scratch_bytes", "peak_bytes", "output_hash", "candidates"]);
    has(&report, &["max_abs_err", "max_rel_err", "rel_error_fro", "rows_checked"]);
    assert_eq!(report["exact"], true);
    assert_eq!(report["extents"]["N"], 100);
    assert!(number(&report, "max_rel_err") <= F32_CEILING);
    for candidate in report["candidates"].as_array().expect("a list") {
        has(candidate, &["variant", "exact", "predicted_ms", "error"]);
    }
}

#[test]
fn results_do_not_depend_on_threads_and_engines_agree() {
    let alone = run_small(&["--threads", "1"]);
    let shared = run_small(&["--threads", "2"]);
    assert_eq!(alone["output_hash"], shared["output_hash"]);
    let interpreted = run_small(&["--engine", "interpreter", "--check"]);
    assert_eq!(interpreted["engine"], "interpreter");
    assert!(number(&interpreted, "max_rel_err") <= F32_CEILING);
}

#[test]
fn outputs_can_be_written_and_read_back() {
    let path = scratch("out.safetensors");
    let file = path.to_str().expect("a path of letters");
    let written = run_small(&["--output", file]);
    let bytes = std::fs::read(&path).expect("the output was written");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("it is a safetensors file");
    assert_eq!(tensors.tensor("out").expect("the output").shape(), [1, 2, 100, 40]);
    assert!(written["output_hash"].is_string() || written["output_hash"].is_number());
}

#[test]
fn plan_lists_rows_by_length() {
    let report = json(&["plan", "ir-specs/linear/linear-transformer.attn", "--json"]);
    let rows = report["rows"].as_array().expect("rows");
    for row in rows {
        has(row, &["n_from", "n_to", "variant", "form", "predicted_ms_from", "predicted_ms_to", "bytes", "exact"]);
        assert!(row.get("error").is_some());
    }
    assert_eq!(rows[0]["form"], "quadratic", "short sequences meet in pairs");
    assert_eq!(rows[rows.len() - 1]["form"], "linear", "long sequences do not");
}

#[test]
fn plan_shows_the_measured_error_of_permitted_approximations() {
    let measured = ["--allow", "window=64,lowrank=16", "--calibrate", "tests/data/minilm-layer2.safetensors"];
    let base = [&["plan", SOFTMAX, "--json", "--n", "512..4096"], &measured[..]].concat();
    let table = json(&base);
    let rows = table["rows"].as_array().expect("a list");
    for label in ["window=64/", "lowrank=16/"] {
        let is_its = |r: &&Value| r["variant"].as_str().is_some_and(|v| v.starts_with(label));
        let own: Vec<&Value> = rows.iter().filter(is_its).collect();
        assert!(!own.is_empty(), "{label} is missing: {table}");
        assert!(own.iter().all(|r| r["exact"] == false && number(r, "error") > 1e-4), "{table}");
    }
    assert_eq!(table["extents"]["H"], 12, "the extents are those of the inputs");
    let within = |budget| json(&[&base[..], &["--budget", budget]].concat());
    let exact = |table: &Value| table["rows"].as_array().expect("a list").iter().all(|r| r["exact"] == true);
    assert!(exact(&within("1e-6")));
    assert!(!exact(&within("10")), "everything is within, and approximations are faster at N = 4096");
}

#[test]
fn explain_names_a_rule_for_every_step() {
    let report = json(&["explain", "ir-specs/linear/linear-transformer.attn", "--n", "65536", "--json"]);
    let steps = report["steps"].as_array().expect("steps");
    assert!(steps.len() > 2);
    steps.iter().for_each(|step| has(step, &["rule", "term"]));
    has(&report, &["declined", "runner_up"]);
}

// The system tells how much memory is free.
#[cfg(target_os = "linux")]
#[test]
fn bench_names_what_it_has_no_memory_for() {
    // A million positions squared: no machine holds them.
    let report = json(&["bench", SYNTHESIZER, "--n", "16,1000000", "--threads", "1", "--json"]);
    let rows = report["rows"].as_array().expect("rows");
    assert!(!rows.is_empty() && rows.iter().all(|row| row["n"] == 16), "{report}");
    let skipped = report["skipped"].as_array().expect("skipped");
    let told = |s: &Value| s["why"].as_str().is_some_and(|why| why.contains("of memory is free"));
    assert!(!skipped.is_empty() && skipped.iter().all(|s| s["n"] == 1_000_000 && told(s)), "{report}");
}

#[test]
fn bench_measures_every_candidate() {
    let report = json(&["bench", SOFTMAX, "--n", "64", "--threads", "1", "--json"]);
    for row in report["rows"].as_array().expect("rows") {
        has(row, &["spec", "n", "threads", "variant", "predicted_ms", "measured_ms", "chosen", "regret"]);
    }
}

#[test]
fn show_draws_the_mask() {
    let output = attnc(&["show", "ir-specs/masked/local.attn", "--n", "16", "--set", "w=2"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).lines().count() >= 8);
    let picture = scratch("mask.svg");
    let file = picture.to_str().expect("a path of letters");
    assert_eq!(status(&["show", "ir-specs/masked/local.attn", "--n", "16", "--svg", file]), 0);
    assert!(read(&picture).starts_with("<svg") || read(&picture).contains("<svg"));
}

#[test]
fn check_reports_every_error() {
    let path = scratch("two-errors.attn");
    std::fs::write(&path, "spec x\naxis i = N\ninput q[i]\noutput a[i] = p\noutput b[i] = r\n")
        .expect("it can be written");
    let file = path.to_str().expect("a path of letters");
    let output = attnc(&["check", file]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).matches("error[unknown-name]").count(), 2, "{}", text(&output.stderr));
    assert_eq!(status(&["check", SOFTMAX]), 0);
}

#[test]
fn wrong_input_is_exit_one() {
    let not_text = scratch("not-text.attn");
    std::fs::write(&not_text, [0xff, 0xfe, 0x00, 0x80]).expect("it can be written");
    let empty = scratch("empty.safetensors");
    std::fs::write(&empty, []).expect("it can be written");
    let (not_text, empty) = (not_text.to_str().expect("letters"), empty.to_str().expect("letters"));
    for arguments in [
        &["check", "no-such-file.attn"][..],
        &["check", not_text],
        &["run", SOFTMAX, "--input", "no-such-file.safetensors"],
        &["run", SOFTMAX, "--input", empty],
        &["run", SOFTMAX, "--random", "1", "--set", "nonsense=3"],
        &["run", SOFTMAX, "--random", "1", "--set", "N=0"],
        &["run", SOFTMAX, "--input", "tests/data/minilm-layer2.safetensors", "--rename", "q=nothing"],
        &["run", "ir-specs/masked/document.attn", "--input", "tests/data/minilm-layer2.safetensors"],
    ] {
        assert_eq!(status(arguments), 1, "{arguments:?}");
    }
}

#[test]
fn a_missing_tensor_is_reported_with_what_there_is() {
    let file = "tests/data/minilm-layer2.safetensors";
    let output = attnc(&["run", SOFTMAX, "--input", file, "--rename", "q=nothing"]);
    let message = text(&output.stderr);
    for held in ["nothing", "out", "k", "v"] {
        assert!(message.contains(held), "{message}");
    }
}

#[test]
fn wrong_usage_is_exit_two() {
    for arguments in [
        &["run"][..],
        &["fly", SOFTMAX],
        &["run", SOFTMAX],
        &["run", SOFTMAX, "--random", "x"],
        &["run", SOFTMAX, "--random", "1", "--isa", "mmx"],
        &["plan", SOFTMAX, "--n", "9..3"],
    ] {
        assert_eq!(status(arguments), 2, "{arguments:?}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in ["check", "show", "plan", "explain", "run", "bench", "probe"] {
        let output = attnc(&[command, "--help"]);
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("Example:"), "{command}");
    }
}
