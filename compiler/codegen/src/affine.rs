//! Maps of one element through one function, with at most a factor and a summand of each row before and after it: a
//! microkernel takes the whole matrix, where rows turn out to be adjacent.

use attnc_algebra::{DType, NaryOp, UnaryOp};
use attnc_plan::loops::{Dst, Expr, ExprId, Lane, TileId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::function::Lower;
use crate::memory::Storage;
use crate::transpose::Plane;

/// A number of each row.
#[derive(Clone, Copy)]
enum OfRow {
    /// The same of all rows.
    Scalar(ExprId),
    /// An element of a tile whose rows (or columns, if `across`) are the rows of the map.
    Tile { tile: TileId, at: ExprId, across: bool },
    /// This number.
    Real(f64),
}

/// `f(source * a + b) * c + d`.
struct Form {
    kernel: Microkernel,
    source: ExprId,
    a: OfRow,
    b: OfRow,
    c: OfRow,
    d: OfRow,
}

/// A call of a microkernel, and the condition under which it does what the map says, if that is not certain.
pub(crate) struct AffineCall {
    pub suits: Option<Value>,
    pub kernel: Microkernel,
    pub args: Vec<Value>,
}

/// What is added where nothing is: it changes no number, not even the sign of a zero.
const NOTHING: OfRow = OfRow::Real(-0.0);
const ONCE: OfRow = OfRow::Real(1.0);

impl Lower<'_, '_> {
    /// The map as such a call; `None` if it is something else.
    pub(crate) fn affine_call(
        &mut self,
        dst: &Dst,
        (rows, cols): (Value, Value),
        value: ExprId,
    ) -> Result<Option<AffineCall>, CodegenError> {
        let Some(form) = self.affine_form(value) else { return Ok(None) };
        let own = match dst {
            Dst::Tile { tile, .. } => Some(*tile),
            Dst::Buffer { .. } => None,
        };
        let numbers = [form.a, form.b, form.c, form.d];
        // Rows that are read while others have been overwritten.
        if numbers.iter().any(|number| matches!(number, OfRow::Tile { tile, .. } if Some(*tile) == own)) {
            return Ok(None);
        }
        let Some(from) = self.source_plane(form.source)? else { return Ok(None) };
        let Some(to) = self.destination_plane(dst)? else { return Ok(None) };
        let mut args = vec![rows, cols, to.base, to.row, from.base, from.row];
        let numbers: Vec<(Value, Option<Value>)> =
            numbers.into_iter().map(|number| self.number_of_row(number)).collect::<Result<_, _>>()?;
        for (at, (number, stride)) in numbers.into_iter().enumerate() {
            let (address, stride) = match stride {
                Some(stride) => (number, stride),
                None => {
                    let slot = self.scalar_slot(at);
                    self.store_scalar(Storage::of_tile(Lane::F32), slot, number);
                    (slot, self.int(0))
                }
            };
            args.extend([address, stride]);
        }
        let mut suits = None;
        for step in [to.col, from.col] {
            if self.constant_value(step) == Some(1) {
                continue;
            }
            let one = self.builder.ins().icmp_imm_s(IntCC::Equal, step, 1);
            suits = Some(suits.map_or(one, |both| self.builder.ins().band(both, one)));
        }
        Ok(Some(AffineCall { suits, kernel: form.kernel, args }))
    }

    fn affine_form(&self, value: ExprId) -> Option<Form> {
        let exprs = &self.program.exprs;
        if exprs.lane(value) != Lane::F32 {
            return None;
        }
        let (inner, d) = self.peeled(value, NaryOp::Add).unwrap_or((value, NOTHING));
        let (inner, c) = self.peeled(inner, NaryOp::Mul).unwrap_or((inner, ONCE));
        // One more than elu: alone, or under a factor.
        if let (Expr::Unary(UnaryOp::Elu, x), OfRow::Real(1.0), OfRow::Real(factor)) = (exprs.get(inner), d, c)
            && factor == 1.0
        {
            return Some(self.before(*x, Microkernel::AffineEluPlusOneF32, ONCE, NOTHING));
        }
        if let Some((one_less, OfRow::Real(1.0))) = self.peeled(inner, NaryOp::Add)
            && let Expr::Unary(UnaryOp::Elu, x) = exprs.get(one_less)
        {
            return Some(self.before(*x, Microkernel::AffineEluPlusOneF32, c, d));
        }
        let kernel = match exprs.get(inner) {
            Expr::Unary(op, _) => match op {
                UnaryOp::Exp => Microkernel::AffineExpF32,
                UnaryOp::Tanh => Microkernel::AffineTanhF32,
                UnaryOp::Elu => Microkernel::AffineEluF32,
                UnaryOp::Sigmoid => Microkernel::AffineSigmoidF32,
                UnaryOp::Silu => Microkernel::AffineSiluF32,
                UnaryOp::Gelu => Microkernel::AffineGeluF32,
                UnaryOp::Relu => Microkernel::AffineReluF32,
                UnaryOp::Sin => Microkernel::AffineSinF32,
                UnaryOp::Cos => Microkernel::AffineCosF32,
                _ => return None,
            },
            _ => {
                let form = Form { kernel: Microkernel::AffineSameF32, source: inner, a: ONCE, b: NOTHING, c, d };
                return Some(form);
            }
        };
        let Expr::Unary(_, x) = exprs.get(inner) else { return None };
        Some(self.before(*x, kernel, c, d))
    }

    /// The form of a function of `x`.
    fn before(&self, x: ExprId, kernel: Microkernel, c: OfRow, d: OfRow) -> Form {
        let (inner, b) = self.peeled(x, NaryOp::Add).unwrap_or((x, NOTHING));
        let (source, a) = self.peeled(inner, NaryOp::Mul).unwrap_or((inner, ONCE));
        Form { kernel, source, a, b, c, d }
    }

    /// The operand that varies with the column and the other one, of two.
    fn peeled(&self, id: ExprId, op: NaryOp) -> Option<(ExprId, OfRow)> {
        let exprs = &self.program.exprs;
        let Expr::Nary(found, operands) = exprs.get(id) else { return None };
        let [x, y] = operands[..] else { return None };
        if *found != op {
            return None;
        }
        match (exprs.dependence(x).col, exprs.dependence(y).col) {
            (true, false) => Some((x, self.of_row(y)?)),
            (false, true) => Some((y, self.of_row(x)?)),
            _ => None,
        }
    }

    fn of_row(&self, id: ExprId) -> Option<OfRow> {
        let exprs = &self.program.exprs;
        match exprs.get(id) {
            Expr::Real(Lane::F32, v) => Some(OfRow::Real(v.get())),
            _ if !exprs.dependence(id).row => Some(OfRow::Scalar(id)),
            Expr::Tile { tile, row, col } if self.program.tiles[tile.0 as usize].lane == Lane::F32 => {
                let at_row = |id: &ExprId| *exprs.get(*id) == Expr::Row;
                match (at_row(row), at_row(col)) {
                    (true, false) if !exprs.dependence(*col).row => {
                        Some(OfRow::Tile { tile: *tile, at: *col, across: false })
                    }
                    (false, true) if !exprs.dependence(*row).row => {
                        Some(OfRow::Tile { tile: *tile, at: *row, across: true })
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// A number, or its address with the stride from row to row.
    fn number_of_row(&mut self, number: OfRow) -> Result<(Value, Option<Value>), CodegenError> {
        Ok(match number {
            OfRow::Real(v) => (self.builder.ins().f32const(v as f32), None),
            OfRow::Scalar(id) => (self.scalar(id)?, None),
            OfRow::Tile { tile, at, across } => {
                let at = self.scalar(at)?;
                if across {
                    let (_, address) = self.column_address(tile, at);
                    (address, Some(self.int(1)))
                } else {
                    let (base, stride) = self.tile(tile);
                    let bytes = self.builder.ins().ishl_imm_s(at, 2);
                    (self.builder.ins().iadd(base, bytes), Some(stride))
                }
            }
        })
    }

    /// An f32 element at the map's own row and column.
    fn source_plane(&mut self, source: ExprId) -> Result<Option<Plane>, CodegenError> {
        match self.program.exprs.get(source) {
            Expr::Tile { tile, row, col } => Ok(self.tile_plane(*tile, *row, *col)),
            Expr::Load { buffer, index, clamp: false } => {
                let declared = self.program.buffers.get(buffer.0 as usize);
                if declared.is_none_or(|b| b.dtype != DType::F32) {
                    return Ok(None);
                }
                let index = index.clone();
                self.plane(*buffer, &index)
            }
            _ => Ok(None),
        }
    }

    fn destination_plane(&mut self, dst: &Dst) -> Result<Option<Plane>, CodegenError> {
        match dst {
            Dst::Tile { tile, row, col } => Ok(self.tile_plane(*tile, *row, *col)),
            Dst::Buffer { buffer, index } => {
                let declared = self.program.buffers.get(buffer.0 as usize);
                if declared.is_none_or(|b| b.dtype != DType::F32) {
                    return Ok(None);
                }
                self.plane(*buffer, index)
            }
        }
    }
}
