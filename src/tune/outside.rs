//! Answers outside of a question that offers its answers.
//!
//! "Which city is larger, Oyo or Rome?" has its answer in the question. A program that loses a part of it
//! ("Which city is larger?") answers Shanghai, and all programs that lose it do: they confirm each other. That
//! a question offers its answers shows in what the candidates say, in any language: most answers stand in the
//! question, and in most questions not the same one. Where candidates repeat somebody's opinion, it is the
//! same one.

use std::collections::{BTreeMap, HashSet};

use super::votes::{AnswerVotes, CandidateVotes, shares_of_methods};
use crate::task::AnswerRule;

/// An answer is one of several that a question offers from this share of the samples on.
const LEAST_SHARE: f64 = 0.1;
/// Questions offer their answers if this share of them shows several.
const LEAST_QUESTIONS: f64 = 0.5;

/// Whether questions may offer answers of this kind: numbers and days are computed, choices are fixed.
pub fn may_be_offered(rule: &AnswerRule) -> bool {
    !matches!(rule.innermost(), AnswerRule::Choice(_) | AnswerRule::Number(_) | AnswerRule::Date(_))
}

/// What candidates say to a question.
#[derive(Default)]
struct Said<'a> {
    /// The answers that stand in it, opinions left out.
    inside: BTreeMap<&'a str, f64>,
    all: f64,
}

impl Said<'_> {
    fn is_mostly_inside(&self) -> bool {
        self.inside.values().sum::<f64>() > self.all / 2.0
    }

    fn offers_several(&self) -> bool {
        self.inside.values().filter(|weight| **weight >= LEAST_SHARE * self.all).count() > 1
    }
}

/// Marks the answers of `all` that stand outside of a question that offers its answers.
pub fn mark_outside(all: &mut [CandidateVotes]) {
    let offering = questions_with_answers_inside(all);
    let questions = all.iter_mut().flat_map(|votes| &mut votes.questions);
    let answers = questions.filter(|votes| offering.contains(&votes.question));
    for answer in answers.flat_map(|votes| &mut votes.answers) {
        answer.outside = !answer.verbatim && !is_number(answer);
    }
}

fn is_number(answer: &AnswerVotes) -> bool {
    answer.key.parse::<f64>().is_ok()
}

/// The questions that offer their answers; none unless most of them do.
fn questions_with_answers_inside(all: &[CandidateVotes]) -> HashSet<String> {
    let mut said = BTreeMap::<&str, Said>::new();
    for (candidate, weight) in all.iter().zip(shares_of_methods(all)) {
        for votes in &candidate.questions {
            let said = said.entry(&votes.question).or_default();
            for (answer, (key, share)) in votes.answers.iter().zip(votes.shares()) {
                if answer.opinion {
                    continue;
                }
                said.all += weight * share;
                if answer.verbatim {
                    *said.inside.entry(key).or_default() += weight * share;
                }
            }
        }
    }
    let several = said.values().filter(|said| said.offers_several()).count();
    if (several as f64) < LEAST_QUESTIONS * said.len() as f64 {
        return HashSet::new();
    }
    said.iter()
        .filter(|(_, said)| said.is_mostly_inside())
        .map(|(question, _)| question.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::votes::QuestionVotes;

    /// A candidate with two samples of each of four questions; answers in upper case stand in the question.
    fn candidate(method: &str, answers: impl Fn(usize) -> [String; 2]) -> CandidateVotes {
        let vote = |key: String| AnswerVotes {
            verbatim: key.chars().all(|c| c.is_uppercase() || c.is_numeric()),
            text: key.clone(),
            key,
            votes: 1,
            ..AnswerVotes::default()
        };
        let questions = (0..4).map(|i| QuestionVotes {
            question: i.to_string(),
            n: 2,
            answers: answers(i).into_iter().map(vote).collect(),
            ..QuestionVotes::default()
        });
        CandidateVotes { method: method.into(), questions: questions.collect(), ..CandidateVotes::default() }
    }

    fn outside(mut all: Vec<CandidateVotes>) -> Vec<String> {
        mark_outside(&mut all);
        let answers = all.into_iter().flat_map(|votes| votes.questions).flat_map(|votes| votes.answers);
        let outside: std::collections::BTreeSet<String> =
            answers.filter(|answer| answer.outside).map(|answer| answer.key).collect();
        outside.into_iter().collect()
    }

    fn two(a: &str, b: &str) -> [String; 2] {
        [a.to_string(), b.to_string()]
    }

    #[test]
    fn an_answer_that_a_question_does_not_offer_is_outside() {
        let all = vec![
            candidate("cot", |_| two("OYO", "ROME")),
            candidate("rar", |_| two("OYO", "ROME")),
            candidate("direct", |i| two("ROME", if i == 0 { "shanghai" } else { "12.5" })),
            candidate("s2a", |_| two("shanghai", "beijing")),
        ];
        assert_eq!(outside(all), ["beijing", "shanghai"]);
    }

    #[test]
    fn answers_beside_one_and_the_same_opinion_are_not_outside() {
        let all = vec![
            candidate("cot", |_| two("IRAN", "qatar")),
            candidate("direct", |i| two("IRAN", if i == 0 { "DOHA" } else { "IRAN" })),
            candidate("s2a", |_| two("IRAN", "qatar")),
        ];
        assert_eq!(outside(all), [""; 0]);
        // Nor where most answers are nowhere in the question.
        let all = vec![candidate("cot", |_| two("A", "own")), candidate("s2a", |_| two("B", "own"))];
        let more = vec![candidate("rar", |_| two("own", "own"))];
        assert_eq!(outside(all.into_iter().chain(more).collect()), [""; 0]);
    }

    #[test]
    fn what_an_opinion_says_is_no_option() {
        let mut all = vec![
            candidate("cot", |_| two("IRAN", "qatar")),
            candidate("direct", |_| two("IRAN", "DOHA")),
            candidate("s2a", |_| two("DOHA", "qatar")),
        ];
        for answer in all.iter_mut().flat_map(|votes| &mut votes.questions).flat_map(|v| &mut v.answers) {
            answer.opinion = answer.key == "IRAN";
        }
        assert_eq!(outside(all), [""; 0]);
    }

    #[test]
    fn computed_answers_are_not_looked_for_in_the_question() {
        let rule = |json: &str| serde_json::from_str::<AnswerRule>(json).unwrap();
        assert!(may_be_offered(&rule(r#"{"kind": "text"}"#)));
        assert!(!may_be_offered(&rule(r#"{"kind": "number"}"#)));
        assert!(!may_be_offered(&rule(r#"{"kind": "choice", "choices": ["a", "b"]}"#)));
    }
}
