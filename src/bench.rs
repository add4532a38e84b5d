//! Measures this machine on the work that dominates, in the figures that peers report.
//!
//! Random tokens, no shared prefixes, every row of the same length: what any other trainer can be
//! given as well. Real question sets do better, since their examples begin alike.

use std::path::Path;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::tensor::Gguf;
use crate::train::adamw::{AdamW, Moments};
use crate::train::batch::{Batch, Example};
use crate::train::lora::Layout;
use crate::train::model::{Model, Tape};
use crate::train::peak_rss_mb;
use crate::train::spec::Module;
use crate::{Cancel, Error, Result};

/// How much memory a step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// All rows at once.
    Fast,
    /// A few rows at a time, their gradients added up: the same step in less memory.
    Lean,
}

/// Tokens computed at once under [`Memory::Lean`].
const LEAN_TOKENS: usize = 256;

/// What to measure of training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainBench {
    /// Examples per optimiser step.
    pub rows: usize,
    /// Tokens fed per example.
    pub row_tokens: usize,
    /// Tokens at the end of each example that carry a loss, as an answer does.
    pub target_tokens: usize,
    /// Rank of the adapter, on all seven linear modules.
    pub rank: usize,
    /// Steps measured, after one that is not.
    pub steps: usize,
    /// How much memory a step may take.
    pub memory: Memory,
    /// Threads; all cores by default.
    pub threads: Option<u32>,
}

impl Default for TrainBench {
    fn default() -> Self {
        TrainBench {
            rows: 16,
            row_tokens: 64,
            target_tokens: 4,
            rank: 16,
            steps: 5,
            memory: Memory::Fast,
            threads: None,
        }
    }
}

/// What was measured of training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainFigures {
    /// What was asked for.
    #[serde(flatten)]
    pub options: TrainBench,
    /// Threads used.
    pub threads_used: usize,
    /// Tokens fed per second, forward, backward and optimiser, of the median step.
    pub tokens_per_s: f64,
    /// Examples per second of the median step.
    pub examples_per_s: f64,
    /// Seconds of every step.
    pub step_seconds: Vec<f64>,
    /// Peak resident memory of the process, the file's mapped pages included, in 10⁶ bytes.
    pub peak_rss_mb: f64,
    /// Loss of the first and the last step: that it falls shows that the work was done.
    pub loss: [f64; 2],
}

impl std::fmt::Display for TrainFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TrainBench { rows, row_tokens, rank, .. } = self.options;
        writeln!(
            f,
            "{rows}×{row_tokens} tokens, rank {rank}, {} threads: {:.0} tokens/s, {:.1} examples/s, peak {:.0} MB, loss {:.3} → {:.3}",
            self.threads_used,
            self.tokens_per_s,
            self.examples_per_s,
            self.peak_rss_mb,
            self.loss[0],
            self.loss[1]
        )
    }
}

/// Measures training steps of `model`.
///
/// # Errors
/// As of opening a model; [`Error::Input`] for sizes that make no row; [`Error::Cancelled`] within
/// one step.
pub fn train(model: &Path, options: &TrainBench, cancel: &Cancel) -> Result<TrainFigures> {
    let TrainBench { rows, row_tokens, target_tokens, rank, steps, .. } = *options;
    if rows == 0 || steps == 0 || rank == 0 || target_tokens == 0 || row_tokens < target_tokens {
        return Err(Error::input(
            "bench train",
            format!(
                "{rows} rows of {row_tokens} tokens, {target_tokens} with a loss, rank {rank}, {steps} steps: each must be at least 1, and no row has more losses than tokens"
            ),
        ));
    }
    let model = Model::open(&Gguf::open(model)?)?;
    let layout = Layout::new(&model.spec, rank, 2.0 * rank as f32, &Module::ALL);
    let batches = batches(&model, options);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.map_or(0, |threads| threads as usize))
        .build()
        .map_err(|error| Error::Internal(format!("cannot start threads: {error}")))?;
    let mut params = layout.init(&model.spec, 0);
    let mut moments = Moments::new(layout.len());
    let mut grads = vec![0.0; layout.len()];
    let mut tape = Tape::default();
    let mut step = || -> Result<(f64, f64)> {
        let begin = Instant::now();
        let weight = 1.0 / (rows * target_tokens) as f32;
        grads.fill(0.0);
        let mut loss = 0.0;
        for batch in &batches {
            loss += model.loss_and_gradient(&layout, &params, batch, weight, &mut tape, &mut grads)?;
        }
        AdamW::default().step(&mut params, &grads, 1.0, 1e-4, &mut moments);
        Ok((begin.elapsed().as_secs_f64(), loss))
    };
    let measured = pool
        .install(|| (0..=steps).map(|_| cancel.check().and_then(|()| step())).collect::<Result<Vec<_>>>())?;
    let step_seconds: Vec<f64> = measured[1..].iter().map(|(seconds, _)| *seconds).collect();
    let seconds = median(&step_seconds);
    Ok(TrainFigures {
        options: options.clone(),
        threads_used: pool.current_num_threads(),
        tokens_per_s: (rows * row_tokens) as f64 / seconds,
        examples_per_s: rows as f64 / seconds,
        step_seconds,
        peak_rss_mb: peak_rss_mb(),
        loss: [measured[0].1, measured[steps].1],
    })
}

fn batches(model: &Model, options: &TrainBench) -> Vec<Batch> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut tokens = |n: usize| (0..n).map(|_| rng.random_range(0..model.spec.n_vocab as i32)).collect();
    // The last target is predicted, not fed.
    let prompt_tokens = options.row_tokens + 1 - options.target_tokens;
    let examples: Vec<Example> = (0..options.rows)
        .map(|_| Example { prompt: tokens(prompt_tokens), target: tokens(options.target_tokens) })
        .collect();
    let rows_at_once = match options.memory {
        Memory::Fast => options.rows,
        Memory::Lean => (LEAN_TOKENS / options.row_tokens).max(1),
    };
    examples.chunks(rows_at_once).map(|rows| Batch::pack(rows, false)).collect()
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
