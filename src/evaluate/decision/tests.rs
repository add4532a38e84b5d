use super::*;
use crate::curate::VoteSummary;
use crate::engine::Finish;
use crate::evaluate::Direct;
use crate::evaluate::{Constant, Fallback, Measurement};
use crate::task::Answer;
use crate::vote::{StopReason, VariantVote};

fn task() -> Task {
    Task::load("coin-flip").unwrap()
}

fn evaluation(before: f64, after: f64, p: f64, constant: f64, constant_p: f64) -> Evaluation {
    let accuracy = |accuracy| Measurement { accuracy, tokens_per_answer: 2.0, ..Measurement::default() };
    Evaluation {
        n: 200,
        system1: accuracy(before),
        distilled: accuracy(after),
        mcnemar_p: p,
        constant: Some(Constant { answer: "yes".into(), accuracy: constant, mcnemar_p: constant_p }),
        ..Evaluation::default()
    }
}

fn answer(text: &str) -> Answer {
    Answer { key: text.into(), text: text.into() }
}

fn verdict(text: &str, votes: usize, kept: bool) -> Verdict {
    Verdict {
        question: "q".into(),
        answer: Some(answer(text)),
        completion: None,
        votes,
        n: 8,
        selections: None,
        agreement: votes as f32 / 8.0,
        stop: StopReason::Budget,
        kept,
        reason: String::new(),
        set_aside: None,
        variants: vec![],
    }
}

fn labels(curation: Curation, verdicts: &[Verdict]) -> Decision {
    let curation = Curation { threshold: 0.75, max_samples: 8, samples: 8 * verdicts.len(), ..curation };
    labels_are_worth_it(&Acceptance::default(), &task(), &curation, verdicts)
}

/// `kept` questions that say yes and no in turn, then others in which `votes` of 8 agree.
fn split(kept: usize, others: usize, votes: usize) -> Vec<Verdict> {
    let text = |i: usize| if i.is_multiple_of(2) { "yes" } else { "no" };
    let kept = (0..kept).map(|i| verdict(text(i), 8, true));
    kept.chain((0..others).map(|i| verdict(text(i), votes, false))).collect()
}

#[test]
fn a_gain_counts_only_beyond_chance() {
    let was = |e: &Evaluation| was_worth_it(&task(), e, &Training::default());
    assert!(was(&evaluation(0.4, 0.9, 1e-9, 0.5, 1e-9)).distill);
    let lucky = was(&evaluation(0.40, 0.42, 0.7, 0.3, 1e-3));
    assert!(!lucky.distill && lucky.why.contains("chance"), "{}", lucky.why);
    assert!(!was(&evaluation(0.6, 0.4, 1e-9, 0.1, 1e-9)).distill);
}

#[test]
fn learning_to_say_always_the_same_is_not_a_gain() {
    let e = evaluation(0.335, 0.505, 1e-4, 0.50, 1.0);
    let yes_man = was_worth_it(&task(), &e, &Training::default());
    assert!(!yes_man.distill && yes_man.why.starts_with("always answering \"yes\""), "{}", yes_man.why);
}

#[test]
fn all_reasons_against_an_adapter_are_given_and_not_only_the_first() {
    let both = was_worth_it(&task(), &evaluation(0.5, 0.5, 1.0, 0.6, 0.2), &Training::default());
    assert_eq!(both.reasons.len(), 2, "{both:?}");
    assert!(both.refusal().contains(&both.reasons[0]) && both.refusal().contains(&both.advice[0]));
}

#[test]
fn steps_that_do_not_fold_into_one_answer_are_told_from_too_little_training() {
    let mut e = evaluation(0.2, 0.21, 0.8, 0.05, 1e-9);
    e.system2 = Measurement { accuracy: 0.6, tokens_per_answer: 900.0, ..Measurement::default() };
    e.fallback = Some(Fallback { threshold: 0.9, coverage: 0.1, accuracy: 0.55, tokens_per_answer: 800.0 });
    let training = Training { examples: 120, epochs: 4.0, ..Training::default() };
    let advice = was_worth_it(&task(), &e, &training).advice;
    assert!(advice[0].contains("40.0 points better") && advice[0].contains("do not fold"), "{advice:?}");
    assert!(advice[0].contains("either 120 examples in 4 epochs are too few"), "{advice:?}");
    assert!(advice[1].contains("55.0%") && advice[1].contains("800 tokens"), "{advice:?}");
    // A fallback that reasons every time is no advice.
    e.fallback = e.fallback.map(|fallback| Fallback { coverage: 0.0, ..fallback });
    assert_eq!(was_worth_it(&task(), &e, &training).advice, advice[..1]);
    let attention = Task::load("biased-fact").unwrap();
    let advice = was_worth_it(&attention, &e, &training).advice;
    assert!(advice[0].contains("more than 120 examples in 4 epochs"), "{advice:?}");
}

#[test]
fn labels_that_collapse_or_do_not_exist_are_refused_with_figures() {
    let all_yes: Vec<_> = (0..30).map(|_| verdict("yes", 8, true)).collect();
    let refused = labels(Curation::default(), &all_yes);
    assert!(refused.why.contains("30 of 30 kept answers are \"yes\""), "{}", refused.why);
    let none = labels(Curation::default(), &split(0, 1, 3));
    assert!(none.why.contains("no question was kept: in none of 1"), "{}", none.why);
    assert!(labels(Curation::default(), &split(30, 0, 0)).distill);
}

#[test]
fn too_few_labels_are_refused_with_the_threshold_that_would_have_kept_more() {
    let refused = labels(Curation::default(), &split(12, 188, 5));
    assert_eq!(refused.reasons.len(), 2, "{refused:?}");
    assert!(refused.reasons[0].contains("only 12 of 200 questions were kept; fewer than 20"), "{refused:?}");
    assert!(refused.reasons[1].contains("only 6.0% of 200"), "{refused:?}");
    assert!(refused.advice[0].contains("at threshold 0.6, 200 of 200 would have been kept"), "{refused:?}");

    let hopeless = labels(Curation::default(), &split(12, 188, 3));
    assert!(hopeless.advice[0].contains("even at threshold 0.5, only 12 of 200"), "{hopeless:?}");
    assert!(hopeless.advice[1].contains("reasons better"), "{hopeless:?}");
}

#[test]
fn too_few_questions_are_told_how_many_would_do() {
    let refused = labels(Curation::default(), &split(12, 4, 3));
    assert!(refused.advice[0].contains("at this rate 27 would give 20"), "{refused:?}");
    assert!(
        refused.advice[1].ends_with("where 12 of 16 are enough, lower the acceptance: min_kept 12"),
        "{refused:?}"
    );
    assert_eq!(refused.advice.len(), 2, "no threshold would have given 20: {refused:?}");
}

#[test]
fn a_gate_is_lowered_to_what_the_refusal_names_and_no_further() {
    let verdicts = split(7, 193, 3);
    let curation = Curation { threshold: 0.75, max_samples: 8, samples: 1600, ..Curation::default() };
    let judge = |acceptance: Acceptance| labels_are_worth_it(&acceptance, &task(), &curation, &verdicts);
    let refused = judge(Acceptance::default());
    let named = refused.advice.last().unwrap();
    assert!(named.ends_with("min_kept 7, min_kept_share 0.035"), "{refused:?}");
    assert!(judge(Acceptance { min_kept: 7, min_kept_share: 0.035 }).distill);
    assert!(!judge(Acceptance { min_kept: 8, min_kept_share: 0.035 }).distill);
    assert!(!judge(Acceptance { min_kept: 7, min_kept_share: 0.036 }).distill);
    assert!(Acceptance { min_kept: 0, min_kept_share: 1.0 }.check().is_ok());
    for min_kept_share in [-0.1, 1.1, f64::NAN] {
        let refusal = Acceptance { min_kept_share, ..Acceptance::default() }.check().unwrap_err().to_string();
        assert!(refusal.starts_with("min_kept_share: "), "{refusal}");
    }
}

#[test]
fn samples_without_an_answer_are_named_as_the_cause_with_their_end() {
    let curation = Curation { unparsed: 900, cut_off: 700, ..Curation::default() };
    let refused = labels(curation.clone(), &split(0, 200, 2));
    assert!(refused.advice[0].contains("900 of 1600 samples hold no answer"), "{refused:?}");
    assert!(refused.advice[0].contains("700 of them ended at \"max_tokens\""), "{refused:?}");
    let refused = labels(Curation { cut_off: 0, ..curation }, &split(0, 200, 2));
    assert!(refused.advice[0].contains("the marker or the answer rule"), "{refused:?}");
}

#[test]
fn a_perturbation_that_changes_answers_is_named_as_the_cause() {
    let mut task = task();
    let json = task.to_json().replacen(
        "\"vote\"",
        "\"perturbations\": [{\"name\": \"swap\", \"fields\": {\"question\": \"{{ question }}!\"}}], \"vote\"",
        1,
    );
    task = Task::from_json(&json, "test").unwrap();
    let variant = |name: &str, text: &str| VariantVote {
        perturbation: name.into(),
        answer: Some(answer(text)),
        completion: None,
        votes: 8,
        n: 8,
        agreement: 1.0,
        stop: StopReason::Budget,
        kept: true,
    };
    let lost =
        Verdict { variants: vec![variant("none", "yes"), variant("swap", "no")], ..verdict("yes", 8, false) };
    let refused = labels_are_worth_it(
        &Acceptance::default(),
        &task,
        &Curation { threshold: 0.75, ..Curation::default() },
        &vec![lost; 40],
    );
    assert!(refused.advice[0].contains("under swap the answers to 40 of 40 questions change"), "{refused:?}");
    assert_eq!(refused.advice.len(), 1, "nothing is wrong with the votes: {refused:?}");
}

#[test]
fn reasoning_that_does_not_help_is_refused_with_advice_for_its_method() {
    let questions: Vec<_> = (0..10).map(|i| Question::new(i.to_string(), "?", vec!["yes".into()])).collect();
    let direct = |right: usize| {
        let one = |i: usize| Direct {
            question: i.to_string(),
            text: String::new(),
            answer: Some(answer(if i < right { "yes" } else { "no" })),
            probability: 1.0,
            set_aside: None,
            prompt_tokens: 1,
            generated_tokens: 1,
        };
        DirectAnswers { answers: (0..10).map(one).collect(), ..DirectAnswers::default() }
    };
    let voted = VoteSummary {
        read_from: Default::default(),
        variant: 0,
        index: 0,
        answer: None,
        prompt_tokens: 1,
        generated_tokens: 1,
        finish: Finish::Length,
    };
    let outcome = Outcome {
        verdict: verdict("no", 8, true),
        samples: vec![voted],
        selections: vec![],
        equivalences: vec![],
    };
    let reasoned = Reasoned { outcomes: vec![outcome; 10], seconds: 1.0 };
    let acceptance = Acceptance::default();
    let refused = worth_trying(&acceptance, &task(), &questions, &direct(5), &reasoned);
    assert!(refused.why.starts_with("reasoning does not help: on 10 held-out"), "{refused:?}");
    assert!(refused.advice[0].contains("10 of 10 samples hold no answer"), "{refused:?}");
    assert!(refused.advice[1].contains("worked example"), "{refused:?}");
    let attention = Task { method: "system-2-attention".into(), ..task() };
    let refused = worth_trying(&acceptance, &attention, &questions, &direct(5), &reasoned);
    assert!(refused.advice[1].contains("read the rewrites"), "{refused:?}");
    let refused = worth_trying(&acceptance, &task(), &questions, &direct(10), &reasoned);
    assert!(refused.advice[0].contains("right 100.0% of the time already"), "{refused:?}");
}

#[test]
fn a_refusal_lists_the_reasons_of_labels_and_of_systems() {
    let no = |reason: &str| Decision::no(vec![reason.into()], vec![format!("mend {reason}")]);
    let both = no("one").and(no("two"));
    assert_eq!(both.refusal(), "one; two. What may help: mend one; mend two");
    assert_eq!(Decision::yes("fine".into()).and(no("two")), no("two"));
    assert_eq!(no("one").and(Decision::yes("fine".into())), no("one"));
    assert!(Decision::yes("a".into()).and(Decision::yes("b".into())).distill);
}

#[test]
fn a_decision_of_an_earlier_version_is_read() {
    let decision = Decision::no(vec!["too few".into()], vec!["ask more".into()]);
    let json = serde_json::to_string(&decision).unwrap();
    let old = json.replace("\"distill\":", "\"distil\":");
    assert_ne!(old, json);
    assert_eq!(serde_json::from_str::<Decision>(&old).unwrap(), decision);
}
