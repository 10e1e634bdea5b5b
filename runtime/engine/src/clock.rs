//! Timings and dumps of the compiler's passes.

use std::time::{Duration, Instant};

use attnc_compiler::{Observer, Pass};

/// How long a pass took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PassTime {
    /// The pass.
    pub pass: Pass,
    /// Its duration.
    pub time: Duration,
}

/// Times passes and keeps the dumps that were asked for.
#[derive(Debug, Default)]
pub struct PassClock {
    wanted: Vec<Pass>,
    begun: Option<Instant>,
    /// Times in the order in which the passes ended.
    pub times: Vec<PassTime>,
    /// Printed results of the passes asked for.
    pub dumps: Vec<(Pass, String)>,
}

impl PassClock {
    /// A clock that also keeps the results of some passes.
    pub fn new(wanted: &[Pass]) -> Self {
        Self { wanted: wanted.to_vec(), ..Self::default() }
    }

    /// The passes whose results are kept.
    pub fn wanted(&self) -> Vec<Pass> {
        self.wanted.clone()
    }

    /// Takes in what another clock saw.
    pub fn absorb(&mut self, other: Self) {
        self.times.extend(other.times);
        self.dumps.extend(other.dumps);
    }
}

impl Observer for PassClock {
    fn begin(&mut self, _: Pass) {
        self.begun = Some(Instant::now());
    }

    fn end(&mut self, pass: Pass, dump: &dyn Fn() -> String) {
        if let Some(begun) = self.begun.take() {
            self.times.push(PassTime { pass, time: begun.elapsed() });
        }
        if self.wanted.contains(&pass) {
            self.dumps.push((pass, dump()));
        }
    }
}
