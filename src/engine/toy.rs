//! A small decoder for tests of the scheduler. Tokens are bytes, and logits are a hash of the tokens of
//! the sequence and of the adapter with which each was computed. It counts KV cells itself and panics if
//! the protocol of [`Decoder`] is violated. Equal sequences give equal logits, bit for bit, so that a
//! confusion of sequences changes the text.

use std::collections::HashSet;
use std::path::Path;

use super::{BatchRow, ChatTemplate, Decoder, SeqId, Token};
use crate::Result;

/// The token that ends a turn; the 256 below it are bytes.
pub(super) const END: Token = 256;

/// The constants of the FNV-1a hash.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

pub(crate) struct Toy {
    pub template: ChatTemplate,
    /// The texts of tokens, if tokens are not bytes; the token after the last ends a turn.
    words: Vec<&'static str>,
    context: usize,
    batch: usize,
    /// The token, the adapter and the KV cell at each position.
    sequences: Vec<Vec<(Token, u64, u64)>>,
    /// The applied adapter: a hash of its path, 0 for none.
    adapter: u64,
    next_cell: u64,
    logits: Vec<Vec<f32>>,
    /// Maximal number of cells in use so far.
    pub peak_cells: usize,
    pub rows_fed: usize,
    /// The positions of rows after the same tokens and adapters as an earlier row: cells computed twice.
    pub fed_twice: Vec<u32>,
    /// Hashes of the sequences that were fed.
    fed: HashSet<u64>,
    /// Number of sequences to decode in parallel.
    pub slots: usize,
}

/// A template whose turns end with the toy's end-of-turn token.
pub(super) const TURNS: &str = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<end>{% endfor %}\
    {% if add_generation_prompt %}a:{% endif %}";

/// A decoder whose conversations have turns.
pub(crate) fn toy_with_turns(slots: usize, batch: usize, context: usize) -> Toy {
    let template = ChatTemplate::new(Some(TURNS), "", "").expect("it compiles");
    Toy { template, ..Toy::new(slots, batch, context) }
}

impl Toy {
    pub fn new(slots: usize, batch: usize, context: usize) -> Toy {
        Toy {
            template: ChatTemplate::plain(),
            words: Vec::new(),
            context,
            batch,
            sequences: vec![Vec::new(); slots],
            adapter: 0,
            next_cell: 0,
            logits: Vec::new(),
            peak_cells: 0,
            rows_fed: 0,
            fed_twice: Vec::new(),
            fed: HashSet::new(),
            slots,
        }
    }

    /// A decoder with this vocabulary, which cannot decode.
    pub fn with_words(words: &[&'static str]) -> Toy {
        Toy { words: words.to_vec(), ..Toy::new(1, 1, 1) }
    }

    /// The longest word at each place; characters that begin no word are skipped.
    fn in_words(&self, mut text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        while !text.is_empty() {
            let words = self.words.iter().enumerate().filter(|(_, word)| !word.is_empty());
            let begin = words.filter(|(_, word)| text.starts_with(**word));
            if let Some((token, word)) = begin.max_by_key(|(_, word)| word.len()) {
                tokens.push(token as Token);
                text = &text[word.len()..];
            } else {
                let mut rest = text.chars();
                rest.next();
                text = rest.as_str();
            }
        }
        tokens
    }

    /// The logits after `history`, without an adapter.
    pub fn logits_after(history: &[Token]) -> Vec<f32> {
        Toy::logits_of(history.iter().map(|&token| (token, 0)))
    }

    fn hash(history: impl Iterator<Item = (Token, u64)>) -> u64 {
        history
            .fold(FNV_BASIS, |hash, (token, adapter)| (hash ^ token as u64 ^ adapter).wrapping_mul(FNV_PRIME))
    }

    /// The logits after tokens, each of which was computed with an adapter.
    fn logits_of(history: impl Iterator<Item = (Token, u64)>) -> Vec<f32> {
        let hash = Toy::hash(history);
        let mut logits = vec![f32::NEG_INFINITY; 257];
        // Letters, the two halves of 'é', and now and then the end.
        for token in *b"abcde \xc3\xa9" {
            let draw = super::sampler::uniform(hash, u64::from(token)) as f32;
            logits[usize::from(token)] = 4.0 * draw;
        }
        logits[END as usize] = 1.5;
        logits
    }

    fn check_cells(&mut self) {
        let cells: HashSet<u64> = self.sequences.iter().flatten().map(|&(.., cell)| cell).collect();
        assert!(cells.len() <= self.context, "{} cells of {}", cells.len(), self.context);
        self.peak_cells = self.peak_cells.max(cells.len());
    }
}

impl Decoder for Toy {
    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<Token>> {
        if !self.words.is_empty() {
            return Ok(self.in_words(text));
        }
        let bytes = |text: &str| text.bytes().map(Token::from).collect::<Vec<_>>();
        if !special {
            return Ok(bytes(text));
        }
        Ok(text.split("<end>").map(bytes).collect::<Vec<_>>().join(&END))
    }

    fn piece(&self, token: Token, out: &mut Vec<u8>) {
        match self.words.get(token as usize) {
            Some(word) => out.extend(word.bytes()),
            None => out.extend(u8::try_from(token).ok()),
        }
    }

    fn is_end(&self, token: Token) -> bool {
        token == if self.words.is_empty() { END } else { self.words.len() as Token }
    }

    fn chat_template(&self) -> &ChatTemplate {
        &self.template
    }

    fn bos(&self) -> Option<Token> {
        None
    }

    fn eos(&self) -> Option<Token> {
        Some(if self.words.is_empty() { END } else { self.words.len() as Token })
    }

    fn vocab_size(&self) -> usize {
        if self.words.is_empty() { 257 } else { self.words.len() + 1 }
    }

    fn context_size(&self) -> usize {
        self.context
    }

    fn max_sequences(&self) -> usize {
        self.sequences.len()
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn max_batch(&self) -> usize {
        self.batch
    }

    fn decode(&mut self, rows: &[BatchRow]) -> Result<()> {
        assert!(!rows.is_empty() && rows.len() <= self.batch, "{} rows", rows.len());
        assert!(rows.iter().filter(|row| row.logits).count() <= self.slots);
        self.rows_fed += rows.len();
        self.logits.clear();
        for row in rows {
            let sequence = &mut self.sequences[row.seq.0 as usize];
            assert_eq!(row.pos as usize, sequence.len(), "a gap in {:?}", row.seq);
            assert!((0..257).contains(&row.token));
            sequence.push((row.token, self.adapter, self.next_cell));
            self.next_cell += 1;
            let history = sequence.iter().map(|&(token, adapter, _)| (token, adapter));
            if !self.fed.insert(Toy::hash(history.clone())) {
                self.fed_twice.push(row.pos);
            }
            self.logits.push(if row.logits { Toy::logits_of(history) } else { Vec::new() });
        }
        self.check_cells();
        Ok(())
    }

    fn logits(&self, index: usize) -> &[f32] {
        assert!(!self.logits[index].is_empty(), "row {index} did not ask for logits");
        &self.logits[index]
    }

    fn copy_prefix(&mut self, from: SeqId, to: SeqId, len: u32) {
        assert!(self.sequences[to.0 as usize].is_empty(), "copy into a sequence in use");
        let prefix = self.sequences[from.0 as usize][..len as usize].to_vec();
        self.sequences[to.0 as usize] = prefix;
    }

    fn truncate(&mut self, seq: SeqId, from: u32) {
        self.sequences[seq.0 as usize].truncate(from as usize);
    }

    fn set_adapter(&mut self, path: Option<&Path>) -> Result<()> {
        self.logits.clear();
        self.adapter = path.map_or(0, |path| {
            let bytes = path.as_os_str().as_encoded_bytes();
            bytes.iter().fold(FNV_BASIS, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
        });
        Ok(())
    }
}
