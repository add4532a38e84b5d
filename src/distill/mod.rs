//! The pipeline: from questions to an adapter and a report.
//!
//! [`Run`] is a run directory with its stages as methods; [`distill`] calls them in order. A stage
//! writes what it finishes into the directory, so repeating the same call resumes it, and a finished
//! stage returns what it found without loading a model. [`Context`] says which engine a call uses, where
//! it reports progress and how it is cancelled.
//!
//! | file in the run directory | written by | contents |
//! | --- | --- | --- |
//! | `run.json` | [`Run::create`] | model, task, questions, seed and date, by which a run is recognized |
//! | `task.json`, `questions.jsonl` | [`Run::create`] | the task and the training questions |
//! | `samples.jsonl`, `selections.jsonl`, `equivalences.jsonl` | [`Run::curate`] | every sample, selection and judgement, appended and synced |
//! | `verdicts.jsonl`, `curation.json` | [`Run::curate`] | the votes, and the figures of the stage |
//! | `findings.json` | [`Run::curate`] | what the first questions show to be wrong with the task |
//! | `decision.json` | [`Run::decide`], [`Run::evaluate`] | whether distilling is worthwhile |
//! | `train/` | [`Run::train`] | examples, replayed answers, the checkpoint, and `inputs.json`: what the adapter was made from |
//! | `adapter.gguf`, `adapter.json`, `training.json` | [`Run::train`] | the verified adapter and the figures of the stage; `adapter.previous.gguf` is the one that it replaced |
//! | `evaluation/`, `evaluation.json` | [`Run::evaluate`] | answers to the held-out questions, and the figures |
//! | `tune/` | [`tune_and_distill`] | the race that chose the task, see [`tune`](mod@crate::tune) |
//! | `report.json` | [`Run::write_report`] | all figures together |

mod curation;
mod evaluation;
mod examples;
mod first_look;
mod options;
mod reporting;
mod training;
mod tuned;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use examples::read_examples;
pub use options::{CurateOptions, DataMix, EarlyStopping};
use training::ADAPTER;
pub use tuned::tune_and_distill;

use crate::context::{Context, EngineCache, check_callers_engine};
use crate::curate::{Curation, Verifier};
use crate::evaluate::Acceptance;
use crate::evaluate::Decision;
use crate::fs::{sha256, sha256_files, sha256_of};
use crate::gguf::Gguf;
use crate::model::spec::Spec;
use crate::report::Report;
use crate::run::{Journal, Manifest, RunDir, read_manifest, today};
use crate::task::{Question, Task, check_gold, read_questions, shared_question};
use crate::train::TrainOptions;
use crate::vote::Verdict;
use crate::{Error, Hint, Result, Stage};

/// What a run is about.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The base model, a GGUF file.
    pub model: PathBuf,
    /// The task.
    pub task: Task,
    /// Questions to learn from; gold answers in them only measure the labels.
    pub questions: Vec<Question>,
    /// The run directory; made if it does not exist, resumed if it is of the same run.
    pub out: PathBuf,
    /// Seed of all sampling.
    pub seed: u64,
}

/// How to run the whole pipeline.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Sampling and voting, on training and held-out questions alike.
    pub curate: CurateOptions,
    /// Training.
    pub train: TrainOptions,
    /// What is trained on besides the answers.
    pub data: DataMix,
    /// How many questions must be accepted.
    pub acceptance: Acceptance,
    /// Who checks each sampled answer, if anybody does.
    pub verifier: Option<Arc<dyn Verifier>>,
    /// Go on where distilling does not look worthwhile, and where the first questions show that the task
    /// cannot work.
    pub force: bool,
}

/// An open run directory.
#[derive(Debug)]
pub struct Run {
    dir: RunDir,
    manifest: Manifest,
    base: EngineCache,
    /// What curation found, once it was computed or read.
    verdicts: Option<Arc<[Verdict]>>,
    curation: Option<Curation>,
    /// Who checks each sampled answer, in curation and evaluation alike; set before the first sample.
    /// The directory remembers that there is one, not which: a run is resumed with the same one,
    /// and is refused without any. Training needs none.
    pub verifier: Option<Arc<dyn Verifier>>,
    /// The task.
    pub task: Task,
    /// The training questions.
    pub questions: Vec<Question>,
}

impl Run {
    /// Makes the run directory of `setup`, or opens it to resume.
    ///
    /// # Errors
    /// For an unusable model, before anything is written; [`Error::Run`] where the directory
    /// belongs to another run.
    pub fn create(setup: &Setup, cx: &mut Context) -> Result<Run> {
        if setup.questions.is_empty() {
            return Err(Error::field("questions", "there is no question; expected at least one"));
        }
        // Absolute, so that later stages find it from whichever directory they are run in.
        let model = std::path::absolute(&setup.model).map_err(Error::io("find", &setup.model))?;
        let gguf = Gguf::open(&model)?;
        Spec::of(&gguf)?;
        check_callers_engine(cx, &gguf)?;
        let task_json = setup.task.to_json();
        let manifest = Manifest {
            version: env!("CARGO_PKG_VERSION").into(),
            model: model.display().to_string(),
            model_sha256: sha256_files(gguf.files(), &cx.cancel)?,
            task: setup.task.name.clone(),
            task_sha256: recorded_hash(&setup.out, &setup.task)
                .unwrap_or_else(|| sha256(task_json.as_bytes())),
            questions_sha256: sha256_of(json_lines(&setup.questions)),
            seed: setup.seed,
            verifier: false,
            date: Some(tuned::date_of_race(&setup.out).unwrap_or_else(today)),
        };
        let dir = RunDir::open(&setup.out, &manifest)?;
        // An older directory keeps what it began with.
        let Manifest { verifier, date, .. } = read_manifest(&setup.out)?;
        let manifest = Manifest { verifier, date, ..manifest };
        dir.write("task.json", task_json.as_bytes())?;
        dir.write_all("questions.jsonl", json_lines(&setup.questions))?;
        Run::new(dir, manifest, gguf, setup.task.clone(), setup.questions.clone())
    }

    /// Opens an existing run directory. `model` overrides where the model is, if it has moved; its
    /// contents must be the same.
    pub fn open(out: &Path, model: Option<&Path>, cx: &mut Context) -> Result<Run> {
        let manifest = existing_manifest(out)?;
        let model = model.map_or_else(|| PathBuf::from(&manifest.model), Path::to_path_buf);
        let gguf = Gguf::open(&model)?;
        check_callers_engine(cx, &gguf)?;
        let found = sha256_files(gguf.files(), &cx.cancel)?;
        if found != manifest.model_sha256 {
            return Err(Error::run(
                out,
                format!("was made with another model than {} now is", model.display()),
            ));
        }
        let dir = RunDir::open(out, &manifest)?;
        let task = Task::load(&dir.file("task.json").display().to_string())?;
        let questions = read_questions(&dir.file("questions.jsonl"))?;
        Run::new(dir, manifest, gguf, task, questions)
    }

    fn new(
        dir: RunDir,
        mut manifest: Manifest,
        gguf: Gguf,
        task: Task,
        questions: Vec<Question>,
    ) -> Result<Run> {
        if manifest.date.is_none() {
            manifest.date = Some(dir.date_of_manifest()?);
            dir.amend(&manifest)?;
        }
        let base = EngineCache::new(gguf, manifest.date.as_deref());
        let (verdicts, curation) = (None, None);
        Ok(Run { dir, manifest, base, verdicts, curation, verifier: None, task, questions })
    }

    /// The base model's file.
    pub fn model(&self) -> &Path {
        self.base.path()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Whether distilling looks worthwhile: by the labels, and where `eval` holds questions also by
    /// System 1 and System 2 on these, whose answers are kept for [`Run::evaluate`]. Writes
    /// `decision.json`, unless the adapter was evaluated already, which decided then.
    ///
    /// # Errors
    /// [`Error::Run`] before curation is finished; [`Error::Input`] where a question of `eval` is a
    /// training question, or has a gold answer that the answer rule cannot read.
    pub fn decide(
        &mut self,
        eval: &[Question],
        acceptance: &Acceptance,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<Decision> {
        self.check_callers_engine(cx)?;
        check_eval(&self.questions, eval, &self.task)?;
        let mut decision = self.decide_by_labels(acceptance)?;
        if !eval.is_empty() && self.verdicts()?.iter().any(|verdict| verdict.kept) {
            decision = decision.and(self.compare_systems(eval, acceptance, options, cx)?);
        }
        // What an evaluation of the adapter decided stands.
        if !self.dir.file("evaluation.json").exists() {
            self.dir.save("decision.json", &decision)?;
        }
        Ok(decision)
    }

    /// The finished adapter, if there is one.
    pub fn adapter(&self) -> Option<PathBuf> {
        finished_adapter(self.path())
    }

    fn check_callers_engine(&self, cx: &Context) -> Result<()> {
        check_callers_engine(cx, self.base.gguf())
    }

    /// Refuses a verifier where the samples so far were taken without one, and the reverse, since labels
    /// from both would be neither checked nor unchecked. Where there are no samples yet, records it.
    fn agree_on_verifier(&mut self) -> Result<()> {
        let now = self.verifier.is_some();
        if now == self.manifest.verifier {
            return Ok(());
        }
        let sampled = std::fs::metadata(self.dir.file("samples.jsonl")).is_ok_and(|file| file.len() > 0);
        if sampled {
            let (was, fix) = match now {
                true => ("without a verifier, so its samples are unchecked", "resume it without one"),
                false => (
                    "with a verifier, which further samples need as well",
                    "set the same verifier, which an application has and the program has not",
                ),
            };
            let reason = format!("was begun {was}: {fix}");
            return Err(Error::run(self.path(), reason).hint(Hint::other_directory()));
        }
        self.manifest.verifier = now;
        self.dir.amend(&self.manifest)
    }

    /// The task with the caller's own samples and threshold.
    fn task_with(&self, options: &CurateOptions) -> Result<Task> {
        options.check()?;
        options.engine.check()?;
        let mut task = self.task.clone();
        if let Some(samples) = options.samples {
            task.vote.samples = samples;
            task.vote.min_samples = task.vote.min_samples.min(samples);
        }
        if let Some(threshold) = options.threshold {
            task.vote.threshold = threshold;
        }
        if !options.early_stopping.converged {
            task.vote.confidence = 1.0;
        }
        task.vote.early_abandon &= options.early_stopping.abandon;
        Ok(task)
    }
}

/// Runs the whole pipeline: sample and vote, check that System 2 beats System 1, train, write and
/// verify the adapter, measure. `eval` are held-out questions; without any, nothing is measured.
///
/// # Errors
/// Those of the stages; [`Error::Refused`] where distilling does not look worthwhile and
/// `options.force` is not set; [`Error::Input`] for a caller's engine that does not belong to the
/// model. Whatever finished is kept, and repeating the call resumes.
pub fn distill(setup: &Setup, eval: &[Question], options: &Options, cx: &mut Context) -> Result<Report> {
    options.curate.check()?;
    options.curate.engine.check()?;
    options.train.check()?;
    options.data.check()?;
    options.acceptance.check()?;
    check_eval(&setup.questions, eval, &setup.task)?;
    check_gold(&setup.task.answer, &setup.questions, "questions")?;
    let mut run = Run::create(setup, cx)?;
    run.check_data(&options.data, &options.train)?;
    run.verifier = options.verifier.clone();
    let curate = CurateOptions { force: options.curate.force || options.force, ..options.curate };
    let kept = run.curate(&curate, cx)?.kept;
    let decision = run.decide(eval, &options.acceptance, &options.curate, cx)?;
    if !decision.distill && (!options.force || kept == 0) {
        run.write_report()?;
        let refused = Error::refused(decision.refusal());
        return Err(if kept == 0 { refused } else { refused.hint(Hint::Force) });
    }
    run.train(&options.train, &options.data, cx)?;
    if !eval.is_empty() {
        run.evaluate(eval, None, &options.curate, cx)?;
    } else {
        let unmeasured = "without held-out questions nothing was measured";
        let why = format!("{}, but {unmeasured}", decision.why);
        run.dir.save("decision.json", &Decision { why, ..decision })?;
    }
    run.write_report()
}

/// The adapter in the run directory `out`, once it is written, verified and calibrated.
pub fn finished_adapter(out: &Path) -> Option<PathBuf> {
    let adapter = out.join(ADAPTER);
    let recorded = training::is_recorded(out);
    (recorded && adapter.exists()).then_some(adapter)
}

/// The hash under which the run directory `out` knows `task`, if it is about that task: other versions
/// may have written the same task in other words.
fn recorded_hash(out: &Path, task: &Task) -> Option<String> {
    let recorded = read_manifest(out).ok()?.task_sha256;
    let theirs = Task::load(out.join("task.json").to_str()?).ok()?;
    (theirs.to_json() == task.to_json()).then_some(recorded)
}

/// The manifest of an existing run directory.
fn existing_manifest(out: &Path) -> Result<Manifest> {
    if !out.join("run.json").exists() {
        return Err(Error::run(out, "is not a run directory (no run.json in it)").hint(Hint::StartRun));
    }
    read_manifest(out)
}

/// The verdicts in the run directory `out`, which has `questions` training questions.
fn read_verdicts(out: &Path, questions: usize) -> Result<Vec<Verdict>> {
    let path = out.join("verdicts.jsonl");
    let unfinished = |reason: &str| Err(Error::run(out, reason).hint(Hint::RunStage(Stage::Curate)));
    if !path.exists() {
        return unfinished("holds no verdicts yet");
    }
    let verdicts = Journal::<Verdict>::read(&path)?.collect::<Result<Vec<_>>>()?;
    match verdicts.len() == questions {
        true => Ok(verdicts),
        false => unfinished("curation is not finished"),
    }
}

/// The lines of `questions.jsonl`.
fn json_lines(questions: &[Question]) -> impl Iterator<Item = String> {
    questions.iter().map(|question| question.to_json_line() + "\n")
}

/// Held-out questions must not be training questions, and their gold answers are such that `task` reads them.
fn check_eval(train: &[Question], eval: &[Question], task: &Task) -> Result<()> {
    refuse_shared_questions(train, eval)?;
    check_gold(&task.answer, eval, "eval")
}

/// Held-out questions must not be training questions.
fn refuse_shared_questions(train: &[Question], eval: &[Question]) -> Result<()> {
    match shared_question(train, eval) {
        None => Ok(()),
        Some(q) => Err(Error::field(
            "eval",
            format!(
                "question \"{}\" is also among the training questions; held-out questions must be others",
                q.id
            ),
        )),
    }
}

#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod survival_tests;
#[cfg(test)]
mod tuned_tests;
#[cfg(test)]
mod verifier_tests;
