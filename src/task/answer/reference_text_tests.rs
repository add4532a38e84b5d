//! A second implementation of the rules for texts, patterns, JSON and last lines, of normalization and of
//! which text is read. It was written from `rules.md` without regard to speed; numbers, dates and choices
//! are read by the other reference. Both must agree with the rules on generated completions.
//!
//! `SN_ANSWER_CASES` sets the number of completions, `SN_SHOWN` how many disagreements are printed.

use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use regex_syntax::hir::Look;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::AnswerRule;
use super::lists::words;
use super::reference_tests::{Reference, is_fence, n_cases, regex};
use super::tests::task;

/// An answer of the reference; choices, numbers and dates have no key of their own here.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    text: String,
    key: Option<String>,
}

/// Which text is read, and whether it follows a marker.
fn region(completion: &str, marker: Option<&str>) -> Option<(String, bool)> {
    let text = match completion.rsplit_once("</think>") {
        Some((_, rest)) => rest,
        None if completion.trim_start().starts_with("<think>") => return None,
        None => completion,
    };
    let Some(marker) = marker else { return Some((text.to_string(), false)) };
    let marker = regex::escape(marker.strip_suffix(':').unwrap());
    let found = regex(&format!(r"(?i){marker}([\s*_`]+is)?[\s*_`]*[:：]")).find_iter(text).last()?;
    Some((text[found.end()..].to_string(), true))
}

fn first_line(text: &str) -> Option<&str> {
    text.split('\n').map(str::trim).find(|line| !line.is_empty() && !is_fence(line))
}

// Normalization.

const QUOTES: &str = "\"'`´“”„‟‘’‚‛«»‹›";
const DASHES: &str = "-−‐‑–—―";
const BRACKETS: [(char, char); 3] = [('(', ')'), ('[', ']'), ('{', '}')];
const CURRENCIES: &str = "$€£¥₹¢₩₽₺₫฿";
const INVISIBLE: &str = r"[\u{ad}\u{61c}\u{feff}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}-\u{206f}]";
const SPELLINGS: [(char, &str); 12] = [
    ('ß', "ss"),
    ('æ', "ae"),
    ('œ', "oe"),
    ('þ', "th"),
    ('ø', "o"),
    ('đ', "d"),
    ('ð', "d"),
    ('ł', "l"),
    ('ħ', "h"),
    ('ı', "i"),
    ('ς', "σ"),
    ('⁄', "/"),
];

fn is_invisible(c: char) -> bool {
    regex(INVISIBLE).is_match(c.encode_utf8(&mut [0; 4]))
}

impl Reference {
    /// Compatibility characters are what they show, in lower case, without accents.
    fn plain_letters(&self, text: &str) -> String {
        let text: String = text.chars().filter(|c| !is_invisible(*c)).collect();
        let mut shown = String::new();
        // The kind of a numeral: a digit, raised, lowered, or a character that shows a number.
        let kind = |c: char| match c {
            c if "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ".contains(c) => 'r',
            c if "₀₁₂₃₄₅₆₇₈₉".contains(c) => 'l',
            c if self.digit(c).is_some() => 'd',
            c if c.is_numeric() => 'n',
            _ => ' ',
        };
        let mut before = ' ';
        for c in text.chars() {
            match (kind(before), kind(c)) {
                ('r', 'r') | ('l', 'l') | ('d', 'd') | (' ', 'l' | 'd' | 'n') | (_, ' ') => {}
                (_, 'r') => shown.push('^'),
                _ => shown.push(' '),
            }
            match (self.digit(c), c) {
                (Some(digit), _) => shown.push(digit),
                (None, '⁻') => shown.push('-'),
                (None, '…' | '‥') => shown.push(' '),
                (None, '™' | '℠' | '®' | '©') => {}
                _ => shown.push(c),
            }
            before = c;
        }
        let shown: String = shown.nfkd().collect();
        let without_accents = regex(r"(^|\s|\p{Alphabetic})[\u{300}-\u{36f}]+").replace_all(&shown, "$1");
        let lower: String = without_accents.chars().flat_map(char::to_lowercase).collect();
        // The dot of İ is an accent, too.
        let lower = regex(r"(\p{Alphabetic})[\u{300}-\u{36f}]+").replace_all(&lower, "$1");
        let spelling = |c: char| SPELLINGS.iter().find(|(special, _)| *special == c);
        lower.chars().map(|c| spelling(c).map_or(c.to_string(), |(_, ascii)| ascii.to_string())).collect()
    }

    /// `terms`: for the key of a text.
    fn normalized(&self, text: &str, terms: bool) -> String {
        let text = self.plain_letters(text);
        let chars: Vec<char> = text.chars().collect();
        let letter = |c: char| c.is_alphabetic();
        let digit = |c: char| c.is_ascii_digit();
        let word = |c: char| c.is_alphanumeric();
        let mut key = String::new();
        for (i, &c) in chars.iter().enumerate() {
            if word(c) {
                key.push(c);
                continue;
            }
            let before: String = chars[..i].iter().collect();
            let behind: String = chars[i + 1..].iter().collect();
            let last = before.chars().next_back().unwrap_or(' ');
            let next = behind.chars().next().unwrap_or(' ');
            let number = || regex(r"^[$€£¥₹¢₩₽₺₫฿]?\.?[0-9]").is_match(&behind);
            let own_letter = || regex(r"^\p{Alphabetic}(\P{Alphabetic}|$)").is_match(&behind);
            let between = || {
                let left = regex(r"(^|\P{Alphabetic})\p{Alphabetic}$|[0-9]$");
                let right = regex(r"^(\p{Alphabetic}(\P{Alphabetic}|$)|[0-9])");
                before.ends_with(char::is_whitespace) == behind.starts_with(char::is_whitespace)
                    && left.is_match(before.trim_end())
                    && right.is_match(behind.trim_start())
            };
            match c {
                '.' if digit(last) && digit(next) => key.push('.'),
                '.' if digit(next) && !word(last) && last != '.' => key.push_str("0."),
                '.' if (digit(last) && letter(next)) || (letter(last) && digit(next)) => key.push(' '),
                '!' if !word(next) && (digit(last) || (terms && factorial(&before))) => key.push('!'),
                '\'' | '’' | '‘' | 'ʼ' | 'ʻ' | '‛' | '`' if digit(last) && digit(next) => {
                    let group = regex(r"^[0-9]{3}([^0-9]|$)").is_match(&behind);
                    key.push_str(if group { "" } else { " " });
                }
                '\'' | '’' | '‘' | 'ʼ' | 'ʻ' | '‛' | '`' | '.' | '¿' | '¡' => {}
                '-' | '−' | '–' | '‐' if c == '-' && last == '^' && digit(next) => key.push('-'),
                '-' | '−' | '–' | '‐' if between() => key.push_str("\u{1}-\u{1}"),
                '-' | '−' | '–' | '‐' if !word(last) && (number() || (terms && own_letter())) => {
                    key.push('-')
                }
                '*' if terms && word(last) && regex(r"^\*[\p{Alphabetic}\p{N}]").is_match(&behind) => {
                    key.push('^')
                }
                '*' if terms && word(next) && regex(r"[\p{Alphabetic}\p{N}]\*$").is_match(&before) => {}
                '*' if terms && between() => key.push_str("\u{1}*\u{1}"),
                '#' if !word(last) && !word(next) => key.push(' '),
                c if "-−‐–—―_*,;:!?()[]{}\"“”„‟‚«»‹›。、".contains(c) || c.is_control() => {
                    key.push(' ')
                }
                c => key.push(c),
            }
        }
        let key = regex("\\s*\u{1}([-*])\u{1}\\s*").replace_all(&key, "$1").into_owned();
        key.split_whitespace().collect::<Vec<_>>().join(" ").nfc().collect()
    }

    fn normalized_words(&self, text: &str) -> String {
        let words: Vec<String> = text.split_whitespace().map(|word| self.normalized(word, false)).collect();
        words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Whether a `!` is part of the answer behind `before`.
fn factorial(before: &str) -> bool {
    regex(r"(?:\p{N}|\)|(?:^|\P{Alphabetic})\p{Alphabetic})!*$").is_match(before)
}

// Texts.

/// The options of a text, as they stand in the task.
struct Text<'a> {
    reference: &'a Reference,
    options: &'a Value,
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .map_or(Vec::new(), |all| all.iter().map(|text| text.as_str().unwrap().to_string()).collect())
}

/// Where the group ends: behind it, if its braces are balanced, or before the brace that closes the one
/// around it.
fn balanced(line: &str, start: usize, end: usize) -> Option<usize> {
    let group = &line[start..end];
    if group.matches('{').count() <= group.matches('}').count() {
        return Some(end);
    }
    let mut open = 0;
    for (at, c) in line[start..].char_indices() {
        open += i32::from(c == '{') - i32::from(c == '}');
        if open < 0 {
            return Some(start + at).filter(|at| *at >= end && at - end < 1000);
        }
    }
    None
}

/// All groups that are not blank and whose braces are balanced, of these matches.
fn groups_of<'t>(text: &str, matches: impl Iterator<Item = regex::Captures<'t>>) -> Vec<String> {
    let group = |captures: regex::Captures<'_>| {
        let group = captures.get(1)?;
        let end = balanced(text, group.start(), group.end())?;
        Some(text[group.start()..end].to_string()).filter(|group| !group.trim().is_empty())
    };
    matches.filter_map(group).collect()
}

fn groups(pattern: &str, text: &str) -> Vec<String> {
    groups_of(text, regex(pattern).captures_iter(text))
}

/// The groups of the line that begins at `start` and with which `text` ends.
fn groups_on_line(pattern: &str, text: &str, start: usize) -> Vec<String> {
    let (pattern, mut at) = (regex(pattern), start);
    let matches = std::iter::from_fn(|| {
        let found = pattern.captures_at(text, at).filter(|_| at <= text.len())?;
        let whole = found.get(0).unwrap();
        at = whole.end();
        if whole.is_empty() {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
        Some(found)
    });
    let matches: Vec<_> = matches.collect();
    groups_of(text, matches.into_iter())
}

/// One of the phrases that acknowledge a question, as an expression.
fn acknowledged() -> String {
    let phrases: Vec<String> = words("acknowledgements").map(|words| words.replace('-', "\\s+")).collect();
    format!("(?:{})", phrases.join("|"))
}

fn wrappers() -> String {
    words("wrappers").collect::<Vec<_>>().join("|")
}

fn is_wrapper(line: &str) -> bool {
    regex(&format!("(?i)^</?(?:{})>$", wrappers())).is_match(line.trim())
}

/// The first line that does not introduce another.
fn introduced(text: &str, says: &dyn Fn(&str) -> bool) -> Option<String> {
    let lines: Vec<&str> = text.split('\n').collect();
    let is_line = |at: &usize| !lines[*at].trim().is_empty() && !is_fence(lines[*at]);
    let all: Vec<usize> = (0..lines.len()).filter(is_line).collect();
    for (n, at) in all.iter().enumerate() {
        let line = lines[*at].trim();
        let Some(next) = all.get(n + 1).filter(|_| !says(line)) else { return Some(line.into()) };
        let alone = format!(r"(?i)^[\s*_]*{}[\s*_]*[!,][\s*_!,.]*$", acknowledged());
        let announces: Vec<&str> = words("announcements").collect();
        let announces = announces.join("|");
        let ending = format!(r"(?is)^(?:.*\P{{Alphabetic}})?(?:{announces})[\s*_]*[:：]+[\s*_]*$");
        let heading = format!(r"(?is)^#(?:.*\P{{Alphabetic}})?(?:{announces})[\s*_:：]*$");
        let rest = acknowledgement_off(line).map_or(line.to_string(), |(_, rest)| rest);
        let announced = !rest.contains(['.', '!', '?', '…', '。'])
            && (regex(&ending).is_match(&rest) || regex(&heading).is_match(&rest));
        if !announced && !is_wrapper(line) && !regex(&alone).is_match(line) {
            return Some(line.into());
        }
        if regex(r"^([-*+•–](\s|$)|[*_]*[0-9]+[.)]([\s*_]|$))").is_match(lines[*next].trim()) {
            return None;
        }
    }
    None
}

/// The words of an acknowledgement at the beginning, and what is behind it.
fn acknowledgement_off(text: &str) -> Option<(usize, String)> {
    let polite = format!(r"(?is)^([\s*_]*{}[\s*_]*([!,:])[\s*_]*\s[\s*_]*)([^\s*_].*)$", acknowledged());
    let found = regex(&polite).captures(text)?;
    let goes_on = &found[2] == "," && found[3].starts_with(char::is_lowercase);
    (!goes_on).then(|| (found[1].split_whitespace().count(), found[3].to_string()))
}

/// Without an acknowledgement at the beginning, of so many words, and what is between tags.
fn without_polite_words(text: &str) -> (String, usize) {
    let text = text.trim().to_string();
    let (left_out, mut text) = acknowledgement_off(&text).unwrap_or((0, text));
    while let Some(tag) = regex("(?s)^<([A-Za-z][A-Za-z0-9_-]*)>(.*)$").captures(&text) {
        let wraps = is_wrapper(&format!("<{}>", &tag[1]));
        let close = regex(&format!("(?i)</{}>", regex::escape(&tag[1])));
        let inside = match close.find(&tag[2]) {
            Some(found) => tag[2][..found.start()].trim().to_string(),
            None if wraps => tag[2].trim().to_string(),
            None => break,
        };
        if inside.is_empty() && !wraps {
            break;
        }
        text = inside;
    }
    if let Some(found) = regex(&format!("(?i)</(?:{})>", wrappers())).find(&text) {
        text = text[..found.start()].trim().to_string();
    }
    (text, left_out)
}

fn needs_the_end(pattern: &str) -> bool {
    regex_syntax::parse(pattern).unwrap().properties().look_set().contains(Look::End)
}

impl Text<'_> {
    fn patterns(&self) -> Vec<String> {
        strings(&self.options["patterns"])
    }

    fn articles(&self) -> Vec<String> {
        match self.options.get("articles") {
            Some(articles) => strings(articles),
            None => ["the", "a", "an"].map(String::from).to_vec(),
        }
    }

    fn read(&self, text: &str, marked: bool) -> Option<Found> {
        let on_lines: Vec<String> =
            self.patterns().into_iter().filter(|pattern| !needs_the_end(pattern)).collect();
        let on_line = |text: &str, start: usize| {
            on_lines.iter().find_map(|pattern| groups_on_line(pattern, text, start).into_iter().next())
        };
        let says = |line: &str| marked && on_line(line, 0).is_some();
        let first = introduced(text, &says);
        if marked && let Some(first) = first.as_deref() {
            if let Some(group) = on_line(first, 0) {
                return self.answer(&group);
            }
            if let Some(answer) = self.answer(first) {
                return Some(answer);
            }
        }
        let mut start = 0;
        for line in text.split('\n') {
            if let Some(group) = on_line(&text[..start + line.len()], start) {
                return self.answer(&group);
            }
            start += line.len() + 1;
        }
        if let Some(group) =
            self.patterns().iter().find_map(|pattern| groups(pattern, text).into_iter().next())
        {
            return self.answer(&group);
        }
        self.answer(&first?)
    }

    fn answer(&self, text: &str) -> Option<Found> {
        let (text, left_out) = without_polite_words(text);
        let text = self.inside(&self.clean(&self.sentence(&text)));
        if text.split_whitespace().count() > self.options["max_words"].as_u64().unwrap_or(8) as usize + 100 {
            return None;
        }
        let text = self.without_strip(&text);
        if text.split_whitespace().count() + left_out
            > self.options["max_words"].as_u64().unwrap_or(8) as usize
        {
            return None;
        }
        let key = self.key(&text)?;
        Some(Found { text, key: Some(key) })
    }

    /// The first sentence of the first line, up to brackets.
    fn sentence(&self, text: &str) -> String {
        let text: String = self.without_start(text.chars().collect()).into_iter().collect();
        let line: Vec<char> = text.split('\n').next().unwrap().chars().collect();
        let is_end = |at: usize| {
            let before = String::from_iter(&line[..at]);
            let behind = String::from_iter(&line[at + 1..]);
            let closed = behind.trim_start_matches(|c| QUOTES.contains(c) || "*_)]}".contains(c));
            let part = match line[at] {
                '。' => return true,
                '.' => {
                    let word = regex(r"(?:^|[^\p{Alphabetic}\p{N}])(\p{Alphabetic}+)$").captures(&before);
                    regex(r"(^|\.|(^|[^\p{Alphabetic}\p{N}])\p{Alphabetic}{1,2}|^\p{N}{1,2})$")
                        .is_match(&before)
                        || word.is_some_and(|word| {
                            words("abbreviations").any(|known| known == word[1].to_lowercase())
                        })
                }
                '!' => factorial(&before),
                '?' => false,
                _ => return false,
            };
            closed.starts_with(char::is_whitespace) && !before.ends_with(char::is_whitespace) && !part
        };
        let end = (0..line.len()).find(|at| is_end(*at)).unwrap_or(line.len());
        let sentence = String::from_iter(&line[..end]);
        sentence.split(" (").next().unwrap().to_string()
    }

    /// Without decoration at the beginning.
    fn without_start(&self, mut chars: Vec<char>) -> Vec<char> {
        while let Some(&first) = chars.first() {
            let dashes = chars.iter().take_while(|c| DASHES.contains(**c)).count();
            let behind: String = chars[1..].iter().collect();
            let number = regex(&format!(r"^(?:[\p{{N}}{CURRENCIES}]|\.\p{{N}})")).is_match(&behind);
            let part = match first {
                '-' | '−' => dashes == 1 && (number || behind.starts_with(char::is_alphabetic)),
                '–' | '‐' | '‑' => dashes == 1 && number,
                '(' | ')' | '[' | ']' | '{' | '}' => partner(&chars, 0).is_some(),
                _ => false,
            };
            if part || !is_decoration(first) {
                break;
            }
            chars.drain(..dashes.max(1));
        }
        chars
    }

    /// Without decoration on both sides.
    fn clean(&self, text: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        loop {
            chars = self.without_start(chars);
            let (Some(&first), Some(&last)) = (chars.first(), chars.last()) else { return String::new() };
            if "([{".contains(first) && partner(&chars, 0) == Some(chars.len() - 1) {
                chars.pop();
                chars.remove(0);
                continue;
            }
            let before: String = chars[..chars.len() - 1].iter().collect();
            let part = match last {
                '!' => factorial(&before),
                '#' => before.ends_with(char::is_alphanumeric),
                '.' => regex(r"\.\p{Alphabetic}{1,2}$").is_match(&before),
                '(' | ')' | '[' | ']' | '{' | '}' => partner(&chars, chars.len() - 1).is_some(),
                c => !is_decoration(c),
            };
            if part {
                return chars.into_iter().collect();
            }
            chars.pop();
        }
    }

    /// White space and markdown inside.
    fn inside(&self, text: &str) -> String {
        let mut text = text.to_string();
        let bold = regex(r"\*\*");
        let mut from = 0;
        while let Some(found) = bold.find_at(&text, from) {
            let power = text[..found.start()].replace('`', "").ends_with(char::is_alphanumeric)
                && text[found.end()..].starts_with(char::is_alphanumeric);
            if power {
                from = found.end();
            } else {
                from = found.start();
                text.replace_range(found.range(), "");
            }
        }
        text.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn without_strip(&self, text: &str) -> String {
        let words_of = |text: &str| self.reference.normalized_words(text);
        let articles: Vec<String> = match self.options["strip_articles"] == false {
            true => Vec::new(),
            false => self.articles().iter().map(|article| words_of(article)).collect(),
        };
        let is_article = |word: &str| articles.contains(&words_of(word));
        let phrases: Vec<String> =
            strings(&self.options["strip"]).iter().map(|phrase| words_of(phrase)).collect();
        let is_phrase = |words: &[&str]| {
            phrases.contains(&words_of(&words.join(" ")))
                || (words.len() > 1
                    && is_article(words[0])
                    && phrases.contains(&words_of(&words[1..].join(" "))))
        };
        let rest = |words: &[&str]| {
            let rest = self.inside(&self.clean(&words.join(" ")));
            let any = words.iter().any(|word| !words_of(word).is_empty() && !is_article(word));
            (any && !words_of(&rest).is_empty()).then_some(rest)
        };
        let mut text = text.to_string();
        loop {
            let whole = text.clone();
            let words: Vec<&str> = whole.split(' ').collect();
            let mut left = None;
            for n in 1..words.len() {
                if is_phrase(&words[..n]) {
                    left = rest(&words[n..]).or(left);
                }
            }
            if left.is_none() {
                for n in 1..words.len() {
                    if is_phrase(&words[words.len() - n..]) {
                        left = rest(&words[..words.len() - n]).or(left);
                    }
                }
            }
            match left {
                Some(left) => text = left,
                None => return text,
            }
        }
    }

    fn key(&self, text: &str) -> Option<String> {
        let key = self.own_key(text)?;
        let stripped = |text: &str| self.own_key(&self.without_strip(&self.inside(&self.clean(text))));
        for (spelling, others) in self.options["aliases"].as_object().into_iter().flatten() {
            if strings(others).iter().any(|other| stripped(other).as_ref() == Some(&key)) {
                return stripped(spelling);
            }
        }
        Some(key)
    }

    fn own_key(&self, text: &str) -> Option<String> {
        let normalized = self.reference.normalized(text, true);
        if self.reference.normalized(text, false).is_empty() {
            return None;
        }
        let key = match self.options["normalize"].as_str() {
            Some("exact") => text.to_string(),
            Some("letters") => normalized.chars().filter(|c| c.is_alphabetic()).collect(),
            _ => self.words_key(text, &normalized),
        };
        Some(key).filter(|key| !key.is_empty())
    }

    fn words_key(&self, text: &str, normalized: &str) -> String {
        let mut key = normalized.to_string();
        if self.options["strip_articles"] != false {
            for article in self.articles() {
                let article = self.reference.normalized(&article, false);
                if let Some(rest) = key.strip_prefix(&format!("{article} ")) {
                    key = rest.to_string();
                    break;
                }
            }
        }
        let key = regex(r"([0-9]) (?:%|percent|per cent)( |$)").replace_all(&key, "$1%$2").into_owned();
        let units: Vec<String> =
            words("units").map(str::to_lowercase).map(|unit| regex::escape(&unit)).collect();
        let lengths = words("lengths").collect::<Vec<_>>().join("|");
        let unit =
            format!(r"^([-.0-9]*[0-9])({}|(?:{lengths})\^[23]|[{CURRENCIES}°]|°[cf])$", units.join("|"));
        let key = key
            .split(' ')
            .map(|word| regex(&unit).replace(word, "$1 $2").into_owned())
            .collect::<Vec<_>>()
            .join(" ");
        let signed = text.starts_with(['-', '−', '–', '‐', '‑']) && !key.starts_with('-');
        // A `!` alone is no answer.
        if key.chars().all(|c| c == '!' || c == ' ') {
            return String::new();
        }
        if signed { format!("-{key}") } else { key }
    }
}

fn is_decoration(c: char) -> bool {
    c.is_whitespace()
        || is_invisible(c)
        || QUOTES.contains(c)
        || DASHES.contains(c)
        || "*_#:;,!?>=•…¿¡。，、()[]{}".contains(c)
}

/// The bracket that belongs to the one at `at`.
fn partner(chars: &[char], at: usize) -> Option<usize> {
    let (open, close) = *BRACKETS.iter().find(|(open, close)| chars[at] == *open || chars[at] == *close)?;
    let mut stack = Vec::new();
    for (i, &c) in chars.iter().enumerate() {
        if c == open {
            stack.push(i);
        } else if c == close
            && let Some(start) = stack.pop()
            && (start == at || i == at)
        {
            return Some(start + i - at);
        }
    }
    None
}

// JSON.

/// Why a text is no JSON value.
enum NoValue {
    /// It ends before the value does.
    Cut,
    Wrong,
}

/// What half of a surrogate pair is here: a text with it cannot be read.
const HALF: char = '\u{2}';

struct Parser<'t> {
    chars: &'t [char],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Result<char, NoValue> {
        self.chars.get(self.at).copied().ok_or(NoValue::Cut)
    }

    fn next(&mut self) -> Result<char, NoValue> {
        let c = self.peek()?;
        self.at += 1;
        Ok(c)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Ok(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    /// Numbers are kept as they are written, in a text that begins with `\u{1}`.
    fn value(&mut self) -> Result<Value, NoValue> {
        self.space();
        match self.peek()? {
            '{' => {
                self.at += 1;
                let mut all = serde_json::Map::new();
                self.space();
                if self.peek()? == '}' {
                    self.at += 1;
                    return Ok(Value::Object(all));
                }
                loop {
                    self.space();
                    let name = self.string()?;
                    self.space();
                    if self.next()? != ':' {
                        return Err(NoValue::Wrong);
                    }
                    let value = self.value()?;
                    all.insert(name, value);
                    self.space();
                    match self.next()? {
                        ',' => {}
                        '}' => return Ok(Value::Object(all)),
                        _ => return Err(NoValue::Wrong),
                    }
                }
            }
            '[' => {
                self.at += 1;
                let mut all = Vec::new();
                self.space();
                if self.peek()? == ']' {
                    self.at += 1;
                    return Ok(Value::Array(all));
                }
                loop {
                    all.push(self.value()?);
                    self.space();
                    match self.next()? {
                        ',' => {}
                        ']' => return Ok(Value::Array(all)),
                        _ => return Err(NoValue::Wrong),
                    }
                }
            }
            '"' => self.string().map(Value::String),
            't' => self.word("true", Value::Bool(true)),
            'f' => self.word("false", Value::Bool(false)),
            'n' => self.word("null", Value::Null),
            '-' | '0'..='9' => {
                let start = self.at;
                if self.peek()? == '-' {
                    self.at += 1;
                }
                match self.peek()? {
                    '0' => self.at += 1,
                    _ => self.digits()?,
                }
                if self.peek()? == '.' {
                    self.at += 1;
                    self.digits()?;
                }
                if matches!(self.peek()?, 'e' | 'E') {
                    self.at += 1;
                    if matches!(self.peek()?, '+' | '-') {
                        self.at += 1;
                    }
                    self.digits()?;
                }
                Ok(Value::String(format!("\u{1}{}", String::from_iter(&self.chars[start..self.at]))))
            }
            _ => Err(NoValue::Wrong),
        }
    }

    fn digits(&mut self) -> Result<(), NoValue> {
        if !self.peek()?.is_ascii_digit() {
            return Err(NoValue::Wrong);
        }
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, NoValue> {
        for c in word.chars() {
            if self.next()? != c {
                return Err(NoValue::Wrong);
            }
        }
        Ok(value)
    }

    fn string(&mut self) -> Result<String, NoValue> {
        if self.next()? != '"' {
            return Err(NoValue::Wrong);
        }
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Ok(text),
                '\\' => text.push(match self.next()? {
                    '"' => '"',
                    '\\' => '\\',
                    '/' => '/',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'u' => {
                        let high = self.hex()?;
                        let mut code = high;
                        if (0xd800..0xdc00).contains(&high) {
                            let start = self.at;
                            let low = match (self.next()?, self.next()?) {
                                ('\\', 'u') => self.hex()?,
                                _ => 0,
                            };
                            match low {
                                0xdc00..0xe000 => code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                                _ => self.at = start,
                            }
                        }
                        char::from_u32(code).unwrap_or(HALF)
                    }
                    _ => return Err(NoValue::Wrong),
                }),
                c if c < ' ' => return Err(NoValue::Wrong),
                c => text.push(c),
            }
        }
    }

    fn hex(&mut self) -> Result<u32, NoValue> {
        let mut code = 0;
        for _ in 0..4 {
            code = code * 16 + self.next()?.to_digit(16).ok_or(NoValue::Wrong)?;
        }
        Ok(code)
    }
}

/// The outermost objects of a text, and whether the text begins with the first of them.
fn objects(text: &str) -> (Vec<Value>, bool) {
    let chars: Vec<char> = text.chars().collect();
    let (mut all, mut begins, mut at) = (Vec::new(), false, 0);
    while at < chars.len() {
        if chars[at] == '{' {
            let mut parser = Parser { chars: &chars, at };
            match parser.value() {
                Ok(value) => {
                    let before = String::from_iter(&chars[..at]);
                    begins |= all.is_empty() && (before.trim().is_empty() || is_fence(&before));
                    all.push(value);
                    at = parser.at;
                    continue;
                }
                Err(NoValue::Cut) => break,
                Err(NoValue::Wrong) => {}
            }
        }
        at += 1;
    }
    (all, begins)
}

fn field<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    let mut value = object;
    for part in path.split('.') {
        value = match value {
            Value::Object(all) => all.get(part)?,
            Value::Array(all) => all.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

// All rules.

fn is_remark(line: &str) -> bool {
    let line = line.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    regex(r"^(?:(?:note|explanation)[\s*_`]*[:：]|note\s+that\b|p\.s\.)").is_match(&line)
}

fn is_ruler(line: &str) -> bool {
    regex(r"^\s*[-*_=~]{3,}\s*$").is_match(line)
}

fn read(reference: &Reference, rule: &Value, text: &str, marked: bool) -> Option<Found> {
    let bare = |text: Option<String>| text.map(|text| Found { text, key: None });
    let a_text = Value::Object(serde_json::Map::from_iter([("kind".into(), "text".into())]));
    let reading = rule.get("as").unwrap_or(&a_text);
    match rule["kind"].as_str().unwrap() {
        "number" => {
            bare(reference.number(text, marked, rule["decimal"] == "comma", rule["fractions"] == true))
        }
        "date" => bare(reference.date(text, marked, rule["order"].as_str())),
        "choice" => {
            let choices = strings(&rule["choices"]);
            let all: Vec<_> = choices.iter().enumerate().map(|(at, choice)| (choice.as_str(), at)).collect();
            bare(reference.choice(text, marked, &all).map(|at| choices[at].clone()))
        }
        "text" => Text { reference, options: rule }.read(text, marked),
        "pattern" => {
            let pattern = rule["pattern"].as_str().unwrap();
            let first = first_line(text).filter(|_| marked).and_then(|line| groups(pattern, line).pop());
            let found = first.or_else(|| groups(pattern, text).pop())?;
            read(reference, reading, &found, true)
        }
        "json" => {
            let path = rule["field"].as_str().unwrap();
            let (all, begins) = objects(text);
            let found = match begins || marked {
                true => all.iter().find_map(|object| field(object, path))?,
                false => field(all.last()?, path)?,
            };
            let found = match found {
                Value::String(text) => text.strip_prefix('\u{1}').unwrap_or(text).to_string(),
                Value::Bool(value) => value.to_string(),
                _ => return None,
            };
            if found.contains(HALF) {
                return None;
            }
            read(reference, reading, &found, true)
        }
        _ => {
            let mut lines = text.split('\n');
            let answers = |line: &&str| {
                !line.trim().is_empty()
                    && !is_fence(line)
                    && !is_wrapper(line)
                    && !is_ruler(line)
                    && !is_remark(line)
            };
            let found = if marked { first_line(text)? } else { lines.rfind(answers)? };
            read(reference, reading, found, marked)
        }
    }
}

// Completions.

const RULES: &[&str] = &[
    r#"{"kind": "text"}"#,
    r#"{"kind": "text", "max_words": 3, "strip_articles": false}"#,
    r#"{"kind": "text", "strip": ["city of", "Republic", "County", "é"], "aliases": {"USA": ["United States", "America"], "Köln": ["Cologne"], "5 kg": ["five kilos"]}}"#,
    r#"{"kind": "text", "articles": ["le", "la", "les", "l'"], "strip": ["ville de"]}"#,
    r#"{"kind": "text", "normalize": "letters"}"#,
    r#"{"kind": "text", "normalize": "exact", "strip": ["city of"]}"#,
    r#"{"kind": "text", "patterns": ["(?i)\\bcapital is ([^.,;\\n]+)", "(?i)\\bit is ([^.,;\\n]+)"]}"#,
    r#"{"kind": "text", "patterns": ["(?s)answer\\s+(\\w+)", "(\\w+)$"]}"#,
    r#"{"kind": "text", "patterns": ["boxed\\{([^}]*)\\}", "\\*\\*([^*]*)\\*\\*"], "max_words": 4}"#,
    r#"{"kind": "text", "patterns": ["^(\\w+) is", "\\bis( *)(?:not)?", "x*()", "(?m)^- (.*)$"]}"#,
    r#"{"kind": "pattern", "pattern": "boxed[{]([^}]*)[}]"}"#,
    r#"{"kind": "pattern", "pattern": "boxed[{]([^}]*)[}]", "as": {"kind": "number", "fractions": true}}"#,
    r#"{"kind": "pattern", "pattern": "(?i)is (\\S+)", "as": {"kind": "choice", "choices": ["A", "B", "tie"]}}"#,
    r#"{"kind": "pattern", "pattern": "(?m)^(.*)$", "as": {"kind": "text", "strip": ["city of"]}}"#,
    r#"{"kind": "json", "field": "a"}"#,
    r#"{"kind": "json", "field": "a.b", "as": {"kind": "number"}}"#,
    r#"{"kind": "json", "field": "list.1", "as": {"kind": "choice", "choices": ["yes", "no", "true"]}}"#,
    r#"{"kind": "json", "field": "a", "as": {"kind": "pattern", "pattern": "boxed[{]([^}]*)[}]"}}"#,
    r#"{"kind": "last_line"}"#,
    r#"{"kind": "last_line", "as": {"kind": "number"}}"#,
    r#"{"kind": "last_line", "as": {"kind": "text", "patterns": ["is (.+)"], "strip": ["the"]}}"#,
    r#"{"kind": "last_line", "as": {"kind": "json", "field": "a", "as": {"kind": "date"}}}"#,
];

const NAMES: &[&str] = &[
    "Paris",
    "Rome",
    "Port-au-Prince",
    "St. Petersburg",
    "N'Djamena",
    "Łódź",
    "Köln",
    "Cologne",
    "São Paulo",
    "The Hague",
    "the city of Paris",
    "City of",
    "Orange County",
    "County of Kent",
    "the Republic",
    "la ville de Lyon",
    "La France",
    "l'Avenir",
    "Washington, D.C.",
    "U.S.",
    "United States",
    "America",
    "USA",
    "Côte d’Ivoire",
    "Москва",
    "Йошкар-Ола",
    "Ёлка",
    "Αθήνα",
    "ΚΟΣΜΟΣ",
    "κόσμος",
    "İstanbul",
    "ISTANBUL",
    "ılık",
    "Straße",
    "STRASSE",
    "Ærø",
    "東京",
    "東京。",
    "서울",
    "दिल्ली",
    "القاهرة",
    "กรุงเทพ",
    "é",
    "e\u{301}",
    "cafe\u{301}s",
    "Ａｂｃ",
    "ﬁsh",
    "oﬃce",
    "№ 5",
    "Dr. No",
    "Mr. Smith",
    "x",
    "n",
    "A",
    "B",
    "b",
    "yes",
    "no",
    "true",
    "tie",
    "C#",
    "C++",
    "F#",
    "H₂O",
    "CO₂",
    "x²+1",
    "10²",
    "2½",
    "½",
    "①",
    "1①",
    "5㎏",
    "5kg",
    "5 kg",
    "5 KG",
    "five kilos",
    "50%",
    "50 %",
    "50 percent",
    "50 per cent",
    "3.5",
    ".5",
    "-.5",
    "5.",
    "5!",
    "n!",
    "-x",
    "−3",
    "-$5",
    "$5",
    "€5",
    "5€",
    "5 °C",
    "5°C",
    "5m²",
    "5 m^2",
    "10m",
    "1,000",
    "1,2",
    "1 000",
    "1'000",
    "12:30",
    "1-2",
    "x - y",
    "(n - 1)!",
    "(n-1)",
    "2n!",
    "5!!",
    "2**3",
    "2**n",
    "x*y",
    "2 * 3",
    "①②",
    "½5",
    "10²3",
    "101₂",
    "log₂8",
    "x₁",
    "x ≠ 5",
    "x = 5",
    "0.3\u{305}",
    "5'6\"",
    "x = -y",
    "x = y",
    "e^(-x)",
    "–5",
    "‐5",
    "–x",
    "$.5",
    "-$.5",
    "A.5",
    "Congo, the Republic",
    "The Republic of the County",
    "the County the",
    "Rock 'n' Roll",
    "Plan B! Yes",
    "Rome.” It is",
    "Rome.) It",
    "東京。それは",
    "5.kg",
    "50 percent off",
    "5 €",
    "-5 kg",
    "3-5 km²",
    "5,kg",
    "xⁿ",
    "10⁻³",
    "Ⅳ",
    "5Ⅳ",
    "⒈",
    "x-y",
    "5 - 3",
    "5 -3",
    "2x-3",
    "COVID-19",
    "A-4",
    "4-door",
    "f(x)",
    "(x+1)(x-1)",
    "2(3)",
    "2*3",
    "x_1",
    "a/b",
    "1/2",
    "٤٢",
    "४२",
    "４２",
    "𝟓",
    "⑳",
    "5\u{2009}000",
    "5\u{a0}kg",
    "2026-09-20",
    "September 20, 2026",
    "20 Sept 2026",
    "\\frac{1}{2}",
    "\\text{Rome}",
    "10^{3}",
    "{x, y}",
    "[1, 2]",
    "{{a}}",
    "\\{a\\}",
    "Answer",
    "capital",
    "the",
    "a",
    "an apple",
    "an",
    "of",
    "Rock & Roll",
    "AT&T",
    "a < b",
    "a > b",
    "x = 5",
    "#5",
    "No. 5",
    "™",
    "Coke®",
    "e.g. this",
    "Jr.",
    "...",
    "…",
    "-",
    "--",
    "!",
    "?",
];

const MARKS: &[&str] = &[
    "**", "*", "_", "__", "`", "\"", "'", "“", "”", "«", "»", "‘", "’", "„", "(", ")", "[", "]", "{", "}",
    "<", ">", "#", "##", "-", "--", "–", "—", "−", "=", ":", ";", ",", ".", "..", "...", "!", "?", "!!", "…",
    "~", "|", "·", "•", "\\", "/", "+", "%", "$", "^", "&", "@", "\u{200b}", "\u{ad}", "\u{feff}", "\u{301}",
    "\u{a0}", "\t", "\r", " ", "  ", "\u{2028}", "\u{3000}", "´", "‹", "›", "¿", "¡", "〈", "（", "）", "。",
    "，", "™", "½", "²", "①", "°", "🙂",
];

const STARTS: &[&str] = &[
    "Answer: ",
    "**Answer:** ",
    "answer: ",
    "ANSWER**: ",
    "Answer:",
    "Answer :",
    "The answer is ",
    "The answer\n",
    "It is ",
    "is ",
    "The capital is ",
    "The capital is\n",
    "So the capital is ",
    "Final answer: ",
    "- ",
    "* ",
    "1. ",
    "> ",
    "# ",
    "Note: ",
    "Note that ",
    "(Note that ",
    "**Note:** ",
    "Explanation: ",
    "P.S. ",
    "Notes: ",
    "NOTE: ",
    "note ",
    "\\boxed{",
    "\\( \\boxed{",
    "**",
    "\"",
    "not ",
    "Answer: \\boxed{",
    "Answer: {\"a\": \"",
    "Sure! ",
    "Of course, ",
    "**Okay**, ",
    "Understood.",
    "<answer>",
    "<b>",
];

const ENDS: &[&str] = &[
    "",
    ".",
    "!",
    "?",
    ". It is old.",
    " (France)",
    " (in\nFrance)",
    "}",
    "}}",
    "}.",
    "**",
    "**.",
    "\"",
    ".\"",
    "\".",
    ", of course",
    "; yes",
    " - it is",
    " — it is",
    ":",
    "...",
    "…",
    ".)",
    ")",
    "\r",
    " ",
    "! Yes.",
    "? No.",
    "`",
    "'s",
    " is right",
    "\n",
    "\"}",
    "\"}}",
    "} and \\boxed{7}",
    "</answer>",
    "</b>.",
    ":\n",
    ":**\n",
];

const LINES: &[&str] = &[
    "**Explanation**: x",
    "explanation :",
    "Answer\n:",
    "Answer：x",
    "~~~",
    "-=-",
    "```",
    "```json",
    "````",
    "``` rust",
    "```c++",
    "``",
    "---",
    "***",
    "___",
    "===",
    "- - -",
    "--",
    "",
    " ",
    "\u{a0}",
    "Note: it is old.",
    "(Note that it is old.)",
    "**Note:** x",
    "**Note**: x",
    "> Note: x",
    "Explanation: it is.",
    "P.S. x",
    "p.s. x",
    "Notes on it",
    "Noted: x",
    "Note thatch",
    "<think>",
    "</think>",
    "Let me see.",
    "Sure!",
    "**Certainly**:",
    "Here it is:",
    "The answer is:",
    "**The capital is**:",
    "# Answer",
    "Paris. Here it is:",
    "**1. x**",
    "1.",
    "\\[",
    "$$",
    "~~~ x",
    "```c++",
    "<answer>",
    "</answer>",
    "- a",
    "1. x",
    "So",
    "…",
    ".",
    "{",
    "}",
];

/// Something with `chance` of a hundred.
fn maybe<'t>(rng: &mut ChaCha8Rng, chance: u32, all: &[&'t str]) -> &'t str {
    if rng.random_ratio(chance, 100) { all.choose(rng).unwrap() } else { "" }
}

/// A text as it may stand for an answer.
fn an_answer(rng: &mut ChaCha8Rng) -> String {
    let mut text = NAMES.choose(rng).unwrap().to_string();
    while rng.random_ratio(1, 4) {
        let gap = [" ", " ", "", ", ", " and ", "-", " - ", ". ", " ("].choose(rng).unwrap();
        text = format!("{text}{gap}{}", NAMES.choose(rng).unwrap());
    }
    for _ in 0..2 {
        let (before, behind) = (maybe(rng, 12, MARKS), maybe(rng, 12, MARKS));
        text = format!("{before}{text}{behind}");
    }
    if rng.random_ratio(1, 6) {
        let (open, close) = *[
            ("(", ")"),
            ("[", "]"),
            ("{", "}"),
            ("**", "**"),
            ("\"", "\""),
            ("`", "`"),
            ("“", "”"),
            ("\\boxed{", "}"),
        ]
        .choose(rng)
        .unwrap();
        text = format!("{open}{text}{close}");
    }
    text
}

/// A JSON value, with braces and quotes in its strings, sometimes with the fields that the rules ask for.
fn a_value(rng: &mut ChaCha8Rng, depth: u32) -> String {
    let space = maybe(rng, 30, &[" ", "\n", "\n  ", "\t"]);
    match rng.random_range(if depth > 2 { 0 } else { -6 }..10) {
        -6..=-2 => {
            let n = rng.random_range(0..4);
            let fields: Vec<String> = (0..n)
                .map(|_| {
                    let name = ["a", "a", "b", "list", "1", "x{y"].choose(rng).unwrap();
                    format!("\"{name}\":{space}{}", a_value(rng, depth + 1))
                })
                .collect();
            format!("{{{space}{}{space}}}", fields.join(", "))
        }
        -1 => {
            let items: Vec<String> = (0..rng.random_range(0..3)).map(|_| a_value(rng, depth + 1)).collect();
            format!("[{}]", items.join(","))
        }
        0 => ["true", "false", "null", "yes"].choose(rng).unwrap().to_string(),
        1..3 => [
            "1",
            "-7",
            "12.0",
            "1.5e3",
            "0",
            "007",
            "1.",
            ".5",
            "12345678901234567890123",
            "1e999",
            "-0.0",
            "0.1000000000000000055",
        ]
        .choose(rng)
        .unwrap()
        .to_string(),
        3 => [
            "\"{\"",
            "\"}\"",
            "\"{\\\"a\\\": 1}\"",
            "\"\\\\\"",
            "\"\\u0041\"",
            "\"\\ud83d\\ude42\"",
            "\"\\ud83d\"",
            "\"a\\nb\"",
            "\"\"",
            "\" \"",
            "'x'",
            "\"\t\"",
        ]
        .choose(rng)
        .unwrap()
        .to_string(),
        _ => serde_json::to_string(&an_answer(rng)).unwrap(),
    }
}

/// An object with the field `a`, `a.b` or `list`.
fn an_object(rng: &mut ChaCha8Rng) -> String {
    let value = a_value(rng, 1);
    let field = match rng.random_range(0..4) {
        0 => format!("\"a\": {{\"b\": {value}}}"),
        1 => format!("\"list\": [{}, {value}]", a_value(rng, 2)),
        _ => format!("\"a\": {value}"),
    };
    match rng.random_range(0..4) {
        0 => format!("{{\"b\": {}, {field}}}", a_value(rng, 1)),
        1 => format!("{{{field}, \"b\": {}}}", a_value(rng, 1)),
        2 => format!("{{\n  {field}\n}}"),
        _ => format!("{{{field}}}"),
    }
}

fn a_line(rng: &mut ChaCha8Rng) -> String {
    match rng.random_range(0..12) {
        0..2 => LINES.choose(rng).unwrap().to_string(),
        2 => an_answer(rng),
        3 => {
            let (before, behind) = (maybe(rng, 30, STARTS), maybe(rng, 30, ENDS));
            format!("{before}{}{behind}", an_object(rng))
        }
        4 => format!("{}{}", maybe(rng, 50, STARTS), a_value(rng, 0)),
        _ => {
            let (start, answer) = (maybe(rng, 70, STARTS), an_answer(rng));
            let end = ENDS.choose(rng).unwrap();
            format!("{start}{answer}{end}")
        }
    }
}

/// An answer of the kind that the rule reads, where it looks for it.
fn as_the_rule_wants(rng: &mut ChaCha8Rng, rule: &str) -> String {
    let kinds: [(&str, &[&str]); 4] = [
        ("\"choice\"", &["A", "B", "yes", "no", "tie", "A or B", "not A", "yes, it is"]),
        ("\"date\"", &["2026-09-20", "September 20, 2026", "20 Sept 2026", "3/4/2026", "20/9/2026"]),
        ("\"number\"", &["7", "-7", "1,000", "3.5", "1/2", "12:30", "7 apples", "= 8", "2 3"]),
        ("\"text\"", &["Rome", "the city of Rome", "5 kg"]),
    ];
    let kind = kinds.iter().find(|(kind, _)| rule.contains(kind));
    let mut answer = match kind {
        Some((_, all)) if rng.random_ratio(5, 6) => all.choose(rng).unwrap().to_string(),
        _ => an_answer(rng),
    };
    if rule.contains("boxed") {
        answer = format!("\\boxed{{{answer}}}");
    }
    if rule.contains("(?i)is ") || rule.contains("is (.+)") {
        answer = format!("It is {answer}");
    }
    if !rule.contains("\"json\"") {
        return format!("{}{answer}{}", maybe(rng, 30, STARTS), maybe(rng, 30, ENDS));
    }
    let value = match rng.random_ratio(1, 6) {
        true => answer.replace(['"', '\\', '\n', '\r', '\t'], ""),
        false => serde_json::to_string(&answer).unwrap(),
    };
    let object = match rule {
        rule if rule.contains("a.b") => format!("{{\"a\": {{\"b\": {value}}}}}"),
        rule if rule.contains("list.1") => format!("{{\"list\": [{}, {value}]}}", a_value(rng, 2)),
        _ => format!("{{\"b\": {}, \"a\": {value}}}", a_value(rng, 1)),
    };
    format!("{}{object}{}", maybe(rng, 20, STARTS), maybe(rng, 20, ENDS))
}

/// A completion: some lines, sometimes with a thought, a change of one character, or cut off.
fn completion(rng: &mut ChaCha8Rng, rule: &str) -> String {
    let n = *[1, 1, 1, 2, 2, 3, 4, 6].choose(rng).unwrap();
    let mut lines: Vec<String> = (0..n).map(|_| a_line(rng)).collect();
    if rng.random_ratio(1, 2) {
        *lines.choose_mut(rng).unwrap() = as_the_rule_wants(rng, rule);
    }
    let mut text = lines.join(if rng.random_ratio(1, 10) { "\r\n" } else { "\n" });
    if rng.random_ratio(1, 20) {
        text = format!("<think>{}</think>{text}", a_line(rng));
    }
    let n_changes = if rng.random_ratio(1, 4) { rng.random_range(1..3) } else { 0 };
    for _ in 0..n_changes {
        let mut chars: Vec<char> = text.chars().collect();
        let at = rng.random_range(0..=chars.len());
        match rng.random_range(0..4) {
            0 if at < chars.len() => drop(chars.remove(at)),
            1 if at > 0 => chars.insert(at, chars[at - 1]),
            2 => chars.truncate(at),
            _ => {
                for c in MARKS.choose(rng).unwrap().chars().rev() {
                    chars.insert(at, c);
                }
            }
        }
        text = String::from_iter(chars);
    }
    text
}

#[test]
fn the_rules_agree_with_a_reference_of_texts_patterns_json_and_last_lines() {
    let reference = Reference::new();
    let rules: Vec<(&str, Value)> =
        RULES.iter().map(|json| (*json, serde_json::from_str(json).unwrap())).collect();
    let tasks: Vec<_> = RULES.iter().map(|json| [task(json, None), task(json, Some("Answer:"))]).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(n_cases(20_000) as u64);
    let mut wrong = Vec::new();
    let mut n_read = vec![0; RULES.len()];
    for _ in 0..n_cases(20_000) {
        let which = rng.random_range(0..RULES.len());
        let mut text = completion(&mut rng, RULES[which]);
        let marked = rng.random_ratio(1, 3);
        if marked && !rng.random_ratio(1, 8) {
            text = format!(
                "{}Answer: {text}",
                maybe(&mut rng, 30, &["So ", "**", "x\n", "Answer: 1\n", "<think>", "</think>"])
            );
        }
        let (json, rule) = &rules[which];
        let marker = marked.then_some("Answer:");
        let ours = tasks[which][usize::from(marked)].read_reasoned(&text, false);
        let theirs = region(&text, marker).and_then(|(text, marked)| read(&reference, rule, &text, marked));
        n_read[which] += usize::from(ours.is_some());
        let same = match (&ours, &theirs) {
            (Some(ours), Some(theirs)) => {
                ours.text == theirs.text && theirs.key.as_ref().is_none_or(|key| *key == ours.key)
            }
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        if !same {
            wrong.push(format!("{json} {marked} {text:?}:\n    {ours:?}\n    the reference {theirs:?}"));
        }
    }
    wrong.sort_by_key(String::len);
    let shown = &wrong[..wrong.len().min(n_shown())];
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), shown.join("\n"));
    assert!(n_read.iter().all(|n_read| n_read * 400 > n_cases(20_000)), "too few were read: {n_read:?}");
}

fn n_shown() -> usize {
    std::env::var("SN_SHOWN").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

#[test]
fn a_complete_answer_of_a_text_stays_the_same_whatever_follows() {
    let rules: Vec<AnswerRule> = RULES.iter().map(|json| serde_json::from_str(json).unwrap()).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut wrong = Vec::new();
    let mut n_complete = 0;
    for _ in 0..n_cases(20_000) {
        let (which, marked) = (rng.random_range(0..rules.len()), rng.random());
        let text = completion(&mut rng, RULES[which]);
        let rule = rules[which].rule();
        let ends: Vec<usize> = (0..=text.len()).filter(|end| text.is_char_boundary(*end)).collect();
        let end = *ends.choose(&mut rng).unwrap();
        let whole = format!("{text}{}", completion(&mut rng, RULES[which]));
        for end in [end, text.len()] {
            if rule.complete(&text[..end], marked) {
                n_complete += 1;
                let (early, late) = (rule.extract(&text[..end], marked), rule.extract(&whole, marked));
                if early.is_none() || early != late {
                    wrong.push(format!(
                        "{} {marked} {:?} of {whole:?}: {early:?}, then {late:?}",
                        RULES[which],
                        &text[..end]
                    ));
                }
            }
        }
    }
    wrong.sort_by_key(String::len);
    assert!(wrong.is_empty(), "{} change:\n{}", wrong.len(), wrong[..wrong.len().min(n_shown())].join("\n"));
    assert!(n_complete * 20 > n_cases(20_000), "only {n_complete} were complete");
}
