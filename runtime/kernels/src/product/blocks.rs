//! Which register blocks each instruction set has, and the choice of one by height.

use super::{Blocks, Operands, WIDEST, register_block};
use crate::isa::*;
use crate::lanes::{Element, Lanes};

/// The block of `height` rows by `W` vectors.
///
/// # Safety
/// As for [`register_block`]; `height` is in `1 ..= S::ROWS[W]`.
#[inline(always)]
pub(super) unsafe fn of_height<T: Element, S: Blocks<T>, const W: usize, const RAGGED: bool>(
    s: S,
    height: usize,
    p: &Operands<T>,
    head: S::Head,
) {
    macro_rules! choose {
        ($($rows:literal)*) => {
            match height {
                // The constant guards keep blocks that an instruction set does not use from being compiled.
                $($rows if const { S::ROWS[W] >= $rows } => s.block::<$rows, W, RAGGED>(p, head),)*
                _ => debug_assert!(false, "no block of {height} rows"),
            }
        };
    }
    // SAFETY: the caller's duty.
    unsafe { choose!(1 2 3 4 5 6 7 8 9 10 11 12) }
}

/// The table of heights: of blocks one to five vectors wide, eight, and sixteen.
const fn heights(narrow: [usize; 5], eight: usize, sixteen: usize) -> [usize; WIDEST + 1] {
    let mut rows = [0; WIDEST + 1];
    let mut width = 0;
    while width < narrow.len() {
        rows[width + 1] = narrow[width];
        width += 1;
    }
    rows[8] = eight;
    rows[16] = sixteen;
    rows
}

macro_rules! blocks {
    ($token:ty, $t:ty, $main:literal, $rows:expr, $(#[$features:meta])?) => {
        impl Blocks<$t> for $token {
            const ROWS: [usize; WIDEST + 1] = $rows;
            const MAIN: usize = $main;

            #[inline(always)]
            unsafe fn block<const R: usize, const W: usize, const RAGGED: bool>(
                self,
                p: &Operands<$t>,
                head: <Self as Lanes<$t>>::Head,
            ) {
                $(#[$features])?
                unsafe fn compiled<const R: usize, const W: usize, const RAGGED: bool>(
                    s: $token,
                    p: &Operands<$t>,
                    head: <$token as Lanes<$t>>::Head,
                ) {
                    // SAFETY: the caller's duty.
                    unsafe { register_block::<$t, $token, R, W, RAGGED>(s, p, head) }
                }
                // SAFETY: `self` is the proof of the features; the operands are the caller's duty.
                unsafe { compiled::<R, W, RAGGED>(self, p, head) }
            }
        }
    };
}

// 32 registers: the accumulators, a row of B, and (but on AVX-512, which broadcasts from memory) an element of A.
#[cfg(target_arch = "x86_64")]
blocks!(
    Avx512, f32, 4, heights([12, 12, 8, 6, 5], 2, 1),
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")]
);
#[cfg(target_arch = "x86_64")]
blocks!(
    Avx512, f64, 4, heights([12, 12, 8, 6, 5], 2, 1),
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")]
);

// 16 registers: 12 or fewer accumulators.
#[cfg(target_arch = "x86_64")]
blocks!(
    Avx2, f32, 2, heights([10, 6, 3, 2, 0], 1, 0),
    #[target_feature(enable = "avx2,fma,f16c")]
);
#[cfg(target_arch = "x86_64")]
blocks!(
    Avx2, f64, 2, heights([10, 6, 3, 2, 0], 1, 0),
    #[target_feature(enable = "avx2,fma,f16c")]
);

// 32 registers, as on AVX-512.
#[cfg(target_arch = "aarch64")]
blocks!(
    Neon, f32, 4, heights([12, 12, 8, 6, 5], 2, 1),
    #[target_feature(enable = "neon")]
);
#[cfg(target_arch = "aarch64")]
blocks!(
    Neon, f64, 4, heights([12, 12, 8, 6, 5], 2, 1),
    #[target_feature(enable = "neon")]
);

// 8 of 16 registers, since the product needs one more for lack of a fused form and a vector is two of them.
blocks!(Portable, f32, 1, heights([4, 0, 0, 0, 0], 0, 0),);
blocks!(Portable, f64, 1, heights([4, 0, 0, 0, 0], 0, 0),);
