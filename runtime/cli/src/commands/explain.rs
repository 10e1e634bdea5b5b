//! `attnc explain`: how the plan was derived.

use attnc::{Kernel, Listing};
use attnc_algebra::Extents;
use attnc_compiler::Explanation;
use attnc_compiler::extents::{at_length, defaults, length_symbol, listing};
use attnc_plan::Plan;
use serde_json::{Map, Value, json};

use crate::args::ExplainArgs;
use crate::failure::Failure;
use crate::session::{SpecFile, options};
use crate::table;

/// Prints the derivation, what declined, the runner-up, and the code if wanted.
pub fn run(args: &ExplainArgs) -> Result<String, Failure> {
    let file = SpecFile::read(&args.file)?;
    let options = options(&args.common)?;
    let kernel = file.compile(&options, &[])?;
    let extents = extents_of(&kernel, args.n);
    let prepared = kernel.prepare(&extents).map_err(|e| file.failure(e))?;
    let explanation = kernel.analysis().explain(&extents).map_err(|e| file.failure(e.into()))?;
    // With the time that its plan is predicted to take, as other commands have it.
    let chosen = kernel.analysis().extract(&extents).map_err(|e| file.failure(e.into()))?;
    let symbols: Vec<String> = kernel.spec().symbols.iter().map(|s| s.name.clone()).collect();
    let loops: Vec<(String, String)> = prepared
        .plan()
        .stages()
        .map(|s| (s.program.name.clone(), attnc_plan::loops::print::text(&s.program, &symbols)))
        .collect();
    let listings =
        if args.clif || args.asm { kernel.listings(&extents).map_err(|e| file.failure(e))? } else { Vec::new() };
    if let Some(path) = &args.dot {
        std::fs::write(path, dot(prepared.plan())).map_err(|e| Failure::file(path, &e))?;
    }
    if args.common.json {
        let mut report = report(&kernel, &extents, &explanation, &chosen);
        if args.loops {
            report.insert(
                "loops".into(),
                json!(loops.iter().map(|(n, t)| json!({ "stage": n, "text": t })).collect::<Vec<_>>()),
            );
        }
        let texts = |f: fn(&Listing) -> &str| -> Value {
            json!(listings.iter().map(|l| json!({ "stage": l.stage, "text": f(l) })).collect::<Vec<_>>())
        };
        if args.clif {
            report.insert("clif".into(), texts(|l| &l.clif));
        }
        if args.asm {
            report.insert("asm".into(), texts(|l| &l.asm));
        }
        return Ok(format!("{}\n", Value::Object(report)));
    }
    let mut out = human(&kernel, &extents, &explanation, &chosen);
    if args.loops {
        loops.iter().for_each(|(_, text)| out.push_str(&format!("\n{text}")));
    }
    for l in &listings {
        if args.clif {
            out.push_str(&format!("\n; stage {}\n{}", l.stage, l.clif));
        }
        if args.asm {
            out.push_str(&format!("\n; stage {}\n{}", l.stage, l.asm));
        }
    }
    Ok(out)
}

fn extents_of(kernel: &Kernel, n: Option<i64>) -> Extents {
    let spec = kernel.spec();
    let settings = &kernel.analysis().options().settings;
    let extents = defaults(spec, settings);
    let n = n.or_else(|| length_symbol(spec).and_then(|s| extents.get(s))).unwrap_or(1);
    at_length(spec, &extents, n, attnc_compiler::extents::m_follows(spec, settings))
}

fn report(
    kernel: &Kernel,
    extents: &Extents,
    explanation: &Explanation,
    chosen: &attnc_compiler::Candidate,
) -> Map<String, Value> {
    let spec = kernel.spec();
    let steps: Vec<Value> = explanation
        .steps
        .iter()
        .map(|step| {
            json!({
                "rule": step.rule_name(), "term": explanation.print(step),
                "output": spec.outputs[step.output].name, "reversed": step.reversed,
                "sound": step.rule.map(|r| r.sound), "source": step.rule.map(|r| r.source),
            })
        })
        .collect();
    let declined: Vec<Value> =
        explanation.declined.iter().map(|(rule, reason)| json!({ "rule": rule, "reason": reason })).collect();
    let runner_up = explanation.runner_up.as_ref().map(|r| {
        let terms: Vec<String> = r.spec.outputs.iter().map(|o| attnc_algebra::print_term(&r.spec, o.term)).collect();
        json!({ "form": r.form.name(), "predicted_ms": r.cost_estimate.ms(), "terms": terms })
    });
    let named: Map<String, Value> =
        extents.0.iter().map(|(id, v)| (crate::mask::symbol_name(spec, *id).to_string(), json!(v))).collect();
    let unexplained: Vec<&str> = explanation.unexplained.iter().map(|o| spec.outputs[*o].name.as_str()).collect();
    let mut out = Map::new();
    out.insert("spec".into(), json!(spec.name));
    out.insert("extents".into(), Value::Object(named));
    out.insert("variant".into(), json!(chosen.name()));
    out.insert("form".into(), json!(chosen.form()));
    out.insert("predicted_ms".into(), json!(chosen.predicted_ms()));
    out.insert("steps".into(), json!(steps));
    out.insert("declined".into(), json!(declined));
    out.insert("runner_up".into(), json!(runner_up));
    out.insert("unexplained".into(), json!(unexplained));
    out
}

fn human(kernel: &Kernel, extents: &Extents, explanation: &Explanation, chosen: &attnc_compiler::Candidate) -> String {
    let spec = kernel.spec();
    let mut out = format!(
        "{} at {}\nchosen: {} form, predicted {} ms\n",
        spec.name,
        listing(spec, extents),
        chosen.form(),
        table::number(chosen.predicted_ms())
    );
    for (number, step) in explanation.steps.iter().enumerate() {
        let how = if step.reversed { ", read backwards" } else { "" };
        out.push_str(&format!("\n{number:>3}. {}{how}\n", step.rule_name()));
        if let Some(rule) = step.rule {
            out.push_str(&format!(
                "     {} -> {}\n     sound by: {} ({})\n",
                rule.before, rule.after, rule.sound, rule.source
            ));
        }
        let name = &spec.outputs[step.output].name;
        for (at, line) in explanation.print(step).lines().enumerate() {
            out.push_str(&if at == 0 { format!("     {name} = {line}\n") } else { format!("       {line}\n") });
        }
    }
    for output in &explanation.unexplained {
        out.push_str(&format!("\nno derivation of `{}` was found within the limits\n", spec.outputs[*output].name));
    }
    if !explanation.declined.is_empty() {
        out.push_str("\ndeclined:\n");
        let rows: Vec<Vec<String>> =
            explanation.declined.iter().map(|(rule, reason)| vec![rule.to_string(), reason.to_string()]).collect();
        out.push_str(&table::render(&["rule", "because"], &rows));
    }
    match &explanation.runner_up {
        None => out.push_str("\nno other form is known\n"),
        Some(other) => {
            let ms = table::number(other.cost_estimate.ms());
            out.push_str(&format!("\nrunner-up: {} form, predicted {ms} ms\n", other.form.name()));
            for o in &other.spec.outputs {
                out.push_str(&format!("  {} = {}\n", o.name, attnc_algebra::print_term(&other.spec, o.term)));
            }
        }
    }
    out
}

/// The stage graph for Graphviz: stages as boxes, buffers as edges.
fn dot(plan: &Plan) -> String {
    let mut out = String::from("digraph plan {\n  rankdir = LR;\n  node [shape = box];\n");
    for node in plan.order() {
        let stage = &plan.graph[node];
        out.push_str(&format!("  s{} [label = \"{}\\n{}\"];\n", node.index(), stage.program.name, stage.kind.name()));
        for (arg, buffer) in stage.args.iter().zip(&stage.program.buffers) {
            let plan_buffer = &plan.buffers[arg.0 as usize];
            let ends = match (plan_buffer.role, buffer.access) {
                (attnc_plan::Role::Input(_), _) => format!("\"{}\" -> s{}", plan_buffer.name, node.index()),
                (attnc_plan::Role::Output(_), _) => format!("s{} -> \"{}\"", node.index(), plan_buffer.name),
                (attnc_plan::Role::Intermediate, _) => continue,
            };
            out.push_str(&format!("  {ends};\n"));
        }
    }
    for edge in plan.graph.edge_indices() {
        let Some((from, to)) = plan.graph.edge_endpoints(edge) else { continue };
        let buffer = &plan.buffers[plan.graph[edge].0 as usize];
        out.push_str(&format!("  s{} -> s{} [label = \"{}\"];\n", from.index(), to.index(), buffer.name));
    }
    out.push_str("}\n");
    out
}
