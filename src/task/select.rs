//! Asking the model which of its own responses agrees most with the others.

use minijinja::context;
use serde::{Deserialize, Serialize};

use super::Question;
use super::step::{environment, one_line, without_thinking};
use crate::{Error, Result};

const DEFAULT: &str = "{% if question is defined %}Question: {{ question }}\n\n{% endif %}\
    Several people answered:\n\n\
    {% for response in responses %}Response {{ loop.index }}: {{ response }}\n\n{% endfor %}\
    Which response says what most of the others say? Write only its number.";

/// The template with which a universal vote asks for the number of a response. It sees the
/// question's fields, and `responses`, a list of texts that are counted from 1. All of them go into
/// one prompt, which must fit into the context: `{{ response[:300] }}` shows a beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(with = "String")]
#[serde(try_from = "String", into = "String")]
pub struct SelectPrompt(String);

impl SelectPrompt {
    /// The text of the message that asks for the number of one of `responses`.
    ///
    /// # Errors
    /// [`Error::Input`] naming the question where the template asks for a field it does
    /// not have.
    pub fn render(&self, question: &Question, responses: &[&str]) -> Result<String> {
        let responses: Vec<&str> =
            responses.iter().map(|text| without_thinking(text).unwrap_or(text).trim()).collect();
        let values =
            context! { responses => responses, ..minijinja::Value::from_serialize(&question.fields) };
        environment().render_str(&self.0, values).map_err(|error| {
            Error::input(
                format!("question {:?}", question.id),
                format!("\"select_prompt\" cannot be filled in: {}", one_line(&error)),
            )
        })
    }

    pub(super) fn is_default(&self) -> bool {
        self.0 == DEFAULT
    }
}

impl Default for SelectPrompt {
    fn default() -> Self {
        SelectPrompt(DEFAULT.into())
    }
}

impl TryFrom<String> for SelectPrompt {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let environment = environment();
        let template = environment
            .template_from_str(&text)
            .map_err(|error| format!("\"select_prompt\" does not compile: {}", one_line(&error)))?;
        match template.undeclared_variables(false).contains("responses") {
            true => Ok(SelectPrompt(text)),
            false => Err("\"select_prompt\" does not use {{ responses }}, which it is to choose from".into()),
        }
    }
}

impl From<SelectPrompt> for String {
    fn from(prompt: SelectPrompt) -> String {
        prompt.0
    }
}

/// The number between 1 and `most` that a completion gives, if it gives one.
pub fn read_number(text: &str, most: usize) -> Option<usize> {
    let digits = without_thinking(text)?.split(|c: char| !c.is_ascii_digit()).find(|run| !run.is_empty())?;
    digits.parse().ok().filter(|number| (1..=most).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_numbers_the_responses_from_one_and_leaves_thinking_out() {
        let question = Question::new("q", "Why?", vec![]);
        let text = SelectPrompt::default().render(&question, &["<think>hm</think> Rain.", "Wind"]).unwrap();
        assert!(text.starts_with("Question: Why?\n\nSeveral people"), "{text}");
        assert!(text.contains("Response 1: Rain.\n\nResponse 2: Wind\n\nWhich"), "{text}");
    }

    #[test]
    fn a_prompt_of_ones_own_sees_fields_and_must_show_the_responses() {
        let own = SelectPrompt::try_from("{{ topic }}: {{ responses|join(' / ') }}?".to_string()).unwrap();
        let question = Question {
            id: "q".into(),
            fields: [("topic".to_string(), "Tea".to_string())].into(),
            gold: vec![],
        };
        assert_eq!(own.render(&question, &["a", "b"]).unwrap(), "Tea: a / b?");
        assert!(own.render(&Question::new("q", "?", vec![]), &["a"]).is_err());
        assert!(SelectPrompt::try_from("Which?".to_string()).unwrap_err().contains("{{ responses }}"));
        assert!(SelectPrompt::try_from("{{ responses".to_string()).unwrap_err().contains("compile"));
    }

    #[test]
    fn only_a_number_that_was_offered_is_a_choice() {
        let read =
            ["2", "Response 3.", "number 12", "<think>1</think>2", "none", "0", "99999999999999999999"];
        assert_eq!(
            read.map(|text| read_number(text, 3)),
            [Some(2), Some(3), None, Some(2), None, None, None]
        );
    }
}
