//! The words of the language, those that cannot be names, and the nearest word to a misspelt one.

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

/// How a choice is written, and a condition of a reduction.
pub(crate) const CHOICE: &str =
    "a choice is written `if condition then x else y`, a condition of a sum `sum[j where condition](x)`";

/// What the language has for functions that other notations use.
pub(crate) fn instead_of_function(name: &str) -> Option<&'static str> {
    Some(match name {
        "pow" | "power" | "square" => "a power is written `x ^ y`",
        "select" | "cond" | "ifelse" => CHOICE,
        "maximum" => "the larger of two is `max(x, y)`, the largest along an axis `max[j](x)`",
        "minimum" => "the smaller of two is `min(x, y)`, the smallest along an axis `min[j](x)`",
        "clip" | "clamp" => "write `min(max(x, low), high)`",
        "ln" => "the natural logarithm is `log(x)`",
        "rsqrt" => "write `1 / sqrt(x)`",
        "dot" | "matmul" | "einsum" => "a contraction is written `sum[d](q * k)`",
        "norm" => "write `sqrt(sum[d](x ^ 2))`",
        _ => return None,
    })
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

/// The known name nearest to `name`, if it is near: one edit for short names, two for longer ones.
pub(crate) fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let length = name.chars().count();
    if length > 40 {
        return None;
    }
    let reach = match length {
        0..=1 => 0,
        2..=4 => 1,
        _ => 2,
    };
    let near = known.take(5000).filter(|k| *k != name && k.chars().count().abs_diff(length) <= reach);
    near.map(|k| (distance(name, k), k)).filter(|(d, _)| *d <= reach).min().map(|(_, k)| k)
}

/// Edits (insertions, deletions, replacements, swaps of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
