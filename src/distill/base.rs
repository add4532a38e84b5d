//! The base model of a run: where it lies, and its engine, loaded once for consecutive stages.

use std::path::{Path, PathBuf};

use super::EngineOptions;
use crate::engine::{Decoder, Engine, Llama, Scheduler, check_vocabulary};
use crate::gguf::Gguf;
use crate::{Error, Progress, Result, Stage, Update};

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

    /// The caller's engine where it brought one that will do, else as [`Base::engine`].
    pub fn engine_or<'a>(
        &'a mut self,
        guest: &'a mut Guest<'_>,
        adapter: Option<&Path>,
        options: &EngineOptions,
        progress: &dyn Progress,
    ) -> Result<&'a mut dyn Engine> {
        if guest.serves(adapter) {
            guest.engine(adapter)
        } else {
            Ok(self.engine(adapter, options, progress)?)
        }
    }

    /// Gives the engine's memory back.
    pub fn release(&mut self) {
        self.loaded = None;
    }
}

/// An engine that the caller brought along, or none. Leaves it without an adapter.
pub struct Guest<'e> {
    engine: Option<&'e mut dyn Engine>,
    adapter: Option<PathBuf>,
}

impl<'e> Guest<'e> {
    /// No engine: stages use the run's own.
    pub fn none() -> Guest<'e> {
        Guest { engine: None, adapter: None }
    }

    /// `engine`, which must speak for the model in the file `model` and have no adapter applied.
    pub fn of(engine: &'e mut dyn Engine, model: &Path) -> Result<Guest<'e>> {
        check_engine(&*engine, model)?;
        Ok(Guest { engine: Some(engine), adapter: None })
    }

    fn serves(&self, adapter: Option<&Path>) -> bool {
        self.engine.as_ref().is_some_and(|engine| adapter.is_none() || engine.takes_adapters())
    }

    fn engine(&mut self, adapter: Option<&Path>) -> Result<&mut dyn Engine> {
        let engine = self.engine.as_deref_mut().ok_or_else(|| Error::Internal("no guest".into()))?;
        if self.adapter.as_deref() != adapter {
            self.adapter = adapter.map(Path::to_path_buf);
            engine.set_adapter(adapter)?;
        }
        Ok(engine)
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        if let (Some(engine), Some(_)) = (self.engine.as_deref_mut(), &self.adapter) {
            // One that cannot be taken off ends the host's next call, not this one.
            let _ = engine.set_adapter(None);
        }
    }
}

/// That `engine` can be one of the model in the file `model`, as far as it shows its decoder.
fn check_engine(engine: &dyn Engine, model: &Path) -> Result<()> {
    match engine.decoder() {
        Some(decoder) => check_vocabulary(decoder.vocab_size(), &Gguf::open(model)?),
        None => Ok(()),
    }
}

/// The decoder of `engine`, for tokens.
pub fn decoder_of(engine: &dyn Engine) -> Result<&dyn Decoder> {
    engine.decoder().ok_or_else(|| {
        Error::Unsupported("the engine knows no tokens, so there is nothing to train on".into())
    })
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
