//! What an embedder may choose.

use attnc_kernels::Isa;

/// How loop programs are run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Engine {
    /// Machine code made by Cranelift over the microkernels of the CPU.
    #[default]
    Jit,
    /// The loop-program interpreter: slow, runs where no code may be generated.
    Interpreter,
}

impl Engine {
    /// The name used in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jit => "jit",
            Self::Interpreter => "interpreter",
        }
    }
}

/// Choices of compiling and running a kernel.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Choices of the compiler: parameters, machine profile, limits.
    pub compiler: attnc_compiler::Options,
    /// How loop programs are run.
    pub engine: Engine,
    /// Whether to interpret where machine code cannot be made, rather than to fail.
    pub fall_back: bool,
    /// Instruction set of the microkernels; the best of the CPU if `None`.
    pub isa: Option<Isa>,
    /// Threads of a launch, the caller included; as many as the machine has if 0.
    pub threads: usize,
    /// Whether to append generated code to `/tmp/perf-<pid>.map`.
    pub perf_map: bool,
}

impl Options {
    /// The number of threads meant.
    pub fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            n => n,
        }
    }
}
