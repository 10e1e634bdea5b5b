//! The spec language of attnc: named-axis algebra.
//!
//! Owns what a spec *means*: its text (lexer, parser, printer), its checked
//! form ([`Spec`] over a [`Terms`] arena), diagnostics, and the naive f64
//! reference evaluator that is the definition of meaning. Must not know of
//! e-graphs, plans, machine code or files. Read [`term`] next, then `ops`.
#![forbid(unsafe_code)]

pub mod axis;
pub mod ops;
pub mod spec;
pub mod term;

pub use axis::{AxisId, AxisSet, InputId, SymbolId};
pub use ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
pub use spec::{Axis, DType, Extents, Input, Output, Require, Spec, Symbol};
pub use term::{Node, Real, TermId, Terms, Type};
