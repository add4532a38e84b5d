//! The prompt of a universal vote, which asks the model to select one of its own responses.

use minijinja::context;
use serde::{Deserialize, Serialize};

use super::Question;
use super::step::{environment, one_line, without_thinking};
use crate::{Error, Result};

const DEFAULT: &str = "{% if question is defined %}Question: {{ question }}\n\n{% endif %}\
    Several people answered:\n\n\
    {% for response in responses %}Response {{ loop.index }}: {{ response }}\n\n{% endfor %}\
    Which response says what most of the others say? Write only its number.";

/// The template that asks for the number of a response in a universal vote. It sees the question's fields
/// and `responses`, a list of texts that are numbered from 1. The prompt with all of them must fit into
/// the context; `{{ response[:300] }}` shows only the beginning of a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(with = "String")]
#[serde(try_from = "String", into = "String")]
pub struct SelectPrompt(String);

impl SelectPrompt {
    /// The text of the message that asks for the number of one of `responses`.
    ///
    /// # Errors
    /// [`Error::Input`] with the question's id if the template uses a field that the question does not
    /// have.
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
        if !template.undeclared_variables(false).contains("responses") {
            return Err("\"select_prompt\" does not use {{ responses }}, the list to select from".into());
        }
        Ok(SelectPrompt(text))
    }
}

impl From<SelectPrompt> for String {
    fn from(prompt: SelectPrompt) -> String {
        prompt.0
    }
}

/// The first number of a completion, if it is in `1..=max`.
pub(crate) fn read_number(text: &str, max: usize) -> Option<usize> {
    let digits = without_thinking(text)?.split(|c: char| !c.is_ascii_digit()).find(|run| !run.is_empty())?;
    digits.parse().ok().filter(|number| (1..=max).contains(number))
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
    fn a_user_s_prompt_sees_fields_and_must_show_the_responses() {
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
