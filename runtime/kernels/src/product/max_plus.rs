//! The max-plus product `C[i, j] = max(C[i, j], max over k of A[i, k] + B[k, j])`, and the same with the least.
//!
//! An addition and a maximum take the place of a multiply-add, in the same register blocks. The maximum that vectors
//! have forgets a NaN; where neither operand has one, nor the infinity that could make one, none arises, and what C held
//! stays. Operands are looked at once for each call, and the few that have some take a loop that keeps them.

use super::{Blocks, Operands, load_row};
use crate::lanes::{Element, Lanes};

/// Rows of a block as wide as the instruction set's main panel.
const TALL: usize = 6;

/// Rows of a block of one vector: with fewer each maximum waits for the one before.
const NARROW: usize = 8;

/// Vectors that are looked at in turns.
const AT_ONCE: usize = 4;

/// The whole product; of the least if `LEAST`. If `masked`, elements of A that are the value of no maximum (-inf, or inf)
/// contribute nothing, whatever they meet.
///
/// # Safety
/// As for [`super::product`]; `accumulate` and `scale` are not read.
#[inline(always)]
pub(crate) unsafe fn max_plus<T: Element, S: Blocks<T>, const LEAST: bool>(s: S, p: &Operands<T>, masked: bool) {
    // SAFETY: the caller's operands.
    let tame = unsafe {
        is_tame::<T, S, LEAST>(s, [p.m, p.k], p.a, [p.a_rs, p.a_cs])
            && is_tame::<T, S, LEAST>(s, [p.k, p.n], p.b, [p.b_rs, 1])
    };
    let wide = S::MAIN * S::N;
    let mut j = 0;
    while j < p.n {
        let left = p.n - j;
        let n = if tame && left >= wide { wide } else { left.min(S::N) };
        let (panel, head) = (Operands { n, ..p.at(0, j) }, s.head(n.min(S::N)));
        // SAFETY: columns `j .. j + n` of the caller's operands.
        unsafe {
            match n / S::N {
                _ if !tame => careful_rows::<T, S, LEAST>(s, &panel, head, masked),
                4 if const { S::MAIN == 4 } => rows::<T, S, TALL, 4, false, LEAST>(s, &panel, head),
                2 if const { S::MAIN == 2 } => rows::<T, S, TALL, 2, false, LEAST>(s, &panel, head),
                1 => rows::<T, S, NARROW, 1, false, LEAST>(s, &panel, head),
                _ => rows::<T, S, NARROW, 1, true, LEAST>(s, &panel, head),
            }
        }
        j += n;
    }
}

/// The larger, or the smaller; `b` where either is NaN.
#[inline(always)]
fn better<T: Element, S: Lanes<T>, const LEAST: bool>(s: S, a: S::V, b: S::V) -> S::V {
    if LEAST { s.min(a, b) } else { s.max(a, b) }
}

/// Whether no element is NaN, or the infinity that is the result wherever it takes part: sums of others are no NaN.
///
/// # Safety
/// `p` must be valid for the elements at these strides.
#[inline(always)]
unsafe fn is_tame<T: Element, S: Lanes<T>, const LEAST: bool>(
    s: S,
    [rows, cols]: [usize; 2],
    p: *const T,
    [rs, cs]: [isize; 2],
) -> bool {
    let ([rows, cols], [rs, cs]) = if rs == 1 && cs != 1 { ([cols, rows], [cs, rs]) } else { ([rows, cols], [rs, cs]) };
    let extreme = if LEAST { T::NEG_INFINITY } else { -T::NEG_INFINITY };
    if cs != 1 {
        let mut tame = true;
        for i in 0..rows {
            for k in 0..cols {
                // SAFETY: an element of the matrix.
                let x = unsafe { p.wrapping_offset(i as isize * rs + k as isize * cs).read_unaligned() };
                tame &= if LEAST { extreme < x } else { x < extreme };
            }
        }
        return tame;
    }
    let (zero, one, bound) = (s.splat(T::ZERO), s.splat(T::ONE), s.splat(extreme));
    let mut wild = [zero; AT_ONCE];
    for i in 0..rows {
        let row = p.wrapping_offset(i as isize * rs);
        let mut k = 0;
        while k < cols {
            for (at, wild) in wild.iter_mut().enumerate() {
                let from = k + at * S::N;
                let head = s.head(cols.saturating_sub(from).min(S::N));
                // SAFETY: what is left of row i; the other lanes are 0.
                let x = unsafe { s.load_head(row.wrapping_add(from), head) };
                let below = if LEAST { s.lt(bound, x) } else { s.lt(x, bound) };
                *wild = s.add(*wild, s.select(below, zero, one));
            }
            k += AT_ONCE * S::N;
        }
    }
    let [a, b, c, d] = wild;
    s.sum(s.add(s.add(a, b), s.add(c, d))) == T::ZERO
}

/// All rows of a panel of `W` vectors, `R` at a time, then by twos.
#[inline(always)]
unsafe fn rows<T: Element, S: Blocks<T>, const R: usize, const W: usize, const RAGGED: bool, const LEAST: bool>(
    s: S,
    p: &Operands<T>,
    head: S::Head,
) {
    let mut i = 0;
    // SAFETY: rows of the caller's panel.
    unsafe {
        while p.m - i >= R {
            block::<T, S, R, W, RAGGED, LEAST>(s, &p.at(i, 0), head);
            i += R;
        }
        while p.m - i >= 2 {
            block::<T, S, 2, W, RAGGED, LEAST>(s, &p.at(i, 0), head);
            i += 2;
        }
        if i < p.m {
            block::<T, S, 1, W, RAGGED, LEAST>(s, &p.at(i, 0), head);
        }
    }
}

/// A block of `R` rows by `W` vectors of tame operands; if `RAGGED`, the last vector holds only the columns of `head`.
#[inline(always)]
unsafe fn block<T: Element, S: Lanes<T>, const R: usize, const W: usize, const RAGGED: bool, const LEAST: bool>(
    s: S,
    p: &Operands<T>,
    head: S::Head,
) {
    let mut acc = [[s.splat(T::ZERO); W]; R];
    for (i, acc) in acc.iter_mut().enumerate() {
        // SAFETY: row `i < R` of C.
        *acc = unsafe { load_row::<T, S, W, RAGGED>(s, p.c.offset(i as isize * p.c_rs), head) };
    }
    let (mut a, mut b) = (p.a, p.b);
    for _ in 0..p.k {
        // SAFETY: the row of B, and the column of A with rows `i < R`, of this term.
        unsafe {
            let b_row = load_row::<T, S, W, RAGGED>(s, b, head);
            for (i, acc) in acc.iter_mut().enumerate() {
                let a_ik = s.splat(a.offset(i as isize * p.a_rs).read_unaligned());
                for (acc, &b_row) in acc.iter_mut().zip(&b_row) {
                    *acc = better::<T, S, LEAST>(s, s.add(a_ik, b_row), *acc);
                }
            }
        }
        a = a.wrapping_offset(p.a_cs);
        b = b.wrapping_offset(p.b_rs);
    }
    for (i, acc) in acc.iter().enumerate() {
        for (w, &v) in acc.iter().enumerate() {
            // SAFETY: row `i < R` of C, vector `w < W` of it.
            unsafe {
                let c = p.c.offset(i as isize * p.c_rs).add(w * S::N);
                if RAGGED && w + 1 == W { s.store_head(c, head, v) } else { s.store(c, v) }
            }
        }
    }
}

/// All rows of a panel of one vector, whatever the operands hold.
#[inline(always)]
unsafe fn careful_rows<T: Element, S: Lanes<T>, const LEAST: bool>(s: S, p: &Operands<T>, head: S::Head, masked: bool) {
    let nothing = if LEAST { -T::NEG_INFINITY } else { T::NEG_INFINITY };
    for i in 0..p.m as isize {
        // SAFETY: row i of C and of A, and the rows of B, as far as `head`.
        unsafe {
            let c = p.c.wrapping_offset(i * p.c_rs);
            let mut acc = s.load_head(c, head);
            for k in 0..p.k as isize {
                let a = p.a.wrapping_offset(i * p.a_rs + k * p.a_cs).read_unaligned();
                if masked && a == nothing {
                    continue;
                }
                let sum = s.add(s.splat(a), s.load_head(p.b.wrapping_offset(k * p.b_rs), head));
                acc = s.select(s.eq(sum, sum), better::<T, S, LEAST>(s, sum, acc), sum);
            }
            s.store_head(c, head, acc);
        }
    }
}
