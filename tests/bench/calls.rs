//! What a warm call costs beside its arithmetic, and cheap calls as a whole.
//!
//!     cargo bench -p attnc-bench --bench calls
//!
//! Arithmetic is what passes inside the stages' machine code; the rest is checking, binding and waking threads.

use std::time::{Duration, Instant};

use attnc::{Kernel, Options, TensorView, TensorViewMut, compile};
use ndarray::Array4;

const SOFTMAX: &str = include_str!("../../ir-specs/dense/softmax.attn");

/// Calls of one measurement.
const CALLS: usize = 20_000;

fn main() -> Result<(), attnc::Error> {
    println!("softmax, D = 64          call ns   of which in stages   beside");
    for threads in [1, 2] {
        let kernel = compile(SOFTMAX, &Options { threads, ..Options::default() })?;
        for (heads, n) in [(1, 16), (8, 16), (8, 64)] {
            let (call, stages) = measure(&kernel, heads, n)?;
            let beside = call - stages;
            println!(
                "H = {heads}, N = {n:>3}, threads {threads}   {call:>8.0}   {stages:>8.0}             {beside:>8.0}"
            );
        }
    }
    Ok(())
}

/// Median time of a call, and of its stages in another series, in ns.
fn measure(kernel: &Kernel, heads: usize, n: usize) -> Result<(f64, f64), attnc::Error> {
    let tensor = |seed: usize| {
        let element =
            |(_, h, i, d): (usize, usize, usize, usize)| ((h + 7 * i + 13 * d + seed) % 17) as f32 / 8.0 - 1.0;
        Array4::from_shape_fn((1, heads, n, 64), element)
    };
    let (q, k, v, mut out) = (tensor(1), tensor(2), tensor(3), tensor(4));
    let inputs: [(&str, TensorView<'_>); 3] = [("q", (&q).into()), ("k", (&k).into()), ("v", (&v).into())];
    let mut outputs = [("out", TensorViewMut::from(&mut out))];
    let (mut calls, mut stages) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let begin = Instant::now();
        kernel.run_into(&inputs, &mut outputs)?;
        calls.push(begin.elapsed());
    }
    for _ in 0..CALLS {
        stages.push(kernel.time_stages(&inputs, &mut outputs)?.iter().sum());
    }
    Ok((median_ns(calls), median_ns(stages)))
}

fn median_ns(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64
}
