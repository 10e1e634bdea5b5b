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
    /// Relative output error, as measured; 0 for exact forms.
    pub error: f64,
}

/// What a table chooses from.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Whether exact forms are among it.
    pub exact: bool,
    /// Labels of permitted approximations ([`Candidate::approximations`]), each with its measured error.
    pub approximate: &'a [(String, f64)],
}

impl Choice<'_> {
    /// The exact forms alone.
    pub const EXACT: Self = Self { exact: true, approximate: &[] };

    /// The fastest by prediction.
    fn extract(&self, analysis: &Analysis, extents: &Extents) -> Result<Candidate, CompileError> {
        let exact = self.exact.then(|| analysis.extract(extents));
        let approximate = self.approximate.iter().map(|(label, _)| analysis.extract_approximate(label, extents));
        let all = exact.into_iter().chain(approximate).collect::<Result<Vec<_>, _>>()?;
        let fastest = all.into_iter().min_by(|a, b| a.predicted.total_cmp(&b.predicted));
        fastest.ok_or(CompileError::NothingToChoose)
    }

    fn error(&self, candidate: &Candidate) -> f64 {
        let measured = self.approximate.iter().find(|(label, _)| *label == candidate.approximations);
        measured.map_or(0.0, |(_, error)| *error)
    }
}

/// The rows of a spec over a range of N.
#[derive(Clone, Debug)]
pub struct PlanTable {
    /// In ascending order of N, without gaps.
    pub rows: Vec<PlanRow>,
}

impl PlanTable {
    /// The table of the exact forms over `from..=to` with the other extents as given.
    ///
    /// # Errors
    /// If the range is empty or no plan exists somewhere in it.
    pub fn build(analysis: &Analysis, extents: &Extents, from: i64, to: i64) -> Result<Self, CompileError> {
        Self::of_choice(analysis, Choice::EXACT, extents, from, to)
    }

    /// The table of what `choice` names.
    ///
    /// # Errors
    /// As [`PlanTable::build`], and if `choice` names nothing or an approximation that is not permitted.
    pub fn of_choice(
        analysis: &Analysis,
        choice: Choice<'_>,
        extents: &Extents,
        from: i64,
        to: i64,
    ) -> Result<Self, CompileError> {
        if from < 1 || to < from {
            return Err(CompileError::EmptyRange { from, to });
        }
        let follows = m_follows(analysis.spec(), &analysis.options().settings);
        let at = |n: i64| at_length(analysis.spec(), extents, n, follows);
        let extract = |n: i64| choice.extract(analysis, &at(n));
        let mut samples = sample_points(from, to);
        let mut found = Vec::new();
        for n in samples.drain(..) {
            found.push((n, extract(n)?));
        }
        let mut starts = vec![(from, found[0].1.key.clone())];
        for pair in found.windows(2) {
            crossovers((pair[0].0, &pair[0].1), (pair[1].0, &pair[1].1), &mut starts, &extract)?;
        }
        let mut rows = Vec::new();
        for (index, (n_from, _)) in starts.iter().enumerate() {
            let n_to = starts.get(index + 1).map_or(to, |next| next.0 - 1);
            let (low, candidate) = (extract(*n_from)?, extract(n_to)?);
            rows.push(PlanRow {
                n_from: *n_from,
                n_to,
                predicted_ms_from: low.predicted_ms(),
                predicted_ms_to: candidate.predicted_ms(),
                bytes: bytes(analysis, &candidate, &at(n_to))?,
                error: choice.error(&candidate),
                candidate,
            });
        }
        Ok(Self { rows })
    }
}

/// Bytes of inputs, outputs and working memory of one thread; `None` if they overflow.
fn bytes(analysis: &Analysis, candidate: &Candidate, extents: &Extents) -> Result<Option<usize>, CompileError> {
    let plan = analysis.plan(candidate, extents)?;
    let layout = Layout::new(&plan, crate::extents::by_number(analysis.spec(), extents)).ok();
    Ok(layout.and_then(|layout| layout.argument_bytes(&plan).checked_add(layout.scratch_bytes(1)?)))
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
    extract: &dyn Fn(i64) -> Result<Candidate, CompileError>,
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
