//! What a chat template does with a conversation, found by rendering a few: before the first sample and
//! not after hundreds of them.

use std::sync::atomic::Ordering;

use super::{ChatTemplate, Message, Role, THINKING_BEGINS, end_of_turn};
use crate::engine::{Decoder, Token};
use crate::{Error, Result};

/// What a chat template does, and how a turn of its model ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TemplateFacts {
    /// The model has no template; messages become plain lines.
    pub plain: bool,
    /// The content of user messages is given as a list of typed parts, since a string gets lost.
    pub typed_content: bool,
    /// Why a user's message does not reach the prompt; `None` where it does.
    pub loses: Option<String>,
    /// System messages are rendered; otherwise their text goes into the first user message.
    pub system_role: bool,
    /// A conversation of several turns is rendered with the text of each.
    pub conversations: bool,
    /// The prompt holds the date. Run directories fix it, so that their prompts stay the same.
    pub dated: bool,
    /// The template has a thinking mode that can be turned on and off; one that always opens the thinking block
    /// gets an empty one for "off".
    pub thinking_mode: bool,
    /// With the thinking mode on, the template opens the thinking block itself.
    pub opens_thinking: bool,
    /// How the model's turn ends.
    pub turn_end: TurnEnd,
}

/// How the model's turn ends, in sampling and in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnEnd {
    /// With the token that the template writes after the model's turn.
    Template(Token),
    /// With the end-of-sequence token, since the template writes no token that ends a turn.
    EndOfSequence(Token),
    /// Not at all: no token ends it.
    Missing,
}

impl TurnEnd {
    /// The token.
    pub fn token(self) -> Option<Token> {
        match self {
            TurnEnd::Template(token) | TurnEnd::EndOfSequence(token) => Some(token),
            TurnEnd::Missing => None,
        }
    }
}

impl TemplateFacts {
    /// Refuses what makes every sample worthless.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the template loses the question, or no token ends the model's turn.
    pub fn check(&self) -> Result<()> {
        if let Some(why) = &self.loses {
            return Err(Error::unsupported(why.clone()));
        }
        if self.turn_end == TurnEnd::Missing {
            return Err(Error::unsupported(
                "the model has no end of turn: its chat template writes no token that ends one, and its \
                 file names no end-of-sequence token (tokenizer.ggml.eos_token_id), so no answer would \
                 have an end; use the model's chat or instruct version, or a GGUF file that names the token",
            ));
        }
        Ok(())
    }
}

/// The facts of the chat template of `decoder`.
///
/// # Errors
/// Those of the decoder's tokenizer.
pub fn template_facts(decoder: &dyn Decoder) -> Result<TemplateFacts> {
    let template = decoder.chat_template();
    let probed = &template.probed;
    Ok(TemplateFacts {
        plain: template.is_plain(),
        typed_content: probed.typed.user,
        loses: probed.loses.clone(),
        system_role: probed.system_role,
        conversations: probed.conversations,
        dated: probed.dated,
        thinking_mode: probed.thinking_mode,
        opens_thinking: probed.opens_thinking,
        turn_end: end_of_turn(decoder)?,
    })
}

/// The roles whose content the template takes as a list of typed parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TypedRoles {
    pub system: bool,
    pub user: bool,
    pub assistant: bool,
}

impl TypedRoles {
    pub fn takes(&self, role: Role) -> bool {
        match role {
            Role::System => self.system,
            Role::User => self.user,
            Role::Assistant => self.assistant,
        }
    }
}

/// What probing a template found; the default is the plain rendering.
#[derive(Debug)]
pub struct Probed {
    pub typed: TypedRoles,
    pub loses: Option<String>,
    pub system_role: bool,
    pub conversations: bool,
    pub dated: bool,
    pub thinking_mode: bool,
    pub opens_thinking: bool,
}

impl Default for Probed {
    fn default() -> Probed {
        Probed {
            typed: TypedRoles::default(),
            loses: None,
            system_role: true,
            conversations: true,
            dated: false,
            thinking_mode: false,
            opens_thinking: false,
        }
    }
}

/// Renders conversations with the content of each role as a string, and as typed parts where the string
/// gets lost.
pub fn probe(template: &ChatTemplate) -> Probed {
    let system = Message::system("Otters sleep afloat.");
    let user = Message::user("Which comet returns?");
    let assistant = Message::assistant("Halley does.");
    let more = Message::user("Name another.");
    let chat = [user.clone(), assistant, more, Message::assistant("Encke."), Message::user("Since when?")];

    let question = [user.clone()];
    let mut typed = TypedRoles::default();
    let mut loses = try_rendering(template, &question, typed).err();
    if loses.is_some() && try_rendering(template, &question, TypedRoles { user: true, ..typed }).is_ok() {
        (typed.user, loses) = (true, None);
    }
    let system_role = renders(template, &[system, user], Role::System, &mut typed);
    let conversations = renders(template, &chat, Role::Assistant, &mut typed);

    let turn = |thinking| template.render_as(&question, typed, true, thinking).unwrap_or_default();
    let (thinks, answers) = (turn(true), turn(false));
    Probed {
        typed,
        loses,
        system_role,
        conversations,
        dated: template.asked_time.load(Ordering::Relaxed),
        thinking_mode: thinks != answers,
        opens_thinking: thinks.trim_end().ends_with(THINKING_BEGINS),
    }
}

/// Whether the template renders `messages` with the content of `role` as a string or, noted in `typed`, as
/// typed parts.
fn renders(template: &ChatTemplate, messages: &[Message], role: Role, typed: &mut TypedRoles) -> bool {
    if try_rendering(template, messages, *typed).is_ok() {
        return true;
    }
    let parts = TypedRoles {
        system: typed.system || role == Role::System,
        assistant: typed.assistant || role == Role::Assistant,
        ..*typed
    };
    let kept = try_rendering(template, messages, parts).is_ok();
    if kept {
        *typed = parts;
    }
    kept
}

/// Whether a rendering holds the text of all messages; otherwise why not.
fn try_rendering(
    template: &ChatTemplate,
    messages: &[Message],
    typed: TypedRoles,
) -> std::result::Result<(), String> {
    let text = template.render_as(messages, typed, true, false).map_err(|error| error.to_string())?;
    // A template that prints a list prints the words in it too.
    let printed_as_a_list = ["\"type\": \"text\"", "'type': 'text'"].iter().any(|part| text.contains(part));
    match messages.iter().all(|message| message.is_shown_in(&text)) && !printed_as_a_list {
        true => Ok(()),
        false => Err("the model's chat template leaves out the text of the user's message, given as a \
                      string or as typed parts, so the model would not see the question; use a model file \
                      whose tokenizer.chat_template renders message.content"
            .into()),
    }
}
