//! Domains of quotients and remainders: traversed block by block.
//!
//! A predicate over `j div m` and `j mod m` says little of a tile that lies
//! across blocks of m positions: a square of a picture's pixels is a run of
//! positions in each of some rows. Inside one block the quotient is a scalar
//! and the remainder the position less a scalar, so bounds and tile classes
//! are as sharp as for plain positions.

use attnc_algebra::{AxisId, BinaryOp, Node, TermId};

use crate::error::PlanError;
use crate::loops::Stmt;
use crate::loops::expr::{ExprId, Lane};
use crate::planner::{CHUNK, TILE};

use super::domain::TileBody;
use super::nest::{Binding, Block, Dim, Nest};
use super::parts::Part;

/// Blocks of fewer positions are better met by tiles that lie across them.
const SMALLEST: i64 = 16;

impl Nest<'_, '_> {
    /// The block that settles `x op y`, a quotient or remainder of the position along an axis.
    pub fn in_block(&self, op: BinaryOp, x: TermId, y: TermId) -> Option<(AxisId, Block)> {
        if !matches!(op, BinaryOp::FloorDiv | BinaryOp::Mod) {
            return None;
        }
        let terms = &self.planner.terms;
        let (Node::Position(axis), Node::Int(size)) = (terms.node(x), terms.node(y)) else { return None };
        if !self.is_bound(*axis) {
            return None;
        }
        match self.binding(*axis) {
            Binding::Tile(Dim { block: Some(block), .. }) if block.size == *size => Some((*axis, *block)),
            _ => None,
        }
    }

    /// The first position of a block.
    pub fn block_start(&mut self, block: Block) -> ExprId {
        let size = self.x().int(block.size);
        self.x().times(block.index, size)
    }

    /// All positions of a block.
    pub fn block_dim(&mut self, axis: AxisId, block: Block) -> Dim {
        let extent = self.extent(axis);
        let (base, cap) = (self.block_start(block), self.x().int(block.size));
        let left = self.x().difference(extent, base);
        let count = self.x().min(cap, left);
        Dim { base, count, cap, step: 1, aligned: block.size % TILE == 0, block: Some(block) }
    }

    /// Whether an atom reads a quotient or remainder along `axis` which the block at hand settles.
    pub fn knows_more_in_block(&self, axis: AxisId, atom: TermId) -> bool {
        self.planner.find(atom, &mut |_, node| match node {
            Node::Binary(op, x, y) => self.in_block(*op, *x, *y).is_some_and(|(a, _)| a == axis),
            _ => false,
        })
    }

    /// A quotient of the position by a constant in one of the terms, and the constant.
    pub fn quotient_in(&self, axis: AxisId, terms: &[TermId]) -> Option<(TermId, i64)> {
        terms.iter().find_map(|term| {
            let mut found = None;
            self.planner.find(*term, &mut |t, node| {
                if let Node::Binary(BinaryOp::FloorDiv, x, y) = node
                    && *self.planner.terms.node(*x) == Node::Position(axis)
                    && let Node::Int(size) = *self.planner.terms.node(*y)
                    && (2..1 << 31).contains(&size)
                {
                    found = Some((t, size));
                }
                found.is_some()
            });
            found
        })
    }

    /// The size of the blocks by which the positions are traversed, if the domain wants blocks: it compares a
    /// remainder, or reads a table at a quotient by something else than a multiple of the tile.
    pub fn block_size(&mut self, axis: AxisId, domain: TermId) -> Option<i64> {
        let alternatives = self.alternatives(domain, true)?;
        if alternatives.iter().any(|a| a.some.is_some()) {
            return None;
        }
        let atoms = alternatives.iter().flat_map(|a| &a.atoms).map(|(atom, _)| *atom);
        atoms.filter_map(|atom| self.atom_block(axis, atom)).max()
    }

    fn atom_block(&self, axis: AxisId, atom: TermId) -> Option<i64> {
        let terms = &self.planner.terms;
        let compares = matches!(terms.node(atom), Node::Binary(BinaryOp::Le | BinaryOp::Lt, ..));
        let mut size = None;
        let mut note = |op: BinaryOp, x: TermId, y: TermId, wanted: BinaryOp| {
            if let (Node::Position(a), Node::Int(m)) = (terms.node(x), terms.node(y))
                && *a == axis
                && op == wanted
                && (SMALLEST..1 << 31).contains(m)
                && (op == BinaryOp::Mod || m % CHUNK != 0)
            {
                size = size.max(Some(*m));
            }
        };
        self.planner.find(atom, &mut |_, node| {
            match node {
                Node::Binary(op, x, y) if compares => note(*op, *x, *y, BinaryOp::Mod),
                Node::Input { index, .. } => {
                    for at in index {
                        if let Node::Binary(op, x, y) = terms.node(*at) {
                            note(*op, *x, *y, BinaryOp::FloorDiv);
                        }
                    }
                }
                _ => {}
            }
            false
        });
        size
    }

    /// Loops over the blocks of `size` positions in which the domain may hold, and over the spans of each in tiles.
    pub fn block_loop(
        &mut self,
        axis: AxisId,
        part: &Part,
        (size, tile): (i64, i64),
        body: TileBody<'_, Self>,
    ) -> Result<(), PlanError> {
        let (pieces, _) = self.pieces(axis, part.domain, None);
        let (mut from, mut to) = (self.extent(axis), self.x().int(0));
        for piece in pieces {
            let (low, high) = (self.choose(piece.guard, piece.from, from), self.choose(piece.guard, piece.to, to));
            (from, to) = (self.x().min(from, low), self.x().max(to, high));
        }
        let zero = self.x().int(0);
        let from = self.x().max(from, zero);
        let (from, to) = (self.div(from, size), self.ceil_div(to, size));
        let (var, index) = self.var(Lane::I64);
        let block = Block { size, index };
        let body = self.inner(None, |nest| nest.span_loop(axis, part, Some(block), tile, body))?;
        self.emit(Stmt::For { var, from, to, step: 1, body });
        Ok(())
    }
}
