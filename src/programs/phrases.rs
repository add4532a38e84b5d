//! How an answer is asked for: the words for each kind of answer.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::task::AnswerRule;

/// What kind of thing an answer is. It decides the words with which a program asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerKind {
    /// A short text.
    Text,
    /// A number.
    Number,
    /// One of a few fixed answers.
    Choice,
    /// A date.
    Date,
}

impl AnswerKind {
    /// All kinds.
    pub const ALL: [AnswerKind; 4] =
        [AnswerKind::Text, AnswerKind::Number, AnswerKind::Choice, AnswerKind::Date];

    /// The kind of answer that `rule` reads.
    pub fn of(rule: &AnswerRule) -> AnswerKind {
        match rule_as_json(rule)["kind"].as_str() {
            Some("number") => AnswerKind::Number,
            Some("choice") => AnswerKind::Choice,
            Some("date") => AnswerKind::Date,
            _ => AnswerKind::Text,
        }
    }

    /// The name of the kind, as the answer rule has it.
    pub fn as_str(self) -> &'static str {
        match self {
            AnswerKind::Text => "text",
            AnswerKind::Number => "number",
            AnswerKind::Choice => "choice",
            AnswerKind::Date => "date",
        }
    }
}

/// The rule as JSON, without the rules that only say where in a completion the answer is: the programs
/// ask for the answer in words of their own, so a user's pattern would not find it.
pub(super) fn rule_as_json(rule: &AnswerRule) -> Value {
    let mut json = serde_json::to_value(rule).expect("an answer rule has only text keys");
    while let Some("pattern" | "json" | "last_line") = json["kind"].as_str() {
        json = match json["as"].take() {
            Value::Null => serde_json::json!({ "kind": "text" }),
            inner => inner,
        };
    }
    json
}

/// The file of phrases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PhraseBook {
    /// The prompt of the step that states the answer after reasoning, see [`super::AnswerStyle::Conclude`].
    pub(super) conclude: String,
    /// The prompt of a closing turn.
    pub(super) closing: String,
    kinds: BTreeMap<AnswerKind, Phrases>,
}

/// The phrases for one kind of answer. `[[noun]]` and `[[choices]]` are filled in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Phrases {
    /// What the answer is called where the user does not say it.
    noun: String,
    /// Asks for the answer and nothing else.
    pub(super) only: String,
    /// The same with less said about its form, if there is such a phrase.
    pub(super) few: Option<String>,
    /// Asks for the marker and the answer, after other text.
    pub(super) mark: String,
    /// Asks for the marker and the answer alone.
    pub(super) mark_only: String,
    /// Asks for the answer at the end of other text, without a marker.
    pub(super) end: String,
    /// The prompt of a closing turn where nobody says what the answer is called: far from the question, a noun
    /// that does not fit every question weighs more than the question. `None` otherwise.
    pub(super) unnamed_closing: Option<String>,
    /// Tokens of a bare answer.
    pub(super) max_tokens: usize,
}

static BOOK: LazyLock<PhraseBook> = LazyLock::new(|| {
    serde_json::from_str(include_str!("data/phrases.json")).expect("the file of phrases is valid")
});

pub(super) fn book() -> &'static PhraseBook {
    &BOOK
}

impl Phrases {
    /// The phrases for answers that `rule`, as JSON, reads. `noun` says what the answer is.
    pub(super) fn new(kind: AnswerKind, rule: &Value, noun: Option<&str>) -> Phrases {
        let phrases = BOOK.kinds[&kind].clone();
        let unnamed_closing = phrases.unnamed_closing.filter(|_| noun.is_none());
        let noun = noun.map_or(phrases.noun.clone(), |noun| noun.trim().to_string());
        let choices: Vec<&str> =
            rule["choices"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let choices = listed(&choices);
        let fill = |text: &str| text.replace("[[noun]]", &noun).replace("[[choices]]", &choices);
        Phrases {
            only: fill(&phrases.only),
            few: phrases.few.as_deref().map(fill),
            mark: fill(&phrases.mark),
            mark_only: fill(&phrases.mark_only),
            end: fill(&phrases.end),
            noun,
            unnamed_closing,
            max_tokens: phrases.max_tokens,
        }
    }
}

/// `A, B or tie`.
fn listed(choices: &[&str]) -> String {
    match choices {
        [] => String::new(),
        [one] => one.to_string(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(json: Value) -> AnswerRule {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_kind_is_that_of_the_answer_wherever_it_stands() {
        for (json, kind) in [
            (json!({"kind": "number"}), AnswerKind::Number),
            (json!({"kind": "text"}), AnswerKind::Text),
            (json!({"kind": "last_line"}), AnswerKind::Text),
            (json!({"kind": "last_line", "as": {"kind": "number"}}), AnswerKind::Number),
            (
                json!({"kind": "json", "field": "v", "as": {"kind": "choice", "choices": ["A", "B"]}}),
                AnswerKind::Choice,
            ),
        ] {
            assert_eq!(AnswerKind::of(&rule(json.clone())), kind, "{json}");
        }
    }

    #[test]
    fn choices_are_listed_as_one_says_them() {
        assert_eq!(listed(&["A"]), "A");
        assert_eq!(listed(&["yes", "no"]), "yes or no");
        assert_eq!(listed(&["A", "B", "tie"]), "A, B or tie");
    }

    #[test]
    fn the_user_s_noun_takes_the_place_of_ours() {
        let text = json!({"kind": "text"});
        let phrases = |noun| Phrases::new(AnswerKind::Text, &text, noun);
        assert_eq!(phrases(None).only, "Answer with the name only.");
        assert_eq!(phrases(Some("name of the country ")).only, "Answer with the name of the country only.");
    }
}
