//! The words of the language: those that cannot be names.

use super::ast::{Constant, ReductionName};

/// Words that begin a statement.
pub(crate) const STATEMENTS: [&str; 7] = ["spec", "param", "axis", "require", "input", "example", "output"];

/// Words that join parts of a statement, and so continue it when they begin a line.
pub(crate) const JOINTS: [&str; 10] = ["or", "and", "not", "div", "mod", "where", "then", "else", "in", "runs"];

/// Symbols that continue a statement when they begin a line.
pub(crate) const OPERATORS: [&str; 11] = ["+", "-", "*", "/", "^", "==", "!=", "<", "<=", ">", ">="];

/// Functions of the language; `min` and `max` are listed with the reductions.
pub(crate) const FUNCTIONS: [&str; 17] = [
    "exp",
    "log",
    "sqrt",
    "abs",
    "sign",
    "floor",
    "ceil",
    "tanh",
    "sin",
    "cos",
    "sigmoid",
    "relu",
    "elu",
    "gelu",
    "silu",
    "softplus",
    "logaddexp",
];

/// Words that begin an expression.
pub(crate) const OPENERS: [&str; 3] = ["if", "iterate", "concat"];

/// The reduction called `word`.
pub(crate) fn reduction(word: &str) -> Option<ReductionName> {
    ReductionName::ALL.into_iter().find(|r| r.name() == word)
}

/// The constant called `word`.
pub(crate) fn constant(word: &str) -> Option<Constant> {
    Constant::ALL.into_iter().find(|c| c.name() == word)
}

/// Whether `word` cannot be a name.
pub(crate) fn is_reserved(word: &str) -> bool {
    STATEMENTS.contains(&word)
        || JOINTS.contains(&word)
        || FUNCTIONS.contains(&word)
        || OPENERS.contains(&word)
        || reduction(word).is_some()
        || constant(word).is_some()
}
