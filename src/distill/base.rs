//! The base model of a run: where it lies, and its engine, loaded once for consecutive stages.

use std::path::{Path, PathBuf};

use super::EngineOptions;
use crate::engine::{Engine, Llama, Scheduler};
use crate::{Progress, Result, Stage, Update};

pub struct Base {
    path: PathBuf,
    /// Options of the stage before.
    options: EngineOptions,
    loaded: Option<Loaded>,
}

struct Loaded {
    options: EngineOptions,
    adapter: Option<PathBuf>,
    engine: Scheduler<Llama>,
}

impl Base {
    pub fn new(path: PathBuf) -> Base {
        Base { path, options: EngineOptions::default(), loaded: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Options for a stage that has none of its own but its threads: those of the stage before.
    pub fn options(&self, threads: Option<u32>) -> EngineOptions {
        EngineOptions { threads: threads.or(self.options.threads), ..self.options }
    }

    /// The engine with `adapter` applied, or none; loaded where it is not already.
    pub fn engine(
        &mut self,
        adapter: Option<&Path>,
        options: &EngineOptions,
        progress: &dyn Progress,
    ) -> Result<&mut Scheduler<Llama>> {
        self.options = *options;
        let mut loaded = match self.loaded.take() {
            Some(loaded) if loaded.options == *options => loaded,
            other => {
                drop(other); // Before the next one is loaded, so that there are never two.
                load(&self.path, options, progress)?
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
}

fn load(path: &Path, options: &EngineOptions, progress: &dyn Progress) -> Result<Loaded> {
    let tell = |done, note| progress.update(&Update { stage: Stage::Load, done, total: done, note });
    tell(0, path.display().to_string());
    let engine = Scheduler::new(Llama::load(path, &options.llama())?);
    tell(1, engine.decoder().weights_used().to_string());
    Ok(Loaded { options: *options, adapter: None, engine })
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base").field("path", &self.path).field("loaded", &self.loaded.is_some()).finish()
    }
}
