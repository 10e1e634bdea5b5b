//! Walking a loop program: what a statement mentions, what an expression needs.

use std::collections::BTreeSet;

use super::expr::{Expr, ExprId, Exprs};
use super::program::{Additions, Dst, KeyRange, Listed, Open, Piece, RowSpans, Stmt, TileId, View};

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
            Stmt::Product { dst, lhs, rhs, rows, cols, depth, masked, factor, .. } => {
                let mut ids = vec![*rows, *cols, *depth];
                ids.extend(masked.iter().map(|masked| masked.cond).chain(*factor));
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
            Stmt::MaxPlus { dst, lhs, rhs, rows, cols, depth, masked, .. } => {
                let mut ids: Vec<ExprId> = [dst, lhs, rhs].into_iter().flat_map(View::indices).collect();
                ids.extend([*rows, *cols, *depth].into_iter().chain(*masked));
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
            Stmt::SoftmaxUpdate { rows, cols, masked, .. } => {
                [*rows, *cols].into_iter().chain(masked.map(|m| m.cond)).collect()
            }
            Stmt::ScaleRows { rows, cols, .. }
            | Stmt::Flush { rows, cols, .. }
            | Stmt::KeepSpans { rows, cols, .. }
            | Stmt::KeepKeys { rows, cols, .. }
            | Stmt::NarrowSpans { rows, cols, .. }
            | Stmt::DropUnweighted { rows, cols, .. }
            | Stmt::ClearLargest { rows, cols, .. } => vec![*rows, *cols],
        }
    }

    /// The tiles the statement names itself, not those in its expressions or its body.
    pub fn tiles(&self) -> Vec<TileId> {
        let of_views = |views: &[&View]| views.iter().filter_map(|view| view.tile()).collect::<Vec<_>>();
        let of_list = |of: &Listed| [Some(of.list), Some(of.count), of.lines.tile()].into_iter().flatten();
        match self {
            Stmt::For { .. } | Stmt::If { .. } | Stmt::Let { .. } | Stmt::Order { .. } => Vec::new(),
            Stmt::Spans(spans) => vec![spans.list],
            Stmt::Map { dst: Dst::Tile { tile, .. }, .. } => vec![*tile],
            Stmt::Map { dst: Dst::Buffer { .. }, .. } => Vec::new(),
            Stmt::RowReduce { dst, .. } => vec![*dst],
            Stmt::Dots { dst, lhs, rhs, .. } | Stmt::MaxPlus { dst, lhs, rhs, .. } => of_views(&[dst, lhs, rhs]),
            Stmt::Product { dst, lhs, rhs, masked, open, .. } => {
                let open = if let Open::Spans(spans) = open { Some(spans) } else { None };
                let ends =
                    masked.iter().filter_map(|masked| masked.spans.as_ref()).chain(open).flat_map(RowSpans::tiles);
                of_views(&[dst, lhs, rhs]).into_iter().chain(ends).collect()
            }
            Stmt::Pack { dst, src, .. } => of_views(&[dst, src]),
            Stmt::ProductTanh { dst, weight, lhs, rhs, .. } => of_views(&[dst, weight, lhs, rhs]),
            Stmt::List { list, count, most, added, .. } => {
                let added = match added {
                    Additions::Spans(spans) => spans.tiles().to_vec(),
                    Additions::Open(open) => vec![*open],
                };
                [vec![*list, *count, *most], added].concat()
            }
            Stmt::DotsListed { dst, lhs, of, .. } => of_list(of).chain([*dst]).chain(lhs.tile()).collect(),
            Stmt::SumListed { dst, weights, of, .. } => of_list(of).chain([*dst, *weights]).collect(),
            Stmt::SoftmaxUpdate { scores, max, sum, alpha, masked, .. } => {
                let ends = masked.iter().filter_map(|masked| masked.spans.as_ref()).flat_map(RowSpans::tiles);
                [*scores, *max, *sum, *alpha].into_iter().chain(ends).collect()
            }
            Stmt::DropUnweighted { weights, list, count, .. } => vec![*weights, *list, *count],
            Stmt::Ranks { dst, keys, counted, order, .. } => {
                [*dst, *keys, *order].into_iter().chain(*counted).collect()
            }
            Stmt::ClearLargest { dst, scores, slack, .. } => vec![*dst, *scores, *slack],
            Stmt::KeepSpans { tile, from, to, .. } => vec![*tile, *from, *to],
            Stmt::KeepKeys { tile, any, .. } => any.iter().flat_map(KeyRange::tiles).chain([*tile]).collect(),
            Stmt::NarrowSpans { spans, range, .. } => spans.tiles().into_iter().chain(range.tiles()).collect(),
            Stmt::ScatterAdd { dst, src, at, .. } => vec![*dst, *src, *at],
            Stmt::Flush { tile, .. } => vec![*tile],
            Stmt::ScaleRows { tile, alpha, .. } => vec![*tile, *alpha],
        }
    }

    /// The statements inside.
    pub fn bodies(&self) -> Vec<&[Stmt]> {
        match self {
            Stmt::For { body, .. } => vec![body],
            Stmt::Spans(spans) => vec![&spans.body],
            Stmt::If { then, otherwise, .. } => vec![then, otherwise],
            _ => Vec::new(),
        }
    }
}

impl RowSpans {
    /// The tiles of both ends.
    pub fn tiles(&self) -> [TileId; 2] {
        [self.from, self.to]
    }
}

impl KeyRange {
    /// How many bounds a row has.
    pub fn bounds(&self) -> usize {
        self.least.iter().chain(&self.most).count()
    }

    /// The tiles of its bounds and of the keys.
    fn tiles(&self) -> impl Iterator<Item = TileId> + use<> {
        [Some(self.keys), self.least, self.most].into_iter().flatten()
    }
}

impl View {
    /// The tile that is viewed.
    fn tile(&self) -> Option<TileId> {
        match self {
            View::Tile { tile, .. } => Some(*tile),
            View::Buffer { .. } | View::Pairs { .. } => None,
        }
    }

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

    /// How often statements name a tile, in themselves, their expressions and their bodies.
    pub fn mentions(&self, body: &[Stmt], tile: TileId) -> usize {
        let of_stmt = |stmt: &Stmt| {
            let read = |id: &ExprId| matches!(self.get(*id), Expr::Tile { tile: read, .. } if *read == tile);
            let named = stmt.tiles().into_iter().filter(|named| *named == tile).count();
            let inside: usize = stmt.bodies().into_iter().map(|body| self.mentions(body, tile)).sum();
            named + self.under(&stmt.roots()).iter().filter(|id| read(id)).count() + inside
        };
        body.iter().map(of_stmt).sum()
    }
}
