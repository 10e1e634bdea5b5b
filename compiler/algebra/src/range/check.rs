//! Every index of every input in its axis, and every divisor of integers other than 0, under the guards around it.
//!
//! An index is first bounded without guards; only where that fails are the
//! guards on the way to it used, and where those fail, too, all positions are
//! tried.

use std::collections::BTreeSet;

use crate::axis::InputId;
use crate::spec::{DType, Extents, Spec};
use crate::term::TermId;

use super::exhaustive::{Trial, try_all};
use super::interval::{Interval, Intervals};
use super::linear::{Forms, Linear};
use super::walk::{Guards, Site, Walk};

/// Bytes of an index's text up to which a message has it.
const LONGEST_INDEX: usize = 80;

/// An index that may lie outside its axis, or a divisor that may be 0.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
#[error("{}", self.message())]
pub enum IndexError {
    /// An index.
    Outside {
        /// The input's name.
        input: String,
        /// The name of the axis indexed.
        axis: String,
        /// Its extent.
        extent: i64,
        /// The index, as text; `None` where that is long.
        at: Option<String>,
        /// The least and greatest index that the proof must reckon with; `None` where nothing is known.
        index: Option<(i128, i128)>,
        /// Whether an index outside occurs, not only cannot be excluded.
        certain: bool,
    },
    /// A divisor of integers.
    ZeroDivisor {
        /// The quotient or remainder, as text.
        quotient: String,
        /// Whether the divisor is 0 somewhere, not only cannot be excluded to be.
        certain: bool,
    },
}

impl IndexError {
    fn message(&self) -> String {
        match self {
            Self::Outside { input, axis, extent, at, index, certain } => {
                let axis_text = format!("axis `{axis}` of `{input}` has {extent} positions");
                let [by, own] = match at {
                    Some(at) => [format!(" by `{at}`"), format!(" `{at}`")],
                    None => Default::default(),
                };
                match index {
                    Some((at, last)) if *certain && at == last => format!("{axis_text}, but is indexed at {at}{by}"),
                    Some((low, high)) => {
                        format!("{axis_text}, but its index{own} may lie anywhere in {low} .. {high}")
                    }
                    None => format!("{axis_text}, but nothing bounds its index{own}"),
                }
            }
            Self::ZeroDivisor { quotient, certain: true } => format!("`{quotient}` divides by 0 at some position"),
            Self::ZeroDivisor { quotient, certain: false } => {
                format!("`{quotient}` may divide by 0: nothing excludes it")
            }
        }
    }
}

/// Checks that every index of an input that can decide a result lies in its axis, and that no divisor of integers that
/// can is 0.
///
/// `tables` gives, for each input in order, the least and greatest element of an integer input where they are known;
/// elsewhere its type bounds them, and its declared range where there is one.
///
/// # Errors
/// Every index and divisor for which no proof was found, in order.
pub fn check_indices(spec: &Spec, extents: &Extents, tables: &[Option<(i64, i64)>]) -> Result<(), Vec<IndexError>> {
    let tables: Vec<Option<Interval>> = (0..spec.inputs.len())
        .map(|at| {
            let known = tables.get(at).copied().flatten();
            known
                .and_then(|(lo, hi)| Interval::new(lo.into(), hi.into()))
                .or_else(|| declared_interval(spec, extents, at))
        })
        .collect();
    let intervals = Intervals::new(spec, &spec.terms, extents, &tables);
    let mut check = Check {
        spec,
        extents,
        forms: Forms::new(&spec.terms, extents),
        intervals: &intervals,
        errors: BTreeSet::new(),
    };
    let is_open = |site: Site| match site {
        Site::Index { input, axis, index, .. } => !bounded_alone(spec, extents, &intervals, input, axis, index),
        Site::Divisor { by, .. } => !intervals.get(by).is_some_and(|v| v.lo > 0 || v.hi < 0),
    };
    let mut walk = Walk::new(&spec.terms, &is_open);
    for output in &spec.outputs {
        walk.visit(output.term, &Guards::new(), &mut |site, guards| check.site(site, guards));
    }
    if check.errors.is_empty() { Ok(()) } else { Err(check.errors.into_iter().collect()) }
}

/// What a declaration says of an integer input's elements.
pub(crate) fn declared_interval(spec: &Spec, extents: &Extents, input: usize) -> Option<Interval> {
    let declared = &spec.inputs[input];
    let of_type = match declared.dtype {
        DType::I8 => Interval::new(-128, 127),
        DType::U8 => Interval::new(0, 255),
        DType::I32 => Interval::new(i32::MIN.into(), i32::MAX.into()),
        DType::I64 => Some(Interval::I64),
        DType::Bool => Some(Interval::TRUTH),
        DType::F32 | DType::F64 | DType::F16 | DType::Bf16 => None,
    }?;
    let range = declared.range.and_then(|(lo, hi)| {
        let (lo, hi) = (spec.eval_extent(lo, extents)?, spec.eval_extent(hi, extents)?);
        Interval::new(lo.into(), hi.into())?.meet(of_type)
    });
    Some(range.unwrap_or(of_type))
}

struct Check<'a> {
    spec: &'a Spec,
    extents: &'a Extents,
    forms: Forms<'a>,
    intervals: &'a Intervals,
    errors: BTreeSet<IndexError>,
}

/// Whether the index number `axis` of `input` is in range by its interval alone.
fn bounded_alone(
    spec: &Spec,
    extents: &Extents,
    intervals: &Intervals,
    input: InputId,
    axis: usize,
    index: TermId,
) -> bool {
    let extent = spec.eval_extent(spec.axis(spec.input(input).axes[axis]).extent, extents);
    match (intervals.get(index), extent) {
        (Some(v), Some(extent)) => v.lo >= 0 && v.hi < extent.into(),
        _ => false,
    }
}

impl Check<'_> {
    fn site(&mut self, site: Site, guards: &Guards) {
        match site {
            Site::Index { input, axis, index, .. } => self.index(input, axis, index, guards),
            Site::Divisor { quotient, by } => self.divisor(quotient, by, guards),
        }
    }

    fn index(&mut self, input: InputId, axis: usize, index: TermId, guards: &Guards) {
        let declared = self.spec.input(input);
        let axis_info = self.spec.axis(declared.axes[axis]);
        let extent = self.spec.eval_extent(axis_info.extent, self.extents).unwrap_or(0);
        if self.proves(index, guards, &[(-1, 0), (1, 1 - i128::from(extent))]) {
            return;
        }
        let interval = self.intervals.get(index).map(|v| (v.lo, v.hi));
        let at = Some(crate::print_term(self.spec, index)).filter(|text| text.len() <= LONGEST_INDEX);
        let (index, certain) = match try_all(self.spec, self.extents, index, guards, |v| (0..extent).contains(&v)) {
            Trial::Inside => return,
            Trial::Outside(at) => (Some((at.into(), at.into())), true),
            Trial::Unknown => (interval, false),
        };
        let (input, axis) = (declared.name.clone(), axis_info.name.clone());
        self.errors.insert(IndexError::Outside { input, axis, extent, at, index, certain });
    }

    fn divisor(&mut self, quotient: TermId, by: TermId, guards: &Guards) {
        if self.proves(by, guards, &[(-1, 1)]) || self.proves(by, guards, &[(1, 1)]) {
            return;
        }
        let certain = match try_all(self.spec, self.extents, by, guards, |v| v != 0) {
            Trial::Inside => return,
            Trial::Outside(_) => true,
            Trial::Unknown => false,
        };
        let quotient = crate::print_term(self.spec, quotient);
        self.errors.insert(IndexError::ZeroDivisor { quotient, certain });
    }

    /// Whether `factor * term + constant <= 0` follows for each of `bounds` in every case of the guards.
    fn proves(&mut self, term: TermId, guards: &Guards, bounds: &[(i128, i128)]) -> bool {
        let form = self.forms.of(term);
        let bound = |(factor, constant): &(i128, i128)| Linear::constant(*constant).plus(&form, *factor);
        let Some(targets) = bounds.iter().map(bound).collect::<Option<Vec<Linear>>>() else { return false };
        let mut cases: Vec<Vec<Linear>> = vec![Vec::new()];
        for (predicate, holds) in guards {
            let more = self.forms.cases(*predicate, *holds);
            if cases.len() * more.len() <= 64 {
                cases = cases.iter().flat_map(|a| more.iter().map(|c| [&a[..], &c[..]].concat())).collect();
            }
        }
        cases.iter().all(|facts| targets.iter().all(|target| self.forms.proves(target, facts, self.intervals)))
    }
}
