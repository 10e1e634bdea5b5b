//! Scores, softmax and weighted values of a tile together, by AMX.
//!
//! Between the three a tile of scores would go to the second cache and back four times, since it fills the first. Here 16 rows
//! of scores at a time are made into weights, which are rounded as they are stored; and while the vector unit computes the
//! exponentials of 16 rows, the tile unit multiplies for their neighbours: the scores of those that come next, and the values
//! of those that came before. A few instructions of the one follow a few of the other, so that both are at hand.
//!
//! What is computed is what [`super::product_tiles`] and the softmax compute one after the other, term by term.

use core::arch::asm;
use core::arch::x86_64::*;

use super::super::{Attend, LEAST_OF_B, Magnitudes, Pairs, product_part};
use super::{LINE, Lines, PART, SHAPES, SIDE, SLAB, TERMS, magnitudes_of, product_tiles, round_slab};
use crate::isa::{AmxBf16, Avx512};
use crate::lanes::Square;
use crate::rows::scale_rows;
use crate::softmax::{Exponential, Running, advance};

/// Most keys of a tile.
const KEYS: usize = 128;

/// Elements from one row of scores, or of weights, to the next: a cache line more than there are keeps rows out of each
/// other's sets.
const SCORES_LINE: usize = KEYS + SIDE;
const WEIGHTS_LINE: usize = KEYS + TERMS;

/// The exponent of a weight that [`super::super::LEAST_OF_A`] is no larger than.
const LEAST_SCORE: f32 = -41.0;

/// Working memory: rounded rows, scores and weights of two groups of 16.
#[repr(C, align(64))]
struct Memory {
    lines: [u16; SLAB * LINE],
    scores: [[f32; SIDE * SCORES_LINE]; 2],
    weights: [[u16; SIDE * WEIGHTS_LINE]; 2],
}

/// [`super::super::attend_pairs`].
///
/// # Safety
/// As for that.
#[inline(always)]
pub(crate) unsafe fn attend_tiles(s: Avx512, d: AmxBf16, p: &Attend) {
    let whole = if suits(p) { p.scores.m / SIDE * SIDE } else { 0 };
    let mut memory = core::mem::MaybeUninit::<Memory>::uninit();
    let mut i = 0;
    // SAFETY: rows of the caller's operands.
    unsafe {
        if whole > 0 {
            let (of_k, of_v) = (magnitudes_of(&p.scores), magnitudes_of(&p.values));
            let plain = !of_v.any_subnormal() && (of_v.largest == 0 || of_v.largest >= LEAST_OF_B);
            while plain && i < whole {
                let slab = p.rows(i, (whole - i).min(SLAB));
                if !attend_slab(s, d, &slab, of_k, memory.as_mut_ptr()) {
                    in_turn(s, d, &slab);
                }
                i += slab.scores.m;
            }
        }
        if i < p.scores.m {
            in_turn(s, d, &p.rows(i, p.scores.m - i));
        }
    }
}

/// Whether all tiles but those of the last rows are whole.
#[inline(always)]
fn suits(p: &Attend) -> bool {
    let (scores, values) = (&p.scores, &p.values);
    let whole = scores.n.is_multiple_of(TERMS) && scores.k.is_multiple_of(TERMS) && values.n.is_multiple_of(SIDE);
    let some = scores.n > 0 && scores.k > 0 && values.n > 0;
    // Such factors keep the order of scores.
    let ordered = scores.factor > 0.0 && scores.factor < f32::INFINITY;
    whole && some && ordered && scores.n <= KEYS && scores.k <= PART && scores.first == 0 && values.first == 0
}

/// One after the other.
///
/// # Safety
/// As for [`attend_tiles`].
#[cold]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn in_turn(s: Avx512, d: AmxBf16, p: &Attend) {
    // SAFETY: the caller's duty.
    unsafe {
        product_tiles(s, d, &p.scores);
        p.softmax(s);
        product_tiles(s, d, &p.values);
    }
}

/// Rows of a slab, a multiple of 16; whether it was done, or wants the care of [`in_turn`].
#[inline(always)]
unsafe fn attend_slab(s: Avx512, d: AmxBf16, p: &Attend, of_k: Magnitudes, memory: *mut Memory) -> bool {
    let groups = p.scores.m / SIDE;
    // SAFETY: the caller's rows, and the memory; the token says that the CPU has tiles and that the process may use them.
    unsafe {
        let slab = round_slab(d.pairs(), &p.scores, (&raw mut (*memory).lines).cast());
        if slab.subnormal || of_k.need_care(slab.lines, LINE, [p.scores.m, p.scores.k]) {
            return false;
        }
        let slab = Groups {
            p,
            queries: slab.lines,
            scores: [0, 1].map(|at| (&raw mut (*memory).scores[at]).cast()),
            weights: [0, 1].map(|at| (&raw mut (*memory).weights[at]).cast()),
        };
        asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, preserves_flags, readonly));
        slab.score(0, &mut Walk::of(&p.scores), usize::MAX);
        let mut before = None;
        for group in 0..groups {
            let after = (group + 1 < groups).then_some(group + 1);
            let large = slab.softmax(s, group, [before, after]);
            before = large.then_some(group);
            if !large {
                slab.values_with_care(s, d, group);
            }
        }
        if let Some(last) = before {
            slab.value(last, &mut Walk::of(&p.values), usize::MAX);
        }
        asm!("tilerelease", options(nomem, nostack, preserves_flags));
    }
    true
}

/// The rows of a slab in groups of 16, and what is known of them.
struct Groups<'a> {
    p: &'a Attend,
    /// Rounded rows.
    queries: *mut u16,
    /// Scores, and weights, of every other group.
    scores: [*mut f32; 2],
    weights: [*mut u16; 2],
}

impl Groups<'_> {
    /// The scores of a group in memory.
    #[inline(always)]
    fn scores(&self, group: usize) -> Lines<f32> {
        Lines { first: self.scores[group % 2], bytes: 4 * SCORES_LINE as isize }
    }

    /// The weights of a group in memory.
    #[inline(always)]
    fn weights(&self, group: usize) -> Lines<u16> {
        Lines { first: self.weights[group % 2], bytes: 2 * WEIGHTS_LINE as isize }
    }

    /// What has been summed of a group's values.
    #[inline(always)]
    fn sums(&self, group: usize) -> Lines<f32> {
        let values = &self.p.values;
        let first = values.c.wrapping_offset((group * SIDE) as isize * values.c_rs);
        Lines { first, bytes: 4 * values.c_rs }
    }

    /// At most `most` tiles of a group's scores, of those that are left.
    ///
    /// # Safety
    /// The tiles must have been configured, and the group be there.
    #[inline(always)]
    unsafe fn score(&self, group: usize, left: &mut Walk, most: usize) {
        let lines = Lines { first: self.queries.wrapping_add(group * SIDE * LINE), bytes: 2 * LINE as isize };
        for _ in 0..most.min(left.tiles) {
            // SAFETY: a tile of each of the operands, and of the group's scores.
            unsafe {
                if left.step == 0 {
                    tile!("tilezero tmm0");
                }
                load!("tmm4", right(&self.p.scores, left));
                load!("tmm6", terms(lines, left));
                tile!("tdpbf16ps tmm0, tmm6, tmm4");
                if left.ends_a_column() {
                    store!("tmm0", across(self.scores(group), left));
                }
            }
            left.go_on();
        }
    }

    /// At most `most` tiles of a group's values, of those that are left.
    ///
    /// # Safety
    /// As for [`Groups::score`].
    #[inline(always)]
    unsafe fn value(&self, group: usize, left: &mut Walk, most: usize) {
        for _ in 0..most.min(left.tiles) {
            // SAFETY: a tile of each of the operands, and of the group's sums.
            unsafe {
                if left.step == 0 {
                    load!("tmm1", across(self.sums(group), left));
                }
                load!("tmm5", right(&self.p.values, left));
                load!("tmm7", terms(self.weights(group), left));
                tile!("tdpbf16ps tmm1, tmm7, tmm5");
                if left.ends_a_column() {
                    store!("tmm1", across(self.sums(group), left));
                }
            }
            left.go_on();
        }
    }

    /// A group's weights; beside it the values of the group before and the scores of the one after. Whether a weight is so
    /// large that products of the others with the values may be taken for 0 where they are subnormal.
    ///
    /// # Safety
    /// The groups must be there, their weights and queries too; the tiles must have been configured.
    #[inline(always)]
    unsafe fn softmax(&self, s: Avx512, group: usize, [before, after]: [Option<usize>; 2]) -> bool {
        let from = group * SIDE;
        let running = Running::of(self.p.running.map(|of_rows| of_rows.wrapping_add(from)));
        let (scores, weights, keys) = (self.scores(group), self.weights(group), self.p.scores.n);
        // SAFETY: the group's rows of the caller's, and of the memory; the features are those of the caller, whose token is the
        // proof.
        unsafe {
            // Column by column, since the last ones have only just been stored.
            let mut largest = [_mm512_set1_ps(f32::NEG_INFINITY); SIDE];
            for c in (0..keys).step_by(SIDE) {
                for (r, largest) in largest.iter_mut().enumerate() {
                    let score = _mm512_load_ps(scores.first.add(r * SCORES_LINE + c));
                    // A score that is not a number leaves the maximum as it is.
                    *largest = _mm512_max_ps(score, *largest);
                }
            }
            let factor = self.p.scores.factor;
            let largest = _mm512_mul_ps(Square::<f32>::largest_of_each(s, &largest), _mm512_set1_ps(factor));
            let moved = advance(s, largest, running, u16::MAX);
            let least = _mm512_add_ps(moved.shift, _mm512_set1_ps(LEAST_SCORE));
            let large = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(largest, least) != 0;
            let mut shifts = [0.0; SIDE];
            _mm512_storeu_ps(shifts.as_mut_ptr(), moved.shift);
            let mut sums = [_mm512_setzero_ps(); SIDE];
            let (mut to_score, mut to_value) = (Walk::of(&self.p.scores), Walk::of(&self.p.values));
            let share = [to_score.tiles.div_ceil(SIDE), to_value.tiles.div_ceil(SIDE)];
            for (r, sum) in sums.iter_mut().enumerate() {
                if let Some(after) = after {
                    self.score(after, &mut to_score, share[0]);
                }
                if let Some(before) = before {
                    self.value(before, &mut to_value, share[1]);
                }
                let (row, rounded) = (scores.first.add(r * SCORES_LINE), weights.first.add(r * WEIGHTS_LINE));
                *sum = exponentials(s, row, [factor, shifts[r]], keys, rounded);
            }
            running.add(s, Square::<f32>::sum_of_each(s, &sums), moved.alpha, u16::MAX);
            let kept = _mm512_cmpeq_ps_mask(moved.alpha, _mm512_set1_ps(1.0));
            if kept != u16::MAX {
                let sums = self.sums(group);
                scale_rows(s, SIDE, self.p.values.n, sums.first, self.p.values.c_rs, self.p.values.scale.add(from));
            }
            large
        }
    }

    /// The values of a group by what computes them with care, from weights that are widened again.
    ///
    /// # Safety
    /// The group must be there, and its weights.
    #[cold]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
    unsafe fn values_with_care(&self, s: Avx512, d: AmxBf16, group: usize) {
        let rows = self.p.rows(group * SIDE, SIDE);
        // SAFETY: the group's rows of the caller's; the features are those of the caller, whose token is the proof.
        unsafe {
            for r in 0..SIDE {
                let row = rows.scores.c.offset(r as isize * rows.scores.c_rs);
                for c in (0..rows.scores.n).step_by(SIDE) {
                    let halves = _mm256_loadu_si256(self.weights(group).first.add(r * WEIGHTS_LINE + c).cast());
                    let wide = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves));
                    _mm512_storeu_ps(row.add(c), _mm512_castsi512_ps(wide));
                }
            }
            product_part(s, d.pairs(), &Pairs { scale: core::ptr::null(), ..rows.values });
        }
    }
}

/// The weights of a row, rounded, and their sum, that of lanes: of scores times a factor, less a shift.
///
/// # Safety
/// `row` must be valid for `keys` aligned scores, a multiple of 32, and `rounded` for as many weights.
#[inline(always)]
unsafe fn exponentials(
    s: Avx512,
    row: *const f32,
    [factor, shift]: [f32; 2],
    keys: usize,
    rounded: *mut u16,
) -> __m512 {
    // SAFETY: the caller's duty; the features are those of the caller, whose token is the proof.
    unsafe {
        let (factor, shift) = (_mm512_set1_ps(factor), _mm512_set1_ps(shift));
        let mut sum = _mm512_setzero_ps();
        let mut c = 0;
        while c + 4 * SIDE <= keys {
            let mut weights = [shift; 4];
            for (at, weight) in weights.iter_mut().enumerate() {
                let score = _mm512_mul_ps(_mm512_load_ps(row.add(c + at * SIDE)), factor);
                *weight = _mm512_sub_ps(score, shift);
            }
            let [w0, w1, w2, w3] = Exponential::<f32>::exp_of_four(s, weights);
            store_rounded(rounded.add(c), w0, w1);
            store_rounded(rounded.add(c + TERMS), w2, w3);
            sum = _mm512_add_ps(sum, _mm512_add_ps(_mm512_add_ps(w0, w1), _mm512_add_ps(w2, w3)));
            c += 4 * SIDE;
        }
        if c < keys {
            let mut weights = [shift; 2];
            for (at, weight) in weights.iter_mut().enumerate() {
                let score = _mm512_mul_ps(_mm512_load_ps(row.add(c + at * SIDE)), factor);
                *weight = Exponential::<f32>::exp_not_positive(s, _mm512_sub_ps(score, shift));
            }
            store_rounded(rounded.add(c), weights[0], weights[1]);
            sum = _mm512_add_ps(_mm512_add_ps(sum, weights[0]), weights[1]);
        }
        sum
    }
}

/// Rounds two vectors to 32 halves.
///
/// # Safety
/// `to` must be valid for them.
#[inline(always)]
unsafe fn store_rounded(to: *mut u16, low: __m512, high: __m512) {
    // SAFETY: the caller's duty; the features are those of the caller, whose token is the proof.
    unsafe {
        let halves = core::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
        _mm512_storeu_si512(to.cast(), halves);
    }
}

/// The tiles of B that are left of a product by one row of tiles, column by column.
struct Walk {
    column: usize,
    step: usize,
    /// Steps of a column.
    steps: usize,
    tiles: usize,
}

impl Walk {
    /// All of a product's.
    #[inline(always)]
    fn of(p: &Pairs) -> Walk {
        let steps = p.k / TERMS;
        Walk { column: 0, step: 0, steps, tiles: p.n / SIDE * steps }
    }

    #[inline(always)]
    fn ends_a_column(&self) -> bool {
        self.step + 1 == self.steps
    }

    #[inline(always)]
    fn go_on(&mut self) {
        (self.column, self.step) =
            if self.ends_a_column() { (self.column + 1, 0) } else { (self.column, self.step + 1) };
        self.tiles -= 1;
    }
}

/// The tile of A with the terms of a step.
#[inline(always)]
fn terms(lines: Lines<u16>, at: &Walk) -> Lines<u16> {
    Lines { first: lines.first.wrapping_add(at.step * TERMS), ..lines }
}

/// The tile of B.
#[inline(always)]
fn right(p: &Pairs, at: &Walk) -> Lines<u32> {
    let first = p.b.wrapping_add(at.column * SIDE).wrapping_offset((at.step * SIDE) as isize * p.b_rs);
    Lines { first: first.cast_mut(), bytes: 4 * p.b_rs }
}

/// The tile of C.
#[inline(always)]
fn across(lines: Lines<f32>, at: &Walk) -> Lines<f32> {
    Lines { first: lines.first.wrapping_add(at.column * SIDE), ..lines }
}
