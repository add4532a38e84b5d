//! Options that several subcommands share, and the library options they become.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secondnature::distill::{CurateOptions, DataMix, EarlyStopping, EngineOptions};
use secondnature::engine::Weights;
use secondnature::evaluate::Acceptance;
use secondnature::model::spec::Module;
use secondnature::task::read_questions;
use secondnature::train::{Arithmetic, Memory, Precision, Schedule, TrainOptions};
use secondnature::{Error, Result};

/// Where and how answers are sampled.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub struct Sampling {
    /// Threads to compute with [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Sequences sampled at once.
    #[arg(long, value_name = "N", default_value_t = EngineOptions::default().slots,
          value_parser = clap::value_parser!(u32).range(1..=256))]
    slots: u32,
    /// Which weights batches of sequences are multiplied with.
    #[arg(long, value_enum, default_value = "auto")]
    weights: WeightsArg,
    /// Memory for the model, its expanded weights and its KV cache together, such as 800M or 2G
    /// [default: what is free].
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_memory: Option<u64>,
}

impl Sampling {
    pub fn engine(&self) -> EngineOptions {
        EngineOptions {
            threads: self.threads,
            slots: self.slots,
            weights: self.weights.into(),
            max_memory: self.max_memory,
        }
    }
}

/// A size such as `800M`, in bytes.
fn bytes(text: &str) -> std::result::Result<u64, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit() && c != '.') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let unit = match unit.trim().to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 1e0,
        "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        _ => return Err("expected a number and K, M, G or T, such as 800M".into()),
    };
    match number.parse::<f64>() {
        Ok(n) if n > 0.0 && n * unit < 1e18 => Ok((n * unit) as u64),
        _ => Err("expected a number and K, M, G or T, such as 800M".into()),
    }
}

/// How samples vote.
#[derive(Debug, Args)]
#[command(next_help_heading = "Voting")]
pub struct Voting {
    /// Most samples per question [default: the task's].
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Share of the samples that must agree, in 0..=1 [default: the task's].
    #[arg(long, value_name = "SHARE")]
    threshold: Option<f32>,
    /// Reasons to stop early that are switched off, such as settled,threshold [default: none].
    #[arg(long, value_name = "REASONS", value_enum, value_delimiter = ',')]
    no_stop: Vec<StopArg>,
}

/// A reason to stop early, as an argument.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum StopArg {
    /// The completion holds its answer.
    Answer,
    /// The vote is settled.
    Settled,
    /// No answer can reach the threshold any more.
    Threshold,
}

impl Voting {
    pub fn options(&self, engine: EngineOptions) -> CurateOptions {
        let on = |reason| !self.no_stop.contains(&reason);
        let early_stopping = EarlyStopping {
            answer: on(StopArg::Answer),
            settled: on(StopArg::Settled),
            threshold: on(StopArg::Threshold),
        };
        CurateOptions { engine, samples: self.samples, threshold: self.threshold, early_stopping }
    }
}

/// When so little settles that training is refused.
#[derive(Debug, Args)]
#[command(next_help_heading = "Gate")]
pub struct Gating {
    /// Fewest questions that must be kept for their labels to be trained on.
    #[arg(long, value_name = "N", default_value_t = Acceptance::default().min_kept)]
    least_kept: usize,
    /// Least share of the questions that must be kept, in 0..=1; likewise of held-out questions that
    /// must settle, where they have no answers.
    #[arg(long, value_name = "SHARE", default_value_t = Acceptance::default().min_kept_share)]
    least_share: f64,
}

impl Gating {
    pub fn gate(&self) -> Acceptance {
        Acceptance { min_kept: self.least_kept, min_kept_share: self.least_share }
    }
}

/// How the adapter is trained.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub struct Training {
    /// Rank of the adapter.
    #[arg(long, value_name = "R", default_value_t = TrainOptions::default().rank)]
    rank: usize,
    /// The adapter counts alpha/rank times.
    #[arg(long, value_name = "A", default_value_t = TrainOptions::default().alpha)]
    alpha: f32,
    /// Count the adapter alpha/sqrt(rank) times (rsLoRA): for large ranks.
    #[arg(long)]
    rslora: bool,
    /// Dropout of what the adapter reads, in 0..1.
    #[arg(long, value_name = "P", default_value_t = TrainOptions::default().dropout)]
    dropout: f32,
    /// Peak learning rate.
    #[arg(long, value_name = "RATE", default_value_t = TrainOptions::default().lr)]
    lr: f32,
    /// How many times faster B learns than A (LoRA+); 16 is usual, 1 is plain LoRA.
    #[arg(long, value_name = "RATIO", default_value_t = TrainOptions::default().lora_plus)]
    lora_plus: f32,
    /// How the learning rate falls after the warm-up.
    #[arg(long, value_enum, default_value = "cosine")]
    schedule: ScheduleArg,
    /// Most passes over the examples.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().epochs)]
    epochs: usize,
    /// Most optimiser steps [default: as many as the epochs have].
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// Examples per optimiser step.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().batch)]
    batch: usize,
    /// Share of the steps that warm up.
    #[arg(long, value_name = "SHARE", default_value_t = TrainOptions::default().warmup)]
    warmup: f32,
    /// Largest norm of the gradient; 0 for no limit.
    #[arg(long, value_name = "NORM", default_value_t = TrainOptions::default().clip)]
    clip: f32,
    /// AdamW's weight decay.
    #[arg(long, value_name = "DECAY", default_value_t = TrainOptions::default().weight_decay)]
    weight_decay: f32,
    /// Epochs without gain on held-out examples before training stops; 0 never stops early.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().patience)]
    patience: usize,
    /// Share of the kept questions held out to choose the best moment.
    #[arg(long, value_name = "SHARE", default_value_t = TrainOptions::default().held_out)]
    held_out: f32,
    /// How the adapter file stores its numbers.
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArg,
    /// What products multiply. What a run began with it resumes with.
    #[arg(long, value_enum, default_value = "auto")]
    arithmetic: ArithmeticArg,
    /// Modules that get an adapter, such as attn_q,attn_v [default: all linear ones].
    #[arg(long, value_name = "NAMES")]
    modules: Option<String>,
    /// What is kept for the backward pass: everything, each layer's input, or what fits.
    #[arg(long, value_enum, default_value = "auto")]
    memory: MemoryArg,
    /// Most tokens computed at once; a larger step accumulates gradients. Less takes less memory.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().max_tokens)]
    max_tokens: usize,
}

/// What is trained on besides a run's own answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Mixture")]
pub struct Mixing {
    /// An adapter of the same model to go on from.
    #[arg(long, value_name = "ADAPTER")]
    start: Option<PathBuf>,
    /// Learn the kept answers of another run directory of the same model, too; may be repeated.
    #[arg(long, value_name = "DIR")]
    also: Vec<PathBuf>,
    /// Unrelated prompts, one a line; the base model's own answers to them are mixed in, against
    /// forgetting.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// How many of those, as a share of the task's examples.
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    replay_share: f32,
}

impl Mixing {
    pub fn read(&self) -> Result<DataMix> {
        if !(0.0..=10.0).contains(&self.replay_share) {
            return Err(Error::field("replay_share", format!("{} is outside 0..=10", self.replay_share)));
        }
        Ok(DataMix {
            init_adapter: self.start.clone(),
            extra_runs: self.also.clone(),
            replay: self.replay.as_deref().map_or(Ok(Vec::new()), read_questions)?,
            replay_share: self.replay_share,
        })
    }
}

impl Training {
    pub fn options(&self, seed: u64, threads: Option<u32>) -> Result<TrainOptions> {
        Ok(TrainOptions {
            rank: self.rank,
            alpha: self.alpha,
            rslora: self.rslora,
            modules: Module::list(self.modules.as_deref().unwrap_or_default())?,
            dropout: self.dropout,
            lr: self.lr,
            lora_plus: self.lora_plus,
            schedule: self.schedule.into(),
            epochs: self.epochs,
            max_steps: self.max_steps,
            batch: self.batch,
            warmup: self.warmup,
            clip: self.clip,
            weight_decay: self.weight_decay,
            patience: self.patience,
            held_out: self.held_out,
            precision: match self.precision {
                PrecisionArg::F32 => Precision::F32,
                PrecisionArg::F16 => Precision::F16,
            },
            arithmetic: self.arithmetic.into(),
            seed,
            threads,
            max_tokens: self.max_tokens,
            memory: self.memory.into(),
            wait: secondnature::Wait::default(),
        })
    }
}

/// [`Weights`], as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum WeightsArg {
    /// As they are stored, by llama.cpp.
    AsIs,
    /// Unpacked to 16 bits in memory: two to three times as fast from some eight sequences on.
    Expanded,
    /// Expanded where that pays and fits into half of the free memory.
    Auto,
}

impl From<WeightsArg> for Weights {
    fn from(arg: WeightsArg) -> Weights {
        match arg {
            WeightsArg::AsIs => Weights::AsIs,
            WeightsArg::Expanded => Weights::Expanded,
            WeightsArg::Auto => Weights::Auto,
        }
    }
}

/// [`Precision`], as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionArg {
    /// As trained.
    F32,
    /// Half the size.
    F16,
}

/// [`Arithmetic`], as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ArithmeticArg {
    /// What this processor is faster at: bf16 only where that is half as fast again.
    Auto,
    /// 24 bits of precision.
    F32,
    /// 8 bits of precision, summed in f32.
    Bf16,
}

impl From<ArithmeticArg> for Option<Arithmetic> {
    fn from(arg: ArithmeticArg) -> Option<Arithmetic> {
        match arg {
            ArithmeticArg::Auto => None,
            ArithmeticArg::F32 => Some(Arithmetic::F32),
            ArithmeticArg::Bf16 => Some(Arithmetic::Bf16),
        }
    }
}

/// [`Schedule`], as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScheduleArg {
    /// Along half a cosine, to zero.
    Cosine,
    /// In a straight line, to zero.
    Linear,
    /// Not at all.
    Constant,
}

impl From<ScheduleArg> for Schedule {
    fn from(arg: ScheduleArg) -> Schedule {
        match arg {
            ScheduleArg::Cosine => Schedule::Cosine,
            ScheduleArg::Linear => Schedule::Linear,
            ScheduleArg::Constant => Schedule::Constant,
        }
    }
}

/// [`Memory`], as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum MemoryArg {
    /// Everything that is expensive to compute again.
    Fast,
    /// The input of every layer; a third more work.
    Lean,
    /// Fast where that fits into half of the free memory.
    Auto,
}

impl From<MemoryArg> for Memory {
    fn from(arg: MemoryArg) -> Memory {
        match arg {
            MemoryArg::Fast => Memory::Fast,
            MemoryArg::Lean => Memory::Lean,
            MemoryArg::Auto => Memory::Auto,
        }
    }
}
