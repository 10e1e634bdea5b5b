//! The stable order of integer keys: which rows and keys meet in one bucket.

/// Writes the index of the key that is number p in ascending order to `order[p]`; equal keys stand by index.
///
/// # Safety
/// `keys` must be valid for reading and `order` for writing `n` elements, both aligned to 8 bytes and apart.
pub(crate) unsafe extern "C" fn order_keys(keys: *const i64, order: *mut i64, n: usize) {
    if n == 0 {
        return;
    }
    // SAFETY: the caller's `n` keys.
    let keys = unsafe { core::slice::from_raw_parts(keys, n) };
    for at in 0..n {
        // SAFETY: `at < n`.
        unsafe { order.add(at).write(at as i64) };
    }
    // SAFETY: the caller's `n` elements, written above.
    let order = unsafe { core::slice::from_raw_parts_mut(order, n) };
    // Sorted keys, as documents have them, are already in order.
    if keys.is_sorted() {
        return;
    }
    // No two pairs are equal, so the order is that of a stable sort, without its scratch memory.
    order.sort_unstable_by_key(|at| (keys[*at as usize], *at));
}
