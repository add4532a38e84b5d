//! Takes samples of several candidates in one run of the engine.
//!
//! A few samples are computed together in nearly the time of one, and in the first rounds each candidate needs
//! only a few. The time of a run is shared out by the tokens that were computed.

use std::collections::BTreeMap;

use super::contestant::{Contestant, Sampler};
use super::facts::SampleFacts;
use crate::curate::{CurationPlan, Observer, PlannedRun, Sample, curate_together};
use crate::engine::Engine;
use crate::run::Journal;
use crate::task::{Equivalence, Question, Select, Task, Weighing};
use crate::vote::{NO_THRESHOLD, Verdict};
use crate::{Error, Result};

/// A token of a prompt takes as long as so many generated ones: samples of a question share prompts.
const PROMPT_TOKEN: f64 = 0.25;

/// What is to be sampled of a candidate.
pub struct MissingSamples {
    /// The candidate's task, with a vote that takes every sample.
    pub task: Task,
    /// The questions that it can be asked.
    pub questions: Vec<Question>,
    /// The samples of them that are there.
    pub earlier: Vec<Sample>,
}

/// Takes the samples that the candidates `chosen` lack of `questions` with `samples` each, and tells `taken` of
/// every one. Returns whether all were taken before the stopwatch shows `deadline`, if there is one; those that
/// have begun by then are lost.
pub fn sample_together(
    contestants: &mut [Contestant],
    chosen: &[usize],
    (questions, samples): (&[Question], usize),
    sampler: &Sampler,
    deadline: Option<f64>,
    taken: &dyn Fn(),
    engine: &mut dyn Engine,
) -> Result<bool> {
    let mut works: Vec<MissingSamples> =
        chosen.iter().map(|i| contestants[*i].missing_samples(questions, samples)).collect();
    let earlier: Vec<Vec<Sample>> = works.iter_mut().map(|work| std::mem::take(&mut work.earlier)).collect();
    let plan = |work| {
        let MissingSamples { task, questions, .. }: &MissingSamples = work;
        CurationPlan { task, questions, seed: sampler.seed, stop_at_answer: true, verifier: None }
    };
    let plans: Vec<CurationPlan> = works.iter().map(plan).collect();
    let is_late = || deadline.is_some_and(|deadline| sampler.stopwatch.seconds() >= deadline);
    let mut recorders = Vec::with_capacity(chosen.len());
    for (i, work) in chosen.iter().zip(&works) {
        recorders.push(SampleRecorder {
            journal: Journal::open(sampler.dir.file(&contestants[*i].journal()))?.0,
            task: &work.task,
            asked: work.questions.iter().map(|question| (question.id.as_str(), question)).collect(),
            new: Vec::new(),
            set_aside: BTreeMap::new(),
            is_late: &is_late,
            taken,
        });
    }
    let runs = plans.iter().zip(earlier).zip(&mut recorders);
    let runs = runs.map(|((plan, earlier), observer)| PlannedRun { plan, earlier, observer });
    let begin = sampler.stopwatch.seconds();
    let moment = deadline.and_then(|deadline| sampler.stopwatch.moment(deadline));
    let cancel = moment.map_or_else(|| sampler.cancel.clone(), |moment| sampler.cancel.or_at(moment));
    let result = curate_together(engine, runs.collect(), &cancel);
    let seconds = sampler.stopwatch.seconds() - begin;

    let all: f64 = recorders.iter().map(SampleRecorder::tokens).sum();
    let share = |recorder: &SampleRecorder| match all > 0.0 {
        true => recorder.tokens() / all,
        false => 1.0 / chosen.len() as f64,
    };
    let shares: Vec<f64> = recorders.iter().map(share).collect();
    for ((i, mut recorder), share) in chosen.iter().zip(recorders).zip(shares) {
        recorder.journal.sync()?;
        contestants[*i].add(recorder.new, recorder.set_aside, share * seconds, sampler.dir)?;
    }
    match result {
        Err(Error::Cancelled) if !sampler.cancel.is_cancelled() => Ok(false),
        result => result.map(|_| true),
    }
}

/// `task` with votes of exactly `samples` samples, so that candidates can be compared.
pub fn every_sample(task: &Task, samples: usize) -> Task {
    let mut task = task.clone();
    let vote = &mut task.vote;
    (vote.samples, vote.min_samples) = (samples, samples);
    (vote.threshold, vote.confidence, vote.early_abandon) = (NO_THRESHOLD, 1.0, false);
    (vote.select, vote.weights) = (Select::Count, Weighing::Equal);
    vote.equivalence = Equivalence::Exact;
    task
}

/// Writes samples to the candidate's journal.
struct SampleRecorder<'a> {
    journal: Journal<Sample>,
    task: &'a Task,
    asked: BTreeMap<&'a str, &'a Question>,
    new: Vec<SampleFacts>,
    /// Question id → why it cannot be asked.
    set_aside: BTreeMap<String, String>,
    is_late: &'a dyn Fn() -> bool,
    taken: &'a dyn Fn(),
}

impl SampleRecorder<'_> {
    /// Tokens of the new samples, in generated ones.
    fn tokens(&self) -> f64 {
        let steps = self.new.iter().flat_map(|facts| &facts.sample.steps);
        steps.map(|s| s.generated_tokens as f64 + PROMPT_TOKEN * s.prompt_tokens as f64).sum()
    }
}

impl Observer for SampleRecorder<'_> {
    fn sample(&mut self, sample: &Sample) -> Result<()> {
        self.journal.append(sample)?;
        if let Some(question) = self.asked.get(sample.question.as_str()) {
            self.new.push(SampleFacts::of(sample.clone(), self.task, question));
        }
        (self.taken)();
        if (self.is_late)() { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<()> {
        if let Some(why) = &verdict.set_aside {
            self.set_aside.insert(verdict.question.clone(), why.clone());
        }
        Ok(())
    }

    /// Other candidates may have shorter prompts.
    fn mostly_set_aside(&mut self, _: Error) -> Result<()> {
        Ok(())
    }
}
