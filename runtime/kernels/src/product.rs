//! The tile product `C = (C or 0) + A B`, register-blocked.
//!
//! A register block is `ROWS[w]` rows of C by `w` vectors; B streams by rows, elements of A are broadcast. Each
//! element of C is one chain of fused multiply-adds over k in ascending order, starting from C or 0, so its bits
//! depend neither on the block it falls in nor on how callers cut m and n, nor on how they cut k with
//! `accumulate`. That order leaves independent columns and rows as the only source of parallelism, which is why
//! a single row gets a wider panel.
//!
//! Owns the loops around a register block; the block's body is [`register_block`], which every instruction set
//! instantiates with its own features through [`Blocks::block`].

mod blocks;
mod column;
mod few;
pub(crate) mod max_plus;
pub(crate) mod open;
pub(crate) mod pack;
pub(crate) mod pairs;
pub(crate) mod rounded;
pub(crate) mod spanned;
pub(crate) mod sparse;

use crate::lanes::{Element, Lanes, Square};
use crate::rows::scale_rows;

pub(crate) use few::{MOST_ROWS, few_rows};

/// The operands of a product, with strides in elements. C and B have unit column stride.
#[derive(Clone, Copy)]
pub(crate) struct Operands<T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const T,
    pub a_rs: isize,
    pub a_cs: isize,
    pub b: *const T,
    pub b_rs: isize,
    pub c: *mut T,
    pub c_rs: isize,
    pub accumulate: bool,
    /// What each row of C is multiplied by before anything is added to it; null for nothing.
    pub scale: *const T,
}

impl<T> Operands<T> {
    /// The same product from row `i` and column `j` of C on; `m` and `n` are left to the caller.
    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> Operands<T> {
        Operands {
            a: self.a.wrapping_offset(i as isize * self.a_rs),
            b: self.b.wrapping_add(j),
            c: self.c.wrapping_offset(i as isize * self.c_rs).wrapping_add(j),
            scale: if self.scale.is_null() { self.scale } else { self.scale.wrapping_add(i) },
            ..*self
        }
    }

    /// The same product without a scale, after C has been multiplied by it.
    ///
    /// # Safety
    /// As for [`product`].
    #[inline(always)]
    pub(crate) unsafe fn scaled<S: Lanes<T>>(&self, s: S) -> Operands<T>
    where
        T: Element,
    {
        if self.accumulate && !self.scale.is_null() {
            // SAFETY: the caller's C, and a factor for each of its rows.
            unsafe { scale_rows(s, self.m, self.n, self.c, self.c_rs, self.scale) };
        }
        Operands { scale: core::ptr::null(), ..*self }
    }

    /// The sum over `k0 .. k0 + k` alone.
    #[inline(always)]
    fn terms(&self, k0: usize, k: usize) -> Operands<T> {
        Operands {
            k,
            a: self.a.wrapping_offset(k0 as isize * self.a_cs),
            b: self.b.wrapping_offset(k0 as isize * self.b_rs),
            ..*self
        }
    }

    /// The part of the sum over `k0 .. k0 + k`; what comes after the first part accumulates.
    #[inline(always)]
    fn part(&self, k0: usize, k: usize) -> Operands<T> {
        Operands {
            accumulate: self.accumulate || k0 > 0,
            scale: if k0 > 0 { core::ptr::null() } else { self.scale },
            ..self.terms(k0, k)
        }
    }
}

/// Vectors in the widest panel any instruction set uses.
const WIDEST: usize = 16;

/// The register blocks of an instruction set.
pub(crate) trait Blocks<T: Element>: Square<T> {
    /// `ROWS[w]` is how many rows a block `w` vectors wide holds; 0 where that width is not used.
    const ROWS: [usize; WIDEST + 1];
    /// The width with the most multiply-adds per load: 4, 2 or 1.
    const MAIN: usize;

    /// [`register_block`] compiled with the features of this instruction set, as a function of its own.
    ///
    /// # Safety
    /// As for [`register_block`].
    unsafe fn block<const R: usize, const W: usize, const RAGGED: bool>(self, p: &Operands<T>, head: Self::Head);
}

/// Terms of the sum taken before a panel moves on: B's panel of 64 columns by this many rows is 64 KB of `f32`,
/// which the second-level cache feeds at full speed while C is read and written once per part.
const K_PART: usize = 256;

/// Rows of a product from which on asking for what follows B costs little beside it.
const PREFETCHING: usize = 48;

/// The whole product.
///
/// # Safety
/// A, B and C must be valid for the described elements; C must not overlap A or B.
#[inline(always)]
pub(crate) unsafe fn product<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>) {
    if p.m == 0 || p.n == 0 {
        return;
    }
    if p.n == 1 && p.a_cs == 1 && p.m >= S::N && const { S::SHUFFLES } {
        // SAFETY: the caller's duty; one column, and rows of A without gaps.
        return unsafe { column::column(s, &p.scaled(s)) };
    }
    let mut k0 = 0;
    loop {
        let part = p.part(k0, (p.k - k0).min(K_PART));
        // SAFETY: a part of the caller's operands.
        unsafe { product_part(s, &part) };
        k0 += part.k;
        if k0 >= p.k {
            return;
        }
    }
}

/// One part of the sum: panels of columns, in each the blocks of rows.
#[inline(always)]
unsafe fn product_part<T: Element, S: Blocks<T>>(s: S, p: &Operands<T>) {
    let mut j = 0;
    while j < p.n {
        let vectors = (p.n - j).div_ceil(S::N);
        let width = panel_width::<T, S>(p.m, vectors);
        let columns = (width * S::N).min(p.n - j);
        let panel = Operands { n: columns, ..p.at(0, j) };
        // SAFETY: columns `j .. j + columns` of the caller's operands.
        unsafe {
            match width {
                1 => rows::<T, S, 1>(s, &panel),
                2 if const { S::ROWS[2] > 0 } => rows::<T, S, 2>(s, &panel),
                3 if const { S::ROWS[3] > 0 } => rows::<T, S, 3>(s, &panel),
                4 if const { S::ROWS[4] > 0 } => rows::<T, S, 4>(s, &panel),
                5 if const { S::ROWS[5] > 0 } => rows::<T, S, 5>(s, &panel),
                8 if const { S::ROWS[8] > 0 } => rows::<T, S, 8>(s, &panel),
                16 if const { S::ROWS[16] > 0 } => rows::<T, S, 16>(s, &panel),
                _ => debug_assert!(false, "no block of width {width}"),
            }
        }
        j += columns;
    }
}

/// How many vectors the next panel takes when `vectors` are left.
///
/// A product of so few rows that one block holds them takes the widest such block, for accumulators enough to hide
/// the latency of a multiply-add. Any other takes the instruction set's main width, or less or more in order not to
/// leave a panel of one vector, whose every multiply-add needs an element of A of its own.
#[inline(always)]
fn panel_width<T: Element, S: Blocks<T>>(m: usize, vectors: usize) -> usize {
    for width in [16, 8, 5, 4, 3] {
        if m <= S::ROWS[width] && width <= vectors {
            return width;
        }
    }
    match (S::MAIN, vectors % S::MAIN) {
        (4, 1) if vectors > 4 => 5,
        (4, 2) if vectors > 4 => 3,
        (2, 1) if vectors > 2 => 3,
        _ => vectors.min(S::MAIN),
    }
}

/// All rows of a panel, cut into blocks whose heights differ by at most one.
#[inline(always)]
unsafe fn rows<T: Element, S: Blocks<T>, const W: usize>(s: S, p: &Operands<T>) {
    let last = p.n - (W - 1) * S::N;
    let head = s.head(last);
    let mut blocks = p.m.div_ceil(S::ROWS[W]);
    // Products that follow each other mostly take B's next rows, which are asked for a few with each block.
    let (many, all) = (p.m >= PREFETCHING, blocks);
    let mut i = 0;
    while i < p.m {
        let height = (p.m - i).div_ceil(blocks);
        if many {
            for k in p.k * (all - blocks) / all..p.k * (all - blocks + 1) / all {
                for w in 0..W {
                    s.prefetch(p.b.wrapping_offset((p.k + k) as isize * p.b_rs).wrapping_add(w * S::N));
                }
            }
        }
        // SAFETY: rows `i .. i + height` of the caller's panel, whose last vector holds `last` columns.
        unsafe {
            if last == S::N {
                blocks::of_height::<T, S, W, false>(s, height, &p.at(i, 0), head);
            } else {
                blocks::of_height::<T, S, W, true>(s, height, &p.at(i, 0), head);
            }
        }
        i += height;
        blocks -= 1;
    }
}

/// A block of `R` rows by `W` vectors; if `RAGGED`, the last vector holds only the columns of `head`.
///
/// # Safety
/// The operands must be valid for `R` rows and as many columns; `p.m` and `p.n` are not read.
#[inline(always)]
pub(crate) unsafe fn register_block<T: Element, S: Lanes<T>, const R: usize, const W: usize, const RAGGED: bool>(
    s: S,
    p: &Operands<T>,
    head: S::Head,
) {
    let mut acc = [[s.splat(T::ZERO); W]; R];
    if p.accumulate {
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: row `i < R` of C.
            *acc = unsafe { load_row::<T, S, W, RAGGED>(s, p.c.offset(i as isize * p.c_rs), head) };
        }
        if !p.scale.is_null() {
            for (i, acc) in acc.iter_mut().enumerate() {
                // SAFETY: the factor of row `i < R`.
                let factor = s.splat(unsafe { p.scale.add(i).read_unaligned() });
                for acc in acc {
                    *acc = s.mul(*acc, factor);
                }
            }
        }
    }
    let (mut a, mut b) = (p.a, p.b);
    for _ in 0..p.k {
        // SAFETY: the row of B, and the column of A with rows `i < R`, of this term of the sum.
        unsafe {
            let b_row = load_row::<T, S, W, RAGGED>(s, b, head);
            for (i, acc) in acc.iter_mut().enumerate() {
                let a_ik = s.splat(a.offset(i as isize * p.a_rs).read_unaligned());
                for (acc, &b_row) in acc.iter_mut().zip(&b_row) {
                    *acc = s.fma(a_ik, b_row, *acc);
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

/// `W` vectors from `p`, the last only as far as `head` if `RAGGED`.
#[inline(always)]
unsafe fn load_row<T: Element, S: Lanes<T>, const W: usize, const RAGGED: bool>(
    s: S,
    p: *const T,
    head: S::Head,
) -> [S::V; W] {
    let mut row = [s.splat(T::ZERO); W];
    for (w, v) in row.iter_mut().enumerate() {
        // SAFETY: the caller's row is `W` vectors long, the last as long as `head`.
        *v = unsafe {
            let p = p.add(w * S::N);
            if RAGGED && w + 1 == W { s.load_head(p, head) } else { s.load(p) }
        };
    }
    row
}
