//! Owners of llama.cpp's objects: model, context, adapter; and the arrays of a batch.
//!
//! A context of llama-cpp-2 borrows its model and an adapter there is freed only with its model; a
//! [`super::Llama`] owns all three and replaces adapters while it lives, so these two are its own.

use std::ffi::{CStr, c_char};
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_2::model::{LlamaModel as Wrapped, VocabType};
use llama_cpp_2::vocab::LlamaVocab;
use llama_cpp_sys_2 as sys;

use super::plan::MemoryPlan;
use super::{LlamaOptions, ModelInfo};
use crate::engine::{BatchRow, Token};
use crate::{Error, Result};

/// The most sequences of a context (llama.cpp's LLAMA_MAX_SEQ).
pub const MAX_SEQUENCES: u32 = 256;

/// Sequences of a context: those worked on and those that keep prompts.
pub fn sequences(options: &LlamaOptions) -> u32 {
    match options.slots {
        1 => 1,
        slots => (2 * slots).min(MAX_SEQUENCES),
    }
}

/// Rows with logits that one decode call may have. Reserving for fewer than the whole batch saves
/// hundreds of megabytes on wide vocabularies.
pub fn max_outputs(options: &LlamaOptions) -> u32 {
    sequences(options).max(32)
}

/// A loaded model. llama-cpp-2's type owns it and answers what it can; what that cannot is asked of
/// llama.cpp here.
pub struct LlamaModel(Wrapped);

const _: () = assert!(size_of::<Wrapped>() == size_of::<*mut sys::llama_model>());

impl LlamaModel {
    /// Loads the file at `path` with a llama.cpp that has been started; `None` where llama.cpp refuses it. `rearranged`: whether ggml may
    /// rearrange weights for its own kernels, out of the accelerator's reach.
    ///
    /// The wrapper cannot ask for that, so its own way of loading does not serve.
    pub fn load(path: &CStr, rearranged: bool) -> Option<LlamaModel> {
        // SAFETY: fills a plain struct.
        let mut params = unsafe { sys::llama_model_default_params() };
        params.n_gpu_layers = 0;
        params.load_mode = sys::LLAMA_LOAD_MODE_MMAP;
        params.use_extra_bufts = rearranged;
        // SAFETY: the path is NUL-terminated and outlives the call; `params` has only defaults.
        let model = NonNull::new(unsafe { sys::llama_model_load_from_file(path.as_ptr(), params) })?;
        // SAFETY: the wrapper is a transparent struct around this very pointer, which is not null and
        // owned by nobody else.
        Some(LlamaModel(unsafe { std::mem::transmute::<NonNull<sys::llama_model>, Wrapped>(model) }))
    }

    /// The model, for llama.cpp's own functions; lives as long as `self`.
    pub fn as_ptr(&self) -> *mut sys::llama_model {
        // SAFETY: as in `load`.
        unsafe { *(&raw const self.0).cast::<*mut sys::llama_model>() }
    }

    /// Its vocabulary.
    pub fn vocab(&self) -> LlamaVocab<'_> {
        self.0.vocab()
    }

    /// Its chat template, if it has one.
    pub fn chat_template(&self) -> Option<String> {
        let template = self.0.chat_template(None).ok()?;
        Some(template.as_c_str().to_string_lossy().into_owned())
    }

    /// # Errors
    /// [`Error::Unsupported`] where it is no decoder-only transformer with a vocabulary.
    pub fn check_supported(&self, path: &Path) -> Result<()> {
        let model = self.as_ptr();
        // SAFETY: the model is live; these only read.
        let (is_diffusion, has_encoder, has_decoder) = unsafe {
            (
                sys::llama_model_is_diffusion(model),
                sys::llama_model_has_encoder(model),
                sys::llama_model_has_decoder(model),
            )
        };
        let obstacles = [
            (self.vocab().vocab_type() == VocabType::NONE, "a model without a vocabulary"),
            (self.0.is_recurrent(), "a recurrent model"),
            (self.0.is_hybrid(), "a hybrid (partly recurrent) model"),
            (is_diffusion, "a diffusion model"),
            (has_encoder, "an encoder-decoder model"),
            (!has_decoder, "a model that cannot generate"),
        ];
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
        ModelInfo {
            name: self.meta("general.name"),
            arch: self.meta("general.architecture"),
            n_params: self.0.n_params(),
            size: self.0.size(),
            n_layer: self.0.n_layer(),
            n_ctx_train: self.0.n_ctx_train(),
        }
    }

    /// A metadata value as text; empty if absent.
    fn meta(&self, key: &str) -> String {
        self.0.meta_val_str(key).unwrap_or_default()
    }
}

pub struct LlamaAdapter(pub NonNull<sys::llama_adapter_lora>);

impl Drop for LlamaAdapter {
    fn drop(&mut self) {
        // SAFETY: owned; detached from the context or dropped after it, and before the model.
        unsafe { sys::llama_adapter_lora_free(self.0.as_ptr()) }
    }
}

pub struct LlamaContext(pub NonNull<sys::llama_context>);

impl Drop for LlamaContext {
    fn drop(&mut self) {
        // SAFETY: owned; its model outlives it.
        unsafe { sys::llama_free(self.0.as_ptr()) }
    }
}

impl LlamaContext {
    pub fn new(
        model: &LlamaModel,
        info: &ModelInfo,
        options: &LlamaOptions,
        plan: &MemoryPlan,
        accelerated: bool,
    ) -> Option<LlamaContext> {
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
        let context = unsafe { sys::llama_init_from_model(model.as_ptr(), params) };
        let context = LlamaContext(NonNull::new(context)?);
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
pub struct LlamaBatch {
    tokens: Vec<Token>,
    positions: Vec<i32>,
    sequences: Vec<i32>,
    sequence_counts: Vec<i32>,
    sequence_pointers: Vec<*mut i32>,
    wants: Vec<i8>,
}

impl LlamaBatch {
    pub fn with_capacity(n: usize) -> LlamaBatch {
        LlamaBatch {
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
