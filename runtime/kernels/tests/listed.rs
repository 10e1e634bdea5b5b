//! Rows with the lines that they list, against `f64`: edge sizes, gaps between rows, canaries, positions and counts that are
//! out of range, lines that no list names; lists of spans and of open columns against the plain loop.

mod common;

use attnc_kernels::KernelTable;
use common::{Draws, EDGES, Guarded, tables};

const CANARY: f32 = 12345.678;
const NOWHERE: i64 = -77;

/// Lists of rows of which some say too much.
struct Lists {
    list: Guarded<i64>,
    count: Guarded<i64>,
}

impl Lists {
    fn draw(draws: &mut Draws, rows: usize, cols: usize, lines: usize) -> Lists {
        let gap = draws.below(3);
        let list = Guarded::new(rows, cols, gap, NOWHERE, || match draws.below(12) {
            0 => -1 - i64::from(draws.bits()),
            1 => i64::MAX - i64::from(draws.bits()),
            _ => draws.below(lines) as i64,
        });
        let count = Guarded::new(rows, 1, 0, NOWHERE, || match draws.below(8) {
            0 => i64::MIN,
            1 => i64::MAX,
            _ => draws.below(cols + 1) as i64,
        });
        Lists { list, count }
    }

    fn count(&self, row: usize) -> usize {
        self.count.at(row, 0).clamp(0, self.list.cols as i64) as usize
    }

    fn line(&self, row: usize, at: usize, lines: usize) -> usize {
        (self.list.at(row, at) as u64).min(lines as u64 - 1) as usize
    }
}

/// Lines named by no list hold NaN.
fn lines(draws: &mut Draws, lists: &Lists, lines: usize, n: usize) -> Guarded<f32> {
    // Half of them as far apart as lines of memory, or a multiple.
    let gap = if draws.below(2) == 0 { n.next_multiple_of(16) - n } else { draws.below(3) };
    let mut b = Guarded::new(lines, n, gap, f32::NAN, || f32::NAN);
    for row in 0..lists.list.rows {
        for at in 0..lists.count(row) {
            let line = lists.line(row, at, lines);
            for j in 0..n {
                b.set(line, j, draws.real() as f32);
            }
        }
    }
    b
}

fn near(got: f32, terms: impl Iterator<Item = f64> + Clone, count: usize, what: &str) {
    let (want, size) = (terms.clone().sum::<f64>(), terms.map(f64::abs).sum::<f64>());
    let bound = f64::from(f32::EPSILON) * (count as f64 + 3.0) * size;
    assert!((f64::from(got) - want).abs() <= bound, "{what}: {got} for {want}");
}

fn check(draws: &mut Draws, kernels: &KernelTable, [rows, cols, n, of]: [usize; 4]) {
    let lists = Lists::draw(draws, rows, cols, of);
    let (list, list_rs, count) = (lists.list.ptr(), lists.list.stride as isize, lists.count.ptr());
    let b = lines(draws, &lists, of, n);
    let (b_rs, gap) = (b.stride as isize, draws.below(3));
    let a = Guarded::new(rows, n, gap, f32::NAN, || draws.real() as f32);
    let mut c = Guarded::new(rows, cols, gap, CANARY, || 0.0);
    let (a_rs, c_rs) = (a.stride as isize, c.stride as isize);
    let dots = kernels.dots_listed_f32;
    // SAFETY: the buffers hold the lists and the matrices, at these strides.
    unsafe { dots(rows, cols, n, of, list, list_rs, count, a.ptr(), a_rs, b.ptr(), b_rs, c.mut_ptr(), c_rs) };
    c.check("dots of listed lines");
    for r in 0..rows {
        for at in 0..cols {
            if at >= lists.count(r) {
                assert_eq!(c.at(r, at), f32::NEG_INFINITY);
                continue;
            }
            let line = lists.line(r, at, of);
            let terms = (0..n).map(|k| f64::from(a.at(r, k)) * f64::from(b.at(line, k)));
            near(c.at(r, at), terms, n, &format!("{rows} x {cols} x {n} of {of}, score {r}, {at}"));
        }
    }
    let weights = Guarded::new(rows, cols, gap, f32::NAN, || draws.real() as f32);
    let mut sums = Guarded::new(rows, n, gap, CANARY, || draws.real() as f32);
    let before: Vec<Vec<f32>> = (0..rows).map(|r| sums.row(r).to_vec()).collect();
    let (w_rs, s_rs) = (weights.stride as isize, sums.stride as isize);
    let sum = kernels.sum_listed_f32;
    // SAFETY: as above.
    unsafe { sum(rows, cols, n, of, list, list_rs, count, weights.ptr(), w_rs, b.ptr(), b_rs, sums.mut_ptr(), s_rs) };
    sums.check("sums of listed lines");
    for (r, before) in before.iter().enumerate() {
        for (j, before) in before.iter().enumerate() {
            let term = |at: usize| f64::from(weights.at(r, at)) * f64::from(b.at(lists.line(r, at, of), j));
            let terms = (0..lists.count(r)).map(term).chain([f64::from(*before)]);
            near(sums.at(r, j), terms, cols, &format!("{rows} x {cols} x {n} of {of}, sum {r}, {j}"));
        }
    }
}

#[test]
fn each_row_meets_the_lines_that_it_lists_and_no_other() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(5);
        for _ in 0..300 {
            let shape = [draws.below(6), draws.pick(&EDGES), draws.pick(&EDGES), 1 + draws.below(70)];
            println!("{isa} {shape:?}");
            check(&mut draws, kernels, shape);
        }
    }
}

#[test]
fn bits_do_not_depend_on_where_lines_lie() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(21);
        for _ in 0..60 {
            let [rows, cols, n, of] = [1 + draws.below(4), draws.pick(&EDGES), draws.pick(&EDGES), 1 + draws.below(40)];
            println!("{isa} {rows} {cols} {n} {of}");
            let lists = Lists::draw(&mut draws, rows, cols, of);
            let (list, list_rs, count) = (lists.list.ptr(), lists.list.stride as isize, lists.count.ptr());
            let stride = n.next_multiple_of(16);
            let numbers: Vec<f32> = (0..of * stride).map(|_| draws.real() as f32).collect();
            let left: Vec<f32> = (0..rows * n.max(cols)).map(|_| draws.real() as f32).collect();
            let mut all: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
            for shift in 0..17 {
                let mut b = vec![f32::NAN; shift];
                b.extend(&numbers);
                let (mut scores, mut sums) = (vec![0.0f32; rows * cols], left[..rows * n].to_vec());
                let (b, b_rs, n_rs, c_rs) = (b[shift..].as_ptr(), stride as isize, n as isize, cols as isize);
                let (dots, sum) = (kernels.dots_listed_f32, kernels.sum_listed_f32);
                // SAFETY: the vectors hold the matrices, at these strides.
                unsafe {
                    dots(
                        rows,
                        cols,
                        n,
                        of,
                        list,
                        list_rs,
                        count,
                        left.as_ptr(),
                        n_rs,
                        b,
                        b_rs,
                        scores.as_mut_ptr(),
                        c_rs,
                    );
                    sum(rows, cols, n, of, list, list_rs, count, left.as_ptr(), c_rs, b, b_rs, sums.as_mut_ptr(), n_rs);
                }
                all.push((scores, sums));
            }
            assert!(all.iter().all(|one| *one == all[0]));
        }
    }
}

#[test]
fn without_lines_there_is_nothing_to_list() {
    for (_, kernels) in tables() {
        let (list, count, a) = ([3i64; 4], [4i64], [1.0f32; 4]);
        let (mut scores, mut sums) = ([0.0f32; 4], [7.0f32; 4]);
        let b = core::ptr::null();
        // SAFETY: one row; no line is read.
        unsafe {
            (kernels.dots_listed_f32)(
                1,
                4,
                4,
                0,
                list.as_ptr(),
                4,
                count.as_ptr(),
                a.as_ptr(),
                4,
                b,
                0,
                scores.as_mut_ptr(),
                4,
            );
            (kernels.sum_listed_f32)(
                1,
                4,
                4,
                0,
                list.as_ptr(),
                4,
                count.as_ptr(),
                a.as_ptr(),
                4,
                b,
                0,
                sums.as_mut_ptr(),
                4,
            );
        }
        assert_eq!((scores, sums), ([f32::NEG_INFINITY; 4], [7.0; 4]));
    }
}

/// Adds what `listed` says to lists that have something already, by the kernel and by the plain loop.
fn check_lists(
    draws: &mut Draws,
    [rows, cols, room]: [usize; 3],
    listed: impl Fn(usize, usize) -> bool,
    add: impl Fn(*mut i64, isize, *mut i64, *mut i64, i64),
) {
    let gap = draws.below(3);
    let mut list = Guarded::new(rows, room, gap, NOWHERE, || draws.below(100) as i64);
    let mut count = Guarded::new(rows, 1, 0, NOWHERE, || draws.below(room + 1) as i64 - 1);
    let (mut most, first) = ([draws.below(room + 1) as i64], draws.below(1000) as i64 - 500);
    let mut wanted = Vec::new();
    let mut largest = most[0];
    for r in 0..rows {
        let mut row = list.row(r)[..count.at(r, 0).max(0) as usize].to_vec();
        let open = (0..cols).filter(|c| listed(r, *c)).map(|c| first + c as i64);
        row.extend(open.take(room - row.len()));
        largest = largest.max(row.len() as i64);
        wanted.push(row);
    }
    let stride = list.stride as isize;
    add(list.mut_ptr(), stride, count.mut_ptr(), most.as_mut_ptr(), first);
    list.check("lists");
    count.check("counts");
    assert_eq!(most[0], largest);
    for (r, row) in wanted.iter().enumerate() {
        assert_eq!(count.at(r, 0), row.len() as i64);
        assert_eq!(&list.row(r)[..row.len()], &row[..]);
    }
}

#[test]
fn lists_take_spans_and_open_columns_as_far_as_there_is_room() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(9);
        for _ in 0..300 {
            let shape @ [rows, cols, room] = [draws.below(6), draws.pick(&EDGES), draws.pick(&EDGES)];
            println!("{isa} {shape:?}");
            let mut end = |far: i64| (0..rows).map(|_| draws.below(cols + 9) as i64 - far).collect::<Vec<i64>>();
            let (from, to) = (end(5), end(3));
            let inside = |r: usize, c: usize| (from[r]..to[r]).contains(&(c as i64));
            check_lists(&mut draws, shape, inside, |list, stride, count, most, first| {
                // SAFETY: lists of this shape, and ends of spans for each.
                unsafe {
                    let spans = kernels.list_spans;
                    spans(rows, cols, list, stride, room, count, most, from.as_ptr(), to.as_ptr(), first);
                }
            });
            let (gap, rate) = (draws.below(3), draws.below(4));
            let s = Guarded::new(rows, cols, gap, CANARY, || match draws.below(4) {
                0 => f32::NAN,
                1 => 0.0,
                at => {
                    if at <= rate {
                        f32::INFINITY
                    } else {
                        f32::NEG_INFINITY
                    }
                }
            });
            check_lists(
                &mut draws,
                shape,
                |r, c| s.at(r, c) != f32::NEG_INFINITY,
                |list, stride, count, most, first| {
                    // SAFETY: lists of this shape, and a matrix of their columns.
                    unsafe {
                        let open = kernels.list_open_f32;
                        open(rows, cols, list, stride, room, count, most, s.ptr(), s.stride as isize, first);
                    }
                },
            );
        }
    }
}

/// What has no weight is left out, the rest keeps its order; what lies behind a list may be anything.
#[test]
fn lists_keep_what_has_a_weight() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(43);
        for _ in 0..300 {
            let (rows, cols) = (draws.pick(&EDGES[..15]), draws.pick(&EDGES));
            let mut lists = Lists::draw(&mut draws, rows, cols, 50);
            let zeros = draws.pick(&[1, 2, 5, 100]);
            let gap = draws.below(3);
            let mut weights = Guarded::new(rows, cols, gap, CANARY, || match draws.below(zeros) {
                0 => [0.0, -0.0][draws.below(2)],
                1 => f32::NAN,
                _ => draws.real() as f32,
            });
            let kept = |r: usize| -> Vec<(i64, u32)> {
                let all = (0..lists.count(r)).map(|at| (lists.list.at(r, at), weights.at(r, at)));
                all.filter(|(_, weight)| *weight != 0.0).map(|(at, weight)| (at, weight.to_bits())).collect()
            };
            let want: Vec<_> = (0..rows).map(kept).collect();
            let strides = (weights.stride as isize, lists.list.stride as isize);
            // SAFETY: the buffers hold the rows and columns, at these strides; a count for each row.
            unsafe {
                let (weights, list) = (weights.mut_ptr(), lists.list.mut_ptr());
                let count = lists.count.mut_ptr();
                (kernels.drop_unweighted_f32)(rows, cols, weights, strides.0, list, strides.1, count);
            }
            weights.check("drop_unweighted");
            lists.list.check("drop_unweighted");
            lists.count.check("drop_unweighted");
            for (r, want) in want.iter().enumerate() {
                assert_eq!(lists.count.at(r, 0), want.len() as i64, "{isa} row {r}");
                for (at, want) in want.iter().enumerate() {
                    let got = (lists.list.at(r, at), weights.at(r, at).to_bits());
                    assert_eq!(got, *want, "{isa} row {r} element {at}");
                }
            }
        }
    }
}
