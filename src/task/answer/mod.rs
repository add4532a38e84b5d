//! Answer rules: how an answer is read from a completion, and when two answers are the same.
//!
//! A rule can miss an answer, which costs a vote, or read one that is not there, which corrupts a label.
//! The second is worse, so every rule returns `None` for a text with several answers or none. If the step
//! has a marker, only the text after its last occurrence is read, since reasoning contains many words
//! that look like answers. `rules.md` specifies all rules.

mod choice;
mod constraint;
mod date;
mod introduction;
mod json;
mod last_line;
mod lists;
mod number;
mod pattern;
mod surface;
mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use choice::ChoiceRule;
pub use constraint::AnswerConstraint;
pub(in crate::task) use date::DATE_GRAMMAR;
pub use date::{DateOrder, DateRule};
pub use json::JsonRule;
pub use last_line::LastLineRule;
pub use number::{Decimal, NumberRule};
pub(super) use number::{digit, is_invisible};
pub use pattern::{Pattern, PatternRule};
pub use text::{Normalize, TextRule};

use super::Step;
use super::step::without_thinking;

/// An answer, as read from a completion.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// Equal answers have equal keys, however they are written. Votes compare keys.
    pub key: String,
    /// The answer as it was written, without decoration. Tasks with free-text answers train on it.
    pub text: String,
}

/// How an answer is read, and when two answers are the same; `secondnature tasks answers` prints the rules.
///
/// The first four rules say what an answer is. The others say where it is, and take another rule for
/// what it is: `{"kind": "json", "field": "winner", "as": {"kind": "choice", …}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AnswerRule {
    /// One of a few fixed answers.
    Choice(ChoiceRule),
    /// A decimal number.
    Number(NumberRule),
    /// A day of the calendar.
    Date(DateRule),
    /// A short free text, such as a name.
    Text(TextRule),
    /// The group of a regular expression.
    Pattern(PatternRule),
    /// A field of a JSON object.
    Json(JsonRule),
    /// The last line.
    LastLine(LastLineRule),
}

/// The operations of an answer rule. `marked`: the text follows a marker or was found by another rule,
/// so that it begins with the answer.
trait Rule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer>;
    /// Whether the answer stays the same whatever follows `text`. `false` is always safe.
    fn complete(&self, text: &str, marked: bool) -> bool;
    /// The key of an answer that is the whole of `text`.
    fn key(&self, text: &str) -> Option<String>;
    fn target(&self, answer: &Answer) -> String;
}

impl AnswerRule {
    fn rule(&self) -> &dyn Rule {
        match self {
            AnswerRule::Choice(rule) => rule,
            AnswerRule::Number(rule) => rule,
            AnswerRule::Date(rule) => rule,
            AnswerRule::Text(rule) => rule,
            AnswerRule::Pattern(rule) => rule,
            AnswerRule::Json(rule) => rule,
            AnswerRule::LastLine(rule) => rule,
        }
    }

    /// The page that specifies how answers are read, as Markdown.
    pub const SPECIFICATION: &str = lists::RULES;

    /// The rule for what an answer is: this one, or the one that it takes for what it finds.
    pub(crate) fn innermost(&self) -> &AnswerRule {
        match self {
            AnswerRule::Pattern(rule) => rule.reading().innermost(),
            AnswerRule::Json(rule) => rule.reading().innermost(),
            AnswerRule::LastLine(rule) => rule.reading().innermost(),
            rule => rule,
        }
    }

    /// The answer in a completion of `step`; `None` if there is none or if it is ambiguous.
    pub fn extract(&self, step: &Step, completion: &str) -> Option<Answer> {
        let (text, marked) = region(step, completion)?;
        self.rule().extract(text, marked)
    }

    /// The answer in a completion of `step` that was cut at its limit of tokens: one that nothing which
    /// would have followed could change. A number on the way to another is none.
    pub fn extract_cut(&self, step: &Step, completion: &str) -> Option<Answer> {
        self.extract(step, completion).filter(|_| self.complete(step, completion))
    }

    /// Whether a completion of `step` that begins with `partial` already has its answer, so that sampling
    /// can stop. `false` is always safe.
    pub fn complete(&self, step: &Step, partial: &str) -> bool {
        region(step, partial).is_some_and(|(text, marked)| self.rule().complete(text, marked))
    }

    /// The answer in a completion that is nothing but an answer, as [`AnswerRule::constraint`] holds it to.
    pub fn read_alone(&self, completion: &str) -> Option<Answer> {
        match self {
            AnswerRule::Pattern(rule) => rule.reading().read_alone(completion),
            AnswerRule::Json(rule) => rule.reading().read_alone(completion),
            AnswerRule::LastLine(rule) => rule.reading().read_alone(completion),
            _ => self.rule().extract(without_thinking(completion)?, true),
        }
    }

    /// Whether `answer` is one of the gold answers, which are normalized like answers.
    pub fn is_correct(&self, answer: &Answer, gold: &[String]) -> bool {
        gold.iter().any(|gold| self.key(gold).is_some_and(|key| key == answer.key))
    }

    /// The key of an answer that is written as `text`; `None` if that is not a possible answer.
    pub fn key(&self, text: &str) -> Option<String> {
        self.rule().key(text)
    }

    /// The text that a distilled model is trained to write: the choice in the task's spelling, the number
    /// in plain digits, the text as it was read or in the task's spelling.
    pub fn target(&self, answer: &Answer) -> String {
        self.rule().target(answer)
    }
}

/// The default of rules that only say where the answer is.
fn a_text() -> Box<AnswerRule> {
    Box::new(AnswerRule::Text(TextRule::default()))
}

fn is_a_text(rule: &AnswerRule) -> bool {
    *rule == *a_text()
}

/// The part of the completion in which the answer is, and whether it follows a marker.
fn region<'t>(step: &Step, completion: &'t str) -> Option<(&'t str, bool)> {
    let text = without_thinking(completion)?;
    match &step.marker {
        Some(marker) => marker.after(text).map(|rest| (rest, true)),
        None => Some((text, false)),
    }
}

/// The first line that is neither blank nor a code fence, and whether the line has ended.
fn first_line(text: &str) -> Option<(&str, bool)> {
    split_first_line(text).map(|(line, behind)| (line, behind.is_some()))
}

/// The first line that is neither blank nor a code fence, and what is behind it if the line has ended.
fn split_first_line(text: &str) -> Option<(&str, Option<&str>)> {
    let mut rest = text.trim_start();
    loop {
        let (line, more) = match rest.split_once('\n') {
            Some((line, more)) => (line.trim_end(), Some(more)),
            None => (rest.trim_end(), None),
        };
        match more {
            Some(more) if is_fence(line) => rest = more.trim_start(),
            None if line.is_empty() || is_fence(line) => return None,
            more => return Some((line, more)),
        }
    }
}

/// Whether the line begins or ends a block of code or of a formula.
fn is_fence(line: &str) -> bool {
    let line = line.trim();
    let is_block = |sign: char| {
        let language = line.trim_start_matches(sign);
        line.len() - language.len() >= 3 && !language.contains(|c: char| c.is_whitespace() || c == sign)
    };
    is_block('`') || is_block('~') || matches!(line, r"\[" | r"\]" | "$$")
}

#[cfg(test)]
mod cases_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod reference_text_tests;
#[cfg(test)]
mod tests;
