//! The plan table: which form of a spec is used at which sequence length.
//!
//! Rows are maximal intervals of N with one form. Crossovers are found by bisection between powers of two, so they
//! are exact where two neighbouring powers of two have at most one crossover between them.

use attnc_algebra::Extents;

use crate::analysis::{Analysis, Candidate};
use crate::error::CompileError;
use crate::extents::{at_length, m_follows};
use crate::layout::Layout;

/// The sequence lengths that tables cover unless told otherwise.
pub const DEFAULT_RANGE: (i64, i64) = (16, 1 << 20);

/// A plan and the interval of N it is for.
#[derive(Clone, Debug)]
pub struct PlanRow {
    /// Least N.
    pub n_from: i64,
    /// Greatest N.
    pub n_to: i64,
    /// The form used, as extracted at the greatest N.
    pub candidate: Candidate,
    /// Predicted time at the least N, in ms.
    pub predicted_ms_from: f64,
    /// Predicted time at the greatest N, in ms.
    pub predicted_ms_to: f64,
    /// Bytes of inputs, outputs and working memory of one thread at the greatest N; `None` if they overflow.
    pub bytes: Option<usize>,
    /// Relative output error; 0 for exact forms.
    pub error: f64,
}

/// The rows of a spec over a range of N.
#[derive(Clone, Debug)]
pub struct PlanTable {
    /// In ascending order of N, without gaps.
    pub rows: Vec<PlanRow>,
}

impl PlanTable {
    /// The table over `from..=to` with the other extents as given.
    ///
    /// # Errors
    /// If the range is empty or no plan exists somewhere in it.
    pub fn build(analysis: &Analysis, extents: &Extents, from: i64, to: i64) -> Result<Self, CompileError> {
        if from < 1 || to < from {
            return Err(CompileError::EmptyRange { from, to });
        }
        let follows = m_follows(analysis.spec(), &analysis.options().settings);
        let at = |n: i64| at_length(analysis.spec(), extents, n, follows);
        let mut samples = sample_points(from, to);
        let mut found = Vec::new();
        for n in samples.drain(..) {
            found.push((n, analysis.extract(&at(n))?));
        }
        let mut starts = vec![(from, found[0].1.key.clone())];
        for pair in found.windows(2) {
            crossovers((pair[0].0, &pair[0].1), (pair[1].0, &pair[1].1), &mut starts, &mut |n| {
                analysis.extract(&at(n))
            })?;
        }
        let mut rows = Vec::new();
        for (index, (n_from, _)) in starts.iter().enumerate() {
            let n_to = starts.get(index + 1).map_or(to, |next| next.0 - 1);
            rows.push(row(analysis, *n_from, n_to, &at)?);
        }
        Ok(Self { rows })
    }
}

fn row(analysis: &Analysis, n_from: i64, n_to: i64, at: &dyn Fn(i64) -> Extents) -> Result<PlanRow, CompileError> {
    let candidate = analysis.extract(&at(n_to))?;
    let low = analysis.extract(&at(n_from))?;
    let plan = analysis.plan(&candidate, &at(n_to))?;
    let numbers = crate::extents::by_number(analysis.spec(), &at(n_to));
    let bytes = Layout::new(&plan, numbers)
        .ok()
        .and_then(|layout| layout.argument_bytes(&plan).checked_add(layout.scratch_bytes(1)?));
    Ok(PlanRow {
        n_from,
        n_to,
        predicted_ms_from: low.predicted_ms(),
        predicted_ms_to: candidate.predicted_ms(),
        candidate,
        bytes,
        error: 0.0,
    })
}

/// `from`, the powers of two between, and `to`.
fn sample_points(from: i64, to: i64) -> Vec<i64> {
    let mut points = vec![from];
    points.extend((0..62).map(|e| 1i64 << e).filter(|n| *n > from && *n < to));
    if to > from {
        points.push(to);
    }
    points
}

/// Appends the first N of every form after `low`'s, up to `high`'s.
fn crossovers(
    low: (i64, &Candidate),
    high: (i64, &Candidate),
    starts: &mut Vec<(i64, String)>,
    extract: &mut dyn FnMut(i64) -> Result<Candidate, CompileError>,
) -> Result<(), CompileError> {
    if low.1.key == high.1.key {
        return Ok(());
    }
    if high.0 - low.0 == 1 {
        starts.push((high.0, high.1.key.clone()));
        return Ok(());
    }
    let middle = low.0 + (high.0 - low.0) / 2;
    let between = extract(middle)?;
    crossovers(low, (middle, &between), starts, extract)?;
    crossovers((middle, &between), high, starts, extract)
}

#[cfg(test)]
mod tests {
    use super::sample_points;

    #[test]
    fn samples_are_the_ends_and_the_powers_of_two_between() {
        assert_eq!(sample_points(16, 128), [16, 32, 64, 128]);
        assert_eq!(sample_points(17, 70), [17, 32, 64, 70]);
        assert_eq!(sample_points(5, 5), [5]);
    }
}
