//! Bounds on the size of a spec.
//!
//! Every bound has a default that no sensible spec reaches and a diagnostic
//! that names it. They exist so that no text can exhaust the stack, the
//! memory or the patience of a compiler: time and space of parsing and
//! elaboration are linear in these numbers.

/// Bounds on the size of a spec; see the fields for their defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of source text. Default 1 MiB.
    pub source_bytes: usize,
    /// Nesting of brackets, prefix operators and branches in one expression. Default 200. Parsing and elaboration
    /// recurse this deep, so a much larger value needs a larger stack.
    pub nesting: usize,
    /// Terms of the elaborated spec. Default 50,000.
    pub terms: usize,
    /// Depth of the elaborated terms: long chains of definitions count. Default 400.
    pub depth: usize,
    /// Elaboration steps; bounds the work of inlined functions. Default 1,000,000.
    pub steps: usize,
    /// Axes, copies made by renaming included. Default 1,000.
    pub axes: usize,
    /// Repetitions of one `iterate`. Default 64.
    pub iterations: i64,
    /// Diagnostics reported in one run. Default 100.
    pub diagnostics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source_bytes: 1 << 20,
            nesting: 200,
            terms: 50_000,
            depth: 400,
            steps: 1_000_000,
            axes: 1_000,
            iterations: 64,
            diagnostics: 100,
        }
    }
}
