//! `secondnature answer`: one question.

use std::path::PathBuf;

use clap::Args;
use secondnature::answer::{Answered, Route, answer};
use secondnature::task::{Question, Task};
use secondnature::{Error, Result};

use super::knobs::Sampling;
use super::{Context, output};

/// Answer one question: directly where the model is sure, by reasoning where it is not.
///
/// Prints the answer; how it came about goes to standard error.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  secondnature answer --model base.gguf --adapter run/adapter.gguf --task coin-flip \\
    \"A coin is heads up. Ann flips the coin. Is the coin still heads up?\"")]
pub struct Answer {
    /// The question.
    question: String,
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// The adapter that `distill` wrote for it.
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    /// A built-in task (see `secondnature tasks`) or a JSON file.
    #[arg(long, value_name = "TASK")]
    task: String,
    /// Answer directly at or above this probability, in 0..=1; the report says what suits a run.
    #[arg(long, value_name = "P", default_value_t = 0.9)]
    threshold: f64,
    /// Print answer, confidence, route and tokens as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: Sampling,
}

impl Answer {
    pub fn run(&self, context: &Context) -> Result<()> {
        let task = Task::load(&self.task)?;
        let question = Question::new("question", &self.question, Vec::new());
        let answered = answer(
            &self.model,
            self.adapter.as_deref(),
            &task,
            &question,
            &self.sampling.engine(),
            self.threshold,
            &context.cancel,
        )?;
        if self.json {
            return output::print_json(&answered);
        }
        if !context.quiet {
            output::say(&how(&answered));
        }
        match &answered.answer {
            Some(answer) => output::print(answer),
            None => Err(Error::Refused("no answer could be read from what the model wrote".into())),
        }
    }
}

fn how(answered: &Answered) -> String {
    let route = match answered.route {
        Route::Direct => "direct",
        Route::Reasoned => "reasoned",
    };
    format!("{route}, confidence {:.2}, {} tokens", answered.confidence, answered.tokens)
}
