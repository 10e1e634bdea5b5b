//! Stages, buffers and loop programs of an attention term.
//!
//! Owns *how* a term is computed: which parts are fused into one stage, where
//! intermediates live, and the loop nest of each stage as a [`loops::LoopProgram`]
//! that is printed, verified and interpreted here and lowered to machine code
//! elsewhere. Must not know the e-graph or Cranelift. Read [`loops::program`] next.
#![forbid(unsafe_code)]

mod alike;
pub mod error;
pub mod estimate;
mod factors;
pub mod graph;
mod joint;
pub mod loops;
mod lower;
pub mod planner;

pub use attnc_cost::roofline::StageWork;
pub use error::PlanError;
pub use graph::{Plan, PlanBuffer, PlanBufferId, Role, Stage, StageKind};
pub use planner::{PlanOptions, build};
