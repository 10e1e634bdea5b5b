//! Statements other than maps: products, spans, softmax, searches, branches,
//! on both engines, in f32 and f64.

mod support;

use attnc_algebra::{BinaryOp, DType, UnaryOp};
use attnc_plan::loops::{
    Access, Dst, Expr, ExprId, KeyRange, Lane, Masked, Open, Piece, RowSpans, SpanLoop, Stmt, VarId, View,
};
use support::sketch::{Sketch, random};

/// `out = op(lhs) * rhs`, from buffers or through tiles.
fn product(compute: Lane, through_tiles: bool, transposed: bool, accumulate: bool, masked: Option<bool>) -> Sketch {
    let mut s = Sketch::new(compute);
    let [m, n, k] = [0, 1, 2].map(|x| s.e().add(Expr::Extent(x), None));
    let dtype = s.dtype();
    let lhs_shape = if transposed { [k, m] } else { [m, k] };
    let lhs = s.buffer(dtype, &lhs_shape, Access::Read, None);
    let rhs = s.buffer(dtype, &[k, n], Access::Read, Some(1));
    let out = s.buffer(dtype, &[m, n], Access::Write, Some(1));
    let (row, col, zero) = (s.row, s.col, s.zero);
    let masked = masked.map(|v| Masked { cond: s.e().truth(v), spans: None });
    let whole = |buffer, row_dim, col_dim| View::Buffer {
        buffer,
        index: vec![zero, zero],
        row_dim: Some(row_dim),
        col_dim: Some(col_dim),
        steps: [1, 1],
    };
    let (lhs_view, rhs_view, dst) = if through_tiles {
        let (lhs_tile, rhs_tile, acc) =
            (s.tile(compute, lhs_shape[0], lhs_shape[1]), s.tile(compute, k, n), s.tile(compute, m, n));
        let x = s.load(lhs, &[row, col]);
        s.map(s.at(lhs_tile), lhs_shape[0], lhs_shape[1], x);
        let y = s.load(rhs, &[row, col]);
        s.map(s.at(rhs_tile), k, n, y);
        let start = s.e().real(compute, 0.25);
        s.map(s.at(acc), m, n, start);
        let view = |tile, transposed| View::Tile { tile, row: zero, col: zero, transposed };
        (view(lhs_tile, transposed), view(rhs_tile, false), view(acc, false))
    } else {
        let (row_dim, col_dim) = if transposed { (1, 0) } else { (0, 1) };
        (whole(lhs, row_dim, col_dim), whole(rhs, 0, 1), whole(out, 0, 1))
    };
    s.program.body.push(Stmt::masked_product(dst.clone(), lhs_view, rhs_view, [m, n, k], accumulate, masked));
    if let View::Tile { tile, .. } = dst {
        let value = s.element(tile, row, col);
        s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, m, n, value);
    }
    s
}

#[test]
fn products_of_buffers_and_tiles() {
    for compute in [Lane::F32, Lane::F64] {
        let tolerance = if compute == Lane::F32 { 1e-5 } else { 1e-14 };
        for (through_tiles, transposed, accumulate) in
            [(false, false, false), (false, true, true), (true, false, true), (true, true, false)]
        {
            let s = product(compute, through_tiles, transposed, accumulate, None);
            for extents in [[1, 1, 1], [5, 3, 7], [17, 65, 33]] {
                s.check(&extents, tolerance, random);
            }
        }
    }
}

#[test]
fn products_with_rounded_terms_have_the_bits_of_a_loop() {
    for (through_tiles, transposed, accumulate) in [(false, false, false), (true, false, true), (true, true, false)] {
        let mut s = product(Lane::F64, through_tiles, transposed, accumulate, None);
        for stmt in &mut s.program.body {
            if let Stmt::Product { rounded, .. } = stmt {
                *rounded = true;
            }
        }
        for extents in [[1, 1, 1], [5, 3, 7], [17, 65, 33]] {
            s.check(&extents, 0.0, random);
        }
    }
}

#[test]
fn products_leave_alone_what_is_not_open() {
    for (compute, tolerance) in [(Lane::F32, 1e-5), (Lane::F64, 1e-14)] {
        let mut s = product(compute, true, false, false, None);
        let (row, col) = (s.row, s.col);
        let [m, n] = [0, 1].map(|x| s.e().add(Expr::Extent(x), None));
        let at = s.program.body.iter().position(|stmt| matches!(stmt, Stmt::Product { .. })).expect("there is one");
        let Stmt::Product { dst: View::Tile { tile, .. }, open, .. } = &mut s.program.body[at] else {
            unreachable!("the product of a tile")
        };
        let tile = *tile;
        *open = Open::Where;
        let (low, none) = (s.e().real(compute, f64::NEG_INFINITY), s.e().real(compute, -1.0));
        let old = s.element(tile, row, col);
        let closed = s.e().add(Expr::Binary(BinaryOp::Lt, row, col), None);
        let value = s.e().add(Expr::Select(closed, low, old), None);
        let mask = Stmt::Map { dst: s.at(tile), rows: m, cols: n, value };
        s.program.body.insert(at, mask);
        let closed = s.e().add(Expr::Binary(BinaryOp::Eq, old, low), None);
        let shown = s.e().add(Expr::Select(closed, none, old), None);
        let Some(Stmt::Map { value, .. }) = s.program.body.last_mut() else { unreachable!("the output's map") };
        *value = shown;
        for extents in [[1, 1, 1], [5, 3, 7], [17, 65, 33], [40, 130, 64]] {
            s.check(&extents, tolerance, random);
        }
    }
}

#[test]
fn products_of_widened_values_have_the_bits_of_separate_roundings() {
    let mut s = Sketch::new(Lane::F32);
    let [m, n, k] = [0, 1, 2].map(|x| s.e().add(Expr::Extent(x), None));
    let lhs = s.buffer(DType::F32, &[m, k], Access::Read, None);
    let rhs = s.buffer(DType::F32, &[k, n], Access::Read, None);
    let out = s.buffer(DType::F64, &[m, n], Access::Write, None);
    let (row, col, zero) = (s.row, s.col, s.zero);
    let (x, y, acc) = (s.tile(Lane::F64, m, k), s.tile(Lane::F64, k, n), s.tile(Lane::F64, m, n));
    for (buffer, tile, rows, cols) in [(lhs, x, m, k), (rhs, y, k, n)] {
        let value = s.load(buffer, &[row, col]);
        let wide = s.e().cast(Lane::F64, value);
        s.map(s.at(tile), rows, cols, wide);
    }
    let view = |tile| View::Tile { tile, row: zero, col: zero, transposed: false };
    let (dst, lhs, rhs) = (view(acc), view(x), view(y));
    s.program.body.push(Stmt::product(dst, lhs, rhs, [m, n, k], false));
    let sum = s.e().add(Expr::Tile { tile: acc, row, col }, Some(Lane::F64));
    s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, m, n, sum);
    for extents in [[1, 1, 1], [5, 1, 300], [17, 65, 33], [96, 16, 64]] {
        s.check(&extents, 0.0, random);
    }
}

#[test]
fn masked_zeros_contribute_nothing_even_against_nan() {
    for compute in [Lane::F32, Lane::F64] {
        for bad in [f64::NAN, f64::INFINITY] {
            // Every third element of the left side is a masked zero; the row of the right side it meets is bad.
            let value = move |at: usize, element: usize| match at {
                0 if element.is_multiple_of(3) => 0.0,
                1 if element % 29 == 5 => bad,
                _ => random(at, element),
            };
            for masked in [None, Some(false), Some(true)] {
                product(compute, true, false, false, masked).check(&[6, 9, 12], 1e-5, value);
            }
        }
    }
}

/// Counts, for every position, how often a tile of the span loop covers it, and
/// notes the tile's bounds.
fn spans(pieces: impl Fn(&mut Sketch, ExprId) -> Vec<Piece>, capacity: i64) -> Sketch {
    let mut s = Sketch::new(Lane::F32);
    let n = s.e().add(Expr::Extent(0), None);
    let out = s.buffer(DType::I64, &[n], Access::Write, None);
    let (zero, one, col) = (s.zero, s.one, s.col);
    let minus = s.int(-1);
    s.map(Dst::Buffer { buffer: out, index: vec![col] }, one, n, minus);
    let pieces = pieces(&mut s, n);
    let capacity = s.int(capacity);
    let list = s.tile(Lane::I64, one, capacity);
    let ((var, from), (end, to)) = (s.var(), s.var());
    let count = s.e().difference(to, from);
    let at = s.e().sum(from, col);
    let old = s.load(out, &[at]);
    let thousand = s.int(1000);
    let mark = s.e().times(from, thousand);
    let mark = s.e().sum(mark, to);
    let value = s.e().sum(old, mark);
    let body = vec![Stmt::Map { dst: Dst::Buffer { buffer: out, index: vec![at] }, rows: one, cols: count, value }];
    s.program.body.push(Stmt::Spans(SpanLoop { list, pieces, limit: n, tile: 8, var, end, body }));
    let _ = zero;
    s
}

impl Sketch {
    fn int(&mut self, v: i64) -> ExprId {
        self.e().int(v)
    }

    fn piece(&mut self, from: i64, to: i64, guard: bool) -> Piece {
        Piece { repeat: None, guard: self.e().truth(guard), from: self.int(from), to: self.int(to) }
    }
}

#[test]
fn spans_cover_each_tile_once() {
    let lists: [&[(i64, i64, bool)]; 6] = [
        &[(3, 9, true)],
        &[(-5, 1000, true)],
        &[(20, 20, true)],
        &[(3, 9, true), (4, 30, true), (4, 5, true)],
        &[(40, 41, true), (0, 1, true), (16, 17, false), (70, 90, true)],
        &[(9, 3, true), (50, 2, true)],
    ];
    for list in lists {
        let s = spans(|s, _| list.iter().map(|(from, to, guard)| s.piece(*from, *to, *guard)).collect(), 16);
        for n in [1, 7, 8, 9, 41, 64] {
            s.check(&[n], 0.0, |_, _| 0.0);
        }
    }
}

#[test]
fn spans_with_repetition() {
    let s = spans(
        |s, n| {
            let (var, at) = s.var();
            let (five, eleven, three) = (s.int(5), s.int(11), s.int(3));
            let from = s.e().times(at, eleven);
            let to = s.e().sum(from, three);
            let guard = {
                let two = s.int(2);
                s.e().add(Expr::Binary(BinaryOp::Ne, at, two), None)
            };
            let last = s.piece(60, 61, true);
            let _ = n;
            vec![Piece { repeat: Some((var, five)), guard, from, to }, last]
        },
        12,
    );
    for n in [1, 12, 40, 64] {
        s.check(&[n], 0.0, |_, _| 0.0);
    }
}

/// Attention of `N` queries over `N` keys in tiles of 8, causal, row `skip`
/// without keys, masked pair by pair or by spans: the whole family of statements together.
fn attention(compute: Lane, skip: i64, by_spans: bool) -> Sketch {
    let mut s = Sketch::new(compute);
    let [n, d] = [0, 1].map(|x| s.e().add(Expr::Extent(x), None));
    let dtype = s.dtype();
    let q = s.buffer(dtype, &[n, d], Access::Read, None);
    let k = s.buffer(dtype, &[n, d], Access::Read, None);
    let v = s.buffer(dtype, &[n, d], Access::Read, Some(1));
    let out = s.buffer(dtype, &[n, d], Access::Write, None);
    let (row, col, zero, one, eight) = (s.row, s.col, s.zero, s.one, s.int(8));
    let (task, block) = s.var();
    let seven = s.int(7);
    let padded = s.e().sum(n, seven);
    let blocks = s.e().binary(BinaryOp::FloorDiv, padded, eight);
    s.program.grid.push((task, blocks));
    let base = s.e().times(block, eight);
    let left = s.e().difference(n, base);
    let rows = s.e().min(left, eight);
    let [m, l, alpha] = [(); 3].map(|()| s.tile(compute, eight, one));
    let (acc, scores, keys) = (s.tile(compute, eight, d), s.tile(compute, eight, eight), s.tile(compute, d, eight));
    let (low, none) = (s.e().real(compute, f64::NEG_INFINITY), s.e().real(compute, 0.0));
    s.map(s.in_column(m), rows, one, low);
    s.map(s.in_column(l), rows, one, none);
    s.map(s.at(acc), rows, d, none);
    let ((var, from), (end, to)) = (s.var(), s.var());
    let cols = s.e().difference(to, from);
    let outer = std::mem::take(&mut s.program.body);
    let key = s.e().sum(from, col);
    let value = s.load(k, &[key, row]);
    s.map(s.at(keys), d, cols, value);
    let view = |tile| View::Tile { tile, row: zero, col: zero, transposed: false };
    let rows_of =
        |buffer, at| View::Buffer { buffer, index: vec![at, zero], row_dim: Some(0), col_dim: Some(1), steps: [1, 1] };
    let product = Stmt::product(view(scores), rows_of(q, base), view(keys), [rows, cols, d], false);
    let (query, skip) = (s.e().sum(base, row), s.int(skip));
    let kept = s.e().add(Expr::Binary(BinaryOp::Ne, query, skip), None);
    let spans = if by_spans {
        let spans = RowSpans { from: s.tile(Lane::I64, eight, one), to: s.tile(Lane::I64, eight, one) };
        let past = s.e().difference(query, from);
        let past = s.e().sum(past, one);
        let past = s.e().add(Expr::Select(kept, past, zero), None);
        s.map(s.in_column(spans.from), rows, one, zero);
        s.map(s.in_column(spans.to), rows, one, past);
        s.program.body.push(product.of_open(Open::Spans(spans)));
        Some(spans)
    } else {
        s.program.body.push(product);
        let causal = s.e().add(Expr::Binary(BinaryOp::Le, key, query), None);
        let both = s.e().add(Expr::Nary(attnc_algebra::NaryOp::And, vec![causal, kept]), None);
        let score = s.element(scores, row, col);
        let masked = s.e().add(Expr::Select(both, score, low), None);
        s.map(s.at(scores), rows, cols, masked);
        None
    };
    let partial = s.e().truth(true);
    let masked = Some(Masked { cond: partial, spans });
    s.program.body.push(Stmt::SoftmaxUpdate { scores, max: m, sum: l, alpha, masked, rows, cols });
    s.program.body.push(Stmt::Flush { tile: scores, rows, cols });
    s.program.body.push(Stmt::ScaleRows { tile: acc, alpha, rows, cols: d });
    let product = Stmt::masked_product(view(acc), view(scores), rows_of(v, from), [rows, d, cols], true, masked);
    s.program.body.push(product);
    let body = std::mem::replace(&mut s.program.body, outer);
    let two = s.int(2);
    let list = s.tile(Lane::I64, one, two);
    let guard = s.e().truth(true);
    let past = s.e().sum(base, eight);
    let pieces = vec![Piece { repeat: None, guard, from: zero, to: past }];
    s.program.body.push(Stmt::Spans(SpanLoop { list, pieces, limit: n, tile: 8, var, end, body }));
    let (sum, value) = (s.element(l, row, zero), s.element(acc, row, col));
    let empty = s.e().add(Expr::Binary(BinaryOp::Eq, sum, none), None);
    let quotient = s.e().binary(BinaryOp::Div, value, sum);
    let value = s.e().add(Expr::Select(empty, none, quotient), None);
    s.map(Dst::Buffer { buffer: out, index: vec![query, col] }, rows, d, value);
    s
}

#[test]
fn attention_with_a_row_without_keys() {
    let engines = [(Lane::F32, 1e-5), (Lane::F64, 1e-13)];
    for ((compute, tolerance), by_spans) in engines.into_iter().flat_map(|case| [(case, false), (case, true)]) {
        let s = attention(compute, 3, by_spans);
        for extents in [[1, 1], [4, 3], [8, 8], [21, 5], [40, 16]] {
            s.check(&extents, tolerance, random);
        }
        // Keys that no query may see hold NaN: nothing may come of it.
        s.check(
            &[11, 4],
            tolerance,
            |at, element| if at == 2 && element == 64 + 10 * 7 { f64::NAN } else { random(at, element) },
        );
    }
}

#[test]
fn searches_in_sorted_tables() {
    for dtype in [DType::I32, DType::I64] {
        let mut s = Sketch::new(Lane::F32);
        let [b, n] = [0, 1].map(|x| s.e().add(Expr::Extent(x), None));
        let table = s.buffer(dtype, &[b, n], Access::Read, None);
        let out = s.buffer(DType::I64, &[b, n], Access::Write, None);
        let (row, col, zero) = (s.row, s.col, s.zero);
        let key = s.load(table, &[row, col]);
        let search = Expr::LowerBound { buffer: table, index: vec![row, zero], dim: 1, count: n, value: key };
        let first = s.e().add(search, None);
        let search = Expr::LowerBound { buffer: table, index: vec![zero, zero], dim: 1, count: col, value: col };
        let among = s.e().add(search, None);
        let thousand = s.int(1000);
        let among = s.e().times(thousand, among);
        let value = s.e().sum(first, among);
        s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, b, n, value);
        for n in [1, 5, 33] {
            s.check(&[2, n], 0.0, |_, element| (element / 3) as f64);
        }
    }
}

/// The largest and the least of `q + k`, from buffers or through tiles, masked or not.
#[test]
fn max_plus_products() {
    for (compute, through_tiles, least, masked) in [
        (Lane::F32, false, false, None),
        (Lane::F32, true, true, Some(true)),
        (Lane::F64, true, false, Some(false)),
        (Lane::F64, false, true, Some(true)),
    ] {
        let mut s = product(compute, through_tiles, least, true, masked);
        for stmt in &mut s.program.body {
            if let Stmt::Product { dst, lhs, rhs, rows, cols, depth, masked, .. } = stmt.clone() {
                let masked = masked.map(|masked| masked.cond);
                *stmt = Stmt::MaxPlus { dst, lhs, rhs, rows, cols, depth, least, masked };
            }
        }
        for extents in [[1, 1, 1], [5, 3, 7], [17, 65, 33]] {
            s.check(&extents, 0.0, random);
            s.check(&extents, 0.0, |at, element| match (at + 3 * element) % 29 {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                _ => random(at, element),
            });
        }
    }
}

/// `out = sum of w * tanh(q + k)`, with weights per row or for all rows, from buffers or through tiles.
#[test]
fn products_through_tanh() {
    for (weight_rows, through_tiles) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut s = Sketch::new(Lane::F32);
        let [rows, cols, depth] = [0, 1, 2].map(|x| s.e().add(Expr::Extent(x), None));
        let (row, col, one) = (s.row, s.col, s.one);
        let heavy = if weight_rows { rows } else { one };
        let w = s.buffer(DType::F32, &[heavy, depth], Access::Read, None);
        let q = s.buffer(DType::F32, &[rows, depth], Access::Read, None);
        let k = s.buffer(DType::F32, &[depth, cols], Access::Read, Some(1));
        let out = s.buffer(DType::F32, &[rows, cols], Access::Write, Some(1));
        let mut views = Vec::new();
        for (buffer, shape) in [(w, [heavy, depth]), (q, [rows, depth]), (k, [depth, cols])] {
            let zero = s.zero;
            if through_tiles {
                let tile = s.tile(Lane::F32, shape[0], shape[1]);
                let value = s.load(buffer, &[row, col]);
                s.map(s.at(tile), shape[0], shape[1], value);
                views.push(View::Tile { tile, row: zero, col: zero, transposed: false });
            } else {
                let row_dim = if buffer == w && !weight_rows { None } else { Some(0) };
                views.push(View::Buffer { buffer, index: vec![zero; 2], row_dim, col_dim: Some(1), steps: [1, 1] });
            }
        }
        let (zero, views) = (s.zero, <[View; 3]>::try_from(views).expect("three operands"));
        let [weight, lhs, rhs] = views;
        let acc = s.tile(Lane::F32, rows, cols);
        let dst = View::Tile { tile: acc, row: zero, col: zero, transposed: false };
        for accumulate in [false, true] {
            let [dst, weight, lhs, rhs] = [&dst, &weight, &lhs, &rhs].map(View::clone);
            let stmt = Stmt::ProductTanh { dst, weight, weight_rows, lhs, rhs, rows, cols, depth, accumulate };
            s.program.body.push(stmt);
        }
        let value = s.element(acc, row, col);
        s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, rows, cols, value);
        for extents in [[1, 1, 1], [9, 70, 5], [33, 17, 130]] {
            s.check(&extents, 4e-6 * extents[2] as f64, |at, element| 3.0 * random(at, element));
        }
    }
}

/// `out = q k^T`, then `out + w v` with v as it lies and with v widened into a tile, of every type that lines have.
#[test]
fn lines_and_matrices_that_are_stored_narrow() {
    for dtype in [DType::F32, DType::Bf16, DType::F16, DType::I8] {
        let mut s = Sketch::new(Lane::F32);
        let [rows, cols, depth] = [0, 1, 2].map(|x| s.e().add(Expr::Extent(x), None));
        let (row, col, zero) = (s.row, s.col, s.zero);
        let q = s.buffer(DType::F32, &[rows, depth], Access::Read, Some(1));
        let k = s.buffer(dtype, &[cols, depth], Access::Read, Some(1));
        let v = s.buffer(dtype, &[cols, depth], Access::Read, Some(1));
        let out = s.buffer(DType::F32, &[rows, depth], Access::Write, Some(1));
        let whole =
            |buffer| View::Buffer { buffer, index: vec![zero; 2], row_dim: Some(0), col_dim: Some(1), steps: [1, 1] };
        let tiled = |tile| View::Tile { tile, row: zero, col: zero, transposed: false };
        let scores = s.tile(Lane::F32, rows, cols);
        let (lhs, rhs) = (whole(q), whole(k));
        s.program.body.push(Stmt::Dots { dst: tiled(scores), lhs, rhs, rows, cols, depth });
        let wide = s.tile(Lane::F32, cols, depth);
        let value = s.load(v, &[row, col]);
        let value = s.e().cast(Lane::F32, value);
        s.map(s.at(wide), cols, depth, value);
        let acc = s.tile(Lane::F32, rows, depth);
        for (rhs, accumulate) in [(whole(v), false), (tiled(wide), true)] {
            let (dst, lhs) = (tiled(acc), tiled(scores));
            let (cols, depth) = (depth, cols);
            s.program.body.push(Stmt::product(dst, lhs, rhs, [rows, cols, depth], accumulate));
        }
        let value = s.element(acc, row, col);
        s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, rows, depth, value);
        let size = if dtype == DType::I8 { 100.0 } else { 1.0 };
        for extents in [[1, 1, 1], [4, 70, 5], [5, 64, 130], [13, 17, 33]] {
            let terms = (extents[1] * extents[2]) as f64;
            s.check(&extents, 2e-6 * terms * size * size, |at, element| match at {
                1 | 2 => size * random(at, element),
                _ => random(at, element),
            });
        }
    }
}

#[test]
fn keys_in_ranges_are_kept_or_filled() {
    for case in 0..8u8 {
        let compute = if case & 1 == 0 { Lane::F32 } else { Lane::F64 };
        let mut s = Sketch::new(compute);
        let [rows, cols] = [0, 1].map(|x| s.e().add(Expr::Extent(x), None));
        let dtype = s.dtype();
        let out = s.buffer(dtype, &[rows, cols], Access::Write, None);
        let (row, col, zero, one) = (s.row, s.col, s.zero, s.one);
        let tile = s.tile(compute, rows, cols);
        let [least, most] = [(); 2].map(|()| s.tile(Lane::I64, rows, one));
        let [keys, doubled] = [(); 2].map(|()| s.tile(Lane::I64, one, cols));
        let sum = s.e().sum(row, col);
        let value = s.e().cast(compute, sum);
        s.map(s.at(tile), rows, cols, value);
        let (two, seven) = (s.int(2), s.int(7));
        let high = s.e().difference(seven, row);
        s.map(s.in_column(least), rows, one, row);
        s.map(s.in_column(most), rows, one, high);
        let twice = s.e().times(col, two);
        for (tile, value) in [(keys, col), (doubled, twice)] {
            s.map(Dst::Tile { tile, row: zero, col }, one, cols, value);
        }
        let first = KeyRange { least: Some(least), most: Some(most), keys, inside: case & 2 == 0 };
        let second = KeyRange { least: Some(most), most: None, keys: doubled, inside: true };
        let any = if case & 4 == 0 { vec![first] } else { vec![first, second] };
        s.program.body.push(Stmt::KeepKeys { tile, any, fill: -0.5, rows, cols });
        let value = s.element(tile, row, col);
        s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, rows, cols, value);
        for extents in [[1, 1], [9, 4], [12, 33]] {
            s.check(&extents, 0.0, |_, _| 0.0);
        }
    }
}

#[test]
fn weights_are_added_up_by_place() {
    for compute in [Lane::F32, Lane::F64] {
        let mut s = Sketch::new(compute);
        let [rows, cols, width] = [0, 1, 2].map(|x| s.e().add(Expr::Extent(x), None));
        let dtype = s.dtype();
        let out = s.buffer(dtype, &[rows, width], Access::Write, None);
        let (row, col) = (s.row, s.col);
        let (dst, src) = (s.tile(compute, rows, width), s.tile(compute, rows, cols));
        let at = s.tile(Lane::I64, rows, cols);
        let sum = s.e().sum(row, col);
        let value = s.e().cast(compute, sum);
        s.map(s.at(src), rows, cols, value);
        s.map(s.at(dst), rows, width, value);
        // Places before the first and beyond the last are none.
        let two = s.int(2);
        let (folded, minus) = (s.e().binary(BinaryOp::FloorDiv, col, two), s.e().difference(row, two));
        let place = s.e().sum(folded, minus);
        s.map(s.at(at), rows, cols, place);
        s.program.body.push(Stmt::ScatterAdd { dst, src, at, rows, cols, width });
        let value = s.element(dst, row, col);
        s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, rows, width, value);
        for extents in [[1, 1, 1], [9, 4, 3], [12, 33, 17]] {
            s.check(&extents, 0.0, |_, _| 0.0);
        }
    }
}

#[test]
fn orders_of_keys() {
    let mut s = Sketch::new(Lane::F32);
    let [b, n] = [0, 1].map(|x| s.e().add(Expr::Extent(x), None));
    let keys = s.buffer(DType::I64, &[b, n], Access::Read, Some(1));
    let order = s.buffer(DType::I64, &[b, n], Access::Write, Some(1));
    let (task, t) = s.var();
    s.program.grid = vec![(task, b)];
    s.program.body = vec![Stmt::Order { keys, order, at: vec![t], count: n }];
    for n in [1, 5, 33] {
        s.check(&[3, n], 0.0, |_, element| (element * 7 % 5) as f64 - 2.0);
    }
}

#[test]
fn branches_loops_and_scalars() {
    let mut s = Sketch::new(Lane::F64);
    let n = s.e().add(Expr::Extent(0), None);
    let out = s.buffer(DType::F64, &[n, n], Access::Write, None);
    let ((task, t), (var, i)) = (s.var(), s.var());
    let (zero, one, two, col) = (s.zero, s.one, s.int(2), s.col);
    s.program.grid = vec![(task, n)];
    s.program.vars.push(Lane::F64);
    let bound = VarId(s.program.vars.len() as u32 - 1);
    let scalar = s.e().add(Expr::Var(bound), Some(Lane::F64));
    let real = s.e().cast(Lane::F64, i);
    let half = s.e().real(Lane::F64, 0.5);
    let base = s.e().sum(real, half);
    let exponent = s.e().cast(Lane::F64, t);
    let power = s.e().add(Expr::Binary(BinaryOp::Pow, base, exponent), None);
    let log = s.e().unary(UnaryOp::Softplus, power);
    let bind = Stmt::Let { var: bound, value: log };
    let rest = s.e().binary(BinaryOp::Mod, i, two);
    let even = s.e().add(Expr::Binary(BinaryOp::Eq, rest, zero), None);
    let lanes = s.e().cast(Lane::F64, col);
    let sum = s.e().sum(scalar, lanes);
    let product = s.e().times(scalar, lanes);
    let map = |value| Stmt::Map { dst: Dst::Buffer { buffer: out, index: vec![t, col] }, rows: one, cols: n, value };
    let branch = Stmt::If { cond: even, then: vec![map(sum)], otherwise: vec![map(product)] };
    let body = vec![bind, branch];
    s.program.body = vec![Stmt::For { var, from: zero, to: n, step: 3, body }];
    for n in [1, 4, 9] {
        s.check(&[n], 0.0, random);
    }
}

/// `out[x, r, c] = in[c, 1, r]`, straight or through a tile; `plain` leaves the unit strides to be found.
#[test]
fn maps_that_transpose() {
    for through_tile in [false, true] {
        let mut s = Sketch::new(Lane::F32);
        let [m, n] = [0, 1].map(|x| s.e().add(Expr::Extent(x), None));
        let two = s.int(2);
        let source = s.buffer(DType::F32, &[n, two, m], Access::Read, None);
        let out = s.buffer(DType::F32, &[two, m, n], Access::Write, None);
        let (row, col, zero, one) = (s.row, s.col, s.zero, s.one);
        let mut value = s.load(source, &[col, one, row]);
        if through_tile {
            let tile = s.tile(Lane::F32, m, n);
            let dst = s.at(tile);
            s.map(dst, m, n, value);
            value = s.element(tile, row, col);
        }
        s.map(Dst::Buffer { buffer: out, index: vec![one, row, col] }, m, n, value);
        // And the packing of keys: the lane runs along the source's rows.
        let back = s.load(source, &[row, zero, col]);
        s.map(Dst::Buffer { buffer: out, index: vec![zero, col, row] }, n, m, back);
        // Of what was computed first.
        let double = s.e().sum(back, back);
        let computed = s.tile(Lane::F32, n, m);
        let dst = s.at(computed);
        s.map(dst, n, m, double);
        let element = s.element(computed, row, col);
        s.map(Dst::Buffer { buffer: out, index: vec![zero, col, row] }, n, m, element);
        // Every third column.
        let three = s.int(3);
        let at = s.e().times(col, three);
        let at = s.e().sum(one, at);
        let sparse = s.load(source, &[at, one, row]);
        let half = s.tile(Lane::F32, m, n);
        let third = s.e().sum(n, one);
        let third = s.e().binary(BinaryOp::FloorDiv, third, three);
        let dst = s.at(half);
        s.map(dst, m, third, sparse);
        let value = s.element(half, row, col);
        s.map(Dst::Buffer { buffer: out, index: vec![one, row, col] }, m, third, value);
        for extents in [[1, 1], [3, 70], [64, 64], [65, 33]] {
            s.check(&extents, 0.0, random);
        }
    }
}

/// `out[r, c] = (in[r, c] * line[c] * table[n - 1 + r - c]) - factor * |r - c|`, tile by tile.
#[test]
fn maps_that_multiply_and_add_what_lies_evenly() {
    let mut s = Sketch::new(Lane::F32);
    let [m, n] = [0, 1].map(|x| s.e().add(Expr::Extent(x), None));
    let both = s.e().sum(m, n);
    let source = s.buffer(DType::F32, &[m, n], Access::Read, None);
    let line = s.buffer(DType::F32, &[n], Access::Read, None);
    let table = s.buffer(DType::F32, &[both], Access::Read, None);
    let out = s.buffer(DType::F32, &[m, n], Access::Write, None);
    let (row, col, zero, one) = (s.row, s.col, s.zero, s.one);
    let tile = s.tile(Lane::F32, m, n);
    let fill = |s: &mut Sketch, value: ExprId| {
        let dst = s.at(tile);
        s.map(dst, m, n, value);
    };
    let value = s.load(source, &[row, col]);
    fill(&mut s, value);
    let element = s.element(tile, row, col);
    let of_col = s.load(line, &[col]);
    let value = s.e().times(element, of_col);
    fill(&mut s, value);
    let apart = s.e().difference(row, col);
    let last = s.e().difference(n, one);
    let at = s.e().sum(last, apart);
    let of_distance = s.load(table, &[at]);
    let value = s.e().times(of_distance, element);
    fill(&mut s, value);
    let distance = s.e().unary(UnaryOp::Abs, apart);
    let distance = s.e().cast(Lane::F32, distance);
    let factor = s.load(line, &[zero]);
    let penalty = s.e().times(factor, distance);
    let value = s.e().difference(element, penalty);
    fill(&mut s, value);
    s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, m, n, element);
    for extents in [[1, 1], [3, 70], [64, 64], [65, 33]] {
        s.check(&extents, 0.0, random);
    }
}
