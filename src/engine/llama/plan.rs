//! How much memory a model gets, and what for: its weights unpacked, its KV cache.

use super::{LlamaOptions, ModelFacts};
use crate::gguf::Gguf;
use crate::kernels::gemm::{Kept, Kernel};
use crate::{Error, Result};

/// Which weights a batch is multiplied with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// As they are stored, by llama.cpp.
    AsIs,
    /// Unpacked to 16 bits in memory, by this library: two to three times as fast from some eight
    /// sequences on.
    Expanded,
    /// Expanded where that pays and fits into half of the memory that is free.
    #[default]
    Auto,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub expanded: bool,
    /// Why, in one line.
    pub why: String,
    /// Bytes for the KV cache at most.
    pub cache_bytes: u64,
}

/// Bytes of the KV cache where nothing else is said.
const CACHE: u64 = 1 << 30;
/// The least cache worth working with.
const LEAST_CACHE: u64 = 16 << 20;
/// Fewer sequences than this are what quantized kernels are made for.
const FEW: u32 = 4;

impl Plan {
    /// The plan for the model in `gguf`.
    ///
    /// # Errors
    /// [`Error::Input`] where `max_memory` leaves no room for it.
    pub fn of(gguf: &Gguf, options: &LlamaOptions) -> Result<Plan> {
        let weights: u64 = gguf.tensors().map(|t| t.elements() as u64).sum();
        let file: u64 = gguf.files().iter().filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum();
        let unpacked = Kept::bytes(weights as usize) as u64;
        let most = options.max_memory.unwrap_or(u64::MAX);
        let room = most.checked_sub(file + LEAST_CACHE).ok_or_else(|| {
            Error::field(
                "max_memory",
                format!(
                    "{} MB are too few; the model takes {} MB, its cache {} MB at least",
                    most / 1_000_000,
                    file.div_ceil(1_000_000),
                    LEAST_CACHE.div_ceil(1_000_000)
                ),
            )
        })?;
        let free = crate::memory::available_memory().unwrap_or(u64::MAX);
        let obstacle = match options.weights {
            _ if options.f32_kv => Some("llama.cpp alone was asked for".to_string()),
            Weights::AsIs => Some("asked for".to_string()),
            _ if unpacked > room => Some(format!(
                "unpacked they would pass max_memory by {} MB",
                (unpacked - room).div_ceil(1_000_000)
            )),
            Weights::Expanded => None,
            Weights::Auto if options.slots < FEW => Some("with few sequences they are fastest".to_string()),
            Weights::Auto if !Kernel::of_kept().is_fast() => Some("this processor lacks AVX2".to_string()),
            Weights::Auto if unpacked > free / 2 => Some(format!(
                "unpacked they take {} MB, and {} MB are free",
                unpacked / 1_000_000,
                free / 1_000_000
            )),
            Weights::Auto => None,
        };
        let expanded = obstacle.is_none();
        let rest = room - if expanded { unpacked } else { 0 } + LEAST_CACHE;
        let why = match obstacle {
            Some(why) => format!("weights as they are: {why}"),
            None => format!("weights expanded, {} MB", unpacked / 1_000_000),
        };
        Ok(Plan { expanded, why, cache_bytes: rest.min(CACHE) })
    }
}

/// KV cells that fit into `bytes`, of those that `slots` sequences can use.
pub fn cells(facts: &ModelFacts, width: u64, options: &LlamaOptions, bytes: u64) -> u32 {
    let value = if options.f32_kv { 4 } else { 2 };
    let cell = 2 * u64::from(facts.n_layer.max(1)) * width.max(1) * value;
    let wanted = (u64::from(options.slots) * 512).max(2048);
    wanted.min(bytes / cell).max(512) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(options: LlamaOptions) -> Result<Plan> {
        let gguf =
            Gguf::open(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/coin-flip-tiny-q8_0.gguf")).unwrap();
        Plan::of(&gguf, &options)
    }

    #[test]
    fn memory_goes_to_the_model_first_then_its_cache_then_unpacked_weights() {
        let options = |weights, max_memory| LlamaOptions { weights, max_memory, ..LlamaOptions::default() };
        let few = plan(LlamaOptions { slots: 2, ..options(Weights::Auto, None) }).unwrap();
        assert!(!few.expanded && few.why.contains("few sequences") && few.cache_bytes == CACHE, "{few:?}");
        assert!(plan(options(Weights::Expanded, None)).unwrap().expanded);
        let tight = plan(options(Weights::Expanded, Some(18_600_000))).unwrap();
        assert!(!tight.expanded && tight.why.contains("max_memory"), "{tight:?}");
        assert!((LEAST_CACHE..18_600_000).contains(&tight.cache_bytes), "{tight:?}");
        let message = plan(options(Weights::AsIs, Some(1_000_000))).unwrap_err().to_string();
        assert!(message.contains("max_memory") && message.contains("too few"), "{message}");
    }
}
