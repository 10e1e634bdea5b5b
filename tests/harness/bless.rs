//! Blessing: rewriting what a test expects with what it got, on request.
//!
//! `BLESS=1` asks for it. Where `CI` is set it is refused: a change of an expectation is reviewed, never made by a
//! machine.

use std::path::Path;

/// What a comparison found.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mismatch {
    /// Expected and found texts differ.
    #[error("{what} differs (BLESS=1 accepts what was found)\n{diff}")]
    Differs {
        /// What was compared.
        what: String,
        /// Both texts, line by line.
        diff: String,
    },
    /// Blessing was asked for where it is refused.
    #[error("BLESS is refused where CI is set")]
    Refused,
    /// The blessed file cannot be written.
    #[error("{path}: {message}")]
    Write {
        /// Which file.
        path: String,
        /// Why.
        message: String,
    },
}

/// Whether expectations are to be rewritten.
///
/// # Errors
/// If both `BLESS` and `CI` are set.
pub fn is_asked() -> Result<bool, Mismatch> {
    let asked = std::env::var_os("BLESS").is_some_and(|v| !v.is_empty() && v != "0");
    if asked && std::env::var_os("CI").is_some() { Err(Mismatch::Refused) } else { Ok(asked) }
}

/// Compares `found` with the file at `path`, or writes it there when blessing.
///
/// # Errors
/// If they differ, or the file cannot be written.
pub fn compare_file(path: &Path, found: &str) -> Result<(), Mismatch> {
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == found {
        return Ok(());
    }
    if !is_asked()? {
        return Err(Mismatch::Differs { what: path.display().to_string(), diff: diff(&expected, found) });
    }
    write(path, found)
}

/// Writes a blessed file.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), Mismatch> {
    std::fs::write(path, text).map_err(|e| Mismatch::Write { path: path.display().to_string(), message: e.to_string() })
}

/// How many lines around a difference are shown.
const CONTEXT: usize = 4;

/// The lines of two texts that differ, with those around them: ` ` in both, `-` only expected, `+` only found.
pub fn diff(expected: &str, found: &str) -> String {
    let all = all_lines(expected, found);
    let lines: Vec<&str> = all.lines().collect();
    let differs = |line: &&str| !line.starts_with(' ');
    let mut out = String::new();
    let mut skipped = false;
    for (at, line) in lines.iter().enumerate() {
        let around = &lines[at.saturating_sub(CONTEXT)..lines.len().min(at + CONTEXT + 1)];
        if around.iter().any(differs) {
            out.push_str(line);
            out.push('\n');
            skipped = false;
        } else if !skipped {
            out.push_str("  ...\n");
            skipped = true;
        }
    }
    out
}

/// All lines of two texts, marked. Lines are matched greedily.
fn all_lines(expected: &str, found: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let mut out = String::new();
    let (mut i, mut j) = (0, 0);
    let mut push = |mark: char, line: &str| {
        out.push(mark);
        out.push_str(line);
        out.push('\n');
    };
    while i < old.len() || j < new.len() {
        let next_old = new.get(j).and_then(|line| old[i..].iter().position(|o| o == line));
        let next_new = old.get(i).and_then(|line| new[j..].iter().position(|n| n == line));
        match (next_old, next_new) {
            (Some(0), _) => {
                push(' ', old[i]);
                i += 1;
                j += 1;
            }
            (Some(skip), other) if other.is_none_or(|s| skip <= s) => {
                old[i..i + skip].iter().for_each(|l| push('-', l));
                i += skip;
            }
            (_, Some(skip)) => {
                new[j..j + skip].iter().for_each(|l| push('+', l));
                j += skip;
            }
            _ => {
                if i < old.len() {
                    push('-', old[i]);
                    i += 1;
                }
                if j < new.len() {
                    push('+', new[j]);
                    j += 1;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn a_diff_shows_what_came_and_went() {
        assert_eq!(diff("a\nb\nc\n", "a\nc\nd\n"), " a\n-b\n c\n+d\n");
        assert_eq!(diff("", "x\n"), "+x\n");
        assert_eq!(diff("x\n", "y\n"), "-x\n+y\n");
        let long: String = (0..20).map(|n| format!("{n}\n")).collect();
        assert_eq!(diff(&long, &format!("{long}end\n")), "  ...\n 16\n 17\n 18\n 19\n+end\n");
    }
}
