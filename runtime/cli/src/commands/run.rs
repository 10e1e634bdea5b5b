//! `attnc run`: compile, run, compare.

use std::time::Instant;

use attnc::{Kernel, Tensor, TensorView};
use attnc_algebra::Extents;
use serde_json::{Map, Value, json};

use super::candidates;
use crate::args::RunArgs;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::session::{SpecFile, dumps, options};
use crate::{mask, reference, table, tensorfile};

/// Runs a spec and reports on it.
pub fn run(args: &RunArgs) -> Result<String, Failure> {
    let file = SpecFile::read(&args.file)?;
    let mut options = options(&args.common)?;
    options.perf_map = args.perf_map;
    options.compiler.variant.clone_from(&args.variant);
    let dumps = dumps(&args.dump_after)?;
    let mut kernel = file.compile(&options, &dumps)?;
    let inputs = Inputs::obtain(&kernel, &args.common, &args.rename)?;
    let views = inputs.views();
    let extents = kernel.extents(&views).map_err(|e| file.failure(e))?;
    let candidates = candidates::measured(&file, &kernel, &options, &extents, &inputs, args.repeat)?;
    if let Some(budget) = args.common.budget.filter(|_| args.variant.is_none())
        && let Some(best) = candidates::within(&candidates, budget)
        && !best.exact
    {
        options.compiler.variant = Some(best.variant.clone());
        kernel = file.compile(&options, &dumps)?;
    }
    let prepared = kernel.prepare(&extents).map_err(|e| file.failure(e))?;
    let compile_ms: f64 = kernel.pass_times().iter().map(|p| p.time.as_secs_f64() * 1e3).sum();
    let (outputs, run_ms) = timed(&kernel, &views, args.repeat).map_err(|e| file.failure(e))?;

    let mut report = Map::new();
    describe(&mut report, &kernel, &extents);
    let layout = prepared.layout();
    let scratch = layout.scratch_bytes(kernel.threads()).unwrap_or(usize::MAX);
    let flops = mask::flops(kernel.spec(), &extents, inputs.tensors());
    let candidate = prepared.candidate();
    report.insert("variant".into(), json!(candidate.name()));
    report.insert("form".into(), json!(candidate.form()));
    report.insert("exact".into(), json!(candidate.is_exact()));
    if !candidate.is_exact() {
        let error = candidates.iter().find(|c| c.variant == candidate.name()).map(|c| c.error);
        report.insert("error".into(), json!(error.map(finite)));
    }
    report.insert("stages".into(), json!(prepared.plan().stages().map(|s| s.program.name.clone()).collect::<Vec<_>>()));
    report.insert("compile_ms".into(), json!(compile_ms));
    report.insert("run_ms".into(), json!(run_ms));
    report.insert("gflops".into(), json!(flops / (run_ms * 1e6)));
    report.insert("scratch_bytes".into(), json!(scratch));
    report.insert("peak_bytes".into(), json!(layout.argument_bytes(prepared.plan()).saturating_add(scratch)));
    report.insert("code_bytes".into(), json!(prepared.code().iter().map(|r| r.length).sum::<usize>()));
    report.insert("output_hash".into(), json!(format!("{:016x}", hash(&outputs))));
    candidates::report(&mut report, &kernel, &candidates);
    let passes: Vec<Value> = kernel
        .pass_times()
        .iter()
        .map(|p| json!({ "pass": p.pass.name(), "ms": p.time.as_secs_f64() * 1e3 }))
        .collect();
    report.insert("passes".into(), json!(passes));
    if args.check {
        let check = reference::check(kernel.spec(), &extents, inputs.tensors(), &outputs)?;
        report.insert("max_abs_err".into(), json!(finite(check.accuracy.max_abs_err)));
        report.insert("max_rel_err".into(), json!(finite(check.accuracy.max_rel_err)));
        report.insert("rel_error_fro".into(), json!(finite(check.accuracy.rel_error_fro())));
        report.insert("rows_checked".into(), json!(check.rows_checked));
        report.insert("rows_total".into(), json!(check.rows_total));
    }
    if !args.expect.is_empty() {
        report.insert("expected".into(), expectations(&kernel, args, &inputs, &outputs)?);
    }
    if let Some(path) = &args.output {
        let named: Vec<(String, Tensor)> =
            kernel.spec().outputs.iter().map(|o| o.name.clone()).zip(outputs.iter().cloned()).collect();
        tensorfile::write(path, &named)?;
    }
    for (pass, text) in kernel.dumps() {
        crate::report(&format!("=== after {}\n{text}", pass.name()));
    }
    let report = Value::Object(report);
    Ok(if args.common.json { format!("{report}\n") } else { human(&report) })
}

/// Runs `repeat` times; the outputs and the median time in ms.
pub(super) fn timed(
    kernel: &Kernel,
    views: &[(&str, TensorView<'_>)],
    repeat: u32,
) -> Result<(Vec<Tensor>, f64), attnc::Error> {
    let mut times = Vec::new();
    let mut outputs = Vec::new();
    for _ in 0..repeat {
        drop(std::mem::take(&mut outputs));
        let started = Instant::now();
        outputs = kernel.run(views)?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok((outputs, times[times.len() / 2]))
}

fn describe(report: &mut Map<String, Value>, kernel: &Kernel, extents: &Extents) {
    let spec = kernel.spec();
    let params: Map<String, Value> =
        spec.params.iter().map(|(name, term)| (name.clone(), json!(mask::constant(spec, *term, extents)))).collect();
    let named: Map<String, Value> =
        extents.0.iter().map(|(id, v)| (spec.symbols[id.0 as usize].name.clone(), json!(v))).collect();
    report.insert("spec".into(), json!(spec.name));
    report.insert("params".into(), Value::Object(params));
    report.insert("extents".into(), Value::Object(named));
    report.insert("engine".into(), json!(kernel.engine().name()));
    report.insert("isa".into(), json!(kernel.isa().name()));
    report.insert("threads".into(), json!(kernel.threads()));
}

fn expectations(kernel: &Kernel, args: &RunArgs, inputs: &Inputs, outputs: &[Tensor]) -> Result<Value, Failure> {
    let mut rows = Vec::new();
    for item in &args.expect {
        let Some((output, recorded)) = item.split_once('=') else {
            return Err(Failure::Usage(format!("--expect {item}: expected OUTPUT=TENSOR")));
        };
        let Some(at) = kernel.spec().outputs.iter().position(|o| o.name == output) else {
            let names: Vec<&str> = kernel.spec().outputs.iter().map(|o| o.name.as_str()).collect();
            return Err(Failure::input(format!("the spec has no output `{output}`; it has {}", names.join(", "))));
        };
        let expected = inputs.recorded(recorded)?;
        let accuracy =
            reference::compare(&outputs[at], &expected).map_err(|e| Failure::input(format!("{recorded}: {e}")))?;
        rows.push(json!({
            "output": output, "tensor": recorded,
            "max_abs_err": finite(accuracy.max_abs_err), "max_rel_err": finite(accuracy.max_rel_err),
            "rel_error_fro": finite(accuracy.rel_error_fro()),
        }));
    }
    Ok(json!(rows))
}

/// JSON has no infinity; a wrongness without bound is the largest number.
pub(super) fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::MAX }
}

/// FNV-1a over types, shapes and bits of the outputs: equal bits, equal hash, on every machine.
fn hash(outputs: &[Tensor]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    let mut take = |byte: u8| state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for tensor in outputs {
        tensor.dtype().name().bytes().for_each(&mut take);
        tensor.shape().iter().for_each(|e| (*e as u64).to_le_bytes().into_iter().for_each(&mut take));
        attnc::tensor::to_le_bytes(tensor).into_iter().for_each(&mut take);
    }
    state
}

fn human(report: &Value) -> String {
    let text = |key: &str| report[key].as_str().unwrap_or("").to_string();
    let number = |key: &str| report[key].as_f64().map(table::number).unwrap_or_default();
    let size = |key: &str| report[key].as_u64().map(table::bytes).unwrap_or_default();
    let pairs = |key: &str| {
        let all = report[key].as_object().into_iter().flatten();
        all.map(|(k, v)| format!("{k} = {v}")).collect::<Vec<_>>().join(", ")
    };
    let mut out = format!("{} at {}\n", text("spec"), pairs("extents"));
    if report["params"].as_object().is_some_and(|p| !p.is_empty()) {
        out += &format!("  params    {}\n", pairs("params"));
    }
    let stages: Vec<&str> = report["stages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let exactness = match report.get("error") {
        None => "exact".to_string(),
        Some(error) => format!("approximate, error {}", error.as_f64().map(table::number).unwrap_or("unknown".into())),
    };
    out += &format!("  variant   {} ({} form, {exactness})\n", text("variant"), text("form"));
    out += &format!("  engine    {}, {}, {} threads\n", text("engine"), text("isa"), report["threads"]);
    out += &format!("  stages    {}\n", stages.join(", "));
    out += &format!("  compiled  {} ms\n", number("compile_ms"));
    out += &format!("  run       {} ms, {} GFLOP/s on allowed pairs\n", number("run_ms"), number("gflops"));
    out += &format!("  memory    {} scratch, {} in all\n", size("scratch_bytes"), size("peak_bytes"));
    out += &format!("  output    {}\n", text("output_hash"));
    if report.get("max_rel_err").is_some() {
        out += &format!(
            "  checked   {} of {} rows against the f64 reference: largest error {} absolute, {} relative\n",
            report["rows_checked"],
            report["rows_total"],
            number("max_abs_err"),
            number("max_rel_err")
        );
    }
    for row in report["expected"].as_array().into_iter().flatten() {
        let n = |key: &str| row[key].as_f64().map(table::number).unwrap_or_default();
        out += &format!(
            "  expected  {} against {}: largest error {} absolute, {} relative\n",
            row["output"].as_str().unwrap_or(""),
            row["tensor"].as_str().unwrap_or(""),
            n("max_abs_err"),
            n("max_rel_err")
        );
    }
    let rows: Vec<Vec<String>> = report["candidates"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| {
            let s = |k: &str| c[k].as_str().unwrap_or("").to_string();
            let n = |k: &str| c[k].as_f64().map(table::number).unwrap_or_default();
            let error = if c["exact"] == json!(true) { "exact".to_string() } else { n("error") };
            vec![s("variant"), s("form"), n("predicted_ms"), n("measured_ms"), error]
        })
        .collect();
    out += "\n";
    out += &table::render(&["candidate", "form", "predicted ms", "measured ms", "error"], &rows);
    for row in report["declined"].as_array().into_iter().flatten() {
        let s = |k: &str| row[k].as_str().unwrap_or("").to_string();
        out += &format!("\n{} declined: {}\n", s("rule"), s("because"));
    }
    out
}
