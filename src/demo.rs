//! A demonstration: the embedded fixture model, distilled end to end in a minute or two.

use std::path::Path;

use crate::datasets::{Split, generate};
use crate::distill::{Options, Setup, distill};
use crate::fs::write_atomically;
use crate::report::Report;
use crate::task::Task;
use crate::train::TrainOptions;
use crate::{Context, Error, Result};

/// A llama-architecture GGUF of about a megabyte that follows a coin through several flips by
/// reasoning, and guesses when asked directly. `fixtures/README.md` says how it was made.
pub const MODEL: &[u8] = include_bytes!("../fixtures/coin-flip-tiny-q8_0.gguf");

const TRAIN_QUESTIONS: usize = 600;
const EVAL_QUESTIONS: usize = 200;

/// Distills the embedded model on coin-flip questions in `out`, resuming what is there. Nobody named
/// in a held-out question is named in a training question.
pub fn demo(out: &Path, cx: &mut Context) -> Result<Report> {
    std::fs::create_dir_all(out).map_err(Error::io("create", out))?;
    let model = out.join("coin-flip-tiny-q8_0.gguf");
    write_atomically(&model, |f| f.write_all(MODEL)).map_err(Error::io("write", &model))?;
    let setup = Setup {
        model,
        task: Task::load("coin-flip")?,
        questions: generate("coin-flip", TRAIN_QUESTIONS, 1, Split::Train)?,
        out: out.join("run"),
        seed: 1,
    };
    let eval = generate("coin-flip", EVAL_QUESTIONS, 2, Split::Test)?;
    // A model this small learns at a rate that would wreck a large one.
    let train = TrainOptions { lr: 2e-3, epochs: 16, patience: 4, ..TrainOptions::default() };
    let report = distill(&setup, &eval, &Options { train, ..Options::default() }, cx)?;
    let path = out.join("report.json");
    let json = serde_json::to_vec_pretty(&report).map_err(|e| Error::Internal(e.to_string()))?;
    write_atomically(&path, |f| f.write_all(&json)).map_err(Error::io("write", &path))?;
    Ok(report)
}
