//! Makes a model's slow answers second nature.
//!
//! Small models answer better when they reason first and vote, at many times the tokens. This
//! crate samples such reasoned ("System 2") answers from a quantized GGUF model through llama.cpp,
//! keeps those on which the samples agree, and trains a LoRA adapter on *question → voted answer*
//! against the same quantized weights. The adapter is a GGUF file that any llama.cpp loads; with
//! it, the model answers directly ("System 1").
//!
//! # Where to start
//!
//! - [`distill::distill`] is the whole pipeline in one call; [`distill::Run`] is a run directory with the
//!   stages one by one. Both resume what they find finished.
//! - [`Context`] carries the caller's engine, progress and cancellation through every call.
//! - [`answer::Answerer`] answers questions: directly where the adapter is sure, by reasoning otherwise.
//! - [`preview::preview`] shows a few questions through every step of a task, and what is wrong with it.
//! - [`task`] says what is asked and how answers are read; [`datasets`] generates questions to try.
//! - [`engine`] has the seams: [`engine::Engine`] completes text, [`engine::Decoder`] is token-level
//!   inference, and [`engine::Scheduler`] makes the one of the other. Implement either to bring your own.
//! - [`report::Report`] is what a run found, [`adapter`] writes and converts adapter files, [`model`] tells
//!   the facts of model and adapter files without loading them.
//!
//! # Example
//!
//! ```no_run
//! use secondnature::Context;
//! use secondnature::datasets::{Split, generate};
//! use secondnature::distill::{Options, Setup, distill};
//! use secondnature::task::Task;
//!
//! # fn main() -> secondnature::Result<()> {
//! let setup = Setup {
//!     model: "base.gguf".into(),
//!     task: Task::load("biased-fact")?,
//!     questions: generate("biased-capitals", 200, 1, Split::Train)?,
//!     out: "run".into(),
//!     seed: 1,
//! };
//! let held_out = generate("biased-capitals", 80, 2, Split::Test)?;
//! let report = distill(&setup, &held_out, &Options::default(), &mut Context::new())?;
//! println!("{}", secondnature::report::table(&report));
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `capi` (default): the exported C functions of `include/secondnature.h`.
//! - `cli` (default): the program `secondnature`.
//! - `portable`: llama.cpp's CPU kernels for several kinds of processor, chosen at run time; for release
//!   packages (`make package`).
//!
//! With `default-features = false` a program gets the library alone, without a C symbol in it.
//!
//! # Requirements
//!
//! Rust 1.89; a C++17 compiler, CMake and libclang, with which llama.cpp is compiled once. Linux on x86-64
//! is tested. The library logs through the [`log`](https://docs.rs/log) crate, llama.cpp's lines included.
#![warn(missing_docs, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

mod cancel;
mod context;
mod error;
mod finding;
mod fs;
mod progress;
mod stage;
#[cfg(test)]
mod testing;
mod token;
mod words;

pub mod adapter;
pub mod answer;
pub mod bench;
#[cfg(feature = "capi")]
mod capi;
pub mod curate;
pub mod datasets;
pub mod demo;
pub mod distill;
pub mod engine;
pub mod evaluate;
pub mod gguf;
mod grammar;
mod kernels;
mod memory;
pub mod model;
pub mod options;
pub mod preview;
pub mod programs;
pub mod report;
mod run;
pub mod task;
mod threads;
pub mod train;
pub mod tune;
pub mod vote;

pub use cancel::Cancel;
pub use context::{Context, EngineOptions};
pub use error::{Error, Hint, Location, Naming, Reason, Result};
pub use model::ModelFile;
pub use progress::{Progress, Silent, TrainStep, Update};
pub use stage::Stage;
pub use threads::Wait;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
