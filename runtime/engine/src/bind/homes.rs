//! What each buffer of each stage lies in: a tensor of the call, the block of intermediates, or a copy.

use std::collections::BTreeMap;

use attnc_algebra::tensor::Data;
use attnc_plan::loops::Access;
use attnc_plan::{Plan, PlanBufferId, Role};

use super::{InputCopy, LateOutput};
use crate::error::BindError;
use crate::jit::call::{BoundBuffer, Home};
use crate::kernel::Prepared;
use crate::tensor::{on_array, view_data_mut, zeros};

/// Buffers of all stages.
pub struct Homes {
    /// By stage in running order, each in its program's order.
    pub stages: Vec<Vec<BoundBuffer>>,
    /// Inputs to copy before the first stage.
    pub copies: Vec<InputCopy>,
    /// Outputs to copy after the last stage.
    pub late: Vec<LateOutput>,
}

/// Finds a home for every buffer, given the strides of inputs and outputs in the spec's order.
///
/// # Errors
/// If a stage needs a layout that cannot be had: a defect of the plan.
pub fn homes(prepared: &Prepared, inputs: &[Vec<i64>], outputs: &[Vec<i64>]) -> Result<Homes, BindError> {
    let mut finder = Finder {
        plan: prepared.plan(),
        prepared,
        inputs,
        places: BTreeMap::new(),
        found: Homes { stages: Vec::new(), copies: Vec::new(), late: Vec::new() },
    };
    finder.place_outputs(outputs);
    for stage in prepared.plan().stages() {
        let mut buffers = Vec::new();
        for (arg, buffer) in stage.args.iter().zip(&stage.program.buffers) {
            let (home, strides) = finder.place(*arg, buffer.unit_dim, buffer.access)?;
            buffers.push(BoundBuffer { home, strides, shape: finder.shape(*arg).to_vec() });
        }
        finder.found.stages.push(buffers);
    }
    Ok(finder.found)
}

/// Address of the first element.
pub fn address(data: &mut Data) -> *mut u8 {
    on_array!(Data, data, v => v.as_mut_ptr().cast())
}

type Place = (Home, Vec<i64>);

struct Finder<'p> {
    plan: &'p Plan,
    prepared: &'p Prepared,
    inputs: &'p [Vec<i64>],
    /// By buffer and needed unit dimension.
    places: BTreeMap<(PlanBufferId, Option<usize>), Place>,
    found: Homes,
}

impl Finder<'_> {
    fn shape(&self, id: PlanBufferId) -> &[i64] {
        &self.prepared.layout().buffers[id.0 as usize].shape
    }

    fn place(&mut self, id: PlanBufferId, unit: Option<usize>, access: Access) -> Result<Place, BindError> {
        if let Some(place) = self.places.get(&(id, unit)).or_else(|| self.places.get(&(id, None)))
            && self.has_unit(id, &place.1, unit)
        {
            return Ok(place.clone());
        }
        let buffer = &self.plan.buffers[id.0 as usize];
        let sizes = &self.prepared.layout().buffers[id.0 as usize];
        let place = match buffer.role {
            Role::Input(k) if access == Access::Read => {
                let strides = self.inputs[k as usize].clone();
                if self.has_unit(id, &strides, unit) {
                    (Home::Input(k as usize), strides)
                } else {
                    self.copy_of(k as usize, id, unit)
                }
            }
            // SAFETY-relevant: the offset lies in the block, which has `intermediate_bytes` bytes.
            Role::Intermediate => (Home::Block(sizes.offset), sizes.strides.clone()),
            _ => {
                let text = format!("the plan writes `{}`, which is not its to write", buffer.name);
                return Err(BindError::Extents(text));
            }
        };
        if !self.has_unit(id, &place.1, unit) {
            let text = format!("the plan reads `{}` along an axis it is not stored along", buffer.name);
            return Err(BindError::Extents(text));
        }
        self.places.insert((id, unit), place.clone());
        Ok(place)
    }

    /// Whether the needed dimension has unit stride, or no second element.
    fn has_unit(&self, id: PlanBufferId, strides: &[i64], unit: Option<usize>) -> bool {
        let shape = self.shape(id);
        unit.is_none_or(|dim| strides[dim] == 1 || shape[dim] <= 1)
    }

    fn copy_of(&mut self, input: usize, id: PlanBufferId, unit: Option<usize>) -> Place {
        let (data, order, strides) = self.fresh(id, unit);
        self.found.copies.push(InputCopy { input, data, order });
        (Home::Copy(self.found.copies.len() - 1), strides)
    }

    /// Room for a buffer with `unit` innermost: elements, dimensions from outermost to innermost, strides.
    fn fresh(&self, id: PlanBufferId, unit: Option<usize>) -> (Data, Vec<usize>, Vec<i64>) {
        let shape: Vec<usize> = self.shape(id).iter().map(|e| *e as usize).collect();
        let order = order_with_innermost(shape.len(), unit);
        let mut data = zeros(self.plan.buffers[id.0 as usize].dtype, shape.iter().product());
        let strides = match view_data_mut(&mut data, &shape, &order) {
            Some(view) => view.strides().iter().map(|s| *s as i64).collect(),
            None => unreachable!("the room was made with the shape's element count"),
        };
        (data, order, strides)
    }

    fn place_outputs(&mut self, outputs: &[Vec<i64>]) {
        for (output, strides) in outputs.iter().enumerate() {
            let of_output = |b: &attnc_plan::PlanBuffer| b.role == Role::Output(output as u32);
            let Some(at) = self.plan.buffers.iter().position(of_output) else { continue };
            let id = PlanBufferId(at as u32);
            let wanted = &self.prepared.layout().buffers[at].unit_dims;
            let place = if wanted.iter().all(|dim| self.has_unit(id, strides, Some(*dim))) {
                (Home::Output(output), strides.clone())
            } else {
                let (data, order, strides) = self.fresh(id, wanted.first().copied());
                self.found.late.push(LateOutput { output, data, order });
                (Home::Late(self.found.late.len() - 1), strides)
            };
            self.places.insert((id, None), place);
        }
    }
}

/// Dimensions from outermost to innermost: in order, but `unit` last.
fn order_with_innermost(rank: usize, unit: Option<usize>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).filter(|d| Some(*d) != unit).collect();
    order.extend(unit);
    order
}
