//! What the microkernels reach on this machine: products, exponentials, softmax updates, transposition. Products are
//! related to the multiply-adds that the CPU does from registers alone.
//!
//!     cargo bench -p attnc-bench --bench microkernels -- [isa]

use std::hint::black_box;
use std::time::Instant;

use attnc_kernels::{Isa, KernelTable, table};

/// Nanoseconds per call: the best of several batches of about 1 ms.
fn nanos(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    call();
    let once = start.elapsed().as_nanos().max(50) as f64;
    let batch = (1e6 / once).ceil() as usize;
    (0..40)
        .map(|_| {
            let start = Instant::now();
            (0..batch).for_each(|_| call());
            start.elapsed().as_nanos() as f64 / batch as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn numbers(n: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// A cache line, which a tile's row should not straddle.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "memory only")] [f32; 16]);

/// Memory for `n` numbers of 4 bytes, in whole cache lines; zeros.
fn lines(n: usize) -> Vec<Line> {
    vec![Line([0.0; 16]); n.div_ceil(16)]
}

fn products(kernels: &KernelTable, peak: f64) {
    let shapes = [
        (64, 64, 64),
        (6, 64, 64),
        (16, 64, 64),
        (64, 64, 128),
        (64, 32, 64),
        (64, 80, 64),
        (64, 96, 64),
        (64, 128, 64),
        (64, 256, 64),
        (96, 128, 64),
        (96, 64, 128),
        (64, 16, 64),
        (64, 40, 64),
        (64, 64, 256),
        (64, 64, 512),
        (64, 512, 512),
        (128, 128, 128),
        (1, 64, 64),
        (1, 128, 64),
        (1, 256, 64),
        (2, 128, 64),
        (3, 64, 64),
        (4, 64, 64),
        (7, 64, 64),
        (64, 1, 64),
        (64, 1, 128),
        (4096, 1, 128),
        (256, 256, 256),
        (1, 64, 4096),
        (1, 1024, 1024),
        (8, 1024, 1024),
    ];
    for (m, n, k) in shapes {
        let (a, b, mut c) = (numbers(m * k), numbers(k * n), vec![0.0f32; m * n]);
        let time = nanos(|| {
            // SAFETY: the buffers are as long as the sizes and strides say.
            unsafe {
                let (a, b, c) = (black_box(a.as_ptr()), b.as_ptr(), c.as_mut_ptr());
                (kernels.product_f32)(m, n, k, a, k as isize, 1, b, n as isize, c, n as isize, 0, std::ptr::null());
            }
        });
        let gflops = 2.0 * (m * n * k) as f64 / time;
        println!(
            "  product {m:>4} {n:>4} {k:>4}   {gflops:>7.1} GFLOP/s {:>4.0} %  {time:>9.0} ns",
            100.0 * gflops / peak
        );
    }
}

/// Few rows by many lines, in and beyond the caches: bytes of lines per second.
fn dots(kernels: &KernelTable) {
    for (m, n, k) in
        [(1, 64, 128), (2, 64, 128), (4, 64, 128), (8, 64, 128), (16, 64, 128), (4, 64, 64), (4, 262_144, 128)]
    {
        let (a, b, mut c) = (numbers(m * k), numbers(n * k), vec![0.0f32; m * n]);
        let narrow: Vec<u16> = b.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
        let bytes: Vec<i8> = b.iter().map(|x| (x * 127.0) as i8).collect();
        let (k_stride, n_stride) = (k as isize, n as isize);
        // SAFETY: the buffers are as long as the sizes and strides say.
        let times = unsafe {
            [
                nanos(|| {
                    let a = black_box(a.as_ptr());
                    (kernels.dots_f32)(m, n, k, a, k_stride, b.as_ptr(), k_stride, c.as_mut_ptr(), n_stride);
                }),
                nanos(|| {
                    let a = black_box(a.as_ptr());
                    (kernels.dots_bf16)(m, n, k, a, k_stride, narrow.as_ptr(), k_stride, c.as_mut_ptr(), n_stride);
                }),
                nanos(|| {
                    let a = black_box(a.as_ptr());
                    (kernels.dots_f16)(m, n, k, a, k_stride, narrow.as_ptr(), k_stride, c.as_mut_ptr(), n_stride);
                }),
                nanos(|| {
                    let a = black_box(a.as_ptr());
                    (kernels.dots_i8)(m, n, k, a, k_stride, bytes.as_ptr(), k_stride, c.as_mut_ptr(), n_stride);
                }),
            ]
        };
        let speeds =
            [4, 2, 2, 1].iter().zip(times).map(|(size, time)| format!("{:>6.1}", (size * n * k) as f64 / time));
        println!("  dots {m:>4} {n:>6} {k:>4}   f32, bf16, f16, i8: {} GB/s", speeds.collect::<Vec<_>>().join(" "));
    }
}

fn through(kernels: &KernelTable) {
    for (m, n, k) in [(96, 64, 64), (64, 64, 128), (1, 64, 64)] {
        let (w, a, b, mut c) = (numbers(k), numbers(m * k), numbers(k * n), vec![0.0f32; m * n]);
        let time = nanos(|| {
            // SAFETY: the buffers are as long as the sizes and strides say.
            unsafe {
                let (a, b, c) = (black_box(a.as_ptr()), b.as_ptr(), c.as_mut_ptr());
                let (k_stride, n_stride) = (k as isize, n as isize);
                (kernels.product_tanh_f32)(m, n, k, w.as_ptr(), 0, 1, a, k_stride, 1, b, n_stride, c, n_stride, 0);
            }
        });
        println!("  product through tanh {m:>4} {n:>4} {k:>4}   {:>7.2} terms/ns", (m * n * k) as f64 / time);
    }
}

fn doubles(kernels: &KernelTable) {
    for (m, n, k) in [(64, 64, 64), (1, 64, 64)] {
        let (a, b, mut c) = (vec![0.5f64; m * k], vec![0.25f64; k * n], vec![0.0f64; m * n]);
        let time = nanos(|| {
            // SAFETY: the buffers are as long as the sizes and strides say.
            unsafe {
                let (a, b, c) = (black_box(a.as_ptr()), b.as_ptr(), c.as_mut_ptr());
                (kernels.product_f64)(m, n, k, a, k as isize, 1, b, n as isize, c, n as isize, 0, std::ptr::null());
            }
        });
        println!("  product f64 {m:>4} {n:>4} {k:>4}   {:>7.1} GFLOP/s", 2.0 * (m * n * k) as f64 / time);
    }
}

fn conversions(kernels: &KernelTable) {
    let n = 4096;
    let (mut wide, mut narrow) = (numbers(n), vec![0u16; n]);
    for (name, function) in [("narrow_bf16", kernels.narrow_bf16), ("narrow_f16", kernels.narrow_f16)] {
        // SAFETY: both buffers hold `n` elements.
        let time = nanos(|| unsafe { function(narrow.as_mut_ptr(), black_box(wide.as_ptr()), n) });
        println!("  {name:<12} {:>7.2} elements/ns", n as f64 / time);
    }
    for (name, function) in [("widen_bf16", kernels.widen_bf16), ("widen_f16", kernels.widen_f16)] {
        // SAFETY: both buffers hold `n` elements.
        let time = nanos(|| unsafe { function(wide.as_mut_ptr(), black_box(narrow.as_ptr()), 1, n) });
        println!("  {name:<12} {:>7.2} elements/ns", n as f64 / time);
    }
}

fn rows(kernels: &KernelTable) {
    let n = 4096;
    let (src, mut dst) = (numbers(n), vec![0.0f32; n]);
    let functions = [
        ("exp", kernels.exp_f32),
        ("expm1", kernels.expm1_f32),
        ("log", kernels.log_f32),
        ("log1p", kernels.log1p_f32),
        ("tanh", kernels.tanh_f32),
        ("sin", kernels.sin_f32),
        ("cos", kernels.cos_f32),
        ("erf", kernels.erf_f32),
    ];
    for (name, function) in functions {
        // SAFETY: both buffers hold `n` elements.
        let time = nanos(|| unsafe { function(dst.as_mut_ptr(), black_box(src.as_ptr()), n) });
        println!("  {name:<6} {:>7.2} elements/ns", n as f64 / time);
    }
    for (rows, cols) in [(64, 64), (64, 128), (64, 40), (1, 64), (16, 256)] {
        let (scores, mut s) = (numbers(rows * cols), vec![0.0f32; rows * cols]);
        let (mut m, mut l, mut alpha) = (vec![f32::NEG_INFINITY; rows], vec![0.0f32; rows], vec![0.0f32; rows]);
        s.copy_from_slice(&scores);
        let time = nanos(|| {
            // SAFETY: the buffers are as long as the sizes and strides say.
            unsafe {
                let (m, l, alpha) = (m.as_mut_ptr(), l.as_mut_ptr(), alpha.as_mut_ptr());
                (kernels.softmax_update_f32)(rows, cols, black_box(s.as_mut_ptr()), cols as isize, m, l, alpha);
            }
        });
        println!("  softmax_update {rows:>3} {cols:>3}  {:>7.4} ns/element", time / (rows * cols) as f64);
    }
    for (rows, cols) in [(64, 64), (64, 128), (13, 64)] {
        let (src, mut dst) = (numbers(rows * cols), vec![0.0f32; rows * cols]);
        // SAFETY: both buffers hold `rows * cols` elements.
        let time = nanos(|| unsafe {
            let (dst, src) = (dst.as_mut_ptr(), black_box(src.as_ptr()));
            (kernels.transpose_f32)(rows, cols, dst, rows as isize, src, cols as isize);
        });
        println!("  transpose {rows:>3} {cols:>3}  {:>7.4} ns/element", time / (rows * cols) as f64);
    }
}

/// Products with bfloat16 in pairs, as attention makes them; related to the multiply-adds of `f32`.
fn pairs(kernels: &KernelTable, peak: f64) {
    for (m, n, k) in [(96, 128, 64), (96, 64, 128), (64, 64, 64), (96, 128, 128), (12, 32, 64)] {
        let (a, b, mut c) = (numbers(m * k), numbers(k * n), lines(m * n));
        let mut packed = lines(k.div_ceil(2) * n);
        let pack = |packed: &mut Vec<Line>| {
            // SAFETY: the buffers are as long as the sizes and strides say.
            unsafe {
                let (packed, b) = (packed.as_mut_ptr().cast(), black_box(b.as_ptr()));
                (kernels.pack_pairs_f32)(k, n, packed, 2 * n as isize, b, n as isize, 1);
            }
        };
        let packing = nanos(|| pack(&mut packed));
        let ones = vec![1.0f32; m];
        for (name, flags, scale) in
            [("", 0, std::ptr::null()), (" masked", 2, std::ptr::null()), (" adding", 1, ones.as_ptr())]
        {
            let time = nanos(|| {
                // SAFETY: as above.
                unsafe {
                    let (a, b, c) = (black_box(a.as_ptr()), packed.as_ptr().cast(), c.as_mut_ptr().cast());
                    let (a_rs, b_rs, c_rs) = (k as isize, 2 * n as isize, n as isize);
                    (kernels.product_pairs)(m, n, k, 0, a, a_rs, 1, b, b_rs, c, c_rs, flags, scale, 1.0);
                }
            });
            let gflops = 2.0 * (m * n * k) as f64 / time;
            println!(
                "  pairs{name:<7} {m:>4} {n:>4} {k:>4}   {gflops:>7.1} GFLOP/s {:>4.0} %  packing {packing:>6.0} ns",
                100.0 * gflops / peak
            );
        }
    }
}

fn main() {
    let only = std::env::args().skip(1).find(|arg| arg != "--bench");
    for isa in Isa::available() {
        if only.as_deref().is_some_and(|name| name != isa.name()) {
            continue;
        }
        let kernels = table(isa).expect("an available instruction set has a table");
        let peak = attnc_kernels::peak::fma_peak(isa) / 1e9;
        println!("{isa}: {peak:.1} GFLOP/s from registers");
        products(kernels, peak);
        pairs(kernels, peak);
        doubles(kernels);
        dots(kernels);
        through(kernels);
        rows(kernels);
        conversions(kernels);
    }
}
