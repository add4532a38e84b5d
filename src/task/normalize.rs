//! Normalization of answers: two answers are the same if their keys are equal.
//!
//! A key must not depend on what varies between samples at random: case, quotes, markdown, a full stop,
//! a missing accent. It must still distinguish different answers: `3.5` and `35`, `-2` and `2`, `C++`
//! and `C`. Only Latin, Greek and Cyrillic accents are removed; in other scripts a combining mark is a
//! letter.

use unicode_normalization::UnicodeNormalization;

/// The key of an answer: lower case, without accents, quotes, markdown and sentence punctuation, with
/// single spaces between words. Empty if nothing is left.
pub(crate) fn normalize(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !is_accent(*c)).flat_map(char::to_lowercase) {
        match ascii_letters(c) {
            Some(letters) => folded.push_str(letters),
            None => folded.push(c),
        }
    }
    let chars: Vec<char> = folded.chars().collect();
    let mut key = String::with_capacity(folded.len());
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(i + 1).copied();
        match classify(c, before, after) {
            Class::Keep(c) => key.push(c),
            Class::Drop => {}
            Class::Space if key.is_empty() || key.ends_with(' ') => {}
            Class::Space => key.push(' '),
        }
    }
    key.trim_end().nfc().collect()
}

/// `key` without a leading `the`, `a` or `an`, if a word follows.
pub(super) fn without_article(key: &str) -> &str {
    ["the ", "a ", "an "].iter().find_map(|article| key.strip_prefix(article)).unwrap_or(key)
}

enum Class {
    Keep(char),
    Drop,
    Space,
}

fn classify(c: char, before: Option<char>, after: Option<char>) -> Class {
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    match c {
        '.' if is_digit(before) && is_digit(after) => Class::Keep('.'),
        '\'' | '.' | '`' | '’' | '‘' | 'ʼ' | 'ʻ' | '¿' | '¡' | '\u{200b}' | '\u{feff}' => Class::Drop,
        '-' | '−' if is_digit(after) && !is_word(before) => Class::Keep('-'),
        '#' if !is_word(before) && !is_word(after) => Class::Space,
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
    fn an_article_goes_only_when_a_word_follows() {
        assert_eq!(without_article("the hague"), "hague");
        assert_eq!(without_article("an apple"), "apple");
        assert_eq!(without_article("a"), "a");
        assert_eq!(without_article("athens"), "athens");
    }
}
