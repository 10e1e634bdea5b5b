//! Statements to syntax trees.
//!
//! Each statement is parsed alone, and one with an error becomes
//! [`StatementKind::Broken`], so that the errors of all statements are
//! reported in one run. Expressions are in `expression`.

use super::ast::{Ast, Expr, InputStatement, Name, Statement, StatementKind};
use super::lexer::{self, Placed, Token};
use super::words;
use crate::diagnostic::{Diagnostic, Span};
use crate::limits::Limits;
use crate::problem::Problem;

/// The syntax tree of `source`.
///
/// # Errors
/// Every syntax error, one per statement at most.
pub fn parse(source: &str, limits: &Limits) -> Result<Ast, Vec<Diagnostic>> {
    let (ast, mut diagnostics) = parse_recovering(source, limits);
    cap(&mut diagnostics, limits);
    if diagnostics.is_empty() { Ok(ast) } else { Err(diagnostics) }
}

/// The syntax tree of the sound statements of `source`, and the errors of the others.
pub(crate) fn parse_recovering(source: &str, limits: &Limits) -> (Ast, Vec<Diagnostic>) {
    if source.len() > limits.source_bytes {
        let problem = Problem::SourceTooLarge { bytes: source.len(), limit: limits.source_bytes };
        let help = "split the spec, or raise the limit `source_bytes`";
        return (Ast::default(), vec![Diagnostic::new(problem).help(help)]);
    }
    let mut diagnostics = Vec::new();
    let tokens = lexer::tokens(source, limits.diagnostics, &mut diagnostics);
    let mut ast = Ast::default();
    for statement in lexer::statements(&tokens) {
        let mut parser = Parser { tokens: statement, at: 0, nesting: 0, limits, diagnostics: &mut diagnostics };
        let kind = parser.statement().unwrap_or_else(|Failed| broken(statement));
        let span = statement[0].span.to(statement[statement.len() - 1].span);
        ast.statements.push(Statement { kind, span });
    }
    if tokens.is_empty() {
        let help = "a spec has at least one line `output name[axes] = expression`";
        diagnostics.push(Diagnostic::at(Span::default(), Problem::EmptySpec).help(help));
    }
    (ast, diagnostics)
}

/// Keeps the first errors, in order of their place, and says so where some were dropped.
pub(crate) fn cap(diagnostics: &mut Vec<Diagnostic>, limits: &Limits) {
    diagnostics.sort_by_key(Diagnostic::span);
    if diagnostics.len() > limits.diagnostics {
        diagnostics.truncate(limits.diagnostics);
        diagnostics.push(Diagnostic::new(Problem::TooManyErrors { limit: limits.diagnostics }));
    }
}

/// The names a broken statement may define or declare.
fn broken(tokens: &[Placed]) -> StatementKind {
    let name = |p: &Placed| match p.token {
        Token::Word(word) if !words::is_reserved(word) => Some(word.to_string()),
        _ => None,
    };
    // A bound, so that a broken statement as long as the text costs no more than its head.
    StatementKind::Broken(tokens.iter().take(1000).filter_map(name).collect())
}

/// The statement has an error, which has been reported.
pub(super) struct Failed;

pub(super) type Parsed<T> = Result<T, Failed>;

/// A cursor over the tokens of one statement.
pub(super) struct Parser<'t, 's, 'd> {
    tokens: &'t [Placed<'s>],
    at: usize,
    pub(super) nesting: usize,
    pub(super) limits: &'d Limits,
    diagnostics: &'d mut Vec<Diagnostic>,
}

/// Moving over tokens.
impl<'s> Parser<'_, 's, '_> {
    /// The next token, if any.
    pub(super) fn peek(&self) -> Option<Token<'s>> {
        self.peek_at(0)
    }

    /// The token `ahead` of the next, if any.
    pub(super) fn peek_at(&self, ahead: usize) -> Option<Token<'s>> {
        self.tokens.get(self.at + ahead).map(|p| p.token)
    }

    /// The token before the next, if any.
    fn last(&self) -> Option<Token<'s>> {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map(|p| p.token)
    }

    /// Where the next token stands; the end of the statement after the last.
    pub(super) fn span(&self) -> Span {
        match self.tokens.get(self.at) {
            Some(placed) => placed.span,
            None => self.last_span().map_or(Span::default(), |s| Span { start: s.end, end: s.end }),
        }
    }

    fn last_span(&self) -> Option<Span> {
        self.tokens.last().map(|p| p.span)
    }

    /// From `start` to the last token taken.
    pub(super) fn since(&self, start: Span) -> Span {
        match self.at.checked_sub(1).and_then(|at| self.tokens.get(at)) {
            Some(last) => start.to(last.span),
            None => start,
        }
    }

    /// Takes the next token.
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// Takes the next token if it is `symbol`.
    pub(super) fn eat(&mut self, symbol: &'static str) -> bool {
        let found = self.peek() == Some(Token::Symbol(symbol));
        self.at += usize::from(found);
        found
    }

    /// Takes the next token if it is the word `word`.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(w)) if w == word);
        self.at += usize::from(found);
        found
    }

    /// Takes `symbol` or fails.
    pub(super) fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.eat(symbol) { Ok(()) } else { self.unexpected(&format!("`{symbol}`")) }
    }

    /// Takes the bracket that closes the one at `opened`, or fails. `or` says what else could stand here.
    pub(super) fn close(&mut self, opened: Span, open: &'static str, close: &'static str, or: &str) -> Parsed<()> {
        if self.eat(close) {
            return Ok(());
        }
        if self.peek().is_none() {
            let diagnostic = Diagnostic::at(opened, Problem::UnclosedBracket { bracket: open }).says("opened here");
            return self.fail(diagnostic.help(format!("close it with `{close}`")));
        }
        self.unexpected(&if or.is_empty() { format!("`{close}`") } else { format!("{or} or `{close}`") })
    }

    /// Takes the word `word` or fails.
    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.eat_word(word) { Ok(()) } else { self.unexpected(&format!("`{word}`")) }
    }

    /// Reports a diagnostic and fails.
    pub(super) fn fail<T>(&mut self, diagnostic: Diagnostic) -> Parsed<T> {
        if self.diagnostics.len() <= self.limits.diagnostics {
            self.diagnostics.push(diagnostic);
        }
        Err(Failed)
    }

    /// Reports that something else was expected here, and fails.
    pub(super) fn unexpected<T>(&mut self, expected: &str) -> Parsed<T> {
        let found = match self.peek() {
            Some(Token::Bad) => return Err(Failed),
            None => "the end of the statement".to_string(),
            Some(Token::Word(word)) => format!("`{}`", word.chars().take(40).collect::<String>()),
            Some(Token::Symbol(symbol)) => format!("`{symbol}`"),
            Some(Token::Int(_) | Token::Real(_)) => "a number".to_string(),
        };
        let at_end = self.peek().is_none();
        let problem = Problem::UnexpectedToken { found, expected: expected.to_string() };
        let mut diagnostic = Diagnostic::at(self.span(), problem).says(format!("expected {expected}"));
        if at_end && self.tokens.last().is_some_and(|p| is_operator(p.token)) {
            diagnostic = diagnostic.help("to go on in the next line, start that line with the operator");
        } else if self.peek() == Some(Token::Symbol("*")) && self.last() == Some(Token::Symbol("*")) {
            diagnostic = diagnostic.help("a power is written `x ^ y`");
        } else if self.peek() == Some(Token::Word("where")) {
            diagnostic = diagnostic.help(words::CHOICE);
        }
        self.fail(diagnostic)
    }

    /// Takes a name that is not a word of the language.
    pub(super) fn name(&mut self, what: &str) -> Parsed<Name> {
        let span = self.span();
        match self.peek() {
            Some(Token::Word(word)) if words::is_reserved(word) => {
                let problem = Problem::ReservedName { name: word.to_string() };
                self.fail(Diagnostic::at(span, problem).says(format!("expected {what}")).help("choose another name"))
            }
            Some(Token::Word(word)) => {
                self.bump();
                Ok(Name { text: word.to_string(), span })
            }
            _ => self.unexpected(what),
        }
    }

    /// Takes one or more items separated by commas.
    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut out = vec![item(self)?];
        while self.eat(",") {
            out.push(item(self)?);
        }
        Ok(out)
    }
}

fn is_operator(token: Token) -> bool {
    match token {
        Token::Symbol(symbol) => words::OPERATORS.contains(&symbol),
        Token::Word(word) => words::JOINTS.contains(&word),
        _ => false,
    }
}

/// The statements.
impl Parser<'_, '_, '_> {
    fn statement(&mut self) -> Parsed<StatementKind> {
        let kind = match self.peek() {
            Some(Token::Word(word)) if words::STATEMENTS.contains(&word) => {
                self.bump();
                self.keyword_statement(word)?
            }
            Some(Token::Word(_)) => self.definition()?,
            _ => return self.unexpected("a statement"),
        };
        if self.peek().is_some() {
            return self.unexpected("an operator or a new line");
        }
        Ok(kind)
    }

    fn keyword_statement(&mut self, word: &str) -> Parsed<StatementKind> {
        Ok(match word {
            "spec" => StatementKind::Spec(self.spec_name()?),
            "param" => {
                let name = self.name("the name of a parameter")?;
                self.expect("=")?;
                StatementKind::Param { name, value: self.expression()? }
            }
            "axis" => {
                let names = self.list(|p| p.name("the name of an axis"))?;
                self.expect("=")?;
                StatementKind::Axis { names, extent: self.expression()? }
            }
            "require" => StatementKind::Require(self.expression()?),
            "input" => StatementKind::Input(self.input()?),
            "example" => StatementKind::Example(self.list(|p| {
                let name = p.name("an extent")?;
                p.expect("=")?;
                Ok((name, p.expression()?))
            })?),
            _ => {
                let name = self.name("the name of an output")?;
                let axes = self.axis_list()?;
                self.expect("=")?;
                StatementKind::Output { name, axes, value: self.expression()? }
            }
        })
    }

    /// The name of a spec may be any word.
    fn spec_name(&mut self) -> Parsed<Name> {
        let span = self.span();
        let Some(Token::Word(word)) = self.peek() else { return self.unexpected("the name of the spec") };
        self.bump();
        Ok(Name { text: word.to_string(), span })
    }

    /// `[i, j]`, `[]` or nothing.
    fn axis_list(&mut self) -> Parsed<Option<Vec<Name>>> {
        let opened = self.span();
        if !self.eat("[") {
            return Ok(None);
        }
        if self.eat("]") {
            return Ok(Some(Vec::new()));
        }
        let axes = self.list(|p| p.name("an axis"))?;
        self.close(opened, "[", "]", "`,`")?;
        Ok(Some(axes))
    }

    fn input(&mut self) -> Parsed<InputStatement> {
        let name = self.name("the name of an input")?;
        let dtype = if self.eat(":") { Some(self.name("a type")?) } else { None };
        let opened = self.span();
        let mut axes = Vec::new();
        if self.eat("[") && !self.eat("]") {
            axes = self.list(|p| {
                let axis = p.name("an axis")?;
                let extent = if p.eat("=") { Some(p.expression()?) } else { None };
                Ok((axis, extent))
            })?;
            self.close(opened, "[", "]", "`,`")?;
        }
        let mut input = InputStatement { name, dtype, axes, range: None, runs: None, scale: None };
        loop {
            if input.range.is_none() && self.eat_word("in") {
                let low = self.expression()?;
                self.expect("..")?;
                input.range = Some((low, self.expression()?));
            } else if input.runs.is_none() && self.eat_word("runs") {
                input.runs = Some(self.expression()?);
            } else if input.scale.is_none() && self.eat_word("scale") {
                input.scale = Some(Box::new(self.expression()?));
            } else {
                return Ok(input);
            }
        }
    }

    /// `name = expr`, `name[axes] = expr` or `f(x) = expr`.
    fn definition(&mut self) -> Parsed<StatementKind> {
        let name = self.name("a statement")?;
        let opened = self.span();
        if self.eat("(") {
            let parameters = self.list(|p| p.name("a parameter"))?;
            self.close(opened, "(", ")", "`,`")?;
            self.expect("=")?;
            return Ok(StatementKind::Function { name, parameters, body: self.expression()? });
        }
        let axes = self.axis_list()?;
        if !self.eat("=") {
            let wanted = if axes.is_none() { "`=`, `(` or `[`" } else { "`=`" };
            return self.unexpected(wanted);
        }
        Ok(StatementKind::Define { name, axes, value: self.expression()? })
    }

    /// An expression of any level.
    fn expression(&mut self) -> Parsed<Expr> {
        self.operand(super::expression::LOWEST)
    }
}
