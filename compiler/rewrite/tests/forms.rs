//! What follows from the rules: derivations of the variants, and that every step of them is the spec.
//!
//! Extracts each spec of the repository at several lengths with the committed
//! profile, explains it, and evaluates every step with the reference.

use std::path::PathBuf;

use attnc_algebra::{
    Extents, Node, Output, Reference, Settings, Spec, SymbolId, Tensor, TermId, compile_text, draw_inputs, print_term,
};
use attnc_cost::MachineProfile;
use attnc_rewrite::{Extracted, Form, Limits, Saturated, Stopped};

fn spec_files() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../ir-specs");
    let mut files = Vec::new();
    for family in std::fs::read_dir(root).expect("the specs are in the repository") {
        let family = family.expect("the folder is readable").path();
        if family.is_dir() {
            files.extend(std::fs::read_dir(family).expect("the folder is readable").map(|f| f.unwrap().path()));
        }
    }
    files.retain(|f| f.extension().is_some_and(|e| e == "attn"));
    files.sort();
    files
}

/// The spec of a file, with one repetition of what it repeats: each is derived like the first.
fn read(file: &PathBuf) -> Option<Spec> {
    let text = std::fs::read_to_string(file).expect("the file is readable");
    let mut settings = Settings::default();
    for name in ["steps", "rounds"] {
        if text.contains(&format!("param {name} =")) {
            settings.set.insert(name.to_string(), 1.into());
        }
    }
    compile_text(&text, &settings).ok()
}

fn named(family_and_name: &str) -> Spec {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../ir-specs").join(family_and_name);
    read(&file).expect("the spec is valid")
}

fn extents(spec: &Spec, n: i64, m: i64, small: bool) -> Extents {
    let value = |name: &str, id: SymbolId| match name {
        "N" => n,
        "M" => m,
        _ if small => 4,
        "B" => 1,
        "H" => 8,
        "D" | "E" => spec.example.get(&id).copied().unwrap_or(64),
        _ => spec.example.get(&id).copied().unwrap_or(16),
    };
    let symbols = spec.symbols.iter().enumerate();
    Extents(symbols.map(|(at, s)| (SymbolId(at as u32), value(&s.name, SymbolId(at as u32)))).collect())
}

fn evaluate(spec: &Spec, output: &Output, term: TermId, extents: &Extents, inputs: &[Tensor]) -> Vec<f64> {
    let mut spec = spec.clone();
    spec.outputs = vec![Output { term, ..output.clone() }];
    let mut reference = Reference::new(&spec, extents, inputs).expect("the drawn inputs fit");
    reference.output(0).expect("positions are in range").into_iter().collect()
}

fn assert_close(left: &[f64], right: &[f64], what: &str) {
    let size = left.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (x, y) in left.iter().zip(right) {
        let both_undefined = !x.is_finite() && !y.is_finite();
        assert!(both_undefined || (x - y).abs() <= 1e-9 * size, "{x} is not {y}: {what}");
    }
}

fn chosen(spec: &Spec, n: i64, m: i64) -> Extracted {
    Saturated::new(spec, &Limits::default()).extract(&extents(spec, n, m, false), &MachineProfile::default())
}

fn printed(found: &Extracted) -> String {
    found.spec.outputs.iter().map(|o| print_term(&found.spec, o.term)).collect()
}

#[test]
fn every_step_of_every_derivation_evaluates_to_the_spec() {
    for file in spec_files() {
        let Some(spec) = read(&file) else { continue };
        let saturated = Saturated::new(&spec, &Limits::default());
        // What repeats itself may meet the limit on nodes: its forms are fewer, and equal all the same.
        let repeats = std::fs::read_to_string(&file).expect("the file is readable").contains("iterate");
        assert!(repeats || saturated.stopped() == Stopped::Saturated, "{}", file.display());
        let small = extents(&spec, 5, 3, true);
        let inputs = draw_inputs(&spec, &small, 1).expect("inputs can be drawn");
        let own: Vec<Vec<f64>> = spec.outputs.iter().map(|o| evaluate(&spec, o, o.term, &small, &inputs)).collect();
        for n in [16, 4096] {
            let found = saturated.extract(&extents(&spec, n, n, false), &MachineProfile::default());
            let explanation = saturated.explain(&found);
            assert!(explanation.unexplained.is_empty(), "{} at {n}", file.display());
            for step in &explanation.steps {
                let output = &spec.outputs[step.output];
                let value = evaluate(&explanation.spec, output, step.term, &small, &inputs);
                assert_close(&own[step.output], &value, &format!("{} {}", file.display(), explanation.print(step)));
            }
            let last = explanation.steps.last().expect("a derivation starts with the spec");
            assert_eq!(explanation.print(last), print_term(&found.spec, found.spec.outputs[last.output].term));
            for other in &found.alternatives {
                assert!(saturated.explain(&other.clone().into()).unexplained.is_empty(), "{}", file.display());
                for (at, output) in other.spec.outputs.iter().enumerate() {
                    let value = evaluate(&other.spec, output, output.term, &small, &inputs);
                    assert_close(&own[at], &value, &print_term(&other.spec, output.term));
                }
            }
        }
    }
}

#[test]
fn softmax_weights_times_values_are_attended() {
    let found = chosen(&named("dense/softmax.attn"), 4096, 4096);
    assert_eq!(printed(&found), "attend[j](sum[d](q * k) / sqrt(D), v)");
}

#[test]
fn a_kernel_form_is_quadratic_when_short_and_linear_when_long() {
    let spec = named("linear/linear-transformer.attn");
    assert_eq!(chosen(&spec, 16, 16).form, Form::Quadratic);
    let long = chosen(&spec, 4096, 4096);
    assert_eq!(long.form, Form::Linear);
    assert!(printed(&long).contains("sum[d]((elu(q) + 1.0) * sum[j]("), "{}", printed(&long));
}

#[test]
fn a_causal_kernel_form_is_scanned_when_long() {
    let spec = named("linear/linear-transformer-causal.attn");
    assert_eq!(chosen(&spec, 16, 16).form, Form::Quadratic);
    let long = chosen(&spec, 4096, 4096);
    assert_eq!(long.form, Form::Linear);
    assert_eq!(printed(&long).matches("scan[j <= i]").count(), 2);
}

#[test]
fn decays_become_scans() {
    for (file, decay) in [
        ("linear/retention.attn", "2.0 ^ (-5 - h)"),
        ("linear/gated-linear.attn", "gate[b, h, j, d])"),
        ("linear/ssd.attn", "exp(-(rate * dt[b, h, j])))"),
    ] {
        let text = printed(&chosen(&named(file), 4096, 4096));
        assert!(text.contains("scan[j <= i](") && text.contains(decay), "{file}: {text}");
    }
}

#[test]
fn latent_weights_are_absorbed_for_one_query_and_expanded_for_a_prompt() {
    let spec = named("dense/mla.attn");
    let decode = printed(&chosen(&spec, 4096, 1));
    let prefill = printed(&chosen(&spec, 4096, 4096));
    assert!(prefill.contains("sum[r](c * Wk)") && prefill.contains("sum[r](c * Wv)"), "{prefill}");
    assert!(!decode.contains("sum[r](c * Wk)") && !decode.contains("sum[r](c * Wv)"), "{decode}");
    assert!(decode.contains("attend["), "{decode}");
}

#[test]
fn a_distance_score_becomes_a_dot_product_without_the_query_norm() {
    let text = printed(&chosen(&named("dense/l2-distance.attn"), 512, 512));
    assert!(text.contains("sum[d](q * k)") && text.contains("sum[d](k * k)") && !text.contains("q * q"), "{text}");
}

#[test]
fn cosine_of_a_distance_separates() {
    let text = "spec cosine-decay\naxis i, j = N\ninput q[h, i, d]\ninput k[h, j, d]\ninput v[h, j, e]\n\
                score = sum[d](relu(q) * relu(k)) * cos(pi / 2 * (i - j) / N)\n\
                output out = sum[j](score * v) / sum[j](score)\n";
    let spec = compile_text(text, &Settings::default()).expect("the spec is valid");
    let found = chosen(&spec, 65536, 65536);
    assert_eq!(found.form, Form::Linear, "{}", printed(&found));
}

#[test]
fn a_quotient_written_by_hand_is_attended() {
    let text = "spec quotient\naxis i, j = N\ninput q[i, d]\ninput k[j, d]\ninput v[j, e]\n\
                s = sum[d](q * k)\n\
                output out = sum[j where j <= i](exp(s) * v) / sum[j where j <= i](exp(s))\n";
    let spec = compile_text(text, &Settings::default()).expect("the spec is valid");
    assert!(printed(&chosen(&spec, 512, 512)).starts_with("attend[j where j <= i]("));
}

#[test]
fn a_sink_written_by_hand_gates_the_attention() {
    let text = "spec sink\naxis i, j = N\ninput q[h, i, d]\ninput k[h, j, d]\ninput v[h, j, e]\ninput z[h]\n\
                s = sum[d](q * k)\n\
                output out = sum[j where j <= i](exp(s) * v) / (exp(z) + sum[j where j <= i](exp(s)))\n";
    let spec = compile_text(text, &Settings::default()).expect("the spec is valid");
    let text = printed(&chosen(&spec, 512, 512));
    assert!(
        text.contains("attend[j where j <= i](") && text.contains("sigmoid(") && !text.contains("exp(z)"),
        "{text}"
    );
}

#[test]
fn a_causal_kernel_form_with_padded_keys_is_scanned() {
    let text = "spec padded\naxis i, j = N\ninput q[h, i, d]\ninput k[h, j, d]\ninput v[h, j, e]\n\
                input valid: bool[j]\n\
                output out = sum[j where j <= i and valid](sum[d](relu(q) * relu(k)) * v)\n";
    let spec = compile_text(text, &Settings::default()).expect("the spec is valid");
    assert!(printed(&chosen(&spec, 65536, 65536)).contains("scan[j <= i]("));
}

#[test]
fn what_decides_is_kept_as_written() {
    let text = "spec top\naxis i, j = N\ninput q[i, d]\ninput k[j, d]\ninput v[j, e]\n\
                score = sum[d](q * k * 2)\n\
                weight = softmax[j where rank[j](score) < 3](score)\n\
                output out = sum[j](weight * v)\n";
    let Ok(spec) = compile_text(text, &Settings::default()) else { return };
    let found = chosen(&spec, 512, 512);
    let Node::Attend { domain, .. } = found.spec.terms.node(found.spec.outputs[0].term) else {
        panic!("not attended: {}", printed(&found))
    };
    let kept = (0..spec.terms.len() as u32).map(TermId).any(|t| t == *domain);
    assert!(kept, "the domain is a term of the spec itself");
}

#[test]
fn an_output_without_reals_is_left_alone() {
    let text = "spec plain\naxis i = N\ninput x: i32[i]\noutput out = x + 1\n";
    let Ok(spec) = compile_text(text, &Settings::default()) else { return };
    let found = chosen(&spec, 64, 64);
    assert_eq!(found.spec.outputs[0].term, spec.outputs[0].term);
}

#[test]
fn extraction_is_the_same_every_time() {
    for file in spec_files() {
        let Some(spec) = read(&file) else { continue };
        let texts: Vec<String> = (0..2).map(|_| printed(&chosen(&spec, 777, 777))).collect();
        assert_eq!(texts[0], texts[1]);
    }
}

#[test]
fn an_index_stays_under_the_guard_that_keeps_it_in_range() {
    let head = "spec shifted\naxis i, j = N\ninput q[i, d]\ninput w[i, d]\ninput k[j, d]\ninput v[j, e]\n";
    let guarded = format!("{head}output out = sum[j where j < i](sum[d](w[i - 1, d] * k) * v)\n");
    let spec = compile_text(&guarded, &Settings::default()).expect("the spec is valid");
    let saturated = Saturated::new(&spec, &Limits::default());
    let found = saturated.extract(&extents(&spec, 65536, 65536, false), &MachineProfile::default());
    let declined = saturated.explain(&found).declined;
    assert!(declined.iter().any(|(_, reason)| reason.contains("guard")), "{declined:?}");
    // An index over another axis than the restriction's needs no guard of it.
    let free = format!("{head}output out = sum[j where j <= i](sum[d](q[i, D - 1 - d] * k) * v)\n");
    let spec = compile_text(&free, &Settings::default()).expect("the spec is valid");
    assert_eq!(chosen(&spec, 65536, 65536).form, Form::Linear);
}

#[test]
fn an_infinite_shift_stays() {
    let text = "spec dead\naxis i, j = N\ninput s[i, j]\ninput p[i] in 0 .. 1\noutput out = softmax[j](s + log(p))\n";
    let spec = compile_text(text, &Settings::default()).expect("the spec is valid");
    assert!(printed(&chosen(&spec, 64, 64)).contains("log(p)"));
}
