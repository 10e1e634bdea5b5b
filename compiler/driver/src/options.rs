//! What a caller of the compiler may choose.

use attnc_algebra::Settings;
use attnc_cost::MachineProfile;
use attnc_rewrite::Limits;

/// Choices of compilation. Equal spec, options and extents give equal plans.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Parameters and extents set from outside, and limits on the spec's size.
    pub settings: Settings,
    /// The rates by which forms are compared; the committed default unless given.
    pub profile: MachineProfile,
    /// Bounds on the e-graph.
    pub limits: Limits,
    /// The candidate to use rather than the cheapest, by name.
    pub variant: Option<String>,
    /// Approximation rules that are permitted, with their strength if one is given.
    pub allow: Vec<(String, Option<f64>)>,
    /// Largest relative output error of a permitted approximation.
    pub budget: Option<f64>,
}
