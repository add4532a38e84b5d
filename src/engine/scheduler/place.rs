//! From requests to sequences: who enters when, and from which prefix it starts.

use std::sync::Arc;
use std::time::Instant;

use super::adapters::{AdapterId, RequestAdapters};
use super::{Arrival, Held, Job, Scheduler, Slot};
use crate::engine::chat::THINKING_BEGINS;
use crate::engine::text::GrowingText;
use crate::engine::{Completion, Decoder, Finish, SeqId, Source, Token};
use crate::{Error, Result};

// Admission: from requests to slots.
impl<D: Decoder> Scheduler<D> {
    /// Starts requests while there are slots and room.
    pub(super) fn admit(&mut self, source: &mut dyn Source) -> Result<()> {
        while self.slots.iter().filter(|slot| slot.job.is_some()).count() < self.decoder.slots() {
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
        while let Some(request) = source.next() {
            let prompt: Arc<[Token]> = self.decoder.prompt(&request.messages, request.thinking)?.into();
            let (id, tokens, limit) = (request.id, prompt.len(), self.decoder.sequence_limit());
            if prompt.is_empty() {
                return Err(Error::Engine(format!("request {id}: its prompt has no tokens")));
            }
            if tokens >= limit {
                source.too_long(id, tokens, limit)?;
                continue;
            }
            let constrained = self.constrained(&request.sampling)?;
            let adapters = RequestAdapters::all(self.adapter);
            return Ok(Some(Arrival { request, adapters, constrained, prompt, restarted: false }));
        }
        Ok(None)
    }

    /// Whether `arrival` fits beside what the running requests are expected to need, after
    /// dropping leftovers if need be.
    fn make_room(&mut self, arrival: &Arrival) -> bool {
        let promised: usize = self.slots.iter().filter_map(Slot::expected).sum();
        loop {
            let shared = self.longest_prefix(&arrival.wanted(), None).map_or(0, |(_, len)| len);
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
        // An empty slot, to which the longest prefix is copied; otherwise a leftover that begins like
        // this prompt, unless a running slot serves as well; otherwise the oldest leftover.
        let empty = self.slots.iter().position(|slot| is_free(slot) && slot.held.is_empty());
        let best = self.longest_prefix(&arrival.wanted(), None).map(|(index, _)| index);
        let oldest = || {
            let free = self.slots.iter().enumerate().filter(|(_, slot)| is_free(slot));
            free.min_by_key(|(_, slot)| slot.left).map(|(i, _)| i)
        };
        let in_place = best.filter(|&i| is_free(&self.slots[i]));
        let Some(index) = empty.or(in_place).or_else(oldest) else {
            self.waiting.push_front(arrival);
            return;
        };
        self.admitted += 1;
        let room = self.decoder.sequence_limit() - arrival.prompt.len();
        let in_thought = arrival.request.thinking && self.decoder.chat_template().opens_thinking();
        self.slots[index].job = Some(Job {
            order: self.admitted,
            placed: false,
            written: Vec::new(),
            limit: arrival.request.sampling.max_tokens.min(room),
            text: GrowingText::after(if in_thought { THINKING_BEGINS } else { "" }),
            constrained: arrival.constrained.clone(),
            log_probability: 0.0,
            started: Instant::now(),
            arrival,
        });
    }

    /// Drops the oldest leftover KV cells; `false` if there are none.
    pub(super) fn drop_leftover(&mut self) -> bool {
        let free = self.slots.iter().enumerate();
        let leftover = free.filter(|(_, slot)| slot.job.is_none() && !slot.held.is_empty());
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
    pub(super) fn place(&mut self) {
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
            let wanted = job.arrival.wanted();
            let mut own = wanted.shared(&self.slots[index].held);
            if self.is_alone() && own + 1 < wanted.tokens.len() {
                own = 0;
            }
            let other = self.longest_prefix(&wanted, Some(index));
            let ready = own.max(other.map_or(0, |(_, len)| len));
            if self.longest_promise(&wanted, order) >= ready + WORTH_WAITING_FOR {
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

    /// With a single slot texts are reproducible bit for bit, whatever ran before: a decoder may
    /// round differently for different batch shapes, so every prompt is fed in the same shapes.
    /// That is, from the start or not at all, and its last token by itself.
    pub(super) fn is_alone(&self) -> bool {
        self.decoder.slots() == 1
    }

    /// The slot, other than `except`, that holds the longest prefix of `prompt`, and its length.
    /// Running slots win ties: their cells are in use anyway.
    fn longest_prefix(&self, prompt: &Wanted, except: Option<usize>) -> Option<(usize, usize)> {
        let others = self.slots.iter().enumerate().filter(|(index, _)| Some(*index) != except);
        let shared = others.map(|(index, slot)| (index, prompt.shared(&slot.held)));
        shared.filter(|&(_, len)| len > 0).max_by_key(|&(index, len)| (len, self.slots[index].job.is_some()))
    }

    /// The longest prefix of `prompt` that a job admitted before `order` is going to hold.
    fn longest_promise(&self, prompt: &Wanted, order: u64) -> usize {
        let jobs = self.slots.iter().filter_map(|slot| Some((slot, slot.job.as_ref()?)));
        let earlier = jobs.filter(|(_, job)| job.order < order);
        let feeding = earlier.filter(|(slot, job)| slot.unfed(job) > 0);
        feeding.map(|(_, job)| prompt.promised(&job.arrival.wanted())).max().unwrap_or(0)
    }

    fn copy_prefix(&mut self, from: usize, to: usize, len: usize) {
        self.decoder.copy_prefix(SeqId(from as u32), SeqId(to as u32), len as u32);
        let held = self.slots[from].held[..len].to_vec();
        let cells = self.slots[from].cells[..len].to_vec();
        self.cells.share(&cells);
        self.slots[to].held = held;
        self.slots[to].cells = cells;
    }

    pub(super) fn truncate(&mut self, index: usize, len: usize) {
        let slot = &mut self.slots[index];
        if len < slot.held.len() {
            self.decoder.truncate(SeqId(index as u32), len as u32);
            slot.held.truncate(len);
            self.cells.release(slot.cells.drain(len..));
        }
    }

    /// Ends the job in `index` and keeps its prompt for others, unless another slot has it too.
    pub(super) fn vacate(&mut self, index: usize) {
        let Some(job) = self.slots[index].job.take() else {
            return;
        };
        self.truncate(index, job.arrival.prompt.len());
        self.admitted += 1;
        self.slots[index].left = self.admitted;
        let held = self.slots[index].held.len();
        let elsewhere = self.longest_prefix(&self.slots[index].leftover(), Some(index));
        // One that is held elsewhere to all but the last token is worth nothing: that token is
        // fed again anyway.
        if elsewhere.is_some_and(|(_, len)| len + 1 >= held) {
            self.truncate(index, 0);
        }
        // Leftovers cost attention over their cells in each decode call, so few are kept.
        let budget = self.decoder.context_size() / 8;
        loop {
            let left = self.slots.iter().filter(|s| s.job.is_none() && !s.held.is_empty());
            let unshared = left.clone().map(|slot| self.cells.unshared(&slot.cells));
            if left.clone().count() <= 1 || unshared.sum::<usize>() <= budget {
                return;
            }
            self.drop_leftover();
        }
    }
}

/// Waiting for another slot's prompt delays a request by a decode call or more; for fewer tokens
/// than this, feeding them again is cheaper.
const WORTH_WAITING_FOR: usize = 8;

fn nothing_asked(arrival: &Arrival) -> Completion {
    Completion {
        id: arrival.request.id,
        text: String::new(),
        prompt_tokens: arrival.prompt.len(),
        generated_tokens: 0,
        finish: Finish::Length,
        probability: 1.0,
        log_probability: 0.0,
        seconds: 0.0,
    }
}

/// A prompt whose KV cells are looked for, and the weights that must have computed them.
struct Wanted {
    tokens: Arc<[Token]>,
    adapter: AdapterId,
}

impl Arrival {
    fn wanted(&self) -> Wanted {
        Wanted { tokens: self.prompt.clone(), adapter: self.adapters.prompt }
    }
}

impl Slot {
    /// What a slot without a request holds: the prompt of the last one, or part of it.
    fn leftover(&self) -> Wanted {
        let adapter = self.held.first().map_or(AdapterId::BASE, |held| held.adapter);
        Wanted { tokens: self.held.iter().map(|held| held.token).collect(), adapter }
    }
}

impl Wanted {
    /// The prompt without its last token, which is always fed again: the logits after it are needed.
    fn usable(&self) -> &[Token] {
        &self.tokens[..self.tokens.len().saturating_sub(1)]
    }

    /// How much of the prompt the KV cells of `held` can stand for.
    fn shared(&self, held: &[Held]) -> usize {
        let is_same = |(token, held): &(&Token, &Held)| held.token == **token && held.adapter == self.adapter;
        self.usable().iter().zip(held).take_while(is_same).count()
    }

    /// The same for the cells that the prompt `other` will have.
    fn promised(&self, other: &Wanted) -> usize {
        if self.adapter != other.adapter {
            return 0;
        }
        self.usable().iter().zip(&*other.tokens).take_while(|(a, b)| a == b).count()
    }
}
