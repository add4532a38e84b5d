//! The prompt that asks the model whether two answers mean the same.

use minijinja::context;
use serde::{Deserialize, Serialize};

use super::step::{environment, one_line};
use super::{Answer, Question};
use crate::{Error, Result};

const DEFAULT: &str = "{% if question is defined %}Question: {{ question }}\n\n{% endif %}\
    Two people answered:\n1. {{ a }}\n2. {{ b }}\n\n\
    Is that the same answer, in other words or another spelling? Write yes or no.";

/// The template that asks whether two answers mean the same; the model writes yes or no. It sees the
/// question's fields and the answers as `a` and `b`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(with = "String")]
#[serde(try_from = "String", into = "String")]
pub struct EquivalencePrompt(String);

impl EquivalencePrompt {
    /// The text of the message that asks whether `a` and `b` mean the same.
    ///
    /// # Errors
    /// [`Error::Input`] with the question's id if the template uses a field that the question does not
    /// have.
    pub fn render(&self, question: &Question, a: &Answer, b: &Answer) -> Result<String> {
        let values =
            context! { a => a.text, b => b.text, ..minijinja::Value::from_serialize(&question.fields) };
        environment().render_str(&self.0, values).map_err(|error| {
            Error::input(
                format!("question {:?}", question.id),
                format!("\"equivalence_prompt\" cannot be filled in: {}", one_line(&error)),
            )
        })
    }

    pub(super) fn is_default(&self) -> bool {
        self.0 == DEFAULT
    }
}

impl Default for EquivalencePrompt {
    fn default() -> Self {
        EquivalencePrompt(DEFAULT.into())
    }
}

impl TryFrom<String> for EquivalencePrompt {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let environment = environment();
        let template = environment
            .template_from_str(&text)
            .map_err(|error| format!("\"equivalence_prompt\" does not compile: {}", one_line(&error)))?;
        let used = template.undeclared_variables(false);
        match ["a", "b"].into_iter().find(|name| !used.contains(*name)) {
            Some(name) => Err(format!(
                "\"equivalence_prompt\" does not use {{{{ {name} }}}}; it compares the answers a and b"
            )),
            None => Ok(EquivalencePrompt(text)),
        }
    }
}

impl From<EquivalencePrompt> for String {
    fn from(prompt: EquivalencePrompt) -> String {
        prompt.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer { key: text.to_lowercase(), text: text.into() }
    }

    #[test]
    fn the_prompt_shows_the_question_and_both_answers() {
        let question = Question::new("q", "Where?", vec![]);
        let text = EquivalencePrompt::default().render(&question, &answer("NYC"), &answer("New York"));
        let text = text.unwrap();
        assert!(
            text.starts_with("Question: Where?\n\nTwo people answered:\n1. NYC\n2. New York\n"),
            "{text}"
        );
    }

    #[test]
    fn a_user_s_prompt_must_show_both_answers() {
        let own = EquivalencePrompt::try_from("{{ a }} = {{ b }}?".to_string()).unwrap();
        let question = Question::new("q", "?", vec![]);
        assert_eq!(own.render(&question, &answer("x"), &answer("y")).unwrap(), "x = y?");
        let refusal = EquivalencePrompt::try_from("{{ a }}?".to_string()).unwrap_err();
        assert!(refusal.contains("does not use {{ b }}"), "{refusal}");
        assert!(EquivalencePrompt::try_from("{{ a".to_string()).unwrap_err().contains("compile"));
    }
}
