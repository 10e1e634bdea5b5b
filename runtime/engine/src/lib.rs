//! Compile attention specs and run them on the CPU.
//!
//! The crate that applications embed. It owns what the compiler crates must not touch: memory for code and data,
//! threads, the clock, files of the user's cache. Flow: [`compile`] makes a [`Kernel`]; [`Kernel::run`] binds tensors
//! (`bind`), picks or makes the plan row for their extents (`kernel`, `row`), and runs its stages (`launch`, `jit`).
//! Must not know rewrite rules or statements of loop programs. Read `kernel.rs` next.

pub mod error;
pub mod options;
pub mod profile;
pub mod tensor;

mod bind;
mod cache;
mod clock;
mod constant;
mod kernel;
mod launch;
mod row;
mod scratch;
mod threads;

mod jit;

pub use attnc_algebra::{DType, Tensor};
pub use attnc_kernels::Isa;
pub use cache::KernelCache;
pub use clock::{PassClock, PassTime};
pub use constant::constant;
pub use error::{BindError, Error, HostError};
pub use jit::listing::Listing;
pub use jit::memory::CodeRange;
pub use kernel::{Kernel, Prepared, compile, compile_spec, compile_watched};
pub use options::{Engine, Options};
pub use tensor::{TensorView, TensorViewMut};
