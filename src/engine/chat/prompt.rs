//! From messages to the tokens of a prompt, and the token that ends the model's turn.
//!
//! The text of a user must not become control tokens. If a message contains the text of a special token,
//! [`prompt_tokens`] renders a placeholder in its place and tokenizes the content separately, as plain
//! text. All other prompts are tokenized in one piece, as llama-server does.

use super::{ChatTemplate, Message, TurnEnd};
use crate::engine::{Decoder, Token};
use crate::{Error, Result};

/// The tokens of a prompt: BOS if the model needs it, the rendered conversation, and the opening of the
/// model's turn. No text inside a message becomes a special token.
pub fn prompt_tokens<D: Decoder + ?Sized>(
    decoder: &D,
    messages: &[Message],
    thinking: bool,
) -> Result<Vec<Token>> {
    let template = decoder.chat_template();
    let mut unsafe_contents = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let content = &message.content;
        if decoder.tokenize(content, true)? != decoder.tokenize(content, false)? {
            unsafe_contents.push(index);
        }
    }
    let mut tokens = if unsafe_contents.is_empty() {
        decoder.tokenize(&template.render(messages, true, thinking)?, true)?
    } else {
        let mark = unused_char(messages)?;
        let mut marked = messages.to_vec();
        for &index in &unsafe_contents {
            marked[index].content = format!("{mark}{index}{mark}");
        }
        let rendered = template.render(&marked, true, thinking)?;
        let mut tokens = Vec::new();
        // The pieces with odd numbers are between marks: the indices of messages.
        for (n, piece) in rendered.split(mark).enumerate() {
            let message = piece.parse().ok().and_then(|index: usize| messages.get(index));
            match message {
                Some(message) if n % 2 == 1 => {
                    tokens.extend(decoder.tokenize(&message.content, false)?);
                }
                _ => tokens.extend(decoder.tokenize(piece, true)?),
            }
        }
        tokens
    };
    if let Some(bos) = decoder.bos()
        && tokens.first() != Some(&bos)
    {
        tokens.insert(0, bos);
    }
    Ok(tokens)
}

/// A private-use character that no message contains.
fn unused_char(messages: &[Message]) -> Result<char> {
    ('\u{e000}'..='\u{f8ff}')
        .find(|&c| messages.iter().all(|m| !m.content.contains(c)))
        .ok_or_else(|| Error::Unsupported("a message uses every private-use character".into()))
}

/// The token that ends the model's turn, to be trained on: the one that the template writes after it, or
/// else the end-of-sequence token, which ends a sampled turn as well.
pub fn end_of_turn<D: Decoder + ?Sized>(decoder: &D) -> Result<TurnEnd> {
    if let Some(tail) = after_turn(decoder.chat_template())
        && let Some(end) = decoder.tokenize(&tail, true)?.into_iter().find(|&token| decoder.is_end(token))
    {
        return Ok(TurnEnd::Template(end));
    }
    Ok(decoder.eos().filter(|&token| decoder.is_end(token)).map_or(TurnEnd::Missing, TurnEnd::EndOfSequence))
}

/// What the template writes after the model's turn; `None` where it cannot render one.
fn after_turn(template: &ChatTemplate) -> Option<String> {
    let conversation = [Message::user("a"), Message::assistant("\u{e000}")];
    let rendered = template.render(&conversation, false, false).ok()?;
    Some(rendered.rsplit_once('\u{e000}')?.1.to_string())
}
