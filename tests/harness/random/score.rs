//! Random score programs: a base of queries and keys, and what is done to it.

use proptest::prelude::*;

use super::domain::{Domain, domains};
use super::free::{Axis, Real, reals};
use super::writer::Writer;

/// Where scores come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Base {
    /// A scaled dot product.
    Dot,
    /// A dot product with keys from a latent.
    Latent,
    /// A negative squared distance.
    Distance,
    /// The cosine of the angle.
    Cosine,
    /// A small network over sums.
    Additive,
    /// Distance of positions alone.
    Position,
    /// A dot product with keys in another order, from a table.
    Gathered,
    /// A dot product with the mean of a key and the one before it.
    Shifted,
    /// A dot product with keys convolved over positions.
    Convolved,
    /// A dot product with keys of two sets, joined.
    Joined,
    /// A dot product turned by an angle per position and feature.
    Rotated,
    /// Any expression.
    Free(Real),
}

/// A step of a score program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// `+ slope[h] * (j - i)`.
    Slope,
    /// Bounded by a tanh.
    Softcap,
    /// A bias by distance.
    DistanceBias,
    /// A bias by query and key.
    PairBias,
    /// A bias by key.
    KeyBias,
    /// A factor by head.
    Temperature,
    /// A factor that turns with distance.
    Turn,
    /// Another function of the score.
    Function(&'static str),
    /// Its square, made small.
    Square,
    /// Normalised over queries, then over keys, some times.
    Balanced(u8),
    /// A step repeated.
    Repeated(u8),
    /// The running sum over keys.
    Running,
    /// Its place among the keys.
    Ranked,
    /// Its distance from the largest.
    BelowLargest,
    /// Any expression is added.
    Plus(Real),
    /// Halved on a domain.
    Branch(Domain),
}

/// A base and steps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Score {
    /// The base.
    pub base: Base,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// Random score programs.
pub fn scores() -> impl Strategy<Value = Score> {
    let base = prop_oneof![
        6 => Just(Base::Dot),
        1 => Just(Base::Latent),
        1 => Just(Base::Distance),
        1 => Just(Base::Cosine),
        1 => Just(Base::Additive),
        1 => Just(Base::Position),
        1 => Just(Base::Gathered),
        1 => Just(Base::Shifted),
        1 => Just(Base::Convolved),
        1 => Just(Base::Joined),
        1 => Just(Base::Rotated),
        2 => reals(3).prop_map(Base::Free),
    ];
    (base, prop::collection::vec(steps(), 0..4)).prop_map(|(base, steps)| Score { base, steps })
}

fn steps() -> impl Strategy<Value = Step> {
    let functions = vec!["tanh", "relu", "sigmoid", "sin", "softplus", "silu", "gelu", "abs", "elu"];
    prop_oneof![
        Just(Step::Slope),
        Just(Step::Softcap),
        Just(Step::DistanceBias),
        Just(Step::PairBias),
        Just(Step::KeyBias),
        Just(Step::Temperature),
        Just(Step::Turn),
        prop::sample::select(functions).prop_map(Step::Function),
        Just(Step::Square),
        (1u8..3).prop_map(Step::Balanced),
        (0u8..4).prop_map(Step::Repeated),
        Just(Step::Running),
        Just(Step::Ranked),
        Just(Step::BelowLargest),
        reals(2).prop_map(Step::Plus),
        domains().prop_map(Step::Branch),
    ]
}

impl Score {
    /// Defines the score and gives its name; `bounded` where its exponential must stay in range.
    pub(super) fn write(&self, writer: &mut Writer, bounded: bool) -> String {
        let base = self.base.write(writer);
        writer.define(&format!("score = {base}"));
        let mut name = "score".to_string();
        for step in &self.steps {
            let next = step.write(writer, &name);
            name = writer.fresh("score");
            writer.define(&format!("{name} = {next}"));
        }
        if bounded {
            writer.define(&format!("bounded = 8 * tanh({name} / 8)"));
            name = "bounded".to_string();
        }
        name
    }
}

impl Base {
    fn write(&self, writer: &mut Writer) -> String {
        if let Self::Free(expression) = self {
            return averaged(writer, expression);
        }
        if *self == Self::Position {
            writer.input("slope[h] in 0.05 .. 0.5");
            return "-abs(i - j) * slope".to_string();
        }
        let q = writer.query("q", "d");
        if *self == Self::Latent {
            writer.axis("r4 = 5");
            let latent = format!("latent[{}j, r4]", writer.batch());
            writer.input(&latent);
            writer.input("Wk[h, r4, d] in -0.5 .. 0.5");
            return format!("sum[d]({q} * sum[r4](latent * Wk)) / sqrt(D)");
        }
        let k = writer.key("k", "d");
        match self {
            Self::Gathered => {
                writer.input("order: i32[j]");
                format!("sum[d]({q} * {}) / sqrt(D)", writer.key_at("k", "order[j]", "d"))
            }
            Self::Shifted => {
                let before = writer.key_at("k", "j - 1", "d");
                format!("sum[d]({q} * ({k} + (if j > 0 then {before} else 0))) / sqrt(4 * D)")
            }
            Self::Convolved => {
                writer.axis("t3 = 3");
                writer.input("filter[h, t3]");
                let before = writer.key_at("k", "j - t3", "d");
                writer.define(&format!("smooth = sum[t3 where j - t3 >= 0](filter * {before})"));
                format!("sum[d]({q} * smooth) / sqrt(3 * D)")
            }
            Self::Distance => format!("-sum[d](({q} - {k}) ^ 2) / D"),
            Self::Cosine => {
                format!("sum[d]({q} * {k}) / sqrt((sum[d]({q} * {q}) + 0.1) * (sum[d]({k} * {k}) + 0.1))")
            }
            Self::Joined if writer.keys() > 1 => {
                writer.axis("early = N div 2");
                writer.axis("late = N - N div 2");
                writer.input("learned[h, early, d]");
                writer.input(&format!("stream[{}h, late, d]", writer.batch()));
                writer.define("joint = concat[j](learned[early], stream[late])");
                format!("sum[d]({q} * joint) / sqrt(D)")
            }
            Self::Rotated => {
                let angle = "(i - j) * 0.5 ^ (d div 2)";
                format!("sum[d]({q} * {k} * cos({angle})) / sqrt(D)")
            }
            Self::Additive => {
                writer.input("mix[h, d]");
                format!("sum[d](mix * tanh({q} + {k})) / sqrt(D)")
            }
            _ => format!("sum[d]({q} * {k}) / sqrt(D)"),
        }
    }
}

impl Step {
    fn write(&self, writer: &mut Writer, score: &str) -> String {
        let queries = writer.queries();
        if matches!(self, Self::Balanced(_) | Self::Running | Self::Ranked | Self::BelowLargest) {
            writer.nest();
        }
        match self {
            Self::Slope => {
                writer.input("slope[h] in 0.05 .. 0.5");
                format!("{score} + slope * (j - i)")
            }
            Self::Softcap => format!("4 * tanh({score} / 4)"),
            Self::DistanceBias => {
                writer.axis(&format!("z = N + {queries} - 1"));
                writer.input("distance[h, z]");
                format!("{score} + distance[h, i - j + N - 1]")
            }
            Self::PairBias => {
                writer.input("pair[h, i, j]");
                format!("{score} + pair")
            }
            Self::KeyBias => {
                let batch = writer.batch();
                writer.input(&format!("keybias[{batch}j]"));
                format!("{score} + keybias")
            }
            Self::Temperature => {
                writer.input("temperature[h] in 0.5 .. 2");
                format!("{score} * temperature")
            }
            Self::Turn => format!("{score} * cos(0.1 * (i - j))"),
            Self::Function(function) => format!("{function}({score})"),
            Self::Square => format!("{score} ^ 2 / 8"),
            Self::Balanced(times) => {
                let z = writer.fresh("z");
                writer.define(&format!("{z}s = {score}"));
                let keys = format!("{z} - logsumexp[j]({z})");
                let body = format!("({keys}) - logsumexp[i]({keys})");
                // Logarithms of weights that sum to one: their own sum would be that of cancelled terms.
                format!("3 + 0.5 * (iterate {times} ({z} = 4 * tanh({z}s / 4)) {{ {body} }})")
            }
            Self::Repeated(times) => {
                let z = writer.fresh("z");
                format!("iterate {times} ({z} = {score}) {{ tanh({z}) + {z} / 2 }}")
            }
            Self::Running => format!("4 * tanh(cumsum[j]({score}) / 16)"),
            Self::Ranked => format!("-0.2 * rank[j]({score})"),
            Self::BelowLargest => format!("0.5 + {score} - max[j]({score})"),
            Self::Plus(expression) => format!("{score} + {}", averaged(writer, expression)),
            Self::Branch(Domain::All) => format!("{score} / 2"),
            Self::Branch(domain) => format!("if {} then {score} else {score} / 2", domain.write(writer)),
        }
    }
}

/// An expression as a score: bounded, without the axes that scores do not have.
fn averaged(writer: &mut Writer, expression: &Real) -> String {
    let part = expression.write(writer);
    let others: Vec<&str> = [Axis::D, Axis::E].into_iter().filter(|a| part.axes.contains(*a)).map(Axis::name).collect();
    let text = if others.is_empty() { part.text } else { format!("mean[{}]({})", others.join(", "), part.text) };
    if part.bound > 8.0 { format!("4 * tanh({text} / 4)") } else { text }
}
