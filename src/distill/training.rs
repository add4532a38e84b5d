//! The second stage: an adapter trained on the accepted answers, checked against llama.cpp, and the
//! confidence from which its direct answers can be trusted.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::examples::{LabelSplit, Labelled, example, replayed, split_labels};
use super::{DataMix, Run, read_verdicts};
use crate::adapter::{self, AdapterFacts};
use crate::context::{Context, decoder_of};
use crate::engine::Engine;
use crate::evaluate;
use crate::fs::{sha256, sha256_files};
use crate::model::spec::Spec;
use crate::run::Journal;
use crate::task::{Question, Task, read_questions};
use crate::train::batch::Example;
use crate::train::model::Transformer;
use crate::train::{TrainOptions, Trained, Training, layout, train};
use crate::{Cancel, Error, Progress, Result, Stage, Update};

/// Share of direct answers that must agree with the voted ones above the calibrated confidence.
const FALLBACK_AGREEMENT: f64 = 0.95;
/// Examples whose logits are compared with llama.cpp's.
const PARITY_EXAMPLES: usize = 4;
/// Progress units of the export.
const EXPORT_STEPS: u64 = 3;

/// The finished adapter of a run directory.
pub(super) const ADAPTER: &str = "adapter.gguf";
/// The adapter before it was compared with llama.cpp.
const UNVERIFIED: &str = "adapter.unverified.gguf";
/// The adapter that training with other options or labels replaced.
const PREVIOUS: &str = "adapter.previous.gguf";
/// An adapter that llama.cpp computes differently.
const REJECTED: &str = "adapter.rejected.gguf";
/// What the finished adapter was made from. Written last, so that it marks the stage as finished.
const INPUTS: &str = "train/inputs.json";
/// The same as earlier versions wrote it.
const OLD_INPUTS: &str = "train/from.json";
const REPLAY: &str = "train/replay.jsonl";

/// Everything that determines the adapter, short of the run's manifest.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct TrainingInputs {
    /// Without the options that change nothing in the adapter file.
    options: TrainOptions,
    /// Hash of the run's verdicts.
    verdicts: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init_adapter: Option<String>,
    /// Hashes of other runs: of task, questions and verdicts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extra_runs: Vec<String>,
    /// Hash of the replayed prompts and their share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replay: Option<String>,
}

/// What versions before `train/inputs.json` recorded.
#[derive(Deserialize)]
struct OldInputs {
    options: TrainOptions,
    /// Hash of the tokenized examples and of the initial parameters.
    examples: String,
}

/// The accepted answers of one run, split into those to train on and those held out.
struct LabelSource {
    task: Task,
    split: LabelSplit,
    /// Hash of task, questions and verdicts.
    id: String,
}

/// Everything that is trained on, as tokens.
struct TrainingSet {
    train: Vec<Example>,
    held_out: Vec<Example>,
    /// The run's own held-out questions, to calibrate on.
    calibration: Vec<Labelled>,
    /// The tasks of other runs in it.
    extra_tasks: Vec<String>,
}

impl Run {
    /// Trains the adapter on the accepted answers, writes `adapter.gguf`, compares it with llama.cpp,
    /// and finds the confidence from which its direct answers can be trusted. A finished adapter with
    /// the same inputs is left as it is, and no model is loaded to find that out. With other options or
    /// labels training starts anew, and the adapter that was there is kept as `adapter.previous.gguf`.
    ///
    /// A caller's engine tokenizes the examples, answers the replayed prompts and, where it can apply
    /// the adapter, calibrates.
    ///
    /// # Errors
    /// [`Error::Run`] before curation is finished; [`Error::Refused`] where no question was accepted;
    /// [`Error::Unsupported`] for a caller's engine without a decoder; [`Error::Parity`] where
    /// llama.cpp computes something else with the adapter; those of training.
    pub fn train(&mut self, options: &TrainOptions, data: &DataMix, cx: &mut Context) -> Result<Training> {
        self.check_callers_engine(cx)?;
        options.check()?;
        data.check()?;
        let sources = self.sources(options, data)?;
        let inputs = training_inputs(options, data, &sources, &cx.cancel)?;
        if let Some(training) = self.finished_training(&inputs)? {
            return Ok(training);
        }
        let set = self.prepare(sources, options, data, cx)?;
        let model = Transformer::open(self.base.gguf())?;
        let init = match &data.init_adapter {
            None => None,
            Some(path) => {
                let layout = layout(&model, options)?;
                let fresh = layout.init(&model.spec, options.seed);
                Some(adapter::read(path, &model.spec)?.arranged(&layout, fresh)?)
            }
        };
        if let Some(training) = self.finished_by_old_version(&inputs, &set, &init)? {
            return Ok(training);
        }
        let trained = self.fit(&model, &set, init, options, cx)?;
        self.export(&model, &set, trained, options, &inputs, cx)
    }

    /// That the files in `data` serve this run, before hours are spent on sampling.
    pub(super) fn check_data(&self, data: &DataMix, options: &TrainOptions) -> Result<()> {
        if let Some(path) = &data.init_adapter {
            adapter::read(path, &Spec::of(self.base.gguf())?)?;
        }
        data.extra_runs.iter().try_for_each(|dir| self.other_source(dir, options).map(drop))
    }

    /// The run's own accepted answers, and those of `data.extra_runs`.
    fn sources(&mut self, options: &TrainOptions, data: &DataMix) -> Result<Vec<LabelSource>> {
        let verdicts = self.verdicts()?;
        let split = split_labels(&self.task, &self.questions, &verdicts, options.held_out)?;
        if split.train.is_empty() {
            return Err(Error::refused("no question was kept, so there is nothing to train on"));
        }
        let mut sources = vec![LabelSource { task: self.task.clone(), split, id: hash_json(&*verdicts)? }];
        for dir in &data.extra_runs {
            sources.push(self.other_source(dir, options)?);
        }
        Ok(sources)
    }

    /// The accepted answers of another run directory, which is read without a lock: its files are
    /// replaced as a whole.
    fn other_source(&self, dir: &Path, options: &TrainOptions) -> Result<LabelSource> {
        let same =
            |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if same(dir, self.path()) {
            let reason = format!("{} is the run itself, whose answers are trained on anyway", dir.display());
            return Err(Error::field("extra_runs", reason));
        }
        let manifest = super::existing_manifest(dir)?;
        if manifest.model_sha256 != self.manifest.model_sha256 {
            return Err(Error::run(
                dir,
                format!("was made with another model ({}) than {}", manifest.model, self.path().display()),
            ));
        }
        let task = Task::load(&dir.join("task.json").display().to_string())?;
        let questions = read_questions(&dir.join("questions.jsonl"))?;
        let verdicts = read_verdicts(dir, questions.len())?;
        let id = hash_json(&(&manifest.task_sha256, &manifest.questions_sha256, &verdicts))?;
        let split = split_labels(&task, &questions, &verdicts, options.held_out)?;
        Ok(LabelSource { task, split, id })
    }

    /// What training found, where it is finished and was made from the same `inputs`.
    fn finished_training(&self, inputs: &TrainingInputs) -> Result<Option<Training>> {
        // A damaged record only means that the adapter is made again.
        let done: Option<TrainingInputs> = self.dir.saved(INPUTS).unwrap_or_default();
        match self.dir.file(ADAPTER).exists() && done.as_ref() == Some(inputs) {
            true => self.dir.saved("training.json"),
            false => Ok(None),
        }
    }

    /// The same where an earlier version finished it, which recorded the examples only as tokens.
    fn finished_by_old_version(
        &self,
        inputs: &TrainingInputs,
        set: &TrainingSet,
        init: &Option<Vec<f32>>,
    ) -> Result<Option<Training>> {
        let old: Option<OldInputs> = self.dir.saved(OLD_INPUTS).unwrap_or_default();
        let Some(old) = old.filter(|_| self.dir.file(ADAPTER).exists()) else { return Ok(None) };
        let examples = hash_json(&(&set.train, &set.held_out, init))?;
        if old.examples != examples || determining(&old.options) != inputs.options {
            return Ok(None);
        }
        self.dir.save(INPUTS, inputs)?;
        self.dir.saved("training.json")
    }

    /// Tokenizes the labels of `sources` and adds the replayed answers.
    fn prepare(
        &mut self,
        mut sources: Vec<LabelSource>,
        options: &TrainOptions,
        data: &DataMix,
        cx: &mut Context,
    ) -> Result<TrainingSet> {
        let (progress, cancel) = (cx.progress, cx.cancel.clone());
        let folder = self.dir.file("train");
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let engine_options = self.base.options(options.threads);
        let engine = self.base.engine(cx, None, &engine_options)?;
        let decoder = decoder_of(engine)?;
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        for LabelSource { task, split, .. } in &sources {
            let encode = |label: &Labelled| example(decoder, task, label);
            train.extend(split.train.iter().map(encode).collect::<Result<Vec<_>>>()?);
            held_out.extend(split.held_out.iter().map(encode).collect::<Result<Vec<_>>>()?);
        }
        let count = replay_count(data, train.len());
        let prompts = &data.replay[..count.min(data.replay.len())];
        if !prompts.is_empty() {
            let replayed = replay(engine, prompts, &self.dir.file(REPLAY), progress, &cancel)?;
            // Fewer prompts than the share asks for are used several times.
            train.extend(replayed.iter().cycle().take(if replayed.is_empty() { 0 } else { count }).cloned());
        }
        // For inspection, and to measure other trainers on the same examples.
        self.dir.save_lines("train/examples.jsonl", &train)?;
        let extra_tasks = sources[1..].iter().map(|source| source.task.name.clone()).collect();
        let calibration = sources.swap_remove(0).split.held_out;
        Ok(TrainingSet { train, held_out, calibration, extra_tasks })
    }

    /// Trains, after the library's own engine is freed: training needs the memory.
    fn fit(
        &mut self,
        model: &Transformer,
        set: &TrainingSet,
        init: Option<Vec<f32>>,
        options: &TrainOptions,
        cx: &mut Context,
    ) -> Result<Trained> {
        self.base.release();
        cx.remove_adapter()?;
        let (progress, cancel) = (cx.progress, &cx.cancel);
        let folder = self.dir.file("train");
        train(model, &set.train, &set.held_out, init, options, &folder, progress, cancel)
    }

    /// Writes the adapter under a temporary name, compares it with llama.cpp, calibrates it, and then
    /// renames it.
    fn export(
        &mut self,
        model: &Transformer,
        set: &TrainingSet,
        trained: Trained,
        options: &TrainOptions,
        inputs: &TrainingInputs,
        cx: &mut Context,
    ) -> Result<Training> {
        let progress = cx.progress;
        let report = |done, note: String| {
            progress.update(&Update { stage: Stage::Export, done, total: EXPORT_STEPS, note });
        };
        let (path, unverified) = (self.dir.file(ADAPTER), self.dir.file(UNVERIFIED));
        let mut provenance = self.provenance(&set.extra_tasks, &trained.summary)?;
        let write = |provenance: &[(&str, String)]| {
            adapter::write(&unverified, &model.spec, &trained.adapter, options.adapter_dtype, provenance)
        };
        report(0, format!("writing {ADAPTER}"));
        write(&provenance)?;
        report(1, "comparing with llama.cpp".into());
        let compared: Vec<_> = set.held_out.iter().chain(&set.train).take(PARITY_EXAMPLES).collect();
        let base = self.base.path();
        let parity = adapter::verify(base, &unverified, model, &trained.adapter, &compared, options);
        let parity = parity.inspect_err(|error| {
            if matches!(error, Error::Parity(_)) {
                log::warn!("kept the adapter as {REJECTED}");
                let _ = std::fs::rename(&unverified, self.dir.file(REJECTED));
            }
        })?;
        report(
            2,
            format!(
                "equal within {:.4} (relative rms {:.4}; without the adapter {:.4})",
                parity.max_abs_diff, parity.relative_rms, parity.base_relative_rms
            ),
        );
        if let Some(threshold) = self.calibrate(&unverified, &set.calibration, options.threads, cx)? {
            provenance.push(adapter::fallback_threshold(threshold));
        }
        let bytes = write(&provenance)?;
        // Until the new adapter is recorded, none here counts as finished.
        for record in [INPUTS, OLD_INPUTS] {
            let _ = std::fs::remove_file(self.dir.file(record));
        }
        if path.exists() && std::fs::rename(&path, self.dir.file(PREVIOUS)).is_ok() {
            log::warn!(
                "{ADAPTER} is made from other options or labels than before; the old one is {PREVIOUS}"
            );
        }
        std::fs::rename(&unverified, &path).map_err(Error::io("rename", &unverified))?;
        let facts = AdapterFacts {
            path: path.display().to_string(),
            bytes,
            rank: options.rank,
            alpha: trained.adapter.layout.alpha,
            parity_max_abs_diff: parity.max_abs_diff,
            parity_relative_rms: parity.relative_rms,
            parity_base_relative_rms: parity.base_relative_rms,
        };
        // What was measured on the adapter that this one replaces says nothing of this one.
        if std::fs::remove_file(self.dir.file("evaluation.json")).is_ok() {
            let _ = std::fs::remove_file(self.dir.file("decision.json"));
        }
        self.dir.save("adapter.json", &facts)?;
        self.dir.save("training.json", &trained.summary)?;
        self.dir.save(INPUTS, inputs)?;
        report(EXPORT_STEPS, format!("{:.1} MB", bytes as f64 / 1e6));
        Ok(trained.summary)
    }

    /// The probability from which direct answers with `adapter` agree with the votes on questions that
    /// were not trained on; `None` where there are none.
    fn calibrate(
        &mut self,
        adapter: &Path,
        held_out: &[Labelled],
        threads: Option<u32>,
        cx: &mut Context,
    ) -> Result<Option<f64>> {
        if held_out.is_empty() {
            return Ok(None);
        }
        let options = self.base.options(threads);
        let (questions, labels): (Vec<_>, Vec<_>) =
            held_out.iter().map(|l| (l.question.clone(), l.answer.clone())).unzip();
        let cancel = cx.cancel.clone();
        let engine = self.base.engine(cx, Some(adapter), &options)?;
        let direct = evaluate::ask_directly(engine, &self.task, &questions, self.manifest.seed, &cancel)?;
        Ok(evaluate::calibrate(&self.task, &direct, &labels, FALLBACK_AGREEMENT))
    }

    /// Where the adapter comes from: keys under `secondnature.` in its metadata.
    fn provenance(
        &mut self,
        extra_tasks: &[String],
        training: &Training,
    ) -> Result<Vec<(&'static str, String)>> {
        let (verdicts, curation) = (self.verdicts()?, self.curation()?);
        let m = &self.manifest;
        let kept = verdicts.iter().filter(|v| v.kept).count();
        let base =
            self.base.path().file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let mut provenance = vec![
            ("version", m.version.clone()),
            ("base.sha256", m.model_sha256.clone()),
            ("base.file", base),
            ("task", m.task.clone()),
            ("task.also", extra_tasks.join(", ")),
            ("task.sha256", m.task_sha256.clone()),
            ("task.json", self.task.to_json()),
            ("system1.prompt", self.task.system1.prompt.clone()),
            ("questions", verdicts.len().to_string()),
            ("questions.kept", kept.to_string()),
            ("vote.threshold", curation.threshold.to_string()),
            ("vote.samples", curation.max_samples.to_string()),
            ("seed", m.seed.to_string()),
            ("train.examples", training.examples.to_string()),
            ("train.epochs", format!("{:.2}", training.epochs)),
            ("train.loss", format!("{:.5}", training.loss_last)),
        ];
        if let Some(date) = &m.date {
            provenance.push((adapter::TEMPLATE_DATE, date.clone()));
        }
        Ok(provenance)
    }
}

/// Hashes of everything in `data` and `sources` that determines the adapter.
fn training_inputs(
    options: &TrainOptions,
    data: &DataMix,
    sources: &[LabelSource],
    cancel: &Cancel,
) -> Result<TrainingInputs> {
    let prompts: Vec<&str> = data.replay.iter().map(Question::text).collect();
    Ok(TrainingInputs {
        options: determining(options),
        verdicts: sources[0].id.clone(),
        init_adapter: match &data.init_adapter {
            Some(path) => Some(sha256_files(std::slice::from_ref(path), cancel)?),
            None => None,
        },
        extra_runs: sources[1..].iter().map(|source| source.id.clone()).collect(),
        replay: match data.replay_share > 0.0 && !prompts.is_empty() {
            true => Some(hash_json(&(&prompts, data.replay_share))?),
            false => None,
        },
    })
}

/// `options` without what does not change the adapter file.
fn determining(options: &TrainOptions) -> TrainOptions {
    TrainOptions { threads: None, wait: Default::default(), recompute: Default::default(), ..options.clone() }
}

/// How many replayed answers `n` examples are mixed with.
fn replay_count(data: &DataMix, n: usize) -> usize {
    if data.replay.is_empty() { 0 } else { (data.replay_share * n as f32).round() as usize }
}

/// A replayed prompt with its example; none where the model wrote nothing.
#[derive(Serialize, Deserialize)]
struct Replayed {
    prompt: String,
    example: Option<Example>,
}

/// The base model's own answers to `prompts`, as examples. Those that the journal holds are not
/// sampled again: in another batch the model may write something else, and training would start over.
fn replay(
    engine: &mut dyn Engine,
    prompts: &[Question],
    journal: &Path,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<Example>> {
    let (mut journal, earlier) = Journal::<Replayed>::open(journal)?;
    let mut known = HashMap::new();
    for item in earlier {
        let Replayed { prompt, example } = item?;
        known.insert(prompt, example);
    }
    let missing: Vec<&Question> =
        prompts.iter().filter(|prompt| !known.contains_key(prompt.text())).collect();
    if !missing.is_empty() {
        let note = format!("{} replayed answers", missing.len());
        progress.update(&Update { stage: Stage::Train, done: 0, total: 0, note });
        for (prompt, example) in missing.iter().zip(replayed(engine, &missing, cancel)?) {
            journal.append(&Replayed { prompt: prompt.text().into(), example: example.clone() })?;
            known.insert(prompt.text().into(), example);
        }
        journal.sync()?;
    }
    Ok(prompts.iter().filter_map(|prompt| known.get(prompt.text()).cloned().flatten()).collect())
}

/// Whether the run directory `out` records a finished adapter.
pub(super) fn is_recorded(out: &Path) -> bool {
    [INPUTS, OLD_INPUTS].iter().any(|record| out.join(record).exists())
}

/// SHA-256 of the JSON of `value`, in hex.
fn hash_json(value: &(impl Serialize + ?Sized)) -> Result<String> {
    serde_json::to_vec(value).map(|json| sha256(&json)).map_err(|e| Error::Internal(e.to_string()))
}
