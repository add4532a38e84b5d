//! The word lists of the page that specifies the rules. The page is their only source.

use std::collections::HashSet;
use std::sync::LazyLock;

/// The specification of answer rules.
pub(super) const RULES: &str = include_str!("rules.md");

/// A list of the page, whose block begins with "```text NAME".
pub(super) type List = LazyLock<HashSet<&'static str>>;

/// The words of the list `name`.
pub(super) fn list(name: &str) -> HashSet<&'static str> {
    words(name).collect()
}

/// The words of the list `name`, in the order of the page.
pub(super) fn words(name: &str) -> impl Iterator<Item = &'static str> {
    let start = format!("```text {name}\n");
    let (_, block) = RULES.split_once(&start).unwrap_or_else(|| panic!("rules.md has no list {name:?}"));
    block.split("```").next().unwrap_or_default().split_whitespace()
}
