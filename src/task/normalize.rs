//! Normalization of answers: two answers are the same if their keys are equal.
//!
//! A key must not depend on what varies between samples at random: case, quotes, markdown, a full stop,
//! a missing accent. It must still distinguish different answers: `3.5` and `35`, `-2` and `2`, `C++`
//! and `C`. Only Latin, Greek and Cyrillic accents are removed; in other scripts a combining mark is a
//! letter.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use super::answer::digit;

/// The key of an answer: lower case, without accents, quotes, markdown and sentence punctuation, with
/// single spaces between words. Empty if nothing is left.
pub(crate) fn normalize(text: &str) -> String {
    let mut folded: Vec<char> = Vec::with_capacity(text.len());
    for c in shown(text).nfkd().filter(|c| !is_accent(*c)).flat_map(char::to_lowercase) {
        match ascii_letters(c) {
            Some(letters) => folded.extend(letters.chars()),
            None if c == '⁄' => folded.push('/'),
            None => folded.push(c),
        }
    }
    let mut key = String::with_capacity(folded.len());
    let mut behind_minus = false;
    for (i, &c) in folded.iter().enumerate() {
        match classify(c, &folded[..i], &folded[i + 1..]) {
            Class::Keep(c) => key.push(c),
            Class::Minus => {
                key.truncate(key.trim_end().len());
                key.push('-');
                behind_minus = true;
                continue;
            }
            Class::Drop => {}
            Class::Space if key.is_empty() || key.ends_with(' ') || behind_minus => continue,
            Class::Space => key.push(' '),
        }
        behind_minus = false;
    }
    key.trim_end().nfc().collect()
}

/// The text with the characters that compatibility decomposition would join to what is before them:
/// `10²` is `10^2`, `2½` is `2 1/2`. Digits of all scripts are ASCII.
fn shown(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 4);
    let mut raised = false;
    for c in text.chars() {
        let was_raised = raised;
        raised = matches!(c, '⁰' | '¹' | '²' | '³' | '⁴'..='⁹' | '⁺' | '⁻' | 'ⁿ');
        match c {
            '™' | '℠' | '®' | '©' => {}
            '…' | '‥' => out.push(' '),
            _ if raised => {
                if !was_raised {
                    out.push('^');
                }
                out.push(if c == '⁻' { '-' } else { c });
            }
            c if !c.is_ascii() && c.is_numeric() => match digit(c) {
                Some(value) => out.extend(char::from_digit(value, 10)),
                None => {
                    let is_lowered = ('₀'..='₉').contains(&c);
                    if !is_lowered && out.ends_with(|c: char| c.is_ascii_digit()) {
                        out.push(' ');
                    }
                    out.push(c);
                }
            },
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

enum Class {
    Keep(char),
    /// A minus between two terms, without space around it.
    Minus,
    Drop,
    Space,
}

fn classify(c: char, before: &[char], after: &[char]) -> Class {
    let (last, next) = (before.last().copied(), after.first().copied());
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    match c {
        '.' if is_digit(last) && is_digit(next) => Class::Keep('.'),
        '!' if is_digit(last) && !is_word(next) => Class::Keep('!'),
        '-' if last == Some('^') && is_digit(next) => Class::Keep('-'),
        '\'' | '.' | '`' | '’' | '‘' | 'ʼ' | 'ʻ' | '¿' | '¡' | '\u{200b}' | '\u{feff}' => Class::Drop,
        '-' | '−' | '–' if is_between_terms(before, after) => Class::Minus,
        '-' | '−' if !is_word(last) && (is_digit(next) || is_amount(after)) => Class::Keep('-'),
        '#' if !is_word(last) && !is_word(next) => Class::Space,
        '-' | '−' | '‐' | '‑' | '–' | '—' | '_' | '*' | ',' | ';' | ':' | '!' | '?' | '(' | ')' | '['
        | ']' | '{' | '}' | '"' | '“' | '”' | '„' | '«' | '»' | '…' | '。' | '，' | '、' => {
            Class::Space
        }
        c if c.is_whitespace() || c.is_control() => Class::Space,
        // Final sigma is the same letter.
        'ς' => Class::Keep('σ'),
        c => Class::Keep(c),
    }
}

/// Whether a currency and a digit come next.
fn is_amount(after: &[char]) -> bool {
    matches!(after, [sign, digit, ..] if is_currency(*sign) && digit.is_ascii_digit())
}

pub(super) fn is_currency(c: char) -> bool {
    "$€£¥₹¢₩₽₺₫฿".contains(c)
}

/// Whether a minus stands between two terms, which are digits or letters on their own, with white space
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
