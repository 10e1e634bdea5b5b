//! Functions of `f32` element by element through `f64`.

macro_rules! through_f64 {
    ($($name:ident)*) => {$(
        /// Correctly rounded but for halfway cases.
        ///
        /// # Safety
        /// Both must be valid for `n` elements, and equal or apart.
        pub(crate) unsafe extern "C" fn $name(dst: *mut f32, src: *const f32, n: usize) {
            for i in 0..n {
                // SAFETY: `i < n`.
                unsafe {
                    let x = f64::from(src.add(i).read_unaligned());
                    dst.add(i).write_unaligned(libm::$name(x) as f32);
                }
            }
        }
    )*};
}

through_f64!(expm1 log log1p tanh sin cos erf);
