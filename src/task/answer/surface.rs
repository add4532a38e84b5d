//! The first sentence of a text, without what surrounds an answer: quotes, markdown, brackets behind it, the
//! full stop.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::super::normalize::{is_currency, takes_factorial};
use super::is_invisible;
use super::lists::{List, list};

/// The first sentence, without what surrounds an answer: quotes, markdown, brackets behind it, the
/// full stop.
pub(super) fn surface(candidate: &str) -> String {
    let text = &candidate[start_of(candidate, 0, candidate.len(), &pairs(candidate))..];
    let text = text.split('\n').next().unwrap_or_default();
    let text = &text[..sentence_end(text)];
    bare(text.split_once(" (").map_or(text, |(text, _)| text))
}

/// The text without decoration around it and markdown in it.
pub(super) fn bare(text: &str) -> String {
    let pairs = pairs(text);
    let (mut start, mut end) = (0, text.len());
    loop {
        start = start_of(text, start, end, &pairs);
        end = end_of(text, start, end, &pairs);
        match text[start..end].starts_with(OPENING) && partner(start, start, end, &pairs) == Some(end - 1) {
            true => (start, end) = (start + 1, end - 1),
            false => break,
        }
    }
    let words = text[start..end].split_whitespace().map(without_markdown);
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether the text begins with a sign that is part of it: `-x`, `-$5`, `–.5`.
pub(super) fn is_sign(text: &str) -> bool {
    let mut chars = text.chars();
    let (first, second) = (chars.next(), chars.next());
    let is_amount = match second {
        Some('.') => chars.next().is_some_and(char::is_numeric),
        Some(c) => c.is_numeric() || is_currency(c),
        None => false,
    };
    match first {
        Some('-' | '−') => is_amount || second.is_some_and(char::is_alphabetic),
        Some('–' | '‐' | '‑') => is_amount,
        _ => false,
    }
}

/// The word without `` ` `` and `**`, which is a power where it stands between two letters or digits.
fn without_markdown(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        let (bold, behind) = match rest.strip_prefix("**") {
            Some(behind) => (true, behind),
            None => (false, &rest[c.len_utf8()..]),
        };
        if bold && out.ends_with(char::is_alphanumeric) && behind.starts_with(char::is_alphanumeric) {
            out.push_str("**");
        } else if !bold && c != '`' {
            out.push(c);
        }
        rest = behind;
    }
    out
}

/// Where the text begins behind decoration and brackets without a partner.
fn start_of(text: &str, mut start: usize, end: usize, pairs: &Pairs) -> usize {
    while let Some(c) = text[start..end].chars().next() {
        let rest = &text[start + c.len_utf8()..end];
        if is_dash(c) && rest.starts_with(is_dash) {
            start = end - rest.trim_start_matches(is_dash).len();
            continue;
        }
        let kept = match c {
            '(' | '[' | '{' => partner(start, start, end, pairs).is_some(),
            c if is_dash(c) => is_sign(&text[start..end]),
            c => !is_decoration(c),
        };
        if kept {
            break;
        }
        start += c.len_utf8();
    }
    start
}

/// Where the text ends before decoration, brackets without a partner and a full stop.
fn end_of(text: &str, start: usize, mut end: usize, pairs: &Pairs) -> usize {
    while let Some(c) = text[start..end].chars().next_back() {
        let before = &text[start..end - c.len_utf8()];
        let kept = match c {
            '!' => takes_factorial(before.chars().rev()),
            ')' | ']' | '}' => partner(end - 1, start, end, pairs).is_some(),
            '#' => before.ends_with(char::is_alphanumeric),
            '.' => ends_in_initials(before),
            c => !is_decoration(c),
        };
        if kept {
            break;
        }
        end = start + if c == '!' { before.trim_end_matches('!').len() } else { before.len() };
    }
    end
}

/// Whether one or two letters behind a full stop are at the end, which are written with another: "D.C.".
fn ends_in_initials(text: &str) -> bool {
    let before = text.trim_end_matches(char::is_alphabetic);
    before.ends_with('.') && matches!(text[before.len()..].chars().count(), 1 | 2)
}

fn is_decoration(c: char) -> bool {
    c.is_whitespace()
        || is_invisible(c)
        || is_dash(c)
        || is_quote(c)
        || "*_#:;,!?()[]{}>=•…¿¡。，、".contains(c)
}

fn is_dash(c: char) -> bool {
    "-−‐‑–—―".contains(c)
}

fn is_quote(c: char) -> bool {
    "\"'`´“”„‟‘’‚‛«»‹›".contains(c)
}

const OPENING: [char; 3] = ['(', '[', '{'];

/// The offsets of brackets, with those of their partners.
type Pairs = HashMap<usize, usize>;

fn pairs(text: &str) -> Pairs {
    let mut pairs = Pairs::new();
    let mut open: [Vec<usize>; 3] = Default::default();
    for (at, c) in text.char_indices() {
        if let Some(kind) = OPENING.iter().position(|open| *open == c) {
            open[kind].push(at);
        } else if let Some(kind) = [')', ']', '}'].iter().position(|close| *close == c)
            && let Some(start) = open[kind].pop()
        {
            pairs.extend([(start, at), (at, start)]);
        }
    }
    pairs
}

/// The offset of the partner of the bracket at `at`, if it is between `start` and `end`.
fn partner(at: usize, start: usize, end: usize, pairs: &Pairs) -> Option<usize> {
    pairs.get(&at).copied().filter(|partner| (start..end).contains(partner))
}

/// Where the first sentence ends: at `.`, `!` or `?` before white space, unless the stop belongs
/// to an abbreviation (one or two letters: "St. Petersburg", "D. C."), to the number of a list item or to
/// a factorial.
fn sentence_end(text: &str) -> usize {
    let is_end = |at: usize, stop: char| {
        let (before, after) = (&text[..at], &text[at + stop.len_utf8()..]);
        let after = after.trim_start_matches(|c| is_quote(c) || "*_)]}".contains(c));
        if stop == '。' {
            return true;
        }
        if !after.starts_with(char::is_whitespace) || before.ends_with(char::is_whitespace) {
            return false;
        }
        match stop {
            '.' => {
                !(before.is_empty() || before.ends_with('.') || is_abbreviation(before) || is_item(before))
            }
            '!' => !takes_factorial(before.chars().rev()),
            _ => true,
        }
    };
    let mut stops = text.char_indices().filter(|(_, c)| matches!(c, '.' | '!' | '?' | '。'));
    stops.find(|(at, stop)| is_end(*at, *stop)).map_or(text.len(), |(at, _)| at)
}

/// Whether the text ends with one or two letters or a word of the list, which a full stop shortens.
fn is_abbreviation(text: &str) -> bool {
    static ABBREVIATIONS: List = LazyLock::new(|| list("abbreviations"));
    let start = text.trim_end_matches(char::is_alphabetic).len();
    let (before, word) = text.split_at(start);
    let is_short =
        matches!(word.chars().count(), 1 | 2) || ABBREVIATIONS.contains(word.to_lowercase().as_str());
    is_short && !before.ends_with(char::is_alphanumeric)
}

/// Whether the text is one or two digits, which number a list item.
fn is_item(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(char::is_numeric)
        && chars.next().is_none_or(char::is_numeric)
        && chars.next().is_none()
}
