//! Sizes of a launch: shapes, strides and offsets of a plan's buffers and tiles at given extents.
//!
//! Pure arithmetic over a [`Plan`]; it knows no addresses. The engine allocates what it says.

use attnc_algebra::DType;
use attnc_plan::loops::LoopProgram;
use attnc_plan::{Plan, PlanBufferId, Role};

use crate::placement::{Lifetime, Placement, aligned, place};

/// Alignment of every block, tile row and planned buffer, in bytes: a cache line and the widest vector.
pub const ALIGN: usize = 64;

/// Some size of a launch does not fit the address space.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{what}` has no size: an extent is below 1, or their product overflows")]
pub struct LayoutError {
    /// The buffer or stage.
    pub what: String,
}

/// A plan's buffer at given extents.
#[derive(Clone, Debug)]
pub struct BufferLayout {
    /// Storage type.
    pub dtype: DType,
    /// Extents.
    pub shape: Vec<i64>,
    /// Row-major strides, in elements.
    pub strides: Vec<i64>,
    /// Size in bytes.
    pub bytes: usize,
    /// Dimensions that some stage needs at unit stride, without repetition.
    pub unit_dims: Vec<usize>,
    /// Offset in the block of intermediates; 0 for inputs and outputs.
    pub offset: usize,
}

/// A tile of a stage, in a thread's tile memory.
#[derive(Clone, Copy, Debug)]
pub struct TilePlace {
    /// Offset of element (0, 0).
    pub offset: usize,
    /// Elements from one row to the next.
    pub row_stride: i64,
}

/// A stage at given extents.
#[derive(Clone, Debug)]
pub struct StageLayout {
    /// Number of tasks.
    pub tasks: i64,
    /// Tiles in the program's order.
    pub tiles: Vec<TilePlace>,
}

/// All sizes of a launch.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Values of the extent symbols, by symbol number.
    pub extents: Vec<i64>,
    /// By plan buffer.
    pub buffers: Vec<BufferLayout>,
    /// In running order.
    pub stages: Vec<StageLayout>,
    /// Bytes of the intermediates together.
    pub intermediate_bytes: usize,
    /// Bytes of one thread's tiles.
    pub thread_bytes: usize,
}

impl Layout {
    /// The sizes of `plan` at `extents`.
    ///
    /// # Errors
    /// If some size overflows.
    pub fn new(plan: &Plan, extents: Vec<i64>) -> Result<Self, LayoutError> {
        // Generated code compares positions in 32 bits.
        if extents.iter().any(|e| *e >= i64::from(i32::MAX)) {
            return Err(LayoutError { what: "an extent of 2^31 - 1 or more".to_string() });
        }
        let mut buffers = Vec::new();
        for (index, buffer) in plan.buffers.iter().enumerate() {
            let too_large = || LayoutError { what: buffer.name.clone() };
            let shape = plan.shape(PlanBufferId(index as u32), &extents).ok_or_else(too_large)?;
            if shape.iter().any(|e| *e >= i64::from(i32::MAX)) {
                return Err(too_large());
            }
            let strides = row_major(&shape).ok_or_else(too_large)?;
            let bytes = byte_size(&shape, buffer.dtype.size()).ok_or_else(too_large)?;
            let unit_dims = unit_dims(plan, PlanBufferId(index as u32));
            buffers.push(BufferLayout { dtype: buffer.dtype, shape, strides, bytes, unit_dims, offset: 0 });
        }
        let placement = place_intermediates(plan, &mut buffers)?;
        let mut stages = Vec::new();
        let mut thread_bytes = 0;
        for stage in plan.stages() {
            let too_large = || LayoutError { what: stage.program.name.clone() };
            let tasks = stage.program.tasks(&extents).ok_or_else(too_large)?;
            let (tiles, bytes) = tiles(&stage.program, &extents).ok_or_else(too_large)?;
            thread_bytes = thread_bytes.max(bytes);
            stages.push(StageLayout { tasks, tiles });
        }
        Ok(Self { extents, buffers, stages, intermediate_bytes: placement.bytes, thread_bytes })
    }

    /// Bytes of the inputs and outputs.
    pub fn argument_bytes(&self, plan: &Plan) -> usize {
        let arguments = plan.buffers.iter().zip(&self.buffers).filter(|(b, _)| b.role != Role::Intermediate);
        arguments.map(|(_, layout)| layout.bytes).fold(0, usize::saturating_add)
    }

    /// Bytes of working memory with so many threads: intermediates and tiles.
    pub fn scratch_bytes(&self, threads: usize) -> Option<usize> {
        self.intermediate_bytes.checked_add(self.thread_bytes.checked_mul(threads)?)
    }
}

/// Row-major strides; `None` on overflow.
pub fn row_major(shape: &[i64]) -> Option<Vec<i64>> {
    let mut strides = vec![1i64; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim].checked_mul(shape[dim].max(1))?;
    }
    Some(strides)
}

/// Bytes of a tensor; `None` if they do not fit the address space.
fn byte_size(shape: &[i64], element: usize) -> Option<usize> {
    let elements = shape.iter().try_fold(1usize, |n, e| n.checked_mul(usize::try_from(*e).ok()?))?;
    elements.checked_mul(element).filter(|b| isize::try_from(*b).is_ok())
}

fn unit_dims(plan: &Plan, buffer: PlanBufferId) -> Vec<usize> {
    let mut dims: Vec<usize> = plan
        .stages()
        .flat_map(|stage| stage.args.iter().zip(&stage.program.buffers))
        .filter(|(arg, _)| **arg == buffer)
        .filter_map(|(_, b)| b.unit_dim)
        .collect();
    dims.sort_unstable();
    dims.dedup();
    dims
}

fn place_intermediates(plan: &Plan, buffers: &mut [BufferLayout]) -> Result<Placement, LayoutError> {
    let intermediates: Vec<usize> =
        (0..buffers.len()).filter(|i| plan.buffers[*i].role == Role::Intermediate).collect();
    let lifetimes: Vec<Lifetime> = intermediates
        .iter()
        .map(|index| {
            let uses = |(_, stage): &(usize, &attnc_plan::Stage)| stage.args.contains(&PlanBufferId(*index as u32));
            let steps: Vec<usize> = plan.stages().enumerate().filter(uses).map(|(step, _)| step).collect();
            Lifetime {
                bytes: buffers[*index].bytes,
                from: steps.first().copied().unwrap_or(0),
                to: steps.last().copied().unwrap_or(0),
            }
        })
        .collect();
    let placement = place(&lifetimes).ok_or_else(|| LayoutError { what: "intermediates".to_string() })?;
    for (index, offset) in intermediates.iter().zip(&placement.offsets) {
        buffers[*index].offset = *offset;
    }
    Ok(placement)
}

/// Tiles of a program in one thread's memory, one after another, and their size.
fn tiles(program: &LoopProgram, extents: &[i64]) -> Option<(Vec<TilePlace>, usize)> {
    let mut offset = 0usize;
    let mut out = Vec::new();
    for tile in &program.tiles {
        let layout = program.tile_layout(tile, extents)?;
        out.push(TilePlace { offset, row_stride: layout.row_stride });
        offset = aligned(offset.checked_add(usize::try_from(layout.bytes).ok()?)?)?;
    }
    Some((out, offset))
}
