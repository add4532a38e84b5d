//! Chat templates: messages, and how they become the prompt of a model.
//!
//! A chat model has a Jinja template in its GGUF file (`tokenizer.chat_template`). It is rendered as in
//! the tools of Hugging Face, so that training and sampling see the text that `llama-server --jinja`
//! uses. Templates come from untrusted files: rendering has limited fuel, and any fault becomes an error.
//!
//! The text of a user must not become control tokens. If a message contains the text of a special token,
//! [`prompt_tokens`] renders a placeholder in its place and tokenizes the content separately, as plain
//! text. All other prompts are tokenized in one piece, as llama-server does.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use jiff::fmt::strtime;
use minijinja::{Environment, ErrorKind, Value, context};

use super::{Decoder, Token};
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
}

impl Message {
    /// A system message.
    pub fn system(content: impl Into<String>) -> Message {
        Message { role: Role::System, content: content.into() }
    }

    /// A user message.
    pub fn user(content: impl Into<String>) -> Message {
        Message { role: Role::User, content: content.into() }
    }

    /// An assistant message.
    pub fn assistant(content: impl Into<String>) -> Message {
        Message { role: Role::Assistant, content: content.into() }
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
    opens_thinking: bool,
    /// The time that the template is told, in seconds since 1970 (UTC).
    time: Arc<AtomicI64>,
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
        let time = Arc::new(AtomicI64::new(CLOCK));
        let mut template = ChatTemplate {
            environment: source.map(|source| compile(source, time.clone())).transpose()?,
            bos: bos.to_string(),
            eos: eos.to_string(),
            opens_thinking: false,
            time,
        };
        let turn = template.render(&[Message::user("?")], true, true);
        template.opens_thinking = turn.is_ok_and(|text| text.trim_end().ends_with(THINKING_BEGINS));
        Ok(template)
    }

    /// The rendering for models without a template.
    pub fn plain() -> ChatTemplate {
        ChatTemplate {
            environment: None,
            bos: String::new(),
            eos: String::new(),
            opens_thinking: false,
            time: Arc::new(AtomicI64::new(CLOCK)),
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
        self.opens_thinking
    }

    /// Renders `messages`, followed by the opening of the model's turn if `generation_prompt`. Templates
    /// with a thinking mode see `thinking` as `enable_thinking` (Qwen3) and as `thinking` (Granite,
    /// DeepSeek).
    ///
    /// If a template refuses or drops system messages, the system text is put at the beginning of the
    /// first user message.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the template fails for these messages.
    pub fn render(&self, messages: &[Message], generation_prompt: bool, thinking: bool) -> Result<String> {
        let Some(environment) = &self.environment else {
            return Ok(messages.iter().flat_map(|m| [m.content.as_str(), "\n"]).collect());
        };
        let render = |messages: &[Message]| {
            let template = environment.get_template(NAME).map_err(template_error)?;
            template
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
                .map_err(template_error)
        };
        let rendered = render(messages);
        let system = messages.iter().filter(|m| m.role == Role::System);
        let kept = match &rendered {
            Ok(text) => system.clone().all(|m| text.contains(m.content.trim())),
            Err(_) => system.clone().next().is_none(),
        };
        if kept {
            return rendered;
        }
        render(&fold_system(messages)).or(rendered)
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

fn compile(source: &str, time: Arc<AtomicI64>) -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |why: String| {
        Err::<Value, _>(minijinja::Error::new(ErrorKind::InvalidOperation, why))
    });
    environment.add_function("strftime_now", move |format: String| {
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

/// The tokens of a prompt: BOS if the model needs it, the rendered conversation, and the opening of the
/// model's turn. No text inside a message becomes a special token.
pub(super) fn prompt_tokens<D: Decoder + ?Sized>(
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

/// The token with which the template ends the model's turn, to be trained on.
pub(super) fn end_of_turn<D: Decoder + ?Sized>(decoder: &D) -> Result<Option<Token>> {
    let conversation = [Message::user("a"), Message::assistant("\u{e000}")];
    let rendered = decoder.chat_template().render(&conversation, false, false)?;
    let Some((_, tail)) = rendered.rsplit_once('\u{e000}') else {
        return Ok(None);
    };
    Ok(decoder.tokenize(tail, true)?.into_iter().find(|&token| decoder.is_end(token)))
}

/// `time` (UTC) in the given format; a directive that does not exist is left as it is.
fn strftime(format: &str, time: Timestamp) -> String {
    let lenient = strtime::Config::new().lenient(true);
    let time = strtime::BrokenDownTime::from(time);
    time.to_string_with_config(&lenient, format).unwrap_or_else(|_| format.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + \
        m['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
        {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn conversation() -> Vec<Message> {
        vec![Message::system("Be brief."), Message::user("Hello?")]
    }

    #[test]
    fn a_template_renders_roles_contents_and_the_generation_prompt() {
        let template = ChatTemplate::new(Some(CHATML), "<s>", "</s>").unwrap();
        assert_eq!(
            template.render(&conversation(), true, false).unwrap(),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n\
             <|im_start|>assistant\n"
        );
        assert!(!template.render(&conversation(), false, false).unwrap().contains("assistant"));
    }

    #[test]
    fn a_model_without_a_template_gets_plain_lines() {
        let template = ChatTemplate::new(None, "<s>", "</s>").unwrap();
        assert!(template.is_plain());
        assert_eq!(template.render(&conversation(), true, false).unwrap(), "Be brief.\nHello?\n");
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_work_as_in_hugging_face_tools() {
        let source = "{%- for m in messages %}\n    {%- if m.role.startswith('us') %}\n\
             {{- m.content.strip() | upper }}\n    {% endif %}\n{% endfor %}\n";
        let template = ChatTemplate::new(Some(source), "", "").unwrap();
        let text = template.render(&[Message::user(" hi ")], true, false).unwrap();
        assert_eq!(text, "HI\n");
    }

    #[test]
    fn a_template_that_refuses_system_messages_gets_the_text_in_the_first_user_message() {
        let refusing = "{% if messages[0].role == 'system' %}\
             {{ raise_exception('System role not supported') }}{% endif %}\
             {% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}";
        let dropping = "{% for m in messages if m.role != 'system' %}\
             [{{ m.role }}: {{ m.content }}]{% endfor %}";
        for source in [refusing, dropping] {
            let template = ChatTemplate::new(Some(source), "", "").unwrap();
            let text = template.render(&conversation(), true, false).unwrap();
            assert_eq!(text, "[user: Be brief.\n\nHello?]");
        }
    }

    #[test]
    fn thinking_is_off_or_on_as_asked() {
        let source = "{% if enable_thinking is defined and enable_thinking is false %}\
             <think>\n\n</think>{% endif %}";
        let template = ChatTemplate::new(Some(source), "", "").unwrap();
        let text = |thinking| template.render(&[], true, thinking).unwrap();
        assert_eq!(text(false), "<think>\n\n</think>");
        assert_eq!(text(true), "");
    }

    #[test]
    fn a_thinking_block_that_the_template_opens_differs_from_a_closed_one() {
        let opens = |source| ChatTemplate::new(Some(source), "", "").unwrap().opens_thinking();
        assert!(opens("{{ messages[0].content }}{% if thinking %}<think>\n{% endif %}"));
        assert!(!opens("{{ messages[0].content }}<think>\n\n</think>"));
        assert!(!ChatTemplate::plain().opens_thinking());
    }

    #[test]
    fn bad_templates_give_one_line_that_says_why() {
        let error = ChatTemplate::new(Some("{% if %}\n{{"), "", "").err().unwrap().to_string();
        assert!(error.starts_with("the model's chat template cannot be used"), "{error}");
        assert!(!error.contains('\n'), "{error}");
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}\
             {% endfor %}";
        for source in [endless, "{{ messages[7].content.nothing }}", "{{ raise_exception('no') }}"] {
            let template = ChatTemplate::new(Some(source), "", "").unwrap();
            let error = template.render(&conversation(), true, false).unwrap_err().to_string();
            assert!(error.starts_with("the model's chat template cannot be used"), "{error}");
        }
        let nested = "{{ ".to_string() + &"(".repeat(100_000);
        assert!(ChatTemplate::new(Some(&nested), "", "").is_err());
    }

    #[test]
    fn generation_marks_are_transparent() {
        let source = "{% for m in messages %}{%- generation -%} {{ m.content }} \
             {%- endgeneration %}{% endfor %}";
        let template = ChatTemplate::new(Some(source), "", "").unwrap();
        assert_eq!(template.render(&[Message::user("x")], true, false).unwrap(), "x");
    }

    #[test]
    fn dates_are_written_as_strftime_writes_them() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        // date -u -d @1721984461 gives Fri Jul 26 09:01:01 UTC 2024.
        let text = |format| strftime(format, at(1_721_984_461));
        assert_eq!(text("%d %b %Y"), "26 Jul 2024");
        assert_eq!(text("%A, %B %e, %y %H:%M:%S %I %p %%"), "Friday, July 26, 24 09:01:01 09 AM %");
        assert_eq!(strftime("%F %T %a %e %h", at(951_782_400)), "2000-02-29 00:00:00 Tue 29 Feb");
        assert_eq!(strftime("%e %I %p", at(0)), " 1 12 AM");
        assert_eq!(strftime("%F %", at(0)), "1970-01-01 %");
        assert_eq!(strftime("%F %!", at(0)), "1970-01-01 %!");
    }

    #[test]
    fn a_template_is_told_the_time_that_was_fixed() {
        let template = ChatTemplate::new(Some("{{ strftime_now('%d %b %Y') }}"), "", "").unwrap();
        let year = template.render(&[], true, false).unwrap()[7..].parse::<i32>().unwrap();
        assert!(year > 2024, "the clock's, at first");
        template.at(1_721_984_461);
        assert_eq!(template.render(&[], true, false).unwrap(), "26 Jul 2024");
    }
}
