//! The state of one sample: which calls of the task's System 2 program are next.
//!
//! A step makes one call or, with `for_each`, one for each item of an earlier output. The calls of a
//! step run in parallel, and the next step begins when all have finished. Their records are stored in
//! the order of the items, so that a sample does not depend on the engine's schedule.

use std::borrow::Cow;

use super::{Sample, StepRecord, item_seed, messages, sample_seed, sampling, variant_seed};
use crate::Result;
use crate::engine::{Completion, Finish, Request};
use crate::task::{Output, Part, Question, Step, Task};

/// A sample that has not finished.
pub struct Program<'a> {
    task: &'a Task,
    question: Cow<'a, Question>,
    /// The name of the perturbation.
    perturbation: &'a str,
    /// The seed of the variant, from which those of its samples are derived.
    seed: u64,
    index: usize,
    /// Number of steps begun; all but the last have finished.
    begun: usize,
    /// The calls of the running step.
    calls: Vec<Call>,
    /// The records of the finished steps.
    records: Vec<StepRecord>,
    /// Why the last completion ended, and the model's confidence in it.
    finish: Finish,
    confidence: Option<f32>,
}

struct Call {
    item: Option<String>,
    record: Option<StepRecord>,
}

impl<'a> Program<'a> {
    /// Sample `index` of a variant, before its first step. `question` is as `perturbation` asks it.
    pub fn new(
        task: &'a Task,
        question: Cow<'a, Question>,
        perturbation: &'a str,
        seed: u64,
        index: usize,
    ) -> Program<'a> {
        let (calls, records) = (vec![], vec![]);
        let (finish, confidence) = (Finish::EndOfTurn, None);
        Program { task, question, perturbation, seed, index, begun: 0, calls, records, finish, confidence }
    }

    /// The requests of the next step, to be called when the step before has ended. Empty if the
    /// program has finished. The id of a request is the number of its call, for [`Program::take`].
    pub fn next_calls(&mut self) -> Result<Vec<Request>> {
        let Some(step) = self.task.system2.get(self.begun) else { return Ok(vec![]) };
        let items: Vec<Option<String>> = match &step.for_each {
            Some(list) => {
                let output = self.records.iter().find(|record| record.name == *list);
                let items = output.map_or(vec![], |record| step.items.split(&record.text));
                items.into_iter().map(Some).collect()
            }
            None => vec![None],
        };
        if items.is_empty() {
            return Ok(vec![]);
        }
        let outputs = self.outputs();
        let requests =
            items.iter().enumerate().map(|(call, item)| self.request(step, call, item.as_deref(), &outputs));
        let requests = requests.collect::<Result<_>>()?;
        self.calls = items.into_iter().map(|item| Call { item, record: None }).collect();
        self.begun += 1;
        Ok(requests)
    }

    fn request(
        &self,
        step: &Step,
        call: usize,
        item: Option<&str>,
        outputs: &[(String, Output)],
    ) -> Result<Request> {
        let id = &self.question.id;
        let (messages, seed) = match item {
            Some(item) => {
                let item = ("item".to_string(), Output::Text(item.into()));
                let seen = [outputs, &[item]].concat();
                let seed = item_seed(self.seed, id, self.index, self.begun, call);
                (messages(step, &self.question, &seen)?, seed)
            }
            None => {
                let seed = sample_seed(self.seed, id, self.index, self.begun);
                (messages(step, &self.question, outputs)?, seed)
            }
        };
        Ok(Request { id: call as u64, messages, thinking: step.thinking, sampling: sampling(step), seed })
    }

    /// The outputs of the finished steps, for templates.
    fn outputs(&self) -> Vec<(String, Output)> {
        let finished = &self.task.system2[..self.begun];
        let output = |step: &Step| {
            let mut records = self.records.iter().filter(|record| record.name == step.name);
            match &step.for_each {
                Some(_) => Output::Parts(records.map(StepRecord::part).collect()),
                None => Output::Text(records.next().map_or(String::new(), |record| record.text.clone())),
            }
        };
        finished.iter().map(|step| (step.name.clone(), output(step))).collect()
    }

    /// Takes the completion of a call. Returns whether the step has ended.
    pub fn take(&mut self, call: usize, completion: Completion) -> bool {
        self.finish = completion.finish;
        self.confidence = completion.confidence();
        let name = &self.task.system2[self.begun - 1].name;
        let call = &mut self.calls[call];
        call.record = Some(StepRecord {
            name: name.clone(),
            item: call.item.take(),
            text: completion.text,
            prompt_tokens: completion.prompt_tokens,
            generated_tokens: completion.generated_tokens,
        });
        let ended = self.calls.iter().all(|call| call.record.is_some());
        if ended {
            self.records.extend(self.calls.drain(..).filter_map(|call| call.record));
        }
        ended
    }

    /// Whether the running step is the last, whose completion holds the answer.
    pub fn is_last(&self) -> bool {
        self.begun == self.task.system2.len()
    }

    /// Whether the first step is running.
    pub fn is_first(&self) -> bool {
        self.begun == 1
    }

    /// Ends the running step, whose prompt cannot run; the sample gets no answer.
    pub fn cut_short(&mut self) {
        self.begun = self.begun.saturating_sub(1);
        self.calls.clear();
        (self.finish, self.confidence) = (Finish::Length, None);
    }

    /// The finished sample. It has no answer if a step had no item to run on.
    pub fn finish(self) -> Sample {
        let last = self.records.last().filter(|_| self.is_last());
        Sample {
            question: self.question.id.clone(),
            index: self.index,
            perturbation: self.perturbation.into(),
            seed: sample_seed(self.seed, &self.question.id, self.index, 0),
            answer: last.and_then(|last| self.task.read_reasoned(&last.text)),
            rejected: false,
            confidence: self.confidence,
            finish: self.finish,
            steps: self.records,
        }
    }
}

/// The requests that `sample` of `question` made, in the order of its steps. `seed` is that of all
/// sampling.
pub(super) fn requests_of(
    task: &Task,
    question: &Question,
    sample: &Sample,
    seed: u64,
) -> Result<Vec<Request>> {
    let perturbation = task.perturbations.iter().find(|p| p.name == sample.perturbation);
    let asked = match perturbation {
        Some(perturbation) => Cow::Owned(perturbation.asked(question)?),
        None => Cow::Borrowed(question),
    };
    let seed = variant_seed(seed, &sample.perturbation);
    let mut program = Program::new(task, asked, &sample.perturbation, seed, sample.index);
    let mut records = sample.steps.iter();
    let mut requests = Vec::new();
    loop {
        let calls = program.next_calls()?;
        if calls.is_empty() {
            return Ok(requests);
        }
        for request in calls {
            let Some(record) = records.next() else { return Ok(requests) };
            program.take(request.id as usize, record.completion());
            requests.push(request);
        }
    }
}

impl StepRecord {
    /// The completion as far as it was recorded.
    fn completion(&self) -> Completion {
        Completion {
            id: 0,
            text: self.text.clone(),
            prompt_tokens: self.prompt_tokens,
            generated_tokens: self.generated_tokens,
            finish: Finish::EndOfTurn,
            probability: f32::NAN,
            log_probability: f64::NAN,
            seconds: 0.0,
        }
    }

    fn part(&self) -> Part {
        Part { item: self.item.clone().unwrap_or_default(), output: self.text.clone() }
    }
}
