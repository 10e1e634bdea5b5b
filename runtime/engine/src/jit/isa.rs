//! The host's instruction sets: for Cranelift, and for the microkernels.

use attnc_kernels::Isa;
use cranelift_codegen::isa::OwnedTargetIsa;

use crate::error::HostError;

/// The code generator's target for this machine, with the flags every kernel is compiled with.
///
/// # Errors
/// If Cranelift has no back end for this machine; callers may fall back to the interpreter.
pub fn host() -> Result<OwnedTargetIsa, HostError> {
    let flags = attnc_codegen::flags().map_err(|e| HostError::Flags(e.to_string()))?;
    let builder = cranelift_native::builder().map_err(|m| HostError::Unsupported(m.to_string()))?;
    builder.finish(flags).map_err(|e| HostError::Flags(e.to_string()))
}

/// The microkernels' instruction set: the one wanted, or the best of this CPU.
///
/// # Errors
/// If this CPU lacks the one wanted.
pub fn choose_isa(wanted: Option<Isa>) -> Result<Isa, HostError> {
    match wanted {
        None => Ok(Isa::available().first().copied().unwrap_or(Isa::Portable)),
        Some(isa) if isa.is_available() => Ok(isa),
        Some(isa) => Err(HostError::no_isa(isa)),
    }
}
