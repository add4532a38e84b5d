//! The answer rule for a few fixed answers: yes / no, A / B / tie.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::normalize::normalize;
use super::{Answer, Rule};

/// Reads one of `choices`.
///
/// The answer is the choice with which the text begins, or else the only choice in it. A text with
/// several choices has no answer. A choice of a single letter can also be a word of prose ("A coin …").
/// Without a marker it counts only in its own case, and at the beginning only before punctuation or the
/// end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawChoiceRule", into = "RawChoiceRule")]
pub struct ChoiceRule {
    choices: Vec<String>,
    aliases: BTreeMap<String, String>,
    /// Normalized choice or alias, and the index of the choice; the longest first.
    phrases: Vec<(String, usize)>,
}

/// One of a few fixed answers: the choice with which the text begins, or the only one in it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChoiceRule")]
struct RawChoiceRule {
    /// The answers, at least two, as the distilled model is trained to write them. Case and punctuation do
    /// not matter when they are read.
    choices: Vec<String>,
    /// Other texts for a choice: `{"true": "yes"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    aliases: BTreeMap<String, String>,
}

impl ChoiceRule {
    /// The choices, in the task's spelling.
    pub fn choices(&self) -> &[String] {
        &self.choices
    }

    /// The choices and their aliases.
    pub(super) fn texts(&self) -> Vec<String> {
        self.choices.iter().chain(self.aliases.keys()).cloned().collect()
    }
}

impl Rule for ChoiceRule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer> {
        let key = normalize(text);
        let choice = match self.leading(text, &key, marked) {
            Some((phrase, choice)) if !self.offers_another(&key[phrase.len()..], choice) => choice,
            Some(_) => return None,
            None => self.only_one_named(text, &key, marked)?,
        };
        let spelling = &self.choices[choice];
        Some(Answer { key: normalize(spelling), text: spelling.clone() })
    }

    fn complete(&self, text: &str, marked: bool) -> bool {
        let key = normalize(text);
        let Some((phrase, _)) = self.leading(text, &key, marked) else { return false };
        let ended = key.len() > phrase.len()
            || text.ends_with(|c: char| !c.is_alphanumeric() && !"'’-‐‑".contains(c));
        let may_grow =
            self.phrases.iter().any(|(longer, _)| longer.len() > key.len() && longer.starts_with(&key));
        let alone = marked || !is_letter(phrase) || !text.ends_with([' ', '\t']);
        ended && !may_grow && alone
    }

    fn key(&self, text: &str) -> Option<String> {
        let key = normalize(text);
        let (_, choice) = self.phrases.iter().find(|(phrase, _)| *phrase == key)?;
        Some(normalize(&self.choices[*choice]))
    }

    fn target(&self, answer: &Answer) -> String {
        let spelling = self.choices.iter().find(|choice| normalize(choice) == answer.key);
        spelling.unwrap_or(&answer.text).clone()
    }
}

impl ChoiceRule {
    /// The longest phrase with which the text begins.
    fn leading(&self, text: &str, key: &str, marked: bool) -> Option<(&str, usize)> {
        let (phrase, choice) = self.phrases.iter().find(|(phrase, _)| starts_with_words(key, phrase))?;
        (marked || !is_letter(phrase) || is_separate_letter(text, &self.choices[*choice]))
            .then_some((phrase, *choice))
    }

    /// Whether the text continues with "or" and another choice, which repeats the instruction.
    fn offers_another(&self, rest: &str, choice: usize) -> bool {
        rest.strip_prefix(" or ").is_some_and(|rest| {
            self.phrases.iter().any(|(phrase, other)| *other != choice && starts_with_words(rest, phrase))
        })
    }

    fn only_one_named(&self, text: &str, key: &str, marked: bool) -> Option<usize> {
        let mut named = self.phrases.iter().filter(|(phrase, choice)| {
            if is_letter(phrase) && !marked {
                return text.split(|c: char| !c.is_alphanumeric()).any(|word| word == self.choices[*choice]);
            }
            contains_words(key, phrase)
        });
        let (_, first) = named.next()?;
        named.all(|(_, other)| other == first).then_some(*first)
    }
}

fn starts_with_words(key: &str, phrase: &str) -> bool {
    key.strip_prefix(phrase).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

fn contains_words(key: &str, phrase: &str) -> bool {
    key.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (&key[..at], &key[at + phrase.len()..]);
        (before.is_empty() || before.ends_with(' ')) && (after.is_empty() || after.starts_with(' '))
    })
}

fn is_letter(phrase: &str) -> bool {
    phrase.chars().count() == 1 && phrase.chars().all(char::is_alphabetic)
}

/// Whether `text` begins with `letter` in its own case, before punctuation or the end.
fn is_separate_letter(text: &str, letter: &str) -> bool {
    let start = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    start.strip_prefix(letter).is_some_and(|rest| {
        rest.trim().is_empty()
            || rest.starts_with(|c: char| {
                c == '\n' || (!c.is_alphanumeric() && !c.is_whitespace() && c != '\'' && c != '’')
            })
    })
}

impl TryFrom<RawChoiceRule> for ChoiceRule {
    type Error = String;

    fn try_from(raw: RawChoiceRule) -> Result<Self, String> {
        if raw.choices.len() < 2 {
            return Err(format!("\"choices\" needs at least two, found {}", raw.choices.len()));
        }
        let mut phrases: Vec<(String, usize)> = Vec::new();
        let mut add = |text: &str, choice: usize| {
            let phrase = normalize(text);
            if phrase.is_empty() {
                return Err(format!("choice {text:?} has no letter, digit or symbol"));
            }
            match phrases.iter().find(|(known, _)| *known == phrase) {
                Some((_, other)) if *other == choice => Ok(()),
                Some(_) => Err(format!("choice {text:?} is there twice (case and punctuation do not count)")),
                None => {
                    phrases.push((phrase, choice));
                    Ok(())
                }
            }
        };
        for (index, choice) in raw.choices.iter().enumerate() {
            if raw.choices[..index].contains(choice) {
                return Err(format!("choice {choice:?} is there twice"));
            }
            add(choice, index)?;
        }
        for (alias, choice) in &raw.aliases {
            let index = raw.choices.iter().position(|known| known == choice).ok_or_else(|| {
                format!(
                    "alias {alias:?} stands for {choice:?}, which is not one of the choices {:?}",
                    raw.choices
                )
            })?;
            add(alias, index)?;
        }
        phrases.sort_by_key(|(phrase, _)| std::cmp::Reverse(phrase.len()));
        Ok(ChoiceRule { choices: raw.choices, aliases: raw.aliases, phrases })
    }
}

impl From<ChoiceRule> for RawChoiceRule {
    fn from(rule: ChoiceRule) -> RawChoiceRule {
        RawChoiceRule { choices: rule.choices, aliases: rule.aliases }
    }
}
