//! What serde says of a bad task file, as a line that a person can act on: where, what, the cure.

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

/// Reads a `T`; the error is one line without the origin.
pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| describe(e.path(), e.inner()))?;
    json.end().map_err(|error| format!("not a task: {error}"))?;
    Ok(value)
}

fn describe(path: &Path, error: &serde_json::Error) -> String {
    let message = error.to_string();
    if error.classify() != Category::Data {
        return format!("not a task: {message}");
    }
    // A place in the file says less than a place in the task.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let (reason, unknown) = reason(message);
    let place = place(path, unknown);
    match place.as_str() {
        "" if message.starts_with("invalid ") => format!("not a task: {reason}"),
        "" => reason,
        place => format!("{place}: {reason}"),
    }
}

/// `"system2" step 2, "prompt"`, without the key that should not be there at all.
fn place(path: &Path, unknown: Option<&str>) -> String {
    let mut place = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Map { key } if Some(key.as_str()) == unknown => {}
            Segment::Map { key } if place.is_empty() => place = format!("{key:?}"),
            Segment::Map { key } => place += &format!(", {key:?}"),
            Segment::Seq { index } if place == "\"system2\"" => place += &format!(" step {}", index + 1),
            Segment::Seq { index } => place += &format!(" item {}", index + 1),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    place
}

/// The message in this program's words, and the name that it does not know.
fn reason(message: &str) -> (String, Option<&str>) {
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return (format!("field {name:?} is missing"), None);
    }
    for what in ["field", "variant"] {
        let Some(rest) = message.strip_prefix("unknown ").and_then(|rest| rest.strip_prefix(what)) else {
            continue;
        };
        // Names in backquotes: the unknown one, then those there are.
        let mut names = rest.split('`').skip(1).step_by(2);
        let name = names.next().unwrap_or_default();
        let known: Vec<&str> = names.filter(|known| !known.starts_with('$')).collect();
        let what = if what == "variant" { "value" } else { what };
        let cure = match known.iter().find(|known| is_slip(name, known)) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("expected one of {}", format!("{known:?}").trim_matches(['[', ']'])),
        };
        return (format!("unknown {what} {name:?}; {cure}"), Some(name));
    }
    match message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => (format!("expected {}, found {found}", in_words(expected)), None),
        None => (message.to_string(), None),
    }
}

fn in_words(rust: &str) -> &str {
    match rust {
        "f32" => "a number",
        "usize" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "an object",
        _ if rust.starts_with("struct ") => "an object",
        other => other,
    }
}

/// Whether `written` is `meant` with a letter or two missing, added, changed or swapped.
fn is_slip(written: &str, meant: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (written.chars().collect(), meant.chars().collect());
    // Edits from each prefix of `a`, row by row, to each prefix of `b`.
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len().min(64) {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    let edits = rows.last().map_or(usize::MAX, |row| row[b.len()]);
    edits <= 2 && 2 * edits < b.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_word() {
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
}
