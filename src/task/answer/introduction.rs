//! What models write before a short answer: "Sure!", "The capital of France is:", a tag.

use std::sync::LazyLock;

use regex::Regex;

use super::lists::words;
use super::{first_line, split_first_line};

/// The first line that does more than to introduce the one behind it, and whether nothing that follows can
/// change that; `None` if a list is introduced, of which each item may be the answer. A line that `says` the answer
/// does more.
pub(super) fn answer_line(text: &str, says: impl Fn(&str) -> bool) -> Option<(&str, bool)> {
    let mut rest = text;
    loop {
        let (line, behind) = split_first_line(rest)?;
        let name = tag(line).filter(|_| !says(line));
        let may_introduce = name.is_some() || (introduces(line) && !says(line));
        let Some((behind, (next, _))) = behind.and_then(|behind| Some((behind, first_line(behind)?))) else {
            return Some((line, behind.is_some() && !may_introduce));
        };
        match name {
            Some(name) if behind.contains(&format!("</{name}>")) => {}
            // It may be closed further down.
            Some(_) => return Some((line, false)),
            None if !may_introduce => return Some((line, true)),
            None if is_item(next) => return None,
            None => {}
        }
        rest = behind;
    }
}

/// The text without an acknowledgement at its beginning, and without the tags around it.
pub(super) fn without_introduction(text: &str) -> &str {
    static ACKNOWLEDGED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(&format!(r"(?i)^[\s*_]*(?:{})[\s*_]*[!,:][\s*_]*\s[\s*_]*", acknowledgements()))
            .expect("it is valid")
    });
    let text = text.trim();
    let text = match ACKNOWLEDGED.find(text) {
        Some(found) if found.end() < text.len() => &text[found.end()..],
        _ => text,
    };
    within_tags(text)
}

/// What is between a tag that begins the text and the one that closes it.
fn within_tags(mut text: &str) -> &str {
    static OPENED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("^<([A-Za-z][A-Za-z0-9_-]*)>").expect("it is valid"));
    while let Some(opened) = OPENED.captures(text) {
        let behind = &text[opened[0].len()..];
        let Some(at) = behind.find(&format!("</{}>", &opened[1])) else { break };
        let inside = behind[..at].trim();
        if inside.is_empty() {
            break;
        }
        text = inside;
    }
    text
}

/// The name of a tag that is all of the line.
fn tag(line: &str) -> Option<&str> {
    let name = line.strip_prefix('<')?.strip_suffix('>')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    is_name.then_some(name)
}

/// Whether the line is an acknowledgement alone, or ends with a colon.
fn introduces(line: &str) -> bool {
    static ALONE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(&format!(r"(?i)^[\s*_]*(?:{})[\s*_]*[!,][\s*_!,.]*$", acknowledgements()))
            .expect("it is valid")
    });
    let end = line.trim_end_matches(|c: char| c.is_whitespace() || "*_".contains(c));
    let is_announced = end.ends_with([':', '：']) && end.contains(char::is_alphabetic);
    is_announced || ALONE.is_match(line)
}

/// Whether the line is an item of a list.
fn is_item(line: &str) -> bool {
    static ITEM: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\s*(?:[-*+•]|[0-9]+[.)])\s").expect("it is valid"));
    ITEM.is_match(line)
}

/// An expression for all of them.
fn acknowledgements() -> String {
    words("acknowledgements").map(|phrase| phrase.replace('-', r"\s+")).collect::<Vec<_>>().join("|")
}
