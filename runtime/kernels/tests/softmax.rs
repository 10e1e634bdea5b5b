//! The online-softmax row update: against `f64`, in one step and in several, with masked rows, NaN and infinities.

mod common;

use attnc_kernels::{KernelTable, SoftmaxUpdate};
use common::{Draws, EDGES, Guarded, tables};

const CANARY: f32 = 12345.678;

/// A softmax in progress.
struct State {
    m: Guarded<f32>,
    l: Guarded<f32>,
    alpha: Guarded<f32>,
}

impl State {
    fn start(rows: usize) -> State {
        let vector = |value: f32| Guarded::new(1, rows, 0, CANARY, || value);
        State { m: vector(f32::NEG_INFINITY), l: vector(0.0), alpha: vector(f32::NAN) }
    }

    fn update(&mut self, softmax: SoftmaxUpdate<f32>, scores: &mut Guarded<f32>) {
        let (rows, cols, stride) = (scores.rows, scores.cols, scores.stride as isize);
        // SAFETY: the buffers hold the rows and columns, at this stride.
        unsafe {
            let (m, l, alpha) = (self.m.mut_ptr(), self.l.mut_ptr(), self.alpha.mut_ptr());
            softmax(rows, cols, scores.mut_ptr(), stride, m, l, alpha);
        }
        for buffer in [&self.m, &self.l, &self.alpha, scores] {
            buffer.check("softmax_update");
        }
    }
}

/// Scores of which about one in `masked` is -inf.
fn draw(draws: &mut Draws, rows: usize, cols: usize, masked: usize) -> Guarded<f32> {
    let gap = draws.below(4);
    Guarded::new(rows, cols, gap, CANARY, || {
        let score = draws.real() as f32 * 20.0;
        if draws.below(masked) == 0 { f32::NEG_INFINITY } else { score }
    })
}

#[test]
fn one_update_is_a_softmax() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(1);
        for _ in 0..300 {
            let (rows, cols) = (draws.pick(&EDGES), draws.pick(&EDGES));
            let masked = draws.pick(&[2, 5, 1000]);
            let mut scores = draw(&mut draws, rows, cols, masked);
            let before: Vec<Vec<f32>> = (0..rows).map(|r| scores.row(r).to_vec()).collect();
            let mut state = State::start(rows);
            state.update(kernels.softmax_update_f32, &mut scores);
            for (r, before) in before.iter().enumerate() {
                let m = before.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(state.m.at(0, r), m, "{isa}");
                let mut sum = 0.0;
                for (c, &score) in before.iter().enumerate() {
                    let masked = score == f32::NEG_INFINITY;
                    let want = if masked { 0.0 } else { f64::from(score - m).exp() };
                    let got = f64::from(scores.at(r, c));
                    assert!(
                        if masked { got == 0.0 } else { (got - want).abs() <= 2e-7 * want + 3e-38 },
                        "{isa} {got} {want}"
                    );
                    sum += want;
                }
                assert!((f64::from(state.l.at(0, r)) - sum).abs() <= 1e-6 * sum, "{isa} l");
                assert_eq!(state.alpha.at(0, r), if m == f32::NEG_INFINITY { 1.0 } else { 0.0 }, "{isa} alpha");
            }
        }
    }
}

/// The sum over tiles, each rescaled by `alpha`, is the sum over the whole row.
#[test]
fn updates_by_tiles_agree_with_the_whole_row() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(2);
        for rows in [1, 3, 17] {
            let mut state = State::start(rows);
            let mut exact: Vec<Vec<f64>> = vec![Vec::new(); rows];
            for cols in [64, 7, 64, 33] {
                let mut scores = draw(&mut draws, rows, cols, 3);
                for (r, exact) in exact.iter_mut().enumerate() {
                    exact.extend(scores.row(r).iter().map(|&x| f64::from(x)));
                }
                let old: Vec<f32> = state.m.row(0).to_vec();
                state.update(kernels.softmax_update_f32, &mut scores);
                for (r, &old) in old.iter().enumerate() {
                    let new = state.m.at(0, r);
                    let want = if old == new { 1.0 } else { f64::from(old - new).exp() };
                    assert!((f64::from(state.alpha.at(0, r)) - want).abs() <= 2e-7 * want + 3e-38, "{isa} alpha");
                }
            }
            for (r, exact) in exact.iter().enumerate() {
                let m = exact.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let want: f64 = exact.iter().map(|x| (x - m).exp()).sum();
                assert!((f64::from(state.l.at(0, r)) - want).abs() <= 2e-6 * want, "{isa}");
            }
        }
    }
}

#[test]
fn masked_rows_stay_zero_and_do_not_disturb_the_state() {
    for (isa, kernels) in tables() {
        for cols in [1, 16, 64, 70] {
            let mut state = State::start(3);
            let mut masked = Guarded::new(3, cols, 1, CANARY, || f32::NEG_INFINITY);
            state.update(kernels.softmax_update_f32, &mut masked);
            for r in 0..3 {
                assert!(masked.row(r).iter().all(|&x| x == 0.0), "{isa}");
                assert_eq!([state.m.at(0, r), state.l.at(0, r), state.alpha.at(0, r)], [f32::NEG_INFINITY, 0.0, 1.0]);
            }
            let mut ones = Guarded::new(3, cols, 1, CANARY, || 1.0);
            state.update(kernels.softmax_update_f32, &mut ones);
            let mut masked = Guarded::new(3, cols, 1, CANARY, || f32::NEG_INFINITY);
            state.update(kernels.softmax_update_f32, &mut masked);
            for r in 0..3 {
                assert_eq!([state.m.at(0, r), state.l.at(0, r), state.alpha.at(0, r)], [1.0, cols as f32, 1.0]);
            }
        }
    }
}

#[test]
fn weights_that_do_not_matter_are_zero_and_never_subnormal() {
    let least = 2f64.powi(-100).ln();
    for (isa, kernels) in tables() {
        let mut draws = Draws(23);
        for cols in [1, 16, 64, 70] {
            let mut state = State::start(20);
            let mut first = Guarded::new(20, cols, 0, CANARY, || 200.0);
            state.update(kernels.softmax_update_f32, &mut first);
            let mut scores = Guarded::new(20, cols, 1, CANARY, || 200.0 + (draws.real() as f32 - 1.0) * 120.0);
            let before: Vec<Vec<f32>> = (0..20).map(|r| scores.row(r).to_vec()).collect();
            state.update(kernels.softmax_update_f32, &mut scores);
            for (r, before) in before.iter().enumerate() {
                for (weight, score) in scores.row(r).iter().zip(before) {
                    let exponent = f64::from(score - 200.0);
                    let want = exponent.exp();
                    let near = (f64::from(*weight) - want).abs() <= (1e-6 + 2e-9 * exponent.abs()) * want;
                    let flushed = *weight == 0.0 && exponent < least + 1.0;
                    assert!(flushed || near && exponent > least - 1.0, "{isa}: e^{exponent} is {weight}");
                }
            }
            // A far larger score: what was accumulated counts no more.
            let mut far = Guarded::new(20, cols, 0, CANARY, || 290.0);
            state.update(kernels.softmax_update_f32, &mut far);
            assert!((0..20).all(|r| state.alpha.at(0, r) == 0.0), "{isa}");
        }
    }
}

#[test]
fn a_nan_score_poisons_its_own_row_only() {
    for (isa, kernels) in tables() {
        for cols in [1, 5, 64, 67] {
            for at in [0, cols / 2, cols - 1] {
                let mut scores = Guarded::new(20, cols, 0, CANARY, || 0.5);
                scores.set(7, at, f32::NAN);
                scores.set(8, at, f32::INFINITY);
                let mut state = State::start(20);
                state.update(kernels.softmax_update_f32, &mut scores);
                assert!(state.l.at(0, 7).is_nan(), "{isa} {cols}");
                for r in (0..20).filter(|r| ![7, 8].contains(r)) {
                    assert_eq!(state.l.at(0, r), cols as f32, "{isa} {cols}");
                    assert_eq!(state.m.at(0, r), 0.5);
                }
            }
        }
    }
}

/// `f64` through the same path: weights within 2 units in the last place, of scores down to where they do not matter and are 0.
#[test]
fn double_precision_is_a_softmax() {
    fn check(kernels: &KernelTable, rows: usize, cols: usize, (spread, units): (f64, f64)) {
        let (mut draws, least) = (Draws(11), 2f64.powi(-900).ln());
        let scores: Vec<f64> = (0..rows * cols).map(|_| draws.real() * spread).collect();
        let (mut s, mut m, mut l) = (scores.clone(), vec![f64::NEG_INFINITY; rows], vec![0.0; rows]);
        let mut alpha = vec![0.0; rows];
        // SAFETY: the buffers hold the rows and columns.
        unsafe {
            let softmax = kernels.softmax_update_f64;
            softmax(rows, cols, s.as_mut_ptr(), cols as isize, m.as_mut_ptr(), l.as_mut_ptr(), alpha.as_mut_ptr());
        }
        for r in 0..rows {
            let row = &scores[r * cols..][..cols];
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert_eq!(m[r], most);
            for (c, score) in row.iter().enumerate() {
                let (want, got) = (libm::exp(score - most), s[r * cols + c]);
                let (near, exponent) = ((got - want).abs() <= want * f64::EPSILON * units, score - most);
                let flushed = got == 0.0 && exponent < least + 1.0;
                assert!(flushed || near && exponent > least - 1.0, "e^{exponent}: {got}, not {want}");
            }
            let sum: f64 = row.iter().map(|x| libm::exp(x - most)).sum();
            assert!((l[r] - sum).abs() <= 1e-14 * sum);
        }
    }
    for (isa, kernels) in tables() {
        // `libm` itself is off by up to one.
        let units = if isa == attnc_kernels::Isa::Portable { 2.0 } else { 1.5 };
        for rows in [0, 1, 5, 9, 33] {
            for cols in [1, 3, 8, 64, 65] {
                for spread in [1.0, 30.0, 390.0] {
                    check(kernels, rows, cols, (spread, units));
                }
            }
        }
    }
}
