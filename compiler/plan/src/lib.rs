//! Placeholder head, replaced as the crate is written.
#![forbid(unsafe_code)]
