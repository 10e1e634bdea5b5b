//! Lists of lines, and products with what is listed, on both engines.

mod support;

use attnc_algebra::{BinaryOp, DType};
use attnc_plan::loops::{Access, Additions, Dst, Expr, Lane, Listed, RowSpans, Stmt, View};
use support::sketch::{Sketch, random};

/// Lists of spans and of open columns, more than there is room for and beyond the lines, then `out = q k^T` and
/// `out + w v` over what is listed, or over what of it has a weight.
#[test]
fn lines_that_rows_list() {
    for (spans, dropped) in [(false, false), (true, false), (true, true)] {
        let mut s = Sketch::new(Lane::F32);
        let [rows, lines, depth] = [0, 1, 2].map(|x| s.e().add(Expr::Extent(x), None));
        let (row, col, zero, one) = (s.row, s.col, s.zero, s.one);
        let q = s.buffer(DType::F32, &[rows, depth], Access::Read, Some(1));
        let k = s.buffer(DType::F32, &[lines, depth], Access::Read, Some(1));
        let out = s.buffer(DType::F32, &[rows, depth], Access::Write, Some(1));
        let whole =
            |buffer| View::Buffer { buffer, index: vec![zero; 2], row_dim: Some(0), col_dim: Some(1), steps: [1, 1] };
        let (eleven, three) = (s.e().int(11), s.e().int(3));
        let list = s.tile(Lane::I64, rows, eleven);
        let count = s.tile(Lane::I64, rows, one);
        let most = s.tile(Lane::I64, one, one);
        s.map(s.in_column(count), rows, one, zero);
        s.map(Dst::Tile { tile: most, row: zero, col: zero }, one, one, zero);
        let added = if spans {
            let [from, to] = [(); 2].map(|()| s.tile(Lane::I64, rows, one));
            let low = s.e().difference(row, three);
            let high = s.e().sum(row, three);
            s.map(s.in_column(from), rows, one, low);
            s.map(s.in_column(to), rows, one, high);
            Additions::Spans(RowSpans { from, to })
        } else {
            let open = s.tile(Lane::F32, rows, lines);
            let value = s.load(k, &[col, zero]);
            let lowest = s.e().real(Lane::F32, f64::NEG_INFINITY);
            let nought = s.e().real(Lane::F32, 0.0);
            let closed = s.e().binary(BinaryOp::Lt, value, nought);
            let value = s.e().add(Expr::Select(closed, lowest, value), None);
            s.map(s.at(open), rows, lines, value);
            Additions::Open(open)
        };
        for first in [three, zero] {
            let cols = lines;
            s.program.body.push(Stmt::List { list, count, most, added, first, rows, cols, share: 0.5 });
        }
        let scores = s.tile(Lane::F32, rows, eleven);
        let of = Listed { list, count, lines: whole(k), limit: lines };
        let (lhs, cols) = (whole(q), eleven);
        s.program.body.push(Stmt::DotsListed { dst: scores, lhs, of: of.clone(), rows, cols, depth });
        // What is not listed is -inf, and 1 after this.
        let (score, lowest) = (s.element(scores, row, col), s.e().real(Lane::F32, f64::NEG_INFINITY));
        let (none, unit) = (s.e().binary(BinaryOp::Eq, score, lowest), s.e().real(Lane::F32, 1.0));
        let value = s.e().add(Expr::Select(none, unit, score), None);
        s.map(s.at(scores), rows, eleven, value);
        let acc = s.tile(Lane::F32, rows, depth);
        let value = s.e().cast(Lane::F32, row);
        s.map(s.at(acc), rows, depth, value);
        if dropped {
            let (score, nought) = (s.element(scores, row, col), s.e().real(Lane::F32, 0.0));
            let small = s.e().binary(BinaryOp::Lt, score, nought);
            let value = s.e().add(Expr::Select(small, nought, score), None);
            s.map(s.at(scores), rows, eleven, value);
            s.program.body.push(Stmt::DropUnweighted { weights: scores, list, count, rows, cols: eleven });
        }
        let (cols, depth_of) = (depth, eleven);
        s.program.body.push(Stmt::SumListed { dst: acc, weights: scores, of, rows, cols, depth: depth_of });
        let longest = s.element(most, zero, zero);
        let longest = s.e().cast(Lane::F32, longest);
        let value = s.element(acc, row, col);
        let value = s.e().sum(value, longest);
        s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, rows, depth, value);
        for extents in [[1, 1, 1], [4, 9, 5], [7, 3, 64], [13, 40, 33]] {
            s.check(&extents, 2e-5 * extents[2] as f64, random);
        }
    }
}
