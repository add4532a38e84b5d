//! The caller's own inference, as a table of functions.

use std::ffi::{c_char, c_void};
use std::mem::{offset_of, size_of};
use std::path::Path;

use super::catch::catch;
use super::failure::Failure;
use super::params::{self, Params};
use super::text::{NUL_TERMINATED, optional_text};
use crate::engine::{BatchRow, HostCalls, HostDecoder, HostInfo, HostResult, Scheduler, SeqId, Token};
use crate::{Cancel, Context, Progress};

/// One row of a batch to decode. Later versions do not change it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sn_batch_row {
    /// The token to feed, 0 to `vocab_size - 1`.
    pub token: i32,
    /// Its position in the sequence, from 0. The rows of a sequence continue it without a gap.
    pub pos: u32,
    /// The sequence that it extends, 0 to `max_sequences - 1`.
    pub seq: u32,
    /// Not 0: the logits after this token are wanted.
    pub logits: i32,
}

/// The caller's own inference: a model that it has loaded already, used instead of a second copy.
///
/// It must be the model that the call is about, in whatever precision the caller runs it: equal
/// vocabulary, equal tokens for equal text. Fill the struct with sn_decoder_init(), then set what
/// is not optional. bindings/c/secondnature_llama.h does all of it for an application
/// that has a `llama_context`.
///
/// Every function gets `user_data` first and returns 0 for success; any other number ends the call
/// that is running with SN_STATUS_ENGINE and is part of its message. Whatever a function returns or
/// writes is checked before it is used.
///
/// Every call that takes a decoder empties its sequences, 0 to `max_sequences - 1`, first and leaves
/// them empty, with no adapter of the library's applied. The caller may use the underlying context before
/// and after the call, but not during it.
///
/// Ownership: the struct and its texts are borrowed for the duration of the call that takes them;
/// of a decoder that a handle keeps, the struct and its texts are copied, and `user_data` must stay
/// alive until that handle is freed.
///
/// Threads: the functions are called by the thread that made the call into the library, one at a
/// time. They must not call into the library with the handles of that call, and must return
/// normally: no exception or longjmp may leave them.
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
    /// Required: sequences that may be live at once, at most 1024. Those above `slots` keep prompt
    /// prefixes for later samples; twice `slots` serves well.
    pub max_sequences: u32,
    /// Sequences to work on at once, so the rows of a batch that may want logits; 0 for
    /// `max_sequences`.
    pub slots: u32,
    /// Required: rows that one `decode` takes; no less than `slots`.
    pub max_batch: u32,
    /// The token that prompts start with and that `tokenize` does not add; -1, the default, where
    /// there is none.
    pub bos: i32,
    /// Must be 0.
    pub reserved: u32,
    /// The model's chat template, in Jinja. NULL: as the model file has it, if it has one.
    pub chat_template: *const c_char,
    pub chat_template_len: usize,
    /// The text of the token that begins a text, which templates may use. NULL: as the model file
    /// has it.
    pub bos_text: *const c_char,
    pub bos_text_len: usize,
    /// The text of the token that ends a text, which templates may use. NULL: as the model file has
    /// it.
    pub eos_text: *const c_char,
    pub eos_text_len: usize,
    /// Required. Writes the tokens of `text`, UTF-8 of `len` bytes that no NUL follows, to `tokens`,
    /// which holds `capacity`, and their number to `*count`, without a BOS or EOS that is not in the
    /// text. Text of special tokens becomes those tokens only where `special` is not 0. Where there
    /// are more than `capacity`, it writes only their number and returns 0; the call is then repeated
    /// with a buffer of that size.
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
    /// Required. Writes the bytes of `token` to `bytes`, which holds `capacity`, and their number to
    /// `*len`; special tokens have none. Where there are more than `capacity`, as in `tokenize`.
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
    /// Required. Feeds `n` rows, 1 to `max_batch`, and computes the wanted logits. After a failure
    /// the library empties the sequences.
    pub decode:
        Option<unsafe extern "C" fn(user_data: *mut c_void, rows: *const sn_batch_row, n: usize) -> i32>,
    /// Required. The logits after row `row` of the last batch, which asked for them: `vocab_size`
    /// numbers that stay as they are until the next `decode` or `set_adapter`. NULL for a failure.
    pub logits: Option<unsafe extern "C" fn(user_data: *mut c_void, row: usize) -> *const f32>,
    /// Required. Makes sequence `to`, which is empty, share the first `len` positions of `from`.
    pub copy_prefix:
        Option<unsafe extern "C" fn(user_data: *mut c_void, from: u32, to: u32, len: u32) -> i32>,
    /// Required. Removes the positions from `from` on of sequence `seq`; 0 empties it.
    pub truncate: Option<unsafe extern "C" fn(user_data: *mut c_void, seq: u32, from: u32) -> i32>,
    /// Applies the LoRA adapter in the file `path`, UTF-8 of `len` bytes followed by a NUL, to the rows
    /// decoded from now on, or none where `path` is NULL. Sequences keep the cells that they have; the
    /// library continues each only with the adapter that it began with. May be NULL: the library then
    /// loads the model itself to measure or use an adapter, but not to curate.
    pub set_adapter:
        Option<unsafe extern "C" fn(user_data: *mut c_void, path: *const c_char, len: usize) -> i32>,
}

// SAFETY: `repr(C)` with the size first and a pointer last; numbers, pointers and functions that may
// be NULL.
unsafe impl Params for sn_decoder {
    const FIRST_SIZE: usize = offset_of!(sn_decoder, set_adapter) + size_of::<*const ()>();
    const INIT: &'static str = "sn_decoder_init";
    const DEFAULT: sn_decoder = sn_decoder {
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
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sn_decoder_init(decoder: *mut sn_decoder, struct_size: usize) {
    // SAFETY: by the header's rules.
    catch!(or () => unsafe { params::init(decoder, struct_size) })
}

/// The functions of a decoder, none of which is NULL but perhaps `set_adapter`.
pub(super) struct DecoderTable {
    user_data: *mut c_void,
    tokenize:
        unsafe extern "C" fn(*mut c_void, *const c_char, usize, i32, *mut i32, usize, *mut usize) -> i32,
    piece: unsafe extern "C" fn(*mut c_void, i32, *mut c_char, usize, *mut usize) -> i32,
    is_end: unsafe extern "C" fn(*mut c_void, i32) -> i32,
    decode: unsafe extern "C" fn(*mut c_void, *const sn_batch_row, usize) -> i32,
    logits: unsafe extern "C" fn(*mut c_void, usize) -> *const f32,
    copy_prefix: unsafe extern "C" fn(*mut c_void, u32, u32, u32) -> i32,
    truncate: unsafe extern "C" fn(*mut c_void, u32, u32) -> i32,
    set_adapter: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> i32>,
    /// Kept between calls.
    rows: Vec<sn_batch_row>,
}

/// What the library works with in a call: the caller's engine where there is one.
pub(super) fn context<'a>(
    engine: &'a mut Option<Scheduler<HostDecoder<DecoderTable>>>,
    progress: &'a dyn Progress,
    cancel: &Cancel,
) -> Context<'a> {
    let cx = Context::new().progress(progress).cancel(cancel);
    match engine {
        Some(engine) => cx.engine(engine),
        None => cx,
    }
}

/// An engine over the caller's decoder, called `name` in messages; `None` for NULL. Copies the struct
/// and its texts.
///
/// # Safety
/// `decoder` is NULL or as its documentation says, for as long as the engine is used.
pub(super) unsafe fn engine(
    name: &str,
    decoder: *const sn_decoder,
    model: &Path,
) -> Result<Option<Scheduler<HostDecoder<DecoderTable>>>, Failure> {
    if decoder.is_null() {
        return Ok(None);
    }
    // SAFETY: by this function's contract.
    let given = unsafe { params::read(name, decoder) }?;
    if given.reserved != 0 {
        return Err(Failure::argument(&format!("{name}.reserved"), "must be 0"));
    }
    if given.bos < -1 {
        return Err(Failure::argument(&format!("{name}.bos"), "is neither -1 nor a token"));
    }
    let needed = |field: &str| Failure::argument(&format!("{name}.{field}"), "is NULL");
    let calls = DecoderTable {
        user_data: given.user_data,
        tokenize: given.tokenize.ok_or_else(|| needed("tokenize"))?,
        piece: given.piece.ok_or_else(|| needed("piece"))?,
        is_end: given.is_end.ok_or_else(|| needed("is_end"))?,
        decode: given.decode.ok_or_else(|| needed("decode"))?,
        logits: given.logits.ok_or_else(|| needed("logits"))?,
        copy_prefix: given.copy_prefix.ok_or_else(|| needed("copy_prefix"))?,
        truncate: given.truncate.ok_or_else(|| needed("truncate"))?,
        set_adapter: given.set_adapter,
        rows: Vec::new(),
    };
    let text = |field: &str, data, len| {
        // SAFETY: by this function's contract.
        let text = unsafe { optional_text(&format!("{name}.{field}"), data, len) }?;
        Ok::<_, Failure>(text.map(str::to_string))
    };
    let facts = HostInfo {
        vocab_size: given.vocab_size,
        context_size: given.context_size,
        sequence_limit: given.sequence_limit,
        max_sequences: given.max_sequences,
        slots: given.slots,
        max_batch: given.max_batch,
        bos: (given.bos >= 0).then_some(given.bos),
        chat_template: text("chat_template", given.chat_template, given.chat_template_len)?,
        bos_text: text("bos_text", given.bos_text, given.bos_text_len)?,
        eos_text: text("eos_text", given.eos_text, given.eos_text_len)?,
    };
    Ok(Some(Scheduler::new(HostDecoder::new(calls, facts, model)?)))
}

fn done(code: i32) -> HostResult<()> {
    if code == 0 { Ok(()) } else { Err(code) }
}

// SAFETY: the header asks of `logits` what the trait asks.
unsafe impl HostCalls for DecoderTable {
    fn tokenize(&self, text: &str, special: bool, tokens: &mut [Token]) -> HostResult<usize> {
        let mut count = 0;
        // SAFETY: the caller gave a function of this type with its user data; the text and the buffer
        // are as long as it is told.
        done(unsafe {
            (self.tokenize)(
                self.user_data,
                text.as_ptr().cast(),
                text.len(),
                special.into(),
                tokens.as_mut_ptr(),
                tokens.len(),
                &raw mut count,
            )
        })?;
        Ok(count)
    }

    fn piece(&self, token: Token, bytes: &mut [u8]) -> HostResult<usize> {
        let mut len = 0;
        let start = bytes.as_mut_ptr().cast();
        // SAFETY: as above.
        done(unsafe { (self.piece)(self.user_data, token, start, bytes.len(), &raw mut len) })?;
        Ok(len)
    }

    fn is_end(&self, token: Token) -> HostResult<bool> {
        // SAFETY: as above.
        match unsafe { (self.is_end)(self.user_data, token) } {
            0 => Ok(false),
            1 => Ok(true),
            code => Err(code),
        }
    }

    fn decode(&mut self, rows: &[BatchRow]) -> HostResult<()> {
        self.rows.clear();
        self.rows.extend(rows.iter().map(|row| sn_batch_row {
            token: row.token,
            pos: row.pos,
            seq: row.seq.0,
            logits: row.logits.into(),
        }));
        // SAFETY: as above.
        done(unsafe { (self.decode)(self.user_data, self.rows.as_ptr(), self.rows.len()) })
    }

    fn logits(&mut self, index: usize) -> *const f32 {
        // SAFETY: as above.
        unsafe { (self.logits)(self.user_data, index) }
    }

    fn copy_prefix(&mut self, from: SeqId, to: SeqId, len: u32) -> HostResult<()> {
        // SAFETY: as above.
        done(unsafe { (self.copy_prefix)(self.user_data, from.0, to.0, len) })
    }

    fn truncate(&mut self, seq: SeqId, from: u32) -> HostResult<()> {
        // SAFETY: as above.
        done(unsafe { (self.truncate)(self.user_data, seq.0, from) })
    }

    fn takes_adapters(&self) -> bool {
        self.set_adapter.is_some()
    }

    fn set_adapter(&mut self, path: Option<&str>) -> HostResult<()> {
        let Some(set_adapter) = self.set_adapter else { return Err(-1) };
        let text = path.map(super::text::Text::new);
        let (start, len) = text.as_ref().map_or((std::ptr::null(), 0), |text| (text.as_ptr(), text.len()));
        // SAFETY: as above; a NUL follows the path.
        done(unsafe { set_adapter(self.user_data, start, len) })
    }
}
