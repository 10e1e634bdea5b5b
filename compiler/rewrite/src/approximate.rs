//! Approximate rules: each makes a new root, a spec of its own with a name and an error, never a union.
//!
//! A rule rewrites every softmax over keys that meets its condition, and the
//! log-sum-exp of the same scores alike; where none does, it declines with a
//! reason. What results is saturated, extracted and planned like any spec.
//! The records are listed by [`rules`]; each is in a file of its own beside
//! this one.

mod clusters;
mod lowrank;
mod softmax;
mod window;

use attnc_algebra::Spec;

/// One approximate rule.
#[derive(Debug)]
pub struct ApproximateRule {
    /// The name by which it is permitted.
    pub name: &'static str,
    /// What its number is, with the least one that makes sense.
    pub strength: (&'static str, i64),
    /// The number used where none is given.
    pub default: i64,
    /// The left side, in the spec language.
    pub before: &'static str,
    /// The right side, in the spec language.
    pub after: &'static str,
    /// The reasons for which it declines.
    pub when: &'static [&'static str],
    /// How the error behaves.
    pub error: &'static str,
    /// Where it is from.
    pub source: &'static str,
    /// Rewrites a spec's outputs in place, or says why not.
    pub apply: fn(&mut Spec, i64) -> Result<(), &'static str>,
}

/// Why a permitted approximation is no candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Declined {
    /// The rule.
    pub rule: &'static str,
    /// One of its reasons.
    pub reason: &'static str,
}

/// Summaries larger than this are refused.
pub const MAX_STRENGTH: i64 = 1 << 20;

/// All approximate rules.
pub fn rules() -> &'static [ApproximateRule] {
    RULES
}

const RULES: &[ApproximateRule] = &[window::RULE, lowrank::RULE, clusters::RULE];

/// The spec after some approximate rules, in the order given.
///
/// # Errors
/// The first rule that declines.
pub fn approximate(spec: &Spec, steps: &[(&'static ApproximateRule, i64)]) -> Result<Spec, Declined> {
    let mut spec = spec.clone();
    for (rule, strength) in steps {
        (rule.apply)(&mut spec, *strength).map_err(|reason| Declined { rule: rule.name, reason })?;
    }
    Ok(spec)
}
