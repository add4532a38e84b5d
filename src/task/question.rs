//! Questions, and question files.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Fields;
use super::lines::{LineError, Lines};
use crate::{Error, Result};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The id, unique within a set.
    pub id: String,
    /// The fields that prompt templates can use, by name. Most tasks have the one field `question`.
    pub fields: Fields,
    /// Gold answers, any of which is right; empty if unknown. They only measure: curation and training
    /// do not use them.
    pub gold: Vec<String>,
}

impl Question {
    /// A question with the one field `question`.
    pub fn new(id: impl Into<String>, text: impl Into<String>, gold: Vec<String>) -> Question {
        Question { id: id.into(), fields: [("question".into(), text.into())].into(), gold }
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

/// Reads a question file, as a stream.
///
/// The file is JSON Lines, `{"id"?, "question" | "fields": {…}, "answer"?: text | [text, …]}`; other
/// keys are ignored, and numbers count as text, with the digits that the file has. Of an answer that ends with a
/// line `#### 72`, as those of GSM8K do, only what stands there counts. If the first line that is
/// not blank does not start with `{`, the file is plain text with one question per line, none of which is a JSON
/// object. Blank lines are skipped. A question without an id gets the id `L<line number>`.
///
/// The file is UTF-8 or UTF-16, with or without a byte order mark. Lines end with a line feed, a carriage
/// return, or both.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Input`] with the line for anything else.
pub fn read_questions(path: &Path) -> Result<Vec<Question>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    parse(BufReader::with_capacity(1 << 16, file), &path.display().to_string(), path)
}

/// Parses the text of a question file, as [`read_questions`] does. `origin` names the text in errors.
///
/// # Errors
/// [`Error::Input`] with the line.
pub fn parse_questions(bytes: &[u8], origin: &str) -> Result<Vec<Question>> {
    parse(bytes, origin, Path::new(origin))
}

fn parse(reader: impl BufRead, origin: &str, path: &Path) -> Result<Vec<Question>> {
    let unreadable = |number: usize, error: LineError| match error {
        LineError::Io(error) => Error::io("read", path)(error),
        LineError::NotText(why) => Error::input(format!("{origin}:{number}"), why),
    };
    let mut lines = Lines::new(reader).map_err(|error| unreadable(1, error))?;
    let mut questions = UniqueQuestions::default();
    let mut first_line = None;
    loop {
        let number = lines.number() + 1;
        let refuse = |why: String| Error::input(format!("{origin}:{number}"), why);
        let Some(line) = lines.next().map_err(|error| unreadable(number, error))? else { break };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let default_id = format!("L{number}");
        let (first, is_json) = *first_line.get_or_insert((number, line.starts_with('{')));
        let plain = |id, line: &str| match is_json_object(line.trim_end_matches(',')) {
            true => Err(format!(
                "found a JSON object in a file that is read as plain text, since line {first}, its first, is none; \
                 expected one JSON object on every line, or plain questions"
            )),
            false => Ok(Question::new(id, line, Vec::new())),
        };
        let question = if is_json {
            parse_line(line, default_id).map_err(refuse)?
        } else if questions.all.is_empty() && line.starts_with('[') {
            let first = line.to_string();
            let rest = lines.rest();
            let rest = rest.map_err(|error| unreadable(lines.number(), error))?;
            if is_json_array(&first, &rest) {
                let why = "found a JSON array, expected one JSON object a line (jq -c '.[]' makes it so)";
                return Err(refuse(why.into()));
            }
            questions.add(Question::new(default_id, first, Vec::new()), number).map_err(refuse)?;
            for (index, line) in rest.split(|byte| *byte == b'\n').enumerate() {
                let (number, line) = (number + 1 + index, String::from_utf8_lossy(line));
                if !line.trim().is_empty() {
                    let refuse = |why: String| Error::input(format!("{origin}:{number}"), why);
                    let question = plain(format!("L{number}"), line.trim()).map_err(refuse)?;
                    questions.add(question, number).map_err(refuse)?;
                }
            }
            break;
        } else {
            plain(default_id, line).map_err(refuse)?
        };
        questions.add(question, number).map_err(refuse)?;
    }
    if questions.all.is_empty() {
        let why = "the file holds no question; expected one a line, as JSON or as plain text";
        return Err(Error::input(origin, why));
    }
    questions.all.shrink_to_fit();
    Ok(questions.all)
}

/// Questions with different ids, and the lines that they are on.
#[derive(Default)]
struct UniqueQuestions {
    all: Vec<Question>,
    lines: Vec<u32>,
    /// Hash of an id → the index of the first question with this hash. The ids themselves would take
    /// several times the memory.
    ids: HashMap<u64, u32>,
    hasher: RandomState,
}

impl UniqueQuestions {
    fn add(&mut self, question: Question, line: usize) -> std::result::Result<(), String> {
        let index = u32::try_from(self.all.len())
            .map_err(|_| "the file has more than 4294967295 questions; split it".to_string())?;
        match self.ids.entry(self.hasher.hash_one(&question.id)) {
            Entry::Vacant(place) => drop(place.insert(index)),
            Entry::Occupied(_) => {
                // Equal hashes of different ids are rare enough to look through all.
                if let Some(first) = self.all.iter().position(|other| other.id == question.id) {
                    let (id, first) = (&question.id, self.lines[first]);
                    return Err(format!("id {id:?} is already used on line {first}; ids must be unique"));
                }
            }
        }
        self.all.push(question);
        self.lines.push(u32::try_from(line).unwrap_or(u32::MAX));
        Ok(())
    }
}

fn is_json_object(line: &str) -> bool {
    line.starts_with('{') && serde_json::from_str::<Entries>(line).is_ok()
}

fn is_json_array(first: &str, rest: &[u8]) -> bool {
    let text = [first.as_bytes(), b"\n", rest].concat();
    serde_json::from_slice::<Vec<IgnoredAny>>(&text).is_ok()
}

/// The keys of a JSON object with the text of their values, so that numbers keep their digits.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A value in a line.
#[derive(Clone, Copy)]
struct LineValue<'a> {
    line: &'a str,
    raw: &'a str,
}

type Parsed<T> = std::result::Result<T, String>;

impl<'a> LineValue<'a> {
    /// Text, a number or a truth value as text; `None` for anything else.
    fn text(self) -> Parsed<Option<String>> {
        match self.raw.as_bytes() {
            [b'"', ..] => self.parse::<String>().map(Some),
            [b'-' | b'0'..=b'9' | b't' | b'f', ..] => Ok(Some(self.raw.to_string())),
            _ => Ok(None),
        }
    }

    fn is_null(self) -> bool {
        self.raw == "null"
    }

    fn kind(self) -> &'static str {
        match self.raw.as_bytes() {
            [b'"', ..] => "text",
            [b'[', ..] => "a list",
            [b'{', ..] => "an object",
            [b't' | b'f', ..] => "true or false",
            [b'n', ..] => "null",
            _ => "a number",
        }
    }

    fn parse<T: Deserialize<'a>>(self) -> Parsed<T> {
        serde_json::from_str(self.raw).map_err(|error| {
            let offset = self.raw.as_ptr() as usize - self.line.as_ptr() as usize;
            not_json(self.line, &error, offset)
        })
    }

    fn of(self, raw: &'a RawValue) -> LineValue<'a> {
        LineValue { raw: raw.get(), ..self }
    }

    /// The entries of an object. A key that is there twice is refused, since one of the two is a mistake.
    fn entries(self) -> Parsed<Vec<(String, LineValue<'a>)>> {
        let Entries(entries) = self.parse()?;
        let mut names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("{:?} is given twice; keep one", pair[0]));
        }
        Ok(entries.into_iter().map(|(name, raw)| (name, self.of(raw))).collect())
    }
}

fn not_json(line: &str, error: &serde_json::Error, offset: usize) -> String {
    let column = offset + error.column();
    let text = error.to_string();
    let why = text.split(" at line ").next().unwrap_or(&text);
    let half = [why.contains("surrogate"), why.contains("hex escape")].contains(&true);
    match half && has_escaped_surrogate(line) {
        true => format!(
            "not a JSON object: half of a character (a lone surrogate such as \\ud83d) at column {column}; \
             write the whole character or \\ufffd"
        ),
        false => format!("not a JSON object: {why} at column {column}"),
    }
}

/// Whether `line` holds an escape such as `\ud83d`.
fn has_escaped_surrogate(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["\\ud8", "\\ud9", "\\uda", "\\udb", "\\udc", "\\udd", "\\ude", "\\udf"]
        .iter()
        .any(|half| line.contains(half))
}

fn parse_line(line: &str, default_id: String) -> Parsed<Question> {
    let raw: &RawValue = serde_json::from_str(line).map_err(|error| not_json(line, &error, 0))?;
    let whole = LineValue { line, raw: raw.get() };
    if !whole.raw.starts_with('{') {
        return Err(format!("expected a JSON object {{…}}, found {}", whole.kind()));
    }
    let object = whole.entries()?;
    let get = |name: &str| {
        object.iter().find(|(key, value)| key == name && !value.is_null()).map(|(_, value)| *value)
    };
    let id = match get("id") {
        None => default_id,
        Some(id) => id.text()?.ok_or_else(|| format!("\"id\" must be text, found {}", id.kind()))?,
    };
    if id.trim().is_empty() {
        return Err("\"id\" is empty; leave it out or give each question its own".into());
    }
    let fields = parse_fields(get("fields"), get("question"))?;
    let mut gold = get("answer").map_or(Ok(Vec::new()), parse_gold)?;
    gold.shrink_to_fit();
    Ok(Question { id, fields, gold })
}

fn parse_fields(fields: Option<LineValue>, question: Option<LineValue>) -> Parsed<Fields> {
    let mut texts = Vec::new();
    match fields {
        None => {}
        Some(object) if object.raw.starts_with('{') => {
            for (name, value) in object.entries()? {
                let text = value.text()?.ok_or_else(|| {
                    format!("field {name:?} of \"fields\" must be text, found {}", value.kind())
                })?;
                texts.push((name, text));
            }
        }
        Some(other) => return Err(format!("\"fields\" must be an object of texts, found {}", other.kind())),
    }
    if let Some(question) = question {
        let text = question
            .text()?
            .ok_or_else(|| format!("\"question\" must be text, found {}", question.kind()))?;
        match texts.iter().find(|(name, _)| name == "question") {
            Some((_, other)) if *other != text => {
                return Err("\"question\" and \"fields\" give two different questions; keep one".into());
            }
            Some(_) => {}
            None => texts.push(("question".into(), text)),
        }
    }
    if texts.iter().any(|(name, text)| name == "question" && text.trim().is_empty()) {
        return Err("\"question\" is empty".into());
    }
    if texts.is_empty() {
        return Err("field \"question\" is missing; each line needs \"question\" or \"fields\"".into());
    }
    Ok(texts.into_iter().collect())
}

fn parse_gold(answer: LineValue) -> Parsed<Vec<String>> {
    let expected =
        |found: &str| format!("\"answer\" must be text or a list of accepted texts, found {found}");
    if !answer.raw.starts_with('[') {
        return Ok(vec![without_solution(answer.text()?.ok_or_else(|| expected(answer.kind()))?)]);
    }
    let answers: Vec<&RawValue> = answer.parse()?;
    answers
        .into_iter()
        .map(|raw| {
            let one = answer.of(raw);
            one.text()?.ok_or_else(|| expected(&format!("{} in the list", one.kind()))).map(without_solution)
        })
        .collect()
}

/// Of a worked solution whose last line is `#### 72`, as in GSM8K, the answer in that line.
fn without_solution(gold: String) -> String {
    let last = gold.trim_end().rsplit('\n').next().and_then(|line| line.trim_start().strip_prefix("####"));
    last.map(|answer| answer.trim().to_string()).unwrap_or(gold)
}

#[cfg(test)]
mod tests;
