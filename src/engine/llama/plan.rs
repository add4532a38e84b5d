//! How much memory a model gets: its weights, an expanded copy of them, its KV cache.

use super::LlamaOptions;
use crate::gguf::{Gguf, TensorInfo, Value};
use crate::kernels::gemm::Prepacked;
use crate::memory::available_memory;
use crate::{Error, Result};

crate::options::choices! {
    /// Which weights batches of sequences are multiplied with.
    #[derive(Hash)]
    pub enum Weights: "weights" {
        /// Expanded where that pays and fits into half of the free memory.
        Auto = "auto",
        /// As they are stored, by llama.cpp.
        AsIs = "as-is",
        /// Dequantized in memory, by this library: several times as fast from some eight sequences on.
        /// Quantized weights to 8-bit integers in blocks of 32 where the processor multiplies those (AVX-512
        /// VNNI; 1.25 bytes a weight), others to bf16 (2 bytes). An error where they do not fit into memory.
        Expanded = "expanded",
    }
}

/// What was decided for one model.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryPlan {
    pub expanded: bool,
    /// Why, in one line.
    pub reason: String,
    /// Cells of the KV cache.
    pub cells: u32,
}

/// Bytes of the KV cache at most, where the caller sets no limit.
const DEFAULT_CACHE: u64 = 1 << 30;
/// Fewer cells than this cannot hold a prompt and its answers.
const MIN_CELLS: u64 = 512;
/// Below this many sequences ggml's quantized kernels are faster.
const MIN_SLOTS_TO_EXPAND: u32 = 4;

impl MemoryPlan {
    /// The plan for the model in `gguf`.
    ///
    /// # Errors
    /// [`Error::Input`] where the model and the smallest cache, or weights that were asked to be
    /// expanded, do not fit.
    pub fn of(gguf: &Gguf, options: &LlamaOptions) -> Result<MemoryPlan> {
        Self::with_free(gguf, options, available_memory().unwrap_or(u64::MAX))
    }

    /// The plan where `free` bytes can be allocated.
    fn with_free(gguf: &Gguf, options: &LlamaOptions, free: u64) -> Result<MemoryPlan> {
        let file: u64 = gguf.files().iter().filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum();
        let expanded_bytes = expanded_bytes(gguf);
        let cell = cell_bytes(gguf, options);
        let min_cache = cell.saturating_mul(options.context.map_or(MIN_CELLS, u64::from));
        let limit = options.max_memory.unwrap_or(u64::MAX);
        let spare = limit.checked_sub(file.saturating_add(min_cache)).ok_or_else(|| {
            let reason = format!(
                "{limit} bytes are too few; the model takes {file}, its KV cache at least {min_cache}"
            );
            Error::field("max_memory", reason)
        })?;
        let (needed, there) = (mb(expanded_bytes), mb_down(spare.min(free)));
        let obstacle = match options.weights {
            Weights::AsIs => Some("asked for".to_string()),
            Weights::Expanded if options.f32_kv => {
                return Err(Error::input(
                    "weights",
                    "expanded weights exclude f32_kv, which is llama.cpp alone",
                ));
            }
            Weights::Expanded if expanded_bytes > spare => {
                let reason = format!("expanded they need {needed} MB, and max_memory leaves {there} MB");
                return Err(Error::field("weights", reason));
            }
            Weights::Expanded if expanded_bytes > free => {
                let reason = format!("expanded they need {needed} MB, and {there} MB are free");
                return Err(Error::field("weights", reason));
            }
            Weights::Expanded => None,
            _ if options.f32_kv => Some("llama.cpp alone was asked for".to_string()),
            _ if expanded_bytes > spare => {
                Some(format!("expanded they need {needed} MB, and max_memory leaves {there} MB"))
            }
            _ if options.slots < MIN_SLOTS_TO_EXPAND => {
                Some("with few sequences they are fastest".to_string())
            }
            _ if !Prepacked::is_fast() => Some("this processor lacks AVX2".to_string()),
            _ if expanded_bytes > free / 2 => {
                Some(format!("expanded they need {needed} MB, and {there} MB are free"))
            }
            _ => None,
        };
        let expanded = obstacle.is_none();
        let reason = match obstacle {
            Some(obstacle) => format!("weights as they are: {obstacle}"),
            None => format!("weights expanded to {}, {needed} MB", expanded_dtype(gguf)),
        };
        let rest = spare - if expanded { expanded_bytes } else { 0 };
        let cache_bytes = rest.saturating_add(min_cache).min(DEFAULT_CACHE);
        let wanted = (u64::from(options.slots) * 512).max(2048);
        let cells = wanted.min(cache_bytes / cell).max(MIN_CELLS) as u32;
        Ok(MemoryPlan { expanded, reason, cells: options.context.unwrap_or(cells) })
    }
}

/// Bytes of all weights, expanded.
fn expanded_bytes(gguf: &Gguf) -> u64 {
    let bytes = |t: &TensorInfo| Prepacked::bytes(t.ty, t.dims[0], t.elements() / t.dims[0].max(1));
    gguf.tensors().map(bytes).sum()
}

/// What most of them are expanded to.
fn expanded_dtype(gguf: &Gguf) -> &'static str {
    let largest = gguf.tensors().max_by_key(|t| t.elements());
    largest.map_or("nothing", |t| Prepacked::dtype(t.ty, t.dims[0]))
}

/// Bytes of one cell of the KV cache: the keys and values of a token, in all layers.
fn cell_bytes(gguf: &Gguf, options: &LlamaOptions) -> u64 {
    let arch = gguf.str("general.architecture").unwrap_or_default();
    let layers = gguf.int(&format!("{arch}.block_count")).unwrap_or(1).clamp(1, 1 << 16) as usize;
    // A number for all layers or one for each; a size that is missing follows from others.
    let size = |key: &str, layer: usize| -> Option<u64> {
        let value = match gguf.value(&format!("{arch}.{key}"))? {
            Value::Array(each) => each.get(layer)?,
            all => all,
        };
        if let Value::Int(n) = value { Some((*n).clamp(0, 1 << 24) as u64) } else { None }
    };
    let layer = |layer: usize| {
        let heads = size("attention.head_count", layer).unwrap_or(1);
        let kv_heads = size("attention.head_count_kv", layer).unwrap_or(heads);
        let width = size("embedding_length", layer).unwrap_or(1) / heads.max(1);
        let keys = size("attention.key_length", layer).unwrap_or(width);
        let values = size("attention.value_length", layer).unwrap_or(width);
        kv_heads * (keys + values)
    };
    let value_bytes = if options.f32_kv { 4 } else { 2 };
    (0..layers).map(layer).sum::<u64>().max(1) * value_bytes
}

/// Megabytes, rounded up: for what is needed.
fn mb(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

/// Megabytes, rounded down: for what there is.
fn mb_down(bytes: u64) -> u64 {
    bytes / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: u64 = 1 << 40;

    fn plan(options: LlamaOptions, free: u64) -> Result<MemoryPlan> {
        let gguf =
            Gguf::open(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/coin-flip-tiny-q8_0.gguf")).unwrap();
        MemoryPlan::with_free(&gguf, &options, free)
    }

    fn options(weights: Weights, max_memory: Option<u64>) -> LlamaOptions {
        LlamaOptions { weights, max_memory, ..LlamaOptions::default() }
    }

    /// The expanded weights of the model, and a memory limit that leaves one byte too few for them.
    fn expanded_bytes_and_limit() -> (u64, u64) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/coin-flip-tiny-q8_0.gguf");
        let gguf = Gguf::open(path).unwrap();
        let expanded = expanded_bytes(&gguf);
        let cache = MIN_CELLS * cell_bytes(&gguf, &LlamaOptions::default());
        (expanded, std::fs::metadata(path).unwrap().len() + cache + expanded - 1)
    }

    #[test]
    fn memory_goes_to_the_model_first_then_its_cache_then_expanded_weights() {
        let few = plan(LlamaOptions { slots: 2, ..options(Weights::Auto, None) }, FREE).unwrap();
        assert!(!few.expanded && few.reason.contains("few sequences") && few.cells == 2048, "{few:?}");
        assert!(plan(options(Weights::Expanded, None), FREE).unwrap().expanded);
        let (_, limit) = expanded_bytes_and_limit();
        let tight = plan(options(Weights::Auto, Some(limit)), FREE).unwrap();
        assert!(!tight.expanded && tight.reason.contains("max_memory"), "{tight:?}");
        assert!(plan(options(Weights::Expanded, Some(limit + 1)), FREE).unwrap().expanded);
        let message = plan(options(Weights::AsIs, Some(1_000_000)), FREE).unwrap_err().to_string();
        assert!(message.contains("max_memory") && message.contains("too few"), "{message}");
    }

    #[test]
    fn a_memory_limit_is_kept_or_refused_however_wide_the_cells_are() {
        for limit in (1_000_000..12_000_000).step_by(50_000) {
            for (weights, f32_kv) in [(Weights::AsIs, true), (Weights::Auto, false)] {
                let options = LlamaOptions { f32_kv, ..options(weights, Some(limit)) };
                let Ok(plan) = plan(options.clone(), FREE) else { continue };
                let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/coin-flip-tiny-q8_0.gguf");
                let gguf = Gguf::open(path).unwrap();
                let file = std::fs::metadata(path).unwrap().len();
                let expanded = if plan.expanded { expanded_bytes(&gguf) } else { 0 };
                let cache = u64::from(plan.cells) * cell_bytes(&gguf, &options);
                assert!(file + expanded + cache <= limit && plan.cells >= 512, "{limit}: {plan:?}");
            }
        }
    }

    #[test]
    fn expanded_weights_that_do_not_fit_are_refused_with_what_they_need_and_what_there_is() {
        let says = |options, free| plan(options, free).unwrap_err().to_string();
        let (expanded, limit) = expanded_bytes_and_limit();
        let limited = says(options(Weights::Expanded, Some(limit)), FREE);
        assert!(limited.contains("max_memory leaves") && limited.contains("need"), "{limited}");
        let scarce = says(options(Weights::Expanded, None), expanded - 1);
        let there = format!("{} MB are free", mb_down(expanded - 1));
        assert!(scarce.contains(&there) && scarce.starts_with("weights: "), "{scarce}");
        assert!(!plan(options(Weights::Auto, None), expanded - 1).unwrap().expanded);
    }
}
