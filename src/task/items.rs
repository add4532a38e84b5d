//! The items of a step's output, on each of which a later step runs.
//!
//! Models write lists in many ways: numbered, with dashes, under a heading, with repeated lines. The
//! items are the texts of the lines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Pattern;
use super::step::without_thinking;

/// How an output is split into items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ItemRule {
    /// A regular expression with one group, which holds an item; every match is an item. Without a
    /// pattern, every line is an item, without its list mark (`1.`, `-`, `*`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// Maximal number of items, 1 to 64; further ones are left out.
    #[serde(alias = "most")]
    #[schemars(range(min = 1, max = 64))]
    pub max_items: usize,
}

impl Default for ItemRule {
    fn default() -> Self {
        ItemRule { pattern: None, max_items: 8 }
    }
}

impl ItemRule {
    /// The items of `output`, each once.
    pub fn split(&self, output: &str) -> Vec<String> {
        let text = without_thinking(output).unwrap_or("");
        let found: Vec<&str> = match &self.pattern {
            Some(pattern) => pattern.find_all(text).collect(),
            None => lines(text),
        };
        let mut items: Vec<String> = Vec::new();
        for item in found {
            let item = item.replace("**", "").trim().to_string();
            if item.contains(char::is_alphanumeric) && !items.contains(&item) {
                items.push(item);
            }
        }
        items.truncate(self.max_items);
        items
    }

    pub(super) fn is_default(&self) -> bool {
        *self == ItemRule::default()
    }
}

/// The lines without their list marks, and without lines that only announce a list ("Here are three:").
fn lines(text: &str) -> Vec<&str> {
    let lines: Vec<(&str, bool)> = text.lines().map(|line| without_mark(line.trim())).collect();
    let is_list = lines.iter().any(|(_, marked)| *marked);
    let announces = |(line, marked): &(&str, bool)| is_list && !marked && line.ends_with([':', '：']);
    lines.iter().filter(|line| !announces(line)).map(|(line, _)| *line).collect()
}

/// The line without its list mark, and whether it had one.
fn without_mark(line: &str) -> (&str, bool) {
    let after_digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = match line.len() - after_digits.len() {
        0 => {
            let spaced = line.strip_prefix(['*', '+']).filter(|rest| rest.starts_with(char::is_whitespace));
            spaced.or_else(|| line.strip_prefix(['-', '–', '•']))
        }
        1..=3 => after_digits.strip_prefix(['.', ')', ':']),
        _ => None,
    };
    // "-2" and "3.5" are numbers.
    match rest.filter(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())) {
        Some(rest) => (rest.trim_start(), true),
        None => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_a_line_without_its_list_mark() {
        for output in [
            "Clarity\nTruth",
            "1. Clarity\n2. Truth",
            "1) Clarity\n\n2) Truth\n",
            "- Clarity\n- Truth",
            "* Clarity\n* Truth",
            "•Clarity\n•Truth",
            "Here are two things to check:\n1. **Clarity**\n2. **Truth**",
            "<think>- Length</think>- Clarity\n- Truth",
            "- Clarity\n---\n- Truth\n- Truth\n- Clarity",
        ] {
            assert_eq!(ItemRule::default().split(output), ["Clarity", "Truth"], "{output:?}");
        }
        assert_eq!(
            ItemRule::default().split("3.5 stars\n-2\n2024: a year"),
            ["3.5 stars", "-2", "2024: a year"]
        );
        assert_eq!(ItemRule::default().split("One:\nTwo:"), ["One:", "Two:"], "no list to announce");
        for output in ["", " \n\n", "---\n***", "<think>- Clarity"] {
            assert!(ItemRule::default().split(output).is_empty(), "{output:?}");
        }
    }

    #[test]
    fn a_pattern_and_a_bound_override_that() {
        let items: ItemRule =
            serde_json::from_str(r#"{"pattern": "<c>([^<]*)</c>", "max_items": 2}"#).unwrap();
        assert_eq!(items.split("I say <c>x</c>, <c> </c>, <c>y</c><c>z</c>"), ["x", "y"]);
        assert_eq!(ItemRule { max_items: 1, ..ItemRule::default() }.split("x\ny"), ["x"]);
        assert!(items.split("x\ny").is_empty());
    }
}
