//! Continuous batching: an [`Engine`] out of any [`Decoder`].
//!
//! Every sequence of the decoder is a slot. A request takes a slot, feeds its prompt, then one
//! token for each decode call, and leaves; the next one enters at once, so that decode calls stay
//! full. Prompts mostly begin alike (the template, the examples, and the whole question across
//! its samples), so a request starts from the longest prefix that any slot holds, live or left
//! over, and waits for a slot that is still feeding one rather than feed it again.
//!
//! What a request generates depends on its prompt and seed alone: not on its slot, its
//! neighbours, or on being dropped half-way for lack of room and started again. (Up to the rounding
//! of a decoder that computes differently for different batch shapes.)

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::cells::{Cell, Cells};
use super::sampler::{self, Choice};
use super::text::GrowingText;
use super::{Completion, Decoder, Engine, Finish, Request, Row, Sampling, SeqId, Source, Token};
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
    /// Requests that came before there was room, and those that had to give theirs up.
    waiting: VecDeque<Arrival>,
    admitted: u64,
    stats: Stats,
}

/// A sequence: what its KV cells hold, and who works on it.
#[derive(Default)]
struct Slot {
    /// The tokens at positions 0.. .
    tokens: Vec<Token>,
    cells: Vec<Cell>,
    job: Option<Job>,
    /// When the last job left; the oldest leftovers go first.
    left: u64,
}

/// A request with its prompt.
struct Arrival {
    request: Request,
    prompt: Arc<[Token]>,
    /// Whether it once had to give up its room: then it waits until all it may need is free.
    restarted: bool,
}

/// A request at work in a slot.
struct Job {
    arrival: Arrival,
    /// Requests wait only for earlier ones, so nobody waits in a circle.
    order: u64,
    /// Whether its slot holds the longest prefix it could find; until then it feeds nothing.
    placed: bool,
    /// The token sampled last, not fed yet.
    next: Option<Token>,
    generated: usize,
    /// Tokens it may generate.
    limit: usize,
    text: GrowingText,
    log_probability: f64,
    started: Instant,
}

/// Waiting for another slot's prompt delays a request by a decode call or more; for fewer tokens
/// than this, feeding them again is cheaper.
const WORTH_WAITING_FOR: usize = 8;

/// Room set aside for what a request may generate. Few use up `max_tokens`; those that do not find
/// room later are started again.
const EXPECTED_TOKENS: usize = 128;

impl<D: Decoder> Scheduler<D> {
    /// A scheduler that owns `decoder`.
    pub fn new(decoder: D) -> Scheduler<D> {
        let slots = (0..decoder.max_sequences()).map(|_| Slot::default()).collect();
        let cells = Cells::new(decoder.context_size());
        Scheduler { decoder, slots, cells, waiting: VecDeque::new(), admitted: 0, stats: Stats::default() }
    }

    /// The decoder.
    pub fn decoder(&self) -> &D {
        &self.decoder
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

// Admission: from requests to slots.
impl<D: Decoder> Scheduler<D> {
    /// Starts requests while there are slots and room.
    fn admit(&mut self, source: &mut dyn Source) -> Result<()> {
        while self.slots.iter().any(|slot| slot.job.is_none()) {
            let Some(arrival) = self.next_arrival(source)? else {
                return Ok(());
            };
            if arrival.request.sampling.max_tokens == 0 {
                source.finished(nothing_asked(&arrival))?;
                continue;
            }
            if !self.make_room(&arrival) {
                self.waiting.push_front(arrival);
                return Ok(());
            }
            self.start(arrival);
        }
        Ok(())
    }

    fn next_arrival(&mut self, source: &mut dyn Source) -> Result<Option<Arrival>> {
        while let Some(arrival) = self.waiting.pop_front() {
            if source.wanted(arrival.request.id) {
                return Ok(Some(arrival));
            }
        }
        let Some(request) = source.next() else {
            return Ok(None);
        };
        let prompt: Arc<[Token]> = self.decoder.prompt(&request.messages, request.thinking)?.into();
        let (id, tokens, limit) = (request.id, prompt.len(), self.decoder.sequence_limit());
        if prompt.is_empty() {
            return Err(Error::Engine(format!("request {id}: its prompt has no tokens")));
        }
        if tokens >= limit {
            return Err(Error::Engine(format!(
                "request {id}: its prompt has {tokens} tokens, and with one more for the answer \
                 at most {limit} fit; shorten the prompt or raise the context size"
            )));
        }
        Ok(Some(Arrival { request, prompt, restarted: false }))
    }

    /// Whether `arrival` fits beside what the running requests are expected to need, after
    /// dropping leftovers if need be.
    fn make_room(&mut self, arrival: &Arrival) -> bool {
        let promised: usize = self.slots.iter().filter_map(Slot::expected).sum();
        loop {
            let shared = self.longest_prefix(&arrival.prompt, None).map_or(0, |(_, len)| len);
            let needed = arrival.expected() - shared;
            if needed + promised <= self.cells.free() {
                return true;
            }
            if !self.drop_leftover() {
                // Alone, anything whose prompt fits may run.
                return promised == 0 && self.slots.iter().all(|slot| slot.job.is_none());
            }
        }
    }

    fn start(&mut self, arrival: Arrival) {
        let is_free = |slot: &Slot| slot.job.is_none();
        // A leftover that begins like this prompt is used in place unless a running slot serves
        // as well; otherwise an empty slot, otherwise the oldest leftover.
        let best = self.longest_prefix(&arrival.prompt, None).map(|(index, _)| index);
        let oldest = || {
            let free = self.slots.iter().enumerate().filter(|(_, slot)| is_free(slot));
            free.min_by_key(|(_, slot)| (!slot.tokens.is_empty(), slot.left)).map(|(i, _)| i)
        };
        let Some(index) = best.filter(|&i| is_free(&self.slots[i])).or_else(oldest) else {
            self.waiting.push_front(arrival);
            return;
        };
        self.admitted += 1;
        let room = self.decoder.sequence_limit() - arrival.prompt.len();
        self.slots[index].job = Some(Job {
            order: self.admitted,
            placed: false,
            next: None,
            generated: 0,
            limit: arrival.request.sampling.max_tokens.min(room),
            text: GrowingText::default(),
            log_probability: 0.0,
            started: Instant::now(),
            arrival,
        });
    }

    /// Drops the oldest leftover KV cells; `false` if there are none.
    fn drop_leftover(&mut self) -> bool {
        let free = self.slots.iter().enumerate();
        let leftover = free.filter(|(_, slot)| slot.job.is_none() && !slot.tokens.is_empty());
        match leftover.min_by_key(|(_, slot)| slot.left).map(|(index, _)| index) {
            Some(index) => {
                self.truncate(index, 0);
                true
            }
            None => false,
        }
    }
}

// Placement: each job starts from the longest prefix there is.
impl<D: Decoder> Scheduler<D> {
    fn place(&mut self) {
        let mut unplaced: Vec<(u64, usize)> = Vec::new();
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(job) = slot.job.as_ref().filter(|job| !job.placed) {
                unplaced.push((job.order, index));
            }
        }
        unplaced.sort_unstable();
        for (order, index) in unplaced {
            let Some(job) = &self.slots[index].job else {
                continue;
            };
            let prompt = job.arrival.prompt.clone();
            let own = shared_prefix(&prompt, &self.slots[index].tokens);
            let other = self.longest_prefix(&prompt, Some(index));
            let ready = own.max(other.map_or(0, |(_, len)| len));
            if self.longest_promise(&prompt, order) >= ready + WORTH_WAITING_FOR {
                continue;
            }
            match other {
                Some((from, len)) if len > own => {
                    self.truncate(index, 0);
                    self.copy_prefix(from, index, len);
                }
                _ => self.truncate(index, own),
            }
            self.stats.reused_tokens += ready as u64;
            if let Some(job) = &mut self.slots[index].job {
                job.placed = true;
            }
        }
    }

    /// The slot, other than `except`, that holds the longest prefix of `prompt`, and its length.
    /// Running slots win ties: their cells are in use anyway.
    fn longest_prefix(&self, prompt: &[Token], except: Option<usize>) -> Option<(usize, usize)> {
        let others = self.slots.iter().enumerate().filter(|(index, _)| Some(*index) != except);
        let shared = others.map(|(index, slot)| (index, shared_prefix(prompt, &slot.tokens)));
        shared.filter(|&(_, len)| len > 0).max_by_key(|&(index, len)| (len, self.slots[index].job.is_some()))
    }

    /// The longest prefix of `prompt` that a job admitted before `order` is going to hold.
    fn longest_promise(&self, prompt: &[Token], order: u64) -> usize {
        let jobs = self.slots.iter().filter_map(|slot| Some((slot, slot.job.as_ref()?)));
        let earlier = jobs.filter(|(_, job)| job.order < order);
        let feeding = earlier.filter(|(slot, job)| slot.unfed(job) > 0);
        feeding.map(|(_, job)| shared_prefix(prompt, &job.arrival.prompt)).max().unwrap_or(0)
    }

    fn copy_prefix(&mut self, from: usize, to: usize, len: usize) {
        self.decoder.copy_prefix(SeqId(from as u32), SeqId(to as u32), len as u32);
        let tokens = self.slots[from].tokens[..len].to_vec();
        let cells = self.slots[from].cells[..len].to_vec();
        self.cells.share(&cells);
        self.slots[to].tokens = tokens;
        self.slots[to].cells = cells;
    }

    fn truncate(&mut self, index: usize, len: usize) {
        let slot = &mut self.slots[index];
        if len < slot.tokens.len() {
            self.decoder.truncate(SeqId(index as u32), len as u32);
            slot.tokens.truncate(len);
            self.cells.release(slot.cells.drain(len..));
        }
    }

    /// Ends the job in `index` and keeps its prompt for others, unless another slot has it too.
    fn vacate(&mut self, index: usize) {
        let Some(job) = self.slots[index].job.take() else {
            return;
        };
        self.truncate(index, job.arrival.prompt.len());
        self.admitted += 1;
        self.slots[index].left = self.admitted;
        let held = self.slots[index].tokens.len();
        let elsewhere = self.longest_prefix(&self.slots[index].tokens, Some(index));
        // One that is held elsewhere to all but the last token is worth nothing: that token is
        // fed again anyway.
        if elsewhere.is_some_and(|(_, len)| len + 1 >= held) {
            self.truncate(index, 0);
        }
        // Leftovers cost attention over their cells in each decode call, so few are kept.
        let budget = self.decoder.context_size() / 8;
        loop {
            let left = self.slots.iter().filter(|s| s.job.is_none() && !s.tokens.is_empty());
            let unshared = left.clone().map(|slot| self.cells.unshared(&slot.cells));
            if left.clone().count() <= 1 || unshared.sum::<usize>() <= budget {
                return;
            }
            self.drop_leftover();
        }
    }
}

// Decoding and sampling.
impl<D: Decoder> Scheduler<D> {
    /// The rows of the next decode call: one for each generating job, then prompts while there is
    /// room in the batch. Frees cells if there are too few.
    fn plan(&mut self) -> Result<Vec<Row>> {
        loop {
            let mut order: Vec<usize> = (0..self.slots.len()).collect();
            // Generating jobs first, then in order of admission.
            order.sort_by_key(|&index| {
                let slot = &self.slots[index];
                slot.job.as_ref().map(|job| (job.next.is_none(), job.order))
            });
            let (room, batch) = (self.cells.free(), self.decoder.max_batch());
            let mut rows = Vec::new();
            let mut short = false;
            for index in order {
                let slot = &self.slots[index];
                let Some(job) = slot.job.as_ref().filter(|job| job.placed) else {
                    continue;
                };
                let mut wanted = job.arrival.prompt[slot.tokens.len().min(job.arrival.prompt.len())..]
                    .iter()
                    .chain(&job.next)
                    .copied()
                    .zip(slot.tokens.len() as u32..)
                    .peekable();
                while rows.len() < batch.min(room)
                    && let Some((token, pos)) = wanted.next()
                {
                    let logits = wanted.peek().is_none();
                    rows.push(Row { token, pos, seq: SeqId(index as u32), logits });
                }
                short |= wanted.peek().is_some() && rows.len() < batch;
            }
            // A prompt may go on in the next call, but a generating job must not miss one for
            // lack of room, and something must be fed.
            let starved = short && (rows.len() < self.generating().min(batch) || rows.is_empty());
            if !starved {
                return Ok(rows);
            }
            if !self.drop_leftover() && !self.restart_youngest() {
                let why = "no room for a single token with one request running";
                return Err(Error::Internal(why.into()));
            }
        }
    }

    fn generating(&self) -> usize {
        self.slots.iter().filter(|s| s.job.as_ref().is_some_and(|job| job.next.is_some())).count()
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

    fn decode(&mut self, rows: &[Row]) -> Result<()> {
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
            slot.tokens.push(row.token);
            if let Some(job) = &mut slot.job
                && job.next.take().is_none()
            {
                self.stats.prompt_tokens += 1;
            }
        }
        Ok(())
    }

    /// Chooses a token for each row with logits and hands over what is finished.
    fn sample(&mut self, rows: &[Row], source: &mut dyn Source) -> Result<()> {
        let start = Instant::now();
        let mut wanted = Vec::new();
        for (row_index, row) in rows.iter().enumerate().filter(|(_, row)| row.logits) {
            if let Some(job) = &self.slots[row.seq.0 as usize].job {
                let request = &job.arrival.request;
                wanted.push(Draw {
                    logits: self.decoder.logits(row_index),
                    sampling: &request.sampling,
                    uniform: sampler::uniform(request.seed, job.generated as u64),
                });
            }
        }
        let choices = choose_all(&wanted);
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
                generated_tokens: job.generated,
                finish,
                probability: job.log_probability.exp() as f32,
                seconds: job.started.elapsed().as_secs_f64(),
            };
            self.vacate(index);
            source.finished(completion)?;
        }
        Ok(())
    }

    /// Adds a token to the job in slot `index`; why it ends, if it does.
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
            let why = "the model's logits are not finite; the model or adapter is damaged";
            return Err(Error::Engine(format!("request {id}: {why}")));
        };
        job.generated += 1;
        job.log_probability += f64::from(probability).ln();
        if self.decoder.is_end(token) {
            return Ok(Some(Finish::EndOfTurn));
        }
        let mut bytes = Vec::new();
        self.decoder.piece(token, &mut bytes);
        let before = job.text.as_str().len();
        if job.text.push(&bytes) {
            let grown = job.text.as_str().len() - before;
            if job.text.cut_at(&request.sampling.stop, grown) {
                return Ok(Some(Finish::StopString));
            }
            if source.enough(request.id, job.text.as_str()) {
                return Ok(Some(Finish::Enough));
            }
        }
        if job.generated >= job.limit {
            return Ok(Some(Finish::Length));
        }
        job.next = Some(token);
        Ok(None)
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
        self.clear();
        self.decoder.set_adapter(path)
    }
}

impl Slot {
    /// Prompt tokens not fed yet.
    fn unfed(&self, job: &Job) -> usize {
        if job.placed { job.arrival.prompt.len().saturating_sub(self.tokens.len()) } else { 1 }
    }

    /// Cells its job is expected to need beyond those it has.
    fn expected(&self) -> Option<usize> {
        let job = self.job.as_ref()?;
        let held = if job.placed { self.tokens.len() } else { 0 };
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

fn nothing_asked(arrival: &Arrival) -> Completion {
    Completion {
        id: arrival.request.id,
        text: String::new(),
        prompt_tokens: arrival.prompt.len(),
        generated_tokens: 0,
        finish: Finish::Length,
        probability: 1.0,
        seconds: 0.0,
    }
}

/// How much of `prompt` the KV cells of `held` can stand for. Its last token is always fed again:
/// the logits after it are needed.
fn shared_prefix(prompt: &[Token], held: &[Token]) -> usize {
    let usable = &prompt[..prompt.len().saturating_sub(1)];
    usable.iter().zip(held).take_while(|(a, b)| a == b).count()
}

struct Draw<'a> {
    logits: &'a [f32],
    sampling: &'a Sampling,
    uniform: f64,
}

impl Draw<'_> {
    fn choose(&self) -> Option<Choice> {
        sampler::choose(self.logits, self.sampling, self.uniform)
    }
}

/// Starting a thread costs as much as sampling from some tens of thousands of logits.
const LOGITS_PER_THREAD: usize = 500_000;

fn choose_all(draws: &[Draw]) -> Vec<Option<Choice>> {
    let logits: usize = draws.iter().map(|draw| draw.logits.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = (logits / LOGITS_PER_THREAD).clamp(1, cores).min(draws.len().max(1));
    if threads == 1 {
        return draws.iter().map(Draw::choose).collect();
    }
    let mut shares = draws.chunks(draws.len().div_ceil(threads));
    let own = shares.next().unwrap_or(&[]);
    std::thread::scope(|scope| {
        let others: Vec<_> =
            shares.map(|share| scope.spawn(|| share.iter().map(Draw::choose).collect::<Vec<_>>())).collect();
        let mut choices: Vec<_> = own.iter().map(Draw::choose).collect();
        for other in others {
            match other.join() {
                Ok(more) => choices.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        choices
    })
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
