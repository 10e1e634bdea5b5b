//! The spec as written, where no equal form is known.

use attnc_algebra::{Extents, Spec};
use attnc_cost::{MachineProfile, Nanos};

#[derive(Clone, Debug, Default)]
pub struct Limits;

pub struct Saturated(Spec);

#[derive(Clone, Debug)]
pub struct Extracted {
    pub spec: Spec,
    pub cost_estimate: Nanos,
}

impl Saturated {
    pub fn new(spec: &Spec, _: &Limits) -> Self {
        Self(spec.clone())
    }
    pub fn summary(&self) -> String {
        String::new()
    }
    pub fn extract(&self, _: &Extents, _: &MachineProfile) -> Extracted {
        Extracted { spec: self.0.clone(), cost_estimate: Nanos(0.0) }
    }
}
