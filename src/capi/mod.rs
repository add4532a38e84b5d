//! The C boundary: convert, call, convert. No logic.
//!
//! One file per C noun; the doc comments become `include/secondnature.h`, which is the manual, so
//! they speak to a C programmer. Every entry point passes through [`boundary::entry`]: NULL is an
//! error and never undefined, a panic becomes `SN_STATUS_INTERNAL`, outputs are untouched on
//! failure, and errors are objects that the caller owns, not hidden thread state.
//!
//! `// SAFETY: by the header's rules` stands for the contract that every entry point has with its C
//! caller: a pointer is NULL or points to what its type says for the whole call, and nothing freed
//! is used again.
#![allow(non_camel_case_types, clippy::too_many_arguments)]

mod adapter;
mod answerer;
mod boundary;
mod cancel;
mod curate;
mod decoder;
mod distill;
mod error;
mod evaluate;
mod log;
mod model;
mod naming;
mod params;
mod progress;
mod questions;
mod run;
mod sampling;
mod status;
mod step;
mod string;
mod task;
mod testing;
mod train;
mod verdict;
mod verifier;
mod version;
