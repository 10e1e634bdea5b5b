//! Products with bfloat16 in pairs, and the packing of pairs, on every instruction set: against sums in f64 of operands that are
//! rounded once, at edge sizes, with canaries; beside what may hold anything; with numbers that are none, and with subnormals.

mod common;

use attnc_kernels::KernelTable;
use common::{Draws, EDGES, Guarded, tables};
use half::bf16;

const CANARY: f32 = 12345.678;

fn rounded(x: f32) -> f64 {
    f64::from(bf16::from_f32(x).to_f32())
}

/// The operands of a product.
struct Case {
    a: Guarded<f32>,
    transposed: bool,
    /// Row by row, as numbers.
    b: Vec<Vec<f32>>,
    first: usize,
    c: Guarded<f32>,
    scale: Option<Vec<f32>>,
    /// What sums are multiplied by where nothing accumulates or is masked.
    factor: f32,
}

impl Case {
    fn draw(draws: &mut Draws, [m, n, k]: [usize; 3], first: usize) -> Case {
        let transposed = draws.below(3) == 0;
        let (rows, cols) = if transposed { (k, m) } else { (m, k) };
        let a = Guarded::new(rows, cols, draws.below(4), f32::NAN, || draws.real() as f32);
        let b = (0..k).map(|_| (0..n).map(|_| rounded(draws.real() as f32) as f32).collect()).collect();
        let c = Guarded::new(m, n, draws.below(4), CANARY, || draws.real() as f32);
        let scale = (draws.below(2) == 0).then(|| (0..m).map(|_| draws.real() as f32).collect());
        let factor = draws.pick(&[1.0, 1.0, 0.125, 0.3, -0.7]) as f32;
        Case { a, transposed, b, first, c, scale, factor }
    }

    fn a(&self, i: usize, k: usize) -> f32 {
        if self.transposed { self.a.at(k, i) } else { self.a.at(i, k) }
    }

    fn factor(&self, flags: u64) -> f32 {
        if flags & 3 == 0 { self.factor } else { 1.0 }
    }

    fn set_a(&mut self, i: usize, k: usize, value: f32) {
        if self.transposed { self.a.set(k, i, value) } else { self.a.set(i, k, value) }
    }

    /// B in pairs; what lies beside it in its words is not a number.
    fn pairs(&self) -> Guarded<u16> {
        let n = self.c.cols;
        let mut pairs = Guarded::new((self.first + self.b.len()).div_ceil(2), 2 * n, 6, 0x7fc1, || 0x7fc0);
        for (k, row) in self.b.iter().enumerate() {
            for (j, x) in row.iter().enumerate() {
                pairs.set((self.first + k) / 2, 2 * j + (self.first + k) % 2, bf16::from_f32(*x).to_bits());
            }
        }
        pairs
    }

    fn run(&mut self, kernels: &KernelTable, flags: u64) {
        let pairs = self.pairs();
        let stride = self.a.stride as isize;
        let (a_rs, a_cs) = if self.transposed { (1, stride) } else { (stride, 1) };
        let (m, n, k) = (self.c.rows, self.c.cols, self.b.len());
        let scale = self.scale.as_ref().map_or(std::ptr::null(), |scale| scale.as_ptr());
        let (b_rs, c_rs) = (pairs.stride as isize, self.c.stride as isize);
        // SAFETY: the buffers hold the matrices, at these strides.
        unsafe {
            let (a, b, c) = (self.a.ptr(), pairs.ptr(), self.c.mut_ptr());
            let factor = self.factor(flags);
            (kernels.product_pairs)(m, n, k, self.first, a, a_rs, a_cs, b, b_rs, c, c_rs, flags, scale, factor);
        }
        self.c.check("product of pairs");
    }

    /// The element of C, of operands rounded once, and the sum of the magnitudes of its terms.
    fn expected(&self, i: usize, j: usize, start: f64) -> (f64, f64) {
        let terms = (0..self.b.len()).map(|k| rounded(self.a(i, k)) * f64::from(self.b[k][j]));
        terms.fold((start, start.abs()), |(sum, size), term| (sum + term, size + term.abs()))
    }

    /// Runs with `accumulate` or not and compares.
    fn check(&mut self, kernels: &KernelTable, accumulate: bool, what: &str) {
        let (m, n, k) = (self.c.rows, self.c.cols, self.b.len());
        let before: Vec<Vec<f32>> = (0..m).map(|i| self.c.row(i).to_vec()).collect();
        self.run(kernels, u64::from(accumulate));
        for (i, before) in before.iter().enumerate() {
            for (j, before) in before.iter().enumerate() {
                let scale = self.scale.as_ref().map_or(1.0, |scale| f64::from(scale[i]));
                let start = if accumulate { f64::from(*before) * scale } else { 0.0 };
                let (sum, size) = self.expected(i, j, start);
                let factor = f64::from(self.factor(u64::from(accumulate)));
                let (want, size) = (sum * factor, size * factor.abs());
                let error = (f64::from(self.c.at(i, j)) - want).abs();
                // As many roundings of f32 as there are terms, one of the start and one of a factor; or of the least number.
                let roundings = k as f64 + if factor == 1.0 { 2.0 } else { 3.0 };
                let bound = roundings * (size * f64::powi(2.0, -24) + f64::powi(2.0, -149));
                assert!(error <= bound, "{what}: C[{i}, {j}] of {m}x{n}x{k} from {}: off by {error}", self.first);
            }
        }
    }
}

#[test]
fn products_are_sums_of_operands_rounded_once() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(3);
        for round in 0..300 {
            let sizes = [draws.pick(&EDGES[..18]), draws.pick(&EDGES), draws.pick(&EDGES[..19])];
            Case::draw(&mut draws, sizes, round % 2).check(kernels, round % 3 == 0, isa.name());
        }
        for (k, first) in [(255, 1), (256, 1), (256, 0), (257, 1), (600, 1)] {
            Case::draw(&mut draws, [7, 70, k], first).check(kernels, false, isa.name());
        }
    }
}

#[test]
fn small_numbers_are_no_zeros() {
    // Subnormal operands, and normal ones whose products are subnormal or sum up to hardly more.
    let magnitudes = [(1e-39, 1e30), (1e30, 1e-39), (1e-20, 1e-19), (1e-38, 1.0), (1.0, 3e-39), (1e-30, 1e-12)];
    for (isa, kernels) in tables() {
        let mut draws = Draws(5);
        for (of_a, of_b) in magnitudes {
            for sizes in [[6, 64, 64], [13, 33, 17]] {
                let mut case = Case::draw(&mut draws, sizes, 0);
                let (m, k) = (sizes[0], sizes[2]);
                for i in 0..m {
                    for k in 0..k {
                        let x = case.a(i, k) * of_a;
                        case.set_a(i, k, x);
                    }
                }
                for x in case.b.iter_mut().flatten() {
                    *x = rounded(*x * of_b) as f32;
                }
                case.check(kernels, false, isa.name());
            }
        }
    }
}

#[test]
fn zeros_that_are_masked_meet_anything() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(9);
        for round in 0..60 {
            let sizes = [draws.pick(&EDGES[1..18]), draws.pick(&EDGES[1..]), draws.pick(&EDGES[1..19])];
            let mut case = Case::draw(&mut draws, sizes, round % 2);
            let [m, n, k] = sizes;
            // Terms that no row has, and some that single rows lack.
            let barred: Vec<bool> = (0..k).map(|_| draws.below(3) == 0).collect();
            for (at, barred) in barred.iter().enumerate() {
                for i in 0..m {
                    if *barred || draws.below(4) == 0 {
                        case.set_a(i, at, 0.0);
                    }
                }
            }
            let clean: Vec<Vec<(f64, f64)>> =
                (0..m).map(|i| (0..n).map(|j| case.expected(i, j, 0.0)).collect()).collect();
            if round % 3 > 0 {
                for (row, _) in case.b.iter_mut().zip(&barred).filter(|(_, barred)| **barred) {
                    row.fill(if round % 3 == 1 { f32::NAN } else { f32::INFINITY });
                }
            }
            case.run(kernels, 2);
            for (i, row) in clean.iter().enumerate() {
                for (j, (want, size)) in row.iter().enumerate() {
                    let error = (f64::from(case.c.at(i, j)) - want).abs();
                    let bound = (k as f64 + 2.0) * size * f64::powi(2.0, -24);
                    assert!(error <= bound, "{}: C[{i}, {j}] of {sizes:?}: off by {error}", isa.name());
                }
            }
        }
    }
}

#[test]
fn what_is_closed_stays_so() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(11);
        for round in 0..60 {
            let sizes = [draws.pick(&EDGES[1..18]), draws.pick(&EDGES[1..]), draws.pick(&EDGES[1..19])];
            let mut case = Case::draw(&mut draws, sizes, round % 2);
            let [m, n, k] = sizes;
            let closed: Vec<Vec<bool>> = (0..m)
                .map(|i| (0..n).map(|j| if round % 4 == 0 { draws.below(2) == 0 } else { j > i + 5 }).collect())
                .collect();
            for (i, row) in closed.iter().enumerate() {
                for (j, closed) in row.iter().enumerate() {
                    case.c.set(i, j, if *closed { f32::NEG_INFINITY } else { 0.0 });
                }
            }
            case.run(kernels, 4);
            for (i, row) in closed.iter().enumerate() {
                for (j, closed) in row.iter().enumerate() {
                    let found = f64::from(case.c.at(i, j));
                    let (sum, size) = case.expected(i, j, 0.0);
                    let (want, size) = (sum * f64::from(case.factor), size * f64::from(case.factor.abs()));
                    let roundings = k as f64 + if case.factor == 1.0 { 2.0 } else { 3.0 };
                    let bound = roundings * size * f64::powi(2.0, -24);
                    let good = if *closed { found == f64::NEG_INFINITY } else { (found - want).abs() <= bound };
                    assert!(good, "{}: C[{i}, {j}] of {sizes:?}: {found}", isa.name());
                }
            }
        }
    }
}

#[test]
fn what_is_no_number_reaches_what_depends_on_it() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(13);
        let mut case = Case::draw(&mut draws, [8, 40, 20], 0);
        case.set_a(3, 7, f32::NAN);
        case.b[9][17] = f32::INFINITY;
        case.run(kernels, 0);
        for i in 0..8 {
            for j in 0..40 {
                let depends = i == 3 || j == 17;
                assert_eq!(!case.c.at(i, j).is_finite(), depends, "{}: C[{i}, {j}]", isa.name());
            }
        }
    }
}

#[test]
fn packed_pairs_are_the_rounded_elements() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(17);
        for round in 0..120 {
            let [rows, cols] = [draws.pick(&EDGES), draws.pick(&EDGES)];
            let across = round % 2 == 0;
            let (down, along) = if across { (cols, rows) } else { (rows, cols) };
            let gap = draws.below(3);
            let wide = Guarded::new(down, along, gap, f32::NAN, || draws.real() as f32);
            let narrow = Guarded::new(down, along, gap, 0x7fc0, || draws.bits() as u16);
            let stride = wide.stride as isize;
            let (rs, cs) = if across { (1, stride) } else { (stride, 1) };
            let mut packed = [0, 1].map(|_| Guarded::new(rows.div_ceil(2), 2 * cols, 4, 0x1234u16, || 0x7fc0));
            let dst_rs = packed[0].stride as isize;
            // SAFETY: the buffers hold the matrices, at these strides.
            unsafe {
                (kernels.pack_pairs_f32)(rows, cols, packed[0].mut_ptr(), dst_rs, wide.ptr(), rs, cs);
                (kernels.pack_pairs_bf16)(rows, cols, packed[1].mut_ptr(), dst_rs, narrow.ptr(), rs, cs);
            }
            packed.iter().for_each(|packed| packed.check(isa.name()));
            for r in 0..2 * rows.div_ceil(2) {
                for c in 0..cols {
                    let at = if across { (c, r) } else { (r, c) };
                    let there = r < rows;
                    let want = [
                        if there { bf16::from_f32(wide.at(at.0, at.1)).to_bits() } else { 0 },
                        if there { narrow.at(at.0, at.1) } else { 0 },
                    ];
                    let found = [0, 1].map(|k| packed[k].at(r / 2, 2 * c + r % 2));
                    assert_eq!(found, want, "{}: ({r}, {c}) of {rows}x{cols}", isa.name());
                }
            }
        }
    }
}
