//! Errors of planning.

use thiserror::Error;

/// Why a spec has no plan.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PlanError {
    /// The hint lacks an extent.
    #[error("no extent is known for {symbol}; set it or give an input that has it")]
    UnboundHint {
        /// Name of the extent symbol.
        symbol: String,
    },
    /// The planner met a term it has no lowering for.
    #[error("no stage computes this form yet: {what}")]
    Unsupported {
        /// The form, in the algebra's words.
        what: String,
    },
}
