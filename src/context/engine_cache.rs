//! The base model's file and its engine, which stays loaded between stages that can share it.

use std::path::{Path, PathBuf};

use super::{Context, EngineOptions};
use crate::engine::{Decoder, Engine, Llama, Scheduler, check_vocabulary, template_facts};
use crate::gguf::Gguf;
use crate::run::unix_seconds;
use crate::{Error, Progress, Result, Stage, Update};

/// The base model: its opened file, and the library's own engine on it once one was needed.
pub struct EngineCache {
    gguf: Gguf,
    /// The time given to the chat template, in seconds since 1970 (UTC); without one it gets the current time.
    time: Option<i64>,
    /// Options of the stage before.
    options: EngineOptions,
    loaded: Option<Loaded>,
}

struct Loaded {
    options: EngineOptions,
    adapter: Option<PathBuf>,
    engine: Scheduler<Llama>,
}

impl EngineCache {
    /// `date`, such as `2026-07-31`, is given to chat templates in place of the current date.
    pub fn new(gguf: Gguf, date: Option<&str>) -> EngineCache {
        EngineCache {
            gguf,
            time: date.and_then(unix_seconds),
            options: EngineOptions::default(),
            loaded: None,
        }
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        self.gguf.path()
    }

    /// The model's opened file.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// Options for a stage that has none of its own but its threads: those of the stage before.
    pub fn options(&self, threads: Option<u32>) -> EngineOptions {
        EngineOptions { threads: threads.or(self.options.threads), ..self.options }
    }

    /// The caller's engine where `cx` has one that can apply `adapter`, else the library's own.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model whose chat template loses the question, or whose turns have no
    /// end; those of loading.
    pub fn engine<'e>(
        &'e mut self,
        cx: &'e mut Context,
        adapter: Option<&Path>,
        options: &EngineOptions,
    ) -> Result<&'e mut dyn Engine> {
        let engine = self.unchecked_engine(cx, adapter, options)?;
        if let Some(decoder) = engine.decoder() {
            template_facts(decoder)?.check()?;
        }
        Ok(engine)
    }

    /// The same engine for a model whatever its chat template is like.
    pub fn unchecked_engine<'e>(
        &'e mut self,
        cx: &'e mut Context,
        adapter: Option<&Path>,
        options: &EngineOptions,
    ) -> Result<&'e mut dyn Engine> {
        let (progress, time) = (cx.progress, self.time);
        let engine: &mut dyn Engine = match cx.callers_engine_with(adapter)? {
            Some(engine) => engine,
            None => self.own(adapter, options, progress)?,
        };
        if let (Some(time), Some(decoder)) = (time, engine.decoder()) {
            decoder.chat_template().at(time);
        }
        Ok(engine)
    }

    /// The library's own engine with `adapter` applied, or none; loaded where it is not already.
    fn own(
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
                load(self.gguf.path(), options, progress)?
            }
        };
        if loaded.adapter.as_deref() != adapter {
            loaded.engine.set_adapter(adapter)?;
            loaded.adapter = adapter.map(Path::to_path_buf);
        }
        Ok(&mut self.loaded.insert(loaded).engine)
    }

    /// Frees the memory of the library's own engine.
    pub fn release(&mut self) {
        self.loaded = None;
    }
}

/// Refuses a caller's engine that cannot be one of the model in `gguf`, as far as its vocabulary shows.
pub fn check_callers_engine(cx: &Context, gguf: &Gguf) -> Result<()> {
    match cx.callers_engine().and_then(|engine| engine.decoder()) {
        Some(decoder) => check_vocabulary(decoder.vocab_size(), gguf),
        None => Ok(()),
    }
}

/// The decoder of `engine`, for tokens.
pub fn decoder_of(engine: &dyn Engine) -> Result<&dyn Decoder> {
    engine.decoder().ok_or_else(|| {
        Error::Unsupported("the engine has no decoder, so the examples cannot be tokenized".into())
    })
}

fn load(path: &Path, options: &EngineOptions, progress: &dyn Progress) -> Result<Loaded> {
    let report = |done, note| progress.update(&Update { stage: Stage::Load, done, total: done, note });
    report(0, path.display().to_string());
    let engine = Scheduler::new(Llama::load(path, &options.llama())?);
    report(1, engine.decoder().weights_used().to_string());
    Ok(Loaded { options: *options, adapter: None, engine })
}

impl std::fmt::Debug for EngineCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineCache")
            .field("path", &self.path())
            .field("loaded", &self.loaded.is_some())
            .finish_non_exhaustive()
    }
}
