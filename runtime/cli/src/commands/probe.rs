//! `attnc probe`: measure this machine.

use attnc::{Isa, Options};
use serde_json::json;

use crate::args::ProbeArgs;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::table;

/// Measures, stores and prints the profile.
pub fn run(args: &ProbeArgs) -> Result<String, Failure> {
    let isa = match args.isa.as_deref() {
        None => None,
        Some(name) => {
            Some(Isa::from_name(name).ok_or_else(|| Failure::Usage(format!("--isa {name}: no such instruction set")))?)
        }
    };
    let threads = Options::default().thread_count();
    let started = std::time::Instant::now();
    let progress = Progress::new(attnc::profile::PROBE_STEPS, "measuring");
    let profile = attnc::profile::probe(isa, threads, || progress.step()).map_err(|e| Failure::input(e.to_string()))?;
    drop(progress);
    let path = attnc::profile::store(&profile, args.output.as_deref()).map_err(|e| Failure::input(e.to_string()))?;
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        let object = json!({ "profile": profile, "seconds": seconds, "path": path.display().to_string() });
        return Ok(format!("{object}\n"));
    }
    let rate = |what: &str, value: f64, unit: &str| vec![what.to_string(), table::number(value), unit.to_string()];
    let mut rows = vec![
        rate("further thread", profile.thread_gain, "of a thread"),
        rate("tile product f32", profile.product_f32_gflops, "GFLOP/s"),
        rate("tile product f64", profile.product_f64_gflops, "GFLOP/s"),
        rate("tile product bf16", profile.product_bf16_gflops, "GFLOP/s"),
        rate("exponential", profile.exp_ns, "ns per element"),
        rate("pointwise", profile.pointwise_ns, "ns per element"),
        rate("function in f64", profile.scalar_ns, "ns per element"),
        rate("gather", profile.gather_ns, "ns per element"),
        rate("row of a pass", profile.row_ns, "ns"),
        rate("tile", profile.tile_ns, "ns"),
        rate("stage", profile.call_ns, "ns"),
        rate("task", profile.task_ns, "ns"),
    ];
    for level in &profile.levels {
        let what = format!("stream up to {}", table::bytes(level.bytes));
        rows.push(rate(&what, level.gbytes_per_s, "GB/s"));
    }
    let head = format!("profile of {} with {} threads, measured in {seconds:.1} s\n\n", profile.name, profile.threads);
    Ok(head + &table::render(&["rate", "value", "unit"], &rows) + &format!("\nwritten to {}\n", path.display()))
}
