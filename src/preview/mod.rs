//! A look at a few questions before hours of work: what every step is asked and writes, what is read as
//! the answer, how the samples vote, what System 1 says, what it will cost, and what is wrong.
//!
//! [`preview`] samples without early stopping, so that everything is seen, and extrapolates the cost with
//! it. [`findings`] says in words what the samples show; `curate` uses the same function on its first
//! questions. [`terminal`] and [`html`] draw a preview for people.

mod cost;
mod findings;
mod html;
mod look;
mod terminal;
mod timed;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use cost::{Cost, Expected, StepCost};
pub use findings::{Evidence, Finding, FindingKind, Prompt, findings};
pub(crate) use findings::{is_mostly_unread, is_refusal, is_stated_opinion};
pub use html::html;
pub(crate) use look::prompts_of;
pub use look::shown_evenly;
pub use terminal::terminal;

use crate::context::{Context, EngineCache, EngineOptions, check_callers_engine};
use crate::curate::ReadFrom;
use crate::evaluate::Direct;
use crate::gguf::Gguf;
use crate::model::spec::Spec;
use crate::options::{Range, options};
use crate::task::{Answer, Question, Task, check_gold};
use crate::vote::Verdict;
use crate::{Error, Result};

options! {
    /// How much to look at.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct PreviewOptions: "Preview" {
        /// Number of questions, chosen evenly over the file.
        n_questions: usize = 8, { range: Range::closed(1.0, 1000.0) };
        /// Number of samples of each question and of each of its perturbations.
        samples: usize = 4, { range: Range::closed(1.0, 100.0) };
        /// Minutes that asking may take; then what was seen until then is shown.
        minutes: Option<f64> = None, { range: Range::above(0.0), placeholder: "M", unset: "as many as it takes" };
    }
    with {
        /// The engine.
        engine: EngineOptions,
    }
}

/// What is looked at.
#[derive(Debug, Clone)]
pub struct PreviewSetup {
    /// The model, a GGUF file.
    pub model: PathBuf,
    /// The task.
    pub task: Task,
    /// The questions, of which a few are asked. Gold answers in them only measure.
    pub questions: Vec<Question>,
    /// Seed of all sampling.
    pub seed: u64,
}

/// What a look at a few questions has shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The model's file.
    pub model: String,
    /// The task's name.
    pub task: String,
    /// What is wrong or worth knowing, the most severe first.
    pub findings: Vec<Finding>,
    /// Number of questions in the set.
    pub questions: usize,
    /// Number of samples of each question shown.
    pub samples: usize,
    /// Number of the chosen questions for which there was no time before the limit or a cancellation.
    #[serde(default)]
    pub unseen: usize,
    /// Number of the shown questions whose vote was accepted.
    pub kept: usize,
    /// Shares of right answers, where all shown questions that were asked have gold answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<PreviewAccuracy>,
    /// What the look cost.
    pub cost: Cost,
    /// What curation of all questions will cost.
    pub expected: Expected,
    /// The questions shown.
    pub shown: Vec<ShownQuestion>,
}

/// Shares of right answers to the shown questions that were not set aside, in `0..=1`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PreviewAccuracy {
    /// Of System 1.
    pub system1: f64,
    /// Of the samples.
    pub samples: f64,
    /// Of the votes.
    pub votes: f64,
    /// Of the votes that were accepted, which are what would be learned; `None` where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<f64>,
}

/// A question, with everything that was asked and written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownQuestion {
    /// Its id.
    pub id: String,
    /// Its fields.
    pub fields: BTreeMap<String, String>,
    /// What System 1 was asked.
    pub system1_prompt: Prompt,
    /// What it answered.
    pub system1: Direct,
    /// The samples of the question itself, then those of each perturbation.
    pub samples: Vec<ShownSample>,
    /// The vote.
    pub verdict: Verdict,
    /// The gold answers, if it has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gold: Vec<String>,
}

/// A sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownSample {
    /// Its index among those of its variant.
    pub index: usize,
    /// The name of the perturbation that was asked; `none` for the question itself.
    pub perturbation: String,
    /// The calls.
    pub steps: Vec<ShownStep>,
    /// The answer that was read.
    pub answer: Option<Answer>,
    /// Whether it was read from the completion of the last step or from the closing turn.
    pub read_from: ReadFrom,
    /// Where in the output of the last call the answer stands, in bytes; `None` where it was not read or
    /// is written there in another way.
    pub span: Option<(usize, usize)>,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownStep {
    /// The step's name.
    pub name: String,
    /// The item that the call was for, if the step runs once for each item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// What was asked.
    pub prompt: Prompt,
    /// What was written.
    pub output: String,
    /// Whether it ended at `max_tokens`.
    pub is_cut: bool,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub generated_tokens: usize,
}

/// Asks a few questions directly and samples a few answers of each, without early stopping. Of a model whose
/// chat template loses the question, or whose turns have no end, nothing is asked, and that is the finding.
///
/// After [`PreviewOptions::minutes`], and when it is cancelled, it returns what it has seen: the questions that
/// were voted on; [`Preview::unseen`] counts the others.
///
/// # Errors
/// For an unusable model, invalid options, a fault that most questions have, a gold answer that the answer rule
/// cannot read, or less time than one question takes; [`Error::Cancelled`] before the first vote.
///
/// # Example
/// ```no_run
/// use secondnature::Context;
/// use secondnature::preview::{PreviewOptions, PreviewSetup, preview};
/// use secondnature::task::{Task, read_questions};
///
/// # fn main() -> secondnature::Result<()> {
/// let setup = PreviewSetup {
///     model: "base.gguf".into(),
///     task: Task::load("my-task.json")?,
///     questions: read_questions("train.jsonl".as_ref())?,
///     seed: 0,
/// };
/// let preview = preview(&setup, &PreviewOptions::default(), &mut Context::new())?;
/// for finding in &preview.findings {
///     println!("{}: {}; {}", finding.kind.name(), finding.message, finding.advice);
/// }
/// # Ok(())
/// # }
/// ```
pub fn preview(setup: &PreviewSetup, options: &PreviewOptions, cx: &mut Context) -> Result<Preview> {
    options.check()?;
    options.engine.check()?;
    if setup.questions.is_empty() {
        return Err(Error::field("questions", "there is no question; expected at least one"));
    }
    check_gold(&setup.task.answer, &setup.questions, "questions")?;
    let gguf = Gguf::open(&setup.model)?;
    // A model that cannot be trained is told now and not after curation.
    Spec::of(&gguf)?;
    check_callers_engine(cx, &gguf)?;
    let mut base = EngineCache::new(gguf, None);
    let (progress, cancel) = (cx.progress, cx.cancel.clone());
    let engine = base.unchecked_engine(cx, None, &options.engine)?;
    let look = look::Look { task: &setup.task, questions: &setup.questions, seed: setup.seed, options };
    let preview = look.through(engine, progress, &cancel)?;
    Ok(Preview { model: setup.model.display().to_string(), ..preview })
}
