//! Dot products of rows with lines as they lie, and rows widened, against `f64`: edge sizes, strides, canaries, every
//! storage type, and the order of additions, which must not depend on where an element lies.

mod common;

use attnc_kernels::DotProducts;
use common::{Draws, EDGES, Guarded, tables};

const CANARY: f32 = 12345.678;

/// A storage type: its canary, and a way to draw an element, with its value.
trait Drawn: Copy + PartialEq + std::fmt::Debug {
    const CANARY: Self;
    fn draw(draws: &mut Draws) -> Self;
    fn value(self, half: bool) -> f64;
}

impl Drawn for f32 {
    const CANARY: f32 = f32::NAN;
    fn draw(draws: &mut Draws) -> f32 {
        draws.real() as f32
    }
    fn value(self, _: bool) -> f64 {
        f64::from(self)
    }
}

impl Drawn for i8 {
    const CANARY: i8 = 77;
    fn draw(draws: &mut Draws) -> i8 {
        draws.bits() as i8
    }
    fn value(self, _: bool) -> f64 {
        f64::from(self)
    }
}

/// The bits of a half or of a bfloat16 between 2^-3 and 2 or so, of either sign; of a small half besides.
impl Drawn for u16 {
    const CANARY: u16 = 0x7fff;
    fn draw(draws: &mut Draws) -> u16 {
        let sign = (draws.bits() & 0x8000) as u16;
        sign | (0x3c00 + (draws.bits() % 0x0400) as u16)
    }
    fn value(self, half: bool) -> f64 {
        if half { f64::from(half::f16::from_bits(self)) } else { f64::from(half::bf16::from_bits(self)) }
    }
}

fn check<T: Drawn>(draws: &mut Draws, dots: DotProducts<T>, half: bool, [m, n, k]: [usize; 3]) {
    let gaps = [draws.below(4), draws.below(4), draws.below(4)];
    let a = Guarded::new(m, k, gaps[0], f32::NAN, || draws.real() as f32);
    let b = Guarded::new(n, k, gaps[1], T::CANARY, || T::draw(draws));
    let mut c = Guarded::new(m, n, gaps[2], CANARY, || 0.0);
    let (a_rs, b_rs, c_rs) = (a.stride as isize, b.stride as isize, c.stride as isize);
    // SAFETY: the buffers hold the matrices, at these strides.
    unsafe { dots(m, n, k, a.ptr(), a_rs, b.ptr(), b_rs, c.mut_ptr(), c_rs) };
    c.check("dots");
    for i in 0..m {
        for j in 0..n {
            let terms = || (0..k).map(|t| f64::from(a.at(i, t)) * b.at(j, t).value(half));
            let (want, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
            let error = (f64::from(c.at(i, j)) - want).abs();
            let bound = f64::from(f32::EPSILON) * (k as f64 + 2.0) * size;
            assert!(error <= bound, "{m} x {n} x {k}, element {i}, {j}: {} for {want}", c.at(i, j));
            // One row and one line alone give the same bits.
            let mut alone = [CANARY];
            // SAFETY: row `i` and line `j` of the matrices above.
            unsafe {
                let (row, line) = (a.ptr().add(i * a.stride), b.ptr().add(j * b.stride));
                dots(1, 1, k, row, 0, line, 0, alone.as_mut_ptr(), 0);
            }
            assert_eq!(alone[0].to_bits(), c.at(i, j).to_bits(), "{m} x {n} x {k}: bits of element {i}, {j}");
        }
    }
}

#[test]
fn dot_products_are_sums_and_bits_depend_on_their_length_alone() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(11);
        for _ in 0..150 {
            let shape = [draws.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13]), draws.pick(&EDGES), draws.pick(&EDGES)];
            println!("{isa} {shape:?}");
            check(&mut draws, kernels.dots_f32, false, shape);
            check(&mut draws, kernels.dots_bf16, false, shape);
            check(&mut draws, kernels.dots_f16, true, shape);
            check(&mut draws, kernels.dots_i8, false, shape);
        }
    }
}

fn check_widen<T: Drawn>(draws: &mut Draws, widen: attnc_kernels::WidenRows<T>, half: bool) {
    let [rows, cols] = [draws.pick(&EDGES), draws.pick(&EDGES)];
    let gaps = [draws.below(4), draws.below(4)];
    let src = Guarded::new(rows, cols, gaps[0], T::CANARY, || T::draw(draws));
    let mut dst = Guarded::new(rows, cols, gaps[1], CANARY, || 0.0);
    // SAFETY: the buffers hold the matrices, at these strides.
    unsafe { widen(rows, cols, dst.mut_ptr(), dst.stride as isize, src.ptr(), src.stride as isize) };
    dst.check("widen");
    for r in 0..rows {
        for c in 0..cols {
            assert_eq!(f64::from(dst.at(r, c)), src.at(r, c).value(half), "{rows} x {cols}, element {r}, {c}");
        }
    }
}

#[test]
fn rows_are_widened_exactly() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(12);
        for _ in 0..100 {
            println!("{isa}");
            check_widen(&mut draws, kernels.widen_rows_bf16, false);
            check_widen(&mut draws, kernels.widen_rows_f16, true);
            check_widen(&mut draws, kernels.widen_rows_i8, false);
        }
    }
}

/// What the chain of multiply-adds over ascending terms gives for each element, the order that every product has.
fn chain(terms: impl Iterator<Item = (f32, f64)>, start: f32) -> (f64, f64) {
    terms.fold((f64::from(start), f64::from(start).abs()), |(sum, size), (a, b)| {
        (sum + f64::from(a) * b, size + (f64::from(a) * b).abs())
    })
}

fn check_product<T: Drawn>(
    draws: &mut Draws,
    kernels: &attnc_kernels::KernelTable,
    product: attnc_kernels::ProductOf<T>,
    half: bool,
    [m, n, k]: [usize; 3],
) {
    let (gaps, accumulate) = ([draws.below(4), draws.below(4), draws.below(4)], draws.below(2) == 1);
    let a = Guarded::new(m, k, gaps[0], f32::NAN, || draws.real() as f32);
    let b = Guarded::new(k, n, gaps[1], T::CANARY, || T::draw(draws));
    let mut c = Guarded::new(m, n, gaps[2], CANARY, || draws.real() as f32);
    let start: Vec<Vec<f32>> = (0..m).map(|i| c.row(i).to_vec()).collect();
    let wide: Vec<f32> =
        (0..k).flat_map(|t| (0..n).map(move |j| (t, j))).map(|(t, j)| b.at(t, j).value(half) as f32).collect();
    let mut same = start.concat();
    let (a_rs, b_rs, c_rs, to) = (a.stride as isize, b.stride as isize, c.stride as isize, u64::from(accumulate));
    // SAFETY: the buffers hold the matrices, at these strides.
    unsafe {
        product(m, n, k, a.ptr(), a_rs, 1, b.ptr(), b_rs, c.mut_ptr(), c_rs, to);
        let across = n as isize;
        let (wide, same) = (wide.as_ptr(), same.as_mut_ptr());
        (kernels.product_f32)(m, n, k, a.ptr(), a_rs, 1, wide, across, same, across, to, std::ptr::null());
    }
    c.check("product");
    for i in 0..m {
        for j in 0..n {
            let terms = (0..k).map(|t| (a.at(i, t), b.at(t, j).value(half)));
            let (want, size) = chain(terms, if accumulate { start[i][j] } else { 0.0 });
            let error = (f64::from(c.at(i, j)) - want).abs();
            assert!(error <= f64::from(f32::EPSILON) * (k as f64 + 2.0) * size, "{m} x {n} x {k}, element {i}, {j}");
            assert_eq!(c.at(i, j).to_bits(), same[i * n + j].to_bits(), "{m} x {n} x {k}: bits of element {i}, {j}");
        }
    }
}

#[test]
fn products_with_a_narrow_matrix_have_the_bits_of_the_widened_one() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(13);
        for _ in 0..150 {
            let shape = [draws.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16]), draws.pick(&EDGES), draws.pick(&EDGES)];
            println!("{isa} {shape:?}");
            check_product(&mut draws, kernels, kernels.product_bf16, false, shape);
            check_product(&mut draws, kernels, kernels.product_f16, true, shape);
            check_product(&mut draws, kernels, kernels.product_i8, false, shape);
        }
    }
}
