//! The stages of a run: each reads what earlier ones left in the directory and adds its own.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::examples::{Divided, divide, example};
use super::{CurateOptions, Run};
use crate::adapter;
use crate::curate::{self, Observer, Sample};
use crate::engine::{Decoder, Engine};
use crate::evaluate::{self, DirectAnswers, Reasoned};
use crate::report::{AdapterFacts, Curation, Decision, Evaluation, Training};
use crate::run::{Journal, sha256};
use crate::task::{Question, Task};
use crate::tensor::Gguf;
use crate::train::model::Model;
use crate::train::{TrainOptions, train};
use crate::vote::Verdict;
use crate::{Cancel, Error, Progress, Result, Stage, Update};

/// Agreement with the pseudo-labels that a direct answer must have to be given without reasoning.
const FALLBACK_AGREEMENT: f64 = 0.95;
/// Examples whose logits are compared with llama.cpp's.
const PARITY_EXAMPLES: usize = 4;

/// What a training stage was made from; another one replaces it.
#[derive(Serialize, Deserialize, PartialEq)]
struct TrainedFrom {
    verdicts: String,
    options: TrainOptions,
}

impl Run {
    /// Samples every training question until its vote is settled. Writes `samples.jsonl`,
    /// `verdicts.jsonl` and `curation.json`.
    pub fn curate(
        &self,
        options: &CurateOptions,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Curation> {
        let task = self.task_with(options)?;
        let (outcomes, seconds) = self.sample(
            "samples.jsonl",
            Stage::Curate,
            &task,
            &self.questions,
            None,
            options,
            progress,
            cancel,
        )?;
        let verdicts: Vec<&Verdict> = outcomes.iter().map(|o| &o.verdict).collect();
        let lines: String = verdicts
            .iter()
            .map(|v| serde_json::to_string(v).map(|line| line + "\n"))
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| Error::Internal(e.to_string()))?;
        let path = self.dir.file("verdicts.jsonl");
        crate::run::write_atomically(&path, |f| f.write_all(lines.as_bytes()))
            .map_err(Error::io("write", &path))?;

        let samples = || outcomes.iter().flat_map(|o| &o.samples);
        let judged: Vec<bool> = self
            .questions
            .iter()
            .zip(&verdicts)
            .filter(|(q, v)| v.kept && !q.gold.is_empty())
            .filter_map(|(q, v)| Some(task.answer.is_correct(v.answer.as_ref()?, &q.gold)))
            .collect();
        let curation = Curation {
            questions: self.questions.len(),
            kept: verdicts.iter().filter(|v| v.kept).count(),
            samples: samples().count(),
            prompt_tokens: samples().map(Sample::prompt_tokens).sum(),
            generated_tokens: samples().map(Sample::generated_tokens).sum(),
            seconds,
            precision: (!judged.is_empty())
                .then(|| judged.iter().filter(|r| **r).count() as f64 / judged.len() as f64),
        };
        self.save("curation.json", &curation)?;
        Ok(curation)
    }

    /// Refuses labels that are not worth training on, unless `force`.
    pub(super) fn check_labels(&self, force: bool) -> Result<()> {
        let verdicts = self.verdicts()?;
        match curate::check_worth(&verdicts.iter().collect::<Vec<_>>()) {
            Err(Error::Refused(_)) if force && verdicts.iter().any(|v| v.kept) => Ok(()),
            result => result,
        }
    }

    /// Samples `questions` with their journal in `journal`; returns the outcomes and all seconds
    /// spent on them, over all invocations.
    #[allow(clippy::too_many_arguments)]
    fn sample(
        &self,
        journal: &str,
        stage: Stage,
        task: &Task,
        questions: &[Question],
        engine: Option<&mut dyn Engine>,
        options: &CurateOptions,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<(Vec<curate::Outcome>, f64)> {
        let (journal, earlier) = Journal::open(self.dir.file(journal))?;
        let seconds_file = format!("{}.seconds", stage_name(stage));
        let before: f64 = self.saved(&seconds_file)?.unwrap_or(0.0);
        let mut watch = Watch { journal, progress, stage, settled: 0, kept: 0, total: questions.len() };
        let begin = Instant::now();
        let result = match engine {
            Some(engine) => {
                curate::curate(engine, task, questions, self.manifest.seed, earlier, &mut watch, cancel)
            }
            None => {
                let mut engine = self.engine(&options.engine, progress)?;
                curate::curate(&mut engine, task, questions, self.manifest.seed, earlier, &mut watch, cancel)
            }
        };
        watch.journal.sync()?;
        let seconds = before + begin.elapsed().as_secs_f64();
        let sampled_nothing = watch.journal_is_untouched();
        if !sampled_nothing {
            self.save(&seconds_file, &seconds)?;
        }
        Ok((result?, if sampled_nothing { before } else { seconds }))
    }

    /// The verdicts on the training questions, in their order.
    fn verdicts(&self) -> Result<Vec<Verdict>> {
        let path = self.dir.file("verdicts.jsonl");
        if !path.exists() {
            return Err(Error::run(self.path(), "holds no verdicts yet; run `secondnature curate` first"));
        }
        let (_, verdicts) = Journal::<Verdict>::open(&path)?;
        if verdicts.len() != self.questions.len() {
            return Err(Error::run(
                self.path(),
                "curation is not finished; run `secondnature curate` to resume it",
            ));
        }
        Ok(verdicts)
    }

    /// Trains the adapter on the kept verdicts, writes `adapter.gguf` and compares it with llama.cpp.
    pub fn train(
        &self,
        options: &TrainOptions,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Training> {
        options.check()?;
        let verdicts = self.verdicts()?;
        let from =
            TrainedFrom { verdicts: sha256(format!("{verdicts:?}").as_bytes()), options: options.clone() };
        let done: Option<TrainedFrom> = self.saved("train/from.json")?;
        if let (Some(training), true, true) = (
            self.saved("training.json")?,
            done.as_ref() == Some(&from),
            self.dir.file("adapter.gguf").exists(),
        ) {
            return Ok(training);
        }
        let divided = divide(&self.questions, &verdicts, options.held_out);
        if divided.learn.is_empty() {
            return Err(Error::Refused("no question was kept, so there is nothing to train on".into()));
        }
        let (learn, held_out) = self.examples(&divided, options, progress)?;
        let gguf = Gguf::open(&self.model)?;
        let model = Model::open(&gguf)?;
        let trained = train(&model, &learn, &held_out, options, &self.dir.file("train"), progress, cancel)?;

        progress.update(&Update {
            stage: Stage::Export,
            done: 0,
            total: 2,
            note: "writing adapter.gguf".into(),
        });
        let path = self.dir.file("adapter.gguf");
        let bytes = adapter::write(
            &path,
            &model,
            &trained.layout,
            &trained.params,
            &self.provenance(&verdicts, &trained.summary),
        )?;
        progress.update(&Update {
            stage: Stage::Export,
            done: 1,
            total: 2,
            note: "comparing with llama.cpp".into(),
        });
        let shown: Vec<_> = held_out.iter().chain(&learn).take(PARITY_EXAMPLES).collect();
        let parity = adapter::verify(
            &self.model,
            &path,
            &model,
            &trained.layout,
            &trained.params,
            &shown,
            options.threads,
        );
        let parity = parity.inspect_err(|_| {
            // An adapter that llama.cpp reads differently must not be picked up by accident.
            let _ = std::fs::rename(&path, self.dir.file("adapter.rejected.gguf"));
        })?;
        let facts = AdapterFacts {
            path: path.display().to_string(),
            bytes,
            rank: options.rank,
            alpha: options.alpha,
            parity_max_abs_diff: parity.max_abs_diff,
            parity_relative_rms: parity.relative_rms,
        };
        self.save("adapter.json", &facts)?;
        self.save("training.json", &trained.summary)?;
        self.save("train/from.json", &from)?;
        let note =
            format!("equal within {:.4} (relative rms {:.4})", parity.max_abs_diff, parity.relative_rms);
        progress.update(&Update { stage: Stage::Export, done: 2, total: 2, note });
        Ok(trained.summary)
    }

    fn examples(
        &self,
        divided: &Divided,
        options: &TrainOptions,
        progress: &dyn Progress,
    ) -> Result<(Vec<crate::train::batch::Example>, Vec<crate::train::batch::Example>)> {
        let engine = super::EngineOptions { threads: options.threads, slots: 1 };
        let engine = self.engine(&engine, progress)?;
        let encode = |pairs: &[(Question, crate::task::Answer)]| {
            pairs
                .iter()
                .map(|(q, a)| example(engine.decoder() as &dyn Decoder, &self.task, q, a))
                .collect::<Result<Vec<_>>>()
        };
        Ok((encode(&divided.learn)?, encode(&divided.held_out)?))
    }

    fn provenance(&self, verdicts: &[Verdict], training: &Training) -> Vec<(&'static str, String)> {
        let m = &self.manifest;
        let kept = verdicts.iter().filter(|v| v.kept).count();
        vec![
            ("version", m.version.clone()),
            ("base.sha256", m.model_sha256.clone()),
            (
                "base.file",
                self.model.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
            ),
            ("task", m.task.clone()),
            ("task.sha256", m.task_sha256.clone()),
            ("task.json", self.task.to_json()),
            ("system1.prompt", self.task.system1.prompt.clone()),
            ("questions", verdicts.len().to_string()),
            ("questions.kept", kept.to_string()),
            ("vote.threshold", self.task.vote.threshold.to_string()),
            ("vote.samples", self.task.vote.samples.to_string()),
            ("seed", m.seed.to_string()),
            ("train.examples", training.examples.to_string()),
            ("train.epochs", format!("{:.2}", training.epochs)),
            ("train.loss", format!("{:.5}", training.loss_last)),
        ]
    }

    /// System 1 and System 2 on held-out questions, before training; kept for [`Run::evaluate`].
    pub fn compare_systems(
        &self,
        eval: &[Question],
        options: &CurateOptions,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Decision> {
        let task = self.task_with(options)?;
        let (one, two) = self.base_answers(eval, &task, options, progress, cancel)?;
        let (system1, system2) = evaluate::compare_systems(&task, eval, &one, &two);
        let settled = two.outcomes.iter().filter(|o| o.verdict.agreement >= task.vote.threshold).count();
        let gold = eval.iter().all(|q| !q.gold.is_empty());
        let figures = format!(
            "on {} held-out questions System 1 is right {:.1}% of the time, the System 2 vote {:.1}%",
            eval.len(),
            100.0 * system1.accuracy,
            100.0 * system2.accuracy
        );
        let (distil, why) = match gold {
            true if system2.accuracy <= system1.accuracy => {
                (false, format!("reasoning does not help: {figures}"))
            }
            true => (true, figures),
            false if settled * 10 < eval.len() => {
                (false, format!("only {settled} of {} held-out questions reach agreement", eval.len()))
            }
            false => (true, format!("{settled} of {} held-out questions reach agreement", eval.len())),
        };
        Ok(Decision { distil, why })
    }

    /// Measures System 1, System 2 and the distilled model on held-out questions. Writes
    /// `evaluation.json`.
    pub fn evaluate(
        &self,
        eval: &[Question],
        options: &CurateOptions,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Evaluation> {
        let task = self.task_with(options)?;
        let adapter = self.dir.file("adapter.gguf");
        if !adapter.exists() {
            return Err(Error::run(self.path(), "holds no adapter yet; run `secondnature train` first"));
        }
        let (one, two) = self.base_answers(eval, &task, options, progress, cancel)?;
        let mut engine = self.engine(&options.engine, progress)?;
        engine.set_adapter(Some(&adapter))?;
        progress.update(&Update { stage: Stage::Evaluate, done: 0, total: 0, note: "distilled".into() });
        let distilled = evaluate::ask_directly(&mut engine, &task, eval, self.manifest.seed, cancel)?;
        self.save("evaluation/distilled.json", &distilled)?;
        let from: Option<TrainedFrom> = self.saved("train/from.json")?;
        let held_out =
            divide(&self.questions, &self.verdicts()?, from.map_or(0.0, |f| f.options.held_out)).held_out;
        let (questions, labels): (Vec<_>, Vec<_>) = held_out.into_iter().unzip();
        let direct = evaluate::ask_directly(&mut engine, &task, &questions, self.manifest.seed, cancel)?;
        let threshold = evaluate::calibrate(&task, &direct, &labels, FALLBACK_AGREEMENT);
        let evaluation = evaluate::evaluate(&task, eval, &one, &two, &distilled, threshold);
        self.save("evaluation.json", &evaluation)?;
        self.save("decision.json", &decide(&evaluation))?;
        Ok(evaluation)
    }

    /// The base model's direct and reasoned answers to `eval`; resumed from `evaluation/` where the
    /// questions are the same.
    fn base_answers(
        &self,
        eval: &[Question],
        task: &Task,
        options: &CurateOptions,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<(DirectAnswers, Reasoned)> {
        let text: String = eval.iter().map(|q| q.to_json_line() + "\n").collect();
        let identity = sha256(format!("{text}{}", task.to_json()).as_bytes());
        let folder = self.dir.file("evaluation");
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        if self.saved::<String>("evaluation/of.json")?.is_none_or(|of| of != identity) {
            for old in ["system1.json", "system2.jsonl", "distilled.json", "of.json"] {
                let _ = std::fs::remove_file(folder.join(old));
            }
            let _ = std::fs::remove_file(self.dir.file("evaluation/system2.seconds"));
            self.save("evaluation/of.json", &identity)?;
        }
        let mut engine = self.engine(&options.engine, progress)?;
        // A vote is measured to its end: giving up on a question that cannot reach the threshold
        // saves work when labels are wanted, but would leave its answer to fewer samples.
        let mut to_the_end = task.clone();
        to_the_end.vote.threshold = f32::MIN_POSITIVE;
        let one = match self.saved("evaluation/system1.json")? {
            Some(one) => one,
            None => {
                progress.update(&Update {
                    stage: Stage::Evaluate,
                    done: 0,
                    total: 0,
                    note: "System 1".into(),
                });
                let one = evaluate::ask_directly(&mut engine, task, eval, self.manifest.seed, cancel)?;
                self.save("evaluation/system1.json", &one)?;
                one
            }
        };
        let (outcomes, seconds) = self.sample(
            "evaluation/system2.jsonl",
            Stage::Evaluate,
            &to_the_end,
            eval,
            Some(&mut engine),
            options,
            progress,
            cancel,
        )?;
        Ok((one, Reasoned { outcomes, seconds }))
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Evaluate => "evaluation/system2",
        _ => "samples",
    }
}

/// Whether distilling paid, from the measured figures.
fn decide(e: &Evaluation) -> Decision {
    let distil = e.distilled.accuracy > e.system1.accuracy;
    let times = e.system2.tokens_per_sample.unwrap_or(0.0) / e.distilled.tokens_per_answer.max(1e-9);
    let why = format!(
        "direct answers went from {:.1}% to {:.1}% (System 2 vote: {:.1}%) at 1/{times:.1} of the tokens of one reasoned sample, McNemar p = {:.2e}",
        100.0 * e.system1.accuracy,
        100.0 * e.distilled.accuracy,
        100.0 * e.system2.accuracy,
        e.mcnemar_p
    );
    Decision { distil, why }
}

/// Keeps samples and tells progress.
struct Watch<'a> {
    journal: Journal<Sample>,
    progress: &'a dyn Progress,
    stage: Stage,
    settled: usize,
    kept: usize,
    total: usize,
}

impl Watch<'_> {
    fn journal_is_untouched(&self) -> bool {
        self.journal.appended() == 0
    }

    fn tell(&self) {
        let note = match self.stage {
            Stage::Evaluate => format!("System 2, {} samples", self.journal.appended()),
            _ => format!("{} kept, {} samples", self.kept, self.journal.appended()),
        };
        self.progress.update(&Update {
            stage: self.stage,
            done: self.settled as u64,
            total: self.total as u64,
            note,
        });
    }
}

impl Observer for Watch<'_> {
    fn sample(&mut self, sample: &Sample) -> Result<()> {
        self.journal.append(sample)?;
        self.tell();
        Ok(())
    }

    fn settled(&mut self, verdict: &Verdict) -> Result<()> {
        self.settled += 1;
        self.kept += usize::from(verdict.kept);
        self.journal.sync()?;
        self.tell();
        Ok(())
    }
}
