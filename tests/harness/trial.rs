//! A trial: one spec at given extents on drawn inputs, run on an engine and compared with the reference.
//!
//! The reference is evaluated once per trial; every engine's result is held against it, and results that must be the
//! same bits are held against each other.

use std::cell::Cell;

use attnc::{Engine, Isa, Options, TensorView};
use attnc_algebra::{Data, Diagnostic, Extents, Reference, Settings, Spec, Tensor};
use attnc_compiler::extents::{at_length, defaults, m_follows};
use ndarray::ArrayD;

use crate::accuracy::relative_error;
use crate::padded::{Padded, Storage};
use crate::rounded::rounded;
use crate::tolerance::{conditioned_tolerance, narrow_unit, tolerance};

/// Where and how a trial is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Runner {
    /// Interpreter or machine code.
    pub engine: Engine,
    /// Threads of a launch.
    pub threads: usize,
    /// The microkernels' instruction set; the best of the CPU if `None`.
    pub isa: Option<Isa>,
}

impl Runner {
    /// The loop-program interpreter.
    pub const INTERPRETER: Self = Self { engine: Engine::Interpreter, threads: 1, isa: None };

    /// Machine code on so many threads, with the best microkernels of the CPU.
    pub const fn jit(threads: usize) -> Self {
        Self { engine: Engine::Jit, threads, isa: None }
    }

    fn options(&self, settings: &Settings) -> Options {
        let mut options = Options { engine: self.engine, isa: self.isa, threads: self.threads, ..Options::default() };
        options.compiler.settings = settings.clone();
        options
    }
}

impl std::fmt::Display for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.engine.name())?;
        if let Some(isa) = self.isa {
            write!(f, " {}", isa.name())?;
        }
        if self.threads > 1 { write!(f, " on {} threads", self.threads) } else { Ok(()) }
    }
}

/// Why a trial failed.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The spec is wrong.
    #[error("the spec is refused: {}", listed(.0))]
    Spec(Vec<Diagnostic>),
    /// No inputs can be drawn.
    #[error("no inputs: {0}")]
    Draw(#[from] attnc_algebra::draw::DrawError),
    /// The reference cannot evaluate it.
    #[error("no reference: {0}")]
    Reference(#[from] attnc_algebra::ReferenceError),
    /// The engine cannot compile or run it.
    #[error("{runner}: {error}")]
    Engine {
        /// Which engine.
        runner: String,
        /// What it said.
        error: attnc::Error,
    },
    /// A result is too far from the reference.
    #[error("{runner}: output `{output}` is off by {found:.3e}, relative; permitted are {permitted:.3e}")]
    Far {
        /// Which engine.
        runner: String,
        /// Which output.
        output: String,
        /// The error found.
        found: f64,
        /// The tolerance.
        permitted: f64,
    },
    /// Two runs that must agree in every bit do not.
    #[error("{first} and {second} differ in the bits of output `{output}`")]
    Bits {
        /// One runner.
        first: String,
        /// The other.
        second: String,
        /// Which output.
        output: String,
    },
    /// Something was written beside an output.
    #[error("{runner}: a canary beside output `{output}` was overwritten")]
    Canary {
        /// Which engine.
        runner: String,
        /// Which output.
        output: String,
    },
}

fn listed(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A spec with its inputs and what the reference makes of them.
pub struct Trial {
    text: String,
    settings: Settings,
    spec: Spec,
    inputs: Vec<Tensor>,
    reference: Vec<ArrayD<f64>>,
    longest: usize,
    extents: Extents,
    /// Whether an error may also be as large as what a few more roundings on the way would do.
    conditioned: bool,
    /// The form to run, by name; the cheapest if `None`.
    variant: Option<String>,
    /// Whether some error was explained by that.
    strained: Cell<bool>,
}

/// A rounding to f32.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// A reference that moves by this, relatively, when its own f64 results are rounded once more has lost its digits.
const LOST: f64 = 1e-6;

/// Patterns by which inputs and results are moved.
const PATTERNS: u64 = 4;

impl Trial {
    /// Elaborates a spec, draws inputs at sequence length `n` and evaluates the reference.
    ///
    /// # Errors
    /// If the spec is wrong, inputs cannot be drawn, or the reference cannot evaluate it.
    pub fn new(text: &str, settings: &Settings, n: i64, seed: u64) -> Result<Self, TrialError> {
        let spec = attnc_algebra::compile_text(text, settings).map_err(TrialError::Spec)?;
        let extents = at_length(&spec, &defaults(&spec, settings), n, m_follows(&spec, settings));
        let inputs = attnc_algebra::draw::draw_inputs(&spec, &extents, seed)?;
        Self::with_inputs(text, settings, spec, &extents, inputs)
    }

    /// As [`Trial::new`], on the caller's inputs.
    ///
    /// # Errors
    /// If the reference cannot evaluate the spec on them.
    pub fn with_inputs(
        text: &str,
        settings: &Settings,
        spec: Spec,
        extents: &Extents,
        inputs: Vec<Tensor>,
    ) -> Result<Self, TrialError> {
        let mut evaluation = Reference::new(&spec, extents, &inputs)?;
        let outputs = 0..spec.outputs.len();
        let reference = outputs.map(|at| evaluation.output(at)).collect::<Result<Vec<_>, _>>()?;
        drop(evaluation);
        let longest = extents.0.values().copied().max().unwrap_or(1).max(1) as usize;
        let mut settings = settings.clone();
        // Extents that no input's shape binds must be the same in the engine.
        let bound = |axes: &[attnc_algebra::AxisId]| axes.iter().map(|a| spec.axis(*a).extent).collect::<Vec<_>>();
        let shapes: Vec<_> = spec.inputs.iter().flat_map(|i| bound(&i.axes)).collect();
        for (symbol, value) in &extents.0 {
            let id = *symbol;
            let seen = shapes.iter().any(|t| *spec.terms.node(*t) == attnc_algebra::Node::Extent(id));
            if !seen {
                settings.set.entry(spec.symbols[id.0 as usize].name.clone()).or_insert((*value).into());
            }
        }
        let (text, extents) = (text.to_string(), extents.clone());
        Ok(Self {
            text,
            settings,
            spec,
            inputs,
            reference,
            longest,
            extents,
            conditioned: false,
            variant: None,
            strained: Cell::new(false),
        })
    }

    /// The same trial, with errors allowed that a small multiple of rounding every real input and result once more
    /// would cause. For specs whose conditioning nobody has looked at; [`Trial::is_strained`] says of which it was
    /// needed, and a test counts them.
    pub fn allowing_for_conditioning(mut self) -> Self {
        self.conditioned = true;
        self
    }

    /// The same trial on the form of that name.
    pub fn in_variant(mut self, name: &str) -> Self {
        self.variant = Some(name.to_string());
        self
    }

    /// Names of the forms known at this length, the cheapest first.
    ///
    /// # Errors
    /// If the compiler refuses the spec.
    pub fn variants(&self) -> Result<Vec<String>, attnc_compiler::CompileError> {
        self.variants_where(|_| true)
    }

    /// Names of those forms for which `wanted` holds.
    ///
    /// # Errors
    /// As [`Trial::variants`].
    pub fn variants_where(
        &self,
        wanted: impl Fn(&attnc_compiler::Candidate) -> bool,
    ) -> Result<Vec<String>, attnc_compiler::CompileError> {
        let options = attnc_compiler::Options { settings: self.settings.clone(), ..Default::default() };
        let analysis = attnc_compiler::Analysis::new(&self.text, &options, &mut attnc_compiler::Unobserved)?;
        let candidates = analysis.candidates(&self.extents)?;
        Ok(candidates.iter().filter(|c| wanted(c)).map(|c| c.name().to_string()).collect())
    }

    /// Whether some result so far was beyond the tolerance, though within what conditioning explains.
    pub fn is_strained(&self) -> bool {
        self.strained.get()
    }

    /// The spec.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The settings, with extents that no input's shape binds.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The extents.
    pub fn extents(&self) -> &Extents {
        &self.extents
    }

    /// The inputs, in the spec's order.
    pub fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// Runs on `runner` and checks every output against the reference.
    ///
    /// # Errors
    /// If the engine fails or a result is too far off.
    pub fn check(&self, runner: Runner) -> Result<Vec<Tensor>, TrialError> {
        self.check_kernel(&self.compile(runner)?, runner)
    }

    /// As [`Trial::check`] by machine code on one and on two threads, compiled once, and checks that both give the
    /// same bits.
    ///
    /// # Errors
    /// If the engine fails, a result is too far off, or the results differ.
    pub fn check_threads(&self) -> Result<(), TrialError> {
        let (one, two) = (Runner::jit(1), Runner::jit(2));
        let mut kernel = self.compile(one)?;
        let alone = self.check_kernel(&kernel, one)?;
        kernel.set_threads(two.threads);
        let shared = self.check_kernel(&kernel, two)?;
        self.same_bits((one, &alone), (two, &shared))
    }

    fn check_kernel(&self, kernel: &attnc::Kernel, runner: Runner) -> Result<Vec<Tensor>, TrialError> {
        let inputs: Vec<TensorView<'_>> = self.inputs.iter().map(TensorView::from).collect();
        let found = kernel.run(&self.named(inputs)).map_err(|error| engine_error(runner, error))?;
        for (at, tensor) in found.iter().enumerate() {
            self.compare(runner, at, tensor)?;
        }
        Ok(found)
    }

    /// As [`Trial::check`], with inputs and outputs laid out as `storage` says, among canaries.
    ///
    /// # Errors
    /// As [`Trial::check`], and if something beside an output was written.
    pub fn check_stored(&self, runner: Runner, storage: Storage) -> Result<(), TrialError> {
        let kernel = self.compile(runner)?;
        let padded: Vec<Padded> = self.inputs.iter().map(|t| Padded::of(t, storage)).collect();
        let inputs = self.named(padded.iter().map(Padded::view).collect());
        let mut rooms: Vec<Padded> = self.reference.iter().map(|r| Padded::room(r.shape(), storage)).collect();
        let names = self.spec.outputs.iter().map(|o| o.name.as_str());
        let mut outputs: Vec<_> = names.zip(rooms.iter_mut().filter_map(Padded::view_mut)).collect();
        kernel.run_into(&inputs, &mut outputs).map_err(|error| engine_error(runner, error))?;
        drop(outputs);
        for (at, room) in rooms.iter_mut().enumerate() {
            let tensor = room.view().to_tensor();
            self.compare(runner, at, &tensor)?;
            if !room.canaries_live() {
                let output = self.spec.outputs[at].name.clone();
                return Err(TrialError::Canary { runner: runner.to_string(), output });
            }
        }
        Ok(())
    }

    /// Checks that two runs gave the same bits.
    ///
    /// # Errors
    /// If they did not.
    pub fn same_bits(&self, first: (Runner, &[Tensor]), second: (Runner, &[Tensor])) -> Result<(), TrialError> {
        for (at, (a, b)) in first.1.iter().zip(second.1).enumerate() {
            if attnc::tensor::to_le_bytes(a) != attnc::tensor::to_le_bytes(b) {
                let (first, second) = (first.0.to_string(), second.0.to_string());
                return Err(TrialError::Bits { first, second, output: self.spec.outputs[at].name.clone() });
            }
        }
        Ok(())
    }

    fn compile(&self, runner: Runner) -> Result<attnc::Kernel, TrialError> {
        let mut options = runner.options(&self.settings);
        options.compiler.variant = self.variant.clone();
        attnc::compile(&self.text, &options).map_err(|error| engine_error(runner, error))
    }

    fn named<'s, 'v>(&'s self, views: Vec<TensorView<'v>>) -> Vec<(&'s str, TensorView<'v>)> {
        self.spec.inputs.iter().map(|i| i.name.as_str()).zip(views).collect()
    }

    /// How far output `at` of the reference moves when every result on the way to it is moved by one rounding of size
    /// `unit`, and in f32 every real input, too: the farthest over some patterns of up and down, as one of them may
    /// cancel.
    fn sensitivity(&self, at: usize, unit: f64) -> Result<f64, TrialError> {
        let mut farthest = 0.0f64;
        for pattern in 0..PATTERNS {
            let moved: Vec<Tensor> =
                self.inputs.iter().map(|t| if unit < UNIT { t.clone() } else { moved(t, pattern) }).collect();
            let spec = rounded(&self.spec, unit, pattern);
            let mut evaluation = Reference::new(&spec, &self.extents, &moved)?;
            let elsewhere = evaluation.output(at)?;
            let shape = elsewhere.shape().to_vec();
            let tensor = Tensor::new(shape, Data::F64(elsewhere.iter().copied().collect()));
            let tensor = tensor.expect("an array's shape fits its elements");
            let error = relative_error(&self.spec, &self.spec.outputs[at], &tensor, &self.reference[at]);
            farthest = farthest.max(error);
        }
        Ok(farthest)
    }

    fn compare(&self, runner: Runner, at: usize, found: &Tensor) -> Result<(), TrialError> {
        let output = &self.spec.outputs[at];
        let error = relative_error(&self.spec, output, found, &self.reference[at]);
        // The narrowest type decides: its operands are rounded once.
        let types = self.spec.inputs.iter().map(|i| i.dtype);
        let permitted =
            types.map(|t| tolerance(t, self.longest)).fold(tolerance(found.dtype(), self.longest), f64::max);
        if error <= permitted {
            return Ok(());
        }
        // Of sums that cancel altogether the reference itself holds nothing but its own roundings.
        let narrow = self.spec.inputs.iter().filter_map(|i| narrow_unit(i.dtype)).fold(0.0, f64::max);
        let excused = |trial: &Self| -> Result<bool, TrialError> {
            Ok(error <= conditioned_tolerance(permitted, trial.sensitivity(at, UNIT)?)
                || narrow > 0.0 && error <= permitted + trial.sensitivity(at, narrow)?
                || trial.sensitivity(at, f64::EPSILON / 2.0)? > LOST)
        };
        if self.conditioned && excused(self)? {
            self.strained.set(true);
            return Ok(());
        }
        Err(TrialError::Far { runner: runner.to_string(), output: output.name.clone(), found: error, permitted })
    }
}

/// A 32- or 64-bit real tensor with every element moved to a neighbour in its type; others as they are.
fn moved(tensor: &Tensor, pattern: u64) -> Tensor {
    let down = |at: usize| {
        let mixed = (at as u64 ^ pattern.wrapping_mul(0xff51_afd7_ed55_8ccd)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed >> 63 == 1
    };
    let data = match tensor.data() {
        Data::F32(v) => {
            Data::F32(v.iter().enumerate().map(|(at, x)| if down(at) { x.next_down() } else { x.next_up() }).collect())
        }
        Data::F64(v) => {
            Data::F64(v.iter().enumerate().map(|(at, x)| if down(at) { x.next_down() } else { x.next_up() }).collect())
        }
        other => other.clone(),
    };
    Tensor::new(tensor.shape().to_vec(), data).expect("the same number of elements")
}

fn engine_error(runner: Runner, error: attnc::Error) -> TrialError {
    TrialError::Engine { runner: runner.to_string(), error }
}
