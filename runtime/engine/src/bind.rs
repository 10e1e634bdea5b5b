//! Binding: from named tensors to checked arguments of a launch.
//!
//! [`BoundArgs`] is the only way into a kernel and [`bind`] its only maker. What is checked: names, storage types,
//! ranks, extents, `require` lines, declared ranges and runs, indices by the tables' values, sizes, overlap of
//! outputs. Copies are made where a stage needs unit stride and a view has none. Must not run anything.

use std::collections::BTreeMap;

use attnc_algebra::tensor::Data;
use attnc_compiler::Layout;
use attnc_plan::loops::Access;
use attnc_plan::{Plan, PlanBufferId, Role};

use crate::error::BindError;
use crate::jit::call::BoundBuffer;
use crate::tensor::{TensorView, TensorViewMut, view_data_mut, zeros};

mod extents;
mod indices;
mod names;
mod overlap;
mod values;

pub use extents::bind_extents;
pub(crate) use indices::IndexChecks;
pub use names::{Named, inputs_in_order, outputs_in_order};
pub use values::check_values;

/// Checked arguments of one launch. Holds the borrow of every tensor it points into.
pub struct BoundArgs<'a, 'm> {
    /// Buffers of each stage, in the program's order.
    pub stages: Vec<Vec<BoundBuffer>>,
    /// Outputs that are computed elsewhere and copied afterwards.
    late: Vec<Late<'a, 'm>>,
    /// Copies that buffers point into.
    _copies: Vec<Data>,
}

/// An output whose view a stage cannot write to.
struct Late<'a, 'm> {
    target: &'m mut TensorViewMut<'a>,
    data: Data,
    order: Vec<usize>,
}

/// Where a buffer's elements are: an address and strides.
#[derive(Clone)]
struct Place {
    base: *mut u8,
    strides: Vec<i64>,
}

/// Binds tensors that have passed [`check_values`] to a plan.
///
/// `inputs` and `outputs` are in the spec's order; `block` is where the intermediates lie, with the layout's
/// alignment and size.
///
/// # Errors
/// If outputs overlap, repeat elements, or a stage needs a layout that cannot be had.
pub fn bind<'a, 'm>(
    plan: &Plan,
    layout: &Layout,
    inputs: &[TensorView<'_>],
    outputs: &'m mut [TensorViewMut<'a>],
    block: *mut u8,
) -> Result<BoundArgs<'a, 'm>, BindError> {
    overlap::check(plan, inputs, outputs)?;
    let mut binder =
        Binder { plan, layout, inputs, block, copies: Vec::new(), places: BTreeMap::new(), late: Vec::new() };
    binder.place_outputs(outputs)?;
    let mut stages = Vec::new();
    for stage in plan.stages() {
        let mut buffers = Vec::new();
        for (arg, buffer) in stage.args.iter().zip(&stage.program.buffers) {
            let place = binder.place(*arg, buffer.unit_dim, buffer.access)?;
            let shape = layout.buffers[arg.0 as usize].shape.clone();
            buffers.push(BoundBuffer { base: place.base, strides: place.strides, shape });
        }
        stages.push(buffers);
    }
    Ok(BoundArgs { stages, late: binder.late, _copies: binder.copies })
}

impl BoundArgs<'_, '_> {
    /// Copies the outputs that were computed elsewhere to where they belong. To be called after the last stage.
    pub fn finish(self) {
        for Late { target, mut data, order } in self.late {
            let shape = target.shape().to_vec();
            if let Some(source) = view_data_mut(&mut data, &shape, &order) {
                let copied = target.assign(&source.view());
                debug_assert!(copied, "a late output has the shape and type of its target");
            }
        }
    }
}

struct Binder<'p, 'i, 'a, 'm> {
    plan: &'p Plan,
    layout: &'p Layout,
    inputs: &'p [TensorView<'i>],
    block: *mut u8,
    copies: Vec<Data>,
    /// By buffer and needed unit dimension.
    places: BTreeMap<(PlanBufferId, Option<usize>), Place>,
    late: Vec<Late<'a, 'm>>,
}

impl<'a, 'm> Binder<'_, '_, 'a, 'm> {
    fn place(&mut self, id: PlanBufferId, unit: Option<usize>, access: Access) -> Result<Place, BindError> {
        if let Some(place) = self.places.get(&(id, unit)).or_else(|| self.places.get(&(id, None)))
            && self.has_unit(id, &place.strides, unit)
        {
            return Ok(place.clone());
        }
        let buffer = &self.plan.buffers[id.0 as usize];
        let sizes = &self.layout.buffers[id.0 as usize];
        let place = match buffer.role {
            Role::Input(k) if access == Access::Read => {
                let view = &self.inputs[k as usize];
                let strides: Vec<i64> = view.strides().iter().map(|s| *s as i64).collect();
                if self.has_unit(id, &strides, unit) {
                    Place { base: view.address().cast_mut(), strides }
                } else {
                    self.copy_of(view, unit)
                }
            }
            // SAFETY-relevant: the offset lies in the block, which has `intermediate_bytes` bytes.
            Role::Intermediate => Place { base: self.block.wrapping_add(sizes.offset), strides: sizes.strides.clone() },
            _ => {
                return Err(BindError::Extents(format!(
                    "the plan writes `{}`, which is not its to write",
                    buffer.name
                )));
            }
        };
        if !self.has_unit(id, &place.strides, unit) {
            return Err(BindError::Extents(format!(
                "the plan reads `{}` along an axis it is not stored along",
                buffer.name
            )));
        }
        self.places.insert((id, unit), place.clone());
        Ok(place)
    }

    /// Whether the needed dimension has unit stride, or no second element.
    fn has_unit(&self, id: PlanBufferId, strides: &[i64], unit: Option<usize>) -> bool {
        let shape = &self.layout.buffers[id.0 as usize].shape;
        unit.is_none_or(|dim| strides[dim] == 1 || shape[dim] <= 1)
    }

    fn copy_of(&mut self, view: &TensorView<'_>, unit: Option<usize>) -> Place {
        let order = order_with_innermost(view.shape().len(), unit);
        let mut data = zeros(view.dtype(), view.len());
        let place = match view_data_mut(&mut data, view.shape(), &order) {
            Some(mut target) => {
                target.assign(view);
                Place { strides: target.strides().iter().map(|s| *s as i64).collect(), base: target.address() }
            }
            None => unreachable!("the copy was made with the view's element count"),
        };
        // Moving a vector into the list does not move its elements.
        self.copies.push(data);
        place
    }

    fn place_outputs(&mut self, outputs: &'m mut [TensorViewMut<'a>]) -> Result<(), BindError> {
        for (k, target) in outputs.iter_mut().enumerate() {
            let Some(at) = self.plan.buffers.iter().position(|b| b.role == Role::Output(k as u32)) else { continue };
            let id = PlanBufferId(at as u32);
            let strides: Vec<i64> = target.strides().iter().map(|s| *s as i64).collect();
            let wanted = self.layout.buffers[at].unit_dims.clone();
            if wanted.iter().all(|dim| self.has_unit(id, &strides, Some(*dim))) {
                let place = Place { base: target.address(), strides };
                self.places.insert((id, None), place);
                continue;
            }
            let order = order_with_innermost(target.shape().len(), wanted.first().copied());
            let mut data = zeros(target.dtype(), target.shape().iter().product());
            if let Some(mut own) = view_data_mut(&mut data, target.shape(), &order) {
                let place = Place { strides: own.strides().iter().map(|s| *s as i64).collect(), base: own.address() };
                self.places.insert((id, None), place);
            }
            self.late.push(Late { target, data, order });
        }
        Ok(())
    }
}

/// Dimensions from outermost to innermost: in order, but `unit` last.
fn order_with_innermost(rank: usize, unit: Option<usize>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).filter(|d| Some(*d) != unit).collect();
    order.extend(unit);
    order
}
