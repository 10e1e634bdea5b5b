//! Nothing is recognised by its name or by how it is written: a spec in disguise has the same plan.
//!
//! Every published spec is compiled again with all names replaced, definitions inlined and operands permuted. Forms,
//! intervals of the sequence length, stages and predicted times must stay.

use attnc_algebra::draw::draw_inputs;
use attnc_algebra::{Reference, SettingValue, Settings};
use attnc_compiler::extents::{at_length, defaults, m_follows};
use attnc_compiler::{Analysis, Options, PlanTable, Unobserved};
use attnc_tests::corpus;
use attnc_tests::disguise::{Disguise, disguise};

/// A row of a plan table, without the names in it.
#[derive(Clone, PartialEq, Debug)]
struct Row {
    lengths: (i64, i64),
    form: &'static str,
    /// Kinds of the stages, sorted: those that do not need each other stand in any order.
    stages: Vec<&'static str>,
    bytes: Option<usize>,
    /// Predicted times at both ends, in ms.
    predicted: (f64, f64),
}

impl Row {
    /// Whether the rows are the same; times are sums of the same summands in another order.
    fn is(&self, other: &Self) -> bool {
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        let times = close(self.predicted.0, other.predicted.0) && close(self.predicted.1, other.predicted.1);
        times && Self { predicted: other.predicted, ..self.clone() } == *other
    }
}

fn rows(text: &str, settings: &Settings) -> Vec<Row> {
    let options = Options { settings: settings.clone(), ..Options::default() };
    let analysis = Analysis::new(text, &options, &mut Unobserved).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let (spec, extents) = (analysis.spec(), defaults(analysis.spec(), settings));
    let table = PlanTable::build(&analysis, &extents, 16, 1 << 20).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let row = |row: &attnc_compiler::PlanRow| {
        let at = at_length(spec, &extents, row.n_to, m_follows(spec, settings));
        let plan = analysis.plan(&row.candidate, &at).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let mut stages: Vec<&str> = plan.stages().map(|stage| stage.kind.name()).collect();
        stages.sort_unstable();
        let predicted = (row.predicted_ms_from, row.predicted_ms_to);
        Row { lengths: (row.n_from, row.n_to), form: row.candidate.form(), stages, bytes: row.bytes, predicted }
    };
    table.rows.iter().map(row).collect()
}

/// The default extents of a spec, by name: under other names other defaults would hold.
fn named_extents(text: &str) -> Settings {
    let spec = attnc_algebra::compile_text(text, &Settings::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let extents = defaults(&spec, &Settings::default());
    let named = |(symbol, value): (&attnc_algebra::SymbolId, &i64)| {
        (spec.symbols[symbol.0 as usize].name.clone(), SettingValue::Int(*value))
    };
    let set = extents.0.iter().map(named).filter(|(name, _)| name != "N" && name != "M").collect();
    Settings { set, ..Settings::default() }
}

/// Whether two texts over the same inputs have equal outputs at a small length.
fn means_the_same(text: &str, other: &str, settings: &Settings, others: &Settings) -> bool {
    let outputs = |text: &str, settings: &Settings| {
        let spec = attnc_algebra::compile_text(text, settings).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        let extents = at_length(&spec, &defaults(&spec, settings), 70, m_follows(&spec, settings));
        let inputs = draw_inputs(&spec, &extents, 1).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let mut reference = Reference::new(&spec, &extents, &inputs).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let all = (0..spec.outputs.len()).map(|at| reference.output(at).unwrap_or_else(|e| panic!("{e}\n{text}")));
        all.flat_map(|o| o.iter().copied().collect::<Vec<f64>>()).collect::<Vec<f64>>()
    };
    let (ours, theirs) = (outputs(text, settings), outputs(other, others));
    ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() <= 1e-6 * (1.0 + a.abs()))
}

#[test]
fn a_spec_in_disguise_has_the_same_plan() {
    let mut findings = Vec::new();
    for spec in corpus::published() {
        let settings = named_extents(&spec.text);
        let plain = rows(&spec.text, &settings);
        for (names, inlined, permuted) in
            [(true, true, true), (true, false, false), (false, true, false), (false, false, true)]
        {
            let what = Disguise { names, inlined, permuted };
            let (text, settings) = disguise(&spec.text, &settings, what);
            let other = rows(&text, &settings);
            let same = plain.len() == other.len() && plain.iter().zip(&other).all(|(a, b)| a.is(b));
            // The axes of a computed tensor without brackets stand in the order of mention: where such a tensor is
            // indexed, a permuted text may mean something else, and is no disguise.
            if !same && (!permuted || means_the_same(&spec.text, &text, &named_extents(&spec.text), &settings)) {
                findings.push(format!("{} as {what:?}:\n{plain:#?}\n{other:#?}\n{text}", spec.name()));
            }
        }
    }
    assert!(findings.is_empty(), "{} differ\n{}", findings.len(), findings.join("\n"));
}
