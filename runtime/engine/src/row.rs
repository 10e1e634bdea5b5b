//! A compiled plan: stages with their machine code, or to be interpreted.

use std::sync::Arc;

use attnc_compiler::{Candidate, Observer, Pass};
use attnc_plan::Plan;
use attnc_plan::loops::LoopProgram;
use cranelift_codegen::isa::OwnedTargetIsa;

use crate::error::Error;
use crate::jit::listing;
use crate::jit::memory::CodeMemory;
use crate::jit::perf;

/// A plan that can be run at any extents its row covers.
pub struct CompiledRow {
    /// The form it computes.
    pub candidate: Candidate,
    /// Its stages and buffers.
    pub plan: Plan,
    /// Its machine code; `None` to interpret.
    pub code: Option<Arc<CodeMemory>>,
}

impl CompiledRow {
    /// Compiles the stages of a plan for a target, on up to `threads` threads.
    ///
    /// # Errors
    /// If the code generator refuses a stage: a defect, or no memory for code.
    pub fn compile(
        name: &str,
        candidate: Candidate,
        plan: Plan,
        target: Option<&OwnedTargetIsa>,
        (threads, perf_map): (usize, bool),
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        let Some(target) = target else { return Ok(Self { candidate, plan, code: None }) };
        observer.begin(Pass::Code);
        let (distinct, entries) = plan.distinct();
        let programs: Vec<&LoopProgram> = distinct.iter().map(|stage| &stage.program).collect();
        let code = CodeMemory::compile(target.clone(), &programs, &entries, threads)?;
        observer.end(Pass::Code, &|| programs.iter().map(|program| listed(program, target)).collect());
        if perf_map {
            perf::append(name, code.ranges());
        }
        Ok(Self { candidate, plan, code: Some(Arc::new(code)) })
    }
}

/// What a program was lowered to, for a dump.
fn listed(program: &LoopProgram, target: &OwnedTargetIsa) -> String {
    listing::listing(program, target).map_or_else(|e| e.to_string(), |l| format!("; {}\n{}\n", l.stage, l.clif))
}
