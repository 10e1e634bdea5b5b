//! Equal forms of an attention spec, and the cheapest of them at given extents.
//!
//! A spec's outputs are put into an e-graph, all rules run once with symbolic
//! extents ([`Saturated::new`]), and the cheapest form is extracted per
//! choice of extents ([`Saturated::extract`]). Must not know of stages,
//! buffers or machine code; egg is used nowhere else. Read [`language`],
//! [`facts`], [`mod@rule`] and then the records in [`mod@rules`].
#![forbid(unsafe_code)]

pub mod approximate;
mod bucket;
mod build;
mod candidate;
mod convert;
mod decay;
pub mod density;
pub mod domain;
mod explain;
mod exponent;
mod extract;
pub mod facts;
mod form;
pub mod instance;
pub mod language;
pub mod linear_form;
mod online;
pub mod row_set;
pub mod rule;
pub mod rules;
mod saturate;
mod total;

pub use domain::{Atom, Domain};
pub use explain::{Explanation, Step};
pub use extract::{Extracted, RunnerUp};
pub use form::Form;
pub use rule::{Class, Rule, Stability};
pub use rules::rules;
pub use saturate::{Limits, Saturated, Stopped};
