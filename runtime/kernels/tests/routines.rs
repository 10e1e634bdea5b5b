//! The small routines: finiteness, row scaling, 16-bit formats, search, spans, transposition.

mod common;

use attnc_kernels::table;
use common::{Draws, EDGES, Guarded, tables};
use half::{bf16, f16};

const CANARY: f32 = 12345.678;

#[test]
fn all_finite_sees_every_element_and_no_other() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(1);
        for rows in [0, 1, 2, 7] {
            for cols in EDGES {
                let mut p = Guarded::new(rows, cols, 3, f32::NAN, || f32::MAX);
                let stride = p.stride as isize;
                // SAFETY: the buffer holds the rows and columns, at this stride.
                let ask = |p: &Guarded<f32>| unsafe { (kernels.all_finite_f32)(rows, cols, p.ptr(), stride) };
                assert_eq!(ask(&p), 1, "{isa} {rows}x{cols}");
                if rows * cols > 0 {
                    let (r, c) = (draws.below(rows), draws.below(cols));
                    p.set(r, c, draws.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]));
                    assert_eq!(ask(&p), 0, "{isa} [{r}, {c}] of {rows}x{cols}");
                }
            }
        }
        let doubles = [1.0, f64::MAX, f64::MIN_POSITIVE, 0.0, f64::NAN];
        // SAFETY: five elements.
        unsafe {
            assert_eq!((kernels.all_finite_f64)(1, 4, doubles.as_ptr(), 4), 1);
            assert_eq!((kernels.all_finite_f64)(1, 5, doubles.as_ptr(), 5), 0);
        }
    }
}

#[test]
fn spans_are_kept_or_filled() {
    let spans = [(0, 100), (-3, 5), (2, 2), (7, 3), (1, 17), (16, 40), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN)];
    let (from, to): (Vec<i64>, Vec<i64>) = spans.iter().copied().unzip();
    for (isa, kernels) in tables() {
        for cols in EDGES {
            for keep in [true, false] {
                let mut s = Guarded::new(spans.len(), cols, 2, CANARY, || 3.0f32);
                let (stride, fill) = (s.stride as isize, f64::NEG_INFINITY.to_bits());
                let (f, t) = (from.as_ptr(), to.as_ptr());
                // SAFETY: the buffer holds the rows and columns, at this stride; there is a span for every row.
                unsafe {
                    (kernels.keep_spans_f32)(spans.len(), cols, s.mut_ptr(), stride, f, t, u64::from(keep), fill)
                };
                s.check("keep_spans");
                for (r, (from, to)) in spans.iter().enumerate() {
                    for (c, &x) in s.row(r).iter().enumerate() {
                        let kept = (*from..*to).contains(&(c as i64)) == keep;
                        assert_eq!(x, if kept { 3.0 } else { f32::NEG_INFINITY }, "{isa} {cols} {r} {c} {keep}");
                    }
                }
            }
        }
        let mut doubles = [1.0f64; 3];
        // SAFETY: one row of three columns.
        unsafe { (kernels.keep_spans_f64)(1, 3, doubles.as_mut_ptr(), 3, [1].as_ptr(), [2].as_ptr(), 1, 0) };
        assert_eq!(doubles, [0.0, 1.0, 0.0]);
    }
}

/// Narrowed spans are what is left pair by pair, whatever the rows before asked for.
#[test]
fn spans_are_narrowed_by_sorted_keys() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(41);
        for round in 0..600 {
            let (rows, cols) = (draws.pick(&EDGES), draws.pick(&EDGES));
            let spread = draws.pick(&[1, 3, 40, 1000]);
            let mut keys: Vec<i64> = (0..cols).map(|_| draws.below(spread) as i64 - 1).collect();
            keys.sort_unstable();
            let any = |draws: &mut Draws| draws.below(spread + 4) as i64 - 3;
            let extreme = |draws: &mut Draws| match draws.below(9) {
                0 => i64::MIN,
                1 => i64::MAX,
                _ => any(draws),
            };
            let place = |draws: &mut Draws| draws.below(cols + 9) as i64 - 4;
            let of_rows = |draw: &dyn Fn(&mut Draws) -> i64, draws: &mut Draws| -> Vec<i64> {
                (0..rows).map(|_| draw(draws)).collect()
            };
            let (least, most) = (of_rows(&extreme, &mut draws), of_rows(&extreme, &mut draws));
            let (from, to) = match draws.below(2) {
                0 => (vec![0; rows], vec![cols as i64; rows]),
                _ => (of_rows(&place, &mut draws), of_rows(&place, &mut draws)),
            };
            let (bounds, inside) = [([true, true], true), ([true, false], true), ([false, true], true)]
                .into_iter()
                .chain([([true, false], false), ([false, true], false)])
                .nth(round % 5)
                .unwrap();
            let end = |given: bool, bound: &[i64]| if given { bound.as_ptr() } else { std::ptr::null() };
            let (mut first, mut last) = (from.clone(), to.clone());
            // SAFETY: an end and a bound for each row, a key for each column.
            unsafe {
                let (from, to) = (first.as_mut_ptr(), last.as_mut_ptr());
                let (least, most) = (end(bounds[0], &least), end(bounds[1], &most));
                (kernels.narrow_spans)(rows, cols, from, to, least, most, keys.as_ptr(), u64::from(inside));
            }
            for r in 0..rows {
                for (c, &key) in keys.iter().enumerate() {
                    let within = (!bounds[0] || least[r] <= key) && (!bounds[1] || key <= most[r]);
                    let want = (from[r]..to[r]).contains(&(c as i64)) && within == inside;
                    let got = (first[r]..last[r]).contains(&(c as i64));
                    assert_eq!(got, want, "{isa} round {round} [{r}, {c}]");
                }
            }
        }
    }
}

#[test]
fn keys_in_ranges_are_kept() {
    let ends = [
        (0, 100),
        (-3, 5),
        (2, 2),
        (7, 3),
        (i64::MIN, i64::MAX),
        (i64::MAX, i64::MAX),
        (i64::MIN, i64::MIN),
        (1 << 40, 0),
        (-1 << 40, 1 << 40),
    ];
    let (least, most): (Vec<i64>, Vec<i64>) = ends.iter().copied().unzip();
    let (second_least, second_most): (Vec<i64>, Vec<i64>) = ends.iter().rev().copied().unzip();
    let mut draws = Draws(5);
    for (isa, kernels) in tables() {
        let largest = i64::from(i32::MAX);
        // Keys of which one is wide, keys as wide as narrow ones can be, and narrow keys.
        let kinds = [
            [-3, 0, 2, 3, 5, 7, 101, i64::MIN, i64::MAX],
            [-3, 0, 2, 3, 5, 7, 101, -largest, largest - 1],
            [-3, 0, 2, 3, 5, 7, 101, -largest - 1, largest],
            [-3, 0, 2, 3, 5, 7, 101, 4, 6],
        ];
        for (cols, kind) in EDGES.into_iter().chain([128, 256, 300]).flat_map(|cols| kinds.map(|kind| (cols, kind))) {
            let mut key = |_| draws.pick(&kind);
            let keys: Vec<i64> = (0..cols).map(&mut key).collect();
            let other: Vec<i64> = (0..cols).map(&mut key).collect();
            for flags in 0..8u64 {
                let mut s = Guarded::new(ends.len(), cols, 2, CANARY, || 3.0f32);
                let stride = s.stride as isize;
                // SAFETY: the buffer holds the rows and columns, at this stride; ends for every row, a key for every column.
                unsafe {
                    (kernels.keep_keys_f32)(
                        ends.len(),
                        cols,
                        s.mut_ptr(),
                        stride,
                        least.as_ptr(),
                        most.as_ptr(),
                        keys.as_ptr(),
                        second_least.as_ptr(),
                        second_most.as_ptr(),
                        other.as_ptr(),
                        flags,
                        f64::NEG_INFINITY.to_bits(),
                    )
                };
                s.check("keep_keys");
                for r in 0..ends.len() {
                    for (c, &x) in s.row(r).iter().enumerate() {
                        let first = (least[r]..=most[r]).contains(&keys[c]) == (flags & 1 != 0);
                        let second = (second_least[r]..=second_most[r]).contains(&other[c]) == (flags & 2 != 0);
                        let kept = first || (flags & 4 != 0 && second);
                        assert_eq!(x, if kept { 3.0 } else { f32::NEG_INFINITY }, "{isa} {cols} {r} {c} {flags}");
                    }
                }
            }
        }
        let (mut doubles, end, keys) = ([1.0f64; 3], [1], [0, 1, 2]);
        let (e, k) = (end.as_ptr(), keys.as_ptr());
        // SAFETY: one row of three columns.
        unsafe { (kernels.keep_keys_f64)(1, 3, doubles.as_mut_ptr(), 3, e, e, k, e, e, k, 1, 0) };
        assert_eq!(doubles, [0.0, 1.0, 0.0]);
        let (mut doubles, none) = ([1.0f64; 3], std::ptr::null());
        // SAFETY: as above; null is no bound.
        unsafe { (kernels.keep_keys_f64)(1, 3, doubles.as_mut_ptr(), 3, none, e, k, e, none, k, 1, 0) };
        assert_eq!(doubles, [1.0, 1.0, 0.0]);
    }
}

#[test]
fn weights_are_added_up_by_place() {
    let mut draws = Draws(11);
    for (isa, kernels) in tables() {
        for (rows, cols) in [(1, 1), (3, 7), (4, 16), (5, 33), (9, 64)] {
            for width in [1, 2, 5, 40] {
                let places = [0, 1, 2, 3, 39, 40, -1, i64::MIN, i64::MAX];
                let at: Vec<i64> = (0..rows * cols).map(|_| draws.pick(&places)).collect();
                let src: Vec<f32> = (0..rows * cols).map(|n| n as f32 / 7.0 - 3.0).collect();
                let mut s = Guarded::new(rows, width, 2, CANARY, || 3.0f32);
                let (stride, line) = (s.stride as isize, cols as isize);
                // SAFETY: rows of places and weights at the stride of their columns, sums at that of the buffer.
                unsafe {
                    let (src, at) = (src.as_ptr(), at.as_ptr());
                    (kernels.scatter_add_f32)(rows, cols, width, s.mut_ptr(), stride, src, line, at, line);
                }
                s.check("scatter_add");
                for r in 0..rows {
                    let mut expected = vec![3.0f32; width];
                    for c in r * cols..(r + 1) * cols {
                        if let Some(sum) = usize::try_from(at[c]).ok().and_then(|at| expected.get_mut(at)) {
                            *sum += src[c];
                        }
                    }
                    assert_eq!(s.row(r), expected, "{isa} {rows} {cols} {width}");
                }
            }
        }
        let mut sums = [1.0f64; 2];
        // SAFETY: one row of three columns.
        unsafe {
            let (src, at) = ([0.5f64, 0.25, 4.0].as_ptr(), [1, 1, 2].as_ptr());
            (kernels.scatter_add_f64)(1, 3, 2, sums.as_mut_ptr(), 2, src, 3, at, 3);
        }
        assert_eq!(sums, [1.0, 1.75]);
    }
}

#[test]
fn subnormal_numbers_are_flushed_and_no_others() {
    let bits = |x: f32| x.to_bits();
    let kept = [0.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let flushed =
        [f32::from_bits(1), -f32::from_bits(1), f32::MIN_POSITIVE.next_down(), -f32::MIN_POSITIVE.next_down()];
    let element = |k: usize| if k.is_multiple_of(3) { flushed[k / 3 % flushed.len()] } else { kept[k % kept.len()] };
    for (isa, kernels) in tables() {
        for cols in EDGES {
            let mut k = 0;
            let mut next = || (element(k), k += 1).0;
            let mut tile = Guarded::new(3, cols, 2, CANARY, &mut next);
            let before: Vec<Vec<f32>> = (0..3).map(|r| tile.row(r).to_vec()).collect();
            // SAFETY: the buffer holds the rows and columns, at this stride.
            unsafe { (kernels.flush_f32)(3, cols, tile.mut_ptr(), tile.stride as isize) };
            tile.check("flush");
            for (r, before) in before.iter().enumerate() {
                for (&x, &y) in before.iter().zip(tile.row(r)) {
                    assert_eq!(bits(y), if x.is_subnormal() { 0 } else { bits(x) }, "{isa} {cols}");
                }
            }
        }
        let mut tile = [f64::MIN_POSITIVE, -f64::MIN_POSITIVE.next_down(), f64::from_bits(7)];
        // SAFETY: three rows of one column.
        unsafe { (kernels.flush_f64)(3, 1, tile.as_mut_ptr(), 1) };
        assert_eq!(tile, [f64::MIN_POSITIVE, 0.0, 0.0]);
    }
}

#[test]
fn rows_are_scaled_and_ones_are_skipped() {
    for (isa, kernels) in tables() {
        for cols in EDGES {
            let mut acc = Guarded::new(4, cols, 2, CANARY, || 3.0f32);
            if cols > 0 {
                acc.set(1, cols - 1, f32::NAN);
            }
            let (stride, alpha) = (acc.stride as isize, [0.5f32, 1.0, 0.0, 2.0]);
            // SAFETY: the buffer holds the rows and columns, at this stride.
            unsafe { (kernels.scale_rows_f32)(4, cols, acc.mut_ptr(), stride, alpha.as_ptr()) };
            acc.check("scale_rows");
            for (r, want) in [(0, 1.5), (2, 0.0), (3, 6.0)] {
                assert!(acc.row(r).iter().all(|&x| x == want), "{isa} {cols}");
            }
            assert!(cols == 0 || acc.at(1, cols - 1).is_nan());
        }
        let mut acc = [1.0f64, 2.0, 3.0];
        // SAFETY: three rows of one column.
        unsafe { (kernels.scale_rows_f64)(3, 1, acc.as_mut_ptr(), 1, [2.0, 1.0, 3.0].as_ptr()) };
        assert_eq!(acc, [2.0, 2.0, 9.0]);
    }
}

#[test]
fn every_16_bit_pattern_widens_exactly() {
    let patterns: Vec<u16> = (0..=u16::MAX).collect();
    let mut out = vec![0.0f32; patterns.len()];
    for (isa, kernels) in tables() {
        // SAFETY: both hold 65536 elements.
        unsafe { (kernels.widen_bf16)(out.as_mut_ptr(), patterns.as_ptr(), 1, patterns.len()) };
        for (&bits, &x) in patterns.iter().zip(&out) {
            assert!(x.to_bits() == bf16::from_bits(bits).to_f32().to_bits() || x.is_nan(), "{isa} {bits:#x}");
        }
        // SAFETY: as above.
        unsafe { (kernels.widen_f16)(out.as_mut_ptr(), patterns.as_ptr(), 1, patterns.len()) };
        for (&bits, &x) in patterns.iter().zip(&out) {
            let want = f16::from_bits(bits).to_f32_const();
            assert!(x.to_bits() == want.to_bits() || x.is_nan() && want.is_nan(), "{isa} {bits:#x}");
        }
    }
}

#[test]
fn widening_follows_the_stride() {
    for (isa, kernels) in tables() {
        for n in 0..40 {
            let mut next = 0;
            let src = Guarded::new(n, 1, 2, f16::NAN.to_bits(), || {
                next += 1;
                f16::from_f32(next as f32).to_bits()
            });
            let mut dst = Guarded::new(1, n, 0, CANARY, || 0.0f32);
            // SAFETY: `n` elements, three apart.
            unsafe { (kernels.widen_f16)(dst.mut_ptr(), src.ptr(), 3, n) };
            dst.check("widen_f16");
            assert!((0..n).all(|i| dst.at(0, i) == (i + 1) as f32), "{isa} {n}");
        }
    }
}

#[test]
fn narrowing_rounds_to_nearest_even() {
    for (isa, kernels) in tables() {
        for n in [0, 1, 15, 16, 17, 100_003] {
            let mut draws = Draws(n as u64);
            let src = Guarded::new(1, n, 0, 0.0, || f32::from_bits(draws.bits()));
            let mut dst = Guarded::new(1, n, 0, 0xabcd, || 0u16);
            // SAFETY: both hold `n` elements.
            unsafe { (kernels.narrow_bf16)(dst.mut_ptr(), src.ptr(), n) };
            dst.check("narrow_bf16");
            for i in 0..n {
                let (got, want) = (bf16::from_bits(dst.at(0, i)), bf16::from_f32(src.at(0, i)));
                assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{isa}");
            }
            // SAFETY: both hold `n` elements.
            unsafe { (kernels.narrow_f16)(dst.mut_ptr(), src.ptr(), n) };
            dst.check("narrow_f16");
            for i in 0..n {
                let (got, want) = (f16::from_bits(dst.at(0, i)), f16::from_f32_const(src.at(0, i)));
                assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{isa}");
            }
        }
    }
}

#[test]
fn lower_bound_is_the_first_index_that_is_not_less() {
    let kernels = table(attnc_kernels::Isa::Portable).expect("portable is always there");
    let mut draws = Draws(3);
    for n in 0..60usize {
        let mut sorted: Vec<i32> = (0..n).map(|_| draws.below(20) as i32 - 10).collect();
        sorted.sort_unstable();
        let spread: Vec<i64> = sorted.iter().flat_map(|&x| [i64::from(x), 999]).collect();
        for value in (-12..13).chain([i64::MIN, i64::MAX]) {
            let want = sorted.iter().position(|&x| i64::from(x) >= value).unwrap_or(n);
            // SAFETY: `n` elements, one or two apart.
            unsafe {
                assert_eq!((kernels.lower_bound_i32)(sorted.as_ptr(), 1, n, value), want);
                assert_eq!((kernels.lower_bound_i64)(spread.as_ptr(), 2, n, value), want);
            }
        }
    }
}

#[test]
fn orders_of_keys_are_stable() {
    let mut draws = Draws(5);
    for n in [0, 1, 2, 3, 17, 64, 1000, 3000] {
        for range in [1, 3, 1024, 1025, 1 << 20] {
            let mut keys: Vec<i64> = (0..n).map(|_| draws.below(range) as i64 - range as i64 / 2).collect();
            if n > 2 && range > 3 {
                (keys[0], keys[n / 2], keys[n - 1]) = (i64::MAX, i64::MIN, i64::MAX);
            }
            check_order(keys);
        }
    }
}

/// Places of an order, and what is one but for a place that it has twice or one outside.
#[test]
fn orders_of_orders_are_their_inverses() {
    let mut draws = Draws(6);
    for n in [2, 17, 1500, 4000] {
        let mut keys: Vec<i64> = (0..n).collect();
        for at in (1..n as usize).rev() {
            keys.swap(at, draws.below(at + 1));
        }
        check_order(keys.clone());
        for place in [keys[0], -1, n, i64::MIN] {
            let mut keys = keys.clone();
            keys[n as usize / 2] = place;
            check_order(keys);
        }
    }
}

fn check_order(mut keys: Vec<i64>) {
    let kernels = table(attnc_kernels::Isa::Portable).expect("portable is always there");
    let n = keys.len();
    let keys = Guarded::new(1, n, 0, 0, || keys.remove(0));
    let mut order = Guarded::new(1, n, 0, -7, || -1);
    // SAFETY: both hold `n` elements.
    unsafe { (kernels.order_keys)(keys.ptr(), order.mut_ptr(), n) };
    order.check("order_keys");
    let mut want: Vec<usize> = (0..n).collect();
    want.sort_by_key(|at| keys.at(0, *at));
    let got: Vec<usize> = (0..n).map(|p| order.at(0, p) as usize).collect();
    assert_eq!(got, want);
}

/// Ranks by their definition: a comparison for each pair.
fn counted_ranks(keys: &[f64], counted: Option<&[i32]>) -> Vec<i64> {
    let before = |c: usize, at: usize| {
        let (key, other) = (keys[at], keys[c]);
        let earlier = c < at;
        if key.is_nan() { !other.is_nan() || earlier } else { other > key || other == key && earlier }
    };
    let counts = |c: usize| counted.is_none_or(|counted| counted[c] != 0);
    (0..keys.len()).map(|at| (0..keys.len()).filter(|c| counts(*c) && before(*c, at)).count() as i64).collect()
}

#[test]
fn ranks_count_what_comes_before() {
    let kernels = table(attnc_kernels::Isa::Portable).expect("portable is always there");
    let mut draws = Draws(8);
    let odd = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, -5e-324, f64::MAX];
    for cols in [0usize, 1, 2, 7, 33, 200, 1000] {
        let limits = [cols, cols / 3, cols / 20, 1, 0, usize::MAX >> 1];
        for (limit, some) in limits.into_iter().flat_map(|limit| [(limit, false), (limit, true)]) {
            let rows = 4;
            let mut ascending = 0.0;
            let mut keys = Guarded::new(rows, cols, 2, f64::NAN, || match draws.below(3) {
                0 => draws.pick(&odd),
                1 => draws.below(5) as f64 - 2.0,
                _ => draws.below(1 << 20) as f64 / 7.0 - 60_000.0,
            });
            // A row in which each key comes before all that stand before it, but for some equal ones.
            for at in 0..cols {
                ascending += draws.below(3) as f64;
                keys.set(3, at, ascending);
            }
            let counted = Guarded::new(rows, cols, 1, 9, || -(draws.below(2) as i32));
            let mut order = Guarded::new(1, cols, 0, -7, || -1);
            let mut ranks = Guarded::new(rows, cols, 3, -9, || -1);
            let (keys_rs, counted_rs, rs) = (keys.stride as isize, counted.stride as isize, ranks.stride as isize);
            let given = if some { counted.ptr() } else { std::ptr::null() };
            let (scratch, out) = (order.mut_ptr(), ranks.mut_ptr());
            // SAFETY: `cols` elements to sort in, and rows of as many at these strides.
            unsafe { (kernels.ranks_f64)(rows, cols, keys.ptr(), keys_rs, given, counted_rs, scratch, out, rs, limit) };
            order.check("ranks: order");
            ranks.check("ranks");
            for r in 0..rows {
                let want = counted_ranks(keys.row(r), some.then(|| counted.row(r)));
                let want: Vec<i64> = want.into_iter().map(|rank| rank.min(limit as i64)).collect();
                assert_eq!(ranks.row(r), want, "{cols} columns, limit {limit}");
            }
        }
    }
    let (whole, mut order, mut ranks) = ([i64::MIN, i64::MAX, 3, i64::MAX], [0; 4], [0; 4]);
    // SAFETY: one row of four.
    unsafe {
        (kernels.ranks_i64)(1, 4, whole.as_ptr(), 4, std::ptr::null(), 0, order.as_mut_ptr(), ranks.as_mut_ptr(), 4, 4)
    };
    assert_eq!(ranks, [3, 0, 2, 1]);
}

#[test]
fn merged_spans_cover_the_same_positions_and_short_gaps_in_order() {
    let kernels = table(attnc_kernels::Isa::Portable).expect("portable is always there");
    let mut draws = Draws(4);
    for count in 0..40usize {
        for gap in [1, 7, 64] {
            let mut spans: Vec<i64> = Vec::new();
            for _ in 0..count {
                let low = draws.below(400) as i64 - 100;
                spans.extend([low, low + draws.below(60) as i64 - 10]);
            }
            let covered = |spans: &[i64], at: i64| spans.chunks(2).any(|s| s[0] <= at && at < s[1]);
            let mut want: Vec<bool> = (-130..500).map(|at| covered(&spans, at)).collect();
            let mut last = None;
            for at in 0..want.len() {
                if want[at] {
                    let joined = last.is_some_and(|last| at - last <= gap as usize);
                    want[last.filter(|_| joined).unwrap_or(at)..at].fill(true);
                    last = Some(at);
                }
            }
            // SAFETY: `count` pairs.
            let left = unsafe { (kernels.merge_spans)(spans.as_mut_ptr(), count, gap) };
            let merged = &spans[..2 * left];
            assert_eq!((-130..500).map(|at| covered(merged, at)).collect::<Vec<_>>(), want);
            assert!(merged.windows(2).all(|w| w[0] < w[1]), "sorted, apart and not empty: {merged:?}");
        }
    }
    let mut edge = [i64::MIN, i64::MAX];
    // SAFETY: one pair.
    assert_eq!(unsafe { (kernels.merge_spans)(edge.as_mut_ptr(), 1, 64) }, 1);
    assert_eq!(edge, [i64::MIN, i64::MAX]);
}

#[test]
fn transposition_moves_every_element() {
    for (isa, kernels) in tables() {
        for rows in EDGES {
            for cols in EDGES {
                let mut next = 0.0;
                let src = Guarded::new(rows, cols, 3, f32::NAN, || {
                    next += 1.0;
                    next
                });
                let mut dst = Guarded::new(cols, rows, 1, CANARY, || 0.0f32);
                let (dst_rs, src_rs) = (dst.stride as isize, src.stride as isize);
                // SAFETY: the buffers hold the rows and columns, at these strides.
                unsafe { (kernels.transpose_f32)(rows, cols, dst.mut_ptr(), dst_rs, src.ptr(), src_rs) };
                dst.check("transpose");
                for r in 0..rows {
                    assert!((0..cols).all(|c| dst.at(c, r) == src.at(r, c)), "{isa} {rows}x{cols}");
                }
            }
        }
    }
}

#[test]
fn names_of_instruction_sets_read_back() {
    use attnc_kernels::Isa;
    assert!(Isa::ALL.into_iter().all(|isa| Isa::from_name(isa.name()) == Some(isa)));
    assert_eq!(Isa::from_name("sse9"), None);
    assert_eq!(Isa::available().last(), Some(&Isa::Portable));
    assert!(Isa::available().into_iter().all(|isa| table(isa).is_some()));
}

/// The definition: NaN counts for nothing.
fn clear_largest(scores: &[f32], slack: f32) -> i64 {
    let clear = |c: &usize| {
        let others = scores.iter().enumerate().filter(|(o, x)| o != c && !x.is_nan()).map(|(_, x)| *x);
        scores[*c] - others.fold(f32::NEG_INFINITY, f32::max) > slack
    };
    // A negative slack would let several pass; there is none.
    (0..scores.len()).find(clear).map_or(-1, |c| c as i64)
}

#[test]
fn a_largest_is_clear_only_beyond_the_slack() {
    let rows = 40;
    let (scores, slacks) = ([0.0, 0.25, 1.0, -3.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN], [0.0, 0.5, 1.0]);
    for (isa, kernels) in tables() {
        let mut draws = Draws(3);
        for cols in EDGES {
            for hostile in [false, true] {
                let last = if hostile { scores.len() } else { 4 };
                let mut s = Guarded::new(rows, cols, 3, CANARY, || draws.pick(&scores[..last]));
                for r in 0..rows / 2 {
                    if cols > 0 {
                        s.set(r, draws.below(cols), draws.pick(&[1.5, 2.0, 9.0, f32::NAN]));
                    }
                }
                let mut slack: Vec<f32> = (0..rows).map(|_| draws.pick(&slacks)).collect();
                (slack[1], slack[2]) = (f32::INFINITY, f32::NAN);
                let mut found = vec![7i64; rows];
                let stride = s.stride as isize;
                // SAFETY: as many rows of scores, slacks and results.
                unsafe {
                    (kernels.clear_largest_f32)(rows, cols, s.ptr(), stride, slack.as_ptr(), found.as_mut_ptr());
                }
                for r in 0..rows {
                    let want = clear_largest(&(0..cols).map(|c| s.at(r, c)).collect::<Vec<_>>(), slack[r]);
                    assert_eq!(found[r], want, "{isa} row {r} of {cols} columns, slack {}", slack[r]);
                }
            }
        }
    }
}
