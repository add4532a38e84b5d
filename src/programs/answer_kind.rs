//! Answer rules as a user writes them on one line.

use serde_json::{Value, json};

use crate::task::AnswerRule;
use crate::{Error, Result};

/// What small models write before an answer, though they were asked for nothing else; an article before it is
/// taken off too.
const LEAD_INS: [&str; 5] = [
    "answer is",
    "answer to this question is",
    "answer to the question is",
    "final answer is",
    "correct answer is",
];

/// Sentences that a model writes where a name was asked for: "The capital of Mali is Bamako", "Oyo is located in
/// Nigeria". A name or a number has to follow: in "The city of Oyo is larger" the answer is not "larger".
const SENTENCES: [&str; 2] = [
    concat!(
        r"^\W*(?i:the|its) (?:[^\s.!?;:]+ ){1,6}?(?i:of|for|in) (?:[^\s!?;:]+ ){1,6}?(?i:is|was|are|were) ",
        r"(?:(?i:indeed|actually|currently|called|named|known as|probably) )*",
        r#"(["“'‘(]*(?:(?i:the|an?) )?[$€£\p{Lu}\p{N}].*)"#,
    ),
    concat!(
        r"^\W*(?:[^\s!?;:]+ ){1,6}?(?i:is|was|are|were) (?:(?i:indeed|actually|currently) )*",
        r"(?i:located|situated|found) (?i:in|on|at) ((?:(?i:the|an?) )?\p{Lu}.*)",
    ),
];

/// The rule for short texts where nothing more is known of them.
pub fn short_text() -> AnswerRule {
    let rule = json!({ "kind": "text", "patterns": SENTENCES, "strip": LEAD_INS });
    serde_json::from_value(rule).expect("the rule is valid")
}

/// The rule that `text` says: `number`, `text`, `date`, `choice:yes,no`, or a rule as a task file has it, in
/// JSON.
///
/// # Errors
/// [`Error::Input`] for anything else.
pub fn parse_answer_kind(text: &str) -> Result<AnswerRule> {
    let refuse = |why: String| Error::field("answer", why);
    let rule: Value = match text.split_once(':') {
        _ if text.trim_start().starts_with('{') => {
            serde_json::from_str(text).map_err(|error| refuse(format!("not JSON: {error}")))?
        }
        Some(("choice", choices)) => {
            let choices: Vec<&str> = choices.split(',').map(str::trim).filter(|c| !c.is_empty()).collect();
            json!({"kind": "choice", "choices": choices})
        }
        None if text == "text" => return Ok(short_text()),
        None if ["number", "date"].contains(&text) => json!({"kind": text}),
        _ => {
            let expected = "number, text, date, choice:yes,no or a rule of a task file as JSON";
            return Err(refuse(format!("{text:?} is not an answer rule; expected {expected}")));
        }
    };
    serde_json::from_value(rule).map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the keys that short texts are read as.
    fn check(cases: &[(&str, &str)]) {
        for (text, key) in cases {
            let read = short_text().read_alone(text).map(|answer| answer.key);
            assert_eq!(read.as_deref(), Some(*key), "{text}");
        }
    }

    #[test]
    fn a_lead_in_is_no_part_of_a_short_text() {
        check(&[
            ("The answer is: Rwanda", "rwanda"),
            ("The correct answer is \"Oyo\".", "oyo"),
            ("answer is the Nile", "nile"),
            ("The answer is", "answer is"),
            ("No answer", "no answer"),
        ]);
    }

    #[test]
    fn a_short_text_is_read_from_the_sentence_that_it_is_said_in() {
        check(&[
            ("The capital of Mali is Bamako. Bamako is a city in the south.", "bamako"),
            ("**The capital of Honduras is indeed Tegucigalpa.**", "tegucigalpa"),
            ("The currency of Kenya is the Kenyan shilling", "kenyan shilling"),
            ("The total cost of the order is $612.", "$612"),
            ("Oyo is located in Nigeria.", "nigeria"),
            ("The city of Oyo is larger", "city of oyo is larger"),
            ("The blanket is the heaviest", "blanket is the heaviest"),
            ("Bank of England", "bank of england"),
            ("The Hague", "hague"),
        ]);
        let long =
            "The weather of the island is warm because it lies near the equator. The capital is not known.";
        assert_eq!(short_text().read_alone(long), None);
    }

    #[test]
    fn kinds_choices_and_rules_are_read() {
        for (text, kind) in [
            ("number", "number"),
            ("text", "text"),
            ("choice:yes, no", "choice"),
            (r#"{"kind": "text", "max_words": 3}"#, "text"),
        ] {
            let rule = serde_json::to_value(parse_answer_kind(text).unwrap()).unwrap();
            assert_eq!(rule["kind"], kind, "{text}");
        }
        for (text, why) in [("numbr", "is not an answer rule"), ("choice:", "choice"), ("{", "not JSON")] {
            let error = parse_answer_kind(text).unwrap_err().to_string();
            assert!(error.starts_with("answer: ") && error.contains(why), "{error}");
        }
    }
}
