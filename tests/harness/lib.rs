//! What the project's tests share: files of sections and blessing, the corpus of specs, drawn inputs in awkward
//! layouts, engines to run them on, comparison with the reference, and a generator of random specs.
//!
//! Only tests depend on it. Read `sections` for textual tests and `engines` for numerical ones.
#![forbid(unsafe_code)]

pub mod bless;
pub mod repository;
pub mod sections;
pub mod source;
pub mod tolerance;
