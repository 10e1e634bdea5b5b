//! Stages of plans beside the machine's limits: time, tile products against their peak, bytes against memory's speed.
//!
//!     cargo bench -p attnc-bench --bench stages -- [FILE.attn ...] [--n N] [--heads H] [--dim D] [--threads T]
//!
//! Without a file: one spec of each family. A stage's operations and bytes are those that the plan's estimate counts, so
//! work that a better plan would not do counts as work. Inputs are drawn.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use attnc::tensor::OwnedOutput;
use attnc::{Kernel, Options, TensorView, TensorViewMut};
use attnc_algebra::draw::draw_inputs;
use attnc_algebra::{Extents, Settings, Spec};
use attnc_compiler::extents::{by_number, defaults};
use attnc_plan::StageWork;

#[path = "module/src/limits.rs"]
mod limits;

/// One spec of each family.
const SPECS: [&str; 8] = [
    "ir-specs/dense/softmax.attn",
    "ir-specs/dense/causal.attn",
    "ir-specs/dense/alibi.attn",
    "ir-specs/masked/local.attn",
    "ir-specs/masked/document.attn",
    "ir-specs/linear/linear-transformer.attn",
    "ir-specs/linear/linear-transformer-causal.attn",
    "tests/bench/specs/grouped-decode.attn",
];

/// Time spent on one spec.
const BUDGET: Duration = Duration::from_secs(2);

/// The least and greatest number of measured runs.
const RUNS: (usize, usize) = (3, 200);

struct Args {
    files: Vec<PathBuf>,
    n: i64,
    heads: i64,
    dim: i64,
    threads: usize,
}

fn main() -> ExitCode {
    match parse().and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Args, String> {
    let mut args = Args { files: Vec::new(), n: 4096, heads: 8, dim: 64, threads: 1 };
    let mut given = std::env::args().skip(1);
    while let Some(arg) = given.next() {
        let mut number = || {
            let text = given.next().unwrap_or_default();
            text.parse::<i64>().ok().filter(|n| *n >= 1).ok_or_else(|| format!("{arg} {text}: expected a number"))
        };
        match arg.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--n" => args.n = number()?,
            "--heads" => args.heads = number()?,
            "--dim" => args.dim = number()?,
            "--threads" => args.threads = number()? as usize,
            file => args.files.push(file.into()),
        }
    }
    if args.files.is_empty() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        args.files = SPECS.iter().map(|file| root.join(file)).collect();
    }
    Ok(args)
}

fn run(args: &Args) -> Result<(), String> {
    let limits = limits::measure(args.threads).ok_or("the machine's limits cannot be measured")?;
    let (product, read) = (limits.product_gflops, limits.read_gbytes_s);
    println!("limits with {} threads: tile products {product:.0} GFLOP/s, reading {read:.1} GB/s", args.threads);
    for file in &args.files {
        measure(file, args, limits).map_err(|message| format!("{}: {message}", file.display()))?;
    }
    Ok(())
}

fn measure(file: &Path, args: &Args, limits: limits::Limits) -> Result<(), String> {
    let source = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let options = Options { threads: args.threads, ..Options::default() };
    let kernel = attnc::compile(&source, &options).map_err(|e| e.to_string())?;
    let spec = kernel.spec();
    let extents = extents(spec, args);
    let inputs = draw_inputs(spec, &extents, 1).map_err(|e| e.to_string())?;
    let names = spec.inputs.iter().map(|i| i.name.as_str());
    let views: Vec<(&str, TensorView<'_>)> = names.zip(inputs.iter().map(TensorView::from)).collect();
    let prepared = kernel.prepare(&extents).map_err(|e| e.to_string())?;
    let times = median_times(&kernel, &views, &prepared.outputs())?;
    let numbers = by_number(spec, &extents);
    let total: f64 = times.iter().sum();
    println!("\n{} at N = {}: {}, {:.3} ms", spec.name, args.n, prepared.candidate().name(), total * 1e3);
    for (stage, seconds) in prepared.plan().stages().zip(&times) {
        let work = prepared.plan().work(stage, &numbers).unwrap_or_default();
        println!("{}", row(&stage.program.name, stage.kind.name(), &work, *seconds, limits));
    }
    Ok(())
}

/// The lengths asked for, where the spec has them; the rest as `attnc bench` has them.
fn extents(spec: &Spec, args: &Args) -> Extents {
    let mut extents = defaults(spec, &Settings::default());
    for (name, extent) in [("N", args.n), ("H", args.heads), ("D", args.dim), ("E", args.dim)] {
        if let Some(symbol) = spec.symbol(name) {
            extents.0.insert(symbol, extent);
        }
    }
    // Key heads: a quarter of the heads where that is whole.
    if let Some(groups) = spec.symbol("G") {
        extents.0.insert(groups, if args.heads % 4 == 0 { args.heads / 4 } else { args.heads });
    }
    extents
}

/// Seconds of each stage: medians over warm runs.
fn median_times(
    kernel: &Kernel,
    inputs: &[(&str, TensorView<'_>)],
    outputs: &[(attnc::DType, Vec<usize>)],
) -> Result<Vec<f64>, String> {
    let mut rooms: Vec<OwnedOutput> = outputs.iter().map(|(dtype, shape)| OwnedOutput::zeros(*dtype, shape)).collect();
    let names: Vec<&str> = kernel.spec().outputs.iter().map(|o| o.name.as_str()).collect();
    let mut views: Vec<(&str, TensorViewMut<'_>)> =
        names.into_iter().zip(rooms.iter_mut().map(OwnedOutput::view_mut)).collect();
    let mut runs: Vec<Vec<Duration>> = Vec::new();
    let mut spent = Duration::ZERO;
    kernel.time_stages(inputs, &mut views).map_err(|e| e.to_string())?;
    while runs.len() < RUNS.0 || (spent < BUDGET && runs.len() < RUNS.1) {
        runs.push(kernel.time_stages(inputs, &mut views).map_err(|e| e.to_string())?);
        spent += runs.last().map_or(Duration::ZERO, |run| run.iter().sum());
    }
    let stages = runs.first().map_or(0, Vec::len);
    Ok((0..stages)
        .map(|stage| {
            let mut times: Vec<Duration> = runs.iter().map(|run| run[stage]).collect();
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64()
        })
        .collect())
}

fn row(name: &str, kind: &str, work: &StageWork, seconds: f64, limits: limits::Limits) -> String {
    let gflops = (work.product_flops + work.product_flops_f64 + work.product_flops_bf16) / seconds / 1e9;
    let gbytes = (work.bytes_read + work.bytes_written) / seconds / 1e9;
    let (of_peak, of_memory) = (100.0 * gflops / limits.product_gflops, 100.0 * gbytes / limits.read_gbytes_s);
    format!(
        "  {name:<24} {kind:<10} {:>10.4} ms  {gflops:>7.1} GFLOP/s {of_peak:>4.0} %  {gbytes:>6.1} GB/s {of_memory:>4.0} %  \
         exp {:.1e}  pointwise {:.1e}  tiles {:.1e}",
        seconds * 1e3,
        work.exp,
        work.pointwise,
        work.tiles,
    )
}
