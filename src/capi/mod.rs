//! The C boundary: convert, call, convert. No logic.
//!
//! One file per C type; the doc comments become `include/secondnature.h`, which is the manual, so
//! they address a C programmer. Every call passes through [`entry::entry`] (calls with a status) or
//! [`catch::catch`] (all others): NULL is an error and never undefined, a panic becomes
//! `SN_STATUS_INTERNAL`, outputs are untouched on failure, and errors are objects that the caller
//! owns, not hidden thread state.
//!
//! `// SAFETY: by the header's rules` stands for the contract that every entry point has with its C
//! caller: a pointer is NULL or points to what its type says for the whole call, and nothing freed
//! is used again.
#![allow(non_camel_case_types, clippy::too_many_arguments)]

mod adapter;
mod answerer;
mod callbacks;
mod cancel;
mod catch;
mod decoder;
mod distill;
mod entry;
mod error;
mod failure;
mod figures;
mod given;
mod handle;
mod log;
mod model;
mod naming;
#[rustfmt::skip] // Generated.
mod options;
mod output;
#[cfg(test)]
mod panic_tests;
mod params;
mod preview;
mod progress;
mod questions;
mod run;
mod stage;
mod status;
mod string;
mod task;
mod text;
mod train_step;
mod tune;
mod verdict;
mod verifier;
mod version;
