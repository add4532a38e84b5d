//! Trains a LoRA adapter on short answers, exactly and on the quantized weights themselves.
//!
//! Why not ggml graphs: the backward products want every weight twice, as stored and transposed,
//! and ggml has no transposed quantized product, so both copies would be expanded to BF16 first.
//! Packing panels straight from the file (`kernels::gemm`) needs no copy at all, stays in
//! `f32`, and sums base and adapter in one pass. Everything between the products is a handful of
//! loops, each beside its derivative in `ops`.
//!
//! The loss is the mean cross-entropy over the answer tokens and the end of turn of the examples of
//! one optimiser step; the prompt carries no loss. The adapter is determined by the options and the
//! examples, whatever the number of threads: interrupted and resumed, training ends with the same
//! bytes.

pub(crate) mod adamw;
pub(crate) mod batch;
mod checkpoint;
pub(crate) mod clock;
mod layer;
pub(crate) mod lora;
pub(crate) mod model;
pub(crate) mod ops;
mod options;
mod summary;

use std::path::Path;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use adamw::{AdamW, Moments, global_norm};
use batch::{Batch, Example};
use checkpoint::{Checkpoint, TrainingCursor};
use lora::{Layout, LoraWeights};
use model::{Tape, Transformer};
use ops::linear::Dropout;
pub use options::{AdapterDtype, Recompute, Schedule, TrainOptions};

pub use summary::Training;

pub use crate::kernels::gemm::ComputeDtype;
use crate::kernels::gemm::Kernel;

use crate::kernels::splitmix::splitmix64;
use crate::threads::Team;
use crate::{Cancel, Error, Hint, Progress, Result, Stage, TrainStep, Update};

/// The outcome of training: the adapter and how it came about.
#[derive(Debug)]
pub struct Trained {
    /// The adapter with the lowest held-out loss (the last one without held-out examples).
    pub adapter: LoraWeights,
    /// Figures for the report.
    pub summary: Training,
}

/// Trains on `examples`, choosing the best moment by the loss on `held_out`. Begins with the adapter
/// `start`, or a fresh one. Resumes from, and saves to, `dir/checkpoint.bin`.
///
/// # Errors
/// [`Error::Training`] when there is nothing to train on or the loss stops being a number;
/// [`Error::Cancelled`] within one optimiser step of the request, with the checkpoint saved.
#[allow(clippy::too_many_arguments)]
pub fn train(
    model: &Transformer,
    examples: &[Example],
    held_out: &[Example],
    start: Option<Vec<f32>>,
    options: &TrainOptions,
    dir: &Path,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Trained> {
    options.check()?;
    check_examples(model, examples.iter().chain(held_out))?;
    if examples.is_empty() {
        return Err(Error::Training("there are no examples to train on".into()));
    }
    Team::new(options.threads, "train", options.wait)?
        .enter(|| Trainer::start(model, examples, held_out, start, options, dir)?.run(progress, cancel))
}

fn check_examples<'a>(model: &Transformer, examples: impl Iterator<Item = &'a Example>) -> Result<()> {
    for example in examples {
        let len = example.prompt.len() + example.target.len();
        if example.prompt.is_empty() || example.target.is_empty() {
            return Err(Error::Training("an example has no prompt or no answer".into()));
        }
        if len > model.spec.n_ctx {
            return Err(Error::training(format!(
                "an example has {len} tokens, the model was trained for {}; shorten the question",
                model.spec.n_ctx
            )));
        }
    }
    Ok(())
}

/// A few hundred short answers are learned within one epoch and overlearned in the next, so the best
/// moment to stop may be between.
const VALIDATIONS_PER_EPOCH: usize = 2;

/// Whether the held-out loss is measured after `step` steps.
fn validated_after(step: u64, per_epoch: usize) -> bool {
    let within = step as usize % per_epoch;
    within == 0 || (1..VALIDATIONS_PER_EPOCH).any(|part| within == per_epoch * part / VALIDATIONS_PER_EPOCH)
}

/// The pairs that `options` ask of `model`.
pub fn layout(model: &Transformer, options: &TrainOptions) -> Result<Layout> {
    let layout = Layout::new(&model.spec, options.rank, options.effective_alpha(), &options.modules);
    if layout.is_empty() {
        let known: Vec<_> = model.spec.modules().iter().map(|m| m.gguf_name()).collect();
        return Err(Error::field(
            "modules",
            format!("the model has none of them; it has {}", known.join(", ")),
        ));
    }
    Ok(layout)
}

/// Whether activations are recomputed, which may depend on the machine.
pub(crate) fn recomputes(model: &Transformer, options: &TrainOptions) -> bool {
    match options.recompute {
        Recompute::Never => false,
        Recompute::Always => true,
        Recompute::Auto => {
            let needed = model.spec.activation_bytes(options.rank) * options.max_tokens as u64;
            crate::memory::available_memory().is_some_and(|free| needed > free / 2)
        }
    }
}

const SAVE_EVERY: Duration = Duration::from_secs(30);

struct Trainer<'a> {
    model: &'a Transformer,
    examples: &'a [Example],
    held_out: &'a [Example],
    options: &'a TrainOptions,
    layout: Layout,
    state: Checkpoint,
    file: std::path::PathBuf,
    tape: Tape,
    grads: Vec<f32>,
}

impl<'a> Trainer<'a> {
    fn start(
        model: &'a Transformer,
        examples: &'a [Example],
        held_out: &'a [Example],
        start: Option<Vec<f32>>,
        options: &'a TrainOptions,
        dir: &Path,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let layout = layout(model, options)?;
        let kernel = options.kernel()?;
        // Neither changes the parameters by a bit, so a run that resumes may change both.
        let determining =
            TrainOptions { threads: None, adapter_dtype: AdapterDtype::default(), ..options.clone() };
        let identity = serde_json::to_vec(&(
            &determining,
            examples,
            held_out,
            &start,
            &model.spec.arch.name,
            layout.len(),
        ))
        .map_err(|e| Error::Internal(e.to_string()))?;
        let identity = crate::fs::sha256(&identity);
        let file = dir.join("checkpoint.bin");
        let state = match Checkpoint::load(&file, &identity, layout.len())? {
            Some(state) => state,
            None => Checkpoint {
                cursor: TrainingCursor {
                    identity,
                    arithmetic: kernel.compute_dtype,
                    ..TrainingCursor::default()
                },
                params: start.unwrap_or_else(|| layout.init(&model.spec, options.seed)),
                moments: Moments::new(layout.len()),
                best: Vec::new(),
            },
        };
        let grads = vec![0.0; layout.len()];
        // Of another machine, the kernel may be missing here: then the numbers go on with this one's.
        let kernel = Kernel::of(state.cursor.arithmetic).unwrap_or(kernel);
        let tape = Tape::new(recomputes(model, options), kernel);
        Ok(Trainer { model, examples, held_out, options, layout, state, file, tape, grads })
    }

    fn steps_per_epoch(&self) -> usize {
        self.examples.len().div_ceil(self.options.batch)
    }

    fn run(mut self, progress: &dyn Progress, cancel: &Cancel) -> Result<Trained> {
        let per_epoch = self.steps_per_epoch();
        let all_epochs = (per_epoch * self.options.epochs) as u64;
        let total = self.options.max_steps.map_or(all_epochs, |max| max.min(all_epochs));
        let mut saved = Instant::now();
        if self.state.cursor.step == 0 && self.state.cursor.held_out_curve.is_empty() {
            self.validate(0.0)?;
        }
        while !self.state.cursor.finished {
            if cancel.is_cancelled() {
                self.save()?;
                return Err(Error::Cancelled);
            }
            let begin = Instant::now();
            let step = self.state.cursor.step;
            let order = self.order(step as usize / per_epoch);
            let from = step as usize % per_epoch * self.options.batch;
            let chosen: Vec<&Example> = order[from..order.len().min(from + self.options.batch)]
                .iter()
                .map(|i| &self.examples[*i])
                .collect();
            let (loss, lr) = self.step(&chosen, step, total)?;
            let cursor = &mut self.state.cursor;
            cursor.step += 1;
            cursor.loss_curve.push(loss);
            cursor.seconds += begin.elapsed().as_secs_f64();
            report_step(
                progress,
                &TrainStep {
                    step: cursor.step,
                    steps: total,
                    epoch: cursor.step as f64 / per_epoch as f64,
                    loss,
                    held_out_loss: cursor.held_out_curve.last().copied(),
                    tokens_per_s: cursor.tokens as f64 / cursor.seconds,
                    lr,
                },
            );
            if validated_after(self.state.cursor.step, per_epoch) || self.state.cursor.step == total {
                let begin = Instant::now();
                self.validate(self.state.cursor.step as f64 / per_epoch as f64)?;
                self.state.cursor.seconds += begin.elapsed().as_secs_f64();
                self.state.cursor.finished |= self.state.cursor.step >= total;
                self.save()?;
                saved = Instant::now();
            } else if saved.elapsed() > SAVE_EVERY {
                self.save()?;
                saved = Instant::now();
            }
        }
        Ok(self.finish())
    }

    /// The order of examples in an epoch: depends on the seed and the epoch alone.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.examples.len()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
        rng.set_stream(epoch as u64 + 1);
        order.shuffle(&mut rng);
        order
    }

    /// One optimiser step on `examples`; returns the mean loss per target token and the learning rate.
    fn step(&mut self, examples: &[&Example], step: u64, total: u64) -> Result<(f64, f32)> {
        let count: usize = examples.iter().map(|e| e.target.len()).sum();
        let weight = 1.0 / count as f32;
        self.grads.fill(0.0);
        let mut loss = 0.0;
        for (part, batch) in batches(examples, self.options.max_tokens).into_iter().enumerate() {
            self.tape.dropout = (self.options.dropout > 0.0).then(|| Dropout {
                probability: self.options.dropout,
                seed: splitmix64(splitmix64(self.options.seed ^ splitmix64(step)) ^ part as u64),
            });
            self.state.cursor.tokens += batch.tokens_unshared as u64;
            self.state.cursor.tokens_computed += batch.tokens.len() as u64;
            loss += self.model.loss_and_gradient(
                &self.layout,
                &self.state.params,
                &batch,
                weight,
                &mut self.tape,
                &mut self.grads,
            )?;
        }
        self.tape.dropout = None;
        let norm = global_norm(&self.grads);
        if !loss.is_finite() || !norm.is_finite() {
            self.save()?;
            let reason = format!(
                "step {}: the loss is {loss} and the gradient's norm {norm}; the last good state is kept",
                step + 1
            );
            return Err(Error::training(reason)
                .hint(Hint::lower("lr", self.options.lr))
                .hint(Hint::lower("lora_plus", self.options.lora_plus)));
        }
        let clip = f64::from(self.options.clip);
        let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        let warmup = (total as f32 * self.options.warmup).ceil() as u64;
        let lr = self.options.schedule.rate(step, warmup, total, self.options.lr);
        let adamw = AdamW { weight_decay: self.options.weight_decay, ..AdamW::default() };
        let Checkpoint { params, moments, .. } = &mut self.state;
        let param_groups = self.layout.groups(self.options.lora_plus);
        adamw.step(params, &self.grads, scale as f32, lr, &param_groups, moments);
        Ok((loss, lr))
    }

    /// Measures the held-out loss, keeps the adapter if it is the best, and decides whether to stop.
    fn validate(&mut self, epochs: f64) -> Result<()> {
        let cursor = &mut self.state.cursor;
        if self.held_out.is_empty() {
            cursor.best_epochs = epochs;
            return Ok(());
        }
        let count: usize = self.held_out.iter().map(|e| e.target.len()).sum();
        let mut loss = 0.0;
        for batch in batches(&self.held_out.iter().collect::<Vec<_>>(), self.options.max_tokens) {
            loss += self.model.loss(
                &self.layout,
                &self.state.params,
                &batch,
                1.0 / count as f32,
                &mut self.tape,
            )?;
        }
        let best = cursor.held_out_curve.iter().copied().skip(1).fold(f64::INFINITY, f64::min);
        cursor.held_out_curve.push(loss);
        if epochs > 0.0 && loss < best {
            cursor.best_epochs = epochs;
            cursor.validations_without_gain = 0;
            self.state.best = self.state.params.clone();
        } else if epochs > 0.0 {
            cursor.validations_without_gain += 1;
            let patience = self.options.patience * VALIDATIONS_PER_EPOCH;
            cursor.finished |= patience > 0 && cursor.validations_without_gain > patience;
        }
        Ok(())
    }

    fn save(&self) -> Result<()> {
        self.state.save(&self.file)
    }

    fn finish(self) -> Trained {
        let Checkpoint { cursor, params, best, .. } = self.state;
        let summary = Training {
            examples: self.examples.len(),
            held_out: self.held_out.len(),
            epochs: cursor.best_epochs,
            steps: cursor.step,
            tokens: cursor.tokens,
            tokens_computed: cursor.tokens_computed,
            seconds: cursor.seconds,
            tokens_per_s: cursor.tokens as f64 / cursor.seconds.max(1e-9),
            loss_first: cursor.loss_curve.first().copied().unwrap_or(f64::NAN),
            loss_last: cursor.loss_curve.last().copied().unwrap_or(f64::NAN),
            held_out_loss: cursor.held_out_curve.iter().copied().skip(1).reduce(f64::min),
            peak_rss_mb: crate::memory::peak_rss_mb(),
            loss_curve: cursor.loss_curve,
            held_out_curve: cursor.held_out_curve,
        };
        let params = if best.is_empty() { params } else { best };
        Trained { adapter: LoraWeights { layout: self.layout, params }, summary }
    }
}

fn report_step(progress: &dyn Progress, step: &TrainStep) {
    let held_out = step.held_out_loss.map_or(String::new(), |loss| format!(", held-out loss {loss:.3}"));
    progress.update(&Update {
        stage: Stage::Train,
        done: step.step,
        total: step.steps,
        note: format!("loss {:.3}, {:.0} tokens/s{held_out}", step.loss, step.tokens_per_s),
    });
    progress.step(step);
}

/// Packs `examples` into batches of at most `max_tokens` computed tokens each (one example at least).
fn batches(examples: &[&Example], max_tokens: usize) -> Vec<Batch> {
    // Sorted by tokens, neighbours share the most.
    let mut sorted = examples.to_vec();
    sorted.sort_by(|a, b| a.prompt.cmp(&b.prompt).then_with(|| a.target.cmp(&b.target)));
    let mut batches = Vec::new();
    let mut rest = &sorted[..];
    while !rest.is_empty() {
        let mut take = rest.len();
        let batch = loop {
            let batch = Batch::pack(rest[..take].iter().copied(), true);
            if batch.tokens.len() <= max_tokens || take == 1 {
                break batch;
            }
            take = (take * max_tokens / batch.tokens.len()).clamp(1, take - 1);
        };
        batches.push(batch);
        rest = &rest[take..];
    }
    batches
}

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod loop_tests;
#[cfg(test)]
pub(crate) mod model_tests;
#[cfg(test)]
mod parity_tests;
