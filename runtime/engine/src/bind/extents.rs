//! Extents of a launch: from the inputs' shapes, and from what was set.

use std::collections::BTreeMap;

use attnc_algebra::{AxisId, Extents, Node, Spec, SymbolId};
use attnc_compiler::extents::listing;

use super::names::Inputs;
use crate::constant::constant;
use crate::error::BindError;

/// The extents of a launch with these inputs, which have the declared ranks.
///
/// # Errors
/// If two shapes, or a shape and a setting, disagree, an extent stays unknown or is below 1, or a `require` line does
/// not hold.
pub fn bind_extents(spec: &Spec, set: &Extents, inputs: Inputs<'_, '_>) -> Result<Extents, BindError> {
    let mut binder = Binder { spec, extents: set.clone(), reasons: BTreeMap::new() };
    for id in set.0.keys() {
        binder.reasons.insert(*id, "it was set".to_string());
    }
    binder.bind_plain_axes(inputs)?;
    binder.check_shapes(inputs)?;
    binder.check_known()?;
    check_requires(spec, &binder.extents)?;
    Ok(binder.extents)
}

struct Binder<'s> {
    spec: &'s Spec,
    extents: Extents,
    /// Where each extent comes from, for messages.
    reasons: BTreeMap<SymbolId, String>,
}

impl Binder<'_> {
    /// Axes whose extent is a symbol bind it.
    fn bind_plain_axes(&mut self, inputs: Inputs<'_, '_>) -> Result<(), BindError> {
        for (input, view) in self.spec.inputs.iter().zip(inputs.iter()) {
            for (axis, extent) in input.axes.iter().zip(view.shape()) {
                let Node::Extent(symbol) = self.spec.terms.node(self.spec.axis(*axis).extent) else { continue };
                let found = extent_of(&input.name, *extent)?;
                match self.extents.get(*symbol) {
                    None => {
                        self.extents.0.insert(*symbol, found);
                        let name = &self.spec.axis(*axis).name;
                        self.reasons.insert(*symbol, format!("axis {name} of `{}` has it", input.name));
                    }
                    Some(expected) if expected == found => {}
                    Some(expected) => return Err(self.conflict(&input.name, *axis, found, expected, Some(*symbol))),
                }
            }
        }
        Ok(())
    }

    /// All other axes must have the extent that the spec computes.
    fn check_shapes(&self, inputs: Inputs<'_, '_>) -> Result<(), BindError> {
        for (input, view) in self.spec.inputs.iter().zip(inputs.iter()) {
            for (axis, extent) in input.axes.iter().zip(view.shape()) {
                let found = extent_of(&input.name, *extent)?;
                match self.spec.eval_extent(self.spec.axis(*axis).extent, &self.extents) {
                    Some(expected) if expected == found => {}
                    Some(expected) => return Err(self.conflict(&input.name, *axis, found, expected, None)),
                    None => return Err(self.unknown(*axis)),
                }
            }
        }
        Ok(())
    }

    /// Every axis has an extent of at least 1.
    fn check_known(&self) -> Result<(), BindError> {
        for (at, axis) in self.spec.axes.iter().enumerate() {
            match self.spec.eval_extent(axis.extent, &self.extents) {
                Some(extent) if extent >= 1 => {}
                Some(extent) => {
                    let text = format!(
                        "axis {} has extent {extent} for {}; an extent is at least 1",
                        axis.name,
                        listing(self.spec, &self.extents)
                    );
                    return Err(BindError::Extents(text));
                }
                None => return Err(self.unknown(AxisId(at as u32))),
            }
        }
        Ok(())
    }

    fn conflict(&self, tensor: &str, axis: AxisId, found: i64, expected: i64, symbol: Option<SymbolId>) -> BindError {
        let reason = symbol.and_then(|s| self.reasons.get(&s).cloned());
        BindError::WrongExtent {
            tensor: tensor.to_string(),
            axis: self.spec.axis(axis).name.clone(),
            found,
            expected,
            reason: reason.unwrap_or_else(|| format!("for {}", listing(self.spec, &self.extents))),
        }
    }

    fn unknown(&self, axis: AxisId) -> BindError {
        let missing: Vec<&str> = (0..self.spec.symbols.len())
            .filter(|at| self.extents.get(SymbolId(*at as u32)).is_none())
            .map(|at| self.spec.symbols[at].name.as_str())
            .collect();
        let name = &self.spec.axis(axis).name;
        BindError::Extents(match missing[..] {
            [] => {
                format!("the extent of axis {name} does not fit in 64 bits for {}", listing(self.spec, &self.extents))
            }
            _ => {
                format!("the extent of axis {name} is not known: no input's shape gives {}; set it", missing.join(", "))
            }
        })
    }
}

fn extent_of(input: &str, extent: usize) -> Result<i64, BindError> {
    match i64::try_from(extent) {
        Ok(extent) if extent >= 1 => Ok(extent),
        Ok(extent) => {
            Err(BindError::Extents(format!("`{input}` has an axis of extent {extent}; an extent is at least 1")))
        }
        Err(_) => Err(BindError::TooLarge { what: input.to_string() }),
    }
}

fn check_requires(spec: &Spec, extents: &Extents) -> Result<(), BindError> {
    match spec.requires.iter().find(|r| constant(spec, r.term, extents) != Some(1.0)) {
        None => Ok(()),
        Some(r) => Err(BindError::RequireFailed { text: r.text.clone(), extents: listing(spec, extents) }),
    }
}
