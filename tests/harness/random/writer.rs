//! The text of a random spec as it grows: inputs and definitions, each once.

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
            Stored::F64 => ": f64",
            _ => "",
        };
        self.input(&format!("{name}{stored}[{}i, {dim}]", self.leading()));
        name.to_string()
    }

    /// A tensor over key positions and a dim, indexed as its sharing between heads asks.
    pub fn key(&mut self, name: &str, dim: &str) -> String {
        let stored = match (self.stored, name) {
            (Stored::Bf16, _) => ": bf16",
            (Stored::HalfKeys, _) => ": f16",
            (Stored::ByteValues, "v") => ": i8",
            _ => "",
        };
        let heads = match self.heads {
            Heads::Full | Heads::Unbatched => "h, ",
            Heads::SharedKeys => "",
            Heads::Grouped => "g, ",
        };
        self.input(&format!("{name}{stored}[{}{heads}j, {dim}]", self.batch()));
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
    pub fn finish(self) -> String {
        let mut lines = vec!["spec random".to_string()];
        if self.inputs.iter().any(|line| line.contains("g, j")) {
            lines.push("require H mod G == 0".to_string());
        }
        lines.extend(self.axes);
        lines.extend(self.inputs);
        lines.extend(self.definitions);
        lines.join("\n") + "\n"
    }
}
