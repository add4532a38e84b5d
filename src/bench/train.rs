//! Training steps.
//!
//! Random tokens, no shared prefixes, every row of the same length: what any other trainer can be
//! given as well. Real question sets do better, since their examples begin alike.

use std::path::Path;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::median;
use crate::gguf::{Gguf, Rows};
use crate::kernels::gemm::{ComputeDtype, Kernel, Out, PackedLhs, Rhs, View, fma_gflops, matmul};
use crate::memory::peak_rss_mb;
use crate::model::spec::Module;
use crate::threads::{Team, Wait};
use crate::train::adamw::{AdamW, Moments};
use crate::train::batch::{Batch, Example};
use crate::train::clock::{Seconds, Work};
use crate::train::model::{Tape, Transformer};
use crate::train::{Recompute, TrainOptions, layout, recomputes};
use crate::{Cancel, Error, Result};

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
    /// Examples to train on instead of random rows, `rows` a step; each is gone through once.
    #[serde(skip)]
    pub examples: Vec<Example>,
    /// Whether activations are computed again in the backward pass.
    pub recompute: Recompute,
    /// What products multiply; what this processor is faster at by default.
    pub compute_dtype: Option<ComputeDtype>,
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
            examples: Vec::new(),
            recompute: Recompute::Never,
            compute_dtype: None,
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
    /// The instructions that products used.
    pub kernel: &'static str,
    /// Threads used.
    pub threads_used: usize,
    /// Tokens fed per second, forward, backward and optimiser: of the median step on random rows, of
    /// all steps on examples.
    pub tokens_per_s: f64,
    /// Examples per second, likewise.
    pub examples_per_s: f64,
    /// Seconds of every step.
    pub step_seconds: Vec<f64>,
    /// Share of the measured steps' time by kind of work.
    pub shares: Seconds,
    /// Linear parameters of the model.
    pub linear_parameters: usize,
    /// Useful work of the linear layers: 4 × linear parameters × tokens per second, in 10⁹ FLOPS.
    /// Forward and gradient of the input; a frozen weight has no gradient of its own.
    pub linear_gflops: f64,
    /// What the same machine reaches in the same process, in 10⁹ FLOPS: a loop of nothing but
    /// fused multiply-adds, and products of as many tokens with one of the model's matrices.
    pub machine: Machine,
    /// `linear_gflops` over the multiply-add loop's.
    pub utilisation: f64,
    /// Peak resident memory of the process, the file's mapped pages included, in 10⁶ bytes.
    pub peak_rss_mb: f64,
    /// Loss of the first and the last step: that it falls shows that the work was done.
    pub loss: [f64; 2],
}

/// What the machine reaches, in 10⁹ FLOPS.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Machine {
    /// Fused multiply-adds on registers, all threads.
    pub fma: f64,
    /// y = W·x with the widest linear layer, read as it is stored.
    pub forward: f64,
    /// dx = Wᵀ·dy with the same.
    pub backward: f64,
}

impl std::fmt::Display for TrainFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TrainBench { rows, row_tokens, rank, .. } = self.options;
        writeln!(
            f,
            "{rows}×{row_tokens} tokens, rank {rank}, {} threads, {}: {:.0} tokens/s, {:.1} examples/s, peak {:.0} MB, loss {:.3} → {:.3}",
            self.threads_used,
            self.kernel,
            self.tokens_per_s,
            self.examples_per_s,
            self.peak_rss_mb,
            self.loss[0],
            self.loss[1]
        )?;
        let Seconds { linear, attention, elementwise, output, optimiser } = self.shares;
        writeln!(
            f,
            "time: linear {:.0}%, attention {:.0}%, elementwise {:.0}%, output {:.0}%, optimiser {:.0}%",
            100.0 * linear,
            100.0 * attention,
            100.0 * elementwise,
            100.0 * output,
            100.0 * optimiser
        )?;
        let Machine { fma, forward, backward } = self.machine;
        writeln!(
            f,
            "linear layers at {:.0} GFLOPS of {fma:.0} ({:.0}%); one product alone: forward {forward:.0}, backward {backward:.0}",
            self.linear_gflops,
            100.0 * self.utilisation
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
    let model = Transformer::open(&Gguf::open(model)?)?;
    let (recompute, compute_dtype, max_tokens) =
        (options.recompute, options.compute_dtype, rows * row_tokens);
    let options_of_training =
        TrainOptions { rank, recompute, compute_dtype, max_tokens, ..TrainOptions::default() };
    let kernel = options_of_training.kernel()?;
    let layout = layout(&model, &options_of_training)?;
    let real = options.examples.chunks(rows).map(|part| Batch::pack(part, true)).collect::<Vec<_>>();
    let random = if real.is_empty() { vec![random_rows(&model, options); steps] } else { Vec::new() };
    let (batches, of_examples) =
        if real.is_empty() { (&random, rows * steps) } else { (&real, options.examples.len()) };
    let team = Team::new(options.threads, "train", Wait::Spin)?;
    let mut params = layout.init(&model.spec, 0);
    let mut moments = Moments::new(layout.len());
    let mut grads = vec![0.0; layout.len()];
    let mut tape = Tape::new(recomputes(&model, &options_of_training), kernel);
    let mut step = |tape: &mut Tape, batch: &Batch| -> Result<(f64, f64)> {
        let begin = Instant::now();
        let weight = 1.0 / batch.target_count() as f32;
        grads.fill(0.0);
        let loss = model.loss_and_gradient(&layout, &params, batch, weight, tape, &mut grads)?;
        AdamW::default().step(&mut params, &grads, 1.0, 1e-4, &layout.groups(1.0), &mut moments);
        tape.clock().lap(Work::Optimiser);
        Ok((begin.elapsed().as_secs_f64(), loss))
    };
    let measured = team.enter(|| -> Result<Vec<(f64, f64)>> {
        let first = step(&mut tape, &batches[0])?;
        tape.clock().seconds = Seconds::default();
        let rest = batches.iter().map(|batch| cancel.check().and_then(|()| step(&mut tape, batch)));
        std::iter::once(Ok(first)).chain(rest).collect()
    })?;
    let shares = tape.clock().seconds.shares();
    let peak_rss_mb = peak_rss_mb(); // Before the products below take memory of their own.
    let machine = team.enter(|| machine(&model, kernel, rows * row_tokens));
    let step_seconds: Vec<f64> = measured[1..].iter().map(|(seconds, _)| *seconds).collect();
    // Random steps are alike, so that their median says most; real ones are not.
    let seconds = match real.is_empty() {
        true => median(&step_seconds) * steps as f64,
        false => step_seconds.iter().sum(),
    };
    let fed = batches.iter().map(|b| b.tokens_unshared).sum::<usize>() as f64;
    let tokens_per_s = fed / seconds;
    let linear_parameters = model.spec.linear_parameters();
    let linear_gflops = 4.0 * linear_parameters as f64 * tokens_per_s / 1e9;
    Ok(TrainFigures {
        options: options.clone(),
        kernel: kernel.name,
        threads_used: team.threads(),
        tokens_per_s,
        examples_per_s: of_examples as f64 / seconds,
        shares,
        linear_parameters,
        linear_gflops,
        machine,
        utilisation: linear_gflops / machine.fma,
        step_seconds,
        peak_rss_mb,
        loss: [measured[0].1, measured[measured.len() - 1].1],
    })
}

/// Rows of random tokens, none of which begin alike.
fn random_rows(model: &Transformer, options: &TrainBench) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut tokens = |n: usize| (0..n).map(|_| rng.random_range(0..model.spec.n_vocab as i32)).collect();
    // The last target is predicted, not fed.
    let prompt_tokens = options.row_tokens + 1 - options.target_tokens;
    let examples: Vec<Example> = (0..options.rows)
        .map(|_| Example { prompt: tokens(prompt_tokens), target: tokens(options.target_tokens) })
        .collect();
    Batch::pack(&examples, false)
}

/// What this machine reaches on the model's widest linear layer, for `n` tokens.
fn machine(model: &Transformer, kernel: &'static Kernel, n: usize) -> Machine {
    let widest = model.spec.modules().iter().max_by_key(|m| model.spec.shape(**m).1);
    let weight: Rows = model.weight(0, *widest.unwrap_or(&Module::Down));
    // All the same, they would take less power, and a processor that saves power is faster.
    let unlike = |i: usize| (i.wrapping_mul(2_654_435_761) >> 8) as u8 as f32 / 256.0 - 0.5;
    let (x, mut y): (Vec<f32>, Vec<f32>) =
        ((0..n * weight.cols).map(unlike).collect(), vec![0.0; n * weight.rows]);
    let (mut left, flop) = (PackedLhs::new(kernel), (2 * n * weight.rows * weight.cols) as f64);
    left.pack(View::new(&x, n, weight.cols), 1.0);
    let rate = |work: &mut dyn FnMut()| {
        let seconds: Vec<f64> = (0..7)
            .map(|_| {
                let begin = Instant::now();
                work();
                begin.elapsed().as_secs_f64()
            })
            .collect();
        flop / median(&seconds) / 1e9
    };
    let forward =
        rate(&mut || matmul(Out::new(&mut y, n, weight.rows), &[(&left, Rhs::Forward(weight))], false));
    left.pack(View::new(&y, n, weight.rows), 1.0);
    let mut dx = x.clone();
    let backward =
        rate(&mut || matmul(Out::new(&mut dx, n, weight.cols), &[(&left, Rhs::Backward(weight))], false));
    Machine { fma: fma_gflops(kernel), forward, backward }
}
