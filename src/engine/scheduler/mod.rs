//! Continuous batching: an [`Engine`] out of any [`Decoder`].
//!
//! Every sequence of the decoder is a slot. A request takes a slot, feeds its prompt, then in each
//! decode call the token sampled last, with those that its choices or grammar leave no other for
//! after it, and leaves; the next one enters at once, so that decode calls stay full. There may be
//! more sequences than requests at work: those keep prompts. Prompts mostly begin alike (the
//! template, the examples, and the whole question across its samples), so a request starts from the
//! longest prefix that any slot holds, live or left over, and waits for a slot that is still feeding
//! one rather than feed it again.
//!
//! What a request generates depends on its prompt and seed alone: not on its slot, its
//! neighbours, or on being dropped half-way for lack of room and started again. (Up to the rounding
//! of a decoder that computes differently for different batch shapes.)

mod adapters;
mod place;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use self::adapters::{AdapterId, KnownAdapters, RequestAdapters};
use crate::engine::cells::{Cell, Cells};
use crate::engine::constraint::{Constraint, Vocabulary};
use crate::engine::sampler::{self, Choice, Draw, SamplingTeam};
use crate::engine::text::GrowingText;
use crate::engine::{BatchRow, Completion, Decoder, Engine, Finish, Request, Sampling, SeqId, Source, Token};
use crate::grammar::State;
use crate::{Cancel, Error, Result};

/// What a scheduler has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Prompt tokens that were fed.
    pub prompt_tokens: u64,
    /// Prompt tokens that came from another sequence's KV cells instead.
    pub reused_tokens: u64,
    /// Tokens sampled.
    pub generated_tokens: u64,
    /// Tokens written beside those because choices or a grammar left no other.
    #[serde(default)]
    pub given_tokens: u64,
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
    /// Requests that came before there was room, and those that had to give theirs up.
    waiting: VecDeque<Arrival>,
    admitted: u64,
    /// Made when the first constrained request comes.
    vocabulary: Option<Vocabulary>,
    /// By choices and grammar; the one used last is the first, and the last is forgotten first.
    constraints: VecDeque<(Vec<String>, Option<String>, SharedConstraint)>,
    stats: Stats,
    /// Chooses tokens.
    team: SamplingTeam,
}

/// A sequence: what its KV cells hold, and who works on it.
#[derive(Default)]
struct Slot {
    /// What is computed of positions 0.. .
    held: Vec<Held>,
    cells: Vec<Cell>,
    job: Option<Job>,
    /// When the last job left; the oldest leftovers go first.
    left: u64,
}

/// A token whose cell is computed, and the weights that computed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    token: Token,
    adapter: AdapterId,
}

/// A request with its prompt.
struct Arrival {
    request: Request,
    adapters: RequestAdapters,
    /// Its constraint, with nothing written.
    constrained: Option<Constrained>,
    prompt: Arc<[Token]>,
    /// Whether it once had to give up its room: then it waits until all it may need is free.
    restarted: bool,
}

/// What a constraint has found out serves all its requests. Nobody waits for the lock: there is one
/// caller.
type SharedConstraint = Arc<Mutex<Constraint>>;

/// The constraint of a request, and what may follow what it has written.
#[derive(Clone)]
struct Constrained {
    constraint: SharedConstraint,
    state: Arc<State>,
}

/// A request at work in a slot.
struct Job {
    arrival: Arrival,
    /// Requests wait only for earlier ones, so nobody waits in a circle.
    order: u64,
    /// Whether its slot holds the longest prefix it could find; until then it feeds nothing.
    placed: bool,
    /// What it has written; the last of it is not fed yet.
    written: Vec<Token>,
    /// Tokens it may generate.
    limit: usize,
    text: GrowingText,
    constrained: Option<Constrained>,
    log_probability: f64,
    started: Instant,
}

/// Room set aside for what a request may generate. Few use up `max_tokens`; those that do not find
/// room later are started again.
const EXPECTED_TOKENS: usize = 128;

/// Constraints remembered; programs have one for each of their few steps.
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

    /// The decoder, to work with directly. Forgets all shared prefixes first.
    pub fn decoder_mut(&mut self) -> &mut D {
        self.clear();
        &mut self.decoder
    }

    /// What was done since the start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Drops all work and empties every sequence.
    fn clear(&mut self) {
        self.waiting.clear();
        for index in 0..self.slots.len() {
            self.slots[index].job = None;
            self.truncate(index, 0);
        }
    }

    fn run_all(&mut self, source: &mut dyn Source, cancel: &Cancel) -> Result<()> {
        loop {
            cancel.check()?;
            self.drop_unwanted(source);
            self.admit(source)?;
            if self.slots.iter().all(|slot| slot.job.is_none()) {
                return Ok(());
            }
            self.place();
            let rows = self.plan()?;
            self.decode(&rows)?;
            self.sample(&rows, source)?;
        }
    }

    fn drop_unwanted(&mut self, source: &dyn Source) {
        for index in 0..self.slots.len() {
            let id = self.slots[index].job.as_ref().map(|job| job.arrival.request.id);
            if id.is_some_and(|id| !source.wanted(id)) {
                self.vacate(index);
            }
        }
    }
}

// Decoding and sampling.
impl<D: Decoder> Scheduler<D> {
    /// The rows of the next decode call: what each job has written last, then prompts while there is
    /// room in the batch. Frees cells if there are too few.
    fn plan(&mut self) -> Result<Vec<BatchRow>> {
        loop {
            let mut order: Vec<usize> = (0..self.slots.len()).collect();
            // Generating jobs first, then in order of admission.
            order.sort_by_key(|&index| {
                let slot = &self.slots[index];
                slot.job.as_ref().map(|job| (!job.is_writing(), job.order))
            });
            let (room, batch) = (self.cells.free(), self.decoder.max_batch());
            let mut rows = Vec::new();
            let (mut short, mut missed) = (false, false);
            for index in order {
                let slot = &self.slots[index];
                let Some(job) = slot.job.as_ref().filter(|job| job.placed) else {
                    continue;
                };
                let pending = job.pending(slot.held.len());
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
                    missed |= n == 0 && job.is_writing();
                }
            }
            // A prompt may go on in the next call, but a job that writes must not miss one for lack
            // of room, and something must be fed.
            if !(missed || short && rows.is_empty()) {
                return Ok(rows);
            }
            if !self.drop_leftover() && !self.restart_youngest() {
                let why = "no room for a single token with one request running";
                return Err(Error::Internal(why.into()));
            }
        }
    }

    /// Takes the room of the job admitted last, which starts again later; never of the only one.
    fn restart_youngest(&mut self) -> bool {
        let jobs = self.slots.iter().enumerate();
        let jobs = jobs.filter_map(|(index, slot)| Some((slot.job.as_ref()?.order, index)));
        let (Some((_, youngest)), true) = (jobs.clone().max(), jobs.count() > 1) else {
            return false;
        };
        if let Some(job) = self.slots[youngest].job.take() {
            self.waiting.push_front(Arrival { restarted: true, ..job.arrival });
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
            let Some(job) = &slot.job else {
                return Err(Error::Internal("a row of a slot without a request".into()));
            };
            let (pos, prompt) = (slot.held.len(), job.arrival.prompt.len());
            self.stats.prompt_tokens += u64::from(pos < prompt);
            let adapter = job.arrival.adapters.at(pos, prompt);
            slot.held.push(Held { token: row.token, adapter });
        }
        Ok(())
    }

    /// Chooses a token for each row with logits and hands over what is finished.
    fn sample(&mut self, rows: &[BatchRow], source: &mut dyn Source) -> Result<()> {
        let start = Instant::now();
        let allowed = self.allowed(rows)?;
        let mut wanted = Vec::new();
        let sampled = rows.iter().enumerate().filter(|(_, row)| row.logits);
        for ((row_index, row), allowed) in sampled.zip(&allowed) {
            if let Some(job) = &self.slots[row.seq.0 as usize].job {
                let request = &job.arrival.request;
                wanted.push(Draw {
                    logits: self.decoder.logits(row_index),
                    sampling: &request.sampling,
                    generated: &job.written,
                    allowed: allowed.as_deref(),
                    uniform: sampler::uniform(request.seed, job.written.len() as u64),
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
            let Some(job) = self.slots[index].job.as_mut() else {
                continue;
            };
            let completion = Completion {
                id: job.arrival.request.id,
                text: std::mem::take(&mut job.text).finish(),
                prompt_tokens: job.arrival.prompt.len(),
                generated_tokens: job.written.len(),
                finish,
                probability: job.log_probability.exp() as f32,
                log_probability: job.log_probability,
                seconds: job.started.elapsed().as_secs_f64(),
            };
            self.vacate(index);
            source.finished(completion)?;
        }
        Ok(())
    }

    /// The tokens that each row with logits may be followed by; `None` allows all.
    fn allowed(&mut self, rows: &[BatchRow]) -> Result<Vec<Option<Arc<[Token]>>>> {
        let slots = rows.iter().filter(|row| row.logits).map(|row| &self.slots[row.seq.0 as usize]);
        slots
            .map(|slot| {
                let Some((job, constrained)) =
                    slot.job.as_ref().and_then(|j| Some((j, j.constrained.as_ref()?)))
                else {
                    return Ok(None);
                };
                let vocabulary = self.vocabulary.get_or_insert_with(|| Vocabulary::of(&self.decoder));
                let allowed = constrained.lock().allowed(&constrained.state, vocabulary)?;
                if allowed.is_empty() {
                    let (id, text) = (job.arrival.request.id, job.text.as_str());
                    let why = "no token of the model goes on as its choices or grammar ask";
                    return Err(Error::Engine(format!("request {id}: {why}, after {text:?}")));
                }
                Ok(Some(allowed))
            })
            .collect()
    }

    /// The constraint that `sampling` asks for, with nothing written.
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

    /// Adds a sampled token to the job in slot `index`, and what its constraint gives it after that;
    /// why it ends, if it does.
    fn advance(
        &mut self,
        index: usize,
        choice: Option<Choice>,
        source: &dyn Source,
    ) -> Result<Option<Finish>> {
        let Some(job) = &mut self.slots[index].job else {
            return Ok(None);
        };
        let request = &job.arrival.request;
        let Some(Choice { token, probability }) = choice else {
            let id = request.id;
            let why = match job.constrained {
                Some(_) => "no token that its choices or grammar allow has a finite logit",
                None => "the model's logits are not finite; the model or adapter is damaged",
            };
            return Err(Error::Engine(format!("request {id}: {why}")));
        };
        job.log_probability += f64::from(probability).ln();
        if let Some(finish) = self.write(index, token, source)? {
            return Ok(Some(finish));
        }
        for &token in &*self.given(index)? {
            self.stats.given_tokens += 1;
            if let Some(finish) = self.write(index, token, source)? {
                return Ok(Some(finish));
            }
        }
        Ok(None)
    }

    /// The tokens that come next in the job in slot `index` whatever is chosen.
    fn given(&mut self, index: usize) -> Result<Arc<[Token]>> {
        let constrained = self.slots[index].job.as_ref().and_then(|job| job.constrained.as_ref());
        match (constrained, &self.vocabulary) {
            (Some(constrained), Some(vocabulary)) => {
                constrained.lock().forced(&constrained.state, vocabulary, &self.decoder)
            }
            _ => Ok(Arc::default()),
        }
    }

    /// Adds `token` to the job in slot `index`; why it ends, if it does.
    fn write(&mut self, index: usize, token: Token, source: &dyn Source) -> Result<Option<Finish>> {
        let Some(job) = &mut self.slots[index].job else {
            return Ok(None);
        };
        let request = &job.arrival.request;
        job.written.push(token);
        if self.decoder.is_end(token) {
            return Ok(Some(Finish::EndOfTurn));
        }
        let mut bytes = Vec::new();
        self.decoder.piece(token, &mut bytes);
        let before = job.text.as_str().len();
        if let Some(constrained) = &mut job.constrained {
            let state = constrained.lock().after(&constrained.state, &bytes)?;
            constrained.state = state;
        }
        if job.text.push(&bytes) {
            let grown = job.text.as_str().len() - before;
            if job.text.cut_at(&request.sampling.stop, grown) {
                return Ok(Some(Finish::StopString));
            }
            if source.enough(request.id, job.text.as_str()) {
                return Ok(Some(Finish::Enough));
            }
        }
        if job.constrained.as_ref().is_some_and(|constrained| constrained.state.must_end()) {
            return Ok(Some(Finish::Enough));
        }
        Ok((job.written.len() >= job.limit).then_some(Finish::Length))
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
                // Whatever is applied now, no cell is known to be computed with it.
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

impl Job {
    /// Whether its prompt is fed and its own text is begun.
    fn is_writing(&self) -> bool {
        !self.written.is_empty()
    }

    /// The tokens to feed next, where the slot holds `fed` already.
    fn pending(&self, fed: usize) -> &[Token] {
        let prompt = &self.arrival.prompt;
        if fed < prompt.len() { &prompt[fed..] } else { &self.written[fed - prompt.len()..] }
    }
}

impl Constrained {
    fn lock(&self) -> std::sync::MutexGuard<'_, Constraint> {
        lock(&self.constraint)
    }
}

fn lock(constraint: &Mutex<Constraint>) -> std::sync::MutexGuard<'_, Constraint> {
    // What a constraint knows is complete at every moment.
    constraint.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    /// Prompt tokens not fed yet.
    fn unfed(&self, job: &Job) -> usize {
        if job.placed { job.arrival.prompt.len().saturating_sub(self.held.len()) } else { 1 }
    }

    /// Cells its job is expected to need beyond those it has.
    fn expected(&self) -> Option<usize> {
        let job = self.job.as_ref()?;
        let held = if job.placed { self.held.len() } else { 0 };
        Some(job.arrival.expected().saturating_sub(held))
    }
}

impl Arrival {
    /// Cells expected for the prompt and what it generates.
    fn expected(&self) -> usize {
        let most = self.request.sampling.max_tokens;
        self.prompt.len() + if self.restarted { most } else { most.min(EXPECTED_TOKENS) }
    }
}

#[cfg(test)]
mod tests;
