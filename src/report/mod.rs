//! What a run found: `report.json`, whose keys are fixed, and the table for people.

mod table;

use serde::{Deserialize, Serialize};

pub use table::table;

/// `report.json`. Keys are stable; a stage that has not run is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The base model.
    pub model: ModelFacts,
    /// The task's name.
    pub task: String,
    /// What sampling and voting gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curation: Option<Curation>,
    /// What training took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// System 1, System 2 and the distilled model on held-out questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// The adapter file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterFacts>,
    /// Whether distilling this task pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// The base model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// The file as it was named.
    pub path: String,
    /// Its `general.name`.
    pub name: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its `general.architecture`.
    pub architecture: String,
    /// Its parameters.
    pub parameters: u64,
}

/// What sampling and voting gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curation {
    /// Training questions asked.
    pub questions: usize,
    /// Questions whose vote was kept.
    pub kept: usize,
    /// Most samples a question could get.
    #[serde(default)]
    pub max_samples: usize,
    /// Share of its samples that had to agree for a question to be kept.
    #[serde(default)]
    pub threshold: f32,
    /// Samples finished.
    pub samples: usize,
    /// Samples that hold no answer, those turned down by a verifier included.
    #[serde(default)]
    pub unparsed: usize,
    /// Those of them that ended at `max_tokens`.
    #[serde(default)]
    pub cut_off: usize,
    /// Prompt tokens of all samples, as if none were shared.
    pub prompt_tokens: usize,
    /// Tokens sampled.
    pub generated_tokens: usize,
    /// What early stops did.
    #[serde(default)]
    pub stops: Stops,
    /// Seconds spent sampling, over all invocations.
    pub seconds: f64,
    /// Share of kept answers that equal the gold answer, where the questions carry one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
}

/// How often sampling stopped early, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stops {
    /// Samples that ended because their answer was complete.
    pub answer: usize,
    /// Questions that ended because their vote was settled.
    pub settled: usize,
    /// Questions that ended because no answer could reach the threshold any more.
    pub threshold: usize,
    /// Samples that were therefore not taken.
    pub samples_not_taken: usize,
}

/// What training took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Examples trained on.
    pub examples: usize,
    /// Examples held out for early stopping.
    pub held_out: usize,
    /// Passes over the examples (of the adapter that was kept).
    pub epochs: f64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Tokens fed, as the examples count them (shared prefixes counted for every example).
    pub tokens: u64,
    /// Tokens computed: shared prefixes once.
    pub tokens_computed: u64,
    /// Seconds spent training.
    pub seconds: f64,
    /// `tokens / seconds`
    pub tokens_per_s: f64,
    /// Loss per target token of the first step.
    pub loss_first: f64,
    /// Loss per target token of the last step.
    pub loss_last: f64,
    /// The lowest loss on held-out pseudo-labels, that of the adapter kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out_loss: Option<f64>,
    /// Peak resident memory of the process so far.
    pub peak_rss_mb: f64,
    /// Loss per target token of every optimiser step.
    #[serde(default)]
    pub loss_curve: Vec<f64>,
    /// Held-out loss after every half epoch, the base model's first.
    #[serde(default)]
    pub held_out_curve: Vec<f64>,
}

/// One way of answering, measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Share of right answers, in 0..=1.
    pub accuracy: f64,
    /// Every generated token per answer: of all steps, and of all samples of a vote.
    pub tokens_per_answer: f64,
    /// Wall-clock milliseconds per answer, answering all questions as one batch.
    pub ms_per_answer: f64,
    /// Answers in which no answer was found.
    pub unparsed: usize,
    /// Samples drawn per question (System 2 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples_per_question: Option<f64>,
    /// Share of right answers of single samples (System 2 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_per_sample: Option<f64>,
    /// Every generated token per single sample (System 2 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_sample: Option<f64>,
}

/// Answering directly when confident, by reasoning otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fallback {
    /// Answer directly at or above this probability; chosen on pseudo-labels held out of training.
    pub threshold: f64,
    /// Share of questions answered directly.
    pub coverage: f64,
    /// Share of right answers.
    pub accuracy: f64,
    /// Every generated token per answer.
    pub tokens_per_answer: f64,
}

/// Always giving the one answer that is right most often.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// That answer.
    pub answer: String,
    /// Share of right answers.
    pub accuracy: f64,
    /// McNemar's exact two-sided p for the distilled model against it.
    pub mcnemar_p: f64,
}

/// System 1, System 2 and the distilled model on held-out questions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Questions.
    pub n: usize,
    /// What accuracy is measured against: `gold`, or `system2-vote` without gold answers.
    pub against: String,
    /// The base model asked directly.
    pub system1: Measured,
    /// The base model's vote after reasoning.
    pub system2: Measured,
    /// The base model with the adapter, asked directly.
    pub distilled: Measured,
    /// McNemar's exact two-sided p for distilled against System 1.
    pub mcnemar_p: f64,
    /// What always giving the same answer would score: the least an adapter must beat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constant: Option<Constant>,
    /// Falling back to System 2 when unsure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// How often answers change under the task's perturbations, though they may not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inconsistent: Vec<Inconsistent>,
}

/// Share of questions, in 0..=1, whose answer changes under a perturbation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inconsistent {
    /// The perturbation's name.
    pub perturbation: String,
    /// Of the base model asked directly.
    pub system1: f64,
    /// Of the base model's vote after reasoning.
    pub system2: f64,
    /// Of the base model with the adapter, asked directly.
    pub distilled: f64,
}

/// The adapter file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AdapterFacts {
    /// Where it was written.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// r
    pub rank: usize,
    /// α
    pub alpha: f32,
    /// Largest difference between the trainer's logits and llama.cpp's with the adapter loaded.
    pub parity_max_abs_diff: f64,
    /// Root mean square of the same difference, relative to the spread of the logits.
    pub parity_relative_rms: f64,
    /// The same of the base model without the adapter, which rounding alone explains.
    #[serde(default)]
    pub parity_base_relative_rms: f64,
}

/// Whether distilling this task pays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The verdict.
    pub distil: bool,
    /// In one sentence, with the figures.
    pub why: String,
    /// Where not: each reason by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Where not: what to try, with the figures it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
}

impl Decision {
    /// It pays.
    pub fn yes(why: String) -> Decision {
        Decision { distil: true, why, ..Decision::default() }
    }

    /// It does not.
    pub fn no(reasons: Vec<String>, advice: Vec<String>) -> Decision {
        Decision { distil: false, why: reasons.join("; "), reasons, advice }
    }

    /// It pays only if it does by both; all reasons of both where it does not.
    pub fn and(self, other: Decision) -> Decision {
        match (self.distil, other.distil) {
            (true, true) => Decision::yes(format!("{}; {}", self.why, other.why)),
            (false, true) => self,
            (true, false) => other,
            (false, false) => Decision::no(
                self.reasons.into_iter().chain(other.reasons).collect(),
                self.advice.into_iter().chain(other.advice).collect(),
            ),
        }
    }

    /// Why not and what to try, in one line.
    pub fn refusal(&self) -> String {
        match self.advice.is_empty() {
            true => self.why.clone(),
            false => format!("{}. What may help: {}", self.why, self.advice.join("; ")),
        }
    }
}
