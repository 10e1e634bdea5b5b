//! Products through a function against `f64`: edge sizes, strides, canaries, and arguments of all sizes.

mod common;

use common::{Draws, EDGES, Guarded, tables};

const CANARY: f32 = 12345.678;

/// Draws a matrix of numbers up to `size`, by rows or by columns.
fn draw(draws: &mut Draws, rows: usize, cols: usize, size: f64) -> (Guarded<f32>, bool) {
    let turned = draws.below(2) == 1;
    let (down, across) = if turned { (cols, rows) } else { (rows, cols) };
    let gap = draws.below(4);
    let matrix = Guarded::new(down, across, gap, f32::NAN, || (draws.real() * size) as f32);
    (matrix, turned)
}

fn at((matrix, turned): &(Guarded<f32>, bool), row: usize, col: usize) -> f64 {
    f64::from(if *turned { matrix.at(col, row) } else { matrix.at(row, col) })
}

#[test]
fn a_product_through_tanh_is_the_sum_of_its_terms() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(7);
        for round in 0..400 {
            let [m, n] = [draws.pick(&EDGES), draws.pick(&EDGES)];
            let k = draws.pick(&[0, 1, 2, 31, 64, 65, 130]);
            let [x, y] = [0; 2].map(|_: i32| draws.pick(&[1e-30, 1e-3, 0.06, 0.3, 1.0, 5.0, 19.0, 21.0, 60.0, 1e38]));
            let heavy = draws.pick(&[1.0, 1.0, 1e-20, 1e25]);
            let shared = draws.below(2) == 1;
            let w = {
                let gap = 1 + draws.below(3);
                Guarded::new(if shared { 1 } else { m }, k, gap, f32::NAN, || (draws.real() * heavy) as f32)
            };
            let a = draw(&mut draws, m, k, x);
            let gaps = [draws.below(4), draws.below(4)];
            let b = Guarded::new(k, n, gaps[0], f32::NAN, || (draws.real() * y) as f32);
            let mut c = Guarded::new(m, n, gaps[1], CANARY, || draws.real() as f32);
            let before: Vec<Vec<f32>> = (0..m).map(|i| c.row(i).to_vec()).collect();
            let accumulate = round % 2 == 0;
            // SAFETY: the buffers hold the matrices, at these strides.
            unsafe {
                let w_rs = if shared { 0 } else { w.stride as isize };
                let (ap, stride) = (a.0.ptr(), a.0.stride as isize);
                let [a_rs, a_cs] = if a.1 { [1, stride] } else { [stride, 1] };
                let (bp, b_rs, c_rs) = (b.ptr(), b.stride as isize, c.stride as isize);
                let to = u64::from(accumulate);
                (kernels.product_tanh_f32)(m, n, k, w.ptr(), w_rs, 1, ap, a_rs, a_cs, bp, b_rs, c.mut_ptr(), c_rs, to);
            }
            c.check("product_tanh");
            for (i, before) in before.iter().enumerate() {
                let weight = |t: usize| f64::from(w.at(if shared { 0 } else { i }, t));
                for (j, &start) in before.iter().enumerate() {
                    let (mut want, mut size) = (0.0, 0.0);
                    for t in 0..k {
                        let argument = at(&a, i, t) + f64::from(b.at(t, j));
                        want += weight(t) * argument.tanh();
                        // What the sum of weights costs, where it is taken, and what arguments of this size do.
                        size += weight(t).abs() * if x + y < 0.125 { argument.tanh().abs() } else { 1.0 };
                    }
                    let start = if accumulate { f64::from(start) } else { 0.0 };
                    let (got, error) = (f64::from(c.at(i, j)), 6e-7 * size + 1.2e-7 * start.abs());
                    assert!((got - want - start).abs() <= error + 1e-37, "{isa} {x} {y} {k}: {got} {}", want + start);
                }
            }
        }
    }
}

#[test]
fn what_is_not_a_number_stays_in_its_row_or_column() {
    for (isa, kernels) in tables() {
        let (m, n, k) = (9, 70, 5);
        for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let w = vec![0.5f32; k];
            let mut draws = Draws(3);
            let mut a: Vec<f32> = (0..m * k).map(|_| draws.real() as f32).collect();
            let mut b: Vec<f32> = (0..k * n).map(|_| draws.real() as f32).collect();
            a[4 * k + 2] = special;
            b[3 * n + 66] = special;
            let mut c = vec![0.0f32; m * n];
            // SAFETY: the vectors hold the matrices.
            unsafe {
                let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
                (kernels.product_tanh_f32)(
                    m,
                    n,
                    k,
                    w.as_ptr(),
                    0,
                    1,
                    a,
                    k as isize,
                    1,
                    b,
                    n as isize,
                    c,
                    n as isize,
                    0,
                );
            }
            for i in 0..m {
                for j in 0..n {
                    let want: f64 = (0..k).map(|t| 0.5 * f64::from(a[i * k + t] + b[t * n + j]).tanh()).sum();
                    let got = f64::from(c[i * n + j]);
                    assert!(got.is_nan() && want.is_nan() || (got - want).abs() < 2e-6, "{isa} {i} {j}: {got} {want}");
                }
            }
        }
    }
}
