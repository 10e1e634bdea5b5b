//! The tables themselves: every generic body, instantiated once per instruction set.

use crate::added::{Rows, add_distance, add_plane, add_ramp, scale_plane};
use crate::affine::{self, OfRow};
use crate::dots::{Bf16, Dots, Half, ahead, dots, widen_rows};
use crate::function::composed::{Elu, EluPlusOne, Gelu, Relu, Same, Sigmoid, Silu};
use crate::function::exp::Exp;
use crate::function::expm1::{Erf, Expm1, Tanh};
use crate::function::log::{Log, Log1p};
use crate::function::trig::{Cos, Sin};
use crate::function::{map, pow, scalar};
use crate::lanes::Halves;
use crate::listed::{Listed, Lists, dots_listed, drop_unweighted_f32, list_open, list_spans, sum_listed};
use crate::product::pack::{Unpacked, pack_pairs};
use crate::product::pairs::{Attend, Pairs, Widened, attend_pairs, product_pairs};
use crate::product::{
    Blocks, MOST_ROWS, Operands, few_rows,
    max_plus::max_plus,
    open::product_open,
    product,
    rounded::product_rounded,
    spanned::{product_of_spans, product_spans},
    sparse::product_sparse,
};
use crate::spans::RowSpans;
use crate::through::{Through, product_tanh};
use crate::{convert, order, rows, scatter, search, softmax, spans, transpose};

use super::KernelTable;

/// The `f32` nearest to the `f64` with these bits.
fn narrowed(bits: u64) -> f32 {
    f64::from_bits(bits) as f32
}

/// The product of `f32`, of few rows or of many.
///
/// # Safety
/// As for [`product`].
#[inline(always)]
unsafe fn product_or_few<S: Halves + Blocks<f32>>(s: S, p: &Operands<f32>) {
    // SAFETY: the caller's duty.
    unsafe {
        // A single row has wide panels, and little to do for each.
        if (2..=MOST_ROWS).contains(&p.m) && p.n > 1 { few_rows(s, &p.scaled(s), p.b) } else { product(s, p) }
    }
}

/// Defines a module's `TABLE` and its entries, each compiled with the features given.
///
/// Each entry's contract is that of its field in [`KernelTable`]; the features are present because `table` checks
/// for them before it hands the table out.
macro_rules! instantiate {
    ($token:ident $(, #[$features:meta])?) => {
        use super::*;
        use crate::isa::$token;

        instantiate!(@product $token, product_or_few, product_f32, f32 $(, #[$features])?);
        instantiate!(@product $token, product, product_f64, f64 $(, #[$features])?);
        instantiate!(@product $token, product_sparse, product_sparse_f32, f32 $(, #[$features])?);
        instantiate!(@product $token, product_sparse, product_sparse_f64, f64 $(, #[$features])?);
        instantiate!(@product $token, product_open, product_open_f32, f32 $(, #[$features])?);
        instantiate!(@product $token, product_open, product_open_f64, f64 $(, #[$features])?);
        instantiate!(@product $token, product_rounded, product_rounded_f64, f64 $(, #[$features])?);
        instantiate!(@max_plus $token, max_plus_f32, f32, false $(, #[$features])?);
        instantiate!(@max_plus $token, max_plus_f64, f64, false $(, #[$features])?);
        instantiate!(@max_plus $token, min_plus_f32, f32, true $(, #[$features])?);
        instantiate!(@max_plus $token, min_plus_f64, f64, true $(, #[$features])?);
        instantiate!(@rows $token, all_finite_f32, softmax_update_f32, scale_rows_f32, f32 $(, #[$features])?);
        instantiate!(@spanned $token, product_spans_f32, softmax_spans_f32, product_of_spans_f32, f32 $(, #[$features])?);
        instantiate!(@spanned $token, product_spans_f64, softmax_spans_f64, product_of_spans_f64, f64 $(, #[$features])?);
        instantiate!(@flush $token, flush_f32, f32 $(, #[$features])?);
        instantiate!(@flush $token, flush_f64, f64 $(, #[$features])?);
        instantiate!(@spans $token, keep_spans_f32, f32, narrowed $(, #[$features])?);
        instantiate!(@spans $token, keep_spans_f64, f64, f64::from_bits $(, #[$features])?);
        instantiate!(@keys keep_keys_f32, f32, narrowed $(, #[$features])?);
        instantiate!(@keys keep_keys_f64, f64, f64::from_bits $(, #[$features])?);
        instantiate!(@rows $token, all_finite_f64, softmax_update_f64, scale_rows_f64, f64 $(, #[$features])?);
        instantiate!(@map $token, exp_f32, Exp $(, #[$features])?);
        instantiate!(@map $token, expm1_f32, Expm1 $(, #[$features])?);
        instantiate!(@map $token, log_f32, Log $(, #[$features])?);
        instantiate!(@map $token, log1p_f32, Log1p $(, #[$features])?);
        instantiate!(@map $token, tanh_f32, Tanh $(, #[$features])?);
        instantiate!(@map $token, sin_f32, Sin $(, #[$features])?);
        instantiate!(@map $token, cos_f32, Cos $(, #[$features])?);
        instantiate!(@map $token, erf_f32, Erf $(, #[$features])?);
        instantiate!(@affine $token, affine_same_f32, Same $(, #[$features])?);
        instantiate!(@affine $token, affine_relu_f32, Relu $(, #[$features])?);
        instantiate!(@affine $token, affine_elu_f32, Elu $(, #[$features])?);
        instantiate!(@affine $token, affine_elu_plus_one_f32, EluPlusOne $(, #[$features])?);
        instantiate!(@affine $token, affine_exp_f32, Exp $(, #[$features])?);
        instantiate!(@affine $token, affine_tanh_f32, Tanh $(, #[$features])?);
        instantiate!(@affine $token, affine_sigmoid_f32, Sigmoid $(, #[$features])?);
        instantiate!(@affine $token, affine_silu_f32, Silu $(, #[$features])?);
        instantiate!(@affine $token, affine_gelu_f32, Gelu $(, #[$features])?);
        instantiate!(@affine $token, affine_sin_f32, Sin $(, #[$features])?);
        instantiate!(@affine $token, affine_cos_f32, Cos $(, #[$features])?);

        $(#[$features])?
        unsafe extern "C" fn pow_f32(dst: *mut f32, a: *const f32, b: *const f32, n: usize) {
            // SAFETY: the entry's contract.
            unsafe { pow::pow_f32(dst, a, b, n) }
        }

        $(#[$features])?
        unsafe extern "C" fn widen_bf16(dst: *mut f32, src: *const u16, stride: isize, n: usize) {
            // SAFETY: the contract of the entry.
            unsafe { convert::widen_bf16(dst, src, stride, n) }
        }

        $(#[$features])?
        unsafe extern "C" fn narrow_bf16(dst: *mut u16, src: *const f32, n: usize) {
            // SAFETY: the contract of the entry.
            unsafe { convert::narrow_bf16(dst, src, n) }
        }

        $(#[$features])?
        unsafe extern "C" fn widen_f16(dst: *mut f32, src: *const u16, stride: isize, n: usize) {
            // SAFETY: the contract of the entry.
            unsafe { convert::widen_f16($token::assume(), dst, src, stride, n) }
        }

        $(#[$features])?
        unsafe extern "C" fn narrow_f16(dst: *mut u16, src: *const f32, n: usize) {
            // SAFETY: the contract of the entry.
            unsafe { convert::narrow_f16($token::assume(), dst, src, n) }
        }

        $(#[$features])?
        unsafe extern "C" fn transpose_f32(
            rows: usize, cols: usize, dst: *mut f32, dst_rs: isize, src: *const f32, src_rs: isize,
        ) {
            // SAFETY: the contract of the entry.
            unsafe { transpose::transpose($token::assume(), rows, cols, dst, dst_rs, src, src_rs) }
        }

        $(#[$features])?
        unsafe extern "C" fn clear_largest_f32(
            rows: usize, cols: usize, scores: *const f32, rs: isize, slack: *const f32, dst: *mut i64,
        ) {
            // SAFETY: the contract of the entry.
            unsafe { rows::clear_largest($token::assume(), rows, cols, scores, rs, slack, dst) }
        }

        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a product")]
        unsafe extern "C" fn product_tanh_f32(
            m: usize, n: usize, k: usize,
            w: *const f32, w_rs: isize, w_cs: isize,
            a: *const f32, a_rs: isize, a_cs: isize,
            b: *const f32, b_rs: isize,
            c: *mut f32, c_rs: isize,
            accumulate: u64,
        ) {
            let accumulate = accumulate != 0;
            let operands = Through { m, n, k, w, w_rs, w_cs, a, a_rs, a_cs, b, b_rs, c, c_rs, accumulate };
            // SAFETY: the features are those of this function; the operands are the contract of the entry.
            unsafe { product_tanh($token::assume(), &operands) }
        }

        instantiate!(@plane $token, add_plane, add_plane_f32 $(, #[$features])?);
        instantiate!(@plane $token, scale_plane, scale_plane_f32 $(, #[$features])?);
        instantiate!(@ramp $token, add_ramp, add_ramp_f32 $(, #[$features])?);
        instantiate!(@ramp $token, add_distance, add_distance_f32 $(, #[$features])?);

        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "lists and spans")]
        unsafe extern "C" fn list_spans_i64(
            rows: usize, cols: usize, list: *mut i64, list_rs: isize, room: usize,
            count: *mut i64, most: *mut i64, from: *const i64, to: *const i64, first: i64,
        ) {
            let lists = Lists { rows, cols, list, list_rs, room, count, most, first };
            // SAFETY: the contract of the entry.
            unsafe { list_spans(&lists, from, to) }
        }

        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "lists and a matrix")]
        unsafe extern "C" fn list_open_f32(
            rows: usize, cols: usize, list: *mut i64, list_rs: isize, room: usize,
            count: *mut i64, most: *mut i64, s: *const f32, s_rs: isize, first: i64,
        ) {
            let lists = Lists { rows, cols, list, list_rs, room, count, most, first };
            // SAFETY: the features are those of this function; the pointers are the contract of the entry.
            unsafe { list_open($token::assume(), &lists, s, s_rs) }
        }

        instantiate!(@listed $token, dots_listed, dots_listed_f32 $(, #[$features])?);
        instantiate!(@listed $token, sum_listed, sum_listed_f32 $(, #[$features])?);
        instantiate!(@lines $token, dots_f32, f32, f32 $(, #[$features])?);
        instantiate!(@lines $token, dots_bf16, u16, Bf16 $(, #[$features])?);
        instantiate!(@lines $token, dots_f16, u16, Half $(, #[$features])?);
        instantiate!(@lines $token, dots_i8, i8, i8 $(, #[$features])?);
        instantiate!(@few $token, product_bf16, u16, Bf16 $(, #[$features])?);
        instantiate!(@few $token, product_f16, u16, Half $(, #[$features])?);
        instantiate!(@few $token, product_i8, i8, i8 $(, #[$features])?);
        instantiate!(@widen $token, widen_rows_bf16, u16, Bf16 $(, #[$features])?);
        instantiate!(@widen $token, widen_rows_f16, u16, Half $(, #[$features])?);
        instantiate!(@widen $token, widen_rows_i8, i8, i8 $(, #[$features])?);
        instantiate!(@pairs $token, product_pairs, Widened, product_pairs_widened $(, #[$features])?);
        instantiate!(@attend $token, attend_pairs, Widened, attend_pairs_widened $(, #[$features])?);
        instantiate!(@pack $token, pack_pairs_bf16, u16 $(, #[$features])?);
        instantiate!(@pack $token, pack_pairs_f32, f32 $(, #[$features])?);

        /// The microkernels of this instruction set.
        pub(in crate::table) static TABLE: KernelTable = KernelTable {
            product_f32,
            product_f64,
            product_sparse_f32,
            product_sparse_f64,
            product_open_f32,
            product_open_f64,
            product_rounded_f64,
            product_spans_f32,
            product_spans_f64,
            product_of_spans_f32,
            product_of_spans_f64,
            all_finite_f32,
            all_finite_f64,
            softmax_update_f32,
            softmax_update_f64,
            softmax_spans_f32,
            softmax_spans_f64,
            scale_rows_f32,
            scale_rows_f64,
            flush_f32,
            flush_f64,
            exp_f32,
            expm1_f32,
            log_f32,
            log1p_f32,
            tanh_f32,
            sin_f32,
            cos_f32,
            erf_f32,
            pow_f32,
            exp_f64: scalar::exp,
            expm1_f64: scalar::expm1,
            log_f64: scalar::log,
            log1p_f64: scalar::log1p,
            tanh_f64: scalar::tanh,
            sin_f64: scalar::sin,
            cos_f64: scalar::cos,
            erf_f64: scalar::erf,
            pow_f64: scalar::pow,
            widen_bf16,
            widen_f16,
            narrow_bf16,
            narrow_f16,
            lower_bound_i32: search::lower_bound_i32,
            lower_bound_i64: search::lower_bound_i64,
            order_keys: order::order_keys,
            ranks_f64: order::ranks_f64,
            ranks_i64: order::ranks_i64,
            merge_spans: spans::merge_spans,
            narrow_spans: spans::narrow_spans,
            transpose_f32,
            clear_largest_f32,
            keep_spans_f32,
            keep_spans_f64,
            keep_keys_f32,
            keep_keys_f64,
            scatter_add_f32: scatter::scatter_add::<f32>,
            scatter_add_f64: scatter::scatter_add::<f64>,
            product_tanh_f32,
            max_plus_f32,
            max_plus_f64,
            min_plus_f32,
            min_plus_f64,
            add_plane_f32,
            scale_plane_f32,
            add_ramp_f32,
            add_distance_f32,
            affine_same_f32,
            affine_relu_f32,
            affine_elu_f32,
            affine_elu_plus_one_f32,
            affine_exp_f32,
            affine_tanh_f32,
            affine_sigmoid_f32,
            affine_silu_f32,
            affine_gelu_f32,
            affine_sin_f32,
            affine_cos_f32,
            dots_f32,
            dots_bf16,
            dots_f16,
            dots_i8,
            list_spans: list_spans_i64,
            list_open_f32,
            dots_listed_f32,
            sum_listed_f32,
            drop_unweighted_f32,
            product_bf16,
            product_f16,
            product_i8,
            widen_rows_bf16,
            widen_rows_f16,
            widen_rows_i8,
            product_pairs: product_pairs_widened,
            attend_pairs: attend_pairs_widened,
            pack_pairs_bf16,
            pack_pairs_f32,
        };
    };

    (@lines $token:ident, $name:ident, $t:ty, $stored:ty $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a product")]
        unsafe extern "C" fn $name(
            m: usize, n: usize, k: usize,
            a: *const f32, a_rs: isize,
            b: *const $t, b_rs: isize,
            c: *mut f32, c_rs: isize,
        ) {
            let operands = Dots { m, n, k, a, a_rs, b: b.cast::<$stored>(), b_rs, c, c_rs, ahead: ahead::<$stored>(k, b_rs) };
            // SAFETY: the features are those of this function; the operands are the contract of the entry.
            unsafe { dots($token::assume(), &operands) }
        }
    };

    (@listed $token:ident, $body:ident, $name:ident $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "lists and three matrices")]
        unsafe extern "C" fn $name(
            rows: usize, cols: usize, n: usize, lines: usize,
            list: *const i64, list_rs: isize, count: *const i64,
            a: *const f32, a_rs: isize,
            b: *const f32, b_rs: isize,
            c: *mut f32, c_rs: isize,
        ) {
            let operands = Listed { rows, cols, n, lines, list, list_rs, count, a, a_rs, b, b_rs, c, c_rs };
            // SAFETY: the features are those of this function; the operands are the contract of the entry.
            unsafe { $body($token::assume(), &operands) }
        }
    };

    (@few $token:ident, $name:ident, $t:ty, $stored:ty $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a product")]
        unsafe extern "C" fn $name(
            m: usize, n: usize, k: usize,
            a: *const f32, a_rs: isize, a_cs: isize,
            b: *const $t, b_rs: isize,
            c: *mut f32, c_rs: isize,
            accumulate: u64,
        ) {
            let none = core::ptr::null();
            let accumulate = accumulate != 0;
            let scale = core::ptr::null();
            let operands = Operands { m, n, k, a, a_rs, a_cs, b: none, b_rs, c, c_rs, accumulate, scale };
            // SAFETY: the features are those of this function; the operands are the contract of the entry.
            unsafe { few_rows($token::assume(), &operands, b.cast::<$stored>()) }
        }
    };

    (@widen $token:ident, $name:ident, $t:ty, $stored:ty $(, #[$features:meta])?) => {
        $(#[$features])?
        unsafe extern "C" fn $name(
            rows: usize, cols: usize, dst: *mut f32, dst_rs: isize, src: *const $t, src_rs: isize,
        ) {
            // SAFETY: the features are those of this function; the pointers are the contract of the entry.
            unsafe { widen_rows($token::assume(), rows, cols, dst, dst_rs, src.cast::<$stored>(), src_rs) }
        }
    };

    (@pairs $token:ident, $body:ident, $dots:expr, $name:ident $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a product")]
        unsafe extern "C" fn $name(
            m: usize, n: usize, k: usize, first: usize,
            a: *const f32, a_rs: isize, a_cs: isize,
            b: *const u16, b_rs: isize,
            c: *mut f32, c_rs: isize,
            flags: u64,
            scale: *const f32,
            factor: f32,
        ) {
            let [accumulate, masked, open] = [1, 2, 4].map(|bit| flags & bit != 0);
            let (b, b_rs, first) = (b.cast(), b_rs / 2, first & 1);
            let operands =
                Pairs { m, n, k, first, a, a_rs, a_cs, b, b_rs, c, c_rs, accumulate, masked, open, scale, factor };
            // SAFETY: the features are those of this function; the operands are the contract of the entry.
            unsafe { $body($token::assume(), $dots, &operands) }
        }
    };

    (@attend $token:ident, $body:ident, $dots:expr, $name:ident $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of two products and a softmax")]
        unsafe extern "C" fn $name(
            m: usize, n: usize, k: usize, e: usize,
            a: *const f32, a_rs: isize, a_cs: isize,
            keys: *const u16, keys_rs: isize, keys_first: usize,
            values: *const u16, values_rs: isize, values_first: usize,
            s: *mut f32, s_rs: isize,
            running: *mut f32, sum: *mut f32, alpha: *mut f32,
            c: *mut f32, c_rs: isize,
            factor: f32,
        ) {
            let scores = Pairs {
                m, n, k, first: keys_first & 1, a, a_rs, a_cs, b: keys.cast(), b_rs: keys_rs / 2, c: s, c_rs: s_rs,
                accumulate: false, masked: false, open: false, scale: core::ptr::null(), factor,
            };
            let values = Pairs {
                m, n: e, k: n, first: values_first & 1, a: s, a_rs: s_rs, a_cs: 1, b: values.cast(), b_rs: values_rs / 2,
                c, c_rs, accumulate: true, scale: alpha, factor: 1.0, ..scores
            };
            // SAFETY: the features are those of this function; the operands are the contract of the entry.
            unsafe { $body($token::assume(), $dots, &Attend { scores, values, running: [running, sum, alpha] }) }
        }
    };

    (@pack $token:ident, $name:ident, $t:ty $(, #[$features:meta])?) => {
        $(#[$features])?
        unsafe extern "C" fn $name(
            rows: usize, cols: usize, dst: *mut u16, dst_rs: isize, src: *const $t, src_rs: isize, src_cs: isize,
        ) {
            let matrix = Unpacked { rows, cols, dst: dst.cast(), dst_rs: dst_rs / 2, src, src_rs, src_cs };
            // SAFETY: the features are those of this function; the pointers are the contract of the entry.
            unsafe { pack_pairs($token::assume(), &matrix) }
        }
    };

    (@product $token:ident, $body:ident, $name:ident, $t:ty $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a product")]
        unsafe extern "C" fn $name(
            m: usize, n: usize, k: usize,
            a: *const $t, a_rs: isize, a_cs: isize,
            b: *const $t, b_rs: isize,
            c: *mut $t, c_rs: isize,
            accumulate: u64,
            scale: *const $t,
        ) {
            let accumulate = accumulate != 0;
            let scale = if accumulate { scale } else { core::ptr::null() };
            let operands = Operands { m, n, k, a, a_rs, a_cs, b, b_rs, c, c_rs, accumulate, scale };
            // SAFETY: the features are those of this function; the operands are the contract of the entry.
            unsafe { $body($token::assume(), &operands) }
        }
    };

    (@max_plus $token:ident, $name:ident, $t:ty, $least:literal $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a product")]
        unsafe extern "C" fn $name(
            m: usize, n: usize, k: usize,
            a: *const $t, a_rs: isize, a_cs: isize,
            b: *const $t, b_rs: isize,
            c: *mut $t, c_rs: isize,
            masked: u64,
        ) {
            let (accumulate, scale) = (true, core::ptr::null());
            let operands = Operands { m, n, k, a, a_rs, a_cs, b, b_rs, c, c_rs, accumulate, scale };
            // SAFETY: the features are those of this function; the operands are the contract of the entry.
            unsafe { max_plus::<$t, $token, $least>($token::assume(), &operands, masked != 0) }
        }
    };

    (@rows $token:ident, $all_finite:ident, $softmax:ident, $scale:ident, $t:ty $(, #[$features:meta])?) => {
        $(#[$features])?
        unsafe extern "C" fn $all_finite(rows: usize, cols: usize, p: *const $t, rs: isize) -> u64 {
            // SAFETY: the features are those of this function; the pointers are the contract of the entry.
            unsafe { u64::from(rows::all_finite($token::assume(), rows, cols, p, rs)) }
        }

        $(#[$features])?
        unsafe extern "C" fn $softmax(
            rows: usize, cols: usize, s: *mut $t, s_rs: isize, m: *mut $t, l: *mut $t, alpha: *mut $t,
        ) {
            // SAFETY: as above.
            unsafe { softmax::softmax_update($token::assume(), rows, cols, s, s_rs, [m, l, alpha], None) }
        }

        $(#[$features])?
        unsafe extern "C" fn $scale(rows: usize, cols: usize, acc: *mut $t, rs: isize, alpha: *const $t) {
            // SAFETY: as above.
            unsafe { rows::scale_rows($token::assume(), rows, cols, acc, rs, alpha) }
        }
    };

    (@spanned $token:ident, $scores:ident, $softmax:ident, $sums:ident, $t:ty $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a product")]
        unsafe extern "C" fn $scores(
            m: usize, n: usize, k: usize,
            a: *const $t, a_rs: isize, a_cs: isize,
            b: *const $t, b_rs: isize,
            c: *mut $t, c_rs: isize,
            from: *const i64, to: *const i64,
        ) {
            let (accumulate, scale) = (false, core::ptr::null());
            let operands = Operands { m, n, k, a, a_rs, a_cs, b, b_rs, c, c_rs, accumulate, scale };
            // SAFETY: the features are those of this function; the pointers are the contract of the entry.
            unsafe { product_spans($token::assume(), &operands, RowSpans { from, to, cols: n }) }
        }

        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a softmax")]
        unsafe extern "C" fn $softmax(
            rows: usize, cols: usize, s: *mut $t, s_rs: isize, m: *mut $t, l: *mut $t, alpha: *mut $t,
            from: *const i64, to: *const i64,
        ) {
            let spans = Some(RowSpans { from, to, cols });
            // SAFETY: as above.
            unsafe { softmax::softmax_update($token::assume(), rows, cols, s, s_rs, [m, l, alpha], spans) }
        }

        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a product")]
        unsafe extern "C" fn $sums(
            m: usize, n: usize, k: usize,
            a: *const $t, a_rs: isize, a_cs: isize,
            b: *const $t, b_rs: isize,
            c: *mut $t, c_rs: isize,
            accumulate: u64,
            scale: *const $t,
            from: *const i64, to: *const i64,
        ) {
            let accumulate = accumulate != 0;
            let scale = if accumulate { scale } else { core::ptr::null() };
            let operands = Operands { m, n, k, a, a_rs, a_cs, b, b_rs, c, c_rs, accumulate, scale };
            // SAFETY: as above.
            unsafe { product_of_spans($token::assume(), &operands, RowSpans { from, to, cols: k }) }
        }
    };

    (@flush $token:ident, $name:ident, $t:ty $(, #[$features:meta])?) => {
        $(#[$features])?
        unsafe extern "C" fn $name(rows: usize, cols: usize, p: *mut $t, rs: isize) {
            // SAFETY: the features are those of this function; the pointer is the contract of the entry.
            unsafe { rows::flush($token::assume(), rows, cols, p, rs) }
        }
    };

    (@spans $token:ident, $name:ident, $t:ty, $fill:expr $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a mask")]
        unsafe extern "C" fn $name(
            rows: usize, cols: usize, s: *mut $t, s_rs: isize, from: *const i64, to: *const i64, keep: u64, fill: u64,
        ) {
            // SAFETY: the features are those of this function; the pointers are the contract of the entry.
            unsafe { rows::keep_spans($token::assume(), rows, cols, s, s_rs, [from, to], keep != 0, $fill(fill)) }
        }
    };

    (@keys $name:ident, $t:ty, $fill:expr $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "the C signature of a mask")]
        unsafe extern "C" fn $name(
            rows: usize, cols: usize, s: *mut $t, s_rs: isize,
            least: *const i64, most: *const i64, keys: *const i64,
            least2: *const i64, most2: *const i64, keys2: *const i64,
            flags: u64, fill: u64,
        ) {
            let ranges = [
                rows::KeyRange { least, most, keys, inside: flags & 1 != 0 },
                rows::KeyRange { least: least2, most: most2, keys: keys2, inside: flags & 2 != 0 },
            ];
            // SAFETY: the pointers are the contract of the entry.
            unsafe { rows::keep_keys(rows, cols, s, s_rs, &ranges[..1 + usize::from(flags & 4 != 0)], $fill(fill)) }
        }
    };

    (@plane $token:ident, $body:ident, $name:ident $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "three matrices")]
        unsafe extern "C" fn $name(
            rows: usize, cols: usize,
            dst: *mut f32, dst_rs: isize,
            src: *const f32, src_rs: isize,
            plane: *const f32, rs: isize, cs: isize,
        ) {
            let all = Rows { rows, cols, dst, dst_rs, src, src_rs };
            // SAFETY: the features are those of this function; the pointers are the contract of the entry.
            unsafe { $body($token::assume(), &all, plane, [rs, cs]) }
        }
    };

    (@ramp $token:ident, $body:ident, $name:ident $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "two matrices and a ramp")]
        unsafe extern "C" fn $name(
            rows: usize, cols: usize,
            dst: *mut f32, dst_rs: isize,
            src: *const f32, src_rs: isize,
            factor: *const f32, start: i64, rs: i64, cs: i64,
        ) {
            let all = Rows { rows, cols, dst, dst_rs, src, src_rs };
            // SAFETY: the features are those of this function; the pointers are the contract of the entry.
            unsafe { $body($token::assume(), &all, factor.read_unaligned(), start, [rs, cs]) }
        }
    };

    (@affine $token:ident, $name:ident, $function:expr $(, #[$features:meta])?) => {
        $(#[$features])?
        #[allow(clippy::too_many_arguments, reason = "two matrices and four numbers of each row")]
        unsafe extern "C" fn $name(
            rows: usize, cols: usize,
            dst: *mut f32, dst_rs: isize,
            src: *const f32, src_rs: isize,
            a: *const f32, a_rs: isize,
            b: *const f32, b_rs: isize,
            c: *const f32, c_rs: isize,
            d: *const f32, d_rs: isize,
        ) {
            let of_row = |p, rs| OfRow { p, rs };
            let (a, b, c, d) = (of_row(a, a_rs), of_row(b, b_rs), of_row(c, c_rs), of_row(d, d_rs));
            let operands = affine::Affine { rows, cols, dst, dst_rs, src, src_rs, a, b, c, d };
            // SAFETY: the features are those of this function; the pointers are the contract of the entry.
            unsafe { affine::affine($token::assume(), $function, &operands) }
        }
    };

    (@map $token:ident, $name:ident, $function:expr $(, #[$features:meta])?) => {
        $(#[$features])?
        unsafe extern "C" fn $name(dst: *mut f32, src: *const f32, n: usize) {
            // SAFETY: the features are those of this function; the pointers are the contract of the entry.
            unsafe { map($token::assume(), $function, dst, src, n) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512 {
    //! AVX-512.
    instantiate!(Avx512, #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")]);
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512bf16 {
    //! AVX-512 with AVX512-BF16: products of pairs by their instruction, all else as without it.
    use super::{Attend, Pairs, attend_pairs, product_pairs};
    use crate::isa::{Avx512, Avx512Bf16};
    use crate::table::KernelTable;

    instantiate!(
        @pairs Avx512, product_pairs, Avx512Bf16::assume(), product_pairs_bf16,
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
    );
    instantiate!(
        @attend Avx512, attend_pairs, Avx512Bf16::assume(), attend_pairs_bf16,
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
    );

    /// The microkernels of this instruction set.
    pub(in crate::table) static TABLE: KernelTable =
        KernelTable { product_pairs: product_pairs_bf16, attend_pairs: attend_pairs_bf16, ..super::avx512::TABLE };
}

#[cfg(target_arch = "x86_64")]
pub(super) mod amxbf16 {
    //! AVX512-BF16 with AMX: products of pairs by tiles, all else as without them.
    use super::{Attend, Pairs};
    use crate::isa::{AmxBf16, Avx512};
    use crate::product::pairs::tiles::attend::attend_tiles;
    use crate::product::pairs::tiles::product_tiles;
    use crate::table::KernelTable;

    instantiate!(
        @pairs Avx512, product_tiles, AmxBf16::assume(), product_pairs_tiles,
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
    );
    instantiate!(
        @attend Avx512, attend_tiles, AmxBf16::assume(), attend_pairs_tiles,
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
    );

    /// The microkernels of this instruction set.
    pub(in crate::table) static TABLE: KernelTable =
        KernelTable { product_pairs: product_pairs_tiles, attend_pairs: attend_pairs_tiles, ..super::avx512::TABLE };
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2 {
    //! AVX2 with FMA.
    instantiate!(Avx2, #[target_feature(enable = "avx2,fma,f16c")]);
}

#[cfg(target_arch = "aarch64")]
pub(super) mod neon {
    //! Advanced SIMD.
    instantiate!(Neon, #[target_feature(enable = "neon")]);
}

pub(super) mod portable {
    //! Plain Rust.
    instantiate!(Portable);
}
