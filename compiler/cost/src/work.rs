//! Work of one node of the algebra: iteration volume times a rate.
//!
//! Owns the volumes of axis sets at given extents and the rates of the ops.
//! Knows single nodes only: what is fused with what is the caller's choice.

use attnc_algebra::{AxisId, AxisSet, BinaryOp, Extents, Spec, UnaryOp};

use crate::machine::MachineProfile;
use crate::units::{Bytes, Nanos};

/// Extents of all axes of a spec as reals, for volumes.
#[derive(Clone, Debug)]
pub struct Volumes {
    extents: Vec<f64>,
}

impl Volumes {
    /// The volumes of `spec` at `extents`. An axis whose extent is unbound or
    /// negative counts as 1.
    pub fn new(spec: &Spec, extents: &Extents) -> Self {
        let of = |axis: &attnc_algebra::Axis| spec.eval_extent(axis.extent, extents).map_or(1.0, |n| n.max(1) as f64);
        Self { extents: spec.axes.iter().map(of).collect() }
    }

    /// The extent of one axis.
    pub fn extent(&self, axis: AxisId) -> f64 {
        self.extents.get(axis.0 as usize).copied().unwrap_or(1.0)
    }

    /// Number of points of the box over `axes`.
    pub fn volume(&self, axes: &AxisSet) -> f64 {
        axes.iter().map(|a| self.extent(a)).product()
    }
}

/// Rates of nodes on one machine, per point of their iteration volume.
#[derive(Clone, Debug)]
pub struct NodeCost<'a> {
    profile: &'a MachineProfile,
    double: bool,
}

impl<'a> NodeCost<'a> {
    /// Rates on `profile`; `double` if the spec computes in f64.
    pub fn new(profile: &'a MachineProfile, double: bool) -> Self {
        Self { profile, double }
    }

    /// One vector operation.
    pub fn pointwise(&self) -> f64 {
        self.profile.pointwise_ns * if self.double { 2.0 } else { 1.0 }
    }

    /// A function of one operand.
    pub fn unary(&self, op: UnaryOp) -> f64 {
        match op {
            UnaryOp::Exp => self.exp(),
            _ => op.work() * self.pointwise(),
        }
    }

    /// A function of two operands.
    pub fn binary(&self, op: BinaryOp) -> f64 {
        op.work() * self.pointwise()
    }

    /// One exponential.
    pub fn exp(&self) -> f64 {
        self.profile.exp_ns * if self.double { 2.0 } else { 1.0 }
    }

    /// One multiply-add of a tile product.
    pub fn product(&self) -> f64 {
        self.profile.product_ns(self.double)
    }

    /// Starting a stage.
    pub fn stage(&self) -> Nanos {
        Nanos(self.profile.call_ns + self.profile.task_ns)
    }

    /// Writing a tensor of `elements` and reading it back.
    pub fn round_trip(&self, elements: f64) -> Nanos {
        let bytes = Bytes(elements * self.element_size());
        self.profile.stream(bytes, bytes) * 2.0
    }

    /// Reading a tensor of `elements` once.
    pub fn read(&self, elements: f64) -> Nanos {
        let bytes = Bytes(elements * self.element_size());
        self.profile.stream(bytes, bytes)
    }

    fn element_size(&self) -> f64 {
        if self.double { 8.0 } else { 4.0 }
    }
}
