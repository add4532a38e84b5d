//! Date arithmetic: the date some days or weeks before or after another.

use jiff::civil::Date;
use jiff::fmt::strtime;
use jiff::{Span, ToSpan};
use rand_chacha::ChaCha8Rng;

use super::Split;
use super::draw::{Asked, Drawn, MAX_QUESTIONS, below, between, counted, distinct};

/// Draws questions whose dates, in the question and in the answer, lie in years that the other split
/// does not have. Months and days cannot differ between the splits. The answer is asked for and
/// written as year-month-day, which is compared as text.
pub(super) fn draw(n: usize, split: Split, rng: &mut ChaCha8Rng) -> Drawn {
    let (first, last) = match split {
        Split::Train => (1960, 2019),
        Split::Test => (2020, 2049),
    };
    distinct(n, MAX_QUESTIONS, 1, rng, |rng, _| {
        let (year, month) = (between(rng, first, last), 1 + below(rng, 12));
        let first_of_month = jiff::civil::date(year as i16, month as i8, 1);
        let day = below(rng, first_of_month.days_in_month() as usize);
        let start = first_of_month + (day as i64).days();
        let (distance, span): (Span, String) = if below(rng, 3) == 0 {
            let weeks = between(rng, 1, 8);
            ((weeks as i64).weeks(), counted(weeks, "week"))
        } else {
            let days = between(rng, 2, 60);
            ((days as i64).days(), counted(days, "day"))
        };
        let later = below(rng, 2) == 0;
        let from = written(start, "%-d %B %Y");
        let question = match (below(rng, 2) == 0, later) {
            (true, true) => format!("Today is {from}. What will the date be in {span}?"),
            (true, false) => format!("Today is {from}. What was the date {span} ago?"),
            (false, true) => format!("What is the date {span} after {from}?"),
            (false, false) => format!("What is the date {span} before {from}?"),
        };
        let date = if later { start + distance } else { start - distance };
        let text = format!("{question} Write it as YYYY-MM-DD.");
        let is_of_split = (first..=last).contains(&(date.year() as usize));
        is_of_split.then(|| Asked::new(text, written(date, "%F")))
    })
}

fn written(date: Date, format: &str) -> String {
    strtime::format(format, date).expect("a date has a day, a month and a year")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::datasets::generate;
    use crate::datasets::tests::{SPLITS, regex};

    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];

    /// Days since the year 0, whose years begin in March so that a leap day comes last.
    fn ordinal(year: i64, month: i64, day: i64) -> i64 {
        let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day
    }

    fn distance(text: &str) -> i64 {
        let regex = regex(r"(\d+) (day|week)s?( ago| after| before|\?)");
        let found = regex.captures(text).unwrap();
        let days = found[1].parse::<i64>().unwrap() * if &found[2] == "week" { 7 } else { 1 };
        if [" ago", " before"].contains(&&found[3]) { -days } else { days }
    }

    fn start(text: &str) -> i64 {
        let regex = regex(r"(\d+) ([A-Z][a-z]+) (\d{4})");
        let found = regex.captures(text).unwrap();
        let month = MONTHS.iter().position(|month| *month == &found[2]).unwrap() as i64 + 1;
        ordinal(found[3].parse().unwrap(), month, found[1].parse().unwrap())
    }

    fn answered(gold: &str) -> i64 {
        let parts: Vec<i64> = gold.split('-').map(|part| part.parse().unwrap()).collect();
        assert_eq!(gold.len(), 10);
        ordinal(parts[0], parts[1], parts[2])
    }

    #[test]
    fn the_answer_is_as_many_days_away_as_the_question_says() {
        for split in SPLITS {
            for question in generate("date-arithmetic", 2000, 3, split).unwrap() {
                let text = question.text();
                assert_eq!(answered(&question.gold[0]) - start(text), distance(text), "{text}");
            }
        }
        assert_eq!(ordinal(2000, 3, 1) - ordinal(2000, 2, 28), 2);
        assert_eq!(ordinal(2100, 3, 1) - ordinal(2100, 2, 28), 1);
    }

    #[test]
    fn training_and_test_questions_share_no_year() {
        let years = |split| -> HashSet<String> {
            let regex = regex(r"\b(\d{4})\b");
            let questions = generate("date-arithmetic", 5000, 3, split).unwrap();
            let texts = questions.iter().map(|q| format!("{} {}", q.text(), q.gold[0]));
            texts
                .flat_map(|text| regex.find_iter(&text).map(|y| y.as_str().to_string()).collect::<Vec<_>>())
                .collect()
        };
        let (train, test) = (years(Split::Train), years(Split::Test));
        assert!(train.is_disjoint(&test) && !test.is_empty());
    }
}
