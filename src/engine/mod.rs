//! Text completion: the interfaces, and what implements them.
//!
//! [`Decoder`] is the token level: what any inference engine with KV sequences offers. [`Engine`] is
//! the text level: it pulls [`Request`]s from a [`Source`] whenever it can start one and returns each
//! [`Completion`], which may create further requests (the next step of a program) or make others
//! unnecessary (the vote has converged). [`Scheduler`] makes an `Engine` from a `Decoder` by continuous
//! batching.

mod cells;
mod chat;
mod constraint;
mod host;
mod llama;
pub(crate) mod measure;
mod sampler;
mod scheduler;
mod scripted;
mod sources;
mod text;
#[cfg(test)]
mod toy;

#[cfg(test)]
pub(crate) use toy::toy_with_turns;

pub use chat::{ChatTemplate, Message, Role, TemplateFacts, TurnEnd, template_facts};
pub(crate) use host::check_vocabulary;
pub use host::{HostCalls, HostDecoder, HostInfo, HostResult};
pub use llama::{Llama, LlamaOptions, ModelInfo, Weights};
pub use sampler::Sampling;
pub use scheduler::{Scheduler, Stats};
pub use scripted::Scripted;
pub(crate) use sources::Sources;

use std::sync::Arc;

pub use crate::token::Token;
use crate::{Cancel, Result};

/// A KV sequence of a [`Decoder`], `0..max_sequences`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqId(pub u32);

/// One row of a decode batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRow {
    /// The token to feed.
    pub token: Token,
    /// Its position in the sequence, from 0.
    pub pos: u32,
    /// The sequence it extends.
    pub seq: SeqId,
    /// Whether the logits after this token are wanted.
    pub logits: bool,
}

/// Token-level inference with KV sequences.
///
/// Threads: one caller at a time (`&mut self` where state changes).
pub trait Decoder {
    /// Tokens of `text`. Text of special tokens becomes those tokens only where `special` is set.
    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<Token>>;
    /// Appends the bytes of `token` to `out`; special tokens append nothing.
    fn piece(&self, token: Token, out: &mut Vec<u8>);
    /// Whether `token` ends a turn (end-of-turn, end-of-sequence).
    fn is_end(&self, token: Token) -> bool;
    /// The model's own chat template.
    fn chat_template(&self) -> &ChatTemplate;
    /// The BOS token that prompts start with and that `tokenize` does not add, if there is one.
    fn bos(&self) -> Option<Token>;
    /// The end-of-sequence token, if the model has one. It ends the turns of a model whose chat template
    /// writes no other end.
    fn eos(&self) -> Option<Token> {
        None
    }
    /// Width of a logits row.
    fn vocab_size(&self) -> usize;
    /// Cells of the KV cache, shared by all sequences.
    fn context_size(&self) -> usize;
    /// Positions that one sequence may have: no more than the context, fewer where the model was
    /// trained for fewer.
    fn sequence_limit(&self) -> usize {
        self.context_size()
    }
    /// Sequences that may be live at once.
    fn max_sequences(&self) -> usize;
    /// Sequences to run at once; further ones keep prompts for later requests.
    fn slots(&self) -> usize {
        self.max_sequences()
    }
    /// Rows that one [`Decoder::decode`] accepts.
    fn max_batch(&self) -> usize;
    /// Feeds `rows` and computes the wanted logits; at most [`Decoder::slots`] rows may
    /// want them. The rows of a sequence continue it without a gap. Each row takes one KV cell.
    fn decode(&mut self, rows: &[BatchRow]) -> Result<()>;
    /// Logits after row `index` of the last decoded batch, which must have asked for them.
    fn logits(&self, index: usize) -> &[f32];
    /// Makes `to` share positions `0..len` of `from`, without using further cells. `to` must be
    /// empty.
    fn copy_prefix(&mut self, from: SeqId, to: SeqId, len: u32);
    /// Removes positions `from..` of `seq`.
    fn truncate(&mut self, seq: SeqId, from: u32);
    /// Threads that may choose tokens beside the calling one, itself included; by default one for
    /// each core.
    fn sampling_threads(&self) -> usize {
        std::thread::available_parallelism().map_or(1, |n| n.get())
    }
    /// Whether it can apply adapters.
    fn takes_adapters(&self) -> bool {
        true
    }
    /// Applies the LoRA adapter in `path`, or none, to what is decoded from now on. Sequences keep their
    /// cells; the caller must continue each only with the adapter that computed it.
    fn set_adapter(&mut self, path: Option<&std::path::Path>) -> Result<()>;

    /// The prompt for `messages`: BOS where the model wants one, the rendered conversation, the
    /// opening of the model's turn. Text inside a message never becomes a special token.
    /// `thinking` turns on the thinking mode of templates that have one.
    fn prompt(&self, messages: &[Message], thinking: bool) -> Result<Vec<Token>> {
        chat::prompt_tokens(self, messages, thinking)
    }

    /// The token that ends the model's turn, in sampling and in training: the one that its template writes
    /// there, else [`Decoder::eos`]; `None` where neither is there.
    fn end_of_turn(&self) -> Result<Option<Token>> {
        Ok(chat::end_of_turn(self)?.token())
    }
}

/// A text to complete.
#[derive(Debug, Clone)]
pub struct Request {
    /// The caller's number for it, returned with the completion.
    pub id: u64,
    /// The conversation, rendered with the model's chat template. To continue that of an earlier
    /// request: its messages, its completion as [`Message::generated`], and a further user message.
    pub messages: Vec<Message>,
    /// Whether a template that has a thinking mode turns it on.
    pub thinking: bool,
    /// How to choose tokens and when to stop.
    pub sampling: Sampling,
    /// Seed of all randomness of this completion, whatever runs beside it.
    pub seed: u64,
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended its turn.
    EndOfTurn,
    /// A stop string appeared; it is not part of the text.
    StopString,
    /// The source had what it needed ([`Source::enough`]), or the choices or the grammar of the
    /// request allow no further text.
    Enough,
    /// `max_tokens` or the context was used up.
    Length,
}

/// A finished text.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The request's id.
    pub id: u64,
    /// The generated text. Where the template opens the reasoning block, the text begins with `<think>`,
    /// so that a block without an end is recognized.
    pub text: String,
    /// The tokens of the text, for [`Message::generated`]: those that were generated, without the end of
    /// the turn and without a stop string. Empty where the engine works with text only.
    pub tokens: Arc<[Token]>,
    /// Tokens of the rendered prompt.
    pub prompt_tokens: usize,
    /// Tokens of the text, the end-of-turn token included.
    pub generated_tokens: usize,
    /// Why it ended.
    pub finish: Finish,
    /// The model's probability (temperature 1) of the text, end-of-turn included: the product over the
    /// sampled tokens; tokens forced by choices or a grammar count as 1. In 0..=1. NaN where the engine
    /// does not know it.
    pub probability: f32,
    /// Its natural logarithm, which does not underflow for long texts.
    pub log_probability: f64,
    /// Seconds between admission to the batch and the end.
    pub seconds: f64,
}

impl Completion {
    /// Whether it ended at its limit of tokens, so that more might have followed.
    pub fn is_cut(&self) -> bool {
        self.finish == Finish::Length
    }

    /// The same, also where a stop string ended a text that may be cut there, as `is_open` says.
    pub fn is_cut_for(&self, is_open: impl Fn(&str) -> bool) -> bool {
        self.is_cut() || (self.finish == Finish::StopString && is_open(&self.text))
    }

    /// The geometric mean of the probabilities of its tokens; `None` where the engine does not know them.
    pub fn confidence(&self) -> Option<f32> {
        let mean = (self.log_probability / self.generated_tokens as f64).exp() as f32;
        mean.is_finite().then_some(mean)
    }
}

/// The origin of requests and the receiver of their completions.
pub trait Source {
    /// The next request, or `None` when there is none now. Asked again after each completion.
    fn next(&mut self) -> Option<Request>;
    /// Takes a finished completion.
    fn finished(&mut self, completion: Completion) -> Result<()>;
    /// Whether the text written so far is all that request `id` was for.
    fn enough(&self, _id: u64, _text: &str) -> bool {
        false
    }
    /// Whether a running request is still wanted; an unwanted one is dropped without a completion.
    fn wanted(&self, _id: u64) -> bool {
        true
    }
    /// Whether a request to come continues the conversation of the finished request `id`. Its KV cells,
    /// those of the answer too, are then kept until that request comes. Asked after
    /// [`Source::finished`], and again while they are kept.
    fn continues(&self, _id: u64) -> bool {
        false
    }
    /// Receives a request whose prompt has `tokens` tokens where only fewer than `limit` fit; it gets no
    /// completion. The default is an error, which ends the run; return `Ok` to continue without it.
    fn too_long(&mut self, id: u64, tokens: usize, limit: usize) -> Result<()> {
        Err(crate::Error::Engine(format!("request {id}: {}", too_long(tokens, limit))))
    }
    /// Receives a request whose messages the model's chat template cannot render, with the error; it gets
    /// no completion. The default returns the error, which ends the run; return `Ok` to continue without
    /// it.
    fn cannot_render(&mut self, _id: u64, error: crate::Error) -> Result<()> {
        Err(error)
    }
}

/// Why a prompt of `tokens` tokens cannot run.
pub(crate) fn too_long(tokens: usize, limit: usize) -> String {
    format!(
        "its prompt has {tokens} tokens, and with one more for the answer at most {limit} fit; \
         shorten the prompt or raise the context size"
    )
}

/// Completes text.
pub trait Engine {
    /// Runs until `source` has no further request and every completion is delivered.
    fn run(&mut self, source: &mut dyn Source, cancel: &Cancel) -> Result<()>;
    /// Applies a LoRA adapter file to requests from now on, or none.
    fn set_adapter(&mut self, path: Option<&std::path::Path>) -> Result<()>;
    /// Threads that may choose tokens beside the calling one, itself included; by default one for
    /// each core.
    fn sampling_threads(&self) -> usize {
        std::thread::available_parallelism().map_or(1, |n| n.get())
    }
    /// Whether it can apply adapters.
    fn takes_adapters(&self) -> bool {
        true
    }
    /// The decoder that it runs on; none where it works with text only.
    fn decoder(&self) -> Option<&dyn Decoder> {
        None
    }
}

/// Completes `requests` and returns the completions in their order.
///
/// Errors: the engine's, [`crate::Error::Engine`] for a prompt that is too long or cannot be rendered, and
/// [`crate::Error::Cancelled`].
pub fn complete(engine: &mut dyn Engine, requests: Vec<Request>, cancel: &Cancel) -> Result<Vec<Completion>> {
    let ids: Vec<u64> = requests.iter().map(|request| request.id).collect();
    let completions = complete_each(engine, requests, cancel)?.into_iter().zip(ids);
    completions
        .map(|(completion, id)| {
            completion.map_err(|why| crate::Error::Engine(format!("request {id}: {why}")))
        })
        .collect()
}

/// What became of a request: its completion, or why its prompt cannot run.
pub(crate) type Completed = std::result::Result<Completion, String>;

/// Completes those of `requests` whose prompts fit and can be rendered. Returns the completions in the
/// order of the requests, and the reason of each that could not run.
///
/// Errors: the engine's, and [`crate::Error::Cancelled`].
pub(crate) fn complete_each(
    engine: &mut dyn Engine,
    requests: Vec<Request>,
    cancel: &Cancel,
) -> Result<Vec<Completed>> {
    /// Gives out the requests with their index as id, whatever ids the caller gave them.
    struct List {
        ids: Vec<u64>,
        requests: std::iter::Enumerate<std::vec::IntoIter<Request>>,
        completions: Vec<Option<Completed>>,
    }
    impl Source for List {
        fn next(&mut self) -> Option<Request> {
            self.requests.next().map(|(index, request)| Request { id: index as u64, ..request })
        }
        fn finished(&mut self, mut completion: Completion) -> Result<()> {
            let index = completion.id as usize;
            completion.id = self.ids[index];
            self.completions[index] = Some(Ok(completion));
            Ok(())
        }
        fn too_long(&mut self, id: u64, tokens: usize, limit: usize) -> Result<()> {
            self.completions[id as usize] = Some(Err(too_long(tokens, limit)));
            Ok(())
        }
        fn cannot_render(&mut self, id: u64, error: crate::Error) -> Result<()> {
            self.completions[id as usize] = Some(Err(error.to_string()));
            Ok(())
        }
    }
    let mut list = List {
        ids: requests.iter().map(|request| request.id).collect(),
        completions: vec![None; requests.len()],
        requests: requests.into_iter().enumerate(),
    };
    engine.run(&mut list, cancel)?;
    let missing = || crate::Error::Internal("the engine dropped a request".into());
    list.completions.into_iter().map(|completion| completion.ok_or_else(missing)).collect()
}
