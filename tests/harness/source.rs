//! Rust source as tidy needs it: code without comments and strings, and where functions begin and end.
//!
//! A scanner, not a parser: it knows comments, strings, characters and braces, which is enough to count lines and to
//! look for words in code only.

/// A function of a source file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
}

/// The source with the contents of comments, strings and character literals blanked; every line stays where it is.
pub fn code(source: &str) -> String {
    let mut scanner = Scanner { rest: source, out: String::with_capacity(source.len()) };
    while scanner.step() {}
    scanner.out
}

struct Scanner<'a> {
    rest: &'a str,
    out: String,
}

impl Scanner<'_> {
    /// Consumes one token; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        if self.rest.starts_with("//") {
            self.blank(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment(self.rest));
        } else if let Some(length) = string(self.rest) {
            self.blank(length);
        } else if first == '\'' {
            self.quote();
        } else if first.is_alphanumeric() || first == '_' {
            let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
            self.keep(end);
        } else {
            self.keep(first.len_utf8());
        }
        true
    }

    /// A character literal, or the tick of a lifetime.
    fn quote(&mut self) {
        let mut chars = self.rest.char_indices().skip(1);
        let closing = match chars.next() {
            Some((_, '\\')) => {
                chars.next();
                chars.find(|(_, c)| *c == '\'').map(|(at, _)| at)
            }
            Some(_) => chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at),
            None => None,
        };
        match closing {
            Some(at) => self.blank(at + 1),
            None => self.keep(1),
        }
    }

    fn keep(&mut self, length: usize) {
        let (kept, rest) = self.rest.split_at(length);
        self.out.push_str(kept);
        self.rest = rest;
    }

    fn blank(&mut self, length: usize) {
        let (blanked, rest) = self.rest.split_at(length);
        self.out.extend(blanked.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }
}

/// The length of the comment that begins `text`; comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string literal that begins `text`, if one does: plain, byte, C or raw.
fn string(text: &str) -> Option<usize> {
    let prefix = text.find(|c: char| !matches!(c, 'b' | 'c' | 'r'))?;
    if prefix > 2 {
        return None;
    }
    let raw = text[..prefix].contains('r');
    let hashes = if raw { text[prefix..].chars().take_while(|c| *c == '#').count() } else { 0 };
    let open = prefix + hashes;
    let body = text[open..].strip_prefix('"')?;
    if raw {
        let close = format!("\"{}", "#".repeat(hashes));
        let end = body.find(&close).map_or(body.len(), |at| at + close.len());
        return Some(open + 1 + end);
    }
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(open + 1 + at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// The functions of a source, in order of their beginning; declarations without a body are left out.
pub fn functions(source: &str) -> Vec<Function> {
    let code = code(source);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_word = code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !starts_word || name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(&code, at) {
            let line = 1 + code[..at].matches('\n').count();
            let lines = 1 + code[at..end].matches('\n').count();
            found.push(Function { name, line, lines });
        }
    }
    found
}

/// Where the body of the function at `at` ends; `None` without a body.
fn body_end(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut nested = 0usize;
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' if depth == 0 => nested += 1,
            ')' | ']' if depth == 0 => nested = nested.saturating_sub(1),
            ';' if depth == 0 && nested == 0 => return None,
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && nested == 0 {
                    return Some(at + offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        let source = "a // unsafe\nb \"un\\\"safe\" 'x' '\\'' /* q /* r */ */ <'a> r#\"dbg\"# c";
        let kept: Vec<String> = code(source).split_whitespace().map(str::to_string).collect();
        assert_eq!(kept, ["a", "b", "<'a>", "c"]);
        assert_eq!(code(source).lines().count(), 2);
    }

    #[test]
    fn a_function_reaches_to_its_closing_brace() {
        let source = "trait T { fn declared(&self) -> [u8; 4]; }\n\nfn long(\n  x: u8,\n) -> u8 {\n  if x > 0 { 1 } else { 0 }\n}\n";
        assert_eq!(functions(source), [Function { name: "long".to_string(), line: 3, lines: 5 }]);
    }
}
