//! An engine whose completions come from a function, for tests of the modules above the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::constraint::{grammar_of, too_ambiguous};
use super::{Completion, Engine, Finish, Request, Sampling, Source};
use crate::{Cancel, Error, Result};

/// An engine that completes each request with the result of a function.
///
/// It is deterministic if the function is. It counts words as tokens. Like a real engine it applies stop
/// strings, choices, grammars, [`Source::enough`] (after each word) and `max_tokens`. A text that the
/// choices or the grammar do not allow, which a real engine could not have written, ends the run with
/// [`Error::Input`]. Probabilities are NaN without [`Scripted::with_confidence`].
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

    /// The same engine for prompts of fewer than `limit` words; others are reported to
    /// [`Source::too_long`].
    pub fn with_limit(self, limit: usize) -> Scripted<F> {
        Scripted { limit, ..self }
    }

    /// The same engine, where every word of a text has the probability `confidence(text)`.
    pub fn with_confidence(self, confidence: fn(&str) -> f64) -> Scripted<F> {
        Scripted { confidence, ..self }
    }

    /// Number of requests completed so far.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// The applied adapter.
    pub fn adapter(&self) -> Option<&Path> {
        self.adapter.as_deref()
    }

    fn complete(&mut self, request: &Request, source: &dyn Source) -> Result<Completion> {
        let start = Instant::now();
        let mut text = (self.answer)(request);
        self.calls += 1;
        let mut finish = Finish::EndOfTurn;
        let stops = request.sampling.stop.iter().filter(|stop| !stop.is_empty());
        if let Some(at) = stops.filter_map(|stop| text.find(stop.as_str())).min() {
            text.truncate(at);
            finish = Finish::StopString;
        }
        let followed = follow(&request.sampling, &text)?;
        if let Some(end) = followed.last_possible {
            text.truncate(end);
            finish = Finish::Enough;
        }
        // The ends of words, at which the text can end early.
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
        if finish == Finish::EndOfTurn && !followed.may_end {
            return Err(not_allowed(&text, "it may not end there"));
        }
        let log_probability = (self.confidence)(&text).ln() * generated_tokens as f64;
        Ok(Completion {
            id: request.id,
            prompt_tokens: words(request),
            generated_tokens,
            text,
            tokens: Arc::default(),
            finish,
            probability: log_probability.exp() as f32,
            log_probability,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

/// How a text matches the choices or the grammar of a request.
struct Followed {
    /// Whether the text can end at its end.
    may_end: bool,
    /// The offset after which the text cannot continue, if there is one.
    last_possible: Option<usize>,
}

fn follow(sampling: &Sampling, text: &str) -> Result<Followed> {
    let Some(grammar) = grammar_of(sampling)? else {
        return Ok(Followed { may_end: true, last_possible: None });
    };
    let mut state = grammar.start().map_err(too_ambiguous)?;
    for (at, byte) in text.bytes().enumerate() {
        if state.must_end() {
            return Ok(Followed { may_end: true, last_possible: Some(at) });
        }
        state = grammar.after(&state, byte).map_err(too_ambiguous)?;
        if state.is_dead() {
            return Err(not_allowed(text, &format!("it may not go on like that after {at} bytes")));
        }
    }
    let last_possible = state.must_end().then_some(text.len());
    Ok(Followed { may_end: state.may_end(), last_possible })
}

fn not_allowed(text: &str, why: &str) -> Error {
    Error::input(
        format!("scripted completion {text:?}"),
        format!("{why} by the choices or the grammar asked for"),
    )
}

/// Number of words of the prompt.
fn words(request: &Request) -> usize {
    request.messages.iter().map(|m| m.content.split_whitespace().count()).sum()
}

trait WordEnds {
    /// The byte offsets of the ends of words.
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
            let completion = self.complete(&request, source)?;
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
    fn choices_and_grammars_constrain_a_script_as_they_do_a_model() {
        let say = |text: &'static str, sampling: &Sampling| {
            let requests = vec![request(1, "?", sampling.clone())];
            complete(&mut Scripted::new(|_: &Request| text.into()), requests, &Cancel::new())
                .map(|mut done| done.remove(0))
        };
        let choices =
            Sampling { choices: vec!["yes".into(), "no".into(), "not sure".into()], ..Sampling::default() };
        let said = say("yes, because", &choices).unwrap();
        assert_eq!((said.text.as_str(), said.finish, said.generated_tokens), ("yes", Finish::Enough, 1));
        assert_eq!(say("no", &choices).unwrap().finish, Finish::EndOfTurn, "it could have gone on");
        assert_eq!(say("not sure", &choices).unwrap().finish, Finish::Enough);
        for wrong in ["perhaps", "nobody", "not"] {
            let refusal = say(wrong, &choices).unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("scripted completion {wrong:?}: it may not")), "{refusal}");
        }
        let grammar =
            Sampling { grammar: Some(r#"root ::= [a-z]+ " " [0-9]{2}"#.into()), ..Sampling::default() };
        assert_eq!(say("area 51 and more", &grammar).unwrap().text, "area 51");
        let short = Sampling { max_tokens: 1, ..grammar.clone() };
        assert_eq!(say("area 51", &short).unwrap().finish, Finish::Length, "cut off is not ended");
        assert!(say("area 5", &grammar).is_err());
        let both = Sampling { choices: choices.choices, ..grammar };
        assert!(say("yes", &both).is_err());
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
