//! Tests of perturbations, weights, selections and verifiers with a scripted judge, and that verdicts do
//! not depend on the schedule.

use std::sync::Mutex;

use rand::{Rng, SeedableRng};

use super::tests::Log;
use super::*;
use crate::Error;
use crate::engine::{Completion, Request, Scripted, Source};
use crate::vote::StopReason;

/// A judge of two responses, asked in both orders.
const JUDGE: &str = r#"{"name": "t", "system1": {"prompt": "{{ a }} or {{ b }}?"},
    "system2": [{"prompt": "{{ question }} {{ a }} or {{ b }}?", "temperature": 1.0}],
    "answer": {"kind": "choice", "choices": ["A", "B"]},
    "vote": {"samples": 8, "threshold": 0.75, "min_samples": 4},
    "perturbations": [
        {"name": "swap", "fields": {"a": "{{ b }}", "b": "{{ a }}"}, "answers": {"A": "B", "B": "A"}},
        {"name": "polite", "fields": {"question": "Please: {{ question }}"}}]}"#;

/// A task with free text, in which the model selects.
const FREE: &str = r#"{"name": "t", "system1": {"prompt": "{{ question }}"},
    "system2": [{"prompt": "{{ question }}", "temperature": 1.0}],
    "answer": {"kind": "text"},
    "vote": {"samples": 6, "threshold": 0.6, "min_samples": 4, "select": "universal", "selections": 5,
        "select_prompt": "{{ question }}:{% for r in responses %} {{ loop.index }}={{ r }}{% endfor %}"}}"#;

fn task(json: &str) -> Task {
    Task::from_json(json, "test").unwrap()
}

fn pairs() -> Vec<Question> {
    let one = |id: &str| {
        let fields = [("question", id), ("a", "good"), ("b", "bad")];
        let fields = fields.map(|(name, text)| (name.to_string(), text.to_string())).into();
        Question { id: id.into(), fields, gold: vec![] }
    };
    ["fair", "first", "rude", "torn", "mute"].map(one).into()
}

/// The judge's answer to `fair` is right in either order, to `first` always the first response; to `rude`
/// it changes when the question is polite; to `torn` it depends on the seed; `mute` has none.
fn judge(request: &Request) -> String {
    let text = &request.messages[0].content;
    let fair = if text.contains("good or bad") { "A" } else { "B" };
    let other = if fair == "A" { "B" } else { "A" };
    let said = match text.trim_start_matches("Please: ").split(' ').next() {
        Some("fair") => fair,
        Some("first") => "A",
        Some("rude") if text.starts_with("Please") => other,
        Some("rude") => fair,
        Some("torn") if request.seed.is_multiple_of(3) => other,
        Some("torn") => fair,
        _ => "hmm",
    };
    said.to_string()
}

/// The responses to `tea` are nearly the same, those to `split` all differ. A selection picks a response
/// with "tea", or the first.
fn writer(request: &Request) -> String {
    let text = &request.messages[0].content;
    if let Some((_, shown)) = text.split_once(": ") {
        let tea = shown.split(' ').find(|response| response.contains("=tea"));
        return tea.or(shown.split(' ').next()).unwrap_or_default().to_string();
    }
    match text.as_str() {
        "same" => "cake".into(),
        "tea" if !request.seed.is_multiple_of(4) => format!("tea{}", request.seed % 2),
        _ => format!("word{}", request.seed % 1000),
    }
}

fn texts() -> Vec<Question> {
    ["same", "tea", "split"].map(|id| Question::new(id, id, vec![])).into()
}

/// An engine that runs several requests at a time and finishes them in another order.
struct Shuffled<F> {
    answer: F,
    rng: rand_chacha::ChaCha8Rng,
    slots: usize,
}

impl<F: FnMut(&Request) -> String> Engine for Shuffled<F> {
    fn run(&mut self, source: &mut dyn Source, cancel: &Cancel) -> Result<()> {
        let mut running: Vec<Request> = Vec::new();
        loop {
            cancel.check()?;
            running.retain(|request| source.wanted(request.id));
            while running.len() < self.slots
                && let Some(request) = source.next()
            {
                running.push(request);
            }
            if running.is_empty() {
                return Ok(());
            }
            let request = running.swap_remove(self.rng.random_range(0..running.len()));
            let text = (self.answer)(&request);
            source.finished(Completion {
                id: request.id,
                text,
                tokens: std::sync::Arc::default(),
                prompt_tokens: 1,
                generated_tokens: 1,
                finish: Finish::EndOfTurn,
                probability: 0.5,
                log_probability: 0.5f64.ln(),
                seconds: 0.0,
            })?;
        }
    }

    fn set_adapter(&mut self, _: Option<&std::path::Path>) -> Result<()> {
        Ok(())
    }
}

fn run_on(
    engine: &mut dyn Engine,
    task: &Task,
    questions: &[Question],
    verifier: Option<&dyn Verifier>,
    earlier: Vec<JournalEntry>,
    log: &mut Log,
) -> Result<Vec<Outcome>> {
    let plan = CurationPlan { task, questions, seed: 7, stop_at_answer: true, verifier };
    let cancel = log.2.as_ref().map_or_else(Cancel::new, |(_, cancel)| cancel.clone());
    curate(move || Ok(engine), &plan, earlier.into_iter().map(Ok), log, &cancel)
}

fn judged(json: &str, log: &mut Log) -> Vec<Outcome> {
    run_on(&mut Scripted::new(judge), &task(json), &pairs(), None, vec![], log).unwrap()
}

fn said(outcomes: &[Outcome], id: &str) -> Verdict {
    outcomes.iter().find(|o| o.verdict.question == id).unwrap().verdict.clone()
}

#[test]
fn a_question_is_accepted_if_no_perturbation_changes_its_answer() {
    let mut log = Log::default();
    let outcomes = judged(JUDGE, &mut log);
    let fair = said(&outcomes, "fair");
    assert!(fair.kept, "{}", fair.reason);
    let variants: Vec<_> = fair
        .variants
        .iter()
        .map(|b| (b.perturbation.as_str(), b.answer.as_ref().unwrap().text.as_str(), b.n))
        .collect();
    assert_eq!(variants, [("none", "A", 4), ("swap", "A", 4), ("polite", "A", 4)]);

    let first = said(&outcomes, "first");
    assert_eq!((first.kept, first.reason.as_str()), (false, "swap says B where the question itself says A"));
    let rude = said(&outcomes, "rude");
    assert_eq!((rude.kept, rude.reason.as_str()), (false, "polite says B where the question itself says A"));
    assert_eq!(log.1.len(), 5, "each question has one verdict");
    let swapped = log.0.iter().find(|s| s.question == "fair" && s.perturbation == "swap").unwrap();
    assert_eq!(swapped.answer.as_ref().unwrap().text, "B", "the journal has the answer as it was read");
}

#[test]
fn after_a_variant_that_rejects_its_question_no_other_is_sampled() {
    let mut log = Log::default();
    let outcomes = judged(JUDGE, &mut log);
    let asked = |id: &str, name: &str| log.0.iter().any(|s| s.question == id && s.perturbation == name);
    assert!(!asked("mute", "swap") && asked("first", "swap") && !asked("first", "polite"));
    assert_eq!(said(&outcomes, "mute").variants.len(), 1);
    assert_eq!(said(&outcomes, "mute").stop, StopReason::Abandoned);

    let to_the_end = JUDGE.replace("\"min_samples\"", "\"early_abandon\": false, \"min_samples\"");
    let outcomes = judged(&to_the_end, &mut Log::default());
    assert!(outcomes.iter().all(|o| o.verdict.variants.len() == 3));
    assert_eq!(said(&outcomes, "first").variants[2].n, 4);
}

#[test]
fn perturbations_do_not_change_the_samples_of_the_question_itself() {
    let mut log = Log::default();
    judged(JUDGE, &mut log);
    let mut plain = Log::default();
    let without = Task { perturbations: vec![], ..task(JUDGE) };
    run_on(&mut Scripted::new(judge), &without, &pairs(), None, vec![], &mut plain).unwrap();
    let of_itself = |log: &Log| -> Vec<Sample> {
        log.0.iter().filter(|s| s.perturbation == UNPERTURBED && s.question != "torn").cloned().collect()
    };
    let (mut with, mut without) = (of_itself(&log), of_itself(&plain));
    with.sort_by_key(|s| (s.question.clone(), s.index));
    without.sort_by_key(|s| (s.question.clone(), s.index));
    assert_eq!(with, without);
    assert_ne!(variant_seed(7, "swap"), variant_seed(7, "polite"));
    assert_eq!(variant_seed(7, UNPERTURBED), 7);
}

#[test]
fn no_schedule_changes_a_verdict() {
    let give_all = JUDGE.replace("\"min_samples\"", "\"early_abandon\": false, \"min_samples\"");
    let by_confidence = JUDGE.replace("\"min_samples\"", "\"weights\": \"confidence\", \"min_samples\"");
    for (json, questions, answer) in [
        (JUDGE, pairs(), judge as fn(&Request) -> String),
        (&give_all, pairs(), judge),
        (&by_confidence, pairs(), judge),
        (FREE, texts(), writer),
    ] {
        let run = |slots: usize, order: u64| {
            let rng = rand_chacha::ChaCha8Rng::seed_from_u64(order);
            let mut engine = Shuffled { answer, rng, slots };
            run_on(&mut engine, &task(json), &questions, None, vec![], &mut Log::default()).unwrap()
        };
        let one_by_one = run(1, 0);
        for order in 0..20 {
            assert_eq!(run(1 + order as usize % 16, order), one_by_one, "order {order}");
        }
    }
}

#[test]
fn an_interrupted_run_with_perturbations_resumes_to_the_same_verdicts() {
    let whole = judged(JUDGE, &mut Log::default());
    for after in [1, 5, 9, 20, 30] {
        let mut first = Log(vec![], vec![], Some((after, Cancel::new())), vec![], vec![]);
        let cut = run_on(&mut Scripted::new(judge), &task(JUDGE), &pairs(), None, vec![], &mut first);
        assert!(matches!(cut, Err(Error::Cancelled)));
        // As it comes back from the journal.
        let lines: Vec<String> = first.0.iter().map(|s| serde_json::to_string(s).unwrap()).collect();
        let earlier =
            lines.iter().map(|line| JournalEntry::Sample(serde_json::from_str(line).unwrap())).collect();
        let mut second = Log::default();
        let resumed =
            run_on(&mut Scripted::new(judge), &task(JUDGE), &pairs(), None, earlier, &mut second).unwrap();
        assert_eq!(resumed, whole);
        let name = |s: &Sample| (s.question.clone(), s.perturbation.clone(), s.index);
        assert!(second.0.iter().all(|s| !first.0.iter().any(|earlier| name(earlier) == name(s))));
    }
}

#[test]
fn a_sample_s_confidence_is_stored_and_weights_a_resumed_vote() {
    let json = r#"{"name": "t", "system1": {"prompt": "{{ question }}"},
        "system2": [{"prompt": "{{ question }}", "temperature": 1.0}],
        "answer": {"kind": "choice", "choices": ["yes", "no"]},
        "vote": {"samples": 8, "threshold": 0.75, "min_samples": 4, "confidence": 1.0, "early_abandon": false,
            "weights": "confidence"}}"#;
    let questions = [Question::new("q", "q", vec![])];
    // It says no half of the time, and is sure only when it says yes. Long texts must not weigh
    // nothing because their probability does.
    let say = |r: &Request| {
        let padding = "so ".repeat(400);
        format!("{} {padding}", if r.seed.is_multiple_of(2) { "yes" } else { "no" })
    };
    let mut engine =
        Scripted::new(say).with_confidence(|text| if text.starts_with("yes") { 0.9 } else { 0.1 });
    let mut log = Log::default();
    let mut task = task(json);
    task.system2[0].max_tokens = 1000;
    let plan =
        CurationPlan { task: &task, questions: &questions, seed: 7, stop_at_answer: false, verifier: None };
    let none: [Result<Sample>; 0] = [];
    let outcomes = curate(|| Ok(&mut engine), &plan, none, &mut log, &Cancel::new()).unwrap();
    let yes = log.0.iter().filter(|s| s.answer.as_ref().unwrap().key == "yes").count();
    assert!((2..=6).contains(&yes), "the seeds are one-sided: {yes}");
    let verdict = &outcomes[0].verdict;
    assert_eq!((verdict.answer.as_ref().unwrap().key.as_str(), verdict.votes), ("yes", yes));
    let share = 0.9 * yes as f64 / (0.9 * yes as f64 + 0.1 * (8 - yes) as f64);
    assert!((f64::from(verdict.agreement) - share).abs() < 1e-5, "{verdict:?}");

    let lines: Vec<String> = log.0.iter().map(|s| serde_json::to_string(s).unwrap()).collect();
    let earlier = lines.iter().map(|line| Ok(serde_json::from_str::<Sample>(line).unwrap()));
    let no_engine = || -> Result<&mut dyn Engine> { unreachable!("all is there") };
    let resumed = curate(no_engine, &plan, earlier, &mut Log::default(), &Cancel::new()).unwrap();
    assert_eq!(resumed, outcomes);
}

#[test]
fn the_model_selects_among_its_own_responses_in_an_order_that_changes() {
    let mut log = Log::default();
    let outcomes = run_on(&mut Scripted::new(writer), &task(FREE), &texts(), None, vec![], &mut log).unwrap();
    let same = said(&outcomes, "same");
    assert_eq!((same.kept, same.selections, same.votes), (true, None, 6), "nothing to select from");
    let tea = said(&outcomes, "tea");
    assert_eq!((tea.kept, tea.selections, tea.n), (true, Some(5), 6), "{tea:?}");
    assert!(tea.completion.as_ref().unwrap().starts_with("tea"));
    // The first number is a habit, not agreement: in changing orders it is another response.
    let split = said(&outcomes, "split");
    assert!(!split.kept, "{split:?}");
    assert_eq!(log.3.len(), 10);
    let orders: std::collections::HashSet<_> = log.3.iter().map(|s| (&s.question, &s.shown)).collect();
    assert!(orders.len() > 5, "{orders:?}");
    let spent = outcomes.iter().find(|o| o.verdict.question == "tea").unwrap();
    assert_eq!((spent.own_tokens(), spent.selections.len()), (6 + 5, 5));
}

#[test]
fn a_resumed_run_repeats_no_selection_but_those_among_other_responses() {
    let mut log = Log::default();
    let task = task(FREE);
    let whole = run_on(&mut Scripted::new(writer), &task, &texts(), None, vec![], &mut log).unwrap();
    let earlier = |selections: usize| -> Vec<JournalEntry> {
        let selections = log.3.iter().take(selections).map(|s| serde_json::to_string(s).unwrap());
        let selections = selections.map(|line| JournalEntry::Selection(serde_json::from_str(&line).unwrap()));
        log.0.iter().cloned().map(JournalEntry::Sample).chain(selections).collect()
    };
    for kept in [0, 3, 10] {
        let mut again = Log::default();
        let mut engine = Scripted::new(writer);
        let resumed = run_on(&mut engine, &task, &texts(), None, earlier(kept), &mut again).unwrap();
        assert_eq!((resumed, again.0.len(), again.3.len()), (whole.clone(), 0, 10 - kept));
    }
    let mut more = task.clone();
    more.vote.samples = 7;
    let mut again = Log::default();
    run_on(&mut Scripted::new(writer), &more, &texts(), None, earlier(10), &mut again).unwrap();
    assert_eq!((again.0.len(), again.3.len()), (3, 10), "a seventh response was to be shown too");
}

#[test]
fn responses_too_long_to_select_among_reject_their_question_and_no_other() {
    let mut log = Log::default();
    let task = task(&FREE.replace(r#""text""#, r#""text", "max_words": 12"#));
    // `long` gets responses of ten words, six of which make a selection's prompt of sixty.
    let say = |r: &Request| match r.messages[0].content.as_str() {
        "long" => format!("word{} and nine words more that say nothing at all", r.seed % 1000),
        _ => writer(r),
    };
    let questions = ["long", "tea", "same"].map(|id| Question::new(id, id, vec![]));
    let mut engine = Scripted::new(say).with_limit(40);
    let outcomes = run_on(&mut engine, &task, &questions, None, vec![], &mut log).unwrap();
    let long = said(&outcomes, "long");
    assert!(!long.kept && long.answer.is_some() && long.n == 6, "{long:?}");
    assert!(long.reason.starts_with("its 6 responses make a prompt of 6"), "{}", long.reason);
    assert!(long.reason.ends_with("too long to select among: at most 39 fit"), "{}", long.reason);
    assert!(said(&outcomes, "tea").kept && said(&outcomes, "same").kept);
    assert!(log.3.iter().all(|selection| selection.question == "tea"), "no selection of the long ones");

    let earlier = log.0.iter().cloned().map(JournalEntry::Sample).collect();
    let resumed = run_on(&mut engine, &task, &questions, None, earlier, &mut Log::default()).unwrap();
    assert_eq!(resumed, outcomes, "a resumed run finds the same");
}

#[test]
fn a_question_too_long_to_ask_is_set_aside_and_the_others_go_on() {
    let mut questions: Vec<Question> =
        ["tea", "same", "more"].iter().map(|id| Question::new(*id, *id, vec![])).collect();
    questions.insert(1, Question::new("q9", "word ".repeat(40), vec![]));
    let mut engine = Scripted::new(writer).with_limit(40);
    let mut log = Log::default();
    let outcomes = run_on(&mut engine, &task(FREE), &questions, None, vec![], &mut log).unwrap();
    let long = said(&outcomes, "q9");
    assert!(!long.kept && long.n == 0 && long.answer.is_none(), "{long:?}");
    let why = long.set_aside.unwrap();
    assert!(why.starts_with("its prompt has 40 tokens"), "{why}");
    assert_eq!(long.reason, format!("set aside: {why}"));
    assert!(outcomes.iter().filter(|o| o.verdict.question != "q9").all(|o| o.verdict.set_aside.is_none()));
    assert_eq!(outcomes.iter().map(|o| o.verdict.n).sum::<usize>(), log.0.len(), "no sample of it");
    assert!(log.0.iter().all(|sample| sample.question != "q9"));

    let earlier: Vec<_> = log.0.iter().take(7).cloned().map(JournalEntry::Sample).collect();
    let mut engine = Scripted::new(writer).with_limit(40);
    let resumed = run_on(&mut engine, &task(FREE), &questions, None, earlier, &mut Log::default()).unwrap();
    assert_eq!(resumed, outcomes, "a resumed run sets the same aside");
}

#[test]
fn a_question_without_a_field_is_set_aside_with_the_field() {
    let task = task(&FREE.replace("{{ question }}", "{{ question }}{{ hint }}"));
    let mut questions: Vec<Question> =
        ["tea", "same", "bare"].iter().map(|id| Question::new(*id, *id, vec![])).collect();
    for question in &mut questions[..2] {
        question.fields.insert("hint".into(), "".into());
    }
    let mut log = Log::default();
    let outcomes = run_on(&mut Scripted::new(writer), &task, &questions, None, vec![], &mut log).unwrap();
    let why = said(&outcomes, "bare").set_aside.unwrap();
    assert!(why.contains("uses a field that the question does not have (hint)"), "{why}");
    assert!(said(&outcomes, "tea").n > 0 && said(&outcomes, "same").kept);
}

#[test]
fn what_the_vote_asks_about_a_question_needs_its_fields_too() {
    let mut questions: Vec<Question> =
        ["tea", "same", "bare"].iter().map(|id| Question::new(*id, *id, vec![])).collect();
    for question in &mut questions[..2] {
        question.fields.insert("hint".into(), "".into());
    }
    let selecting = FREE.replace("{{ question }}:{% for", "{{ question }}{{ hint }}:{% for");
    let (counting, _) = FREE.split_once(r#""select""#).unwrap();
    let judging = format!(
        r#"{counting}"equivalence": "model", "equivalence_prompt": "{{{{ hint }}}}{{{{ a }}}} or {{{{ b }}}}?"}}}}"#
    );
    for text in [selecting, judging] {
        assert!(text.contains("hint"));
        let mut log = Log::default();
        let say = |r: &Request| match r.sampling.choices.is_empty() {
            true => writer(r),
            false => r.sampling.choices[0].clone(),
        };
        let outcomes =
            run_on(&mut Scripted::new(say), &task(&text), &questions, None, vec![], &mut log).unwrap();
        let why = said(&outcomes, "bare").set_aside.unwrap();
        assert!(why.contains("_prompt\" cannot be filled in"), "{why}");
        assert!(said(&outcomes, "tea").n > 0);
    }
}

#[test]
fn the_requests_of_a_sample_that_ended_early_are_those_that_it_made() {
    let task = Task::from_json(
        r#"{"name": "t", "system1": {"prompt": "{{ question }}"},
            "system2": [{"name": "plan", "prompt": "Plan: {{ question }}"},
                        {"name": "answer", "prompt": "{{ (plan|split('Question:'))[1] }}"}],
            "answer": {"kind": "text"}}"#,
        "t",
    )
    .unwrap();
    let question = Question::new("q", "tea", vec![]);
    let ended = Sample::of_nothing();
    assert!(requests_of(&task, &question, &ended, 1).unwrap().is_empty());
    let step = StepRecord {
        name: "plan".into(),
        item: None,
        text: "no label".into(),
        prompt_tokens: 2,
        generated_tokens: 2,
    };
    let ended = Sample { steps: vec![step], ..Sample::of_nothing() };
    assert_eq!(requests_of(&task, &question, &ended, 1).unwrap().len(), 1);
}

#[test]
fn a_fault_of_most_questions_ends_the_run_before_an_engine_is_asked_for() {
    let task = task(&FREE.replace("{{ question }}", "{{ question }}{{ hint }}"));
    let questions: Vec<Question> = (0..9000).map(|i| Question::new(format!("q{i}"), "tea", vec![])).collect();
    let plan =
        CurationPlan { task: &task, questions: &questions, seed: 1, stop_at_answer: true, verifier: None };
    let earlier: [Result<Sample>; 0] = [];
    let engine = || -> Result<&mut dyn Engine> { panic!("no engine is needed") };
    let error = curate(engine, &plan, earlier, &mut Log::default(), &Cancel::new()).unwrap_err().to_string();
    assert!(error.starts_with("questions: more than half of the"), "{error}");
    assert!(error.contains("of question \"q0\": ") && error.contains("(hint)"), "{error}");

    // Their length is known with the engine: the run ends with the first that is one too many.
    let texts = |long: usize| -> Vec<Question> {
        (0..10)
            .map(|i| {
                Question::new(format!("q{i}"), "word ".repeat(if i < long { 50 + i } else { 1 }), vec![])
            })
            .collect()
    };
    let run = |long: usize, log: &mut Log| {
        let mut engine = Scripted::new(writer).with_limit(40);
        run_on(&mut engine, &self::task(FREE), &texts(long), None, vec![], log)
    };
    let half = run(5, &mut Log::default()).unwrap();
    assert_eq!(half.iter().filter(|o| o.verdict.set_aside.is_some()).count(), 5);
    let mut log = Log::default();
    let error = run(6, &mut log).unwrap_err().to_string();
    assert!(error.contains("more than half of the 10 questions") && error.contains("50 tokens"), "{error}");
    assert!(log.0.is_empty(), "nothing was sampled");
}

#[test]
fn a_sample_whose_later_step_does_not_fit_has_no_answer_and_its_question_goes_on() {
    let steps = r#""system2": [{"name": "think", "prompt": "Think: {{ question }}", "max_tokens": 99},
        {"name": "answer", "prompt": "{{ question }} after {{ think }}"}]"#;
    let json = format!(
        r#"{{"name": "t", "system1": {{"prompt": "{{{{ question }}}}"}}, {steps},
            "answer": {{"kind": "choice", "choices": ["yes", "no"]}},
            "vote": {{"samples": 8, "threshold": 0.5, "min_samples": 8, "confidence": 0.95}}}}"#
    );
    let task = Task::from_json(&json, "test").unwrap();
    let say = |r: &Request| match r.messages[0].content.starts_with("Think:") {
        true if r.seed.is_multiple_of(3) => "much ".repeat(60),
        true => "a thought".into(),
        false => "yes".into(),
    };
    let mut log = Log::default();
    let questions = [Question::new("q", "tea", vec![])];
    let mut engine = Scripted::new(say).with_limit(40);
    let outcomes = run_on(&mut engine, &task, &questions, None, vec![], &mut log).unwrap();
    let (cut, whole): (Vec<_>, Vec<_>) = log.0.iter().partition(|s| s.steps.len() == 1);
    assert!(!cut.is_empty() && !whole.is_empty());
    assert!(cut.iter().all(|s| s.answer.is_none() && s.finish == Finish::Length));
    assert!(whole.iter().all(|s| s.answer.is_some()));
    assert!(outcomes[0].verdict.set_aside.is_none() && outcomes[0].verdict.n == log.0.len());
}

/// Rejects every answer to one question, and records its calls.
struct Strict(Mutex<Vec<(String, String, String)>>, &'static str);

impl Verifier for Strict {
    fn accepts(&self, question: &Question, answer: &Answer, completion: &str) -> Result<bool> {
        let a = question.fields["a"].clone();
        self.0.lock().unwrap().push((a, answer.text.clone(), completion.to_string()));
        Ok(question.id != self.1)
    }
}

#[test]
fn a_verifier_is_asked_once_for_each_answer_and_what_it_rejects_has_none() {
    let verifier = Strict(Mutex::default(), "fair");
    let mut log = Log::default();
    let (task, pairs) = (task(JUDGE), pairs());
    let outcomes =
        run_on(&mut Scripted::new(judge), &task, &pairs, Some(&verifier), vec![], &mut log).unwrap();
    let fair = said(&outcomes, "fair");
    assert_eq!((fair.kept, fair.answer.is_none(), fair.n), (false, true, 3), "{}", fair.reason);
    assert!(log.0.iter().filter(|s| s.question == "fair").all(|s| s.rejected && s.answer.is_some()));
    assert!(log.0.iter().filter(|s| s.question != "fair").all(|s| !s.rejected));
    let asked = verifier.0.lock().unwrap().len();
    assert_eq!(asked, log.0.iter().filter(|s| s.answer.is_some()).count());
    assert!(
        verifier.0.lock().unwrap().contains(&("bad".into(), "A".into(), "A".into())),
        "the swapped variant"
    );

    let earlier = log.0.iter().cloned().map(JournalEntry::Sample).collect();
    let resumed =
        run_on(&mut Scripted::new(judge), &task, &pairs, Some(&verifier), earlier, &mut Log::default())
            .unwrap();
    assert_eq!(resumed, outcomes);
    assert_eq!(verifier.0.lock().unwrap().len(), asked, "a resumed run does not ask again");
}

#[test]
fn a_plain_sample_is_written_without_optional_fields_and_an_old_line_is_read() {
    let line = r#"{"question":"q","index":0,"perturbation":"none","seed":1,"steps":[],"answer":null,"finish":"enough"}"#;
    let sample: Sample = serde_json::from_str(line).unwrap();
    assert_eq!(serde_json::to_string(&sample).unwrap(), line);
}

/// A task whose answers have many spellings.
const CITIES: &str = r#"{"name": "t", "system1": {"prompt": "{{ question }}"},
    "system2": [{"prompt": "{{ question }}", "temperature": 1.0}],
    "answer": {"kind": "text"},
    "vote": {"samples": 8, "threshold": 0.75, "min_samples": 4, "equivalence": "model",
        "equivalence_prompt": "{{ question }}: {{ a }} = {{ b }}"},
    "perturbations": [{"name": "loud", "fields": {"question": "{{ question }}!"}}]}"#;

/// Writes a city in one of several spellings, loudly in others; says of two cities whether they begin alike.
fn traveller(request: &Request) -> String {
    let text = &request.messages[0].content;
    if let Some((_, pair)) = text.split_once(": ") {
        let (a, b) = pair.split_once(" = ").unwrap();
        return if a[..1] == b[..1] { "yes".into() } else { "no".into() };
    }
    let n = request.seed % 100;
    let said = match text.as_str() {
        "new york" => ["New York", "NYC", "New York"][n as usize % 3],
        "new york!" => ["NY", "New York City"][n as usize % 2],
        "moved!" => "Oslo",
        "moved" => ["Rome", "Roma"][n as usize % 2],
        "split" | "split!" => ["Bonn", "Bern", "Paris", "Prague", "Rome"][n as usize % 5],
        _ => "Kyoto",
    };
    said.to_string()
}

fn cities() -> Vec<Question> {
    ["new york", "moved", "split", "plain"].map(|id| Question::new(id, id, vec![])).into()
}

#[test]
fn answers_that_the_model_judges_equal_count_together_in_their_most_frequent_spelling() {
    let mut log = Log::default();
    let outcomes =
        run_on(&mut Scripted::new(traveller), &task(CITIES), &cities(), None, vec![], &mut log).unwrap();
    let york = said(&outcomes, "new york");
    assert!(york.kept && york.votes == york.n && york.stop == StopReason::Converged, "{york:?}");
    let answer = york.answer.unwrap();
    let times = |text: &str| {
        let own = log.0.iter().filter(|s| s.question == "new york" && s.perturbation == UNPERTURBED);
        own.filter(|s| s.index < york.n && s.answer.as_ref().unwrap().text == text).count()
    };
    assert!(times("NYC") > 0 && times("New York") > 0, "the seeds are one-sided");
    let expected = if times("New York") > times("NYC") { ("New York", "new york") } else { ("NYC", "nyc") };
    assert_eq!((answer.text.as_str(), answer.key.as_str()), expected);
    assert_eq!(york.completion.as_deref(), Some(expected.0));
    let moved = said(&outcomes, "moved");
    assert_eq!((moved.kept, moved.variants.len()), (false, 2));
    assert!(moved.reason.contains("loud says Oslo where the question itself says"), "{}", moved.reason);
    assert!(said(&outcomes, "plain").kept);

    let pairs: Vec<_> = log.4.iter().map(|j| (&j.question, &j.a.key, &j.b.key)).collect();
    let unique: std::collections::HashSet<_> = pairs.iter().collect();
    assert_eq!(unique.len(), pairs.len(), "each pair once");
    assert!(log.4.iter().all(|j| j.a.key < j.b.key && j.question != "plain"));
    for outcome in &outcomes {
        let judged = log.4.iter().filter(|j| j.question == outcome.verdict.question);
        assert_eq!(outcome.equivalences.len(), judged.clone().count());
        let equal = outcome.equivalences.iter().filter(|cost| cost.equal).count();
        assert_eq!(equal, judged.clone().filter(|j| j.equal).count());
        let generated: usize = outcome.samples.iter().map(|sample| sample.generated_tokens).sum();
        assert_eq!(outcome.all_tokens(), generated + judged.count(), "one word for each judgement");
    }
    // Without it, they are different answers.
    let exact = CITIES.replace(r#""model""#, r#""exact""#);
    let mut log = Log::default();
    let outcomes =
        run_on(&mut Scripted::new(traveller), &task(&exact), &cities(), None, vec![], &mut log).unwrap();
    assert!(!said(&outcomes, "new york").kept && log.4.is_empty());
}

#[test]
fn no_schedule_changes_a_verdict_on_judged_answers() {
    let give_all = CITIES.replace("\"min_samples\"", "\"early_abandon\": false, \"min_samples\"");
    for json in [CITIES, &give_all] {
        let run = |slots: usize, order: u64| {
            let rng = rand_chacha::ChaCha8Rng::seed_from_u64(order);
            let mut engine = Shuffled { answer: traveller, rng, slots };
            run_on(&mut engine, &task(json), &cities(), None, vec![], &mut Log::default()).unwrap()
        };
        let one_by_one = run(1, 0);
        for order in 0..20 {
            assert_eq!(run(1 + order as usize % 16, order), one_by_one, "order {order}");
        }
    }
}

#[test]
fn a_resumed_run_repeats_no_judgement() {
    let mut log = Log::default();
    let task = task(CITIES);
    let whole = run_on(&mut Scripted::new(traveller), &task, &cities(), None, vec![], &mut log).unwrap();
    for kept in [0, 1, 3, log.4.len()] {
        let judged = log.4.iter().take(kept).map(|j| serde_json::to_string(j).unwrap());
        let judged = judged.map(|line| JournalEntry::Equivalence(serde_json::from_str(&line).unwrap()));
        let earlier = log.0.iter().cloned().map(JournalEntry::Sample).chain(judged).collect();
        let mut again = Log::default();
        let mut engine = Scripted::new(traveller);
        let resumed = run_on(&mut engine, &task, &cities(), None, earlier, &mut again).unwrap();
        assert_eq!((resumed, again.0.len(), again.4.len()), (whole.clone(), 0, log.4.len() - kept));
    }
}

#[test]
fn answers_whose_comparison_does_not_fit_stay_two() {
    let mut log = Log::default();
    let json = CITIES.replace("{{ question }}: {{ a }}", "so many words to compare {{ question }}: {{ a }}");
    let mut engine = Scripted::new(traveller).with_limit(7);
    let outcomes = run_on(&mut engine, &task(&json), &cities(), None, vec![], &mut log).unwrap();
    assert!(!said(&outcomes, "new york").kept && said(&outcomes, "plain").kept);
    assert!(log.4.is_empty());
}
