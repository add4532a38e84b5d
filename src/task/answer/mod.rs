//! Reading an answer out of what a model wrote.
//!
//! Two ways to be wrong: to miss an answer that is there, which costs a vote, and to see one that
//! is not, which corrupts a label. The second is worse, so every rule gives up (`None`) where a
//! text names several answers or none. Where the step has a marker, only the text after its last
//! occurrence is read: reasoning is full of words that look like answers.

mod choice;
mod number;
mod text;

use serde::{Deserialize, Serialize};

pub use choice::ChoiceRule;
pub use number::NumberRule;
pub use text::{Pattern, TextRule};

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AnswerRule {
    /// One of a few fixed answers.
    Choice(ChoiceRule),
    /// A decimal number.
    Number(NumberRule),
    /// A short free text, such as a name.
    Text(TextRule),
}

impl AnswerRule {
    /// The answer in a completion of `step`, or `None` where it holds none or is ambiguous.
    pub fn extract(&self, step: &Step, completion: &str) -> Option<Answer> {
        let (text, marked) = region(step, completion)?;
        match self {
            AnswerRule::Choice(rule) => rule.extract(text, marked),
            AnswerRule::Number(rule) => rule.extract(text, marked),
            AnswerRule::Text(rule) => rule.extract(text),
        }
    }

    /// Whether a completion of `step` that begins like this has its answer for sure, so that
    /// sampling may stop. `false` is always safe.
    pub fn complete(&self, step: &Step, partial: &str) -> bool {
        region(step, partial).is_some_and(|(text, marked)| match self {
            AnswerRule::Choice(rule) => rule.complete(text, marked),
            AnswerRule::Number(rule) => rule.complete(text, marked),
            AnswerRule::Text(rule) => rule.complete(text, marked),
        })
    }

    /// Whether `answer` is one of the accepted answers. Gold is normalised like an answer.
    pub fn is_correct(&self, answer: &Answer, gold: &[String]) -> bool {
        gold.iter().any(|gold| self.key(gold).is_some_and(|key| key == answer.key))
    }

    /// The key that an answer written like this has, or `None` where it is no possible answer.
    pub fn key(&self, text: &str) -> Option<String> {
        match self {
            AnswerRule::Choice(rule) => rule.key(text),
            AnswerRule::Number(rule) => rule.key(text),
            AnswerRule::Text(rule) => rule.key(text),
        }
    }

    /// What a distilled model is trained to write: the choice as the task spells it, the number in
    /// plain digits, the text as it was read.
    pub fn target(&self, answer: &Answer) -> String {
        match self {
            AnswerRule::Choice(rule) => rule.spelling(&answer.key).unwrap_or(&answer.text).to_string(),
            AnswerRule::Number(_) => answer.key.clone(),
            AnswerRule::Text(_) => answer.text.clone(),
        }
    }
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
