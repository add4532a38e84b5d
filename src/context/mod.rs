//! What a pipeline call runs with: an engine and its options, a receiver of progress and a cancellation token.

mod engine_cache;
mod engine_options;

use std::path::{Path, PathBuf};

pub(crate) use engine_cache::{EngineCache, check_callers_engine, decoder_of};
pub use engine_options::EngineOptions;

use crate::engine::Engine;
use crate::{Cancel, Progress, Result, Silent};

/// Where a pipeline call gets its engine, where it reports progress, and how it is cancelled.
///
/// A fresh context uses llama.cpp as this library loads it, reports nothing and is never cancelled. One
/// context may serve any number of calls, one after the other.
///
/// ```no_run
/// use secondnature::{Cancel, Context, Silent, distill::Run};
///
/// # fn main() -> secondnature::Result<()> {
/// let cancel = Cancel::new();
/// let mut cx = Context::new().progress(&Silent).cancel(&cancel);
/// let mut run = Run::open("run".as_ref(), None, &mut cx)?;
/// run.curate(&Default::default(), &mut cx)?;
/// # Ok(())
/// # }
/// ```
pub struct Context<'a> {
    engine: Option<&'a mut dyn Engine>,
    /// The adapter that is applied to the caller's engine.
    adapter: Option<PathBuf>,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) cancel: Cancel,
}

impl<'a> Context<'a> {
    /// The library's own engine, no progress reports, no cancellation.
    pub fn new() -> Context<'a> {
        Context { engine: None, adapter: None, progress: &Silent, cancel: Cancel::new() }
    }

    /// Uses the caller's engine, which must run the model that the call is about and have no adapter
    /// applied. It has none applied when the context is dropped.
    ///
    /// Two things are computed by the library's own llama.cpp all the same: the comparison of a written
    /// adapter with the trainer, and the distilled model's answers where `engine` cannot apply adapters.
    ///
    /// Errors: the call that uses the context returns [`Error::Input`](crate::Error::Input) for an
    /// engine of another model, as far as its vocabulary shows that.
    pub fn engine(mut self, engine: &'a mut dyn Engine) -> Context<'a> {
        self.engine = Some(engine);
        self
    }

    /// Reports progress to `progress`.
    pub fn progress(mut self, progress: &'a dyn Progress) -> Context<'a> {
        self.progress = progress;
        self
    }

    /// Stops when `cancel` is cancelled, with [`Error::Cancelled`](crate::Error::Cancelled); a preview with what
    /// it has seen.
    pub fn cancel(mut self, cancel: &Cancel) -> Context<'a> {
        self.cancel = cancel.clone();
        self
    }

    /// The caller's engine, if there is one.
    pub(crate) fn callers_engine(&self) -> Option<&dyn Engine> {
        self.engine.as_deref().map(|engine| engine as &dyn Engine)
    }

    /// The caller's engine with `adapter` applied, or none where the caller has no engine or it cannot
    /// apply adapters.
    pub(crate) fn callers_engine_with(&mut self, adapter: Option<&Path>) -> Result<Option<&mut dyn Engine>> {
        let Some(engine) = self.engine.as_deref_mut() else { return Ok(None) };
        if adapter.is_some() && !engine.takes_adapters() {
            return Ok(None);
        }
        if self.adapter.as_deref() != adapter {
            engine.set_adapter(adapter)?;
            self.adapter = adapter.map(Path::to_path_buf);
        }
        Ok(Some(engine))
    }

    /// Takes the adapter off the caller's engine. Needed before an adapter file is replaced, since the
    /// engine would keep the old contents under the same path.
    pub(crate) fn remove_adapter(&mut self) -> Result<()> {
        match (self.engine.as_deref_mut(), self.adapter.take()) {
            (Some(engine), Some(_)) => engine.set_adapter(None),
            _ => Ok(()),
        }
    }
}

impl Default for Context<'_> {
    fn default() -> Self {
        Context::new()
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // There is no way to report a failure from here; the caller's next use of the engine will fail.
        let _ = self.remove_adapter();
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("callers_engine", &self.engine.is_some())
            .field("adapter", &self.adapter)
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Source;

    /// Records the adapters that it is given.
    struct Recorder {
        adapters: Vec<Option<PathBuf>>,
        takes_adapters: bool,
    }

    impl Engine for Recorder {
        fn run(&mut self, _: &mut dyn Source, _: &Cancel) -> Result<()> {
            Ok(())
        }
        fn set_adapter(&mut self, path: Option<&Path>) -> Result<()> {
            self.adapters.push(path.map(Path::to_path_buf));
            Ok(())
        }
        fn takes_adapters(&self) -> bool {
            self.takes_adapters
        }
    }

    #[test]
    fn the_callers_engine_has_no_adapter_once_the_context_is_dropped() {
        let (a, b) = (Path::new("a.gguf"), Path::new("b.gguf"));
        let mut engine = Recorder { adapters: Vec::new(), takes_adapters: true };
        let mut cx = Context::new().engine(&mut engine);
        for adapter in [None, Some(a), Some(a), Some(b)] {
            assert!(cx.callers_engine_with(adapter).unwrap().is_some());
        }
        drop(cx);
        let given: Vec<_> = engine.adapters.iter().map(Option::as_deref).collect();
        assert_eq!(given, [Some(a), Some(b), None]);
    }

    #[test]
    fn an_engine_that_applies_no_adapters_serves_the_base_model_alone() {
        let mut engine = Recorder { adapters: Vec::new(), takes_adapters: false };
        let mut cx = Context::new().engine(&mut engine);
        assert!(cx.callers_engine_with(Some(Path::new("a.gguf"))).unwrap().is_none());
        assert!(cx.callers_engine_with(None).unwrap().is_some());
        drop(cx);
        assert!(engine.adapters.is_empty());
    }
}
