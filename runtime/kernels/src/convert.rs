//! Between `f32` and the 16-bit formats.
//!
//! The bfloat16 bodies are plain loops over bits that every instruction set's compilation vectorises.

use crate::lanes::Halves;

/// bfloat16 to `f32`: the upper half of its bits.
///
/// # Safety
/// `dst` must be valid for `n` elements, `src` for `n` elements `stride` apart.
#[inline(always)]
pub(crate) unsafe fn widen_bf16(dst: *mut f32, src: *const u16, stride: isize, n: usize) {
    for i in 0..n {
        // SAFETY: `i < n`.
        unsafe {
            let bits = src.offset(i as isize * stride).read_unaligned();
            dst.add(i).write_unaligned(f32::from_bits(u32::from(bits) << 16));
        }
    }
}

/// `f32` to bfloat16, to nearest even.
///
/// # Safety
/// Both must be valid for `n` elements.
#[inline(always)]
pub(crate) unsafe fn narrow_bf16(dst: *mut u16, src: *const f32, n: usize) {
    for i in 0..n {
        // SAFETY: `i < n`.
        unsafe {
            dst.add(i).write_unaligned(nearest_bf16(src.add(i).read_unaligned()));
        }
    }
}

/// The nearest bfloat16, ties to even.
#[inline(always)]
pub(crate) fn nearest_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let even = (bits >> 16) & 1;
    let rounded = bits.wrapping_add(0x7fff + even) >> 16;
    // A NaN whose payload is only in the lower half must not become an infinity.
    let quiet = (bits >> 16) | 0x0040;
    if x.is_nan() { quiet as u16 } else { rounded as u16 }
}

/// IEEE half to `f32`.
///
/// # Safety
/// As for [`widen_bf16`].
#[inline(always)]
pub(crate) unsafe fn widen_f16<S: Halves>(s: S, dst: *mut f32, src: *const u16, stride: isize, n: usize) {
    let mut i = 0;
    while i < n {
        let count = (n - i).min(S::N);
        // SAFETY: elements `i .. i + count` of the caller's; the array holds a vector.
        unsafe {
            if stride == 1 && count == S::N {
                s.store(dst.add(i), s.load_halves(src.add(i)));
            } else {
                let mut halves = [0; 16];
                for (at, half) in halves.iter_mut().enumerate().take(count) {
                    *half = src.offset((i + at) as isize * stride).read_unaligned();
                }
                s.store_head(dst.add(i), s.head(count), s.load_halves(halves.as_ptr()));
            }
        }
        i += count;
    }
}

/// `f32` to IEEE half, to nearest even.
///
/// # Safety
/// Both must be valid for `n` elements.
#[inline(always)]
pub(crate) unsafe fn narrow_f16<S: Halves>(s: S, dst: *mut u16, src: *const f32, n: usize) {
    let mut i = 0;
    while i + S::N <= n {
        // SAFETY: `i + N <= n`.
        unsafe { s.store_halves(dst.add(i), s.load(src.add(i))) };
        i += S::N;
    }
    let mut halves = [0; 16];
    // SAFETY: `n - i` elements are left, less than a vector, which the array holds.
    unsafe {
        s.store_halves(halves.as_mut_ptr(), s.load_head(src.wrapping_add(i), s.head(n - i)));
        for (at, &half) in halves.iter().enumerate().take(n - i) {
            dst.add(i + at).write_unaligned(half);
        }
    }
}
