//! The answer rule for the group of a regular expression, as in `\\boxed{7}`.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, AnswerRule, Rule, a_text, first_line, is_a_text};

/// The group of a regular expression: that of the last match that is not blank. A group that opens more
/// braces than it closes reaches to the brace that closes the one around it.
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

    fn last<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.pattern.find_all(text).filter(|found| !found.trim().is_empty()).last()
    }
}

impl Rule for PatternRule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer> {
        let in_line = if marked { first_line(text).and_then(|(line, _)| self.last(line)) } else { None };
        let found = in_line.or_else(|| self.last(text))?;
        self.reading.rule().extract(found, true)
    }

    /// Without a marker, a later line can match too.
    fn complete(&self, text: &str, marked: bool) -> bool {
        marked
            && first_line(text).is_some_and(|(line, ended)| {
                ended
                    && self.last(line).is_some_and(|found| self.reading.rule().extract(found, true).is_some())
            })
    }

    fn key(&self, text: &str) -> Option<String> {
        self.reading.key(text)
    }

    fn target(&self, answer: &Answer) -> String {
        self.reading.target(answer)
    }
}

/// How far behind a group its braces may be closed, in bytes.
const MAX_REST: usize = 1000;

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

    /// The first group in `text` that is not blank, of the matches at or behind `start`.
    pub(super) fn find<'t>(&self, text: &'t str, mut start: usize) -> Option<&'t str> {
        loop {
            let found = self.0.captures_at(text, start)?;
            let group = found.get(1).and_then(|group| balanced(text, group.range()));
            if let Some(group) = group.filter(|group| !group.trim().is_empty()) {
                return Some(group);
            }
            let whole = found.get(0)?;
            start = match text[whole.end()..].chars().next() {
                Some(c) if whole.is_empty() => whole.end() + c.len_utf8(),
                None if whole.is_empty() => return None,
                _ => whole.end(),
            };
        }
    }

    /// The groups of all matches.
    pub(in crate::task) fn find_all<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        self.0.captures_iter(text).filter_map(|found| balanced(text, found.get(1)?.range()))
    }

    /// Whether the expression asks for the end of the text.
    pub(super) fn needs_end(&self) -> bool {
        let hir = regex_syntax::parse(self.as_str());
        hir.is_ok_and(|hir| hir.properties().look_set().contains(regex_syntax::hir::Look::End))
    }
}

/// The text at `range`. If it opens more braces than it closes, it reaches to the brace that closes the
/// one around it; `None` if there is none near.
fn balanced(text: &str, range: std::ops::Range<usize>) -> Option<&str> {
    let group = &text[range.clone()];
    if group.matches('{').count() <= group.matches('}').count() {
        return Some(group);
    }
    let mut open = 0usize;
    for (at, byte) in text.bytes().enumerate().skip(range.start).take(group.len() + MAX_REST) {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return (at >= range.end).then(|| &text[range.start..at]),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
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
