//! How far a result is from its reference.

use attnc::DType;

/// Errors of a set of rows against their reference.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accuracy {
    /// Largest absolute difference.
    pub max_abs_err: f64,
    /// Largest, over batches and heads, of the largest difference relative to the largest absolute reference value
    /// of that batch and head; of values too small for the output's type, relative to the smallest it has in full.
    pub max_rel_err: f64,
    sum_squared_error: f64,
    sum_squared: f64,
}

impl Accuracy {
    /// Takes in the rows of one batch and head, of an output of that type: each an output row and its reference.
    pub fn add_group<'a>(&mut self, dtype: DType, rows: impl Iterator<Item = (&'a [f64], &'a [f64])>) {
        let mut worst: f64 = 0.0;
        let mut largest = dtype.smallest_normal();
        for (got, expected) in rows {
            for (g, e) in got.iter().zip(expected) {
                let error = difference(*g, *e);
                worst = worst.max(error);
                if e.is_finite() {
                    largest = largest.max(e.abs());
                    self.sum_squared += e * e;
                }
                self.sum_squared_error += error * error;
            }
        }
        self.max_abs_err = self.max_abs_err.max(worst);
        let relative = if worst == 0.0 { 0.0 } else { worst / largest };
        self.max_rel_err = self.max_rel_err.max(relative);
    }

    /// Relative error in the Frobenius norm.
    pub fn rel_error_fro(&self) -> f64 {
        if self.sum_squared_error == 0.0 { 0.0 } else { (self.sum_squared_error / self.sum_squared).sqrt() }
    }
}

/// The absolute difference; 0 between equal infinities and between any two non-finite values where the reference
/// is NaN (which non-finite value appears is free), infinite between a number and a non-finite value.
fn difference(got: f64, expected: f64) -> f64 {
    if got == expected || (!got.is_finite() && expected.is_nan()) {
        return 0.0;
    }
    let d = (got - expected).abs();
    if d.is_nan() { f64::INFINITY } else { d }
}

#[cfg(test)]
mod tests {
    use attnc::DType;

    use super::Accuracy;

    #[test]
    fn the_error_is_relative_to_the_largest_output_of_its_head() {
        let mut accuracy = Accuracy::default();
        accuracy.add_group(DType::F32, [(&[100.0, 1.1][..], &[100.0, 1.0][..])].into_iter());
        assert!((accuracy.max_rel_err - 0.001).abs() < 1e-9);
        accuracy.add_group(DType::F32, [(&[0.1][..], &[0.2][..])].into_iter());
        assert!((accuracy.max_rel_err - 0.5).abs() < 1e-9);
    }

    #[test]
    fn what_the_type_cannot_hold_is_no_error() {
        let mut accuracy = Accuracy::default();
        accuracy.add_group(DType::F32, [(&[0.0][..], &[1e-48][..])].into_iter());
        assert!(accuracy.max_rel_err < 1e-9);
        accuracy.add_group(DType::F64, [(&[0.0][..], &[1e-48][..])].into_iter());
        assert_eq!(accuracy.max_rel_err, 1.0);
    }

    #[test]
    fn a_number_against_nan_is_infinitely_wrong() {
        let mut accuracy = Accuracy::default();
        accuracy.add_group(DType::F32, [(&[f64::NAN][..], &[1.0][..])].into_iter());
        assert!(accuracy.max_abs_err.is_infinite());
    }
}
