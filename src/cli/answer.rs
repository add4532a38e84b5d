//! `secondnature answer`: one question.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use secondnature::EngineOptions;
use secondnature::Silent;
use secondnature::answer::{AnswerOptions, Answerer, Route, RoutedAnswer, RoutingOptions};
use secondnature::programs::{Brief, load};
use secondnature::task::Question;

use super::options::Flags;
use super::{Environment, output};

/// Answer one question: directly where the model is sure, by reasoning where it is not.
///
/// Prints the answer; how it came about goes to standard error.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  secondnature answer --model base.gguf --adapter run/adapter.gguf \\
    \"A coin is heads up. Ann flips the coin. Is the coin still heads up?\"")]
pub struct AnswerArgs {
    /// The question.
    question: String,
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// The adapter that `distill` wrote for it.
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    /// A built-in task or a program of the library (see `secondnature tasks`), or a JSON file [default: the adapter's].
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Print answer, confidence, route and tokens as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    routing: Flags<RoutingOptions>,
    #[command(flatten)]
    sampling: Flags<EngineOptions>,
}

impl AnswerArgs {
    pub fn run(&self, context: &Environment) -> Result<()> {
        let task = self.task.as_deref().map(|name| load(name, &Brief::default())).transpose()?;
        let question = Question::new("question", &self.question, Vec::new());
        let options = AnswerOptions {
            model: &self.model,
            adapter: self.adapter.as_deref(),
            task: task.as_ref(),
            routing: self.routing.read()?,
            engine: self.sampling.read()?,
        };
        let mut cx = context.work(&Silent);
        let answered = Answerer::load(&options, &mut cx)?.answer(&question, &mut cx)?;
        if self.json {
            output::print_json(&answered)?;
        } else if !context.quiet {
            output::eprint_line(&how(&answered));
        }
        match &answered.answer {
            Some(_) if self.json => Ok(()),
            Some(answer) => output::print(answer),
            None => bail!("no answer could be read from what the model wrote"),
        }
    }
}

fn how(answered: &RoutedAnswer) -> String {
    let route = match answered.route {
        Route::Direct => "direct",
        Route::Reasoned => "reasoned",
    };
    format!("{route}, confidence {:.2}, {} tokens", answered.confidence, answered.tokens)
}
