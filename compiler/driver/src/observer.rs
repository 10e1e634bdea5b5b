//! Watching the passes: what `--dump-after` and the timings are made of.

/// A pass of the compiler.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pass {
    /// Text to a checked spec.
    Algebra,
    /// Saturation of the e-graph; once per spec.
    Rewrite,
    /// The cheapest equal form at given extents.
    Extract,
    /// Stages, buffers and loop programs.
    Plan,
    /// Machine code.
    Code,
}

impl Pass {
    /// All passes, in order.
    pub const ALL: [Self; 5] = [Self::Algebra, Self::Rewrite, Self::Extract, Self::Plan, Self::Code];

    /// The name used in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Algebra => "algebra",
            Self::Rewrite => "rewrite",
            Self::Extract => "extract",
            Self::Plan => "plan",
            Self::Code => "code",
        }
    }

    /// The pass called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// Told when a pass begins and ends.
pub trait Observer {
    /// `pass` begins.
    fn begin(&mut self, pass: Pass);
    /// `pass` ended well; `dump` prints its result.
    fn end(&mut self, pass: Pass, dump: &dyn Fn() -> String);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn begin(&mut self, _: Pass) {}
    fn end(&mut self, _: Pass, _: &dyn Fn() -> String) {}
}
