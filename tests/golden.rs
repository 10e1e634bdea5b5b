//! The plan table of every spec at the committed machine profile: a refactor leaves it untouched, a change of plan
//! shows its rows in review. `BLESS=1` writes it.

use attnc_compiler::extents::{at_length, defaults, m_follows};
use attnc_compiler::{Analysis, CompileError, Options, PlanTable, Unobserved};
use attnc_tests::{bless, corpus, repository};

/// Rows of one spec: lengths, form, the stages of the plan at the longest of them.
fn rows(text: &str) -> Result<String, CompileError> {
    let analysis = Analysis::new(text, &Options::default(), &mut Unobserved)?;
    let spec = analysis.spec();
    let settings = &analysis.options().settings;
    let extents = defaults(spec, settings);
    let table = PlanTable::build(&analysis, &extents, 16, 1 << 20)?;
    let mut out = String::new();
    for row in &table.rows {
        let at = at_length(spec, &extents, row.n_to, m_follows(spec, settings));
        let plan = analysis.plan(&row.candidate, &at)?;
        let stages: Vec<&str> = plan.stages().map(|stage| stage.kind.name()).collect();
        let (name, stages) = (row.candidate.name(), stages.join(", "));
        out.push_str(&format!("  {}..{} {name}: {stages}\n", row.n_from, row.n_to));
    }
    Ok(out)
}

#[test]
fn plans_are_as_recorded() {
    let mut found =
        String::from("# Forms and stages by sequence length, at each spec's default extents and profile.\n");
    for spec in corpus::all() {
        let rows = rows(&spec.text).unwrap_or_else(|error| format!("  {error}\n"));
        found.push_str(&format!("\n{}\n{rows}", spec.name()));
    }
    let path = repository::root().join("tests/golden/plans.txt");
    if let Err(mismatch) = bless::compare_file(&path, &found) {
        panic!("{mismatch}");
    }
}

#[test]
fn planning_twice_gives_the_same_plan() {
    for spec in corpus::published() {
        assert_eq!(rows(&spec.text).ok(), rows(&spec.text).ok(), "{}", spec.name());
    }
}
