//! A short free text: a name, a word, a title.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::super::normalize::{normalize, without_article};
use super::{Answer, first_line};

/// Reads a short text.
///
/// The first pattern that matches gives the answer as its group 1; without a match it is the first
/// sentence of the first line. What is longer than `max_words` is no answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextRule {
    /// Tried in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<Pattern>,
    /// Most words of an answer.
    #[serde(default = "eight")]
    pub max_words: usize,
    /// Whether `the`, `a` and `an` at the start do not count.
    #[serde(default = "yes")]
    pub strip_articles: bool,
}

fn eight() -> usize {
    8
}

fn yes() -> bool {
    true
}

impl TextRule {
    pub(super) fn extract(&self, text: &str) -> Option<Answer> {
        let candidate = match self.patterns.iter().find_map(|pattern| pattern.find(text)) {
            Some((found, _)) => found,
            None => first_line(text)?.0,
        };
        let text = surface(candidate);
        if text.split(' ').count() > self.max_words {
            return None;
        }
        Some(Answer { key: self.key(&text)?, text })
    }

    pub(super) fn complete(&self, text: &str, marked: bool) -> bool {
        let found = self.patterns.iter().find_map(|pattern| pattern.find(text));
        let line_ended = match found {
            Some((_, end)) => text[end..].contains('\n'),
            // An unmarked text may still come to its point on a later line.
            None => (marked || self.patterns.is_empty()) && first_line(text).is_some_and(|(_, ended)| ended),
        };
        line_ended && self.extract(text).is_some()
    }

    pub(super) fn key(&self, text: &str) -> Option<String> {
        let key = normalize(text);
        let key = if self.strip_articles { without_article(&key) } else { &key };
        (!key.is_empty()).then(|| key.to_string())
    }
}

/// The first sentence, without what surrounds an answer: quotes, markdown, brackets behind it, the
/// full stop.
fn surface(candidate: &str) -> String {
    let decoration = |c: char| c.is_whitespace() || "*_`\"'“”„‘’«»#:;,!?()[]{}-–—>=".contains(c);
    let text = candidate.trim_start_matches(decoration);
    let text = &text[..sentence_end(text)];
    let text = text.split_once(" (").map_or(text, |(text, _)| text).trim_end_matches(decoration);
    let text = match text.strip_suffix('.') {
        // "D.C." is written with its last full stop.
        Some(stem) if !stem.rsplit(' ').next().unwrap_or("").contains('.') => {
            stem.trim_end_matches(decoration)
        }
        _ => text,
    };
    let words = text.split_whitespace().map(|word| word.replace("**", "").replace('`', ""));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Where the first sentence ends: at `.`, `!` or `?` before white space, unless the stop belongs
/// to an abbreviation (one or two letters: "St. Petersburg", "D. C.").
fn sentence_end(text: &str) -> usize {
    for (at, stop) in text.match_indices(['.', '!', '?']) {
        let before = &text[..at];
        let word = before.rsplit(|c: char| c.is_whitespace() || c == '.').next().unwrap_or("");
        let abbreviation = stop == "." && word.chars().count() <= 2;
        let rest = text[at + 1..].trim_start_matches(['*', '"', '”', '_']);
        if !abbreviation && !word.is_empty() && rest.starts_with(char::is_whitespace) {
            return at;
        }
    }
    text.find('\n').unwrap_or(text.len())
}

/// A regular expression with exactly one group, which holds the answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

impl Pattern {
    /// The expression as given.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The group and where the match ends, unless the group is blank.
    fn find<'t>(&self, text: &'t str) -> Option<(&'t str, usize)> {
        let found = self.0.captures(text)?;
        let group = found.get(1).filter(|group| !group.as_str().trim().is_empty())?;
        Some((group.as_str(), group.end()))
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
