//! Running one loop program on both engines: generated code with real
//! microkernels, and the interpreter.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod sketch;

use std::mem::transmute;

use attnc_algebra::DType;
use attnc_codegen::abi::{BufferArg, Entry, LaunchContext, Microkernel, TileArg};
use attnc_kernels::Isa;
use attnc_plan::loops::interpret::{BufferData, Bytes, run};
use attnc_plan::loops::layout::TILE_ALIGN;
use attnc_plan::loops::{Access, LoopProgram};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};

/// A tensor's memory with what surrounds it.
#[derive(Clone, Debug)]
pub struct Memory {
    pub dtype: DType,
    pub bytes: Vec<u8>,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
    pub origin: i64,
}

impl Memory {
    /// Row-major memory with `padding` elements before and after, and extra
    /// elements between rows; all bytes come from `byte`.
    pub fn new(dtype: DType, shape: &[i64], row_padding: i64, mut byte: impl FnMut(usize) -> u8) -> Self {
        let mut strides = vec![1i64; shape.len()];
        for dim in (0..shape.len().saturating_sub(1)).rev() {
            let padding = if dim + 2 == shape.len() { row_padding } else { 0 };
            strides[dim] = strides[dim + 1] * shape[dim + 1] + padding;
        }
        let count = strides.first().map_or(1, |s| s * shape[0]);
        let margin = 64i64;
        let bytes = (0..(count + 2 * margin) as usize * dtype.size()).map(&mut byte).collect();
        Self { dtype, bytes, shape: shape.to_vec(), strides, origin: margin }
    }

    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Element `at` of the memory, not of the tensor.
    pub fn element(&self, at: usize) -> f64 {
        let (shape, strides) = ([self.len() as i64], [1]);
        let data = BufferData {
            dtype: self.dtype,
            bytes: Bytes::Read(&self.bytes),
            shape: &shape,
            strides: &strides,
            origin: 0,
        };
        data.read(&[at as i64]).expect("inside the memory").real()
    }

    /// Sets element `at` of the memory.
    pub fn set(&mut self, at: usize, value: f64) {
        let (shape, strides) = ([self.len() as i64], [1]);
        let data = &mut BufferData {
            dtype: self.dtype,
            bytes: Bytes::Write(&mut self.bytes),
            shape: &shape,
            strides: &strides,
            origin: 0,
        };
        let value = match self.dtype {
            DType::I64 | DType::I32 | DType::I8 | DType::U8 => attnc_plan::loops::arithmetic::Value::Int(value as i64),
            _ => attnc_plan::loops::arithmetic::Value::Real(value),
        };
        data.write(&[at as i64], value).expect("inside the memory");
    }

    /// Fills every element of the memory.
    pub fn fill(mut self, mut value: impl FnMut(usize) -> f64) -> Self {
        for at in 0..self.len() {
            self.set(at, value(at));
        }
        self
    }
}

pub fn interpret(program: &LoopProgram, extents: &[i64], buffers: &mut [Memory]) -> Result<(), String> {
    let mut data: Vec<BufferData<'_>> = Vec::new();
    for (memory, declared) in buffers.iter_mut().zip(&program.buffers) {
        let bytes = match declared.access {
            Access::Read => Bytes::Read(&memory.bytes),
            Access::Write => Bytes::Write(&mut memory.bytes),
        };
        data.push(BufferData {
            dtype: memory.dtype,
            bytes,
            shape: &memory.shape,
            strides: &memory.strides,
            origin: memory.origin,
        });
    }
    run(program, extents, &mut data).map_err(|e| e.to_string())
}

/// Machine code of one program.
pub struct Compiled {
    module: Option<JITModule>,
    entry: Entry,
    pub code_bytes: usize,
    pub compile_ms: f64,
}

impl Drop for Compiled {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: the entry is private to this value, which is going.
            unsafe { module.free_memory() };
        }
    }
}

pub fn host() -> OwnedTargetIsa {
    let flags = attnc_codegen::flags().expect("the flags exist");
    cranelift_native::builder().expect("a supported host").finish(flags).expect("the flags fit")
}

pub fn compile(program: &LoopProgram) -> Compiled {
    let isa = host();
    let begin = std::time::Instant::now();
    let function = attnc_codegen::lower(program, &*isa).expect("the program lowers");
    if let Err(errors) = cranelift_codegen::verify_function(&function, &*isa) {
        panic!("{errors}\n{function}\n{program}");
    }
    let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
    let id = module.declare_function("kernel", Linkage::Local, &function.signature).expect("a fresh name");
    let mut context = module.make_context();
    context.func = function;
    if std::env::var("CLIF").is_ok() {
        eprintln!("{}", context.func);
        context.want_disasm = true;
        context.set_disasm(true);
    }
    module.define_function(id, &mut context).expect("the function compiles");
    if let Some(code) = context.compiled_code().filter(|_| std::env::var("CLIF").is_ok()) {
        eprintln!("{}", code.vcode.as_deref().unwrap_or(""));
    }
    let code_bytes = context.compiled_code().map_or(0, |code| code.code_buffer().len());
    module.finalize_definitions().expect("memory for code");
    let address = module.get_finalized_function(id);
    // SAFETY: the function has the entry's signature and the module lives as long as the value.
    let entry = unsafe { transmute::<*const u8, Entry>(address) };
    let compile_ms = begin.elapsed().as_secs_f64() * 1e3;
    Compiled { module: Some(module), entry, code_bytes, compile_ms }
}

/// Runs every task; panics if a canary around a tile changed.
pub fn execute(compiled: &Compiled, program: &LoopProgram, extents: &[i64], buffers: &mut [Memory]) {
    let mut args: Vec<BufferArg> = Vec::new();
    for memory in buffers.iter_mut() {
        let offset = memory.origin as usize * memory.dtype.size();
        args.push(BufferArg {
            base: memory.bytes[offset..].as_mut_ptr(),
            strides: memory.strides.as_ptr(),
            shape: memory.shape.as_ptr(),
        });
    }
    let kernels = kernel_table();
    let layouts: Vec<_> =
        program.tiles.iter().map(|t| program.tile_layout(t, extents).expect("tiles have sizes")).collect();
    const CANARY: u8 = 0xa5;
    let margin = TILE_ALIGN as usize;
    let mut memories: Vec<Vec<u8>> =
        layouts.iter().map(|layout| vec![CANARY; layout.bytes as usize + 3 * margin]).collect();
    let starts: Vec<usize> = memories.iter().map(|m| margin + m.as_ptr().align_offset(margin)).collect();
    for task in 0..program.tasks(extents).expect("a task count") {
        let mut tiles = Vec::new();
        for ((memory, start), layout) in memories.iter_mut().zip(&starts).zip(&layouts) {
            memory[*start..*start + layout.bytes as usize].fill(0xff);
            tiles.push(TileArg { base: memory[*start..].as_mut_ptr(), row_stride: layout.row_stride });
        }
        let context = LaunchContext {
            kernels: kernels.as_ptr(),
            extents: extents.as_ptr(),
            buffers: args.as_ptr(),
            tiles: tiles.as_ptr(),
        };
        // SAFETY: the context's tables are as the program declares them.
        unsafe { (compiled.entry)(&context, task) };
        for (((memory, start), layout), tile) in memories.iter().zip(&starts).zip(&layouts).zip(&program.tiles) {
            let intact = memory[..*start].iter().chain(&memory[*start + layout.bytes as usize..]);
            assert!(intact.clone().all(|b| *b == CANARY), "memory around tile {} was written\n{program}", tile.name);
        }
    }
}

fn kernel_table() -> Vec<*const ()> {
    let isa = Isa::available().first().copied().unwrap_or(Isa::Portable);
    let table = attnc_kernels::table(isa).expect("an available instruction set");
    let address = |kernel: &Microkernel| table.address(kernel.name()).expect("every microkernel is in the table");
    Microkernel::ALL.iter().map(address).collect()
}

/// Whether two elements agree: exactly for integers, within `tolerance`
/// relative to the larger of 1 and the value for reals.
pub fn agree(dtype: DType, x: f64, y: f64, tolerance: f64) -> bool {
    if x.is_nan() || y.is_nan() {
        return x.is_nan() && y.is_nan();
    }
    let tolerance = match dtype {
        DType::F32 | DType::F64 => tolerance,
        DType::F16 => tolerance.max(2e-3),
        DType::Bf16 => tolerance.max(1.6e-2),
        _ => return x == y,
    };
    x == y || (x - y).abs() <= tolerance * x.abs().max(y.abs()).max(1.0)
}

/// Runs the program on both engines and compares all memory.
pub fn check(program: &LoopProgram, extents: &[i64], buffers: &[Memory], tolerance: f64) {
    check_by(program, extents, buffers, |dtype, _, x, y| agree(dtype, x, y, tolerance));
}

/// Runs the program on both engines and compares all memory: `agree` is given
/// the type, the place in its buffer, what was interpreted and what generated
/// code gave.
pub fn check_by(
    program: &LoopProgram,
    extents: &[i64],
    buffers: &[Memory],
    agree: impl Fn(DType, usize, f64, f64) -> bool,
) {
    let mut expected = buffers.to_vec();
    if let Err(error) = interpret(program, extents, &mut expected) {
        panic!("{error}\n{program}");
    }
    let compiled = compile(program);
    let mut actual = buffers.to_vec();
    execute(&compiled, program, extents, &mut actual);
    for ((x, y), declared) in expected.iter().zip(&actual).zip(&program.buffers) {
        for at in 0..x.len() {
            let (p, q) = (x.element(at), y.element(at));
            assert!(
                agree(x.dtype, at, p, q),
                "{} at {}: interpreted {p:?}, generated {q:?}\nextents {extents:?}\n{program}",
                declared.name,
                at as i64 - x.origin,
            );
        }
    }
}
