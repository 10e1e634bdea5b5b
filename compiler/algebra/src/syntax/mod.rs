//! Spec text to syntax tree and back.
//!
//! Knows the grammar and nothing of meaning: names are resolved in
//! `elaborate`. Read [`ast`] next.

pub mod ast;
mod expression;
mod lexer;
mod parser;
mod printer;
pub(crate) mod words;

pub use ast::Ast;
pub(crate) use expression::chain_level;
pub use parser::parse;
pub(crate) use parser::{cap, parse_recovering};
pub use printer::print_ast;
pub(crate) use printer::print_expr;
