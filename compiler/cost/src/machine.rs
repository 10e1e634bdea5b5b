//! The machine profile: the rates of one machine.
//!
//! Owns the profile's fields, its text form and the committed default. Does
//! not measure anything and does not touch the file system; the engine's
//! `probe` fills a profile in. Read [`crate::roofline`] next.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::{Bytes, Nanos};

/// Why a profile's text was refused.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// The text is not a profile.
    #[error("the machine profile cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A rate is zero, negative or not a number.
    #[error("the machine profile's `{field}` must be positive and finite, but is {value}")]
    NotPositive {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: f64,
    },
    /// There is no memory level.
    #[error("the machine profile lists no memory level")]
    NoLevel,
}

/// One level of the memory hierarchy.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryLevel {
    /// Its capacity.
    pub bytes: u64,
    /// Streaming bandwidth of one thread out of it.
    pub gbytes_per_s: f64,
}

/// The rates of one machine, of one thread each.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineProfile {
    /// What it is called in reports.
    pub name: String,
    /// Worker threads.
    pub threads: u32,
    /// What each thread beyond the first adds, of what one does alone: less than 1 where cores or clocks are shared.
    pub thread_gain: f64,
    /// Tile products in f32, 10^9 flop/s.
    pub product_f32_gflops: f64,
    /// Tile products in f64, 10^9 flop/s.
    pub product_f64_gflops: f64,
    /// Tile products of bfloat16 in pairs of rows, 10^9 flop/s.
    pub product_bf16_gflops: f64,
    /// One vectorised exponential, ns per element.
    pub exp_ns: f64,
    /// One vectorised load, store, multiply-add or cheaper, ns per element.
    pub pointwise_ns: f64,
    /// One exponential in f64 alone, ns.
    pub scalar_ns: f64,
    /// One gathered element, ns.
    pub gather_ns: f64,
    /// Fixed cost of a row of a pass over a tile, ns.
    pub row_ns: f64,
    /// Fixed cost of a tile: loop control and microkernel calls, ns.
    pub tile_ns: f64,
    /// Fixed cost of starting a stage, ns.
    pub call_ns: f64,
    /// Fixed cost of handing a task to a thread, ns.
    pub task_ns: f64,
    /// Memory levels, nearest first; the last one holds everything.
    #[serde(rename = "level")]
    pub levels: Vec<MemoryLevel>,
}

const DEFAULT: &str = include_str!("../default-profile.toml");

impl Default for MachineProfile {
    fn default() -> Self {
        Self::from_toml(DEFAULT).expect("the committed profile is checked by this crate's tests")
    }
}

impl MachineProfile {
    /// Reads a profile from its text form and checks its rates.
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(text)?;
        profile.check()?;
        Ok(profile)
    }

    /// The text form; [`Self::from_toml`] reads it back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a profile is a table of numbers and strings, which TOML holds")
    }

    /// Time to stream `bytes` whose working set is `resident`, on one thread.
    pub fn stream(&self, bytes: Bytes, resident: Bytes) -> Nanos {
        let level = self.levels.iter().find(|l| l.bytes as f64 >= resident.0).or(self.levels.last());
        level.map_or(Nanos::ZERO, |l| Nanos(bytes.0 / l.gbytes_per_s))
    }

    /// Time of `tasks` equal tasks on so many threads, in tasks of one thread alone. Threads that are left over when the
    /// tasks run out help nobody, but do not slow the others down either.
    pub fn rounds(&self, tasks: f64, threads: usize) -> f64 {
        let threads = threads as f64;
        let time = |together: f64| together / (1.0 + (together - 1.0) * self.thread_gain);
        let full = (tasks / threads).floor();
        let left = tasks - full * threads;
        full * time(threads) + if left >= 1.0 { time(left) } else { 0.0 }
    }

    /// Tile-product time per fused multiply-add, in f64 or f32.
    pub fn product_ns(&self, double: bool) -> f64 {
        2.0 / if double { self.product_f64_gflops } else { self.product_f32_gflops }
    }

    fn check(&self) -> Result<(), ProfileError> {
        let rates = [
            ("threads", f64::from(self.threads)),
            ("thread_gain", self.thread_gain),
            ("product_f32_gflops", self.product_f32_gflops),
            ("product_f64_gflops", self.product_f64_gflops),
            ("product_bf16_gflops", self.product_bf16_gflops),
            ("exp_ns", self.exp_ns),
            ("pointwise_ns", self.pointwise_ns),
            ("scalar_ns", self.scalar_ns),
            ("gather_ns", self.gather_ns),
            ("row_ns", self.row_ns),
            ("tile_ns", self.tile_ns),
            ("call_ns", self.call_ns),
            ("task_ns", self.task_ns),
        ];
        let levels = self.levels.iter().map(|l| ("gbytes_per_s", l.gbytes_per_s));
        for (field, value) in rates.into_iter().chain(levels) {
            if !(value.is_finite() && value > 0.0) {
                return Err(ProfileError::NotPositive { field, value });
            }
        }
        if self.levels.is_empty() { Err(ProfileError::NoLevel) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_profile_reads_back() {
        let profile = MachineProfile::default();
        assert_eq!(MachineProfile::from_toml(&profile.to_toml()).unwrap(), profile);
    }

    #[test]
    fn a_zero_rate_is_refused() {
        let text = DEFAULT.replace("exp_ns = 0.084", "exp_ns = 0");
        assert!(matches!(MachineProfile::from_toml(&text), Err(ProfileError::NotPositive { field: "exp_ns", .. })));
    }
}
