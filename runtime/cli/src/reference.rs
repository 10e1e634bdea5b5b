//! Comparing outputs with the f64 reference and with recorded tensors.

use std::collections::BTreeMap;

use attnc::Tensor;
use attnc_algebra::{Extents, Reference, Spec};

use crate::accuracy::Accuracy;
use crate::failure::Failure;
use crate::mask;
use crate::progress::Progress;

/// Outcome of a comparison with the reference.
pub struct Check {
    /// How far the outputs are off.
    pub accuracy: Accuracy,
    /// Rows compared: positions of all axes of an output but the last.
    pub rows_checked: usize,
    /// Rows there are.
    pub rows_total: usize,
}

/// Operations that the reference may spend on all rows of an output before rows are sampled.
const OPERATIONS: f64 = 6e8;

/// The least number of rows that are compared.
const FEWEST_ROWS: usize = 32;

/// Rows evaluated between two steps of the progress bar.
const BATCH: usize = 256;

/// An output row and its reference.
type ComparedRow = (Vec<f64>, Vec<f64>);

/// Compares all outputs with the reference, on sampled rows where all would take too long.
///
/// # Errors
/// If the reference cannot evaluate the spec.
pub fn check(spec: &Spec, extents: &Extents, inputs: &[Tensor], outputs: &[Tensor]) -> Result<Check, Failure> {
    let fail =
        |e: attnc_algebra::ReferenceError| Failure::input(format!("the reference cannot evaluate the spec: {e}"));
    let mut reference = Reference::new(spec, extents, inputs).map_err(fail)?;
    let finite = finite_in_place(inputs);
    let mut without = match &finite {
        Some(finite) => Some(Reference::new(spec, extents, finite).map_err(fail)?),
        None => None,
    };
    let mut check = Check { accuracy: Accuracy::default(), rows_checked: 0, rows_total: 0 };
    let total: usize = outputs.iter().map(|o| row_count(o.shape())).sum();
    let per_row = mask::naive_operations(spec, extents) / total.max(1) as f64;
    let affordable = ((OPERATIONS / per_row.max(1.0)) as usize).max(FEWEST_ROWS);
    for (at, (output, declared)) in outputs.iter().zip(&spec.outputs).enumerate() {
        let shape = output.shape();
        let rows = row_count(shape);
        let chosen = sample(rows, affordable);
        let width = shape.last().copied().unwrap_or(1);
        let leading = &shape[..shape.len().saturating_sub(1)];
        let grouped: Vec<bool> =
            declared.axes.iter().map(|a| matches!(spec.axis(*a).name.as_str(), "b" | "h")).collect();
        let progress = Progress::new(chosen.len().div_ceil(BATCH) as u64, "evaluating the reference");
        let mut groups: BTreeMap<Vec<usize>, Vec<ComparedRow>> = BTreeMap::new();
        for batch in chosen.chunks(BATCH) {
            let positions: Vec<Vec<usize>> = batch.iter().map(|row| unflatten(*row, leading)).collect();
            let expected = reference.output_rows(at, &positions).map_err(fail)?;
            for (number, (row, position)) in batch.iter().zip(&positions).enumerate() {
                let got: Vec<f64> = (row * width..(row + 1) * width).map(|e| output.get_f64(e)).collect();
                let mut expected: Vec<f64> = expected.index_axis(ndarray::Axis(0), number).iter().copied().collect();
                if let Some(without) = without.as_mut().filter(|_| differ_where_infinite(&got, &expected)) {
                    let row = without.output_rows(at, std::slice::from_ref(position)).map_err(fail)?;
                    free_what_depends(&mut expected, row.iter().copied());
                }
                let group = position.iter().zip(&grouped).filter(|(_, g)| **g).map(|(p, _)| *p).collect();
                groups.entry(group).or_default().push((got, expected));
            }
            progress.step();
        }
        for rows in groups.values() {
            check.accuracy.add_group(output.dtype(), rows.iter().map(|(g, e)| (g.as_slice(), e.as_slice())));
        }
        check.rows_checked += chosen.len();
        check.rows_total += rows;
    }
    Ok(check)
}

/// The inputs with 0 in place of what is not finite; `None` if all is.
fn finite_in_place(inputs: &[Tensor]) -> Option<Vec<Tensor>> {
    let is_finite = |input: &Tensor| (0..input.len()).all(|at| input.get_f64(at).is_finite());
    if inputs.iter().all(is_finite) {
        return None;
    }
    let replaced = |input: &Tensor| {
        if is_finite(input) {
            return input.clone();
        }
        let values: Vec<f64> = input.to_f64().into_iter().map(|x| if x.is_finite() { x } else { 0.0 }).collect();
        Tensor::from_f64(input.dtype(), input.shape().to_vec(), &values).expect("as many as before")
    };
    Some(inputs.iter().map(replaced).collect())
}

/// Whether a row holds a value that is not finite where the reference is infinite, and is not that infinity.
fn differ_where_infinite(got: &[f64], expected: &[f64]) -> bool {
    got.iter().zip(expected).any(|(g, e)| e.is_infinite() && !g.is_finite() && g != e)
}

/// Which non-finite value appears is free where a result depends on a NaN or an infinity in the data: where it is
/// another one without these. NaN in the reference stands for any of them.
fn free_what_depends(expected: &mut [f64], without: impl Iterator<Item = f64>) {
    for (e, plain) in expected.iter_mut().zip(without) {
        if e.is_infinite() && plain != *e {
            *e = f64::NAN;
        }
    }
}

/// Compares an output with a recorded tensor of the same shape; a missing leading axis of extent 1 is allowed. The
/// leading axes, but the last two, are the groups that errors are relative to.
///
/// # Errors
/// What does not fit.
pub fn compare(output: &Tensor, recorded: &Tensor) -> Result<Accuracy, String> {
    let shape = output.shape();
    let fits = shape == recorded.shape() || (shape.first() == Some(&1) && &shape[1..] == recorded.shape());
    if !fits {
        return Err(format!("shape {:?} was recorded, but the output has shape {shape:?}", recorded.shape()));
    }
    let (got, expected) = (output.to_f64(), recorded.to_f64());
    let group: usize = shape.iter().rev().take(2).product::<usize>().max(1);
    let mut accuracy = Accuracy::default();
    for (g, e) in got.chunks(group).zip(expected.chunks(group)) {
        accuracy.add_group(output.dtype(), std::iter::once((g, e)));
    }
    Ok(accuracy)
}

fn row_count(shape: &[usize]) -> usize {
    shape[..shape.len().saturating_sub(1)].iter().product()
}

/// `count` of `total` rows, evenly spread, the first and the last among them.
fn sample(total: usize, count: usize) -> Vec<usize> {
    if count >= total {
        return (0..total).collect();
    }
    let last = count.max(2) - 1;
    let mut rows: Vec<usize> = (0..=last).map(|k| ((total - 1) as u128 * k as u128 / last as u128) as usize).collect();
    rows.dedup();
    rows
}

fn unflatten(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    for (p, extent) in position.iter_mut().zip(shape).rev() {
        *p = at % extent;
        at /= extent;
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error of a row of maxima over a row of data, which is -inf where there is nothing below it.
    fn error(data: &[f32], got: &[f32]) -> f64 {
        let text = "spec x\naxis i, j = N\ninput x[j]\noutput out[i] = max[j where j < i](x)\n";
        let spec = attnc_algebra::compile_text(text, &attnc_algebra::Settings::default()).expect("a spec");
        let mut extents = Extents::default();
        extents.0.insert(spec.symbol("N").expect("an extent"), data.len() as i64);
        let tensor = |v: &[f32]| Tensor::f32(&[v.len()], v.to_vec()).expect("as many");
        check(&spec, &extents, &[tensor(data)], &[tensor(got)]).expect("it runs").accuracy.max_abs_err
    }

    #[test]
    fn only_what_depends_on_infinite_data_may_be_any_of_what_is_not_finite() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert_eq!(error(&[1.0, inf, 0.0], &[-inf, 1.0, inf]), 0.0);
        assert_eq!(error(&[1.0, inf, 0.0], &[-inf, 1.0, nan]), 0.0);
        assert_eq!(error(&[1.0, inf, 0.0], &[-inf, 1.0, -inf]), 0.0);
        assert!(error(&[1.0, inf, 0.0], &[nan, 1.0, inf]).is_infinite(), "nothing lies below the first position");
        assert!(error(&[1.0, 2.0, 0.0], &[nan, 1.0, 2.0]).is_infinite());
        assert!(error(&[1.0, inf, 0.0], &[-inf, 1.0, 2.0]).is_infinite());
    }

    #[test]
    fn samples_hold_the_first_and_the_last_row() {
        assert_eq!(sample(5, 9), [0, 1, 2, 3, 4]);
        let rows = sample(1_000_000, 32);
        assert_eq!((rows[0], rows[31], rows.len()), (0, 999_999, 32));
    }
}
