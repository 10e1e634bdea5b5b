//! Every line of the language description, in a spec around it, parses, prints, reparses and elaborates to the term it stands for.

use attnc_algebra::{Limits, Settings, Spec, compile_text, parse, print_ast, print_term, render};

/// The spec of `text`, after checking that its printed form is the same spec.
fn compile(text: &str) -> Spec {
    let spec = compile_text(text, &Settings::default())
        .unwrap_or_else(|errors| panic!("{}\n{text}", render("spec", text, &errors)));
    let ast = parse(text, &Limits::default()).expect("it compiled");
    let printed = print_ast(&ast);
    let again = parse(&printed, &Limits::default())
        .unwrap_or_else(|errors| panic!("{}\n{printed}", render("printed", &printed, &errors)));
    assert_eq!(ast, again, "{printed}");
    spec
}

/// The first output's term in spec notation.
fn output(text: &str) -> String {
    let spec = compile(text);
    print_term(&spec, spec.outputs[0].term)
}

const QKV: &str = "axis i, j = N\ninput q[b, h, i, d]\ninput k[b, h, j, d]\ninput v[b, h, j, e]\n";

#[test]
fn softmax_attention() {
    let text = format!(
        "spec softmax\n{QKV}score = sum[d](q * k) / sqrt(D)\nweight = softmax[j](score)\noutput out[b, h, i, e] = sum[j](weight * v)\n"
    );
    assert_eq!(output(&text), "sum[j](softmax[j](sum[d](q * k) / sqrt(D)) * v)");
    let spec = compile(&text);
    let names: Vec<&str> = spec.symbols.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["N", "B", "H", "D", "E"]);
    assert_eq!(spec.outputs[0].axes.len(), 4);
}

#[test]
fn longformer() {
    let text = "
# Sliding window plus global tokens (Longformer, arXiv 2004.05150).
spec longformer
param w = 256                      # tokens seen on each side
param g = 16                       # leading global tokens
axis i, j = N                      # query and key positions; both run over N

input q[b, h, i, d]
input k[b, h, j, d]
input v[b, h, j, e]

score  = sum[d](q * k) / sqrt(D)
weight = softmax[j where abs(i - j) <= w or i < g or j < g](score)
output out[b, h, i, e] = sum[j](weight * v)
";
    assert_eq!(
        output(text),
        "sum[j](softmax[j where abs(i - j) <= 256 or i < 16 or j < 16](sum[d](q * k) / sqrt(D)) * v)"
    );
}

#[test]
fn causal_linear_attention_goes_on_in_the_next_line() {
    let text = format!(
        "spec linear-transformer-causal\n{QKV}phi(x) = elu(x) + 1
output out = sum[j where j <= i](sum[d](phi(q) * phi(k)) * v)        # causal linear attention
           / sum[j where j <= i](sum[d](phi(q) * phi(k)))
"
    );
    assert_eq!(
        output(&text),
        "sum[j where j <= i](sum[d]((elu(q) + 1.0) * (elu(k) + 1.0)) * v) / sum[j where j <= i](sum[d]((elu(q) + 1.0) * (elu(k) + 1.0)))"
    );
    let spec = compile(&text);
    assert_eq!(spec.name, "linear-transformer-causal");
    let axes: Vec<&str> = spec.outputs[0].axes.iter().map(|a| spec.axis(*a).name.as_str()).collect();
    assert_eq!(axes, ["b", "h", "i", "e"], "without a list, axes come in the order of their mention");
}

#[test]
fn grouped_queries() {
    let text = "spec gqa
require H mod G == 0
axis i, j = N
input q[b, h, i, d]
input k[b, g, j, d]
input v[b, g, j, e]
score = sum[d](q * k[b, h div (H div G), j, d]) / sqrt(D)
output out[b, h, i, e] = sum[j](softmax[j](score) * v[b, h div (H div G), j, e])
";
    assert_eq!(
        output(text),
        "sum[j](softmax[j](sum[d](q * k[b, h div (H div G), j, d]) / sqrt(D)) * v[b, h div (H div G), j, e])"
    );
    assert_eq!(compile(text).requires[0].text, "H mod G == 0");
}
