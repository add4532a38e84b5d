//! One question: answered directly when the distilled model is sure, by reasoning when it is not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::curate::{self, CurationPlan, Observer, Outcome, Sample};
use crate::distill::EngineOptions;
use crate::distill::base::{Base, Guest};
use crate::engine::{Engine, Weights};
use crate::evaluate::ask_directly;
use crate::gguf::Gguf;
use crate::model::fallback_threshold;
use crate::model::spec::Spec;
use crate::task::{Question, Task};
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
    /// Where the randomness of reasoned answers comes from.
    pub seed: u64,
}

impl Answerer<'_> {
    /// Loads the model once, to answer many questions.
    ///
    /// # Errors
    /// Where no task is named and the adapter carries none; those of loading.
    pub fn load(&self) -> Result<Session> {
        let mut session = self.session(None)?;
        let Session { base, manner, .. } = &mut session;
        base.engine(self.adapter, &manner.engine, &Silent)?;
        Ok(session)
    }

    /// The same on an engine of the caller's, which has no adapter applied. Where it cannot apply
    /// any, direct answers are those of an engine loaded for them.
    ///
    /// # Errors
    /// Where no task is named and the adapter carries none; [`Error::Input`] for an engine that does
    /// not belong to the model.
    pub fn load_with(&self, mut engine: Box<dyn Engine>) -> Result<Session> {
        Guest::of(&mut *engine, self.model)?;
        self.session(Some(engine))
    }

    /// Answers one question; [`Session::answer`] without keeping the model.
    pub fn answer(&self, question: &Question, cancel: &Cancel) -> Result<Answered> {
        self.load()?.answer(question, cancel)
    }

    /// Answers one question by an engine of the caller's, as [`Answerer::load_with`] has it.
    pub fn answer_with(
        &self,
        engine: &mut dyn Engine,
        question: &Question,
        cancel: &Cancel,
    ) -> Result<Answered> {
        let mut guest = Guest::of(engine, self.model)?;
        let Session { mut base, manner, .. } = self.session(None)?;
        manner.answer(&mut base, &mut guest, question, cancel)
    }

    fn session(&self, guest: Option<Box<dyn Engine>>) -> Result<Session> {
        let adapter = self.adapter.map(Gguf::open).transpose()?;
        let task = match (self.task, adapter.as_ref().and_then(|a| a.str("secondnature.task.json"))) {
            (Some(task), _) => task.clone(),
            (None, Some(json)) => Task::from_json(json, "the adapter's task")?,
            (None, None) => {
                return Err(Error::field("task", "is missing, and no adapter names its task; name one"));
            }
        };
        let calibrated = adapter.as_ref().and_then(fallback_threshold);
        Spec::of(&Gguf::open(self.model)?)?; // Or llama.cpp might assert on it.
        // A few sequences at a time do not earn back what unpacking the weights takes.
        let weights = if self.engine.weights == Weights::Auto { Weights::AsIs } else { self.engine.weights };
        let manner = Manner {
            // One answer is wanted, and no label: it need not survive perturbations.
            task: Task { perturbations: Vec::new(), ..task },
            threshold: self.threshold.or(calibrated).unwrap_or(DEFAULT_THRESHOLD),
            adapter: self.adapter.map(Path::to_path_buf),
            engine: EngineOptions { weights, ..self.engine },
            seed: self.seed,
        };
        Ok(Session { base: Base::new(self.model.to_path_buf()), guest, manner })
    }
}

/// A loaded model that answers one question after another.
///
/// Threads: one caller at a time.
pub struct Session {
    base: Base,
    guest: Option<Box<dyn Engine>>,
    manner: Manner,
}

impl Session {
    /// Answers `question`, falling back to reasoning on the base model where the direct answer's
    /// probability is under the threshold. The same question gets the same answer every time.
    ///
    /// # Errors
    /// Those of sampling; [`Error::Model`] where the adapter does not fit the model;
    /// [`Error::Cancelled`]. After any of them the next question can be asked.
    pub fn answer(&mut self, question: &Question, cancel: &Cancel) -> Result<Answered> {
        let Session { base, guest, manner } = self;
        let mut guest = match guest {
            Some(engine) => Guest::of(&mut **engine, base.path())?,
            None => Guest::none(),
        };
        manner.answer(base, &mut guest, question, cancel)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("manner", &self.manner).finish()
    }
}

/// How a session answers.
#[derive(Debug)]
struct Manner {
    task: Task,
    threshold: f64,
    adapter: Option<PathBuf>,
    engine: EngineOptions,
    seed: u64,
}

impl Manner {
    fn answer(
        &self,
        base: &mut Base,
        guest: &mut Guest,
        question: &Question,
        cancel: &Cancel,
    ) -> Result<Answered> {
        let questions = std::slice::from_ref(question);
        let engine = base.engine_or(guest, self.adapter.as_deref(), &self.engine, &Silent)?;
        let direct = ask_directly(engine, &self.task, questions, self.seed, cancel)?.answers.remove(0);
        if let Some(a) = &direct.answer
            && f64::from(direct.probability) >= self.threshold
        {
            return Ok(Answered {
                answer: Some(self.task.answer.target(a)),
                confidence: direct.probability.into(),
                route: Route::Direct,
                tokens: direct.generated_tokens,
            });
        }
        let plan = CurationPlan {
            task: &self.task,
            questions,
            seed: self.seed,
            stop_at_answer: true,
            verifier: None,
        };
        let earlier: [Result<Sample>; 0] = [];
        let outcomes = curate::curate(
            || base.engine_or(guest, None, &self.engine, &Silent),
            &plan,
            earlier,
            &mut Unobserved,
            cancel,
        )?;
        let outcome @ Outcome { verdict, .. } = &outcomes[0];
        let slow = outcome.own_tokens();
        Ok(Answered {
            answer: verdict.answer.as_ref().map(|a| self.task.answer.target(a)),
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
