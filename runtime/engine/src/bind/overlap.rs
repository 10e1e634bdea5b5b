//! Outputs must not share memory with inputs or each other.

use std::ops::Range;

use attnc_algebra::Spec;

use super::names::{Inputs, Named};
use crate::error::BindError;
use crate::tensor::TensorViewMut;

/// Refuses outputs whose memory range meets that of an input or another output, or that repeat elements; `order` says
/// where the spec's outputs are among those given.
///
/// Ranges are compared, not elements: interleaved views of one array are refused too.
pub fn check(
    spec: &Spec,
    inputs: Inputs<'_, '_>,
    order: &[usize],
    given: &[Named<'_, TensorViewMut<'_>>],
) -> Result<(), BindError> {
    let written = |k: usize| {
        let output = &given[order[k]].1;
        range(output.start(), output.dtype().size(), output.shape(), output.strides())
    };
    for k in 0..order.len() {
        let (output, name) = (&given[order[k]].1, &spec.outputs[k].name);
        if repeats(output.shape(), output.strides()) {
            return Err(BindError::RepeatedElements { output: name.clone(), strides: output.strides().to_vec() });
        }
        let own = written(k);
        let meets = |other: Range<isize>| own.start < other.end && other.start < own.end;
        let mut views = inputs.iter();
        let input = views.position(|i| meets(range(i.address(), i.dtype().size(), i.shape(), i.strides())));
        let other = input.map(|at| &spec.inputs[at].name);
        let other = other.or_else(|| (0..k).find(|at| meets(written(*at))).map(|at| &spec.outputs[at].name));
        if let Some(other) = other {
            return Err(BindError::Overlap { output: name.clone(), other: other.clone() });
        }
    }
    Ok(())
}

/// Addresses from the first to one past the last byte of a view.
fn range(first: *const u8, size: usize, shape: &[usize], strides: &[isize]) -> Range<isize> {
    let (base, size) = (first as isize, size as isize);
    if shape.contains(&0) {
        return base..base;
    }
    let (mut low, mut high) = (base, base + size);
    for (extent, stride) in shape.iter().zip(strides) {
        let span = (*extent as isize - 1) * stride * size;
        if span < 0 { low += span } else { high += span }
    }
    low..high
}

/// Whether strides of 0 map several positions to one element. (Other repetitions cannot be made with safe code.)
fn repeats(shape: &[usize], strides: &[isize]) -> bool {
    shape.iter().zip(strides).any(|(extent, stride)| *extent > 1 && *stride == 0)
}
