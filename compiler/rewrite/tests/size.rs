//! Specs of unusual size: every one of them gets a form, soon.

use attnc_algebra::{Extents, Settings, Spec, SymbolId, compile_text};
use attnc_cost::MachineProfile;
use attnc_rewrite::{Limits, Saturated, Stopped};

fn check(text: &str) -> Saturated {
    let spec: Spec = compile_text(text, &Settings::default()).unwrap_or_else(|e| panic!("{e:?}"));
    let saturated = Saturated::new(&spec, &Limits::default());
    let extents = Extents((0..spec.symbols.len() as u32).map(|s| (SymbolId(s), 64)).collect());
    let found = saturated.extract(&extents, &MachineProfile::default());
    assert_eq!(found.spec.outputs.len(), spec.outputs.len());
    let explanation = saturated.explain(&found);
    assert!(!explanation.steps.is_empty());
    saturated
}

const HEAD: &str = "spec s\naxis i, j = N\ninput q[i, d]\ninput k[j, d]\ninput v[j, e]\n";

#[test]
fn definitions_that_double_do_not_grow_exponentially() {
    for op in ["+", "*"] {
        let mut text = format!("{HEAD}x0 = sum[d](q * k)\n");
        (1..60).for_each(|n| text.push_str(&format!("x{n} = x{} {op} x{}\n", n - 1, n - 1)));
        text.push_str("output out = sum[j](softmax[j](x59) * v)\n");
        check(&text);
    }
}

#[test]
fn predicates_that_double_do_not_grow_exponentially() {
    let mut text = format!("{HEAD}p0 = j <= i\n");
    (1..60).for_each(|n| text.push_str(&format!("p{n} = p{} and (p{} or i < {n})\n", n - 1, n - 1)));
    text.push_str("output out = sum[j](softmax[j where p59](sum[d](q * k)) * v)\n");
    check(&text);
}

#[test]
fn indices_that_double_do_not_grow_exponentially() {
    let mut text = format!("{HEAD}x0 = i - j\n");
    (1..50).for_each(|n| text.push_str(&format!("x{n} = (x{} + x{}) div 2\n", n - 1, n - 1)));
    text.push_str("output out = sum[j where x49 >= 0](0.5 ^ x49 * cos(x49 * 0.1) * sum[d](q * k) * v)\n");
    check(&text);
}

#[test]
fn products_of_many_sums_stop_in_time() {
    let mut text = String::from("spec s\naxis i, j = N\ninput v[j, e]\n");
    let mut score = String::from("v");
    for n in 0..7 {
        text.push_str(&format!("input a{n}[i, d{n}]\ninput b{n}[j, d{n}]\n"));
        score.push_str(&format!(" * sum[d{n}](a{n} * b{n})"));
    }
    text.push_str(&format!("output out = sum[j where j <= i]({score})\n"));
    let saturated = check(&text);
    assert!(saturated.nodes() < 40_000, "{} e-nodes", saturated.nodes());
}

#[test]
fn products_of_many_additions_stop_in_time() {
    let mut text = String::from("spec s\naxis i, j = N\ninput v[j, e]\n");
    let mut score = String::from("v");
    for n in 0..6 {
        text.push_str(&format!("input a{n}[i, d]\ninput b{n}[j, d]\n"));
        score.push_str(&format!(" * (a{n} - b{n}) ^ 2"));
    }
    text.push_str(&format!("output out = sum[j](sum[d]({score}))\n"));
    let saturated = check(&text);
    assert!(saturated.nodes() < 40_000, "{} e-nodes", saturated.nodes());
}

#[test]
fn a_spec_beyond_the_limit_keeps_its_own_form() {
    let mut text = String::from(HEAD);
    (0..2600).for_each(|n| text.push_str(&format!("output o{n} = sum[j](softmax[j](sum[d](q * k) * {n}.5) * v)\n")));
    assert_eq!(check(&text).stopped(), Stopped::TooLarge);
}
