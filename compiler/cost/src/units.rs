//! Units of measure as types, so that nanoseconds are never added to bytes.
//!
//! Owns the newtypes and their arithmetic; knows nothing of machines.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $suffix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Default)]
        pub struct $name(pub f64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0.0);

            /// The larger of both.
            pub fn max(self, other: Self) -> Self {
                Self(self.0.max(other.0))
            }

            /// A total order, by the number.
            pub fn total_cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.0.total_cmp(&other.0)
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Mul<f64> for $name {
            type Output = Self;
            fn mul(self, by: f64) -> Self {
                Self(self.0 * by)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:.3} ", $suffix), self.0)
            }
        }
    };
}

unit!(
    /// Time in nanoseconds.
    Nanos,
    "ns"
);
unit!(
    /// Memory in bytes; real, since it is a model's figure.
    Bytes,
    "B"
);
unit!(
    /// Floating-point operations; a fused multiply-add is two.
    Flops,
    "flop"
);

impl Nanos {
    /// The same time in milliseconds.
    pub fn ms(self) -> f64 {
        self.0 / 1e6
    }
}
