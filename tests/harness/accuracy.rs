//! How far a result is from the reference.

use attnc_algebra::{DType, Output, Spec, Tensor};
use ndarray::ArrayD;

/// The largest difference between a result and its reference, relative to the largest absolute reference value of
/// the same batch and head, or to the smallest number that the type has in full: the worst of them. Infinite where one
/// is a number and the other is not.
pub fn relative_error(spec: &Spec, output: &Output, found: &Tensor, reference: &ArrayD<f64>) -> f64 {
    if found.shape() != reference.shape() {
        return f64::INFINITY;
    }
    let outer = output.axes.iter().take_while(|a| matches!(spec.axis(**a).name.as_str(), "b" | "h")).count();
    let group: usize = reference.shape()[outer..].iter().product();
    let expected: Vec<f64> = reference.iter().copied().collect();
    let dtype = found.dtype();
    let found = found.to_f64();
    let groups = found.chunks(group.max(1)).zip(expected.chunks(group.max(1)));
    groups.map(|(found, expected)| group_error(dtype, found, expected)).fold(0.0, f64::max)
}

fn group_error(dtype: DType, found: &[f64], expected: &[f64]) -> f64 {
    let largest = expected.iter().filter(|e| e.is_finite()).fold(dtype.smallest_normal(), |m, e| m.max(e.abs()));
    let worst = found.iter().zip(expected).map(|(f, e)| difference(*f, *e)).fold(0.0, f64::max);
    if worst == 0.0 { 0.0 } else { worst / largest }
}

/// The absolute difference: 0 between equal values and where the reference is not a number or infinite and the
/// result is not finite either (which of these appears is free).
fn difference(found: f64, expected: f64) -> f64 {
    match (found.is_finite(), expected.is_finite()) {
        (true, true) => (found - expected).abs(),
        (false, false) if expected.is_nan() || found.is_nan() || found == expected => 0.0,
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use attnc_algebra::DType;

    use super::{difference, group_error};

    #[test]
    fn errors_are_relative_to_the_largest_reference() {
        let error = |found: &[f64], expected: &[f64]| group_error(DType::F32, found, expected);
        assert!((error(&[10.0, 1.1], &[10.0, 1.0]) - 0.01).abs() < 1e-12);
        assert_eq!(error(&[0.0], &[0.0]), 0.0);
        assert!(error(&[1e-9], &[0.0]) > 1.0);
        assert!(error(&[0.0], &[1e-48]) < 1e-9, "f32 has no such number");
    }

    #[test]
    fn a_number_is_far_from_what_is_none() {
        assert_eq!(difference(1.0, f64::NAN), f64::INFINITY);
        assert_eq!(difference(f64::INFINITY, 3.0), f64::INFINITY);
        assert_eq!(difference(f64::INFINITY, f64::NEG_INFINITY), f64::INFINITY);
        assert_eq!(difference(f64::NEG_INFINITY, f64::NEG_INFINITY), 0.0);
        assert_eq!(difference(f64::NAN, f64::INFINITY), 0.0);
    }
}
