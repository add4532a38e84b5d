//! The answer rule for the last line, after the reasoning.

use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::introduction::is_wrapper;
use super::{Answer, AnswerRule, Rule, a_text, first_line, is_a_text, is_fence};

/// The last line that is not blank, a code fence, a tag such as `</answer>`, a ruler or a remark ("Note: …");
/// if the step has a marker, the first line after the last marker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LastLineRule {
    /// The rule for the line; by default a text.
    #[serde(rename = "as", default = "a_text", skip_serializing_if = "is_a_text")]
    reading: Box<AnswerRule>,
}

impl LastLineRule {
    /// The rule for what this rule finds.
    pub(super) fn reading(&self) -> &AnswerRule {
        &self.reading
    }
}

impl Rule for LastLineRule {
    fn extract(&self, text: &str, marked: bool) -> Option<Answer> {
        let line = if marked { first_line(text)?.0 } else { text.lines().rfind(|line| may_answer(line))? };
        self.reading.rule().extract(line, marked)
    }

    /// Without a marker, any line may still be followed by the last one.
    fn complete(&self, text: &str, marked: bool) -> bool {
        marked && first_line(text).is_some_and(|(_, ended)| ended) && self.extract(text, true).is_some()
    }

    fn key(&self, text: &str) -> Option<String> {
        self.reading.key(text)
    }

    fn target(&self, answer: &Answer) -> String {
        self.reading.target(answer)
    }
}

/// Whether the line is not blank, a code fence, a tag around the answer, a ruler or a remark on it.
fn may_answer(line: &str) -> bool {
    static REMARK: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)^[^\p{Alphabetic}\p{N}]*(?:(?:note|explanation)[\s*_`]*[:：]|note\s+that\b|p\.s\.)")
            .expect("it is valid")
    });
    let text = line.trim();
    let is_ruler = text.len() >= 3 && text.chars().all(|c| "-*_=~".contains(c));
    !(text.is_empty() || is_fence(line) || is_wrapper(line) || is_ruler || REMARK.is_match(line))
}
