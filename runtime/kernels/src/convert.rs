//! Between `f32` and the 16-bit formats.
//!
//! The bfloat16 bodies are plain loops over bits that every instruction set's compilation vectorises.

use half::f16;

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
            let x = src.add(i).read_unaligned();
            let bits = x.to_bits();
            let even = (bits >> 16) & 1;
            let rounded = bits.wrapping_add(0x7fff + even) >> 16;
            // A NaN whose payload is only in the lower half must not become an infinity.
            let quiet = (bits >> 16) | 0x0040;
            dst.add(i).write_unaligned(if x.is_nan() { quiet } else { rounded } as u16);
        }
    }
}

/// IEEE half to `f32`.
///
/// # Safety
/// As for [`widen_bf16`].
#[inline(always)]
pub(crate) unsafe fn widen_f16(dst: *mut f32, src: *const u16, stride: isize, n: usize) {
    for i in 0..n {
        // SAFETY: `i < n`.
        unsafe {
            let half = f16::from_bits(src.offset(i as isize * stride).read_unaligned());
            dst.add(i).write_unaligned(half.to_f32_const());
        }
    }
}

/// `f32` to IEEE half, to nearest even.
///
/// # Safety
/// Both must be valid for `n` elements.
#[inline(always)]
pub(crate) unsafe fn narrow_f16(dst: *mut u16, src: *const f32, n: usize) {
    for i in 0..n {
        // SAFETY: `i < n`.
        unsafe { dst.add(i).write_unaligned(f16::from_f32_const(src.add(i).read_unaligned()).to_bits()) };
    }
}
