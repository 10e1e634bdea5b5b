//! Time of a stage from the counts of its work.
//!
//! Owns [`StageWork`] and the roofline: arithmetic and memory overlap, so the
//! slower of the two counts; fixed costs add. Does not know what a stage is.

use std::ops::{Add, AddAssign};

use crate::machine::MachineProfile;
use crate::units::{Bytes, Nanos};

/// Counted work of one stage, over all its tasks.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct StageWork {
    /// Floating-point operations of tile products in f32; two per multiply-add.
    pub product_flops: f64,
    /// The same in f64.
    pub product_flops_f64: f64,
    /// The same of bfloat16 in pairs of rows.
    pub product_flops_bf16: f64,
    /// Exponentials; other transcendental functions in exponentials' worth.
    pub exp: f64,
    /// Transcendental functions in f64, one by one, in exponentials' worth.
    pub scalar: f64,
    /// Other vector operations, per element.
    pub pointwise: f64,
    /// Rows begun in passes over tiles.
    pub rows: f64,
    /// Elements gathered one by one.
    pub gather: f64,
    /// Bytes read from memory.
    pub bytes_read: f64,
    /// Bytes written to memory.
    pub bytes_written: f64,
    /// Tiles visited.
    pub tiles: f64,
    /// Kernel launches.
    pub calls: f64,
    /// Independent tasks that may run on different threads.
    pub tasks: f64,
}

/// What a tile product reaches among other work, of what it reaches alone: by the medians over 52 specs at lengths of
/// 64 to 4096 (one Zen 5 core, 2026-11-22).
const IN_CONTEXT: f64 = 0.95;

/// What a thread must have to do to be called, in times of handing a task to it: what one wrote lies in the cache of
/// its core, which costs more than the call. Softmax of 8 heads at N = 16, 12 µs on one thread, took 16 on two that had
/// four heads each (Emerald Rapids, 2026-12-01).
const WORTH: f64 = 32.0;

impl StageWork {
    /// Time of the stage on `profile`.
    ///
    /// Compute divides over the threads in whole tasks: on 2 threads that do not disturb each other, 3 equal tasks take
    /// as long as 4.
    pub fn time(&self, profile: &MachineProfile) -> Nanos {
        let alone = self.alone(profile).0;
        let tasks = self.tasks.max(1.0);
        let rounds = profile.rounds(tasks, self.participants(profile, profile.threads as usize));
        Nanos(alone * rounds / tasks + self.calls * profile.call_ns + rounds * profile.task_ns)
    }

    /// How many of `threads` threads are worth their call.
    pub fn participants(&self, profile: &MachineProfile, threads: usize) -> usize {
        let worth = self.alone(profile).0 / (WORTH * profile.task_ns);
        // Far from the largest integer, or saturated.
        threads.min(self.tasks.max(1.0) as usize).min(worth.max(1.0) as usize)
    }

    /// Time of all tasks on one thread.
    fn alone(&self, profile: &MachineProfile) -> Nanos {
        let compute = self.product_flops / (IN_CONTEXT * profile.product_f32_gflops)
            + self.product_flops_f64 / (IN_CONTEXT * profile.product_f64_gflops)
            + self.product_flops_bf16 / (IN_CONTEXT * profile.product_bf16_gflops)
            + self.exp * profile.exp_ns
            + self.scalar * profile.scalar_ns
            + self.pointwise * profile.pointwise_ns
            + self.rows * profile.row_ns
            + self.gather * profile.gather_ns
            + self.tiles * profile.tile_ns;
        let bytes = Bytes(self.bytes_read + self.bytes_written);
        Nanos(compute.max(profile.stream(bytes, bytes).0))
    }
}

impl Add for StageWork {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            product_flops: self.product_flops + other.product_flops,
            product_flops_f64: self.product_flops_f64 + other.product_flops_f64,
            product_flops_bf16: self.product_flops_bf16 + other.product_flops_bf16,
            exp: self.exp + other.exp,
            scalar: self.scalar + other.scalar,
            pointwise: self.pointwise + other.pointwise,
            rows: self.rows + other.rows,
            gather: self.gather + other.gather,
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_written: self.bytes_written + other.bytes_written,
            tiles: self.tiles + other.tiles,
            calls: self.calls + other.calls,
            tasks: self.tasks + other.tasks,
        }
    }
}

impl AddAssign for StageWork {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_divide_over_threads_in_whole_rounds() {
        let one = MachineProfile::default();
        let two = MachineProfile { threads: 2, thread_gain: 1.0, ..one.clone() };
        let work = StageWork { exp: 1e9, tasks: 3.0, ..StageWork::default() };
        let ratio = work.time(&two).0 / work.time(&one).0;
        assert!((ratio - 2.0 / 3.0).abs() < 1e-3, "3 tasks on 2 threads take 2 rounds, got ratio {ratio}");
    }

    #[test]
    fn threads_that_share_a_core_gain_less() {
        let profile = MachineProfile { threads: 2, thread_gain: 0.25, ..MachineProfile::default() };
        assert!((profile.rounds(4.0, 2) - 2.0 * 2.0 / 1.25).abs() < 1e-9);
        assert!((profile.rounds(1.0, 2) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn threads_with_little_to_do_are_not_called() {
        let profile = MachineProfile { threads: 4, ..MachineProfile::default() };
        let work = |ns: f64| StageWork { pointwise: ns / profile.pointwise_ns, tasks: 64.0, ..StageWork::default() };
        let worth = WORTH * profile.task_ns;
        assert_eq!([0.1, 1.9, 2.1, 100.0].map(|n| work(n * worth).participants(&profile, 4)), [1, 1, 2, 4]);
        assert_eq!(StageWork { tasks: 3.0, ..work(100.0 * worth) }.participants(&profile, 4), 3);
    }

    #[test]
    fn memory_bound_work_takes_the_time_of_its_bytes() {
        let profile = MachineProfile::default();
        let work = StageWork { pointwise: 1e6, bytes_read: 1e9, tasks: 1.0, ..StageWork::default() };
        assert!(work.time(&profile).0 >= 1e9 / 34.0);
    }
}
