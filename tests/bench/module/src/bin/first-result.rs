//! From a spec's text to its first result in a cold process: the whole program is what is measured, from outside.
//!
//!     first-result FILE N HEADS DIM [THREADS]
//!
//! Inputs are cheap to make, so that what takes time is the engine. Prints one element of the result.

use std::process::ExitCode;

use attnc::Options;
use ndarray::Array4;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(element) => {
            println!("{element}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<f64, String> {
    let (path, sizes) = args.split_first().ok_or("usage: first-result FILE N HEADS DIM [THREADS]")?;
    let sizes =
        sizes.iter().map(|s| s.parse::<usize>().map_err(|e| format!("{s}: {e}"))).collect::<Result<Vec<_>, _>>()?;
    let [n, heads, dim, rest @ ..] = &sizes[..] else { return Err("expected N, HEADS and DIM".to_string()) };
    let source = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let options = Options { threads: rest.first().copied().unwrap_or(0), ..Options::default() };
    let tensor = |step: usize| {
        let mut state = step;
        Array4::from_shape_simple_fn((1, *heads, *n, *dim), || {
            state = (state * 75 + 74) % 65_537;
            state as f32 / 32_768.0 - 1.0
        })
    };
    let (q, k, v) = (tensor(1), tensor(2), tensor(3));
    let kernel = attnc::compile(&source, &options).map_err(|e| e.to_string())?;
    let outputs =
        kernel.run(&[("q", (&q).into()), ("k", (&k).into()), ("v", (&v).into())]).map_err(|e| e.to_string())?;
    outputs.first().and_then(|out| out.to_f64().first().copied()).ok_or_else(|| "no result".to_string())
}
