//! Files of sections: the form of every textual test.
//!
//! A file is a header of `#` lines that says what it shows, then sections. A section begins with a line
//! `--- kind [word]... [key=value]...` and runs to the next one. Owns the form only: what a kind means belongs to
//! the test that reads it. Printing what was parsed gives the same text.

use std::fmt;

/// A parsed file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SectionFile {
    /// The `#` lines before the first section, without `# `.
    pub header: String,
    /// The sections, in order.
    pub sections: Vec<Section>,
}

/// One section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// The first word.
    pub kind: String,
    /// Words after the first that are no settings.
    pub words: Vec<String>,
    /// Words of the form `key=value`, in order.
    pub settings: Vec<(String, String)>,
    /// The lines up to the next section, without trailing empty lines.
    pub body: String,
    /// The line of the file it begins on, from 1.
    pub line: usize,
}

/// Why a text is not a file of sections.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SectionError {
    /// No header sentence.
    #[error("the file begins with a `#` line that says what it shows")]
    NoHeader,
    /// Text that belongs to no section.
    #[error("line {line}: text before the first section")]
    Stray {
        /// Where.
        line: usize,
    },
    /// `---` without a kind.
    #[error("line {line}: a section needs a kind")]
    NoKind {
        /// Where.
        line: usize,
    },
    /// No section at all.
    #[error("the file has no section")]
    Empty,
}

impl SectionFile {
    /// Reads a text.
    ///
    /// # Errors
    /// If it has no header, no section, a section without a kind, or text outside of both.
    pub fn parse(text: &str) -> Result<Self, SectionError> {
        let mut header = Vec::new();
        let mut sections: Vec<Section> = Vec::new();
        for (at, text_line) in text.lines().enumerate() {
            let line = at + 1;
            if let Some(head) = text_line.strip_prefix("---") {
                sections.push(Section::begin(head, line)?);
            } else if let Some(section) = sections.last_mut() {
                section.body.push_str(text_line);
                section.body.push('\n');
            } else if let Some(words) = text_line.strip_prefix('#') {
                header.push(words.trim().to_string());
            } else if !text_line.trim().is_empty() {
                return Err(SectionError::Stray { line });
            }
        }
        for section in &mut sections {
            section.body.truncate(section.body.trim_end().len());
        }
        match (header.is_empty(), sections.is_empty()) {
            (true, _) => Err(SectionError::NoHeader),
            (_, true) => Err(SectionError::Empty),
            _ => Ok(Self { header: header.join("\n"), sections }),
        }
    }

    /// The first section of a kind.
    pub fn section(&self, kind: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.kind == kind)
    }
}

impl Section {
    fn begin(head: &str, line: usize) -> Result<Self, SectionError> {
        let mut words = head.split_whitespace();
        let kind = words.next().ok_or(SectionError::NoKind { line })?.to_string();
        let mut section = Self { kind, words: Vec::new(), settings: Vec::new(), body: String::new(), line };
        for word in words {
            match word.split_once('=') {
                Some((key, value)) => section.settings.push((key.to_string(), value.to_string())),
                None => section.words.push(word.to_string()),
            }
        }
        Ok(section)
    }

    /// The value of a setting.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The lines of the body that hold something.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.body.lines().map(str::trim).filter(|l| !l.is_empty())
    }
}

impl fmt::Display for SectionFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.header.lines() {
            writeln!(f, "{}", format!("# {line}").trim_end())?;
        }
        for section in &self.sections {
            writeln!(f, "{section}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--- {}", self.kind)?;
        for word in &self.words {
            write!(f, " {word}")?;
        }
        for (key, value) in &self.settings {
            write!(f, " {key}={value}")?;
        }
        if self.body.is_empty() { Ok(()) } else { write!(f, "\n{}", self.body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# A band skips\n# empty tiles.\n--- spec\nspec band\n\naxis i, j = N\n--- never plan n=64\nN x N\n";

    #[test]
    fn printing_what_was_parsed_gives_the_same_text() {
        let file = SectionFile::parse(TEXT).expect("a well-formed file");
        assert_eq!(file.header, "A band skips\nempty tiles.");
        assert_eq!(file.sections[1].words, ["plan"]);
        assert_eq!(file.sections[1].setting("n"), Some("64"));
        assert_eq!(file.sections[1].line, 7);
        assert_eq!(file.to_string(), TEXT);
    }

    #[test]
    fn malformed_files_are_refused() {
        assert_eq!(SectionFile::parse("--- spec\n"), Err(SectionError::NoHeader));
        assert_eq!(SectionFile::parse("# x\n"), Err(SectionError::Empty));
        assert_eq!(SectionFile::parse("# x\ny\n"), Err(SectionError::Stray { line: 2 }));
        assert_eq!(SectionFile::parse("# x\n---\n"), Err(SectionError::NoKind { line: 2 }));
    }
}
