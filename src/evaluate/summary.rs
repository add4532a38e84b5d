//! The figures of an evaluation, as `report.json` has them.

use serde::{Deserialize, Serialize};

/// One way of answering, measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
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
    /// Questions, without those set aside.
    pub n: usize,
    /// Questions that count for nothing, since their prompts are too long or cannot be rendered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub set_aside: usize,
    /// What accuracy is measured against: `gold`, or `system2-vote` without gold answers.
    pub against: String,
    /// The base model asked directly.
    pub system1: Measurement,
    /// The base model's vote after reasoning.
    pub system2: Measurement,
    /// The base model with the adapter, asked directly.
    pub distilled: Measurement,
    /// McNemar's exact two-sided p for distilled against System 1.
    pub mcnemar_p: f64,
    /// Whether the adapter is worth using: its direct answers are better than the base model's, and than
    /// always giving the same answer, by more than chance explains (McNemar's p below 0.05 for each).
    #[serde(default)]
    pub worthwhile: bool,
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

fn is_zero(n: &usize) -> bool {
    *n == 0
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
