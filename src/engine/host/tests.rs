use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::*;
use crate::Cancel;
use crate::engine::toy::{END, Toy};
use crate::engine::{Engine, Finish, Message, Request, Sampling, Scheduler, complete};
use crate::gguf::{GgufWriter, QuantType};

/// What a host does wrong, and from which call of that kind on (counted from 0).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
    None,
    TokenizeFails,
    /// So many tokens are said to be there, and none is written.
    Tokens(usize),
    /// More tokens are said to be there each time.
    MoreTokens,
    /// A token outside of the vocabulary.
    Token(Token),
    PieceFails,
    Piece(usize),
    LongerPiece,
    EndFails,
    DecodeFails(usize),
    NoLogits(usize),
    CrookedLogits,
    NotANumber,
    CopyFails(usize),
    TruncateFails(usize),
    AdapterFails,
}

/// The toy behind a host's functions. The toy panics wherever the protocol is broken.
struct Hosted {
    toy: Toy,
    lie: Lie,
    takes_adapters: bool,
    calls: RefCell<HashMap<&'static str, usize>>,
    /// What is left of the host after the decoder is gone.
    log: Rc<RefCell<Vec<String>>>,
    nan: Vec<f32>,
}

impl Hosted {
    fn new(lie: Lie) -> Hosted {
        Hosted {
            toy: Toy::new(6, 16, 400),
            lie,
            takes_adapters: true,
            calls: RefCell::default(),
            log: Rc::default(),
            nan: vec![f32::NAN; 258],
        }
    }

    /// Counts a call; which one it is, from 0.
    fn count(&self, name: &'static str) -> usize {
        let mut calls = self.calls.borrow_mut();
        let n = calls.entry(name).or_insert(0);
        *n += 1;
        *n - 1
    }
}

// SAFETY: logits are NULL, refused before they are read, or vectors of 257 and more that only
// `decode` changes.
unsafe impl HostCalls for Hosted {
    fn tokenize(&self, text: &str, special: bool, tokens: &mut [Token]) -> HostResult<usize> {
        let asked = self.count("tokenize");
        match self.lie {
            Lie::TokenizeFails => return Err(7),
            Lie::Tokens(n) => return Ok(n),
            Lie::MoreTokens => return Ok(tokens.len() + asked + 1),
            Lie::Token(token) => {
                tokens[0] = token;
                return Ok(1);
            }
            _ => {}
        }
        let found = self.toy.tokenize(text, special).unwrap();
        if let Some(room) = tokens.get_mut(..found.len()) {
            room.copy_from_slice(&found);
        }
        Ok(found.len())
    }

    fn piece(&self, token: Token, bytes: &mut [u8]) -> HostResult<usize> {
        match self.lie {
            Lie::PieceFails if token == 65 => return Err(8),
            Lie::Piece(n) if token == 65 => return Ok(n),
            Lie::LongerPiece if token == 65 => return Ok(bytes.len() + 1),
            _ => {}
        }
        let mut piece = Vec::new();
        self.toy.piece(token, &mut piece);
        bytes[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }

    fn is_end(&self, token: Token) -> HostResult<bool> {
        if self.lie == Lie::EndFails { Err(-2) } else { Ok(self.toy.is_end(token)) }
    }

    fn decode(&mut self, rows: &[BatchRow]) -> HostResult<()> {
        if matches!(self.lie, Lie::DecodeFails(n) if self.count("decode") == n) {
            return Err(1);
        }
        self.toy.decode(rows).unwrap();
        Ok(())
    }

    fn logits(&mut self, index: usize) -> *const f32 {
        match self.lie {
            Lie::NoLogits(n) if self.count("logits") == n => std::ptr::null(),
            Lie::CrookedLogits => self.nan.as_ptr().cast::<u8>().wrapping_add(1).cast(),
            Lie::NotANumber => self.nan.as_ptr(),
            _ => self.toy.logits(index).as_ptr(),
        }
    }

    fn copy_prefix(&mut self, from: SeqId, to: SeqId, len: u32) -> HostResult<()> {
        if matches!(self.lie, Lie::CopyFails(n) if self.count("copy") == n) {
            return Err(3);
        }
        self.toy.copy_prefix(from, to, len);
        Ok(())
    }

    fn truncate(&mut self, seq: SeqId, from: u32) -> HostResult<()> {
        if matches!(self.lie, Lie::TruncateFails(n) if self.count("truncate") == n) {
            return Err(4);
        }
        self.toy.truncate(seq, from);
        Ok(())
    }

    fn takes_adapters(&self) -> bool {
        self.takes_adapters
    }

    fn set_adapter(&mut self, path: Option<&str>) -> HostResult<()> {
        self.log.borrow_mut().push(format!("adapter {}", path.is_some()));
        if self.lie == Lie::AdapterFails {
            return Err(5);
        }
        self.toy.set_adapter(path.map(Path::new)).unwrap();
        Ok(())
    }
}

/// A model file of `tokens` tokens, in which the library reads only facts.
fn model(tokens: usize) -> tempfile::TempPath {
    let mut gguf = GgufWriter::new();
    gguf.str("general.architecture", "llama");
    gguf.str("tokenizer.chat_template", "{% for m in messages %}{{ bos_token }}{{ m.content }}|{% endfor %}");
    gguf.strings("tokenizer.ggml.tokens", &["a", "<s>"]);
    gguf.u32("tokenizer.ggml.bos_token_id", 1);
    gguf.tensor("token_embd.weight", &[32, tokens], QuantType::F32, vec![0; 32 * tokens * 4]);
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    gguf.write(&path).unwrap();
    path
}

fn facts() -> HostInfo {
    HostInfo {
        vocab_size: 257,
        context_size: 400,
        max_sequences: 6,
        max_batch: 16,
        chat_template: Some("{% for m in messages %}{{ m.content }}\n{% endfor %}".into()),
        ..HostInfo::default()
    }
}

fn host(lie: Lie) -> Result<Scheduler<HostDecoder<Hosted>>> {
    Ok(Scheduler::new(HostDecoder::new(Hosted::new(lie), facts(), &model(257))?))
}

fn requests() -> Vec<Request> {
    let one = |id: u64| {
        let prompt = format!("the same beginning for all of them, {}", id / 4);
        let sampling = Sampling { max_tokens: 30, ..Sampling::default() };
        Request { id, messages: vec![Message::user(prompt)], thinking: false, sampling, seed: id }
    };
    (0..16).map(one).collect()
}

fn texts(engine: &mut dyn Engine) -> Result<Vec<(String, Finish)>> {
    let done = complete(engine, requests(), &Cancel::new())?;
    Ok(done.into_iter().map(|c| (c.text, c.finish)).collect())
}

fn message<T>(result: Result<T>) -> String {
    result.err().expect("it fails").to_string()
}

#[test]
fn an_honest_host_gives_what_its_decoder_gives() {
    let mut plain = Scheduler::new(Toy::new(6, 16, 400));
    let expected = texts(&mut plain).unwrap();
    let mut engine = host(Lie::None).unwrap();
    assert_eq!(texts(&mut engine).unwrap(), expected);
    assert!(engine.stats().reused_tokens > 0);
    assert!(expected.iter().any(|(_, finish)| *finish == Finish::EndOfTurn));
    let decoder = Engine::decoder(&engine).unwrap();
    assert!(decoder.is_end(END) && !decoder.is_end(-1) && !decoder.is_end(257));
    assert!(decoder.logits(999).is_empty());
}

#[test]
fn a_template_and_its_tokens_come_from_the_file_where_the_host_has_none() {
    let facts = HostInfo { chat_template: None, ..facts() };
    let host = HostDecoder::new(Hosted::new(Lie::None), facts, &model(257)).unwrap();
    let text = host.chat_template().render(&[Message::user("hi")], true, false).unwrap();
    assert_eq!(text, "<s>hi|");
}

#[test]
fn impossible_facts_are_refused_by_name() {
    type Change = fn(&mut HostInfo);
    let make = |change: Change| {
        let mut changed = facts();
        change(&mut changed);
        message(HostDecoder::new(Hosted::new(Lie::None), changed, &model(257)))
    };
    let cases: [(&str, Change); 13] = [
        ("decoder.vocab_size", |f| f.vocab_size = 0),
        ("decoder.vocab_size", |f| f.vocab_size = u32::MAX),
        ("decoder.vocab_size", |f| f.vocab_size = 256),
        ("decoder.context_size", |f| f.context_size = 0),
        ("decoder.context_size", |f| f.context_size = u32::MAX),
        ("decoder.sequence_limit", |f| f.sequence_limit = 401),
        ("decoder.max_sequences", |f| f.max_sequences = 0),
        ("decoder.max_sequences", |f| f.max_sequences = u32::MAX),
        ("decoder.slots", |f| f.slots = 7),
        ("decoder.max_batch", |f| f.max_batch = 5),
        ("decoder.max_batch", |f| f.max_batch = u32::MAX),
        ("decoder.bos", |f| f.bos = Some(257)),
        ("decoder.bos", |f| f.bos = Some(-2)),
    ];
    for (name, change) in cases {
        let message = make(change);
        assert!(message.starts_with(name), "{name}: {message}");
    }
    assert!(make(|f| f.chat_template = Some("{% if".into())).contains("chat template"));
    let other = message(HostDecoder::new(Hosted::new(Lie::None), facts(), &model(300)));
    assert!(other.contains("is 257, but") && other.contains("has 300 tokens"), "{other}");
}

#[test]
fn a_vocabulary_that_cannot_be_is_refused_before_anything_is_sampled() {
    let cases = [
        (Lie::PieceFails, "the piece of token 65 failed (code 8)"),
        (Lie::Piece(usize::MAX), "token 65 is said to have"),
        (Lie::Piece(MAX_PIECE_BYTES + 1), "token 65 is said to have"),
        (Lie::LongerPiece, "changes its length"),
        (Lie::EndFails, "whether token 0 ends a turn failed (code -2)"),
        (Lie::TruncateFails(0), "truncating a sequence failed (code 4)"),
    ];
    for (lie, expected) in cases {
        let message = message(host(lie));
        assert!(message.contains(expected), "{lie:?}: {message}");
    }
}

#[test]
fn whatever_a_host_does_wrong_while_it_samples_ends_the_call_with_its_name() {
    let cases = [
        (Lie::TokenizeFails, "tokenize failed (code 7)"),
        (Lie::Tokens(3), "gave token -1 of a vocabulary of 257"),
        (Lie::Tokens(usize::MAX), "tokens for a text of"),
        (Lie::MoreTokens, "the number of tokens changes"),
        (Lie::Token(257), "gave token 257 of a vocabulary of 257"),
        (Lie::Token(Token::MIN), "gave token -2147483648"),
        (Lie::DecodeFails(0), "decoding 16 rows failed (code 1)"),
        (Lie::DecodeFails(9), "failed (code 1)"),
        (Lie::NoLogits(0), "are NULL"),
        (Lie::NoLogits(5), "are NULL"),
        (Lie::CrookedLogits, "are a misaligned address"),
        (Lie::NotANumber, "not finite"),
        (Lie::CopyFails(0), "copying a prefix failed (code 3)"),
        // Six before the first request.
        (Lie::TruncateFails(6), "truncating a sequence failed (code 4)"),
    ];
    for (lie, expected) in cases {
        let mut engine = host(lie).unwrap();
        let message = message(texts(&mut engine));
        assert!(message.contains(expected), "{lie:?}: {message}");
    }
}

#[test]
fn a_decoder_works_again_after_a_failure_that_passed() {
    let expected = texts(&mut Scheduler::new(Toy::new(6, 16, 400))).unwrap();
    for lie in [Lie::DecodeFails(5), Lie::NoLogits(3)] {
        let mut engine = host(lie).unwrap();
        assert!(texts(&mut engine).is_err());
        assert_eq!(texts(&mut engine).unwrap(), expected, "{lie:?}");
    }
}

#[test]
fn adapters_are_taken_off_at_the_end_and_refused_where_there_is_no_way() {
    let file = model(257);
    let hosted = Hosted::new(Lie::None);
    let log = hosted.log.clone();
    let mut host = HostDecoder::new(hosted, facts(), &file).unwrap();
    host.set_adapter(None).unwrap();
    host.set_adapter(Some(&file)).unwrap();
    assert!(host.set_adapter(Some(Path::new("missing.gguf"))).is_err());
    drop(host);
    assert_eq!(*log.borrow(), ["adapter true", "adapter false"]);

    let hosted = Hosted { takes_adapters: false, ..Hosted::new(Lie::None) };
    let mut host = HostDecoder::new(hosted, facts(), &file).unwrap();
    assert!(!host.takes_adapters());
    assert!(message(host.set_adapter(Some(&file))).contains("applies no adapters"));
    host.set_adapter(None).unwrap();

    let mut host = HostDecoder::new(Hosted::new(Lie::AdapterFails), facts(), &file).unwrap();
    assert!(message(host.set_adapter(Some(&file))).contains("applying an adapter failed (code 5)"));
}
