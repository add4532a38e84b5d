//! The score of a candidate: how right its vote probably is, by figures that need no gold answer.
//!
//! A weighted sum of a few [`Features`]. It is pure, and all its inputs are in `tune.json`, so that other
//! weights can be tried on finished races.

use serde::{Deserialize, Serialize};

use super::features::Features;

/// The weights of the score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScoreWeights {
    /// Of [`Features::consensus`].
    pub consensus: f64,
    /// Of [`Features::vote_consensus`].
    pub vote_consensus: f64,
    /// Of [`Features::information`].
    pub information: f64,
    /// Of [`Features::consistency`].
    pub consistency: f64,
    /// Of [`Features::stability`], where there is one; its weight goes to consistency otherwise.
    pub stability: f64,
    /// Taken off for [`Features::opinion`]: about what agreement with itself may bring such answers.
    pub opinion: f64,
    /// The same for [`Features::outside`].
    pub outside: f64,
    /// Taken off for [`Features::copies`].
    pub copies: f64,
    /// Taken off for [`Features::refusals`].
    pub refusals: f64,
    /// Taken off for [`Features::cut`].
    pub cut: f64,
    /// The number of questions with gold that weigh as much as the rest of the score.
    pub gold_prior: f64,
}

impl Default for ScoreWeights {
    fn default() -> ScoreWeights {
        ScoreWeights {
            consensus: 0.4,
            vote_consensus: 0.4,
            information: 0.1,
            consistency: 0.05,
            stability: 0.05,
            opinion: 0.3,
            outside: 0.3,
            copies: 0.3,
            refusals: 0.2,
            cut: 0.1,
            gold_prior: 10.0,
        }
    }
}

/// The score of a candidate with these features; at most 1, higher is better.
pub fn score(features: &Features, weights: &ScoreWeights) -> f64 {
    let stability = features.stability.unwrap_or(features.consistency);
    let sum = weights.consensus * features.consensus
        + weights.vote_consensus * features.vote_consensus
        + weights.information * features.information
        + weights.consistency * features.consistency
        + weights.stability * stability
        - weights.opinion * features.opinion
        - weights.outside * features.outside
        - weights.copies * features.copies
        - weights.refusals * features.refusals
        - weights.cut * features.cut;
    let n = features.gold_questions as f64;
    match features.gold_accuracy {
        Some(right) => (weights.gold_prior * sum + n * right) / (weights.gold_prior + n),
        None => sum,
    }
}

/// Why no question more is spent on a candidate, if its outputs are faulty beyond repair.
pub fn fault(features: &Features) -> Option<String> {
    let percent = |share: f64| format!("{:.0}%", 100.0 * share);
    if features.read == 0.0 {
        Some("no answer could be read from any sample".into())
    } else if features.copies > 0.5 {
        Some(format!("{} of its samples repeat a text of their own prompt", percent(features.copies)))
    } else if features.refusals > 0.5 {
        Some(format!("{} of its samples refuse to answer", percent(features.refusals)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::features::features;
    use super::super::outside::mark_outside;
    use super::super::votes::{AnswerVotes, CandidateVotes, DIRECT, QuestionVotes, SampleCounts, count};
    use super::*;

    /// A candidate whose samples of question `i` are `answers(i)`, of which those in upper case stand in the
    /// question.
    fn candidate(
        name: &str,
        method: &str,
        answers: impl Fn(usize) -> Vec<(String, usize)>,
    ) -> CandidateVotes {
        let questions = (0..12).map(|i| {
            let answers: Vec<AnswerVotes> = answers(i)
                .into_iter()
                .map(|(key, votes)| AnswerVotes {
                    verbatim: key.chars().all(|c| c.is_uppercase() || c.is_numeric()),
                    text: key.clone(),
                    key,
                    votes,
                    ..AnswerVotes::default()
                })
                .collect();
            QuestionVotes { question: i.to_string(), n: 4, answers, ..QuestionVotes::default() }
        });
        CandidateVotes {
            name: name.into(),
            method: method.into(),
            family: name.into(),
            counts: SampleCounts { samples: 48, ..SampleCounts::default() },
            questions: questions.collect(),
        }
    }

    fn scores(all: &[CandidateVotes]) -> Vec<f64> {
        features(all).iter().map(|f| score(f, &ScoreWeights::default())).collect()
    }

    fn best(all: &[CandidateVotes]) -> &str {
        let scores = scores(all);
        let at = (0..all.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
        &all[at].name
    }

    #[test]
    fn the_answer_that_others_confirm_beats_one_answer_to_everything_and_noise() {
        let all = [
            candidate("paris", "s2a", |_| vec![("paris".into(), 4)]),
            candidate("noise", "cot", |i| (0..4).map(|k| (format!("n{i}x{k}"), 1)).collect()),
            candidate("good", "cot", |i| vec![(format!("c{i}"), 3), (format!("w{i}"), 1)]),
            candidate("fair", "rar", |i| vec![(format!("c{i}"), 2), (format!("v{i}"), 2)]),
        ];
        assert_eq!(best(&all), "good", "{:?}", scores(&all));
        let scores = scores(&all);
        assert!(scores[3] > scores[0] && scores[3] > scores[1], "{scores:?}");
    }

    #[test]
    fn an_opinion_that_is_copied_consistently_loses_to_the_answer_of_those_who_leave_it_out() {
        let all = [
            candidate("opinion", "s2a", |i| vec![(format!("O{i}"), 4)]),
            candidate("good", "s2a", |i| vec![(format!("c{i}"), 3), (format!("w{i}"), 1)]),
            candidate("fair", "rar", |i| vec![(format!("c{i}"), 2), (format!("v{i}"), 1)]),
            candidate("ask", DIRECT, |i| vec![(format!("O{i}"), 4)]),
        ];
        assert_eq!(best(&all[..3]), "good", "{:?}", scores(&all));
        assert_ne!(best(&all), "opinion", "{:?}", scores(&all));
    }

    #[test]
    fn a_direct_prompt_that_repeats_the_opinion_does_not_vouch_for_programs_that_do() {
        let all = [
            candidate("opinion", "s2a", |i| vec![(format!("O{i}"), 2), (format!("v{i}"), 1)]),
            candidate("own", "s2a", |i| vec![(format!("c{i}"), 2), (format!("w{i}"), 1)]),
            candidate("fair", "rar", |i| vec![(format!("c{i}"), 2), (format!("x{i}"), 2)]),
            candidate("ask", DIRECT, |i| vec![(format!("O{i}"), 4)]),
        ];
        let scores = scores(&all);
        assert!(scores[1] > scores[0] && scores[1] > scores[3], "{scores:?}");
    }

    #[test]
    fn an_opinion_that_is_stated_as_one_counts_for_nothing_even_if_all_consistent_candidates_give_it() {
        let mut all = [
            candidate("opinion", "s2a", |i| vec![(format!("O{i}"), 4)]),
            candidate("told", "cot", |i| vec![(format!("O{i}"), 4)]),
            candidate("own", "s2a", |i| vec![(format!("c{i}"), 2), (format!("w{i}"), 1)]),
            candidate("ask", DIRECT, |i| vec![(format!("O{i}"), 4)]),
        ];
        for answer in all.iter_mut().flat_map(|votes| &mut votes.questions).flat_map(|q| &mut q.answers) {
            answer.opinion = answer.verbatim;
        }
        assert_eq!(best(&all), "own", "{:?}", scores(&all));
    }

    #[test]
    fn programs_that_lose_the_options_do_not_confirm_each_other() {
        let mut all = [
            candidate("lost", "s2a", |_| vec![("shanghai".into(), 3), ("beijing".into(), 1)]),
            candidate("lost too", "rar", |i| vec![("shanghai".into(), 2), (format!("A{i}"), 2)]),
            candidate("kept", "cot", |i| vec![(format!("A{i}"), 3), (format!("B{i}"), 1)]),
            candidate("ask", DIRECT, |i| vec![(format!("A{i}"), 2), (format!("B{i}"), 2)]),
        ];
        mark_outside(&mut all);
        assert_eq!(best(&all), "kept", "{:?}", scores(&all));
        assert!(scores(&all)[0] < 0.1, "{:?}", scores(&all));
    }

    #[test]
    fn answers_that_all_take_from_the_text_are_not_punished() {
        let all = [
            candidate("a", "cot", |i| vec![(format!("T{i}"), 4)]),
            candidate("b", "rar", |i| vec![(format!("T{i}"), 3), (format!("U{i}"), 1)]),
        ];
        assert!(features(&all).iter().all(|f| f.verbatim == 1.0 && f.consensus > 0.3));
    }

    #[test]
    fn a_relative_is_not_a_witness() {
        let mut all = [
            candidate("a", "cot", |i| vec![(format!("x{i}"), 4)]),
            candidate("a at another temperature", "cot", |i| vec![(format!("x{i}"), 4)]),
            candidate("b", "rar", |i| vec![(format!("y{i}"), 4)]),
        ];
        all[1].family = "a".into();
        let features = features(&all);
        assert!(features[0].consensus < 0.1, "{}", features[0].consensus);
        assert_eq!(features[0].plain_consensus, 0.0);
    }

    #[test]
    fn samples_that_agree_for_the_same_random_numbers_confirm_nothing() {
        let numbered = |name: &str, method: &str, answer: &dyn Fn(usize, usize) -> String| {
            let mut votes = candidate(name, method, |i| (0..4).map(|k| (answer(i, k), 1)).collect());
            for question in &mut votes.questions {
                let of_samples = std::mem::take(&mut question.answers).into_iter().enumerate();
                question.answers =
                    count(of_samples.map(|(k, answer)| AnswerVotes { samples: vec![k], ..answer }));
            }
            votes
        };
        // A guess depends on the number of the sample alone.
        let guess = |i: usize, k: usize| format!("g{}", (7 * i + 13 * k) % 40);
        let sometimes = |i: usize, k: usize| if k == i % 4 { format!("c{i}") } else { format!("x{i}y{k}") };
        let all = [
            numbered("guess", "plain", &guess),
            numbered("guess again", DIRECT, &guess),
            numbered("and again", "rar", &guess),
            numbered("turns", "cot", &|i, k| if k < 2 { format!("c{i}") } else { format!("v{i}z{k}") }),
            numbered("track", "s2a", &sometimes),
        ];
        assert_eq!(best(&all), "turns", "{:?}", scores(&all));
        let found = features(&all);
        assert!(
            found[0].plain_consensus < 0.05 && found[0].consensus < 0.2 * found[3].consensus,
            "{found:?}"
        );
    }

    #[test]
    fn gold_moves_the_score_by_the_number_of_its_questions() {
        let wrong = Features { consensus: 1.0, consistency: 1.0, information: 1.0, ..Features::default() };
        let judged = Features { gold_accuracy: Some(0.0), gold_questions: 40, ..wrong.clone() };
        let weights = ScoreWeights::default();
        assert!(score(&judged, &weights) < 0.25 * score(&wrong, &weights));
    }

    #[test]
    fn faults_are_told_in_words() {
        assert_eq!(fault(&Features { read: 1.0, copies: 0.3, ..Features::default() }), None);
        assert!(fault(&Features::default()).unwrap().contains("no answer"));
        let copies = Features { read: 1.0, copies: 0.76, ..Features::default() };
        assert_eq!(fault(&copies).unwrap(), "76% of its samples repeat a text of their own prompt");
    }
}
