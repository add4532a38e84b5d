//! The figures of curation, as `report.json` has them.

use serde::{Deserialize, Serialize};

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
