use super::*;

fn answer(text: &str) -> Answer {
    Answer { key: text.to_lowercase(), text: text.to_string() }
}

/// A tally of `a` yes, `b` no and `unparsed` samples without an answer.
fn tally(a: usize, b: usize, unparsed: usize) -> Tally {
    let mut tally = Tally::new();
    (0..a).for_each(|_| tally.add(Some(&answer("yes"))));
    (0..b).for_each(|_| tally.add(Some(&answer("no"))));
    (0..unparsed).for_each(|_| tally.add(None));
    tally
}

fn rule(samples: usize, threshold: f32) -> VoteRule {
    VoteRule { samples, threshold, min_samples: 1, confidence: 0.95, ..VoteRule::default() }
}

#[test]
fn a_vote_converges_at_the_published_counts() {
    let rule = rule(100, 0.5);
    for (b, a) in [4, 6, 8, 9, 11, 12].into_iter().enumerate() {
        assert_eq!(stop(&rule, &tally(a, b, 0)), Some(StopReason::Converged), "{a} against {b}");
        assert_eq!(stop(&rule, &tally(a - 1, b, 0)), None, "{} against {b}", a - 1);
    }
}

#[test]
fn the_chance_of_a_majority_is_the_binomial_sum() {
    // Pr[Bin(m, 1/2) <= a], summed from Pascal's triangle.
    let mut row = vec![1.0f64];
    for m in 1..=40usize {
        row = (0..=m)
            .map(|k| (if k > 0 { row[k - 1] } else { 0.0 }) + row.get(k).copied().unwrap_or(0.0))
            .collect();
        for b in 0..m.div_ceil(2) {
            let a = m - 1 - b;
            let sum: f64 = row[..=a].iter().sum::<f64>() / 2f64.powi(m as i32);
            assert!((chance_of_majority(a, b) - sum).abs() < 1e-12, "{a} against {b}");
        }
    }
    assert!(chance_of_majority(500, 499) > 0.5 && chance_of_majority(1000, 0) <= 1.0);
}

#[test]
fn a_vote_does_not_converge_before_the_minimum_of_samples() {
    let rule = VoteRule { min_samples: 6, ..rule(8, 0.75) };
    assert_eq!(stop(&rule, &tally(5, 0, 0)), None);
    assert_eq!(stop(&rule, &tally(6, 0, 0)), Some(StopReason::Converged));
}

#[test]
fn with_full_confidence_the_budget_is_used_up() {
    let rule = VoteRule { confidence: 1.0, ..rule(8, 0.75) };
    assert_eq!(stop(&rule, &tally(7, 0, 0)), None);
    assert_eq!(stop(&rule, &tally(8, 0, 0)), Some(StopReason::Budget));
}

#[test]
fn a_question_is_abandoned_once_its_threshold_is_out_of_reach() {
    let rule = rule(8, 0.75);
    assert_eq!(stop(&rule, &tally(2, 2, 0)), None, "6 of 8 can still agree");
    assert_eq!(stop(&rule, &tally(3, 3, 0)), Some(StopReason::Abandoned));
    assert_eq!(stop(&rule, &tally(1, 0, 3)), Some(StopReason::Abandoned), "1 + 4 left of 8");
    assert_eq!(stop(&rule, &tally(0, 0, 3)), Some(StopReason::Abandoned));
    assert_eq!(stop(&rule, &tally(0, 0, 2)), None);
    assert_eq!(stop(&rule, &Tally::new()), None);
}

#[test]
fn no_abandoned_question_could_have_been_accepted() {
    for samples in 1..=12 {
        for threshold in [0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 1.0] {
            let rule = rule(samples, threshold);
            for a in 0..=samples {
                for b in 0..=a.min(samples - a) {
                    for unparsed in 0..=samples - a - b {
                        if stop(&rule, &tally(a, b, unparsed)) != Some(StopReason::Abandoned) {
                            continue;
                        }
                        for more in 0..=samples - a - b - unparsed {
                            let verdict =
                                decide(&rule, "q", &tally(a + more, b, unparsed), StopReason::Budget);
                            assert!(!verdict.kept, "{a} {b} {unparsed} + {more} of {samples} at {threshold}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn every_vote_stops_within_its_budget() {
    let rule = rule(8, 0.75);
    for a in 0..=8 {
        for b in 0..=8 - a {
            assert!(stop(&rule, &tally(a, b, 8 - a - b)).is_some());
        }
    }
}

#[test]
fn samples_without_an_answer_stay_in_the_denominator() {
    let verdict = decide(&rule(8, 0.75), "q", &tally(5, 0, 3), StopReason::Budget);
    assert_eq!((verdict.votes, verdict.n, verdict.agreement, verdict.kept), (5, 8, 0.625, false));
    assert_eq!(verdict.reason, "5 of 8 samples agree, under the threshold of 75%");
    assert!(decide(&rule(8, 0.75), "q", &tally(6, 0, 2), StopReason::Budget).kept);
}

#[test]
fn a_threshold_is_met_exactly_in_spite_of_rounding() {
    for (threshold, votes, n) in
        [(0.7, 7, 10), (0.6, 3, 5), (0.9, 9, 10), (1.0, 8, 8), (0.75, 6, 8), (0.333_333_34, 1, 3)]
    {
        assert!(
            decide(&rule(n, threshold), "q", &tally(votes, 0, n - votes), StopReason::Budget).kept,
            "{threshold}"
        );
        let fewer = decide(&rule(n, threshold), "q", &tally(votes - 1, 0, n - votes + 1), StopReason::Budget);
        assert!(!fewer.kept, "{threshold}");
    }
}

#[test]
fn a_tie_is_dropped_whatever_the_threshold() {
    let verdict = decide(&rule(8, 0.5), "q", &tally(4, 4, 0), StopReason::Budget);
    assert!(!verdict.kept);
    assert_eq!(verdict.reason, "a tie: several answers have 4 of 8 samples");
    assert_eq!(verdict.answer, Some(answer("no")), "the key that sorts first, whatever came first");
}

#[test]
fn a_vote_without_an_answer_is_dropped() {
    let verdict = decide(&rule(8, 0.5), "q", &tally(0, 0, 8), StopReason::Abandoned);
    assert_eq!((verdict.answer, verdict.agreement, verdict.kept), (None, 0.0, false));
    assert_eq!(verdict.reason, "none of 8 samples holds an answer");
    assert_eq!(
        decide(&rule(8, 0.5), "q", &Tally::new(), StopReason::Abandoned).reason,
        "no sample was taken"
    );
}

#[test]
fn an_abandoned_vote_is_dropped_with_its_reason() {
    let verdict = decide(&rule(8, 0.75), "q", &tally(3, 1, 2), StopReason::Abandoned);
    assert_eq!(
        (verdict.kept, verdict.reason.as_str()),
        (false, "3 of 6 samples agree; 75% cannot be reached")
    );
}

#[test]
fn the_leader_is_spelt_the_way_most_of_its_voters_spell_it() {
    let mut tally = Tally::new();
    for text in ["PARIS", "Paris", "Lyon", "Paris", "paris"] {
        tally.add(Some(&answer(text)));
    }
    assert_eq!(tally.leader(), Some((answer("Paris"), 4)));
    assert_eq!((tally.runner_up(), tally.n(), tally.parsed(), tally.answers()), (1, 5, 5, 2));
}

#[test]
fn the_order_of_samples_does_not_matter() {
    let texts = ["b", "a", "B", "A"];
    let mut forward = Tally::new();
    let mut backward = Tally::new();
    texts.iter().for_each(|text| forward.add(Some(&answer(text))));
    texts.iter().rev().for_each(|text| backward.add(Some(&answer(text))));
    assert_eq!(forward, backward);
    assert_eq!(forward.leader(), backward.leader());
}

#[test]
fn a_verdict_reads_back_from_its_json_line() {
    let verdict = decide(&rule(8, 0.75), "q-1", &tally(7, 1, 0), StopReason::Converged);
    let line = serde_json::to_string(&verdict).unwrap();
    assert_eq!(
        line,
        "{\"question\":\"q-1\",\"answer\":{\"key\":\"yes\",\"text\":\"yes\"},\"votes\":7,\"n\":8,\"agreement\":0.875,\
         \"stop\":\"converged\",\"kept\":true,\"reason\":\"7 of 8 samples agree\"}"
    );
    assert_eq!(serde_json::from_str::<Verdict>(&line).unwrap(), verdict);
}

#[test]
fn as_many_samples_are_wanted_as_would_end_a_unanimous_vote() {
    for select in [Select::Count, Select::Universal] {
        for (samples, threshold) in [(1, 0.5), (4, 1.0), (8, 0.75), (16, 0.6)] {
            for early_abandon in [false, true] {
                let rule = VoteRule { select, early_abandon, ..rule(samples, threshold) };
                for (a, b, unparsed) in (0..5).flat_map(|a| (0..5).map(move |b| (a, b, (a * b) % 3))) {
                    let tally = tally(a, b, unparsed);
                    // By the definition: vote after vote for the leader.
                    let mut grown = tally.clone();
                    let leader = tally.leader().map_or(answer("yes"), |(leader, _)| leader);
                    while grown.n() < samples
                        && stop(&rule, &grown).is_none_or(|reason| reason == StopReason::Abandoned)
                    {
                        grown.add(Some(&leader));
                    }
                    assert_eq!(samples_if_unanimous(&rule, &tally), grown.n() - tally.n());
                }
            }
        }
    }
}

fn by_confidence(samples: usize, threshold: f32) -> VoteRule {
    VoteRule { weights: Weighing::Confidence, ..rule(samples, threshold) }
}

#[test]
fn votes_weigh_by_confidence_and_samples_without_an_answer_as_the_mean() {
    let mut tally = Tally::new();
    tally.add_weighted(Some(&answer("yes")), Some(0.9));
    tally.add_weighted(Some(&answer("no")), Some(0.2));
    tally.add_weighted(Some(&answer("no")), Some(0.1));
    tally.add_weighted(None, Some(1.0));
    let verdict = decide(&by_confidence(4, 0.5), "q", &tally, StopReason::Budget);
    // The mean of 0.9, 0.2 and 0.1 is 0.4, so yes has 0.9 of 1.6.
    assert_eq!((verdict.answer.as_ref().unwrap().text.as_str(), verdict.votes, verdict.n), ("yes", 1, 4));
    assert!((verdict.agreement - 0.9 / 1.6).abs() < 1e-6 && verdict.kept, "{verdict:?}");
    assert_eq!(verdict.reason, "1 of 4 samples agree (56.3% by weight)");
    assert_eq!(stop(&by_confidence(4, 0.5), &tally), Some(StopReason::Budget));
}

#[test]
fn a_vote_whose_weights_nobody_knows_is_a_plain_one() {
    let verdict = decide(&by_confidence(8, 0.75), "q", &tally(6, 1, 1), StopReason::Budget);
    assert_eq!((verdict.votes, verdict.agreement, verdict.kept), (6, 0.75, true));
}

#[test]
fn weights_do_not_change_when_sampling_stops() {
    let mut tally = Tally::new();
    (0..4).for_each(|_| tally.add_weighted(Some(&answer("yes")), Some(0.001)));
    assert_eq!(stop(&by_confidence(8, 0.75), &tally), Some(StopReason::Converged));
}

fn universal(samples: usize, threshold: f32) -> VoteRule {
    VoteRule { select: Select::Universal, ..rule(samples, threshold) }
}

#[test]
fn a_universal_vote_takes_all_samples_unless_too_few_hold_an_answer() {
    let rule = universal(8, 0.75);
    assert_eq!(stop(&rule, &tally(5, 0, 0)), None, "converged by count, but the model selects among all");
    assert_eq!(stop(&rule, &tally(3, 3, 0)), None, "no answer needs to be written twice");
    assert_eq!(stop(&rule, &tally(4, 4, 0)), Some(StopReason::Budget));
    assert_eq!(stop(&rule, &tally(1, 1, 3)), Some(StopReason::Abandoned));
}

#[test]
fn the_model_selects_only_among_enough_answers_that_differ() {
    let rule = universal(8, 0.75);
    assert!(needs_selection(&rule, &tally(4, 3, 1)));
    assert!(!needs_selection(&rule, &tally(8, 0, 0)), "all are the same");
    assert!(!needs_selection(&rule, &tally(3, 2, 3)), "5 of 8 hold an answer");
    assert!(!needs_selection(&super::tests::rule(8, 0.75), &tally(4, 3, 1)));
    assert!(!decide(&rule, "q", &tally(5, 0, 3), StopReason::Budget).kept);
}

#[test]
fn selections_vote_and_those_that_name_no_response_stay_in_the_denominator() {
    let rule = universal(8, 0.6);
    let verdict = decide_selected(&rule, "q", &tally(4, 4, 0), &tally(2, 0, 1));
    assert_eq!((verdict.votes, verdict.n, verdict.selections, verdict.kept), (2, 8, Some(3), true));
    assert_eq!(verdict.reason, "2 of 3 selections agree");
    let split = decide_selected(&rule, "q", &tally(4, 4, 0), &tally(1, 1, 1));
    assert_eq!((split.kept, split.reason.as_str()), (false, "a tie: several answers have 1 of 3 selections"));
    let none = decide_selected(&rule, "q", &tally(4, 4, 0), &tally(0, 0, 3));
    assert_eq!((none.kept, none.answer), (false, None));
}

mod variants {
    use super::*;
    use crate::task::{Perturbation, Task};

    fn perturbations() -> Vec<Perturbation> {
        let text = r#"{"name": "t", "system1": {"prompt": "{{ question }}"},
            "system2": [{"prompt": "{{ question }}"}], "answer": {"kind": "choice", "choices": ["yes", "no"]},
            "perturbations": [
                {"name": "polite", "fields": {"question": "Please: {{ question }}"}, "distill": true},
                {"name": "loud", "fields": {"question": "{{ question|upper }}"}}]}"#;
        Task::from_json(text, "test").unwrap().perturbations
    }

    fn vote(a: usize, b: usize, unparsed: usize) -> Verdict {
        let verdict = decide(&rule(8, 0.75), "q", &tally(a, b, unparsed), StopReason::Budget);
        Verdict { completion: Some("so".into()), ..verdict }
    }

    #[test]
    fn a_question_is_accepted_if_all_variants_accept_the_same_answer() {
        let verdict =
            combine_variants(&perturbations(), vec![vote(7, 1, 0), vote(6, 2, 0), vote(8, 0, 0)]).unwrap();
        assert_eq!((verdict.kept, verdict.votes, verdict.n), (true, 7, 8));
        assert_eq!(
            verdict.reason,
            "7 of 8 samples agree; under polite: 6 of 8 samples agree; under loud: 8 of 8 samples agree"
        );
        let names: Vec<&str> = verdict.variants.iter().map(|b| b.perturbation.as_str()).collect();
        assert_eq!(names, ["none", "polite", "loud"]);
        let completions: Vec<bool> = verdict.variants.iter().map(|b| b.completion.is_some()).collect();
        assert_eq!(completions, [false, true, false], "only for the variant that is trained on");
        let line = serde_json::to_string(&verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&line).unwrap(), verdict);
    }

    #[test]
    fn a_line_of_an_earlier_version_with_ballots_is_read() {
        let verdict = combine_variants(&perturbations(), vec![vote(7, 1, 0), vote(1, 7, 0)]).unwrap();
        let line = serde_json::to_string(&verdict).unwrap();
        let old = line.replace("\"variants\":", "\"ballots\":");
        assert_ne!(old, line);
        assert_eq!(serde_json::from_str::<Verdict>(&old).unwrap(), verdict);
    }

    #[test]
    fn variants_that_disagree_are_named_with_their_answers() {
        let verdict = combine_variants(&perturbations(), vec![vote(7, 1, 0), vote(1, 7, 0)]).unwrap();
        assert_eq!(
            (verdict.kept, verdict.reason.as_str()),
            (false, "polite says no where the question itself says yes")
        );
        assert_eq!(verdict.variants.len(), 2, "the third was not asked");
        let verdict =
            combine_variants(&perturbations(), vec![vote(5, 3, 0), vote(0, 0, 8), vote(5, 3, 0)]).unwrap();
        assert_eq!(
            verdict.reason,
            "5 of 8 samples agree, under the threshold of 75%; polite says nothing where the question itself \
             says yes; under loud: 5 of 8 samples agree, under the threshold of 75%"
        );
    }

    #[test]
    fn a_question_with_a_missing_variant_is_rejected() {
        assert!(!combine_variants(&perturbations(), vec![vote(8, 0, 0), vote(8, 0, 0)]).unwrap().kept);
    }

    #[test]
    fn without_perturbations_the_vote_is_the_verdict() {
        assert_eq!(combine_variants(&[], vec![vote(7, 1, 0)]), Some(vote(7, 1, 0)));
        assert_eq!(combine_variants(&[], vec![]), None);
    }
}
