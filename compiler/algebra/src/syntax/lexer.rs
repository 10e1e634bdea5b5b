//! Text to tokens, and tokens to statements.
//!
//! A statement ends at a newline unless brackets are open or the next line
//! starts with an operator. A line that starts with a word that begins a
//! statement (`input`, `output`, …) always begins one, so that a bracket
//! left open spoils one statement only.

use super::words;
use crate::diagnostic::{Diagnostic, Span};
use crate::problem::Problem;

/// A token.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Token<'s> {
    /// A name or word.
    Word(&'s str),
    /// An integer literal.
    Int(i64),
    /// A real literal.
    Real(f64),
    /// A bracket, separator or operator.
    Symbol(&'static str),
    /// A token that was reported already.
    Bad,
}

/// A token, where it stands, and whether it is the first of its line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'s> {
    pub(crate) token: Token<'s>,
    pub(crate) span: Span,
    pub(crate) starts_line: bool,
}

/// Symbols, longer ones first.
const SYMBOLS: [&str; 21] =
    ["==", "!=", "<=", ">=", "..", "(", ")", "[", "]", "{", "}", ",", "=", "<", ">", "+", "-", "*", "/", "^", ":"];

/// What the language has for characters that other notations use.
fn instead_of(character: char) -> Option<&'static str> {
    Some(match character {
        '&' => "conjunction is written `and`",
        '|' => "disjunction is written `or`; the absolute value is `abs(x)`",
        '!' | '~' | '¬' => "negation is written `not`, inequality `!=`",
        '%' => "the remainder is written `mod`",
        '≤' => "write `<=`",
        '≥' => "write `>=`",
        '≠' => "write `!=`",
        '×' | '·' | '⋅' | '@' => "a product is written `*`, and a contraction `sum[d](q * k)`",
        '−' | '–' => "write `-`",
        '÷' => "write `/`, or `div` for integers",
        '√' => "write `sqrt(x)`",
        'Σ' | '∑' => "write `sum[j](...)`",
        '?' => "a choice is written `if condition then x else y`",
        ';' => "a statement ends with its line",
        '.' => "a number has a digit before its point, and a range is written `0 .. 1`",
        _ => return None,
    })
}

/// All tokens of `source`; what is no token becomes [`Token::Bad`] and is reported, up to one more than `most` times.
pub(crate) fn tokens<'s>(source: &'s str, most: usize, diagnostics: &mut Vec<Diagnostic>) -> Vec<Placed<'s>> {
    let mut lexer = Lexer { source, at: 0, starts_line: true, out: Vec::new(), most, diagnostics };
    lexer.run();
    lexer.out
}

struct Lexer<'s, 'd> {
    source: &'s str,
    at: usize,
    starts_line: bool,
    out: Vec<Placed<'s>>,
    most: usize,
    diagnostics: &'d mut Vec<Diagnostic>,
}

fn starts_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn continues_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl<'s> Lexer<'s, '_> {
    fn run(&mut self) {
        while let Some(c) = self.rest().chars().next() {
            match c {
                '\n' => {
                    self.at += 1;
                    self.starts_line = true;
                }
                // A byte order mark is blank wherever it stands.
                '\u{feff}' => self.at += c.len_utf8(),
                c if c.is_whitespace() => self.at += c.len_utf8(),
                '#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                c if starts_word(c) => self.word(),
                c if c.is_ascii_digit() => self.number(),
                _ => self.symbol(c),
            }
        }
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    /// Emits the next `length` bytes as `token`.
    fn emit(&mut self, token: Token<'s>, length: usize) {
        let span = Span::new(self.at, self.at + length);
        self.out.push(Placed { token, span, starts_line: self.starts_line });
        self.starts_line = false;
        self.at += length;
    }

    /// Emits the next `length` bytes as a bad token and reports `problem` there.
    fn bad(&mut self, length: usize, problem: Problem) {
        let mut diagnostic = Diagnostic::at(Span::new(self.at, self.at + length), problem);
        if let Problem::UnexpectedCharacter { character } = diagnostic.problem {
            diagnostic.help = instead_of(character).map(str::to_string);
        }
        if self.diagnostics.len() <= self.most {
            self.diagnostics.push(diagnostic);
        }
        self.emit(Token::Bad, length);
    }

    fn word(&mut self) {
        let rest = self.rest();
        let names_spec =
            matches!(self.out.last(), Some(p) if p.token == Token::Word("spec") && p.starts_line) && !self.starts_line;
        // The name of a spec may hold hyphens and dots: `spec neighborhood-2d`.
        let continues = |c: char| continues_word(c) || (names_spec && (c == '-' || c == '.'));
        let length = rest.find(|c| !continues(c)).unwrap_or(rest.len());
        self.emit(Token::Word(&rest[..length]), length);
    }

    fn number(&mut self) {
        let rest = self.rest();
        let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
        let mut length = digits(0);
        let mut real = false;
        if rest[length..].starts_with('.') && digits(length + 1) > 0 {
            length += 1 + digits(length + 1);
            real = true;
        }
        if rest[length..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[length + 1..].starts_with(['+', '-']));
            let exponent = digits(length + 1 + sign);
            if exponent > 0 {
                length += 1 + sign + exponent;
                real = true;
            }
        }
        let tail = rest[length..].find(|c| !continues_word(c)).unwrap_or(rest.len() - length);
        if tail > 0 {
            let text = shortened(&rest[..length + tail]);
            return self.bad(length + tail, Problem::MalformedNumber { text });
        }
        let text = &rest[..length];
        let token = if real {
            text.parse().ok().filter(|v: &f64| v.is_finite()).map(Token::Real)
        } else {
            text.parse().ok().map(Token::Int)
        };
        match token {
            Some(token) => self.emit(token, length),
            None => self.bad(length, Problem::NumberOutOfRange { text: shortened(text) }),
        }
    }

    fn symbol(&mut self, c: char) {
        match SYMBOLS.into_iter().find(|s| self.rest().starts_with(s)) {
            Some(symbol) => self.emit(Token::Symbol(symbol), symbol.len()),
            None => {
                // One report for a run of the same stray character.
                let length = self.rest().chars().take_while(|d| *d == c).map(char::len_utf8).sum();
                self.bad(length, Problem::UnexpectedCharacter { character: c });
            }
        }
    }
}

/// `text`, cut to a length fit for a message.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_string() } else { text.chars().take(40).chain(['…']).collect() }
}

/// Splits tokens into statements.
pub(crate) fn statements<'t, 's>(tokens: &'t [Placed<'s>]) -> Vec<&'t [Placed<'s>]> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut open = 0usize;
    for (at, placed) in tokens.iter().enumerate() {
        if placed.starts_line && at > start && begins_statement(placed.token, open) {
            out.push(&tokens[start..at]);
            start = at;
            open = 0;
        }
        match placed.token {
            Token::Symbol("(" | "[" | "{") => open += 1,
            Token::Symbol(")" | "]" | "}") => open = open.saturating_sub(1),
            _ => {}
        }
    }
    if start < tokens.len() {
        out.push(&tokens[start..]);
    }
    out
}

/// Whether the first token of a line begins a statement, where `open` brackets are open.
fn begins_statement(token: Token, open: usize) -> bool {
    match token {
        Token::Word(word) if words::STATEMENTS.contains(&word) => true,
        Token::Word(word) => open == 0 && !words::JOINTS.contains(&word),
        Token::Symbol(symbol) => open == 0 && !words::OPERATORS.contains(&symbol),
        _ => open == 0,
    }
}
