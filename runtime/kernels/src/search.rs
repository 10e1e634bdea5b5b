//! Search in non-decreasing integer tables: where a key's run, or a row's span, begins.

macro_rules! lower_bound {
    ($name:ident, $t:ty) => {
        /// The first index in `0 ..= n` whose element is at least `value`.
        ///
        /// # Safety
        /// `table` must be valid for `n` elements `stride` apart.
        pub(crate) unsafe extern "C" fn $name(table: *const $t, stride: isize, n: usize, value: i64) -> usize {
            let (mut low, mut length) = (0, n);
            while length > 0 {
                let middle = low + length / 2;
                // SAFETY: `middle < low + length <= n`.
                let element = unsafe { table.offset(middle as isize * stride).read_unaligned() };
                if i64::from(element) < value {
                    length -= middle + 1 - low;
                    low = middle + 1;
                } else {
                    length = middle - low;
                }
            }
            low
        }
    };
}

lower_bound!(lower_bound_i32, i32);
lower_bound!(lower_bound_i64, i64);
