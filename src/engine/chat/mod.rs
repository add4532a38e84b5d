//! Chat templates: messages, and how they become the prompt of a model.
//!
//! A chat model has a Jinja template in its GGUF file (`tokenizer.chat_template`). It is rendered as in
//! the tools of Hugging Face, so that training and sampling see the text that `llama-server --jinja`
//! uses. Templates come from untrusted files: rendering has limited fuel, and any fault becomes an error.
//!
//! Templates disagree about what a message is. Most take its content as a string; some (of models that
//! see images) loop over a list of typed parts, and a string gives an empty prompt there. So a template
//! is tried when it is compiled (`probe`), and a prompt without the text of the user is an error.

mod probe;
mod prompt;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use jiff::Timestamp;
use jiff::fmt::strtime;
use minijinja::{Environment, ErrorKind, Value, context};
use serde::Serialize;

pub use probe::{TemplateFacts, TurnEnd, template_facts};
pub(super) use prompt::{end_of_turn, prompt_tokens};

use super::{Completion, Token};
use crate::{Error, Result};

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// The author.
    pub role: Role,
    /// The text.
    pub content: String,
    /// The tokens that the model generated as this text; none for a text of other origin.
    #[serde(skip)]
    pub tokens: Option<Arc<[Token]>>,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message { role, content: content.into(), tokens: None }
    }

    /// What the model wrote: the turn that `completion` is.
    pub fn generated(completion: &Completion) -> Message {
        // An engine that works with text only has no tokens for a text that is not empty.
        let has_tokens = completion.text.is_empty() || !completion.tokens.is_empty();
        let tokens = has_tokens.then(|| completion.tokens.clone());
        Message { tokens, ..Message::assistant(&completion.text) }
    }

    /// A system message.
    pub fn system(content: impl Into<String>) -> Message {
        Message::new(Role::System, content)
    }

    /// A user message.
    pub fn user(content: impl Into<String>) -> Message {
        Message::new(Role::User, content)
    }

    /// An assistant message.
    pub fn assistant(content: impl Into<String>) -> Message {
        Message::new(Role::Assistant, content)
    }
}

/// Maximal number of template instructions of a rendering: thousands of times what real templates need,
/// and only tens of milliseconds.
const FUEL: u64 = 1_000_000;

/// The beginning of a thinking block.
pub(super) const THINKING_BEGINS: &str = "<think>";

/// A compiled chat template.
///
/// A model without a template (a base model) gets the plain rendering: the content of each message,
/// followed by a line break.
pub struct ChatTemplate {
    environment: Option<Environment<'static>>,
    bos: String,
    eos: String,
    /// How it takes messages, found when it was compiled.
    probed: probe::Probed,
    /// The time that the template is told, in seconds since 1970 (UTC).
    time: Arc<AtomicI64>,
    /// Whether the template has asked for the time.
    asked_time: Arc<AtomicBool>,
}

/// The time is not fixed: a template that asks is told the clock's.
const CLOCK: i64 = i64::MIN;

impl ChatTemplate {
    /// Compiles `source`; `None` gives [`ChatTemplate::plain`]. `bos` and `eos` are the texts of the
    /// model's tokens of these names, empty if it has none.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the template does not compile.
    pub fn new(source: Option<&str>, bos: &str, eos: &str) -> Result<ChatTemplate> {
        let mut template =
            ChatTemplate { bos: bos.to_string(), eos: eos.to_string(), ..ChatTemplate::plain() };
        if let Some(source) = source {
            let (time, asked) = (template.time.clone(), template.asked_time.clone());
            template.environment = Some(compile(source, time, asked)?);
            template.probed = probe::probe(&template);
        }
        Ok(template)
    }

    /// The rendering for models without a template.
    pub fn plain() -> ChatTemplate {
        ChatTemplate {
            environment: None,
            bos: String::new(),
            eos: String::new(),
            probed: probe::Probed::default(),
            time: Arc::new(AtomicI64::new(CLOCK)),
            asked_time: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Fixes the time that the template is told from now on, in seconds since 1970 (UTC). Without
    /// it, a template that prints the date (Llama 3 does) renders another prompt every day.
    pub fn at(&self, unix_seconds: i64) {
        self.time.store(unix_seconds, Ordering::Relaxed);
    }

    /// Whether this is the plain rendering.
    pub fn is_plain(&self) -> bool {
        self.environment.is_none()
    }

    /// Whether the template opens the thinking block of the model's turn (`<think>`), as those of DeepSeek
    /// and of newer Qwen models do. Completions then begin inside the block.
    pub fn opens_thinking(&self) -> bool {
        self.probed.opens_thinking
    }

    /// Renders `messages`, followed by the opening of the model's turn if `generation_prompt`. Templates
    /// with a thinking mode see `thinking` as `enable_thinking` (Qwen3) and as `thinking` (Granite,
    /// DeepSeek); of one that opens the thinking block in any case, an empty block is written without
    /// `thinking`. The content of a message is a string, or a list with one part of the type `text` where
    /// the template asks for that.
    ///
    /// If a template refuses or drops system messages, or what follows them, the system text is put at the
    /// beginning of the first user message.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the template fails for these messages, or leaves out the text of one.
    pub fn render(&self, messages: &[Message], generation_prompt: bool, thinking: bool) -> Result<String> {
        if self.is_plain() {
            return Ok(messages.iter().flat_map(|m| [m.content.as_str(), "\n"]).collect());
        }
        let render =
            |messages: &[Message]| self.render_as(messages, self.probed.typed, generation_prompt, thinking);
        let system = || messages.iter().filter(|m| m.role == Role::System);
        let rendered = render(messages);
        let holds_system = |text: &String| system().all(|m| text.contains(m.content.trim()));
        let is_kept = rendered.as_ref().is_ok_and(holds_system);
        let as_given = rendered.and_then(|text| complete(text, messages));
        if system().next().is_none() || is_kept && as_given.is_ok() {
            return as_given;
        }
        let folded = fold_system(messages);
        render(&folded).and_then(|text| complete(text, &folded)).or(as_given)
    }

    /// One rendering, with the content of each message as a string or as typed parts.
    fn render_as(
        &self,
        messages: &[Message],
        typed: probe::TypedRoles,
        generation_prompt: bool,
        thinking: bool,
    ) -> Result<String> {
        let Some(environment) = &self.environment else { return Ok(String::new()) };
        let messages: Vec<TemplateMessage> = messages
            .iter()
            .map(|Message { role, content, .. }| {
                let content = match typed.takes(*role) {
                    true => MessageContent::Parts(vec![TextPart { kind: "text", text: content }]),
                    false => MessageContent::Text(content),
                };
                TemplateMessage { role: *role, content }
            })
            .collect();
        let template = environment.get_template(NAME).map_err(template_error)?;
        let text = template
            .render(context! {
                messages,
                add_generation_prompt => generation_prompt,
                bos_token => self.bos,
                eos_token => self.eos,
                enable_thinking => thinking,
                thinking,
                tools => Value::from(()),
                documents => Value::from(()),
            })
            .map_err(template_error)?;
        Ok(match generation_prompt && !thinking && text.trim_end().ends_with(THINKING_BEGINS) {
            true => format!("{}\n\n</think>\n\n", text.trim_end()),
            false => text,
        })
    }
}

/// A message as templates see it.
#[derive(Serialize)]
struct TemplateMessage<'a> {
    role: Role,
    content: MessageContent<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum MessageContent<'a> {
    Text(&'a str),
    Parts(Vec<TextPart<'a>>),
}

#[derive(Serialize)]
struct TextPart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

/// `text` if it holds what `messages` say.
fn complete(text: String, messages: &[Message]) -> Result<String> {
    match messages.iter().find(|message| !message.is_shown_in(&text)) {
        None => Ok(text),
        Some(message) => Err(Error::unsupported(format!(
            "the model's chat template leaves out the text of the {} message {:?}, so the model would not see it",
            message.role.name(),
            shortened(&message.content)
        ))),
    }
}

impl Message {
    /// Whether the rendered `text` holds its text. Templates may trim it, write it in capitals, escape single
    /// words, and leave out the thinking block of a model's turn.
    pub(crate) fn is_shown_in(&self, text: &str) -> bool {
        let content = match self.role {
            Role::Assistant => self.content.rsplit("</think>").next().unwrap_or_default(),
            Role::System | Role::User => self.content.as_str(),
        };
        if text.contains(content.trim()) {
            return true;
        }
        let text = text.to_lowercase();
        let words: Vec<String> = content.split_whitespace().map(str::to_lowercase).collect();
        let lost = words.iter().filter(|word| !text.contains(word.as_str())).count();
        lost * 10 <= words.len()
    }
}

fn shortened(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// Moves the system text to the beginning of the first user message.
fn fold_system(messages: &[Message]) -> Vec<Message> {
    let (system, mut rest): (Vec<_>, Vec<_>) = messages.iter().cloned().partition(|m| m.role == Role::System);
    let head = system.into_iter().map(|m| m.content).collect::<Vec<_>>().join("\n\n");
    match rest.iter_mut().find(|m| m.role == Role::User) {
        Some(user) => user.content = format!("{head}\n\n{}", user.content),
        None => rest.insert(0, Message::user(head)),
    }
    rest
}

/// The name of the template in its environment.
const NAME: &str = "chat template";

fn compile(source: &str, time: Arc<AtomicI64>, asked_time: Arc<AtomicBool>) -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |why: String| {
        Err::<Value, _>(minijinja::Error::new(ErrorKind::InvalidOperation, why))
    });
    environment.add_function("strftime_now", move |format: String| {
        asked_time.store(true, Ordering::Relaxed);
        let time = match time.load(Ordering::Relaxed) {
            CLOCK => Timestamp::now(),
            seconds => Timestamp::from_second(seconds).unwrap_or_default(),
        };
        strftime(&format, time)
    });
    let source = without_generation_marks(source).into_owned();
    environment.add_template_owned(NAME, source).map_err(template_error)?;
    Ok(environment)
}

/// Removes `{% generation %}` marks, with which some templates mark the assistant's part for training
/// tools. They become a condition that always holds, which keeps their white-space control.
fn without_generation_marks(source: &str) -> Cow<'_, str> {
    if !source.contains("generation") {
        return Cow::Borrowed(source);
    }
    let Ok(mark) = regex::Regex::new(r"\{%(-?)\s*(end)?generation\s*(-?)%\}") else {
        return Cow::Borrowed(source);
    };
    mark.replace_all(source, |found: &regex::Captures| {
        let block = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {block} {}%}}", &found[1], &found[3])
    })
}

fn template_error(error: minijinja::Error) -> Error {
    let why = match error.kind() {
        ErrorKind::OutOfFuel => "it does not end".to_string(),
        _ => error.to_string().replace('\n', " "),
    };
    Error::unsupported(format!("the model's chat template cannot be used: {why}"))
}

/// `time` (UTC) in the given format; a directive that does not exist is left as it is.
fn strftime(format: &str, time: Timestamp) -> String {
    let lenient = strtime::Config::new().lenient(true);
    let time = strtime::BrokenDownTime::from(time);
    time.to_string_with_config(&lenient, format).unwrap_or_else(|_| format.to_string())
}

#[cfg(test)]
mod tests;
