//! A candidate in the race: its task, its journal of samples, and what they cost.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::facts::SampleFacts;
use super::sampling::{MissingSamples, every_sample};
use super::stopwatch::Stopwatch;
use super::vote_size::{VoteSize, with_samples};
use super::votes::{AnswerVotes, CandidateVotes, DIRECT, QuestionVotes, SampleCounts, count};
use crate::context::EngineOptions;
use crate::curate::Sample;
use crate::preview::{Evidence, Finding, findings, prompts_of};
use crate::run::{Journal, RunDir};
use crate::task::{AnswerRule, Question, Select, Task, UNPERTURBED, VoteRule, Weighing};
use crate::vote::{Tally, Verdict, decide, stop};
use crate::{Cancel, Error, Result};

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
    /// A variation of a program with more room for its last step.
    Longer,
    /// A variation of the best program at another temperature.
    Temperature,
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
    /// The name of the candidate that it is a variation of, if it is one.
    pub base: Option<String>,
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

/// Seconds of a sample beside many others.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SamplingSpeed(f64);

impl SamplingSpeed {
    /// The mean of several.
    pub fn mean(speeds: impl Iterator<Item = SamplingSpeed>) -> SamplingSpeed {
        let (sum, n) = speeds.fold((0.0, 0usize), |(sum, n), speed| (sum + speed.0, n + 1));
        SamplingSpeed(sum / n.max(1) as f64)
    }

    /// Seconds that `samples` samples will take.
    pub fn seconds(self, samples: usize) -> f64 {
        self.0 * samples as f64
    }
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
    set_aside: SetAsideQuestions,
}

/// `set-aside.json`: the questions that a candidate cannot be asked. They are not tried again before the room
/// for a prompt may be another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct SetAsideQuestions {
    /// Of the engine's options.
    slots: u32,
    /// The same.
    max_memory: Option<u64>,
    /// Question id → why.
    reasons: BTreeMap<String, String>,
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
    /// The options of the engine.
    pub engine_options: EngineOptions,
}

impl Contestant {
    /// Opens the candidate's folder in the race's directory and reads the samples that are there of the same
    /// program.
    pub fn open(entrant: Entrant, sampler: &Sampler, questions: &[Question]) -> Result<Contestant> {
        let (dir, options) = (sampler.dir, &sampler.engine_options);
        let folder = format!("candidates/{}", entrant.name);
        std::fs::create_dir_all(dir.file(&folder)).map_err(Error::io("create", dir.file(&folder)))?;
        let task_file = format!("{folder}/task.json");
        let journal = format!("{folder}/samples.jsonl");
        let earlier = Task::load(&dir.file(&task_file).display().to_string());
        // Samples of another program, or of one that nobody knows, are none of this one.
        if !earlier.is_ok_and(|earlier| has_same_samples(&earlier, &entrant.task)) {
            for file in ["samples.jsonl", "time.json", "set-aside.json", "direct.json"] {
                let path = dir.file(&format!("{folder}/{file}"));
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::io("remove", path)(error));
                    }
                    _ => {}
                }
            }
        }
        dir.write(&task_file, entrant.task.to_json().as_bytes())?;
        let time = dir.saved(&format!("{folder}/time.json"))?.unwrap_or_default();
        let none = SetAsideQuestions {
            slots: options.slots,
            max_memory: options.max_memory,
            ..SetAsideQuestions::default()
        };
        let earlier = dir.saved::<SetAsideQuestions>(&format!("{folder}/set-aside.json"))?;
        let is_valid =
            |found: &SetAsideQuestions| (found.slots, found.max_memory) == (none.slots, none.max_memory);
        let set_aside = earlier.filter(is_valid).unwrap_or(none);
        let judged = Extent::default();
        let facts = BTreeMap::new();
        let mut contestant =
            Contestant { entrant, judged, rounds: 0, dropped: None, time, folder, facts, set_aside };
        let by_id: BTreeMap<&str, &Question> = questions.iter().map(|q| (q.id.as_str(), q)).collect();
        for sample in Journal::<Sample>::open(dir.file(&journal))?.1 {
            let sample = sample?;
            if let Some(question) = by_id.get(sample.question.as_str()) {
                contestant.take_over(sample, question);
            }
        }
        Ok(contestant)
    }

    /// Takes a sample of `question` that is in its journal.
    pub(super) fn take_over(&mut self, sample: Sample, question: &Question) {
        let of_sample = |sample| SampleFacts::of(sample, &self.entrant.task, question);
        self.facts.entry(id_of(&sample)).or_insert_with(|| of_sample(sample));
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
        let can_be_asked = |question: &&Question| !self.set_aside.reasons.contains_key(&question.id);
        questions.iter().take(extent.questions).filter(can_be_asked).map(of_question).sum()
    }

    /// Number of samples of `extent`, those that are there included.
    pub fn samples_in(&self, extent: Extent) -> usize {
        extent.questions * self.depth(extent) * self.variants().count()
    }

    /// Why it can be asked none of the questions that it was judged on, if it can be asked none.
    pub fn why_not_asked(&self, questions: &[Question]) -> Option<&str> {
        let mut judged = questions.iter().take(self.judged.questions);
        let reasons = judged.clone().find_map(|question| self.set_aside.reasons.get(&question.id))?;
        judged.all(|question| self.set_aside.reasons.contains_key(&question.id)).then_some(reasons)
    }

    /// Number of the questions that it was judged on which it cannot be asked, and why the first of them.
    pub fn not_asked(&self, questions: &[Question]) -> Option<(usize, &str)> {
        let judged = questions.iter().take(self.judged.questions);
        let reasons: Vec<&String> =
            judged.filter_map(|question| self.set_aside.reasons.get(&question.id)).collect();
        reasons.first().map(|why| (reasons.len(), why.as_str()))
    }

    /// What `preview` finds in the samples that it was judged on.
    pub fn findings(&self, questions: &[Question], sampler: &Sampler) -> Result<Vec<Finding>> {
        let judged = &questions[..self.judged.questions.min(questions.len())];
        let (task, depth) = (&self.entrant.task, self.depth(self.judged));
        let (mut samples, mut prompts, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for sample in Journal::<Sample>::read(sampler.dir.file(&self.journal()))? {
            let sample = sample?;
            let question = judged.iter().find(|question| question.id == sample.question);
            let Some(question) = question.filter(|_| sample.index < depth && seen.insert(id_of(&sample)))
            else {
                continue;
            };
            let asked = prompts_of(task, question, &sample, sampler.seed, None)?;
            prompts.push(asked.into_iter().map(|(prompt, _)| prompt).collect());
            samples.push(sample);
        }
        Ok(findings(&Evidence {
            task,
            questions: judged,
            samples: &samples,
            prompts: &prompts,
            verdicts: &[],
            equivalences: &[],
            system1: &[],
            template: None,
        }))
    }

    /// Its speed, where some samples were measured.
    pub fn speed(&self) -> Option<SamplingSpeed> {
        (self.time.samples > 0).then(|| SamplingSpeed(self.time.seconds / self.time.samples as f64))
    }

    /// What is left of `questions` with `samples` each.
    pub(super) fn missing_samples(&self, questions: &[Question], samples: usize) -> MissingSamples {
        let extent = Extent { questions: questions.len(), samples };
        let can_be_asked = |question: &&Question| !self.set_aside.reasons.contains_key(&question.id);
        let questions: Vec<Question> = questions.iter().filter(can_be_asked).cloned().collect();
        let asked: HashSet<&str> = questions.iter().map(|question| question.id.as_str()).collect();
        let is_asked = |facts: &&SampleFacts| asked.contains(facts.sample.question.as_str());
        let earlier = self.facts.values().filter(is_asked).map(|facts| facts.sample.clone()).collect();
        MissingSamples { task: every_sample(&self.entrant.task, self.depth(extent)), questions, earlier }
    }

    /// Takes over new samples, and why questions cannot be asked; `seconds` is what they took.
    pub(super) fn add(
        &mut self,
        samples: Vec<SampleFacts>,
        mut set_aside: BTreeMap<String, String>,
        seconds: f64,
        dir: &RunDir,
    ) -> Result<()> {
        self.time.seconds += seconds;
        self.time.samples += samples.len();
        if !set_aside.is_empty() {
            self.set_aside.reasons.append(&mut set_aside);
            dir.save(&format!("{}/set-aside.json", self.folder), &self.set_aside)?;
        }
        for facts in samples {
            self.time.tokens += facts.sample.steps.iter().map(|step| step.generated_tokens).sum::<usize>();
            self.facts.entry(id_of(&facts.sample)).or_insert(facts);
        }
        dir.save(&format!("{}/time.json", self.folder), &self.time)
    }

    /// Its votes within `extent`. `rule` gives the keys by which answers of different candidates are
    /// compared.
    pub fn votes(&self, questions: &[Question], extent: Extent, rule: &AnswerRule) -> CandidateVotes {
        let mut counts = SampleCounts::default();
        let questions = questions
            .iter()
            .take(extent.questions)
            .map(|question| {
                self.votes_on(question, self.depth(extent), rule, &self.entrant.task.vote, &mut counts)
            })
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

    /// What the task's vote would keep of the questions that the candidate was judged on, with at most
    /// `samples` samples of each. `None` where it was judged on fewer.
    pub fn kept_with(&self, samples: usize, questions: &[Question], rule: &AnswerRule) -> Option<VoteSize> {
        if samples > self.depth(self.judged) {
            return None;
        }
        let of_size = with_samples(&self.entrant.task.vote, samples);
        let mut counts = SampleCounts::default();
        let votes: Vec<QuestionVotes> = questions
            .iter()
            .take(self.judged.questions)
            .map(|question| self.votes_on(question, samples, rule, &of_size, &mut counts))
            .filter(|votes| votes.n > 0)
            .collect();
        let n = votes.len().max(1) as f64;
        Some(VoteSize {
            samples,
            kept_share: votes.iter().filter(|votes| votes.kept).count() as f64 / n,
            needed: votes.iter().map(|votes| votes.needed).sum::<usize>() as f64 / n,
        })
    }

    fn votes_on(
        &self,
        question: &Question,
        depth: usize,
        rule: &AnswerRule,
        vote_rule: &VoteRule,
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
            Some(AnswerVotes {
                key: key(&answer),
                text: answer.text,
                votes: 1,
                samples: vec![facts.sample.index],
                verbatim: facts.verbatim,
                opinion: facts.opinion,
                outside: false,
            })
        }));
        let (verdict, needed) = vote(vote_rule, &question.id, own.iter().map(|facts| answer(facts)));
        let (mut perturbed, mut perturbed_n, mut kept) = (Vec::new(), 0, verdict.kept);
        for perturbation in &task.perturbations {
            let found = find(&perturbation.name);
            found.iter().for_each(|facts| facts.count_in(counts));
            perturbed_n += found.len();
            let meant: Vec<_> =
                found.iter().map(|facts| answer(facts).map(|a| perturbation.meaning(&a))).collect();
            let theirs = vote(vote_rule, &question.id, meant.iter().cloned()).0;
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
    rule: &VoteRule,
    question: &str,
    answers: impl Iterator<Item = Option<crate::task::Answer>>,
) -> (Verdict, usize) {
    let (mut tally, mut reason) = (Tally::new(), None);
    let mut rule = rule.clone();
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
