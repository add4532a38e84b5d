//! Sampling through the scheduler, against the same decoder doing nothing but decode.
//!
//! The model ends no completion: their lengths are drawn, half to one and a half times the length
//! asked for, so that sequences come and go at different times as real ones do. Eight completions
//! share a prompt, as the samples of a question do, and all prompts share their first half, as the
//! questions of a task do. Time is taken until no request is left to start, since the last
//! completions of a run leave more and more sequences empty, and a run is long.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use serde::Serialize;

use super::median;
use crate::engine::{
    BatchRow, ChatTemplate, Completion, Decoder, Engine, Llama, LlamaOptions, Message, Request, Sampling,
    Scheduler, SeqId, Source, Token, Weights, measure::decode_rate,
};
use crate::{Cancel, Error, Progress, Result, Stage, Update};

/// What to measure of sampling.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleBench {
    /// Sequences decoded together.
    pub slots: u32,
    /// Tokens of each prompt, about.
    pub prompt_tokens: usize,
    /// Tokens of a completion, on average.
    pub new_tokens: usize,
    /// Which weights batches are multiplied with.
    pub weights: Weights,
    /// Threads; all cores by default.
    pub threads: Option<u32>,
    /// How often each is measured; medians are reported.
    pub rounds: usize,
}

impl Default for SampleBench {
    fn default() -> Self {
        SampleBench {
            slots: 16,
            prompt_tokens: 64,
            new_tokens: 96,
            weights: Weights::Auto,
            threads: None,
            rounds: 3,
        }
    }
}

/// What was measured of sampling.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleFigures {
    /// What was asked for.
    #[serde(flatten)]
    pub options: SampleBench,
    /// Which weights were sampled from, and why.
    pub weights_used: String,
    /// Tokens sampled per second, prompts, sampling and text included.
    pub sampled_tokens_per_s: f64,
    /// What the decoder alone reaches with as many sequences, prompts not counted.
    pub raw_decode_tokens_per_s: f64,
    /// The first over the second.
    pub efficiency: f64,
    /// Where the time of sampling went.
    pub shares: Shares,
    /// Share of the prompt tokens that other sequences had decoded already.
    pub prefix_hit_rate: f64,
    /// Width of the vocabulary.
    pub vocabulary: usize,
    /// The rates by number of sequences.
    pub by_slots: Vec<SlotRate>,
    /// Peak resident memory of the process, in 10⁶ bytes.
    pub peak_rss_mb: f64,
}

/// Shares of the time, which sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Shares {
    /// In the decoder.
    pub decode: f64,
    /// Choosing tokens.
    pub sampling: f64,
    /// Everything else: scheduling, text.
    pub rest: f64,
}

/// Rates with so many sequences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SlotRate {
    /// Sequences decoded together.
    pub slots: usize,
    /// As [`SampleFigures::sampled_tokens_per_s`].
    pub sampled_tokens_per_s: f64,
    /// As [`SampleFigures::raw_decode_tokens_per_s`].
    pub raw_decode_tokens_per_s: f64,
}

impl std::fmt::Display for SampleFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SampleBench { slots, prompt_tokens, new_tokens, .. } = self.options;
        writeln!(f, "{}", self.weights_used)?;
        writeln!(
            f,
            "{slots} sequences, prompts of {prompt_tokens}, {new_tokens} new tokens: {:.0} tokens/s sampled, {:.0} decoded at most ({:.0}%), peak {:.0} MB",
            self.sampled_tokens_per_s,
            self.raw_decode_tokens_per_s,
            100.0 * self.efficiency,
            self.peak_rss_mb
        )?;
        let Shares { decode, sampling, rest } = self.shares;
        writeln!(
            f,
            "time: decoding {:.1}%, sampling {:.1}%, rest {:.1}%; {:.0}% of prompt tokens reused",
            100.0 * decode,
            100.0 * sampling,
            100.0 * rest,
            100.0 * self.prefix_hit_rate
        )?;
        for SlotRate { slots, sampled_tokens_per_s, raw_decode_tokens_per_s } in &self.by_slots {
            writeln!(
                f,
                "{slots:>4} sequences: {sampled_tokens_per_s:.0} of {raw_decode_tokens_per_s:.0} tokens/s"
            )?;
        }
        Ok(())
    }
}

/// Measures sampling with `model`, first with few sequences, then with more, up to
/// `options.slots`.
///
/// # Errors
/// As of loading a model; [`Error::Input`] for sizes that do not fit; [`Error::Cancelled`] within
/// one decode call.
pub fn sample(
    model: &Path,
    options: &SampleBench,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<SampleFigures> {
    let SampleBench { slots, prompt_tokens, new_tokens, rounds, .. } = *options;
    for (field, value) in [("prompt_tokens", prompt_tokens), ("new_tokens", new_tokens), ("rounds", rounds)] {
        if value == 0 {
            return Err(Error::field(field, "0 is not at least 1"));
        }
    }
    let cells = slots as usize * (prompt_tokens + new_tokens + new_tokens / 2 + 8);
    let context = u32::try_from(cells.max(2048)).ok();
    let llama = LlamaOptions {
        threads: options.threads,
        slots,
        context,
        weights: options.weights,
        ..LlamaOptions::default()
    };
    progress.update(&Update { stage: Stage::Load, done: 0, total: 0, note: model.display().to_string() });
    let mut decoder = Llama::load(model, &llama)?;
    let vocabulary = decoder.vocab_size();
    let counts: Vec<usize> =
        std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < slots as usize).collect();
    let mut by_slots = Vec::new();
    let mut last = None;
    for count in counts.into_iter().chain([slots as usize]) {
        let (mut sampled, mut raw) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            raw.push(decode_rate(&mut decoder, count, prompt_tokens, new_tokens, cancel)?.tokens_per_s);
            let steady = Steady::new(decoder, count);
            let (run, back) = run(steady, prompt_tokens, new_tokens, cancel)?;
            decoder = back;
            sampled.push(run.tokens_per_s);
            last = Some(run);
        }
        by_slots.push(SlotRate {
            slots: count,
            sampled_tokens_per_s: median(&sampled),
            raw_decode_tokens_per_s: median(&raw),
        });
    }
    let (Some(run), Some(most)) = (last, by_slots.last().copied()) else {
        return Err(Error::Internal("nothing was measured".into()));
    };
    Ok(SampleFigures {
        options: options.clone(),
        weights_used: decoder.weights_used().to_string(),
        sampled_tokens_per_s: most.sampled_tokens_per_s,
        raw_decode_tokens_per_s: most.raw_decode_tokens_per_s,
        efficiency: most.sampled_tokens_per_s / most.raw_decode_tokens_per_s,
        shares: run.shares,
        prefix_hit_rate: run.prefix_hit_rate,
        vocabulary,
        by_slots,
        peak_rss_mb: crate::memory::peak_rss_mb(),
    })
}

struct Measured {
    tokens_per_s: f64,
    shares: Shares,
    prefix_hit_rate: f64,
}

/// Completions of one prompt.
const SAMPLES: usize = 8;

/// Samples four times as many completions as there are sequences, eight at least.
fn run(
    decoder: Steady,
    prompt_tokens: usize,
    new_tokens: usize,
    cancel: &Cancel,
) -> Result<(Measured, Llama)> {
    let requests = (4 * decoder.sequences).max(SAMPLES);
    let messages = (0..requests.div_ceil(SAMPLES))
        .map(|question| message(&decoder, question, prompt_tokens))
        .collect::<Result<Vec<_>>>()?;
    let drained = decoder.drained.clone();
    let mut source = Questions { messages, requests, next: 0, new_tokens, drained };
    let mut scheduler = Scheduler::new(decoder);
    let begin = Instant::now();
    scheduler.run(&mut source, cancel)?;
    let seconds = begin.elapsed().as_secs_f64();
    let stats = scheduler.stats();
    let (decode, sampling) = (stats.decode_seconds / seconds, stats.sample_seconds / seconds);
    let prompts = (stats.prompt_tokens + stats.reused_tokens).max(1);
    let steady = scheduler.into_decoder();
    let measured = Measured {
        tokens_per_s: steady.sampled as f64 / (steady.last - begin).as_secs_f64(),
        shares: Shares { decode, sampling, rest: 1.0 - decode - sampling },
        prefix_hit_rate: stats.reused_tokens as f64 / prompts as f64,
    };
    Ok((measured, steady.decoder))
}

/// A message whose prompt has about `tokens` tokens, its first half that of every other one's.
fn message(decoder: &Steady, question: usize, tokens: usize) -> Result<Message> {
    const WORDS: [&str; 8] = ["seven", "green", "boats", "sail", "past", "old", "stone", "towers"];
    let mut text = "Read this and go on:".to_string();
    for i in 0.. {
        let word = WORDS[(i * i + 3 * i) % WORDS.len()];
        let longer = match decoder.prompt(&[Message::user(&text)], false)?.len() {
            len if len >= tokens => break,
            len if len < tokens / 2 => format!("{text} {word}"),
            _ => format!("{text} {question} {word}"),
        };
        text = longer;
    }
    Ok(Message::user(&text))
}

struct Questions {
    messages: Vec<Message>,
    requests: usize,
    next: usize,
    new_tokens: usize,
    /// Set when there is nothing left to start.
    drained: Rc<Cell<bool>>,
}

impl Source for Questions {
    fn next(&mut self) -> Option<Request> {
        if self.next == self.requests {
            self.drained.set(true);
            return None;
        }
        let id = self.next;
        self.next += 1;
        // From half to one and a half times the length, in an order that does not repeat soon.
        let max_tokens = (self.new_tokens / 2 + id * 37 % 64 * self.new_tokens / 64).max(1);
        Some(Request {
            id: id as u64,
            messages: vec![self.messages[id / SAMPLES].clone()],
            thinking: false,
            sampling: Sampling { temperature: 0.7, max_tokens, ..Sampling::default() },
            seed: id as u64,
        })
    }

    fn finished(&mut self, _: Completion) -> Result<()> {
        Ok(())
    }
}

/// A decoder whose texts never end, with fewer sequences than it could have.
struct Steady {
    decoder: Llama,
    sequences: usize,
    drained: Rc<Cell<bool>>,
    /// Rows with logits until it was drained: each is a token sampled.
    sampled: usize,
    /// When the last of them was decoded.
    last: Instant,
}

impl Steady {
    fn new(decoder: Llama, sequences: usize) -> Steady {
        Steady { decoder, sequences, drained: Rc::default(), sampled: 0, last: Instant::now() }
    }
}

impl Decoder for Steady {
    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<Token>> {
        self.decoder.tokenize(text, special)
    }
    fn piece(&self, token: Token, out: &mut Vec<u8>) {
        self.decoder.piece(token, out);
    }
    fn is_end(&self, _: Token) -> bool {
        false
    }
    fn chat_template(&self) -> &ChatTemplate {
        self.decoder.chat_template()
    }
    fn bos(&self) -> Option<Token> {
        self.decoder.bos()
    }
    fn eos(&self) -> Option<Token> {
        self.decoder.eos()
    }
    fn vocab_size(&self) -> usize {
        self.decoder.vocab_size()
    }
    fn context_size(&self) -> usize {
        self.decoder.context_size()
    }
    fn sequence_limit(&self) -> usize {
        self.decoder.sequence_limit()
    }
    fn max_sequences(&self) -> usize {
        self.decoder.max_sequences()
    }
    fn slots(&self) -> usize {
        self.sequences
    }
    fn max_batch(&self) -> usize {
        self.decoder.max_batch()
    }
    fn decode(&mut self, rows: &[BatchRow]) -> Result<()> {
        self.decoder.decode(rows)?;
        if !self.drained.get() {
            self.sampled += rows.iter().filter(|row| row.logits).count();
            self.last = Instant::now();
        }
        Ok(())
    }
    fn logits(&self, index: usize) -> &[f32] {
        self.decoder.logits(index)
    }
    fn copy_prefix(&mut self, from: SeqId, to: SeqId, len: u32) {
        self.decoder.copy_prefix(from, to, len);
    }
    fn truncate(&mut self, seq: SeqId, from: u32) {
        self.decoder.truncate(seq, from);
    }
    fn set_adapter(&mut self, path: Option<&Path>) -> Result<()> {
        self.decoder.set_adapter(path)
    }
}
