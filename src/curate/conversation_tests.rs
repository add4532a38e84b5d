//! Tests of programs whose steps are turns of a conversation: steps that continue, closing turns and
//! worked examples; with a script, and with the scheduler over a small decoder that counts its cells.

use super::tests::Log;
use super::*;
use crate::engine::{Request, Scripted};

const TASK: &str = r#"{"name": "t", "system1": {"prompt": "{{ question }}"},
    "system2": [
        {"name": "draft", "system": "Be brief.", "prompt": "Draft: {{ question }}", "temperature": 1.0},
        {"name": "critique", "prompt": "Criticize {{ draft }}", "temperature": 1.0},
        {"name": "answer", "continues": "draft", "prompt": "Now answer; they say: {{ critique }}",
         "temperature": 1.0, "marker": "Answer:"}
    ],
    "answer": {"kind": "choice", "choices": ["yes", "no"]},
    "vote": {"samples": 4, "threshold": 0.5, "min_samples": 2, "confidence": 1.0}CLOSING}"#;

fn task(closing: &str) -> Task {
    task_of(TASK, closing)
}

/// The task whose answers are numbers.
fn number_task(closing: &str) -> Task {
    task_of(&TASK.replace(r#""kind": "choice", "choices": ["yes", "no"]"#, r#""kind": "number""#), closing)
}

fn task_of(text: &str, closing: &str) -> Task {
    let closing = if closing.is_empty() { String::new() } else { format!(", \"closing\": {closing}") };
    Task::from_json(&text.replace("CLOSING", &closing), "test").unwrap()
}

fn question() -> Vec<Question> {
    vec![Question::new("q", "is it?", vec![])]
}

/// Samples `task` on one question, and returns the samples, the outcomes and all requests.
fn run(
    task: &Task,
    mut say: impl FnMut(&Request) -> String,
    stop_at_answer: bool,
) -> (Log, Vec<Outcome>, Vec<Request>) {
    let questions = question();
    let plan = CurationPlan { task, questions: &questions, seed: 7, stop_at_answer, verifier: None };
    let (mut log, mut requests) = (Log::default(), vec![]);
    let mut engine = Scripted::new(|request: &Request| {
        requests.push(request.clone());
        say(request)
    });
    let none: [Result<Sample>; 0] = [];
    let outcomes = curate(|| Ok(&mut engine), &plan, none, &mut log, &Cancel::new()).unwrap();
    (log, outcomes, requests)
}

fn said(request: &Request) -> Vec<(Role, &str)> {
    request.messages.iter().map(|m| (m.role, m.content.as_str())).collect()
}

/// What `read` says to the last step, and to a closing turn.
fn scripted(answer: &'static str, closing: &'static str) -> impl FnMut(&Request) -> String {
    move |request| {
        let last = request.messages.last().unwrap().content.as_str();
        match last {
            last if last.starts_with("Draft") => "a draft".into(),
            last if last.starts_with("Criticize") => "too short".into(),
            last if last.starts_with("Now") => answer.into(),
            _ => closing.into(),
        }
    }
}

#[test]
fn a_step_that_continues_sees_the_whole_conversation_of_an_earlier_step() {
    let (log, _, requests) = run(&task(""), scripted("Answer: yes", ""), true);
    let last = requests.iter().find(|r| r.messages.len() > 2).unwrap();
    assert_eq!(
        said(last),
        [
            (Role::System, "Be brief."),
            (Role::User, "Draft: is it?"),
            (Role::Assistant, "a draft"),
            (Role::User, "Now answer; they say: too short"),
        ]
    );
    assert_eq!(said(&requests[1]), [(Role::User, "Criticize a draft")]);
    assert_eq!(log.0[0].steps.len(), 3);
    assert_eq!(log.0[0].answer.as_ref().unwrap().text, "yes");
}

#[test]
fn a_closing_turn_asks_only_those_samples_that_were_not_read() {
    let unread = task(r#"{"when": "unread"}"#);
    let (log, outcomes, requests) = run(&unread, scripted("Answer: yes", "no"), true);
    assert!(requests.iter().all(|r| r.messages.len() <= 4), "all were read");
    assert!(log.0.iter().all(|s| s.read_from == ReadFrom::Completion && s.steps.len() == 3));
    let line = serde_json::to_string(&log.0[0]).unwrap();
    assert!(!line.contains("read_from"), "{line}");
    assert_eq!(outcomes[0].verdict.completion.as_deref(), Some("Answer: yes"));

    let (log, outcomes, requests) = run(&unread, scripted("I think so", "no"), true);
    let closing = requests.iter().find(|r| r.messages.len() == 6).unwrap();
    assert_eq!(said(closing)[4], (Role::Assistant, "I think so"));
    assert_eq!(closing.messages[5].content, unread.closing.as_ref().unwrap().step.prompt);
    assert_eq!((closing.sampling.temperature, closing.sampling.max_tokens), (0.0, 24));
    assert_eq!(closing.sampling.choices, ["yes", "no"]);
    let sample = &log.0[0];
    assert_eq!((sample.read_from, sample.answer.as_ref().unwrap().text.as_str()), (ReadFrom::Closing, "no"));
    let record = sample.steps.last().unwrap();
    assert_eq!((record.name.as_str(), record.text.as_str(), record.generated_tokens), ("closing", "no", 1));
    assert_eq!(sample.completion(), "I think so");
    assert!(serde_json::to_string(sample).unwrap().contains(r#""read_from":"closing""#));
    let tokens: usize = sample.steps.iter().map(|step| step.generated_tokens).sum();
    assert_eq!(outcomes[0].own_tokens(), 4 * tokens, "the closing turn is paid for");
    assert_eq!(outcomes[0].verdict.completion.as_deref(), Some("no"), "what was not read is not learned");
}

#[test]
fn a_closing_turn_for_all_reads_the_answer_there_and_lets_the_last_completion_end() {
    let always = task(r#"{"when": "always", "prompt": "{{ critique }}: what is it, {{ question }}"}"#);
    let answer = "Answer: yes. But then again, Answer: perhaps";
    let (log, outcomes, requests) = run(&always, scripted(answer, "no"), true);
    assert!(log.0.iter().all(|s| s.read_from == ReadFrom::Closing && s.completion() == answer));
    assert_eq!(outcomes[0].verdict.answer.as_ref().unwrap().text, "no");
    assert_eq!(outcomes[0].verdict.completion.as_deref(), Some(answer));
    assert!(requests.iter().any(|r| r.messages.last().unwrap().content == "too short: what is it, is it?"));
    // Without it, the completion ends at its first answer.
    let (log, ..) = run(&task(""), scripted(answer, "no"), true);
    assert_eq!(log.0[0].completion(), "Answer: yes.");
}

#[test]
fn a_completion_that_was_cut_off_is_closed_where_it_ended() {
    let mut unread = task(r#"{"when": "unread"}"#);
    unread.system2[2].max_tokens = 3;
    let (log, outcomes, requests) = run(&unread, scripted("one two three four Answer: yes", "yes"), true);
    let closing = requests.iter().find(|r| r.messages.len() == 6).unwrap();
    assert_eq!(said(closing)[4], (Role::Assistant, "one two three"));
    assert_eq!(log.0[0].finish, Finish::Length, "why the last step ended");
    assert_eq!(log.0[0].read_from, ReadFrom::Closing);
    assert!(outcomes[0].verdict.kept);
}

#[test]
fn a_number_on_the_way_of_a_completion_that_was_cut_off_is_no_answer() {
    let numbers = |closing: &str| {
        let mut task = number_task(closing);
        (task.system2[2].marker, task.system2[2].max_tokens) = (None, 4);
        task
    };
    let text = "first 12 + 30 = 42";
    let (log, ..) = run(&numbers(""), scripted(text, ""), true);
    assert!(log.0.iter().all(|s| s.answer.is_none() && s.finish == Finish::Length), "{:?}", log.0);
    let (log, ..) = run(&numbers(r#"{"when": "unread"}"#), scripted(text, "42"), true);
    assert!(log.0.iter().all(|s| s.read_from == ReadFrom::Closing), "{:?}", log.0);
    let mut long = numbers("");
    long.system2[2].max_tokens = 40;
    let (log, ..) = run(&long, scripted(text, ""), true);
    assert!(log.0.iter().all(|s| s.answer.as_ref().unwrap().text == "42"), "{:?}", log.0);
    // A closing turn that was cut off may lack the end of its answer.
    let closing = |max_tokens| format!(r#"{{"when": "always", "kind": "free", "max_tokens": {max_tokens}}}"#);
    for (max_tokens, answer) in [(1, None), (8, Some("42"))] {
        let (log, ..) = run(&numbers(&closing(max_tokens)), scripted(text, "42 in all"), true);
        let read = |s: &Sample| s.answer.as_ref().map(|answer| answer.text.clone());
        assert!(log.0.iter().all(|s| read(s).as_deref() == answer), "{:?}", log.0);
    }
}

#[test]
fn a_closing_turn_without_an_answer_leaves_the_sample_without_one() {
    let task = number_task(r#"{"kind": "free"}"#);
    let (log, outcomes, _) = run(&task, scripted("I think so", "cannot say"), true);
    assert!(log.0.iter().all(|s| s.answer.is_none() && s.read_from == ReadFrom::Completion));
    assert!(log.0.iter().all(|s| s.steps.last().unwrap().name == "closing"));
    assert!(outcomes[0].verdict.answer.is_none());
}

#[test]
fn a_sample_whose_closing_turn_does_not_fit_ends_without_it() {
    let unread = task(r#"{"when": "unread", "prompt": "What then, after so many words of so little use?"}"#);
    let questions = question();
    let plan =
        CurationPlan { task: &unread, questions: &questions, seed: 7, stop_at_answer: true, verifier: None };
    let mut log = Log::default();
    let mut engine = Scripted::new(scripted("I think so", "yes")).with_limit(22);
    let none: [Result<Sample>; 0] = [];
    let outcomes = curate(|| Ok(&mut engine), &plan, none, &mut log, &Cancel::new()).unwrap();
    assert!(log.0.iter().all(|s| s.steps.len() == 3 && s.answer.is_none()), "{:?}", log.0);
    assert!(!outcomes[0].verdict.kept);
}

#[test]
fn worked_examples_are_turns_before_the_question_and_drawn_ones_differ_by_sample() {
    let json = r#"{"name": "t",
        "system1": {"prompt": "Q: {{ question }}", "examples": [{"question": "one?", "output": "1"}]},
        "system2": [
            {"name": "rewrite", "prompt": "Rewrite: {{ question }}"},
            {"name": "answer", "prompt": "{{ question }} / {{ rewrite }}", "max_examples": 2, "examples": [
                {"question": "one?", "outputs": {"rewrite": "1?"}, "output": "1"},
                {"question": "two?", "outputs": {"rewrite": "2?"}, "output": "2"},
                {"question": "Is it", "outputs": {"rewrite": "?"}, "output": "0"},
                {"question": "three?", "outputs": {"rewrite": "3?"}, "output": "3"}]}],
        "answer": {"kind": "number"},
        "vote": {"samples": 8, "min_samples": 8, "confidence": 1.0}}"#;
    let task = Task::from_json(json, "test").unwrap();
    let (log, outcomes, requests) = run(&task, |_| "5".into(), true);
    assert_eq!(outcomes[0].verdict.n, 8);
    let answers: Vec<_> = requests.iter().filter(|r| r.messages.len() > 1).map(said).collect();
    assert_eq!(answers.len(), log.0.len());
    for messages in &answers {
        assert_eq!(messages.len(), 5);
        assert_eq!(messages[4], (Role::User, "is it? / 5"));
        assert!(messages[1].1 < messages[3].1, "in their order: {messages:?}");
        for turn in messages[..4].chunks(2) {
            let number = turn[1].1;
            assert!(turn[0].1.ends_with(&format!("/ {number}?")), "{turn:?}");
            assert!(number != "0", "the question itself is no example");
        }
    }
    assert!(answers.iter().any(|messages| *messages != answers[0]));
    let one = messages(&task.system1, &question()[0], &[]).unwrap();
    let roles: Vec<_> = one.iter().map(|m| (m.role, m.content.as_str())).collect();
    assert_eq!(roles, [(Role::User, "Q: one?"), (Role::Assistant, "1"), (Role::User, "Q: is it?")]);
}

#[test]
fn conversations_compute_no_cell_twice() {
    for (sequences, slots, closing) in [(12, 4, "always"), (12, 4, "unread"), (3, 1, "always")] {
        let mut task = task(&format!(r#"{{"when": "{closing}", "kind": "free", "max_tokens": 12}}"#));
        task.system2.iter_mut().for_each(|step| step.max_tokens = 40);
        let questions: Vec<Question> =
            (0..6).map(|n| Question::new(n.to_string(), format!("is it {n}?"), vec![])).collect();
        let plan = CurationPlan {
            task: &task,
            questions: &questions,
            seed: 7,
            stop_at_answer: true,
            verifier: None,
        };
        let mut toy = crate::engine::toy_with_turns(sequences, 64, 16384);
        toy.slots = slots;
        let mut engine = crate::engine::Scheduler::new(toy);
        let mut log = Log::default();
        let none: [Result<Sample>; 0] = [];
        curate(|| Ok(&mut engine), &plan, none, &mut log, &Cancel::new()).unwrap();
        assert!(log.0.iter().all(|sample| sample.steps.len() == 4), "nothing that the toy writes is read");
        // Of an answer that is continued, at most the last token is new, then the turn's end and the prompt.
        let (mut continued, mut whole) = (0, 0);
        for sample in &log.0 {
            for (earlier, next) in [(0, 2), (2, 3)] {
                let held = sample.steps[earlier].prompt_tokens + sample.steps[earlier].generated_tokens - 1;
                continued += sample.steps[next].prompt_tokens - held;
                whole += sample.steps[next].prompt_tokens;
            }
        }
        assert!(2 * continued < whole, "the test has something to count: {continued} of {whole}");
        let begun: usize = log.0.iter().map(|s| s.steps[0].prompt_tokens + s.steps[1].prompt_tokens).sum();
        let fed = engine.stats().prompt_tokens as usize;
        assert!(
            fed <= begun + continued,
            "{fed} prompt tokens fed, {continued} new of {whole} in later turns"
        );
    }
}

#[test]
fn a_template_that_loses_turns_ends_the_run_before_a_sample() {
    let questions = question();
    let template = "{{ messages[0].content }}";
    let run = |task: &Task, log: &mut Log| {
        let mut toy = crate::engine::toy_with_turns(4, 64, 16384);
        toy.template = crate::engine::ChatTemplate::new(Some(template), "", "").unwrap();
        let mut engine = crate::engine::Scheduler::new(toy);
        let plan =
            CurationPlan { task, questions: &questions, seed: 7, stop_at_answer: true, verifier: None };
        let none: [Result<Sample>; 0] = [];
        curate(|| Ok(&mut engine), &plan, none, log, &Cancel::new())
    };
    let single = r#"{"name": "t", "system1": {"prompt": "{{ question }}"},
        "system2": [{"prompt": "{{ question }}", "system": "Be brief.", "max_tokens": 4}],
        "answer": {"kind": "choice", "choices": ["yes", "no"]}CLOSING}"#;
    for (task, needs) in [
        (task(""), "\"continues\" of step \"answer\""),
        (task_of(single, "{}"), "the \"closing\" turn"),
        (
            task_of(
                &single.replace(r#""max_tokens": 4"#, r#""examples": [{"question": "a?", "output": "yes"}]"#),
                "",
            ),
            "the \"examples\" of step",
        ),
    ] {
        let mut log = Log::default();
        let error = run(&task, &mut log).unwrap_err().to_string();
        assert!(error.contains("leaves out turns") && error.contains(needs), "{error}");
        assert!(log.0.is_empty());
    }
    let mut log = Log::default();
    assert!(run(&task_of(single, ""), &mut log).is_ok() && !log.0.is_empty(), "one message is enough");
}
