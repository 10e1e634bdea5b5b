//! Every rule record is sound: both sides evaluate to the same numbers.
//!
//! Draws instances of each rule's left side from the record's templates, lets
//! the rule make its right side, and evaluates both in f64 with the reference
//! evaluator. At least half of the draws must be usable.

use attnc_algebra::{
    AxisId, AxisSet, Data, Extents, Output, Reference, Settings, Spec, SymbolId, Tensor, TermId, compile_text,
    draw_inputs, print_term,
};
use attnc_rewrite::instance::instances;
use attnc_rewrite::rules;

const DRAWS: u64 = 12;

/// A linear congruential generator: draws are the same on every machine.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }

    fn pick(&mut self, choices: &[&str]) -> String {
        choices[self.below(choices.len() as u64) as usize].to_string()
    }
}

/// The text of a spec whose output is the template with its holes filled.
fn fill(template: &str, draws: &mut Draws) -> String {
    let mut inputs = String::new();
    let mut text = String::new();
    let mut rest = template;
    let mut count = 0;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        let kind = rest.as_bytes()[at + 1];
        let end = at + rest[at..].find(')').expect("a hole closes");
        let axes = &rest[at + 3..end];
        rest = &rest[end + 1..];
        text.push_str(&match kind {
            b'k' => {
                count += 1;
                inputs.push_str(&format!("input x{count}: i32[{axes}] in -1 .. 1\n"));
                format!("x{count}")
            }
            b'm' => predicate(axes, &mut count, &mut inputs, draws),
            _ => real(kind, axes, &mut count, &mut inputs, draws),
        });
    }
    text.push_str(rest);
    format!("spec drawn\naxis i, j, t = N\n{inputs}output o = {text}\n")
}

fn real(kind: u8, axes: &str, count: &mut usize, inputs: &mut String, draws: &mut Draws) -> String {
    let range = if matches!(kind, b'p' | b'u') { " in 0.5 .. 1.5" } else { "" };
    let mut input = || {
        *count += 1;
        inputs.push_str(&format!("input x{count}[{axes}]{range}\n"));
        format!("x{count}")
    };
    match (kind, draws.below(4)) {
        (b's' | b'u', _) => {
            let name = char::from(kind);
            if !inputs.contains(&format!("input {name}[")) {
                inputs.push_str(&format!("input {name}[{axes}]{range}\n"));
            }
            name.to_string()
        }
        (b'p', _) => input(),
        (_, 0) => format!("tanh({})", input()),
        (_, 1) => format!("max({}, {})", input(), input()),
        _ => input(),
    }
}

fn predicate(axes: &str, count: &mut usize, inputs: &mut String, draws: &mut Draws) -> String {
    let drawn = if axes.contains('i') {
        draws.pick(&[
            "true",
            "j <= i",
            "abs(i - j) <= 2",
            "(i - j) mod 3 == 0",
            "j < 2 or i < 1",
            "not (i < j)",
            "table",
            "j < i",
        ])
    } else {
        draws.pick(&["j < 3", "j mod 2 == 0", "table"])
    };
    match drawn.as_str() {
        "true" => "0 <= j".to_string(),
        "table" => {
            *count += 1;
            inputs.push_str(&format!("input x{count}: bool[{axes}]\n"));
            format!("x{count}")
        }
        _ => format!("({drawn})"),
    }
}

fn extents(spec: &Spec) -> Extents {
    let value = |name: &str| match name {
        "N" => 5,
        _ => 3,
    };
    Extents(spec.symbols.iter().enumerate().map(|(n, s)| (SymbolId(n as u32), value(&s.name))).collect())
}

fn evaluate(spec: &Spec, axes: &AxisSet, term: TermId, extents: &Extents, inputs: &[Tensor]) -> Vec<f64> {
    let mut spec = spec.clone();
    spec.outputs = vec![Output { name: "side".into(), axes: axes.iter().collect::<Vec<AxisId>>(), term }];
    let mut reference = Reference::new(&spec, extents, inputs).expect("the drawn inputs fit");
    reference.output(0).expect("positions are in range").into_iter().collect()
}

/// Inputs in f64, so that no side is rounded when it is read.
fn inputs(spec: &Spec, extents: &Extents, seed: u64) -> Vec<Tensor> {
    let drawn = draw_inputs(spec, extents, seed).expect("inputs can be drawn");
    drawn
        .into_iter()
        .map(|t| if let Data::F32(v) = t.data() { Tensor::f32(t.shape(), v.clone()).unwrap() } else { t })
        .collect()
}

/// Whether the rule fired and both sides agree; panics if they differ.
fn check_draw(rule: &attnc_rewrite::Rule, template: &str, seed: u64) -> bool {
    let mut draws = Draws(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ template.len() as u64);
    let text = fill(template, &mut draws);
    let spec = compile_text(&text, &Settings::default()).unwrap_or_else(|e| panic!("{}: {text}\n{e:?}", rule.name));
    let extents = extents(&spec);
    let inputs = inputs(&spec, &extents, seed);
    let mut usable = false;
    for rounds in [0, 2] {
        let found = instances(rule, &spec, rounds);
        for (from, to) in found.pairs.iter().take(4) {
            let axes = found.spec.terms.free(*from).union(found.spec.terms.free(*to));
            let left = evaluate(&found.spec, &axes, *from, &extents, &inputs);
            let right = evaluate(&found.spec, &axes, *to, &extents, &inputs);
            let size = left.iter().fold(1.0f64, |m, x| m.max(x.abs()));
            if !size.is_finite() {
                continue;
            }
            for (x, y) in left.iter().zip(&right) {
                assert!(
                    (x - y).abs() <= 1e-9 * size,
                    "{} is unsound: {x} is not {y}\n{}\n{}\nin {text}",
                    rule.name,
                    print_term(&found.spec, *from),
                    print_term(&found.spec, *to)
                );
            }
            usable = true;
        }
        if usable {
            break;
        }
    }
    usable
}

#[test]
fn both_sides_of_every_rule_are_equal() {
    for rule in rules() {
        assert!(!rule.draw.is_empty(), "{} has no template to draw from", rule.name);
        for template in rule.draw {
            let usable = (0..DRAWS).filter(|seed| check_draw(rule, template, *seed)).count() as u64;
            assert!(2 * usable >= DRAWS, "{}: only {usable} of {DRAWS} draws of `{template}` are usable", rule.name);
        }
    }
}

#[test]
fn names_are_unique_and_say_what_moves() {
    let mut names: Vec<&str> = rules().iter().map(|r| r.name).collect();
    names.sort_unstable();
    let unique = names.windows(2).all(|w| w[0] != w[1]);
    assert!(unique, "{names:?}");
    for rule in rules() {
        assert!(rule.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{} is not kebab-case", rule.name);
        assert!(!rule.doc.trim().is_empty() && !rule.sound.is_empty() && !rule.source.is_empty());
    }
}
