//! The product with a single column: scores of one query against keys that lie row by row.
//!
//! Its sums run along the rows of A, which must not be split among lanes (the order of additions is part of the
//! contract); so squares of A are transposed in registers and each lane sums a row. That reads A at about the speed
//! of the second-level cache, and nothing needs to be packed for a single query.

use super::Operands;
use crate::lanes::{Element, Square};

/// Groups of `N` rows that are summed side by side, since each is one chain of multiply-adds.
const GROUPS: usize = 2;

/// `C[m, 1] = (C or 0) + A[m, k] B[k, 1]` where the elements of A's rows are adjacent.
///
/// # Safety
/// As for [`super::product`]; `p.n` is 1 and `p.a_cs` is 1.
#[inline(always)]
pub(super) unsafe fn column<T: Element, S: Square<T>>(s: S, p: &Operands<T>) {
    let mut i = 0;
    while i + GROUPS * S::N <= p.m {
        // SAFETY: rows `i .. i + GROUPS N` of the caller's operands.
        unsafe { rows::<T, S, GROUPS>(s, &p.at(i, 0), GROUPS * S::N) };
        i += GROUPS * S::N;
    }
    while i < p.m {
        let count = (p.m - i).min(S::N);
        // SAFETY: rows `i .. i + count` of the caller's operands.
        unsafe { rows::<T, S, 1>(s, &p.at(i, 0), count) };
        i += count;
    }
}

/// The first `count` rows, at most `G` groups.
#[inline(always)]
unsafe fn rows<T: Element, S: Square<T>, const G: usize>(s: S, p: &Operands<T>, count: usize) {
    let mut acc = [s.splat(T::ZERO); G];
    let mut cells = [T::ZERO; 16 * GROUPS];
    if p.accumulate {
        for (i, cell) in cells.iter_mut().enumerate().take(count) {
            // SAFETY: row `i < count` of C.
            *cell = unsafe { p.c.offset(i as isize * p.c_rs).read_unaligned() };
        }
        for (g, acc) in acc.iter_mut().enumerate() {
            // SAFETY: the array holds `GROUPS` vectors.
            *acc = unsafe { s.load(cells.as_ptr().add(g * S::N)) };
        }
    }
    let mut k = 0;
    if count == G * S::N {
        while k + S::N <= p.k {
            // SAFETY: columns `k .. k + N` of A, whose groups are whole.
            unsafe { whole_squares(s, &p.part(k, S::N), &mut acc) };
            k += S::N;
        }
    }
    while k < p.k {
        let terms = (p.k - k).min(S::N);
        // SAFETY: columns `k .. k + terms` of A's first `count` rows.
        unsafe { ragged_squares(s, &p.part(k, terms), count, &mut acc) };
        k += terms;
    }
    // SAFETY: the array holds `GROUPS` vectors; row `i < count` of C.
    unsafe {
        for (g, &acc) in acc.iter().enumerate() {
            s.store(cells.as_mut_ptr().add(g * S::N), acc);
        }
        for (i, &cell) in cells.iter().enumerate().take(count) {
            p.c.offset(i as isize * p.c_rs).write_unaligned(cell);
        }
    }
}

/// Adds `N` terms to the sums of `G` groups of `N` rows.
#[inline(always)]
unsafe fn whole_squares<T: Element, S: Square<T>, const G: usize>(s: S, p: &Operands<T>, acc: &mut [S::V; G]) {
    let mut squares = [[s.splat(T::ZERO); 16]; G];
    for (g, square) in squares.iter_mut().enumerate() {
        for (r, line) in square.iter_mut().enumerate().take(S::N) {
            // SAFETY: the caller's rows and columns.
            *line = unsafe { s.load(p.a.offset((g * S::N + r) as isize * p.a_rs)) };
        }
        s.transpose(square);
    }
    for term in 0..S::N {
        // SAFETY: row `term` of the caller's B.
        let b = s.splat(unsafe { p.b.offset(term as isize * p.b_rs).read_unaligned() });
        for (acc, square) in acc.iter_mut().zip(&squares) {
            *acc = s.fma(square[term], b, *acc);
        }
    }
}

/// Adds `p.k <= N` terms to the sums of the first `count` rows.
#[inline(always)]
unsafe fn ragged_squares<T: Element, S: Square<T>, const G: usize>(
    s: S,
    p: &Operands<T>,
    count: usize,
    acc: &mut [S::V; G],
) {
    let head = s.head(p.k);
    for (g, acc) in acc.iter_mut().enumerate() {
        let mut square = [s.splat(T::ZERO); 16];
        for (r, line) in square.iter_mut().enumerate().take((count - g * S::N).min(S::N)) {
            // SAFETY: row `g N + r < count` of the caller's A, as far as its columns.
            *line = unsafe { s.load_head(p.a.offset((g * S::N + r) as isize * p.a_rs), head) };
        }
        s.transpose(&mut square);
        for (term, &line) in square.iter().enumerate().take(p.k) {
            // SAFETY: row `term < k` of the caller's B.
            let b = s.splat(unsafe { p.b.offset(term as isize * p.b_rs).read_unaligned() });
            *acc = s.fma(line, b, *acc);
        }
    }
}
