//! Random specs over the algebra, as proptest strategies that shrink to small spec texts.
//!
//! A [`RandomSpec`] is a choice for each part of an attention: shape, score, domain, normaliser, value, epilogue,
//! storage; and expressions without any such shape ([`free`]), which stand for a score or a value, or are outputs of
//! their own. [`RandomSpec::text`] writes it in the spec language; nothing else is handed to what is tested. Choices
//! are ordered from plain to odd, so that shrinking ends at the plainest spec that still fails. The strategies are
//! in the parts' files; each part knows the inputs it needs.

pub mod domain;
pub mod form;
pub mod free;
pub mod score;
mod writer;

use attnc_algebra::{SettingValue, Settings};
use proptest::prelude::*;

use domain::Domain;
use form::{Epilogue, Form, Value};
use free::{Axes, Axis, Real};
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
    /// Queries and keys f64.
    F64,
    /// All of them f16.
    Half,
    /// Keys of unsigned bytes, values of 32-bit integers.
    UnsignedKeys,
}

/// Extents of a random spec, before they are cut to keep the work small.
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
    /// Elements of the largest thing computed, at most.
    pub most: i64,
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
    /// Outputs without the shape of an attention.
    pub free: Vec<Real>,
    /// Storage types.
    pub stored: Stored,
    /// Seed of the inputs.
    pub seed: u64,
}

/// Random specs.
pub fn specs() -> impl Strategy<Value = RandomSpec> {
    let shape = (heads(), sizes(), stored(), 0u64..1000);
    let free = prop_oneof![
        4 => prop::collection::vec(free::reals(2), 0..2),
        3 => prop::collection::vec(free::reals(3), 0..3),
        2 => prop::collection::vec(free::reals(4), 0..3),
    ];
    let parts = (score::scores(), domain::domains(), form::forms(), form::values(), form::epilogues(), free);
    (shape, parts).prop_map(|((heads, sizes, stored, seed), (score, domain, form, value, epilogue, free))| RandomSpec {
        heads,
        sizes,
        score,
        domain,
        form,
        value,
        epilogue,
        free,
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
        1 => Just(Stored::F64),
        1 => Just(Stored::Half),
        1 => Just(Stored::UnsignedKeys),
    ]
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let length = || prop::sample::select(vec![1i64, 2, 3, 7, 13, 16, 17, 31, 33, 61, 63, 64, 65, 96, 97, 131]);
    let dim = || prop::sample::select(vec![1i64, 2, 3, 8, 13, 16, 17, 40, 63, 64, 65, 96]);
    let m = prop_oneof![3 => Just(None), 1 => length().prop_map(Some)];
    let most = prop::sample::select(vec![20_000, 20_000, 60_000, 60_000, 300_000]);
    (length(), m, 1i64..3, 1i64..4, dim(), dim(), most).prop_map(|(n, m, b, h, d, e, most)| Sizes {
        n,
        m,
        b,
        h,
        d,
        e,
        most,
    })
}

impl Sizes {
    fn of(&self, axis: Axis, heads: Heads) -> i64 {
        match axis {
            Axis::B => self.b,
            Axis::H => {
                if heads == Heads::Grouped {
                    2 * self.h
                } else {
                    self.h
                }
            }
            Axis::I => self.m.unwrap_or(self.n),
            Axis::J => self.n,
            Axis::D => self.d,
            Axis::E => self.e,
        }
    }

    /// Smaller sizes, where something over one of these sets of axes would be larger than it may be. Dims go first,
    /// then batches and heads, then lengths; these also where passes over positions stand inside pairs of them.
    fn cut(mut self, sets: &[Axes], nested: i64, heads: Heads) -> Self {
        let volume = |sizes: &Self, axes: Axes| axes.iter().map(|a| sizes.of(a, heads)).product::<i64>();
        while let Some(axes) = sets.iter().find(|axes| volume(&self, **axes) > self.most) {
            let smaller = |size: i64| (size * 2 / 3).max(1);
            let over = |axis: Axis, size: i64, least: i64| axes.contains(axis) && size > least;
            match () {
                () if over(Axis::D, self.d, 3) && self.d >= self.e => self.d = smaller(self.d),
                () if over(Axis::E, self.e, 3) => self.e = smaller(self.e),
                () if over(Axis::D, self.d, 3) => self.d = smaller(self.d),
                () if over(Axis::B, self.b, 1) => self.b = 1,
                () if over(Axis::H, self.h, 1) => self.h = 1,
                () if over(Axis::I, self.m.unwrap_or(1), self.n) => self.m = self.m.map(smaller),
                () => (self.n, self.m) = (smaller(self.n).max(2), self.m.map(smaller)),
            }
        }
        let passes = |s: &Self| nested * s.n * s.n.max(s.m.unwrap_or(1)).pow(2) * s.b * s.h;
        while self.n.max(self.m.unwrap_or(1)) > 3 && passes(&self) > 4 * self.most {
            match () {
                () if self.b > 1 => self.b = 1,
                () if self.h > 1 => self.h = 1,
                () => (self.n, self.m) = ((self.n * 2 / 3).max(3), self.m.map(|m| (m * 2 / 3).max(1))),
            }
        }
        self
    }
}

impl RandomSpec {
    /// The spec's text.
    pub fn text(&self) -> String {
        self.written().finish()
    }

    fn written(&self) -> Writer {
        let mut writer = Writer::new(self);
        if self.form != Form::None {
            let score = self.score.write(&mut writer, self.form.bounds_scores());
            let domain = self.domain.write(&mut writer);
            let value = self.value.write(&mut writer);
            self.form.write(&mut writer, &score, &domain, &value, self.epilogue);
            [Axis::D, Axis::E].into_iter().for_each(|dim| writer.touch(Axes::pairs(dim)));
        }
        for (at, expression) in self.free.iter().enumerate() {
            let part = expression.write(&mut writer);
            writer.define(&format!("output free{at} = {}", part.text));
        }
        if self.form == Form::None && self.free.is_empty() {
            writer.define("output out[i] = i");
        }
        writer
    }

    /// The extents to run at.
    pub fn extents(&self) -> Sizes {
        let written = self.written();
        self.sizes.cut(written.touched(), written.nested(), self.heads)
    }

    /// The extents to set.
    pub fn settings(&self) -> Settings {
        let Sizes { n, m, b, h, d, e, .. } = self.extents();
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
        for _ in 0..2000 {
            let spec = specs().new_tree(&mut runner).expect("strategies do not fail").current();
            let checked = attnc_algebra::compile_text(&spec.text(), &spec.settings());
            assert!(checked.is_ok(), "{spec}\n{checked:?}");
        }
    }
}
