//! The vector traits that algorithms are written over, one implementation per instruction set.
//!
//! A value of an implementing type is a CPU-feature token, so arithmetic is safe; loads and stores are not, for
//! their pointers. Every method is `#[inline(always)]` and must be reached from a function that carries the
//! token's `#[target_feature]`s (the table's entries do), else the intrinsics are not inlined and all is slow.
//! For the same reason the bodies hold no closures: those do not inherit the features.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod interleaved;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

pub(crate) use interleaved::Interleaved;

/// Lanes of the widest vector: no instruction set has more.
pub(crate) const MOST_LANES: usize = 16;

/// Bytes that memory comes in.
pub(crate) const CACHE_LINE: usize = 64;

/// Asks for the memory at any address, valid or not.
#[inline(always)]
pub(crate) fn prefetch<T>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which does not fault; every x86-64 CPU has it.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// An element type: `f32` or `f64`, with the scalar arithmetic of loop tails and of the sparse product.
pub(crate) trait Element:
    Copy
    + PartialOrd
    + core::ops::Add<Output = Self>
    + core::ops::Sub<Output = Self>
    + core::ops::Mul<Output = Self>
    + core::ops::Neg<Output = Self>
    + 'static
{
    const ZERO: Self;
    const ONE: Self;
    const NEG_INFINITY: Self;
    /// The least positive number that is not subnormal.
    const LEAST_NORMAL: Self;
}

impl Element for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const NEG_INFINITY: f32 = f32::NEG_INFINITY;
    const LEAST_NORMAL: f32 = f32::MIN_POSITIVE;
}

impl Element for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const NEG_INFINITY: f64 = f64::NEG_INFINITY;
    const LEAST_NORMAL: f64 = f64::MIN_POSITIVE;
}

/// A vector of `N` lanes of `T`.
pub(crate) trait Lanes<T: Element>: Copy {
    /// The vector.
    type V: Copy;
    /// What a comparison gives: a truth value per lane.
    type Mask: Copy;
    /// Selects the first lanes of a vector in partial loads and stores.
    type Head: Copy;
    /// Lanes per vector.
    const N: usize;

    fn splat(self, x: T) -> Self::V;
    /// Reads `N` elements.
    ///
    /// # Safety
    /// `p` must be valid for reading `N` elements.
    unsafe fn load(self, p: *const T) -> Self::V;
    /// Writes `N` elements.
    ///
    /// # Safety
    /// `p` must be valid for writing `N` elements.
    unsafe fn store(self, p: *mut T, v: Self::V);
    /// Asks for the line of memory at `p`, which need not be valid, in the second-level cache.
    #[inline(always)]
    fn prefetch(self, _p: *const T) {}
    /// The first `n` lanes, `n <= N`.
    fn head(self, n: usize) -> Self::Head;
    /// Whether a vector is as long as a line of memory, and there are [`Lanes::middle`] and [`Lanes::rotated`].
    const LINE: bool = false;
    /// The lanes `from .. to` as a `head`, where there is one.
    #[inline(always)]
    fn middle(self, from: usize, to: usize) -> Self::Head {
        debug_assert!(from == 0, "only the first lanes are a head");
        self.head(to)
    }
    /// Lane i is lane `(i + by) % N`, where there is [`Lanes::middle`].
    #[inline(always)]
    fn rotated(self, v: Self::V, by: usize) -> Self::V {
        debug_assert!(by == 0, "no lanes are rotated");
        v
    }
    /// Reads the elements of `head`; the other lanes are 0.
    ///
    /// # Safety
    /// `p` must be valid for reading as many elements as `head` has; no more are touched.
    unsafe fn load_head(self, p: *const T, head: Self::Head) -> Self::V;
    /// Writes the elements of `head`.
    ///
    /// # Safety
    /// `p` must be valid for writing as many elements as `head` has; no more are touched.
    unsafe fn store_head(self, p: *mut T, head: Self::Head, v: Self::V);
    /// `v` in the lanes of `head`, `other` elsewhere.
    fn keep_head(self, head: Self::Head, v: Self::V, other: Self::V) -> Self::V;

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instruction set can, twice on portable.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`, rounded like [`Lanes::fma`].
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; `b` where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a < b`, false for NaN.
    fn lt(self, a: Self::V, b: Self::V) -> Self::Mask;
    /// `a == b`, false for NaN.
    fn eq(self, a: Self::V, b: Self::V) -> Self::Mask;
    /// `a` where the mask holds, `b` elsewhere.
    fn select(self, mask: Self::Mask, a: Self::V, b: Self::V) -> Self::V;
    /// Whether any lane holds.
    fn any(self, mask: Self::Mask) -> bool;
    /// The sum of the lanes, in a fixed order.
    fn sum(self, v: Self::V) -> T;
    /// The largest lane; not defined to be NaN-aware.
    fn largest(self, v: Self::V) -> T;
}

/// Operations on as many vectors as a vector has lanes, at once: the rows of a square.
pub(crate) trait Square<T: Element>: Lanes<T> {
    /// Whether `transpose` stays in registers; else plain loops over memory are quicker.
    const SHUFFLES: bool = false;

    /// The lanes in which the mask holds, as bits.
    #[inline(always)]
    fn lanes_of(self, mask: Self::Mask) -> u64 {
        let mut lanes = [T::ZERO; MOST_LANES];
        let held = self.select(mask, self.splat(T::ONE), self.splat(T::ZERO));
        // SAFETY: no instruction set has more than 16 lanes.
        unsafe { self.store(lanes.as_mut_ptr(), held) };
        let mut bits = 0;
        for (at, lane) in lanes.iter().enumerate() {
            bits |= u64::from(*lane != T::ZERO) << at;
        }
        bits
    }
    /// `v` in the lanes whose bits are set, `other` elsewhere.
    #[inline(always)]
    fn keep_lanes(self, bits: u64, v: Self::V, other: Self::V) -> Self::V {
        let (mut lanes, mut others) = ([T::ZERO; MOST_LANES], [T::ZERO; MOST_LANES]);
        // SAFETY: no instruction set has more than 16 lanes.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            self.store(others.as_mut_ptr(), other);
            for (at, (lane, other)) in lanes.iter_mut().zip(others).enumerate() {
                if bits >> at & 1 == 0 {
                    *lane = other;
                }
            }
            self.load(lanes.as_ptr())
        }
    }
    /// Lane i is the sum of the lanes of `rows[i]`, for the first `N` rows.
    #[inline(always)]
    fn sum_of_each(self, rows: &[Self::V; 16]) -> Self::V {
        let mut out = [T::ZERO; 16];
        for (out, &row) in out.iter_mut().zip(rows).take(Self::N) {
            *out = self.sum(row);
        }
        // SAFETY: no instruction set has more than 16 lanes.
        unsafe { self.load(out.as_ptr()) }
    }
    /// Lane i is the largest lane of `rows[i]`, for the first `N` rows.
    #[inline(always)]
    fn largest_of_each(self, rows: &[Self::V; 16]) -> Self::V {
        let mut out = [T::ZERO; 16];
        for (out, &row) in out.iter_mut().zip(rows).take(Self::N) {
            *out = self.largest(row);
        }
        // SAFETY: no instruction set has more than 16 lanes.
        unsafe { self.load(out.as_ptr()) }
    }
    /// Lane i of vector j becomes lane j of vector i, for the first `N` vectors.
    #[inline(always)]
    fn transpose(self, rows: &mut [Self::V; 16]) {
        let mut cells = [[T::ZERO; 16]; 16];
        // SAFETY: no instruction set has more than 16 lanes.
        unsafe {
            for (cells, &row) in cells.iter_mut().zip(rows.iter()).take(Self::N) {
                self.store(cells.as_mut_ptr(), row);
            }
            for (i, row) in rows.iter_mut().enumerate().take(Self::N) {
                let mut column = [T::ZERO; 16];
                for (cell, cells) in column.iter_mut().zip(&cells).take(Self::N) {
                    *cell = cells[i];
                }
                *row = self.load(column.as_ptr());
            }
        }
    }
}

/// What the exponential of `f64` needs beyond [`Lanes`].
pub(crate) trait Doubles: Square<f64> {
    /// The nearest integer, ties to even, for magnitudes below 2^51.
    #[inline(always)]
    fn nearest(self, v: Self::V) -> Self::V {
        // Where the sum lies neighbours are 1 apart.
        let large = self.splat(1.5 * (1u64 << 52) as f64);
        self.sub(self.add(v, large), large)
    }
    /// `v * 2^n` for a `v` in 0.7 .. 1.5 and an integral `n` in -1000 ..= 0.
    #[inline(always)]
    fn times_power(self, v: Self::V, n: Self::V) -> Self::V {
        let (mut lanes, mut powers) = ([0.0; MOST_LANES], [0.0; MOST_LANES]);
        // SAFETY: no instruction set has more lanes.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            self.store(powers.as_mut_ptr(), n);
            for (lane, power) in lanes.iter_mut().zip(&powers).take(Self::N) {
                // A power that is no number is that of such a lane.
                *lane *= f64::from_bits(((*power as i64 + 1023) as u64) << 52);
            }
            self.load(lanes.as_ptr())
        }
    }
}

/// Weights of a softmax below two to this are 0. The products of what is left with values are no subnormal numbers, for which
/// some CPUs take a hundred times as long.
pub(crate) const LEAST_EXPONENT: f32 = -100.0;

/// What the elementary functions need beyond [`Lanes`]: rounding, and the bits of a float as integers.
pub(crate) trait FloatBits: Lanes<f32> {
    /// `N` lanes of `i32`.
    type I: Copy;
    /// Whether [`Lanes::fma`] rounds once.
    const FUSED: bool;

    /// The nearest integer, ties to even, for magnitudes below 2^22; else anything.
    fn round(self, v: Self::V) -> Self::V;
    /// The integer value of each lane, which must be integral and of magnitude below 2^22; else anything.
    fn float_to_int(self, v: Self::V) -> Self::I;
    fn int_to_float(self, i: Self::I) -> Self::V;
    fn bits(self, v: Self::V) -> Self::I;
    fn bits_to_float(self, i: Self::I) -> Self::V;
    fn int_splat(self, i: i32) -> Self::I;
    fn int_add(self, a: Self::I, b: Self::I) -> Self::I;
    fn int_sub(self, a: Self::I, b: Self::I) -> Self::I;
    fn int_and(self, a: Self::I, b: Self::I) -> Self::I;
    fn int_or(self, a: Self::I, b: Self::I) -> Self::I;
    fn int_eq(self, a: Self::I, b: Self::I) -> Self::Mask;
    /// Left by 23 bits: an integer to the place of the exponent.
    fn int_to_exponent(self, i: Self::I) -> Self::I;
    /// Left by 16 bits: the lower half to the place of the upper.
    fn int_to_upper(self, i: Self::I) -> Self::I;
    /// Right by 23 bits, keeping the sign: the exponent to an integer.
    fn exponent_to_int(self, i: Self::I) -> Self::I;
    /// Right by one bit, keeping the sign.
    fn half(self, i: Self::I) -> Self::I;
    /// `v * 2^n`, rounded once, for a normal `v` and an integral `n` in -252..=254.
    fn scale(self, v: Self::V, n: Self::V) -> Self::V;
    /// Whether [`FloatBits::scale_or_flush`] takes any `n`.
    const FLUSHES_ALL: bool = false;
    /// `v * 2^n` for `v` in 0.7 .. 1.5 and an integral `n` in -252..=0; 0 where `n` is below [`LEAST_EXPONENT`].
    ///
    /// With [`FloatBits::FLUSHES_ALL`] any `n` will do, -inf among them, and `v` may be anything where the result is 0.
    #[inline(always)]
    fn scale_or_flush(self, v: Self::V, n: Self::V) -> Self::V {
        let scaled = self.bits_to_float(self.int_add(self.bits(v), self.int_to_exponent(self.float_to_int(n))));
        self.select(self.lt(n, self.splat(LEAST_EXPONENT)), self.splat(0.0), scaled)
    }
    /// `a / b` for b in 1 ..= 2^126, within 1 ULP where it is normal.
    #[inline(always)]
    fn quotient(self, a: Self::V, b: Self::V) -> Self::V {
        self.div(a, b)
    }
    /// The magnitude.
    #[inline(always)]
    fn abs(self, v: Self::V) -> Self::V {
        let bits = self.int_and(self.bits(v), self.int_splat(i32::MAX));
        self.bits_to_float(bits)
    }
    /// The lanes from last to first.
    #[inline(always)]
    fn reversed(self, v: Self::V) -> Self::V {
        let mut lanes = [0.0; MOST_LANES];
        // SAFETY: no vector has more lanes.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            lanes[..Self::N].reverse();
            self.load(lanes.as_ptr())
        }
    }
    /// The magnitude of the first with the sign of the second; the first must not be negative.
    #[inline(always)]
    fn with_sign(self, magnitude: Self::V, sign: Self::V) -> Self::V {
        let bits = self.int_and(self.bits(sign), self.int_splat(i32::MIN));
        self.bits_to_float(self.int_or(self.bits(magnitude), bits))
    }
}

/// Conversion of narrow formats.
pub(crate) trait Halves: Lanes<f32> {
    /// `N` halves, widened.
    ///
    /// # Safety
    /// `p` must be valid for reading `N` elements.
    #[inline(always)]
    unsafe fn load_halves(self, p: *const u16) -> Self::V {
        let mut out = [0.0; 16];
        for (i, out) in out.iter_mut().enumerate().take(Self::N) {
            // SAFETY: `i < N`.
            *out = half::f16::from_bits(unsafe { p.add(i).read_unaligned() }).to_f32_const();
        }
        // SAFETY: no instruction set has more than 16 lanes.
        unsafe { self.load(out.as_ptr()) }
    }
    /// `N` bfloat16, widened.
    ///
    /// # Safety
    /// `p` must be valid for reading `N` elements.
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> Self::V {
        let mut out = [0.0; 16];
        for (i, out) in out.iter_mut().enumerate().take(Self::N) {
            // SAFETY: `i < N`.
            *out = f32::from_bits(u32::from(unsafe { p.add(i).read_unaligned() }) << 16);
        }
        // SAFETY: no instruction set has more than 16 lanes.
        unsafe { self.load(out.as_ptr()) }
    }
    /// `N` bytes as numbers.
    ///
    /// # Safety
    /// `p` must be valid for reading `N` elements.
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const i8) -> Self::V {
        let mut out = [0.0; 16];
        for (i, out) in out.iter_mut().enumerate().take(Self::N) {
            // SAFETY: `i < N`.
            *out = f32::from(unsafe { p.add(i).read() });
        }
        // SAFETY: no instruction set has more than 16 lanes.
        unsafe { self.load(out.as_ptr()) }
    }
    /// `N` halves, rounded to nearest even.
    ///
    /// # Safety
    /// `p` must be valid for writing `N` elements.
    #[inline(always)]
    unsafe fn store_halves(self, p: *mut u16, v: Self::V) {
        let mut lanes = [0.0; 16];
        // SAFETY: no instruction set has more than 16 lanes.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        for (i, &lane) in lanes.iter().enumerate().take(Self::N) {
            // SAFETY: `i < N`.
            unsafe { p.add(i).write_unaligned(half::f16::from_f32_const(lane).to_bits()) };
        }
    }
}

/// [`FloatBits::scale`] without an instruction for it: two factors `2^n`, of which only the second can round.
#[inline(always)]
pub(crate) fn scale_in_two_steps<S: FloatBits>(s: S, v: S::V, n: S::V) -> S::V {
    let n = s.float_to_int(n);
    let first = s.half(n);
    let second = s.int_sub(n, first);
    let bias = s.int_splat(127);
    let first = s.bits_to_float(s.int_to_exponent(s.int_add(first, bias)));
    let second = s.bits_to_float(s.int_to_exponent(s.int_add(second, bias)));
    s.mul(s.mul(v, first), second)
}
