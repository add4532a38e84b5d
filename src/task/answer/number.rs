//! The answer rule for a decimal number. Numbers are compared digit by digit, without rounding.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, Rule, first_line};

/// Reads a number.
///
/// After a marker, or if the text begins with a number, the number is taken from the first line: the one
/// after the last `=`, or else the first. Otherwise it is the last number of the text, as in "so she has
/// 7 left". Thousands separators, leading zeros and trailing zeros of the fraction do not matter. Units
/// and currency are ignored.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawNumberRule", into = "RawNumberRule")]
pub struct NumberRule {
    regex: Regex,
}

/// A decimal number: in the first line after the marker, or else the last one of the text.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NumberRule")]
struct RawNumberRule {}

impl Rule for NumberRule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer> {
        let (line, _) = first_line(text)?;
        let found = if marked || self.begins(line) { self.in_line(line) } else { self.numbers(text).last() };
        let key = canonical(found?);
        Some(Answer { text: key.clone(), key })
    }

    /// A number can change with every token (`3`, `3.5`, `3 + 4 = 7`) until its line has ended.
    fn complete(&self, text: &str, marked: bool) -> bool {
        first_line(text).is_some_and(|(line, ended)| {
            ended && (marked || self.begins(line)) && self.in_line(line).is_some()
        })
    }

    fn key(&self, text: &str) -> Option<String> {
        self.in_line(text.trim()).map(canonical)
    }

    fn target(&self, answer: &Answer) -> String {
        answer.key.clone()
    }
}

impl NumberRule {
    fn in_line<'t>(&self, line: &'t str) -> Option<&'t str> {
        let result = line.rsplit_once('=').and_then(|(_, result)| self.numbers(result).next());
        result.or_else(|| self.numbers(line).next())
    }

    /// Whether the line begins with a number that is not the number of a list item.
    fn begins(&self, line: &str) -> bool {
        let start = line.trim_start_matches(|c: char| !c.is_alphanumeric());
        let rest = start.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.len() < start.len() && !rest.starts_with(". ") && !rest.starts_with(") ")
    }

    fn numbers<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        self.regex.find_iter(text).map(|found| found.as_str())
    }
}

/// Plain digits: `-1,234.50` → `-1234.5`.
fn canonical(number: &str) -> String {
    let negative = number.starts_with(['-', '−']);
    let digits: String = number.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let fraction = fraction.trim_end_matches('0');
    let sign = if negative && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

impl PartialEq for NumberRule {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl TryFrom<RawNumberRule> for NumberRule {
    type Error = String;

    fn try_from(_: RawNumberRule) -> Result<Self, String> {
        // `\B`: a sign directly after a word character is not one ("5-3" contains 5 and 3).
        let regex =
            Regex::new(r"(?:\B[-−])?\$?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+\b|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)");
        Ok(NumberRule { regex: regex.map_err(|error| error.to_string())? })
    }
}

impl From<NumberRule> for RawNumberRule {
    fn from(_: NumberRule) -> RawNumberRule {
        RawNumberRule {}
    }
}
