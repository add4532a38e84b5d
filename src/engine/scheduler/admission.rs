//! Admission of requests to slots, and the prefix that each starts from.

use std::sync::Arc;
use std::time::Instant;

use super::adapters::{AdapterId, RequestAdapters};
use super::{ActiveRequest, Held, QueuedRequest, Scheduler, Slot};
use crate::engine::chat::THINKING_BEGINS;
use crate::engine::text::GrowingText;
use crate::engine::{Completion, Decoder, Finish, SeqId, Source, Token};
use crate::{Error, Result};

// Admission: from requests to slots.
impl<D: Decoder> Scheduler<D> {
    /// Starts requests while there are free slots and cells.
    pub(super) fn admit(&mut self, source: &mut dyn Source) -> Result<()> {
        while self.slots.iter().filter(|slot| slot.active.is_some()).count() < self.decoder.slots() {
            let Some(queued) = self.next_queued(source)? else {
                return Ok(());
            };
            if queued.request.sampling.max_tokens == 0 {
                source.finished(nothing_asked(&queued))?;
                continue;
            }
            if !self.make_room(&queued) {
                self.waiting.push_front(queued);
                return Ok(());
            }
            self.start(queued);
        }
        Ok(())
    }

    fn next_queued(&mut self, source: &mut dyn Source) -> Result<Option<QueuedRequest>> {
        while let Some(queued) = self.waiting.pop_front() {
            if source.wanted(queued.request.id) {
                return Ok(Some(queued));
            }
        }
        while let Some(request) = source.next() {
            let prompt: Arc<[Token]> = match self.decoder.prompt(&request.messages, request.thinking) {
                Ok(prompt) => prompt.into(),
                // Of this conversation, not of the decoder.
                Err(error @ Error::Unsupported(_)) => {
                    source.cannot_render(request.id, error)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
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
            let conversation = self.conversation(&request, &prompt)?;
            let restarted = false;
            return Ok(Some(QueuedRequest {
                request,
                adapters,
                constrained,
                prompt,
                conversation,
                restarted,
            }));
        }
        Ok(None)
    }

    /// Whether the cells suffice for `queued` beside what the running requests are expected to need.
    /// Drops kept prompts for that if necessary.
    fn make_room(&mut self, queued: &QueuedRequest) -> bool {
        let promised: usize = self.slots.iter().filter_map(Slot::expected).sum();
        loop {
            let shared = self.longest_prefix(&queued.wanted(), None).map_or(0, |(_, len)| len);
            let needed = queued.expected() - shared;
            if needed + promised <= self.cells.free() {
                return true;
            }
            if !self.drop_cached_prefix() {
                // With nothing else running, any request whose prompt fits may start.
                return promised == 0 && self.slots.iter().all(|slot| slot.active.is_none());
            }
        }
    }

    fn start(&mut self, queued: QueuedRequest) {
        let is_free = |slot: &Slot| slot.active.is_none();
        // The slot that keeps the conversation; otherwise an empty slot, to which the longest prefix is
        // copied; otherwise the slot that keeps the longest prefix, unless a running slot has one as long;
        // otherwise the one that is kept for longest.
        let empty = self.slots.iter().position(|slot| is_free(slot) && slot.held.is_empty());
        let longest = self.longest_prefix(&queued.wanted(), None);
        let best = longest.map(|(index, _)| index);
        let oldest = || {
            let free = self.slots.iter().enumerate().filter(|(_, slot)| is_free(slot));
            free.min_by_key(|(_, slot)| (slot.continued.is_some(), slot.last_used)).map(|(i, _)| i)
        };
        let in_place = best.filter(|&i| is_free(&self.slots[i]));
        let held = longest.map_or(0, |(_, len)| len);
        let own = in_place.filter(|_| queued.conversation.is_held(held));
        let in_place = in_place.filter(|&i| self.slots[i].continued.is_none());
        let Some(index) = own.or(empty).or(in_place).or_else(oldest) else {
            self.waiting.push_front(queued);
            return;
        };
        self.slots[index].continued = None;
        self.admitted += 1;
        let room = self.decoder.sequence_limit() - queued.prompt.len();
        let in_thought = queued.request.thinking && self.decoder.chat_template().opens_thinking();
        self.slots[index].active = Some(ActiveRequest {
            order: self.admitted,
            prefix_assigned: false,
            generated: Vec::new(),
            limit: queued.request.sampling.max_tokens.min(room),
            text: GrowingText::after(if in_thought { THINKING_BEGINS } else { "" }),
            constrained: queued.constrained.clone(),
            log_probability: 0.0,
            started: Instant::now(),
            queued,
        });
    }

    /// Drops the prompt that is kept for longest, and a conversation that will be continued only if
    /// nothing else is kept; `false` if nothing is.
    pub(super) fn drop_cached_prefix(&mut self) -> bool {
        let free = self.slots.iter().enumerate();
        let kept = free.filter(|(_, slot)| slot.active.is_none() && !slot.held.is_empty());
        let oldest = kept.min_by_key(|(_, slot)| (slot.continued.is_some(), slot.last_used));
        match oldest.map(|(index, _)| index) {
            Some(index) => {
                self.slots[index].continued = None;
                self.truncate(index, 0);
                true
            }
            None => false,
        }
    }
}

// Prefixes: each request starts from the longest one there is.
impl<D: Decoder> Scheduler<D> {
    pub(super) fn assign_prefixes(&mut self) {
        let mut unassigned: Vec<(u64, usize)> = Vec::new();
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(active) = slot.active.as_ref().filter(|active| !active.prefix_assigned) {
                unassigned.push((active.order, index));
            }
        }
        unassigned.sort_unstable();
        for (order, index) in unassigned {
            let Some(active) = &self.slots[index].active else {
                continue;
            };
            let wanted = active.queued.wanted();
            let mut own = wanted.shared(&self.slots[index].held);
            let is_continued = active.queued.conversation.is_held(own);
            if self.is_alone() && own + 1 < wanted.tokens.len() && !is_continued {
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
            if let Some(active) = &mut self.slots[index].active {
                active.prefix_assigned = true;
            }
        }
    }

    /// With a single slot, texts are reproducible bit for bit whatever ran before. A decoder may round
    /// differently for different batch shapes, so every prompt is fed in the same shapes: from the
    /// start or not at all, and its last token by itself.
    pub(super) fn is_alone(&self) -> bool {
        self.decoder.slots() == 1
    }

    /// The slot, other than `except`, that holds the longest prefix of `prompt`, and its length.
    /// A running slot wins a tie, because its cells are in use anyway.
    fn longest_prefix(&self, prompt: &Wanted, except: Option<usize>) -> Option<(usize, usize)> {
        let others = self.slots.iter().enumerate().filter(|(index, _)| Some(*index) != except);
        let shared = others.map(|(index, slot)| (index, prompt.shared(&slot.held)));
        shared
            .filter(|&(_, len)| len > 0)
            .max_by_key(|&(index, len)| (len, self.slots[index].active.is_some()))
    }

    /// The longest prefix of `prompt` that a request admitted before `order` is going to hold.
    fn longest_promise(&self, prompt: &Wanted, order: u64) -> usize {
        let actives = self.slots.iter().filter_map(|slot| Some((slot, slot.active.as_ref()?)));
        let earlier = actives.filter(|(_, active)| active.order < order);
        let feeding = earlier.filter(|(slot, active)| slot.unfed(active) > 0);
        feeding.map(|(_, active)| prompt.promised(&active.queued.wanted())).max().unwrap_or(0)
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

    /// Ends the request in `index`, and keeps its prompt unless another slot has it too. Of a continued
    /// conversation it keeps what it began with, which other conversations may begin with too.
    pub(super) fn release_slot(&mut self, index: usize) {
        if let Some(active) = self.slots[index].active.take() {
            self.keep_prompt(index, active.queued.conversation.shareable);
        }
    }

    /// Keeps the first `len` tokens of a slot without a request, unless another slot has them too.
    pub(super) fn keep_prompt(&mut self, index: usize, len: usize) {
        self.truncate(index, len);
        self.admitted += 1;
        self.slots[index].last_used = self.admitted;
        let held = self.slots[index].held.len();
        let elsewhere = self.longest_prefix(&self.slots[index].kept_prompt(), Some(index));
        // A prompt that another slot holds up to its last token is not kept: that token is always fed
        // again.
        if elsewhere.is_some_and(|(_, len)| len + 1 >= held) {
            self.truncate(index, 0);
        }
        // Each decode call computes attention over all cells in use, so few prompts are kept.
        let budget = self.decoder.context_size() / 8;
        loop {
            let is_cached = |s: &&Slot| s.active.is_none() && s.continued.is_none() && !s.held.is_empty();
            let cached = self.slots.iter().filter(is_cached);
            let unshared = cached.clone().map(|slot| self.cells.unshared(&slot.cells));
            if cached.clone().count() <= 1 || unshared.sum::<usize>() <= budget {
                return;
            }
            self.drop_cached_prefix();
        }
    }
}

/// Waiting for another slot to feed a prefix costs a request one decode call or more; for fewer tokens
/// than this it is cheaper to feed them again.
const WORTH_WAITING_FOR: usize = 8;

fn nothing_asked(queued: &QueuedRequest) -> Completion {
    Completion {
        id: queued.request.id,
        text: String::new(),
        tokens: Arc::default(),
        prompt_tokens: queued.prompt.len(),
        generated_tokens: 0,
        finish: Finish::Length,
        probability: 1.0,
        log_probability: 0.0,
        seconds: 0.0,
    }
}

/// A prompt for which KV cells are searched, and the weights that must have computed them.
struct Wanted {
    tokens: Arc<[Token]>,
    adapter: AdapterId,
}

impl QueuedRequest {
    fn wanted(&self) -> Wanted {
        Wanted { tokens: self.prompt.clone(), adapter: self.adapters.prompt }
    }
}

impl Slot {
    /// The prompt that a slot without a request keeps, or part of it.
    fn kept_prompt(&self) -> Wanted {
        let adapter = self.held.first().map_or(AdapterId::BASE, |held| held.adapter);
        Wanted { tokens: self.held.iter().map(|held| held.token).collect(), adapter }
    }
}

impl Wanted {
    /// The prompt without its last token, which is always fed again: the logits after it are needed.
    fn usable(&self) -> &[Token] {
        &self.tokens[..self.tokens.len().saturating_sub(1)]
    }

    /// How many tokens of the prompt the KV cells of `held` serve for.
    fn shared(&self, held: &[Held]) -> usize {
        let is_same = |(token, held): &(&Token, &Held)| held.token == **token && held.adapter == self.adapter;
        self.usable().iter().zip(held).take_while(is_same).count()
    }

    /// How many the cells that the prompt `other` will have serve for.
    fn promised(&self, other: &Wanted) -> usize {
        if self.adapter != other.adapter {
            return 0;
        }
        self.usable().iter().zip(&*other.tokens).take_while(|(a, b)| a == b).count()
    }
}
