//! The spec language of attnc: named-axis algebra.
//!
//! Owns what a spec *means*: its text (lexer, parser, printer), its checked
//! form ([`Spec`] over a [`Terms`] arena), diagnostics, and the naive f64
//! reference evaluator that is the definition of meaning. Must not know of
//! e-graphs, plans, machine code or files. Read [`term`] next, then `ops`.
#![forbid(unsafe_code)]

pub mod axis;
pub mod builder;
pub mod diagnostic;
pub mod draw;
mod elaborate;
pub mod limits;
pub mod operands;
pub mod ops;
pub mod positions;
pub mod print;
pub mod problem;
pub mod range;
pub mod reference;
pub mod settings;
pub mod spec;
pub mod syntax;
pub mod tensor;
pub mod term;
pub mod term_set;

pub use axis::{AxisId, AxisSet, InputId, SymbolId};
pub use builder::SpecBuilder;
pub use diagnostic::{Diagnostic, Span, render, render_coloured};
pub use draw::{DrawError, draw_inputs};
pub use elaborate::{compile_text, elaborate};
pub use limits::Limits;
pub use operands::Operands;
pub use ops::{BinaryOp, NaryOp, ReduceOp, UnaryOp};
pub use print::print_term;
pub use problem::Problem;
pub use range::{IndexError, check_indices};
pub use reference::{Reference, ReferenceError};
pub use settings::{SettingValue, Settings};
pub use spec::{Axis, DType, Extents, Input, Output, Require, Spec, Symbol};
pub use syntax::{Ast, parse, print_ast};
pub use tensor::{Data, ShapeError, Tensor};
pub use term::{Carry, Node, Real, TermId, Terms, Type};
pub use term_set::TermSet;
