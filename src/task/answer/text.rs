//! The answer rule for a short free text: a name, a word, a title.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::normalize::{CURRENCIES, normalize, normalize_terms};
use super::super::validate::unique_keys;
use super::introduction::{answer_line, without_introduction};
use super::lists::words;
use super::surface::{bare, is_sign, surface};
use super::{Answer, Pattern, Rule};

/// Reads a short text.
///
/// The answer is the group of the first pattern that matches in the first line with a match; without a
/// match it is the first sentence of the first line. A text of more than `max_words` words is not an
/// answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawTextRule", into = "RawTextRule")]
pub struct TextRule {
    patterns: Vec<Pattern>,
    max_words: usize,
    strip_articles: bool,
    articles: Vec<String>,
    strip: Vec<String>,
    normalize: Normalize,
    aliases: BTreeMap<String, Vec<String>>,
    /// The normalized words of `strip`.
    stripped: Vec<Vec<String>>,
    /// Whether each pattern asks for the end of the text.
    need_end: Vec<bool>,
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
    /// Whether an article at the start is ignored.
    strip_articles: bool,
    /// The articles; by default the English ones.
    #[serde(skip_serializing_if = "is_english")]
    articles: Vec<String>,
    /// Words that are taken from both ends of an answer, with an article before them:
    /// `["city of", "Republic"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    strip: Vec<String>,
    /// The part of a text that is compared.
    #[serde(skip_serializing_if = "Normalize::is_default")]
    normalize: Normalize,
    /// Answers, which the distilled model is trained to write, with other texts for them:
    /// `{"USA": ["United States", "America"]}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    aliases: BTreeMap<String, Vec<String>>,
}

impl Default for RawTextRule {
    fn default() -> Self {
        RawTextRule {
            patterns: Vec::new(),
            max_words: 8,
            strip_articles: true,
            articles: ENGLISH.map(str::to_string).to_vec(),
            strip: Vec::new(),
            normalize: Normalize::default(),
            aliases: BTreeMap::new(),
        }
    }
}

/// Words that may be taken from the ends of an answer.
const MAX_STRIPPED: usize = 100;

const ENGLISH: [&str; 3] = ["the", "a", "an"];

fn is_english(articles: &[String]) -> bool {
    articles == ENGLISH
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
    fn extract(&self, text: &str, marked: bool) -> Option<Answer> {
        match self.matching_line(text, marked) {
            Some((line, _)) => line,
            None => {
                let whole = self.patterns.iter().find_map(|pattern| pattern.find(text, 0));
                self.answer(whole.or_else(|| answer_line(text, |_| false).map(|(line, _)| line))?)
            }
        }
    }

    fn complete(&self, text: &str, marked: bool) -> bool {
        self.matching_line(text, marked).is_some_and(|(answer, ended)| ended && answer.is_some())
    }

    fn key(&self, text: &str) -> Option<String> {
        self.own_key(&self.without_strip(bare(text))).map(|key| self.meant(key))
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
    /// The key of the answer that `key` is an alias of.
    fn meant(&self, key: String) -> String {
        self.spellings.get(&key).map_or(key, |(_, meant)| meant.clone())
    }

    pub(super) fn max_words(&self) -> usize {
        self.max_words
    }

    pub(super) fn normalize(&self) -> Normalize {
        self.normalize
    }

    /// What the first line with a match says, and whether that line has ended. Without patterns and
    /// after a marker, the first line says it.
    fn matching_line(&self, text: &str, marked: bool) -> Option<(Option<Answer>, bool)> {
        if (marked || self.patterns.is_empty())
            && let Some((line, ended)) = answer_line(text, |line| self.match_in(line, 0).is_some())
        {
            let found = self.match_in(line, 0);
            let answer = self.answer(found.unwrap_or(line));
            if found.is_some() || answer.is_some() || self.patterns.is_empty() {
                return Some((answer, ended));
            }
        }
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let end = start + line.trim_end_matches('\n').len();
            if let Some(found) = self.match_in(&text[..end], start) {
                return Some((self.answer(found), line.ends_with('\n')));
            }
            start += line.len();
        }
        None
    }

    /// The group of the first pattern that matches behind `start` and does not ask for the end of the text.
    fn match_in<'t>(&self, text: &'t str, start: usize) -> Option<&'t str> {
        let patterns = self.patterns.iter().zip(&self.need_end).filter(|(_, needs_end)| !**needs_end);
        patterns.filter_map(|(pattern, _)| pattern.find(text, start)).next()
    }

    fn answer(&self, candidate: &str) -> Option<Answer> {
        let (text, left_out) = without_introduction(candidate);
        let text = surface(text);
        // What could be stripped from so long a text is not looked for.
        if text.split(' ').count() > self.max_words + MAX_STRIPPED {
            return None;
        }
        let text = self.without_strip(text);
        if text.split(' ').count() + left_out > self.max_words {
            return None;
        }
        let key = self.own_key(&text)?;
        Some(Answer { key: self.meant(key), text })
    }

    /// The text without the words of `strip` at its ends, the longest first.
    fn without_strip(&self, mut text: String) -> String {
        while let Some(rest) = self.without_phrase(&text) {
            text = rest;
        }
        text
    }

    /// The text without one phrase of `strip` at its beginning or else at its end, and without an article
    /// before the phrase; `None` if there is none or if only articles would be left.
    fn without_phrase(&self, text: &str) -> Option<String> {
        if self.stripped.is_empty() {
            return None;
        }
        let words: Vec<&str> = text.split(' ').collect();
        let keys: Vec<Vec<String>> = words.iter().map(|word| key_words(word)).collect();
        let is_article = |key: &[String]| {
            self.strip_articles && self.articles.iter().any(|article| key_words(article) == key)
        };
        let longest = self.stripped.iter().map(Vec::len).max().unwrap_or(0) + 1;
        let is_phrase = |keys: &[Vec<String>]| {
            let is = |keys: &[Vec<String>]| {
                let key = keys.concat();
                self.stripped.contains(&key)
            };
            is(keys) || (keys.len() > 1 && is_article(&keys[0]) && is(&keys[1..]))
        };
        // Words without a key, such as a dash, belong to what is beside them.
        let reach = |keys: &mut dyn Iterator<Item = &Vec<String>>| {
            let mut n = 0;
            keys.take_while(|key| {
                n += key.len();
                n <= longest
            })
            .count()
        };
        let left = |words: &[&str], keys: &[Vec<String>]| {
            let rest = bare(&words.join(" "));
            let is_something = keys.iter().any(|key| !key.is_empty() && !is_article(key));
            (is_something && !normalize(&rest).is_empty()).then_some(rest)
        };
        let front = (1..=reach(&mut keys.iter())).rev().filter(|n| is_phrase(&keys[..*n]));
        let behind = (1..=reach(&mut keys.iter().rev())).rev().map(|n| words.len() - n);
        let behind = behind.filter(|at| is_phrase(&keys[*at..]));
        let front = front.map(|n| (n, words.len())).chain(behind.map(|at| (0, at)));
        front.filter_map(|(start, end)| left(&words[start..end], &keys[start..end])).next()
    }

    /// The key without regard to aliases.
    fn own_key(&self, text: &str) -> Option<String> {
        let key = match self.normalize {
            Normalize::Exact if normalize(text).is_empty() => String::new(),
            Normalize::Exact => text.to_string(),
            Normalize::Letters => normalize(text).chars().filter(|c| c.is_alphabetic()).collect(),
            Normalize::Words => self.words_key(text),
        };
        (!key.is_empty()).then_some(key)
    }

    fn words_key(&self, text: &str) -> String {
        let mut key = with_units(&normalize_terms(text));
        if self.strip_articles {
            let articles = self.articles.iter().map(|article| normalize(article));
            let found = articles.filter_map(|article| key.strip_prefix(&article)?.strip_prefix(' ')).next();
            key = found.map_or_else(|| key.clone(), str::to_string);
        }
        // A `!` alone is left of "(…)!".
        if key.trim_matches(['!', ' ']).is_empty() {
            return String::new();
        }
        if is_sign(text.trim()) && !key.starts_with('-') {
            key.insert(0, '-');
        }
        key
    }
}

impl TryFrom<RawTextRule> for TextRule {
    type Error = String;

    fn try_from(raw: RawTextRule) -> Result<Self, String> {
        if raw.max_words == 0 {
            return Err("\"max_words\" must be 1 or more, found 0".into());
        }
        let RawTextRule { patterns, max_words, strip_articles, articles, strip, normalize, aliases } = raw;
        let mut stripped = Vec::with_capacity(strip.len());
        for phrase in &strip {
            let key = self::normalize(phrase);
            if key.is_empty() {
                return Err(format!("\"strip\" holds {phrase:?}, which has no letter, digit or symbol"));
            }
            stripped.push(phrase.split_whitespace().flat_map(key_words).collect());
        }
        let need_end = patterns.iter().map(Pattern::needs_end).collect();
        let spellings = BTreeMap::new();
        let mut rule = TextRule {
            patterns,
            max_words,
            strip_articles,
            articles,
            strip,
            normalize,
            aliases,
            stripped,
            need_end,
            spellings,
        };
        let mut spellings: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (answer, aliases) in &rule.aliases {
            let empty = |text: &String| format!("alias {text:?} has nothing to compare");
            let own_key =
                |text: &String| rule.own_key(&rule.without_strip(bare(text))).ok_or_else(|| empty(text));
            let meant = own_key(answer)?;
            for text in std::iter::once(answer).chain(aliases) {
                let key = own_key(text)?;
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
        let TextRule { patterns, max_words, strip_articles, articles, strip, normalize, aliases, .. } = rule;
        RawTextRule { patterns, max_words, strip_articles, articles, strip, normalize, aliases }
    }
}

static UNITS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let lengths = words("lengths").flat_map(|unit| [format!("{unit}^2"), format!("{unit}^3")]);
    let signs = CURRENCIES.chars().map(String::from).chain(["°", "°c", "°f"].map(String::from));
    words("units").map(str::to_lowercase).chain(lengths).chain(signs).collect()
});

/// The key with a unit apart from its number, and `percent` as `%`.
fn with_units(key: &str) -> String {
    if !key.contains(|c: char| c.is_ascii_digit()) {
        return key.to_string();
    }
    let ends_with_digit = |text: &str| text.ends_with(|c: char| c.is_ascii_digit());
    let mut all: Vec<String> = Vec::new();
    let mut words = key.split(' ').peekable();
    while let Some(word) = words.next() {
        let is_percent = match word {
            "%" | "percent" => true,
            "per" => words.peek() == Some(&"cent"),
            _ => false,
        };
        match all.last_mut().filter(|last| is_percent && ends_with_digit(last)) {
            Some(last) => {
                last.push('%');
                if word == "per" {
                    words.next();
                }
            }
            None => all.push(word.to_string()),
        }
    }
    for word in &mut all {
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        let at = word.len() - unit.len();
        if ends_with_digit(&word[..at]) && UNITS.contains(unit) {
            word.insert(at, ' ');
        }
    }
    all.join(" ")
}

/// The words of the key of one word, such as `Port-au-Prince`.
fn key_words(word: &str) -> Vec<String> {
    normalize(word).split_whitespace().map(str::to_string).collect()
}
