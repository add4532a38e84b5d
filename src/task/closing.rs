//! The closing turn: after the last step, the model is asked in the same conversation for its answer
//! alone.
//!
//! A completion that was reasoned well may end without an answer that a rule can read: without its
//! marker, with two candidates, or at `max_tokens`. The closing turn asks for it, as the second prompt
//! of zero-shot chain of thought does (Kojima et al. 2022, arXiv 2205.11916), greedily and held to the
//! kind of the answer. A completion that ended at `max_tokens` is closed where it ended, as if the model
//! had stopped there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{AnswerConstraint, DATE_GRAMMAR};
use super::{AnswerRule, ItemRule, Step, step::REPEAT_LAST};
use crate::grammar::Grammar;

/// The name of the closing turn among the records of a sample.
pub const CLOSING: &str = "closing";

/// Enough for a number, a date or a short line.
const MAX_TOKENS: usize = 24;

/// The last turn of a sample, which asks for its answer alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Closing {
    /// Which samples have it.
    pub when: ClosingWhen,
    /// Template of the user message, if it is the task's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What the completion is held to.
    #[serde(skip_serializing_if = "ClosingKind::is_default")]
    pub kind: ClosingKind,
    /// Maximal number of tokens to generate, including the end of the turn.
    pub max_tokens: usize,
    /// The call.
    #[serde(skip)]
    pub(crate) step: Step,
}

/// A last turn in the conversation of the last step, which asks the model for its answer alone: greedy,
/// held to the kind of the answer, a few tokens. Without it, answers are read from the last completion
/// only.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Closing")]
pub(super) struct RawClosing {
    /// Which samples have it.
    #[serde(default)]
    when: ClosingWhen,
    /// Template of the user message; by default it asks for the answer alone, and names the choices if
    /// there are some. It sees the question's fields and the outputs of all steps.
    prompt: Option<String>,
    /// What the completion is held to; by default to the kind of the answer rule.
    #[serde(default)]
    kind: ClosingKind,
    /// Maximal number of tokens to generate, including the end of the turn; by default 24.
    #[schemars(range(min = 1, max = 1048576))]
    max_tokens: Option<usize>,
}

/// Which samples have a closing turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClosingWhen {
    /// Those whose last completion holds no answer.
    #[default]
    Unread,
    /// All. The answer is read from the closing turn alone, and the last completion is not ended early.
    Always,
}

/// What the completion of a closing turn is held to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClosingKind {
    /// The kind of the answer rule.
    #[default]
    Answer,
    /// One of the choices of the answer rule.
    Choice,
    /// A decimal number.
    Number,
    /// A date, as 2024-02-29.
    Date,
    /// One short line.
    Line,
    /// Nothing.
    Free,
}

impl ClosingKind {
    fn is_default(&self) -> bool {
        *self == ClosingKind::default()
    }
}

impl RawClosing {
    /// The error is one line.
    pub(super) fn checked(self, rule: &AnswerRule) -> Result<Closing, String> {
        let RawClosing { when, prompt, kind, max_tokens } = self;
        let constraint = constraint(kind, rule)?;
        let max_tokens = max_tokens.unwrap_or(MAX_TOKENS);
        let own = prompt.clone().unwrap_or_else(|| default_prompt(kind, rule));
        let (choices, grammar) = match constraint {
            Some(AnswerConstraint::Choices(choices)) => (choices, None),
            Some(AnswerConstraint::Grammar(grammar)) => (Vec::new(), Some(grammar)),
            None => (Vec::new(), None),
        };
        let step = Step {
            name: CLOSING.into(),
            for_each: None,
            continues: None,
            items: ItemRule::default(),
            system: None,
            prompt: own,
            examples: Vec::new(),
            max_examples: None,
            max_tokens,
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last: REPEAT_LAST,
            choices,
            grammar,
            stop: Vec::new(),
            marker: None,
            thinking: false,
        };
        Ok(Closing { when, prompt, kind, max_tokens, step })
    }
}

/// Refuses a kind of which no answer could be read by `rule`.
fn check_kind(kind: ClosingKind, rule: &AnswerRule) -> Result<(), String> {
    let contradicts = |found: &str, wanted: &str| {
        Err(format!(
            "\"kind\" is {found:?}, but the answer rule reads {wanted}, so no closing turn would have an answer; \
             leave \"kind\" out"
        ))
    };
    let can_be = |grammar: &str, rule: &super::ChoiceRule| {
        let grammar = Grammar::parse(grammar).expect("it is valid");
        rule.texts().iter().any(|text| grammar.accepts(text.trim()) == Ok(true))
    };
    match (kind, rule) {
        (ClosingKind::Date, AnswerRule::Number(_)) => contradicts("date", "numbers"),
        (ClosingKind::Number, AnswerRule::Date(_)) => contradicts("number", "dates"),
        (ClosingKind::Number, AnswerRule::Choice(choice)) if !can_be(NUMBER, choice) => {
            contradicts("number", "one of its choices, and none is a number")
        }
        (ClosingKind::Date, AnswerRule::Choice(choice)) if !can_be(DATE_GRAMMAR, choice) => {
            contradicts("date", "one of its choices, and none is a date as 2024-02-29")
        }
        _ => Ok(()),
    }
}

/// What [`ClosingKind::Number`] allows.
const NUMBER: &str = r#"root ::= "-"? [0-9]+ ("." [0-9]+)?"#;

fn constraint(kind: ClosingKind, rule: &AnswerRule) -> Result<Option<AnswerConstraint>, String> {
    let grammar = |text: &str| Some(AnswerConstraint::Grammar(text.into()));
    check_kind(kind, rule.innermost())?;
    Ok(match (kind, rule.constraint()) {
        (ClosingKind::Answer, own) | (ClosingKind::Choice, own @ AnswerConstraint::Choices(_)) => Some(own),
        (ClosingKind::Choice, _) => {
            return Err("\"kind\" is \"choice\", but the answer rule has no choices".into());
        }
        // With the rule's own decimal mark.
        (ClosingKind::Number, own) if matches!(rule.innermost(), AnswerRule::Number(_)) => Some(own),
        (ClosingKind::Number, _) => grammar(NUMBER),
        (ClosingKind::Date, _) => grammar(DATE_GRAMMAR),
        (ClosingKind::Line, _) => grammar(r"root ::= [^\x00-\x20\x7f] [^\x00-\x1f\x7f]{0,119}"),
        (ClosingKind::Free, _) => None,
    })
}

fn default_prompt(kind: ClosingKind, rule: &AnswerRule) -> String {
    const ASK: &str = "So what is the final answer?";
    let what = match (kind, rule.innermost()) {
        (ClosingKind::Answer | ClosingKind::Choice, AnswerRule::Choice(rule)) => {
            let choices = rule.choices().join(", ").replace("{", "{{ '{' }}");
            return format!("{ASK} Write one of these and nothing else: {choices}");
        }
        (ClosingKind::Number, _) | (ClosingKind::Answer, AnswerRule::Number(_)) => "only the number",
        (ClosingKind::Date, _) | (ClosingKind::Answer, AnswerRule::Date(_)) => {
            "only the date, as year-month-day"
        }
        // A small model repeats a sentence where it is asked for what is final.
        _ => return "Give only the answer to the question, nothing else.".into(),
    };
    format!("{ASK} Write {what}.")
}
