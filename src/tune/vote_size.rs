//! How many samples the chosen program's vote should have.
//!
//! The same samples vote again with fewer of them. The smallest number that keeps about as many questions is
//! enough, if its weakest accepted vote is as sure as that of the task's own number: 3 of 4 samples pass a
//! threshold of 75% as 6 of 8 do, and are the true majority less often.

use serde::{Deserialize, Serialize};

use super::contestant::Contestant;
use crate::task::{AnswerRule, Equivalence, Question, Select, VoteRule};
use crate::vote::weakest_accepted;

/// Numbers of samples that are compared are multiples of this.
const STEP: usize = 4;
/// A smaller vote may keep so much less than the one that keeps most.
const ABOUT_AS_MANY: f64 = 0.02;

/// What a vote of some number of samples keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct VoteSize {
    /// Maximal number of samples of a question.
    pub samples: usize,
    /// Share of the questions whose voted answer is accepted.
    pub kept_share: f64,
    /// Samples until a vote ends, on average.
    pub needed: f64,
}

/// `rule` with at most `samples` samples.
pub fn with_samples(rule: &VoteRule, samples: usize) -> VoteRule {
    VoteRule { samples, min_samples: rule.min_samples.min(samples), ..rule.clone() }
}

/// What votes of 4, 8, 12 … samples keep, as far as `contestant` was judged with so many.
pub fn vote_sizes(contestant: &Contestant, questions: &[Question], rule: &AnswerRule) -> Vec<VoteSize> {
    let own = contestant.entrant.task.vote.samples;
    let mut numbers: Vec<usize> = (1..).map(|i| i * STEP).take_while(|n| *n < own).collect();
    numbers.push(own);
    numbers.into_iter().map_while(|n| contestant.kept_with(n, questions, rule)).collect()
}

/// The smallest of `sizes` that keeps about as much as any, and whose weakest accepted vote is no weaker than
/// that of `rule`. `None` where the number of `rule` itself was not measured, or where the model takes part in
/// the vote.
pub fn enough(sizes: &[VoteSize], rule: &VoteRule) -> Option<usize> {
    let is_sound = |size: &&VoteSize| {
        let weakest = weakest_accepted(&with_samples(rule, size.samples));
        weakest >= weakest_accepted(rule).min(rule.confidence.into())
    };
    if rule.select != Select::Count || rule.equivalence != Equivalence::Exact {
        return None;
    }
    sizes.iter().find(|size| size.samples == rule.samples)?;
    let sound = || sizes.iter().filter(is_sound);
    let most = sound().map(|size| size.kept_share).fold(0.0, f64::max);
    sound().find(|size| size.kept_share >= most - ABOUT_AS_MANY).map(|size| size.samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(kept: &[(usize, f64)]) -> Vec<VoteSize> {
        kept.iter()
            .map(|(samples, kept_share)| VoteSize { samples: *samples, kept_share: *kept_share, needed: 4.0 })
            .collect()
    }

    #[test]
    fn fewer_samples_are_enough_only_where_they_keep_as_much_and_are_as_sure() {
        let of = |samples, threshold| VoteRule { samples, threshold, ..VoteRule::default() };
        let all = [(4, 0.5), (8, 0.51), (12, 0.515), (16, 0.45)];
        // 3 of 4 is a majority by chance more often than 6 of 8.
        assert_eq!(enough(&sizes(&all[..2]), &of(8, 0.75)), Some(8));
        // 4 of 4 converge by themselves.
        assert_eq!(enough(&sizes(&all[..2]), &of(8, 1.0)), Some(4));
        // 9 of 12 is as sure as the confidence asks for, 6 of 8 is not.
        assert_eq!(enough(&sizes(&all), &of(16, 0.75)), Some(12));
        assert_eq!(enough(&sizes(&[(8, 0.3), (12, 0.4), (16, 0.5)]), &of(16, 0.75)), Some(16));
        // The task's own number was not measured.
        assert_eq!(enough(&sizes(&all[..1]), &of(8, 1.0)), None);
        assert_eq!(enough(&[], &of(8, 1.0)), None);
    }
}
