//! The loop program: a small imperative language over tiles.
//!
//! [`program`] holds statements, buffers and tiles, [`expr`] the scalar and
//! lane expressions inside them.

pub mod expr;
pub mod launch;
pub mod program;

pub use expr::{Expr, ExprId, Exprs, Lane, ScalarFn};
pub use program::{Access, Buffer, BufferId, Dst, LoopProgram, Piece, SpanLoop, Stmt, Tile, TileId, VarId, View};
