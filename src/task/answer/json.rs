//! The answer rule for a field of a JSON object, with any text around the object.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Answer, AnswerRule, Rule, a_text, is_a_text, is_fence};

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

    /// The value of the field as it is written, if the object has it.
    fn value<'o>(&self, object: &'o RawValue) -> Option<&'o RawValue> {
        let mut value = object;
        for name in self.field.0.split('.') {
            value = match value.get().as_bytes().first()? {
                b'{' => {
                    serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()).ok()?.remove(name)?
                }
                b'[' => {
                    let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
                    *items.get(name.parse::<usize>().ok()?)?
                }
                _ => return None,
            };
        }
        Some(value)
    }

    fn read(&self, object: &RawValue) -> Option<Answer> {
        let written = self.value(object)?.get();
        let text = match written.as_bytes().first()? {
            b'"' => serde_json::from_str(written).ok()?,
            b'{' | b'[' | b'n' => return None,
            _ => written.to_string(),
        };
        self.reading.rule().extract(&text, true)
    }

    /// The first object with the field, if the first of all is at the beginning or follows a marker.
    fn first<'t>(&self, text: &'t str, marked: bool) -> Option<&'t RawValue> {
        let mut objects = objects(text).peekable();
        let before = text[..objects.peek()?.0].trim();
        if !marked && !before.is_empty() && !is_fence(before) {
            return None;
        }
        objects.map(|(_, object)| object).find(|object| self.value(object).is_some())
    }
}

impl Rule for JsonRule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer> {
        match self.first(text, marked) {
            Some(object) => self.read(object),
            None => self.read(objects(text).last()?.1),
        }
    }

    /// An object at the beginning is the answer; one inside reasoning may be a draft.
    fn complete(&self, text: &str, marked: bool) -> bool {
        self.first(text, marked).is_some_and(|object| self.read(object).is_some())
    }

    fn key(&self, text: &str) -> Option<String> {
        self.reading.key(text)
    }

    fn target(&self, answer: &Answer) -> String {
        self.reading.target(answer)
    }
}

/// The outermost JSON objects in `text` as they are written, with their offsets, up to one that is cut off.
/// Numbers are not parsed, which would round them. Braces that begin no object are skipped, unless they
/// are nested so deep that trying each takes too long.
fn objects(text: &str) -> impl Iterator<Item = (usize, &RawValue)> {
    const MAX_NESTED: usize = 128;
    let (mut from, mut tried) = (0, 0);
    std::iter::from_fn(move || {
        loop {
            let start = from + text[from..].find('{')?;
            let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<&RawValue>();
            match values.next() {
                Some(Ok(object)) => {
                    from = start + values.byte_offset();
                    return Some((start, object));
                }
                Some(Err(error)) if !error.is_eof() && tried <= MAX_NESTED * text.len() => {
                    let lines = text[start..].split_inclusive('\n').take(error.line() - 1);
                    let reached = lines.map(str::len).sum::<usize>() + error.column();
                    if start + reached >= text.len() && ends_in_number(&text[start..]) {
                        return None;
                    }
                    tried += reached;
                    from = start + 1;
                }
                _ => return None,
            }
        }
    })
}

/// Whether an object is cut off inside a number where no number ends, as in `{"a": 1.`: that is no end of the
/// text to the parser, but one digit more makes it one.
fn ends_in_number(object: &str) -> bool {
    let longer = || serde_json::from_str::<IgnoredAny>(&format!("{object}0"));
    object.ends_with(['.', '-', '+', 'e', 'E']) && longer().is_err_and(|error| error.is_eof())
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
