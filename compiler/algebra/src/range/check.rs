//! Every index of every input, under the guards around it.
//!
//! An index is first bounded without guards; only where that fails are the
//! guards on the way to it used, and where those fail, too, all positions are
//! tried.

use std::collections::BTreeSet;

use crate::axis::{AxisId, InputId};
use crate::ops::NaryOp;
use crate::spec::{DType, Extents, Spec};
use crate::term::{Node, TermId};

use super::exhaustive::{Trial, try_all};
use super::interval::{Interval, Intervals};
use super::linear::{Forms, Linear};

/// Terms visited under different guards, at most; beyond it guards are not used.
const VISIT_LIMIT: usize = 20_000;

/// An index that may lie outside its axis.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
#[error("{}", self.message())]
pub struct IndexError {
    /// The input's name.
    pub input: String,
    /// The name of the axis indexed.
    pub axis: String,
    /// Its extent.
    pub extent: i64,
    /// The least and greatest index that the proof must reckon with; `None` where nothing is known.
    pub index: Option<(i128, i128)>,
    /// Whether an index outside occurs, not only cannot be excluded.
    pub certain: bool,
}

impl IndexError {
    fn message(&self) -> String {
        let Self { input, axis, extent, index, certain } = self;
        let axis_text = format!("axis `{axis}` of `{input}` has {extent} positions");
        match index {
            Some((at, last)) if *certain && at == last => format!("{axis_text}, but is indexed at {at}"),
            Some((low, high)) => format!("{axis_text}, but its index may lie anywhere in {low} .. {high}"),
            None => format!("{axis_text}, but nothing bounds its index"),
        }
    }
}

/// Checks that every index of an input that can decide a result lies in its axis.
///
/// `tables` gives, for each input in order, the least and greatest element of an integer input where they are known;
/// elsewhere its type bounds them, and its declared range where there is one.
///
/// # Errors
/// Every index for which no proof was found, in order.
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
        risky: risky_terms(spec, extents, &intervals),
        forms: Forms::new(&spec.terms, extents),
        intervals: &intervals,
        seen: BTreeSet::new(),
        errors: BTreeSet::new(),
    };
    for output in &spec.outputs {
        check.visit(output.term, &BTreeSet::new());
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

type Guards = BTreeSet<(TermId, bool)>;

struct Check<'a> {
    spec: &'a Spec,
    extents: &'a Extents,
    /// Terms under which an index is not bounded without guards.
    risky: Vec<bool>,
    forms: Forms<'a>,
    intervals: &'a Intervals,
    seen: BTreeSet<(TermId, Guards)>,
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

fn risky_terms(spec: &Spec, extents: &Extents, intervals: &Intervals) -> Vec<bool> {
    let mut risky: Vec<bool> = Vec::with_capacity(spec.terms.len());
    for at in 0..spec.terms.len() {
        let node = spec.terms.node(TermId(at as u32));
        let own = match node {
            Node::Input { input, index } => {
                let mut indices = index.iter().enumerate();
                !indices.all(|(axis, index)| bounded_alone(spec, extents, intervals, *input, axis, *index))
            }
            _ => false,
        };
        risky.push(own || node.operands().iter().any(|t| risky[t.0 as usize]));
    }
    risky
}

impl Check<'_> {
    fn is_risky(&self, id: TermId) -> bool {
        self.risky[id.0 as usize]
    }

    fn visit(&mut self, id: TermId, guards: &Guards) {
        if !self.is_risky(id) {
            return;
        }
        let nothing = Guards::new();
        let guards = if self.seen.len() < VISIT_LIMIT { guards } else { &nothing };
        if !self.seen.insert((id, guards.clone())) {
            return;
        }
        match self.spec.terms.node(id).clone() {
            Node::Input { input, index } => {
                for (axis, index) in index.into_iter().enumerate() {
                    self.visit(index, guards);
                    self.check_index(input, axis, index, guards);
                }
            }
            Node::Select(condition, a, b) => {
                self.visit(condition, guards);
                self.visit(a, &with(guards, condition, true));
                self.visit(b, &with(guards, condition, false));
            }
            Node::Nary(op @ (NaryOp::And | NaryOp::Or), parts) => {
                // An operand that cannot fail, or an earlier one, may guard the others.
                let mut inner = guards.clone();
                let (risky, safe): (Vec<TermId>, Vec<TermId>) = parts.iter().partition(|p| self.is_risky(**p));
                inner.extend(safe.into_iter().map(|p| (p, op == NaryOp::And)));
                for part in risky {
                    self.visit(part, &inner);
                    inner.insert((part, op == NaryOp::And));
                }
            }
            Node::Reduce { axis, domain, body, .. } | Node::Softmax { axis, domain, body } => {
                self.visit_bound(axis, Some(domain), &[body], guards);
            }
            Node::Attend { axis, domain, score, value } => {
                self.visit_bound(axis, Some(domain), &[score, value], guards);
            }
            Node::Scan { axis, .. } => {
                let operands = self.spec.terms.node(id).operands();
                self.visit_bound(axis, None, &operands, guards);
            }
            Node::Order { axis, key } => self.visit_bound(axis, None, &[key], guards),
            Node::At { axis, index, body } => {
                self.visit(index, guards);
                self.visit_bound(axis, None, &[body], guards);
            }
            node => node.operands().into_iter().for_each(|t| self.visit(t, guards)),
        }
    }

    /// What runs over `axis`: guards about that axis from outside mean another position of it.
    fn visit_bound(&mut self, axis: AxisId, domain: Option<TermId>, bodies: &[TermId], guards: &Guards) {
        let terms = &self.spec.terms;
        let outer: Guards = guards.iter().filter(|(t, _)| !terms.free(*t).contains(axis)).copied().collect();
        let inner = domain.map_or_else(|| outer.clone(), |domain| with(&outer, domain, true));
        domain.into_iter().for_each(|domain| self.visit(domain, &outer));
        bodies.iter().for_each(|body| self.visit(*body, &inner));
    }

    fn check_index(&mut self, input: InputId, axis: usize, index: TermId, guards: &Guards) {
        if bounded_alone(self.spec, self.extents, self.intervals, input, axis, index) {
            return;
        }
        let declared = self.spec.input(input);
        let axis_info = self.spec.axis(declared.axes[axis]);
        let extent = self.spec.eval_extent(axis_info.extent, self.extents).unwrap_or(0);
        if self.proves(index, extent, guards) {
            return;
        }
        let interval = self.intervals.get(index).map(|v| (v.lo, v.hi));
        let (index, certain) = match try_all(self.spec, self.extents, index, extent, guards) {
            Trial::Inside => return,
            Trial::Outside(at) => (Some((at.into(), at.into())), true),
            Trial::Unknown => (interval, false),
        };
        let (input, axis) = (declared.name.clone(), axis_info.name.clone());
        self.errors.insert(IndexError { input, axis, extent, index, certain });
    }

    /// Whether `0 <= index < extent` follows in every case of the guards.
    fn proves(&mut self, index: TermId, extent: i64, guards: &Guards) -> bool {
        let form = self.forms.of(index);
        let zero = Linear::default();
        let (Some(low), Some(high)) = (zero.plus(&form, -1), form.plus(&Linear::constant(1 - i128::from(extent)), 1))
        else {
            return false;
        };
        let mut cases: Vec<Vec<Linear>> = vec![Vec::new()];
        for (predicate, holds) in guards {
            let more = self.forms.cases(*predicate, *holds);
            if cases.len() * more.len() <= 64 {
                cases = cases.iter().flat_map(|a| more.iter().map(|c| [&a[..], &c[..]].concat())).collect();
            }
        }
        cases.iter().all(|facts| {
            self.forms.proves(&low, facts, self.intervals) && self.forms.proves(&high, facts, self.intervals)
        })
    }
}

fn with(guards: &Guards, predicate: TermId, holds: bool) -> Guards {
    let mut out = guards.clone();
    out.insert((predicate, holds));
    out
}
