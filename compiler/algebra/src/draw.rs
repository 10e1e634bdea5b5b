//! Inputs drawn from a seeded generator.
//!
//! Owns what `--random` means: the same spec, extents and seed give the same
//! tensors on every machine, and every drawn tensor is a legal input. Reals
//! are N(0, 1), times their declared scale, or uniform in their declared range; integer tables are uniform
//! over what their uses permit, which `permitted` derives; `runs` tables count
//! up; truth values are fair coins.

mod generator;
mod permitted;

use crate::axis::InputId;
use crate::spec::{DType, Extents, Input, Spec, unusable_extent};
use crate::tensor::Tensor;
use crate::term::{Node, TermId, Type};

use generator::Generator;
use permitted::permitted_values;

/// Elements of one tensor, at most.
const VOLUME_LIMIT: i64 = 1 << 34;

/// Why inputs cannot be drawn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DrawError {
    /// An axis of an input without a usable extent.
    #[error("input `{input}`: {}", unusable_extent(axis, *extent))]
    AxisExtent {
        /// The input.
        input: String,
        /// The axis.
        axis: String,
        /// Its extent, if it is a number.
        extent: Option<i64>,
    },
    /// A tensor of too many elements.
    #[error("input `{input}` would have more than 2^34 elements")]
    TooLarge {
        /// The input.
        input: String,
    },
    /// No value that the uses or the declared range of a table permit.
    #[error("no value of `{input}` is permitted: {reason}")]
    NothingPermitted {
        /// The input.
        input: String,
        /// Why.
        reason: String,
    },
    /// A declared range, scale or run length that has no value at these extents.
    #[error("the declared {what} of `{input}` has no value at these extents")]
    Declaration {
        /// The input.
        input: String,
        /// `range`, `scale` or `run length`.
        what: &'static str,
    },
}

/// Draws one tensor per declared input.
///
/// Every input has its own stream, so that adding one does not change the others.
///
/// # Errors
/// If an extent is missing or too large, or no value of a table is permitted.
pub fn draw_inputs(spec: &Spec, extents: &Extents, seed: u64) -> Result<Vec<Tensor>, DrawError> {
    (0..spec.inputs.len()).map(|at| draw_input(spec, extents, InputId(at as u32), seed)).collect()
}

fn draw_input(spec: &Spec, extents: &Extents, id: InputId, seed: u64) -> Result<Tensor, DrawError> {
    let input = spec.input(id);
    let shape = shape_of(spec, extents, input)?;
    let volume: usize = shape.iter().product();
    let mut generator = Generator::new(seed, u64::from(id.0));
    let elements: Vec<f64> = match input.dtype.ty() {
        Type::Real => draw_reals(spec, extents, input, volume, &mut generator)?,
        Type::Bool => (0..volume).map(|_| f64::from(u8::from(generator.coin()))).collect(),
        Type::Int => {
            let (lo, hi) = permitted_values(spec, extents, id)?;
            match input.runs {
                None => (0..volume).map(|_| generator.integer(lo, hi) as f64).collect(),
                Some(length) => {
                    let length = constant(spec, length, extents)
                        .filter(|l| *l >= 1.0)
                        .ok_or_else(|| DrawError::Declaration { input: input.name.clone(), what: "run length" })?;
                    draw_runs(volume, shape.last().copied().unwrap_or(1), length, (lo, hi), &mut generator)
                }
            }
        }
    };
    let too_large = |_| DrawError::TooLarge { input: input.name.clone() };
    Tensor::from_f64(input.dtype, shape, &elements).map_err(too_large)
}

fn shape_of(spec: &Spec, extents: &Extents, input: &Input) -> Result<Vec<usize>, DrawError> {
    let mut volume = 1i64;
    let mut shape = Vec::with_capacity(input.axes.len());
    for axis in &input.axes {
        let axis = spec.axis(*axis);
        let extent = spec.eval_extent(axis.extent, extents);
        let unusable = || DrawError::AxisExtent { input: input.name.clone(), axis: axis.name.clone(), extent };
        let extent = extent.filter(|e| *e >= 1).ok_or_else(unusable)?;
        volume = volume
            .checked_mul(extent)
            .filter(|v| *v <= VOLUME_LIMIT)
            .ok_or_else(|| DrawError::TooLarge { input: input.name.clone() })?;
        shape.push(extent as usize);
    }
    Ok(shape)
}

fn draw_reals(
    spec: &Spec,
    extents: &Extents,
    input: &Input,
    volume: usize,
    generator: &mut Generator,
) -> Result<Vec<f64>, DrawError> {
    let declared = |term: TermId, what: &'static str| {
        let value = constant(spec, term, extents).filter(|v| v.is_finite());
        value.ok_or_else(|| DrawError::Declaration { input: input.name.clone(), what })
    };
    let Some((lo, hi)) = input.range else {
        let scale = input.scale.map_or(Ok(1.0), |s| declared(s, "scale"))?;
        return Ok((0..volume).map(|_| scale * generator.normal()).collect());
    };
    let (lo, hi) = (declared(lo, "range")?, declared(hi, "range")?);
    let stored = |x: f64| Tensor::from_f64(input.dtype, vec![1], &[x]).map_or(x, |t| t.get_f64(0));
    // Rounding to storage must not leave the range; its middle is the way out.
    let middle = lo + (hi - lo) / 2.0;
    let draw = |_| {
        let x = lo + (hi - lo) * generator.unit();
        if (lo..=hi).contains(&stored(x)) { x } else { middle }
    };
    Ok((0..volume).map(draw).collect())
}

/// Rows of `width` numbers that start at 0 (or the least permitted value) and go up by one after every run, whose mean
/// length is `length`.
fn draw_runs(volume: usize, width: usize, length: f64, (lo, hi): (i64, i64), generator: &mut Generator) -> Vec<f64> {
    let first = lo.max(0).min(hi);
    let mut value = first;
    let next = |at: usize| {
        if at.is_multiple_of(width) {
            value = first;
        } else if generator.unit() * length < 1.0 {
            value = hi.min(value + 1);
        }
        value as f64
    };
    (0..volume).map(next).collect()
}

/// The value of a term without free axes and inputs, in f64.
pub(crate) fn constant(spec: &Spec, id: TermId, extents: &Extents) -> Option<f64> {
    if spec.terms.ty(id) != Type::Real {
        return spec.eval_extent(id, extents).map(|v| v as f64);
    }
    let eval = |t: &TermId| constant(spec, *t, extents);
    match spec.terms.node(id) {
        Node::Real(v) => Some(v.get()),
        Node::Unary(op, x) => Some(op.eval(eval(x)?)),
        Node::Binary(op, x, y) => Some(op.eval(eval(x)?, eval(y)?)),
        Node::Nary(op, xs) => {
            let first = eval(&xs[0])?;
            xs[1..].iter().try_fold(first, |acc, x| Some(op.eval(acc, eval(x)?)))
        }
        Node::Select(c, a, b) => eval(if eval(c)? != 0.0 { a } else { b }),
        _ => None,
    }
}

/// Values of an integer type that are drawn where nothing else says which.
fn unconstrained(dtype: DType) -> (i64, i64) {
    match dtype {
        DType::I8 => (-127, 127),
        DType::U8 => (0, 255),
        _ => (0, 15),
    }
}

#[cfg(test)]
mod tests;
