//! One word: whether it is a number, and which.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::super::lists::{List, list};
use super::Decimal;
use super::characters::{ARABIC_GROUP, ARABIC_POINT, THIN};
use super::quantity::Quantity;

static CURRENCIES: List = LazyLock::new(|| list("currencies"));
static UNITS: List = LazyLock::new(|| list("units"));
static LENGTHS: List = LazyLock::new(|| list("lengths"));
pub(super) static BEHIND: List = LazyLock::new(|| list("behind"));
pub(super) static NUMERALS: List = LazyLock::new(|| list("numerals"));

const CURRENCY_SIGNS: &str = "$€£¥₹¢₩₽₺₫฿";
const MAX_EXPONENT: i64 = 1000;

/// How numbers are written: the part of the rule that a word depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Format {
    pub decimal: Decimal,
    pub fractions: bool,
}

/// Whether the word, without decoration, is a number word: it contains a digit and does not begin with a
/// letter, or it begins with a currency.
pub(super) fn is_number_word(word: &str) -> bool {
    word.contains(char::is_numeric)
        && (!word.starts_with(char::is_alphabetic)
            || currency(word).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
}

/// The value of a number word; `None` if it is no number.
pub(super) fn value(word: &str, format: Format) -> Option<Quantity> {
    let (sign, rest) = sign(word);
    let rest = currency(rest).unwrap_or(rest);
    let (sign, rest) = match sign {
        Some(_) => (sign, rest),
        None => self::sign(rest),
    };
    let negative = sign == Some('-');
    if format.fractions
        && let Some((value, rest)) = fraction(rest, negative)
    {
        return is_unit(rest).then_some(value)?;
    }
    let (value, rest) = decimal(rest, negative, format.decimal)?;
    is_unit(rest).then_some(value)
}

/// `2 2/3` with `fractions`; the words are next to each other.
pub(super) fn mixed(whole: &str, part: &str) -> Option<Quantity> {
    let (sign, whole) = sign(whole);
    let (Some((n, d)), true) = (slashed(part), is_digits(whole)) else { return None };
    mixed_value(whole, n, d, sign == Some('-'))
}

fn mixed_value(whole: &str, over: u128, under: u128, negative: bool) -> Option<Quantity> {
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    Quantity::ratio(negative, whole.checked_mul(under)?.checked_add(over)?, under)
}

/// A fraction at the beginning, its value if that can be computed, and what follows.
fn fraction(text: &str, negative: bool) -> Option<(Option<Quantity>, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(end);
    if let Some((over, under)) = rest.chars().next().and_then(vulgar) {
        let rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
        return Some((mixed_value(whole, over, under, negative), rest));
    }
    let end = end + 1 + rest.strip_prefix('/')?.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - 1);
    let (over, under) = slashed(&text[..end])?;
    Some((Quantity::ratio(negative, over, under), &text[end..]))
}

/// The two numbers of `1/2`, each of at most 18 digits.
fn slashed(text: &str) -> Option<(u128, u128)> {
    let (over, under) = text.split_once('/')?;
    let number = |digits: &str| (is_digits(digits) && digits.len() <= 18).then(|| digits.parse().ok())?;
    Some((number(over)?, number(under)?))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The fraction that one character shows.
fn vulgar(c: char) -> Option<(u128, u128)> {
    Some(match c {
        '½' => (1, 2),
        '⅓' => (1, 3),
        '⅔' => (2, 3),
        '¼' => (1, 4),
        '¾' => (3, 4),
        '⅕' => (1, 5),
        '⅖' => (2, 5),
        '⅗' => (3, 5),
        '⅘' => (4, 5),
        '⅙' => (1, 6),
        '⅚' => (5, 6),
        '⅐' => (1, 7),
        '⅛' => (1, 8),
        '⅜' => (3, 8),
        '⅝' => (5, 8),
        '⅞' => (7, 8),
        '⅑' => (1, 9),
        '⅒' => (1, 10),
        _ => return None,
    })
}

fn sign(text: &str) -> (Option<char>, &str) {
    let found = text.chars().next().filter(|c| matches!(c, '-' | '+'));
    (found, &text[found.map_or(0, char::len_utf8)..])
}

/// What follows the currency with which `text` begins.
fn currency(text: &str) -> Option<&str> {
    let letters = text.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(text.len());
    if letters <= 3
        && let Some(rest) = text[letters..].strip_prefix('$')
    {
        return Some(rest);
    }
    if let Some(rest) = text.strip_prefix(|c| CURRENCY_SIGNS.contains(c)) {
        return Some(rest);
    }
    CURRENCIES.iter().filter_map(|code| text.strip_prefix(code)).min_by_key(|rest| rest.len())
}

/// A decimal number at the beginning, and what follows.
fn decimal(text: &str, negative: bool, decimal: Decimal) -> Option<(Quantity, &str)> {
    let (point, comma) = match decimal {
        Decimal::Point => ('.', ','),
        Decimal::Comma => (',', '.'),
    };
    let is_group = |c: char| c == comma || matches!(c, '\'' | '_' | THIN | ARABIC_GROUP);
    let follows = |at: usize| text[at..].starts_with(|c: char| c.is_ascii_digit());
    let mut end = 0;
    let mut marks = HashSet::new();
    for (at, c) in text.char_indices() {
        match c {
            '0'..='9' => {}
            c if at > 0 && is_group(c) && follows(at + c.len_utf8()) => _ = marks.insert(c),
            _ => break,
        }
        end = at + c.len_utf8();
    }
    let whole = &text[..end];
    let whole = match Vec::from_iter(marks)[..] {
        [] => whole.to_string(),
        [mark] if are_groups(whole, mark, mark == comma) => whole.replace(mark, ""),
        _ => return None,
    };
    let is_point = |c: char| c == point || c == ARABIC_POINT;
    let mut rest = &text[end..];
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix(is_point)
        && after.starts_with(|c: char| c.is_ascii_digit())
    {
        (fraction, rest) = leading_digits(after);
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut exponent = 0;
    if let Some(after) = rest.strip_prefix(['e', 'E']) {
        let (sign, after) = sign(after);
        let (digits, after) = leading_digits(after);
        if !digits.is_empty() {
            exponent = digits.parse().ok().filter(|power| *power <= MAX_EXPONENT)?;
            exponent = if sign == Some('-') { -exponent } else { exponent };
            rest = after;
        }
    }
    Some((Quantity::decimal(negative, &whole, fraction, exponent), rest))
}

fn leading_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Whether the digits of `whole` are grouped: by three, or the Indian way.
fn are_groups(whole: &str, mark: char, may_be_indian: bool) -> bool {
    let lengths: Vec<usize> = whole.split(mark).map(str::len).collect();
    let (Some((first, rest)), Some((last, middle))) = (lengths.split_first(), lengths.split_last()) else {
        return false;
    };
    let by_three = *first <= 3 && rest.iter().all(|length| *length == 3);
    let indian = may_be_indian
        && *last == 3
        && middle.len() > 1
        && *first <= 2
        && middle[1..].iter().all(|length| *length == 2);
    !whole.starts_with('0') && (by_three || indian)
}

/// Whether nothing or a unit follows the digits.
fn is_unit(text: &str) -> bool {
    if text.is_empty() || UNITS.contains(text) {
        return true;
    }
    let power = ["²", "³", "^2", "^3"].iter().find_map(|power| text.strip_suffix(power));
    let hyphenated = |word: &str| {
        let first = word.split('-').next().unwrap_or_default();
        let lower = first.to_lowercase();
        first.chars().count() >= 2
            && word.split('-').all(|part| !part.is_empty() && part.chars().all(char::is_alphabetic))
            && !BEHIND.contains(lower.as_str())
            && !NUMERALS.contains(lower.as_str())
    };
    let is_sign = |c: char| c == '%' || CURRENCY_SIGNS.contains(c);
    (text.chars().count() == 1 && text.starts_with(is_sign))
        || matches!(text, "°" | "°C" | "°F")
        || power.is_some_and(|unit| LENGTHS.contains(unit))
        || text.strip_prefix('-').is_some_and(hyphenated)
}
