//! Matrices through a function with numbers of each row: against `f64`, at every edge, with canaries around them.

mod common;

use attnc_kernels::{Affine, KernelTable};
use common::{Draws, EDGES, Guarded, tables};

const CANARY: f32 = 12345.678;

/// A function, what it is in `f64`, and by how much its values may be off: so much of 1, and of themselves.
type Case = (&'static str, fn(&KernelTable) -> Affine, fn(f64) -> f64, f64);

const CASES: [Case; 11] = [
    ("same", |t| t.affine_same_f32, |x| x, 0.0),
    ("relu", |t| t.affine_relu_f32, |x| x.max(0.0), 0.0),
    ("elu", |t| t.affine_elu_f32, |x| if x > 0.0 { x } else { libm::expm1(x) }, 1.2e-7),
    ("elu + 1", |t| t.affine_elu_plus_one_f32, |x| if x > 0.0 { x + 1.0 } else { libm::exp(x) }, 1.2e-7),
    ("exp", |t| t.affine_exp_f32, libm::exp, 1.2e-7),
    ("tanh", |t| t.affine_tanh_f32, libm::tanh, 3.6e-7),
    ("sigmoid", |t| t.affine_sigmoid_f32, |x| 1.0 / (1.0 + libm::exp(-x)), 3e-7),
    ("silu", |t| t.affine_silu_f32, |x| x / (1.0 + libm::exp(-x)), 3e-7),
    ("gelu", |t| t.affine_gelu_f32, |x| 0.5 * x * (1.0 + libm::erf(x * 0.5f64.sqrt())), 6e-7),
    ("sin", |t| t.affine_sin_f32, libm::sin, 3.6e-7),
    ("cos", |t| t.affine_cos_f32, libm::cos, 3.6e-7),
];

/// Factors and summands of some rows, and the stride with which they are read: 0 takes the first for all.
struct OfRows {
    numbers: Vec<f32>,
    stride: isize,
}

impl OfRows {
    fn at(&self, row: usize) -> f32 {
        self.numbers[row * self.stride as usize]
    }
}

#[test]
fn every_element_of_a_matrix_goes_through_the_function() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(11);
        for (name, pick, exact, bound) in CASES {
            for rows in [0, 1, 2, 7] {
                for cols in EDGES {
                    let src = Guarded::new(rows, cols, 5, f32::NAN, || 6.0 * draws.real() as f32);
                    let mut dst = Guarded::new(rows, cols, 3, CANARY, || 0.0f32);
                    let mut of_rows = |scale: f64| OfRows {
                        numbers: (0..=2 * rows).map(|_| (scale * draws.real()) as f32).collect(),
                        stride: draws.pick(&[0, 1, 2]),
                    };
                    let [a, b, c, d] = [1.5, 1.0, 3.0, 2.0].map(&mut of_rows);
                    let (to, from) = (dst.stride as isize, src.stride as isize);
                    let [pa, pb, pc, pd] = [&a, &b, &c, &d].map(|n| n.numbers.as_ptr());
                    // SAFETY: the matrices hold the rows and columns at these strides, there are numbers for every row.
                    unsafe {
                        pick(kernels)(
                            rows,
                            cols,
                            dst.mut_ptr(),
                            to,
                            src.ptr(),
                            from,
                            pa,
                            a.stride,
                            pb,
                            b.stride,
                            pc,
                            c.stride,
                            pd,
                            d.stride,
                        );
                    };
                    dst.check(name);
                    for r in 0..rows {
                        for k in 0..cols {
                            let x = f64::from(src.at(r, k) * a.at(r) + b.at(r));
                            let y = exact(x);
                            let want = y * f64::from(c.at(r)) + f64::from(d.at(r));
                            // One rounding of the product and one of the sum.
                            let parts = (y * f64::from(c.at(r))).abs() + want.abs();
                            let slack = bound * (1.0 + y.abs()) * f64::from(c.at(r)).abs() + 6e-8 * parts;
                            let got = f64::from(dst.at(r, k));
                            assert!(
                                (got - want).abs() <= slack,
                                "{isa} {name} {rows}x{cols} [{r}, {k}] {x}: {got} {want}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_matrix_may_be_overwritten_and_nothing_is_lost_on_neutral_numbers() {
    let specials =
        [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, 1e-45, f32::MAX];
    let (one, nothing) = (1.0f32, -0.0f32);
    for (isa, kernels) in tables() {
        for cols in [1, 10, 16, 64, 75] {
            let mut cells: Vec<f32> = specials.iter().copied().cycle().take(cols).collect();
            let before = cells.clone();
            let (p, n) = (cells.as_mut_ptr(), cols as isize);
            let (one, nothing) = (&raw const one, &raw const nothing);
            // SAFETY: one row of the columns; a number for it each.
            unsafe { (kernels.affine_same_f32)(1, cols, p, n, p, n, one, 0, nothing, 0, one, 0, nothing, 0) };
            let bits =
                |cells: &[f32]| cells.iter().map(|x| if x.is_nan() { 0 } else { x.to_bits() }).collect::<Vec<_>>();
            assert_eq!(bits(&cells), bits(&before), "{isa} {cols}");
            let mut cells = before.clone();
            let p = cells.as_mut_ptr();
            // SAFETY: as above.
            unsafe { (kernels.affine_elu_plus_one_f32)(1, cols, p, n, p, n, one, 0, nothing, 0, one, 0, nothing, 0) };
            for (x, y) in before.iter().zip(&cells) {
                assert_eq!(x.is_nan(), y.is_nan(), "{isa} {x}");
                assert!(x.is_nan() || *y >= 0.0 && (y.is_infinite() == (*x == f32::INFINITY)), "{isa} {x} {y}");
            }
        }
    }
}

#[test]
fn planes_are_added_and_multiplied_in_every_direction() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(13);
        for rows in [0, 1, 3, 7] {
            for cols in EDGES {
                for [rs, cs] in [[1_isize, -1], [-1, 1], [200, 1], [150, -1], [0, 3], [-2, -2]] {
                    let src = Guarded::new(rows, cols, 5, f32::NAN, || draws.real() as f32);
                    let [mut dst, mut scaled] = [(); 2].map(|()| Guarded::new(rows, cols, 3, CANARY, || 0.0f32));
                    let plane: Vec<f32> = (0..4000).map(|_| draws.real() as f32).collect();
                    let origin = 2000_isize;
                    let (to, from) = (dst.stride as isize, src.stride as isize);
                    // SAFETY: the matrices hold the rows and columns at these strides, and so does the middle of the plane.
                    unsafe {
                        let middle = plane.as_ptr().offset(origin);
                        (kernels.add_plane_f32)(rows, cols, dst.mut_ptr(), to, src.ptr(), from, middle, rs, cs);
                        (kernels.scale_plane_f32)(rows, cols, scaled.mut_ptr(), to, src.ptr(), from, middle, rs, cs);
                    };
                    dst.check("add_plane");
                    scaled.check("scale_plane");
                    for r in 0..rows {
                        for k in 0..cols {
                            let at = origin + r as isize * rs + k as isize * cs;
                            let want = src.at(r, k) + plane[at as usize];
                            assert_eq!(dst.at(r, k), want, "{isa} {rows}x{cols} [{r}, {k}] {rs} {cs}");
                            let want = src.at(r, k) * plane[at as usize];
                            assert_eq!(scaled.at(r, k), want, "{isa} {rows}x{cols} [{r}, {k}] {rs} {cs}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn multiples_of_positions_are_added() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(17);
        for rows in [0, 1, 3, 7] {
            for cols in EDGES {
                for (start, rs, cs) in [(4095_i64, 1, -1), (-3, 0, 1), (16_000_000, -2, 5), (0, 100, 0)] {
                    let mut cells = Guarded::new(rows, cols, 5, CANARY, || draws.real() as f32);
                    let before: Vec<Vec<f32>> = (0..rows).map(|r| cells.row(r).to_vec()).collect();
                    let mut apart = Guarded::new(rows, cols, 3, CANARY, || 0.0f32);
                    let factor = draws.real() as f32;
                    let (to, to_rs) = (apart.mut_ptr(), apart.stride as isize);
                    let (p, stride) = (cells.mut_ptr(), cells.stride as isize);
                    // SAFETY: the matrices hold the rows and columns at these strides.
                    unsafe {
                        (kernels.add_distance_f32)(rows, cols, to, to_rs, p, stride, &raw const factor, start, rs, cs);
                        (kernels.add_ramp_f32)(rows, cols, p, stride, p, stride, &raw const factor, start, rs, cs)
                    };
                    cells.check("add_ramp");
                    apart.check("add_distance");
                    for (r, before) in before.iter().enumerate() {
                        for (k, x) in before.iter().enumerate() {
                            let at = start + r as i64 * rs + k as i64 * cs;
                            let (ramp, distance) = (x + factor * at as f32, x + factor * at.abs() as f32);
                            assert_eq!(cells.at(r, k), ramp, "{isa} {rows}x{cols} [{r}, {k}] {start}");
                            assert_eq!(apart.at(r, k), distance, "{isa} {rows}x{cols} [{r}, {k}] {start}");
                        }
                    }
                }
            }
        }
    }
}
