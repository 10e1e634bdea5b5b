//! Random forms: what is made of scores, domain and values.

use proptest::prelude::*;

use super::free::{Axis, Real, reals};
use super::writer::Writer;

/// How values are weighted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Softmax weights.
    Softmax,
    /// Softmax weights and the log-sum-exp as a second output.
    SoftmaxWithLse,
    /// A quotient of exponential sums, by hand.
    Quotient,
    /// As the quotient, with a sink in the denominator.
    Sink,
    /// A plain sum of weighted values.
    Sum(&'static str),
    /// A sum divided by the number of keys seen.
    Mean(&'static str),
    /// The greatest score seen, and the mean of the values.
    Max,
    /// Softmax weights over queries, normalised over keys again.
    Slots,
    /// The spread of the values under softmax weights.
    Spread,
    /// Softmax weights and the position of the largest score as a second output.
    SoftmaxWithBest,
    /// Squared softmax weights.
    SquaredWeights,
    /// A kernel of features of queries and keys.
    Features(&'static str),
    /// As features, normalised; the features are positive.
    NormalisedFeatures(&'static str),
    /// As features, decaying with distance.
    Decaying(&'static str),
    /// A causal sum of features, decaying by a power of the distance.
    Retention(&'static str),
    /// A causal sum of features with a gate per position.
    Gates(&'static str),
    /// A causal sum of products with a gate per position and feature.
    FeatureGates,
    /// A causal sum of features, decaying by differences of a running sum.
    RunningGates(&'static str),
    /// The causal mean of values by a running sum.
    RunningMean,
    /// Keys and values summarised by a projection.
    Projected(i64),
    /// Keys and values summarised by the means of segments.
    Segments(i64),
    /// Two layers: the first's results attend to each other.
    TwoLayers,
    /// Results pooled over blocks of queries.
    Pooled(i64),
    /// The value of the best key alone.
    Hardest,
    /// The log-sum-exp alone.
    Lse,
    /// Nothing of the usual: only the free outputs.
    None,
}

/// What is weighted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// An input.
    Plain,
    /// An input times a gate per key.
    Gated,
    /// From a latent.
    Latent,
    /// A function of an input.
    Function,
    /// Relative to the position of the query, from a table.
    Relative,
    /// Any expression.
    Free(Real),
}

/// What happens to the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Epilogue {
    /// Nothing.
    None,
    /// Times a gate.
    Gate,
    /// Plus a residual.
    Residual,
    /// Divided by its root mean square over the value dim.
    Norm,
}

/// Random forms.
pub fn forms() -> impl Strategy<Value = Form> {
    let weights = || prop::sample::select(vec!["sigmoid", "relu", "tanh", "silu"]);
    let features = || prop::sample::select(vec!["relu", "elu", "tanh", "silu"]);
    let positive = || prop::sample::select(vec!["sigmoid", "exp", "softplus"]);
    prop_oneof![
        6 => Just(Form::Softmax),
        2 => Just(Form::SoftmaxWithLse),
        2 => Just(Form::Quotient),
        1 => Just(Form::Sink),
        1 => weights().prop_map(Form::Sum),
        1 => weights().prop_map(Form::Mean),
        1 => Just(Form::Max),
        1 => Just(Form::SquaredWeights),
        1 => Just(Form::Slots),
        1 => Just(Form::Spread),
        1 => Just(Form::SoftmaxWithBest),
        2 => features().prop_map(Form::Features),
        2 => positive().prop_map(Form::NormalisedFeatures),
        1 => features().prop_map(Form::Decaying),
        1 => features().prop_map(Form::Retention),
        1 => features().prop_map(Form::Gates),
        1 => Just(Form::FeatureGates),
        1 => features().prop_map(Form::RunningGates),
        1 => Just(Form::RunningMean),
        1 => (1i64..6).prop_map(Form::Projected),
        1 => (1i64..20).prop_map(Form::Segments),
        1 => Just(Form::TwoLayers),
        1 => (1i64..9).prop_map(Form::Pooled),
        1 => Just(Form::Hardest),
        1 => Just(Form::Lse),
        8 => Just(Form::None),
    ]
}

/// Random values.
pub fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => Just(Value::Plain),
        1 => Just(Value::Gated),
        1 => Just(Value::Latent),
        1 => Just(Value::Function),
        1 => Just(Value::Relative),
        2 => reals(3).prop_map(Value::Free),
    ]
}

/// Random epilogues.
pub fn epilogues() -> impl Strategy<Value = Epilogue> {
    prop_oneof![
        5 => Just(Epilogue::None),
        1 => Just(Epilogue::Gate),
        1 => Just(Epilogue::Residual),
        1 => Just(Epilogue::Norm),
    ]
}

impl Value {
    pub(super) fn write(&self, writer: &mut Writer) -> String {
        if let Self::Free(expression) = self {
            let part = expression.write(writer);
            let text = if part.axes.contains(Axis::D) { format!("mean[d]({})", part.text) } else { part.text };
            return if part.bound > 16.0 { format!("(4 * tanh({text} / 4))") } else { format!("({text})") };
        }
        if *self == Self::Latent {
            writer.axis("r5 = 3");
            let batch = writer.batch();
            writer.input(&format!("vlatent[{batch}j, r5]"));
            writer.input("Wv[h, r5, e] in -0.5 .. 0.5");
            writer.define("value = sum[r5](vlatent * Wv)");
            return "value".to_string();
        }
        let v = writer.key("v", "e");
        match self {
            Self::Gated => {
                let batch = writer.batch();
                writer.input(&format!("vgate[{batch}j] in 0 .. 1"));
                format!("({v} * vgate)")
            }
            Self::Function => format!("silu({v})"),
            Self::Relative => {
                writer.axis(&format!("z = N + {} - 1", writer.queries()));
                writer.input("offsets[z, e]");
                format!("({v} + offsets[i - j + N - 1, e])")
            }
            _ => v,
        }
    }
}

impl Form {
    /// Whether the form takes exponentials of scores without a shift.
    pub(super) fn bounds_scores(self) -> bool {
        matches!(self, Self::Quotient | Self::Sink)
    }

    /// Writes the outputs.
    pub(super) fn write(self, writer: &mut Writer, score: &str, domain: &str, value: &str, epilogue: Epilogue) {
        let over = if domain.is_empty() { "[j]".to_string() } else { format!("[j where {domain}]") };
        let leading = writer.leading();
        let rows = format!("{leading}i");
        let sum = |body: &str| format!("sum{over}({body})");
        let softmax = |writer: &mut Writer| writer.define(&format!("weight = softmax{over}({score})"));
        let result = match self {
            Self::None => return,
            Self::Slots => {
                writer.define(&format!("slot = softmax{}({score})", over.replacen("[j", "[i", 1)));
                format!("sum[j](slot * {value}) / (sum[j](slot) + 0.1)")
            }
            Self::Spread => {
                softmax(writer);
                // Of bounded values: the spread of large ones that are close is what is left of a cancellation.
                writer.define(&format!("near = tanh({value})"));
                writer.define("middle = sum[j](weight * near)");
                "sqrt(sum[j](weight * (near - middle) ^ 2) + 1)".to_string()
            }
            Self::Softmax | Self::SoftmaxWithLse | Self::SoftmaxWithBest => {
                softmax(writer);
                format!("sum[j](weight * {value})")
            }
            Self::SquaredWeights => {
                softmax(writer);
                format!("sum[j](weight ^ 2 * {value})")
            }
            Self::Quotient => {
                writer.define(&format!("grade = exp({score})"));
                format!("{} / {}", sum(&format!("grade * {value}")), sum("grade"))
            }
            Self::Sink => {
                writer.input("sink[h] in 0.5 .. 2");
                writer.define(&format!("grade = exp({score})"));
                format!("{} / (sink + {})", sum(&format!("grade * {value}")), sum("grade"))
            }
            Self::Sum(f) => sum(&format!("{f}({score}) * {value}")),
            Self::Mean(f) => format!("{} / max(1, {})", sum(&format!("{f}({score}) * {value}")), sum("1")),
            Self::Max => format!("sigmoid(max{over}({score})) * mean{over}({value})"),
            Self::Hardest => {
                writer.define(&format!("largest = max{over}({score})"));
                format!("sum{over}(if {score} >= largest then {value} else 0)")
            }
            Self::TwoLayers => two_layers(writer, &over, score, value),
            Self::Pooled(size) => {
                softmax(writer);
                writer.define(&format!("fine[{rows}, e] = sum[j](weight * {value})"));
                format!("fine[{rows} div {size} * {size}, e]")
            }
            Self::Lse => format!("logsumexp{over}({score})"),
            Self::Projected(_) | Self::Segments(_) => self.summaries(writer, value),
            _ => self.kernels(writer, &over, value),
        };
        let result = epilogue.write(writer, result);
        writer.define(&format!("output out[{rows}, e] = {result}"));
        if self == Self::SoftmaxWithBest {
            writer.define(&format!("output best[{rows}] = argmax{over}({score})"));
        }
        if self == Self::SoftmaxWithLse {
            writer.define(&format!("output lse[{rows}] = logsumexp{over}({score})"));
        }
    }
}

impl Form {
    /// Forms of features: products without a softmax.
    fn kernels(self, writer: &mut Writer, over: &str, value: &str) -> String {
        let sum = |body: &str| format!("sum{over}({body})");
        let causal = |decay: &str, kernel: &str| format!("sum[j where j <= i]({kernel} * {decay} * {value})");
        let batch = writer.batch();
        match self {
            Self::Decaying(f) => {
                writer.input("gamma[h] in 0.8 .. 0.99");
                sum(&format!("{} * gamma ^ abs(i - j) * {value}", kernel(writer, f)))
            }
            Self::NormalisedFeatures(f) => {
                let kernel = kernel(writer, f);
                format!("{} / {}", sum(&format!("{kernel} * {value}")), sum(&kernel))
            }
            Self::Retention(f) => {
                writer.input("gamma[h] in 0.8 .. 0.99");
                causal("gamma ^ (i - j)", &kernel(writer, f))
            }
            Self::Gates(f) if !writer.is_cross() => {
                writer.axis("t = N");
                writer.input(&format!("forget[{batch}h, t] in 0.8 .. 1"));
                causal("prod[t where j < t and t <= i](forget)", &kernel(writer, f))
            }
            Self::RunningGates(f) if !writer.is_cross() => {
                writer.input(&format!("rate[{batch}h, j] in -0.2 .. 0"));
                writer.define(&format!("clock[{batch}h, j] = cumsum[j](rate)"));
                let decay = format!("exp(clock[{batch}h, i] - clock[{batch}h, j])");
                causal(&decay, &kernel(writer, f))
            }
            Self::FeatureGates if !writer.is_cross() => {
                writer.axis("t = N");
                writer.input(&format!("forget[{batch}h, t, d] in 0.8 .. 1"));
                let (q, k) = (writer.query("q", "d"), writer.key("k", "d"));
                format!("sum[j where j <= i](sum[d]({q} * {k} * prod[t where j < t and t <= i](forget)) * {value})")
            }
            Self::RunningMean if !writer.is_cross() && !over.contains("where") => {
                let v = writer.key("v", "e");
                writer.define(&format!("running[{batch}h, j, e] = cumsum[j]({v})"));
                format!("running[{batch}h, i, e] / (i + 1)")
            }
            Self::Features(f) | Self::Gates(f) | Self::RunningGates(f) => {
                sum(&format!("{} * {value}", kernel(writer, f)))
            }
            _ => sum(&format!("{} * {value}", kernel(writer, "relu"))),
        }
    }

    /// Keys and values summarised along an axis that does not grow, or by segments.
    fn summaries(self, writer: &mut Writer, value: &str) -> String {
        let (q, k) = (writer.query("q", "d"), writer.key("k", "d"));
        let summary = |writer: &mut Writer, x: &str| match self {
            Self::Projected(count) => {
                writer.axis(&format!("u = {count}"));
                writer.input("Ek[u, j]");
                format!("sum[j](Ek * {x}) / sqrt(N)")
            }
            Self::Segments(size) => {
                writer.axis(&format!("u = (N + {size} - 1) div {size}"));
                format!("sum[j where j div {size} == u]({x}) / count[j where j div {size} == u]")
            }
            _ => x.to_string(),
        };
        let (keys, values) = (summary(writer, &k), summary(writer, value));
        writer.define(&format!("kp = {keys}"));
        writer.define(&format!("vp = {values}"));
        format!("sum[u](softmax[u](sum[d]({q} * kp) / sqrt(D)) * vp)")
    }
}

/// Attention over the results of attention, where queries and keys are the same positions.
fn two_layers(writer: &mut Writer, over: &str, score: &str, value: &str) -> String {
    writer.define(&format!("weight = softmax{over}({score})"));
    if writer.is_cross() {
        return format!("sum[j](weight * {value})");
    }
    let leading = writer.leading();
    writer.define(&format!("first[{leading}i, e] = sum[j](weight * {value})"));
    writer.define(&format!("again = sum[e](first * first[{leading}j, e]) / sqrt(E)"));
    format!("sum[j](softmax[j](again) * first[{leading}j, e])")
}

/// The product of features of queries and keys.
fn kernel(writer: &mut Writer, f: &str) -> String {
    let (q, k) = (writer.query("q", "d"), writer.key("k", "d"));
    format!("sum[d]({f}({q}) * {f}({k}))")
}

impl Epilogue {
    fn write(self, writer: &mut Writer, result: String) -> String {
        let leading = writer.leading();
        match self {
            Self::None => result,
            Self::Gate => {
                writer.input(&format!("gate[{leading}i, e]"));
                format!("sigmoid(gate) * ({result})")
            }
            Self::Residual => {
                writer.input(&format!("residual[{leading}i, e]"));
                format!("residual + {result}")
            }
            Self::Norm => {
                writer.define(&format!("plain = {result}"));
                "plain / sqrt(sum[e](plain ^ 2) / E + 0.01)".to_string()
            }
        }
    }
}
