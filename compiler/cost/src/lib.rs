//! Cost of attention terms and stages.
//!
//! Owns units of measure, the machine profile with its rates, the roofline
//! that turns counted work into time, and the work of one node of the
//! algebra. Must not know of e-graphs, stages' contents or machine code; it
//! reads no clock and no file. Read [`machine`] first, then [`roofline`].
#![forbid(unsafe_code)]

pub mod machine;
pub mod roofline;
pub mod units;
pub mod work;

pub use machine::{MachineProfile, MemoryLevel, ProfileError};
pub use roofline::StageWork;
pub use units::{Bytes, Flops, Nanos};
pub use work::{NodeCost, Volumes};
