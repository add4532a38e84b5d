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

/// `sure` always answers yes, `torn` as its seed falls, `mute` never answers.
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
    /// Cancels after so many samples.
    pub Option<(usize, Cancel)>,
    pub Vec<Selection>,
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
    fn selection(&mut self, selection: &Selection) -> Result<()> {
        self.3.push(selection.clone());
        Ok(())
    }
    fn settled(&mut self, verdict: &Verdict) -> Result<()> {
        self.1.push(verdict.clone());
        Ok(())
    }
}

fn run(earlier: Vec<Sample>, log: &mut Log) -> Result<Vec<Outcome>> {
    let cancel = log.2.as_ref().map_or_else(Cancel::new, |(_, c)| c.clone());
    let engine = &mut engine();
    let (task, questions) = (task(), questions());
    let plan = Plan { task: &task, questions: &questions, seed: 7, stop_at_answer: true, verifier: None };
    curate(move || Ok(engine), &plan, earlier.into_iter().map(Ok), log, &cancel)
}

#[test]
fn questions_are_sampled_until_their_vote_is_settled_and_no_further() {
    let mut log = Log::default();
    let outcomes = run(vec![], &mut log).unwrap();
    let by_id: HashMap<&str, &Outcome> = outcomes.iter().map(|o| (o.verdict.question.as_str(), o)).collect();
    let sure = &by_id["sure"].verdict;
    assert_eq!((sure.n, sure.kept, sure.stop), (4, true, StopReason::Settled));
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
        let mut first = Log(vec![], vec![], Some((after, Cancel::new())), vec![]);
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
fn seeds_differ_between_samples_steps_and_questions() {
    let mut seeds: Vec<u64> =
        (0..4).flat_map(|i| (0..2).flat_map(move |s| ["a", "b"].map(|q| sample_seed(1, q, i, s)))).collect();
    seeds.sort();
    seeds.dedup();
    assert_eq!(seeds.len(), 16);
}
