//! The last stage: System 1, System 2 and the distilled model on held-out questions.

use std::path::Path;

use super::curation::CurationJob;
use super::{Context, CurateOptions, Run};
use crate::evaluate::{self, Acceptance, DirectAnswers, Reasoned};
use crate::evaluate::{Decision, Evaluation};
use crate::fs::sha256;
use crate::gguf::Gguf;
use crate::task::{Question, Task};
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
    /// `evaluation.json`. `adapter` is the run's own, or another one of the same model. Where a
    /// caller's engine cannot apply adapters, the distilled model is measured on the library's own.
    pub fn evaluate(
        &mut self,
        eval: &[Question],
        adapter: Option<&Path>,
        options: &CurateOptions,
        cx: &mut Context,
    ) -> Result<Evaluation> {
        self.check_callers_engine(cx)?;
        if eval.is_empty() {
            return Err(Error::input("questions", "there is no question; expected at least one"));
        }
        let task = self.task_with(options)?;
        let own = self.dir.file("adapter.gguf");
        if adapter.is_none() && !own.exists() {
            return Err(Error::run(self.path(), "holds no adapter yet").hint(Hint::RunStage(Stage::Train)));
        }
        let adapter = adapter.unwrap_or(&own);
        let gguf = Gguf::open(adapter)?;
        let (one, two) = self.base_answers(eval, &task, options, cx)?;
        let (progress, cancel) = (cx.progress, cx.cancel.clone());
        let engine = self.base.engine(cx, Some(adapter), &options.engine)?;
        progress.update(&Update { stage: Stage::Evaluate, done: 0, total: 0, note: "distilled".into() });
        let mut distilled = evaluate::ask_directly(engine, &task, eval, self.manifest.seed, &cancel)?;
        distilled.perturbed = evaluate::ask_perturbed(engine, &task, eval, self.manifest.seed, &cancel)?;
        self.dir.save("evaluation/distilled.json", &distilled)?;
        let threshold = crate::model::fallback_threshold(&gguf);
        let evaluation = evaluate::evaluate(&task, eval, &one, &two, &distilled, threshold);
        self.dir.save("evaluation.json", &evaluation)?;
        let training = self.dir.saved("training.json")?.unwrap_or_default();
        self.dir.save("decision.json", &evaluate::was_worth_it(&task, &evaluation, &training))?;
        Ok(evaluation)
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
                let (progress, cancel) = (cx.progress, cx.cancel.clone());
                let engine = self.base.engine(cx, None, &options.engine)?;
                let note = "System 1".into();
                progress.update(&Update { stage: Stage::Evaluate, done: 0, total: 0, note });
                let mut one = evaluate::ask_directly(engine, task, eval, self.manifest.seed, &cancel)?;
                one.perturbed = evaluate::ask_perturbed(engine, task, eval, self.manifest.seed, &cancel)?;
                self.dir.save("evaluation/system1.json", &one)?;
                one
            }
        };
        // A vote is measured to its end: giving up on a question that cannot reach the threshold
        // saves work when labels are wanted, but would leave its answer to fewer samples. Nor is a
        // question given up that a perturbation loses: how many those are is to be measured.
        let mut to_the_end = task.clone();
        to_the_end.vote.threshold = f32::MIN_POSITIVE;
        to_the_end.vote.early_abandon = false;
        let job = CurationJob {
            stage: Stage::Evaluate,
            journal: "evaluation/system2.jsonl",
            selections: "evaluation/selections.jsonl",
            seconds: "evaluation/system2.seconds",
            task: &to_the_end,
            questions: eval,
            seed: self.manifest.seed,
            verifier: self.verifier.as_deref(),
        };
        let (outcomes, seconds) = job.run(&self.dir, &mut self.base, options, cx)?;
        Ok((one, Reasoned { outcomes, seconds }))
    }

    /// Forgets what `evaluation/` holds if it answers other questions, or another task, or was checked
    /// by a verifier where there is none, or the reverse.
    fn keep_answers_of(&self, eval: &[Question], task: &Task) -> Result<()> {
        let text: String = eval.iter().map(|q| q.to_json_line() + "\n").collect();
        let checked = if self.verifier.is_some() { "\nverifier" } else { "" };
        let identity = sha256(format!("{text}{}{checked}", task.to_json()).as_bytes());
        let folder = self.dir.file("evaluation");
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        if self.dir.saved::<String>("evaluation/of.json")?.is_none_or(|of| of != identity) {
            let answers = ["system1.json", "system2.jsonl", "selections.jsonl", "system2.seconds"];
            for old in answers.into_iter().chain(["distilled.json", "of.json"]) {
                let _ = std::fs::remove_file(folder.join(old));
            }
            self.dir.save("evaluation/of.json", &identity)?;
        }
        Ok(())
    }
}
