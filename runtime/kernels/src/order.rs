//! Stable orders: of integer keys, by which rows and keys meet in one bucket, and of scores, by which they are ranked.

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
    if counted(keys, order) || inverted(keys, order) {
        return;
    }
    order.iter_mut().zip(0..).for_each(|(place, at)| *place = at);
    // No two pairs are equal, so the order is that of a stable sort, without its scratch memory.
    order.sort_unstable_by_key(|at| (keys[*at as usize], *at));
}

/// Keys that lie so near to each other are counted.
const COUNTED: usize = 1024;

/// The order of keys from a short range, by how many there are of each; false, and nothing is written, of others.
fn counted(keys: &[i64], order: &mut [i64]) -> bool {
    let (least, most) = keys.iter().fold((i64::MAX, i64::MIN), |(least, most), key| (least.min(*key), most.max(*key)));
    if most.abs_diff(least) >= COUNTED as u64 {
        return false;
    }
    let bucket = |key: i64| key.abs_diff(least) as usize;
    let mut next = [0; COUNTED];
    keys.iter().for_each(|key| next[bucket(*key)] += 1);
    let mut before = 0;
    for place in &mut next {
        before += std::mem::replace(place, before);
    }
    for (at, key) in (0..).zip(keys) {
        let place = &mut next[bucket(*key)];
        order[*place] = at;
        *place += 1;
    }
    true
}

/// The order of keys that are an order themselves: its inverse. False, and `order` holds anything, of others.
fn inverted(keys: &[i64], order: &mut [i64]) -> bool {
    order.fill(-1);
    for (at, key) in (0..).zip(keys) {
        match usize::try_from(*key).ok().and_then(|key| order.get_mut(key)) {
            Some(place) if *place < 0 => *place = at,
            _ => return false,
        }
    }
    true
}

/// A number that is smaller for what comes earlier in a descending order.
trait Descending: Copy {
    fn place(self) -> u64;
    /// Whether it stands at the other's place or a later one; false where that is not told by one comparison.
    fn is_not_before(self, other: Self) -> bool;
}

impl Descending for f64 {
    fn place(self) -> u64 {
        if self.is_nan() {
            return u64::MAX;
        }
        // Zeros are equal.
        let bits = if self == 0.0 { 0 } else { self.to_bits() };
        let ascending = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
        !ascending
    }

    fn is_not_before(self, other: Self) -> bool {
        self <= other
    }
}

impl Descending for i64 {
    fn place(self) -> u64 {
        !(self as u64 ^ 1 << 63)
    }

    fn is_not_before(self, other: Self) -> bool {
        self <= other
    }
}

/// Most places that are found by insertion: what is inserted is seldom, and moves few.
const MOST_FIRST: usize = 64;

/// Keys that are compared at once with the last of the first ones.
const TOGETHER: usize = 16;

/// The places of the keys that come first in a stable order, with their indices; there are as many keys at least.
fn first_places<T: Descending>(keys: &[T], first: &mut [(u64, usize)]) {
    let Some(end) = first.len().checked_sub(1) else { return };
    for (at, key) in keys[..end + 1].iter().enumerate() {
        insert((key.place(), at), first, at);
    }
    for (start, some) in (end + 1..).step_by(TOGETHER).zip(keys[end + 1..].chunks(TOGETHER)) {
        // Few keys come before the last.
        let last = keys[first[end].1];
        if some.iter().fold(true, |all, key| all & key.is_not_before(last)) {
            continue;
        }
        for (at, key) in (start..).zip(some) {
            let place = key.place();
            if place < first[end].0 {
                insert((place, at), first, end);
            }
        }
    }
}

/// As [`first_places`], of the keys that are counted; how many of them there are, or as many as fit.
fn first_counted<T: Descending>(keys: &[T], counted: &[i32], first: &mut [(u64, usize)]) -> usize {
    let Some(end) = first.len().checked_sub(1) else { return 0 };
    let mut found = 0;
    let starts = (0..).step_by(TOGETHER);
    for (start, (some, of)) in starts.zip(keys.chunks(TOGETHER).zip(counted.chunks(TOGETHER))) {
        let full = found > end;
        let last = keys[first[end].1];
        if full && some.iter().zip(of).fold(true, |all, (key, of)| all & (key.is_not_before(last) | (*of == 0))) {
            continue;
        }
        for (at, (key, of)) in (start..).zip(some.iter().zip(of)) {
            let place = key.place();
            if *of == 0 || found > end && place >= first[end].0 {
                continue;
            }
            insert((place, at), first, found.min(end));
            found = (found + 1).min(end + 1);
        }
    }
    found
}

/// The indices of the keys that come first, in their order, of those that are counted, at the start of `order`; how many
/// there are. A key is looked at again only where it comes before the last of the first ones so far.
fn first_of_many<T: Descending>(keys: &[T], counted: Option<&[i32]>, order: &mut [i64], limit: usize) -> usize {
    let Some(end) = limit.checked_sub(1) else { return 0 };
    let key = |at: &i64| (keys[*at as usize].place(), *at);
    let room = (2 * limit).max(MOST_FIRST).min(order.len());
    let (mut found, mut last) = (0, None);
    for (start, some) in (0..).step_by(TOGETHER).zip(keys.chunks(TOGETHER)) {
        if let Some(last) = last
            && some.iter().fold(true, |all, key| all & key.is_not_before(keys[last as usize]))
        {
            continue;
        }
        for at in start..start + some.len() {
            let is_counted = counted.is_none_or(|counted| counted[at] != 0);
            if !is_counted || last.is_some_and(|last: i64| key(&(at as i64)) > key(&last)) {
                continue;
            }
            if found == room && limit < room {
                let (_, at, _) = order[..found].select_nth_unstable_by_key(end, key);
                (last, found) = (Some(*at), limit);
            }
            order[found] = at as i64;
            found += 1;
        }
    }
    if limit < found {
        order[..found].select_nth_unstable_by_key(end, key);
        found = limit;
    }
    order[..found].sort_unstable_by_key(key);
    found
}

/// Places of keys among those that are counted: the first of these are told apart, and what comes after all of them stands
/// at their number.
fn places_among<T: Descending>(keys: &[T], first: &[(u64, usize)], dst: &mut [i64]) {
    let Some(last) = first.last() else { return dst.fill(0) };
    for (at, (key, place)) in keys.iter().zip(dst).enumerate() {
        let own = (key.place(), at);
        *place = match own > *last {
            true => first.len() as i64,
            false => first.partition_point(|key| *key < own) as i64,
        };
    }
}

/// Puts a key among the `found` that come before it or stand after it, over what stands there.
fn insert(key: (u64, usize), first: &mut [(u64, usize)], found: usize) {
    let mut p = found;
    while p > 0 && key.0 < first[p - 1].0 {
        first[p] = first[p - 1];
        p -= 1;
    }
    first[p] = key;
}

/// Places of the keys of each row in its stable descending order, as [`crate::table::Ranks`] says.
///
/// # Safety
/// As there.
#[allow(clippy::too_many_arguments, reason = "the C signature of ranks")]
unsafe fn ranks<T: Descending>(
    rows: usize,
    cols: usize,
    keys: *const T,
    keys_rs: isize,
    counted: *const i32,
    counted_rs: isize,
    order: *mut i64,
    dst: *mut i64,
    dst_rs: isize,
    limit: usize,
) {
    if rows == 0 || cols == 0 {
        return;
    }
    // SAFETY: the caller's `cols` elements.
    (0..cols).for_each(|at| unsafe { order.add(at).write(0) });
    for row in 0..rows as isize {
        // SAFETY: rows of `cols` elements each, apart from one another; `order` is written before.
        let (keys, order, dst) = unsafe {
            (
                core::slice::from_raw_parts(keys.offset(row * keys_rs), cols),
                core::slice::from_raw_parts_mut(order, cols),
                core::slice::from_raw_parts_mut(dst.offset(row * dst_rs), cols),
            )
        };
        // SAFETY: a row of `cols` elements, if there are any.
        let counted = (!counted.is_null())
            .then(|| unsafe { core::slice::from_raw_parts(counted.offset(row * counted_rs), cols) });
        places(keys, counted, (order, dst), limit.min(cols));
    }
}

/// The places of one row's keys. No two pairs of a key and an index are equal, so the order is that of a stable sort.
fn places<T: Descending>(keys: &[T], counted: Option<&[i32]>, (order, dst): (&mut [i64], &mut [i64]), limit: usize) {
    let mut first = [(u64::MAX, 0); MOST_FIRST];
    match (counted, limit <= MOST_FIRST) {
        (None, true) => {
            first_places(keys, &mut first[..limit]);
            dst.fill(limit as i64);
            first[..limit].iter().zip(0..).for_each(|((_, at), p)| dst[*at] = p);
        }
        (None, false) => {
            first_of_many(keys, None, order, limit);
            dst.fill(limit as i64);
            order[..limit].iter().zip(0..).for_each(|(at, p)| dst[*at as usize] = p);
        }
        (Some(counted), true) => {
            let found = first_counted(keys, counted, &mut first[..limit]);
            places_among(keys, &first[..found], dst);
        }
        (Some(counted), false) => {
            let found = first_of_many(keys, Some(counted), order, limit);
            dst.fill(found as i64);
            let first = &order[..found];
            first.iter().zip(0..).for_each(|(at, p)| dst[*at as usize] = p);
            let own = |at: i64| (keys[at as usize].place(), at);
            let Some(last) = first.last().map(|at| own(*at)) else { return };
            for (at, place) in (0..).zip(dst).filter(|(at, _)| counted[*at as usize] == 0) {
                let this = own(at);
                if this < last {
                    *place = first.partition_point(|key| own(*key) < this) as i64;
                }
            }
        }
    }
}

macro_rules! ranks {
    ($($(#[$doc:meta])* $name:ident: $t:ty,)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// As [`crate::table::Ranks`] says.
        #[allow(clippy::too_many_arguments, reason = "the C signature of ranks")]
        pub(crate) unsafe extern "C" fn $name(
            rows: usize, cols: usize, keys: *const $t, keys_rs: isize, counted: *const i32, counted_rs: isize,
            order: *mut i64, dst: *mut i64, dst_rs: isize, limit: usize,
        ) {
            // SAFETY: the caller's.
            unsafe { ranks(rows, cols, keys, keys_rs, counted, counted_rs, order, dst, dst_rs, limit) }
        }
    )*};
}

ranks! {
    /// Places in a stable descending order of numbers, NaN last.
    ranks_f64: f64,
    /// Places in a stable descending order of integers.
    ranks_i64: i64,
}
