//! What models write around a short answer: "Sure!", "The capital of France is:", `<answer>`.

use std::sync::LazyLock;

use regex::Regex;

use super::lists::{List, list, words};
use super::{first_line, split_first_line};

static ANNOUNCEMENTS: List = LazyLock::new(|| list("announcements"));
static WRAPPERS: List = LazyLock::new(|| list("wrappers"));

/// The first line that does more than to introduce the one behind it, and whether nothing that follows can
/// change that; `None` if a list is introduced, of which each item may be the answer. A line that `says` the answer
/// does more.
pub(super) fn answer_line(text: &str, says: impl Fn(&str) -> bool) -> Option<(&str, bool)> {
    let mut rest = text;
    loop {
        let (line, behind) = split_first_line(rest)?;
        let introduces = introduces(line) && !says(line);
        let Some((behind, (next, _))) = behind.and_then(|behind| Some((behind, first_line(behind)?))) else {
            return Some((line, behind.is_some() && !introduces));
        };
        if !introduces {
            return Some((line, true));
        }
        if is_item(next) {
            return None;
        }
        rest = behind;
    }
}

/// The text without an acknowledgement at its beginning and the tags around it, and the number of words of the
/// acknowledgement.
pub(super) fn without_introduction(text: &str) -> (&str, usize) {
    let (rest, n_words) = without_acknowledgement(text.trim());
    (within_tags(rest), n_words)
}

/// The text without an acknowledgement at its beginning, and the number of words of that.
fn without_acknowledgement(text: &str) -> (&str, usize) {
    static ACKNOWLEDGED: LazyLock<Regex> = LazyLock::new(|| {
        let phrases = acknowledgements();
        Regex::new(&format!(r"(?i)^[\s*_]*(?:{phrases})[\s*_]*([!,:])[\s*_]*\s[\s*_]*")).expect("it is valid")
    });
    let Some(found) = ACKNOWLEDGED.captures(text) else { return (text, 0) };
    let (before, rest) = text.split_at(found[0].len());
    // "Okay, so I need to find …" thinks aloud.
    let goes_on = &found[1] == "," && rest.starts_with(char::is_lowercase);
    match rest.is_empty() || goes_on {
        true => (text, 0),
        false => (rest, before.split_whitespace().count()),
    }
}

/// What is between a tag that begins the text and the one that closes it. A tag that wraps answers may lack its
/// partner.
fn within_tags(mut text: &str) -> &str {
    static OPENED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("^<([A-Za-z][A-Za-z0-9_-]*)>").expect("it is valid"));
    static CLOSED: LazyLock<Regex> = LazyLock::new(|| {
        let names: Vec<&str> = words("wrappers").collect();
        Regex::new(&format!("(?i)</(?:{})>", names.join("|"))).expect("it is valid")
    });
    while let Some(opened) = OPENED.captures(text) {
        let (name, behind) = (opened[1].to_ascii_lowercase(), &text[opened[0].len()..]);
        let wraps = WRAPPERS.contains(name.as_str());
        let inside = match behind.to_ascii_lowercase().find(&format!("</{name}>")) {
            Some(at) => behind[..at].trim(),
            None if wraps => behind.trim(),
            None => break,
        };
        if inside.is_empty() && !wraps {
            break;
        }
        text = inside;
    }
    CLOSED.find(text).map_or(text, |closed| text[..closed.start()].trim())
}

/// Whether the line is nothing but a tag that wraps answers, or closes one that does.
pub(super) fn is_wrapper(line: &str) -> bool {
    let name = line.trim().strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    name.is_some_and(|name| {
        WRAPPERS.contains(name.strip_prefix('/').unwrap_or(name).to_ascii_lowercase().as_str())
    })
}

/// Whether the line is an acknowledgement alone, announces the answer, or is a tag that wraps it.
fn introduces(line: &str) -> bool {
    static ALONE: LazyLock<Regex> = LazyLock::new(|| {
        let phrases = acknowledgements();
        Regex::new(&format!(r"(?i)^[\s*_]*(?:{phrases})[\s*_]*[!,][\s*_!,.]*$")).expect("it is valid")
    });
    is_wrapper(line) || announces(without_acknowledgement(line).0) || ALONE.is_match(line)
}

/// Whether the line has no end of a sentence and ends with a word that announces, with a colon behind it or as a
/// heading.
fn announces(line: &str) -> bool {
    let is_decoration = |c: char| c.is_whitespace() || "*_".contains(c);
    let end = line.trim_end_matches(is_decoration);
    let without_colon = end.trim_end_matches([':', '：']);
    if (without_colon.len() == end.len() && !line.starts_with('#'))
        || line.contains(['.', '!', '?', '…', '。'])
    {
        return false;
    }
    let end = without_colon.trim_end_matches(is_decoration);
    let word = &end[end.trim_end_matches(char::is_alphabetic).len()..];
    ANNOUNCEMENTS.contains(word.to_lowercase().as_str())
}

/// Whether the line is an item of a list.
fn is_item(line: &str) -> bool {
    static ITEM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^\s*(?:[-+*•–](?:\s|$)|[*_]*[0-9]+[.)](?:[\s*_]|$))").expect("it is valid")
    });
    ITEM.is_match(line)
}

/// An expression for all of them.
fn acknowledgements() -> String {
    words("acknowledgements").map(|phrase| phrase.replace('-', r"\s+")).collect::<Vec<_>>().join("|")
}
