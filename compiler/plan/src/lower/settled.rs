//! Places that are one and the same on a whole tile.
//!
//! A distance that is clamped to a window is the same for all pairs of a tile that lies beyond it. What is read there is
//! a number of each row, or of all, and weights that are added up by place all go to one. A map with such a place is
//! emitted twice: for tiles on which the bounds of the place meet, and as it is.

use std::collections::BTreeMap;

use attnc_algebra::{BinaryOp, NaryOp, UnaryOp};

use crate::loops::expr::{Expr, ExprId};
use crate::loops::{Stmt, TileId};

use super::nest::{Frame, Nest};

/// A place that may be the same on a whole tile.
#[derive(Clone, Copy)]
pub(super) struct Settled {
    /// Whether it is.
    pub cond: ExprId,
    /// Which it is then: a scalar.
    pub place: ExprId,
}

impl Nest<'_, '_> {
    /// Emits `tile[frame] = value`, with places read that are the same on the whole tile as scalars where they are.
    pub(super) fn map_settled(&mut self, tile: TileId, frame: Frame, value: ExprId) {
        let mut places = BTreeMap::new();
        for id in self.program.exprs.under(&[value]) {
            let index = match self.program.exprs.get(id) {
                Expr::Load { index, .. } => index.clone(),
                _ => continue,
            };
            for at in index {
                if let Some(settled) = self.settled(at, frame) {
                    places.insert(at, settled);
                }
            }
        }
        if places.is_empty() {
            return self.map(tile, frame, value);
        }
        let all: Vec<ExprId> = places.values().map(|settled| settled.cond).collect();
        let cond = self.x().nary(NaryOp::And, &all);
        let mut known: BTreeMap<ExprId, ExprId> = places.iter().map(|(at, settled)| (*at, settled.place)).collect();
        let scalar = self.with_known(value, &mut known);
        let dst = self.place(tile, frame);
        let (rows, cols) = self.counts(frame);
        let map = |value| vec![Stmt::Map { dst: dst.clone(), rows, cols, value }];
        self.emit(Stmt::If { cond, then: map(scalar), otherwise: map(value) });
    }

    /// Whether a place of the lanes of a frame is one for all: its bounds are those at the corners, which meet where it is
    /// clamped, or a quotient.
    pub(super) fn settled(&mut self, place: ExprId, frame: Frame) -> Option<Settled> {
        let depends = self.program.exprs.dependence(place);
        if !(depends.row && depends.col) {
            return None;
        }
        let flattens = |expr: &Expr| {
            matches!(expr, Expr::Nary(NaryOp::Min | NaryOp::Max, _) | Expr::Binary(BinaryOp::FloorDiv, ..))
        };
        let under = self.program.exprs.under(&[place]);
        if !under.iter().any(|id| flattens(self.program.exprs.get(*id))) {
            return None;
        }
        let [low, high] = self.corners(place, frame)?;
        let cond = self.x().binary(BinaryOp::Eq, low, high);
        Some(Settled { cond, place: low })
    }

    /// Bounds of an integer over the lanes of a frame; both are attained where it rises and falls with row and column.
    fn corners(&mut self, id: ExprId, frame: Frame) -> Option<[ExprId; 2]> {
        let depends = self.program.exprs.dependence(id);
        if !(depends.row || depends.col) {
            return Some([id; 2]);
        }
        match self.program.exprs.get(id).clone() {
            Expr::Row | Expr::Col => {
                let (rows, cols) = self.counts(frame);
                let count = if depends.row { rows } else { cols };
                Some([self.x().int(0), self.plus(count, -1)])
            }
            Expr::Unary(UnaryOp::Neg, x) => {
                let [low, high] = self.corners(x, frame)?;
                let zero = self.x().int(0);
                Some([self.x().difference(zero, high), self.x().difference(zero, low)])
            }
            Expr::Binary(BinaryOp::FloorDiv, x, by) if self.program.exprs.as_int(by).is_some_and(|by| by > 0) => {
                let ends = self.corners(x, frame)?;
                Some(ends.map(|end| self.x().binary(BinaryOp::FloorDiv, end, by)))
            }
            Expr::Nary(NaryOp::Mul, xs) => {
                let [factor, x] = xs[..] else { return None };
                let by = self.program.exprs.as_int(factor)?;
                let ends = self.corners(x, frame)?;
                let [low, high] = ends.map(|end| self.x().times(factor, end));
                Some(if by < 0 { [high, low] } else { [low, high] })
            }
            Expr::Nary(op @ (NaryOp::Add | NaryOp::Min | NaryOp::Max), xs) => {
                let (mut lows, mut highs) = (Vec::new(), Vec::new());
                for x in xs {
                    let [low, high] = self.corners(x, frame)?;
                    lows.push(low);
                    highs.push(high);
                }
                Some([self.x().nary(op, &lows), self.x().nary(op, &highs)])
            }
            _ => None,
        }
    }

    /// The expression with what is known in place of its parts.
    fn with_known(&mut self, id: ExprId, known: &mut BTreeMap<ExprId, ExprId>) -> ExprId {
        if let Some(new) = known.get(&id) {
            return *new;
        }
        let mut expr = self.program.exprs.get(id).clone();
        if let Expr::Load { buffer, index, clamp: false } = &mut expr {
            // The bound of a place is proved in range by less than the place is.
            for (dim, at) in index.iter_mut().enumerate() {
                if let Some(place) = known.get(at).copied().filter(|place| place != at) {
                    *at = self.clamped(place, *buffer, dim);
                }
            }
        }
        let mut part = |x: &mut ExprId| *x = self.with_known(*x, known);
        match &mut expr {
            Expr::Tile { row, col, .. } => [row, col].into_iter().for_each(part),
            Expr::Load { index, .. } => index.iter_mut().for_each(part),
            Expr::Unary(_, x) | Expr::Cast(_, x) => part(x),
            Expr::Binary(_, x, y) => [x, y].into_iter().for_each(part),
            Expr::Nary(_, xs) => xs.iter_mut().for_each(part),
            Expr::Select(c, a, b) => [c, a, b].into_iter().for_each(part),
            // Of scalars.
            Expr::LowerBound { .. } => {}
            Expr::Real(..) | Expr::Int(_) | Expr::Bool(_) | Expr::Extent(_) | Expr::Var(_) | Expr::Row | Expr::Col => {}
        }
        let lane = self.program.exprs.lane(id);
        let new = if expr == *self.program.exprs.get(id) { id } else { self.x().add(expr, Some(lane)) };
        known.insert(id, new);
        new
    }
}
