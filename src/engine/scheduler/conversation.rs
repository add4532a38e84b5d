//! Conversations: what a request shares with the earlier turns that it continues.

use std::sync::Arc;

use super::{ActiveRequest, Scheduler};
use crate::Result;
use crate::engine::{Decoder, Finish, Message, Request, Token};

/// What a prompt consists of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conversation {
    /// Its tokens up to the first turn that the model generated: those that other requests share.
    pub shareable: usize,
    /// Its tokens up to the end of the last turn that the model generated, if there is one.
    pub continued: Option<usize>,
}

impl Conversation {
    /// Whether a prefix of `len` tokens has all that was fed of the earlier turns: the token that was
    /// generated last need not have been.
    pub fn is_held(self, len: usize) -> bool {
        self.continued.is_some_and(|end| len + 1 >= end)
    }
}

/// A finished request whose cells wait for the next turn of its conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Continued {
    pub id: u64,
    /// The tokens, from the first, that serve other conversations too.
    pub shareable: usize,
}

impl<D: Decoder> Scheduler<D> {
    /// What `prompt`, that of `request`, consists of.
    pub(super) fn conversation(&self, request: &Request, prompt: &[Token]) -> Result<Conversation> {
        let mut turns = request.messages.iter().enumerate();
        let is_generated = |(_, message): &(usize, &Message)| message.tokens.is_some();
        let Some((first, _)) = turns.clone().find(is_generated) else {
            return Ok(Conversation { shareable: prompt.len(), continued: None });
        };
        let before = |turn: usize| self.decoder.prompt(&request.messages[..turn], request.thinking);
        let begin = before(first)?;
        let shareable = begin.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let (mut continued, mut begin) = (None, Some(begin));
        if let Some((last, Message { tokens: Some(tokens), .. })) = turns.rfind(is_generated) {
            let begin = match begin.take().filter(|_| last == first) {
                Some(begin) => begin,
                None => before(last)?,
            };
            let turn = prompt.strip_prefix(&*begin).filter(|rest| rest.starts_with(tokens));
            continued = turn.map(|_| begin.len() + tokens.len());
        }
        Ok(Conversation { shareable, continued })
    }

    /// Ends the request in `index`, and keeps all its cells for the next turn of its conversation.
    pub(super) fn keep_conversation(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if let Some(ActiveRequest { queued, .. }) = slot.active.take() {
            slot.continued =
                Some(Continued { id: queued.request.id, shareable: queued.conversation.shareable });
            self.admitted += 1;
            slot.last_used = self.admitted;
        }
    }

    /// Forgets a conversation that will not be continued, but for the prompt that it began with.
    pub(super) fn end_conversation(&mut self, index: usize) {
        if let Some(Continued { shareable, .. }) = self.slots[index].continued.take() {
            self.keep_prompt(index, shareable);
        }
    }
}

impl ActiveRequest {
    /// The tokens that its text consists of. A stop string may begin within a token: what is left of that
    /// token is tokenized anew.
    pub(super) fn tokens_of_text(&self, finish: Finish, decoder: &impl Decoder) -> Result<Arc<[Token]>> {
        match finish {
            Finish::EndOfTurn => Ok(self.generated[..self.generated.len() - 1].into()),
            Finish::Enough | Finish::Length => Ok(self.generated[..].into()),
            Finish::StopString => {
                let text = self.text.generated();
                let text_of = |n: usize| {
                    let mut bytes = Vec::new();
                    self.generated[..n].iter().for_each(|&token| decoder.piece(token, &mut bytes));
                    String::from_utf8(bytes).ok()
                };
                let is_begin = |n: &usize| text_of(*n).is_some_and(|begin| text.starts_with(&begin));
                let whole = (0..self.generated.len()).rev().find(is_begin).unwrap_or(0);
                let rest = &text[text_of(whole).map_or(0, |begin| begin.len())..];
                let mut tokens = self.generated[..whole].to_vec();
                tokens.extend(decoder.tokenize(rest, false)?);
                Ok(tokens.into())
            }
        }
    }
}
