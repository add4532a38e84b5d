//! One question: answered directly when the distilled model is sure, by reasoning when it is not.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::adapter::fallback_threshold;
use crate::curate::{self, Observer, Outcome, Plan, Sample};
use crate::distill::EngineOptions;
use crate::distill::base::{Base, Guest};
use crate::engine::{Engine, Weights};
use crate::evaluate::ask_directly;
use crate::task::{Question, Task};
use crate::tensor::Gguf;
use crate::train::spec::Spec;
use crate::vote::Verdict;
use crate::{Cancel, Error, Result, Silent};

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

/// Answers directly at or above this probability where nothing was calibrated.
pub const DEFAULT_THRESHOLD: f64 = 0.9;

/// What to answer with.
#[derive(Debug, Clone, Copy)]
pub struct Answerer<'a> {
    /// The base model, a GGUF file.
    pub model: &'a Path,
    /// Its adapter; the base model alone without.
    pub adapter: Option<&'a Path>,
    /// The task; by default the one the adapter was trained on.
    pub task: Option<&'a Task>,
    /// Answer directly at or above this probability; by default what was calibrated after the
    /// adapter was trained, or [`DEFAULT_THRESHOLD`].
    pub threshold: Option<f64>,
    /// How to sample.
    pub engine: EngineOptions,
}

impl Answerer<'_> {
    /// Answers `question`, falling back to reasoning on the base model where the direct answer's
    /// probability is under the threshold.
    ///
    /// # Errors
    /// Where no task is named and the adapter carries none; those of loading and sampling.
    pub fn answer(&self, question: &Question, cancel: &Cancel) -> Result<Answered> {
        self.answer_on(&mut Guest::none(), question, cancel)
    }

    /// The same by the caller's own engine, which has no adapter applied. Where it cannot apply any,
    /// the direct answer is that of an engine loaded for it.
    ///
    /// # Errors
    /// Besides those of [`Answerer::answer`], [`Error::Input`] for an engine that does not belong to
    /// the model.
    pub fn answer_with(
        &self,
        engine: &mut dyn Engine,
        question: &Question,
        cancel: &Cancel,
    ) -> Result<Answered> {
        self.answer_on(&mut Guest::of(engine, self.model)?, question, cancel)
    }

    fn answer_on(&self, guest: &mut Guest, question: &Question, cancel: &Cancel) -> Result<Answered> {
        let adapter = self.adapter.map(Gguf::open).transpose()?;
        let task = match (self.task, adapter.as_ref().and_then(|a| a.str("secondnature.task.json"))) {
            (Some(task), _) => task.clone(),
            (None, Some(json)) => Task::from_json(json, "the adapter's task")?,
            (None, None) => {
                return Err(Error::input("--task", "is missing, and no adapter names its task; name one"));
            }
        };
        let calibrated = adapter.as_ref().and_then(fallback_threshold);
        let threshold = self.threshold.or(calibrated).unwrap_or(DEFAULT_THRESHOLD);

        Spec::of(&Gguf::open(self.model)?)?; // Or llama.cpp might assert on it.
        // A single question does not earn back what unpacking the weights takes.
        let weights = if self.engine.weights == Weights::Auto { Weights::AsIs } else { self.engine.weights };
        let options = EngineOptions { weights, ..self.engine };
        let mut base = Base::new(self.model.to_path_buf());
        let engine = base.engine_or(guest, self.adapter, &options, &Silent)?;
        let questions = std::slice::from_ref(question);
        let direct = ask_directly(engine, &task, questions, 0, cancel)?.answers.remove(0);
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
        // One answer is wanted, and no label: it need not survive perturbations.
        let task = Task { perturbations: Vec::new(), ..task };
        let plan = Plan { task: &task, questions, seed: 0, stop_at_answer: true, verifier: None };
        let earlier: [Result<Sample>; 0] = [];
        let outcomes = curate::curate(
            || base.engine_or(guest, None, &options, &Silent),
            &plan,
            earlier,
            &mut Unobserved,
            cancel,
        )?;
        let outcome @ Outcome { verdict, .. } = &outcomes[0];
        let slow = outcome.own_tokens();
        Ok(Answered {
            answer: verdict.answer.as_ref().map(|a| task.answer.target(a)),
            confidence: verdict.agreement.into(),
            route: Route::Reasoned,
            tokens: direct.generated_tokens + slow,
        })
    }
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
