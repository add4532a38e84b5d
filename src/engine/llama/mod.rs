//! The built-in [`Decoder`]: llama.cpp in this process, on the CPU.
//!
//! llama-cpp-2's safe types do what they can: start llama.cpp, own the model, tell its facts, read
//! and write its vocabulary. Its context borrows the model and its adapters are freed only with the
//! model, while a [`Llama`] owns all three and replaces adapters while it lives; so contexts,
//! adapters and batches are llama.cpp's C functions, called here.
//!
//! llama.cpp answers many mistakes with `GGML_ASSERT`, which ends the process. So everything it
//! asserts about batches, sequences and tokens is checked here first and becomes an [`Error`].

mod accel;
mod attend;
#[cfg(feature = "portable")]
mod cpu;
mod handles;
mod log;
mod plan;

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_2::token::LlamaToken;
use llama_cpp_sys_2 as sys;

use accel::Accelerator;
use handles::{
    LlamaAdapter, LlamaBatch, LlamaContext, LlamaModel, MAX_SEQUENCES, is_tiny, max_outputs, sequences,
    threads,
};
use log::start_loading;
use plan::MemoryPlan;
pub use plan::Weights;

use super::{BatchRow, ChatTemplate, Decoder, SeqId, Token};
use crate::threads::Wait;
use crate::{Error, Result};

/// How to load a model.
#[derive(Debug, Clone)]
pub struct LlamaOptions {
    /// Threads that compute; default: one for each core this process may use, one for a tiny model.
    pub threads: Option<u32>,
    /// Sequences to work on at once, 1..=256. As many again keep prompts, unless it is one: then what it
    /// writes does not depend on what ran before.
    pub slots: u32,
    /// KV cells shared by all sequences (llama.cpp rounds up to a multiple of 256). Default: 512
    /// for each slot, at least 2048, at most what fits into 1 GiB.
    pub context: Option<u32>,
    /// Rows one decode call accepts.
    pub batch: u32,
    /// F32 KV cache and no flash attention: slower, for comparing logits.
    pub f32_kv: bool,
    /// Which weights batches are multiplied with.
    pub weights: Weights,
    /// Bytes that model, unpacked weights and KV cache may take together; what is free by default.
    pub max_memory: Option<u64>,
    /// What the threads do between the operations of one call; they sleep between calls.
    pub wait: Wait,
}

impl Default for LlamaOptions {
    fn default() -> LlamaOptions {
        LlamaOptions {
            threads: None,
            slots: 16,
            context: None,
            batch: 512,
            f32_kv: false,
            weights: Weights::AsIs,
            max_memory: None,
            wait: Wait::Spin,
        }
    }
}

/// What a model file says about itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelInfo {
    /// `general.name`, empty if absent.
    pub name: String,
    /// `general.architecture`.
    pub arch: String,
    /// Parameters.
    pub n_params: u64,
    /// Bytes of all tensors.
    pub size: u64,
    /// Transformer blocks.
    pub n_layer: u32,
    /// Positions the model was trained for.
    pub n_ctx_train: u32,
}

/// A model, its context and at most one adapter, owned together.
///
/// Threads: may move between threads; one caller at a time.
pub struct Llama {
    // Dropped in this order: the context points into the adapter and the model, the adapter into
    // the model.
    context: LlamaContext,
    /// Refers to the model's weights.
    accelerator: Option<Accelerator>,
    adapter: Option<LlamaAdapter>,
    model: LlamaModel,
    info: ModelInfo,
    template: ChatTemplate,
    bos: Option<Token>,
    /// The end-of-sequence token that the file names.
    eos: Option<Token>,
    n_vocab: usize,
    /// Sequences to work on at once.
    slots: usize,
    /// Positions in use, by sequence.
    lengths: Vec<u32>,
    /// Which rows of the last batch have logits.
    outputs: Vec<bool>,
    max_outputs: usize,
    batch: LlamaBatch,
    plan: MemoryPlan,
    threads: u32,
}

// SAFETY: llama.cpp's objects are not bound to the thread that made them, and nothing else holds
// pointers to these: they are owned by this value alone.
unsafe impl Send for Llama {}

/// Whether the file says which token ends a sequence. Where it does not, llama.cpp takes a fixed number:
/// the right one for SentencePiece vocabularies (2), any token for others.
fn names_end_of_sequence(gguf: &crate::gguf::Gguf) -> bool {
    gguf.int("tokenizer.ggml.eos_token_id").is_some() || gguf.str("tokenizer.ggml.model") == Some("llama")
}

impl Llama {
    /// Loads the GGUF at `path` (for a split model: its first file).
    ///
    /// Errors: [`Error::Io`] if it cannot be read, [`Error::Model`] if it is not a usable model,
    /// [`Error::Unsupported`] if llama.cpp runs it in a way that rules out KV sequences (recurrent,
    /// encoder and diffusion models), [`Error::Input`] for options out of range.
    pub fn load(path: impl AsRef<Path>, options: &LlamaOptions) -> Result<Llama> {
        let path = path.as_ref();
        let max_slots = MAX_SEQUENCES;
        if !(1..=max_slots).contains(&options.slots) {
            let reason = format!("expected 1 to {max_slots}, found {}", options.slots);
            return Err(Error::field("slots", reason));
        }
        for (field, value) in [("batch", Some(options.batch)), ("context", options.context)] {
            if value == Some(0) {
                return Err(Error::field(field, "expected at least 1, found 0"));
            }
        }
        // The whole file is checked before llama.cpp, which asserts on some damage, sees it.
        let gguf = crate::gguf::Gguf::open(path)?;
        let plan = MemoryPlan::of(&gguf, options)?;
        let names_eos = names_end_of_sequence(&gguf);
        drop(gguf);
        let c_path = c_path(path)?;

        let (_loading, log) = start_loading();
        let model = LlamaModel::load(&c_path, !plan.expanded).ok_or_else(|| Error::model(path, log.why()))?;
        model.check_supported(path)?;
        let info = model.info();
        let threads = threads(&info, options);
        // A tiny model spends most of its time on the cells that its sequences do not see.
        let accelerates = plan.expanded || (is_tiny(&info) && options.slots > 1 && !options.f32_kv);
        let accelerator =
            accelerates.then(|| Accelerator::new(threads, options.wait, plan.expanded)).transpose()?;
        let context =
            run(accelerator.as_ref(), || LlamaContext::new(&model, &info, options, &plan, accelerates))
                .ok_or_else(|| Error::model(path, format!("no context for it: {}", log.why())))?;

        let vocab = model.vocab();
        let (n_vocab, bos) = (vocab.n_tokens(), vocab.bos());
        let text = |token: LlamaToken| {
            // llama.cpp asserts that the token exists.
            let text = (0..n_vocab).contains(&token.0).then(|| vocab.text(token)).flatten();
            text.map_or(String::new(), |text| text.to_string_lossy().into_owned())
        };
        let template = model.chat_template();
        let template = ChatTemplate::new(template.as_deref(), &text(bos), &text(vocab.eos()))
            .map_err(|error| Error::model(path, error.to_string()))?;
        let bos = (vocab.should_add_bos() && bos.0 >= 0).then_some(bos.0);
        let eos = Some(vocab.eos().0).filter(|token| names_eos && (0..n_vocab).contains(token));
        Ok(Llama {
            batch: LlamaBatch::with_capacity(context.n_batch()),
            context,
            accelerator,
            adapter: None,
            model,
            info,
            template,
            bos,
            eos,
            n_vocab: n_vocab.max(0) as usize,
            lengths: vec![0; sequences(options) as usize],
            slots: options.slots as usize,
            outputs: Vec::new(),
            max_outputs: max_outputs(options) as usize,
            plan,
            threads,
        })
    }

    /// What the model file says about itself.
    pub fn model_info(&self) -> &ModelInfo {
        &self.info
    }

    /// Which weights it multiplies, and why, in one line.
    pub fn weights_used(&self) -> &str {
        &self.plan.reason
    }

    /// Logits after each of `tokens`, fed as one sequence from an empty context, for comparing
    /// engines. Clears every sequence before and after.
    ///
    /// Errors: [`Error::Engine`] if they do not fit into the context.
    pub fn logits_for(&mut self, tokens: &[Token]) -> Result<Vec<Vec<f32>>> {
        if tokens.len() > self.sequence_limit() {
            let (n, limit) = (tokens.len(), self.sequence_limit());
            return Err(Error::Engine(format!("{n} tokens do not fit into a context of {limit}")));
        }
        self.clear();
        let mut logits = Vec::with_capacity(tokens.len());
        let step = self.max_outputs.min(self.max_batch());
        for (chunk_index, chunk) in tokens.chunks(step).enumerate() {
            let first = (chunk_index * step) as u32;
            let row = |(token, pos)| BatchRow { token, pos, seq: SeqId(0), logits: true };
            let rows: Vec<BatchRow> = chunk.iter().copied().zip(first..).map(row).collect();
            self.decode(&rows)?;
            logits.extend((0..rows.len()).map(|index| self.logits(index).to_vec()));
        }
        self.clear();
        Ok(logits)
    }

    /// Forgets every sequence.
    pub fn clear(&mut self) {
        // SAFETY: the context is live and has a memory (checked when it was made).
        unsafe { sys::llama_memory_clear(self.context.memory(), false) };
        self.lengths.fill(0);
        self.outputs.clear();
    }

    /// Everything about `rows` that llama.cpp asserts or that would corrupt its state.
    fn check_rows(&self, rows: &[BatchRow]) -> Result<()> {
        let fail = |why: String| Err(Error::Internal(format!("decode: {why}")));
        if rows.is_empty() || rows.len() > self.max_batch() {
            return fail(format!("{} rows; a batch takes 1 to {}", rows.len(), self.max_batch()));
        }
        let outputs = rows.iter().filter(|row| row.logits).count();
        if outputs > self.max_outputs {
            return fail(format!("{outputs} rows want logits; at most {} may", self.max_outputs));
        }
        let mut next = self.lengths.clone();
        for row in rows {
            let Some(expected) = next.get_mut(row.seq.0 as usize) else {
                return fail(format!("sequence {} of {}", row.seq.0, self.lengths.len()));
            };
            if row.pos != *expected || row.pos as usize >= self.sequence_limit() {
                let limit = self.sequence_limit();
                let (seq, pos) = (row.seq.0, row.pos);
                return fail(format!("sequence {seq} continues at {expected} (limit {limit}), not at {pos}"));
            }
            if row.token < 0 || row.token as usize >= self.n_vocab {
                return fail(format!("token {} of {}", row.token, self.n_vocab));
            }
            *expected += 1;
        }
        Ok(())
    }
}

/// Runs `work`, which calls llama.cpp, with the accelerator if there is one.
fn run<T>(accelerator: Option<&Accelerator>, work: impl FnOnce() -> T) -> T {
    match accelerator {
        Some(accelerator) => accelerator.run(work),
        None => work(),
    }
}

impl Decoder for Llama {
    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<Token>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        if i32::try_from(text.len()).is_err() {
            return Err(Error::Engine(format!("a text of {} bytes is too long", text.len())));
        }
        // Most texts have fewer tokens than bytes; otherwise llama.cpp says how many and is asked again.
        let mut tokens: Vec<LlamaToken> = Vec::with_capacity(text.len() + 8);
        self.model.vocab().tokenize_into(text.as_bytes(), &mut tokens, false, special);
        Ok(tokens.into_iter().map(|token| token.0).collect())
    }

    fn piece(&self, token: Token, out: &mut Vec<u8>) {
        if token < 0 || token as usize >= self.n_vocab {
            return;
        }
        // Nearly every piece fits, so that llama.cpp is asked once.
        out.reserve(64);
        self.model.vocab().token_to_piece_into(LlamaToken(token), out, false, None);
    }

    fn is_end(&self, token: Token) -> bool {
        self.model.vocab().is_eog(LlamaToken(token))
    }

    fn chat_template(&self) -> &ChatTemplate {
        &self.template
    }

    fn bos(&self) -> Option<Token> {
        self.bos
    }

    fn eos(&self) -> Option<Token> {
        self.eos
    }

    fn vocab_size(&self) -> usize {
        self.n_vocab
    }

    fn context_size(&self) -> usize {
        self.context.n_ctx()
    }

    fn sequence_limit(&self) -> usize {
        self.context_size().min(self.info.n_ctx_train.max(1) as usize)
    }

    fn max_sequences(&self) -> usize {
        self.lengths.len()
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn max_batch(&self) -> usize {
        self.context.n_batch()
    }

    fn sampling_threads(&self) -> usize {
        self.threads as usize
    }

    fn decode(&mut self, rows: &[BatchRow]) -> Result<()> {
        self.outputs.clear();
        self.check_rows(rows)?;
        self.batch.fill(rows);
        let (context, batch) = (self.context.0.as_ptr(), self.batch.as_llama());
        let status = run(self.accelerator.as_ref(), || {
            // SAFETY: the batch's arrays have as many entries as rows and outlive the call; rows were
            // checked against everything that llama.cpp asserts.
            unsafe { sys::llama_decode(context, batch) }
        });
        if status == 0 {
            for row in rows {
                self.lengths[row.seq.0 as usize] += 1;
            }
            self.outputs.extend(rows.iter().map(|row| row.logits));
            return Ok(());
        }
        // Part of the batch may have been kept.
        for (seq, length) in self.lengths.iter_mut().enumerate() {
            // SAFETY: live context, sequence in range.
            let last = unsafe { sys::llama_memory_seq_pos_max(self.context.memory(), seq as i32) };
            *length = (last + 1).max(0) as u32;
        }
        Err(Error::Engine(match status {
            1 => format!("the KV cache ({} cells) is full", self.context_size()),
            _ => format!("llama.cpp failed to decode {} rows (code {status})", rows.len()),
        }))
    }

    fn logits(&self, index: usize) -> &[f32] {
        if !self.outputs.get(index).is_some_and(|&wanted| wanted) {
            return &[];
        }
        // SAFETY: row `index` of the last batch has logits, `n_vocab` floats wide; they stay where
        // they are until the next `decode`, which takes `&mut self`. One caller at a time, so
        // nobody else sees llama.cpp sort its output rows on the first call.
        unsafe {
            let row = sys::llama_get_logits_ith(self.context.0.as_ptr(), index as i32);
            if row.is_null() { &[] } else { std::slice::from_raw_parts(row, self.n_vocab) }
        }
    }

    fn copy_prefix(&mut self, from: SeqId, to: SeqId, len: u32) {
        let n = self.lengths.len() as u32;
        if from == to || from.0 >= n || to.0 >= n {
            return;
        }
        let len = len.min(self.lengths[from.0 as usize]);
        self.truncate(to, 0);
        // SAFETY: live context, both sequences in range; the cache is unified, so a copy only
        // marks the cells as shared.
        unsafe {
            let memory = self.context.memory();
            sys::llama_memory_seq_cp(memory, from.0 as i32, to.0 as i32, 0, len as i32);
        }
        self.lengths[to.0 as usize] = len;
    }

    fn truncate(&mut self, seq: SeqId, from: u32) {
        let Some(length) = self.lengths.get_mut(seq.0 as usize) else {
            return;
        };
        if from < *length {
            *length = from;
            // SAFETY: live context, sequence in range. Attention caches can always drop a tail;
            // other kinds are refused when the model is loaded.
            unsafe {
                sys::llama_memory_seq_rm(self.context.memory(), seq.0 as i32, from as i32, -1);
            }
        }
    }

    fn set_adapter(&mut self, path: Option<&Path>) -> Result<()> {
        let adapter = path.map(|path| self.load_adapter(path)).transpose()?;
        let context = self.context.0.as_ptr();
        // SAFETY: live context; the first call detaches the old adapter, so that it can be freed,
        // the second gets one live adapter and one scale.
        unsafe {
            sys::llama_set_adapters_lora(context, std::ptr::null_mut(), 0, std::ptr::null_mut());
            if let Some(adapter) = &adapter {
                let (mut adapters, mut scales) = ([adapter.0.as_ptr()], [1.0]);
                sys::llama_set_adapters_lora(context, adapters.as_mut_ptr(), 1, scales.as_mut_ptr());
            }
        }
        self.adapter = adapter;
        self.outputs.clear();
        Ok(())
    }
}

impl Llama {
    fn load_adapter(&mut self, path: &Path) -> Result<LlamaAdapter> {
        // llama.cpp says of a model only that its type is not the right one.
        crate::model::lora_alpha(&crate::gguf::Gguf::open(path)?, path)?;
        let c_path = c_path(path)?;
        let (_loading, log) = start_loading();
        // SAFETY: the model is live and the path NUL-terminated.
        let adapter = unsafe { sys::llama_adapter_lora_init(self.model.as_ptr(), c_path.as_ptr()) };
        NonNull::new(adapter).map(LlamaAdapter).ok_or_else(|| Error::model(path, log.why()))
    }
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::model(path, "the path contains a NUL byte"))
}

#[cfg(test)]
mod tests;
