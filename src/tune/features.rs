//! What the votes of the candidates say about each of them: the figures that the score weighs.
//!
//! Everything is computed from [`CandidateVotes`] alone, without a gold answer and without a model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::consensus::Consensus;
use super::information::{AnswerCounts, adjusted_information, chance_agreement, pair_agreement};
use super::votes::{AnswerVotes, CandidateVotes, QuestionVotes};

/// The figures of a candidate. Shares are of all samples and in `0..=1`, unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// Number of questions.
    pub questions: usize,
    /// Number of samples of the questions themselves.
    pub samples: usize,
    /// Share of the samples with an answer.
    pub read: f64,
    /// Probability that two samples of a question agree: self-consistency that does not depend on the number
    /// of samples.
    pub agreement: f64,
    /// Probability that two samples of different questions agree.
    pub chance: f64,
    /// Agreement beyond chance: `(agreement - chance) / (1 - chance)`; 0 for one answer to everything.
    pub consistency: f64,
    /// Adjusted mutual information of question and answer, times the share read.
    pub information: f64,
    /// Mean share of the leading answer of a question.
    pub majority: f64,
    /// Share of the questions that the candidate's own vote accepts.
    pub kept: f64,
    /// Share of the samples that agree with the other candidates' votes, which are weighted by how far they
    /// agree with the others themselves, and by how rare their answers are.
    pub consensus: f64,
    /// The same of the questions, by the answer that a vote of many samples would give.
    pub vote_consensus: f64,
    /// The share of the others' samples that a sample agrees with, all candidates of a method counting alike.
    pub plain_consensus: f64,
    /// The same with the votes of System 2 candidates alone.
    pub reasoned_consensus: f64,
    /// Share of the samples that agree with samples of the direct prompts.
    pub direct_agreement: f64,
    /// Share of the samples whose answer stands word for word in the question.
    pub verbatim: f64,
    /// Share of the samples whose answer is what an opinion in the question says.
    pub opinion: f64,
    /// Share of the samples with an answer outside of a question from which the candidates take their answers.
    pub outside: f64,
    /// Share of the read answers that are the most common one.
    pub top_answer: f64,
    /// Number of different leading answers over the number of questions.
    pub variety: f64,
    /// Probability that a sample under a perturbation agrees with one of the question itself; `None` where the
    /// task has no perturbations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stability: Option<f64>,
    /// Share of samples in which a step repeats its own prompt.
    pub copies: f64,
    /// Share of samples that refuse to answer.
    pub refusals: f64,
    /// Share of samples cut at `max_tokens`.
    pub cut: f64,
    /// Tokens generated per sample.
    pub tokens_per_sample: f64,
    /// Share of the samples of questions with gold that are right; only with `--gold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gold_accuracy: Option<f64>,
    /// Number of questions with gold.
    #[serde(skip_serializing_if = "is_zero")]
    pub gold_questions: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// The features of all candidates, in their order. Each is judged on the questions that it has votes on.
pub fn features(all: &[CandidateVotes]) -> Vec<Features> {
    let mut features: Vec<Features> = all.iter().map(own_figures).collect();
    let consensus = Consensus::of(all);
    for (index, f) in features.iter_mut().enumerate() {
        f.consensus = consensus.of_samples(index);
        f.vote_consensus = consensus.of_vote(index);
        f.plain_consensus = consensus.plain_agreement(index, &|_| true);
        f.reasoned_consensus = consensus.plain_agreement(index, &|other| !other.is_direct());
        f.direct_agreement = consensus.plain_agreement(index, &|other| other.is_direct());
    }
    features
}

/// The figures that do not depend on the other candidates.
fn own_figures(votes: &CandidateVotes) -> Features {
    let questions: Vec<&QuestionVotes> = votes.questions.iter().filter(|q| q.n > 0).collect();
    let counts: Vec<AnswerCounts> = questions.iter().map(|q| counts(q)).collect();
    let sizes: Vec<usize> = questions.iter().map(|q| q.n).collect();
    let (m, samples) = (questions.len().max(1) as f64, sizes.iter().sum::<usize>());
    let of_samples = |n: usize| n as f64 / samples.max(1) as f64;
    let of_answers = |counts: &dyn Fn(&AnswerVotes) -> bool| {
        let answers = questions.iter().flat_map(|q| &q.answers);
        of_samples(answers.filter(|answer| counts(answer)).map(|answer| answer.votes).sum())
    };
    let of_all = |n: usize| n as f64 / votes.counts.samples.max(1) as f64;
    let mean = |value: &dyn Fn(&QuestionVotes) -> f64| questions.iter().map(|q| value(q)).sum::<f64>() / m;
    let read = of_samples(questions.iter().map(|q| q.read()).sum());
    let agreement = pair_agreement(&counts, &sizes).unwrap_or(0.0);
    let chance = chance_agreement(&counts, &sizes).unwrap_or(0.0);
    let mut totals = BTreeMap::<&str, usize>::new();
    for (key, n) in counts.iter().flatten() {
        *totals.entry(key).or_default() += n;
    }
    let (top, all_read) = (totals.values().max().copied().unwrap_or(0), totals.values().sum::<usize>());
    let leaders: std::collections::BTreeSet<&str> =
        questions.iter().filter_map(|q| Some(q.leader()?.key.as_str())).collect();
    let perturbed: Vec<f64> = questions.iter().filter(|q| q.perturbed_n > 0).map(|q| stability(q)).collect();
    Features {
        questions: questions.len(),
        samples,
        read,
        agreement,
        chance,
        consistency: if chance < 1.0 { ((agreement - chance) / (1.0 - chance)).max(0.0) } else { 0.0 },
        information: read * adjusted_information(&counts),
        majority: mean(&|q| q.leader().map_or(0.0, |leader| leader.votes as f64 / q.n as f64)),
        kept: mean(&|q| f64::from(u8::from(q.kept))),
        verbatim: of_answers(&|answer| answer.verbatim),
        opinion: of_answers(&|answer| answer.opinion),
        outside: of_answers(&|answer| answer.outside),
        top_answer: top as f64 / all_read.max(1) as f64,
        variety: leaders.len() as f64 / m,
        stability: (!perturbed.is_empty()).then(|| perturbed.iter().sum::<f64>() / perturbed.len() as f64),
        copies: of_all(votes.counts.copies),
        refusals: of_all(votes.counts.refusals),
        cut: of_all(votes.counts.cut),
        tokens_per_sample: of_all(votes.counts.generated_tokens),
        ..Features::default()
    }
}

fn counts(votes: &QuestionVotes) -> AnswerCounts<'_> {
    votes.answers.iter().map(|answer| (answer.key.as_str(), answer.votes)).collect()
}

fn stability(votes: &QuestionVotes) -> f64 {
    let n = votes.perturbed_n as f64;
    votes.perturbed.iter().map(|answer| answer.votes as f64 / n * votes.share(&answer.key)).sum()
}
