//! A checked spec: tables of axes, extents, inputs and outputs over one term arena.
//!
//! Made by elaboration of text or by `SpecBuilder`; consumed by the reference
//! evaluator, the rewriter and the planner. Rewriting changes `terms` and the
//! outputs' terms only.

use std::collections::BTreeMap;

use crate::axis::{AxisId, InputId, SymbolId};
use crate::term::{TermId, Terms, Type};

/// Storage type of an input tensor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 64-bit float; makes the whole computation f64.
    F64,
    /// IEEE half.
    F16,
    /// Brain float: f32 with 8 bits of mantissa.
    Bf16,
    /// 8-bit signed integer.
    I8,
    /// 8-bit unsigned integer.
    U8,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
    /// One byte, 0 or 1.
    Bool,
}

impl DType {
    /// The name used in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::Bool => "bool",
        }
    }

    /// The type called `name` in text.
    pub fn from_name(name: &str) -> Option<Self> {
        use DType::*;
        [F32, F64, F16, Bf16, I8, U8, I32, I64, Bool].into_iter().find(|t| t.name() == name)
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// The smallest positive number with all of the type's digits; 0 of integers and truth values. What lies below it
    /// has no relative precision.
    pub fn smallest_normal(self) -> f64 {
        match self {
            Self::F64 => f64::MIN_POSITIVE,
            Self::F32 | Self::Bf16 => f64::from(f32::MIN_POSITIVE),
            Self::F16 => f64::powi(2.0, -14),
            Self::I8 | Self::U8 | Self::I32 | Self::I64 | Self::Bool => 0.0,
        }
    }

    /// The type of an element as a term.
    pub fn ty(self) -> Type {
        match self {
            Self::F32 | Self::F64 | Self::F16 | Self::Bf16 => Type::Real,
            Self::I8 | Self::U8 | Self::I32 | Self::I64 => Type::Int,
            Self::Bool => Type::Bool,
        }
    }
}

/// An extent symbol: an integer bound from shapes at run time or set by option.
#[derive(Clone, Debug, PartialEq)]
pub struct Symbol {
    /// `N`, `D`, …
    pub name: String,
}

/// An axis: a name and an extent.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The user's name; copies made by renaming carry the name of their origin with a prime.
    pub name: String,
    /// Integer term without free axes, over extent symbols.
    pub extent: TermId,
}

/// A declared input tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The user's name.
    pub name: String,
    /// Storage type.
    pub dtype: DType,
    /// Axes in storage order.
    pub axes: Vec<AxisId>,
    /// Declared closed range of the values: terms without free axes.
    pub range: Option<(TermId, TermId)>,
    /// Declared `runs L`: non-decreasing along the last axis, mean run length L.
    pub runs: Option<TermId>,
    /// Declared `scale s`: standard deviation of what is drawn; nothing is checked.
    pub scale: Option<TermId>,
}

/// A declared output tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The user's name.
    pub name: String,
    /// Axes in storage order; the term's free axes are among them.
    pub axes: Vec<AxisId>,
    /// What it holds.
    pub term: TermId,
}

/// A fact about extents that is checked at bind time.
#[derive(Clone, Debug, PartialEq)]
pub struct Require {
    /// Truth value without free axes.
    pub term: TermId,
    /// The text of the predicate, for messages.
    pub text: String,
}

/// A checked spec.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The spec's name.
    pub name: String,
    /// All terms.
    pub terms: Terms,
    /// Extent symbols.
    pub symbols: Vec<Symbol>,
    /// Axes, including copies made by renaming.
    pub axes: Vec<Axis>,
    /// Inputs in order of declaration.
    pub inputs: Vec<Input>,
    /// Outputs in order of declaration.
    pub outputs: Vec<Output>,
    /// Facts to check.
    pub requires: Vec<Require>,
    /// Parameters with their values (terms without free axes), for reports.
    pub params: Vec<(String, TermId)>,
    /// `example` line: default extents.
    pub example: BTreeMap<SymbolId, i64>,
}

/// Values of the extent symbols, by [`SymbolId`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Extents(pub BTreeMap<SymbolId, i64>);

impl Extents {
    /// The value of a symbol, if bound.
    pub fn get(&self, symbol: SymbolId) -> Option<i64> {
        self.0.get(&symbol).copied()
    }
}

impl Spec {
    /// The axis table entry.
    pub fn axis(&self, id: AxisId) -> &Axis {
        &self.axes[id.0 as usize]
    }

    /// The input table entry.
    pub fn input(&self, id: InputId) -> &Input {
        &self.inputs[id.0 as usize]
    }

    /// The symbol called `name`.
    pub fn symbol(&self, name: &str) -> Option<SymbolId> {
        self.symbols.iter().position(|s| s.name == name).map(|at| SymbolId(at as u32))
    }

    /// Value of an integer term without free axes and inputs at the given
    /// extents; `None` if a symbol is unbound, on overflow, or if the term is
    /// not such a term.
    pub fn eval_extent(&self, term: TermId, extents: &Extents) -> Option<i64> {
        self.eval_shared(term, extents, &mut BTreeMap::new())
    }

    /// As [`Self::eval_extent`], each shared sub-term once.
    fn eval_shared(&self, term: TermId, extents: &Extents, done: &mut BTreeMap<TermId, i64>) -> Option<i64> {
        use crate::ops::UnaryOp;
        use crate::term::Node;
        if let Some(value) = done.get(&term) {
            return Some(*value);
        }
        let mut eval = |t: &TermId| self.eval_shared(*t, extents, done);
        let value = match self.terms.node(term) {
            Node::Int(v) => Some(*v),
            Node::Bool(v) => Some(i64::from(*v)),
            Node::Extent(s) => extents.get(*s),
            Node::Unary(UnaryOp::Neg, x) => eval(x)?.checked_neg(),
            Node::Unary(UnaryOp::Abs, x) => eval(x)?.checked_abs(),
            Node::Unary(UnaryOp::Not, x) => Some(i64::from(eval(x)? == 0)),
            Node::Unary(UnaryOp::ToInt | UnaryOp::Floor | UnaryOp::Ceil, x) => eval(x),
            Node::Binary(op, x, y) => op.eval_int(eval(x)?, eval(y)?),
            Node::Nary(op, xs) => {
                let mut values = xs.iter().map(&mut eval);
                let first = values.next()??;
                values.try_fold(first, |acc, v| op.eval_int(acc, v?))
            }
            Node::Select(c, a, b) => {
                let branch = if eval(c)? != 0 { a } else { b };
                eval(branch)
            }
            _ => None,
        }?;
        done.insert(term, value);
        Some(value)
    }
}

/// What is wrong with the extent of an axis, for messages.
pub(crate) fn unusable_extent(axis: &str, extent: Option<i64>) -> String {
    match extent {
        Some(extent) if extent < 1 => format!("axis `{axis}` has extent {extent}; an extent is at least 1"),
        Some(extent) => format!("axis `{axis}` has extent {extent}, which does not fit"),
        None => format!("the extent of axis `{axis}` is unknown or does not fit in 64 bits"),
    }
}
