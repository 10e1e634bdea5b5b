//! Running a bound row: stage after stage, on machine code or by the interpreter.

use std::sync::Arc;

use attnc_algebra::DType;
use attnc_compiler::Layout;
use attnc_plan::loops::Access;
use attnc_plan::loops::interpret::{self, BufferData, Bytes};
use attnc_plan::{Plan, Role};

use crate::bind::BoundArgs;
use crate::error::Error;
use crate::jit::call::{BoundTile, FunctionTable, StageLaunch};
use crate::jit::memory::CodeMemory;
use crate::tensor::{TensorView, TensorViewMut};
use crate::threads::ThreadPool;

/// Runs all stages on machine code. `tiles` is the memory of the threads' tiles, `layout.thread_bytes` for each.
///
/// # Errors
/// If a task fails: a defect.
pub fn run_code(
    plan: &Plan,
    layout: &Layout,
    code: &Arc<CodeMemory>,
    functions: &Arc<FunctionTable>,
    bound: &BoundArgs<'_, '_>,
    tiles: *mut u8,
    pool: &ThreadPool,
) -> Result<(), Error> {
    for (index, stage) in plan.stages().enumerate() {
        let sizes = &layout.stages[index];
        let thread_tiles = |slot: usize| {
            let own = tiles.wrapping_add(slot * layout.thread_bytes);
            let tile = |t: &attnc_compiler::layout::TilePlace| BoundTile {
                base: own.wrapping_add(t.offset),
                row_stride: t.row_stride,
            };
            sizes.tiles.iter().map(tile).collect()
        };
        let participants = pool.threads().min(usize::try_from(sizes.tasks).unwrap_or(usize::MAX)).max(1);
        // SAFETY: `bound` was made by `bind` for this plan and layout: its buffers are valid for the layout's shapes and
        // stay borrowed while it lives; the tile block has `thread_bytes` for each of the pool's threads; the plan's
        // programs were accepted by the verifier (`attnc_compiler::Analysis::plan`) and lowered to `code` in order.
        let launch = unsafe {
            StageLaunch::new(
                Arc::clone(code),
                index,
                Arc::clone(functions),
                layout.extents.clone(),
                bound.stages[index].clone(),
                (0..participants).map(thread_tiles).collect(),
            )
        };
        pool.run(&launch, sizes.tasks).map_err(|_| Error::Task { stage: stage.program.name.clone() })?;
    }
    Ok(())
}

/// Runs all stages by the interpreter, on copies of the inputs.
///
/// # Errors
/// If the interpreter refuses a program: a defect.
pub fn run_interpreted(
    plan: &Plan,
    layout: &Layout,
    inputs: &[TensorView<'_>],
    outputs: &mut [TensorViewMut<'_>],
) -> Result<(), Error> {
    let mut memory: Vec<Vec<u8>> = plan
        .buffers
        .iter()
        .zip(&layout.buffers)
        .map(|(buffer, sizes)| match buffer.role {
            Role::Input(k) => native_bytes(&inputs[k as usize]),
            _ => vec![0; sizes.bytes],
        })
        .collect();
    for stage in plan.stages() {
        interpret_stage(stage, layout, &mut memory)?;
    }
    for (buffer, (sizes, bytes)) in plan.buffers.iter().zip(layout.buffers.iter().zip(&memory)) {
        if let Role::Output(k) = buffer.role {
            let shape: Vec<usize> = sizes.shape.iter().map(|e| *e as usize).collect();
            let result = tensor_of(buffer.dtype, &shape, bytes);
            let copied = result.is_some_and(|tensor| outputs[k as usize].assign(&TensorView::from(&tensor)));
            debug_assert!(copied, "outputs were checked against the plan's shapes and types");
        }
    }
    Ok(())
}

fn interpret_stage(stage: &attnc_plan::Stage, layout: &Layout, memory: &mut [Vec<u8>]) -> Result<(), Error> {
    // Taken out for the stage, so that several can be borrowed at once.
    let mut taken: Vec<Vec<u8>> = Vec::new();
    let mut firsts: Vec<Option<usize>> = Vec::new();
    for (at, arg) in stage.args.iter().enumerate() {
        let first = stage.args[..at].iter().position(|a| a == arg);
        firsts.push(first);
        taken.push(match first {
            Some(first) => taken[first].clone(),
            None => std::mem::take(&mut memory[arg.0 as usize]),
        });
    }
    let mut buffers: Vec<BufferData<'_>> = taken
        .iter_mut()
        .zip(stage.args.iter().zip(&stage.program.buffers))
        .map(|(bytes, (arg, declared))| {
            let sizes = &layout.buffers[arg.0 as usize];
            let bytes = match declared.access {
                Access::Read => Bytes::Read(bytes),
                Access::Write => Bytes::Write(bytes),
            };
            BufferData { dtype: sizes.dtype, bytes, shape: &sizes.shape, strides: &sizes.strides, origin: 0 }
        })
        .collect();
    let outcome = interpret::run(&stage.program, &layout.extents, &mut buffers);
    drop(buffers);
    for ((arg, bytes), first) in stage.args.iter().zip(taken).zip(firsts) {
        if first.is_none() {
            memory[arg.0 as usize] = bytes;
        }
    }
    outcome.map_err(|e| Error::Interpreter { stage: stage.program.name.clone(), message: e.to_string() })
}

fn native_bytes(view: &TensorView<'_>) -> Vec<u8> {
    let mut bytes = crate::tensor::to_le_bytes(&view.to_tensor());
    swap_on_big_endian(view.dtype(), &mut bytes);
    bytes
}

fn tensor_of(dtype: DType, shape: &[usize], native: &[u8]) -> Option<attnc_algebra::Tensor> {
    let mut bytes = native.to_vec();
    swap_on_big_endian(dtype, &mut bytes);
    crate::tensor::from_le_bytes(dtype, shape, &bytes)
}

fn swap_on_big_endian(dtype: DType, bytes: &mut [u8]) {
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
    }
}
