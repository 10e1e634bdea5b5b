//! The `attnc` command line: converts arguments and files, calls the engine, prints.
//!
//! One file per command under `commands/`; no logic of compilation or running lives here. Read `args.rs` first.
#![forbid(unsafe_code)]

mod accuracy;
mod args;
mod commands;
mod failure;
mod inputs;
mod mask;
mod picture;
mod progress;
mod reference;
mod session;
mod table;
mod tensorfile;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use failure::Failure;

fn main() -> ExitCode {
    // clap prints usage errors and leaves with 2, help and version with 0.
    let arguments = Arguments::parse();
    let json = wants_json(&arguments.command);
    let outcome = std::panic::catch_unwind(|| run(&arguments.command))
        .unwrap_or_else(|_| Err(Failure::Internal("a panic, reported above".to_string())));
    let (text, failure) = match outcome {
        Ok(text) => (text, None),
        Err(failure) => {
            report(failure.to_string().trim_end());
            let text = match &failure {
                Failure::Report { stdout, .. } => stdout.clone(),
                other if json => format!("{}\n", serde_json::json!({ "error": other.to_string() })),
                _ => String::new(),
            };
            (text, Some(failure))
        }
    };
    let unwritten = print(&text).err().map(|error| {
        let failure = Failure::Internal(format!("standard output cannot be written: {error}"));
        report(&failure.to_string());
        failure
    });
    failure.or(unwritten).map_or(ExitCode::SUCCESS, |failure| ExitCode::from(failure.status()))
}

fn run(command: &Command) -> Result<String, Failure> {
    match command {
        Command::Check(args) => commands::check::run(args),
        Command::Show(args) => commands::show::run(args),
        Command::Plan(args) => commands::plan::run(args),
        Command::Explain(args) => commands::explain::run(args),
        Command::Run(args) => commands::run::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Probe(args) => commands::probe::run(args),
    }
}

fn wants_json(command: &Command) -> bool {
    match command {
        Command::Check(args) => args.json,
        Command::Show(args) => args.common.json,
        Command::Plan(args) => args.common.json,
        Command::Explain(args) => args.common.json,
        Command::Run(args) => args.common.json,
        Command::Bench(args) => args.common.json,
        Command::Probe(args) => args.json,
    }
}

/// Prints to stdout; a closed pipe is the reader's choice, not an error.
fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a line to stderr. Where that cannot be written nobody is there to be told.
fn report(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
