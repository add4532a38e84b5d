//! Wordings of System 2 methods, and how a wording becomes a task.
//!
//! A wording is the steps of a program without what depends on the user's questions. Its templates hold
//! placeholders in double square brackets, which are filled in here and leave the Jinja of task files:
//! `[[question]]` is the question's fields, `[[ask]]` asks for the answer in the given style,
//! `[[description]]` says what the questions are.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::phrases::{Phrases, book};
use super::{AnswerKind, AnswerStyle, ReasoningMethod};

/// The marker of [`AnswerStyle::Marker`].
const MARKER: &str = "Answer:";
/// What `Answer:` and a few words around the answer take.
const MARKER_TOKENS: usize = 32;
/// A sentence that holds a short answer.
const SENTENCE_TOKENS: usize = 48;
const TEMPERATURE: f64 = 0.7;

/// The steps of a program without what depends on the questions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wording {
    /// `method.wording`.
    pub(super) name: String,
    /// The kinds of answer that it is for; empty for all.
    #[serde(default)]
    kinds: Vec<AnswerKind>,
    /// What must be there for it to make sense.
    needs: Option<Need>,
    /// Whether its last step writes something else before the answer.
    #[serde(default)]
    reasons: bool,
    /// What the reasoning is about, where that is not the question itself.
    about: Option<String>,
    /// Steps as in task files. A worked example in them has a `text`, which is the question's one field,
    /// and an `output`.
    steps: Vec<Map<String, Value>>,
}

/// What a wording needs beside a question.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Need {
    /// A description of the questions.
    Description,
    /// Two things to compare, in fields that end in `_a` and `_b`.
    Pair,
}

/// The fields `system2` and `closing` of a task.
pub(super) struct ProgramSteps {
    pub(super) steps: Vec<Value>,
    pub(super) closing: Option<Value>,
}

/// What is filled in for the placeholders, and how answers are read.
pub(super) struct Setting<'b> {
    pub(super) kind: AnswerKind,
    /// The answer rule.
    pub(super) rule: &'b Value,
    pub(super) phrases: &'b Phrases,
    /// The question's fields as Jinja.
    pub(super) question: &'b str,
    /// The description as Jinja.
    pub(super) description: Option<&'b str>,
    pub(super) fields: &'b [String],
}

static WORDINGS: LazyLock<Vec<Wording>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("data/wordings.json")).expect("the file of wordings is valid")
});

pub(super) fn wordings() -> &'static [Wording] {
    &WORDINGS
}

/// Wordings of the direct question, the best first.
static DIRECT: LazyLock<Vec<Wording>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("data/direct.json")).expect("the file of direct wordings is valid")
});

pub(super) fn direct_wordings() -> &'static [Wording] {
    &DIRECT
}

impl Wording {
    pub(super) fn method(&self) -> ReasoningMethod {
        let (method, _) = self.name.split_once('.').expect("a wording's name begins with its method");
        method.parse().expect("a wording is of a method that there is")
    }

    /// Whether it makes sense for such questions.
    fn fits(&self, setting: &Setting) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.contains(&setting.kind);
        let need = match self.needs {
            None => true,
            Some(Need::Description) => setting.description.is_some(),
            Some(Need::Pair) => !pairs(setting.fields).is_empty(),
        };
        // The examples show one field.
        let shown = setting.fields.len() == 1 || self.steps.iter().all(|step| !step.contains_key("examples"));
        // A template cannot tell a field from a step of the same name.
        let taken = self.steps.iter().any(|step| {
            let item = step.contains_key("for_each").then_some("item");
            let names = step.get("name").and_then(Value::as_str).into_iter().chain(item);
            { names }.any(|name| setting.fields.iter().any(|field| field == name))
        });
        kind && need && shown && !taken
    }

    /// The program that gives its answer in this style; `None` if wording, style and questions do not go
    /// together.
    pub(super) fn program(&self, style: AnswerStyle, setting: &Setting) -> Option<ProgramSteps> {
        if !self.fits(setting) {
            return None;
        }
        let (kind, phrases) = (setting.kind, setting.phrases);
        let (steps, last) = self.steps.split_at(self.steps.len() - 1);
        let mut last = last[0].clone();
        let (mut extra, mut closing) = (None, None);
        let (ask, max_tokens) = match (style, self.reasons) {
            (AnswerStyle::Bare, false) => (phrases.only.as_str(), phrases.max_tokens),
            (AnswerStyle::Few, false) => (phrases.few.as_deref()?, phrases.max_tokens),
            (AnswerStyle::Choices, false) if kind == AnswerKind::Choice => {
                last.insert("choices".into(), setting.rule["choices"].clone());
                (phrases.only.as_str(), phrases.max_tokens)
            }
            (AnswerStyle::Marker, reasons) => {
                last.insert("marker".into(), MARKER.into());
                let ask = if reasons { &phrases.mark } else { &phrases.mark_only };
                (ask.as_str(), phrases.max_tokens + MARKER_TOKENS)
            }
            (AnswerStyle::Closing, reasons) => {
                let named = || setting.fill(&book().closing, &phrases.only);
                let prompt = phrases.unnamed_closing.clone().unwrap_or_else(named);
                closing = Some(json!({ "when": "always", "prompt": prompt }));
                ("", if reasons { 0 } else { SENTENCE_TOKENS })
            }
            // The rule for texts takes the first sentence, which is not the end of the reasoning.
            (AnswerStyle::Sentence, true) if kind != AnswerKind::Text => (phrases.end.as_str(), 0),
            (AnswerStyle::Sentence, false) => ("", SENTENCE_TOKENS),
            (AnswerStyle::Conclude, true) => {
                extra = Some(self.conclusion(&last, setting));
                ("", 0)
            }
            _ => return None,
        };
        last.entry("max_tokens").or_insert(max_tokens.into());
        let mut steps: Vec<Value> = steps.iter().chain([&last]).map(|step| setting.step(step, ask)).collect();
        steps.extend(extra.map(|step| setting.step(&step, &phrases.only)));
        Some(ProgramSteps { steps, closing })
    }

    /// The step that reads the reasoning of `last` and states the answer. The reasoning varies between
    /// samples, so this step need not.
    fn conclusion(&self, last: &Map<String, Value>, setting: &Setting) -> Map<String, Value> {
        let about = self.about.as_deref().unwrap_or("[[question]]");
        let thoughts = last["name"].as_str().map(|name| format!("{{{{ {name} }}}}")).unwrap_or_default();
        let prompt = book().conclude.replace("[[about]]", about).replace("[[thoughts]]", &thoughts);
        let mut step = Map::new();
        step.insert("name".into(), "conclude".into());
        step.insert("prompt".into(), prompt.into());
        step.insert("max_tokens".into(), setting.phrases.max_tokens.into());
        step.insert("temperature".into(), 0.0.into());
        if setting.kind == AnswerKind::Choice {
            step.insert("choices".into(), setting.rule["choices"].clone());
        }
        step
    }

    /// The step of a wording of the direct question.
    pub(super) fn direct(&self, setting: &Setting) -> Option<Value> {
        if !self.fits(setting) {
            return None;
        }
        let mut step = self.steps[0].clone();
        step.entry("max_tokens").or_insert((setting.phrases.max_tokens + 8).into());
        step.insert("temperature".into(), 0.0.into());
        Some(setting.step(&step, &setting.phrases.only))
    }
}

impl Setting<'_> {
    /// A step with its placeholders filled in.
    fn step(&self, step: &Map<String, Value>, ask: &str) -> Value {
        let mut step = step.clone();
        for key in ["system", "prompt"] {
            if let Some(template) = step.get_mut(key) {
                *template = self.fill(template.as_str().unwrap_or(""), ask).into();
            }
        }
        for example in step.get_mut("examples").and_then(Value::as_array_mut).into_iter().flatten() {
            let (text, output) = (example["text"].take(), example["output"].take());
            *example = json!({ "fields": { &self.fields[0]: text }, "output": output });
        }
        step.entry("temperature").or_insert(json!(TEMPERATURE));
        Value::Object(step)
    }

    fn fill(&self, template: &str, ask: &str) -> String {
        let few = self.phrases.few.as_deref().unwrap_or(&self.phrases.only);
        let filled = template
            .replace("[[ask]]", &literal(ask))
            .replace("[[only]]", &literal(&self.phrases.only))
            .replace("[[few]]", &literal(few))
            .replace("[[description]]", self.description.unwrap_or(""))
            .replace("[[question]]", self.question);
        // Nothing may have been asked for at the end of a line.
        filled.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_string()
    }
}

/// The fields of a question as Jinja: the field itself if there is one, or else each behind its name.
pub(super) fn fields_template(fields: &[String]) -> String {
    match fields {
        [one] => format!("{{{{ {one} }}}}"),
        several => several
            .iter()
            .map(|field| format!("{}: {{{{ {field} }}}}", label(field)))
            .collect::<Vec<_>>()
            .join("\n\n"),
    }
}

/// `response_a` is `Response A`.
pub(super) fn label(field: &str) -> String {
    let words = field.split('_').filter(|word| !word.is_empty()).enumerate();
    words
        .map(|(index, word)| match (index, word.len()) {
            (0, _) | (_, 1) => capitalized(word),
            _ => word.to_string(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// `text` with a large first letter.
pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// The names of fields that end in `_a` and `_b` and are otherwise equal.
pub(super) fn pairs(fields: &[String]) -> Vec<(&str, &str)> {
    let find = |name: String| fields.iter().find(|field| **field == name).map(String::as_str);
    fields
        .iter()
        .filter_map(|field| Some((field.as_str(), find(format!("{}_b", field.strip_suffix("_a")?))?)))
        .collect()
}

/// `text` as Jinja that writes it unchanged.
pub(super) fn literal(text: &str) -> String {
    if !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
        return text.to_string();
    }
    // Every brace by itself is only text.
    text.chars().map(|c| if c == '{' { "{{ '{' }}".to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_fields_stand_behind_their_names() {
        let names = ["question", "response_a", "the_long_text"].map(String::from);
        assert_eq!(
            fields_template(&names),
            "Question: {{ question }}\n\nResponse A: {{ response_a }}\n\nThe long text: {{ the_long_text }}"
        );
        assert_eq!(fields_template(&names[..1]), "{{ question }}");
    }

    #[test]
    fn a_pair_needs_both_of_its_fields() {
        let fields = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(pairs(&fields(&["question", "response_b", "response_a"])), [("response_a", "response_b")]);
        assert!(pairs(&fields(&["question", "response_a", "text_b"])).is_empty());
    }
}
