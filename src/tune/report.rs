//! `tune.json`: the candidates with their figures, the choice, and why.

use serde::{Deserialize, Serialize};

use super::contestant::{Extent, Origin, SamplingTime};
use super::features::Features;
use super::race::RoundPlan;
use super::shortage::Shortage;
use super::vote_size::VoteSize;
use super::votes::{QuestionVotes, SampleCounts};
use crate::evaluate::wilson;
use crate::task::AnswerRule;

/// What a race found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuneReport {
    /// The path of the model file.
    pub model: String,
    /// Number of questions given, gold ones not included.
    pub questions: usize,
    /// The seed of all samples.
    pub seed: u64,
    /// The rule whose keys compare the answers of different candidates.
    pub answer: AnswerRule,
    /// The name of the chosen program, or of the one that comes closest where none is worth distilling.
    pub winner: Option<String>,
    /// Whether distilling the winner looks worthwhile.
    pub worthwhile: bool,
    /// Why, in plain words, a sentence each.
    pub reasons: Vec<String>,
    /// The name of the best wording of the direct prompt, which is the System 1 of the winner's task.
    pub baseline: Option<String>,
    /// What to expect of the winner.
    pub expected: Option<Expectation>,
    /// Seconds of the race, over all invocations.
    pub seconds: f64,
    /// The rounds.
    pub rounds: Vec<RoundPlan>,
    /// What there was too little time for, if there was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortage: Option<Shortage>,
    /// Why fewer wordings than were asked for are the model's own, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_proposed: Option<String>,
    /// What votes of 4, 8, 12 … samples of the winner would keep, as far as it had so many.
    #[serde(default)]
    pub vote_sizes: Vec<VoteSize>,
    /// The smallest of them that keeps about as much as any and is as sure, which the written task has;
    /// `None` where that was not measured, and the task has its own number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// The candidates that were judged, best first: by the number of rounds, then by score.
    pub candidates: Vec<CandidateReport>,
    /// The names of those that were not, because the time was up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unjudged: Vec<String>,
    /// The answers to the direct prompt of `baseline` at temperature 0.
    pub system1: Vec<SystemOneAnswer>,
}

/// What to expect of a distillation of the winner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// Share of the questions whose voted answer is accepted; those that cannot be asked are among the others.
    pub kept_share: f64,
    /// Its 95% interval (Wilson), by the number of questions that it was seen on.
    #[serde(default)]
    pub kept_interval: [f64; 2],
    /// Samples until a vote ends.
    pub samples_per_question: f64,
    /// Share of the accepted answers that System 1 gives as well.
    pub system1_agreement: f64,
    /// Share of the accepted answers that are right, of questions with gold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_precision: Option<f64>,
    /// Share of the direct answers that are right, of questions with gold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system1_accuracy: Option<f64>,
    /// Share of the votes that are right, of questions with gold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vote_accuracy: Option<f64>,
    /// Hours to curate all questions.
    pub curate_hours: f64,
    /// Hours to train on what is kept with the default options, three passes over the examples. Nothing was
    /// trained: it is from the tokens of a direct prompt with its answer, the size of the model, and the speed of
    /// the matmul kernel, measured when the race ended, of which training reaches about half. Examples that begin
    /// alike are trained faster, long ones slower.
    pub train_hours: f64,
}

impl Expectation {
    /// Takes into account that `n` of `judged` questions cannot be asked, which the figures leave out.
    pub(super) fn leave_out(&mut self, n: usize, judged: usize) {
        let asked = 1.0 - n as f64 / judged.max(1) as f64;
        for figure in [
            &mut self.kept_share,
            &mut self.samples_per_question,
            &mut self.curate_hours,
            &mut self.train_hours,
        ] {
            *figure *= asked;
        }
        self.kept_interval = wilson(self.kept_share, judged);
    }
}

/// A candidate in the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateReport {
    /// Its name, also of its folder in `candidates/`.
    pub name: String,
    /// Its method.
    pub method: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The candidate that it is a variation of, or its own name.
    pub family: String,
    /// The name of the candidate that it is a variation of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Its score.
    pub score: f64,
    /// Number of rounds that it was sampled in.
    pub rounds: usize,
    /// Why it is out of the race, where that was not the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// The questions and samples that the features are of.
    pub judged: Extent,
    /// The figures that the score is computed from. Those of a variation in temperature are its base's, moved by
    /// the difference between their votes, since samples at a lower temperature agree more without being right
    /// more often.
    pub features: Features,
    /// Faults and tokens.
    pub counts: SampleCounts,
    /// What all its samples took.
    pub time: SamplingTime,
    /// Its votes.
    pub votes: Vec<QuestionVotes>,
}

impl CandidateReport {
    /// Whether it is a wording of the direct prompt.
    pub fn is_direct(&self) -> bool {
        self.origin == Origin::Direct
    }
}

/// A direct answer at temperature 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemOneAnswer {
    /// The question's id.
    pub question: String,
    /// The key of the answer; `None` where none was read.
    pub key: Option<String>,
    /// The answer as it was written.
    pub text: Option<String>,
}

/// A candidate of the library with good figures.
#[cfg(test)]
pub(super) fn candidate(name: &str, score: f64) -> CandidateReport {
    CandidateReport {
        name: name.into(),
        method: "s2a".into(),
        origin: Origin::Library,
        family: name.into(),
        base: None,
        score,
        rounds: 2,
        dropped: None,
        judged: Extent { questions: 3, samples: 4 },
        features: Features {
            questions: 10_000,
            read: 1.0,
            consensus: -0.001,
            kept: 1.0,
            tokens_per_sample: 1234.0,
            ..Features::default()
        },
        counts: SampleCounts::default(),
        time: SamplingTime::default(),
        votes: Vec::new(),
    }
}
