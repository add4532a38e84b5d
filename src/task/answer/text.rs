//! The answer rule for a short free text: a name, a word, a title.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::normalize::{normalize, without_article};
use super::{Answer, Pattern, Rule, first_line};

/// Reads a short text.
///
/// The answer is group 1 of the first pattern that matches; without a match it is the first sentence of
/// the first line. A text of more than `max_words` words is not an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawTextRule", into = "RawTextRule")]
pub struct TextRule {
    patterns: Vec<Pattern>,
    max_words: usize,
    strip_articles: bool,
    normalize: Normalize,
    aliases: BTreeMap<String, Vec<String>>,
    /// Key of an answer or alias → the answer in the task's spelling, and its key.
    spellings: BTreeMap<String, (String, String)>,
}

/// A short free text: the group of the first pattern that matches, or else the first sentence of the
/// first line.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "TextRule")]
struct RawTextRule {
    /// Regular expressions with one group, which holds the answer; tried in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    patterns: Vec<Pattern>,
    /// Maximal number of words, 1 or more; a longer text is not an answer.
    #[schemars(range(min = 1))]
    max_words: usize,
    /// Whether `the`, `a` and `an` at the start are ignored.
    strip_articles: bool,
    /// The part of a text that is compared.
    #[serde(skip_serializing_if = "Normalize::is_default")]
    normalize: Normalize,
    /// Answers, which the distilled model is trained to write, with other texts for them:
    /// `{"USA": ["United States", "America"]}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    aliases: BTreeMap<String, Vec<String>>,
}

impl Default for RawTextRule {
    fn default() -> Self {
        RawTextRule {
            patterns: Vec::new(),
            max_words: 8,
            strip_articles: true,
            normalize: Normalize::default(),
            aliases: BTreeMap::new(),
        }
    }
}

/// The part of a text that is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// The words, without case, accents, quotes and punctuation.
    #[default]
    Words,
    /// The letters, without case: `A, b` is `ab`, which the distilled model is trained to write.
    Letters,
    /// All characters, without quotes, markdown and the full stop around them.
    Exact,
}

impl Normalize {
    fn is_default(&self) -> bool {
        *self == Normalize::default()
    }
}

impl Default for TextRule {
    fn default() -> Self {
        TextRule::try_from(RawTextRule::default()).expect("the defaults fit together")
    }
}

impl Rule for TextRule {
    fn extract(&self, text: &str, _: bool) -> Option<Answer> {
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

    fn complete(&self, text: &str, marked: bool) -> bool {
        let found = self.patterns.iter().find_map(|pattern| pattern.find(text));
        let line_ended = match found {
            Some((_, end)) => text[end..].contains('\n'),
            // Without a marker, a pattern can match a later line.
            None => (marked || self.patterns.is_empty()) && first_line(text).is_some_and(|(_, ended)| ended),
        };
        line_ended && self.extract(text, marked).is_some()
    }

    fn key(&self, text: &str) -> Option<String> {
        let key = self.own_key(text)?;
        Some(self.spellings.get(&key).map_or(key, |(_, meant)| meant.clone()))
    }

    fn target(&self, answer: &Answer) -> String {
        match (self.spellings.get(&answer.key), self.normalize) {
            (Some((spelling, _)), _) => spelling.clone(),
            (None, Normalize::Letters) => answer.key.clone(),
            (None, _) => answer.text.clone(),
        }
    }
}

impl TextRule {
    pub(super) fn max_words(&self) -> usize {
        self.max_words
    }

    pub(super) fn normalize(&self) -> Normalize {
        self.normalize
    }

    /// The key without regard to aliases.
    fn own_key(&self, text: &str) -> Option<String> {
        let key = match self.normalize {
            Normalize::Words if self.strip_articles => without_article(&normalize(text)).to_string(),
            Normalize::Words => normalize(text),
            Normalize::Letters => normalize(text).chars().filter(|c| c.is_alphabetic()).collect(),
            Normalize::Exact => surface(text),
        };
        (!key.is_empty()).then_some(key)
    }
}

impl TryFrom<RawTextRule> for TextRule {
    type Error = String;

    fn try_from(raw: RawTextRule) -> Result<Self, String> {
        if raw.max_words == 0 {
            return Err("\"max_words\" must be 1 or more, found 0".into());
        }
        let RawTextRule { patterns, max_words, strip_articles, normalize, aliases } = raw;
        let spellings = BTreeMap::new();
        let mut rule = TextRule { patterns, max_words, strip_articles, normalize, aliases, spellings };
        let mut spellings: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (answer, aliases) in &rule.aliases {
            let empty = |text: &String| format!("alias {text:?} has nothing to compare");
            let meant = rule.own_key(answer).ok_or_else(|| empty(answer))?;
            for text in std::iter::once(answer).chain(aliases) {
                let key = rule.own_key(text).ok_or_else(|| empty(text))?;
                match spellings.get(&key) {
                    Some((other, _)) if other != answer => {
                        return Err(format!("alias {text:?} stands for both {other:?} and {answer:?}"));
                    }
                    _ => spellings.insert(key, (answer.clone(), meant.clone())),
                };
            }
        }
        rule.spellings = spellings;
        Ok(rule)
    }
}

impl From<TextRule> for RawTextRule {
    fn from(rule: TextRule) -> RawTextRule {
        let TextRule { patterns, max_words, strip_articles, normalize, aliases, .. } = rule;
        RawTextRule { patterns, max_words, strip_articles, normalize, aliases }
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
