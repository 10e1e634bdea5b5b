//! The perf map: a text file by which `perf` names generated code.

use std::io::Write;

use super::memory::CodeRange;

/// Appends the ranges to `/tmp/perf-<pid>.map`. Failure to write is not an error of the kernel.
pub fn append(spec: &str, ranges: &[CodeRange]) {
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) else { return };
    let lines: String =
        ranges.iter().map(|r| format!("{:x} {:x} attnc:{spec}:{}\n", r.address, r.length, r.name)).collect();
    // Ignored: profilers lose names, nothing else.
    let _ = file.write_all(lines.as_bytes());
}
