//! The answer rule for a short free text: a name, a word, a title.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::normalize::{is_currency, normalize};
use super::lists::{List, list};
use super::{Answer, Pattern, Rule, first_line};

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
    /// The self::normalize words of `strip`.
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
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
                self.answer(whole.map_or_else(|| first_line(text).map(|(line, _)| line), Some)?)
            }
        }
    }

    fn complete(&self, text: &str, marked: bool) -> bool {
        self.matching_line(text, marked).is_some_and(|(answer, ended)| ended && answer.is_some())
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

    /// What the first line with a match says, and whether that line has ended. Without patterns and
    /// after a marker, the first line says it.
    fn matching_line(&self, text: &str, marked: bool) -> Option<(Option<Answer>, bool)> {
        if marked || self.patterns.is_empty() {
            let (line, ended) = first_line(text)?;
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
        let text = self.without_strip(surface(candidate));
        if text.split(' ').count() > self.max_words {
            return None;
        }
        Some(Answer { key: self.key(&text)?, text })
    }

    /// The text without the words of `strip` at its ends.
    fn without_strip(&self, text: String) -> String {
        if self.stripped.is_empty() {
            return text;
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let keys: Vec<String> = words.iter().map(|word| normalize(word)).collect();
        let (mut start, mut end) = (0, words.len());
        let is_article = |key: &String| {
            self.strip_articles && self.articles.iter().any(|article| normalize(article) == *key)
        };
        loop {
            let before = (start, end);
            for phrase in &self.stripped {
                let article = usize::from(keys[start..end].first().is_some_and(is_article));
                for skipped in [0, article] {
                    let from = start + skipped;
                    if end - start > phrase.len() + skipped && keys[from..end].starts_with(phrase) {
                        start = from + phrase.len();
                        break;
                    }
                }
                if end - start > phrase.len() && keys[start..end].ends_with(phrase) {
                    end -= phrase.len();
                }
            }
            if (start, end) == before {
                return words[start..end].join(" ").trim_end_matches(',').to_string();
            }
        }
    }

    /// The key without regard to aliases.
    fn own_key(&self, text: &str) -> Option<String> {
        let key = match self.normalize {
            Normalize::Exact => surface(text),
            Normalize::Letters => normalize(text).chars().filter(|c| c.is_alphabetic()).collect(),
            Normalize::Words => self.words_key(text),
        };
        (!key.is_empty()).then_some(key)
    }

    fn words_key(&self, text: &str) -> String {
        let mut key = with_units(&normalize(text));
        if self.strip_articles {
            let articles = self.articles.iter().map(|article| normalize(article));
            let found = articles.filter_map(|article| key.strip_prefix(&article)?.strip_prefix(' ')).next();
            key = found.map_or_else(|| key.clone(), str::to_string);
        }
        let bare = text.trim();
        let mut chars = bare.chars();
        let (first, second) = (chars.next(), chars.next());
        if matches!(first, Some('-' | '−'))
            && second.is_some_and(is_signed)
            && !key.is_empty()
            && !key.starts_with('-')
        {
            key.insert(0, '-');
        }
        if second == Some('!') && chars.next().is_none() && !key.is_empty() && !key.ends_with('!') {
            key.push('!');
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
            stripped.push(
                phrase.split_whitespace().map(self::normalize).filter(|word| !word.is_empty()).collect(),
            );
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
        let TextRule { patterns, max_words, strip_articles, articles, strip, normalize, aliases, .. } = rule;
        RawTextRule { patterns, max_words, strip_articles, articles, strip, normalize, aliases }
    }
}

static UNITS: List = LazyLock::new(|| list("units"));

/// The key with a unit apart from its number, and `percent` as `%`.
fn with_units(key: &str) -> String {
    if !key.contains(|c: char| c.is_ascii_digit()) {
        return key.to_string();
    }
    let mut out = String::with_capacity(key.len() + 2);
    let ends_with_digit = |text: &str| text.ends_with(|c: char| c.is_ascii_digit());
    let mut words = key.split(' ').peekable();
    while let Some(word) = words.next() {
        match word {
            "%" | "percent" if ends_with_digit(&out) => out.push('%'),
            "per" if ends_with_digit(&out) && words.peek() == Some(&"cent") => {
                words.next();
                out.push('%');
            }
            word => {
                if !out.is_empty() {
                    out.push(' ');
                }
                let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit()).len();
                let unit = &word[digits..];
                let is_unit = UNITS.iter().any(|known| known.to_lowercase() == unit);
                if digits > 0
                    && is_unit
                    && word[..digits]
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-')
                {
                    out.push_str(&word[..digits]);
                    out.push(' ');
                    out.push_str(unit);
                } else {
                    out.push_str(word);
                }
            }
        }
    }
    out
}

/// Whether a `-` directly before `c` is a sign.
fn is_signed(c: char) -> bool {
    c.is_alphanumeric() || c == '.' || is_currency(c)
}

/// The first sentence, without what surrounds an answer: quotes, markdown, brackets behind it, the
/// full stop.
fn surface(candidate: &str) -> String {
    let whole = candidate.trim();
    let mut text = whole;
    // What is before the answer.
    while let Some(c) = text.chars().next() {
        let rest = &text[c.len_utf8()..];
        let is_sign = matches!(c, '-' | '−')
            && rest.starts_with(is_signed)
            && !whole[..whole.len() - text.len()].ends_with(['-', '−']);
        let kept = is_sign
            || (c == '.' && rest.starts_with(|c: char| c.is_ascii_digit()))
            || (closing(c).is_some() && is_closed(text));
        if kept || !(is_decoration(c) || c == '−') {
            break;
        }
        text = rest;
    }
    text = &text[..sentence_end(text)];
    text = text.split_once(" (").map_or(text, |(text, _)| text);
    loop {
        let before = text;
        text = without_end(text);
        if let Some(inside) = enclosed(text) {
            text = inside.trim();
        }
        if text == before {
            break;
        }
    }
    let words = text.split_whitespace().map(|word| word.replace("**", "").replace('`', ""));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The text without decoration, brackets without a partner and a full stop at its end.
fn without_end(text: &str) -> &str {
    let Some(c) = text.chars().next_back() else { return text };
    let rest = &text[..text.len() - c.len_utf8()];
    let lone = |open: char, close: char| text.matches(close).count() > text.matches(open).count();
    let drop = match c {
        '!' => !(rest.ends_with(|c: char| c.is_ascii_digit()) || is_letter(rest)),
        ')' => lone('(', ')'),
        ']' => lone('[', ']'),
        '}' => lone('{', '}'),
        '#' => !rest.ends_with(char::is_alphanumeric),
        // "D.C." is written with its last full stop.
        '.' => !rest.rsplit(' ').next().unwrap_or_default().contains('.'),
        c => is_decoration(c),
    };
    if drop { rest } else { text }
}

fn is_letter(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
}

fn is_decoration(c: char) -> bool {
    c.is_whitespace() || "*_`\"'“”„‘’«»#:;,!?()[]{}-–—>=".contains(c)
}

fn closing(open: char) -> Option<char> {
    Some(match open {
        '(' => ')',
        '[' => ']',
        '{' => '}',
        _ => return None,
    })
}

/// Whether the bracket with which the text begins is closed in it.
fn is_closed(text: &str) -> bool {
    partner(text).is_some()
}

/// The offset of the bracket that closes the one with which the text begins.
fn partner(text: &str) -> Option<usize> {
    let open = text.chars().next()?;
    let close = closing(open)?;
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// What is in the bracket that encloses all of the text.
fn enclosed(text: &str) -> Option<&str> {
    let end = partner(text)?;
    (end + 1 == text.len()).then(|| &text[1..end])
}

/// Where the first sentence ends: at `.`, `!` or `?` before white space, unless the stop belongs
/// to an abbreviation (one or two letters: "St. Petersburg", "D. C.") or to a factorial.
fn sentence_end(text: &str) -> usize {
    for (at, stop) in text.match_indices(['.', '!', '?']) {
        let before = &text[..at];
        let word = before.rsplit(|c: char| c.is_whitespace() || c == '.').next().unwrap_or("");
        let abbreviation = stop == "." && word.chars().count() <= 2;
        let factorial = stop == "!" && word.ends_with(|c: char| c.is_ascii_digit());
        let rest = text[at + 1..].trim_start_matches(['*', '"', '”', '_']);
        if !abbreviation && !factorial && !word.is_empty() && rest.starts_with(char::is_whitespace) {
            return at;
        }
    }
    text.find('\n').unwrap_or(text.len())
}
