//! The command line's grammar. Meaning is in `commands/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Write attention as mathematics; compile and run it on this CPU.
#[derive(Debug, Parser)]
#[command(name = "attnc", version, max_term_width = 100)]
#[command(after_help = "Exit status: 0 done, 1 the input is wrong, 2 usage, 3 internal error.")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Parse and type-check specs; every error with its place
    Check(CheckArgs),
    /// Draw the mask of a spec
    Show(ShowArgs),
    /// Show which plan is used at which sequence length
    Plan(PlanArgs),
    /// Show how the plan was derived
    Explain(ExplainArgs),
    /// Compile and run a spec
    Run(RunArgs),
    /// Measure every candidate against its prediction
    Bench(BenchArgs),
    /// Measure this machine's profile
    Probe(ProbeArgs),
}

/// Flags of plan, explain, show, run and bench.
#[derive(Debug, Args, Clone, Default)]
pub struct Common {
    /// Set a parameter or an extent
    #[arg(long, value_name = "K=V")]
    pub set: Vec<String>,
    /// Permit approximations: window, lowrank, clusters
    #[arg(long, value_name = "NAME[=V]", value_delimiter = ',')]
    pub allow: Vec<String>,
    /// Run the fastest candidate whose measured relative error is within this
    #[arg(long, value_name = "X")]
    pub budget: Option<f64>,
    /// Read inputs from a safetensors file
    #[arg(long, value_name = "FILE", conflicts_with = "random")]
    pub input: Option<PathBuf>,
    /// Draw inputs from a generator with this seed
    #[arg(long, value_name = "SEED")]
    pub random: Option<u64>,
    /// Worker threads; all of the machine's unless given
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Instruction set of the microkernels: avx512, avx2, neon or portable; the best unless given
    #[arg(long, value_name = "NAME")]
    pub isa: Option<String>,
    /// How kernels run: jit (machine code) or interpreter
    #[arg(long, value_name = "ENGINE", default_value = "jit", value_parser = ["jit", "interpreter"])]
    pub engine: String,
    /// Print one JSON object to stdout and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `attnc check`
#[derive(Debug, Args)]
#[command(after_help = "Example: attnc check ir-specs/dense/*.attn")]
pub struct CheckArgs {
    /// Spec files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Set a parameter or an extent
    #[arg(long, value_name = "K=V")]
    pub set: Vec<String>,
    /// Print one JSON object to stdout and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `attnc show`
#[derive(Debug, Args)]
#[command(after_help = "Example: attnc show ir-specs/masked/longformer.attn --n 64 --set w=8 --set g=2 --svg mask.svg")]
pub struct ShowArgs {
    /// Spec file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Sequence length to draw
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=4096))]
    pub n: Option<i64>,
    /// Write the picture to this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Flags common to several commands
    #[command(flatten)]
    pub common: Common,
}

/// `attnc plan`
#[derive(Debug, Args)]
#[command(after_help = "Example: attnc plan ir-specs/linear/linear-transformer.attn --n 16..1048576 --svg plan.svg")]
pub struct PlanArgs {
    /// Spec file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Sequence length, or a range of them
    #[arg(long, value_name = "N|A..B", default_value = "16..1048576")]
    pub n: String,
    /// Inputs by which the error of approximations is measured
    #[arg(long, value_name = "FILE")]
    pub calibrate: Option<PathBuf>,
    /// Draw predicted time against N into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print a pass's result: algebra, rewrite, extract, plan or code
    #[arg(long, value_name = "PASS")]
    pub dump_after: Vec<String>,
    /// Flags common to several commands
    #[command(flatten)]
    pub common: Common,
}

/// `attnc explain`
#[derive(Debug, Args)]
#[command(after_help = "Example: attnc explain ir-specs/linear/linear-transformer.attn --n 4096 --loops")]
pub struct ExplainArgs {
    /// Spec file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Sequence length
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub n: Option<i64>,
    /// Write the stage graph to this file
    #[arg(long, value_name = "FILE")]
    pub dot: Option<PathBuf>,
    /// Print the loop programs
    #[arg(long)]
    pub loops: bool,
    /// Print the Cranelift IR
    #[arg(long)]
    pub clif: bool,
    /// Print the machine code
    #[arg(long)]
    pub asm: bool,
    /// Flags common to several commands
    #[command(flatten)]
    pub common: Common,
}

/// `attnc run`
#[derive(Debug, Args)]
#[command(after_help = "Example: attnc run ir-specs/dense/softmax.attn --random 1 --set N=1000 --check")]
pub struct RunArgs {
    /// Spec file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Names of the inputs in the file
    #[arg(long, value_name = "NAME=TENSOR", value_delimiter = ',')]
    pub rename: Vec<String>,
    /// Write the outputs to this safetensors file
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Use this candidate rather than the cheapest
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Run so many times and report the median
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub repeat: u32,
    /// Compare with the f64 reference
    #[arg(long)]
    pub check: bool,
    /// Compare an output with a tensor of the input file
    #[arg(long, value_name = "OUT=TENSOR", value_delimiter = ',')]
    pub expect: Vec<String>,
    /// Print a pass's result: algebra, rewrite, extract, plan or code
    #[arg(long, value_name = "PASS")]
    pub dump_after: Vec<String>,
    /// Write a perf map of the machine code
    #[arg(long)]
    pub perf_map: bool,
    /// Flags common to several commands
    #[command(flatten)]
    pub common: Common,
}

/// `attnc bench`
#[derive(Debug, Args)]
#[command(after_help = "Example: attnc bench ir-specs/dense --n 512,4096 --threads 1 --json")]
pub struct BenchArgs {
    /// Spec file, or a directory of them
    #[arg(value_name = "FILE|DIR")]
    pub path: PathBuf,
    /// Sequence lengths
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "512,2048")]
    pub n: Vec<String>,
    /// Draw measured time against N into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Flags common to several commands
    #[command(flatten)]
    pub common: Common,
}

/// `attnc probe`
#[derive(Debug, Args)]
#[command(after_help = "Example: attnc probe --json")]
pub struct ProbeArgs {
    /// Write the profile here rather than to the user's cache directory
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Instruction set to measure; the best unless given
    #[arg(long, value_name = "NAME")]
    pub isa: Option<String>,
    /// Print one JSON object to stdout and nothing else
    #[arg(long)]
    pub json: bool,
}
