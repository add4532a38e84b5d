//! The source of requests: which step of which sample of which question is asked next.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{Observer, Outcome, Plan, Sample, StepRecord, Voted, messages, sample_seed, sampling};
use crate::engine::{Completion, Request, Source};
use crate::task::{Answer, Question};
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
    /// What it wrote in its last step.
    text: String,
}

/// A sample in the middle of its program.
struct Running {
    question: usize,
    index: usize,
    steps: Vec<StepRecord>,
}

pub struct Driver<'a> {
    plan: &'a Plan<'a>,
    open: Vec<Open<'a>>,
    /// Questions before this one need no further samples.
    first: usize,
    running: HashMap<u64, Running>,
    /// Follow-up steps, ready to be asked.
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
            running: HashMap::new(),
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

    fn start_sample(&mut self, i: usize) -> Result<Request> {
        let q = &mut self.open[i];
        while q.finished.contains_key(&q.next) {
            q.next += 1;
        }
        let index = q.next;
        q.next += 1;
        q.running += 1;
        self.request(Running { question: i, index, steps: Vec::new() })
    }

    /// The request of the next step of `running`.
    fn request(&mut self, running: Running) -> Result<Request> {
        let number = running.steps.len();
        let step = &self.plan.task.system2[number];
        let question = self.open[running.question].question;
        let outputs: Vec<(String, String)> =
            running.steps.iter().map(|s| (s.name.clone(), s.text.clone())).collect();
        let request = Request {
            id: self.next_id,
            messages: messages(step, question, &outputs)?,
            sampling: sampling(step),
            thinking: false,
            seed: sample_seed(self.plan.seed, &question.id, running.index, number),
        };
        self.next_id += 1;
        self.running.insert(request.id, running);
        Ok(request)
    }
}

impl Finished {
    fn of(mut sample: Sample) -> Finished {
        let text = sample.steps.last_mut().map(|step| std::mem::take(&mut step.text)).unwrap_or_default();
        Finished { voted: Voted::from(&sample), text }
    }
}

impl Source for Driver<'_> {
    fn next(&mut self) -> Option<Request> {
        if self.failed.is_some() {
            return None;
        }
        if let Some(request) = self.ready.pop_front() {
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
            Ok(request) => Some(request),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    fn finished(&mut self, completion: Completion) -> Result<()> {
        let Some(mut running) = self.running.remove(&completion.id) else { return Ok(()) };
        let i = running.question;
        if self.open[i].outcome.is_some() {
            return Ok(()); // Settled while this was under way.
        }
        running.steps.push(StepRecord {
            name: self.plan.task.system2[running.steps.len()].name.clone(),
            text: completion.text,
            prompt_tokens: completion.prompt_tokens,
            generated_tokens: completion.generated_tokens,
        });
        if running.steps.len() < self.plan.task.system2.len() {
            let request = self.request(running)?;
            self.ready.push_back(request);
            return Ok(());
        }
        let last = running.steps.last().map_or("", |s| s.text.as_str());
        let q = &mut self.open[i];
        let sample = Sample {
            question: q.question.id.clone(),
            index: running.index,
            perturbation: "none".into(),
            seed: sample_seed(self.plan.seed, &q.question.id, running.index, 0),
            answer: self.plan.task.extract2(last),
            finish: completion.finish,
            steps: running.steps,
        };
        q.running -= 1;
        self.observer.sample(&sample)?;
        q.finished.insert(sample.index, Finished::of(sample));
        self.count(i)
    }

    fn enough(&self, id: u64, text: &str) -> bool {
        self.plan.stop_at_answer
            && self.running.get(&id).is_some_and(|r| {
                r.steps.len() + 1 == self.plan.task.system2.len() && self.plan.task.complete2(text)
            })
    }

    fn wanted(&self, id: u64) -> bool {
        self.running.get(&id).is_some_and(|r| self.open[r.question].outcome.is_none())
    }
}
