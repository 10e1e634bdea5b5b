//! The instruction-set flags that generated code wants.

use cranelift_codegen::settings::{self, Configurable, Flags, SetError};

/// The shared flags: optimised, without the checks of untrusted code (the
/// verifier has proved every access), and without the IR verifier, which the
/// tests run.
pub fn flags() -> Result<Flags, SetError> {
    let mut builder = settings::builder();
    for (name, value) in [
        ("opt_level", "speed"),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        ("unwind_info", "false"),
        ("enable_alias_analysis", "true"),
    ] {
        builder.set(name, value)?;
    }
    Ok(Flags::new(builder))
}
