//! The instruction-set flags that generated code wants.

use cranelift_codegen::settings::{self, Configurable, Flags, SetError};

/// The shared flags. Without Cranelift's mid-end: values are hoisted and shared
/// by the lowering, so that over the corpus of specs it made no kernel faster
/// and doubled the time of compilation (1.7–3 ms instead of 3–6 for most, on an
/// x86-64 server core, November 2026). Without the IR verifier in release
/// builds; the tests run it.
pub fn flags() -> Result<Flags, SetError> {
    let mut builder = settings::builder();
    for (name, value) in [
        ("opt_level", "none"),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        ("unwind_info", "false"),
    ] {
        builder.set(name, value)?;
    }
    Ok(Flags::new(builder))
}
