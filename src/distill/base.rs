//! The base model of a run: where it lies, and its engine, loaded once for consecutive stages.

use std::path::{Path, PathBuf};

use super::EngineOptions;
use crate::engine::{Engine, Llama, LlamaOptions, Scheduler};
use crate::weights::{self, Choice, Weights};
use crate::{Cancel, Progress, Result, Stage, Update};

pub struct Base {
    path: PathBuf,
    sha256: String,
    /// What the last stage that had a choice sampled from.
    weights: Weights,
    loaded: Option<Loaded>,
}

struct Loaded {
    options: EngineOptions,
    adapter: Option<PathBuf>,
    engine: Scheduler<Llama>,
    /// Keeps an expanded copy from being removed.
    _weights: Choice,
}

impl Base {
    /// `sha256` is the content of the model's files.
    pub fn new(path: PathBuf, sha256: String) -> Base {
        Base { path, sha256, weights: Weights::AsIs, loaded: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Options of a stage that has none of its own: with the weights of the stage before it.
    pub fn options(&self, threads: Option<u32>) -> EngineOptions {
        EngineOptions { threads, weights: self.weights, ..EngineOptions::default() }
    }

    /// The engine with `adapter` applied, or none; loaded where it is not already.
    pub fn engine(
        &mut self,
        adapter: Option<&Path>,
        options: &EngineOptions,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<&mut Scheduler<Llama>> {
        self.weights = options.weights;
        let mut loaded = match self.loaded.take() {
            Some(loaded) if loaded.options == *options => loaded,
            other => {
                drop(other); // Before the next one is loaded, so that there are never two.
                self.load(options, progress, cancel)?
            }
        };
        if loaded.adapter.as_deref() != adapter {
            loaded.engine.set_adapter(adapter)?;
            loaded.adapter = adapter.map(Path::to_path_buf);
        }
        Ok(&mut self.loaded.insert(loaded).engine)
    }

    /// Gives the engine's memory back.
    pub fn release(&mut self) {
        self.loaded = None;
    }

    fn load(&self, options: &EngineOptions, progress: &dyn Progress, cancel: &Cancel) -> Result<Loaded> {
        let tell = |done, note| progress.update(&Update { stage: Stage::Load, done, total: done, note });
        tell(0, self.path.display().to_string());
        let EngineOptions { threads, slots, weights } = *options;
        let llama = LlamaOptions { threads, slots, ..LlamaOptions::default() };
        let weights = weights::choose(&self.path, Some(&self.sha256), weights, &llama, progress, cancel)?;
        tell(1, weights.why.clone());
        let engine = Scheduler::new(Llama::load(weights.path(&self.path), &llama)?);
        Ok(Loaded { options: *options, adapter: None, engine, _weights: weights })
    }
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base").field("path", &self.path).field("loaded", &self.loaded.is_some()).finish()
    }
}
