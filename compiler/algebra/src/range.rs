//! Where integers lie: proofs that every index is in its axis.

mod interval;

pub use interval::{Interval, Intervals};
