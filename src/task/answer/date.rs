//! The answer rule for a day of the calendar.

use std::sync::LazyLock;

use jiff::civil::Date;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lists::{List, list, words};
use super::number::{plain, without_brackets};
use super::{Answer, Rule, first_line};

/// Reads a date: `2026-09-20`, `September 20, 2026`, `20 Sept 2026`.
///
/// In `3/4/2026` the order of day and month is not known, so that it is no date unless `order` says it. A
/// line with two days, and a day that the calendar does not have, are no answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(
    description = "A day of the calendar, compared and trained as 2026-09-20. Month names are English."
)]
pub struct DateRule {
    /// The order of day and month where both are numbers and either could be the month; without it such a
    /// date is not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<DateOrder>,
}

/// The order of day and month in dates of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    /// `20/9/2026`.
    DayMonth,
    /// `9/20/2026`.
    MonthDay,
}

/// The GBNF grammar of a day as 2026-09-20.
pub(in crate::task) const DATE_GRAMMAR: &str =
    r#"root ::= [0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])"#;

static NEGATIONS: List = LazyLock::new(|| list("negations"));

/// Year first, numbers, day before month, month before day.
static FORMS: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    let month = "(?P<month>[a-z]+)";
    let day = "(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?";
    let year = "(?P<year>[0-9]{4})";
    [
        r"(?P<year>[0-9]{4})(?:-(?P<m1>[0-9]{1,2})-|/(?P<m2>[0-9]{1,2})/|\.(?P<m3>[0-9]{1,2})\.)(?P<day>[0-9]{1,2})(?:t[0-9]{2}:[0-9:.]*[0-9]z?)?".to_string(),
        format!(r"(?P<a>[0-9]{{1,2}})(?:/(?P<b1>[0-9]{{1,2}})/|\.(?P<b2>[0-9]{{1,2}})\.|-(?P<b3>[0-9]{{1,2}})-){year}"),
        format!(r"{day}(?: +(?:of +)?|-|\. *){month}\.?(?:,? +|-){year}"),
        format!(r"{month}\.? +(?:the +)?{day},? +{year}"),
    ]
    .map(|form| Regex::new(&format!("(?i){form}")).expect("it is valid"))
});

impl Rule for DateRule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer> {
        let line = first_line(text)?.0;
        let found = match self.in_line(line) {
            Found::Nothing if !marked => {
                text.lines().rev().map(|line| self.in_line(line)).find(|found| *found != Found::Nothing)?
            }
            found => found,
        };
        let Found::Date(date) = found else { return None };
        let key = format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day());
        Some(Answer { text: key.clone(), key })
    }

    fn complete(&self, text: &str, _: bool) -> bool {
        first_line(text).is_some_and(|(line, ended)| {
            ended && line.contains(char::is_numeric) && matches!(self.in_line(line), Found::Date(_))
        })
    }

    fn key(&self, text: &str) -> Option<String> {
        self.extract(text, true).map(|answer| answer.key)
    }

    fn target(&self, answer: &Answer) -> String {
        answer.key.clone()
    }
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    /// Nothing that looks like a date.
    Nothing,
    /// Something that is not understood.
    Unclear,
    Date(Date),
}

impl DateRule {
    /// The GBNF grammar of dates.
    pub(super) fn grammar(&self) -> String {
        DATE_GRAMMAR.into()
    }

    fn in_line(&self, line: &str) -> Found {
        let text = plain(line);
        let outside = without_brackets(&text);
        match self.in_text(&outside) {
            Found::Nothing if text.contains(['(', ')']) => self.in_text(&text.replace(['(', ')'], " ")),
            found => found,
        }
    }

    fn in_text(&self, text: &str) -> Found {
        let mut all = Found::Nothing;
        for form in FORMS.iter() {
            for found in form.captures_iter(text) {
                let whole = found.get(0).expect("group 0 is the match");
                let named = found.name("month");
                if named.is_some_and(|name| month(name.as_str()).is_none()) {
                    continue;
                }
                let date =
                    if stands_alone(text, whole.start(), whole.end()) { self.date(&found) } else { None };
                all = match (all, date) {
                    (Found::Nothing, Some(date)) => Found::Date(date),
                    (Found::Date(first), Some(date)) if first == date => all,
                    _ => return Found::Unclear,
                };
            }
        }
        all
    }

    fn date(&self, found: &regex::Captures<'_>) -> Option<Date> {
        let number = |names: &[&str]| {
            let group = names.iter().find_map(|name| found.name(name));
            group.and_then(|group| group.as_str().parse::<i8>().ok())
        };
        let year: i16 = found.name("year")?.as_str().parse().ok().filter(|year| *year > 0)?;
        let (month, day) = if let Some(first) = number(&["a"]) {
            let second = number(&["b1", "b2", "b3"])?;
            match self.order {
                _ if first > 12 => (second, first),
                _ if second > 12 || first == second => (first, second),
                Some(DateOrder::DayMonth) => (second, first),
                Some(DateOrder::MonthDay) => (first, second),
                None => return None,
            }
        } else {
            let named = found.name("month").and_then(|name| month(name.as_str()));
            (named.or_else(|| number(&["m1", "m2", "m3"]))?, number(&["day"])?)
        };
        Date::new(year, month, day).ok()
    }
}

/// The number of a month by its English name or abbreviation.
fn month(name: &str) -> Option<i8> {
    let name = name.to_lowercase();
    let full = words("months").position(|month| {
        month == name
            || (name.len() >= 3 && month.len() > 3 && month[..3] == name)
            || (month == "september" && name == "sept")
    })?;
    i8::try_from(full + 1).ok()
}

/// Whether the date is not part of a longer number, word, range or list, and not denied.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    static JOINED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)(?:[0-9](?:st|nd|rd|th)? *(?:-|/|,|&|and|or|to|through|until)|(?:(?:^|[^a-z])(?:or|and|to|after|before|than|prior|prior to)|-|/)|(?:^|[^a-z]|week|work|business)(?:days?|weeks?|months?|years?) +(?:from|past|following)) *$")
            .expect("it is valid")
    });
    static JOINS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)^(?: *(?:-|/|&|\+) *[0-9a-z]| +(?:plus|minus)\b|,?(?: +[^ ]+){0,2} +(?:earlier|later)\b|,? *(?:or|and|to|through|until) +[^ ]*[0-9])")
            .expect("it is valid")
    });
    let (before, after) = (&text[..start], &text[end..]);
    let clause = before.rsplit([',', ';', ':', '.', '!', '?', '—']).next().unwrap_or_default();
    let negated = clause.split_whitespace().any(|word| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        NEGATIONS.contains(word.as_str())
    });
    !(negated
        || before.ends_with(|c: char| c.is_alphanumeric() || "-/.".contains(c))
        || after.starts_with(|c: char| c.is_alphanumeric())
        || JOINED.is_match(last_words(before))
        || JOINS.is_match(after)
        || after.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric())))
}

/// The end of a text, with as many words as can join a date to what stands before it.
fn last_words(text: &str) -> &str {
    let mut start = text.len();
    for _ in 0..3 {
        start = text[..start].trim_end_matches(' ').rfind(' ').unwrap_or(0);
    }
    &text[start..]
}
