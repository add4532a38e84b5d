//! The vote of a question's samples: the stopping rule and the verdict. No model and no gold answer.
//!
//! The samples of a question vote, and an answer that enough of them give is accepted
//! (self-consistency; Wang et al., 2022). Two rules protect the labels:
//!
//! - A sample without an answer counts in the denominator. A model that seldom answers cannot be
//!   unanimous.
//! - Each verdict records why sampling stopped, so that accepted answers can be checked for a bias
//!   by the number of samples.
//!
//! Samples may be weighted by the model's confidence. Weights change which answer leads and by how
//! much, and never when sampling stops: the stopping rule is a statement about counts, and weights
//! are known only after sampling.

mod tally;
mod variants;

use serde::{Deserialize, Serialize};

use tally::Counts;
pub(crate) use tally::Tally;
pub use variants::VariantVote;
pub(crate) use variants::{combine_variants, rejects_question};

use crate::task::{Answer, Select, VoteRule, Weighing};

/// A threshold that accepts every vote with at least one answer: for votes that are measured and not
/// trained on.
pub(crate) const NO_THRESHOLD: f32 = 0.0;

/// Why sampling of a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The vote converged: the leader is the true majority with the confidence that the rule asks for.
    #[serde(alias = "settled")]
    Converged,
    /// The question had all its samples.
    Budget,
    /// No answer could reach the threshold with the samples that were left.
    Abandoned,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StopReason::Converged => "converged",
            StopReason::Budget => "budget",
            StopReason::Abandoned => "abandoned",
        })
    }
}

/// The result of the vote on one question: a line of `verdicts.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The question's id.
    pub question: String,
    /// The answer with most votes, or with most weight; `None` if no sample holds an answer.
    pub answer: Option<Answer>,
    /// The last completion of the first sample that gave this answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// Number of votes for the answer: of samples, or of selections if the model selected.
    pub votes: usize,
    /// Number of samples, including those without an answer.
    pub n: usize,
    /// Number of selections in a universal vote; `None` if the model was not asked to select.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selections: Option<usize>,
    /// Share of the samples (or of their weight, or of the selections) that agrees, in `0..=1`.
    pub agreement: f32,
    /// Why sampling stopped.
    pub stop: StopReason,
    /// Whether the answer is accepted, to be trained on.
    pub kept: bool,
    /// Why it is accepted or rejected, as one line for the user.
    pub reason: String,
    /// Why the question was not sampled: its prompt is too long or cannot be rendered. `None` if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
    /// The vote on each variant of the question, if the task has perturbations: first on the
    /// question itself, with the figures above, then on each perturbation, up to the first that
    /// rejects the question.
    #[serde(default, alias = "ballots", skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantVote>,
}

/// Whether sampling of a question should stop, and why; `None` while it should go on.
///
/// A vote converges if the leader is very probably the true majority. With the two largest counts
/// a ≥ b, the probability that the leader is the true mode, under a uniform prior, is
/// `Pr[Bin(a+b+1, 1/2) ≤ a]`. It must reach the rule's `confidence`, after at least `min_samples`
/// samples. At a confidence of 0.95 that is 4 votes against 0, 6 against 1, 8 against 2, 9 against 3.
/// Source: Aggarwal et al., *Let's Sample Step by Step: Adaptive-Consistency*, 2023.
///
/// A universal vote does not converge early, since the model selects among all responses. It is
/// abandoned when too few samples hold an answer.
pub(crate) fn stop(rule: &VoteRule, tally: &Tally) -> Option<StopReason> {
    stop_at(rule, tally.counts())
}

fn stop_at(rule: &VoteRule, counts: Counts) -> Option<StopReason> {
    let n = counts.n;
    let votes = match rule.select {
        Select::Count => counts.leader,
        Select::Universal => counts.parsed,
    };
    let may_converge = rule.select == Select::Count && rule.confidence < 1.0 && n >= rule.min_samples;
    if may_converge && chance_of_majority(votes, counts.runner_up) >= f64::from(rule.confidence) {
        return Some(StopReason::Converged);
    }
    if n >= rule.samples {
        return Some(StopReason::Budget);
    }
    // If `reachable` votes are too few of all samples, they are too few of any smaller number: each
    // sample that is not taken costs the answer a vote.
    let reachable = votes + (rule.samples - n);
    (rule.early_abandon && !meets(rule, reachable as f64, rule.samples)).then_some(StopReason::Abandoned)
}

/// How many further samples end the vote if all of them agree with the leader: as many as are worth
/// sampling at the same time. 0 if the vote has ended.
pub(crate) fn samples_if_unanimous(rule: &VoteRule, tally: &Tally) -> usize {
    let mut counts = tally.counts();
    let begin = counts.n;
    // An abandoned vote may have been abandoned only because samples are missing.
    while counts.n < rule.samples
        && stop_at(rule, counts).is_none_or(|reason| reason == StopReason::Abandoned)
    {
        counts = counts.with_vote_for_leader();
    }
    counts.n - begin
}

/// The verdict on a question whose sampling has stopped.
///
/// The answer is accepted if no other has as many votes (or as much weight) and its agreement
/// reaches the threshold.
pub(crate) fn decide(rule: &VoteRule, question_id: &str, tally: &Tally, stop: StopReason) -> Verdict {
    let n = tally.n();
    let leader = tally.heaviest();
    let (votes, share) = leader.as_ref().map_or((0, 0.0), |leader| (leader.votes, leader.share));
    let mut agree = format!("{votes} of {n} samples agree");
    if rule.weights == Weighing::Confidence {
        agree += &format!(" ({} by weight)", percent(share as f32));
    }
    let refusal = match &leader {
        None if n == 0 => Some("no sample was taken".to_string()),
        None => Some(format!("none of {n} samples holds an answer")),
        Some(leader) if leader.is_tied => Some(format!("a tie: several answers have {votes} of {n} samples")),
        Some(_) if stop == StopReason::Abandoned => {
            Some(format!("{agree}; {} cannot be reached", percent(rule.threshold)))
        }
        Some(_) if !meets(rule, share * n as f64, n) => {
            Some(format!("{agree}, under the threshold of {}", percent(rule.threshold)))
        }
        Some(_) => None,
    };
    Verdict {
        question: question_id.to_string(),
        answer: leader.map(|leader| leader.answer),
        completion: None,
        votes,
        n,
        selections: None,
        agreement: share as f32,
        stop,
        kept: refusal.is_none(),
        reason: refusal.unwrap_or(agree),
        set_aside: None,
        variants: Vec::new(),
    }
}

/// The verdict on a question that cannot be asked.
pub(crate) fn verdict_set_aside(question_id: &str, why: &str) -> Verdict {
    Verdict {
        question: question_id.to_string(),
        answer: None,
        completion: None,
        votes: 0,
        n: 0,
        selections: None,
        agreement: 0.0,
        stop: StopReason::Abandoned,
        kept: false,
        reason: format!("set aside: {why}"),
        set_aside: Some(why.to_string()),
        variants: Vec::new(),
    }
}

/// Whether the model has to select among these samples, which must be complete: the vote is a
/// universal one, and enough samples hold an answer, but not all the same. Otherwise [`decide`] gives
/// the verdict.
pub(crate) fn needs_selection(rule: &VoteRule, tally: &Tally) -> bool {
    rule.select == Select::Universal && tally.answers() > 1 && meets(rule, tally.parsed() as f64, tally.n())
}

/// The verdict on a question for which the model selected among its responses.
///
/// `picks` counts the answer of each response that the model picked, and no answer for a selection
/// that names no response. Responses with the same answer count together.
pub(crate) fn decide_selected(rule: &VoteRule, question_id: &str, tally: &Tally, picks: &Tally) -> Verdict {
    let (n, selections) = (tally.n(), picks.n());
    let (answer, votes) = picks.leader().map_or((None, 0), |(answer, votes)| (Some(answer), votes));
    let agree = format!("{votes} of {selections} selections agree");
    let refusal = match &answer {
        None => Some(format!("none of {selections} selections names a response")),
        Some(_) if votes == picks.runner_up() => {
            Some(format!("a tie: several answers have {votes} of {selections} selections"))
        }
        Some(_) if !meets(rule, votes as f64, selections) => {
            Some(format!("{agree}, under the threshold of {}", percent(rule.threshold)))
        }
        Some(_) => None,
    };
    Verdict {
        question: question_id.to_string(),
        answer,
        completion: None,
        votes,
        n,
        selections: Some(selections),
        agreement: if selections == 0 { 0.0 } else { votes as f32 / selections as f32 },
        stop: StopReason::Budget,
        kept: refusal.is_none(),
        reason: refusal.unwrap_or(agree),
        set_aside: None,
        variants: Vec::new(),
    }
}

/// A prompt that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PromptTooLong {
    /// Its tokens.
    pub tokens: usize,
    /// The number of tokens from which on a prompt does not fit.
    pub limit: usize,
}

/// The verdict on a question whose responses do not fit into one prompt, so that the model cannot
/// select among them: the most frequent answer, rejected.
pub(crate) fn verdict_prompt_too_long(
    rule: &VoteRule,
    question_id: &str,
    tally: &Tally,
    prompt: PromptTooLong,
) -> Verdict {
    let reason = format!(
        "its {} responses make a prompt of {} tokens, too long to select among: at most {} fit",
        tally.parsed(),
        prompt.tokens,
        prompt.limit.saturating_sub(1)
    );
    Verdict { kept: false, reason, ..decide(rule, question_id, tally, StopReason::Budget) }
}

/// The chance that the answer is the true majority in the weakest vote that `rule` accepts after all its
/// samples: just enough for the leader, and the others all for one other answer.
pub(crate) fn weakest_accepted(rule: &VoteRule) -> f64 {
    let n = rule.samples;
    let leader = (1..=n).find(|votes| meets(rule, *votes as f64, n) && *votes > n - votes);
    leader.map_or(1.0, |leader| chance_of_majority(leader, n - leader))
}

/// `Pr[Bin(a+b+1, 1/2) ≤ a]`, for tallies a ≥ b.
fn chance_of_majority(a: usize, b: usize) -> f64 {
    // The complement has b + 1 terms. The first is a power of two, exact for up to 1000 samples.
    let m = (a + b + 1) as f64;
    let mut term = 0.5f64.powi((a + b + 1) as i32);
    let mut complement = term;
    for i in 0..b {
        term *= (m - i as f64) / (i as f64 + 1.0);
        complement += term;
    }
    1.0 - complement
}

/// Whether `votes` of `n` reach the threshold. The tolerance is for thresholds such as 0.7, which
/// `f32` rounds up.
fn meets(rule: &VoteRule, votes: f64, n: usize) -> bool {
    votes > 0.0 && votes >= f64::from(rule.threshold) * n as f64 - 1e-4
}

fn percent(part: f32) -> String {
    format!("{}%", (f64::from(part) * 1000.0).round() / 10.0)
}

#[cfg(test)]
mod tests;
