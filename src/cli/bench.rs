//! `secondnature bench`: how fast this machine does the work.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use secondnature::bench::{self, SampleBench, TrainBench};
use secondnature::distill::read_examples;
use secondnature::engine::Weights;
use secondnature::train::{ComputeDtype, Recompute};

use super::options::choice;
use super::{Environment, output, progress};

/// Measure how fast this machine does the work.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secondnature bench train --model base.gguf")]
pub struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    Train(BenchTrainArgs),
    Sample(BenchSampleArgs),
}

impl BenchArgs {
    pub fn run(&self, context: &Environment) -> Result<()> {
        match &self.command {
            BenchCommand::Train(args) => args.run(context),
            BenchCommand::Sample(args) => args.run(context),
        }
    }
}

/// Measure training steps on rows of random tokens that share nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  secondnature bench train --model base.gguf --rows 16 --row-tokens 64 --json"
)]
struct BenchTrainArgs {
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Examples per step.
    #[arg(long, value_name = "N", default_value_t = TrainBench::default().rows)]
    rows: usize,
    /// Tokens fed per example.
    #[arg(long, value_name = "N", default_value_t = TrainBench::default().row_tokens)]
    row_tokens: usize,
    /// Tokens at the end of each example that carry a loss, as an answer does.
    #[arg(long, value_name = "N", default_value_t = TrainBench::default().target_tokens)]
    target_tokens: usize,
    /// Rank of the adapter.
    #[arg(long, value_name = "R", default_value_t = TrainBench::default().rank)]
    rank: usize,
    /// Steps measured, after one that is not.
    #[arg(long, value_name = "N", default_value_t = TrainBench::default().steps)]
    steps: usize,
    /// Examples to train on instead of random rows: a run's train/examples.jsonl.
    #[arg(long, value_name = "FILE")]
    examples: Option<PathBuf>,
    /// Whether activations are computed again in the backward pass.
    #[arg(long, value_parser = choice::<Recompute>(), default_value = "never")]
    recompute: Recompute,
    /// What matmuls multiply [default: what this processor is faster at].
    #[arg(long, value_parser = choice::<ComputeDtype>())]
    compute_dtype: Option<ComputeDtype>,
    /// Threads to compute with [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

impl BenchTrainArgs {
    fn run(&self, context: &Environment) -> Result<()> {
        let options = TrainBench {
            rows: self.rows,
            row_tokens: self.row_tokens,
            target_tokens: self.target_tokens,
            rank: self.rank,
            steps: self.steps,
            examples: self.examples.as_deref().map_or(Ok(Vec::new()), read_examples)?,
            recompute: self.recompute,
            compute_dtype: self.compute_dtype,
            threads: self.threads,
        };
        let figures = bench::train(&self.model, &options, context.cancel())?;
        if self.json {
            return output::print_json(&figures);
        }
        output::print(&figures.to_string())
    }
}

/// Measure sampling, and the decoder alone beside it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secondnature bench sample --model base.gguf --slots 16 --json")]
struct BenchSampleArgs {
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Sequences sampled at once; smaller numbers are measured on the way.
    #[arg(long, value_name = "N", default_value_t = SampleBench::default().slots,
          value_parser = clap::value_parser!(u32).range(1..=256))]
    slots: u32,
    /// Tokens of each prompt, about; half of them are the same in all.
    #[arg(long, value_name = "N", default_value_t = SampleBench::default().prompt_tokens)]
    prompt_tokens: usize,
    /// Tokens of each completion.
    #[arg(long, value_name = "N", default_value_t = SampleBench::default().new_tokens)]
    new_tokens: usize,
    /// Which weights batches are multiplied with.
    #[arg(long, value_parser = choice::<Weights>(), default_value = "auto")]
    weights: Weights,
    /// How often each number of sequences is measured; medians are reported.
    #[arg(long, value_name = "N", default_value_t = SampleBench::default().rounds)]
    rounds: usize,
    /// Threads to compute with [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

impl BenchSampleArgs {
    fn run(&self, context: &Environment) -> Result<()> {
        let options = SampleBench {
            slots: self.slots,
            prompt_tokens: self.prompt_tokens,
            new_tokens: self.new_tokens,
            weights: self.weights,
            threads: self.threads,
            rounds: self.rounds,
        };
        let progress = progress::new(context.quiet);
        let figures = bench::sample(&self.model, &options, &*progress, context.cancel())?;
        drop(progress);
        if self.json { output::print_json(&figures) } else { output::print(&figures.to_string()) }
    }
}
