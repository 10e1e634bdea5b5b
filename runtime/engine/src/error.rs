//! What can go wrong between a spec's text and its result.

use attnc_algebra::Diagnostic;
use attnc_compiler::CompileError;
use attnc_kernels::Isa;

/// Any error of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The spec has no compiled form.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The arguments do not fit the spec.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Machine code cannot be made or run on this host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A task of a launch failed; a defect of attnc.
    #[error("stage `{stage}` failed while running")]
    Task {
        /// Name of the stage.
        stage: String,
    },
    /// The interpreter refused a program; a defect of attnc.
    #[error("stage `{stage}` cannot be interpreted: {message}")]
    Interpreter {
        /// Name of the stage.
        stage: String,
        /// Why.
        message: String,
    },
}

impl Error {
    /// The diagnostics of a spec that is wrong, to be rendered against its text.
    pub fn diagnostics(&self) -> Option<&[Diagnostic]> {
        match self {
            Self::Compile(CompileError::Spec(diagnostics)) => Some(diagnostics),
            _ => None,
        }
    }

    /// Whether this is a defect of attnc rather than of what it was given.
    pub fn is_internal(&self) -> bool {
        match self {
            Self::Compile(error) => error.is_internal(),
            Self::Host(HostError::Codegen { .. } | HostError::Flags(_)) | Self::Task { .. } => true,
            Self::Interpreter { .. } => true,
            Self::Bind(_) | Self::Host(_) => false,
        }
    }
}

/// Machine code cannot be made on this host.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// There is no code generator for this machine.
    #[error("no machine code can be generated on this host ({0}); the interpreter can run the spec")]
    Unsupported(String),
    /// The microkernels of an instruction set were asked for and the CPU lacks it.
    #[error("this CPU does not have the instruction set `{wanted}`; it has {available}")]
    NoSuchIsa {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// The code generator refused its flags.
    #[error("the code generator refused its settings: {0}")]
    Flags(String),
    /// The code generator refused a stage.
    #[error("stage `{stage}` cannot be compiled: {message}")]
    Codegen {
        /// Name of the stage.
        stage: String,
        /// What it said.
        message: String,
    },
    /// Memory for code cannot be had.
    #[error("no memory for machine code: {0}; the interpreter can run the spec")]
    CodeMemory(String),
}

impl HostError {
    /// This CPU lacks an instruction set.
    pub fn no_isa(wanted: Isa) -> Self {
        let available: Vec<&str> = Isa::available().iter().map(|i| i.name()).collect();
        Self::NoSuchIsa { wanted: wanted.name().to_string(), available: available.join(", ") }
    }
}

/// The arguments do not fit the spec.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// An input was not given.
    #[error("input `{input}` is missing; the spec declares {declared}")]
    MissingInput {
        /// Its name.
        input: String,
        /// What the spec declares.
        declared: String,
    },
    /// Something was given that is no input.
    #[error("the spec has no input `{input}`; it declares {declared}")]
    UnknownInput {
        /// What was given.
        input: String,
        /// What the spec declares.
        declared: String,
    },
    /// An input was given twice.
    #[error("input `{input}` is given twice")]
    DuplicateInput {
        /// Its name.
        input: String,
    },
    /// An output is missing, given twice, or unknown.
    #[error("outputs given: {given}; the spec's outputs are {declared}")]
    WrongOutputs {
        /// Names given.
        given: String,
        /// Names declared.
        declared: String,
    },
    /// A tensor has another storage type than declared.
    #[error("`{tensor}` is declared {expected}, but {found} was given")]
    WrongType {
        /// Its name.
        tensor: String,
        /// Declared.
        expected: &'static str,
        /// Given.
        found: &'static str,
    },
    /// A tensor has another number of axes than declared.
    #[error("`{tensor}` is declared with axes {axes}, but a tensor of shape {found:?} was given")]
    WrongRank {
        /// Its name.
        tensor: String,
        /// Declared axes with extents.
        axes: String,
        /// Given shape.
        found: Vec<usize>,
    },
    /// Two shapes, or a shape and a setting, disagree about an extent.
    #[error("axis {axis} of `{tensor}` has extent {found}, but {expected} was expected: {reason}")]
    WrongExtent {
        /// The tensor.
        tensor: String,
        /// The axis in the user's name.
        axis: String,
        /// Given.
        found: i64,
        /// Expected.
        expected: i64,
        /// Where the expectation comes from.
        reason: String,
    },
    /// The shapes do not determine the extents.
    #[error("{0}")]
    Extents(String),
    /// A `require` line does not hold.
    #[error("the spec requires `{text}`, which does not hold for {extents}")]
    RequireFailed {
        /// The predicate.
        text: String,
        /// The extents in question.
        extents: String,
    },
    /// A value lies outside its declared range.
    #[error("`{input}` holds {value} at {at:?}, outside its declared range {low} .. {high}")]
    OutOfRange {
        /// The input.
        input: String,
        /// Position of the first offender.
        at: Vec<usize>,
        /// Its value.
        value: f64,
        /// Declared lower end.
        low: f64,
        /// Declared upper end.
        high: f64,
    },
    /// A table declared with `runs` decreases somewhere.
    #[error("`{input}` is declared with runs, but it decreases at {at:?}")]
    NotSorted {
        /// The input.
        input: String,
        /// Position of the first smaller successor.
        at: Vec<usize>,
    },
    /// An index may leave its axis.
    #[error("{0}")]
    Index(String),
    /// A tensor or the working memory does not fit the address space.
    #[error("`{what}` is too large: its size overflows")]
    TooLarge {
        /// What.
        what: String,
    },
    /// An output shares memory with an input or another output.
    #[error("output `{output}` overlaps `{other}` in memory")]
    Overlap {
        /// The output.
        output: String,
        /// What it overlaps.
        other: String,
    },
    /// An output view maps two positions to one element.
    #[error("output `{output}` maps several positions to one element (strides {strides:?})")]
    RepeatedElements {
        /// The output.
        output: String,
        /// Its strides.
        strides: Vec<isize>,
    },
}
