//! A compiled plan: stages with their machine code, or to be interpreted.

use std::sync::Arc;

use attnc_compiler::{Candidate, Observer, Pass};
use attnc_plan::Plan;
use cranelift_codegen::isa::OwnedTargetIsa;

use crate::error::{Error, HostError};
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
    /// Compiles the stages of a plan for a target.
    ///
    /// # Errors
    /// If the code generator refuses a stage: a defect, or no memory for code.
    pub fn compile(
        name: &str,
        candidate: Candidate,
        plan: Plan,
        target: Option<&OwnedTargetIsa>,
        perf_map: bool,
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        let Some(target) = target else { return Ok(Self { candidate, plan, code: None }) };
        observer.begin(Pass::Code);
        let mut functions = Vec::new();
        let (distinct, entries) = plan.distinct();
        for stage in distinct {
            let function = attnc_codegen::lower(&stage.program, target.as_ref())
                .map_err(|e| HostError::Codegen { stage: stage.program.name.clone(), message: e.to_string() })?;
            functions.push((stage.program.name.clone(), function));
        }
        let code = CodeMemory::compile(target.clone(), functions.clone(), &entries)?;
        observer.end(Pass::Code, &|| functions.iter().map(|(n, f)| format!("; {n}\n{}\n", f.display())).collect());
        if perf_map {
            perf::append(name, code.ranges());
        }
        Ok(Self { candidate, plan, code: Some(Arc::new(code)) })
    }
}
