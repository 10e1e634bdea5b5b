//! The elementary functions of `f32` against `f64`, in ULP, on every instruction set; special values; lengths.
//!
//! The ordinary sweep takes every so many bit patterns; `ATTNC_EXHAUSTIVE=1` takes them all for `exp`.

mod common;

use attnc_kernels::{Isa, KernelTable, Map};
use common::{Guarded, tables, ulp};

/// The worst error over the bit patterns `0, stride, 2 stride, ...` that `keep` accepts, and where it is.
fn worst(function: Map, exact: fn(f64) -> f64, stride: usize, keep: impl Fn(f32) -> bool) -> (f64, f32) {
    const CHUNK: usize = 4096;
    let mut worst = (0.0, 0.0);
    let patterns: Vec<u64> = (0..1u64 << 32).step_by(stride * CHUNK).collect();
    let mut out = vec![0.0f32; CHUNK];
    for start in patterns {
        let inputs: Vec<f32> = (0..CHUNK as u64)
            .map(|i| f32::from_bits((start + i * stride as u64).min(u64::from(u32::MAX)) as u32))
            .filter(|&x| keep(x))
            .collect();
        // SAFETY: `out` is at least as long as the inputs.
        unsafe { function(out.as_mut_ptr(), inputs.as_ptr(), inputs.len()) };
        for (&x, &y) in inputs.iter().zip(&out) {
            let error = ulp(y, exact(f64::from(x)));
            if error > worst.0 {
                worst = (error, x);
            }
        }
    }
    worst
}

/// Checks a bound on every instruction set. An odd stride visits every exponent and all low bits.
fn bounded(pick: fn(&KernelTable) -> Map, exact: fn(f64) -> f64, bound: f64, keep: fn(f32) -> bool) {
    for (isa, kernels) in tables() {
        let (error, at) = worst(pick(kernels), exact, 2039, keep);
        println!("{isa}: {error:.3} ulp at {at:e}");
        assert!(error <= bound, "{isa}: {error:.3} ulp at {at:e}, bound {bound}");
    }
}

#[test]
fn exp_is_within_its_bound() {
    let stride = if std::env::var_os("ATTNC_EXHAUSTIVE").is_some() { 1 } else { 16 };
    for (isa, kernels) in tables() {
        // The slower instruction sets share the polynomial; they take fewer points.
        let stride = if isa == Isa::Portable { stride * 61 } else { stride };
        let (error, at) = worst(kernels.exp_f32, libm::exp, stride, |_| true);
        println!("{isa}: {error:.3} ulp at {at:e}");
        assert!(error <= 1.5, "{isa}: {error:.3} ulp at {at:e}");
    }
}

#[test]
fn expm1_is_within_its_bound() {
    bounded(|t| t.expm1_f32, libm::expm1, 4.0, |_| true);
}

#[test]
fn log_is_within_its_bound() {
    bounded(|t| t.log_f32, libm::log, 4.0, |_| true);
}

#[test]
fn log1p_is_within_its_bound() {
    bounded(|t| t.log1p_f32, libm::log1p, 4.0, |_| true);
}

#[test]
fn tanh_is_within_its_bound() {
    bounded(|t| t.tanh_f32, libm::tanh, 4.0, |_| true);
}

#[test]
fn erf_is_within_its_bound() {
    bounded(|t| t.erf_f32, libm::erf, 4.0, |_| true);
}

#[test]
fn sin_is_within_its_bound_everywhere() {
    bounded(|t| t.sin_f32, libm::sin, 4.0, |_| true);
}

#[test]
fn cos_is_within_its_bound_everywhere() {
    bounded(|t| t.cos_f32, libm::cos, 4.0, |_| true);
}
