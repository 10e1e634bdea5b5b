//! Where a program's data lies once the extents are known: the layout of its
//! tiles, the shapes of its buffers, the grid point of a task.
//!
//! Every engine reads these here, so that the interpreter, the generated code
//! and the memory planner agree.

use super::arithmetic;
use super::program::{LoopProgram, Tile};

/// Rows of a tile start at multiples of this many bytes.
pub const TILE_ALIGN: i64 = 64;

/// Layout of one tile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TileLayout {
    /// Number of rows.
    pub rows: i64,
    /// Number of columns.
    pub cols: i64,
    /// Elements from one row to the next: 1 for a tile declared with the
    /// constant 1 as its column count, else the columns rounded up to
    /// [`TILE_ALIGN`] bytes.
    pub row_stride: i64,
    /// Bytes the tile takes, a multiple of [`TILE_ALIGN`].
    pub bytes: i64,
}

impl LoopProgram {
    /// Layout of a tile; `None` where a size overflows or is not launch-time.
    pub fn tile_layout(&self, tile: &Tile, extents: &[i64]) -> Option<TileLayout> {
        let rows = self.exprs.eval_launch(tile.rows, extents)?.max(0);
        let cols = self.exprs.eval_launch(tile.cols, extents)?.max(0);
        let unit = TILE_ALIGN / tile.lane.size();
        let row_stride = if tile.is_column(&self.exprs) { 1 } else { cols.checked_add(unit - 1)? / unit * unit };
        let bytes = rows.checked_mul(row_stride)?.checked_mul(tile.lane.size())?;
        let bytes = bytes.checked_add(TILE_ALIGN - 1)? / TILE_ALIGN * TILE_ALIGN;
        Some(TileLayout { rows, cols, row_stride, bytes })
    }

    /// Extents of a buffer's dimensions; `None` where one is not launch-time.
    pub fn buffer_shape(&self, buffer: usize, extents: &[i64]) -> Option<Vec<i64>> {
        self.buffers.get(buffer)?.shape.iter().map(|e| self.exprs.eval_launch(*e, extents)).collect()
    }

    /// Values of the grid variables of task number `task`, in the grid's order.
    pub fn grid_point(&self, extents: &[i64], task: i64) -> Option<Vec<i64>> {
        let mut rest = task;
        let mut point = Vec::with_capacity(self.grid.len());
        for (_, n) in self.grid.iter().rev() {
            let count = self.exprs.eval_launch(*n, extents)?.max(1);
            point.push(arithmetic::modulo(rest, count));
            rest = arithmetic::floor_div(rest, count);
        }
        point.reverse();
        Some(point)
    }
}
