//! Machine code: host instruction set, code memory, and the call into it.
//!
//! The only part of the engine, with `bind`'s pointers, that has unsafe code. Must not know specs or terms: it
//! sees Cranelift functions and launch contexts. Read `memory.rs`, then `call.rs`.

pub mod call;
pub mod compile;
pub mod isa;
pub mod listing;
pub mod measure;
pub mod memory;
pub mod perf;
pub mod table;
