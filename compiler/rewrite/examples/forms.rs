//! Prints size, time and chosen forms of spec files at several lengths.
//!
//! `cargo run --release -p attnc-rewrite --example forms -- ir-specs/linear/*.attn`

use std::time::Instant;

use attnc_algebra::{Extents, Settings, Spec, SymbolId, compile_text, print_term};
use attnc_cost::MachineProfile;
use attnc_rewrite::{Limits, Saturated};

fn extents(spec: &Spec, n: i64) -> Extents {
    let mut out = Extents(spec.example.clone());
    for (at, symbol) in spec.symbols.iter().enumerate() {
        let id = SymbolId(at as u32);
        let default = match symbol.name.as_str() {
            "N" | "M" => n,
            "B" => 1,
            "H" => 4,
            "D" | "E" => 64,
            _ => 16,
        };
        if matches!(symbol.name.as_str(), "N" | "M") {
            out.0.insert(id, n);
        } else {
            out.0.entry(id).or_insert(default);
        }
    }
    out
}

fn main() {
    let verbose = std::env::var("VERBOSE").is_ok();
    let profile = MachineProfile::default();
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).expect("the file is readable");
        let spec = compile_text(&text, &Settings::default()).expect("the spec is valid");
        Saturated::new(&spec, &Limits::default());
        let start = Instant::now();
        let saturated = Saturated::new(&spec, &Limits::default());
        let took = start.elapsed();
        println!(
            "{path}: {:.2} ms, {} nodes, {} classes, {} iterations, {:?}",
            took.as_secs_f64() * 1e3,
            saturated.nodes(),
            saturated.classes(),
            saturated.iterations(),
            saturated.stopped()
        );
        if let Ok(n) = std::env::var("EXPLAIN") {
            let extents = extents(&spec, n.parse().expect("EXPLAIN is a length"));
            let chosen = saturated.extract(&extents, &profile);
            let start = Instant::now();
            let explanation = saturated.explain(&chosen);
            println!(
                "  explained in {:.2} ms; unexplained {:?}",
                start.elapsed().as_secs_f64() * 1e3,
                explanation.unexplained
            );
            for step in &explanation.steps {
                let direction = if step.reversed { " (reversed)" } else { "" };
                println!(
                    "    {}{direction}\n      {}",
                    step.rule_name(),
                    explanation.print(step).replace('\n', "\n      ")
                );
            }
            println!("  declined {:?}", explanation.declined);
        }
        let mut last = String::new();
        for n in [16, 32, 64, 128, 512, 4096, 65536, 1 << 20] {
            let extents = extents(&spec, n);
            let start = Instant::now();
            let found = saturated.extract(&extents, &profile);
            let took = start.elapsed().as_secs_f64() * 1e3;
            let runner = found.runner_up.as_ref().map(|r| (r.form.name(), r.cost_estimate.ms()));
            println!(
                "  N={n}: {} {:.4} ms (extracted in {took:.2} ms) runner-up {runner:?}",
                found.form.name(),
                found.cost_estimate.ms()
            );
            for output in &found.spec.outputs {
                let term = print_term(&found.spec, output.term);
                if verbose && term != last {
                    println!("      {} = {}", output.name, term.replace('\n', "\n      "));
                    last = term;
                }
            }
        }
    }
}
