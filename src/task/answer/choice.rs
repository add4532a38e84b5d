//! The answer rule for a few fixed answers: yes / no, A / B / tie.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::normalize::normalize;
use super::super::validate::unique_keys;
use super::lists::{self, List, list};
use super::{Answer, Rule};

/// Reads one of `choices`.
///
/// The answer is the choice with which the text begins, or else the only choice in it. A text that offers
/// several choices ("A or B") or denies one ("not A", "A is wrong") has no answer. A choice of a single
/// letter can also be a word of prose ("A coin …"). Without a marker it counts only in its own case, and
/// at the beginning only before punctuation or the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawChoiceRule", into = "RawChoiceRule")]
pub struct ChoiceRule {
    choices: Vec<String>,
    aliases: BTreeMap<String, String>,
    /// The choices and their aliases; the longest first.
    phrases: Vec<Phrase>,
}

/// One of a few fixed answers: the choice with which the text begins, or the only one in it. A choice that
/// is denied, as in "not A", is no answer.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChoiceRule")]
struct RawChoiceRule {
    /// The answers, at least two, as the distilled model is trained to write them. Case and punctuation do
    /// not matter when they are read.
    choices: Vec<String>,
    /// Other texts for a choice: `{"true": "yes"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    aliases: BTreeMap<String, String>,
}

impl ChoiceRule {
    /// The choices, in the task's spelling.
    pub fn choices(&self) -> &[String] {
        &self.choices
    }

    /// The choices and their aliases.
    pub(in crate::task) fn texts(&self) -> Vec<String> {
        self.choices.iter().chain(self.aliases.keys()).cloned().collect()
    }
}

/// A choice or an alias.
#[derive(Debug, Clone, PartialEq)]
struct Phrase {
    text: String,
    /// Its normalized words.
    key: String,
    /// Those of its first clause, by which a denial is found.
    head: Vec<String>,
    choice: usize,
}

impl Phrase {
    /// Whether a mention counts only in the case of the task, as it could be a word of prose.
    fn needs_case(&self, marked: bool) -> bool {
        is_letter(&self.key) && (!marked || is_article(&self.key))
    }

    fn may_number_item(&self) -> bool {
        is_letter(&self.key) || self.key.ends_with(|c: char| c.is_ascii_digit())
    }
}

impl Rule for ChoiceRule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer> {
        let text = &*self.without_tags(text);
        let choice = match self.leading(text, &first_key(text).0, marked) {
            Some(leading) => leading.is_answer.then_some(leading.choice)?,
            None => self.only_one_named(text, &normalize(text), marked)?,
        };
        let spelling = &self.choices[choice];
        Some(Answer { key: normalize(spelling), text: spelling.clone() })
    }

    fn complete(&self, text: &str, marked: bool) -> bool {
        let text = &*self.without_tags(text);
        if !self.may_lead(text) {
            return false;
        }
        let (key, ended) = first_key(text);
        let grows = |phrase: &Phrase| phrase.key.len() > key.len() && phrase.key.starts_with(&key);
        let may_grow = || !ended && self.phrases.iter().any(grows);
        self.leading(text, &key, marked).is_some_and(|leading| leading.is_answer && leading.is_decided)
            && !may_grow()
    }

    fn key(&self, text: &str) -> Option<String> {
        let key = normalize(text);
        let phrase = self.phrases.iter().find(|phrase| phrase.key == key)?;
        Some(normalize(&self.choices[phrase.choice]))
    }

    fn target(&self, answer: &Answer) -> String {
        let spelling = self.choices.iter().find(|choice| normalize(choice) == answer.key);
        spelling.unwrap_or(&answer.text).clone()
    }
}

/// A phrase at the beginning of a text.
struct Leading {
    choice: usize,
    /// Whether what is behind the phrase leaves it the answer.
    is_answer: bool,
    /// Whether that stays so whatever follows the text.
    is_decided: bool,
}

impl ChoiceRule {
    /// The text without tags, unless they may be choices.
    fn without_tags<'t>(&self, text: &'t str) -> Cow<'t, str> {
        static TAG: LazyLock<Regex> =
            LazyLock::new(|| Regex::new("</?[A-Za-z][A-Za-z0-9_-]*/?>").expect("it is valid"));
        match text.contains('<') && !self.phrases.iter().any(|phrase| phrase.text.contains('<')) {
            true => TAG.replace_all(text, " "),
            false => Cow::Borrowed(text),
        }
    }

    /// Whether a phrase of several letters is a part of a compound: "non-toxic".
    fn is_part_of_compound(&self, text: &str) -> bool {
        static COMPOUND: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"[\p{Alphabetic}\p{N}]+(?:[-‐‑][\p{Alphabetic}\p{N}]+)+").expect("it is valid")
        });
        COMPOUND.find_iter(text).any(|compound| {
            let key = normalize(compound.as_str());
            let is_part = |phrase: &Phrase| !is_letter(&phrase.key) && contains_words(&key, &phrase.key);
            !self.phrases.iter().any(|phrase| phrase.key == key) && self.phrases.iter().any(is_part)
        })
    }

    /// Whether the text may begin with a phrase, from its first letters alone. Most texts do not, and this
    /// is asked at every token.
    fn may_lead(&self, text: &str) -> bool {
        let text = text.trim_start_matches(is_opening);
        let end = text.bytes().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        // Other letters are spelled otherwise in a key.
        word.is_empty()
            || rest.is_empty()
            || !rest.as_bytes()[0].is_ascii()
            || self
                .phrases
                .iter()
                .any(|phrase| phrase.key.get(..end).is_some_and(|start| start.eq_ignore_ascii_case(word)))
    }

    /// The longest phrase with which the text begins, unless it is a word of prose; `key` is that of the first
    /// line that has one.
    fn leading(&self, text: &str, key: &str, marked: bool) -> Option<Leading> {
        // A point ends a phrase, though it does not separate words ("D.C.").
        let (phrase, end) = self.phrases.iter().find_map(|phrase| {
            let end = key.starts_with(&phrase.key).then(|| raw_end(text, &phrase.key))??;
            if ends_before(&text[..end], &phrase.text) {
                return None;
            }
            let is_ended = starts_with_words(key, &phrase.key) || text[end..].starts_with('.');
            is_ended.then_some((phrase, end))
        })?;
        let choice = phrase.choice;
        let rest = text[end..].trim_start_matches(CLOSING);
        let is_letter = is_letter(&phrase.key);
        let own_case = text[..end].ends_with(phrase.text.as_str());
        if is_letter && !marked && !own_case {
            return None;
        }
        let leading = |(is_answer, is_decided)| Some(Leading { choice, is_answer, is_decided });
        let is_number = phrase.key.ends_with(|c: char| c.is_ascii_digit());
        if !marked
            && phrase.may_number_item()
            && let Some(sign) = sign_of_item(&text[end..])
        {
            return leading((!self.has_other_items(&text[end..], sign, choice), false));
        }
        let mut following = rest.chars();
        let Some(next) = following.next() else { return leading((true, false)) };
        let after = following.next();
        let in_word = after.is_some_and(char::is_alphanumeric);
        match next {
            '\n' => leading((true, true)),
            '.' | ':' | ',' if is_number && after.is_some_and(|c| c.is_ascii_digit()) => {
                leading((false, false))
            }
            '-' | '‐' | '‑' if in_word => leading((false, false)),
            '.' if is_letter && in_word => leading((false, false)),
            // A word behind it would make it the number of an item.
            '.' | ':' if phrase.may_number_item() => {
                leading((true, if marked { after.is_some() } else { split_line(rest).1 }))
            }
            '.' | '!' | '?' | ';' | ':' | '…' | '。' => leading((true, true)),
            c if is_break(c) => leading(self.behind_break(&rest[c.len_utf8()..], choice)),
            _ => {
                let (line, _) = split_line(rest);
                if phrase.key == "no" && next.is_whitespace() && self.is_noun(line) {
                    return None;
                }
                let prose = next.is_whitespace() && line.contains(|c: char| !c.is_whitespace());
                if is_letter && prose && !(marked && (own_case || !is_article(&phrase.key))) {
                    return None;
                }
                leading(self.behind_space(rest, choice))
            }
        }
    }

    /// Whether a list goes on behind its first item with another choice: on a line below, or behind a clause of the
    /// same line.
    fn has_other_items(&self, behind: &str, sign: char, choice: usize) -> bool {
        let (line, _) = split_line(behind);
        let others =
            || self.phrases.iter().filter(|phrase| phrase.choice != choice && phrase.may_number_item());
        let begins = |line: &str| {
            let line = line.trim_start_matches(is_opening);
            others().any(|phrase| {
                let rest = line.strip_prefix(phrase.text.as_str());
                rest.is_some_and(|rest| rest.trim_start_matches(['*', '_']).starts_with(sign))
            })
        };
        let follows = |phrase: &Phrase| {
            [",", ";", "."].iter().any(|end| line.contains(&format!("{end} {}{sign}", phrase.text)))
        };
        behind.split('\n').skip(1).any(begins) || (sign == ':' && others().any(follows))
    }

    /// Whether a phrase is the answer with this behind its comma, bracket or dash, and whether that is
    /// decided.
    fn behind_break(&self, rest: &str, choice: usize) -> (bool, bool) {
        let (line, ended) = split_line(rest);
        let (joined, is_joined) = without_joins(line);
        let Some(end) = self.another_at(joined, choice) else {
            let first = words(line).next();
            let decided = first.is_some_and(|word| word.ended && !self.may_begin(&word.key));
            return (true, ended || decided);
        };
        let behind = joined[end..].trim_start_matches(CLOSING).trim_start();
        let offered =
            is_joined || behind.is_empty() || behind.starts_with(is_clause_end) || without_joins(behind).1;
        (!offered, ended)
    }

    /// Whether a phrase is the answer with these words behind it, and whether that is decided.
    fn behind_space(&self, rest: &str, choice: usize) -> (bool, bool) {
        let (line, ended) = split_line(rest);
        let start = line.trim_start();
        if let Some(c) = start.chars().next().filter(|c| is_break(*c)) {
            return self.behind_break(&rest[rest.len() - rest.trim_start().len() + c.len_utf8()..], choice);
        }
        if self.another_at(without_joins(line).0, choice).is_some() {
            return (false, false);
        }
        let clause = line.split(is_clause_end).next().unwrap_or_default();
        let following: Vec<ChoiceWord> = words(clause).take(3).collect();
        let decided = following.first().is_some_and(|word| {
            word.ended && !VERBS.contains(word.key.as_str()) && !self.may_begin(&word.key)
        });
        (!self.denies(&following), ended || decided)
    }

    /// Whether the words behind a phrase deny it: "is not", "isn't", "is wrong".
    fn denies(&self, following: &[ChoiceWord]) -> bool {
        let Some((first, more)) = following.split_first() else { return false };
        let contraction = first.key == "cannot" || (first.key.ends_with("nt") && self.negates(&first.key));
        let denial = |word: &ChoiceWord| DENIALS.contains(word.key.as_str());
        contraction || (VERBS.contains(first.key.as_str()) && more.iter().take(2).any(denial))
    }

    /// Whether `word` is a negation and not itself a phrase.
    fn negates(&self, word: &str) -> bool {
        (NEGATIONS.contains(word) || REJECTIONS.contains(word))
            && !self.phrases.iter().any(|phrase| phrase.key == word)
    }

    /// The end of another choice with which the text begins.
    fn another_at(&self, text: &str, choice: usize) -> Option<usize> {
        let start: String = text.chars().take(200).collect();
        let key = normalize(&start);
        let phrase = self.phrases.iter().find(|phrase| starts_with_words(&key, &phrase.key))?;
        let end = raw_end(text, &phrase.key).filter(|_| phrase.choice != choice)?;
        (!is_letter(&phrase.key) || text[..end].ends_with(phrase.text.as_str())).then_some(end)
    }

    /// Whether `word` joins choices or is the first word of one.
    fn may_begin(&self, word: &str) -> bool {
        let first = word.split(' ').next().unwrap_or_default();
        JOINS.contains(&first)
            || !first.starts_with(char::is_alphanumeric)
            || self.phrases.iter().any(|phrase| phrase.key.split(' ').next() == Some(first))
    }

    /// The only choice that the text names, if no mention is denied.
    fn only_one_named(&self, text: &str, key: &str, marked: bool) -> Option<usize> {
        let in_own_case =
            |letter: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == letter);
        let named = |phrase: &&Phrase| {
            let is_named = (is_letter(&phrase.key) && in_own_case(&phrase.text))
                || (!phrase.needs_case(marked) && self.is_mentioned(phrase, key));
            is_named && !self.is_prose(phrase, text)
        };
        let named: Vec<&Phrase> = self.phrases.iter().filter(named).collect();
        let choice = named.first()?.choice;
        let one = named.iter().all(|phrase| phrase.choice == choice) && !self.is_part_of_compound(text);
        (one && !text.split(is_clause_end).any(|clause| self.is_denied(clause, &named, marked)))
            .then_some(choice)
    }

    /// Whether the phrase is in `key` as whole words, and not only inside of longer phrases: "not guilty" does not
    /// mention "guilty".
    fn is_mentioned(&self, phrase: &Phrase, key: &str) -> bool {
        let longer = || self.phrases.iter().filter(|longer| longer.key.len() > phrase.key.len());
        let is_inside = |mention: &Range<usize>| {
            longer().any(|longer| {
                mentions(key, &longer.key)
                    .any(|other| other.start <= mention.start && mention.end <= other.end)
            })
        };
        mentions(key, &phrase.key).any(|mention| !is_inside(&mention))
    }

    /// Whether all that looks like a mention of the phrase is prose: "no" before a noun, as in "there is no
    /// way to tell", and the article that begins a sentence.
    fn is_prose(&self, phrase: &Phrase, text: &str) -> bool {
        let (is_no, is_article) = (phrase.key == "no", is_article(&phrase.key));
        if !is_no && !is_article {
            return false;
        }
        let is_mention = |word: &str| if is_no { normalize(word) == "no" } else { word == phrase.text };
        let is_word = |(start, end): (usize, usize)| {
            let before = text[..start].trim_end_matches(|c: char| " \t*_`\"'“‘([".contains(c));
            let begins = before.chars().next_back().is_none_or(|c| ".!?;:\n…。".contains(c));
            let rest = text[end..].trim_start_matches(CLOSING);
            (is_no || begins) && rest.starts_with([' ', '\t']) && self.is_noun(split_line(rest).0)
        };
        let mut mentions =
            alphanumeric(text).filter(|(start, end)| is_mention(&text[*start..*end])).peekable();
        mentions.peek().is_some() && mentions.all(is_word)
    }

    /// Whether the text begins with a word in lower case that is probably a noun or what stands before one, and
    /// no verb, pronoun, preposition or choice.
    fn is_noun(&self, text: &str) -> bool {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && !"'’".contains(c)).unwrap_or(text.len());
        let word = normalize(&text[..end]);
        let is_verb = word.ends_with('s') && !word.ends_with("ss") && !word.ends_with("us");
        text.starts_with(char::is_lowercase)
            && !(is_verb
                || NO_NOUNS.contains(word.as_str())
                || VERBS.contains(word.as_str())
                || self.may_begin(&word))
    }

    /// Whether a clause denies one of the phrases.
    fn is_denied(&self, clause: &str, phrases: &[&Phrase], marked: bool) -> bool {
        let words: Vec<ChoiceWord> = words(clause).collect();
        for phrase in phrases {
            let any_case = !phrase.needs_case(marked);
            let same =
                |word: &ChoiceWord, key: &str| word.key == key && (any_case || word.raw == phrase.text);
            for at in 0..(words.len() + 1).saturating_sub(phrase.head.len()) {
                let end = at + phrase.head.len();
                if !words[at..end].iter().zip(&phrase.head).all(|(word, key)| same(word, key)) {
                    continue;
                }
                let pair = |pair: &[ChoiceWord]| {
                    matches!(
                        (pair[0].key.as_str(), pair[1].key.as_str()),
                        ("rather" | "other", "than")
                            | ("instead", "of")
                            | ("far", "from")
                            | ("anything", "but")
                            | ("wrong" | "incorrect", "to")
                    )
                };
                let is_none = |i: usize| {
                    words[i].key == "no" && words.get(i + 1).is_some_and(|next| self.is_noun(&next.raw))
                };
                if words[..at].iter().any(|word| self.negates(&word.key))
                    || (0..at).any(is_none)
                    || words[..at].windows(2).any(pair)
                    || self.denies(&words[end..])
                {
                    return true;
                }
            }
        }
        false
    }
}

/// A word of a clause.
struct ChoiceWord {
    key: String,
    /// The word as it was written, without punctuation.
    raw: String,
    /// Whether white space follows.
    ended: bool,
}

/// The words of `text` that are not empty when they are normalized. A hyphen separates words.
fn words(text: &str) -> impl Iterator<Item = ChoiceWord> {
    let mut at = 0;
    text.split([' ', '-', '‑', '\t', '\r', '\n']).filter_map(move |raw| {
        at += raw.len();
        let ended = text[at..].starts_with(char::is_whitespace);
        at += text[at..].chars().next().map_or(0, char::len_utf8);
        let key = normalize(raw);
        let raw = raw.trim_matches(|c: char| !c.is_alphanumeric()).to_string();
        (!key.is_empty()).then_some(ChoiceWord { key, raw, ended })
    })
}

/// The runs of letters and digits of the text.
fn alphanumeric(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(char::is_alphanumeric)?;
        at = text[start..].find(|c: char| !c.is_alphanumeric()).map_or(text.len(), |length| start + length);
        Some((start, at))
    })
}

/// Decoration that may stand behind a phrase.
const CLOSING: [char; 12] = ['*', '_', '`', '"', '”', '»', ')', ']', '}', '’', '\'', '“'];
const JOINS: [&str; 6] = ["or", "and", "nor", "vs", "versus", "but"];

static VERBS: List = LazyLock::new(|| list("verbs"));
static NO_NOUNS: List = LazyLock::new(|| list("no-nouns"));
static REJECTIONS: List = LazyLock::new(|| list("rejections"));
static DENIALS: List = LazyLock::new(|| list("denials"));
static NEGATIONS: LazyLock<HashSet<String>> =
    LazyLock::new(|| lists::words("negations").map(normalize).collect());

fn is_break(c: char) -> bool {
    matches!(c, ',' | '，' | '(' | '[' | '—' | '–' | '-')
}

fn is_clause_end(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | ';' | ':' | '!' | '?' | '(' | ')' | '[' | ']' | '—' | '–' | '\n' | '…' | '。' | '，'
    )
}

/// The text up to the line end, and whether there is one.
fn split_line(text: &str) -> (&str, bool) {
    text.split_once('\n').map_or((text, false), |(line, _)| (line, true))
}

/// The text without the commas, signs and words that join it to the one before, and whether there were
/// any but commas.
fn without_joins(text: &str) -> (&str, bool) {
    let mut text = text;
    let mut joined = false;
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if let Some(rest) = text.strip_prefix(['/', '|', '&', '+']) {
            (text, joined) = (rest, true);
            continue;
        }
        let end = text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len());
        if !JOINS.contains(&text[..end].to_lowercase().as_str()) {
            return (text, joined);
        }
        (text, joined) = (&text[end..], true);
    }
}

/// The key of the first line that has one, and whether that line has ended.
fn first_key(text: &str) -> (String, bool) {
    let mut keys = text.split_inclusive('\n').map(|line| (normalize(line), line.ends_with('\n')));
    keys.find(|(key, _)| !key.is_empty()).unwrap_or_default()
}

/// Whether a sentence or clause ends in `text` that does not end in `phrase`, with which it begins.
fn ends_before(text: &str, phrase: &str) -> bool {
    let text = text.trim_start_matches(is_opening);
    let ends = |sign: char| {
        !phrase.contains(sign)
            && text.match_indices(sign).any(|(at, _)| text[at + 1..].starts_with(char::is_whitespace))
    };
    ['.', '!', '?', ';', ':'].into_iter().any(ends)
}

/// The sign behind a phrase that makes it the number of a list item, if a word follows on its line.
fn sign_of_item(behind: &str) -> Option<char> {
    let (line, _) = split_line(behind);
    let line = line.trim_start_matches(['*', '_']);
    let sign = line.chars().next().filter(|c| matches!(c, '.' | ')' | ':'))?;
    let rest = line[1..].trim_start_matches(['*', '_']);
    (rest.starts_with(char::is_whitespace) && rest.contains(char::is_alphanumeric)).then_some(sign)
}

/// Whether the character may stand before a phrase.
fn is_opening(c: char) -> bool {
    c.is_whitespace() || "*_`\"'“”‘’([{«¿¡„—–:,;.".contains(c)
}

/// The end of the normalized `phrase` with which `text` begins.
fn raw_end(text: &str, phrase: &str) -> Option<usize> {
    let start = text.len() - text.trim_start_matches(is_opening).len();
    let most = 64 + 4 * phrase.len();
    for (at, c) in text[start..].char_indices().take(most) {
        let end = start + at + c.len_utf8();
        let more = text[end..].chars().next();
        if more.is_some_and(|c| ('\u{300}'..='\u{36f}').contains(&c) || c.is_alphanumeric()) {
            continue;
        }
        if normalize(&text[start..end]) == phrase {
            return Some(end);
        }
    }
    None
}

fn starts_with_words(key: &str, phrase: &str) -> bool {
    key.strip_prefix(phrase).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

fn contains_words(key: &str, phrase: &str) -> bool {
    mentions(key, phrase).next().is_some()
}

/// Where `phrase` is in `key` as whole words.
fn mentions(key: &str, phrase: &str) -> impl Iterator<Item = Range<usize>> {
    let ranges = key.match_indices(phrase).map(|(at, found)| at..at + found.len());
    ranges.filter(|range| {
        let (before, after) = (&key[..range.start], &key[range.end..]);
        (before.is_empty() || before.ends_with(' ')) && (after.is_empty() || after.starts_with(' '))
    })
}

/// Whether a phrase of one letter is also an English word.
fn is_article(phrase: &str) -> bool {
    matches!(phrase, "a" | "i")
}

fn is_letter(phrase: &str) -> bool {
    phrase.chars().count() == 1 && phrase.chars().all(char::is_alphabetic)
}

impl TryFrom<RawChoiceRule> for ChoiceRule {
    type Error = String;

    fn try_from(raw: RawChoiceRule) -> Result<Self, String> {
        if raw.choices.len() < 2 {
            return Err(format!("\"choices\" needs at least two, found {}", raw.choices.len()));
        }
        let mut phrases: Vec<Phrase> = Vec::new();
        let mut add = |text: &str, choice: usize| {
            let key = normalize(text);
            if key.is_empty() {
                return Err(format!("choice {text:?} has no letter, digit or symbol"));
            }
            match phrases.iter().find(|phrase| phrase.key == key) {
                Some(known) if known.choice == choice => Ok(()),
                Some(_) => Err(format!("choice {text:?} is there twice (case and punctuation do not count)")),
                None => {
                    let clause = text.split(is_clause_end).find(|clause| !normalize(clause).is_empty());
                    let head = words(clause.unwrap_or(text))
                        .flat_map(|word| word.key.split(' ').map(str::to_string).collect::<Vec<_>>());
                    let text = text.trim().to_string();
                    phrases.push(Phrase { text, head: head.collect(), key, choice });
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
        phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.key.len()));
        Ok(ChoiceRule { choices: raw.choices, aliases: raw.aliases, phrases })
    }
}

impl From<ChoiceRule> for RawChoiceRule {
    fn from(rule: ChoiceRule) -> RawChoiceRule {
        RawChoiceRule { choices: rule.choices, aliases: rule.aliases }
    }
}
