//! Tile products against a naive sum, on every instruction set: edge sizes, strides, canaries, and the order of
//! additions, which must not depend on where an element of C lies.

mod common;

use attnc_kernels::KernelTable;
use common::{Draws, EDGES, Guarded, tables};

/// Drives one element type.
macro_rules! product_tests {
    ($t:ty, $product:ident, $sparse:ident, $open:ident, $tolerance:expr) => {
        use super::*;

        const CANARY: $t = 12345.678;

        struct Case {
            a: Guarded<$t>,
            b: Guarded<$t>,
            c: Guarded<$t>,
            columns_of_a_first: bool,
        }

        impl Case {
            fn draw(draws: &mut Draws, m: usize, n: usize, k: usize) -> Case {
                let columns_of_a_first = draws.below(2) == 1;
                let (rows, cols) = if columns_of_a_first { (k, m) } else { (m, k) };
                let gaps = [draws.below(4), draws.below(4), draws.below(4)];
                let a = Guarded::new(rows, cols, gaps[0], <$t>::NAN, || draws.real() as $t);
                let b = Guarded::new(k, n, gaps[1], <$t>::NAN, || draws.real() as $t);
                let c = Guarded::new(m, n, gaps[2], CANARY, || draws.real() as $t);
                Case { a, b, c, columns_of_a_first }
            }

            fn a(&self, i: usize, k: usize) -> $t {
                if self.columns_of_a_first { self.a.at(k, i) } else { self.a.at(i, k) }
            }

            fn run(&mut self, product: attnc_kernels::Product<$t>, accumulate: bool) {
                self.run_scaled(product, accumulate, std::ptr::null());
            }

            fn run_scaled(&mut self, product: attnc_kernels::Product<$t>, accumulate: bool, scale: *const $t) {
                let stride = self.a.stride as isize;
                let (a_rs, a_cs) = if self.columns_of_a_first { (1, stride) } else { (stride, 1) };
                let (m, n, k) = (self.c.rows, self.c.cols, self.b.rows);
                let (b_rs, c_rs) = (self.b.stride as isize, self.c.stride as isize);
                // SAFETY: the buffers hold the matrices, at these strides.
                unsafe {
                    let (a, b, c) = (self.a.ptr(), self.b.ptr(), self.c.mut_ptr());
                    product(m, n, k, a, a_rs, a_cs, b, b_rs, c, c_rs, u64::from(accumulate), scale);
                }
                self.c.check("product");
            }
        }

        fn check(draws: &mut Draws, product: attnc_kernels::Product<$t>, [m, n, k]: [usize; 3], accumulate: bool) {
            let mut case = Case::draw(draws, m, n, k);
            let before: Vec<Vec<$t>> = (0..m).map(|i| case.c.row(i).to_vec()).collect();
            case.run(product, accumulate);
            for i in 0..m {
                for j in 0..n {
                    let start = if accumulate { f64::from(before[i][j]) } else { 0.0 };
                    let want: f64 =
                        (0..k).fold(start, |sum, k| f64::from(case.a(i, k)).mul_add(f64::from(case.b.at(k, j)), sum));
                    let error = (f64::from(case.c.at(i, j)) - want).abs();
                    let bound = $tolerance * (k as f64 + 1.0);
                    assert!(error <= bound, "C[{i}, {j}] of {m}x{n}x{k}: off by {error}");
                }
            }
        }

        #[test]
        fn agrees_with_the_naive_sum_at_edge_sizes() {
            for (isa, kernels) in tables() {
                let mut draws = Draws(7);
                for round in 0..400 {
                    let sizes = [draws.pick(&EDGES[..19]), draws.pick(&EDGES), draws.pick(&EDGES[..14])];
                    for product in [kernels.$product, kernels.$sparse] {
                        check(&mut draws, product, sizes, round % 2 == 0);
                    }
                }
                println!("{isa}");
            }
        }

        /// Scaled as it is read, C has the bits of one that was scaled before.
        #[test]
        fn a_scale_is_a_pass_over_c_before() {
            for (isa, kernels) in tables() {
                let mut draws = Draws(17);
                for round in 0..300 {
                    let sizes = [draws.pick(&EDGES[..19]), draws.pick(&EDGES), draws.pick(&EDGES[..14])];
                    let [m, n, k] = sizes;
                    let mut factors: Vec<$t> = (0..m).map(|_| draws.real() as $t).collect();
                    factors.iter_mut().step_by(3).for_each(|factor| *factor = 1.0);
                    let product = [kernels.$product, kernels.$sparse][round % 2];
                    let mut case = Case::draw(&mut draws, m, n, k);
                    let weights = draws.below(2) == 1;
                    let (a_rows, a_cols) = (case.a.rows, case.a.cols);
                    for (i, k) in (0..a_rows).flat_map(|i| (0..a_cols).map(move |k| (i, k))) {
                        if weights && draws.below(2) == 1 {
                            case.a.set(i, k, 0.0);
                        }
                    }
                    let rows: Vec<Vec<$t>> = (0..m).map(|i| case.c.row(i).to_vec()).collect();
                    case.run_scaled(product, true, factors.as_ptr());
                    let scaled: Vec<Vec<$t>> = (0..m).map(|i| case.c.row(i).to_vec()).collect();
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        case.c.set(i, j, rows[i][j] * factors[i]);
                    }
                    case.run(product, true);
                    for (i, row) in scaled.iter().enumerate() {
                        assert_eq!(row[..], *case.c.row(i), "{isa} {sizes:?}");
                    }
                }
            }
        }

        #[test]
        fn long_sums_agree_with_the_naive_sum() {
            for (_, kernels) in tables() {
                let mut draws = Draws(8);
                for sizes in [[1, 64, 1000], [7, 33, 257], [13, 130, 256], [2, 300, 511], [70, 1, 600]] {
                    check(&mut draws, kernels.$product, sizes, false);
                    check(&mut draws, kernels.$product, sizes, true);
                }
            }
        }

        /// An element's bits are those of the same row and column computed alone, and of the sum cut in two.
        #[test]
        fn bits_do_not_depend_on_the_block() {
            for (isa, kernels) in tables() {
                let mut draws = Draws(9);
                for [m, n, k] in
                    [[13, 83, 65], [6, 64, 64], [64, 80, 300], [1, 200, 31], [5, 1, 40], [77, 1, 50], [40, 3, 17]]
                {
                    let mut whole = Case::draw(&mut draws, m, n, k);
                    whole.run(kernels.$product, false);
                    for _ in 0..50 {
                        let (i, j) = (draws.below(m), draws.below(n));
                        let alone = alone(kernels, &whole, i, j, draws.below(k + 1));
                        assert_eq!(whole.c.at(i, j).to_bits(), alone.to_bits(), "{isa} {m}x{n}x{k} [{i}, {j}]");
                    }
                }
            }
        }

        /// `C[i, j]` by two products of one row and one column, cut at term `cut`.
        fn alone(kernels: &KernelTable, whole: &Case, i: usize, j: usize, cut: usize) -> $t {
            let k = whole.b.rows;
            let row: Vec<$t> = (0..k).map(|k| whole.a(i, k)).collect();
            let column: Vec<$t> = (0..k).map(|k| whole.b.at(k, j)).collect();
            let mut c = [0.0];
            // SAFETY: the slices hold the operands, and `cut <= k`.
            unsafe {
                let c = c.as_mut_ptr();
                let (a, b) = (row.as_ptr(), column.as_ptr());
                (kernels.$product)(1, 1, cut, a, 1, 1, b, 1, c, 1, 0, std::ptr::null());
                (kernels.$product)(1, 1, k - cut, a.add(cut), 1, 1, b.add(cut), 1, c, 1, 1, std::ptr::null());
            }
            c[0]
        }

        #[test]
        fn an_empty_sum_is_zero_or_what_was_there() {
            for (_, kernels) in tables() {
                for product in [kernels.$product, kernels.$sparse] {
                    let mut case = Case::draw(&mut Draws(3), 7, 70, 0);
                    let before = case.c.at(6, 69);
                    case.run(product, true);
                    assert_eq!(case.c.at(6, 69), before);
                    case.run(product, false);
                    assert!((0..7).all(|i| case.c.row(i).iter().all(|&x| x == 0.0)));
                }
            }
        }

        /// Masks of many shapes: nothing, everything, bands, blocks and single elements.
        fn is_open(pattern: usize, i: usize, j: usize, draws: &mut Draws) -> bool {
            match pattern {
                0 => false,
                1 => true,
                2 => i.abs_diff(j) <= 3,
                3 => j <= i,
                4 => (i / 9 + j / 17) % 2 == 0,
                5 => i % 7 == 3 || j == 20,
                _ => draws.below(pattern) == 0,
            }
        }

        #[test]
        fn zeros_leave_out_terms_and_change_no_sum() {
            for (isa, kernels) in tables() {
                let mut draws = Draws(21);
                for pattern in 0..12 {
                    let [m, n] = [draws.pick(&EDGES), draws.pick(&EDGES)];
                    for k in [5, 16, 40, 64, 65, 150] {
                        let mut case = Case::draw(&mut draws, m, n, k);
                        for i in 0..m {
                            for k in 0..k {
                                if !is_open(pattern, i, k, &mut draws) {
                                    let (row, col) = if case.columns_of_a_first { (k, i) } else { (i, k) };
                                    case.a.set(row, col, 0.0);
                                }
                            }
                        }
                        for accumulate in [false, true] {
                            let before: Vec<Vec<$t>> = (0..m).map(|i| case.c.row(i).to_vec()).collect();
                            case.run(kernels.$sparse, accumulate);
                            let sparse: Vec<Vec<$t>> = (0..m).map(|i| case.c.row(i).to_vec()).collect();
                            for i in 0..m {
                                for j in 0..n {
                                    case.c.set(i, j, before[i][j]);
                                }
                            }
                            case.run(kernels.$product, accumulate);
                            for i in 0..m {
                                assert_eq!(case.c.row(i), &sparse[i][..], "{isa} {m}x{n}x{k} pattern {pattern}");
                            }
                        }
                    }
                }
            }
        }

        #[test]
        fn what_is_not_open_stays_so_whatever_its_product_is() {
            for (isa, kernels) in tables() {
                let mut draws = Draws(22);
                for pattern in 0..12 {
                    for n in EDGES {
                        let [m, k] = [draws.pick(&EDGES), draws.pick(&EDGES[..15])];
                        let mut case = Case::draw(&mut draws, m, n, k);
                        case.run(kernels.$product, false);
                        let whole: Vec<Vec<$t>> = (0..m).map(|i| case.c.row(i).to_vec()).collect();
                        let bad = draws.below(n + 1);
                        for i in 0..m {
                            for j in 0..n {
                                let open = j != bad && is_open(pattern, i, j, &mut draws);
                                case.c.set(i, j, if open { 7.5 } else { <$t>::NEG_INFINITY });
                            }
                        }
                        // A column that no row sees.
                        for k in (0..k).filter(|_| bad < n) {
                            case.b.set(k, bad, <$t>::NAN);
                        }
                        let masked: Vec<Vec<$t>> = (0..m).map(|i| case.c.row(i).to_vec()).collect();
                        case.run(kernels.$open, false);
                        for i in 0..m {
                            for j in 0..n {
                                let closed = masked[i][j] == <$t>::NEG_INFINITY;
                                let want = if closed { masked[i][j] } else { whole[i][j] };
                                let place = format!("{isa} {m}x{n}x{k} pattern {pattern} [{i}, {j}]");
                                assert_eq!(case.c.at(i, j).to_bits(), want.to_bits(), "{place}");
                            }
                        }
                    }
                }
            }
        }

        #[test]
        fn sparse_zeros_silence_nan_and_infinity() {
            for (_, kernels) in tables() {
                let mut draws = Draws(5);
                for [m, n, k] in [[7, 70, 20], [1, 3, 5], [65, 17, 33]] {
                    let mut case = Case::draw(&mut draws, m, n, k);
                    let poisoned = draws.below(k);
                    for j in 0..n {
                        case.b.set(poisoned, j, if j % 2 == 0 { <$t>::NAN } else { <$t>::INFINITY });
                    }
                    for i in 0..m {
                        let zero = if i % 2 == 0 { 0.0 } else { -0.0 };
                        if case.columns_of_a_first {
                            case.a.set(poisoned, i, zero)
                        } else {
                            case.a.set(i, poisoned, zero)
                        }
                    }
                    case.run(kernels.$sparse, false);
                    assert!((0..m).all(|i| case.c.row(i).iter().all(|x| x.is_finite())));
                }
            }
        }
    };
}

mod single {
    product_tests!(f32, product_f32, product_sparse_f32, product_open_f32, 1.2e-7);
}

mod double {
    product_tests!(f64, product_f64, product_sparse_f64, product_open_f64, 2.3e-16);

    #[test]
    fn rounded_terms_have_the_bits_of_a_loop() {
        for (isa, kernels) in tables() {
            let mut draws = Draws(29);
            for round in 0..400 {
                let [m, n, k] = [draws.pick(&EDGES[..19]), draws.pick(&EDGES), draws.pick(&EDGES[..14])];
                let accumulate = round % 2 == 0;
                let mut case = Case::draw(&mut draws, m, n, k);
                let before: Vec<Vec<f64>> = (0..m).map(|i| case.c.row(i).to_vec()).collect();
                case.run(kernels.product_rounded_f64, accumulate);
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let start = if accumulate { before[i][j] } else { 0.0 };
                    let want = (0..k).fold(start, |sum, k| sum + case.a(i, k) * case.b.at(k, j));
                    assert_eq!(case.c.at(i, j).to_bits(), want.to_bits(), "{isa} {m}x{n}x{k} [{i}, {j}]");
                }
            }
        }
    }
}
