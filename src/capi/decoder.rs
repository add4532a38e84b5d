//! A host's own inference, as a table of functions.

use std::ffi::{c_char, c_void};
use std::mem::size_of;

use super::boundary::{NUL_TERMINATED, entry};

/// One row of a batch to decode. Later versions do not change it. Since 0.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sn_row {
    /// The token to feed, 0 to `vocab_size - 1`.
    pub token: i32,
    /// Its position in the sequence, from 0. The rows of a sequence continue it without a gap.
    pub pos: u32,
    /// The sequence that it extends, 0 to `max_sequences - 1`.
    pub seq: u32,
    /// Not 0: the logits after this token are wanted.
    pub logits: i32,
}

/// The host's own inference: a model that it has loaded already, used instead of a second copy.
///
/// It must be the model that the call is about, in whatever precision the host runs it: equal
/// vocabulary, equal tokens for equal text. Fill the struct with sn_decoder_init(), then set what
/// is not optional. bindings/c/secondnature_llama.h does all of it for a host that has a
/// `llama_context`.
///
/// Every function gets `user_data` first and returns 0 for success; any other number ends the call
/// that is running with SN_STATUS_ENGINE and stands in its message. Whatever a function hands out
/// is checked before it is used.
///
/// Ownership: the struct and its texts are borrowed for the duration of the call that takes them;
/// of a decoder that a handle keeps, the struct and its texts are copied, and `user_data` must stay
/// alive until that handle is freed.
///
/// Threads: the functions are called by the thread that made the call into the library, one at a
/// time. They must not call into the library with the handles of that call, and must return
/// normally: no exception or longjmp may leave them. Since 0.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sn_decoder {
    /// The size of this struct as the caller knows it. Set by sn_decoder_init().
    pub struct_size: usize,
    /// Handed to every function.
    pub user_data: *mut c_void,
    /// Required: the number of tokens in the vocabulary, which is the width of a row of logits.
    pub vocab_size: u32,
    /// Required: cells of the KV cache. All sequences share them; positions that several sequences
    /// have in common through `copy_prefix` take their cells once.
    pub context_size: u32,
    /// Positions that one sequence may have; 0 for `context_size`.
    pub sequence_limit: u32,
    /// Required: sequences that may be live at once, at most 1024. Those above `slots` keep the
    /// beginnings of prompts for later samples; twice `slots` serves well.
    pub max_sequences: u32,
    /// Sequences to work on at once, so the rows of a batch that may want logits; 0 for
    /// `max_sequences`.
    pub slots: u32,
    /// Required: rows that one `decode` takes; no less than `slots`.
    pub max_batch: u32,
    /// The token that prompts start with and that `tokenize` does not add; -1, from init, where
    /// there is none.
    pub bos: i32,
    /// Must be 0.
    pub reserved: u32,
    /// The model's chat template, in Jinja. NULL: as the model file has it, if it has one.
    pub chat_template: *const c_char,
    pub chat_template_len: usize,
    /// The text of the token that begins a text, which templates may use. NULL: none.
    pub bos_text: *const c_char,
    pub bos_text_len: usize,
    /// The text of the token that ends a text, which templates may use. NULL: none.
    pub eos_text: *const c_char,
    pub eos_text_len: usize,
    /// Required. Writes the tokens of `text`, UTF-8 of `len` bytes that no NUL follows, to `tokens`,
    /// which has room for `capacity`, and their number to `*count`, with no BOS or EOS that is not
    /// in the text. Text of special tokens becomes those tokens only where `special` is not 0. Where
    /// the room does not suffice, `*count` is what would, `tokens` is left alone, the result is 0,
    /// and the call is repeated with that room.
    pub tokenize: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            text: *const c_char,
            len: usize,
            special: i32,
            tokens: *mut i32,
            capacity: usize,
            count: *mut usize,
        ) -> i32,
    >,
    /// Required. Writes the bytes that `token` stands for to `bytes`, which has room for `capacity`,
    /// and their number to `*len`; special tokens stand for none. Where the room does not suffice,
    /// as in `tokenize`.
    pub piece: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            token: i32,
            bytes: *mut c_char,
            capacity: usize,
            len: *mut usize,
        ) -> i32,
    >,
    /// Required. Returns 1 where `token` ends a turn (end-of-turn, end-of-sequence), else 0; less
    /// than 0 for a failure.
    pub is_end: Option<unsafe extern "C" fn(user_data: *mut c_void, token: i32) -> i32>,
    /// Required. Feeds `n` rows, 1 to `max_batch`, and computes the wanted logits. On failure the
    /// sequences in the batch are truncated to what they were before.
    pub decode: Option<unsafe extern "C" fn(user_data: *mut c_void, rows: *const sn_row, n: usize) -> i32>,
    /// Required. The logits after row `row` of the last batch, which asked for them: `vocab_size`
    /// numbers that stay as they are until the next `decode` or `set_adapter`. NULL for a failure.
    pub logits: Option<unsafe extern "C" fn(user_data: *mut c_void, row: usize) -> *const f32>,
    /// Required. Makes sequence `to`, which is empty, share the first `len` positions of `from`.
    pub copy_prefix:
        Option<unsafe extern "C" fn(user_data: *mut c_void, from: u32, to: u32, len: u32) -> i32>,
    /// Required. Forgets the positions from `from` on of sequence `seq`; 0 empties it.
    pub truncate: Option<unsafe extern "C" fn(user_data: *mut c_void, seq: u32, from: u32) -> i32>,
    /// Applies the LoRA adapter in the file `path`, UTF-8 of `len` bytes followed by a NUL, from now
    /// on, or none where `path` is NULL, and empties every sequence. May be NULL: the library then
    /// loads the model itself to measure or use an adapter, but not to curate.
    pub set_adapter:
        Option<unsafe extern "C" fn(user_data: *mut c_void, path: *const c_char, len: usize) -> i32>,
}

impl sn_decoder {
    pub(super) const DEFAULT: sn_decoder = sn_decoder {
        struct_size: size_of::<sn_decoder>(),
        user_data: std::ptr::null_mut(),
        vocab_size: 0,
        context_size: 0,
        sequence_limit: 0,
        max_sequences: 0,
        slots: 0,
        max_batch: 0,
        bos: -1,
        reserved: 0,
        chat_template: std::ptr::null(),
        chat_template_len: NUL_TERMINATED,
        bos_text: std::ptr::null(),
        bos_text_len: NUL_TERMINATED,
        eos_text: std::ptr::null(),
        eos_text_len: NUL_TERMINATED,
        tokenize: None,
        piece: None,
        is_end: None,
        decode: None,
        logits: None,
        copy_prefix: None,
        truncate: None,
        set_adapter: None,
    };
}

/// Fills `decoder` with the defaults. `struct_size` is `sizeof *decoder`. Does nothing for NULL.
///
/// Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_decoder_init(decoder: *mut sn_decoder, struct_size: usize) {
    entry!(or () => if !decoder.is_null() {
        let defaults = sn_decoder { struct_size, ..sn_decoder::DEFAULT };
        let known = struct_size.min(size_of::<sn_decoder>());
        let bytes = decoder.cast::<u8>();
        // SAFETY: `struct_size` writable bytes, by the header's rules, of which the first
        // `known` are copied from as many, and the rest is zeroed.
        unsafe {
            std::ptr::copy_nonoverlapping((&raw const defaults).cast::<u8>(), bytes, known);
            bytes.add(known).write_bytes(0, struct_size - known);
        }
    })
}
