//! `secondnature preview`: a look at a few questions.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use secondnature::EngineOptions;
use secondnature::preview::{PreviewOptions, PreviewSetup, html, preview, terminal};
use secondnature::programs::{Brief, load};
use secondnature::task::read_questions;

use super::options::Flags;
use super::{Environment, output, progress};

/// Look at a few questions before hours of work: every prompt and output, the answers read, the votes,
/// System 1, the cost, and what is wrong with the task on this model.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  secondnature preview --model base.gguf --task my-task.json --questions train.jsonl")]
pub struct PreviewArgs {
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// A built-in task or a program of the library (see `secondnature tasks`), or a JSON file.
    #[arg(long, value_name = "TASK")]
    task: String,
    /// Questions, one a line, as JSON or plain text; no answers needed.
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
    /// Where all randomness comes from.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print everything as one JSON object.
    #[arg(long, conflicts_with = "full")]
    json: bool,
    /// Write a page that shows everything.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Show long texts whole, and the prompts of every sample.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    preview: Flags<PreviewOptions>,
    #[command(flatten)]
    sampling: Flags<EngineOptions>,
}

impl PreviewArgs {
    pub fn run(&self, context: &Environment) -> Result<()> {
        let setup = PreviewSetup {
            model: self.model.clone(),
            task: load(&self.task, &Brief::default()).context("--task")?,
            questions: read_questions(&self.questions).context("--questions")?,
            seed: self.seed,
        };
        let options = PreviewOptions { engine: self.sampling.read()?, ..self.preview.read()? };
        self.html.as_deref().map_or(Ok(()), output::check_writable).context("--html")?;
        let progress = progress::new(context.quiet);
        let preview = preview(&setup, &options, &mut context.work(&*progress))?;
        drop(progress);
        // What was seen took minutes: a page that cannot be written loses nothing else.
        let page = self.html.as_ref().map_or(Ok(()), |path| {
            std::fs::write(path, html(&preview))
                .with_context(|| format!("--html: cannot write {}", path.display()))
        });
        match self.json {
            true => output::print_json(&preview)?,
            false => output::print(&terminal(&preview, output::width(), self.full))?,
        }
        page?;
        if preview.unseen > 0 {
            context.cancel().check()?
        }
        Ok(())
    }
}
