//! `pow` of `f32` through `f64`: correctly rounded but in a few halfway cases (0.51 ULP).
//!
//! `|a|^b = e^(b ln |a|)` in f64, by series that are exact to 4e-14 and with no branch, so that blocks of elements are
//! vectors of whatever instruction set the caller has; no product is fused, so all sets give the same bits. Zeros,
//! infinities, NaN and exponents that are no finite numbers go to `libm`, one by one.

use core::f64::consts::{LN_2, LOG2_E};

use super::exp64::SERIES;

/// Elements of a block.
const BLOCK: usize = 16;
/// `1.5 * 2^52`: what is added to it is rounded to an integer, in its lowest bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// `2^(52 - 149)`: what is added to it is rounded to a multiple of the least `f32`, in its lowest bits.
const UNITS: f64 = f64::from_bits((1023 + 52 - 149) << 52);
/// The bits of the square root of 1/2, the least `m` of `|a| = 2^e m`.
const SQRT_HALF_BITS: u64 = 0x3fe6_a09e_667f_3bcd;
const ONE_BITS: u64 = 0x3ff0_0000_0000_0000;
/// Beyond this the power is infinite or 0 as an `f32`.
const FARTHEST: f64 = 200.0;
/// `1/(2k + 1)` for the logarithm, the highest power first.
const ODD: [f64; 8] = [1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];
/// `dst[i] = a[i] ^ b[i]`.
///
/// # Safety
/// All three must be valid for `n` elements; `dst` is equal to or apart from the others.
#[inline(always)]
pub(crate) unsafe fn pow_f32(dst: *mut f32, a: *const f32, b: *const f32, n: usize) {
    let mut from = 0;
    while from < n {
        let count = BLOCK.min(n - from);
        let (mut base, mut exponent, mut power) = ([1.0f32; BLOCK], [1.0f32; BLOCK], [0.0f32; BLOCK]);
        // SAFETY: `from + count <= n`.
        unsafe {
            core::ptr::copy_nonoverlapping(a.add(from), base.as_mut_ptr(), count);
            core::ptr::copy_nonoverlapping(b.add(from), exponent.as_mut_ptr(), count);
        }
        let mut special = false;
        for i in 0..BLOCK {
            power[i] = finite_power(f64::from(base[i]), f64::from(exponent[i]));
            special |= is_special(base[i], exponent[i]);
        }
        if special {
            for i in 0..BLOCK {
                if is_special(base[i], exponent[i]) {
                    power[i] = libm::pow(f64::from(base[i]), f64::from(exponent[i])) as f32;
                }
            }
        }
        // SAFETY: as above.
        unsafe { core::ptr::copy_nonoverlapping(power.as_ptr(), dst.add(from), count) };
        from += count;
    }
}

/// Whether [`finite_power`] does not hold.
#[inline(always)]
fn is_special(base: f32, exponent: f32) -> bool {
    let magnitude = base.abs();
    // Written so that a NaN is special.
    !((magnitude > 0.0) & (magnitude < f32::INFINITY) & (exponent.abs() < f32::INFINITY))
}

/// `a^b` for a finite `a` other than 0 and a finite `b`; NaN where `a` is negative and `b` no integer.
#[inline(always)]
fn finite_power(a: f64, b: f64) -> f32 {
    let bits = a.abs().to_bits();
    // The exponent, biased while it is shifted, since there is no vector shift that keeps a sign everywhere.
    let biased = bits.wrapping_add(ONE_BITS - SQRT_HALF_BITS) >> 52;
    let e = f64::from_bits(ROUNDER.to_bits().wrapping_add(biased)) - ROUNDER - 1023.0;
    let m = f64::from_bits(bits.wrapping_sub(biased << 52).wrapping_add(ONE_BITS));
    let f = (m - 1.0) / (m + 1.0);
    let square = f * f;
    let mut series = ODD[0];
    for coefficient in &ODD[1..] {
        series = series * square + coefficient;
    }
    let log = e * LN_2 + 2.0 * f * series;
    let t = (b * log).clamp(-FARTHEST, FARTHEST);
    let whole = t * LOG2_E + ROUNDER;
    let r = t - (whole - ROUNDER) * LN_2;
    // From the 11th power down: two fewer than f64 itself needs.
    let mut exp = SERIES[2];
    for coefficient in &SERIES[3..] {
        exp = exp * r + coefficient;
    }
    let power = f64::from_bits(exp.to_bits().wrapping_add(whole.to_bits() << 52));
    narrowed(with_sign(a, b, power))
}

/// The nearest `f32`, but by no operation that has a subnormal result, for which some processors stop for a hundred
/// cycles. What is subnormal is a multiple of 2^-149 that a sum rounds to an integer, and its bits are that integer.
#[inline(always)]
fn narrowed(power: f64) -> f32 {
    let magnitude = power.abs();
    let faint = magnitude < f64::from(f32::MIN_POSITIVE);
    let normal = if faint { 0.0 } else { power } as f32;
    let units = (magnitude + UNITS).to_bits() as u32 | ((power.to_bits() >> 32) as u32 & 0x8000_0000);
    f32::from_bits(if faint { units } else { normal.to_bits() })
}

/// `|a|^b` with the sign of `a^b`; NaN where there is none. An f32 exponent of 2^24 or more is even. In integers, since
/// bases of either sign would make a branch go wrong half of the time.
#[inline(always)]
fn with_sign(a: f64, b: f64, power: f64) -> f64 {
    let b = b.abs().min(16_777_216.0);
    let rounded = b + ROUNDER;
    let negative = a.to_bits() >> 63;
    let odd = rounded.to_bits() & 1;
    let no_integer = u64::from(rounded - ROUNDER != b);
    let nan = 0u64.wrapping_sub(negative & no_integer) & f64::NAN.to_bits();
    f64::from_bits((power.to_bits() | nan) ^ (negative & odd) << 63)
}
