//! The C boundary: convert, call, convert. No logic.
//!
//! One file per C noun; the doc comments become `include/secondnature.h`, which is the manual, so
//! they speak to a C programmer. Every entry point passes through [`boundary::entry`]: NULL is an
//! error and never undefined, a panic becomes `SN_STATUS_INTERNAL`, outputs are untouched on
//! failure, and errors are objects that the caller owns, not hidden thread state.
#![allow(non_camel_case_types)]

mod boundary;
mod cancel;
mod distill;
mod error;
mod model;
mod progress;
mod status;
mod string;
mod version;

pub use cancel::*;
pub use distill::*;
pub use error::*;
pub use model::*;
pub use progress::*;
pub use status::*;
pub use string::*;
pub use version::*;
