//! One model call of a task: its prompt template and its sampling parameters.

use std::collections::BTreeMap;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::example::{self, WorkedExample};
use super::{ItemRule, Question};
use crate::{Error, Result};

/// The name of the current item in the template of a step with `for_each`.
pub(super) const ITEM: &str = "item";

/// One call of the model or, with `for_each`, one call for each item of an earlier output.
///
/// Templates are Jinja (minijinja). They see the question's fields and the outputs of earlier steps by
/// the names of the steps. The output of a step with `for_each` is a list of objects with an `item` and
/// an `output`: `{% for part in judge %}{{ part.item }}: {{ part.output }}{% endfor %}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The name under which later steps see the output of this step.
    pub name: String,
    /// The name of an earlier step. This step runs once for each item of its output, which the template
    /// sees as `item`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_each: Option<String>,
    /// The name of an earlier step that ran once. This step is the next turn of its conversation: its
    /// messages, its completion, then this step's prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// How that output is split into items.
    #[serde(skip_serializing_if = "ItemRule::is_default")]
    pub items: ItemRule,
    /// Template of the system message; without it there is no system message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Template of the user message.
    pub prompt: String,
    /// Worked examples, shown as turns before the real question.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<WorkedExample>,
    /// Number of examples that are drawn for each sample; all are shown if it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_examples: Option<usize>,
    /// Maximal number of tokens to generate, including the end of the turn.
    pub max_tokens: usize,
    /// Sampling temperature; 0 always takes the most likely token.
    pub temperature: f32,
    /// Samples only from the most likely tokens that together have this probability; 1 is off.
    pub top_p: f32,
    /// Samples only from this number of most likely tokens; 0 is off.
    pub top_k: usize,
    /// Leaves out tokens that are less likely than this fraction of the most likely one; 0 is off.
    pub min_p: f32,
    /// Makes recently generated tokens less likely: 1.1 is a little; 1 is off.
    #[serde(skip_serializing_if = "is_one")]
    pub repeat_penalty: f32,
    /// Number of last generated tokens to which `repeat_penalty` applies. It never applies to tokens of
    /// the prompt.
    #[serde(skip_serializing_if = "is_repeat_last")]
    pub repeat_last: usize,
    /// The texts that the completion can be; empty allows all texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// A grammar that the completion follows, in GBNF, the notation of llama.cpp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grammar: Option<String>,
    /// Texts that end the completion, of which they are not a part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// A text that announces the answer. The answer is read after its last occurrence, and a completion
    /// without it has no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<Marker>,
    /// Whether a model with a thinking mode uses it.
    #[serde(skip_serializing_if = "is_false")]
    pub thinking: bool,
}

/// The output of a finished step, for the templates of later steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The completion of a step that ran once.
    Text(String),
    /// The completions of a step with `for_each`, in the order of the items.
    Parts(Vec<Part>),
}

/// An item, and the completion of the call for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The item.
    pub item: String,
    /// The completion.
    pub output: String,
}

impl Output {
    fn value(&self) -> Value {
        let text = |output: &str| without_thinking(output).unwrap_or("").trim().to_string();
        match self {
            Output::Text(output) => text(output).into(),
            Output::Parts(parts) => parts
                .iter()
                .map(|part| BTreeMap::from([(ITEM, part.item.clone()), ("output", text(&part.output))]))
                .map(Value::from_serialize)
                .collect(),
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_one(factor: &f32) -> bool {
    *factor == 1.0
}

/// The default of llama.cpp's tools.
pub(super) const REPEAT_LAST: usize = 64;

pub(super) fn is_repeat_last(n: &usize) -> bool {
    *n == REPEAT_LAST
}

impl Step {
    /// Whether a completion that one of the `stop` texts ended may have ended in the middle of a number: `3`
    /// of "3.5", where `.` is such a text.
    pub(crate) fn stops_in_number(&self, completion: &str) -> bool {
        let goes_on = |stop: &String| stop.starts_with(|c: char| c.is_alphanumeric() || ".,:/-'".contains(c));
        completion.ends_with(char::is_numeric) && self.stop.iter().any(goes_on)
    }

    /// The messages to send, as (role, text): `system` if the step has a system template, `user` and
    /// `assistant` for each worked example, then `user`. For a step that continues a conversation, only
    /// the last.
    ///
    /// `outputs` are the outputs of earlier steps by name, of which thinking (`<think>…</think>`) and
    /// surrounding white space are removed. For a step with `for_each`, the current item is among them
    /// as `item`.
    ///
    /// # Errors
    /// [`Error::Input`] with the question's id if a template uses a field that the question does not
    /// have, or if a field has the name of a step.
    pub fn render(
        &self,
        question: &Question,
        outputs: &[(String, Output)],
    ) -> Result<Vec<(&'static str, String)>> {
        self.render_drawn(question, outputs, 0)
    }

    /// The same with the examples that `seed` draws, for a step with `max_examples`.
    ///
    /// # Errors
    /// As [`Step::render`].
    pub fn render_drawn(
        &self,
        question: &Question,
        outputs: &[(String, Output)],
        seed: u64,
    ) -> Result<Vec<(&'static str, String)>> {
        let refuse = |why: String| Error::input(format!("question {:?}", question.id), why);
        let mut values: BTreeMap<&str, Value> =
            question.fields.iter().map(|(name, text)| (name.as_str(), text.as_str().into())).collect();
        for (name, output) in outputs {
            if values.insert(name, output.value()).is_some() {
                return Err(refuse(if name == ITEM {
                    "its field \"item\" has the name that a step with \"for_each\" needs; rename the field"
                        .into()
                } else {
                    format!("its field {name:?} has the name of a step; rename one of them")
                }));
            }
        }
        let environment = environment();
        let fill = |template: &str| {
            environment.render_str(template, &values).map_err(|error| {
                let unknown = self.unknown_names(&values);
                refuse(match error.kind() {
                    ErrorKind::UndefinedError if !unknown.is_empty() => {
                        let has: Vec<&str> = values.keys().copied().collect();
                        format!(
                            "the prompt of step {:?} uses a field that the question does not have ({}); it has: {}",
                            self.name,
                            unknown.join(", "),
                            has.join(", ")
                        )
                    }
                    _ => format!("the prompt of step {:?} cannot be filled in: {}", self.name, one_line(&error)),
                })
            })
        };
        let mut messages = Vec::with_capacity(2);
        if let Some(system) = &self.system {
            messages.push(("system", fill(system)?));
        }
        for example in example::choose(&self.examples, self.max_examples, question, seed) {
            let turn = self.render_example(example).map_err(&refuse)?;
            messages.push(("user", turn));
            messages.push(("assistant", example.output.clone()));
        }
        messages.push(("user", fill(&self.prompt)?));
        Ok(messages)
    }

    /// The user turn of a worked example; the error is one line.
    pub(super) fn render_example(&self, example: &WorkedExample) -> std::result::Result<String, String> {
        let values = example.values();
        environment().render_str(&self.prompt, &values).map_err(|error| {
            let unknown: Vec<String> =
                self.names_used().into_iter().filter(|name| !values.contains_key(name.as_str())).collect();
            match error.kind() {
                ErrorKind::UndefinedError if !unknown.is_empty() => format!(
                    "the prompt uses {}, which neither its \"fields\" nor its \"outputs\" have",
                    unknown.join(", ")
                ),
                _ => format!("the prompt cannot be filled in: {}", one_line(&error)),
            }
        })
    }

    /// The names of the variables that the templates use.
    pub(super) fn names_used(&self) -> Vec<String> {
        let environment = environment();
        let mut names: Vec<String> = self
            .templates()
            .filter_map(|template| environment.template_from_str(template).ok())
            .flat_map(|template| template.undeclared_variables(false))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Compiles the templates; the error is one line.
    pub(super) fn check_templates(&self) -> std::result::Result<(), String> {
        let environment = environment();
        for template in self.templates() {
            environment.template_from_str(template).map_err(|error| one_line(&error))?;
        }
        Ok(())
    }

    fn templates(&self) -> impl Iterator<Item = &str> {
        self.system.as_deref().into_iter().chain([self.prompt.as_str()])
    }

    fn unknown_names(&self, known: &BTreeMap<&str, Value>) -> Vec<String> {
        self.names_used().into_iter().filter(|name| !known.contains_key(name.as_str())).collect()
    }
}

/// `text` without the model's thinking block; `None` if the block has not ended.
pub(crate) fn without_thinking(text: &str) -> Option<&str> {
    match text.rsplit_once("</think>") {
        Some((_, rest)) => Some(rest),
        None if text.trim_start().starts_with("<think>") => None,
        None => Some(text),
    }
}

/// The environment of all templates. It is created for each use, which is cheap compared with a model
/// call, so that a `Step` is plain data.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
}

pub(super) fn one_line(error: &minijinja::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text that announces an answer, such as `Answer:`.
///
/// It is found in upper and lower case, and with markdown around it (`**Answer**:`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline)]
pub struct Marker {
    text: String,
    regex: Regex,
}

impl Marker {
    /// The marker as the task file has it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text after the last occurrence.
    pub(crate) fn after<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.regex.find_iter(text).last().map(|found| &text[found.end()..])
    }
}

impl PartialEq for Marker {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TryFrom<String> for Marker {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err("\"marker\" is empty; leave it out or give a text such as \"Answer:\"".into());
        }
        let (word, colon) = match trimmed.strip_suffix(':') {
            Some(word) => (word.trim_end(), r"(?:[\s*_`]+is)?[\s*_`]*[:：]"),
            None => (trimmed, ""),
        };
        let regex =
            Regex::new(&format!("(?i){}{colon}", regex::escape(word))).map_err(|error| error.to_string())?;
        Ok(Marker { text: trimmed.to_string(), regex })
    }
}

impl From<Marker> for String {
    fn from(marker: Marker) -> String {
        marker.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(prompt: &str) -> Step {
        Step {
            name: "answer".into(),
            for_each: None,
            continues: None,
            items: ItemRule::default(),
            system: None,
            prompt: prompt.into(),
            examples: vec![],
            max_examples: None,
            max_tokens: 8,
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last: REPEAT_LAST,
            choices: vec![],
            grammar: None,
            stop: vec![],
            marker: None,
            thinking: false,
        }
    }

    fn marker(text: &str) -> Marker {
        Marker::try_from(text.to_string()).unwrap()
    }

    #[test]
    fn templates_see_fields_and_earlier_outputs() {
        let mut step = step("{{ question }} / {{ rewrite }}");
        step.system = Some("About {{ question|length }} letters".into());
        let question = Question::new("q", "<Why & how>", vec![]);
        let outputs = [("rewrite".to_string(), Output::Text("<think>hm</think>\n Why?\n".into()))];
        assert_eq!(
            step.render(&question, &outputs).unwrap(),
            [("system", "About 11 letters".into()), ("user", "<Why & how> / Why?".into())]
        );
    }

    #[test]
    fn the_completions_for_items_are_a_list_in_templates() {
        let step = step("{% for part in judge %}{{ part.item }}: {{ part.output }}\n{% endfor %}{{ item }}");
        let part = |item: &str, output: &str| Part { item: item.into(), output: output.into() };
        let parts = vec![part("truth", "<think>A?</think> B\n"), part("style", "A")];
        let item = ("item".to_string(), Output::Text("x".into()));
        let outputs = [("judge".to_string(), Output::Parts(parts)), item.clone()];
        let question = Question::new("q", "?", vec![]);
        assert_eq!(step.render(&question, &outputs).unwrap()[0].1, "truth: B\nstyle: A\nx");
        let error = step.render(&question, &[item]).unwrap_err().to_string();
        assert!(error.contains("a field that the question does not have (judge)"), "{error}");
    }

    #[test]
    fn a_mistake_inside_a_list_is_reported_as_one_of_the_template() {
        let step = step("{% for part in judge %}{{ part.verdict.x }}{% endfor %}");
        let parts = vec![Part { item: "a".into(), output: "b".into() }];
        let outputs = [("judge".to_string(), Output::Parts(parts))];
        let error = step.render(&Question::new("q", "?", vec![]), &outputs).unwrap_err().to_string();
        assert!(error.contains("cannot be filled in: "), "{error}");
    }

    #[test]
    fn a_field_that_looks_like_a_template_is_only_text() {
        let question = Question::new("q", "{{ secret }} {% raw %}", vec![]);
        assert_eq!(step("{{ question }}").render(&question, &[]).unwrap()[0].1, "{{ secret }} {% raw %}");
    }

    #[test]
    fn a_missing_field_is_named_with_those_there_are() {
        let error =
            step("{{ a }} {{ question }}").render(&Question::new("q7", "?", vec![]), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "question \"q7\": the prompt of step \"answer\" uses a field that the question does not have (a); \
             it has: question"
        );
    }

    #[test]
    fn a_stop_text_that_could_go_on_with_a_number_cuts_it() {
        let stopped = |stop: &str, text: &str| {
            let step = Step { stop: vec![stop.into()], ..step("{{ question }}") };
            step.stops_in_number(text)
        };
        assert!(stopped(".", "It is 3") && stopped(",", "It costs 1"));
        assert!(!stopped("\n", "It is 3") && !stopped(".", "It is in Rome") && !stopped("Question", "3\n"));
    }

    #[test]
    fn a_field_must_not_have_the_name_of_a_step() {
        let outputs = [("question".to_string(), Output::Text("x".into()))];
        let mut question = Question::new("q", "?", vec![]);
        let error = step("{{ question }}").render(&question, &outputs).unwrap_err();
        assert!(error.to_string().contains("has the name of a step"), "{error}");
        question.fields.insert("item".into(), "x".into());
        let outputs = [("item".to_string(), Output::Text("y".into()))];
        let error = step("{{ item }}").render(&question, &outputs).unwrap_err();
        assert!(error.to_string().contains("rename the field"), "{error}");
    }

    #[test]
    fn a_marker_is_found_in_markdown_and_the_last_one_counts() {
        let marker = marker("Answer:");
        for text in
            ["answer: x", "So **Answer:** y. ANSWER: x", "**Answer**: x", "Final answer : x", "Answer： x"]
        {
            assert_eq!(marker.after(text).map(str::trim), Some("x"), "{text}");
        }
        for text in ["", "The answer is x", "answer", "Ans: x"] {
            assert_eq!(marker.after(text), None, "{text}");
        }
        assert_eq!(super::tests::marker("=> (").after("a => (b"), Some("b"));
        assert!(Marker::try_from(" ".to_string()).is_err());
    }

    #[test]
    fn thinking_is_left_out_and_unfinished_thinking_has_no_text() {
        assert_eq!(without_thinking("plain"), Some("plain"));
        assert_eq!(without_thinking("<think>\nno</think>yes"), Some("yes"));
        assert_eq!(without_thinking("no</think>yes"), Some("yes"), "templates may open the block themselves");
        assert_eq!(without_thinking(" <think>no"), None);
    }
}
