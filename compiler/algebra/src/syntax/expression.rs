//! Expressions: a Pratt parser over the levels of DESIGN's grammar.
//!
//! Operators of one level make one [`ExprKind::Chain`], so that long sums do
//! not nest; everything that does nest counts against `Limits::nesting`.

use super::ast::{ChainOp, CompareOp, ConcatPart, Expr, ExprKind, Iterate, Name, Reduction, ReductionName};
use super::lexer::Token;
use super::parser::{Parsed, Parser};
use super::words;
use crate::diagnostic::{Diagnostic, Span};
use crate::problem::Problem;

/// How tightly an operator binds, low to high.
pub(crate) type Level = u8;

/// Any operator.
pub(super) const LOWEST: Level = OR;
pub(super) const OR: Level = 1;
pub(super) const AND: Level = 2;
pub(super) const NOT: Level = 3;
pub(super) const COMPARE: Level = 4;
pub(super) const ADD: Level = 5;
pub(super) const MUL: Level = 6;
pub(super) const NEG: Level = 7;
pub(super) const POW: Level = 8;
/// Names, literals, calls and whatever stands in brackets.
pub(super) const ATOM: Level = 9;

/// The level of a chain's operator.
pub(crate) fn chain_level(op: ChainOp) -> Level {
    match op {
        ChainOp::Or => OR,
        ChainOp::And => AND,
        ChainOp::Add | ChainOp::Sub => ADD,
        ChainOp::Mul | ChainOp::Div | ChainOp::FloorDiv | ChainOp::Mod => MUL,
    }
}

/// An operator between two operands.
enum Infix {
    Chain(ChainOp),
    Compare(CompareOp),
    Pow,
}

impl Infix {
    fn of(token: Token) -> Option<Self> {
        let name = match token {
            Token::Symbol(symbol) => symbol,
            Token::Word(word) => word,
            _ => return None,
        };
        let chain = ChainOp::ALL.into_iter().find(|op| op.name() == name).map(Self::Chain);
        let compare = || CompareOp::ALL.into_iter().find(|op| op.name() == name).map(Self::Compare);
        chain.or_else(compare).or((name == "^").then_some(Self::Pow))
    }

    fn level(&self) -> Level {
        match self {
            Self::Chain(op) => chain_level(*op),
            Self::Compare(_) => COMPARE,
            Self::Pow => POW,
        }
    }
}

impl Parser<'_, '_, '_> {
    /// An expression whose operators bind at least as tightly as `lowest`.
    pub(super) fn operand(&mut self, lowest: Level) -> Parsed<Expr> {
        self.nesting += 1;
        if self.nesting > self.limits.nesting {
            let limit = self.limits.nesting;
            let diagnostic = Diagnostic::at(self.span(), Problem::NestingTooDeep { limit });
            return self.fail(diagnostic.says("here").help("name the inner parts: `name = expression`"));
        }
        let start = self.span();
        let mut left = self.prefix()?;
        while let Some(infix) = self.peek().and_then(Infix::of) {
            let level = infix.level();
            if level < lowest {
                break;
            }
            left = match infix {
                Infix::Pow => {
                    self.bump();
                    let exponent = self.operand(NEG)?;
                    self.made(start, ExprKind::Pow(Box::new(left), Box::new(exponent)))
                }
                Infix::Chain(_) => self.chain(start, left, level)?,
                Infix::Compare(_) => self.comparisons(start, left)?,
            };
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn made(&self, start: Span, kind: ExprKind) -> Expr {
        Expr { kind, span: self.since(start) }
    }

    /// `first` and all further operands joined by operators of `level`.
    fn chain(&mut self, start: Span, first: Expr, level: Level) -> Parsed<Expr> {
        let mut rest = Vec::new();
        while let Some(Infix::Chain(op)) = self.peek().and_then(Infix::of) {
            if chain_level(op) != level {
                break;
            }
            self.bump();
            rest.push((op, self.operand(level + 1)?));
        }
        Ok(self.made(start, ExprKind::Chain(Box::new(first), rest)))
    }

    fn comparisons(&mut self, start: Span, first: Expr) -> Parsed<Expr> {
        let mut rest = Vec::new();
        while let Some(Infix::Compare(op)) = self.peek().and_then(Infix::of) {
            self.bump();
            rest.push((op, self.operand(COMPARE + 1)?));
        }
        Ok(self.made(start, ExprKind::Compare(Box::new(first), rest)))
    }

    /// A prefix operator with its operand, or an atom.
    fn prefix(&mut self) -> Parsed<Expr> {
        let start = self.span();
        match self.peek() {
            Some(Token::Symbol("-")) => {
                self.bump();
                let operand = self.operand(NEG)?;
                Ok(self.made(start, ExprKind::Neg(Box::new(operand))))
            }
            Some(Token::Word("not")) => {
                self.bump();
                let operand = self.operand(NOT)?;
                Ok(self.made(start, ExprKind::Not(Box::new(operand))))
            }
            _ => self.atom(),
        }
    }

    fn atom(&mut self) -> Parsed<Expr> {
        let start = self.span();
        let kind = match self.peek() {
            Some(Token::Int(value)) => {
                self.bump();
                ExprKind::Int(value)
            }
            Some(Token::Real(value)) => {
                self.bump();
                ExprKind::Real(value)
            }
            Some(Token::Symbol("(")) => {
                self.bump();
                let inner = self.operand(LOWEST)?;
                self.close(start, "(", ")", "an operator")?;
                return Ok(Expr { kind: inner.kind, span: self.since(start) });
            }
            Some(Token::Word(word)) => self.word(word)?,
            _ => return self.unexpected("an expression"),
        };
        Ok(self.made(start, kind))
    }

    /// An atom that begins with a word.
    fn word(&mut self, word: &str) -> Parsed<ExprKind> {
        let next = self.peek_at(1);
        if let Some(op) = words::reduction(word) {
            return match (op, next) {
                (ReductionName::Min | ReductionName::Max, Some(Token::Symbol("("))) => self.call(word),
                _ => self.reduction(op),
            };
        }
        if let Some(constant) = words::constant(word) {
            self.bump();
            return Ok(ExprKind::Constant(constant));
        }
        match word {
            "if" => self.branches(),
            "iterate" => self.iterate(),
            "concat" => self.concat(),
            _ if words::FUNCTIONS.contains(&word) => self.call(word),
            _ if words::is_reserved(word) => self.unexpected("an expression"),
            _ => match next {
                Some(Token::Symbol("(")) => self.call(word),
                Some(Token::Symbol("[")) => self.index(),
                _ => Ok(ExprKind::Name(self.name("an expression")?.text)),
            },
        }
    }

    /// `f(x, y)`
    fn call(&mut self, word: &str) -> Parsed<ExprKind> {
        let function = Name { text: word.to_string(), span: self.span() };
        self.bump();
        let opened = self.span();
        self.expect("(")?;
        let arguments = self.list(|p| p.operand(LOWEST))?;
        self.close(opened, "(", ")", "`,`")?;
        Ok(ExprKind::Call(function, arguments))
    }

    /// `x[expr, ...]`
    fn index(&mut self) -> Parsed<ExprKind> {
        let tensor = self.name("a tensor")?;
        let opened = self.span();
        self.expect("[")?;
        let index = self.list(|p| p.operand(LOWEST))?;
        if matches!(self.peek(), Some(Token::Word("where"))) || self.peek_pair() == ("]", "(") {
            return self.unknown_reduction(tensor);
        }
        self.close(opened, "[", "]", "`,`")?;
        Ok(ExprKind::Index(tensor, index))
    }

    /// The next two tokens, if they are symbols.
    fn peek_pair(&self) -> (&'static str, &'static str) {
        match (self.peek(), self.peek_at(1)) {
            (Some(Token::Symbol(first)), Some(Token::Symbol(second))) => (first, second),
            _ => ("", ""),
        }
    }

    /// A tensor with an index, followed by what only a reduction has.
    fn unknown_reduction<T>(&mut self, name: Name) -> Parsed<T> {
        let known = ReductionName::ALL.map(ReductionName::name);
        let help = match words::closest(&name.text, known.into_iter()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("the reductions are {}", known.join(", ")),
        };
        let diagnostic = Diagnostic::at(name.span, Problem::UnknownReduction { name: name.text });
        self.fail(diagnostic.says("not a reduction").help(help))
    }

    /// `op[axes where domain](body)`
    fn reduction(&mut self, op: ReductionName) -> Parsed<ExprKind> {
        self.bump();
        let opened = self.span();
        if !self.eat("[") {
            return self.unexpected(&format!("the axes to reduce, as in `{}[j](...)`", op.name()));
        }
        let axes = self.list(|p| p.name("an axis"))?;
        let domain = if self.eat_word("where") { Some(self.operand(LOWEST)?) } else { None };
        let or = if domain.is_some() { "an operator" } else { "`,`, `where`" };
        self.close(opened, "[", "]", or)?;
        let opened = self.span();
        let mut body = None;
        if op != ReductionName::Count || self.peek() == Some(Token::Symbol("(")) {
            self.expect("(")?;
            body = Some(self.operand(LOWEST)?);
            self.close(opened, "(", ")", "an operator")?;
        }
        Ok(ExprKind::Reduce(Box::new(Reduction { op, axes, domain, body })))
    }

    /// `if p then a else b`
    fn branches(&mut self) -> Parsed<ExprKind> {
        self.bump();
        let condition = self.operand(LOWEST)?;
        self.expect_word("then")?;
        let then = self.operand(LOWEST)?;
        self.expect_word("else")?;
        let otherwise = self.operand(LOWEST)?;
        Ok(ExprKind::If(Box::new([condition, then, otherwise])))
    }

    /// `concat[j](a[u], b[w])`
    fn concat(&mut self) -> Parsed<ExprKind> {
        self.bump();
        let opened = self.span();
        self.expect("[")?;
        let axis = self.name("the joined axis")?;
        self.close(opened, "[", "]", "")?;
        let opened = self.span();
        self.expect("(")?;
        let parts = self.list(|p| {
            let tensor = p.name("a tensor with the axis to join: `a[u]`")?;
            let opened = p.span();
            p.expect("[")?;
            let axis = p.name("the axis to join")?;
            p.close(opened, "[", "]", "")?;
            Ok(ConcatPart { tensor, axis })
        })?;
        self.close(opened, "(", ")", "`,`")?;
        Ok(ExprKind::Concat(axis, parts))
    }

    /// `iterate n (z = init) { body }`; a trailing `in z` may repeat the variable.
    fn iterate(&mut self) -> Parsed<ExprKind> {
        self.bump();
        let start = self.span();
        let count = match self.peek() {
            // A name here is not a call, though a bracket follows it.
            Some(Token::Word(word)) if !words::is_reserved(word) => {
                self.bump();
                Expr { kind: ExprKind::Name(word.to_string()), span: start }
            }
            _ => self.operand(ATOM)?,
        };
        let opened = self.span();
        self.expect("(")?;
        let variable = self.name("the name of the repeated value")?;
        self.expect("=")?;
        let init = self.operand(LOWEST)?;
        self.close(opened, "(", ")", "an operator")?;
        let opened = self.span();
        self.expect("{")?;
        let body = self.operand(LOWEST)?;
        if self.eat_word("in") {
            let again = self.name("the name of the repeated value")?;
            if again != variable {
                let found = format!("`{}`", again.text);
                let problem = Problem::UnexpectedToken { found, expected: format!("`{}`", variable.text) };
                return self.fail(Diagnostic::at(again.span, problem));
            }
        }
        self.close(opened, "{", "}", "an operator")?;
        Ok(ExprKind::Iterate(Box::new(Iterate { count, variable, init, body })))
    }
}
