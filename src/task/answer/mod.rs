//! Reading an answer out of what a model wrote.
//!
//! Two ways to be wrong: to miss an answer that is there, which costs a vote, and to see one that
//! is not, which corrupts a label. The second is worse, so every rule gives up (`None`) where a
//! text names several answers or none. Where the step has a marker, only the text after its last
//! occurrence is read: reasoning is full of words that look like answers.

mod choice;
mod json;
mod last_line;
mod number;
mod pattern;
mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use choice::ChoiceRule;
pub use json::JsonRule;
pub use last_line::LastLineRule;
pub use number::NumberRule;
pub use pattern::{Pattern, PatternRule};
pub use text::{Normalize, TextRule};

use super::Step;
use super::step::without_thinking;

/// An answer as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// What votes compare: equal answers have equal keys, however they were written.
    pub key: String,
    /// How it was written, without decoration; what free-text tasks train on.
    pub text: String,
}

/// How an answer is read, and when two are the same.
///
/// The first three say what an answer is. The others say where it stands, and leave what it is to
/// another rule: `{"kind": "json", "field": "winner", "as": {"kind": "choice", …}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AnswerRule {
    /// One of a few fixed answers.
    Choice(ChoiceRule),
    /// A decimal number.
    Number(NumberRule),
    /// A short free text, such as a name.
    Text(TextRule),
    /// What a regular expression finds.
    Pattern(PatternRule),
    /// A field of a JSON object.
    Json(JsonRule),
    /// The last line.
    LastLine(LastLineRule),
}

/// What every rule can say of a text in which the answer is looked for. `marked` says that a
/// marker or another rule pointed there, so that the text begins with the answer.
trait Rule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer>;
    /// Whether the answer cannot change, whatever comes after `text`; `false` is always safe.
    fn complete(&self, text: &str, marked: bool) -> bool;
    /// The key of an answer that is all of `text`.
    fn key(&self, text: &str) -> Option<String>;
    fn target(&self, answer: &Answer) -> String;
}

impl AnswerRule {
    fn rule(&self) -> &dyn Rule {
        match self {
            AnswerRule::Choice(rule) => rule,
            AnswerRule::Number(rule) => rule,
            AnswerRule::Text(rule) => rule,
            AnswerRule::Pattern(rule) => rule,
            AnswerRule::Json(rule) => rule,
            AnswerRule::LastLine(rule) => rule,
        }
    }

    /// The answer in a completion of `step`, or `None` where it holds none or is ambiguous.
    pub fn extract(&self, step: &Step, completion: &str) -> Option<Answer> {
        let (text, marked) = region(step, completion)?;
        self.rule().extract(text, marked)
    }

    /// Whether a completion of `step` that begins like this has its answer for sure, so that
    /// sampling may stop. `false` is always safe.
    pub fn complete(&self, step: &Step, partial: &str) -> bool {
        region(step, partial).is_some_and(|(text, marked)| self.rule().complete(text, marked))
    }

    /// Whether `answer` is one of the accepted answers. Gold is normalised like an answer.
    pub fn is_correct(&self, answer: &Answer, gold: &[String]) -> bool {
        gold.iter().any(|gold| self.key(gold).is_some_and(|key| key == answer.key))
    }

    /// The key that an answer written like this has, or `None` where it is no possible answer.
    pub fn key(&self, text: &str) -> Option<String> {
        self.rule().key(text)
    }

    /// What a distilled model is trained to write: the choice as the task spells it, the number in
    /// plain digits, the text as it was read or as the task spells it.
    pub fn target(&self, answer: &Answer) -> String {
        self.rule().target(answer)
    }
}

/// What the answer is where a rule only says where it stands.
fn a_text() -> Box<AnswerRule> {
    Box::new(AnswerRule::Text(TextRule::default()))
}

fn is_a_text(rule: &AnswerRule) -> bool {
    *rule == *a_text()
}

/// Where in the completion to look, and whether a marker says so.
fn region<'t>(step: &Step, completion: &'t str) -> Option<(&'t str, bool)> {
    let text = without_thinking(completion)?;
    match &step.marker {
        Some(marker) => marker.after(text).map(|rest| (rest, true)),
        None => Some((text, false)),
    }
}

/// The first line that holds something, and whether another line has been begun after it.
fn first_line(text: &str) -> Option<(&str, bool)> {
    let start = text.find(|c: char| !c.is_whitespace())?;
    let rest = &text[start..];
    Some(match rest.split_once('\n') {
        Some((line, _)) => (line.trim_end(), true),
        None => (rest.trim_end(), false),
    })
}

#[cfg(test)]
mod tests;
