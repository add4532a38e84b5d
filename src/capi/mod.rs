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
#![allow(non_camel_case_types)]

mod boundary;
mod cancel;
mod decoder;
mod distill;
mod error;
mod log;
mod model;
mod params;
mod progress;
mod status;
mod string;
mod verifier;
mod version;
