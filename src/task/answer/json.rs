//! The answer rule for a field of a JSON object, with any text around the object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, AnswerRule, Rule, a_text, is_a_text};

/// A field of the last JSON object in the text, or of the first if the text begins with it or the step has
/// a marker. Its value is a text, a number, true or false.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonRule {
    /// The field, with dots for fields of objects and numbers for items of lists: `verdict.winner`,
    /// `answers.0`.
    field: Field,
    /// The rule for the value; by default a text.
    #[serde(rename = "as", default = "a_text", skip_serializing_if = "is_a_text")]
    reading: Box<AnswerRule>,
}

/// A dotted path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline)]
struct Field(String);

impl JsonRule {
    /// The rule for what this rule finds.
    pub(super) fn reading(&self) -> &AnswerRule {
        &self.reading
    }

    /// The value of the field, if the object has it.
    fn value<'o>(&self, object: &'o Map<String, Value>) -> Option<&'o Value> {
        let mut names = self.field.0.split('.');
        let mut value = object.get(names.next()?)?;
        for name in names {
            value = match value {
                Value::Array(values) => values.get(name.parse::<usize>().ok()?)?,
                other => other.get(name)?,
            };
        }
        Some(value)
    }

    fn read(&self, object: &Map<String, Value>) -> Option<Answer> {
        let text = match self.value(object)? {
            Value::String(text) => text.clone(),
            value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
            _ => return None,
        };
        self.reading.rule().extract(&text, true)
    }

    /// The first object with the field, if the first of all is at the beginning or follows a marker.
    fn first(&self, text: &str, marked: bool) -> Option<Map<String, Value>> {
        let mut objects = objects(text).peekable();
        let before = text[..objects.peek()?.0].trim().trim_start_matches("```").trim_start_matches("json");
        if !marked && !before.is_empty() {
            return None;
        }
        objects.map(|(_, object)| object).find(|object| self.value(object).is_some())
    }
}

impl Rule for JsonRule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer> {
        match self.first(text, marked) {
            Some(object) => self.read(&object),
            None => self.read(&objects(text).last()?.1),
        }
    }

    /// An object at the beginning is the answer; one inside reasoning may be a draft.
    fn complete(&self, text: &str, marked: bool) -> bool {
        self.first(text, marked).is_some_and(|object| self.read(&object).is_some())
    }

    fn key(&self, text: &str) -> Option<String> {
        self.reading.key(text)
    }

    fn target(&self, answer: &Answer) -> String {
        self.reading.target(answer)
    }
}

/// The outermost JSON objects in `text`, with their offsets, up to one that is cut off.
fn objects(text: &str) -> impl Iterator<Item = (usize, Map<String, Value>)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text[from..].find('{')?;
            let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter();
            match values.next() {
                Some(Ok(object)) => {
                    from = start + values.byte_offset();
                    return Some((start, object));
                }
                Some(Err(error)) if error.is_eof() => return None,
                _ => from = start + 1,
            }
        }
    })
}

impl TryFrom<String> for Field {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.split('.').any(str::is_empty) {
            let example = "such as \"a\" or \"a.b\"";
            return Err(format!("\"field\" {text:?} has an empty name; expected one {example}"));
        }
        Ok(Field(text))
    }
}

impl From<Field> for String {
    fn from(field: Field) -> String {
        field.0
    }
}
