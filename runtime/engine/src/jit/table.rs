//! The microkernel table of an instruction set in the order of the launch ABI.

use attnc_codegen::abi::Microkernel;
use attnc_kernels::{Isa, KernelTable};

use super::call::FunctionTable;
use crate::error::HostError;

/// Addresses of the microkernels of `isa`, by [`Microkernel::index`].
///
/// # Errors
/// If this CPU lacks the instruction set.
pub fn function_table(isa: Isa) -> Result<FunctionTable, HostError> {
    let kernels = attnc_kernels::table(isa).ok_or_else(|| HostError::no_isa(isa))?;
    Ok(FunctionTable(Microkernel::ALL.iter().map(|kernel| address(kernels, *kernel)).collect()))
}

/// Address of one microkernel. The types of the table's fields are those that [`Microkernel`]'s variants document;
/// a test calls one of every form through generated code.
fn address(t: &KernelTable, kernel: Microkernel) -> *const () {
    use Microkernel::*;
    match kernel {
        ProductF32 => t.product_f32 as *const (),
        ProductF64 => t.product_f64 as *const (),
        ProductSparseF32 => t.product_sparse_f32 as *const (),
        ProductSparseF64 => t.product_sparse_f64 as *const (),
        ProductOpenF32 => t.product_open_f32 as *const (),
        ProductOpenF64 => t.product_open_f64 as *const (),
        AllFiniteF32 => t.all_finite_f32 as *const (),
        AllFiniteF64 => t.all_finite_f64 as *const (),
        SoftmaxUpdateF32 => t.softmax_update_f32 as *const (),
        SoftmaxUpdateF64 => t.softmax_update_f64 as *const (),
        ScaleRowsF32 => t.scale_rows_f32 as *const (),
        ScaleRowsF64 => t.scale_rows_f64 as *const (),
        ExpF32 => t.exp_f32 as *const (),
        Expm1F32 => t.expm1_f32 as *const (),
        LogF32 => t.log_f32 as *const (),
        Log1pF32 => t.log1p_f32 as *const (),
        TanhF32 => t.tanh_f32 as *const (),
        SinF32 => t.sin_f32 as *const (),
        CosF32 => t.cos_f32 as *const (),
        ErfF32 => t.erf_f32 as *const (),
        PowF32 => t.pow_f32 as *const (),
        ExpF64 => t.exp_f64 as *const (),
        Expm1F64 => t.expm1_f64 as *const (),
        LogF64 => t.log_f64 as *const (),
        Log1pF64 => t.log1p_f64 as *const (),
        TanhF64 => t.tanh_f64 as *const (),
        SinF64 => t.sin_f64 as *const (),
        CosF64 => t.cos_f64 as *const (),
        ErfF64 => t.erf_f64 as *const (),
        PowF64 => t.pow_f64 as *const (),
        WidenBf16 => t.widen_bf16 as *const (),
        WidenF16 => t.widen_f16 as *const (),
        NarrowBf16 => t.narrow_bf16 as *const (),
        NarrowF16 => t.narrow_f16 as *const (),
        LowerBoundI32 => t.lower_bound_i32 as *const (),
        LowerBoundI64 => t.lower_bound_i64 as *const (),
        OrderKeys => t.order_keys as *const (),
        RanksF64 => t.ranks_f64 as *const (),
        RanksI64 => t.ranks_i64 as *const (),
        MergeSpans => t.merge_spans as *const (),
        TransposeF32 => t.transpose_f32 as *const (),
        ClearLargestF32 => t.clear_largest_f32 as *const (),
        KeepSpansF32 => t.keep_spans_f32 as *const (),
        KeepSpansF64 => t.keep_spans_f64 as *const (),
        KeepKeysF32 => t.keep_keys_f32 as *const (),
        KeepKeysF64 => t.keep_keys_f64 as *const (),
        ProductTanhF32 => t.product_tanh_f32 as *const (),
        AddPlaneF32 => t.add_plane_f32 as *const (),
        AddRampF32 => t.add_ramp_f32 as *const (),
        AffineSameF32 => t.affine_same_f32 as *const (),
        AffineReluF32 => t.affine_relu_f32 as *const (),
        AffineEluF32 => t.affine_elu_f32 as *const (),
        AffineEluPlusOneF32 => t.affine_elu_plus_one_f32 as *const (),
        AffineExpF32 => t.affine_exp_f32 as *const (),
        AffineTanhF32 => t.affine_tanh_f32 as *const (),
        AffineSigmoidF32 => t.affine_sigmoid_f32 as *const (),
        AffineSiluF32 => t.affine_silu_f32 as *const (),
        AffineGeluF32 => t.affine_gelu_f32 as *const (),
        AffineSinF32 => t.affine_sin_f32 as *const (),
        AffineCosF32 => t.affine_cos_f32 as *const (),
        DotsF32 => t.dots_f32 as *const (),
        DotsBf16 => t.dots_bf16 as *const (),
        DotsF16 => t.dots_f16 as *const (),
        DotsI8 => t.dots_i8 as *const (),
        ProductBf16 => t.product_bf16 as *const (),
        ProductF16 => t.product_f16 as *const (),
        ProductI8 => t.product_i8 as *const (),
        WidenRowsBf16 => t.widen_rows_bf16 as *const (),
        WidenRowsF16 => t.widen_rows_f16 as *const (),
        WidenRowsI8 => t.widen_rows_i8 as *const (),
    }
}
