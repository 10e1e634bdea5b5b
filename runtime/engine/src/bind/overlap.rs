//! Outputs must not share memory with inputs or each other.

use std::ops::Range;

use attnc_plan::{Plan, Role};

use crate::error::BindError;
use crate::tensor::{TensorView, TensorViewMut};

/// Refuses outputs whose memory range meets that of an input or another output, or that repeat elements.
///
/// Ranges are compared, not elements: interleaved views of one array are refused too.
pub fn check(plan: &Plan, inputs: &[TensorView<'_>], outputs: &[TensorViewMut<'_>]) -> Result<(), BindError> {
    let name = |role: Role| plan.buffers.iter().find(|b| b.role == role).map_or(String::new(), |b| b.name.clone());
    for (k, output) in outputs.iter().enumerate() {
        if repeats(output.shape(), output.strides()) {
            let output_name = name(Role::Output(k as u32));
            return Err(BindError::RepeatedElements { output: output_name, strides: output.strides().to_vec() });
        }
        let range = range(&output.view());
        let meets = |other: &Range<isize>| range.start < other.end && other.start < range.end;
        let input = inputs.iter().position(|i| meets(&self::range(i))).map(|at| Role::Input(at as u32));
        let earlier =
            outputs[..k].iter().position(|o| meets(&self::range(&o.view()))).map(|at| Role::Output(at as u32));
        if let Some(other) = input.or(earlier) {
            return Err(BindError::Overlap { output: name(Role::Output(k as u32)), other: name(other) });
        }
    }
    Ok(())
}

/// Addresses from the first to one past the last byte of a view.
fn range(view: &TensorView<'_>) -> Range<isize> {
    let base = view.address() as isize;
    if view.is_empty() {
        return base..base;
    }
    let size = view.dtype().size() as isize;
    let (mut low, mut high) = (base, base + size);
    for (extent, stride) in view.shape().iter().zip(view.strides()) {
        let span = (*extent as isize - 1) * stride * size;
        if span < 0 { low += span } else { high += span }
    }
    low..high
}

/// Whether strides of 0 map several positions to one element. (Other repetitions cannot be made with safe code.)
fn repeats(shape: &[usize], strides: &[isize]) -> bool {
    shape.iter().zip(strides).any(|(extent, stride)| *extent > 1 && *stride == 0)
}
