//! The syntax tree of a spec: what was written, with spans, before any name is resolved.
//!
//! Equality ignores spans, so that a tree and its printed and reparsed copy
//! compare equal. Parentheses are not kept: the printer writes those that
//! the tree's shape needs. The parser is the next to read.

use crate::diagnostic::Span;

/// A parsed spec.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ast {
    /// The statements in order.
    pub statements: Vec<Statement>,
}

/// A name and where it stands.
#[derive(Clone, Debug)]
pub struct Name {
    /// The characters.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// A statement and where it stands.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// From its first token to its last.
    pub span: Span,
}

impl PartialEq for Statement {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// The forms of statement.
#[derive(Clone, PartialEq, Debug)]
pub enum StatementKind {
    /// `spec name`
    Spec(Name),
    /// `param p = expr`
    Param {
        /// The parameter.
        name: Name,
        /// Its default.
        value: Expr,
    },
    /// `axis i, j = expr`
    Axis {
        /// The axes.
        names: Vec<Name>,
        /// Their common extent.
        extent: Expr,
    },
    /// `input x: type[axes] in lo .. hi runs l`
    Input(InputStatement),
    /// `example N = 512, D = 64`
    Example(Vec<(Name, Expr)>),
    /// `require predicate`
    Require(Expr),
    /// `name = expr` or `name[axes] = expr`
    Define {
        /// The name.
        name: Name,
        /// The order of its axes for positional indexing, if given.
        axes: Option<Vec<Name>>,
        /// What it stands for.
        value: Expr,
    },
    /// `f(x) = expr`
    Function {
        /// The function.
        name: Name,
        /// Its parameters.
        parameters: Vec<Name>,
        /// What a call stands for.
        body: Expr,
    },
    /// `output name[axes] = expr`
    Output {
        /// The output.
        name: Name,
        /// Its axes in storage order; in order of mention if not given.
        axes: Option<Vec<Name>>,
        /// What it holds.
        value: Expr,
    },
    /// A statement with a syntax error, kept so that the names it mentions are not reported as unknown.
    Broken(Vec<String>),
}

/// The parts of an `input` statement.
#[derive(Clone, PartialEq, Debug)]
pub struct InputStatement {
    /// The input.
    pub name: Name,
    /// Storage type, f32 if not given.
    pub dtype: Option<Name>,
    /// Axes in storage order, each with an extent of its own if given.
    pub axes: Vec<(Name, Option<Expr>)>,
    /// `in lo .. hi`
    pub range: Option<(Expr, Expr)>,
    /// `runs l`
    pub runs: Option<Expr>,
    /// `scale s`
    pub scale: Option<Box<Expr>>,
}

/// An expression and where it stands.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// From its first token to its last.
    pub span: Span,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Expr {
    /// An expression without a place, for trees built by programs.
    pub fn unplaced(kind: ExprKind) -> Self {
        Self { kind, span: Span::default() }
    }
}

/// The forms of expression.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// `256`, not negative.
    Int(i64),
    /// `0.5`, finite and not negative.
    Real(f64),
    /// `pi`, `inf`, `true` or `false`.
    Constant(Constant),
    /// A name in value position.
    Name(String),
    /// `-x`
    Neg(Box<Expr>),
    /// `not x`
    Not(Box<Expr>),
    /// Operands joined by operators of one level, `a - b + c`: at least one operator.
    Chain(Box<Expr>, Vec<(ChainOp, Expr)>),
    /// Chained comparisons, `0 <= i - j < w`: at least one.
    Compare(Box<Expr>, Vec<(CompareOp, Expr)>),
    /// `a ^ b`
    Pow(Box<Expr>, Box<Expr>),
    /// `if p then a else b`
    If(Box<[Expr; 3]>),
    /// `f(x, y)`
    Call(Name, Vec<Expr>),
    /// `x[expr, ...]`
    Index(Name, Vec<Expr>),
    /// `sum[j where p](x)`
    Reduce(Box<Reduction>),
    /// `concat[j](a[u], b[w])`
    Concat(Name, Vec<ConcatPart>),
    /// `iterate n (z = init) { body }`
    Iterate(Box<Iterate>),
}

/// A constant with a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Constant {
    /// 3.14159…
    Pi,
    /// Positive infinity.
    Inf,
    /// The predicate that holds.
    True,
    /// The predicate that does not hold.
    False,
}

impl Constant {
    /// All constants.
    pub const ALL: [Self; 4] = [Self::Pi, Self::Inf, Self::True, Self::False];

    /// The name used in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pi => "pi",
            Self::Inf => "inf",
            Self::True => "true",
            Self::False => "false",
        }
    }
}

/// An operator of a chain. A chain holds operators of one level only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChainOp {
    /// `or`
    Or,
    /// `and`
    And,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `div`
    FloorDiv,
    /// `mod`
    Mod,
}

impl ChainOp {
    /// All operators.
    pub const ALL: [Self; 8] =
        [Self::Or, Self::And, Self::Add, Self::Sub, Self::Mul, Self::Div, Self::FloorDiv, Self::Mod];

    /// The name used in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::FloorDiv => "div",
            Self::Mod => "mod",
        }
    }
}

/// A comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl CompareOp {
    /// All comparisons.
    pub const ALL: [Self; 6] = [Self::Eq, Self::Ne, Self::Lt, Self::Le, Self::Gt, Self::Ge];

    /// The name used in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }
}

/// A reduction as written; several of them are shorthands that elaboration expands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReductionName {
    /// Sum.
    Sum,
    /// Product.
    Prod,
    /// Maximum.
    Max,
    /// Minimum.
    Min,
    /// Sum over count; 0 over nothing.
    Mean,
    /// Number of positions of the domain (at which the body holds, if there is one).
    Count,
    /// Disjunction.
    Any,
    /// Conjunction.
    All,
    /// Position of the maximum.
    ArgMax,
    /// Position of the minimum.
    ArgMin,
    /// Weights; keeps the axis.
    Softmax,
    /// log of the sum of exponentials.
    LogSumExp,
    /// Inclusive prefix sum; keeps the axis.
    CumSum,
    /// Position in the stable descending order; keeps the axis.
    Rank,
}

impl ReductionName {
    /// All reductions.
    pub const ALL: [Self; 14] = [
        Self::Sum,
        Self::Prod,
        Self::Max,
        Self::Min,
        Self::Mean,
        Self::Count,
        Self::Any,
        Self::All,
        Self::ArgMax,
        Self::ArgMin,
        Self::Softmax,
        Self::LogSumExp,
        Self::CumSum,
        Self::Rank,
    ];

    /// The name used in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Prod => "prod",
            Self::Max => "max",
            Self::Min => "min",
            Self::Mean => "mean",
            Self::Count => "count",
            Self::Any => "any",
            Self::All => "all",
            Self::ArgMax => "argmax",
            Self::ArgMin => "argmin",
            Self::Softmax => "softmax",
            Self::LogSumExp => "logsumexp",
            Self::CumSum => "cumsum",
            Self::Rank => "rank",
        }
    }
}

/// `op[axes where domain](body)`
#[derive(Clone, PartialEq, Debug)]
pub struct Reduction {
    /// Which reduction.
    pub op: ReductionName,
    /// The axes, at least one.
    pub axes: Vec<Name>,
    /// Where it runs; everywhere if not given.
    pub domain: Option<Expr>,
    /// What it reduces; only `count` does without.
    pub body: Option<Expr>,
}

/// One operand of `concat`: a tensor and its axis that is joined.
#[derive(Clone, PartialEq, Debug)]
pub struct ConcatPart {
    /// The tensor.
    pub tensor: Name,
    /// The axis of it that becomes a section of the joined one.
    pub axis: Name,
}

/// `iterate count (variable = init) { body }`
#[derive(Clone, PartialEq, Debug)]
pub struct Iterate {
    /// How often; a constant.
    pub count: Expr,
    /// The variable.
    pub variable: Name,
    /// Its first value.
    pub init: Expr,
    /// Its next value.
    pub body: Expr,
}
