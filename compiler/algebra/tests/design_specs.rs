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

#[test]
fn declarations_of_the_description() {
    let text = "spec declarations
param s = 0.5
axis i, j = N
require H mod 2 == 0                                                 # a fact checked at bind time
input q[b, h, i, d]
input k[b, h, j, d]
input v[b, h, j, e]
input gamma[h] in 0.9 .. 0.999                                       # a range
input doc: i32[b, j] runs 512
input table: i64[b] in 0 .. N - 1
input bias[h, y = 39, x = 39]                                        # axes with extents of their own
example N = 512, D = 64
weight = softmax[j where doc[b, i] == doc[b, j] and j <= i](sum[d](q * k) * s)
output out[b, h, i, e] = sum[j](weight * v)
";
    let spec = compile(text);
    let input = |name: &str| spec.inputs.iter().find(|i| i.name == name).expect("declared");
    let shown = |term| print_term(&spec, term);
    assert_eq!(input("gamma").range.map(|(a, b)| (shown(a), shown(b))), Some(("0.9".to_string(), "0.999".to_string())));
    assert_eq!(input("table").range.map(|(a, b)| (shown(a), shown(b))), Some(("0".to_string(), "N - 1".to_string())));
    assert_eq!(input("doc").runs.map(shown), Some("512".to_string()));
    assert_eq!(input("doc").dtype.name(), "i32");
    let extents: Vec<String> = input("bias").axes.iter().map(|a| shown(spec.axis(*a).extent)).collect();
    assert_eq!(extents, ["H", "39", "39"]);
    let example: Vec<(&str, i64)> =
        spec.example.iter().map(|(s, v)| (spec.symbols[s.0 as usize].name.as_str(), *v)).collect();
    assert_eq!(example, [("N", 512), ("D", 64)]);
    assert_eq!(
        shown(spec.outputs[0].term),
        "sum[j](softmax[j where doc[b, i] == doc and j <= i](sum[d](q * k) * 0.5) * v)"
    );
}

/// The term of `output out = {line}` after `head`.
fn line(head: &str, line: &str) -> String {
    output(&format!("spec line\n{QKV}{head}\noutput out = {line}\n"))
}

#[test]
fn softcap_with_relative_bias() {
    let text = line(
        "input bias[h, y = 2 * N - 1]\nscore = 30 * tanh(sum[d](q * k) / sqrt(D) / 30) + bias[h, i - j + N - 1]",
        "sum[j](softmax[j](score) * v)",
    );
    assert_eq!(text, "sum[j](softmax[j](30.0 * tanh(sum[d](q * k) / sqrt(D) / 30.0) + bias[h, i - j + N - 1]) * v)");
}

#[test]
fn clusters_are_an_equality_mask() {
    let text = line(
        "input centre[h, c, d]\ncq = argmax[c](sum[d](q * centre))\nck = argmax[c](sum[d](k * centre))
weight = softmax[j where cq == ck](sum[d](q * k))",
        "sum[j](weight * v)",
    );
    assert_eq!(
        text,
        "sum[j](softmax[j where argmax[c](sum[d](q * centre)) == argmax[c](sum[d](k * centre))](sum[d](q * k)) * v)"
    );
}

#[test]
fn top_keys_by_rank() {
    let text =
        line("score = sum[d](q * k)\nweight = softmax[j where rank[j](score) < 32](score)", "sum[j](weight * v)");
    let score = "sum[d](q * k)";
    let other = "sum[d](q * k[b, h, j', d])";
    let before = format!(
        "if {score} != {score} then {other} == {other} or j' < j else {score} < {other} or {other} == {score} and j' < j"
    );
    assert_eq!(text, format!("sum[j](softmax[j where sum[j' where {before}](1) < 32]({score}) * v)"));
}

#[test]
fn projected_keys() {
    assert_eq!(line("input Ek[u, j]", "sum[j](Ek[u, j] * k)"), "sum[j](Ek * k)");
    assert_eq!(
        line(
            "param S = 16\naxis u = (N + S - 1) div S\nkp = sum[j where j div S == u](k) / count[j where j div S == u]",
            "kp"
        ),
        "sum[j where j div 16 == u](k) / sum[j where j div 16 == u](1)"
    );
}

#[test]
fn random_blocks() {
    let text = line(
        "param Bs = 64\ninput random: i32[h, y = N div Bs, r = 3]
weight = softmax[j where any[r](random[h, i div Bs, r] == j div Bs)](sum[d](q * k))",
        "sum[j](weight * v)",
    );
    assert_eq!(text, "sum[j](softmax[j where any[r](random[h, i div 64, r] == j div 64)](sum[d](q * k)) * v)");
}

#[test]
fn latent_keys() {
    let text = "spec mla
axis i, j = N
input q[b, h, i, d]
input c[b, j, r]
input Wk[h, r, d]
k      = sum[r](c[b, j, r] * Wk[h, r, d])            # latent (MLA) keys
output out = softmax[j](sum[d](q * k))
";
    assert_eq!(output(text), "softmax[j](sum[d](q * sum[r](c * Wk)))");
}

#[test]
fn retention_and_segment_decay() {
    assert_eq!(
        line("input gamma[h] in 0.9 .. 0.999", "sum[j where j <= i](sum[d](q * k) * gamma ^ (i - j) * v)"),
        "sum[j where j <= i](sum[d](q * k) * gamma ^ (i - j) * v)"
    );
    let decay = "axis t = N\ninput gate[b, h, t]\ndecay = prod[t where j < t and t <= i](gate[b, h, t])";
    assert_eq!(
        line(decay, "sum[j where j <= i](sum[d](q * k) * decay * v)"),
        "sum[j where j <= i](sum[d](q * k) * prod[t where j < t and t <= i](gate) * v)"
    );
}

#[test]
fn decode_aligns_the_ends() {
    let text = "spec decode
axis i = M
axis j = N
input q[b, h, i, d]
input k[b, h, j, d]
input v[b, h, j, e]
score = sum[d](q * k) / sqrt(D)
output out[b, h, i, e] = sum[j](softmax[j where j <= i + N - M](score) * v)
output lse[b, h, i] = logsumexp[j where j <= i + N - M](score)
";
    let spec = compile(text);
    assert_eq!(print_term(&spec, spec.outputs[1].term), "logsumexp[j where j <= i + N - M](sum[d](q * k) / sqrt(D))");
}

#[test]
fn computed_tensors_are_indexed_by_copies() {
    // Cluster means read at each query's cluster; c is free in z and bound in the argmax.
    let text = line(
        "input centre[h, c, d]\nz = softmax[c](sum[d](centre * centre))\ncq = argmax[c](sum[d](q * centre))",
        "cq[b, h, j] + z[h, cq]",
    );
    assert_eq!(
        text,
        "argmax[c](sum[d](q[b, h, j, d] * centre)) + exp(sum[d](centre[h, argmax[c](sum[d](q * centre)), d] * centre[h, argmax[c](sum[d](q * centre)), d]) - logsumexp[c'](sum[d](centre[h, c', d] * centre[h, c', d])))"
    );
    // An index that mentions a bound axis renames the reduction: to an axis of the same extent that is free to be bound.
    assert_eq!(line("m = sum[j](k * (i + 1))", "m[b, h, d, j]"), "sum[i](k[b, h, i, d] * (j + 1))");
    // Softmax weights at another axis of the same extent stay a softmax.
    assert_eq!(
        line("axis t = N\nw = softmax[j](sum[d](q * k))", "w[b, h, i, t]"),
        "softmax[t](sum[d](q * k[b, h, t, d]))"
    );
    // The transposed weights do not: each row has its own sum.
    assert_eq!(
        line("w = softmax[j](sum[d](q * k))", "w[b, h, j, i]"),
        "softmax[i](sum[d](q[b, h, j, d] * k[b, h, i, d]))"
    );
    // The diagonal reads the score at one key and normalises over all.
    assert_eq!(
        line("w = softmax[j](sum[d](q * k))", "w[b, h, i, i]"),
        "exp(sum[d](q * k[b, h, i, d]) - logsumexp[j'](sum[d](q * k[b, h, j', d])))"
    );
    // Axes of a declared order.
    assert_eq!(line("z[b, h, d, j] = k * 2", "z[b, h, d, i div 2]"), "k[b, h, i div 2, d] * 2.0");
}

#[test]
fn an_undeclared_order_yields_to_names_where_extents_differ() {
    let head = "input Ek[u, j]\nkp = sum[j](Ek * k)";
    assert_eq!(line(head, "kp[b, h, u div 2, d]"), "sum[j](Ek[u div 2, j] * k)");
    assert_eq!(line(head, "kp[u div 2, b, h, d]"), "sum[j](Ek[u div 2, j] * k)");
}

#[test]
fn two_sets_of_keys_share_a_softmax() {
    let text = "spec memory
axis i = N
input q[b, h, i, d]
input mk[b, h, u, d]
input k[b, h, w, d]
input mv[b, h, u, e]
input v[b, h, w, e]
key = concat[j](mk[u], k[w])
value = concat[j](mv[u], v[w])
output out[b, h, i, e] = sum[j](softmax[j where j < U or j - U <= i](sum[d](q * key)) * value)
";
    let spec = compile(text);
    let keys = "if j < U then mk[b, h, j, d] else k[b, h, j - U, d]";
    let values = "if j < U then mv[b, h, j, e] else v[b, h, j - U, e]";
    assert_eq!(
        print_term(&spec, spec.outputs[0].term),
        format!("sum[j](softmax[j where j < U or j - U <= i](sum[d](q * ({keys}))) * ({values}))")
    );
    let joined = spec.axes.iter().find(|a| a.name == "j").expect("the joined axis");
    assert_eq!(print_term(&spec, joined.extent), "U + W");
}

#[test]
fn iteration_unrolls() {
    assert_eq!(line("param n = 2", "iterate n (z = sum[d](q)) { z * (2 - z) in z }"), {
        let first = "sum[d](q) * (2.0 - sum[d](q))";
        format!("{first} * (2.0 - {first})")
    });
    // The variable may be indexed; its axes keep the order of the first value.
    assert_eq!(
        line("input x[i]", "iterate 2 (z = x) { z + (if i > 0 then z[i - 1] else 0) }"),
        "x + (if 0 < i then x[i - 1] else 0.0) + (if 0 < i then x[i - 1] + (if 0 < i - 1 then x[i - 1 - 1] else 0.0) else 0.0)"
    );
}

#[test]
fn shorthands_expand() {
    assert_eq!(line("", "mean[j](k)"), "sum[j](k) / N");
    assert_eq!(line("", "mean[j where j <= i](k)"), "sum[j where j <= i](k) / max(sum[j where j <= i](1), 1)");
    assert_eq!(line("", "cumsum[j](k)"), "sum[j' where j' <= j](k[b, h, j', d])");
    assert_eq!(line("", "count[j where j <= i](i == j)"), "sum[j where j <= i and i == j](1)");
    assert_eq!(
        line("", "sum[j, d where j <= i and d < 2 and i > 3](k)"),
        "sum[j where j <= i and 3 < i](sum[d where d < 2](k))"
    );
    assert_eq!(
        line("", "softmax[j, d where d <= j](k)"),
        "softmax[d where d <= j](k) * softmax[j](logsumexp[d where d <= j](k))"
    );
    assert_eq!(line("", "0 <= i - j < 5"), "0 <= i - j and i - j < 5");
}

#[test]
fn numbers_convert() {
    assert_eq!(line("", "2 ^ (i - j) + 2 ^ i + (-1) ^ j"), "2.0 ^ (i - j) + 2 ^ i + (-1) ^ j");
    assert_eq!(line("", "(i < j) * q + true"), "(i < j) * q + 1.0");
    assert_eq!(line("", "-1 mod 8 + 7 div 2"), "10");
    assert_eq!(line("", "i / 2 * 3"), "i / 2.0 * 3.0");
    assert_eq!(line("input on: bool[i]\ninput level: u8[i]", "on and level > 2"), "on and 2 < level");
    assert_eq!(line("", "k[b, h, floor(j / 2), d]"), "k[b, h, j div 2, d]");
}

#[test]
fn a_stated_extent_has_the_name_of_its_axis_too() {
    assert_eq!(
        output("axis d = 64\ninput x[i, d]\noutput y = sum[d](x) / D + N\nparam N = 3\n"),
        "sum[d](x) / 64.0 + 3.0"
    );
}

#[test]
fn settings_replace_parameters() {
    let text = "param w = 4\nparam r = 1 / w\naxis i = N\ninput x[i]\noutput y[i] = if i < w then x * r else 0\n";
    let with = |settings: Settings| {
        let spec = compile_text(text, &settings).expect("sound settings");
        (print_term(&spec, spec.outputs[0].term), settings.extents(&spec))
    };
    assert_eq!(with(Settings::default()).0, "if i < 4 then x * 0.25 else 0.0");
    assert_eq!(with(Settings::default().with("w", 2)).0, "if i < 2 then x * 0.5 else 0.0");
    assert_eq!(with(Settings::default().with("r", 2)).0, "if i < 4 then x * 2.0 else 0.0");
    let extents = with(Settings::default().with("N", 17)).1;
    assert_eq!(extents.0.values().copied().collect::<Vec<i64>>(), [17]);
}
