//! Maps of one element through one function, with at most a factor and a summand of each row before and after it, and
//! sums and products of an element and something that grows or lies evenly along row and column: a microkernel takes the
//! whole matrix, where columns turn out to be adjacent.

use attnc_algebra::{DType, NaryOp, UnaryOp};
use attnc_plan::loops::{Dst, Expr, ExprId, Lane, TileId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::function::Lower;
use crate::graph::{Graph, Id};
use crate::memory::Storage;
use crate::transpose::Plane;

/// A number of each row.
#[derive(Clone, Copy)]
enum OfRow {
    /// The same of all rows.
    Scalar(ExprId),
    /// An element of a tile whose rows (or columns, if `across`) are the rows of the map.
    Tile { tile: TileId, at: ExprId, across: bool },
    /// An element of a buffer whose index advances with the row.
    Buffer { load: ExprId },
    /// This number.
    Real(f64),
}

/// The positions of a value that is linear in row and column.
struct Linear {
    /// At row and column 0.
    start: Value,
    /// From row to row and from column to column.
    steps: [i64; 2],
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

/// A multiple of a position.
struct Ramp {
    /// What is the same everywhere.
    factor: ExprId,
    at: ExprId,
    negated: bool,
    /// Whether it is the magnitude that is multiplied.
    distance: bool,
}

/// Elements of a buffer: the address of the one at row and column 0, the strides from there, and whether all indices are
/// in range, if that is not certain.
struct Strided {
    address: Value,
    strides: [Value; 2],
    inside: Option<Value>,
}

/// A call of a microkernel, and the condition under which it does what the map says, if that is not certain.
pub(crate) struct MatrixCall {
    pub suits: Option<Value>,
    pub kernel: Microkernel,
    pub args: Vec<Value>,
}

/// All integers up to this are f32.
const LARGEST_EXACT: i64 = 1 << 24;

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
    ) -> Result<Option<MatrixCall>, CodegenError> {
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
        let suits = self.units([to.col, from.col], None);
        Ok(Some(MatrixCall { suits, kernel: form.kernel, args }))
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
        let (inner, c) = match (exprs.get(inner), c) {
            (Expr::Unary(UnaryOp::Neg, x), OfRow::Real(factor)) => (*x, OfRow::Real(-factor)),
            _ => (inner, c),
        };
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
        let (source, a) = match self.program.exprs.get(inner) {
            Expr::Unary(UnaryOp::Neg, x) => (*x, OfRow::Real(-1.0)),
            _ => self.peeled(inner, NaryOp::Mul).unwrap_or((inner, ONCE)),
        };
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
            Expr::Load { buffer, index, clamp: false } => {
                let f32s = self.program.buffers.get(buffer.0 as usize).is_some_and(|b| b.dtype == DType::F32);
                let linear = index.iter().all(|at| self.steps_of(*at).is_some());
                (f32s && linear).then_some(OfRow::Buffer { load: id })
            }
            _ => None,
        }
    }

    /// By how much an integer grows from row to row and from column to column, if by the same everywhere.
    fn steps_of(&self, id: ExprId) -> Option<[i64; 2]> {
        let exprs = &self.program.exprs;
        let dependence = exprs.dependence(id);
        if !dependence.row && !dependence.col {
            return Some([0, 0]);
        }
        match exprs.get(id) {
            Expr::Row => Some([1, 0]),
            Expr::Col => Some([0, 1]),
            Expr::Unary(UnaryOp::Neg, x) => self.steps_of(*x).map(|[row, col]| [-row, -col]),
            Expr::Nary(NaryOp::Add, xs) => xs.iter().try_fold([0_i64, 0], |[row, col], x| {
                let [r, c] = self.steps_of(*x)?;
                Some([row.checked_add(r)?, col.checked_add(c)?])
            }),
            Expr::Nary(NaryOp::Mul, xs) => {
                let (factor, other) = match xs[..] {
                    [x, y] => exprs.as_int(x).map(|v| (v, y)).or_else(|| exprs.as_int(y).map(|v| (v, x)))?,
                    _ => return None,
                };
                let [row, col] = self.steps_of(other)?;
                Some([row.checked_mul(factor)?, col.checked_mul(factor)?])
            }
            _ => None,
        }
    }

    /// Values at row and column 0.
    fn at_origin(&mut self, ids: &[ExprId]) -> Result<Vec<Value>, CodegenError> {
        let graph = Graph::new(&self.program.exprs, ids, false);
        let mut zero = self.known_scalars(&graph);
        let row = self.int(0);
        for number in 0..graph.len() {
            if zero[number].is_none() {
                zero[number] = Some(self.zero_node(&graph, &zero, Some(row), Id(number as u32))?);
            }
        }
        ids.iter()
            .map(|id| zero[graph.of(*id).0 as usize].ok_or_else(|| self.malformed("an index has no value")))
            .collect()
    }

    /// An integer that is linear in row and column.
    fn linear(&mut self, id: ExprId) -> Result<Option<Linear>, CodegenError> {
        let Some(steps) = self.steps_of(id) else { return Ok(None) };
        Ok(Some(Linear { start: self.at_origin(&[id])?[0], steps }))
    }

    /// Whether all of a matrix of positions is in `from .. to`.
    fn within(&mut self, linear: &Linear, (rows, cols): (Value, Value), [from, to]: [Value; 2]) -> Value {
        let (mut least, mut most) = (linear.start, linear.start);
        for (count, step) in [rows, cols].into_iter().zip(linear.steps) {
            if step == 0 {
                continue;
            }
            let last = self.builder.ins().iadd_imm_s(count, -1);
            let far = self.builder.ins().imul_imm_s(last, step);
            let end = if step > 0 { &mut most } else { &mut least };
            *end = self.builder.ins().iadd(*end, far);
        }
        let low = self.builder.ins().icmp(IntCC::SignedLessThanOrEqual, from, least);
        let high = self.builder.ins().icmp(IntCC::SignedLessThan, most, to);
        self.builder.ins().band(low, high)
    }

    /// How an element of a buffer lies over so many rows and columns; `None` if not evenly.
    fn strided(&mut self, load: ExprId, counts: (Value, Value)) -> Result<Option<Strided>, CodegenError> {
        if let Expr::Tile { tile, row, col } = *self.program.exprs.get(load) {
            return self.strided_tile(tile, [row, col]);
        }
        let Expr::Load { buffer, index, clamp } = self.program.exprs.get(load).clone() else { return Ok(None) };
        if self.program.buffers.get(buffer.0 as usize).is_none_or(|b| b.dtype != DType::F32) {
            return Ok(None);
        }
        let reference = self.buffer(buffer);
        let (mut address, mut strides) = (reference.base, [self.int(0), self.int(0)]);
        let mut inside = None;
        for (dim, at) in index.iter().enumerate() {
            let Some(linear) = self.linear(*at)? else { return Ok(None) };
            let stride = self.stride(buffer, reference, dim);
            let flat = self.builder.ins().imul(linear.start, stride);
            let bytes = self.builder.ins().ishl_imm_s(flat, 2);
            address = self.builder.ins().iadd(address, bytes);
            for (sum, step) in strides.iter_mut().zip(linear.steps).filter(|(_, step)| *step != 0) {
                let part = self.builder.ins().imul_imm_s(stride, step);
                *sum = self.builder.ins().iadd(*sum, part);
            }
            if clamp {
                let (zero, extent) = (self.int(0), self.shape(reference, dim));
                let own = self.within(&linear, counts, [zero, extent]);
                inside = Some(inside.map_or(own, |all| self.builder.ins().band(all, own)));
            }
        }
        Ok(Some(Strided { address, strides, inside }))
    }

    /// How an element of a tile lies whose place is linear in row and column: it is in range everywhere.
    fn strided_tile(&mut self, tile: TileId, place: [ExprId; 2]) -> Result<Option<Strided>, CodegenError> {
        if self.program.tiles[tile.0 as usize].lane != Lane::F32 {
            return Ok(None);
        }
        let (Some(row), Some(col)) = (self.linear(place[0])?, self.linear(place[1])?) else { return Ok(None) };
        let (base, stride) = self.tile(tile);
        let flat = self.builder.ins().imul(row.start, stride);
        let flat = self.builder.ins().iadd(flat, col.start);
        let bytes = self.builder.ins().ishl_imm_s(flat, 2);
        let address = self.builder.ins().iadd(base, bytes);
        let strides = [0, 1].map(|at| {
            let far = self.builder.ins().imul_imm_s(stride, row.steps[at]);
            self.builder.ins().iadd_imm_s(far, col.steps[at])
        });
        Ok(Some(Strided { address, strides, inside: None }))
    }

    /// The map as the sum or the product of an element and something linear: an element of a buffer or of another tile in
    /// whichever direction it lies; or as its sum with a multiple of a position. `None` if it is something else.
    pub(crate) fn added_call(
        &mut self,
        dst: &Dst,
        counts: (Value, Value),
        value: ExprId,
    ) -> Result<Option<MatrixCall>, CodegenError> {
        let exprs = &self.program.exprs;
        let Expr::Nary(op @ (NaryOp::Add | NaryOp::Mul), operands) = exprs.get(value) else { return Ok(None) };
        let [x, y] = operands[..] else { return Ok(None) };
        let together = if *op == NaryOp::Add { Microkernel::AddPlaneF32 } else { Microkernel::ScalePlaneF32 };
        let varies = |id: ExprId| exprs.dependence(id).col && exprs.lane(id) == Lane::F32;
        if !varies(x) || !varies(y) {
            return Ok(None);
        }
        // An element of another tile at a place of its own is added as one of a buffer is.
        let is_tile = |id: ExprId| match exprs.get(id) {
            Expr::Tile { row, col, .. } => *exprs.get(*row) == Expr::Row && *exprs.get(*col) == Expr::Col,
            _ => false,
        };
        let (source, added) = match (is_tile(x), is_tile(y)) {
            (true, false) => (x, y),
            (false, true) => (y, x),
            _ => return Ok(None),
        };
        // Elements that are read while others have been overwritten.
        if let (Expr::Tile { tile, .. }, Dst::Tile { tile: own, .. }) = (exprs.get(added), dst)
            && tile == own
        {
            return Ok(None);
        }
        let ramp = if *op == NaryOp::Add { self.ramp(added) } else { None };
        let linear = match ramp {
            Some(Ramp { at, .. }) => self.steps_of(at).is_some(),
            None => match exprs.get(added) {
                Expr::Load { index, .. } => index.iter().all(|at| self.steps_of(*at).is_some()),
                Expr::Tile { row, col, .. } => [row, col].iter().all(|at| self.steps_of(**at).is_some()),
                _ => false,
            },
        };
        if !linear {
            return Ok(None);
        }
        let Some(from) = self.source_plane(source)? else { return Ok(None) };
        let Some(to) = self.destination_plane(dst)? else { return Ok(None) };
        let mut args = vec![counts.0, counts.1, to.base, to.row, from.base, from.row];
        let (kernel, inside) = match ramp {
            Some(Ramp { factor, at, negated, distance }) => {
                let Some(linear) = self.linear(at)? else { return Ok(None) };
                let mut factor = self.scalar(factor)?;
                if negated {
                    factor = self.builder.ins().fneg(factor);
                }
                let slot = self.scalar_slot(0);
                self.store_scalar(Storage::of_tile(Lane::F32), slot, factor);
                let ends = [self.int(1 - LARGEST_EXACT), self.int(LARGEST_EXACT)];
                let exact = self.within(&linear, counts, ends);
                let steps = linear.steps.map(|step| self.int(step));
                args.extend([slot, linear.start, steps[0], steps[1]]);
                let kernel = if distance { Microkernel::AddDistanceF32 } else { Microkernel::AddRampF32 };
                (kernel, Some(exact))
            }
            None => {
                let Some(Strided { address, strides, inside }) = self.strided(added, counts)? else { return Ok(None) };
                args.extend([address, strides[0], strides[1]]);
                (together, inside)
            }
        };
        let suits = self.units([to.col, from.col], inside);
        Ok(Some(MatrixCall { suits, kernel, args }))
    }

    /// A multiple of a position or of its magnitude.
    fn ramp(&self, id: ExprId) -> Option<Ramp> {
        let exprs = &self.program.exprs;
        let (id, negated) = match exprs.get(id) {
            Expr::Unary(UnaryOp::Neg, x) => (*x, true),
            _ => (id, false),
        };
        let Expr::Nary(NaryOp::Mul, operands) = exprs.get(id) else { return None };
        let [x, y] = operands[..] else { return None };
        let free = |id: ExprId| !exprs.dependence(id).col && !exprs.dependence(id).row;
        let (factor, position) = match (free(x), free(y)) {
            (true, false) => (x, y),
            (false, true) => (y, x),
            _ => return None,
        };
        let Expr::Cast(Lane::F32, at) = exprs.get(position) else { return None };
        let (at, distance) = match exprs.get(*at) {
            Expr::Unary(UnaryOp::Abs, x) => (*x, true),
            _ => (*at, false),
        };
        (exprs.lane(at) == Lane::I64).then_some(Ramp { factor, at, negated, distance })
    }

    /// The condition that steps are 1, and another one, as far as they are not certain.
    fn units(&mut self, steps: [Value; 2], also: Option<Value>) -> Option<Value> {
        let mut suits = also;
        for step in steps {
            if self.constant_value(step) == Some(1) {
                continue;
            }
            let one = self.builder.ins().icmp_imm_s(IntCC::Equal, step, 1);
            suits = Some(suits.map_or(one, |both| self.builder.ins().band(both, one)));
        }
        suits
    }

    /// A number, or its address with the stride from row to row.
    fn number_of_row(&mut self, number: OfRow) -> Result<(Value, Option<Value>), CodegenError> {
        Ok(match number {
            OfRow::Real(v) => (self.builder.ins().f32const(v as f32), None),
            OfRow::Scalar(id) => (self.scalar(id)?, None),
            OfRow::Buffer { load } => {
                let none = self.int(0);
                match self.strided(load, (none, none))? {
                    Some(Strided { address, strides: [stride, _], inside: None }) => (address, Some(stride)),
                    _ => return Err(self.malformed("a number of each row does not lie along a buffer")),
                }
            }
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
