//! Why a spec has no compiled form.

use attnc_algebra::Diagnostic;
use attnc_plan::error::PlanError;

use crate::layout::LayoutError;

/// Why a spec has no compiled form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The spec is wrong; every independent error is listed.
    #[error("{}", first_of(.0))]
    Spec(Vec<Diagnostic>),
    /// No plan exists.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Sizes overflow at the planned extents.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The rewriter failed.
    #[error("the spec cannot be rewritten: {0}")]
    Rewrite(String),
    /// The verifier found an access that it cannot prove in range: a defect of the planner, caught.
    #[error("stage `{stage}` was refused by the verifier: {message}")]
    Verify {
        /// Name of the stage.
        stage: String,
        /// What it found.
        message: String,
    },
    /// A range of sequence lengths that is empty or starts below 1.
    #[error("a range of sequence lengths runs from 1 upwards, but {from}..{to} was given")]
    EmptyRange {
        /// First length.
        from: i64,
        /// Last length.
        to: i64,
    },
    /// A table of neither exact forms nor approximations.
    #[error("a plan table needs exact forms or permitted approximations to choose from")]
    NothingToChoose,
    /// A permitted approximation that does not exist.
    #[error("there is no approximation `{name}`{}", known_list(.known))]
    UnknownApproximation {
        /// What was named.
        name: String,
        /// What exists.
        known: Vec<String>,
    },
    /// A number of an approximation that makes no sense.
    #[error("--allow {name}: the number of {what} is an integer from {least} to {greatest}, but {number} was given")]
    BadStrength {
        /// The approximation.
        name: &'static str,
        /// What its number is.
        what: &'static str,
        /// What was given.
        number: f64,
        /// The least that makes sense.
        least: i64,
        /// The greatest that is taken.
        greatest: i64,
    },
    /// More permissions than combinations of them can be compared.
    #[error("at most {most} approximations can be permitted at once: every combination is a candidate")]
    TooManyApproximations {
        /// How many can.
        most: usize,
    },
    /// A candidate that does not exist.
    #[error("there is no candidate `{name}`{}", known_list(.known))]
    UnknownVariant {
        /// What was named.
        name: String,
        /// What exists.
        known: Vec<String>,
    },
    /// A budget below zero or not a number.
    #[error("an error budget is a number from 0 upwards, but {0} was given")]
    BadBudget(f64),
}

impl CompileError {
    /// Whether this is a defect of attnc rather than of what it was given.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Verify { .. } | Self::Rewrite(_))
    }
}

fn first_of(diagnostics: &[Diagnostic]) -> String {
    match diagnostics {
        [] => "the spec is wrong".to_string(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

fn known_list(known: &[String]) -> String {
    if known.is_empty() { "; there is none yet".to_string() } else { format!("; there are {}", known.join(", ")) }
}
