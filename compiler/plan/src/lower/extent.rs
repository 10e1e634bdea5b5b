//! Extent terms (integers over extent symbols) as launch-time expressions.

use attnc_algebra::{BinaryOp, Node, TermId, Terms, UnaryOp};

use crate::loops::expr::Lane;
use crate::loops::{Expr, ExprId, Exprs};

/// The launch-time integer of an extent term. Terms of another kind have no
/// place in an extent: elaboration admits integers over symbols only.
pub(crate) fn extent(terms: &Terms, term: TermId, exprs: &mut Exprs) -> ExprId {
    match terms.node(term).clone() {
        Node::Int(v) => exprs.int(v),
        Node::Bool(v) => exprs.truth(v),
        Node::Extent(s) => exprs.add(Expr::Extent(s.0), None),
        Node::Unary(UnaryOp::ToInt, x) => {
            let x = extent(terms, x, exprs);
            exprs.cast(Lane::I64, x)
        }
        Node::Unary(UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::RealToInt, x) => extent(terms, x, exprs),
        Node::Unary(op, x) => {
            let x = extent(terms, x, exprs);
            exprs.unary(op, x)
        }
        Node::Binary(op, x, y) => {
            let (x, y) = (extent(terms, x, exprs), extent(terms, y, exprs));
            exprs.binary(op, x, y)
        }
        Node::Nary(op, xs) => {
            let xs: Vec<ExprId> = xs.iter().map(|x| extent(terms, *x, exprs)).collect();
            exprs.nary(op, &xs)
        }
        Node::Select(c, a, b) => {
            let (c, a, b) = (extent(terms, c, exprs), extent(terms, a, exprs), extent(terms, b, exprs));
            exprs.add(Expr::Select(c, a, b), None)
        }
        other => unreachable!("elaboration keeps {other:?} out of extents"),
    }
}

/// Number of blocks of `width` that cover `count` positions.
pub(crate) fn blocks(exprs: &mut Exprs, count: ExprId, width: i64) -> ExprId {
    let last = exprs.int(width - 1);
    let padded = exprs.sum(count, last);
    let width = exprs.int(width);
    exprs.binary(BinaryOp::FloorDiv, padded, width)
}
