//! What the user has not said: the answer rule, from what the model answers, and what an answer is called,
//! from the questions.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::answer_kind::short_text;
use super::offered_choices::offered_choices;
use crate::task::{AnswerRule, Question};

/// The share of the answers that must be of a kind.
const SHARE: f64 = 0.8;
/// The share of the answers that must be among the options that questions offer: small models say other things,
/// too.
const SHARE_OF_OFFERED: f64 = 0.5;
/// The smallest number of answers from which a list of choices is taken.
const MIN_ANSWERS: usize = 12;
/// Words of a choice.
pub(super) const MAX_WORDS: usize = 3;
/// Answers that are choices however few there are, in the order in which one says them.
const KNOWN: [&[&str]; 4] =
    [&["yes", "no"], &["true", "false"], &["A", "B", "tie"], &["A", "B", "C", "D", "E"]];

/// The rule by which answers to the user's questions are read, from the questions and System 1's answers to some
/// of them: a number or a date if nearly all are, a choice if most questions end in the same options or the
/// answers are few and come again and again, or else a text.
pub fn infer_rule(answers: &[String], questions: &[Question]) -> AnswerRule {
    let answers: Vec<String> = answers.iter().map(|answer| bare(answer)).filter(|a| !a.is_empty()).collect();
    let kinds = [json!({ "kind": "date" }), json!({ "kind": "number" })];
    let of_a_kind = kinds.into_iter().filter_map(rule).find(|rule| {
        let count = answers.iter().filter(|answer| is_whole(rule, answer)).count();
        !answers.is_empty() && count as f64 >= SHARE * answers.len() as f64
    });
    let offered = || {
        let rule = rule(json!({ "kind": "choice", "choices": offered_choices(questions, SHARE)? }))?;
        let read = answers.iter().filter(|answer| rule.read_alone(answer).is_some()).count();
        (read as f64 >= SHARE_OF_OFFERED * answers.len() as f64).then_some(rule)
    };
    let choices = || rule(json!({ "kind": "choice", "choices": choices(&answers)? }));
    of_a_kind.or_else(offered).or_else(choices).unwrap_or_else(short_text)
}

/// What an answer is called, for [`Brief::noun`](super::Brief::noun): the word behind "which" or "what" in
/// most of the questions, as in "In which country is Lisbon?" and "What is the capital of Portugal?". English
/// only; `None` where most questions have no such word or different ones.
///
/// Asked for "the name only", a model may answer a rewritten question with the name that stands in it:
/// "Where is Lisbon?" with Lisbon. Asked for "the country only" it does not.
pub fn infer_noun(questions: &[Question]) -> Option<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    for question in questions {
        let found = question.fields.values().find_map(|text| noun_of(text));
        if let Some(noun) = found {
            *counts.entry(noun).or_insert(0) += 1;
        }
    }
    let (noun, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count as f64 >= SHARE * questions.len() as f64).then_some(noun)
}

static NOUN: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?i)\b(?:which|what)\s+(?:(?:is|was|are|were)\s+the\s+)?(\p{L}+)(?:\s+(\p{L}+))?";
    Regex::new(pattern).expect("the pattern is valid")
});

/// Words behind "which" and "what" that name no kind of answer.
const NO_NOUN: &str = "is are was were be do does did has have had will would can could should shall may might \
    must of the a an in on at to for from by with it this that these those one ones he she they i you we kind \
    sort type happens happened about answer name number letter letters word words sentence";

fn noun_of(text: &str) -> Option<String> {
    NOUN.captures_iter(text).find_map(|found| {
        let noun = found[1].to_lowercase();
        let behind = found.get(2).map_or(String::new(), |word| word.as_str().to_lowercase());
        // "What is the largest planet" and "which two cities" have the noun further on.
        let is_last = behind.is_empty() || NO_NOUN.split_whitespace().any(|word| word == behind);
        (is_last && !NO_NOUN.split_whitespace().any(|word| word == noun)).then_some(noun)
    })
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
        serde_json::to_value(infer_rule(&answers, &[])).unwrap()
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
    fn the_noun_is_what_most_questions_ask_for() {
        let noun = |texts: &[&str]| {
            let questions: Vec<Question> =
                texts.iter().map(|text| Question::new("q", *text, vec![])).collect();
            infer_noun(&questions)
        };
        let countries = [
            "My friend says that Doha lies in Spain. Which country is the city of Doha in?",
            "I believe that it is in Peru, though. In which country is Lima?",
            "Which country is Essen a city of? What a question.",
            "In which country is the city of Odesa?",
            "Where is Seoul?",
        ];
        assert_eq!(noun(&countries).as_deref(), Some("country"));
        assert_eq!(noun(&["What is the capital of Peru? I say Cusco."]).as_deref(), Some("capital"));
        for none in [
            &["What is it?"][..],
            &["What does Andrei have in the end?"],
            &["What is the largest planet?"],
            &["What is the date 8 weeks after 1 May?", "Where is it?"],
            &["Which country is it?", "Which river is it?"],
            &["Is the coin heads up?"],
            &[],
        ] {
            assert_eq!(noun(none), None, "{none:?}");
        }
    }

    #[test]
    fn dates_are_dates_in_any_notation_and_years_are_numbers() {
        assert_eq!(inferred(&["1966-10-15", "7 December 1965", "March 1, 2020."])["kind"], "date");
        assert_eq!(inferred(&["1966", "1871", "2020"])["kind"], "number");
    }

    #[test]
    fn yes_and_no_are_choices_however_few_there_are() {
        assert_eq!(inferred(&["Yes.", "yes"])["choices"], json!(["yes", "no"]));
        assert_eq!(inferred(&["A", "B", "A"])["choices"], json!(["A", "B"]));
        assert_eq!(inferred(&["A", "tie", "A"])["choices"], json!(["A", "B", "tie"]));
        assert_eq!(inferred(&["D", "A", "C", "B"])["choices"], json!(["A", "B", "C", "D"]));
    }

    #[test]
    fn options_that_most_questions_offer_are_choices_if_answers_are_among_them() {
        let questions: Vec<Question> = (0..8)
            .map(|i| Question::new("q", format!("Claim {i}. Which is it: refuse, repair or refund?"), vec![]))
            .collect();
        let kind = |answers: &[&str]| {
            let answers: Vec<String> = answers.iter().map(|answer| answer.to_string()).collect();
            serde_json::to_value(infer_rule(&answers, &questions)).unwrap()
        };
        assert_eq!(kind(&["refuse", "Refuse.", "Elif"])["choices"], json!(["refuse", "repair", "refund"]));
        assert_eq!(kind(&["Elif", "camera", "refuse"])["kind"], "text");
        assert_eq!(kind(&["3", "4", "5"])["kind"], "number");
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
        assert_eq!(serde_json::to_value(infer_rule(&cities, &[])).unwrap()["kind"], "text");
        assert_eq!(
            repeated(&["a sentence of many words", "another sentence of many words"], 12)["kind"],
            "text"
        );
    }
}
