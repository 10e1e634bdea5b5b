//! Walking a loop program: what a statement mentions, what an expression needs.

use std::collections::BTreeSet;

use super::expr::{ExprId, Exprs};
use super::program::{Dst, Piece, Stmt, View};

impl Stmt {
    /// The expressions the statement mentions itself, not those of its body.
    pub fn roots(&self) -> Vec<ExprId> {
        match self {
            Stmt::For { from, to, .. } => vec![*from, *to],
            Stmt::Spans(spans) => {
                let piece = |p: &Piece| {
                    let mut ids = vec![p.guard, p.from, p.to];
                    ids.extend(p.repeat.map(|(_, count)| count));
                    ids
                };
                let mut ids: Vec<ExprId> = spans.pieces.iter().flat_map(piece).collect();
                ids.push(spans.limit);
                ids
            }
            Stmt::If { cond, .. } => vec![*cond],
            Stmt::Let { value, .. } => vec![*value],
            Stmt::Map { dst, rows, cols, value } => {
                let mut ids = vec![*rows, *cols, *value];
                match dst {
                    Dst::Tile { row, col, .. } => ids.extend([*row, *col]),
                    Dst::Buffer { index, .. } => ids.extend(index),
                }
                ids
            }
            Stmt::RowReduce { rows, cols, domain, value, .. } => {
                let mut ids = vec![*rows, *cols, *value];
                ids.extend(*domain);
                ids
            }
            Stmt::Product { dst, lhs, rhs, rows, cols, depth, masked, .. } => {
                let mut ids = vec![*rows, *cols, *depth];
                ids.extend(*masked);
                ids.extend([dst, lhs, rhs].into_iter().flat_map(View::indices));
                ids
            }
            Stmt::Pack { dst, src, rows, cols } => {
                let mut ids = vec![*rows, *cols];
                ids.extend([dst, src].into_iter().flat_map(View::indices));
                ids
            }
            Stmt::Dots { dst, lhs, rhs, rows, cols, depth } => {
                let mut ids = vec![*rows, *cols, *depth];
                ids.extend([dst, lhs, rhs].into_iter().flat_map(View::indices));
                ids
            }
            Stmt::ProductTanh { dst, weight, lhs, rhs, rows, cols, depth, .. } => {
                let mut ids = vec![*rows, *cols, *depth];
                ids.extend([dst, weight, lhs, rhs].into_iter().flat_map(View::indices));
                ids
            }
            Stmt::List { first, rows, cols, .. } => vec![*first, *rows, *cols],
            Stmt::DotsListed { lhs, of, rows, cols, depth, .. } => {
                let mut ids = vec![*rows, *cols, *depth, of.limit];
                ids.extend([lhs, &of.lines].into_iter().flat_map(View::indices));
                ids
            }
            Stmt::SumListed { of, rows, cols, depth, .. } => {
                let mut ids = vec![*rows, *cols, *depth, of.limit];
                ids.extend(of.lines.indices());
                ids
            }
            Stmt::ScatterAdd { rows, cols, width, .. } => vec![*rows, *cols, *width],
            Stmt::Order { at, count, .. } => at.iter().copied().chain([*count]).collect(),
            Stmt::Ranks { rows, cols, limit, .. } => [*rows, *cols].into_iter().chain(*limit).collect(),
            Stmt::SoftmaxUpdate { rows, cols, .. }
            | Stmt::ScaleRows { rows, cols, .. }
            | Stmt::KeepSpans { rows, cols, .. }
            | Stmt::KeepKeys { rows, cols, .. }
            | Stmt::ClearLargest { rows, cols, .. } => vec![*rows, *cols],
        }
    }
}

impl View {
    /// The offsets.
    fn indices(&self) -> Vec<ExprId> {
        match self {
            View::Tile { row, col, .. } => vec![*row, *col],
            View::Buffer { index, .. } | View::Pairs { index, .. } => index.clone(),
        }
    }
}

impl Exprs {
    /// The expressions under `roots`, themselves included, operands before users.
    pub fn under(&self, roots: &[ExprId]) -> Vec<ExprId> {
        let mut reached = BTreeSet::new();
        let mut open = roots.to_vec();
        while let Some(id) = open.pop() {
            if reached.insert(id) {
                open.extend(self.get(id).operands());
            }
        }
        reached.into_iter().collect()
    }
}
