//! Chooses the System 2 program without labels.
//!
//! How a method is worded decides more than the method does, and which wording a model needs cannot be told
//! beforehand. [`tune`] lets candidates race on some of the user's questions: the user's own tasks, the
//! library's programs, and every wording of the direct prompt, since a gain over a bad direct prompt is no
//! gain. The [score](score::score) is computed from the samples alone; gold answers in the questions are
//! removed before the race, apart from those that the caller gives to choose by.
//!
//! | file in the directory | contents |
//! | --- | --- |
//! | `task.json` | the chosen program, with the best wording of the direct prompt as its System 1 |
//! | `tune.json` | the [`TuneReport`]: candidates, figures, votes, the choice and why |
//! | `run.json`, `race.json` | what the race is about, and what was planned |
//! | `proposals.json`, `variations.json` | candidates that were made during the race |
//! | `candidates/NAME/` | `task.json`, `samples.jsonl`, `time.json` and `set-aside.json` of each candidate |
//!
//! Samples have the seeds of curation, so that a run takes over the winner's.

mod choice;
mod consensus;
mod contestant;
mod entrants;
mod facts;
mod features;
mod first_round;
mod information;
mod longer;
mod options;
mod outside;
mod own_examples;
mod plan;
mod propose;
mod race;
mod report;
mod sampling;
pub mod score;
mod shortage;
mod stopwatch;
mod surprise;
mod temperature;
mod terminal;
mod training_time;
mod variations;
mod verdict;
mod vote_size;
mod votes;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;

pub(crate) use contestant::has_same_samples;
pub use contestant::{Extent, Origin, SamplingTime};
pub use features::{Features, features};
pub use options::TuneOptions;
pub use race::RoundPlan;
pub use report::{CandidateReport, Expectation, SystemOneAnswer, TuneReport};
pub use shortage::Shortage;
pub use stopwatch::Stopwatch;
pub use terminal::terminal;
pub use vote_size::VoteSize;
pub use votes::{AnswerVotes, CandidateVotes, QuestionVotes, SampleCounts};

use choice::{complete, report};
use contestant::{Contestant, Sampler};
use race::{Race, RaceRules, RaceState, STATE};
use stopwatch::WallTime;
use training_time::TrainingSpeed;

use crate::context::{EngineCache, check_callers_engine};
use crate::engine::template_facts;
use crate::evaluate::ask_directly;
use crate::fs::{sha256, sha256_files};
use crate::gguf::Gguf;
use crate::model::spec::Spec;
use crate::programs::{self, Brief, ReasoningMethod};
use crate::run::{Manifest, RunDir, read_manifest, today};
use crate::task::{AnswerRule, Question, Task, check_gold, shared_question};
use crate::{Cancel, Context, Error, Result};

/// What programs are wanted for.
#[derive(Debug, Clone, Default)]
pub struct TuneSetup {
    /// The base model, a GGUF file.
    pub model: PathBuf,
    /// The questions. Gold answers in them are ignored.
    pub questions: Vec<Question>,
    /// The caller's own tasks, which are candidates. The answer rule of the first is that of the library's
    /// programs.
    pub tasks: Vec<Task>,
    /// Programs of the library that take part in any case, by name, such as `s2a.which-question.bare`.
    pub programs: Vec<String>,
    /// Methods of the library's programs; empty for all, or for none with [`TuneOptions::only_given`].
    /// Thinking is among all where the model has a mode for it.
    pub methods: Vec<ReasoningMethod>,
    /// What the questions are about, in one line.
    pub description: Option<String>,
    /// How answers are read, where no task says it; `None` to find out from direct answers.
    pub answer: Option<AnswerRule>,
    /// Questions with gold answers, which help to choose; none, or 20 or more. None of them may be among
    /// `questions`.
    pub gold: Vec<Question>,
    /// The directory; made if it does not exist, resumed if it is of the same race.
    pub out: PathBuf,
    /// Seed of all sampling.
    pub seed: u64,
}

impl TuneSetup {
    /// Adds what a user names: a method of the library, such as `s2a`, one of its programs, or a task to race.
    ///
    /// # Errors
    /// Those of [`programs::load`].
    pub fn add(&mut self, name_or_path: &str) -> Result<()> {
        if let Ok(method) = name_or_path.parse() {
            self.methods.push(method);
        } else if programs::is_program(name_or_path) {
            self.programs.push(name_or_path.into());
        } else {
            self.tasks.push(programs::load(name_or_path, &Brief::default())?);
        }
        Ok(())
    }

    /// What the library is told of the questions.
    fn brief(&self, rule: &AnswerRule) -> Brief {
        let first = self.questions.first();
        let has = |field: &&String| self.questions.iter().all(|q| q.fields.contains_key(field));
        let fields: Vec<String> = first.iter().flat_map(|q| q.fields.keys()).filter(has).cloned().collect();
        Brief {
            description: self.description.clone(),
            answer: rule.clone(),
            noun: programs::infer_noun(&self.questions),
            fields: if fields.is_empty() { vec!["question".into()] } else { fields },
            methods: self.methods.clone(),
            ..Brief::default()
        }
    }
}

/// Chooses the program for the questions of `setup`: writes `task.json` and `tune.json` in `setup.out`.
/// Repeating the call resumes an interrupted race, and comes to the same choice where the time suffices for all
/// questions; where it does not, the rounds that follow are planned by the time that is left.
///
/// # Errors
/// [`Error::Input`] for questions or tasks that do not fit together, where a question with gold is among the
/// others, and where the answer rule cannot read a gold answer, which is known only once the rule is;
/// [`Error::Run`] where the directory is of another model, seed or set of questions; [`Error::Cancelled`]; those
/// of the engine. What was sampled is kept.
pub fn tune(setup: &TuneSetup, options: &TuneOptions, cx: &mut Context) -> Result<TuneReport> {
    tune_timed(setup, options, &WallTime::new(), cx)
}

/// [`tune`], with the time of `stopwatch`.
pub(crate) fn tune_timed(
    setup: &TuneSetup,
    options: &TuneOptions,
    stopwatch: &dyn Stopwatch,
    cx: &mut Context,
) -> Result<TuneReport> {
    options.check()?;
    options.engine.check()?;
    let begin = stopwatch.seconds();
    let gold = gold_by_id(setup)?;
    answer_rule(setup).map_or(Ok(()), |rule| check_gold(&rule, &setup.gold, "gold"))?;
    let (given, questions) = (without_gold(&setup.questions), racing_order(setup));
    if given.is_empty() {
        return Err(Error::field("questions", "there is no question; expected at least one"));
    }
    let gguf = Gguf::open(&setup.model)?;
    let spec = Spec::of(&gguf)?;
    check_callers_engine(cx, &gguf)?;
    let manifest = manifest(setup, &given, &gguf, &cx.cancel)?;
    let dir = RunDir::open(&setup.out, &manifest)?;
    let date = read_manifest(&setup.out)?.date;
    let mut base = EngineCache::new(gguf, date.as_deref());

    let rule = match answer_rule(setup) {
        Some(rule) => rule,
        None => {
            let found = infer_rule(setup, &questions, &dir, &mut base, options, cx)?;
            check_gold(&found, &setup.gold, "gold")?;
            found
        }
    };
    let template = base.engine(cx, None, &options.engine)?.decoder().map(template_facts).transpose()?;
    let thinking = template.is_some_and(|facts| facts.thinking_mode);
    let brief = Brief { thinking, ..setup.brief(&rule) };
    let n_asked = if options.keep_all { questions.len() } else { options.n_questions.min(questions.len()) };
    let entrants = entrants::entrants(setup, options.only_given, &brief, &questions[..n_asked])?;
    let identity = identity(setup, options, &entrants);
    let state = dir.saved::<RaceState>(STATE)?.filter(|state| state.identity == identity);
    let cancel = cx.cancel.clone();
    let sampler =
        Sampler { dir: &dir, seed: setup.seed, stopwatch, cancel: &cancel, engine_options: options.engine };
    let contestants = entrants
        .into_iter()
        .map(|e| Contestant::open(e, &sampler, &questions))
        .collect::<Result<Vec<_>>>()?;
    let most_samples = contestants.iter().map(|c| c.entrant.task.vote.samples).max().unwrap_or(1);
    let state = state.unwrap_or(RaceState { identity, ..RaceState::default() });
    let mut race = Race {
        contestants,
        questions: &questions,
        gold: &gold,
        rule: &rule,
        brief: &brief,
        rules: race_rules(options, most_samples),
        begin: begin - state.seconds,
        state,
        sampler,
        not_proposed: (options.propose > 0).then(|| NOT_ASKED_TO_PROPOSE.into()),
    };
    race.run(&mut base, cx)?;
    let mut report = report(setup, &race, given.len());
    let training = TrainingSpeed::measured(&spec, options.engine.threads);
    if let Some(task) = complete(&mut report, &race, &training, &mut base, cx)? {
        dir.write("task.json", task.to_json().as_bytes())?;
    }
    dir.save("tune.json", &report)?;
    Ok(report)
}

/// What a race in the same directory must be about.
fn manifest(setup: &TuneSetup, questions: &[Question], gguf: &Gguf, cancel: &Cancel) -> Result<Manifest> {
    let model = std::path::absolute(&setup.model).map_err(Error::io("find", &setup.model))?;
    Ok(Manifest {
        version: env!("CARGO_PKG_VERSION").into(),
        model: model.display().to_string(),
        model_sha256: sha256_files(gguf.files(), cancel)?,
        task: "tune".into(),
        task_sha256: sha256(b"tune"),
        questions_sha256: identity_of_questions(questions),
        seed: setup.seed,
        verifier: false,
        date: Some(today()),
    })
}

/// How a race with these options goes, whose candidates vote with up to `most_samples` samples.
fn race_rules(options: &TuneOptions, most_samples: usize) -> RaceRules {
    RaceRules {
        n_questions: options.n_questions,
        samples: options.samples.unwrap_or(most_samples),
        finalists: options.finalists,
        seconds: options.minutes * 60.0,
        keep_all: options.keep_all,
        propose: options.propose,
        own_examples: !options.no_own_examples,
        temperatures: !options.no_temperatures,
        weights: Default::default(),
    }
}

/// The finished report in the directory `out`.
///
/// # Errors
/// [`Error::Run`] where there is none, or it is damaged.
pub fn read_report(out: &Path) -> Result<TuneReport> {
    crate::run::read_saved(out, "tune.json")?
        .ok_or_else(|| Error::run(out, "holds no tune.json: the race is not finished"))
}

/// The questions without their gold answers: no candidate and no figure sees any.
fn without_gold(questions: &[Question]) -> Vec<Question> {
    questions.iter().map(|question| Question { gold: Vec::new(), ..question.clone() }).collect()
}

/// A hash of the questions without their gold answers: what a race in the same directory must be about.
pub(crate) fn identity_of_questions(questions: &[Question]) -> String {
    let lines: String = without_gold(questions).iter().map(|q| q.to_json_line() + "\n").collect();
    sha256(lines.as_bytes())
}

/// Gold questions have ids of their own, whatever ids the file gives them.
fn gold_id(question: &Question) -> String {
    format!("gold:{}", question.id)
}

/// Why no wording is the model's own, until it is asked for some.
const NOT_ASKED_TO_PROPOSE: &str = "The model was not asked for wordings, since the race ended before the round \
    in which they take part: more minutes, questions or candidates make it longer.";

/// The least number of questions with gold: on fewer, chance decides which program is right more often.
const MIN_GOLD: usize = 20;

/// The gold answers, by the ids of their questions in the race.
fn gold_by_id(setup: &TuneSetup) -> Result<HashMap<String, Vec<String>>> {
    if let Some(question) = setup.gold.iter().find(|question| question.gold.is_empty()) {
        let why = format!("question {:?} has no answer; each needs \"answer\"", question.id);
        return Err(Error::field("gold", why));
    }
    if (1..MIN_GOLD).contains(&setup.gold.len()) {
        let n = setup.gold.len();
        let why =
            format!("holds {n} questions, on which chance decides; expected {MIN_GOLD} or more, or none");
        return Err(Error::field("gold", why));
    }
    if let Some(question) = shared_question(&setup.questions, &setup.gold) {
        let why = format!(
            "question {:?} is also among the questions to learn from; gold answers may choose the program only if \
             nothing is learned from their questions",
            question.id
        );
        return Err(Error::field("gold", why));
    }
    Ok(setup.gold.iter().map(|question| (gold_id(question), question.gold.clone())).collect())
}

/// The questions in the order in which they are raced on: shuffled by the seed, with those that have gold
/// in every second place.
fn racing_order(setup: &TuneSetup) -> Vec<Question> {
    let mut questions = without_gold(&setup.questions);
    let mut gold: Vec<Question> = without_gold(&setup.gold);
    gold.iter_mut().for_each(|question| question.id = gold_id(question));
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(setup.seed);
    questions.shuffle(&mut random);
    gold.shuffle(&mut random);
    let (mut questions, mut gold) = (questions.into_iter(), gold.into_iter());
    let mut order = Vec::new();
    loop {
        let pair = [gold.next(), questions.next()];
        if pair.iter().all(Option::is_none) {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

/// The rule of the library's programs, by which answers of different candidates are compared, where the
/// caller says it.
fn answer_rule(setup: &TuneSetup) -> Option<AnswerRule> {
    setup.tasks.first().map(|task| task.answer.clone()).or(setup.answer.clone())
}

/// Number of questions whose direct answers show what kind of answers there are.
const ANSWERS_TO_INFER_FROM: usize = 16;

/// The rule that fits the model's direct answers to some questions; remembered, so that a resumed race has
/// the same.
fn infer_rule(
    setup: &TuneSetup,
    questions: &[Question],
    dir: &RunDir,
    base: &mut EngineCache,
    options: &TuneOptions,
    cx: &mut Context,
) -> Result<AnswerRule> {
    if let Some(rule) = dir.saved("answer.json")? {
        return Ok(rule);
    }
    let wordings = programs::direct(&setup.brief(&programs::short_text()))?;
    let Some(wording) = wordings.first() else { return Ok(programs::short_text()) };
    let asked = &questions[..questions.len().min(ANSWERS_TO_INFER_FROM)];
    let cancel = cx.cancel.clone();
    let engine = base.engine(cx, None, &options.engine)?;
    let answers = ask_directly(engine, &wording.task, asked, setup.seed, &cancel)?;
    let texts: Vec<String> = answers.answers.into_iter().map(|answer| answer.text).collect();
    let rule = programs::infer_rule(&texts, questions);
    dir.save("answer.json", &rule)?;
    Ok(rule)
}

/// A hash of all that the course of a race depends on.
fn identity(setup: &TuneSetup, options: &TuneOptions, entrants: &[contestant::Entrant]) -> String {
    let mut text = format!(
        "{} {} {:?} {} {} {} {} {} {}\n",
        options.minutes,
        options.n_questions,
        options.samples,
        options.finalists,
        options.propose,
        options.no_own_examples,
        options.no_temperatures,
        options.only_given,
        options.keep_all
    );
    for entrant in entrants {
        text += &format!("{} {}\n", entrant.name, entrant.task.to_json());
    }
    for question in &setup.gold {
        text += &(question.to_json_line() + "\n");
    }
    sha256(text.as_bytes())
}

#[cfg(test)]
mod tests;
