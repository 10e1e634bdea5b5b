//! A compiled spec: saturated once, with one compiled row per form that some sequence length needed.
//!
//! [`Kernel`] may be called from many threads at once. Which row serves a call depends on the inputs' extents alone;
//! rows are compiled on first use and kept. Read `row.rs`, `bind.rs` and `launch.rs` next.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use attnc_algebra::{DType, Extents, Spec, Tensor};
use attnc_compiler::extents::{at_length, by_number, length_symbol, m_follows};
use attnc_compiler::{Analysis, Candidate, Layout, Observer, Pass};
use attnc_kernels::Isa;
use attnc_plan::{Plan, Role};
use cranelift_codegen::isa::OwnedTargetIsa;

use crate::bind::{self, BoundArgs, Homes, Inputs, Named};
use crate::clock::{PassClock, PassTime};
use crate::error::{BindError, Error};
use crate::jit;
use crate::jit::call::FunctionTable;
use crate::jit::listing::Listing;
use crate::jit::memory::CodeRange;
use crate::launch;
use crate::options::{Engine, Options};
use crate::row::CompiledRow;
use crate::scratch::{AlignedBytes, CallPool, ScratchPool};
use crate::tensor::{OwnedOutput, TensorView, TensorViewMut};
use crate::threads::ThreadPool;

/// A spec ready to run at any extents.
pub struct Kernel {
    analysis: Analysis,
    options: Options,
    isa: Isa,
    functions: Arc<FunctionTable>,
    /// `None` to interpret.
    target: Option<OwnedTargetIsa>,
    pool: Arc<ThreadPool>,
    scratch: ScratchPool,
    calls: CallPool,
    rows: Mutex<Rows>,
    indices: bind::IndexChecks,
    compiles: AtomicUsize,
    clock: Mutex<PassClock>,
}

/// What has been planned and compiled so far.
#[derive(Default)]
struct Rows {
    /// Intervals of N by the other extents.
    intervals: BTreeMap<Extents, Vec<Interval>>,
    /// All compiled rows; few.
    compiled: Vec<Arc<CompiledRow>>,
    /// Latest extents, ready to launch.
    prepared: BTreeMap<Extents, Arc<Prepared>>,
}

/// Lengths that one row serves.
#[derive(Clone)]
struct Interval {
    from: i64,
    to: i64,
    row: Arc<CompiledRow>,
}

/// A row at given extents.
pub struct Prepared {
    /// The row.
    row: Arc<CompiledRow>,
    /// Its sizes.
    layout: Layout,
}

/// How many extents are kept ready.
const PREPARED_KEPT: usize = 64;

/// Lengths that rows are planned up to, the longest first.
const ROW_ENDS: [i64; 6] = [1 << 20, 1 << 17, 1 << 14, 1 << 11, 1 << 8, 1 << 6];

/// How many times as long as by a plan for its own length a call may be predicted to take by its row's plan, and how
/// many nanoseconds longer in any case: the shortest calls are no reason for rows of their own.
const SLOWER: (f64, f64) = (1.5, 4000.0);

/// How many times as long a sequence is that is near another: the plan of a row is looked at there, too.
const NEAR: i64 = 6;

/// Compiles a spec's text.
///
/// ```
/// use ndarray::array;
///
/// let text = "input x[i, d]\n input y[j, d]\n axis i = M\n axis j = N\n output s[i, j] = sum[d](x * y)";
/// let kernel = attnc::compile(text, &attnc::Options::default())?;
/// let (x, y) = (array![[1.0f32, 2.0]], array![[3.0f32, 4.0], [5.0, 6.0]]);
/// let outputs = kernel.run(&[("x", (&x).into()), ("y", (&y).into())])?;
/// assert_eq!(outputs[0].to_f64(), [11.0, 17.0]);
/// # Ok::<(), attnc::Error>(())
/// ```
///
/// # Errors
/// If the spec is wrong or the options cannot be met on this machine.
pub fn compile(source: &str, options: &Options) -> Result<Kernel, Error> {
    compile_watched(source, options, &[])
}

/// As [`compile`], keeping the printed results of some passes for [`Kernel::dumps`].
///
/// # Errors
/// As [`compile`].
pub fn compile_watched(source: &str, options: &Options, dumps: &[Pass]) -> Result<Kernel, Error> {
    let mut clock = PassClock::new(dumps);
    let analysis = Analysis::new(source, &options.compiler, &mut clock)?;
    Kernel::new(analysis, options, clock)
}

/// Compiles a spec that was built without text.
///
/// # Errors
/// As [`compile`].
pub fn compile_spec(spec: Spec, options: &Options) -> Result<Kernel, Error> {
    let mut clock = PassClock::default();
    let analysis = Analysis::of_spec(spec, &options.compiler, &mut clock)?;
    Kernel::new(analysis, options, clock)
}

impl Kernel {
    fn new(analysis: Analysis, options: &Options, clock: PassClock) -> Result<Self, Error> {
        let isa = jit::isa::choose_isa(options.isa)?;
        let functions = Arc::new(jit::table::function_table(isa)?);
        let target = match (options.engine, jit::isa::host()) {
            (Engine::Interpreter, _) => None,
            (Engine::Jit, Ok(target)) => Some(target),
            (Engine::Jit, Err(_)) if options.fall_back => None,
            (Engine::Jit, Err(error)) => return Err(error.into()),
        };
        Ok(Self {
            analysis,
            isa,
            functions,
            target,
            pool: ThreadPool::shared(options.thread_count()),
            options: options.clone(),
            scratch: ScratchPool::default(),
            calls: CallPool::default(),
            rows: Mutex::default(),
            indices: bind::IndexChecks::default(),
            compiles: AtomicUsize::new(0),
            clock: Mutex::new(clock),
        })
    }

    /// The checked spec.
    pub fn spec(&self) -> &Spec {
        self.analysis.spec()
    }

    /// The spec with its equal forms, for explanations and tables.
    pub fn analysis(&self) -> &Analysis {
        &self.analysis
    }

    /// How stages are run: the interpreter if machine code cannot be made and the options permit it.
    pub fn engine(&self) -> Engine {
        if self.target.is_some() { Engine::Jit } else { Engine::Interpreter }
    }

    /// The instruction set of the microkernels.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads of a launch.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Runs later launches on so many threads, the caller included; on as many as the machine has if 0. What has been
    /// compiled stays, and results are the same bits.
    pub fn set_threads(&mut self, threads: usize) {
        self.options.threads = threads;
        self.pool = ThreadPool::shared(self.options.thread_count());
        // Bound calls know who takes part.
        self.calls = CallPool::default();
    }

    /// How many rows have been compiled so far. Changing N inside a row does not change it.
    pub fn compiles(&self) -> usize {
        self.compiles.load(Ordering::Relaxed)
    }

    /// How long each pass has taken so far, in order.
    pub fn pass_times(&self) -> Vec<PassTime> {
        lock(&self.clock).times.clone()
    }

    /// Results of the passes that [`compile_watched`] was asked to keep.
    pub fn dumps(&self) -> Vec<(Pass, String)> {
        lock(&self.clock).dumps.clone()
    }

    /// Extents of a call with these inputs, in any order.
    ///
    /// # Errors
    /// If names, types, ranks or extents do not fit the spec.
    pub fn extents(&self, inputs: &[Named<'_, TensorView<'_>>]) -> Result<Extents, Error> {
        let order = bind::inputs_in_order(self.spec(), inputs)?;
        let set = self.options.compiler.settings.extents(self.spec());
        Ok(bind::bind_extents(self.spec(), &set, Inputs::new(inputs, &order))?)
    }

    /// What the stages for some extents are lowered to, as text.
    ///
    /// # Errors
    /// As [`Kernel::prepare`], and if the kernel is interpreted.
    pub fn listings(&self, extents: &Extents) -> Result<Vec<Listing>, Error> {
        let prepared = self.prepare(extents)?;
        let target = match &self.target {
            Some(target) => target.clone(),
            None => jit::isa::host()?,
        };
        let lowered = prepared.plan().stages().map(|stage| jit::listing::listing(&stage.program, &target));
        Ok(lowered.collect::<Result<_, _>>()?)
    }

    /// The row that serves these extents, compiled if it is not yet.
    ///
    /// # Errors
    /// If it cannot be planned or compiled.
    pub fn prepare(&self, extents: &Extents) -> Result<Arc<Prepared>, Error> {
        let mut rows = lock(&self.rows);
        if let Some(prepared) = rows.prepared.get(extents) {
            return Ok(Arc::clone(prepared));
        }
        let row = self.row(&mut rows, extents)?;
        let layout = Layout::new(&row.plan, by_number(self.spec(), extents))
            .map_err(|e| BindError::TooLarge { what: e.what })?;
        let prepared = Arc::new(Prepared { row, layout });
        if rows.prepared.len() >= PREPARED_KEPT {
            rows.prepared.pop_first();
        }
        rows.prepared.insert(extents.clone(), Arc::clone(&prepared));
        Ok(prepared)
    }

    /// The compiled row for some extents; finds the interval of N it serves.
    fn row(&self, rows: &mut Rows, extents: &Extents) -> Result<Arc<CompiledRow>, Error> {
        let spec = self.spec();
        let n = length_symbol(spec).and_then(|s| extents.get(s)).unwrap_or(1);
        let follows = m_follows(spec, &self.options.compiler.settings)
            && spec.symbol("M").is_some_and(|m| extents.get(m) == Some(n));
        let others = at_length(spec, extents, 0, follows);
        let known = rows.intervals.get(&others).and_then(|all| all.iter().find(|i| (i.from..=i.to).contains(&n)));
        if let Some(interval) = known {
            return Ok(Arc::clone(&interval.row));
        }
        let mut clock = PassClock::new(&lock(&self.clock).wanted());
        let (candidate, to) = self.last_length(extents, n, follows, &mut clock)?;
        clock.begin(Pass::Plan);
        let (plan, to) = self.plan_from(&candidate, (n, to), |n| at_length(spec, extents, n, follows))?;
        clock.end(Pass::Plan, &|| dump_plan(spec, &plan));
        let same = rows.compiled.iter().find(|row| same_plan(&row.plan, &plan)).cloned();
        let row = match same {
            Some(row) => row,
            None => {
                let row = CompiledRow::compile(
                    &spec.name,
                    candidate,
                    plan,
                    self.target.as_ref(),
                    (self.pool.threads(), self.options.perf_map),
                    &mut clock,
                )?;
                self.compiles.fetch_add(1, Ordering::Relaxed);
                rows.compiled.push(Arc::new(row));
                Arc::clone(&rows.compiled[rows.compiled.len() - 1])
            }
        };
        lock(&self.clock).absorb(clock);
        let intervals = rows.intervals.entry(others).or_default();
        match intervals.iter_mut().find(|i| i.to == to && Arc::ptr_eq(&i.row, &row)) {
            Some(interval) => interval.from = interval.from.min(n),
            None => intervals.push(Interval { from: n, to, row: Arc::clone(&row) }),
        }
        Ok(row)
    }

    /// The form at N = `n`, and the greatest of [`ROW_ENDS`] up to which it stays, or `n` itself.
    ///
    /// Exact ends of rows are the plan table's business; here a few extractions have to do, since they are part of
    /// compiling, and of a long spec one has to. Coarser ends change no result: equal plans share their code.
    fn last_length(
        &self,
        extents: &Extents,
        n: i64,
        follows: bool,
        clock: &mut PassClock,
    ) -> Result<(Candidate, i64), Error> {
        let at = |n: i64| at_length(self.spec(), extents, n, follows);
        clock.begin(Pass::Extract);
        let candidate = self.analysis.choose(&at(n))?;
        let stays = |end: i64| self.analysis.stays(&candidate, &at(end));
        let mut ends: Vec<i64> = ROW_ENDS.into_iter().filter(|end| *end > n).collect();
        if self.analysis.saturated().is_long() {
            ends.drain(..ends.len().saturating_sub(1));
        }
        let to = match ends.split_first() {
            Some((longest, _)) if stays(*longest) => *longest,
            Some((_, shorter)) => shorter.iter().rev().copied().take_while(|end| stays(*end)).last().unwrap_or(n),
            None => n,
        };
        clock.end(Pass::Extract, &|| candidate.key.clone());
        Ok((candidate, to))
    }

    /// The plan of a form for lengths from `n` on, and up to which it serves: as far as it is not much slower than a
    /// plan for a length alone, at `n` and half way, and near `n` and between these where it is another than at `n`. What a long
    /// sequence computes again, since it has no room, a short one may keep.
    fn plan_from(
        &self,
        candidate: &Candidate,
        (n, to): (i64, i64),
        at: impl Fn(i64) -> Extents,
    ) -> Result<(Plan, i64), Error> {
        let nearest = self.analysis.plan(candidate, &at(n))?;
        let ends = [to].into_iter().chain(ROW_ENDS.into_iter().filter(|end| (n + 1..to).contains(end)));
        for end in ends.filter(|end| *end > n) {
            let plan = self.analysis.plan(candidate, &at(end))?;
            let between = |a: i64, b: i64| ((a as f64) * (b as f64)).sqrt() as i64;
            let half_way = between(n, end);
            let mut serves = self.serves(&plan, &nearest, &at(n));
            let nearer = (!same_plan(&plan, &nearest)).then(|| [n.saturating_mul(NEAR), between(n, half_way)]);
            for length in nearer.into_iter().flatten().chain([half_way]).filter(|length| *length < end) {
                serves = serves && self.serves(&plan, &self.analysis.plan(candidate, &at(length))?, &at(length));
            }
            if serves {
                return Ok((plan, end));
            }
        }
        Ok((nearest, n))
    }

    /// Whether a plan is not predicted to be much slower than one for these extents alone.
    fn serves(&self, plan: &Plan, own: &Plan, extents: &Extents) -> bool {
        if same_plan(plan, own) {
            return true;
        }
        let numbers = by_number(self.spec(), extents);
        let time = |plan: &Plan| plan.predict(&numbers, &self.options.compiler.profile).map_or(f64::INFINITY, |t| t.0);
        let own = time(own);
        time(plan) <= (SLOWER.0 * own).max(own + SLOWER.1)
    }

    /// Runs on inputs by name and returns the outputs in the spec's order.
    ///
    /// # Errors
    /// If the inputs do not fit the spec, or the row for their extents cannot be compiled.
    pub fn run(&self, inputs: &[Named<'_, TensorView<'_>>]) -> Result<Vec<Tensor>, Error> {
        let prepared = self.prepare(&self.extents(inputs)?)?;
        let mut outputs: Vec<OwnedOutput> =
            prepared.outputs().iter().map(|(dtype, shape)| OwnedOutput::zeros(*dtype, shape)).collect();
        let names = self.spec().outputs.iter().map(|o| o.name.as_str());
        let mut views: Vec<Named<'_, TensorViewMut<'_>>> =
            names.zip(outputs.iter_mut().map(OwnedOutput::view_mut)).collect();
        self.run_into(inputs, &mut views)?;
        drop(views);
        Ok(outputs.into_iter().map(OwnedOutput::into_tensor).collect())
    }

    /// Runs on inputs by name into the caller's outputs by name. A call whose tensors have names, types, shapes and
    /// strides of an earlier one allocates nothing.
    ///
    /// # Errors
    /// As [`Kernel::run`], and if the outputs do not fit or overlap.
    pub fn run_into(
        &self,
        inputs: &[Named<'_, TensorView<'_>>],
        outputs: &mut [Named<'_, TensorViewMut<'_>>],
    ) -> Result<(), Error> {
        self.launch(self.bind(inputs, outputs)?, |_| ())
    }

    /// As [`Kernel::run_into`], with the time that each stage took, in running order; none if they are interpreted.
    ///
    /// # Errors
    /// As [`Kernel::run_into`].
    pub fn time_stages(
        &self,
        inputs: &[Named<'_, TensorView<'_>>],
        outputs: &mut [Named<'_, TensorViewMut<'_>>],
    ) -> Result<Vec<Duration>, Error> {
        let bound = self.bind(inputs, outputs)?;
        let (mut times, mut begin) = (Vec::new(), Instant::now());
        self.launch(bound, |_| {
            let end = Instant::now();
            times.push(end - begin);
            begin = end;
        })?;
        Ok(times)
    }

    fn bind<'c, 'i, 'n, 'o>(
        &self,
        inputs: &'c [Named<'c, TensorView<'i>>],
        outputs: &'c mut [Named<'n, TensorViewMut<'o>>],
    ) -> Result<BoundArgs<'c, 'i, 'n, 'o>, Error> {
        let spec = self.spec();
        if let Some(call) = self.calls.take(|call| call.fits(spec, inputs, outputs)) {
            return Ok(bind::rebind(spec, &self.indices, call, inputs, outputs)?);
        }
        let extents = self.extents(inputs)?;
        let prepared = self.prepare(&extents)?;
        let launches = |prepared: &Prepared, homes: &Homes| match &prepared.row.code {
            Some(code) => {
                let threads = (self.pool.threads(), &self.options.compiler.profile);
                launch::launches(prepared, code, &self.functions, homes, threads)
            }
            None => Vec::new(),
        };
        Ok(bind::bind(spec, &self.indices, prepared, extents, inputs, outputs, launches)?)
    }

    fn launch(&self, mut bound: BoundArgs<'_, '_, '_, '_>, after: impl FnMut(usize)) -> Result<(), Error> {
        if bound.prepared().row.code.is_none() {
            let prepared = Arc::clone(bound.shared());
            return launch::run_interpreted(&prepared, &mut bound);
        }
        let bytes = bound.prepared().layout.scratch_bytes(self.pool.threads());
        let bytes = bytes.ok_or_else(|| BindError::TooLarge { what: "working memory".to_string() })?;
        let mut block = Block { pool: &self.scratch, bytes: self.scratch.take(bytes) };
        launch::run_code(&mut bound, &mut block.bytes, &self.pool, after)?;
        self.calls.give(bound.finish());
        Ok(())
    }
}

impl Prepared {
    /// The form it computes.
    pub fn candidate(&self) -> &Candidate {
        &self.row.candidate
    }

    /// Its stages and buffers.
    pub fn plan(&self) -> &Plan {
        &self.row.plan
    }

    /// Its sizes.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where its machine code lies; empty if it is interpreted.
    pub fn code(&self) -> &[CodeRange] {
        self.row.code.as_ref().map_or(&[], |code| code.ranges())
    }

    /// Types and shapes of the outputs, in the spec's order.
    pub fn outputs(&self) -> Vec<(DType, Vec<usize>)> {
        let mut outputs = BTreeMap::new();
        for (buffer, sizes) in self.row.plan.buffers.iter().zip(&self.layout.buffers) {
            if let Role::Output(k) = buffer.role {
                outputs.insert(k, (buffer.dtype, sizes.shape.iter().map(|e| *e as usize).collect()));
            }
        }
        outputs.into_values().collect()
    }
}

/// A block that goes back to its pool.
struct Block<'a> {
    pool: &'a ScratchPool,
    bytes: AlignedBytes,
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.bytes));
    }
}

fn same_plan(a: &Plan, b: &Plan) -> bool {
    a.buffers == b.buffers && a.shapes == b.shapes && a.stages().eq(b.stages())
}

fn dump_plan(spec: &Spec, plan: &Plan) -> String {
    let symbols: Vec<String> = spec.symbols.iter().map(|s| s.name.clone()).collect();
    plan.stages().map(|stage| attnc_plan::loops::print::text(&stage.program, &symbols)).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
