//! No text exhausts the stack, the memory or the patience of a compiler.
//!
//! Tests run on threads with 2 MiB of stack, less than a program's main thread has.

use attnc_algebra::{Diagnostic, Limits, Settings, compile_text, parse, render};

fn codes(text: &str) -> Vec<&'static str> {
    match compile_text(text, &Settings::default()) {
        Ok(_) => Vec::new(),
        Err(errors) => {
            let shown = render("text", text, &errors);
            assert!(shown.len() < 1 << 20, "a report of {} bytes", shown.len());
            errors.iter().map(|e: &Diagnostic| e.code).collect()
        }
    }
}

fn output(expression: &str) -> String {
    format!("input x[i]\noutput y[i] = {expression}\n")
}

#[test]
fn deep_nesting_is_an_error() {
    let deep = 100_000;
    for (open, close) in [
        ("(", ")"),
        ("-", ""),
        ("not ", ""),
        ("exp(", ")"),
        ("x[", "]"),
        ("sum[i](", ")"),
        ("sum[i where ", "](x)"),
        ("if true then x else ", ""),
        ("if ", " then x else x"),
        ("x ^ ", ""),
        ("iterate 1 (z = ", ") { z }"),
        ("iterate 1 (z = x) { ", " }"),
        ("iterate ", " (z = x) { z }"),
        ("x * (1 + ", ")"),
    ] {
        let text = output(&format!("{}x{}", open.repeat(deep), close.repeat(deep)));
        let found = codes(&text);
        assert!(found == ["nesting-too-deep"] || found == ["source-too-large"], "{open}: {found:?}");
        let text = output(&format!("{}x{}", open.repeat(1000), close.repeat(1000)));
        assert_eq!(codes(&text), ["nesting-too-deep"], "{open}");
    }
}

#[test]
fn the_deepest_nesting_allowed_fits_the_stack() {
    // Operands of an operator are a level, as brackets are.
    let deep = Limits::default().nesting - 2;
    let half = deep / 2;
    for (open, close, deep) in [
        ("(", ")", deep),
        ("-", "", deep),
        ("exp(", ")", deep),
        ("sum[i where x > ", "](x)", half),
        ("if i < 3 then x else ", "", deep),
        ("x ^ ", "", deep),
        ("iterate 1 (z = ", ") { z }", deep),
        ("iterate 1 (z = x) { 1 + ", " }", half),
    ] {
        let found = codes(&output(&format!("{}x{}", open.repeat(deep), close.repeat(deep))));
        assert!(found.is_empty() || found == ["spec-too-large"], "{open}: {found:?}");
    }
    let text = format!("input t: i32[i]\noutput y = {}0{}\n", "t[".repeat(deep), "]".repeat(deep));
    assert_eq!(codes(&text), Vec::<&str>::new());
}

#[test]
fn long_chains_do_not_nest() {
    for (operator, found) in [
        (" + ", &[][..]),
        (" - ", &[]),
        (" * ", &[]),
        (" / ", &["spec-too-large"]),
        (" mod ", &["spec-too-large"]),
        (" < ", &["expected-truth-value"]),
        (" and ", &["expected-truth-value"]),
    ] {
        let text = output(&vec!["x"; 100_000].join(operator));
        let codes = codes(&text);
        match operator {
            // Each of the operands is an error of its own.
            " and " => assert!(codes.iter().all(|c| found.contains(c) || *c == "too-many-errors"), "{codes:?}"),
            " < " => assert!(codes.is_empty(), "{codes:?}"),
            _ => assert_eq!(codes, found, "{operator}"),
        }
    }
}

#[test]
fn a_text_of_fifty_megabytes_is_refused_at_once() {
    let text = "x".repeat(50 << 20);
    let errors = parse(&text, &Limits::default()).expect_err("too large");
    assert_eq!(errors[0].code, "source-too-large");
    assert_eq!(
        render("big", &text, &errors),
        "error[source-too-large]: the text has 52428800 bytes; the limit is 1048576\n = help: split the spec, or raise the limit `source_bytes`\n\n"
    );
}

#[test]
fn a_long_chain_of_definitions_is_an_error() {
    let lines: String = (1..20_000).map(|n| format!("x{n} = x{} + 1\n", n - 1)).collect();
    let text = format!("input x0[i]\n{lines}output y = x19999\n");
    assert_eq!(codes(&text), ["spec-too-large"]);
}

#[test]
fn functions_that_double_end() {
    let lines: String = (1..60).map(|n| format!("f{n}(x) = f{}(x) + f{}(x)\n", n - 1, n - 1)).collect();
    let text = format!("input x[i]\nf0(x) = x * x\n{lines}output y = f59(x)\n");
    assert_eq!(codes(&text), ["spec-too-large"]);
    let lines: String = (1..5000).map(|n| format!("f{n}(x) = f{}(x)\n", n - 1)).collect();
    let text = format!("input x[i]\nf0(x) = x * x\n{lines}output y = f4999(x)\n");
    assert_eq!(codes(&text), ["spec-too-large"]);
}

#[test]
fn copies_that_double_end() {
    let lines: String = (1..60).map(|n| format!("x{n} = x{}[i - 1] + x{}[i - 2]\n", n - 1, n - 1)).collect();
    let text = format!("input x0[i]\n{lines}output y = x59\n");
    assert_eq!(codes(&text), ["spec-too-large"]);
    let lines: String = (1..60).map(|n| format!("x{n} = cumsum[i](x{}) + x{}\n", n - 1, n - 1)).collect();
    let text = format!("input x0[i]\n{lines}output y = x59\n");
    let found = codes(&text);
    assert!(found.is_empty() || found == ["spec-too-large"], "{found:?}");
}

#[test]
fn parameters_that_double_are_shared() {
    let lines: String = (1..60).map(|n| format!("param p{n} = p{} + p{}\n", n - 1, n - 1)).collect();
    let text = format!("param p0 = D\n{lines}input x[d]\naxis u = p59 + D\noutput y = x * p59\n");
    assert_eq!(codes(&text), Vec::<&str>::new());
    let text = "param p = iterate 60 (z = 1.0) { z + z }\ninput x[d]\noutput y = x * p\n";
    assert_eq!(codes(text), Vec::<&str>::new());
}

#[test]
fn many_errors_are_cut() {
    let text = format!("input x[i]\n{}", "y = $ $ $\n".repeat(50_000));
    let found = codes(&text);
    assert_eq!(found.len(), Limits::default().diagnostics + 1);
    assert_eq!(found.last(), Some(&"too-many-errors"));
}

#[test]
fn many_names_and_axes_are_quick() {
    let axes: Vec<String> = (0..30_000).map(|n| format!("a{n}")).collect();
    assert_eq!(codes(&format!("input x[{}]\noutput y = 1\n", axes.join(", "))), ["spec-too-large"]);
    let lines: String = (0..30_000).map(|n| format!("x{n} = {n}\n")).collect();
    assert_eq!(codes(&format!("{lines}output y = x7\n")), Vec::<&str>::new());
    let names: Vec<String> = (0..100_000).map(|n| format!("A{n}")).collect();
    assert_eq!(codes(&format!("axis i = {}\noutput y = i\n", names.join(" + "))), ["spec-too-large"]);
    let lines: String = (0..20_000).map(|n| format!("x{n} = unknown{n}\n")).collect();
    assert_eq!(codes(&format!("{lines}output y = 1\n")).len(), Limits::default().diagnostics + 1);
}

#[test]
fn odd_texts_are_read_to_the_end() {
    for text in [
        "\0",
        "\u{1f600}",
        "é = 1",
        "#",
        "[",
        "]",
        "a[",
        "=",
        "= =",
        "..",
        "1..2",
        "output",
        "output out",
        "output out =",
        "input",
        "input x",
        "input x[",
        "input x[]",
        "spec",
        "spec 3",
        "axis",
        "axis i",
        "param p",
        "f(",
        "f()",
        "f(x)",
        "f(x) = x(x)",
        "x[i] = i\noutput y = x",
        "require",
        "require require",
        "example",
        "example N =",
        "input x: [i]",
        "input x[i] in",
        "input x[i] in 1",
        "input x[i] runs",
        "iterate",
        "output y = iterate",
        "output y = concat[j]()",
        "output y = sum[]",
        "output y = sum[i where](x)",
        "output y = if",
        "a = b = c",
        "output y = x[]",
        "output y = 1 2",
        "output y = 1\n\n\n+ 2",
        "output y = 1;",
        "\r\noutput y = 1\r\n",
        "output y = -9223372036854775808",
        "output y = 0x10",
        "output y = 1.",
        "output y = .5",
        "output y = 1e",
        "output y = 1e+",
        "output y = 1 .. 2",
        "axis i = I\noutput y = i",
        "axis i = i\noutput y = i",
        "axis i = J\naxis j = I\noutput y = i",
        "input N[n]\noutput y = N",
        "param N = 3\ninput x[n]\noutput y = x[N]",
        "input x[i]\noutput y = x[i, i]",
        "input x[i]\nx(x) = x\noutput y = x(x)",
        "input x[i]\nf(x) = x[i]\noutput y = f(x)",
        "concat[j](a[u], b[w])",
        "output y = concat[j](y[u], y[w])",
    ] {
        let _ = codes(text);
    }
}
