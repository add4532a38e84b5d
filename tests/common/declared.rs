//! What the C header declares.

use std::collections::BTreeSet;

/// The names of the functions, sorted.
pub fn functions(header: &str) -> impl Iterator<Item = String> {
    let comment = regex::Regex::new(r"(?s)/\*.*?\*/|//[^\n]*").unwrap();
    let code = comment.replace_all(header, " ");
    let function = regex::Regex::new(r"\b(sn_[a-z0-9_]+)\s*\(").unwrap();
    let names: BTreeSet<String> = function.captures_iter(&code).map(|found| found[1].to_string()).collect();
    names.into_iter()
}
