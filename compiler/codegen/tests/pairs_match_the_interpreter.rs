//! Packing of pairs and products with them, on both engines; and what the verifier refuses of them.

mod support;

use attnc_algebra::DType;
use attnc_plan::loops::verify::verify;
use attnc_plan::loops::{Access, Expr, ExprId, Lane, Masked, Open, Stmt, View};
use support::sketch::{Sketch, random};
use support::{Memory, check};

/// `pairs = src`, then `out = lhs pairs[first..]`, `masked` and `open` on request; `src` is of `stored`.
fn product(stored: DType, first: i64, masked: bool, open: bool) -> Sketch {
    let mut s = Sketch::new(Lane::F32);
    let [m, n, k] = [0, 1, 2].map(|x| s.e().add(Expr::Extent(x), None));
    let (row, zero, two, first) = (s.row, s.zero, s.e().int(2), s.e().int(first));
    let all = s.e().sum(k, first);
    let up = s.e().int(1);
    let up = s.e().sum(all, up);
    let half = s.e().binary(attnc_algebra::BinaryOp::FloorDiv, up, two);
    let lhs = s.buffer(DType::F32, &[m, k], Access::Read, None);
    let src = s.buffer(stored, &[n, all], Access::Read, None);
    let pairs = s.buffer(DType::Bf16, &[half, n, two], Access::Write, Some(2));
    let out = s.buffer(DType::F32, &[m, n], Access::Write, Some(1));
    let whole = |buffer, row_dim, col_dim| View::Buffer {
        buffer,
        index: vec![zero; 2],
        row_dim: Some(row_dim),
        col_dim: Some(col_dim),
        steps: [1, 1],
    };
    let words = |at: ExprId| View::Pairs { buffer: pairs, index: vec![at, zero], row_dim: 0, col_dim: 1 };
    s.program.body.push(Stmt::Pack { dst: words(zero), src: whole(src, 1, 0), rows: all, cols: n });
    if open {
        let acc = s.tile(Lane::F32, m, n);
        let (col, lowest, nought) = (s.col, s.e().real(Lane::F32, f64::NEG_INFINITY), s.e().real(Lane::F32, 0.0));
        let closed = s.e().binary(attnc_algebra::BinaryOp::Lt, row, col);
        let value = s.e().add(Expr::Select(closed, lowest, nought), None);
        s.map(s.at(acc), m, n, value);
        let value = s.element(acc, row, col);
        let dst = attnc_plan::loops::Dst::Buffer { buffer: out, index: vec![row, col] };
        s.map(dst, m, n, value);
    }
    let masked = masked.then(|| Masked { cond: s.e().truth(true), spans: None });
    let (dst, lhs, rhs) = (whole(out, 0, 1), whole(lhs, 0, 1), words(first));
    let accumulate = !open && masked.is_none();
    let mut product = Stmt::masked_product(dst, lhs, rhs, [m, n, k], accumulate, masked);
    if let Stmt::Product { open: stays, .. } = &mut product {
        *stays = if open { Open::Where } else { Open::All };
    }
    let factor = open.then(|| s.e().real(Lane::F32, -0.3));
    s.program.body.push(product.times(factor));
    s
}

/// How the scores of [`attend`] come about, and what becomes of them.
#[derive(Clone, Copy, PartialEq)]
enum Scores {
    /// A product, read by nothing but the softmax and the values.
    Plain,
    /// Where there is more than one row, another product, with some that are closed.
    Masked,
    /// As plain ones, and their weights are a result.
    Kept,
}

/// `out = sum over keys of softmax(lhs keys) values` without division by the sums, which are a result too, by statements as
/// lowering emits them; `weights` is another, 0 unless they are kept.
fn attend(scores: Scores) -> Sketch {
    let mut s = Sketch::new(Lane::F32);
    let [m, n, k, e] = [0, 1, 2, 3].map(|x| s.e().add(Expr::Extent(x), None));
    let (row, col, zero, one, two) = (s.row, s.col, s.zero, s.one, s.e().int(2));
    let half = |s: &mut Sketch, x: ExprId| {
        let up = s.e().sum(x, one);
        s.e().binary(attnc_algebra::BinaryOp::FloorDiv, up, two)
    };
    let (half_k, half_n) = (half(&mut s, k), half(&mut s, n));
    let lhs = s.buffer(DType::F32, &[m, k], Access::Read, None);
    let [keys, values] = [[k, n], [n, e]].map(|shape| s.buffer(DType::Bf16, &shape, Access::Read, None));
    let of_keys = s.buffer(DType::Bf16, &[half_k, n, two], Access::Write, Some(2));
    let of_values = s.buffer(DType::Bf16, &[half_n, e, two], Access::Write, Some(2));
    let [out, sums, weights] =
        [[m, e], [m, one], [m, n]].map(|shape| s.buffer(DType::F32, &shape, Access::Write, Some(1)));
    let whole =
        |buffer| View::Buffer { buffer, index: vec![zero; 2], row_dim: Some(0), col_dim: Some(1), steps: [1, 1] };
    let words = |buffer| View::Pairs { buffer, index: vec![zero; 2], row_dim: 0, col_dim: 1 };
    let view = |tile| View::Tile { tile, row: zero, col: zero, transposed: false };
    s.program.body.push(Stmt::Pack { dst: words(of_keys), src: whole(keys), rows: k, cols: n });
    s.program.body.push(Stmt::Pack { dst: words(of_values), src: whole(values), rows: n, cols: e });
    let [max, sum, alpha] = [0, 1, 2].map(|_| s.tile(Lane::F32, m, one));
    let (acc, tile) = (s.tile(Lane::F32, m, e), s.tile(Lane::F32, m, n));
    let (lowest, nought) = (s.e().real(Lane::F32, f64::NEG_INFINITY), s.e().real(Lane::F32, 0.0));
    s.map(s.in_column(max), m, one, lowest);
    s.map(s.in_column(sum), m, one, nought);
    s.map(s.at(acc), m, e, nought);
    let factor = s.e().real(Lane::F32, 0.7);
    let product = Stmt::product(view(tile), whole(lhs), words(of_keys), [m, n, k], false).times(Some(factor));
    let masked = (scores == Scores::Masked).then(|| s.e().binary(attnc_algebra::BinaryOp::Lt, one, m));
    match masked {
        None => s.program.body.push(product),
        Some(cond) => {
            let closed = s.e().binary(attnc_algebra::BinaryOp::Lt, row, col);
            let element = s.element(tile, row, col);
            let value = s.e().add(Expr::Select(closed, lowest, element), Some(Lane::F32));
            let then = vec![product.clone(), Stmt::Map { dst: s.at(tile), rows: m, cols: n, value }];
            s.program.body.push(Stmt::If { cond, then, otherwise: vec![product] });
        }
    }
    let masked = masked.map(|cond| Masked { cond, spans: None });
    s.program.body.push(Stmt::SoftmaxUpdate { scores: tile, max, sum, alpha, masked, rows: m, cols: n });
    s.program.body.push(Stmt::ScaleRows { tile: acc, alpha, rows: m, cols: e });
    let mut product = Stmt::product(view(acc), view(tile), words(of_values), [m, e, n], true);
    if let Stmt::Product { masked: barred, .. } = &mut product {
        *barred = masked;
    }
    s.program.body.push(product);
    let result = |buffer| attnc_plan::loops::Dst::Buffer { buffer, index: vec![row, col] };
    let value = s.element(acc, row, col);
    s.map(result(out), m, e, value);
    let value = s.element(sum, row, zero);
    s.map(result(sums), m, one, value);
    let value = if scores == Scores::Kept { s.element(tile, row, col) } else { nought };
    s.map(result(weights), m, n, value);
    s
}

/// Calls of the generated code that pass as many arguments as attention by pairs takes.
fn calls_together(s: &Sketch) -> usize {
    let function = attnc_codegen::lower(&s.program, &*support::host()).expect("the program lowers");
    let insts = function.layout.blocks().flat_map(|block| function.layout.block_insts(block));
    insts
        .filter(|inst| function.dfg.insts[*inst].opcode().is_call() && function.dfg.inst_args(*inst).len() == 22)
        .count()
}

fn agrees(s: &Sketch, extents: &[i64]) {
    let errors: Vec<String> = verify(&s.program).iter().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{}", s.program);
    let memories: Vec<Memory> = (0..s.program.buffers.len())
        .map(|at| {
            let shape = s.program.buffer_shape(at, extents).expect("shapes");
            // The words of pairs are adjacent.
            let padding = if shape.len() == 3 { 0 } else { 3 };
            Memory::new(s.program.buffers[at].dtype, &shape, padding, |_| 0).fill(|element| random(at, element))
        })
        .collect();
    check(&s.program, extents, &memories, 1e-5);
}

#[test]
fn products_with_pairs() {
    for stored in [DType::F32, DType::Bf16] {
        for first in [0, 1, 3] {
            for (masked, open) in [(false, false), (true, false), (false, true)] {
                let s = product(stored, first, masked, open);
                for extents in [[1, 1, 1], [5, 3, 7], [17, 65, 33], [30, 130, 64]] {
                    agrees(&s, &extents);
                }
            }
        }
    }
}

#[test]
fn scores_that_nothing_else_reads_are_computed_with_what_follows() {
    for (scores, together) in [(Scores::Plain, 1), (Scores::Masked, 1), (Scores::Kept, 0)] {
        let s = attend(scores);
        assert_eq!(calls_together(&s), together);
        for extents in
            [[1, 1, 1, 1], [1, 33, 64, 48], [5, 3, 7, 2], [17, 65, 33, 5], [32, 64, 32, 16], [100, 128, 64, 48]]
        {
            agrees(&s, &extents);
        }
    }
}

#[test]
fn pairs_beyond_the_buffer_are_refused() {
    let mut s = product(DType::F32, 1, false, false);
    let Stmt::Product { rhs: View::Pairs { index, .. }, .. } = &mut s.program.body[1] else { panic!("a product") };
    index[0] = s.program.exprs.int(3);
    assert!(!verify(&s.program).is_empty());
}

#[test]
fn pairs_that_begin_with_their_second_half_are_not_packed() {
    let mut s = product(DType::F32, 1, false, false);
    let one = s.one;
    let Stmt::Pack { dst: View::Pairs { index, .. }, rows, .. } = &mut s.program.body[0] else { panic!("packing") };
    index[0] = one;
    *rows = one;
    assert!(!verify(&s.program).is_empty());
}
