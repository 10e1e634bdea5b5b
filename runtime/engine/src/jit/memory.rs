//! Code memory: one Cranelift module per compiled kernel row, freed when the row is dropped.
//!
//! Pages are writable while the module is being built and executable afterwards, never both (`cranelift-jit`
//! does so). Nothing outside this file holds a function's address for longer than the module.

use std::sync::Mutex;

use attnc_codegen::abi::{Entry, entry_signature};
use attnc_plan::loops::LoopProgram;
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, ModuleError, default_libcall_names};

use super::compile::compile;
use crate::error::HostError;

/// A compiled function: where it starts and how long it is.
#[derive(Clone, Debug)]
pub struct CodeRange {
    /// Name of the stage.
    pub name: String,
    /// Address of the first instruction.
    pub address: usize,
    /// Length in bytes.
    pub length: usize,
}

/// The machine code of a row's stages.
pub struct CodeMemory {
    /// `None` only while dropping. The mutex makes sharing sound: the module is never used again before that.
    module: Mutex<Option<JITModule>>,
    /// In stage order; stages that do the same share one.
    entries: Vec<Entry>,
    ranges: Vec<CodeRange>,
}

impl CodeMemory {
    /// Compiles the programs of a row on up to `threads` threads, each with the launch ABI `(context: i64, task: i64)`;
    /// `stages` says which of them each stage runs.
    ///
    /// # Errors
    /// If a program is refused or memory for code cannot be had.
    pub fn compile(
        isa: OwnedTargetIsa,
        programs: &[&LoopProgram],
        stages: &[usize],
        threads: usize,
    ) -> Result<Self, HostError> {
        let target = isa.clone();
        let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
        match define_all(&mut module, programs, target.as_ref(), threads) {
            Ok((made, ranges)) => {
                let entries = stages.iter().map(|program| made[*program]).collect();
                Ok(Self { module: Mutex::new(Some(module)), entries, ranges })
            }
            Err(error) => {
                // SAFETY: nothing was finalised successfully and no address of this module was handed out:
                // `define_all` returns addresses only in its `Ok`.
                unsafe { module.free_memory() };
                Err(error)
            }
        }
    }

    /// The entry of stage `stage`; valid while `self` lives.
    pub(super) fn entry(&self, stage: usize) -> Entry {
        self.entries[stage]
    }

    /// Where the code lies, for profilers.
    pub fn ranges(&self) -> &[CodeRange] {
        &self.ranges
    }
}

type Defined = (Vec<Entry>, Vec<CodeRange>);

fn define_all(
    module: &mut JITModule,
    programs: &[&LoopProgram],
    target: &dyn TargetIsa,
    threads: usize,
) -> Result<Defined, HostError> {
    let refused = |stage: &str, e: ModuleError| HostError::Codegen { stage: stage.to_string(), message: e.to_string() };
    let signature = entry_signature(target.default_call_conv());
    let functions = programs.iter().enumerate().map(|(index, program)| {
        let symbol = format!("stage{index}");
        module.declare_function(&symbol, Linkage::Local, &signature).map_err(|e| refused(&program.name, e))
    });
    let functions = functions.collect::<Result<Vec<_>, _>>()?;
    let mut ids = Vec::new();
    for ((program, id), code) in programs.iter().zip(&functions).zip(compile(programs, &functions, target, threads)?) {
        module
            .define_function_bytes(*id, code.alignment, &code.bytes, &code.relocations)
            .map_err(|e| refused(&program.name, e))?;
        ids.push((*id, program.name.clone(), code.bytes.len()));
    }
    module.finalize_definitions().map_err(|e| HostError::CodeMemory(e.to_string()))?;
    Ok(ids
        .into_iter()
        .map(|(id, name, length)| {
            let address = module.get_finalized_function(id);
            // SAFETY: the function was lowered with the launch ABI's signature (`attnc_codegen::abi`), has been
            // finalised in this module, and `CodeMemory` keeps the module for as long as the pointer is reachable.
            let entry = unsafe { std::mem::transmute::<*const u8, Entry>(address) };
            (entry, CodeRange { name, address: address as usize, length })
        })
        .unzip())
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        let module = self.module.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(module) = module {
            // SAFETY: entries are reachable only through `self`, which is being dropped; running launches hold a
            // reference to it (`call::Launch` borrows it behind an `Arc`), so none is executing.
            unsafe { module.free_memory() };
        }
    }
}
