//! Attention by the spans of rows, against the microkernels that find what is masked in the tile itself.

mod common;

use common::{Draws, EDGES, Guarded, tables};

/// Spans of rows: causal, a window, one for all, none, any; ends lie beyond the columns, too.
fn draw_spans(draws: &mut Draws, rows: usize, cols: usize) -> (Vec<i64>, Vec<i64>) {
    let (kind, shift) = (draws.below(6), draws.below(cols + 20) as i64 - 10);
    let width = draws.below(40) as i64;
    let any = |draws: &mut Draws| draws.below(cols + 9) as i64 - 4;
    let all = [any(draws), any(draws)];
    (0..rows as i64)
        .map(|r| match kind {
            0 => (0, r + 1 + shift),
            1 => (r + shift - width, r + shift),
            2 => (all[0], all[1]),
            3 => (r + shift, i64::MAX),
            4 => (i64::MIN, 0),
            _ => (any(draws), any(draws)),
        })
        .unzip()
}

fn sees((from, to): (&[i64], &[i64]), row: usize, column: usize) -> bool {
    (from[row]..to[row]).contains(&(column as i64))
}

macro_rules! spanned_tests {
    ($t:ty, $product:ident, $sparse:ident, $softmax:ident, $scores:ident, $of_spans:ident, $weights:ident, $tolerance:expr) => {
        use super::*;

        const CANARY: $t = 12345.678;

        fn matrix(draws: &mut Draws, rows: usize, cols: usize) -> Guarded<$t> {
            let gap = draws.below(4);
            Guarded::new(rows, cols, gap, CANARY, || draws.real() as $t)
        }

        fn copied(from: &Guarded<$t>) -> Guarded<$t> {
            let mut cells = (0..from.rows).flat_map(|r| from.row(r).to_vec());
            Guarded::new(from.rows, from.cols, from.stride - from.cols, CANARY, || cells.next().unwrap())
        }

        /// Seen scores have the bits of the product, whatever lies in columns that no row sees.
        #[test]
        fn scores_are_those_of_the_product_where_they_are_seen() {
            for (isa, kernels) in tables() {
                let mut draws = Draws(31);
                for _ in 0..400 {
                    let [m, n, k] = [draws.pick(&EDGES), draws.pick(&EDGES), draws.pick(&EDGES[..18])];
                    let (a, mut b) = (matrix(&mut draws, m, k), matrix(&mut draws, k, n));
                    let (mut whole, mut seen) = (matrix(&mut draws, m, n), matrix(&mut draws, m, n));
                    let (from, to) = draw_spans(&mut draws, m, n);
                    let (a_rs, b_rs) = (a.stride as isize, b.stride as isize);
                    let (whole_rs, seen_rs) = (whole.stride as isize, seen.stride as isize);
                    // SAFETY: the buffers hold the matrices, at these strides.
                    unsafe {
                        let (a, b, c) = (a.ptr(), b.ptr(), whole.mut_ptr());
                        (kernels.$product)(m, n, k, a, a_rs, 1, b, b_rs, c, whole_rs, 0, std::ptr::null());
                    }
                    for j in (0..n).filter(|j| (0..m).all(|i| !sees((&from, &to), i, *j))) {
                        (0..k).for_each(|k| b.set(k, j, <$t>::NAN));
                    }
                    // SAFETY: as above; an end for each row.
                    unsafe {
                        let (a, b, c) = (a.ptr(), b.ptr(), seen.mut_ptr());
                        let (from, to) = (from.as_ptr(), to.as_ptr());
                        (kernels.$scores)(m, n, k, a, a_rs, 1, b, b_rs, c, seen_rs, from, to);
                    }
                    seen.check("scores by spans");
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        let same = seen.at(i, j).to_bits() == whole.at(i, j).to_bits();
                        assert!(same || !sees((&from, &to), i, j), "{isa} {m}x{n}x{k} [{i}, {j}]");
                    }
                }
            }
        }

        /// Sums over spans are those that look for zeros, also where a row must not see what is not finite.
        #[test]
        fn sums_are_those_over_what_is_not_zero() {
            for (isa, kernels) in tables() {
                let mut draws = Draws(32);
                for round in 0..400 {
                    let [m, n, k] = [draws.pick(&EDGES), draws.pick(&EDGES), draws.pick(&EDGES)];
                    let (mut a, mut b) = (matrix(&mut draws, m, k), matrix(&mut draws, k, n));
                    let (from, to) = draw_spans(&mut draws, m, k);
                    for (i, j) in (0..m).flat_map(|i| (0..k).map(move |j| (i, j))) {
                        if !sees((&from, &to), i, j) {
                            a.set(i, j, 0.0);
                        }
                    }
                    if round % 3 == 0 && k > 0 {
                        let bad = draws.below(k);
                        (0..n).for_each(|j| b.set(bad, j, if j % 2 == 0 { <$t>::NAN } else { <$t>::INFINITY }));
                    }
                    let mut want = matrix(&mut draws, m, n);
                    let mut got = copied(&want);
                    let factors: Vec<$t> = (0..m).map(|r| if r % 3 == 0 { 1.0 } else { draws.real() as $t }).collect();
                    let scale = if round % 2 == 0 { factors.as_ptr() } else { std::ptr::null() };
                    let accumulate = u64::from(round % 5 > 0);
                    let (a_rs, b_rs, c_rs) = (a.stride as isize, b.stride as isize, got.stride as isize);
                    // SAFETY: the buffers hold the matrices, at these strides; a factor and an end for each row.
                    unsafe {
                        let (a, b) = (a.ptr(), b.ptr());
                        (kernels.$sparse)(m, n, k, a, a_rs, 1, b, b_rs, want.mut_ptr(), c_rs, accumulate, scale);
                        let (c, from, to) = (got.mut_ptr(), from.as_ptr(), to.as_ptr());
                        (kernels.$of_spans)(m, n, k, a, a_rs, 1, b, b_rs, c, c_rs, accumulate, scale, from, to);
                    }
                    got.check("sums over spans");
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        let (got, want) = (got.at(i, j), want.at(i, j));
                        let same = got == want || got.is_nan() && want.is_nan();
                        assert!(same, "{isa} {m}x{n}x{k} [{i}, {j}]: {got} is not {want}");
                    }
                }
            }
        }

        #[test]
        fn weights_are_those_of_scores_that_are_masked() {
            for (isa, kernels) in tables() {
                let mut draws = Draws(33);
                for _ in 0..400 {
                    let [rows, cols] = [draws.pick(&EDGES), draws.pick(&EDGES)];
                    let (from, to) = draw_spans(&mut draws, rows, cols);
                    let mut want = matrix(&mut draws, rows, cols);
                    for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
                        let seen = sees((&from, &to), i, j) && draws.below(9) > 0;
                        want.set(i, j, if seen { 20.0 * draws.real() as $t } else { <$t>::NEG_INFINITY });
                    }
                    let mut got = copied(&want);
                    for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
                        if !sees((&from, &to), i, j) {
                            got.set(i, j, draws.pick(&[<$t>::NAN, <$t>::INFINITY, 1e9, -1.0]));
                        }
                    }
                    let begun = [-3.0, <$t>::NEG_INFINITY][draws.below(2)];
                    let running = || [begun, 0.5, <$t>::NAN].map(|x| Guarded::new(1, rows, 0, CANARY, || x));
                    let (mut old, mut new) = (running(), running());
                    let stride = got.stride as isize;
                    // SAFETY: the buffers hold the rows and columns, at this stride; an end for each row.
                    unsafe {
                        let [m, l, alpha] = old.each_mut().map(Guarded::mut_ptr);
                        (kernels.$softmax)(rows, cols, want.mut_ptr(), stride, m, l, alpha);
                        let [m, l, alpha] = new.each_mut().map(Guarded::mut_ptr);
                        let (s, from, to) = (got.mut_ptr(), from.as_ptr(), to.as_ptr());
                        (kernels.$weights)(rows, cols, s, stride, m, l, alpha, from, to);
                    }
                    new.iter().chain([&got]).for_each(|buffer| buffer.check("softmax of spans"));
                    for r in 0..rows {
                        assert_eq!(got.row(r), want.row(r), "{isa} {rows}x{cols} weights of row {r}");
                        assert_eq!(new[0].at(0, r), old[0].at(0, r), "{isa} {rows}x{cols} maximum of row {r}");
                        assert_eq!(new[2].at(0, r), old[2].at(0, r), "{isa} {rows}x{cols} alpha of row {r}");
                        let (got, want) = (new[1].at(0, r), old[1].at(0, r));
                        assert!((got - want).abs() <= $tolerance * want, "{isa} {rows}x{cols} sum of row {r}");
                    }
                }
            }
        }
    };
}

mod single {
    spanned_tests!(
        f32,
        product_f32,
        product_sparse_f32,
        softmax_update_f32,
        product_spans_f32,
        product_of_spans_f32,
        softmax_spans_f32,
        1e-6
    );
}

mod double {
    spanned_tests!(
        f64,
        product_f64,
        product_sparse_f64,
        softmax_update_f64,
        product_spans_f64,
        product_of_spans_f64,
        softmax_spans_f64,
        1e-14
    );
}
