//! The elementary functions of `f32` against `f64`, in ULP, on every instruction set; special values; lengths.
//!
//! The ordinary sweep takes every so many bit patterns; `ATTNC_EXHAUSTIVE=1` takes them all for `exp`.

mod common;

use attnc_kernels::{Isa, KernelTable, Map};
use common::{Guarded, tables, ulp};

/// What a function is compared with.
type Exact = fn(f64) -> f64;

/// The worst error over the bit patterns `0, stride, 2 stride, ...` that `keep` accepts, and where it is.
fn worst(function: Map, exact: Exact, stride: usize, keep: impl Fn(f32) -> bool) -> (f64, f32) {
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
fn bounded(pick: fn(&KernelTable) -> Map, exact: Exact, bound: f64, keep: fn(f32) -> bool) {
    for (isa, kernels) in tables() {
        let (error, at) = worst(pick(kernels), exact, 2039, keep);
        println!("{isa}: {error:.3} ulp at {at:e}");
        assert!(error <= bound, "{isa}: {error:.3} ulp at {at:e}, bound {bound}");
    }
}

/// `exp`, short of computing where the answer is plain, which is most of all bit patterns.
fn exact_exp(x: f64) -> f64 {
    match x {
        _ if x.abs() < 1e-9 => 1.0 + x,
        _ if x < -105.0 => 0.0,
        _ if x > 90.0 => f64::INFINITY,
        _ => libm::exp(x),
    }
}

#[test]
fn exp_is_within_its_bound() {
    let stride = if std::env::var_os("ATTNC_EXHAUSTIVE").is_some() { 1 } else { 16 };
    for (isa, kernels) in tables() {
        // The slower instruction sets share the polynomial; they take fewer points.
        let stride = if isa == Isa::Portable { stride * 61 } else { stride };
        let (error, at) = worst(kernels.exp_f32, exact_exp, stride, |_| true);
        println!("{isa}: {error:.3} ulp at {at:e}");
        assert!(error <= 1.2, "{isa}: {error:.3} ulp at {at:e}");
    }
}

#[test]
fn expm1_is_within_its_bound() {
    bounded(|t| t.expm1_f32, libm::expm1, 2.0, |_| true);
}

#[test]
fn log_is_within_its_bound() {
    bounded(|t| t.log_f32, libm::log, 1.0, |_| true);
}

#[test]
fn log1p_is_within_its_bound() {
    bounded(|t| t.log1p_f32, libm::log1p, 1.0, |_| true);
}

#[test]
fn tanh_is_within_its_bound() {
    bounded(|t| t.tanh_f32, libm::tanh, 3.0, |_| true);
}

#[test]
fn erf_is_within_its_bound() {
    bounded(|t| t.erf_f32, libm::erf, 3.5, |_| true);
}

#[test]
fn sin_is_within_its_bound_everywhere() {
    bounded(|t| t.sin_f32, libm::sin, 3.0, |_| true);
}

#[test]
fn cos_is_within_its_bound_everywhere() {
    bounded(|t| t.cos_f32, libm::cos, 3.0, |_| true);
}

/// Near the zeros of sine and cosine everything that the reduction lost would show.
#[test]
fn angles_next_to_quarter_turns_are_within_the_bound() {
    let mut angles = Vec::new();
    for quarter in -6366..=6366 {
        let nearest = (f64::from(quarter) * std::f64::consts::FRAC_PI_2) as f32;
        angles.extend((0..7).map(|step| f32::from_bits((nearest.to_bits() + step).saturating_sub(3))));
    }
    let mut out = vec![0.0; angles.len()];
    for (isa, kernels) in tables() {
        for (function, exact) in [(kernels.sin_f32, libm::sin as Exact), (kernels.cos_f32, libm::cos)] {
            // SAFETY: the buffers are equally long.
            unsafe { function(out.as_mut_ptr(), angles.as_ptr(), angles.len()) };
            let worst = angles.iter().zip(&out).map(|(&x, &y)| ulp(y, exact(f64::from(x)))).fold(0.0, f64::max);
            println!("{isa}: {worst:.3} ulp");
            assert!(worst <= 4.0, "{isa}: {worst:.3} ulp");
        }
    }
}

/// `(name, function, exact)` of every function of one variable.
fn functions(kernels: &KernelTable) -> [(&'static str, Map, Exact); 8] {
    [
        ("exp", kernels.exp_f32, libm::exp),
        ("expm1", kernels.expm1_f32, libm::expm1),
        ("log", kernels.log_f32, libm::log),
        ("log1p", kernels.log1p_f32, libm::log1p),
        ("tanh", kernels.tanh_f32, libm::tanh),
        ("sin", kernels.sin_f32, libm::sin),
        ("cos", kernels.cos_f32, libm::cos),
        ("erf", kernels.erf_f32, libm::erf),
    ]
}

#[test]
fn special_values_are_those_of_the_functions() {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
        1e-45,
        -1e-45,
        f32::MAX,
        f32::MIN,
        88.722_84,
        88.73,
        -87.4,
        -103.97,
        -103.98,
        -104.0,
        -1.000_000_1,
        9.2,
        -9.2,
    ];
    let mut out = [0.0f32; 21];
    for (isa, kernels) in tables() {
        for (name, function, exact) in functions(kernels) {
            // SAFETY: the buffers are equally long.
            unsafe { function(out.as_mut_ptr(), special.as_ptr(), special.len()) };
            for (&x, &y) in special.iter().zip(&out) {
                let want = exact(f64::from(x));
                assert!(ulp(y, want) <= 4.0, "{isa} {name}({x:e}) = {y:e}, not {want:e}");
                let odd = !matches!(name, "exp" | "cos" | "log");
                assert!(!(odd && x == 0.0) || y.to_bits() == x.to_bits(), "{isa} {name}({x:?}) = {y:?}");
            }
        }
        let mut zero = [f32::NEG_INFINITY, -1e30, -104.0];
        // SAFETY: three elements, in place.
        unsafe { (kernels.exp_f32)(zero.as_mut_ptr(), zero.as_ptr(), 3) };
        assert_eq!(zero, [0.0; 3]);
    }
}

/// An element's value depends neither on its place nor on whether it is computed in place, and nothing else is
/// written.
#[test]
fn any_length_in_place_or_not() {
    for (isa, kernels) in tables() {
        for (name, function, _) in functions(kernels) {
            for n in 0..70 {
                let mut draws = common::Draws(n as u64);
                let mut src = Guarded::new(1, n, 0, f32::NAN, || draws.real() as f32 * 3.0 + 1.0);
                let mut dst = Guarded::new(1, n, 0, 77.0, || 0.0f32);
                // SAFETY: both hold `n` elements; one element at a time is within them.
                unsafe { function(dst.mut_ptr(), src.ptr(), n) };
                dst.check(name);
                for i in 0..n {
                    let mut one = [src.at(0, i)];
                    // SAFETY: one element, in place.
                    unsafe { function(one.as_mut_ptr(), one.as_ptr(), 1) };
                    assert_eq!(one[0].to_bits(), dst.at(0, i).to_bits(), "{isa} {name} {i} of {n}");
                }
                // SAFETY: `n` elements, in place.
                unsafe { function(src.mut_ptr(), src.ptr(), n) };
                assert!(src.row(0).iter().zip(dst.row(0)).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }
}

#[test]
fn pow_is_nearly_correctly_rounded() {
    for (isa, kernels) in tables() {
        let mut draws = common::Draws(4);
        let a: Vec<f32> = (0..1000).map(|_| (draws.real() * 8.0).exp2() as f32).collect();
        let b: Vec<f32> = (0..1000).map(|_| draws.real() as f32 * 10.0).collect();
        let mut out = vec![0.0; 1000];
        // SAFETY: all hold 1000 elements.
        unsafe { (kernels.pow_f32)(out.as_mut_ptr(), a.as_ptr(), b.as_ptr(), 1000) };
        for i in 0..1000 {
            assert!(ulp(out[i], libm::pow(f64::from(a[i]), f64::from(b[i]))) <= 0.51, "{isa} {}^{}", a[i], b[i]);
        }
    }
}

#[test]
fn pow_of_any_number_is_that_of_libm() {
    let specials =
        [0.0, 1e-45, 1e-40, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0, 127.5, 3e7, 1e30, f32::MAX, f32::INFINITY, f32::NAN];
    let numbers: Vec<f32> = specials.iter().flat_map(|x| [*x, -*x]).collect();
    let pairs: Vec<(f32, f32)> = numbers.iter().flat_map(|a| numbers.iter().map(|b| (*a, *b))).collect();
    let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    for (isa, kernels) in tables() {
        let mut out = vec![0.0; a.len()];
        // SAFETY: all hold as many elements.
        unsafe { (kernels.pow_f32)(out.as_mut_ptr(), a.as_ptr(), b.as_ptr(), a.len()) };
        for ((a, b), found) in pairs.iter().zip(&out) {
            let expected = libm::pow(f64::from(*a), f64::from(*b));
            let same = if expected.is_nan() { found.is_nan() } else { ulp(*found, expected) <= 0.51 };
            let zero_sign = expected != 0.0 || found.is_sign_negative() == (expected as f32).is_sign_negative();
            assert!(same && zero_sign, "{isa} {a}^{b}: {found}, not {expected}");
            let mut one = [0.0];
            // SAFETY: one element each.
            unsafe { (kernels.pow_f32)(one.as_mut_ptr(), a, b, 1) };
            assert!(one[0].to_bits() == found.to_bits() || found.is_nan(), "{isa} {a}^{b} alone");
        }
    }
}

#[test]
fn scalar_functions_are_those_of_libm() {
    for (_, kernels) in tables() {
        let mut draws = common::Draws(6);
        for _ in 0..1000 {
            let x = draws.real() * 20.0;
            let pairs: [(attnc_kernels::Scalar, Exact); 8] = [
                (kernels.exp_f64, libm::exp),
                (kernels.expm1_f64, libm::expm1),
                (kernels.log_f64, libm::log),
                (kernels.log1p_f64, libm::log1p),
                (kernels.tanh_f64, libm::tanh),
                (kernels.sin_f64, libm::sin),
                (kernels.cos_f64, libm::cos),
                (kernels.erf_f64, libm::erf),
            ];
            for (ours, theirs) in pairs {
                // SAFETY: the functions have no preconditions.
                let got = unsafe { ours(x) };
                assert!(got.to_bits() == theirs(x).to_bits() || got.is_nan() && theirs(x).is_nan());
            }
            // SAFETY: as above.
            assert_eq!(unsafe { (kernels.pow_f64)(x.abs(), 0.3) }.to_bits(), libm::pow(x.abs(), 0.3).to_bits());
        }
    }
}
