use std::collections::HashMap;

use super::*;
use crate::Error;
use crate::engine::Scripted;
use crate::vote::StopReason;

fn task() -> Task {
    Task::from_json(
        r#"{"name": "t", "description": "d", "method": "rar-2",
            "system1": {"prompt": "{{ question }}"},
            "system2": [
                {"name": "think", "prompt": "Think: {{ question }}", "temperature": 1.0},
                {"name": "answer", "prompt": "{{ question }} after {{ think }}", "temperature": 1.0}
            ],
            "answer": {"kind": "choice", "choices": ["yes", "no"]},
            "vote": {"samples": 8, "threshold": 0.75, "min_samples": 4, "confidence": 0.95}}"#,
        "test",
    )
    .unwrap()
}

fn questions() -> Vec<Question> {
    ["sure", "torn", "mute"].into_iter().map(|id| Question::new(id, id, vec![])).collect()
}

/// The answer to `sure` is always yes, that to `torn` depends on the seed, and `mute` has none.
fn engine() -> impl Engine {
    Scripted::new(|request: &crate::engine::Request| {
        let text = &request.messages[0].content;
        let answer = match text {
            t if t.starts_with("Think:") => "a thought",
            t if t.starts_with("sure after a thought") => "yes",
            t if t.starts_with("torn") && request.seed.is_multiple_of(2) => "no",
            t if t.starts_with("torn") => "yes",
            _ => "hmm",
        };
        answer.to_string()
    })
}

#[derive(Default)]
pub struct Log(
    pub Vec<Sample>,
    pub Vec<Verdict>,
    /// Cancels after this number of samples.
    pub Option<(usize, Cancel)>,
    pub Vec<SelectionRecord>,
    pub Vec<EquivalenceRecord>,
);

impl Observer for Log {
    fn sample(&mut self, sample: &Sample) -> Result<()> {
        self.0.push(sample.clone());
        if let Some((after, cancel)) = &self.2
            && self.0.len() >= *after
        {
            cancel.cancel();
        }
        Ok(())
    }
    fn selection(&mut self, selection: &SelectionRecord) -> Result<()> {
        self.3.push(selection.clone());
        Ok(())
    }
    fn equivalence(&mut self, judgement: &EquivalenceRecord) -> Result<()> {
        self.4.push(judgement.clone());
        Ok(())
    }
    fn verdict(&mut self, verdict: &Verdict) -> Result<()> {
        self.1.push(verdict.clone());
        Ok(())
    }
}

fn run(earlier: Vec<Sample>, log: &mut Log) -> Result<Vec<Outcome>> {
    let cancel = log.2.as_ref().map_or_else(Cancel::new, |(_, c)| c.clone());
    let engine = &mut engine();
    let (task, questions) = (task(), questions());
    let plan =
        CurationPlan { task: &task, questions: &questions, seed: 7, stop_at_answer: true, verifier: None };
    curate(move || Ok(engine), &plan, earlier.into_iter().map(Ok), log, &cancel)
}

#[test]
fn questions_are_sampled_until_their_vote_has_ended_and_no_further() {
    let mut log = Log::default();
    let outcomes = run(vec![], &mut log).unwrap();
    let by_id: HashMap<&str, &Outcome> = outcomes.iter().map(|o| (o.verdict.question.as_str(), o)).collect();
    let sure = &by_id["sure"].verdict;
    assert_eq!((sure.n, sure.kept, sure.stop), (4, true, StopReason::Converged));
    assert_eq!(by_id["mute"].verdict.stop, StopReason::Abandoned);
    assert!(!by_id["mute"].verdict.kept);
    assert!(by_id["mute"].verdict.n < 8);
    for o in &outcomes {
        assert_eq!(o.samples.len(), o.verdict.n);
    }
    assert!(log.0.iter().all(|s| s.steps.len() == 2 && s.steps[0].text == "a thought"));
    assert_eq!(sure_completion(&outcomes).as_deref(), Some("yes"));
    assert_eq!(log.1.len(), 3);
}

fn sure_completion(outcomes: &[Outcome]) -> Option<String> {
    outcomes.iter().find(|o| o.verdict.question == "sure")?.verdict.completion.clone()
}

#[test]
fn an_interrupted_run_resumes_to_the_same_verdicts_without_repeating_samples() {
    let whole = run(vec![], &mut Log::default()).unwrap();
    for after in [1, 3, 6] {
        let mut first = Log(vec![], vec![], Some((after, Cancel::new())), vec![], vec![]);
        assert!(matches!(run(vec![], &mut first), Err(Error::Cancelled)));
        let mut second = Log::default();
        let resumed = run(first.0.clone(), &mut second).unwrap();
        assert_eq!(resumed, whole);
        for sample in &second.0 {
            assert!(!first.0.iter().any(|s| s.question == sample.question && s.index == sample.index));
        }
    }
}

#[test]
fn a_step_without_a_sampling_parameter_has_the_engine_s_default() {
    let task = task();
    let step = sampling(&task.system2[0]);
    let (max_tokens, temperature) = (step.max_tokens, step.temperature);
    assert_eq!(step, Sampling { max_tokens, temperature, ..Sampling::default() });
    let step = Step { repeat_penalty: 1.2, repeat_last: 7, ..task.system2[0].clone() };
    assert_eq!((sampling(&step).repeat_penalty, sampling(&step).repeat_last), (1.2, 7));
}

#[test]
fn seeds_differ_between_samples_steps_and_questions() {
    let mut seeds: Vec<u64> =
        (0..4).flat_map(|i| (0..2).flat_map(move |s| ["a", "b"].map(|q| sample_seed(1, q, i, s)))).collect();
    seeds.sort();
    seeds.dedup();
    assert_eq!(seeds.len(), 16);
}

#[test]
fn seeds_are_those_of_earlier_versions_and_items_have_their_own() {
    assert_eq!(sample_seed(7, "q1", 2, 1), 11278269738247427581);
    assert_eq!(item_seed(7, "q1", 2, 1, 0), 4018944976831849675);
    assert_ne!(item_seed(7, "q1", 2, 1, 0), item_seed(7, "q1", 2, 1, 1));
}

/// A program that lists points, judges each, and merges.
fn fan_out() -> Task {
    Task::from_json(
        r#"{"name": "t", "system1": {"prompt": "{{ question }}"},
            "system2": [
                {"name": "points", "prompt": "List: {{ question }}"},
                {"name": "judge", "for_each": "points", "items": {"max_items": 3}, "prompt": "Judge {{ item }}"},
                {"name": "merge", "thinking": true,
                 "prompt": "{% for part in judge %}[{{ part.item }}: {{ part.output }}]{% endfor %}"}
            ],
            "answer": {"kind": "choice", "choices": ["yes", "no"]},
            "vote": {"samples": 4, "threshold": 0.5, "min_samples": 2}}"#,
        "test",
    )
    .unwrap()
}

/// The completions of [`fan_out`]. `empty` gets an empty list.
fn judged(request: &crate::engine::Request) -> String {
    match request.messages[0].content.as_str() {
        "List: empty" => "---".into(),
        list if list.starts_with("List: ") => "Here they are:\n1. truth\n2. style\n3. length\n4. more".into(),
        judge if judge.starts_with("Judge ") => format!("seed {}", request.seed % 10),
        _ => "yes".into(),
    }
}

/// An engine that pulls all requests and completes the last first.
struct Backwards(Vec<Vec<String>>);

impl Engine for Backwards {
    fn run(&mut self, source: &mut dyn crate::engine::Source, _: &Cancel) -> Result<()> {
        loop {
            let requests: Vec<_> = std::iter::from_fn(|| source.next()).collect();
            if requests.is_empty() {
                return Ok(());
            }
            self.0.push(requests.iter().map(|r| r.messages[0].content.clone()).collect());
            for request in
                requests.iter().rev().filter(|r| r.thinking == r.messages[0].content.starts_with('['))
            {
                source.finished(crate::engine::Completion {
                    id: request.id,
                    text: judged(request),
                    tokens: std::sync::Arc::default(),
                    prompt_tokens: 1,
                    generated_tokens: 1,
                    finish: Finish::EndOfTurn,
                    probability: f32::NAN,
                    log_probability: f64::NAN,
                    seconds: 0.0,
                })?;
            }
        }
    }
    fn set_adapter(&mut self, _: Option<&std::path::Path>) -> Result<()> {
        Ok(())
    }
}

fn run_fan_out<E: Engine>(
    mut engine: E,
    ids: &[&str],
    earlier: Vec<Sample>,
    log: &mut Log,
) -> (Vec<Outcome>, E) {
    let (task, questions) =
        (fan_out(), ids.iter().map(|id| Question::new(*id, *id, vec![])).collect::<Vec<_>>());
    let plan =
        CurationPlan { task: &task, questions: &questions, seed: 7, stop_at_answer: true, verifier: None };
    let earlier = earlier.into_iter().map(Ok);
    let outcomes = curate(|| Ok(&mut engine), &plan, earlier, log, &Cancel::new()).unwrap();
    (outcomes, engine)
}

#[test]
fn a_step_runs_in_parallel_for_each_item_and_the_next_step_sees_them_in_order() {
    let mut log = Log::default();
    let (outcomes, engine) = run_fan_out(Backwards(vec![]), &["q"], vec![], &mut log);
    assert!(engine.0.iter().any(|batch| batch.iter().filter(|text| *text == "Judge style").count() > 0
        && batch.iter().any(|text| text == "Judge truth")));
    for sample in &log.0 {
        let steps: Vec<_> = sample.steps.iter().map(|s| (s.name.as_str(), s.item.as_deref())).collect();
        let items = ["truth", "style", "length"].map(|item| ("judge", Some(item)));
        assert_eq!(steps, [&[("points", None)], &items[..], &[("merge", None)]].concat());
        for (i, record) in sample.steps[1..4].iter().enumerate() {
            let seed = item_seed(7, "q", sample.index, 1, i);
            assert_eq!(record.text, format!("seed {}", seed % 10));
        }
        let [truth, style, length] = [1, 2, 3].map(|i| sample.steps[i].text.as_str());
        let merged = format!("[truth: {truth}][style: {style}][length: {length}]");
        assert!(engine.0.iter().flatten().any(|text| *text == merged), "{merged}");
        assert_eq!(sample.answer.as_ref().unwrap().key, "yes");
    }
    let mut forwards = Log::default();
    let (same, _) = run_fan_out(Scripted::new(judged), &["q"], vec![], &mut forwards);
    assert_eq!(
        outcomes.iter().map(|o| &o.verdict).collect::<Vec<_>>(),
        same.iter().map(|o| &o.verdict).collect::<Vec<_>>()
    );
    for (a, b) in log.0.iter().zip(&forwards.0) {
        let texts = |s: &Sample| s.steps.iter().map(|s| s.text.clone()).collect::<Vec<_>>();
        let other = forwards.0.iter().find(|b| b.index == a.index).unwrap_or(b);
        assert_eq!(texts(a), texts(other));
    }
}

#[test]
fn an_output_without_items_gives_a_sample_without_an_answer() {
    let mut log = Log::default();
    let (outcomes, engine) = run_fan_out(Scripted::new(judged), &["empty", "q"], vec![], &mut log);
    let verdict = &outcomes[0].verdict;
    assert!(!verdict.kept && verdict.answer.is_none() && verdict.n > 0);
    let empty: Vec<_> = log.0.iter().filter(|s| s.question == "empty").collect();
    assert!(empty.iter().all(|s| s.steps.len() == 1 && s.answer.is_none()));
    assert!(outcomes[1].verdict.kept);
    assert_eq!(engine.calls() as usize, log.0.iter().map(|s| s.steps.len()).sum::<usize>());
}

#[test]
fn samples_with_items_are_stored_with_their_items_and_resumed() {
    let mut first = Log::default();
    let (whole, _) = run_fan_out(Scripted::new(judged), &["q"], vec![], &mut first);
    let line = serde_json::to_string(&first.0[0]).unwrap();
    assert!(line.contains(r#""name":"judge","item":"truth","#) && !line.contains("null"), "{line}");
    let kept: Vec<Sample> =
        first.0.iter().map(|s| serde_json::from_str(&serde_json::to_string(s).unwrap()).unwrap()).collect();
    let (resumed, engine) = run_fan_out(Scripted::new(judged), &["q"], kept, &mut Log::default());
    assert_eq!((resumed, engine.calls()), (whole, 0));
}

#[test]
fn a_journal_of_an_earlier_version_is_read() {
    let line = r#"{"question":"q","index":0,"perturbation":"none","seed":1,"steps":[{"name":"a","text":"yes","prompt_tokens":1,"generated_tokens":2}],"answer":{"key":"yes","text":"yes"},"finish":"end_of_turn"}"#;
    let sample: Sample = serde_json::from_str(line).unwrap();
    assert_eq!(sample.steps[0].item, None);
    assert_eq!(serde_json::to_string(&sample).unwrap(), line);
}

#[test]
fn unfinished_thinking_has_no_answer() {
    let mut task = fan_out();
    task.system2[2].max_tokens = 3;
    let questions = [Question::new("q", "q", vec![])];
    let plan =
        CurationPlan { task: &task, questions: &questions, seed: 7, stop_at_answer: true, verifier: None };
    for (text, answer) in
        [("<think>yes it may", None), ("<think>hm</think> yes", Some("yes")), ("yes", Some("yes"))]
    {
        let mut engine = Scripted::new(|request: &crate::engine::Request| match judged(request).as_str() {
            "yes" => text.to_string(),
            other => other.to_string(),
        });
        let outcomes =
            curate(|| Ok(&mut engine), &plan, no_samples(), &mut Log::default(), &Cancel::new()).unwrap();
        let verdict = &outcomes[0].verdict;
        assert_eq!(verdict.answer.as_ref().map(|a| a.text.as_str()), answer, "{text}");
        assert_eq!(verdict.completion.as_deref().map(str::trim), answer, "what is learned holds no thinking");
    }
}

fn no_samples() -> [Result<Sample>; 0] {
    []
}

#[test]
fn plans_that_are_sampled_together_have_the_outcomes_that_each_has_alone() {
    let (mut other, questions) = (task(), questions());
    other.system2.remove(0);
    other.system2[0].prompt = "{{ question }} after a thought".into();
    let tasks = [task(), other];
    let plan =
        |task| CurationPlan { task, questions: &questions, seed: 7, stop_at_answer: true, verifier: None };
    let plans = [plan(&tasks[0]), plan(&tasks[1])];
    let alone = |plan: &CurationPlan| {
        let (mut engine, mut log) = (engine(), Log::default());
        let outcomes = curate(|| Ok(&mut engine), plan, no_samples(), &mut log, &Cancel::new()).unwrap();
        (outcomes, log.0)
    };
    let [(first, earlier), (second, samples)] = [alone(&plans[0]), alone(&plans[1])];

    let (mut engine, mut one, mut two) = (engine(), Log::default(), Log::default());
    let runs = vec![
        PlannedRun { plan: &plans[0], earlier: earlier[..2].to_vec(), observer: &mut one },
        PlannedRun { plan: &plans[1], earlier: vec![], observer: &mut two },
    ];
    let together = curate_together(&mut engine, runs, &Cancel::new()).unwrap();
    let verdicts = |outcomes: &[Outcome]| outcomes.iter().map(|o| o.verdict.clone()).collect::<Vec<_>>();
    assert_eq!(verdicts(&together[0]), verdicts(&first));
    assert_eq!(verdicts(&together[1]), verdicts(&second));
    assert!(two.0.len() == samples.len() && two.0.iter().all(|sample| sample.steps.len() == 1));
    assert!(one.0.iter().all(|sample| sample.steps.len() == 2));
}
