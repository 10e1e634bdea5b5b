//! Why a command did not succeed, and the exit status it gives.

use std::path::Path;

use attnc::Error;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What the user gave is wrong; exit 1. The text is complete.
    #[error("{0}")]
    Input(String),
    /// The command line is wrong in a way the grammar cannot say; exit 2.
    #[error("{0}")]
    Usage(String),
    /// Wrong input, with a report for `--json`; exit 1.
    #[error("{message}")]
    Report {
        /// The JSON object.
        stdout: String,
        /// The text for people.
        message: String,
    },
    /// A defect of attnc; exit 3.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Failure {
    /// Wrong input.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    /// A file that cannot be read or written.
    pub fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::Input(format!("{}: {error}", path.display()))
    }

    /// An engine error, with diagnostics rendered against the text.
    pub fn engine(error: Error, file: &str, source: &str) -> Self {
        match error.diagnostics() {
            Some(diagnostics) => Self::Input(attnc_algebra::diagnostic::render(file, source, diagnostics)),
            None if error.is_internal() => Self::Internal(error.to_string()),
            None => Self::Input(format!("{file}: {error}")),
        }
    }

    /// The process's exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Input(_) | Self::Report { .. } => 1,
            Self::Usage(_) => 2,
            Self::Internal(_) => 3,
        }
    }
}
