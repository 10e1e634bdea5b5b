//! Scores, softmax and values together, on every instruction set: what the three do one after the other, at sizes that are whole
//! tiles and others, with canaries; with weights and values so small that products are subnormal, and numbers that are none.

mod common;

use attnc_kernels::KernelTable;
use common::{Draws, Guarded, tables};
use half::bf16;

const CANARY: f32 = 12345.678;

/// What a call reads and writes; twice, for the two ways.
struct Case {
    a: Guarded<f32>,
    keys: Guarded<u16>,
    keys_first: usize,
    values: Guarded<u16>,
    values_first: usize,
    scores: Guarded<f32>,
    /// Maxima, sums, `alpha`.
    running: [Guarded<f32>; 3],
    sums: Guarded<f32>,
    /// What the scores are multiplied by.
    factor: f32,
}

/// `rows` by `cols` numbers in pairs of rows, of the magnitude of `size`.
fn pairs(draws: &mut Draws, [rows, cols]: [usize; 2], first: usize, size: f64) -> Guarded<u16> {
    let words = (first + rows).div_ceil(2);
    Guarded::new(words, 2 * cols, 6, 0x7fc1, || bf16::from_f64(draws.real() * size).to_bits())
}

impl Case {
    /// Of `m` rows, `n` keys, `k` terms and `e` columns; `seed` draws the rest.
    fn draw(seed: u64, [m, n, k, e]: [usize; 4], sizes: [f64; 2]) -> Case {
        let mut draws = Draws(seed);
        let keys_first = draws.below(4) / 3;
        let values_first = draws.below(4) / 3;
        let high = draws.pick(&[-1.0, 0.0, 3.0, 60.0]);
        let fresh = draws.below(3) == 0;
        let gaps = [0, 1, 2, 3].map(|_| draws.below(4));
        Case {
            a: Guarded::new(m, k, gaps[0], f32::NAN, || draws.real() as f32),
            keys: pairs(&mut draws, [k, n], keys_first, sizes[0]),
            keys_first,
            values: pairs(&mut draws, [n, e], values_first, sizes[1]),
            values_first,
            scores: Guarded::new(m, n, gaps[1], CANARY, || f32::NAN),
            running: [
                Guarded::new(1, m, 0, CANARY, || if fresh { f32::NEG_INFINITY } else { (high + draws.real()) as f32 }),
                Guarded::new(1, m, 0, CANARY, || if fresh { 0.0 } else { 1.5 }),
                Guarded::new(1, m, 0, CANARY, || f32::NAN),
            ],
            sums: Guarded::new(m, e, gaps[2], CANARY, || if fresh { 0.0 } else { draws.real() as f32 }),
            factor: draws.pick(&[1.0, 0.125, 0.3, -0.7, 0.0]) as f32,
        }
    }

    /// In one call if `together`, else one after the other.
    fn run(&mut self, kernels: &KernelTable, together: bool) {
        let (m, k, n, e) = (self.a.rows, self.a.cols, self.scores.cols, self.sums.cols);
        let [a_rs, s_rs, c_rs] = [&self.a, &self.scores, &self.sums].map(|x| x.stride as isize);
        let [k_rs, v_rs] = [&self.keys, &self.values].map(|x| x.stride as isize);
        let (keys, values) = ((self.keys.ptr(), self.keys_first), (self.values.ptr(), self.values_first));
        let [max, sum, alpha] = self.running.each_mut().map(Guarded::mut_ptr);
        let (a, s, c) = (self.a.ptr(), self.scores.mut_ptr(), self.sums.mut_ptr());
        // SAFETY: the buffers hold the matrices, at these strides.
        unsafe {
            if together {
                (kernels.attend_pairs)(
                    m,
                    n,
                    k,
                    e,
                    a,
                    a_rs,
                    1,
                    keys.0,
                    k_rs,
                    keys.1,
                    values.0,
                    v_rs,
                    values.1,
                    s,
                    s_rs,
                    max,
                    sum,
                    alpha,
                    c,
                    c_rs,
                    self.factor,
                );
            } else {
                let null = std::ptr::null();
                (kernels.product_pairs)(m, n, k, keys.1, a, a_rs, 1, keys.0, k_rs, s, s_rs, 0, null, self.factor);
                (kernels.softmax_update_f32)(m, n, s, s_rs, max, sum, alpha);
                (kernels.product_pairs)(m, e, n, values.1, s, s_rs, 1, values.0, v_rs, c, c_rs, 1, alpha, 1.0);
            }
        }
        self.check();
    }

    fn check(&self) {
        [&self.scores, &self.sums].into_iter().chain(&self.running).for_each(|x| x.check("attend"));
    }

    /// Everything but the scores, as bits: NaN is one of them.
    fn results(&self) -> Vec<u32> {
        let rows = |x: &Guarded<f32>| (0..x.rows).flat_map(|r| x.row(r).to_vec()).collect::<Vec<f32>>();
        let all = self.running.iter().chain([&self.sums]).flat_map(rows);
        all.map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
    }
}

/// Both ways give the same: bits where all rows are in whole tiles, else what sums in another order differ by.
fn compare(kernels: &KernelTable, shape: [usize; 4], draw: impl Fn() -> Case, what: &str) {
    let [mut together, mut in_turn] = [draw(), draw()];
    together.run(kernels, true);
    in_turn.run(kernels, false);
    let (found, wanted) = (together.results(), in_turn.results());
    if shape[0].is_multiple_of(16) {
        assert!(found == wanted, "{what}: {shape:?}: not the same bits");
        return;
    }
    for (found, wanted) in found.into_iter().zip(wanted) {
        let (x, y) = (f32::from_bits(found), f32::from_bits(wanted));
        let near = (x - y).abs() <= 1e-5 * (1.0 + y.abs());
        assert!(found == wanted || near, "{what}: {shape:?}: {x} is not {y}");
    }
}

const ROWS: [usize; 12] = [0, 1, 15, 16, 17, 31, 32, 48, 96, 97, 112, 200];
const KEYS: [usize; 9] = [0, 1, 31, 32, 64, 96, 128, 130, 160];
const TERMS: [usize; 9] = [0, 1, 16, 32, 40, 64, 96, 256, 288];
const COLUMNS: [usize; 7] = [0, 1, 8, 16, 48, 64, 128];

fn shape(draws: &mut Draws) -> [usize; 4] {
    [draws.pick(&ROWS), draws.pick(&KEYS), draws.pick(&TERMS), draws.pick(&COLUMNS)]
}

#[test]
fn together_is_one_after_the_other() {
    for (isa, kernels) in tables() {
        let mut draws = Draws(21);
        for seed in 0..300 {
            let shape = shape(&mut draws);
            compare(kernels, shape, || Case::draw(seed, shape, [1.0, 1.0]), isa.name());
        }
        for (seed, rows) in [96, 200, 16].into_iter().enumerate() {
            let shape = [rows, 128, 64, 64];
            compare(kernels, shape, || Case::draw(seed as u64, shape, [9.0, 1.0]), isa.name());
        }
    }
}

#[test]
fn small_numbers_are_no_zeros() {
    for (isa, kernels) in tables() {
        for (seed, sizes) in
            [[1.0, 1e-39], [1.0, 1e-25], [1e-39, 1.0], [1e-25, 1.0], [1.0, 0.0]].into_iter().enumerate()
        {
            for rows in [16, 48, 96, 112] {
                let shape = [rows, 64, 64, 48];
                compare(kernels, shape, || Case::draw(seed as u64, shape, sizes), isa.name());
                // Queries so small that their products with keys are subnormal.
                let tiny = || {
                    let mut case = Case::draw(seed as u64, shape, sizes);
                    for at in 0..rows * 64 {
                        case.a.set(at / 64, at % 64, case.a.at(at / 64, at % 64) * 1e-30);
                    }
                    case
                };
                compare(kernels, shape, tiny, isa.name());
            }
        }
        // Maxima so far above all scores that all weights of 16 rows are tiny, or 0.
        for above in [39.0, 43.0, 60.0, 200.0] {
            let shape = [48, 64, 64, 48];
            let far = || {
                let mut case = Case::draw(7, shape, [1.0, 1.0]);
                (16..48).for_each(|row| case.running[0].set(0, row, above + 20.0));
                (0..16).for_each(|row| case.running[0].set(0, row, 0.5));
                case
            };
            compare(kernels, shape, far, isa.name());
        }
    }
}

#[test]
fn what_is_no_number_stays_in_its_row() {
    for (isa, kernels) in tables() {
        for seed in 0..12 {
            let shape = [48, 64, 64, 48];
            let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][seed as usize % 3];
            let draw = || {
                let mut case = Case::draw(seed, shape, [1.0, 1.0]);
                case.a.set(19, 5, odd);
                if seed % 2 == 0 {
                    case.values.set(7, 9, 0x7f80);
                }
                case
            };
            compare(kernels, shape, draw, isa.name());
        }
    }
}
