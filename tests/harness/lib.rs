//! What the project's tests share: files of sections and blessing, the corpus of specs, tensors in awkward layouts,
//! trials of a spec on every engine against the reference, and a generator of random specs.
//!
//! Only tests depend on it. Read `sections` for textual tests and `trial` for numerical ones.
#![forbid(unsafe_code)]

pub mod accuracy;
pub mod bless;
pub mod corpus;
pub mod disguise;
pub mod padded;
pub mod random;
pub mod repository;
pub mod rounded;
pub mod sections;
pub mod source;
pub mod tolerance;
pub mod trial;
