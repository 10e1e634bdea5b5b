//! Binding: from named tensors to checked arguments of a launch.
//!
//! [`BoundArgs`] is the only way into a kernel, and [`bind`] and [`rebind`] are its only makers. What is checked: names,
//! storage types, ranks, extents, `require` lines, declared ranges and runs, indices by the tables' values, sizes,
//! overlap of outputs. Copies are made where a stage needs unit stride and a view has none. What depends on names,
//! types, shapes and strides alone is kept in a [`Call`], so that an equal call later allocates nothing and checks
//! values and addresses only. Must not run anything.

use std::sync::Arc;

use attnc_algebra::tensor::Data;
use attnc_algebra::{DType, Extents, Spec};

use crate::error::BindError;
use crate::jit::call::{Home, StageLaunch};
use crate::kernel::Prepared;
use crate::scratch::AlignedBytes;
use crate::tensor::{TensorView, TensorViewMut, view_data_mut};

mod extents;
mod homes;
mod indices;
mod names;
mod overlap;
mod values;

pub use extents::bind_extents;
pub use homes::{Homes, homes};
pub(crate) use indices::IndexChecks;
pub use names::{Inputs, Named, inputs_in_order, outputs_in_order};

/// Everything of a call but its tensors: made once for names, types, shapes and strides, used by one call at a time.
pub struct Call {
    /// The row that serves it, at its extents.
    prepared: Arc<Prepared>,
    /// Its stages, to be pointed to memory; none if they are interpreted.
    launches: Vec<StageLaunch>,
    extents: Extents,
    inputs: Form,
    outputs: Form,
    copies: Vec<InputCopy>,
    late: Vec<LateOutput>,
    /// Ends of the tables for which the indices were last seen to hold; `None` if the extents prove them.
    ends: Option<indices::Ends>,
}

/// What tensors were given, in which order.
struct Form {
    /// By number in the spec: the place among the given tensors.
    order: Vec<usize>,
    /// By number in the spec.
    tensors: Vec<Shape>,
}

#[derive(PartialEq)]
struct Shape {
    dtype: DType,
    extents: Vec<usize>,
    strides: Vec<isize>,
}

/// An input copied for a stage that needs another stride.
pub struct InputCopy {
    input: usize,
    data: Data,
    order: Vec<usize>,
}

/// An output that is computed elsewhere and copied afterwards, since a stage cannot write to its view.
pub struct LateOutput {
    output: usize,
    data: Data,
    order: Vec<usize>,
}

/// Checked arguments of one launch. Holds the borrow of every tensor it leads to.
pub struct BoundArgs<'c, 'i, 'n, 'o> {
    call: Call,
    inputs: &'c [Named<'c, TensorView<'i>>],
    outputs: &'c mut [Named<'n, TensorViewMut<'o>>],
}

/// Binds tensors to a row whose extents are theirs.
///
/// # Errors
/// If a value breaks its declaration, an index may leave its axis, outputs do not fit, overlap or repeat elements, or a
/// stage needs a layout that cannot be had.
pub fn bind<'c, 'i, 'n, 'o>(
    spec: &Spec,
    checks: &IndexChecks,
    prepared: Arc<Prepared>,
    extents: Extents,
    inputs: &'c [Named<'c, TensorView<'i>>],
    outputs: &'c mut [Named<'n, TensorViewMut<'o>>],
    launches: impl FnOnce(&Prepared, &Homes) -> Vec<StageLaunch>,
) -> Result<BoundArgs<'c, 'i, 'n, 'o>, BindError> {
    let given = inputs_in_order(spec, inputs)?;
    let wanted = outputs_in_order(spec, &prepared.outputs(), outputs)?;
    let shape = |view: &TensorView<'_>| Shape {
        dtype: view.dtype(),
        extents: view.shape().to_vec(),
        strides: view.strides().to_vec(),
    };
    let taken = given.iter().map(|at| shape(&inputs[*at].1)).collect();
    let written = wanted.iter().map(|at| shape(&outputs[*at].1.view())).collect();
    let mut call = Call {
        prepared,
        launches: Vec::new(),
        extents,
        inputs: Form { order: given, tensors: taken },
        outputs: Form { order: wanted, tensors: written },
        copies: Vec::new(),
        late: Vec::new(),
        ends: None,
    };
    check(&mut call, spec, checks, inputs, outputs, true)?;
    let strides = |form: &Form| -> Vec<Vec<i64>> {
        form.tensors.iter().map(|t| t.strides.iter().map(|s| *s as i64).collect()).collect()
    };
    let mut found = homes(&call.prepared, &strides(&call.inputs), &strides(&call.outputs))?;
    call.launches = launches(&call.prepared, &found);
    call.copies = std::mem::take(&mut found.copies);
    call.late = std::mem::take(&mut found.late);
    Ok(BoundArgs { call, inputs, outputs })
}

/// Binds tensors to a call that [`Call::fits`] them; what depends on values and addresses is checked.
///
/// # Errors
/// As [`bind`], for values and overlap, or if the call does not fit.
pub fn rebind<'c, 'i, 'n, 'o>(
    spec: &Spec,
    checks: &IndexChecks,
    mut call: Call,
    inputs: &'c [Named<'c, TensorView<'i>>],
    outputs: &'c mut [Named<'n, TensorViewMut<'o>>],
) -> Result<BoundArgs<'c, 'i, 'n, 'o>, BindError> {
    if !call.fits(spec, inputs, outputs) {
        return Err(BindError::Extents("the call was prepared for other tensors".to_string()));
    }
    check(&mut call, spec, checks, inputs, outputs, false)?;
    Ok(BoundArgs { call, inputs, outputs })
}

/// What has to be checked at every call.
fn check(
    call: &mut Call,
    spec: &Spec,
    checks: &IndexChecks,
    inputs: &[Named<'_, TensorView<'_>>],
    outputs: &[Named<'_, TensorViewMut<'_>>],
    first: bool,
) -> Result<(), BindError> {
    let ordered = Inputs::new(inputs, &call.inputs.order);
    values::check_values(spec, &call.extents, ordered)?;
    if first || call.ends.as_ref().is_some_and(|ends| !values::table_ranges(ordered).eq(ends.iter().copied())) {
        call.ends = checks.check(spec, &call.extents, ordered)?;
    }
    overlap::check(spec, ordered, &call.outputs.order, outputs)
}

impl Call {
    /// Whether these tensors have the names, types, shapes and strides that it was made for, in the same order.
    pub fn fits(
        &self,
        spec: &Spec,
        inputs: &[Named<'_, TensorView<'_>>],
        outputs: &[Named<'_, TensorViewMut<'_>>],
    ) -> bool {
        let same = |known: &Shape, dtype: DType, extents: &[usize], strides: &[isize]| {
            known.dtype == dtype && known.extents == extents && known.strides == strides
        };
        let input = |(k, at): (usize, &usize)| {
            let (name, view) = &inputs[*at];
            *name == spec.inputs[k].name && same(&self.inputs.tensors[k], view.dtype(), view.shape(), view.strides())
        };
        let output = |(k, at): (usize, &usize)| {
            let (name, view) = &outputs[*at];
            *name == spec.outputs[k].name && same(&self.outputs.tensors[k], view.dtype(), view.shape(), view.strides())
        };
        inputs.len() == self.inputs.order.len()
            && outputs.len() == self.outputs.order.len()
            && self.inputs.order.iter().enumerate().all(input)
            && self.outputs.order.iter().enumerate().all(output)
    }
}

impl<'i> BoundArgs<'_, 'i, '_, '_> {
    /// The row and its sizes.
    pub fn prepared(&self) -> &Prepared {
        &self.call.prepared
    }

    /// As [`Self::prepared`], to be kept beyond this value.
    pub fn shared(&self) -> &Arc<Prepared> {
        &self.call.prepared
    }

    /// The inputs, in the spec's order.
    pub fn inputs(&self) -> Inputs<'_, 'i> {
        Inputs::new(self.inputs, &self.call.inputs.order)
    }

    /// Copies to an output, by its number in the spec. Whether type and shape agree.
    pub fn assign(&mut self, output: usize, source: &TensorView<'_>) -> bool {
        self.outputs[self.call.outputs.order[output]].1.assign(source)
    }

    /// The stages, to be run in order: pointed to the tensors and to working memory, which holds the intermediates and
    /// the tiles of so many threads. Copies what a stage needs copied.
    ///
    /// # Errors
    /// If the working memory is too small.
    pub fn pointed<'m>(
        &'m mut self,
        scratch: &'m mut AlignedBytes,
        threads: usize,
    ) -> Result<&'m [StageLaunch], BindError> {
        let layout = self.call.prepared.layout();
        if layout.scratch_bytes(threads).is_none_or(|bytes| bytes > scratch.len()) {
            return Err(BindError::TooLarge { what: "working memory".to_string() });
        }
        let block = scratch.address();
        let tiles = block.wrapping_add(layout.intermediate_bytes);
        let Call { launches, copies, late, inputs, outputs: written, .. } = &mut self.call;
        let inputs = Inputs::new(self.inputs, &inputs.order);
        for copy in copies.iter_mut() {
            let view = inputs.get(copy.input);
            if let Some(mut target) = view_data_mut(&mut copy.data, view.shape(), &copy.order) {
                let copied = target.assign(view);
                debug_assert!(copied, "the copy was made for the view's type and shape");
            }
        }
        let (outputs, order) = (&mut *self.outputs, &written.order);
        for launch in launches.iter_mut() {
            let address = |home: Home| match home {
                Home::Input(k) => inputs.get(k).address().cast_mut(),
                Home::Output(k) => outputs[order[k]].1.address(),
                Home::Block(offset) => block.wrapping_add(offset),
                Home::Copy(at) => homes::address(&mut copies[at].data),
                Home::Late(at) => homes::address(&mut late[at].data),
            };
            // SAFETY: this value was made by `bind` or `rebind` for the plan and layout of the row: buffers are valid
            // for the layout's shapes and stay borrowed while it, which the launches are borrowed from, lives; the block
            // and the tiles have the layout's sizes, as checked above; programs were accepted by the verifier
            // (`attnc_compiler::Analysis::plan`) and lowered in order.
            unsafe { launch.point(address, tiles) };
        }
        Ok(launches)
    }

    /// Copies the outputs that were computed elsewhere to where they belong, and gives the call back. To be called
    /// after the last stage.
    pub fn finish(mut self) -> Call {
        for LateOutput { output, data, order } in &mut self.call.late {
            let target = &mut self.outputs[self.call.outputs.order[*output]].1;
            let shape = &self.call.outputs.tensors[*output].extents;
            if let Some(source) = view_data_mut(data, shape, order) {
                let copied = target.assign(&source.view());
                debug_assert!(copied, "a late output has the shape and type of its target");
            }
        }
        self.call
    }
}
