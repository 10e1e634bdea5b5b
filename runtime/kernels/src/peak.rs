//! The machine's limit: how many multiply-adds per second one core reaches from registers alone.
//!
//! Cost models and reports of kernels relate to it. Read next: `tests/bench/microkernels.rs`, which prints it with what
//! the microkernels reach.

use core::hint::black_box;
use std::time::{Duration, Instant};

use crate::isa::*;
use crate::lanes::Lanes;

/// How long a measurement lasts.
const LASTS: Duration = Duration::from_millis(20);
/// Multiply-adds per accumulator between two looks at the clock: some tens of microseconds.
const ROUNDS: usize = 10_000;

/// Floating-point operations per second (a multiply-add is two) of one core in `f32`, from registers: the best of
/// what short runs reach within about 20 ms; on [`Isa::Portable`], of the tile product. 0 if this CPU lacks the
/// instruction set.
#[must_use]
pub fn fma_peak(isa: Isa) -> f64 {
    if !isa.is_available() {
        return 0.0;
    }
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the features.
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::AmxBf16 => best(|| unsafe { avx512() }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the features.
        Isa::Avx2 => best(|| unsafe { avx2() }),
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the CPU has the features.
        Isa::Neon => best(|| unsafe { neon() }),
        _ => best(portable),
    }
}

/// The best rate of `run`, which returns how many operations it did.
fn best(run: impl Fn() -> f64) -> f64 {
    let start = Instant::now();
    let mut best = 0.0f64;
    while start.elapsed() < LASTS {
        let lap = Instant::now();
        let operations = run();
        best = best.max(operations / lap.elapsed().as_secs_f64());
    }
    best
}

/// `CHAINS` independent chains of multiply-adds; returns the operations done.
#[inline(always)]
fn chains<S: Lanes<f32>, const CHAINS: usize>(s: S) -> f64 {
    let (x, y) = (s.splat(black_box(0.999_999)), s.splat(black_box(1e-6)));
    let mut chains = [s.splat(0.0); CHAINS];
    for (i, chain) in chains.iter_mut().enumerate() {
        *chain = s.splat(black_box(i as f32));
    }
    for _ in 0..ROUNDS {
        for chain in &mut chains {
            *chain = s.fma(*chain, x, y);
        }
    }
    let mut sum = chains[0];
    for &chain in &chains[1..] {
        sum = s.add(sum, chain);
    }
    black_box(s.sum(sum));
    (2 * ROUNDS * CHAINS * S::N) as f64
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")]
fn avx512() -> f64 {
    // SAFETY: the features are those of this function.
    chains::<_, 24>(unsafe { Avx512::assume() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2() -> f64 {
    // SAFETY: the features are those of this function.
    chains::<_, 12>(unsafe { Avx2::assume() })
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn neon() -> f64 {
    // SAFETY: the features are those of this function.
    chains::<_, 24>(unsafe { Neon::assume() })
}

/// The tile product itself: in plain Rust it is the compiler that allots registers, and it keeps chains like the
/// above in memory.
fn portable() -> f64 {
    const SIDE: usize = 64;
    let (a, b, mut c) = ([0.5f32; SIDE * SIDE], [0.25f32; SIDE * SIDE], [0.0f32; SIDE * SIDE]);
    if let Some(kernels) = crate::table(Isa::Portable) {
        let stride = SIDE as isize;
        // SAFETY: three squares of that side.
        unsafe {
            let (a, b, c) = (black_box(a.as_ptr()), b.as_ptr(), c.as_mut_ptr());
            (kernels.product_f32)(SIDE, SIDE, SIDE, a, stride, 1, b, stride, c, stride, 0, std::ptr::null());
        }
        black_box(&c);
    }
    (2 * SIDE * SIDE * SIDE) as f64
}
