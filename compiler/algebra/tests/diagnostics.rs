//! Every diagnostic has a text that brings it out, and says where and what to do.

use attnc_algebra::{Diagnostic, Limits, Problem, Settings, compile_text, render};
use std::collections::BTreeSet;

const QKV: &str = "axis i, j = N\ninput q[b, h, i, d]\ninput k[b, h, j, d]\ninput v[b, h, j, e]\n";

fn errors_with(text: &str, settings: &Settings) -> Vec<Diagnostic> {
    match compile_text(text, settings) {
        Ok(_) => Vec::new(),
        Err(errors) => errors,
    }
}

fn errors(text: &str) -> Vec<Diagnostic> {
    errors_with(text, &Settings::default())
}

/// Statements after the usual inputs, and the codes they bring out.
const CASES: &[(&str, &[&str])] = &[
    ("output out = q $ k", &["unexpected-character"]),
    ("output out = q * 2x", &["malformed-number"]),
    ("output out = q * 9223372036854775808", &["number-out-of-range"]),
    ("output out = q * 1e999", &["number-out-of-range"]),
    ("output out = q *", &["unexpected-token"]),
    ("output out = (q", &["unclosed-bracket"]),
    ("output out = q) + 1", &["unexpected-token"]),
    ("sum = q\noutput out = q", &["reserved-name"]),
    ("x = q", &["no-output"]),
    ("output out = qq", &["unknown-name"]),
    ("output out = sum[jj](k)", &["unknown-axis"]),
    ("output out = expp(q)", &["unknown-function"]),
    ("input m: f23[i]\noutput out = q", &["unknown-type"]),
    ("example NN = 3\noutput out = q", &["unknown-extent"]),
    ("x = q\nx = k\noutput out = q", &["duplicate-name"]),
    ("input q[i]\noutput out = k", &["duplicate-name"]),
    ("f(x, x) = x\noutput out = q", &["duplicate-name"]),
    ("output out = sum[j, j](k)", &["duplicate-axis"]),
    ("output out[b, b, h, i, d] = q", &["duplicate-axis"]),
    ("input x[i, i]\noutput out = q", &["duplicate-axis"]),
    ("output out = y\ny = q", &["defined-later"]),
    ("x = x + q\noutput out = q", &["recursive-definition"]),
    ("f(x) = f(x) + 1\noutput out = f(q)", &["recursive-definition"]),
    ("axis i = M\noutput out = q", &["extent-conflict"]),
    ("input x[h = 4]\ninput y[h = 5]\noutput out = q", &["extent-conflict"]),
    ("axis c = 0\noutput out = q", &["empty-extent"]),
    ("input x[y = 3 - 4]\noutput out = q", &["empty-extent"]),
    ("example N = 0\noutput out = q", &["empty-extent"]),
    ("param p = q\noutput out = q", &["not-constant"]),
    ("param p = i\noutput out = q", &["not-constant"]),
    ("axis c = q\noutput out = q", &["not-constant"]),
    ("require N / 2 > 1\noutput out = q", &["not-constant"]),
    ("output out = iterate N (z = q) { z * 2 }", &["not-constant"]),
    ("output out = sum[j where j](k)", &["expected-truth-value"]),
    ("output out = if q then 1 else 2", &["expected-truth-value"]),
    ("output out = any[j](k)", &["expected-truth-value"]),
    ("output out = i < j and q", &["expected-truth-value"]),
    ("output out = k[b, h, j / 2, d]", &["expected-integer"]),
    ("axis c = N / 2\noutput out = q", &["expected-integer"]),
    ("output out = k[b, h, -1, d] + k[b, h, j, 2 - 3]", &["index-out-of-range", "index-out-of-range"]),
    ("input x[y = 4]\noutput out = x[3] + x[4]", &["index-out-of-range"]),
    ("input x[y = 4]\noutput out = if N > 5 then x[4] else sum[j where N > 5](x[4] * k)", &[]),
    ("output out = k[b, h, j]", &["wrong-rank"]),
    ("x = q + 1\noutput out = x[b, i]", &["wrong-rank"]),
    ("param p = 3\noutput out = p[i]", &["not-a-tensor"]),
    ("output out = i[j]", &["not-a-tensor"]),
    ("f(x) = x\noutput out = f + 1", &["function-as-value"]),
    ("f(x) = x\noutput out = f(q, k)", &["wrong-argument-count"]),
    ("output out = exp(q, k)", &["wrong-argument-count"]),
    ("output out = max(q)", &["wrong-argument-count"]),
    ("output out[b, h, i] = q", &["missing-axes"]),
    ("z[b, h] = q\noutput out = q", &["missing-axes"]),
    ("output out = argmax[i, j](q)", &["one-axis-only"]),
    ("param w = 3\nrequire w > 4\noutput out = q", &["require-false"]),
    ("param t = 0.5\nrequire t > 1\noutput out = q", &["require-false"]),
    ("output out = q * (9223372036854775807 + 1)", &["arithmetic-overflow"]),
    ("output out = q * (1 div 0)", &["division-by-zero"]),
    ("param w = 1 mod 0\noutput out = q", &["division-by-zero"]),
    ("input x[i] in 3 .. 2\noutput out = q", &["empty-range"]),
    ("input x[i] runs 4\noutput out = q", &["runs-need-integers"]),
    ("input x: i32[i] scale 2\noutput out = q", &["scale-needs-reals"]),
    ("output out = iterate 65 (z = q) { z * 2 }", &["iteration-count"]),
    ("output out = iterate -1 (z = q) { z * 2 }", &["iteration-count"]),
    ("output out = iterate (-1) (z = q) { z * 2 }", &["iteration-count"]),
    ("output out = concat[j](q[e], k[d])", &["concat-axis", "concat-axis"]),
    ("input x[t = 3]\ninput y[u = 4]\naxis c = 8\noutput out = concat[c](x[t], y[u])", &["concat-axis"]),
    ("output out = softmx[j](k)", &["unknown-reduction"]),
    ("output out = sum(k)", &["unexpected-token"]),
];

#[test]
fn each_mistake_brings_out_its_own_error_and_no_other() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (statements, codes) in CASES {
        let text = format!("{QKV}{statements}\n");
        let errors = errors(&text);
        let found: Vec<&str> = errors.iter().map(|e| e.code).collect();
        assert_eq!(found, *codes, "{}\n{text}", render("case", &text, &errors));
        for error in &errors {
            let span = error.span().expect("an error of a text has a place");
            assert!(text.get(span.range()).is_some(), "{error:?}");
        }
        seen.extend(found);
    }
    let settings = Settings::default().with("W", 3).with("N", 0).with("q", 1).with("D", 2.5);
    let of_settings = errors_with(&format!("param w = 1\n{QKV}output out = q"), &settings);
    let found: Vec<&str> = of_settings.iter().map(|e| e.code).collect();
    assert_eq!(found, ["setting-type", "empty-extent", "unknown-setting", "unknown-setting"]);
    seen.extend(found);
    // Those that need a text of their own; see `robustness`.
    seen.extend(["source-too-large", "nesting-too-deep", "too-many-errors", "empty-spec", "spec-too-large"]);
    let all: BTreeSet<&str> = Problem::CODES.iter().copied().collect();
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&&str>::new(), "codes without a case");
}

#[test]
fn all_independent_errors_come_in_one_run() {
    let text = "spec many
axis i, j = N
input q[b, h, i, d
input k[b, h, j, d]
input v[b, h, j, e]
score = sum[d](q * k) / sqrtt(D)
weight = softmax[jj](score)
mask = i <
output out[b, h, i, e] = sum[j](weight * v)
output lse = logsumexp[j](scroe)
";
    let codes: Vec<&str> = errors(text).iter().map(|e| e.code).collect();
    // Nothing is said of q and mask, whose statements are broken, nor of what uses score and weight.
    assert_eq!(codes, ["unclosed-bracket", "unknown-function", "unknown-axis", "unexpected-token", "unknown-name"]);
}

#[test]
fn a_misspelt_axis_is_shown_with_a_suggestion() {
    let text = format!("spec typo\n{QKV}axis key = N\noutput out = sum[kye](q)\n");
    assert_eq!(
        render("typo.attn", &text, &errors(&text)),
        "\
error[unknown-axis]: there is no axis `kye`
  --> typo.attn:7:18
  |
7 | output out = sum[kye](q)
  |                  ^^^ no `axis` line and no input has it
  |
  = help: did you mean `key`?

"
    );
}

#[test]
fn an_axis_with_two_extents_shows_both_places() {
    let text = "input x[y = 39]\ninput z[y = 40]\noutput out = x + z\n";
    assert_eq!(
        render("two.attn", text, &errors(text)),
        "\
error[extent-conflict]: axis `y` has two extents: 39 and 40
  --> two.attn:2:9
  |
1 | input x[y = 39]
  |         - 39 here
2 | input z[y = 40]
  |         ^ 40 here
  |
  = help: one axis has one extent; give the other a name of its own

"
    );
}

#[test]
fn an_output_without_a_free_axis_says_how_to_remove_or_list_it() {
    let text = format!("{QKV}output out[b, h, i, e] = sum[d](q * k) * v\n");
    assert_eq!(
        render("missing.attn", &text, &errors(&text)),
        "\
error[missing-axes]: `out` does not list axis `j`, free in its expression
  --> missing.attn:5:8
  |
5 | output out[b, h, i, e] = sum[d](q * k) * v
  |        ^^^               ----------------- has the axes b, h, i, j, e
  |        |                  
  |        lists [b, h, i, e]
  |
  = help: reduce it, `sum[j](...)`, or list it, `out[b, h, i, e, j]`

"
    );
}

#[test]
fn an_error_in_a_function_is_reported_once_with_the_call() {
    let text = "input x[i]\nf(a) = a and true\noutput y = f(x) + f(x)\n";
    let errors = errors(text);
    assert_eq!(errors.iter().map(|e| e.code).collect::<Vec<_>>(), ["expected-truth-value"]);
    assert_eq!(errors[0].labels.len(), 2);
    assert_eq!(&text[errors[0].labels[1].0.range()], "f(x)");
}

#[test]
fn characters_of_other_notations_are_translated() {
    let text = "input x[i]\ninput y[i]\noutput z = if x ≤ y && x > 0 then x % 2; else 1\n";
    let shown = render("other.attn", text, &errors(text));
    for help in ["write `<=`", "conjunction is written `and`", "written `mod`", "ends with its line"] {
        assert!(shown.contains(help), "{shown}");
    }
}

#[test]
fn colours_are_optional() {
    let text = "output out = x\n";
    let plain = render("x", text, &errors(text));
    let coloured = attnc_algebra::render_coloured("x", text, &errors(text));
    assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
}

#[test]
fn a_spec_needs_statements() {
    for text in ["", "\n\n", "# only a comment", "\u{feff}"] {
        let found: Vec<&str> = errors(text).iter().map(|e| e.code).collect();
        assert_eq!(found, ["empty-spec"], "{text:?}");
    }
    assert_eq!(Limits::default().nesting, 200);
}
