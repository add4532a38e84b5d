//! From samples to a verdict, without knowing the right answer.
//!
//! Samples of one question vote; an answer that enough of them give is trusted (self-consistency).
//! Two rules keep this honest. Samples that hold no answer stay in the denominator, so a model that
//! mostly rambles cannot be unanimous. And sampling stops early for reasons that are recorded with
//! every verdict, so that kept answers can be checked for a bias by the number of samples.
//!
//! Samples may weigh by the model's confidence. That changes who leads and how far, never when
//! sampling stops: the stopping rule is a statement about counts, and a weight that is only known
//! afterwards must not decide how many samples there are.

mod tally;
mod variants;

use serde::{Deserialize, Serialize};

pub use tally::{Heaviest, Tally};
pub use variants::{VariantVote, combine_variants, rejects_question};

use crate::task::{Answer, Select, VoteRule, Weighing};

/// A threshold that accepts every vote in which one sample at least holds an answer: votes that are
/// measured, not turned into labels.
pub(crate) const NO_THRESHOLD: f32 = 0.0;

/// Why no further sample of a question was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The leading answer is the true majority with the confidence asked for.
    Settled,
    /// All samples were used.
    Budget,
    /// The samples left could not lift any answer to the threshold.
    Abandoned,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StopReason::Settled => "settled",
            StopReason::Budget => "budget",
            StopReason::Abandoned => "abandoned",
        })
    }
}

/// What the samples of one question came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The question's id.
    pub question: String,
    /// The answer with most votes (or weight); none where no sample held an answer.
    pub answer: Option<Answer>,
    /// What the first sample that gave this answer wrote in its last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// Its votes: samples, or selections where the model selected.
    pub votes: usize,
    /// Samples, those without an answer included.
    pub n: usize,
    /// How often the model was asked to select among the responses; none where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selections: Option<usize>,
    /// The part of the samples (of their weight, or of the selections) that agrees, in `0..=1`.
    pub agreement: f32,
    /// Why sampling stopped.
    pub stop: StopReason,
    /// Whether the answer is good enough to train on.
    pub kept: bool,
    /// Why it is kept or not, for a person.
    pub reason: String,
    /// With perturbations: the vote on the question itself, whose figures are those above, and on
    /// each perturbed variant, until one rejects the question.
    #[serde(default, alias = "ballots", skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantVote>,
}

/// Whether to take no further sample of this question, and why.
///
/// Settled: with the two largest tallies a ≥ b, the chance that the leader is the true mode, under
/// a uniform prior, is `Pr[Bin(a+b+1, 1/2) ≤ a]`; it must reach the rule's confidence, after at
/// least `min_samples`. (At 0.95: 4 against 0, 6 against 1, 8 against 2, 9 against 3.) From: Aggarwal et al.,
/// *Let's Sample Step by Step: Adaptive-Consistency*, 2023.
///
/// A universal vote is never settled: which response the others agree with is asked of all of
/// them. It is abandoned where too few samples hold an answer at all.
pub fn stop(rule: &VoteRule, tally: &Tally) -> Option<StopReason> {
    let n = tally.n();
    let votes = match rule.select {
        Select::Count => tally.leader_votes(),
        Select::Universal => tally.parsed(),
    };
    let may_settle = rule.select == Select::Count && rule.confidence < 1.0 && n >= rule.min_samples;
    if may_settle && chance_of_majority(votes, tally.runner_up()) >= f64::from(rule.confidence) {
        return Some(StopReason::Settled);
    }
    if n >= rule.samples {
        return Some(StopReason::Budget);
    }
    // Were `reachable` of all samples too few, so would any smaller number of samples be: the
    // answer loses a vote with every sample not taken.
    let reachable = votes + (rule.samples - n);
    (rule.early_abandon && !meets(rule, reachable as f64, rule.samples)).then_some(StopReason::Abandoned)
}

/// The verdict on a question whose sampling has stopped.
///
/// An answer is kept where it alone has most votes (or weight) and its agreement reaches the
/// threshold.
pub fn decide(rule: &VoteRule, question_id: &str, tally: &Tally, stop: StopReason) -> Verdict {
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
        variants: Vec::new(),
    }
}

/// Whether the model is to select among these samples, all of which there are: where enough of them
/// hold an answer, and not all the same. Else [`decide`] has the verdict.
pub fn needs_selection(rule: &VoteRule, tally: &Tally) -> bool {
    rule.select == Select::Universal && tally.answers() > 1 && meets(rule, tally.parsed() as f64, tally.n())
}

/// The verdict on a question for which the model selected among its responses. `picks` are the
/// answers of the responses it picked, none for a selection that names no response; picks of
/// responses with the same answer count together.
pub fn decide_selected(rule: &VoteRule, question_id: &str, tally: &Tally, picks: &Tally) -> Verdict {
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
        variants: Vec::new(),
    }
}

/// The verdict on a question whose responses make a prompt of `tokens` tokens, where fewer than
/// `limit` fit, so that none could be selected: the answer of most of them, not kept.
pub fn verdict_prompt_too_long(
    rule: &VoteRule,
    question_id: &str,
    tally: &Tally,
    (tokens, limit): (usize, usize),
) -> Verdict {
    let reason = format!(
        "its {} responses make a prompt of {tokens} tokens, too long to select among: at most {} fit",
        tally.parsed(),
        limit.saturating_sub(1)
    );
    Verdict { kept: false, reason, ..decide(rule, question_id, tally, StopReason::Budget) }
}

/// `Pr[Bin(a+b+1, 1/2) ≤ a]`, for tallies a ≥ b.
fn chance_of_majority(a: usize, b: usize) -> f64 {
    // The complement has b + 1 terms, and its first is an exact power of two up to 1000 samples.
    let m = (a + b + 1) as f64;
    let mut term = 0.5f64.powi((a + b + 1) as i32);
    let mut complement = term;
    for i in 0..b {
        term *= (m - i as f64) / (i as f64 + 1.0);
        complement += term;
    }
    1.0 - complement
}

/// Whether `votes` of `n` reach the threshold. The tolerance undoes the rounding of a threshold
/// such as 0.7 to f32.
fn meets(rule: &VoteRule, votes: f64, n: usize) -> bool {
    votes > 0.0 && votes >= f64::from(rule.threshold) * n as f64 - 1e-4
}

fn percent(part: f32) -> String {
    format!("{}%", (f64::from(part) * 1000.0).round() / 10.0)
}

#[cfg(test)]
mod tests;
