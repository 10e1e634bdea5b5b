//! The function table: every microkernel of one instruction set as C functions.
//!
//! Generated code reaches the microkernels only through this table, so that it holds no absolute addresses.
//! Conventions of all functions: strides are in elements and may be negative; pointers need no alignment but
//! those of `merge_spans` and of orders, which need their element's; nothing outside the described
//! elements is read or written; sizes of 0 are legal; input and output are apart unless said otherwise; no
//! function allocates, keeps state or unwinds.

mod instances;

use crate::isa::Isa;

/// `(m, n, k, a, a_rs, a_cs, b, b_rs, c, c_rs, accumulate, scale)`:
/// `C[m, n] = (accumulate != 0 ? C : 0) + A[m, k] B[k, n]`, row r of C first multiplied by `scale[r]` unless `scale` is
/// null.
///
/// Row and column strides of A are free, B and C have unit column stride. Each element of C is one chain of
/// multiply-adds over k in ascending order, so its bits do not depend on how m, n or k are cut into calls. With
/// `k = 0` and without `accumulate`, C becomes 0.
pub type Product<T> =
    unsafe extern "C" fn(usize, usize, usize, *const T, isize, isize, *const T, isize, *mut T, isize, u64, *const T);

/// `(m, n, k, a, a_rs, a_cs, b, b_rs, c, c_rs, masked)`: `C[m, n]` becomes the largest of what it was and of
/// `A[m, k] + B[k, n]` over k, or the least; NaN where one of these is.
///
/// Row and column strides of A are free, B and C have unit column stride. If `masked` is not 0, elements of A that are -inf
/// (of a least, inf) contribute nothing, whatever they meet.
pub type MaxPlus<T> =
    unsafe extern "C" fn(usize, usize, usize, *const T, isize, isize, *const T, isize, *mut T, isize, u64);

/// As [`Product`] of `f32` with a B of another type, for few rows, and without `scale`.
pub type ProductOf<T> =
    unsafe extern "C" fn(usize, usize, usize, *const f32, isize, isize, *const T, isize, *mut f32, isize, u64);

/// `(m, n, k, first, a, a_rs, a_cs, b, b_rs, c, c_rs, flags, scale, factor)`: `C[m, n] = (accumulate ? C : 0) + A[m, k] B[k, n]`
/// times `factor`, with A rounded to bfloat16 and B of bfloat16 in pairs of rows.
///
/// Element (k, j) of B is the lower half of word j of row `(first + k) div 2` if `first + k` is even, else the upper; `first` is 0
/// or 1. What lies beside B's rows in their words may hold anything. `b_rs` counts halves and is even. Bits of `flags`: 1 for
/// `accumulate`; 2: an element of A that rounds to exactly 0 contributes nothing, whatever it meets; 4: where C is -inf it stays so,
/// and nothing accumulates. Row r of C is first multiplied by `scale[r]` unless `scale` is null or nothing accumulates. `factor` is 1
/// where something accumulates or zeros are masked.
///
/// Products and sums are of `f32`, over k in ascending order, two terms at a time: how they are rounded inside a pair is the
/// instruction set's, and equal calls give equal bits on equal instruction sets.
pub type ProductPairs = unsafe extern "C" fn(
    usize,
    usize,
    usize,
    usize,
    *const f32,
    isize,
    isize,
    *const u16,
    isize,
    *mut f32,
    isize,
    u64,
    *const f32,
    f32,
);

/// `(m, n, k, e, a, a_rs, a_cs, keys, keys_rs, keys_first, values, values_rs, values_first, s, s_rs, max, sum, alpha, c, c_rs,
/// factor)`: `S[m, n] = factor A[m, k] K[k, n]`, the [`SoftmaxUpdate`] of S with `max`, `sum` and `alpha`, and `C[m, e] = alpha C + S[m, n] V[n, e]`,
/// K and V of bfloat16 in pairs of rows as for [`ProductPairs`]. What S holds afterwards is not said.
pub type AttendPairs = unsafe extern "C" fn(
    usize,
    usize,
    usize,
    usize,
    *const f32,
    isize,
    isize,
    *const u16,
    isize,
    usize,
    *const u16,
    isize,
    usize,
    *mut f32,
    isize,
    *mut f32,
    *mut f32,
    *mut f32,
    *mut f32,
    isize,
    f32,
);

/// `(rows, cols, dst, dst_rs, src, src_rs, src_cs)`: `dst` is the B of [`ProductPairs`] that holds `src[rows, cols]`, rounded to
/// bfloat16 if it is of `f32`; a last row without another has 0 beside it. `dst_rs` counts halves and is even.
pub type PackPairs<T> = unsafe extern "C" fn(usize, usize, *mut u16, isize, *const T, isize, isize);

/// `(m, n, k, w, w_rs, w_cs, a, a_rs, a_cs, b, b_rs, c, c_rs, accumulate)`:
/// `C[m, n] = (accumulate != 0 ? C : 0) + sum_k W[m, k] f(A[m, k] + B[k, n])`.
///
/// Row and column strides of W and A are free, B and C have unit column stride.
pub type ProductThrough = unsafe extern "C" fn(
    usize,
    usize,
    usize,
    *const f32,
    isize,
    isize,
    *const f32,
    isize,
    isize,
    *const f32,
    isize,
    *mut f32,
    isize,
    u64,
);

/// `(rows, cols, dst, dst_rs, src, src_rs, a, a_rs, b, b_rs, c, c_rs, d, d_rs)`:
/// `dst[r, k] = f(src[r, k] a[r] + b[r]) c[r] + d[r]`, every operation rounded. `dst` may equal `src`.
pub type Affine = unsafe extern "C" fn(
    usize,
    usize,
    *mut f32,
    isize,
    *const f32,
    isize,
    *const f32,
    isize,
    *const f32,
    isize,
    *const f32,
    isize,
    *const f32,
    isize,
);

/// `(rows, cols, dst, dst_rs, src, src_rs, plane, rs, cs)`: `dst[r, k] = src[r, k] + plane[r * rs + k * cs]`. `dst` may
/// equal `src`.
pub type AddPlane = unsafe extern "C" fn(usize, usize, *mut f32, isize, *const f32, isize, *const f32, isize, isize);

/// `(rows, cols, dst, dst_rs, src, src_rs, factor, start, rs, cs)`:
/// `dst[r, k] = src[r, k] + *factor * (start + r * rs + k * cs)`, positions below 2^24 in magnitude, each operation
/// rounded. `dst` may equal `src`.
pub type AddRamp = unsafe extern "C" fn(usize, usize, *mut f32, isize, *const f32, isize, *const f32, i64, i64, i64);

/// `(m, n, k, a, a_rs, b, b_rs, c, c_rs)`: `C[m, n] = A[m, k] B[n, k]^T`, the elements of B widened to `f32`.
///
/// Column strides are 1. The order of additions depends on k alone, so the bits of an element of C do not depend on how
/// m and n are cut into calls.
pub type DotProducts<T> =
    unsafe extern "C" fn(usize, usize, usize, *const f32, isize, *const T, isize, *mut f32, isize);

/// `(rows, cols, list, list_rs, room, count, most, from, to, first)`: `first + c` is added to the list of row r for every
/// c of `from[r] .. to[r]` that is less than `cols`, as far as the `room` elements of `list[r, ..]` reach; `count[r]` is how
/// many it has, and `most[0]` the largest of the counts if it was less. What follows a list in its row may be overwritten.
pub type ListSpans =
    unsafe extern "C" fn(usize, usize, *mut i64, isize, usize, *mut i64, *mut i64, *const i64, *const i64, i64);

/// `(rows, cols, list, list_rs, room, count, most, s, s_rs, first)`: as [`ListSpans`], of every c where `s[r, c]` is not -inf.
pub type ListOpen =
    unsafe extern "C" fn(usize, usize, *mut i64, isize, usize, *mut i64, *mut i64, *const f32, isize, i64);

/// `(rows, cols, n, lines, list, list_rs, count, a, a_rs, b, b_rs, c, c_rs)`: rows with the lines of B that they list.
///
/// Of dot products, `C[r, c] = sum_k A[r, k] B[list[r, c], k]` for `c < count[r]`, and -inf for the other `c < cols`; of sums,
/// `C[r, j] += sum_c A[r, c] B[list[r, c], j]` over `c < count[r]`. Lines have `n` elements. Counts beyond `cols` are `cols`, positions
/// beyond the `lines` are the last. The order of additions depends on n and on `count[r]` alone.
pub type Listed = unsafe extern "C" fn(
    usize,
    usize,
    usize,
    usize,
    *const i64,
    isize,
    *const i64,
    *const f32,
    isize,
    *const f32,
    isize,
    *mut f32,
    isize,
);

/// `(rows, cols, weights, weights_rs, list, list_rs, count)`: each row's list of `count[r]`, at most `cols`, elements keeps those whose
/// weight is not exactly 0, moved to the front with their weights; `count[r]` is how many.
pub type DropUnweighted = unsafe extern "C" fn(usize, usize, *mut f32, isize, *mut i64, isize, *mut i64);

/// `(rows, cols, dst, dst_rs, src, src_rs)`: `dst[r, c] = src[r, c]`, exactly. Column strides are 1.
pub type WidenRows<T> = unsafe extern "C" fn(usize, usize, *mut f32, isize, *const T, isize);

/// `(m, n, k, a, a_rs, a_cs, b, b_rs, c, c_rs, from, to)`: `C[m, n] = A[m, k] B[k, n]` for the columns `from[r] .. to[r]` of
/// each row r of C; the others may become anything. Spans may reach beyond the columns or be empty.
pub type ProductSpans<T> = unsafe extern "C" fn(
    usize,
    usize,
    usize,
    *const T,
    isize,
    isize,
    *const T,
    isize,
    *mut T,
    isize,
    *const i64,
    *const i64,
);

/// `(m, n, k, a, a_rs, a_cs, b, b_rs, c, c_rs, accumulate, scale, from, to)`: as [`Product`], of an A that is 0 outside of the
/// columns `from[r] .. to[r]` of each row r; what B holds there adds nothing, be it infinite or no number.
pub type ProductOfSpans<T> = unsafe extern "C" fn(
    usize,
    usize,
    usize,
    *const T,
    isize,
    isize,
    *const T,
    isize,
    *mut T,
    isize,
    u64,
    *const T,
    *const i64,
    *const i64,
);

/// `(rows, cols, s, s_rs, m, l, alpha, from, to)`: as [`SoftmaxUpdate`], as if scores outside of the columns
/// `from[r] .. to[r]` of each row r were -inf; they need not have been written.
pub type SoftmaxSpans<T> =
    unsafe extern "C" fn(usize, usize, *mut T, isize, *mut T, *mut T, *mut T, *const i64, *const i64);

/// `(rows, cols, p, rs)`: 1 if no element is NaN or infinite, else 0.
pub type AllFinite<T> = unsafe extern "C" fn(usize, usize, *const T, isize) -> u64;

/// `(rows, cols, s, s_rs, m, l, alpha)`: the row update of online softmax.
///
/// For each row r with `mx = max(m[r], max_c s[r, c])`: `alpha[r] = exp(m[r] - mx)`, or 1 where `m[r] = mx`;
/// `s[r, c] = exp(s[r, c] - mx)`, 0 where the score is -inf; `l[r] = l[r] alpha[r] + sum_c s[r, c]`; `m[r] = mx`. A
/// row of nothing but -inf stays all 0. A NaN score makes `l` of its own row NaN.
pub type SoftmaxUpdate<T> = unsafe extern "C" fn(usize, usize, *mut T, isize, *mut T, *mut T, *mut T);

/// `(rows, cols, acc, rs, alpha)`: `acc[r, c] *= alpha[r]`; rows with `alpha[r] = 1` are not touched.
pub type ScaleRows<T> = unsafe extern "C" fn(usize, usize, *mut T, isize, *const T);

/// `(rows, cols, p, rs)`: subnormal elements of `p[r, c]` become 0.
pub type Flush<T> = unsafe extern "C" fn(usize, usize, *mut T, isize);

/// `(rows, cols, s, s_rs, slack, dst)`: `dst[r]` is the column of the largest of `s[r, ..]` if that is larger than
/// every other by more than `slack[r]`, else -1. NaN counts for nothing; no lead is more than infinity or NaN.
pub type ClearLargest = unsafe extern "C" fn(usize, usize, *const f32, isize, *const f32, *mut i64);

/// `(rows, cols, s, s_rs, from, to, keep, fill)`: `s[r, c] = fill` for c outside of `from[r] .. to[r]` if `keep` is not
/// 0, else for c inside. Spans may reach beyond the columns or be empty; `fill` is the bits of an `f64`.
pub type KeepSpans<T> = unsafe extern "C" fn(usize, usize, *mut T, isize, *const i64, *const i64, u64, u64);

/// `(rows, cols, s, s_rs, least, most, keys, least2, most2, keys2, flags, fill)`: `s[r, c] = fill` unless one of the
/// ranges holds. The first does where `least[r] <= keys[c] <= most[r]` if bit 1 of `flags` is set, else where not; the
/// second likewise by bit 2, and nowhere without bit 4. `least` and `most` may be null for no bound; `fill` is the bits of an `f64`.
pub type KeepKeys<T> = unsafe extern "C" fn(
    usize,
    usize,
    *mut T,
    isize,
    *const i64,
    *const i64,
    *const i64,
    *const i64,
    *const i64,
    *const i64,
    u64,
    u64,
);

/// `(rows, cols, width, dst, dst_rs, src, src_rs, at, at_rs)`: `dst[r, at[r, c]] += src[r, c]`, one column after the
/// other; positions outside of `0 .. width` add to nothing.
pub type ScatterAdd<T> = unsafe extern "C" fn(usize, usize, usize, *mut T, isize, *const T, isize, *const i64, isize);

/// `(dst, src, n)`: `dst[i] = f(src[i])`; `dst` may equal `src`.
pub type Map = unsafe extern "C" fn(*mut f32, *const f32, usize);

/// `(dst, a, b, n)`: `dst[i] = f(a[i], b[i])`; `dst` may equal `a` or `b`.
pub type Map2 = unsafe extern "C" fn(*mut f32, *const f32, *const f32, usize);

/// A function of one `f64`: that of the `libm` crate, bit for bit.
pub type Scalar = unsafe extern "C" fn(f64) -> f64;

/// A function of two `f64`: that of the `libm` crate, bit for bit.
pub type Scalar2 = unsafe extern "C" fn(f64, f64) -> f64;

/// `(dst, src, src_stride, n)`: `dst[i] = src[i * src_stride]`, exactly.
pub type Widen = unsafe extern "C" fn(*mut f32, *const u16, isize, usize);

/// `(dst, src, n)`: `dst[i] = src[i]`, rounded to nearest, ties to even; NaN stays a quiet NaN.
pub type Narrow = unsafe extern "C" fn(*mut u16, *const f32, usize);

/// `(table, stride, n, value)`: the first index whose element is at least `value` in a non-decreasing table, `n`
/// if there is none. A table that is not sorted gives some index in `0 ..= n`.
pub type LowerBound<T> = unsafe extern "C" fn(*const T, isize, usize, i64) -> usize;

/// `(keys, order, n)`: `order[p]` is the index of the key that is number p in ascending order, equal keys by index.
pub type OrderKeys = unsafe extern "C" fn(*const i64, *mut i64, usize);

/// `(rows, cols, keys, k_rs, counted, c_rs, order, dst, d_rs, limit)`: `dst[r, c]` is the number of `keys[r, ..]` that
/// come before `keys[r, c]`: larger ones, equal ones of a lower index, and numbers before NaN; where that is `limit` or
/// more, `limit`. Unless `counted` is null, only columns whose `counted[r, c]` is not 0 are counted. `order` is scratch
/// memory of `cols` elements; all are aligned to their elements.
pub type Ranks<T> =
    unsafe extern "C" fn(usize, usize, *const T, isize, *const i32, isize, *mut i64, *mut i64, isize, usize);

/// `(spans, count, gap)`: sorts `count` pairs `(lo, hi)` in place and returns how many are left.
///
/// Empty spans (`hi <= lo`) are dropped; what overlaps, touches or lies less than `gap` apart is joined.
pub type MergeSpans = unsafe extern "C" fn(*mut i64, usize, i64) -> usize;

/// `(rows, cols, from, to, least, most, keys, inside)`: the span `from[r] .. to[r]` of each row becomes the part of it, within
/// `cols`, in which `least[r] <= keys[c] <= most[r]` if `inside` is not 0, else `keys[c] < least[r]` or `most[r] < keys[c]`. A null end
/// is no bound; outside, one is. Keys do not descend within a span; if they do, any part of it may be left.
pub type NarrowSpans = unsafe extern "C" fn(usize, usize, *mut i64, *mut i64, *const i64, *const i64, *const i64, u64);

/// `(rows, cols, dst, dst_rs, src, src_rs)`: `dst[c * dst_rs + r] = src[r * src_rs + c]`.
pub type Transpose<T> = unsafe extern "C" fn(usize, usize, *mut T, isize, *const T, isize);

/// Declares the table of functions, and how one is found by its name: the one list of them.
macro_rules! kernel_table {
    ($(#[$about:meta])* pub struct $table:ident { $($(#[$doc:meta])* pub $field:ident: $function:ty,)* }) => {
        $(#[$about])*
        pub struct $table {
            $($(#[$doc])* pub $field: $function,)*
        }

        impl $table {
            /// The address of a function by its field's name. What it takes is its field's type.
            pub fn address(&self, name: &str) -> Option<*const ()> {
                match name {
                    $(stringify!($field) => Some(self.$field as *const ()),)*
                    _ => None,
                }
            }
        }
    };
}

kernel_table! {
    /// The microkernels of one instruction set.
    ///
    /// # Safety
    /// Every function requires its pointers to be valid for the elements it describes. A table is only handed out
    /// where the CPU has the instructions ([`table`]).
    #[repr(C)]
    #[derive(Clone, Copy, Debug)]
    pub struct KernelTable {
        /// Tile product of `f32`.
        pub product_f32: Product<f32>,
        /// Tile product of `f64`.
        pub product_f64: Product<f64>,
        /// Tile product in which an exactly zero element of A contributes nothing, whatever B holds; quick where B is finite.
        pub product_sparse_f32: Product<f32>,
        /// As `product_sparse_f32`.
        pub product_sparse_f64: Product<f64>,
        /// Tile product, but where C is -inf it stays so; the last two arguments are not read, and nothing accumulates.
        pub product_open_f32: Product<f32>,
        /// As `product_open_f32`.
        pub product_open_f64: Product<f64>,
        /// Tile product whose terms are rounded before they are added, in ascending order of the summed axis.
        pub product_rounded_f64: Product<f64>,
        /// Tile product in each row's span.
        pub product_spans_f32: ProductSpans<f32>,
        /// As `product_spans_f32`.
        pub product_spans_f64: ProductSpans<f64>,
        /// Tile product over each row's span.
        pub product_of_spans_f32: ProductOfSpans<f32>,
        /// As `product_of_spans_f32`.
        pub product_of_spans_f64: ProductOfSpans<f64>,
        /// Whether all is finite.
        pub all_finite_f32: AllFinite<f32>,
        /// Whether all is finite.
        pub all_finite_f64: AllFinite<f64>,
        /// Online softmax; exponentials with a relative error of at most `1e-7 + 2e-9 |x|`, and weights below 2^-100
        /// are 0.
        pub softmax_update_f32: SoftmaxUpdate<f32>,
        /// Online softmax; exponentials within 1.5 ULP (2 on portable).
        pub softmax_update_f64: SoftmaxUpdate<f64>,
        /// As `softmax_update_f32`, over each row's span.
        pub softmax_spans_f32: SoftmaxSpans<f32>,
        /// As `softmax_update_f64`, over each row's span.
        pub softmax_spans_f64: SoftmaxSpans<f64>,
        /// Rows times a number each.
        pub scale_rows_f32: ScaleRows<f32>,
        /// Rows times a number each.
        pub scale_rows_f64: ScaleRows<f64>,
        /// Numbers that are not subnormal.
        pub flush_f32: Flush<f32>,
        /// Numbers that are not subnormal.
        pub flush_f64: Flush<f64>,
        /// e^x, within 1.1 ULP (1.2 on portable).
        pub exp_f32: Map,
        /// e^x - 1, within 2 ULP.
        pub expm1_f32: Map,
        /// Natural logarithm, within 1 ULP.
        pub log_f32: Map,
        /// Natural logarithm of 1 + x, within 1 ULP.
        pub log1p_f32: Map,
        /// Hyperbolic tangent, within 3 ULP.
        pub tanh_f32: Map,
        /// Sine of radians, within 3 ULP.
        pub sin_f32: Map,
        /// Cosine of radians, within 3 ULP.
        pub cos_f32: Map,
        /// Error function, within 3.5 ULP.
        pub erf_f32: Map,
        /// a^b, within 0.51 ULP.
        pub pow_f32: Map2,
        /// e^x.
        pub exp_f64: Scalar,
        /// e^x - 1.
        pub expm1_f64: Scalar,
        /// Natural logarithm.
        pub log_f64: Scalar,
        /// Natural logarithm of 1 + x.
        pub log1p_f64: Scalar,
        /// Hyperbolic tangent.
        pub tanh_f64: Scalar,
        /// Sine of radians.
        pub sin_f64: Scalar,
        /// Cosine of radians.
        pub cos_f64: Scalar,
        /// Error function.
        pub erf_f64: Scalar,
        /// a^b.
        pub pow_f64: Scalar2,
        /// bfloat16 to `f32`.
        pub widen_bf16: Widen,
        /// IEEE half to `f32`.
        pub widen_f16: Widen,
        /// `f32` to bfloat16.
        pub narrow_bf16: Narrow,
        /// `f32` to IEEE half.
        pub narrow_f16: Narrow,
        /// Search in a sorted table.
        pub lower_bound_i32: LowerBound<i32>,
        /// Search in a sorted table.
        pub lower_bound_i64: LowerBound<i64>,
        /// Stable order of integer keys.
        pub order_keys: OrderKeys,
        /// Ranks of numbers.
        pub ranks_f64: Ranks<f64>,
        /// Ranks of integers.
        pub ranks_i64: Ranks<i64>,
        /// Union of spans.
        pub merge_spans: MergeSpans,
        /// Spans of rows, narrowed by keys.
        pub narrow_spans: NarrowSpans,
        /// Transposition.
        pub transpose_f32: Transpose<f32>,
        /// The largest of each row, where no other comes near.
        pub clear_largest_f32: ClearLargest,
        /// What lies outside each row's span, or inside.
        pub keep_spans_f32: KeepSpans<f32>,
        /// As `keep_spans_f32`.
        pub keep_spans_f64: KeepSpans<f64>,
        /// What lies outside of ranges of keys.
        pub keep_keys_f32: KeepKeys<f32>,
        /// As `keep_keys_f32`.
        pub keep_keys_f64: KeepKeys<f64>,
        /// Sums by position.
        pub scatter_add_f32: ScatterAdd<f32>,
        /// As `scatter_add_f32`.
        pub scatter_add_f64: ScatterAdd<f64>,
        /// Product through `tanh`, each value of which is within 6e-7, beside the rounding of the sums.
        pub product_tanh_f32: ProductThrough,
        /// Largest sums.
        pub max_plus_f32: MaxPlus<f32>,
        /// As `max_plus_f32`.
        pub max_plus_f64: MaxPlus<f64>,
        /// Least sums.
        pub min_plus_f32: MaxPlus<f32>,
        /// As `min_plus_f32`.
        pub min_plus_f64: MaxPlus<f64>,
        /// The sum of two matrices.
        pub add_plane_f32: AddPlane,
        /// The product of two matrices, element by element.
        pub scale_plane_f32: AddPlane,
        /// A multiple of positions added.
        pub add_ramp_f32: AddRamp,
        /// A multiple of the magnitudes of positions added.
        pub add_distance_f32: AddRamp,
        /// Rows through a function: the argument itself.
        pub affine_same_f32: Affine,
        /// Rows through a function: the larger of x and 0.
        pub affine_relu_f32: Affine,
        /// Rows through a function: x above 0, else e^x - 1; within 2 ULP.
        pub affine_elu_f32: Affine,
        /// Rows through a function: x + 1 above 0, else e^x; within 1.2 ULP.
        pub affine_elu_plus_one_f32: Affine,
        /// Rows through a function: As `exp_f32`.
        pub affine_exp_f32: Affine,
        /// Rows through a function: As `tanh_f32`.
        pub affine_tanh_f32: Affine,
        /// Rows through a function: 1 / (1 + e^-x), within 2.5 ULP.
        pub affine_sigmoid_f32: Affine,
        /// Rows through a function: x / (1 + e^-x), within 2.5 ULP.
        pub affine_silu_f32: Affine,
        /// Rows through a function: x (1 + erf(x / sqrt 2)) / 2, within 6e-7 and 6e-7 |x|.
        pub affine_gelu_f32: Affine,
        /// Rows through a function: As `sin_f32`.
        pub affine_sin_f32: Affine,
        /// Rows through a function: As `cos_f32`.
        pub affine_cos_f32: Affine,
        /// Few rows by many lines of `f32`.
        pub dots_f32: DotProducts<f32>,
        /// Few rows by many lines of bfloat16.
        pub dots_bf16: DotProducts<u16>,
        /// Few rows by many lines of IEEE halves.
        pub dots_f16: DotProducts<u16>,
        /// Few rows by many lines of bytes.
        pub dots_i8: DotProducts<i8>,
        /// Spans of columns added to lists.
        pub list_spans: ListSpans,
        /// Open columns added to lists.
        pub list_open_f32: ListOpen,
        /// Dot products with listed lines.
        pub dots_listed_f32: Listed,
        /// Weighted sums of listed lines.
        pub sum_listed_f32: Listed,
        /// Lists without what has no weight.
        pub drop_unweighted_f32: DropUnweighted,
        /// Few rows by a matrix of bfloat16.
        pub product_bf16: ProductOf<u16>,
        /// Few rows by a matrix of IEEE halves.
        pub product_f16: ProductOf<u16>,
        /// Few rows by a matrix of bytes.
        pub product_i8: ProductOf<i8>,
        /// Rows of bfloat16 to `f32`.
        pub widen_rows_bf16: WidenRows<u16>,
        /// Rows of IEEE halves to `f32`.
        pub widen_rows_f16: WidenRows<u16>,
        /// Rows of bytes to `f32`.
        pub widen_rows_i8: WidenRows<i8>,
        /// Tile product with bfloat16 in pairs.
        pub product_pairs: ProductPairs,
        /// A product of scores with pairs, their softmax, and the product of the weights with pairs.
        pub attend_pairs: AttendPairs,
        /// Two rows of bfloat16 into one of pairs.
        pub pack_pairs_bf16: PackPairs<u16>,
        /// Two rows of `f32`, rounded, into one of pairs.
        pub pack_pairs_f32: PackPairs<f32>,
    }
}

/// The table of an instruction set, or `None` if this CPU lacks it.
#[must_use]
pub fn table(isa: Isa) -> Option<&'static KernelTable> {
    if !isa.is_available() {
        return None;
    }
    match isa {
        Isa::Portable => Some(&instances::portable::TABLE),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Some(&instances::avx512::TABLE),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 => Some(&instances::avx512bf16::TABLE),
        #[cfg(target_arch = "x86_64")]
        Isa::AmxBf16 => Some(&instances::amxbf16::TABLE),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some(&instances::avx2::TABLE),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Some(&instances::neon::TABLE),
        #[allow(unreachable_patterns, reason = "which arms are left depends on the target")]
        _ => None,
    }
}
