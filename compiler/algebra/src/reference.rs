//! The reference evaluator: the definition of what a spec means.
//!
//! Naive and in f64: every reduction adds up in axis order, nothing is
//! reassociated, tiled or approximated. What it saves is only repetition: a
//! sub-term is evaluated once for each combination of its free axes, a
//! reduction over a prefix passes its rows as it runs, and only the rows asked
//! for are computed. Must stay independent of everything it is used to check.
//!
//! The rules of meaning, beyond the op table in [`crate::ops`]:
//!
//! - A sub-term counts only where its guards hold: the domain of its reduction,
//!   the condition of its branch. Elsewhere it may be NaN, index out of range
//!   or overflow without effect. In a conjunction (or disjunction) an operand
//!   that can fail counts only where those that cannot, and the ones before
//!   it, leave the result open.
//! - Softmax weights are zero outside their domain, and zero times anything
//!   there is zero, so that a NaN outside a domain never reaches a result.
//!   A row whose scores are all -inf counts as empty.
//! - Inputs are widened to f64 exactly. Integers have 64 bits; overflow in a
//!   position that counts is an error.
//! - A real becomes an integer by truncation, saturated; NaN becomes 0.

mod compile;
mod context;
mod core;
mod evaluate;
mod failure;
mod fold;
mod lanes;
mod order;
mod plan;
mod run;
mod step;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use ndarray::{ArrayD, IxDyn};

pub use failure::ReferenceError;

use crate::axis::{AxisId, AxisSet};
use crate::range::{Interval, Intervals};
use crate::spec::{Extents, Output, Spec};
use crate::tensor::{Tensor, row_major_strides};
use crate::term::{Node, TermId, Terms, Type};

use context::{Context, STORED_LIMIT};
use evaluate::Evaluator;
use failure::Failures;

/// Nesting of operations that is evaluated, at most.
pub const DEPTH_LIMIT: usize = 2_000;

/// An evaluation of one spec at given extents on given inputs.
pub struct Reference<'a> {
    evaluator: Evaluator<'a>,
    /// The core form of each output's term.
    roots: Vec<TermId>,
}

impl<'a> Reference<'a> {
    /// Prepares the evaluation of `spec` at `extents` on `inputs`, one tensor per declared input in order.
    ///
    /// # Errors
    /// If a tensor has not the declared type and shape, an extent is not bound, or the terms nest too deeply.
    pub fn new(spec: &'a Spec, extents: &'a Extents, inputs: &'a [Tensor]) -> Result<Self, ReferenceError> {
        let roots: Vec<TermId> = spec.outputs.iter().map(|o| o.term).collect();
        Self::of_terms(spec, &roots, extents, inputs)
    }

    /// As [`Reference::new`], with the outputs given by other terms of the spec's arena, one for each.
    ///
    /// # Errors
    /// As [`Reference::new`].
    pub fn of_terms(
        spec: &'a Spec,
        outputs: &[TermId],
        extents: &'a Extents,
        inputs: &'a [Tensor],
    ) -> Result<Self, ReferenceError> {
        Self::with_limit(spec, outputs, extents, inputs, STORED_LIMIT)
    }

    /// As [`Reference::of_terms`], storing terms of at most `limit` elements where there is a choice. Changes no bit.
    fn with_limit(
        spec: &'a Spec,
        outputs: &[TermId],
        extents: &'a Extents,
        inputs: &'a [Tensor],
        limit: usize,
    ) -> Result<Self, ReferenceError> {
        let axis_extents = bind_axes(spec, outputs, extents)?;
        check_inputs(spec, &axis_extents, inputs)?;
        let core = core::lower(&spec.terms, outputs);
        let depth = depth(&core.terms, &core.roots);
        if depth > DEPTH_LIMIT {
            return Err(ReferenceError::TooDeep { depth, limit: DEPTH_LIMIT });
        }
        let tables: Vec<Option<Interval>> = inputs.iter().map(table_interval).collect();
        let intervals = Intervals::new(spec, &core.terms, extents, &tables);
        let failures = Failures::new(spec, &core.terms);
        let context = Context::new(spec, core.terms, axis_extents, extents, inputs, &intervals, limit);
        Ok(Self { evaluator: Evaluator::new(context, failures), roots: core.roots })
    }

    /// Evaluates output number `output` at all positions of its axes.
    ///
    /// # Errors
    /// If an index is out of range or an integer overflows where it decides a result.
    pub fn output(&mut self, output: usize) -> Result<ArrayD<f64>, ReferenceError> {
        let declared = self.declared(output)?;
        let shape = self.shape(declared);
        let volume = shape
            .iter()
            .try_fold(1usize, |v, e| v.checked_mul(*e))
            .filter(|v| *v <= isize::MAX as usize / 8)
            .ok_or_else(|| ReferenceError::OutputTooLarge { output: declared.name.clone() })?;
        let mut out = vec![0.0; volume];
        let outer = self.slice_axes(output, declared);
        let inner_volume: usize = shape[outer..].iter().product();
        for slice in 0..volume.checked_div(inner_volume).unwrap_or(0) {
            let row = unflatten(slice, &shape[..outer]);
            self.fill(output, declared, &row, &mut out[slice * inner_volume..][..inner_volume])?;
        }
        Ok(ArrayD::from_shape_vec(IxDyn(&shape), out).expect("the volume is the product of the shape"))
    }

    /// Evaluates output number `output` at chosen rows: positions of all its axes but the last.
    ///
    /// The result has one row for each, in order, over the last axis (of extent 1 if the output has no axis).
    ///
    /// # Errors
    /// As [`Reference::output`], and if a row is not in the output.
    pub fn output_rows(&mut self, output: usize, rows: &[Vec<usize>]) -> Result<ArrayD<f64>, ReferenceError> {
        let declared = self.declared(output)?;
        let shape = self.shape(declared);
        let outer = shape.len().saturating_sub(1);
        let width = shape.last().copied().unwrap_or(1);
        let mut out = vec![0.0; width * rows.len()];
        // In sorted order neighbouring rows share what they have in common.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|at| &rows[*at]);
        for at in order {
            let row = &rows[at];
            if row.len() != outer || row.iter().zip(&shape).any(|(p, extent)| p >= extent) {
                return Err(ReferenceError::UnknownRow { output: declared.name.clone(), row: row.clone() });
            }
            self.fill(output, declared, row, &mut out[at * width..][..width])?;
        }
        Ok(ArrayD::from_shape_vec(IxDyn(&[rows.len(), width]), out).expect("rows times width elements"))
    }

    fn declared(&self, output: usize) -> Result<&'a Output, ReferenceError> {
        self.evaluator.context.spec.outputs.get(output).ok_or(ReferenceError::UnknownOutput { output })
    }

    fn shape(&self, output: &Output) -> Vec<usize> {
        output.axes.iter().map(|a| self.evaluator.context.extent(*a)).collect()
    }

    /// How many leading axes to fix so that the terms of one slice are small. An axis along which a reduction passes
    /// its rows stays whole, and so do those after it.
    fn slice_axes(&self, output: usize, declared: &Output) -> usize {
        let context = &self.evaluator.context;
        let reached = core::reachable(&context.terms, &self.roots[output..=output]);
        let stored: Vec<TermId> = (0..reached.len())
            .map(|at| TermId(at as u32))
            .filter(|id| reached[id.0 as usize] && context.reduction(*id).is_some())
            .collect();
        let passed: AxisSet = stored
            .iter()
            .filter_map(|id| context.reduction(*id).and_then(|r| r.prefix))
            .map(|p| p.capture.row)
            .collect();
        let mut fixed = AxisSet::new();
        for (outer, axis) in declared.axes.iter().enumerate() {
            let last = outer + 1 == declared.axes.len();
            let small = stored.iter().all(|id| context.volume(*id, &fixed) <= context.stored_limit / 4);
            if small || last || passed.contains(*axis) {
                return outer;
            }
            fixed.insert(*axis);
        }
        0
    }

    /// Evaluates the slice of an output at `row`, positions of its leading axes.
    fn fill(&mut self, output: usize, declared: &Output, row: &[usize], to: &mut [f64]) -> Result<(), ReferenceError> {
        let leading = &declared.axes[..row.len()];
        leading.iter().zip(row).for_each(|(axis, p)| self.evaluator.fix(*axis, *p));
        let root = self.roots[output];
        let fixed: AxisSet = leading.iter().copied().collect();
        let (table, axes) = self.evaluator.evaluate(root, &fixed);
        let context = &self.evaluator.context;
        let shape: Vec<usize> = axes.iter().map(|a| context.extent(*a)).collect();
        let strides = row_major_strides(&shape);
        let stride_of = |axis: &AxisId| axes.iter().position(|a| a == axis).map_or(0, |at| strides[at]);
        // The table may be over axes of the row, too, if it was cheaper to keep them.
        let base: usize = leading.iter().zip(row).map(|(axis, p)| stride_of(axis) * p).sum();
        let inner = &declared.axes[row.len()..];
        let inner_shape: Vec<usize> = inner.iter().map(|a| context.extent(*a)).collect();
        let inner_strides: Vec<usize> = inner.iter().map(stride_of).collect();
        let real = context.terms.ty(root) == Type::Real;
        for (at, to) in to.iter_mut().enumerate() {
            let offset: usize = unflatten(at, &inner_shape).iter().zip(&inner_strides).map(|(p, s)| p * s).sum();
            let from = base + offset;
            if let Some(code) = table.failed.get(from).filter(|code| **code != 0) {
                return Err(self.evaluator.failures.error(*code));
            }
            *to = if real { table.real[from] } else { table.int[from] as f64 };
        }
        Ok(())
    }
}

/// The position with flat number `at` in a row-major array.
fn unflatten(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut row = vec![0; shape.len()];
    for (p, extent) in row.iter_mut().zip(shape).rev() {
        *p = at % extent;
        at /= extent;
    }
    row
}

/// Extents by axis; axes that neither the outputs nor the inputs use may stay unbound and count as 1.
fn bind_axes(spec: &Spec, outputs: &[TermId], extents: &Extents) -> Result<Vec<usize>, ReferenceError> {
    let reached = core::reachable(&spec.terms, outputs);
    let mut used: AxisSet = spec.inputs.iter().flat_map(|i| i.axes.iter().copied()).collect();
    spec.outputs.iter().flat_map(|o| &o.axes).for_each(|a| used.insert(*a));
    for (at, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
        match spec.terms.node(TermId(at as u32)) {
            Node::Position(axis)
            | Node::Reduce { axis, .. }
            | Node::Softmax { axis, .. }
            | Node::Order { axis, .. }
            | Node::At { axis, .. }
            | Node::Attend { axis, .. } => used.insert(*axis),
            Node::Scan { axis, row, .. } => {
                used.insert(*axis);
                used.insert(*row);
            }
            _ => {}
        }
    }
    let bind = |at: usize| {
        let axis = &spec.axes[at];
        let extent = spec.eval_extent(axis.extent, extents);
        match extent.filter(|e| *e >= 1).and_then(|e| usize::try_from(e).ok()) {
            Some(extent) => Ok(extent),
            None if used.contains(AxisId(at as u32)) => {
                Err(ReferenceError::AxisExtent { axis: axis.name.clone(), extent })
            }
            None => Ok(1),
        }
    };
    (0..spec.axes.len()).map(bind).collect()
}

fn check_inputs(spec: &Spec, axis_extents: &[usize], inputs: &[Tensor]) -> Result<(), ReferenceError> {
    if inputs.len() != spec.inputs.len() {
        return Err(ReferenceError::InputCount { expected: spec.inputs.len(), given: inputs.len() });
    }
    for (declared, tensor) in spec.inputs.iter().zip(inputs) {
        if declared.dtype != tensor.dtype() {
            let (expected, given) = (declared.dtype, tensor.dtype());
            return Err(ReferenceError::InputType { input: declared.name.clone(), expected, given });
        }
        let shape: Vec<usize> = declared.axes.iter().map(|a| axis_extents[a.0 as usize]).collect();
        if shape != tensor.shape() {
            let axes = declared.axes.iter().zip(&shape).map(|(a, e)| format!("{}={e}", spec.axis(*a).name));
            let axes = axes.collect::<Vec<_>>().join(", ");
            let given = tensor.shape().to_vec();
            return Err(ReferenceError::InputShape { input: declared.name.clone(), axes, given });
        }
    }
    Ok(())
}

fn table_interval(tensor: &Tensor) -> Option<Interval> {
    let (lo, hi) = tensor.integer_range()?;
    Interval::new(lo.into(), hi.into())
}

fn depth(terms: &Terms, roots: &[TermId]) -> usize {
    let reached = core::reachable(terms, roots);
    let mut depths = vec![0usize; terms.len()];
    for (at, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
        let operands = terms.node(TermId(at as u32)).operands();
        depths[at] = 1 + operands.iter().map(|t| depths[t.0 as usize]).max().unwrap_or(0);
    }
    roots.iter().map(|root| depths[root.0 as usize]).max().unwrap_or(0)
}
