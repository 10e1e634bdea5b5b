//! Small programs, a statement or two each, checked on both engines.

use attnc_algebra::DType;
use attnc_plan::loops::verify::verify;
use attnc_plan::loops::{
    Access, Buffer, BufferId, Dst, Expr, ExprId, Exprs, Lane, LoopProgram, Stmt, Tile, TileId, VarId,
};

use super::{Memory, check};

/// A program under construction.
pub struct Sketch {
    pub program: LoopProgram,
    pub row: ExprId,
    pub col: ExprId,
    pub zero: ExprId,
    pub one: ExprId,
}

impl Sketch {
    pub fn new(compute: Lane) -> Self {
        let mut exprs = Exprs::default();
        let (row, col) = (exprs.add(Expr::Row, None), exprs.add(Expr::Col, None));
        let (zero, one) = (exprs.int(0), exprs.int(1));
        let program = LoopProgram {
            name: "sketch".into(),
            compute,
            exprs,
            vars: vec![],
            buffers: vec![],
            tiles: vec![],
            grid: vec![],
            body: vec![],
        };
        Self { program, row, col, zero, one }
    }

    pub fn e(&mut self) -> &mut Exprs {
        &mut self.program.exprs
    }

    pub fn dtype(&self) -> DType {
        if self.program.compute == Lane::F64 { DType::F64 } else { DType::F32 }
    }

    pub fn var(&mut self) -> (VarId, ExprId) {
        self.program.vars.push(Lane::I64);
        let id = VarId(self.program.vars.len() as u32 - 1);
        (id, self.e().add(Expr::Var(id), Some(Lane::I64)))
    }

    pub fn buffer(&mut self, dtype: DType, shape: &[ExprId], access: Access, unit_dim: Option<usize>) -> BufferId {
        let name = format!("b{}", self.program.buffers.len());
        self.program.buffers.push(Buffer { name, dtype, shape: shape.to_vec(), access, unit_dim });
        BufferId(self.program.buffers.len() as u32 - 1)
    }

    pub fn tile(&mut self, lane: Lane, rows: ExprId, cols: ExprId) -> TileId {
        let name = format!("t{}", self.program.tiles.len());
        self.program.tiles.push(Tile { name, lane, rows, cols });
        TileId(self.program.tiles.len() as u32 - 1)
    }

    pub fn map(&mut self, dst: Dst, rows: ExprId, cols: ExprId, value: ExprId) {
        self.program.body.push(Stmt::Map { dst, rows, cols, value });
    }

    pub fn at(&self, tile: TileId) -> Dst {
        Dst::Tile { tile, row: self.row, col: self.col }
    }

    pub fn in_column(&self, tile: TileId) -> Dst {
        Dst::Tile { tile, row: self.row, col: self.zero }
    }

    pub fn element(&mut self, tile: TileId, row: ExprId, col: ExprId) -> ExprId {
        let lane = self.program.tiles[tile.0 as usize].lane;
        self.e().add(Expr::Tile { tile, row, col }, Some(lane))
    }

    pub fn load(&mut self, buffer: BufferId, index: &[ExprId]) -> ExprId {
        let lane = attnc_plan::loops::storage::lane_of(self.program.buffers[buffer.0 as usize].dtype);
        self.e().add(Expr::Load { buffer, index: index.to_vec(), clamp: false }, Some(lane))
    }

    /// Verifies and runs on both engines; real inputs from `value`, by buffer and element.
    pub fn check(&self, extents: &[i64], tolerance: f64, value: impl Fn(usize, usize) -> f64) {
        let errors: Vec<String> = verify(&self.program).iter().map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{}", self.program);
        let buffers = self.program.buffers.iter().enumerate();
        let memories: Vec<Memory> = buffers
            .map(|(at, buffer)| {
                let shape = self.program.buffer_shape(at, extents).expect("shapes");
                Memory::new(buffer.dtype, &shape, 3, |_| 0).fill(|element| value(at, element))
            })
            .collect();
        check(&self.program, extents, &memories, tolerance);
    }
}

pub fn random(at: usize, element: usize) -> f64 {
    let x = (at * 7919 + element).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    x as f64 / (1u64 << 23) as f64 - 1.0
}
