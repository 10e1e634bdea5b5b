//! What the kernel tests share: a seeded generator, buffers with canaries around them, distances in ULP.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, reason = "a module of several test crates")]

use attnc_kernels::{Isa, KernelTable, table};

/// Every table this machine can run.
pub fn tables() -> Vec<(Isa, &'static KernelTable)> {
    Isa::available().into_iter().filter_map(|isa| Some((isa, table(isa)?))).collect()
}

/// A linear congruential generator; equal seeds give equal draws.
pub struct Draws(pub u64);

impl Draws {
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.bits() as usize % bound.max(1)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// In -1 .. 1.
    pub fn real(&mut self) -> f64 {
        f64::from(self.bits()) / f64::from(1u32 << 31) - 1.0
    }
}

/// Sizes at the edges of vectors and register blocks, and some primes.
pub const EDGES: [usize; 22] = [0, 1, 2, 3, 5, 6, 7, 8, 11, 12, 13, 15, 16, 17, 31, 33, 48, 63, 64, 65, 80, 129];

/// A matrix inside a larger buffer whose other elements are canaries.
pub struct Guarded<T> {
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
    cells: Vec<T>,
    canary: T,
}

/// Elements before the first and after the last row; more than the longest vector.
const MARGIN: usize = 67;

impl<T: Copy + PartialEq + std::fmt::Debug> Guarded<T> {
    /// `gap` canaries between rows.
    pub fn new(rows: usize, cols: usize, gap: usize, canary: T, mut draw: impl FnMut() -> T) -> Guarded<T> {
        let stride = cols + gap;
        let mut cells = vec![canary; 2 * MARGIN + rows * stride];
        for r in 0..rows {
            for cell in &mut cells[MARGIN + r * stride..][..cols] {
                *cell = draw();
            }
        }
        Guarded { rows, cols, stride, cells, canary }
    }

    pub fn ptr(&self) -> *const T {
        self.cells[MARGIN..].as_ptr()
    }

    pub fn mut_ptr(&mut self) -> *mut T {
        self.cells[MARGIN..].as_mut_ptr()
    }

    pub fn at(&self, r: usize, c: usize) -> T {
        assert!(r < self.rows && c < self.cols);
        self.cells[MARGIN + r * self.stride + c]
    }

    pub fn set(&mut self, r: usize, c: usize, value: T) {
        assert!(r < self.rows && c < self.cols);
        self.cells[MARGIN + r * self.stride + c] = value;
    }

    pub fn row(&self, r: usize) -> &[T] {
        &self.cells[MARGIN + r * self.stride..][..self.cols]
    }

    /// Fails if anything outside the matrix was written.
    pub fn check(&self, what: &str) {
        for (at, &cell) in self.cells.iter().enumerate() {
            let inside =
                at >= MARGIN && at < MARGIN + self.rows * self.stride && (at - MARGIN) % self.stride.max(1) < self.cols;
            assert!(inside || cell == self.canary, "{what}: wrote outside, at {}", at as isize - MARGIN as isize);
        }
    }
}

/// Distance of `got` from `want` in units of the last place of `want` rounded to `f32`; 0 for two NaNs.
pub fn ulp(got: f32, want: f64) -> f64 {
    let nearest = want as f32;
    if got.is_nan() || want.is_nan() {
        return if got.is_nan() && want.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got == nearest {
        // An infinity reached by rounding is right; else the fraction is at most half.
        return if got.is_infinite() { 0.0 } else { (f64::from(got) - want).abs() / spacing(nearest) };
    }
    if got.is_infinite() || nearest.is_infinite() {
        // An overflow one step too early or late.
        let largest = f64::from(f32::MAX);
        return ((f64::from(got).clamp(-2.0 * largest, 2.0 * largest) - want) / spacing(f32::MAX)).abs();
    }
    (f64::from(got) - want).abs() / spacing(nearest)
}

/// The distance of neighbouring `f32` at `x`.
fn spacing(x: f32) -> f64 {
    let exponent = ((x.to_bits() >> 23) & 0xff).max(1) as i32;
    2f64.powi(exponent - 127 - 23)
}
