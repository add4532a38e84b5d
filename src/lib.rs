//! Makes a model's slow answers second nature.
#![warn(missing_docs, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

mod error;
mod progress;

pub mod adapter;
pub mod answer;
pub mod bench;
mod capi;
pub mod curate;
pub mod demo;
pub mod distill;
pub mod engine;
pub mod evaluate;
pub mod inspect;
mod model;
pub mod report;
pub mod run;
pub mod task;
pub mod tensor;
pub mod train;
pub mod vote;

pub use error::{Error, Result};
pub use model::Model;
pub use progress::{Cancel, Progress, Silent, Stage, Update};
