//! Programs to machine code, apart from each other and so on as many threads as there are: the bytes are the same for
//! any number of them. Knows nothing of executable memory; `memory.rs` puts the bytes there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use attnc_plan::loops::LoopProgram;
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::TargetIsa;
use cranelift_module::{FuncId, ModuleReloc};

use crate::error::HostError;

/// The machine code of one program.
pub struct MachineCode {
    /// Its instructions and constants.
    pub bytes: Vec<u8>,
    /// Where it may begin.
    pub alignment: u64,
    /// What is to be filled in.
    pub relocations: Vec<ModuleReloc>,
}

/// Expressions of a program from which on it is worth a thread: some 200 µs of compiling.
const WORTH_A_THREAD: usize = 100;

/// Compiles each program as the function of the same place, on up to `threads` threads.
///
/// # Errors
/// The first in order of the programs.
pub fn compile(
    programs: &[&LoopProgram],
    functions: &[FuncId],
    target: &dyn TargetIsa,
    threads: usize,
) -> Result<Vec<MachineCode>, HostError> {
    let large = programs.iter().filter(|program| program.exprs.len() >= WORTH_A_THREAD).count();
    let helpers = threads.min(large).saturating_sub(1);
    // The largest first, so that no thread is left with one at the end.
    let mut order: Vec<usize> = (0..programs.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(programs[*at].exprs.len()));
    let next = AtomicUsize::new(0);
    let made: Vec<Mutex<Option<Result<MachineCode, HostError>>>> = programs.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let code = compile_one(programs[*at], functions[*at], target);
            *made[*at].lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(code);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            // Without a helper this thread does all.
            let _ = std::thread::Builder::new().name("attnc-compile".to_string()).spawn_scoped(scope, work);
        }
        work();
    });
    let taken = made.into_iter().map(|code| code.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()));
    taken.map(|code| code.expect("every program was taken by some thread")).collect()
}

fn compile_one(program: &LoopProgram, function: FuncId, target: &dyn TargetIsa) -> Result<MachineCode, HostError> {
    let refused = |message: String| HostError::Codegen { stage: program.name.clone(), message };
    let lowered = attnc_codegen::lower(program, target).map_err(|e| refused(e.to_string()))?;
    let mut context = Context::for_function(lowered);
    context.compile(target, &mut ControlPlane::default()).map_err(|e| refused(format!("{:?}", e.inner)))?;
    let code = context.take_compiled_code().ok_or_else(|| refused("no code was made".to_string()))?;
    let relocations = code.buffer.relocs().iter();
    Ok(MachineCode {
        bytes: code.code_buffer().to_vec(),
        alignment: u64::from(code.buffer.alignment),
        relocations: relocations.map(|r| ModuleReloc::from_mach_reloc(r, &context.func, function)).collect(),
    })
}
