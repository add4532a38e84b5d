//! The second stage: train the adapter on the kept answers, write it, and see that llama.cpp reads
//! it as it was meant.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::engine_cache::decoder_of;
use super::examples::{Labelled, divide, example, replayed};
use super::{Context, Run};
use crate::adapter;
use crate::adapter::AdapterFacts;
use crate::curate::Curation;
use crate::evaluate;
use crate::fs::sha256;
use crate::task::Question;
use crate::train::Training;
use crate::train::batch::Example;
use crate::train::model::Model;
use crate::train::{TrainOptions, layout, train};
use crate::{Error, Result, Stage, Update};

/// Agreement with the pseudo-labels that a direct answer must have to be given without reasoning.
const FALLBACK_AGREEMENT: f64 = 0.95;
/// Examples whose logits are compared with llama.cpp's.
const PARITY_EXAMPLES: usize = 4;
/// What [`Run::train`] does after training, as progress.
const EXPORT_STEPS: u64 = 3;

/// What goes into an adapter besides a run's own answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataMix {
    /// An adapter of the same model to go on from.
    pub init_adapter: Option<PathBuf>,
    /// Other run directories of the same model whose kept answers are learned as well: several
    /// tasks in one adapter.
    pub extra_runs: Vec<PathBuf>,
    /// Prompts that have nothing to do with the task. The base model's own answers to them are
    /// mixed in, against forgetting.
    pub replay: Vec<Question>,
    /// How many of those, as a share of the task's examples.
    pub replay_share: f32,
}

/// What a training stage was made from; another one replaces it.
#[derive(Serialize, Deserialize, PartialEq)]
struct TrainedFrom {
    options: TrainOptions,
    /// Hash of the examples and of the adapter they began with.
    examples: String,
}

/// Everything that is trained on.
struct Material {
    learn: Vec<Example>,
    held_out: Vec<Example>,
    /// The run's own held-out questions, to calibrate on.
    own_held_out: Vec<Labelled>,
    /// Names of the other tasks in it.
    also: Vec<String>,
}

impl Run {
    /// Trains the adapter on the kept verdicts, writes `adapter.gguf`, compares it with llama.cpp,
    /// and finds the confidence from which its direct answers can be trusted.
    ///
    /// A caller's engine tokenizes the examples and, where it can apply the adapter, calibrates.
    ///
    /// # Errors
    /// [`Error::Run`] before curation is finished; [`Error::Refused`] where no question was kept;
    /// [`Error::Unsupported`] for a caller's engine without a decoder; those of training.
    pub fn train(&mut self, options: &TrainOptions, data: &DataMix, cx: &mut Context) -> Result<Training> {
        self.check_callers_engine(cx)?;
        options.check()?;
        let material = self.material(options, data, cx)?;
        let model = Model::open(self.base.gguf())?;
        let start = match &data.init_adapter {
            None => None,
            Some(path) => {
                let layout = layout(&model, options)?;
                let fresh = layout.init(&model.spec, options.seed);
                Some(adapter::read(path, &model.spec)?.arranged(&layout, fresh)?)
            }
        };
        let hashed = serde_json::to_vec(&(&material.learn, &material.held_out, &start));
        let from = TrainedFrom {
            options: options.clone(),
            examples: sha256(&hashed.map_err(|e| Error::Internal(e.to_string()))?),
        };
        let path = self.dir.file("adapter.gguf");
        if let (Some(training), Some(done), true) = (
            self.dir.saved("training.json")?,
            self.dir.saved::<TrainedFrom>("train/from.json")?,
            path.exists(),
        ) && done == from
        {
            return Ok(training);
        }
        self.base.release(); // Training wants the memory.
        cx.remove_adapter()?;
        let (progress, cancel) = (cx.progress, cx.cancel.clone());
        let folder = self.dir.file("train");
        // Until this one is whole, no adapter here counts as finished.
        let _ = std::fs::remove_file(folder.join("from.json"));
        let Material { learn, held_out, own_held_out, also } = &material;
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        // To look at, and to measure trainers on.
        self.dir.save_lines("train/examples.jsonl", learn)?;
        let trained = train(&model, learn, held_out, start, options, &folder, progress, &cancel)?;

        let tell = |done, note: String| {
            progress.update(&Update { stage: Stage::Export, done, total: EXPORT_STEPS, note });
        };
        tell(0, "writing adapter.gguf".into());
        let mut provenance = self.provenance(also, &trained.summary)?;
        let write = |provenance: &[(&str, String)]| {
            adapter::write(&path, &model.spec, &trained.adapter, options.precision, provenance)
        };
        write(&provenance)?;
        tell(1, "comparing with llama.cpp".into());
        let shown: Vec<_> = held_out.iter().chain(learn).take(PARITY_EXAMPLES).collect();
        let parity =
            adapter::verify(self.base.path(), &path, &model, &trained.adapter, &shown, options.threads);
        let parity = parity.inspect_err(|_| {
            // An adapter that llama.cpp reads differently must not be picked up by accident.
            log::warn!("kept the adapter as adapter.rejected.gguf");
            let _ = std::fs::rename(&path, self.dir.file("adapter.rejected.gguf"));
        })?;
        let note = format!(
            "equal within {:.4} (relative rms {:.4}; without the adapter {:.4})",
            parity.max_abs_diff, parity.relative_rms, parity.base_relative_rms
        );
        tell(2, note);
        if let Some(threshold) = self.calibrate(own_held_out, options.threads, cx)? {
            provenance.push(("fallback.threshold", format!("{threshold:.4}")));
        }
        let bytes = write(&provenance)?;
        let facts = AdapterFacts {
            path: path.display().to_string(),
            bytes,
            rank: options.rank,
            alpha: trained.adapter.layout.alpha,
            parity_max_abs_diff: parity.max_abs_diff,
            parity_relative_rms: parity.relative_rms,
            parity_base_relative_rms: parity.base_relative_rms,
        };
        self.dir.save("adapter.json", &facts)?;
        self.dir.save("training.json", &trained.summary)?;
        self.dir.save("train/from.json", &from)?;
        tell(EXPORT_STEPS, format!("{:.1} MB", bytes as f64 / 1e6));
        Ok(trained.summary)
    }

    /// Gathers what `data` and the verdicts give to learn, as tokens.
    fn material(&mut self, options: &TrainOptions, data: &DataMix, cx: &mut Context) -> Result<Material> {
        let (progress, cancel) = (cx.progress, cx.cancel.clone());
        let own = divide(&self.task, &self.questions, &self.verdicts()?, options.held_out)?;
        if own.learn.is_empty() {
            return Err(Error::Refused("no question was kept, so there is nothing to train on".into()));
        }
        let mut parts = vec![(self.task.clone(), own)];
        for dir in &data.extra_runs {
            let other = Run::open(dir, Some(self.base.path()), cx)?;
            let theirs = divide(&other.task, &other.questions, &other.verdicts()?, options.held_out)?;
            parts.push((other.task.clone(), theirs));
        }
        let engine = self.base.options(options.threads);
        let engine = self.base.engine(cx, None, &engine)?;
        let decoder = decoder_of(engine)?;
        let (mut learn, mut held_out) = (Vec::new(), Vec::new());
        for (task, divided) in &parts {
            let encode = |label: &Labelled| example(decoder, task, label);
            learn.extend(divided.learn.iter().map(encode).collect::<Result<Vec<_>>>()?);
            held_out.extend(divided.held_out.iter().map(encode).collect::<Result<Vec<_>>>()?);
        }
        let count = (data.replay_share * learn.len() as f32).round() as usize;
        if count > 0 && !data.replay.is_empty() {
            let prompts: Vec<&Question> = data.replay.iter().take(count).collect();
            let note = format!("{} replayed answers", prompts.len());
            progress.update(&Update { stage: Stage::Train, done: 0, total: 0, note });
            let replayed = replayed(engine, &prompts, &cancel)?;
            learn.extend(replayed.iter().cycle().take(if replayed.is_empty() { 0 } else { count }).cloned());
        }
        let also = parts[1..].iter().map(|(task, _)| task.name.clone()).collect();
        Ok(Material { learn, held_out, own_held_out: parts.swap_remove(0).1.held_out, also })
    }

    /// The probability from which direct answers agree with the votes on questions that were not
    /// trained on; `None` where there are none.
    fn calibrate(
        &mut self,
        held_out: &[Labelled],
        threads: Option<u32>,
        cx: &mut Context,
    ) -> Result<Option<f64>> {
        if held_out.is_empty() {
            return Ok(None);
        }
        let options = self.base.options(threads);
        let adapter = self.dir.file("adapter.gguf");
        let cancel = cx.cancel.clone();
        let engine = self.base.engine(cx, Some(&adapter), &options)?;
        let (questions, labels): (Vec<_>, Vec<_>) =
            held_out.iter().map(|l| (l.question.clone(), l.answer.clone())).unzip();
        let direct = evaluate::ask_directly(engine, &self.task, &questions, self.manifest.seed, &cancel)?;
        Ok(evaluate::calibrate(&self.task, &direct, &labels, FALLBACK_AGREEMENT))
    }

    /// What the adapter says of itself, under `secondnature.` in its metadata.
    fn provenance(&self, also: &[String], training: &Training) -> Result<Vec<(&'static str, String)>> {
        let m = &self.manifest;
        let verdicts = self.verdicts()?;
        let curation: Curation = self.dir.saved("curation.json")?.unwrap_or_default();
        let kept = verdicts.iter().filter(|v| v.kept).count();
        let base =
            self.base.path().file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Ok(vec![
            ("version", m.version.clone()),
            ("base.sha256", m.model_sha256.clone()),
            ("base.file", base),
            ("task", m.task.clone()),
            ("task.also", also.join(", ")),
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
        ])
    }
}
