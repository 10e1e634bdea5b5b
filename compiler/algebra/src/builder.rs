//! Specs built from Rust: the same algebra without text.
//!
//! [`Formula`]s are syntax trees with operators; [`SpecBuilder::build`]
//! prints the statements and compiles that text. So a built spec is the very
//! spec its text gives, and diagnostics point into [`SpecBuilder::text`].

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::diagnostic::Diagnostic;
use crate::elaborate::compile_text;
use crate::limits::Limits;
use crate::settings::Settings;
use crate::spec::Spec;
use crate::syntax::ast::{
    Ast, ChainOp, CompareOp, ConcatPart, Constant, Expr, ExprKind, InputStatement, Iterate, Name, Reduction,
    ReductionName, Statement, StatementKind,
};
use crate::syntax::{print_ast, words};

/// An expression of the algebra. Numbers convert into it, and `+ - * /` and unary `-` work on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula(Expr);

fn name(text: &str) -> Name {
    Name { text: text.to_string(), span: Default::default() }
}

fn names(list: &[&str]) -> Vec<Name> {
    list.iter().map(|n| name(n)).collect()
}

impl From<i64> for Formula {
    fn from(value: i64) -> Self {
        match value.checked_abs() {
            Some(size) if value < 0 => -Self::of(ExprKind::Int(size)),
            Some(size) => Self::of(ExprKind::Int(size)),
            None => -Self::of(ExprKind::Int(i64::MAX)) - Self::of(ExprKind::Int(1)),
        }
    }
}

impl From<f64> for Formula {
    fn from(value: f64) -> Self {
        let size = if value.is_nan() {
            // There is no literal for it; this is what it stands for.
            Self::from(0.0) * Self::of(ExprKind::Constant(Constant::Inf))
        } else if value.is_infinite() {
            Self::of(ExprKind::Constant(Constant::Inf))
        } else {
            Self::of(ExprKind::Real(value.abs()))
        };
        if value.is_sign_negative() { -size } else { size }
    }
}

/// An expression in the notation of texts: a name, or anything longer. What does not parse is an error when the spec is
/// built.
impl From<&str> for Formula {
    fn from(value: &str) -> Self {
        let statement = crate::syntax::parse(&format!("x = ({value})"), &Limits::default()).ok();
        match statement.and_then(|mut ast| ast.statements.pop()).map(|s| s.kind) {
            Some(StatementKind::Define { value, .. }) => Self(value),
            _ => Self::of(ExprKind::Name(value.to_string())),
        }
    }
}

impl From<&Formula> for Formula {
    fn from(value: &Formula) -> Self {
        value.clone()
    }
}

impl Formula {
    fn of(kind: ExprKind) -> Self {
        Self(Expr::unplaced(kind))
    }

    /// `self` and `right` joined by `op`: a longer chain where `self` is one of the same level.
    fn chain(self, op: ChainOp, right: Self) -> Self {
        let level = crate::syntax::chain_level(op);
        match self.0.kind {
            ExprKind::Chain(first, mut rest)
                if rest.first().is_some_and(|(o, _)| crate::syntax::chain_level(*o) == level) =>
            {
                rest.push((op, right.0));
                Self::of(ExprKind::Chain(first, rest))
            }
            kind => Self::of(ExprKind::Chain(Box::new(Expr::unplaced(kind)), vec![(op, right.0)])),
        }
    }

    fn compare(self, op: CompareOp, right: impl Into<Self>) -> Self {
        Self::of(ExprKind::Compare(Box::new(self.0), vec![(op, right.into().0)]))
    }

    /// `self == right`
    pub fn equals(self, right: impl Into<Self>) -> Self {
        self.compare(CompareOp::Eq, right)
    }

    /// `self != right`
    pub fn differs(self, right: impl Into<Self>) -> Self {
        self.compare(CompareOp::Ne, right)
    }

    /// `self < right`
    pub fn below(self, right: impl Into<Self>) -> Self {
        self.compare(CompareOp::Lt, right)
    }

    /// `self <= right`
    pub fn at_most(self, right: impl Into<Self>) -> Self {
        self.compare(CompareOp::Le, right)
    }

    /// `self > right`
    pub fn above(self, right: impl Into<Self>) -> Self {
        self.compare(CompareOp::Gt, right)
    }

    /// `self >= right`
    pub fn at_least(self, right: impl Into<Self>) -> Self {
        self.compare(CompareOp::Ge, right)
    }

    /// `self and right`
    pub fn and(self, right: impl Into<Self>) -> Self {
        self.chain(ChainOp::And, right.into())
    }

    /// `self or right`
    pub fn or(self, right: impl Into<Self>) -> Self {
        self.chain(ChainOp::Or, right.into())
    }

    /// `not self`
    pub fn negated(self) -> Self {
        Self::of(ExprKind::Not(Box::new(self.0)))
    }

    /// `self div right`, floor division.
    pub fn floor_div(self, right: impl Into<Self>) -> Self {
        self.chain(ChainOp::FloorDiv, right.into())
    }

    /// `self mod right`, the remainder of floor division.
    pub fn modulo(self, right: impl Into<Self>) -> Self {
        self.chain(ChainOp::Mod, right.into())
    }

    /// `self ^ right`
    pub fn power(self, right: impl Into<Self>) -> Self {
        Self::of(ExprKind::Pow(Box::new(self.0), Box::new(right.into().0)))
    }

    /// `self[index]` of a named tensor. Of any other expression it is an error when the spec is built.
    pub fn at(self, index: impl IntoIterator<Item = Formula>) -> Self {
        let tensor = match self.0.kind {
            ExprKind::Name(tensor) => tensor,
            kind => format!("({})", crate::syntax::print_expr(&Expr::unplaced(kind))),
        };
        Self::of(ExprKind::Index(name(&tensor), index.into_iter().map(|f| f.0).collect()))
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $op:expr) => {
        impl<T: Into<Formula>> $trait<T> for Formula {
            type Output = Formula;
            fn $method(self, right: T) -> Formula {
                self.chain($op, right.into())
            }
        }

        impl<T: Into<Formula>> $trait<T> for &Formula {
            type Output = Formula;
            fn $method(self, right: T) -> Formula {
                self.clone().chain($op, right.into())
            }
        }
    };
}

operator!(Add, add, ChainOp::Add);
operator!(Sub, sub, ChainOp::Sub);
operator!(Mul, mul, ChainOp::Mul);
operator!(Div, div, ChainOp::Div);

impl Neg for Formula {
    type Output = Formula;
    fn neg(self) -> Formula {
        Self::of(ExprKind::Neg(Box::new(self.0)))
    }
}

/// `f(arguments)`: a function of the language or of the spec.
pub fn call(function: &str, arguments: impl IntoIterator<Item = Formula>) -> Formula {
    Formula::of(ExprKind::Call(name(function), arguments.into_iter().map(|f| f.0).collect()))
}

/// `if condition then x else y`
pub fn choose(condition: impl Into<Formula>, x: impl Into<Formula>, y: impl Into<Formula>) -> Formula {
    Formula::of(ExprKind::If(Box::new([condition.into().0, x.into().0, y.into().0])))
}

/// `iterate count (variable = init) { body }`
pub fn iterate(
    count: impl Into<Formula>,
    variable: &str,
    init: impl Into<Formula>,
    body: impl Into<Formula>,
) -> Formula {
    Formula::of(ExprKind::Iterate(Box::new(Iterate {
        count: count.into().0,
        variable: name(variable),
        init: init.into().0,
        body: body.into().0,
    })))
}

/// `concat[axis](tensor[axis], ...)`: tensors, each with its axis to join.
pub fn concat(axis: &str, parts: &[(&str, &str)]) -> Formula {
    let parts = parts.iter().map(|(tensor, axis)| ConcatPart { tensor: name(tensor), axis: name(axis) }).collect();
    Formula::of(ExprKind::Concat(name(axis), parts))
}

fn reduced(op: ReductionName, axes: &[&str], domain: Option<Formula>, body: Option<Formula>) -> Formula {
    let reduction = Reduction { op, axes: names(axes), domain: domain.map(|f| f.0), body: body.map(|f| f.0) };
    Formula::of(ExprKind::Reduce(Box::new(reduction)))
}

/// `op[axes](body)`, for an `op` of the language: `sum`, `softmax`, `logsumexp`, …
///
/// A name that is no reduction is an error when the spec is built.
pub fn reduce(op: &str, axes: &[&str], body: impl Into<Formula>) -> Formula {
    match words::reduction(op) {
        Some(op) => reduced(op, axes, None, Some(body.into())),
        None => Formula::from(op).at([]),
    }
}

/// `op[axes where domain](body)`, as [`reduce`].
pub fn reduce_where(op: &str, axes: &[&str], domain: impl Into<Formula>, body: impl Into<Formula>) -> Formula {
    match words::reduction(op) {
        Some(op) => reduced(op, axes, Some(domain.into()), Some(body.into())),
        None => Formula::from(op).at([]),
    }
}

/// `count[axes where domain]`
pub fn count(axes: &[&str], domain: impl Into<Formula>) -> Formula {
    reduced(ReductionName::Count, axes, Some(domain.into()), None)
}

/// `sum[axis](body)`
pub fn sum(axis: &str, body: impl Into<Formula>) -> Formula {
    reduced(ReductionName::Sum, &[axis], None, Some(body.into()))
}

/// `softmax[axis](body)`
pub fn softmax(axis: &str, body: impl Into<Formula>) -> Formula {
    reduced(ReductionName::Softmax, &[axis], None, Some(body.into()))
}

/// A spec under construction: statements in order, each giving the [`Formula`] of the name it defines.
///
/// ```
/// use attnc_algebra::builder::{SpecBuilder, call, reduce_where, sum};
/// use attnc_algebra::Settings;
///
/// let mut spec = SpecBuilder::new("causal");
/// spec.axis(&["i", "j"], "N");
/// let q = spec.input("q", &["b", "h", "i", "d"]);
/// let k = spec.input("k", &["b", "h", "j", "d"]);
/// let v = spec.input("v", &["b", "h", "j", "e"]);
/// let score = spec.define("score", sum("d", q * k) / call("sqrt", ["D".into()]));
/// let weight = spec.define("weight", reduce_where("softmax", &["j"], "j <= i", score));
/// spec.output("out", &["b", "h", "i", "e"], sum("j", weight * v));
///
/// assert!(spec.text().contains("weight = softmax[j where j <= i](score)"));
/// let built = spec.build(&Settings::default()).unwrap();
/// assert_eq!(built.outputs[0].name, "out");
/// ```
#[derive(Clone, Debug, Default)]
pub struct SpecBuilder {
    ast: Ast,
}

impl SpecBuilder {
    /// A spec called `spec` without statements.
    pub fn new(spec: &str) -> Self {
        let mut out = Self::default();
        out.push(StatementKind::Spec(name(spec)));
        out
    }

    fn push(&mut self, kind: StatementKind) {
        self.ast.statements.push(Statement { kind, span: Default::default() });
    }

    /// `param name = value`
    pub fn param(&mut self, param: &str, value: impl Into<Formula>) -> Formula {
        self.push(StatementKind::Param { name: name(param), value: value.into().0 });
        Formula::from(param)
    }

    /// `axis names = extent`
    pub fn axis(&mut self, axes: &[&str], extent: impl Into<Formula>) {
        self.push(StatementKind::Axis { names: names(axes), extent: extent.into().0 });
    }

    /// `require predicate`
    pub fn require(&mut self, predicate: impl Into<Formula>) {
        self.push(StatementKind::Require(predicate.into().0));
    }

    /// `input name[axes]` of f32.
    pub fn input(&mut self, input: &str, axes: &[&str]) -> Formula {
        self.input_with(input, axes, InputOptions::default())
    }

    /// `input name: type[axes] in low .. high runs length scale deviation`
    pub fn input_with(&mut self, input: &str, axes: &[&str], options: InputOptions) -> Formula {
        self.push(StatementKind::Input(InputStatement {
            name: name(input),
            dtype: options.dtype.map(|d| name(d.name())),
            axes: names(axes).into_iter().map(|axis| (axis, None)).collect(),
            range: options.range.map(|(low, high)| (low.0, high.0)),
            runs: options.runs.map(|r| r.0),
            scale: options.scale.map(|s| Box::new(s.0)),
        }));
        Formula::from(input)
    }

    /// `example symbol = value`
    pub fn example(&mut self, symbol: &str, value: i64) {
        self.push(StatementKind::Example(vec![(name(symbol), Formula::from(value).0)]));
    }

    /// `name = value`
    pub fn define(&mut self, tensor: &str, value: impl Into<Formula>) -> Formula {
        self.push(StatementKind::Define { name: name(tensor), axes: None, value: value.into().0 });
        Formula::from(tensor)
    }

    /// `name[axes] = value`: a tensor whose axes have an order for positional indexing.
    pub fn define_over(&mut self, tensor: &str, axes: &[&str], value: impl Into<Formula>) -> Formula {
        self.push(StatementKind::Define { name: name(tensor), axes: Some(names(axes)), value: value.into().0 });
        Formula::from(tensor)
    }

    /// `name(parameters) = body`; use it by [`call`].
    pub fn function(&mut self, function: &str, parameters: &[&str], body: impl Into<Formula>) {
        let parameters = names(parameters);
        self.push(StatementKind::Function { name: name(function), parameters, body: body.into().0 });
    }

    /// `output name[axes] = value`
    pub fn output(&mut self, output: &str, axes: &[&str], value: impl Into<Formula>) {
        self.push(StatementKind::Output { name: name(output), axes: Some(names(axes)), value: value.into().0 });
    }

    /// The spec as text.
    pub fn text(&self) -> String {
        print_ast(&self.ast)
    }

    /// The checked spec.
    ///
    /// # Errors
    /// Every independent error, with places in [`Self::text`].
    pub fn build(&self, settings: &Settings) -> Result<Spec, Vec<Diagnostic>> {
        compile_text(&self.text(), settings)
    }
}

/// What an `input` line may say beside name and axes.
#[derive(Clone, Debug, Default)]
pub struct InputOptions {
    /// Storage type; f32 if not given.
    pub dtype: Option<crate::spec::DType>,
    /// `in low .. high`
    pub range: Option<(Formula, Formula)>,
    /// `runs length`
    pub runs: Option<Formula>,
    /// `scale deviation`
    pub scale: Option<Formula>,
}
