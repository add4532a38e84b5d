//! A decoder over an application's own inference, called through a foreign interface.
//!
//! Its results are untrusted. Its numbers are checked before anything is sized by them, its vocabulary
//! is read once and kept, tokens outside of it are refused, and logits are read only from rows that
//! asked for them. A wrong result ends the call with an error that names it, and cannot make this
//! library read or write out of bounds. One thing cannot be checked: that a pointer to logits points to
//! as many as promised.

use std::path::Path;

use super::{BatchRow, ChatTemplate, Decoder, SeqId, Token};
use crate::gguf::{Gguf, Value};
use crate::{Error, Result};

/// The properties of a host decoder, as the application declares them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostInfo {
    /// Tokens in the vocabulary: the width of a row of logits.
    pub vocab_size: u32,
    /// Cells of the KV cache.
    pub context_size: u32,
    /// Positions that one sequence may have; 0 for all cells.
    pub sequence_limit: u32,
    /// Sequences that may be live at once.
    pub max_sequences: u32,
    /// Sequences to work on at once; 0 for all.
    pub slots: u32,
    /// Rows that one batch takes.
    pub max_batch: u32,
    /// The token that prompts start with and that its `tokenize` does not add.
    pub bos: Option<Token>,
    /// The chat template; the model file's where there is none.
    pub chat_template: Option<String>,
    /// The text of the token that begins a text; as in the model file where there is none.
    pub bos_text: Option<String>,
    /// The text of the token that ends a text; as in the model file where there is none.
    pub eos_text: Option<String>,
}

/// A result of the application; its errors are numbers.
pub type HostResult<T> = std::result::Result<T, i32>;

/// The functions of a host decoder. The rows, sequences and tokens passed to them are within its
/// [`HostInfo`].
///
/// # Safety
/// Where [`HostCalls::logits`] does not return NULL, it returns a pointer to as many `f32` as the
/// vocabulary has tokens, which stay unchanged until the next [`HostCalls::decode`] or
/// [`HostCalls::set_adapter`].
pub unsafe trait HostCalls {
    /// Writes the tokens of `text` to `tokens` and returns how many it has; where that is more than
    /// fit, nothing need be written, and it is called again with room for them.
    fn tokenize(&self, text: &str, special: bool, tokens: &mut [Token]) -> HostResult<usize>;
    /// Writes the bytes of `token` to `bytes` and returns how many it has; as in `tokenize`.
    fn piece(&self, token: Token, bytes: &mut [u8]) -> HostResult<usize>;
    /// Whether `token` ends a turn.
    fn is_end(&self, token: Token) -> HostResult<bool>;
    /// Feeds `rows`.
    fn decode(&mut self, rows: &[BatchRow]) -> HostResult<()>;
    /// A pointer to the logits after row `index` of the last batch; NULL for a failure.
    fn logits(&mut self, index: usize) -> *const f32;
    /// Makes the empty sequence `to` share positions `0..len` of `from`.
    fn copy_prefix(&mut self, from: SeqId, to: SeqId, len: u32) -> HostResult<()>;
    /// Removes positions `from..` of `seq`.
    fn truncate(&mut self, seq: SeqId, from: u32) -> HostResult<()>;
    /// Whether it can apply adapters.
    fn takes_adapters(&self) -> bool;
    /// Applies the LoRA adapter in `path`, or none, to what is decoded from now on. Sequences keep what
    /// they hold.
    fn set_adapter(&mut self, path: Option<&str>) -> HostResult<()>;
}

/// A [`Decoder`] over an application's functions. Empties every sequence when it is made and when it is
/// dropped, and detaches its adapter then.
///
/// Threads: the functions are called by the thread that calls this.
pub struct HostDecoder<C: HostCalls> {
    calls: C,
    facts: HostInfo,
    template: ChatTemplate,
    /// The bytes of all tokens, one after the other, and where each one's end.
    pieces: (Vec<u8>, Vec<usize>),
    /// Whether each token ends a turn.
    ends: Vec<bool>,
    /// The end-of-sequence token.
    eos: Option<Token>,
    /// The logits after each row of the last batch; NULL where none are wanted.
    outputs: Vec<*const f32>,
    /// Whether an adapter may be applied.
    adapted: bool,
    /// The first failure in a function without a result; the next batch returns it.
    failure: Option<Error>,
}

/// Upper bounds of plausible values, far above those of real models.
const MAX_TOKENS: u32 = 1 << 22;
const MAX_CELLS: u32 = 1 << 24;
const MAX_SEQUENCES: u32 = 1024;
const MAX_PIECE_BYTES: usize = 1 << 16;

fn failed(what: &str, code: i32) -> Error {
    Error::Engine(format!("the host decoder: {what} failed (code {code})"))
}

fn wrong(why: String) -> Error {
    Error::Engine(format!("the host decoder: {why}"))
}

impl<C: HostCalls> HostDecoder<C> {
    /// A decoder over `calls`, of which `facts` are said, for the model in the file `model`. Reads
    /// the whole vocabulary.
    ///
    /// # Errors
    /// [`Error::Input`] naming the fact that is impossible or does not belong to the model;
    /// [`Error::Unsupported`] for a chat template that cannot be used; [`Error::Engine`] for a
    /// failure of the host; those of reading the file.
    pub fn new(calls: C, facts: HostInfo, model: &Path) -> Result<HostDecoder<C>> {
        let facts = checked(facts)?;
        let gguf = Gguf::open(model)?;
        check_vocabulary(facts.vocab_size as usize, &gguf)?;
        let special = |given: &Option<String>, key: &str| {
            given.clone().or_else(|| token_text(&gguf, key)).unwrap_or_default()
        };
        let template = ChatTemplate::new(
            facts.chat_template.as_deref().or_else(|| gguf.str("tokenizer.chat_template")),
            &special(&facts.bos_text, "tokenizer.ggml.bos_token_id"),
            &special(&facts.eos_text, "tokenizer.ggml.eos_token_id"),
        )?;
        let (pieces, ends) = vocabulary(&calls, facts.vocab_size)?;
        let mut host = HostDecoder {
            calls,
            facts,
            template,
            pieces,
            eos: end_of_sequence(&gguf, &ends),
            ends,
            outputs: Vec::new(),
            adapted: false,
            failure: None,
        };
        host.empty();
        match host.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(host),
        }
    }

    fn empty(&mut self) {
        for seq in 0..self.facts.max_sequences {
            self.truncate(SeqId(seq), 0);
        }
    }

    /// Keeps the first failure until a call can return it.
    fn keep(&mut self, what: &str, result: HostResult<()>) {
        if let Err(code) = result {
            self.failure.get_or_insert_with(|| failed(what, code));
        }
    }
}

/// Checks the properties and fills in their defaults.
fn checked(mut facts: HostInfo) -> Result<HostInfo> {
    if facts.sequence_limit == 0 {
        facts.sequence_limit = facts.context_size;
    }
    if facts.slots == 0 {
        facts.slots = facts.max_sequences;
    }
    let within = |name: &str, value: u32, least: u32, most: u32| match (least..=most).contains(&value) {
        true => Ok(()),
        false => {
            Err(Error::input(format!("decoder.{name}"), format!("is {value}; expected {least} to {most}")))
        }
    };
    within("vocab_size", facts.vocab_size, 2, MAX_TOKENS)?;
    within("context_size", facts.context_size, 2, MAX_CELLS)?;
    within("sequence_limit", facts.sequence_limit, 2, facts.context_size)?;
    within("max_sequences", facts.max_sequences, 1, MAX_SEQUENCES)?;
    within("slots", facts.slots, 1, facts.max_sequences)?;
    within("max_batch", facts.max_batch, facts.slots, MAX_CELLS)?;
    if let Some(bos) = facts.bos
        && !(0..facts.vocab_size as Token).contains(&bos)
    {
        let why = format!("is {bos}; expected -1 or a token below {}", facts.vocab_size);
        return Err(Error::input("decoder.bos", why));
    }
    Ok(facts)
}

/// Checks that a decoder with `found` tokens can run the model in `gguf`.
pub(crate) fn check_vocabulary(found: usize, gguf: &Gguf) -> Result<()> {
    let embeddings = gguf.tensor("token_embd.weight").and_then(|tensor| tensor.dims.get(1).copied());
    match embeddings {
        Some(wanted) if wanted != found => Err(Error::input(
            "decoder.vocab_size",
            format!(
                "is {found}, but {} has {wanted} tokens; the decoder must run the model that the call is about",
                gguf.path().display()
            ),
        )),
        _ => Ok(()),
    }
}

/// The text of the token whose number the key `key` holds.
fn token_text(gguf: &Gguf, key: &str) -> Option<String> {
    let Some(Value::Array(tokens)) = gguf.value("tokenizer.ggml.tokens") else { return None };
    match tokens.get(usize::try_from(gguf.int(key)?).ok()?)? {
        Value::Str(text) => Some(text.clone()),
        _ => None,
    }
}

/// The token that the file names, or else the only one that ends a turn.
fn end_of_sequence(gguf: &Gguf, ends: &[bool]) -> Option<Token> {
    let named = gguf.int("tokenizer.ggml.eos_token_id").and_then(|token| usize::try_from(token).ok());
    let mut ending = ends.iter().enumerate().filter(|(_, end)| **end).map(|(token, _)| token);
    let only = ending.next().filter(|_| ending.next().is_none());
    named.or(only).and_then(|token| Token::try_from(token).ok())
}

type Vocabulary = ((Vec<u8>, Vec<usize>), Vec<bool>);

/// All pieces, and which tokens end a turn.
fn vocabulary(calls: &impl HostCalls, vocab_size: u32) -> Result<Vocabulary> {
    let (mut bytes, mut until) = (Vec::new(), Vec::with_capacity(vocab_size as usize));
    let mut ends = Vec::with_capacity(vocab_size as usize);
    let mut buffer = vec![0; 64];
    for token in 0..vocab_size as Token {
        let read = |buffer: &mut [u8]| {
            calls.piece(token, buffer).map_err(|code| failed(&format!("the piece of token {token}"), code))
        };
        let mut len = read(&mut buffer)?;
        if len > MAX_PIECE_BYTES {
            return Err(wrong(format!(
                "token {token} is said to have {len} bytes; at most {MAX_PIECE_BYTES}"
            )));
        }
        if len > buffer.len() {
            buffer.resize(len, 0);
            len = read(&mut buffer)?;
        }
        let piece = buffer
            .get(..len)
            .ok_or_else(|| wrong(format!("the piece of token {token} changes its length to {len}")))?;
        bytes.extend_from_slice(piece);
        until.push(bytes.len());
        let end = calls.is_end(token);
        ends.push(end.map_err(|code| failed(&format!("whether token {token} ends a turn"), code))?);
    }
    Ok(((bytes, until), ends))
}

impl<C: HostCalls> Decoder for HostDecoder<C> {
    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<Token>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        // A token for each byte, one or two in front, and as much again.
        let most = text.len().saturating_mul(2).saturating_add(64);
        // -1 is no token: positions that the function claims to have written and did not are refused.
        let mut tokens: Vec<Token> = vec![-1; text.len() + 8];
        let read = |tokens: &mut [Token]| {
            self.calls.tokenize(text, special, tokens).map_err(|code| failed("tokenize", code))
        };
        let mut n = read(&mut tokens)?;
        if n > most {
            return Err(wrong(format!("{n} tokens for a text of {} bytes", text.len())));
        }
        if n > tokens.len() {
            tokens = vec![-1; n];
            n = read(&mut tokens)?;
        }
        if n > tokens.len() {
            return Err(wrong(format!("the number of tokens changes to {n}")));
        }
        tokens.truncate(n);
        let size = self.vocab_size();
        match tokens.iter().find(|&&token| !usize::try_from(token).is_ok_and(|token| token < size)) {
            Some(token) => Err(wrong(format!("tokenize gave token {token} of a vocabulary of {size}"))),
            None => Ok(tokens),
        }
    }

    fn piece(&self, token: Token, out: &mut Vec<u8>) {
        let (bytes, until) = &self.pieces;
        let Some((index, &end)) =
            usize::try_from(token).ok().and_then(|index| Some((index, until.get(index)?)))
        else {
            return;
        };
        let start = index.checked_sub(1).map_or(0, |before| until[before]);
        out.extend_from_slice(&bytes[start..end]);
    }

    fn is_end(&self, token: Token) -> bool {
        usize::try_from(token).ok().and_then(|index| self.ends.get(index).copied()).unwrap_or(false)
    }

    fn chat_template(&self) -> &ChatTemplate {
        &self.template
    }

    fn bos(&self) -> Option<Token> {
        self.facts.bos
    }

    fn eos(&self) -> Option<Token> {
        self.eos
    }

    fn vocab_size(&self) -> usize {
        self.facts.vocab_size as usize
    }

    fn context_size(&self) -> usize {
        self.facts.context_size as usize
    }

    fn sequence_limit(&self) -> usize {
        self.facts.sequence_limit as usize
    }

    fn max_sequences(&self) -> usize {
        self.facts.max_sequences as usize
    }

    fn slots(&self) -> usize {
        self.facts.slots as usize
    }

    fn max_batch(&self) -> usize {
        self.facts.max_batch as usize
    }

    fn decode(&mut self, rows: &[BatchRow]) -> Result<()> {
        self.outputs.clear();
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.calls.decode(rows).map_err(|code| failed(&format!("decoding {} rows", rows.len()), code))?;
        for (index, row) in rows.iter().enumerate() {
            let logits = if row.logits { self.calls.logits(index) } else { std::ptr::null() };
            if row.logits && (logits.is_null() || !logits.is_aligned()) {
                self.outputs.clear();
                let what = if logits.is_null() { "NULL" } else { "a misaligned address" };
                return Err(wrong(format!("the logits after row {index} of {} are {what}", rows.len())));
            }
            self.outputs.push(logits);
        }
        Ok(())
    }

    fn logits(&self, index: usize) -> &[f32] {
        match self.outputs.get(index) {
            Some(logits) if !logits.is_null() => {
                // SAFETY: by the contract of `HostCalls`, `vocab_size` numbers lie there until the
                // next `decode` or `set_adapter`, which take `&mut self` and clear `outputs`.
                unsafe { std::slice::from_raw_parts(*logits, self.vocab_size()) }
            }
            _ => &[],
        }
    }

    fn copy_prefix(&mut self, from: SeqId, to: SeqId, len: u32) {
        // The failure may concern the source of this copy; the next batch returns it.
        if self.failure.is_some() {
            return;
        }
        let copied = self.calls.copy_prefix(from, to, len);
        self.keep("copying a prefix", copied);
    }

    fn truncate(&mut self, seq: SeqId, from: u32) {
        let truncated = self.calls.truncate(seq, from);
        self.keep("truncating a sequence", truncated);
    }

    fn takes_adapters(&self) -> bool {
        self.calls.takes_adapters()
    }

    fn set_adapter(&mut self, path: Option<&Path>) -> Result<()> {
        self.outputs.clear();
        if path.is_none() && !self.adapted {
            return Ok(());
        }
        if !self.takes_adapters() {
            return Err(Error::Unsupported("the host decoder applies no adapters".into()));
        }
        let name = path.map(|path| {
            Gguf::open(path)?; // Or its llama.cpp might assert on it.
            path.to_str().ok_or_else(|| Error::model(path, "its path is not UTF-8, which a host takes"))
        });
        let name = name.transpose()?;
        self.adapted = true;
        self.calls.set_adapter(name).map_err(|code| failed("applying an adapter", code))?;
        self.adapted = name.is_some();
        Ok(())
    }
}

impl<C: HostCalls> Drop for HostDecoder<C> {
    fn drop(&mut self) {
        self.outputs.clear();
        if self.adapted {
            let _ = self.calls.set_adapter(None);
        }
        self.empty();
    }
}

#[cfg(test)]
mod tests;
