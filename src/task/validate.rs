//! The first check of a task file: its JSON against the JSON Schema of task files.
//!
//! The schema is generated from the types that serde reads, so both accept the same files. serde
//! reports a fault as a sentence about Rust types. The schema knows which fields and values there are,
//! so its errors name the place, the fault and the fix.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

/// Names that fields had in older task files, which are still read, and their names now.
const RENAMED: [(&str, &str); 4] =
    [("learn", "target"), ("give_up", "early_abandon"), ("most", "max_items"), ("distil", "distill")];

/// Reads a `T` with the given JSON Schema; the error is one line without the origin.
pub(super) fn from_json<T: DeserializeOwned>(text: &str, schema: &Value) -> Result<T, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not a task: {error}"))?;
    Validator { root: schema }.check(schema, &value, &FieldPath::default())?;
    // From the text and not from `value`, which does not show that a field is there twice.
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let message = error.inner().to_string();
        // The place in the task is more helpful than the place in the file.
        let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
        FieldPath::of(error.path()).fault(reason)
    })
}

/// Reads a map of the user's own names. One that is there twice is a fault: the first would be lost.
pub(super) fn unique_keys<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, V>, D::Error> {
    struct UniqueKeys<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for UniqueKeys<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(name) = entries.next_key::<String>()? {
                match map.entry(name) {
                    Entry::Vacant(entry) => entry.insert(entries.next_value()?),
                    Entry::Occupied(entry) => {
                        return Err(A::Error::custom(format!("{:?} is given twice; keep one", entry.key())));
                    }
                };
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(UniqueKeys(PhantomData))
}

/// Where in a task something is: `"system2" step 2, "prompt"`; empty for the task itself.
#[derive(Clone, Default)]
struct FieldPath(String);

impl FieldPath {
    fn of(path: &Path) -> FieldPath {
        path.iter().fold(FieldPath::default(), |place, segment| match segment {
            Segment::Map { key } => place.field(key),
            Segment::Seq { index } => place.item(*index),
            Segment::Enum { .. } | Segment::Unknown => place,
        })
    }

    fn field(&self, name: &str) -> FieldPath {
        FieldPath(if self.0.is_empty() { format!("{name:?}") } else { format!("{}, {name:?}", self.0) })
    }

    fn item(&self, index: usize) -> FieldPath {
        let what = if self.0 == "\"system2\"" { "step" } else { "item" };
        FieldPath(format!("{} {what} {}", self.0, index + 1))
    }

    fn fault(&self, reason: &str) -> String {
        if self.0.is_empty() { reason.to_string() } else { format!("{}: {reason}", self.0) }
    }

    fn wrong_type(&self, expected: &str, found: &Value) -> String {
        let found = match found {
            Value::Null => "null".to_string(),
            Value::Bool(value) => format!("boolean `{value}`"),
            Value::Number(value) if value.is_f64() => format!("floating point `{value}`"),
            Value::Number(value) => format!("integer `{value}`"),
            Value::String(text) => format!("string {text:?}"),
            Value::Array(_) => "a list".to_string(),
            Value::Object(_) => "an object".to_string(),
        };
        let prefix = if self.0.is_empty() { "not a task: " } else { "" };
        self.fault(&format!("{prefix}expected {expected}, found {found}"))
    }
}

/// Checks fields, their types, and the values of enumerations. Ranges are not checked here.
struct Validator<'s> {
    /// The whole schema, to which references refer.
    root: &'s Value,
}

impl Validator<'_> {
    fn check(&self, schema: &Value, value: &Value, place: &FieldPath) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str() {
            let definition = self.root.pointer(name.trim_start_matches('#')).unwrap_or(&Value::Null);
            return self.check(definition, value, place);
        }
        if let Some(schemas) = schema["anyOf"].as_array() {
            // What schemars writes for an `Option` of a type that has a definition of its own.
            let is_null = |schema: &&Value| schema["type"] == "null";
            let some = schemas.iter().find(|schema| !is_null(schema)).unwrap_or(&Value::Null);
            return if value.is_null() { Ok(()) } else { self.check(some, value, place) };
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            return self.check_enumeration(choices, value, place);
        }
        match types(schema).find(|ty| *ty != "null") {
            _ if value.is_null() && types(schema).any(|ty| ty == "null") => Ok(()),
            Some("object") => {
                let object = value.as_object().ok_or_else(|| place.wrong_type("an object", value))?;
                self.check_object(schema, object, place)
            }
            Some("array") => {
                let items = value.as_array().ok_or_else(|| place.wrong_type("a list", value))?;
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, item)| self.check(&schema["items"], item, &place.item(index)))
            }
            Some("string") if !value.is_string() => Err(place.wrong_type("text", value)),
            Some("boolean") if !value.is_boolean() => Err(place.wrong_type("true or false", value)),
            Some("number") if !value.is_number() => Err(place.wrong_type("a number", value)),
            Some("integer") if !value.is_u64() => Err(place.wrong_type("a whole number", value)),
            _ => Ok(()),
        }
    }

    fn check_object(
        &self,
        schema: &Value,
        object: &Map<String, Value>,
        place: &FieldPath,
    ) -> Result<(), String> {
        // A map of names that are the user's own.
        let any_field = schema.get("additionalProperties").filter(|schema| schema.is_object());
        let fields = &schema["properties"];
        for (name, value) in object {
            let renamed = RENAMED.iter().find(|(old, _)| old == name).map(|(_, new)| *new);
            let known = fields.get(name).or_else(|| fields.get(renamed?)).or(any_field);
            let schema = known.ok_or_else(|| {
                let names = fields.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
                place.fault(&unknown("field", name, names))
            })?;
            self.check(schema, value, &place.field(name))?;
        }
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        match { required }.find(|name| !object.contains_key(*name)) {
            Some(name) => Err(place.fault(&format!("field {name:?} is missing"))),
            None => Ok(()),
        }
    }

    /// One of several texts, or an object whose "kind" says which of several it is.
    fn check_enumeration(&self, choices: &[Value], value: &Value, place: &FieldPath) -> Result<(), String> {
        if choices.iter().all(|choice| choice["type"] != "object") {
            return find_choice(choices, "/const", value, place).map(|_| ());
        }
        let object = value.as_object().ok_or_else(|| place.wrong_type("an object", value))?;
        let kind = object.get("kind").ok_or_else(|| place.fault("field \"kind\" is missing"))?;
        let choice = find_choice(choices, "/properties/kind/const", kind, &place.field("kind"))?;
        self.check_object(choice, object, place)
    }
}

/// The types that `schema` allows: one, or one and `null`.
fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let (one, several) = (schema["type"].as_str(), schema["type"].as_array());
    one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str))
}

/// The one of `choices` whose constant at `pointer` is `value`.
fn find_choice<'s>(
    choices: &'s [Value],
    pointer: &str,
    value: &Value,
    place: &FieldPath,
) -> Result<&'s Value, String> {
    let name = value.as_str().ok_or_else(|| place.wrong_type("text", value))?;
    let constant = |choice: &'s Value| choice.pointer(pointer).and_then(Value::as_str);
    let found = choices.iter().find(|choice| constant(choice) == Some(name));
    found.ok_or_else(|| place.fault(&unknown("value", name, choices.iter().filter_map(constant))))
}

/// Says that there is no such field or value, and which there are or was probably meant.
fn unknown<'s>(what: &str, name: &str, known: impl Iterator<Item = &'s str>) -> String {
    let known: Vec<&str> = known.filter(|known| !known.starts_with('$')).collect();
    let fix = match known.iter().find(|known| is_slip(name, known)) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None if known.is_empty() => "expected none".to_string(),
        None => format!("expected one of {}", format!("{known:?}").trim_matches(['[', ']'])),
    };
    format!("unknown {what} {name:?}; {fix}")
}

/// Whether `written` is `meant` with a letter or two missing, added, changed or swapped.
fn is_slip(written: &str, meant: &str) -> bool {
    let edits = strsim::osa_distance(written, meant);
    edits <= 2 && 2 * edits < meant.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Task;

    #[test]
    fn a_slip_differs_from_another_word() {
        for (written, meant) in [
            ("promt", "prompt"),
            ("max_token", "max_tokens"),
            ("tmeperature", "temperature"),
            ("stpo", "stop"),
        ] {
            assert!(is_slip(written, meant), "{written}");
        }
        for (written, other) in [("heat", "name"), ("top", "stop_at"), ("", "a"), ("ab", "cd")] {
            assert!(!is_slip(written, other), "{written}");
        }
    }

    /// A task in which `part` stands for the rest of a field.
    fn refusal(field: &str) -> String {
        let text = format!(
            r#"{{"name": "t", "system1": {{"prompt": "x"}}, "system2": [{{"prompt": "x"}}],
                "answer": {{"kind": "number"}}, {field}}}"#
        );
        Task::from_json(&text, "t.json").unwrap_err().to_string()
    }

    #[test]
    fn each_type_is_named_in_words_and_null_is_none_of_them() {
        for (field, message) in [
            (r#""description": 3"#, "\"description\": expected text, found integer `3`"),
            (r#""vote": []"#, "\"vote\": expected an object, found a list"),
            (
                r#""vote": {"samples": 2.5}"#,
                "\"vote\", \"samples\": expected a whole number, found floating point `2.5`",
            ),
            (
                r#""vote": {"samples": -1}"#,
                "\"vote\", \"samples\": expected a whole number, found integer `-1`",
            ),
            (r#""vote": {"threshold": null}"#, "\"vote\", \"threshold\": expected a number, found null"),
            (
                r#""vote": {"early_abandon": 1}"#,
                "\"vote\", \"early_abandon\": expected true or false, found integer `1`",
            ),
            (
                r#""vote": {"select": "count "}"#,
                "\"vote\", \"select\": unknown value \"count \"; did you mean \"count\"?",
            ),
            (r#""target": {}"#, "\"target\": expected text, found an object"),
            (r#""perturbations": {}"#, "\"perturbations\": expected a list, found an object"),
            (
                r#""perturbations": [{"name": "p", "fields": {"a": 1}}]"#,
                "\"perturbations\" item 1, \"fields\", \"a\": expected text, found integer `1`",
            ),
            (r#""answer": {"kind": "number"}"#, "duplicate field `answer`"),
            (r#""target": "answer", "learn": "answer""#, "duplicate field `target`"),
        ] {
            assert_eq!(refusal(field), format!("t.json: {message}"));
        }
    }

    #[test]
    fn an_answer_rule_inside_another_is_checked_too() {
        let text = r#"{"name": "t", "system1": {"prompt": "x"}, "system2": [{"prompt": "x"}],
            "answer": {"kind": "last_line", "as": ANSWER}}"#;
        for (answer, message) in [
            (r#"{}"#, "\"answer\", \"as\": field \"kind\" is missing"),
            (
                r#"{"kind": "number", "digits": 3}"#,
                "\"answer\", \"as\": unknown field \"digits\"; expected one of \"kind\", \"decimal\", \
                 \"fractions\"",
            ),
            (r#"{"kind": "choice"}"#, "\"answer\", \"as\": field \"choices\" is missing"),
            (
                r#"{"kind": "text", "normalize": "word"}"#,
                "\"answer\", \"as\", \"normalize\": unknown value \"word\"; did you mean \"words\"?",
            ),
        ] {
            let error = Task::from_json(&text.replace("ANSWER", answer), "t.json").unwrap_err();
            assert_eq!(error.to_string(), format!("t.json: {message}"));
        }
    }

    #[test]
    fn fields_under_their_old_names_are_read() {
        let new = r#"{"name": "t", "system1": {"prompt": "x"},
            "system2": [{"name": "a", "prompt": "x"},
                {"name": "b", "for_each": "a", "items": {"max_items": 3}, "prompt": "{{ item }}"},
                {"name": "c", "prompt": "x"}],
            "answer": {"kind": "number"}, "target": "completion", "vote": {"early_abandon": false},
            "perturbations": [{"name": "p", "fields": {"a": "x"}, "distill": true}]}"#;
        let old = RENAMED.iter().fold(new.to_string(), |text, (old, new)| {
            let renamed = text.replace(&format!("\"{new}\""), &format!("\"{old}\""));
            assert!(renamed != text, "{new}");
            renamed
        });
        assert_eq!(Task::from_json(&old, "old").unwrap(), Task::from_json(new, "new").unwrap());
    }
}
