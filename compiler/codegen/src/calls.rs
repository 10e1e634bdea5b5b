//! Calls of functions: f32 through memory, f64 on scalars, searches in tables.

use attnc_algebra::DType;
use attnc_plan::loops::Lane;
use cranelift_codegen::ir::{InstBuilder, Value};

use crate::CodegenError;
use crate::abi::Microkernel;
use crate::function::Lower;
use crate::graph::{Function, Op};
use crate::memory::Storage;

/// The f32 microkernel of a function.
pub(crate) fn vector_kernel(function: Function) -> Microkernel {
    match function {
        Function::Exp => Microkernel::ExpF32,
        Function::Expm1 => Microkernel::Expm1F32,
        Function::Log => Microkernel::LogF32,
        Function::Log1p => Microkernel::Log1pF32,
        Function::Tanh => Microkernel::TanhF32,
        Function::Sin => Microkernel::SinF32,
        Function::Cos => Microkernel::CosF32,
        Function::Erf => Microkernel::ErfF32,
        Function::Pow => Microkernel::PowF32,
    }
}

/// The f64 function.
fn scalar_kernel(function: Function) -> Microkernel {
    match function {
        Function::Exp => Microkernel::ExpF64,
        Function::Expm1 => Microkernel::Expm1F64,
        Function::Log => Microkernel::LogF64,
        Function::Log1p => Microkernel::Log1pF64,
        Function::Tanh => Microkernel::TanhF64,
        Function::Sin => Microkernel::SinF64,
        Function::Cos => Microkernel::CosF64,
        Function::Erf => Microkernel::ErfF64,
        Function::Pow => Microkernel::PowF64,
    }
}

impl Lower<'_, '_> {
    /// A function of scalars.
    pub(crate) fn scalar_call(
        &mut self,
        function: Function,
        lane: Lane,
        args: &[Value],
    ) -> Result<Value, CodegenError> {
        let nothing = |s: &Self| s.malformed("a microkernel gave no result");
        match lane {
            Lane::F64 => self.call(scalar_kernel(function), args).ok_or_else(|| nothing(self)),
            Lane::F32 => {
                let lines: Vec<Value> = (0..args.len()).map(|at| self.scalar_slot(at)).collect();
                for (line, x) in lines.iter().zip(args) {
                    self.store_scalar(Storage::of_tile(Lane::F32), *line, *x);
                }
                let mut full = vec![lines[0]];
                full.extend(&lines);
                full.push(self.int(1));
                self.call(vector_kernel(function), &full);
                Ok(self.load(Storage::of_tile(Lane::F32), 1, lines[0])[0])
            }
            _ => Err(self.no_lane(format!("{function:?}"), lane)),
        }
    }

    /// The first position of a sorted table whose value is at least `value`.
    pub(crate) fn lower_bound(
        &mut self,
        op: &Op,
        index: &[Value],
        count: Value,
        value: Value,
    ) -> Result<Value, CodegenError> {
        let Op::LowerBound { buffer, dim, .. } = op else { return Ok(value) };
        let dtype = self.program.buffers[buffer.0 as usize].dtype;
        let kernel = match dtype {
            DType::I32 => Microkernel::LowerBoundI32,
            DType::I64 => Microkernel::LowerBoundI64,
            _ => return Err(self.malformed("a searched table is neither i32 nor i64")),
        };
        let reference = self.buffer(*buffer);
        let mut address = reference.base;
        for (at, i) in index.iter().enumerate().filter(|(at, _)| at != dim) {
            let stride = self.stride(*buffer, reference, at);
            let elements = self.builder.ins().imul(*i, stride);
            let bytes = self.builder.ins().imul_imm_s(elements, dtype.size() as i64);
            address = self.builder.ins().iadd(address, bytes);
        }
        let stride = self.stride(*buffer, reference, *dim);
        let zero = self.int(0);
        let count = self.builder.ins().smax(count, zero);
        self.call(kernel, &[address, stride, count, value])
            .ok_or_else(|| self.malformed("a microkernel gave no result"))
    }
}
