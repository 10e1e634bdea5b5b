//! Any text: read, checked, printed, saturated, planned. Nothing panics, hangs, or calls itself a defect.

#![no_main]

mod common;

use attnc_algebra::{Limits, parse, print_ast};
use attnc_compiler::extents::defaults;
use attnc_compiler::{Analysis, CompileError, Options, Unobserved};
use libfuzzer_sys::fuzz_target;

fn plan(text: &str) -> Result<(), CompileError> {
    let Some((_, settings)) = common::checked(text) else { return Ok(()) };
    let mut options = Options { settings: settings.clone(), ..Options::default() };
    options.limits.nodes = 400;
    let analysis = Analysis::new(text, &options, &mut Unobserved)?;
    let extents = defaults(analysis.spec(), &settings);
    analysis.plan(&analysis.extract(&extents)?, &extents).map(|_| ())
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ast) = parse(text, &Limits { source_bytes: 4096, nesting: 40, ..Limits::default() }) {
        let printed = print_ast(&ast);
        let again = parse(&printed, &Limits::default()).expect("what is printed can be read");
        assert_eq!(print_ast(&again), printed, "printing is stable");
    }
    if let Err(error) = plan(text) {
        assert!(!error.is_internal(), "{error}");
    }
});
