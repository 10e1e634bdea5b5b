//! The loop program: a small imperative language over tiles.
//!
//! [`program`] holds statements, buffers and tiles, [`expr`] the scalar and
//! lane expressions inside them. [`print`](mod@print) writes a program as text,
//! [`verify`] proves its accesses in range, [`interpret`] runs it with the lane [`arithmetic`] that generated code must
//! match, [`launch`] and [`layout`] evaluate what depends on the extents alone.

pub mod arithmetic;
mod construct;
pub mod expr;
pub mod interpret;
pub mod launch;
pub mod layout;
pub mod print;
pub mod program;
pub mod storage;
pub mod verify;
mod walk;

pub use expr::{Expr, ExprId, Exprs, Lane, ScalarFn};
pub use program::{
    Access, Additions, Buffer, BufferId, Dst, KeyRange, Listed, LoopProgram, Masked, Open, Piece, RowSpans, SpanLoop,
    Stmt, Tile, TileId, VarId, View,
};
