//! Spans of rows, on both engines: what is filled beside them, and what keys leave of them.

mod support;

use attnc_algebra::{BinaryOp, DType};
use attnc_plan::loops::{Access, Dst, Expr, KeyRange, Lane, RowSpans, Stmt};
use support::sketch::Sketch;

#[test]
fn spans_of_rows_are_kept_or_filled() {
    for (compute, keep) in [(Lane::F32, true), (Lane::F32, false), (Lane::F64, true), (Lane::F64, false)] {
        let mut s = Sketch::new(compute);
        let [rows, cols] = [0, 1].map(|x| s.e().add(Expr::Extent(x), None));
        let dtype = s.dtype();
        let out = s.buffer(dtype, &[rows, cols], Access::Write, None);
        let (row, col, one) = (s.row, s.col, s.one);
        let tile = s.tile(compute, rows, cols);
        let [from, to] = [(); 2].map(|()| s.tile(Lane::I64, rows, one));
        let sum = s.e().sum(row, col);
        let value = s.e().cast(compute, sum);
        s.map(s.at(tile), rows, cols, value);
        let (two, seven) = (s.e().int(2), s.e().int(7));
        let low = s.e().difference(row, two);
        let high = s.e().difference(seven, row);
        s.map(s.in_column(from), rows, one, low);
        s.map(s.in_column(to), rows, one, high);
        s.program.body.push(Stmt::KeepSpans { tile, from, to, keep, fill: -0.5, rows, cols });
        let value = s.element(tile, row, col);
        s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, rows, cols, value);
        for extents in [[1, 1], [9, 4], [12, 33]] {
            s.check(&extents, 0.0, |_, _| 0.0);
        }
    }
}

#[test]
fn spans_of_rows_are_narrowed_by_keys() {
    for (bounds, inside) in
        [([true, true], true), ([true, false], true), ([false, true], false), ([true, false], false)]
    {
        let mut s = Sketch::new(Lane::F32);
        let [rows, cols] = [0, 1].map(|x| s.e().add(Expr::Extent(x), None));
        let out = s.buffer(DType::I64, &[rows, cols], Access::Write, None);
        let (row, col, zero, one, three) = (s.row, s.col, s.zero, s.one, s.e().int(3));
        let [from, to, least, most] = [(); 4].map(|()| s.tile(Lane::I64, rows, one));
        let keys = s.tile(Lane::I64, one, cols);
        let key = s.e().binary(BinaryOp::FloorDiv, col, three);
        s.map(s.at(keys), one, cols, key);
        let (low, high) = (s.e().difference(row, three), s.e().sum(row, one));
        for (tile, value) in [(from, low), (to, cols), (least, low), (most, high)] {
            s.map(s.in_column(tile), rows, one, value);
        }
        let end = |given: bool, tile| given.then_some(tile);
        let range = KeyRange { least: end(bounds[0], least), most: end(bounds[1], most), keys, inside };
        s.program.body.push(Stmt::NarrowSpans { spans: RowSpans { from, to }, range, rows, cols });
        let (first, past) = (s.element(from, row, zero), s.element(to, row, zero));
        let (after, before) = (s.e().binary(BinaryOp::Le, first, col), s.e().binary(BinaryOp::Lt, col, past));
        let seen = s.e().add(Expr::Nary(attnc_algebra::NaryOp::And, vec![after, before]), None);
        let value = s.e().add(Expr::Select(seen, one, zero), None);
        s.map(Dst::Buffer { buffer: out, index: vec![row, col] }, rows, cols, value);
        for extents in [[1, 1], [9, 40], [30, 33]] {
            s.check(&extents, 0.0, |_, _| 0.0);
        }
    }
}
