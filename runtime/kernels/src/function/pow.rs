//! `pow` of `f32`, element by element through `f64`: correctly rounded but in a few halfway cases (0.51 ULP).

/// `dst[i] = a[i] ^ b[i]`.
///
/// # Safety
/// All three must be valid for `n` elements; `dst` is equal to or apart from the others.
pub(crate) unsafe extern "C" fn pow_f32(dst: *mut f32, a: *const f32, b: *const f32, n: usize) {
    for i in 0..n {
        // SAFETY: `i < n`.
        unsafe {
            let (a, b) = (a.add(i).read_unaligned(), b.add(i).read_unaligned());
            dst.add(i).write_unaligned(libm::pow(f64::from(a), f64::from(b)) as f32);
        }
    }
}
