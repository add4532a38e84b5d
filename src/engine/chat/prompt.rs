//! From messages to the tokens of a prompt, and the token that ends the model's turn.
//!
//! The text of a user must not become control tokens. If a message contains the text of a special token,
//! [`prompt_tokens`] renders a placeholder in its place and tokenizes the content separately, as plain
//! text. A turn that the model generated earlier takes part with exactly its tokens in the same way: its
//! text could be tokenized differently, and the KV cells of the conversation would not serve. All other
//! prompts are tokenized in one piece, as llama-server does.

use std::borrow::Cow;

use super::{ChatTemplate, Message, THINKING_BEGINS, TurnEnd};
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
    let messages = &*with_usable_tokens(template, messages, thinking)?;
    let mut separate = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let content = &message.content;
        if message.tokens.is_some() || decoder.tokenize(content, true)? != decoder.tokenize(content, false)? {
            separate.push(index);
        }
    }
    let mut tokens = if separate.is_empty() {
        decoder.tokenize(&template.render(messages, true, thinking)?, true)?
    } else {
        let mark = unused_char(messages)?;
        let rendered = template.render(&with_marks(messages, &separate, mark), true, thinking)?;
        let mut tokens = Vec::new();
        // The pieces with odd numbers are between marks: the indices of messages.
        for (n, piece) in rendered.split(mark).enumerate() {
            let message = piece.parse().ok().and_then(|index: usize| messages.get(index));
            match message.filter(|_| n % 2 == 1) {
                Some(Message { tokens: Some(generated), .. }) => tokens.extend_from_slice(generated),
                Some(message) => tokens.extend(decoder.tokenize(&message.content, false)?),
                None => tokens.extend(decoder.tokenize(piece, true)?),
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

/// `messages` with the contents of those in `marked` replaced by placeholders.
fn with_marks(messages: &[Message], marked: &[usize], mark: char) -> Vec<Message> {
    let mut messages = messages.to_vec();
    for &index in marked {
        messages[index].content = format!("{mark}{index}{mark}");
    }
    messages
}

/// `messages`, whose generated tokens stand for their contents only if the template writes each content
/// whole and unchanged, but for white space around it. Templates of thinking models leave the thinking
/// of earlier turns out; then all turns are rendered as text, and their KV cells are computed again
/// from the first turn on that differs.
fn with_usable_tokens<'m>(
    template: &ChatTemplate,
    messages: &'m [Message],
    thinking: bool,
) -> Result<Cow<'m, [Message]>> {
    let generated: Vec<usize> =
        (0..messages.len()).filter(|&index| messages[index].tokens.is_some()).collect();
    if generated.is_empty() {
        return Ok(Cow::Borrowed(messages));
    }
    let mut texts = messages.to_vec();
    for &index in &generated {
        texts[index].content = texts[index].content.trim().to_string();
        texts[index].tokens = None;
    }
    let mark = unused_char(messages)?;
    let marked = template.render(&with_marks(&texts, &generated, mark), true, thinking)?;
    // The template wrote the beginning of such a text, so its tokens are not all there.
    let is_part =
        |index: usize| template.opens_thinking() && messages[index].content.starts_with(THINKING_BEGINS);
    let filled = generated.iter().fold(marked, |text, &index| {
        text.replacen(&format!("{mark}{index}{mark}"), &texts[index].content, 1)
    });
    if filled == template.render(&texts, true, thinking)? && !generated.iter().any(|&index| is_part(index)) {
        return Ok(Cow::Borrowed(messages));
    }
    let without_tokens = |message: &Message| Message { tokens: None, ..message.clone() };
    Ok(Cow::Owned(messages.iter().map(without_tokens).collect()))
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
