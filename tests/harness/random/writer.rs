//! The text of a random spec as it grows: inputs and definitions, each once.

use super::free::{Axes, Axis};
use super::{Heads, RandomSpec, Stored};

/// Collects the lines of a spec.
pub(super) struct Writer {
    heads: Heads,
    cross: bool,
    stored: Stored,
    axes: Vec<String>,
    inputs: Vec<String>,
    definitions: Vec<String>,
    fresh: usize,
    keys: i64,
    /// Sets of axes over which something is computed.
    touched: Vec<Axes>,
    nested: i64,
}

impl Writer {
    /// The head of a spec, with its queries.
    pub fn new(spec: &RandomSpec) -> Self {
        let cross = spec.sizes.m.is_some();
        let mut writer = Self {
            heads: spec.heads,
            cross,
            stored: spec.stored,
            axes: Vec::new(),
            inputs: Vec::new(),
            definitions: Vec::new(),
            fresh: 0,
            keys: spec.sizes.n,
            touched: Vec::new(),
            nested: 0,
        };
        writer.axis(if cross { "i = M" } else { "i, j = N" });
        if cross {
            writer.axis("j = N");
        }
        writer
    }

    /// Whether queries are other positions than keys.
    pub fn is_cross(&self) -> bool {
        self.cross
    }

    /// The number of keys drawn.
    pub fn keys(&self) -> i64 {
        self.keys
    }

    /// Notes that something is computed over these axes.
    pub fn touch(&mut self, axes: Axes) {
        if !self.touched.contains(&axes) {
            self.touched.push(axes);
        }
    }

    /// Notes that every pair of positions may need a pass over positions of its own.
    pub fn nest(&mut self) {
        self.nested += 1;
    }

    /// How many such passes there are.
    pub fn nested(&self) -> i64 {
        self.nested
    }

    /// Every set of axes over which something is computed.
    pub fn touched(&self) -> &[Axes] {
        &self.touched
    }

    /// The extent of the query axis.
    pub fn queries(&self) -> &'static str {
        if self.cross { "M" } else { "N" }
    }

    /// Declares axes, once.
    pub fn axis(&mut self, text: &str) {
        let line = format!("axis {text}");
        if !self.axes.contains(&line) {
            self.axes.push(line);
        }
    }

    /// Declares an input, once.
    pub fn input(&mut self, text: &str) {
        let line = format!("input {text}");
        if !self.inputs.contains(&line) {
            self.inputs.push(line);
        }
    }

    /// Defines a name, once.
    pub fn define(&mut self, line: &str) {
        if !self.definitions.iter().any(|d| d == line) {
            self.definitions.push(line.to_string());
        }
    }

    /// A parameter of its own, from a prefix.
    pub fn fresh(&mut self, prefix: &str) -> String {
        self.fresh += 1;
        format!("{prefix}{}", self.fresh)
    }

    /// Leading axes of queries and outputs, `b, h, `.
    pub fn leading(&self) -> &'static str {
        if self.heads == Heads::Unbatched { "h, " } else { "b, h, " }
    }

    /// The batch axis where there is one, `b, `.
    pub fn batch(&self) -> &'static str {
        if self.heads == Heads::Unbatched { "" } else { "b, " }
    }

    /// A tensor over query positions and a dim.
    pub fn query(&mut self, name: &str, dim: &str) -> String {
        let stored = match self.stored {
            Stored::Bf16 => ": bf16",
            Stored::Half => ": f16",
            Stored::F64 => ": f64",
            _ => "",
        };
        self.input(&format!("{name}{stored}[{}i, {dim}]", self.leading()));
        name.to_string()
    }

    /// A tensor over key positions and a dim, indexed as its sharing between heads asks.
    pub fn key(&mut self, name: &str, dim: &str) -> String {
        let (stored, range) = match (self.stored, name) {
            (Stored::Bf16, _) => (": bf16", ""),
            (Stored::HalfKeys | Stored::Half, _) => (": f16", ""),
            (Stored::F64, "k") => (": f64", ""),
            (Stored::ByteValues, "v") => (": i8", " in -3 .. 3"),
            (Stored::UnsignedKeys, "k") => (": u8", " in 0 .. 3"),
            (Stored::UnsignedKeys, "v") => (": i32", " in -3 .. 3"),
            _ => ("", ""),
        };
        let heads = match self.heads {
            Heads::Full | Heads::Unbatched => "h, ",
            Heads::SharedKeys => "",
            Heads::Grouped => "g, ",
        };
        self.input(&format!("{name}{stored}[{}{heads}j, {dim}]{range}", self.batch()));
        if self.heads == Heads::Grouped {
            format!("{name}[{}h div (H div G), j, {dim}]", self.batch())
        } else {
            name.to_string()
        }
    }

    /// The same tensor as [`Self::key`] at another key position.
    pub fn key_at(&mut self, name: &str, position: &str, dim: &str) -> String {
        let plain = self.key(name, dim);
        let heads = match self.heads {
            Heads::Full | Heads::Unbatched => "h, ",
            Heads::SharedKeys => "",
            Heads::Grouped => return plain.replace(", j, ", &format!(", {position}, ")),
        };
        format!("{name}[{}{heads}{position}, {dim}]", self.batch())
    }

    /// The spec.
    pub fn finish(&self) -> String {
        let mut lines = vec!["spec random".to_string()];
        let shared = self.inputs.iter().any(|line| line.contains("g, j"));
        if shared {
            lines.push("require H mod G == 0".to_string());
        }
        lines.extend(self.axes.iter().cloned());
        // Axes that no input has are declared, where they are mentioned.
        for axis in Axis::ALL.into_iter().filter(|axis| !matches!(axis, Axis::I | Axis::J)) {
            let (name, extent) = (axis.name(), axis.name().to_uppercase());
            if !self.inputs.iter().any(|line| mentions(line, name))
                && self.definitions.iter().any(|l| mentions(l, name))
            {
                lines.push(format!("axis {name} = {extent}"));
            }
        }
        lines.extend(self.inputs.iter().cloned());
        lines.extend(self.definitions.iter().cloned());
        lines.join("\n") + "\n"
    }
}

/// Whether a line has a word.
fn mentions(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}
