//! Named tensors into the spec's order, with their types and ranks checked.

use attnc_algebra::{DType, Spec};

use crate::error::BindError;
use crate::tensor::{TensorView, TensorViewMut};

/// A tensor with the name of an input or output.
pub type Named<'s, T> = (&'s str, T);

/// The inputs in the spec's order.
///
/// # Errors
/// If one is missing, unknown, given twice, or has another type or rank than declared.
pub fn inputs_in_order<'v>(spec: &Spec, given: &[Named<'_, TensorView<'v>>]) -> Result<Vec<TensorView<'v>>, BindError> {
    let declared = || listing(spec.inputs.iter().map(|i| i.name.as_str()));
    for (at, (name, _)) in given.iter().enumerate() {
        if !spec.inputs.iter().any(|i| i.name == *name) {
            return Err(BindError::UnknownInput { input: (*name).to_string(), declared: declared() });
        }
        if given[..at].iter().any(|(other, _)| other == name) {
            return Err(BindError::DuplicateInput { input: (*name).to_string() });
        }
    }
    spec.inputs
        .iter()
        .map(|input| {
            let view = given
                .iter()
                .find(|(name, _)| *name == input.name)
                .map(|(_, view)| view.clone())
                .ok_or_else(|| BindError::MissingInput { input: input.name.clone(), declared: declared() })?;
            check_type(&input.name, input.dtype, view.dtype())?;
            if view.shape().len() != input.axes.len() {
                let names: Vec<&str> = input.axes.iter().map(|a| spec.axis(*a).name.as_str()).collect();
                let axes = format!("[{}]", names.join(", "));
                return Err(BindError::WrongRank { tensor: input.name.clone(), axes, found: view.shape().to_vec() });
            }
            Ok(view)
        })
        .collect()
}

/// The outputs in the spec's order, for shapes and types as the plan says.
///
/// # Errors
/// If one is missing, unknown, given twice, or has another type or shape.
pub fn outputs_in_order<'a>(
    spec: &Spec,
    expected: &[(DType, Vec<usize>)],
    given: Vec<Named<'_, TensorViewMut<'a>>>,
) -> Result<Vec<TensorViewMut<'a>>, BindError> {
    let mut names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
    let mut wanted: Vec<&str> = spec.outputs.iter().map(|o| o.name.as_str()).collect();
    names.sort_unstable();
    wanted.sort_unstable();
    if names != wanted {
        return Err(BindError::WrongOutputs {
            given: listing(names.into_iter()),
            declared: listing(spec.outputs.iter().map(|o| o.name.as_str())),
        });
    }
    let mut rest: Vec<Option<Named<'_, TensorViewMut<'a>>>> = given.into_iter().map(Some).collect();
    let mut out = Vec::new();
    for (output, (dtype, shape)) in spec.outputs.iter().zip(expected) {
        let found = rest.iter_mut().find(|r| r.as_ref().is_some_and(|(name, _)| *name == output.name));
        let Some((_, view)) = found.and_then(Option::take) else { continue };
        check_type(&output.name, *dtype, view.dtype())?;
        check_shape(spec, output, shape, view.shape())?;
        out.push(view);
    }
    Ok(out)
}

fn check_shape(spec: &Spec, output: &attnc_algebra::Output, shape: &[usize], found: &[usize]) -> Result<(), BindError> {
    let names: Vec<&str> = output.axes.iter().map(|a| spec.axis(*a).name.as_str()).collect();
    if found.len() != shape.len() {
        let axes: Vec<String> = names.iter().zip(shape).map(|(n, e)| format!("{n} = {e}")).collect();
        let axes = format!("[{}]", axes.join(", "));
        return Err(BindError::WrongRank { tensor: output.name.clone(), axes, found: found.to_vec() });
    }
    match (0..shape.len()).find(|d| shape[*d] != found[*d]) {
        None => Ok(()),
        Some(dim) => Err(BindError::WrongExtent {
            tensor: output.name.clone(),
            axis: names[dim].to_string(),
            found: found[dim] as i64,
            expected: shape[dim] as i64,
            reason: "the inputs' shapes say so".to_string(),
        }),
    }
}

fn check_type(tensor: &str, expected: DType, found: DType) -> Result<(), BindError> {
    if expected == found {
        return Ok(());
    }
    Err(BindError::WrongType { tensor: tensor.to_string(), expected: expected.name(), found: found.name() })
}

/// Names as text, `q, k, v`; `nothing` if there is none.
pub fn listing<'s>(names: impl Iterator<Item = &'s str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "nothing".to_string() } else { names.join(", ") }
}
