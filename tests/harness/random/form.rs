//! Random forms: what is made of scores, domain and values.

use proptest::prelude::*;

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
}

/// What is weighted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// An input.
    Plain,
    /// An input times a gate per key.
    Gated,
    /// From a latent.
    Latent,
    /// A function of an input.
    Function,
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
    ]
}

/// Random values.
pub fn values() -> impl Strategy<Value = Value> {
    prop_oneof![5 => Just(Value::Plain), 1 => Just(Value::Gated), 1 => Just(Value::Latent), 1 => Just(Value::Function)]
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
    pub(super) fn write(self, writer: &mut Writer) -> String {
        if self == Self::Latent {
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
            Self::Plain | Self::Latent => v,
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
        let result = match self {
            Self::Slots => {
                writer.define(&format!("slot = softmax{}({score})", over.replacen("[j", "[i", 1)));
                format!("sum[j](slot * {value}) / (sum[j](slot) + 0.001)")
            }
            Self::Spread => {
                writer.define(&format!("weight = softmax{over}({score})"));
                writer.define(&format!("middle = sum[j](weight * {value})"));
                format!("sqrt(sum[j](weight * ({value} - middle) ^ 2) + 0.01)")
            }
            Self::Softmax | Self::SoftmaxWithLse | Self::SoftmaxWithBest => {
                writer.define(&format!("weight = softmax{over}({score})"));
                format!("sum[j](weight * {value})")
            }
            Self::SquaredWeights => {
                writer.define(&format!("weight = softmax{over}({score})"));
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
            Self::Features(f) => sum(&format!("{} * {value}", kernel(writer, f))),
            Self::Decaying(f) => {
                writer.input("gamma[h] in 0.8 .. 0.99");
                sum(&format!("{} * gamma ^ abs(i - j) * {value}", kernel(writer, f)))
            }
            Self::NormalisedFeatures(f) => {
                let kernel = kernel(writer, f);
                format!("{} / {}", sum(&format!("{kernel} * {value}")), sum(&kernel))
            }
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
