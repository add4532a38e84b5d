//! Makes a model's slow answers second nature.
//!
//! Small models answer better when they reason first and vote, at many times the tokens. This
//! crate samples such reasoned ("System 2") answers from a quantized GGUF model through llama.cpp,
//! keeps those on which the samples agree, and trains a LoRA adapter on *question → voted answer*
//! against the same quantized weights. The adapter is a GGUF file that any llama.cpp loads; with
//! it, the model answers directly ("System 1").
//!
//! [`distill::distill`] is the whole pipeline in one call, [`distill::Run`] its stages one by one,
//! [`answer::Answerer`] answers questions with the result. The rooms below them stand alone:
//! [`task`] and [`vote`] are pure, [`engine`] completes text, [`train`] trains.
//!
//! ```no_run
//! use secondnature::distill::{Options, Setup, distill};
//! use secondnature::datasets::{Split, generate};
//! use secondnature::task::Task;
//! use secondnature::Context;
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
#![warn(missing_docs, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

mod cancel;
mod error;
mod fs;
mod progress;
mod stage;
#[cfg(test)]
mod testing;
mod token;

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
pub mod report;
mod run;
pub mod task;
mod threads;
pub mod train;
pub mod vote;

pub use cancel::Cancel;
pub use distill::Context;
pub use error::{Error, Hint, Location, Naming, Reason, Result};
pub use model::ModelFile;
pub use progress::{Progress, Silent, TrainStep, Update};
pub use stage::Stage;
pub use threads::Wait;
