//! The answer rule, from what the model answers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::task::AnswerRule;

/// The share of the answers that must be of a kind.
const SHARE: f64 = 0.8;
/// The smallest number of answers from which a list of choices is taken.
const MIN_ANSWERS: usize = 12;
/// Words of a choice.
const MAX_WORDS: usize = 3;
/// Answers that are choices however few there are, in the order in which one says them.
const KNOWN: [&[&str]; 4] =
    [&["yes", "no"], &["true", "false"], &["A", "B", "tie"], &["A", "B", "C", "D", "E"]];

/// The rule by which answers to the user's questions are read, from System 1's answers to some of them:
/// a number or a date if nearly all are, a choice if they are few and come again and again, or else a
/// text.
pub fn infer_rule(answers: &[String]) -> AnswerRule {
    let answers: Vec<String> = answers.iter().map(|answer| bare(answer)).filter(|a| !a.is_empty()).collect();
    let kinds = [json!({ "kind": "date" }), json!({ "kind": "number" })];
    let of_a_kind = kinds.into_iter().filter_map(rule).find(|rule| {
        let count = answers.iter().filter(|answer| is_whole(rule, answer)).count();
        !answers.is_empty() && count as f64 >= SHARE * answers.len() as f64
    });
    let choices = || rule(json!({ "kind": "choice", "choices": choices(&answers)? }));
    of_a_kind.or_else(choices).or_else(|| rule(json!({ "kind": "text" }))).expect("a text needs nothing")
}

/// `None` for a kind that there is not.
fn rule(json: Value) -> Option<AnswerRule> {
    serde_json::from_value(json).ok()
}

/// The first line without what surrounds an answer.
fn bare(answer: &str) -> String {
    let line = answer.trim().lines().next().unwrap_or("");
    let marks = |c: char| c.is_whitespace() || "*_`\"'“”:".contains(c);
    let mut text = line.trim_matches(marks);
    for lead in ["the answer is", "answer"] {
        // The lead is ASCII, so that it takes as many bytes in any case.
        let is_lead = text.get(..lead.len()).is_some_and(|start| start.eq_ignore_ascii_case(lead));
        if is_lead && !text[lead.len()..].starts_with(char::is_alphanumeric) {
            text = text[lead.len()..].trim_matches(marks);
        }
    }
    text.trim_end_matches(['.', '!']).trim_matches(marks).to_string()
}

/// Whether the answer is a number or a date, with at most a unit beside it, and not a text with one in
/// it.
fn is_whole(rule: &AnswerRule, answer: &str) -> bool {
    let words = answer.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).count();
    words <= 1 && answer.contains(|c: char| c.is_ascii_digit()) && rule.key(answer).is_some()
}

/// The choices, if the answers are so few that no others are to be expected.
fn choices(answers: &[String]) -> Option<Vec<String>> {
    let mut counts: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for answer in answers {
        counts.entry(answer.to_lowercase()).or_insert((0, answer)).0 += 1;
    }
    let share = |count: usize| !answers.is_empty() && count as f64 >= SHARE * answers.len() as f64;
    for known in KNOWN {
        let of = |name: &str| counts.get(&name.to_lowercase()).map_or(0, |(count, _)| *count);
        if share(known.iter().map(|name| of(name)).sum()) {
            // The first two are always possible; a third is where it was seen.
            let last = known.iter().rposition(|name| of(name) > 0).unwrap_or(0).max(1);
            return Some(known[..=last].iter().map(|name| name.to_string()).collect());
        }
    }
    let often: Vec<&(usize, &str)> = counts.values().filter(|(count, _)| *count >= 2).collect();
    let short = often.iter().all(|(_, text)| text.split_whitespace().count() <= MAX_WORDS);
    // One answer to every question says what the model prefers and not what can be asked.
    let few = (2..=answers.len() / 6).contains(&often.len());
    let most = often.iter().map(|(count, _)| count).sum::<usize>() as f64 >= 0.9 * answers.len() as f64;
    (answers.len() >= MIN_ANSWERS && short && few && most)
        .then(|| often.iter().map(|(_, text)| text.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(answers: &[&str]) -> Value {
        let answers: Vec<String> = answers.iter().map(|answer| answer.to_string()).collect();
        serde_json::to_value(infer_rule(&answers)).unwrap()
    }

    fn repeated(answers: &[&str], times: usize) -> Value {
        inferred(&answers.repeat(times))
    }

    #[test]
    fn numbers_with_a_unit_are_numbers_and_names_with_a_number_are_none() {
        assert_eq!(
            inferred(&["3", "1,200.", "**7**.", "12 apples", "The answer is: 5.", "I do not know"])["kind"],
            "number"
        );
        assert_eq!(inferred(&["Apollo 11 mission", "Route 66", "Henry the 8th", "Area 51"])["kind"], "text");
        assert_eq!(inferred(&["3", "blue", "7", "green"])["kind"], "text");
        assert_eq!(bare("Answers vary."), "Answers vary");
    }

    #[test]
    fn yes_and_no_are_choices_however_few_there_are() {
        assert_eq!(inferred(&["Yes.", "yes"])["choices"], json!(["yes", "no"]));
        assert_eq!(inferred(&["A", "B", "A"])["choices"], json!(["A", "B"]));
        assert_eq!(inferred(&["A", "tie", "A"])["choices"], json!(["A", "B", "tie"]));
        assert_eq!(inferred(&["D", "A", "C", "B"])["choices"], json!(["A", "B", "C", "D"]));
    }

    #[test]
    fn a_few_answers_that_come_again_are_choices() {
        assert_eq!(repeated(&["refund", "repair"], 8)["choices"], json!(["refund", "repair"]));
        assert_eq!(
            repeated(&["Refund", "refund.", "repair", "escalate"], 6)["choices"].as_array().unwrap().len(),
            3
        );
    }

    #[test]
    fn answers_that_hardly_come_again_are_texts() {
        for answers in [&["Paris"; 24][..], &["Paris", "Rome"], &[], &[""]] {
            assert_eq!(inferred(answers)["kind"], "text", "{answers:?}");
        }
        let cities: Vec<String> = (0..24).map(|i| format!("city {}", (b'a' + i) as char)).collect();
        assert_eq!(serde_json::to_value(infer_rule(&cities)).unwrap()["kind"], "text");
        assert_eq!(
            repeated(&["a sentence of many words", "another sentence of many words"], 12)["kind"],
            "text"
        );
    }
}
