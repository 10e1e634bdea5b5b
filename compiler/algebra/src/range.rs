//! Where integers lie: proofs that every index is in its axis.
//!
//! Works at bound extents, with the ranges of integer tables known or not.
//! Read `interval` and `span` for the arithmetic, `linear` for what guards add to it,
//! `check` for the walk over a spec.

mod check;
mod exhaustive;
mod interval;
mod linear;
mod span;

#[cfg(test)]
mod tests;

pub use check::{IndexError, check_indices};
pub use interval::{Interval, Intervals};

pub(crate) use check::declared_interval;
