//! What llama.cpp hands out, freed when dropped: model, context, adapter; and the arrays of a batch.

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::plan::MemoryPlan;
use super::{LlamaOptions, ModelInfo};
use crate::engine::{BatchRow, Token};
use crate::{Error, Result};

/// Most sequences of a context (llama.cpp's LLAMA_MAX_SEQ).
pub const MOST_SEQUENCES: u32 = 256;

/// Sequences of a context: those worked on and those that keep prompts.
pub fn sequences(options: &LlamaOptions) -> u32 {
    match options.slots {
        1 => 1,
        slots => (2 * slots).min(MOST_SEQUENCES),
    }
}

/// Rows with logits that one decode call may have. Reserving for fewer than the whole batch saves
/// hundreds of megabytes on wide vocabularies.
pub fn max_outputs(options: &LlamaOptions) -> u32 {
    sequences(options).max(32)
}

pub struct Model(pub NonNull<sys::llama_model>);

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: owned; contexts and adapters are dropped before it.
        unsafe { sys::llama_model_free(self.0.as_ptr()) }
    }
}

impl Model {
    pub fn check_supported(&self, path: &Path) -> Result<()> {
        let model = self.0.as_ptr();
        // SAFETY: the model is live; these only read.
        let obstacles = unsafe {
            let vocab = sys::llama_model_get_vocab(model);
            let no_vocab = vocab.is_null() || sys::llama_vocab_type(vocab) == sys::LLAMA_VOCAB_TYPE_NONE;
            [
                (no_vocab, "a model without a vocabulary"),
                (sys::llama_model_is_recurrent(model), "a recurrent model"),
                (sys::llama_model_is_hybrid(model), "a hybrid (partly recurrent) model"),
                (sys::llama_model_is_diffusion(model), "a diffusion model"),
                (sys::llama_model_has_encoder(model), "an encoder-decoder model"),
                (!sys::llama_model_has_decoder(model), "a model that cannot generate"),
            ]
        };
        match obstacles.iter().find(|(found, _)| *found) {
            Some((_, what)) => Err(Error::unsupported(format!(
                "{}: {what} (architecture {}); text generation needs a decoder-only transformer",
                path.display(),
                self.meta("general.architecture"),
            ))),
            None => Ok(()),
        }
    }

    pub fn info(&self) -> ModelInfo {
        let model = self.0.as_ptr();
        // SAFETY: the model is live; these only read.
        unsafe {
            ModelInfo {
                name: self.meta("general.name"),
                arch: self.meta("general.architecture"),
                n_params: sys::llama_model_n_params(model),
                size: sys::llama_model_size(model),
                n_layer: sys::llama_model_n_layer(model).max(0) as u32,
                n_ctx_train: sys::llama_model_n_ctx_train(model).max(0) as u32,
            }
        }
    }

    /// A metadata value as text; empty if absent.
    pub fn meta(&self, key: &str) -> String {
        let Ok(key) = CString::new(key) else {
            return String::new();
        };
        let mut buffer = vec![0u8; 1024];
        // SAFETY: live model, NUL-terminated key, buffer of the given size.
        let n = unsafe {
            let out = buffer.as_mut_ptr().cast::<c_char>();
            sys::llama_model_meta_val_str(self.0.as_ptr(), key.as_ptr(), out, buffer.len())
        };
        buffer.truncate(n.clamp(0, 1023) as usize);
        String::from_utf8_lossy(&buffer).into_owned()
    }
}

pub struct Adapter(pub NonNull<sys::llama_adapter_lora>);

impl Drop for Adapter {
    fn drop(&mut self) {
        // SAFETY: owned; detached from the context or dropped after it, and before the model.
        unsafe { sys::llama_adapter_lora_free(self.0.as_ptr()) }
    }
}

pub struct Context(pub NonNull<sys::llama_context>);

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: owned; its model outlives it.
        unsafe { sys::llama_free(self.0.as_ptr()) }
    }
}

impl Context {
    pub fn new(
        model: &Model,
        info: &ModelInfo,
        options: &LlamaOptions,
        plan: &MemoryPlan,
        accelerated: bool,
    ) -> Option<Context> {
        let cells = plan.cells;
        // ggml's threads would wait for the accelerator's, and these for them, by spinning.
        let threads = if accelerated { 1 } else { threads(info, options) as i32 };
        // SAFETY: fills a plain struct.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = cells;
        params.n_batch = options.batch.min(cells);
        params.n_ubatch = params.n_batch;
        params.n_seq_max = sequences(options);
        // Must not be below n_seq_max: llama.cpp asserts it.
        params.n_outputs_max = max_outputs(options);
        params.n_threads = threads;
        params.n_threads_batch = threads;
        params.kv_unified = true;
        // A sliding-window cache forgets what a shared prefix needs.
        params.swa_full = true;
        params.offload_kqv = false;
        params.op_offload = false;
        params.no_perf = true;
        if accelerated {
            // Left to itself, llama.cpp turns it off where it would run on another device than the cache.
            params.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_ENABLED;
        }
        if options.f32_kv {
            params.type_k = sys::GGML_TYPE_F32;
            params.type_v = sys::GGML_TYPE_F32;
            params.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_DISABLED;
        }
        // SAFETY: the model is live and outlives the context (see the fields of `Llama`).
        let context = unsafe { sys::llama_init_from_model(model.0.as_ptr(), params) };
        let context = Context(NonNull::new(context)?);
        (!context.memory().is_null()).then_some(context)
    }

    pub fn memory(&self) -> sys::llama_memory_t {
        // SAFETY: the context is live; its memory lives as long.
        unsafe { sys::llama_get_memory(self.0.as_ptr()) }
    }

    pub fn n_ctx(&self) -> usize {
        // SAFETY: the context is live.
        unsafe { sys::llama_n_ctx(self.0.as_ptr()) as usize }
    }

    pub fn n_batch(&self) -> usize {
        // SAFETY: the context is live.
        unsafe { sys::llama_n_batch(self.0.as_ptr()) as usize }
    }
}

/// The arrays behind a `llama_batch`, kept between calls.
pub struct Batch {
    tokens: Vec<Token>,
    positions: Vec<i32>,
    sequences: Vec<i32>,
    sequence_counts: Vec<i32>,
    sequence_pointers: Vec<*mut i32>,
    wants: Vec<i8>,
}

impl Batch {
    pub fn with_capacity(n: usize) -> Batch {
        Batch {
            tokens: Vec::with_capacity(n),
            positions: Vec::with_capacity(n),
            sequences: Vec::with_capacity(n),
            sequence_counts: Vec::with_capacity(n),
            sequence_pointers: Vec::with_capacity(n),
            wants: Vec::with_capacity(n),
        }
    }

    pub fn fill(&mut self, rows: &[BatchRow]) {
        self.tokens.clear();
        self.tokens.extend(rows.iter().map(|row| row.token));
        self.positions.clear();
        self.positions.extend(rows.iter().map(|row| row.pos as i32));
        self.sequences.clear();
        self.sequences.extend(rows.iter().map(|row| row.seq.0 as i32));
        self.sequence_counts.clear();
        self.sequence_counts.resize(rows.len(), 1);
        self.sequence_pointers.clear();
        self.sequence_pointers.extend(self.sequences.iter_mut().map(std::ptr::from_mut));
        self.wants.clear();
        self.wants.extend(rows.iter().map(|row| i8::from(row.logits)));
    }

    pub fn as_llama(&mut self) -> sys::llama_batch {
        sys::llama_batch {
            n_tokens: self.tokens.len() as i32,
            token: self.tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: self.positions.as_mut_ptr(),
            n_seq_id: self.sequence_counts.as_mut_ptr(),
            seq_id: self.sequence_pointers.as_mut_ptr(),
            logits: self.wants.as_mut_ptr(),
        }
    }
}

/// A copy of a C text; `None` for NULL.
///
/// # Safety
/// `text` is NULL or NUL-terminated.
pub unsafe fn copy_text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Threads to compute with: one for each core; a single one for a tiny model, whose operations are
/// over before a second thread has joined them. Two are a fifth faster on an idle machine, and many
/// times slower on a busy one, where each operation waits until both have their processor back.
pub fn threads(info: &ModelInfo, options: &LlamaOptions) -> u32 {
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    options.threads.unwrap_or_else(|| if is_tiny(info) { 1 } else { cores() }).clamp(1, 512)
}

/// Whether the model's operations are too short to be shared out by llama.cpp.
pub fn is_tiny(info: &ModelInfo) -> bool {
    const TINY: u64 = 10_000_000;
    info.n_params < TINY
}
