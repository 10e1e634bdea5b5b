//! What the verifier proves and what it refuses: one small program per fact.

use attnc_algebra::{BinaryOp, DType, NaryOp, ReduceOp};
use attnc_plan::loops::verify::verify;
use attnc_plan::loops::{
    Access, Additions, Buffer, BufferId, Dst, Expr, ExprId, Exprs, KeyRange, Lane, Listed, LoopProgram, Masked, Open,
    Piece, RowSpans, SpanLoop, Stmt, Tile, TileId, VarId, View,
};

/// A program over `x: f32[N]` (read), `y: f32[N]` (written), a 64 x 64 tile, a
/// column of 64, and a grid of row blocks `v0 in 0..(N + 63) div 64`.
struct Sketch {
    program: LoopProgram,
    n: ExprId,
    block: ExprId,
    row: ExprId,
    col: ExprId,
    zero: ExprId,
    one: ExprId,
}

const X: BufferId = BufferId(0);
const Y: BufferId = BufferId(1);
const SQUARE: TileId = TileId(0);
const COLUMN: TileId = TileId(1);

impl Sketch {
    fn new() -> Self {
        let mut e = Exprs::default();
        let n = e.add(Expr::Extent(0), None);
        let (zero, one, width) = (e.int(0), e.int(1), e.int(64));
        let block = e.add(Expr::Var(VarId(0)), Some(Lane::I64));
        let (row, col) = (e.add(Expr::Row, None), e.add(Expr::Col, None));
        let padded = {
            let up = e.int(63);
            e.sum(n, up)
        };
        let blocks = e.binary(BinaryOp::FloorDiv, padded, width);
        let buffer = |name: &str, access| Buffer {
            name: name.into(),
            dtype: DType::F32,
            shape: vec![n],
            access,
            unit_dim: Some(0),
        };
        let tile = |name: &str, cols| Tile { name: name.into(), lane: Lane::F32, rows: width, cols };
        let program = LoopProgram {
            name: "sketch".into(),
            compute: Lane::F32,
            vars: vec![Lane::I64; 4],
            buffers: vec![buffer("x", Access::Read), buffer("y", Access::Write)],
            tiles: vec![tile("square", width), tile("column", one)],
            grid: vec![(VarId(0), blocks)],
            body: Vec::new(),
            exprs: e,
        };
        Self { program, n, block, row, col, zero, one }
    }

    fn e(&mut self) -> &mut Exprs {
        &mut self.program.exprs
    }

    fn int(&mut self, v: i64) -> ExprId {
        self.e().int(v)
    }

    fn var(&mut self, number: u32) -> ExprId {
        self.e().add(Expr::Var(VarId(number)), Some(Lane::I64))
    }

    /// `64 * v0`
    fn base(&mut self) -> ExprId {
        let (width, block) = (self.int(64), self.block);
        self.e().times(width, block)
    }

    /// `min(64, N - 64 * v0)`
    fn count(&mut self) -> ExprId {
        let (base, n, width) = (self.base(), self.n, self.int(64));
        let left = self.e().difference(n, base);
        self.e().min(width, left)
    }

    /// `select(base + col < 0, N + beyond, base + col)`
    fn choice(&mut self, beyond: i64) -> ExprId {
        let (base, col, n, zero) = (self.base(), self.col, self.n, self.zero);
        let at = self.e().sum(base, col);
        let cond = self.e().add(Expr::Binary(BinaryOp::Lt, at, zero), None);
        let beyond = self.int(beyond);
        let other = self.e().sum(n, beyond);
        self.e().add(Expr::Select(cond, other, at), None)
    }

    fn load(&mut self, index: ExprId) -> ExprId {
        self.e().add(Expr::Load { buffer: X, index: vec![index], clamp: false }, Some(Lane::F32))
    }

    /// `square[0, col] = x[index]` for the given number of columns.
    fn read(mut self, index: ExprId, cols: ExprId) -> Vec<String> {
        let value = self.load(index);
        let dst = Dst::Tile { tile: SQUARE, row: self.zero, col: self.col };
        let rows = self.one;
        self.refusals(vec![Stmt::Map { dst, rows, cols, value }])
    }

    fn refusals(mut self, body: Vec<Stmt>) -> Vec<String> {
        self.program.body = body;
        verify(&self.program).iter().map(ToString::to_string).collect()
    }
}

fn refused(errors: &[String], part: &str) {
    assert!(errors.iter().any(|e| e.contains(part)), "no error mentions {part:?}: {errors:#?}");
}

#[test]
fn a_ragged_last_block_is_in_range() {
    let mut s = Sketch::new();
    let (base, count, col) = (s.base(), s.count(), s.col);
    let index = s.e().sum(base, col);
    assert_eq!(s.read(index, count), Vec::<String>::new());
}

#[test]
fn a_full_block_at_a_ragged_end_is_not() {
    let mut s = Sketch::new();
    let (base, full, col) = (s.base(), s.int(64), s.col);
    let index = s.e().sum(base, col);
    refused(&s.read(index, full), "not proved: v0 * 64 + col < $0");
}

#[test]
fn one_past_the_end_is_refused() {
    let mut s = Sketch::new();
    let (base, count, col, one) = (s.base(), s.count(), s.col, s.one);
    let index = s.e().sum(base, col);
    let index = s.e().sum(index, one);
    refused(&s.read(index, count), "< $0");
}

#[test]
fn one_before_the_start_is_refused() {
    let mut s = Sketch::new();
    let (base, count, col, one) = (s.base(), s.count(), s.col, s.one);
    let index = s.e().sum(base, col);
    let index = s.e().difference(index, one);
    refused(&s.read(index, count), "not proved: 0 <=");
}

#[test]
fn the_reversed_axis_is_in_range() {
    let mut s = Sketch::new();
    let (base, count, col, n, one) = (s.base(), s.count(), s.col, s.n, s.one);
    let forward = s.e().sum(base, col);
    let last = s.e().difference(n, one);
    let index = s.e().difference(last, forward);
    assert_eq!(s.read(index, count), Vec::<String>::new());
}

#[test]
fn quotients_and_remainders_have_bounds() {
    let mut s = Sketch::new();
    let (base, count, col, n) = (s.base(), s.count(), s.col, s.n);
    let at = s.e().sum(base, col);
    let seven = s.int(7);
    let quotient = s.e().binary(BinaryOp::FloorDiv, at, seven);
    assert_eq!(s.read(quotient, count), Vec::<String>::new());

    let mut s = Sketch::new();
    let (count, col) = (s.count(), s.col);
    let far = s.int(1000);
    let far = s.e().sum(col, far);
    let remainder = s.e().binary(BinaryOp::Mod, far, n);
    assert_eq!(s.read(remainder, count), Vec::<String>::new());
}

#[test]
fn a_choice_is_in_range_if_both_sides_are() {
    let mut s = Sketch::new();
    let count = s.count();
    let index = s.choice(-1);
    assert_eq!(s.read(index, count), Vec::<String>::new());

    let mut s = Sketch::new();
    let count = s.count();
    let index = s.choice(0);
    refused(&s.read(index, count), "< $0");
}

#[test]
fn clamping_by_minimum_and_maximum_proves_any_index() {
    let mut s = Sketch::new();
    let (count, col, n, one, zero) = (s.count(), s.col, s.n, s.one, s.zero);
    let wild = s.int(-1_000_003);
    let wild = s.e().times(wild, col);
    let last = s.e().difference(n, one);
    let low = s.e().min(wild, last);
    let index = s.e().max(low, zero);
    assert_eq!(s.read(index, count), Vec::<String>::new());
}

#[test]
fn a_let_is_what_it_was_bound_to() {
    let mut s = Sketch::new();
    let (count, base, col) = (s.count(), s.base(), s.col);
    let var = s.var(1);
    let index = s.e().sum(var, col);
    let value = s.load(index);
    let dst = Dst::Tile { tile: SQUARE, row: s.zero, col };
    let rows = s.one;
    let body = vec![Stmt::Let { var: VarId(1), value: base }, Stmt::Map { dst, rows, cols: count, value }];
    assert_eq!(s.refusals(body), Vec::<String>::new());
}

#[test]
fn a_variable_is_read_only_where_it_is_set() {
    let mut s = Sketch::new();
    let (var, zero, one) = (s.var(1), s.zero, s.one);
    let dst = Dst::Tile { tile: SQUARE, row: zero, col: zero };
    let value = s.e().cast(Lane::F32, var);
    let map = Stmt::Map { dst, rows: one, cols: one, value };
    let to = s.n;
    let body = vec![Stmt::For { var: VarId(1), from: zero, to, step: 1, body: vec![map.clone()] }, map];
    let errors = s.refusals(body);
    refused(&errors, "the variable is not set here");
    assert_eq!(errors.len(), 1);
}

#[test]
fn spans_stay_below_their_limit_and_within_a_tile() {
    let mut s = Sketch::new();
    let (n, zero, one, col) = (s.n, s.zero, s.one, s.col);
    let (from, to) = (s.var(1), s.var(2));
    let count = s.e().difference(to, from);
    let index = s.e().sum(from, col);
    let value = s.load(index);
    let dst = Dst::Tile { tile: SQUARE, row: zero, col };
    let body = vec![Stmt::Map { dst, rows: one, cols: count, value }];
    let four = s.int(4);
    s.program.tiles.push(Tile { name: "list".into(), lane: Lane::I64, rows: one, cols: four });
    let guard = s.e().truth(true);
    let piece = |repeat| Piece { repeat, guard, from: zero, to: n };
    let spans = |pieces| {
        let (limit, var, end, body) = (n, VarId(1), VarId(2), body.clone());
        Stmt::Spans(SpanLoop { list: TileId(2), pieces, limit, tile: 64, var, end, body })
    };
    let (fits, over) = (spans(vec![piece(None), piece(None)]), spans(vec![piece(Some((VarId(3), n)))]));
    let mut other = Sketch::new();
    other.program = s.program.clone();
    assert_eq!(s.refusals(vec![fits]), Vec::<String>::new());
    refused(&other.refusals(vec![over]), "the list holds all intervals");
}

#[test]
fn only_written_buffers_are_written() {
    let mut s = Sketch::new();
    let (zero, one) = (s.zero, s.one);
    let value = s.e().real(Lane::F32, 1.0);
    let to = |buffer| Stmt::Map { dst: Dst::Buffer { buffer, index: vec![zero] }, rows: one, cols: one, value };
    let mut other = Sketch::new();
    other.program = s.program.clone();
    assert_eq!(s.refusals(vec![to(Y)]), Vec::<String>::new());
    refused(&other.refusals(vec![to(X)]), "only for reading");
}

#[test]
fn microkernels_get_unit_strides_and_vectors() {
    let view = |tile, zero, transposed| View::Tile { tile, row: zero, col: zero, transposed };
    let product = |s: &mut Sketch, transposed, depth| {
        let (zero, full) = (s.zero, s.int(64));
        let (lhs, rhs) = (view(SQUARE, zero, true), view(SQUARE, zero, transposed));
        Stmt::product(view(SQUARE, zero, false), lhs, rhs, [full, full, depth], false)
    };
    let mut s = Sketch::new();
    let full = s.int(64);
    let good = product(&mut s, false, full);
    assert_eq!(s.refusals(vec![good]), Vec::<String>::new());
    let mut s = Sketch::new();
    let bad = product(&mut s, true, full);
    refused(&s.refusals(vec![bad]), "transposed");
    let mut s = Sketch::new();
    let deep = s.int(65);
    let bad = product(&mut s, false, deep);
    refused(&s.refusals(vec![bad]), "0 + 65 <= 64");
    let mut s = Sketch::new();
    let (full, half) = (s.int(64), s.e().real(Lane::F32, 0.5));
    let bad = product(&mut s, false, full).times(Some(half));
    refused(&s.refusals(vec![bad]), "a product with a factor is one of pairs");

    let largest = |s: &mut Sketch, transposed, depth| {
        let (zero, full) = (s.zero, s.int(64));
        let (lhs, rhs) = (view(SQUARE, zero, true), view(SQUARE, zero, transposed));
        let dst = view(SQUARE, zero, false);
        Stmt::MaxPlus { dst, lhs, rhs, rows: full, cols: full, depth, least: false, masked: None }
    };
    let mut s = Sketch::new();
    let full = s.int(64);
    let good = largest(&mut s, false, full);
    assert_eq!(s.refusals(vec![good]), Vec::<String>::new());
    let mut s = Sketch::new();
    let full = s.int(64);
    let bad = largest(&mut s, true, full);
    refused(&s.refusals(vec![bad]), "transposed");
    let mut s = Sketch::new();
    let deep = s.int(65);
    let bad = largest(&mut s, false, deep);
    refused(&s.refusals(vec![bad]), "0 + 65 <= 64");

    let softmax = |alpha, masked| {
        let (max, sum) = (COLUMN, COLUMN);
        Stmt::SoftmaxUpdate { scores: SQUARE, max, sum, alpha, masked, rows: full, cols: full }
    };
    assert_eq!(Sketch::new().with_int(64).refusals(vec![softmax(COLUMN, None)]), Vec::<String>::new());
    refused(&Sketch::new().with_int(64).refusals(vec![softmax(SQUARE, None)]), "declared with one column");
}

#[test]
fn spans_are_columns_of_whole_numbers() {
    let full = Sketch::new().int(64);
    let softmax = |alpha, masked| {
        let (max, sum) = (COLUMN, COLUMN);
        Stmt::SoftmaxUpdate { scores: SQUARE, max, sum, alpha, masked, rows: full, cols: full }
    };
    let (mut s, real) = (Sketch::new().with_int(64), RowSpans { from: COLUMN, to: COLUMN });
    let cond = s.e().truth(true);
    let bad = softmax(COLUMN, Some(Masked { cond, spans: Some(real) }));
    refused(&s.refusals(vec![bad]), "not of the type");
    // Both sides of a range are no span, and what is narrowed is no bound.
    let narrowed = |most: bool| {
        let mut s = Sketch::new();
        let (full, one) = (s.int(64), s.one);
        let mut tile = |rows, cols| {
            s.program.tiles.push(Tile { name: "ends".into(), lane: Lane::I64, rows, cols });
            TileId(s.program.tiles.len() as u32 - 1)
        };
        let ([from, to, bound], keys) = ([(); 3].map(|()| tile(full, one)), tile(one, full));
        let range = KeyRange { least: Some(bound), most: most.then_some(bound), keys, inside: false };
        (s, Stmt::NarrowSpans { spans: RowSpans { from, to }, range, rows: full, cols: full })
    };
    let (s, good) = narrowed(false);
    assert_eq!(s.refusals(vec![good]), Vec::<String>::new());
    let (s, bad) = narrowed(true);
    refused(&s.refusals(vec![bad]), "on both sides");
    let (s, mut bad) = narrowed(false);
    if let Stmt::NarrowSpans { spans, range, .. } = &mut bad {
        range.least = Some(spans.to);
    }
    refused(&s.refusals(vec![bad]), "narrowed by themselves");
    // A product of some elements adds to nothing.
    let mut s = Sketch::new();
    let (zero, full) = (s.zero, s.int(64));
    let view = || View::Tile { tile: SQUARE, row: zero, col: zero, transposed: false };
    let adding = Stmt::product(view(), view(), view(), [full; 3], true).of_open(Open::Where);
    refused(&s.refusals(vec![adding]), "neither added to nor masked");
}

impl Sketch {
    /// The same arena as a sketch in which that integer was made first.
    fn with_int(mut self, v: i64) -> Self {
        self.int(v);
        self
    }
}

#[test]
fn lane_types_must_fit() {
    let mut s = Sketch::new();
    let (zero, one, row) = (s.zero, s.one, s.row);
    let half = s.e().real(Lane::F32, 0.5);
    let mixed = s.e().add(Expr::Nary(NaryOp::Add, vec![half, row]), None);
    let dst = Dst::Tile { tile: SQUARE, row: zero, col: zero };
    refused(&s.refusals(vec![Stmt::Map { dst, rows: one, cols: one, value: mixed }]), "fold of lane types");

    let mut s = Sketch::new();
    let value = s.e().real(Lane::F32, 0.5);
    let body = vec![Stmt::RowReduce {
        dst: COLUMN,
        op: ReduceOp::ArgMax,
        rows: one,
        cols: one,
        domain: None,
        value,
        accumulate: false,
    }];
    refused(&s.refusals(body), "another type");
}

#[test]
fn a_scalar_mentions_no_lane() {
    let s = Sketch::new();
    let (row, zero) = (s.row, s.zero);
    let body = vec![Stmt::For { var: VarId(1), from: zero, to: row, step: 1, body: vec![] }];
    refused(&s.refusals(body), "mentions row or column");
}

#[test]
fn shapes_are_launch_time() {
    let mut s = Sketch::new();
    let (block, one) = (s.block, s.one);
    s.program.tiles.push(Tile { name: "bad".into(), lane: Lane::F32, rows: block, cols: one });
    refused(&s.refusals(vec![]), "no launch-time integer");
}

#[test]
fn names_out_of_their_tables_are_refused() {
    let mut s = Sketch::new();
    let (zero, one) = (s.zero, s.one);
    let value = s.e().add(Expr::Tile { tile: TileId(9), row: zero, col: zero }, Some(Lane::F32));
    let dst = Dst::Tile { tile: TileId(9), row: zero, col: zero };
    refused(&s.refusals(vec![Stmt::Map { dst, rows: one, cols: one, value }]), "a tile out of the table");
}

/// A product of one row with every third element of `x`, of which there are `count`.
fn every_third(count: impl FnOnce(&mut Sketch) -> ExprId) -> Vec<String> {
    let mut s = Sketch::new();
    let (zero, one) = (s.zero, s.one);
    let depth = count(&mut s);
    let cap = s.int(64);
    let depth = s.e().min(depth, cap);
    let tile = |tile| View::Tile { tile, row: zero, col: zero, transposed: false };
    let rhs = View::Buffer { buffer: X, index: vec![zero], row_dim: Some(0), col_dim: None, steps: [3, 1] };
    let product = Stmt::product(tile(COLUMN), tile(SQUARE), rhs, [one, one, depth], false);
    s.refusals(vec![product])
}

#[test]
fn steps_of_views_count() {
    let thirds = |past: i64| {
        move |s: &mut Sketch| {
            let (n, three, past) = (s.n, s.int(3), s.int(past));
            let padded = s.e().sum(n, past);
            s.e().binary(BinaryOp::FloorDiv, padded, three)
        }
    };
    assert_eq!(every_third(thirds(2)), Vec::<String>::new());
    refused(&every_third(thirds(3)), "3 *");
}

/// Lists of 8, of `limit` lines of N elements of which `width` are taken, in a program where `spoil` was.
fn listed(limit: i64, width: i64, spoil: impl FnOnce(&mut Stmt, &mut Stmt)) -> Vec<String> {
    let mut s = Sketch::new();
    let (n, zero, one, eight) = (s.n, s.zero, s.one, s.int(8));
    s.program.buffers.push(Buffer {
        name: "lines".into(),
        dtype: DType::F32,
        shape: vec![n, n],
        access: Access::Read,
        unit_dim: Some(1),
    });
    for (name, rows, cols) in [("list", eight, eight), ("count", eight, one), ("most", one, one)] {
        s.program.tiles.push(Tile { name: name.into(), lane: Lane::I64, rows, cols });
    }
    let [list, count, most] = [2, 3, 4].map(TileId);
    let (more, less) = (s.int(limit), s.int(width));
    let (limit, width) = (s.e().sum(n, more), s.e().sum(n, less));
    let width = s.e().min(width, eight);
    let added = Additions::Open(SQUARE);
    let mut first = Stmt::List { list, count, most, added, first: zero, rows: eight, cols: eight, share: 1.0 };
    let lines =
        View::Buffer { buffer: BufferId(2), index: vec![zero; 2], row_dim: Some(0), col_dim: Some(1), steps: [1, 1] };
    let of = Listed { list, count, lines, limit };
    let lhs = View::Tile { tile: SQUARE, row: zero, col: zero, transposed: false };
    let mut second = Stmt::DotsListed { dst: SQUARE, lhs, of, rows: eight, cols: eight, depth: width };
    spoil(&mut first, &mut second);
    s.program.body = vec![first, second];
    verify(&s.program).iter().map(ToString::to_string).collect()
}

#[test]
fn listed_lines_are_in_range_whatever_a_list_holds() {
    assert_eq!(listed(0, 0, |_, _| ()), Vec::<String>::new());
    assert!(!listed(1, 0, |_, _| ()).is_empty(), "a line too many");
    assert!(!listed(0, 1, |_, _| ()).is_empty(), "an element too many");
    let one_tile = |first: &mut Stmt, _: &mut Stmt| {
        if let Stmt::List { list, most, .. } = first {
            *most = *list;
        }
    };
    assert!(!listed(0, 0, one_tile).is_empty(), "a list that is its own count");
    let wide = |_: &mut Stmt, second: &mut Stmt| {
        if let Stmt::DotsListed { of, .. } = second {
            of.list = COLUMN;
        }
    };
    assert!(!listed(0, 0, wide).is_empty(), "a list of reals");
}
