//! Options that several subcommands share, and the library options they become.

use clap::Args;
use secondnature::distill::{CurateOptions, EngineOptions};
use secondnature::train::TrainOptions;
use secondnature::train::spec::Module;
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
}

impl Sampling {
    pub fn engine(&self) -> EngineOptions {
        EngineOptions { threads: self.threads, slots: self.slots }
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
}

impl Voting {
    pub fn options(&self, engine: EngineOptions) -> CurateOptions {
        CurateOptions { engine, samples: self.samples, threshold: self.threshold }
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
    /// Peak learning rate.
    #[arg(long, value_name = "RATE", default_value_t = TrainOptions::default().lr)]
    lr: f32,
    /// Most passes over the examples.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().epochs)]
    epochs: usize,
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
    /// Share of the kept questions held out to choose the best epoch.
    #[arg(long, value_name = "SHARE", default_value_t = TrainOptions::default().held_out)]
    held_out: f32,
    /// Modules that get an adapter, such as attn_q,attn_v [default: all seven linear ones].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    modules: Vec<String>,
    /// Most tokens computed at once; less takes less memory.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().max_tokens)]
    max_tokens: usize,
}

impl Training {
    pub fn options(&self, seed: u64, threads: Option<u32>) -> Result<TrainOptions> {
        let modules = match self.modules.as_slice() {
            [] => Module::ALL.to_vec(),
            names => names.iter().map(|name| module(name)).collect::<Result<_>>()?,
        };
        Ok(TrainOptions {
            rank: self.rank,
            alpha: self.alpha,
            modules,
            lr: self.lr,
            epochs: self.epochs,
            batch: self.batch,
            warmup: self.warmup,
            clip: self.clip,
            weight_decay: self.weight_decay,
            patience: self.patience,
            held_out: self.held_out,
            seed,
            threads,
            max_tokens: self.max_tokens,
        })
    }
}

fn module(name: &str) -> Result<Module> {
    Module::from_gguf_name(name.trim()).ok_or_else(|| {
        let known = Module::ALL.map(Module::gguf_name).join(", ");
        Error::input("--modules", format!("no module is called {name:?}; modules: {known}"))
    })
}
