//! What the values of inputs must satisfy: declared ranges and runs; and what bounds indices, the tables' ends.

use attnc_algebra::{Extents, Spec};

use ndarray::{ArrayView1, ArrayViewD, Axis, Dimension};

use super::names::Inputs;
use crate::constant::constant;
use crate::error::BindError;
use crate::tensor::{Element, TensorView, on_array};

/// Checks declared ranges and `runs`, in the spec's order of inputs.
///
/// # Errors
/// The first value that breaks its declaration. A NaN is in no range.
pub fn check_values(spec: &Spec, extents: &Extents, inputs: Inputs<'_, '_>) -> Result<(), BindError> {
    for (input, view) in spec.inputs.iter().zip(inputs.iter()) {
        if let Some((low, high)) = input.range {
            let bound = |term| constant(spec, term, extents);
            if let (Some(low), Some(high)) = (bound(low), bound(high)) {
                check_range(&input.name, view, low, high)?;
            }
        }
        if input.runs.is_some() {
            check_sorted(&input.name, view)?;
        }
    }
    Ok(())
}

fn check_range(name: &str, view: &TensorView<'_>, low: f64, high: f64) -> Result<(), BindError> {
    fn offender<T: Element>(a: &ArrayViewD<'_, T>, low: f64, high: f64) -> Option<(Vec<usize>, f64)> {
        let outside = |v: &T| {
            let v = v.to_f64();
            !((v >= low) & (v <= high))
        };
        // Where the elements lie in one piece, those of a part are looked at without leaving it early, vectors of them at once.
        let part = |part: &[T]| part.iter().fold(false, |any, v| any | outside(v));
        let any = a.as_slice_memory_order().map_or_else(|| a.iter().any(outside), |all| all.chunks(1024).any(part));
        if !any {
            return None;
        }
        a.indexed_iter().find(|(_, v)| outside(v)).map(|(at, v)| (at.slice().to_vec(), v.to_f64()))
    }
    match on_array!(TensorView, view, a => offender(a, low, high)) {
        None => Ok(()),
        Some((at, value)) => Err(BindError::OutOfRange { input: name.to_string(), at, value, low, high }),
    }
}

fn check_sorted(name: &str, view: &TensorView<'_>) -> Result<(), BindError> {
    fn descends<T: Element>(a: &ArrayViewD<'_, T>) -> Option<Vec<usize>> {
        let last = a.ndim().checked_sub(1)?;
        let line_descends = |line: &ArrayView1<'_, T>| {
            line.iter().zip(line.iter().skip(1)).position(|(x, next)| x.to_f64() > next.to_f64())
        };
        let lines = a.lanes(Axis(last));
        let (number, position) =
            lines.into_iter().enumerate().find_map(|(number, line)| Some((number, line_descends(&line)?)))?;
        // The number of the line, back into an index of the leading axes.
        let mut at = vec![position];
        let mut rest = number;
        for extent in a.shape()[..last].iter().rev() {
            at.insert(0, rest % extent);
            rest /= extent;
        }
        Some(at)
    }
    match on_array!(TensorView, view, a => descends(a)) {
        None => Ok(()),
        Some(at) => Err(BindError::NotSorted { input: name.to_string(), at }),
    }
}

/// Least and greatest element of each integer input, in the spec's order; `None` for reals.
pub fn table_ranges(inputs: Inputs<'_, '_>) -> impl Iterator<Item = Option<(i64, i64)>> {
    inputs.iter().map(integer_range)
}

fn integer_range(view: &TensorView<'_>) -> Option<(i64, i64)> {
    fn ends<T: Copy + Into<i64>>(a: &ArrayViewD<'_, T>) -> Option<(i64, i64)> {
        fn fold<'e, T: Copy + Into<i64> + 'e>(values: impl Iterator<Item = &'e T>) -> Option<(i64, i64)> {
            values.fold(None, |range, v| {
                let v = (*v).into();
                Some(range.map_or((v, v), |(low, high): (i64, i64)| (low.min(v), high.max(v))))
            })
        }
        a.as_slice_memory_order().map_or_else(|| fold(a.iter()), |all| fold(all.iter()))
    }
    match view {
        TensorView::I8(a) => ends(a),
        TensorView::U8(a) => ends(a),
        TensorView::I32(a) => ends(a),
        TensorView::I64(a) => ends(a),
        TensorView::Bool(a) => ends(a),
        _ => None,
    }
}
