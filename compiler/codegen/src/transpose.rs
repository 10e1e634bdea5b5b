//! Maps that only transpose or widen: an element loaded, or held in a tile, along one axis of the frame and stored along
//! the other, or stored narrow and loaded into a tile, goes through a microkernel, where the strides turn out to be 1.

use attnc_algebra::{DType, NaryOp};
use attnc_plan::loops::{BufferId, Dst, Expr, ExprId, Lane, TileId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::function::Lower;

/// What an index advances with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Along {
    Neither,
    Row,
    Col,
}

/// A two-dimensional access: its address at row and column 0, and its strides.
pub(crate) struct Plane {
    pub base: Value,
    /// Elements from row to row.
    pub row: Value,
    /// Elements from column to column.
    pub col: Value,
}

/// The condition under which a map is a transposition, if it is not certain, and the arguments of the microkernel.
pub(crate) type Turning = (Option<Value>, [Value; 6]);

impl Lower<'_, '_> {
    /// The map as a transposition: the condition on run-time strides under which it is one, and the arguments of the
    /// microkernel. `None` if it is something else.
    pub(crate) fn transposition(
        &mut self,
        dst: &Dst,
        (rows, cols): (Value, Value),
        value: ExprId,
    ) -> Result<Option<Turning>, CodegenError> {
        if let Expr::Tile { tile, row, col } = *self.program.exprs.get(value) {
            if let Dst::Buffer { buffer, index } = dst {
                return self.packed_tile((*buffer, index), (rows, cols), (tile, row, col));
            }
            return Ok(self.turned_tile(dst, (rows, cols), (tile, row, col)).map(|args| (None, args)));
        }
        let Expr::Load { buffer, index, clamp: false } = self.program.exprs.get(value) else { return Ok(None) };
        let (buffer, index) = (*buffer, index.clone());
        let Some((to, from)) = self.planes(dst, buffer, &index)? else { return Ok(None) };
        // `dst[c * dst_stride + r] = src[r * src_stride + c]`, in one role of rows and columns or the other.
        let along_rows = matches!(dst, Dst::Buffer { index, .. } if self.last_along(index) == Some(Along::Row));
        let (units, args) = if along_rows {
            ([to.row, from.col], [rows, cols, to.base, to.col, from.base, from.row])
        } else {
            ([to.col, from.row], [cols, rows, to.base, to.row, from.base, from.col])
        };
        let ones = units.map(|unit| self.builder.ins().icmp_imm_s(IntCC::Equal, unit, 1));
        let suits = self.builder.ins().band(ones[0], ones[1]);
        Ok(Some((Some(suits), args)))
    }

    /// As [`Self::transposition`], of a tile whose rows become columns of a buffer.
    fn packed_tile(
        &mut self,
        (target, at): (BufferId, &[ExprId]),
        (rows, cols): (Value, Value),
        (source, row, col): (TileId, ExprId, ExprId),
    ) -> Result<Option<Turning>, CodegenError> {
        let declared = self.program.buffers.get(target.0 as usize);
        if declared.is_none_or(|b| b.dtype != DType::F32) || self.last_along(at) != Some(Along::Row) {
            return Ok(None);
        }
        let Some(from) = self.tile_plane(source, row, col) else { return Ok(None) };
        let Some(to) = self.plane(target, at)? else { return Ok(None) };
        let suits = self.builder.ins().icmp_imm_s(IntCC::Equal, to.row, 1);
        Ok(Some((Some(suits), [rows, cols, to.base, to.col, from.base, from.row])))
    }

    /// The arguments of the microkernel, if a tile is the other turned.
    fn turned_tile(
        &mut self,
        dst: &Dst,
        (rows, cols): (Value, Value),
        (source, row, col): (TileId, ExprId, ExprId),
    ) -> Option<[Value; 6]> {
        let Dst::Tile { tile, row: to_row, col: to_col } = dst else { return None };
        // The source's rows run along the map's columns.
        let from = self.tile_plane(source, col, row)?;
        let to = self.tile_plane(*tile, *to_row, *to_col)?;
        (*tile != source).then_some([cols, rows, to.base, to.row, from.base, from.row])
    }

    /// The map as rows of a narrow type widened into a tile: the microkernel, the condition on run-time strides, and its
    /// arguments. `None` if it is something else.
    pub(crate) fn widening(
        &mut self,
        dst: &Dst,
        (rows, cols): (Value, Value),
        value: ExprId,
    ) -> Result<Option<(Microkernel, Value, [Value; 6])>, CodegenError> {
        let Dst::Tile { tile, row, col } = dst else { return Ok(None) };
        let exprs = &self.program.exprs;
        let loaded = if let Expr::Cast(Lane::F32, x) = exprs.get(value) { *x } else { value };
        let Expr::Load { buffer, index, clamp: false } = exprs.get(loaded) else { return Ok(None) };
        let kernel = match self.program.buffers.get(buffer.0 as usize).map(|b| b.dtype) {
            Some(DType::Bf16) => Microkernel::WidenRowsBf16,
            Some(DType::F16) => Microkernel::WidenRowsF16,
            Some(DType::I8) => Microkernel::WidenRowsI8,
            _ => return Ok(None),
        };
        let plain = *exprs.get(*row) == Expr::Row && *exprs.get(*col) == Expr::Col;
        let single = self.program.tiles[tile.0 as usize].lane == Lane::F32;
        let (buffer, index) = (*buffer, index.clone());
        if !plain || !single || self.last_along(&index) != Some(Along::Col) {
            return Ok(None);
        }
        let Some(from) = self.plane(buffer, &index)? else { return Ok(None) };
        let (base, stride) = self.tile(*tile);
        let suits = self.builder.ins().icmp_imm_s(IntCC::Equal, from.col, 1);
        Ok(Some((kernel, suits, [rows, cols, base, stride, from.base, from.row])))
    }

    /// Destination and source of a copy of f32, if their unit dimensions run along different axes.
    fn planes(
        &mut self,
        dst: &Dst,
        buffer: BufferId,
        index: &[ExprId],
    ) -> Result<Option<(Plane, Plane)>, CodegenError> {
        let source = self.program.buffers.get(buffer.0 as usize);
        if source.is_none_or(|b| b.dtype != DType::F32) {
            return Ok(None);
        }
        let Some(last_from) = self.last_along(index) else { return Ok(None) };
        match dst {
            Dst::Tile { tile, row, col } => {
                if last_from != Along::Row {
                    return Ok(None);
                }
                let Some(to) = self.tile_plane(*tile, *row, *col) else { return Ok(None) };
                Ok(self.plane(buffer, index)?.map(|from| (to, from)))
            }
            Dst::Buffer { buffer: target, index: at } => {
                let declared = self.program.buffers.get(target.0 as usize);
                let apart = self.last_along(at).is_some_and(|a| a != last_from && a != Along::Neither);
                if declared.is_none_or(|b| b.dtype != DType::F32) || !apart || last_from == Along::Neither {
                    return Ok(None);
                }
                let Some(to) = self.plane(*target, at)? else { return Ok(None) };
                Ok(self.plane(buffer, index)?.map(|from| (to, from)))
            }
        }
    }

    /// What the last index advances with.
    fn last_along(&self, index: &[ExprId]) -> Option<Along> {
        index.last().and_then(|id| self.along(*id)).filter(|(_, step, _)| *step == 1).map(|(along, ..)| along)
    }

    /// A scalar, or a sum of scalars and a multiple of row or column; with the factor and the scalars.
    fn along(&self, id: ExprId) -> Option<(Along, i64, Vec<ExprId>)> {
        let exprs = &self.program.exprs;
        let parts = match exprs.get(id) {
            Expr::Nary(NaryOp::Add, xs) => xs.clone(),
            _ => vec![id],
        };
        let (mut along, mut step, mut scalars) = (Along::Neither, 1, Vec::new());
        for part in parts {
            let (lane, factor) = match exprs.get(part) {
                Expr::Nary(NaryOp::Mul, xs) => match xs[..] {
                    [a, b] => match (exprs.as_int(a), exprs.as_int(b)) {
                        (Some(factor), _) => (b, factor),
                        (_, Some(factor)) => (a, factor),
                        _ => (part, 1),
                    },
                    _ => (part, 1),
                },
                _ => (part, 1),
            };
            let lane = match exprs.get(lane) {
                Expr::Row => Along::Row,
                Expr::Col => Along::Col,
                _ => {
                    let dependence = exprs.dependence(part);
                    if dependence.row || dependence.col {
                        return None;
                    }
                    scalars.push(part);
                    continue;
                }
            };
            if along != Along::Neither {
                return None;
            }
            (along, step) = (lane, factor);
        }
        Some((along, step, scalars))
    }

    fn times(&mut self, stride: Value, step: i64) -> Value {
        if step == 1 { stride } else { self.builder.ins().imul_imm_s(stride, step) }
    }

    /// The plane of a tile's f32 elements at the map's own row and column; `None` for any other element.
    pub(crate) fn tile_plane(&mut self, tile: TileId, row: ExprId, col: ExprId) -> Option<Plane> {
        let plain = *self.program.exprs.get(row) == Expr::Row && *self.program.exprs.get(col) == Expr::Col;
        if !plain || self.program.tiles[tile.0 as usize].lane != Lane::F32 {
            return None;
        }
        let (base, row) = self.tile(tile);
        let col = self.int(1);
        Some(Plane { base, row, col })
    }

    /// The plane of an access, if every index advances along at most one axis, and no two along the same.
    pub(crate) fn plane(&mut self, buffer: BufferId, index: &[ExprId]) -> Result<Option<Plane>, CodegenError> {
        let mut found = Vec::new();
        for id in index {
            let Some(part) = self.along(*id) else { return Ok(None) };
            found.push(part);
        }
        let once = |wanted| found.iter().filter(|(along, ..)| *along == wanted).count() == 1;
        if !once(Along::Row) || !once(Along::Col) {
            return Ok(None);
        }
        let reference = self.buffer(buffer);
        let size = self.program.buffers[buffer.0 as usize].dtype.size() as i64;
        let one = self.int(1);
        let mut plane = Plane { base: reference.base, row: one, col: one };
        for (dim, (along, step, scalars)) in found.into_iter().enumerate() {
            let stride = self.stride(buffer, reference, dim);
            for id in scalars {
                let at = self.scalar(id)?;
                let flat = self.builder.ins().imul(at, stride);
                let bytes = self.builder.ins().imul_imm_s(flat, size);
                plane.base = self.builder.ins().iadd(plane.base, bytes);
            }
            match along {
                Along::Neither => {}
                Along::Row => plane.row = self.times(stride, step),
                Along::Col => plane.col = self.times(stride, step),
            }
        }
        Ok(Some(plane))
    }
}
