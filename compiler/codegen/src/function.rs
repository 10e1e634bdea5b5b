//! The function under construction: launch arguments, variables, loops and
//! microkernel calls.

use std::collections::BTreeMap;

use attnc_plan::loops::{BufferId, ExprId, Lane, LoopProgram, TileId, VarId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Block, BlockArg, Endianness, InstBuilder, MemFlagsData, SigRef, StackSlot, StackSlotData, StackSlotKind, Type,
    Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;

use crate::CodegenError;
use crate::abi::{Microkernel, offset};
use crate::cells::CHUNK;

/// Emits one loop program into one function.
pub(crate) struct Lower<'a, 'f> {
    pub program: &'a LoopProgram,
    pub builder: FunctionBuilder<'f>,
    pub convention: CallConv,
    pub context: Value,
    /// Values of the program's variables that have one; each is assigned once on every way to its uses.
    vars: Vec<Option<Value>>,
    /// Scalars of the scopes around, the innermost last, that are the same wherever they can be seen.
    scalars_known: Vec<BTreeMap<ExprId, Value>>,
    signatures: BTreeMap<Microkernel, SigRef>,
    lines: Vec<StackSlot>,
    /// Memory for the operands of functions of scalars.
    scalars: Vec<StackSlot>,
}

/// A buffer's base address with its stride and shape arrays.
#[derive(Clone, Copy)]
pub(crate) struct BufferRef {
    pub base: Value,
    pub strides: Value,
    pub shape: Value,
}

/// A loop whose body is being emitted.
pub(crate) struct OpenLoop {
    header: Block,
    exit: Block,
    /// The loop variable's value in the body.
    pub at: Value,
}

/// Flags of an access that is in range and need not be aligned.
pub(crate) fn plain() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// Flags of a read of launch arguments, which never change.
pub(crate) fn constant() -> MemFlagsData {
    MemFlagsData::trusted().with_readonly().with_can_move()
}

/// The IR type of a scalar.
pub(crate) fn scalar_type(lane: Lane) -> Type {
    match lane {
        Lane::F32 => types::F32,
        Lane::F64 => types::F64,
        Lane::I64 => types::I64,
        Lane::Bool => types::I8,
    }
}

impl<'a, 'f> Lower<'a, 'f> {
    /// Starts the function: its entry block, arguments and variables. The
    /// second value is the task number.
    pub(crate) fn new(
        program: &'a LoopProgram,
        mut builder: FunctionBuilder<'f>,
        convention: CallConv,
    ) -> (Self, Value) {
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let params = builder.block_params(entry);
        let (context, task) = (params[0], params[1]);
        let lower = Self {
            program,
            builder,
            convention,
            context,
            vars: vec![None; program.vars.len()],
            scalars_known: vec![BTreeMap::new()],
            signatures: BTreeMap::new(),
            lines: Vec::new(),
            scalars: Vec::new(),
        };
        (lower, task)
    }

    pub(crate) fn malformed(&self, what: &'static str) -> CodegenError {
        CodegenError::Malformed { program: self.program.name.clone(), what }
    }

    pub(crate) fn int(&mut self, value: i64) -> Value {
        self.builder.ins().iconst(types::I64, value)
    }

    /// Gives a variable its value for what follows in the current scope.
    pub(crate) fn set_var(&mut self, var: VarId, value: Value) -> Result<(), CodegenError> {
        match self.vars.get_mut(var.0 as usize) {
            Some(slot) => *slot = Some(value),
            None => return Err(self.malformed("a variable is out of the table")),
        }
        Ok(())
    }

    pub(crate) fn variable(&self, var: VarId) -> Result<Value, CodegenError> {
        let value = self.vars.get(var.0 as usize).copied().flatten();
        value.ok_or_else(|| self.malformed("a variable has no value"))
    }

    /// The value of a scalar that some scope around has computed.
    pub(crate) fn known_scalar(&self, id: ExprId) -> Option<Value> {
        self.scalars_known.iter().rev().find_map(|scope| scope.get(&id)).copied()
    }

    /// Keeps a scalar for the rest of the current scope.
    pub(crate) fn keep_scalar(&mut self, id: ExprId, value: Value) {
        if let Some(scope) = self.scalars_known.last_mut() {
            scope.insert(id, value);
        }
    }

    /// The same bits as another vector type.
    pub(crate) fn bits(&mut self, ty: Type, x: Value) -> Value {
        if self.builder.func.dfg.value_type(x) == ty {
            return x;
        }
        self.builder.ins().bitcast(ty, MemFlagsData::new().with_endianness(Endianness::Little), x)
    }

    /// A fixed permutation of the bytes of two vectors.
    pub(crate) fn shuffle(&mut self, a: Value, b: Value, mask: [u8; 16]) -> Value {
        let (a, b) = (self.bits(types::I8X16, a), self.bits(types::I8X16, b));
        let mask = self.builder.func.dfg.immediates.push(mask.as_slice().into());
        self.builder.ins().shuffle(a, b, mask)
    }
}

/// Launch arguments.
impl Lower<'_, '_> {
    fn argument(&mut self, at: i32) -> Value {
        self.builder.ins().load(types::I64, constant(), self.context, at)
    }

    pub(crate) fn extent(&mut self, number: u32) -> Value {
        let table = self.argument(offset::EXTENTS);
        self.builder.ins().load(types::I64, constant(), table, number as i32 * 8)
    }

    /// Base address and row stride of a tile; the stride of a column is 1.
    pub(crate) fn tile(&mut self, tile: TileId) -> (Value, Value) {
        let table = self.argument(offset::TILES);
        let at = tile.0 as i32 * offset::TILE_SIZE;
        let base = self.builder.ins().load(types::I64, constant(), table, at);
        let stride = if self.program.tiles[tile.0 as usize].is_column(&self.program.exprs) {
            self.int(1)
        } else {
            self.builder.ins().load(types::I64, constant(), table, at + offset::TILE_ROW_STRIDE)
        };
        (base, stride)
    }

    pub(crate) fn buffer(&mut self, buffer: BufferId) -> BufferRef {
        let table = self.argument(offset::BUFFERS);
        let at = buffer.0 as i32 * offset::BUFFER_SIZE;
        let mut load = |at| self.builder.ins().load(types::I64, constant(), table, at);
        BufferRef { base: load(at), strides: load(at + offset::BUFFER_STRIDES), shape: load(at + offset::BUFFER_SHAPE) }
    }

    /// Stride of dimension `dim`, in elements; 1 where the program demands it.
    pub(crate) fn stride(&mut self, buffer: BufferId, reference: BufferRef, dim: usize) -> Value {
        if self.program.buffers[buffer.0 as usize].unit_dim == Some(dim) {
            return self.int(1);
        }
        self.builder.ins().load(types::I64, constant(), reference.strides, dim as i32 * 8)
    }

    pub(crate) fn shape(&mut self, reference: BufferRef, dim: usize) -> Value {
        self.builder.ins().load(types::I64, constant(), reference.shape, dim as i32 * 8)
    }

    /// Calls a microkernel through the table; its result, if it has one.
    pub(crate) fn call(&mut self, kernel: Microkernel, args: &[Value]) -> Option<Value> {
        let signature = match self.signatures.get(&kernel) {
            Some(signature) => *signature,
            None => {
                let signature = self.builder.import_signature(kernel.signature(self.convention));
                self.signatures.insert(kernel, signature);
                signature
            }
        };
        let table = self.argument(offset::KERNELS);
        let callee = self.builder.ins().load(types::I64, constant(), table, kernel.index() as i32 * 8);
        let call = self.builder.ins().call_indirect(signature, callee, args);
        self.builder.inst_results(call).first().copied()
    }

    /// Address of line `number` of stack memory, which holds an f32 for every
    /// column of a chunk. Statements share the lines.
    pub(crate) fn chunk_line(&mut self, number: usize) -> Value {
        while self.lines.len() <= number {
            let bytes = CHUNK as u32 * 4;
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
            self.lines.push(self.builder.create_sized_stack_slot(data));
        }
        self.builder.ins().stack_addr(types::I64, self.lines[number], 0)
    }

    /// Memory for one operand of a function of scalars: apart from the lines, whose results may still be wanted.
    pub(crate) fn scalar_slot(&mut self, number: usize) -> Value {
        while self.scalars.len() <= number {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 4, 4);
            self.scalars.push(self.builder.create_sized_stack_slot(data));
        }
        self.builder.ins().stack_addr(types::I64, self.scalars[number], 0)
    }
}

/// Control flow.
impl Lower<'_, '_> {
    /// Opens `for at in (from..to).step_by(step)`; the body follows until [`Self::close_loop`].
    pub(crate) fn open_loop(&mut self, from: Value, to: Value) -> OpenLoop {
        let (header, body, exit) =
            (self.builder.create_block(), self.builder.create_block(), self.builder.create_block());
        let at = self.builder.append_block_param(header, types::I64);
        self.builder.ins().jump(header, &[BlockArg::Value(from)]);
        self.builder.switch_to_block(header);
        let more = self.builder.ins().icmp(IntCC::SignedLessThan, at, to);
        self.builder.ins().brif(more, body, &[], exit, &[]);
        self.builder.switch_to_block(body);
        self.builder.seal_block(body);
        self.scalars_known.push(BTreeMap::new());
        OpenLoop { header, exit, at }
    }

    /// Ends the body of a loop, which goes on at `next`.
    pub(crate) fn close_loop(&mut self, open: OpenLoop, next: Value) {
        self.scalars_known.pop();
        self.builder.ins().jump(open.header, &[BlockArg::Value(next)]);
        self.builder.seal_block(open.header);
        self.builder.switch_to_block(open.exit);
        self.builder.seal_block(open.exit);
    }

    /// Emits `body` where `cond` (not zero) holds.
    pub(crate) fn when(
        &mut self,
        cond: Value,
        body: impl FnOnce(&mut Self) -> Result<(), CodegenError>,
    ) -> Result<(), CodegenError> {
        let (yes, join) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(cond, yes, &[], join, &[]);
        self.branch(yes, body)?;
        self.builder.ins().jump(join, &[]);
        self.builder.switch_to_block(join);
        self.builder.seal_block(join);
        Ok(())
    }

    /// Emits what one branch does into its block, a scope of its own.
    fn branch<T>(
        &mut self,
        block: Block,
        body: impl FnOnce(&mut Self) -> Result<T, CodegenError>,
    ) -> Result<T, CodegenError> {
        self.builder.switch_to_block(block);
        self.builder.seal_block(block);
        self.scalars_known.push(BTreeMap::new());
        let value = body(self)?;
        self.scalars_known.pop();
        Ok(value)
    }

    /// Emits `then` where `cond` (not zero) holds, else `otherwise`.
    pub(crate) fn either(
        &mut self,
        cond: Value,
        then: impl FnOnce(&mut Self) -> Result<(), CodegenError>,
        otherwise: impl FnOnce(&mut Self) -> Result<(), CodegenError>,
    ) -> Result<(), CodegenError> {
        let (yes, no, join) = (self.builder.create_block(), self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(cond, yes, &[], no, &[]);
        self.branch(yes, then)?;
        self.builder.ins().jump(join, &[]);
        self.branch(no, otherwise)?;
        self.builder.ins().jump(join, &[]);
        self.builder.switch_to_block(join);
        self.builder.seal_block(join);
        Ok(())
    }

    /// Emits one of two ways to the same values; `cold` is laid out of line.
    pub(crate) fn choose(
        &mut self,
        cond: Value,
        types: &[Type],
        hot: impl FnOnce(&mut Self) -> Result<Vec<Value>, CodegenError>,
        cold: impl FnOnce(&mut Self) -> Result<Vec<Value>, CodegenError>,
    ) -> Result<Vec<Value>, CodegenError> {
        let (yes, no, join) = (self.builder.create_block(), self.builder.create_block(), self.builder.create_block());
        let results = types.iter().map(|ty| self.builder.append_block_param(join, *ty)).collect();
        self.builder.set_cold_block(no);
        self.builder.ins().brif(cond, yes, &[], no, &[]);
        let arguments = |values: Vec<Value>| values.into_iter().map(BlockArg::Value).collect::<Vec<BlockArg>>();
        let values = arguments(self.branch(yes, hot)?);
        self.builder.ins().jump(join, &values);
        let values = arguments(self.branch(no, cold)?);
        self.builder.ins().jump(join, &values);
        self.builder.switch_to_block(join);
        self.builder.seal_block(join);
        Ok(results)
    }
}
