//! The CPU microkernels of attnc: tile products, online-softmax row updates, vector functions, and the small
//! index routines that generated code calls.
//!
//! Owns every line of code that names an instruction set. Must not know specs, plans or how a kernel is
//! generated: callers see one plain table of C functions per instruction set ([`KernelTable`]) and pick it by
//! [`Isa`].
//!
//! How it is written: an algorithm is written once over `lanes::Lanes`, a vector of floating-point lanes, as an
//! `#[inline(always)]` body. `table.rs` instantiates every body for each instruction set inside a function that
//! carries the `#[target_feature]`s. A CPU-feature token ([`isa::Avx512`] and the others) is the proof that the
//! instructions may run, which makes the arithmetic on lanes safe; only loads, stores and raw pointers are not.
//!
//! Read next: `lanes.rs` (the vector trait), `product.rs` (the tile product), `softmax.rs`, `table.rs`.

mod added;
mod affine;
mod convert;
mod dots;
mod function;
pub mod isa;
mod lanes;
mod listed;
mod order;
pub mod peak;
mod product;
mod rows;
mod scatter;
mod search;
mod softmax;
mod spans;
mod table;
mod through;
mod transpose;

pub use isa::Isa;
pub use table::{
    AddPlane, AddRamp, Affine, AllFinite, AttendPairs, ClearLargest, DotProducts, Flush, KeepKeys, KeepSpans,
    KernelTable, ListOpen, ListSpans, Listed, LowerBound, Map, Map2, MaxPlus, MergeSpans, Narrow, OrderKeys, PackPairs,
    Product, ProductOf, ProductPairs, ProductThrough, Ranks, Scalar, Scalar2, ScaleRows, ScatterAdd, SoftmaxUpdate,
    Transpose, Widen, WidenRows, table,
};
