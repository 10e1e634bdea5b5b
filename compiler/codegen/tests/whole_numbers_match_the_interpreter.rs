//! Integer quotients, remainders and conversions in vectors against the interpreter: at the ends of what f64 holds, by
//! divisors of either sign, and by 0.

mod support;

use attnc_algebra::{BinaryOp, DType};
use attnc_plan::loops::{Access, Dst, Lane};
use support::sketch::Sketch;

/// Integers around the bound of what vectors of f64 take, and at both ends.
fn near_the_bound(at: i64) -> i64 {
    let base = [0, 1 << 20, 1 << 50, -(1 << 50), (1 << 50) - 9, 1 << 62, i64::MIN, i64::MAX][(at / 16) as usize % 8];
    base.wrapping_add(at % 16 - 8)
}

#[test]
fn quotients_and_remainders_by_a_scalar() {
    for divisor in [1, 2, 3, 6, 7, 1000, (1 << 31) + 1, (1 << 50) - 1, 1 << 50, i64::MAX, 0, -1, -5, i64::MIN] {
        for op in [BinaryOp::FloorDiv, BinaryOp::Mod] {
            for start in 0..8 {
                let mut s = Sketch::new(Lane::F32);
                let (one, cols) = (s.one, s.e().int(16));
                let divisors = s.buffer(DType::I64, &[one], Access::Read, None);
                let out = s.buffer(DType::I64, &[one, cols], Access::Write, None);
                let wide = s.tile(Lane::I64, one, cols);
                for at in 0..16 {
                    // Lane by lane, so that no column is affine.
                    let (value, place) = (near_the_bound(start * 16 + at), at);
                    let (value, place) = (s.e().int(value), s.e().int(place));
                    let dst = Dst::Tile { tile: wide, row: s.zero, col: place };
                    s.map(dst, one, one, value);
                }
                let (zero, row, col) = (s.zero, s.row, s.col);
                let x = s.element(wide, row, col);
                let y = s.load(divisors, &[zero]);
                let value = s.e().binary(op, x, y);
                s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, one, cols, value);
                s.check(&[], 0.0, |_, _| divisor as f64);
            }
        }
    }
}

#[test]
fn integers_as_reals() {
    for (lane, dtype) in [(Lane::F32, DType::F32), (Lane::F64, DType::F64)] {
        for start in 0..8 {
            let mut s = Sketch::new(Lane::F32);
            let (one, cols) = (s.one, s.e().int(16));
            let out = s.buffer(dtype, &[one, cols], Access::Write, None);
            let wide = s.tile(Lane::I64, one, cols);
            for at in 0..16 {
                let (value, place) = (s.e().int(near_the_bound(start * 16 + at)), s.e().int(at));
                let dst = Dst::Tile { tile: wide, row: s.zero, col: place };
                s.map(dst, one, one, value);
            }
            let (row, col) = (s.row, s.col);
            let x = s.element(wide, row, col);
            let value = s.e().cast(lane, x);
            s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, one, cols, value);
            s.check(&[], 0.0, |_, _| 0.0);
        }
    }
}
