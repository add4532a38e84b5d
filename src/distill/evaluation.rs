//! The last stage: System 1, System 2 and the distilled model, measured on held-out questions.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::curation::{CurationJob, Sampled};
use super::{CurateOptions, Run, check_eval, json_lines};
use crate::context::Context;
use crate::evaluate::{self, Acceptance, DirectAnswers, Reasoned};
use crate::evaluate::{Decision, Evaluation};
use crate::fs::{sha256_files, sha256_of};
use crate::gguf::Gguf;
use crate::task::{Question, Task};
use crate::vote::NO_THRESHOLD;
use crate::{Error, Hint, Result, Stage, Update};

impl Run {
    /// System 1 and System 2 on held-out questions, before training; kept for [`Run::evaluate`].
    pub(super) fn compare_systems(
        &mut self,
        eval: &[Question],
        acceptance: &Acceptance,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<Decision> {
        let task = self.task_with(options)?;
        let (one, two) = self.base_answers(eval, &task, options, cx)?;
        Ok(evaluate::worth_trying(acceptance, &task, eval, &one, &two))
    }

    /// Measures System 1, System 2 and the distilled model on held-out questions. Writes
    /// `evaluation.json` and `decision.json`. `adapter` is another adapter of the same model to measure
    /// in place of the run's own; its figures are returned and kept in `evaluation/`, and the run's
    /// report stays as it is. Answers that an earlier call got are not asked for again. Where a caller's
    /// engine cannot apply adapters, the distilled model is measured on the library's own.
    pub fn evaluate(
        &mut self,
        eval: &[Question],
        adapter: Option<&Path>,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<Evaluation> {
        self.check_callers_engine(cx)?;
        if eval.is_empty() {
            return Err(Error::field("questions", "there is no question; expected at least one"));
        }
        check_eval(&self.questions, eval, &self.task)?;
        let task = self.task_with(options)?;
        let measured = self.adapter_to_measure(adapter, cx)?;
        let threshold = crate::model::fallback_threshold(&Gguf::open(&measured.path)?);
        let (one, two) = self.base_answers(eval, &task, options, cx)?;
        let distilled = self.distilled_answers(eval, &task, &measured, options, cx)?;
        let mut evaluation = evaluate::evaluate(&task, eval, &one, &two, &distilled, threshold);
        let training = self.dir.saved("training.json")?.unwrap_or_default();
        let decision = evaluate::was_worth_it(&task, &evaluation, &training);
        evaluation.worthwhile = decision.distill;
        self.dir.save(&measured.evaluation, &evaluation)?;
        if measured.own {
            self.dir.save("decision.json", &decision)?;
        }
        Ok(evaluation)
    }

    /// The run's finished adapter, or the one at `other`, and where its figures belong: those of another
    /// adapter must not stand in for the run's own.
    fn adapter_to_measure(&self, other: Option<&Path>, cx: &Context) -> Result<MeasuredAdapter> {
        let own = self.adapter();
        let canonical = |path: &Path| path.canonicalize().ok();
        let other = other.filter(|path| {
            let own = own.as_deref().and_then(canonical);
            own.is_none() || canonical(path) != own
        });
        let path = match (other, own) {
            (Some(path), _) => path.to_path_buf(),
            (None, Some(own)) => own,
            (None, None) => {
                return Err(Error::run(self.path(), "holds no finished adapter yet")
                    .hint(Hint::RunStage(Stage::Train)));
            }
        };
        let sha256 = sha256_files(std::slice::from_ref(&path), &cx.cancel)?;
        let name = format!("{OTHER_ADAPTER}{}", &sha256[..16]);
        let (answers, evaluation) = match other {
            None => ("evaluation/distilled.json".to_string(), "evaluation.json".to_string()),
            Some(_) => (format!("evaluation/{name}.answers.json"), format!("evaluation/{name}.json")),
        };
        Ok(MeasuredAdapter { path, sha256, own: other.is_none(), answers, evaluation })
    }

    /// The direct answers to `eval` with an adapter; asked only where they are not there already.
    fn distilled_answers(
        &mut self,
        eval: &[Question],
        task: &Task,
        adapter: &MeasuredAdapter,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<DirectAnswers> {
        if let Some(earlier) = self.dir.saved::<AdapterAnswers>(&adapter.answers)?
            && earlier.adapter.as_ref() == Some(&adapter.sha256)
        {
            return Ok(earlier.answers);
        }
        let answers = self.ask_directly(eval, task, Some(&adapter.path), "distilled", options, cx)?;
        let answers = AdapterAnswers { adapter: Some(adapter.sha256.clone()), answers };
        self.dir.save(&adapter.answers, &answers)?;
        Ok(answers.answers)
    }

    /// The direct answers to `eval` and to its perturbed variants.
    fn ask_directly(
        &mut self,
        eval: &[Question],
        task: &Task,
        adapter: Option<&Path>,
        note: &str,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<DirectAnswers> {
        let (progress, cancel, seed) = (cx.progress, cx.cancel.clone(), self.manifest.seed);
        let engine = self.base.engine(cx, adapter, &options.engine)?;
        progress.update(&Update { stage: Stage::Evaluate, done: 0, total: 0, note: note.into() });
        let mut answers = evaluate::ask_directly(engine, task, eval, seed, &cancel)?;
        answers.perturbed = evaluate::ask_perturbed(engine, task, eval, seed, &cancel)?;
        Ok(answers)
    }

    /// The base model's direct and reasoned answers to `eval`; resumed from `evaluation/` where the
    /// questions are the same.
    fn base_answers(
        &mut self,
        eval: &[Question],
        task: &Task,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<(DirectAnswers, Reasoned)> {
        self.agree_on_verifier()?;
        self.keep_answers_of(eval, task)?;
        let one = match self.dir.saved("evaluation/system1.json")? {
            Some(one) => one,
            None => {
                let one = self.ask_directly(eval, task, None, "System 1", options, cx)?;
                self.dir.save("evaluation/system1.json", &one)?;
                one
            }
        };
        let to_the_end = measured_to_the_end(task);
        let job = CurationJob {
            stage: Stage::Evaluate,
            journal: "evaluation/system2.jsonl",
            selections: "evaluation/selections.jsonl",
            equivalences: "evaluation/equivalences.jsonl",
            seconds: "evaluation/system2.seconds",
            task: &to_the_end,
            questions: eval,
            seed: self.manifest.seed,
            verifier: self.verifier.as_deref(),
        };
        let Sampled { outcomes, seconds, .. } = job.run(&self.dir, &mut self.base, options, cx)?;
        Ok((one, Reasoned { outcomes, seconds }))
    }

    /// Removes the answers in `evaluation/` if they are to other questions or another task, or were checked
    /// by a verifier where there is none now, or the reverse.
    fn keep_answers_of(&self, eval: &[Question], task: &Task) -> Result<()> {
        let checked = if self.verifier.is_some() { "\nverifier" } else { "" };
        let identity = sha256_of(json_lines(eval).chain([task.to_json(), checked.into()]));
        let folder = self.dir.file("evaluation");
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        if self.dir.saved::<String>("evaluation/of.json")?.is_none_or(|of| of != identity) {
            let answers = ["system1.json", "system2.jsonl", "selections.jsonl", "equivalences.jsonl"];
            for old in answers.into_iter().chain(["system2.seconds", "distilled.json", "of.json"]) {
                let _ = std::fs::remove_file(folder.join(old));
            }
            let entries = std::fs::read_dir(&folder).map_err(Error::io("read directory", &folder))?;
            for entry in entries.flatten() {
                if entry.file_name().to_string_lossy().starts_with(OTHER_ADAPTER) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
            self.dir.save("evaluation/of.json", &identity)?;
        }
        Ok(())
    }
}

/// How the files of other adapters than the run's own are named in `evaluation/`.
const OTHER_ADAPTER: &str = "adapter-";

/// An adapter, and where its answers and figures are kept.
struct MeasuredAdapter {
    path: PathBuf,
    sha256: String,
    /// It is the run's own.
    own: bool,
    answers: String,
    evaluation: String,
}

/// The direct answers of an adapter, with the hash of its file.
#[derive(Serialize, Deserialize)]
struct AdapterAnswers {
    /// Earlier versions did not record it.
    #[serde(default)]
    adapter: Option<String>,
    #[serde(flatten)]
    answers: DirectAnswers,
}

/// `task` with votes that are held to their end.
///
/// To stop at a question that cannot reach the threshold saves work when labels are wanted, but leaves
/// its answer to fewer samples, which would make the vote look worse than it is. Nor is a question
/// abandoned that a perturbation rejects: how many those are is to be measured.
fn measured_to_the_end(task: &Task) -> Task {
    let mut task = task.clone();
    task.vote.threshold = NO_THRESHOLD;
    task.vote.early_abandon = false;
    task
}
