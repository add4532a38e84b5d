//! What a preview cost, and what curation of all questions will.
//!
//! Curation stops sampling a question when its vote has ended, so the number of samples depends on the
//! answers. It is estimated by drawing from the answers that the preview has seen, until the task's own
//! stopping rule ends the vote.

use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::task::{Answer, VoteRule};
use crate::vote::{Tally, stop};

/// Votes drawn for each question.
const DRAWS: usize = 200;

/// What a preview cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds, without loading the model.
    pub seconds: f64,
    /// Tokens generated.
    pub generated_tokens: usize,
    /// The direct answers.
    pub system1: StepCost,
    /// The steps of System 2.
    pub steps: Vec<StepCost>,
}

/// What one step cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepCost {
    /// The step's name.
    pub name: String,
    /// Number of calls.
    pub calls: usize,
    /// Tokens of all prompts, counted as if no prefix were shared.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub generated_tokens: usize,
    /// Seconds: the share of the whole time that its calls took, which run beside others.
    pub seconds: f64,
}

/// What curation of all questions will cost, with the task's number of samples and early stopping.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Number of questions.
    pub questions: usize,
    /// Samples of a question, of all its variants, on average.
    pub samples_per_question: f64,
    /// Tokens generated in all.
    pub generated_tokens: f64,
    /// Hours on this machine, at the speed of the preview.
    pub hours: f64,
}

/// The samples of one variant of a question that a preview has seen.
pub struct SeenVariant {
    /// Their answers.
    pub answers: Vec<Option<Answer>>,
    /// Tokens that a sample takes on average, when it ends with its answer.
    pub tokens: f64,
}

impl Expected {
    /// The cost of `questions` questions whose variants are like those of `seen`, a list for each question
    /// shown, at `tokens_per_second`.
    pub fn of(
        rule: &VoteRule,
        questions: usize,
        seen: &[Vec<SeenVariant>],
        tokens_per_second: f64,
        seed: u64,
    ) -> Expected {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let (mut samples, mut tokens) = (0.0, 0.0);
        for variants in seen {
            for _ in 0..DRAWS {
                let mut own = None;
                for (index, variant) in variants.iter().enumerate() {
                    let tally = drawn(rule, variant, &mut rng);
                    samples += tally.n() as f64;
                    tokens += tally.n() as f64 * variant.tokens;
                    let leader = tally.leader().map(|(answer, _)| answer.key);
                    let agreement = tally.leader().map_or(0.0, |(_, votes)| votes as f64 / tally.n() as f64);
                    let is_kept = agreement >= f64::from(rule.threshold) - 1e-4;
                    if index == 0 {
                        own = leader.clone();
                    }
                    // A variant that rejects the question ends it.
                    if rule.early_abandon && (!is_kept || leader != own) {
                        break;
                    }
                }
            }
        }
        let draws = (seen.len() * DRAWS).max(1) as f64;
        let generated_tokens = questions as f64 * tokens / draws;
        Expected {
            questions,
            samples_per_question: samples / draws,
            generated_tokens,
            hours: if tokens_per_second > 0.0 { generated_tokens / tokens_per_second / 3600.0 } else { 0.0 },
        }
    }
}

/// A vote on answers drawn from those seen.
fn drawn(rule: &VoteRule, variant: &SeenVariant, rng: &mut impl Rng) -> Tally {
    let mut tally = Tally::new();
    while !variant.answers.is_empty() && stop(rule, &tally).is_none() {
        tally.add(variant.answers[rng.random_range(0..variant.answers.len())].as_ref());
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(texts: &[&str], tokens: f64) -> SeenVariant {
        let answer = |text: &&str| {
            (!text.is_empty()).then(|| Answer { key: text.to_string(), text: text.to_string() })
        };
        SeenVariant { answers: texts.iter().map(answer).collect(), tokens }
    }

    fn expected(variants: Vec<SeenVariant>) -> Expected {
        let rule = VoteRule { samples: 8, min_samples: 4, threshold: 0.75, ..VoteRule::default() };
        Expected::of(&rule, 100, &[variants], 10.0, 1)
    }

    #[test]
    fn a_unanimous_question_costs_the_samples_after_which_its_vote_converges() {
        let cost = expected(vec![seen(&["a", "a", "a"], 5.0)]);
        assert_eq!((cost.samples_per_question, cost.generated_tokens), (4.0, 2000.0));
        assert!((cost.hours - 200.0 / 3600.0).abs() < 1e-9);
    }

    #[test]
    fn a_question_without_answers_is_abandoned_as_soon_as_the_threshold_is_out_of_reach() {
        assert_eq!(expected(vec![seen(&["", ""], 5.0)]).samples_per_question, 3.0);
    }

    #[test]
    fn answers_that_differ_cost_more_and_a_variant_after_a_rejection_costs_nothing() {
        let torn = expected(vec![seen(&["a", "b"], 5.0)]).samples_per_question;
        assert!(torn > 4.0 && torn < 8.0, "{torn}");
        let both = expected(vec![seen(&["a"], 5.0), seen(&["a"], 5.0)]).samples_per_question;
        assert_eq!(both, 8.0);
        let rejected = expected(vec![seen(&[""], 5.0), seen(&["a"], 5.0)]).samples_per_question;
        assert_eq!(rejected, 3.0);
    }
}
