//! What holds a short completion to the kind of an answer, where the model is asked for its answer alone.

use super::{AnswerRule, Normalize};

/// Maximal number of characters of a free text.
const MAX_LINE: usize = 200;
const CHARACTERS_PER_WORD: usize = 16;

/// What a completion that is nothing but an answer looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerConstraint {
    /// One of these texts, which are choices and their aliases.
    Choices(Vec<String>),
    /// A text of this GBNF grammar.
    Grammar(String),
}

impl AnswerRule {
    /// What a completion that is nothing but an answer of this rule looks like: the choices and their
    /// aliases, a number in plain digits, one short line. A rule that says where the answer is gives the
    /// constraint of the rule that it takes for the answer. [`AnswerRule::read_alone`] reads such a
    /// completion.
    pub fn constraint(&self) -> AnswerConstraint {
        match self {
            AnswerRule::Choice(rule) => AnswerConstraint::Choices(rule.texts()),
            AnswerRule::Number(rule) => AnswerConstraint::Grammar(rule.grammar()),
            AnswerRule::Date(rule) => AnswerConstraint::Grammar(rule.grammar()),
            AnswerRule::Text(rule) => AnswerConstraint::Grammar(line(rule.max_words(), rule.normalize())),
            AnswerRule::Pattern(rule) => rule.reading().constraint(),
            AnswerRule::Json(rule) => rule.reading().constraint(),
            AnswerRule::LastLine(rule) => rule.reading().constraint(),
        }
    }
}

/// One line that begins with something to read.
fn line(max_words: usize, normalize: Normalize) -> String {
    let first = match normalize {
        Normalize::Letters => r#"[^\x00-@\[-`{-\x7f]"#,
        Normalize::Words | Normalize::Exact => r"[^\x00-\x20\x7f]",
    };
    let more = max_words.saturating_mul(CHARACTERS_PER_WORD).min(MAX_LINE) - 1;
    format!("root ::= {first} [^\\x00-\\x1f\\x7f]{{0,{more}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Grammar;

    fn rule(json: &str) -> AnswerRule {
        serde_json::from_str(json).unwrap()
    }

    fn matches(grammar: &str, text: &str) -> bool {
        Grammar::parse(grammar).unwrap().accepts(text).unwrap()
    }

    #[test]
    fn an_answer_of_its_kind_matches_the_constraint_and_is_read() {
        for (json, good, bad) in [
            (r#"{"kind": "number"}"#, vec!["0", "-12", "3.50"], vec!["", "1,5", "a", "1.", "-", "3 "]),
            (r#"{"kind": "number", "decimal": "comma"}"#, vec!["-1,5"], vec!["1.5", "1/2"]),
            (r#"{"kind": "number", "fractions": true}"#, vec!["1.5", "-1/2"], vec!["1/", "1/0", "1.5/2"]),
            (r#"{"kind": "date"}"#, vec!["2026-09-20"], vec!["2026-9-20", "20 Sept 2026", "2026-13-01"]),
            (r#"{"kind": "text"}"#, vec!["Rome", "St. Paul", "Łódź", "- x"], vec!["", " Rome", "a\nb"]),
            (r#"{"kind": "text", "normalize": "letters"}"#, vec!["ab", "éa"], vec!["", "1a"]),
            (r#"{"kind": "last_line", "as": {"kind": "number"}}"#, vec!["7"], vec!["seven"]),
            (r#"{"kind": "pattern", "pattern": "<(.+)>", "as": {"kind": "number"}}"#, vec!["7"], vec!["<7>"]),
            (r#"{"kind": "json", "field": "a"}"#, vec!["Rome"], vec![""]),
        ] {
            let rule = rule(json);
            let AnswerConstraint::Grammar(grammar) = rule.constraint() else { panic!("{json}") };
            for text in good {
                assert!(matches(&grammar, text), "{json}: {text:?}");
                assert!(rule.read_alone(text).is_some(), "{json}: {text:?}");
            }
            for text in bad {
                assert!(!matches(&grammar, text), "{json}: {text:?}");
            }
        }
    }

    #[test]
    fn the_constraint_of_a_choice_is_its_choices_and_aliases() {
        let rule = rule(r#"{"kind": "choice", "choices": ["yes", "no"], "aliases": {"true": "yes"}}"#);
        let AnswerConstraint::Choices(texts) = rule.constraint() else { panic!() };
        assert_eq!(texts, ["yes", "no", "true"]);
        let read: Vec<_> = texts.iter().map(|text| rule.read_alone(text).unwrap().text).collect();
        assert_eq!(read, ["yes", "no", "yes"]);
    }

    #[test]
    fn a_line_is_as_short_as_the_words_that_are_allowed() {
        let rule = rule(r#"{"kind": "text", "max_words": 1}"#);
        let AnswerConstraint::Grammar(grammar) = rule.constraint() else { panic!() };
        assert!(matches(&grammar, &"a".repeat(16)) && !matches(&grammar, &"a".repeat(17)));
    }
}
