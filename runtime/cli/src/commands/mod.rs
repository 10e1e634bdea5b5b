//! The commands, one file each.

pub mod bench;
mod candidates;
pub mod check;
pub mod explain;
pub mod plan;
pub mod probe;
pub mod run;
pub mod show;
