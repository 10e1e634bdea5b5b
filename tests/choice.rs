//! What is chosen at which length, at the committed profile: crossovers, forms that differ by the number of queries,
//! costs that grow with the allowed pairs, and working memory that never holds all pairs.

use attnc_algebra::{Extents, SettingValue, Settings};
use attnc_compiler::extents::{at_length, by_number, defaults, m_follows};
use attnc_compiler::{Analysis, Candidate, Layout, Options, PlanTable, Unobserved};
use attnc_tests::corpus::{self, fitting};
use attnc_tests::repository::{read, root};

fn analysis(text: &str, set: &[(&str, i64)]) -> Analysis {
    let set = set.iter().map(|(name, value)| ((*name).to_string(), SettingValue::Int(*value)));
    let settings = fitting(text, Settings { set: set.collect(), ..Settings::default() });
    let options = Options { settings, ..Options::default() };
    Analysis::new(text, &options, &mut Unobserved).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn published(name: &str) -> String {
    read(&root().join(format!("ir-specs/{name}.attn")))
}

fn extents(analysis: &Analysis, n: i64) -> Extents {
    let (spec, settings) = (analysis.spec(), &analysis.options().settings);
    at_length(spec, &defaults(spec, settings), n, m_follows(spec, settings))
}

fn chosen(analysis: &Analysis, n: i64) -> Candidate {
    analysis.extract(&extents(analysis, n)).unwrap_or_else(|e| panic!("{e}"))
}

/// The forms of a plan table in order, each once.
fn forms(text: &str) -> Vec<&'static str> {
    let analysis = analysis(text, &[]);
    let table = PlanTable::build(&analysis, &extents(&analysis, 16), 16, 1 << 20).unwrap_or_else(|e| panic!("{e}"));
    let mut forms: Vec<&str> = table.rows.iter().map(|row| row.candidate.form()).collect();
    forms.dedup();
    forms
}

#[test]
fn kernel_forms_become_linear_when_sequences_are_long() {
    for name in ["linear-transformer", "linear-transformer-causal", "performer", "cosformer"] {
        let forms = forms(&published(&format!("linear/{name}")));
        assert_eq!((forms[0], forms[forms.len() - 1]), ("quadratic", "linear"), "{name}");
    }
    // Dear for every pair, or every feature: what is best for short ones differs, and may be linear too.
    for name in ["rfa", "retention"] {
        assert_eq!(forms(&published(&format!("linear/{name}"))).last(), Some(&"linear"), "{name}");
    }
}

#[test]
fn softmax_stays_quadratic() {
    assert_eq!(forms(&published("dense/softmax")), ["quadratic"]);
}

#[test]
fn latent_heads_are_absorbed_for_one_query_and_expanded_for_many() {
    let text = published("dense/mla");
    let n = 4096;
    let (decode, prefill) = (analysis(&text, &[("M", 1)]), analysis(&text, &[("M", n)]));
    assert_ne!(chosen(&decode, n).key, chosen(&prefill, n).key);
}

#[test]
fn sparse_masks_cost_what_they_allow() {
    for name in ["local", "longformer", "bigbird", "document"] {
        let analysis = analysis(&published(&format!("masked/{name}")), &[]);
        let cost = |n: i64| chosen(&analysis, n).predicted_ms();
        let growth = cost(1 << 20) / cost(1 << 14);
        assert!((50.0..80.0).contains(&growth), "{name}: 64 times the length costs {growth:.0} times as much");
    }
}

#[test]
fn a_table_of_truth_values_is_half_true() {
    let plain = published("dense/softmax");
    let blocks = published("masked/block-table");
    let cost = |text: &str| chosen(&analysis(text, &[]), 1 << 14).predicted_ms();
    let share = cost(&blocks) / cost(&plain);
    assert!((0.4..0.75).contains(&share), "half of the blocks take {share:.2} of the time of all");
}

/// Largest working memory at N = 8192 and one head, in bytes: a matrix of all pairs would have four times as much.
const SCRATCH: usize = 64 << 20;

#[test]
fn no_plan_holds_all_pairs() {
    for spec in corpus::all() {
        let analysis = analysis(&spec.text, &[("H", 1), ("G", 1)]);
        let at = extents(&analysis, 8192);
        let candidate = analysis.extract(&at).unwrap_or_else(|e| panic!("{}: {e}", spec.name()));
        let plan = analysis.plan(&candidate, &at).unwrap_or_else(|e| panic!("{}: {e}", spec.name()));
        let layout = Layout::new(&plan, by_number(analysis.spec(), &at)).unwrap_or_else(|e| panic!("{e}"));
        let scratch = layout.scratch_bytes(1).unwrap_or(usize::MAX);
        assert!(scratch <= SCRATCH, "{}: {} MiB", spec.name(), scratch >> 20);
    }
}

/// How many times as long a call may take by a row's plan as by a plan for its own length, and nanoseconds in any case.
const ROW: (f64, f64) = (1.5, 4000.0);

#[test]
fn a_row_serves_lengths_that_its_plan_is_good_for() {
    for spec in corpus::all() {
        let analysis = analysis(&spec.text, &[("H", 1), ("G", 1)]);
        // Planned and not compiled.
        let options = attnc::Options {
            compiler: analysis.options().clone(),
            engine: attnc::Engine::Interpreter,
            ..attnc::Options::default()
        };
        let kernel = attnc::compile(&spec.text, &options).unwrap_or_else(|e| panic!("{}: {e}", spec.name()));
        for n in [17, 100, 4096] {
            let at = extents(&analysis, n);
            let prepared = kernel.prepare(&at).unwrap_or_else(|e| panic!("{}: {e}", spec.name()));
            let own = analysis.plan(prepared.candidate(), &at).unwrap_or_else(|e| panic!("{}: {e}", spec.name()));
            let numbers = by_number(analysis.spec(), &at);
            let time = |plan: &attnc_plan::Plan| plan.predict(&numbers, &analysis.options().profile).map(|t| t.0);
            let (row, alone) = (time(prepared.plan()), time(&own));
            let (Some(row), Some(alone)) = (row, alone) else { panic!("{}: no prediction at {n}", spec.name()) };
            let limit = (ROW.0 * alone).max(alone + ROW.1);
            assert!(row <= limit, "{} at N = {n}: {row:.0} ns by its row, {alone:.0} alone", spec.name());
        }
    }
}

#[test]
fn names_do_not_matter() {
    // The same algebra under other names and in another order: the same forms at the same lengths.
    let plain = published("linear/linear-transformer");
    let renamed = "spec other
axis row, col = N
input question[batch, head, row, dim]
input answer[batch, head, col, width]
input clue[batch, head, col, dim]
output sum_up[batch, head, row, width] = sum[col](answer * sum[dim]((1 + elu(clue)) * (1 + elu(question))))
    / sum[col](sum[dim]((elu(clue) + 1) * (elu(question) + 1)))
";
    let set = [("HEAD", 4), ("BATCH", 1), ("DIM", 64), ("WIDTH", 64)];
    let (plain, other) = (analysis(&plain, &[]), analysis(renamed, &set));
    for n in [32, 64, 96, 512, 65_536] {
        let (one, two) = (chosen(&plain, n), chosen(&other, n));
        assert_eq!(one.form(), two.form(), "at {n}");
        // Costs are summed in another order.
        assert!((one.predicted_ms() / two.predicted_ms() - 1.0).abs() < 1e-12, "at {n}");
    }
}
