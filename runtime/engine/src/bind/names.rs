//! Named tensors into the spec's order, with their types and ranks checked.

use attnc_algebra::{DType, Spec};

use crate::error::BindError;
use crate::tensor::{TensorView, TensorViewMut};

/// A tensor with the name of an input or output.
pub type Named<'s, T> = (&'s str, T);

/// The inputs of a call, in the spec's order.
#[derive(Clone, Copy)]
pub struct Inputs<'c, 'v> {
    given: &'c [Named<'c, TensorView<'v>>],
    /// By number in the spec: the place among those given.
    order: &'c [usize],
}

impl<'c, 'v> Inputs<'c, 'v> {
    /// Tensors as given, and the order that [`inputs_in_order`] found.
    pub fn new(given: &'c [Named<'c, TensorView<'v>>], order: &'c [usize]) -> Self {
        Self { given, order }
    }

    /// An input, by its number in the spec.
    pub fn get(&self, k: usize) -> &'c TensorView<'v> {
        &self.given[self.order[k]].1
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = &'c TensorView<'v>> {
        self.order.iter().map(move |at| &self.given[*at].1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }
}

/// Where the spec's inputs are among those given, by number in the spec.
///
/// # Errors
/// If one is missing, unknown, given twice, or has another type or rank than declared.
pub fn inputs_in_order(spec: &Spec, given: &[Named<'_, TensorView<'_>>]) -> Result<Vec<usize>, BindError> {
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
            let at = given
                .iter()
                .position(|(name, _)| *name == input.name)
                .ok_or_else(|| BindError::MissingInput { input: input.name.clone(), declared: declared() })?;
            let view = &given[at].1;
            check_type(&input.name, input.dtype, view.dtype())?;
            if view.shape().len() != input.axes.len() {
                let names: Vec<&str> = input.axes.iter().map(|a| spec.axis(*a).name.as_str()).collect();
                let axes = format!("[{}]", names.join(", "));
                return Err(BindError::WrongRank { tensor: input.name.clone(), axes, found: view.shape().to_vec() });
            }
            Ok(at)
        })
        .collect()
}

/// Where the spec's outputs are among those given, by number in the spec, for shapes and types as the plan says.
///
/// # Errors
/// If one is missing, unknown, given twice, or has another type or shape.
pub fn outputs_in_order(
    spec: &Spec,
    expected: &[(DType, Vec<usize>)],
    given: &[Named<'_, TensorViewMut<'_>>],
) -> Result<Vec<usize>, BindError> {
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
    let mut order = Vec::new();
    for (output, (dtype, shape)) in spec.outputs.iter().zip(expected) {
        let Some(at) = given.iter().position(|(name, _)| *name == output.name) else { continue };
        check_type(&output.name, *dtype, given[at].1.dtype())?;
        check_shape(spec, output, shape, given[at].1.shape())?;
        order.push(at);
    }
    Ok(order)
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
