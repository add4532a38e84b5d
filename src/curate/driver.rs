//! The source of requests: which step of which sample of which question is asked next.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::program::Program;
use super::{Observer, Outcome, Plan, Sample, Voted};
use crate::engine::{Completion, Request, Source};
use crate::task::{Answer, Question, without_thinking};
use crate::vote::{StopReason, Tally, decide, stop};
use crate::{Error, Result};

/// One question on its way to a verdict.
struct Open<'a> {
    question: &'a Question,
    /// Finished samples by index, those that voted without their texts.
    finished: BTreeMap<usize, Finished>,
    /// The next index to start.
    next: usize,
    running: usize,
    /// The vote of samples `0..counted`.
    tally: Tally,
    counted: usize,
    /// What the first sample of each answer wrote in its last step.
    completions: HashMap<String, String>,
    outcome: Option<Outcome>,
}

/// A sample that waits for those before it to be counted.
struct Finished {
    voted: Voted,
    /// What it wrote in its last step, less its thinking.
    text: String,
}

/// A question's place in the plan and a sample's index.
type Key = (usize, usize);

pub struct Driver<'a> {
    plan: &'a Plan<'a>,
    open: Vec<Open<'a>>,
    /// Questions before this one need no further samples.
    first: usize,
    programs: HashMap<Key, Program<'a>>,
    /// Which call of which sample a request is; none where its question is settled.
    calls: HashMap<u64, (Key, usize)>,
    /// Requests of programs under way, ready to be asked.
    ready: VecDeque<Request>,
    next_id: u64,
    failed: Option<Error>,
    observer: &'a mut dyn Observer,
}

impl<'a> Driver<'a> {
    pub fn new(plan: &'a Plan<'a>, observer: &'a mut dyn Observer) -> Self {
        let open = plan.questions.iter().map(|question| Open {
            question,
            finished: BTreeMap::new(),
            next: 0,
            running: 0,
            tally: Tally::new(),
            counted: 0,
            completions: HashMap::new(),
            outcome: None,
        });
        Driver {
            plan,
            open: open.collect(),
            first: 0,
            programs: HashMap::new(),
            calls: HashMap::new(),
            ready: VecDeque::new(),
            next_id: 0,
            failed: None,
            observer,
        }
    }

    /// Takes the samples that an earlier run finished. The first of two with one index counts.
    pub fn resume(&mut self, earlier: impl IntoIterator<Item = Result<Sample>>) -> Result<()> {
        let questions = self.plan.questions;
        let index: HashMap<&str, usize> =
            questions.iter().enumerate().map(|(i, q)| (q.id.as_str(), i)).collect();
        for sample in earlier {
            let sample = sample?;
            if let Some(i) = index.get(sample.question.as_str()) {
                self.open[*i].finished.entry(sample.index).or_insert_with(|| Finished::of(sample));
            }
        }
        (0..self.open.len()).try_for_each(|i| self.count(i))
    }

    /// Whether no question needs a further sample.
    pub fn is_settled(&self) -> bool {
        self.open.iter().all(|q| q.outcome.is_some())
    }

    pub fn outcomes(self) -> Result<Vec<Outcome>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.open
            .into_iter()
            .map(|q| {
                q.outcome.ok_or_else(|| Error::Internal(format!("question {} was left open", q.question.id)))
            })
            .collect()
    }

    /// Counts finished samples in index order and settles the question when they suffice.
    fn count(&mut self, i: usize) -> Result<()> {
        let rule = &self.plan.task.vote;
        let q = &mut self.open[i];
        while q.outcome.is_none() {
            if let Some(reason) = stop(rule, &q.tally) {
                let mut verdict = decide(rule, &q.question.id, &q.tally, reason);
                verdict.completion = verdict.answer.as_ref().and_then(|a| q.completions.remove(&a.key));
                self.observer.settled(&verdict)?;
                let counted = std::mem::take(&mut q.finished).into_iter().take(q.counted);
                q.outcome = Some(Outcome { verdict, samples: counted.map(|(_, f)| f.voted).collect() });
                (q.completions, q.tally) = (HashMap::new(), Tally::new());
                self.programs.retain(|(question, _), _| *question != i);
                self.calls.retain(|_, ((question, _), _)| *question != i);
                return Ok(());
            }
            let Some(sample) = q.finished.get_mut(&q.counted) else { return Ok(()) };
            q.tally.add(sample.voted.answer.as_ref());
            let text = std::mem::take(&mut sample.text);
            if let Some(answer) = &sample.voted.answer {
                q.completions.entry(answer.key.clone()).or_insert(text);
            }
            q.counted += 1;
        }
        Ok(())
    }

    /// How many samples of `q` should be under way: as many as would settle it if all agreed with
    /// the leader, so that few are sampled in vain.
    fn wanted_now(&self, q: &Open) -> usize {
        let rule = &self.plan.task.vote;
        let mut tally = q.tally.clone();
        let leader = tally.leader().map(|(answer, _)| answer);
        let leader = leader.unwrap_or_else(|| Answer { key: "?".into(), text: "?".into() });
        let mut wanted = 0;
        while stop(rule, &tally).is_none_or(|reason| reason == StopReason::Abandoned)
            && tally.n() < rule.samples
        {
            tally.add(Some(&leader));
            wanted += 1;
        }
        wanted
    }

    fn start_sample(&mut self, i: usize) -> Result<()> {
        let q = &mut self.open[i];
        while q.finished.contains_key(&q.next) {
            q.next += 1;
        }
        let index = q.next;
        q.next += 1;
        q.running += 1;
        let program = Program::new(self.plan.task, q.question, self.plan.seed, index);
        self.programs.insert((i, index), program);
        self.go_on((i, index))
    }

    /// Asks for the next step of a sample, or counts the sample where its program is over.
    fn go_on(&mut self, key: Key) -> Result<()> {
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        let requests = program.next_calls()?;
        if requests.is_empty() {
            return self.end(key);
        }
        for request in requests {
            self.calls.insert(self.next_id, (key, request.id as usize));
            self.ready.push_back(Request { id: self.next_id, ..request });
            self.next_id += 1;
        }
        Ok(())
    }

    fn end(&mut self, key: Key) -> Result<()> {
        let Some(program) = self.programs.remove(&key) else { return Ok(()) };
        let sample = program.finish();
        let q = &mut self.open[key.0];
        q.running -= 1;
        self.observer.sample(&sample)?;
        q.finished.insert(sample.index, Finished::of(sample));
        self.count(key.0)
    }

    fn next_ready(&mut self) -> Option<Request> {
        while let Some(request) = self.ready.pop_front() {
            if self.calls.contains_key(&request.id) {
                return Some(request);
            }
        }
        None
    }
}

impl Finished {
    fn of(mut sample: Sample) -> Finished {
        let text = sample.steps.last_mut().map(|step| std::mem::take(&mut step.text)).unwrap_or_default();
        let text = without_thinking(&text).unwrap_or_default().to_string();
        Finished { voted: Voted::from(&sample), text }
    }
}

impl Source for Driver<'_> {
    fn next(&mut self) -> Option<Request> {
        if self.failed.is_some() {
            return None;
        }
        if let Some(request) = self.next_ready() {
            return Some(request);
        }
        while self.open.get(self.first).is_some_and(|q| q.outcome.is_some()) {
            self.first += 1;
        }
        let chosen = (self.first..self.open.len()).find(|i| {
            let q = &self.open[*i];
            let ahead = q.finished.range(q.counted..).count();
            q.outcome.is_none()
                && q.next < self.plan.task.vote.samples
                && q.running + ahead < self.wanted_now(q)
        })?;
        match self.start_sample(chosen) {
            Ok(()) => self.next_ready(),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    fn finished(&mut self, completion: Completion) -> Result<()> {
        // Nothing is known of it where its question was settled while this was under way.
        let Some((key, call)) = self.calls.remove(&completion.id) else { return Ok(()) };
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        if program.take(call, completion) { self.go_on(key) } else { Ok(()) }
    }

    fn enough(&self, id: u64, text: &str) -> bool {
        self.plan.stop_at_answer
            && self
                .calls
                .get(&id)
                .and_then(|(key, _)| self.programs.get(key))
                .is_some_and(|program| program.is_last() && self.plan.task.complete2(text))
    }

    fn wanted(&self, id: u64) -> bool {
        self.calls.contains_key(&id)
    }
}
