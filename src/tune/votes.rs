//! What the samples of a candidate said, without their texts: all that the score is computed from.
//!
//! `tune.json` holds these figures of every candidate, so that another score can be tried without
//! sampling anything again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The samples of one question that gave one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerVotes {
    /// Equal answers of all candidates have equal keys.
    pub key: String,
    /// The answer as the first of these samples wrote it.
    pub text: String,
    /// Number of samples.
    pub votes: usize,
    /// Their numbers, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<usize>,
    /// Whether the answer stands word for word in a field of the question.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verbatim: bool,
    /// Whether it is what an opinion in the question says, and stands nowhere else in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opinion: bool,
    /// Whether it stands outside of a question from which the candidates take their answers (`outside.rs`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
}

impl AnswerVotes {
    /// Whether it says nothing about what is right: somebody's opinion, or no answer to this question.
    pub fn is_void(&self) -> bool {
        self.opinion || self.outside
    }
}

/// The samples of one question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionVotes {
    /// The question's id.
    pub question: String,
    /// Number of samples, those without an answer included.
    pub n: usize,
    /// The answers, most votes first.
    pub answers: Vec<AnswerVotes>,
    /// Number of samples under the task's perturbations.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub perturbed_n: usize,
    /// Their answers, mapped back to answers to the question itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub perturbed: Vec<AnswerVotes>,
    /// Whether the candidate's own vote accepts an answer with these samples.
    #[serde(default)]
    pub kept: bool,
    /// Number of samples after which its vote would have ended.
    #[serde(default)]
    pub needed: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl QuestionVotes {
    /// Answer key → share of the samples.
    pub fn shares(&self) -> impl Iterator<Item = (&str, f64)> {
        let n = self.n.max(1) as f64;
        self.answers.iter().map(move |answer| (answer.key.as_str(), answer.votes as f64 / n))
    }

    /// The share of the samples with the answer `key`.
    pub fn share(&self, key: &str) -> f64 {
        self.shares().find(|(other, _)| *other == key).map_or(0.0, |(_, share)| share)
    }

    /// The answer with most votes; of several, the one whose key sorts first.
    pub fn leader(&self) -> Option<&AnswerVotes> {
        self.answers.first()
    }

    /// Number of samples with an answer.
    pub fn read(&self) -> usize {
        self.answers.iter().map(|answer| answer.votes).sum()
    }
}

/// Answers, each of one sample, counted by key: most votes first.
pub(super) fn count(answers: impl IntoIterator<Item = AnswerVotes>) -> Vec<AnswerVotes> {
    let mut counts = BTreeMap::<String, AnswerVotes>::new();
    for answer in answers {
        let none = AnswerVotes { votes: 0, samples: Vec::new(), ..answer.clone() };
        let counted = counts.entry(answer.key).or_insert(none);
        counted.votes += answer.votes;
        counted.samples.extend(answer.samples);
    }
    let mut counts: Vec<AnswerVotes> = counts.into_values().collect();
    counts.sort_by(|a, b| b.votes.cmp(&a.votes).then_with(|| a.key.cmp(&b.key)));
    counts
}

/// Samples whose outputs are faulty, and what samples cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleCounts {
    /// Number of samples, those under perturbations included.
    pub samples: usize,
    /// Samples in which a step repeats a text that stands in its own prompt template.
    pub copies: usize,
    /// Samples whose last completion refuses to answer.
    pub refusals: usize,
    /// Samples of which a completion was cut at `max_tokens`.
    pub cut: usize,
    /// Tokens of all prompts, counted as if no prefix were shared.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub generated_tokens: usize,
}

/// All votes of one candidate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CandidateVotes {
    /// The candidate's name.
    pub name: String,
    /// Its System 2 method; `direct` for a wording of the direct prompt.
    pub method: String,
    /// The candidate that it is a variation of; its own name otherwise. Candidates of one family are not
    /// witnesses for each other.
    pub family: String,
    /// Faults and cost.
    pub counts: SampleCounts,
    /// The votes on each question, in the race's order.
    pub questions: Vec<QuestionVotes>,
}

/// What each candidate counts: candidates of one method tend to make the same mistakes, so that `m` of them count
/// as `√m`, each as `1/√m`.
pub(super) fn shares_of_methods(all: &[CandidateVotes]) -> Vec<f64> {
    let mut of_method = BTreeMap::<&str, usize>::new();
    all.iter().for_each(|votes| *of_method.entry(&votes.method).or_default() += 1);
    all.iter().map(|votes| 1.0 / (of_method[votes.method.as_str()] as f64).sqrt()).collect()
}

/// The method of candidates that are a wording of the direct prompt.
pub const DIRECT: &str = "direct";

impl CandidateVotes {
    /// Whether it is a wording of the direct prompt.
    pub fn is_direct(&self) -> bool {
        self.method == DIRECT
    }

    /// The votes on the question with this id.
    pub fn on(&self, question: &str) -> Option<&QuestionVotes> {
        self.questions.iter().find(|votes| votes.question == question)
    }
}
