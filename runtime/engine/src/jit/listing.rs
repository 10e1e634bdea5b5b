//! What a stage was lowered to, as text: for people who read generated code.

use attnc_plan::loops::LoopProgram;
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::OwnedTargetIsa;

use crate::error::HostError;

/// Texts of one stage's lowering.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Name of the stage.
    pub stage: String,
    /// Cranelift IR.
    pub clif: String,
    /// Machine instructions, by Cranelift's own names.
    pub asm: String,
}

/// Lowers a program again, only to be read.
///
/// # Errors
/// If the code generator refuses it.
pub fn listing(program: &LoopProgram, target: &OwnedTargetIsa) -> Result<Listing, HostError> {
    let refused = |message: String| HostError::Codegen { stage: program.name.clone(), message };
    let function = attnc_codegen::lower(program, target.as_ref()).map_err(|e| refused(e.to_string()))?;
    let clif = function.display().to_string();
    let mut context = Context::for_function(function);
    context.set_disasm(true);
    let code = context
        .compile(target.as_ref(), &mut ControlPlane::default())
        .map_err(|e| refused(format!("{:?}", e.inner)))?;
    let asm = code.vcode.clone().unwrap_or_default();
    Ok(Listing { stage: program.name.clone(), clif, asm })
}
