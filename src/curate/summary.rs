//! The figures of curation in `report.json`.

use serde::{Deserialize, Serialize};

use crate::finding::Finding;

/// The figures of curation: questions, samples, tokens and accepted answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curation {
    /// Number of training questions.
    pub questions: usize,
    /// Number of questions whose voted answer was accepted.
    pub kept: usize,
    /// Number of questions that were not sampled, since their prompts are too long or cannot be rendered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub set_aside: usize,
    /// Why the first of them was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside_reason: Option<String>,
    /// Maximal number of samples of a question.
    #[serde(default)]
    pub max_samples: usize,
    /// Share of the samples of a question that had to agree.
    #[serde(default)]
    pub threshold: f32,
    /// Number of finished samples.
    pub samples: usize,
    /// Number of samples without an answer, including those that a verifier rejected.
    #[serde(default)]
    pub unparsed: usize,
    /// Number of samples without an answer that ended at `max_tokens`.
    #[serde(default)]
    pub cut_off: usize,
    /// Number of samples whose answer was read from the closing turn.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub read_by_closing: usize,
    /// Number of prompt tokens of all samples, counted as if no prefix were shared.
    pub prompt_tokens: usize,
    /// Number of tokens generated.
    pub generated_tokens: usize,
    /// How often sampling stopped early.
    #[serde(default)]
    pub stops: Stops,
    /// The pairs of different answers of which the model judged whether they mean the same; `None` if the
    /// task does not ask for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equivalences: Option<Equivalences>,
    /// Seconds of sampling, in all invocations.
    pub seconds: f64,
    /// Share of accepted answers that equal the gold answer, if the questions have gold answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// What the first questions show to be wrong, or worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// The pairs of different answers that the model compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivalences {
    /// Number of pairs judged.
    pub judged: usize,
    /// Number of pairs that mean the same.
    pub equal: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// How often sampling stopped early, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stops {
    /// Samples that ended because their answer was complete.
    pub answer: usize,
    /// Votes that ended because they converged.
    #[serde(rename = "settled")]
    pub converged: usize,
    /// Votes that ended because no answer could reach the threshold any more.
    pub threshold: usize,
    /// Samples that were not taken because votes ended early.
    pub samples_not_taken: usize,
}
