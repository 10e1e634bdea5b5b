//! Running a bound row: stage after stage, on machine code or by the interpreter.

use std::sync::Arc;

use attnc_algebra::DType;
use attnc_compiler::Layout;
use attnc_cost::machine::MachineProfile;
use attnc_plan::loops::Access;
use attnc_plan::loops::interpret::{self, BufferData, Bytes};
use attnc_plan::{Role, Stage};

use crate::bind::{BoundArgs, Homes};
use crate::error::Error;
use crate::jit::call::{BoundBuffer, BoundTiles, FunctionTable, StageLaunch};
use crate::jit::memory::CodeMemory;
use crate::kernel::Prepared;
use crate::scratch::AlignedBytes;
use crate::tensor::TensorView;
use crate::threads::ThreadPool;

/// The stages of a row as launches that wait to be pointed to memory.
pub fn launches(
    prepared: &Prepared,
    code: &Arc<CodeMemory>,
    functions: &Arc<FunctionTable>,
    homes: &Homes,
    (threads, profile): (usize, &MachineProfile),
) -> Vec<StageLaunch> {
    let layout = prepared.layout();
    let stages: Vec<&Stage> = prepared.plan().stages().collect();
    let launch = |(index, buffers): (usize, &Vec<BoundBuffer>)| {
        let sizes = &layout.stages[index];
        let most = threads.min(usize::try_from(sizes.tasks).unwrap_or(usize::MAX)).max(1);
        let work = if most > 1 { prepared.plan().work(stages[index], &layout.extents) } else { None };
        let participants = work.map_or(most, |work| work.participants(profile, most));
        let tiles = BoundTiles { places: sizes.tiles.clone(), thread_bytes: layout.thread_bytes, participants };
        let (code, functions) = (Arc::clone(code), Arc::clone(functions));
        StageLaunch::new(code, index, functions, layout.extents.clone(), buffers.clone(), tiles, sizes.tasks)
    };
    homes.stages.iter().enumerate().map(launch).collect()
}

/// Runs all stages on machine code, in working memory of the layout's size. `after` is told the number of each stage
/// that has run.
///
/// # Errors
/// If a task fails: a defect.
pub fn run_code(
    bound: &mut BoundArgs<'_, '_, '_, '_>,
    scratch: &mut AlignedBytes,
    pool: &ThreadPool,
    mut after: impl FnMut(usize),
) -> Result<(), Error> {
    let mut launches = bound.pointed(scratch, pool.threads())?.iter().enumerate();
    let failed = launches.find_map(|(index, launch)| {
        let outcome = pool.run(launch, launch.tasks(), launch.participants());
        after(index);
        outcome.is_err().then_some(index)
    });
    let Some(index) = failed else { return Ok(()) };
    let stage = bound.prepared().plan().stages().nth(index).map(|s| s.program.name.clone());
    Err(Error::Task { stage: stage.unwrap_or_default() })
}

/// Runs all stages by the interpreter, on copies of the inputs.
///
/// # Errors
/// If the interpreter refuses a program: a defect.
pub fn run_interpreted(prepared: &Prepared, bound: &mut BoundArgs<'_, '_, '_, '_>) -> Result<(), Error> {
    let (plan, layout) = (prepared.plan(), prepared.layout());
    let mut memory: Vec<Vec<u8>> = plan
        .buffers
        .iter()
        .zip(&layout.buffers)
        .map(|(buffer, sizes)| match buffer.role {
            Role::Input(k) => native_bytes(bound.inputs().get(k as usize)),
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
            let copied = result.is_some_and(|tensor| bound.assign(k as usize, &TensorView::from(&tensor)));
            debug_assert!(copied, "outputs were checked against the plan's shapes and types");
        }
    }
    Ok(())
}

fn interpret_stage(stage: &Stage, layout: &Layout, memory: &mut [Vec<u8>]) -> Result<(), Error> {
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
