//! Why a loop program could not be lowered.

use thiserror::Error;

/// A program that code generation does not accept.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum CodegenError {
    /// The target's pointers are not 64 bits wide.
    #[error("only 64-bit targets are supported")]
    PointerWidth,
    /// An operation on lanes that it has no meaning for.
    #[error("no lowering of {operation} on {lane} lanes in program {program}")]
    Lane {
        /// The program's name.
        program: String,
        /// What was to be lowered.
        operation: String,
        /// The lane type met.
        lane: &'static str,
    },
    /// A scalar mentions row or column, or a program is otherwise malformed.
    #[error("program {program}: {what}")]
    Malformed {
        /// The program's name.
        program: String,
        /// What is wrong.
        what: &'static str,
    },
}
