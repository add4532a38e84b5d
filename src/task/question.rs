//! Questions, and question files.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use serde_json::{Map, Value};

use crate::{Error, Result};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The id, unique within a set.
    pub id: String,
    /// The fields that prompt templates can use, by name. Most tasks have the one field `question`.
    pub fields: BTreeMap<String, String>,
    /// Gold answers, any of which is right; empty if unknown. They only measure: curation and training
    /// do not use them.
    pub gold: Vec<String>,
}

impl Question {
    /// A question with the one field `question`.
    pub fn new(id: impl Into<String>, text: impl Into<String>, gold: Vec<String>) -> Question {
        Question { id: id.into(), fields: BTreeMap::from([("question".into(), text.into())]), gold }
    }

    /// The field `question`, or the empty text.
    pub fn text(&self) -> &str {
        self.fields.get("question").map_or("", String::as_str)
    }

    /// The question as one line of a question file, without the line end.
    /// [`read_questions`] reads it back unchanged.
    pub fn to_json_line(&self) -> String {
        let mut line = Map::new();
        line.insert("id".into(), self.id.as_str().into());
        let mut others = Map::new();
        for (name, text) in &self.fields {
            let fields = if name == "question" { &mut line } else { &mut others };
            fields.insert(name.clone(), text.as_str().into());
        }
        if !others.is_empty() || self.fields.is_empty() {
            line.insert("fields".into(), others.into());
        }
        match self.gold.as_slice() {
            [] => {}
            [one] => drop(line.insert("answer".into(), one.as_str().into())),
            several => drop(line.insert("answer".into(), several.into())),
        }
        Value::Object(line).to_string()
    }
}

/// Reads a question file.
///
/// The file is JSON Lines, `{"id"?, "question" | "fields": {…}, "answer"?: text | [text, …]}`; other
/// keys are ignored, and numbers count as text. If the first line that is not blank does not start with
/// `{`, the file is plain text with one question per line. Blank lines are skipped. A question without
/// an id gets the id `L<line number>`.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Input`] with the line for anything else.
pub fn read_questions(path: &Path) -> Result<Vec<Question>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    parse_questions(&bytes, &path.display().to_string())
}

/// Parses the text of a question file, as [`read_questions`] does. `origin` names the text in errors.
///
/// # Errors
/// [`Error::Input`] with the line.
pub fn parse_questions(bytes: &[u8], origin: &str) -> Result<Vec<Question>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut questions: Vec<Question> = Vec::new();
    let mut first_use = BTreeMap::new();
    let mut is_json = None;
    for (index, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let number = index + 1;
        let refuse = |why: String| Error::input(format!("{origin}:{number}"), why);
        let line = std::str::from_utf8(line).map_err(|error| {
            refuse(format!(
                "byte {} of the line is not UTF-8; save the file as UTF-8",
                error.valid_up_to() + 1
            ))
        })?;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let default_id = format!("L{number}");
        let question = if *is_json.get_or_insert_with(|| line.starts_with('{')) {
            parse_line(line, default_id).map_err(refuse)?
        } else if questions.is_empty() && is_json_array(bytes) {
            return Err(refuse(
                "found a JSON array, expected one JSON object a line (jq -c '.[]' makes it so)".into(),
            ));
        } else {
            Question::new(default_id, line, Vec::new())
        };
        match first_use.entry(question.id.clone()) {
            Entry::Occupied(first) => {
                let (id, first) = (&question.id, first.get());
                return Err(refuse(format!("id {id:?} is already used on line {first}; ids must be unique")));
            }
            Entry::Vacant(entry) => entry.insert(number),
        };
        questions.push(question);
    }
    if questions.is_empty() {
        let why = "the file holds no question; expected one a line, as JSON or as plain text";
        return Err(Error::input(origin, why));
    }
    Ok(questions)
}

fn is_json_array(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(bytes).is_ok()
}

fn parse_line(line: &str, default_id: String) -> std::result::Result<Question, String> {
    let value: Value =
        serde_json::from_str(line).map_err(|error| format!("not a JSON object: {}", reason(&error)))?;
    let Value::Object(object) = value else {
        return Err(format!("expected a JSON object {{…}}, found {}", kind(&value)));
    };
    let id = match object.get("id") {
        None | Some(Value::Null) => default_id,
        Some(id) => as_text(id).ok_or_else(|| format!("\"id\" must be text, found {}", kind(id)))?,
    };
    if id.trim().is_empty() {
        return Err("\"id\" is empty; leave it out or give each question its own".into());
    }
    Ok(Question { id, fields: parse_fields(&object)?, gold: parse_gold(&object)? })
}

fn parse_fields(object: &Map<String, Value>) -> std::result::Result<BTreeMap<String, String>, String> {
    let mut fields = BTreeMap::new();
    match object.get("fields") {
        None | Some(Value::Null) => {}
        Some(Value::Object(texts)) => {
            for (name, value) in texts {
                let text = as_text(value).ok_or_else(|| {
                    format!("field {name:?} of \"fields\" must be text, found {}", kind(value))
                })?;
                fields.insert(name.clone(), text);
            }
        }
        Some(other) => {
            return Err(format!("\"fields\" must be an object of texts, found {}", kind(other)));
        }
    }
    match object.get("question") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) if text.trim().is_empty() => {
            return Err("\"question\" is empty".into());
        }
        Some(Value::String(text)) => match fields.insert("question".into(), text.clone()) {
            Some(other) if other != *text => {
                return Err("\"question\" and \"fields\" give two different questions; keep one".into());
            }
            _ => {}
        },
        Some(other) => return Err(format!("\"question\" must be text, found {}", kind(other))),
    }
    if fields.is_empty() {
        return Err("field \"question\" is missing; each line needs \"question\" or \"fields\"".into());
    }
    Ok(fields)
}

fn parse_gold(object: &Map<String, Value>) -> std::result::Result<Vec<String>, String> {
    let expected = |found| format!("\"answer\" must be text or a list of accepted texts, found {found}");
    match object.get("answer") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(answers)) => answers
            .iter()
            .map(|answer| as_text(answer).ok_or_else(|| expected(format!("{} in the list", kind(answer)))))
            .collect(),
        Some(answer) => Ok(vec![as_text(answer).ok_or_else(|| expected(kind(answer).into()))?]),
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The message of `error` without its line, which is always 1.
fn reason(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Question>> {
        parse_questions(text.as_bytes(), "q.jsonl")
    }

    fn refusal(bytes: &[u8]) -> String {
        let message = parse_questions(bytes, "q.jsonl").unwrap_err().to_string();
        assert!(!message.contains('\n'), "one line: {message}");
        message
    }

    #[test]
    fn json_lines_give_ids_fields_and_gold() {
        let questions = parse(concat!(
            "\u{feff}{\"id\": \"a\", \"question\": \"Why?\", \"answer\": \"because\"}\r\n",
            "\n",
            "{\"question\": \"How many?\", \"answer\": [3, \"three\"], \"source\": {\"ignored\": 1}}\n",
            "{\"id\": 7, \"fields\": {\"a\": \"x\", \"b\": 2}, \"answer\": null}",
        ))
        .unwrap();
        assert_eq!(questions[0], Question::new("a", "Why?", vec!["because".into()]));
        assert_eq!(questions[1], Question::new("L3", "How many?", vec!["3".into(), "three".into()]));
        assert_eq!((questions[2].id.as_str(), questions[2].text()), ("7", ""));
        assert_eq!(questions[2].fields["b"], "2");
        assert!(questions[2].gold.is_empty());
    }

    #[test]
    fn plain_text_gives_one_question_a_line() {
        let questions = parse("\n  What is up? \r\n\n[Sic] {braces} are fine\n").unwrap();
        assert_eq!(questions[0], Question::new("L2", "What is up?", vec![]));
        assert_eq!(questions[1], Question::new("L4", "[Sic] {braces} are fine", vec![]));
    }

    #[test]
    fn a_written_line_reads_back_unchanged() {
        let fields =
            BTreeMap::from([("a".to_string(), "1\n2".to_string()), ("question".into(), "\"ü\"?".into())]);
        for question in [
            Question::new("x", "y", vec![]),
            Question::new("x", "y", vec!["z".into()]),
            Question { id: "q".into(), fields: fields.clone(), gold: vec!["1".into(), "2".into()] },
            Question { id: "q".into(), fields: BTreeMap::from([("a".into(), String::new())]), gold: vec![] },
        ] {
            let line = question.to_json_line();
            assert!(!line.contains('\n'));
            assert_eq!(parse(&line).unwrap(), [question]);
        }
    }

    #[test]
    fn each_fault_is_refused_with_its_line_and_fix() {
        for (text, message) in [
            (
                "{\"question\": \"a\"}\n{\"question\": }",
                "q.jsonl:2: not a JSON object: expected value at column 14",
            ),
            ("{\"question\": \"a\"}\nplain", "q.jsonl:2: not a JSON object: expected value at column 1"),
            ("{\"question\": \"a\"}\n[1]", "q.jsonl:2: expected a JSON object {…}, found a list"),
            (
                "\n{\"id\": \"x\"}",
                "q.jsonl:2: field \"question\" is missing; each line needs \"question\" or \"fields\"",
            ),
            ("{\"question\": \"  \"}", "q.jsonl:1: \"question\" is empty"),
            ("{\"question\": 4}", "q.jsonl:1: \"question\" must be text, found a number"),
            ("{\"fields\": []}", "q.jsonl:1: \"fields\" must be an object of texts, found a list"),
            ("{\"fields\": {\"a\": []}}", "q.jsonl:1: field \"a\" of \"fields\" must be text, found a list"),
            (
                "{\"question\": \"a\", \"fields\": {\"question\": \"b\"}}",
                "q.jsonl:1: \"question\" and \"fields\" give two different questions; keep one",
            ),
            (
                "{\"question\": \"a\", \"id\": \"\"}",
                "q.jsonl:1: \"id\" is empty; leave it out or give each question its own",
            ),
            (
                "{\"question\": \"a\", \"answer\": {}}",
                "q.jsonl:1: \"answer\" must be text or a list of accepted texts, found an object",
            ),
            (
                "{\"question\": \"a\", \"id\": \"L2\"}\n{\"question\": \"b\"}",
                "q.jsonl:2: id \"L2\" is already used on line 1; ids must be unique",
            ),
            (
                "[{\"question\": \"a\"}]",
                "q.jsonl:1: found a JSON array, expected one JSON object a line (jq -c '.[]' makes it so)",
            ),
            ("", "q.jsonl: the file holds no question; expected one a line, as JSON or as plain text"),
            ("\n \r\n", "q.jsonl: the file holds no question; expected one a line, as JSON or as plain text"),
        ] {
            assert_eq!(refusal(text.as_bytes()), message);
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused_with_their_place() {
        let message = refusal(b"{\"question\": \"a\"}\n{\"question\": \"caf\xe9\"}\n");
        assert_eq!(message, "q.jsonl:2: byte 18 of the line is not UTF-8; save the file as UTF-8");
        assert!(refusal(b"\xff\xfeq\0").contains("not UTF-8"), "UTF-16");
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = read_questions(Path::new("no/such.jsonl")).unwrap_err().to_string();
        assert!(message.starts_with("cannot read no/such.jsonl: "), "{message}");
    }
}
