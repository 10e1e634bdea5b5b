//! Max-plus products against their definition: edge sizes, strides, canaries, and what is no number.

mod common;

use attnc_kernels::MaxPlus;
use common::{Draws, EDGES, Guarded, tables};

/// Drives one element type.
macro_rules! max_plus_tests {
    ($t:ident, $max:ident, $min:ident) => {
        use super::*;

        const CANARY: $t = 12345.678;

        /// What operands may hold besides numbers.
        const SPECIAL: [$t; 3] = [<$t>::NAN, <$t>::INFINITY, <$t>::NEG_INFINITY];

        fn check(draws: &mut Draws, product: MaxPlus<$t>, [m, n, k]: [usize; 3], (least, wild): (bool, bool)) {
            let turned = draws.below(2) == 1;
            let gaps = [draws.below(4), draws.below(4), draws.below(4)];
            let mut draw = |rows, cols, gap, canary| {
                Guarded::new(rows, cols, gap, canary, || match draws.below(if wild { 40 } else { usize::MAX }) {
                    at @ 0..3 => SPECIAL[at],
                    _ => draws.real() as $t,
                })
            };
            let a = if turned { draw(k, m, gaps[0], <$t>::NAN) } else { draw(m, k, gaps[0], <$t>::NAN) };
            let (b, mut c) = (draw(k, n, gaps[1], <$t>::NAN), draw(m, n, gaps[2], CANARY));
            let before: Vec<Vec<$t>> = (0..m).map(|i| c.row(i).to_vec()).collect();
            let masked = draws.below(2) == 1;
            // SAFETY: the buffers hold the matrices, at these strides.
            unsafe {
                let stride = a.stride as isize;
                let (a_rs, a_cs) = if turned { (1, stride) } else { (stride, 1) };
                let (b_rs, c_rs) = (b.stride as isize, c.stride as isize);
                product(m, n, k, a.ptr(), a_rs, a_cs, b.ptr(), b_rs, c.mut_ptr(), c_rs, u64::from(masked));
            }
            c.check("max-plus");
            let nothing = if least { <$t>::INFINITY } else { <$t>::NEG_INFINITY };
            for (i, before) in before.iter().enumerate() {
                for (j, &start) in before.iter().enumerate() {
                    let mut want = start;
                    for k in 0..k {
                        let own = if turned { a.at(k, i) } else { a.at(i, k) };
                        let sum = own + b.at(k, j);
                        want = match () {
                            () if masked && own == nothing => want,
                            () if want.is_nan() || sum.is_nan() => <$t>::NAN,
                            () if least => want.min(sum),
                            () => want.max(sum),
                        };
                    }
                    let got = c.at(i, j);
                    assert!(got == want || got.is_nan() && want.is_nan(), "[{i}, {j}] of {m}x{n}x{k}: {got} {want}");
                }
            }
        }

        #[test]
        fn is_the_largest_or_least_sum() {
            for (_, kernels) in tables() {
                let mut draws = Draws(11);
                for round in 0..600 {
                    let sizes = [draws.pick(&EDGES[..19]), draws.pick(&EDGES), draws.pick(&EDGES[..19])];
                    check(&mut draws, kernels.$max, sizes, (false, round % 3 == 0));
                    check(&mut draws, kernels.$min, sizes, (true, round % 3 == 0));
                }
            }
        }

        #[test]
        fn masked_elements_contribute_nothing() {
            for (_, kernels) in tables() {
                for (product, nothing) in [(kernels.$max, <$t>::NEG_INFINITY), (kernels.$min, <$t>::INFINITY)] {
                    let a = [nothing, 1.0];
                    for special in SPECIAL {
                        let b = [special, 2.0];
                        let mut c = [nothing];
                        // SAFETY: one row, one column and two terms.
                        unsafe { product(1, 1, 2, a.as_ptr(), 2, 1, b.as_ptr(), 1, c.as_mut_ptr(), 1, 1) };
                        assert!(c[0] == 3.0, "{special}: {}", c[0]);
                    }
                }
            }
        }
    };
}

mod single {
    max_plus_tests!(f32, max_plus_f32, min_plus_f32);
}

mod double {
    max_plus_tests!(f64, max_plus_f64, min_plus_f64);
}
