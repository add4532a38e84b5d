//! The answer rule for a number. Numbers are compared digit by digit, without rounding.
//!
//! The rule reads whole words, and a word that is not a number from its first character to its last is
//! none. A regular expression that looks for digits would find 12 in `12:30` and 1 in `1/2`, in every
//! sample alike.

mod characters;
mod line;
mod quantity;
mod word;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use characters::plain;
pub(in crate::task) use characters::{digit, is_invisible};
use line::Line;
pub(super) use line::without_brackets;
use quantity::Quantity;
use word::Format;

use super::{Answer, Rule, first_line};

/// Reads a number.
///
/// After a marker, or if the text begins with a number, the number is taken from the first line.
/// Otherwise it is the last number of the text, as in "so she has 7 left". Marks of thousands, leading
/// zeros and trailing zeros of the fraction do not matter. Units and currency are ignored. A number that
/// another sign makes another number, as in `12:30` or `10²`, is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(description = "A number: in the first line after the marker, or else the last one of the text. \
    Units and currency are ignored. A number that another sign makes another number, such as 12:30, is none.")]
pub struct NumberRule {
    /// The decimal mark; the other one of point and comma groups thousands.
    #[serde(skip_serializing_if = "Decimal::is_point")]
    decimal: Decimal,
    /// Whether fractions and mixed numbers, such as 1/2 and 2 2/3, are numbers, with exact values.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fractions: bool,
}

/// The mark between the whole part of a number and its fraction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decimal {
    /// `1,234.5`.
    #[default]
    Point,
    /// `1.234,5`.
    Comma,
}

impl Decimal {
    fn is_point(&self) -> bool {
        *self == Decimal::Point
    }
}

impl Rule for NumberRule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer> {
        let first = Line::read(first_line(text)?.0, self.format());
        let value =
            if marked || first.begins_with_number() { first.answer() } else { self.last_number(text) };
        let key = value?.key();
        Some(Answer { text: key.clone(), key })
    }

    /// A number can change with every token (`3`, `3.5`, `3 + 4 = 7`) until its line has ended.
    fn complete(&self, text: &str, marked: bool) -> bool {
        first_line(text).is_some_and(|(line, ended)| {
            ended && (marked || may_begin_with_number(line)) && {
                let line = Line::read(line, self.format());
                (marked || line.begins_with_number()) && line.answer().is_some()
            }
        })
    }

    fn key(&self, text: &str) -> Option<String> {
        self.extract(text, true).map(|answer| answer.key)
    }

    fn target(&self, answer: &Answer) -> String {
        answer.key.clone()
    }
}

/// Whether the line may begin with a number word, from its first word alone: if that is of letters, the
/// line does not.
fn may_begin_with_number(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    !word.starts_with(char::is_alphabetic) || word.contains(char::is_numeric)
}

impl NumberRule {
    fn format(&self) -> Format {
        Format { decimal: self.decimal, fractions: self.fractions }
    }

    /// The last number of the text, in brackets only if there is none outside.
    fn last_number(&self, text: &str) -> Option<Quantity> {
        let lines = text.lines().rev().filter(|line| line.contains(char::is_numeric));
        let mut in_brackets = None;
        for line in lines.map(|line| Line::read(line, self.format())).filter(Line::has_numbers) {
            if !line.opened {
                return line.last();
            }
            in_brackets.get_or_insert(line);
        }
        in_brackets?.last()
    }

    /// The GBNF grammar of numbers in plain digits.
    pub(super) fn grammar(&self) -> String {
        let mark = match self.decimal {
            Decimal::Point => ".",
            Decimal::Comma => ",",
        };
        let fraction = if self.fractions { r#" | "/" [1-9] [0-9]{0,11}"# } else { "" };
        format!(r#"root ::= "-"? [0-9]{{1,18}} ("{mark}" [0-9]{{1,12}}{fraction})?"#)
    }
}
