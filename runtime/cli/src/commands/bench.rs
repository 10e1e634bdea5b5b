//! `attnc bench`: predictions against measurements.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use attnc::{Kernel, Options, TensorView, TensorViewMut};
use attnc_algebra::{Extents, Spec};
use attnc_compiler::Candidate;
use attnc_compiler::extents::{at_length, by_number, defaults, m_follows};
use attnc_plan::StageWork;
use serde_json::{Value, json};

use crate::args::BenchArgs;
use crate::failure::Failure;
use crate::inputs::{Inputs, beyond_memory};
use crate::mask;
use crate::picture::{self, Line};
use crate::progress::Progress;
use crate::session::{SpecFile, options};
use crate::table;

/// How often a kernel is compiled, since one time among other work says little.
const COMPILES: usize = 3;

/// Time spent on measuring one candidate, after which the median is taken.
const BUDGET: Duration = Duration::from_millis(300);

/// The least and greatest number of measured runs.
const RUNS: (usize, usize) = (3, 200);

/// A candidate that takes this long is measured once: making code and touching memory do not show in it.
const LONG_MS: f64 = 3_000.0;

/// One measured candidate.
struct Row {
    spec: String,
    n: i64,
    threads: usize,
    variant: String,
    form: String,
    predicted_ms: f64,
    measured_ms: f64,
    gflops: f64,
    compile_ms: f64,
    exact: bool,
    chosen: bool,
    regret: f64,
    /// Counted work of all stages.
    work: StageWork,
}

/// A candidate that is named and not run.
struct Skipped {
    spec: String,
    n: i64,
    variant: String,
    predicted_ms: f64,
    why: String,
}

/// Candidates expected to take longer than this are named and not run, in ms.
const LONGEST_MS: f64 = 20_000.0;

/// Lengths whose inputs and outputs take more than this part of the free memory are not run.
const PART_OF_MEMORY: f64 = 0.5;

/// Measures every candidate of every spec at every length.
pub fn run(args: &BenchArgs) -> Result<String, Failure> {
    let files = spec_files(&args.path)?;
    let lengths = args.n.iter().map(|n| length(n)).collect::<Result<Vec<i64>, _>>()?;
    let mut options = options(&args.common)?;
    // Predictions and measurements are for the same number of threads: the profile's unless set.
    let threads = args.common.threads.unwrap_or(options.compiler.profile.threads);
    options.threads = threads as usize;
    options.compiler.profile.threads = threads;
    let progress = Progress::new((files.len() * lengths.len()) as u64, "measuring");
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    for path in &files {
        let file = SpecFile::read(path)?;
        for n in &lengths {
            let seed = args.common.random.unwrap_or(1);
            let new = measure(&file, &options, *n, seed, (&rows, &mut skipped))?;
            rows.extend(new);
            progress.step();
        }
    }
    drop(progress);
    if let Some(path) = &args.svg {
        std::fs::write(path, chart(&rows)).map_err(|e| Failure::file(path, &e))?;
    }
    let compile = median(rows.iter().filter(|r| r.chosen).map(|r| r.compile_ms).collect());
    let slowest = rows.iter().filter(|r| r.chosen).map(|r| r.compile_ms).fold(0.0, f64::max);
    if args.common.json {
        let rows: Vec<Value> = rows.iter().map(row_json).collect();
        let skipped: Vec<Value> = skipped
            .iter()
            .map(|s| {
                json!({
                    "spec": s.spec, "n": s.n, "variant": s.variant, "predicted_ms": s.predicted_ms, "why": s.why,
                })
            })
            .collect();
        let report = json!({
            "rows": rows, "skipped": skipped, "compile_ms_median": compile, "compile_ms_max": slowest,
        });
        return Ok(format!("{report}\n"));
    }
    let header = ["spec", "N", "threads", "variant", "predicted ms", "measured ms", "GFLOP/s", "chosen", "regret"];
    let cells: Vec<Vec<String>> = rows.iter().map(row_text).collect();
    let mut foot: String =
        skipped.iter().map(|s| format!("\nskipped: {} of {} at N = {}, {}", s.variant, s.spec, s.n, s.why)).collect();
    foot += &format!(
        "\nspec text to machine code: median {} ms, at most {} ms\n",
        table::number(compile),
        table::number(slowest)
    );
    Ok(table::render(&header, &cells) + &foot)
}

fn length(text: &str) -> Result<i64, Failure> {
    match text.trim().parse::<i64>() {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err(Failure::Usage(format!("--n {text}: expected lengths from 1 upwards, separated by commas"))),
    }
}

/// The file, or all `.attn` files below the directory in order of their paths.
fn spec_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    let mut open = vec![path.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).map_err(|e| Failure::file(&dir, &e))? {
            let path = entry.map_err(|e| Failure::file(&dir, &e))?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "attn") {
                found.push(path);
            }
        }
    }
    found.sort();
    if found.is_empty() { Err(Failure::input(format!("{}: no .attn file in it", path.display()))) } else { Ok(found) }
}

/// All candidates of one spec at one length. Those that took longer than predicted before are expected to again.
fn measure(
    file: &SpecFile,
    options: &Options,
    n: i64,
    seed: u64,
    (before, skipped): (&[Row], &mut Vec<Skipped>),
) -> Result<Vec<Row>, Failure> {
    let kernel = file.compile(options, &[])?;
    let spec = kernel.spec();
    let settings = &options.compiler.settings;
    let extents = at_length(spec, &defaults(spec, settings), n, m_follows(spec, settings));
    let candidates = kernel.analysis().candidates(&extents).map_err(|e| file.failure(e.into()))?;
    let mut skip = |candidate: &Candidate, why: String| {
        let (spec, variant) = (spec.name.clone(), candidate.name().to_string());
        skipped.push(Skipped { spec, n, variant, predicted_ms: candidate.predicted_ms(), why });
    };
    if let Some(why) = beyond_memory(spec, &extents, PART_OF_MEMORY) {
        candidates.iter().for_each(|candidate| skip(candidate, why.clone()));
        return Ok(Vec::new());
    }
    let inputs = Inputs::drawn(spec, &extents, seed)?;
    let flops = mask::flops(spec, &extents, inputs.tensors());
    let mut rows = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        let ms = candidate.predicted_ms();
        let same = |row: &&Row| row.spec == spec.name && row.variant == candidate.name();
        let slower = before.iter().rfind(same).map_or(1.0, |row| (row.measured_ms / row.predicted_ms).max(1.0));
        if slower * ms > LONGEST_MS {
            let after = if slower > 1.0 {
                format!(", and took {} times that before", table::number(slower))
            } else {
                String::new()
            };
            skip(candidate, format!("predicted to take {} ms{after}", table::number(ms)));
            continue;
        }
        let mut options = options.clone();
        // What is chosen is compiled as it is where nobody asks for it by name.
        options.compiler.variant = (at > 0).then(|| candidate.name().to_string());
        let (kernel, compile_ms) = compiled(file, &options, &extents)?;
        let prepared = kernel.prepare(&extents).map_err(|e| file.failure(e))?;
        let numbers = by_number(spec, &extents);
        let work = prepared.plan().total_work(&numbers).unwrap_or_default();
        let measured_ms = median_ms(&kernel, &extents, &inputs).map_err(|e| file.failure(e))?;
        rows.push(Row {
            spec: spec.name.clone(),
            n,
            threads: kernel.threads(),
            variant: candidate.name().to_string(),
            form: candidate.form().to_string(),
            predicted_ms: candidate.predicted_ms(),
            measured_ms,
            gflops: flops / (measured_ms * 1e6),
            compile_ms,
            exact: candidate.is_exact(),
            chosen: at == 0,
            regret: 0.0,
            work,
        });
    }
    // Approximations are no alternatives to what was asked for.
    let best = rows.iter().filter(|r| r.exact).map(|r| r.measured_ms).fold(f64::INFINITY, f64::min);
    rows.iter_mut().for_each(|r| r.regret = r.measured_ms / best - 1.0);
    Ok(rows)
}

/// Compiles for these extents a few times; one of the kernels, and the median time from text to machine code.
fn compiled(file: &SpecFile, options: &Options, extents: &Extents) -> Result<(Kernel, f64), Failure> {
    let once = || {
        let kernel = file.compile(options, &[])?;
        kernel.prepare(extents).map_err(|e| file.failure(e))?;
        let ms: f64 = kernel.pass_times().iter().map(|p| p.time.as_secs_f64() * 1e3).sum();
        Ok((kernel, ms))
    };
    let (kernel, first) = once()?;
    let mut times = vec![first];
    for _ in 1..COMPILES {
        times.push(once()?.1);
    }
    Ok((kernel, median(times)))
}

/// Median time of warm runs into outputs that are kept.
fn median_ms(kernel: &Kernel, extents: &Extents, inputs: &Inputs) -> Result<f64, attnc::Error> {
    let views = inputs.views();
    let mut outputs = Outputs::new(kernel.spec(), &kernel.prepare(extents)?.outputs());
    let first = one_ms(kernel, &views, &mut outputs)?;
    if first >= LONG_MS {
        return Ok(first);
    }
    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < RUNS.0 || (started.elapsed() < BUDGET && times.len() < RUNS.1) {
        times.push(one_ms(kernel, &views, &mut outputs)?);
    }
    Ok(median(times))
}

fn one_ms(kernel: &Kernel, inputs: &[(&str, TensorView<'_>)], outputs: &mut Outputs) -> Result<f64, attnc::Error> {
    let mut views = outputs.views();
    let started = Instant::now();
    kernel.run_into(inputs, &mut views)?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

/// Outputs of f32, f64, i64 or bool, kept between runs.
struct Outputs {
    names: Vec<String>,
    buffers: Vec<attnc::tensor::OwnedOutput>,
}

impl Outputs {
    fn new(spec: &Spec, shapes: &[(attnc::DType, Vec<usize>)]) -> Self {
        let names = spec.outputs.iter().map(|o| o.name.clone()).collect();
        let buffers = shapes.iter().map(|(dtype, shape)| attnc::tensor::OwnedOutput::zeros(*dtype, shape)).collect();
        Self { names, buffers }
    }

    fn views(&mut self) -> Vec<(&str, TensorViewMut<'_>)> {
        self.names.iter().map(String::as_str).zip(self.buffers.iter_mut().map(|b| b.view_mut())).collect()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn row_json(row: &Row) -> Value {
    let work = &row.work;
    json!({
        "spec": row.spec, "n": row.n, "threads": row.threads, "variant": row.variant, "form": row.form,
        "predicted_ms": row.predicted_ms, "measured_ms": row.measured_ms, "gflops": row.gflops,
        "compile_ms": row.compile_ms, "exact": row.exact, "chosen": row.chosen, "regret": row.regret,
        "work": {
            "product_flops": work.product_flops, "product_flops_f64": work.product_flops_f64,
            "product_flops_bf16": work.product_flops_bf16, "exp": work.exp,
            "scalar": work.scalar, "pointwise": work.pointwise, "rows": work.rows, "gather": work.gather,
            "bytes": work.bytes_read + work.bytes_written, "tiles": work.tiles, "stages": work.calls,
        },
    })
}

fn row_text(row: &Row) -> Vec<String> {
    vec![
        row.spec.clone(),
        row.n.to_string(),
        row.threads.to_string(),
        row.variant.clone(),
        table::number(row.predicted_ms),
        table::number(row.measured_ms),
        table::number(row.gflops),
        if row.chosen { "yes".to_string() } else { String::new() },
        table::number(row.regret),
    ]
}

fn chart(rows: &[Row]) -> String {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        for (what, ms) in [("measured", row.measured_ms), ("predicted", row.predicted_ms)] {
            let label = format!("{} {} {what}", row.spec, row.variant);
            match lines.iter_mut().find(|l| l.label == label) {
                Some(line) => line.points.push((row.n as f64, ms)),
                None => lines.push(Line { label, points: vec![(row.n as f64, ms)] }),
            }
        }
    }
    picture::chart("measured and predicted time", "N", "ms", &lines, &[])
}
