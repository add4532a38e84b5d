//! Gold answers against the answer rule, and questions that two sets share.
//!
//! A gold answer that the rule cannot read makes every answer to its question wrong, and a question that is
//! learned from and measured on makes figures too good. Both look like results, so they are refused before
//! anything is asked.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use super::{AnswerRule, Question};
use crate::{Error, Result};

/// Refuses questions none of whose gold answers `rule` can read. `field` names the questions in the error.
///
/// # Errors
/// [`Error::Input`] with the first such question, its gold answers and the rule.
pub(crate) fn check_gold(rule: &AnswerRule, questions: &[Question], field: &'static str) -> Result<()> {
    let is_unreadable = |question: &&Question| {
        !question.gold.is_empty() && question.gold.iter().all(|gold| rule.key(gold).is_none())
    };
    let mut unreadable = questions.iter().filter(is_unreadable);
    let Some(first) = unreadable.next() else { return Ok(()) };
    let gold: Vec<String> = first.gold.iter().map(|gold| format!("{gold:?}")).collect();
    let others = match unreadable.count() {
        0 => String::new(),
        1 => " (and of one more)".into(),
        n => format!(" (and of {n} more)"),
    };
    let rule = serde_json::to_string(rule).unwrap_or_default();
    let why = format!(
        "the answer of question {:?}{others} is {}, which the answer rule {rule} does not read, so that every answer \
         would count as wrong; write it as the rule reads it, or leave \"answer\" out",
        first.id,
        gold.join(" or ")
    );
    Err(Error::field(field, why))
}

/// The first of `others` that is also among `questions`, however its spaces, letters and accents are written.
pub(crate) fn shared_question<'a>(questions: &[Question], others: &'a [Question]) -> Option<&'a Question> {
    if others.is_empty() {
        return None;
    }
    // `questions` may be millions, `others` are few.
    let mut places = HashMap::new();
    for (place, other) in others.iter().enumerate() {
        places.entry(plain(other)).or_insert(place);
    }
    let shared = questions.iter().filter_map(|question| places.get(&plain(question)));
    shared.min().map(|place| &others[*place])
}

/// The fields in composed characters and lower case, with single spaces.
fn plain(question: &Question) -> Vec<(String, String)> {
    let plain = |text: &String| {
        let text: String = text.nfc().flat_map(char::to_lowercase).nfc().collect();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    question.fields.iter().map(|(name, text)| (name.to_string(), plain(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> AnswerRule {
        serde_json::from_str(json).unwrap()
    }

    fn with_gold(id: &str, gold: &[&str]) -> Question {
        Question::new(id, format!("What of {id}?"), gold.iter().map(|text| text.to_string()).collect())
    }

    #[test]
    fn an_answer_that_the_rule_cannot_read_is_refused_with_its_question_and_the_rule() {
        let number = rule(r#"{"kind": "number"}"#);
        let check = |questions: &[Question]| check_gold(&number, questions, "gold");
        let fine = [with_gold("a", &["7"]), with_gold("b", &[]), with_gold("c", &["7 or 8", "8"])];
        assert!(check(&fine).is_ok(), "one readable alternative is enough");
        for (bad, shown) in [(&["7 apples or 8"][..], "\"7 apples or 8\""), (&["", "so"], "\"\" or \"so\"")] {
            let questions = [with_gold("a", &["7"]), with_gold("b", bad), with_gold("c", bad)];
            let error = check(&questions).unwrap_err().to_string();
            assert!(error.starts_with("gold: the answer of question \"b\" (and of one more)"), "{error}");
            assert!(error.contains(shown) && error.contains(r#"{"kind":"number""#), "{error}");
        }
    }

    #[test]
    fn gold_is_read_as_the_bare_answer_of_rules_that_say_where_it_is() {
        for json in [
            r#"{"kind": "pattern", "pattern": "answer is (.*)\\.", "as": {"kind": "number"}}"#,
            r#"{"kind": "json", "field": "n", "as": {"kind": "number"}}"#,
            r#"{"kind": "last_line", "as": {"kind": "number"}}"#,
        ] {
            assert!(check_gold(&rule(json), &[with_gold("a", &["7"])], "gold").is_ok(), "{json}");
            assert!(check_gold(&rule(json), &[with_gold("a", &["no idea"])], "gold").is_err(), "{json}");
        }
        assert!(check_gold(&rule(r#"{"kind": "text"}"#), &[with_gold("a", &[" "])], "gold").is_err());
    }

    #[test]
    fn a_question_in_other_spaces_case_or_unicode_form_is_the_same() {
        let ask = |text: &str| Question::new("x", text, vec![]);
        let known = [ask("Where is Bogotá?"), ask("What is 10²?")];
        for same in ["where  is BOGOTÁ?", " Where is Bogota\u{301}?\n"] {
            assert!(shared_question(&known, &[ask("Who?"), ask(same)]).is_some(), "{same:?}");
        }
        for other in ["Where is Bogota?", "What is 102?", ""] {
            assert!(shared_question(&known, &[ask(other)]).is_none(), "{other:?}");
        }
        let found = [with_gold("first", &[]), ask("what is 10²?"), ask("Where is Bogotá?")];
        assert_eq!(shared_question(&known, &found).unwrap().text(), "what is 10²?", "the first of them");
    }
}
