//! The state of one sample: which calls of the task's System 2 program are next.
//!
//! A step makes one call or, with `for_each`, one for each item of an earlier output. The calls of a
//! step run in parallel, and the next step begins when all have finished. Their records are stored in
//! the order of the items, so that a sample does not depend on the engine's schedule. The closing turn is
//! a step after the last, of the samples that have one.

use std::borrow::Cow;

use super::{ReadFrom, Sample, StepRecord, item_seed, messages_drawn, sample_seed, sampling, variant_seed};
use crate::Result;
use crate::engine::{Completion, Finish, Message, Request};
use crate::task::{CLOSING, ClosingWhen, Output, Part, Question, Step, Task};

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
    /// The number of each finished step that a later one continues, and its conversation.
    conversations: Vec<(usize, Vec<Message>)>,
    /// Whether no closing turn may follow, since its prompt does not fit.
    is_full: bool,
    /// The records of the finished steps.
    records: Vec<StepRecord>,
    /// Why the completion of the last step ended, and the model's confidence in it.
    finish: Finish,
    confidence: Option<f32>,
    /// Whether the last record, that of the closing turn included, is a completion that was cut.
    is_cut: bool,
}

struct Call {
    item: Option<String>,
    /// What was asked, if a later step may continue it.
    messages: Vec<Message>,
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
        Program {
            task,
            question,
            perturbation,
            seed,
            index,
            begun: 0,
            calls: vec![],
            conversations: vec![],
            is_full: false,
            records: vec![],
            finish: Finish::EndOfTurn,
            confidence: None,
            is_cut: false,
        }
    }

    /// The requests of the next step, to be called when the step before has ended. Empty if the
    /// program has finished. The id of a request is the number of its call, for [`Program::take`].
    pub fn next_calls(&mut self) -> Result<Vec<Request>> {
        let Some(step) = self.next_step() else { return Ok(vec![]) };
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
        let requests: Vec<Request> = requests.collect::<Result<_>>()?;
        let is_continued = self.is_continued(self.begun);
        let messages = |request: &Request| if is_continued { request.messages.clone() } else { vec![] };
        let calls = items.into_iter().zip(&requests);
        self.calls =
            calls.map(|(item, request)| Call { item, messages: messages(request), record: None }).collect();
        self.begun += 1;
        Ok(requests)
    }

    /// The step to begin: the next of the program, or the closing turn if the sample has one.
    fn next_step(&self) -> Option<&'a Step> {
        let steps = &self.task.system2;
        if self.begun < steps.len() {
            return steps.get(self.begun);
        }
        let closing = self.task.closing.as_ref().filter(|_| self.begun == steps.len() && !self.is_full)?;
        let last = self.records.last()?;
        let is_wanted = match closing.when {
            ClosingWhen::Always => true,
            ClosingWhen::Unread => self.task.read_reasoned(&last.text, self.is_cut).is_none(),
        };
        is_wanted.then_some(&closing.step)
    }

    /// The number of the step whose conversation step number `step` continues.
    fn continued_by(&self, step: usize) -> Option<usize> {
        let steps = &self.task.system2;
        match steps.get(step) {
            Some(step) => steps.iter().position(|earlier| Some(&earlier.name) == step.continues.as_ref()),
            None => steps.len().checked_sub(1),
        }
    }

    /// Whether a later step may continue the conversation of step number `step`.
    fn is_continued(&self, step: usize) -> bool {
        let end = self.task.system2.len() + usize::from(self.task.closing.is_some());
        (step + 1..end).any(|later| self.continued_by(later) == Some(step))
    }

    /// Whether a call that has not finished continues, or is going to continue, the conversation of step
    /// number `step`.
    pub fn continues(&self, step: usize) -> bool {
        let running = self.begun - usize::from(self.calls.iter().any(|call| call.record.is_none()));
        let end = self.task.system2.len() + usize::from(self.task.closing.is_some() && !self.is_full);
        (running..end).any(|later| self.continued_by(later) == Some(step))
    }

    /// The number of the running step, or of the one that ended last.
    pub fn step(&self) -> usize {
        self.begun.saturating_sub(1)
    }

    fn request(
        &self,
        step: &Step,
        call: usize,
        item: Option<&str>,
        outputs: &[(String, Output)],
    ) -> Result<Request> {
        let id = &self.question.id;
        // The calls of a step show the same examples.
        let drawn_by = sample_seed(self.seed, id, self.index, self.begun);
        let (new, seed) = match item {
            Some(item) => {
                let item = ("item".to_string(), Output::Text(item.into()));
                let seen = [outputs, &[item]].concat();
                let seed = item_seed(self.seed, id, self.index, self.begun, call);
                (messages_drawn(step, &self.question, &seen, drawn_by)?, seed)
            }
            None => (messages_drawn(step, &self.question, outputs, drawn_by)?, drawn_by),
        };
        let continued = self.continued_by(self.begun);
        let earlier = self.conversations.iter().find(|(step, _)| Some(*step) == continued);
        let messages = match earlier {
            Some((_, earlier)) => [&earlier[..], &new].concat(),
            None => new,
        };
        Ok(Request { id: call as u64, messages, thinking: step.thinking, sampling: sampling(step), seed })
    }

    /// The outputs of the finished steps, for templates.
    fn outputs(&self) -> Vec<(String, Output)> {
        let finished = self.task.system2.iter().take(self.begun);
        let output = |step: &Step| {
            let mut records = self.records.iter().filter(|record| record.name == step.name);
            match &step.for_each {
                Some(_) => Output::Parts(records.map(StepRecord::part).collect()),
                None => Output::Text(records.next().map_or(String::new(), |record| record.text.clone())),
            }
        };
        finished.map(|step| (step.name.clone(), output(step))).collect()
    }

    /// Takes the completion of a call. Returns whether the step has ended.
    pub fn take(&mut self, call: usize, completion: Completion) -> bool {
        let step = self.begun - 1;
        let is_last_call = call + 1 == self.calls.len();
        let asked = self.task.system2.get(step);
        if is_last_call {
            self.is_cut = completion.is_cut_for(|text| asked.is_some_and(|step| step.stops_in_number(text)));
        }
        let name = match asked {
            Some(step) => {
                if is_last_call {
                    self.finish = completion.finish;
                    self.confidence = completion.confidence();
                }
                &step.name
            }
            None => CLOSING,
        };
        let call = &mut self.calls[call];
        if !call.messages.is_empty() {
            let mut messages = std::mem::take(&mut call.messages);
            messages.push(Message::generated(&completion));
            self.conversations.push((step, messages));
        }
        call.record = Some(StepRecord {
            name: name.into(),
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

    /// Gives up the running step if it is the closing turn, whose prompt does not fit; the sample then
    /// ends without it. `false` for any other step.
    pub fn skip_closing(&mut self) -> bool {
        if self.step() < self.task.system2.len() {
            return false;
        }
        self.calls.clear();
        self.begun -= 1;
        self.is_full = true;
        true
    }

    /// Whether `text`, with which the completion of the running step begins, already has the answer.
    pub fn is_complete(&self, text: &str) -> bool {
        let is_last = self.begun == self.task.system2.len();
        let always_closes = self.task.closing.as_ref().is_some_and(|c| c.when == ClosingWhen::Always);
        is_last && !always_closes && self.task.reasoned_is_complete(text)
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
        let steps = self.task.system2.len();
        let last = self.records.last().filter(|_| self.begun >= steps);
        let closes = last.is_some() && self.begun > steps;
        let answer = last.and_then(|last| match closes {
            true => self.task.read_closing(&last.text, self.is_cut),
            false => self.task.read_reasoned(&last.text, self.is_cut),
        });
        let read_from = match closes && answer.is_some() {
            true => ReadFrom::Closing,
            false => ReadFrom::Completion,
        };
        Sample {
            question: self.question.id.clone(),
            index: self.index,
            perturbation: self.perturbation.into(),
            seed: sample_seed(self.seed, &self.question.id, self.index, 0),
            answer,
            read_from,
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
    // A step whose prompt could not be made has no record.
    while records.len() > 0 {
        let calls = program.next_calls()?;
        if calls.is_empty() {
            break;
        }
        for request in calls {
            let Some(record) = records.next() else { return Ok(requests) };
            program.take(request.id as usize, record.completion(sample.finish));
            requests.push(request);
        }
    }
    Ok(requests)
}

impl StepRecord {
    /// The completion as far as it was recorded, if it is the last step's, which ended with `finish`.
    fn completion(&self, finish: Finish) -> Completion {
        Completion {
            id: 0,
            text: self.text.clone(),
            tokens: std::sync::Arc::default(),
            prompt_tokens: self.prompt_tokens,
            generated_tokens: self.generated_tokens,
            finish,
            probability: f32::NAN,
            log_probability: f64::NAN,
            seconds: 0.0,
        }
    }

    fn part(&self) -> Part {
        Part { item: self.item.clone().unwrap_or_default(), output: self.text.clone() }
    }
}
