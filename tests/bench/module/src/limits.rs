//! What the machine can do: the limits that measurements are related to.

use std::hint::black_box;
use std::time::Instant;

/// Speeds of so many threads together.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// f32 tile products of 64 x 64 x 64, in 10^9 operations per second.
    pub product_gflops: f64,
    /// Reading memory that no cache holds, in 10^9 bytes per second.
    pub read_gbytes_s: f64,
}

/// Bytes read by the measurement of memory, more than caches hold.
const BYTES: usize = 1 << 30;

/// Measures; `None` if the machine's profile cannot be measured.
pub fn measure(threads: usize) -> Option<Limits> {
    let threads = threads.max(1);
    let profile = attnc::profile::probe(None, threads, || ()).ok()?;
    let words = vec![1u64; BYTES / 8];
    let best = (0..5).map(|_| read_seconds(&words, threads)).fold(f64::INFINITY, f64::min);
    Some(Limits {
        // Nothing is shared between cores: each has its own arithmetic and its own first-level cache.
        product_gflops: profile.product_f32_gflops * threads as f64,
        read_gbytes_s: BYTES as f64 / best / 1e9,
    })
}

/// Seconds that the threads take to read all words once, each its part.
fn read_seconds(words: &[u64], threads: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for part in words.chunks(words.len().div_ceil(threads)) {
            scope.spawn(move || black_box(sum(part)));
        }
    });
    start.elapsed().as_secs_f64()
}

/// Sums in sixteen lanes, so that loads and not additions are waited for.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 16];
    for chunk in words.chunks_exact(16) {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}
