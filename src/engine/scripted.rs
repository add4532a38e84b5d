//! An engine whose completions come from a function: for tests of everything above the engine.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Completion, Engine, Finish, Request, Source};
use crate::{Cancel, Result};

/// Answers every request at once with what `answer` returns. Deterministic if `answer` is. Counts
/// white-space separated words as tokens; honours stop strings, [`Source::enough`] (asked after
/// each word) and `max_tokens` like a real engine. Probabilities are NaN, unless
/// [`Scripted::with_confidence`] gives them.
pub struct Scripted<F> {
    answer: F,
    adapter: Option<PathBuf>,
    calls: u64,
    confidence: fn(&str) -> f64,
    limit: usize,
}

impl<F: FnMut(&Request) -> String> Scripted<F> {
    /// An engine that answers with `answer`.
    pub fn new(answer: F) -> Scripted<F> {
        Scripted { answer, adapter: None, calls: 0, confidence: |_| f64::NAN, limit: usize::MAX }
    }

    /// The same, for prompts of fewer than `limit` words; [`Source::too_long`] hears of others.
    pub fn with_limit(self, limit: usize) -> Scripted<F> {
        Scripted { limit, ..self }
    }

    /// The same, where every word of a text has the probability that `confidence` gives.
    pub fn with_confidence(self, confidence: fn(&str) -> f64) -> Scripted<F> {
        Scripted { confidence, ..self }
    }

    /// Requests answered so far.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// The adapter in force.
    pub fn adapter(&self) -> Option<&Path> {
        self.adapter.as_deref()
    }

    fn complete(&mut self, request: &Request, source: &dyn Source) -> Completion {
        let start = Instant::now();
        let mut text = (self.answer)(request);
        self.calls += 1;
        let mut finish = Finish::EndOfTurn;
        let stops = request.sampling.stop.iter().filter(|stop| !stop.is_empty());
        if let Some(at) = stops.filter_map(|stop| text.find(stop.as_str())).min() {
            text.truncate(at);
            finish = Finish::StopString;
        }
        // Where each word ends: the text may end there early.
        let mut generated_tokens = 0;
        let ends = text.split_word_ends();
        for (words, end) in ends.iter().copied().enumerate() {
            if words == request.sampling.max_tokens {
                text.truncate(if words == 0 { 0 } else { ends[words - 1] });
                finish = Finish::Length;
                break;
            }
            generated_tokens = words + 1;
            if source.enough(request.id, &text[..end]) {
                text.truncate(end);
                finish = Finish::Enough;
                break;
            }
        }
        let log_probability = (self.confidence)(&text).ln() * generated_tokens as f64;
        Completion {
            id: request.id,
            prompt_tokens: words(request),
            generated_tokens,
            text,
            finish,
            probability: log_probability.exp() as f32,
            log_probability,
            seconds: start.elapsed().as_secs_f64(),
        }
    }
}

/// Of the whole prompt.
fn words(request: &Request) -> usize {
    request.messages.iter().map(|m| m.content.split_whitespace().count()).sum()
}

trait WordEnds {
    /// The byte offsets at which white-space separated words end.
    fn split_word_ends(&self) -> Vec<usize>;
}

impl WordEnds for str {
    fn split_word_ends(&self) -> Vec<usize> {
        let start = self.as_ptr() as usize;
        self.split_whitespace().map(|word| word.as_ptr() as usize - start + word.len()).collect()
    }
}

impl<F: FnMut(&Request) -> String> Engine for Scripted<F> {
    fn run(&mut self, source: &mut dyn Source, cancel: &Cancel) -> Result<()> {
        loop {
            cancel.check()?;
            let Some(request) = source.next() else {
                return Ok(());
            };
            if words(&request) >= self.limit {
                source.too_long(request.id, words(&request), self.limit)?;
                continue;
            }
            let completion = self.complete(&request, source);
            source.finished(completion)?;
        }
    }

    fn set_adapter(&mut self, path: Option<&Path>) -> Result<()> {
        self.adapter = path.map(Path::to_path_buf);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Message, Sampling, complete};

    fn request(id: u64, content: &str, sampling: Sampling) -> Request {
        Request { id, messages: vec![Message::user(content)], thinking: false, sampling, seed: id }
    }

    #[test]
    fn answers_come_back_in_order_with_word_counts() {
        let mut engine = Scripted::new(|r: &Request| format!("seen {}", r.messages[0].content));
        let requests = vec![
            request(7, "a b", Sampling::default()),
            request(7, "c", Sampling { max_tokens: 1, ..Sampling::default() }),
            request(9, "d stop e", Sampling { stop: vec![" stop".into()], ..Sampling::default() }),
        ];
        let done = complete(&mut engine, requests, &Cancel::new()).unwrap();
        let seen: Vec<_> =
            done.iter().map(|c| (c.id, c.text.as_str(), c.generated_tokens, c.finish)).collect();
        assert_eq!(
            seen,
            [
                (7, "seen a b", 3, Finish::EndOfTurn),
                (7, "seen", 1, Finish::Length),
                (9, "seen d", 2, Finish::StopString),
            ]
        );
        assert_eq!((done[0].prompt_tokens, engine.calls()), (2, 3));
    }

    #[test]
    fn cancelling_ends_the_run() {
        let cancel = Cancel::new();
        cancel.cancel();
        let mut engine = Scripted::new(|_: &Request| String::new());
        let requests = vec![request(0, "", Sampling::default())];
        assert!(matches!(complete(&mut engine, requests, &cancel), Err(crate::Error::Cancelled)));
    }
}
