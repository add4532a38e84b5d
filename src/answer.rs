//! One question: answered directly when the distilled model is sure, by reasoning when it is not.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::curate::{self, Observer, Sample};
use crate::distill::EngineOptions;
use crate::engine::{Engine, Llama, LlamaOptions, Scheduler};
use crate::evaluate::ask_directly;
use crate::task::{Question, Task};
use crate::vote::Verdict;
use crate::{Cancel, Result};

/// Which way a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// System 1: one short completion.
    Direct,
    /// System 2: a vote of reasoned samples.
    Reasoned,
}

/// An answer and how it came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The answer, or none where neither way held one.
    pub answer: Option<String>,
    /// In 0..=1: the model's probability of a direct answer; the share of votes of a reasoned one.
    pub confidence: f64,
    /// Which way it was answered.
    pub route: Route,
    /// Every token generated, of both ways where both were taken.
    pub tokens: usize,
}

/// Answers `question` with `adapter` (or the base model alone), falling back to reasoning on the
/// base model where the direct answer's probability is under `threshold`.
pub fn answer(
    model: &Path,
    adapter: Option<&Path>,
    task: &Task,
    question: &Question,
    options: &EngineOptions,
    threshold: f64,
    cancel: &Cancel,
) -> Result<Answered> {
    let options = LlamaOptions { threads: options.threads, slots: options.slots, ..LlamaOptions::default() };
    let mut engine = Scheduler::new(Llama::load(model, &options)?);
    engine.set_adapter(adapter)?;
    let direct = ask_directly(&mut engine, task, std::slice::from_ref(question), 0, cancel)?;
    let direct = &direct.answers[0];
    if let Some(a) = &direct.answer
        && f64::from(direct.probability) >= threshold
    {
        return Ok(Answered {
            answer: Some(task.answer.target(a)),
            confidence: direct.probability.into(),
            route: Route::Direct,
            tokens: direct.generated_tokens,
        });
    }
    engine.set_adapter(None)?;
    let questions = std::slice::from_ref(question);
    let outcomes = curate::curate(&mut engine, task, questions, 0, Vec::new(), &mut Unobserved, cancel)?;
    let outcome = &outcomes[0];
    let slow: usize = outcome.samples.iter().map(Sample::generated_tokens).sum();
    Ok(Answered {
        answer: outcome.verdict.answer.as_ref().map(|a| task.answer.target(a)),
        confidence: outcome.verdict.agreement.into(),
        route: Route::Reasoned,
        tokens: direct.generated_tokens + slow,
    })
}

struct Unobserved;

impl Observer for Unobserved {
    fn sample(&mut self, _: &Sample) -> Result<()> {
        Ok(())
    }
    fn settled(&mut self, _: &Verdict) -> Result<()> {
        Ok(())
    }
}
