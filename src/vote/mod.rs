//! From samples to a verdict, without knowing the right answer.
//!
//! Samples of one question vote; an answer that enough of them give is trusted (self-consistency).
//! Two rules keep this honest. Samples that hold no answer stay in the denominator, so a model that
//! mostly rambles cannot be unanimous. And sampling stops early for reasons that are recorded with
//! every verdict, so that kept answers can be checked for a bias by the number of samples.

mod tally;

use serde::{Deserialize, Serialize};

pub use tally::Tally;

use crate::task::{Answer, VoteRule};

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
    /// The answer with most votes; none where no sample held an answer.
    pub answer: Option<Answer>,
    /// What the first sample that gave this answer wrote in its last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// Its votes.
    pub votes: usize,
    /// Samples, those without an answer included.
    pub n: usize,
    /// `votes / n`, in `0..=1`.
    pub agreement: f32,
    /// Why sampling stopped.
    pub stop: StopReason,
    /// Whether the answer is good enough to train on.
    pub kept: bool,
    /// Why it is kept or not, for a person.
    pub reason: String,
}

/// Whether to take no further sample of this question, and why.
///
/// Settled: with the two largest tallies a ≥ b, the chance that the leader is the true mode, under
/// a uniform prior, is `Pr[Bin(a+b+1, 1/2) ≤ a]`; it must reach the rule's confidence, after at
/// least `min_samples`. (At 0.95: 4 against 0, 6 against 1, 8 against 2, 9 against 3.) From: Aggarwal et al.,
/// *Let's Sample Step by Step: Adaptive-Consistency*, 2023.
pub fn stop(rule: &VoteRule, tally: &Tally) -> Option<StopReason> {
    let (n, votes) = (tally.n(), tally.leader_votes());
    let may_settle = rule.confidence < 1.0 && n >= rule.min_samples;
    if may_settle && chance_of_majority(votes, tally.runner_up()) >= f64::from(rule.confidence) {
        return Some(StopReason::Settled);
    }
    if n >= rule.samples {
        return Some(StopReason::Budget);
    }
    // Were `reachable` of all samples too few, so would any smaller number of samples be: the
    // answer loses a vote with every sample not taken.
    let reachable = votes + (rule.samples - n);
    (rule.give_up && !meets(rule, reachable, rule.samples)).then_some(StopReason::Abandoned)
}

/// The verdict on a question whose sampling has stopped.
///
/// An answer is kept where it alone has most votes and its agreement reaches the threshold.
pub fn decide(rule: &VoteRule, question_id: &str, tally: &Tally, stop: StopReason) -> Verdict {
    let n = tally.n();
    let (answer, votes) = tally.leader().map_or((None, 0), |(answer, votes)| (Some(answer), votes));
    let agreement = if n == 0 { 0.0 } else { votes as f32 / n as f32 };
    let refusal = match &answer {
        None if n == 0 => Some("no sample was taken".to_string()),
        None => Some(format!("none of {n} samples holds an answer")),
        Some(_) if votes == tally.runner_up() => {
            Some(format!("a tie: several answers have {votes} of {n} samples"))
        }
        Some(_) if stop == StopReason::Abandoned => {
            Some(format!("{votes} of {n} samples agree; {} cannot be reached", percent(rule.threshold)))
        }
        Some(_) if !meets(rule, votes, n) => {
            Some(format!("{votes} of {n} samples agree, under the threshold of {}", percent(rule.threshold)))
        }
        Some(_) => None,
    };
    Verdict {
        question: question_id.to_string(),
        answer,
        completion: None,
        votes,
        n,
        agreement,
        stop,
        kept: refusal.is_none(),
        reason: refusal.unwrap_or_else(|| format!("{votes} of {n} samples agree")),
    }
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
fn meets(rule: &VoteRule, votes: usize, n: usize) -> bool {
    votes > 0 && votes as f64 >= f64::from(rule.threshold) * n as f64 - 1e-4
}

fn percent(part: f32) -> String {
    format!("{}%", (f64::from(part) * 1000.0).round() / 10.0)
}

#[cfg(test)]
mod tests;
