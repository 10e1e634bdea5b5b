//! What a caller chooses before a spec is elaborated: parameters, extents, limits.

use std::collections::BTreeMap;

use crate::limits::Limits;
use crate::spec::{Extents, Spec};

/// A value given to a parameter or an extent symbol.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum SettingValue {
    /// An integer.
    Int(i64),
    /// A real.
    Real(f64),
}

impl From<i64> for SettingValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for SettingValue {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl SettingValue {
    /// Reads a number as written on a command line: an integer if it is one, else a real.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        text.parse().map(Self::Int).or_else(|_| text.parse().map(Self::Real)).ok()
    }
}

impl std::fmt::Display for SettingValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(v) => write!(f, "{v}"),
            Self::Real(v) => write!(f, "{v:?}"),
        }
    }
}

/// Choices that replace a spec's own: parameters and extents by name, and limits.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings {
    /// Values by name of a parameter or an extent symbol. A name that is neither is an error.
    pub set: BTreeMap<String, SettingValue>,
    /// Bounds on the size of the spec.
    pub limits: Limits,
}

impl Settings {
    /// The same settings with `name` set to `value`.
    pub fn with(mut self, name: &str, value: impl Into<SettingValue>) -> Self {
        self.set.insert(name.to_string(), value.into());
        self
    }

    /// The extents among the settings. Parameters are not among them: elaboration has put their values into the terms.
    pub fn extents(&self, spec: &Spec) -> Extents {
        let is_param = |name: &str| spec.params.iter().any(|(p, _)| p == name);
        let values = self.set.iter().filter(|(name, _)| !is_param(name)).filter_map(|(name, value)| {
            let value = match *value {
                SettingValue::Int(v) => v,
                SettingValue::Real(v) if v.fract() == 0.0 && v.abs() < 2f64.powi(53) => v as i64,
                SettingValue::Real(_) => return None,
            };
            Some((spec.symbol(name)?, value))
        });
        Extents(values.collect())
    }
}
