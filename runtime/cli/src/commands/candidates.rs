//! Candidates of a run: predicted and, where approximations are permitted, measured on the input at hand.

use attnc::Kernel;
use attnc_algebra::Extents;
use serde_json::{Map, Value, json};

use super::run::{finite, timed};
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::reference;
use crate::session::SpecFile;

/// One row of the candidates.
pub(super) struct Candidate {
    pub variant: String,
    /// The approximations it is made by; empty for exact forms.
    pub approximations: String,
    form: &'static str,
    pub exact: bool,
    predicted_ms: f64,
    measured_ms: Option<f64>,
    /// Relative Frobenius error of the outputs on sampled rows of this input; 0 for exact forms.
    pub error: f64,
}

impl Candidate {
    fn json(&self) -> Value {
        let mut row = json!({
            "variant": self.variant, "form": self.form, "exact": self.exact,
            "predicted_ms": self.predicted_ms, "error": finite(self.error),
        });
        if let Some(ms) = self.measured_ms {
            row["measured_ms"] = json!(ms);
        }
        row
    }
}

/// All candidates at the extents. Where approximations are permitted, each is run on the input: its time, and its
/// error on sampled exact rows, are measured.
pub(super) fn measured(
    file: &SpecFile,
    kernel: &Kernel,
    options: &attnc::Options,
    extents: &Extents,
    inputs: &Inputs,
    repeat: u32,
) -> Result<Vec<Candidate>, Failure> {
    let all = kernel.analysis().candidates(extents).map_err(|e| file.failure(e.into()))?;
    let measures = !options.compiler.allow.is_empty();
    let mut rows = Vec::new();
    for (at, candidate) in all.iter().enumerate() {
        let mut row = Candidate {
            variant: candidate.name().to_string(),
            approximations: candidate.approximations.clone(),
            form: candidate.form(),
            exact: candidate.is_exact(),
            predicted_ms: candidate.predicted_ms(),
            measured_ms: None,
            error: 0.0,
        };
        // Of the exact forms the cheapest is what approximations are compared with.
        if measures && (at == 0 || !candidate.is_exact()) {
            let mut options = options.clone();
            options.compiler.variant = Some(row.variant.clone());
            let own = file.compile(&options, &[])?;
            // The first run makes code and scratch.
            timed(&own, &inputs.views(), 1).map_err(|e| file.failure(e))?;
            let (outputs, ms) = timed(&own, &inputs.views(), repeat.max(3)).map_err(|e| file.failure(e))?;
            row.measured_ms = Some(ms);
            if !candidate.is_exact() {
                let check = reference::check(kernel.spec(), extents, inputs.tensors(), &outputs)?;
                row.error = check.accuracy.rel_error_fro();
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The fastest measured candidate whose error is within the budget.
pub(super) fn within(candidates: &[Candidate], budget: f64) -> Option<&Candidate> {
    let time = |c: &Candidate| c.measured_ms.unwrap_or(f64::INFINITY);
    let allowed = candidates.iter().filter(|c| c.error <= budget && c.measured_ms.is_some());
    allowed.min_by(|a, b| time(a).total_cmp(&time(b)))
}

/// Adds the candidates and the permissions that came to nothing.
pub(super) fn report(report: &mut Map<String, Value>, kernel: &Kernel, candidates: &[Candidate]) {
    report.insert("candidates".into(), json!(candidates.iter().map(Candidate::json).collect::<Vec<_>>()));
    let declined = kernel.analysis().declined_approximations();
    if !declined.is_empty() {
        let row = |d: &attnc_compiler::Declined| json!({ "rule": d.rule, "because": d.reason });
        report.insert("declined".into(), json!(declined.iter().map(row).collect::<Vec<_>>()));
    }
}
