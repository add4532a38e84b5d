//! Answers to single questions: direct where the distilled model is sure, reasoned where it is not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::context::{Context, EngineCache, EngineOptions, check_callers_engine};
use crate::curate::{self, CurationPlan, Observer, Outcome, Sample};
use crate::engine::Weights;
use crate::evaluate::ask_directly;
use crate::gguf::Gguf;
use crate::model::spec::Spec;
use crate::model::{fallback_threshold, lora_alpha};
use crate::options::options;
use crate::task::{Question, Task};
use crate::vote::Verdict;
use crate::{Error, Result};

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
pub struct RoutedAnswer {
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

options! {
    /// When to answer directly.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct RoutingOptions: "Answering" {
        /// Answer directly where the model's own probability of its answer is at least this; above 1, always
        /// reason; below 0, never.
        threshold: Option<f64> = None, {
            placeholder: "P", unset: "as calibrated when the adapter was trained, else 0.9"
        };
        /// Seed of reasoned answers.
        seed: u64 = 0, {};
    }
}

/// What to answer with.
#[derive(Debug, Clone, Copy)]
pub struct AnswerOptions<'a> {
    /// The base model, a GGUF file.
    pub model: &'a Path,
    /// Its adapter; the base model alone without.
    pub adapter: Option<&'a Path>,
    /// The task; by default the one the adapter was trained on.
    pub task: Option<&'a Task>,
    /// When to answer directly.
    pub routing: RoutingOptions,
    /// How to sample.
    pub engine: EngineOptions,
}

impl<'a> AnswerOptions<'a> {
    /// The base model in the file `model`, with the defaults for everything else.
    pub fn new(model: &'a Path) -> AnswerOptions<'a> {
        AnswerOptions {
            model,
            adapter: None,
            task: None,
            routing: RoutingOptions::default(),
            engine: EngineOptions::default(),
        }
    }
}

/// A model, and its adapter, that answers one question after another.
///
/// Threads: one caller at a time.
pub struct Answerer {
    base: EngineCache,
    task: Task,
    threshold: f64,
    adapter: Option<PathBuf>,
    engine: EngineOptions,
    seed: u64,
}

impl Answerer {
    /// Reads the model's and the adapter's files, and loads the model unless `cx` has a caller's engine.
    ///
    /// # Errors
    /// [`Error::Input`] where no task is named and the adapter carries none, and for a caller's engine
    /// that does not belong to the model; those of loading.
    pub fn load(options: &AnswerOptions, cx: &mut Context) -> Result<Answerer> {
        options.routing.check()?;
        options.engine.check()?;
        let adapter = options.adapter.map(Gguf::open).transpose()?;
        if let (Some(gguf), Some(path)) = (&adapter, options.adapter) {
            lora_alpha(gguf, path)?;
        }
        let task = match (options.task, adapter.as_ref().and_then(|a| a.str("secondnature.task.json"))) {
            (Some(task), _) => task.clone(),
            (None, Some(json)) => Task::from_json(json, "the adapter's task")?,
            (None, None) => {
                return Err(Error::field("task", "is missing, and no adapter names its task; name one"));
            }
        };
        // The prompts that the adapter was trained on named this date.
        let date = adapter.as_ref().and_then(|a| a.str("secondnature.template.date")).map(String::from);
        let calibrated = adapter.as_ref().and_then(fallback_threshold);
        let gguf = Gguf::open(options.model)?;
        Spec::of(&gguf)?; // llama.cpp would abort the process on some files that this refuses.
        check_callers_engine(cx, &gguf)?;
        // With a few sequences at a time, expanding the weights costs more than it saves.
        let weights = match options.engine.weights {
            Weights::Auto => Weights::AsIs,
            weights => weights,
        };
        let mut answerer = Answerer {
            base: EngineCache::new(gguf, date.as_deref()),
            // One answer is wanted, not a label: it need not survive perturbations.
            task: Task { perturbations: Vec::new(), ..task },
            threshold: options.routing.threshold.or(calibrated).unwrap_or(DEFAULT_THRESHOLD),
            adapter: options.adapter.map(Path::to_path_buf),
            engine: EngineOptions { weights, ..options.engine },
            seed: options.routing.seed,
        };
        if cx.callers_engine().is_none() {
            answerer.base.engine(cx, answerer.adapter.as_deref(), &answerer.engine)?;
        }
        Ok(answerer)
    }

    /// Answers `question`, falling back to reasoning on the base model where the direct answer's
    /// probability is under the threshold. The same question gets the same answer every time.
    ///
    /// Where a caller's engine cannot apply adapters, direct answers come from the library's own engine.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty question; those of sampling; [`Error::Model`] where the adapter does not fit the model;
    /// [`Error::Cancelled`]. After any of them the next question can be asked.
    pub fn answer(&mut self, question: &Question, cx: &mut Context) -> Result<RoutedAnswer> {
        let Answerer { base, task, threshold, adapter, engine, seed } = self;
        check_callers_engine(cx, base.gguf())?;
        if question.fields.iter().all(|(_, text)| text.trim().is_empty()) {
            return Err(Error::field("question", "is empty"));
        }
        let cancel = cx.cancel.clone();
        let questions = std::slice::from_ref(question);
        let with_adapter = base.engine(cx, adapter.as_deref(), engine)?;
        let direct = ask_directly(with_adapter, task, questions, *seed, &cancel)?.answers.remove(0);
        if let Some(answer) = &direct.answer
            && f64::from(direct.probability) >= *threshold
        {
            return Ok(RoutedAnswer {
                answer: Some(task.answer.target(answer)),
                confidence: direct.probability.into(),
                route: Route::Direct,
                tokens: direct.generated_tokens,
            });
        }
        let plan = CurationPlan { task, questions, seed: *seed, stop_at_answer: true, verifier: None };
        let earlier: [Result<Sample>; 0] = [];
        let outcomes =
            curate::curate(|| base.engine(cx, None, engine), &plan, earlier, &mut Unobserved, &cancel)?;
        let outcome @ Outcome { verdict, .. } = &outcomes[0];
        Ok(RoutedAnswer {
            answer: verdict.answer.as_ref().map(|answer| task.answer.target(answer)),
            confidence: verdict.agreement.into(),
            route: Route::Reasoned,
            tokens: direct.generated_tokens + outcome.own_tokens(),
        })
    }
}

impl std::fmt::Debug for Answerer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answerer")
            .field("base", &self.base)
            .field("task", &self.task.name)
            .field("threshold", &self.threshold)
            .field("adapter", &self.adapter)
            .finish_non_exhaustive()
    }
}

struct Unobserved;

impl Observer for Unobserved {
    fn sample(&mut self, _: &Sample) -> Result<()> {
        Ok(())
    }
    fn verdict(&mut self, _: &Verdict) -> Result<()> {
        Ok(())
    }
}
