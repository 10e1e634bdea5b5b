//! The contract between generated code, the engine that calls it, and the
//! microkernels it calls.
//!
//! A kernel is `extern "C" fn(ctx: *const LaunchContext, task: i64)`. It holds
//! no absolute address: microkernels are reached through the table in its
//! context, in the order of [`Microkernel::ALL`]. All strides count elements.

use cranelift_codegen::ir::{AbiParam, Signature, Type, types};
use cranelift_codegen::isa::CallConv;

/// What a kernel is called with; one per thread and launch.
#[repr(C)]
#[derive(Debug)]
pub struct LaunchContext {
    /// Address of each microkernel, in the order of [`Microkernel::ALL`].
    pub kernels: *const *const (),
    /// Value of each extent symbol.
    pub extents: *const i64,
    /// The program's buffers.
    pub buffers: *const BufferArg,
    /// The program's tiles, in memory of the running thread alone.
    pub tiles: *const TileArg,
}

/// A buffer of a launch.
#[repr(C)]
#[derive(Debug)]
pub struct BufferArg {
    /// Element (0, 0, …).
    pub base: *mut u8,
    /// Stride of each dimension, in elements.
    pub strides: *const i64,
    /// Extent of each dimension.
    pub shape: *const i64,
}

/// A scratch tile of a launch, laid out as `attnc_plan::loops::layout` says.
#[repr(C)]
#[derive(Debug)]
pub struct TileArg {
    /// Element (0, 0), aligned to 64 bytes.
    pub base: *mut u8,
    /// Elements from one row to the next.
    pub row_stride: i64,
}

/// Type of a kernel's entry point.
pub type Entry = unsafe extern "C" fn(*const LaunchContext, i64);

/// Byte offsets of the structures above on a 64-bit target.
pub(crate) mod offset {
    pub const KERNELS: i32 = 0;
    pub const EXTENTS: i32 = 8;
    pub const BUFFERS: i32 = 16;
    pub const TILES: i32 = 24;
    pub const BUFFER_SIZE: i32 = 24;
    pub const BUFFER_STRIDES: i32 = 8;
    pub const BUFFER_SHAPE: i32 = 16;
    pub const TILE_SIZE: i32 = 16;
    pub const TILE_ROW_STRIDE: i32 = 8;
}

macro_rules! microkernels {
    ($($(#[$doc:meta])* $name:ident = $text:literal: $form:ident,)*) => {
        /// A function that generated code calls.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Microkernel { $($(#[$doc])* $name,)* }

        impl Microkernel {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Microkernel] = &[$(Microkernel::$name,)*];

            /// The name of the function.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            fn form(self) -> Form {
                match self { $(Self::$name => Form::$form,)* }
            }
        }
    };
}

microkernels! {
    /// `c[m, n] (+)= a[m, k] * b[k, n]` on f32: `(m, n, k: usize, a: *const f32, a_rs, a_cs: isize,
    /// b: *const f32, b_rs: isize, c: *mut f32, c_rs: isize, accumulate: u64, scale: *const f32)`. What c accumulates to
    /// is first multiplied by a number of each row, unless `scale` is null.
    ProductF32 = "product_f32": Product,
    /// The same on f64.
    ProductF64 = "product_f64": Product,
    /// The same, leaving out terms whose element of `a` is zero.
    ProductSparseF32 = "product_sparse_f32": Product,
    /// The same on f64, leaving out terms whose element of `a` is zero.
    ProductSparseF64 = "product_sparse_f64": Product,
    /// The same where `c` is not -inf, which stays; `accumulate` is 0.
    ProductOpenF32 = "product_open_f32": Product,
    /// The same on f64.
    ProductOpenF64 = "product_open_f64": Product,
    /// Tile product of f64 whose terms are rounded before they are added.
    ProductRoundedF64 = "product_rounded_f64": Product,
    /// Tile product `c[m, n] = a[m, k] * b[k, n]` in the columns `from[r] .. to[r]` of each row, anything elsewhere:
    /// `(m, n, k: usize, a: *const f32, a_rs, a_cs: isize, b: *const f32, b_rs: isize, c: *mut f32, c_rs: isize,
    /// from, to: *const i64)`.
    ProductSpansF32 = "product_spans_f32": Product,
    /// The same on f64.
    ProductSpansF64 = "product_spans_f64": Product,
    /// As `product_sparse_f32`, of an `a` that is 0 outside of the columns `from[r] .. to[r]` of each row; these come last.
    ProductOfSpansF32 = "product_of_spans_f32": ProductOfSpans,
    /// The same on f64.
    ProductOfSpansF64 = "product_of_spans_f64": ProductOfSpans,
    /// Whether all elements are finite: `(rows, cols: usize, p: *const f32, rs: isize) -> u64`.
    AllFiniteF32 = "all_finite_f32": AllFinite,
    /// The same on f64.
    AllFiniteF64 = "all_finite_f64": AllFinite,
    /// Online softmax update: `(rows, cols: usize, s: *mut f32, s_rs: isize, m, l, alpha: *mut f32)`.
    SoftmaxUpdateF32 = "softmax_update_f32": Softmax,
    /// The same on f64.
    SoftmaxUpdateF64 = "softmax_update_f64": Softmax,
    /// The same as if scores outside of the columns `from[r] .. to[r]` of each row were -inf; these come last.
    SoftmaxSpansF32 = "softmax_spans_f32": SoftmaxSpans,
    /// The same on f64.
    SoftmaxSpansF64 = "softmax_spans_f64": SoftmaxSpans,
    /// `acc[r, c] *= alpha[r]`: `(rows, cols: usize, acc: *mut f32, rs: isize, alpha: *const f32)`.
    ScaleRowsF32 = "scale_rows_f32": Scale,
    /// The same on f64.
    ScaleRowsF64 = "scale_rows_f64": Scale,
    /// Subnormal elements become 0: `(rows, cols: usize, p: *mut f32, rs: isize)`.
    FlushF32 = "flush_f32": Flush,
    /// The same on f64.
    FlushF64 = "flush_f64": Flush,
    /// `dst[i] = exp(src[i])`: `(dst: *mut f32, src: *const f32, n: usize)`; `dst` may be `src`.
    ExpF32 = "exp_f32": Vector,
    /// exp(x) - 1.
    Expm1F32 = "expm1_f32": Vector,
    /// Natural logarithm.
    LogF32 = "log_f32": Vector,
    /// log(1 + x).
    Log1pF32 = "log1p_f32": Vector,
    /// Hyperbolic tangent.
    TanhF32 = "tanh_f32": Vector,
    /// Sine.
    SinF32 = "sin_f32": Vector,
    /// Cosine.
    CosF32 = "cos_f32": Vector,
    /// Error function.
    ErfF32 = "erf_f32": Vector,
    /// `dst[i] = a[i] ^ b[i]`: `(dst: *mut f32, a, b: *const f32, n: usize)`; `dst` may be `a` or `b`.
    PowF32 = "pow_f32": VectorPow,
    /// `fn(f64) -> f64`, as the reference evaluator computes it; so are the next seven.
    ExpF64 = "exp_f64": Scalar,
    /// exp(x) - 1.
    Expm1F64 = "expm1_f64": Scalar,
    /// Natural logarithm.
    LogF64 = "log_f64": Scalar,
    /// log(1 + x).
    Log1pF64 = "log1p_f64": Scalar,
    /// Hyperbolic tangent.
    TanhF64 = "tanh_f64": Scalar,
    /// Sine.
    SinF64 = "sin_f64": Scalar,
    /// Cosine.
    CosF64 = "cos_f64": Scalar,
    /// Error function.
    ErfF64 = "erf_f64": Scalar,
    /// `fn(f64, f64) -> f64`.
    PowF64 = "pow_f64": ScalarPow,
    /// `dst[i] = src[i * src_stride]`: `(dst: *mut f32, src: *const u16, src_stride: isize, n: usize)`.
    WidenBf16 = "widen_bf16": Widen,
    /// The same from half precision.
    WidenF16 = "widen_f16": Widen,
    /// `(dst: *mut u16, src: *const f32, n: usize)`, rounded to nearest, ties to even.
    NarrowBf16 = "narrow_bf16": Vector,
    /// The same to half precision.
    NarrowF16 = "narrow_f16": Vector,
    /// First of `n` positions whose element is at least `value`, else `n`:
    /// `(table: *const i32, stride: isize, n: usize, value: i64) -> usize`.
    LowerBoundI32 = "lower_bound_i32": LowerBound,
    /// The same on i64.
    LowerBoundI64 = "lower_bound_i64": LowerBound,
    /// The stable ascending order of keys: `(keys: *const i64, order: *mut i64, n: usize)`.
    OrderKeys = "order_keys": Vector,
    /// Places in a stable descending order of numbers, NaN last, at most `limit`; of the counted columns if `counted` is
    /// not null: `(rows, cols: usize, keys: *const f64, k_rs: isize, counted: *const i32, c_rs: isize, order: *mut i64,
    /// dst: *mut i64, d_rs: isize, limit: usize)`.
    RanksF64 = "ranks_f64": Ranks,
    /// The same of integers.
    RanksI64 = "ranks_i64": Ranks,
    /// `(spans: *mut i64, count: usize, gap: i64) -> usize`: drops empty (from, to) pairs, sorts, joins what
    /// is less than `gap` apart; the number left.
    MergeSpans = "merge_spans": MergeSpans,
    /// The span of each row becomes what is left of it by `least[r] <= keys[c] <= most[r]`, or by one of the bounds negated if
    /// not `inside`: `(rows, cols: usize, from, to: *mut i64, least, most, keys: *const i64, inside: u64)`.
    NarrowSpans = "narrow_spans": KeepSpans,
    /// `dst[c * dst_rs + r] = src[r * src_rs + c]`:
    /// `(rows, cols: usize, dst: *mut f32, dst_rs: isize, src: *const f32, src_rs: isize)`.
    TransposeF32 = "transpose_f32": Transpose,
    /// The column of each row's largest score where it leads by more than the row's slack, else -1:
    /// `(rows, cols: usize, scores: *const f32, rs: isize, slack: *const f32, dst: *mut i64)`.
    ClearLargestF32 = "clear_largest_f32": Transpose,
    /// `s[r, c] = fill` outside of `from[r] .. to[r]` if `keep`, else inside:
    /// `(rows, cols: usize, s: *mut f32, s_rs: isize, from, to: *const i64, keep: u64, fill: u64)`, `fill` the bits of an f64.
    KeepSpansF32 = "keep_spans_f32": KeepSpans,
    /// The same on f64.
    KeepSpansF64 = "keep_spans_f64": KeepSpans,
    /// `s[r, c] = fill` unless `least[r] <= keys[c] <= most[r]` in one of two ranges, each negated unless its bit of
    /// `flags` (1 and 2) is set; the second takes part if bit 4 is. A null end is no bound:
    /// `(rows, cols: usize, s: *mut f32, s_rs: isize, (least, most, keys: *const i64) * 2, flags: u64, fill: u64)`.
    KeepKeysF32 = "keep_keys_f32": KeepKeys,
    /// The same on f64.
    KeepKeysF64 = "keep_keys_f64": KeepKeys,
    /// `dst[r, at[r, c]] += src[r, c]` where `0 <= at[r, c] < width`: `(rows, cols, width: usize, dst: *mut f32,
    /// dst_rs: isize, src: *const f32, src_rs: isize, at: *const i64, at_rs: isize)`.
    ScatterAddF32 = "scatter_add_f32": AddPlane,
    /// The same on f64.
    ScatterAddF64 = "scatter_add_f64": AddPlane,
    /// `C[i, j] = (accumulate ? C : 0) + sum_k W[i, k] tanh(A[i, k] + B[k, j])`:
    /// `(m, n, k: usize, w: *const f32, w_rs, w_cs: isize, a: *const f32, a_rs, a_cs: isize, b: *const f32, b_rs: isize,
    /// c: *mut f32, c_rs: isize, accumulate: u64)`.
    ProductTanhF32 = "product_tanh_f32": ProductThrough,
    /// `C[i, j] = max(C[i, j], max over k of A[i, k] + B[k, j])`: `(m, n, k: usize, a: *const f32, a_rs, a_cs: isize,
    /// b: *const f32, b_rs: isize, c: *mut f32, c_rs: isize, masked: u64)`; if `masked`, elements of A that are -inf
    /// contribute nothing, whatever they meet.
    MaxPlusF32 = "max_plus_f32": ProductOf,
    /// The same on f64.
    MaxPlusF64 = "max_plus_f64": ProductOf,
    /// The same with the least, and inf.
    MinPlusF32 = "min_plus_f32": ProductOf,
    /// The same on f64.
    MinPlusF64 = "min_plus_f64": ProductOf,
    /// `dst[r, k] = src[r, k] + plane[r * rs + k * cs]`: `(rows, cols: usize, dst: *mut f32, dst_rs: isize,
    /// src: *const f32, src_rs: isize, plane: *const f32, rs, cs: isize)`; `dst` may be `src`.
    AddPlaneF32 = "add_plane_f32": AddPlane,
    /// The same with a product in place of the sum.
    ScalePlaneF32 = "scale_plane_f32": AddPlane,
    /// `dst[r, k] = src[r, k] + *factor * (start + r * rs + k * cs)`, all positions below 2^24 in magnitude:
    /// `(rows, cols: usize, dst: *mut f32, dst_rs: isize, src: *const f32, src_rs: isize, factor: *const f32, start, rs,
    /// cs: i64)`; `dst` may be `src`.
    AddRampF32 = "add_ramp_f32": Ranks,
    /// The same with the magnitudes of the positions.
    AddDistanceF32 = "add_distance_f32": Ranks,
    /// `dst[r, k] = f(src[r, k] a[r] + b[r]) c[r] + d[r]`: `(rows, cols: usize, dst: *mut f32, dst_rs: isize,
    /// src: *const f32, src_rs: isize, (of_row: *const f32, rs: isize) * 4)`; `dst` may be `src`. Here f is nothing.
    AffineSameF32 = "affine_same_f32": Affine,
    /// The same with f = relu.
    AffineReluF32 = "affine_relu_f32": Affine,
    /// The same with f = elu.
    AffineEluF32 = "affine_elu_f32": Affine,
    /// The same with f = elu(x) + 1.
    AffineEluPlusOneF32 = "affine_elu_plus_one_f32": Affine,
    /// The same with f = exp.
    AffineExpF32 = "affine_exp_f32": Affine,
    /// The same with f = tanh.
    AffineTanhF32 = "affine_tanh_f32": Affine,
    /// The same with f = sigmoid.
    AffineSigmoidF32 = "affine_sigmoid_f32": Affine,
    /// The same with f = silu.
    AffineSiluF32 = "affine_silu_f32": Affine,
    /// The same with f = gelu.
    AffineGeluF32 = "affine_gelu_f32": Affine,
    /// The same with f = sin.
    AffineSinF32 = "affine_sin_f32": Affine,
    /// The same with f = cos.
    AffineCosF32 = "affine_cos_f32": Affine,
    /// `C[i, j] = sum_k A[i, k] B[j, k]`, the elements of a row adjacent:
    /// `(m, n, k: usize, a: *const f32, a_rs: isize, b: *const f32, b_rs: isize, c: *mut f32, c_rs: isize)`.
    DotsF32 = "dots_f32": Dots,
    /// The same with B of bfloat16.
    DotsBf16 = "dots_bf16": Dots,
    /// The same with B of half precision.
    DotsF16 = "dots_f16": Dots,
    /// The same with B of bytes.
    DotsI8 = "dots_i8": Dots,
    /// `first + c` added to the list of row r for c of `from[r] .. to[r]` below `cols`, as far as there is room: `(rows, cols:
    /// usize, list: *mut i64, list_rs: isize, room: usize, count, most: *mut i64, from, to: *const i64, first: i64)`.
    ListSpans = "list_spans": Ranks,
    /// The same for every c where `s[r, c]` is not -inf: `(rows, cols: usize, list: *mut i64, list_rs: isize, room: usize,
    /// count, most: *mut i64, s: *const f32, s_rs: isize, first: i64)`.
    ListOpenF32 = "list_open_f32": Ranks,
    /// `C[r, c] = sum_k A[r, k] B[list[r, c], k]` for `c < count[r]`, else -inf: `(rows, cols, n, lines: usize, list: *const i64,
    /// list_rs: isize, count: *const i64, a: *const f32, a_rs: isize, b: *const f32, b_rs: isize, c: *mut f32, c_rs: isize)`.
    DotsListedF32 = "dots_listed_f32": Listed,
    /// `C[r, j] += sum_c A[r, c] B[list[r, c], j]` over `c < count[r]`: as `dots_listed_f32`.
    SumListedF32 = "sum_listed_f32": Listed,
    /// Leaves out of each list what has a weight of 0: `(rows, cols: usize, weights: *mut f32, weights_rs: isize, list: *mut i64,
    /// list_rs: isize, count: *mut i64)`.
    DropUnweightedF32 = "drop_unweighted_f32": Softmax,
    /// As `product_f32` with B of bfloat16, and without `scale`.
    ProductBf16 = "product_bf16": ProductOf,
    /// The same with B of half precision.
    ProductF16 = "product_f16": ProductOf,
    /// The same with B of bytes.
    ProductI8 = "product_i8": ProductOf,
    /// `dst[r, c] = src[r, c]`, the elements of a row adjacent:
    /// `(rows, cols: usize, dst: *mut f32, dst_rs: isize, src: *const u16, src_rs: isize)`.
    WidenRowsBf16 = "widen_rows_bf16": Transpose,
    /// The same from half precision.
    WidenRowsF16 = "widen_rows_f16": Transpose,
    /// The same from bytes.
    WidenRowsI8 = "widen_rows_i8": Transpose,
    /// `c[m, n] (+)= a[m, k] * b[k, n]`, a rounded to bfloat16 and b of bfloat16 in pairs of rows, the first of them with row
    /// `first`: `(m, n, k, first: usize, a: *const f32, a_rs, a_cs: isize, b: *const u16, b_rs: isize, c: *mut f32, c_rs: isize,
    /// flags: u64, scale: *const f32, factor: f32)`; flags are 1 to accumulate, 2 for masked zeros, 4 for what stays open.
    ProductPairs = "product_pairs": ProductPairs,
    /// Such a product as scores, their softmax, and the product of the weights with another b of pairs, added to c: `(m, n, k, e: usize,
    /// a: *const f32, a_rs, a_cs: isize, keys: *const u16, keys_rs: isize, keys_first: usize, values: *const u16, values_rs: isize,
    /// values_first: usize, s: *mut f32, s_rs: isize, max, sum, alpha: *mut f32, c: *mut f32, c_rs: isize, factor: f32)`.
    AttendPairs = "attend_pairs": AttendPairs,
    /// `src[rows, cols]` in pairs of rows: `(rows, cols: usize, dst: *mut u16, dst_rs: isize, src: *const u16, src_rs, src_cs: isize)`.
    PackPairsBf16 = "pack_pairs_bf16": PackPairs,
    /// The same of f32, rounded.
    PackPairsF32 = "pack_pairs_f32": PackPairs,
}

/// Parameter lists that several microkernels share.
#[derive(Clone, Copy)]
enum Form {
    Product,
    ProductOf,
    ProductOfSpans,
    AllFinite,
    Softmax,
    SoftmaxSpans,
    Scale,
    Flush,
    Vector,
    VectorPow,
    Scalar,
    ScalarPow,
    Widen,
    LowerBound,
    MergeSpans,
    Transpose,
    Ranks,
    KeepSpans,
    KeepKeys,
    ProductThrough,
    Affine,
    AddPlane,
    Dots,
    Listed,
    ProductPairs,
    AttendPairs,
    PackPairs,
}

impl Microkernel {
    /// Position in the table.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Signature on a 64-bit target, pointers and lengths being I64.
    pub fn signature(self, convention: CallConv) -> Signature {
        let word = types::I64;
        let (params, result): (Vec<Type>, Option<Type>) = match self.form() {
            Form::Product => (vec![word; 12], None),
            Form::ProductOf => (vec![word; 11], None),
            Form::AllFinite => (vec![word; 4], Some(word)),
            Form::Softmax => (vec![word; 7], None),
            Form::Scale => (vec![word; 5], None),
            Form::Flush => (vec![word; 4], None),
            Form::Vector => (vec![word; 3], None),
            Form::VectorPow => (vec![word; 4], None),
            Form::Scalar => (vec![types::F64], Some(types::F64)),
            Form::ScalarPow => (vec![types::F64; 2], Some(types::F64)),
            Form::Widen => (vec![word; 4], None),
            Form::LowerBound => (vec![word; 4], Some(word)),
            Form::AddPlane => (vec![word; 9], None),
            Form::MergeSpans => (vec![word; 3], Some(word)),
            Form::Transpose => (vec![word; 6], None),
            Form::Ranks => (vec![word; 10], None),
            Form::KeepSpans => (vec![word; 8], None),
            Form::KeepKeys => (vec![word; 12], None),
            Form::ProductThrough | Form::ProductOfSpans | Form::Affine => (vec![word; 14], None),
            Form::Dots | Form::SoftmaxSpans => (vec![word; 9], None),
            Form::Listed => (vec![word; 13], None),
            Form::ProductPairs => ([vec![word; 13], vec![types::F32]].concat(), None),
            Form::AttendPairs => ([vec![word; 20], vec![types::F32]].concat(), None),
            Form::PackPairs => (vec![word; 7], None),
        };
        let mut signature = Signature::new(convention);
        signature.params.extend(params.into_iter().map(AbiParam::new));
        signature.returns.extend(result.map(AbiParam::new));
        signature
    }
}

/// Signature of a kernel's entry point.
pub fn entry_signature(convention: CallConv) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params.extend([AbiParam::new(types::I64), AbiParam::new(types::I64)]);
    signature
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn generated_code_and_structures_agree_on_offsets() {
        assert_eq!(offset_of!(LaunchContext, kernels) as i32, offset::KERNELS);
        assert_eq!(offset_of!(LaunchContext, extents) as i32, offset::EXTENTS);
        assert_eq!(offset_of!(LaunchContext, buffers) as i32, offset::BUFFERS);
        assert_eq!(offset_of!(LaunchContext, tiles) as i32, offset::TILES);
        assert_eq!(size_of::<BufferArg>() as i32, offset::BUFFER_SIZE);
        assert_eq!(offset_of!(BufferArg, strides) as i32, offset::BUFFER_STRIDES);
        assert_eq!(offset_of!(BufferArg, shape) as i32, offset::BUFFER_SHAPE);
        assert_eq!(size_of::<TileArg>() as i32, offset::TILE_SIZE);
        assert_eq!(offset_of!(TileArg, row_stride) as i32, offset::TILE_ROW_STRIDE);
    }

    #[test]
    fn the_table_is_in_declaration_order() {
        for (at, kernel) in Microkernel::ALL.iter().enumerate() {
            assert_eq!(kernel.index(), at);
        }
    }
}
