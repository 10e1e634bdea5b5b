//! Packing of pairs and products with them, on both engines; and what the verifier refuses of them.

mod support;

use attnc_algebra::DType;
use attnc_plan::loops::verify::verify;
use attnc_plan::loops::{Access, Expr, ExprId, Lane, Stmt, View};
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
    let masked = masked.then(|| s.e().truth(true));
    let (dst, lhs, rhs) = (whole(out, 0, 1), whole(lhs, 0, 1), words(first));
    let accumulate = !open && masked.is_none();
    s.program.body.push(Stmt::Product {
        dst,
        lhs,
        rhs,
        rows: m,
        cols: n,
        depth: k,
        accumulate,
        masked,
        open,
        rounded: false,
    });
    s
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
