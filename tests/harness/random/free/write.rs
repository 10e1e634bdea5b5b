//! The text of random expressions, with their free axes and a rough bound.

use super::super::writer::Writer;
use super::{Axis, Held, Int, Place, Real, Truth};

/// A set of axes, in the order of [`Axis::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Axes(u8);

impl Axes {
    /// One axis.
    fn of(axis: Axis) -> Self {
        Self(1 << Axis::ALL.iter().position(|a| *a == axis).unwrap_or(0))
    }

    /// Pairs of positions in every batch and head, and a dim.
    pub fn pairs(dim: Axis) -> Self {
        [Axis::B, Axis::H, Axis::I, Axis::J, dim].into_iter().fold(Self::default(), |axes, a| axes.with(Self::of(a)))
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, axis: Axis) -> Self {
        Self(self.0 & !Self::of(axis).0)
    }

    /// Whether the axis is in it.
    pub fn contains(self, axis: Axis) -> bool {
        self.0 & Self::of(axis).0 != 0
    }

    /// Its axes.
    pub fn iter(self) -> impl Iterator<Item = Axis> {
        Axis::ALL.into_iter().filter(move |axis| self.contains(*axis))
    }

    /// Names, `h, i, d`.
    fn names(self, separator: &str) -> String {
        self.iter().map(Axis::name).collect::<Vec<_>>().join(separator)
    }
}

impl Axis {
    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            Self::B => "b",
            Self::H => "h",
            Self::I => "i",
            Self::J => "j",
            Self::D => "d",
            Self::E => "e",
        }
    }

    /// Its extent in text.
    fn extent(self, writer: &Writer) -> &'static str {
        match self {
            Self::B => "B",
            Self::H => "H",
            Self::I => writer.queries(),
            Self::J => "N",
            Self::D => "D",
            Self::E => "E",
        }
    }
}

/// A written expression.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its text, in parentheses where it needs them.
    pub text: String,
    /// The axes it varies over.
    pub axes: Axes,
    /// About how large it gets.
    pub bound: f64,
}

impl Part {
    fn new(text: String, axes: Axes, bound: f64) -> Self {
        Self { text, axes, bound }
    }

    /// Its text, squashed where it may be larger than `limit`.
    fn within(&self, limit: f64) -> String {
        let Self { text, bound, .. } = self;
        if *bound <= limit { text.clone() } else { format!("({limit} * tanh({text} / {limit}))") }
    }
}

/// Axes of a tensor, without the batch where there is none.
fn tensor_axes(writer: &mut Writer, mask: u8) -> Axes {
    let axes = if writer.batch().is_empty() { Axes(mask).without(Axis::B) } else { Axes(mask) };
    writer.touch(axes);
    axes
}

/// Declares an input over some axes and gives its name.
fn input(writer: &mut Writer, prefix: &str, dtype: &str, axes: Axes, rest: &str) -> String {
    let name = format!("{prefix}_{}", axes.names(""));
    writer.input(&format!("{name}{dtype}[{}]{rest}", axes.names(", ")));
    name
}

impl Real {
    pub(in super::super) fn write(&self, writer: &mut Writer) -> Part {
        match self {
            Self::Number(text) => Part::new(text.to_string(), Axes::default(), 4.0),
            Self::Input(held, mask) => held.write(writer, *mask),
            Self::Position(axis, how) => position(writer, *axis, *how),
            Self::Distance(a, b, how) => distance(writer, *a, *b, *how),
            Self::Joined(mask) => joined(writer, *mask),
            Self::Unary(function, x) => unary(function, &x.write(writer)),
            Self::Binary(function, x, y) => {
                let (x, y) = (x.write(writer), y.write(writer));
                writer.touch(x.axes.with(y.axes));
                binary(function, &x, &y)
            }
            Self::If(p, x, y) => {
                let (p, x, y) = (p.write(writer), x.write(writer), y.write(writer));
                let axes = p.axes.with(x.axes).with(y.axes);
                writer.touch(axes);
                Part::new(format!("(if {} then {} else {})", p.text, x.text, y.text), axes, x.bound.max(y.bound))
            }
            Self::Reduce(function, axis, p, x) => reduce(writer, function, *axis, p.as_deref(), x),
            Self::Along(function, axis, p, x) => along(writer, function, *axis, p.as_deref(), x),
            Self::Scaled(x) => {
                let x = x.write(writer);
                Part::new(format!("(0.1 * {})", x.text), x.axes, 10.0)
            }
            Self::Indicator(x) => {
                let x = x.write(writer);
                Part::new(format!("(1 * ({}))", x.text), x.axes, 1.0)
            }
            Self::Elsewhere(axis, place, x) => elsewhere(writer, *axis, place, x),
            Self::Iterate(times, x, y) => {
                let (x, y) = (x.write(writer), y.write(writer));
                let axes = x.axes.with(y.axes);
                writer.touch(axes);
                let z = writer.fresh("z");
                let text = format!("(iterate {times} ({z} = {}) {{ tanh({z} + {}) }})", x.text, y.text);
                Part::new(text, if *times == 0 { x.axes } else { axes }, x.bound.max(1.0))
            }
        }
    }
}

impl Held {
    fn write(self, writer: &mut Writer, mask: u8) -> Part {
        let axes = tensor_axes(writer, mask);
        let (prefix, dtype, rest, bound) = match self {
            Self::Normal => ("x", "", "", 4.0),
            Self::Unit => ("u", "", " in 0 .. 1", 1.0),
            Self::Double => ("f", ": f64", "", 4.0),
            Self::Half => ("s", ": f16", "", 4.0),
            Self::Brain => ("r", ": bf16", "", 4.0),
            Self::Byte => ("y", ": i8", " in -3 .. 3", 3.0),
            Self::Unsigned => ("w", ": u8", " in 0 .. 3", 3.0),
            Self::Long => ("l", ": i64", " in -3 .. 3", 3.0),
            Self::Truth => ("p", ": bool", "", 1.0),
        };
        let name = input(writer, prefix, dtype, axes, rest);
        let text = if self == Self::Truth { format!("(2 * {name})") } else { name };
        Part::new(text, axes, bound)
    }
}

fn position(writer: &mut Writer, axis: Axis, how: u8) -> Part {
    let axes = tensor_axes(writer, Axes::of(axis).0);
    if axes == Axes::default() {
        return Part::new("1".to_string(), axes, 1.0);
    }
    let (a, extent) = (axis.name(), axis.extent(writer));
    let text = match how {
        0 => format!("(({a} + 1) / {extent})"),
        1 => format!("cos(0.3 * {a})"),
        _ => format!("(0.9 ^ {a})"),
    };
    Part::new(text, axes, 1.0)
}

fn distance(writer: &mut Writer, a: Axis, b: Axis, how: u8) -> Part {
    let axes = tensor_axes(writer, Axes::of(a).with(Axes::of(b)).0);
    if !axes.contains(a) || !axes.contains(b) {
        return Part::new("1".to_string(), Axes::default(), 1.0);
    }
    let (a, b) = (a.name(), b.name());
    let text = match how {
        0 => format!("(0.8 ^ abs({a} - {b}))"),
        1 => format!("cos(0.1 * ({a} - {b}))"),
        _ => format!("(-0.05 * abs({a} - {b}))"),
    };
    Part::new(text, axes, 4.0)
}

/// Two inputs along the first and the last keys.
fn joined(writer: &mut Writer, mask: u8) -> Part {
    let axes = tensor_axes(writer, Axes(mask).with(Axes::of(Axis::J)).0);
    if writer.keys() < 2 {
        return Part::new(input(writer, "x", "", axes, ""), axes, 4.0);
    }
    writer.axis("first = N div 2");
    writer.axis("last = N - N div 2");
    let mut declare = |prefix: &str, section: &str| {
        let names: Vec<&str> = axes.iter().map(|a| if a == Axis::J { section } else { a.name() }).collect();
        let name = format!("{prefix}_{}", axes.names(""));
        writer.input(&format!("{name}[{}]", names.join(", ")));
        name
    };
    let (left, right) = (declare("left", "first"), declare("right", "last"));
    Part::new(format!("concat[j]({left}[first], {right}[last])"), axes, 4.0)
}

fn unary(function: &str, x: &Part) -> Part {
    let (text, axes) = (&x.text, x.axes);
    let (text, bound) = match function {
        "square" => (format!("({text} ^ 2)"), x.bound.powi(2)),
        "cube" => (format!("({text} ^ 3)"), x.bound.powi(3)),
        "exp" => (format!("exp({})", x.within(3.0)), 20.0),
        "log" => (format!("log(2 + {text} ^ 2)"), 2.0 + x.bound.ln().max(0.0)),
        "sqrt" => (format!("sqrt(1 + {text} ^ 2)"), 1.0 + x.bound),
        "recip" => (format!("(1 / (1 + {text} ^ 2))"), 1.0),
        "sin" | "cos" => (format!("{function}({})", x.within(12.0)), 1.0),
        // Their tails are small beside their arguments: a relative error grows with it.
        "gelu" | "silu" | "elu" | "softplus" => (format!("(1.5 + {function}({text}))"), x.bound + 1.5),
        "sigmoid" => (format!("sigmoid({})", x.within(8.0)), 1.0),
        "tanh" | "sign" => (format!("{function}({text})"), 1.0),
        _ => (format!("{function}({text})"), x.bound + 1.0),
    };
    Part::new(text, axes, bound)
}

fn binary(function: &str, x: &Part, y: &Part) -> Part {
    let axes = x.axes.with(y.axes);
    let sum = x.bound + y.bound;
    let (text, bound) = match function {
        "*" => (format!("({} * {})", x.text, y.text), x.bound * y.bound),
        "/" => (format!("({} / (1 + {} ^ 2))", x.text, y.text), x.bound),
        "^" => (format!("((0.5 + sigmoid({})) ^ tanh({}))", x.text, y.text), 2.0),
        "min" | "max" => (format!("{function}({}, {})", x.text, y.text), x.bound.max(y.bound)),
        "logaddexp" => (format!("logaddexp({}, {})", x.text, y.text), sum),
        _ => (format!("({} {function} {})", x.text, y.text), sum),
    };
    Part::new(text, axes, bound)
}

/// `[axis where p]`, and the axes that the domain adds.
fn over(writer: &mut Writer, axis: Axis, p: Option<&Truth>, body: Axes) -> (String, Axes) {
    writer.nest();
    let p = p.map(|p| p.write(writer));
    let axes = p.as_ref().map_or(body, |p| p.axes.with(body)).with(Axes::of(axis));
    writer.touch(axes);
    let domain = p.map_or(String::new(), |p| format!(" where {}", p.text));
    (format!("[{}{domain}]", axis.name()), axes)
}

fn batched(writer: &Writer, axis: Axis) -> Axis {
    if axis == Axis::B && writer.batch().is_empty() { Axis::H } else { axis }
}

fn reduce(writer: &mut Writer, function: &str, axis: Axis, p: Option<&Truth>, x: &Real) -> Part {
    let x = x.write(writer);
    let axis = batched(writer, axis);
    let (range, axes) = over(writer, axis, p, x.axes);
    let axes = axes.without(axis);
    let (text, bound) = match function {
        "sum" => (format!("sum{range}({})", x.text), 8.0 * x.bound),
        // The error of a product is that of a factor times their number where factors repeat: few are not 1.
        "prod" => {
            let factor = format!("if {} < 12 then 0.6 + 0.5 * sigmoid({}) else 1", axis.name(), x.text);
            (format!("prod{range}({factor})"), 100.0)
        }
        "logsumexp" => (format!("logsumexp{range}({})", x.within(8.0)), x.bound.min(8.0) + 5.0),
        _ => (format!("{function}{range}({})", x.text), x.bound),
    };
    // Over nothing these are infinite, and what becomes of an infinity is free.
    let floor = match function {
        "max" | "logsumexp" => "max(-9, ",
        "min" => "min(9, ",
        _ => return Part::new(text, axes, bound),
    };
    let text = if p.is_some() { format!("{floor}{text})") } else { text };
    Part::new(text, axes, bound.max(9.0))
}

fn along(writer: &mut Writer, function: &str, axis: Axis, p: Option<&Truth>, x: &Real) -> Part {
    let x = x.write(writer);
    let axis = batched(writer, axis);
    match function {
        "softmax" => {
            let (range, axes) = over(writer, axis, p, x.axes);
            Part::new(format!("softmax{range}({})", x.within(8.0)), axes, 1.0)
        }
        "cumsum" => {
            let (range, axes) = over(writer, axis, None, x.axes);
            Part::new(format!("cumsum{range}({})", x.text), axes, 8.0 * x.bound)
        }
        _ => {
            let (range, axes) = over(writer, axis, None, x.axes);
            let extent = axis.extent(writer);
            Part::new(format!("(rank{range}({}) / {extent})", x.text), axes, 1.0)
        }
    }
}

/// Defines the expression with a fixed order of axes and reads it elsewhere along one of them.
fn elsewhere(writer: &mut Writer, axis: Axis, place: &Place, x: &Real) -> Part {
    let x = x.write(writer);
    let Some(axis) = Some(axis).filter(|a| x.axes.contains(*a)).or_else(|| x.axes.iter().next()) else { return x };
    let name = writer.fresh("part");
    writer.define(&format!("{name}[{}] = {}", x.axes.names(", "), x.text));
    let (a, extent) = (axis.name(), axis.extent(writer));
    let own = (Axes::of(axis), None);
    let (at, (more, guard)) = match place {
        Place::Next => (format!("({a} + 1) mod {extent}"), own),
        Place::Mirrored => (format!("{extent} - 1 - {a}"), own),
        Place::Block(size) => (format!("{a} div {size} * {size}"), own),
        Place::Before => (format!("{a} - 1"), (Axes::of(axis), Some(format!("{a} > 0")))),
        Place::Swapped if !writer.is_cross() && axis == Axis::I => ("j".to_string(), (Axes::of(Axis::J), None)),
        Place::Swapped if !writer.is_cross() && axis == Axis::J => ("i".to_string(), (Axes::of(Axis::I), None)),
        Place::Table | Place::Swapped => {
            let table = input(writer, &format!("to{a}"), ": i32", Axes::of(axis), &format!(" in 0 .. {extent} - 1"));
            (format!("{table}[{a}]"), own)
        }
        Place::Largest(other, by) => {
            let by = by.write(writer);
            let other = batched(writer, *other);
            writer.touch(by.axes.with(Axes::of(other)));
            (format!("argmax[{}]({}) mod {extent}", other.name(), by.text), (by.axes.without(other), None))
        }
    };
    let axes = x.axes.without(axis).with(more);
    writer.touch(axes);
    let index: Vec<String> = x.axes.iter().map(|o| if o == axis { at.clone() } else { o.name().to_string() }).collect();
    let read = format!("{name}[{}]", index.join(", "));
    let text = guard.map_or(read.clone(), |guard| format!("(if {guard} then {read} else 0)"));
    Part::new(text, axes, x.bound)
}

impl Truth {
    fn write(&self, writer: &mut Writer) -> Part {
        match self {
            Self::Integers(op, x, y) => {
                let (x, y) = (x.write(writer), y.write(writer));
                joined_by(writer, op, &x, &y)
            }
            Self::Near(a, b, w) => {
                let (a, b) = (batched(writer, *a), batched(writer, *b));
                let axes = Axes::of(a).with(Axes::of(b));
                writer.touch(axes);
                Part::new(format!("abs({} - {}) <= {w}", a.name(), b.name()), axes, 1.0)
            }
            Self::Table(mask) => {
                let axes = tensor_axes(writer, *mask);
                Part::new(input(writer, "p", ": bool", axes, ""), axes, 1.0)
            }
            Self::Reals(op, x, y) => {
                let (x, y) = (x.write(writer), y.write(writer));
                joined_by(writer, op, &x, &y)
            }
            Self::Not(p) => {
                let p = p.write(writer);
                Part::new(format!("not ({})", p.text), p.axes, 1.0)
            }
            Self::And(a, b) => both(writer, "and", a, b),
            Self::Or(a, b) => both(writer, "or", a, b),
            Self::Quantified(function, axis, p) => {
                let p = p.write(writer);
                let axis = batched(writer, *axis);
                writer.touch(p.axes.with(Axes::of(axis)));
                Part::new(format!("{function}[{}]({})", axis.name(), p.text), p.axes.without(axis), 1.0)
            }
        }
    }
}

fn joined_by(writer: &mut Writer, op: &str, x: &Part, y: &Part) -> Part {
    let axes = x.axes.with(y.axes);
    writer.touch(axes);
    Part::new(format!("{} {op} {}", x.text, y.text), axes, 1.0)
}

fn both(writer: &mut Writer, op: &str, a: &Truth, b: &Truth) -> Part {
    let (a, b) = (a.write(writer), b.write(writer));
    let in_brackets = |p: Part| Part { text: format!("({})", p.text), ..p };
    joined_by(writer, op, &in_brackets(a), &in_brackets(b))
}

impl Int {
    fn write(&self, writer: &mut Writer) -> Part {
        match self {
            Self::Position(axis) => {
                let axis = batched(writer, *axis);
                Part::new(axis.name().to_string(), Axes::of(axis), 1.0)
            }
            Self::Number(value) => Part::new(value.to_string(), Axes::default(), 1.0),
            Self::Table(mask) => {
                let axes = tensor_axes(writer, *mask);
                Part::new(input(writer, "n", ": i32", axes, " in -2 .. 9"), axes, 1.0)
            }
            Self::Divided(function, x, by) => {
                let x = x.write(writer);
                Part::new(format!("({} {function} {by})", x.text), x.axes, 1.0)
            }
            Self::Sum(function, x, y) => {
                let (x, y) = (x.write(writer), y.write(writer));
                let part = joined_by(writer, function, &x, &y);
                Part { text: format!("({})", part.text), ..part }
            }
            Self::Best(function, axis, x) => {
                let x = x.write(writer);
                let axis = batched(writer, *axis);
                let (range, axes) = over(writer, axis, None, x.axes);
                Part::new(format!("{function}{range}({})", x.text), axes.without(axis), 1.0)
            }
            Self::Rank(axis, x) => {
                let x = x.write(writer);
                let axis = batched(writer, *axis);
                let (range, axes) = over(writer, axis, None, x.axes);
                Part::new(format!("rank{range}({})", x.text), axes, 1.0)
            }
            Self::Count(axis, p) => {
                let axis = batched(writer, *axis);
                let (range, axes) = over(writer, axis, Some(p), Axes::default());
                Part::new(format!("count{range}"), axes.without(axis), 1.0)
            }
        }
    }
}
