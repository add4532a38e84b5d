//! Which copy of a model's weights is sampled from: the file itself, or an expanded one
//! ([`crate::tensor::expand`]) from the cache.
//!
//! Which type is fast for a batch depends on the processor more than on anything else. At 16
//! sequences BF16 beats Q4_1 twofold on a Zen 4 and loses to it on a Sapphire Rapids, where Q8_0
//! wins by half. So nothing is assumed: the candidates are measured, once per machine, model and
//! number of sequences, on the model's own first layers.
//!
//! Only sampling uses a copy. What an adapter is trained on and verified against is the file itself.

mod cache;
mod probe;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::LlamaOptions;
use crate::tensor::Gguf;
use crate::tensor::expand::{Target, expanded, expands};
use crate::{Cancel, Progress, Result, Stage, Update};

use cache::NoCopy;
pub use cache::{Cache, CachedCopy};
use probe::measured;

/// Which weights to sample from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// The model file's own.
    AsIs,
    /// A copy in the type that is fastest for the number of sequences, where the cache can hold one.
    Expanded,
    /// A copy where it fits into memory and is measured to be at least [`WORTH`] times as fast.
    #[default]
    Auto,
}

/// What a copy must gain to be used without being asked for.
pub const WORTH: f64 = 1.15;
/// Models below this many parameters load and decode faster than a copy is found.
const TINY: u64 = 10_000_000;
/// Fewer sequences than this are what quantized kernels are made for.
const FEW: u32 = 4;
/// What sampling takes besides weights: the KV cache at its largest, and buffers.
const BESIDES: u64 = 3 << 29;

/// What is sampled from.
#[derive(Debug)]
pub struct Choice {
    copy: Option<CachedCopy>,
    /// What was chosen and why, in one line.
    pub why: String,
}

impl Choice {
    /// The file to load; `model` where there is no copy.
    pub fn path<'a>(&'a self, model: &'a Path) -> &'a Path {
        self.copy.as_ref().map_or(model, CachedCopy::path)
    }

    /// Whether it is a copy.
    pub fn is_expanded(&self) -> bool {
        self.copy.is_some()
    }
}

/// Chooses the weights to sample `model` from with `options`. `sha256` is the content of the model's
/// files, where the caller knows it.
///
/// # Errors
/// [`crate::Error::Model`] or [`crate::Error::Io`] for a model that cannot be read, and
/// [`crate::Error::Cancelled`]. Whatever goes wrong with the copy is told in [`Choice::why`], and
/// the model's own file is chosen.
pub fn choose(
    model: &Path,
    sha256: Option<&str>,
    weights: Weights,
    options: &LlamaOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Choice> {
    let source = Gguf::open(model)?;
    let copy = match Cache::of_user() {
        _ if weights == Weights::AsIs => Err(NoCopy::Because("asked for".into())),
        Err(error) => Err(error.into()),
        Ok(cache) => {
            Chooser { source: &source, weights, options, cache: &cache, progress, cancel }.copy(sha256)
        }
    };
    match copy {
        Ok((copy, why)) => Ok(Choice { copy: Some(copy), why }),
        Err(NoCopy::Cancelled) => Err(crate::Error::Cancelled),
        Err(NoCopy::Because(why)) => Ok(Choice { copy: None, why: format!("weights as they are: {why}") }),
    }
}

struct Chooser<'a> {
    source: &'a Gguf,
    weights: Weights,
    options: &'a LlamaOptions,
    cache: &'a Cache,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

impl Chooser<'_> {
    fn copy(&self, sha256: Option<&str>) -> std::result::Result<(CachedCopy, String), NoCopy> {
        let because = |why: &str| Err(NoCopy::Because(why.into()));
        let auto = self.weights == Weights::Auto;
        let slots = self.options.slots;
        let targets: Vec<Target> =
            Target::ALL.into_iter().filter(|target| expands(self.source, *target)).collect();
        if targets.is_empty() {
            return because("none of them is quantized");
        }
        if auto && self.source.tensors().map(|t| t.elements() as u64).sum::<u64>() < TINY {
            return because("the model is tiny");
        }
        if auto && slots < FEW {
            return because("quantized ones are fastest for few sequences");
        }
        let content = match sha256 {
            Some(content) => content.to_string(),
            None => self.cache.content_of(self.source, self.cancel)?,
        };
        let tell = |note: &str, done, total| self.tell(note, done, total);
        let rates = measured(self.cache, self.source, &content, &targets, self.options, &tell, self.cancel)?;
        let Some((target, rate)) = rates.fastest() else {
            return because("no copy could be measured");
        };
        let gain = rate / rates.as_is;
        let figures = format!("{rate:.0} against {:.0} tokens/s of {slots} sequences", rates.as_is);
        if auto && gain < WORTH {
            return because(&format!("{} would be {gain:.2}× as fast ({})", target.name(), rates.scope()));
        }
        let copy = expanded(self.source, target);
        self.check_memory(copy.file_bytes())?;
        let copy = self.cache.get(&content, target.name(), &copy, &tell, self.cancel)?;
        let (name, scope) = (target.name(), rates.scope());
        Ok((copy, format!("weights expanded to {name}: {gain:.2}× as fast ({figures}, {scope})")))
    }

    fn check_memory(&self, bytes: u64) -> std::result::Result<(), NoCopy> {
        match crate::machine::available_memory() {
            Some(free) if bytes + BESIDES > free => Err(NoCopy::Because(format!(
                "a copy takes {:.1} GB of memory, {:.1} GB are free",
                bytes as f64 / 1e9,
                free as f64 / 1e9
            ))),
            _ => Ok(()),
        }
    }

    fn tell(&self, note: &str, done: u64, total: u64) {
        // The last step is told by whoever loads the copy.
        let done = done.min(total.saturating_sub(1));
        self.progress.update(&Update { stage: Stage::Load, done, total, note: format!("weights: {note}") });
    }
}
