//! The JSON Schema of task files, for editors that complete and check them.

use serde_json::{Number, Value};

use super::{Task, raw};

impl Task {
    /// The JSON Schema of task files, indented, with a line end. It is generated from the types that
    /// [`Task::from_json`] reads, which checks more than a schema can express.
    pub fn schema() -> String {
        let mut schema = raw::schema();
        schema.ensure_object().values_mut().for_each(shorten);
        serde_json::to_string_pretty(&schema).expect("a schema has only text keys") + "\n"
    }
}

/// Writes `f32` defaults with their shortest digits: 0.95 and not 0.949999988079071.
fn shorten(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let short = number.as_f64().and_then(|wide| (wide as f32).to_string().parse::<f64>().ok());
            if let Some(short) = short.filter(|_| number.is_f64()).and_then(Number::from_f64) {
                *number = short;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(values) => values.values_mut().for_each(shorten),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_the_one_of_these_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/task.schema.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        let fix = "write it again: secondnature tasks schema > fixtures/task.schema.json";
        assert!(committed == Task::schema(), "{path} is not up to date; {fix}");
    }

    #[test]
    fn every_field_is_described() {
        fn check(at: &str, schema: &Value) {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                for (name, property) in properties {
                    let is_tag = property.get("const").is_some();
                    assert!(is_tag || property.get("description").is_some(), "{at}.{name}");
                }
            }
            match schema {
                Value::Object(parts) => {
                    parts.iter().for_each(|(name, part)| check(&format!("{at}.{name}"), part))
                }
                Value::Array(parts) => parts.iter().for_each(|part| check(at, part)),
                _ => {}
            }
        }
        let schema: Value = serde_json::from_str(&Task::schema()).unwrap();
        assert!(schema["properties"]["system2"].is_object());
        check("task", &schema);
    }
}
