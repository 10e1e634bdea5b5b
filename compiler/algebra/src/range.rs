//! Where integers lie: proofs that every index is in its axis and no divisor is 0.
//!
//! Works at bound extents, with the ranges of integer tables known or not; `always` alone finds, at no extents, what is
//! wrong at all of them. Read `interval` and `span` for the arithmetic, `linear` for what guards add to it, `walk` for
//! the guards, `check` for the proofs, `polynomial` for what holds whatever the extents.

mod always;
mod check;
mod count;
mod exhaustive;
mod interval;
mod linear;
mod polynomial;
mod span;
mod walk;

#[cfg(test)]
mod tests;

pub use check::{IndexError, check_indices};
pub use interval::{Interval, Intervals};

pub(crate) use always::{AlwaysWrong, always_wrong};
pub(crate) use check::declared_interval;
pub(crate) use walk::Site;
