//! Syntax trees to text: parsing what is printed gives the same tree.

use std::fmt::Write as _;

use super::ast::{Ast, Expr, ExprKind, InputStatement, Name, StatementKind};
use super::expression::{ATOM, COMPARE, Level, NEG, NOT, POW, chain_level};

/// A place with delimiters on both sides, where anything may stand without parentheses.
const DELIMITED: Level = 0;

/// The text of a syntax tree, one statement per line.
pub fn print_ast(ast: &Ast) -> String {
    ast.statements.iter().map(|s| print_statement(&s.kind) + "\n").collect()
}

/// The text of an expression.
pub(crate) fn print_expr(expr: &Expr) -> String {
    let mut out = String::new();
    write_expr(&mut out, expr, DELIMITED);
    out
}

fn names(names: &[Name]) -> String {
    names.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join(", ")
}

fn axis_list(axes: &Option<Vec<Name>>) -> String {
    axes.as_ref().map_or(String::new(), |axes| format!("[{}]", names(axes)))
}

fn print_statement(kind: &StatementKind) -> String {
    match kind {
        StatementKind::Spec(name) => format!("spec {}", name.text),
        StatementKind::Param { name, value } => format!("param {} = {}", name.text, print_expr(value)),
        StatementKind::Axis { names: axes, extent } => format!("axis {} = {}", names(axes), print_expr(extent)),
        StatementKind::Input(input) => print_input(input),
        StatementKind::Example(values) => {
            let values: Vec<_> = values.iter().map(|(n, v)| format!("{} = {}", n.text, print_expr(v))).collect();
            format!("example {}", values.join(", "))
        }
        StatementKind::Require(predicate) => format!("require {}", print_expr(predicate)),
        StatementKind::Define { name, axes, value } => {
            format!("{}{} = {}", name.text, axis_list(axes), print_expr(value))
        }
        StatementKind::Function { name, parameters, body } => {
            format!("{}({}) = {}", name.text, names(parameters), print_expr(body))
        }
        StatementKind::Output { name, axes, value } => {
            format!("output {}{} = {}", name.text, axis_list(axes), print_expr(value))
        }
        StatementKind::Broken(_) => "# a statement with an error".to_string(),
    }
}

fn print_input(input: &InputStatement) -> String {
    let mut out = format!("input {}", input.name.text);
    if let Some(dtype) = &input.dtype {
        let _ = write!(out, ": {}", dtype.text);
    }
    let axes: Vec<_> = input
        .axes
        .iter()
        .map(|(name, extent)| match extent {
            Some(extent) => format!("{} = {}", name.text, print_expr(extent)),
            None => name.text.clone(),
        })
        .collect();
    let _ = write!(out, "[{}]", axes.join(", "));
    if let Some((low, high)) = &input.range {
        let _ = write!(out, " in {} .. {}", print_expr(low), print_expr(high));
    }
    if let Some(runs) = &input.runs {
        let _ = write!(out, " runs {}", print_expr(runs));
    }
    if let Some(scale) = &input.scale {
        let _ = write!(out, " scale {}", print_expr(scale));
    }
    out
}

/// How tightly the outermost operator of an expression binds.
fn level(kind: &ExprKind) -> Level {
    match kind {
        ExprKind::Chain(_, rest) => rest.first().map_or(ATOM, |(op, _)| chain_level(*op)),
        ExprKind::Compare(..) => COMPARE,
        ExprKind::Not(_) => NOT,
        ExprKind::Neg(_) => NEG,
        ExprKind::Pow(..) => POW,
        ExprKind::If(_) => DELIMITED,
        _ => ATOM,
    }
}

/// Writes `expr` where only operators that bind at least as tightly as `lowest` may stand bare.
fn write_expr(out: &mut String, expr: &Expr, lowest: Level) {
    let bare = level(&expr.kind) >= lowest;
    if !bare {
        out.push('(');
    }
    write_kind(out, &expr.kind);
    if !bare {
        out.push(')');
    }
}

fn write_list(out: &mut String, open: char, items: &[Expr], close: char) {
    out.push(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write_expr(out, item, DELIMITED);
    }
    out.push(close);
}

fn write_kind(out: &mut String, kind: &ExprKind) {
    // Writing to a string does not fail.
    match kind {
        ExprKind::Int(value) => out.push_str(&value.to_string()),
        ExprKind::Real(value) => out.push_str(&format!("{value:?}")),
        ExprKind::Constant(constant) => out.push_str(constant.name()),
        ExprKind::Name(name) => out.push_str(name),
        ExprKind::Neg(operand) => {
            out.push('-');
            write_expr(out, operand, NEG);
        }
        ExprKind::Not(operand) => {
            out.push_str("not ");
            write_expr(out, operand, NOT);
        }
        ExprKind::Chain(first, rest) => {
            let inner = level(kind) + 1;
            write_infix(out, first, rest.iter().map(|(op, e)| (op.name(), e)), inner);
        }
        ExprKind::Compare(first, rest) => {
            write_infix(out, first, rest.iter().map(|(op, e)| (op.name(), e)), COMPARE + 1);
        }
        ExprKind::Pow(base, exponent) => {
            write_expr(out, base, ATOM);
            out.push_str(" ^ ");
            write_expr(out, exponent, NEG);
        }
        ExprKind::If(parts) => {
            for (word, part) in ["if ", " then ", " else "].into_iter().zip(parts.iter()) {
                out.push_str(word);
                write_expr(out, part, DELIMITED);
            }
        }
        ExprKind::Call(function, arguments) => {
            out.push_str(&function.text);
            write_list(out, '(', arguments, ')');
        }
        ExprKind::Index(tensor, index) => {
            out.push_str(&tensor.text);
            write_list(out, '[', index, ']');
        }
        ExprKind::Reduce(_) | ExprKind::Concat(..) | ExprKind::Iterate(_) => write_binder(out, kind),
    }
}

fn write_infix<'e>(out: &mut String, first: &Expr, rest: impl Iterator<Item = (&'static str, &'e Expr)>, inner: Level) {
    write_expr(out, first, inner);
    for (op, operand) in rest {
        let _ = write!(out, " {op} ");
        write_expr(out, operand, inner);
    }
}

fn write_binder(out: &mut String, kind: &ExprKind) {
    match kind {
        ExprKind::Reduce(reduction) => {
            let _ = write!(out, "{}[{}", reduction.op.name(), names(&reduction.axes));
            if let Some(domain) = &reduction.domain {
                out.push_str(" where ");
                write_expr(out, domain, DELIMITED);
            }
            out.push(']');
            if let Some(body) = &reduction.body {
                out.push('(');
                write_expr(out, body, DELIMITED);
                out.push(')');
            }
        }
        ExprKind::Concat(axis, parts) => {
            let parts: Vec<_> = parts.iter().map(|p| format!("{}[{}]", p.tensor.text, p.axis.text)).collect();
            let _ = write!(out, "concat[{}]({})", axis.text, parts.join(", "));
        }
        ExprKind::Iterate(iterate) => {
            out.push_str("iterate ");
            let simple = matches!(iterate.count.kind, ExprKind::Int(_) | ExprKind::Name(_));
            let count = print_expr(&iterate.count);
            out.push_str(&if simple { count } else { format!("({count})") });
            let _ = write!(out, " ({} = {})", iterate.variable.text, print_expr(&iterate.init));
            let _ = write!(out, " {{ {} }}", print_expr(&iterate.body));
        }
        _ => {}
    }
}
