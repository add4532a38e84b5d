//! The decode rate of a [`Decoder`] alone, without sampling, text or scheduling: the upper bound for
//! any engine that uses it.

use std::time::Instant;

use super::{BatchRow, Decoder, SeqId, Token};
use crate::{Cancel, Error, Result};

/// What [`decode_rate`] measured.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DecodeRate {
    /// Tokens fed per second over all decode calls.
    pub tokens_per_s: f64,
    /// Tokens per second of the median call, which short bursts of other processes do not change.
    pub median_tokens_per_s: f64,
    /// Seconds of all decode calls.
    pub seconds: f64,
}

/// Decodes `new_tokens` tokens on each of `slots` sequences that share a prompt of `prompt_tokens`,
/// one token of each per call, every row with logits. Tokens are arbitrary. Every sequence is empty
/// before and after.
///
/// # Errors
/// [`Error::Input`] where the decoder has no room for that; [`Error::Cancelled`] within one decode
/// call; those of [`Decoder::decode`].
pub fn decode_rate(
    decoder: &mut dyn Decoder,
    slots: usize,
    prompt_tokens: usize,
    new_tokens: usize,
    cancel: &Cancel,
) -> Result<DecodeRate> {
    check_room(decoder, slots, prompt_tokens, new_tokens)?;
    let empty = |decoder: &mut dyn Decoder| {
        (0..decoder.max_sequences()).for_each(|seq| decoder.truncate(SeqId(seq as u32), 0));
    };
    empty(decoder);
    let result = decode_all(decoder, slots, prompt_tokens, new_tokens, cancel);
    empty(decoder);
    let mut calls = result?;
    let seconds: f64 = calls.iter().sum();
    calls.sort_by(f64::total_cmp);
    Ok(DecodeRate {
        tokens_per_s: (slots * new_tokens) as f64 / seconds,
        median_tokens_per_s: slots as f64 / calls[calls.len() / 2],
        seconds,
    })
}

fn check_room(decoder: &dyn Decoder, slots: usize, prompt_tokens: usize, new_tokens: usize) -> Result<()> {
    let most = decoder.slots().min(decoder.max_batch());
    if slots == 0 || slots > most {
        return Err(Error::input("slots", format!("expected 1 to {most}, found {slots}")));
    }
    let (longest, cells) = (prompt_tokens + new_tokens, prompt_tokens + slots * new_tokens);
    let (limit, room) = (decoder.sequence_limit(), decoder.context_size());
    if prompt_tokens == 0 || new_tokens == 0 || longest > limit || cells > room {
        return Err(Error::input(
            "tokens",
            format!(
                "{slots} sequences of {prompt_tokens} shared and {new_tokens} new tokens do not fit: \
                 a sequence takes {limit}, all together {room}"
            ),
        ));
    }
    Ok(())
}

/// Seconds of each call.
fn decode_all(
    decoder: &mut dyn Decoder,
    slots: usize,
    prompt_tokens: usize,
    new_tokens: usize,
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let vocab = decoder.vocab_size().max(1);
    // Scattered over the vocabulary, as real tokens are.
    let token = |seq: usize, pos: usize| ((seq * 7919 + pos * 104_729 + 1) % vocab) as Token;
    let row = |seq: usize, pos: usize, logits: bool| BatchRow {
        token: token(seq, pos),
        pos: pos as u32,
        seq: SeqId(seq as u32),
        logits,
    };
    let prompt: Vec<BatchRow> = (0..prompt_tokens).map(|pos| row(0, pos, pos + 1 == prompt_tokens)).collect();
    for part in prompt.chunks(decoder.max_batch()) {
        cancel.check()?;
        decoder.decode(part)?;
    }
    (1..slots).for_each(|seq| decoder.copy_prefix(SeqId(0), SeqId(seq as u32), prompt_tokens as u32));
    (0..new_tokens)
        .map(|step| {
            cancel.check()?;
            let rows: Vec<BatchRow> = (0..slots).map(|seq| row(seq, prompt_tokens + step, true)).collect();
            let begin = Instant::now();
            decoder.decode(&rows)?;
            std::hint::black_box(decoder.logits(0)); // Waits for them, where an engine has not yet.
            Ok(begin.elapsed().as_secs_f64())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::toy::Toy;
    use super::*;

    #[test]
    fn feeds_the_prompt_once_and_leaves_every_sequence_empty() {
        let mut toy = Toy::new(4, 8, 64);
        for _ in 0..2 {
            let rate = decode_rate(&mut toy, 4, 20, 5, &Cancel::new()).unwrap();
            assert!(rate.tokens_per_s > 0.0 && rate.median_tokens_per_s > 0.0 && rate.seconds > 0.0);
        }
        assert_eq!(toy.rows_fed, 2 * (20 + 4 * 5));
        assert_eq!(toy.peak_cells, 20 + 4 * 5);
    }

    #[test]
    fn what_does_not_fit_is_an_error_before_anything_is_decoded() {
        let mut toy = Toy::new(4, 8, 64);
        for (slots, prompt, new) in [(0, 1, 1), (5, 1, 1), (4, 0, 1), (4, 1, 0), (1, 60, 5), (4, 20, 12)] {
            assert!(
                decode_rate(&mut toy, slots, prompt, new, &Cancel::new()).is_err(),
                "{slots} {prompt} {new}"
            );
        }
        assert_eq!(toy.rows_fed, 0);
    }

    #[test]
    fn a_request_to_stop_is_heeded_and_leaves_every_sequence_empty() {
        let (mut toy, cancel) = (Toy::new(4, 8, 64), Cancel::new());
        cancel.cancel();
        let stopped = decode_rate(&mut toy, 4, 20, 5, &cancel);
        assert!(matches!(stopped, Err(Error::Cancelled)) && toy.rows_fed == 0);
        decode_rate(&mut toy, 4, 20, 5, &Cancel::new()).unwrap();
    }
}
