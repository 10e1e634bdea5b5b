//! The same algebra in other words: every name replaced, definitions inlined, operands permuted.
//!
//! What is compiled must not depend on how a spec says what it says. [`disguise`] works on the syntax tree and gives
//! text again: names that sort the other way round, the definitions' text in place of their names, the operands of
//! sums, products, `and` and `or` in reverse. The names `N` and `M`, which mean lengths, stay.

use std::collections::{BTreeMap, BTreeSet};

use attnc_algebra::syntax::ast::{Ast, ChainOp, Expr, ExprKind, InputStatement, Name, StatementKind};
use attnc_algebra::{Limits, SettingValue, Settings, parse, print_ast};

/// Names with a meaning of their own: the sequence lengths.
const KEPT: [&str; 2] = ["N", "M"];

/// What is done to a spec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disguise {
    /// Other names, in the opposite order of the alphabet.
    pub names: bool,
    /// Definitions in place of their names.
    pub inlined: bool,
    /// Operands in reverse.
    pub permuted: bool,
}

/// The text in disguise, and the settings under its names.
///
/// # Panics
/// If the text is no spec.
pub fn disguise(text: &str, settings: &Settings, what: Disguise) -> (String, Settings) {
    let mut ast = parse(text, &Limits::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    if what.inlined {
        inline(&mut ast);
    }
    if what.permuted {
        each_expr(&mut ast, &mut permute);
    }
    let mut settings = settings.clone();
    if what.names {
        let names = other_names(&ast);
        rename(&mut ast, &names);
        let other = |name: String| names.get(&name).cloned().unwrap_or(name);
        settings.set =
            settings.set.into_iter().map(|(name, value): (String, SettingValue)| (other(name), value)).collect();
    }
    (print_ast(&ast), settings)
}

/// Calls `f` on every expression of the spec, operands first.
fn each_expr(ast: &mut Ast, f: &mut dyn FnMut(&mut Expr)) {
    for statement in &mut ast.statements {
        let mut visit = |e: &mut Expr| each_part(e, f);
        match &mut statement.kind {
            StatementKind::Spec(_) | StatementKind::Broken(_) => {}
            StatementKind::Param { value, .. }
            | StatementKind::Axis { extent: value, .. }
            | StatementKind::Require(value)
            | StatementKind::Define { value, .. }
            | StatementKind::Output { value, .. }
            | StatementKind::Function { body: value, .. } => visit(value),
            StatementKind::Input(input) => {
                input.axes.iter_mut().filter_map(|(_, extent)| extent.as_mut()).for_each(&mut visit);
                input.range.iter_mut().for_each(|(low, high)| [low, high].into_iter().for_each(&mut visit));
                input.runs.iter_mut().for_each(&mut visit);
                input.scale.iter_mut().for_each(|scale| visit(scale));
            }
            StatementKind::Example(values) => values.iter_mut().for_each(|(_, value)| visit(value)),
        }
    }
}

/// Calls `f` on an expression and its parts, these first.
fn each_part(expr: &mut Expr, f: &mut dyn FnMut(&mut Expr)) {
    parts(expr).into_iter().for_each(|part| each_part(part, f));
    f(expr);
}

fn parts(expr: &mut Expr) -> Vec<&mut Expr> {
    match &mut expr.kind {
        ExprKind::Int(_) | ExprKind::Real(_) | ExprKind::Constant(_) | ExprKind::Name(_) | ExprKind::Concat(..) => {
            vec![]
        }
        ExprKind::Neg(x) | ExprKind::Not(x) => vec![x.as_mut()],
        ExprKind::Chain(first, rest) => {
            std::iter::once(first.as_mut()).chain(rest.iter_mut().map(|(_, x)| x)).collect()
        }
        ExprKind::Compare(first, rest) => {
            std::iter::once(first.as_mut()).chain(rest.iter_mut().map(|(_, x)| x)).collect()
        }
        ExprKind::Pow(x, y) => vec![x.as_mut(), y.as_mut()],
        ExprKind::If(parts) => parts.iter_mut().collect(),
        ExprKind::Call(_, xs) | ExprKind::Index(_, xs) => xs.iter_mut().collect(),
        ExprKind::Reduce(r) => r.domain.iter_mut().chain(r.body.iter_mut()).collect(),
        ExprKind::Iterate(i) => vec![&mut i.count, &mut i.init, &mut i.body],
    }
}

/// Reverses the operands of sums, products, `and` and `or`. A quotient is one operand of the product it begins.
fn permute(expr: &mut Expr) {
    let ExprKind::Chain(first, rest) = &mut expr.kind else { return };
    let mut operands = vec![(leading(rest[0].0), (**first).clone())];
    for (op, operand) in std::mem::take(rest) {
        if matches!(op, ChainOp::Div | ChainOp::FloorDiv | ChainOp::Mod) {
            let dividend = Expr::unplaced(chain(std::mem::take(&mut operands)));
            operands.push((ChainOp::Mul, Expr::unplaced(ExprKind::Chain(Box::new(dividend), vec![(op, operand)]))));
        } else {
            operands.push((op, operand));
        }
    }
    expr.kind = chain(operands);
}

/// The operation under which the first operand of a chain stands.
fn leading(op: ChainOp) -> ChainOp {
    match op {
        ChainOp::Or | ChainOp::And => op,
        ChainOp::Add | ChainOp::Sub => ChainOp::Add,
        ChainOp::Mul | ChainOp::Div | ChainOp::FloorDiv | ChainOp::Mod => ChainOp::Mul,
    }
}

/// The operands in reverse; the first is the last that is not subtracted.
fn chain(mut operands: Vec<(ChainOp, Expr)>) -> ExprKind {
    operands.reverse();
    let leads = operands.iter().position(|(op, _)| *op != ChainOp::Sub).expect("the first operand is added");
    let first = operands.remove(leads).1;
    if operands.is_empty() { first.kind } else { ExprKind::Chain(Box::new(first), operands) }
}

/// Puts definitions in place of their names. Those that are indexed or joined are read by name, and stay.
fn inline(ast: &mut Ast) {
    let mut kept = BTreeSet::new();
    each_expr(ast, &mut |e| match &e.kind {
        ExprKind::Index(name, _) => {
            kept.insert(name.text.clone());
        }
        ExprKind::Concat(_, parts) => kept.extend(parts.iter().map(|p| p.tensor.text.clone())),
        _ => {}
    });
    let mut known: BTreeMap<String, Expr> = BTreeMap::new();
    let mut statements = Vec::new();
    for statement in std::mem::take(&mut ast.statements) {
        let mut one = Ast { statements: vec![statement] };
        each_expr(&mut one, &mut |e| {
            if let ExprKind::Name(name) = &e.kind
                && let Some(value) = known.get(name)
            {
                *e = value.clone();
            }
        });
        let statement = one.statements.remove(0);
        match &statement.kind {
            StatementKind::Define { name, value, .. } if !kept.contains(&name.text) => {
                known.insert(name.text.clone(), value.clone());
            }
            _ => statements.push(statement),
        }
    }
    ast.statements = statements;
}

/// Calls `f` on every name that something is called by, with what it is the name of.
fn each_name(ast: &mut Ast, f: &mut dyn FnMut(&mut String)) {
    let all = |names: &mut [Name], f: &mut dyn FnMut(&mut String)| names.iter_mut().for_each(|n| f(&mut n.text));
    for statement in &mut ast.statements {
        match &mut statement.kind {
            StatementKind::Spec(_) | StatementKind::Broken(_) | StatementKind::Require(_) => {}
            StatementKind::Param { name, .. } => f(&mut name.text),
            StatementKind::Axis { names, .. } => all(names, f),
            StatementKind::Input(InputStatement { name, axes, .. }) => {
                f(&mut name.text);
                axes.iter_mut().for_each(|(axis, _)| f(&mut axis.text));
            }
            StatementKind::Example(values) => values.iter_mut().for_each(|(name, _)| f(&mut name.text)),
            StatementKind::Define { name, axes, .. } | StatementKind::Output { name, axes, .. } => {
                f(&mut name.text);
                axes.iter_mut().for_each(|axes| all(axes, f));
            }
            StatementKind::Function { name, parameters, .. } => {
                f(&mut name.text);
                all(parameters, f);
            }
        }
    }
    each_expr(ast, &mut |e| match &mut e.kind {
        ExprKind::Name(name) => f(name),
        ExprKind::Call(name, _) | ExprKind::Index(name, _) => f(&mut name.text),
        ExprKind::Reduce(r) => r.axes.iter_mut().for_each(|n| f(&mut n.text)),
        ExprKind::Concat(axis, parts) => {
            f(&mut axis.text);
            parts.iter_mut().flat_map(|p| [&mut p.tensor, &mut p.axis]).for_each(|n| f(&mut n.text));
        }
        ExprKind::Iterate(i) => f(&mut i.variable.text),
        _ => {}
    });
}

/// A new name for every name of the spec: in the opposite order, and a capital for a capital, so that an axis keeps
/// its extent.
fn other_names(ast: &Ast) -> BTreeMap<String, String> {
    let mut ast = ast.clone();
    let mut axes = BTreeSet::new();
    for statement in &ast.statements {
        match &statement.kind {
            StatementKind::Axis { names, .. } => axes.extend(names.iter().map(|n| n.text.clone())),
            StatementKind::Input(input) => axes.extend(input.axes.iter().map(|(n, _)| n.text.clone())),
            _ => {}
        }
    }
    let mut called: BTreeSet<String> = BTreeSet::new();
    let mut functions: BTreeSet<String> = BTreeSet::new();
    each_name(&mut ast, &mut |name| {
        called.insert(name.clone());
    });
    each_expr(&mut ast, &mut |e| {
        if let ExprKind::Call(name, _) = &e.kind {
            functions.insert(name.text.clone());
        }
    });
    let own = |name: &str| {
        ast.statements.iter().any(|s| matches!(&s.kind, StatementKind::Function { name: n, .. } if n.text == name))
    };
    called.retain(|name| !KEPT.contains(&name.as_str()) && (!functions.contains(name) || own(name)));
    let extents: BTreeSet<String> = axes.iter().map(|a| a.to_uppercase()).collect();
    let plain: Vec<String> = called.iter().filter(|n| !extents.contains(*n)).cloned().collect();
    let count = plain.len();
    let mut names: BTreeMap<String, String> =
        plain.into_iter().enumerate().map(|(at, name)| (name, format!("w{:03}", count - at))).collect();
    for axis in &axes {
        let other = names.get(axis).map(|n| n.to_uppercase());
        names.extend(other.filter(|_| !KEPT.contains(&axis.to_uppercase().as_str())).map(|n| (axis.to_uppercase(), n)));
    }
    names
}

fn rename(ast: &mut Ast, names: &BTreeMap<String, String>) {
    each_name(ast, &mut |name| {
        if let Some(other) = names.get(name) {
            *name = other.clone();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "spec x\nparam w = 3\naxis i, j = N\ninput q[b, h, i, d]\ninput k[b, h, j, d]\n\
        f(x) = x + 1\nscore = sum[d](q * k) / sqrt(D) - f(2)\n\
        output out[b, h, i] = sum[j where j <= i and i - j < w](score)\n";

    #[test]
    fn a_disguise_says_the_same() {
        let all = Disguise { names: true, inlined: true, permuted: true };
        let (text, settings) = disguise(TEXT, &Settings::default().with("D", 8).with("w", 2), all);
        let spec = attnc_algebra::compile_text(&text, &settings).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        assert_eq!(spec.inputs.len(), 2);
        assert!(!text.contains("score") && text.contains("N") && !text.contains("q["), "{text}");
        assert!(settings.set.keys().all(|name| name.to_lowercase().starts_with('w') && name.len() == 4));
    }

    #[test]
    fn the_first_operand_stays_a_positive_one() {
        let permuted = Disguise { names: false, inlined: false, permuted: true };
        let text = "spec x\ninput a[i]\ninput c[i]\noutput o[i] = a - c - 2 * a / c * 3\n";
        let (text, _) = disguise(text, &Settings::default(), permuted);
        assert!(text.contains("o[i] = a - 3 * ((a * 2) / c) - c"), "{text}");
    }
}
