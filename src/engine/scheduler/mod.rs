//! Continuous batching: an [`Engine`] from any [`Decoder`].
//!
//! Every sequence of the decoder is a slot. A request takes a slot and feeds its prompt; then each
//! decode call feeds the token sampled last, followed by the tokens that its choices or grammar force.
//! When the request ends, the next one enters at once, so that decode calls stay full.
//!
//! Prompts mostly begin alike: with the template, the examples, and the whole question across its
//! samples. A request therefore starts from the longest prefix that any slot holds with the same
//! adapter, whether that slot is active or keeps the prompt of an earlier request. If another slot is
//! still feeding a longer one, the request waits for it. A decoder may have more sequences than
//! requests that run at once; the spare ones keep prompts.
//!
//! A finished request whose conversation will be continued ([`Source::continues`]) keeps the cells of its
//! answer as well, so that the next turn feeds only what is new: the token chosen last, if it is part of
//! the text, the end of the turn, and the user's new message.
//!
//! What a request generates depends only on its prompt, adapter and seed, up to the rounding of a
//! decoder that computes differently for different batch shapes. It does not depend on the slot, on
//! other requests, or on being restarted when the KV cache was full.

mod adapters;
mod admission;
mod conversation;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use self::adapters::{AdapterId, KnownAdapters, RequestAdapters};
use self::conversation::{Continued, Conversation};
use crate::engine::cells::{Cell, Cells};
use crate::engine::constraint::{Constraint, Vocabulary};
use crate::engine::sampler::{self, Choice, Draw, SamplingTeam};
use crate::engine::text::GrowingText;
use crate::engine::{BatchRow, Completion, Decoder, Engine, Finish, Request, Sampling, SeqId, Source, Token};
use crate::grammar::State;
use crate::{Cancel, Error, Result};

/// Counts and times of what a scheduler has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Prompt tokens that were fed.
    pub prompt_tokens: u64,
    /// Prompt tokens that came from another sequence's KV cells instead.
    pub reused_tokens: u64,
    /// Tokens sampled.
    pub generated_tokens: u64,
    /// Tokens generated without sampling, because choices or a grammar force them.
    #[serde(default, alias = "given_tokens")]
    pub forced_tokens: u64,
    /// Requests started again because the KV cache was full.
    pub restarts: u64,
    /// Calls of [`Decoder::decode`].
    pub decode_calls: u64,
    /// Seconds in them.
    pub decode_seconds: f64,
    /// Seconds choosing tokens.
    pub sample_seconds: f64,
}

/// Runs requests on a decoder by continuous batching.
pub struct Scheduler<D> {
    decoder: D,
    slots: Vec<Slot>,
    cells: Cells,
    /// The weights that requests are computed with from now on.
    adapter: AdapterId,
    known_adapters: KnownAdapters,
    /// Requests that came before there were cells for them, and those that will be restarted.
    waiting: VecDeque<QueuedRequest>,
    admitted: u64,
    /// Read when the first constrained request comes.
    vocabulary: Option<Vocabulary>,
    /// By choices and grammar; the one used last is the first, and the last is forgotten first.
    constraints: VecDeque<(Vec<String>, Option<String>, SharedConstraint)>,
    stats: Stats,
    /// Chooses tokens.
    team: SamplingTeam,
}

/// A sequence: what its KV cells hold, and the request that runs on it.
#[derive(Default)]
struct Slot {
    /// The computed positions, from 0.
    held: Vec<Held>,
    cells: Vec<Cell>,
    active: Option<ActiveRequest>,
    /// When the last request ended; the prompts kept for longest are dropped first.
    last_used: u64,
    /// The finished request whose conversation a request to come continues.
    continued: Option<Continued>,
}

/// A token whose cell is computed, and the weights that computed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    token: Token,
    adapter: AdapterId,
}

/// A request that waits for a slot, with its prompt.
struct QueuedRequest {
    request: Request,
    adapters: RequestAdapters,
    /// Its constraint, with nothing generated.
    constrained: Option<Constrained>,
    prompt: Arc<[Token]>,
    conversation: Conversation,
    /// Whether it lost its cells once: then it waits until all the cells that it may need are free.
    restarted: bool,
}

/// A constraint caches what it has computed, for all requests that have it. The lock is never
/// contended: there is one caller.
type SharedConstraint = Arc<Mutex<Constraint>>;

/// The constraint of a request, and its state after what is generated.
#[derive(Clone)]
struct Constrained {
    constraint: SharedConstraint,
    state: Arc<State>,
}

/// A request that runs in a slot.
struct ActiveRequest {
    queued: QueuedRequest,
    /// Number of its admission. Requests wait only for earlier ones, so they cannot deadlock.
    order: u64,
    /// Whether its slot holds the longest prefix there is; until then it feeds nothing.
    prefix_assigned: bool,
    /// The tokens generated; the last ones are not fed yet.
    generated: Vec<Token>,
    /// Tokens it may generate.
    limit: usize,
    text: GrowingText,
    constrained: Option<Constrained>,
    log_probability: f64,
    started: Instant,
}

/// Cells set aside for what a request may generate. Few use up `max_tokens`; a request that finds no
/// cell later is restarted.
const EXPECTED_TOKENS: usize = 128;

/// Constraints kept; a program has one for each of its few steps.
const MAX_CONSTRAINTS: usize = 16;

impl<D: Decoder> Scheduler<D> {
    /// A scheduler that owns `decoder`.
    pub fn new(decoder: D) -> Scheduler<D> {
        let slots = (0..decoder.max_sequences()).map(|_| Slot::default()).collect();
        let cells = Cells::new(decoder.context_size());
        let team = SamplingTeam::of(decoder.sampling_threads());
        Scheduler {
            decoder,
            slots,
            cells,
            adapter: AdapterId::BASE,
            known_adapters: KnownAdapters::default(),
            waiting: VecDeque::new(),
            admitted: 0,
            vocabulary: None,
            constraints: VecDeque::new(),
            stats: Stats::default(),
            team,
        }
    }

    /// The decoder.
    pub fn decoder(&self) -> &D {
        &self.decoder
    }

    /// Gives the decoder back, with every sequence empty.
    pub fn into_decoder(mut self) -> D {
        self.clear();
        self.decoder
    }

    /// The decoder, with every sequence empty, to use directly.
    pub fn decoder_mut(&mut self) -> &mut D {
        self.clear();
        &mut self.decoder
    }

    /// Counts and times since the scheduler was made.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Drops all requests and empties every sequence.
    fn clear(&mut self) {
        self.waiting.clear();
        for index in 0..self.slots.len() {
            self.slots[index].active = None;
            self.truncate(index, 0);
        }
    }

    fn run_all(&mut self, source: &mut dyn Source, cancel: &Cancel) -> Result<()> {
        loop {
            cancel.check()?;
            self.drop_unwanted(source);
            self.admit(source)?;
            if self.slots.iter().all(|slot| slot.active.is_none()) {
                return Ok(());
            }
            self.assign_prefixes();
            let rows = self.next_batch()?;
            self.decode(&rows)?;
            self.sample(&rows, source)?;
        }
    }

    fn drop_unwanted(&mut self, source: &dyn Source) {
        for index in 0..self.slots.len() {
            let id = self.slots[index].active.as_ref().map(|active| active.queued.request.id);
            if id.is_some_and(|id| !source.wanted(id)) {
                self.release_slot(index);
            }
            if self.slots[index].continued.is_some_and(|continued| !source.continues(continued.id)) {
                self.end_conversation(index);
            }
        }
    }
}

// Decoding and sampling.
impl<D: Decoder> Scheduler<D> {
    /// The rows of the next decode call: the last tokens of generating requests, then prompts while the
    /// batch has room. Frees cells if there are too few.
    fn next_batch(&mut self) -> Result<Vec<BatchRow>> {
        loop {
            let mut order: Vec<usize> = (0..self.slots.len()).collect();
            // Generating requests first, then in order of admission.
            order.sort_by_key(|&index| {
                let slot = &self.slots[index];
                slot.active.as_ref().map(|active| (!active.is_generating(), active.order))
            });
            let (room, batch) = (self.cells.free(), self.decoder.max_batch());
            let mut rows = Vec::new();
            let (mut short, mut missed) = (false, false);
            for index in order {
                let slot = &self.slots[index];
                let Some(active) = slot.active.as_ref().filter(|active| active.prefix_assigned) else {
                    continue;
                };
                let pending = active.pending(slot.held.len());
                let mut n = pending.len().min(batch.min(room).saturating_sub(rows.len()));
                if self.is_alone() && pending.len() > 1 {
                    n = n.min(pending.len() - 1);
                }
                for (offset, &token) in pending[..n].iter().enumerate() {
                    let pos = (slot.held.len() + offset) as u32;
                    let logits = offset + 1 == pending.len();
                    rows.push(BatchRow { token, pos, seq: SeqId(index as u32), logits });
                }
                if n < pending.len() && rows.len() < batch {
                    short = true;
                    missed |= n == 0 && active.is_generating();
                }
            }
            // The rest of a prompt can be fed in the next call, but a generating request must not be
            // left out for lack of cells, and at least one row must be fed.
            if !(missed || short && rows.is_empty()) {
                return Ok(rows);
            }
            if !self.drop_cached_prefix() && !self.restart_youngest() {
                let why = "no room for a single token with one request running";
                return Err(Error::Internal(why.into()));
            }
        }
    }

    /// Frees the cells of the request admitted last, which is restarted later; never of the only one.
    fn restart_youngest(&mut self) -> bool {
        let actives = self.slots.iter().enumerate();
        let actives = actives.filter_map(|(index, slot)| Some((slot.active.as_ref()?.order, index)));
        let (Some((_, youngest)), true) = (actives.clone().max(), actives.count() > 1) else {
            return false;
        };
        if let Some(active) = self.slots[youngest].active.take() {
            self.waiting.push_front(QueuedRequest { restarted: true, ..active.queued });
            self.stats.restarts += 1;
        }
        self.truncate(youngest, 0);
        true
    }

    fn decode(&mut self, rows: &[BatchRow]) -> Result<()> {
        if rows.is_empty() {
            return Err(Error::Internal("nothing to decode".into()));
        }
        let start = Instant::now();
        self.decoder.decode(rows)?;
        self.stats.decode_seconds += start.elapsed().as_secs_f64();
        self.stats.decode_calls += 1;
        for row in rows {
            let slot = &mut self.slots[row.seq.0 as usize];
            let full = || Error::Internal("more rows than free cells".into());
            slot.cells.push(self.cells.take().ok_or_else(full)?);
            let Some(active) = &slot.active else {
                return Err(Error::Internal("a row of a slot without a request".into()));
            };
            let (pos, prompt) = (slot.held.len(), active.queued.prompt.len());
            self.stats.prompt_tokens += u64::from(pos < prompt);
            let adapter = active.queued.adapters.at(pos, prompt);
            slot.held.push(Held { token: row.token, adapter });
        }
        Ok(())
    }

    /// Chooses a token for each row with logits, and delivers the completions that end.
    fn sample(&mut self, rows: &[BatchRow], source: &mut dyn Source) -> Result<()> {
        let start = Instant::now();
        let allowed = self.allowed(rows)?;
        let mut wanted = Vec::new();
        let sampled = rows.iter().enumerate().filter(|(_, row)| row.logits);
        for ((row_index, row), allowed) in sampled.zip(&allowed) {
            if let Some(active) = &self.slots[row.seq.0 as usize].active {
                let request = &active.queued.request;
                wanted.push(Draw {
                    logits: self.decoder.logits(row_index),
                    sampling: &request.sampling,
                    generated: &active.generated,
                    allowed: allowed.as_deref(),
                    uniform: sampler::uniform(request.seed, active.generated.len() as u64),
                });
            }
        }
        let choices = sampler::choose_all(&wanted, &self.team)?;
        self.stats.sample_seconds += start.elapsed().as_secs_f64();

        let sampled = rows.iter().filter(|row| row.logits).map(|row| row.seq.0 as usize);
        for (index, choice) in sampled.zip(choices) {
            self.stats.generated_tokens += 1;
            let Some(finish) = self.advance(index, choice, source)? else {
                continue;
            };
            let Some(active) = self.slots[index].active.as_mut() else {
                continue;
            };
            let id = active.queued.request.id;
            let tokens = active.tokens_of_text(finish, &self.decoder)?;
            let completion = Completion {
                id,
                text: std::mem::take(&mut active.text).finish(),
                tokens,
                prompt_tokens: active.queued.prompt.len(),
                generated_tokens: active.generated.len(),
                finish,
                probability: active.log_probability.exp() as f32,
                log_probability: active.log_probability,
                seconds: active.started.elapsed().as_secs_f64(),
            };
            source.finished(completion)?;
            match source.continues(id) {
                true => self.keep_conversation(index),
                false => self.release_slot(index),
            }
        }
        Ok(())
    }

    /// The tokens that each row with logits may be followed by; `None` allows all.
    fn allowed(&mut self, rows: &[BatchRow]) -> Result<Vec<Option<Arc<[Token]>>>> {
        let slots = rows.iter().filter(|row| row.logits).map(|row| &self.slots[row.seq.0 as usize]);
        slots
            .map(|slot| {
                let Some((active, constrained)) =
                    slot.active.as_ref().and_then(|j| Some((j, j.constrained.as_ref()?)))
                else {
                    return Ok(None);
                };
                let vocabulary = self.vocabulary.get_or_insert_with(|| Vocabulary::of(&self.decoder));
                let allowed = constrained.lock().allowed(&constrained.state, vocabulary)?;
                if allowed.is_empty() {
                    let (id, text) = (active.queued.request.id, active.text.as_str());
                    let why = "no token of the model continues as its choices or grammar require";
                    return Err(Error::Engine(format!("request {id}: {why}, after {text:?}")));
                }
                Ok(Some(allowed))
            })
            .collect()
    }

    /// The constraint that `sampling` asks for, with nothing generated.
    fn constrained(&mut self, sampling: &Sampling) -> Result<Option<Constrained>> {
        let is_wanted = |(choices, grammar, _): &(Vec<String>, Option<String>, _)| {
            *choices == sampling.choices && *grammar == sampling.grammar
        };
        let known = self.constraints.iter().position(is_wanted);
        let entry = match known.and_then(|index| self.constraints.remove(index)) {
            Some(entry) => entry,
            None => {
                let Some(constraint) = Constraint::of(sampling)? else {
                    return Ok(None);
                };
                let constraint = Arc::new(Mutex::new(constraint));
                (sampling.choices.clone(), sampling.grammar.clone(), constraint)
            }
        };
        let constraint = entry.2.clone();
        self.constraints.truncate(MAX_CONSTRAINTS - 1);
        self.constraints.push_front(entry);
        let state = lock(&constraint).start();
        Ok(Some(Constrained { constraint, state }))
    }

    /// Adds a sampled token to the request in slot `index`, and the tokens that its constraint forces
    /// after it. Returns why the request ends, if it does.
    fn advance(
        &mut self,
        index: usize,
        choice: Option<Choice>,
        source: &dyn Source,
    ) -> Result<Option<Finish>> {
        let Some(active) = &mut self.slots[index].active else {
            return Ok(None);
        };
        let request = &active.queued.request;
        let Some(Choice { token, probability }) = choice else {
            let id = request.id;
            let why = match active.constrained {
                Some(_) => "no token that its choices or grammar allow has a finite logit",
                None => "the model's logits are not finite; the model or adapter is damaged",
            };
            return Err(Error::Engine(format!("request {id}: {why}")));
        };
        active.log_probability += f64::from(probability).ln();
        if let Some(finish) = self.write(index, token, source)? {
            return Ok(Some(finish));
        }
        for &token in &*self.forced(index)? {
            self.stats.forced_tokens += 1;
            if let Some(finish) = self.write(index, token, source)? {
                return Ok(Some(finish));
            }
        }
        Ok(None)
    }

    /// The tokens that the constraint of the request in slot `index` forces next.
    fn forced(&mut self, index: usize) -> Result<Arc<[Token]>> {
        let constrained = self.slots[index].active.as_ref().and_then(|active| active.constrained.as_ref());
        match (constrained, &self.vocabulary) {
            (Some(constrained), Some(vocabulary)) => {
                constrained.lock().forced(&constrained.state, vocabulary, &self.decoder)
            }
            _ => Ok(Arc::default()),
        }
    }

    /// Adds `token` to the request in slot `index`. Returns why the request ends, if it does.
    fn write(&mut self, index: usize, token: Token, source: &dyn Source) -> Result<Option<Finish>> {
        let Some(active) = &mut self.slots[index].active else {
            return Ok(None);
        };
        let request = &active.queued.request;
        active.generated.push(token);
        if self.decoder.is_end(token) {
            return Ok(Some(Finish::EndOfTurn));
        }
        let mut bytes = Vec::new();
        self.decoder.piece(token, &mut bytes);
        let before = active.text.as_str().len();
        if let Some(constrained) = &mut active.constrained {
            let state = constrained.lock().after(&constrained.state, &bytes)?;
            constrained.state = state;
        }
        if active.text.push(&bytes) {
            let grown = active.text.as_str().len() - before;
            if active.text.cut_at(&request.sampling.stop, grown) {
                return Ok(Some(Finish::StopString));
            }
            if source.enough(request.id, active.text.as_str()) {
                return Ok(Some(Finish::Enough));
            }
        }
        if active.constrained.as_ref().is_some_and(|constrained| constrained.state.must_end()) {
            return Ok(Some(Finish::Enough));
        }
        Ok((active.generated.len() >= active.limit).then_some(Finish::Length))
    }
}

impl<D: Decoder> Engine for Scheduler<D> {
    fn run(&mut self, source: &mut dyn Source, cancel: &Cancel) -> Result<()> {
        let result = self.run_all(source, cancel);
        if result.is_err() {
            self.clear();
        }
        result
    }

    fn set_adapter(&mut self, path: Option<&Path>) -> Result<()> {
        self.waiting.clear();
        match self.decoder.set_adapter(path) {
            Ok(()) => {
                self.adapter = self.known_adapters.id(path);
                Ok(())
            }
            Err(error) => {
                // It is unknown which adapter is applied now, so no cell may be reused.
                self.adapter = self.known_adapters.unknown();
                Err(error)
            }
        }
    }

    fn takes_adapters(&self) -> bool {
        self.decoder.takes_adapters()
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(&self.decoder)
    }
}

impl ActiveRequest {
    /// Whether its prompt is fed and it has generated a token.
    fn is_generating(&self) -> bool {
        !self.generated.is_empty()
    }

    /// The tokens to feed next, where the slot holds `fed` tokens.
    fn pending(&self, fed: usize) -> &[Token] {
        let prompt = &self.queued.prompt;
        if fed < prompt.len() { &prompt[fed..] } else { &self.generated[fed - prompt.len()..] }
    }
}

impl Constrained {
    fn lock(&self) -> std::sync::MutexGuard<'_, Constraint> {
        lock(&self.constraint)
    }
}

fn lock(constraint: &Mutex<Constraint>) -> std::sync::MutexGuard<'_, Constraint> {
    // A panic leaves a constraint consistent: its cache entries are written whole.
    constraint.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    /// Prompt tokens not fed yet.
    fn unfed(&self, active: &ActiveRequest) -> usize {
        if active.prefix_assigned { active.queued.prompt.len().saturating_sub(self.held.len()) } else { 1 }
    }

    /// Cells that its request is expected to need beyond those it has.
    fn expected(&self) -> Option<usize> {
        let active = self.active.as_ref()?;
        let held = if active.prefix_assigned { self.held.len() } else { 0 };
        Some(active.queued.expected().saturating_sub(held))
    }
}

impl QueuedRequest {
    /// Cells expected for the prompt and what it generates.
    fn expected(&self) -> usize {
        let most = self.request.sampling.max_tokens;
        self.prompt.len() + if self.restarted { most } else { most.min(EXPECTED_TOKENS) }
    }
}

#[cfg(test)]
mod tests;
