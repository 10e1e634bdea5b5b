//! Properties of the front end over generated trees and texts.

use attnc_algebra::syntax::ast::{
    Ast, ChainOp, CompareOp, ConcatPart, Constant, Expr, ExprKind, InputStatement, Iterate, Name, Reduction,
    ReductionName, Statement, StatementKind,
};
use attnc_algebra::{Limits, Settings, Span, compile_text, parse, print_ast, render};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn name() -> impl Strategy<Value = Name> {
    prop::sample::select(vec!["a", "b", "i", "j", "kp", "x_1", "N", "ß", "inner"])
        .prop_map(|text| Name { text: text.to_string(), span: Span::default() })
}

fn leaf() -> impl Strategy<Value = ExprKind> {
    prop_oneof![
        (0..=i64::MAX).prop_map(ExprKind::Int),
        (0i64..20).prop_map(ExprKind::Int),
        any::<f64>().prop_filter("literals are finite", |v| v.is_finite()).prop_map(|v| ExprKind::Real(v.abs())),
        prop::sample::select(Constant::ALL.to_vec()).prop_map(ExprKind::Constant),
        name().prop_map(|n| ExprKind::Name(n.text)),
        (name(), vec((name(), name()), 1..3)).prop_map(|(axis, parts)| {
            let part = |(tensor, axis)| ConcatPart { tensor, axis };
            ExprKind::Concat(axis, parts.into_iter().map(part).collect())
        }),
    ]
}

/// Operators of one level of a chain.
fn chain_ops() -> impl Strategy<Value = Vec<ChainOp>> {
    use ChainOp::*;
    prop_oneof![
        vec(Just(Or), 1..3),
        vec(Just(And), 1..3),
        vec(prop::sample::select(vec![Add, Sub]), 1..4),
        vec(prop::sample::select(vec![Mul, Div, FloorDiv, Mod]), 1..4),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = leaf().prop_map(Expr::unplaced);
    leaf.prop_recursive(5, 40, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let compare_ops = vec(prop::sample::select(CompareOp::ALL.to_vec()), 1..3);
        prop_oneof![
            boxed.clone().prop_map(ExprKind::Neg),
            boxed.clone().prop_map(ExprKind::Not),
            (boxed.clone(), chain_ops(), vec(inner.clone(), 3))
                .prop_map(|(first, ops, rest)| ExprKind::Chain(first, ops.into_iter().zip(rest).collect())),
            (boxed.clone(), compare_ops, vec(inner.clone(), 2))
                .prop_map(|(first, ops, rest)| ExprKind::Compare(first, ops.into_iter().zip(rest).collect())),
            (boxed.clone(), boxed.clone()).prop_map(|(x, y)| ExprKind::Pow(x, y)),
            [inner.clone(), inner.clone(), inner.clone()].prop_map(|parts| ExprKind::If(Box::new(parts))),
            (name(), vec(inner.clone(), 1..3)).prop_map(|(f, xs)| ExprKind::Call(f, xs)),
            (name(), vec(inner.clone(), 1..3)).prop_map(|(x, index)| ExprKind::Index(x, index)),
            reduction(inner.clone()),
            (inner.clone(), name(), inner.clone(), inner).prop_map(|(count, variable, init, body)| {
                ExprKind::Iterate(Box::new(Iterate { count, variable, init, body }))
            }),
        ]
        .prop_map(Expr::unplaced)
    })
}

fn reduction(inner: impl Strategy<Value = Expr> + Clone) -> impl Strategy<Value = ExprKind> {
    let op = prop::sample::select(ReductionName::ALL.to_vec());
    (op, vec(name(), 1..3), option::of(inner.clone()), inner, any::<bool>()).prop_map(
        |(op, axes, domain, body, bare)| {
            let body = (op != ReductionName::Count || !bare).then_some(body);
            ExprKind::Reduce(Box::new(Reduction { op, axes, domain, body }))
        },
    )
}

fn input() -> impl Strategy<Value = InputStatement> {
    let axes = vec((name(), option::of(expr())), 0..3);
    let scale = option::of(expr().prop_map(Box::new));
    (name(), option::of(name()), axes, option::of((expr(), expr())), option::of(expr()), scale)
        .prop_map(|(name, dtype, axes, range, runs, scale)| InputStatement { name, dtype, axes, range, runs, scale })
}

fn statement() -> impl Strategy<Value = Statement> {
    let kind = prop_oneof![
        name().prop_map(StatementKind::Spec),
        (name(), expr()).prop_map(|(name, value)| StatementKind::Param { name, value }),
        (vec(name(), 1..3), expr()).prop_map(|(names, extent)| StatementKind::Axis { names, extent }),
        input().prop_map(StatementKind::Input),
        vec((name(), expr()), 1..3).prop_map(StatementKind::Example),
        expr().prop_map(StatementKind::Require),
        (name(), option::of(vec(name(), 0..3)), expr()).prop_map(|(name, axes, value)| StatementKind::Define {
            name,
            axes,
            value
        }),
        (name(), vec(name(), 1..3), expr()).prop_map(|(name, parameters, body)| StatementKind::Function {
            name,
            parameters,
            body
        }),
        (name(), option::of(vec(name(), 0..3)), expr()).prop_map(|(name, axes, value)| StatementKind::Output {
            name,
            axes,
            value
        }),
    ];
    kind.prop_map(|kind| Statement { kind, span: Span::default() })
}

/// Text of pieces of the language in any order: mostly wrong, often nearly right.
fn scraps() -> impl Strategy<Value = String> {
    let pieces = vec![
        "spec", "param", "axis", "require", "input", "example", "output", "where", "if", "then", "else", "in", "runs",
        "iterate", "concat", "and", "or", "not", "div", "mod", "sum", "softmax", "count", "argmax", "rank", "cumsum",
        "exp", "max", "q", "k", "i", "j", "N", "D", "z", "y", "1", "0.5", "(", ")", "[", "]", "{", "}", ",", "=", "==",
        "<", "<=", "+", "-", "*", "/", "^", ":", "..", "\n", "\n", "#", "f32", "$",
    ];
    vec(prop::sample::select(pieces), 0..60).prop_map(|pieces| pieces.join(" "))
}

/// Expressions over declared names, printed after declarations: parsed always, elaborated often.
fn nearly_sound() -> impl Strategy<Value = String> {
    vec(expr(), 1..4).prop_map(|values| {
        let mut text = "axis i, j = N\ninput a[i, j]\ninput b: i32[i]\ninput x_1[j]\ninner(x) = x + 1\n".to_string();
        for (at, value) in values.into_iter().enumerate() {
            let name = Name { text: format!("y{at}"), span: Span::default() };
            let kind = StatementKind::Output { name, axes: None, value };
            text += &print_ast(&Ast { statements: vec![Statement { kind, span: Span::default() }] });
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsing_what_was_printed_gives_the_same_tree(statements in vec(statement(), 1..4)) {
        let ast = Ast { statements };
        let printed = print_ast(&ast);
        let again = parse(&printed, &Limits::default());
        prop_assert!(again.is_ok(), "{}\n{printed}", render("printed", &printed, &again.unwrap_err()));
        prop_assert_eq!(again.expect("checked"), ast, "{}", printed);
    }

    #[test]
    fn no_text_panics(text in prop_oneof![scraps(), any::<String>(), nearly_sound()]) {
        if let Err(errors) = compile_text(&text, &Settings::default()) {
            prop_assert!(!errors.is_empty());
            prop_assert!(!render("text", &text, &errors).is_empty());
        }
    }

    #[test]
    fn a_sound_spec_lists_the_free_axes_of_its_outputs(text in nearly_sound()) {
        if let Ok(spec) = compile_text(&text, &Settings::default()) {
            for output in &spec.outputs {
                prop_assert!(spec.terms.free(output.term).iter().all(|a| output.axes.contains(&a)));
                prop_assert!(!attnc_algebra::print_term(&spec, output.term).is_empty());
            }
        }
    }
}
