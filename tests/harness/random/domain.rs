//! Random domains: which keys a query sees.

use proptest::prelude::*;

use super::writer::Writer;

/// A predicate over a query position i, a key position j and a head h.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Domain {
    /// Every key.
    All,
    /// `j <= i + offset`.
    Causal(i64),
    /// `abs(i - j) <= w`.
    Band(i64),
    /// `j <= i and i - j < w`.
    Window(i64),
    /// `(i - j) mod s == 0`.
    Stride(i64),
    /// `j mod s == r`.
    Columns(i64, i64),
    /// `j < g`.
    FirstKeys(i64),
    /// `i < g`.
    FirstQueries(i64),
    /// `i div s == j div s`.
    SameBlock(i64),
    /// `j div s < i div s`.
    EarlierBlocks(i64),
    /// A table of truth values over blocks.
    BlockTable(i64),
    /// Some blocks of each block row, from a table.
    PickedBlocks(i64),
    /// A sorted table of run numbers, equal at i and j.
    Documents,
    /// An unsorted table of keys, equal at i and j.
    EqualKeys(i64),
    /// A table of truth values over keys.
    Kept,
    /// `j < length[h]`.
    Length,
    /// Keys between two tables of bounds, by query.
    Between,
    /// An unsorted table of keys in several rounds, equal in any of them.
    Rounds(i64),
    /// A square of a grid around each position: width and radius.
    Square(i64, i64),
    /// Arithmetic on positions that no analysis sees through.
    Opaque(i64),
    /// The first so many kept keys.
    FirstKept(i64),
    /// For each key, the queries of largest product.
    TopQueries(i64),
    /// A comparison of real tables.
    Below,
    /// The nearest of some centres, equal for query and key.
    Nearest(i64),
    /// The keys of largest product with the query.
    Top(i64),
    /// One domain on even heads, another on odd ones.
    PerHead(Box<Domain>, Box<Domain>),
    /// Both.
    And(Box<Domain>, Box<Domain>),
    /// Either.
    Or(Box<Domain>, Box<Domain>),
    /// Not.
    Not(Box<Domain>),
}

/// Random domains, up to four atoms.
pub fn domains() -> impl Strategy<Value = Domain> {
    let tree = atoms().prop_recursive(2, 4, 2, |inner| {
        let pair = || (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        prop_oneof![
            pair().prop_map(|(a, b)| Domain::And(a, b)),
            pair().prop_map(|(a, b)| Domain::Or(a, b)),
            inner.clone().prop_map(|a| Domain::Not(Box::new(a))),
            pair().prop_map(|(a, b)| Domain::PerHead(a, b)),
        ]
    });
    prop_oneof![1 => Just(Domain::All), 4 => tree]
}

fn atoms() -> impl Strategy<Value = Domain> {
    prop_oneof![
        (-3i64..4).prop_map(Domain::Causal),
        (0i64..20).prop_map(Domain::Band),
        (1i64..20).prop_map(Domain::Window),
        (1i64..9).prop_map(Domain::Stride),
        (1i64..9, 0i64..9).prop_map(|(s, r)| Domain::Columns(s, r % s)),
        (0i64..20).prop_map(Domain::FirstKeys),
        (0i64..20).prop_map(Domain::FirstQueries),
        (1i64..20).prop_map(Domain::SameBlock),
        (1i64..20).prop_map(Domain::EarlierBlocks),
        (1i64..20).prop_map(Domain::BlockTable),
        (1i64..20).prop_map(Domain::PickedBlocks),
        Just(Domain::Documents),
        (1i64..5).prop_map(Domain::EqualKeys),
        Just(Domain::Kept),
        Just(Domain::Length),
        Just(Domain::Between),
        (1i64..5).prop_map(Domain::Rounds),
        (1i64..12, 0i64..4).prop_map(|(width, radius)| Domain::Square(width, radius)),
        (2i64..9).prop_map(Domain::Opaque),
        (1i64..20).prop_map(Domain::FirstKept),
        (1i64..9).prop_map(Domain::TopQueries),
        Just(Domain::Below),
        (1i64..6).prop_map(Domain::Nearest),
        (1i64..20).prop_map(Domain::Top),
    ]
}

impl Domain {
    /// The predicate's text; empty for every key.
    pub(super) fn write(&self, writer: &mut Writer) -> String {
        match self {
            Self::All => String::new(),
            other => other.predicate(writer),
        }
    }

    fn predicate(&self, writer: &mut Writer) -> String {
        match self {
            Self::All => "true".to_string(),
            Self::Causal(offset) => format!("j <= i + {offset}"),
            Self::Band(w) => format!("abs(i - j) <= {w}"),
            Self::Window(w) => format!("j <= i and i - j < {w}"),
            Self::Stride(s) => format!("(i - j) mod {s} == 0"),
            Self::Columns(s, r) => format!("j mod {s} == {r}"),
            Self::FirstKeys(g) => format!("j < {g}"),
            Self::FirstQueries(g) => format!("i < {g}"),
            Self::SameBlock(s) => format!("i div {s} == j div {s}"),
            Self::EarlierBlocks(s) => format!("j div {s} < i div {s}"),
            Self::Square(width, radius) => {
                format!(
                    "abs(i div {width} - j div {width}) <= {radius} and abs(i mod {width} - j mod {width}) <= {radius}"
                )
            }
            Self::Opaque(m) => format!("(i * i + 3 * j * (i + 1)) mod {m} < {}", m / 2 + 1),
            Self::PerHead(even, odd) => {
                let (even, odd) = (even.predicate(writer), odd.predicate(writer));
                format!("(h mod 2 == 0 and ({even}) or h mod 2 == 1 and ({odd}))")
            }
            Self::And(a, b) => format!("({}) and ({})", a.predicate(writer), b.predicate(writer)),
            Self::Or(a, b) => format!("({}) or ({})", a.predicate(writer), b.predicate(writer)),
            Self::Not(a) => format!("not ({})", a.predicate(writer)),
            table => table.lookup(writer),
        }
    }

    /// Predicates that read a table.
    fn lookup(&self, writer: &mut Writer) -> String {
        let (batch, queries) = (writer.batch(), writer.queries());
        match self {
            Self::BlockTable(s) => {
                let name = writer.fresh("table");
                writer.axis(&format!("x{s} = ({queries} + {}) div {s}", s - 1));
                writer.axis(&format!("y{s} = (N + {}) div {s}", s - 1));
                writer.input(&format!("{name}: bool[h, x{s}, y{s}]"));
                format!("{name}[h, i div {s}, j div {s}]")
            }
            Self::PickedBlocks(s) => {
                let name = writer.fresh("picks");
                writer.axis(&format!("x{s} = ({queries} + {}) div {s}", s - 1));
                writer.axis("r = 2");
                writer.input(&format!("{name}: i32[h, x{s}, r] in 0 .. (N - 1) div {s}"));
                format!("any[r]({name}[h, i div {s}, r] == j div {s})")
            }
            Self::Documents if !writer.is_cross() => {
                writer.input(&format!("doc: i32[{batch}j] runs 9"));
                format!("doc[{batch}i] == doc[{batch}j]")
            }
            Self::EqualKeys(kinds) => {
                writer.input(&format!("qkind{kinds}: i32[{batch}i] in 0 .. {}", kinds - 1));
                writer.input(&format!("kkind{kinds}: i32[{batch}j] in 0 .. {}", kinds - 1));
                format!("qkind{kinds} == kkind{kinds}")
            }
            Self::Nearest(centres) => {
                let (q, k) = (writer.query("q", "d"), writer.key("k", "d"));
                writer.axis(&format!("c{centres} = {centres}"));
                writer.input(&format!("centre{centres}[h, c{centres}, d]"));
                for (name, x) in [("nearq", q), ("neark", k)] {
                    let product = format!("sum[d]({x} * centre{centres})");
                    writer.define(&format!("{name}{centres} = argmax[c{centres}]({product})"));
                }
                format!("nearq{centres} == neark{centres}")
            }
            Self::Top(count) => {
                writer.nest();
                let (q, k) = (writer.query("q", "d"), writer.key("k", "d"));
                writer.define(&format!("product = sum[d]({q} * {k})"));
                format!("rank[j](product) < {count}")
            }
            Self::Rounds(kinds) => {
                writer.axis("rounds = 3");
                writer.input(&format!("qround{kinds}: i32[{batch}i, rounds] in 0 .. {}", kinds - 1));
                writer.input(&format!("kround{kinds}: i32[{batch}j, rounds] in 0 .. {}", kinds - 1));
                format!("any[rounds](qround{kinds} == kround{kinds})")
            }
            Self::Between => {
                writer.input("from: i32[h, i] in 0 .. N");
                writer.input("until: i64[h, i] in 0 .. N");
                "from <= j < until".to_string()
            }
            Self::FirstKept(count) => {
                writer.nest();
                writer.input(&format!("kept: bool[{batch}j]"));
                format!("kept and cumsum[j](if kept then 1 else 0) <= {count}")
            }
            Self::TopQueries(count) => {
                writer.nest();
                let (q, k) = (writer.query("q", "d"), writer.key("k", "d"));
                writer.define(&format!("product = sum[d]({q} * {k})"));
                format!("rank[i](product) < {count}")
            }
            Self::Length => {
                writer.input("length: i32[h] in 0 .. N");
                "j < length".to_string()
            }
            Self::Below => {
                writer.input("low[i]");
                writer.input("high[j]");
                "low < high".to_string()
            }
            _ => {
                writer.input(&format!("kept: bool[{batch}j]"));
                "kept".to_string()
            }
        }
    }
}
