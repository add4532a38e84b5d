//! A candidate in the race: its task, its journal of samples, and what they cost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::facts::SampleFacts;
use super::stopwatch::Stopwatch;
use super::votes::{AnswerVotes, CandidateVotes, DIRECT, QuestionVotes, SampleCounts, count};
use crate::curate::{self, CurationPlan, Observer, Sample};
use crate::engine::Engine;
use crate::run::{Journal, RunDir};
use crate::task::{AnswerRule, Equivalence, Question, Select, Task, UNPERTURBED, Weighing};
use crate::vote::{NO_THRESHOLD, Tally, Verdict, decide, stop};
use crate::{Cancel, Result};

/// Where a candidate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A task that the caller gave.
    Given,
    /// The library of programs.
    Library,
    /// The model itself, after the first rounds.
    Proposed,
    /// A variation of the best program, with its own unanimous samples as worked examples.
    OwnExamples,
    /// A wording of the direct prompt.
    Direct,
}

/// A candidate before the race.
#[derive(Debug, Clone)]
pub struct Entrant {
    /// Its name, unique among all.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The candidate that it is a variation of, or its own name.
    pub family: String,
    /// The program, with its own vote.
    pub task: Task,
}

/// The indices of questions and samples on which a candidate is judged: those below the given numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Number of questions, the first ones of the race's order.
    pub questions: usize,
    /// Maximal number of samples of each; fewer where the candidate's own vote takes fewer.
    pub samples: usize,
}

/// Seconds and samples of a candidate, measured over all invocations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SamplingTime {
    /// Seconds.
    pub seconds: f64,
    /// Samples that took them.
    pub samples: usize,
    /// Tokens that they generated.
    pub tokens: usize,
}

/// Question id, perturbation and index of a sample.
type SampleId = (String, String, usize);

/// A candidate in the race.
#[derive(Debug)]
pub struct Contestant {
    /// What was entered.
    pub entrant: Entrant,
    /// On what it was last judged.
    pub judged: Extent,
    /// Number of rounds that it was sampled in.
    pub rounds: usize,
    /// Why it is out of the race.
    pub dropped: Option<String>,
    /// What its samples took.
    pub time: SamplingTime,
    /// The folder of its files, in the race's directory.
    folder: String,
    facts: BTreeMap<SampleId, SampleFacts>,
}

/// What is sampled with.
pub struct Sampler<'a> {
    /// The directory of the race.
    pub dir: &'a RunDir,
    /// The seed of all samples.
    pub seed: u64,
    /// Measures.
    pub stopwatch: &'a dyn Stopwatch,
    /// Stops.
    pub cancel: &'a Cancel,
}

impl Contestant {
    /// Opens the candidate's folder in `dir` and reads the samples that are there of the same program.
    pub fn open(entrant: Entrant, dir: &RunDir, questions: &[Question]) -> Result<Contestant> {
        let folder = format!("candidates/{}", entrant.name);
        std::fs::create_dir_all(dir.file(&folder)).map_err(crate::Error::io("create", dir.file(&folder)))?;
        let task_file = format!("{folder}/task.json");
        let journal = format!("{folder}/samples.jsonl");
        let earlier = Task::load(&dir.file(&task_file).display().to_string());
        if earlier.is_ok_and(|earlier| !has_same_samples(&earlier, &entrant.task)) {
            let _ = std::fs::remove_file(dir.file(&journal));
            let _ = std::fs::remove_file(dir.file(&format!("{folder}/time.json")));
        }
        dir.write(&task_file, entrant.task.to_json().as_bytes())?;
        let by_id: BTreeMap<&str, &Question> = questions.iter().map(|q| (q.id.as_str(), q)).collect();
        let mut facts = BTreeMap::new();
        for sample in Journal::<Sample>::open(dir.file(&journal))?.1 {
            let sample = sample?;
            if let Some(question) = by_id.get(sample.question.as_str()) {
                facts
                    .entry(id_of(&sample))
                    .or_insert_with(|| SampleFacts::of(sample, &entrant.task, question));
            }
        }
        let time = dir.saved(&format!("{folder}/time.json"))?.unwrap_or_default();
        Ok(Contestant { entrant, judged: Extent::default(), rounds: 0, dropped: None, time, folder, facts })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.entrant.name
    }

    /// Whether it is a wording of the direct prompt.
    pub fn is_direct(&self) -> bool {
        self.entrant.origin == Origin::Direct
    }

    /// The file in which its samples are kept, in the race's directory.
    pub fn journal(&self) -> String {
        format!("{}/samples.jsonl", self.folder)
    }

    /// Number of samples that `extent` needs of each question.
    fn depth(&self, extent: Extent) -> usize {
        extent.samples.min(self.entrant.task.vote.samples)
    }

    /// The names of the variants of a question.
    fn variants(&self) -> impl Iterator<Item = &str> {
        let perturbations = self.entrant.task.perturbations.iter().map(|p| p.name.as_str());
        std::iter::once(UNPERTURBED).chain(perturbations)
    }

    fn has_sample(&self, question: &str, variant: &str, index: usize) -> bool {
        self.facts.contains_key(&(question.to_string(), variant.to_string(), index))
    }

    /// Number of samples missing for `extent`.
    pub fn missing(&self, questions: &[Question], extent: Extent) -> usize {
        let depth = self.depth(extent);
        let of_question = |question: &Question| {
            self.variants()
                .map(|variant| (0..depth).filter(|i| !self.has_sample(&question.id, variant, *i)).count())
                .sum::<usize>()
        };
        questions.iter().take(extent.questions).map(of_question).sum()
    }

    /// Seconds of a sample, where some were measured.
    pub fn seconds_per_sample(&self) -> Option<f64> {
        (self.time.samples > 0).then(|| self.time.seconds / self.time.samples as f64)
    }

    /// Takes the missing samples of `questions` with `samples` each. Returns whether all were taken before the
    /// stopwatch shows `deadline`, if there is one.
    pub fn sample(
        &mut self,
        questions: &[Question],
        samples: usize,
        sampler: &Sampler,
        deadline: Option<f64>,
        engine: &mut dyn Engine,
    ) -> Result<bool> {
        let extent = Extent { questions: questions.len(), samples };
        let task = every_sample(&self.entrant.task, self.depth(extent));
        let asked: BTreeMap<&str, &Question> = questions.iter().map(|q| (q.id.as_str(), q)).collect();
        let earlier: Vec<Sample> = self
            .facts
            .values()
            .filter(|facts| asked.contains_key(facts.sample.question.as_str()))
            .map(|facts| facts.sample.clone())
            .collect();
        let plan =
            CurationPlan { task: &task, questions, seed: sampler.seed, stop_at_answer: true, verifier: None };
        let (journal, _) = Journal::<Sample>::open(sampler.dir.file(&self.journal()))?;
        let mut recorder = SampleRecorder {
            journal,
            task: &self.entrant.task,
            asked,
            new: Vec::new(),
            is_late: &|| deadline.is_some_and(|deadline| sampler.stopwatch.seconds() >= deadline),
            stopped: false,
        };
        let begin = sampler.stopwatch.seconds();
        let result =
            curate::curate(|| Ok(engine), &plan, earlier.into_iter().map(Ok), &mut recorder, sampler.cancel);
        recorder.journal.sync()?;
        self.time.seconds += sampler.stopwatch.seconds() - begin;
        let in_time = !recorder.stopped;
        self.time.samples += recorder.new.len();
        for facts in recorder.new {
            self.time.tokens += facts.sample.steps.iter().map(|step| step.generated_tokens).sum::<usize>();
            self.facts.entry(id_of(&facts.sample)).or_insert(facts);
        }
        sampler.dir.save(&format!("{}/time.json", self.folder), &self.time)?;
        match result {
            Err(_) if !in_time => Ok(false),
            result => result.map(|_| true),
        }
    }

    /// Its votes within `extent`. `rule` gives the keys by which answers of different candidates are
    /// compared.
    pub fn votes(&self, questions: &[Question], extent: Extent, rule: &AnswerRule) -> CandidateVotes {
        let mut counts = SampleCounts::default();
        let questions = questions
            .iter()
            .take(extent.questions)
            .map(|question| self.votes_on(question, self.depth(extent), rule, &mut counts))
            .filter(|votes| votes.n > 0)
            .collect();
        CandidateVotes {
            name: self.name().into(),
            method: if self.is_direct() { DIRECT.into() } else { self.entrant.task.method.clone() },
            family: self.entrant.family.clone(),
            counts,
            questions,
        }
    }

    fn votes_on(
        &self,
        question: &Question,
        depth: usize,
        rule: &AnswerRule,
        counts: &mut SampleCounts,
    ) -> QuestionVotes {
        let task = &self.entrant.task;
        let find = |variant: &str| -> Vec<&SampleFacts> {
            let id = |index| (question.id.clone(), variant.to_string(), index);
            (0..depth).filter_map(|index| self.facts.get(&id(index))).collect()
        };
        let answer = |facts: &SampleFacts| facts.sample.answer.clone().filter(|_| !facts.sample.rejected);
        let key = |answer: &crate::task::Answer| rule.key(&answer.text).unwrap_or(answer.key.clone());
        let own = find(UNPERTURBED);
        own.iter().for_each(|facts| facts.count_in(counts));
        let answers = count(own.iter().filter_map(|facts| {
            let answer = answer(facts)?;
            let (verbatim, opinion) = (facts.verbatim, facts.opinion);
            Some(AnswerVotes { key: key(&answer), text: answer.text, votes: 1, verbatim, opinion })
        }));
        let (verdict, needed) = vote(task, &question.id, own.iter().map(|facts| answer(facts)));
        let (mut perturbed, mut perturbed_n, mut kept) = (Vec::new(), 0, verdict.kept);
        for perturbation in &task.perturbations {
            let found = find(&perturbation.name);
            found.iter().for_each(|facts| facts.count_in(counts));
            perturbed_n += found.len();
            let meant: Vec<_> =
                found.iter().map(|facts| answer(facts).map(|a| perturbation.meaning(&a))).collect();
            let theirs = vote(task, &question.id, meant.iter().cloned()).0;
            kept &=
                theirs.kept && theirs.answer.map(|a| a.key) == verdict.answer.as_ref().map(|a| a.key.clone());
            let vote = |answer: crate::task::Answer| AnswerVotes {
                key: key(&answer),
                text: answer.text,
                votes: 1,
                ..AnswerVotes::default()
            };
            perturbed.extend(meant.into_iter().flatten().map(vote));
        }
        QuestionVotes {
            question: question.id.clone(),
            n: own.len(),
            answers,
            perturbed_n,
            perturbed: count(perturbed),
            kept,
            needed,
        }
    }
}

/// The candidate's own vote on these samples, and after how many it would have stopped.
fn vote(
    task: &Task,
    question: &str,
    answers: impl Iterator<Item = Option<crate::task::Answer>>,
) -> (Verdict, usize) {
    let (mut tally, mut reason) = (Tally::new(), None);
    let mut rule = task.vote.clone();
    (rule.select, rule.weights) = (Select::Count, Weighing::Equal);
    for answer in answers {
        tally.add(answer.as_ref());
        reason = stop(&rule, &tally);
        if reason.is_some() {
            break;
        }
    }
    let reason = reason.unwrap_or(crate::vote::StopReason::Budget);
    (decide(&rule, question, &tally, reason), tally.n())
}

/// `task` with votes of exactly `samples` samples, so that candidates can be compared.
fn every_sample(task: &Task, samples: usize) -> Task {
    let mut task = task.clone();
    let vote = &mut task.vote;
    (vote.samples, vote.min_samples) = (samples, samples);
    (vote.threshold, vote.confidence, vote.early_abandon) = (NO_THRESHOLD, 1.0, false);
    (vote.select, vote.weights) = (Select::Count, Weighing::Equal);
    vote.equivalence = Equivalence::Exact;
    task
}

/// Whether two tasks sample the same: all but the direct prompt and the vote is equal.
pub(crate) fn has_same_samples(a: &Task, b: &Task) -> bool {
    a.system2 == b.system2
        && a.closing == b.closing
        && a.answer == b.answer
        && a.perturbations == b.perturbations
}

fn id_of(sample: &Sample) -> SampleId {
    (sample.question.clone(), sample.perturbation.clone(), sample.index)
}

/// Writes samples to the candidate's journal.
struct SampleRecorder<'a> {
    journal: Journal<Sample>,
    task: &'a Task,
    asked: BTreeMap<&'a str, &'a Question>,
    new: Vec<SampleFacts>,
    is_late: &'a dyn Fn() -> bool,
    /// Whether sampling was stopped because it is late.
    stopped: bool,
}

impl Observer for SampleRecorder<'_> {
    fn sample(&mut self, sample: &Sample) -> Result<()> {
        self.journal.append(sample)?;
        if let Some(question) = self.asked.get(sample.question.as_str()) {
            self.new.push(SampleFacts::of(sample.clone(), self.task, question));
        }
        self.stopped = (self.is_late)();
        if self.stopped { Err(crate::Error::Cancelled) } else { Ok(()) }
    }

    fn verdict(&mut self, _: &Verdict) -> Result<()> {
        Ok(())
    }
}
