//! The passes of attnc in order, from spec text to a plan per sequence length.
//!
//! Owns the order of passes, what a caller may choose ([`Options`]), the table of plans by N ([`table`]), and the
//! sizes of a launch ([`layout`]). The only crate that knows both the e-graph and the planner; each pass is its own
//! crate. Must not read clocks or files: a caller who wants timings or dumps passes an [`Observer`]. Read
//! [`analysis`] first.
#![forbid(unsafe_code)]

pub mod analysis;
pub mod error;
pub mod extents;
pub mod layout;
mod nest;
pub mod observer;
pub mod options;
mod placement;
pub mod table;

pub use analysis::{Analysis, Candidate};
pub use attnc_cost::{MachineProfile, MemoryLevel};
pub use attnc_rewrite::approximate::Declined;
pub use attnc_rewrite::{Explanation, Form, Step};
pub use error::CompileError;
pub use layout::{ALIGN, Layout, LayoutError};
pub use observer::{Observer, Pass, Unobserved};
pub use options::Options;
pub use table::{Choice, PlanRow, PlanTable};
