//! One question: answered directly when the distilled model is sure, by reasoning when it is not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::adapter::fallback_threshold;
use crate::curate::{self, Observer, Outcome, Plan, Sample};
use crate::distill::EngineOptions;
use crate::distill::base::check_engine;
use crate::engine::{Engine, Llama, Scheduler, Weights};
use crate::evaluate::ask_directly;
use crate::task::{Question, Task};
use crate::tensor::Gguf;
use crate::train::spec::Spec;
use crate::vote::Verdict;
use crate::{Cancel, Error, Result};

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
        let terms = self.terms()?; // Before the model, which takes longer.
        Ok(self.session(terms, self.own_engine()?))
    }

    /// The same on an engine of the caller's, which has `model` loaded and no adapter applied. Where it
    /// cannot apply any, the model is loaded all the same, to answer directly.
    ///
    /// # Errors
    /// Where no task is named and the adapter carries none; [`Error::Input`] for an engine that does not
    /// belong to the model; those of loading.
    pub fn load_with(&self, engine: Box<dyn Engine>) -> Result<Session> {
        check_engine(&*engine, self.model)?;
        let terms = self.terms()?;
        let lacking = self.adapter.is_some() && !engine.takes_adapters();
        let direct = lacking.then(|| self.own_engine()).transpose()?;
        Ok(Session { direct, ..self.session(terms, engine) })
    }

    fn own_engine(&self) -> Result<Box<dyn Engine>> {
        Spec::of(&Gguf::open(self.model)?)?; // Or llama.cpp might assert on it.
        // A few sequences at a time do not earn back what unpacking the weights takes.
        let weights = if self.engine.weights == Weights::Auto { Weights::AsIs } else { self.engine.weights };
        let options = EngineOptions { weights, ..self.engine }.llama();
        Ok(Box::new(Scheduler::new(Llama::load(self.model, &options)?)))
    }

    /// Answers one question; [`Session::answer`] without keeping the model.
    pub fn answer(&self, question: &Question, cancel: &Cancel) -> Result<Answered> {
        self.load()?.answer(question, cancel)
    }

    /// The task, and the probability from which direct answers are given.
    fn terms(&self) -> Result<(Task, f64)> {
        let adapter = self.adapter.map(Gguf::open).transpose()?;
        let task = match (self.task, adapter.as_ref().and_then(|a| a.str("secondnature.task.json"))) {
            (Some(task), _) => task.clone(),
            (None, Some(json)) => Task::from_json(json, "the adapter's task")?,
            (None, None) => {
                return Err(Error::input("--task", "is missing, and no adapter names its task; name one"));
            }
        };
        let calibrated = adapter.as_ref().and_then(fallback_threshold);
        Ok((task, self.threshold.or(calibrated).unwrap_or(DEFAULT_THRESHOLD)))
    }

    fn session(&self, (task, threshold): (Task, f64), engine: Box<dyn Engine>) -> Session {
        let adapter = self.adapter.map(Path::to_path_buf);
        Session { engine, direct: None, task, threshold, adapter, has_adapter: None, seed: self.seed }
    }
}

/// A loaded model that answers one question after another.
///
/// Threads: one caller at a time.
pub struct Session {
    engine: Box<dyn Engine>,
    /// One that applies the adapter, where `engine` cannot.
    direct: Option<Box<dyn Engine>>,
    task: Task,
    threshold: f64,
    adapter: Option<PathBuf>,
    /// Whether the engine has the adapter applied now; none where that is not known.
    has_adapter: Option<bool>,
    seed: u64,
}

impl Session {
    /// Answers `question`, falling back to reasoning on the base model where the direct answer's
    /// probability is under the threshold. The same question gets the same answer every time.
    ///
    /// # Errors
    /// Those of sampling; [`Error::Model`] where the adapter does not fit the model;
    /// [`Error::Cancelled`]. After any of them the next question can be asked.
    pub fn answer(&mut self, question: &Question, cancel: &Cancel) -> Result<Answered> {
        self.apply(true)?;
        let Session { engine, direct, task, seed, .. } = self;
        let engine = direct.as_mut().unwrap_or(engine);
        let questions = std::slice::from_ref(question);
        let direct = ask_directly(&mut **engine, task, questions, *seed, cancel)?.answers.remove(0);
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
        self.apply(false)?;
        // One answer is wanted, and no label: it need not survive perturbations.
        let task = Task { perturbations: Vec::new(), ..self.task.clone() };
        let plan = Plan { task: &task, questions, seed: self.seed, stop_at_answer: true, verifier: None };
        let earlier: [Result<Sample>; 0] = [];
        let engine = &mut *self.engine;
        let outcomes = curate::curate(move || Ok(engine), &plan, earlier, &mut Unobserved, cancel)?;
        let outcome @ Outcome { verdict, .. } = &outcomes[0];
        let slow = outcome.own_tokens();
        Ok(Answered {
            answer: verdict.answer.as_ref().map(|a| task.answer.target(a)),
            confidence: verdict.agreement.into(),
            route: Route::Reasoned,
            tokens: direct.generated_tokens + slow,
        })
    }

    /// Applies the adapter, if there is one, or takes it away. An engine for direct answers alone keeps
    /// it.
    fn apply(&mut self, wanted: bool) -> Result<()> {
        let wanted = (wanted || self.direct.is_some()) && self.adapter.is_some();
        if self.has_adapter != Some(wanted) {
            self.has_adapter = None;
            let engine = self.direct.as_mut().unwrap_or(&mut self.engine);
            engine.set_adapter(self.adapter.as_deref().filter(|_| wanted))?;
            self.has_adapter = Some(wanted);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("task", &self.task.name).field("adapter", &self.adapter).finish()
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
