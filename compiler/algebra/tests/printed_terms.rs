//! Terms in spec notation: derived nodes, signs, shared parts, cuts.

use attnc_algebra::{Carry, Node, Settings, Spec, compile_text, print_term};

fn compile(text: &str) -> Spec {
    compile_text(text, &Settings::default()).expect("a sound spec")
}

#[test]
fn derived_nodes_show_their_axes_and_domains() {
    let mut spec = compile(
        "axis i, j = N\ninput s[i, j]\ninput v[j, e]\ninput g[j]\noutput o = sum[j where j <= i](s * v)\noutput d = g\n",
    );
    let Node::Reduce { axis, domain, body, .. } = spec.terms.node(spec.outputs[0].term).clone() else {
        panic!("the output is a sum")
    };
    let Node::Nary(_, factors) = spec.terms.node(body).clone() else { panic!("the body is a product") };
    let attend = spec.terms.add(Node::Attend { axis, domain, score: factors[0], value: factors[1] });
    assert_eq!(print_term(&spec, attend), "attend[j where j <= i](s, v)");
    let whole = spec.terms.truth(true);
    let attend = spec.terms.add(Node::Attend { axis, domain: whole, score: factors[0], value: factors[1] });
    assert_eq!(print_term(&spec, attend), "attend[j](s, v)");
    let row = spec.terms.free(domain).iter().find(|a| *a != axis).expect("the row");
    let (one, decay) = (spec.terms.real(1.0), spec.outputs[1].term);
    let scan = |decay| Node::Scan { carry: Carry::Sum, axis, row, decay, body: factors[1] };
    let (plain, decayed) = (spec.terms.add(scan(one)), spec.terms.add(scan(decay)));
    assert_eq!(print_term(&spec, plain), "scan[j <= i](v)");
    assert_eq!(print_term(&spec, decayed), "scan[j <= i](v, g)");
    let key = spec.terms.position(axis);
    let sorted = spec.terms.sorted(axis, key);
    assert_eq!(print_term(&spec, sorted), "at[j = order[j](j)](j)");
}

#[test]
fn signs_and_quotients_read_as_written() {
    let mut spec = compile("input x[i]\ninput y[i]\noutput o = -x - 3 - (y - 1) * (2 / (x / y)) ^ -2\n");
    assert_eq!(print_term(&spec, spec.outputs[0].term), "-x - 3.0 - (y - 1.0) * (2.0 / (x / y)) ^ -2.0");
    let (x, y) = (spec.terms.node(spec.outputs[0].term).operands()[0], spec.terms.real(f64::NEG_INFINITY));
    let recip = spec.terms.unary(attnc_algebra::UnaryOp::Recip, x);
    let product = spec.terms.nary(attnc_algebra::NaryOp::Mul, vec![y, recip]);
    assert_eq!(print_term(&spec, product), "-inf / -x");
    let least = spec.terms.int(i64::MIN);
    assert_eq!(print_term(&spec, least), "-9223372036854775808");
}

#[test]
fn large_terms_name_their_shared_parts() {
    let spec = compile("input x[i]\noutput o = iterate 20 (z = exp(x)) { z * (2 - sum[i](z) / I) + tanh(z) }\n");
    let shown = print_term(&spec, spec.outputs[0].term);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 20, "{shown}");
    assert_eq!(lines[1], "t2 = t1 * (2.0 - sum[i](t1) / I) + tanh(t1)");
    assert_eq!(lines[19], "t19 * (2.0 - sum[i](t19) / I) + tanh(t19)");
    // The printed definitions are statements of the language.
    let again = compile(&format!("input x[i]\n{}\noutput o = {}\n", lines[..19].join("\n"), lines[19]));
    assert_eq!(print_term(&again, again.outputs[0].term), shown);
}

#[test]
fn longer_terms_are_cut() {
    let sum: Vec<String> = (0..10_000).map(|n| format!("{n} * x")).collect();
    let spec = compile(&format!("input x[i]\noutput o = {}\n", sum.join(" + ")));
    let shown = print_term(&spec, spec.outputs[0].term);
    assert!(shown.ends_with("…") && shown.len() < 200_000, "{} bytes", shown.len());
}
