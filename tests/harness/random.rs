//! Random specs over the algebra, as proptest strategies that shrink to small spec texts.
//!
//! A [`RandomSpec`] is a choice for each part of an attention: shape, score, domain, normaliser, value, epilogue,
//! storage. [`RandomSpec::text`] writes it in the spec language; nothing else is handed to what is tested. Choices
//! are ordered from plain to odd, so that shrinking ends at the plainest spec that still fails. The strategies are
//! in the parts' files; each part knows the inputs it needs.

pub mod domain;
pub mod form;
pub mod score;
mod writer;

use attnc_algebra::{SettingValue, Settings};
use proptest::prelude::*;

use domain::Domain;
use form::{Epilogue, Form, Value};
use score::Score;
use writer::Writer;

use crate::corpus::fitting;

/// Which leading axes queries and keys have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heads {
    /// `[b, h, …]` everywhere.
    Full,
    /// Heads without batch.
    Unbatched,
    /// Keys and values shared by all heads.
    SharedKeys,
    /// Keys and values shared by groups of heads.
    Grouped,
}

/// Storage type of queries, keys and values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    /// All of them f32.
    F32,
    /// Keys and values f16.
    HalfKeys,
    /// All of them bf16.
    Bf16,
    /// Values of 8-bit integers.
    ByteValues,
    /// Queries f64.
    F64,
}

/// Extents of a random spec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Keys, and queries too where they are the same positions.
    pub n: i64,
    /// Queries, if they are other positions than the keys.
    pub m: Option<i64>,
    /// Batches.
    pub b: i64,
    /// Heads.
    pub h: i64,
    /// Head dim.
    pub d: i64,
    /// Value dim.
    pub e: i64,
}

/// A random spec with the extents it is to be run at.
#[derive(Clone, PartialEq, Debug)]
pub struct RandomSpec {
    /// Leading axes.
    pub heads: Heads,
    /// Extents.
    pub sizes: Sizes,
    /// The score of a query and a key.
    pub score: Score,
    /// Which keys a query sees.
    pub domain: Domain,
    /// What is made of scores and values.
    pub form: Form,
    /// What is summed.
    pub value: Value,
    /// What happens to the sum.
    pub epilogue: Epilogue,
    /// Storage types.
    pub stored: Stored,
    /// Seed of the inputs.
    pub seed: u64,
}

/// Random specs.
pub fn specs() -> impl Strategy<Value = RandomSpec> {
    let shape = (heads(), sizes(), stored(), 0u64..1000);
    let parts = (score::scores(), domain::domains(), form::forms(), form::values(), form::epilogues());
    (shape, parts).prop_map(|((heads, sizes, stored, seed), (score, domain, form, value, epilogue))| RandomSpec {
        heads,
        sizes,
        score,
        domain,
        form,
        value,
        epilogue,
        stored,
        seed,
    })
}

fn heads() -> impl Strategy<Value = Heads> {
    prop_oneof![
        4 => Just(Heads::Full),
        1 => Just(Heads::Unbatched),
        1 => Just(Heads::SharedKeys),
        1 => Just(Heads::Grouped)
    ]
}

fn stored() -> impl Strategy<Value = Stored> {
    prop_oneof![
        8 => Just(Stored::F32),
        1 => Just(Stored::HalfKeys),
        1 => Just(Stored::Bf16),
        1 => Just(Stored::ByteValues),
        1 => Just(Stored::F64)
    ]
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let length = || prop::sample::select(vec![1i64, 2, 3, 7, 16, 17, 31, 33, 64, 65, 97]);
    let dim = || prop::sample::select(vec![1i64, 2, 3, 8, 16, 17, 40, 64]);
    let m = prop_oneof![3 => Just(None), 1 => length().prop_map(Some)];
    (length(), m, 1i64..3, 1i64..4, dim(), dim()).prop_map(|(n, m, b, h, d, e)| Sizes { n, m, b, h, d, e })
}

impl RandomSpec {
    /// The spec's text.
    pub fn text(&self) -> String {
        let mut writer = Writer::new(self);
        let score = self.score.write(&mut writer, self.form.bounds_scores());
        let domain = self.domain.write(&mut writer);
        let value = self.value.write(&mut writer);
        self.form.write(&mut writer, &score, &domain, &value, self.epilogue);
        writer.finish()
    }

    /// The extents to set.
    pub fn settings(&self) -> Settings {
        let Sizes { n, m, b, h, d, e } = self.sizes;
        let mut named = vec![("N", n), ("D", d), ("E", e)];
        if let Some(m) = m {
            named.push(("M", m));
        }
        if self.heads != Heads::Unbatched {
            named.push(("B", b));
        }
        if self.heads == Heads::Grouped {
            named.extend([("H", 2 * h), ("G", h)]);
        } else {
            named.push(("H", h));
        }
        let set = named.into_iter().map(|(name, value)| (name.to_string(), SettingValue::Int(value)));
        fitting(&self.text(), Settings { set: set.collect(), ..Settings::default() })
    }
}

impl std::fmt::Display for RandomSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text())?;
        let settings = self.settings();
        let set: Vec<String> = settings.set.iter().map(|(name, value)| format!("--set {name}={value}")).collect();
        write!(f, "# attnc run --random {} {} --check", self.seed, set.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    #[test]
    fn every_random_spec_is_a_spec() {
        let mut runner = TestRunner::deterministic();
        for _ in 0..500 {
            let spec = specs().new_tree(&mut runner).expect("strategies do not fail").current();
            let checked = attnc_algebra::compile_text(&spec.text(), &spec.settings());
            assert!(checked.is_ok(), "{spec}\n{checked:?}");
        }
    }
}
