//! The answer rule for the group of a regular expression, as in `\\boxed{7}`.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, AnswerRule, Rule, a_text, first_line, is_a_text};

/// The group of a regular expression: that of the last match that is not blank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatternRule {
    /// The regular expression, with one group, which holds the answer.
    pattern: Pattern,
    /// The rule for the group; by default a text.
    #[serde(rename = "as", default = "a_text", skip_serializing_if = "is_a_text")]
    reading: Box<AnswerRule>,
}

impl PatternRule {
    /// The rule for what this rule finds.
    pub(super) fn reading(&self) -> &AnswerRule {
        &self.reading
    }
}

impl Rule for PatternRule {
    fn extract(&self, text: &str, _: bool) -> Option<Answer> {
        let found = self.pattern.find_all(text).filter(|found| !found.trim().is_empty()).last()?;
        self.reading.rule().extract(found, true)
    }

    /// Without a marker, a later line can match too.
    fn complete(&self, text: &str, marked: bool) -> bool {
        marked
            && first_line(text).is_some_and(|(line, ended)| {
                ended && self.extract(line, true).is_some_and(|found| self.extract(text, true) == Some(found))
            })
    }

    fn key(&self, text: &str) -> Option<String> {
        self.reading.key(text)
    }

    fn target(&self, answer: &Answer) -> String {
        self.reading.target(answer)
    }
}

/// A regular expression with exactly one group, which holds the answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline)]
pub struct Pattern(Regex);

impl Pattern {
    /// The expression as the task file has it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The group of the first match and the offset of its end, unless the group is blank.
    pub(super) fn find<'t>(&self, text: &'t str) -> Option<(&'t str, usize)> {
        let found = self.0.captures(text)?;
        let group = found.get(1).filter(|group| !group.as_str().trim().is_empty())?;
        Some((group.as_str(), group.end()))
    }

    /// The groups of all matches.
    pub(in crate::task) fn find_all<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        self.0.captures_iter(text).filter_map(|found| found.get(1)).map(|group| group.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let regex = Regex::new(&text).map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("pattern {text:?} is not a regular expression: {reason}")
        })?;
        match regex.captures_len() - 1 {
            1 => Ok(Pattern(regex)),
            groups => Err(format!("pattern {text:?} has {groups} groups; it needs one, around the answer")),
        }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.as_str().to_string()
    }
}
