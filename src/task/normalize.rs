//! Normalization of answers: two answers are the same if their keys are equal.
//!
//! A key must not depend on what varies between samples at random: case, quotes, markdown, a full stop,
//! a missing accent. It must still distinguish different answers: `3.5` and `35`, `-2` and `2`, `C++`
//! and `C`. Only Latin, Greek and Cyrillic accents are removed; in other scripts a combining mark is a
//! letter.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use super::answer::{digit, is_invisible};

/// The key of an answer: lower case, without accents, quotes, markdown and sentence punctuation, with
/// single spaces between words. Empty if nothing is left.
pub(crate) fn normalize(text: &str) -> String {
    key(text, false)
}

/// As [`normalize`], for texts that may be terms: `-x`, `n!` and `2*x` keep their signs.
pub(super) fn normalize_terms(text: &str) -> String {
    key(text, true)
}

fn key(text: &str, terms: bool) -> String {
    let mut folded: Vec<char> = Vec::with_capacity(text.len());
    // The character that a combining mark is on. On a digit or a sign it is no accent: `≠` is `=` with one.
    let mut base = ' ';
    for c in shown(text).nfkd() {
        if !is_accent(c) {
            base = c;
        } else if base.is_alphabetic() || base.is_whitespace() {
            continue;
        }
        for c in c.to_lowercase() {
            match ascii_letters(c) {
                Some(letters) => folded.extend(letters.chars()),
                None if c == '⁄' => folded.push('/'),
                None => folded.push(c),
            }
        }
    }
    let mut key = String::with_capacity(folded.len());
    let mut behind_tight = false;
    for (i, &c) in folded.iter().enumerate() {
        match classify(c, &folded[..i], &folded[i + 1..], &key, terms) {
            Class::Keep(c) => key.push(c),
            Class::Tight(c) => {
                key.truncate(key.trim_end().len());
                key.push(c);
                behind_tight = true;
                continue;
            }
            Class::Point => key.push_str("0."),
            Class::Drop => {}
            Class::Space if key.is_empty() || key.ends_with(' ') || behind_tight => continue,
            Class::Space => key.push(' '),
        }
        behind_tight = false;
    }
    key.trim_end().nfc().collect()
}

/// How a numeral is written.
#[derive(Clone, Copy, PartialEq)]
enum Numeral {
    Digit,
    Raised,
    Lowered,
    /// A character that shows a number: `½`, `①`.
    Whole,
}

/// The text with the characters that compatibility decomposition would join to what is beside them:
/// `10²` is `10^2`, `2½` is `2 1/2`, `①②` is `1 2`. Digits of all scripts are ASCII.
fn shown(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 4);
    let mut before = None;
    for c in text.chars().filter(|c| !is_invisible(*c)) {
        let is = match c {
            '⁰' | '¹' | '²' | '³' | '⁴'..='⁹' | '⁺' | '⁻' | 'ⁿ' => Some(Numeral::Raised),
            '₀'..='₉' => Some(Numeral::Lowered),
            c if c.is_ascii_digit() || digit(c).is_some() => Some(Numeral::Digit),
            c if !c.is_ascii() && c.is_numeric() => Some(Numeral::Whole),
            _ => None,
        };
        match is {
            Some(Numeral::Raised) if before != is => out.push('^'),
            Some(Numeral::Raised) => {}
            Some(Numeral::Whole) if before.is_some() => out.push(' '),
            Some(_) if before.is_some() && before != is => out.push(' '),
            _ => {}
        }
        before = is;
        match c {
            '™' | '℠' | '®' | '©' => {}
            '…' | '‥' => out.push(' '),
            '⁻' => out.push('-'),
            c => match digit(c) {
                Some(value) => out.extend(char::from_digit(value, 10)),
                None => out.push(c),
            },
        }
    }
    Cow::Owned(out)
}

enum Class {
    Keep(char),
    /// A sign between two terms, without space around it.
    Tight(char),
    /// The point of a number that begins with it.
    Point,
    Drop,
    Space,
}

fn classify(c: char, before: &[char], after: &[char], key: &str, terms: bool) -> Class {
    let (last, next) = (before.last().copied(), after.first().copied());
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    match c {
        '.' if is_digit(last) && is_digit(next) => Class::Keep('.'),
        '.' if is_digit(next) && !is_word(last) && last != Some('.') => Class::Point,
        '.' if is_word(last) && is_word(next) && is_digit(last) != is_digit(next) => Class::Space,
        '!' if is_word(next) => Class::Space,
        '!' if terms && last == Some('!') && key.ends_with('!') => Class::Keep('!'),
        '!' if terms && last != Some('!') && takes_factorial(before.iter().rev().copied()) => {
            Class::Keep('!')
        }
        '!' if !terms && is_digit(last) => Class::Keep('!'),
        '\'' | '’' | '‘' | 'ʼ' | 'ʻ' | '‛' | '`' if is_digit(last) && is_digit(next) => {
            match after.iter().take(4).take_while(|c| c.is_ascii_digit()).count() {
                3 => Class::Drop,
                _ => Class::Space,
            }
        }
        '\'' | '.' | '`' | '’' | '‘' | 'ʼ' | 'ʻ' | '‛' | '¿' | '¡' => Class::Drop,
        '-' if last == Some('^') && is_digit(next) => Class::Keep('-'),
        '-' | '−' | '–' | '‐' if is_between_terms(before, after) => Class::Tight('-'),
        '-' | '−' | '–' | '‐' if !is_word(last) && (is_amount(after) || (terms && is_letter(after))) => {
            Class::Keep('-')
        }
        '*' if terms && is_word(last) && next == Some('*') && is_word(after.get(1).copied()) => {
            Class::Keep('^')
        }
        '*' if terms
            && before.ends_with(&['*'])
            && is_word(next)
            && is_word(before.iter().nth_back(1).copied()) =>
        {
            Class::Drop
        }
        '*' if terms && is_between_terms(before, after) => Class::Tight('*'),
        '#' if !is_word(last) && !is_word(next) => Class::Space,
        '-' | '−' | '‐' | '–' | '—' | '―' | '_' | '*' | ',' | ';' | ':' | '!' | '?' | '(' | ')' | '['
        | ']' | '{' | '}' | '"' | '“' | '”' | '„' | '‟' | '‚' | '«' | '»' | '‹' | '›' | '。' | '、' => {
            Class::Space
        }
        c if c.is_whitespace() || c.is_control() => Class::Space,
        // Final sigma is the same letter.
        'ς' => Class::Keep('σ'),
        c => Class::Keep(c),
    }
}

/// Whether a `!` belongs to what is before it, which is given from its end: digits, a letter on its own or
/// a bracket, perhaps with another `!`.
pub(super) fn takes_factorial(before: impl Iterator<Item = char>) -> bool {
    let mut before = before.skip_while(|c| *c == '!');
    match before.next() {
        Some(c) if c.is_numeric() || c == ')' => true,
        Some(c) => c.is_alphabetic() && !before.next().is_some_and(char::is_alphabetic),
        None => false,
    }
}

/// Whether a number comes next, perhaps behind a currency.
fn is_amount(after: &[char]) -> bool {
    match after {
        [sign, rest @ ..] if is_currency(*sign) => begins_number(rest),
        after => begins_number(after),
    }
}

fn begins_number(text: &[char]) -> bool {
    matches!(text, [digit, ..] | ['.', digit, ..] if digit.is_ascii_digit())
}

/// Whether a letter on its own comes next.
fn is_letter(after: &[char]) -> bool {
    matches!(after, [letter, rest @ ..] if letter.is_alphabetic()
        && !rest.first().is_some_and(|c| c.is_alphabetic()))
}

/// The signs of currencies.
pub(super) const CURRENCIES: &str = "$€£¥₹¢₩₽₺₫฿";

pub(super) fn is_currency(c: char) -> bool {
    CURRENCIES.contains(c)
}

/// Whether a sign stands between two terms, which are digits or letters on their own, with white space
/// on both sides or on none.
fn is_between_terms(before: &[char], after: &[char]) -> bool {
    let spaces = |chars: &mut dyn Iterator<Item = &char>| chars.take_while(|c| c.is_whitespace()).count();
    let (left, right) = (spaces(&mut before.iter().rev()), spaces(&mut after.iter()));
    let (before, after) = (&before[..before.len() - left], &after[right..]);
    let is_term = |near: Option<&char>, far: Option<&char>| {
        near.is_some_and(|c| {
            c.is_ascii_digit() || (c.is_alphabetic() && !far.is_some_and(|c| c.is_alphabetic()))
        })
    };
    (left > 0) == (right > 0)
        && is_term(before.last(), before.len().checked_sub(2).map(|at| &before[at]))
        && is_term(after.first(), after.get(1))
}

fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

/// The ASCII spelling of Latin letters that Unicode does not decompose.
fn ascii_letters(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'ı' => "i",
        'þ' => "th",
        'ħ' => "h",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_noise_does_not_change_a_key() {
        for (a, b) in [
            ("Brasília", "brasilia"),
            ("**Port-au-Prince**.", "port au prince"),
            ("“N’Djamena”", "ndjamena"),
            ("Washington, D.C.", "washington dc"),
            ("  Addis\n\tAbaba ", "addis ababa"),
            ("## Ottawa", "ottawa"),
            ("KØBENHAVN", "kobenhavn"),
            ("Łódź", "lodz"),
            ("İstanbul", "istanbul"),
            ("Straße", "strasse"),
            ("ＡＢＣ", "abc"),
            ("Αθήνας", "αθηνασ"),
            ("_Paris_", "paris"),
        ] {
            assert_eq!(normalize(a), b);
            assert_eq!(normalize(b), b, "a key is its own key");
        }
    }

    #[test]
    fn different_answers_keep_different_keys() {
        for (a, b) in [
            ("3.5", "35"),
            ("-2", "2"),
            ("C++", "C"),
            ("C#", "C"),
            ("50%", "50"),
            ("हिन्दी", "हन्द"),
            ("1-2", "1 -2"),
        ] {
            assert_ne!(normalize(a), normalize(b), "{a} and {b}");
        }
    }

    #[test]
    fn a_text_without_content_has_an_empty_key() {
        for text in ["", " ", "**", "\"\"", "...", "\u{301}", "\u{feff}", "—"] {
            assert_eq!(normalize(text), "", "{text:?}");
        }
    }

    #[test]
    fn signs_and_compatibility_characters_stay_apart_from_what_is_before_them() {
        for (text, key) in [
            ("10²", "10^2"),
            ("10⁻³", "10^-3"),
            ("x²", "x^2"),
            ("½", "1/2"),
            ("2½", "2 1/2"),
            ("H₂O", "h2o"),
            ("①", "1"),
            ("5①", "5 1"),
            ("5㎏", "5kg"),
            ("ﬁsh", "fish"),
            ("٤٢", "42"),
            ("Acme™", "acme"),
            ("so…no", "so no"),
            ("5!", "5!"),
            ("Paris!", "paris"),
            ("-$5", "-$5"),
            ("x - y", "x-y"),
            ("x–y", "x-y"),
            ("1-2", "1-2"),
            ("Catch-22", "catch 22"),
            ("Rome - Italy", "rome italy"),
        ] {
            assert_eq!(normalize(text), key, "{text:?}");
            assert_eq!(normalize(key), key, "a key is its own key");
        }
    }
}
