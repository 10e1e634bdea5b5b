//! Random expressions: any operation of the algebra over any axes, without the shape of an attention.
//!
//! Three kinds grow together: reals, truth values and integers. Their text is in `free/write.rs`, where what would be
//! ill-conditioned is bounded: exponents and angles by tanh, denominators and roots away from 0.

mod write;

use proptest::prelude::*;

pub use write::{Axes, Part};

/// An axis of a random spec.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Axis {
    /// Heads.
    H,
    /// Queries.
    I,
    /// Keys.
    J,
    /// Head dim.
    D,
    /// Value dim.
    E,
    /// Batch.
    B,
}

impl Axis {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::H, Self::I, Self::J, Self::D, Self::E, Self::B];
}

/// What an input of a random expression holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Normal 32-bit reals.
    Normal,
    /// Reals between 0 and 1.
    Unit,
    /// 64-bit reals.
    Double,
    /// 16-bit reals.
    Half,
    /// Brain floats.
    Brain,
    /// Small signed bytes.
    Byte,
    /// Small unsigned bytes.
    Unsigned,
    /// Small 64-bit integers.
    Long,
    /// Truth values.
    Truth,
}

/// A real expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Real {
    /// A number.
    Number(&'static str),
    /// An input over some axes, as bits of [`Axis::ALL`].
    Input(Held, u8),
    /// A function of a position.
    Position(Axis, u8),
    /// A function of a distance of positions.
    Distance(Axis, Axis, u8),
    /// Two inputs joined along the keys.
    Joined(u8),
    /// A function of one operand.
    Unary(&'static str, Box<Real>),
    /// A function of two operands.
    Binary(&'static str, Box<Real>, Box<Real>),
    /// A choice.
    If(Box<Truth>, Box<Real>, Box<Real>),
    /// A reduction that removes an axis.
    Reduce(&'static str, Axis, Option<Box<Truth>>, Box<Real>),
    /// A reduction that keeps its axis.
    Along(&'static str, Axis, Option<Box<Truth>>, Box<Real>),
    /// An integer, made small.
    Scaled(Box<Int>),
    /// A truth value as a number.
    Indicator(Box<Truth>),
    /// A definition, read elsewhere along an axis.
    Elsewhere(Axis, Place, Box<Real>),
    /// Repeated some times.
    Iterate(u8, Box<Real>, Box<Real>),
}

/// Where a definition is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The next position, around the end.
    Next,
    /// Counted from the end.
    Mirrored,
    /// The first of its block.
    Block(i64),
    /// The position before, guarded.
    Before,
    /// At the other of queries and keys.
    Swapped,
    /// Where a table says.
    Table,
    /// At the largest of something.
    Largest(Axis, Box<Real>),
}

/// A truth value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Truth {
    /// A comparison of integers.
    Integers(&'static str, Box<Int>, Box<Int>),
    /// Two positions, not far apart.
    Near(Axis, Axis, i64),
    /// A table of truth values.
    Table(u8),
    /// A comparison of reals.
    Reals(&'static str, Box<Real>, Box<Real>),
    /// Not.
    Not(Box<Truth>),
    /// Both.
    And(Box<Truth>, Box<Truth>),
    /// Either.
    Or(Box<Truth>, Box<Truth>),
    /// Somewhere, or everywhere, along an axis.
    Quantified(&'static str, Axis, Box<Truth>),
}

/// An integer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Int {
    /// A position.
    Position(Axis),
    /// A number.
    Number(i64),
    /// A table over some axes.
    Table(u8),
    /// `div` or `mod` by a number.
    Divided(&'static str, Box<Int>, i64),
    /// A sum or difference.
    Sum(&'static str, Box<Int>, Box<Int>),
    /// Where the largest or smallest is.
    Best(&'static str, Axis, Box<Real>),
    /// The place in the descending order.
    Rank(Axis, Box<Real>),
    /// How many hold.
    Count(Axis, Box<Truth>),
}

/// Strategies of one depth.
#[derive(Clone)]
struct Level {
    real: BoxedStrategy<Real>,
    truth: BoxedStrategy<Truth>,
    int: BoxedStrategy<Int>,
}

/// Random real expressions of at most this depth.
pub fn reals(depth: usize) -> BoxedStrategy<Real> {
    (0..depth).fold(leaves(), |level, _| grow(&level)).real
}

fn axes() -> impl Strategy<Value = Axis> + Clone {
    prop::sample::select(Axis::ALL.to_vec())
}

/// The axes of a tensor: more often few than many.
fn masks() -> impl Strategy<Value = u8> {
    let bit = |axis: Axis| 1u8 << Axis::ALL.iter().position(|a| *a == axis).unwrap_or(0);
    let usual = [[Axis::I, Axis::D], [Axis::J, Axis::D], [Axis::J, Axis::E], [Axis::H, Axis::J], [Axis::I, Axis::J]];
    let usual = usual.map(|pair| bit(pair[0]) | bit(pair[1]) | bit(Axis::H)).to_vec();
    prop_oneof![2 => axes().prop_map(bit), 4 => prop::sample::select(usual), 1 => 1u8..64]
}

fn leaves() -> Level {
    let held =
        vec![Held::Unit, Held::Double, Held::Half, Held::Brain, Held::Byte, Held::Unsigned, Held::Long, Held::Truth];
    let input = prop_oneof![9 => Just(Held::Normal), 2 => prop::sample::select(held)];
    let numbers = vec!["1", "0.5", "2", "(-1.5)", "pi"];
    let real = prop_oneof![
        2 => prop::sample::select(numbers).prop_map(Real::Number),
        12 => (input, masks()).prop_map(|(held, mask)| Real::Input(held, mask)),
        1 => (axes(), 0u8..3).prop_map(|(axis, how)| Real::Position(axis, how)),
        1 => (axes(), axes(), 0u8..3).prop_map(|(a, b, how)| Real::Distance(a, b, how)),
        1 => masks().prop_map(Real::Joined),
    ];
    let int = prop_oneof![
        3 => axes().prop_map(Int::Position),
        1 => (0i64..9).prop_map(Int::Number),
        1 => masks().prop_map(Int::Table),
    ];
    let int = int.boxed();
    let truth = prop_oneof![
        4 => (comparisons(), int.clone(), int.clone()).prop_map(|(op, a, b)| Truth::Integers(op, Box::new(a), Box::new(b))),
        3 => (axes(), axes(), 0i64..12).prop_map(|(a, b, w)| Truth::Near(a, b, w)),
        1 => masks().prop_map(Truth::Table),
    ];
    Level { real: real.boxed(), truth: truth.boxed(), int }
}

fn comparisons() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["<=", "<", "==", "!=", ">=", ">"])
}

fn grow(level: &Level) -> Level {
    Level { real: real(level), truth: truth(level), int: int(level) }
}

fn real(level: &Level) -> BoxedStrategy<Real> {
    const UNARY: [&str; 19] = [
        "tanh", "sigmoid", "relu", "square", "cube", "sin", "cos", "abs", "elu", "gelu", "silu", "softplus", "exp",
        "log", "sqrt", "recip", "sign", "floor", "ceil",
    ];
    let unary = prop::sample::select(UNARY.to_vec());
    let binary = prop::sample::select(vec!["*", "+", "-", "/", "min", "max", "logaddexp", "^"]);
    let reduce = prop::sample::select(vec!["sum", "mean", "max", "min", "logsumexp", "prod"]);
    let along = prop::sample::select(vec!["softmax", "cumsum", "rank"]);
    let one = || level.real.clone().prop_map(Box::new);
    let domain = || prop_oneof![1 => Just(None), 1 => level.truth.clone().prop_map(|t| Some(Box::new(t)))];
    prop_oneof![
        3 => level.real.clone(),
        4 => (unary, one()).prop_map(|(f, x)| Real::Unary(f, x)),
        6 => (binary, one(), one()).prop_map(|(f, x, y)| Real::Binary(f, x, y)),
        5 => (axes(), one(), one()).prop_map(|(axis, x, y)| {
            Real::Reduce("sum", axis, None, Box::new(Real::Binary("*", x, y)))
        }),
        5 => (reduce, axes(), domain(), one()).prop_map(|(f, axis, p, x)| Real::Reduce(f, axis, p, x)),
        3 => (along, axes(), domain(), one()).prop_map(|(f, axis, p, x)| Real::Along(f, axis, p, x)),
        2 => (level.truth.clone(), one(), one()).prop_map(|(p, x, y)| Real::If(Box::new(p), x, y)),
        1 => level.int.clone().prop_map(|x| Real::Scaled(Box::new(x))),
        1 => level.truth.clone().prop_map(|x| Real::Indicator(Box::new(x))),
        3 => (axes(), places(level), one()).prop_map(|(axis, place, x)| Real::Elsewhere(axis, place, x)),
        1 => (0u8..4, one(), one()).prop_map(|(n, x, y)| Real::Iterate(n, x, y)),
    ]
    .boxed()
}

fn places(level: &Level) -> impl Strategy<Value = Place> + use<> {
    prop_oneof![
        Just(Place::Next),
        Just(Place::Mirrored),
        (1i64..9).prop_map(Place::Block),
        Just(Place::Before),
        Just(Place::Swapped),
        Just(Place::Table),
        (axes(), level.real.clone()).prop_map(|(axis, x)| Place::Largest(axis, Box::new(x))),
    ]
}

fn truth(level: &Level) -> BoxedStrategy<Truth> {
    let one = || level.truth.clone().prop_map(Box::new);
    let real = || level.real.clone().prop_map(Box::new);
    let int = || level.int.clone().prop_map(Box::new);
    let order = prop::sample::select(vec!["<", "<=", ">", ">="]);
    let quantifier = prop::sample::select(vec!["any", "all"]);
    prop_oneof![
        2 => level.truth.clone(),
        2 => (comparisons(), int(), int()).prop_map(|(op, a, b)| Truth::Integers(op, a, b)),
        1 => (order, real(), real()).prop_map(|(op, a, b)| Truth::Reals(op, a, b)),
        1 => one().prop_map(Truth::Not),
        1 => (one(), one()).prop_map(|(a, b)| Truth::And(a, b)),
        1 => (one(), one()).prop_map(|(a, b)| Truth::Or(a, b)),
        1 => (quantifier, axes(), one()).prop_map(|(f, axis, p)| Truth::Quantified(f, axis, p)),
    ]
    .boxed()
}

fn int(level: &Level) -> BoxedStrategy<Int> {
    let one = || level.int.clone().prop_map(Box::new);
    let real = || level.real.clone().prop_map(Box::new);
    let best = prop::sample::select(vec!["argmax", "argmin"]);
    prop_oneof![
        2 => level.int.clone(),
        2 => (prop::sample::select(vec!["div", "mod"]), one(), 1i64..8).prop_map(|(f, x, k)| Int::Divided(f, x, k)),
        2 => (prop::sample::select(vec!["+", "-"]), one(), one()).prop_map(|(f, x, y)| Int::Sum(f, x, y)),
        1 => (best, axes(), real()).prop_map(|(f, axis, x)| Int::Best(f, axis, x)),
        1 => (axes(), real()).prop_map(|(axis, x)| Int::Rank(axis, x)),
        1 => (axes(), level.truth.clone()).prop_map(|(axis, p)| Int::Count(axis, Box::new(p))),
    ]
    .boxed()
}
