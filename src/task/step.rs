//! One model call of a task: its prompt template and its sampling parameters.

use std::collections::BTreeMap;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ItemRule, Question};
use crate::{Error, Result};

/// What a step with `for_each` calls the item at hand.
pub(super) const ITEM: &str = "item";

/// One call of the model, or with `for_each` one for each item of an earlier output.
///
/// Templates are minijinja. They see the question's fields and the outputs of earlier steps, each
/// under its name. The output of a step with `for_each` is a list with an `item` and an `output`
/// in each place: `{% for part in judge %}{{ part.item }}: {{ part.output }}{% endfor %}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Under what name later steps see this one's output.
    pub name: String,
    /// The earlier step over the items of whose output this one runs. Its template sees the item
    /// at hand as `item`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_each: Option<String>,
    /// How that output is split into items.
    #[serde(skip_serializing_if = "ItemRule::is_default")]
    pub items: ItemRule,
    /// Template of the system message; none is sent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Template of the user message.
    pub prompt: String,
    /// Most tokens to generate, the end of the turn included.
    pub max_tokens: usize,
    /// Sampling temperature; 0 takes the likeliest token.
    pub temperature: f32,
    /// Nucleus: sample from the likeliest tokens that together have this probability; 1 is off.
    pub top_p: f32,
    /// Sample from this many of the likeliest tokens; 0 is off.
    pub top_k: usize,
    /// Leave out tokens less likely than this fraction of the likeliest one; 0 is off.
    pub min_p: f32,
    /// Makes tokens that were generated lately less likely: 1.1 is a little; 1 is off.
    #[serde(skip_serializing_if = "is_one")]
    pub repeat_penalty: f32,
    /// How many of the generated tokens, counted from the last, are made less likely. The prompt's
    /// never are.
    #[serde(skip_serializing_if = "is_repeat_last")]
    pub repeat_last: usize,
    /// The only texts the completion may be; empty allows all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// A grammar that the completion follows, in GBNF, llama.cpp's notation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grammar: Option<String>,
    /// Texts that end the completion and are not part of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Announces the answer. With it, the answer is read after its last occurrence, and a
    /// completion without it has no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<Marker>,
    /// Whether a model that can think before it answers does so.
    #[serde(skip_serializing_if = "is_false")]
    pub thinking: bool,
}

/// What a finished step left for later ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The completion of a step that ran once.
    Text(String),
    /// What a step with `for_each` made of each item, in the order of the items.
    Parts(Vec<Part>),
}

/// One item, and what a step made of it.
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

/// As far back as llama.cpp's tools look by default.
pub(super) const REPEAT_LAST: usize = 64;

pub(super) fn is_repeat_last(n: &usize) -> bool {
    *n == REPEAT_LAST
}

impl Step {
    /// The messages to send, as (role, text): `system` where the step has one, then `user`.
    ///
    /// `outputs` are those of earlier steps by step name; thinking (`<think>…</think>`) and
    /// surrounding white space are left out of them. What a step with `for_each` runs on is among
    /// them as `item`.
    ///
    /// # Errors
    /// [`Error::Input`] naming the question where a template asks for a field it does not
    /// have, or a field has the name of a step.
    pub fn render(
        &self,
        question: &Question,
        outputs: &[(String, Output)],
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
        messages.push(("user", fill(&self.prompt)?));
        Ok(messages)
    }

    /// Names that the templates use.
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

/// `text` after the model's own thinking; `None` where the thinking has not ended.
pub(crate) fn without_thinking(text: &str) -> Option<&str> {
    match text.rsplit_once("</think>") {
        Some((_, rest)) => Some(rest),
        None if text.trim_start().starts_with("<think>") => None,
        None => Some(text),
    }
}

/// Made anew for each use: it is cheap beside a model call, and a `Step` stays plain data.
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
/// Found in any case, and through the markdown that models put around it (`**Answer**:`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline)]
pub struct Marker {
    text: String,
    regex: Regex,
}

impl Marker {
    /// The marker as given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What follows the last occurrence.
    pub(super) fn after<'t>(&self, text: &'t str) -> Option<&'t str> {
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
            Some(word) => (word.trim_end(), r"[\s*_`]*[:：]"),
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
            items: ItemRule::default(),
            system: None,
            prompt: prompt.into(),
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
    fn what_was_made_of_each_item_is_a_list_in_templates() {
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
    fn a_mistake_inside_a_list_is_told_as_the_template_s() {
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
    fn a_field_may_not_hide_behind_a_step() {
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
    fn a_marker_is_found_in_any_dress_and_the_last_one_counts() {
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
    fn thinking_is_left_out_and_unfinished_thinking_is_no_text() {
        assert_eq!(without_thinking("plain"), Some("plain"));
        assert_eq!(without_thinking("<think>\nno</think>yes"), Some("yes"));
        assert_eq!(without_thinking("no</think>yes"), Some("yes"), "templates may open the block themselves");
        assert_eq!(without_thinking(" <think>no"), None);
    }
}
