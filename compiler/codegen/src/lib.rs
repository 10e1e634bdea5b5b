//! Loop programs lowered to Cranelift IR.
//!
//! Owns the generated code's shape: loops, addresses, lane arithmetic in
//! 128-bit vectors, and the [`abi`] by which it reaches its arguments and the
//! microkernels. Never runs anything and knows no machine: the engine compiles
//! the function for its host and calls it. Programs must have passed
//! `attnc_plan`'s verifier: every access is emitted without a check. Extents
//! must be below 2^31 - 1, since columns are compared in 32-bit lanes.
//! Read [`abi`] next, then `graph`, `cells`, `nodes` and `lanes`.
#![forbid(unsafe_code)]

pub mod abi;
mod affine;
mod calls;
mod cells;
mod demand;
mod error;
mod function;
mod graph;
mod isa;
mod lanes;
mod listed;
mod max_plus;
mod memory;
mod nodes;
mod pairs;
mod place;
mod product;
mod reduce;
mod scalar;
mod statement;
mod transpose;
mod whole;

use attnc_plan::loops::LoopProgram;
use cranelift_codegen::ir::{Function, UserFuncName};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

pub use error::CodegenError;
pub use isa::flags;

/// Lowers one program to one function of the type [`abi::Entry`].
///
/// # Errors
/// [`CodegenError`] where the program uses an operation on lanes for which it
/// has no meaning, or the target is not a 64-bit one.
pub fn lower(program: &LoopProgram, isa: &dyn TargetIsa) -> Result<Function, CodegenError> {
    if isa.pointer_bits() != 64 {
        return Err(CodegenError::PointerWidth);
    }
    let convention = isa.default_call_conv();
    let mut function = Function::with_name_signature(UserFuncName::user(0, 0), abi::entry_signature(convention));
    let mut context = FunctionBuilderContext::new();
    let builder = FunctionBuilder::new(&mut function, &mut context);
    let (mut lower, task) = function::Lower::new(program, builder, convention);
    lower.grid(task)?;
    lower.block(&program.body)?;
    lower.finish(isa.frontend_config());
    Ok(function)
}
