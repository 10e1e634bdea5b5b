//! The rule records, by family.
//!
//! Owns the list. To add a rule, write one record in its family's file and
//! append it to that family's `RULES`; `explain`, the soundness test and the
//! rule list read it from here.

mod angles;
mod arithmetic;
mod attend;
mod bucket;
mod exponents;
mod gather;
mod halves;
mod masks;
mod online;
mod prefix;
mod quotient;
mod reassociation;
mod shift;
mod suffix;

use std::sync::LazyLock;

use crate::rule::Rule;

static ALL: LazyLock<Vec<&'static Rule>> = LazyLock::new(|| {
    [
        arithmetic::RULES,
        reassociation::RULES,
        attend::RULES,
        quotient::RULES,
        masks::RULES,
        prefix::RULES,
        online::RULES,
        shift::RULES,
        suffix::RULES,
        halves::RULES,
        bucket::RULES,
        exponents::RULES,
        angles::RULES,
        gather::RULES,
    ]
    .into_iter()
    .flatten()
    .collect()
});

/// Every rule, in the order of application.
pub fn rules() -> &'static [&'static Rule] {
    &ALL
}
