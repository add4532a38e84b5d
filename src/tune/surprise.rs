//! How much it says when candidates give the same answer.
//!
//! Candidates agree by chance, too: on what is answered most, whatever is asked, and on what stands in the
//! question, where all can copy it from. The rarer an answer would be without knowing anything, the more two
//! candidates that give it confirm each other.

use std::collections::BTreeMap;

use super::votes::{AnswerVotes, CandidateVotes};

/// The largest share of copied answers that is reckoned with: where all answers stand in the question, as
/// when something is extracted, agreement on one of them still says something.
const MOST_COPIED: f64 = 0.5;
/// No answer is less probable by chance.
const RAREST: f64 = 0.01;

/// The probabilities of answers by chance, from all votes.
#[derive(Debug)]
pub struct Surprise<'a> {
    /// Answer → share of all samples.
    shares: BTreeMap<&'a str, f64>,
    /// Share of the samples whose answer stands in the question.
    copied: f64,
}

impl<'a> Surprise<'a> {
    /// From the votes of all candidates, which count alike.
    pub fn of(all: &'a [CandidateVotes]) -> Surprise<'a> {
        let mut weights = BTreeMap::<&str, f64>::new();
        let (mut copied, mut total) = (0.0, 0.0);
        for votes in all.iter().flat_map(|candidate| &candidate.questions) {
            for (answer, (key, share)) in votes.answers.iter().zip(votes.shares()) {
                *weights.entry(key).or_default() += share;
                total += share;
                if answer.verbatim {
                    copied += share;
                }
            }
        }
        let total = total.max(1.0);
        weights.values_mut().for_each(|weight| *weight /= total);
        Surprise { shares: weights, copied: (copied / total).min(MOST_COPIED) }
    }

    /// How much a vote for `answer` says, in nats: `-ln` of its probability by chance. Nothing for what
    /// the question states as somebody's opinion, and for an answer outside of it.
    pub fn at(&self, answer: &AnswerVotes) -> f64 {
        if answer.is_void() {
            return 0.0;
        }
        let share = self.shares.get(answer.key.as_str()).copied().unwrap_or(0.0);
        let copied = if answer.verbatim { self.copied } else { 0.0 };
        -share.max(copied).max(RAREST).ln()
    }
}
