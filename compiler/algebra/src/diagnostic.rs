//! Diagnostics: what is wrong, where, and what to do about it.
//!
//! Owns the shape of a diagnostic and its rendering; the only file that knows
//! the renderer. What can be wrong is listed in [`crate::problem`].

use codespan_reporting::diagnostic as codespan;
use codespan_reporting::files::SimpleFile;
use codespan_reporting::term;

use crate::problem::Problem;

/// A range of bytes of the source text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes from `start` up to `end`.
    pub fn new(start: usize, end: usize) -> Self {
        let clamp = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end) }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The bytes as a range.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One error in a spec.
#[derive(Clone, PartialEq, Debug)]
pub struct Diagnostic {
    /// Stable code, `unknown-axis`.
    pub code: &'static str,
    /// What is wrong, typed.
    pub problem: Problem,
    /// What is wrong, in words.
    pub message: String,
    /// Places in the text with what they show; the first is where the error is. Empty for errors of settings.
    pub labels: Vec<(Span, String)>,
    /// What the user can do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic without a place.
    pub fn new(problem: Problem) -> Self {
        Self { code: problem.code(), message: problem.to_string(), problem, labels: Vec::new(), help: None }
    }

    /// A diagnostic at `span`.
    pub fn at(span: Span, problem: Problem) -> Self {
        Self::new(problem).label(span, "")
    }

    /// Adds a labelled place.
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push((span, text.into()));
        self
    }

    /// Gives the text of the first label.
    pub fn says(mut self, text: impl Into<String>) -> Self {
        if let Some(first) = self.labels.first_mut() {
            first.1 = text.into();
        }
        self
    }

    /// Adds a help line.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// The place of the error, if it has one.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|(span, _)| *span)
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// Lines longer than this are named, not shown.
const LONGEST_SHOWN_LINE: usize = 400;

/// The diagnostics as text for people: each with its code, the lines it points at and its help.
pub fn render(source_name: &str, source: &str, diagnostics: &[Diagnostic]) -> String {
    render_with(term::termcolor::NoColor::new(Vec::new()), source_name, source, diagnostics, |w| w.into_inner())
}

/// As [`render`], coloured with terminal escapes.
pub fn render_coloured(source_name: &str, source: &str, diagnostics: &[Diagnostic]) -> String {
    render_with(term::termcolor::Ansi::new(Vec::new()), source_name, source, diagnostics, |w| w.into_inner())
}

fn render_with<W: term::WriteStyle>(
    mut writer: W,
    source_name: &str,
    source: &str,
    diagnostics: &[Diagnostic],
    finish: impl FnOnce(W) -> Vec<u8>,
) -> String {
    let file = SimpleFile::new(source_name, source);
    let mut config = term::Config { chars: term::Chars::ascii(), ..term::Config::default() };
    let mut failed = String::new();
    for diagnostic in diagnostics {
        let long = diagnostic.labels.iter().any(|(span, _)| line_around(source, *span) > LONGEST_SHOWN_LINE);
        config.display_style = if long { term::DisplayStyle::Medium } else { term::DisplayStyle::Rich };
        let shown = term::emit_to_write_style(&mut writer, &config, &file, &codespan(source, diagnostic));
        // Only a span outside the text fails, and `codespan` clamps spans.
        if shown.is_err() {
            failed.push_str(&format!("{diagnostic}\n"));
        }
    }
    String::from_utf8_lossy(&finish(writer)).into_owned() + &failed
}

/// Bytes of the line (or lines) that `span` touches.
fn line_around(source: &str, span: Span) -> usize {
    let bytes = source.as_bytes();
    let start = (span.start as usize).min(bytes.len());
    let end = (span.end as usize).clamp(start, bytes.len());
    let before = bytes[..start].iter().rev().take_while(|b| **b != b'\n').count();
    let after = bytes[end..].iter().take_while(|b| **b != b'\n').count();
    before + (end - start) + after
}

fn codespan(source: &str, diagnostic: &Diagnostic) -> codespan::Diagnostic<()> {
    let labels = diagnostic.labels.iter().enumerate().map(|(at, (span, text))| {
        let start = floor_boundary(source, span.start as usize);
        let end = floor_boundary(source, span.end as usize).max(start);
        let style = if at == 0 { codespan::LabelStyle::Primary } else { codespan::LabelStyle::Secondary };
        codespan::Label::new(style, (), start..end).with_message(text)
    });
    codespan::Diagnostic::error()
        .with_code(diagnostic.code)
        .with_message(&diagnostic.message)
        .with_labels(labels.collect())
        .with_notes(diagnostic.help.iter().map(|h| format!("help: {h}")).collect())
}

/// The last character boundary at or before `at`.
fn floor_boundary(source: &str, at: usize) -> usize {
    let at = at.min(source.len());
    (0..=at).rev().find(|b| source.is_char_boundary(*b)).unwrap_or(0)
}
