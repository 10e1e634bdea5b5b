//! The machine profile on disk, and how it is measured.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attnc_compiler::{MachineProfile, MemoryLevel};
use attnc_kernels::{Isa, KernelTable};

use crate::error::HostError;
use crate::jit::isa::choose_isa;
use crate::jit::measure::{self, median_ns};
use crate::threads::{Tasks, ThreadPool};

/// Why a stored profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileFileError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not a profile.
    #[error("{path}: {message}")]
    Content {
        /// Where.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// There is no directory for it.
    #[error("no cache directory is known: set XDG_CACHE_HOME or HOME")]
    NoDirectory,
}

/// Where the profile of this user's machine is kept: `attnc/profile.toml` in the user's cache directory.
pub fn default_path() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("attnc").join("profile.toml"))
}

/// The stored profile; `None` if there is none.
///
/// # Errors
/// If there is one that cannot be used.
pub fn load() -> Result<Option<MachineProfile>, ProfileFileError> {
    let Some(path) = default_path() else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => MachineProfile::from_toml(&text)
            .map(Some)
            .map_err(|e| ProfileFileError::Content { path, message: e.to_string() }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ProfileFileError::File { path, error }),
    }
}

/// Writes a profile; to [`default_path`] unless told otherwise. Returns where.
///
/// # Errors
/// If there is no place for it or it cannot be written.
pub fn store(profile: &MachineProfile, path: Option<&Path>) -> Result<PathBuf, ProfileFileError> {
    let path = path.map(Path::to_path_buf).or_else(default_path).ok_or(ProfileFileError::NoDirectory)?;
    let file = |error| ProfileFileError::File { path: path.clone(), error };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(file)?;
    }
    std::fs::write(&path, profile.to_toml()).map_err(file)?;
    Ok(path)
}

/// What each figure may take; all of them stay well below five seconds.
const BUDGET: Duration = Duration::from_millis(150);

/// Measures this machine with the microkernels of an instruction set, the best if `None`, in less than five seconds.
/// `step` is called after each of [`PROBE_STEPS`] measurements.
///
/// # Errors
/// If this CPU lacks the instruction set.
pub fn probe(isa: Option<Isa>, threads: usize, step: impl FnMut()) -> Result<MachineProfile, HostError> {
    let isa = choose_isa(isa)?;
    let table = attnc_kernels::table(isa).ok_or_else(|| HostError::no_isa(isa))?;
    Ok(measure_all(isa.name(), table, threads, step))
}

fn measure_all(name: &str, table: &KernelTable, threads: usize, mut step: impl FnMut()) -> MachineProfile {
    let mut figure = |value: f64| {
        step();
        value
    };
    let microkernel_call_ns = measure::microkernel_call_ns(table, BUDGET);
    MachineProfile {
        name: name.to_string(),
        threads: threads as u32,
        thread_gain: figure(thread_gain(table, threads)),
        product_f32_gflops: figure(measure::product_f32_gflops(table, BUDGET)),
        product_f64_gflops: figure(measure::product_f64_gflops(table, BUDGET)),
        product_bf16_gflops: figure(measure::product_bf16_gflops(table, BUDGET)),
        exp_ns: figure(measure::exp_ns(table, BUDGET)),
        pointwise_ns: figure(pointwise_ns()),
        scalar_ns: figure(measure::scalar_ns(table, BUDGET)),
        gather_ns: figure(gather_ns()),
        // A row of a pass is some loop control: a fraction of a call.
        row_ns: figure(microkernel_call_ns / 10.0),
        // A tile is a handful of microkernel calls and their loop control.
        tile_ns: figure(5.0 * microkernel_call_ns),
        // A stage's buffers and sizes are looked up, and its code and scratch are cold.
        call_ns: figure(6.0 * microkernel_call_ns),
        task_ns: figure((launch_ns(threads, threads as i64) / threads as f64).max(1.0)),
        levels: LEVELS.iter().map(|bytes| level(*bytes, &mut figure)).collect(),
    }
}

/// Number of measurements of [`probe`].
pub const PROBE_STEPS: u64 = 12 + LEVELS.len() as u64;

/// Working sets whose streaming speed is measured: one per level of the memory hierarchy.
const LEVELS: [u64; 4] = [32 << 10, 2 << 20, 32 << 20, 1 << 60];

fn level(bytes: u64, figure: &mut impl FnMut(f64) -> f64) -> MemoryLevel {
    MemoryLevel { bytes, gbytes_per_s: figure(stream_gbytes_per_s((bytes as usize).min(256 << 20) / 2)) }
}

fn pointwise_ns() -> f64 {
    let source: Vec<f32> = (0..2048).map(|i| i as f32).collect();
    let mut target = vec![0f32; source.len()];
    let ns = median_ns(BUDGET, || {
        for (t, s) in target.iter_mut().zip(&source) {
            *t = *t * 0.5 + *s;
        }
        black_box(&mut target);
    });
    // Two loads, a multiply-add and a store.
    ns / (4 * source.len()) as f64
}

fn gather_ns() -> f64 {
    let elements = 1usize << 16;
    let source: Vec<f32> = (0..elements).map(|i| i as f32).collect();
    let index: Vec<u32> = (0..4096u32).map(|i| i.wrapping_mul(2_654_435_761) % elements as u32).collect();
    let mut target = vec![0f32; index.len()];
    let ns = median_ns(BUDGET, || {
        for (t, i) in target.iter_mut().zip(&index) {
            *t = source[*i as usize];
        }
        black_box(&mut target);
    });
    ns / index.len() as f64
}

fn stream_gbytes_per_s(bytes: usize) -> f64 {
    let words = vec![1u64; bytes / 8];
    let ns = median_ns(BUDGET, || {
        let mut sums = [0u64; 8];
        for chunk in words.chunks_exact(8) {
            for (sum, word) in sums.iter_mut().zip(chunk) {
                *sum = sum.wrapping_add(*word);
            }
        }
        black_box(sums);
    });
    bytes as f64 / ns
}

/// Tasks that do nothing.
struct Idle;

impl Tasks for Idle {
    fn run(&self, _: usize, task: i64) {
        black_box(task);
    }
}

/// Tasks of tile products that take some 0.1 ms.
struct Products<'a>(&'a KernelTable);

impl Tasks for Products<'_> {
    fn run(&self, _: usize, _: i64) {
        measure::products_f32(self.0, 40);
    }
}

/// What each further thread adds; 1 if there is none.
fn thread_gain(table: &KernelTable, threads: usize) -> f64 {
    if threads < 2 {
        return 1.0;
    }
    let pool = ThreadPool::new(threads);
    let time = |tasks: usize| {
        median_ns(BUDGET, || {
            // Products do not panic.
            let _ = pool.run(&Products(table), tasks as i64, threads);
        })
    };
    let speedup = threads as f64 * time(1) / time(threads);
    ((speedup - 1.0) / (threads - 1) as f64).clamp(0.01, 1.0)
}

fn launch_ns(threads: usize, tasks: i64) -> f64 {
    let pool = ThreadPool::new(threads);
    median_ns(BUDGET, || {
        // Idle tasks do not panic.
        let _ = pool.run(&Idle, tasks, threads);
    })
}
