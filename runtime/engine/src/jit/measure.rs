//! Microkernels timed in isolation, for the machine profile.
//!
//! Every figure is the median of many repetitions: what the machine does most of the time, which on shared ones is less than it
//! can do when nothing disturbs it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use attnc_kernels::{KernelTable, Product};

/// Time of one call of `work`, in ns: the median over repetitions within `budget`.
pub fn median_ns(budget: Duration, mut work: impl FnMut()) -> f64 {
    work();
    let started = Instant::now();
    let mut times = Vec::new();
    let mut inner = 1u32;
    while started.elapsed() < budget {
        let begin = Instant::now();
        for _ in 0..inner {
            work();
        }
        let spent = begin.elapsed().as_nanos() as f64;
        // Long enough that reading the clock does not count.
        if spent < 20_000.0 {
            inner = inner.saturating_mul(2);
        } else {
            times.push(spent / f64::from(inner));
        }
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::INFINITY)
}

/// Rows, columns and depth of the measured product: an attention tile.
const TILE: (usize, usize, usize) = (64, 64, 64);

/// Speed of the f32 tile product in 10^9 flop/s.
pub fn product_f32_gflops(table: &KernelTable, budget: Duration) -> f64 {
    product_gflops(table.product_f32, [0.5, 0.25, 0.0], budget)
}

/// Speed of the f64 tile product in 10^9 flop/s.
pub fn product_f64_gflops(table: &KernelTable, budget: Duration) -> f64 {
    product_gflops(table.product_f64, [0.5, 0.25, 0.0], budget)
}

/// Speed of the tile product of bfloat16 in pairs in 10^9 flop/s: of rows that are rounded and the tile of keys that attention
/// takes.
pub fn product_bf16_gflops(table: &KernelTable, budget: Duration) -> f64 {
    let (m, n, k) = (96, 128, 64);
    // 1 in bfloat16.
    let (a, b, mut c) = (vec![0.5f32; m * k], vec![0x3f80u16; k * n], vec![0f32; m * n]);
    let ns = median_ns(budget, || {
        let (rows, pairs, to) = ([k as isize, 1], 2 * n as isize, n as isize);
        // SAFETY: the strides and sizes describe exactly the three vectors: rows of `a`, pairs of rows of `b`, rows of `c`.
        unsafe {
            let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
            (table.product_pairs)(m, n, k, 0, a, rows[0], rows[1], b, pairs, c, to, 0, std::ptr::null(), 1.0);
        }
        black_box(&mut c);
    });
    2.0 * (m * n * k) as f64 / ns
}

/// `count` f32 tile products, one after the other.
pub fn products_f32(table: &KernelTable, count: usize) {
    let mut product = tile_product(table.product_f32, [0.5, 0.25, 0.0]);
    (0..count).for_each(|_| product());
}

/// Speed of a tile product of operands filled with the first two values, the result with the third.
fn product_gflops<T: Copy>(product: Product<T>, values: [T; 3], budget: Duration) -> f64 {
    let (m, n, k) = TILE;
    2.0 * (m * n * k) as f64 / median_ns(budget, tile_product(product, values))
}

fn tile_product<T: Copy>(product: Product<T>, [a, b, c]: [T; 3]) -> impl FnMut() {
    let (m, n, k) = TILE;
    let (a, b) = (vec![a; m * k], vec![b; k * n]);
    let mut c = vec![c; m * n];
    move || {
        // SAFETY: the strides and sizes describe exactly the three vectors, which hold m*k, k*n and m*n elements.
        unsafe {
            let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
            product(m, n, k, a, k as isize, 1, b, n as isize, c, n as isize, 0, std::ptr::null());
        }
        black_box(&mut c);
    }
}

/// Time of one vectorised exponential, in ns per element.
pub fn exp_ns(table: &KernelTable, budget: Duration) -> f64 {
    let source: Vec<f32> = (0..4096).map(|i| -(i as f32) / 512.0).collect();
    let mut target = vec![0f32; source.len()];
    let ns = median_ns(budget, || {
        // SAFETY: both vectors hold `source.len()` elements.
        unsafe { (table.exp_f32)(target.as_mut_ptr(), source.as_ptr(), source.len()) };
        black_box(&mut target);
    });
    ns / source.len() as f64
}

/// Time of one microkernel call on a single element, in ns.
pub fn microkernel_call_ns(table: &KernelTable, budget: Duration) -> f64 {
    let mut value = [0.5f32];
    let function = black_box(table.exp_f32);
    median_ns(budget, || {
        // SAFETY: the array holds one element, and source and target may be equal.
        unsafe { function(value.as_mut_ptr(), value.as_ptr(), 1) };
        black_box(&mut value);
    })
}

/// One exponential in f64, as generated code calls it, in ns.
pub fn scalar_ns(table: &KernelTable, budget: Duration) -> f64 {
    let source: Vec<f64> = (0..1024).map(|i| f64::from(i) * -0.01).collect();
    let function = black_box(table.exp_f64);
    let ns = median_ns(budget, || {
        for x in &source {
            // SAFETY: the function takes any number, and the table is one that this CPU can run.
            black_box(unsafe { function(*x) });
        }
    });
    ns / source.len() as f64
}
